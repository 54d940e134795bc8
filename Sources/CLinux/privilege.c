#define _GNU_SOURCE
#include "privilege.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int sluice_has_capabilities(uint64_t mask) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) return 0;
  uint64_t effective = data[0].effective | (uint64_t)data[1].effective << 32;
  return (effective & mask) == mask;
}

/* What somebody who has taken the process over would want next: another program, other processes' memory, namespaces and
   mounts, kernel code, keys, and the parts of the kernel with the most holes. Each is refused with EPERM. */
static const unsigned refused_calls[] = {
    SYS_execve,       SYS_execveat,    SYS_ptrace,          SYS_process_vm_readv, SYS_process_vm_writev,
    SYS_mount,        SYS_umount2,     SYS_pivot_root,      SYS_chroot,           SYS_setns,
    SYS_unshare,      SYS_bpf,         SYS_perf_event_open, SYS_init_module,      SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, SYS_add_key,         SYS_request_key,      SYS_keyctl,
    SYS_userfaultfd,  SYS_io_uring_setup, SYS_open_by_handle_at, SYS_reboot,      SYS_swapon,
    SYS_swapoff,      SYS_settimeofday, SYS_clock_settime,  SYS_personality,
};

#if defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* Calls of another architecture (i386, x32) would have other numbers, so all of them are refused. */
static int refuse_calls(void) {
#ifdef OWN_ARCHITECTURE
  enum { count = sizeof refused_calls / sizeof refused_calls[0] };
  struct sock_filter program[count + 6];
  unsigned n = 0;
  program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCHITECTURE, 0, count + 3);
  program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, count + 1, 0);
  for (unsigned call = 0; call < count; call++) {
    unsigned char to_refusal = (unsigned char)(count - call);
    program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused_calls[call], to_refusal, 0);
  }
  program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  struct sock_fprog filter = {.len = (unsigned short)n, .filter = program};
  /* EINVAL: a kernel without filters. It has no capabilities to lose any more, so it goes on without. */
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0 || errno == EINVAL ? 0 : errno;
#else
  return 0;
#endif
}

int sluice_drop_privileges(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2];
  memset(none, 0, sizeof none);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return errno;
  if (syscall(SYS_capset, &header, none) != 0) return errno;
  return refuse_calls();
}

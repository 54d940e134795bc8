/* Packet rings: the words they share with the kernel, and calls that Swift's Glibc module hides. */
#ifndef SLUICE_PACKET_H
#define SLUICE_PACKET_H

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if_arp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

/* Not in net/if_arp.h: <linux/if_arp.h> has it, but cannot stand beside <net/if.h>. */
#define SLUICE_ARPHRD_RAWIP 519

/* linux/if_packet.h of Linux 6.4 has it, Debian 12's has not. */
#define SLUICE_PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000

/* tp_status of the slot at `slot`; what the kernel wrote before it is visible after this load. */
static inline __attribute__((always_inline)) uint32_t sluice_slot_status(const void *slot) {
  return __atomic_load_n(&((const struct tpacket2_hdr *)slot)->tp_status, __ATOMIC_ACQUIRE);
}

/* Gives the slot at `slot` back to the kernel, after all earlier reads and writes of it. */
static inline __attribute__((always_inline)) void sluice_slot_release(void *slot) {
  __atomic_store_n(&((struct tpacket2_hdr *)slot)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

/* The same for a block of a TPACKET_V3 ring. */
static inline __attribute__((always_inline)) uint32_t sluice_block_status(const void *block) {
  return __atomic_load_n(&((const struct tpacket_block_desc *)block)->hdr.bh1.block_status, __ATOMIC_ACQUIRE);
}
static inline __attribute__((always_inline)) void sluice_block_release(void *block) {
  __atomic_store_n(&((struct tpacket_block_desc *)block)->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

/* Tells the core that this is a spin loop. */
static inline __attribute__((always_inline)) void sluice_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

/* struct mmsghdr; the layouts are compared in CLinux.c. */
struct sluice_message {
  struct msghdr header;
  unsigned int sent;
};

/* sendmmsg(2) without blocking: how many of the first messages went, or -1 with errno. */
int sluice_send_messages(int socket, struct sluice_message *messages, unsigned int count);

/* ppoll(2) for at most `nanoseconds`; UINT64_MAX waits without end. */
int sluice_poll(struct pollfd *set, unsigned long count, uint64_t nanoseconds);

struct sluice_device {
  int index;
  int mtu;
  /* IFF_*. */
  unsigned int flags;
  /* ARPHRD_*. */
  unsigned short type;
  unsigned char mac[6];
};

/* Reads what the kernel knows of the device `name`: 0, or an errno. */
int sluice_device_read(const char *name, struct sluice_device *device);

/* A netlink socket that is readable when an IPv4 address came or went in this namespace; -1 with errno. */
int sluice_watch_addresses(void);

#endif

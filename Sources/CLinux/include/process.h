/* Child processes in process groups of their own, and file descriptors that tell of their end. */
#ifndef SLUICE_PROCESS_H
#define SLUICE_PROCESS_H

#include <sys/types.h>

/* Starts argv[0], looked up in PATH, as the leader of a new process group, with these three standard descriptors and no
   other, all signals at their defaults and none blocked. Returns the process id, or -errno. */
pid_t sluice_spawn(char *const argv[], int input, int output, int errors);

/* A descriptor that polls readable once the process has ended (pidfd_open(2)); -errno on failure. */
int sluice_pidfd(pid_t pid);

/* An unnamed file in memory, closed in children; -errno on failure. */
int sluice_memory_file(const char *name);

#endif

/* Child processes in process groups of their own, file descriptors that tell of their end, and the cores of threads. */
#ifndef SLUICE_PROCESS_H
#define SLUICE_PROCESS_H

#include <pthread.h>
#include <sys/types.h>

/* Starts argv[0], looked up in PATH, as the leader of a new process group, with these three standard descriptors and no
   other, all signals at their defaults and none blocked. Returns the process id, or -errno. */
pid_t sluice_spawn(char *const argv[], int input, int output, int errors);

/* A descriptor that polls readable once the process has ended (pidfd_open(2)); -errno on failure. */
int sluice_pidfd(pid_t pid);

/* Whether this process may run on core number `core`. */
int sluice_may_use_core(unsigned int core);

/* Threads made with `attributes` run on `core` alone. */
void sluice_pin(pthread_attr_t *attributes, unsigned int core);

/* An unnamed file in memory, closed in children; -errno on failure. */
int sluice_memory_file(const char *name);

#endif

/* Capabilities of the calling thread, which threads made later inherit. */
#ifndef SLUICE_PRIVILEGE_H
#define SLUICE_PRIVILEGE_H

#include <stdint.h>

/* Whether every capability whose bit is set in `mask` is effective. */
int sluice_has_capabilities(uint64_t mask);

/* Gives up every capability for ever, all ways to gain one by exec (no_new_privs), and the system calls that a gateway at
   work has no use for (seccomp): 0, or an errno. For this thread and those that it starts. */
int sluice_drop_privileges(void);

#endif

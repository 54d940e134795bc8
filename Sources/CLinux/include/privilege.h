/* Capabilities of the calling thread, which threads made later inherit. */
#ifndef SLUICE_PRIVILEGE_H
#define SLUICE_PRIVILEGE_H

#include <stdint.h>

/* Whether every capability whose bit is set in `mask` is effective. */
int sluice_has_capabilities(uint64_t mask);

/* Gives up every capability for ever, and all ways to gain one by exec (no_new_privs): 0, or an errno. */
int sluice_drop_privileges(void);

#endif

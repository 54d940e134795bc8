/* Ring structures and system-call glue that Swift's Glibc module hides or cannot import. */
#ifndef SLUICE_CLINUX_H
#define SLUICE_CLINUX_H

#include "packet.h"
#include "privilege.h"
#include "process.h"

#endif

#pragma once

#include <stdbool.h>
#include <stdint.h>

/// Allocations (malloc, calloc, realloc, memalign and the like) that the calling thread has made so far.
uint64_t sluice_allocation_count(void);

/// False under a sanitizer: it has an allocator of its own, which must not be replaced.
bool sluice_counts_allocations(void);

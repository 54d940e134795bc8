// The C library's allocator with a counter in front, for the whole test process.
//
// A definition of malloc in the executable wins over the C library's for every shared library too (the Swift runtime's
// allocations included); glibc allows that and keeps its own under __libc_* names ("Replacing malloc" in its manual).

#include "CAllocationCount.h"

#include <errno.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SLUICE_SANITIZED 1
#endif
#endif

#if defined(SLUICE_SANITIZED) || !defined(__GLIBC__)

uint64_t sluice_allocation_count(void) { return 0; }
bool sluice_counts_allocations(void) { return false; }

#else

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *old);

// In the executable's own thread block: reading it allocates nothing.
static __thread uint64_t allocations;

uint64_t sluice_allocation_count(void) { return allocations; }
bool sluice_counts_allocations(void) { return true; }

void *malloc(size_t bytes) {
  allocations++;
  return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
  allocations++;
  return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes) {
  allocations++;
  return __libc_realloc(old, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
  allocations++;
  return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
  allocations++;
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **place, size_t alignment, size_t bytes) {
  if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) return EINVAL;
  allocations++;
  void *made = __libc_memalign(alignment, bytes);
  if (made == NULL) return ENOMEM;
  *place = made;
  return 0;
}

void free(void *old) { __libc_free(old); }

#endif

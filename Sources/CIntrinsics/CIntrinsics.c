#define _GNU_SOURCE
#include "CIntrinsics.h"

#include <sys/mman.h>

void *sluice_pages(size_t bytes) {
  void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return pages == MAP_FAILED ? NULL : pages;
}

void sluice_release_pages(void *pages, size_t bytes) { munmap(pages, bytes); }

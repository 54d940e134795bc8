/* What the engine needs from C: prefetch, an eight-lane tag match, and zeroed pages. */
#ifndef SLUICE_CINTRINSICS_H
#define SLUICE_CINTRINSICS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Ask for the cache line at `address`, for reading, into all cache levels. */
static inline __attribute__((always_inline)) void sluice_prefetch(const void *_Nonnull address) {
  __builtin_prefetch(address, 0, 3);
}

/* Compare the eight 16-bit lanes at `lanes` (16-byte aligned) with `tag`: bit i is set when lane i is equal. */
static inline __attribute__((always_inline)) uint32_t sluice_match8(const void *_Nonnull lanes, uint16_t tag) {
#if defined(SLUICE_THREAD_SANITIZER)
  /* Workers write tags while others look: the sanitizer must see loads that are atomic. */
  const uint64_t *half = (const uint64_t *)lanes;
  uint64_t tags[2] = {__atomic_load_n(half, __ATOMIC_RELAXED), __atomic_load_n(half + 1, __ATOMIC_RELAXED)};
  uint32_t found = 0;
  for (uint32_t i = 0; i < 8; i++) found |= (uint32_t)((uint16_t)(tags[i / 4] >> (i % 4 * 16)) == tag) << i;
  return found;
#elif defined(__SSE2__)
  __m128i equal = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)lanes), _mm_set1_epi16((short)tag));
  return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128()));
#else
  const uint16_t *lane = (const uint16_t *)lanes;
  uint32_t mask = 0;
  for (uint32_t i = 0; i < 8; i++) mask |= (uint32_t)(lane[i] == tag) << i;
  return mask;
#endif
}

/* `bytes` of zeroed pages from the kernel, page-aligned, touched only when used; NULL when there is no room. */
void *_Nullable sluice_pages(size_t bytes);
void sluice_release_pages(void *_Nonnull pages, size_t bytes);

#endif

/* What the engine needs from C: prefetch, an address kept, a ten-lane tag match, and zeroed pages. */
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

/* `address`, of which the compiler then knows nothing more: it keeps it in a register, where it would else put it together
   anew from a base in memory and an index for each access. */
static inline __attribute__((always_inline)) void *_Nonnull sluice_kept(void *_Nonnull address) {
  __asm__("" : "+r"(address));
  return address;
}

/* Compare the ten 16-bit lanes at `lanes` (16-byte aligned, 32 bytes readable) with the lower half of `tag_word`: bit i
   is set when lane i is equal. */
static inline __attribute__((always_inline)) uint32_t sluice_match10(const void *_Nonnull lanes, uint32_t tag_word) {
#if defined(SLUICE_THREAD_SANITIZER)
  /* Workers write tags while others look: the sanitizer must see loads that are atomic. */
  const uint32_t *pair = (const uint32_t *)lanes;
  uint16_t tag = (uint16_t)tag_word;
  uint32_t found = 0;
  for (uint32_t i = 0; i < 5; i++) {
    uint32_t tags = __atomic_load_n(pair + i, __ATOMIC_RELAXED);
    found |= (uint32_t)((uint16_t)tags == tag) << 2 * i | (uint32_t)((uint16_t)(tags >> 16) == tag) << (2 * i + 1);
  }
  return found;
#elif defined(__SSE2__)
  /* Of the second half only two lanes are tags. */
  __m128i wanted = _mm_shufflelo_epi16(_mm_cvtsi32_si128((int)tag_word), 0);
  wanted = _mm_shuffle_epi32(wanted, 0);
  __m128i low = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)lanes), wanted);
  __m128i high = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)lanes + 1), wanted);
  return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high)) & 0x3FF;
#else
  const uint16_t *lane = (const uint16_t *)lanes;
  uint32_t found = 0;
  for (uint32_t i = 0; i < 10; i++) found |= (uint32_t)(lane[i] == (uint16_t)tag_word) << i;
  return found;
#endif
}

/* `bytes` (whole pages) of zeroed memory from the kernel, page-aligned, touched only when used, in huge pages where it is
   large and the kernel has some; NULL when there is no room. */
void *_Nullable sluice_pages(size_t bytes);
/* Has the kernel give all of them now, huge or small, in place of one at each first touch. */
void sluice_take_pages(void *_Nonnull pages, size_t bytes);
void sluice_release_pages(void *_Nonnull pages, size_t bytes);

#endif

#include "CYardstick.h"

#include <emmintrin.h>
#include <stdlib.h>
#include <string.h>

// The table has the shape of the engine's: a bucket is one cache line of eight tags and eight indexes, a direction is one
// cache line.
struct bucket {
  uint16_t tags[8];
  uint32_t values[8];
  uint32_t overflow;
  uint32_t unused[3];
};

struct record {
  uint64_t addresses, ports_protocol;
  uint64_t new_addresses;
  uint32_t new_ports;
  uint16_t network_delta, transport_delta;
  uint8_t macs[12];
  uint32_t last_seen;
  uint64_t packets, bytes;
};

struct yardstick {
  struct bucket *buckets;
  struct record *records;
  uint64_t mask;
  size_t capacity, used;
  uint64_t forwarded;
};

static const uint64_t secret[3] = {0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB};

static inline uint64_t hash(uint64_t a, uint64_t b) {
  __uint128_t first = (__uint128_t)(a ^ secret[0]) * (b ^ secret[1]);
  __uint128_t second = (__uint128_t)((uint64_t)first ^ (uint64_t)(first >> 64)) * secret[2];
  return (uint64_t)second ^ (uint64_t)(second >> 64);
}

static inline uint16_t tag_of(uint64_t h) { return (uint16_t)(h >> 48) ? (uint16_t)(h >> 48) : 1; }

static inline unsigned matching(const struct bucket *bucket, uint16_t tag) {
  __m128i same = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)bucket->tags), _mm_set1_epi16((short)tag));
  return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128()));
}

static inline uint64_t read64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline uint32_t read32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint16_t read16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }

static inline uint16_t fold(uint32_t sum) {
  sum = (sum & 0xFFFF) + (sum >> 16);
  return (uint16_t)((sum & 0xFFFF) + (sum >> 16));
}

// RFC 1624, equation 3: the delta of replaced words, and a checksum adjusted by it.
static uint16_t delta(const uint8_t *old, const uint8_t *new, unsigned words) {
  uint32_t sum = 0;
  for (unsigned i = 0; i < words; i++) sum += (uint16_t)~read16(old + 2 * i) + read16(new + 2 * i);
  return fold(sum);
}

static inline void adjust(uint8_t *checksum, uint16_t delta) {
  uint16_t new = (uint16_t)~fold((uint32_t)(uint16_t)~read16(checksum) + delta);
  memcpy(checksum, &new, 2);
}

struct yardstick *yardstick_make(size_t sessions) {
  struct yardstick *y = calloc(1, sizeof *y);
  if (!y) return NULL;
  size_t buckets = 16;
  while (buckets * 4 < sessions * 2) buckets *= 2;
  y->capacity = sessions * 2;
  y->mask = buckets - 1;
  y->buckets = aligned_alloc(4096, buckets * sizeof *y->buckets);
  y->records = aligned_alloc(4096, (y->capacity * sizeof *y->records + 4095) & ~(size_t)4095);
  if (!y->buckets || !y->records) {
    yardstick_free(y);
    return NULL;
  }
  memset(y->buckets, 0, buckets * sizeof *y->buckets);
  return y;
}

void yardstick_free(struct yardstick *y) {
  free(y->buckets);
  free(y->records);
  free(y);
}

int yardstick_learn(struct yardstick *y, const uint8_t *arriving, const uint8_t *leaving) {
  if (y->used == y->capacity) return 0;
  struct record *r = &y->records[y->used];
  memset(r, 0, sizeof *r);
  r->addresses = read64(arriving + 26);
  r->ports_protocol = read32(arriving + 34) | (uint64_t)arriving[23] << 32;
  r->new_addresses = read64(leaving + 26);
  r->new_ports = read32(leaving + 34);
  r->network_delta = delta(arriving + 26, leaving + 26, 4);
  r->transport_delta = delta(arriving + 26, leaving + 26, 6);
  memcpy(r->macs, leaving, 12);
  uint64_t h = hash(r->addresses, r->ports_protocol);
  struct bucket *home = &y->buckets[h & y->mask], *other = &y->buckets[(h >> 24) & y->mask], *bucket = home;
  unsigned free_home = matching(home, 0), free_other = matching(other, 0);
  if (__builtin_popcount(free_home) < 4 && __builtin_popcount(free_other) > __builtin_popcount(free_home)) {
    bucket = other;
    home->overflow++;
  }
  unsigned lanes = matching(bucket, 0);
  if (!lanes) return 0;
  unsigned lane = (unsigned)__builtin_ctz(lanes);
  bucket->tags[lane] = tag_of(h);
  bucket->values[lane] = (uint32_t)y->used++;
  return 1;
}

enum { burst = 64, none = UINT32_MAX };

static inline int is_plain(const uint8_t *frame) {
  const uint8_t *ip = frame + 14;
  if (read16(frame + 12) != 0x0008 || ip[0] != 0x45 || ip[8] < 2 || (read16(ip + 6) & 0xFF3F) != 0) return 0;
  uint32_t sum = 0;
  for (unsigned i = 0; i < 10; i++) sum += read16(ip + 2 * i);
  return fold(sum) == 0xFFFF && (ip[9] == 17 || ip[9] == 6);
}

static inline int has_key(const struct record *r, const uint8_t *frame) {
  return r->addresses == read64(frame + 26) && r->ports_protocol == (read32(frame + 34) | (uint64_t)frame[23] << 32);
}

// The rare case: another flow with the same tag stands in a lane before.
static __attribute__((noinline)) struct record *find(struct yardstick *y, const uint8_t *frame, uint64_t h) {
  for (int second = 0; second < 2; second++) {
    const struct bucket *bucket = &y->buckets[(second ? h >> 24 : h) & y->mask];
    for (unsigned lanes = matching(bucket, tag_of(h)); lanes; lanes &= lanes - 1) {
      struct record *r = &y->records[bucket->values[__builtin_ctz(lanes)]];
      if (has_key(r, frame)) return r;
    }
  }
  return NULL;
}

static inline void rewrite(struct record *r, uint8_t *frame, uint32_t now) {
  memcpy(frame, r->macs, 12);
  memcpy(frame + 26, &r->new_addresses, 8);
  memcpy(frame + 34, &r->new_ports, 4);
  frame[22]--;
  // The TTL is the low byte of its word in wire order: one less there is one more in the sum.
  adjust(frame + 24, fold((uint32_t)r->network_delta + 0xFFFE));
  uint8_t *checksum = frame + (frame[23] == 17 ? 40 : 50);
  if (frame[23] != 17 || read16(checksum)) adjust(checksum, r->transport_delta);
  r->last_seen = now;
  r->packets++;
  r->bytes += __builtin_bswap16(read16(frame + 16));
}

unsigned yardstick_burst(struct yardstick *y, const void *slots, size_t stride, unsigned count, uint32_t now) {
  uint8_t *frames[burst];
  uint64_t hashes[burst];
  uint32_t found[burst];
  unsigned known = 0;
  if (count > burst) count = burst;
  for (unsigned i = 0; i < count; i++) {
    const uint8_t *frame = frames[i] = *(uint8_t *const *)((const char *)slots + i * stride);
    found[i] = none;
    if (!is_plain(frame)) { hashes[i] = 0; continue; }
    hashes[i] = hash(read64(frame + 26), read32(frame + 34) | (uint64_t)frame[23] << 32);
    __builtin_prefetch(&y->buckets[hashes[i] & y->mask]);
  }
  for (unsigned i = 0; i < count; i++) {
    if (!hashes[i]) continue;
    const struct bucket *bucket = &y->buckets[hashes[i] & y->mask];
    unsigned lanes = matching(bucket, tag_of(hashes[i]));
    if (!lanes && bucket->overflow) {
      bucket = &y->buckets[(hashes[i] >> 24) & y->mask];
      lanes = matching(bucket, tag_of(hashes[i]));
    }
    if (!lanes) continue;
    found[i] = bucket->values[__builtin_ctz(lanes)];
    __builtin_prefetch(&y->records[found[i]], 1);
  }
  for (unsigned i = 0; i < count; i++) {
    if (!hashes[i]) continue;
    struct record *r = found[i] == none ? NULL : &y->records[found[i]];
    if (!r || !has_key(r, frames[i])) r = find(y, frames[i], hashes[i]);
    if (!r) continue;
    rewrite(r, frames[i], now);
    known++;
  }
  y->forwarded += known;
  return known;
}

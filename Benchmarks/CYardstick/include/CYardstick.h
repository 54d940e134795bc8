#pragma once
#include <stddef.h>
#include <stdint.h>

// The least that a translating forwarder does for a packet: parse, keyed hash, bucket, key, rewrite, count. No states,
// no limits, no timers, no second opinion about anything: what is left out of here is what the engine may cost more.

struct yardstick;

// Room for so many sessions, two directions each. NULL where there is no memory.
struct yardstick *yardstick_make(size_t sessions);
void yardstick_free(struct yardstick *);

// Learns a direction from a frame as it comes and as it has to leave: 34 + 4 bytes of headers are read of both.
// 0 where the table is full.
int yardstick_learn(struct yardstick *, const uint8_t *arriving, const uint8_t *leaving);

// Rewrites a burst of at most 64 frames in place; returns how many it knew. A slot begins with the pointer to its frame;
// the next one lies `stride` bytes further.
unsigned yardstick_burst(struct yardstick *, const void *slots, size_t stride, unsigned count, uint32_t now);

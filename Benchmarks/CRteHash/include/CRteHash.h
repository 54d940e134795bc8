#pragma once
#include <stddef.h>
#include <stdint.h>

// DPDK's rte_hash with keys of 16 bytes and a word of data each: lock-free for readers, several writers, bulk lookup.
// Where libdpdk-dev was not there when this was built, everything says so.

// Whether there is an rte_hash.
int rte_hash_is_there(void);

// Starts DPDK with so many MiB of ordinary memory; what is wrong, or NULL.
const char *rte_hash_begin(unsigned megabytes);

struct rte_hash;
// Room for so many entries; NULL where there is no memory.
struct rte_hash *rte_hash_make(uint32_t entries);
void rte_hash_end(struct rte_hash *);

// Registers the calling thread, which DPDK wants of every one that writes, until it leaves.
int rte_hash_enter(void);
void rte_hash_leave(void);

// Inserts the keys from `first` up to `end`, of two words each; how many were.
size_t rte_hash_insert(struct rte_hash *, const uint64_t *words, size_t first, size_t end);
void rte_hash_remove(struct rte_hash *, const uint64_t *words, size_t first, size_t end);
// Looks `count` keys up, one behind the other from `keys` on, 32 at a time. The sum of the places of those that were
// found, each place counted from 1.
uint64_t rte_hash_find(struct rte_hash *, const uint64_t *keys, size_t count);

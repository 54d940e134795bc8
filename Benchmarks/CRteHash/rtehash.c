#define _GNU_SOURCE
#include "CRteHash.h"

#ifdef HAS_RTE_HASH
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_lcore.h>
#include <sched.h>
#include <stdio.h>

int rte_hash_is_there(void) { return 1; }

const char *rte_hash_begin(unsigned megabytes) {
  char memory[16];
  snprintf(memory, sizeof memory, "%u", megabytes);
  char *arguments[] = {"rte_hash", "--no-huge", "-m", memory, "--no-pci", "--no-telemetry", "--no-shconf",
                       "--file-prefix=sluice-benchmarks", "--log-level=error", "-l", "0"};
  // DPDK binds the calling thread to a core, and with it every thread that it starts from then on.
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return "cannot tell what cores there are";
  if (rte_eal_init(sizeof arguments / sizeof *arguments, arguments) < 0) return rte_strerror(rte_errno);
  return sched_setaffinity(0, sizeof cores, &cores) == 0 ? NULL : "cannot have all cores back";
}

struct rte_hash *rte_hash_make(uint32_t entries) {
  struct rte_hash_parameters parameters = {
    .name = "sluice-benchmarks", .entries = entries, .key_len = 16, .socket_id = SOCKET_ID_ANY,
    .extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF | RTE_HASH_EXTRA_FLAGS_MULTI_WRITER_ADD};
  return rte_hash_create(&parameters);
}

void rte_hash_end(struct rte_hash *hash) { rte_hash_free(hash); }
int rte_hash_enter(void) { return rte_thread_register(); }
void rte_hash_leave(void) { rte_thread_unregister(); }

size_t rte_hash_insert(struct rte_hash *hash, const uint64_t *words, size_t first, size_t end) {
  size_t inserted = 0;
  for (size_t i = first; i < end; i++) inserted += rte_hash_add_key_data(hash, words + 2 * i, (void *)(i + 1)) == 0;
  return inserted;
}

void rte_hash_remove(struct rte_hash *hash, const uint64_t *words, size_t first, size_t end) {
  for (size_t i = first; i < end; i++) {
    int32_t position = rte_hash_del_key(hash, words + 2 * i);
    // In the lock-free mode the place is given back by the caller, after a grace period that this measures without.
    if (position >= 0) rte_hash_free_key_with_position(hash, position);
  }
}

uint64_t rte_hash_find(struct rte_hash *hash, const uint64_t *words, size_t count) {
  const void *keys[32];
  void *data[32];
  uint64_t sum = 0;
  for (size_t begin = 0; begin < count; begin += 32) {
    uint32_t burst = count - begin < 32 ? (uint32_t)(count - begin) : 32;
    uint64_t hits = 0;
    for (uint32_t i = 0; i < burst; i++) keys[i] = words + 2 * (begin + i);
    rte_hash_lookup_bulk_data(hash, keys, burst, &hits, data);
    for (uint32_t i = 0; i < burst; i++) sum += hits >> i & 1 ? (uint64_t)data[i] : 0;
  }
  return sum;
}

#else

int rte_hash_is_there(void) { return 0; }
const char *rte_hash_begin(unsigned megabytes) { (void)megabytes; return "built without libdpdk-dev"; }
struct rte_hash *rte_hash_make(uint32_t entries) { (void)entries; return NULL; }
void rte_hash_end(struct rte_hash *hash) { (void)hash; }
int rte_hash_enter(void) { return -1; }
void rte_hash_leave(void) {}
size_t rte_hash_insert(struct rte_hash *h, const uint64_t *w, size_t f, size_t e) { (void)h; (void)w; (void)f; (void)e; return 0; }
void rte_hash_remove(struct rte_hash *h, const uint64_t *w, size_t f, size_t e) { (void)h; (void)w; (void)f; (void)e; }
uint64_t rte_hash_find(struct rte_hash *h, const uint64_t *w, size_t c) { (void)h; (void)w; (void)c; return 0; }

#endif

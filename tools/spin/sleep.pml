/* A sleeping worker must not hold up the others: it goes offline before it sleeps and comes online after.
 *
 * Offline, it counts as having passed every grace period. So coming online needs a full fence between the announcement
 * and the first look: without it, a look could see what the writer removed while the announcement is still unseen. The
 * writer needs the same fence between its removal and its look at who is online.
 *
 * Here the worker sleeps until the writer has done: a writer that waits for a sleeper waits for ever.
 *
 * Holds: no look leads to a place after it was given back; the writer always comes to its end.
 *
 * mutations: NO_ONLINE_FENCE NO_REMOVAL_FENCE SLEEP_ONLINE */
#define WORKERS 2
#define LANE 0
#define RECORD 1
#define TOKEN 2
#define ANNOUNCED 3
#define CELLS 4
#define READER 0
#define WRITER 1
#define OFFLINE 0
#define DEPTH 3
#include "memory.pml"

bool writer_is_done;

inline come_online() {
  load(READER, TOKEN, token);
  store_releasing(READER, ANNOUNCED, token);
#ifdef NO_ONLINE_FENCE
  skip
#else
  fence(READER)
#endif
}

inline go_offline() {
#ifdef SLEEP_ONLINE
  skip
#else
  store_releasing(READER, ANNOUNCED, OFFLINE)
#endif
}

inline burst() {
  load(READER, LANE, place);
  if
  :: place != 0 -> load(READER, RECORD, record); assert(record == 1)
  :: else
  fi;
  place = 0; record = 0
}

proctype reader() {
  byte token, place, record;
  come_online();
  burst();
  /* Once per burst, while it is online. */
  load(READER, TOKEN, token);
  store_releasing(READER, ANNOUNCED, token);
  burst();
  go_offline();
  if
  :: writer_is_done  /* nothing but the writer's end wakes it */
  :: come_online(); burst(); go_offline(); writer_is_done
  fi
}

proctype writer() {
  byte seen;
  store(WRITER, LANE, 0);
  store_releasing(WRITER, TOKEN, 2);
#ifndef NO_REMOVAL_FENCE
  fence(WRITER);
#endif
  do
  :: load(WRITER, ANNOUNCED, seen);
     if
     :: seen == OFFLINE || seen >= 2 -> break
     :: else -> (memory[ANNOUNCED] != seen)  /* looks again when there is something new */
     fi
  od;
  store(WRITER, RECORD, 2);
  writer_is_done = true
}

init {
  atomic {
    memory[LANE] = 1; memory[RECORD] = 1; memory[TOKEN] = 1; memory[ANNOUNCED] = OFFLINE;
    run reader(); run writer(); run drain(READER); run drain(WRITER)
  }
}

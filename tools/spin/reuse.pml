/* Lookup against removal and reuse: a place is written anew only when nobody can still be reading it.
 *
 * One place in the table. At first it is key 1's session, published in lane 1; the writer takes it out and uses it again
 * for key 2, in lane 2. The reader looks both keys up, burst by burst, reads the record in two steps (is it my key? then
 * rewrite by it), and once in a while comes back to a session by a handle that it kept from an earlier burst: place and
 * generation.
 *
 * The grace period: the writer draws a token after the removal; the reader announces the newest token before each burst;
 * the place is free when the reader has announced that token or a later one. A handle lives longer than a burst, so
 * two things guard it: the state, which leaves `live` with the removal, and the generation, which changes with the reuse.
 * Neither is enough alone. A generation that changed with the removal would not do either: a reader that found the lane
 * just before could take the new one into its handle.
 *
 * Holds: who has verified the key rewrites by that key's record; a handle never leads to another's session.
 *
 * mutations: NO_GRACE NO_RELEASE NO_STATE_RELEASE NO_TOKEN_RELEASE NO_GENERATION NO_STATE GENERATION_AT_REMOVAL */
#define WORKERS 2
#define LANE(key) (key)
#define KEY 3
#define REWRITE 4
#define GENERATION 5
#define TOKEN 6
#define ANNOUNCED 7
#define STATE 8
#define CELLS 9
#define LIVE 1
#define ENDING 2
#define READER 0
#define WRITER 1
#define BURSTS 3
#define OFFLINE 255
#define DEPTH 3
#include "memory.pml"

inline announce() {
  load(READER, TOKEN, token);
  store_releasing(READER, ANNOUNCED, token)
}

inline look(wanted) {
  load(READER, LANE(wanted), place);
  if
  :: place != 0 ->
     load(READER, KEY, key);
     if
     :: key == wanted ->
        load(READER, REWRITE, rewrite);
        assert(rewrite == wanted);
        load(READER, GENERATION, generation);
        handle = wanted
     :: else
     fi
  :: else
  fi;
  place = 0; key = 0; rewrite = 0
}

inline use_handle() {
  load(READER, STATE, state);
  load(READER, GENERATION, now);
#ifdef NO_GENERATION
  now = generation;
#endif
#if defined(NO_STATE) || defined(GENERATION_AT_REMOVAL)
  state = LIVE;
#endif
  if
  :: state == LIVE && now == generation ->
     load(READER, REWRITE, rewrite);
     assert(rewrite == handle)
  :: else -> handle = 0
  fi;
  now = 0; state = 0; rewrite = 0
}

proctype reader() {
  byte token, place, key, rewrite, generation, handle, now, state, burst;
  do
  :: burst < BURSTS ->
     announce();
     if
     :: look(1)
     :: look(2)
     :: handle != 0 -> use_handle()
     fi;
     burst++
  :: else -> break
  od;
  store_releasing(READER, ANNOUNCED, OFFLINE)
}

proctype writer() {
  byte seen;
  /* Removal. */
  store(WRITER, LANE(1), 0);
  store(WRITER, STATE, ENDING);
#ifdef GENERATION_AT_REMOVAL
  store(WRITER, GENERATION, 2);
#endif
#ifdef NO_TOKEN_RELEASE
  store(WRITER, TOKEN, 2);
#else
  store_releasing(WRITER, TOKEN, 2);
#endif
#ifndef NO_GRACE
  do
  :: seen < 2 -> load(WRITER, ANNOUNCED, seen)
  :: else -> break
  od;
#endif
  /* Reuse. */
#ifndef GENERATION_AT_REMOVAL
  store(WRITER, GENERATION, 2);
#endif
  store(WRITER, KEY, 2);
  store(WRITER, REWRITE, 2);
#ifdef NO_STATE_RELEASE
  store(WRITER, STATE, LIVE);
#else
  store_releasing(WRITER, STATE, LIVE);
#endif
#ifdef NO_RELEASE
  store(WRITER, LANE(2), 1)
#else
  store_releasing(WRITER, LANE(2), 1)
#endif
}

init {
  atomic {
    memory[LANE(1)] = 1; memory[KEY] = 1; memory[REWRITE] = 1; memory[GENERATION] = 1;
    memory[TOKEN] = 1; memory[ANNOUNCED] = 1; memory[STATE] = LIVE;
    run reader(); run writer(); run drain(READER); run drain(WRITER)
  }
}

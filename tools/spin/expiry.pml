/* Expiry against refresh: two workers find a session over by the clock, a third has a packet for it.
 *
 * A packet that finds the session alive stores the time it was seen: one plain store, no fence. Who finds it over (on a
 * hit, or sweeping) claims its end by compare-and-swap of the state, and then looks at the time again: a refresh that came
 * in between gives it back its life. Only the claimer takes it out. Clocks of workers differ by a tick, so both may be right.
 *
 * Holds: a session ends once; a refresh that is in memory when the end is claimed is honoured; a session that is still
 * live at the end is in the index.
 *
 * mutations: NO_SWAP NO_SECOND_LOOK */
#define WORKERS 3
#define STATE 0
#define SEEN 1
#define LANE 2
#define CELLS 3
#define LIVE 1
#define ENDING 2
#define FREE 3
#define TIMEOUT 2
#include "memory.pml"

byte ended;        /* how often its place was given back */
bool is_refreshed; /* the refresh is in memory */
byte finished;

/* The packet's worker is one tick behind the sweepers: at tick 1 the session, seen at 0, is alive. */
proctype packet(byte me) {
  byte place, state, seen;
  load(me, LANE, place);
  load(me, STATE, state);
  load(me, SEEN, seen);
  if
  :: place != 0 && state == LIVE && seen + TIMEOUT > 1 ->
     store(me, SEEN, 1);
     atomic { fence(me); is_refreshed = true }
  :: else
  fi;
  finished++
}

proctype sweeper(byte me) {
  byte seen, state;
  bool won, was_refreshed;
  load(me, STATE, state);
  load(me, SEEN, seen);
  if
  :: state == LIVE && seen + TIMEOUT <= 2 ->
#ifdef NO_SWAP
     store_releasing(me, STATE, ENDING);
     won = true;
     was_refreshed = is_refreshed;
#else
     atomic { compare_and_swap(me, STATE, LIVE, ENDING, won); was_refreshed = is_refreshed }
#endif
     if
     :: won ->
#ifndef NO_SECOND_LOOK
        load(me, SEEN, seen);
#endif
        if
        :: seen + TIMEOUT > 2 -> store_releasing(me, STATE, LIVE)
        :: else ->
           assert(!was_refreshed);
           store(me, LANE, 0);
           store_releasing(me, STATE, FREE);
           ended++;
           assert(ended == 1)
        fi
     :: else
     fi
  :: else
  fi;
  finished++
}

proctype judge() {
  atomic {
    finished == WORKERS && pending[0].used + pending[1].used + pending[2].used == 0 ->
    assert(memory[STATE] == LIVE || memory[STATE] == FREE);
    assert((memory[STATE] == LIVE) == (memory[LANE] != 0) && (memory[STATE] == FREE) == (ended == 1))
  }
}

init {
  atomic {
    memory[STATE] = LIVE; memory[LANE] = 1;
    run packet(0); run sweeper(1); run sweeper(2);
    run drain(0); run drain(1); run drain(2); run judge()
  }
}

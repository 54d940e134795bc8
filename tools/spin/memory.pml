/* Shared words as a weakly ordered machine has them, so that a missing fence shows.
 *
 * Every worker's stores wait in a buffer of its own and reach memory later, in any order but for two rules: two stores to
 * one word keep their order, and a releasing store waits for all before it. A worker sees its own stores at once. That is
 * x86 (whose stores are all releasing) and, as far as stores go, arm64. Compare-and-swap and fences wait for the buffer to
 * be empty: `lock`-prefixed instructions, or sequentially consistent operations.
 *
 * The including file defines WORKERS and CELLS. DEPTH is how many stores can wait. */
#ifndef DEPTH
#define DEPTH 2
#endif

typedef Pending { byte cell[DEPTH]; byte value[DEPTH]; bool releases[DEPTH]; byte used }
byte memory[CELLS];
Pending pending[WORKERS];
byte moved;  /* scratch of the atomic steps below, 0 between them: it adds no states */

inline store_any(me, to, what, isRelease) {
  atomic {
    (pending[me].used < DEPTH) ->
    pending[me].cell[pending[me].used] = to;
    pending[me].value[pending[me].used] = what;
    pending[me].releases[pending[me].used] = isRelease;
    pending[me].used++
  }
}
inline store(me, to, what) { store_any(me, to, what, false) }
inline store_releasing(me, to, what) { store_any(me, to, what, true) }

inline load(me, from, into) {
  atomic {
    into = memory[from];
    moved = 0;
    do
    :: moved < pending[me].used ->
       if
       :: pending[me].cell[moved] == from -> into = pending[me].value[moved]
       :: else
       fi;
       moved++
    :: else -> break
    od;
    moved = 0
  }
}

inline fence(me) { (pending[me].used == 0) }

inline compare_and_swap(me, at, old, new, won) {
  atomic {
    (pending[me].used == 0) ->
    won = (memory[at] == old);
    if
    :: won -> memory[at] = new
    :: else
    fi
  }
}

inline commit(me, which) {
  memory[pending[me].cell[which]] = pending[me].value[which];
  moved = which;
  do
  :: moved + 1 < pending[me].used ->
     pending[me].cell[moved] = pending[me].cell[moved + 1];
     pending[me].value[moved] = pending[me].value[moved + 1];
     pending[me].releases[moved] = pending[me].releases[moved + 1];
     moved++
  :: else -> break
  od;
  pending[me].used--;
  pending[me].cell[pending[me].used] = 0;
  pending[me].value[pending[me].used] = 0;
  pending[me].releases[pending[me].used] = false;
  moved = 0
}

/* One for each worker: its stores reach memory some time, the first or, where nothing forbids it, a later one first. */
#define may_pass(me, a, b) \
  (pending[me].used > b && pending[me].cell[a] != pending[me].cell[b] && !pending[me].releases[b])
proctype drain(byte me) {
end:
  do
  :: atomic { pending[me].used > 0 -> commit(me, 0) }
  :: atomic { may_pass(me, 0, 1) -> commit(me, 1) }
#if DEPTH > 2
  :: atomic { may_pass(me, 0, 2) && may_pass(me, 1, 2) -> commit(me, 2) }
#endif
  od
}

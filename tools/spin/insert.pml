/* Insertion: workers that find no session for a packet make one each, for one and the same key, at once.
 *
 * A key has two buckets, here of two lanes: positions 0, 1 and 2, 3. A lane is a tag word (0 = free) and an index word
 * (0 = claimed, not published). To insert: look; claim any free lane by compare-and-swap of its tag; write the record;
 * look again, at both buckets; publish the index. In the second look
 *   - a published lane with the key wins: withdraw, use that session;
 *   - a claimed lane before ours wins: withdraw, drop the packet (insert-contention);
 *   - a claimed lane behind ours will see us, or has looked before we claimed: wait for which, a bounded number of loads,
 *     then withdraw and drop.
 * So a preempted owner stalls nobody, and a session is the key's only one from the moment it can be found.
 *
 * Holds: never two published lanes of one key; a session that a packet went out by stays; who finds a session finds a
 * whole record; if nobody dropped, there is exactly one.
 *
 * mutations: NO_SECOND_LOOK IGNORE_BEHIND WEAK_CLAIM NO_RELEASE PUBLISH_BEFORE_LOOK */
#ifndef INSERTERS
#define INSERTERS 2
#endif
#define WORKERS (INSERTERS + 1)
#define LANES 4
#define TAG(position) (position)
#define INDEX(position) (LANES + (position))
#define KEY(session) (2 * LANES + (session))
#define CELLS (2 * LANES + INSERTERS + 1)
#include "memory.pml"

#define PATIENCE 2
#define DROPPED 255

byte outcome[INSERTERS];  /* the session that the packet went out by, or DROPPED */
byte finished;
#ifdef WEAK_CLAIM
bool owned[LANES];
#endif

/* The first published lane of the key; 0 for none. A claimed lane is a miss. */
inline look(me, found) {
  found = 0;
  position = 0;
  do
  :: position < LANES && found == 0 ->
     load(me, TAG(position), tag);
     if
     :: tag != 0 ->
        load(me, INDEX(position), found);
        if
        :: found != 0 -> load(me, KEY(found), key); assert(key == 1)
        :: else
        fi
     :: else
     fi;
     position++
  :: else -> break
  od;
  position = 0; tag = 0; key = 0
}

inline claim(me) {
  do
  :: if
     :: lane = 0
     :: lane = 1
     :: lane = 2
     :: lane = 3
     fi;
#ifdef WEAK_CLAIM
     /* The swap is atomic, but later loads overtake it. */
     atomic { won = !owned[lane]; owned[lane] = true };
     if
     :: won -> store(me, TAG(lane), 1); break
     :: else
     fi
#else
     compare_and_swap(me, TAG(lane), 0, 1, won);
     if
     :: won -> break
     :: else
     fi
#endif
  od
}

inline publish(me, session) {
#ifdef NO_RELEASE
  store(me, INDEX(lane), session)
#else
  store_releasing(me, INDEX(lane), session)
#endif
}

/* The index first: a lane claimed next must not look published. */
inline withdraw(me) {
  store(me, INDEX(lane), 0);
  store_releasing(me, TAG(lane), 0)
}

inline look_again(me) {
  position = 0;
  do
  :: position < LANES && result == 0 ->
     tag = 0;
     if
     :: position != lane -> load(me, TAG(position), tag)
     :: else
     fi;
     if
     :: tag == 0 -> position++
     :: else ->
        load(me, INDEX(position), other);
        if
        :: other != 0 ->
#ifdef PUBLISH_BEFORE_LOOK
           /* Lowest position wins: one behind us is left to withdraw by itself. */
           if
           :: position < lane -> result = other
           :: else -> position++
           fi
#else
           result = other
#endif
        :: other == 0 && position < lane -> result = DROPPED
#ifdef IGNORE_BEHIND
        :: other == 0 && position > lane -> position++
#else
        :: other == 0 && position > lane && patience > 0 -> patience--
        :: other == 0 && position > lane && patience == 0 -> result = DROPPED
#endif
        fi
     fi
  :: else -> break
  od;
  position = 0; tag = 0; other = 0
}

proctype inserter(byte me) {
  byte position, tag, key, lane, other, result, patience = PATIENCE;
  bool won;
  look(me, result);
  if
  :: result == 0 ->
     claim(me);
     store(me, KEY(me + 1), 1);
#ifdef PUBLISH_BEFORE_LOOK
     publish(me, me + 1);
     fence(me);
#endif
#ifndef NO_SECOND_LOOK
     look_again(me);
#endif
     if
     :: result == 0 ->
        result = me + 1;
#ifndef PUBLISH_BEFORE_LOOK
        publish(me, me + 1)
#endif
     :: else -> withdraw(me)
     fi
  :: else
  fi;
  atomic { outcome[me] = result; finished++ }
}

proctype reader(byte me) {
  byte position, tag, key, found;
  look(me, found);
  look(me, found)
}

/* When all is quiet: what the table holds, and what the packets went out by. */
proctype judge() {
  byte position, live, session, worker;
  bool dropped;
  atomic {
    finished == INSERTERS && pending[0].used + pending[1].used + pending[INSERTERS - 1].used == 0 ->
    do
    :: position < LANES ->
       if
       :: memory[TAG(position)] != 0 -> live++; session = memory[INDEX(position)]
       :: else -> assert(memory[INDEX(position)] == 0)
       fi;
       position++
    :: else -> break
    od;
    assert(live <= 1);
    do
    :: worker < INSERTERS ->
       if
       :: outcome[worker] == DROPPED -> dropped = true
       :: else -> assert(live == 1 && outcome[worker] == session)
       fi;
       worker++
    :: else -> break
    od;
    assert(live == 1 || dropped)
  }
}

init {
  byte worker;
  atomic {
    do
    :: worker < INSERTERS -> run inserter(worker); run drain(worker); worker++
    :: else -> break
    od;
    run reader(INSERTERS);
    run judge()
  }
}

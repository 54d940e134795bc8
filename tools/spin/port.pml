/* Outside ports: one bitmap, and a summary that says which of its words are full.
 *
 * A port is claimed by one atomic `or` of its bit into the word: who has set it owns it. An atomic `and` gives it back. Who
 * fills a word marks it full, and looks at the word again after a full fence: it may have got a free bit in the meantime,
 * and then the mark comes off. Who gives a port back takes the mark off after it. A mark may be missing (that costs one look), but must never stay on a word
 * that has a free bit: its ports would be lost.
 *
 * Holds: a port has one owner at most; when all is quiet, no mark is on a word that has a free bit.
 *
 * mutations: NO_ATOMIC_OR NO_SECOND_LOOK NO_FENCE MARK_OFF_FIRST */
#define WORKERS 3
#define WORD 0     /* two ports: bits 0 and 1 */
#define FULL 1     /* the summary's mark */
#define CELLS 2
#include "memory.pml"

byte owners[2];
byte finished;

inline claim(me) {
  do
  :: load(me, FULL, mark);
     if
     :: mark -> port = 2; break
     :: else
     fi;
     load(me, WORD, word);
     if
     :: !(word & 1) -> port = 0
     :: !(word & 2) -> port = 1
     :: word == 3 -> port = 2; break
     fi;
#ifdef NO_ATOMIC_OR
     won = !(word & (1 << port));
     store(me, WORD, word | (1 << port));
     fence(me);
#else
     atomic {
       fence(me);
       word = memory[WORD];
       won = !(word & (1 << port));
       memory[WORD] = word | (1 << port)
     };
#endif
     if
     :: won -> word = word | (1 << port); break
     :: else
     fi
  od;
  if
  :: port < 2 -> owners[port]++; assert(owners[port] == 1)
  :: else
  fi
}

inline mark_if_filled(me) {
  if
  :: port < 2 && word == 3 ->
     store(me, FULL, 1);
#ifndef NO_FENCE
     fence(me);
#endif
#ifndef NO_SECOND_LOOK
     load(me, WORD, word);
     if
     :: word != 3 -> store(me, FULL, 0)
     :: else
     fi
#endif
  :: else
  fi
}

inline give_back(me) {
  owners[port]--;
#ifdef MARK_OFF_FIRST
  store(me, FULL, 0);
#endif
  atomic { fence(me); memory[WORD] = memory[WORD] & ~(1 << port) };
#ifndef MARK_OFF_FIRST
  store(me, FULL, 0)
#endif
}

proctype worker(byte me) {
  byte word, mark, port;
  bool won;
  claim(me);
  mark_if_filled(me);
  if
  :: port < 2 -> give_back(me)
  :: port < 2  /* keeps it */
  :: port == 2
  fi;
  word = 0; mark = 0; won = false; port = 0;
  finished++
}

proctype judge() {
  atomic {
    finished == WORKERS && pending[0].used + pending[1].used + pending[2].used == 0 ->
    assert(memory[WORD] == (owners[0] | (owners[1] << 1)));
    assert(memory[WORD] == 3 || memory[FULL] == 0)
  }
}

init {
  atomic {
    run worker(0); run worker(1); run worker(2);
    run drain(0); run drain(1); run drain(2); run judge()
  }
}

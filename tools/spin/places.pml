/* Free places: a stack of those given back, shared without locks.
 *
 * The top is one word: the first free place, and how often the stack has changed. To take, read the top and the link of
 * its place, then swap the top for that link; to give, link to the top, then swap it for the place. The count keeps a slow
 * worker from swapping in a link that it read before the same place was taken and given back: that link may be in use.
 *
 * Holds: nobody gets a place that somebody has; when all is quiet, every place is owned or in the stack, once.
 *
 * mutations: NO_COUNT NO_SWAP */
#define WORKERS 2
#define PLACES 3
#define STEPS 4

byte top = 1, changes, link[PLACES + 1], owners[PLACES + 1], finished;

inline swap_top(old, seen, new) {
  atomic {
#ifdef NO_SWAP
    won = true;
#else
#ifdef NO_COUNT
    won = (top == old);
#else
    won = (top == old && changes == seen);
#endif
#endif
    if
    :: won -> top = new; changes++
    :: else
    fi
  }
}

inline take() {
  do
  :: atomic { head = top; seen = changes };
     if
     :: head == 0 -> break
     :: else
     fi;
     next = link[head];
     swap_top(head, seen, next);
     if
     :: won ->
        atomic { owners[head]++; assert(owners[head] == 1); mine[head] = true };
        break
     :: else
     fi
  od;
  head = 0; next = 0; seen = 0; won = false
}

inline give(place) {
  atomic { owners[place]--; mine[place] = false };
  do
  :: atomic { head = top; seen = changes };
     link[place] = head;
     swap_top(head, seen, place);
     if
     :: won -> break
     :: else
     fi
  od;
  head = 0; seen = 0; won = false
}

proctype worker() {
  byte step, head, next, seen;
  bool won, mine[PLACES + 1];
  do
  :: step < STEPS ->
     if
     :: take()
     :: mine[1] -> give(1)
     :: mine[2] -> give(2)
     :: mine[3] -> give(3)
     fi;
     step++
  :: else -> break
  od;
  finished++
}

proctype judge() {
  byte place, free;
  atomic {
    finished == WORKERS ->
    place = top;
    do
    :: place != 0 && free < PLACES + 1 -> assert(owners[place] == 0); free++; place = link[place]
    :: else -> break
    od;
    assert(free + owners[1] + owners[2] + owners[3] == PLACES)
  }
}

init {
  atomic {
    link[1] = 2; link[2] = 3;
    run worker(); run worker(); run judge()
  }
}

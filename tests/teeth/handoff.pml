/* The hand-off ring of core/microbatch/turns/handoff.py, for spin.

   N parties; each passes the turn at 0 to K yield points (drawn). At most one fault strikes anywhere: in the set-up,
   in the work of whoever has the turn, in a wait whose limit passes, or as an interrupt between any two steps of
   passing the turn or of leaving. Every interleaving is tried.

   What must hold: nobody is parked for ever (no invalid end state), one works at a time unless somebody was told to
   scatter, and nobody works after a failure that was passed on with the turn.

   spin -a -DN=3 -DK=2 tests/teeth/handoff.pml && gcc -O1 -DSAFETY -o pan pan.c && ./pan -m100000
   -DLATE_FLAG, -DFORGOTTEN_LEAVE, -DLOST_WAKE_UP and -DSTALE_LINK each put in a bug that spin must find. */

#ifndef N
#define N 3
#endif
#ifndef K
#define K 2
#endif
#define NOBODY N

byte holder = 0, arrived = 0, working = 0, after[N];
bool started = false, failed = false, scattered = false, struck = false, limits = false;
bool permit[N];

inline open_all(g) {
  d_step { g = 0; do :: g < N -> permit[g] = true; g++ :: else -> break od; g = 0 }
}

inline scatter(g) {
#ifdef LATE_FLAG
  open_all(g);
  scattered = true
#else
  scattered = true;
  open_all(g)
#endif
}

inline fail(i, g) {
  if
  :: holder == i -> failed = true
  :: else -> scatter(g)
  fi
}

/* One look at the state, then one wait for the permit, which is taken in one step; again after every wake. */
inline take(i, g) {
#ifdef LOST_WAKE_UP
  if :: k > 0 -> permit[i] = false; atomic { permit[i] -> permit[i] = false } :: else -> skip fi;
#endif
  do
  :: scattered -> break
  :: !scattered && holder == i && (started || failed) -> break
  :: else ->
     if
     :: atomic { permit[i] -> permit[i] = false }
     :: atomic { limits && !struck -> struck = true }; goto late   /* the limit passed, or an interrupt came */
     fi
  od
}

proctype party(byte i) {
  byte g, k = 0, yields, following, p;
  select(yields : 0 .. K);

  if :: atomic { !struck -> struck = true }; fail(i, g); goto out :: true fi;      /* in the set-up */
  atomic { arrived++ };
  if
  :: arrived == N -> started = true; if :: holder != i -> permit[holder] = true :: else fi
  :: else
  fi;
  take(i, g);
  if :: failed || scattered -> goto out :: else fi;

  do
  :: atomic { working++; assert(working == 1 || scattered); assert(!failed || scattered) };
     working--;
     if :: atomic { !struck -> struck = true }; fail(i, g); goto out :: true fi;   /* in the work */
     if :: failed || scattered -> goto out :: else fi;
     if :: k == yields -> break :: else -> k++ fi;
     following = after[i];
     if
     :: following == i
     :: else ->
        holder = following;
        if :: atomic { !struck -> struck = true }; goto late :: true fi;           /* an interrupt here */
        permit[following] = true;
        take(i, g);
        if :: failed || scattered -> goto out :: else fi
     fi;
     following = 0
  od;
  goto out;

late:
  scatter(g);

out:
  if
#ifdef FORGOTTEN_LEAVE
  :: holder == i && !failed ->
#else
  :: holder == i ->
#endif
     following = after[i];
     if
     :: following == i
     :: else ->
        d_step {
#ifndef STALE_LINK
          after[i] = NOBODY;
#endif
          p = 0;
          do :: p < N && after[p] != i -> p++ :: else -> break od;
          if :: p < N -> after[p] = following :: else fi;
          p = 0
        };
        holder = following;
        if
        :: atomic { !struck -> struck = true }; scatter(g)                         /* an interrupt here */
        :: permit[following] = true
        fi
     fi
  :: else
  fi
}

init {
  byte i = 0;
  atomic {
    if :: limits = true :: true fi;   /* waits without a limit too, so that a limit does not hide a hang */
    do :: i < N -> after[i] = (i + 1) % N; i++ :: else -> break od;
    i = 0;
    do :: i < N -> run party(i); i++ :: else -> break od
  }
}

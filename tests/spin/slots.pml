/* The slots of a connection as a state machine, in step with shm/protocol.h: each comment names the
 * function whose step it is. Every step is atomic and everybody sees it at once; what weaker memory
 * does is tests/explorer's business. Here the runs have no bound on preemptions, and liveness is
 * checked under fairness.
 *
 * Two threads of a client call, one of them twice in the same slot, the first time perhaps giving
 * up; or the first of them alone, and the client may be killed at any moment. When it is gone, the
 * next client gets a connection of its own, and its call must be answered: there is memory for one
 * client at a time.
 *
 * BUG=n in the environment breaks one thing; test_slots.py knows which there are. */

#define SLOTS 2
#define AT(connection, slot) ((connection) * SLOTS + (slot))
#define WORDS 4 /* of two connections */
#define REPLY_TO(payload) ((payload) + 100)

byte bug;

/* Region A. */
byte request_generation[WORDS];
byte payload[WORDS];
bool waiting[WORDS];
/* Region B. */
byte reply_generation[WORDS];
byte reply[WORDS];
bool asleep[2];

/* The kernel's. */
bool in_futex[WORDS];
bool bell[2];
bool hung_up;
bool killed;

/* The sidecar's own. */
byte taken[WORDS];
bool busy[WORDS];
byte answered[WORDS]; /* the ledger */
byte in_flight;       /* of the first connection */
bool admitted;
chan jobs = [WORDS] of { byte, byte, byte };

byte ended; /* threads of the first client */
bool next_done;

/* Link::publish; BUG 2 asks whether to ring before it publishes. */
inline publish(w, c, g) {
  if
  :: bug == 2 ->
     if
     :: asleep[c] -> request_generation[w] = g; bell[c] = true
     :: else -> request_generation[w] = g
     fi
  :: else ->
     request_generation[w] = g;                                  /* publish() */
     d_step {
       if
       :: asleep[c] -> bell[c] = true
       :: else
       fi
     }
  fi
}

/* One call by a client's thread: Link::submit, Link::wait, Link::finish. */
inline call(w, c, g, p) {
  if
  :: bug == 1 -> publish(w, c, g); payload[w] = p
  :: else -> d_step { payload[w] = p; waiting[w] = false }; publish(w, c, g)
  fi;
  if
  :: reply_generation[w] == g || (bug == 3 && reply_generation[w] != 0) /* replied() */
  :: else ->
     if
     :: bug == 4
     :: else -> waiting[w] = true                                /* raise_waiting() */
     fi;
     do
     :: before = reply_generation[w];                            /* Link::sleep_until */
        if
        :: reply_generation[w] == g -> break                     /* replied_again() */
        :: else
        fi;
        if
        :: bug == 5 -> before = reply_generation[w]
        :: else
        fi;
        d_step {                                                 /* FUTEX_WAIT */
          if
          :: reply_generation[w] == before -> in_futex[w] = true
          :: else
          fi;
          before = 0
        };
        !in_futex[w]
     od
  fi;
  atomic { before = 0; assert(reply[w] == REPLY_TO(p)) }
}

inline last_thread() {
  atomic {
    ended++;
    if
    :: ended == 2 -> hung_up = true
    :: else
    fi
  }
}

/* In slot 0: calls, or gives up (Link::cancel), and calls again when the slot has come back
 * (Link::collect_abandoned); otherwise all slots are busy. */
proctype first_caller() {
  byte before;
  {
    if
    :: call(AT(0, 0), 0, 1, 1)
    :: d_step { payload[AT(0, 0)] = 1; waiting[AT(0, 0)] = false };
       publish(AT(0, 0), 0, 1)
    fi;
    if
    :: bug == 6 || reply_generation[AT(0, 0)] == 1 -> call(AT(0, 0), 0, 2, 2)
    :: else
    fi;
    last_thread()
  } unless { killed }
}

/* In slot 1. */
proctype second_caller() {
  byte before;
  {
    call(AT(0, 1), 0, 1, 11);
    last_thread()
  } unless { killed }
}

proctype killer() {
  atomic { killed = true; hung_up = true }
}

proctype next() {
  byte before;
  admitted;
  if
  :: bug == 10 -> call(AT(0, 0), 0, 1, 31)
  :: else -> call(AT(1, 0), 1, 1, 31)
  fi;
  next_done = true
}

/* Connection::take for all slots; `worked` says whether there was something. */
inline sweep(c) {
  slot = 0;
  do
  :: slot == SLOTS -> break
  :: else ->
     d_step {
       if
       :: request_generation[AT(c, slot)] == taken[AT(c, slot)] /* look() */
       :: else ->
          assert(request_generation[AT(c, slot)] == taken[AT(c, slot)] + 1);
          assert(!busy[AT(c, slot)]);
          taken[AT(c, slot)] = request_generation[AT(c, slot)];
          busy[AT(c, slot)] = true;
          if
          :: c == 0 -> in_flight++
          :: else
          fi;
          jobs!AT(c, slot), taken[AT(c, slot)], payload[AT(c, slot)];
          worked = true
       fi;
       slot++
     }
  od;
  slot = 0
}

inline forget(w) {
  request_generation[w] = 0; reply_generation[w] = 0; payload[w] = 0; reply[w] = 0;
  waiting[w] = false; in_futex[w] = false; taken[w] = 0; busy[w] = false; answered[w] = 0
}

/* Intake::run, Intake::sleep, Intake::disconnect and Intake::admit. */
active proctype intake() {
  byte slot, connected;
  bool worked;
  c_code { const char* bug = getenv("BUG"); now.bug = bug == 0 ? 0 : atoi(bug); };
  atomic {
    if
    :: run second_caller()
    :: ended = 1; run killer()
    fi;
    run first_caller(); run next(); run executor()
  };
  do
  :: worked = false;
     sweep(connected);
     if
     :: !worked ->
        if
        :: bug == 7 -> sweep(connected); asleep[connected] = true; worked = false
        :: bug == 8 -> asleep[connected] = true; worked = false
        :: else -> asleep[connected] = true; sweep(connected)    /* raise_asleep() */
        fi;
        if
        :: !worked ->
end_asleep:
           if
           :: bell[connected] -> bell[connected] = false
           :: connected == 0 && hung_up ->
              if
              :: bug == 10                       /* lends a dead client's memory at once */
              :: else -> in_flight == 0; connected = 1
              fi;
              d_step {                           /* nobody looks there any more: one state */
                forget(0); forget(1);
                asleep[0] = false; bell[0] = false; hung_up = false; admitted = true
              }
           fi
        :: else
        fi;
        asleep[connected] = false
     :: else
     fi
  od
}

/* Connection::complete and Connection::wake, from the stage that computes. */
proctype executor() {
  byte word, generation, copy;
end_idle:
  do
  :: jobs?word, generation, copy ->
     if
     :: bug == 9 && word < SLOTS && (hung_up || killed)          /* forgets the dead one's */
     :: else ->
        d_step {
          assert(bug == 10 || answered[word] + 1 == generation);
          answered[word] = generation
        };
        if
        :: bug == 11
        :: else -> reply[word] = REPLY_TO(copy)
        fi;
        if
        :: bug == 12 ->
           if
           :: waiting[word] -> busy[word] = false; reply_generation[word] = generation;
              in_futex[word] = false
           :: else -> busy[word] = false; reply_generation[word] = generation
           fi
        :: else ->
           if
           :: bug == 13 -> reply_generation[word] = generation; busy[word] = false
           :: else -> busy[word] = false; reply_generation[word] = generation /* answer() */
           fi;
           if
           :: waiting[word] && bug != 14 -> in_futex[word] = false /* FUTEX_WAKE */
           :: else
           fi
        fi;
        if
        :: bug == 11 -> reply[word] = REPLY_TO(copy)
        :: else
        fi;
        d_step {
          if
          :: word < SLOTS -> in_flight--
          :: else
          fi;
          word = 0; generation = 0; copy = 0
        }
     fi
  od
}

ltl every_wait_ends { <> next_done }

/* SPDX-License-Identifier: MIT */
/*
 * A model of the shared-memory ring for Spin: index protocol, slab reclamation, sleeping and waking, and processes that
 * die at any step and are replaced. See README.md for what is proven and what is not; `just model-check` runs it.
 *
 * Names in [brackets] are the labels of src/packetfs/ring; the step names (P1, C1, ...) stand in both places.
 *
 * Memory is as weak as the orderings in the source allow, on any machine, apart from loads that are delayed past later
 * stores (caught by the race check instead):
 *
 * - A shared word is the list of its stores, in modification order; last[w] is the newest. Each side has a view: for
 *   each word the oldest store that it may still read. A load picks any store from there on, so it may be stale.
 * - A store with release keeps its side's view beside it; a load with acquire that reads it takes that view over.
 *   Relaxed accesses take over nothing.
 * - A full fence takes over the view of every full fence before it, as far as shared words are concerned, and lets its
 *   side's buffered stores out. It gives plain data nothing: none may depend on it.
 * - Words with two writers, the bells, do not get their plain stores at once either: these wait in a buffer until the
 *   next store to the word, the next fence, the kernel's look, or just some time.
 * - Slots and slab are plain data. Every access carries an epoch, and an access which the other side's latest one does
 *   not happen before, as views tell it, is a data race and fails. That does not depend on what the race would do.
 */

#ifndef SLOTS
#define SLOTS 2 /* a power of two */
#endif
#ifndef UNITS
#define UNITS 3 /* of the slab */
#endif
#ifndef RECORDS
#define RECORDS 3 /* sent in all */
#endif
#ifndef DEATHS
#define DEATHS 1 /* of either side, in all */
#endif

/* Indices run freely over MODULUS instead of 2^32, and start so that they wrap early. */
#define MODULUS 8
#define INDEX(ordinal) (((ordinal) + MODULUS - 1) % MODULUS)
#define BETWEEN(head, tail) (((head) + MODULUS - (tail)) % MODULUS)
#define SLOT(index) ((index) % SLOTS)

#define P 0 /* the producer's side */
#define C 1 /* the consumer's side */
#define NONE 255

/* Words, and then the epochs of plain data: writes and reads of each slot, writes and reads of each unit. */
#define HEAD 0
#define TAIL 1
#define BELL(sleeper) (2 + (sleeper))
#define WORDS 4
#define SLOT_WRITE(i) (WORDS + (i))
#define SLOT_READ(i) (WORDS + SLOTS + (i))
#define UNIT_WRITE(u) (WORDS + 2 * SLOTS + (u))
#define UNIT_READ(u) (WORDS + 2 * SLOTS + UNITS + (u))
#define ALL (WORDS + 2 * SLOTS + 2 * UNITS)

#define STORES 8 /* to one bell that somebody may still read, at most; an index out of bounds is an error */

typedef View {
	byte e[ALL]
};

View view[2];
View fenced;		     /* what full fences have passed on, of words only */
View bucket[2];		     /* what the kernel's lock of each futex has passed on, of words only */
byte last[ALL];
View head_view[RECORDS + 1]; /* beside each store of head; store n of head says that n records were committed */
View tail_view[RECORDS + 1];
byte tail_value[RECORDS + 1];
bit bell_value[2 * STORES];
byte buffered[2];	     /* bell stores that are not out yet: 0 none, else value + 1 */
bit asleep[2];

byte slot[SLOTS];
byte unit[UNITS]; /* ordinal of the record that was written there, from 1 on */
byte size[RECORDS + 1];
byte slab_next;	  /* written and read in the producer's role only, which the kernel's lock hands over */
byte deaths = DEATHS;

byte i, store; /* scratch inside atomic steps */

inline join(into, from, count)
{
	i = 0;
	do
	:: i < count ->
		if
		:: into.e[i] < from.e[i] -> into.e[i] = from.e[i]
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

/* Lets a side read any store of a word that is not older than what it knows. */
inline pick(side, word)
{
	store = view[side].e[word];
	do
	:: store < last[word] -> store++
	:: break
	od;
	view[side].e[word] = store
}

/* What the only reader of a word took over need not be kept: views up to store `store`. */
#define SPEND(reader, side, views) \
	if \
	:: side == reader -> \
		i = 0; \
		do \
		:: i < ALL * (store + 1) -> \
			views[i / ALL].e[i % ALL] = 0; \
			i++ \
		:: else -> break \
		od; \
		i = 0 \
	:: else \
	fi

/* [H2]; leaves the number of committed records in `store`. */
inline load_head(side)
{
	pick(side, HEAD);
#ifndef BUG_RELAXED_H2
	join(view[side], head_view[store], ALL);
	SPEND(C, side, head_view)
#endif
}

/* [T2]; leaves the number of released records in `store`. */
inline load_tail(side)
{
	pick(side, TAIL);
#ifndef BUG_RELAXED_T2
	join(view[side], tail_view[store], ALL);
	SPEND(P, side, tail_view)
#endif
	store = tail_value[store]
}

/* [H1] */
inline store_head()
{
	last[HEAD]++;
	view[P].e[HEAD] = last[HEAD];
#ifndef BUG_RELAXED_H1
	join(head_view[last[HEAD]], view[P], ALL)
#endif
}

/* [T1] */
inline store_tail(released)
{
	last[TAIL]++;
	view[C].e[TAIL] = last[TAIL];
	tail_value[last[TAIL]] = released;
#ifndef BUG_RELAXED_T1
	join(tail_view[last[TAIL]], view[C], ALL)
#endif
}

/*
 * Adds a store to a bell, of which the storing side knows. Then forgets the stores that both sides are past and counts the
 * others from 0 again, so that histories which only differ in what nobody can read any more are one state.
 */
inline append(side, bell, value)
{
	last[BELL(bell)]++;
	bell_value[bell * STORES + last[BELL(bell)]] = value;
	view[side].e[BELL(bell)] = last[BELL(bell)];
	store = (view[P].e[BELL(bell)] < view[C].e[BELL(bell)] -> view[P].e[BELL(bell)] : view[C].e[BELL(bell)]);
	i = 0;
	do
	:: store > 0 && i < STORES ->
		bell_value[bell * STORES + i] = (i + store < STORES -> bell_value[bell * STORES + i + store] : 0);
		i++
	:: else -> break
	od;
	last[BELL(bell)] = last[BELL(bell)] - store;
	forget(view[P], bell);
	forget(view[C], bell);
	forget(fenced, bell);
	forget(bucket[P], bell);
	forget(bucket[C], bell);
	i = 0;
	do
	:: i <= RECORDS ->
		forget(head_view[i], bell);
		forget(tail_view[i], bell);
		i++
	:: else -> break
	od;
	i = 0;
	store = 0
}

inline forget(known, bell)
{
	known.e[BELL(bell)] = (known.e[BELL(bell)] > store -> known.e[BELL(bell)] - store : 0)
}

/* A bell's buffered store goes out. Only the sleeper stores there, so it is its own view that learns of it. */
inline let_out(bell)
{
	if
	:: buffered[bell] != 0 ->
		append(bell, bell, buffered[bell] - 1);
		buffered[bell] = 0
	:: else
	fi
}

inline store_bell(bell, value)
{
	let_out(bell);
	buffered[bell] = value + 1
}

inline full_fence(side)
{
	let_out(side);
	join(view[side], fenced, WORDS);
	join(fenced, view[side], WORDS)
}

/* The lock of a futex in the kernel, around a step of `side`. */
inline locked(side, bell)
{
	join(view[side], bucket[bell], WORDS);
	join(bucket[bell], view[side], WORDS)
}

/*
 * D0: a process may die before any step. Its buffered store is not lost; it sleeps no more. Inside the step, so that
 * there are no more states than steps.
 */
#define MAY_DIE(side)                                      \
	if                                                 \
	:: deaths > 0 ->                                   \
		deaths--;                                  \
		let_out(side);                             \
		goto attach                                \
	:: skip                                            \
	fi

/* Doorbell.ring: R1 fence [F2], R2 look, R3 exchange, R4 wake. */
inline ring(side, bell)
{
#ifndef BUG_NO_F2
	atomic {
		MAY_DIE(side);
		full_fence(side)
	};
#endif
	atomic {
		MAY_DIE(side);
		pick(side, BELL(bell));
		heard = bell_value[bell * STORES + store];
		store = 0
	};
	if
	:: heard ->
		atomic {
			MAY_DIE(side);
			heard = bell_value[bell * STORES + last[BELL(bell)]];
			append(side, bell, 0)
		};
		if
		:: heard ->
			atomic {
				MAY_DIE(side);
				locked(side, bell);
				asleep[bell] = 0;
				heard = 0
			}
		:: else
		fi
	:: else
	fi
}

/*
 * Doorbell.ringAnyway, after attaching: the process before may have died between publishing and R1, or between R3 and
 * R4, when the word is 0 and yet somebody sleeps.
 */
inline ring_anyway(side, bell)
{
#if defined(BUG_NO_RING_AT_ATTACH)
	skip
#elif defined(BUG_ATTACH_RINGS_IF_ARMED)
	ring(side, bell)
#else
	atomic {
		MAY_DIE(side);
		full_fence(side)
	};
	atomic {
		MAY_DIE(side);
		append(side, bell, 0)
	};
	atomic {
		MAY_DIE(side);
		locked(side, bell);
		asleep[bell] = 0
	}
#endif
}

/* Doorbell.arm: S1 store, S2 fence [F1]. */
inline arm(side)
{
	atomic {
		MAY_DIE(side);
		store_bell(side, 1)
	};
#ifndef BUG_NO_F1
	atomic {
		MAY_DIE(side);
		full_fence(side)
	}
#endif
}

/* Doorbell.disarm: S6. */
inline disarm(side)
{
	atomic {
		MAY_DIE(side);
		store_bell(side, 0)
	}
}

/* Doorbell.sleep: S4 the kernel looks at the word under the futex's lock, and S5 somebody wakes the sleeper or nobody. */
inline sleep(side)
{
	atomic {
		MAY_DIE(side);
		let_out(side);
		locked(side, side);
		pick(side, BELL(side));
		asleep[side] = bell_value[side * STORES + store];
		join(bucket[side], view[side], WORDS);
		store = 0
	};
	atomic {
		if
		:: !asleep[side] -> locked(side, side)
		:: asleep[side] && deaths > 0 ->
			deaths--;
			asleep[side] = 0;
			goto attach
		fi
	}
}

/* RingProducer.findSpace: sets `start` to where a record of `want` units may go, or to NONE. */
inline find_space()
{
	if
	:: BETWEEN(head, known_tail) < SLOTS && want <= end - next -> start = next
	:: else ->
		load_tail(P);
		known_tail = INDEX(store);
		store = 0;
		assert(BETWEEN(head, known_tail) <= SLOTS);
		oldest = known_tail;
#ifdef BUG_EARLY_REUSE
		if
		:: oldest != head -> oldest = (oldest + 1) % MODULUS
		:: else
		fi;
#endif
		if
		:: BETWEEN(head, known_tail) == SLOTS -> start = NONE
		:: oldest == head ->
			next = 0;
			end = UNITS;
			start = 0
		:: else ->
			assert(view[P].e[SLOT_WRITE(SLOT(oldest))] == last[SLOT_WRITE(SLOT(oldest))]);
			oldest = slot[SLOT(oldest)];
			if
			:: oldest >= next ->
				end = oldest;
				start = (want <= end - next -> next : NONE)
			:: else ->
				end = UNITS;
				start = (want <= end - next -> next : (want <= oldest -> 0 : NONE))
			fi
		fi;
		oldest = 0
	fi
}

/* The record under construction, counted from 1 on. */
#ifndef BUG_HEAD_FIRST
#define ORDINAL (last[HEAD] + 1)
#else
#define ORDINAL last[HEAD]
#endif

/* The record's bytes and its slot: plain stores, so one step will do; the race check does not depend on timing. */
inline write_record()
{
	want = 0;
	do
	:: want < size[ORDINAL] ->
		assert(view[P].e[UNIT_READ(start + want)] == last[UNIT_READ(start + want)]);
		last[UNIT_WRITE(start + want)]++;
		view[P].e[UNIT_WRITE(start + want)] = last[UNIT_WRITE(start + want)];
		unit[start + want] = ORDINAL;
		want++
	:: else -> break
	od;
	want = 0;
	assert(view[P].e[SLOT_READ(SLOT(head))] == last[SLOT_READ(SLOT(head))]);
	last[SLOT_WRITE(SLOT(head))]++;
	view[P].e[SLOT_WRITE(SLOT(head))] = last[SLOT_WRITE(SLOT(head))];
	slot[SLOT(head)] = start
}

active proctype Producer()
{
	byte head, known_tail, next, end, want, start, oldest;
	bit heard;

attach: /* P0: the role's lock hands over everything that the producer before knew: its view stays */
	atomic {
		heard = 0;
		start = 0;
		want = 0;
		oldest = 0;
		load_head(P);
		head = INDEX(store);
		assert(store == last[HEAD]);
		load_tail(P);
		known_tail = INDEX(store);
		store = 0;
		assert(BETWEEN(head, known_tail) <= SLOTS);
		next = slab_next;
		end = next
	};
	ring_anyway(P, C);
	do
	:: last[HEAD] == RECORDS -> break
	:: else ->
		atomic { /* P1: reserve, for a record of any size */
			MAY_DIE(P);
			select(want : 1 .. UNITS);
			find_space()
		};
		do
		:: start != NONE -> break
		:: else -> /* waitForSpace */
			arm(P);
#ifndef BUG_NO_SECOND_LOOK
			atomic { /* S3: the second look */
				MAY_DIE(P);
				find_space()
			};
#endif
			if
			:: start == NONE -> sleep(P)
			:: else
			fi;
			disarm(P);
			atomic {
				MAY_DIE(P);
				if
				:: start == NONE -> find_space()
				:: else
				fi
			}
		od;
#ifdef BUG_HEAD_FIRST
		atomic {
			size[last[HEAD] + 1] = want;
			store_head()
		};
#endif
		atomic { /* P2: fill the record, write its slot; P3: slab_next */
			MAY_DIE(P);
			assert(start + want <= UNITS);
			size[ORDINAL] = want;
			if
			:: start != next -> end = start + want
			:: else
			fi;
			next = start + want;
#ifndef BUG_SLAB_NEXT_LATE
			slab_next = next % UNITS;
#endif
			write_record()
		};
		atomic { /* P4: publish [H1] */
			MAY_DIE(P);
			start = 0;
			head = (head + 1) % MODULUS;
#ifndef BUG_HEAD_FIRST
			store_head()
#endif
		};
#ifdef BUG_SLAB_NEXT_LATE
		atomic {
			MAY_DIE(P);
			slab_next = next % UNITS
		};
#endif
		ring(P, C) /* P5: notifyConsumer */
	od
}

/* The record `ahead` behind the oldest one: its slot and its bytes, which must be the ones that were written. */
inline read_record()
{
	assert(view[C].e[SLOT_WRITE(SLOT(tail + ahead))] == last[SLOT_WRITE(SLOT(tail + ahead))]);
	last[SLOT_READ(SLOT(tail + ahead))]++;
	view[C].e[SLOT_READ(SLOT(tail + ahead))] = last[SLOT_READ(SLOT(tail + ahead))];
	at = slot[SLOT(tail + ahead)];
	length = size[released + ahead + 1];
	do
	:: length > 0 ->
		assert(view[C].e[UNIT_WRITE(at)] == last[UNIT_WRITE(at)]);
		assert(unit[at] == released + ahead + 1);
		last[UNIT_READ(at)]++;
		view[C].e[UNIT_READ(at)] = last[UNIT_READ(at)];
		at++;
		length--
	:: else -> break
	od;
	at = 0
}

/* A look at head, unless records are known to be there. */
inline look()
{
	if
	:: known_head == tail ->
		load_head(C);
		known_head = INDEX(store);
		store = 0
	:: else
	fi
}

active proctype Consumer()
{
	byte tail, known_head, released, ahead, at, length;
	bit heard;

attach: /* C0, as P0 */
	atomic {
		heard = 0;
		ahead = 0;
		load_head(C);
		known_head = INDEX(store);
		load_tail(C);
		released = store;
		assert(released == tail_value[last[TAIL]]);
		tail = INDEX(released);
		store = 0;
		assert(BETWEEN(known_head, tail) <= SLOTS)
	};
	ring_anyway(C, P);
	do
	:: released == RECORDS -> break
	:: else ->
		atomic { /* C1: peek */
			MAY_DIE(C);
			look()
		};
		do
		:: known_head != tail -> break
		:: else -> /* waitForRecords */
			arm(C);
#ifndef BUG_NO_SECOND_LOOK
			atomic { /* S3: the second look */
				MAY_DIE(C);
				look()
			};
#endif
			if
			:: known_head == tail -> sleep(C)
			:: else
			fi;
			disarm(C);
			atomic {
				MAY_DIE(C);
				look()
			}
		od;
#ifdef BUG_EARLY_RELEASE
		atomic {
			store_tail(released + 1)
		};
#endif
		atomic { /* C2: read slot and record, maybe also those of the next one, to release both at once */
			MAY_DIE(C);
			assert(BETWEEN(known_head, tail) <= SLOTS);
			read_record();
			ahead = 1;
			if
			:: ahead < BETWEEN(known_head, tail) ->
				read_record();
				ahead++
			:: skip
			fi
		};
		atomic { /* C3: release [T1] */
			MAY_DIE(C);
			released = released + ahead;
			tail = (tail + ahead) % MODULUS;
			ahead = 0;
#ifndef BUG_EARLY_RELEASE
			store_tail(released)
#endif
		};
		ring(C, P) /* C4: notifyProducer */
	od
}

/* Time lets buffered stores out. */
active proctype Buffers()
{
end:
	do
	:: d_step {
		buffered[P] != 0 -> let_out(P)
	   }
	:: d_step {
		buffered[C] != 0 -> let_out(C)
	   }
	od
}

/* SPDX-License-Identifier: MIT */
/*
 * The pass over memory: counts bytes as they are loaded, maps them, stores them back.
 *
 * The ISA defines VECTOR (bytes of a vector) and SUM_BYTES(). Ranges need no alignment. A range's
 * last vector ends with the range and overlaps the one before it; it is loaded before anything is
 * stored, so that its bytes are mapped once, and bytes that the vectors before it have counted are
 * masked. Nothing outside the range is read or written: a neighbouring byte may belong to another
 * process.
 */
#ifndef PFS_PASS_H
#define PFS_PASS_H

#include "internal.h"

typedef uint8_t bytes_t __attribute__((vector_size(VECTOR), aligned(1), may_alias));
typedef uint64_t sums_t __attribute__((vector_size(VECTOR)));

/*
 * A range of 2 to LADDER vectors is always treated as LADDER vectors, of which those that would
 * begin too late coincide with the last one. More work than a loop, but without a branch that
 * depends on the length: in a table of random lengths, a mispredicted branch costs more than this
 * does.
 */
#if VECTOR == 32
#define LADDER 10
#else
#define LADDER 0
#endif

/*
 * A pass that counts and maps has so many instructions in flight for each line that too few lines
 * are asked for ahead of time. On Zen 3 that costs a tenth beyond the caches; so do as many nops in
 * a pass of xor alone. Asking in time gets it back; in the caches it would cost a tenth instead.
 */
#ifndef PREFETCH_FROM
#define PREFETCH_FROM (1 << 19)
#define PREFETCH_AHEAD 1024
#endif

/* Counters of the bytes: in bytes while they cannot overflow, then in 64-bit lanes. */
struct counts {
	bytes_t value[PFS_MAX_REDUCERS];
	bytes_t recent[PFS_MAX_REDUCERS];
	sums_t sum[PFS_MAX_REDUCERS];
	unsigned int room; /* how many more matches a byte of `recent` can take */
};

ALWAYS_INLINE bytes_t splat(uint8_t byte)
{
	bytes_t vector = {0};

	return vector + byte;
}

ALWAYS_INLINE bytes_t load_vector(const uint8_t *p)
{
	return *(const bytes_t *)p;
}

ALWAYS_INLINE void store_vector(uint8_t *p, bytes_t vector)
{
	*(bytes_t *)p = vector;
}

/* All ones in the last `count` bytes; in none if it is negative (down to -LADDER vectors). */
ALWAYS_INLINE bytes_t last_bytes(ptrdiff_t count)
{
	static const uint8_t mask[(LADDER + 2) * VECTOR] = {
	    [(LADDER + 1) * VECTOR... sizeof(mask) - 1] = 0xFF};

	return load_vector(mask + LADDER * VECTOR + count);
}

ALWAYS_INLINE void map_vectors(bytes_t *x, int vectors, const struct pfs_rounds *rounds,
			       unsigned int round_count)
{
	for (unsigned int r = 0; r < round_count; ++r) {
		bytes_t flip = splat(rounds->flip[r]);
		bytes_t add = splat(rounds->add[r]);

		for (int v = 0; v < vectors; ++v)
			x[v] = (x[v] ^ flip) + add;
	}
}

ALWAYS_INLINE void widen_counts(struct counts *counts, unsigned int counters)
{
	for (unsigned int c = 0; c < counters; ++c) {
		counts->sum[c] += (sums_t)SUM_BYTES(counts->recent[c]);
		counts->recent[c] = splat(0);
	}
	counts->room = 255;
}

/* Counts in up to four vectors; only under `mask`, which may be all ones. */
ALWAYS_INLINE void count_matches(struct counts *counts, unsigned int counters, const bytes_t *x,
				 int vectors, bytes_t mask)
{
	for (unsigned int c = 0; c < counters; ++c) {
		/* A match is 255, that is -1. */
		bytes_t matches = (bytes_t)(x[0] == counts->value[c]);

		for (int v = 1; v < vectors; ++v)
			matches += (bytes_t)(x[v] == counts->value[c]);
		counts->recent[c] -= matches & mask;
	}
}

/* A range that is shorter than a vector: through a vector of its own. */
ALWAYS_INLINE void pass_short(uint8_t *p, size_t length, const struct pfs_rounds *rounds,
			      unsigned int round_count, struct counts *counts,
			      unsigned int counters)
{
	uint8_t buffer[VECTOR] = {0};
	bytes_t x;

	memcpy(buffer, p, length);
	x = load_vector(buffer);
	count_matches(counts, counters, &x, 1, ~last_bytes(VECTOR - length));
	if (!round_count)
		return;
	map_vectors(&x, 1, rounds, round_count);
	store_vector(buffer, x);
	memcpy(p, buffer, length);
}

#if LADDER
/* A range of 2 to LADDER vectors; `copy`, where not NULL, gets the mapped bytes too. */
ALWAYS_INLINE void pass_ladder(uint8_t *p, size_t length, const struct pfs_rounds *rounds,
			       unsigned int round_count, struct counts *counts,
			       unsigned int counters, uint8_t *copy)
{
	const size_t last = length - VECTOR;
	bytes_t x[LADDER];

	/* Sixteen registers are enough to load all vectors before storing one. */
#pragma clang loop unroll(full)
	for (size_t v = 0; v < LADDER; ++v) {
		size_t at = v >= 2 && v * VECTOR > last ? last : v * VECTOR;
		/* Of a vector that overlaps the one before, only the bytes at its end are new. */
		bytes_t new = v < 2 ? ~splat(0) : last_bytes((ptrdiff_t)(at - v * VECTOR) + VECTOR);

		x[v] = load_vector(p + at);
		count_matches(counts, counters, &x[v], 1, new);
	}
	if (counters)
		counts->room -= LADDER;
	map_vectors(x, LADDER, rounds, round_count);
#pragma clang loop unroll(full)
	for (size_t v = 0; v < LADDER; ++v) {
		size_t at = v >= 2 && v * VECTOR > last ? last : v * VECTOR;

		if (round_count)
			store_vector(p + at, x[v]);
		if (copy)
			store_vector(copy + at, x[v]);
	}
}
#endif

/* Four vectors. */
ALWAYS_INLINE void pass_block(uint8_t *p, const struct pfs_rounds *rounds, unsigned int round_count,
			      struct counts *counts, unsigned int counters)
{
	bytes_t x[4];

	for (int v = 0; v < 4; ++v)
		x[v] = load_vector(p + v * VECTOR);
	count_matches(counts, counters, x, 4, ~splat(0));
	map_vectors(x, 4, rounds, round_count);
	if (round_count)
		for (int v = 0; v < 4; ++v)
			store_vector(p + v * VECTOR, x[v]);
}

/*
 * One range; `copy`, where not NULL, gets the mapped bytes too. Loops over rounds and counters
 * vanish where their numbers are constants.
 */
ALWAYS_INLINE void pass_range(uint8_t *p, size_t length, const struct pfs_rounds *rounds,
			      unsigned int round_count, struct counts *counts,
			      unsigned int counters, uint8_t *copy)
{
	uint8_t *const start = p;
	const size_t whole = length;
	const bytes_t all = ~splat(0);
	bytes_t tail, x[4];

	if (counters && counts->room < LADDER + 8)
		widen_counts(counts, counters);
#if LADDER
	if (length == 2 * VECTOR && !copy) {
		/* So common that a table may hold nothing else. */
		memcpy(x, p, 2 * VECTOR);
		count_matches(counts, counters, x, 2, all);
		map_vectors(x, 2, rounds, round_count);
		if (round_count)
			memcpy(p, x, 2 * VECTOR);
		if (counters)
			counts->room -= 2;
		return;
	}
	if (length - 2 * VECTOR <= (LADDER - 2) * VECTOR) {
		pass_ladder(p, length, rounds, round_count, counts, counters, copy);
		return;
	}
#endif
	if (length < VECTOR) {
		pass_short(p, length, rounds, round_count, counts, counters);
		if (counters)
			counts->room -= 1;
		if (copy)
			memcpy(copy, p, length);
		return;
	}
	tail = load_vector(p + length - VECTOR);
	count_matches(counts, counters, &tail, 1, last_bytes(length % VECTOR));
	map_vectors(&tail, 1, rounds, round_count);
	if (counters)
		counts->room -= 4; /* with the single vectors below */

	while (length >= 4 * VECTOR) {
		size_t blocks = length / (4 * VECTOR);

		if (counters) {
			if (counts->room < 8)
				widen_counts(counts, counters);
			if (blocks > counts->room / 4 - 1)
				blocks = counts->room / 4 - 1;
			counts->room -= 4 * blocks;
		}
		length -= blocks * 4 * VECTOR;
		/* On Zen 3, the short loop that only counts takes up to 1.4 times as long where it
		 * straddles a line of code; the longer ones gain nothing from it. */
		if (!round_count) [[clang::code_align(64)]]
			for (; blocks; --blocks, p += 4 * VECTOR)
				pass_block(p, rounds, round_count, counts, counters);
		else if (counters && whole >= PREFETCH_FROM)
			for (; blocks; --blocks, p += 4 * VECTOR) {
				__builtin_prefetch(p + PREFETCH_AHEAD);
				if (VECTOR == 32)
					__builtin_prefetch(p + PREFETCH_AHEAD + 64);
				pass_block(p, rounds, round_count, counts, counters);
			}
		else
			for (; blocks; --blocks, p += 4 * VECTOR)
				pass_block(p, rounds, round_count, counts, counters);
	}
	for (; length >= VECTOR; length -= VECTOR, p += VECTOR) {
		x[0] = load_vector(p);
		count_matches(counts, counters, x, 1, all);
		map_vectors(x, 1, rounds, round_count);
		if (round_count)
			store_vector(p, x[0]);
	}
	if (round_count)
		store_vector(p + length - VECTOR, tail);
	if (copy)
		memcpy(copy, start, whole);
}

/* Copies a range to a place with room for a whole number of vectors. */
ALWAYS_INLINE void copy_range(uint8_t *to, const uint8_t *from, size_t length)
{
#if LADDER
	if (length - 2 * VECTOR <= (LADDER - 2) * VECTOR) {
#pragma clang loop unroll(full)
		for (int v = 0; v < LADDER; ++v) {
			size_t at = v * VECTOR;

			if (v >= 2 && at > length - VECTOR)
				at = length - VECTOR;
			store_vector(to + at, load_vector(from + at));
		}
		return;
	}
#endif
	memcpy(to, from, length);
}

/* What a copy of a range takes up: copies begin at multiples of a vector, so that stores do not
 * straddle lines. */
ALWAYS_INLINE size_t slot_size(size_t length)
{
	return (length + VECTOR - 1) / VECTOR * VECTOR;
}

/* What becomes of the ranges' bytes besides. */
enum copies {
	NO_COPY,
	COPY_BEFORE, /* a copy of the bytes as loaded, one slot after the other */
	COPY_AFTER,  /* a copy of the bytes as stored */
};

/* Adds what has been counted to sums[0..<counters] and begins anew. */
ALWAYS_INLINE void add_counts(struct counts *counts, unsigned int counters, uint64_t *sums)
{
	widen_counts(counts, counters);
	for (unsigned int c = 0; c < counters; ++c) {
		__m128i sum = ADD_HALVES(counts->sum[c]);

		sums[c] += _mm_cvtsi128_si64(_mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum)));
		counts->sum[c] = (sums_t){0};
	}
}

/* All ranges, in order; adds to sums[0..<counters], or, with `each`, to a row of `counters` sums
 * for each range. */
ALWAYS_INLINE void pass_ranges(const struct range *ranges, size_t count,
			       const struct pfs_plan *plan, unsigned int round_count,
			       unsigned int counters, uint64_t *sums, int each, enum copies copies,
			       uint8_t *copy)
{
	struct counts counts;

	for (unsigned int c = 0; c < counters; ++c) {
		counts.value[c] = splat(plan->counters[c]);
		counts.recent[c] = splat(0);
		counts.sum[c] = (sums_t){0};
	}
	counts.room = 255;
	for (size_t i = 0; i < count; ++i) {
		uint8_t *p = (uint8_t *)ranges[i].start;
		size_t length = ranges[i].length;

		if (i + AHEAD < count)
			prefetch_range(ranges[i + AHEAD].start, ranges[i + AHEAD].length);
		if (copies == COPY_BEFORE)
			copy_range(copy, p, length);
		pass_range(p, length, &plan->final, round_count, &counts, counters,
			   copies == COPY_AFTER ? copy : NULL);
		copy += slot_size(length);
		if (each) {
			add_counts(&counts, counters, sums);
			sums += counters;
		}
	}
	if (!each)
		add_counts(&counts, counters, sums);
}

/*
 * The shapes of a pass that get code of their own: rounds, counters, a row of sums for each range,
 * copies. ANY leaves a number open, at the price of loops; the first shape that fits is taken.
 */
#define ANY (-1)
#define PASS_SHAPES(SHAPE)                                                                         \
	SHAPE(0, 1, 0, NO_COPY)                                                                    \
	SHAPE(1, 0, 0, NO_COPY)                                                                    \
	SHAPE(1, 1, 0, NO_COPY)                                                                    \
	SHAPE(0, ANY, 0, NO_COPY)                                                                  \
	SHAPE(ANY, 0, 0, NO_COPY)                                                                  \
	SHAPE(ANY, ANY, 0, NO_COPY)                                                                \
	SHAPE(0, 1, 1, NO_COPY)                                                                    \
	SHAPE(1, 1, 1, NO_COPY)                                                                    \
	SHAPE(0, ANY, 1, NO_COPY)                                                                  \
	SHAPE(ANY, ANY, 1, NO_COPY)                                                                \
	SHAPE(1, 0, 0, COPY_AFTER)                                                                 \
	SHAPE(ANY, ANY, 0, COPY_AFTER)                                                             \
	SHAPE(ANY, ANY, 1, COPY_AFTER)                                                             \
	SHAPE(ANY, ANY, 0, COPY_BEFORE)                                                            \
	SHAPE(ANY, ANY, 1, COPY_BEFORE)

#define FITS(wanted, number) ((wanted) == ANY || (int)(number) == (wanted))
#define NUMBER(wanted, number) ((wanted) == ANY ? (number) : (unsigned int)(wanted))

/* The pass of a plan over ranges whose first AHEAD have been prefetched. */
ALWAYS_INLINE void pass_shapes(const struct range *ranges, size_t count,
			       const struct pfs_plan *plan, uint64_t *sums, int each,
			       enum copies copies, uint8_t *copy)
{
	unsigned int rounds = plan->final.count;
	unsigned int counters = plan->counter_count;

#define SHAPE(r, c, e, k)                                                                          \
	if (each == (e) && copies == (k) && FITS(r, rounds) && FITS(c, counters)) {                \
		pass_ranges(ranges, count, plan, NUMBER(r, rounds), NUMBER(c, counters), sums, e,  \
			    k, copy);                                                              \
		return;                                                                            \
	}
	PASS_SHAPES(SHAPE)
#undef SHAPE
}

/* The pass that adds to one row of sums. */
static void pass(const struct range *ranges, size_t count, const struct pfs_plan *plan,
		 uint64_t *sums)
{
	pass_shapes(ranges, count, plan, sums, 0, NO_COPY, NULL);
}

/* The same with a row of sums for each range. */
static void pass_each(const struct range *ranges, size_t count, const struct pfs_plan *plan,
		      uint64_t *sums)
{
	pass_shapes(ranges, count, plan, sums, 1, NO_COPY, NULL);
}

/* The same with a copy of all ranges' bytes; it has room for a whole number of vectors. */
static void pass_and_copy(const struct range *ranges, size_t count, const struct pfs_plan *plan,
			  uint64_t *sums, int each, enum copies copies, uint8_t *copy)
{
	if (each && copies == COPY_AFTER)
		pass_shapes(ranges, count, plan, sums, 1, COPY_AFTER, copy);
	else if (each)
		pass_shapes(ranges, count, plan, sums, 1, COPY_BEFORE, copy);
	else if (copies == COPY_AFTER)
		pass_shapes(ranges, count, plan, sums, 0, COPY_AFTER, copy);
	else
		pass_shapes(ranges, count, plan, sums, 0, COPY_BEFORE, copy);
}

/* Maps bytes of our own, up to the end of the last vector. */
static void map_scratch(uint8_t *p, size_t length, const struct pfs_rounds *rounds)
{
	if (!rounds->count)
		return;
	for (const uint8_t *end = p + length; p < end; p += 4 * VECTOR) {
		bytes_t x[4];

		for (int v = 0; v < 4; ++v)
			x[v] = load_vector(p + v * VECTOR);
		map_vectors(x, 4, rounds, rounds->count);
		for (int v = 0; v < 4; ++v)
			store_vector(p + v * VECTOR, x[v]);
	}
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * One range of a pass over memory, see pass.h, with vectors of 16 or 32 bytes.
 *
 * A range's last vector ends with the range and overlaps the one before it; it is loaded before
 * anything is stored, so that its bytes are mapped once, and bytes that the vectors before it have
 * counted are masked.
 */
#ifndef PFS_PASS_RANGE_H
#define PFS_PASS_RANGE_H

#include "vector.h"

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

/* The rounds of a map in vectors. What is stored could be the plan for all that the compiler knows;
 * so without this it would load the plan's bytes again after every store. */
struct map {
	bytes_t flip[PFS_MAX_ROUNDS];
	bytes_t add[PFS_MAX_ROUNDS];
};

ALWAYS_INLINE void prepare_map(struct map *map, const struct pfs_rounds *rounds,
			       unsigned int round_count)
{
	if (round_count == NEGATE)
		map->add[0] = splat(rounds->add[0] - 1);
	for (unsigned int r = 0; r < round_count && round_count != NEGATE; ++r) {
		map->flip[r] = splat(rounds->flip[r]);
		map->add[r] = splat(rounds->add[r]);
	}
}

ALWAYS_INLINE void apply_map(bytes_t *x, int vectors, const struct map *map,
			     unsigned int round_count)
{
	for (int v = 0; v < vectors && round_count == NEGATE; ++v)
		x[v] = map->add[0] - x[v];
	for (unsigned int r = 0; r < round_count && round_count != NEGATE; ++r)
		for (int v = 0; v < vectors; ++v)
			x[v] = (x[v] ^ map->flip[r]) + map->add[r];
}

/* Counters of the bytes: in bytes while they cannot overflow, then in 64-bit lanes. */
struct counts {
	bytes_t value[PFS_MAX_REDUCERS];
	bytes_t recent[PFS_MAX_REDUCERS];
	sums_t sum[PFS_MAX_REDUCERS];
	unsigned int room; /* how many more matches a byte of `recent` can take */
};

ALWAYS_INLINE void begin_counts(struct counts *counts, const uint8_t *values, unsigned int counters)
{
	for (unsigned int c = 0; c < counters; ++c) {
		counts->value[c] = splat(values[c]);
		counts->recent[c] = splat(0);
		counts->sum[c] = (sums_t){0};
	}
	counts->room = 255;
}

/* All ones in the last `count` bytes; in none if it is negative (down to -LADDER vectors). */
ALWAYS_INLINE bytes_t last_bytes(ptrdiff_t count)
{
	static const uint8_t mask[(LADDER + 2) * VECTOR] = {
	    [(LADDER + 1) * VECTOR... sizeof(mask) - 1] = 0xFF};

	return load_vector(mask + LADDER * VECTOR + count);
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
ALWAYS_INLINE void pass_short(uint8_t *p, size_t length, const struct map *map,
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
	apply_map(&x, 1, map, round_count);
	store_vector(buffer, x);
	memcpy(p, buffer, length);
}

#if LADDER
/* A range of 2 to LADDER vectors; `copy`, where not NULL, gets the mapped bytes too. */
ALWAYS_INLINE void pass_ladder(uint8_t *p, size_t length, const struct map *map,
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
	apply_map(x, LADDER, map, round_count);
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
ALWAYS_INLINE void pass_block(uint8_t *p, const struct map *map, unsigned int round_count,
			      struct counts *counts, unsigned int counters)
{
	bytes_t x[4];

	for (int v = 0; v < 4; ++v)
		x[v] = load_vector(p + v * VECTOR);
	count_matches(counts, counters, x, 4, ~splat(0));
	apply_map(x, 4, map, round_count);
	if (round_count)
		for (int v = 0; v < 4; ++v)
			store_vector(p + v * VECTOR, x[v]);
}

/* A range of at least a vector, by a loop. */
ALWAYS_INLINE void pass_long(uint8_t *p, size_t length, const struct map *map,
			     unsigned int round_count, struct counts *counts, unsigned int counters)
{
	const size_t whole = length;
	const bytes_t all = ~splat(0);
	bytes_t tail, x[4];

	tail = load_vector(p + length - VECTOR);
	count_matches(counts, counters, &tail, 1, last_bytes(length % VECTOR));
	apply_map(&tail, 1, map, round_count);
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
				pass_block(p, map, round_count, counts, counters);
		else if (counters && whole >= PREFETCH_FROM)
			for (; blocks; --blocks, p += 4 * VECTOR) {
				__builtin_prefetch(p + PREFETCH_AHEAD);
				if (VECTOR == 32)
					__builtin_prefetch(p + PREFETCH_AHEAD + 64);
				pass_block(p, map, round_count, counts, counters);
			}
		else
			for (; blocks; --blocks, p += 4 * VECTOR)
				pass_block(p, map, round_count, counts, counters);
	}
	for (; length >= VECTOR; length -= VECTOR, p += VECTOR) {
		x[0] = load_vector(p);
		count_matches(counts, counters, x, 1, all);
		apply_map(x, 1, map, round_count);
		if (round_count)
			store_vector(p, x[0]);
	}
	if (round_count)
		store_vector(p + length - VECTOR, tail);
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

/*
 * One range. A copy has room for a whole number of vectors. Loops over rounds and counters vanish
 * where their numbers are constants.
 */
ALWAYS_INLINE void pass_range(uint8_t *p, size_t length, unsigned int layout, const struct map *map,
			      unsigned int round_count, struct counts *counts,
			      unsigned int counters, enum copies copies, uint8_t *copy)
{
	bytes_t x[2];

	if (counters && counts->room < LADDER + 8)
		widen_counts(counts, counters);
	if (copies == COPY_BEFORE)
		copy_range(copy, p, length);
	if (LADDER && length == 2 * VECTOR && copies != COPY_AFTER) {
		/* So common that a table may hold nothing else. */
		memcpy(x, p, 2 * VECTOR);
		count_matches(counts, counters, x, 2, ~splat(0));
		apply_map(x, 2, map, round_count);
		if (round_count)
			memcpy(p, x, 2 * VECTOR);
		if (counters)
			counts->room -= 2;
		return;
	}
	if (length < VECTOR) {
		pass_short(p, length, map, round_count, counts, counters);
		if (counters)
			counts->room -= 1;
		if (copies == COPY_AFTER)
			memcpy(copy, p, length);
		return;
	}
#if LADDER
	if (!(layout & ALIKE) && length - 2 * VECTOR <= (LADDER - 2) * VECTOR) {
		pass_ladder(p, length, map, round_count, counts, counters,
			    copies == COPY_AFTER ? copy : NULL);
		return;
	}
#else
	(void)layout;
#endif
	pass_long(p, length, map, round_count, counts, counters);
	if (copies == COPY_AFTER)
		copy_range(copy, p, length);
}

/* The ranges of descriptors, and how they lie. */
ALWAYS_INLINE unsigned int gather_ranges(struct range *ranges, uint8_t *base,
					 const struct pfs_descriptor *descriptors, size_t count)
{
	/* A descriptor is 64 bits of offset and 32 of length; a range an address and 64 bits. */
	const __m128i fields = _mm_set_epi64x(0xFFFFFFFF, -1);
	const __m128i bases = _mm_set_epi64x(0, (long long)(uintptr_t)base);
	const uint8_t *start = base + descriptors[0].offset;
	const size_t length = descriptors[0].length;
	uint64_t distance = count > 1 ? descriptors[1].offset - descriptors[0].offset : 0;
	const __m128i step = _mm_set_epi64x(0, (long long)distance);
	__m128i last =
	    _mm_sub_epi64(_mm_set_epi64x((long long)length, (long long)(uintptr_t)start), step);
	__m128i starts = _mm_setzero_si128(), others = _mm_setzero_si128();

	if (count == 1) {
		ranges[0] = (struct range){start, length};
		return layout_of(ranges, 1);
	}
	for (size_t i = 0; i < count; ++i) {
		__m128i range = _mm_loadu_si128((const __m128i *)(descriptors + i));

		range = _mm_add_epi64(_mm_and_si128(range, fields), bases);
		_mm_storeu_si128((__m128i *)(ranges + i), range);
		starts = _mm_or_si128(starts, range);
		others = _mm_or_si128(others, _mm_xor_si128(_mm_sub_epi64(range, last), step));
		last = range;
	}
	return layout_from(length, distance, (uint64_t)_mm_cvtsi128_si64(starts) % 64,
			   (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(others, others)),
			   (uint64_t)_mm_cvtsi128_si64(others));
}

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

/* Maps bytes of our own, up to SCRATCH_SLACK bytes beyond their end. */
static void map_scratch(uint8_t *p, size_t length, const struct pfs_rounds *rounds)
{
	struct map map;

	if (!rounds->count)
		return;
	prepare_map(&map, rounds, rounds->count);
	for (const uint8_t *end = p + length; p < end; p += 4 * VECTOR) {
		bytes_t x[4];

		for (int v = 0; v < 4; ++v)
			x[v] = load_vector(p + v * VECTOR);
		apply_map(x, 4, &map, rounds->count);
		for (int v = 0; v < 4; ++v)
			store_vector(p + v * VECTOR, x[v]);
	}
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * One range of a pass over memory, see pass.h, with vectors of 64 bytes and masks.
 *
 * Where all ranges of a batch start at a line, every vector is a line, and the last one of a range
 * is masked. Otherwise a masked store could be followed by a load from the same line, which
 * belongs to the next range, and would have to wait until the store is done; so there the first and
 * the last vector of a range lie inside it and overlap their neighbours. They are loaded before
 * anything is stored, so that their bytes are mapped once, and counted under a mask.
 */
#ifndef PFS_PASS_RANGE_AVX512_H
#define PFS_PASS_RANGE_AVX512_H

#include "internal.h"

enum {
	LINE = 64,
	/*
	 * A range of 2 to LADDER vectors is always treated as LADDER vectors. More work than a
	 * loop, but without a branch that depends on the length: in a table of random lengths, a
	 * mispredicted branch costs more than this does. Stores to a line that was just stored to
	 * cost nothing, and those under an empty mask next to nothing.
	 */
	LADDER = 5,
};

/* Counters of the bytes: in bytes while they cannot overflow, then in 64-bit lanes. */
struct counts {
	__m512i value[PFS_MAX_REDUCERS];
	__m512i recent[PFS_MAX_REDUCERS];
	__m512i sum[PFS_MAX_REDUCERS];
	__m512i minus_one;
	unsigned int room; /* how many more matches a byte of `recent` can take */
};

/* The rounds of a map in vectors. What is stored could be the plan for all that the compiler knows;
 * so without this it would load the plan's bytes again after every store. */
struct map {
	__m512i flip[PFS_MAX_ROUNDS];
	__m512i add[PFS_MAX_ROUNDS];
};

ALWAYS_INLINE void begin_counts(struct counts *counts, const uint8_t *values, unsigned int counters)
{
	for (unsigned int c = 0; c < counters; ++c) {
		counts->value[c] = _mm512_set1_epi8((char)values[c]);
		counts->recent[c] = _mm512_setzero_si512();
		counts->sum[c] = _mm512_setzero_si512();
	}
	counts->minus_one = _mm512_set1_epi8(-1);
#ifndef PFS_INTRINSICS
	/* If the compiler knew it, it would make a vector of each mask and subtract that: an
	 * instruction more. */
	if (counters)
		__asm__("" : "+v"(counts->minus_one));
#endif
	counts->room = 255;
}

ALWAYS_INLINE void prepare_map(struct map *map, const struct pfs_rounds *rounds,
			       unsigned int round_count)
{
	if (round_count == NEGATE)
		map->add[0] = _mm512_set1_epi8((char)(rounds->add[0] - 1));
	for (unsigned int r = 0; r < round_count && round_count != NEGATE; ++r) {
		map->flip[r] = _mm512_set1_epi8((char)rounds->flip[r]);
		map->add[r] = _mm512_set1_epi8((char)rounds->add[r]);
	}
}

ALWAYS_INLINE __m512i apply_map(__m512i x, const struct map *map, unsigned int round_count)
{
	if (round_count == NEGATE)
		return _mm512_sub_epi8(map->add[0], x);
	for (unsigned int r = 0; r < round_count; ++r)
		x = _mm512_add_epi8(_mm512_xor_si512(x, map->flip[r]), map->add[r]);
	return x;
}

ALWAYS_INLINE void widen_counts(struct counts *counts, unsigned int counters)
{
	for (unsigned int c = 0; c < counters; ++c) {
		counts->sum[c] = _mm512_add_epi64(
		    counts->sum[c], _mm512_sad_epu8(counts->recent[c], _mm512_setzero_si512()));
		counts->recent[c] = _mm512_setzero_si512();
	}
	counts->room = 255;
}

/* Counts in a vector, only under `mask`. */
ALWAYS_INLINE void count_matches(struct counts *counts, unsigned int counters, __m512i x,
				 __mmask64 mask)
{
	for (unsigned int c = 0; c < counters; ++c)
		counts->recent[c] = _mm512_mask_sub_epi8(
		    counts->recent[c], _mm512_mask_cmpeq_epi8_mask(mask, x, counts->value[c]),
		    counts->recent[c], counts->minus_one);
}

/* Adds what has been counted to sums[0..<counters] and begins anew. */
ALWAYS_INLINE void add_counts(struct counts *counts, unsigned int counters, uint64_t *sums)
{
	widen_counts(counts, counters);
	for (unsigned int c = 0; c < counters; ++c) {
		__m256i half = _mm256_add_epi64(_mm512_castsi512_si256(counts->sum[c]),
						_mm512_extracti64x4_epi64(counts->sum[c], 1));
		__m128i pair =
		    _mm_add_epi64(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));

		pair = _mm_add_epi64(pair, _mm_unpackhi_epi64(pair, pair));
		sums[c] += (uint64_t)_mm_cvtsi128_si64(pair);
		counts->sum[c] = _mm512_setzero_si512();
	}
}

#define EVERY_BYTE (~(__mmask64)0)

/* The first `count` bytes of a vector, 0 to 64. */
ALWAYS_INLINE __mmask64 first_bytes(size_t count)
{
	return _bzhi_u64(EVERY_BYTE, (unsigned int)count);
}

/* The numbers first...first + 63, modulo 256, in the bytes of a vector; backwards, the first of
 * them in its last byte. */
ALWAYS_INLINE __m512i numbers_from(size_t first, int backwards)
{
	const __m512i numbers = _mm512_set_epi8(
	    63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42,
	    41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20,
	    19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);

	return backwards ? _mm512_sub_epi8(_mm512_set1_epi8((char)(first + LINE - 1)), numbers)
			 : _mm512_add_epi8(_mm512_set1_epi8((char)first), numbers);
}

/* A vector of a range, under a mask. */
ALWAYS_INLINE void pass_vector(uint8_t *p, __mmask64 mask, const struct map *map,
			       unsigned int round_count, struct counts *counts,
			       unsigned int counters, enum copies copies, uint8_t *copy)
{
	__m512i x = _mm512_maskz_loadu_epi8(mask, p);

	count_matches(counts, counters, x, mask);
	if (copies == COPY_BEFORE)
		_mm512_mask_storeu_epi8(copy, mask, x);
	x = apply_map(x, map, round_count);
	if (round_count)
		_mm512_mask_storeu_epi8(p, mask, x);
	if (copies == COPY_AFTER)
		_mm512_mask_storeu_epi8(copy, mask, x);
}

/*
 * A range of 65 to LADDER * 64 bytes. The bytes from the second vector on are numbered 0...255;
 * those up to `last` are the range's. Vectors that would begin too late coincide with the last one:
 * either with its line, under an empty mask, or, overlapping, with the 64 bytes before the end.
 */
ALWAYS_INLINE void pass_ladder(uint8_t *p, size_t length, int overlapping, const struct map *map,
			       unsigned int round_count, struct counts *counts,
			       unsigned int counters, enum copies copies, uint8_t *copy)
{
	const __m512i last = _mm512_set1_epi8((char)(length - LINE - 1));
	const size_t latest = overlapping ? length - LINE : (length - 1) / LINE * LINE;
	size_t at[LADDER];
	__mmask64 new[LADDER], mask[LADDER];
	__m512i x[LADDER];

#pragma clang loop unroll(full)
	for (size_t v = 0; v < LADDER; ++v) {
		size_t begin = v * LINE;

		at[v] = v && begin > latest ? latest : begin;
		/* Of a vector that overlaps the one before, only the bytes at its end are new. */
		new[v] = v ? _mm512_cmple_epu8_mask(numbers_from(begin - LINE, overlapping), last)
			   : EVERY_BYTE;
		mask[v] = overlapping ? EVERY_BYTE : new[v];
		x[v] = _mm512_maskz_loadu_epi8(mask[v], p + at[v]);
		count_matches(counts, counters, x[v], new[v]);
		if (copies == COPY_BEFORE)
			_mm512_mask_storeu_epi8(copy + at[v], mask[v], x[v]);
		x[v] = apply_map(x[v], map, round_count);
	}
#pragma clang loop unroll(full)
	for (size_t v = 0; v < LADDER; ++v) {
		if (round_count)
			_mm512_mask_storeu_epi8(p + at[v], mask[v], x[v]);
		if (copies == COPY_AFTER)
			_mm512_mask_storeu_epi8(copy + at[v], mask[v], x[v]);
	}
}

/* Matches of a value in four halves of lines, one line apart: up to 4 a byte, negative. */
ALWAYS_INLINE __m256i matches_of_four(const uint8_t *p, __m256i value)
{
	__m256i matches = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)p), value);

#pragma clang loop unroll(full)
	for (int v = 1; v < 4; ++v)
		matches = _mm256_add_epi8(
		    matches,
		    _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(p + v * LINE)), value));
	return matches;
}

/* Whole vectors, by a loop. Returns how many bytes they are. Without prefetches: what gains a tenth
 * on Zen 3, see pass.h, costs a fifth on Zen 4, at any distance. */
ALWAYS_INLINE size_t pass_vectors(uint8_t *p, size_t length, const struct map *map,
				  unsigned int round_count, struct counts *counts,
				  unsigned int counters, enum copies copies, uint8_t *copy)
{
	const size_t whole = length / LINE * LINE;
	uint8_t *const end = p + whole;

	while (end - p >= 4 * LINE) {
		size_t blocks = (size_t)(end - p) / (4 * LINE);

		if (counters) {
			if (counts->room < 8) {
				widen_counts(counts, counters);
				counts->room -= LADDER;
			}
			if (blocks > counts->room / 4 - 1)
				blocks = counts->room / 4 - 1;
			counts->room -= 4 * blocks;
		}
		if (!round_count && counters == 1 && copies == NO_COPY) {
			/* Reads are twice as fast as writes, and a comparison into a mask costs
			 * more than one into a vector, or than two of half the size on Zen 4. */
			const __m256i value = _mm512_castsi512_si256(counts->value[0]);
			__m256i low = _mm256_setzero_si256(), high = low;

#pragma clang loop unroll_count(2)
			for (; blocks; --blocks, p += 4 * LINE) {
				low = _mm256_sub_epi8(low, matches_of_four(p, value));
				high = _mm256_sub_epi8(high, matches_of_four(p + LINE / 2, value));
			}
			counts->recent[0] = _mm512_add_epi8(
			    counts->recent[0],
			    _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
			continue;
		}
		for (; blocks; --blocks, p += 4 * LINE, copy += 4 * LINE) {
#pragma clang loop unroll(full)
			for (int v = 0; v < 4; ++v)
				pass_vector(p + v * LINE, EVERY_BYTE, map, round_count, counts,
					    counters, copies, copy + v * LINE);
		}
	}
	/* At most three; unrolled, because many ranges are no longer. */
#pragma clang loop unroll(full)
	for (size_t v = 0; v < 3 && p + v * LINE < end; ++v)
		pass_vector(p + v * LINE, EVERY_BYTE, map, round_count, counts, counters, copies,
			    copy + v * LINE);
	return whole;
}

/* A range of more than a vector that starts anywhere: whole lines between two vectors that overlap
 * them. */
ALWAYS_INLINE void pass_unaligned(uint8_t *p, size_t length, const struct map *map,
				  unsigned int round_count, struct counts *counts,
				  unsigned int counters, enum copies copies, uint8_t *copy)
{
	const size_t before = -(uintptr_t)p % LINE, after = ((uintptr_t)p + length) % LINE;
	const size_t at_last = length - LINE;
	__m512i first = _mm512_loadu_si512(p), last = _mm512_loadu_si512(p + at_last);

	count_matches(counts, counters, first, first_bytes(before));
	count_matches(counts, counters, last, ~first_bytes(LINE - after));
	if (copies == COPY_BEFORE) {
		_mm512_storeu_si512(copy, first);
		_mm512_storeu_si512(copy + at_last, last);
	}
	pass_vectors(p + before, length - before - after, map, round_count, counts, counters,
		     copies, copy + before);
	first = apply_map(first, map, round_count);
	last = apply_map(last, map, round_count);
	if (round_count) {
		_mm512_storeu_si512(p, first);
		_mm512_storeu_si512(p + at_last, last);
	}
	if (copies == COPY_AFTER) {
		_mm512_storeu_si512(copy, first);
		_mm512_storeu_si512(copy + at_last, last);
	}
}

/*
 * One range. A copy has room for a whole number of lines. Loops over rounds and counters vanish
 * where their numbers are constants.
 */
ALWAYS_INLINE void pass_range(uint8_t *p, size_t length, unsigned int layout, const struct map *map,
			      unsigned int round_count, struct counts *counts,
			      unsigned int counters, enum copies copies, uint8_t *copy)
{
	if (counters) {
		/* For vectors outside blocks. */
		if (counts->room < LADDER + 3)
			widen_counts(counts, counters);
		counts->room -= LADDER;
	}
	if (length <= LINE) {
		if (length)
			pass_vector(p, first_bytes(length), map, round_count, counts, counters,
				    copies, copy);
	} else if (length <= LADDER * LINE && !(layout & ALIGNED)) {
		pass_ladder(p, length, 1, map, round_count, counts, counters, copies, copy);
	} else if (length <= LADDER * LINE && !(layout & ALIKE)) {
		pass_ladder(p, length, 0, map, round_count, counts, counters, copies, copy);
	} else if (!(layout & ALIGNED)) {
		pass_unaligned(p, length, map, round_count, counts, counters, copies, copy);
	} else {
		size_t done =
		    pass_vectors(p, length, map, round_count, counts, counters, copies, copy);

		if (done < length)
			pass_vector(p + done, first_bytes(length - done), map, round_count, counts,
				    counters, copies, copy + done);
	}
}

/* What a copy of a range takes up: copies begin at lines. */
ALWAYS_INLINE size_t slot_size(size_t length)
{
	return (length + LINE - 1) / LINE * LINE;
}

#define EVEN_ELEMENTS 0x55
#define ODD_ELEMENTS 0xAA

/*
 * The ranges of four descriptors. Masks of elements, two for each descriptor: those that there are,
 * and those that another comes after. `starts` are the starts so far, or-ed; `others` how distances
 * and lengths differ from what they should be.
 */
ALWAYS_INLINE void gather_four(struct range *ranges, __m512i bases,
			       const struct pfs_descriptor *descriptors, __mmask8 these,
			       __mmask8 followed, __m512i step, __m512i *starts, __m512i *others)
{
	/* A descriptor is 64 bits of offset and 32 of length; a range an address and 64 bits. */
	const __m512i fields =
	    _mm512_set_epi64(0xFFFFFFFF, -1, 0xFFFFFFFF, -1, 0xFFFFFFFF, -1, 0xFFFFFFFF, -1);
	__m512i now = _mm512_and_si512(_mm512_maskz_loadu_epi64(these, descriptors), fields);
	__m512i next =
	    _mm512_and_si512(_mm512_maskz_loadu_epi64(followed, descriptors + 1), fields);
	__m512i range = _mm512_maskz_add_epi64(these, bases, now);

	/* The array has room for a multiple of four, and what a masked store wrote could not be
	 * loaded at once. */
	_mm256_storeu_si256((__m256i *)ranges, _mm512_castsi512_si256(range));
	_mm256_storeu_si256((__m256i *)(ranges + 2), _mm512_extracti64x4_epi64(range, 1));
	*starts = _mm512_or_si512(*starts, range);
	/* others |= (next - now) ^ step */
	*others = _mm512_mask_ternarylogic_epi64(*others, followed, _mm512_sub_epi64(next, now),
						 step, 0xF6);
}

/* The ranges of 1 to BATCH descriptors, and how they lie. Not inlined: vectors that stay the same
 * from batch to batch would be saved around the pass, and stores are what a map has least room for.
 */
static NOINLINE unsigned int gather_ranges(struct range *ranges, uint8_t *base,
					   const struct pfs_descriptor *descriptors, size_t count)
{
	const __m512i bases = _mm512_maskz_set1_epi64(EVEN_ELEMENTS, (long long)(uintptr_t)base);
	const size_t length = descriptors[0].length;
	uint64_t distance = count > 1 ? descriptors[1].offset - descriptors[0].offset : 0;
	const __m512i step = _mm512_maskz_set1_epi64(EVEN_ELEMENTS, (long long)distance);
	__m512i starts = _mm512_setzero_si512(), others = _mm512_setzero_si512();
	size_t left = count;
	__mmask8 these;

	if (count == 1) {
		ranges[0] = (struct range){base + descriptors[0].offset, length};
		return layout_of(ranges, 1);
	}
	for (; left > 4; left -= 4, ranges += 4, descriptors += 4)
		gather_four(ranges, bases, descriptors, 0xFF, 0xFF, step, &starts, &others);
	these = (__mmask8)((1u << 2 * left) - 1);
	gather_four(ranges, bases, descriptors, these, these >> 2, step, &starts, &others);
	return layout_from(
	    length, distance,
	    _mm512_mask_test_epi64_mask(EVEN_ELEMENTS, starts, _mm512_set1_epi64(LINE - 1)) != 0,
	    _mm512_mask_test_epi64_mask(ODD_ELEMENTS, others, others),
	    _mm512_mask_test_epi64_mask(EVEN_ELEMENTS, others, others));
}

/* Maps bytes of our own, up to SCRATCH_SLACK bytes beyond their end. */
static void map_scratch(uint8_t *p, size_t length, const struct pfs_rounds *rounds)
{
	struct map map;

	if (!rounds->count)
		return;
	prepare_map(&map, rounds, rounds->count);
	for (const uint8_t *end = p + length; p < end; p += 4 * LINE) {
		__m512i x[4];

		for (int v = 0; v < 4; ++v)
			x[v] = _mm512_load_si512(p + v * LINE);
		for (unsigned int r = 0; r < rounds->count; ++r)
			for (int v = 0; v < 4; ++v)
				x[v] = _mm512_add_epi8(_mm512_xor_si512(x[v], map.flip[r]),
						       map.add[r]);
		for (int v = 0; v < 4; ++v)
			_mm512_store_si512(p + v * LINE, x[v]);
	}
}

#endif

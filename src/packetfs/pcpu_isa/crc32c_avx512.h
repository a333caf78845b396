/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C with 512-bit carry-less multiplications: which way each range of a batch takes. Read in
 * this order: crc32c_fold.h (the algebra), crc32c_lines512.h (short ranges), crc32c_long512.h.
 */
#ifndef PFS_CRC32C_AVX512_H
#define PFS_CRC32C_AVX512_H

#include "crc32c_fold.h"
#include "crc32c_lines512.h"
#include "crc32c_long512.h"

/* The ways of ranges: their numbers of lines up to FEW_LINES, or one of these. */
enum { KIND_SHORT = FEW_LINES + 1, KIND_LONG, KINDS };

/* The indices of ranges, sorted by their kinds: then no branch on a length is mispredicted. */
struct sorted_ranges {
	/* After the last there is room for a vector, of which AHEAD are asked for ahead of time. */
	uint32_t order[BATCH + 16];
	size_t begin[KINDS + 1]; /* where each kind begins */
};

/* The kinds of sixteen ranges, whatever the lengths of those may be that there are not. */
ALWAYS_INLINE __m512i kinds_of(const struct range *ranges)
{
	const __m512i odd = _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1);
	const __m512i least = _mm512_set1_epi32(SHORT_END);
	__m256i halves[2];
	__m512i lengths, lines;

#pragma clang loop unroll(full)
	for (int half = 0; half < 2; ++half)
		halves[half] = _mm512_cvtepi64_epi32(
		    _mm512_permutex2var_epi64(_mm512_loadu_si512(ranges + 8 * half), odd,
					      _mm512_loadu_si512(ranges + 8 * half + 4)));
	lengths = _mm512_inserti64x4(_mm512_castsi256_si512(halves[0]), halves[1], 1);
	lines = _mm512_srli_epi32(_mm512_add_epi32(lengths, _mm512_set1_epi32(63)), 6);
	return _mm512_mask_mov_epi32(_mm512_min_epu32(lines, _mm512_set1_epi32(KIND_SHORT)),
				     _mm512_cmpge_epu32_mask(lengths, least),
				     _mm512_set1_epi32(KIND_LONG));
}

/* Sorts ranges of an array of BATCH. */
ALWAYS_INLINE void sort_ranges(const struct range *ranges, size_t count,
			       struct sorted_ranges *sorted)
{
	const __m512i first =
	    _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
	__m512i kinds[BATCH / 16];
	uint32_t *to = sorted->order;

	for (size_t i = 0; i < count; i += 16)
		kinds[i / 16] = kinds_of(ranges + i);
	for (int kind = 0; kind < KINDS; ++kind) {
		sorted->begin[kind] = to - sorted->order;
		for (size_t i = 0; i < count; i += 16) {
			__mmask16 there = count - i < 16 ? (1u << (count - i)) - 1 : 0xFFFF;
			__mmask16 these = _mm512_mask_cmpeq_epi32_mask(there, kinds[i / 16],
								       _mm512_set1_epi32(kind));
			__m512i indices = _mm512_add_epi32(first, _mm512_set1_epi32((int)i));

			/* What is too much is 0, and the next vector overwrites it. */
			_mm512_storeu_si512(to, _mm512_maskz_compress_epi32(these, indices));
			to += __builtin_popcount(these);
		}
	}
	sorted->begin[KINDS] = count;
}

ALWAYS_INLINE int have_one_length(const struct range *ranges, size_t count)
{
	size_t differ = ranges[1].length ^ ranges->length;

	/* The rule in a table of random lengths. */
	if (differ)
		return 0;
	for (size_t i = 2; i < count; ++i)
		differ |= ranges[i].length ^ ranges->length;
	return !differ;
}

/* Ranges that all have one length, not 0. */
ALWAYS_INLINE void crc_equal(const struct pfs_constants *constants, const struct range *ranges,
			     size_t count, uint32_t *crc, size_t length, int fresh)
{
	const size_t lines = (length + 63) / 64;

#define CASE(n)                                                                                    \
	case n:                                                                                    \
		crc_lines_equal(constants, ranges, count, crc, length, n, fresh);                  \
		break;
	switch (lines) {
		CASE(1)
		CASE(2)
		CASE(3)
		CASE(4)
		CASE(5)
	default:
		if (length < BLOCKS_FROM)
			crc_lines_equal(constants, ranges, count, crc, length, lines, fresh);
		else
			crc_blocks_equal(constants, ranges, count, crc, length, fresh);
	}
#undef CASE
}

/* crc32c_batch() with `fresh` as a constant. */
ALWAYS_INLINE void crc_ranges(const struct pfs_constants *constants, const struct range *ranges,
			      size_t count, uint32_t *crc, int fresh)
{
	struct sorted_ranges sorted;

	if (count == 1) {
		*crc = crc_long(constants, fresh ? ~0u : *crc, ranges->start, ranges->length);
		return;
	}
	if (ranges->length && have_one_length(ranges, count)) {
		crc_equal(constants, ranges, count, crc, ranges->length, fresh);
		return;
	}
	sort_ranges(ranges, count, &sorted);
	for (size_t i = 0; fresh && i < sorted.begin[1]; ++i)
		crc[sorted.order[i]] = ~0u; /* no bytes */
#define KIND(n)                                                                                    \
	crc_lines_ordered(constants, ranges, sorted.order + sorted.begin[n],                       \
			  sorted.begin[n + 1] - sorted.begin[n], crc, n, fresh);
	KIND(1)
	KIND(2)
	KIND(3)
	KIND(4)
	KIND(5)
#undef KIND
	for (size_t i = sorted.begin[KIND_SHORT]; i < sorted.begin[KIND_LONG]; ++i) {
		const struct range *range = &ranges[sorted.order[i]];
		uint32_t *of = &crc[sorted.order[i]];

		*of = crc_after(
		    constants,
		    crc_lines(constants, range->start, range->length, (range->length + 63) / 64),
		    *of, range->length, fresh);
	}
	for (size_t i = sorted.begin[KIND_LONG]; i < sorted.begin[KINDS]; ++i) {
		const struct range *range = &ranges[sorted.order[i]];
		uint32_t *of = &crc[sorted.order[i]];

		*of = crc_long(constants, fresh ? ~0u : *of, range->start, range->length);
	}
}

/*
 * Takes the raw registers of `count` (at most BATCH) ranges over their bytes. With `fresh` they are
 * all ones, whatever `crc` says.
 */
static NOINLINE void crc32c_batch(const struct pfs_constants *constants, const struct range *ranges,
				  size_t count, uint32_t *crc, int fresh)
{
	if (fresh)
		crc_ranges(constants, ranges, count, crc, 1);
	else
		crc_ranges(constants, ranges, count, crc, 0);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C with the crc32 instruction and carry-less multiplies: which way each range of a batch
 * takes. Read in this order: crc32c_fold.h (the algebra), crc32c_words.h and crc32c_quads.h (short
 * ranges), crc32c_long.h.
 */
#ifndef PFS_CRC32C_H
#define PFS_CRC32C_H

#include "crc32c_fold.h"
#include "crc32c_long.h"
#include "crc32c_quads.h"
#include "crc32c_words.h"

/* The indices of ranges, sorted by the way in which they are done. */
struct sorted_ranges {
	uint8_t tiny[BATCH + QUAD]; /* TINY_START to TINY_END - 1 bytes */
	uint8_t shorter[2 * BATCH]; /* up to SHORT_END - 1 bytes, by their number of blocks */
	uint8_t other[BATCH];
	size_t tiny_count, shorter_count, other_count;
};

/* Fills up the last quad with the last of `count` (not 0) indices; how many there are now. */
ALWAYS_INLINE size_t fill_quads(uint8_t *order, size_t count)
{
	for (int i = 0; i < QUAD - 1; ++i)
		order[count + i] = order[count - 1];
	return (count + QUAD - 1) / QUAD * QUAD;
}

/*
 * Sorts ranges. In the order of their numbers of blocks, loops over blocks mostly run as often as
 * the time before; mispredicted, their ends would cost half as much as all the rest.
 */
ALWAYS_INLINE void sort_ranges(const struct range *ranges, size_t count,
			       struct sorted_ranges *sorted)
{
	enum { KINDS = 8, OTHER = KINDS - 1 };
	uint8_t kinds[KINDS][BATCH];
	uint64_t counts = 0; /* KINDS of eight bits */
	uint8_t *order = sorted->shorter;

	for (size_t i = 0; i < count; ++i) {
		size_t length = ranges[i].length;
		size_t blocks = (length - 1) / 64;
		size_t kind = blocks < OTHER ? blocks : OTHER - 1;

		if (length - TINY_START >= SHORT_END - TINY_START)
			kind = OTHER;
		kinds[kind][counts >> 8 * kind & 255] = i;
		counts += 1ull << 8 * kind;
	}
	sorted->tiny_count = counts & 255;
	sorted->other_count = counts >> 8 * OTHER;
	sorted->shorter_count = count - sorted->tiny_count - sorted->other_count;
	memcpy(sorted->tiny, kinds[0], BATCH);
	memcpy(sorted->other, kinds[OTHER], BATCH);
	for (int kind = 1; kind < OTHER; ++kind) {
		/* What is too much, the next kind overwrites. */
		memcpy(order, kinds[kind], BATCH);
		order += counts >> 8 * kind & 255;
	}
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

/* crc32c() with `fresh` as a constant. */
ALWAYS_INLINE void crc_ranges(const struct pfs_constants *constants, const struct range *ranges,
			      size_t count, uint32_t *crc, int fresh)
{
	const size_t quads = count / QUAD * QUAD;
	const size_t length = ranges->length;
	struct sorted_ranges sorted;

	if (quads && length - TINY_START < SHORT_END - TINY_START &&
	    have_one_length(ranges, count)) {
		/* As a constant, a common length takes four fifths of the time. */
		if (length == 64)
			crc_equal(constants, ranges, quads, crc, 64, fresh);
		else
			crc_equal(constants, ranges, quads, crc, length, fresh);
		ranges += quads;
		crc += quads;
		count -= quads;
	}
	if (count > 1) {
		sort_ranges(ranges, count, &sorted);
	} else {
		sorted.tiny_count = sorted.shorter_count = 0;
		sorted.other_count = count;
		sorted.other[0] = 0;
	}
	if (sorted.tiny_count) {
		size_t filled = fill_quads(sorted.tiny, sorted.tiny_count);

		crc_tiny(constants, ranges, sorted.tiny, filled, crc, fresh);
	}
	if (sorted.shorter_count) {
		size_t filled = fill_quads(sorted.shorter, sorted.shorter_count);

		crc_quads(constants, ranges, sorted.shorter, filled, crc, fresh);
	}
	for (size_t m = 0; m < sorted.other_count; ++m) {
		const struct range *range = &ranges[sorted.other[m]];
		uint32_t *of = &crc[sorted.other[m]];

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

/* SPDX-License-Identifier: MIT */
/*
 * Short ranges word by word, four at a time (a quad): a core retires one 8-byte crc32 per cycle,
 * but each depends on the one before it for three cycles.
 *
 * A range's odd bytes come first: zeros before them leave a register of 0 as it is, so they are a
 * word like any other. There are no tails and no branches that depend on the odd bytes.
 */
#ifndef PFS_CRC32C_WORDS_H
#define PFS_CRC32C_WORDS_H

#include "crc32c_fold.h"

enum {
	QUAD = 4,
	TINY_START = 8, /* a range's first word is loaded whole */
	TINY_END = 65,
	SHORT_END = sizeof(((struct pfs_constants *)0)->ones) / sizeof(uint32_t),
};

/*
 * Ends a quad: from the registers over the ranges alone to those over all bytes. Reads all before
 * it writes one, as a quad may contain a range several times.
 */
ALWAYS_INLINE void finish_quad(const struct pfs_constants *constants, const struct range *ranges,
			       const uint8_t *order, const uint64_t *raw, uint32_t *crc, int fresh)
{
	uint32_t now[QUAD];

#pragma clang loop unroll(full)
	for (int i = 0; i < QUAD; ++i) {
		size_t length = ranges[order[i]].length;

		now[i] = raw[i] ^ (fresh ? constants->ones[length]
					 : advance_register(constants, crc[order[i]], length));
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < QUAD; ++i)
		crc[order[i]] = now[i];
}

/* The register after a range's first 1 to 8 bytes, after which a whole number of words is left. */
ALWAYS_INLINE uint64_t first_word(const struct range *range)
{
	return _mm_crc32_u64(0, load64(range->start) << 8 * (-range->length % 8));
}

/* The next word of each of four chains, `at` bytes (less than 0) from its end. */
ALWAYS_INLINE void next_words(uint64_t *raw, const uint8_t *const *end, ptrdiff_t at)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < QUAD; ++i)
		raw[i] = _mm_crc32_u64(raw[i], load64(end[i] + at));
}

/*
 * Takes the registers over ranges which all have `length` bytes, TINY_START to SHORT_END - 1; their
 * number is a multiple of QUAD.
 */
ALWAYS_INLINE void crc_equal(const struct pfs_constants *constants, const struct range *ranges,
			     size_t count, uint32_t *crc, size_t length, int fresh)
{
	for (size_t i = 0; i < AHEAD && i < count; ++i)
		__builtin_prefetch(ranges[i].start);
	for (size_t m = 0; m < count; m += QUAD) {
		const uint8_t *end[QUAD];
		uint64_t raw[QUAD];

#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i)
			for (size_t at = 0; at < length && m + AHEAD + QUAD <= count; at += 64)
				__builtin_prefetch(ranges[m + AHEAD + i].start + at);
#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i) {
			const struct range range = {ranges[m + i].start, length};

			end[i] = range.start + length;
			raw[i] = first_word(&range);
		}
#pragma clang loop unroll_count(2)
		for (ptrdiff_t at = -(ptrdiff_t)((length - 1) / 8 * 8); at < 0; at += 8)
			next_words(raw, end, at);
#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i)
			crc[m + i] =
			    raw[i] ^ (fresh ? constants->ones[length]
					    : advance_register(constants, crc[m + i], length));
	}
}

/* Takes the registers over the ranges, of TINY_START to TINY_END - 1 bytes each; their number is
 * a multiple of QUAD. */
ALWAYS_INLINE void crc_tiny(const struct pfs_constants *constants, const struct range *ranges,
			    const uint8_t *order, size_t count, uint32_t *crc, int fresh)
{
	for (size_t m = 0; m < count; m += QUAD) {
		const uint8_t *o = &order[m];
		const uint8_t *end[QUAD];
		ptrdiff_t start[QUAD], first = 0, common = -TINY_END;
		uint64_t raw[QUAD];

#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i) {
			const struct range *range = &ranges[o[i]];

			end[i] = range->start + range->length;
			start[i] = -(ptrdiff_t)((range->length - 1) / 8 * 8);
			first = start[i] < first ? start[i] : first;
			common = start[i] > common ? start[i] : common;
			raw[i] = first_word(range);
			if (m + AHEAD + QUAD <= count) {
				const struct range *ahead = &ranges[o[i + AHEAD]];

				__builtin_prefetch(ahead->start);
				__builtin_prefetch(ahead->start + ahead->length - 1);
			}
		}
		/* A chain that is not at its second word yet reads its last and forgets the result.
		 */
		for (ptrdiff_t at = first; at < common; at += 8)
#pragma clang loop unroll(full)
			for (int i = 0; i < QUAD; ++i) {
				ptrdiff_t now = at < start[i] ? -8 : at;
				uint64_t next = _mm_crc32_u64(raw[i], load64(end[i] + now));

				raw[i] = at < start[i] ? raw[i] : next;
			}
		for (ptrdiff_t at = common; at < 0; at += 8)
			next_words(raw, end, at);
		finish_quad(constants, ranges, o, raw, crc, fresh);
	}
}

#endif

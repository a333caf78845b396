/* SPDX-License-Identifier: MIT */
/*
 * Short ranges with 512-bit carry-less multiplications: each is a few lines of 64 bytes, the first
 * of which is filled up with zeros in front; they leave a register of 0 as it is. On Zen 4, a fold
 * of a line takes four cycles and the register of the last line six, so that there is nothing that
 * the scalar crc32 could take over. Chains are short and ranges independent: as long as no branch
 * is mispredicted, a core works on several of them without any interleaving in the source.
 */
#ifndef PFS_CRC32C_LINES512_H
#define PFS_CRC32C_LINES512_H

#include "crc32c_fold.h"

enum {
	SHORT_END = sizeof(((struct pfs_constants *)0)->ones) / sizeof(uint32_t),
	FEW_LINES = 5, /* up to so many, the number of lines is a constant in the code */
};

/* The register over `lines` lines that end with the range; its length is more than one less. */
ALWAYS_INLINE uint32_t crc_lines(const struct pfs_constants *constants, const uint8_t *start,
				 size_t length, size_t lines)
{
	const lane_t k = fold_multiplier(FOLD(constants) + 64);
	const uint8_t *end = start + length;
	struct folded f = load_tail(start, length - 64 * (lines - 1));

	for (size_t line = lines - 1; line; --line)
		f = fold_onto(f, k, end - 64 * line);
	return reduce_lanes(constants->fused[0].lanes, f);
}

/* The register after a range from that over the range alone and the one before. */
ALWAYS_INLINE uint32_t crc_after(const struct pfs_constants *constants, uint32_t raw,
				 uint32_t before, size_t length, int fresh)
{
	return raw ^
	       (fresh ? constants->ones[length] : advance_register(constants, before, length));
}

/* Asks for the lines of the range that is AHEAD places further on. */
ALWAYS_INLINE void prefetch_lines(const struct range *range, size_t lines)
{
	const uint8_t *end = range->start + range->length;

	__builtin_prefetch(range->start);
	for (size_t line = 0; line < lines; ++line)
		__builtin_prefetch(end - 1 - 64 * line);
}

/* Takes the registers over the ranges that `order` says, which all have so many lines. */
ALWAYS_INLINE void crc_lines_ordered(const struct pfs_constants *constants,
				     const struct range *ranges, const uint32_t *order,
				     size_t count, uint32_t *crc, size_t lines, int fresh)
{
	for (size_t i = 0; i < count; ++i) {
		const struct range *range = &ranges[order[i]];
		uint32_t *of = &crc[order[i]];

		prefetch_lines(&ranges[order[i + AHEAD]], lines);
		*of = crc_after(constants, crc_lines(constants, range->start, range->length, lines),
				*of, range->length, fresh);
	}
}

/* The same for ranges that all have one length, in their order. */
ALWAYS_INLINE void crc_lines_equal(const struct pfs_constants *constants,
				   const struct range *ranges, size_t count, uint32_t *crc,
				   size_t length, size_t lines, int fresh)
{
	for (size_t i = 0; i < count; ++i)
		crc[i] = crc_after(constants, crc_lines(constants, ranges[i].start, length, lines),
				   crc[i], length, fresh);
}

#endif

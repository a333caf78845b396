/* SPDX-License-Identifier: MIT */
/*
 * Ranges of TINY_END to SHORT_END - 1 bytes, four at a time: each is folded to 64 bytes, which then
 * go through crc32. The core dispatches in order and has a short queue for crc32, so both kinds of
 * work and all chains must alternate in program order: a quad is folded while the one before it
 * goes through crc32.
 *
 * A range's odd bytes come first: its first block is loaded whole and masked, and the multiplier
 * which takes it to the next block depends on the odd length.
 */
#ifndef PFS_CRC32C_QUADS_H
#define PFS_CRC32C_QUADS_H

#include "crc32c_fold.h"
#include "crc32c_words.h"

struct quad {
	_Alignas(64) uint8_t folded[QUAD][64];
};

ALWAYS_INLINE void quad_fold(const struct pfs_constants *constants, uint8_t *folded,
			     const struct range *range)
{
	struct folded f = fold_range(constants, range);

	memcpy(folded, &f, sizeof(f));
}

/* Two words of each chain. */
ALWAYS_INLINE void quad_words(const struct quad *quad, int word, uint64_t *crc)
{
#pragma clang loop unroll(full)
	for (int w = word; w < word + 2; ++w)
#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i)
			crc[i] = _mm_crc32_u64(crc[i], load64(quad->folded[i] + 8 * w));
}

/* prefetch_range() for a range of a line at least. */
ALWAYS_INLINE void prefetch_lines(const struct range *range)
{
	const uint8_t *p = range->start;
	const uint8_t *last = p + range->length - 1;

	__builtin_prefetch(p);
	for (int line = 1; line < 4; ++line)
		__builtin_prefetch(p + 64 * line < last ? p + 64 * line : last);
	__builtin_prefetch(last);
}

/* Takes the registers over the ranges, of TINY_END to SHORT_END - 1 bytes each; their number is
 * a multiple of QUAD. */
ALWAYS_INLINE void crc_quads(const struct pfs_constants *constants, const struct range *ranges,
			     const uint8_t *order, size_t count, uint32_t *crc, int fresh)
{
	struct quad quads[2];

	for (size_t i = 0; i < AHEAD + QUAD && i < count; ++i)
		prefetch_lines(&ranges[order[i]]);
	for (int i = 0; i < QUAD; ++i)
		quad_fold(constants, quads[0].folded[i], &ranges[order[i]]);
	for (size_t m = 0; m < count; m += QUAD) {
		const struct quad *now = &quads[m / QUAD % 2];
		struct quad *next = &quads[(m / QUAD + 1) % 2];
		const uint8_t *o = &order[m];
		uint64_t raw[QUAD] = {0};

		if (m + QUAD + AHEAD < count) {
#pragma clang loop unroll(full)
			for (int i = 0; i < QUAD; ++i) {
				prefetch_lines(&ranges[o[i + AHEAD]]);
				quad_fold(constants, next->folded[i], &ranges[o[i + QUAD]]);
				quad_words(now, 2 * i, raw);
			}
		} else if (m + QUAD < count) {
#pragma clang loop unroll(full)
			for (int i = 0; i < QUAD; ++i) {
				quad_fold(constants, next->folded[i], &ranges[o[i + QUAD]]);
				quad_words(now, 2 * i, raw);
			}
		} else {
#pragma clang loop unroll(full)
			for (int i = 0; i < QUAD; ++i)
				quad_words(now, 2 * i, raw);
		}
		finish_quad(constants, ranges, o, raw, crc, fresh);
	}
}

#endif

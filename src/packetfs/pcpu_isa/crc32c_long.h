/* SPDX-License-Identifier: MIT */
/*
 * A long range is cut into blocks whose first part runs through four crc32 streams while the rest
 * is folded: a core has separate units for crc32 and for carry-less multiplications, and this keeps
 * both busy.
 */
#ifndef PFS_CRC32C_LONG_H
#define PFS_CRC32C_LONG_H

#include "crc32c_fold.h"
#include "pass.h"
#include "vector.h"

/*
 * An iteration of the fused loop: 64 bytes are folded FOLDS times while each of four streams takes
 * STREAM_WORDS words. What bounds it on Zen 3 is dispatch, six operations a cycle: a crc32 is about
 * two, a carry-less multiply about eight, of 128 bits or of 256. Hence more work for crc32 than the
 * throughput of the units alone would suggest.
 */
#define STREAM_WORDS 5
#if MULTIPLY == 32
#define FOLDS 2
#define LONG_ADVANCES long_wide
#else
#define FOLDS 1
#define LONG_ADVANCES long_narrow
#endif

/*
 * A block of the fused loop: iterations * STEP bytes. Returns the register after it. Meanwhile,
 * where `rounds` is not NULL, maps as many bytes at `ahead`: memory is read, mapped and stored
 * while the other units work on bytes in the cache. Where it is NULL, those bytes are only asked
 * for: five streams confuse the hardware's prefetchers.
 */
enum {
	STEP = 64 * FOLDS + 32 * STREAM_WORDS,
	/* Longer ranges that are mapped and digested go through one pass that does both. */
	MAP_AND_CRC_FROM = FRAGMENT + 1,
};

ALWAYS_INLINE uint32_t crc_block(const struct pfs_constants *constants, uint32_t before,
				 const uint8_t *p, size_t iterations, const uint64_t advances[5],
				 uint8_t *ahead, const struct pfs_rounds *rounds,
				 unsigned int round_count, int beyond_caches)
{
	const lane_t k = fold_multiplier(FOLD(constants) + 64);
	const size_t stream = iterations * 8 * STREAM_WORDS;
	const uint8_t *v = p + 4 * stream;
	struct folded f = load_folded(v);
	uint64_t c[4] = {0};
	uint64_t sum;

	for (size_t i = 0;;) {
		if (rounds) {
			bytes_t x[STEP / VECTOR];

			if (beyond_caches)
#pragma clang loop unroll(full)
				for (size_t b = 0; b < STEP; b += 64)
					__builtin_prefetch(ahead + PREFETCH_AHEAD + b);
#pragma clang loop unroll(full)
			for (size_t b = 0; b < STEP / VECTOR; ++b)
				x[b] = load_vector(ahead + b * VECTOR);
			map_vectors(x, STEP / VECTOR, rounds, round_count);
#pragma clang loop unroll(full)
			for (size_t b = 0; b < STEP / VECTOR; ++b)
				store_vector(ahead + b * VECTOR, x[b]);
		} else {
#pragma clang loop unroll(full)
			for (size_t b = 0; b < STEP; b += 64)
				__builtin_prefetch(ahead + b);
		}
		ahead += STEP;
#pragma clang loop unroll(full)
		for (int w = 0; w < STREAM_WORDS; ++w)
#pragma clang loop unroll(full)
			for (int s = 0; s < 4; ++s)
				c[s] = _mm_crc32_u64(c[s], load64(p + s * stream + 8 * w));
		p += 8 * STREAM_WORDS;
#pragma clang loop unroll(full)
		for (int fold = 1; fold < FOLDS; ++fold)
			f = fold_onto(f, k, v += 64);
		v += 64;
		if (++i == iterations)
			break;
		f = fold_onto(f, k, v);
	}
	sum = multiply(before, advances[4]);
	for (int s = 0; s < 4; ++s)
		sum ^= multiply(c[s], advances[s]);
	return _mm_crc32_u64(0, sum) ^ reduce_folded(constants, f);
}

/* The register over any range. */
static uint32_t crc_long(const struct pfs_constants *constants, uint32_t crc, const uint8_t *p,
			 size_t length)
{
	const size_t block = LONG_ITERATIONS * STEP;
	const size_t middle = MIDDLE_ITERATIONS * STEP;

	for (; length >= block; length -= block, p += block)
		crc = crc_block(constants, crc, p, LONG_ITERATIONS, constants->LONG_ADVANCES[0],
				(uint8_t *)p + (length >= 2 * block ? block : 0), NULL, 0, 0);
	for (; length >= middle; length -= middle, p += middle)
		crc = crc_block(constants, crc, p, MIDDLE_ITERATIONS, constants->LONG_ADVANCES[1],
				(uint8_t *)p, NULL, 0, 0);
	if (length >= 64) {
		struct range rest = {p, length};

		return advance_register(constants, crc, length) ^
		       reduce_folded(constants, fold_range(constants, &rest));
	}
	return crc_words(crc, p, length);
}

/* Maps a range in place and takes the register over what it becomes, in one pass over memory. */
ALWAYS_INLINE uint32_t map_and_crc(const struct pfs_constants *constants, uint32_t crc, uint8_t *p,
				   size_t length, const struct pfs_rounds *rounds,
				   unsigned int round_count)
{
	const size_t block = LONG_ITERATIONS * STEP;
	size_t mapped = length < block ? length : block;

	map_range(p, mapped, rounds, round_count);
	if (length >= PREFETCH_FROM)
		for (; length >= 2 * block; length -= block, p += block)
			crc = crc_block(constants, crc, p, LONG_ITERATIONS,
					constants->LONG_ADVANCES[0], p + block, rounds, round_count,
					1);
	for (; length >= 2 * block; length -= block, p += block)
		crc = crc_block(constants, crc, p, LONG_ITERATIONS, constants->LONG_ADVANCES[0],
				p + block, rounds, round_count, 0);
	if (length > mapped)
		map_range(p + mapped, length - mapped, rounds, round_count);
	return crc_long(constants, crc, p, length);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * One long range in units of PFS_FNV_UNIT bytes. The planes of a unit go through the rounds; beside
 * them, the planes of the next unit are made, and the products of the unit before are added.
 */
#ifndef PFS_FNV_LONG512_H
#define PFS_FNV_LONG512_H

#include "fnv_planes512.h"

enum { BLOCKS = PFS_FNV_UNIT / BLOCK };

/* The blocks of a unit: its bytes, its planes, or the planes of its x. */
struct fnv_unit {
	__m512i block[BLOCKS][8];
};

ALWAYS_INLINE void load_block(__m512i *planes, const uint8_t *p)
{
#pragma clang loop unroll(full)
	for (int j = 0; j < 8; ++j)
		planes[j] = _mm512_loadu_si512(p + 64 * j);
	planes_of_bytes(planes);
	PIN8(planes);
}

/* Adds the products of `count` vectors of bytes, from the j-th of a block on. */
ALWAYS_INLINE void add_block(__m512i *sums, const __m512i *x, const uint8_t *p,
			     const weights_t *weights, int j, int count)
{
#pragma clang loop unroll(full)
	for (int end = j + count; j < end; ++j)
		add_products(sums, x[j], _mm512_loadu_si512(p + 64 * j), &weights[j]);
}

/* Part k of eight of the work on the unit before (x, before) and the one after (planes, after). */
ALWAYS_INLINE void beside_round(int k, struct fnv_unit *x, const uint8_t *before, __m512i *sums,
				struct fnv_unit *planes, const uint8_t *after,
				const weights_t *weights)
{
	int block = k / 3;

	if (k >= 3 * BLOCKS) {
		block = k - 3 * BLOCKS;
		load_block(planes->block[block], after + BLOCK * block);
	} else if (k % 3 == 0) {
		bytes_of_planes(x->block[block]);
		PIN8(x->block[block]);
	} else {
		add_block(sums, x->block[block], before + BLOCK * block, weights + 8 * block,
			  k % 3 == 1 ? 0 : 4, 4);
	}
}

ALWAYS_INLINE uint64_t sum_of_words(words_t x)
{
	x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
	x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5);
	x += __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6);
	return (uint64_t)x[0];
}

/* Continues a hash over `units` (not 0) units: the one at `first`, then those at p. */
static NOINLINE uint64_t fnv_units(const struct pfs_fnv_constants *constants, uint64_t hash,
				   const uint8_t *first, const uint8_t *p, size_t units)
{
	const weights_t *weights = constants->weights;
	struct fnv_unit planes, next_planes, x;
	const uint8_t *before = first; /* of x; nothing, as long as power is 1 */
	const uint8_t *now = first;
	uint64_t power = 1;
	__m512i sums[PFS_FNV_DIGITS];
	int carry[8]; /* bit k of the low byte, 0 or -1 */

	/* No differences, whatever the bytes of `before` are: see the loop. */
	memset(&x, 0, sizeof(x));
	for (int k = 0; k < 8; ++k)
		carry[k] = -(int)(hash >> k & 1);
#pragma clang loop unroll(full)
	for (int block = 0; block < BLOCKS; ++block)
		load_block(planes.block[block], first + BLOCK * block);
	for (; units; --units) {
		struct rounds rounds[BLOCKS];
		const uint8_t *after = units > 1 ? p : now;

		memset(sums, 0, sizeof(sums));
#pragma clang loop unroll(full)
		for (int k = 0; k < 8; ++k) {
#pragma clang loop unroll(full)
			for (int block = 0; block < BLOCKS; ++block) {
				__m512i e = begin_round(&rounds[block], k, planes.block[block][k]);
				int flip;

				PIN(e);
				e = prefix_xor(e);
				/* A word is inverted if the parity of all before it is odd:
				 * that is a prefix XOR as well, of the top bits of words. */
				flip = _mm512_movepi64_mask(e);
				flip ^= flip << 1;
				flip ^= flip << 2;
				flip ^= flip << 4;
				flip = flip << 1 ^ carry[k];
				carry[k] = -(flip >> 8 & 1);
				end_round(
				    &rounds[block], k,
				    _mm512_mask_ternarylogic_epi64(e, (__mmask8)flip, e, e, 0x0F));
			}
			beside_round(k, &x, before, sums, &next_planes, after, weights);
		}
		/* The first time, what was summed up is of no unit. */
		if (power != 1)
			hash = hash * power + sum_of_words(join_digits(sums));
		power = constants->power;
		before = now;
		now = p;
		p += PFS_FNV_UNIT;
		planes = next_planes;
#pragma clang loop unroll(full)
		for (int block = 0; block < BLOCKS; ++block)
			memcpy(x.block[block], rounds[block].x, sizeof(x.block[block]));
	}
	memset(sums, 0, sizeof(sums));
	for (int block = 0; block < BLOCKS; ++block) {
		bytes_of_planes(x.block[block]);
		add_block(sums, x.block[block], before + BLOCK * block, weights + 8 * block, 0, 8);
	}
	return hash * power + sum_of_words(join_digits(sums));
}

/*
 * Continues a hash over a range. The range is filled up to whole units with zeros before it: they
 * multiply the hash by p each, which its inverse takes back beforehand.
 */
static uint64_t fnv_long(const struct pfs_fnv_constants *constants, uint64_t hash,
			 const struct range *range)
{
	_Alignas(64) uint8_t first[PFS_FNV_UNIT];
	size_t zeros = -range->length % PFS_FNV_UNIT;
	size_t head = PFS_FNV_UNIT - zeros;
	size_t units = (range->length + zeros) / PFS_FNV_UNIT;

	/* Such as what is left of a range that has ended before others of its batch. */
	if (!range->length)
		return hash;
	if (!zeros)
		return fnv_units(constants, hash, range->start, range->start + PFS_FNV_UNIT, units);
	memset(first, 0, zeros);
	memcpy(first + zeros, range->start, head);
	hash *= constants->inverse[zeros % 64] * constants->inverse64[zeros / 64];
	return fnv_units(constants, hash, first, range->start + head, units);
}

#endif

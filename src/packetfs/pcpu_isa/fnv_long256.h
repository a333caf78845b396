/* SPDX-License-Identifier: MIT */
/*
 * FNV-1a of one long range in parallel with 256-bit vectors: what fnv_planes512.h and fnv_long512.h
 * do, without the instructions for it that came with AVX-512. Planes are made by movemask, prefix
 * XORs by shifts, bytes from planes by swaps under masks. That is some three operations a byte:
 * less than one chain takes in time, but more than several chains side by side.
 */
#ifndef PFS_FNV_LONG256_H
#define PFS_FNV_LONG256_H

#include "internal.h"

typedef __m256i plane_t;

#define XOR3(a, b, c) ((a) ^ (b) ^ (c))
#define MAJORITY(a, b, c) ((((a) ^ (b)) & ((a) ^ (c))) ^ (a))
#include "fnv_rounds.h"

enum {
	BLOCK = 256, /* bytes whose planes fill vectors */
	BLOCKS = PFS_FNV_UNIT / BLOCK,
};

/*
 * Writes the planes of a block. A load of a whole plane must not follow at once: it would wait
 * until all its words have reached the cache. (64 KiB on Zen 4: 1.7 GB/s if it does, 3.2 if the
 * planes of a unit are made before the rounds.)
 */
ALWAYS_INLINE void store_planes(uint64_t (*planes)[BLOCK / 64], const uint8_t *p)
{
#pragma clang loop unroll(full)
	for (int v = 0; v < 8; v += 2) {
		__m256i x = _mm256_loadu_si256((const __m256i *)(p + 32 * v));
		__m256i y = _mm256_loadu_si256((const __m256i *)(p + 32 * v + 32));

#pragma clang loop unroll(full)
		for (int k = 7; k >= 0; --k) {
			planes[k][v / 2] = (uint32_t)_mm256_movemask_epi8(x) |
					   (uint64_t)_mm256_movemask_epi8(y) << 32;
			x = _mm256_add_epi8(x, x);
			y = _mm256_add_epi8(y, y);
		}
	}
}

/* One step of the transposition of 8 by 8 bits in each word (H. S. Warren: Hacker's Delight). */
ALWAYS_INLINE __m256i swap_bits(__m256i x, int shift, int64_t mask)
{
	__m256i t = (x ^ _mm256_srli_epi64(x, shift)) & _mm256_set1_epi64x(mask);

	return x ^ t ^ _mm256_slli_epi64(t, shift);
}

ALWAYS_INLINE void bytes_of_planes(__m256i *bytes, const plane_t *planes)
{
	__m256i pairs[8], quads[8], x[8];

	/* Bytes of the planes side by side: in each word, one byte of each plane. */
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; ++i) {
		pairs[i] = _mm256_unpacklo_epi8(planes[2 * i], planes[2 * i + 1]);
		pairs[4 + i] = _mm256_unpackhi_epi8(planes[2 * i], planes[2 * i + 1]);
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; ++i) {
		quads[2 * i] = _mm256_unpacklo_epi16(pairs[2 * i], pairs[2 * i + 1]);
		quads[2 * i + 1] = _mm256_unpackhi_epi16(pairs[2 * i], pairs[2 * i + 1]);
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i += 4) {
		x[i] = _mm256_unpacklo_epi32(quads[i], quads[i + 2]);
		x[i + 1] = _mm256_unpackhi_epi32(quads[i], quads[i + 2]);
		x[i + 2] = _mm256_unpacklo_epi32(quads[i + 1], quads[i + 3]);
		x[i + 3] = _mm256_unpackhi_epi32(quads[i + 1], quads[i + 3]);
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; ++i) {
		x[i] = swap_bits(x[i], 7, 0x00AA00AA00AA00AA);
		x[i] = swap_bits(x[i], 14, 0x0000CCCC0000CCCC);
		x[i] = swap_bits(x[i], 28, 0x00000000F0F0F0F0);
	}
	/* x[i] has bytes 16 i and 128 + 16 i to 15 more. */
#pragma clang loop unroll(full)
	for (int i = 0; i < 4; ++i) {
		bytes[i] = _mm256_permute2x128_si256(x[2 * i], x[2 * i + 1], 0x20);
		bytes[4 + i] = _mm256_permute2x128_si256(x[2 * i], x[2 * i + 1], 0x31);
	}
}

/* In each word: bit i of the result is the XOR of bits 0...i. */
ALWAYS_INLINE plane_t prefix_xor(plane_t e)
{
#pragma clang loop unroll(full)
	for (int shift = 1; shift < 64; shift *= 2)
		e ^= _mm256_slli_epi64(e, shift);
	return e;
}

/* Adds the products of the block's d and weights to sums in 32-bit lanes, one for each digit. */
ALWAYS_INLINE void add_products(__m256i *sums, const plane_t *planes, const uint8_t *p,
				const int16_t (*weights)[2][PFS_FNV_DIGITS][32])
{
	const __m256i plus_minus = _mm256_set1_epi16((int16_t)0xFF01);
	__m256i x[8];

	bytes_of_planes(x, planes);
#pragma clang loop unroll(full)
	for (int v = 0; v < 8; ++v) {
		__m256i l = x[v] ^ _mm256_loadu_si256((const __m256i *)(p + 32 * v));
		__m256i d[2] = {
		    _mm256_maddubs_epi16(_mm256_unpacklo_epi8(x[v], l), plus_minus),
		    _mm256_maddubs_epi16(_mm256_unpackhi_epi8(x[v], l), plus_minus),
		};

#pragma clang loop unroll(full)
		for (int half = 0; half < 2; ++half)
#pragma clang loop unroll(full)
			for (int k = 0; k < PFS_FNV_DIGITS; ++k) {
				const int16_t *w = weights[v / 2][half][k] + v % 2 * 16;

				sums[k] = _mm256_add_epi32(
				    sums[k], _mm256_madd_epi16(
						 d[half], _mm256_loadu_si256((const __m256i *)w)));
			}
	}
}

/* Continues a hash over the unit at p. */
static NOINLINE uint64_t fnv_unit(const struct pfs_fnv_constants *constants, uint64_t hash,
				  const uint8_t *p)
{
	/* All ones in the words whose bits are set. */
	static const _Alignas(32) int64_t words[16][4] = {
	    {0, 0, 0, 0},   {-1, 0, 0, 0},   {0, -1, 0, 0},   {-1, -1, 0, 0},
	    {0, 0, -1, 0},  {-1, 0, -1, 0},  {0, -1, -1, 0},  {-1, -1, -1, 0},
	    {0, 0, 0, -1},  {-1, 0, 0, -1},  {0, -1, 0, -1},  {-1, -1, 0, -1},
	    {0, 0, -1, -1}, {-1, 0, -1, -1}, {0, -1, -1, -1}, {-1, -1, -1, -1},
	};
	_Alignas(32) int32_t lanes[PFS_FNV_DIGITS][8];
	__m256i sums[PFS_FNV_DIGITS] = {0};
	_Alignas(32) uint64_t planes[BLOCKS][8][BLOCK / 64];
	struct rounds rounds[BLOCKS];

#pragma clang loop unroll(full)
	for (int block = 0; block < BLOCKS; ++block)
		store_planes(planes[block], p + BLOCK * block);
#pragma clang loop unroll(full)
	for (int k = 0; k < 8; ++k) {
		unsigned int carry = -(unsigned int)(hash >> k & 1);

#pragma clang loop unroll(full)
		for (int block = 0; block < BLOCKS; ++block) {
			plane_t plane = _mm256_load_si256((const __m256i *)planes[block][k]);
			plane_t e = prefix_xor(begin_round(&rounds[block], k, plane));
			/* A word is inverted if the parity of all before it is odd. */
			unsigned int flip = (unsigned int)_mm256_movemask_pd((__m256d)e);

			flip ^= flip << 1;
			flip ^= flip << 2;
			flip = flip << 1 ^ carry;
			carry = -(flip >> 4 & 1);
			end_round(&rounds[block], k,
				  e ^ _mm256_load_si256((const __m256i *)words[flip & 15]));
		}
	}
#pragma clang loop unroll(full)
	for (int block = 0; block < BLOCKS; ++block)
		add_products(sums, rounds[block].x, p + BLOCK * block,
			     constants->weights + BLOCK / 64 * block);
	memcpy(lanes, sums, sizeof(lanes));
	hash *= constants->power;
	for (int k = 0; k < PFS_FNV_DIGITS; ++k) {
		int64_t sum = 0;

		for (int i = 0; i < 8; ++i)
			sum += lanes[k][i];
		hash += (uint64_t)sum << 16 * k;
	}
	return hash;
}

/*
 * Continues a hash over a range. The range is filled up to whole units with zeros before it: they
 * multiply the hash by p each, which its inverse takes back beforehand.
 */
static uint64_t fnv_long(const struct pfs_fnv_constants *constants, uint64_t hash,
			 const struct range *range)
{
	const uint8_t *p = range->start;
	size_t zeros = -range->length % PFS_FNV_UNIT;
	size_t left = range->length;

	if (zeros) {
		_Alignas(32) uint8_t first[PFS_FNV_UNIT];
		size_t head = PFS_FNV_UNIT - zeros;

		memset(first, 0, zeros);
		memcpy(first + zeros, p, head);
		hash *= constants->inverse[zeros % 64] * constants->inverse64[zeros / 64];
		hash = fnv_unit(constants, hash, first);
		p += head;
		left -= head;
	}
	for (; left; left -= PFS_FNV_UNIT, p += PFS_FNV_UNIT)
		hash = fnv_unit(constants, hash, p);
	return hash;
}

#endif

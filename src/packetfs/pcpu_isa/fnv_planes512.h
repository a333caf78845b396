/* SPDX-License-Identifier: MIT */
/*
 * FNV-1a of one range in parallel: bit planes and the dot product.
 *
 * theoretical/fnv derives what is done here. In short: with l the low byte of the hash and b the
 * next byte of the range, x = l ^ b, and the hash grows by d = x - l before it is multiplied by the
 * prime p. So the hash after n bytes is h * p^n + the sum of d_i * p^(n - i), a dot product. The
 * low bytes l_i depend on nothing but themselves and the bytes; bit k of all of them is a prefix
 * XOR over positions, once the lower bits are known.
 *
 * A plane is a vector that holds one bit of 512 consecutive bytes.
 */
#ifndef PFS_FNV_PLANES512_H
#define PFS_FNV_PLANES512_H

#include "fnv_words512.h"

enum { BLOCK = 64 * WORDS }; /* bytes whose planes fill vectors */

/* Weights of 64 bytes in the dot product: halves of 32 bytes, signed 16-bit digits of each. */
typedef int16_t weights_t[2][PFS_FNV_DIGITS][32];

#define XOR3(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
#define MAJORITY(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0xE8)

/*
 * An order of program parts. The rounds wait for each other, so that other work must stand between
 * them; without this, the compiler puts all rounds side by side, and the core, which looks only
 * some hundred instructions ahead, finds nothing else to do. (One range of 64 KiB: 8.1 GB/s
 * without, 8.4 with; ranges of 1 KiB side by side: 5.7 and 7.0.)
 *
 * ADD_PRODUCTS is _mm512_dpwssd_epi32(), which the compiler would take apart into a multiplication
 * and an addition.
 */
#ifdef PFS_INTRINSICS
#define PIN(v)
#define PIN4(v)
#define PIN8(v)
#define ADD_PRODUCTS(sum, a, b)                                                                    \
	((sum) = _mm512_dpwssd_epi32(sum, a, _mm512_loadu_si512((const void *)(b))))
#else
#define PIN(v) __asm__ volatile("" : "+v"(v))
#define PIN4(v) __asm__ volatile("" : "+v"((v)[0]), "+v"((v)[1]), "+v"((v)[2]), "+v"((v)[3]))
#define PIN8(v)                                                                                    \
	__asm__ volatile(""                                                                        \
			 : "+v"((v)[0]), "+v"((v)[1]), "+v"((v)[2]), "+v"((v)[3]), "+v"((v)[4]),   \
			   "+v"((v)[5]), "+v"((v)[6]), "+v"((v)[7]))
#define ADD_PRODUCTS(sum, a, b)                                                                    \
	__asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "m"(*(const __m512i *)(b)))
#endif

/* Byte t of each word from byte 7 - t. */
static const _Alignas(64) uint8_t reversed_in_words[64] = {
    7,	6,  5,	4,  3,	2,  1,	0,  15, 14, 13, 12, 11, 10, 9,	8,  23, 22, 21, 20, 19, 18,
    17, 16, 31, 30, 29, 28, 27, 26, 25, 24, 39, 38, 37, 36, 35, 34, 33, 32, 47, 46, 45, 44,
    43, 42, 41, 40, 55, 54, 53, 52, 51, 50, 49, 48, 63, 62, 61, 60, 59, 58, 57, 56};
/* Byte 8 q + t from byte 8 t + q. */
static const _Alignas(64) uint8_t exchanged[64] = {
    0,	8,  16, 24, 32, 40, 48, 56, 1,	9,  17, 25, 33, 41, 49, 57, 2,	10, 18, 26, 34, 42,
    50, 58, 3,	11, 19, 27, 35, 43, 51, 59, 4,	12, 20, 28, 36, 44, 52, 60, 5,	13, 21, 29,
    37, 45, 53, 61, 6,	14, 22, 30, 38, 46, 54, 62, 7,	15, 23, 31, 39, 47, 55, 63};
/* Byte 8 q + t from byte 8 (7 - t) + q. */
static const _Alignas(64) uint8_t exchanged_reversed[64] = {
    56, 48, 40, 32, 24, 16, 8,	0,  57, 49, 41, 33, 25, 17, 9,	1,  58, 50, 42, 34, 26, 18,
    10, 2,  59, 51, 43, 35, 27, 19, 11, 3,  60, 52, 44, 36, 28, 20, 12, 4,  61, 53, 45, 37,
    29, 21, 13, 5,  62, 54, 46, 38, 30, 22, 14, 6,  63, 55, 47, 39, 31, 23, 15, 7};

/* In each word: bit i of byte t is bit t of byte 7 - i. */
ALWAYS_INLINE __m512i transpose_bits(__m512i matrix)
{
	/* Byte t of a word is 1 << t. */
	return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64((int64_t)0x8040201008040201), matrix,
					     0);
}

/* From bytes, 64 in each vector, to planes: word j of vector k gets bit k of the bytes of vector j.
 */
ALWAYS_INLINE void planes_of_bytes(__m512i *v)
{
	const __m512i reverse = _mm512_load_si512(reversed_in_words);
	const __m512i exchange = _mm512_load_si512(exchanged);

#pragma clang loop unroll(full)
	for (int j = 0; j < 8; ++j)
		v[j] = _mm512_permutexvar_epi8(exchange,
					       transpose_bits(_mm512_shuffle_epi8(v[j], reverse)));
	exchange_words((words_t *)v);
}

/* The inverse of planes_of_bytes(). */
ALWAYS_INLINE void bytes_of_planes(__m512i *v)
{
	const __m512i exchange = _mm512_load_si512(exchanged_reversed);

	exchange_words((words_t *)v);
#pragma clang loop unroll(full)
	for (int j = 0; j < 8; ++j)
		v[j] = transpose_bits(_mm512_permutexvar_epi8(exchange, v[j]));
}

/* In each word: bit i of the result is the XOR of bits 0...i. */
ALWAYS_INLINE __m512i prefix_xor(__m512i e)
{
	const __m512i ones = _mm512_set1_epi64(-1);

	return _mm512_unpacklo_epi64(_mm512_clmulepi64_epi128(e, ones, 0x00),
				     _mm512_clmulepi64_epi128(e, ones, 0x01));
}

typedef __m512i plane_t;
#include "fnv_rounds.h"

/* The differences d of 64 bytes: in 16 bits, the first eight of each 16 bytes, then the others. */
ALWAYS_INLINE void differences(__m512i *d, __m512i x, __m512i b)
{
	const __m512i plus_minus = _mm512_set1_epi16((int16_t)0xFF01);
	__m512i l = x ^ b;

	d[0] = _mm512_maddubs_epi16(_mm512_unpacklo_epi8(x, l), plus_minus);
	d[1] = _mm512_maddubs_epi16(_mm512_unpackhi_epi8(x, l), plus_minus);
}

/* Adds the products of 64 bytes' d and weights to sums in 32-bit lanes, one for each digit. */
ALWAYS_INLINE void add_products(__m512i *sums, __m512i x, __m512i b, const weights_t *weights)
{
	__m512i d[2];

	differences(d, x, b);
#pragma clang loop unroll(full)
	for (int half = 0; half < 2; ++half)
#pragma clang loop unroll(full)
		for (int k = 0; k < PFS_FNV_DIGITS; ++k)
			ADD_PRODUCTS(sums[k], d[half], (*weights)[half][k]);
	PIN4(sums);
}

/* Puts the digits' sums together: a sum in each of eight words. */
ALWAYS_INLINE words_t join_digits(const __m512i *sums)
{
	const __m512i one = _mm512_set1_epi64(1);
	words_t low = (words_t)_mm512_mul_epi32(sums[0], one) + ((words_t)sums[0] >> 32);
	words_t middle = (words_t)_mm512_mul_epi32(sums[1], one) + ((words_t)sums[1] >> 32);
	words_t high = (words_t)_mm512_add_epi32(sums[2], _mm512_slli_epi32(sums[3], 16));

	return low + (middle << 16) + (high << 32) +
	       (high & (words_t)_mm512_set1_epi64((int64_t)0xFFFFFFFF00000000));
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The algebra of CRC-32C with carry-less multiplications: folding 64 bytes onto later ones, and
 * advancing a register over bytes that it has not seen.
 *
 * Registers are raw (no complements). Everything is linear over GF(2). Kernels therefore begin with
 * register 0, and the register before a range is advanced over the range's length and added.
 * Algebra and constants: struct pfs_constants.
 */
#ifndef PFS_CRC32C_FOLD_H
#define PFS_CRC32C_FOLD_H

#include "internal.h"

/* Multipliers to fold by d = -63...64 bytes. */
#define FOLD(constants) ((constants)->fold_table + 63)

/* The unit of a carry-less multiplication, and how many of them make up 64 bytes. */
#if MULTIPLY == 64
typedef __m512i lane_t;
#elif MULTIPLY == 32
typedef __m256i lane_t;
#else
typedef __m128i lane_t;
#endif
#define LANES (64 / MULTIPLY)

/* The 64 bytes that folding carries along. */
struct folded {
	lane_t lane[LANES];
};

ALWAYS_INLINE lane_t load_lane(const uint8_t *p)
{
#if MULTIPLY == 64
	return _mm512_loadu_si512(p);
#elif MULTIPLY == 32
	return _mm256_loadu_si256((const __m256i *)p);
#else
	return _mm_loadu_si128((const __m128i *)p);
#endif
}

/* A lane times a multiplier of constants->fold. */
ALWAYS_INLINE lane_t fold_lane(lane_t a, lane_t k)
{
#if MULTIPLY == 64
	return _mm512_clmulepi64_epi128(a, k, 0x00) ^ _mm512_clmulepi64_epi128(a, k, 0x11);
#elif MULTIPLY == 32
	return _mm256_clmulepi64_epi128(a, k, 0x00) ^ _mm256_clmulepi64_epi128(a, k, 0x11);
#else
	return _mm_clmulepi64_si128(a, k, 0x00) ^ _mm_clmulepi64_si128(a, k, 0x11);
#endif
}

ALWAYS_INLINE lane_t fold_multiplier(const uint64_t (*fold)[2])
{
	__m128i k = _mm_loadu_si128((const __m128i *)*fold);

#if MULTIPLY == 64
	return _mm512_broadcast_i32x4(k);
#elif MULTIPLY == 32
	return _mm256_broadcastsi128_si256(k);
#else
	return k;
#endif
}

ALWAYS_INLINE struct folded load_folded(const uint8_t *p)
{
	struct folded f;

	for (int i = 0; i < LANES; ++i)
		f.lane[i] = load_lane(p + i * sizeof(lane_t));
	return f;
}

/* Only the first `count` (0...64) bytes of 64. */
ALWAYS_INLINE struct folded load_head(const uint8_t *p, size_t count)
{
	struct folded f;

	for (int i = 0; i < LANES; ++i)
		f.lane[i] = load_lane(p + i * sizeof(lane_t)) &
			    load_lane(head_mask + 64 - count + i * sizeof(lane_t));
	return f;
}

#if MULTIPLY == 64
/*
 * `count` (1...64) bytes, as the last of 64; the bytes before them are zero and not read. A masked
 * load that reaches into a page that is not there succeeds, but takes some 500 cycles on Zen 4. So
 * at the beginning of a page, bytes are loaded from there and moved.
 */
ALWAYS_INLINE struct folded load_tail(const uint8_t *p, size_t count)
{
	const __m512i numbers = _mm512_set_epi8(
	    63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42,
	    41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20,
	    19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
	const __mmask64 mask = ~0ull << (64 - count);
	struct folded f;

	if (__builtin_expect((uintptr_t)p % 4096 < 64 - count, 0)) {
		__m512i bytes = _mm512_maskz_loadu_epi8(~0ull >> (64 - count), p);
		__m512i from = _mm512_add_epi8(numbers, _mm512_set1_epi8((char)count));

		f.lane[0] = _mm512_maskz_permutexvar_epi8(mask, from, bytes);
	} else {
		f.lane[0] = _mm512_maskz_loadu_epi8(mask, p + count - 64);
	}
	return f;
}
#endif

ALWAYS_INLINE struct folded fold_onto(struct folded f, lane_t k, const uint8_t *next)
{
	for (int i = 0; i < LANES; ++i)
		f.lane[i] = fold_lane(f.lane[i], k) ^ load_lane(next + i * sizeof(lane_t));
	return f;
}

/* The register after 128 bits. */
ALWAYS_INLINE uint32_t crc_of_lane(__m128i lane)
{
	return _mm_crc32_u64(_mm_crc32_u64(0, _mm_cvtsi128_si64(lane)), _mm_extract_epi64(lane, 1));
}

#if MULTIPLY == 64
/* The register after the 64 bytes and what `multipliers` fold each lane over. */
ALWAYS_INLINE uint32_t reduce_lanes(const uint64_t multipliers[4][2], struct folded f)
{
	__m512i x = fold_lane(f.lane[0], _mm512_loadu_si512(multipliers));
	__m256i half = _mm512_castsi512_si256(x) ^ _mm512_extracti64x4_epi64(x, 1);

	return crc_of_lane(_mm256_castsi256_si128(half) ^ _mm256_extracti128_si256(half, 1));
}
#else
/* The register after the 64 bytes. */
ALWAYS_INLINE uint32_t reduce_folded(const struct pfs_constants *constants, struct folded f)
{
	__m128i sum;

#if MULTIPLY == 32
	__m256i x = fold_lane(f.lane[0], fold_multiplier(FOLD(constants) + 32)) ^ f.lane[1];

	sum = _mm_clmulepi64_si128(_mm256_castsi256_si128(x),
				   _mm_loadu_si128((const __m128i *)FOLD(constants)[16]), 0x00) ^
	      _mm_clmulepi64_si128(_mm256_castsi256_si128(x),
				   _mm_loadu_si128((const __m128i *)FOLD(constants)[16]), 0x11) ^
	      _mm256_extracti128_si256(x, 1);
#else
	sum = f.lane[3];
	for (int i = 0; i < 3; ++i)
		sum ^= fold_lane(f.lane[i], fold_multiplier(FOLD(constants) + 48 - 16 * i));
#endif
	return crc_of_lane(sum);
}
#endif

ALWAYS_INLINE uint64_t multiply(uint32_t crc, uint64_t multiplier)
{
	return _mm_cvtsi128_si64(_mm_clmulepi64_si128(
	    _mm_cvtsi64_si128(crc), _mm_cvtsi64_si128((int64_t)multiplier), 0x00));
}

/* The register `length` zero bytes later. */
static uint32_t advance_register(const struct pfs_constants *constants, uint32_t crc, size_t length)
{
	const uint64_t *multiplier = constants->advance_kib;

	crc = _mm_crc32_u64(0, multiply(crc, constants->advance[length % 1024]));
	for (length /= 1024; length; length >>= 1, ++multiplier)
		if (length & 1)
			crc = _mm_crc32_u64(0, multiply(crc, *multiplier));
	return crc;
}

/* The raw register after any number of bytes: for what is too short for everything else. */
ALWAYS_INLINE uint32_t crc_words(uint64_t crc, const uint8_t *p, size_t length)
{
	for (; length >= 8; length -= 8, p += 8)
		crc = _mm_crc32_u64(crc, load64(p));
	for (; length; --length, ++p)
		crc = _mm_crc32_u8(crc, *p);
	return crc;
}

/* A range of 64 bytes at least, folded to 64 bytes. */
ALWAYS_INLINE struct folded fold_range(const struct pfs_constants *constants,
				       const struct range *range)
{
	const lane_t k = fold_multiplier(FOLD(constants) + 64);
	const uint8_t *p = range->start;
	size_t blocks = (range->length - 1) / 64; /* after the head */
	size_t head = (range->length - 1) % 64 + 1;
	struct folded f = load_head(p, head);

	p += head;
	if (!blocks)
		return f;
	f = fold_onto(f, fold_multiplier(FOLD(constants) + head), p);
	while (--blocks) {
		p += 64;
		f = fold_onto(f, k, p);
	}
	return f;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Ranges side by side: a chain in each 64-bit lane of up to LANES_VECTORS vectors, one vector
 * multiplication for a byte of eight ranges. On Zen 4 it has a latency of three cycles, and one
 * begins in each, so that several vectors together keep the multiplier busy.
 *
 * All ranges of a group end together. A range that begins later has zeros before its first byte:
 * they multiply the hash by the prime each, which its inverse takes back beforehand. So no lane is
 * ever masked in the chains, and there are no tails.
 */
#ifndef PFS_FNV_LANES512_H
#define PFS_FNV_LANES512_H

#include "fnv_words512.h"

enum {
	LANES_VECTORS = 4,
	SIDE_BY_SIDE = WORDS * LANES_VECTORS,
	LANES_LONGEST = 64 * (PFS_FNV_STEPS - 1), /* bytes of a range */
};

/*
 * Loads the 64 bytes that lie `left` bytes before the end of eight ranges, with zeros for what lies
 * before a range. Word w of all ranges goes to vector w.
 */
ALWAYS_INLINE void load_words(words_t *words, const uint8_t *const *ends, const int64_t *lengths,
			      size_t left)
{
	_Alignas(64) uint64_t masks[WORDS];
	words_t before =
	    (words_t)_mm512_set1_epi64((int64_t)left) - (words_t)_mm512_load_si512(lengths);

	/* A shift by 64 and more leaves nothing. */
	before = (words_t)_mm512_max_epi64((__m512i)before, _mm512_setzero_si512());
	_mm512_store_si512(masks, _mm512_sllv_epi64(_mm512_set1_epi64(-1), (__m512i)before));
#pragma clang loop unroll(full)
	for (int r = 0; r < WORDS; ++r) {
		/*
		 * Bytes that the mask leaves out are not read; but where they lie in no memory at
		 * all, that takes the CPU hundreds of cycles.
		 */
		const uint8_t *p = masks[r] ? (const uint8_t *)((uintptr_t)ends[r] - left) : zeros;

		words[r] = (words_t)_mm512_maskz_loadu_epi8(masks[r], p);
	}
	exchange_words(words);
}

/* Continues the hashes of `count` (1...WORDS * vectors) ranges of at most LANES_LONGEST bytes each;
 * the longest takes the time. */
ALWAYS_INLINE void fnv_side_by_side(const struct pfs_fnv_constants *constants,
				    const struct range *const *ranges, size_t count,
				    uint64_t *const *hashes, const int vectors)
{
	const words_t low_byte = (words_t)_mm512_set1_epi64(0xFF);
	_Alignas(64) int64_t lengths[SIDE_BY_SIDE];
	_Alignas(64) uint64_t hash[SIDE_BY_SIDE];
	_Alignas(64) words_t words[LANES_VECTORS][WORDS];
	const uint8_t *ends[SIDE_BY_SIDE];
	__m512i prime = _mm512_set1_epi64((int64_t)FNV_PRIME);
	words_t state[LANES_VECTORS];
	size_t left = 0; /* bytes, a multiple of 8 */

	/* A compiler that knows the factor replaces the multiplication by shifts and additions. */
	__asm__("" : IN_VECTOR(prime));

	for (size_t i = 0; i < (size_t)(WORDS * vectors); ++i) {
		/* A lane for nobody gets a range of no bytes. */
		const struct range *range = ranges[i < count ? i : 0];
		size_t length = i < count ? range->length : 0;

		lengths[i] = (int64_t)length;
		ends[i] = range->start + length;
		left = length > left ? length : left;
	}
	left = (left + 7) / 8 * 8;
	for (size_t i = 0; i < (size_t)(WORDS * vectors); ++i) {
		size_t zeros = left - (size_t)lengths[i];

		hash[i] = *hashes[i < count ? i : 0] * constants->inverse[zeros % 64] *
			  constants->inverse64[zeros / 64];
	}
#pragma clang loop unroll(full)
	for (int v = 0; v < vectors; ++v)
		state[v] = (words_t)_mm512_load_si512(hash + WORDS * v);
	for (; left; left = (left - 1) / 64 * 64) {
		size_t end = (left + 63) / 64 * 64;

		for (int v = 0; v < vectors; ++v)
			load_words(words[v], ends + WORDS * v, lengths + WORDS * v, end);
		for (size_t w = (end - left) / 8; w < WORDS; ++w) {
			words_t word[LANES_VECTORS];

#pragma clang loop unroll(full)
			for (int v = 0; v < vectors; ++v)
				word[v] = words[v][w];
#pragma clang loop unroll(full)
			for (int byte = 0; byte < 8; ++byte) {
#pragma clang loop unroll(full)
				for (int v = 0; v < vectors; ++v) {
					words_t x = state[v] ^ (word[v] & low_byte);

					word[v] = (words_t)_mm512_srli_epi64((__m512i)word[v], 8);
					state[v] = (words_t)_mm512_mullo_epi64((__m512i)x, prime);
				}
			}
		}
	}
#pragma clang loop unroll(full)
	for (int v = 0; v < vectors; ++v)
		_mm512_store_si512(hash + WORDS * v, (__m512i)state[v]);
	for (size_t i = 0; i < count; ++i)
		*hashes[i] = hash[i];
}

static NOINLINE void fnv_lanes8(const struct pfs_fnv_constants *constants,
				const struct range *const *ranges, size_t count,
				uint64_t *const *hashes)
{
	fnv_side_by_side(constants, ranges, count, hashes, 1);
}

static NOINLINE void fnv_lanes16(const struct pfs_fnv_constants *constants,
				 const struct range *const *ranges, size_t count,
				 uint64_t *const *hashes)
{
	fnv_side_by_side(constants, ranges, count, hashes, 2);
}

static NOINLINE void fnv_lanes32(const struct pfs_fnv_constants *constants,
				 const struct range *const *ranges, size_t count,
				 uint64_t *const *hashes)
{
	fnv_side_by_side(constants, ranges, count, hashes, 4);
}

#endif

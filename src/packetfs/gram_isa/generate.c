// SPDX-License-Identifier: MIT
#include "pfs_generate.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <stdbool.h>

#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f")))

/* The integer hash "lowbias32" (C. Wellons, hash-prospector), of eight numbers. */
AVX2 static inline __m256i hash(__m256i x)
{
	x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
	x = _mm256_mullo_epi32(x, _mm256_set1_epi32(0x7feb352d));
	x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 15));
	x = _mm256_mullo_epi32(x, _mm256_set1_epi32((int)0x846ca68b));
	return _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
}

/*
 * Offsets of the four 64-bit lanes whose low halves hold the hash and the number of places: start +
 * (hash * places >> 32 << shift).
 */
AVX2 static inline __m256i offsets(__m256i hashes, __m256i places, __m256i start, __m128i shift)
{
	__m256i place = _mm256_srli_epi64(_mm256_mul_epu32(hashes, places), 32);

	return _mm256_add_epi64(start, _mm256_sll_epi64(place, shift));
}

AVX2 static long generate_avx2(const struct pfs_descriptor_stream *stream, uint32_t first,
			       __m256i *table, long count)
{
	const uint32_t alignment = (uint32_t)1 << stream->shift;
	const uint32_t units = (uint32_t)(stream->region_length >> stream->shift);
	const uint32_t rest = (uint32_t)(stream->region_length & (alignment - 1));
	const __m128i shift = _mm_cvtsi32_si128((int)stream->shift);
	const __m128i length_shift = _mm_cvtsi32_si128(30 - (int)stream->shift);
	const __m256i length_key = _mm256_set1_epi32((int)stream->length_key);
	const __m256i offset_key = _mm256_set1_epi32((int)stream->offset_key);
	const __m256i shortest = _mm256_set1_epi32((int)alignment);
	/* ((region - length) >> shift) + 1 in 32 bits, whatever the region: see the caller. */
	const __m256i round_up = _mm256_set1_epi32((int)(alignment - 1 - rest));
	const __m256i most_places = _mm256_set1_epi32((int)(units + 1));
	const __m256i start = _mm256_set1_epi64x((long long)stream->region_start);
	const __m256i low_half = _mm256_set1_epi64x(0xffffffff);
	/* In the order in which the interleaving below takes them up. */
	__m256i number = _mm256_add_epi32(_mm256_set1_epi32((int)first),
					  _mm256_setr_epi32(0, 4, 2, 6, 1, 5, 3, 7));

	for (long done = 0; done < count; done += 8, table += 4) {
		__m256i length = _mm256_add_epi32(
		    shortest,
		    _mm256_srl_epi32(hash(_mm256_xor_si256(number, length_key)), length_shift));
		__m256i places = _mm256_sub_epi32(
		    most_places, _mm256_srl_epi32(_mm256_add_epi32(length, round_up), shift));
		__m256i chosen = hash(_mm256_xor_si256(number, offset_key));
		__m256i even_offsets = offsets(chosen, places, start, shift);
		__m256i odd_offsets = offsets(_mm256_srli_epi64(chosen, 32),
					      _mm256_srli_epi64(places, 32), start, shift);
		/* A length in the low half of a lane and 0 above it: len and flags. */
		__m256i even_lengths = _mm256_and_si256(length, low_half);
		__m256i odd_lengths = _mm256_srli_epi64(length, 32);

		_mm256_storeu_si256(table, _mm256_unpacklo_epi64(even_offsets, even_lengths));
		_mm256_storeu_si256(table + 1, _mm256_unpackhi_epi64(even_offsets, even_lengths));
		_mm256_storeu_si256(table + 2, _mm256_unpacklo_epi64(odd_offsets, odd_lengths));
		_mm256_storeu_si256(table + 3, _mm256_unpackhi_epi64(odd_offsets, odd_lengths));
		number = _mm256_add_epi32(number, _mm256_set1_epi32(8));
	}
	return count;
}

/* The same, sixteen at a time. */
AVX512 static inline __m512i hash16(__m512i x)
{
	x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
	x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x7feb352d));
	x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
	x = _mm512_mullo_epi32(x, _mm512_set1_epi32((int)0x846ca68b));
	return _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
}

AVX512 static inline __m512i offsets16(__m512i hashes, __m512i places, __m512i start, __m128i shift)
{
	__m512i place = _mm512_srli_epi64(_mm512_mul_epu32(hashes, places), 32);

	return _mm512_add_epi64(start, _mm512_sll_epi64(place, shift));
}

AVX512 static long generate_avx512(const struct pfs_descriptor_stream *stream, uint32_t first,
				   __m512i *table, long count)
{
	const uint32_t alignment = (uint32_t)1 << stream->shift;
	const uint32_t units = (uint32_t)(stream->region_length >> stream->shift);
	const uint32_t rest = (uint32_t)(stream->region_length & (alignment - 1));
	const __m128i shift = _mm_cvtsi32_si128((int)stream->shift);
	const __m128i length_shift = _mm_cvtsi32_si128(30 - (int)stream->shift);
	const __m512i length_key = _mm512_set1_epi32((int)stream->length_key);
	const __m512i offset_key = _mm512_set1_epi32((int)stream->offset_key);
	const __m512i shortest = _mm512_set1_epi32((int)alignment);
	const __m512i round_up = _mm512_set1_epi32((int)(alignment - 1 - rest));
	const __m512i most_places = _mm512_set1_epi32((int)(units + 1));
	const __m512i start = _mm512_set1_epi64((long long)stream->region_start);
	const __m512i low_half = _mm512_set1_epi64(0xffffffff);
	__m512i number = _mm512_add_epi32(
	    _mm512_set1_epi32((int)first),
	    _mm512_setr_epi32(0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15));

	for (long done = 0; done < count; done += 16, table += 4) {
		__m512i length = _mm512_add_epi32(
		    shortest,
		    _mm512_srl_epi32(hash16(_mm512_xor_si512(number, length_key)), length_shift));
		__m512i places = _mm512_sub_epi32(
		    most_places, _mm512_srl_epi32(_mm512_add_epi32(length, round_up), shift));
		__m512i chosen = hash16(_mm512_xor_si512(number, offset_key));
		__m512i even_offsets = offsets16(chosen, places, start, shift);
		__m512i odd_offsets = offsets16(_mm512_srli_epi64(chosen, 32),
						_mm512_srli_epi64(places, 32), start, shift);
		__m512i even_lengths = _mm512_and_si512(length, low_half);
		__m512i odd_lengths = _mm512_srli_epi64(length, 32);

		_mm512_storeu_si512(table, _mm512_unpacklo_epi64(even_offsets, even_lengths));
		_mm512_storeu_si512(table + 1, _mm512_unpackhi_epi64(even_offsets, even_lengths));
		_mm512_storeu_si512(table + 2, _mm512_unpacklo_epi64(odd_offsets, odd_lengths));
		_mm512_storeu_si512(table + 3, _mm512_unpackhi_epi64(odd_offsets, odd_lengths));
		number = _mm512_add_epi32(number, _mm512_set1_epi32(16));
	}
	return count;
}

long pfs_generate_descriptors(const struct pfs_descriptor_stream *stream, uint32_t first,
			      void *table, long count, int lanes)
{
	/* No length is capped by the region, and every number of places fits in 32 bits. */
	const bool fits = stream->region_length >= (uint64_t)5 << stream->shift &&
			  stream->region_length >> stream->shift < UINT32_MAX;
	long done = 0;

	if (!fits || lanes < 8 || !__builtin_cpu_supports("avx2"))
		return 0;
	/* With AVX-512F, the compiler takes FMA and F16C for granted. */
	if (lanes >= 16 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma") &&
	    __builtin_cpu_supports("f16c"))
		done = generate_avx512(stream, first, table, count & ~15L);
	return done + generate_avx2(stream, first + (uint32_t)done, (__m256i *)table + done / 2,
				    (count - done) & ~7L);
}

#else

long pfs_generate_descriptors(const struct pfs_descriptor_stream *stream, uint32_t first,
			      void *table, long count, int lanes)
{
	(void)stream, (void)first, (void)table, (void)count, (void)lanes;
	return 0;
}

#endif

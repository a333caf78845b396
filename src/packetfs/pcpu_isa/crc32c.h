/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C with the crc32 instruction and carry-less multiplies. Included by the tiers that have both.
 *
 * A core retires one 8-byte crc32 per cycle, but each depends on the one before for three cycles; and it has a separate
 * unit for carry-less multiplies, which fold 64 bytes onto the next 64. All shapes here keep both units busy:
 *  - a long range is cut into blocks whose first part runs through four crc32 streams while the rest is folded;
 *  - short ranges are grouped by their number of 64-byte blocks and run several at a time, half of them folded, half of
 *    them through crc32, in loops whose branches depend on the group alone. A range's odd bytes come first: its first
 *    block is loaded whole and masked, and the multiplier which takes it to the next block depends on the odd length.
 *    So there are no tails and no mispredicted branches.
 *
 * Registers are raw (no complements). All is linear over GF(2), so kernels begin with register 0 and the register before
 * is advanced over the range's length and added. Algebra and constants: struct pfs_crc_constants.
 */

/* Words of each crc32 stream in an iteration of the fused loop: as much as 64 folded bytes cost. */
#if WIDE_MULTIPLY
#define STREAM_WORDS 2
#define LONG_ADVANCES long_wide
typedef __m256i TIER(lane);
#define LANES 2
#else
#define STREAM_WORDS 4
#define LONG_ADVANCES long_narrow
typedef __m128i TIER(lane);
#define LANES 4
#endif
#define lane_t TIER(lane)

/* The 64 bytes that folding carries along. */
struct TIER(folded) {
	lane_t lane[LANES];
};
#define folded_t struct TIER(folded)

ALWAYS_INLINE lane_t TIER(load_lane)(const uint8_t *p)
{
#if WIDE_MULTIPLY
	return _mm256_loadu_si256((const __m256i *)p);
#else
	return _mm_loadu_si128((const __m128i *)p);
#endif
}

/* A lane times a multiplier of constants->fold. */
ALWAYS_INLINE lane_t TIER(fold_lane)(lane_t a, lane_t k)
{
#if WIDE_MULTIPLY
	return _mm256_clmulepi64_epi128(a, k, 0x00) ^ _mm256_clmulepi64_epi128(a, k, 0x11);
#else
	return _mm_clmulepi64_si128(a, k, 0x00) ^ _mm_clmulepi64_si128(a, k, 0x11);
#endif
}

ALWAYS_INLINE lane_t TIER(multiplier)(const uint64_t fold[2])
{
	__m128i k = _mm_loadu_si128((const __m128i *)fold);

#if WIDE_MULTIPLY
	return _mm256_broadcastsi128_si256(k);
#else
	return k;
#endif
}

ALWAYS_INLINE folded_t TIER(load_folded)(const uint8_t *p)
{
	folded_t f;

	for (int i = 0; i < LANES; ++i)
		f.lane[i] = TIER(load_lane)(p + i * sizeof(lane_t));
	return f;
}

/* Only the first `count` (0...64) bytes of 64. */
ALWAYS_INLINE folded_t TIER(load_head)(const uint8_t *p, size_t count)
{
	folded_t f;

	for (int i = 0; i < LANES; ++i)
		f.lane[i] = TIER(load_lane)(p + i * sizeof(lane_t)) &
			    TIER(load_lane)(head_mask + 64 - count + i * sizeof(lane_t));
	return f;
}

ALWAYS_INLINE folded_t TIER(fold)(folded_t f, lane_t k, const uint8_t *next)
{
	for (int i = 0; i < LANES; ++i)
		f.lane[i] = TIER(fold_lane)(f.lane[i], k) ^
			    TIER(load_lane)(next + i * sizeof(lane_t));
	return f;
}

/* The register after the 64 bytes. */
ALWAYS_INLINE uint32_t TIER(reduce)(const struct pfs_crc_constants *constants, folded_t f)
{
	__m128i sum;
	uint64_t crc;

#if WIDE_MULTIPLY
	__m256i x = TIER(fold_lane)(f.lane[0], TIER(multiplier)(constants->fold[32])) ^ f.lane[1];

	sum = _mm_clmulepi64_si128(_mm256_castsi256_si128(x),
				   *(const __m128i_u *)constants->fold[16], 0x00) ^
	      _mm_clmulepi64_si128(_mm256_castsi256_si128(x),
				   *(const __m128i_u *)constants->fold[16], 0x11) ^
	      _mm256_extracti128_si256(x, 1);
#else
	sum = f.lane[3];
	for (int i = 0; i < 3; ++i)
		sum ^= TIER(fold_lane)(f.lane[i], TIER(multiplier)(constants->fold[48 - 16 * i]));
#endif
	crc = _mm_crc32_u64(0, _mm_cvtsi128_si64(sum));
	return _mm_crc32_u64(crc, _mm_extract_epi64(sum, 1));
}

ALWAYS_INLINE uint64_t TIER(product)(uint32_t crc, uint64_t multiplier)
{
	return _mm_cvtsi128_si64(_mm_clmulepi64_si128(
		_mm_cvtsi64_si128(crc), _mm_cvtsi64_si128((int64_t)multiplier), 0x00));
}

/* The register `length` zero bytes later. */
static uint32_t TIER(advance)(const struct pfs_crc_constants *constants, uint32_t crc,
			      size_t length)
{
	const uint64_t *multiplier = constants->advance_kib;

	crc = _mm_crc32_u64(0, TIER(product)(crc, constants->advance[length % 1024]));
	for (length /= 1024; length; length >>= 1, ++multiplier)
		if (length & 1)
			crc = _mm_crc32_u64(0, TIER(product)(crc, *multiplier));
	return crc;
}

/* The raw register after any number of bytes: for what is too short for everything else. */
ALWAYS_INLINE uint32_t TIER(crc_words)(uint64_t crc, const uint8_t *p, size_t length)
{
	for (; length >= 8; length -= 8, p += 8)
		crc = _mm_crc32_u64(crc, load64(p));
	for (; length; --length, ++p)
		crc = _mm_crc32_u8(crc, *p);
	return crc;
}

/*
 * `folded` + `streamed` ranges (at most MAX_GROUP) at once, each of (blocks - 1) * 64 + 1 to blocks * 64 bytes and of 64 at
 * least. The first ones are folded, the others run through crc32.
 */
enum {
	MAX_GROUP = 8
};

ALWAYS_INLINE void TIER(crc_group)(const struct pfs_crc_constants *constants, size_t blocks,
				   int folded, int streamed, const struct range *const *ranges,
				   uint32_t *crc)
{
	const lane_t k = TIER(multiplier)(constants->fold[64]);
	const uint8_t *p[MAX_GROUP];
	folded_t f[MAX_GROUP];
	uint64_t c[MAX_GROUP];

#pragma clang loop unroll(full)
	for (int i = 0; i < folded + streamed; ++i) {
		size_t head = ranges[i]->length - 64 * (blocks - 1);

		p[i] = ranges[i]->start + head;
		if (i < folded) {
			f[i] = TIER(load_head)(ranges[i]->start, head);
			if (blocks > 1)
				f[i] = TIER(fold)(f[i], TIER(multiplier)(constants->fold[head]),
						  p[i]);
		} else {
			c[i] = 0;
#pragma clang loop unroll(full)
			for (int w = 0; w < 8; ++w)
				c[i] = _mm_crc32_u64(c[i],
						     load64(ranges[i]->start + 8 * w) &
							     load64(head_mask + 64 - head + 8 * w));
			c[i] = _mm_crc32_u64(0, TIER(product)(c[i], constants->retreat[64 - head]));
		}
	}
	for (size_t block = 1; block < blocks; ++block) {
#pragma clang loop unroll(full)
		for (int i = folded; i < folded + streamed; ++i)
			c[i] = _mm_crc32_u64(c[i], load64(p[i]));
#pragma clang loop unroll(full)
		for (int i = 0; i < folded; ++i) {
			if (block + 1 < blocks)
				f[i] = TIER(fold)(f[i], k, p[i] + 64);
			p[i] += 64;
		}
#pragma clang loop unroll(full)
		for (int w = 1; w < 8; ++w)
#pragma clang loop unroll(full)
			for (int i = folded; i < folded + streamed; ++i)
				c[i] = _mm_crc32_u64(c[i], load64(p[i] + 8 * w));
#pragma clang loop unroll(full)
		for (int i = folded; i < folded + streamed; ++i)
			p[i] += 64;
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < folded; ++i)
		c[i] = TIER(reduce)(constants, f[i]);
#pragma clang loop unroll(full)
	for (int i = 0; i < folded + streamed; ++i)
		crc[i] = c[i];
}

/* A block of the fused loop: iterations * (64 + 32 * STREAM_WORDS) bytes. Returns the register after it. */
ALWAYS_INLINE uint32_t TIER(crc_block)(const struct pfs_crc_constants *constants, uint32_t before,
				       const uint8_t *p, size_t iterations,
				       const uint64_t advances[5])
{
	const lane_t k = TIER(multiplier)(constants->fold[64]);
	const size_t stream = iterations * 8 * STREAM_WORDS;
	const uint8_t *v = p + 4 * stream;
	folded_t f = TIER(load_folded)(v);
	uint64_t c[4] = {0};
	uint64_t sum;

	for (size_t i = 0;;) {
#pragma clang loop unroll(full)
		for (int w = 0; w < STREAM_WORDS; ++w)
#pragma clang loop unroll(full)
			for (int s = 0; s < 4; ++s)
				c[s] = _mm_crc32_u64(c[s], load64(p + s * stream + 8 * w));
		p += 8 * STREAM_WORDS;
		v += 64;
		if (++i == iterations)
			break;
		f = TIER(fold)(f, k, v);
	}
	sum = TIER(product)(before, advances[4]);
	for (int s = 0; s < 4; ++s)
		sum ^= TIER(product)(c[s], advances[s]);
	return _mm_crc32_u64(0, sum) ^ TIER(reduce)(constants, f);
}

/* A range of 64 to 1023 bytes, alone. */
static uint32_t TIER(crc_short)(const struct pfs_crc_constants *constants,
				const struct range *range)
{
	uint32_t crc;
	size_t blocks = (range->length + 63) / 64;

	if (blocks == 1)
		return TIER(crc_words)(0, range->start, range->length);
	TIER(crc_group)(constants, blocks, 1, 0, &range, &crc);
	return crc;
}

static uint32_t TIER(crc_long)(const struct pfs_crc_constants *constants, uint32_t crc,
			       const uint8_t *p, size_t length)
{
	const size_t step = 64 + 32 * STREAM_WORDS;
	struct range rest;

	for (; length >= LONG_ITERATIONS * step; length -= LONG_ITERATIONS * step) {
		crc = TIER(crc_block)(constants, crc, p, LONG_ITERATIONS,
				      constants->LONG_ADVANCES[0]);
		p += LONG_ITERATIONS * step;
	}
	for (; length >= MIDDLE_ITERATIONS * step; length -= MIDDLE_ITERATIONS * step) {
		crc = TIER(crc_block)(constants, crc, p, MIDDLE_ITERATIONS,
				      constants->LONG_ADVANCES[1]);
		p += MIDDLE_ITERATIONS * step;
	}
	for (; length >= 1024; length -= 512, p += 512) {
		rest = (struct range){p, 512};
		crc = TIER(advance)(constants, crc, 512) ^ TIER(crc_short)(constants, &rest);
	}
	if (length < 64)
		return TIER(crc_words)(crc, p, length);
	rest = (struct range){p, length};
	return TIER(advance)(constants, crc, length) ^ TIER(crc_short)(constants, &rest);
}

/*
 * Takes the raw registers of `count` (at most BATCH) ranges over their bytes. With `fresh` they are all ones.
 */
static void TIER(crc32c)(const struct pfs_crc_constants *constants, const struct range *ranges,
			 size_t count, uint32_t *crc, int fresh)
{
	enum { MOST = 16, FOLDED = 2, STREAMED = 2, GROUP = FOLDED + STREAMED };
	uint8_t members[MOST + 1][BATCH + GROUP];
	uint8_t filled[MOST + 1] = {0};

	for (size_t i = 0; i < count; ++i) {
		size_t length = ranges[i].length;

		if (length >= 64 && length < 1024) {
			size_t blocks = (length + 63) / 64;

			members[blocks][filled[blocks]++] = i;
		} else if (length >= 1024) {
			crc[i] = TIER(crc_long)(constants, crc[i], ranges[i].start, length);
		} else {
			crc[i] = TIER(crc_words)(crc[i], ranges[i].start, length);
		}
	}
	/* Exactly 64 bytes have no block after the head, and eight words. */
	for (size_t m = 0; m < filled[1]; ++m) {
		size_t i = members[1][m];

		crc[i] = TIER(crc_words)(crc[i], ranges[i].start, 64);
	}
	for (size_t blocks = 2; blocks <= MOST; ++blocks) {
		for (size_t m = 0; m < filled[blocks]; m += GROUP) {
			const struct range *group[GROUP];
			uint32_t raw[GROUP];
			size_t valid = filled[blocks] - m < GROUP ? filled[blocks] - m : GROUP;

			/* Fill up with the first one; its extra results are not used. */
			for (size_t g = 0; g < GROUP; ++g)
				group[g] = &ranges[members[blocks][m + (g < valid ? g : 0)]];
			TIER(crc_group)(constants, blocks, FOLDED, STREAMED, group, raw);
			for (size_t g = 0; g < valid; ++g) {
				size_t i = members[blocks][m + g];
				size_t length = ranges[i].length;

				crc[i] = raw[g] ^ (fresh ? constants->ones[length]
							 : TIER(advance)(constants, crc[i], length));
			}
		}
	}
}

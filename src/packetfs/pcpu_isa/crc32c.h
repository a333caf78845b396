/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C with the crc32 instruction and carry-less multiplies. Included by the tiers that have
 * both.
 *
 * A core retires one 8-byte crc32 per cycle, but each depends on the one before for three cycles;
 * and it has a separate unit for carry-less multiplies, which fold 64 bytes onto the next 64. All
 * shapes here keep both units busy:
 *  - a long range is cut into blocks whose first part runs through four crc32 streams while the
 * rest is folded;
 *  - short ranges are grouped by their number of 64-byte blocks and run several at a time, half of
 * them folded, half of them through crc32, in loops whose branches depend on the group alone. A
 * range's odd bytes come first: its first block is loaded whole and masked, and the multiplier
 * which takes it to the next block depends on the odd length. So there are no tails and no
 * mispredicted branches;
 *  - ranges of less than a block, and short ones all of one length, run through crc32 word by word,
 * several at a time. Here, too, odd bytes come first: zeros before them leave a register of 0 as it
 * is, so they are a word like any other.
 *
 * Registers are raw (no complements). All is linear over GF(2), so kernels begin with register 0
 * and the register before is advanced over the range's length and added. Algebra and constants:
 * struct pfs_crc_constants.
 */

/* Multipliers to fold by d = -63...64 bytes. */
#define FOLD(constants) ((constants)->fold_table + 63)

/*
 * An iteration of the fused loop: 64 bytes are folded FOLDS times while each of four streams takes
 * STREAM_WORDS words. What bounds it on Zen 3 is dispatch, six operations a cycle: a crc32 is about
 * two, a carry-less multiply about eight, of 128 bits or of 256. Hence more work for crc32 than the
 * throughput of the units alone would suggest.
 */
#define STREAM_WORDS 5
#if WIDE_MULTIPLY
#define FOLDS 2
#define LONG_ADVANCES long_wide
typedef __m256i TIER(lane);
#define LANES 2
#else
#define FOLDS 1
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

ALWAYS_INLINE lane_t TIER(multiplier)(const uint64_t (*fold)[2])
{
	__m128i k = _mm_loadu_si128((const __m128i *)*fold);

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
		f.lane[i] =
		    TIER(fold_lane)(f.lane[i], k) ^ TIER(load_lane)(next + i * sizeof(lane_t));
	return f;
}

/* The register after the 64 bytes. */
ALWAYS_INLINE uint32_t TIER(reduce)(const struct pfs_crc_constants *constants, folded_t f)
{
	__m128i sum;
	uint64_t crc;

#if WIDE_MULTIPLY
	__m256i x = TIER(fold_lane)(f.lane[0], TIER(multiplier)(FOLD(constants) + 32)) ^ f.lane[1];

	sum = _mm_clmulepi64_si128(_mm256_castsi256_si128(x),
				   *(const __m128i_u *)FOLD(constants)[16], 0x00) ^
	      _mm_clmulepi64_si128(_mm256_castsi256_si128(x),
				   *(const __m128i_u *)FOLD(constants)[16], 0x11) ^
	      _mm256_extracti128_si256(x, 1);
#else
	sum = f.lane[3];
	for (int i = 0; i < 3; ++i)
		sum ^= TIER(fold_lane)(f.lane[i], TIER(multiplier)(FOLD(constants) + 48 - 16 * i));
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
 * Ranges of 64 to SHORT_END - 1 bytes, four at a time: each is folded to 64 bytes, which then go
 * through crc32. The core dispatches in order and has a short queue for crc32, so both kinds of
 * work and all chains must alternate in program order: a quad is folded while the one before it
 * goes through crc32.
 */
enum {
	QUAD = 4,
	TINY_START = 8, /* a range's first word is loaded whole */
	TINY_END = 65,
	SHORT_END = sizeof(((struct pfs_crc_constants *)0)->ones) / sizeof(uint32_t),
};

struct TIER(quad) {
	_Alignas(64) uint8_t folded[QUAD][64];
};

/* A range of 64 bytes at least, folded to 64 bytes. */
ALWAYS_INLINE folded_t TIER(fold_range)(const struct pfs_crc_constants *constants,
					const struct range *range)
{
	const lane_t k = TIER(multiplier)(FOLD(constants) + 64);
	const uint8_t *p = range->start;
	size_t blocks = (range->length - 1) / 64; /* after the head */
	size_t head = (range->length - 1) % 64 + 1;
	folded_t f = TIER(load_head)(p, head);

	p += head;
	if (!blocks)
		return f;
	f = TIER(fold)(f, TIER(multiplier)(FOLD(constants) + head), p);
	while (--blocks) {
		p += 64;
		f = TIER(fold)(f, k, p);
	}
	return f;
}

ALWAYS_INLINE void TIER(quad_fold)(const struct pfs_crc_constants *constants, uint8_t *folded,
				   const struct range *range)
{
	folded_t f = TIER(fold_range)(constants, range);

	memcpy(folded, &f, sizeof(f));
}

/* Two words of each chain. */
ALWAYS_INLINE void TIER(quad_words)(const struct TIER(quad) * quad, int word, uint64_t *crc)
{
#pragma clang loop unroll(full)
	for (int w = word; w < word + 2; ++w)
#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i)
			crc[i] = _mm_crc32_u64(crc[i], load64(quad->folded[i] + 8 * w));
}

/* prefetch_range() for a range of a line at least. */
ALWAYS_INLINE void TIER(prefetch_lines)(const struct range *range)
{
	const uint8_t *p = range->start;
	const uint8_t *last = p + range->length - 1;

	__builtin_prefetch(p);
	for (int line = 1; line < 4; ++line)
		__builtin_prefetch(p + 64 * line < last ? p + 64 * line : last);
	__builtin_prefetch(last);
}

/* The indices of ranges, sorted by the way in which they are done. */
struct TIER(sorted) {
	uint8_t tiny[BATCH + QUAD]; /* TINY_START to TINY_END - 1 bytes */
	uint8_t shorter[2 * BATCH]; /* up to SHORT_END - 1 bytes, by their number of blocks */
	uint8_t other[BATCH];
	size_t tiny_count, shorter_count, other_count;
};

/* Fills up the last quad with the last of `count` (not 0) indices; how many there are now. */
ALWAYS_INLINE size_t TIER(whole_quads)(uint8_t *order, size_t count)
{
	for (int i = 0; i < QUAD - 1; ++i)
		order[count + i] = order[count - 1];
	return (count + QUAD - 1) / QUAD * QUAD;
}

/*
 * Sorts ranges. In the order of their numbers of blocks, loops over blocks mostly run as often as
 * the time before; mispredicted, their ends would cost half as much as all the rest.
 */
ALWAYS_INLINE void TIER(sort)(const struct range *ranges, size_t count,
			      struct TIER(sorted) * sorted)
{
	enum { KINDS = 8, OTHER = KINDS - 1 };
	uint8_t kinds[KINDS][BATCH];
	uint64_t counts = 0; /* KINDS of eight bits */
	uint8_t *order = sorted->shorter;

	for (size_t i = 0; i < count; ++i) {
		size_t length = ranges[i].length;
		size_t blocks = (length - 1) / 64;
		size_t kind = blocks < OTHER ? blocks : OTHER - 1;

		if (length - TINY_START >= SHORT_END - TINY_START)
			kind = OTHER;
		kinds[kind][counts >> 8 * kind & 255] = i;
		counts += 1ull << 8 * kind;
	}
	sorted->tiny_count = counts & 255;
	sorted->other_count = counts >> 8 * OTHER;
	sorted->shorter_count = count - sorted->tiny_count - sorted->other_count;
	memcpy(sorted->tiny, kinds[0], BATCH);
	memcpy(sorted->other, kinds[OTHER], BATCH);
	for (int kind = 1; kind < OTHER; ++kind) {
		/* What is too much, the next kind overwrites. */
		memcpy(order, kinds[kind], BATCH);
		order += counts >> 8 * kind & 255;
	}
}

/*
 * Ends a quad: from the registers over the ranges alone to those over all bytes. Reads all before
 * it writes one, as a quad may contain a range several times.
 */
ALWAYS_INLINE void TIER(finish_quad)(const struct pfs_crc_constants *constants,
				     const struct range *ranges, const uint8_t *order,
				     const uint64_t *raw, uint32_t *crc, int fresh)
{
	uint32_t now[QUAD];

#pragma clang loop unroll(full)
	for (int i = 0; i < QUAD; ++i) {
		size_t length = ranges[order[i]].length;

		now[i] = raw[i] ^ (fresh ? constants->ones[length]
					 : TIER(advance)(constants, crc[order[i]], length));
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < QUAD; ++i)
		crc[order[i]] = now[i];
}

/* The register after a range's first 1 to 8 bytes, after which a whole number of words is left. */
ALWAYS_INLINE uint64_t TIER(first_word)(const struct range *range)
{
	return _mm_crc32_u64(0, load64(range->start) << 8 * (-range->length % 8));
}

/* The next word of each of four chains, `at` bytes (less than 0) from its end. */
ALWAYS_INLINE void TIER(next_words)(uint64_t *raw, const uint8_t *const *end, ptrdiff_t at)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < QUAD; ++i)
		raw[i] = _mm_crc32_u64(raw[i], load64(end[i] + at));
}

/*
 * Takes the registers over ranges which all have `length` bytes, TINY_START to SHORT_END - 1; their
 * number is a multiple of QUAD.
 */
ALWAYS_INLINE void TIER(crc_equal)(const struct pfs_crc_constants *constants,
				   const struct range *ranges, size_t count, uint32_t *crc,
				   size_t length, int fresh)
{
	for (size_t i = 0; i < AHEAD && i < count; ++i)
		__builtin_prefetch(ranges[i].start);
	for (size_t m = 0; m < count; m += QUAD) {
		const uint8_t *end[QUAD];
		uint64_t raw[QUAD];

#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i)
			for (size_t at = 0; at < length && m + AHEAD + QUAD <= count; at += 64)
				__builtin_prefetch(ranges[m + AHEAD + i].start + at);
#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i) {
			const struct range range = {ranges[m + i].start, length};

			end[i] = range.start + length;
			raw[i] = TIER(first_word)(&range);
		}
#pragma clang loop unroll_count(2)
		for (ptrdiff_t at = -(ptrdiff_t)((length - 1) / 8 * 8); at < 0; at += 8)
			TIER(next_words)(raw, end, at);
#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i)
			crc[m + i] =
			    raw[i] ^ (fresh ? constants->ones[length]
					    : TIER(advance)(constants, crc[m + i], length));
	}
}

/* Takes the registers over the ranges, of TINY_START to TINY_END - 1 bytes each; their number is
 * a multiple of QUAD. */
ALWAYS_INLINE void TIER(crc_tiny)(const struct pfs_crc_constants *constants,
				  const struct range *ranges, const uint8_t *order, size_t count,
				  uint32_t *crc, int fresh)
{
	for (size_t m = 0; m < count; m += QUAD) {
		const uint8_t *o = &order[m];
		const uint8_t *end[QUAD];
		ptrdiff_t start[QUAD], first = 0, common = -TINY_END;
		uint64_t raw[QUAD];

#pragma clang loop unroll(full)
		for (int i = 0; i < QUAD; ++i) {
			const struct range *range = &ranges[o[i]];

			end[i] = range->start + range->length;
			start[i] = -(ptrdiff_t)((range->length - 1) / 8 * 8);
			first = start[i] < first ? start[i] : first;
			common = start[i] > common ? start[i] : common;
			raw[i] = TIER(first_word)(range);
			if (m + AHEAD + QUAD <= count) {
				const struct range *ahead = &ranges[o[i + AHEAD]];

				__builtin_prefetch(ahead->start);
				__builtin_prefetch(ahead->start + ahead->length - 1);
			}
		}
		/* A chain that is not at its second word yet reads its last and forgets the result.
		 */
		for (ptrdiff_t at = first; at < common; at += 8)
#pragma clang loop unroll(full)
			for (int i = 0; i < QUAD; ++i) {
				ptrdiff_t now = at < start[i] ? -8 : at;
				uint64_t next = _mm_crc32_u64(raw[i], load64(end[i] + now));

				raw[i] = at < start[i] ? raw[i] : next;
			}
		for (ptrdiff_t at = common; at < 0; at += 8)
			TIER(next_words)(raw, end, at);
		TIER(finish_quad)(constants, ranges, o, raw, crc, fresh);
	}
}

/* Takes the registers over the ranges, of TINY_END to SHORT_END - 1 bytes each; their number is
 * a multiple of QUAD. */
ALWAYS_INLINE void TIER(crc_quads)(const struct pfs_crc_constants *constants,
				   const struct range *ranges, const uint8_t *order, size_t count,
				   uint32_t *crc, int fresh)
{
	struct TIER(quad) quads[2];

	for (size_t i = 0; i < AHEAD + QUAD && i < count; ++i)
		TIER(prefetch_lines)(&ranges[order[i]]);
	for (int i = 0; i < QUAD; ++i)
		TIER(quad_fold)(constants, quads[0].folded[i], &ranges[order[i]]);
	for (size_t m = 0; m < count; m += QUAD) {
		const struct TIER(quad) *now = &quads[m / QUAD % 2];
		struct TIER(quad) *next = &quads[(m / QUAD + 1) % 2];
		const uint8_t *o = &order[m];
		uint64_t raw[QUAD] = {0};

		if (m + QUAD + AHEAD < count) {
#pragma clang loop unroll(full)
			for (int i = 0; i < QUAD; ++i) {
				TIER(prefetch_lines)(&ranges[o[i + AHEAD]]);
				TIER(quad_fold)(constants, next->folded[i], &ranges[o[i + QUAD]]);
				TIER(quad_words)(now, 2 * i, raw);
			}
		} else if (m + QUAD < count) {
#pragma clang loop unroll(full)
			for (int i = 0; i < QUAD; ++i) {
				TIER(quad_fold)(constants, next->folded[i], &ranges[o[i + QUAD]]);
				TIER(quad_words)(now, 2 * i, raw);
			}
		} else {
#pragma clang loop unroll(full)
			for (int i = 0; i < QUAD; ++i)
				TIER(quad_words)(now, 2 * i, raw);
		}
		TIER(finish_quad)(constants, ranges, o, raw, crc, fresh);
	}
}

/*
 * A block of the fused loop: iterations * STEP bytes. Returns the register after it. Meanwhile,
 * where `rounds` is not NULL, maps as many bytes at `ahead`: memory is read, mapped and stored
 * while the other units work on bytes in the cache. Where it is NULL, those bytes are only asked
 * for: five streams confuse the hardware's prefetchers.
 */
enum { TIER(STEP) = 64 * FOLDS + 32 * STREAM_WORDS };

ALWAYS_INLINE uint32_t TIER(crc_block)(const struct pfs_crc_constants *constants, uint32_t before,
				       const uint8_t *p, size_t iterations,
				       const uint64_t advances[5], uint8_t *ahead,
				       const struct pfs_rounds *rounds, unsigned int round_count,
				       int beyond_caches)
{
	const lane_t k = TIER(multiplier)(FOLD(constants) + 64);
	const size_t stream = iterations * 8 * STREAM_WORDS;
	const uint8_t *v = p + 4 * stream;
	folded_t f = TIER(load_folded)(v);
	uint64_t c[4] = {0};
	uint64_t sum;

	for (size_t i = 0;;) {
		if (rounds) {
			bytes_t x[TIER(STEP) / VECTOR];

			if (beyond_caches)
#pragma clang loop unroll(full)
				for (size_t b = 0; b < TIER(STEP); b += 64)
					__builtin_prefetch(ahead + PREFETCH_AHEAD + b);
#pragma clang loop unroll(full)
			for (size_t b = 0; b < TIER(STEP) / VECTOR; ++b)
				x[b] = TIER(load)(ahead + b * VECTOR);
			TIER(map)(x, TIER(STEP) / VECTOR, rounds, round_count);
#pragma clang loop unroll(full)
			for (size_t b = 0; b < TIER(STEP) / VECTOR; ++b)
				TIER(store)(ahead + b * VECTOR, x[b]);
		} else {
#pragma clang loop unroll(full)
			for (size_t b = 0; b < TIER(STEP); b += 64)
				__builtin_prefetch(ahead + b);
		}
		ahead += TIER(STEP);
#pragma clang loop unroll(full)
		for (int w = 0; w < STREAM_WORDS; ++w)
#pragma clang loop unroll(full)
			for (int s = 0; s < 4; ++s)
				c[s] = _mm_crc32_u64(c[s], load64(p + s * stream + 8 * w));
		p += 8 * STREAM_WORDS;
#pragma clang loop unroll(full)
		for (int fold = 1; fold < FOLDS; ++fold)
			f = TIER(fold)(f, k, v += 64);
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

/* The register over any range. */
static uint32_t TIER(crc_long)(const struct pfs_crc_constants *constants, uint32_t crc,
			       const uint8_t *p, size_t length)
{
	const size_t block = LONG_ITERATIONS * TIER(STEP);
	const size_t middle = MIDDLE_ITERATIONS * TIER(STEP);

	for (; length >= block; length -= block, p += block)
		crc =
		    TIER(crc_block)(constants, crc, p, LONG_ITERATIONS, constants->LONG_ADVANCES[0],
				    (uint8_t *)p + (length >= 2 * block ? block : 0), NULL, 0, 0);
	for (; length >= middle; length -= middle, p += middle)
		crc = TIER(crc_block)(constants, crc, p, MIDDLE_ITERATIONS,
				      constants->LONG_ADVANCES[1], (uint8_t *)p, NULL, 0, 0);
	if (length >= 64) {
		struct range rest = {p, length};

		return TIER(advance)(constants, crc, length) ^
		       TIER(reduce)(constants, TIER(fold_range)(constants, &rest));
	}
	return TIER(crc_words)(crc, p, length);
}

/* Maps a range in place and takes the register over what it becomes, in one pass over memory. */
ALWAYS_INLINE uint32_t TIER(map_and_crc)(const struct pfs_crc_constants *constants, uint32_t crc,
					 uint8_t *p, size_t length, const struct pfs_rounds *rounds,
					 unsigned int round_count)
{
	const size_t block = LONG_ITERATIONS * TIER(STEP);
	size_t mapped = length < block ? length : block;

	TIER(pass_range)(p, mapped, rounds, round_count, NULL, 0, NULL);
	if (length >= PREFETCH_FROM)
		for (; length >= 2 * block; length -= block, p += block)
			crc = TIER(crc_block)(constants, crc, p, LONG_ITERATIONS,
					      constants->LONG_ADVANCES[0], p + block, rounds,
					      round_count, 1);
	for (; length >= 2 * block; length -= block, p += block)
		crc =
		    TIER(crc_block)(constants, crc, p, LONG_ITERATIONS, constants->LONG_ADVANCES[0],
				    p + block, rounds, round_count, 0);
	if (length > mapped)
		TIER(pass_range)(p + mapped, length - mapped, rounds, round_count, NULL, 0, NULL);
	return TIER(crc_long)(constants, crc, p, length);
}

ALWAYS_INLINE int TIER(have_one_length)(const struct range *ranges, size_t count)
{
	size_t differ = ranges[1].length ^ ranges->length;

	/* The rule in a table of random lengths. */
	if (differ)
		return 0;
	for (size_t i = 2; i < count; ++i)
		differ |= ranges[i].length ^ ranges->length;
	return !differ;
}

/* crc32c() with `fresh` as a constant. */
ALWAYS_INLINE void TIER(crc_ranges)(const struct pfs_crc_constants *constants,
				    const struct range *ranges, size_t count, uint32_t *crc,
				    int fresh)
{
	const size_t quads = count / QUAD * QUAD;
	const size_t length = ranges->length;
	struct TIER(sorted) sorted;

	if (quads && length - TINY_START < SHORT_END - TINY_START &&
	    TIER(have_one_length)(ranges, count)) {
		/* As a constant, a common length takes four fifths of the time. */
		if (length == 64)
			TIER(crc_equal)(constants, ranges, quads, crc, 64, fresh);
		else
			TIER(crc_equal)(constants, ranges, quads, crc, length, fresh);
		ranges += quads;
		crc += quads;
		count -= quads;
	}
	if (count > 1) {
		TIER(sort)(ranges, count, &sorted);
	} else {
		sorted.tiny_count = sorted.shorter_count = 0;
		sorted.other_count = count;
		sorted.other[0] = 0;
	}
	if (sorted.tiny_count) {
		size_t filled = TIER(whole_quads)(sorted.tiny, sorted.tiny_count);

		TIER(crc_tiny)(constants, ranges, sorted.tiny, filled, crc, fresh);
	}
	if (sorted.shorter_count) {
		size_t filled = TIER(whole_quads)(sorted.shorter, sorted.shorter_count);

		TIER(crc_quads)(constants, ranges, sorted.shorter, filled, crc, fresh);
	}
	for (size_t m = 0; m < sorted.other_count; ++m) {
		const struct range *range = &ranges[sorted.other[m]];
		uint32_t *of = &crc[sorted.other[m]];

		*of = TIER(crc_long)(constants, fresh ? ~0u : *of, range->start, range->length);
	}
}

/*
 * Takes the raw registers of `count` (at most BATCH) ranges over their bytes. With `fresh` they are
 * all ones, whatever `crc` says.
 */
static void TIER(crc32c)(const struct pfs_crc_constants *constants, const struct range *ranges,
			 size_t count, uint32_t *crc, int fresh)
{
	if (fresh)
		TIER(crc_ranges)(constants, ranges, count, crc, 1);
	else
		TIER(crc_ranges)(constants, ranges, count, crc, 0);
}

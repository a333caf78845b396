/* SPDX-License-Identifier: MIT */
/*
 * Long ranges with 512-bit carry-less multiplications. As in crc32c_long.h, a part of each block
 * runs through crc32 streams while the rest is folded. The proportion is what theoretical/crc32c
 * found best on Zen 4. There, a carry-less multiplication of any width keeps its unit busy for two
 * cycles, hence a fold of a line for four, and a crc32 of 8 bytes for one. Beside three lines, nine
 * words in three streams leave a quarter of the crc32 unit idle; with more words, dispatch, which
 * is in order, waits for one of the two queues more often than the words gain.
 */
#ifndef PFS_CRC32C_LONG_H
#define PFS_CRC32C_LONG_H

#include "crc32c_fold.h"
#include "crc32c_lines512.h"
#include "pass.h"

enum {
	FOLDS = PFS_FUSED_FOLDS,     /* chains of folds */
	STREAMS = PFS_FUSED_STREAMS, /* chains of crc32 */
	/* A unit of work: a line of what is folded and a word of each stream. */
	UNIT = 64 + 8 * STREAMS,
	GROUP = 6, /* units in an iteration: its last one is mispredicted, if there are many */
	MOST_UNITS = PFS_FUSED_UNITS,
	/* Shorter ranges are folded alone: at its ends, a block has only one kind of work. */
	BLOCKS_FROM = 600,
	/* Longer ranges may come from memory, where blocks, which begin at four places at once, are
	 * read at half the speed of one stream. They go through chunks. */
	CHUNKS_FROM = 128 * 1024,
	CHUNK = UNIT * PFS_CHUNK_UNITS,
	/* Still longer ones do come from memory; there, folding alone is a tenth faster. */
	FOLD_ALONE_FROM = 8 * 1024 * 1024,
	/* Longer ranges that are mapped and digested go through one pass that does both. */
	MAP_AND_CRC_FROM = CHUNK,
};

ALWAYS_INLINE void next_word(uint64_t c[STREAMS], const uint8_t *p, size_t stream)
{
#pragma clang loop unroll(full)
	for (int s = 0; s < STREAMS; ++s)
		c[s] = _mm_crc32_u64(c[s], load64(p + s * stream));
}

/* The next line onto the oldest chain, which becomes the youngest. */
ALWAYS_INLINE void next_line(struct folded f[FOLDS], lane_t k, const uint8_t *v)
{
	struct folded youngest = fold_onto(f[0], k, v);

	f[0] = f[1];
	f[1] = f[2];
	f[2] = youngest;
}

/* Maps any number of bytes. */
ALWAYS_INLINE void map_lines(uint8_t *p, size_t length, const struct map *map,
			     unsigned int round_count)
{
	__mmask64 mask = first_bytes(length % 64);

	for (; length >= 64; length -= 64, p += 64)
		_mm512_storeu_si512(p, apply_map(_mm512_loadu_si512(p), map, round_count));
	_mm512_mask_storeu_epi8(p, mask,
				apply_map(_mm512_maskz_loadu_epi8(mask, p), map, round_count));
}

/* The register, from 0, over a block of so many units whose lines and words are done. */
ALWAYS_INLINE uint32_t finish_block(const struct pfs_constants *constants, size_t units,
				    struct folded f[FOLDS], const uint64_t c[STREAMS])
{
	const struct pfs_crc_fused *fused = &constants->fused[units];
	const lane_t next = fold_multiplier(FOLD(constants) + 64);
	uint64_t sum;

#pragma clang loop unroll(full)
	for (int i = 1; i < FOLDS; ++i)
		f[i].lane[0] ^= fold_lane(f[i - 1].lane[0], next);
	sum =
	    multiply((uint32_t)c[0], fused->stream[0]) ^ multiply((uint32_t)c[1], fused->stream[1]);
	return _mm_crc32_u64(0, sum) ^ (uint32_t)c[2] ^ reduce_lanes(fused->lanes, f[FOLDS - 1]);
}

/*
 * The register, from 0, over a block: `rest` bytes, then `units` (FOLDS...MOST_UNITS). Lines come
 * first and streams last, so that the last of the streams ends where the block ends.
 */
ALWAYS_INLINE uint32_t crc_block(const struct pfs_constants *constants, const uint8_t *p,
				 size_t units, size_t rest)
{
	const lane_t k = fold_multiplier(&constants->fold_fused);
	const size_t stream = units * 8, head = (rest - 1) % 64 + 1;
	const uint8_t *end, *w = p + rest + 64 * units;
	uint64_t c[STREAMS] = {0};
	struct folded f[FOLDS];

	f[0] = load_tail(p, head);
	p += head;
#pragma clang loop unroll(full)
	for (int i = 1; i < FOLDS; ++i)
		f[i] = load_folded(p + 64 * (i - 1));
	p += 64 * (FOLDS - 1);
	for (size_t line = (rest + 63) / 64; line; --line, p += 64)
		next_line(f, k, p);
	for (size_t unit = (units - FOLDS) % GROUP; unit; --unit, p += 64, w += 8) {
		next_line(f, k, p);
		next_word(c, w, stream);
	}
	for (end = w + 8 * ((units - FOLDS) / GROUP * GROUP); w != end;
	     w += 8 * GROUP, p += 64 * GROUP) {
#pragma clang loop unroll(full)
		for (int j = 0; j < GROUP; ++j) {
			f[j % FOLDS] = fold_onto(f[j % FOLDS], k, p + 64 * j);
			next_word(c, w + 8 * j, stream);
		}
	}
#pragma clang loop unroll(full)
	for (int j = 0; j < FOLDS; ++j)
		next_word(c, w + 8 * j, stream);
	return finish_block(constants, units, f, c);
}

/* The registers of the streams where they continue in the next chunk. */
ALWAYS_INLINE void skip_lines(const struct pfs_constants *constants, uint64_t c[STREAMS])
{
#pragma clang loop unroll(full)
	for (int s = 0; s < STREAMS; ++s)
		c[s] = _mm_crc32_u64(0, multiply((uint32_t)c[s], constants->skip_chunk));
}

/* Asks for the lines of as many bytes as a unit of a chunk has. */
ALWAYS_INLINE void ask_for_unit(const uint8_t *chunk, size_t unit)
{
	__builtin_prefetch(chunk + UNIT * unit);
	__builtin_prefetch(chunk + UNIT * unit + UNIT / 2);
}

/*
 * The register, from 0, over so many chunks. A chunk is a block, but its chains of folds and of
 * words go on in the next chunk, over what lies between by one multiplication each. So chunks can
 * be short, and memory is read almost in order; lines are asked for in order, two chunks ahead.
 * On Zen 4 that is 74 GB/s in the caches, where lines that are folded alone make 58, and nine
 * tenths of their rate beyond the caches; blocks make 76 and half.
 */
ALWAYS_INLINE uint32_t crc_chunks(const struct pfs_constants *constants, const uint8_t *p,
				  size_t chunks)
{
	const lane_t k = fold_multiplier(&constants->fold_fused);
	const lane_t to_next = fold_multiplier(&constants->fold_chunk);
	const size_t stream = 8 * PFS_CHUNK_UNITS;
	struct folded f[FOLDS] = {0};
	uint64_t c[STREAMS] = {0};

	for (; chunks; --chunks, p += CHUNK) {
		const uint8_t *w = p + 64 * PFS_CHUNK_UNITS, *ahead = p + 2 * CHUNK;

		skip_lines(constants, c);
#pragma clang loop unroll(full)
		for (int j = 0; j < PFS_CHUNK_UNITS; ++j) {
			ask_for_unit(ahead, j);
			f[j % FOLDS] = fold_onto(f[j % FOLDS], j < FOLDS ? to_next : k, p + 64 * j);
			next_word(c, w + 8 * j, stream);
		}
	}
	return finish_block(constants, PFS_CHUNK_UNITS, f, c);
}

/* The register, from 0, over a multiple of FOLDS lines, by folds alone. */
ALWAYS_INLINE uint32_t crc_of_lines(const struct pfs_constants *constants, const uint8_t *p,
				    size_t length)
{
	const lane_t next = fold_multiplier(FOLD(constants) + 64);
	const lane_t k = fold_multiplier(&constants->fold_fused);
	struct folded f[FOLDS] = {0};

	for (const uint8_t *end = p + length; p != end; p += 64 * FOLDS)
#pragma clang loop unroll(full)
		for (int j = 0; j < FOLDS; ++j)
			f[j] = fold_onto(f[j], k, p + 64 * j);
#pragma clang loop unroll(full)
	for (int i = 1; i < FOLDS; ++i)
		f[i].lane[0] ^= fold_lane(f[i - 1].lane[0], next);
	return reduce_lanes(constants->fused[0].lanes, f[FOLDS - 1]);
}

/* Maps the words of a chunk. The last vector is a half: a load from what a masked store wrote would
 * wait until it is done. */
ALWAYS_INLINE void map_words(uint8_t *w, const struct map *map, unsigned int round_count)
{
	const size_t whole = 8 * STREAMS * PFS_CHUNK_UNITS - 32;
	__m512i half = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(w + whole)));

	_Static_assert(8 * STREAMS * PFS_CHUNK_UNITS % 64 == 32, "whole vectors and a half");
#pragma clang loop unroll(full)
	for (size_t at = 0; at < whole; at += 64)
		_mm512_storeu_si512(w + at,
				    apply_map(_mm512_loadu_si512(w + at), map, round_count));
	half = apply_map(half, map, round_count);
	_mm256_storeu_si256((__m256i *)(w + whole), _mm512_castsi512_si256(half));
}

/* crc_chunks() over what the chunks are mapped to. They are mapped in place. */
ALWAYS_INLINE uint32_t map_chunks(const struct pfs_constants *constants, uint8_t *p, size_t chunks,
				  const struct map *map, unsigned int round_count,
				  int beyond_caches)
{
	const lane_t k = fold_multiplier(&constants->fold_fused);
	const lane_t to_next = fold_multiplier(&constants->fold_chunk);
	const size_t stream = 8 * PFS_CHUNK_UNITS;
	struct folded f[FOLDS] = {0};
	uint64_t c[STREAMS] = {0};

	for (; chunks; --chunks, p += CHUNK) {
		uint8_t *w = p + 64 * PFS_CHUNK_UNITS, *ahead = p + 2 * CHUNK;

		map_words(w, map, round_count);
		skip_lines(constants, c);
#pragma clang loop unroll(full)
		for (int j = 0; j < PFS_CHUNK_UNITS; ++j) {
			__m512i x = apply_map(_mm512_loadu_si512(p + 64 * j), map, round_count);

			_mm512_storeu_si512(p + 64 * j, x);
			if (beyond_caches)
				ask_for_unit(ahead, j);
			f[j % FOLDS].lane[0] =
			    fold_lane(f[j % FOLDS].lane[0], j < FOLDS ? to_next : k) ^ x;
			next_word(c, w + 8 * j, stream);
		}
	}
	return finish_block(constants, PFS_CHUNK_UNITS, f, c);
}

/* The register over any range. */
static uint32_t crc_long(const struct pfs_constants *constants, uint32_t crc, const uint8_t *p,
			 size_t length)
{
	const size_t block = MOST_UNITS * UNIT;

	if (length >= FOLD_ALONE_FROM) {
		size_t whole = length / (64 * FOLDS) * (64 * FOLDS);

		crc = advance_register(constants, crc, whole) ^ crc_of_lines(constants, p, whole);
		p += whole;
		length -= whole;
	}
	if (length >= CHUNKS_FROM) {
		size_t chunks = length / CHUNK;

		crc = advance_register(constants, crc, chunks * CHUNK) ^
		      crc_chunks(constants, p, chunks);
		p += chunks * CHUNK;
		length -= chunks * CHUNK;
	}
	for (; length >= block; length -= block, p += block)
		crc = crc_block(constants, p, MOST_UNITS, 0) ^
		      _mm_crc32_u64(0, multiply(crc, constants->fused[MOST_UNITS].block));
	if (!length)
		return crc;
	crc = crc == ~0u && length < SHORT_END ? constants->ones[length]
					       : advance_register(constants, crc, length);
	if (length < BLOCKS_FROM)
		return crc ^ crc_lines(constants, p, length, (length + 63) / 64);
	return crc ^ crc_block(constants, p, length / UNIT, length % UNIT);
}

/* Takes the registers over ranges that all have `length` bytes, BLOCKS_FROM at least. */
ALWAYS_INLINE void crc_blocks_equal(const struct pfs_constants *constants,
				    const struct range *ranges, size_t count, uint32_t *crc,
				    size_t length, int fresh)
{
	const size_t units = length / UNIT, rest = length % UNIT;
	const uint32_t ones = advance_register(constants, ~0u, length);

	if (units > MOST_UNITS) {
		for (size_t i = 0; i < count; ++i)
			crc[i] = crc_long(constants, fresh ? ~0u : crc[i], ranges[i].start, length);
		return;
	}
	for (size_t i = 0; i < count; ++i) {
		uint32_t before = fresh ? ones : advance_register(constants, crc[i], length);

		crc[i] = before ^ crc_block(constants, ranges[i].start, units, rest);
	}
}

/* Maps a range in place and takes the register over what it becomes, in one pass over memory. */
ALWAYS_INLINE uint32_t map_and_crc(const struct pfs_constants *constants, uint32_t crc, uint8_t *p,
				   size_t length, const struct pfs_rounds *rounds,
				   unsigned int round_count)
{
	const size_t chunks = length / CHUNK, rest = length % CHUNK;
	struct map map;

	prepare_map(&map, rounds, round_count);
	crc = advance_register(constants, crc, chunks * CHUNK);
	if (length >= PREFETCH_FROM)
		crc ^= map_chunks(constants, p, chunks, &map, round_count, 1);
	else
		crc ^= map_chunks(constants, p, chunks, &map, round_count, 0);
	p += chunks * CHUNK;
	map_lines(p, rest, &map, round_count);
	return crc_long(constants, crc, p, rest);
}

#endif

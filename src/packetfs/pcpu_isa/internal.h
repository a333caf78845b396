/* SPDX-License-Identifier: MIT */
/* What the instruction sets share. */
#ifndef PFS_INTERNAL_H
#define PFS_INTERNAL_H

#include "pfs_kernels.h"

#include <string.h>

/* Without optimisation, every inlined call has a place of its own in the caller's frame: megabytes.
 */
#ifdef __OPTIMIZE__
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static __attribute__((unused))
#endif
#define NOINLINE __attribute__((noinline))

/* The constraint of an operand of an asm statement that is a vector: a register, if it has one. */
#ifdef PFS_INTRINSICS
#define IN_VECTOR "+m"
#else
#define IN_VECTOR "+x"
#endif

/* Bytes to look at. A kernel reads none outside. */
struct range {
	const uint8_t *start;
	size_t length;
};

enum {
	BATCH = 64,	     /* ranges that are digested together */
	AHEAD = 12,	     /* how many ranges ahead memory is asked for */
	SCRATCH_SLACK = 256, /* bytes after them that a map may reach over */
	SCRATCH = 32 * 1024, /* bytes that are digested together: first- and second-level cache */
	FRAGMENT = 8 * 1024, /* a longer range is cut so that bytes stay in the first-level cache */
	FNV_FRAGMENT =
	    2 * 1024, /* ... shorter, so that sixteen ranges fit, which fnv interleaves */
	/* Iterations of crc32c's fused loop in a block; each takes 64 bytes and four streams'
	   words. */
	LONG_ITERATIONS = 32,
	MIDDLE_ITERATIONS = 4,
};

/* Where the values of a plan go, see pfs_plan. */
struct pfs_results {
	uint64_t *rows; /* the next descriptor's, as pfs_execute() wants them; or NULL: */
	/* sums over all descriptors */
	uint64_t counters[PFS_MAX_REDUCERS];
	uint64_t digests[PFS_MAX_LEVELS][2];
};

/* The values of a batch of descriptors, before they go to where they belong. */
struct batch_values {
	/* One row of counter_count for each descriptor; used only where rows are wanted. */
	uint64_t counters[BATCH * PFS_MAX_REDUCERS];
	uint32_t crc[PFS_MAX_LEVELS][BATCH]; /* raw registers */
	uint64_t fnv[PFS_MAX_LEVELS][BATCH];
};

/* Writes the rows of a batch, one value of all rows after the other. */
ALWAYS_INLINE void write_rows(const struct pfs_plan *plan, struct pfs_results *results,
			      const struct batch_values *batch, size_t count)
{
	const size_t reducers = plan->reducer_count;

	for (size_t r = 0; r < reducers; ++r) {
		uint32_t source = plan->sources[r];
		uint32_t level = (source - PFS_MAX_REDUCERS) / 2;
		uint64_t *row = results->rows + r;

		if (source < PFS_MAX_REDUCERS)
			for (size_t i = 0; i < count; ++i, row += reducers)
				*row = batch->counters[i * plan->counter_count + source];
		else if (source % 2 == PFS_DIGEST_CRC32C)
			for (size_t i = 0; i < count; ++i, row += reducers)
				*row = (uint32_t)~batch->crc[level][i];
		else
			for (size_t i = 0; i < count; ++i, row += reducers)
				*row = batch->fnv[level][i];
	}
	results->rows += count * reducers;
}

/* Takes a batch's digests, and its counters if rows are wanted. */
ALWAYS_INLINE void settle_batch(const struct pfs_plan *plan, struct pfs_results *results,
				const struct batch_values *batch, size_t count)
{
	if (results->rows) {
		write_rows(plan, results, batch, count);
		return;
	}
	for (uint32_t l = 0; l < plan->level_count; ++l) {
		uint32_t digests = plan->levels[l].digests;

		if (digests & 1 << PFS_DIGEST_CRC32C)
			for (size_t i = 0; i < count; ++i)
				results->digests[l][PFS_DIGEST_CRC32C] +=
				    (uint32_t)~batch->crc[l][i];
		if (digests & 1 << PFS_DIGEST_FNV)
			for (size_t i = 0; i < count; ++i)
				results->digests[l][PFS_DIGEST_FNV] += batch->fnv[l][i];
	}
}

pfs_kernels pfs_execute_sse2, pfs_execute_sse42, pfs_execute_avx2, pfs_execute_vpclmul,
    pfs_execute_avx512;

#define FNV_OFFSET_BASIS 14695981039346656037ull
#define FNV_PRIME 1099511628211ull

/* Loaded at 64 - n, its first n bytes are all ones and the 64 - n after them zero. */
static const uint8_t head_mask[128] __attribute__((unused)) = {[0 ... 63] = 0xFF};
static const uint8_t zeros[64] __attribute__((unused));

ALWAYS_INLINE uint64_t load64(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/*
 * Asks for the lines of a range of up to five lines; of a longer one, the hardware's prefetchers
 * find the rest. Without branches: the lengths in a table are random, and a mispredicted branch
 * costs as much as the work on a short range.
 */
ALWAYS_INLINE void prefetch_range(const uint8_t *start, size_t length)
{
	const uint8_t *last = start + length - (length != 0);

	__builtin_prefetch(start);
	for (int line = 1; line < 4; ++line) {
		const uint8_t *p = start + 64 * line;

		__builtin_prefetch(p < last ? p : last);
	}
	__builtin_prefetch(last);
}

#endif

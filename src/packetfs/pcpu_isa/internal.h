/* SPDX-License-Identifier: MIT */
/* What the tiers share. */
#ifndef PFS_INTERNAL_H
#define PFS_INTERNAL_H

#include "pfs_kernels.h"

#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Bytes to look at. A kernel reads none outside. */
struct range {
	const uint8_t *start;
	size_t length;
};

enum {
	BATCH = 64,	     /* ranges that are digested together */
	AHEAD = 12,	     /* how many ranges ahead memory is asked for */
	SCRATCH = 32 * 1024, /* bytes that are digested together: first- and second-level cache */
	FRAGMENT = 8 * 1024, /* a longer range is cut so that bytes stay in the first-level cache */
	FNV_FRAGMENT =
	    2 * 1024, /* ... shorter, so that sixteen ranges fit, which fnv interleaves */
	/* Iterations of crc32c's fused loop in a block; each takes 64 bytes and four streams'
	   words. */
	LONG_ITERATIONS = 32,
	MIDDLE_ITERATIONS = 4,
};

/* The sums over descriptors of all values of a plan, see pfs_plan. */
struct values {
	uint64_t counters[PFS_MAX_REDUCERS];
	uint64_t digests[PFS_MAX_LEVELS][2];
};

typedef void pfs_tier_execute(const struct pfs_plan *plan,
			      const struct pfs_crc_constants *constants, uint8_t *base,
			      const struct pfs_descriptor *descriptors, size_t count,
			      struct values *values);

pfs_tier_execute pfs_execute_sse2, pfs_execute_sse42, pfs_execute_avx2, pfs_execute_vpclmul;

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

/* SPDX-License-Identifier: MIT */
/*
 * FNV-1a with 64 bits: which way each range of a batch takes. Chains (fnv_chains.h) are there on
 * every CPU. FNV_PLANES, where the ISA defines it, brings the parallel forms: one long range
 * (fnv_long512.h), and ranges side by side (fnv_lanes512.h).
 */
#ifndef PFS_FNV_H
#define PFS_FNV_H

#include "fnv_chains.h"
#ifdef FNV_PLANES
#include "fnv_lanes512.h"
#include "fnv_long512.h"
#elif VECTOR == 32
#include "fnv_long256.h"
#endif

/* Ranges and their hashes, the longest first; long ones of about a length count as equal. */
struct by_length {
	const struct range *ranges[BATCH];
	uint64_t *hashes[BATCH];
	size_t count;
};

ALWAYS_INLINE void sort_by_length(struct by_length *sorted, const struct range *ranges,
				  size_t count, uint64_t *hashes)
{
	enum { KEYS = 64 };
	uint8_t first[KEYS + 1] = {0};
	uint8_t key[BATCH];

	for (size_t r = 0; r < count; ++r) {
		size_t words = ranges[r].length / 8;

		if (words >= 48)
			words = 48 + (words - 48) / 16;
		key[r] = KEYS - 1 - (words < KEYS ? words : KEYS - 1);
		++first[key[r] + 1];
	}
	for (size_t k = 1; k < KEYS; ++k)
		first[k] += first[k - 1];
	for (size_t r = 0; r < count; ++r) {
		size_t place = first[key[r]]++;

		sorted->ranges[place] = &ranges[r];
		sorted->hashes[place] = &hashes[r];
	}
	sorted->count = count;
}

#ifdef FNV_PLANES

/* What the ways cost, in cycles of Zen 4. */
enum {
	CHAINS_BYTE = 4, /* of four ranges */
	LANES8_BYTE = 5,
	LONG_RANGE = 350,
	LONG_UNIT = 440,
};

/* At most WORDS ranges of at most LANES_LONGEST bytes: the way that costs least. */
static void fnv_few(const struct pfs_fnv_constants *constants, const struct range *const *ranges,
		    size_t count, uint64_t **hashes)
{
	size_t length = ranges[0]->length;
	size_t chains = (count + 3) / 4 * CHAINS_BYTE * length;
	size_t lanes = LANES8_BYTE * length;
	size_t alone = count * (LONG_RANGE + (length / PFS_FNV_UNIT + 1) * LONG_UNIT);

	if (alone < lanes && alone < chains)
		for (size_t i = 0; i < count; ++i)
			*hashes[i] = fnv_long(constants, *hashes[i], ranges[i]);
	else if (lanes < chains)
		fnv_lanes8(constants, ranges, count, hashes);
	else
		fnv_scalar(ranges, count, hashes);
}

/* Continues the hashes of `count` (1...BATCH) ranges over their bytes. */
static NOINLINE void fnv_batch(const struct pfs_fnv_constants *constants,
			       const struct range *ranges, size_t count, uint64_t *hashes)
{
	struct range rest[BATCH];
	uint64_t rest_hashes[BATCH];
	uint8_t rest_of[BATCH];
	struct by_length sorted;
	size_t longer = 0;

	for (size_t i = 0; i < count; ++i)
		longer += ranges[i].length > LANES_LONGEST;
	if (!longer) {
		sort_by_length(&sorted, ranges, count, hashes);
	} else {
		size_t n = 0;

		for (size_t i = 0; i < count; ++i) {
			if (ranges[i].length > LANES_LONGEST) {
				hashes[i] = fnv_long(constants, hashes[i], &ranges[i]);
				continue;
			}
			rest[n] = ranges[i];
			rest_hashes[n] = hashes[i];
			rest_of[n++] = i;
		}
		sort_by_length(&sorted, rest, n, rest_hashes);
	}
	for (size_t i = 0, n; i < sorted.count; i += n) {
		const struct range *const *of = sorted.ranges + i;

		n = sorted.count - i < SIDE_BY_SIDE ? sorted.count - i : SIDE_BY_SIDE;
		if (n > 2 * WORDS)
			fnv_lanes32(constants, of, n, sorted.hashes + i);
		else if (n > WORDS)
			fnv_lanes16(constants, of, n, sorted.hashes + i);
		else
			fnv_few(constants, of, n, sorted.hashes + i);
	}
	for (size_t i = 0; longer && i < sorted.count; ++i)
		hashes[rest_of[i]] = rest_hashes[i];
}

#else

#if VECTOR == 32
/* What the ways cost: cycles of one chain, of which four run side by side, for a byte; of the
 * parallel form for a unit. */
enum {
	CHAIN_BYTE = 4,
	LONG_UNIT = 1300,
};

/* The few ranges that are left: in parallel, one after the other, if that takes less time. */
static void fnv_few(const struct pfs_fnv_constants *constants, const struct range *const *ranges,
		    size_t count, uint64_t **hashes)
{
	size_t chains = 0, alone = 0;

	for (size_t i = 0; i < count; ++i) {
		if (i % 4 == 0)
			chains += CHAIN_BYTE * ranges[i]->length;
		alone += (ranges[i]->length + PFS_FNV_UNIT - 1) / PFS_FNV_UNIT * LONG_UNIT;
	}
	if (chains <= alone)
		fnv_scalar(ranges, count, hashes);
	else
		for (size_t i = 0; i < count; ++i)
			*hashes[i] = fnv_long(constants, *hashes[i], ranges[i]);
}
#endif

/* Continues the hashes of `count` (1...BATCH) ranges over their bytes. */
static NOINLINE void fnv_batch(const struct pfs_fnv_constants *constants,
			       const struct range *ranges, size_t count, uint64_t *hashes)
{
	struct by_length sorted;

	sort_by_length(&sorted, ranges, count, hashes);
#if VECTOR == 32
	size_t i = 0;

	while (count - i > FNV_SCALARS) {
		size_t group = count - i < FNV_GROUP ? count - i : FNV_GROUP;

		fnv_group(sorted.ranges + i, group, sorted.hashes + i);
		i += group;
	}
	fnv_few(constants, sorted.ranges + i, count - i, sorted.hashes + i);
#else
	(void)constants;
	fnv_scalar(sorted.ranges, count, sorted.hashes);
#endif
}

#endif

#endif

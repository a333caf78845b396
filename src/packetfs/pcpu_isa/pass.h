/* SPDX-License-Identifier: MIT */
/*
 * The pass over memory: counts bytes as they are loaded, maps them, stores them back.
 *
 * Ranges need no alignment. Nothing outside a range is read or written: a neighbouring byte may
 * belong to another process.
 */
#ifndef PFS_PASS_H
#define PFS_PASS_H

#include "internal.h"

/*
 * A pass that counts and maps has so many instructions in flight for each line that too few lines
 * are asked for ahead of time. On Zen 3 that costs a tenth beyond the caches; so do as many nops in
 * a pass of xor alone. Asking in time gets it back; in the caches it would cost a tenth instead.
 */
#ifndef PREFETCH_FROM
#define PREFETCH_FROM (1 << 19)
#define PREFETCH_AHEAD 1024
#endif

/* What becomes of the ranges' bytes besides. */
enum copies {
	NO_COPY,
	COPY_BEFORE, /* a copy of the bytes as loaded, one slot after the other */
	COPY_AFTER,  /* a copy of the bytes as stored */
};

/* How the ranges of a batch lie, or-ed. */
enum layout {
	ALIGNED = 1,   /* all start at a multiple of 64 */
	ALIKE = 2,     /* all have one length */
	EVEN = 4,      /* ... and one short distance: the hardware's prefetchers find them */
	ADJOINING = 8, /* ... and each starts where the one before ends: they are one range */
};

/* Tells from bits that are set where a start is not a multiple of 64, a length not the first's, a
 * distance not the first two's. */
ALWAYS_INLINE unsigned int layout_from(size_t length, uint64_t distance, uint64_t starts,
				       uint64_t lengths, uint64_t distances)
{
	unsigned int layout = 0;

	if (!starts)
		layout |= ALIGNED;
	if (!lengths)
		layout |= ALIKE;
	if (!lengths && !distances && distance <= 1024)
		layout |= EVEN;
	if (!lengths && !distances && distance && distance == length)
		layout |= ADJOINING;
	return layout;
}

ALWAYS_INLINE unsigned int layout_of(const struct range *ranges, size_t count)
{
	uint64_t distance = count > 1 ? (uint64_t)(ranges[1].start - ranges[0].start) : 0;
	uint64_t starts = (uintptr_t)ranges[0].start, lengths = 0, distances = 0;

	for (size_t i = 1; i < count; ++i) {
		starts |= (uintptr_t)ranges[i].start;
		lengths |= ranges[i].length ^ ranges[0].length;
		distances |= (uint64_t)(ranges[i].start - ranges[i - 1].start) ^ distance;
	}
	return layout_from(ranges[0].length, distance, starts % 64, lengths, distances);
}

/*
 * In place of a number of rounds: one that flips all bits and adds, (x ^ 255) + a. That is
 * (a - 1) - x, one instruction instead of two, which shows where a pass counts too.
 */
#define NEGATE 255

#ifdef PASS_AVX512
#include "pass_range_avx512.h"
#else
#include "pass_range.h"
#endif

/* Maps one range. */
ALWAYS_INLINE void map_range(uint8_t *p, size_t length, const struct pfs_rounds *rounds,
			     unsigned int round_count)
{
	const unsigned int alone = ALIKE | ((uintptr_t)p % 64 ? 0 : ALIGNED);
	struct map map;

	prepare_map(&map, rounds, round_count);
	pass_range(p, length, alone, &map, round_count, NULL, 0, NO_COPY, NULL);
}

/* All ranges, of which there is at least one, in order; adds to sums[0..<counters], or, with
 * `each`, to a row of `counters` sums for each range. */
ALWAYS_INLINE void pass_ranges(const struct range *ranges, size_t count, unsigned int layout,
			       const struct pfs_plan *plan, unsigned int round_count,
			       unsigned int counters, uint64_t *sums, int each, enum copies copies,
			       uint8_t *copy)
{
	size_t prefetched = layout & EVEN ? 0 : count;
	/* Each on its own: loaded together, they would wait until stores of each are done. */
	const uint8_t *start = ranges[0].start;
	size_t length = ranges[0].length;
	struct counts counts;
	struct map map;

	if (layout & ADJOINING && !each && copies == NO_COPY) {
		length *= count;
		count = 1;
		prefetched = 0;
	}
	begin_counts(&counts, plan->counters, counters);
	prepare_map(&map, &plan->final, round_count);
	for (size_t i = 0; i < prefetched && i < AHEAD; ++i)
		prefetch_range(ranges[i].start, ranges[i].length);
	for (size_t i = 0;;) {
		if (i + AHEAD < prefetched)
			prefetch_range(ranges[i + AHEAD].start, ranges[i + AHEAD].length);
		pass_range((uint8_t *)start, length, layout, &map, round_count, &counts, counters,
			   copies, copy);
		copy += slot_size(length);
		if (each) {
			add_counts(&counts, counters, sums);
			sums += counters;
		}
		if (++i == count)
			break;
		start = ranges[i].start;
		length = ranges[i].length;
	}
	if (!each)
		add_counts(&counts, counters, sums);
}

/*
 * The shapes of a pass that get code of their own: rounds, counters, a row of sums for each range,
 * copies. ANY leaves a number open, at the price of loops; the first shape that fits is taken.
 */
#define ANY (-1)
#define PASS_SHAPES(SHAPE)                                                                         \
	SHAPE(0, 1, 0, NO_COPY)                                                                    \
	SHAPE(NEGATE, 1, 0, NO_COPY)                                                               \
	SHAPE(1, 0, 0, NO_COPY)                                                                    \
	SHAPE(1, 1, 0, NO_COPY)                                                                    \
	SHAPE(0, ANY, 0, NO_COPY)                                                                  \
	SHAPE(ANY, 0, 0, NO_COPY)                                                                  \
	SHAPE(ANY, ANY, 0, NO_COPY)                                                                \
	SHAPE(0, 1, 1, NO_COPY)                                                                    \
	SHAPE(1, 1, 1, NO_COPY)                                                                    \
	SHAPE(0, ANY, 1, NO_COPY)                                                                  \
	SHAPE(ANY, ANY, 1, NO_COPY)                                                                \
	SHAPE(1, 0, 0, COPY_AFTER)                                                                 \
	SHAPE(ANY, ANY, 0, COPY_AFTER)                                                             \
	SHAPE(ANY, ANY, 1, COPY_AFTER)                                                             \
	SHAPE(ANY, ANY, 0, COPY_BEFORE)                                                            \
	SHAPE(ANY, ANY, 1, COPY_BEFORE)

#define FITS(wanted, number) ((wanted) == ANY || (int)(number) == (wanted))
#define NUMBER(wanted, number) ((wanted) == ANY ? (number) : (unsigned int)(wanted))

/* Functions of their own: what one of them needs of stack and registers, others need not save. */
#define SHAPE(r, c, e, k)                                                                          \
	static NOINLINE void pass_##r##_##c##_##e##_##k(                                           \
	    const struct range *ranges, size_t count, unsigned int layout,                         \
	    const struct pfs_plan *plan, uint64_t *sums, uint8_t *copy)                            \
	{                                                                                          \
		pass_ranges(ranges, count, layout, plan, NUMBER(r, plan->final.count),             \
			    NUMBER(c, plan->counter_count), sums, e, k, copy);                     \
	}
PASS_SHAPES(SHAPE)
#undef SHAPE

/* The pass of a plan over a batch of ranges. */
ALWAYS_INLINE void pass_shapes(const struct range *ranges, size_t count, unsigned int layout,
			       const struct pfs_plan *plan, uint64_t *sums, int each,
			       enum copies copies, uint8_t *copy)
{
	unsigned int rounds = plan->final.count;
	unsigned int counters = plan->counter_count;

	if (rounds == 1 && counters == 1 && !each && copies == NO_COPY &&
	    plan->final.flip[0] == 0xFF)
		rounds = NEGATE;
#define SHAPE(r, c, e, k)                                                                          \
	if (each == (e) && copies == (k) && FITS(r, rounds) && FITS(c, counters)) {                \
		pass_##r##_##c##_##e##_##k(ranges, count, layout, plan, sums, copy);               \
		return;                                                                            \
	}
	PASS_SHAPES(SHAPE)
#undef SHAPE
}

/* The pass that adds to one row of sums. */
static void pass(const struct range *ranges, size_t count, unsigned int layout,
		 const struct pfs_plan *plan, uint64_t *sums)
{
	pass_shapes(ranges, count, layout, plan, sums, 0, NO_COPY, NULL);
}

/* The same with a row of sums for each range. */
static void pass_each(const struct range *ranges, size_t count, unsigned int layout,
		      const struct pfs_plan *plan, uint64_t *sums)
{
	pass_shapes(ranges, count, layout, plan, sums, 1, NO_COPY, NULL);
}

/* The same with a copy of all ranges' bytes; it has room for a whole number of vectors. */
static void pass_and_copy(const struct range *ranges, size_t count, unsigned int layout,
			  const struct pfs_plan *plan, uint64_t *sums, int each, enum copies copies,
			  uint8_t *copy)
{
	if (each && copies == COPY_AFTER)
		pass_shapes(ranges, count, layout, plan, sums, 1, COPY_AFTER, copy);
	else if (each)
		pass_shapes(ranges, count, layout, plan, sums, 1, COPY_BEFORE, copy);
	else if (copies == COPY_AFTER)
		pass_shapes(ranges, count, layout, plan, sums, 0, COPY_AFTER, copy);
	else
		pass_shapes(ranges, count, layout, plan, sums, 0, COPY_BEFORE, copy);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The pass over memory: counts bytes as they are loaded, maps them, stores them back.
 *
 * Included once per tier, which defines TIER(), VECTOR (bytes of a vector) and SUM_BYTES(). Ranges need no alignment. A range's
 * last vector ends with the range and overlaps the one before it; it is loaded before anything is stored, so that its
 * bytes are mapped once, and bytes that the vectors before it have counted are masked. Nothing outside the range is
 * read or written: a neighbouring byte may belong to another process.
 */

typedef uint8_t TIER(bytes) __attribute__((vector_size(VECTOR), aligned(1), may_alias));
typedef uint64_t TIER(sums) __attribute__((vector_size(VECTOR)));
#define bytes_t TIER(bytes)
#define sums_t TIER(sums)

/* Counters of the bytes: in bytes while they cannot overflow, then in 64-bit lanes. */
struct TIER(counts) {
	bytes_t value[PFS_MAX_REDUCERS];
	bytes_t recent[PFS_MAX_REDUCERS];
	sums_t sum[PFS_MAX_REDUCERS];
	unsigned int room; /* how many more matches a byte of `recent` can take */
};

ALWAYS_INLINE bytes_t TIER(splat)(uint8_t byte)
{
	bytes_t vector = {0};

	return vector + byte;
}

ALWAYS_INLINE bytes_t TIER(load)(const uint8_t *p)
{
	return *(const bytes_t *)p;
}

ALWAYS_INLINE void TIER(store)(uint8_t *p, bytes_t vector)
{
	*(bytes_t *)p = vector;
}

/* All ones in the last `count` (0...VECTOR) bytes. */
ALWAYS_INLINE bytes_t TIER(last)(size_t count)
{
	static const uint8_t mask[2 * VECTOR] = {[VECTOR... 2 * VECTOR - 1] = 0xFF};

	return TIER(load)(mask + count);
}

ALWAYS_INLINE void TIER(map)(bytes_t *x, int vectors, const struct pfs_rounds *rounds,
			     unsigned int round_count)
{
	for (unsigned int r = 0; r < round_count; ++r) {
		bytes_t flip = TIER(splat)(rounds->flip[r]);
		bytes_t add = TIER(splat)(rounds->add[r]);

		for (int v = 0; v < vectors; ++v)
			x[v] = (x[v] ^ flip) + add;
	}
}

ALWAYS_INLINE void TIER(settle)(struct TIER(counts) * counts, unsigned int counters)
{
	for (unsigned int c = 0; c < counters; ++c) {
		counts->sum[c] += (sums_t)SUM_BYTES(counts->recent[c]);
		counts->recent[c] = TIER(splat)(0);
	}
	counts->room = 255;
}

/* Counts in up to four vectors; only under `mask`, which may be all ones. */
ALWAYS_INLINE void TIER(count)(struct TIER(counts) * counts, unsigned int counters,
			       const bytes_t *x, int vectors, bytes_t mask)
{
	for (unsigned int c = 0; c < counters; ++c) {
		/* A match is 255, that is -1. */
		bytes_t matches = (bytes_t)(x[0] == counts->value[c]);

		for (int v = 1; v < vectors; ++v)
			matches += (bytes_t)(x[v] == counts->value[c]);
		counts->recent[c] -= matches & mask;
	}
}

/* A range that is shorter than a vector: through a vector of its own. */
ALWAYS_INLINE void TIER(pass_short)(uint8_t *p, size_t length, const struct pfs_rounds *rounds,
				    unsigned int round_count, struct TIER(counts) * counts,
				    unsigned int counters)
{
	uint8_t buffer[VECTOR] = {0};
	bytes_t x;

	memcpy(buffer, p, length);
	x = TIER(load)(buffer);
	TIER(count)(counts, counters, &x, 1, ~TIER(last)(VECTOR - length));
	if (!round_count)
		return;
	TIER(map)(&x, 1, rounds, round_count);
	TIER(store)(buffer, x);
	memcpy(p, buffer, length);
}

/* One range. Loops over rounds and counters vanish where their numbers are constants. */
ALWAYS_INLINE void TIER(pass_range)(uint8_t *p, size_t length, const struct pfs_rounds *rounds,
				    unsigned int round_count, struct TIER(counts) * counts,
				    unsigned int counters)
{
	const bytes_t all = ~TIER(splat)(0);
	bytes_t tail, x[4];

	if (counters && counts->room < 8)
		TIER(settle)(counts, counters);
	if (length < VECTOR) {
		TIER(pass_short)(p, length, rounds, round_count, counts, counters);
		counts->room -= 1;
		return;
	}
	tail = TIER(load)(p + length - VECTOR);
	TIER(count)(counts, counters, &tail, 1, TIER(last)(length % VECTOR));
	TIER(map)(&tail, 1, rounds, round_count);
	counts->room -= 4; /* with the single vectors below */

	while (length >= 4 * VECTOR) {
		size_t blocks = length / (4 * VECTOR);

		if (counters) {
			if (counts->room < 8)
				TIER(settle)(counts, counters);
			if (blocks > counts->room / 4 - 1)
				blocks = counts->room / 4 - 1;
			counts->room -= 4 * blocks;
		}
		length -= blocks * 4 * VECTOR;
		for (; blocks; --blocks, p += 4 * VECTOR) {
			for (int v = 0; v < 4; ++v)
				x[v] = TIER(load)(p + v * VECTOR);
			TIER(count)(counts, counters, x, 4, all);
			TIER(map)(x, 4, rounds, round_count);
			if (round_count)
				for (int v = 0; v < 4; ++v)
					TIER(store)(p + v * VECTOR, x[v]);
		}
	}
	for (; length >= VECTOR; length -= VECTOR, p += VECTOR) {
		x[0] = TIER(load)(p);
		TIER(count)(counts, counters, x, 1, all);
		TIER(map)(x, 1, rounds, round_count);
		if (round_count)
			TIER(store)(p, x[0]);
	}
	if (round_count)
		TIER(store)(p + length - VECTOR, tail);
}

/* All ranges, in order; adds to sums[0..<counters]. */
ALWAYS_INLINE void TIER(pass_ranges)(const struct range *ranges, size_t count,
				     const struct pfs_plan *plan, unsigned int round_count,
				     unsigned int counters, uint64_t *sums)
{
	struct TIER(counts) counts;

	for (unsigned int c = 0; c < counters; ++c) {
		counts.value[c] = TIER(splat)(plan->counters[c]);
		counts.recent[c] = TIER(splat)(0);
		counts.sum[c] = (sums_t){0};
	}
	counts.room = 255;
	for (size_t i = 0; i < count; ++i)
		TIER(pass_range)((uint8_t *)ranges[i].start, ranges[i].length, &plan->final,
				 round_count, &counts, counters);
	TIER(settle)(&counts, counters);
	for (unsigned int c = 0; c < counters; ++c)
		for (size_t lane = 0; lane < VECTOR / 8; ++lane)
			sums[c] += counts.sum[c][lane];
}

/* The pass of a plan: ways of their own for the shapes that programs commonly have. */
static void TIER(pass)(const struct range *ranges, size_t count, const struct pfs_plan *plan,
		       uint64_t *sums)
{
	unsigned int rounds = plan->final.count;
	unsigned int counters = plan->counter_count;

	if (rounds == 0 && counters == 1)
		TIER(pass_ranges)(ranges, count, plan, 0, 1, sums);
	else if (rounds == 1 && counters == 0)
		TIER(pass_ranges)(ranges, count, plan, 1, 0, sums);
	else if (rounds == 1 && counters == 1)
		TIER(pass_ranges)(ranges, count, plan, 1, 1, sums);
	else if (rounds == 0 && counters != 0)
		TIER(pass_ranges)(ranges, count, plan, 0, counters, sums);
	else if (rounds != 0 && counters == 0)
		TIER(pass_ranges)(ranges, count, plan, rounds, 0, sums);
	else if (rounds != 0)
		TIER(pass_ranges)(ranges, count, plan, rounds, counters, sums);
}

/* Maps bytes of our own, up to the end of the last vector. */
static void TIER(map_scratch)(uint8_t *p, size_t length, const struct pfs_rounds *rounds)
{
	if (!rounds->count)
		return;
	for (const uint8_t *end = p + length; p < end; p += 4 * VECTOR) {
		bytes_t x[4];

		for (int v = 0; v < 4; ++v)
			x[v] = TIER(load)(p + v * VECTOR);
		TIER(map)(x, 4, rounds, rounds->count);
		for (int v = 0; v < 4; ++v)
			TIER(store)(p + v * VECTOR, x[v]);
	}
}

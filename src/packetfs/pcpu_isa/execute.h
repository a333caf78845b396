/* SPDX-License-Identifier: MIT */
/*
 * A plan over a table of descriptors.
 *
 * Ranges are digested in batches, because the digests of one range are chains of dependent
 * instructions and only several chains at once keep a core busy. Order matters only where a program
 * writes and descriptors overlap. The pass over memory therefore runs in table order. Unless ranges
 * are seen to lie apart, what digests need is copied to a scratch area in the first-level cache on
 * the way; then nothing later can change it.
 */

/* Whether each range begins at or after the end of the one before it, so that none overlap. */
ALWAYS_INLINE int are_apart(const struct range *ranges, size_t count)
{
	for (size_t i = 1; i < count; ++i)
		if (ranges[i].start < ranges[i - 1].start + ranges[i - 1].length)
			return 0;
	return 1;
}

/* Whether digests can look at the blob itself, with no copy. */
ALWAYS_INLINE int reads_in_place(const struct pfs_plan *plan, const struct range *ranges,
				 size_t count)
{
	if (plan->level_count > 1)
		return 0;
	if (plan->final.count)
		return plan->first_level_is_final && are_apart(ranges, count);
	return plan->levels[0].step.count == 0;
}

/* Everything that a plan does to one set of ranges, all of which together fit in the scratch area.
 * Counts are added to results->counters, or to the batch's with `each`. */
static void process_batch(const struct pfs_plan *plan, const struct pfs_constants *constants,
			  struct range *ranges, size_t count, uint8_t *scratch,
			  struct pfs_results *results, struct batch_values *of_batch, int fresh)
{
	int each = results->rows != NULL;
	uint64_t *counters = each ? of_batch->counters : results->counters;
	int in_place = reads_in_place(plan, ranges, count);
	int late = plan->final.count && plan->first_level_is_final;
	size_t bytes = 0;

	if (!in_place) {
		pass_and_copy(ranges, count, layout_of(ranges, count), plan, counters, each,
			      late ? COPY_AFTER : COPY_BEFORE, scratch);
		for (size_t i = 0; i < count; ++i) {
			ranges[i].start = scratch + bytes;
			bytes += slot_size(ranges[i].length);
		}
	} else if (plan->counter_count && each) {
		pass_each(ranges, count, layout_of(ranges, count), plan, counters);
	} else if (plan->final.count || plan->counter_count) {
		pass(ranges, count, layout_of(ranges, count), plan, counters);
	}
	for (uint32_t l = 0; l < plan->level_count; ++l) {
		const struct pfs_level *level = &plan->levels[l];

		if (!in_place && !(l == 0 && late))
			map_scratch(scratch, bytes, &level->step);
		if (level->digests & 1 << PFS_DIGEST_CRC32C)
			crc32c_batch(constants, ranges, count, of_batch->crc[l], fresh);
		if (level->digests & 1 << PFS_DIGEST_FNV)
			fnv_batch(&constants->fnv, ranges, count, of_batch->fnv[l]);
	}
}

/* Takes a batch from the table: as many descriptors as fit; of a long one its first fragment. */
ALWAYS_INLINE size_t take_batch(const struct pfs_descriptor *descriptors, size_t count,
				size_t fragment, int writes)
{
	size_t taken = 0;
	size_t bytes = 0;

	for (; taken < count && taken < BATCH; ++taken) {
		size_t length = descriptors[taken].length;

		if (length > fragment) {
			/* Its later fragments come after the others' ends: only if nobody minds the
			 * order. */
			if (writes)
				return taken ? taken : 1;
			length = fragment;
		}
		bytes += slot_size(length);
		if (bytes > SCRATCH)
			break;
	}
	return taken;
}

/* A long range of a program that maps and then takes a crc32c, and nothing else. */
static uint32_t map_then_crc(const struct pfs_plan *plan, const struct pfs_constants *constants,
			     uint8_t *p, size_t length)
{
#ifdef MULTIPLY
	if (plan->final.count == 1)
		return map_and_crc(constants, ~0u, p, length, &plan->final, 1);
	return map_and_crc(constants, ~0u, p, length, &plan->final, plan->final.count);
#else
	(void)plan, (void)constants, (void)p, (void)length;
	return 0;
#endif
}

static NOINLINE void execute_digest(const struct pfs_plan *plan,
				    const struct pfs_constants *constants, uint8_t *base,
				    const struct pfs_descriptor *descriptors, size_t count,
				    struct pfs_results *results)
{
	_Alignas(64) uint8_t scratch[SCRATCH + SCRATCH_SLACK];
	struct batch_values of_batch;
	struct range ranges[BATCH];
	size_t fragment = FRAGMENT;
	size_t map_and_crc_from = SIZE_MAX; /* bytes */

#ifndef FNV_PLANES
	for (uint32_t l = 0; l < plan->level_count; ++l)
		if (plan->levels[l].digests & 1 << PFS_DIGEST_FNV)
			fragment = FNV_FRAGMENT;
#endif

#ifdef MULTIPLY
	if (plan->final.count && plan->first_level_is_final && !plan->counter_count &&
	    plan->level_count == 1 && plan->levels[0].digests == 1 << PFS_DIGEST_CRC32C)
		map_and_crc_from = MAP_AND_CRC_FROM;
#endif
	while (count) {
		size_t batch = take_batch(descriptors, count, fragment, plan->final.count != 0);
		size_t longest = 0;

		if (descriptors->length >= map_and_crc_from) {
			of_batch.crc[0][0] = map_then_crc(
			    plan, constants, base + descriptors->offset, descriptors->length);
			settle_batch(plan, results, &of_batch, 1);
			++descriptors;
			--count;
			continue;
		}

		for (uint32_t l = 0; l < plan->level_count; ++l)
			for (size_t i = 0; i < batch; ++i) {
				of_batch.crc[l][i] = ~0u;
				of_batch.fnv[l][i] = FNV_OFFSET_BASIS;
			}
		if (results->rows)
			memset(of_batch.counters, 0,
			       batch * plan->counter_count * sizeof(of_batch.counters[0]));
		for (size_t i = 0; i < batch; ++i) {
			prefetch_range(base + descriptors[i].offset, descriptors[i].length);
			if (descriptors[i].length > longest)
				longest = descriptors[i].length;
		}
		for (size_t done = 0; done < longest || done == 0; done += fragment) {
			for (size_t i = 0; i < batch; ++i) {
				size_t length = descriptors[i].length;
				size_t rest = length > done ? length - done : 0;

				ranges[i].start = base + descriptors[i].offset + (rest ? done : 0);
				ranges[i].length = rest < fragment ? rest : fragment;
			}
			process_batch(plan, constants, ranges, batch, scratch, results, &of_batch,
				      done == 0);
		}
		settle_batch(plan, results, &of_batch, batch);
		descriptors += batch;
		count -= batch;
	}
}

/* No digest: the pass over memory is all there is. */
static NOINLINE void execute_transform(const struct pfs_plan *plan, uint8_t *base,
				       const struct pfs_descriptor *descriptors, size_t count,
				       struct pfs_results *results)
{
	struct range ranges[BATCH];

	while (count) {
		size_t batch = count < BATCH ? count : BATCH;

		pass(ranges, batch, gather_ranges(ranges, base, descriptors, batch), plan,
		     results->counters);
		descriptors += batch;
		count -= batch;
	}
}

/* The same with a row of counters for each descriptor. */
static NOINLINE void execute_transform_each(const struct pfs_plan *plan, uint8_t *base,
					    const struct pfs_descriptor *descriptors, size_t count,
					    struct pfs_results *results)
{
	struct batch_values of_batch;
	struct range ranges[BATCH];
	/* Rows of counters need no rearranging if no operation counts what another does. */
	int direct = plan->reducer_count == plan->counter_count;

	for (uint32_t r = 0; r < plan->reducer_count; ++r)
		direct &= plan->sources[r] == r;
	while (count) {
		size_t batch = count < BATCH ? count : BATCH;
		unsigned int layout = gather_ranges(ranges, base, descriptors, batch);
		uint64_t *counters = direct ? results->rows : of_batch.counters;

		memset(counters, 0, batch * plan->counter_count * sizeof(*counters));
		pass_each(ranges, batch, layout, plan, counters);
		if (direct)
			results->rows += batch * plan->reducer_count;
		else
			write_rows(plan, results, &of_batch, batch);
		descriptors += batch;
		count -= batch;
	}
}

/* One crc32c and nothing else: no need to cut long ranges. */
static NOINLINE void execute_checksum(const struct pfs_plan *plan,
				      const struct pfs_constants *constants, uint8_t *base,
				      const struct pfs_descriptor *descriptors, size_t count,
				      struct pfs_results *results)
{
	struct batch_values of_batch;
	struct range ranges[BATCH];

	while (count) {
		size_t batch = count < BATCH ? count : BATCH;

		for (size_t i = 0; i < batch; ++i) {
			ranges[i].start = base + descriptors[i].offset;
			ranges[i].length = descriptors[i].length;
		}
		crc32c_batch(constants, ranges, batch, of_batch.crc[0], 1);
		settle_batch(plan, results, &of_batch, batch);
		descriptors += batch;
		count -= batch;
	}
}

#ifdef FNV_PLANES
/* One fnv and nothing else: long ranges need not be cut here either. */
static NOINLINE void execute_fnv(const struct pfs_plan *plan, const struct pfs_constants *constants,
				 uint8_t *base, const struct pfs_descriptor *descriptors,
				 size_t count, struct pfs_results *results)
{
	struct batch_values of_batch;
	struct range ranges[BATCH];

	while (count) {
		size_t batch = count < BATCH ? count : BATCH;

		for (size_t i = 0; i < batch; ++i) {
			ranges[i].start = base + descriptors[i].offset;
			ranges[i].length = descriptors[i].length;
			prefetch_range(ranges[i].start, ranges[i].length);
			of_batch.fnv[0][i] = FNV_OFFSET_BASIS;
		}
		fnv_batch(&constants->fnv, ranges, batch, of_batch.fnv[0]);
		settle_batch(plan, results, &of_batch, batch);
		descriptors += batch;
		count -= batch;
	}
}
#endif

void PFS_EXECUTE(const struct pfs_plan *plan, const struct pfs_constants *constants, uint8_t *base,
		 const struct pfs_descriptor *descriptors, size_t count,
		 struct pfs_results *results)
{
	const struct pfs_level *first = &plan->levels[0];

	const int is_digest = plan->level_count == 1 && !plan->final.count &&
			      !plan->counter_count && !first->step.count;

	if (plan->level_count == 0 && results->rows)
		execute_transform_each(plan, base, descriptors, count, results);
	else if (plan->level_count == 0)
		execute_transform(plan, base, descriptors, count, results);
	else if (is_digest && first->digests == 1 << PFS_DIGEST_CRC32C)
		execute_checksum(plan, constants, base, descriptors, count, results);
#ifdef FNV_PLANES
	else if (is_digest && first->digests == 1 << PFS_DIGEST_FNV)
		execute_fnv(plan, constants, base, descriptors, count, results);
#endif
	else
		execute_digest(plan, constants, base, descriptors, count, results);
}

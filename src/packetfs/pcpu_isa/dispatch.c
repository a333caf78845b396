// SPDX-License-Identifier: MIT
/* Which tiers there are, and the way into each. */
#include "internal.h"

uint32_t pfs_cpu_tiers(void)
{
	uint32_t tiers = 0;

#ifdef __x86_64__
	__builtin_cpu_init();
	tiers |= 1u << PFS_TIER_SSE2;
	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul"))
		return tiers;
	tiers |= 1u << PFS_TIER_SSE42;
	/* The builtin also asks whether the operating system saves the 256-bit registers. */
	if (!__builtin_cpu_supports("avx2"))
		return tiers;
	tiers |= 1u << PFS_TIER_AVX2;
	if (__builtin_cpu_supports("vpclmulqdq"))
		tiers |= 1u << PFS_TIER_VPCLMUL;
#endif
	return tiers;
}

void pfs_execute(enum pfs_tier tier, const struct pfs_plan *plan,
		 const struct pfs_crc_constants *constants, uint8_t *base,
		 const struct pfs_descriptor *descriptors, size_t count, bool each,
		 uint64_t *values)
{
#ifdef __x86_64__
	static pfs_tier_execute *const tiers[] = {
	    [PFS_TIER_SSE2] = pfs_execute_sse2,
	    [PFS_TIER_SSE42] = pfs_execute_sse42,
	    [PFS_TIER_AVX2] = pfs_execute_avx2,
	    [PFS_TIER_VPCLMUL] = pfs_execute_vpclmul,
	};
	struct results results;

	results.rows = each ? values : NULL;
	if (!each) {
		memset(results.counters, 0, plan->counter_count * sizeof(results.counters[0]));
		memset(results.digests, 0, plan->level_count * sizeof(results.digests[0]));
	}
	tiers[tier](plan, constants, base, descriptors, count, &results);
	for (uint32_t i = 0; i < plan->reducer_count && !each; ++i) {
		uint32_t source = plan->sources[i];
		uint32_t digest = source - PFS_MAX_REDUCERS;

		values[i] += source < PFS_MAX_REDUCERS ? results.counters[source]
						       : results.digests[digest / 2][digest % 2];
	}
#else
	/* No tier is supported, so nobody may call this. */
	(void)tier, (void)plan, (void)constants, (void)base, (void)descriptors, (void)count;
	(void)each, (void)values;
	__builtin_trap();
#endif
}

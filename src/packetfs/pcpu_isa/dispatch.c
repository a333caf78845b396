// SPDX-License-Identifier: MIT
/* Which instruction sets there are, and the way into each. */
#include "internal.h"

#include "isa_features.h"

#define BIT(id, name) | 1u << PFS_FEATURE_##id

uint32_t pfs_isas_with(uint32_t features)
{
	static const uint32_t required[] = {
	    [PFS_ISA_SSE2] = 0,
	    [PFS_ISA_SSE42] = 0 PFS_SSE42_FEATURES(BIT),
	    [PFS_ISA_AVX2] = 0 PFS_AVX2_FEATURES(BIT),
	    [PFS_ISA_VPCLMUL] = 0 PFS_VPCLMUL_FEATURES(BIT),
	    [PFS_ISA_AVX512] = 0 PFS_AVX512_FEATURES(BIT),
	};
	uint32_t isas = 0;

	for (unsigned int isa = 0; isa < PFS_ISA_COUNT; ++isa)
		if ((features & required[isa]) == required[isa])
			isas |= 1u << isa;
	return isas;
}

uint32_t pfs_cpu_features(void)
{
	uint32_t features = 0;

#ifdef __x86_64__
	/* The builtin also asks whether the operating system saves the wide registers. */
#define DETECT(id, name)                                                                           \
	if (__builtin_cpu_supports(name))                                                          \
		features |= 1u << PFS_FEATURE_##id;
	__builtin_cpu_init();
	PFS_AVX512_FEATURES(DETECT)
#endif
	return features;
}

uint32_t pfs_cpu_isas(void)
{
#ifdef __x86_64__
	return pfs_isas_with(pfs_cpu_features());
#else
	return 0;
#endif
}

pfs_kernels *pfs_kernels_of(enum pfs_isa isa)
{
#ifdef __x86_64__
	static pfs_kernels *const kernels[] = {
	    [PFS_ISA_SSE2] = pfs_execute_sse2,	   [PFS_ISA_SSE42] = pfs_execute_sse42,
	    [PFS_ISA_AVX2] = pfs_execute_avx2,	   [PFS_ISA_VPCLMUL] = pfs_execute_vpclmul,
	    [PFS_ISA_AVX512] = pfs_execute_avx512,
	};

	return kernels[isa];
#else
	(void)isa;
	return NULL;
#endif
}

void pfs_execute(pfs_kernels *kernels, const struct pfs_plan *plan,
		 const struct pfs_constants *constants, uint8_t *base,
		 const struct pfs_descriptor *descriptors, size_t count, bool each,
		 uint64_t *values)
{
	struct pfs_results results;

	results.rows = each ? values : NULL;
	if (!each) {
		memset(results.counters, 0, plan->counter_count * sizeof(results.counters[0]));
		memset(results.digests, 0, plan->level_count * sizeof(results.digests[0]));
	}
	kernels(plan, constants, base, descriptors, count, &results);
	for (uint32_t i = 0; i < plan->reducer_count && !each; ++i) {
		uint32_t source = plan->sources[i];
		uint32_t digest = source - PFS_MAX_REDUCERS;

		values[i] += source < PFS_MAX_REDUCERS ? results.counters[source]
						       : results.digests[digest / 2][digest % 2];
	}
}

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

/* Where the sum of a source is, see pfs_plan. */
static uint64_t *sum_of(struct pfs_results *results, uint32_t source)
{
	uint32_t digest = source - PFS_MAX_REDUCERS;

	return source < PFS_MAX_REDUCERS ? &results->counters[source]
					 : &results->digests[digest / 2][digest % 2];
}

void pfs_execute(pfs_kernels *kernels, const struct pfs_plan *plan,
		 const struct pfs_constants *constants, uint8_t *base,
		 const struct pfs_descriptor *descriptors, size_t count, bool each,
		 uint64_t *values)
{
	struct pfs_results results;

	results.rows = each ? values : NULL;
	/* No call of memset(), which takes as long as the map of a short range. */
	if (!each)
#pragma clang loop unroll(disable) vectorize(disable)
		for (uint32_t i = 0; i < plan->reducer_count; ++i)
			*sum_of(&results, plan->sources[i]) = 0;
	kernels(plan, constants, base, descriptors, count, &results);
	if (!each)
#pragma clang loop unroll(disable) vectorize(disable)
		for (uint32_t i = 0; i < plan->reducer_count; ++i)
			values[i] += *sum_of(&results, plan->sources[i]);
}

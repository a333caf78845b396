// SPDX-License-Identifier: MIT
#include "pfs_kernels.h"

uint32_t pfs_cpu_tiers(void)
{
	uint32_t tiers = 0;

#ifdef __x86_64__
	__builtin_cpu_init();
	tiers |= 1u << PFS_TIER_SSE2;
	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul"))
		return tiers;
	tiers |= 1u << PFS_TIER_SSE42;
	/* The builtin also asks the operating system whether it saves the 256-bit registers. */
	if (!__builtin_cpu_supports("avx2"))
		return tiers;
	tiers |= 1u << PFS_TIER_AVX2;
	if (__builtin_cpu_supports("vpclmulqdq"))
		tiers |= 1u << PFS_TIER_VPCLMUL;
#endif
	return tiers;
}

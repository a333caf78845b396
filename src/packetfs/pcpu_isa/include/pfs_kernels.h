/* SPDX-License-Identifier: MIT */
/*
 * The pCPU kernels for x86-64, one set ("tier") per instruction set, chosen at run time. Whole loops live behind this
 * boundary: a call per table of descriptors, never one per vector.
 */
#ifndef PFS_KERNELS_H
#define PFS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* The tiers, worst first. On other architectures none is supported. */
enum pfs_tier {
	PFS_TIER_SSE2,
	PFS_TIER_SSE42,
	PFS_TIER_AVX2,
	PFS_TIER_VPCLMUL,
};

/* The tiers that this CPU and operating system can run: bit (1 << tier) for each. */
uint32_t pfs_cpu_tiers(void);

#endif

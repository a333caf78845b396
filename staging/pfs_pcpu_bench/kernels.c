// SPDX-License-Identifier: MIT
/*
 * The kernels of one revision behind functions that stay the same, for `pfs_pcpu_bench against`.
 * utils/bench-pcpu-against compiles this file with that revision's own header and links it with
 * that revision's kernels. What differs between revisions is said by macros:
 *
 *  CPU_ISAS	the function that tells which ISAs this CPU runs
 *  pfs_constants, pfs_constants_init	the names that they had then
 *  BY_POINTER	defined where pfs_execute() takes the kernels' address instead of the ISA's number
 */
#include <stdlib.h>
#include <string.h>

#include "pfs_kernels.h"

#define API __attribute__((visibility("default")))

/* The version of the functions below. */
API const uint32_t pfs_bench_version = 1;

static struct pfs_constants constants;

__attribute__((constructor)) static void init_constants(void)
{
	pfs_constants_init(&constants);
}

/* Bit (1 << number) for each ISA that is there and that this CPU runs. */
API uint32_t pfs_bench_isas(void)
{
	return CPU_ISAS();
}

static const uint8_t *read_rounds(const uint8_t *p, struct pfs_rounds *rounds)
{
	rounds->count = *p++;
	for (uint32_t i = 0; i < rounds->count; ++i) {
		rounds->flip[i] = *p++;
		rounds->add[i] = *p++;
	}
	return p;
}

/* A plan from what Plan.listing in src/packetfs/pcpu/Listing.swift gives; NULL without memory. */
API void *pfs_bench_plan(const uint8_t *p)
{
	struct pfs_plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return NULL;
	plan->counter_count = *p++;
	memcpy(plan->counters, p, plan->counter_count);
	p = read_rounds(p + plan->counter_count, &plan->final);
	plan->first_level_is_final = *p++;
	plan->level_count = *p++;
	for (uint32_t i = 0; i < plan->level_count; ++i) {
		uint8_t digests;

		p = read_rounds(p, &plan->levels[i].step);
		digests = *p++;
		plan->levels[i].digests = (digests & 1 ? 1u << PFS_DIGEST_CRC32C : 0) |
					  (digests & 2 ? 1u << PFS_DIGEST_FNV : 0);
	}
	plan->reducer_count = *p++;
	for (uint32_t i = 0; i < plan->reducer_count; ++i, p += 2)
		plan->sources[i] = p[0] == 0 ? p[1]
					     : PFS_MAX_REDUCERS + 2 * p[1] +
						   (p[0] == 1 ? PFS_DIGEST_CRC32C : PFS_DIGEST_FNV);
	return plan;
}

/* pfs_execute() of the revision. */
API void pfs_bench_execute(uint32_t isa, const void *plan, uint8_t *base, const void *descriptors,
			   size_t count, bool each, uint64_t *values)
{
#ifdef BY_POINTER
	pfs_execute(pfs_kernels_of(isa), plan, &constants, base, descriptors, count, each, values);
#else
	pfs_execute(isa, plan, &constants, base, descriptors, count, each, values);
#endif
}

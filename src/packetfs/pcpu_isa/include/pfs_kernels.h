/* SPDX-License-Identifier: MIT */
/*
 * The pCPU kernels for x86-64, one set per instruction set (ISA), chosen at run time.
 *
 * A call executes a plan over a whole table of descriptors: loops live behind this boundary, never
 * single vectors. Nothing here checks its arguments, allocates memory or keeps state; every
 * function is thread-safe.
 */
#ifndef PFS_KERNELS_H
#define PFS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The instruction sets, worst first. On other architectures none is supported. */
enum pfs_isa {
	PFS_ISA_SSE2,
	PFS_ISA_SSE42,
	PFS_ISA_AVX2,
	PFS_ISA_VPCLMUL,
	PFS_ISA_AVX512,
	PFS_ISA_COUNT,
};

/* The CPU features that instruction sets ask for: bits of pfs_cpu_features(). */
enum pfs_feature {
	PFS_FEATURE_SSE42,
	PFS_FEATURE_PCLMUL,
	PFS_FEATURE_POPCNT,
	PFS_FEATURE_AVX,
	PFS_FEATURE_AVX2,
	PFS_FEATURE_BMI,
	PFS_FEATURE_BMI2,
	PFS_FEATURE_VPCLMULQDQ,
	PFS_FEATURE_FMA,
	PFS_FEATURE_F16C,
	PFS_FEATURE_AVX512F,
	PFS_FEATURE_AVX512BW,
	PFS_FEATURE_AVX512DQ,
	PFS_FEATURE_AVX512VL,
	PFS_FEATURE_AVX512VBMI,
	PFS_FEATURE_AVX512VNNI,
	PFS_FEATURE_GFNI,
	PFS_FEATURE_COUNT,
};

/* A range of bytes of the blob; the layout is that of a record's descriptor table. */
struct pfs_descriptor {
	uint64_t offset;
	uint32_t length;
	uint32_t flags;
};

enum {
	PFS_MAX_REDUCERS = 32, /* a program has at most 32 operations */
	PFS_MAX_ROUNDS = 17,   /* 32 alternating adds and xors, beginning with an add */
	PFS_MAX_LEVELS =
	    16, /* a digest, then at least one map and one digest for each level more */
};

/* A map of bytes: y = (x ^ flip[i]) + add[i], modulo 256, for i in 0..<count in turn. */
struct pfs_rounds {
	uint32_t count;
	uint8_t flip[PFS_MAX_ROUNDS];
	uint8_t add[PFS_MAX_ROUNDS];
};

/* What the digests of a level are: bits of pfs_level.digests, and the low bit of a digest's value
 * index. */
enum pfs_digest {
	PFS_DIGEST_CRC32C = 0,
	PFS_DIGEST_FNV = 1,
};

/* A point of the program at which digests look at the bytes. */
struct pfs_level {
	struct pfs_rounds
	    step;	  /* from the bytes of the level before (at first: as loaded) to these */
	uint32_t digests; /* 1 << enum pfs_digest, or-ed */
};

/*
 * A program as the kernels see it. The values that it yields are indexed: counter i is value i;
 * digest d of level l is value PFS_MAX_REDUCERS + 2 * l + d.
 */
struct pfs_plan {
	uint32_t counter_count;
	uint8_t counters[PFS_MAX_REDUCERS]; /* bytes to count among the bytes as loaded */
	struct pfs_rounds final;	    /* from the bytes as loaded to what stays in memory */
	uint32_t level_count;
	uint32_t
	    first_level_is_final; /* whether the first level sees the bytes that stay in memory */
	struct pfs_level levels[PFS_MAX_LEVELS];
	uint32_t reducer_count;
	uint8_t sources[PFS_MAX_REDUCERS]; /* the value index of each reducing operation */
};

enum {
	PFS_FNV_UNIT = 1024, /* bytes of a long range that fnv takes at a time */
	PFS_FNV_DIGITS = 4,
	PFS_FNV_STEPS = 33, /* steps of 64 bytes of ranges that run side by side, and one more */
};

/*
 * What the parallel forms of FNV-1a multiply by and look up; p is the prime, all modulo 2^64.
 * theoretical/fnv has the mathematics.
 */
struct pfs_fnv_constants {
	/*
	 * p^(PFS_FNV_UNIT - i) for i in 0..<PFS_FNV_UNIT as four signed digits of 16 bits, least
	 * significant first: [i / 64][half][digit], in the order in which bytes are unpacked: half
	 * 0 has the first eight of each 16 bytes, half 1 the others.
	 */
	int16_t weights[PFS_FNV_UNIT / 64][2][PFS_FNV_DIGITS][32];
	uint64_t power;			   /* p^PFS_FNV_UNIT */
	uint64_t inverse[64];		   /* p^(-i) */
	uint64_t inverse64[PFS_FNV_STEPS]; /* p^(-64 i) */
};

/* A block of crc32c_long512.h consists of units: each is a line of 64 bytes, which is folded, and a
 * word of each crc32 stream. */
enum {
	PFS_FUSED_FOLDS = 3, /* lines whose folds do not depend on each other */
	PFS_FUSED_STREAMS = 3,
	PFS_FUSED_UNITS = 186, /* at most in a block */
	PFS_CHUNK_UNITS = 36,  /* in a chunk of a long range; a multiple of PFS_FUSED_FOLDS */
};

/* Multipliers for the end of such a block; kinds as in struct pfs_constants. */
struct pfs_crc_fused {
	uint64_t lanes[4][2]; /* fold: of each lane of the last line to the end of the block */
	uint64_t stream[PFS_FUSED_STREAMS - 1]; /* advance: of each stream but the last */
	uint64_t block;				/* advance: of the register before the block */
};

/*
 * What the kernels multiply by and look up: for CRC-32C, and in `fnv` for FNV-1a. The same for
 * everyone: fill one and share it. All polynomials are modulo the Castagnoli polynomial and
 * bit-reflected.
 *
 * Two kinds of multiplier, after where the product goes:
 *  - fold: 64-bit halves of a 128-bit lane become a lane d bytes further on. carry-less products of
 * reflected operands come out multiplied by x, hence x^(8d + 63) for the first half and x^(8d - 1)
 * for the second, in the upper 32 bits.
 *  - advance: a 32-bit register moves on by n zero bytes. The 64-bit product goes through the crc32
 * instruction from 0, which multiplies by x^32; hence x^(8n - 33).
 */
struct pfs_constants {
	uint64_t fold_table[128][2]; /* by d - 63 bytes for d = 0...127: back and forth */
	uint32_t advance[1024];	     /* by n bytes */
	uint64_t advance_kib[32];    /* by 2^i KiB */
	uint32_t ones[1152];	     /* the register of all ones after n zero bytes */
	uint32_t slices[8][256];    /* [k][b]: the register after byte b and k zero bytes, from 0 */
	uint64_t long_wide[2][5];   /* advances in long blocks, 256-bit multiplies: crc32c_long.h */
	uint64_t long_narrow[2][5]; /* ... 128-bit multiplies */
	struct pfs_fnv_constants fnv;
	uint64_t fold_fused[2];				 /* fold by PFS_FUSED_FOLDS lines */
	struct pfs_crc_fused fused[PFS_FUSED_UNITS + 1]; /* by the units of a block */
	uint64_t fold_chunk[2]; /* fold from the lines of a chunk to those of the next */
	uint64_t skip_chunk;	/* advance from the end of a stream to where it continues */
};

/* Fills in the constants, which should be aligned to 64 bytes; some hundred thousand cycles. */
void pfs_constants_init(struct pfs_constants *constants);

/*
 * The features that this CPU has and whose registers the operating system saves: bit
 * (1 << feature) for each enum pfs_feature.
 */
uint32_t pfs_cpu_features(void);

/*
 * The ISAs that an x86-64 CPU with these features can run: bit (1 << isa) for each. An ISA is among
 * them only if every feature is there that its code is compiled for.
 */
uint32_t pfs_isas_with(uint32_t features);

/* The ISAs that this CPU and operating system can run: bit (1 << isa) for each. */
uint32_t pfs_cpu_isas(void);

/* The kernels of one instruction set, to hand to pfs_execute(). */
struct pfs_results;
typedef void pfs_kernels(const struct pfs_plan *plan, const struct pfs_constants *constants,
			 uint8_t *base, const struct pfs_descriptor *descriptors, size_t count,
			 struct pfs_results *results);

/* The kernels of an ISA; NULL on other architectures than x86-64. */
pfs_kernels *pfs_kernels_of(enum pfs_isa isa);

/*
 * Applies the plan to each descriptor, as if one after the other. Without `each`, adds the value of
 * each reducing operation to values[0..<plan->reducer_count], wrapping. With `each`, keeps the
 * descriptors apart: the value of operation r for descriptor i becomes
 * values[i * plan->reducer_count + r], whatever was there.
 *
 * Touches no byte outside the descriptors, and writes none if the plan's final map has no rounds.
 * The CPU must run the kernels, and the descriptors must lie inside the blob at base.
 */
void pfs_execute(pfs_kernels *kernels, const struct pfs_plan *plan,
		 const struct pfs_constants *constants, uint8_t *base,
		 const struct pfs_descriptor *descriptors, size_t count, bool each,
		 uint64_t *values);

#endif

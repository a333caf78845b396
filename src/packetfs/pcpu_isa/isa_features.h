/* SPDX-License-Identifier: MIT */
/*
 * The CPU features that each instruction set's file is compiled for. Both the compiler's target
 * attribute and the check at run time come from these lists, so that no instruction can be
 * generated that was not asked for.
 *
 * A list applies F(ID, NAME) to each feature: NAME is what the compiler calls it, ID makes up
 * PFS_FEATURE_ID.
 */
#ifndef PFS_ISA_FEATURES_H
#define PFS_ISA_FEATURES_H

#define PFS_SSE42_FEATURES(F)                                                                      \
	F(SSE42, "sse4.2")                                                                         \
	F(PCLMUL, "pclmul")                                                                        \
	F(POPCNT, "popcnt")

#define PFS_AVX2_FEATURES(F)                                                                       \
	PFS_SSE42_FEATURES(F)                                                                      \
	F(AVX, "avx")                                                                              \
	F(AVX2, "avx2")                                                                            \
	F(BMI, "bmi")                                                                              \
	F(BMI2, "bmi2")

#define PFS_VPCLMUL_FEATURES(F)                                                                    \
	PFS_AVX2_FEATURES(F)                                                                       \
	F(VPCLMULQDQ, "vpclmulqdq")

/* AVX512F also lets the compiler use FMA and F16C. */
#define PFS_AVX512_FEATURES(F)                                                                     \
	PFS_VPCLMUL_FEATURES(F)                                                                    \
	F(FMA, "fma")                                                                              \
	F(F16C, "f16c")                                                                            \
	F(AVX512F, "avx512f")                                                                      \
	F(AVX512BW, "avx512bw")                                                                    \
	F(AVX512DQ, "avx512dq")                                                                    \
	F(AVX512VL, "avx512vl")                                                                    \
	F(AVX512VBMI, "avx512vbmi")                                                                \
	F(AVX512VNNI, "avx512vnni")                                                                \
	F(GFNI, "gfni")

/* A string for __attribute__((target())) from a list; SSE2 is the baseline of x86-64. */
#define PFS_TARGET_NAME(id, name) name ","
#define PFS_TARGET(list) list(PFS_TARGET_NAME) "sse2"

#endif

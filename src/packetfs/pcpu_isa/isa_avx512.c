// SPDX-License-Identifier: MIT
/*
 * AVX-512 with VBMI, VNNI, GFNI and VPCLMULQDQ (Ice Lake server, Zen 4 and later): 512-bit vectors,
 * masks, and carry-less multiplies of any width.
 */
#if defined(__x86_64__) || defined(PFS_INTRINSICS)
#include "internal.h"
#include "isa_features.h"

/*
 * Tests compile this file a second time, against a portable implementation of the intrinsics, and
 * run the result on CPUs without AVX-512.
 */
#ifdef PFS_INTRINSICS
#include PFS_INTRINSICS
#else
#include <immintrin.h>
#endif

#define PFS_EXECUTE pfs_execute_avx512
#define VECTOR 32
#define MULTIPLY 64
#define FNV_PLANES
#define PASS_AVX512

#ifndef PFS_INTRINSICS
#pragma clang attribute push(__attribute__((target(PFS_TARGET(PFS_AVX512_FEATURES)))),             \
			     apply_to = function)
#endif

#include "isa.h"

#ifndef PFS_INTRINSICS
#pragma clang attribute pop
#endif
#endif

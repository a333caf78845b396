// SPDX-License-Identifier: MIT
/* AVX2: 256-bit vectors, the crc32 instruction and 128-bit carry-less multiplies. */
#ifdef __x86_64__
#include "internal.h"
#include "isa_features.h"

#include <immintrin.h>

#define PFS_EXECUTE pfs_execute_avx2
#define VECTOR 32
#define MULTIPLY 16

#pragma clang attribute push(__attribute__((target(PFS_TARGET(PFS_AVX2_FEATURES)))),               \
			     apply_to = function)

#include "isa.h"

#pragma clang attribute pop
#endif

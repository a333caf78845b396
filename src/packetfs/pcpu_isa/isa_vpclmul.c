// SPDX-License-Identifier: MIT
/* AVX2 and VPCLMULQDQ: 256-bit vectors and carry-less multiplies, and the crc32 instruction. */
#ifdef __x86_64__
#include "internal.h"
#include "isa_features.h"

#include <immintrin.h>

#define PFS_EXECUTE pfs_execute_vpclmul
#define VECTOR 32
#define MULTIPLY 32

#pragma clang attribute push(__attribute__((target(PFS_TARGET(PFS_VPCLMUL_FEATURES)))),            \
			     apply_to = function)

#include "isa.h"

#pragma clang attribute pop
#endif

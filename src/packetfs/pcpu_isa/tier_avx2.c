// SPDX-License-Identifier: MIT
/* AVX2: 256-bit vectors, the crc32 instruction and 128-bit carry-less multiplies. */
#ifdef __x86_64__
#include "internal.h"

#include <immintrin.h>

#define TIER(name) name##_avx2
#define VECTOR 32
#define WIDE_MULTIPLY 0

#pragma clang attribute push(__attribute__((target("avx2,sse4.2,crc32,pclmul,popcnt,bmi,bmi2"))),  \
			     apply_to = function)

#include "tier.h"

#pragma clang attribute pop
#endif

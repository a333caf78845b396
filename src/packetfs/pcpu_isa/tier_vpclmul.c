// SPDX-License-Identifier: MIT
/* AVX2 and VPCLMULQDQ: 256-bit vectors and carry-less multiplies, and the crc32 instruction. */
#ifdef __x86_64__
#include "internal.h"

#include <immintrin.h>

#define TIER(name) name##_vpclmul
#define VECTOR 32
#define WIDE_MULTIPLY 1

#pragma clang attribute push(                                                                      \
    __attribute__((target("avx2,sse4.2,crc32,pclmul,popcnt,bmi,bmi2,vpclmulqdq"))),                \
    apply_to = function)

#include "tier.h"

#pragma clang attribute pop
#endif

// SPDX-License-Identifier: MIT
/* SSE4.2 and PCLMULQDQ: the crc32 instruction and 128-bit carry-less multiplies. */
#ifdef __x86_64__
#include "internal.h"

#include <immintrin.h>

#define TIER(name) name##_sse42
#define VECTOR 16
#define WIDE_MULTIPLY 0

#pragma clang attribute push(__attribute__((target("sse4.2,crc32,pclmul,popcnt"))),                \
			     apply_to = function)

#include "tier.h"

#pragma clang attribute pop
#endif

// SPDX-License-Identifier: MIT
/* Baseline x86-64: 128-bit vectors. */
#ifdef __x86_64__
#include "internal.h"

#include <immintrin.h>

#define PFS_EXECUTE pfs_execute_sse2
#define VECTOR 16

#pragma clang attribute push(__attribute__((target("sse2"))), apply_to = function)

#include "isa.h"

#pragma clang attribute pop
#endif

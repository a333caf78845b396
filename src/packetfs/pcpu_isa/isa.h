/* SPDX-License-Identifier: MIT */
/*
 * The kernels, compiled for one instruction set. Each isa_*.c is a translation unit of its own and
 * therefore the namespace of all static names. It defines, before it includes this:
 *  - PFS_EXECUTE: the name of its pfs_execute(), the only one that others see;
 *  - VECTOR: the bytes of a vector, 16 or 32;
 *  - PASS_AVX512, where the pass over memory is to use vectors of 64 bytes and masks;
 *  - MULTIPLY, where there is a crc32 instruction: the bytes that a carry-less multiplication
 *    takes, 16, 32 or 64;
 *  - FNV_PLANES, where vectors of 512 bits can run FNV-1a in parallel.
 */

/* The sums of each eight neighbouring bytes, and two halves of a vector of sums, as pass.h wants
 * them. */
#if VECTOR == 32
#define SUM_BYTES(x) _mm256_sad_epu8((__m256i)(x), _mm256_setzero_si256())
#define ADD_HALVES(x)                                                                              \
	_mm_add_epi64(_mm256_castsi256_si128((__m256i)(x)),                                        \
		      _mm256_extracti128_si256((__m256i)(x), 1))
#else
#define SUM_BYTES(x) _mm_sad_epu8((__m128i)(x), _mm_setzero_si128())
#define ADD_HALVES(x) ((__m128i)(x))
#endif

#include "pass.h"

#if defined(MULTIPLY) && MULTIPLY == 64
#include "crc32c_avx512.h"
#elif defined(MULTIPLY)
#include "crc32c.h"
#else
#include "crc32c_table.h"
#endif

#include "fnv.h"

#include "execute.h"

/* SPDX-License-Identifier: MIT */
/* The intrinsics of isa_avx512.c by SIMDe (Debian's libsimde-dev). */
#include <emmintrin.h>

/* Newer compilers define this type in emmintrin.h already, in a way of their own. */
#define __m128bh pfs_unused_m128bh
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/clmul.h>
#include <simde/x86/gfni.h>
#include <simde/x86/sse4.2.h>
#undef __m128bh

/* Those that it lacks in version 0.7.4. Masked accesses touch no byte outside their mask. */
#include <stdint.h>

#ifndef __mmask64
#define __mmask64 simde__mmask64
#endif
#ifndef __mmask8
#define __mmask8 simde__mmask8
#endif
#ifndef __mmask16
#define __mmask16 simde__mmask16
#endif

#ifndef _mm512_maskz_loadu_epi8
static inline __m512i _mm512_maskz_loadu_epi8(__mmask64 mask, const void *p)
{
	uint8_t bytes[64] = {0};

	for (int i = 0; i < 64; ++i)
		if (mask >> i & 1)
			bytes[i] = ((const uint8_t *)p)[i];
	return _mm512_loadu_si512(bytes);
}
#endif

#ifndef _mm512_maskz_loadu_epi64
static inline __m512i _mm512_maskz_loadu_epi64(__mmask8 mask, const void *p)
{
	__mmask64 bytes = 0;

	for (int i = 0; i < 8; ++i)
		if (mask >> i & 1)
			bytes |= (__mmask64)0xFF << 8 * i;
	return _mm512_maskz_loadu_epi8(bytes, p);
}
#endif

#ifndef _mm512_mask_storeu_epi8
static inline void _mm512_mask_storeu_epi8(void *p, __mmask64 mask, __m512i x)
{
	uint8_t bytes[64];

	_mm512_storeu_si512(bytes, x);
	for (int i = 0; i < 64; ++i)
		if (mask >> i & 1)
			((uint8_t *)p)[i] = bytes[i];
}
#endif

#ifndef _bzhi_u64
static inline uint64_t _bzhi_u64(uint64_t x, unsigned int count)
{
	return (count & 0xFF) < 64 ? x & (((uint64_t)1 << (count & 0xFF)) - 1) : x;
}
#endif

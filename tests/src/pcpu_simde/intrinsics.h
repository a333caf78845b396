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

// SPDX-License-Identifier: MIT
/*
 * The same source as the product's AVX-512 kernels, for machines whose CPU has no AVX-512. No
 * feature is enabled here beyond the baseline, so SIMDe implements everything in plain C or SSE2.
 */
/* All functions are static or inlined: nobody outside relies on how vectors are passed. */
#pragma clang diagnostic ignored "-Wpsabi"

#define PFS_INTRINSICS "../../../tests/src/pcpu_simde/intrinsics.h"
#define pfs_execute_avx512 pfs_execute_simde

#include "../../../src/packetfs/pcpu_isa/isa_avx512.c"

/* SPDX-License-Identifier: MIT */
/* The AVX-512 kernels, compiled against SIMDe's portable implementation of the intrinsics. */
#ifndef PFS_SIMDE_H
#define PFS_SIMDE_H

#include <pfs_kernels.h>

pfs_kernels pfs_execute_simde;

#endif

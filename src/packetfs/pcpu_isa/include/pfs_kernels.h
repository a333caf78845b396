/* SPDX-License-Identifier: MIT */
#ifndef PFS_KERNELS_H
#define PFS_KERNELS_H

#include <stdint.h>

#endif

/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR MIT) */
#ifndef PFS_FASTPATH_H
#define PFS_FASTPATH_H
#include <linux/types.h>
#define PFS_FP_VERSION 1
#endif

/* SPDX-License-Identifier: GPL-2.0 */
/* How the bytes of a region are divided: arithmetic alone, so that KUnit can try it. */
#ifndef PFS_FP_SHAPE_H
#define PFS_FP_SHAPE_H

#include <linux/align.h>
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/types.h>

#include "pfs_fastpath.h"

struct pfs_fp_shape {
	u32 slots;
	u64 data_offset;
	u64 slab_bytes; /* a multiple of PFS_FP_SLAB_UNIT */
};

/*
 * The shape of a region of ring_bytes, of which what is left over becomes slab. Returns 0; -EINVAL:
 * slots is no power of two, or ring_bytes is too small for them; -EFBIG: above a limit.
 */
static inline int pfs_fp_shape_of(u64 ring_bytes, u32 slots, u64 max_bytes, u32 max_slots,
				  struct pfs_fp_shape *shape)
{
	u64 data_offset = ALIGN(sizeof(struct pfs_fp_ring_hdr) + 4ULL * slots, PFS_FP_LINE);
	u64 slab_bytes;

	if (!is_power_of_2(slots) || ring_bytes < data_offset)
		return -EINVAL;
	if (slots > min(max_slots, PFS_FP_SLOTS_MAX) || ring_bytes > max_bytes)
		return -EFBIG;
	slab_bytes = round_down(ring_bytes - data_offset, PFS_FP_SLAB_UNIT);
	/* A slot addresses 2^32 units. Bounds the memory, too, whatever the limits are. */
	if (slab_bytes > (u64)PFS_FP_SLAB_UNIT << 32)
		return -EFBIG;
	shape->slots = slots;
	shape->data_offset = data_offset;
	shape->slab_bytes = slab_bytes;
	return 0;
}

#endif

/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR MIT) */
/*
 * The shared-memory ring of PacketFS: one producer, one consumer, a region of memory that both have
 * mapped.
 *
 * A region is
 *
 *	[struct pfs_fp_ring_hdr][__u32 slots[slots]][pad to PFS_FP_LINE][slab]
 *
 * and looks the same whether it is a memfd between two processes or the mapping of
 * /dev/pfs_fastpath. It holds offsets and indices only, never pointers. All fields are in host byte
 * order: a region never leaves its machine.
 *
 * Indices run freely over 32 bits and wrap; entry i lives in slots[i & mask]. As in the kernel's
 * circular buffers the producer owns head, the consumer owns tail, head - tail (mod 2^32) entries
 * are in the ring, and it is empty when the two are equal. A slot holds the position of a record in
 * the slab, in units of PFS_FP_SLAB_UNIT bytes, so that 32 bits reach 256 GiB. A region without a
 * slab is a plain queue of 32-bit values.
 *
 * Each side owns one line and is the only one to write it, except for the word on which the other
 * side sleeps. That word stands on the line of the side that rings, because the ringer reads it
 * after every publication: there it hits a line that it owns anyway, and the sleeper pays for one
 * transfer of that line when it goes to sleep, which is slow as it is. On the sleeper's own line
 * every publication would drag over a line that the sleeper keeps writing.
 *
 * Nothing in the region can be trusted: read each field once, check the copy, and use only the
 * copy.
 */
#ifndef PFS_FASTPATH_H
#define PFS_FASTPATH_H

#include <linux/types.h>

/* "PFSRING1" when the bytes are read in memory order on a little-endian machine. */
#define PFS_FP_MAGIC 0x31474e4952534650ULL
#define PFS_FP_VERSION 1

/* Bytes that two sides must not share: two cache lines, as processors prefetch them in pairs. */
#define PFS_FP_LINE 128
/* Bytes per unit of slab position; records are aligned to it. */
#define PFS_FP_SLAB_UNIT 64
/* Most slots a ring may have: a power of two in any case, and head - tail stays unambiguous. */
#define PFS_FP_SLOTS_MAX 0x80000000U

struct pfs_fp_ring_hdr {
	/* Line 0: constants, written once by whoever formats the region. */
	__u64 magic;	    /* PFS_FP_MAGIC, stored last with release ordering; 0: not ready */
	__u32 version;	    /* PFS_FP_VERSION */
	__u32 header_bytes; /* sizeof(struct pfs_fp_ring_hdr) */
	__u32 slots;	    /* number of slots, a power of two */
	__u32 mask;	    /* slots - 1 */
	__u64 region_bytes; /* data_offset + slab_bytes; the mapping may be longer */
	__u64 slots_offset; /* header_bytes */
	__u64 data_offset;  /* slots_offset + 4 * slots, rounded up to PFS_FP_LINE */
	__u64 slab_bytes;   /* a multiple of PFS_FP_SLAB_UNIT, may be 0 */
	__u64 reserved0[9]; /* 0 */

	/* Line 1: the producer's. */
	__u32 head;	       /* next entry to write */
	__u32 consumer_sleeps; /* 1 while the consumer sleeps or is about to (futex) */
	__u32 slab_next;       /* unit behind the last record, for a producer that takes over */
	__u32 reserved1[29];   /* 0 */

	/* Line 2: the consumer's. */
	__u32 tail;	       /* next entry to read; everything before it is released */
	__u32 producer_sleeps; /* 1 while the producer sleeps or is about to (futex) */
	__u32 reserved2[30];   /* 0 */

	/* Line 3: nobody's yet. */
	__u32 reserved3[32]; /* 0 */
};

#ifndef __cplusplus
_Static_assert(sizeof(struct pfs_fp_ring_hdr) == 4 * PFS_FP_LINE, "no implicit padding");
_Static_assert(__builtin_offsetof(struct pfs_fp_ring_hdr, reserved0) == 56, "no implicit padding");
_Static_assert(__builtin_offsetof(struct pfs_fp_ring_hdr, head) == 1 * PFS_FP_LINE,
	       "producer's line");
_Static_assert(__builtin_offsetof(struct pfs_fp_ring_hdr, tail) == 2 * PFS_FP_LINE,
	       "consumer's line");
_Static_assert(__builtin_offsetof(struct pfs_fp_ring_hdr, reserved3) == 3 * PFS_FP_LINE,
	       "spare line");
#endif

#endif

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

#include <linux/ioctl.h>
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

/*
 * /dev/pfs_fastpath: regions between processes that are no relatives
 *
 * The module offers a fixed number of channels, /dev/pfs_fastpath, /dev/pfs_fastpath1,
 * /dev/pfs_fastpath2 and so on (module parameter channels). Two processes meet by opening the
 * same one. A channel has one region or none:
 *
 *	empty --SETUP--> ready --RESET--> empty
 *
 * Usual course, for each side, on one file opened O_RDWR | O_CLOEXEC:
 *
 *	PFS_FP_IOC_SETUP	one side; EEXIST tells that the other was first, which is as good
 *	PFS_FP_IOC_ATTACH	claims the side's role; EBUSY tells that somebody has it
 *	PFS_FP_IOC_INFO		tells map_bytes
 *	mmap			map_bytes at offset 0, MAP_SHARED, PROT_READ | PROT_WRITE
 *	use the ring; go to sleep with poll, wake with PFS_FP_IOC_DOORBELL
 *	munmap and close	gives the role back, as the end of the process does
 *
 * Binding: the first SETUP, ATTACH or mmap that succeeds on an open file binds that file to the
 * region that the channel has then. It stays bound until it is closed, and gets ESTALE once the
 * region has been reset: it never meets the next region by accident.
 *
 * Roles: a role is held by an open file (all descriptors that dup, fork or a socket made of
 * it), by one at a time, from ATTACH until the file is closed everywhere *and* its mappings are
 * gone; the kernel does both when a process ends, however it ends. One file may hold both
 * roles. The region and what is in it stay; the next holder carries on where the ring stands.
 *
 * Mappings: a mapping that can be written needs a role. Without one, or with a file opened
 * O_RDONLY, mapping is for looking only. A mapping keeps the region's memory until it is gone,
 * whatever happens to file, channel and module meanwhile. It does not grow with mremap, may be
 * moved and partly unmapped, and is not inherited by fork. The module cannot be unloaded while
 * a file is open or a mapping is left.
 *
 * Sleeping: futexes do not work in this memory. A consumer that finds nothing stores 1 into
 * consumer_sleeps, issues a full fence, looks at the ring again, and calls poll for POLLIN,
 * which is there as soon as consumer_sleeps is not 1. A producer that published issues a full
 * fence, looks at consumer_sleeps, and if it is 1 stores 0 and calls PFS_FP_IOC_DOORBELL with
 * PFS_FP_ROLE_CONSUMER. A producer without space does the same with producer_sleeps and
 * POLLOUT. A sleeper that wakes stores 0 into its word, too. Wake-ups for nothing happen.
 * Whoever writes nonsense into these words causes wake-ups for nothing or a sleep that lasts to
 * its timeout, nothing else.
 *
 * poll tells, of the roles that the file holds:
 *
 *	POLLIN		consumer: consumer_sleeps is not 1
 *	POLLOUT		producer: producer_sleeps is not 1
 *	POLLRDHUP	(only if asked for) the file holds one role, and no file holds the other
 *	POLLHUP		the file's region has been reset
 *	POLLERR		the file holds no role
 *
 * A file may be given to poll, select and epoll at any time, also before it is bound: ATTACH wakes
 * whoever waits for it.
 *
 * The byte-range locks by which the user-space library claims its roles work on the device as
 * on any file; the module neither needs nor notices them.
 *
 * Accounting: a region's memory counts against the module's max_total_bytes and is charged to the
 * memory cgroup of the caller of SETUP and, unless that has CAP_IPC_LOCK, to the locked memory of
 * its user (RLIMIT_MEMLOCK), until the region is freed. Pages of it that a pipe (vmsplice), a
 * direct transfer or a debugger holds at that time stay until these let go of them; they remain
 * charged to the memory cgroup, but no longer to the two limits.
 *
 * Trust: whoever may open the device can map the region for reading, see all that passes, claim a
 * free role, and RESET by force. Roles exclude mistakes, and no attackers: a mapping that can be
 * written needs an open file with a role, so two open files at most have such mappings; but a file
 * may be passed on, and a mapping inherited with MADV_DOFORK, so that more processes can write. The
 * memory lies between users who trust each other; give others a device of their own.
 *
 * The module reads two words of a region after SETUP, the sleepers', and decides nothing
 * with them but whether poll has something to tell.
 *
 * Who may call: whoever may open the device, mode 0660; the udev rule gives it the group
 * packetfs. SETUP, ATTACH, RESET and DOORBELL need a file opened for reading and writing, INFO
 * any. All may be called from any thread at any time.
 *
 * errno, for all calls: EFAULT the argument cannot be read or written; ENOTTY no such ioctl;
 * EBADF not opened for reading and writing; ESTALE the region to which this file is bound has
 * been reset: close it and open anew; EINTR a fatal signal came. In addition each call tells
 * its own below.
 */

/*
 * PFS_FP_IOC_SETUP: makes the channel's region, all zero but for the header, with an empty
 * ring.
 *
 *	EINVAL	slots is no power of two, ring_bytes is too small for header and slots, or flags has
 *		an unknown bit
 *	EFBIG	slots is above the module's max_slots, or ring_bytes above its max_region_bytes
 *	EEXIST	the channel has a region already; the file is not bound to it by this
 *	ENOSPC	all regions together would exceed the module's max_total_bytes
 *	ENOBUFS	the caller's user would have more memory locked than RLIMIT_MEMLOCK allows; not with
 *		CAP_IPC_LOCK
 *	ENOMEM	no memory, or the limit of the caller's memory cgroup, which pays
 *
 * While one process is in SETUP, others that call it on the same channel wait for the end of that.
 *
 * PFS_FP_SETUP_TRANSIENT: the region is taken from the channel, as by RESET, when the last file
 * that is bound to it is closed and its mappings are gone. Without it the region stays until RESET
 * or until the module is unloaded. Modules that do not know the flag refuse it with EINVAL.
 */
#define PFS_FP_SETUP_TRANSIENT 1U /* the region goes with the last file */

struct pfs_fp_setup {
	__u64 ring_bytes; /* header, slots and slab together; what is left over is slab */
	__u32 slots;	  /* number of slots, a power of two */
	__u32 flags;	  /* PFS_FP_SETUP_* */
};

/*
 * PFS_FP_IOC_RESET: takes the region from the channel, which is empty then. Its argument points
 * to flags. Memory is freed with the last mapping.
 *
 *	EINVAL	unknown flags
 *	ENXIO	the channel has no region
 *	EBUSY	the region is mapped, or a file (be it this one) holds a role; not with
 *		PFS_FP_RESET_FORCE
 *
 * A file that is bound to the region that is reset gets ESTALE and POLLHUP from then on, even
 * the caller's. Mappings stay as they are: the two sides can go on, unnoticed by the channel.
 */
#define PFS_FP_RESET_FORCE 1U /* reset it although it is in use */

/*
 * PFS_FP_IOC_ATTACH: claims the role to which its argument points.
 *
 *	EINVAL	not exactly one role
 *	ENXIO	the channel has no region
 *	EBUSY	another file holds the role
 *	EALREADY this file holds it
 */
#define PFS_FP_ROLE_PRODUCER 1U
#define PFS_FP_ROLE_CONSUMER 2U

/*
 * PFS_FP_IOC_DOORBELL: wakes the holder of the role to which its argument points out of poll.
 * The ringer has stored 0 into that side's word before.
 *
 *	EINVAL	not exactly one role
 *	EPERM	this file does not hold the other role
 *
 * It is no error if nobody sleeps or nobody holds that role.
 */

/*
 * PFS_FP_IOC_INFO: tells about the channel's region, or, with a file that is bound, about the
 * one to which it is bound. It never fails with ESTALE; PFS_FP_INFO_STALE tells. Without a
 * region all but the limits and the channel are 0.
 */
#define PFS_FP_INFO_READY 1U	 /* there is a region */
#define PFS_FP_INFO_BOUND 2U	 /* and this file is bound to it */
#define PFS_FP_INFO_STALE 4U	 /* and it has been reset */
#define PFS_FP_INFO_TRANSIENT 8U /* it goes with the last file that is bound to it */

struct pfs_fp_info {
	__u32 version;		/* PFS_FP_VERSION of the module */
	__u32 flags;		/* PFS_FP_INFO_* */
	__u32 channel;		/* 0 for /dev/pfs_fastpath, n for /dev/pfs_fastpathn */
	__u32 slots;		/* of the region */
	__u32 roles_held;	/* PFS_FP_ROLE_*: roles that some file holds */
	__u32 roles_mine;	/* PFS_FP_ROLE_*: roles that this file holds */
	__u32 mappings;		/* of the region, in all processes */
	__u32 max_slots;	/* limit for SETUP */
	__u64 map_bytes;	/* region_bytes rounded up to pages: what mmap takes at most */
	__u64 region_bytes;	/* as in the header */
	__u64 data_offset;	/* as in the header */
	__u64 slab_bytes;	/* as in the header */
	__u64 generation;	/* counts the channel's regions from 1 on */
	__u64 max_region_bytes; /* limit for SETUP */
	__u64 max_total_bytes;	/* limit for all regions together */
	__u64 total_bytes;	/* what all regions take now, in whole pages */
};

/*
 * mmap: maps part of the region or all of it. Offset and length count from the start of the
 * region.
 *
 *	EINVAL	the range ends behind map_bytes, or MAP_PRIVATE
 *	ENXIO	the channel has no region
 *	EACCES	PROT_WRITE without a role or without O_RDWR, or PROT_EXEC
 *
 * mprotect gives EACCES for what mmap would have refused, mremap EFAULT for growth.
 */

/* An enumeration, as Swift imports its constants and not the expressions of macros. */
enum pfs_fp_ioc {
	PFS_FP_IOC_SETUP = _IOW(0xD7, 0x00, struct pfs_fp_setup),
	PFS_FP_IOC_RESET = _IOW(0xD7, 0x01, __u32),
	PFS_FP_IOC_ATTACH = _IOW(0xD7, 0x02, __u32),
	PFS_FP_IOC_DOORBELL = _IOW(0xD7, 0x03, __u32),
	PFS_FP_IOC_INFO = _IOR(0xD7, 0x04, struct pfs_fp_info),
};

#ifndef __cplusplus
_Static_assert(sizeof(struct pfs_fp_setup) == 16, "no implicit padding");
_Static_assert(sizeof(struct pfs_fp_info) == 96, "no implicit padding");
_Static_assert(__builtin_offsetof(struct pfs_fp_info, map_bytes) == 32, "no implicit padding");
#endif

#endif

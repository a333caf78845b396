/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR MIT) */
/*
 * /dev/pfs_ringpeek: a read-only window into the memory-mapped registers of a network card.
 *
 * Usual course, on a file opened O_RDONLY:
 *
 *	PFS_RP_IOC_SELECT	chooses the PCI device; needless if the module parameter bdf did
 *	PFS_RP_IOC_SET_WINDOW	chooses a range of one of its BARs
 *	PFS_RP_IOC_GET_INFO	tells about both
 *	pread, or lseek and read	offset 0 is the start of the window
 *
 * Registers are read 32 bits at a time, each once per read call and in rising order, and arrive as
 * __u32 in host byte order. A read at the end of the window gives 0. A read returns less than was
 * asked for at the end of the window, after PFS_RP_READ_MAX bytes, or if a signal or an error comes
 * in between, which the next read then tells. Nothing can be written, and mmap is refused (ENODEV).
 *
 * Reading a register may change the device: interrupt causes and statistics are often cleared
 * by it. The module therefore knows, for some devices, ranges of registers that are known to
 * be free of side effects, and lets a window lie anywhere else only with PFS_RP_WINDOW_UNSAFE.
 *
 * A read wakes a device that sleeps, and keeps it awake meanwhile. It reads whether or not a driver
 * is bound to the device and has claimed its memory. CONFIG_IO_STRICT_DEVMEM, which keeps user
 * space from mapping such memory through /dev/mem and sysfs, does not apply here. Virtual
 * functions are devices as any other.
 *
 * The choice belongs to the open file. A file holds a reference to its device: when the device
 * is removed the reads fail with ENODEV, and nothing else happens. Unbinding and binding
 * drivers does not matter.
 *
 * Who may call: open and every call need CAP_SYS_RAWIO, and fail with EPERM where kernel
 * lockdown forbids access to PCI devices. Any thread, at any time.
 *
 * errno, for all calls: EFAULT the argument cannot be read or written; ENOTTY no such ioctl;
 * EPERM no CAP_SYS_RAWIO, or lockdown; EINTR a signal came while another thread used the file. In
 * addition each call tells its own below.
 */
#ifndef PFS_RINGPEEK_H
#define PFS_RINGPEEK_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Most bytes of a window, and most bytes that one read returns. */
#define PFS_RP_WINDOW_MAX 0x100000U
#define PFS_RP_READ_MAX 4096U
/* BARs of a PCI device. */
#define PFS_RP_BARS 6

/*
 * PFS_RP_IOC_SELECT: chooses a device. The window of the former choice, if any, is gone.
 *
 *	EINVAL	device above 31, function above 7, or reserved is not 0
 *	ENODEV	there is no such device
 */
struct pfs_rp_select {
	__u32 domain;
	__u8 bus;
	__u8 device;   /* 0 to 31 */
	__u8 function; /* 0 to 7 */
	__u8 reserved; /* 0 */
};

/*
 * PFS_RP_IOC_SET_WINDOW: chooses a range of registers, and sets the file's position to 0.
 *
 *	EINVAL	bar above 5; unknown flags; offset or length no multiple of 4; length 0 or above
 *		PFS_RP_WINDOW_MAX
 *	ENXIO	no device is selected
 *	ENODEV	it has been removed, or it has no such BAR, or the BAR has no address
 *	EOPNOTSUPP the BAR is one of I/O ports
 *	ERANGE	the range ends behind the BAR
 *	EACCES	the range is not known to be free of side effects, and the flag
 *		PFS_RP_WINDOW_UNSAFE is not set
 *
 * A refused window leaves the former one as it was.
 */
#define PFS_RP_WINDOW_UNSAFE 1U /* reading may change the device, and that is wanted */

struct pfs_rp_window {
	__u32 bar;    /* 0 to 5 */
	__u32 flags;  /* PFS_RP_WINDOW_* */
	__u64 offset; /* in the BAR, in bytes, a multiple of 4 */
	__u64 length; /* in bytes, a multiple of 4, 0 in GET_INFO: no window */
};

/*
 * PFS_RP_IOC_GET_INFO: tells what is selected. ENXIO if nothing is. Works on a removed device.
 */
#define PFS_RP_INFO_GONE 1U   /* the device has been removed */
#define PFS_RP_INFO_DRIVER 2U /* a driver is bound to it */
#define PFS_RP_INFO_KNOWN 4U  /* the module knows ranges of it that are safe to read */

#define PFS_RP_BAR_IO 1U /* I/O ports: cannot be read here */

struct pfs_rp_info {
	__u32 flags;  /* PFS_RP_INFO_* */
	__u32 domain; /* the device's address */
	__u8 bus;
	__u8 device;
	__u8 function;
	__u8 revision;
	__u16 vendor_id;
	__u16 device_id;
	__u16 subsystem_vendor_id;
	__u16 subsystem_id;
	__u32 class_code;	      /* base class, subclass, interface: 24 bits */
	__u64 bar_bytes[PFS_RP_BARS]; /* 0: there is no such BAR, or it has no address */
	__u32 bar_flags[PFS_RP_BARS]; /* PFS_RP_BAR_* */
	struct pfs_rp_window window;  /* length 0: none yet */
};

/*
 * lseek: SEEK_SET, SEEK_CUR and SEEK_END as in a file as long as the window. ENXIO without one.
 *
 * read:
 *	EINVAL	position or length no multiple of 4
 *	ENXIO	no device is selected, or no window is set
 *	ENODEV	the device has been removed
 *	ESTALE	its BAR has been moved or resized since: set the window again
 *	EIO	it does not decode memory now: no driver has enabled it, or it cannot be woken
 *	EBUSY	others have had the device locked for 10 s, or its memory is mapped in a way that
 *		excludes this one
 *	EINTR	a signal came before the first register was read
 */

/* An enumeration, as Swift imports its constants and not the expressions of macros. */
enum pfs_rp_ioc {
	PFS_RP_IOC_SELECT = _IOW(0xD7, 0x20, struct pfs_rp_select),
	PFS_RP_IOC_SET_WINDOW = _IOW(0xD7, 0x21, struct pfs_rp_window),
	PFS_RP_IOC_GET_INFO = _IOR(0xD7, 0x22, struct pfs_rp_info),
};

#ifndef __cplusplus
_Static_assert(sizeof(struct pfs_rp_select) == 8, "no implicit padding");
_Static_assert(sizeof(struct pfs_rp_window) == 24, "no implicit padding");
_Static_assert(sizeof(struct pfs_rp_info) == 120, "no implicit padding");
_Static_assert(__builtin_offsetof(struct pfs_rp_info, bar_bytes) == 24, "no implicit padding");
_Static_assert(__builtin_offsetof(struct pfs_rp_info, window) == 96, "no implicit padding");
#endif

#endif

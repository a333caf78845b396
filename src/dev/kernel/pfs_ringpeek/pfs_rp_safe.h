/* SPDX-License-Identifier: GPL-2.0 */
/* Which registers are safe to read: a table and two questions to it, so that KUnit can try them. */
#ifndef PFS_RP_SAFE_H
#define PFS_RP_SAFE_H

#include <linux/kernel.h>
#include <linux/pci_ids.h>
#include <linux/types.h>

#include "pfs_ringpeek.h"

/*
 * Registers that can be read without changing anything, as far as their documentation says: the
 * descriptor rings and what stands around them. Counters and interrupt causes are left out.
 */
static const struct pfs_rp_safe {
	u16 vendor;
	u16 device;
	u8 revision; /* and newer */
	u32 bar;
	u64 start;
	u64 end;
} pfs_rp_safe[] = {
	/*
	 * RTL8139C+: all but the interrupt mask and status at 0x3c and 0x3e, of which reading the
	 * latter clears causes on some cards, and the counters at 0x6c, 0x6e and 0x72, which are
	 * cleared by reading. Before revision 0x20 there is no C+ mode.
	 */
	{ PCI_VENDOR_ID_REALTEK, 0x8139, 0x20, 1, 0x00, 0x3c },
	{ PCI_VENDOR_ID_REALTEK, 0x8139, 0x20, 1, 0x40, 0x60 },
	{ PCI_VENDOR_ID_REALTEK, 0x8139, 0x20, 1, 0xe0, 0xec },
	/* RTL8168, RTL8169 and their kin: the same registers, in BAR 2 or 1. */
	{ PCI_VENDOR_ID_REALTEK, 0x8168, 0, 2, 0x00, 0x3c },
	{ PCI_VENDOR_ID_REALTEK, 0x8168, 0, 2, 0x40, 0x60 },
	{ PCI_VENDOR_ID_REALTEK, 0x8168, 0, 2, 0xe0, 0xec },
	{ PCI_VENDOR_ID_REALTEK, 0x8169, 0, 1, 0x00, 0x3c },
	{ PCI_VENDOR_ID_REALTEK, 0x8169, 0, 1, 0x40, 0x60 },
	{ PCI_VENDOR_ID_REALTEK, 0x8169, 0, 1, 0xe0, 0xec },
	/* 82540EM, 82574L: receive and transmit rings, two queues. */
	{ PCI_VENDOR_ID_INTEL, 0x100e, 0, 0, 0x2800, 0x2a00 },
	{ PCI_VENDOR_ID_INTEL, 0x100e, 0, 0, 0x3800, 0x3a00 },
	{ PCI_VENDOR_ID_INTEL, 0x10d3, 0, 0, 0x2800, 0x2a00 },
	{ PCI_VENDOR_ID_INTEL, 0x10d3, 0, 0, 0x3800, 0x3a00 },
};

static inline bool pfs_rp_entry_is_for(const struct pfs_rp_safe *safe, u16 vendor, u16 device,
				       u8 revision)
{
	return safe->vendor == vendor && safe->device == device && safe->revision <= revision;
}

/* Whether the window, which lies within its BAR, is one of registers that are safe to read. */
static inline bool pfs_rp_is_safe(u16 vendor, u16 device, u8 revision,
				  const struct pfs_rp_window *window)
{
	const struct pfs_rp_safe *safe;

	for (safe = pfs_rp_safe; safe < pfs_rp_safe + ARRAY_SIZE(pfs_rp_safe); safe++)
		if (pfs_rp_entry_is_for(safe, vendor, device, revision) &&
		    safe->bar == window->bar && window->offset >= safe->start &&
		    window->offset < safe->end && window->length <= safe->end - window->offset)
			return true;
	return false;
}

/* Whether any of the device's registers are known to be safe. */
static inline bool pfs_rp_is_known(u16 vendor, u16 device, u8 revision)
{
	const struct pfs_rp_safe *safe;

	for (safe = pfs_rp_safe; safe < pfs_rp_safe + ARRAY_SIZE(pfs_rp_safe); safe++)
		if (pfs_rp_entry_is_for(safe, vendor, device, revision))
			return true;
	return false;
}

#endif

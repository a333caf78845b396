/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the peeking modules share: finding a PCI device by its address, and reading registers of a
 * device that may be unbound, put to sleep or removed at any time.
 */
#ifndef PFS_PCI_H
#define PFS_PCI_H

#include <linux/delay.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/sched/signal.h>
#include <linux/security.h>

#include "pfs_bdf.h"

/* The device there, with a reference for the caller, or NULL. */
static inline struct pci_dev *pfs_pci_find(const struct pfs_bdf *bdf)
{
	return pci_get_domain_bus_and_slot(bdf->domain, bdf->bus,
					   PCI_DEVFN(bdf->device, bdf->function));
}

/* A BAR as it was when it was chosen. */
struct pfs_bar {
	int index;
	resource_size_t start;
	resource_size_t length; /* 0: there is none, or it has no address */
};

/* The BAR as it is now. Returns its resource's flags. */
static inline unsigned long pfs_bar_get(struct pci_dev *pdev, int index, struct pfs_bar *bar)
{
	unsigned long flags = pci_resource_flags(pdev, index);

	*bar = (struct pfs_bar){ .index = index };
	if (!(flags & (IORESOURCE_UNSET | IORESOURCE_DISABLED))) {
		bar->start = pci_resource_start(pdev, index);
		bar->length = pci_resource_len(pdev, index);
	}
	return flags;
}

/* Registers that are read under one hold of the locks, which all hot-plugging shares. */
#define PFS_BAR_CHUNK 64U
/* For how long the device may be locked by others before a read gives up. */
#define PFS_PCI_PATIENCE_MS 10000U

/*
 * Excludes everything that takes the device's memory away: under the first lock the PCI core
 * removes devices and moves BARs; under the second, the device's own, drivers are bound, the device
 * is reset, changes its power state, resizes BARs, or gives up its virtual functions. The second is
 * only tried, as the writer of sriov_numvfs holds it when he asks for the first.
 *
 * Returns 0; -ERESTARTSYS: a signal came; -EBUSY: others have held the device's lock all the time.
 */
static inline int pfs_pci_lock(struct pci_dev *pdev)
{
	unsigned int waited = 0, pause = 1;

	for (;;) {
		pci_lock_rescan_remove();
		if (pci_dev_trylock(pdev))
			return 0;
		pci_unlock_rescan_remove();
		if (signal_pending(current))
			return -ERESTARTSYS;
		if (waited >= PFS_PCI_PATIENCE_MS)
			return -EBUSY;
		msleep_interruptible(pause);
		waited += pause;
		pause = min(2 * pause, 64U);
	}
}

static inline void pfs_pci_unlock(struct pci_dev *pdev)
{
	pci_dev_unlock(pdev);
	pci_unlock_rescan_remove();
}

/* Whether the device answers where the BAR says. Under pfs_pci_lock(). */
static inline int pfs_bar_check(struct pci_dev *pdev, const struct pfs_bar *bar)
{
	struct pci_dev *physical = pci_physfn(pdev);
	struct pfs_bar now;
	u16 command;

	if (!device_is_registered(&pdev->dev))
		return -ENODEV;
	pfs_bar_get(pdev, bar->index, &now);
	if (now.start != bar->start || now.length != bar->length)
		return -ESTALE;
	if (pci_read_config_word(pdev, PCI_COMMAND, &command) || command == 0xffff)
		return -EIO;
	/* Virtual functions have no such bit: they decode memory as long as they exist. */
	if (!pdev->no_command_memory && !(command & PCI_COMMAND_MEMORY))
		return -EIO;
	if ((pdev->current_state != PCI_D0 && pdev->current_state != PCI_UNKNOWN) ||
	    (physical->current_state != PCI_D0 && physical->current_state != PCI_UNKNOWN))
		return -EIO;
	return 0;
}

/*
 * Reads count 32-bit registers from offset on, in rising order. The caller has checked the range
 * against bar->length, holds a reference to the device, and may sleep. A device that sleeps is
 * woken, as by any user of it.
 *
 * While pfs_pci_lock() is held the addresses belong to this device; before, anything may have
 * happened, hence the checks. So no mapping has to be kept, and none can outlive its device. Locks
 * that all hot-plugging shares would be too much for a driver; they are right for somebody who
 * looks now and then, and are given back between chunks.
 *
 * Returns how many registers were read, which are fewer than count if something came in between, or
 * an error before the first. -ENODEV: the device has been removed; -ESTALE: the BAR is not what it
 * was; -EIO: the device does not decode memory or cannot be woken; -EBUSY: others have the device
 * locked, or its memory is mapped in a way that excludes this one; -ERESTARTSYS: a signal came;
 * -EPERM: lockdown.
 */
static inline int pfs_bar_read(struct pci_dev *pdev, const struct pfs_bar *bar,
			       resource_size_t offset, u32 *values, unsigned int count)
{
	unsigned int done = 0, chunk, i;
	void __iomem *base;
	int ret;

	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		return ret;
	if (pm_runtime_resume_and_get(&pdev->dev) < 0)
		return device_is_registered(&pdev->dev) ? -EIO : -ENODEV;
	while (done < count && !ret) {
		if (done > 0 && signal_pending(current))
			break;
		ret = pfs_pci_lock(pdev);
		if (ret)
			break;
		ret = pfs_bar_check(pdev, bar);
		if (!ret) {
			chunk = min(count - done, PFS_BAR_CHUNK);
			base = ioremap(bar->start + offset + 4UL * done, 4UL * chunk);
			if (base) {
				for (i = 0; i < chunk; i++)
					values[done + i] = readl(base + 4UL * i);
				iounmap(base);
				done += chunk;
			} else {
				ret = -EBUSY;
			}
		}
		pfs_pci_unlock(pdev);
		cond_resched();
	}
	pm_runtime_put(&pdev->dev);
	return done ?: ret;
}

#endif

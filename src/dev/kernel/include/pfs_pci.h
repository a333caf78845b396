/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the peeking modules share: finding a PCI device by its address, and reading registers of a
 * device that may be unbound, put to sleep or removed at any time.
 */
#ifndef PFS_PCI_H
#define PFS_PCI_H

#include <linux/device.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/security.h>

struct pfs_bdf {
	unsigned int domain;
	unsigned int bus;
	unsigned int device;
	unsigned int function;
};

/* Reads `dddd:bb:dd.f` or `bb:dd.f`, all hexadecimal, and nothing behind it. */
static inline int pfs_bdf_parse(const char *text, struct pfs_bdf *bdf)
{
	int end = 0;

	if (sscanf(text, "%x:%x:%x.%x%n", &bdf->domain, &bdf->bus, &bdf->device, &bdf->function,
		   &end) != 4) {
		/* Not before: what it could read before it gave up is left in there. */
		bdf->domain = 0;
		if (sscanf(text, "%x:%x.%x%n", &bdf->bus, &bdf->device, &bdf->function, &end) != 3)
			return -EINVAL;
	}
	if (text[end] || bdf->domain > INT_MAX || bdf->bus > 0xff || bdf->device > 0x1f ||
	    bdf->function > 7)
		return -EINVAL;
	return 0;
}

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
	resource_size_t length;
};

/*
 * Reads count 32-bit registers from offset on, in rising order. The caller has checked the range
 * against bar->length, holds a reference to the device, and may sleep.
 *
 * The PCI core removes devices, and moves their BARs, under the lock taken here. While it is held
 * the addresses belong to this device; before it was taken, anything may have happened, hence the
 * checks. So no mapping has to be kept, and none can outlive its device. A lock that all
 * hot-plugging shares would be too much for a driver; it is right for somebody who looks now and
 * then.
 *
 * Returns 0; -ENODEV: the device has been removed; -ESTALE: the BAR is not what it was; -EIO: the
 * device does not decode memory or sleeps; -ENOMEM: no mapping; -EPERM: lockdown.
 */
static inline int pfs_bar_read(struct pci_dev *pdev, const struct pfs_bar *bar,
			       resource_size_t offset, u32 *values, unsigned int count)
{
	void __iomem *base = NULL;
	unsigned int i;
	u16 command;
	int ret;

	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		return ret;
	if (pm_runtime_resume_and_get(&pdev->dev) < 0)
		return device_is_registered(&pdev->dev) ? -EIO : -ENODEV;
	pci_lock_rescan_remove();
	if (!device_is_registered(&pdev->dev))
		ret = -ENODEV;
	else if (pci_resource_start(pdev, bar->index) != bar->start ||
		 pci_resource_len(pdev, bar->index) != bar->length)
		ret = -ESTALE;
	else if (pci_read_config_word(pdev, PCI_COMMAND, &command) || command == 0xffff ||
		 !(command & PCI_COMMAND_MEMORY) ||
		 (pdev->current_state != PCI_D0 && pdev->current_state != PCI_UNKNOWN))
		ret = -EIO;
	else
		base = ioremap(bar->start + offset, 4UL * count);
	if (base) {
		for (i = 0; i < count; i++)
			values[i] = readl(base + 4UL * i);
		iounmap(base);
	} else if (!ret) {
		ret = -ENOMEM;
	}
	pci_unlock_rescan_remove();
	pm_runtime_put(&pdev->dev);
	return ret;
}

#endif

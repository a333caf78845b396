// SPDX-License-Identifier: GPL-2.0
/*
 * r816x_peek: where an RTL816x, or an RTL8139 in C+ mode, has its descriptor rings.
 *
 * Reads TNPDS (transmit ring, normal priority) and RDSAR (receive ring), and nothing else; both are
 * free of side effects. Tells them at each reading of /sys/kernel/debug/r816x_peek/DDDD:BB:DD.F,
 * and not in the log, which more users may read. It is no driver: whatever drives the card goes on.
 * Before a driver has set the card up the addresses are 0; after it let go they are out of date.
 *
 * Devices that are plugged in after the module was loaded are not seen.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "pfs_pci.h"

/* Each is 64 bits in two registers, the low half first. */
#define R816X_TNPDS 0x20
#define R816X_RDSAR 0xe4
/* What the registers take at least; a BAR that is smaller is something else. */
#define R816X_BYTES 0x100

static char *bdf;
module_param(bdf, charp, 0444);
MODULE_PARM_DESC(bdf, "Look at this device only, as dddd:bb:dd.f (default: at all that are known)");

static bool force;
module_param(force, bool, 0444);
MODULE_PARM_DESC(force, "Look at the device given by bdf even if it is not known");

static const struct pci_device_id r816x_ids[] = { { PCI_DEVICE(PCI_VENDOR_ID_REALTEK, 0x8125) },
						  { PCI_DEVICE(PCI_VENDOR_ID_REALTEK, 0x8136) },
						  { PCI_DEVICE(PCI_VENDOR_ID_REALTEK, 0x8139) },
						  { PCI_DEVICE(PCI_VENDOR_ID_REALTEK, 0x8161) },
						  { PCI_DEVICE(PCI_VENDOR_ID_REALTEK, 0x8167) },
						  { PCI_DEVICE(PCI_VENDOR_ID_REALTEK, 0x8168) },
						  { PCI_DEVICE(PCI_VENDOR_ID_REALTEK, 0x8169) },
						  {} };

struct r816x {
	struct list_head node;
	struct pci_dev *pdev; /* holds a reference */
	struct pfs_bar bar;
};

static LIST_HEAD(r816x_devices);
static struct dentry *r816x_dir;

static bool r816x_known(struct pci_dev *pdev)
{
	if (!pci_match_id(r816x_ids, pdev))
		return false;
	/* Before revision 0x20 the RTL8139 has no C+ mode, and other things at these places. */
	return pdev->device != 0x8139 || pdev->revision >= 0x20;
}

/* Takes BAR 2, else 1, else 0: the first that is memory and large enough. */
static int r816x_choose_bar(struct pci_dev *pdev, struct pfs_bar *bar)
{
	unsigned long flags;
	int i;

	for (i = 2; i >= 0; i--) {
		flags = pfs_bar_get(pdev, i, bar);
		if ((flags & IORESOURCE_MEM) && bar->length >= R816X_BYTES)
			return 0;
	}
	return -ENODEV;
}

static int r816x_read(struct r816x *device, u64 *tnpds, u64 *rdsar)
{
	u32 halves[2];
	int ret;

	ret = pfs_bar_read(device->pdev, &device->bar, R816X_TNPDS, halves, 2);
	if (ret < 0)
		return ret;
	*tnpds = (u64)halves[1] << 32 | halves[0];
	ret = pfs_bar_read(device->pdev, &device->bar, R816X_RDSAR, halves, 2);
	if (ret < 0)
		return ret;
	*rdsar = (u64)halves[1] << 32 | halves[0];
	return 0;
}

static int r816x_show(struct seq_file *seq, void *unused)
{
	struct r816x *device = seq->private;
	u64 tnpds, rdsar;
	int ret;

	ret = r816x_read(device, &tnpds, &rdsar);
	if (ret)
		return ret;
	seq_printf(seq, "device %s\n", pci_name(device->pdev));
	seq_printf(seq, "id %04x:%04x\n", device->pdev->vendor, device->pdev->device);
	seq_printf(seq, "revision 0x%02x\n", device->pdev->revision);
	seq_printf(seq, "bar %d\n", device->bar.index);
	seq_printf(seq, "tnpds 0x%016llx\n", tnpds);
	seq_printf(seq, "rdsar 0x%016llx\n", rdsar);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(r816x);

/* Takes over the caller's reference to pdev. */
static int r816x_add(struct pci_dev *pdev)
{
	struct r816x *device;
	u64 tnpds, rdsar;
	int ret = -ENOMEM;

	device = kzalloc(sizeof(*device), GFP_KERNEL);
	if (!device)
		goto put;
	device->pdev = pdev;
	ret = r816x_choose_bar(pdev, &device->bar);
	if (ret) {
		pci_err(pdev, "no memory BAR holds the registers\n");
		goto free;
	}
	list_add_tail(&device->node, &r816x_devices);
	debugfs_create_file(pci_name(pdev), 0400, r816x_dir, device, &r816x_fops);
	ret = r816x_read(device, &tnpds, &rdsar);
	if (ret)
		pci_warn(pdev, "cannot be read now: %d\n", ret);
	else
		pci_info(pdev, "BAR %d can be read in debugfs\n", device->bar.index);
	return 0;
free:
	kfree(device);
put:
	pci_dev_put(pdev);
	return ret;
}

static int r816x_add_one(void)
{
	struct pci_dev *pdev;
	struct pfs_bdf at;

	if (pfs_bdf_parse(bdf, &at)) {
		pr_err("bdf=%s is no PCI address as 0000:03:00.0\n", bdf);
		return -EINVAL;
	}
	pdev = pfs_pci_find(&at);
	if (!pdev) {
		pr_err("there is no device at %s\n", bdf);
		return -ENODEV;
	}
	if (!force && !r816x_known(pdev)) {
		pci_err(pdev, "is %04x:%04x, which is not known to have these registers\n",
			pdev->vendor, pdev->device);
		pci_dev_put(pdev);
		return -ENODEV;
	}
	return r816x_add(pdev);
}

static void r816x_remove(void)
{
	struct r816x *device, *next;

	/* Waits for readers. */
	debugfs_remove(r816x_dir);
	list_for_each_entry_safe(device, next, &r816x_devices, node) {
		pci_dev_put(device->pdev);
		kfree(device);
	}
}

static int __init r816x_init(void)
{
	struct pci_dev *pdev = NULL;
	int ret = 0;

	r816x_dir = debugfs_create_dir("r816x_peek", NULL);
	if (bdf) {
		ret = r816x_add_one();
	} else {
		for_each_pci_dev(pdev)
			if (r816x_known(pdev))
				r816x_add(pci_dev_get(pdev));
		if (list_empty(&r816x_devices)) {
			pr_err("there is no device that is known to have these registers\n");
			ret = -ENODEV;
		}
	}
	if (ret)
		r816x_remove();
	return ret;
}
module_init(r816x_init);

static void __exit r816x_exit(void)
{
	r816x_remove();
}
module_exit(r816x_exit);

MODULE_DESCRIPTION("PacketFS: ring addresses of RTL816x network cards");
MODULE_AUTHOR("The PacketFS authors");
MODULE_LICENSE("GPL");

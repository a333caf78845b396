// SPDX-License-Identifier: GPL-2.0
/*
 * pfs_ringpeek: a read-only window into the registers of a PCI network card, /dev/pfs_ringpeek.
 *
 * What user space sees is described in pfs_ringpeek.h. Each open file has its own device and
 * window, guarded by its own mutex; user memory is only touched outside it. Nothing is mapped
 * between two calls: see pfs_bar_read().
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "pfs_pci.h"
#include "pfs_ringpeek.h"

static char *bdf;
module_param(bdf, charp, 0444);
MODULE_PARM_DESC(bdf, "Device that a file has selected when it is opened, as dddd:bb:dd.f");

static struct pfs_bdf pfs_rp_default;

/*
 * Registers that can be read without changing anything, as far as their documentation says: the
 * descriptor rings and what stands around them. Counters and interrupt causes are left out.
 */
static const struct pfs_rp_safe {
	u16 vendor;
	u16 device;
	u32 bar;
	u64 start;
	u64 end;
} pfs_rp_safe[] = {
	/* RTL8139C+: all but the counters at 0x6c, 0x6e and 0x72, which are cleared by reading. */
	{ PCI_VENDOR_ID_REALTEK, 0x8139, 1, 0x00, 0x60 },
	{ PCI_VENDOR_ID_REALTEK, 0x8139, 1, 0xe0, 0xec },
	/* RTL8168, RTL8169 and their kin: the same registers, in BAR 2 or 1. */
	{ PCI_VENDOR_ID_REALTEK, 0x8168, 2, 0x00, 0x60 },
	{ PCI_VENDOR_ID_REALTEK, 0x8168, 2, 0xe0, 0xec },
	{ PCI_VENDOR_ID_REALTEK, 0x8169, 1, 0x00, 0x60 },
	{ PCI_VENDOR_ID_REALTEK, 0x8169, 1, 0xe0, 0xec },
	/* 82540EM, 82574L: receive and transmit rings, two queues. */
	{ PCI_VENDOR_ID_INTEL, 0x100e, 0, 0x2800, 0x2a00 },
	{ PCI_VENDOR_ID_INTEL, 0x100e, 0, 0x3800, 0x3a00 },
	{ PCI_VENDOR_ID_INTEL, 0x10d3, 0, 0x2800, 0x2a00 },
	{ PCI_VENDOR_ID_INTEL, 0x10d3, 0, 0x3800, 0x3a00 },
};

struct pfs_rp_file {
	struct mutex lock;	     /* everything below */
	struct pci_dev *pdev;	     /* NULL: none selected; holds a reference */
	struct pfs_rp_window window; /* length 0: none */
	struct pfs_bar bar;	     /* the window's */
};

static int pfs_rp_allowed(void)
{
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	return security_locked_down(LOCKDOWN_PCI_ACCESS);
}

static bool pfs_rp_is_safe(const struct pci_dev *pdev, const struct pfs_rp_window *window)
{
	const struct pfs_rp_safe *safe;

	for (safe = pfs_rp_safe; safe < pfs_rp_safe + ARRAY_SIZE(pfs_rp_safe); safe++)
		if (safe->vendor == pdev->vendor && safe->device == pdev->device &&
		    safe->bar == window->bar && window->offset >= safe->start &&
		    window->offset + window->length <= safe->end)
			return true;
	return false;
}

static bool pfs_rp_is_known(const struct pci_dev *pdev)
{
	const struct pfs_rp_safe *safe;

	for (safe = pfs_rp_safe; safe < pfs_rp_safe + ARRAY_SIZE(pfs_rp_safe); safe++)
		if (safe->vendor == pdev->vendor && safe->device == pdev->device)
			return true;
	return false;
}

static int pfs_rp_select(struct pfs_rp_file *file, const struct pfs_rp_select *select)
{
	struct pci_dev *pdev;

	if (select->device > 0x1f || select->function > 7 || select->reserved)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(select->domain, select->bus,
					   PCI_DEVFN(select->device, select->function));
	if (!pdev)
		return -ENODEV;
	pci_dev_put(file->pdev);
	file->pdev = pdev;
	memset(&file->window, 0, sizeof(file->window));
	return 0;
}

static int pfs_rp_set_window(struct pfs_rp_file *file, const struct pfs_rp_window *window)
{
	struct pci_dev *pdev = file->pdev;
	struct pfs_bar bar = { .index = window->bar };
	unsigned long flags;

	if (window->bar >= PFS_RP_BARS || (window->flags & ~PFS_RP_WINDOW_UNSAFE) ||
	    window->offset % 4 || window->length % 4 || window->length == 0 ||
	    window->length > PFS_RP_WINDOW_MAX)
		return -EINVAL;
	if (!pdev)
		return -ENXIO;

	pci_lock_rescan_remove();
	if (device_is_registered(&pdev->dev)) {
		bar.start = pci_resource_start(pdev, bar.index);
		bar.length = pci_resource_len(pdev, bar.index);
		flags = pci_resource_flags(pdev, bar.index);
	}
	pci_unlock_rescan_remove();

	if (bar.length == 0)
		return -ENODEV;
	if (!(flags & IORESOURCE_MEM))
		return -EOPNOTSUPP;
	if (window->offset > bar.length || window->length > bar.length - window->offset)
		return -ERANGE;
	if (!(window->flags & PFS_RP_WINDOW_UNSAFE) && !pfs_rp_is_safe(pdev, window))
		return -EACCES;
	file->window = *window;
	file->bar = bar;
	return 0;
}

static int pfs_rp_get_info(struct pfs_rp_file *file, struct pfs_rp_info *info)
{
	struct pci_dev *pdev = file->pdev;
	unsigned int i;

	if (!pdev)
		return -ENXIO;
	info->domain = pci_domain_nr(pdev->bus);
	info->bus = pdev->bus->number;
	info->device = PCI_SLOT(pdev->devfn);
	info->function = PCI_FUNC(pdev->devfn);
	info->revision = pdev->revision;
	info->vendor_id = pdev->vendor;
	info->device_id = pdev->device;
	info->subsystem_vendor_id = pdev->subsystem_vendor;
	info->subsystem_id = pdev->subsystem_device;
	info->class_code = pdev->class & 0xffffff;
	info->window = file->window;
	if (pfs_rp_is_known(pdev))
		info->flags |= PFS_RP_INFO_KNOWN;

	pci_lock_rescan_remove();
	if (device_is_registered(&pdev->dev)) {
		if (READ_ONCE(pdev->dev.driver))
			info->flags |= PFS_RP_INFO_DRIVER;
		for (i = 0; i < PFS_RP_BARS; i++) {
			info->bar_bytes[i] = pci_resource_len(pdev, i);
			if (pci_resource_flags(pdev, i) & IORESOURCE_IO)
				info->bar_flags[i] |= PFS_RP_BAR_IO;
		}
	} else {
		info->flags |= PFS_RP_INFO_GONE;
	}
	pci_unlock_rescan_remove();
	return 0;
}

static long pfs_rp_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct pfs_rp_file *file = filp->private_data;
	void __user *user = (void __user *)arg;
	struct pfs_rp_select select;
	struct pfs_rp_window window;
	struct pfs_rp_info info = {};
	int ret = pfs_rp_allowed();

	if (ret)
		return ret;
	switch (cmd) {
	case PFS_RP_IOC_SELECT:
		if (copy_from_user(&select, user, sizeof(select)))
			return -EFAULT;
		mutex_lock(&file->lock);
		ret = pfs_rp_select(file, &select);
		mutex_unlock(&file->lock);
		return ret;
	case PFS_RP_IOC_SET_WINDOW:
		if (copy_from_user(&window, user, sizeof(window)))
			return -EFAULT;
		mutex_lock(&file->lock);
		ret = pfs_rp_set_window(file, &window);
		if (!ret)
			filp->f_pos = 0;
		mutex_unlock(&file->lock);
		return ret;
	case PFS_RP_IOC_GET_INFO:
		mutex_lock(&file->lock);
		ret = pfs_rp_get_info(file, &info);
		mutex_unlock(&file->lock);
		if (!ret && copy_to_user(user, &info, sizeof(info)))
			ret = -EFAULT;
		return ret;
	default:
		return -ENOTTY;
	}
}

static ssize_t pfs_rp_read(struct file *filp, char __user *user, size_t length, loff_t *position)
{
	struct pfs_rp_file *file = filp->private_data;
	loff_t at = *position;
	u32 *values;
	int ret;

	ret = pfs_rp_allowed();
	if (ret)
		return ret;
	if (at < 0 || at % 4 || length % 4)
		return -EINVAL;
	length = min_t(size_t, length, PFS_RP_READ_MAX);
	values = kmalloc(PFS_RP_READ_MAX, GFP_KERNEL);
	if (!values)
		return -ENOMEM;

	if (mutex_lock_interruptible(&file->lock)) {
		ret = -ERESTARTSYS;
		goto out;
	}
	if (!file->pdev || file->window.length == 0)
		ret = -ENXIO;
	else if (at >= file->window.length)
		length = 0;
	else
		length = min_t(u64, length, file->window.length - at);
	if (!ret && length > 0)
		ret = pfs_bar_read(file->pdev, &file->bar, file->window.offset + at, values,
				   length / 4);
	mutex_unlock(&file->lock);

	if (!ret && copy_to_user(user, values, length))
		ret = -EFAULT;
	if (!ret)
		*position = at + length;
out:
	kfree(values);
	return ret ?: length;
}

static loff_t pfs_rp_llseek(struct file *filp, loff_t offset, int whence)
{
	struct pfs_rp_file *file = filp->private_data;
	loff_t ret = -ENXIO;

	mutex_lock(&file->lock);
	if (file->window.length > 0)
		ret = fixed_size_llseek(filp, offset, whence, file->window.length);
	mutex_unlock(&file->lock);
	return ret;
}

static int pfs_rp_open(struct inode *inode, struct file *filp)
{
	struct pfs_rp_file *file;
	int ret = pfs_rp_allowed();

	if (ret)
		return ret;
	file = kzalloc(sizeof(*file), GFP_KERNEL);
	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	if (bdf)
		file->pdev = pfs_pci_find(&pfs_rp_default);
	filp->private_data = file;
	return 0;
}

static int pfs_rp_release(struct inode *inode, struct file *filp)
{
	struct pfs_rp_file *file = filp->private_data;

	pci_dev_put(file->pdev);
	kfree(file);
	return 0;
}

static const struct file_operations pfs_rp_fops = {
	.owner = THIS_MODULE,
	.open = pfs_rp_open,
	.release = pfs_rp_release,
	.read = pfs_rp_read,
	.llseek = pfs_rp_llseek,
	.unlocked_ioctl = pfs_rp_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice pfs_rp_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pfs_ringpeek",
	.fops = &pfs_rp_fops,
	.mode = 0600,
};

static int __init pfs_rp_init(void)
{
	if (bdf && pfs_bdf_parse(bdf, &pfs_rp_default)) {
		pr_err("bdf=%s is no PCI address as 0000:03:00.0\n", bdf);
		return -EINVAL;
	}
	return misc_register(&pfs_rp_device);
}
module_init(pfs_rp_init);

static void __exit pfs_rp_exit(void)
{
	misc_deregister(&pfs_rp_device);
}
module_exit(pfs_rp_exit);

MODULE_DESCRIPTION("PacketFS: read-only window into a network card's registers");
MODULE_AUTHOR("The PacketFS authors");
MODULE_LICENSE("GPL");

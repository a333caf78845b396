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
#include <linux/nospec.h>
#include <linux/pci.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "pfs_pci.h"
#include "pfs_ringpeek.h"
#include "pfs_rp_safe.h"

static char *bdf;
module_param(bdf, charp, 0444);
MODULE_PARM_DESC(bdf, "Device that a file has selected when it is opened, as dddd:bb:dd.f");

static struct pfs_bdf pfs_rp_default;

struct pfs_rp_file {
	struct mutex lock;	     /* everything below */
	struct pci_dev *pdev;	     /* NULL: none selected; holds a reference */
	struct pfs_bdf at;	     /* where it was: its bus may be gone before it is */
	struct pfs_rp_window window; /* length 0: none */
	struct pfs_bar bar;	     /* the window's */
};

static int pfs_rp_allowed(void)
{
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	return security_locked_down(LOCKDOWN_PCI_ACCESS);
}

static int pfs_rp_select(struct pfs_rp_file *file, const struct pfs_rp_select *select)
{
	struct pfs_bdf at = { select->domain, select->bus, select->device, select->function };
	struct pci_dev *pdev;

	if (select->device > 0x1f || select->function > 7 || select->reserved)
		return -EINVAL;
	pdev = pfs_pci_find(&at);
	if (!pdev)
		return -ENODEV;
	pci_dev_put(file->pdev);
	file->pdev = pdev;
	file->at = at;
	memset(&file->window, 0, sizeof(file->window));
	return 0;
}

static int pfs_rp_set_window(struct pfs_rp_file *file, const struct pfs_rp_window *window)
{
	struct pci_dev *pdev = file->pdev;
	struct pfs_bar bar = {};
	unsigned long flags = 0;

	if (window->bar >= PFS_RP_BARS || (window->flags & ~PFS_RP_WINDOW_UNSAFE) ||
	    window->offset % 4 || window->length % 4 || window->length == 0 ||
	    window->length > PFS_RP_WINDOW_MAX)
		return -EINVAL;
	if (!pdev)
		return -ENXIO;

	pci_lock_rescan_remove();
	if (device_is_registered(&pdev->dev))
		flags = pfs_bar_get(pdev, array_index_nospec(window->bar, PFS_RP_BARS), &bar);
	pci_unlock_rescan_remove();

	if (bar.length == 0)
		return -ENODEV;
	if (!(flags & IORESOURCE_MEM))
		return -EOPNOTSUPP;
	if (window->offset > bar.length || window->length > bar.length - window->offset)
		return -ERANGE;
	if (!(window->flags & PFS_RP_WINDOW_UNSAFE) &&
	    !pfs_rp_is_safe(pdev->vendor, pdev->device, pdev->revision, window))
		return -EACCES;
	file->window = *window;
	file->bar = bar;
	return 0;
}

static int pfs_rp_get_info(struct pfs_rp_file *file, struct pfs_rp_info *info)
{
	struct pci_dev *pdev = file->pdev;
	struct pfs_bar bar;
	unsigned int i;

	if (!pdev)
		return -ENXIO;
	info->domain = file->at.domain;
	info->bus = file->at.bus;
	info->device = file->at.device;
	info->function = file->at.function;
	info->revision = pdev->revision;
	info->vendor_id = pdev->vendor;
	info->device_id = pdev->device;
	info->subsystem_vendor_id = pdev->subsystem_vendor;
	info->subsystem_id = pdev->subsystem_device;
	info->class_code = pdev->class & 0xffffff;
	info->window = file->window;
	if (pfs_rp_is_known(pdev->vendor, pdev->device, pdev->revision))
		info->flags |= PFS_RP_INFO_KNOWN;

	pci_lock_rescan_remove();
	if (device_is_registered(&pdev->dev)) {
		if (READ_ONCE(pdev->dev.driver))
			info->flags |= PFS_RP_INFO_DRIVER;
		for (i = 0; i < PFS_RP_BARS; i++) {
			if (pfs_bar_get(pdev, i, &bar) & IORESOURCE_IO)
				info->bar_flags[i] |= PFS_RP_BAR_IO;
			info->bar_bytes[i] = bar.length;
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
	/* User memory is read before the lock and written behind it. */
	switch (cmd) {
	case PFS_RP_IOC_SELECT:
		if (copy_from_user(&select, user, sizeof(select)))
			return -EFAULT;
		break;
	case PFS_RP_IOC_SET_WINDOW:
		if (copy_from_user(&window, user, sizeof(window)))
			return -EFAULT;
		break;
	case PFS_RP_IOC_GET_INFO:
		break;
	default:
		return -ENOTTY;
	}
	if (mutex_lock_interruptible(&file->lock))
		return -ERESTARTSYS;
	switch (cmd) {
	case PFS_RP_IOC_SELECT:
		ret = pfs_rp_select(file, &select);
		break;
	case PFS_RP_IOC_SET_WINDOW:
		ret = pfs_rp_set_window(file, &window);
		if (!ret)
			filp->f_pos = 0;
		break;
	default:
		ret = pfs_rp_get_info(file, &info);
		break;
	}
	mutex_unlock(&file->lock);
	if (!ret && cmd == PFS_RP_IOC_GET_INFO && copy_to_user(user, &info, sizeof(info)))
		ret = -EFAULT;
	return ret;
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

	/* Registers that were read, or an error. */
	if (ret > 0) {
		ret *= 4;
		if (copy_to_user(user, values, ret))
			ret = -EFAULT;
		else
			*position = at + ret;
	}
out:
	kfree(values);
	return ret;
}

static loff_t pfs_rp_llseek(struct file *filp, loff_t offset, int whence)
{
	struct pfs_rp_file *file = filp->private_data;
	loff_t ret = -ENXIO;

	if (mutex_lock_interruptible(&file->lock))
		return -ERESTARTSYS;
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
	if (bdf) {
		file->pdev = pfs_pci_find(&pfs_rp_default);
		file->at = pfs_rp_default;
	}
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

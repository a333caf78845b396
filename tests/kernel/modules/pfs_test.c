// SPDX-License-Identifier: GPL-2.0
/*
 * Takes the name of a misc device, so that another module cannot, and holds the lock of a PCI
 * device as long as it is loaded, as a reset or a driver that is bound does for a while.
 */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sched.h>

#include "pfs_bdf.h"

static char *name = "pfs_test";
module_param(name, charp, 0444);
MODULE_PARM_DESC(name, "Name of the device");

static char *lock;
module_param(lock, charp, 0444);
MODULE_PARM_DESC(lock, "PCI device whose lock is held, as dddd:bb:dd.f (default: none)");

static struct pci_dev *pfs_test_locked;
static struct task_struct *pfs_test_holder;
static DECLARE_COMPLETION(pfs_test_has_lock);

static const struct file_operations pfs_test_fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice pfs_test_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.fops = &pfs_test_fops,
	.mode = 0600,
};

/* The thread that takes a lock must be the one that gives it back. */
static int pfs_test_hold(void *unused)
{
	device_lock(&pfs_test_locked->dev);
	complete(&pfs_test_has_lock);
	set_current_state(TASK_IDLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_IDLE);
	}
	__set_current_state(TASK_RUNNING);
	device_unlock(&pfs_test_locked->dev);
	return 0;
}

static int __init pfs_test_lock(void)
{
	struct pfs_bdf at;

	if (pfs_bdf_parse(lock, &at))
		return -EINVAL;
	pfs_test_locked =
		pci_get_domain_bus_and_slot(at.domain, at.bus, PCI_DEVFN(at.device, at.function));
	if (!pfs_test_locked)
		return -ENODEV;
	pfs_test_holder = kthread_run(pfs_test_hold, NULL, "pfs_test");
	if (IS_ERR(pfs_test_holder)) {
		pci_dev_put(pfs_test_locked);
		return PTR_ERR(pfs_test_holder);
	}
	wait_for_completion(&pfs_test_has_lock);
	return 0;
}

static void pfs_test_unlock(void)
{
	if (!pfs_test_holder)
		return;
	kthread_stop(pfs_test_holder);
	pci_dev_put(pfs_test_locked);
}

static int __init pfs_test_init(void)
{
	int ret = lock ? pfs_test_lock() : 0;

	if (ret)
		return ret;
	pfs_test_device.name = name;
	ret = misc_register(&pfs_test_device);
	if (ret)
		pfs_test_unlock();
	return ret;
}
module_init(pfs_test_init);

static void __exit pfs_test_exit(void)
{
	pfs_test_unlock();
	misc_deregister(&pfs_test_device);
}
module_exit(pfs_test_exit);

MODULE_DESCRIPTION("PacketFS: helper of the tests");
MODULE_AUTHOR("The PacketFS authors");
MODULE_LICENSE("GPL");

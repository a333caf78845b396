// SPDX-License-Identifier: GPL-2.0
/* Takes the name of a misc device, so that another module cannot. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

static char *name = "pfs_test";
module_param(name, charp, 0444);
MODULE_PARM_DESC(name, "Name of the device");

static const struct file_operations pfs_test_fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice pfs_test_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.fops = &pfs_test_fops,
	.mode = 0600,
};

static int __init pfs_test_init(void)
{
	pfs_test_device.name = name;
	return misc_register(&pfs_test_device);
}
module_init(pfs_test_init);

static void __exit pfs_test_exit(void)
{
	misc_deregister(&pfs_test_device);
}
module_exit(pfs_test_exit);

MODULE_DESCRIPTION("PacketFS: helper of the tests");
MODULE_AUTHOR("The PacketFS authors");
MODULE_LICENSE("GPL");

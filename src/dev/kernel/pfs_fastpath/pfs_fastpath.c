// SPDX-License-Identifier: GPL-2.0
/*
 * pfs_fastpath: memory that two processes share through /dev/pfs_fastpath, laid out as a ring.
 *
 * What user space sees (calls, states, errors) is described in pfs_fastpath.h. Inside:
 *
 * Three objects. A channel is a device node and lives as long as the module. A region is the memory
 * of one ring; it is counted, and the channel, each file that is bound to it and each mapping hold
 * it. A file is one open file; it holds the module, and mappings hold their file.
 *
 * Locking. channel->lock guards the channel's region, the roles, and binding. It is taken under
 * mmap_lock (by mmap), so nothing under it may touch user memory. Counting a mapping takes no lock:
 * a mapping that splits or moves holds the region already. poll and doorbell take none either:
 * a file's region is set once, and goes with the file.
 *
 * Trust. Nothing that user space may have written is ever used as a size, an index or an address.
 * The region's own idea of its geometry is in struct pfs_fp_region, not in the shared header.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

#include "pfs_fastpath.h"

#define PFS_FP_CHANNELS_MAX 16
#define PFS_FP_ROLES (PFS_FP_ROLE_PRODUCER | PFS_FP_ROLE_CONSUMER)

static unsigned int channels = 4;
module_param(channels, uint, 0444);
MODULE_PARM_DESC(channels, "Number of device nodes, 1 to 16 (default 4)");

static unsigned long max_region_bytes = 256UL << 20;
module_param(max_region_bytes, ulong, 0644);
MODULE_PARM_DESC(max_region_bytes, "Largest region in bytes (default 256 MiB)");

static unsigned int max_slots = 1U << 20;
module_param(max_slots, uint, 0644);
MODULE_PARM_DESC(max_slots, "Most slots of a ring (default 1048576)");

static unsigned long max_total_bytes = 1UL << 30;
module_param(max_total_bytes, ulong, 0644);
MODULE_PARM_DESC(max_total_bytes, "Limit for all regions together in bytes (default 1 GiB)");

struct pfs_fp_channel {
	struct miscdevice misc;
	char name[sizeof("pfs_fastpath") + 2];
	struct mutex lock;	      /* region, generation, and what struct pfs_fp_region says */
	struct pfs_fp_region *region; /* NULL: empty */
	u64 generation;
};

struct pfs_fp_region {
	struct kref kref;
	atomic_t mappings;
	wait_queue_head_t wait;
	struct page **pages;
	unsigned long page_count;
	struct pfs_fp_ring_hdr *hdr; /* the region in the kernel's address space */
	u32 slots;
	u64 data_offset;
	u64 slab_bytes;
	u64 generation;
	u32 roles_held; /* written under channel->lock */
	bool stale;	/* written under channel->lock */
};

struct pfs_fp_file {
	struct pfs_fp_channel *channel;
	struct pfs_fp_region *region; /* set once, under channel->lock */
	u32 roles;		      /* written under channel->lock; they are roles of region */
};

static struct pfs_fp_channel pfs_fp_channels[PFS_FP_CHANNELS_MAX];
/* Bytes of all regions that exist, also of those that only a mapping keeps. */
static atomic_long_t pfs_fp_total_bytes;

static u64 pfs_fp_map_bytes(const struct pfs_fp_region *region)
{
	return (u64)region->page_count << PAGE_SHIFT;
}

static void pfs_fp_free_pages(struct pfs_fp_region *region)
{
	while (region->page_count > 0)
		__free_page(region->pages[--region->page_count]);
	kvfree(region->pages);
}

/*
 * Pages are taken one by one and not with vmalloc_user(), which cannot charge them to the caller's
 * memory cgroup.
 */
static int pfs_fp_alloc_pages(struct pfs_fp_region *region, unsigned long count)
{
	/* RETRY_MAYFAIL: a cgroup at its limit gets ENOMEM, and none of its processes killed. */
	gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct page *page;

	region->pages = kvcalloc(count, sizeof(*region->pages), GFP_KERNEL_ACCOUNT);
	if (!region->pages)
		return -ENOMEM;
	while (region->page_count < count) {
		if (fatal_signal_pending(current)) {
			pfs_fp_free_pages(region);
			return -EINTR;
		}
		page = alloc_page(gfp);
		if (!page) {
			pfs_fp_free_pages(region);
			return -ENOMEM;
		}
		region->pages[region->page_count++] = page;
		cond_resched();
	}
	return 0;
}

static void pfs_fp_region_release(struct kref *kref)
{
	struct pfs_fp_region *region = container_of(kref, struct pfs_fp_region, kref);

	vunmap(region->hdr);
	atomic_long_sub(pfs_fp_map_bytes(region), &pfs_fp_total_bytes);
	pfs_fp_free_pages(region);
#ifdef PFS_SEED_BUG
	((u8 *)region)[ksize(region)] = 0;
#endif
	kfree(region);
}

static void pfs_fp_region_put(struct pfs_fp_region *region)
{
	kref_put(&region->kref, pfs_fp_region_release);
}

/* Lays out the header as user space expects it. Nobody else sees the region yet. */
static void pfs_fp_format(struct pfs_fp_region *region)
{
	struct pfs_fp_ring_hdr *hdr = region->hdr;

	hdr->version = PFS_FP_VERSION;
	hdr->header_bytes = sizeof(*hdr);
	hdr->slots = region->slots;
	hdr->mask = region->slots - 1;
	hdr->region_bytes = region->data_offset + region->slab_bytes;
	hdr->slots_offset = sizeof(*hdr);
	hdr->data_offset = region->data_offset;
	hdr->slab_bytes = region->slab_bytes;
	/* As the rule for formatting says, though the channel's lock orders all this anyway. */
	smp_store_release(&hdr->magic, PFS_FP_MAGIC);
}

static struct pfs_fp_region *pfs_fp_region_create(const struct pfs_fp_setup *setup)
{
	u64 data_offset = ALIGN(sizeof(struct pfs_fp_ring_hdr) + 4ULL * setup->slots, PFS_FP_LINE);
	struct pfs_fp_region *region;
	unsigned long pages;
	u64 slab_bytes;
	int ret;

	if (setup->flags || !is_power_of_2(setup->slots) || setup->ring_bytes < data_offset)
		return ERR_PTR(-EINVAL);
	if (setup->slots > min(READ_ONCE(max_slots), PFS_FP_SLOTS_MAX) ||
	    setup->ring_bytes > READ_ONCE(max_region_bytes))
		return ERR_PTR(-EFBIG);
	slab_bytes = round_down(setup->ring_bytes - data_offset, PFS_FP_SLAB_UNIT);
	/* A slot addresses 2^32 units. Bounds what follows, too, whatever the parameters are. */
	if (slab_bytes > (u64)PFS_FP_SLAB_UNIT << 32)
		return ERR_PTR(-EFBIG);

	pages = DIV_ROUND_UP_ULL(data_offset + slab_bytes, PAGE_SIZE);
	if (atomic_long_add_return(pages << PAGE_SHIFT, &pfs_fp_total_bytes) >
	    READ_ONCE(max_total_bytes)) {
		ret = -ENOSPC;
		goto uncharge;
	}

	ret = -ENOMEM;
	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		goto uncharge;
	ret = pfs_fp_alloc_pages(region, pages);
	if (ret)
		goto free;
	/* VM_USERMAP is what remap_vmalloc_range() asks for. */
	region->hdr = vmap(region->pages, pages, VM_MAP | VM_USERMAP, PAGE_KERNEL);
	if (!region->hdr) {
		ret = -ENOMEM;
		goto free_pages;
	}
	kref_init(&region->kref);
	init_waitqueue_head(&region->wait);
	region->slots = setup->slots;
	region->data_offset = data_offset;
	region->slab_bytes = slab_bytes;
	pfs_fp_format(region);
	return region;

free_pages:
	pfs_fp_free_pages(region);
free:
	kfree(region);
uncharge:
	atomic_long_sub(pages << PAGE_SHIFT, &pfs_fp_total_bytes);
	return ERR_PTR(ret);
}

/* The region with which a file deals: its own, or the channel's as long as it has none. */
static struct pfs_fp_region *pfs_fp_lookup(struct pfs_fp_file *file)
{
	lockdep_assert_held(&file->channel->lock);
	if (file->region)
		return file->region->stale ? ERR_PTR(-ESTALE) : file->region;
	return file->channel->region ?: ERR_PTR(-ENXIO);
}

static void pfs_fp_bind(struct pfs_fp_file *file, struct pfs_fp_region *region)
{
	lockdep_assert_held(&file->channel->lock);
	if (file->region)
		return;
	kref_get(&region->kref);
	/* Pairs with the acquire in pfs_fp_poll() and pfs_fp_doorbell(), which take no lock. */
	smp_store_release(&file->region, region);
}

static int pfs_fp_setup(struct pfs_fp_file *file, const struct pfs_fp_setup *setup)
{
	struct pfs_fp_channel *channel = file->channel;
	struct pfs_fp_region *region;

	lockdep_assert_held(&channel->lock);
	if (file->region && file->region->stale)
		return -ESTALE;
	if (channel->region)
		return -EEXIST;
	region = pfs_fp_region_create(setup);
	if (IS_ERR(region))
		return PTR_ERR(region);
	region->generation = ++channel->generation;
	channel->region = region;
	pfs_fp_bind(file, region);
	return 0;
}

static int pfs_fp_reset(struct pfs_fp_file *file, u32 flags)
{
	struct pfs_fp_region *region;

	if (flags & ~PFS_FP_RESET_FORCE)
		return -EINVAL;
	region = pfs_fp_lookup(file);
	if (IS_ERR(region))
		return PTR_ERR(region);
	if (!(flags & PFS_FP_RESET_FORCE) &&
	    (region->roles_held || atomic_read(&region->mappings) > 0))
		return -EBUSY;
	file->channel->region = NULL;
	WRITE_ONCE(region->stale, true);
	wake_up_interruptible_all(&region->wait);
	pfs_fp_region_put(region);
	return 0;
}

static int pfs_fp_attach(struct pfs_fp_file *file, u32 role)
{
	struct pfs_fp_region *region;

	if (role != PFS_FP_ROLE_PRODUCER && role != PFS_FP_ROLE_CONSUMER)
		return -EINVAL;
	region = pfs_fp_lookup(file);
	if (IS_ERR(region))
		return PTR_ERR(region);
	if (file->roles & role)
		return -EALREADY;
	if (region->roles_held & role)
		return -EBUSY;
	pfs_fp_bind(file, region);
	WRITE_ONCE(file->roles, file->roles | role);
	WRITE_ONCE(region->roles_held, region->roles_held | role);
	return 0;
}

static int pfs_fp_doorbell(struct pfs_fp_file *file, u32 role)
{
	/* Pairs with the release in pfs_fp_bind(). */
	struct pfs_fp_region *region = smp_load_acquire(&file->region);

	if (role != PFS_FP_ROLE_PRODUCER && role != PFS_FP_ROLE_CONSUMER)
		return -EINVAL;
	if (!region || !(READ_ONCE(file->roles) & (PFS_FP_ROLES ^ role)))
		return -EPERM;
	if (READ_ONCE(region->stale))
		return -ESTALE;
	/*
	 * The ringer stored 0 into the sleeper's word, then comes here; the sleeper queues itself,
	 * then reads the word. Both take the queue's lock in between, so one of them sees the
	 * other.
	 */
	if (role == PFS_FP_ROLE_CONSUMER)
		wake_up_interruptible_poll(&region->wait, EPOLLIN | EPOLLRDNORM);
	else
		wake_up_interruptible_poll(&region->wait, EPOLLOUT | EPOLLWRNORM);
	return 0;
}

static void pfs_fp_info(struct pfs_fp_file *file, struct pfs_fp_info *info)
{
	struct pfs_fp_region *region = file->region ?: file->channel->region;

	lockdep_assert_held(&file->channel->lock);
	info->version = PFS_FP_VERSION;
	info->channel = file->channel - pfs_fp_channels;
	info->max_slots = min(READ_ONCE(max_slots), PFS_FP_SLOTS_MAX);
	info->max_region_bytes = READ_ONCE(max_region_bytes);
	info->max_total_bytes = READ_ONCE(max_total_bytes);
	info->total_bytes = atomic_long_read(&pfs_fp_total_bytes);
	if (!region)
		return;
	info->flags = PFS_FP_INFO_READY;
	if (file->region)
		info->flags |= PFS_FP_INFO_BOUND;
	if (region->stale)
		info->flags |= PFS_FP_INFO_STALE;
	info->slots = region->slots;
	info->roles_held = region->roles_held;
	info->roles_mine = file->roles;
	info->mappings = atomic_read(&region->mappings);
	info->map_bytes = pfs_fp_map_bytes(region);
	info->region_bytes = region->data_offset + region->slab_bytes;
	info->data_offset = region->data_offset;
	info->slab_bytes = region->slab_bytes;
	info->generation = region->generation;
}

static long pfs_fp_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct pfs_fp_file *file = filp->private_data;
	void __user *user = (void __user *)arg;
	struct pfs_fp_info info = {};
	struct pfs_fp_setup setup;
	long ret = 0;
	u32 word = 0;

	/* User memory is read before the lock and written behind it. */
	switch (cmd) {
	case PFS_FP_IOC_SETUP:
		if (copy_from_user(&setup, user, sizeof(setup)))
			ret = -EFAULT;
		break;
	case PFS_FP_IOC_RESET:
	case PFS_FP_IOC_ATTACH:
	case PFS_FP_IOC_DOORBELL:
		if (get_user(word, (u32 __user *)user))
			ret = -EFAULT;
		break;
	case PFS_FP_IOC_INFO:
		break;
	default:
		return -ENOTTY;
	}
	if (cmd != PFS_FP_IOC_INFO &&
	    (filp->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE))
		return -EBADF;
	if (ret)
		return ret;
	if (cmd == PFS_FP_IOC_DOORBELL)
		return pfs_fp_doorbell(file, word);

	if (mutex_lock_killable(&file->channel->lock))
		return -EINTR;
	switch (cmd) {
	case PFS_FP_IOC_SETUP:
		ret = pfs_fp_setup(file, &setup);
		break;
	case PFS_FP_IOC_RESET:
		ret = pfs_fp_reset(file, word);
		break;
	case PFS_FP_IOC_ATTACH:
		ret = pfs_fp_attach(file, word);
		break;
	case PFS_FP_IOC_INFO:
		pfs_fp_info(file, &info);
		break;
	}
	mutex_unlock(&file->channel->lock);
	if (cmd == PFS_FP_IOC_INFO && copy_to_user(user, &info, sizeof(info)))
		return -EFAULT;
	return ret;
}

static __poll_t pfs_fp_poll(struct file *filp, poll_table *wait)
{
	struct pfs_fp_file *file = filp->private_data;
	/* Pairs with the release in pfs_fp_bind(). */
	struct pfs_fp_region *region = smp_load_acquire(&file->region);
	u32 roles = READ_ONCE(file->roles);
	__poll_t mask = 0;

	if (!region)
		return EPOLLERR;
	poll_wait(filp, &region->wait, wait);
	if (READ_ONCE(region->stale))
		mask |= EPOLLHUP;
	if (!roles)
		return mask | EPOLLERR;
	if ((roles & PFS_FP_ROLE_CONSUMER) && READ_ONCE(region->hdr->consumer_sleeps) != 1)
		mask |= EPOLLIN | EPOLLRDNORM;
	if ((roles & PFS_FP_ROLE_PRODUCER) && READ_ONCE(region->hdr->producer_sleeps) != 1)
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (READ_ONCE(region->roles_held) != PFS_FP_ROLES)
		mask |= EPOLLRDHUP;
	return mask;
}

/* A mapping was split or moved. Under mmap_lock; the mapping it came from holds the region. */
static void pfs_fp_vm_open(struct vm_area_struct *vma)
{
	struct pfs_fp_region *region = vma->vm_private_data;

	kref_get(&region->kref);
	atomic_inc(&region->mappings);
}

static void pfs_fp_vm_close(struct vm_area_struct *vma)
{
	struct pfs_fp_region *region = vma->vm_private_data;

	atomic_dec(&region->mappings);
	pfs_fp_region_put(region);
}

static const struct vm_operations_struct pfs_fp_vm_ops = {
	.open = pfs_fp_vm_open,
	.close = pfs_fp_vm_close,
};

static void pfs_fp_vm_flags(struct vm_area_struct *vma, unsigned long set, unsigned long clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

static int pfs_fp_map(struct pfs_fp_file *file, struct vm_area_struct *vma)
{
	struct pfs_fp_region *region = pfs_fp_lookup(file);
	unsigned long clear = VM_MAYEXEC;
	int ret;

	if (IS_ERR(region))
		return PTR_ERR(region);
	if (vma->vm_pgoff > region->page_count ||
	    vma_pages(vma) > region->page_count - vma->vm_pgoff)
		return -EINVAL;
	if (!file->roles) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		clear |= VM_MAYWRITE;
	}
	ret = remap_vmalloc_range(vma, region->hdr, vma->vm_pgoff);
	if (ret)
		return ret;
	/* A role belongs to one process, so a child gets no mapping with it. */
	pfs_fp_vm_flags(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, clear);
	pfs_fp_bind(file, region);
	vma->vm_private_data = region;
	vma->vm_ops = &pfs_fp_vm_ops;
	pfs_fp_vm_open(vma);
	return 0;
}

static int pfs_fp_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct pfs_fp_file *file = filp->private_data;
	int ret;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	if (mutex_lock_killable(&file->channel->lock))
		return -EINTR;
	ret = pfs_fp_map(file, vma);
	mutex_unlock(&file->channel->lock);
	return ret;
}

static int pfs_fp_open(struct inode *inode, struct file *filp)
{
	struct pfs_fp_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);

	if (!file)
		return -ENOMEM;
	/* The misc core left the device here. */
	file->channel = container_of(filp->private_data, struct pfs_fp_channel, misc);
	filp->private_data = file;
	return nonseekable_open(inode, filp);
}

static int pfs_fp_release(struct inode *inode, struct file *filp)
{
	struct pfs_fp_file *file = filp->private_data;
	struct pfs_fp_region *region = file->region;

	if (region) {
		mutex_lock(&file->channel->lock);
		WRITE_ONCE(region->roles_held, region->roles_held & ~file->roles);
		mutex_unlock(&file->channel->lock);
		if (file->roles)
			wake_up_interruptible_poll(&region->wait, EPOLLRDHUP);
		pfs_fp_region_put(region);
	}
	kfree(file);
	return 0;
}

static const struct file_operations pfs_fp_fops = {
	.owner = THIS_MODULE,
	.open = pfs_fp_open,
	.release = pfs_fp_release,
	.unlocked_ioctl = pfs_fp_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = pfs_fp_mmap,
	.poll = pfs_fp_poll,
};

static void pfs_fp_remove(unsigned int count)
{
	struct pfs_fp_channel *channel;

	while (count-- > 0) {
		channel = &pfs_fp_channels[count];
		misc_deregister(&channel->misc);
		/* No file is open any more, or the module could not go. */
		if (channel->region)
			pfs_fp_region_put(channel->region);
	}
}

static int __init pfs_fp_init(void)
{
	struct pfs_fp_channel *channel;
	unsigned int i;
	int ret;

	if (channels < 1 || channels > PFS_FP_CHANNELS_MAX) {
		pr_err("channels=%u is not within 1 to %u\n", channels, PFS_FP_CHANNELS_MAX);
		return -EINVAL;
	}
	for (i = 0; i < channels; i++) {
		channel = &pfs_fp_channels[i];
		mutex_init(&channel->lock);
		if (i == 0)
			strscpy(channel->name, "pfs_fastpath", sizeof(channel->name));
		else
			scnprintf(channel->name, sizeof(channel->name), "pfs_fastpath%u", i);
		channel->misc.minor = MISC_DYNAMIC_MINOR;
		channel->misc.name = channel->name;
		channel->misc.fops = &pfs_fp_fops;
		channel->misc.mode = 0660;
		ret = misc_register(&channel->misc);
		if (ret) {
			pr_err("cannot register %s: %d\n", channel->name, ret);
			pfs_fp_remove(i);
			return ret;
		}
	}
	pr_info("%u channels, regions up to %lu bytes\n", channels, max_region_bytes);
	return 0;
}
module_init(pfs_fp_init);

static void __exit pfs_fp_exit(void)
{
	pfs_fp_remove(channels);
}
module_exit(pfs_fp_exit);

MODULE_DESCRIPTION("PacketFS: memory for a ring between two processes");
MODULE_AUTHOR("The PacketFS authors");
MODULE_LICENSE("GPL");

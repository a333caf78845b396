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
 * mmap_lock (by mmap) and by release, so nothing under it may touch user memory, allocate, or free
 * a region: a memory cgroup above its memory.high makes allocations sleep for as long as it likes.
 * channel->setup_lock is taken before channel->lock, by SETUP alone, and is held while SETUP
 * allocates; so of two sides that call SETUP at once the second waits, and gets EEXIST. Counting a
 * mapping takes no lock: a mapping that splits or moves holds the region already. poll and doorbell
 * take none either: a file's region is set once, and goes with the file.
 *
 * Accounting. A region counts against max_total_bytes, is charged to the memory cgroup of the
 * process that made it, and, without CAP_IPC_LOCK, to that user's locked memory, until it is freed.
 * Its pages may live longer than it does: a pipe or a direct transfer holds references of its own.
 *
 * Trust. Nothing that user space may have written is ever used as a size, an index or an address.
 * The region's own idea of its geometry is in struct pfs_fp_region, not in the shared header.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/cred.h>
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
#include <linux/sched/user.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/wait.h>

#include "pfs_fastpath.h"
#include "pfs_fp_shape.h"

#ifndef CONFIG_64BIT
#error "pfs_fastpath is for 64-bit kernels only: sizes of regions are 64 bits wide"
#endif

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

static unsigned long max_total_bytes;
module_param(max_total_bytes, ulong, 0644);
MODULE_PARM_DESC(
	max_total_bytes,
	"Limit for all regions together in bytes (default a quarter of memory, max 1 GiB)");

/* Allocations of SETUP. RETRY_MAYFAIL: at a cgroup's limit they fail, and no process is killed. */
#define PFS_FP_GFP (GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)
/* Pages that are inserted into a mapping, or given back, between two chances to schedule. */
#define PFS_FP_BATCH 512UL

struct pfs_fp_channel {
	struct miscdevice misc;
	char name[sizeof("pfs_fastpath") + 2];
	bool registered;
	struct mutex setup_lock;      /* held by SETUP while it makes a region */
	struct mutex lock;	      /* region, generation, and what struct pfs_fp_region says */
	wait_queue_head_t wait;	      /* all that poll files of this channel, bound or not */
	struct pfs_fp_region *region; /* NULL: empty */
	u64 generation;
};

struct pfs_fp_region {
	struct kref kref;
	atomic_t mappings;
	struct user_struct *user; /* whose locked memory it is charged to; NULL: nobody's */
	struct page **pages;
	unsigned long page_count;
	struct pfs_fp_ring_hdr *hdr; /* the first page; the kernel looks at no other */
	struct pfs_fp_shape shape;
	u64 generation;
	unsigned int files; /* that are bound to it; under channel->lock */
	bool transient;	    /* goes with the last of them */
	u32 roles_held;	    /* written under channel->lock */
	bool stale;	    /* written under channel->lock */
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

/* Adds to a counter unless that would take it above the limit; it is never above it meanwhile. */
static bool pfs_fp_add_within(atomic_long_t *counter, unsigned long amount, unsigned long limit)
{
	long old = atomic_long_read(counter);

	do {
		if (amount > limit || (unsigned long)old > limit - amount)
			return false;
	} while (!atomic_long_try_cmpxchg(counter, &old, old + (long)amount));
	return true;
}

/* Charges a region of this many pages to the module's limit and to the caller's locked memory. */
static int pfs_fp_charge(struct pfs_fp_region *region, unsigned long pages)
{
	struct user_struct *user;

	if (!pfs_fp_add_within(&pfs_fp_total_bytes, pages << PAGE_SHIFT,
			       READ_ONCE(max_total_bytes)))
		return -ENOSPC;
	if (capable(CAP_IPC_LOCK))
		return 0;
	user = get_uid(current_user());
	if (pfs_fp_add_within(&user->locked_vm, pages, rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT)) {
		region->user = user;
		return 0;
	}
	free_uid(user);
	atomic_long_sub(pages << PAGE_SHIFT, &pfs_fp_total_bytes);
	return -ENOBUFS;
}

static void pfs_fp_uncharge(struct pfs_fp_region *region, unsigned long pages)
{
	if (region->user) {
		atomic_long_sub(pages, &region->user->locked_vm);
		free_uid(region->user);
	}
	atomic_long_sub(pages << PAGE_SHIFT, &pfs_fp_total_bytes);
}

static void pfs_fp_free_pages(struct pfs_fp_region *region)
{
	while (region->page_count > 0) {
		__free_page(region->pages[--region->page_count]);
		if (region->page_count % PFS_FP_BATCH == 0)
			cond_resched();
	}
	kvfree(region->pages);
}

/*
 * Pages are taken one by one and not with vmalloc_user(), which cannot charge them to the caller's
 * memory cgroup.
 */
static int pfs_fp_alloc_pages(struct pfs_fp_region *region, unsigned long count)
{
	struct page *page;

	region->pages = kvcalloc(count, sizeof(*region->pages), PFS_FP_GFP);
	if (!region->pages)
		return -ENOMEM;
	while (region->page_count < count) {
		if (fatal_signal_pending(current)) {
			pfs_fp_free_pages(region);
			return -EINTR;
		}
		page = alloc_page(PFS_FP_GFP | __GFP_ZERO);
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
	unsigned long pages = region->page_count;

	pfs_fp_free_pages(region);
	pfs_fp_uncharge(region, pages);
	kfree(region);
}

/* May free the region, which takes long: not under channel->lock. */
static void pfs_fp_region_put(struct pfs_fp_region *region)
{
	kref_put(&region->kref, pfs_fp_region_release);
}

/* Lays out the header as user space expects it. Nobody else sees the region yet. */
static void pfs_fp_format(struct pfs_fp_region *region)
{
	struct pfs_fp_ring_hdr *hdr = region->hdr;
	const struct pfs_fp_shape *shape = &region->shape;

	hdr->version = PFS_FP_VERSION;
	hdr->header_bytes = sizeof(*hdr);
	hdr->slots = shape->slots;
	hdr->mask = shape->slots - 1;
	hdr->region_bytes = shape->data_offset + shape->slab_bytes;
	hdr->slots_offset = sizeof(*hdr);
	hdr->data_offset = shape->data_offset;
	hdr->slab_bytes = shape->slab_bytes;
	/* As the rule for formatting says, though the channel's lock orders all this anyway. */
	smp_store_release(&hdr->magic, PFS_FP_MAGIC);
}

/* Takes as long as the memory cgroup and the rest of the machine make it take: without locks. */
static struct pfs_fp_region *pfs_fp_region_create(const struct pfs_fp_setup *setup)
{
	struct pfs_fp_region *region;
	struct pfs_fp_shape shape;
	unsigned long pages;
	int ret;

	if (setup->flags & ~PFS_FP_SETUP_TRANSIENT)
		return ERR_PTR(-EINVAL);
	ret = pfs_fp_shape_of(setup->ring_bytes, setup->slots, READ_ONCE(max_region_bytes),
			      READ_ONCE(max_slots), &shape);
	if (ret)
		return ERR_PTR(ret);

	region = kzalloc(sizeof(*region), PFS_FP_GFP);
	if (!region)
		return ERR_PTR(-ENOMEM);
	pages = DIV_ROUND_UP_ULL(shape.data_offset + shape.slab_bytes, PAGE_SIZE);
	ret = pfs_fp_charge(region, pages);
	if (ret)
		goto free;
	ret = pfs_fp_alloc_pages(region, pages);
	if (ret)
		goto uncharge;
	kref_init(&region->kref);
	region->shape = shape;
	region->transient = setup->flags & PFS_FP_SETUP_TRANSIENT;
	/* GFP_KERNEL gives no high memory, so the page has an address. */
	region->hdr = page_address(region->pages[0]);
	pfs_fp_format(region);
	return region;

uncharge:
	pfs_fp_uncharge(region, pages);
free:
	kfree(region);
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
	region->files++;
	/* Pairs with the acquire in pfs_fp_poll() and pfs_fp_doorbell(), which take no lock. */
	smp_store_release(&file->region, region);
}

static int pfs_fp_setup(struct pfs_fp_file *file, const struct pfs_fp_setup *setup)
{
	struct pfs_fp_channel *channel = file->channel;
	struct pfs_fp_region *region;
	int ret = 0;

	if (mutex_lock_killable(&channel->setup_lock))
		return -EINTR;
	if (mutex_lock_killable(&channel->lock)) {
		ret = -EINTR;
		goto out;
	}
	if (file->region && file->region->stale)
		ret = -ESTALE;
	else if (channel->region)
		ret = -EEXIST;
	mutex_unlock(&channel->lock);
	if (ret)
		goto out;

	/* The channel stays empty meanwhile, and the file unbound: only SETUP fills it. */
	region = pfs_fp_region_create(setup);
	if (IS_ERR(region)) {
		ret = PTR_ERR(region);
		goto out;
	}
	mutex_lock(&channel->lock);
	region->generation = ++channel->generation;
	channel->region = region;
	pfs_fp_bind(file, region);
	mutex_unlock(&channel->lock);
out:
	mutex_unlock(&channel->setup_lock);
	return ret;
}

/*
 * Takes the region from the channel. The channel's reference passes to the caller, who drops it
 * behind the lock.
 */
static void pfs_fp_detach(struct pfs_fp_channel *channel, struct pfs_fp_region *region)
{
	lockdep_assert_held(&channel->lock);
	channel->region = NULL;
	WRITE_ONCE(region->stale, true);
	wake_up_interruptible_all(&channel->wait);
}

static int pfs_fp_reset(struct pfs_fp_file *file, u32 flags)
{
	struct pfs_fp_channel *channel = file->channel;
	struct pfs_fp_region *region;
	int ret = 0;

	if (flags & ~PFS_FP_RESET_FORCE)
		return -EINVAL;
	if (mutex_lock_killable(&channel->lock))
		return -EINTR;
	region = pfs_fp_lookup(file);
	if (IS_ERR(region))
		ret = PTR_ERR(region);
	else if (!(flags & PFS_FP_RESET_FORCE) &&
		 (region->roles_held || atomic_read(&region->mappings) > 0))
		ret = -EBUSY;
	else
		pfs_fp_detach(channel, region);
	mutex_unlock(&channel->lock);
	if (!ret)
		pfs_fp_region_put(region);
	return ret;
}

static int pfs_fp_attach(struct pfs_fp_file *file, u32 role)
{
	struct pfs_fp_channel *channel = file->channel;
	struct pfs_fp_region *region;
	int ret = 0;

	if (role != PFS_FP_ROLE_PRODUCER && role != PFS_FP_ROLE_CONSUMER)
		return -EINVAL;
	if (mutex_lock_killable(&channel->lock))
		return -EINTR;
	region = pfs_fp_lookup(file);
	if (IS_ERR(region)) {
		ret = PTR_ERR(region);
	} else if (file->roles & role) {
		ret = -EALREADY;
	} else if (region->roles_held & role) {
		ret = -EBUSY;
	} else {
		pfs_fp_bind(file, region);
		WRITE_ONCE(file->roles, file->roles | role);
		WRITE_ONCE(region->roles_held, region->roles_held | role);
	}
	mutex_unlock(&channel->lock);
	/* What poll says has changed, for this file and for those that wait for the other side. */
	if (!ret)
		wake_up_interruptible_all(&channel->wait);
	return ret;
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
		wake_up_interruptible_poll(&file->channel->wait, EPOLLIN | EPOLLRDNORM);
	else
		wake_up_interruptible_poll(&file->channel->wait, EPOLLOUT | EPOLLWRNORM);
	return 0;
}

static int pfs_fp_info(struct pfs_fp_file *file, struct pfs_fp_info *info)
{
	struct pfs_fp_channel *channel = file->channel;
	struct pfs_fp_region *region;

	info->version = PFS_FP_VERSION;
	info->channel = channel - pfs_fp_channels;
	info->max_slots = min(READ_ONCE(max_slots), PFS_FP_SLOTS_MAX);
	info->max_region_bytes = READ_ONCE(max_region_bytes);
	info->max_total_bytes = READ_ONCE(max_total_bytes);
	if (mutex_lock_killable(&channel->lock))
		return -EINTR;
	info->total_bytes = atomic_long_read(&pfs_fp_total_bytes);
	region = file->region ?: channel->region;
	if (region) {
		info->flags = PFS_FP_INFO_READY;
		if (file->region)
			info->flags |= PFS_FP_INFO_BOUND;
		if (region->stale)
			info->flags |= PFS_FP_INFO_STALE;
		if (region->transient)
			info->flags |= PFS_FP_INFO_TRANSIENT;
		info->slots = region->shape.slots;
		info->roles_held = region->roles_held;
		info->roles_mine = file->roles;
		info->mappings = atomic_read(&region->mappings);
		info->map_bytes = pfs_fp_map_bytes(region);
		info->region_bytes = region->shape.data_offset + region->shape.slab_bytes;
		info->data_offset = region->shape.data_offset;
		info->slab_bytes = region->shape.slab_bytes;
		info->generation = region->generation;
	}
	mutex_unlock(&channel->lock);
	return 0;
}

static long pfs_fp_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct pfs_fp_file *file = filp->private_data;
	void __user *user = (void __user *)arg;
	struct pfs_fp_info info = {};
	struct pfs_fp_setup setup;
	long ret = 0;
	u32 word = 0;

	/* User memory is read before the locks and written behind them. */
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

	switch (cmd) {
	case PFS_FP_IOC_SETUP:
		return pfs_fp_setup(file, &setup);
	case PFS_FP_IOC_RESET:
		return pfs_fp_reset(file, word);
	case PFS_FP_IOC_ATTACH:
		return pfs_fp_attach(file, word);
	case PFS_FP_IOC_DOORBELL:
		return pfs_fp_doorbell(file, word);
	default:
		ret = pfs_fp_info(file, &info);
		if (!ret && copy_to_user(user, &info, sizeof(info)))
			ret = -EFAULT;
		return ret;
	}
}

static __poll_t pfs_fp_poll(struct file *filp, poll_table *wait)
{
	struct pfs_fp_file *file = filp->private_data;
	struct pfs_fp_region *region;
	__poll_t mask = 0;
	u32 roles;

	/* First: epoll asks only once to be queued, and that may be before the file is bound. */
	poll_wait(filp, &file->channel->wait, wait);
	/* Pairs with the release in pfs_fp_bind(). */
	region = smp_load_acquire(&file->region);
	roles = READ_ONCE(file->roles);
	if (!region)
		return EPOLLERR;
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

/* Checks, and takes a reference to, what is to be mapped. */
static struct pfs_fp_region *pfs_fp_map_begin(struct pfs_fp_file *file, struct vm_area_struct *vma)
{
	struct pfs_fp_region *region = pfs_fp_lookup(file);

	if (IS_ERR(region))
		return region;
	if (vma->vm_pgoff > region->page_count ||
	    vma_pages(vma) > region->page_count - vma->vm_pgoff)
		return ERR_PTR(-EINVAL);
	if (!file->roles && (vma->vm_flags & VM_WRITE))
		return ERR_PTR(-EACCES);
	kref_get(&region->kref);
	/* From now on RESET without force is refused. */
	atomic_inc(&region->mappings);
	return region;
}

/* Takes memory for page tables, so that it may sleep long: without the channel's lock. */
static int pfs_fp_insert_pages(struct pfs_fp_region *region, struct vm_area_struct *vma)
{
	struct page **pages = region->pages + vma->vm_pgoff;
	unsigned long at = vma->vm_start, left = vma_pages(vma), batch, missing;
	int ret;

	while (left > 0) {
		if (fatal_signal_pending(current))
			return -EINTR;
		batch = min(left, PFS_FP_BATCH);
		missing = batch;
		ret = vm_insert_pages(vma, at, pages, &missing);
		if (ret)
			return ret;
		at += batch << PAGE_SHIFT;
		pages += batch;
		left -= batch;
		cond_resched();
	}
	return 0;
}

static int pfs_fp_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct pfs_fp_file *file = filp->private_data;
	struct pfs_fp_channel *channel = file->channel;
	unsigned long clear = VM_MAYEXEC;
	struct pfs_fp_region *region;
	int ret;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	if (mutex_lock_killable(&channel->lock))
		return -EINTR;
	region = pfs_fp_map_begin(file, vma);
	if (!file->roles)
		clear |= VM_MAYWRITE;
	mutex_unlock(&channel->lock);
	if (IS_ERR(region))
		return PTR_ERR(region);

	ret = pfs_fp_insert_pages(region, vma);
	if (!ret) {
		mutex_lock(&channel->lock);
		/* Another thread may have bound the file meanwhile, to a region after a RESET. */
		if (file->region && file->region != region)
			ret = -ESTALE;
		else
			pfs_fp_bind(file, region);
		mutex_unlock(&channel->lock);
	}
	if (ret) {
		atomic_dec(&region->mappings);
		pfs_fp_region_put(region);
		return ret;
	}
	/* A role belongs to one process, so a child gets no mapping with it. */
	pfs_fp_vm_flags(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, clear);
	vma->vm_private_data = region;
	vma->vm_ops = &pfs_fp_vm_ops;
	return 0;
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
	struct pfs_fp_channel *channel = file->channel;
	struct pfs_fp_region *region = file->region;
	bool detached = false;

	if (region) {
		mutex_lock(&channel->lock);
		WRITE_ONCE(region->roles_held, region->roles_held & ~file->roles);
		if (--region->files == 0 && region->transient && channel->region == region) {
			pfs_fp_detach(channel, region);
			detached = true;
		}
		mutex_unlock(&channel->lock);
		if (file->roles)
			wake_up_interruptible_poll(&channel->wait, EPOLLRDHUP);
		if (detached)
			pfs_fp_region_put(region);
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

static int __init pfs_fp_register(unsigned int number)
{
	struct pfs_fp_channel *channel = &pfs_fp_channels[number];
	int ret;

	mutex_init(&channel->setup_lock);
	mutex_init(&channel->lock);
	init_waitqueue_head(&channel->wait);
	if (number == 0)
		strscpy(channel->name, "pfs_fastpath", sizeof(channel->name));
	else
		scnprintf(channel->name, sizeof(channel->name), "pfs_fastpath%u", number);
	channel->misc.minor = MISC_DYNAMIC_MINOR;
	channel->misc.name = channel->name;
	channel->misc.fops = &pfs_fp_fops;
	channel->misc.mode = 0660;
	ret = misc_register(&channel->misc);
	if (ret)
		pr_err("cannot register %s: %d\n", channel->name, ret);
	channel->registered = !ret;
	return ret;
}

static int __init pfs_fp_init(void)
{
	unsigned int i, registered = 1;
	int ret;

	if (channels < 1 || channels > PFS_FP_CHANNELS_MAX) {
		pr_err("channels=%u is not within 1 to %u\n", channels, PFS_FP_CHANNELS_MAX);
		return -EINVAL;
	}
	if (max_total_bytes == 0)
		max_total_bytes = min((totalram_pages() / 4) << PAGE_SHIFT, (unsigned long)SZ_1G);
	ret = pfs_fp_register(0);
	if (ret)
		return ret;
	/*
	 * From now on the first channel may be open, and a module whose init fails is freed all the
	 * same: what cannot be registered is missing, and nothing else.
	 */
	for (i = 1; i < channels; i++)
		registered += !pfs_fp_register(i);
	pr_info("%u channels, regions up to %lu bytes\n", registered, max_region_bytes);
	return 0;
}
module_init(pfs_fp_init);

static void __exit pfs_fp_exit(void)
{
	struct pfs_fp_channel *channel;

	for (channel = pfs_fp_channels; channel < pfs_fp_channels + PFS_FP_CHANNELS_MAX;
	     channel++) {
		if (!channel->registered)
			continue;
		misc_deregister(&channel->misc);
		/* No file is open any more, or the module could not go. */
		if (channel->region)
			pfs_fp_region_put(channel->region);
	}
}
module_exit(pfs_fp_exit);

MODULE_DESCRIPTION("PacketFS: memory for a ring between two processes");
MODULE_AUTHOR("The PacketFS authors");
MODULE_LICENSE("GPL");

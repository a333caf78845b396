// SPDX-License-Identifier: MIT
/* /dev/pfs_fastpath, call by call: what the UAPI header promises. */
#define _GNU_SOURCE
#include <grp.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "fastpath.h"

#define MIB (1UL << 20)
#define ROLES (PFS_FP_ROLE_PRODUCER | PFS_FP_ROLE_CONSUMER)
#define PARAMETER(name) "/sys/module/pfs_fastpath/parameters/" name

static void device_nodes(void)
{
	struct stat status;

	for (int i = 0; i < 4; i++) {
		char path[32];

		snprintf(path, sizeof(path), i ? DEVICE "%d" : DEVICE, i);
		CHECK(stat(path, &status) == 0);
		CHECK_EQ(status.st_mode, S_IFCHR | 0660U);
		CHECK_EQ(fp_info(fp_open(path)).channel, i);
	}
	CHECK_ERRNO(stat(DEVICE "4", &status), ENOENT);
}

static void info_of_empty_channel(void)
{
	struct pfs_fp_info info = fp_info(fp_open(DEVICE));
	struct pfs_fp_info expected = {
	    .version = PFS_FP_VERSION,
	    .max_slots = read_number(PARAMETER("max_slots")),
	    .max_region_bytes = read_number(PARAMETER("max_region_bytes")),
	    .max_total_bytes = read_number(PARAMETER("max_total_bytes")),
	};

	CHECK(memcmp(&info, &expected, sizeof(info)) == 0);
}

static void setup_rejects(void)
{
	static const struct {
		uint64_t ring_bytes;
		uint32_t slots, flags;
		int error;
	} cases[] = {
	    {MIB, 0, 0, EINVAL},
	    {MIB, 3, 0, EINVAL},
	    {MIB, UINT32_MAX, 0, EINVAL},
	    {MIB, 64, 2, EINVAL},
	    {MIB, 64, UINT32_MAX, EINVAL},
	    {MIB, 64, UINT32_MAX - PFS_FP_SETUP_TRANSIENT, EINVAL},
	    {0, 64, 0, EINVAL},
	    {1, 64, 0, EINVAL},
	    {sizeof(struct pfs_fp_ring_hdr), 1, 0, EINVAL},
	    {sizeof(struct pfs_fp_ring_hdr) + 4 * 64 - 1, 64, 0, EINVAL},
	    {MIB, 1 << 18, 0, EINVAL},
	    {MIB, 0x80000000U, 0, EINVAL},
	    {UINT64_MAX, 0x80000000U, 0, EFBIG},
	    {256 * MIB, 1 << 21, 0, EFBIG},
	    {256 * MIB + 1, 64, 0, EFBIG},
	    {UINT64_MAX, 64, 0, EFBIG},
	    {1ULL << 63, 1, 0, EFBIG},
	    {UINT64_MAX - 4095, 1 << 20, 0, EFBIG},
	};
	int fd = fp_open(DEVICE);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_ERRNO(fp_setup(fd, cases[i].ring_bytes, cases[i].slots, cases[i].flags),
			    cases[i].error);
	CHECK_EQ(fp_info(fd).flags, 0);
	CHECK_EQ(fp_info(fd).total_bytes, 0);
}

/* Sets up, and compares header, INFO and every other byte with what the layout says. */
static void check_layout(uint64_t ring_bytes, uint32_t slots)
{
	uint64_t slots_end = sizeof(struct pfs_fp_ring_hdr) + 4ULL * slots;
	uint64_t data = (slots_end + PFS_FP_LINE - 1) / PFS_FP_LINE * PFS_FP_LINE;
	uint64_t slab = (ring_bytes - data) / PFS_FP_SLAB_UNIT * PFS_FP_SLAB_UNIT;
	struct pfs_fp_ring_hdr expected = {
	    .magic = PFS_FP_MAGIC,
	    .version = PFS_FP_VERSION,
	    .header_bytes = 512,
	    .slots = slots,
	    .mask = slots - 1,
	    .region_bytes = data + slab,
	    .slots_offset = 512,
	    .data_offset = data,
	    .slab_bytes = slab,
	};
	int fd = fp_open(DEVICE);
	struct pfs_fp_info info;
	unsigned char *region;

	CHECK(fp_setup(fd, ring_bytes, slots, 0) == 0);
	info = fp_info(fd);
	CHECK_EQ(info.flags, PFS_FP_INFO_READY | PFS_FP_INFO_BOUND);
	CHECK_EQ(info.slots, slots);
	CHECK_EQ(info.region_bytes, expected.region_bytes);
	CHECK_EQ(info.data_offset, data);
	CHECK_EQ(info.slab_bytes, slab);
	CHECK_EQ(info.map_bytes, (expected.region_bytes + 4095) / 4096 * 4096);
	CHECK_EQ(info.total_bytes, info.map_bytes);
	CHECK_EQ(info.roles_held | info.roles_mine | info.mappings, 0);

	region = fp_map(fd, info.map_bytes, PROT_READ);
	CHECK(region != MAP_FAILED);
	CHECK_EQ(fp_info(fd).mappings, 1);
	CHECK(memcmp(region, &expected, sizeof(expected)) == 0);
	for (size_t i = sizeof(expected); i < info.map_bytes; i++)
		if (region[i] != 0)
			FAIL("byte %zu of a region of %llu bytes is %u, not 0", i,
			     (unsigned long long)info.map_bytes, region[i]);
	CHECK(munmap(region, info.map_bytes) == 0);
	CHECK(fp_reset(fd, 0) == 0);
	CHECK(close(fd) == 0);
}

static void layout(void)
{
	check_layout(MIB, 1024);
	check_layout(640, 1);	       /* the smallest: no slab */
	check_layout(640 + 64, 32);    /* one unit */
	check_layout(768 - 1, 33 - 1); /* what is left over is no whole unit */
	check_layout(512 + 4 * MIB, 1 << 20);
}

static void layout_of_random_shapes(void)
{
	uint64_t seed = 5;

	for (int i = 0; i < 100; i++) {
		uint32_t slots = 1U << random_next(&seed) % 15;
		uint64_t least = (512 + 4ULL * slots + 127) / 128 * 128;

		check_layout(least + random_next(&seed) % 200000, slots);
	}
}

static void setup_twice(void)
{
	int fd = fp_open(DEVICE), other = fp_open(DEVICE);

	CHECK(fp_setup(fd, MIB, 64, 0) == 0);
	CHECK_ERRNO(fp_setup(fd, MIB, 64, 0), EEXIST);
	CHECK_ERRNO(fp_setup(other, MIB, 64, 0), EEXIST);
	CHECK_EQ(fp_info(other).flags, PFS_FP_INFO_READY);
	CHECK_EQ(fp_info(fd).generation, fp_info(other).generation);
	close(fd);
	/* The region belongs to the channel, not to the file that made it. */
	CHECK_EQ(fp_info(other).slots, 64);
}

/* The default follows the machine's memory: at most 1 GiB, and at most a quarter of it. */
static void total_follows_the_memory(void)
{
	long quarter = sysconf(_SC_PHYS_PAGES) / 4 * 4096, most = 1L << 30;
	long limit = read_number(PARAMETER("max_total_bytes"));
	long expected = quarter < most ? quarter : most;

	/* The memory that the kernel counts may have changed a little since the module was loaded.
	 */
	CHECK(limit > 0 && limit <= most && limit % 4096 == 0);
	CHECK(limit >= expected - expected / 50 && limit <= expected + expected / 50);
}

static void limits_are_parameters(void)
{
	int fd = fp_open(DEVICE), other = fp_open(DEVICE "1");
	char total[32];

	snprintf(total, sizeof(total), "%ld", read_number(PARAMETER("max_total_bytes")));
	CHECK(write_text(PARAMETER("max_region_bytes"), "2097152"));
	CHECK_ERRNO(fp_setup(fd, 2 * MIB + 1, 64, 0), EFBIG);
	CHECK(write_text(PARAMETER("max_slots"), "128"));
	CHECK_ERRNO(fp_setup(fd, MIB, 256, 0), EFBIG);
	CHECK(write_text(PARAMETER("max_total_bytes"), "3145728"));
	CHECK(fp_setup(fd, 2 * MIB, 128, 0) == 0);
	CHECK_ERRNO(fp_setup(other, 2 * MIB, 64, 0), ENOSPC);
	CHECK_EQ(fp_info(other).total_bytes, 2 * MIB);
	CHECK(fp_setup(other, MIB, 64, 0) == 0);
	CHECK_EQ(fp_info(other).total_bytes, 3 * MIB);
	CHECK(write_text(PARAMETER("max_total_bytes"), total));
	CHECK(write_text(PARAMETER("max_slots"), "1048576"));
	CHECK(write_text(PARAMETER("max_region_bytes"), "268435456"));
}

static void bad_pointers_and_requests(void)
{
	static const unsigned long requests[] = {PFS_FP_IOC_SETUP, PFS_FP_IOC_RESET,
						 PFS_FP_IOC_ATTACH, PFS_FP_IOC_DOORBELL,
						 PFS_FP_IOC_INFO};
	static const unsigned long addresses[] = {
	    0, 1, 0x7ffffffff000, 0x800000000000, 0xffff888000000000, 0xffffffff81000000, ~0UL};
	int fd = fp_open(DEVICE), reader = open(DEVICE, O_RDONLY), writer = open(DEVICE, O_WRONLY);
	uint32_t word = 0;

	CHECK(fp_setup(fd, MIB, 64, 0) == 0);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		for (size_t j = 0; j < sizeof(addresses) / sizeof(addresses[0]); j++)
			CHECK_ERRNO(ioctl(fd, requests[i], addresses[j]), EFAULT);
	CHECK_ERRNO(ioctl(fd, 0, &word), ENOTTY);
	CHECK_ERRNO(ioctl(fd, _IOW(0xD7, 0x05, __u32), &word), ENOTTY);
	CHECK_ERRNO(ioctl(fd, _IOW(0xD7, 0x00, __u32), &word), ENOTTY);
	CHECK_ERRNO(ioctl(fd, _IOR(0xD7, 0x01, __u32), &word), ENOTTY);

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]) - 1; i++) {
		struct pfs_fp_setup setup = {.ring_bytes = MIB, .slots = 64};

		CHECK_ERRNO(ioctl(reader, requests[i], &setup), EBADF);
		CHECK_ERRNO(ioctl(writer, requests[i], &setup), EBADF);
	}
	CHECK_EQ(fp_info(reader).flags, PFS_FP_INFO_READY);
	CHECK_ERRNO(read(fd, &word, sizeof(word)), EINVAL);
	CHECK_ERRNO(write(fd, &word, sizeof(word)), EINVAL);
	CHECK_ERRNO(lseek(fd, 0, SEEK_SET), ESPIPE);
}

static void roles(void)
{
	int fd = fp_open(DEVICE), other = fp_open(DEVICE), copy;
	size_t length;
	void *region;

	CHECK_ERRNO(fp_attach(fd, PFS_FP_ROLE_PRODUCER), ENXIO);
	CHECK(fp_setup(fd, MIB, 64, 0) == 0);
	length = fp_info(fd).map_bytes;
	CHECK_ERRNO(fp_attach(fd, 0), EINVAL);
	CHECK_ERRNO(fp_attach(fd, ROLES), EINVAL);
	CHECK_ERRNO(fp_attach(fd, 4), EINVAL);
	CHECK_ERRNO(fp_attach(fd, UINT32_MAX), EINVAL);

	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	CHECK_ERRNO(fp_attach(fd, PFS_FP_ROLE_PRODUCER), EALREADY);
	CHECK_ERRNO(fp_attach(other, PFS_FP_ROLE_PRODUCER), EBUSY);
	CHECK_EQ(fp_info(other).flags, PFS_FP_INFO_READY); /* refused, so not bound */
	CHECK(fp_attach(other, PFS_FP_ROLE_CONSUMER) == 0);
	CHECK_EQ(fp_info(fd).roles_held, ROLES);
	CHECK_EQ(fp_info(fd).roles_mine, PFS_FP_ROLE_PRODUCER);

	/* One file may hold both. */
	close(other);
	CHECK_EQ(fp_info(fd).roles_held, PFS_FP_ROLE_PRODUCER);
	CHECK(fp_attach(fd, PFS_FP_ROLE_CONSUMER) == 0);
	CHECK_EQ(fp_info(fd).roles_mine, ROLES);

	/* A duplicate and a mapping both keep the file, and with it its roles. */
	other = fp_open(DEVICE);
	copy = dup(fd);
	close(fd);
	CHECK_ERRNO(fp_attach(other, PFS_FP_ROLE_PRODUCER), EBUSY);
	region = fp_map(copy, length, PROT_READ | PROT_WRITE);
	CHECK(region != MAP_FAILED);
	close(copy);
	CHECK_ERRNO(fp_attach(other, PFS_FP_ROLE_PRODUCER), EBUSY);
	munmap(region, length);
	CHECK(fp_attach(other, PFS_FP_ROLE_PRODUCER) == 0);
	CHECK_EQ(fp_info(other).roles_held, PFS_FP_ROLE_PRODUCER);
}

static void mmap_rejects(void)
{
	int fd = fp_open(DEVICE), reader = open(DEVICE, O_RDONLY);
	size_t length, page = 4096;
	void *region;

	CHECK_ERRNO(fp_map(fd, page, PROT_READ), ENXIO);
	CHECK(fp_setup(fd, 10 * page, 64, 0) == 0);
	length = fp_info(fd).map_bytes;
	CHECK_EQ(length, 10 * page);

	CHECK_ERRNO(fp_map(fd, length, PROT_READ | PROT_WRITE), EACCES); /* no role */
	region = fp_map(fd, length, PROT_READ);
	CHECK(region != MAP_FAILED);
	CHECK_ERRNO(mprotect(region, length, PROT_READ | PROT_WRITE), EACCES);
	CHECK_ERRNO(mprotect(region, length, PROT_READ | PROT_EXEC), EACCES);
	CHECK(mprotect(region, length, PROT_NONE) == 0);
	munmap(region, length);

	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	CHECK_ERRNO(fp_map(fd, length + 1, PROT_READ), EINVAL);
	CHECK_ERRNO(fp_map(fd, 1UL << 46, PROT_READ), EINVAL);
	CHECK_ERRNO(mmap(NULL, length, PROT_READ, MAP_SHARED, fd, page), EINVAL);
	CHECK_ERRNO(mmap(NULL, page, PROT_READ, MAP_SHARED, fd, length), EINVAL);
	CHECK_ERRNO(mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 1L << 62), EINVAL);
	CHECK((long)mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, fd, -page) == -1); /* overflow */
	CHECK_ERRNO(mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
	CHECK_ERRNO(mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), EINVAL);
	CHECK_ERRNO(fp_map(fd, length, PROT_READ | PROT_EXEC), EACCES);
	CHECK_ERRNO(fp_map(reader, length, PROT_READ | PROT_WRITE), EACCES);
	CHECK(fp_map(reader, length, PROT_READ) != MAP_FAILED);
	CHECK_EQ(fp_info(fd).mappings, 1);

	region = fp_map(fd, length, PROT_READ | PROT_WRITE);
	CHECK(region != MAP_FAILED);
	CHECK(mprotect(region, length, PROT_READ) == 0);
	CHECK(mprotect(region, length, PROT_READ | PROT_WRITE) == 0);
	CHECK_ERRNO(mprotect(region, length, PROT_EXEC), EACCES);
}

static void mmap_of_parts(void)
{
	int fd = fp_open(DEVICE);
	size_t page = 4096;
	unsigned char *whole, *part;

	CHECK(fp_setup(fd, 16 * page, 64, 0) == 0);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	whole = fp_map(fd, 16 * page, PROT_READ | PROT_WRITE);
	for (int i = 1; i < 16; i++)
		memset(whole + i * page, i, page);
	for (int i = 1; i < 16; i++) {
		part = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, i * page);
		CHECK(part != MAP_FAILED);
		CHECK_EQ(part[0], i);
		CHECK_EQ(part[page - 1], i);
		munmap(part, page);
	}
	CHECK_EQ(fp_info(fd).mappings, 1);
}

static void mremap_and_munmap(void)
{
	int fd = fp_open(DEVICE);
	size_t page = 4096, length = 16 * page;
	unsigned char *region, *moved;

	CHECK(fp_setup(fd, length, 64, 0) == 0);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	region = fp_map(fd, length, PROT_READ | PROT_WRITE);
	region[length - 1] = 77;
	CHECK_ERRNO(mremap(region, length, 2 * length, MREMAP_MAYMOVE), EFAULT);
	/* A length of 0 asks for a second mapping; that is growth, too. */
	CHECK((long)mremap(region, 0, length, MREMAP_MAYMOVE) == -1);
	CHECK_EQ(fp_info(fd).mappings, 1);

	moved = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	moved = mremap(region, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, moved);
	CHECK(moved != MAP_FAILED && moved != region);
	CHECK_EQ(moved[length - 1], 77);
	CHECK_EQ(fp_info(fd).mappings, 1);

	/* A hole in the middle makes two of it. */
	CHECK(munmap(moved + 4 * page, page) == 0);
	CHECK_EQ(fp_info(fd).mappings, 2);
	CHECK_EQ(moved[length - 1], 77);
	CHECK_ERRNO(fp_reset(fd, 0), EBUSY);
	CHECK(mremap(moved, 4 * page, page, 0) == moved);
	CHECK(munmap(moved, page) == 0);
	CHECK_EQ(fp_info(fd).mappings, 1);
	CHECK(munmap(moved + 5 * page, length - 5 * page) == 0);
	CHECK_EQ(fp_info(fd).mappings, 0);
}

static void read_first_byte(void *region)
{
	volatile unsigned char *byte = region;

	(void)*byte;
}

static void fork_inherits_no_mapping(void)
{
	int fd = fp_open(DEVICE), other = fp_open(DEVICE), status;
	void *region;
	pid_t child;

	CHECK(fp_setup(fd, MIB, 64, 0) == 0);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	region = fp_map(fd, MIB, PROT_READ | PROT_WRITE);
	child = ktap_child(read_first_byte, region);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	CHECK_EQ(fp_info(fd).mappings, 1);

	/* Whoever insists may have it, and it is counted. */
	CHECK(madvise(region, MIB, MADV_DOFORK) == 0);
	ktap_join(ktap_child(read_first_byte, region));
	CHECK_EQ(fp_info(fd).mappings, 1);

	/* The open file is inherited, so the role stays until the child is gone, too. */
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	munmap(region, MIB);
	close(fd);
	CHECK_ERRNO(fp_attach(other, PFS_FP_ROLE_PRODUCER), EBUSY);
	kill(child, SIGKILL);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(fp_attach(other, PFS_FP_ROLE_PRODUCER) == 0);
}

static void reset(void)
{
	int fd = fp_open(DEVICE), other = fp_open(DEVICE);
	struct pfs_fp_info info;
	volatile unsigned char *old, *new;

	CHECK_ERRNO(fp_reset(fd, 0), ENXIO);
	CHECK(fp_setup(fd, MIB, 64, 0) == 0);
	CHECK_ERRNO(fp_reset(fd, 2), EINVAL);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	CHECK_ERRNO(fp_reset(fd, 0), EBUSY);
	CHECK_ERRNO(fp_reset(other, 0), EBUSY);
	old = fp_map(fd, MIB, PROT_READ | PROT_WRITE);
	CHECK_ERRNO(fp_reset(other, 0), EBUSY);
	old[MIB - 1] = 1;

	/* By force; the file that was bound gets to know it. */
	info = fp_info(fd);
	CHECK(fp_reset(other, PFS_FP_RESET_FORCE) == 0);
	CHECK_EQ(fp_info(fd).flags, PFS_FP_INFO_READY | PFS_FP_INFO_BOUND | PFS_FP_INFO_STALE);
	CHECK_EQ(fp_info(other).flags, 0);
	CHECK_ERRNO(fp_reset(fd, 0), ESTALE);
	CHECK_ERRNO(fp_setup(fd, MIB, 64, 0), ESTALE);
	CHECK_ERRNO(fp_attach(fd, PFS_FP_ROLE_CONSUMER), ESTALE);
	CHECK_ERRNO(fp_map(fd, MIB, PROT_READ), ESTALE);
	CHECK_ERRNO(fp_doorbell(fd, PFS_FP_ROLE_CONSUMER), ESTALE);

	/* A new region beside the old one, which the mapping keeps. */
	CHECK(fp_setup(other, 2 * MIB, 128, 0) == 0);
	CHECK_EQ(fp_info(other).generation, info.generation + 1);
	CHECK_EQ(fp_info(other).total_bytes, 3 * MIB);
	CHECK(fp_attach(other, PFS_FP_ROLE_PRODUCER) == 0);
	new = fp_map(other, 2 * MIB, PROT_READ | PROT_WRITE);
	CHECK_EQ(new[MIB - 1], 0);
	new[MIB - 1] = 2;
	CHECK_EQ(old[MIB - 1], 1);
	close(fd);
	CHECK_EQ(old[MIB - 1], 1);
	CHECK_EQ(fp_info(other).total_bytes, 3 * MIB);
	munmap((void *)old, MIB);
	CHECK_EQ(fp_info(other).total_bytes, 2 * MIB);
}

static void mapping_outlives_close(void)
{
	int fd = fp_open(DEVICE), other = fp_open(DEVICE);
	volatile unsigned char *region, *seen;

	CHECK(fp_setup(fd, MIB, 64, 0) == 0);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	region = fp_map(fd, MIB, PROT_READ | PROT_WRITE);
	close(fd);
	region[5000] = 9;
	seen = fp_map(other, MIB, PROT_READ);
	CHECK_EQ(seen[5000], 9);
	CHECK_EQ(fp_info(other).mappings, 2);
	munmap((void *)region, MIB);
	CHECK_EQ(seen[5000], 9);
	CHECK_EQ(fp_info(other).roles_held, 0);
}

static int events(int fd, int timeout)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};

	return poll(&poller, 1, timeout) < 0 ? -1 : poller.revents;
}

static void poll_states(void)
{
	int producer = fp_open(DEVICE), consumer = fp_open(DEVICE);
	volatile struct pfs_fp_ring_hdr *hdr;

	CHECK_EQ(events(producer, 0), POLLERR);
	CHECK(fp_setup(producer, MIB, 64, 0) == 0);
	CHECK_EQ(events(producer, 0), POLLERR);
	CHECK(fp_attach(producer, PFS_FP_ROLE_PRODUCER) == 0);
	CHECK_EQ(events(producer, 0), POLLOUT | POLLRDHUP);
	CHECK(fp_attach(consumer, PFS_FP_ROLE_CONSUMER) == 0);
	CHECK_EQ(events(producer, 0), POLLOUT);
	CHECK_EQ(events(consumer, 0), POLLIN);
	hdr = fp_map(consumer, 4096, PROT_READ | PROT_WRITE);
	hdr->producer_sleeps = 1;
	CHECK_EQ(events(producer, 0), 0);
	hdr->consumer_sleeps = 1;
	CHECK_EQ(events(consumer, 20), 0);
	/* Anything but 1 says that nobody sleeps. */
	hdr->consumer_sleeps = 0xdeadbeef;
	CHECK_EQ(events(consumer, 0), POLLIN);
	hdr->consumer_sleeps = 1;
	close(producer);
	CHECK_EQ(events(consumer, 1000), POLLRDHUP);
	producer = fp_open(DEVICE);
	CHECK(fp_reset(producer, PFS_FP_RESET_FORCE) == 0);
	CHECK_EQ(events(consumer, 1000), POLLRDHUP | POLLHUP);
}

/* The system calls behind poll() and epoll_wait() on this architecture. */
#ifdef SYS_poll
#define CALL_POLL SYS_poll
#define CALL_EPOLL SYS_epoll_wait
#else
#define CALL_POLL SYS_ppoll
#define CALL_EPOLL SYS_epoll_pwait
#endif

struct sleeper {
	int fd;
	short asked, expected;
};

static void sleep_in_poll(void *argument)
{
	struct sleeper *sleeper = argument;
	struct pollfd poller = {.fd = sleeper->fd, .events = sleeper->asked};

	CHECK(poll(&poller, 1, 20000) == 1);
	CHECK_EQ(poller.revents, sleeper->expected);
}

static void doorbell_wakes(void)
{
	int producer = fp_open(DEVICE), consumer = fp_open(DEVICE), idle = fp_open(DEVICE);
	volatile struct pfs_fp_ring_hdr *hdr;
	struct sleeper sleeper;
	unsigned long sleeps;
	pid_t child;

	CHECK_ERRNO(fp_doorbell(producer, PFS_FP_ROLE_CONSUMER), EPERM);
	CHECK(fp_setup(producer, MIB, 64, 0) == 0);
	CHECK_ERRNO(fp_doorbell(producer, PFS_FP_ROLE_CONSUMER), EPERM);
	CHECK(fp_attach(producer, PFS_FP_ROLE_PRODUCER) == 0);
	CHECK_ERRNO(fp_doorbell(producer, 0), EINVAL);
	CHECK_ERRNO(fp_doorbell(producer, ROLES), EINVAL);
	CHECK_ERRNO(fp_doorbell(producer, PFS_FP_ROLE_PRODUCER), EPERM);
	CHECK_ERRNO(fp_doorbell(idle, PFS_FP_ROLE_CONSUMER), EPERM);
	CHECK(fp_doorbell(producer, PFS_FP_ROLE_CONSUMER) == 0); /* nobody is there */
	CHECK(fp_attach(consumer, PFS_FP_ROLE_CONSUMER) == 0);
	hdr = fp_map(consumer, 4096, PROT_READ | PROT_WRITE);

	hdr->consumer_sleeps = 1;
	sleeper = (struct sleeper){consumer, POLLIN, POLLIN};
	child = ktap_child(sleep_in_poll, &sleeper);
	WAIT_FOR(ktap_sleeps_in(child, CALL_POLL));
	/* The bell alone makes it look and sleep again; poll returns once the word allows it. */
	sleeps = ktap_sleeps(child);
	CHECK(fp_doorbell(producer, PFS_FP_ROLE_CONSUMER) == 0);
	WAIT_FOR(ktap_sleeps(child) > sleeps && ktap_sleeps_in(child, CALL_POLL));
	CHECK(waitpid(child, NULL, WNOHANG) == 0);
	hdr->consumer_sleeps = 0;
	CHECK(fp_doorbell(producer, PFS_FP_ROLE_CONSUMER) == 0);
	ktap_join(child);

	hdr->producer_sleeps = 1;
	sleeper = (struct sleeper){producer, POLLOUT, POLLOUT};
	child = ktap_child(sleep_in_poll, &sleeper);
	WAIT_FOR(ktap_sleeps_in(child, CALL_POLL));
	hdr->producer_sleeps = 0;
	CHECK(fp_doorbell(consumer, PFS_FP_ROLE_PRODUCER) == 0);
	ktap_join(child);

	/* RESET by force wakes everybody. */
	hdr->consumer_sleeps = 1;
	sleeper = (struct sleeper){consumer, POLLIN, POLLHUP};
	child = ktap_child(sleep_in_poll, &sleeper);
	WAIT_FOR(ktap_sleeps_in(child, CALL_POLL));
	CHECK(fp_reset(idle, PFS_FP_RESET_FORCE) == 0);
	ktap_join(child);
}

static void channels_are_separate(void)
{
	int fds[4];

	for (int i = 0; i < 4; i++) {
		char path[32];

		snprintf(path, sizeof(path), i ? DEVICE "%d" : DEVICE, i);
		fds[i] = fp_open(path);
		CHECK(fp_setup(fds[i], (i + 1) * MIB, 64U << i, 0) == 0);
		CHECK(fp_attach(fds[i], PFS_FP_ROLE_PRODUCER) == 0);
	}
	CHECK_EQ(fp_info(fds[0]).total_bytes, 10 * MIB);
	for (int i = 0; i < 4; i++) {
		volatile uint32_t *region = fp_map(fds[i], MIB, PROT_READ | PROT_WRITE);

		CHECK_EQ(region[5], (64U << i) - 1);
		region[1000] = i;
	}
	for (int i = 0; i < 4; i++) {
		volatile uint32_t *region = fp_map(fds[i], MIB, PROT_READ);

		CHECK_EQ(region[1000], i);
	}
}

static long free_bytes(void)
{
	char line[128];
	long kibibytes = -1;
	FILE *file = fopen("/proc/meminfo", "r");

	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "MemFree: %ld", &kibibytes) == 1)
			break;
	fclose(file);
	return kibibytes * 1024;
}

/* Sets up, maps and resets twelve regions of 32 MiB; the bytes that are not free again after it. */
static long lost_by_regions(void)
{
	int fd = fp_open(DEVICE);
	long before = free_bytes();

	for (int i = 0; i < 12; i++) {
		void *region;

		CHECK(fp_setup(fd, 32 * MIB, 1024, 0) == 0);
		region = fp_map(fd, 32 * MIB, PROT_READ);
		CHECK(region != MAP_FAILED);
		munmap(region, 32 * MIB);
		CHECK(fp_reset(fd, 0) == 0);
		close(fd);
		fd = fp_open(DEVICE);
	}
	close(fd);
	return before - free_bytes();
}

static void memory_comes_back(void)
{
	long lost;

	/* What each processor keeps on its lists of free pages counts as used: tens of MiB where a
	 * NUMA node has one processor. The first round fills them; another processor's may follow.
	 * Lost regions would soon use up the machine. */
	lost_by_regions();
	lost = lost_by_regions();
	if (lost > (long)(128 * MIB))
		FAIL("%ld bytes are missing after 12 regions of 32 MiB", lost);
}

#define CGROUP "/sys/fs/cgroup/pfs"

/* A cgroup of its own, for processes that write 0 to its cgroup.procs; gone with them. */
static void make_cgroup(const char *limit, const char *bytes)
{
	char path[64];

	CHECK(write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory"));
	rmdir(CGROUP);
	CHECK(mkdir(CGROUP, 0755) == 0);
	snprintf(path, sizeof(path), CGROUP "/%s", limit);
	CHECK(write_text(path, bytes));
}

/* The count of an event in the cgroup, such as oom_kill. */
static long cgroup_event(const char *name)
{
	char line[64], key[32];
	long count = -1, value;
	FILE *file = fopen(CGROUP "/memory.events", "r");

	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%31s %ld", key, &value) == 2 && strcmp(key, name) == 0)
			count = value;
	fclose(file);
	CHECK(count >= 0);
	return count;
}

static void setup_in_cgroup(void *unused)
{
	int fd = fp_open(DEVICE);
	long before;

	(void)unused;
	CHECK(write_text(CGROUP "/cgroup.procs", "0"));
	before = read_number(CGROUP "/memory.current");
	CHECK(fp_setup(fd, 8 * MIB, 64, 0) == 0);
	CHECK(read_number(CGROUP "/memory.current") - before >= (long)(7 * MIB));
	CHECK(fp_reset(fd, 0) == 0);
	close(fd);
	fd = fp_open(DEVICE);
	CHECK_ERRNO(fp_setup(fd, 64 * MIB, 64, 0), ENOMEM);
	CHECK_EQ(fp_info(fd).total_bytes, 0);
}

static void memory_cgroup_pays(void)
{
	make_cgroup("memory.max", "33554432");
	ktap_join(ktap_child(setup_in_cgroup, NULL));
}

/* In a cgroup that has hardly more memory than the process itself takes, again and again. */
static void setup_at_the_limit(void *unused)
{
	static const uint64_t sizes[] = {64 << 10, MIB, 16 * MIB, 64 * MIB, 200 * MIB};
	int fd = fp_open(DEVICE), failed = 0;

	(void)unused;
	CHECK(write_text(CGROUP "/cgroup.procs", "0"));
	for (int i = 0; i < 50; i++) {
		if (fp_setup(fd, sizes[i % 5], 64, 0) == 0) {
			CHECK(fp_reset(fd, 0) == 0);
			close(fd);
			fd = fp_open(DEVICE);
		} else {
			CHECK(errno == ENOMEM);
			failed++;
		}
	}
	CHECK(failed >= 10);
	CHECK_EQ(fp_info(fd).total_bytes, 0);
}

/* ENOMEM is the answer, and no process of the cgroup is killed. */
static void no_kill_at_the_limit(void)
{
	static const char *const limits[] = {"131072", "262144", "524288", "2097152"};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		make_cgroup("memory.max", limits[i]);
		ktap_join(ktap_child(setup_at_the_limit, NULL));
		CHECK_EQ(cgroup_event("oom_kill"), 0);
	}
}

static void setup_while_throttled(void *unused)
{
	int fd = fp_open(DEVICE);

	(void)unused;
	CHECK(write_text(CGROUP "/cgroup.procs", "0"));
	/* Ends when it is killed, or with success after most of a minute. */
	fp_setup(fd, 24 * MIB, 64, 0);
	pause();
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/*
 * SETUP of a process that is above memory.high sleeps for long: nobody else may wait for it, and it
 * ends when it is killed. The bound is far below what the sleeps add up to.
 */
static void throttled_setup_holds_nobody_up(void)
{
	int fd = fp_open(DEVICE);
	pid_t child;
	double started;

	make_cgroup("memory.high", "1048576");
	child = ktap_child(setup_while_throttled, NULL);
	/* It allocates, and sleeps for having more than it should. */
	WAIT_FOR(fp_info(fd).total_bytes > 0 && cgroup_event("high") > 0 &&
		 ktap_sleeps_in(child, SYS_ioctl));
	started = seconds_now();
	for (int i = 0; i < 20; i++) {
		int other = fp_open(DEVICE);

		CHECK(!(fp_info(other).flags & PFS_FP_INFO_READY));
		CHECK_ERRNO(fp_map(other, 4096, PROT_READ), ENXIO);
		CHECK_ERRNO(fp_attach(other, PFS_FP_ROLE_PRODUCER), ENXIO);
		close(other);
	}
	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitpid(child, NULL, 0) == child);
	if (seconds_now() - started > 10.0 * (double)ktap_setting("KTAP_SLOW", 1))
		FAIL("others waited for %.1f s", seconds_now() - started);
	CHECK_EQ(fp_info(fd).total_bytes, 0);
}

/* What a member of the device's group is: an ordinary user with a limit of locked memory. */
static void become_user(rlim_t limit)
{
	struct rlimit memlock = {limit, limit};

	CHECK(chown(DEVICE, 0, 1000) == 0 && chown(DEVICE "1", 0, 1000) == 0);
	CHECK(setrlimit(RLIMIT_MEMLOCK, &memlock) == 0);
	CHECK(setgroups(0, NULL) == 0 && setgid(1000) == 0 && setuid(1000) == 0);
}

static void setup_and_leave(void *unused)
{
	int fd;

	(void)unused;
	become_user(4 * MIB);
	fd = fp_open(DEVICE);
	CHECK_ERRNO(fp_setup(fd, 4 * MIB + 4096, 64, 0), ENOBUFS);
	CHECK_EQ(fp_info(fd).total_bytes, 0);
	CHECK(fp_setup(fd, 3 * MIB, 64, 0) == 0);
}

static void setup_more(void *expected)
{
	int fd;

	become_user(4 * MIB);
	fd = fp_open(DEVICE "1");
	if (*(int *)expected) {
		CHECK_ERRNO(fp_setup(fd, 2 * MIB, 64, 0), *(int *)expected);
		CHECK(fp_setup(fd, MIB, 64, 0) == 0);
		CHECK_ERRNO(fp_setup(fp_open(DEVICE), MIB, 64, 0), EEXIST);
	} else {
		CHECK(fp_setup(fd, 4 * MIB, 64, 0) == 0);
	}
	CHECK(fp_reset(fd, 0) == 0);
}

static void setup_without_limit(void *unused)
{
	int fd;

	(void)unused;
	become_user(0);
	fd = fp_open(DEVICE "1");
	CHECK_ERRNO(fp_setup(fd, 4096, 64, 0), ENOBUFS);
}

/* Whoever has no CAP_IPC_LOCK pays with RLIMIT_MEMLOCK, also when the process has ended. */
static void locked_memory_is_charged(void)
{
	int fd = fp_open(DEVICE), error = ENOBUFS;
	struct rlimit none = {0, 0};

	ktap_join(ktap_child(setup_without_limit, NULL));
	ktap_join(ktap_child(setup_and_leave, NULL));
	/* The region is there without its maker, and so is the charge. */
	CHECK_EQ(fp_info(fd).total_bytes, 3 * MIB);
	ktap_join(ktap_child(setup_more, &error));
	CHECK(fp_reset(fd, 0) == 0);
	error = 0;
	ktap_join(ktap_child(setup_more, &error));
	CHECK_EQ(fp_info(fd).total_bytes, 0);
	/* With the capability there is no such limit. */
	CHECK(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
	CHECK(fp_setup(fd, MIB, 64, 0) == 0);
}

/* A region with PFS_FP_SETUP_TRANSIENT goes with the last file, that is, also with a mapping. */
static void transient_region_goes_with_its_files(void)
{
	int fd = fp_open(DEVICE), other = fp_open(DEVICE), idle = fp_open(DEVICE);
	struct pfs_fp_info info;
	void *region;

	CHECK(fp_setup(fd, MIB, 64, PFS_FP_SETUP_TRANSIENT) == 0);
	info = fp_info(fd);
	CHECK_EQ(info.flags, PFS_FP_INFO_READY | PFS_FP_INFO_BOUND | PFS_FP_INFO_TRANSIENT);
	CHECK(fp_attach(other, PFS_FP_ROLE_CONSUMER) == 0);
	close(fd);
	CHECK_EQ(fp_info(other).generation, info.generation);
	region = fp_map(other, MIB, PROT_READ | PROT_WRITE);
	CHECK(region != MAP_FAILED);
	close(other);
	/* A file that is not bound does not keep it; the mapping does. */
	CHECK_EQ(fp_info(idle).flags, PFS_FP_INFO_READY | PFS_FP_INFO_TRANSIENT);
	munmap(region, MIB);
	CHECK_EQ(fp_info(idle).flags, 0);
	CHECK_EQ(fp_info(idle).total_bytes, 0);
	/* Without the flag it stays. */
	fd = fp_open(DEVICE);
	CHECK(fp_setup(fd, MIB, 64, 0) == 0);
	close(fd);
	CHECK_EQ(fp_info(idle).flags, PFS_FP_INFO_READY);
	/* One that was reset before goes only once. */
	CHECK(fp_reset(idle, 0) == 0);
	close(idle);
	fd = fp_open(DEVICE);
	CHECK(fp_setup(fd, MIB, 64, PFS_FP_SETUP_TRANSIENT) == 0);
	CHECK(fp_reset(fd, 0) == 0);
	other = fp_open(DEVICE);
	CHECK(fp_setup(other, MIB, 64, 0) == 0);
	close(fd);
	CHECK_EQ(fp_info(other).flags, PFS_FP_INFO_READY | PFS_FP_INFO_BOUND);
	CHECK_EQ(fp_info(other).total_bytes, MIB);
}

static void refused_for_ever(void *unused)
{
	int fd = fp_open(DEVICE "1");

	(void)unused;
	for (;;)
		CHECK_ERRNO(fp_setup(fd, 4 * MIB, 64, 0), ENOSPC);
}

/* A SETUP that is refused must not take others' room, not even for an instant. */
static void refused_setup_takes_no_room(void)
{
	pid_t child;
	char total[32];

	snprintf(total, sizeof(total), "%ld", read_number(PARAMETER("max_total_bytes")));
	CHECK(write_text(PARAMETER("max_total_bytes"), "4194304"));
	/* What is asked for in vain is within the limit, but not beside this. */
	CHECK(fp_setup(fp_open(DEVICE "2"), MIB, 64, 0) == 0);
	child = ktap_child(refused_for_ever, NULL);
	for (int i = 0; i < 3000; i++) {
		int fd = fp_open(DEVICE);

		if (fp_setup(fd, 16384, 64, 0) != 0)
			FAIL("SETUP %d of 16 KiB gave errno %d", i, errno);
		CHECK(fp_reset(fd, 0) == 0);
		close(fd);
	}
	CHECK(waitpid(child, NULL, WNOHANG) == 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	CHECK(write_text(PARAMETER("max_total_bytes"), total));
}

static void ring_later(void *producer)
{
	WAIT_FOR(ktap_sleeps_in(getppid(), CALL_EPOLL));
	CHECK(fp_doorbell(*(int *)producer, PFS_FP_ROLE_CONSUMER) == 0);
}

/* epoll asks a file once for its queue: also if that is before ATTACH, wake-ups must arrive. */
static void epoll_before_attach(void)
{
	int producer = fp_open(DEVICE), consumer = fp_open(DEVICE), epoll = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN | EPOLLET}, found;
	volatile struct pfs_fp_ring_hdr *hdr;
	pid_t child;

	CHECK(epoll >= 0);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, consumer, &event) == 0);
	CHECK(epoll_wait(epoll, &found, 1, 0) == 1 && found.events == EPOLLERR);
	CHECK(epoll_wait(epoll, &found, 1, 0) == 0);
	CHECK(fp_setup(producer, MIB, 64, 0) == 0);
	CHECK(fp_attach(producer, PFS_FP_ROLE_PRODUCER) == 0);
	hdr = fp_map(producer, 4096, PROT_READ | PROT_WRITE);
	CHECK(hdr != MAP_FAILED);

	/* ATTACH itself changes what there is to tell. */
	CHECK(fp_attach(consumer, PFS_FP_ROLE_CONSUMER) == 0);
	CHECK(epoll_wait(epoll, &found, 1, 5000) == 1 && found.events == EPOLLIN);

	hdr->consumer_sleeps = 1;
	CHECK(epoll_wait(epoll, &found, 1, 0) == 0);
	child = ktap_child(ring_later, &producer);
	/* The word alone wakes nobody. */
	hdr->consumer_sleeps = 0;
	CHECK(epoll_wait(epoll, &found, 1, 20000) == 1 && found.events == EPOLLIN);
	ktap_join(child);
}

/* Two sides that call SETUP at once: one makes the region, the other learns that it is there. */
static void setup_at_once(void)
{
	for (int i = 0; i < 100; i++) {
		int fd = fp_open(DEVICE), status;
		pid_t children[2];
		int made = 0;

		for (int j = 0; j < 2; j++) {
			children[j] = fork();
			if (children[j] == 0) {
				int mine = fp_open(DEVICE);

				if (fp_setup(mine, 4 * MIB, 64, 0) == 0)
					_exit(0);
				_exit(errno == EEXIST ? 2 : 1);
			}
		}
		for (int j = 0; j < 2; j++) {
			CHECK(waitpid(children[j], &status, 0) == children[j]);
			CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 1);
			made += WEXITSTATUS(status) == 0;
		}
		CHECK_EQ(made, 1);
		CHECK_EQ(fp_info(fd).total_bytes, 4 * MIB);
		CHECK(fp_reset(fd, 0) == 0);
		close(fd);
	}
}

/* Pages that something else still holds: their memory is charged to the cgroup all the same. */
static void pages_in_a_pipe(void)
{
	int fd = fp_open(DEVICE), pipes[2];
	struct iovec part;
	unsigned char *region, byte = 0;

	CHECK(pipe(pipes) == 0);
	CHECK(fp_setup(fd, MIB, 64, 0) == 0);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	region = fp_map(fd, MIB, PROT_READ | PROT_WRITE);
	CHECK(region != MAP_FAILED);
	region[MIB - 4096] = 99;
	part = (struct iovec){region + MIB - 4096, 4096};
	CHECK_EQ(vmsplice(pipes[1], &part, 1, 0), 4096);
	munmap(region, MIB);
	CHECK(fp_reset(fd, PFS_FP_RESET_FORCE) == 0);
	close(fd);
	/* The region is gone and no longer counted; the page is there as long as the pipe has it.
	 */
	CHECK_EQ(fp_info(fp_open(DEVICE)).total_bytes, 0);
	CHECK(read(pipes[0], &byte, 1) == 1 && byte == 99);
}

static const struct ktap_test tests[] = {
    TEST(device_nodes),
    TEST(info_of_empty_channel),
    TEST(setup_rejects),
    TEST(layout),
    TEST(layout_of_random_shapes),
    TEST(setup_twice),
    TEST(setup_at_once),
    TEST(total_follows_the_memory),
    TEST(limits_are_parameters),
    TEST(bad_pointers_and_requests),
    TEST(roles),
    TEST(mmap_rejects),
    TEST(mmap_of_parts),
    TEST(mremap_and_munmap),
    TEST(fork_inherits_no_mapping),
    TEST(reset),
    TEST(mapping_outlives_close),
    TEST(poll_states),
    TEST(doorbell_wakes),
    TEST(epoll_before_attach),
    TEST(channels_are_separate),
    TEST(memory_comes_back),
    TEST(memory_cgroup_pays),
    TEST(no_kill_at_the_limit),
    TEST(throttled_setup_holds_nobody_up),
    TEST(locked_memory_is_charged),
    TEST(transient_region_goes_with_its_files),
    TEST(refused_setup_takes_no_room),
    TEST(pages_in_a_pipe),
};

int main(void)
{
	return KTAP_RUN(tests, 240, fp_empty_all);
}

/* SPDX-License-Identifier: MIT */
/* What the tests of /dev/pfs_fastpath share: its calls, and a ring written against the UAPI header
 * alone. */
#ifndef PFS_TEST_FASTPATH_H
#define PFS_TEST_FASTPATH_H

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "ktap.h"
#include "pfs_fastpath.h"

#define DEVICE "/dev/pfs_fastpath"

static inline int fp_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		FAIL("open %s: %s", path, strerror(errno));
	return fd;
}

static inline int fp_setup(int fd, uint64_t ring_bytes, uint32_t slots, uint32_t flags)
{
	struct pfs_fp_setup setup = {.ring_bytes = ring_bytes, .slots = slots, .flags = flags};

	return ioctl(fd, PFS_FP_IOC_SETUP, &setup);
}

static inline int fp_word(int fd, unsigned long request, uint32_t value)
{
	return ioctl(fd, request, &value);
}

static inline int fp_reset(int fd, uint32_t flags)
{
	return fp_word(fd, PFS_FP_IOC_RESET, flags);
}

static inline int fp_attach(int fd, uint32_t role)
{
	return fp_word(fd, PFS_FP_IOC_ATTACH, role);
}

static inline int fp_doorbell(int fd, uint32_t role)
{
	return fp_word(fd, PFS_FP_IOC_DOORBELL, role);
}

static inline struct pfs_fp_info fp_info(int fd)
{
	struct pfs_fp_info info;

	memset(&info, 0xaa, sizeof(info));
	if (ioctl(fd, PFS_FP_IOC_INFO, &info) != 0)
		FAIL("INFO: %s", strerror(errno));
	return info;
}

static inline void *fp_map(int fd, size_t length, int protection)
{
	return mmap(NULL, length, protection, MAP_SHARED, fd, 0);
}

/* Empties all channels; for use behind a test, when nothing is open any more. */
static inline void fp_empty_all(void)
{
	char path[32];

	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), i ? DEVICE "%d" : DEVICE, i);
		int fd = open(path, O_RDWR | O_CLOEXEC);

		if (fd < 0)
			continue;
		/* A child of the test may be ending still. */
		while (fp_reset(fd, 0) != 0 && errno == EBUSY)
			usleep(10000);
		close(fd);
	}
}

/* A number from a file such as a module parameter or /sys/module/NAME/refcnt. */
static inline long read_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		FAIL("read %s: %s", path, strerror(errno));
	close(fd);
	return atol(text);
}

static inline bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* splitmix64: seeded, so that a failure can be had again. */
static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* One side of a ring over the device. */
struct side {
	int fd;
	uint32_t role;
	volatile struct pfs_fp_ring_hdr *hdr;
	volatile uint32_t *slots;
	unsigned char *slab;
	uint32_t mask;
	uint32_t units;
	uint32_t index; /* head or tail: the one this side owns */
	uint64_t sleeps;
	size_t map_bytes;
};

static inline struct side side_attach(const char *path, uint32_t role)
{
	struct side side = {.fd = fp_open(path), .role = role};
	struct pfs_fp_info info;

	CHECK(fp_attach(side.fd, role) == 0);
	info = fp_info(side.fd);
	side.map_bytes = info.map_bytes;
	side.hdr = fp_map(side.fd, info.map_bytes, PROT_READ | PROT_WRITE);
	CHECK(side.hdr != MAP_FAILED);
	side.slots = (volatile uint32_t *)((unsigned char *)side.hdr + sizeof(*side.hdr));
	side.slab = (unsigned char *)side.hdr + info.data_offset;
	side.mask = info.slots - 1;
	side.units = info.slab_bytes / PFS_FP_SLAB_UNIT;
	side.index = role == PFS_FP_ROLE_PRODUCER ? side.hdr->head : side.hdr->tail;
	return side;
}

static inline uint32_t load_acquire(volatile uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void store_release(volatile uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Sleeps until *word differs from `seen`, the other side is gone, or a second has passed. Returns
 * poll's events. */
static inline int side_wait(struct side *side, volatile uint32_t *word, uint32_t seen)
{
	bool consumer = side->role == PFS_FP_ROLE_CONSUMER;
	volatile uint32_t *sleeps =
	    consumer ? &side->hdr->consumer_sleeps : &side->hdr->producer_sleeps;
	struct pollfd poller = {.fd = side->fd,
				.events = (consumer ? POLLIN : POLLOUT) | POLLRDHUP};

	*sleeps = 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (load_acquire(word) == seen) {
		side->sleeps++;
		CHECK(poll(&poller, 1, 1000) >= 0);
	}
	*sleeps = 0;
	return poller.revents;
}

/* Wakes the other side if it sleeps. */
static inline void side_ring(struct side *side)
{
	bool consumer = side->role == PFS_FP_ROLE_CONSUMER;
	volatile uint32_t *sleeps =
	    consumer ? &side->hdr->producer_sleeps : &side->hdr->consumer_sleeps;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (*sleeps) {
		*sleeps = 0;
		CHECK(fp_doorbell(side->fd,
				  side->role ^ (PFS_FP_ROLE_PRODUCER | PFS_FP_ROLE_CONSUMER)) == 0);
	}
}

/*
 * A record in these tests: one unit, whose words follow from its number. Record n lies in unit
 * n % units, which works as long as the slab has at least as many units as the ring has slots.
 */
#define RECORD_WORDS (PFS_FP_SLAB_UNIT / sizeof(uint64_t))

static inline void record_write(uint64_t *at, uint64_t number)
{
	for (unsigned int i = 0; i < RECORD_WORDS; i++)
		at[i] = number * 0x9e3779b97f4a7c15ULL + i;
}

static inline bool record_is(const uint64_t *at, uint64_t number)
{
	uint64_t wrong = 0;

	for (unsigned int i = 0; i < RECORD_WORDS; i++)
		wrong |= at[i] ^ (number * 0x9e3779b97f4a7c15ULL + i);
	return wrong == 0;
}

#endif

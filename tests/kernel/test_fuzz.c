// SPDX-License-Identifier: MIT
/*
 * 100,000 random calls to /dev/pfs_fastpath and its neighbour, fewer on a kernel that checks so
 * much that it is slow, by two processes at the same time, which also write nonsense into the
 * regions that they map: as root, and as an ordinary user who may open the device. Some of the
 * files are the same ones in both.
 *
 * It knows only what must hold whatever happens: each call returns, with an errno that the UAPI
 * header names; afterwards nothing is held any more, and the device works.
 */
#define _GNU_SOURCE
#include <grp.h>
#include <sys/stat.h>

#include "fastpath.h"

#define CALLS 100000
#define PROCESSES 2
#define FILES 6
#define SHARED 3 /* of them */
#define ROUNDS                                                                                     \
	50 /* with new shared files each: a file is of little use once its region was reset */
#define MAPS 4
#define USER 1000
#define PAGE 4096UL

struct map {
	unsigned char *at;
	size_t length;
};

struct fuzzer {
	uint64_t seed;
	int fds[FILES];
	struct map maps[MAPS];
	unsigned long calls, succeeded;
};

/* Of all processes of a test, in memory that they share. */
static struct counts {
	unsigned long calls, succeeded;
} * counts;

static uint64_t below(struct fuzzer *fuzzer, uint64_t bound)
{
	return random_next(&fuzzer->seed) % bound;
}

/* Small numbers, powers of two and their neighbours, and anything at all. */
static uint64_t number(struct fuzzer *fuzzer)
{
	switch (below(fuzzer, 4)) {
	case 0:
		return below(fuzzer, 5);
	case 1:
		return (1ULL << below(fuzzer, 64)) + below(fuzzer, 3) - 1;
	case 2:
		return 1ULL << below(fuzzer, 24);
	default:
		return random_next(&fuzzer->seed);
	}
}

static void expect(struct fuzzer *fuzzer, const char *call, long result, const int *allowed)
{
	fuzzer->calls++;
	if (result != -1) {
		fuzzer->succeeded++;
		return;
	}
	for (; *allowed; allowed++)
		if (errno == *allowed)
			return;
	FAIL("%s gave errno %d (%s)", call, errno, strerror(errno));
}

#define EXPECT(call, result, ...) expect(fuzzer, call, result, (const int[]){__VA_ARGS__, 0})

static void fuzz_ioctl(struct fuzzer *fuzzer, int fd)
{
	static const unsigned int requests[] = {PFS_FP_IOC_RESET, PFS_FP_IOC_SETUP,
						PFS_FP_IOC_ATTACH, PFS_FP_IOC_DOORBELL,
						PFS_FP_IOC_INFO};
	static const unsigned long bad[] = {
	    0, 1, 0x7ffffffff000, 0x800000000000, 0xffff888000000000, 0xffffffff81000000};
	/* Large enough for each argument, and read or written in any place. */
	union {
		struct pfs_fp_setup setup;
		uint32_t word;
		uint64_t words[32];
	} argument;
	/* RESET seldom, as it makes other calls fail. */
	unsigned int request = requests[below(fuzzer, 12) ? 1 + below(fuzzer, 4) : 0];
	unsigned long address = (unsigned long)&argument;
	long result;

	for (int i = 0; i < 32; i++)
		argument.words[i] = number(fuzzer);
	if (request == PFS_FP_IOC_SETUP && below(fuzzer, 8) > 0) {
		argument.setup.slots = 1U << below(fuzzer, 12);
		argument.setup.ring_bytes = 512 + 4 * argument.setup.slots + below(fuzzer, 200000);
		argument.setup.flags = below(fuzzer, 4) == 0;
	} else if (request != PFS_FP_IOC_SETUP && below(fuzzer, 8) > 0) {
		argument.word = below(fuzzer, 16) ? 1 + below(fuzzer, 2) : below(fuzzer, 4);
	}
	if (below(fuzzer, 50) == 0)
		request = below(fuzzer, 2) ? random_next(&fuzzer->seed)
					   : request ^ (1U << below(fuzzer, 32));
	if (below(fuzzer, 50) == 0)
		address = bad[below(fuzzer, 6)];
	else if (below(fuzzer, 50) == 0)
		address += below(fuzzer, 100);
	/* These belong to the file system and not to the device: they may work. */
	if ((request & 0xffff0000) == 0 || ((request >> 8) & 0xff) != 0xD7) {
		ioctl(fd, request, address);
		return;
	}
	result = ioctl(fd, request, address);
	EXPECT("ioctl", result, EINVAL, EFBIG, EEXIST, ENOSPC, ENOBUFS, ENOMEM, ENXIO, EBUSY,
	       EALREADY, EPERM, EFAULT, ENOTTY, EBADF, ESTALE);
}

static void fuzz_map(struct fuzzer *fuzzer, int fd)
{
	struct map *map = &fuzzer->maps[below(fuzzer, MAPS)];
	int protection = below(fuzzer, 20) == 0 ? (int)below(fuzzer, 8)
			 : below(fuzzer, 2)	? PROT_READ | PROT_WRITE
						: PROT_READ;
	int flags = below(fuzzer, 20) == 0 ? MAP_PRIVATE : MAP_SHARED;
	off_t offset = below(fuzzer, 8) ? (off_t)(below(fuzzer, 3) * PAGE)
					: (off_t)(number(fuzzer) & ~(PAGE - 1));

	if (map->at)
		munmap(map->at, map->length);
	map->length = below(fuzzer, 10) ? (1 + below(fuzzer, 8)) * PAGE : (number(fuzzer) | 1);
	map->at = mmap(NULL, map->length, protection, flags, fd, offset);
	EXPECT("mmap", (long)map->at, EINVAL, ENXIO, EACCES, ESTALE, ENOMEM, EOVERFLOW, EPERM);
	if (map->at == MAP_FAILED)
		map->at = NULL;
}

/* Through pipes, as the kernel then meets a page that is not there with EFAULT instead of a signal.
 */
static void scribble(struct fuzzer *fuzzer, int pipe_in, int pipe_out)
{
	struct map *map = &fuzzer->maps[below(fuzzer, MAPS)];
	uint64_t junk = number(fuzzer);
	size_t at;

	if (!map->at || map->length < 8)
		return;
	at = below(fuzzer, 2) ? below(fuzzer, 512 / 8) * 8 : below(fuzzer, map->length / 8) * 8;
	if (at > map->length - 8)
		return;
	if (write(pipe_in, &junk, 8) == 8 && read(pipe_out, map->at + at, 8) != 8)
		CHECK(read(pipe_out, &junk, 8) == 8);
}

static void change_map(struct fuzzer *fuzzer)
{
	struct map *map = &fuzzer->maps[below(fuzzer, MAPS)];
	size_t pages = (map->length + PAGE - 1) / PAGE, at;
	void *moved;

	if (!map->at || pages > 1000)
		return;
	switch (below(fuzzer, 6)) {
	case 0:
		munmap(map->at, map->length);
		map->at = NULL;
		break;
	case 1: /* a hole: what is left on both sides is unmapped with the rest later */
		at = below(fuzzer, pages);
		munmap(map->at + at * PAGE, PAGE);
		break;
	case 2:
		moved =
		    mremap(map->at, map->length, (1 + below(fuzzer, 60)) * PAGE, MREMAP_MAYMOVE);
		if (moved != MAP_FAILED) {
			/* It may be shorter now; the old length would reach into other mappings. */
			munmap(moved, PAGE);
			map->at = NULL;
		}
		break;
	case 3:
		mprotect(map->at, map->length, below(fuzzer, 8));
		break;
	case 4:
		madvise(map->at, map->length, below(fuzzer, 22));
		break;
	default:
		msync(map->at, map->length, MS_SYNC);
		break;
	}
}

static void do_nothing(void *unused)
{
	(void)unused;
}

static int open_some(struct fuzzer *fuzzer)
{
	int fd = open(below(fuzzer, 2) ? DEVICE : DEVICE "1",
		      (below(fuzzer, 8) ? O_RDWR : O_RDONLY) | O_CLOEXEC);

	if (fd < 0)
		FAIL("open: %s", strerror(errno));
	return fd;
}

static void fuzz(void *argument)
{
	struct fuzzer fuzzer = *(struct fuzzer *)argument;
	int pipes[2];

	CHECK(pipe2(pipes, O_CLOEXEC) == 0);
	for (int i = 0; i < CALLS / PROCESSES / ROUNDS; i++) {
		int *slot = &fuzzer.fds[below(&fuzzer, FILES)];
		struct pollfd poller;

		if (*slot < 0)
			*slot = open_some(&fuzzer);
		switch (below(&fuzzer, 16)) {
		case 0 ... 6:
			fuzz_ioctl(&fuzzer, *slot);
			break;
		case 7 ... 9:
			fuzz_map(&fuzzer, *slot);
			break;
		case 10 ... 11:
			scribble(&fuzzer, pipes[1], pipes[0]);
			break;
		case 12 ... 13:
			change_map(&fuzzer);
			break;
		case 14:
			poller = (struct pollfd){.fd = *slot, .events = below(&fuzzer, 0x10000)};
			poll(&poller, 1, 0);
			break;
		default:
			/* Those that others have, too, stay. */
			if (slot < fuzzer.fds + SHARED)
				break;
			close(*slot);
			*slot = -1;
			if (below(&fuzzer, 64) == 0)
				ktap_join(ktap_child(do_nothing, NULL));
			break;
		}
	}
	__atomic_add_fetch(&counts->calls, fuzzer.calls, __ATOMIC_RELAXED);
	__atomic_add_fetch(&counts->succeeded, fuzzer.succeeded, __ATOMIC_RELAXED);
}

static void fuzz_all(uint64_t seed)
{
	struct fuzzer fuzzer = {.seed = seed};
	int rounds = ROUNDS / (int)ktap_setting("KTAP_SLOW", 1);
	pid_t children[PROCESSES];

	counts =
	    mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(counts != MAP_FAILED);
	for (int round = 0; round < rounds || round == 0; round++) {
		for (int i = 0; i < FILES; i++)
			fuzzer.fds[i] = i < SHARED ? open_some(&fuzzer) : -1;
		for (int i = 0; i < PROCESSES; i++) {
			fuzzer.seed = seed * 1000 + round * PROCESSES + i;
			children[i] = ktap_child(fuzz, &fuzzer);
		}
		for (int i = 0; i < SHARED; i++)
			close(fuzzer.fds[i]);
		for (int i = 0; i < PROCESSES; i++)
			ktap_join(children[i]);
	}
	printf("# seed %llu: %lu calls, of which %lu succeeded\n", (unsigned long long)seed,
	       counts->calls, counts->succeeded);
	CHECK(counts->succeeded > counts->calls / 5);
	/* Everything is closed and unmapped now. */
	for (int i = 0; i < 2; i++) {
		int fd = fp_open(i ? DEVICE "1" : DEVICE);

		CHECK_EQ(fp_info(fd).roles_held | fp_info(fd).mappings, 0);
		CHECK(fp_reset(fd, 0) == 0 || errno == ENXIO);
		close(fd);
	}
	{
		int fd = fp_open(DEVICE);

		CHECK_EQ(fp_info(fd).total_bytes, 0);
		CHECK(fp_setup(fd, 1 << 20, 64, 0) == 0);
		CHECK(fp_reset(fd, 0) == 0);
	}
}

static void fuzz_as_root(void)
{
	fuzz_all(100);
}

static void fuzz_as_user(void)
{
	/* What the udev rule does for a group. */
	CHECK(chown(DEVICE, 0, USER) == 0 && chown(DEVICE "1", 0, USER) == 0);
	CHECK(setgroups(0, NULL) == 0 && setgid(USER) == 0 && setuid(USER) == 0);
	fuzz_all(200);
}

static const struct ktap_test tests[] = {
    TEST(fuzz_as_root),
    TEST(fuzz_as_user),
};

int main(void)
{
	return KTAP_RUN(tests, 280, fp_empty_all);
}

// SPDX-License-Identifier: MIT
/*
 * Storms on /dev/pfs_fastpath: several processes that do everything at random, at the same time and
 * on the same files, for some seconds. Bounded and seeded: STORM_SECONDS each (default 2),
 * STORM_SEED (default 1); the order in which processes run is the kernel's.
 *
 * What must hold: each call returns, with success or an errno that the header names; the kernel has
 * nothing to say; and when all processes are gone, nothing is held, mapped or counted any more.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>

#include "fastpath.h"
#include "module.h"

#define PROCESSES 4
#define SHARED 6
#define MAPS 4
#define PAGE 4096UL

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* A file that is bound to a region is of no more use once that was reset: new ones after this. */
#define ROUND 0.5

static double storm_end(void)
{
	return now() + (double)ktap_setting("STORM_SECONDS", 2);
}

struct storm {
	uint64_t seed;
	int shared[SHARED]; /* descriptors of open files that all processes have */
	double end;
	unsigned long calls, succeeded;
};

/* Of all processes of a test, in memory that they share. */
static struct counts {
	unsigned long calls, succeeded;
} * counts;

static void share_counts(void)
{
	counts =
	    mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(counts != MAP_FAILED);
}

static void tell_counts(void)
{
	printf("# %lu calls, %lu of them succeeded\n", counts->calls, counts->succeeded);
	CHECK(counts->succeeded > counts->calls / 6);
}

struct area {
	unsigned char *at;
	size_t pages;
};

static uint64_t below(struct storm *storm, uint64_t bound)
{
	return random_next(&storm->seed) % bound;
}

static const char *some_device(struct storm *storm)
{
	return below(storm, 3) ? DEVICE : DEVICE "1";
}

static void expect(struct storm *storm, const char *call, long result)
{
	static const int allowed[] = {EINVAL,	EFBIG, EEXIST, ENOSPC, ENOBUFS, ENOMEM, ENXIO,
				      EALREADY, EBUSY, ESTALE, EPERM,  EACCES,	EBADF,	EFAULT};

	storm->calls++;
	if (result != -1) {
		storm->succeeded++;
		return;
	}
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (errno == allowed[i])
			return;
	FAIL("%s gave errno %d (%s)", call, errno, strerror(errno));
}

/* Maps, splits, moves, shrinks and unmaps. */
static void change_area(struct storm *storm, struct area *area, int fd)
{
	size_t at;
	void *moved;

	if (!area->at) {
		area->pages = 1 + below(storm, 24);
		moved = mmap(NULL, area->pages * PAGE,
			     below(storm, 2) ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd,
			     (off_t)(below(storm, 4) * PAGE));
		expect(storm, "mmap", (long)moved);
		area->at = moved == MAP_FAILED ? NULL : moved;
		return;
	}
	switch (below(storm, 6)) {
	case 0: /* a hole */
		at = below(storm, area->pages);
		expect(storm, "munmap", munmap(area->at + at * PAGE, PAGE));
		break;
	case 1:
		moved = mremap(area->at, area->pages * PAGE, area->pages * PAGE, MREMAP_MAYMOVE);
		expect(storm, "mremap", (long)moved);
		if (moved != MAP_FAILED)
			area->at = moved;
		break;
	case 2:
		at = 1 + below(storm, area->pages);
		moved = mremap(area->at, area->pages * PAGE, at * PAGE, MREMAP_MAYMOVE);
		expect(storm, "mremap", (long)moved);
		if (moved != MAP_FAILED) {
			area->at = moved;
			area->pages = at;
		}
		break;
	case 3:
		madvise(area->at, area->pages * PAGE,
			below(storm, 2) ? MADV_DOFORK : MADV_DONTFORK);
		break;
	default:
		expect(storm, "munmap", munmap(area->at, area->pages * PAGE));
		area->at = NULL;
		break;
	}
}

/* One process of the storm, with files of its own beside those that all have. */
static void blow(void *argument)
{
	struct storm storm = *(struct storm *)argument;
	struct area areas[MAPS] = {0};
	int own[4] = {-1, -1, -1, -1}, epoll = epoll_create1(EPOLL_CLOEXEC);

	CHECK(epoll >= 0);
	while (now() < storm.end) {
		int *slot = &own[below(&storm, 4)], fd;
		struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP};
		struct pollfd poller;

		if (*slot < 0)
			*slot = fp_open(some_device(&storm));
		fd = below(&storm, 2) ? *slot : storm.shared[below(&storm, SHARED)];
		switch (below(&storm, 14)) {
		case 0:
			expect(&storm, "SETUP",
			       fp_setup(fd, PAGE * (1 + below(&storm, 40)), 1U << below(&storm, 8),
					below(&storm, 3) == 0));
			break;
		case 2:
			if (below(&storm, 4) == 0)
				expect(&storm, "RESET", fp_reset(fd, below(&storm, 2)));
			break;
		case 1:
		case 3:
			expect(&storm, "ATTACH", fp_attach(fd, 1 + below(&storm, 2)));
			break;
		case 5:
			expect(&storm, "DOORBELL", fp_doorbell(fd, 1 + below(&storm, 2)));
			break;
		case 6:
			fp_info(fd);
			break;
		case 4:
		case 7 ... 9:
			change_area(&storm, &areas[below(&storm, MAPS)], fd);
			break;
		case 10:
			poller = (struct pollfd){.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
			poll(&poller, 1, below(&storm, 2));
			break;
		case 11:
			if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
				epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event);
			epoll_wait(epoll, &event, 1, 0);
			break;
		case 12:
			if (below(&storm, 20) == 0) {
				pid_t child = fork();

				if (child == 0)
					_exit(0);
				CHECK(child < 0 || waitpid(child, NULL, 0) == child);
			}
			break;
		default:
			close(*slot);
			*slot = -1;
			break;
		}
	}
	__atomic_add_fetch(&counts->calls, storm.calls, __ATOMIC_RELAXED);
	__atomic_add_fetch(&counts->succeeded, storm.succeeded, __ATOMIC_RELAXED);
}

/* Nothing is left of a storm. */
static void check_calm(void)
{
	int fd;

	for (int i = 0; i < 2; i++) {
		fd = fp_open(i ? DEVICE "1" : DEVICE);
		/* Children of a process that was killed may still be ending. */
		for (int wait = 0; wait < 2000 && (fp_info(fd).roles_held | fp_info(fd).mappings);
		     wait++)
			usleep(10000);
		CHECK_EQ(fp_info(fd).roles_held | fp_info(fd).mappings, 0);
		CHECK(fp_reset(fd, 0) == 0 || errno == ENXIO);
		close(fd);
	}
	fd = fp_open(DEVICE);
	for (int wait = 0; wait < 2000 && fp_info(fd).total_bytes; wait++)
		usleep(10000);
	CHECK_EQ(fp_info(fd).total_bytes, 0);
	CHECK(fp_setup(fd, 1 << 20, 64, 0) == 0);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	CHECK(fp_map(fd, 1 << 20, PROT_READ | PROT_WRITE) != MAP_FAILED);
}

/* All processes have these files; they are another set each round. */
static void run_rounds(uint64_t seed, int files)
{
	struct storm storm = {0};
	double end = storm_end();
	pid_t children[PROCESSES];

	share_counts();
	while (now() < end) {
		for (int i = 0; i < files; i++)
			storm.shared[i] = fp_open(i % 3 || files == 1 ? DEVICE : DEVICE "1");
		for (int i = files; i < SHARED; i++)
			storm.shared[i] = storm.shared[0];
		storm.end = now() + ROUND;
		for (int i = 0; i < PROCESSES; i++) {
			storm.seed = seed++;
			children[i] = ktap_child(blow, &storm);
		}
		for (int i = 0; i < files; i++)
			close(storm.shared[i]);
		for (int i = 0; i < PROCESSES; i++)
			ktap_join(children[i]);
	}
	tell_counts();
	check_calm();
}

static void everything_at_once(void)
{
	run_rounds(ktap_setting("STORM_SEED", 1) * 1000, SHARED);
}

/* The same with processes that are killed in whatever they are doing. */
static void killed_at_random(void)
{
	struct storm storm = {.end = 1e18, .seed = ktap_setting("STORM_SEED", 1) * 1000 + 500};
	double end = storm_end();
	pid_t children[PROCESSES];
	int killed = 0;

	share_counts();
	for (int i = 0; i < SHARED; i++)
		storm.shared[i] = fp_open(i % 3 ? DEVICE : DEVICE "1");
	for (int i = 0; i < PROCESSES; i++) {
		storm.seed++;
		children[i] = ktap_child(blow, &storm);
	}
	while (now() < end) {
		int i = (int)below(&storm, PROCESSES);

		usleep(below(&storm, 20000));
		CHECK(waitpid(children[i], NULL, WNOHANG) == 0);
		CHECK(kill(children[i], SIGKILL) == 0);
		CHECK(waitpid(children[i], NULL, 0) == children[i]);
		storm.seed++;
		children[i] = ktap_child(blow, &storm);
		killed++;
	}
	for (int i = 0; i < PROCESSES; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	for (int i = 0; i < SHARED; i++)
		close(storm.shared[i]);
	printf("# %d processes killed\n", killed);
	check_calm();
}

/* One open file that all use: SETUP, RESET, mmap and ATTACH race for its binding. */
static void one_file(void)
{
	run_rounds(ktap_setting("STORM_SEED", 1) * 1000 + 100, 1);
}

static void open_for_ever(void *unused)
{
	(void)unused;
	for (;;) {
		int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
		void *region;

		if (fd < 0)
			continue;
		fp_setup(fd, 1 << 16, 16, PFS_FP_SETUP_TRANSIENT);
		if (fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0) {
			region = fp_map(fd, 4096, PROT_READ | PROT_WRITE);
			if (region != MAP_FAILED)
				munmap(region, 4096);
		}
		close(fd);
	}
}

/* The module is loaded and unloaded all the time, while others open the device. */
static void unloading(void)
{
	double end = storm_end();
	pid_t children[3];
	int unloaded = 0;

	for (int i = 0; i < 3; i++)
		children[i] = ktap_child(open_for_ever, NULL);
	while (now() < end) {
		if (unload_module("pfs_fastpath") != 0) {
			CHECK_EQ(errno, EWOULDBLOCK);
			usleep(500);
			continue;
		}
		unloaded++;
		CHECK(load_module("pfs_fastpath", unloaded % 2 ? "" : "channels=2") == 0);
	}
	for (int i = 0; i < 3; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	CHECK(unload_module("pfs_fastpath") == 0);
	CHECK(load_module("pfs_fastpath", "") == 0);
	printf("# unloaded %d times\n", unloaded);
	check_calm();
}

static const struct ktap_test tests[] = {
    TEST(everything_at_once),
    TEST(killed_at_random),
    TEST(one_file),
    TEST(unloading),
};

int main(void)
{
	return KTAP_RUN(tests, 60 + ktap_setting("STORM_SECONDS", 2), fp_empty_all);
}

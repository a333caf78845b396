// SPDX-License-Identifier: MIT
/*
 * Fault injection: in each call the first allocation or copy of user memory fails, then the second,
 * and so on until the call meets none any more (/proc/self/fail-nth). After each failure the call
 * gives an error that fits, nothing is held, mapped or counted that was not before, and the same
 * call works. Needs a kernel with CONFIG_FAULT_INJECTION.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/stat.h>

#include "fastpath.h"
#include "module.h"
#include "pci.h"

#define BYTES (64UL << 10)
#define PAGE 4096UL

/* What an operation works on. Files that are -1 and areas that are NULL are not there. */
struct state {
	int fd, other, epoll;
	unsigned char *region, *former;
	struct card card;
};

struct operation {
	const char *name;
	void (*prepare)(struct state *state);
	long (*run)(struct state *state);
};

static int fail_nth = -1;

/* The n-th point from here on fails. */
static void arm(unsigned int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	CHECK(pwrite(fail_nth, text, length, 0) == length);
}

/* Whether the point was reached. */
static bool disarm(void)
{
	char text[16] = "";
	/* Reading is a copy to user space itself, and may be the point. */
	bool reached = pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && atol(text) == 0;

	/* So is writing: it fails once, and nothing is armed any more. */
	while (pwrite(fail_nth, "0", 1, 0) != 1)
		CHECK(errno == EFAULT || errno == ENOMEM);
	return reached;
}

static bool fits(int error)
{
	return error == ENOMEM || error == EFAULT || error == EAGAIN || error == ENFILE ||
	       error == EINTR || error == EBUSY || error == EIO;
}

/* ---- /dev/pfs_fastpath --------------------------------------------------------------------- */

static void prepare_nothing(struct state *state)
{
	(void)state;
}

static void prepare_file(struct state *state)
{
	state->fd = fp_open(DEVICE);
}

static void prepare_region(struct state *state)
{
	prepare_file(state);
	CHECK(fp_setup(state->fd, BYTES, 64, 0) == 0);
}

static void prepare_role(struct state *state)
{
	prepare_region(state);
	CHECK(fp_attach(state->fd, PFS_FP_ROLE_PRODUCER) == 0);
}

static void prepare_mapping(struct state *state)
{
	prepare_role(state);
	state->region = fp_map(state->fd, BYTES, PROT_READ | PROT_WRITE);
	CHECK(state->region != MAP_FAILED);
}

static void prepare_heritage(struct state *state)
{
	prepare_mapping(state);
	CHECK(madvise(state->region, BYTES, MADV_DOFORK) == 0);
}

static void prepare_epoll(struct state *state)
{
	prepare_role(state);
	state->epoll = epoll_create1(EPOLL_CLOEXEC);
	CHECK(state->epoll >= 0);
}

static long run_open(struct state *state)
{
	state->other = open(DEVICE, O_RDWR | O_CLOEXEC);
	return state->other;
}

static long run_setup(struct state *state)
{
	return fp_setup(state->fd, BYTES, 64, 0);
}

static long run_setup_transient(struct state *state)
{
	return fp_setup(state->fd, BYTES, 64, PFS_FP_SETUP_TRANSIENT);
}

static long run_reset(struct state *state)
{
	return fp_reset(state->fd, 0);
}

static long run_attach(struct state *state)
{
	return fp_attach(state->fd, PFS_FP_ROLE_PRODUCER);
}

static long run_doorbell(struct state *state)
{
	return fp_doorbell(state->fd, PFS_FP_ROLE_CONSUMER);
}

static long run_info(struct state *state)
{
	struct pfs_fp_info info;

	return ioctl(state->fd, PFS_FP_IOC_INFO, &info);
}

static long run_map(struct state *state)
{
	void *region = fp_map(state->fd, BYTES, PROT_READ | PROT_WRITE);

	if (region == MAP_FAILED)
		return -1;
	state->region = region;
	return 0;
}

static long run_move(struct state *state)
{
	/* A place that is free, and far enough away to need page tables of its own. */
	unsigned char *target = (unsigned char *)0x200000000000UL;
	void *moved = mremap(state->region, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, target);

	if (moved == MAP_FAILED)
		return -1;
	state->former = state->region;
	state->region = moved;
	return 0;
}

static long run_split(struct state *state)
{
	return munmap(state->region + 4 * PAGE, PAGE);
}

static long run_protect_part(struct state *state)
{
	return mprotect(state->region + 4 * PAGE, PAGE, PROT_READ);
}

static long run_fork(struct state *state)
{
	pid_t child = fork();

	(void)state;
	if (child == 0)
		_exit(0);
	if (child > 0)
		while (waitpid(child, NULL, 0) < 0)
			if (errno != EINTR && errno != EFAULT)
				break;
	return child;
}

static long run_poll(struct state *state)
{
	struct pollfd poller = {.fd = state->fd, .events = POLLOUT};

	return poll(&poller, 1, 0);
}

static long run_epoll(struct state *state)
{
	struct epoll_event event = {.events = EPOLLOUT};

	return epoll_ctl(state->epoll, EPOLL_CTL_ADD, state->fd, &event);
}

static long run_close(struct state *state)
{
	long result = close(state->fd);

	state->fd = -1;
	return result;
}

static const struct operation operations[] = {
    {"open", prepare_nothing, run_open},
    {"SETUP", prepare_file, run_setup},
    {"SETUP, transient", prepare_file, run_setup_transient},
    {"RESET", prepare_region, run_reset},
    {"ATTACH", prepare_region, run_attach},
    {"DOORBELL", prepare_role, run_doorbell},
    {"INFO", prepare_role, run_info},
    {"mmap", prepare_role, run_map},
    {"mremap", prepare_mapping, run_move},
    {"munmap of a part", prepare_mapping, run_split},
    {"mprotect of a part", prepare_mapping, run_protect_part},
    {"fork", prepare_mapping, run_fork},
    {"fork that inherits", prepare_heritage, run_fork},
    {"poll", prepare_role, run_poll},
    {"epoll", prepare_epoll, run_epoll},
    {"close", prepare_mapping, run_close},
};

static struct state new_state(void)
{
	return (struct state){.fd = -1, .other = -1, .epoll = -1};
}

static void drop(struct state *state)
{
	if (state->region)
		munmap(state->region, BYTES);
	/* mremap that cannot unmap the old place, for want of memory, succeeds and leaves it. */
	if (state->former)
		munmap(state->former, BYTES);
	if (state->epoll >= 0)
		close(state->epoll);
	if (state->other >= 0)
		close(state->other);
	if (state->fd >= 0)
		close(state->fd);
}

/* What the kernel counts for the channel now. */
struct seen {
	unsigned int mappings, roles;
	uint64_t total;
	bool ready;
};

/* A mapping may have been split before the failure, and stay so: then there are more of them. */
static bool nothing_lost(const struct seen *before, const struct seen *after)
{
	return after->mappings >= before->mappings && after->roles == before->roles &&
	       after->total == before->total && after->ready == before->ready;
}

static struct seen look(void)
{
	int fd = fp_open(DEVICE);
	struct pfs_fp_info info = fp_info(fd);

	close(fd);
	return (struct seen){info.mappings, info.roles_held, info.total_bytes,
			     info.flags & PFS_FP_INFO_READY};
}

static void check_empty(const char *name, unsigned int n)
{
	int fd = fp_open(DEVICE);
	struct seen seen;

	CHECK(fp_reset(fd, 0) == 0 || errno == ENXIO);
	close(fd);
	seen = look();
	if (seen.mappings || seen.roles || seen.total || seen.ready)
		FAIL("%s, point %u: %u mappings, roles %u, %llu bytes are left", name, n,
		     seen.mappings, seen.roles, (unsigned long long)seen.total);
}

static void calls_of_fastpath(void)
{
	unsigned long points = 0;

	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		const struct operation *operation = &operations[i];
		unsigned int n, failed = 0;
		bool reached = true;

		for (n = 1; reached; n++) {
			struct state state = new_state();
			struct seen before, after;
			long result;
			int error;

			operation->prepare(&state);
			before = look();
			arm(n);
			result = operation->run(&state);
			error = errno;
			reached = disarm();
			after = look();
			if (result < 0) {
				if (!reached || !fits(error))
					FAIL("%s, point %u: errno %d (%s)", operation->name, n,
					     error, strerror(error));
				failed++;
				if (state.fd >= 0 && !nothing_lost(&before, &after))
					FAIL("%s, point %u: %u mappings, roles %u, %llu bytes; "
					     "before %u, %u, %llu",
					     operation->name, n, after.mappings, after.roles,
					     (unsigned long long)after.total, before.mappings,
					     before.roles, (unsigned long long)before.total);
				/* And the same call works. */
				if (state.fd >= 0 && operation->run(&state) < 0)
					FAIL("%s, behind point %u: errno %d (%s)", operation->name,
					     n, errno, strerror(errno));
			}
			drop(&state);
			check_empty(operation->name, n);
			if (n > 5000)
				FAIL("%s meets more than 5000 points", operation->name);
		}
		points += n - 2;
		printf("# %s: %u points, %u of them made it fail\n", operation->name, n - 2,
		       failed);
	}
	printf("# %lu points\n", points);
	/* Otherwise nothing was injected. */
	CHECK(points > 100);
}

/* ---- the peeking modules ------------------------------------------------------------------- */

static long peek(struct state *state)
{
	struct pfs_rp_info info;
	uint32_t values[6];
	int fd = open(RINGPEEK, O_RDONLY | O_CLOEXEC), error;
	long result = -1;

	if (fd < 0)
		return -1;
	if (rp_select(fd, state->card.at) == 0 &&
	    rp_window(fd, state->card.bar, 0x20, 0x18, 0) == 0 &&
	    ioctl(fd, PFS_RP_IOC_GET_INFO, &info) == 0 && pread(fd, values, 0x18, 0) == 0x18)
		result = 0;
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static long read_report(struct state *state)
{
	char path[128], text[512];
	int fd, error;
	long result;

	snprintf(path, sizeof(path), "/sys/kernel/debug/r816x_peek/%s", state->card.name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	result = read(fd, text, sizeof(text)) > 0 ? 0 : -1;
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static void fail_each(const char *name, long (*run)(struct state *), struct state *state)
{
	unsigned int n, failed = 0;
	bool reached = true;

	for (n = 1; reached; n++) {
		long result;
		int error;

		arm(n);
		result = run(state);
		error = errno;
		reached = disarm();
		if (result < 0 && (!reached || !fits(error)))
			FAIL("%s, point %u: errno %d (%s)", name, n, error, strerror(error));
		failed += result < 0;
		CHECK(run(state) == 0);
		CHECK(n < 5000);
	}
	printf("# %s: %u points, %u of them made it fail\n", name, n - 2, failed);
	CHECK(n > 3);
}

static void calls_of_the_peeking_modules(void)
{
	struct state state = new_state();

	state.card = rtl8139();
	bring_up(&state.card);
	fail_each("pfs_ringpeek", peek, &state);
	fail_each("r816x_peek", read_report, &state);
}

/* Loading that fails leaves nothing, and loading that succeeds leaves the first channel at least.
 */
static void loading(void)
{
	unsigned int n, failed = 0;
	bool reached = true;

	/* sysfs and the module loader tell in the log what they could not do. */
	for (n = 1; reached && n < 150; n++) {
		long result;
		int fd, file;

		CHECK(unload_module("pfs_fastpath") == 0);
		file = open_module("pfs_fastpath");
		arm(n);
		result = syscall(SYS_finit_module, file, "", 0);
		reached = disarm();
		close(file);
		if (result != 0) {
			CHECK(reached);
			failed++;
			CHECK(load_module("pfs_fastpath", "") == 0);
		}
		fd = open(DEVICE, O_RDWR | O_CLOEXEC);
		/* udev's part is played by devtmpfs, which may have failed to make the node. */
		if (fd >= 0) {
			CHECK_EQ(fp_info(fd).total_bytes, 0);
			close(fd);
		} else {
			CHECK(result == 0 && errno == ENOENT);
		}
	}
	CHECK(unload_module("pfs_fastpath") == 0);
	CHECK(load_module("pfs_fastpath", "") == 0);
	printf("# %u points, %u of them made it fail\n", n - 1, failed);
	CHECK(failed > 5);
}

#define DEBUGFS "/sys/kernel/debug/"

static void with_faults(void (*test)(void))
{
	struct stat status;

	if (stat("/proc/self/fail-nth", &status) != 0)
		SKIP("needs a kernel with CONFIG_FAULT_INJECTION");
	/* Allocations that may sleep fail as well, pages one by one, and none is told in the log.
	 */
	CHECK(write_text(DEBUGFS "failslab/ignore-gfp-wait", "N"));
	CHECK(write_text(DEBUGFS "failslab/verbose", "0"));
	CHECK(write_text(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N"));
	CHECK(write_text(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N"));
	CHECK(write_text(DEBUGFS "fail_page_alloc/min-order", "0"));
	CHECK(write_text(DEBUGFS "fail_page_alloc/verbose", "0"));
	CHECK(write_text(DEBUGFS "fail_usercopy/verbose", "0"));
	fail_nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	CHECK(fail_nth >= 0);
	/* Page tables and such that cannot be had are told with a stack trace. */
	expect_message("");
	test();
	expect_nothing();
}

static void faults_in_fastpath(void)
{
	with_faults(calls_of_fastpath);
}

static void faults_in_the_peeking_modules(void)
{
	with_faults(calls_of_the_peeking_modules);
}

static void faults_in_loading(void)
{
	with_faults(loading);
}

static const struct ktap_test tests[] = {
    TEST(faults_in_fastpath),
    TEST(faults_in_the_peeking_modules),
    TEST(faults_in_loading),
};

int main(int count, char **arguments)
{
	/* Its restartable sequences die of copies that fail. */
	if (count > 0 && !getenv("GLIBC_TUNABLES")) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execv("/proc/self/exe", arguments);
		return 1;
	}
	return KTAP_RUN(tests, 120, fp_empty_all);
}

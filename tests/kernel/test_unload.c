// SPDX-License-Identifier: MIT
/* Loading and unloading pfs_fastpath: refused while in use, clean otherwise. */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "fastpath.h"
#include "module.h"

#define REFERENCES "/sys/module/pfs_fastpath/refcnt"

static int load(const char *parameters)
{
	return load_module("pfs_fastpath", parameters);
}

static int unload(void)
{
	return unload_module("pfs_fastpath");
}

static void refused_while_open(void)
{
	int fd = fp_open(DEVICE);

	CHECK_EQ(read_number(REFERENCES), 1);
	CHECK_ERRNO(unload(), EWOULDBLOCK);
	CHECK(fp_setup(fd, 1 << 20, 64, 0) == 0);
	CHECK_ERRNO(unload(), EWOULDBLOCK);
	close(fd);
	CHECK_EQ(read_number(REFERENCES), 0);
}

static void refused_while_mapped(void)
{
	int fd = fp_open(DEVICE);
	volatile unsigned char *region;

	CHECK(fp_setup(fd, 1 << 20, 64, 0) == 0);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	region = fp_map(fd, 1 << 20, PROT_READ | PROT_WRITE);
	CHECK(region != MAP_FAILED);
	close(fd);
	/* Only the mapping is left, and it is enough. */
	CHECK_EQ(read_number(REFERENCES), 1);
	CHECK_ERRNO(unload(), EWOULDBLOCK);
	region[1 << 19] = 1;
	CHECK_EQ(region[1 << 19], 1);
	munmap((void *)region, 1 << 20);
	CHECK_EQ(read_number(REFERENCES), 0);
}

static void refused_while_mapping_of_reset_region_is_left(void)
{
	int fd = fp_open(DEVICE);
	volatile unsigned char *region;

	CHECK(fp_setup(fd, 1 << 20, 64, 0) == 0);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	region = fp_map(fd, 1 << 20, PROT_READ | PROT_WRITE);
	CHECK(fp_reset(fd, PFS_FP_RESET_FORCE) == 0);
	close(fd);
	CHECK_ERRNO(unload(), EWOULDBLOCK);
	region[4096] = 1;
}

/* A region that nobody uses does not keep the module, and its memory comes back. */
static void unload_with_regions(void)
{
	for (int i = 0; i < 4; i++) {
		char path[32];
		int fd;

		snprintf(path, sizeof(path), i ? DEVICE "%d" : DEVICE, i);
		fd = fp_open(path);
		CHECK(fp_setup(fd, 32UL << 20, 64, 0) == 0);
		close(fd);
	}
	CHECK(unload() == 0);
	CHECK_ERRNO(open(DEVICE, O_RDWR), ENOENT);
	CHECK(load("") == 0);
	CHECK_EQ(fp_info(fp_open(DEVICE)).total_bytes, 0);
}

static void parameters(void)
{
	struct stat status;

	CHECK(unload() == 0);
	CHECK_ERRNO(load("channels=0"), EINVAL);
	CHECK_ERRNO(load("channels=17"), EINVAL);
	CHECK_ERRNO(load("channels=-1"), EINVAL);
	CHECK_ERRNO(load("max_slots=many"), EINVAL);
	CHECK(load("channels=16 max_region_bytes=8192 max_slots=4") == 0);
	CHECK(stat(DEVICE "15", &status) == 0);
	{
		int fd = fp_open(DEVICE "15");

		CHECK_ERRNO(fp_setup(fd, 8193, 4, 0), EFBIG);
		CHECK_ERRNO(fp_setup(fd, 8192, 8, 0), EFBIG);
		CHECK(fp_setup(fd, 8192, 4, 0) == 0);
		close(fd);
	}
	CHECK(unload() == 0);
	CHECK(load("channels=1") == 0);
	CHECK_ERRNO(stat(DEVICE "1", &status), ENOENT);
	CHECK(unload() == 0);
	CHECK(load("") == 0);
}

static void open_for_ever(void *unused)
{
	(void)unused;
	for (;;) {
		int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

		if (fd < 0)
			continue;
		fp_setup(fd, 1 << 16, 16, 0);
		if (fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0) {
			void *region = fp_map(fd, 4096, PROT_READ | PROT_WRITE);

			if (region != MAP_FAILED)
				munmap(region, 4096);
		}
		fp_reset(fd, PFS_FP_RESET_FORCE);
		close(fd);
	}
}

static void open_first_for_ever(void *unused)
{
	(void)unused;
	for (;;) {
		int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

		if (fd >= 0) {
			usleep(1000);
			close(fd);
		}
	}
}

/*
 * The name of a later channel is taken, by another module: loading succeeds all the same, since the
 * first channel may be open by then, and that channel is missing.
 */
static void name_of_a_channel_is_taken(void)
{
	struct stat status;

	CHECK(unload() == 0);
	CHECK(load_module("pfs_test", "name=pfs_fastpath2") == 0);
	for (int i = 0; i < 3; i++) {
		pid_t child = ktap_child(open_first_for_ever, NULL);

		/* sysfs tells of the second name with a stack trace. */
		expect_message("cannot create duplicate filename");
		CHECK(load("channels=4") == 0);
		expect_nothing();
		for (int channel = 0; channel < 4; channel++) {
			char path[32];
			int fd;

			snprintf(path, sizeof(path), channel ? DEVICE "%d" : DEVICE, channel);
			CHECK(stat(path, &status) == 0);
			if (channel == 2)
				continue;
			fd = fp_open(path);
			CHECK_EQ(fp_info(fd).channel, channel);
			close(fd);
		}
		CHECK(waitpid(child, NULL, WNOHANG) == 0);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		CHECK(unload() == 0);
	}
	CHECK(unload_module("pfs_test") == 0);

	/* The first name is the one without which nothing works. */
	CHECK(load_module("pfs_test", "name=pfs_fastpath") == 0);
	expect_message("cannot create duplicate filename");
	CHECK_ERRNO(load(""), EEXIST);
	expect_nothing();
	CHECK(unload_module("pfs_test") == 0);
	CHECK(load("") == 0);
}

/* Unloading and loading again and again while others open and use the device. */
static void race_with_open(void)
{
	pid_t children[2];
	int unloaded = 0;

	for (int i = 0; i < 2; i++)
		children[i] = ktap_child(open_for_ever, NULL);
	for (int i = 0; i < 200; i++) {
		if (unload() != 0) {
			CHECK_EQ(errno, EWOULDBLOCK);
			usleep(1000);
			continue;
		}
		unloaded++;
		CHECK(load("") == 0);
	}
	for (int i = 0; i < 2; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	CHECK(unload() == 0);
	CHECK(load("") == 0);
	printf("# unloaded %d times in between\n", unloaded);
}

static const struct ktap_test tests[] = {
    TEST(refused_while_open),
    TEST(refused_while_mapped),
    TEST(refused_while_mapping_of_reset_region_is_left),
    TEST(unload_with_regions),
    TEST(parameters),
    TEST(name_of_a_channel_is_taken),
    TEST(race_with_open),
};

int main(void)
{
	return KTAP_RUN(tests, 100, fp_empty_all);
}

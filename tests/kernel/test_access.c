// SPDX-License-Identifier: MIT
/* Who may do what: file modes, capabilities, descriptors that are handed on. */
#define _GNU_SOURCE
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "fastpath.h"
#include "pfs_ringpeek.h"

#define RINGPEEK "/dev/pfs_ringpeek"

static void become(uid_t user)
{
	CHECK(setgroups(0, NULL) == 0 && setgid(user) == 0 && setuid(user) == 0);
}

static void strangers_are_refused(void)
{
	become(1001);
	CHECK_ERRNO(open(DEVICE, O_RDWR), EACCES);
	CHECK_ERRNO(open(DEVICE, O_RDONLY), EACCES);
	CHECK_ERRNO(open(RINGPEEK, O_RDONLY), EACCES);
	CHECK_ERRNO(open("/sys/kernel/debug/r816x_peek", O_RDONLY), EACCES);
	CHECK_ERRNO(open("/sys/module/pfs_fastpath/parameters/max_slots", O_WRONLY), EACCES);
}

static void members_of_the_group_may(void)
{
	int fd;

	CHECK(chown(DEVICE, 0, 1000) == 0 && chown(DEVICE "1", 0, 0) == 0);
	become(1000);
	fd = fp_open(DEVICE);
	CHECK(fp_setup(fd, 1 << 20, 64, 0) == 0);
	CHECK(fp_attach(fd, PFS_FP_ROLE_PRODUCER) == 0);
	CHECK(fp_map(fd, 1 << 20, PROT_READ | PROT_WRITE) != MAP_FAILED);
	CHECK_ERRNO(open(DEVICE "1", O_RDWR), EACCES);
}

static void drop_rawio(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	CHECK(syscall(SYS_capget, &header, data) == 0);
	data[CAP_SYS_RAWIO / 32].effective &= ~(1U << CAP_SYS_RAWIO % 32);
	CHECK(syscall(SYS_capset, &header, data) == 0);
}

static void ringpeek_needs_rawio(void)
{
	struct pfs_rp_select select = {0};
	struct pfs_rp_window window = {0};
	struct pfs_rp_info info;
	uint32_t word;
	int fd = open(RINGPEEK, O_RDONLY);

	CHECK(fd >= 0);
	/* It does not help to have opened it before. */
	drop_rawio();
	CHECK_ERRNO(open(RINGPEEK, O_RDONLY), EPERM);
	CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_SELECT, &select), EPERM);
	CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_SET_WINDOW, &window), EPERM);
	CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_GET_INFO, &info), EPERM);
	CHECK_ERRNO(read(fd, &word, 4), EPERM);
}

static const struct ktap_test tests[] = {
    TEST(strangers_are_refused),
    TEST(members_of_the_group_may),
    TEST(ringpeek_needs_rawio),
};

int main(void)
{
	return KTAP_RUN(tests, 30, fp_empty_all);
}

// SPDX-License-Identifier: MIT
/* Kernel lockdown, which cannot be taken back: the last program of all. */
#define _GNU_SOURCE
#include "pci.h"

static void lockdown_ends_peeking(void)
{
	struct card card = rtl8139();
	struct pfs_rp_info info;
	uint32_t values[8];
	char path[128], text[512];
	int fd = rp_open_card(&card), report;

	CHECK(rp_window(fd, 1, 0x20, 0x18, 0) == 0);
	CHECK_EQ(pread(fd, values, 0x18, 0), 0x18);
	snprintf(path, sizeof(path), "/sys/kernel/debug/r816x_peek/%s", card.name);
	report = open(path, O_RDONLY);
	CHECK(report >= 0);

	CHECK(sysfs_write("/sys/kernel/security/lockdown", "integrity"));
	CHECK_ERRNO(open(RINGPEEK, O_RDONLY), EPERM);
	CHECK_ERRNO(pread(fd, values, 0x18, 0), EPERM);
	CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_GET_INFO, &info), EPERM);
	CHECK_ERRNO(rp_select(fd, card.at), EPERM);
	CHECK_ERRNO(read(report, text, sizeof(text)), EPERM);
}

static const struct ktap_test tests[] = {
    TEST(lockdown_ends_peeking),
};

int main(void)
{
	return KTAP_RUN(tests, 30, NULL);
}

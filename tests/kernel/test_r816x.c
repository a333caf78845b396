// SPDX-License-Identifier: MIT
/* r816x_peek on the machine's RTL8139, which has the same ring registers as an RTL816x. Needs
 * /dev/kmsg for the log. */
#define _GNU_SOURCE
#include "module.h"
#include "pci.h"

#define FOLDER "/sys/kernel/debug/r816x_peek/"

static int load(const char *parameters)
{
	return load_module("r816x_peek", parameters);
}

static int unload(void)
{
	return unload_module("r816x_peek");
}

struct seen {
	unsigned long vendor, device, revision, bar, tnpds, rdsar;
};

static int open_report(const struct card *card)
{
	char path[128];

	snprintf(path, sizeof(path), FOLDER "%s", card->name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static struct seen read_report(const struct card *card)
{
	char text[512] = "", name[16];
	struct seen seen;
	int fd = open_report(card);

	CHECK(fd >= 0);
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	if (sscanf(text, "device %15s\nid %lx:%lx\nrevision %lx\nbar %lu\ntnpds %lx\nrdsar %lx\n",
		   name, &seen.vendor, &seen.device, &seen.revision, &seen.bar, &seen.tnpds,
		   &seen.rdsar) != 7)
		FAIL("the report cannot be read: %s", text);
	CHECK(strcmp(name, card->name) == 0);
	return seen;
}

static void as_through_sysfs(void)
{
	struct card card = rtl8139();
	struct seen seen;

	bring_up(&card);
	/* The registers keep their values when the driver lets go, and sysfs may be read then. */
	if (sysfs_is_strict(&card))
		CHECK(drive(&card, false));
	seen = read_report(&card);
	CHECK_EQ(seen.vendor, card.vendor);
	CHECK_EQ(seen.device, card.device);
	CHECK_EQ(seen.revision, sysfs_number(card.name, "revision"));
	CHECK_EQ(seen.bar, 1);
	CHECK_EQ(seen.tnpds,
		 (unsigned long)sysfs_register(&card, 0x24) << 32 | sysfs_register(&card, 0x20));
	CHECK_EQ(seen.rdsar,
		 (unsigned long)sysfs_register(&card, 0xe8) << 32 | sysfs_register(&card, 0xe4));
	CHECK(seen.tnpds != 0 && seen.rdsar != 0);
	if (!has_driver(&card))
		CHECK(drive(&card, true));
}

static void as_through_ringpeek(void)
{
	struct card card = rtl8139();
	struct seen seen = read_report(&card);
	uint32_t halves[2];
	int fd = rp_open_card(&card);

	CHECK(rp_window(fd, 1, 0x20, 8, 0) == 0);
	CHECK_EQ(read(fd, halves, 8), 8);
	CHECK_EQ(seen.tnpds, (unsigned long)halves[1] << 32 | halves[0]);
	CHECK(rp_window(fd, 1, 0xe4, 8, 0) == 0);
	CHECK_EQ(read(fd, halves, 8), 8);
	CHECK_EQ(seen.rdsar, (unsigned long)halves[1] << 32 | halves[0]);
}

static void refuses_what_it_does_not_know(void)
{
	struct card known = rtl8139(), unknown = e1000e();
	char parameters[64];

	CHECK(open_report(&unknown) < 0);
	CHECK(unload() == 0);
	CHECK_ERRNO(open_report(&known), ENOENT);
	CHECK_ERRNO(load("bdf=nonsense"), EINVAL);
	CHECK_ERRNO(load("bdf=00:1f.7"), ENODEV);
	snprintf(parameters, sizeof(parameters), "bdf=%s", unknown.name);
	CHECK_ERRNO(load(parameters), ENODEV);
	snprintf(parameters, sizeof(parameters), "bdf=%s force=1", unknown.name);
	CHECK(load(parameters) == 0);
	CHECK_EQ(read_report(&unknown).bar, 1); /* 0x20 and up of whatever is there */
	CHECK(unload() == 0);
	snprintf(parameters, sizeof(parameters), "bdf=%s", known.name);
	bring_up(&known);
	CHECK(load(parameters) == 0);
	CHECK(read_report(&known).tnpds != 0);
	CHECK(unload() == 0);
	CHECK(load("") == 0);
}

/* The log, which more users may read than debugfs, has no addresses. Each record comes with a read.
 */
static void keeps_addresses_out_of_the_log(void)
{
	struct card card = rtl8139();
	struct seen seen;
	char record[1024], tnpds[32], rdsar[32], wanted[64];
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ssize_t length;
	bool found = false;

	bring_up(&card);
	CHECK(fd >= 0 && lseek(fd, 0, SEEK_END) >= 0);
	CHECK(unload() == 0);
	CHECK(load("") == 0);
	seen = read_report(&card);
	CHECK(seen.tnpds != 0 && seen.rdsar != 0);
	snprintf(tnpds, sizeof(tnpds), "%lx", seen.tnpds);
	snprintf(rdsar, sizeof(rdsar), "%lx", seen.rdsar);
	snprintf(wanted, sizeof(wanted), "%s: BAR 1", card.name);
	while ((length = read(fd, record, sizeof(record) - 1)) > 0) {
		record[length] = 0;
		if (strstr(record, tnpds) || strstr(record, rdsar))
			FAIL("the log has an address: %s", record);
		found |= strstr(record, wanted) != NULL;
	}
	CHECK(found);
}

static void read_for_ever(void *argument)
{
	char text[512];

	for (;;) {
		int fd = open_report(argument);

		if (fd < 0)
			continue;
		if (read(fd, text, sizeof(text)) < 0)
			CHECK(errno == EIO || errno == ENODEV || errno == ESTALE || errno == EBUSY);
		close(fd);
	}
}

static void unbind_while_reading(void)
{
	struct card card = rtl8139();
	pid_t reader = ktap_child(read_for_ever, &card);
	int status;

	for (int round = 0; round < 10; round++) {
		CHECK(drive(&card, false));
		CHECK(drive(&card, true));
	}
	/* Bound, but not up: the driver has told the card no addresses, or the old ones still stand
	 * there. */
	read_report(&card);
	CHECK(waitpid(reader, &status, WNOHANG) == 0);
	kill(reader, SIGKILL);
	waitpid(reader, &status, 0);
}

static void read_open_file_for_ever(void *argument)
{
	int fd = *(int *)argument;
	char text[512];

	for (;;)
		CHECK(pread(fd, text, sizeof(text), 0) > 0);
}

/*
 * The file stays open meanwhile. Opening it again and again would meet an instant in which debugfs
 * itself warns, whatever the module: when the last reference to a module is gone, and it is not
 * marked as going yet.
 */
static void unload_while_reading(void)
{
	struct card card = rtl8139();
	int fd = open_report(&card), status;
	pid_t reader;

	CHECK(fd >= 0);
	reader = ktap_child(read_open_file_for_ever, &fd);
	for (int round = 0; round < 20; round++)
		CHECK_ERRNO(unload(), EWOULDBLOCK);
	CHECK(waitpid(reader, &status, WNOHANG) == 0);
	kill(reader, SIGKILL);
	waitpid(reader, &status, 0);
	CHECK_ERRNO(unload(), EWOULDBLOCK);
	close(fd);
	CHECK(unload() == 0);
	CHECK(load("") == 0);
}

static void removed_device(void)
{
	struct card card = rtl8139();
	char path[128], text[512];
	int fd;

	snprintf(path, sizeof(path), PCI "%s/remove", card.name);
	CHECK(sysfs_write(path, "1"));
	fd = open_report(&card);
	CHECK(fd >= 0);
	CHECK_ERRNO(read(fd, text, sizeof(text)), ENODEV);
	close(fd);
	CHECK(sysfs_write("/sys/bus/pci/rescan", "1"));
	fd = open_report(&card);
	CHECK_ERRNO(read(fd, text, sizeof(text)), ENODEV);
	close(fd);
	CHECK(unload() == 0);
	CHECK(load("") == 0);
	read_report(&card);
}

static const struct ktap_test tests[] = {
    TEST(as_through_sysfs),
    TEST(as_through_ringpeek),
    TEST(refuses_what_it_does_not_know),
    TEST(keeps_addresses_out_of_the_log),
    TEST(unbind_while_reading),
    TEST(unload_while_reading),
    TEST(removed_device),
};

int main(void)
{
	return KTAP_RUN(tests, 60, NULL);
}

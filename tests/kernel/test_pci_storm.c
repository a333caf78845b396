// SPDX-License-Identifier: MIT
/*
 * Storms on the PCI devices that pfs_ringpeek and r816x_peek read: drivers are unbound and bound,
 * devices are removed and found again, reset, put to sleep and disabled, while processes read.
 * Bounded and seeded as test_storm.c.
 */
#define _GNU_SOURCE
#include <time.h>

#include "module.h"
#include "pci.h"

#define READERS 2

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static bool is_expected(int error)
{
	return error == ENODEV || error == EIO || error == ESTALE || error == EBUSY;
}

/* Of each of the two cards, in memory that the processes share: reads, and those that succeeded. */
static struct counts {
	unsigned long reads[2], succeeded[2];
} * counts;

static void share_counts(void)
{
	counts =
	    mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(counts != MAP_FAILED);
}

static unsigned long counted(const unsigned long *count)
{
	return __atomic_load_n(count, __ATOMIC_RELAXED);
}

static void tell_counts(void)
{
	printf(
	    "# reads: %lu of the first device, %lu succeeded; %lu of the second, %lu succeeded\n",
	    counts->reads[0], counts->succeeded[0], counts->reads[1], counts->succeeded[1]);
	CHECK(counts->succeeded[0] > 0 && counts->succeeded[1] > 0);
}

/* Reads registers, short and long, selecting the card anew each time, as it may be another one. */
static void read_registers(void *argument)
{
	struct card *cards = argument;
	uint32_t values[1024];
	uint64_t seed = getpid();

	for (;;) {
		unsigned int which = random_next(&seed) % 2;
		struct card *card = &cards[which];
		size_t bytes = random_next(&seed) % 2 ? 0x18 : 0x100;
		int fd = rp_open();
		struct pfs_rp_info info;

		if (rp_select(fd, card->at) == 0 &&
		    rp_window(fd, card->bar, 0, bytes, PFS_RP_WINDOW_UNSAFE) == 0) {
			for (int i = 0; i < 20; i++) {
				ssize_t got = pread(fd, values, bytes, 0);

				CHECK(got > 0 || is_expected(errno));
				CHECK(ioctl(fd, PFS_RP_IOC_GET_INFO, &info) == 0);
				CHECK_EQ(info.device, card->at.device);
				__atomic_add_fetch(&counts->reads[which], 1, __ATOMIC_RELAXED);
				__atomic_add_fetch(&counts->succeeded[which], got > 0,
						   __ATOMIC_RELAXED);
			}
		}
		close(fd);
	}
}

static void read_reports(void *argument)
{
	struct card *card = argument;
	char path[128], text[512];

	snprintf(path, sizeof(path), "/sys/kernel/debug/r816x_peek/%s", card->name);
	for (;;) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (read(fd, text, sizeof(text)) < 0)
			CHECK(is_expected(errno));
		close(fd);
	}
}

static bool write_attribute(const struct card *card, const char *attribute, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), PCI "%s/%s", card->name, attribute);
	return sysfs_write(path, text);
}

/* Switches decoding of memory off for an instant, as a driver or a reset does. */
static void blink_memory(const struct card *card)
{
	char path[128];
	uint16_t command, off;
	int fd;

	snprintf(path, sizeof(path), PCI "%s/config", card->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (pread(fd, &command, 2, 4) == 2 && command != 0xffff) {
		off = command & ~2;
		if (pwrite(fd, &off, 2, 4) == 2)
			pwrite(fd, &command, 2, 4);
	}
	close(fd);
}

static void restore(struct card *cards)
{
	sysfs_write("/sys/bus/pci/rescan", "1");
	for (int i = 0; i < 2; i++) {
		write_attribute(&cards[i], "power/control", "on");
		if (!has_driver(&cards[i]))
			CHECK(drive(&cards[i], true));
	}
	/* It knows the devices that were there when it was loaded. */
	CHECK(unload_module("r816x_peek") == 0);
	CHECK(load_module("r816x_peek", "") == 0);
}

static void devices_come_and_go(void)
{
	struct card cards[2] = {rtl8139(), e1000e()};
	double end = now() + (double)ktap_setting("STORM_SECONDS", 2);
	uint64_t seed = ktap_setting("STORM_SEED", 1);
	unsigned int done[6] = {0};
	pid_t readers[READERS + 1];
	int status;

	share_counts();
	for (int i = 0; i < READERS; i++)
		readers[i] = ktap_child(read_registers, cards);
	readers[READERS] = ktap_child(read_reports, &cards[0]);
	WAIT_FOR(counted(&counts->succeeded[0]) > 0 && counted(&counts->succeeded[1]) > 0);
	while (now() < end) {
		struct card *card = &cards[random_next(&seed) % 2];
		unsigned int action = random_next(&seed) % 6;

		done[action]++;
		switch (action) {
		case 0:
			drive(card, false);
			break;
		case 1:
			drive(card, true);
			break;
		case 2:
			write_attribute(card, "remove", "1");
			sysfs_write("/sys/bus/pci/rescan", "1");
			break;
		case 3:
			/* With a driver that can, or without one, the device sleeps soon after. */
			write_attribute(card, "power/control",
					random_next(&seed) % 2 ? "auto" : "on");
			break;
		case 4:
			write_attribute(card, "reset", "1");
			break;
		default:
			if (!has_driver(card))
				blink_memory(card);
			break;
		}
		usleep(random_next(&seed) % 3000);
	}
	for (int i = 0; i <= READERS; i++) {
		CHECK(waitpid(readers[i], &status, WNOHANG) == 0);
		kill(readers[i], SIGKILL);
		waitpid(readers[i], &status, 0);
	}
	printf("# unbound %u, bound %u, removed %u, power %u, reset %u, memory off %u times\n",
	       done[0], done[1], done[2], done[3], done[4], done[5]);
	tell_counts();
	restore(cards);
	for (int i = 0; i < 2; i++) {
		uint32_t values[6];
		int fd = rp_open_card(&cards[i]);

		CHECK(rp_window(fd, cards[i].bar, 0, sizeof(values), PFS_RP_WINDOW_UNSAFE) == 0);
		CHECK_EQ(pread(fd, values, sizeof(values), 0), sizeof(values));
		close(fd);
	}
}

/* Virtual functions appear and vanish: the writer takes the locks the other way round. */
static void virtual_functions_come_and_go(void)
{
	struct card disk = find_card(0x1b36, 0x0010, 0, "nvme"), pair[2];
	double end = now() + (double)ktap_setting("STORM_SECONDS", 2);
	pid_t reader;
	int rounds = 0, status;

	if (!has_driver(&disk))
		SKIP("this kernel has no driver for the disk controller");
	pair[0] = pair[1] = disk;
	/* The first virtual function's place, whether it is there or not. */
	pair[1].at.function = 1;
	CHECK(write_attribute(&disk, "sriov_drivers_autoprobe", "0"));
	share_counts();
	reader = ktap_child(read_registers, pair);
	while (now() < end) {
		unsigned long before = counted(&counts->succeeded[1]);

		CHECK(write_attribute(&disk, "sriov_numvfs", "2"));
		/* It goes while it is read. */
		WAIT_FOR(counted(&counts->succeeded[1]) != before);
		CHECK(write_attribute(&disk, "sriov_numvfs", "0"));
		rounds++;
	}
	CHECK(waitpid(reader, &status, WNOHANG) == 0);
	kill(reader, SIGKILL);
	waitpid(reader, &status, 0);
	printf("# %d times\n", rounds);
	tell_counts();
}

static const struct ktap_test tests[] = {
    TEST(devices_come_and_go),
    TEST(virtual_functions_come_and_go),
};

int main(void)
{
	return KTAP_RUN(tests, 100 + ktap_setting("STORM_SECONDS", 2), NULL);
}

// SPDX-License-Identifier: MIT
/* /dev/pfs_ringpeek on the machine's two network cards. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>

#include "module.h"
#include "pci.h"

#define UNSAFE PFS_RP_WINDOW_UNSAFE

static void select_rejects(void)
{
	struct card card = rtl8139();
	struct pfs_rp_info info;
	uint32_t word;
	int fd = rp_open();

	CHECK_ERRNO(rp_select(fd, (struct pfs_rp_select){0, 0, 32, 0, 0}), EINVAL);
	CHECK_ERRNO(rp_select(fd, (struct pfs_rp_select){0, 0, 0, 8, 0}), EINVAL);
	CHECK_ERRNO(rp_select(fd, (struct pfs_rp_select){0, 0, 0, 0, 1}), EINVAL);
	CHECK_ERRNO(rp_select(fd, (struct pfs_rp_select){0, 255, 31, 7, 0}), ENODEV);
	CHECK_ERRNO(rp_select(fd, (struct pfs_rp_select){0xffffffff, 0, 0, 0, 0}), ENODEV);
	CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_GET_INFO, &info), ENXIO);
	CHECK_ERRNO(rp_window(fd, 1, 0, 4, 0), ENXIO);
	CHECK_ERRNO(read(fd, &word, 4), ENXIO);
	CHECK_ERRNO(lseek(fd, 0, SEEK_SET), ENXIO);
	CHECK(rp_select(fd, card.at) == 0);
	CHECK_ERRNO(read(fd, &word, 4), ENXIO); /* no window yet */
	CHECK_ERRNO(ioctl(fd, 0, &info), ENOTTY);
	CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_SELECT, NULL), EFAULT);
	CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_SET_WINDOW, 1), EFAULT);
	CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_GET_INFO, 0xffffffff81000000), EFAULT);
}

static void info_as_in_sysfs(void)
{
	struct card cards[2] = {rtl8139(), e1000e()};

	for (int i = 0; i < 2; i++) {
		int fd = rp_open_card(&cards[i]);
		const char *name = cards[i].name;
		struct pfs_rp_info info;

		memset(&info, 0xaa, sizeof(info));
		CHECK(ioctl(fd, PFS_RP_IOC_GET_INFO, &info) == 0);
		CHECK_EQ(info.flags, PFS_RP_INFO_DRIVER | PFS_RP_INFO_KNOWN);
		CHECK_EQ(info.domain, cards[i].at.domain);
		CHECK_EQ(info.bus, cards[i].at.bus);
		CHECK_EQ(info.device, cards[i].at.device);
		CHECK_EQ(info.function, cards[i].at.function);
		CHECK_EQ(info.vendor_id, cards[i].vendor);
		CHECK_EQ(info.device_id, cards[i].device);
		CHECK_EQ(info.revision, sysfs_number(name, "revision"));
		CHECK_EQ(info.subsystem_vendor_id, sysfs_number(name, "subsystem_vendor"));
		CHECK_EQ(info.subsystem_id, sysfs_number(name, "subsystem_device"));
		CHECK_EQ(info.class_code, sysfs_number(name, "class"));
		CHECK_EQ(info.window.length, 0);
		for (int bar = 0; bar < PFS_RP_BARS; bar++) {
			char path[128];
			struct stat status;

			snprintf(path, sizeof(path), PCI "%s/resource%d", name, bar);
			CHECK_EQ(info.bar_bytes[bar],
				 stat(path, &status) == 0 ? (unsigned long)status.st_size : 0);
		}
		CHECK(rp_window(fd, cards[i].bar, 0x10, 8, UNSAFE) == 0);
		CHECK(ioctl(fd, PFS_RP_IOC_GET_INFO, &info) == 0);
		CHECK_EQ(info.window.bar, cards[i].bar);
		CHECK_EQ(info.window.offset, 0x10);
		CHECK_EQ(info.window.length, 8);
		CHECK_EQ(info.window.flags, UNSAFE);
		CHECK(rp_select(fd, cards[i].at) == 0);
		CHECK(ioctl(fd, PFS_RP_IOC_GET_INFO, &info) == 0);
		CHECK_EQ(info.window.length, 0);
	}
}

static void window_rejects(void)
{
	struct card realtek = rtl8139(), intel = e1000e();
	int fd = rp_open_card(&realtek);

	CHECK_ERRNO(rp_window(fd, 6, 0, 4, UNSAFE), EINVAL);
	CHECK_ERRNO(rp_window(fd, 0xffffffff, 0, 4, UNSAFE), EINVAL);
	CHECK_ERRNO(rp_window(fd, 1, 0, 4, 2), EINVAL);
	CHECK_ERRNO(rp_window(fd, 1, 0, 0, UNSAFE), EINVAL);
	CHECK_ERRNO(rp_window(fd, 1, 1, 4, UNSAFE), EINVAL);
	CHECK_ERRNO(rp_window(fd, 1, 2, 4, UNSAFE), EINVAL);
	CHECK_ERRNO(rp_window(fd, 1, 0, 6, UNSAFE), EINVAL);
	CHECK_ERRNO(rp_window(fd, 1, 0, PFS_RP_WINDOW_MAX + 4, UNSAFE), EINVAL);
	CHECK_ERRNO(rp_window(fd, 1, 0, UINT64_MAX - 3, UNSAFE), EINVAL);
	CHECK_ERRNO(rp_window(fd, 3, 0, 4, UNSAFE), ENODEV);
	CHECK_ERRNO(rp_window(fd, 0, 0, 4, UNSAFE), EOPNOTSUPP);
	CHECK_ERRNO(rp_window(fd, 1, 0, 260, UNSAFE), ERANGE);
	CHECK_ERRNO(rp_window(fd, 1, 256, 4, UNSAFE), ERANGE);
	CHECK_ERRNO(rp_window(fd, 1, UINT64_MAX - 3, 4, UNSAFE), ERANGE);
	CHECK_ERRNO(rp_window(fd, 1, UINT64_MAX - 3, 256, UNSAFE), ERANGE);

	/* Counters that reading clears are refused, unless that is wanted. */
	CHECK_ERRNO(rp_window(fd, 1, 0, 256, 0), EACCES);
	CHECK_ERRNO(rp_window(fd, 1, 0x6c, 4, 0), EACCES);
	/* So is the interrupt status, which reading clears on some cards. */
	CHECK_ERRNO(rp_window(fd, 1, 0x3c, 4, 0), EACCES);
	CHECK_ERRNO(rp_window(fd, 1, 0x38, 8, 0), EACCES);
	CHECK_ERRNO(rp_window(fd, 1, 0, 0x60, 0), EACCES);
	CHECK(rp_window(fd, 1, 0, 0x3c, 0) == 0);
	CHECK(rp_window(fd, 1, 0x40, 0x20, 0) == 0);
	CHECK_ERRNO(rp_window(fd, 1, 0x5c, 8, 0), EACCES);
	CHECK(rp_window(fd, 1, 0x5c, 4, 0) == 0);
	CHECK(rp_window(fd, 1, 0, 256, UNSAFE) == 0);
	close(fd);

	fd = rp_open_card(&intel);
	CHECK_ERRNO(rp_window(fd, 0, 0xc0, 4, 0), EACCES);   /* interrupt cause */
	CHECK_ERRNO(rp_window(fd, 0, 0x4000, 4, 0), EACCES); /* statistics */
	CHECK(rp_window(fd, 0, 0x2800, 0x200, 0) == 0);
	/* The same offset in another BAR is nothing that is known. */
	CHECK_ERRNO(rp_window(fd, 1, 0x2800, 4, 0), EACCES);
}

static void compare(struct card card, unsigned int start, unsigned int bytes)
{
	uint32_t values[256], nonzero = 0;
	int fd = rp_open_card(&card);

	bring_up(&card);
	CHECK(bytes <= sizeof(values));
	/* The registers keep their values when the driver lets go, and sysfs may be read then. */
	if (sysfs_is_strict(&card))
		CHECK(drive(&card, false));
	CHECK(rp_window(fd, card.bar, start, bytes, 0) == 0);
	CHECK_EQ(read(fd, values, bytes), bytes);
	for (unsigned int i = 0; i < bytes / 4; i++) {
		uint32_t other = sysfs_register(&card, start + 4 * i);

		if (values[i] != other)
			FAIL("register 0x%x of %s is 0x%x, and 0x%x through sysfs", start + 4 * i,
			     card.name, values[i], other);
		nonzero |= values[i];
	}
	/* A card that is up has rings. */
	CHECK(nonzero != 0 || !has_driver(&card));
	if (!has_driver(&card))
		CHECK(drive(&card, true));
}

/* Where sysfs refuses because a driver has the card, the module reads: that is what it is for. */
static void reads_beside_a_driver(void)
{
	struct card card = e1000e();
	uint32_t values[64];
	int fd = rp_open_card(&card);

	bring_up(&card);
	CHECK(has_driver(&card));
	CHECK(rp_window(fd, 0, 0x2800, 0x100, 0) == 0);
	CHECK_EQ(read(fd, values, 0x100), 0x100);
	CHECK(values[0] != 0);
}

/* More registers than are read under one hold of the locks, all at once and one by one. */
static void long_reads(void)
{
	struct card card = e1000e();
	uint32_t values[128], one;
	int fd = rp_open_card(&card);

	bring_up(&card);
	CHECK(rp_window(fd, 0, 0x2800, 0x200, 0) == 0);
	CHECK_EQ(pread(fd, values, 0x200, 0), 0x200);
	for (int i = 0; i < 128; i++) {
		CHECK_EQ(pread(fd, &one, 4, 4 * i), 4);
		CHECK_EQ(one, values[i]);
	}
}

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
	(void)number;
	alarms++;
}

/* Signals cut reads short, and no read fails or loses its place by that. */
static void signals_while_reading(void)
{
	struct card card = e1000e();
	struct sigaction action = {.sa_handler = count_alarm};
	struct itimerval timer = {{0, 500}, {0, 500}};
	uint32_t values[1024];
	int fd = rp_open_card(&card), short_reads = 0;

	CHECK(rp_window(fd, 0, 0x10000, 0x1000, UNSAFE) == 0);
	/* The alarm of the test itself is another signal. */
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGVTALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_VIRTUAL, &timer, NULL) == 0);
	/* How often the signal comes while registers are read is up to the machine. */
	for (int i = 0; i < 200 || (short_reads == 0 && i < 2000); i++) {
		pid_t self = getpid();
		ssize_t got;

		if (fork() == 0) {
			kill(self, SIGUSR1);
			_exit(0);
		}
		got = pread(fd, values, 0x1000, 0);
		CHECK(got > 0 ? got % 4 == 0 : errno == EINTR);
		short_reads += got != 0x1000;
		while (waitpid(-1, NULL, 0) < 0)
			CHECK(errno == EINTR);
	}
	timer = (struct itimerval){{0, 0}, {0, 0}};
	setitimer(ITIMER_VIRTUAL, &timer, NULL);
	CHECK_EQ(pread(fd, values, 0x1000, 0), 0x1000);
	printf("# %d reads were cut short\n", short_reads);
	/* A long read looks for signals, and gives the locks back, in between. */
	CHECK(short_reads > 0);
}

/* The virtual functions of the disk controller have no bit that says that they decode memory. */
static void virtual_functions(void)
{
	struct card disk = find_card(0x1b36, 0x0010, 0, "nvme"), virtual = disk;
	char path[256], target[256] = "";
	uint32_t values[8];
	int fd;

	if (!has_driver(&disk))
		SKIP("this kernel has no driver for the disk controller");
	snprintf(path, sizeof(path), PCI "%s/sriov_drivers_autoprobe", disk.name);
	CHECK(sysfs_write(path, "0"));
	snprintf(path, sizeof(path), PCI "%s/sriov_numvfs", disk.name);
	if (!sysfs_write(path, "2"))
		FAIL("sriov_numvfs: %s", strerror(errno));
	snprintf(path, sizeof(path), PCI "%s/virtfn0", disk.name);
	CHECK(readlink(path, target, sizeof(target) - 1) > 0);
	snprintf(virtual.name, sizeof(virtual.name), "%.15s", strrchr(target, '/') + 1);
	CHECK(sscanf(virtual.name, "%x:%hhx:%hhx.%hhx", &virtual.at.domain, &virtual.at.bus,
		     &virtual.at.device, &virtual.at.function) == 4);

	fd = rp_open_card(&virtual);
	CHECK(rp_window(fd, 0, 0, 0x20, UNSAFE) == 0);
	CHECK_EQ(pread(fd, values, 0x20, 0), 0x20);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(values[i], sysfs_register(&virtual, 4 * i));
	/* They go while the file is open. */
	snprintf(path, sizeof(path), PCI "%s/sriov_numvfs", disk.name);
	CHECK(sysfs_write(path, "0"));
	CHECK_ERRNO(pread(fd, values, 4, 0), ENODEV);
}

static void rtl8139_as_through_sysfs(void)
{
	struct card card = rtl8139();
	uint32_t tnpds;
	int fd = rp_open_card(&card);

	compare(card, 0x00, 0x30);
	compare(card, 0xe0, 0x0c);
	CHECK(rp_window(fd, 1, 0x20, 8, 0) == 0);
	CHECK_EQ(read(fd, &tnpds, 4), 4);
	CHECK(tnpds != 0);
}

static void e1000e_as_through_sysfs(void)
{
	compare(e1000e(), 0x2800, 0x20);
	compare(e1000e(), 0x3800, 0x20);
}

static void position_and_length(void)
{
	struct card card = e1000e();
	uint32_t values[2048], one;
	int fd = rp_open_card(&card);

	CHECK(rp_window(fd, 0, 0x2800, 0x40, 0) == 0);
	CHECK_EQ(read(fd, values, 0x20), 0x20);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0x20);
	CHECK_EQ(read(fd, values, 0x100), 0x20);
	CHECK_EQ(read(fd, values, 0x100), 0);
	CHECK_EQ(pread(fd, values, 0x40, 0), 0x40);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(pread(fd, &one, 4, 4 * i), 4);
		CHECK_EQ(one, values[i]);
	}
	CHECK_EQ(lseek(fd, -8, SEEK_END), 0x38);
	CHECK_EQ(lseek(fd, 0x40, SEEK_SET), 0x40);
	CHECK_ERRNO(lseek(fd, 0x41, SEEK_SET), EINVAL);
	CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
	CHECK_ERRNO(pread(fd, &one, 4, 2), EINVAL);
	CHECK_ERRNO(pread(fd, &one, 3, 0), EINVAL);
	CHECK_EQ(pread(fd, &one, 0, 0), 0);
	CHECK_EQ(pread(fd, &one, 4, 1L << 40), 0);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_ERRNO(syscall(SYS_read, fd, 1UL, 8UL), EFAULT);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);

	/* A refused window leaves the former one; a new one starts at its beginning. */
	CHECK_ERRNO(rp_window(fd, 0, 0xc0, 4, 0), EACCES);
	CHECK_EQ(pread(fd, values, 0x40, 0), 0x40);
	lseek(fd, 0x40, SEEK_SET);
	CHECK(rp_window(fd, 0, 0x3800, 0x10, 0) == 0);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 0);

	/* At most PFS_RP_READ_MAX at a time. */
	CHECK(rp_window(fd, 0, 0x10000, 0x2000, UNSAFE) == 0);
	CHECK_EQ(read(fd, values, 0x2000), PFS_RP_READ_MAX);
	CHECK_EQ(read(fd, values, 0x2000), 0x2000 - PFS_RP_READ_MAX);
}

static void nothing_but_reading(void)
{
	struct card card = rtl8139();
	uint32_t word = 0;
	int fd = rp_open_card(&card), writable = open(RINGPEEK, O_RDWR);

	CHECK(rp_window(fd, 1, 0x20, 8, 0) == 0);
	CHECK_ERRNO(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), ENODEV);
	CHECK_ERRNO(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), ENODEV);
	CHECK_ERRNO(write(fd, &word, 4), EBADF);
	CHECK_ERRNO(write(writable, &word, 4), EINVAL);
}

/* Reads of read_for_ever() that succeeded, in memory that the processes share. */
static volatile unsigned long *reads;

/* Waits until another read has succeeded, so that the next call comes while somebody reads. */
static void wait_for_reads(void)
{
	unsigned long before = *reads;

	WAIT_FOR(*reads != before);
}

/* Reads for ever; only the errors of a device that is not there or not enabled may come. */
static void read_for_ever(void *argument)
{
	struct card *card = argument;
	uint32_t values[64];

	for (;;) {
		int fd = rp_open();

		if (rp_select(fd, card->at) == 0 &&
		    rp_window(fd, card->bar, card->bar == 1 ? 0x20 : 0x2800, 0x18, 0) == 0) {
			for (int i = 0; i < 100; i++) {
				if (pread(fd, values, 0x18, 0) > 0)
					++*reads;
				else
					CHECK(errno == ENODEV || errno == EIO || errno == ESTALE ||
					      errno == EBUSY);
			}
		}
		close(fd);
	}
}

static pid_t start_reading(struct card *card)
{
	reads =
	    mmap(NULL, sizeof(*reads), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(reads != MAP_FAILED);
	return ktap_child(read_for_ever, card);
}

static void unbind_while_reading(void)
{
	struct card cards[2] = {rtl8139(), e1000e()};

	for (int i = 0; i < 2; i++) {
		struct pfs_rp_info info;
		int fd = rp_open_card(&cards[i]), status;
		pid_t reader = start_reading(&cards[i]);

		for (int round = 0; round < 5; round++) {
			wait_for_reads();
			CHECK(drive(&cards[i], false));
			CHECK(ioctl(fd, PFS_RP_IOC_GET_INFO, &info) == 0);
			CHECK_EQ(info.flags & (PFS_RP_INFO_DRIVER | PFS_RP_INFO_GONE), 0);
			CHECK(drive(&cards[i], true));
			CHECK(ioctl(fd, PFS_RP_IOC_GET_INFO, &info) == 0);
			CHECK_EQ(info.flags & PFS_RP_INFO_DRIVER, PFS_RP_INFO_DRIVER);
		}
		CHECK(waitpid(reader, &status, WNOHANG) == 0); /* it is still reading */
		kill(reader, SIGKILL);
		waitpid(reader, &status, 0);
	}
}

static void remove_while_reading(void)
{
	struct card cards[2] = {rtl8139(), e1000e()};

	for (int i = 0; i < 2; i++) {
		struct pfs_rp_info info;
		struct pfs_rp_window window;
		char path[128];
		uint32_t values[8];
		int fd = rp_open_card(&cards[i]), again, status;
		pid_t reader = start_reading(&cards[i]);

		CHECK(rp_window(fd, cards[i].bar, i ? 0x2800 : 0x20, 0x18, 0) == 0);
		CHECK_EQ(pread(fd, values, 0x18, 0), 0x18);
		snprintf(path, sizeof(path), PCI "%s/remove", cards[i].name);
		for (int round = 0; round < 3; round++) {
			wait_for_reads();
			CHECK(sysfs_write(path, "1"));
			/* The file keeps a device that is no longer one. */
			CHECK_ERRNO(pread(fd, values, 0x18, 0), ENODEV);
			CHECK(ioctl(fd, PFS_RP_IOC_GET_INFO, &info) == 0);
			CHECK_EQ(info.flags, PFS_RP_INFO_GONE | PFS_RP_INFO_KNOWN);
			/* It tells the address that the device had. */
			CHECK_EQ(info.domain, cards[i].at.domain);
			CHECK_EQ(info.bus, cards[i].at.bus);
			CHECK_EQ(info.device, cards[i].at.device);
			CHECK_EQ(info.function, cards[i].at.function);
			window = info.window;
			CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_SET_WINDOW, &window), ENODEV);
			CHECK_ERRNO(rp_select(fd, cards[i].at), ENODEV);

			CHECK(sysfs_write("/sys/bus/pci/rescan", "1"));
			/* It is another device that is there now; who wants that one selects it. */
			CHECK_ERRNO(pread(fd, values, 0x18, 0), ENODEV);
			again = rp_open_card(&cards[i]);
			CHECK(rp_window(again, cards[i].bar, i ? 0x2800 : 0x20, 0x18, 0) == 0);
			CHECK_EQ(pread(again, values, 0x18, 0), 0x18);
			close(fd);
			fd = again;
		}
		CHECK(waitpid(reader, &status, WNOHANG) == 0);
		kill(reader, SIGKILL);
		waitpid(reader, &status, 0);
	}
}

/* A card that does not decode memory would answer with all ones, or not at all. */
static void disabled_memory_is_an_error(void)
{
	struct card card = rtl8139();
	char path[128];
	uint16_t command, off;
	uint32_t values[8];
	int fd = rp_open_card(&card), config;

	CHECK(rp_window(fd, 1, 0x20, 8, 0) == 0);
	snprintf(path, sizeof(path), PCI "%s/config", card.name);
	config = open(path, O_RDWR);
	CHECK(pread(config, &command, 2, 4) == 2);
	off = command & ~2;
	CHECK(drive(&card, false));
	CHECK(pwrite(config, &off, 2, 4) == 2);
	CHECK_ERRNO(pread(fd, values, 8, 0), EIO);
	CHECK(pwrite(config, &command, 2, 4) == 2);
	CHECK_EQ(pread(fd, values, 8, 0), 8);
	CHECK(drive(&card, true));
}

static void read_once(void *argument)
{
	uint32_t values[6];

	CHECK_EQ(pread(*(int *)argument, values, sizeof(values), 0), sizeof(values));
}

static void read_a_busy_device(void *argument)
{
	uint32_t values[6];

	CHECK_ERRNO(pread(*(int *)argument, values, sizeof(values), 0), EBUSY);
}

/*
 * Whoever binds a driver, resets a device or changes its power holds the device's lock: no register
 * is read meanwhile. A read waits for it, can be killed, and gives up after ten seconds.
 */
static void waits_for_the_lock_of_the_device(void)
{
	struct card card = rtl8139(), other = e1000e();
	int fd = rp_open_card(&card), fd_of_other = rp_open_card(&other), again, status;
	char parameter[64];
	pid_t child;

	CHECK(rp_window(fd, card.bar, 0, 0x18, 0) == 0);
	/* Each open file is used by one call at a time. */
	again = rp_open_card(&card);
	CHECK(rp_window(again, card.bar, 0, 0x18, 0) == 0);
	CHECK(rp_window(fd_of_other, other.bar, 0x2800, 0x18, 0) == 0);
	snprintf(parameter, sizeof(parameter), "lock=%s", card.name);
	CHECK(load_module("pfs_test", parameter) == 0);

	child = ktap_child(read_a_busy_device, &fd);
	/* Others may be read meanwhile: the lock that all devices share is not kept. */
	read_once(&fd_of_other);
	ktap_join(child);

	child = ktap_child(read_once, &again);
	WAIT_FOR(ktap_sleeps_in(child, SYS_pread64));
	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status));

	child = ktap_child(read_once, &again);
	WAIT_FOR(ktap_sleeps_in(child, SYS_pread64));
	CHECK(unload_module("pfs_test") == 0);
	ktap_join(child);
}

static int load(const char *parameters)
{
	return load_module("pfs_ringpeek", parameters);
}

static int unload(void)
{
	return unload_module("pfs_ringpeek");
}

static void module_parameter(void)
{
	struct card card = e1000e();
	struct pfs_rp_info info;
	char parameter[64];
	int fd = rp_open_card(&card);

	CHECK_ERRNO(unload(), EWOULDBLOCK);
	close(fd);
	CHECK(unload() == 0);
	CHECK_ERRNO(load("bdf=nonsense"), EINVAL);
	CHECK_ERRNO(load("bdf=00:20.0"), EINVAL);
	CHECK_ERRNO(load("bdf=00:02.8"), EINVAL);
	CHECK_ERRNO(load("bdf=00:02.0z"), EINVAL);
	/* 2^32 is no domain 0. */
	CHECK_ERRNO(load("bdf=100000000:00:02.0"), EINVAL);
	snprintf(parameter, sizeof(parameter), "bdf=%s", card.name);
	CHECK(load(parameter) == 0);
	fd = rp_open();
	CHECK(ioctl(fd, PFS_RP_IOC_GET_INFO, &info) == 0);
	CHECK_EQ(info.device_id, card.device);
	close(fd);
	CHECK(unload() == 0);
	/* A device that is not there is no error until somebody wants it. */
	CHECK(load("bdf=00:1f.7") == 0);
	fd = rp_open();
	CHECK_ERRNO(ioctl(fd, PFS_RP_IOC_GET_INFO, &info), ENXIO);
	CHECK(rp_select(fd, card.at) == 0);
	close(fd);
	CHECK(unload() == 0);
	CHECK(load("") == 0);
}

static const struct ktap_test tests[] = {
    TEST(select_rejects),
    TEST(info_as_in_sysfs),
    TEST(window_rejects),
    TEST(rtl8139_as_through_sysfs),
    TEST(e1000e_as_through_sysfs),
    TEST(reads_beside_a_driver),
    TEST(position_and_length),
    TEST(long_reads),
    TEST(signals_while_reading),
    TEST(nothing_but_reading),
    TEST(disabled_memory_is_an_error),
    TEST(virtual_functions),
    TEST(waits_for_the_lock_of_the_device),
    TEST(module_parameter),
    TEST(unbind_while_reading),
    TEST(remove_while_reading),
};

int main(void)
{
	return KTAP_RUN(tests, 100, NULL);
}

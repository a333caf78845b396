/* SPDX-License-Identifier: MIT */
/* What the tests of the peeking modules share: the machine's two network cards, and the other ways
 * to read them. */
#ifndef PFS_TEST_PCI_H
#define PFS_TEST_PCI_H

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "ktap.h"
#include "pfs_ringpeek.h"

#define RINGPEEK "/dev/pfs_ringpeek"
#define PCI "/sys/bus/pci/devices/"

struct card {
	char name[16]; /* 0000:00:02.0 */
	const char *driver;
	unsigned int vendor, device;
	unsigned int bar; /* of the memory in which its registers are */
	struct pfs_rp_select at;
};

static inline unsigned long sysfs_number(const char *card, const char *file)
{
	char path[512], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), PCI "%s/%s", card, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		FAIL("read %s: %s", path, strerror(errno));
	close(fd);
	return strtoul(text, NULL, 0);
}

static inline bool sysfs_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static inline struct card find_card(unsigned int vendor, unsigned int device, unsigned int bar,
				    const char *driver)
{
	struct card card = {.driver = driver, .vendor = vendor, .device = device, .bar = bar};
	DIR *directory = opendir(PCI);
	struct dirent *entry;
	unsigned int domain, bus, slot, function;

	CHECK(directory);
	while ((entry = readdir(directory))) {
		if (sscanf(entry->d_name, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4 ||
		    sysfs_number(entry->d_name, "vendor") != vendor ||
		    sysfs_number(entry->d_name, "device") != device)
			continue;
		snprintf(card.name, sizeof(card.name), "%.15s", entry->d_name);
		card.at = (struct pfs_rp_select){domain, bus, slot, function, 0};
		closedir(directory);
		return card;
	}
	FAIL("there is no card %04x:%04x", vendor, device);
}

static inline struct card rtl8139(void)
{
	return find_card(0x10ec, 0x8139, 1, "8139cp");
}

static inline struct card e1000e(void)
{
	return find_card(0x8086, 0x10d3, 0, "e1000e");
}

static inline bool has_driver(const struct card *card)
{
	char path[128];
	struct stat status;

	snprintf(path, sizeof(path), PCI "%s/driver", card->name);
	return stat(path, &status) == 0;
}

static inline bool drive(const struct card *card, bool bind)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/%s", card->driver,
		 bind ? "bind" : "unbind");
	return sysfs_write(path, card->name);
}

/* Brings the card's interface up, so that its driver tells it where its rings are. */
static inline void bring_up(const struct card *card)
{
	struct ifreq request = {0};
	struct dirent *entry;
	DIR *directory;
	char path[128];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(path, sizeof(path), PCI "%s/net", card->name);
	directory = opendir(path);
	CHECK(directory && fd >= 0);
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			snprintf(request.ifr_name, sizeof(request.ifr_name), "%.15s",
				 entry->d_name);
	closedir(directory);
	CHECK(ioctl(fd, SIOCGIFFLAGS, &request) == 0);
	request.ifr_flags |= IFF_UP;
	CHECK(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
	close(fd);
}

/* A page of a card's registers through sysfs, as the user-space tools for PCI map them. */
static inline volatile uint32_t *sysfs_page(const struct card *card, unsigned int offset)
{
	char path[128];
	volatile uint32_t *page;
	int fd;

	snprintf(path, sizeof(path), PCI "%s/resource%u", card->name, card->bar);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, offset & ~4095U);
	close(fd);
	return page;
}

/* Whether the kernel refuses that while a driver has the card (CONFIG_IO_STRICT_DEVMEM). */
static inline bool sysfs_is_strict(const struct card *card)
{
	volatile uint32_t *page = sysfs_page(card, 0);

	if (page == MAP_FAILED)
		return true;
	munmap((void *)page, 4096);
	return false;
}

static inline uint32_t sysfs_register(const struct card *card, unsigned int offset)
{
	volatile uint32_t *page = sysfs_page(card, offset);
	uint32_t value;

	CHECK(page != MAP_FAILED);
	value = page[(offset & 4095) / 4];
	munmap((void *)page, 4096);
	return value;
}

static inline int rp_select(int fd, struct pfs_rp_select select)
{
	return ioctl(fd, PFS_RP_IOC_SELECT, &select);
}

static inline int rp_window(int fd, uint32_t bar, uint64_t offset, uint64_t length, uint32_t flags)
{
	struct pfs_rp_window window = {
	    .bar = bar, .flags = flags, .offset = offset, .length = length};

	return ioctl(fd, PFS_RP_IOC_SET_WINDOW, &window);
}

static inline int rp_open(void)
{
	int fd = open(RINGPEEK, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		FAIL("open " RINGPEEK ": %s", strerror(errno));
	return fd;
}

static inline int rp_open_card(const struct card *card)
{
	int fd = rp_open();

	CHECK(rp_select(fd, card->at) == 0);
	return fd;
}

#endif

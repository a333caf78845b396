/* SPDX-License-Identifier: MIT */
/*
 * Imports Debian's libxdp and libbpf (packages libxdp-dev and libbpf-dev) into Swift, with the few
 * things about sockets and network devices that Swift cannot import or that the headers of an
 * older kernel lack.
 */
#ifndef PFS_CXDP_H
#define PFS_CXDP_H

#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <xdp/libxdp.h>
#include <xdp/xsk.h>

enum {
	PFS_SOL_XDP = 283,
	PFS_XDP_MAX_TX_SKB_BUDGET = 9, /* Linux 6.17 */
	PFS_SO_BUSY_POLL = 46,
	PFS_SO_INCOMING_NAPI_ID = 56,
	PFS_SO_PREFER_BUSY_POLL = 69, /* Linux 5.11 */
	PFS_SO_BUSY_POLL_BUDGET = 70, /* Linux 5.11 */
	PFS_XDP_FLAGS_SKB_MODE = 1 << 1,
	PFS_XDP_FLAGS_DRV_MODE = 1 << 2,
};

/* The four rings of a socket. libxdp keeps pointers to them: they must not move. */
struct pfs_xdp_rings {
	struct xsk_ring_prod fill;
	struct xsk_ring_cons completion;
	struct xsk_ring_cons rx;
	struct xsk_ring_prod tx;
};

/* What the kernel says of a network device of the calling process's network namespace. */
struct pfs_xdp_device {
	unsigned int index;
	unsigned int flags;
	int mtu;
	unsigned char mac[6];
	char driver[32];
	/* 0 where the driver does not tell. */
	unsigned int rx_queues, tx_queues;
};

/* Fills in device; -1 and errno (ENODEV: no such device) on failure. */
static inline int pfs_xdp_device(const char *name, struct pfs_xdp_device *device)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result = -1;

	if (fd < 0)
		return -1;
	memset(device, 0, sizeof(*device));
	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	if (ioctl(fd, SIOCGIFINDEX, &request))
		goto out;
	device->index = (unsigned int)request.ifr_ifindex;
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		goto out;
	device->flags = (unsigned short)request.ifr_flags;
	if (ioctl(fd, SIOCGIFMTU, &request))
		goto out;
	device->mtu = request.ifr_mtu;
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		goto out;
	memcpy(device->mac, request.ifr_hwaddr.sa_data, sizeof(device->mac));
	result = 0;
	request.ifr_data = (char *)&info;
	if (!ioctl(fd, SIOCETHTOOL, &request))
		memcpy(device->driver, info.driver, sizeof(device->driver) - 1);
	request.ifr_data = (char *)&channels;
	if (!ioctl(fd, SIOCETHTOOL, &request)) {
		device->rx_queues = channels.rx_count + channels.combined_count;
		device->tx_queues = channels.tx_count + channels.combined_count;
	}
out:
	close(fd);
	return result;
}

#endif

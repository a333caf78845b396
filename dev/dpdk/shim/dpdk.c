/* SPDX-License-Identifier: MIT */
#if defined(__x86_64__)
/*
 * DPDK's inline functions use the instructions that its Debian packages are compiled for, SSE 4.2,
 * which it checks for when it starts.
 */
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("sse4.2"))), apply_to = function)
#endif

#include <rte_config.h>

#include <stdio.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_version.h>

#include "pfs_dpdk.h"

/*
 * Where a frame begins in a buffer beyond DPDK's own headroom: payload behind 14 and 32 bytes of
 * headers then begins on a cache line, and a record where its fields are aligned.
 */
#define FRAME_OFFSET 18
#define PRIVATE_BYTES 64

_Static_assert(PFS_DPDK_HELD == sizeof(struct rte_mbuf), "private bytes follow the mbuf");
_Static_assert(PFS_DPDK_FRAME ==
		   PFS_DPDK_HELD + PRIVATE_BYTES + RTE_PKTMBUF_HEADROOM + FRAME_OFFSET,
	       "a buffer of an mbuf follows its private bytes");

static uint64_t *held(void *mbuf)
{
	return (uint64_t *)((char *)mbuf + PFS_DPDK_HELD);
}

const char *pfs_dpdk_version(void)
{
	return rte_version();
}

const char *pfs_dpdk_error(int number)
{
	return rte_strerror(number < 0 ? -number : number);
}

int pfs_dpdk_start(int argc, char **argv)
{
	/* It prints its usage, and now and then a line, where our report goes. */
	int output = dup(STDOUT_FILENO);
	int status;

	fflush(stdout);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	status = rte_eal_init(argc, argv) < 0 ? -rte_errno : 0;
	fflush(stdout);
	dup2(output, STDOUT_FILENO);
	close(output);
	return status;
}

void pfs_dpdk_stop(void)
{
	rte_eal_cleanup();
}

int pfs_dpdk_has_huge_pages(void)
{
	return rte_eal_has_hugepages();
}

int pfs_dpdk_add(const char *name, const char *arguments)
{
	return rte_eal_hotplug_add("vdev", name, arguments);
}

int pfs_dpdk_remove(const char *name)
{
	return rte_eal_hotplug_remove("vdev", name);
}

int pfs_dpdk_ports(uint16_t *ports, int capacity)
{
	int count = 0;
	uint16_t port;

	RTE_ETH_FOREACH_DEV(port)
	{
		if (count < capacity)
			ports[count++] = port;
	}
	return count;
}

int pfs_dpdk_port_of(const char *name, uint16_t *port)
{
	return rte_eth_dev_get_port_by_name(name, port);
}

int pfs_dpdk_link_is_up(uint16_t port)
{
	struct rte_eth_link link;

	return !rte_eth_link_get_nowait(port, &link) && link.link_status == RTE_ETH_LINK_UP;
}

int pfs_dpdk_describe(uint16_t port, struct pfs_dpdk_port *result)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr address;
	struct rte_eth_link link;
	int status = rte_eth_dev_info_get(port, &info);

	if (status)
		return status;
	memset(result, 0, sizeof(*result));
	rte_eth_dev_get_name_by_port(port, result->name);
	snprintf(result->driver, sizeof(result->driver), "%s", info.driver_name);
	if (!rte_eth_macaddr_get(port, &address))
		memcpy(result->mac, address.addr_bytes, sizeof(result->mac));
	rte_eth_dev_get_mtu(port, &result->mtu);
	result->max_rx_queues = info.max_rx_queues;
	result->max_tx_queues = info.max_tx_queues;
	result->rx_descriptors = info.rx_desc_lim.nb_max;
	result->tx_descriptors = info.tx_desc_lim.nb_max;
	result->max_frame = info.max_rx_pktlen;
	if (!rte_eth_link_get_nowait(port, &link)) {
		result->link_is_up = link.link_status == RTE_ETH_LINK_UP;
		result->link_mbps = link.link_speed;
	}
	return 0;
}

static void clear_held(struct rte_mempool *pool, void *argument, void *object, unsigned int index)
{
	(void)pool;
	(void)argument;
	(void)index;
	*held(object) = PFS_DPDK_NOTHING;
}

struct rte_mempool *pfs_dpdk_pool(const char *name, unsigned int count, unsigned int frame_bytes,
				  int *error)
{
	unsigned int room = RTE_ALIGN_CEIL(frame_bytes + FRAME_OFFSET, 64) + RTE_PKTMBUF_HEADROOM;
	struct rte_pktmbuf_pool_private sizes = {
	    .mbuf_data_room_size = (uint16_t)room,
	    .mbuf_priv_size = PRIVATE_BYTES,
	};
	struct rte_mempool *pool;
	unsigned int flags = 0;

	/*
	 * On ordinary pages DPDK keeps every buffer within one, for devices' sake, so that buffers
	 * all begin at the same offset of a page and fight for the same few sets of the first-level
	 * cache. Where devices see virtual addresses, buffers can lie densely. This is the one way
	 * in which what follows differs from rte_pktmbuf_pool_create.
	 */
	if (!rte_eal_has_hugepages() && rte_eal_iova_mode() == RTE_IOVA_VA)
		flags = RTE_MEMPOOL_F_NO_IOVA_CONTIG;
	pool = rte_mempool_create_empty(name, count, sizeof(struct rte_mbuf) + PRIVATE_BYTES + room,
					256, sizeof(sizes), SOCKET_ID_ANY, flags);
	if (!pool) {
		*error = -rte_errno;
		return NULL;
	}
	*error = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (!*error) {
		rte_pktmbuf_pool_init(pool, &sizes);
		*error = rte_mempool_populate_default(pool);
	}
	if (*error < 0) {
		rte_mempool_free(pool);
		return NULL;
	}
	*error = 0;
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	rte_mempool_obj_iter(pool, clear_held, NULL);
	return pool;
}

void pfs_dpdk_free_pool(struct rte_mempool *pool)
{
	rte_mempool_free(pool);
}

int pfs_dpdk_open(uint16_t port, struct rte_mempool *pool, uint16_t *rx_descriptors,
		  uint16_t *tx_descriptors)
{
	struct rte_eth_conf configuration = {0};
	struct rte_eth_dev_info info;
	int socket = rte_eth_dev_socket_id(port);
	int status = rte_eth_dev_info_get(port, &info);

	if (status)
		return status;
	/* Allowed only for buffers of one pool that nobody else refers to, which is what we send.
	 */
	if (info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE)
		configuration.txmode.offloads = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	status = rte_eth_dev_configure(port, 1, 1, &configuration);
	if (!status)
		status = rte_eth_dev_adjust_nb_rx_tx_desc(port, rx_descriptors, tx_descriptors);
	if (!status)
		status = rte_eth_rx_queue_setup(port, 0, *rx_descriptors, (unsigned int)socket,
						NULL, pool);
	if (!status)
		status =
		    rte_eth_tx_queue_setup(port, 0, *tx_descriptors, (unsigned int)socket, NULL);
	return status ? status : rte_eth_dev_start(port);
}

void pfs_dpdk_close(uint16_t port)
{
	rte_eth_dev_stop(port);
	rte_eth_dev_close(port);
}

int pfs_dpdk_count(uint16_t port, struct pfs_dpdk_counters *result)
{
	struct rte_eth_stats stats;
	int status = rte_eth_stats_get(port, &stats);

	if (status)
		return status;
	result->received = stats.ipackets;
	result->sent = stats.opackets;
	result->missed = stats.imissed;
	result->receive_errors = stats.ierrors;
	result->send_errors = stats.oerrors;
	result->no_buffer = stats.rx_nombuf;
	return 0;
}

unsigned int pfs_dpdk_take(struct rte_mempool *pool, void **buffers, unsigned int count,
			   uint16_t length)
{
	if (rte_mempool_get_bulk(pool, buffers, count))
		return 0;
	/*
	 * What rte_pktmbuf_alloc_bulk sets and a way through a port can have changed: the rest is
	 * as rte_pktmbuf_init and rte_pktmbuf_free leave it.
	 */
	for (unsigned int i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = buffers[i];

		mbuf->data_off = RTE_PKTMBUF_HEADROOM + FRAME_OFFSET;
		mbuf->refcnt = 1;
		mbuf->nb_segs = 1;
		mbuf->port = RTE_MBUF_PORT_INVALID;
		mbuf->ol_flags = 0;
		mbuf->pkt_len = length;
		mbuf->data_len = length;
	}
	return count;
}

unsigned int pfs_dpdk_send(uint16_t port, void **buffers, unsigned int count)
{
	return rte_eth_tx_burst(port, 0, (struct rte_mbuf **)buffers, (uint16_t)count);
}

unsigned int pfs_dpdk_receive(uint16_t port, const struct rte_mempool *own, uint16_t ether_type,
			      void **buffers, struct pfs_dpdk_received *frames, unsigned int count,
			      unsigned int *kept)
{
	struct rte_mbuf **mbufs = (struct rte_mbuf **)buffers;
	unsigned int used = 0;

	if (count > PFS_DPDK_BURST)
		count = PFS_DPDK_BURST;
	count = rte_eth_rx_burst(port, 0, mbufs, (uint16_t)count);
	/* First bytes of frames come from memory while the loop goes on to the next. */
	for (unsigned int i = 0; i < count; i++) {
		frames[i].data = rte_pktmbuf_mtod(mbufs[i], void *);
		frames[i].length = rte_pktmbuf_data_len(mbufs[i]);
		rte_prefetch0(frames[i].data);
	}
	for (unsigned int i = 0; i < count; i++) {
		struct pfs_dpdk_received frame = frames[i];
		const struct rte_ether_hdr *header = frame.data;

		/* No jump on what a frame is: traffic of two kinds would be mispredicted. */
		frames[used] = frame;
		used += frame.length >= sizeof(*header) && header->ether_type == ether_type;
	}
	for (unsigned int i = 0; own && i < count; i++) {
		if (mbufs[i]->pool == own)
			*held(mbufs[i]) = PFS_DPDK_NOTHING;
	}
	*kept = used;
	return count;
}

/* Whether a buffer can go back to its pool as it is: of one part, its own, nobody else's. */
static int is_plain(const struct rte_mbuf *mbuf)
{
	return (rte_mbuf_refcnt_read(mbuf) == 1) & (mbuf->nb_segs == 1) & (mbuf->next == NULL) &
	       RTE_MBUF_DIRECT(mbuf);
}

void pfs_dpdk_release(void **buffers, unsigned int count)
{
	struct rte_mbuf **mbufs = (struct rte_mbuf **)buffers;
	struct rte_mempool *pool;
	int plain = 1;

	if (!count)
		return;
	pool = mbufs[0]->pool;
	for (unsigned int i = 0; i < count; i++)
		plain &= is_plain(mbufs[i]) & (mbufs[i]->pool == pool);
	/* What rte_pktmbuf_free_bulk does for such buffers, without its copying them one by one. */
	if (plain)
		rte_mempool_put_bulk(pool, buffers, count);
	else
		rte_pktmbuf_free_bulk(mbufs, count);
}

#if defined(__x86_64__)
#pragma clang attribute pop
#endif

/* SPDX-License-Identifier: MIT */
/*
 * DPDK for Swift. Its headers are macros and inline functions over structures with unions of bit
 * fields, and need include paths and an instruction set that a Swift target cannot be given: so
 * none of them is included here, and what is inline there is called a burst at a time.
 *
 * Functions return 0 or a negative errno unless they say otherwise. All of this belongs to one
 * thread.
 */
#ifndef PFS_DPDK_H
#define PFS_DPDK_H

#include <stdint.h>

struct rte_mempool;

/* The most frames of one burst. */
#define PFS_DPDK_BURST 256

/*
 * A buffer of a pool of pfs_dpdk_pool (an mbuf) is a pointer. So many bytes from there is a
 * uint64_t that says which frame of ours the buffer still holds, or PFS_DPDK_NOTHING if it was
 * never written or was changed by others; it survives the buffer's way through the pool. In a
 * buffer that was taken, the frame begins at PFS_DPDK_FRAME.
 */
#define PFS_DPDK_HELD 128
#define PFS_DPDK_FRAME 338
#define PFS_DPDK_NOTHING 0xFFFFFFFFFFFFFFFFULL

/* A received frame; of one in several buffers, what the first of them holds. */
struct pfs_dpdk_received {
	void *data;
	uint64_t length;
};

/* What DPDK says of a port. */
struct pfs_dpdk_port {
	char name[64];
	char driver[32];
	unsigned char mac[6];
	unsigned char link_is_up;
	uint16_t mtu;
	uint16_t max_rx_queues, max_tx_queues;
	uint16_t rx_descriptors, tx_descriptors;
	uint32_t max_frame;
	uint32_t link_mbps;
};

/* What a started port has counted. */
struct pfs_dpdk_counters {
	uint64_t received, sent, missed, receive_errors, send_errors, no_buffer;
};

const char *pfs_dpdk_version(void);
/* What an errno of DPDK's means: it has some of its own. */
const char *pfs_dpdk_error(int number);

/* Starts DPDK's environment; arguments as of a program, the first being its name. */
int pfs_dpdk_start(int argc, char **argv);
void pfs_dpdk_stop(void);
/* Whether memory is on huge pages. */
int pfs_dpdk_has_huge_pages(void);

/* Adds a virtual device such as net_null0, and removes it again. */
int pfs_dpdk_add(const char *name, const char *arguments);
int pfs_dpdk_remove(const char *name);

/* Numbers of the ports there are; returns how many. */
int pfs_dpdk_ports(uint16_t *ports, int capacity);
int pfs_dpdk_port_of(const char *name, uint16_t *port);
int pfs_dpdk_describe(uint16_t port, struct pfs_dpdk_port *result);
int pfs_dpdk_link_is_up(uint16_t port);

/*
 * A pool of count buffers for frames of up to frame_bytes; NULL and the negative errno in error on
 * failure.
 */
struct rte_mempool *pfs_dpdk_pool(const char *name, unsigned int count, unsigned int frame_bytes,
				  int *error);

/* Ends a pool of which no port holds a buffer any more. */
void pfs_dpdk_free_pool(struct rte_mempool *pool);

/*
 * Sets a port up with one queue each way, frames received going to buffers of pool, and starts it.
 * Asks for so many descriptors and takes what the port has; tells both.
 */
int pfs_dpdk_open(uint16_t port, struct rte_mempool *pool, uint16_t *rx_descriptors,
		  uint16_t *tx_descriptors);
void pfs_dpdk_close(uint16_t port);
int pfs_dpdk_count(uint16_t port, struct pfs_dpdk_counters *result);

/*
 * Takes count buffers out of a pool, for frames of length bytes: all or, returning 0, none. Nobody
 * but the caller may have taken or sent buffers of this pool.
 */
unsigned int pfs_dpdk_take(struct rte_mempool *pool, void **buffers, unsigned int count,
			   uint16_t length);
/* Sends a burst (rte_eth_tx_burst); returns how many of the first were taken, which are gone. */
unsigned int pfs_dpdk_send(uint16_t port, void **buffers, unsigned int count);
/*
 * Receives a burst (rte_eth_rx_burst) of at most count; returns how many buffers, all of which are
 * to be released. frames gets those with an EtherType of ether_type (in network order, as it stands
 * in memory), kept how many these are: what travels on the same wire and is not ours costs no more
 * than a look. own is the pool that this process sends from, or NULL: a buffer that comes back from
 * there holds nothing any more, because the receiver may change it.
 */
unsigned int pfs_dpdk_receive(uint16_t port, const struct rte_mempool *own, uint16_t ether_type,
			      void **buffers, struct pfs_dpdk_received *frames, unsigned int count,
			      unsigned int *kept);
/* Gives buffers back to their pools: received ones, or such that were not sent. */
void pfs_dpdk_release(void **buffers, unsigned int count);

#endif

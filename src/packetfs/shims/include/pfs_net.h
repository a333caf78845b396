/* SPDX-License-Identifier: MIT */
/*
 * Packet sockets, network interfaces and batches of datagrams: what Swift's Glibc module does not
 * import. Each function returns what the system call returns (-1 and errno on failure) unless it
 * says otherwise; no policy lives here.
 */
#ifndef PFS_NET_H
#define PFS_NET_H

/* <net/if.h> before any <linux/if*.h>: they know of each other in this order only. */
#include <net/if.h>

#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What ioctl(2) says of an interface in the caller's network namespace (netdevice(7)). */
struct pfs_interface {
	int index;
	int mtu;
	unsigned int flags; /* IFF_UP, ... */
	int hardware_type;  /* ARPHRD_ETHER, ARPHRD_LOOPBACK, ... */
	uint64_t address;   /* the low 48 bits, first byte uppermost */
};
int pfs_interface(const char *name, struct pfs_interface *result);
/* Its MTU now; fd is any socket. */
int pfs_interface_mtu(int fd, const char *name);

/* Where things are in slots and blocks of packet rings: macros and unions that Swift cannot see. */
enum pfs_packet_layout {
	PFS_V2_DATA = TPACKET2_HDRLEN - sizeof(struct sockaddr_ll),
	PFS_V2_STATUS = offsetof(struct tpacket2_hdr, tp_status),
	PFS_V2_LENGTH = offsetof(struct tpacket2_hdr, tp_len),
	PFS_V3_DATA = TPACKET3_HDRLEN - sizeof(struct sockaddr_ll),
	PFS_V3_STATUS = offsetof(struct tpacket3_hdr, tp_status),
	PFS_V3_LENGTH = offsetof(struct tpacket3_hdr, tp_len),
	PFS_BLOCK_STATUS = offsetof(struct tpacket_block_desc, hdr.bh1.block_status),
};

/* A packet socket (packet(7)), SOCK_RAW, close-on-exec; without a protocol it receives nothing. */
int pfs_packet_socket(void);
/* bind(2) to an interface; ether_type 0 receives nothing, ETH_P_ALL everything. */
int pfs_packet_bind(int fd, int interface_index, uint16_t ether_type);
/* setsockopt(2) at level SOL_PACKET for the options that take an int. */
int pfs_packet_option(int fd, int option, int value);
/* Sets up a ring of TPACKET_V2 or TPACKET_V3 slots; option is PACKET_TX_RING or PACKET_RX_RING. */
int pfs_packet_ring(int fd, int option, const struct tpacket_req3 *request, int version);
/* PACKET_STATISTICS of a TPACKET_V3 socket; the kernel's counts begin again with each call. */
int pfs_packet_statistics(int fd, struct tpacket_stats_v3 *result);
/* Asks the kernel to send what the transmit ring holds; with wait, until all of it has left. */
int pfs_packet_kick(int fd, int wait);

/*
 * A ring's status word is handed between kernel and program: it is read with acquire and written
 * with release semantics, so that what the slot holds is seen with it.
 */
static inline uint32_t pfs_status_load(const void *word)
{
	return __atomic_load_n((const uint32_t *)word, __ATOMIC_ACQUIRE);
}
static inline void pfs_status_store(void *word, uint32_t status)
{
	__atomic_store_n((uint32_t *)word, status, __ATOMIC_RELEASE);
}

/*
 * A UDP socket (IPv4 or IPv6, close-on-exec) for a numeric address: connected to it, or bound to
 * it. Fails with EINVAL for an address that is not numeric.
 */
int pfs_udp_socket(const char *address, uint16_t port, int is_bound);
/* UDP_GRO (udp(7)): lets the kernel hand over datagrams of one size joined into one. */
int pfs_udp_join_received(int fd);
/* SO_RCVBUFFORCE or, without the right, SO_RCVBUF (SO_SNDBUF...); returns what was got. */
int pfs_socket_buffer(int fd, int receive, int bytes);
/* Datagrams that were dropped for want of room (SO_MEMINFO); 0 where the kernel does not say. */
uint32_t pfs_socket_drops(int fd);

/* Memory for count messages of sendmmsg(2) or recvmmsg(2); NULL and errno on failure. */
struct pfs_messages;
struct pfs_messages *pfs_messages_create(unsigned int count);
void pfs_messages_destroy(struct pfs_messages *messages);
/*
 * Where message index lies. segment is UDP_SEGMENT: the kernel cuts the message into datagrams of
 * so many bytes; 0 sends it as it is.
 */
void pfs_messages_set(struct pfs_messages *messages, unsigned int index, void *base, size_t bytes,
		      uint16_t segment);
/* sendmmsg(2) of messages first to first + count - 1; never waits. */
int pfs_messages_send(struct pfs_messages *messages, int fd, unsigned int first,
		      unsigned int count);
/* recvmmsg(2) of up to count messages; never waits. */
int pfs_messages_receive(struct pfs_messages *messages, int fd, unsigned int count);
/* Bytes of received message index; whether it was cut off; the size of the datagrams joined in it
 * (0: one). */
size_t pfs_messages_bytes(const struct pfs_messages *messages, unsigned int index);
int pfs_messages_is_cut(const struct pfs_messages *messages, unsigned int index);
uint16_t pfs_messages_segment(const struct pfs_messages *messages, unsigned int index);

#endif

/* SPDX-License-Identifier: MIT */
#include "pfs_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Not in every C library's headers. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

int pfs_interface_mtu(int fd, const char *name)
{
	struct ifreq request = {0};

	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	return ioctl(fd, SIOCGIFMTU, &request) < 0 ? -1 : request.ifr_mtu;
}

int pfs_interface(const char *name, struct pfs_interface *result)
{
	struct ifreq request = {0};
	int saved, fd, failed;

	if (strlen(name) >= sizeof(request.ifr_name)) {
		errno = ENODEV;
		return -1;
	}
	strcpy(request.ifr_name, name);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	failed = ioctl(fd, SIOCGIFINDEX, &request) < 0;
	if (!failed) {
		result->index = request.ifr_ifindex;
		failed = ioctl(fd, SIOCGIFMTU, &request) < 0;
	}
	if (!failed) {
		result->mtu = request.ifr_mtu;
		failed = ioctl(fd, SIOCGIFFLAGS, &request) < 0;
	}
	if (!failed) {
		result->flags = (uint16_t)request.ifr_flags;
		failed = ioctl(fd, SIOCGIFHWADDR, &request) < 0;
	}
	if (!failed) {
		result->hardware_type = request.ifr_hwaddr.sa_family;
		result->address = 0;
		for (int i = 0; i < 6; i++)
			result->address =
			    result->address << 8 | (uint8_t)request.ifr_hwaddr.sa_data[i];
	}
	saved = errno;
	close(fd);
	errno = saved;
	return failed ? -1 : 0;
}

int pfs_packet_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
}

int pfs_packet_bind(int fd, int interface_index, uint16_t ether_type)
{
	struct sockaddr_ll address = {
	    .sll_family = AF_PACKET,
	    .sll_protocol = htons(ether_type),
	    .sll_ifindex = interface_index,
	};

	return bind(fd, (struct sockaddr *)&address, sizeof(address));
}

int pfs_packet_option(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value));
}

int pfs_packet_ring(int fd, int option, const struct tpacket_req3 *request, int version)
{
	socklen_t size =
	    version == TPACKET_V3 ? sizeof(struct tpacket_req3) : sizeof(struct tpacket_req);

	/* struct tpacket_req is the beginning of struct tpacket_req3. */
	return setsockopt(fd, SOL_PACKET, option, request, size);
}

int pfs_packet_statistics(int fd, struct tpacket_stats_v3 *result)
{
	socklen_t size = sizeof(*result);

	return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, result, &size);
}

int pfs_packet_kick(int fd, int wait)
{
	return send(fd, NULL, 0, wait ? 0 : MSG_DONTWAIT) < 0 ? -1 : 0;
}

int pfs_udp_socket(const char *address, uint16_t port, int is_bound)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr *target;
	socklen_t size;
	int fd, saved;

	if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
		target = (struct sockaddr *)&v4;
		size = sizeof(v4);
	} else if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1) {
		target = (struct sockaddr *)&v6;
		size = sizeof(v6);
	} else {
		errno = EINVAL;
		return -1;
	}
	fd = socket(target->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if ((is_bound ? bind(fd, target, size) : connect(fd, target, size)) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

int pfs_udp_join_received(int fd)
{
	int on = 1;

	return setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
}

int pfs_socket_buffer(int fd, int receive, int bytes)
{
	socklen_t size = sizeof(bytes);

	if (setsockopt(fd, SOL_SOCKET, receive ? SO_RCVBUFFORCE : SO_SNDBUFFORCE, &bytes, size) <
		0 &&
	    setsockopt(fd, SOL_SOCKET, receive ? SO_RCVBUF : SO_SNDBUF, &bytes, size) < 0)
		return -1;
	if (getsockopt(fd, SOL_SOCKET, receive ? SO_RCVBUF : SO_SNDBUF, &bytes, &size) < 0)
		return -1;
	return bytes;
}

uint32_t pfs_socket_drops(int fd)
{
	uint32_t values[SK_MEMINFO_VARS] = {0};
	socklen_t size = sizeof(values);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &size) < 0)
		return 0;
	return values[SK_MEMINFO_DROPS];
}

/* Room for one control message with an int, aligned as one must be. */
union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr alignment;
};

struct pfs_messages {
	struct mmsghdr *headers;
	struct iovec *vectors;
	union control *controls;
};

struct pfs_messages *pfs_messages_create(unsigned int count)
{
	struct pfs_messages *messages = calloc(1, sizeof(*messages));

	if (!messages)
		return NULL;
	messages->headers = calloc(count, sizeof(*messages->headers));
	messages->vectors = calloc(count, sizeof(*messages->vectors));
	messages->controls = calloc(count, sizeof(*messages->controls));
	if (!messages->headers || !messages->vectors || !messages->controls) {
		pfs_messages_destroy(messages);
		return NULL;
	}
	for (unsigned int i = 0; i < count; i++) {
		messages->headers[i].msg_hdr.msg_iov = &messages->vectors[i];
		messages->headers[i].msg_hdr.msg_iovlen = 1;
	}
	return messages;
}

void pfs_messages_destroy(struct pfs_messages *messages)
{
	free(messages->headers);
	free(messages->vectors);
	free(messages->controls);
	free(messages);
}

void pfs_messages_set(struct pfs_messages *messages, unsigned int index, void *base, size_t bytes,
		      uint16_t segment)
{
	struct msghdr *header = &messages->headers[index].msg_hdr;
	struct cmsghdr *control;

	messages->vectors[index].iov_base = base;
	messages->vectors[index].iov_len = bytes;
	header->msg_control = NULL;
	header->msg_controllen = 0;
	if (segment) {
		header->msg_control = messages->controls[index].bytes;
		header->msg_controllen = CMSG_SPACE(sizeof(segment));
		control = CMSG_FIRSTHDR(header);
		control->cmsg_level = IPPROTO_UDP;
		control->cmsg_type = UDP_SEGMENT;
		control->cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(control), &segment, sizeof(segment));
	}
}

int pfs_messages_send(struct pfs_messages *messages, int fd, unsigned int first, unsigned int count)
{
	return sendmmsg(fd, messages->headers + first, count, MSG_DONTWAIT);
}

int pfs_messages_receive(struct pfs_messages *messages, int fd, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct msghdr *header = &messages->headers[i].msg_hdr;

		/* The kernel shortens this to what it wrote. */
		header->msg_control = messages->controls[i].bytes;
		header->msg_controllen = sizeof(messages->controls[i].bytes);
	}
	return recvmmsg(fd, messages->headers, count, MSG_DONTWAIT, NULL);
}

size_t pfs_messages_bytes(const struct pfs_messages *messages, unsigned int index)
{
	return messages->headers[index].msg_len;
}

int pfs_messages_is_cut(const struct pfs_messages *messages, unsigned int index)
{
	return (messages->headers[index].msg_hdr.msg_flags & MSG_TRUNC) != 0;
}

uint16_t pfs_messages_segment(const struct pfs_messages *messages, unsigned int index)
{
	struct msghdr *header = &messages->headers[index].msg_hdr;

	for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control;
	     control = CMSG_NXTHDR(header, control)) {
		if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO) {
			int segment;

			memcpy(&segment, CMSG_DATA(control), sizeof(segment));
			return (uint16_t)segment;
		}
	}
	return 0;
}

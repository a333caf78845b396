/* SPDX-License-Identifier: MIT */
/*
 * The vector form of PacketFSGram's RandomDescriptors, which defines what the results are.
 * Producing descriptors must cost a small part of executing them, which a scalar loop does not
 * reach.
 */
#ifndef PFS_GENERATE_H
#define PFS_GENERATE_H

#include <stdint.h>

/* One stream of descriptors; the fields are RandomDescriptors' own. */
struct pfs_descriptor_stream {
	uint64_t region_start;
	uint64_t region_length;
	uint32_t length_key;
	uint32_t offset_key;
	uint32_t shift; /* log2 of the alignment, 0 to 20 */
};

/*
 * Writes count descriptors of 16 bytes each, from number first (modulo 2^32) on. Returns how many
 * it wrote: a multiple of 8, at most count, and 0 where this CPU or this stream is not for it; the
 * caller writes the rest. At most `lanes` are computed at a time: with AVX-512F 16, with AVX2 8;
 * only tests ask for less than 16.
 */
long pfs_generate_descriptors(const struct pfs_descriptor_stream *stream, uint32_t first,
			      void *table, long count, int lanes);

#endif

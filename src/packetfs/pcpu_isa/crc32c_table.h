/* SPDX-License-Identifier: MIT */
/* CRC-32C without a crc32 instruction: eight bytes a step through eight tables. */
#ifndef PFS_CRC32C_TABLE_H
#define PFS_CRC32C_TABLE_H

#include "internal.h"

static void crc32c_batch(const struct pfs_constants *constants, const struct range *ranges,
			 size_t count, uint32_t *crc, int fresh)
{
	const uint32_t(*slices)[256] = constants->slices;

	for (size_t i = 0; i < count; ++i) {
		const uint8_t *p = ranges[i].start;
		size_t length = ranges[i].length;
		uint32_t c = fresh ? ~0u : crc[i];

		for (; length >= 8; length -= 8, p += 8) {
			uint64_t word = load64(p) ^ c;

			c = slices[7][word & 255] ^ slices[6][word >> 8 & 255] ^
			    slices[5][word >> 16 & 255] ^ slices[4][word >> 24 & 255] ^
			    slices[3][word >> 32 & 255] ^ slices[2][word >> 40 & 255] ^
			    slices[1][word >> 48 & 255] ^ slices[0][word >> 56];
		}
		for (; length; --length, ++p)
			c = slices[0][(c ^ *p) & 255] ^ c >> 8;
		crc[i] = c;
	}
}

#endif

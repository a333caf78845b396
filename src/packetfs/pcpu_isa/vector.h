/* SPDX-License-Identifier: MIT */
/* Vectors of VECTOR bytes, which the ISA defines. */
#ifndef PFS_VECTOR_H
#define PFS_VECTOR_H

#include "internal.h"

typedef uint8_t bytes_t __attribute__((vector_size(VECTOR), aligned(1), may_alias));
typedef uint64_t sums_t __attribute__((vector_size(VECTOR)));

ALWAYS_INLINE bytes_t splat(uint8_t byte)
{
	bytes_t vector = {0};

	return vector + byte;
}

ALWAYS_INLINE bytes_t load_vector(const uint8_t *p)
{
	return *(const bytes_t *)p;
}

ALWAYS_INLINE void store_vector(uint8_t *p, bytes_t vector)
{
	*(bytes_t *)p = vector;
}

ALWAYS_INLINE void map_vectors(bytes_t *x, int vectors, const struct pfs_rounds *rounds,
			       unsigned int round_count)
{
	for (unsigned int r = 0; r < round_count; ++r) {
		bytes_t flip = splat(rounds->flip[r]);
		bytes_t add = splat(rounds->add[r]);

		for (int v = 0; v < vectors; ++v)
			x[v] = (x[v] ^ flip) + add;
	}
}

#endif

/* SPDX-License-Identifier: MIT */
/* Vectors of eight 64-bit words, for the forms of FNV-1a with 512-bit vectors. */
#ifndef PFS_FNV_WORDS512_H
#define PFS_FNV_WORDS512_H

#include "internal.h"

enum { WORDS = 8 };

typedef long long words_t __attribute__((vector_size(8 * WORDS)));

/* Word j of vector t becomes word t of vector j. */
ALWAYS_INLINE void exchange_words(words_t *v)
{
	words_t a[8], b[8];

#pragma clang loop unroll(full)
	for (int i = 0; i < 4; ++i) {
		words_t x = v[2 * i], y = v[2 * i + 1];

		a[i] = __builtin_shufflevector(x, y, 0, 8, 2, 10, 4, 12, 6, 14);
		a[4 + i] = __builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i += 4) {
		b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 1, 2, 3, 8, 9, 10, 11);
		b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 4, 5, 6, 7, 12, 13, 14, 15);
		b[i + 2] = __builtin_shufflevector(a[i + 2], a[i + 3], 0, 1, 2, 3, 8, 9, 10, 11);
		b[i + 3] = __builtin_shufflevector(a[i + 2], a[i + 3], 4, 5, 6, 7, 12, 13, 14, 15);
	}
#pragma clang loop unroll(full)
	for (int odd = 0; odd < 2; ++odd) {
		words_t *c = b + 4 * odd;

		v[odd] = __builtin_shufflevector(c[0], c[2], 0, 1, 4, 5, 8, 9, 12, 13);
		v[2 + odd] = __builtin_shufflevector(c[0], c[2], 2, 3, 6, 7, 10, 11, 14, 15);
		v[4 + odd] = __builtin_shufflevector(c[1], c[3], 0, 1, 4, 5, 8, 9, 12, 13);
		v[6 + odd] = __builtin_shufflevector(c[1], c[3], 2, 3, 6, 7, 10, 11, 14, 15);
	}
}

#endif

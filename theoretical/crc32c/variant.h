/* SPDX-License-Identifier: MIT */
/*
 * One variant of the fused loop. search.py includes this once for each, after it defined NAME,
 * WIDTH (bytes of a vector: 16, 32, 64), FOLDS (chains of folds), TIMES (vectors of each chain in
 * an iteration), STREAMS (crc32 streams), WORDS (of each stream in an iteration), ITERATIONS (of a
 * block) and PREFETCH (how many bytes ahead memory is asked for; 0: not at all).
 */
#define CONCAT_(a, b) a##b
#define CONCAT(a, b) CONCAT_(a, b)
#define VECTORS (FOLDS * TIMES)
#define STEP (WIDTH * VECTORS + 8 * STREAMS * WORDS)

#if WIDTH == 64
#define vector_t __m512i
#define LOAD(p) _mm512_loadu_si512(p)
#define MULTIPLY(a, k, halves) _mm512_clmulepi64_epi128(a, k, halves)
#define BROADCAST(k) _mm512_broadcast_i32x4(k)
#elif WIDTH == 32
#define vector_t __m256i
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define MULTIPLY(a, k, halves) _mm256_clmulepi64_epi128(a, k, halves)
#define BROADCAST(k) _mm256_broadcastsi128_si256(k)
#else
#define vector_t __m128i
#define LOAD(p) _mm_loadu_si128((const __m128i *)(p))
#define MULTIPLY(a, k, halves) _mm_clmulepi64_si128(a, k, halves)
#define BROADCAST(k) (k)
#endif
#define FOLD(a, k) (MULTIPLY(a, k, 0x00) ^ MULTIPLY(a, k, 0x11))

static struct multipliers CONCAT(multipliers_, NAME);

/* The raw register over as many blocks as fit in; search.c takes no other lengths. */
static __attribute__((noinline)) uint32_t NAME(uint32_t crc, const uint8_t *p, size_t length)
{
	const struct multipliers *m = &CONCAT(multipliers_, NAME);
	const vector_t k = BROADCAST(m->fold), next = BROADCAST(m->next);
	const size_t stream = (size_t)ITERATIONS * 8 * WORDS;

	for (; length >= ITERATIONS * STEP; length -= ITERATIONS * STEP) {
		const uint8_t *v = p + STREAMS * stream;
		uint8_t last[64] = {0};
		vector_t f[FOLDS];
		uint64_t c[STREAMS + 1] = {0}, sum;

#pragma clang loop unroll(full)
		for (int i = 0; i < FOLDS; ++i)
			f[i] = LOAD(v + i * WIDTH);
		for (int i = 0;;) {
			int word = 0;

#pragma clang loop unroll(full)
			for (int j = 0; j < VECTORS; ++j) {
				/* The block's first vectors have been loaded. */
				if (j < VECTORS - FOLDS || i + 1 < ITERATIONS)
					f[j % FOLDS] =
					    FOLD(f[j % FOLDS], k) ^ LOAD(v + (j + FOLDS) * WIDTH);
				if (PREFETCH && j * WIDTH % 64 == 0)
					__builtin_prefetch(v + j * WIDTH + PREFETCH);
#pragma clang loop unroll(full)
				for (; word < STREAMS * WORDS * (j + 1) / VECTORS; ++word)
					c[word % (STREAMS + !STREAMS)] = _mm_crc32_u64(
					    c[word % (STREAMS + !STREAMS)],
					    load64(p + word % (STREAMS + !STREAMS) * stream +
						   word / (STREAMS + !STREAMS) * 8));
			}
			p += 8 * WORDS;
			v += VECTORS * WIDTH;
			if (++i == ITERATIONS)
				break;
		}
		p = v;
#pragma clang loop unroll(full)
		for (int i = 1; i < FOLDS; ++i)
			f[i] ^= FOLD(f[i - 1], next);
		memcpy(last + 64 - WIDTH, &f[FOLDS - 1], WIDTH);
		sum = multiply(crc, m->advance[STREAMS]);
#pragma clang loop unroll(full)
		for (int s = 0; s < STREAMS; ++s)
			sum ^= multiply(c[s], m->advance[s]);
		crc = _mm_crc32_u64(0, sum) ^ reduce(last);
	}
	return crc;
}

#undef VECTORS
#undef STEP
#undef vector_t
#undef LOAD
#undef MULTIPLY
#undef BROADCAST
#undef FOLD
#undef NAME
#undef WIDTH
#undef FOLDS
#undef TIMES
#undef STREAMS
#undef WORDS
#undef ITERATIONS
#undef PREFETCH

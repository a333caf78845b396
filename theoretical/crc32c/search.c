// SPDX-License-Identifier: MIT
/*
 * Checks the variants of variants.inc, which search.py makes, against a loop over bits, and times
 * them in turn: `search BYTES SAMPLES`. Prints a line for each: name, GB/s (median), GB/s (best).
 * Where libisal.so.2 is installed, its crc32_iscsi takes part as `isa-l`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Polynomials modulo the Castagnoli polynomial, bit-reflected, as in src/packetfs/pcpu_isa. */
static const uint32_t one = 0x80000000;

static uint32_t times_x(uint32_t a)
{
	return a & 1 ? a >> 1 ^ 0x82F63B78 : a >> 1;
}

static uint32_t power(uint64_t exponent)
{
	uint32_t result = one, square = times_x(one);

	for (; exponent; exponent >>= 1) {
		for (int step = exponent & 1 ? 0 : 1; step < 2; ++step) {
			uint32_t *to = step ? &square : &result;
			uint32_t a = *to, b = square, product = 0;

			for (uint32_t bit = one; bit; bit >>= 1, b = times_x(b))
				product ^= a & bit ? b : 0;
			*to = product;
		}
	}
	return result;
}

/* To fold over `bytes`. */
static __m128i fold_by(int64_t bytes)
{
	return bytes ? _mm_set_epi64x((int64_t)((uint64_t)power(8 * bytes - 1) << 32),
				      (int64_t)((uint64_t)power(8 * bytes + 63) << 32))
		     : _mm_setzero_si128();
}

struct multipliers {
	__m128i fold, next; /* over all chains, over a vector */
	uint64_t advance[9];
};

static __m512i lanes;

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline uint64_t multiply(uint32_t crc, uint64_t multiplier)
{
	return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(
	    _mm_cvtsi64_si128(crc), _mm_cvtsi64_si128((int64_t)multiplier), 0));
}

static inline uint32_t reduce(const uint8_t *line)
{
	__m512i x = _mm512_loadu_si512(line);
	__m512i y =
	    _mm512_clmulepi64_epi128(x, lanes, 0x00) ^ _mm512_clmulepi64_epi128(x, lanes, 0x11);
	__m256i half = _mm512_castsi512_si256(y) ^ _mm512_extracti64x4_epi64(y, 1);
	__m128i sum = _mm256_castsi256_si128(half) ^ _mm256_extracti128_si256(half, 1) ^
		      _mm512_extracti32x4_epi32(x, 3);

	return (uint32_t)_mm_crc32_u64(_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(sum)),
				       (uint64_t)_mm_extract_epi64(sum, 1));
}

struct variant {
	const char *name;
	uint32_t (*crc)(uint32_t, const uint8_t *, size_t);
	struct multipliers *multipliers;
	int width, folds, times, streams, words, iterations;
};

#include "variants.inc"

enum { VARIANTS = sizeof(variants) / sizeof(*variants) };

static uint32_t (*isal)(const uint8_t *, int, uint32_t);

static size_t block(const struct variant *v)
{
	return (size_t)v->iterations *
	       (size_t)(v->width * v->folds * v->times + 8 * v->streams * v->words);
}

static void set_up(struct variant *v)
{
	uint64_t stream = 8ull * v->words * v->iterations;
	uint64_t folded = 1ull * v->width * v->folds * v->times * v->iterations;

	for (int s = 0; s <= v->streams; ++s)
		v->multipliers->advance[s] =
		    power(8 * ((s == v->streams ? s : v->streams - 1 - s) * stream + folded) - 33);
	v->multipliers->fold = fold_by(v->width * v->folds);
	v->multipliers->next = fold_by(v->width);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	const size_t bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : 65536;
	const int samples = argc > 2 ? atoi(argv[2]) : 41;
	const int repeats = (int)(100000 / bytes) + 1;
	uint8_t *data = aligned_alloc(1 << 21, ((bytes >> 21) + 1) << 21);
	double *times = calloc((size_t)(VARIANTS + 1) * (size_t)samples, sizeof(*times));
	void *library = dlopen("libisal.so.2", RTLD_NOW);
	volatile uint32_t sink;

	if (!data || !times)
		return 1;
	if (library)
		isal = (uint32_t(*)(const uint8_t *, int, uint32_t))dlsym(library, "crc32_iscsi");
	for (size_t i = 0; i < bytes; ++i)
		data[i] = (uint8_t)(random() >> 7);
	lanes = _mm512_inserti32x4(
	    _mm512_inserti32x4(_mm512_inserti32x4(_mm512_setzero_si512(), fold_by(48), 0),
			       fold_by(32), 1),
	    fold_by(16), 2);
	for (int i = 0; i < VARIANTS; ++i) {
		size_t length = bytes / block(&variants[i]) * block(&variants[i]);
		uint32_t crc = ~0u;

		set_up(&variants[i]);
		for (size_t at = 0; at < length; ++at) {
			crc ^= data[at];
			for (int bit = 0; bit < 8; ++bit)
				crc = times_x(crc);
		}
		if (!length || variants[i].crc(~0u, data, length) != crc) {
			fprintf(stderr, "%s: %s\n", variants[i].name,
				length ? "wrong" : "its block is longer than the data");
			return 1;
		}
	}
	for (int sample = 0; sample < samples; ++sample)
		for (int i = 0; i < VARIANTS + (isal != NULL); ++i) {
			size_t length = i < VARIANTS
					    ? bytes / block(&variants[i]) * block(&variants[i])
					    : bytes;
			double start = now();

			for (int r = 0; r < repeats; ++r)
				sink = i < VARIANTS ? variants[i].crc(~0u, data, length)
						    : isal(data, (int)length, ~0u);
			(void)sink;
			times[i * samples + sample] = (now() - start) / repeats / length;
		}
	for (int i = 0; i < VARIANTS + (isal != NULL); ++i) {
		qsort(times + i * samples, (size_t)samples, sizeof(*times), compare);
		printf("%s %.2f %.2f\n", i < VARIANTS ? variants[i].name : "isa-l",
		       1 / times[i * samples + samples / 2], 1 / times[i * samples]);
	}
	return 0;
}

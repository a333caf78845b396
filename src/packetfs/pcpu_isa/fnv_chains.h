/* SPDX-License-Identifier: MIT */
/*
 * FNV-1a as chains of xor and multiply, four cycles a byte each. Four at once keep the scalar
 * multiplier busy. With 256-bit vectors, sixteen more run beside them: the prime is 2^40 + 0x1B3,
 * so that a 64-bit product is two vector multiplies, a shift and two additions.
 */
#ifndef PFS_FNV_CHAINS_H
#define PFS_FNV_CHAINS_H

#include "internal.h"

/* Continues one hash. */
ALWAYS_INLINE uint64_t fnv_one(uint64_t hash, const uint8_t *p, size_t length)
{
	for (size_t i = 0; i < length; ++i)
		hash = (hash ^ p[i]) * FNV_PRIME;
	return hash;
}

/* Continues any number of hashes (at most BATCH), four at a time. Ranges of similar length should
 * be neighbours. */
static void fnv_scalar(const struct range *const *ranges, size_t count, uint64_t **hashes)
{
	size_t i = 0;

	for (; i + 4 <= count; i += 4) {
		const struct range *const *r = ranges + i;
		const uint8_t *p0 = r[0]->start, *p1 = r[1]->start;
		const uint8_t *p2 = r[2]->start, *p3 = r[3]->start;
		uint64_t h0 = *hashes[i], h1 = *hashes[i + 1];
		uint64_t h2 = *hashes[i + 2], h3 = *hashes[i + 3];
		size_t common = r[0]->length;

		for (int s = 1; s < 4; ++s)
			if (r[s]->length < common)
				common = r[s]->length;
				/* Vectorised, this loop is slower: 64-bit multiplies are emulated.
				 */
#pragma clang loop vectorize(disable) interleave(disable) unroll_count(4)
		for (size_t j = 0; j < common; ++j) {
			h0 = (h0 ^ p0[j]) * FNV_PRIME;
			h1 = (h1 ^ p1[j]) * FNV_PRIME;
			h2 = (h2 ^ p2[j]) * FNV_PRIME;
			h3 = (h3 ^ p3[j]) * FNV_PRIME;
		}
		*hashes[i] = fnv_one(h0, p0 + common, r[0]->length - common);
		*hashes[i + 1] = fnv_one(h1, p1 + common, r[1]->length - common);
		*hashes[i + 2] = fnv_one(h2, p2 + common, r[2]->length - common);
		*hashes[i + 3] = fnv_one(h3, p3 + common, r[3]->length - common);
	}
	for (; i < count; ++i)
		*hashes[i] = fnv_one(*hashes[i], ranges[i]->start, ranges[i]->length);
}

#if VECTOR == 32 && !defined(FNV_PLANES)

enum {
	FNV_VECTORS = 4,
	FNV_LANES = 4 * FNV_VECTORS,
	/* Chains beside the vectors, in units that vectors leave idle. */
	FNV_SCALARS = 6,
	FNV_GROUP = FNV_SCALARS + FNV_LANES,
};

/* Constants of a step. */
struct fnv_constants {
	__m256i low_prime;  /* 0x1B3 in both halves of each lane */
	__m256i high_prime; /* 2^8 in the low half, 0x1B3 in the high half */
	__m256i high_half;
};

/*
 * (hash ^ byte) * prime in four lanes; byte is zero-extended. With hash = high * 2^32 + low, that
 * is low * 0x1B3 + 2^32 * (low * 2^8 + high * 0x1B3): one widening multiply, and one that yields
 * both products of the second term modulo 2^32.
 */
ALWAYS_INLINE __m256i fnv_step(__m256i hash, __m256i byte, const struct fnv_constants *k)
{
	__m256i low, terms;

	hash ^= byte;
	low = _mm256_mul_epu32(hash, k->low_prime);
	terms = _mm256_mullo_epi32(hash, k->high_prime);
	return _mm256_add_epi32(_mm256_add_epi32(low, terms & k->high_half),
				_mm256_slli_epi64(terms, 32));
}

/* Byte `index` of each 64-bit lane. */
ALWAYS_INLINE __m256i byte_of(__m256i words, int index)
{
	const char none = -1;
	const __m128i pick = _mm_set_epi8(none, none, none, none, none, none, none, 8 + index, none,
					  none, none, none, none, none, none, index);

	return _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(pick));
}

/* Hashes of a group on their way. */
struct fnv_state {
	__m256i vector[FNV_VECTORS];
	uint64_t scalar[FNV_SCALARS];
};

/* Eight steps: a word of each chain, `offset` bytes from a lane's pointer, at a scalar chain's
 * pointer. */
ALWAYS_INLINE void fnv_word(struct fnv_state *state, const uint8_t *const *lanes, size_t offset,
			    const uint8_t **scalars, const struct fnv_constants *k)
{
	/* Copies, which can stay in registers: loads of bytes might change what is in memory. */
	struct fnv_state now = *state;
	const uint8_t *p[FNV_SCALARS];
	uint64_t prime = FNV_PRIME;
	__m256i word[FNV_VECTORS];

#pragma clang loop unroll(full)
	for (int s = 0; s < FNV_SCALARS; ++s)
		p[s] = scalars[s];
	__asm__("" : "+r"(prime)); /* One register, not a constant in every instruction. */
#pragma clang loop unroll(full)
	for (int v = 0; v < FNV_VECTORS; ++v) {
		const uint8_t *const *q = &lanes[4 * v];

		word[v] = _mm256_set_epi64x(load64(q[3] + offset), load64(q[2] + offset),
					    load64(q[1] + offset), load64(q[0] + offset));
	}
#pragma clang loop unroll(full)
	for (int byte = 0; byte < 8; ++byte) {
#pragma clang loop unroll(full)
		for (int v = 0; v < FNV_VECTORS; ++v)
			now.vector[v] = fnv_step(now.vector[v], byte_of(word[v], byte), k);
#pragma clang loop unroll(full)
		for (int s = 0; s < FNV_SCALARS; ++s)
			now.scalar[s] = (now.scalar[s] ^ p[s][byte]) * prime;
		/* Keep the compiler from doing all of one kind first: the core looks only some
		 * hundred instructions ahead. */
		__asm__ volatile(""
				 : IN_VECTOR(now.vector[0]), IN_VECTOR(now.vector[1]),
				   IN_VECTOR(now.vector[2]), IN_VECTOR(now.vector[3]),
				   "+r"(now.scalar[0]), "+r"(now.scalar[1]), "+r"(now.scalar[2]),
				   "+r"(now.scalar[3]), "+r"(now.scalar[4]), "+r"(now.scalar[5]));
	}
#pragma clang loop unroll(full)
	for (int s = 0; s < FNV_SCALARS; ++s)
		scalars[s] = p[s] + 8;
	*state = now;
}

/* The last length % 8 bytes of a range, in the low bytes of a word. */
ALWAYS_INLINE uint64_t odd_bytes(const struct range *range)
{
	size_t odd = range->length % 8;
	uint64_t word = 0;

	if (range->length >= 8)
		return load64(range->start + range->length - 8) >> 8 >> (56 - 8 * odd);
	memcpy(&word, range->start, range->length);
	return word;
}

/*
 * More than FNV_SCALARS and at most FNV_GROUP ranges, the longest first or nearly so. The first
 * ones are the scalar chains; all run for as many words as every scalar chain and the longest lane
 * has, or thereabouts. What some have left is done after.
 */
static NOINLINE void fnv_group(const struct range *const *ranges, size_t count, uint64_t **hashes)
{
	static const uint8_t nothing[8];
	const size_t lanes = count - FNV_SCALARS;
	_Alignas(32) const uint8_t *next[FNV_LANES];
	_Alignas(32) uint64_t words[FNV_LANES] = {0}, odd[FNV_LANES] = {0};
	_Alignas(32) uint64_t odd_words[FNV_LANES] = {0}, hash[FNV_LANES] = {0};
	const uint8_t *scalars[FNV_SCALARS];
	struct fnv_state state;
	__m256i left[FNV_VECTORS];
	struct fnv_constants k = {
	    _mm256_set1_epi32(0x1B3),
	    _mm256_set1_epi64x(0x1B300000100),
	    _mm256_set1_epi64x((int64_t)0xFFFFFFFF00000000),
	};
	struct range rest[FNV_GROUP];
	const struct range *rest_of[FNV_GROUP];
	uint64_t *rest_hash[FNV_GROUP];
	size_t rest_count = 0;
	size_t steps = ranges[FNV_SCALARS]->length / 8;
	size_t together;

	/* A compiler that knows the factors replaces multiplies by more shifts than there are units
	 * for. */
	__asm__("" : IN_VECTOR(k.low_prime), IN_VECTOR(k.high_prime));

	for (size_t s = 0; s < FNV_SCALARS; ++s) {
		state.scalar[s] = *hashes[s];
		scalars[s] = ranges[s]->start;
		if (ranges[s]->length / 8 < steps)
			steps = ranges[s]->length / 8;
	}
	/* Lanes move together as long as every one has more than a word left. */
	together = lanes == FNV_LANES && steps ? steps - 1 : 0;
	for (size_t i = 0; i < FNV_LANES; ++i)
		next[i] = nothing;
	for (size_t i = 0; i < lanes; ++i) {
		const struct range *range = ranges[FNV_SCALARS + i];

		hash[i] = *hashes[FNV_SCALARS + i];
		words[i] = range->length / 8;
		if (words[i])
			next[i] = range->start;
		if (words[i] <= together)
			together = words[i] ? words[i] - 1 : 0;
		if (words[i] <= steps) {
			odd[i] = range->length % 8;
			odd_words[i] = odd_bytes(range);
		}
	}
	for (int v = 0; v < FNV_VECTORS; ++v)
		state.vector[v] = _mm256_load_si256((const __m256i *)&hash[4 * v]);

	for (size_t step = 0; step < together; ++step)
		fnv_word(&state, next, 8 * step, scalars, &k);
	for (int v = 0; v < FNV_VECTORS; ++v)
		left[v] = _mm256_sub_epi64(_mm256_load_si256((const __m256i *)&words[4 * v]),
					   _mm256_set1_epi64x((int64_t)together));
	for (size_t i = 0; i < lanes; ++i)
		next[i] += 8 * together;
	for (size_t step = together; step < steps; ++step) {
		__m256i before[FNV_VECTORS];

		memcpy(before, state.vector, sizeof(before));
		fnv_word(&state, next, 0, scalars, &k);
#pragma clang loop unroll(full)
		for (int v = 0; v < FNV_VECTORS; ++v) {
			__m256i *pointers = (__m256i *)&next[4 * v];
			/* A lane without words left keeps its hash; its pointer stays on its last
			 * word. */
			__m256i active = _mm256_cmpgt_epi64(left[v], _mm256_setzero_si256());
			__m256i more = _mm256_cmpgt_epi64(left[v], _mm256_set1_epi64x(1));

			state.vector[v] = _mm256_blendv_epi8(before[v], state.vector[v], active);
			left[v] = _mm256_add_epi64(left[v], active);
			_mm256_store_si256(pointers,
					   _mm256_add_epi64(_mm256_load_si256(pointers),
							    more & _mm256_set1_epi64x(8)));
		}
		/* Load the pointers from memory: taking them out of vectors is slower. */
		__asm__("" : "+m"(next));
	}
	for (int v = 0; v < FNV_VECTORS; ++v) {
		__m256i word = _mm256_load_si256((const __m256i *)&odd_words[4 * v]);
		__m256i rest_of_lane = _mm256_load_si256((const __m256i *)&odd[4 * v]);

#pragma clang loop unroll(full)
		for (int byte = 0; byte < 7; ++byte) {
			__m256i active = _mm256_cmpgt_epi64(rest_of_lane, _mm256_set1_epi64x(byte));

			state.vector[v] = _mm256_blendv_epi8(
			    state.vector[v], fnv_step(state.vector[v], byte_of(word, byte), &k),
			    active);
		}
		_mm256_store_si256((__m256i *)&hash[4 * v], state.vector[v]);
	}
	for (size_t i = 0; i < count; ++i) {
		size_t length = ranges[i]->length;

		*hashes[i] = i < FNV_SCALARS ? state.scalar[i] : hash[i - FNV_SCALARS];
		if (length > 8 * steps && (i < FNV_SCALARS || length / 8 > steps)) {
			rest[rest_count] =
			    (struct range){ranges[i]->start + 8 * steps, length - 8 * steps};
			rest_of[rest_count] = &rest[rest_count];
			rest_hash[rest_count++] = hashes[i];
		}
	}
	fnv_scalar(rest_of, rest_count, rest_hash);
}

#endif

#endif

// SPDX-License-Identifier: MIT
/*
 * The loops that a C programmer would write, and the two that measure what memory gives. The
 * benchmark compiles this file when it starts, for this very machine and with several settings, and
 * loads the results: the compiler's best.
 *
 * A function is called peer_WORK_FORM; of the forms of one work the fastest counts. All have one
 * signature: bytes, their number, an operand; the result keeps the compiler from dropping the work.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { WIDE = 64, UNROLL = 4, STEP = WIDE * UNROLL };

/* As wide as vectors get; a compiler for a CPU with narrower ones takes several. */
typedef uint8_t bytes64 __attribute__((vector_size(WIDE), aligned(1), may_alias));
typedef uint64_t words64 __attribute__((vector_size(WIDE), aligned(1), may_alias));

uint64_t peer_xor_bytes(uint8_t *p, size_t n, uint8_t imm)
{
	for (size_t i = 0; i < n; ++i)
		p[i] ^= imm;
	return 0;
}

uint64_t peer_xor_vectors(uint8_t *p, size_t n, uint8_t imm)
{
	size_t i = 0;

	for (; i + STEP <= n; i += STEP)
#pragma GCC unroll 4
		for (int j = 0; j < UNROLL; ++j)
			*(bytes64 *)(p + i + j * WIDE) ^= imm;
	for (; i + WIDE <= n; i += WIDE)
		*(bytes64 *)(p + i) ^= imm;
	for (; i < n; ++i)
		p[i] ^= imm;
	return 0;
}

uint64_t peer_add_bytes(uint8_t *p, size_t n, uint8_t imm)
{
	for (size_t i = 0; i < n; ++i)
		p[i] += imm;
	return 0;
}

uint64_t peer_add_vectors(uint8_t *p, size_t n, uint8_t imm)
{
	size_t i = 0;

	for (; i + STEP <= n; i += STEP)
#pragma GCC unroll 4
		for (int j = 0; j < UNROLL; ++j)
			*(bytes64 *)(p + i + j * WIDE) += imm;
	for (; i + WIDE <= n; i += WIDE)
		*(bytes64 *)(p + i) += imm;
	for (; i < n; ++i)
		p[i] += imm;
	return 0;
}

uint64_t peer_counteq_bytes(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; ++i)
		count += p[i] == imm;
	return count;
}

/* Counts in bytes, and adds those up before they can wrap. */
uint64_t peer_counteq_vectors(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t count = 0;

	while (n >= WIDE) {
		size_t rows = n / WIDE < 255 ? n / WIDE : 255;
		bytes64 counts = {0};

		n -= rows * WIDE;
		for (; rows; --rows, p += WIDE)
			counts -= (bytes64)(*(bytes64 *)p == imm);
		for (int j = 0; j < WIDE; ++j)
			count += counts[j];
	}
	for (; n; --n, ++p)
		count += *p == imm;
	return count;
}

uint64_t peer_fnv_bytes(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t hash = 14695981039346656037ull;

	(void)imm;
	for (size_t i = 0; i < n; ++i)
		hash = (hash ^ p[i]) * 1099511628211ull;
	return hash;
}

/* A load for eight bytes, and no test between them. */
uint64_t peer_fnv_words(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t hash = 14695981039346656037ull, word;
	size_t i = 0;

	(void)imm;
	for (; i + 8 <= n; i += 8) {
		memcpy(&word, p + i, 8);
#pragma GCC unroll 8
		for (int j = 0; j < 8; ++j)
			hash = (hash ^ (word >> 8 * j & 255)) * 1099511628211ull;
	}
	for (; i < n; ++i)
		hash = (hash ^ p[i]) * 1099511628211ull;
	return hash;
}

static uint32_t crc_table[8][256];

__attribute__((constructor)) static void fill_crc_table(void)
{
	for (uint32_t byte = 0; byte < 256; ++byte) {
		uint32_t crc = byte;

		for (int k = 0; k < 8; ++k) {
			for (int bit = 0; bit < 8; ++bit)
				crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
			crc_table[k][byte] = crc;
		}
	}
}

uint64_t peer_crc32c_bytes(uint8_t *p, size_t n, uint8_t imm)
{
	uint32_t crc = ~0u;

	(void)imm;
	for (size_t i = 0; i < n; ++i)
		crc = crc_table[0][(crc ^ p[i]) & 255] ^ crc >> 8;
	return (uint32_t)~crc;
}

/* Eight bytes at a time, with a table for each. */
uint64_t peer_crc32c_slices(uint8_t *p, size_t n, uint8_t imm)
{
	uint32_t crc = ~0u;
	uint64_t word;
	size_t i = 0;

	(void)imm;
	for (; i + 8 <= n; i += 8) {
		memcpy(&word, p + i, 8);
		word ^= crc;
		crc = 0;
#pragma GCC unroll 8
		for (int j = 0; j < 8; ++j)
			crc ^= crc_table[7 - j][word >> 8 * j & 255];
	}
	for (; i < n; ++i)
		crc = crc_table[0][(crc ^ p[i]) & 255] ^ crc >> 8;
	return (uint32_t)~crc;
}

#ifdef __SSE4_2__
/* The processor's instruction, one after the other. */
uint64_t peer_crc32c_instruction(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t crc = ~0u, word;
	size_t i = 0;

	(void)imm;
	for (; i + 8 <= n; i += 8) {
		memcpy(&word, p + i, 8);
		crc = __builtin_ia32_crc32di(crc, word);
	}
	for (; i < n; ++i)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, p[i]);
	return (uint32_t)~crc;
}
#endif

/* Reads every word once, as the compiler likes. */
uint64_t peer_read_words(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t sum = imm, word;

	for (size_t i = 0; i + 8 <= n; i += 8) {
		memcpy(&word, p + i, 8);
		sum += word;
	}
	return sum;
}

/* The same in the widest vectors, with more sums than an addition takes cycles. */
uint64_t peer_read_vectors(uint8_t *p, size_t n, uint8_t imm)
{
	words64 sums[UNROLL] = {0};
	uint64_t sum = imm;
	size_t i = 0;

	for (; i + STEP <= n; i += STEP)
#pragma GCC unroll 4
		for (int j = 0; j < UNROLL; ++j)
			sums[j] += *(words64 *)(p + i + j * WIDE);
	for (; i + WIDE <= n; i += WIDE)
		sums[0] += *(words64 *)(p + i);
	sums[0] += sums[1] + sums[2] + sums[3];
	for (int j = 0; j < WIDE / 8; ++j)
		sum += sums[0][j];
	return sum + (i < n ? peer_read_words(p + i, n - i, 0) : 0);
}

/* Reads and writes every word once. */
uint64_t peer_modify_words(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t word;

	for (size_t i = 0; i + 8 <= n; i += 8) {
		memcpy(&word, p + i, 8);
		word += imm | 1;
		memcpy(p + i, &word, 8);
	}
	return 0;
}

uint64_t peer_modify_vectors(uint8_t *p, size_t n, uint8_t imm)
{
	size_t i = 0;

	for (; i + STEP <= n; i += STEP)
#pragma GCC unroll 4
		for (int j = 0; j < UNROLL; ++j)
			*(words64 *)(p + i + j * WIDE) += imm | 1;
	for (; i + WIDE <= n; i += WIDE)
		*(words64 *)(p + i) += imm | 1;
	return i < n ? peer_modify_words(p + i, n - i, imm) : 0;
}

// SPDX-License-Identifier: MIT
/*
 * The loops that a C programmer would write, and the two that measure what memory gives. The
 * benchmark compiles this file when it starts, with cc -O3 -march=native, and loads the result: the
 * compiler's best for this very machine.
 *
 * All have one signature: bytes, their number, an operand; the result keeps the compiler from
 * dropping the work.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

uint64_t peer_xor(uint8_t *p, size_t n, uint8_t imm)
{
	for (size_t i = 0; i < n; ++i)
		p[i] ^= imm;
	return 0;
}

uint64_t peer_add(uint8_t *p, size_t n, uint8_t imm)
{
	for (size_t i = 0; i < n; ++i)
		p[i] += imm;
	return 0;
}

uint64_t peer_counteq(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; ++i)
		count += p[i] == imm;
	return count;
}

uint64_t peer_fnv(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t hash = 14695981039346656037ull;

	(void)imm;
	for (size_t i = 0; i < n; ++i)
		hash = (hash ^ p[i]) * 1099511628211ull;
	return hash;
}

static uint32_t crc_table[256];

__attribute__((constructor)) static void fill_crc_table(void)
{
	for (uint32_t byte = 0; byte < 256; ++byte) {
		uint32_t crc = byte;

		for (int bit = 0; bit < 8; ++bit)
			crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
		crc_table[byte] = crc;
	}
}

uint64_t peer_crc32c(uint8_t *p, size_t n, uint8_t imm)
{
	uint32_t crc = ~0u;

	(void)imm;
	for (size_t i = 0; i < n; ++i)
		crc = crc_table[(crc ^ p[i]) & 255] ^ crc >> 8;
	return (uint32_t)~crc;
}

/* Reads every byte once, as wide as the compiler likes. */
uint64_t peer_read(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t sum = imm, word;

	for (size_t i = 0; i + 8 <= n; i += 8) {
		memcpy(&word, p + i, 8);
		sum += word;
	}
	return sum;
}

/* Reads and writes every byte once. */
uint64_t peer_modify(uint8_t *p, size_t n, uint8_t imm)
{
	uint64_t word;

	for (size_t i = 0; i + 8 <= n; i += 8) {
		memcpy(&word, p + i, 8);
		word += imm | 1;
		memcpy(p + i, &word, 8);
	}
	return 0;
}

// SPDX-License-Identifier: MIT
/* The kernels' constants, computed from CRC-32C's polynomial and FNV's prime. */
#include "internal.h"

static const uint32_t polynomial = 0x82F63B78; /* reflected: bit 31 is x^0, bit 0 is x^31 */
static const uint32_t one = 0x80000000;

static uint32_t times_x(uint32_t a)
{
	return (a & 1) ? (a >> 1) ^ polynomial : a >> 1;
}

static uint32_t divided_by_x(uint32_t a)
{
	/* The polynomial has a constant term, so x has an inverse. */
	return (a & one) ? ((a ^ polynomial) << 1) | 1 : a << 1;
}

static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (uint32_t bit = one; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = times_x(b);
	}
	return product;
}

/* x^exponent */
static uint32_t power(int64_t exponent)
{
	uint32_t result = one;
	uint32_t square = exponent < 0 ? divided_by_x(one) : times_x(one);
	uint64_t rest = exponent < 0 ? -(uint64_t)exponent : (uint64_t)exponent;

	for (; rest; rest >>= 1) {
		if (rest & 1)
			result = multiply(result, square);
		square = multiply(square, square);
	}
	return result;
}

static uint32_t advance_by(int64_t bytes)
{
	return power(8 * bytes - 33);
}

static void fold_by(uint64_t multiplier[2], int64_t bytes)
{
	multiplier[0] = (uint64_t)power(8 * bytes + 63) << 32;
	multiplier[1] = (uint64_t)power(8 * bytes - 1) << 32;
}

/*
 * Advances for a block of crc32c_long.h's fused loop: of each stream's register to the end of the
 * block, then of the register before it.
 */
static void block_advances(uint64_t advances[5], int64_t stream, int64_t folded)
{
	for (int i = 0; i < 4; ++i)
		advances[i] = advance_by((3 - i) * stream + folded);
	advances[4] = advance_by(4 * stream + folded);
}

static void fnv_constants_init(struct pfs_fnv_constants *fnv)
{
	uint64_t inverse = FNV_PRIME; /* correct modulo 2^3; each step doubles the bits */
	uint64_t power = 1;

	for (int i = 0; i < 5; ++i)
		inverse *= 2 - FNV_PRIME * inverse;
	fnv->inverse[0] = 1;
	for (int i = 1; i < 64; ++i)
		fnv->inverse[i] = fnv->inverse[i - 1] * inverse;
	fnv->inverse64[0] = 1;
	for (int i = 1; i < PFS_FNV_STEPS; ++i)
		fnv->inverse64[i] = fnv->inverse64[i - 1] * fnv->inverse[63] * inverse;
	for (int i = PFS_FNV_UNIT - 1; i >= 0; --i) {
		int half = i / 8 % 2, place = i / 16 % 4 * 8 + i % 8;
		uint64_t rest = power *= FNV_PRIME;

		for (int k = 0; k < PFS_FNV_DIGITS; ++k) {
			int16_t digit = (int16_t)rest;

			fnv->weights[i / 64][half][k][place] = digit;
			rest = (rest - (uint64_t)(int64_t)digit) >> 16;
		}
	}
	fnv->power = power;
}

/* Each block is one unit more than the one before: a product instead of a power. */
static void fused_multipliers(struct pfs_crc_fused fused[PFS_FUSED_UNITS + 1])
{
	const uint32_t word = power(64), words = power(64 * PFS_FUSED_STREAMS);
	const uint32_t none = advance_by(0);
	const uint32_t unit = power(8 * (64 + 8 * PFS_FUSED_STREAMS));
	uint32_t stream = power(0);

	for (int lane = 0; lane < 4; ++lane)
		fold_by(fused[0].lanes[lane], 48 - 16 * lane);
	for (int s = 0; s < PFS_FUSED_STREAMS - 1; ++s)
		fused[0].stream[s] = none;
	fused[0].block = none;
	for (int i = 1; i <= PFS_FUSED_UNITS; ++i) {
		for (int half = 0; half < 8; ++half)
			fused[i].lanes[half / 2][half % 2] =
			    (uint64_t)multiply(fused[i - 1].lanes[half / 2][half % 2] >> 32, words)
			    << 32;
		/* Stream s has PFS_FUSED_STREAMS - 1 - s streams after it. */
		stream = multiply(stream, word);
		fused[i].stream[PFS_FUSED_STREAMS - 2] = multiply(none, stream);
		for (int s = PFS_FUSED_STREAMS - 2; s > 0; --s)
			fused[i].stream[s - 1] = multiply(fused[i].stream[s], stream);
		fused[i].block = multiply(fused[i - 1].block, unit);
	}
}

void pfs_constants_init(struct pfs_constants *constants)
{
	uint32_t ones = ~0u;
	uint32_t advance = advance_by(0);

	for (int d = -63; d <= 64; ++d)
		fold_by(constants->fold_table[63 + d], d);
	for (int n = 0; n < 1152; ++n) {
		if (n < 1024)
			constants->advance[n] = advance;
		constants->ones[n] = ones;
		for (int bit = 0; bit < 8; ++bit) {
			advance = times_x(advance);
			ones = times_x(ones);
		}
	}
	for (int i = 0; i < 32; ++i)
		constants->advance_kib[i] = advance_by((int64_t)1024 << i);
	for (int byte = 0; byte < 256; ++byte) {
		uint32_t crc = byte;

		for (int k = 0; k < 8; ++k) {
			for (int bit = 0; bit < 8; ++bit)
				crc = times_x(crc);
			constants->slices[k][byte] = crc;
		}
	}
	for (int i = 0; i < 2; ++i) {
		static const int64_t iterations[2] = {LONG_ITERATIONS, MIDDLE_ITERATIONS};

		block_advances(constants->long_wide[i], iterations[i] * 40, iterations[i] * 128);
		block_advances(constants->long_narrow[i], iterations[i] * 40, iterations[i] * 64);
	}
	fnv_constants_init(&constants->fnv);
	fold_by(constants->fold_fused, 64 * PFS_FUSED_FOLDS);
	fused_multipliers(constants->fused);
	fold_by(constants->fold_chunk,
		64 * PFS_FUSED_FOLDS + 8 * PFS_FUSED_STREAMS * PFS_CHUNK_UNITS);
	constants->skip_chunk = advance_by((64 + 8 * (PFS_FUSED_STREAMS - 1)) * PFS_CHUNK_UNITS);
}

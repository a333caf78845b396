/* SPDX-License-Identifier: MIT */
/*
 * FNV-1a of one range in parallel: the rounds over bit planes, for planes of any width. Who
 * includes this defines plane_t, XOR3(a, b, c) and MAJORITY(a, b, c).
 */
#ifndef PFS_FNV_ROUNDS_H
#define PFS_FNV_ROUNDS_H

/*
 * The eight rounds, one for each bit of the low byte. 0xB3 is p modulo 256, and 0xB3 x = 3x + (3x
 * << 4) + (x << 7) modulo 256; c are the carries of 3x = x + 2x, s its bits, d the carries of the
 * second addition. `g` is what bit k of 0xB3 x has besides x_k, so that l'_k = l_k ^ b_k ^ g_k.
 */
struct rounds {
	plane_t x[8];
	plane_t s[4];
	plane_t c, d, g;
};

/* What the prefix XOR of round k is taken of, given the rounds before it; plane is b_k. */
ALWAYS_INLINE plane_t begin_round(struct rounds *r, int k, plane_t plane)
{
	if (k == 0)
		return plane;
	if (k == 1) {
		r->g = r->x[0];
	} else if (k <= 3) {
		r->g = r->x[k - 1] ^ r->c;
	} else if (k == 4) {
		r->g = XOR3(r->x[3], r->c, r->s[0]);
	} else {
		r->g = XOR3(r->x[k - 1], r->c, r->s[k - 4] ^ r->d);
		if (k == 7)
			r->g ^= r->x[0];
	}
	return plane ^ r->g;
}

/* Takes l'_k, the bits k of the low bytes after each position. */
ALWAYS_INLINE void end_round(struct rounds *r, int k, plane_t low)
{
	plane_t x = k == 0 ? low : low ^ r->g;

	if (k < 4)
		r->s[k] = low;
	if (k == 4) {
		plane_t s = low ^ r->s[0];

		r->d = s & r->s[0];
	} else if (k == 5 || k == 6) {
		plane_t s = XOR3(low, r->s[k - 4], r->d);

		r->d = MAJORITY(s, r->s[k - 4], r->d);
	}
	if (k == 1)
		r->c = x & r->x[0];
	else if (k >= 2 && k <= 6)
		r->c = MAJORITY(x, r->x[k - 1], r->c);
	r->x[k] = x;
}

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/* The address of a PCI device as text: no access to any device, so that KUnit can try it. */
#ifndef PFS_BDF_H
#define PFS_BDF_H

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/types.h>

struct pfs_bdf {
	unsigned int domain;
	unsigned int bus;
	unsigned int device;
	unsigned int function;
};

/* Reads 1 to `most` hexadecimal digits and the character behind them; where to go on, or NULL. */
static inline const char *pfs_bdf_number(const char *text, int most, char behind,
					 unsigned int *number)
{
	int digits, digit;

	*number = 0;
	for (digits = 0; (digit = hex_to_bin(text[digits])) >= 0; digits++) {
		if (digits == most)
			return NULL;
		*number = *number << 4 | digit;
	}
	if (digits == 0 || text[digits] != behind)
		return NULL;
	return text + digits + 1;
}

/* Reads `dddd:bb:dd.f` or `bb:dd.f`, all hexadecimal, and nothing behind it. */
static inline int pfs_bdf_parse(const char *text, struct pfs_bdf *bdf)
{
	const char *rest;

	rest = pfs_bdf_number(text, 8, ':', &bdf->domain);
	if (!rest)
		return -EINVAL;
	text = pfs_bdf_number(rest, 2, ':', &bdf->bus);
	if (text) {
		rest = pfs_bdf_number(text, 2, '.', &bdf->device);
	} else {
		/* Two numbers only: what was taken for the domain is the bus. */
		bdf->bus = bdf->domain;
		bdf->domain = 0;
		rest = pfs_bdf_number(rest, 2, '.', &bdf->device);
	}
	if (!rest || !pfs_bdf_number(rest, 1, 0, &bdf->function))
		return -EINVAL;
	if (bdf->domain > INT_MAX || bdf->bus > 0xff || bdf->device > 0x1f || bdf->function > 7)
		return -EINVAL;
	return 0;
}

#endif

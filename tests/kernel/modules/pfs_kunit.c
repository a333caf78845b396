// SPDX-License-Identifier: GPL-2.0
/* KUnit tests of what the modules compute without any device: shapes, addresses, safe ranges. */
#include <kunit/test.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include "pfs_bdf.h"
#include "pfs_fp_shape.h"
#include "pfs_rp_safe.h"

#define MIB ((u64)SZ_1M)

static void shape_limits(struct kunit *test)
{
	static const struct {
		u64 ring_bytes;
		u32 slots;
		u64 max_bytes;
		u32 max_slots;
		int expected;
	} cases[] = {
		{ 0, 1, MIB, 64, -EINVAL },
		{ MIB, 0, MIB, 64, -EINVAL },
		{ MIB, 3, MIB, 64, -EINVAL },
		{ MIB, U32_MAX, U64_MAX, U32_MAX, -EINVAL },
		{ 639, 1, MIB, 64, -EINVAL },
		{ 640, 1, MIB, 64, 0 },
		{ 640, 1, 639, 64, -EFBIG },
		{ MIB, 64, MIB, 64, 0 },
		{ MIB, 128, MIB, 64, -EFBIG },
		{ MIB + 1, 64, MIB, 64, -EFBIG },
		{ U64_MAX, 64, MIB, 64, -EFBIG },
		/* No limit but the format's own: 2^32 units of slab, 2^31 slots. */
		{ U64_MAX, 1, U64_MAX, U32_MAX, -EFBIG },
		{ 640 + ((u64)PFS_FP_SLAB_UNIT << 32), 1, U64_MAX, U32_MAX, 0 },
		{ 640 + ((u64)PFS_FP_SLAB_UNIT << 32) + 63, 1, U64_MAX, U32_MAX, 0 },
		{ 640 + ((u64)PFS_FP_SLAB_UNIT << 32) + 64, 1, U64_MAX, U32_MAX, -EFBIG },
		{ 1ULL << 34, 0x80000000U, U64_MAX, U32_MAX, 0 },
		{ 1ULL << 33, 0x80000000U, U64_MAX, U32_MAX, -EINVAL },
	};
	struct pfs_fp_shape shape;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, cases[i].expected,
				    pfs_fp_shape_of(cases[i].ring_bytes, cases[i].slots,
						    cases[i].max_bytes, cases[i].max_slots, &shape),
				    "case %u", i);
}

/* Whatever fits: the parts are where the header's comment says, and no byte is given away twice. */
static void shape_divides_all(struct kunit *test)
{
	struct pfs_fp_shape shape;
	u64 bytes;
	u32 slots;

	for (slots = 1; slots <= 1U << 12; slots <<= 1) {
		for (bytes = 0; bytes < 40000; bytes += 61) {
			if (pfs_fp_shape_of(bytes, slots, U64_MAX, U32_MAX, &shape))
				continue;
			KUNIT_ASSERT_EQ(test, shape.slots, slots);
			KUNIT_ASSERT_EQ(test, shape.data_offset % PFS_FP_LINE, 0);
			KUNIT_ASSERT_GE(test, shape.data_offset, 512 + 4ULL * slots);
			KUNIT_ASSERT_LT(test, shape.data_offset, 512 + 4ULL * slots + PFS_FP_LINE);
			KUNIT_ASSERT_EQ(test, shape.slab_bytes % PFS_FP_SLAB_UNIT, 0);
			KUNIT_ASSERT_LE(test, shape.data_offset + shape.slab_bytes, bytes);
			KUNIT_ASSERT_GT(test, shape.data_offset + shape.slab_bytes + 64, bytes);
		}
	}
}

static void addresses(struct kunit *test)
{
	static const struct {
		const char *text;
		int expected;
		struct pfs_bdf bdf;
	} cases[] = {
		{ "0000:03:00.0", 0, { 0, 3, 0, 0 } },
		{ "03:00.0", 0, { 0, 3, 0, 0 } },
		{ "ff:1f.7", 0, { 0, 0xff, 0x1f, 7 } },
		{ "FFFF:fF:1F.7", 0, { 0xffff, 0xff, 0x1f, 7 } },
		{ "10000:e1:02.3", 0, { 0x10000, 0xe1, 2, 3 } },
		{ "7fffffff:00:00.0", 0, { INT_MAX, 0, 0, 0 } },
		{ "80000000:00:00.0", -EINVAL, {} },
		{ "100000000:00:00.0", -EINVAL, {} },
		{ "100000003:00.0", -EINVAL, {} },
		{ "100:00.0", -EINVAL, {} },
		{ "0:100:00.0", -EINVAL, {} },
		{ "00:20.0", -EINVAL, {} },
		{ "00:00.8", -EINVAL, {} },
		{ "00:00.00", -EINVAL, {} },
		{ "00:00.", -EINVAL, {} },
		{ "00:00", -EINVAL, {} },
		{ "00.0", -EINVAL, {} },
		{ ":00:00.0", -EINVAL, {} },
		{ "::.", -EINVAL, {} },
		{ "", -EINVAL, {} },
		{ " 00:00.0", -EINVAL, {} },
		{ "00:00.0 ", -EINVAL, {} },
		{ "00: 0.0", -EINVAL, {} },
		{ "0x0:00.0", -EINVAL, {} },
		{ "-1:00.0", -EINVAL, {} },
		{ "+1:00.0", -EINVAL, {} },
		{ "0:0:0:00.0", -EINVAL, {} },
		{ "nonsense", -EINVAL, {} },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pfs_bdf bdf = {};

		KUNIT_EXPECT_EQ_MSG(test, cases[i].expected, pfs_bdf_parse(cases[i].text, &bdf),
				    "'%s'", cases[i].text);
		if (cases[i].expected)
			continue;
		KUNIT_EXPECT_EQ_MSG(test, cases[i].bdf.domain, bdf.domain, "'%s'", cases[i].text);
		KUNIT_EXPECT_EQ_MSG(test, cases[i].bdf.bus, bdf.bus, "'%s'", cases[i].text);
		KUNIT_EXPECT_EQ_MSG(test, cases[i].bdf.device, bdf.device, "'%s'", cases[i].text);
		KUNIT_EXPECT_EQ_MSG(test, cases[i].bdf.function, bdf.function, "'%s'",
				    cases[i].text);
	}
}

static bool safe(u16 device, u8 revision, u32 bar, u64 offset, u64 length)
{
	struct pfs_rp_window window = { .bar = bar, .offset = offset, .length = length };

	return pfs_rp_is_safe(device > 0x2000 ? PCI_VENDOR_ID_REALTEK : PCI_VENDOR_ID_INTEL, device,
			      revision, &window);
}

static void safe_ranges(struct kunit *test)
{
	u64 offset;

	/* Interrupt mask and status are in none of the ranges, nor is a window across them. */
	for (offset = 0; offset < 0x100; offset += 4) {
		bool expected = offset < 0x3c || (offset >= 0x40 && offset < 0x60) ||
				(offset >= 0xe0 && offset < 0xec);

		KUNIT_EXPECT_EQ_MSG(test, expected, safe(0x8139, 0x20, 1, offset, 4), "0x%llx",
				    offset);
		KUNIT_EXPECT_EQ_MSG(test, expected, safe(0x8168, 0x02, 2, offset, 4), "0x%llx",
				    offset);
		KUNIT_EXPECT_EQ_MSG(test, expected, safe(0x8169, 0x10, 1, offset, 4), "0x%llx",
				    offset);
	}
	KUNIT_EXPECT_TRUE(test, safe(0x8139, 0x20, 1, 0, 0x3c));
	KUNIT_EXPECT_FALSE(test, safe(0x8139, 0x20, 1, 0, 0x40));
	KUNIT_EXPECT_FALSE(test, safe(0x8139, 0x20, 1, 0, 0x60));
	/* Cards before the C+ mode have other things there. */
	KUNIT_EXPECT_FALSE(test, safe(0x8139, 0x1f, 1, 0x20, 8));
	KUNIT_EXPECT_FALSE(test, safe(0x8139, 0x10, 1, 0, 4));
	KUNIT_EXPECT_FALSE(test, pfs_rp_is_known(PCI_VENDOR_ID_REALTEK, 0x8139, 0x10));
	KUNIT_EXPECT_TRUE(test, pfs_rp_is_known(PCI_VENDOR_ID_REALTEK, 0x8139, 0x20));
	KUNIT_EXPECT_TRUE(test, pfs_rp_is_known(PCI_VENDOR_ID_REALTEK, 0x8168, 0));
	KUNIT_EXPECT_FALSE(test, pfs_rp_is_known(PCI_VENDOR_ID_INTEL, 0x8168, 0));
	/* Another BAR, and sums that wrap around. */
	KUNIT_EXPECT_FALSE(test, safe(0x8139, 0x20, 2, 0x20, 8));
	KUNIT_EXPECT_FALSE(test, safe(0x8139, 0x20, 1, 0x20, U64_MAX - 0x1f));
	KUNIT_EXPECT_FALSE(test, safe(0x8139, 0x20, 1, U64_MAX - 3, 8));
	KUNIT_EXPECT_TRUE(test, safe(0x10d3, 0, 0, 0x2800, 0x200));
	KUNIT_EXPECT_FALSE(test, safe(0x10d3, 0, 0, 0x2800, 0x204));
	KUNIT_EXPECT_FALSE(test, safe(0x10d3, 0, 0, 0xc0, 4));
}

static struct kunit_case pfs_cases[] = {
	KUNIT_CASE(shape_limits),
	KUNIT_CASE(shape_divides_all),
	KUNIT_CASE(addresses),
	KUNIT_CASE(safe_ranges),
	{},
};

static struct kunit_suite pfs_suite = {
	.name = "packetfs",
	.test_cases = pfs_cases,
};

kunit_test_suite(pfs_suite);

MODULE_DESCRIPTION("PacketFS: KUnit tests");
MODULE_AUTHOR("The PacketFS authors");
MODULE_LICENSE("GPL");

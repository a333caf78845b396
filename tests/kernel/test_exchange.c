// SPDX-License-Identifier: MIT
/* Two processes that are no relatives of the region exchange records over /dev/pfs_fastpath, and
 * check each. */
#define _GNU_SOURCE
#include "fastpath.h"

struct course {
	uint64_t records;
	uint64_t ring_bytes;
	uint32_t slots;
	uint32_t batch; /* records per publication; 0: as many as there is room for */
};

static void produce(void *argument)
{
	const struct course *course = argument;
	struct side side = side_attach(DEVICE, PFS_FP_ROLE_PRODUCER);
	uint64_t sent = 0;

	while (sent < course->records) {
		uint32_t tail = load_acquire(&side.hdr->tail);
		uint32_t free = side.mask + 1 - (side.index - tail);

		if (free == 0) {
			side_wait(&side, &side.hdr->tail, tail);
			continue;
		}
		if (course->batch && free > course->batch)
			free = course->batch;
		for (; free > 0 && sent < course->records; free--, sent++, side.index++) {
			uint32_t unit = sent % side.units;

			record_write((uint64_t *)(side.slab + PFS_FP_SLAB_UNIT * (size_t)unit),
				     sent);
			side.slots[side.index & side.mask] = unit;
		}
		store_release(&side.hdr->head, side.index);
		side_ring(&side);
	}
	printf("# producer: %llu records, slept %llu times\n", (unsigned long long)sent,
	       (unsigned long long)side.sleeps);
}

static void consume(void *argument)
{
	const struct course *course = argument;
	struct side side = side_attach(DEVICE, PFS_FP_ROLE_CONSUMER);
	uint64_t got = 0;

	while (got < course->records) {
		uint32_t head = load_acquire(&side.hdr->head);
		uint32_t filled = head - side.index;

		CHECK(filled <= side.mask + 1);
		if (filled == 0) {
			side_wait(&side, &side.hdr->head, head);
			continue;
		}
		if (course->batch && filled > course->batch)
			filled = course->batch;
		for (; filled > 0; filled--, got++, side.index++) {
			uint32_t unit = side.slots[side.index & side.mask];

			CHECK(unit < side.units);
			if (!record_is((uint64_t *)(side.slab + PFS_FP_SLAB_UNIT * (size_t)unit),
				       got))
				FAIL("record %llu in unit %u is not what was sent",
				     (unsigned long long)got, unit);
		}
		store_release(&side.hdr->tail, side.index);
		side_ring(&side);
	}
	printf("# consumer: %llu records, slept %llu times\n", (unsigned long long)got,
	       (unsigned long long)side.sleeps);
}

static void exchange(struct course course)
{
	int fd = fp_open(DEVICE);
	volatile struct pfs_fp_ring_hdr *hdr;
	pid_t producer, consumer;

	CHECK(fp_setup(fd, course.ring_bytes, course.slots, 0) == 0);
	producer = ktap_child(produce, &course);
	consumer = ktap_child(consume, &course);
	ktap_join(producer);
	ktap_join(consumer);
	hdr = fp_map(fd, 4096, PROT_READ);
	CHECK_EQ(hdr->head, (uint32_t)course.records);
	CHECK_EQ(hdr->tail, (uint32_t)course.records);
	CHECK_EQ(fp_info(fd).roles_held, 0);
}

static void ten_million_records(void)
{
	exchange((struct course){10000000, 1UL << 20, 4096, 1024});
}

/* So small a ring that each side waits for the other all the time. */
static void sleeping_at_every_turn(void)
{
	exchange((struct course){5000, 4096, 2, 1});
}

/* Every slot used, and a slab that does not end with the ring. */
static void odd_slab(void)
{
	exchange((struct course){300000, 512 + 4 * 64 + 64 * 77, 64, 0});
}

static const struct ktap_test tests[] = {
    TEST(ten_million_records),
    TEST(sleeping_at_every_turn),
    TEST(odd_slab),
};

int main(void)
{
	return KTAP_RUN(tests, 280, fp_empty_all);
}

// SPDX-License-Identifier: MIT
/* SIGKILL on either side of a ring over /dev/pfs_fastpath: what the other side and a successor see.
 */
#define _GNU_SOURCE
#include "fastpath.h"

#define SLOTS 64
#define RING_BYTES 65536

/* Record n lies in unit n % units, n being the ring's index, which a successor finds in the header.
 */
static void produce_for_ever(void *unused)
{
	struct side side = side_attach(DEVICE, PFS_FP_ROLE_PRODUCER);

	(void)unused;
	for (;;) {
		uint32_t tail = load_acquire(&side.hdr->tail), unit = side.index % side.units;

		if (side.index - tail > side.mask) {
			side_wait(&side, &side.hdr->tail, tail);
			continue;
		}
		record_write((uint64_t *)(side.slab + PFS_FP_SLAB_UNIT * (size_t)unit), side.index);
		side.slots[side.index & side.mask] = unit;
		store_release(&side.hdr->head, ++side.index);
		side_ring(&side);
	}
}

/* Takes and checks what is there. Returns how many it took. */
static uint32_t take_all(struct side *side)
{
	uint32_t taken = 0, head = load_acquire(&side->hdr->head);

	CHECK(head - side->index <= side->mask + 1);
	for (; side->index != head; taken++) {
		uint32_t unit = side->slots[side->index & side->mask];

		CHECK(unit < side->units);
		CHECK(record_is((uint64_t *)(side->slab + PFS_FP_SLAB_UNIT * (size_t)unit),
				side->index));
		store_release(&side->hdr->tail, ++side->index);
	}
	side_ring(side);
	return taken;
}

static void consume_for_ever(void *unused)
{
	struct side side = side_attach(DEVICE, PFS_FP_ROLE_CONSUMER);

	(void)unused;
	for (;;) {
		uint32_t head = load_acquire(&side.hdr->head);

		if (take_all(&side) == 0)
			side_wait(&side, &side.hdr->head, head);
	}
}

/* Kills it in whatever it is doing. */
static void kill_child(pid_t child)
{
	int status;

	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void wait_for_role(int fd, uint32_t role)
{
	WAIT_FOR(fp_info(fd).roles_held & role);
}

static void producer_killed(void)
{
	int fd = fp_open(DEVICE), killed;
	struct pollfd poller;
	struct side side;
	uint64_t seed = 1, taken = 0;
	pid_t child;

	CHECK(fp_setup(fd, RING_BYTES, SLOTS, 0) == 0);
	side = side_attach(DEVICE, PFS_FP_ROLE_CONSUMER);
	for (killed = 0; killed < 15; killed++) {
		child = ktap_child(produce_for_ever, NULL);
		wait_for_role(fd, PFS_FP_ROLE_PRODUCER);
		for (uint32_t rounds = random_next(&seed) % 200; rounds > 0; rounds--) {
			taken += take_all(&side);
			side_wait(&side, &side.hdr->head, side.index);
		}
		kill_child(child);
		/* The kernel tells: the role is free, and whoever sleeps is woken. */
		poller = (struct pollfd){.fd = side.fd, .events = POLLRDHUP};
		CHECK(poll(&poller, 1, 10000) == 1);
		CHECK_EQ(poller.revents, POLLRDHUP);
		CHECK_EQ(fp_info(fd).roles_held, PFS_FP_ROLE_CONSUMER);
		/* What was published is there and whole; the next one carries on behind it. */
		taken += take_all(&side);
		CHECK_EQ(side.hdr->head, side.index);
	}
	CHECK_EQ((uint32_t)taken, side.index);
	printf("# %d producers killed, %llu records\n", killed, (unsigned long long)taken);
}

static void consumer_killed(void)
{
	int fd = fp_open(DEVICE), killed;
	struct side side;
	uint64_t seed = 2;
	uint32_t tail, unit;
	pid_t child;

	CHECK(fp_setup(fd, RING_BYTES, SLOTS, 0) == 0);
	side = side_attach(DEVICE, PFS_FP_ROLE_PRODUCER);
	for (killed = 0; killed < 15; killed++) {
		child = ktap_child(consume_for_ever, NULL);
		wait_for_role(fd, PFS_FP_ROLE_CONSUMER);
		for (uint32_t left = random_next(&seed) % 5000; left > 0;) {
			tail = load_acquire(&side.hdr->tail);
			CHECK(side.index - tail <= side.mask + 1);
			if (side.index - tail > side.mask) {
				side_wait(&side, &side.hdr->tail, tail);
				continue;
			}
			unit = side.index % side.units;
			record_write((uint64_t *)(side.slab + PFS_FP_SLAB_UNIT * (size_t)unit),
				     side.index);
			side.slots[side.index & side.mask] = unit;
			store_release(&side.hdr->head, ++side.index);
			side_ring(&side);
			left--;
		}
		kill_child(child);
		CHECK(side_wait(&side, &side.hdr->producer_sleeps, 1) & POLLRDHUP);
		CHECK_EQ(fp_info(fd).roles_held, PFS_FP_ROLE_PRODUCER);
	}
	printf("# %d consumers killed, %u records\n", killed, side.index);
}

static void both_killed(void)
{
	int fd = fp_open(DEVICE);
	volatile struct pfs_fp_ring_hdr *hdr;
	struct side side;
	uint64_t seed = 3;
	pid_t first, second;

	CHECK(fp_setup(fd, RING_BYTES, SLOTS, 0) == 0);
	hdr = fp_map(fd, 4096, PROT_READ);
	CHECK(hdr != MAP_FAILED);
	for (int i = 0; i < 20; i++) {
		first = ktap_child(produce_for_ever, NULL);
		second = ktap_child(consume_for_ever, NULL);
		wait_for_role(fd, PFS_FP_ROLE_PRODUCER);
		wait_for_role(fd, PFS_FP_ROLE_CONSUMER);
		/* The first two in an exchange that has begun; the others at any time. */
		if (i == 0)
			WAIT_FOR(hdr->tail > 0);
		usleep(random_next(&seed) % 30000);
		kill_child(first);
		kill_child(second);
		CHECK_EQ(fp_info(fd).roles_held, 0);
		CHECK_EQ(fp_info(fd).mappings, 1);
	}
	side = side_attach(DEVICE, PFS_FP_ROLE_CONSUMER);
	take_all(&side);
	printf("# %u records\n", side.index);
	CHECK(side.index > 0);
}

static void setup_for_ever(void *unused)
{
	(void)unused;
	for (;;) {
		int fd = fp_open(DEVICE "1");

		fp_setup(fd, 64UL << 20, 1024, 0);
		fp_reset(fd, 0);
		close(fd);
	}
}

/* In the middle of SETUP all memory goes back; behind it the region is whole. */
static void killed_in_setup(void)
{
	uint64_t seed = 4, total;
	int fd = fp_open(DEVICE "1");

	for (int i = 0; i < 30; i++) {
		pid_t child = ktap_child(setup_for_ever, NULL);

		usleep(random_next(&seed) % 60000);
		kill_child(child);
		total = fp_info(fd).total_bytes;
		CHECK_EQ(total, fp_info(fd).flags & PFS_FP_INFO_READY ? 64UL << 20 : 0);
		if (total)
			CHECK(fp_reset(fd, 0) == 0);
		close(fd);
		fd = fp_open(DEVICE "1");
	}
}

static const struct ktap_test tests[] = {
    TEST(producer_killed),
    TEST(consumer_killed),
    TEST(both_killed),
    TEST(killed_in_setup),
};

int main(void)
{
	return KTAP_RUN(tests, 100, fp_empty_all);
}

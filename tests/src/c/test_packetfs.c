/* SPDX-License-Identifier: MIT */
/*
 * libpacketfs as C and C++ see it: this file compiles as either. Answers are compared with
 * published or hand-made ones; misuse must come back as an error. Prints the number of checks, and
 * ends with 1 at the first one that fails.
 */
#include <packetfs.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __cplusplus
#define ASSERT_STATIC(condition) static_assert(condition, #condition)
#define NO_PROGRAM static_cast<pfs_program *>(0)
#else
#define ASSERT_STATIC(condition) _Static_assert(condition, #condition)
#define NO_PROGRAM ((pfs_program *)0)
#endif

/* The layout that libpacketfs.so.0 has promised. */
ASSERT_STATIC(sizeof(pfs_error) == 512 && offsetof(pfs_error, message) == 8);
ASSERT_STATIC(sizeof(pfs_gram_desc) == 16 && offsetof(pfs_gram_desc, len) == 8);
ASSERT_STATIC(sizeof(pfs_stream) == 48 && offsetof(pfs_stream, flags) == 40);
ASSERT_STATIC(sizeof(pfs_stream_answer) == 296 && offsetof(pfs_stream_answer, totals) == 40);

static unsigned checks;
static pfs_error error;

static void fail(int line, const char *what)
{
	fprintf(stderr, "line %d: %s\n  status %d, errno %d: %s\n", line, what, error.status,
		error.system_error, error.message);
	exit(1);
}

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		checks++;                                                                          \
		if (!(condition))                                                                  \
			fail(__LINE__, #condition);                                                \
	} while (0)
#define OK(call) CHECK((call) == PFS_OK)
/* It fails like that, says why, and says so as well where nobody wants to know why. */
#define FAILS(expected, call)                                                                      \
	do {                                                                                       \
		memset(&error, 0, sizeof(error));                                                  \
		CHECK((call) == (expected));                                                       \
		CHECK(error.status == (expected) && strlen(error.message) > 10);                   \
	} while (0)

/* A name that no other run of this test has. */
static const char *name(void)
{
	static char text[64];
	snprintf(text, sizeof(text), "test-c-%ld", (long)getpid());
	return text;
}

static pfs_blob *blob_with(const char *text, uint64_t byte_count)
{
	pfs_blob *blob = NULL;
	uint8_t *bytes = NULL;

	OK(pfs_blob_create(NULL, NULL, byte_count, PFS_PAGES_4K, &blob, &error));
	OK(pfs_blob_bytes(blob, &bytes, NULL, &error));
	memcpy(bytes, text, strlen(text));
	return blob;
}

static pfs_program *compiled(const char *text)
{
	pfs_program *program = NULL;

	OK(pfs_program_compile(text, &program, &error));
	return program;
}

static void test_versions_and_statuses(void)
{
	int32_t status;

	CHECK(strcmp(pfs_version(), PFS_VERSION) == 0);
	for (status = PFS_ERROR_SYSTEM; status <= PFS_AGAIN; status++)
		CHECK(strcmp(pfs_status_text(status), pfs_status_text(99)) != 0);
	CHECK(strlen(pfs_status_text(-1000)) > 0);
}

static void test_programs(void)
{
	pfs_blob *blob = blob_with("123456789foobar", 4096);
	pfs_program *program = compiled("crc32c,fnv,counteq:0x36");
	const pfs_gram_desc ranges[3] = {{0, 9, 0}, {9, 6, 0}, {4000, 0, 0}};
	uint64_t values[9], totals[3] = {1, 2, 3};
	uint32_t count = 0, writes = 9;
	uint8_t *bytes = NULL;
	uint64_t size = 0;
	char text[64], cut[4];

	OK(pfs_program_value_count(program, &count, &error));
	OK(pfs_program_writes(program, &writes, &error));
	CHECK(count == 3 && writes == 0);
	OK(pfs_program_describe(program, text, sizeof(text), &error));
	CHECK(strncmp(text, "crc32c,fnv,counteq:54 on ", 25) == 0);
	OK(pfs_program_describe(program, cut, sizeof(cut), NULL));
	CHECK(strcmp(cut, "crc") == 0);

	OK(pfs_program_execute(program, blob, ranges, 3, values, 9, &error));
	CHECK(values[0] == 0xE3069283u);	     /* RFC 3720, "123456789" */
	CHECK(values[4] == 0x85944171F73967E8ull);   /* FNV's authors, "foobar" */
	CHECK(values[6] == 0 && values[8] == 0);     /* of no bytes */
	CHECK(values[7] == 14695981039346656037ull); /* the offset basis */
	CHECK(values[2] == 1 && values[5] == 0);     /* one '6' */
	OK(pfs_program_total(program, blob, ranges, 3, totals, 3, &error));
	CHECK(totals[0] == 1 + values[0] + values[3] + values[6]);
	CHECK(totals[1] == 2 + values[1] + values[4] + values[7]);
	CHECK(totals[2] == 4);
	OK(pfs_program_execute(program, blob, NULL, 0, NULL, 0, &error));

	FAILS(PFS_ERROR_TOO_LARGE,
	      pfs_program_execute(program, blob, ranges, 3, values, 8, &error));
	FAILS(PFS_ERROR_TOO_LARGE, pfs_program_total(program, blob, ranges, 3, totals, 2, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_execute(program, blob, NULL, 3, values, 9, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_execute(program, blob, ranges, 3, NULL, 9, &error));
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_program_execute(program, blob, ranges, UINT64_MAX, values, 9, &error));
	OK(pfs_program_close(&program, &error));

	/* 0x00 xor 255 = 255, add 1 = 0: every zero is counted again. */
	program = compiled("xor:255,add:1,counteq:0");
	OK(pfs_program_writes(program, &writes, &error));
	CHECK(writes == 1);
	OK(pfs_blob_bytes(blob, &bytes, &size, &error));
	CHECK(size == 4096 && bytes[0] == '1');
	OK(pfs_program_execute(program, blob, ranges, 1, values, 1, &error));
	CHECK(values[0] == 0 && bytes[0] == (uint8_t)(('1' ^ 255) + 1) && bytes[9] == 'f');
	OK(pfs_program_close(&program, &error));
	CHECK(program == NULL);
	OK(pfs_program_close(&program, &error));

	FAILS(PFS_ERROR_PROGRAM, pfs_program_compile("xor:256", &program, &error));
	CHECK(strstr(error.message, "256") != NULL && program == NULL);
	FAILS(PFS_ERROR_PROGRAM, pfs_program_compile("", &program, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_compile("\xff\xfe", &program, &error));
	CHECK(pfs_program_compile("mul:3", &program, NULL) == PFS_ERROR_PROGRAM);

	setenv("PACKETFS_FORCE_ISA", "abacus", 1);
	FAILS(PFS_ERROR_UNAVAILABLE, pfs_program_compile("fnv", &program, &error));
	setenv("PACKETFS_FORCE_ISA", "portable", 1);
	program = compiled("fnv");
	unsetenv("PACKETFS_FORCE_ISA");
	OK(pfs_program_describe(program, text, sizeof(text), &error));
	CHECK(strcmp(text, "fnv on portable") == 0);
	OK(pfs_program_close(&program, &error));
	OK(pfs_blob_close(&blob, &error));
}

/* More ranges than are executed at a time, a bad one among them: then nothing is executed. */
static void test_ranges(void)
{
	enum { COUNT = 5000 };
	static pfs_gram_desc ranges[COUNT];
	static uint64_t values[COUNT];
	pfs_blob *blob = blob_with("", 1 << 20);
	pfs_program *program = compiled("add:1,counteq:1");
	uint8_t *bytes = NULL;
	uint64_t total = 0;
	int i;

	OK(pfs_blob_bytes(blob, &bytes, NULL, &error));
	for (i = 0; i < COUNT; i++) {
		ranges[i].offset = 64 * (uint64_t)i;
		ranges[i].len = 1 + (uint32_t)i % 64;
		ranges[i].flags = 0;
	}
	OK(pfs_program_execute(program, blob, ranges, COUNT, values, COUNT, &error));
	for (i = 0; i < COUNT; i++)
		CHECK(values[i] == ranges[i].len && bytes[64 * i] == 1);
	ranges[COUNT - 1].offset = (1 << 20) - 1;
	ranges[COUNT - 1].len = 2;
	FAILS(PFS_ERROR_RANGE, pfs_program_total(program, blob, ranges, COUNT, &total, 1, &error));
	CHECK(strstr(error.message, "range 4999") != NULL);
	ranges[COUNT - 1].offset = UINT64_MAX;
	FAILS(PFS_ERROR_RANGE, pfs_program_total(program, blob, ranges, COUNT, &total, 1, &error));
	ranges[COUNT - 1].offset = 0;
	ranges[COUNT - 1].flags = 1;
	FAILS(PFS_ERROR_RANGE, pfs_program_total(program, blob, ranges, COUNT, &total, 1, &error));
	CHECK(total == 0 && bytes[0] == 1 && bytes[64 * (COUNT - 2)] == 1);
	OK(pfs_program_close(&program, &error));
	OK(pfs_blob_close(&blob, &error));

	OK(pfs_descriptors_generate(1, 0, 64, 1 << 20, 64, 10, ranges, COUNT, &error));
	for (i = 0; i < COUNT; i++)
		CHECK(ranges[i].offset >= 64 && ranges[i].offset % 64 == 0 && ranges[i].len >= 64 &&
		      ranges[i].len < 320 && ranges[i].offset + ranges[i].len <= 1 << 20);
	/* Whoever knows the numbers makes the same ranges. */
	OK(pfs_descriptors_generate(1, 0, 64, 1 << 20, 64, 12, ranges + COUNT - 1, 1, &error));
	CHECK(memcmp(&ranges[2], &ranges[COUNT - 1], sizeof(ranges[0])) == 0);
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_descriptors_generate(1, 0, 64, 64, 64, 0, ranges, COUNT, &error));
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_descriptors_generate(1, 0, 0, 64, 3, 0, ranges, COUNT, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_descriptors_generate(1, 0, 0, 64, 1, 0, NULL, 1, &error));
}

static void test_blobs(void)
{
	pfs_blob *blob = NULL, *same = NULL;
	uint8_t *bytes = NULL, *others = NULL;
	uint64_t size = 0;
	int32_t descriptor = -1;
	char text[200];

	OK(pfs_blob_create(name(), NULL, 10000, PFS_PAGES_AUTO, &blob, &error));
	FAILS(PFS_ERROR_EXISTS, pfs_blob_create(name(), NULL, 1, PFS_PAGES_AUTO, &same, &error));
	CHECK(same == NULL && error.system_error != 0);
	OK(pfs_blob_open(name(), NULL, 10000, &same, &error));
	OK(pfs_blob_bytes(blob, &bytes, &size, &error));
	CHECK(size == 10000 && bytes[9999] == 0);
	OK(pfs_blob_bytes(same, &others, NULL, &error));
	bytes[5000] = 42;
	CHECK(others[5000] == 42);
	OK(pfs_blob_close(&same, &error));
	OK(pfs_blob_describe(blob, text, sizeof(text), &error));
	CHECK(strstr(text, "named file") != NULL);
	OK(pfs_blob_remove(name(), NULL, &error));
	FAILS(PFS_ERROR_NOT_FOUND, pfs_blob_remove(name(), NULL, &error));
	FAILS(PFS_ERROR_NOT_FOUND, pfs_blob_open(name(), NULL, 0, &same, &error));

	/* By descriptor, which the blob takes over. */
	OK(pfs_blob_descriptor(blob, &descriptor, &error));
	descriptor = dup(descriptor);
	OK(pfs_blob_adopt(descriptor, 10000, &same, &error));
	OK(pfs_blob_bytes(same, &others, NULL, &error));
	CHECK(others[5000] == 42);
	OK(pfs_blob_close(&same, &error));
	CHECK(close(descriptor) != 0);
	OK(pfs_blob_close(&blob, &error));
	CHECK(blob == NULL);

	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_create(NULL, NULL, 0, PFS_PAGES_AUTO, &blob, &error));
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_blob_create(NULL, NULL, UINT64_MAX, PFS_PAGES_AUTO, &blob, &error));
	FAILS(PFS_ERROR_SHORTAGE,
	      pfs_blob_create(NULL, NULL, 1ull << 60, PFS_PAGES_4K, &blob, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_create(NULL, NULL, 1, 77, &blob, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_create("../x", NULL, 1, 0, &blob, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_create("x", "/proc", 1, 0, &blob, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_create(NULL, NULL, 1, 0, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_adopt(STDIN_FILENO, 0, &blob, &error));
	CHECK(pfs_blob_adopt(-1, 0, &blob, NULL) < 0);
	CHECK(blob == NULL);
}

static void test_records(void)
{
	pfs_program *program = compiled("xor:1,counteq:2"), *other = compiled("fnv"), *got = NULL;
	const pfs_gram_desc ranges[2] = {{64, 3, 0}, {0, 0, 0}};
	pfs_gram_desc read[2];
	/* 16-byte aligned in C and C++ of any age. */
	union {
		uint64_t words[512];
		long double alignment;
	} memory;
	uint64_t length = 0, count = 0;
	uint32_t carries = 9;
	char text[64];
	/* docs/formats.md, by hand. */
	static const unsigned char bytes[64] = {
	    'P', 'F', 'S', 'I', 1, 0, 2, 0, 64, 0, 0, 0,  0, 0, 0, 0, 1, 1, 0, 0, 3,
	    2,	 0,   0,   2,	0, 0, 0, 0, 0,	0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 3,
	};

	OK(pfs_record_byte_count(program, 2, &length, &error));
	CHECK(length == 64);
	OK(pfs_record_byte_count(NULL, 2, &length, &error));
	CHECK(length == 48);
	OK(pfs_record_encode(program, ranges, 2, &memory, sizeof(memory), &length, &error));
	CHECK(length == 64 && memcmp(&memory, bytes, 64) == 0);
	OK(pfs_record_read(&memory, length, 67, read, 2, &count, &error));
	CHECK(count == 2 && memcmp(read, ranges, sizeof(read)) == 0);
	OK(pfs_record_carries(&memory, length, program, &carries, &error));
	CHECK(carries == 1);
	OK(pfs_record_carries(&memory, length, other, &carries, &error));
	CHECK(carries == 0);
	OK(pfs_record_program(&memory, length, &got, &error));
	OK(pfs_program_describe(got, text, sizeof(text), &error));
	CHECK(strncmp(text, "xor:1,counteq:2 on ", 19) == 0);
	OK(pfs_program_close(&got, &error));

	FAILS(PFS_ERROR_RANGE, pfs_record_read(&memory, length, 66, read, 2, &count, &error));
	FAILS(PFS_ERROR_TOO_LARGE, pfs_record_read(&memory, length, 67, read, 1, &count, &error));
	FAILS(PFS_ERROR_RECORD, pfs_record_read(&memory, 63, 67, read, 2, &count, &error));
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_record_read((char *)&memory + 1, 64, 67, read, 2, &count, &error));
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_record_read(&memory, 64, UINT64_MAX, read, 2, &count, &error));
	FAILS(PFS_ERROR_TOO_LARGE,
	      pfs_record_encode(program, ranges, 2, &memory, 63, &length, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_record_encode(program, ranges, PFS_MAXIMUM_DESCRIPTORS + 1,
						    &memory, sizeof(memory), &length, &error));
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_record_encode(program, NULL, 1, &memory, sizeof(memory), &length, &error));
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_record_encode(program, ranges, 1, (char *)&memory + 8, 64, &length, &error));
	memory.words[0] += 1ull << 32; /* the version */
	FAILS(PFS_ERROR_VERSION, pfs_record_read(&memory, length, 67, read, 2, &count, &error));

	OK(pfs_record_encode(NO_PROGRAM, ranges, 2, &memory, sizeof(memory), NULL, &error));
	got = program;
	OK(pfs_record_program(&memory, 48, &got, &error));
	CHECK(got == NULL);
	OK(pfs_program_close(&program, &error));
	OK(pfs_program_close(&other, &error));
}

/* Whatever stands there: an error or a record, and no byte touched outside. */
static void test_garbage(void)
{
	uint64_t state = 88172645463325252ull, original[32];
	union {
		uint64_t words[32];
		long double alignment;
	} memory;
	pfs_gram_desc read[16];
	pfs_program *program = compiled("crc32c"), *got = NULL;
	pfs_blob *blob = blob_with("", 100);
	const pfs_gram_desc ranges[8] = {{0, 100, 0}, {99, 1, 0}};
	pfs_stream_answer answer;
	uint64_t count;
	int round, accepted = 0;

	OK(pfs_record_encode(program, ranges, 8, &memory, sizeof(memory), NULL, &error));
	memcpy(original, memory.words, sizeof(original));
	for (round = 0; round < 2000; round++) {
		int32_t status;

		memcpy(memory.words, original, sizeof(original));
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		((unsigned char *)memory.words)[state % 64] ^=
		    (unsigned char)(1 << (state >> 8) % 8);
		count = 99;
		status = pfs_record_read(&memory, (state >> 16) % sizeof(memory), 100, read, 16,
					 &count, &error);
		CHECK(status <= 0 && (status == PFS_OK) == (count != 99));
		if (status == PFS_OK) {
			uint64_t totals[1] = {0};

			accepted++;
			OK(pfs_program_total(program, blob, read, count, totals, 1, &error));
		}
		status = pfs_record_program(&memory, sizeof(memory), &got, &error);
		CHECK(status <= 0);
		OK(pfs_program_close(&got, &error));
		status =
		    pfs_stream_answer_read(&memory, (state >> 16) % 400 % 257, &answer, &error);
		CHECK(status == PFS_AGAIN || status == PFS_OK);
	}
	CHECK(accepted > 0 && accepted < 2000);
	OK(pfs_program_close(&program, &error));
	OK(pfs_blob_close(&blob, &error));
}

static void test_rings(void)
{
	pfs_ring *ring = NULL, *same = NULL;
	pfs_producer *producer = NULL, *second = NULL;
	pfs_consumer *consumer = NULL;
	const void *record = NULL;
	void *bytes = NULL, *more = NULL;
	uint64_t room = 0, count = 0;
	uint32_t produces = 9, consumes = 9;

	OK(pfs_ring_create(name(), NULL, 4, 1024, &ring, &error));
	FAILS(PFS_ERROR_EXISTS, pfs_ring_create(name(), NULL, 4, 1024, &same, &error));
	OK(pfs_ring_open(name(), NULL, &same, &error));
	OK(pfs_ring_remove(name(), NULL, &error));
	FAILS(PFS_ERROR_NOT_FOUND, pfs_ring_remove(name(), NULL, &error));
	OK(pfs_producer_attach(ring, &producer, &error));
	FAILS(PFS_ERROR_TAKEN, pfs_producer_attach(same, &second, &error));
	OK(pfs_ring_attached(same, &produces, &consumes, &error));
	CHECK(produces == 1 && consumes == 0);
	OK(pfs_consumer_attach(same, &consumer, &error));
	/* Producer and consumer keep what they need. */
	OK(pfs_ring_close(&ring, &error));
	OK(pfs_ring_close(&same, &error));

	CHECK(pfs_consumer_peek(consumer, 0, &record, &room, &error) == PFS_AGAIN);
	CHECK(pfs_consumer_wait(consumer, 1000, &error) == PFS_AGAIN);
	FAILS(PFS_ERROR_STATE, pfs_producer_commit(producer, &error));
	OK(pfs_producer_reserve(producer, 100, &bytes, &room, &error));
	CHECK(room == 128 && (uintptr_t)bytes % 64 == 0);
	FAILS(PFS_ERROR_STATE, pfs_producer_reserve(producer, 100, &more, &room, &error));
	FAILS(PFS_ERROR_STATE, pfs_producer_push(producer, &produces, 1, &count, &error));
	FAILS(PFS_ERROR_STATE, pfs_producer_wait(producer, 0, &error));
	strcpy((char *)bytes, "first");
	OK(pfs_producer_commit(producer, &error));
	OK(pfs_producer_notify(producer, &error));
	OK(pfs_producer_reserve(producer, 896, &bytes, NULL, &error));
	OK(pfs_producer_discard(producer, &error));
	OK(pfs_producer_discard(producer, &error));
	OK(pfs_producer_reserve(producer, 896, &bytes, NULL, &error));
	strcpy((char *)bytes, "second");
	OK(pfs_producer_commit(producer, &error));
	CHECK(pfs_producer_reserve(producer, 1, &bytes, NULL, &error) == PFS_AGAIN);
	CHECK(pfs_producer_wait(producer, 0, &error) == PFS_AGAIN);
	CHECK(pfs_producer_wait_release(producer, 2, 1000, &error) == PFS_AGAIN);
	FAILS(PFS_ERROR_TOO_LARGE, pfs_producer_reserve(producer, 1025, &bytes, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_reserve(producer, UINT64_MAX, &bytes, NULL, &error));
	OK(pfs_producer_count(producer, &count, &error));
	CHECK(count == 2);

	OK(pfs_consumer_wait(consumer, -1, &error));
	OK(pfs_consumer_count(consumer, &count, &error));
	CHECK(count == 2);
	OK(pfs_consumer_peek(consumer, 0, &record, &room, &error));
	CHECK(strcmp((const char *)record, "first") == 0 && room == 1024);
	FAILS(PFS_ERROR_STATE, pfs_consumer_release(consumer, 2, &error));
	OK(pfs_consumer_peek(consumer, 1, &record, &room, &error));
	CHECK(strcmp((const char *)record, "second") == 0 && room == 896);
	CHECK(pfs_consumer_peek(consumer, 2, &record, &room, &error) == PFS_AGAIN);
	CHECK(pfs_consumer_peek(consumer, UINT64_MAX, &record, &room, &error) == PFS_AGAIN);
	OK(pfs_consumer_release(consumer, 1, &error));
	/* Not released: it comes again. */
	OK(pfs_consumer_close(&consumer, &error));
	OK(pfs_producer_wait(producer, -1, &error));
	OK(pfs_producer_wait_release(producer, 2, -1, &error));
	OK(pfs_producer_close(&producer, &error));
	CHECK(producer == NULL && consumer == NULL);
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_commit(producer, &error));

	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_create(NULL, NULL, 3, 0, &ring, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_create(NULL, NULL, 4, 100, &ring, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_create("a/b", NULL, 4, 64, &ring, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_adopt(STDIN_FILENO, &ring, &error));
	CHECK(ring == NULL);
}

/* A producer that takes entries back: what was peeked at can be released all the same. */
static void test_retreat(void)
{
	enum { HEAD = 128 }; /* where the producer's index is; pfs_fastpath.h */
	pfs_ring *ring = NULL;
	pfs_blob *view = NULL;
	pfs_producer *producer = NULL;
	pfs_consumer *consumer = NULL;
	const void *record = NULL;
	void *place = NULL;
	uint8_t *bytes = NULL;
	uint64_t room = 0;
	int32_t descriptor = -1;
	int i;

	OK(pfs_ring_create(NULL, NULL, 4, 1024, &ring, &error));
	OK(pfs_ring_descriptor(ring, &descriptor, &error));
	OK(pfs_blob_adopt(dup(descriptor), 0, &view, &error));
	OK(pfs_blob_bytes(view, &bytes, NULL, &error));
	OK(pfs_producer_attach(ring, &producer, &error));
	OK(pfs_consumer_attach(ring, &consumer, &error));
	for (i = 0; i < 2; i++) {
		OK(pfs_producer_reserve(producer, 64, &place, NULL, &error));
		OK(pfs_producer_commit(producer, &error));
	}
	OK(pfs_consumer_peek(consumer, 1, &record, &room, &error));
	CHECK(bytes[HEAD] == 2);
	bytes[HEAD] = 0;
	FAILS(PFS_ERROR_CORRUPT, pfs_consumer_peek(consumer, 2, &record, &room, &error));
	FAILS(PFS_ERROR_CORRUPT, pfs_consumer_wait(consumer, 0, &error));
	OK(pfs_consumer_release(consumer, 2, &error));
	OK(pfs_consumer_close(&consumer, &error));
	OK(pfs_producer_close(&producer, &error));
	OK(pfs_ring_close(&ring, &error));
	OK(pfs_blob_close(&view, &error));
}

/* A ring of bare values, a region that holds no ring, one that lies, and one whose entries lie. */
static void test_values_and_lies(void)
{
	pfs_ring *ring = NULL, *broken = NULL;
	pfs_producer *producer = NULL;
	pfs_consumer *consumer = NULL;
	pfs_blob *blob = NULL;
	uint32_t values[6] = {1, 2, 3, 4, 5, 6}, out[6] = {0};
	uint64_t count = 0, room = 0;
	const void *record = NULL;
	uint8_t *bytes = NULL;
	int32_t descriptor = -1;

	OK(pfs_ring_create(NULL, NULL, 4, 0, &ring, &error));
	OK(pfs_producer_attach(ring, &producer, &error));
	OK(pfs_consumer_attach(ring, &consumer, &error));
	OK(pfs_producer_push(producer, values, 6, &count, &error));
	CHECK(count == 4);
	CHECK(pfs_producer_push(producer, values, 1, &count, &error) == PFS_AGAIN && count == 0);
	OK(pfs_consumer_pop(consumer, out, 3, &count, &error));
	CHECK(count == 3 && out[2] == 3);
	OK(pfs_consumer_notify(consumer, &error));
	OK(pfs_consumer_pop(consumer, out, 6, &count, &error));
	CHECK(count == 1 && out[0] == 4);
	CHECK(pfs_consumer_pop(consumer, out, 6, &count, &error) == PFS_AGAIN && count == 0);
	CHECK(pfs_consumer_skip(consumer, &error) == PFS_AGAIN);
	FAILS(PFS_ERROR_TOO_LARGE,
	      pfs_producer_reserve(producer, 1, (void **)&bytes, NULL, &error));

	/* Values are no positions in a slab that there is not. */
	OK(pfs_producer_push(producer, values, 1, &count, &error));
	FAILS(PFS_ERROR_CORRUPT, pfs_consumer_peek(consumer, 0, &record, &room, &error));
	OK(pfs_consumer_skip(consumer, &error));
	CHECK(pfs_consumer_peek(consumer, 0, &record, &room, &error) == PFS_AGAIN);
	OK(pfs_producer_close(&producer, &error));
	OK(pfs_consumer_close(&consumer, &error));
	OK(pfs_ring_close(&ring, &error));

	OK(pfs_blob_create(NULL, NULL, 8192, PFS_PAGES_4K, &blob, &error));
	OK(pfs_blob_descriptor(blob, &descriptor, &error));
	OK(pfs_ring_adopt(dup(descriptor), &broken, &error));
	FAILS(PFS_ERROR_NOT_READY, pfs_consumer_attach(broken, &consumer, &error));
	OK(pfs_blob_bytes(blob, &bytes, NULL, &error));
	memset(bytes, 0x5A, 8192);
	FAILS(PFS_ERROR_CORRUPT, pfs_producer_attach(broken, &producer, &error));
	CHECK(producer == NULL && consumer == NULL);
	OK(pfs_ring_close(&broken, &error));
	OK(pfs_blob_close(&blob, &error));
	test_retreat();
}

/* Each function, given NULL for its handle, and where it has none, for its result. */
static void test_null(void)
{
	uint32_t word;
	uint64_t number;
	int32_t descriptor;
	const void *record;
	void *memory;
	char text[8];
	pfs_blob *none = NULL;
	const pfs_gram_desc range = {0, 0, 0};
	pfs_stream stream;

	memset(&stream, 0, sizeof(stream));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_open(NULL, NULL, 0, &none, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_open("x", NULL, 0, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_adopt(0, 0, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_remove(NULL, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_bytes(NULL, NULL, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_descriptor(NULL, &descriptor, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_describe(NULL, text, 8, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_close(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_compile(NULL, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_compile("fnv", NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_value_count(NULL, &word, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_writes(NULL, &word, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_describe(NULL, text, 8, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_execute(NULL, NULL, &range, 1, &number, 1, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_total(NULL, NULL, &range, 1, &number, 1, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_close(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_record_byte_count(NULL, 1, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_record_encode(NULL, &range, 1, NULL, 64, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_record_read(NULL, 64, 64, NULL, 0, &number, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_record_read(text, 0, 64, NULL, 0, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_record_carries(NULL, 64, NULL, &word, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_record_program(NULL, 64, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_create(NULL, NULL, 1, 0, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_open(NULL, NULL, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_adopt(0, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_remove(NULL, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_descriptor(NULL, &descriptor, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_attached(NULL, NULL, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_ring_close(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_attach(NULL, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_reserve(NULL, 1, &memory, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_commit(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_discard(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_push(NULL, &word, 1, &number, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_notify(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_wait(NULL, 0, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_wait_release(NULL, 0, 0, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_count(NULL, &number, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_producer_close(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_consumer_attach(NULL, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_consumer_peek(NULL, 0, &record, &number, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_consumer_release(NULL, 0, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_consumer_skip(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_consumer_pop(NULL, &word, 1, &number, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_consumer_notify(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_consumer_wait(NULL, 0, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_consumer_count(NULL, &number, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_consumer_close(NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_stream_begin(&stream, NULL, NULL, NULL, 0, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_stream_begin(NULL, NULL, NULL, NULL, 0, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_stream_end(0, 0, 0, NULL, 0, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_stream_answer_read(NULL, 0, NULL, &error));
}

/* A handle is known for what it is. */
static void test_wrong_handles(void)
{
	pfs_blob *blob = blob_with("", 64);
	pfs_program *program = compiled("fnv");
	uint32_t word;
	uint8_t *bytes = NULL;
	pfs_blob *wrong = (pfs_blob *)(void *)program;
	char text[8] = "x";

	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_bytes(wrong, &bytes, NULL, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_blob_close(&wrong, &error));
	CHECK(wrong != NULL);
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_program_writes((const pfs_program *)(const void *)blob, &word, &error));
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_program_writes((const pfs_program *)(const void *)(text + 1), &word, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_describe(program, text, 0, &error));
	FAILS(PFS_ERROR_ARGUMENT, pfs_program_describe(program, NULL, 8, &error));
	OK(pfs_program_close(&program, &error));
	OK(pfs_blob_close(&blob, &error));
}

static void test_streams(void)
{
	pfs_blob *blob = blob_with("", 4096);
	pfs_program *program = compiled("fnv");
	pfs_stream stream;
	pfs_stream_answer answer;
	union {
		unsigned char bytes[512];
		long double alignment;
	} memory;
	uint64_t length = 0;

	memset(&stream, 0, sizeof(stream));
	stream.range_end = 4096;
	stream.descriptors_per_record = 4;
	stream.alignment = 64;
	OK(pfs_stream_begin(&stream, blob, program, &memory, 512, &length, &error));
	CHECK(length == 84 && memcmp(&memory, "PFSC", 4) == 0 && memory.bytes[80] == 5);
	FAILS(PFS_ERROR_TOO_LARGE,
	      pfs_stream_begin(&stream, blob, program, &memory, 83, &length, &error));
	stream.range_end = 4097;
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_stream_begin(&stream, blob, program, &memory, 512, &length, &error));
	stream.range_end = 0;
	FAILS(PFS_ERROR_ARGUMENT,
	      pfs_stream_begin(&stream, blob, program, &memory, 512, &length, &error));
	OK(pfs_stream_end(7, 28, 1000, &memory, 512, &length, &error));
	CHECK(length == 336 && memory.bytes[16] == 7);
	FAILS(PFS_ERROR_TOO_LARGE, pfs_stream_end(7, 28, 1000, &memory, 335, &length, &error));
	CHECK(pfs_stream_answer_read(&memory, 336, &answer, &error) == PFS_AGAIN);
	CHECK(pfs_stream_answer_read(&memory, 335, &answer, &error) == PFS_AGAIN);
	/* As a consumer answers; docs/formats.md. */
	memory.bytes[40] = 1;
	memory.bytes[44] = 1;
	memory.bytes[48] = 6;
	memory.bytes[56] = 1;
	memory.bytes[80] = 99;
	OK(pfs_stream_answer_read(&memory, 336, &answer, &error));
	CHECK(answer.records == 6 && answer.rejected == 1 && answer.total_count == 1);
	CHECK(answer.totals[0] == 99 && answer.totals[1] == 0);
	OK(pfs_program_close(&program, &error));
	OK(pfs_blob_close(&blob, &error));
}

/* A child that failed must not hang its parent. */
static const int64_t PATIENCE = 60000000000;

enum { RECORDS = 3000, RANGES = 16, SEED = 2026, BLOB = 1 << 20 };

/* The other process: has two descriptors and nothing else, executes all records, tells the total
 * through a third region. */
static int consume(int ring_descriptor, int blob_descriptor, int answer_descriptor)
{
	pfs_ring *ring = NULL;
	pfs_blob *blob = NULL;
	pfs_program *program = NULL;
	pfs_consumer *consumer = NULL;
	pfs_gram_desc ranges[RANGES];
	uint64_t total = 0, count = 0, room = 0;
	const void *record = NULL;
	uint32_t carries = 0;
	int done = 0;

	OK(pfs_ring_adopt(ring_descriptor, &ring, &error));
	OK(pfs_blob_adopt(blob_descriptor, BLOB, &blob, &error));
	OK(pfs_consumer_attach(ring, &consumer, &error));
	while (done < RECORDS) {
		int32_t status = pfs_consumer_peek(consumer, 0, &record, &room, &error);

		if (status == PFS_AGAIN) {
			OK(pfs_consumer_notify(consumer, &error));
			OK(pfs_consumer_wait(consumer, -1, &error));
			continue;
		}
		CHECK(status == PFS_OK);
		OK(pfs_record_read(record, room, BLOB, ranges, RANGES, &count, &error));
		if (program)
			OK(pfs_record_carries(record, room, program, &carries, &error));
		if (!carries) {
			OK(pfs_program_close(&program, &error));
			OK(pfs_record_program(record, room, &program, &error));
		}
		OK(pfs_program_total(program, blob, ranges, count, &total, 1, &error));
		OK(pfs_consumer_release(consumer, 1, &error));
		done++;
	}
	OK(pfs_consumer_notify(consumer, &error));
	CHECK(write(answer_descriptor, &total, sizeof(total)) == (ssize_t)sizeof(total));
	return 0;
}

/* Two processes, a small ring that fills and empties many times, and the sum that one process gets
 * by itself. */
static void test_two_processes(void)
{
	pfs_blob *blob = blob_with("", BLOB);
	pfs_ring *ring = NULL;
	pfs_producer *producer = NULL;
	pfs_program *program = compiled("crc32c");
	pfs_gram_desc ranges[RANGES];
	uint8_t *bytes = NULL;
	uint64_t length = 0, expected = 0, total = 0;
	int32_t ring_descriptor = -1, blob_descriptor = -1;
	int answers[2], record = 0, status = -1, i;
	pid_t child;

	OK(pfs_blob_bytes(blob, &bytes, NULL, &error));
	for (i = 0; i < BLOB; i++)
		bytes[i] = (uint8_t)((unsigned)i * 2654435761u >> 24);
	OK(pfs_ring_create(NULL, NULL, 8, 2048, &ring, &error));
	OK(pfs_ring_descriptor(ring, &ring_descriptor, &error));
	OK(pfs_blob_descriptor(blob, &blob_descriptor, &error));
	CHECK(pipe(answers) == 0);
	fflush(NULL);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(consume(dup(ring_descriptor), dup(blob_descriptor), answers[1]));
	close(answers[1]);

	OK(pfs_producer_attach(ring, &producer, &error));
	OK(pfs_record_byte_count(program, RANGES, &length, &error));
	while (record < RECORDS) {
		void *place = NULL;
		uint64_t room = 0;

		if (pfs_producer_reserve(producer, length, &place, &room, &error) == PFS_AGAIN) {
			OK(pfs_producer_notify(producer, &error));
			OK(pfs_producer_wait(producer, PATIENCE, &error));
			continue;
		}
		OK(pfs_descriptors_generate(SEED, 0, 0, BLOB, 64, (uint64_t)record * RANGES, ranges,
					    RANGES, &error));
		OK(pfs_record_encode(program, ranges, RANGES, place, room, NULL, &error));
		OK(pfs_producer_commit(producer, &error));
		OK(pfs_program_total(program, blob, ranges, RANGES, &expected, 1, &error));
		record++;
	}
	OK(pfs_producer_notify(producer, &error));
	OK(pfs_producer_wait_release(producer, 0, PATIENCE, &error));
	CHECK(read(answers[0], &total, sizeof(total)) == (ssize_t)sizeof(total));
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(total == expected && total != 0);
	close(answers[0]);
	OK(pfs_producer_close(&producer, &error));
	OK(pfs_ring_close(&ring, &error));
	OK(pfs_program_close(&program, &error));
	OK(pfs_blob_close(&blob, &error));
}

int main(void)
{
	test_versions_and_statuses();
	test_programs();
	test_ranges();
	test_blobs();
	test_records();
	test_garbage();
	test_rings();
	test_values_and_lies();
	test_null();
	test_wrong_handles();
	test_streams();
	test_two_processes();
	printf("ok, %u checks\n", checks);
	return 0;
}

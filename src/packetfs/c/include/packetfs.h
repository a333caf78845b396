/* SPDX-License-Identifier: MIT */
/*
 * libpacketfs: blobs, rings, programs and records of PacketFS for C, C++ and whatever can call C.
 *
 *	cc app.c $(pkg-config --cflags --libs packetfs)
 *
 * A blob is a range of bytes in shared memory. A program such as "xor:255,add:7,counteq:0" is
 * applied to ranges of it (struct pfs_gram_desc). A record is a table of such ranges, with or
 * without the program to apply. Records travel through a ring with one producer and one consumer.
 * docs/c-api.md shows all of it at work, docs/formats.md tells what every byte in shared memory
 * means.
 *
 * Status. Every function that can fail returns a status: PFS_OK, PFS_AGAIN ("not now, and nothing
 * is wrong"), or a negative PFS_ERROR_*. Its last parameter, which may be NULL, is then filled in
 * with what was wrong, where, and what to do. Results come through pointers; where one may be
 * NULL, that is said. After an error no result has been written. The library neither prints nor
 * ends the process, installs no signal handler and starts no thread.
 *
 * Handles. What is created, opened, attached or compiled is yours until you close it. Close takes
 * the address of your handle and sets it to NULL; every function takes NULL, and a handle of
 * another kind, for what it is: PFS_ERROR_ARGUMENT. A copy of a handle that has been closed is a
 * dangling pointer, as after free(). Closing NULL does nothing. A handle keeps what it depends
 * on: a producer goes on when its ring's handle has been closed. What the kernel shares (the
 * memory of regions, their names) lives on as it does: a name until it is removed, memory until
 * its last user has gone; roles in a ring end with the process that holds them, however it ends.
 *
 * Threads. A blob, ring or program may be used from any number of threads at a time, but be
 * closed only when nobody uses it any more. A producer or consumer belongs to one thread at a
 * time, and may be handed over. Bytes of a blob are ordinary memory: nothing here orders accesses
 * to them but the rings. What a producer wrote, anywhere, before it committed (or pushed) is
 * visible to the consumer that got to see the record; what the consumer wrote before it released
 * the record is visible to the producer that reuses, or waited for, its space.
 *
 * Processes. Blobs, rings and everything in them can be shared with processes that use the Swift
 * libraries or tools of PacketFS: names are those of pfs_ctl and pfs_stream_fastpath. Handles
 * must not be used by a child after fork(); a child that executes a program can adopt descriptors
 * that it inherited (they are close-on-exec until you say otherwise).
 *
 * Stability. The interface is that of libpacketfs.so.0: symbols are versioned, structs have the
 * layout given here, and neither changes under that name; what is added is additional functions.
 */
#ifndef PACKETFS_H
#define PACKETFS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header: semantic, with -dev until released. The one place in the sources that
 * states it. */
#define PFS_VERSION "0.1.0-dev"

/* The version of the library that is loaded, in the form of PFS_VERSION. Lives as long as the
 * process. */
const char *pfs_version(void);

/* ---- Status and errors ---- */

enum {
	/* Done. */
	PFS_OK = 0,
	/* Not now: the ring is full or empty, the time is over, or a signal handler ran. Nothing is
	   wrong. */
	PFS_AGAIN = 1,
	/* A NULL, a closed handle, one of another kind, or a value that has no meaning here. */
	PFS_ERROR_ARGUMENT = -1,
	/* Out of turn: two reservations, a commit without one, a release of more than was peeked
	   at. */
	PFS_ERROR_STATE = -2,
	/* There is no blob or ring of that name. */
	PFS_ERROR_NOT_FOUND = -3,
	/* The name is taken. */
	PFS_ERROR_EXISTS = -4,
	/* The file belongs to somebody else. */
	PFS_ERROR_PERMISSION = -5,
	/* Memory, huge pages or room in the folder are short; the message says how much, and what
	   helps. */
	PFS_ERROR_SHORTAGE = -6,
	/* This machine does not have it: a page size, or the instruction set that
	   PACKETFS_FORCE_ISA demands. */
	PFS_ERROR_UNAVAILABLE = -7,
	/* The ring has a producer, or consumer, already. */
	PFS_ERROR_TAKEN = -8,
	/* The region holds no ring yet. Its owner may be about to create it: try again later. */
	PFS_ERROR_NOT_READY = -9,
	/* The ring or record is of a version that this library does not read. */
	PFS_ERROR_VERSION = -10,
	/* What stands in shared memory contradicts itself. */
	PFS_ERROR_CORRUPT = -11,
	/* A range leads out of the blob, or has flags. */
	PFS_ERROR_RANGE = -12,
	/* It does not fit: a record into the slab, a result into your memory. */
	PFS_ERROR_TOO_LARGE = -13,
	/* The program's text, or the one in a record, is none. */
	PFS_ERROR_PROGRAM = -14,
	/* The bytes at hand are no record. */
	PFS_ERROR_RECORD = -15,
	/* A system call failed; system_error says why. */
	PFS_ERROR_SYSTEM = -16
};

/* What went wrong. Written by a function that returns a negative status, and otherwise left alone.
 * 512 bytes. */
typedef struct pfs_error {
	/* The status that was returned. */
	int32_t status;
	/* errno of the system call that failed, 0 if none did. */
	int32_t system_error;
	/* What was wrong, where, and what to do: UTF-8, ended by a NUL, cut if need be. */
	char message[504];
} pfs_error;

/* A phrase for a status, without knowledge of the case at hand. Lives as long as the process; never
 * NULL. */
const char *pfs_status_text(int32_t status);

/* ---- Ranges ---- */

/* A range of bytes in a blob: 16 bytes, as it stands in records. */
typedef struct pfs_gram_desc {
	/* Its first byte, from the start of the blob. Any value inside; multiples of 64 are
	 * fastest. */
	uint64_t offset;
	/* Its bytes; 0 is legal. */
	uint32_t len;
	/* 0. */
	uint32_t flags;
} pfs_gram_desc;

/*
 * Writes ranges `first` to `first + count - 1` of the stream `stream` under `seed`, which lie in
 * the bytes from `range_start` up to `range_end` of a blob: a pure function of these numbers, so
 * that whoever knows them can make the ranges again. Lengths are uniform from `alignment` to below
 * 5 x `alignment`, offsets multiples of `alignment` from `range_start` on. `alignment` is a power
 * of two up to 2^20.
 */
int32_t pfs_descriptors_generate(uint64_t seed, uint64_t stream, uint64_t range_start,
				 uint64_t range_end, uint32_t alignment, uint64_t first,
				 pfs_gram_desc *descriptors, uint64_t count, pfs_error *error);

/* ---- Blobs ---- */

/* Bytes in shared memory, all of them allocated. Any thread. */
typedef struct pfs_blob pfs_blob;

enum {
	/* The largest pages that are free and fit the size: 1 GiB, 2 MiB, transparent huge pages,
	   ordinary ones. */
	PFS_PAGES_AUTO = 0,
	/* Those and no others: */
	PFS_PAGES_1G = 1,
	PFS_PAGES_2M = 2,
	PFS_PAGES_TRANSPARENT = 3,
	PFS_PAGES_4K = 4
};

/*
 * Creates a blob of `byte_count` zeros, at least 1, on `pages` (PFS_PAGES_*).
 *
 * With a name it is the file NAME.pfs-blob in `folder`, which is a tmpfs or hugetlbfs, or /dev/shm
 * if NULL; mode 0600; it appears when it is complete, replaces nothing and stays until
 * pfs_blob_remove. A name has letters, digits, '.', '_' and
 * '-', the first one not a dot. With NULL for a name it has none: others get its descriptor, and
 * nothing can be left behind.
 */
int32_t pfs_blob_create(const char *name, const char *folder, uint64_t byte_count, uint32_t pages,
			pfs_blob **blob, pfs_error *error);

/* Opens the blob NAME.pfs-blob in `folder` (NULL: /dev/shm). `byte_count` is the size with which it
 * was created; 0 takes the file's, which is that, rounded up to whole pages. */
int32_t pfs_blob_open(const char *name, const char *folder, uint64_t byte_count, pfs_blob **blob,
		      pfs_error *error);

/* Takes over the descriptor of a blob, inherited or received; `byte_count` as above. It is the
 * blob's from then on (do not close it); after an error it is still yours. A memfd is sealed
 * against shrinking, and refused with PFS_ERROR_ARGUMENT if it cannot be. */
int32_t pfs_blob_adopt(int32_t descriptor, uint64_t byte_count, pfs_blob **blob, pfs_error *error);

/* Removes the name. Those who have the blob keep it. */
int32_t pfs_blob_remove(const char *name, const char *folder, pfs_error *error);

/* Where the blob's bytes are mapped, and how many there are (each may be NULL). Readable and
 * writable, aligned to a page, valid until the blob is closed. */
int32_t pfs_blob_bytes(const pfs_blob *blob, uint8_t **bytes, uint64_t *byte_count,
		       pfs_error *error);

/* The blob's descriptor, for a process to inherit or receive. It stays the blob's: do not close it.
 */
int32_t pfs_blob_descriptor(const pfs_blob *blob, int32_t *descriptor, pfs_error *error);

/* Writes into `text`, which has `size` bytes, what memory the blob really got, such as "4 KiB pages
 * (memfd), 0 bytes huge, node 0": UTF-8, ended by a NUL, cut if need be. */
int32_t pfs_blob_describe(const pfs_blob *blob, char *text, uint64_t size, pfs_error *error);

/* Unmaps the blob, closes its descriptor and sets `*blob` to NULL. */
int32_t pfs_blob_close(pfs_blob **blob, pfs_error *error);

/* ---- Programs ---- */

/* A program, compiled for this processor. Immutable; any thread. */
typedef struct pfs_program pfs_program;

/*
 * Compiles `text`: 1 to 32 operations, separated by commas. `xor:N` and `add:N` (mod 256) rewrite
 * bytes in place; `counteq:N`, `crc32c` and `fnv` (FNV-1a, 64 bits) each yield one 64-bit value per
 * range, from the bytes as they stand at that point of the program. N is 0 to 255, decimal or 0x.
 *
 * The kernels are the best that this processor runs, or those that the environment variable
 * PACKETFS_FORCE_ISA names.
 */
int32_t pfs_program_compile(const char *text, pfs_program **program, pfs_error *error);

/* How many values the program yields per range: its operations that are neither xor nor add. */
int32_t pfs_program_value_count(const pfs_program *program, uint32_t *count, pfs_error *error);

/* Writes 1 if the program rewrites bytes, else 0. */
int32_t pfs_program_writes(const pfs_program *program, uint32_t *writes, pfs_error *error);

/* Writes program and kernels, such as "xor:255,crc32c on vpclmul", into `text` of `size` bytes;
 * ended by a NUL, cut if need be. */
int32_t pfs_program_describe(const pfs_program *program, char *text, uint64_t size,
			     pfs_error *error);

/*
 * Applies the program to `count` ranges of the blob, as if one after the other. The value of
 * operation r for range i becomes values[i * value_count + r]; `capacity` is the number of elements
 * of `values`, at least count * value_count. (`values` may be NULL if the program yields none,
 * `descriptors` if `count` is 0.)
 *
 * All ranges are copied and checked first: PFS_ERROR_RANGE says that one leads out of the blob, and
 * nothing has been executed. While this runs, nobody else may write to the bytes of the ranges, nor
 * read them if the program writes.
 */
int32_t pfs_program_execute(const pfs_program *program, const pfs_blob *blob,
			    const pfs_gram_desc *descriptors, uint64_t count, uint64_t *values,
			    uint64_t capacity, pfs_error *error);

/* As pfs_program_execute, but *adds* the values of all ranges to totals[0 ... value_count - 1],
 * wrapping: the total does not depend on the order of ranges, nor on who does which. */
int32_t pfs_program_total(const pfs_program *program, const pfs_blob *blob,
			  const pfs_gram_desc *descriptors, uint64_t count, uint64_t *totals,
			  uint64_t capacity, pfs_error *error);

/* Frees the program and sets `*program` to NULL. */
int32_t pfs_program_close(pfs_program **program, pfs_error *error);

/* ---- Records ---- */

/* Limits of the format. */
enum { PFS_MAXIMUM_DESCRIPTORS = 65536, PFS_MAXIMUM_OPERATIONS = 32, PFS_RECORD_ALIGNMENT = 64 };

/* Bytes of a record with `count` ranges that carries `program`, or none if NULL. */
int32_t pfs_record_byte_count(const pfs_program *program, uint64_t count, uint64_t *byte_count,
			      pfs_error *error);

/* Writes that record into `memory`, 16-byte aligned, of `capacity` bytes; `byte_count` (may be
 * NULL) becomes its length. The ranges are not checked: their reader does that. `descriptors` may
 * be NULL if `count` is 0. */
int32_t pfs_record_encode(const pfs_program *program, const pfs_gram_desc *descriptors,
			  uint64_t count, void *memory, uint64_t capacity, uint64_t *byte_count,
			  pfs_error *error);

/*
 * Reads the record at the start of `memory`, 16-byte aligned, of which `available` bytes may be
 * looked at, and copies its ranges, checked against a blob of `blob_byte_count` bytes (below 2^62),
 * to `descriptors`, which has room for `capacity`. `count` becomes their number.
 *
 * Nothing in the record is trusted; each field is read once. PFS_ERROR_RECORD, PFS_ERROR_VERSION or
 * PFS_ERROR_RANGE says that it is not to be executed; PFS_ERROR_TOO_LARGE that `capacity` is less
 * than the number of ranges, which never exceeds PFS_MAXIMUM_DESCRIPTORS.
 */
int32_t pfs_record_read(const void *memory, uint64_t available, uint64_t blob_byte_count,
			pfs_gram_desc *descriptors, uint64_t capacity, uint64_t *count,
			pfs_error *error);

/* Writes 1 if the record carries just this program, else 0. Cheap: ask it for each record before
 * you compile anew. */
int32_t pfs_record_carries(const void *memory, uint64_t available, const pfs_program *program,
			   uint32_t *carries, pfs_error *error);

/* Compiles the program that the record carries; yours to close. `*program` becomes NULL if it
 * carries none. */
int32_t pfs_record_program(const void *memory, uint64_t available, pfs_program **program,
			   pfs_error *error);

/* ---- Rings ---- */

/* The region of a ring: slots, and a slab for records. Any thread. */
typedef struct pfs_ring pfs_ring;
/* The writing side of a ring. One thread at a time. */
typedef struct pfs_producer pfs_producer;
/* The reading side. One thread at a time. */
typedef struct pfs_consumer pfs_consumer;

/*
 * Creates an empty ring of `slots` entries, a power of two up to 2^31, with a slab of
 * `slab_byte_count` bytes for records, a multiple of 64 up to 256 GiB; 0 makes a ring of bare
 * 32-bit values.
 *
 * With a name it is the file NAME.pfs-ring in `folder`; see pfs_blob_create for names and folders.
 * With NULL for a name it has none (and `folder` is ignored).
 */
int32_t pfs_ring_create(const char *name, const char *folder, uint32_t slots,
			uint64_t slab_byte_count, pfs_ring **ring, pfs_error *error);

/* Opens the ring NAME.pfs-ring in `folder` (NULL: /dev/shm). What is in it is checked when somebody
 * attaches. */
int32_t pfs_ring_open(const char *name, const char *folder, pfs_ring **ring, pfs_error *error);

/* Takes over the descriptor of a ring. It is the ring's from then on; after an error it is still
 * yours. A memfd is sealed as by pfs_blob_adopt. */
int32_t pfs_ring_adopt(int32_t descriptor, pfs_ring **ring, pfs_error *error);

/* Removes the name. Those who have the ring keep it. */
int32_t pfs_ring_remove(const char *name, const char *folder, pfs_error *error);

/* The ring's descriptor, for a process to inherit or receive. It stays the ring's: do not close it.
 */
int32_t pfs_ring_descriptor(const pfs_ring *ring, int32_t *descriptor, pfs_error *error);

/* Whether a producer and a consumer are attached now, 1 or 0 (each may be NULL), according to the
 * kernel: a process that died no longer is. */
int32_t pfs_ring_attached(const pfs_ring *ring, uint32_t *producer, uint32_t *consumer,
			  pfs_error *error);

/* Closes the handle and sets `*ring` to NULL. Producers and consumers that are attached through it
 * go on. */
int32_t pfs_ring_close(pfs_ring **ring, pfs_error *error);

/*
 * Attaches as the producer. A ring has one: PFS_ERROR_TAKEN. Entries that a producer before left in
 * the ring stay; a record that it had reserved and not committed is lost.
 */
int32_t pfs_producer_attach(const pfs_ring *ring, pfs_producer **producer, pfs_error *error);

/*
 * Reserves room for a record of up to `byte_count` bytes: `bytes` becomes its address, 64-byte
 * aligned, and `capacity` (may be NULL) what may be written there, `byte_count` rounded up to a
 * multiple of 64. It is nobody else's until pfs_producer_commit; what stands in it is unspecified.
 * PFS_AGAIN: ring or slab are full; pfs_producer_wait waits for just this request. One reservation
 * at a time.
 */
int32_t pfs_producer_reserve(pfs_producer *producer, uint64_t byte_count, void **bytes,
			     uint64_t *capacity, pfs_error *error);

/* Publishes the reserved record. Wakes nobody: call pfs_producer_notify after one or several. */
int32_t pfs_producer_commit(pfs_producer *producer, pfs_error *error);

/* Gives the reservation back, if there is one. */
int32_t pfs_producer_discard(pfs_producer *producer, pfs_error *error);

/* Appends as many of `count` bare values as there are free slots, `pushed` says how many; PFS_AGAIN
 * if none. For rings that carry values instead of records. Wakes nobody. */
int32_t pfs_producer_push(pfs_producer *producer, const uint32_t *values, uint64_t count,
			  uint64_t *pushed, pfs_error *error);

/* Wakes the consumer if it sleeps. */
int32_t pfs_producer_notify(pfs_producer *producer, pfs_error *error);

/* Waits until what was refused last (a reservation, else a slot) can be had: looks briefly, then
 * sleeps until the consumer notifies. PFS_AGAIN: `timeout_ns` is over (negative: no limit), or a
 * signal handler ran. Does not notice that the consumer died: ask pfs_ring_attached now and then.
 * Not while a record is reserved. */
int32_t pfs_producer_wait(pfs_producer *producer, int64_t timeout_ns, pfs_error *error);

/* Waits, in the same way, until the consumer has left fewer than `below` entries in the ring, or
 * none (0 and 1 alike). */
int32_t pfs_producer_wait_release(pfs_producer *producer, uint64_t below, int64_t timeout_ns,
				  pfs_error *error);

/* Entries in the ring; the consumer may be taking some, so it is an upper bound. */
int32_t pfs_producer_count(const pfs_producer *producer, uint64_t *count, pfs_error *error);

/* Detaches and sets `*producer` to NULL. A reserved record is lost; what was committed stays. */
int32_t pfs_producer_close(pfs_producer **producer, pfs_error *error);

/* Attaches as the consumer. A ring has one: PFS_ERROR_TAKEN. What a consumer before did not release
 * comes again. */
int32_t pfs_consumer_attach(const pfs_ring *ring, pfs_consumer **consumer, pfs_error *error);

/*
 * Where the record `ahead` behind the oldest one is (0: the oldest), and how many bytes it can have
 * at most: up to the end of the slab, as its length stands in the record. PFS_AGAIN: there are not
 * that many. Valid until the record is released. PFS_ERROR_CORRUPT: the entry cannot be;
 * pfs_consumer_skip passes over it.
 */
int32_t pfs_consumer_peek(pfs_consumer *consumer, uint64_t ahead, const void **bytes,
			  uint64_t *available, pfs_error *error);

/* Gives the `count` oldest records back, at most those that were peeked at. Wakes nobody: call
 * pfs_consumer_notify. */
int32_t pfs_consumer_release(pfs_consumer *consumer, uint64_t count, pfs_error *error);

/* After pfs_consumer_peek found an entry that cannot be: passes over the oldest one. PFS_AGAIN:
 * there is none. */
int32_t pfs_consumer_skip(pfs_consumer *consumer, pfs_error *error);

/* Takes out up to `capacity` bare values, `popped` says how many; PFS_AGAIN if none. Wakes nobody.
 */
int32_t pfs_consumer_pop(pfs_consumer *consumer, uint32_t *values, uint64_t capacity,
			 uint64_t *popped, pfs_error *error);

/* Wakes the producer if it sleeps. */
int32_t pfs_consumer_notify(pfs_consumer *consumer, pfs_error *error);

/* Waits until there is an entry: looks briefly, then sleeps until the producer notifies. PFS_AGAIN:
 * `timeout_ns` is over (negative: no limit), or a signal handler ran. Does not notice that the
 * producer died: ask pfs_ring_attached. */
int32_t pfs_consumer_wait(pfs_consumer *consumer, int64_t timeout_ns, pfs_error *error);

/* Entries in the ring; the producer may be adding some, so it is a lower bound. */
int32_t pfs_consumer_count(const pfs_consumer *consumer, uint64_t *count, pfs_error *error);

/* Detaches and sets `*consumer` to NULL. What was not released comes again to the next consumer. */
int32_t pfs_consumer_close(pfs_consumer **consumer, pfs_error *error);

/* ---- Streams ---- */

/*
 * What pfs_stream_fastpath_rx wants to hear: before the records of a stream, which all carry one
 * program, a record that says what will come; after them one that says what was sent, into which
 * the consumer writes what it has done before it releases it.
 */
typedef struct pfs_stream {
	/* Seed of the ranges. They need not be those of pfs_descriptors_generate (stream 0) unless
	 * the consumer verifies. */
	uint64_t seed;
	/* Number of the first record that follows: its ranges start with number first_record *
	 * descriptors_per_record. */
	uint64_t first_record;
	/* Bytes of the blob in which all ranges lie. */
	uint64_t range_start, range_end;
	/* Ranges in each record, 1 to 65536, and their alignment, a power of two up to 2^20. */
	uint32_t descriptors_per_record, alignment;
	/* Should this producer die, the consumer removes the ring (1), the blob (2). */
	uint32_t flags;
	/* 0. */
	uint32_t reserved;
} pfs_stream;

/* What the consumer of a stream has done. */
typedef struct pfs_stream_answer {
	/* Records executed, and records refused. */
	uint64_t records, rejected;
	/* Ranges executed, and their bytes. */
	uint64_t descriptors, bytes;
	/* Number of totals: one per operation of the program that yields values. */
	uint32_t total_count;
	/* 0. */
	uint32_t reserved;
	/* The totals; those that there are not are 0. */
	uint64_t totals[32];
} pfs_stream_answer;

/* Writes the record that begins a stream over `blob` with `program` into `memory`; `byte_count`
 * (may be NULL) becomes its length, at most 208. */
int32_t pfs_stream_begin(const pfs_stream *stream, const pfs_blob *blob, const pfs_program *program,
			 void *memory, uint64_t capacity, uint64_t *byte_count, pfs_error *error);

/* Writes the record that ends a stream of so many records, ranges and bytes; `byte_count` (may be
 * NULL) becomes its length, 336. */
int32_t pfs_stream_end(uint64_t records, uint64_t descriptors, uint64_t bytes, void *memory,
		       uint64_t capacity, uint64_t *byte_count, pfs_error *error);

/* Reads the answer out of an end record that the consumer has released (pfs_producer_wait_release),
 * before anything else is reserved. PFS_AGAIN: there is none that can be read. */
int32_t pfs_stream_answer_read(const void *memory, uint64_t available, pfs_stream_answer *answer,
			       pfs_error *error);

#ifdef __cplusplus
}
#endif

#endif

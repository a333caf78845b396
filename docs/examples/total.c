/* SPDX-License-Identifier: MIT */
/*
 * Applies a program to a file, in blocks of 64 KiB, and prints one total per operation that yields
 *values.
 *
 *	cc total.c $(pkg-config --cflags --libs packetfs) -o total
 *	./total /usr/bin/bash counteq:0,crc32c,fnv
 */
#include <inttypes.h>
#include <packetfs.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK = 65536 };

static pfs_error error;

/* Ends the program with the library's own words unless the call succeeded. */
static void must(int32_t status)
{
	if (status == PFS_OK)
		return;
	fprintf(stderr, "total: %s\n", status < 0 ? error.message : pfs_status_text(status));
	exit(1);
}

int main(int argc, char **argv)
{
	pfs_blob *blob = NULL;
	pfs_program *program = NULL;
	uint8_t *bytes;
	uint64_t totals[PFS_MAXIMUM_OPERATIONS] = {0};
	uint32_t count, i;
	long size, offset;
	FILE *file;

	if (argc != 3) {
		fprintf(stderr, "usage: total FILE PROGRAM\n");
		return 64;
	}
	file = fopen(argv[1], "rb");
	if (!file || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 1) {
		fprintf(stderr, "total: %s cannot be read, or is empty\n", argv[1]);
		return 66;
	}
	rewind(file);
	must(pfs_program_compile(argv[2], &program, &error));
	must(pfs_program_value_count(program, &count, &error));
	must(pfs_blob_create(NULL, NULL, (uint64_t)size, PFS_PAGES_AUTO, &blob, &error));
	must(pfs_blob_bytes(blob, &bytes, NULL, &error));
	if (fread(bytes, 1, (size_t)size, file) != (size_t)size) {
		fprintf(stderr, "total: %s became shorter\n", argv[1]);
		return 74;
	}
	fclose(file);

	for (offset = 0; offset < size; offset += BLOCK) {
		pfs_gram_desc block = {0, BLOCK, 0};

		block.offset = (uint64_t)offset;
		if (size - offset < BLOCK)
			block.len = (uint32_t)(size - offset);
		must(pfs_program_total(program, blob, &block, 1, totals, count, &error));
	}
	for (i = 0; i < count; i++)
		printf("%" PRIu64 "\n", totals[i]);
	must(pfs_blob_close(&blob, &error));
	must(pfs_program_close(&program, &error));
	return 0;
}

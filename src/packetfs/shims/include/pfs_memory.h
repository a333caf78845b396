/* SPDX-License-Identifier: MIT */
/*
 * Shared memory: memfds, seals, allocation, file systems.
 *
 * Thin shims for Linux calls that Swift cannot import: those behind _GNU_SOURCE, variadic ones and
 * raw system calls. Each returns what the system call returns (-1 and errno on failure) unless it
 * says otherwise; no policy lives here.
 */
#ifndef PFS_MEMORY_H
#define PFS_MEMORY_H

#include <stdint.h>

/* Constants behind _GNU_SOURCE or too new for the C library's headers. */
enum {
	PFS_MADV_POPULATE_WRITE = 23, /* Linux 5.14 */
	PFS_MADV_HUGEPAGE = 14,
	PFS_MADV_NOHUGEPAGE = 15,
	PFS_F_ADD_SEALS = 1033,
	PFS_F_GET_SEALS = 1034,
	PFS_F_SEAL_SEAL = 0x1,
	PFS_F_SEAL_SHRINK = 0x2,
	PFS_F_SEAL_GROW = 0x4,
	PFS_TMPFS_MAGIC = 0x01021994,
};
#define PFS_HUGETLBFS_MAGIC 0x958458f6LL

/*
 * memfd_create(2), close-on-exec, sealable, never executable where the kernel knows that flag
 * (6.3). huge_page_shift is 0 for ordinary pages, else log2 of a hugetlb page size.
 */
int pfs_memfd_create(const char *name, unsigned int huge_page_shift);
/* openat(2) of an existing file: read-write, close-on-exec, never through a symbolic link, never
 * blocking. */
int pfs_open_existing(int directory, const char *name);
/* openat(2) with O_TMPFILE: a nameless, linkable file (mode 0600) in an open directory. */
int pfs_open_nameless(int directory);
/* openat(2): a new file (mode 0600) in an open directory; fails with EEXIST rather than open one. */
int pfs_create_new(int directory, const char *name);
/* linkat(2): gives the nameless file of pfs_open_nameless() its name; fails with EEXIST rather than
 * replace. */
int pfs_link_nameless(int file, int directory, const char *name);
/* fallocate(2) in its default mode: allocates [offset, offset + length). */
int pfs_fallocate(int fd, int64_t offset, int64_t length);
/* fcntl(2) for F_ADD_SEALS (the new seals in argument) and F_GET_SEALS. */
int pfs_fcntl_seals(int fd, int command, int argument);

/* What fstatfs(2) says of the file system that holds a file. */
struct pfs_file_system {
	int64_t magic;
	int64_t block_size;
	int64_t free_bytes;
};
int pfs_file_system(int fd, struct pfs_file_system *result);

#endif

// SPDX-License-Identifier: MIT
#include "pfs_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

int pfs_memfd_create(const char *name, unsigned int huge_page_shift)
{
	const unsigned int no_exec_seal = 0x8; /* MFD_NOEXEC_SEAL, newer than the C library */
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd;

	if (huge_page_shift != 0)
		flags |= MFD_HUGETLB | huge_page_shift << 26; /* MFD_HUGE_SHIFT */
	fd = memfd_create(name, flags | no_exec_seal);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags);
	return fd;
}

int pfs_open_existing(int directory, const char *name)
{
	return openat(directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

int pfs_open_nameless(int directory)
{
	return openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

int pfs_create_new(int directory, const char *name)
{
	return openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int pfs_link_nameless(int file, int directory, const char *name)
{
	char source[32];

	/* Through /proc: AT_EMPTY_PATH would demand CAP_DAC_READ_SEARCH. */
	snprintf(source, sizeof(source), "/proc/self/fd/%d", file);
	return linkat(AT_FDCWD, source, directory, name, AT_SYMLINK_FOLLOW);
}

int pfs_fallocate(int fd, int64_t offset, int64_t length)
{
	return fallocate(fd, 0, offset, length);
}

int pfs_fcntl_seals(int fd, int command, int argument)
{
	return fcntl(fd, command, argument);
}

int pfs_file_system(int fd, struct pfs_file_system *result)
{
	struct statfs status;

	if (fstatfs(fd, &status) != 0)
		return -1;
	result->magic = status.f_type;
	result->block_size = status.f_bsize;
	result->free_bytes = (int64_t)status.f_bavail * status.f_bsize;
	return 0;
}

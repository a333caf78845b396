// SPDX-License-Identifier: MIT
#include "pfs_file.h"

#include <fcntl.h>
#include <unistd.h>

int64_t pfs_next_data(int fd, int64_t offset)
{
	return lseek(fd, offset, SEEK_DATA);
}

int64_t pfs_next_hole(int fd, int64_t offset)
{
	return lseek(fd, offset, SEEK_HOLE);
}

int pfs_set_pipe_size(int fd, int bytes)
{
	return fcntl(fd, F_SETPIPE_SZ, bytes);
}

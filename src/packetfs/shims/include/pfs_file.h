/* SPDX-License-Identifier: MIT */
/*
 * Calls on files and pipes that Swift's Glibc module does not import. Each returns what the system
 * call returns (-1 and errno on failure).
 */
#ifndef PFS_FILE_H
#define PFS_FILE_H

#include <stdint.h>

/* lseek(2) with SEEK_DATA and SEEK_HOLE. */
int64_t pfs_next_data(int fd, int64_t offset);
int64_t pfs_next_hole(int fd, int64_t offset);

/* fcntl(F_SETPIPE_SZ): how much a pipe holds. */
int pfs_set_pipe_size(int fd, int bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Calls on character devices that Swift cannot import, being variadic.
 */
#ifndef PFS_DEVICE_H
#define PFS_DEVICE_H

/* ioctl(2): returns what it returns (-1 and errno on failure). */
int pfs_ioctl(int fd, unsigned int request, void *argument);

#endif

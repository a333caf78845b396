// SPDX-License-Identifier: MIT
#include "pfs_device.h"

#include <sys/ioctl.h>

int pfs_ioctl(int fd, unsigned int request, void *argument)
{
	return ioctl(fd, request, argument);
}

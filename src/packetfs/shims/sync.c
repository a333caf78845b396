// SPDX-License-Identifier: MIT
#include "pfs_sync.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int pfs_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
	struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
				   .tv_nsec = timeout_ns % 1000000000};

	return (int)syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ns < 0 ? NULL : &timeout,
			    NULL, 0);
}

int pfs_futex_wake(const uint32_t *word, int waiters)
{
	return (int)syscall(SYS_futex, word, FUTEX_WAKE, waiters, NULL, NULL, 0);
}

int pfs_ofd_lock_byte(int fd, int64_t offset)
{
	struct flock lock = {
	    .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock);
}

int pfs_ofd_byte_is_locked(int fd, int64_t offset)
{
	struct flock lock = {
	    .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};

	return fcntl(fd, F_OFD_GETLK, &lock) < 0 ? -1 : lock.l_type != F_UNLCK;
}

int pfs_pin_thread(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (cpu >= 0)
		CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

int pfs_next_allowed_cpu(int after)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return -1;
	for (int cpu = after + 1; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			return cpu;
	return -1;
}

int pfs_die_with_parent(void)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

// SPDX-License-Identifier: MIT
#include "pfs_process.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

int pfs_allow_cpus(const int *cpus, int count)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < count; i++) {
		if (cpus[i] < 0 || cpus[i] >= CPU_SETSIZE) {
			errno = EINVAL;
			return -1;
		}
		CPU_SET(cpus[i], &set);
	}
	return sched_setaffinity(0, sizeof(set), &set);
}

int pfs_allowed_cpus(int *cpus, int capacity)
{
	cpu_set_t set;
	int count = 0;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return -1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		if (count < capacity)
			cpus[count] = cpu;
		count++;
	}
	return count;
}

int pfs_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int pfs_set_parent_death_signal(int signal)
{
	return prctl(PR_SET_PDEATHSIG, (unsigned long)signal, 0, 0, 0);
}

int pfs_set_process_name(const char *name)
{
	return prctl(PR_SET_NAME, name, 0, 0, 0);
}

int pfs_signalfd(const sigset_t *mask)
{
	return signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

int pfs_signalfd_read(int descriptor)
{
	struct signalfd_siginfo info;

	if (read(descriptor, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return 0;
	return (int)info.ssi_signo;
}

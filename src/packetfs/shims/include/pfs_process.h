/* SPDX-License-Identifier: MIT */
/*
 * Process control that Swift's Glibc module does not import: CPU affinity, pidfds, signalfds and
 * prctl(2). Each function returns what the system call returns (-1 and errno on failure).
 */
#ifndef PFS_PROCESS_H
#define PFS_PROCESS_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

/* Lets the calling thread run on the given CPUs only. */
int pfs_allow_cpus(const int *cpus, int count);

/* Writes the numbers of the CPUs the calling thread may run on, ascending; returns how many there
 * are. */
int pfs_allowed_cpus(int *cpus, int capacity);

/* A descriptor that becomes readable when the process ends (pidfd_open(2), close-on-exec). */
int pfs_pidfd_open(pid_t pid);

/* Asks the kernel to send signal to the calling process when the thread that started it ends. */
int pfs_set_parent_death_signal(int signal);

/* What ps and top show for the calling process: 15 characters of name. */
int pfs_set_process_name(const char *name);

/* A close-on-exec, non-blocking descriptor that reads the signals in mask (signalfd(2)). */
int pfs_signalfd(const sigset_t *mask);

/* Takes the next pending signal off such a descriptor: its number, or 0 when there is none. */
int pfs_signalfd_read(int descriptor);

#endif

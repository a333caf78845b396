/* SPDX-License-Identifier: MIT */
/*
 * Waiting and locking between processes.
 *
 * Thin shims for Linux calls that Swift cannot import: those behind _GNU_SOURCE, variadic ones and
 * raw system calls. Each returns what the system call returns (-1 and errno on failure) unless it
 * says otherwise; no policy lives here.
 */
#ifndef PFS_SYNC_H
#define PFS_SYNC_H

#include <stdint.h>

/* futex(2) on a word in shared memory (not FUTEX_PRIVATE). timeout_ns < 0 waits without limit. */
int pfs_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns);
int pfs_futex_wake(const uint32_t *word, int waiters);

/*
 * Write lock on one byte for the open file description behind fd (F_OFD_SETLK, F_OFD_GETLK;
 * fcntl(2)). The first never waits: EAGAIN says that another description holds the byte. The second
 * returns 1 if so, 0 if not.
 */
int pfs_ofd_lock_byte(int fd, int64_t offset);
int pfs_ofd_byte_is_locked(int fd, int64_t offset);
/* Drops all such locks of the description, also where another process has a copy of fd. */
int pfs_ofd_unlock(int fd);

/* Asks for the cache lines of count bytes, to be read soon; never faults. */
static inline void pfs_prefetch(const void *bytes, long count)
{
	for (long done = 0; done < count; done += 64)
		__builtin_prefetch((const char *)bytes + done);
}

/*
 * The same for cache lines that are about to be written: they come for exclusive use. Written out
 * on x86, where compilers make an ordinary prefetch of it unless told of a processor that has
 * prefetchw; every 64-bit one takes the instruction, and at worst does nothing.
 */
static inline void pfs_prefetch_to_write(const void *bytes, long count)
{
	for (long done = 0; done < count; done += 64) {
#if defined(__x86_64__)
		__asm__ volatile("prefetchw %0" : : "m"(((const char *)bytes)[done]));
#else
		__builtin_prefetch((const char *)bytes + done, 1);
#endif
	}
}

/* Tells the processor that this is a spinning loop. */
static inline void pfs_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Thin shims for the Linux calls that Swift cannot import: those behind _GNU_SOURCE, variadic ones and raw system
 * calls. Each returns what the system call returns (-1 and errno on failure); no policy lives here.
 */
#ifndef PACKETFS_SHIMS_H
#define PACKETFS_SHIMS_H

#include <stdint.h>

/* futex(2) on a word in shared memory (not FUTEX_PRIVATE). timeout_ns < 0 waits without limit. */
int pfs_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns);
int pfs_futex_wake(const uint32_t *word, int waiters);

#endif

/* SPDX-License-Identifier: MIT */
/* Imports Debian's libnuma (package libnuma-dev) into Swift. */
#include <numa.h>
#include <numaif.h>

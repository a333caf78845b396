/* SPDX-License-Identifier: MIT */
/* Loading and unloading modules, and what the kernel's log may say meanwhile. */
#ifndef PFS_TEST_MODULE_H
#define PFS_TEST_MODULE_H

#include <fcntl.h>
#include <sys/syscall.h>

#include "ktap.h"

/* Where the modules are: their folder, as the virtual machine's init or `run --here` made it. */
static inline const char *module_folder(void)
{
	const char *folder = getenv("PFS_MODULES");

	return folder ? folder : "/modules";
}

static inline int open_module(const char *name)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s.ko", module_folder(), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		FAIL("open %s: %s", path, strerror(errno));
	return fd;
}

static inline int load_module(const char *name, const char *parameters)
{
	int fd = open_module(name), result, error;

	result = syscall(SYS_finit_module, fd, parameters, 0);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static inline int unload_module(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK);
}

static inline void log_message(const char *text)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* What the log says from now on is no complaint, provided that this text is in it. */
static inline void expect_message(const char *text)
{
	char line[256];

	snprintf(line, sizeof(line), "pfs-test: expects: %s", text);
	log_message(line);
}

static inline void expect_nothing(void)
{
	log_message("pfs-test: expects nothing");
}

#endif

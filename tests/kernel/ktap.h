/* SPDX-License-Identifier: MIT */
/*
 * KTAP for the programs. Each test runs in a process of its own, which ends with the test: what a
 * test leaves open, mapped or attached is gone afterwards.
 */
#ifndef PFS_KTAP_H
#define PFS_KTAP_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct ktap_test {
	const char *name;
	void (*run)(void);
};

#define TEST(function)                                                                             \
	{                                                                                          \
#function, function                                                                \
	}

/* Ends the test as failed, and says why. Usable in child processes of a test, too. */
#define FAIL(...)                                                                                  \
	do {                                                                                       \
		printf("# %s:%d: ", __FILE__, __LINE__);                                           \
		printf(__VA_ARGS__);                                                               \
		printf("\n");                                                                      \
		fflush(stdout);                                                                    \
		_exit(1);                                                                          \
	} while (0)

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			FAIL("%s is false (errno %d, %s)", #condition, errno, strerror(errno));    \
	} while (0)

#define CHECK_EQ(found, expected)                                                                  \
	do {                                                                                       \
		unsigned long long found_ = (found), expected_ = (expected);                       \
		if (found_ != expected_)                                                           \
			FAIL("%s is 0x%llx, not 0x%llx", #found, found_, expected_);               \
	} while (0)

/* The call must fail with this errno; calls that return pointers give MAP_FAILED, which is -1. */
#define CHECK_ERRNO(call, expected)                                                                \
	do {                                                                                       \
		errno = 0;                                                                         \
		long result_ = (long)(call);                                                       \
		if (result_ != -1 || errno != (expected))                                          \
			FAIL("%s gave %ld, errno %d (%s), not errno %d (%s)", #call, result_,      \
			     errno, strerror(errno), expected, strerror(expected));                \
	} while (0)

/* Ends the test as one that this machine cannot run, and says why. Not in child processes. */
#define KTAP_SKIP 4
#define SKIP(...)                                                                                  \
	do {                                                                                       \
		printf("# SKIP ");                                                                 \
		printf(__VA_ARGS__);                                                               \
		printf("\n");                                                                      \
		fflush(stdout);                                                                    \
		_exit(KTAP_SKIP);                                                                  \
	} while (0)

/* A number from the environment, as the virtual machine's command line or a user sets it. */
static inline unsigned long ktap_setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

/*
 * Waits until the condition holds, and looks at it every millisecond. A test never sleeps for a
 * time in which something else has probably happened. The bound is far above what any machine
 * needs; the alarm of the test may come first.
 */
#define WAIT_FOR(condition)                                                                        \
	do {                                                                                       \
		unsigned long left_ = 60000 * ktap_setting("KTAP_SLOW", 1);                        \
		for (; !(condition); left_--) {                                                    \
			if (left_ == 0)                                                            \
				FAIL("%s did not become true", #condition);                        \
			usleep(1000);                                                              \
		}                                                                                  \
	} while (0)

/* The content of /proc/PROCESS/FILE, cut to the size of `text`; empty if it cannot be read. */
static inline void ktap_process_file(pid_t process, const char *name, char *text, size_t size)
{
	char path[64];
	size_t length = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", process, name);
	file = fopen(path, "re");
	if (file) {
		length = fread(text, 1, size - 1, file);
		fclose(file);
	}
	text[length] = 0;
}

/* Whether a process sleeps in a system call. The file says "running" of one that does not sleep. */
static inline bool ktap_sleeps_in(pid_t process, long call)
{
	char text[256];
	long number;

	ktap_process_file(process, "syscall", text, sizeof(text));
	return sscanf(text, "%ld", &number) == 1 && number == call;
}

/* How often a process has gone to sleep. */
static inline unsigned long ktap_sleeps(pid_t process)
{
	char text[4096];
	const char *line;
	unsigned long count = 0;

	ktap_process_file(process, "status", text, sizeof(text));
	line = strstr(text, "\nvoluntary_ctxt_switches:");
	CHECK(line && sscanf(line, "\nvoluntary_ctxt_switches: %lu", &count) == 1);
	return count;
}

/* Runs `body(argument)` in a child; its status is 0 unless it failed. */
static inline pid_t ktap_child(void (*body)(void *), void *argument)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		body(argument);
		fflush(stdout);
		_exit(0);
	}
	return child;
}

static inline void ktap_join(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		FAIL("child %d ended with wait status 0x%x", child, status);
}

/* Whether KTAP_ONLY, names with commas between them, has this one; it is for all if it is empty. */
static inline bool ktap_is_chosen(const char *name)
{
	const char *only = getenv("KTAP_ONLY");
	size_t length = strlen(name);

	if (!only || !*only)
		return true;
	for (; *only; only += strcspn(only, ","), only += *only == ',')
		if (strcspn(only, ",") == length && strncmp(only, name, length) == 0)
			return true;
	return false;
}

/* Runs the tests in order; `after`, if not NULL, runs behind each. Returns the exit status. */
static inline int ktap_run(const struct ktap_test *tests, size_t count, unsigned int seconds,
			   void (*after)(void))
{
	int failed = 0;

	printf("KTAP version 1\n1..%zu\n", count);
	for (size_t i = 0; i < count; i++) {
		int status = 0;
		bool ok, skipped;
		pid_t child;

		if (!ktap_is_chosen(tests[i].name))
			continue;
		fflush(stdout);
		child = fork();
		if (child == 0) {
			/* A group of its own, so that what it started can be ended with it. */
			setpgid(0, 0);
			alarm(seconds * ktap_setting("KTAP_SLOW", 1));
			tests[i].run();
			fflush(stdout);
			_exit(0);
		}
		if (child < 0 || waitpid(child, &status, 0) != child)
			return 1;
		kill(-child, SIGKILL);
		skipped = WIFEXITED(status) && WEXITSTATUS(status) == KTAP_SKIP;
		ok = skipped || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
		if (WIFSIGNALED(status))
			printf("# ended by signal %d%s\n", WTERMSIG(status),
			       WTERMSIG(status) == SIGALRM ? ": took too long" : "");
		printf("%s %zu %s%s\n", ok ? "ok" : "not ok", i + 1, tests[i].name,
		       skipped ? " # SKIP see above" : "");
		if (!ok)
			failed = 1;
		if (after)
			after();
	}
	fflush(stdout);
	return failed;
}

#define KTAP_RUN(tests, seconds, after)                                                            \
	ktap_run(tests, sizeof(tests) / sizeof((tests)[0]), seconds, after)

#endif

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

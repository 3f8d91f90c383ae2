// SPDX-License-Identifier: BSD-2-Clause
/*
 * Checks itself: exceptions thrown through middle() and thrower(), pthread_exit and cancellation through them, backtraces of
 * _Unwind_Backtrace. Each round prints nothing; any wrong result ends it with a message and status 1. The line
 * "rounds N" is printed at the end, after the seconds given as argument or at SIGTERM.
 */
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>
#include <unwind.h>

#include "throws.h"

namespace
{
volatile int depth_wanted;
std::jmp_buf jump;
volatile std::sig_atomic_t stopping;

void stop(int)
{
	stopping = 1;
}

/* Callers found, as starts of functions. */
struct trace {
	void *functions[64];
	int count;
};

_Unwind_Reason_Code note(struct _Unwind_Context *context, void *arg)
{
	auto *to = static_cast<trace *>(arg);

	if (to->count < 64)
		to->functions[to->count++] = _Unwind_FindEnclosingFunction(
			reinterpret_cast<void *>(_Unwind_GetIP(context)));
	return _URC_NO_REASON;
}

void fail(const char *what)
{
	fprintf(stderr, "wrong: %s\n", what);
	_exit(1);
}
} // namespace

enum how { THROW, TRACE, LEAVE, CANCEL, JUMP, RETURN };

int act(int how, void *to)
{
	switch (how) {
	case THROW:
		throw 42;
	case TRACE:
		_Unwind_Backtrace(note, to);
		return 7;
	case LEAVE:
		pthread_exit(&destroyed);
	case CANCEL:
		for (;;)
			usleep(1000);
	case JUMP:
		std::longjmp(jump, 1);
	default:
		return 7;
	}
}

PROBED int outer(int how, void *to)
{
	try {
		return middle(how, depth_wanted, to) + 1;
	} catch (int thrown) {
		return thrown;
	}
}

namespace
{
bool has_in_order(const trace &found, void *const *wanted, int count)
{
	int at = 0;

	for (int i = 0; i < found.count && at < count; i++)
		at += found.functions[i] == wanted[at];
	return at == count;
}

void check_trace()
{
	void *const wanted[] = {reinterpret_cast<void *>(thrower), reinterpret_cast<void *>(middle),
				reinterpret_cast<void *>(middle), reinterpret_cast<void *>(outer)};
	trace found = {};

	depth_wanted = 1;
	if (outer(TRACE, &found) != 10 || !has_in_order(found, wanted, 4))
		fail("backtrace");
}

void *thread(void *how)
{
	outer(*static_cast<int *>(how), nullptr);
	return nullptr;
}

void check_thread(int how)
{
	pthread_t id;
	void *result;

	destroyed = 0;
	depth_wanted = 2;
	if (pthread_create(&id, nullptr, thread, &how))
		fail("pthread_create");
	if (how == CANCEL) {
		usleep(2000);
		pthread_cancel(id);
	}
	pthread_join(id, &result);
	if (result != (how == CANCEL ? PTHREAD_CANCELED : &destroyed))
		fail("what a thread left behind");
	if (destroyed != 3)
		fail("destructors of a thread that ended");
}

void round()
{
	for (int depth = 0; depth < 4; depth++) {
		destroyed = 0;
		depth_wanted = depth;
		if (outer(THROW, nullptr) != 42 || destroyed != depth + 1)
			fail("exception");
		if (outer(RETURN, nullptr) != 9 + depth)
			fail("result");
		depth_wanted = depth;
		if (!setjmp(jump))
			outer(JUMP, nullptr);
		if (outer(RETURN, nullptr) != 9 + depth)
			fail("result after longjmp");
	}
	check_trace();
	check_thread(LEAVE);
	check_thread(CANCEL);
}
} // namespace

int main(int argc, char **argv)
{
	time_t end = time(nullptr) + (argc > 1 ? atoi(argv[1]) : 1);
	unsigned long rounds = 0;

	std::signal(SIGTERM, stop);
	puts("ready");
	fflush(stdout);
	while (!stopping && time(nullptr) < end) {
		round();
		rounds++;
	}
	printf("rounds %lu\n", rounds);
	return 0;
}

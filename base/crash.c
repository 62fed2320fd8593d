#include "base/crash.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/op.h"

static const char *crash_program;

static void crash_say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0) {
		return; /* Nobody is left to be told. */
	}
}

static const char *crash_signal_name(int number)
{
	switch (number) {
	case SIGABRT:
		return "SIGABRT";
	case SIGSEGV:
		return "SIGSEGV";
	case SIGBUS:
		return "SIGBUS";
	case SIGILL:
		return "SIGILL";
	default:
		return "SIGFPE";
	}
}

/* Only what POSIX calls async-signal-safe. SA_RESETHAND: a second fault, in here, just ends it. */
static void crash_handle(int number)
{
	int saved = errno;

	crash_say(crash_program);
	crash_say(": ended by ");
	crash_say(crash_signal_name(number));
	crash_say("; the last moves, oldest first:\n");
	op_report(STDERR_FILENO);
	errno = saved;
	(void)raise(number); /* As it would have ended: it is blocked until this returns. */
}

void crash_report_install(const char *program)
{
	static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
	struct sigaction action = {.sa_handler = crash_handle, .sa_flags = (int)SA_RESETHAND};

	assert(program != NULL);
	crash_program = program;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct sigaction old;

		if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL) {
			(void)sigaction(numbers[i], &action, NULL); /* A valid signal. */
		}
	}
}

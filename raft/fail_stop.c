#include "raft/fail_stop.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"

static _Noreturn void fail_stop_with(int code, const char *fmt, va_list args) KLUIS_PRINTF(2, 0);

static _Noreturn void fail_stop_with(int code, const char *fmt, va_list args)
{
	char text[512];

	(void)vsnprintf(text, sizeof text, fmt, args);
	log_err("op=fail_stop msg=\"%s\"", text);
	_exit(code);
}

_Noreturn void fail_stop(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fail_stop_with(FAIL_STOP_EXIT_CODE, fmt, args);
}

_Noreturn void fail_stop_refused(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fail_stop_with(FAIL_REFUSED_EXIT_CODE, fmt, args);
}

#include "raft/fail_stop.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"

_Noreturn void fail_stop(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	log_err("op=fail_stop msg=\"%s\"", text);
	_exit(FAIL_STOP_EXIT_CODE);
}

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 1024 };

static char log_node[32] = "-";
static _Atomic int log_level = LOG_LEVEL_INFO;

void log_init(const char *node, enum log_level level)
{
	(void)snprintf(log_node, sizeof log_node, "%s", node);
	log_level = (int)level;
}

void log_set_level(enum log_level level)
{
	log_level = (int)level;
}

static const char *log_level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERR:
		return "err";
	case LOG_LEVEL_WARN:
		return "warn";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_DEBUG:
		break;
	}
	return "debug";
}

static size_t log_head(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm utc;
	char day[32];
	int n;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* CLOCK_REALTIME always exists. */
	(void)gmtime_r(&now.tv_sec, &utc);
	(void)strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &utc);
	n = snprintf(line, size, "<%d>ts=%s.%03ldZ level=%s node=%s ", (int)level, day,
		now.tv_nsec / 1000000, log_level_name(level), log_node);
	return (size_t)n;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	size_t head, len;
	va_list args;
	int n;

	if ((int)level > log_level) {
		return;
	}
	head = log_head(line, sizeof line, level);
	va_start(args, fmt);
	n = vsnprintf(line + head, sizeof line - head - 1, fmt, args);
	va_end(args);
	len = head + (n < 0 ? 0 : (size_t)n);
	if (len > sizeof line - 2) {
		len = sizeof line - 2;
	}
	for (size_t i = head; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
			line[i] = '?'; /* A client's bytes must not forge a line or move the cursor.
					*/
		}
	}
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0) {
		return; /* Nowhere left to say it. */
	}
}

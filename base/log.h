/* One logfmt line a fact, to stderr, with the priority prefix that journald reads. Any thread. */
#ifndef KLUIS_BASE_LOG_H
#define KLUIS_BASE_LOG_H

#include "base/mem.h"

enum log_level { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* node is put in every line (copied, at most 31 bytes); lines above `level` are dropped. Call once,
 * before threads. */
void log_init(const char *node, enum log_level level);
void log_set_level(enum log_level level);

/* "op=put_page/17 state=applied rc=0 ms=4": key=value only. Never page bytes, names, tokens or
 * whole user ids. Control bytes are replaced, a line ends at 1,024 bytes. */
void log_line(enum log_level level, const char *fmt, ...) KLUIS_PRINTF(2, 3);

#define log_err(...)   log_line(LOG_LEVEL_ERR, __VA_ARGS__) /* Wakes a person. */
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif

#include "tests/chaos/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

struct history {
	int fd;
};

int history_open(const char *path, struct history **ret_history, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0) {
		return err_set_errno(e, errno, "open '%s'", path);
	}
	*ret_history = x_malloc(sizeof **ret_history);
	(*ret_history)->fd = fd;
	return 0;
}

void history_close(struct history *history)
{
	if (history != NULL) {
		(void)close(history->fd);
		free(history);
	}
}

void history_append(struct history *history, struct buf *line)
{
	buf_append(line, "\n", 1);
	if (write(history->fd, line->data, line->len) != (ssize_t)line->len) {
		perror("chaos_clients: history");
		_exit(1);
	}
	buf_clear(line);
}

uint64_t history_now_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time); /* There since Linux 2.6. */
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void history_hash(struct buf *line, const uint8_t hash[HASH_BYTES])
{
	buf_printf(line, "\"");
	hex_append(line, bytes_of(hash, HISTORY_HASH_BYTES));
	buf_printf(line, "\"");
}

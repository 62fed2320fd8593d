#include "cli/ui/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/ui/output.h"
#include "crypto/secret.h"

/* Byte by byte, so that nothing behind the line is taken from a pipe others read on. */
static int prompt_line(int fd, size_t max, struct buf *to, struct err *e)
{
	size_t before = to->len;

	buf_reserve(to, max + 1); /* No growth: a realloc would leave a copy of a secret behind. */
	for (;;) {
		uint8_t c;
		ssize_t n = read(fd, &c, 1);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return err_set_errno(e, errno, "read the secret");
		}
		if (n == 0 || c == '\n') {
			break;
		}
		if (to->len - before == max) {
			return err_set(e, KLUIS_ETOOLARGE, "more than %zu bytes in a line", max);
		}
		buf_append(to, &c, 1);
	}
	if (to->len > before && to->data[to->len - 1] == '\r') {
		to->len--;
	}
	return to->len == before
		       ? err_set(e, KLUIS_EINVAL, "an empty line where a secret was expected")
		       : 0;
}

static int prompt_open(const char *question, int *ret_fd, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf safe = BUF_INIT; /* A code, perhaps. */
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (fd < 0) {
		return err_set(e, KLUIS_EINVAL, "no terminal to ask: '%.*s'",
			(int)strcspn(question, "\n"), question);
	}
	buf_reserve(&safe, 4 * strlen(question) + 1);
	output_safe(&safe, question, "\n");
	if (file_write_all(fd, buf_bytes(&safe)) != 0) {
		(void)close(fd);
		return err_set_errno(e, errno, "write to the terminal");
	}
	*ret_fd = fd;
	return 0;
}

int prompt_yes(const char *question, struct err *e)
{
	_cleanup_(buf_release) struct buf answer = BUF_INIT;
	_cleanup_(x_closep) int fd = -1;
	_cleanup_(x_freep) char *text = x_asprintf("%s Type yes to go on: ", question);
	struct err ignored = {0};
	int rc = prompt_open(text, &fd, e);

	if (rc != 0) {
		return rc;
	}
	if (prompt_line(fd, 64, &answer, &ignored) == 0 && strcmp(buf_str(&answer), "yes") == 0) {
		return 0;
	}
	return err_set(e, KLUIS_EFORBIDDEN, "not confirmed, nothing was changed");
}

static int prompt_hidden(const char *question, size_t max, struct buf *to, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;
	struct termios old, hidden;
	int rc = prompt_open(question, &fd, e);

	if (rc != 0) {
		return rc;
	}
	if (tcgetattr(fd, &old) != 0) {
		return err_set_errno(e, errno, "terminal settings");
	}
	hidden = old;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	if (tcsetattr(fd, TCSAFLUSH, &hidden) != 0) {
		return err_set_errno(e, errno, "terminal settings");
	}
	rc = prompt_line(fd, max, to, e);
	if (tcsetattr(fd, TCSAFLUSH, &old) != 0 || file_write_all(fd, bytes_str("\n")) != 0) {
		return err_set_errno(e, errno, "terminal");
	}
	return rc;
}

static int prompt_typed(const char *question, size_t max, struct buf *to, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;
	int rc = prompt_open(question, &fd, e);

	return rc != 0 ? rc : prompt_line(fd, max, to, e);
}

/* From where it was said to come, else from the terminal. */
static int prompt_from(int (*ask)(const char *question, size_t max, struct buf *to, struct err *e),
	const char *question, const char *file, const char *fd_text, size_t max, struct buf *to,
	struct err *e)
{
	_cleanup_(x_closep) int opened = -1;
	uint64_t number;

	if (file != NULL && strcmp(file, "-") == 0) {
		return prompt_line(STDIN_FILENO, max, to, e);
	}
	if (file != NULL) {
		opened = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		return opened < 0 ? err_set_errno(e, errno, "open '%s'", file)
				  : prompt_line(opened, max, to, e);
	}
	if (fd_text != NULL) {
		if (u64_parse(bytes_str(fd_text), INT_MAX, &number) != 0) {
			return err_set(e, KLUIS_EINVAL, "'%s' is no descriptor", fd_text);
		}
		return prompt_line((int)number, max, to, e);
	}
	return ask(question, max, to, e);
}

int prompt_secret(const char *question, const char *file, const char *fd, size_t max,
	struct buf *to, struct err *e)
{
	return prompt_from(prompt_hidden, question, file, fd, max, to, e);
}

int prompt_text(const char *question, const char *file, const char *fd, size_t max, struct buf *to,
	struct err *e)
{
	return prompt_from(prompt_typed, question, file, fd, max, to, e);
}

bool prompt_possible(void)
{
	_cleanup_(x_closep) int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	return fd >= 0;
}

int prompt_show(const char *text, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;

	return prompt_open(text, &fd, e);
}

void prompt_secret_release(struct buf *secret)
{
	secret_buf_release(secret);
}

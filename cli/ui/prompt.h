/* Questions at the terminal, and secrets from a prompt, a file or a descriptor: never from argv
 * or the environment, which other processes can read. */
#ifndef KLUIS_CLI_UI_PROMPT_H
#define KLUIS_CLI_UI_PROMPT_H

#include "base/buf.h"
#include "base/err.h"

/* What is shown is shown as text: whatever a question quotes, the terminal acts on nothing in it
 * but line ends. */

/* 0 when a person at /dev/tty typed "yes"; KLUIS_EFORBIDDEN when the answer was another,
 * KLUIS_EINVAL when there is no terminal. */
KLUIS_MUST_CHECK int prompt_yes(const char *question, struct err *e);

/* One line of at most max bytes without its end: from `file` ("-" = stdin) when given, else from
 * descriptor `fd` (decimal text) when given, else typed at /dev/tty without echo. Appended to
 * `to`, which the caller clears: text_clear() below. */
KLUIS_MUST_CHECK int prompt_secret(const char *question, const char *file, const char *fd,
	size_t max, struct buf *to, struct err *e);

/* As prompt_secret(), for what may be seen while it is typed: a one-time code, a file's name. An
 * empty line is KLUIS_EINVAL, as it is there. */
KLUIS_MUST_CHECK int prompt_text(const char *question, const char *file, const char *fd, size_t max,
	struct buf *to, struct err *e);
/* Whether there is a person to ask. */
bool prompt_possible(void);
/* Shows this at /dev/tty, and nowhere that could be recorded. KLUIS_EINVAL: there is none. */
KLUIS_MUST_CHECK int prompt_show(const char *text, struct err *e);

/* Overwrites and frees. For _cleanup_. */
void prompt_secret_release(struct buf *secret);

#endif

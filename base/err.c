#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct err_row {
	const char *name, *api_code, *text;
	int http_status, exit_code;
	bool retryable;
} err_rows[KLUIS_ERROR_MAX] = {{"KLUIS_OK", "ok", "ok", 200, 0, false},
#define X(sym, code, text, http, exitcode, retry) {#sym, code, text, http, exitcode, retry},
	KLUIS_ERRORS(X)
#undef X
};

static const struct err_row *err_row(int code)
{
	if (code > 0 || code <= -(int)KLUIS_ERROR_MAX) {
		code = KLUIS_EINTERNAL;
	}
	return &err_rows[-code];
}

const char *err_name(int code)
{
	return err_row(code)->name;
}

const char *err_api_code(int code)
{
	return err_row(code)->api_code;
}

const char *err_text(int code)
{
	return err_row(code)->text;
}

int err_http_status(int code)
{
	return err_row(code)->http_status;
}

int err_exit_code(int code)
{
	return err_row(code)->exit_code;
}

bool err_retryable(int code)
{
	return err_row(code)->retryable;
}

int err_from_api(const char *api_code, int http_status)
{
	for (int i = 1; i < (int)KLUIS_ERROR_MAX; i++) {
		if (err_rows[i].http_status == http_status &&
			strcmp(err_rows[i].api_code, api_code) == 0) {
			return -i;
		}
	}
	return KLUIS_EINTERNAL;
}

int(err_set)(struct err *e, int code, const char *fmt, ...)
{
	va_list args;

	if (e != NULL) {
		e->code = code;
		va_start(args, fmt);
		(void)vsnprintf(e->text, sizeof e->text, fmt, args); /* Cut text is still text. */
		va_end(args);
	}
	return code;
}

static int err_code_of_errno(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return KLUIS_ENOSPACE;
	case ENOENT:
		return KLUIS_ENOTFOUND;
	case EEXIST:
		return KLUIS_EEXIST;
	default:
		return KLUIS_EIO;
	}
}

int(err_set_errno)(struct err *e, int errnum, const char *fmt, ...)
{
	int code = err_code_of_errno(errnum);
	char reason[96];
	va_list args;

	if (e != NULL) {
		char head[sizeof e->text - sizeof reason];

		va_start(args, fmt);
		(void)vsnprintf(head, sizeof head, fmt, args);
		va_end(args);
		e->code = code;
		(void)snprintf(e->text, sizeof e->text, "%s: %s", head,
			strerror_r(errnum, reason, sizeof reason));
	}
	return code;
}

int(err_wrap)(struct err *e, int code, const char *fmt, ...)
{
	char head[256], tail[256];
	size_t n, len;
	va_list args;

	if (e == NULL) {
		return code;
	}
	if (e->code == 0) {
		e->code = code;
		(void)snprintf(e->text, sizeof e->text, "%s", err_text(code));
	}
	va_start(args, fmt);
	(void)vsnprintf(head, sizeof head, fmt, args);
	va_end(args);
	memcpy(tail, e->text, sizeof tail);
	/* The tail says what went wrong: it gets all the room that the head leaves. */
	n = (size_t)snprintf(e->text, sizeof e->text, "%.120s: ", head);
	len = strnlen(tail, sizeof e->text - n - 1);
	memcpy(e->text + n, tail, len);
	e->text[n + len] = 0;
	return e->code;
}

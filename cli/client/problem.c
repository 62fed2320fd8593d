#include "cli/client/problem.h"

#include "cli/client/json_reader.h"

/* The code a status stands for when no problem came along. */
static int status_error(int status)
{
	for (int code = -1; code > -(int)KLUIS_ERROR_MAX; code--) {
		if (err_http_status(code) == status) {
			return code;
		}
	}
	return status >= 500 ? KLUIS_EINTERNAL : KLUIS_EPROTO;
}

struct problem problem_of(const struct http_answer *answer, struct err *e)
{
	struct problem problem = {.code = status_error(answer->status)};
	struct err ignored = {0};
	struct json_reader r;
	json_t *body;

	if (json_object_parse(buf_bytes(&answer->body), &body, &ignored) != 0) {
		(void)err_set(
			e, problem.code, "%s (HTTP %d)", err_text(problem.code), answer->status);
		return problem;
	}
	r = json_reader_of(body);
	problem.code = err_from_api(json_reader_string_or(&r, "code", ""), answer->status);
	if (problem.code == KLUIS_EINTERNAL && answer->status != 500) {
		problem.code = status_error(answer->status);
	}
	(void)err_set(e, problem.code, "%s (%s, request %s)",
		json_reader_string_or(&r, "detail", err_text(problem.code)),
		err_api_code(problem.code), json_reader_string_or(&r, "request_id", "-"));
	if (json_object_get(body, "retry_after_ms") != NULL) {
		problem.retry_after_ms = json_reader_u64(&r, "retry_after_ms");
	}
	json_decref(body);
	return problem;
}

#include "node/problem.h"

#include "base/limits.h"
#include "node/json.h"

enum { RETRY_AFTER_MS_DEFAULT = 1000 };

static bool problem_hides(int code)
{
	/* What broke inside is for the log, where the request id finds it. */
	return err_http_status(code) == 500;
}

static uint64_t problem_retry_after(const struct problem *problem)
{
	int status = err_http_status(problem->code);

	if (problem->retry_after_ms != 0) {
		return problem->retry_after_ms;
	}
	return status == 503 || status == 429 || status == 507 ? RETRY_AFTER_MS_DEFAULT : 0;
}

void problem_body(const struct problem *problem, const char *request_id, struct buf *to)
{
	json_t *body = json_object();
	uint64_t retry_after_ms = problem_retry_after(problem);
	const char *code = err_api_code(problem->code);
	const char *detail = problem->detail;

	if (detail == NULL || *detail == '\0' || problem_hides(problem->code)) {
		detail = err_text(problem->code);
	}
	json_put(body, "type", json_sprintf("urn:kluis:problem:%s", code));
	json_put(body, "title", json_make_text(err_text(problem->code)));
	json_put(body, "status", json_integer(err_http_status(problem->code)));
	json_put(body, "detail", json_make_text(detail));
	json_put(body, "instance", json_sprintf("urn:kluis:request:%s", request_id));
	json_put(body, "code", json_make_text(code));
	json_put(body, "retryable", json_boolean(err_retryable(problem->code)));
	json_put(body, "request_id", json_make_text(request_id));
	if (problem->current_etag != NULL && *problem->current_etag != '\0') {
		json_put(body, "current_etag", json_make_text(problem->current_etag));
	}
	if (problem->min_index != NULL) {
		json_put(body, "min_index", json_make_text(problem->min_index));
	}
	if (problem->limit != 0) {
		json_put(body, "limit", json_make_number(problem->limit));
	}
	if (retry_after_ms != 0) {
		json_put(body, "retry_after_ms", json_make_number(retry_after_ms));
	}
	json_finish(body, to);
}

void problem_reply(struct http_request *req, const struct problem *problem)
{
	struct buf body = BUF_INIT;
	uint64_t retry_after_ms = problem_retry_after(problem);

	if (http_replied(req)) {
		return;
	}
	if (retry_after_ms != 0) {
		http_reply_field(req, "retry-after", "%llu",
			(unsigned long long)((retry_after_ms + 999) / 1000));
	}
	if (problem->code == KLUIS_EUNAUTHENTICATED) {
		http_reply_field(req, "www-authenticate", "Bearer");
	}
	problem_body(problem, req->id, &body);
	http_reply(req, err_http_status(problem->code), "application/problem+json", &body);
}

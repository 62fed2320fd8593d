#include "cli/load/http_load.h"

#include <assert.h>

#include "cli/client/problem.h"

struct http_wire {
	struct tls_stream *stream;
	size_t answer_max;
	struct http_parse *parse; /* Not NULL: an answer is waited for. */
	struct http_answer answer;
};

static void *http_wire_open(void *arg, struct tls_stream *stream)
{
	struct http_wire *wire = x_calloc(1, sizeof *wire);

	wire->stream = stream;
	wire->answer_max = *(const size_t *)arg;
	return wire;
}

static void http_wire_close(void *data)
{
	struct http_wire *wire = data;

	http_parse_free(wire->parse);
	http_answer_release(&wire->answer);
	free(wire);
}

static void http_wire_send(void *data, const struct load_request *request)
{
	struct http_wire *wire = data;
	struct bytes pieces[] = {request->head, request->body};

	assert(wire->parse == NULL && request->head.len > 0);
	wire->parse = http_parse_new(&wire->answer, wire->answer_max, false);
	tls_stream_writev(wire->stream, pieces, ARRAY_SIZE(pieces));
}

static int http_wire_receive(void *data, struct bytes bytes, bool *ret_done,
	struct load_answer *ret_answer, struct err *e)
{
	struct http_wire *wire = data;
	int rc;

	if (wire->parse == NULL) {
		return err_set(e, KLUIS_EPROTO, "bytes behind the answer");
	}
	rc = http_parse_feed(wire->parse, bytes, ret_done, e);
	if (rc != 0 || !*ret_done) {
		return rc;
	}
	http_parse_free(wire->parse);
	wire->parse = NULL;
	*ret_answer = (struct load_answer){
		.body = buf_bytes(&wire->answer.body), .close = !wire->answer.keep_alive};
	if (wire->answer.status / 100 != 2) {
		struct problem problem = problem_of(&wire->answer, e);

		ret_answer->rc = problem.code;
		ret_answer->wait_ms = problem.retry_after_ms;
	}
	return 0;
}

const struct load_protocol http_load_protocol = {
	.open = http_wire_open,
	.close = http_wire_close,
	.send = http_wire_send,
	.receive = http_wire_receive,
};

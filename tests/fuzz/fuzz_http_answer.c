/* Answers of a node, in pieces: the parser that reads the network for every client. */
#include "base/err.h"
#include "cli/client/http_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_answer answer = {0};
	struct http_parse *parse;
	size_t step;
	bool done = false;
	int rc = 0;

	if (size < 2) {
		return 0;
	}
	step = (size_t)data[0] + 1;
	parse = http_parse_new(&answer, 4096, (data[1] & 1) != 0);
	for (size_t at = 2; at < size && rc == 0 && !done; at += step) {
		rc = http_parse_feed(parse,
			bytes_of(data + at, size - at < step ? size - at : step), &done, NULL);
	}
	if (done && (answer.body.len > 4096 || answer.n_headers > HTTP_HEADERS_MAX ||
			    answer.status < 100)) {
		abort();
	}
	(void)http_answer_header(&answer, "kluis-index");
	http_parse_free(parse);
	http_answer_release(&answer);
	return 0;
}

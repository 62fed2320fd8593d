/* The request parser: every input, whole and byte by byte, must give the same events. */
#include <stdlib.h>
#include <string.h>

#include "node/http1_parser.h"

struct trace {
	int rc;
	unsigned heads, ends;
	uint64_t body, fields;
};

static struct trace parse(const uint8_t *data, size_t size, size_t step)
{
	struct http1_parser parser;
	struct trace trace = {0};
	size_t at = 0;

	http1_parser_init(&parser);
	for (;;) {
		size_t n = size - at < step ? size - at : step, taken;
		int event = http1_parser_feed(&parser, bytes_of(data + at, n), &taken);

		if (taken > n) {
			abort();
		}
		at += taken;
		if (event < 0) {
			trace.rc = event;
			break;
		}
		if (event == HTTP1_HEAD) {
			struct bytes path, query;

			trace.heads++;
			trace.fields += parser.head.fields.counted;
			if (http_target_split(buf_bytes(&parser.head.target), &path, &query) == 0 &&
				path.len + query.len > parser.head.target.len) {
				abort();
			}
		} else if (event == HTTP1_BODY) {
			trace.body += parser.piece.len;
		} else if (event == HTTP1_END) {
			trace.ends++;
		} else if (at == size) {
			break;
		}
	}
	http1_parser_release(&parser);
	return trace;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace whole = parse(data, size, size + 1), bytes = parse(data, size, 1);

	if (whole.rc != bytes.rc || whole.heads != bytes.heads || whole.ends != bytes.ends ||
		whole.body != bytes.body || whole.fields != bytes.fields) {
		abort();
	}
	return 0;
}

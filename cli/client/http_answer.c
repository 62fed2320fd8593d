#include "cli/client/http_answer.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include <http_parser.h>

#include "crypto/secret.h"

/* What a length alone may make us hold: the rest as it comes. */
enum { PARSE_RESERVE_MAX = 1 << 20 };

struct http_parse {
	http_parser parser;
	struct http_answer *answer;
	size_t body_max;
	bool head, done, in_value;
	size_t header_bytes;
	int rc; /* Ours, when a callback refused. */
	const char *why;
};

void http_answer_release(struct http_answer *answer)
{
	secret_buf_release(&answer->text);
	secret_buf_release(&answer->body);
	*answer = (struct http_answer){0};
}

struct bytes http_answer_header(const struct http_answer *answer, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < answer->n_headers; i++) {
		const struct http_header *h = &answer->headers[i];
		const char *at = (const char *)answer->text.data + h->name;

		if (h->name_len == len && strncasecmp(at, name, len) == 0) {
			return bytes_of(answer->text.data + h->value, h->value_len);
		}
	}
	return bytes_of(NULL, 0);
}

static int parse_refuse(struct http_parse *parse, int rc, const char *why)
{
	parse->rc = rc;
	parse->why = why;
	return -1;
}

static void parse_reset(struct http_parse *parse)
{
	struct http_answer *answer = parse->answer;

	buf_clear(&answer->text);
	buf_clear(&answer->body);
	answer->status = 0;
	answer->n_headers = 0;
	answer->keep_alive = false;
	parse->in_value = true; /* The next name begins a header. */
}

static int parse_begin_cb(http_parser *parser)
{
	struct http_parse *parse = parser->data;

	if (parse->done) {
		return parse_refuse(parse, KLUIS_EPROTO, "bytes behind the answer");
	}
	parse_reset(parse);
	return 0;
}

/* Room for `more` bytes. Growth by realloc would leave copies behind: an answer may hold a token, a
 * share or a seed. */
static void parse_room(struct buf *b, size_t more)
{
	struct buf larger = BUF_INIT;

	if (b->cap - b->len >= more) {
		return;
	}
	buf_reserve(&larger, b->len + (more > b->len ? more : b->len));
	buf_append_bytes(&larger, buf_bytes(b));
	secret_buf_release(b);
	*b = larger;
}

static int parse_grow(struct http_parse *parse, const char *at, size_t len)
{
	parse->header_bytes += len;
	if (parse->header_bytes > HTTP_HEADER_BYTES_MAX) {
		return parse_refuse(parse, KLUIS_EPROTO, "header block too large");
	}
	parse_room(&parse->answer->text, len);
	buf_append(&parse->answer->text, at, len);
	return 0;
}

static int parse_name_cb(http_parser *parser, const char *at, size_t len)
{
	struct http_parse *parse = parser->data;
	struct http_answer *answer = parse->answer;

	if (parse->in_value) {
		if (answer->n_headers == HTTP_HEADERS_MAX) {
			return parse_refuse(parse, KLUIS_EPROTO, "too many headers");
		}
		answer->headers[answer->n_headers++] =
			(struct http_header){.name = answer->text.len};
		parse->in_value = false;
	}
	answer->headers[answer->n_headers - 1].name_len += len;
	return parse_grow(parse, at, len);
}

static int parse_value_cb(http_parser *parser, const char *at, size_t len)
{
	struct http_parse *parse = parser->data;
	struct http_answer *answer = parse->answer;
	struct http_header *h;

	if (answer->n_headers == 0) {
		return parse_refuse(parse, KLUIS_EPROTO, "a header without a name");
	}
	h = &answer->headers[answer->n_headers - 1];
	if (!parse->in_value) {
		h->value = answer->text.len;
		parse->in_value = true;
	}
	h->value_len += len;
	return parse_grow(parse, at, len);
}

static int parse_headers_cb(http_parser *parser)
{
	struct http_parse *parse = parser->data;
	bool bodiless = parse->head || parser->status_code / 100 == 1 ||
			parser->status_code == 204 || parser->status_code == 304;
	bool chunked = (parser->flags & F_CHUNKED) != 0;

	parse->answer->status = (int)parser->status_code;
	parse->answer->keep_alive = http_should_keep_alive(parser) != 0;
	if (parser->status_code < 100 || parser->status_code > 599) {
		return parse_refuse(parse, KLUIS_EPROTO, "an answer without a status");
	}
	if (parser->upgrade || parser->status_code == 101) {
		return parse_refuse(parse, KLUIS_EPROTO, "an upgrade nobody asked for");
	}
	if (bodiless) {
		return 1;
	}
	if (!chunked && parser->content_length == UINT64_MAX) {
		return parse_refuse(parse, KLUIS_EPROTO, "an answer without a length");
	}
	if (!chunked && parser->content_length > parse->body_max) {
		return parse_refuse(parse, KLUIS_ETOOLARGE, "an answer larger than asked for");
	}
	if (!chunked && parser->content_length <= PARSE_RESERVE_MAX) {
		parse_room(&parse->answer->body, (size_t)parser->content_length);
	}
	return 0;
}

static int parse_body_cb(http_parser *parser, const char *at, size_t len)
{
	struct http_parse *parse = parser->data;

	if (len > parse->body_max - parse->answer->body.len) {
		return parse_refuse(parse, KLUIS_ETOOLARGE, "an answer larger than asked for");
	}
	parse_room(&parse->answer->body, len);
	buf_append(&parse->answer->body, at, len);
	return 0;
}

static int parse_end_cb(http_parser *parser)
{
	struct http_parse *parse = parser->data;

	/* An interim answer (100, 103) only says that another will come (RFC 9110, 15.2). */
	if (parse->answer->status / 100 != 1) {
		parse->done = true;
	}
	return 0;
}

static const http_parser_settings parse_settings = {
	.on_message_begin = parse_begin_cb,
	.on_header_field = parse_name_cb,
	.on_header_value = parse_value_cb,
	.on_headers_complete = parse_headers_cb,
	.on_body = parse_body_cb,
	.on_message_complete = parse_end_cb,
};

struct http_parse *http_parse_new(struct http_answer *answer, size_t body_max, bool head)
{
	struct http_parse *parse = x_calloc(1, sizeof *parse);

	parse->answer = answer;
	parse->body_max = body_max;
	parse->head = head;
	http_parser_init(&parse->parser, HTTP_RESPONSE);
	parse->parser.data = parse;
	parse_reset(parse);
	return parse;
}

void http_parse_free(struct http_parse *parse)
{
	free(parse);
}

int http_parse_feed(struct http_parse *parse, struct bytes bytes, bool *ret_done, struct err *e)
{
	size_t used;

	assert(parse->answer != NULL);
	if (bytes.len == 0) {
		*ret_done = parse->done;
		return 0;
	}
	if (parse->done) {
		return err_set(e, KLUIS_EPROTO, "answer: bytes behind it");
	}
	used = http_parser_execute(
		&parse->parser, &parse_settings, (const char *)bytes.data, bytes.len);
	if (parse->rc != 0) {
		return err_set(e, parse->rc, "answer: %s", parse->why);
	}
	if (HTTP_PARSER_ERRNO(&parse->parser) != HPE_OK || used != bytes.len) {
		return err_set(e, KLUIS_EPROTO, "answer: %s",
			http_errno_description(HTTP_PARSER_ERRNO(&parse->parser)));
	}
	*ret_done = parse->done;
	return 0;
}

#include "node/http1_parser.h"

#include <assert.h>
#include <http_parser.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "crypto/secret.h"

enum {
	STATE_BLOCK,	 /* Request line and fields. */
	STATE_HEAD_DONE, /* HTTP1_HEAD was given. */
	STATE_LENGTH,	 /* Body of known length. */
	STATE_SIZE,	 /* Chunk size, extension and line end. */
	STATE_CHUNK,
	STATE_CHUNK_CR,
	STATE_CHUNK_LF,
	STATE_TRAILER,
	STATE_END,
	STATE_FAILED,
};

enum {
	/* A chunk is at most 4 GiB - 1: more digits could only be there to overflow somebody. */
	CHUNK_DIGITS_MAX = 8,
	ASIDE_BYTES_MAX = 4096,
};

void http1_parser_init(struct http1_parser *parser)
{
	*parser = (struct http1_parser){.state = STATE_BLOCK};
}

void http1_parser_release(struct http1_parser *parser)
{
	secret_buf_release(&parser->block); /* Tokens. */
	buf_release(&parser->head.target);
	http_fields_release(&parser->head.fields);
}

static int parser_fail(struct http1_parser *parser, int rc)
{
	parser->state = STATE_FAILED;
	return rc;
}

/* Line ends are CR LF and nothing else; a bare one is where parsers part ways. 1: the empty line
 * that ends the section. */
static int block_byte(struct http1_parser *p, uint8_t c)
{
	if (p->line_cr != (c == '\n') || c == 0) {
		return KLUIS_EINVAL;
	}
	if (c == '\n') {
		bool end = p->line_empty;

		p->line_cr = false;
		p->line_empty = true;
		return end ? 1 : 0;
	}
	p->line_cr = c == '\r';
	if (c != '\r') {
		p->line_empty = false;
	}
	return 0;
}

static struct bytes line_next(struct bytes *left)
{
	const uint8_t *cr = memchr(left->data, '\r', left->len);
	struct bytes line;

	assert(cr != NULL && cr[1] == '\n'); /* block_byte() saw to it. */
	line = bytes_of(left->data, (size_t)(cr - left->data));
	*left = bytes_of(cr + 2, left->len - line.len - 2);
	return line;
}

static int head_add_field(struct http1_head *head, struct bytes line)
{
	const uint8_t *colon = memchr(line.data, ':', line.len);
	size_t name_len;

	if (colon == NULL) {
		return KLUIS_EINVAL;
	}
	/* A folded line or a space before the colon leaves a name that is no token. */
	name_len = (size_t)(colon - line.data);
	return http_fields_add(&head->fields, bytes_of(line.data, name_len),
		bytes_of(colon + 1, line.len - name_len - 1));
}

static int head_add_fields(struct http1_head *head, struct bytes block)
{
	(void)line_next(&block); /* The request line is http-parser's. */
	for (;;) {
		struct bytes line = line_next(&block);
		int rc;

		if (line.len == 0) {
			assert(block.len == 0);
			return 0;
		}
		rc = head_add_field(head, line);
		if (rc != 0) {
			return rc;
		}
	}
}

struct line_reader {
	struct http1_head *head;
	bool complete;
};

static int url_cb(http_parser *hp, const char *at, size_t len)
{
	struct line_reader *reader = hp->data;

	buf_append(&reader->head->target, at, len);
	return 0;
}

static int headers_complete_cb(http_parser *hp)
{
	struct line_reader *reader = hp->data;

	reader->complete = true;
	reader->head->keep_alive = http_should_keep_alive(hp) != 0;
	return 1; /* The body is read here, not there. */
}

/* `method SP target SP version` and nothing more (RFC 9112 section 3): http-parser skips spaces. */
static bool line_exact(const http_parser *hp, const struct http1_head *head, struct bytes block)
{
	size_t method_len = strlen(http_method_str((enum http_method)hp->method));

	return line_next(&block).len == method_len + 1 + head->target.len + strlen(" HTTP/1.1");
}

static int head_read_line(struct http1_head *head, struct bytes block)
{
	struct line_reader reader = {.head = head};
	http_parser_settings settings;
	http_parser hp;

	http_parser_settings_init(&settings);
	settings.on_url = url_cb;
	settings.on_headers_complete = headers_complete_cb;
	http_parser_init(&hp, HTTP_REQUEST);
	hp.data = &reader;
	(void)http_parser_execute(&hp, &settings, (const char *)block.data, block.len);
	if (HTTP_PARSER_ERRNO(&hp) != HPE_OK || !reader.complete || hp.http_major != 1 ||
		hp.http_minor > 1) {
		return KLUIS_EINVAL;
	}
	if (!line_exact(&hp, head, block)) {
		return KLUIS_EINVAL;
	}
	head->minor = hp.http_minor;
	head->verb = http_verb_of(bytes_str(http_method_str((enum http_method)hp.method)));
	if (hp.http_minor == 0) {
		struct bytes value;

		/* RFC 9112 section 6.1: framing of a 1.0 message with a coding is in doubt. */
		return http_fields_get(&head->fields, "transfer-encoding", &value) == 0 &&
				       http_fields_get(&head->fields, "host", &value) <= 1
			       ? 0
			       : KLUIS_EINVAL;
	}
	return 0;
}

/* RFC 9112 section 6.3, the strict reading. */
static int head_frame(struct http1_head *head)
{
	struct bytes length, coding;
	unsigned n_length = http_fields_get(&head->fields, "content-length", &length);
	unsigned n_coding = http_fields_get(&head->fields, "transfer-encoding", &coding);

	if (n_length > 1 || n_coding > 1 || (n_length == 1 && n_coding == 1)) {
		return KLUIS_EINVAL;
	}
	if (n_coding == 1) {
		head->chunked = head->has_body = true;
		return bytes_is_nocase(coding, "chunked") ? 0 : KLUIS_EINVAL;
	}
	if (n_length == 1) {
		if (u64_parse(length, INT64_MAX, &head->length) != 0) {
			return KLUIS_EINVAL;
		}
		head->has_body = head->length > 0;
	}
	return 0;
}

/* RFC 9112 section 3.2.2: a target in absolute form is as good as one in origin form, which it
 * becomes. Host has to say the same: two names for one request are two requests to two readers. */
static int head_absolute(struct http1_head *head)
{
	struct bytes path, authority, host;

	if (!http_target_absolute(buf_bytes(&head->target), &authority, &path)) {
		return 0;
	}
	if (http_fields_get(&head->fields, "host", &host) > 0 &&
		!bytes_equal_nocase(host, authority)) {
		return KLUIS_EINVAL;
	}
	buf_consume(&head->target, head->target.len - path.len);
	if (head->target.len == 0 || head->target.data[0] == '?') {
		_cleanup_(buf_release) struct buf query = head->target;

		head->target = BUF_INIT;
		buf_append(&head->target, "/", 1);
		buf_append_bytes(&head->target, buf_bytes(&query));
	}
	return 0;
}

static int head_check(struct http1_head *head)
{
	struct bytes value;
	unsigned n_host = http_fields_get(&head->fields, "host", &value);

	if (n_host > 1 || (n_host == 0 && head->minor == 1)) {
		return KLUIS_EINVAL;
	}
	if (n_host == 1 && memchr(value.data, ',', value.len) != NULL) {
		return KLUIS_EINVAL;
	}
	if (http_fields_get(&head->fields, "expect", &value) > 0) {
		if (!bytes_is_nocase(value, "100-continue")) {
			return KLUIS_EINVAL;
		}
		head->expect_continue = head->minor == 1;
	}
	return head->target.len > HTTP_TARGET_BYTES_MAX ? KLUIS_ETOOLARGE : head_absolute(head);
}

static int block_done(struct http1_parser *parser)
{
	struct bytes block = buf_bytes(&parser->block);
	struct http1_head *head = &parser->head;
	int rc = head_add_fields(head, block);

	if (rc == 0) {
		rc = head_read_line(head, block);
	}
	if (rc == 0) {
		rc = head_check(head);
	}
	if (rc == 0) {
		rc = head_frame(head);
	}
	if (rc != 0) {
		return parser_fail(parser, rc);
	}
	buf_clear(&parser->block);
	parser->state = STATE_HEAD_DONE;
	return HTTP1_HEAD;
}

static int feed_block(struct http1_parser *p, struct bytes bytes, size_t *taken)
{
	if (p->block.data == NULL) { /* Most fit: growing would leave copies behind. */
		buf_reserve(&p->block, HTTP_FIELDS_USUAL_BYTES);
	}
	if (p->block.len == 0) {
		/* The request line is not empty: one that is starts here and is refused. */
		p->line_empty = p->line_cr = false;
	}
	for (size_t i = 0; i < bytes.len; i++) {
		int rc = block_byte(p, bytes.data[i]);

		if (rc < 0) {
			return parser_fail(p, rc);
		}
		if (p->block.len + i == HTTP_HEADER_BYTES_MAX) {
			return parser_fail(p, KLUIS_EHEADERS);
		}
		if (rc == 1) {
			buf_append(&p->block, bytes.data, i + 1);
			*taken = i + 1;
			return block_done(p);
		}
	}
	buf_append_bytes(&p->block, bytes);
	*taken = bytes.len;
	return HTTP1_MORE;
}

static int feed_piece(struct http1_parser *p, struct bytes bytes, size_t *taken, unsigned next)
{
	size_t n = bytes.len < p->left ? bytes.len : (size_t)p->left;

	p->piece = bytes_of(bytes.data, n);
	p->left -= n;
	*taken = n;
	if (p->left == 0) {
		p->state = next;
	}
	return HTTP1_BODY;
}

static int size_digit(struct http1_parser *p, uint8_t c)
{
	uint8_t low = c | 0x20;
	unsigned value;

	if (c >= '0' && c <= '9') {
		value = (unsigned)(c - '0');
	} else if (low >= 'a' && low <= 'f') {
		value = (unsigned)(low - 'a') + 10;
	} else {
		return KLUIS_EINVAL;
	}
	if (++p->digits > CHUNK_DIGITS_MAX) {
		return KLUIS_EINVAL;
	}
	p->left = p->left * 16 + value;
	return 0;
}

/* `1*HEXDIG [ ";" extension ] CRLF`; what the extension says is ignored. */
static int size_byte(struct http1_parser *p, uint8_t c)
{
	if (p->line_cr) {
		if (c != '\n' || p->digits == 0) {
			return KLUIS_EINVAL;
		}
		p->line_cr = false;
		p->line_empty = true;
		p->state = p->left == 0 ? STATE_TRAILER : STATE_CHUNK;
		return 0;
	}
	if (c == '\r') {
		p->line_cr = true;
		return 0;
	}
	if (p->line_empty && c != ';') {
		return size_digit(p, c); /* line_empty: no extension yet. */
	}
	p->line_empty = false;
	if ((c < 0x20 && c != '\t') || c == 0x7f || ++p->aside > ASIDE_BYTES_MAX) {
		return KLUIS_EINVAL;
	}
	return 0;
}

static void size_start(struct http1_parser *p)
{
	p->state = STATE_SIZE;
	p->left = 0;
	p->digits = 0;
	p->line_cr = false;
	p->line_empty = true;
}

static int trailer_byte(struct http1_parser *p, uint8_t c)
{
	int rc = ++p->aside > ASIDE_BYTES_MAX ? KLUIS_EINVAL : block_byte(p, c);

	if (rc == 1) {
		p->state = STATE_END;
		rc = 0;
	}
	return rc;
}

static int chunk_byte(struct http1_parser *p, uint8_t c)
{
	switch (p->state) {
	case STATE_SIZE:
		return size_byte(p, c);
	case STATE_CHUNK_CR:
		p->state = STATE_CHUNK_LF;
		return c == '\r' ? 0 : KLUIS_EINVAL;
	case STATE_CHUNK_LF:
		size_start(p);
		return c == '\n' ? 0 : KLUIS_EINVAL;
	default:
		assert(p->state == STATE_TRAILER);
		return trailer_byte(p, c);
	}
}

static void body_start(struct http1_parser *p)
{
	p->aside = 0;
	if (p->head.chunked) {
		size_start(p);
	} else {
		p->left = p->head.length;
		p->state = p->left == 0 ? STATE_END : STATE_LENGTH;
	}
}

static int request_end(struct http1_parser *p)
{
	buf_release(&p->head.target);
	http_fields_release(&p->head.fields);
	p->head = (struct http1_head){0};
	p->state = STATE_BLOCK;
	return HTTP1_END;
}

int http1_parser_feed(struct http1_parser *p, struct bytes bytes, size_t *ret_taken)
{
	size_t done = 0;

	*ret_taken = 0;
	if (p->state == STATE_HEAD_DONE) {
		body_start(p);
	}
	while (p->state != STATE_END && done < bytes.len) {
		struct bytes rest = bytes_of(bytes.data + done, bytes.len - done);
		size_t taken = 0;
		int rc;

		switch (p->state) {
		case STATE_FAILED:
			return KLUIS_EINVAL;
		case STATE_BLOCK:
			rc = feed_block(p, rest, &taken);
			*ret_taken = done + taken;
			return rc;
		case STATE_LENGTH:
		case STATE_CHUNK:
			rc = feed_piece(p, rest, &taken,
				p->state == STATE_LENGTH ? STATE_END : STATE_CHUNK_CR);
			*ret_taken = done + taken;
			return rc;
		default:
			rc = chunk_byte(p, rest.data[0]);
			if (rc != 0) {
				return parser_fail(p, rc);
			}
			done++;
		}
	}
	*ret_taken = done;
	return p->state == STATE_END ? request_end(p) : HTTP1_MORE;
}

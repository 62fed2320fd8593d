#include "node/http_message.h"

#include <string.h>

#include "base/limits.h"
#include "crypto/secret.h"

static const char *const verb_names[VERB_MAX] = {
	[VERB_OTHER] = "?",
	[VERB_GET] = "GET",
	[VERB_HEAD] = "HEAD",
	[VERB_POST] = "POST",
	[VERB_PUT] = "PUT",
	[VERB_PATCH] = "PATCH",
	[VERB_DELETE] = "DELETE",
};

const char *http_verb_name(enum http_verb verb)
{
	return verb < VERB_MAX ? verb_names[verb] : "?";
}

enum http_verb http_verb_of(struct bytes name)
{
	for (enum http_verb verb = VERB_GET; verb < VERB_MAX; verb++) {
		if (bytes_is(name, verb_names[verb])) {
			return verb;
		}
	}
	return VERB_OTHER;
}

bool bytes_is(struct bytes bytes, const char *text)
{
	return bytes_equal(bytes, bytes_str(text));
}

static uint8_t ascii_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
	if (a.len != b.len) {
		return false;
	}
	for (size_t i = 0; i < a.len; i++) {
		if (ascii_lower(a.data[i]) != ascii_lower(b.data[i])) {
			return false;
		}
	}
	return true;
}

bool bytes_is_nocase(struct bytes bytes, const char *text)
{
	return bytes_equal_nocase(bytes, bytes_str(text));
}

struct bytes bytes_trim(struct bytes b)
{
	while (b.len > 0 && (b.data[0] == ' ' || b.data[0] == '\t')) {
		b = bytes_of(b.data + 1, b.len - 1);
	}
	while (b.len > 0 && (b.data[b.len - 1] == ' ' || b.data[b.len - 1] == '\t')) {
		b.len--;
	}
	return b;
}

/* RFC 9110 section 5.6.2. */
static bool field_is_token(struct bytes name)
{
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];
		bool alnum =
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!alnum && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
			return false;
		}
	}
	return name.len > 0;
}

static bool field_value_ok(struct bytes value)
{
	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = value.data[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f) {
			return false;
		}
	}
	return true;
}

void http_fields_release(struct http_fields *fields)
{
	secret_buf_release(&fields->text); /* Tokens. */
	fields->n = 0;
	fields->counted = 0;
}

int http_fields_add(struct http_fields *fields, struct bytes name, struct bytes value)
{
	struct http_field_at *at;

	value = bytes_trim(value);
	if (fields->n == HTTP_HEADERS_MAX || name.len > HTTP_HEADER_BYTES_MAX ||
		value.len > HTTP_HEADER_BYTES_MAX ||
		fields->counted + name.len + value.len + 32 > HTTP_HEADER_BYTES_MAX) {
		return KLUIS_EHEADERS;
	}
	if (!field_is_token(name) || !field_value_ok(value)) {
		return KLUIS_EINVAL;
	}
	if (fields->n == 0) { /* Most fit: growing would leave copies behind. */
		buf_reserve(&fields->text, HTTP_FIELDS_USUAL_BYTES);
	}
	at = &fields->at[fields->n++];
	fields->counted += name.len + value.len + 32;
	*at = (struct http_field_at){(uint32_t)fields->text.len, (uint32_t)name.len,
		(uint32_t)(fields->text.len + name.len), (uint32_t)value.len};
	buf_append_bytes(&fields->text, name);
	buf_append_bytes(&fields->text, value);
	for (size_t i = 0; i < name.len; i++) {
		uint8_t *c = &fields->text.data[at->name_at + i];

		*c = ascii_lower(*c);
	}
	return 0;
}

static struct bytes field_name(const struct http_fields *fields, unsigned i)
{
	return bytes_of(fields->text.data + fields->at[i].name_at, fields->at[i].name_len);
}

static struct bytes field_value(const struct http_fields *fields, unsigned i)
{
	return bytes_of(fields->text.data + fields->at[i].value_at, fields->at[i].value_len);
}

unsigned http_fields_get(
	const struct http_fields *fields, const char *name, struct bytes *ret_value)
{
	unsigned found = 0;

	for (unsigned i = 0; i < fields->n; i++) {
		if (bytes_is(field_name(fields, i), name) && found++ == 0) {
			*ret_value = field_value(fields, i);
		}
	}
	return found;
}

bool http_target_absolute(struct bytes target, struct bytes *ret_authority, struct bytes *ret_path)
{
	static const char *const schemes[] = {"https://", "http://"};

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		size_t skip = strlen(schemes[i]), len = 0;
		const uint8_t *at = target.data + skip;

		if (target.len <= skip ||
			!bytes_is_nocase(bytes_of(target.data, skip), schemes[i])) {
			continue;
		}
		while (len < target.len - skip && at[len] != '/' && at[len] != '?') {
			if (at[len] == '@' || at[len] == '#') {
				return false; /* RFC 9110 section 4.2.4: a user there is a trap. */
			}
			len++;
		}
		*ret_authority = bytes_of(at, len);
		*ret_path = bytes_of(at + len, target.len - skip - len);
		return len > 0;
	}
	return false;
}

int http_target_split(struct bytes target, struct bytes *ret_path, struct bytes *ret_query)
{
	const uint8_t *mark;
	size_t path_len;

	if (target.len > HTTP_TARGET_BYTES_MAX) {
		return KLUIS_ETOOLARGE;
	}
	if (target.len == 0 || target.data[0] != '/') {
		return KLUIS_EINVAL;
	}
	for (size_t i = 0; i < target.len; i++) {
		if (target.data[i] <= 0x20 || target.data[i] >= 0x7f || target.data[i] == '#') {
			return KLUIS_EINVAL;
		}
	}
	mark = memchr(target.data, '?', target.len);
	path_len = mark == NULL ? target.len : (size_t)(mark - target.data);
	*ret_path = bytes_of(target.data, path_len);
	*ret_query = mark == NULL ? bytes_of(target.data + target.len, 0)
				  : bytes_of(mark + 1, target.len - path_len - 1);
	return 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int http_percent_decode(struct bytes text, size_t max, struct buf *to)
{
	for (size_t i = 0, n = 0; i < text.len; i++, n++) {
		uint8_t c = text.data[i];

		if (n == max) {
			return KLUIS_ETOOLARGE;
		}
		if (c == '%') {
			int high = text.len - i > 2 ? hex_digit(text.data[i + 1]) : -1;
			int low = text.len - i > 2 ? hex_digit(text.data[i + 2]) : -1;

			if (high < 0 || low < 0) {
				return KLUIS_EINVAL;
			}
			c = (uint8_t)(high * 16 + low);
			/* A decoded separator would let one segment pass for two further on. */
			if (c < 0x20 || c == 0x7f || c == '/' || c == '\\') {
				return KLUIS_EINVAL;
			}
			i += 2;
		}
		buf_append(to, &c, 1);
	}
	return 0;
}

bool http_query_next(struct bytes *query, struct bytes *ret_name, struct bytes *ret_value)
{
	const uint8_t *end, *equals;
	size_t len, name_len;

	if (query->len == 0) {
		return false;
	}
	end = memchr(query->data, '&', query->len);
	len = end == NULL ? query->len : (size_t)(end - query->data);
	equals = len == 0 ? NULL : memchr(query->data, '=', len);
	name_len = equals == NULL ? len : (size_t)(equals - query->data);
	*ret_name = bytes_of(query->data, name_len);
	*ret_value = equals == NULL ? bytes_of(query->data + len, 0)
				    : bytes_of(equals + 1, len - name_len - 1);
	len += end == NULL ? 0 : 1;
	*query = bytes_of(query->data + len, query->len - len);
	return true;
}

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
		{100, "Continue"},
		{101, "Switching Protocols"},
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{206, "Partial Content"},
		{304, "Not Modified"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{409, "Conflict"},
		{410, "Gone"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{415, "Unsupported Media Type"},
		{416, "Range Not Satisfiable"},
		{422, "Unprocessable Content"},
		{428, "Precondition Required"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{507, "Insufficient Storage"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].status == status) {
			return reasons[i].text;
		}
	}
	return "Unknown";
}

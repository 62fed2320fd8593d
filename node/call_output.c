/* How handlers make replies: node/api_call.h. */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/hash.h"
#include "node/api_core.h"
#include "node/call_input.h"

struct bytes call_body(const struct api_call *call)
{
	return buf_bytes(&call->req->body);
}

struct command_session call_session(const struct api_call *call)
{
	struct command_session session;

	assert(call->has_token);
	memcpy(session.token_hash, call->token_hash, sizeof session.token_hash);
	return session;
}

struct bytes call_actor(const struct api_call *call)
{
	return bytes_str(call->actor);
}

struct command_once call_once(const struct api_call *call)
{
	struct command_once once = {.key = buf_bytes(&call->once_key)};

	hash_sha256(call_body(call), once.body_hash);
	return once;
}

int call_reply(struct api_call *call, struct command_reply *ret_reply)
{
	if (call->rc != 0) {
		return call->rc;
	}
	return command_reply_decode(call->propose.reply, ret_reply) == 0
		       ? 0
		       : call_fail(call, KLUIS_EINTERNAL, "state machine's answer is malformed");
}

void call_json(struct api_call *call, int status, json_t *body)
{
	assert(call->body.len == 0);
	call->status = status;
	call->content_type = "application/json";
	json_finish(body, &call->body);
}

void call_no_content(struct api_call *call)
{
	call->status = 204;
	call->content_type = NULL;
}

json_t *call_list_make(const struct api_call *call, json_t *items, struct bytes key)
{
	_cleanup_(buf_release) struct buf next = BUF_INIT;

	if (key.len > 0) {
		cursor_format((unsigned)(call->route - api_routes), call->api->config.lineage, key,
			&next);
	}
	return json_make_list(items, key.len > 0 ? buf_str(&next) : NULL);
}

void call_list(struct api_call *call, json_t *items, struct bytes key)
{
	call_json(call, 200, call_list_make(call, items, key));
}

int call_list_all(struct api_call *call, json_t *all)
{
	json_t *items = json_array();
	uint8_t key[4];
	const uint8_t *cursor = NULL;
	size_t n = json_array_size(all), at;
	int rc = call_cursor(call, sizeof key, &cursor);

	if (rc == 0) {
		at = cursor == NULL ? 0 : load_u32(cursor);
		while (at < n && json_array_size(items) < call->limit) {
			(void)json_array_append(items, json_array_get(all, at++));
		}
		store_u32(key, (uint32_t)at);
		call_list(call, items, bytes_of(key, at < n ? sizeof key : 0));
	} else {
		json_decref(items);
	}
	json_decref(all);
	return rc;
}

int call_cursor(struct api_call *call, size_t len, const uint8_t **ret_key)
{
	if (!call->has_cursor) {
		*ret_key = NULL;
		return 0;
	}
	if (call->cursor.len != len) {
		return call_fail(call, KLUIS_EINVAL, "query parameter 'cursor' is malformed");
	}
	*ret_key = call->cursor.data;
	return 0;
}

int call_not_modified(struct api_call *call, bool *ret_not_modified)
{
	struct bytes value;
	bool match = false;
	unsigned n = http_fields_get(&call->req->fields, "if-none-match", &value);

	assert(call->etag[0] != '\0');
	if (n > 0 && (n > 1 || etag_match(value, call->etag, true, &match) != 0)) {
		return call_fail(call, KLUIS_EINVAL, "'If-None-Match' is malformed");
	}
	if (match) {
		call->status = 304;
		call->content_type = NULL;
		buf_clear(&call->body);
	}
	*ret_not_modified = match;
	return 0;
}

int call_if_match(struct api_call *call, const char *current)
{
	struct bytes value;
	bool match = false;
	unsigned n = http_fields_get(&call->req->fields, "if-match", &value);

	if (n == 0) {
		return call_fail(call, KLUIS_EPRECONDITION_REQUIRED, "'If-Match' is missing");
	}
	if (n > 1 || etag_match(value, current, false, &match) != 0) {
		return call_fail(call, KLUIS_EINVAL, "'If-Match' is malformed");
	}
	if (match) {
		return 0;
	}
	if (current != NULL) {
		memcpy(call->current_etag, current, strlen(current) + 1);
	}
	return call_fail(call, KLUIS_EPRECONDITION, "the object has changed");
}

/* RFC 9110 section 13.1.5: a range of something else would be no part of what the client has. */
static bool range_wanted(struct api_call *call, struct bytes *ret_range)
{
	struct bytes value;
	bool match = false;

	if (http_fields_get(&call->req->fields, "range", ret_range) != 1 ||
		call->req->verb != VERB_GET) {
		return false;
	}
	if (http_fields_get(&call->req->fields, "if-range", &value) > 0) {
		return etag_match(value, call->etag, false, &match) == 0 && match;
	}
	return true;
}

int call_octets(struct api_call *call, struct buf *bytes)
{
	struct bytes range;
	uint64_t first = 0, len = bytes->len;
	bool not_modified = false;
	int rc = call_not_modified(call, &not_modified);

	if (rc != 0 || not_modified) {
		return rc;
	}
	call->accept_ranges = true;
	call->content_type = "application/octet-stream";
	call->status = 200;
	if (range_wanted(call, &range)) {
		rc = range_parse(range, bytes->len, &first, &len);
		if (rc == KLUIS_ERANGE) {
			call->problem_limit = bytes->len;
			/* RFC 9110 section 14.4: so the client learns what it may ask for. */
			buf_printf(&call->content_range, "bytes */%zu", bytes->len);
			return call_fail(call, rc, "the object has %zu bytes", bytes->len);
		}
		if (rc == 0) {
			call->status = 206;
			buf_printf(&call->content_range, "bytes %llu-%llu/%zu",
				(unsigned long long)first, (unsigned long long)(first + len - 1),
				bytes->len);
			buf_consume(bytes, first);
			bytes->len = len;
		}
	}
	buf_release(&call->body);
	call->body = *bytes;
	*bytes = BUF_INIT;
	return 0;
}

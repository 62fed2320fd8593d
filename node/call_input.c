#include "node/call_input.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "node/api_core.h"
#include "node/api_handlers.h"

enum { QUERY_VALUE_BYTES_MAX = 256 };

int call_token(const struct http_request *req, const char prefix[4], uint8_t ret_hash[32])
{
	static const char scheme[] = "Bearer ";
	struct bytes value;

	if (http_fields_get(&req->fields, "authorization", &value) != 1 ||
		value.len != sizeof scheme - 1 + API_TOKEN_CHARS ||
		!bytes_is_nocase(bytes_of(value.data, sizeof scheme - 1), scheme)) {
		return KLUIS_EUNAUTHENTICATED;
	}
	return api_token_hash(bytes_of(value.data + sizeof scheme - 1, API_TOKEN_CHARS), prefix,
		       ret_hash) == 0
		       ? 0
		       : KLUIS_EUNAUTHENTICATED;
}

int call_route_token(const struct http_request *req, const struct route *route,
	uint8_t ret_hash[32], bool *ret_inbox)
{
	*ret_inbox = route->inbox && call_token(req, "kin_", ret_hash) == 0;
	return *ret_inbox ? 0 : call_token(req, "kst_", ret_hash);
}

static int input_params(struct api_call *call)
{
	struct route_match match;
	int rc = route_find(
		call->route, 1, call->route->verb, call->req->path, call->req->admin, &match);

	assert(rc == 0);
	for (unsigned i = 0; i < match.n_params && rc == 0; i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;

		rc = http_percent_decode(match.param[i], API_PARAM_BYTES_MAX, &text);
		if (rc != 0) {
			return call_fail(call, KLUIS_EINVAL, "path is malformed");
		}
		memcpy(call->param[i], buf_str(&text), text.len + 1);
	}
	return rc;
}

static int query_consistency(struct api_call *call, struct bytes value)
{
	static const char *const names[] = {
		[CALL_LINEARIZABLE] = "linearizable",
		[CALL_SESSION] = "session",
		[CALL_STALE] = "stale",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (bytes_is(value, names[i])) {
			call->consistency = (enum call_consistency)i;
			return 0;
		}
	}
	return KLUIS_EINVAL;
}

static int query_limit(struct api_call *call, struct bytes value)
{
	uint64_t limit;
	int rc = u64_parse(value, LIST_LIMIT_MAX, &limit);

	if (rc == 0 && limit == 0) {
		rc = KLUIS_EINVAL;
	}
	if (rc == 0) {
		call->limit = (unsigned)limit;
	}
	return rc;
}

static int query_cursor(struct api_call *call, struct bytes value)
{
	call->has_cursor = true;
	return cursor_parse(value, (unsigned)(call->route - api_routes), call->api->config.lineage,
		&call->cursor);
}

static int query_since(struct api_call *call, struct bytes value)
{
	buf_append_bytes(&call->since, value);
	return 0;
}

static int query_wait(struct api_call *call, struct bytes value)
{
	return u64_parse(value, API_WAIT_MS_MAX, &call->wait_ms);
}

static int query_news_wait(struct api_call *call, struct bytes value)
{
	return u64_parse(value, EVENT_WAIT_MS_MAX, &call->wait_ms);
}

static int query_purge(struct api_call *call, struct bytes value)
{
	call->purge = bytes_is(value, "1");
	return call->purge || bytes_is(value, "0") ? 0 : KLUIS_EINVAL;
}

static int query_id(struct api_call *call, struct bytes value)
{
	char text[HEX_LEN(16) + 1];

	if (value.len != HEX_LEN(16)) {
		return KLUIS_EINVAL;
	}
	memcpy(text, value.data, value.len);
	text[value.len] = '\0';
	return hex_decode(text, call->id, 16);
}

static int query_slot(struct api_call *call, struct bytes value)
{
	call->has_slot = true;
	return query_id(call, value);
}

static int query_after(struct api_call *call, struct bytes value)
{
	return u64_parse(value, INT64_MAX, &call->since_seq);
}

static int query_object(struct api_call *call, struct bytes value)
{
	call->has_object = true;
	return query_id(call, value);
}

static const struct query_param {
	const char *name;
	unsigned flag; /* 0: of every ROUTE_READ. */
	int (*take)(struct api_call *call, struct bytes value);
} query_params[] = {
	{"consistency", 0, query_consistency},
	{"wait_ms", 0, query_wait},
	{"wait_ms", QUERY_NEWS, query_news_wait},
	{"limit", QUERY_LIMIT, query_limit},
	{"cursor", QUERY_CURSOR, query_cursor},
	{"since", QUERY_SINCE, query_since},
	{"purge", QUERY_PURGE, query_purge},
	{"slot", QUERY_SLOT, query_slot},
	{"object", QUERY_OBJECT, query_object},
	{"after", QUERY_AFTER, query_after},
};

static bool query_allowed(const struct route *route, const struct query_param *param)
{
	return param->flag == 0 ? route->state == ROUTE_READ : (route->query & param->flag) != 0;
}

static int query_take(struct api_call *call, unsigned *seen, struct bytes name, struct bytes value)
{
	for (unsigned i = 0; i < ARRAY_SIZE(query_params); i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;
		int rc;

		if (!bytes_is(name, query_params[i].name) ||
			!query_allowed(call->route, &query_params[i])) {
			continue;
		}
		if ((*seen & BIT(i)) != 0) {
			break;
		}
		*seen |= BIT(i);
		rc = http_percent_decode(value, QUERY_VALUE_BYTES_MAX, &text);
		if (rc == 0) {
			rc = query_params[i].take(call, buf_bytes(&text));
		}
		if (rc == KLUIS_ELINEAGE) {
			return call_fail(call, rc, "'%s' is of the cluster before it was restored",
				query_params[i].name);
		}
		return rc == 0 ? 0
			       : call_fail(call, KLUIS_EINVAL, "query parameter '%s' is malformed",
					 query_params[i].name);
	}
	return call_fail(call, KLUIS_EINVAL, "query has an unknown or repeated parameter");
}

static int input_query(struct api_call *call)
{
	struct bytes query = call->req->query, name, value;
	unsigned seen = 0;

	call->limit = LIST_LIMIT_DEFAULT;
	call->wait_ms = API_WAIT_MS_DEFAULT;
	while (http_query_next(&query, &name, &value)) {
		int rc = query_take(call, &seen, name, value);

		if (rc != 0) {
			return rc;
		}
	}
	return 0;
}

static int input_min_index(struct api_call *call)
{
	struct bytes value;
	unsigned n = http_fields_get(&call->req->fields, "kluis-min-index", &value);
	int rc;

	if (n == 0) {
		return call->consistency == CALL_SESSION
			       ? call_fail(call, KLUIS_EINVAL, "'Kluis-Min-Index' is missing")
			       : 0;
	}
	rc = n == 1 ? lineage_index_parse(value, call->api->config.lineage, &call->min_index)
		    : KLUIS_EINVAL;
	if (rc == KLUIS_ELINEAGE) {
		return call_fail(
			call, rc, "'Kluis-Min-Index' is of the cluster before it was restored");
	}
	call->has_min_index = true;
	return rc == 0 ? 0 : call_fail(call, rc, "'Kluis-Min-Index' is malformed");
}

static int input_once(struct api_call *call)
{
	struct bytes value;
	unsigned n = http_fields_get(&call->req->fields, "idempotency-key", &value);

	if (n == 0) {
		return call_fail(
			call, KLUIS_EPRECONDITION_REQUIRED, "'Idempotency-Key' is missing");
	}
	if (n > 1 || value.len == 0 || value.len > IDEMPOTENCY_KEY_BYTES_MAX) {
		return call_fail(call, KLUIS_EINVAL, "'Idempotency-Key' is malformed");
	}
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] <= 0x20 || value.data[i] >= 0x7f) {
			return call_fail(call, KLUIS_EINVAL, "'Idempotency-Key' is malformed");
		}
	}
	buf_append_bytes(&call->once_key, value);
	return 0;
}

int call_input(struct api_call *call)
{
	int rc = input_params(call);

	if (rc == 0 && route_has_token(call->route)) {
		rc = call_route_token(
			call->req, call->route, call->token_hash, &call->by_inbox_token);
		call->has_token = rc == 0;
	}
	if (call->route->auth == ROUTE_ADMIN) {
		(void)snprintf(
			call->actor, sizeof call->actor, "uid %ld", (long)(int)call->req->uid);
	}
	if (rc == 0) {
		rc = input_query(call);
	}
	if (rc == 0) {
		rc = input_min_index(call);
	}
	if (rc == 0 && call->route->once) {
		rc = input_once(call);
	}
	return rc;
}

int call_param_id(struct api_call *call, unsigned i, uint8_t to[16])
{
	return strlen(call->param[i]) == HEX_LEN(16) && hex_decode(call->param[i], to, 16) == 0
		       ? 0
		       : call_fail(call, KLUIS_EINVAL, "path holds no id of 32 hex digits");
}

int call_param_hash(struct api_call *call, unsigned i, uint8_t to[32])
{
	return strlen(call->param[i]) == HEX_LEN(32) && hex_decode(call->param[i], to, 32) == 0
		       ? 0
		       : call_fail(call, KLUIS_EINVAL, "path holds no hash of 64 hex digits");
}

int call_param_u64(struct api_call *call, unsigned i, uint64_t *to)
{
	return u64_parse(bytes_str(call->param[i]), INT64_MAX, to) == 0
		       ? 0
		       : call_fail(call, KLUIS_EINVAL, "path holds no number");
}

#include "cli/client/json_reader.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"

static size_t json_depth(const json_t *value, size_t stop)
{
	size_t deepest = 0, depth, i;
	const char *key;
	json_t *item;

	if (stop == 0 || !(json_is_object(value) || json_is_array(value))) {
		return 1;
	}
	json_object_foreach((json_t *)value, key, item)
	{
		depth = json_depth(item, stop - 1);
		deepest = depth > deepest ? depth : deepest;
	}
	json_array_foreach(value, i, item)
	{
		depth = json_depth(item, stop - 1);
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest + 1;
}

int json_object_parse(struct bytes text, json_t **ret_value, struct err *e)
{
	json_error_t why;
	json_t *value = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);

	if (value == NULL) {
		return err_set(e, KLUIS_EPROTO, "JSON: %s", why.text);
	}
	if (!json_is_object(value) || json_depth(value, JSON_DEPTH_MAX) > JSON_DEPTH_MAX) {
		json_decref(value);
		return err_set(e, KLUIS_EPROTO, "JSON: no object, or nested too deep");
	}
	*ret_value = value;
	return 0;
}

struct json_reader json_reader_of(const json_t *object)
{
	return (struct json_reader){object, json_is_object(object) ? NULL : "an object"};
}

static const json_t *reader_get(struct json_reader *r, const char *key, json_type type)
{
	const json_t *value = r->failed != NULL ? NULL : json_object_get(r->object, key);

	if (value != NULL && json_typeof(value) == type) {
		return value;
	}
	r->failed = r->failed == NULL ? key : r->failed;
	return NULL;
}

const char *json_reader_string(struct json_reader *r, const char *key)
{
	const json_t *value = reader_get(r, key, JSON_STRING);

	return value == NULL ? "" : json_string_value(value);
}

const char *json_reader_string_or(struct json_reader *r, const char *key, const char *otherwise)
{
	const json_t *value = json_object_get(r->object, key);

	return value == NULL || json_is_null(value) ? otherwise : json_reader_string(r, key);
}

uint64_t json_reader_u64(struct json_reader *r, const char *key)
{
	const json_t *value = reader_get(r, key, JSON_INTEGER);

	if (value != NULL && json_integer_value(value) < 0) {
		r->failed = key;
		return 0;
	}
	return value == NULL ? 0 : (uint64_t)json_integer_value(value);
}

bool json_reader_bool(struct json_reader *r, const char *key)
{
	const json_t *value = r->failed != NULL ? NULL : json_object_get(r->object, key);

	if (!json_is_boolean(value)) {
		r->failed = r->failed == NULL ? key : r->failed;
		return false;
	}
	return json_is_true(value);
}

const json_t *json_reader_array(struct json_reader *r, const char *key)
{
	return reader_get(r, key, JSON_ARRAY);
}

const json_t *json_reader_object(struct json_reader *r, const char *key)
{
	return reader_get(r, key, JSON_OBJECT);
}

void json_reader_hex(struct json_reader *r, const char *key, void *to, size_t len)
{
	const char *text = json_reader_string(r, key);

	memset(to, 0, len);
	if (r->failed == NULL && hex_decode(text, to, len) != 0) {
		r->failed = key;
	}
}

void json_reader_base64(struct json_reader *r, const char *key, size_t max, struct buf *to)
{
	const char *text = json_reader_string(r, key);

	if (r->failed == NULL && base64_decode(bytes_str(text), max, to) != 0) {
		r->failed = key;
	}
}

void json_reader_base64_exact(struct json_reader *r, const char *key, void *to, size_t len)
{
	const char *text = json_reader_string(r, key);

	memset(to, 0, len);
	if (r->failed == NULL && base64_decode_exact(bytes_str(text), to, len) != 0) {
		r->failed = key;
	}
}

int json_reader_end(const struct json_reader *r, const char *what, struct err *e)
{
	if (r->failed == NULL) {
		return 0;
	}
	return err_set(e, KLUIS_EPROTO, "%s: '%s' is missing or malformed", what, r->failed);
}

json_t *json_hex(struct bytes bytes)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	hex_append(&text, bytes);
	return json_stringn(buf_str(&text), text.len);
}

json_t *json_base64(struct bytes bytes)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	base64_append(&text, bytes);
	return json_stringn(buf_str(&text), text.len);
}

void json_take_text(json_t *value, struct buf *to)
{
	size_t len = json_dumpb(value, NULL, 0, JSON_COMPACT), wrote;

	assert(len > 0);	  /* Our own values always print. */
	buf_reserve(to, len + 1); /* At once: growing leaves copies of what may be a secret. */
	wrote = json_dumpb(value, (char *)buf_extend(to, len), len, JSON_COMPACT);
	assert(wrote == len);
	json_decref(value);
}

void json_dropp(json_t **value)
{
	json_decref(*value);
}

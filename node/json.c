#include "node/json.h"

#include <assert.h>
#include <malloc.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"

/* jansson stops at depth 2,048 only; a string's brackets do not count. */
static bool depth_ok(struct bytes body)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < body.len; i++) {
		uint8_t c = body.data[i];

		if (in_string) {
			i += c == '\\' ? 1 : 0;
			in_string = c != '"';
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_DEPTH_MAX) {
				return false;
			}
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

static void reader_fail(struct json_in *reader, const char *name, const char *what)
{
	if (reader->rc == 0) {
		reader->rc = err_set(reader->e, KLUIS_EINVAL, "'%s' %s", name, what);
	}
}

static void *clearing_malloc(size_t bytes)
{
	return malloc(bytes);
}

static void clearing_free(void *ptr)
{
	if (ptr != NULL) {
		explicit_bzero(ptr, malloc_usable_size(ptr));
		free(ptr);
	}
}

void json_clear_freed(void)
{
	json_set_alloc_funcs(clearing_malloc, clearing_free);
}

void json_in_begin(struct json_in *reader, struct bytes body, struct err *e)
{
	json_error_t error;

	*reader = (struct json_in){.e = e};
	if (!depth_ok(body)) {
		reader->rc = err_set(e, KLUIS_EINVAL, "body is nested too deeply");
		return;
	}
	reader->root =
		json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &error);
	if (reader->root == NULL) {
		reader->rc = err_set(e, KLUIS_EINVAL, "body is not JSON: byte %d", error.position);
	} else if (!json_is_object(reader->root)) {
		reader->rc = err_set(e, KLUIS_EINVAL, "body is no JSON object");
	}
}

int json_in_end(struct json_in *reader)
{
	if (reader->rc == 0 && reader->used != json_object_size(reader->root)) {
		reader->rc = err_set(reader->e, KLUIS_EINVAL, "body has an unknown field");
	}
	json_decref(reader->root);
	reader->root = NULL;
	return reader->rc;
}

bool json_in_has(struct json_in *reader, const char *name)
{
	return reader->rc == 0 && json_object_get(reader->root, name) != NULL;
}

static const json_t *reader_take(struct json_in *reader, const char *name, json_type type)
{
	const json_t *value;

	if (reader->rc != 0) {
		return NULL;
	}
	value = json_object_get(reader->root, name);
	if (value == NULL) {
		reader_fail(reader, name, "is missing");
		return NULL;
	}
	reader->used++;
	if (json_typeof(value) != type) {
		reader_fail(reader, name, "has another type");
		return NULL;
	}
	return value;
}

static bool reader_text(struct json_in *reader, const char *name, struct bytes *ret_text)
{
	const json_t *value = reader_take(reader, name, JSON_STRING);

	if (value != NULL) {
		*ret_text = bytes_of(json_string_value(value), json_string_length(value));
	}
	return value != NULL;
}

/* The list's size, 1 .. max; 0 after an error. */
static size_t reader_list(
	struct json_in *reader, const char *name, size_t max, const json_t **ret_array)
{
	const json_t *array = reader_take(reader, name, JSON_ARRAY);
	size_t n = array == NULL ? 0 : json_array_size(array);

	if (array != NULL && (n == 0 || n > max)) {
		reader_fail(reader, name, "has too few or too many items");
		return 0;
	}
	*ret_array = array;
	return n;
}

size_t json_in_texts(
	struct json_in *reader, const char *name, size_t max, size_t bytes_max, struct buf *to)
{
	const json_t *array = NULL;
	size_t n = reader_list(reader, name, max, &array);

	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(array, i);
		size_t len = json_string_length(item);

		/* jansson refuses a NUL in what it parses. */
		if (!json_is_string(item) || len == 0 || len > bytes_max) {
			reader_fail(reader, name, "holds something that is no such text");
			return 0;
		}
		buf_append(to, json_string_value(item), len + 1);
	}
	return n;
}

void json_in_string(struct json_in *reader, const char *name, size_t max, struct buf *to)
{
	struct bytes text;

	if (!reader_text(reader, name, &text)) {
		return;
	}
	if (text.len > max) {
		reader_fail(reader, name, "is too long");
		return;
	}
	buf_append_bytes(to, text);
}

void json_in_binary(struct json_in *reader, const char *name, size_t max, struct buf *to)
{
	struct bytes text;

	if (reader_text(reader, name, &text) && base64_decode(text, max, to) != 0) {
		reader_fail(reader, name, "is no base64url of an allowed length");
	}
}

size_t json_in_binaries(
	struct json_in *reader, const char *name, size_t max, size_t bytes_max, struct buf *to)
{
	const json_t *array = reader_take(reader, name, JSON_ARRAY);
	size_t n = array == NULL ? 0 : json_array_size(array);

	assert(bytes_max <= UINT16_MAX);
	if (n > max) {
		reader_fail(reader, name, "has too many items");
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		_cleanup_(buf_release) struct buf item = BUF_INIT;
		const json_t *text = json_array_get(array, i);

		if (!json_is_string(text) ||
			base64_decode(bytes_of(json_string_value(text), json_string_length(text)),
				bytes_max, &item) != 0 ||
			item.len == 0) {
			reader_fail(reader, name,
				"holds something that is no base64url of an allowed length");
			return 0;
		}
		buf_put_lp16(to, buf_bytes(&item));
	}
	return n;
}

void json_in_binary_exact(struct json_in *reader, const char *name, void *to, size_t len)
{
	struct bytes text;

	if (reader_text(reader, name, &text) && base64_decode_exact(text, to, len) != 0) {
		reader_fail(reader, name, "is no base64url of the right length");
	}
}

void json_in_hex(struct json_in *reader, const char *name, void *to, size_t len)
{
	const json_t *value = reader_take(reader, name, JSON_STRING);

	if (value != NULL && (json_string_length(value) != HEX_LEN(len) ||
				     hex_decode(json_string_value(value), to, len) != 0)) {
		reader_fail(reader, name, "is no hex of the right length");
	}
}

uint64_t json_in_u64(struct json_in *reader, const char *name, uint64_t min, uint64_t max)
{
	const json_t *value = reader_take(reader, name, JSON_INTEGER);
	json_int_t number = value == NULL ? 0 : json_integer_value(value);

	if (value == NULL) {
		return min;
	}
	if (number < 0 || (uint64_t)number < min || (uint64_t)number > max) {
		reader_fail(reader, name, "is out of range");
		return min;
	}
	return (uint64_t)number;
}

bool json_in_bool(struct json_in *reader, const char *name)
{
	const json_t *value = reader->rc == 0 ? json_object_get(reader->root, name) : NULL;

	if (value == NULL || !json_is_boolean(value)) {
		reader_fail(reader, name, "is no boolean");
		return false;
	}
	reader->used++;
	return json_is_true(value);
}

/* Takes a reference of value, which may be NULL when reader has failed. */
static void reader_enter(struct json_in *reader, const json_t *value, struct json_in *ret_inner)
{
	*ret_inner = (struct json_in){.e = reader->e, .rc = reader->rc};
	if (reader->rc == 0) {
		/* Only counted: nothing is written through it. */
		ret_inner->root = json_incref((json_t *)(uintptr_t)value);
	}
}

void json_in_enter(struct json_in *reader, const char *name, struct json_in *ret_inner)
{
	const json_t *value = reader_take(reader, name, JSON_OBJECT);

	reader_enter(reader, value, ret_inner);
}

void json_in_leave(struct json_in *reader, struct json_in *inner)
{
	int rc = json_in_end(inner);

	if (reader->rc == 0) {
		reader->rc = rc;
	}
}

size_t json_in_objects(struct json_in *reader, const char *name, size_t max)
{
	const json_t *array;

	return reader_list(reader, name, max, &array);
}

void json_in_enter_nth(
	struct json_in *reader, const char *name, size_t n, struct json_in *ret_inner)
{
	const json_t *value = NULL;

	if (reader->rc == 0) {
		value = json_array_get(json_object_get(reader->root, name), n);
		assert(value != NULL);
		if (!json_is_object(value)) {
			reader_fail(reader, name, "holds what is no object");
		}
	}
	reader_enter(reader, value, ret_inner);
}

size_t json_in_u64s(struct json_in *reader, const char *name, uint64_t *to, size_t max)
{
	const json_t *array = NULL;
	size_t n = reader_list(reader, name, max, &array);

	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(array, i);

		if (!json_is_integer(item) || json_integer_value(item) < 0) {
			reader_fail(reader, name, "holds something that is no page number");
			return 0;
		}
		to[i] = (uint64_t)json_integer_value(item);
	}
	return n;
}

static json_t *text_of(struct buf *text)
{
	json_t *value = json_stringn((const char *)text->data, text->len);

	if (value == NULL) {
		value = text->len == 0 ? json_stringn("", 0) : json_null();
	}
	buf_release(text);
	return value;
}

static json_t *hex_of(const void *data, size_t len)
{
	struct buf text = BUF_INIT;

	hex_append(&text, bytes_of(data, len));
	return text_of(&text);
}

json_t *json_make_id(const uint8_t id[16])
{
	return hex_of(id, 16);
}

json_t *json_make_hash(const uint8_t hash[32])
{
	return hex_of(hash, 32);
}

json_t *json_make_base64(struct bytes bytes)
{
	struct buf text = BUF_INIT;

	base64_append(&text, bytes);
	return text_of(&text);
}

json_t *json_make_number(uint64_t value)
{
	return value > INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

json_t *json_make_text(const char *text)
{
	return utf8_valid(bytes_str(text)) ? json_string(text) : hex_of(text, strlen(text));
}

void json_put(json_t *object, const char *name, json_t *value)
{
	int rc = json_object_set_new(object, name, value);

	assert(rc == 0); /* Only a lack of memory or a value that is not there. */
}

static int finish_cb(const char *text, size_t len, void *data)
{
	buf_append(data, text, len);
	return 0;
}

void json_finish(json_t *value, struct buf *to)
{
	int rc;

	/* At once: by growing copies would be left behind of what may be secret. */
	buf_reserve(to, json_dumpb(value, NULL, 0, JSON_COMPACT) + 1);
	rc = json_dump_callback(value, finish_cb, to, JSON_COMPACT);
	assert(rc == 0);
	json_decref(value);
}

json_t *json_make_list(json_t *items, const char *next)
{
	json_t *list = json_object();

	json_put(list, "items", items);
	json_put(list, "next", next == NULL ? json_null() : json_make_text(next));
	json_put(list, "done", json_boolean(next == NULL));
	return list;
}

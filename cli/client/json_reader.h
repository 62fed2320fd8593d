/* Members of a JSON object that came from elsewhere, with one check at the end: after the first
 * that is missing or of another kind every getter gives a zero, and json_reader_end() the error. */
#ifndef KLUIS_CLI_CLIENT_JSON_READER_H
#define KLUIS_CLI_CLIENT_JSON_READER_H

#include <stdbool.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

/* Strict: one object, no repeated keys, no depth beyond JSON_DEPTH_MAX, valid UTF-8, nothing
 * behind. KLUIS_EPROTO. The caller drops *ret_value. */
KLUIS_MUST_CHECK int json_object_parse(struct bytes text, json_t **ret_value, struct err *e);

struct json_reader {
	const json_t *object;
	const char *failed; /* Key of the first that failed. */
};

struct json_reader json_reader_of(const json_t *object);
/* Strings and arrays belong to the object. */
const char *json_reader_string(struct json_reader *r, const char *key);
const char *json_reader_string_or(struct json_reader *r, const char *key, const char *otherwise);
uint64_t json_reader_u64(struct json_reader *r, const char *key);
bool json_reader_bool(struct json_reader *r, const char *key);
const json_t *json_reader_array(struct json_reader *r, const char *key);
const json_t *json_reader_object(struct json_reader *r, const char *key);
/* Exactly len bytes as hex (ids, hashes) or base64url. */
void json_reader_hex(struct json_reader *r, const char *key, void *to, size_t len);
void json_reader_base64_exact(struct json_reader *r, const char *key, void *to, size_t len);
/* Appends at most max bytes of base64url. */
void json_reader_base64(struct json_reader *r, const char *key, size_t max, struct buf *to);
/* 0, or KLUIS_EPROTO naming the member. */
KLUIS_MUST_CHECK int json_reader_end(const struct json_reader *r, const char *what, struct err *e);

/* New strings of text forms. */
json_t *json_hex(struct bytes bytes);
json_t *json_base64(struct bytes bytes);
/* The text of an object for a request or a file; drops `value`. */
void json_take_text(json_t *value, struct buf *to);
/* For _cleanup_. */
void json_dropp(json_t **value);

#endif

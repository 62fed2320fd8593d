/* JSON bodies, strictly: one object, no repeated and no unknown names, valid UTF-8, bounded depth.
 * Errors stick: read all fields, then ask json_in_end() once. */
#ifndef KLUIS_NODE_JSON_H
#define KLUIS_NODE_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

struct json_in {
	json_t *root;
	size_t used;
	int rc;
	struct err *e;
};

/* What is freed is cleared: codes, shares and seeds pass through here. For the whole process,
 * before any other call. */
void json_clear_freed(void);

/* Parses; always to be followed by json_in_end(). e takes the first error's text. */
void json_in_begin(struct json_in *reader, struct bytes body, struct err *e);
/* 0, or KLUIS_EINVAL (a field missing, of another type, out of range, or unknown); frees. */
KLUIS_MUST_CHECK int json_in_end(struct json_in *reader);

/* Is it there? Counts as used only when it is. */
bool json_in_has(struct json_in *reader, const char *name);
/* At most max bytes; appends. */
void json_in_string(struct json_in *reader, const char *name, size_t max, struct buf *to);
/* base64url; appends. */
void json_in_binary(struct json_in *reader, const char *name, size_t max, struct buf *to);
/* Exactly len bytes of base64url. */
void json_in_binary_exact(struct json_in *reader, const char *name, void *to, size_t len);
/* A list of up to max such texts of 1 .. bytes_max bytes (at most UINT16_MAX), each appended behind
 * its length as u16; returns how many. */
size_t json_in_binaries(
	struct json_in *reader, const char *name, size_t max, size_t bytes_max, struct buf *to);
/* Lower-case hex of len bytes. */
void json_in_hex(struct json_in *reader, const char *name, void *to, size_t len);
uint64_t json_in_u64(struct json_in *reader, const char *name, uint64_t min, uint64_t max);
bool json_in_bool(struct json_in *reader, const char *name);
/* 1 .. max whole numbers of 0 .. INT64_MAX; returns how many. */
size_t json_in_u64s(struct json_in *reader, const char *name, uint64_t *to, size_t max);
/* A list of 1 .. max texts of 1 .. bytes_max bytes without NUL; appends each with a NUL behind it,
 * returns how many. */
size_t json_in_texts(
	struct json_in *reader, const char *name, size_t max, size_t bytes_max, struct buf *to);
/* An object inside: read its fields, then json_in_leave(). When it is not there, or is none, its
 * reader fails as this one does. */
void json_in_enter(struct json_in *reader, const char *name, struct json_in *ret_inner);
void json_in_leave(struct json_in *reader, struct json_in *inner);
/* A list of 1 .. max objects; returns how many. Then json_in_enter_nth() for each. */
size_t json_in_objects(struct json_in *reader, const char *name, size_t max);
void json_in_enter_nth(
	struct json_in *reader, const char *name, size_t n, struct json_in *ret_inner);

/* Writing. All take over nothing but what they return. */
json_t *json_make_id(const uint8_t id[16]);
json_t *json_make_hash(const uint8_t hash[32]);
json_t *json_make_base64(struct bytes bytes);
json_t *json_make_number(uint64_t value); /* Beyond INT64_MAX: null, never a wrong number. */
json_t *json_make_text(const char *text); /* Bytes that are no UTF-8 become hex. */
/* Sets a member, taking value. */
void json_put(json_t *object, const char *name, json_t *value);
/* Appends the compact text and frees it. */
void json_finish(json_t *value, struct buf *to);
/* {"items": items (taken), "next": next or null, "done": next == NULL} */
json_t *json_make_list(json_t *items, const char *next);

#endif

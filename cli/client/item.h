/* Notes and logins: the items of a vault that a person types (docs/format-items.md). Pure. */
#ifndef KLUIS_CLI_CLIENT_ITEM_H
#define KLUIS_CLI_CLIENT_ITEM_H

#include <stdbool.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

enum item_type {
	ITEM_NOTE = 1,
	ITEM_LOGIN = 2,
	ITEM_FILE = 3,
	ITEM_FOLDER = 4,
	ITEM_INDEX = 16, /* In page 0: which other pages hold items. */
	ITEM_PART = 17,	 /* Further chunk numbers of a large file. */
};

enum {
	ITEM_NAME_BYTES_MAX = 255,
	ITEM_LINE_BYTES_MAX = 4096,	  /* Of each field but the text. */
	ITEM_TEXT_BYTES_MAX = 128 * 1024, /* Fits one page also when nothing can be deflated. */
};

enum item_field { ITEM_TITLE, ITEM_USER, ITEM_PASSWORD, ITEM_URL, ITEM_TEXT, ITEM_FIELDS };

/* Strings are borrowed; NULL: the item has no such field, or it stays as it is. */
struct item_fields {
	const char *value[ITEM_FIELDS];
};

/* "note", "login", "file", "folder"; NULL for what has no place in the tree of names. */
const char *item_type_name(unsigned type);
/* Whether the type is one of those with fields. */
bool item_type_has_fields(unsigned type);
/* The member of the body that holds it: "title". */
const char *item_field_name(enum item_field field);
bool item_type_has(unsigned type, enum item_field field);

/* KLUIS_EINVAL: not UTF-8, a line end in a field of one line, a field the type has not;
 * KLUIS_ETOOLARGE. */
KLUIS_MUST_CHECK int item_fields_check(
	unsigned type, const struct item_fields *fields, struct err *e);
/* What a body holds: "" where a field is missing or no string. */
struct item_fields item_fields_of(unsigned type, const json_t *body);
/* Sets those that are not NULL; all other members stay. */
void item_fields_set(json_t *body, const struct item_fields *fields);
/* Whether the body has these values where they are not NULL. */
bool item_fields_same(unsigned type, const json_t *body, const struct item_fields *fields);

/* The form that a person edits: a line "name: value" for each field but the text, an empty line,
 * the text. Line ends within a field become spaces. Appended. */
void item_form_print(unsigned type, const struct item_fields *fields, struct buf *to);
/* Reads it back in place: the values point into `form`, which is changed. A field that is left out
 * becomes "". KLUIS_EINVAL names the line. */
KLUIS_MUST_CHECK int item_form_parse(
	unsigned type, char *form, struct item_fields *ret_fields, struct err *e);

/* 1..255 bytes of UTF-8 without '/' and control bytes, neither "." nor "..". */
bool item_name_valid(const char *name);
/* A name made from any text: what may not stand in one becomes '-'; at most max bytes. "untitled"
 * when nothing is left. The caller frees it. */
char *item_name_from(const char *text, size_t max);

#endif

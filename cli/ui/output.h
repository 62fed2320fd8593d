/* The one renderer of both programs: rows, single records and errors, as a table or as JSON.
 * Data goes to stdout and nothing else does; everything a person is told goes to stderr. */
#ifndef KLUIS_CLI_UI_OUTPUT_H
#define KLUIS_CLI_UI_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

enum output_format { OUTPUT_TABLE, OUTPUT_JSON };

struct output {
	enum output_format format;
	bool quiet; /* No notes and no progress; data and errors still come. */
	FILE *data, *notes;
	uint64_t offline_ms; /* Not 0: what is shown is as of then; JSON says so. */
};

/* How a column's value is shown in a table; in JSON it always stays what it is. */
enum output_kind {
	OUTPUT_TEXT,  /* Control bytes shown as \xNN: a stored name must not move the cursor. */
	OUTPUT_BYTES, /* 1234567 -> 1.2 MiB */
	OUTPUT_TIME,  /* Unix milliseconds -> 2026-11-21T23:34:00Z */
	OUTPUT_MS,    /* A duration: 15 ms, 3.2 s, 4.0 h */
};

struct output_column {
	const char *key;   /* Member of each row. */
	const char *title; /* Head of the column, upper case. */
	enum output_kind kind;
};

/* Appends text as it may be shown: bytes that a terminal would act on (C0 but for those in `keep`,
 * DEL, C1) and what is no UTF-8 as \xNN or \uNNNN. Four times its length at the most. */
void output_safe(struct buf *to, const char *text, const char *keep);

/* Writes a value as JSON of these flags of jansson's, without a line's end, for a terminal, too:
 * what JSON itself leaves as it is and a terminal would act on (DEL, C1) is escaped, other UTF-8 is
 * not. False: not all was written, by errno. */
bool output_json(FILE *to, const json_t *value, size_t flags);

/* Rows: a JSON array of objects (borrowed). JSON: {"items": rows}; offline: with "offline_since".
 * Table: a head line and one line a row, "-" where a member is missing or null. */
void output_rows(const struct output *o, const struct output_column *columns, size_t n_columns,
	const json_t *rows);
/* One object (borrowed). JSON: the object; offline: with "offline_since". Table: one "Title: value"
 * line a column. */
void output_record(const struct output *o, const struct output_column *columns, size_t n_columns,
	const json_t *record);
/* An error, always: JSON {"error": {code, message, exit, retryable}} or "NAME: message", on
 * stderr in both formats, so that stdout holds data only. */
void output_error(const struct output *o, const char *program, const struct err *e);
/* A sentence for a person, to stderr; nothing when quiet or in JSON. */
void output_note(const struct output *o, const char *fmt, ...) KLUIS_PRINTF(2, 3);
/* What nobody must miss, to stderr, also when quiet and in JSON: one line that begins with "kluis:
 * ".
 */
void output_warning(const struct output *o, const char *fmt, ...) KLUIS_PRINTF(2, 3);

#endif

#include "cli/ui/output.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "crypto/secret.h"

/* Bytes of the character at `at`; 0: it is none. */
static size_t output_character(const char *at)
{
	unsigned char lead = (unsigned char)at[0];
	size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

	return utf8_valid(bytes_of(at, strnlen(at, n))) && strnlen(at, n) == n ? n : 0;
}

void output_safe(struct buf *to, const char *text, const char *keep)
{
	for (const char *at = text; *at != 0;) {
		size_t n = output_character(at);

		if (n == 2 && (unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0) {
			buf_printf(to, "\\u%04x", (unsigned char)at[1]);
		} else if (n == 0 || (strchr(keep, *at) == NULL &&
					     ((unsigned char)*at < 0x20 || *at == 0x7f))) {
			buf_printf(to, "\\x%02x", (unsigned char)*at);
		} else {
			buf_append(to, at, n);
		}
		at += n == 0 ? 1 : n;
	}
}

static void output_text(struct buf *to, const char *text)
{
	output_safe(to, text, "");
}

static void output_scaled(struct buf *to, json_int_t value)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
	double scaled = (double)value / 1024;
	size_t unit = 0;

	if (value < 1024) {
		buf_printf(to, "%" JSON_INTEGER_FORMAT " B", value);
		return;
	}
	while (scaled >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		scaled /= 1024;
		unit++;
	}
	buf_printf(to, "%.1f %s", scaled, units[unit]);
}

static void output_duration(struct buf *to, json_int_t ms)
{
	if (ms < 1000) {
		buf_printf(to, "%" JSON_INTEGER_FORMAT " ms", ms);
	} else if (ms < 120 * 1000) {
		buf_printf(to, "%.1f s", (double)ms / 1000);
	} else if (ms < 7200 * 1000) {
		buf_printf(to, "%.1f min", (double)ms / 60000);
	} else {
		buf_printf(to, "%.1f h", (double)ms / 3600000);
	}
}

static void output_integer(struct buf *to, json_int_t value, enum output_kind kind)
{
	char time[21];

	switch (value < 0 ? OUTPUT_TEXT : kind) {
	case OUTPUT_BYTES:
		output_scaled(to, value);
		break;
	case OUTPUT_TIME:
		clock_format((uint64_t)value, time);
		buf_printf(to, "%s", time);
		break;
	case OUTPUT_MS:
		output_duration(to, value);
		break;
	case OUTPUT_TEXT:
	default:
		buf_printf(to, "%" JSON_INTEGER_FORMAT, value);
	}
}

static void output_list(struct buf *to, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);

		buf_printf(to, "%s", i == 0 ? "" : ",");
		if (json_is_string(item)) {
			output_text(to, json_string_value(item));
		} else if (json_is_integer(item)) {
			buf_printf(to, "%" JSON_INTEGER_FORMAT, json_integer_value(item));
		}
	}
}

static void output_cell(struct buf *to, const json_t *value, enum output_kind kind)
{
	size_t before = to->len;

	if (json_is_string(value)) {
		output_text(to, json_string_value(value));
	} else if (json_is_integer(value)) {
		output_integer(to, json_integer_value(value), kind);
	} else if (json_is_real(value)) {
		buf_printf(to, "%.1f", json_real_value(value));
	} else if (json_is_boolean(value)) {
		buf_printf(to, "%s", json_is_true(value) ? "yes" : "no");
	} else if (json_is_array(value)) {
		output_list(to, value);
	}
	if (to->len == before) {
		buf_printf(to, "-");
	}
}

/* Code points, which is the width for all but wide scripts; bytes would misalign any accent. */
static size_t output_width(const struct buf *cell)
{
	size_t width = 0;

	for (size_t i = 0; i < cell->len; i++) {
		width += (cell->data[i] & 0xc0) != 0x80;
	}
	return width;
}

/* Of a character that JSON leaves as it is, 0x7f or 0x80 to 0x9f; else 0. */
static unsigned output_control(const char *at)
{
	unsigned char first = (unsigned char)at[0], second = (unsigned char)at[1];

	return first == 0x7f ? first : first == 0xc2 && second < 0xa0 ? second : 0;
}

bool output_json(FILE *to, const json_t *value, size_t flags)
{
	char *text = json_dumps(value, flags);
	bool whole = true;

	assert(text != NULL);
	for (const char *at = text; *at != 0; at++) {
		unsigned control = output_control(at);

		whole = whole &&
			(control == 0 ? putc(*at, to) != EOF : fprintf(to, "\\u%04x", control) > 0);
		at += control >= 0x80;
	}
	secret_clear(text, strlen(text)); /* It may be a password that is shown. */
	free(text);
	return whole;
}

static void output_json_lines(FILE *to, const json_t *value)
{
	(void)output_json(to, value, JSON_INDENT(2)); /* A closed pipe shows at the final flush. */
	(void)fputc('\n', to);
}

/* Takes `whole`. */
static void output_whole(const struct output *o, json_t *whole)
{
	if (o->offline_ms != 0) {
		(void)json_object_set_new(
			whole, "offline_since", json_integer((json_int_t)o->offline_ms));
	}
	output_json_lines(o->data, whole);
	json_decref(whole);
}

static void output_line(FILE *to, const struct buf *cells, const size_t *widths, size_t n_columns)
{
	for (size_t i = 0; i < n_columns; i++) {
		size_t pad = i + 1 == n_columns ? 0 : widths[i] - output_width(&cells[i]) + 2;

		(void)fwrite(cells[i].data, 1, cells[i].len, to);
		(void)fprintf(to, "%*s", (int)pad, "");
	}
	(void)fputc('\n', to);
}

static void output_table(
	FILE *to, const struct output_column *columns, size_t n_columns, const json_t *rows)
{
	size_t n_rows = json_array_size(rows), n_cells = (n_rows + 1) * n_columns;
	struct buf *cells = x_calloc(n_cells, sizeof *cells);
	size_t *widths = x_calloc(n_columns, sizeof *widths);

	for (size_t i = 0; i < n_cells; i++) {
		const struct output_column *column = &columns[i % n_columns];
		const json_t *row = i < n_columns ? NULL : json_array_get(rows, i / n_columns - 1);
		size_t width;

		if (row == NULL) {
			buf_printf(&cells[i], "%s", column->title);
		} else {
			output_cell(&cells[i], json_object_get(row, column->key), column->kind);
		}
		width = output_width(&cells[i]);
		widths[i % n_columns] =
			width > widths[i % n_columns] ? width : widths[i % n_columns];
	}
	for (size_t r = 0; r <= n_rows; r++) {
		output_line(to, cells + r * n_columns, widths, n_columns);
	}
	for (size_t i = 0; i < n_cells; i++) {
		buf_release(&cells[i]);
	}
	free(cells);
	free(widths);
}

void output_rows(const struct output *o, const struct output_column *columns, size_t n_columns,
	const json_t *rows)
{
	assert(n_columns > 0);
	assert(json_is_array(rows));
	if (o->format == OUTPUT_JSON) {
		output_whole(o, json_pack("{s:O}", "items", rows));
		return;
	}
	output_table(o->data, columns, n_columns, rows);
}

void output_record(const struct output *o, const struct output_column *columns, size_t n_columns,
	const json_t *record)
{
	size_t widest = 0;

	assert(json_is_object(record));
	if (o->format == OUTPUT_JSON) {
		output_whole(o, json_copy((json_t *)record));
		return;
	}
	for (size_t i = 0; i < n_columns; i++) {
		size_t width = strlen(columns[i].title);

		widest = width > widest ? width : widest;
	}
	for (size_t i = 0; i < n_columns; i++) {
		_cleanup_(buf_release) struct buf cell = BUF_INIT;

		output_cell(&cell, json_object_get(record, columns[i].key), columns[i].kind);
		(void)fprintf(o->data, "%s:%*s %s\n", columns[i].title,
			(int)(widest - strlen(columns[i].title)), "", buf_str(&cell));
	}
}

void output_error(const struct output *o, const char *program, const struct err *e)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	if (o->format == OUTPUT_JSON) {
		json_t *whole = json_pack("{s:{s:s, s:s, s:s%, s:i, s:b}}", "error", "code",
			err_api_code(e->code), "name", err_name(e->code), "message", e->text,
			strlen(e->text), "exit", err_exit_code(e->code), "retryable",
			err_retryable(e->code));

		if (whole == NULL) { /* Text that is not UTF-8: a file's name, cut. */
			whole = json_pack("{s:{s:s, s:s, s:s, s:i, s:b}}", "error", "code",
				err_api_code(e->code), "name", err_name(e->code), "message",
				err_text(e->code), "exit", err_exit_code(e->code), "retryable",
				err_retryable(e->code));
		}
		output_json_lines(o->notes, whole);
		json_decref(whole);
		return;
	}
	output_text(&text, e->text[0] == 0 ? err_text(e->code) : e->text);
	(void)fprintf(o->notes, "%s: %s\n", program, buf_str(&text));
}

KLUIS_PRINTF(3, 0)
static void output_sentence(
	const struct output *o, const char *before, const char *fmt, va_list args)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	_cleanup_(x_freep) char *raw = NULL;

	if (vasprintf(&raw, fmt, args) < 0) {
		raw = NULL;
	}
	output_text(&text, raw == NULL ? fmt : raw);
	(void)fprintf(o->notes, "%s%s\n", before, buf_str(&text));
}

void output_note(const struct output *o, const char *fmt, ...)
{
	va_list args;

	if (o->quiet || o->format == OUTPUT_JSON) {
		return;
	}
	va_start(args, fmt);
	output_sentence(o, "", fmt, args);
	va_end(args);
}

void output_warning(const struct output *o, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	output_sentence(o, "kluis: ", fmt, args);
	va_end(args);
}

/* kluis chat read and history: what was written, as it comes and as it was archived. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/client/get.h"
#include "cli/client/json_reader.h"
#include "cli/vault/chat.h"

json_t *chat_item_json(const struct conversation_item *item)
{
	_cleanup_(x_freep) char *problem = conversation_problem_text(item);
	const char *kind = item->opened ? chat_kind_name(item->content.kind) : "closed";
	json_t *row = json_pack("{s:I, s:I, s:s, s:s, s:b, s:s}", "seq", (json_int_t)item->seq,
		"time_ms", (json_int_t)item->time_ms, "user", item->user->name, "device",
		item->device->name, "mine", item->mine, "kind", kind);

	if (item->content.text != NULL) {
		(void)json_object_set_new(row, "text", json_string(item->content.text));
	}
	if (item->of_seq != 0) {
		(void)json_object_set_new(row, "of", json_integer((json_int_t)item->of_seq));
	}
	if (item->not_theirs) {
		(void)json_object_set_new(row, "not_theirs", json_true());
	}
	if (item->opened && item->content.kind >= CHAT_KIND_FILE) {
		(void)json_object_set_new(
			row, "type", json_integer((json_int_t)item->content.type));
		(void)json_object_set_new(row, "payload", json_base64(item->content.raw));
	}
	if (item->device->revoked) {
		(void)json_object_set_new(row, "device_revoked", json_true());
	}
	if (item->missing > 0) {
		(void)json_object_set_new(row, "missing", json_integer((json_int_t)item->missing));
	}
	if (problem != NULL) {
		(void)json_object_set_new(row, "problem", json_string(problem));
	}
	return row;
}

int chat_problems_end(struct invocation *inv, const struct chat_problems *problems)
{
	if (problems->code == 0) {
		return 0;
	}
	return err_set(&inv->err, problems->code, "message %llu: %s",
		(unsigned long long)problems->seq, problems->text);
}

void chat_problems_note(struct chat_problems *problems, const struct conversation_item *item)
{
	_cleanup_(x_freep) char *text = conversation_problem_text(item);
	int code = conversation_problem_code(item->problems);

	if (code != 0 && (problems->code == 0 || code == KLUIS_EPIN) &&
		problems->code != KLUIS_EPIN) {
		problems->code = code;
		problems->seq = item->seq;
		(void)snprintf(problems->text, sizeof problems->text, "%s", text);
	}
}

/* A file that was sent. */
struct read_file {
	struct conversation_file file;
	uint64_t seq;
};

/* Printed as it comes, before it counts as read. */
struct reading {
	struct invocation *inv;
	size_t n;
	struct chat_problems problems;
	struct read_file *files; /* With --save. */
	size_t n_files;
};

static void reading_release(struct reading *r)
{
	for (size_t i = 0; i < r->n_files; i++) {
		conversation_file_release(&r->files[i].file);
	}
	free(r->files);
}

static void read_note_file(struct reading *r, const struct conversation_item *item)
{
	struct read_file row = {.seq = item->seq};
	struct err why = {0};

	if (!item->opened || item->content.kind != CHAT_KIND_FILE ||
		invocation_value(r->inv, "save") == NULL) {
		return;
	}
	if (conversation_file_of(&item->content, &row.file, &why) != 0) {
		output_note(&r->inv->out, "message %" PRIu64 ": %s", item->seq, why.text);
		return;
	}
	r->files = x_realloc(r->files, (r->n_files + 1) * sizeof *r->files);
	r->files[r->n_files++] = row;
}

/* Under a name of its own each: nothing that is there is written over. */
static int read_save(struct chat_app *a, const struct reading *r)
{
	struct invocation *inv = a->app->inv;
	const char *dir = invocation_value(inv, "save");
	int rc = r->n_files == 0 ? 0 : get_folder(dir, true, &inv->err);

	for (size_t i = 0; rc == 0 && i < r->n_files; i++) {
		const struct read_file *row = &r->files[i];
		_cleanup_(x_freep) char *path =
			x_asprintf("%s/%" PRIu64 "-%s", dir, row->seq, row->file.name);

		if (access(path, F_OK) == 0) {
			continue; /* Saved before. */
		}
		rc = conversation_fetch(a->c, &row->file, path, &inv->err);
		if (rc == 0) {
			output_note(&inv->out, "saved '%s'", path);
		}
	}
	return rc;
}

static void read_print_line(struct buf *to, const struct conversation_item *item)
{
	_cleanup_(x_freep) char *problem = conversation_problem_text(item);
	const char *kind = item->opened ? chat_kind_name(item->content.kind) : "closed";
	char time[21];

	clock_format(item->time_ms, time);
	buf_printf(to, "%" PRIu64 "  %s  ", item->seq, time);
	output_safe(to, item->user->name, "");
	if (item->opened && item->content.kind != CHAT_KIND_TEXT) {
		buf_printf(to, item->of_seq > 0 ? " (%s of %" PRIu64 ")" : " (%s)", kind,
			item->of_seq);
	}
	buf_printf(to, ": ");
	if (item->content.text != NULL) {
		output_safe(to, item->content.text, "\n\t");
	} else if (item->repeats != 0) {
		buf_printf(to, "(number %" PRIu64 " again)", item->repeats);
	} else if (!item->opened) {
		buf_printf(to, "(not for this device)");
	}
	if (item->not_theirs) {
		buf_printf(to, "\n  ! it is about a message that they did not write: it counts for "
			       "nothing");
	}
	if (problem != NULL) {
		buf_printf(to, "\n  ! ");
		output_safe(to, problem, "");
	} else if (item->missing > 0) {
		buf_printf(to, "\n  (%" PRIu64 " before it are not there any more)", item->missing);
	}
	buf_printf(to, "\n");
}

static int read_item_cb(void *arg, const struct conversation_item *item, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	struct reading *r = arg;
	FILE *out = r->inv->out.data;

	if (r->inv->out.format == OUTPUT_JSON) {
		json_t *row = chat_item_json(item);

		buf_printf(&text, "%s", r->n == 0 ? "{\"items\": [" : ",\n");
		json_take_text(row, &text);
	} else {
		read_print_line(&text, item);
	}
	if (fwrite(text.data, 1, text.len, out) != text.len || fflush(out) != 0) {
		return err_set_errno(e, errno, "write to stdout");
	}
	r->n++;
	read_note_file(r, item);
	chat_problems_note(&r->problems, item);
	return 0;
}

static void read_end(const struct reading *r, const struct conversation *c)
{
	const char *switched = chat_history_switched(c);

	if (r->inv->out.format != OUTPUT_JSON) {
		return;
	}
	(void)fprintf(r->inv->out.data, "%s]", r->n == 0 ? "{\"items\": [" : "");
	if (switched != NULL) {
		(void)fprintf(r->inv->out.data, ", \"history_switched\": \"%s\"", switched);
	}
	(void)fprintf(r->inv->out.data, "}\n");
}

static int read_body(struct chat_app *a)
{
	struct invocation *inv = a->app->inv;
	struct reading reading = {.inv = inv};
	struct conversation_read reader = {.each = read_item_cb,
		.arg = &reading,
		.quiet = invocation_value(inv, "no-receipt") != NULL};
	size_t n = 0;
	int rc = chat_accepted(a);

	rc = rc != 0 ? rc : invocation_number(inv, "last", 0, INT64_MAX, &reader.last);
	rc = rc != 0 ? rc : conversation_read(a->c, &reader, &n, &inv->err);
	if (rc == 0 || reading.n > 0) {
		read_end(&reading, a->c);
	}
	rc = rc != 0 ? rc : conversation_flush(a->c, &inv->err);
	rc = rc != 0 ? rc : read_save(a, &reading);
	reading_release(&reading);
	return rc != 0 ? rc : chat_problems_end(inv, &reading.problems);
}

static int chat_read_body(struct app *k)
{
	return chat_with(k, k->inv->args[0], read_body, NULL);
}

int app_chat_read(struct invocation *inv)
{
	return app_run(inv, chat_read_body);
}

static int history_body(struct chat_app *a)
{
	static const struct output_column columns[] = {{"vault", "Vault", OUTPUT_TEXT},
		{"archiving", "Archiving", OUTPUT_TEXT}, {"first", "First message", OUTPUT_TEXT},
		{"last", "Last message", OUTPUT_TEXT}, {"segments", "Segments", OUTPUT_TEXT}};
	struct invocation *inv = a->app->inv;
	struct conversation_archived archived;
	bool on = invocation_value(inv, "on") != NULL;
	json_t *record;
	int rc = chat_accepted(a);

	if (rc == 0 && (on || invocation_value(inv, "off") != NULL)) {
		rc = conversation_archive_switch(a->c, on, &inv->err);
	}
	rc = rc != 0 ? rc : conversation_archived(a->c, &archived, &inv->err);
	if (rc != 0) {
		return rc;
	}
	record = json_pack("{s:s?, s:b, s:I, s:I, s:I}", "vault",
		archived.there ? a->c->archive->vault->name : NULL, "archiving", archived.history,
		"first", (json_int_t)archived.first, "last", (json_int_t)archived.last, "segments",
		(json_int_t)archived.segments);
	output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	return 0;
}

static int chat_history_body(struct app *k)
{
	return chat_with(k, k->inv->args[0], history_body, NULL);
}

int app_chat_history(struct invocation *inv)
{
	return app_run(inv, chat_history_body);
}

/* kluis share|unshare, kluis shared list|get */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/share_file.h"
#include "cli/ui/progress.h"
#include "cli/vault/app.h"

enum { SHARED_DAYS_DEFAULT = 7 };

static void given_show(struct app *k, const uint8_t id[ID_BYTES], const struct share_with *with)
{
	static const struct output_column columns[] = {
		{"id", "Id", OUTPUT_TEXT}, {"with", "With", OUTPUT_TEXT}};
	json_t *record =
		json_pack("{s:o, s:s}", "id", json_hex(bytes_of(id, ID_BYTES)), "with", with->name);

	output_record(&k->inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
}

static int give_in(struct app *k, struct place *place, const struct share_file_terms *terms,
	uint8_t ret_id[ID_BYTES])
{
	struct invocation *inv = k->inv;
	uint64_t page_no = UINT64_MAX;
	bool moved = false;
	int rc = invocation_number(inv, "page", UINT64_MAX, INT64_MAX, &page_no);

	if (rc != 0) {
		return rc;
	}
	return invocation_value(inv, "page") != NULL
		       ? share_page_give(place->vault, page_no, terms, ret_id, &moved, &inv->err)
		       : share_file_give(
				 place->tree, place->path, terms, ret_id, &moved, &inv->err);
}

static int share_body(struct app *k)
{
	struct invocation *inv = k->inv;
	const char *who = invocation_value(inv, "with");
	struct share_with with;
	struct share_file_terms terms = {.with = &with};
	struct place place = {.vault_name = NULL};
	uint8_t id[ID_BYTES];
	uint64_t days;
	int rc = app_need_person(k);

	if (rc == 0 && who == NULL) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "with whom? --with USER");
	}
	rc = rc != 0 ? rc
		     : invocation_number(
			       inv, "days", SHARED_DAYS_DEFAULT, SHARE_FILE_DAYS_MAX, &days);
	rc = rc != 0 ? rc : app_online(k);
	if (rc != 0) {
		return rc;
	}
	terms.days = (unsigned)days;
	rc = app_open_place(k, inv->args[0], &place);
	rc = rc != 0 ? rc : share_resolve(place.vault->people, who, &with, &inv->err);
	rc = rc != 0 ? rc : give_in(k, &place, &terms, id);
	if (rc == 0) {
		given_show(k, id, &with);
	}
	app_close_place(&place);
	return rc;
}

int app_share(struct invocation *inv)
{
	return app_run(inv, share_body);
}

/* All that was given alone, to and by the owner. */
struct shared_view {
	struct people *people;
	struct shared_file *files;
	size_t n;
};

static int view_open(struct app *k, struct shared_view *view)
{
	int rc = app_need_person(k);

	*view = (struct shared_view){.people = people_new(k->profile, k->client)};
	rc = rc != 0 ? rc : app_online(k);
	return rc != 0 ? rc : shared_files(view->people, &view->files, &view->n, &k->inv->err);
}

static void view_close(struct shared_view *view)
{
	shared_files_free(view->files, view->n);
	people_free(view->people);
}

static json_t *shared_row(const struct shared_file *file)
{
	bool holds = file->problem.code == 0;
	bool is_file = holds && file->note.kind == SHARE_NOTE_FILE;

	if (!holds) {
		return json_pack("{s:s, s:o, s:s}", "id", "", "document",
			json_hex(bytes_of(file->doc_id, ID_BYTES)), "problem", file->problem.text);
	}
	return json_pack("{s:o, s:s, s:s, s:s, s:o, s:I, s:I, s:s}", "id",
		json_hex(bytes_of(file->note.share_id, ID_BYTES)), "direction",
		file->mine ? "given" : "got", "who", file->who, "name", file->name, "bytes",
		is_file ? json_integer((json_int_t)file->size) : json_null(), "time_ms",
		(json_int_t)file->note.unix_ms, "expires_ms", (json_int_t)file->note.expires_ms,
		"problem", "");
}

/* What does not hold is said by the exit status, too: a pin that broke before all else. */
static int shared_worst(const struct shared_view *view, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < view->n; i++) {
		const struct err *problem = &view->files[i].problem;

		if (err_exit_code(problem->code) > err_exit_code(rc)) {
			rc = err_set(e, problem->code, "%s", problem->text);
		}
	}
	return rc;
}

static int shared_list_body(struct app *k)
{
	static const struct output_column columns[] = {{"id", "ID", OUTPUT_TEXT},
		{"direction", "", OUTPUT_TEXT}, {"who", "WITH", OUTPUT_TEXT},
		{"name", "NAME", OUTPUT_TEXT}, {"bytes", "SIZE", OUTPUT_BYTES},
		{"expires_ms", "UNTIL", OUTPUT_TIME}, {"problem", "PROBLEM", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *rows = json_array();
	struct shared_view view;
	int rc = view_open(k, &view);

	for (size_t i = 0; i < view.n; i++) {
		(void)json_array_append_new(rows, shared_row(&view.files[i]));
	}
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), rows);
	}
	rc = rc != 0 ? rc : shared_worst(&view, &k->inv->err);
	view_close(&view);
	return rc;
}

int app_shared_list(struct invocation *inv)
{
	return app_run(inv, shared_list_body);
}

static int got_write(void *arg, struct bytes bytes, struct err *e)
{
	(void)arg;
	return file_write_all(STDOUT_FILENO, bytes) == 0
		       ? 0
		       : err_set_errno(e, errno, "write to standard output");
}

struct shared_fetch {
	struct shared_view *view;
	const struct shared_file *file;
};

static int fetch_fill(void *arg, const struct get_config *config, struct err *e)
{
	const struct shared_fetch *f = arg;

	return shared_file_get(f->view->people, f->file, config, e);
}

static int page_collect(void *arg, struct bytes bytes, struct err *e)
{
	(void)e;
	buf_append_bytes(arg, bytes);
	return 0;
}

/* The items of a page that was given: rows of what each says. */
static int page_show(struct app *k, const struct shared_fetch *f)
{
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	_cleanup_(json_dropp) json_t *rows = json_array();
	static const struct output_column columns[] = {{"type", "TYPE", OUTPUT_TEXT},
		{"id", "ID", OUTPUT_TEXT}, {"body", "BODY", OUTPUT_TEXT}};
	const struct get_config config = {.write = page_collect, .arg = &content};
	struct page_item item;
	struct bytes left;
	int rc = shared_file_get(f->view->people, f->file, &config, &k->inv->err);

	left = buf_bytes(&content);
	while (rc == 0 && left.len > 0) {
		const char *type;

		rc = page_item_next(&left, &item);
		assert(rc == 0); /* shared_file_get() */
		type = item_type_name(item.type);
		if (json_array_append_new(rows,
			    json_pack("{s:s, s:o, s:s%}", "type", type == NULL ? "other" : type,
				    "id", json_hex(bytes_of(item.item_id, ID_BYTES)), "body",
				    (const char *)item.body.data, item.body.len)) != 0) {
			rc = err_set(&k->inv->err, KLUIS_EVERIFY,
				"'%s': it holds an item that is no text", f->file->name);
		}
	}
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), rows);
	}
	return rc;
}

static int shared_fetch_to(struct app *k, struct shared_fetch *f)
{
	const struct get_config to_stdout = {.write = got_write};
	const struct get_config config = {.owner_only = true};
	struct invocation *inv = k->inv;
	const char *local = inv->n_args > 1 ? inv->args[1] : f->file->name;

	if (f->file->note.kind == SHARE_NOTE_ITEM) {
		return page_show(k, f);
	}
	return strcmp(local, "-") == 0
		       ? shared_file_get(f->view->people, f->file, &to_stdout, &inv->err)
		       : get_fill_to(local, true, &config, fetch_fill, f, &inv->err);
}

static int shared_get_body(struct app *k)
{
	struct shared_view view;
	struct shared_fetch f = {.view = &view};
	int rc = view_open(k, &view);

	rc = rc != 0 ? rc
		     : shared_file_find(view.files, view.n, k->inv->args[0], &f.file, &k->inv->err);
	rc = rc != 0 ? rc : shared_fetch_to(k, &f);
	view_close(&view);
	return rc;
}

int app_shared_get(struct invocation *inv)
{
	return app_run(inv, shared_get_body);
}

static int unshare_body(struct app *k)
{
	const struct shared_file *file;
	struct shared_view view;
	int rc = view_open(k, &view);

	rc = rc != 0 ? rc
		     : shared_file_find(view.files, view.n, k->inv->args[0], &file, &k->inv->err);
	rc = rc != 0 ? rc : shared_file_end(view.people, view.files, view.n, file, &k->inv->err);
	view_close(&view);
	return rc;
}

int app_unshare(struct invocation *inv)
{
	return app_run(inv, unshare_body);
}

/* kluis history|restore */
#include "cli/client/history.h"

#include <string.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/ui/progress.h"
#include "cli/vault/app.h"

static void history_progress(void *arg, uint64_t done, uint64_t total)
{
	progress_set(arg, done, total);
}

static int history_open(
	struct app *k, struct tree *tree, const char *path, bool all, struct history *ret_history)
{
	struct progress progress;
	const struct history_config config = {
		.all = all, .progress = history_progress, .arg = &progress};
	int rc;

	progress_init(&progress, &k->inv->out, "history");
	rc = tree->vault->offline
		     ? err_set(&k->inv->err, KLUIS_ECONNECT,
			       "earlier versions are at the cluster, which cannot be reached")
		     : history_load(tree, path, &config, ret_history, &k->inv->err);
	progress_release(&progress);
	return rc;
}

static const char *history_now(const struct history_row *row)
{
	return row->current ? "current" : row->removed ? "removed" : "changed";
}

static json_t *history_json(const struct app *k, const struct history_row *row)
{
	const struct identity_device *device =
		identity_device(&k->profile->identity, row->device_id);
	char version[HISTORY_VERSION_CHARS];
	const json_t *size = json_object_get(row->body, "size");
	const json_t *title = json_object_get(row->body, "title");
	json_t *object;

	history_version(row, version);
	object = json_pack("{s:s, s:s, s:I, s:I, s:s, s:s, s:o}", "version", version, "type",
		item_type_name(row->type), "revision", (json_int_t)row->rev, "written",
		(json_int_t)row->written_ms, "now", history_now(row), "path", row->path, "device",
		device != NULL ? json_string(device->name)
			       : json_hex(bytes_of(row->device_id, ID_BYTES)));
	if (json_is_integer(size)) {
		(void)json_object_set(object, "size", (json_t *)size);
	}
	if (json_is_string(title)) {
		(void)json_object_set(object, "title", (json_t *)title);
	}
	return object;
}

static int history_body(struct app *k)
{
	static const struct output_column columns[] = {{"version", "VERSION", OUTPUT_TEXT},
		{"written", "WRITTEN", OUTPUT_TIME}, {"device", "DEVICE", OUTPUT_TEXT},
		{"now", "NOW", OUTPUT_TEXT}, {"type", "TYPE", OUTPUT_TEXT},
		{"size", "SIZE", OUTPUT_BYTES}, {"title", "TITLE", OUTPUT_TEXT},
		{"path", "PATH", OUTPUT_TEXT}};
	struct invocation *inv = k->inv;
	_cleanup_(json_dropp) json_t *rows = json_array();
	struct history history = {.n = 0};
	struct place p;
	int rc = app_open_place(k, inv->args[0], &p);

	if (rc == KLUIS_ENOTFOUND && p.tree != NULL) { /* It was there, perhaps. */
		inv->err = (struct err){0};
		rc = 0;
	}
	if (rc == 0) {
		rc = history_open(
			k, p.tree, p.path, invocation_value(inv, "all") != NULL, &history);
	}
	for (size_t i = 0; i < history.n; i++) {
		(void)json_array_append_new(rows, history_json(k, &history.rows[i]));
	}
	if (rc == 0 && history.n == 0) {
		rc = err_set(&inv->err, KLUIS_ENOTFOUND, "nothing was found at '%s'", inv->args[0]);
	} else if (rc == 0) {
		output_rows(&inv->out, columns, ARRAY_SIZE(columns), rows);
	}
	history_release(&history);
	app_close_place(&p);
	return rc;
}

int app_history(struct invocation *inv)
{
	return app_run(inv, history_body);
}

static int restore_body(struct app *k)
{
	struct invocation *inv = k->inv;
	const struct history_row *row = NULL;
	struct history history = {.n = 0};
	struct put_result result;
	struct writing w;
	int rc = app_open_writing(k, inv->args[0], &w);

	rc = rc != 0 ? rc : history_open(k, put_tree(w.put), w.path, false, &history);
	if (rc == 0) {
		row = history_find(&history, inv->args[1]);
		if (row == NULL) { /* Of what lay there before, perhaps. */
			history_release(&history);
			rc = history_open(k, put_tree(w.put), w.path, true, &history);
			row = rc == 0 ? history_find(&history, inv->args[1]) : NULL;
		}
	}
	if (rc == 0 && row == NULL) {
		rc = err_set(&inv->err, KLUIS_ENOTFOUND,
			"'%s' has no version '%s' ('kluis history' lists them)", inv->args[0],
			inv->args[1]);
	}
	rc = rc != 0 ? rc : put_version(w.put, row, w.path, &inv->err);
	rc = rc != 0 ? rc : put_finish(w.put, &result, &inv->err);
	if (rc == 0) {
		output_note(&inv->out, "'%s' is again as in version %s (head %llu)", inv->args[0],
			inv->args[1], (unsigned long long)w.vault->head.seq);
	}
	history_release(&history);
	app_close_writing(&w);
	return rc;
}

int app_restore(struct invocation *inv)
{
	return app_run(inv, restore_body);
}

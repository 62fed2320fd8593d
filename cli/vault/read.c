/* kluis get|cat|ls|verify */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/get.h"
#include "cli/client/json_reader.h"
#include "cli/ui/progress.h"
#include "cli/vault/app.h"

/* A vault being read. */
struct reader {
	struct app *k;
	struct vault *vault;
	struct tree *tree;
	struct progress progress;
	uint64_t done, total, files;
	size_t failed, skipped; /* Left out, each with a note; there already, with --no-clobber. */
};

static void reader_progress(void *arg, uint64_t bytes)
{
	struct reader *r = arg;

	r->done += bytes;
	progress_set(&r->progress, r->done, r->total);
}

static int reader_open(struct reader *r, const char *vault_name)
{
	int rc = app_read_vault(r->k, vault_name, &r->vault);

	return rc != 0 ? rc : tree_load(r->vault, &r->tree, &r->k->inv->err);
}

static void reader_release(struct reader *r)
{
	progress_release(&r->progress);
	tree_free(r->tree);
	vault_close(r->vault);
}

/* The vault moved under us: what was looked up has to be looked up again. */
static int reader_reload(struct reader *r)
{
	struct tree *tree;
	int rc = tree_load(r->vault, &tree, &r->k->inv->err);

	if (rc == 0) {
		tree_free(r->tree);
		r->tree = tree;
	}
	return rc;
}

/* What fails for one place alone is said, counted, and does not stop the others. */
static int reader_local(struct reader *r)
{
	struct invocation *inv = r->k->inv;

	r->failed++;
	output_error(&inv->out, "kluis", &inv->err);
	inv->err = (struct err){0};
	return 0;
}

static int stdout_write(void *arg, struct bytes bytes, struct err *e)
{
	(void)arg;
	return file_write_all(STDOUT_FILENO, bytes) == 0
		       ? 0
		       : err_set_errno(e, errno, "write to standard output");
}

static int get_one(struct reader *r, const char *path, const char *local, bool named)
{
	const struct get_config config = {.progress = reader_progress, .arg = r};
	int rc = KLUIS_ECONFLICT;
	struct stat st;

	if (invocation_value(r->k->inv, "no-clobber") != NULL && lstat(local, &st) == 0) {
		r->skipped++;
		return 0;
	}
	for (unsigned tries = 0; tries < VAULT_FETCH_TRIES; tries++) {
		struct tree_item *item;
		bool moved = false, is_local = false;

		rc = tree_find(r->tree, path, &item, &r->k->inv->err);
		if (rc == 0 && item != NULL && item_type_has_fields(item->type)) {
			rc = err_set(&r->k->inv->err, KLUIS_EINVAL,
				"'%s' is a %s, no file: left out ('kluis export' writes it)", path,
				item_type_name(item->type));
			is_local = true;
		}
		rc = rc != 0 ? rc
			     : get_file_to(r->tree, item, local, named, &config, &is_local, &moved,
				       &r->k->inv->err);
		if (rc != 0 && is_local) {
			return reader_local(r);
		}
		if (rc == 0 || !moved) {
			break;
		}
		if (reader_reload(r) != 0) {
			return r->k->inv->err.code;
		}
	}
	r->files += rc == 0;
	return rc;
}

/* Names were checked when the items were read, and no symbolic link below the folder that the user
 * named is followed: nothing can lead out of it. */
static int get_tree(struct reader *r, const char *path, const char *local, bool named)
{
	struct tree_item *folder, **children;
	char **names;
	size_t n;
	int rc = tree_find(r->tree, path, &folder, &r->k->inv->err);

	if (rc != 0) {
		return rc;
	}
	rc = get_folder(local, named, &r->k->inv->err);
	if (rc != 0) {
		return named ? rc : reader_local(r);
	}
	children = tree_children(r->tree, folder, &n);
	names = x_calloc(n + 1, sizeof *names);
	for (size_t i = 0; i < n; i++) {
		names[i] = x_asprintf(
			"%c%s", children[i]->type == ITEM_FOLDER ? 'd' : 'f', children[i]->name);
	}
	free(children);
	for (size_t i = 0; i < n; i++) {
		_cleanup_(x_freep) char *there = app_join(path, names[i] + 1);
		_cleanup_(x_freep) char *here = x_asprintf("%s/%s", local, names[i] + 1);

		if (rc == 0) {
			rc = names[i][0] == 'd' ? get_tree(r, there, here, false)
						: get_one(r, there, here, false);
		}
		free(names[i]);
	}
	free(names);
	return rc;
}

static uint64_t tree_bytes(const struct tree *tree, const struct tree_item *item)
{
	struct tree_file file;
	struct err ignored = {0};
	uint64_t bytes = 0;
	struct tree_item **children;
	size_t n;

	if (item != NULL && item->type != ITEM_FOLDER) {
		return item->type == ITEM_FILE && tree_file_stat(item, &file, &ignored) == 0
			       ? file.size
			       : 0;
	}
	children = tree_children(tree, item, &n);
	for (size_t i = 0; i < n; i++) {
		bytes += tree_bytes(tree, children[i]);
	}
	free(children);
	return bytes;
}

static int get_source(struct reader *r, const char *path, const char *destination, bool many)
{
	struct invocation *inv = r->k->inv;
	struct tree_item *item;
	const struct get_config to_stdout = {.write = stdout_write};
	struct stat st;
	bool into = stat(destination, &st) == 0 && S_ISDIR(st.st_mode), moved;
	_cleanup_(x_freep) char *local = NULL;
	int rc = tree_find(r->tree, path, &item, &inv->err);

	if (rc != 0) {
		return rc;
	}
	if (strcmp(destination, "-") == 0) {
		return item == NULL || item->type != ITEM_FILE
			       ? err_set(&inv->err, KLUIS_EINVAL, "'%s' is no file", path)
			       : get_file(r->tree, item, &to_stdout, &moved, &inv->err);
	}
	if (many && !into) {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no folder", destination);
	}
	/* The root has no name of its own. */
	local = into && item != NULL ? x_asprintf("%s/%s", destination, item->name)
				     : x_strdup(destination);
	r->total += tree_bytes(r->tree, item);
	if (item != NULL && item->type != ITEM_FOLDER) {
		return get_one(r, path, local, true);
	}
	if (invocation_value(inv, "recursive") == NULL) {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is a folder: use -r", path);
	}
	return get_tree(r, path, local, true);
}

static void get_print(const struct reader *r)
{
	static const struct output_column columns[] = {{"files", "Files", OUTPUT_TEXT},
		{"skipped", "There already", OUTPUT_TEXT}, {"failed", "Left out", OUTPUT_TEXT},
		{"bytes", "Bytes", OUTPUT_BYTES}};
	json_t *record;

	if (r->k->inv->out.quiet && r->k->inv->out.format == OUTPUT_TABLE) {
		return;
	}
	record = json_pack("{s:I, s:I, s:I, s:I}", "files", (json_int_t)r->files, "skipped",
		(json_int_t)r->skipped, "failed", (json_int_t)r->failed, "bytes",
		(json_int_t)r->done);
	output_record(&r->k->inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
}

static int get_body(struct app *k)
{
	struct invocation *inv = k->inv;
	struct reader total = {.k = k};
	size_t n = inv->n_args - 1;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct reader r = {.k = k};
		_cleanup_(x_freep) char *vault_name = NULL;
		_cleanup_(x_freep) char *path = NULL;

		rc = app_split(inv, inv->args[i], &vault_name, &path);
		if (rc != 0) {
			break;
		}
		progress_init(&r.progress, &inv->out, "get");
		rc = reader_open(&r, vault_name);
		rc = rc != 0 ? rc : get_source(&r, path, inv->args[n], n > 1);
		reader_release(&r);
		total.files += r.files;
		total.done += r.done;
		total.skipped += r.skipped;
		total.failed += r.failed;
	}
	if (rc == 0 && strcmp(inv->args[n], "-") != 0) {
		get_print(&total);
	}
	if (rc == 0 && total.failed > 0) {
		rc = err_set(&inv->err,
			total.files + total.skipped > 0 ? KLUIS_EPARTIAL : KLUIS_EIO,
			"%zu of the files could not be written", total.failed);
	}
	return rc;
}

int app_get(struct invocation *inv)
{
	return app_run(inv, get_body);
}

static int cat_body(struct app *k)
{
	const struct get_config config = {.write = stdout_write};
	struct invocation *inv = k->inv;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < inv->n_args; i++) {
		struct reader r = {.k = k};
		_cleanup_(x_freep) char *vault_name = NULL;
		_cleanup_(x_freep) char *path = NULL;
		struct tree_item *item;
		bool moved;

		rc = app_split(inv, inv->args[i], &vault_name, &path);
		if (rc != 0) {
			break;
		}
		progress_init(&r.progress, &inv->out, "cat");
		rc = reader_open(&r, vault_name);
		rc = rc != 0 ? rc : tree_find(r.tree, path, &item, &inv->err);
		if (rc == 0 && (item == NULL || item->type == ITEM_FOLDER)) {
			rc = err_set(&inv->err, KLUIS_EINVAL, "'%s' is a folder", inv->args[i]);
		} else if (rc == 0 && item_type_has_fields(item->type)) {
			rc = app_show_text(
				item_fields_of(item->type, item->body).value[ITEM_TEXT], &inv->err);
		} else if (rc == 0) {
			rc = get_file(r.tree, item, &config, &moved, &inv->err);
		}
		reader_release(&r);
	}
	return rc;
}

int app_cat(struct invocation *inv)
{
	return app_run(inv, cat_body);
}

static void ls_row(const struct tree_item *item, const char *path, json_t *rows)
{
	struct tree_file file = {.size = 0};
	struct err ignored = {0};
	bool is_file = item->type == ITEM_FILE && tree_file_stat(item, &file, &ignored) == 0;
	json_t *row = json_pack("{s:s, s:s}", "name", path, "type", item_type_name(item->type));
	const json_t *modified = json_object_get(item->body, "mtime_ms");

	if (item_type_has_fields(item->type) && json_is_integer(modified)) {
		(void)json_object_set(row, "modified", (json_t *)modified);
	}
	if (is_file) {
		(void)json_object_set_new(row, "size", json_integer((json_int_t)file.size));
		(void)json_object_set_new(row, "modified", json_integer((json_int_t)file.mtime_ms));
		(void)json_object_set_new(
			row, "sha256", json_hex(bytes_of(file.sha256, HASH_BYTES)));
	}
	(void)json_array_append_new(rows, row);
}

static void ls_folder(const struct tree *tree, const struct tree_item *folder, const char *prefix,
	bool recursive, json_t *rows)
{
	size_t n;
	struct tree_item **children = tree_children(tree, folder, &n);

	for (size_t i = 0; i < n; i++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s%s", prefix, children[i]->name);

		ls_row(children[i], path, rows);
		if (recursive && children[i]->type == ITEM_FOLDER) {
			_cleanup_(x_freep) char *deeper = x_asprintf("%s/", path);

			ls_folder(tree, children[i], deeper, true, rows);
		}
	}
	free(children);
}

static int ls_body(struct app *k)
{
	static const struct output_column columns[] = {{"type", "TYPE", OUTPUT_TEXT},
		{"size", "SIZE", OUTPUT_BYTES}, {"modified", "MODIFIED", OUTPUT_TIME},
		{"name", "NAME", OUTPUT_TEXT}};
	struct invocation *inv = k->inv;
	struct reader r = {.k = k};
	_cleanup_(json_dropp) json_t *rows = json_array();
	_cleanup_(x_freep) char *whole = strchr(inv->args[0], ':') == NULL
						 ? x_asprintf("%s:/", inv->args[0])
						 : x_strdup(inv->args[0]);
	_cleanup_(x_freep) char *vault_name = NULL;
	_cleanup_(x_freep) char *path = NULL;
	struct tree_item *item;
	int rc = app_split(inv, whole, &vault_name, &path);

	if (rc != 0) {
		return rc;
	}
	progress_init(&r.progress, &inv->out, "ls");
	rc = reader_open(&r, vault_name);
	rc = rc != 0 ? rc : tree_find(r.tree, path, &item, &inv->err);
	if (rc == 0 && item != NULL && item->type != ITEM_FOLDER) {
		ls_row(item, item->name, rows);
	} else if (rc == 0) {
		ls_folder(r.tree, item, "", invocation_value(inv, "recursive") != NULL, rows);
	}
	if (rc == 0) {
		output_rows(&inv->out, columns, ARRAY_SIZE(columns), rows);
	}
	reader_release(&r);
	return rc;
}

int app_ls(struct invocation *inv)
{
	return app_run(inv, ls_body);
}

static json_t *verify_row(const struct vault *vault, const struct get_report *report)
{
	return json_pack("{s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:I}", "vault", vault->name, "head",
		(json_int_t)vault->head.seq, "head_hash",
		json_hex(bytes_of(vault->head.hash, HASH_BYTES)), "files",
		(json_int_t)report->files, "pages", (json_int_t)report->pages, "bytes",
		(json_int_t)report->bytes, "orphans", (json_int_t)report->orphans, "malformed",
		(json_int_t)report->malformed);
}

static int verify_one(struct app *k, const char *name, json_t *rows)
{
	struct reader r = {.k = k};
	const struct get_config config = {.progress = reader_progress, .arg = &r};
	struct get_report report;
	bool moved = true;
	int rc;

	progress_init(&r.progress, &k->inv->out, "verify");
	rc = app_open_vault(k, name, &r.vault); /* What the cache says proves nothing here. */
	rc = rc != 0 ? rc : tree_load(r.vault, &r.tree, &k->inv->err);
	for (unsigned tries = 0; rc == 0 && moved && tries < VAULT_FETCH_TRIES; tries++) {
		r.done = 0;
		r.total = tree_bytes(r.tree, NULL);
		rc = get_verify_all(r.tree, &config, &report, &moved, &k->inv->err);
		if (rc != 0 && moved) {
			rc = reader_reload(&r);
		} else if (rc == 0) {
			(void)json_array_append_new(rows, verify_row(r.vault, &report));
		}
	}
	reader_release(&r);
	return rc != 0 ? rc : moved ? KLUIS_ECONFLICT : 0;
}

static int verify_body(struct app *k)
{
	static const struct output_column columns[] = {{"vault", "VAULT", OUTPUT_TEXT},
		{"head", "HEAD", OUTPUT_TEXT}, {"files", "FILES", OUTPUT_TEXT},
		{"pages", "PAGES", OUTPUT_TEXT}, {"bytes", "BYTES", OUTPUT_BYTES},
		{"orphans", "ORPHANS", OUTPUT_TEXT}, {"malformed", "MALFORMED", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *rows = json_array();
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < k->inv->n_args; i++) {
		const char *colon = strchrnul(k->inv->args[i], ':');
		_cleanup_(x_freep) char *name =
			x_strndup(k->inv->args[i], (size_t)(colon - k->inv->args[i]));

		rc = *colon == 0 || colon[1] == 0 || strcmp(colon, ":/") == 0
			     ? verify_one(k, name, rows)
			     : err_set(&k->inv->err, KLUIS_EINVAL,
				       "'%s' is no vault: vaults are verified as a whole",
				       k->inv->args[i]);
	}
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), rows);
	}
	return rc;
}

int app_verify(struct invocation *inv)
{
	return app_run(inv, verify_body);
}

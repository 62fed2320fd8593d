/* kluis put|rm */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/client/json_reader.h"
#include "cli/client/put.h"
#include "cli/ui/progress.h"
#include "cli/vault/app.h"

/* One put or rm on its way. */
struct writer {
	struct app *k;
	struct vault *vault;
	struct put *put;
	struct progress progress;
	uint64_t total;
	size_t failed; /* Sources left out, each with a note. */
	const char *vault_name;
	json_t *doomed; /* Of a dry run: what an rm would remove. Else NULL. */
};

static void writer_progress(void *arg, uint64_t bytes)
{
	struct writer *w = arg;

	progress_set(&w->progress, bytes, w->total);
}

static void writer_notice(void *arg, const struct change_notice *notice)
{
	const struct writer *w = arg;

	app_notice(w->k->inv, notice);
}

/* What fails for one source alone is said, counted, and does not stop the others. */
static int writer_local(struct writer *w, int rc)
{
	struct invocation *inv = w->k->inv;

	w->failed++;
	output_error(&inv->out, "kluis", &inv->err);
	inv->err = (struct err){0};
	(void)rc;
	return 0;
}

static int writer_file(struct writer *w, const char *local, const char *path)
{
	bool is_local;
	int rc = put_file(w->put, local, path, &is_local, &w->k->inv->err);

	return rc != 0 && is_local ? writer_local(w, rc) : rc;
}

static int writer_tree(struct writer *w, const char *local, const char *path, unsigned depth);

static int writer_entry(struct writer *w, const char *local, const char *path, unsigned depth)
{
	struct invocation *inv = w->k->inv;
	struct stat st;

	if (lstat(local, &st) != 0) {
		return writer_local(w, err_set_errno(&inv->err, errno, "stat '%s'", local));
	}
	if (S_ISDIR(st.st_mode)) {
		return writer_tree(w, local, path, depth + 1);
	}
	if (!S_ISREG(st.st_mode)) {
		return writer_local(w, err_set(&inv->err, KLUIS_EINVAL,
					       "'%s' is neither file nor folder: left out", local));
	}
	return writer_file(w, local, path);
}

static int writer_names(struct writer *w, const char *local, struct dirent ***ret_names, int *ret_n)
{
	*ret_n = scandir(local, ret_names, NULL, alphasort);
	return *ret_n >= 0 ? 0 : err_set_errno(&w->k->inv->err, errno, "read folder '%s'", local);
}

/* In order of name, so that a run that goes on after an interruption makes the same pages. */
static int writer_tree(struct writer *w, const char *local, const char *path, unsigned depth)
{
	struct invocation *inv = w->k->inv;
	struct dirent **names;
	int n, rc;

	if (depth > TREE_DEPTH_MAX) {
		return writer_local(w, err_set(&inv->err, KLUIS_EINVAL,
					       "'%s' is nested too deep: left out", local));
	}
	if (writer_names(w, local, &names, &n) != 0) {
		return writer_local(w, inv->err.code);
	}
	rc = strcmp(path, "/") == 0 ? 0 : put_folder(w->put, path, &inv->err);
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;

		if (rc == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			_cleanup_(x_freep) char *child = x_asprintf("%s/%s", local, name);
			_cleanup_(x_freep) char *there = app_join(path, name);

			rc = item_name_valid(name)
				     ? writer_entry(w, child, there, depth)
				     : writer_local(w, err_set(&inv->err, KLUIS_EINVAL,
							       "'%s' has a name that cannot be "
							       "stored: left out",
							       child));
		}
		free(names[i]);
	}
	free(names);
	return rc;
}

static uint64_t local_bytes(const char *path, bool recursive, unsigned depth)
{
	struct stat st;
	uint64_t bytes = 0;
	struct dirent *entry;
	DIR *dir;

	if (lstat(path, &st) != 0) {
		return 0;
	}
	if (!S_ISDIR(st.st_mode) || !recursive || depth > TREE_DEPTH_MAX) {
		return S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	}
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
			_cleanup_(x_freep) char *child = x_asprintf("%s/%s", path, entry->d_name);

			bytes += local_bytes(child, true, depth + 1);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	return bytes;
}

/* Where a source goes: into a folder under its own name, or to the path itself. */
static char *writer_place(const struct writer *w, const char *source, const char *path, bool many)
{
	struct invocation *inv = w->k->inv;
	_cleanup_(x_freep) char *bare = x_strdup(source);
	struct tree_item *item = NULL;
	struct err ignored = {0};
	struct stat st;
	bool folder_source = stat(source, &st) == 0 && S_ISDIR(st.st_mode);
	size_t len = strlen(bare), path_len = strlen(path);
	bool root = strspn(path, "/") == path_len;

	while (len > 1 && bare[len - 1] == '/') {
		bare[--len] = 0;
	}
	if (folder_source && root && invocation_value(inv, "recursive") != NULL) {
		return x_strdup("/");
	}
	if (many || root || path[path_len - 1] == '/' ||
		(!folder_source && tree_find(put_tree(w->put), path, &item, &ignored) == 0 &&
			item != NULL && item->type == ITEM_FOLDER)) {
		return app_join(path, app_base_name(bare));
	}
	return x_strdup(path);
}

static int writer_source(struct writer *w, const char *source, const char *path, bool many)
{
	struct invocation *inv = w->k->inv;
	bool recursive = invocation_value(inv, "recursive") != NULL;
	_cleanup_(x_freep) char *place = writer_place(w, source, path, many);
	struct stat st;

	if (strcmp(source, "-") == 0) {
		return strcmp(app_base_name(place), "-") != 0
			       ? writer_file(w, source, place)
			       : err_set(&inv->err, KLUIS_EINVAL,
					 "what comes from stdin needs a name: VAULT:/PATH");
	}
	if (strcmp(place, "/") != 0 && !item_name_valid(app_base_name(place))) {
		return writer_local(
			w, err_set(&inv->err, KLUIS_EINVAL,
				   "'%s': no file in a vault can be called '%s': left out", source,
				   app_base_name(place)));
	}
	if (recursive && stat(source, &st) == 0 && S_ISDIR(st.st_mode)) {
		return writer_tree(w, source, place, 0);
	}
	return writer_file(w, source, place);
}

static void put_print(const struct writer *w, const struct put_result *result)
{
	static const struct output_column columns[] = {{"files", "Files stored", OUTPUT_TEXT},
		{"unchanged", "Unchanged", OUTPUT_TEXT}, {"failed", "Left out", OUTPUT_TEXT},
		{"bytes", "Bytes", OUTPUT_BYTES}, {"commits", "Commits", OUTPUT_TEXT},
		{"chunks_found", "Chunks already there", OUTPUT_TEXT},
		{"head", "Head", OUTPUT_TEXT}};
	json_t *record;

	if (w->k->inv->out.quiet && w->k->inv->out.format == OUTPUT_TABLE) {
		return;
	}
	record = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "files",
		(json_int_t)result->files, "unchanged", (json_int_t)result->unchanged, "failed",
		(json_int_t)w->failed, "bytes", (json_int_t)result->bytes, "commits",
		(json_int_t)result->commits, "chunks_found", (json_int_t)result->chunks_found,
		"head", (json_int_t)w->vault->head.seq);
	output_record(&w->k->inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
}

static int writer_open(struct writer *w, const char *vault_name, bool force)
{
	struct put_config config = {
		.progress = writer_progress, .notice = writer_notice, .arg = w, .force = force};
	int rc = app_open_vault(w->k, vault_name, &w->vault);

	return rc != 0 ? rc : put_new(w->vault, &config, &w->put, &w->k->inv->err);
}

static void writer_release(struct writer *w)
{
	progress_release(&w->progress);
	put_free(w->put);
	vault_close(w->vault);
}

static int put_body(struct app *k)
{
	struct invocation *inv = k->inv;
	struct writer w = {.k = k};
	struct put_result result;
	_cleanup_(x_freep) char *vault_name = NULL;
	_cleanup_(x_freep) char *path = NULL;
	size_t n = inv->n_args - 1;
	int rc = app_split(inv, inv->args[n], &vault_name, &path);

	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		w.total += local_bytes(inv->args[i], invocation_value(inv, "recursive") != NULL, 0);
	}
	progress_init(&w.progress, &inv->out, "put");
	rc = writer_open(&w, vault_name, invocation_value(inv, "force") != NULL);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = writer_source(&w, inv->args[i], path, n > 1);
	}
	rc = rc != 0 ? rc : put_finish(w.put, &result, &inv->err);
	if (rc == 0) {
		progress_set(&w.progress, w.total, w.total);
		put_print(&w, &result);
		if (w.failed > 0) {
			rc = err_set(&inv->err,
				result.files + result.unchanged > 0 ? KLUIS_EPARTIAL : KLUIS_EIO,
				"%zu of the sources could not be stored", w.failed);
		}
	}
	writer_release(&w);
	return rc;
}

int app_put(struct invocation *inv)
{
	return app_run(inv, put_body);
}

/* Children first: only an empty folder can go. */
static int rm_tree(struct writer *w, struct tree_item *item, const char *path)
{
	int rc = 0;

	if (item->type == ITEM_FOLDER) {
		/* A flush replaces the tree: the names are taken before. */
		size_t n;
		struct tree_item **children = tree_children(put_tree(w->put), item, &n);
		char **names = x_calloc(n + 1, sizeof *names);

		for (size_t i = 0; i < n; i++) {
			names[i] = app_join(path, children[i]->name);
		}
		free(children);
		for (size_t i = 0; i < n; i++) {
			struct tree_item *child;

			if (rc == 0 && tree_find(put_tree(w->put), names[i], &child,
					       &w->k->inv->err) == 0) {
				rc = rm_tree(w, child, names[i]);
			}
			free(names[i]);
		}
		free(names);
	}
	if (rc == 0 && w->doomed != NULL) {
		(void)json_array_append_new(
			w->doomed, json_pack("{s:s, s:o}", "type", item_type_name(item->type),
					   "path", json_sprintf("%s:%s", w->vault_name, path)));
		return 0;
	}
	return rc != 0 ? rc : put_remove(w->put, path, &w->k->inv->err);
}

static int rm_one(struct app *k, const char *text, json_t *doomed, bool *ret_gone)
{
	struct invocation *inv = k->inv;
	struct writer w = {.k = k, .doomed = doomed};
	struct put_result result;
	_cleanup_(x_freep) char *vault_name = NULL;
	_cleanup_(x_freep) char *path = NULL;
	struct tree_item *item;
	int rc = app_split(inv, text, &vault_name, &path);

	if (rc != 0) {
		return rc;
	}
	w.vault_name = vault_name;
	progress_init(&w.progress, &inv->out, "rm");
	rc = writer_open(&w, vault_name, false);
	rc = rc != 0 ? rc : tree_find(put_tree(w.put), path, &item, &inv->err);
	if (rc == KLUIS_ENOTFOUND && w.put != NULL && inv->n_args > 1) { /* The others still go. */
		*ret_gone = true;
		rc = writer_local(&w, rc);
		writer_release(&w);
		return rc;
	}
	if (rc == 0 && item == NULL) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "the root of a vault cannot be removed");
	}
	if (rc == 0 && item->type == ITEM_FOLDER && invocation_value(inv, "recursive") == NULL) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "'%s' is a folder: use -r", text);
	}
	rc = rc != 0 ? rc : rm_tree(&w, item, path);
	rc = rc != 0 || doomed != NULL ? rc : put_finish(w.put, &result, &inv->err);
	writer_release(&w);
	return rc;
}

static int rm_body(struct app *k)
{
	static const struct output_column columns[] = {
		{"type", "WOULD REMOVE", OUTPUT_TEXT}, {"path", "PATH", OUTPUT_TEXT}};
	bool dry = invocation_value(k->inv, "dry-run") != NULL;
	_cleanup_(json_dropp) json_t *doomed = dry ? json_array() : NULL;
	size_t n_gone = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < k->inv->n_args; i++) {
		bool gone = false;

		rc = rm_one(k, k->inv->args[i], doomed, &gone);
		n_gone += gone;
	}
	if (rc == 0 && dry) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), doomed);
	}
	if (rc == 0 && n_gone > 0) {
		rc = err_set(&k->inv->err,
			n_gone < k->inv->n_args ? KLUIS_EPARTIAL : KLUIS_ENOTFOUND,
			"%zu of %zu did not exist", n_gone, k->inv->n_args);
	}
	return rc;
}

int app_rm(struct invocation *inv)
{
	return app_run(inv, rm_body);
}

/* kluis export */
#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/client/get.h"
#include "cli/client/json_reader.h"
#include "cli/client/tar.h"
#include "cli/ui/progress.h"
#include "cli/vault/app.h"

/* A tree on its way out, into a directory or as a tar archive. */
struct export
{
	struct app *k;
	struct place place;
	struct progress progress;
	bool tar;
	uint64_t files, items, done, total, left; /* left: of the file under way, in a tar. */
	size_t failed;
};

static int export_out(const struct export *x, struct bytes bytes, struct err *e)
{
	(void)x;
	return file_write_all(STDOUT_FILENO, bytes) == 0
		       ? 0
		       : err_set_errno(e, errno, "write to standard output");
}

static int export_write(void *arg, struct bytes bytes, struct err *e)
{
	struct export *x = arg;

	/* The header has said how many come. */
	if (bytes.len > x->left) {
		return err_set(e, KLUIS_EVERIFY, "the file is longer than its item says");
	}
	x->left -= bytes.len;
	return export_out(x, bytes, e);
}

static void export_progress(void *arg, uint64_t bytes)
{
	struct export *x = arg;

	x->done += bytes;
	progress_set(&x->progress, x->done, x->total);
}

/* What fails for one place alone is said, counted, and does not stop the others. */
static int export_local(struct export *x)
{
	struct invocation *inv = x->k->inv;

	x->failed++;
	output_error(&inv->out, "kluis", &inv->err);
	inv->err = (struct err){0};
	return 0;
}

static int export_file(struct export *x, const struct tree_item *item, const char *to)
{
	const struct get_config config = {
		.write = export_write, .progress = export_progress, .arg = x, .owner_only = true};
	struct err *e = &x->k->inv->err;
	bool local = false, moved;
	struct tree_file file;
	int rc;

	if (!x->tar) {
		rc = get_file_to(x->place.tree, item, to, false, &config, &local, &moved, e);
		x->files += rc == 0;
		return rc != 0 && local ? export_local(x) : rc;
	}
	rc = tree_file_stat(item, &file, e);
	if (rc == 0) {
		_cleanup_(buf_release) struct buf header = BUF_INIT;
		_cleanup_(buf_release) struct buf pad = BUF_INIT;

		x->left = file.size;
		tar_file(&header, to, file.size, file.mtime_ms);
		tar_pad(&pad, file.size);
		rc = export_out(x, buf_bytes(&header), e);
		rc = rc != 0 ? rc : get_file(x->place.tree, item, &config, &moved, e);
		rc = rc != 0 ? rc : export_out(x, buf_bytes(&pad), e);
		x->files += rc == 0;
	}
	return rc;
}

/* All that the item says, for other programs to read. */
static int export_fields(struct export *x, const struct tree_item *item, const char *to)
{
	_cleanup_(secret_buf_release) struct buf text = BUF_INIT;
	_cleanup_(json_dropp) json_t *said = json_copy(item->body);
	struct err *e = &x->k->inv->err;
	char *dumped;
	int rc;

	(void)json_object_set_new(said, "type", json_string(item_type_name(item->type)));
	(void)json_object_del(said, "parent"); /* -1 when it was not there. */
	dumped = json_dumps(said, JSON_INDENT(2));
	buf_reserve(&text, strlen(dumped) + (size_t)3 * TAR_BLOCK_BYTES);
	if (x->tar) {
		tar_file(&text, to, strlen(dumped) + 1, 0);
	}
	buf_append(&text, dumped, strlen(dumped));
	buf_append(&text, "\n", 1);
	if (x->tar) {
		tar_pad(&text, strlen(dumped) + 1);
	}
	rc = x->tar ? export_out(x, buf_bytes(&text), e)
		    : file_create(to, buf_bytes(&text), 0600, e);
	secret_clear(dumped, strlen(dumped));
	free(dumped);
	x->items += rc == 0;
	return rc != 0 && !x->tar ? export_local(x) : rc;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* "bank.login.json", or "bank (2).login.json" where something of the folder has that name, in the
 * vault or, in *names, out of it: a long one is cut. */
static char *export_name(const struct export *x, const struct tree_item *folder,
	const struct tree_item *item, void **names)
{
	_cleanup_(x_freep) char *stem = item_name_from(item->name, 200);
	const char *type = item_type_name(item->type);
	char *name;

	if (!item_type_has_fields(item->type)) {
		return x_strdup(item->name);
	}
	name = x_asprintf("%s.%s.json", stem, type);
	for (unsigned n = 2; tree_child(x->place.tree, folder, name) != NULL ||
			     tfind(name, names, name_compare) != NULL;
		n++) {
		free(name);
		name = x_asprintf("%s (%u).%s.json", stem, n, type);
	}
	(void)tsearch(x_strdup(name), names, name_compare);
	return name;
}

static int export_make_folder(struct export *x, const char *to)
{
	_cleanup_(buf_release) struct buf header = BUF_INIT;

	if (x->tar) {
		tar_folder(&header, to);
		return export_out(x, buf_bytes(&header), &x->k->inv->err);
	}
	return mkdir(to, 0700) == 0
		       ? 0
		       : err_set_errno(&x->k->inv->err, errno, "create folder '%s'", to);
}

static int export_folder(struct export *x, const struct tree_item *folder, const char *to);

static int export_item(struct export *x, const struct tree_item *folder,
	const struct tree_item *item, const char *to, void **names)
{
	_cleanup_(x_freep) char *name = export_name(x, folder, item, names);
	_cleanup_(x_freep) char *there = x_asprintf("%s%s%s", to, to[0] == 0 ? "" : "/", name);
	int rc;

	if (item->type != ITEM_FOLDER) {
		return item_type_has_fields(item->type) ? export_fields(x, item, there)
							: export_file(x, item, there);
	}
	rc = export_make_folder(x, there);
	if (rc != 0) {
		return x->tar ? rc : export_local(x);
	}
	return export_folder(x, item, there);
}

static int export_folder(struct export *x, const struct tree_item *folder, const char *to)
{
	size_t n;
	struct tree_item **children = tree_children(x->place.tree, folder, &n);
	void *names = NULL; /* Given to notes and logins here. */
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = export_item(x, folder, children[i], to, &names);
	}
	tdestroy(names, free);
	free(children);
	return rc;
}

/* Any number of items may name the same pages: what they come to is known before a byte is there.
 */
static int export_room(const struct export *x, const char *to)
{
	struct statvfs fs;

	if (statvfs(to, &fs) == 0 && x->total / fs.f_frsize > fs.f_bavail) {
		return err_set(&x->k->inv->err, KLUIS_ENOSPACE,
			"'%s' has no room for the %llu MiB of files", to,
			(unsigned long long)(x->total >> 20));
	}
	return 0;
}

static int export_whole(struct export *x, const char *to)
{
	_cleanup_(buf_release) struct buf end = BUF_INIT;
	void *names = NULL;
	const struct tree_item *item = x->place.item;
	struct err *e = &x->k->inv->err;
	int rc = 0;

	if (!x->tar && mkdir(to, 0700) != 0) {
		return err_set_errno(e, errno, "create folder '%s'", to);
	}
	rc = x->tar ? 0 : export_room(x, to);
	if (rc == 0 && (item == NULL || item->type == ITEM_FOLDER)) {
		rc = export_folder(x, item, x->tar ? "" : to);
	} else if (rc == 0) {
		rc = export_item(
			x, tree_by_id(x->place.tree, item->parent), item, x->tar ? "" : to, &names);
	}
	tdestroy(names, free);
	if (rc == 0 && x->tar) {
		tar_end(&end);
		rc = export_out(x, buf_bytes(&end), e);
	}
	return rc;
}

static void export_print(const struct export *x)
{
	static const struct output_column columns[] = {{"files", "Files", OUTPUT_TEXT},
		{"items", "Notes and logins", OUTPUT_TEXT}, {"failed", "Left out", OUTPUT_TEXT},
		{"bytes", "Bytes", OUTPUT_BYTES}};
	_cleanup_(json_dropp) json_t *record = json_pack("{s:I, s:I, s:I, s:I}", "files",
		(json_int_t)x->files, "items", (json_int_t)x->items, "failed",
		(json_int_t)x->failed, "bytes", (json_int_t)x->done);

	if (!x->tar && !(x->k->inv->out.quiet && x->k->inv->out.format == OUTPUT_TABLE)) {
		output_record(&x->k->inv->out, columns, ARRAY_SIZE(columns), record);
	}
}

static int export_body(struct app *k)
{
	struct invocation *inv = k->inv;
	const char *to = inv->args[1];
	struct export x = {.k = k, .tar = strcmp(to, "-") == 0};
	int rc;

	if (x.tar && isatty(STDOUT_FILENO)) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"an archive is not written to a terminal: name a folder, or a pipe");
	}
	progress_init(&x.progress, &inv->out, "export");
	rc = app_open_place(k, inv->args[0], &x.place);
	if (rc == 0) {
		x.total = tree_file_bytes(x.place.tree);
		rc = export_whole(&x, to);
	}
	app_close_place(&x.place);
	progress_release(&x.progress);
	if (rc == 0) {
		export_print(&x);
	}
	if (rc == 0 && x.failed > 0) {
		rc = err_set(&inv->err, KLUIS_EPARTIAL, "%zu could not be written", x.failed);
	}
	return rc;
}

int app_export(struct invocation *inv)
{
	return app_run(inv, export_body);
}

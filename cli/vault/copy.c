/* kluis vault restore: takes up what an operator's copy of a vault has, as new revisions. */
#include <string.h>

#include "base/clock.h"
#include "cli/client/json_reader.h"
#include "cli/vault/app.h"

struct taking {
	struct app *k;
	struct vault *copy;
	struct tree *tree; /* Of the copy. */
	struct writing w;
	uint64_t items;
};

/* One file of the copy, on its way into the vault. */
struct copied_file {
	struct vault *copy;
	uint64_t *pages;
	size_t n;
};

static int copied_chunk(void *arg, uint64_t chunk, struct buf *to, struct err *e)
{
	const struct copied_file *file = arg;
	bool moved;

	return chunk >= file->n
		       ? 0
		       : vault_read_page(file->copy, file->pages[chunk], true, to, &moved, e);
}

static void copied_release(void *arg)
{
	struct copied_file *file = arg;

	free(file->pages);
	free(file);
}

static int take_file(struct taking *t, const struct tree_item *item, const char *path)
{
	struct err *e = &t->k->inv->err;
	struct copied_file *copied;
	struct put_source *source;
	struct tree_file file;
	bool local;
	int rc = tree_file_of(t->tree, item, &file, e);

	if (rc != 0) {
		return rc;
	}
	copied = x_calloc(1, sizeof *copied);
	*copied = (struct copied_file){t->copy, file.pages, file.n_pages};
	source = put_source_new(
		path, file.size, file.mode, file.mtime_ms, copied_chunk, copied_release, copied);
	source->expected = true;
	memcpy(source->expected_sha256, file.sha256, HASH_BYTES);
	return put_from(t->w.put, source, NULL, &local, e);
}

static int take_item(struct taking *t, const struct tree_item *item, const char *path)
{
	struct err *e = &t->k->inv->err;
	struct item_fields fields;

	t->items++;
	if (item->type == ITEM_FOLDER) {
		return put_folder(t->w.put, path, e);
	}
	if (!item_type_has_fields(item->type)) {
		return take_file(t, item, path);
	}
	fields = item_fields_of(item->type, item->body);
	return put_fields(t->w.put, path, item->type, &fields, NULL, e);
}

/* Depth is bounded: the tree refuses what lies deeper. */
static int take_folder(struct taking *t, const struct tree_item *folder, const char *to)
{
	size_t n;
	struct tree_item **children = tree_children(t->tree, folder, &n);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		_cleanup_(x_freep) char *path = app_join(to, children[i]->name);

		rc = take_item(t, children[i], path);
		if (rc == 0 && children[i]->type == ITEM_FOLDER) {
			rc = take_folder(t, children[i], path);
		}
	}
	free(children);
	return rc;
}

/* "/restored 2026-11-22T16:00:00Z": the time of the copy's head. */
static char *take_default(const struct vault *copy)
{
	char when[21];

	clock_format(copy->head.unix_ms, when);
	return x_asprintf("/restored %s", when);
}

static int take_all(struct taking *t, const char *into)
{
	int rc = strcmp(into, "/") == 0 ? 0 : put_folder(t->w.put, into, &t->k->inv->err);

	return rc != 0 ? rc : take_folder(t, NULL, into);
}

static void take_print(const struct taking *t, const char *into, const struct put_result *result)
{
	static const struct output_column columns[] = {{"vault", "Vault", OUTPUT_TEXT},
		{"head", "As of head", OUTPUT_TEXT}, {"written", "Signed", OUTPUT_TIME},
		{"into", "Into", OUTPUT_TEXT}, {"items", "Items", OUTPUT_TEXT},
		{"files", "Files written", OUTPUT_TEXT},
		{"unchanged", "Files unchanged", OUTPUT_TEXT}, {"bytes", "Bytes", OUTPUT_BYTES}};
	_cleanup_(json_dropp) json_t *record = json_pack("{s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I}",
		"vault", t->copy->name, "head", (json_int_t)t->copy->head.seq, "written",
		(json_int_t)t->copy->head.unix_ms, "into", into, "items", (json_int_t)t->items,
		"files", (json_int_t)result->files, "unchanged", (json_int_t)result->unchanged,
		"bytes", (json_int_t)result->bytes);

	output_record(&t->k->inv->out, columns, ARRAY_SIZE(columns), record);
}

/* The same vault a second time, as it was; the one that is written to was synced. */
static int take_open(struct taking *t, const char *name, const char *dir)
{
	struct app *k = t->k;
	struct err *e = &k->inv->err;
	int rc = vault_open(k->profile, k->client, name, &t->copy, e);

	rc = rc != 0 ? rc : vault_open_copy(t->copy, dir, e);
	return rc != 0 ? rc : tree_load(t->copy, &t->tree, e);
}

static int restore_body(struct app *k)
{
	struct invocation *inv = k->inv;
	struct taking t = {.k = k};
	struct put_result result;
	const char *given = invocation_value(inv, "into");
	_cleanup_(x_freep) char *into = NULL;
	int rc = app_open_writing(k, inv->args[0], &t.w);

	rc = rc != 0 ? rc : take_open(&t, t.w.vault_name, inv->args[1]);
	if (rc == 0) {
		into = given != NULL ? tree_canonical(given) : take_default(t.copy);
		rc = take_all(&t, into[0] == 0 ? "/" : into);
	}
	rc = rc != 0 ? rc : put_finish(t.w.put, &result, &inv->err);
	if (rc == 0) {
		take_print(&t, into[0] == 0 ? "/" : into, &result);
	}
	app_close_writing(&t.w); /* Its sources read the copy. */
	tree_free(t.tree);
	vault_close(t.copy);
	return rc;
}

int app_vault_restore(struct invocation *inv)
{
	return app_run(inv, restore_body);
}

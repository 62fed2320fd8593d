#include "cli/client/change.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"

enum { CHANGE_ITEM_BYTES = 512, CHANGE_COPIES_MAX = 1000 };

struct change_base change_base_of(const struct tree_item *item)
{
	struct change_base base = {.any = item != NULL};

	if (item != NULL) {
		assert(item->name != NULL && strlen(item->name) <= ITEM_NAME_BYTES_MAX);
		memcpy(base.id, item->id, ID_BYTES);
		memcpy(base.parent, item->parent, ID_BYTES);
		memcpy(base.name, item->name, strlen(item->name) + 1);
		tree_item_state(item, base.state);
	}
	return base;
}

void change_release(struct change *change)
{
	put_source_free(change->source);
	free(change->path);
	free(change->to);
	for (size_t i = 0; i < ITEM_FIELDS; i++) {
		char *value = (char *)change->fields.value[i];

		if (value != NULL) {
			secret_clear(value, strlen(value));
			free(value);
		}
	}
	*change = (struct change){.kind = change->kind};
}

size_t change_cost(const struct change *change)
{
	size_t bytes = CHANGE_ITEM_BYTES;

	for (size_t i = 0; i < ITEM_FIELDS; i++) {
		bytes += change->fields.value[i] == NULL ? 0 : strlen(change->fields.value[i]);
	}
	/* What is new goes to the last page; what is there makes its own page dirty. */
	return change->kind == CHANGE_FIELDS && !change->base.any ? bytes
								  : TREE_PAGE_FILL_BYTES + bytes;
}

void change_notices_release(struct change_notices *notices)
{
	for (size_t i = 0; i < notices->n; i++) {
		free(notices->rows[i].wanted);
		free(notices->rows[i].path);
	}
	free(notices->rows);
	*notices = (struct change_notices){.n = 0};
}

static void notices_add(struct change_notices *notices, enum change_outcome outcome,
	const char *wanted, const char *path)
{
	notices->rows = x_realloc(notices->rows, (notices->n + 1) * sizeof *notices->rows);
	notices->rows[notices->n++] = (struct change_notice){
		outcome, x_strdup(wanted), path == NULL ? NULL : x_strdup(path)};
}

char *change_notice_text(const struct change_notice *notice)
{
	switch (notice->outcome) {
	case CHANGE_KEPT_BOTH:
		return x_asprintf("'%s' was changed by another device meanwhile: yours is kept "
				  "beside it as '%s'",
			notice->wanted, notice->path);
	case CHANGE_REVIVED:
		return x_asprintf("'%s' was removed by another device meanwhile: yours, which is "
				  "changed, is kept",
			notice->wanted);
	case CHANGE_NOT_REMOVED:
		return x_asprintf("'%s' was changed by another device meanwhile: it is not removed",
			notice->wanted);
	case CHANGE_NOT_MOVED:
	default:
		return notice->path == NULL
			       ? x_asprintf("'%s' was removed by another device meanwhile: it is "
					    "not moved",
					 notice->wanted)
			       : x_asprintf("'%s' was moved to '%s' by another device meanwhile: "
					    "it stays there",
					 notice->wanted, notice->path);
	}
}

/* "report (conflict of laptop 2026-11-22).txt", with " 2" and so on behind the date from the second
 * on. */
static char *conflict_name(const char *name, const struct change_writer *writer, unsigned number)
{
	_cleanup_(x_freep) char *device = item_name_from(writer->device, 64);
	const char *dot = strrchr(name, '.');
	size_t stem = dot == NULL || dot == name || strlen(dot) > 16 ? strlen(name)
								     : (size_t)(dot - name);
	_cleanup_(x_freep) char *bare = x_strndup(name, stem);
	_cleanup_(x_freep) char *shorter = item_name_from(bare, 120);
	char date[21], again[16] = "";

	clock_format(writer->unix_ms, date);
	date[10] = 0;
	if (number > 1) {
		(void)snprintf(again, sizeof again, " %u", number);
	}
	return x_asprintf("%s (conflict of %s %s%s)%s", shorter, device, date, again, name + stem);
}

/* The first name made from this one that is free in the folder; with `folder`, also one that a
 * folder has. */
static char *conflict_free(const struct tree *tree, const struct tree_item *parent,
	const char *name, const struct change_writer *writer, bool folder)
{
	for (unsigned number = 1; number < CHANGE_COPIES_MAX; number++) {
		char *other = conflict_name(name, writer, number);
		const struct tree_item *there = tree_child(tree, parent, other);

		if (there == NULL || (folder && there->type == ITEM_FOLDER)) {
			return other;
		}
		free(other);
	}
	return NULL;
}

/* A path like this one where something new can stand: what is in the way is gone round, on the way
 * by a folder of another name, at its end (unless `folder` and it is one) by another name. Folders
 * that were removed come back. NULL: there is none. */
static char *change_place(
	const struct tree *tree, const char *path, const struct change_writer *writer, bool folder)
{
	const struct tree_item *parent = NULL;
	char *to = x_strdup("");

	for (const char *at = path + strspn(path, "/"); *at != 0;) {
		size_t len = strcspn(at, "/");
		const char *next = at + len + strspn(at + len, "/");
		char *name = x_strndup(at, len), *longer;
		struct tree_item *there =
			parent == NULL && to[0] != 0 ? NULL : tree_child(tree, parent, name);
		bool through = *next != 0 || folder;

		if (there != NULL && !(through && there->type == ITEM_FOLDER)) {
			char *other = conflict_free(tree, parent, name, writer, through);

			free(name);
			if (other == NULL) {
				free(to);
				return NULL;
			}
			name = other;
			there = tree_child(tree, parent, name);
		}
		longer = x_asprintf("%s/%s", to, name);
		free(name);
		free(to);
		to = longer;
		parent = there;
		at = next;
	}
	return to;
}

/* What is to be written is there already. */
static bool change_same(const struct change *change, const struct tree_item *item)
{
	const struct put_source *source = change->source;
	struct tree_file file;
	struct err ignored = {0};

	if (change->kind == CHANGE_FIELDS) {
		return item->type == change->type &&
		       item_fields_same(item->type, item->body, &change->fields);
	}
	return item->type == ITEM_FILE && tree_file_stat(item, &file, &ignored) == 0 &&
	       file.size == source->file.size &&
	       memcmp(file.sha256, source->file.sha256, HASH_BYTES) == 0;
}

static int change_write(
	struct tree *tree, const struct change *change, const char *path, struct err *e)
{
	return change->kind == CHANGE_FIELDS
		       ? tree_put_fields(tree, path, change->type, &change->fields, e)
		       : tree_put_file(tree, path, NULL, &change->source->file, e);
}

static int change_no_place(const struct tree *tree, const char *path, struct err *e)
{
	return err_set(
		e, KLUIS_ECONFLICT, "'%s:%s': no free name beside it", tree->vault->name, path);
}

/* Beside what another device has there. Fields that are not given are those of the base, which the
 * other version still has unless it changed them: ours takes them from there. */
static int change_write_beside(struct tree *tree, const struct change *change,
	const struct tree_item *theirs, const char *path, const struct change_writer *writer,
	struct change_notices *notices, struct err *e)
{
	_cleanup_(x_freep) char *place = change_place(tree, path, writer, false);
	struct item_fields rest;
	int rc;

	if (place == NULL) {
		return change_no_place(tree, path, e);
	}
	if (change->kind == CHANGE_FIELDS && theirs != NULL && theirs->type == change->type) {
		rest = item_fields_of(theirs->type, theirs->body);
		rc = tree_put_fields(tree, place, change->type, &rest, e);
		if (rc != 0) {
			return rc;
		}
	}
	notices_add(notices, CHANGE_KEPT_BOTH, path, place);
	return change_write(tree, change, place, e);
}

/* What it was made on, wherever it is now; NULL when it is gone. */
static struct tree_item *base_item(const struct tree *tree, const struct change_base *base)
{
	struct tree_item *item = base->any ? tree_by_id(tree, base->id) : NULL;

	return item != NULL && item->name != NULL ? item : NULL;
}

static int change_apply_write(struct tree *tree, const struct change *change,
	const struct change_writer *writer, struct change_notices *notices, struct err *e)
{
	const struct change_base *base = &change->base;
	struct tree_item *item = base_item(tree, base);
	_cleanup_(x_freep) char *path =
		item != NULL ? tree_path(tree, item) : x_strdup(change->path);
	_cleanup_(x_freep) char *place = NULL;
	struct err ignored = {0};
	uint8_t state[HASH_BYTES];

	if (item == NULL) { /* Ours is new, or what it was made on is gone. */
		if (tree_find(tree, path, &item, &ignored) != 0) {
			item = NULL;
		}
	} else {
		tree_item_state(item, state);
		if (memcmp(state, base->state, HASH_BYTES) == 0) {
			return change_write(tree, change, path, e);
		}
	}
	if (item != NULL) {
		return change_same(change, item)
			       ? change_write(tree, change, path, e)
			       : change_write_beside(tree, change, item, path, writer, notices, e);
	}
	place = writer->newer ? change_place(tree, path, writer, false) : x_strdup(path);
	if (place == NULL) {
		return change_no_place(tree, path, e);
	}
	if (strcmp(place, path) != 0) {
		notices_add(notices, CHANGE_KEPT_BOTH, path, place);
	} else if (base->any) {
		notices_add(notices, CHANGE_REVIVED, path, place);
	}
	return change_write(tree, change, place, e);
}

static int change_apply_folder(struct tree *tree, const struct change *change,
	const struct change_writer *writer, struct change_notices *notices, struct err *e)
{
	_cleanup_(x_freep) char *place = writer->newer
						 ? change_place(tree, change->path, writer, true)
						 : x_strdup(change->path);
	struct tree_item *item;
	struct err ignored = {0};

	if (place == NULL) {
		return change_no_place(tree, change->path, e);
	}
	if (tree_find(tree, change->path, &item, &ignored) == 0 && item != NULL &&
		item->type != ITEM_FOLDER) {
		notices_add(notices, CHANGE_KEPT_BOTH, change->path, place);
	}
	return tree_make_folders(tree, place, &item, e);
}

static int change_apply_remove(struct tree *tree, const struct change *change,
	const struct change_writer *writer, struct change_notices *notices, struct err *e)
{
	struct tree_item *item = base_item(tree, &change->base);
	_cleanup_(x_freep) char *path = NULL;
	uint8_t state[HASH_BYTES];
	int rc;

	if (item == NULL) {
		return 0; /* Gone already. */
	}
	path = tree_path(tree, item);
	tree_item_state(item, state);
	if (item->type != ITEM_FOLDER && memcmp(state, change->base.state, HASH_BYTES) != 0) {
		notices_add(notices, CHANGE_NOT_REMOVED, change->path, path);
		return 0;
	}
	rc = tree_remove(tree, item, e);
	if (rc == KLUIS_ECONFLICT && writer->newer) { /* What is in it was put there since. */
		notices_add(notices, CHANGE_NOT_REMOVED, change->path, path);
		rc = 0;
	}
	return rc;
}

static int change_apply_move(struct tree *tree, const struct change *change,
	const struct change_writer *writer, struct change_notices *notices, struct err *e)
{
	const struct change_base *base = &change->base;
	struct tree_item *item = base_item(tree, base);
	_cleanup_(x_freep) char *path = NULL;
	_cleanup_(x_freep) char *place = NULL;
	int rc;

	if (item == NULL) {
		notices_add(notices, CHANGE_NOT_MOVED, change->path, NULL);
		return 0;
	}
	path = tree_path(tree, item);
	if (strcmp(item->name, base->name) != 0 ||
		memcmp(item->parent, base->parent, ID_BYTES) != 0) {
		if (strcmp(path, change->to) != 0) {
			notices_add(notices, CHANGE_NOT_MOVED, change->path, path);
		}
		return 0;
	}
	place = writer->newer ? change_place(tree, change->to, writer, false)
			      : x_strdup(change->to);
	if (place == NULL) {
		return change_no_place(tree, change->to, e);
	}
	rc = tree_move(tree, item, place, e);
	if (rc == KLUIS_EINVAL && writer->newer) { /* Its folder went into it meanwhile. */
		notices_add(notices, CHANGE_NOT_MOVED, change->path, path);
		return 0;
	}
	if (rc == 0 && strcmp(place, change->to) != 0 && writer->newer) {
		notices_add(notices, CHANGE_KEPT_BOTH, change->to, place);
	}
	return rc;
}

int change_apply(struct tree *tree, const struct change *change, const struct change_writer *writer,
	struct change_notices *notices, struct err *e)
{
	switch (change->kind) {
	case CHANGE_FILE:
	case CHANGE_FIELDS:
		return change_apply_write(tree, change, writer, notices, e);
	case CHANGE_FOLDER:
		return change_apply_folder(tree, change, writer, notices, e);
	case CHANGE_MOVE:
		return change_apply_move(tree, change, writer, notices, e);
	case CHANGE_REMOVE:
	default:
		return change_apply_remove(tree, change, writer, notices, e);
	}
}

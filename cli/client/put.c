#include "cli/client/put_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { PUT_JOURNAL_BYTES_MIN = 4 << 20 };

uint64_t put_first_page(const struct vault *vault)
{
	return vault->head.page_count == 0 ? 1 : vault->head.page_count; /* 0 is the index. */
}

int put_new(
	struct vault *vault, const struct put_config *config, struct put **ret_put, struct err *e)
{
	struct tree *tree;
	struct put *put;
	int rc = vault->offline ? err_set(e, KLUIS_ECONNECT,
					  "vault '%s': nothing is written offline", vault->name)
				: vault_may_write(vault->profile, e);

	rc = rc != 0 ? rc : tree_load(vault, &tree, e);
	if (rc != 0) {
		return rc;
	}
	put = x_calloc(1, sizeof *put);
	put->vault = vault;
	put->config = *config;
	put->tree = tree;
	put->next_page = put_first_page(vault);
	*ret_put = put;
	return 0;
}

struct tree *put_tree(struct put *put)
{
	return put->tree;
}

void put_clear_batch(struct put *put)
{
	for (size_t i = 0; i < put->n_pieces; i++) {
		buf_release(&put->pieces[i].page);
		secret_buf_release(&put->pieces[i].plain);
	}
	for (size_t i = 0; i < put->n_changes; i++) {
		change_release(&put->changes[i]);
	}
	put->n_pieces = put->n_changes = put->cost = put->inline_bytes = 0;
}

void put_free(struct put *put)
{
	if (put == NULL) {
		return;
	}
	put_clear_batch(put);
	upload_free(put->upload);
	tree_free(put->tree);
	change_notices_release(&put->notices);
	free(put->changes);
	free(put->carried);
	free(put);
}

/* A page that an interrupted upload committed, if it still holds this very chunk. */
static bool put_reuse(struct put *put, struct put_source *source, struct bytes content,
	const uint8_t plain_hash[HASH_BYTES])
{
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	uint64_t page_no, chunk = source->file.n_pages;

	if (chunk >= source->n_earlier) {
		return false;
	}
	page_no = source->earlier[chunk];
	if (page_no >= put->vault->head.page_count || !vault_page_written(put->vault, page_no) ||
		vault_seal_page(put->vault, page_no, put->vault->leaves[page_no].revision,
			PAGE_CHUNK, 0, content, plain_hash, &page, NULL) != 0 ||
		vault_check_page(put->vault, page_no, buf_bytes(&page), NULL) != 0) {
		return false;
	}
	put->result.chunks_found++;
	put_source_add_page(source, page_no);
	return true;
}

static int put_chunk(
	struct put *put, struct put_source *source, struct bytes content, struct err *e)
{
	size_t most = source->pipe ? PUT_PIPE_CHUNKS_MAX : PUT_CHUNKS_MAX;
	struct put_piece *piece;
	uint8_t plain_hash[HASH_BYTES];
	int rc;

	hash_sha256(content, plain_hash);
	if (put_reuse(put, source, content, plain_hash)) {
		return 0;
	}
	if (put->n_pieces >= most) {
		rc = put_flush(put, e);
		rc = rc != 0 || source->pipe || source->read != NULL
			     ? rc
			     : put_journal_store(put->vault, source, e);
		if (rc != 0) {
			return rc;
		}
	}
	piece = &put->pieces[put->n_pieces];
	*piece = (struct put_piece){.source = source, .chunk = source->file.n_pages};
	memcpy(piece->plain_hash, plain_hash, HASH_BYTES);
	rc = piece_seal(put, piece, content, e);
	if (rc != 0) {
		return rc;
	}
	if (source->pipe) {
		buf_append_bytes(&piece->plain, content);
	}
	put_source_add_page(source, piece->entry.page_no);
	put->n_pieces++;
	return 0;
}

/* Chunks of a file that could not be finished: forgotten, or made tombstones if committed. */
static void put_abandon(struct put *put, struct put_source *source)
{
	while (put->n_pieces > 0 && put->pieces[put->n_pieces - 1].source == source) {
		struct put_piece *piece = &put->pieces[--put->n_pieces];

		put->inline_bytes -= piece->page.len;
		put->next_page = piece->entry.page_no;
		source->file.n_pages--;
		buf_release(&piece->page);
		secret_buf_release(&piece->plain);
	}
	for (size_t i = 0; i < source->file.n_pages; i++) {
		tree_doom(put->tree, source->file.pages[i]);
	}
}

static int put_read(struct put *put, struct put_source *source, bool *ret_local, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	int rc;

	do {
		rc = put_source_next(source, &content, e);
		if (rc != 0) {
			*ret_local = true;
			put_abandon(put, source);
			return rc;
		}
		if (content.len > 0) {
			rc = put_chunk(put, source, buf_bytes(&content), e);
			put->result.bytes += content.len;
		}
		if (put->config.progress != NULL) {
			put->config.progress(put->config.arg, put->result.bytes);
		}
	} while (rc == 0 && content.len > 0);
	return rc;
}

/* Takes what the change owns. */
static void put_change(struct put *put, const struct change *change)
{
	if (put->n_changes == put->changes_cap) {
		put->changes_cap = put->changes_cap == 0 ? 64 : 2 * put->changes_cap;
		put->changes = x_realloc(put->changes, put->changes_cap * sizeof *put->changes);
	}
	put->changes[put->n_changes++] = *change;
	put->cost += change_cost(change);
}

/* What is there now, unless the caller looked earlier. */
static struct change_base put_base(
	struct put *put, const char *path, const struct change_base *base)
{
	struct tree_item *item;
	struct err ignored = {0};

	if (base != NULL) {
		put->newer = true;
		return *base;
	}
	return change_base_of(tree_find(put->tree, path, &item, &ignored) == 0 ? item : NULL);
}

/* Each path is changed once a commit, so that each change is made on what the tree shows. */
static int put_make_room(struct put *put, const char *path, struct err *e)
{
	bool full = put->cost >= PUT_COST_MAX || put->n_changes >= PUT_CHANGES_MAX;

	for (size_t i = 0; i < put->n_changes && !full; i++) {
		const struct change *change = &put->changes[i];

		full = strcmp(change->path, path) == 0 ||
		       (change->to != NULL && strcmp(change->to, path) == 0);
	}
	return full ? put_flush(put, e) : 0;
}

/* The same content is there already. */
static int put_unchanged(
	struct put *put, struct put_source *source, bool *ret_unchanged, struct err *e)
{
	struct tree_item *item;
	struct tree_file there;
	struct err ignored = {0};
	uint8_t sha256[HASH_BYTES];
	int rc;

	*ret_unchanged = false;
	if (put->config.force || source->pipe ||
		tree_find(put->tree, source->path, &item, &ignored) != 0 || item == NULL ||
		tree_file_stat(item, &there, &ignored) != 0 || there.size != source->size) {
		return 0;
	}
	rc = put_source_sha256(source, sha256, e);
	*ret_unchanged = rc == 0 && memcmp(sha256, there.sha256, HASH_BYTES) == 0;
	return rc;
}

static int put_begin(struct put *put, struct put_source *source, struct err *e)
{
	bool any;
	int rc;

	if (source->pipe || source->read != NULL || source->size < PUT_JOURNAL_BYTES_MIN) {
		return 0;
	}
	rc = put_journal_load(put->vault, source, &any, e);
	if (rc != 0) {
		return rc;
	}
	put->resuming = put->resuming || (any && !put->noted);
	put->noted = true;
	/* The pages of the earlier run stay named until this run has pages of its own. */
	return source->n_earlier > 0 ? 0 : put_journal_store(put->vault, source, e);
}

/* All of a source but the change that names it. */
static int put_store(struct put *put, struct put_source *source, bool *ret_local, struct err *e)
{
	int rc = put_begin(put, source, e);

	rc = rc != 0 ? rc : put_read(put, source, ret_local, e);
	if (rc != 0 && !*ret_local) { /* The put has failed: no piece may name the source. */
		put_clear_batch(put);
	}
	return rc;
}

int put_from(struct put *put, struct put_source *source, const struct change_base *base,
	bool *ret_local, struct err *e)
{
	struct change change = {.kind = CHANGE_FILE, .source = source};
	bool unchanged = false;
	int rc;

	*ret_local = false;
	change.path = tree_canonical(source->path);
	rc = put_make_room(put, change.path, e);
	if (rc == 0) {
		change.base = put_base(put, change.path, base); /* Behind what was committed now. */
		/* Said now rather than when all of it was uploaded. */
		rc = base != NULL ? 0 : tree_check_place(put->tree, source->path, false, e);
		rc = rc != 0 || base != NULL ? rc : put_unchanged(put, source, &unchanged, e);
		*ret_local = rc != 0;
	}
	if (rc == 0 && !unchanged) {
		rc = put_store(put, source, ret_local, e);
	}
	if (rc != 0 || unchanged) {
		put->result.unchanged += unchanged;
		put->result.bytes += unchanged ? source->size : 0;
		change_release(&change);
		return rc;
	}
	put_change(put, &change);
	put->result.files++;
	return 0;
}

int put_file(
	struct put *put, const char *local_path, const char *path, bool *ret_local, struct err *e)
{
	struct put_source *source;
	int rc = put_source_open(local_path, path, &source, e);

	*ret_local = rc != 0;
	return rc != 0 ? rc : put_from(put, source, NULL, ret_local, e);
}

int put_folder(struct put *put, const char *path, struct err *e)
{
	struct change change = {.kind = CHANGE_FOLDER};
	struct tree_item *item;
	struct err ignored = {0};
	int rc;

	if (tree_find(put->tree, path, &item, &ignored) == 0 &&
		(item == NULL || item->type == ITEM_FOLDER)) {
		return 0;
	}
	change.path = tree_canonical(path);
	rc = tree_check_place(put->tree, path, true, e);
	rc = rc != 0 ? rc : put_make_room(put, change.path, e);
	if (rc != 0) {
		change_release(&change);
		return rc;
	}
	put_change(put, &change);
	return 0;
}

int put_fields(struct put *put, const char *path, unsigned type, const struct item_fields *fields,
	const struct change_base *base, struct err *e)
{
	struct change change = {.kind = CHANGE_FIELDS, .type = type};
	int rc = item_fields_check(type, fields, e);

	change.path = tree_canonical(path);
	rc = rc != 0 || base != NULL ? rc : tree_check_place(put->tree, path, false, e);
	rc = rc != 0 ? rc : put_make_room(put, change.path, e);
	if (rc != 0) {
		change_release(&change);
		return rc;
	}
	change.base = put_base(put, change.path, base);
	for (size_t i = 0; i < ITEM_FIELDS; i++) {
		if (fields->value[i] != NULL) {
			change.fields.value[i] = x_strdup(fields->value[i]);
		}
	}
	put_change(put, &change);
	return 0;
}

int put_move(struct put *put, const char *path, const char *to, struct err *e)
{
	struct change change = {.kind = CHANGE_MOVE};
	struct tree_item *item;
	int rc;

	change.path = tree_canonical(path);
	change.to = tree_canonical(to);
	rc = put_make_room(put, change.path, e);
	rc = rc != 0 ? rc : put_make_room(put, change.to, e);
	rc = rc != 0 ? rc : tree_find(put->tree, path, &item, e);
	if (rc == 0 && item == NULL) {
		rc = err_set(e, KLUIS_EINVAL, "the root of a vault cannot be moved");
	}
	rc = rc != 0 ? rc : tree_check_move(put->tree, item, change.to, e);
	if (rc != 0) {
		change_release(&change);
		return rc;
	}
	change.base = change_base_of(item);
	put_change(put, &change);
	return 0;
}

int put_remove(struct put *put, const char *path, struct err *e)
{
	struct change change = {.kind = CHANGE_REMOVE};
	int rc;

	change.path = tree_canonical(path);
	rc = put_make_room(put, change.path, e);
	if (rc != 0) {
		change_release(&change);
		return rc;
	}
	change.base = put_base(put, change.path, NULL);
	put_change(put, &change);
	return 0;
}

int put_finish(struct put *put, struct put_result *ret_result, struct err *e)
{
	int rc;

	do {
		rc = put_flush(put, e);
	} while (rc == 0 && put->tree->n_doomed > 0);
	if (rc == 0 && put->noted) {
		rc = put_journal_drop(put->vault, e);
	}
	if (rc == 0) {
		*ret_result = put->result;
	}
	return rc;
}

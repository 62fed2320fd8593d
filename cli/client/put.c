#include "cli/client/put.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "cli/client/upload.h"

enum { PUT_JOURNAL_BYTES_MIN = 4 << 20, PUT_COMMIT_INLINE_BYTES_MAX = 740 * 1024 };

/* A sealed chunk that waits for its commit. */
struct put_piece {
	struct put_source *source;
	uint64_t chunk; /* Of its file. */
	uint8_t plain_hash[HASH_BYTES];
	struct api_entry entry;
	struct buf page;  /* Inline ones. */
	struct buf plain; /* Of a pipe: it cannot be read again. */
};

struct put {
	struct vault *vault;
	struct put_config config;
	struct tree *tree;
	struct upload *upload;
	bool resuming, noted; /* noted: the journal names an upload of ours. */
	struct put_piece pieces[PUT_CHUNKS_MAX];
	size_t n_pieces, inline_bytes;
	struct change *changes;
	size_t n_changes, changes_cap, cost;
	struct change_notices notices; /* Of the try under way. */
	bool newer;		       /* Another writer was first since the put began. */
	uint64_t next_page;
	uint64_t *carried; /* Doomed before this commit's changes: they outlive a conflict. */
	size_t n_carried;
	struct put_result result;
};

/* The pages of a commit, sealed or staged, in order. */
struct put_batch {
	struct api_entry entries[COMMIT_ENTRIES_MAX];
	struct buf pages[COMMIT_ENTRIES_MAX];  /* Of item pages and tombstones. */
	uint64_t page_nos[COMMIT_ENTRIES_MAX]; /* Theirs. */
	size_t n, inline_bytes, doomed;
};

static uint64_t put_first_page(const struct vault *vault)
{
	return vault->head.page_count == 0 ? 1 : vault->head.page_count; /* 0 is the index. */
}

int put_new(
	struct vault *vault, const struct put_config *config, struct put **ret_put, struct err *e)
{
	struct tree *tree;
	struct put *put;
	int rc = tree_load(vault, &tree, e);

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

static void put_clear_batch(struct put *put)
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

/* Seals a piece at its place, and keeps or stages the page. */
static int piece_seal(struct put *put, struct put_piece *piece, struct bytes content, struct err *e)
{
	struct vault *vault = put->vault;
	struct buf page = BUF_INIT;
	int rc;

	piece->entry = (struct api_entry){
		.page_no = put->next_page, .epoch = vault->keys[vault->n_keys - 1].epoch};
	rc = vault_next_revision(vault, put->next_page, &piece->entry.revision, e);
	if (rc != 0) {
		return rc;
	}
	buf_reserve(&page, content.len + 8192);
	rc = vault_seal_page(vault, piece->entry.page_no, piece->entry.revision, PAGE_CHUNK, 0,
		content, piece->plain_hash, &page, e);
	if (rc != 0) {
		buf_release(&page);
		return rc;
	}
	put->next_page++;
	hash_sha256(buf_bytes(&page), piece->entry.page_hash);
	if (page.len <= PUT_INLINE_PAGE_MAX &&
		put->inline_bytes + page.len <= PUT_INLINE_BYTES_MAX) {
		put->inline_bytes += page.len;
		piece->page = page;
		return 0;
	}
	piece->entry.staged = true;
	if (put->upload == NULL) {
		put->upload = upload_new(vault, put->resuming);
	}
	return upload_put(put->upload, &page, piece->entry.page_hash, e);
}

/* After a conflict: every piece anew, at the next free numbers. */
static int put_renumber(struct put *put, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf content = BUF_INIT;
	int rc = 0;

	put->next_page = put_first_page(put->vault);
	put->inline_bytes = 0;
	for (size_t i = 0; i < put->n_pieces && rc == 0; i++) {
		struct put_piece *piece = &put->pieces[i];
		struct bytes again = buf_bytes(&piece->plain);

		buf_release(&piece->page);
		if (!piece->source->pipe) {
			rc = put_source_again(
				piece->source, piece->chunk, piece->plain_hash, &content, e);
			again = buf_bytes(&content);
		}
		rc = rc != 0 ? rc : piece_seal(put, piece, again, e);
		if (rc == 0) {
			piece->source->file.pages[piece->chunk] = piece->entry.page_no;
		}
	}
	return rc;
}

static int put_apply(struct put *put, struct err *e)
{
	const struct profile *profile = put->vault->profile;
	const struct identity_device *device =
		identity_device(&profile->identity, profile->device_id);
	const struct change_writer writer = {.device = device == NULL ? "" : device->name,
		.unix_ms = clock_wall_ms(&clock_system),
		.newer = put->newer};
	int rc = 0;

	change_notices_release(&put->notices);
	for (size_t i = 0; i < put->n_changes && rc == 0; i++) {
		rc = change_apply(put->tree, &put->changes[i], &writer, &put->notices, e);
	}
	return rc;
}

static int put_stage(struct put *put, struct api_entry *entry, struct buf *page, struct err *e)
{
	entry->staged = true;
	if (put->upload == NULL) {
		put->upload = upload_new(put->vault, put->resuming);
	}
	return upload_put(put->upload, page, entry->page_hash, e);
}

/* An item page or a tombstone into the batch. */
static int batch_add(struct put *put, struct put_batch *b, uint64_t page_no, unsigned flags,
	struct bytes content, struct err *e)
{
	struct vault *vault = put->vault;
	struct api_entry *entry = &b->entries[b->n];
	struct buf *page = &b->pages[b->n];
	uint8_t plain[HASH_BYTES];
	int rc;

	if (b->n == COMMIT_ENTRIES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more pages change than a commit can hold");
	}
	*entry = (struct api_entry){
		.page_no = page_no, .epoch = vault->keys[vault->n_keys - 1].epoch};
	hash_sha256(content, plain);
	rc = vault_next_revision(vault, page_no, &entry->revision, e);
	rc = rc != 0 ? rc
		     : vault_seal_page(vault, page_no, entry->revision, PAGE_ITEMS, flags, content,
			       plain, page, e);
	if (rc != 0) {
		return rc;
	}
	hash_sha256(buf_bytes(page), entry->page_hash);
	if (b->inline_bytes + page->len <= PUT_COMMIT_INLINE_BYTES_MAX) {
		b->inline_bytes += page->len;
		entry->page = buf_bytes(page);
	} else {
		struct buf kept = BUF_INIT;

		buf_append_bytes(&kept, buf_bytes(page));
		rc = put_stage(put, entry, page, e);
		*page = kept;
	}
	b->page_nos[b->n++] = page_no;
	return rc;
}

static int number_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bool page_is_items(const struct tree *tree, uint64_t page_no)
{
	for (size_t i = 0; i < tree->n_pages; i++) {
		if (tree->pages[i].page_no == page_no && tree->pages[i].part_of == NULL) {
			return true;
		}
	}
	return false;
}

/* As many tombstones as there is room for; the others wait for the next commit. */
static int batch_add_doomed(struct put *put, struct put_batch *b, struct err *e)
{
	struct tree *tree = put->tree;
	int rc = 0;

	if (tree->n_doomed > 1) {
		qsort(tree->doomed, tree->n_doomed, sizeof *tree->doomed, number_compare);
	}
	while (rc == 0 && b->doomed < tree->n_doomed && b->n < COMMIT_ENTRIES_MAX &&
		b->inline_bytes + PAGE_TOMBSTONE_BYTES <= PUT_COMMIT_INLINE_BYTES_MAX) {
		uint64_t page_no = tree->doomed[b->doomed];
		bool again = b->doomed > 0 && tree->doomed[b->doomed - 1] == page_no;

		/* Items come from other devices, too: a list that names an item page is wrong. */
		if (!again && page_no < put->vault->head.page_count &&
			!page_is_items(tree, page_no)) {
			rc = batch_add(put, b, page_no, PAGE_TOMBSTONE, bytes_of(NULL, 0), e);
		}
		b->doomed++;
	}
	return rc;
}

static int entry_compare(const void *a, const void *b)
{
	const struct api_entry *x = a, *y = b;

	return x->page_no < y->page_no ? -1 : x->page_no > y->page_no;
}

static int put_build(struct put *put, struct put_batch *b, struct err *e)
{
	uint64_t next_page;
	int rc;

	free(put->carried);
	put->n_carried = put->tree->n_doomed;
	put->carried = x_calloc(put->n_carried + 1, sizeof *put->carried);
	for (size_t i = 0; i < put->n_carried; i++) {
		put->carried[i] = put->tree->doomed[i];
	}
	rc = put_apply(put, e);
	if (rc != 0) {
		return rc;
	}
	next_page = put->next_page;
	tree_number_pages(put->tree, &next_page);
	for (size_t i = 0; i < put->n_pieces; i++) {
		b->entries[b->n] = put->pieces[i].entry;
		b->entries[b->n++].page = buf_bytes(&put->pieces[i].page);
		b->inline_bytes += put->pieces[i].page.len;
	}
	for (size_t i = 0; i < put->tree->n_pages && rc == 0; i++) {
		_cleanup_(secret_buf_release) struct buf content = BUF_INIT;

		if (put->tree->pages[i].dirty) {
			tree_page_content(put->tree, i, &content);
			rc = batch_add(put, b, put->tree->pages[i].page_no, PAGE_ZLIB,
				buf_bytes(&content), e);
		}
	}
	rc = rc != 0 ? rc : batch_add_doomed(put, b, e);
	rc = rc != 0 || put->upload == NULL ? rc : upload_wait(put->upload, e);
	qsort(b->entries, b->n, sizeof b->entries[0], entry_compare);
	return rc;
}

/* What was written is there to be read, offline, too. */
static void batch_cache(const struct put *put, const struct put_batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		if (b->pages[i].len > PAGE_TOMBSTONE_BYTES) {
			vault_cache_page(put->vault, b->page_nos[i], buf_bytes(&b->pages[i]));
		}
	}
}

static int put_try(struct put *put, struct err *e)
{
	struct put_batch *b = x_calloc(1, sizeof *b);
	int rc = put_build(put, b, e);

	if (rc == 0 && b->n > 0) {
		rc = vault_commit(put->vault, b->entries, b->n, e);
	}
	if (rc == 0) {
		batch_cache(put, b);
		tree_committed(put->tree, b->doomed);
		put->result.commits += b->n > 0;
		put->next_page = put_first_page(put->vault);
		for (size_t i = 0; i < put->notices.n && put->config.notice != NULL; i++) {
			put->config.notice(put->config.arg, &put->notices.rows[i]);
		}
	}
	for (size_t i = 0; i < COMMIT_ENTRIES_MAX; i++) {
		buf_release(&b->pages[i]);
	}
	free(b);
	return rc;
}

/* Another writer was first: read its state, and do ours again on it. */
static int put_rebase(struct put *put, struct err *e)
{
	struct tree *tree;
	int rc;

	upload_free(put->upload);
	put->upload = NULL;
	rc = tree_load(put->vault, &tree, e);
	if (rc != 0) {
		return rc;
	}
	put->newer = true;
	/* Those of this commit's changes come again with them. */
	for (size_t i = 0; i < put->n_carried; i++) {
		tree_doom(tree, put->carried[i]);
	}
	tree_free(put->tree);
	put->tree = tree;
	return put_renumber(put, e);
}

static int put_flush(struct put *put, struct err *e)
{
	int rc = 0;

	if (put->n_pieces == 0 && put->n_changes == 0 && put->tree->n_doomed == 0) {
		return 0;
	}
	for (unsigned tries = 0; tries < PUT_TRIES_MAX; tries++) {
		uint64_t seq = put->vault->head.seq;

		rc = put_try(put, e);
		/* A conflict within the tree, as of a file with a folder, has no other writer. */
		if (rc != KLUIS_ECONFLICT || put->vault->tree == NULL ||
			put->vault->head.seq == seq) {
			break;
		}
		rc = put_rebase(put, e);
		if (rc != 0) {
			break;
		}
		rc = err_set(
			e, KLUIS_ECONFLICT, "vault '%s': too many other writers", put->vault->name);
	}
	if (rc == 0) {
		put->result.chunks_found += put->upload == NULL ? 0 : upload_found(put->upload);
		upload_free(put->upload);
		put->upload = NULL;
		put_clear_batch(put);
	}
	return rc;
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
	change.base = put_base(put, change.path, base);
	rc = put_make_room(put, change.path, e);
	if (rc == 0) {
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

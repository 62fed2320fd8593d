#include "cli/client/put.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "cli/client/put_source.h"
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

enum put_kind { PUT_FILE, PUT_FOLDER, PUT_REMOVE };

/* A change of the tree, applied when the commit is built, and again after a conflict. */
struct put_intent {
	enum put_kind kind;
	char *path;
	struct put_source *source;
};

struct put {
	struct vault *vault;
	struct put_config config;
	struct tree *tree;
	struct upload *upload;
	bool resuming, noted; /* noted: the journal names an upload of ours. */
	struct put_piece pieces[PUT_CHUNKS_MAX];
	size_t n_pieces, inline_bytes;
	struct put_intent *intents;
	size_t n_intents, intents_cap, n_files;
	uint64_t next_page;
	uint64_t *carried; /* Doomed before this commit's intents: they outlive a conflict. */
	size_t n_carried;
	struct put_result result;
};

/* The pages of a commit, sealed or staged, in order. */
struct put_batch {
	struct api_entry entries[COMMIT_ENTRIES_MAX];
	struct buf pages[COMMIT_ENTRIES_MAX]; /* Of item pages and tombstones. */
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
	for (size_t i = 0; i < put->n_intents; i++) {
		put_source_free(put->intents[i].source);
		free(put->intents[i].path);
	}
	put->n_pieces = put->n_intents = put->n_files = put->inline_bytes = 0;
}

void put_free(struct put *put)
{
	if (put == NULL) {
		return;
	}
	put_clear_batch(put);
	upload_free(put->upload);
	tree_free(put->tree);
	free(put->intents);
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

static int intent_apply(struct put *put, const struct put_intent *intent, struct err *e)
{
	struct tree_item *item;
	int rc;

	switch (intent->kind) {
	case PUT_FILE:
		return tree_put_file(put->tree, intent->path, NULL, &intent->source->file, e);
	case PUT_FOLDER:
		return tree_make_folders(put->tree, intent->path, &item, e);
	case PUT_REMOVE:
	default:
		rc = tree_find(put->tree, intent->path, &item, e);
		if (rc == KLUIS_ENOTFOUND) {
			return 0; /* Another writer was faster; it is gone. */
		}
		return rc != 0 || item == NULL ? rc : tree_remove(put->tree, item, e);
	}
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
		rc = put_stage(put, entry, page, e);
	}
	b->n++;
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
	int rc = 0;

	free(put->carried);
	put->n_carried = put->tree->n_doomed;
	put->carried = x_calloc(put->n_carried + 1, sizeof *put->carried);
	for (size_t i = 0; i < put->n_carried; i++) {
		put->carried[i] = put->tree->doomed[i];
	}
	for (size_t i = 0; i < put->n_intents && rc == 0; i++) {
		rc = intent_apply(put, &put->intents[i], e);
	}
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

static int put_try(struct put *put, struct err *e)
{
	struct put_batch *b = x_calloc(1, sizeof *b);
	int rc = put_build(put, b, e);

	if (rc == 0 && b->n > 0) {
		rc = vault_commit(put->vault, b->entries, b->n, e);
	}
	if (rc == 0) {
		tree_committed(put->tree, b->doomed);
		put->result.commits += b->n > 0;
		put->next_page = put_first_page(put->vault);
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
	/* Those of this commit's intents come again with them. */
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

	if (put->n_pieces == 0 && put->n_intents == 0 && put->tree->n_doomed == 0) {
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
		rc = rc != 0 || source->pipe ? rc : put_journal_store(put->vault, source, e);
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

static void put_intend(
	struct put *put, enum put_kind kind, const char *path, struct put_source *source)
{
	if (put->n_intents == put->intents_cap) {
		put->intents_cap = put->intents_cap == 0 ? 64 : 2 * put->intents_cap;
		put->intents = x_realloc(put->intents, put->intents_cap * sizeof *put->intents);
	}
	put->intents[put->n_intents++] = (struct put_intent){kind, x_strdup(path), source};
}

/* Each path is changed once a commit, and each change touches at most one item page. */
static int put_make_room(struct put *put, const char *path, struct err *e)
{
	bool full = put->n_intents >= PUT_FILES_MAX;

	for (size_t i = 0; i < put->n_intents && !full; i++) {
		full = strcmp(put->intents[i].path, path) == 0;
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

	if (source->pipe || source->size < PUT_JOURNAL_BYTES_MIN) {
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

int put_file(
	struct put *put, const char *local_path, const char *path, bool *ret_local, struct err *e)
{
	struct put_source *source;
	bool unchanged;
	int rc;

	*ret_local = false;
	rc = put_make_room(put, path, e);
	if (rc != 0) {
		return rc;
	}
	rc = put_source_open(local_path, path, &source, e);
	if (rc != 0) {
		*ret_local = true;
		return rc;
	}
	/* Said now rather than when all of it was uploaded. */
	rc = tree_check_place(put->tree, path, false, e);
	if (rc != 0) {
		*ret_local = true;
		put_source_free(source);
		return rc;
	}
	rc = put_unchanged(put, source, &unchanged, e);
	if (rc != 0 || unchanged) {
		*ret_local = rc != 0;
		put->result.unchanged += unchanged;
		put->result.bytes += unchanged ? source->size : 0;
		put_source_free(source);
		return rc;
	}
	rc = put_begin(put, source, e);
	rc = rc != 0 ? rc : put_read(put, source, ret_local, e);
	if (rc != 0) {
		if (!*ret_local) { /* The put has failed: no piece may name the source. */
			put_clear_batch(put);
		}
		put_source_free(source);
		return rc;
	}
	put_intend(put, PUT_FILE, path, source);
	put->result.files++;
	return 0;
}

int put_folder(struct put *put, const char *path, struct err *e)
{
	struct tree_item *item;
	struct err ignored = {0};
	int rc;

	if (tree_find(put->tree, path, &item, &ignored) == 0 &&
		(item == NULL || item->type == ITEM_FOLDER)) {
		return 0;
	}
	rc = tree_check_place(put->tree, path, true, e);
	rc = rc != 0 ? rc : put_make_room(put, path, e);
	if (rc == 0) {
		put_intend(put, PUT_FOLDER, path, NULL);
	}
	return rc;
}

int put_remove(struct put *put, const char *path, struct err *e)
{
	int rc = put_make_room(put, path, e);

	if (rc == 0) {
		put_intend(put, PUT_REMOVE, path, NULL);
	}
	return rc;
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

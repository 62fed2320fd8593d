/* The pages of a commit: pieces of files, item pages, tombstones; and the commit itself. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "cli/client/put_impl.h"

enum { PUT_COMMIT_INLINE_BYTES_MAX = 740 * 1024 };

/* The pages of a commit, sealed or staged, in order. */
struct put_batch {
	struct api_entry entries[COMMIT_ENTRIES_MAX];
	struct buf pages[COMMIT_ENTRIES_MAX];  /* Of item pages and tombstones. */
	uint64_t page_nos[COMMIT_ENTRIES_MAX]; /* Theirs. */
	size_t n, inline_bytes, doomed;
};

/* 0: the key is not here, as sealing will tell. */
static uint32_t put_epoch(const struct vault *vault)
{
	const struct vault_key *key = vault_write_key(vault);

	return key == NULL ? 0 : key->epoch;
}

int piece_seal(struct put *put, struct put_piece *piece, struct bytes content, struct err *e)
{
	struct vault *vault = put->vault;
	struct buf page = BUF_INIT;
	int rc;

	piece->entry = (struct api_entry){.page_no = put->next_page, .epoch = put_epoch(vault)};
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
	*entry = (struct api_entry){.page_no = page_no, .epoch = put_epoch(vault)};
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

int put_flush(struct put *put, struct err *e)
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

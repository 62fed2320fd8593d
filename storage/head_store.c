#include <assert.h>
#include <string.h>

#include "storage/row.h"
#include "storage/vault_store.h"

static struct row_key head_key(const uint8_t vault_id[16], uint64_t seq)
{
	struct row_key key = row_key_begin(KEY_HEAD);

	row_key_put_id(&key, vault_id);
	row_key_put_u64(&key, seq);
	return key;
}

void head_page_encode(const struct head_page *page, struct buf *to)
{
	buf_put_u64(to, page->page_no);
	buf_put_u64(to, page->revision);
	buf_put_u32(to, page->key_epoch);
	buf_append(to, page->leaf, 32);
}

void head_row_encode(const struct head_row *row, struct buf *to)
{
	assert(row->signed_head.len <= HEAD_SIGNED_BYTES_MAX);
	assert(row->pages.len == (size_t)row->n_pages * HEAD_PAGE_BYTES);
	buf_put_u8(to, ROW_FORMAT);
	buf_append(to, row->hash, 32);
	buf_put_u64(to, row->committed_ms);
	buf_put_lp16(to, row->signed_head);
	buf_put_u32(to, row->n_pages);
	buf_append_bytes(to, row->pages);
}

int head_row_decode(struct bytes key, struct bytes value, struct head_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_HEAD), w = row_wire(value);
	struct head_row row;
	int rc;

	(void)wire_bytes(&k, 16);
	row.seq = wire_u64(&k);
	wire_copy(&w, row.hash, 32);
	row.committed_ms = wire_u64(&w);
	row.signed_head = wire_lp16(&w, HEAD_SIGNED_BYTES_MAX);
	row.n_pages = wire_u32(&w);
	if (row.n_pages > COMMIT_ENTRIES_MAX) {
		wire_fail(&w);
		row.n_pages = 0;
	}
	row.pages = wire_bytes(&w, (size_t)row.n_pages * HEAD_PAGE_BYTES);
	rc = row_end(&k, &w, KEY_HEAD, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

struct head_page head_row_page(const struct head_row *row, uint32_t i)
{
	const uint8_t *at = row->pages.data + (size_t)i * HEAD_PAGE_BYTES;
	struct head_page page;

	assert(i < row->n_pages);
	page.page_no = load_u64(at);
	page.revision = load_u64(at + 8);
	page.key_epoch = load_u32(at + 16);
	memcpy(page.leaf, at + 20, 32);
	return page;
}

int head_store_get(const struct kv_view *view, const uint8_t vault_id[16], uint64_t seq,
	struct buf *value, struct head_row *ret_row, struct err *e)
{
	struct row_key key = head_key(vault_id, seq);
	int rc;

	buf_clear(value);
	rc = row_get(view, &key, value, e);
	return rc == 0 ? head_row_decode(row_key_bytes(&key), buf_bytes(value), ret_row, e) : rc;
}

void head_store_put(struct txn *txn, const uint8_t vault_id[16], const struct head_row *row)
{
	struct row_key key = head_key(vault_id, row->seq);
	struct buf value = BUF_INIT;

	head_row_encode(row, &value);
	row_put(txn, &key, &value);
}

struct head_iter {
	struct row_iter rows;
};

struct head_iter *head_iter_new(
	const struct kv_view *view, const uint8_t vault_id[16], uint64_t since)
{
	struct head_iter *it = x_calloc(1, sizeof *it);
	struct row_key first = head_key(vault_id, since), prefix = row_key_begin(KEY_HEAD), end;

	row_key_put_u8(&first, 0); /* Behind `since` itself. */
	row_key_put_id(&prefix, vault_id);
	end = row_key_after_prefix(&prefix);
	it->rows.iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	return it;
}

bool head_iter_next(struct head_iter *iter, struct head_row *ret_row)
{
	struct row_iter *rows = &iter->rows;

	if (!row_iter_next(rows)) {
		return false;
	}
	rows->rc = head_row_decode(
		kv_iter_key(rows->iter), kv_iter_value(rows->iter), ret_row, &rows->err);
	return rows->rc == 0;
}

int head_iter_status(const struct head_iter *iter, struct err *e)
{
	return row_iter_status(&iter->rows, e);
}

void head_iter_free(struct head_iter *iter)
{
	if (iter != NULL) {
		kv_iter_free(iter->rows.iter);
		free(iter);
	}
}

/* Heads without pages cost time, too: one call walks so many at most. */
enum { CHANGE_HEADS_MAX = 2048 };

/* The pages of one head behind the cursor; false when no room was left for one of them. */
static bool head_take_changes(const struct head_row *row, struct change_cursor *cursor,
	struct change *changes, size_t max, size_t *n)
{
	for (uint32_t i = 0; i < row->n_pages; i++) {
		struct head_page page = head_row_page(row, i);

		if (row->seq == cursor->seq && page.page_no <= cursor->page_no) {
			continue;
		}
		if (*n == max) {
			return false;
		}
		changes[(*n)++] = (struct change){row->seq, page};
		*cursor = (struct change_cursor){row->seq, page.page_no};
	}
	*cursor = (struct change_cursor){row->seq, UINT64_MAX};
	return true;
}

int head_store_changes(const struct kv_view *view, const uint8_t vault_id[16],
	struct change_cursor *cursor, struct change *ret_changes, size_t max, size_t *ret_n,
	bool *ret_done, struct err *e)
{
	struct change_cursor at = *cursor;
	bool whole = at.page_no == UINT64_MAX || at.seq == 0;
	struct head_iter *iter = head_iter_new(view, vault_id, whole ? at.seq : at.seq - 1);
	struct head_row row;
	size_t n = 0, heads = 0;
	bool more = false;
	int rc;

	while (!more && head_iter_next(iter, &row)) {
		more = ++heads > CHANGE_HEADS_MAX ||
		       !head_take_changes(&row, &at, ret_changes, max, &n);
	}
	rc = head_iter_status(iter, e);
	head_iter_free(iter);
	if (rc == 0) {
		*cursor = at;
		*ret_n = n;
		*ret_done = !more;
	}
	return rc;
}

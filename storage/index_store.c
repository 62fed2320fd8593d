#include "storage/index_store.h"

#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "storage/row.h"

int modification_compare(const struct modification *a, const struct modification *b)
{
	if (a->index != b->index) {
		return a->index < b->index ? -1 : 1;
	}
	return a->ordinal < b->ordinal ? -1 : a->ordinal > b->ordinal;
}

struct row_key index_by_key(const struct modification *at)
{
	struct row_key key = row_key_begin(KEY_BY_INDEX);

	row_key_put_u64(&key, at->index);
	row_key_put_u32(&key, at->ordinal);
	return key;
}

struct row_key index_of_key(struct bytes key)
{
	struct row_key of = row_key_begin(KEY_INDEX_OF);

	assert(row_key_is_row(key));
	row_key_put_tail(&of, key);
	return of;
}

void index_row_encode(const struct index_row *row, struct buf *to)
{
	assert(row_key_is_row(row->key));
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->deleted);
	buf_append(to, row->hash, sizeof row->hash);
	buf_append_bytes(to, row->key);
}

int index_row_decode(struct bytes key, struct bytes value, struct index_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_BY_INDEX), w = row_wire(value);
	struct index_row row;
	int rc;

	row.at.index = wire_u64(&k);
	row.at.ordinal = wire_u32(&k);
	row.deleted = row_bool(&w);
	wire_copy(&w, row.hash, sizeof row.hash);
	row.key = wire_rest(&w);
	if (!row_key_is_row(row.key)) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_BY_INDEX, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

void index_of_encode(const struct index_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->at.index);
	buf_put_u32(to, row->at.ordinal);
	buf_put_u8(to, row->deleted);
	buf_append(to, row->hash, sizeof row->hash);
}

int index_of_decode(struct bytes key, struct bytes value, struct index_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_INDEX_OF), w = row_wire(value);
	struct index_row row;
	int rc;

	row.key = wire_rest(&k);
	row.at.index = wire_u64(&w);
	row.at.ordinal = wire_u32(&w);
	row.deleted = row_bool(&w);
	wire_copy(&w, row.hash, sizeof row.hash);
	rc = row_end(&k, &w, KEY_INDEX_OF, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int index_store_of(
	const struct kv_view *view, struct bytes key, struct index_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key of = index_of_key(key);
	struct index_row row;
	int rc = row_get(view, &of, &value, e);

	if (rc == 0) {
		rc = index_of_decode(row_key_bytes(&of), buf_bytes(&value), &row, e);
	}
	if (rc == 0) {
		row.key = key;
		*ret_row = row;
	}
	return rc;
}

struct index_iter {
	struct row_iter rows;
};

struct index_iter *index_iter_new(const struct kv_view *view, uint64_t after, uint64_t upto)
{
	struct index_iter *it = x_calloc(1, sizeof *it);
	struct row_key first = row_key_begin(KEY_BY_INDEX), end = row_key_begin(KEY_BY_INDEX);

	assert(after < UINT64_MAX);
	row_key_put_u64(&first, after + 1);
	if (upto == UINT64_MAX) {
		end = row_key_after_prefix(&end);
	} else {
		row_key_put_u64(&end, upto + 1);
	}
	it->rows.iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	return it;
}

bool index_iter_next(struct index_iter *iter, struct index_row *ret_row)
{
	struct row_iter *rows = &iter->rows;

	if (!row_iter_next(rows)) {
		return false;
	}
	rows->rc = index_row_decode(
		kv_iter_key(rows->iter), kv_iter_value(rows->iter), ret_row, &rows->err);
	return rows->rc == 0;
}

int index_iter_status(const struct index_iter *iter, struct err *e)
{
	return row_iter_status(&iter->rows, e);
}

void index_iter_free(struct index_iter *iter)
{
	if (iter != NULL) {
		kv_iter_free(iter->rows.iter);
		free(iter);
	}
}

int index_store_tombstones(const struct kv_view *view, struct modification *cursor, uint64_t upto,
	struct index_tombstone *ret_rows, size_t max, size_t *ret_n, struct err *e)
{
	struct row_key first = index_by_key(cursor), end = row_key_begin(KEY_BY_INDEX);
	struct modification at = *cursor;
	struct index_row row = {.at = at};
	struct kv_iter *iter;
	size_t n = 0, seen = 0;
	int rc = 0;

	if (upto == UINT64_MAX || at.index > upto ||
		(at.index == upto && at.ordinal == UINT32_MAX)) {
		*ret_n = 0;
		return 0;
	}
	row_key_put_u8(&first, 0); /* Behind the cursor itself. */
	row_key_put_u64(&end, upto + 1);
	iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	while (rc == 0 && seen < max && kv_iter_next(iter)) {
		rc = index_row_decode(kv_iter_key(iter), kv_iter_value(iter), &row, e);
		if (rc == 0 && row.deleted) {
			ret_rows[n].at = row.at;
			ret_rows[n].key.len = 0;
			row_key_put_tail(&ret_rows[n++].key, row.key);
		}
		at = row.at;
		seen++;
	}
	if (rc == 0) {
		rc = kv_iter_status(iter, e);
	}
	kv_iter_free(iter);
	if (rc == 0) {
		/* Nothing was left: there is nothing to look at again before `upto` moves. */
		*cursor = seen < max ? (struct modification){upto, UINT32_MAX} : at;
		*ret_n = n;
	}
	return rc;
}

struct index_root {
	struct hash hash;
};

struct index_root *index_root_new(void)
{
	struct index_root *root = x_malloc(sizeof *root);

	hash_init(&root->hash);
	return root;
}

void index_root_add(struct index_root *root, const struct index_row *row)
{
	uint8_t head[8 + 4 + 4];

	if (row->deleted) {
		return;
	}
	store_u64(head, row->at.index);
	store_u32(head + 8, row->at.ordinal);
	store_u32(head + 12, (uint32_t)row->key.len);
	hash_update(&root->hash, bytes_of(head, sizeof head));
	hash_update(&root->hash, row->key);
	hash_update(&root->hash, bytes_of(row->hash, sizeof row->hash));
}

void index_root_end(struct index_root *root, uint8_t ret_root[32])
{
	hash_final(&root->hash, ret_root);
	hash_release(&root->hash);
	free(root);
}

int index_store_root(
	const struct kv_view *view, uint8_t ret_root[32], uint64_t *ret_rows, struct err *e)
{
	struct index_iter *iter = index_iter_new(view, 0, UINT64_MAX);
	struct index_root *root = index_root_new();
	struct index_row row;
	uint8_t hash[HASH_BYTES];
	uint64_t rows = 0;
	int rc;

	while (index_iter_next(iter, &row)) {
		index_root_add(root, &row);
		rows += !row.deleted;
	}
	rc = index_iter_status(iter, e);
	index_root_end(root, hash);
	index_iter_free(iter);
	if (rc == 0) {
		memcpy(ret_root, hash, sizeof hash);
		*ret_rows = rows;
	}
	return rc;
}

#include "storage/row.h"

#include <assert.h>
#include <string.h>

struct wire row_wire(struct bytes value)
{
	struct wire w = wire_of(value);

	if (wire_u8(&w) != ROW_FORMAT) {
		wire_fail(&w);
	}
	return w;
}

struct wire row_key_wire(struct bytes key, enum key_family family)
{
	struct wire w = wire_of(key);

	if (wire_u8(&w) != family) {
		wire_fail(&w);
	}
	return w;
}

int row_end(const struct wire *key, const struct wire *value, enum key_family family, struct err *e)
{
	if ((key != NULL && !wire_end(key)) || !wire_end(value)) {
		return err_set(e, KLUIS_ECORRUPT, "damaged row of family '%s'",
			row_key_family_name((uint8_t)family));
	}
	return 0;
}

struct buf row_begin(void)
{
	struct buf value = BUF_INIT;

	buf_put_u8(&value, ROW_FORMAT);
	return value;
}

bool row_bool(struct wire *w)
{
	uint8_t value = wire_u8(w);

	if (value > 1) {
		wire_fail(w);
	}
	return value == 1;
}

void row_text(struct wire *w, char *to, size_t max)
{
	struct bytes text = wire_lp16(w, max);

	memset(to, 0, max + 1);
	if (text.len == 0) {
		return;
	}
	if (memchr(text.data, 0, text.len) != NULL) {
		wire_fail(w);
	} else {
		memcpy(to, text.data, text.len);
	}
}

int row_get(const struct kv_view *view, const struct row_key *key, struct buf *value, struct err *e)
{
	return kv_get(view, row_key_bytes(key), value, e);
}

int row_get_raw(const struct kv_view *view, const struct row_key *key, enum key_family family,
	struct buf *to, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	int rc = row_get(view, key, &value, e);

	if (rc == 0) {
		struct wire w = row_wire(buf_bytes(&value));
		struct bytes rest = wire_rest(&w);

		rc = row_end(NULL, &w, family, e);
		if (rc == 0) {
			buf_append_bytes(to, rest);
		}
	}
	return rc;
}

void row_put_raw(struct txn *txn, const struct row_key *key, struct bytes bytes)
{
	struct buf value = row_begin();

	buf_append_bytes(&value, bytes);
	row_put(txn, key, &value);
}

void row_put(struct txn *txn, const struct row_key *key, struct buf *value)
{
	txn_put(txn, row_key_bytes(key), buf_bytes(value));
	buf_release(value);
}

void row_delete(struct txn *txn, const struct row_key *key)
{
	txn_delete(txn, row_key_bytes(key));
}

bool row_iter_next(struct row_iter *iter)
{
	if (iter->rc == 0 && kv_iter_next(iter->iter)) {
		return true;
	}
	if (iter->rc == 0) {
		iter->rc = kv_iter_status(iter->iter, &iter->err);
	}
	return false;
}

int row_iter_status(const struct row_iter *iter, struct err *e)
{
	if (iter->rc != 0 && e != NULL) {
		*e = iter->err;
	}
	return iter->rc;
}

int row_list(const struct kv_view *view, const struct row_list *list, void *rows, size_t *ret_n,
	struct err *e)
{
	struct row_key first = list->prefix, end = row_key_after_prefix(&list->prefix);
	struct kv_iter *iter;
	size_t n = 0;
	int rc = 0;

	row_key_put_tail(&first, list->after);
	if (list->after.len > 0) {
		row_key_put_u8(&first, 0); /* The smallest key behind it. */
	}
	iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	while (rc == 0 && n < list->max && kv_iter_next(iter)) {
		rc = list->decode(kv_iter_key(iter), kv_iter_value(iter),
			(uint8_t *)rows + n * list->stride, e);
		n++;
	}
	if (rc == 0) {
		rc = kv_iter_status(iter, e);
	}
	kv_iter_free(iter);
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

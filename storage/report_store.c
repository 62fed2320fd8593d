#include "storage/report_store.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "storage/row.h"

static struct row_key report_key(enum key_family family, uint64_t index, uint64_t node)
{
	struct row_key key = row_key_begin(family);

	row_key_put_u64(&key, index);
	row_key_put_u64(&key, node);
	return key;
}

void report_row_encode(const struct report_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_append(to, row->hash, sizeof row->hash);
}

int report_row_decode(
	struct bytes key, struct bytes value, struct report_row *ret_row, struct err *e)
{
	enum key_family family =
		key.len > 0 && key.data[0] == KEY_STATE_ROOT ? KEY_STATE_ROOT : KEY_HASH_REPORT;
	struct wire k = row_key_wire(key, family), w = row_wire(value);
	struct report_row row;
	int rc;

	row.index = wire_u64(&k);
	row.node = wire_u64(&k);
	wire_copy(&w, row.hash, sizeof row.hash);
	rc = row_end(&k, &w, family, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int report_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return report_row_decode(key, value, to, e);
}

int report_store_at(const struct kv_view *view, enum key_family family, uint64_t index,
	struct report_row *ret_rows, size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(family),
		.max = max,
		.decode = report_list_decode,
		.stride = sizeof *ret_rows};

	row_key_put_u64(&list.prefix, index);
	return row_list(view, &list, ret_rows, ret_n, e);
}

int report_store_list(const struct kv_view *view, enum key_family family,
	struct report_row *ret_rows, size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(family),
		.max = max,
		.decode = report_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

const uint8_t *report_majority(const struct report_row *reports, size_t n, size_t nodes)
{
	for (size_t i = 0; i < n; i++) {
		size_t same = 0;

		for (size_t j = 0; j < n; j++) {
			same += memcmp(reports[i].hash, reports[j].hash, 32) == 0;
		}
		if (2 * same > nodes) {
			return reports[i].hash;
		}
	}
	return NULL;
}

/* How many indexes have reports, the lowest of them, and whether `index` is one. */
struct report_indexes {
	size_t n;
	uint64_t lowest;
	bool has;
};

static int report_indexes(const struct kv_view *view, enum key_family family, uint64_t index,
	struct report_indexes *ret_indexes, struct err *e)
{
	struct row_key first = row_key_begin(family), end = row_key_after_prefix(&first);
	struct kv_iter *iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	struct report_indexes indexes = {0};
	struct report_row row = {0};
	uint64_t last = 0;
	int rc = 0;

	while (rc == 0 && kv_iter_next(iter)) {
		rc = report_row_decode(kv_iter_key(iter), kv_iter_value(iter), &row, e);
		indexes.lowest = indexes.n == 0 ? row.index : indexes.lowest;
		indexes.n += indexes.n == 0 || row.index != last;
		indexes.has |= row.index == index;
		last = row.index;
	}
	if (rc == 0) {
		rc = kv_iter_status(iter, e);
	}
	kv_iter_free(iter);
	if (rc == 0) {
		*ret_indexes = indexes;
	}
	return rc;
}

/* All reports of one index. */
static int report_forget(struct txn *txn, enum key_family family, uint64_t index, struct err *e)
{
	struct report_row rows[SITES_MAX];
	size_t n;
	int rc;

	do {
		rc = report_store_at(txn_view(txn), family, index, rows, SITES_MAX, &n, e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			struct row_key key = report_key(family, index, rows[i].node);

			row_delete(txn, &key);
		}
	} while (rc == 0 && n == SITES_MAX);
	return rc;
}

static void report_put(struct txn *txn, enum key_family family, const struct report_row *row)
{
	struct row_key key = report_key(family, row->index, row->node);
	struct buf value = BUF_INIT;

	report_row_encode(row, &value);
	row_put(txn, &key, &value);
}

int report_store_put(struct txn *txn, enum key_family family, const struct report_row *row,
	size_t kept, struct err *e)
{
	struct report_indexes indexes;
	int rc = report_indexes(txn_view(txn), family, row->index, &indexes, e);

	assert(kept > 0);
	if (rc != 0) {
		return rc;
	}
	if (indexes.n >= kept && row->index < indexes.lowest) {
		return err_set(e, KLUIS_EGONE, "reports of index %llu are forgotten",
			(unsigned long long)row->index);
	}
	report_put(txn, family, row);
	/* One index more than are kept: the lowest of those before goes. */
	return indexes.n + !indexes.has > kept ? report_forget(txn, family, indexes.lowest, e) : 0;
}

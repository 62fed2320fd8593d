#include "storage/report_store.h"

#include <assert.h>

#include "base/limits.h"
#include "storage/row.h"

enum { REPORTS_MAX = 4096 };

static struct key report_key(uint64_t index, uint64_t node)
{
	struct key key = key_begin(KEY_HASH_REPORT);

	key_put_u64(&key, index);
	key_put_u64(&key, node);
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
	struct wire k = row_key_wire(key, KEY_HASH_REPORT), w = row_wire(value);
	struct report_row row;
	int rc;

	row.index = wire_u64(&k);
	row.node = wire_u64(&k);
	wire_copy(&w, row.hash, sizeof row.hash);
	rc = row_end(&k, &w, KEY_HASH_REPORT, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int report_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return report_row_decode(key, value, to, e);
}

static int report_list(const struct kv_view *view, const struct key *prefix,
	struct report_row *rows, size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = *prefix,
		.max = max,
		.decode = report_list_decode,
		.stride = sizeof *rows};

	return row_list(view, &list, rows, ret_n, e);
}

int report_store_at(const struct kv_view *view, uint64_t index, struct report_row *ret_rows,
	size_t max, size_t *ret_n, struct err *e)
{
	struct key prefix = key_begin(KEY_HASH_REPORT);

	key_put_u64(&prefix, index);
	return report_list(view, &prefix, ret_rows, max, ret_n, e);
}

/* Indexes among rows, which ascend; *ret_second is where the second one begins. */
static size_t report_indexes(const struct report_row *rows, size_t n, size_t *ret_second)
{
	size_t indexes = 0;

	*ret_second = n;
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || rows[i].index != rows[i - 1].index) {
			indexes++;
			if (indexes == 2) {
				*ret_second = i;
			}
		}
	}
	return indexes;
}

static void report_put(struct txn *txn, const struct report_row *row)
{
	struct key key = report_key(row->index, row->node);
	struct buf value = BUF_INIT;

	report_row_encode(row, &value);
	row_put(txn, &key, &value);
}

int report_store_put(struct txn *txn, const struct report_row *row, size_t kept, struct err *e)
{
	_cleanup_(x_freep) struct report_row *rows = x_calloc(REPORTS_MAX, sizeof *rows);
	struct key prefix = key_begin(KEY_HASH_REPORT);
	size_t n, second;
	int rc = report_list(txn_view(txn), &prefix, rows, REPORTS_MAX, &n, e);

	assert(kept > 0 && kept * SITES_MAX < REPORTS_MAX);
	if (rc != 0) {
		return rc;
	}
	if (report_indexes(rows, n, &second) >= kept && row->index < rows[0].index) {
		return err_set(e, KLUIS_EGONE, "reports of index %llu are forgotten",
			(unsigned long long)row->index);
	}
	report_put(txn, row);
	rc = report_list(txn_view(txn), &prefix, rows, REPORTS_MAX, &n, e);
	if (rc == 0 && report_indexes(rows, n, &second) > kept) {
		for (size_t i = 0; i < second; i++) {
			struct key key = report_key(rows[i].index, rows[i].node);

			row_delete(txn, &key);
		}
	}
	return rc;
}

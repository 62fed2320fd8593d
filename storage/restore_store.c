#include "storage/restore_store.h"

#include <string.h>

#include "storage/row.h"

static struct row_key restore_key(uint64_t number)
{
	struct row_key key = row_key_begin(KEY_RESTORE);

	row_key_put_u64(&key, number);
	return key;
}

void restore_row_encode(const struct restore_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_append(to, row->record, sizeof row->record);
}

int restore_row_decode(
	struct bytes key, struct bytes value, struct restore_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_RESTORE), w = row_wire(value);
	struct restore_record record;
	struct restore_row row;
	int rc;

	row.number = wire_u64(&k);
	wire_copy(&w, row.record, sizeof row.record);
	rc = row_end(&k, &w, KEY_RESTORE, e);
	if (rc == 0 &&
		restore_record_parse(bytes_of(row.record, sizeof row.record), &record, NULL) != 0) {
		rc = err_set(e, KLUIS_ECORRUPT, "row of family '%s' is damaged",
			row_key_family_name(KEY_RESTORE));
	}
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int restore_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return restore_row_decode(key, value, to, e);
}

int restore_store_list(const struct kv_view *view, struct restore_row ret_rows[RESTORE_RECORDS_MAX],
	size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(KEY_RESTORE),
		.max = RESTORE_RECORDS_MAX,
		.decode = restore_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

int restore_store_add(struct txn *txn, const uint8_t record[RESTORE_RECORD_BYTES], struct err *e)
{
	struct restore_row rows[RESTORE_RECORDS_MAX], row = {.number = 1};
	struct buf value = BUF_INIT;
	struct row_key key;
	size_t n;
	int rc = restore_store_list(txn_view(txn), rows, &n, e);

	if (rc != 0) {
		return rc;
	}
	if (n == RESTORE_RECORDS_MAX) {
		key = restore_key(rows[0].number);
		row_delete(txn, &key);
	}
	if (n > 0) {
		row.number = rows[n - 1].number + 1;
	}
	memcpy(row.record, record, sizeof row.record);
	restore_row_encode(&row, &value);
	key = restore_key(row.number);
	row_put(txn, &key, &value);
	return 0;
}

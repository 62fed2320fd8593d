#include "storage/use_store.h"

#include <string.h>

#include "storage/person_store.h"
#include "storage/policy_store.h"
#include "storage/row.h"

static struct row_key use_key(const uint8_t user_id[16])
{
	struct row_key key = row_key_begin(KEY_USE);

	row_key_put_id(&key, user_id);
	return key;
}

void use_row_encode(const struct use_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->use.bytes);
	buf_put_u64(to, row->use.pages);
}

int use_row_decode(struct bytes key, struct bytes value, struct use_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_USE), w = row_wire(value);
	struct use_row row;
	int rc;

	wire_copy(&k, row.user_id, 16);
	row.use.bytes = wire_u64(&w);
	row.use.pages = wire_u64(&w);
	rc = row_end(&k, &w, KEY_USE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int use_store_get(const struct kv_view *view, const uint8_t user_id[16], struct use_row *ret_row,
	struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = use_key(user_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? use_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static void use_put(struct txn *txn, const struct use_row *row)
{
	struct row_key key = use_key(row->user_id);
	struct buf value = BUF_INIT;

	use_row_encode(row, &value);
	row_put(txn, &key, &value);
}

void use_store_begin(struct txn *txn, const uint8_t user_id[16])
{
	struct use_row row = {.use = {0, 0}};

	memcpy(row.user_id, user_id, 16);
	use_put(txn, &row);
}

void use_store_delete(struct txn *txn, const uint8_t user_id[16])
{
	struct row_key key = use_key(user_id);

	row_delete(txn, &key);
}

int use_store_move(struct txn *txn, const uint8_t user_id[16], const struct use *was,
	const struct use *is, struct use_row *ret_row, struct err *e)
{
	struct use_row row;
	int rc = use_store_get(txn_view(txn), user_id, &row, e);

	if (rc != 0) {
		return rc;
	}
	if (row.use.bytes < was->bytes || row.use.pages < was->pages) {
		return err_set(e, KLUIS_ECORRUPT, "what a person's vaults take is counted wrong");
	}
	row.use.bytes += is->bytes - was->bytes;
	row.use.pages += is->pages - was->pages;
	use_put(txn, &row);
	if (ret_row != NULL) {
		*ret_row = row;
	}
	return 0;
}

int quota_get(const struct kv_view *view, const uint8_t user_id[16], struct quota *ret_quota,
	struct err *e)
{
	struct person_row person;
	struct policy policy;
	struct use_row row;
	int rc = use_store_get(view, user_id, &row, e);

	rc = rc != 0 ? rc : person_store_get(view, user_id, &person, e);
	rc = rc != 0 ? rc : policy_store_get(view, &policy, e);
	if (rc == 0) {
		ret_quota->used = row.use;
		ret_quota->max.bytes = person.bytes_max != 0 ? person.bytes_max : policy.bytes_max;
		ret_quota->max.pages =
			person.all_pages_max != 0 ? person.all_pages_max : policy.pages_max;
	}
	return rc;
}

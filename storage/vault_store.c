#include "storage/vault_store.h"

#include <assert.h>
#include <string.h>

#include "storage/object_store.h"
#include "storage/row.h"

static struct row_key vault_key(enum key_family family, const uint8_t vault_id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, vault_id);
	return key;
}

/* Format byte: 1 and what follows the fields that all have. */
enum { VAULT_FORMAT_COUNTED = 1, VAULT_FORMAT_EPOCH = 2, VAULT_FORMAT_ALL = 3 };

static unsigned vault_format(const struct vault_row *row)
{
	return (row->counted ? VAULT_FORMAT_COUNTED : 0U) |
	       (row->chain_epoch > 1 ? VAULT_FORMAT_EPOCH : 0U);
}

void vault_row_encode(const struct vault_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT + vault_format(row));
	buf_put_u8(to, row->state);
	buf_put_u64(to, row->created_ms);
	buf_put_u64(to, row->revision);
	buf_put_u64(to, row->seq);
	buf_put_u32(to, row->key_epoch);
	buf_put_u32(to, row->members_rev);
	buf_put_u64(to, row->page_count);
	buf_append(to, row->head_hash, 32);
	buf_append(to, row->members_hash, 32);
	buf_put_lp16(to, bytes_of(row->label, row->label_bytes));
	if (row->counted) {
		buf_put_u64(to, row->bytes);
		buf_append(to, row->founder, sizeof row->founder);
	}
	if (row->chain_epoch > 1) {
		buf_put_u32(to, row->chain_epoch);
	}
}

int vault_row_decode(struct bytes key, struct bytes value, struct vault_row *ret_row, struct err *e)
{
	struct vault_row row = {.chain_epoch = 1};
	struct wire k = row_key_wire(key, KEY_VAULT), w = wire_of(value);
	unsigned format = wire_u8(&w) - (unsigned)ROW_FORMAT;
	struct bytes label;
	int rc;

	wire_copy(&k, row.vault_id, 16);
	row.counted = (format & VAULT_FORMAT_COUNTED) != 0;
	row.state = wire_u8(&w);
	if (format > VAULT_FORMAT_ALL || row.state < VAULT_ACTIVE || row.state > VAULT_GONE) {
		wire_fail(&w);
	}
	row.created_ms = wire_u64(&w);
	row.revision = wire_u64(&w);
	row.seq = wire_u64(&w);
	row.key_epoch = wire_u32(&w);
	row.members_rev = wire_u32(&w);
	row.page_count = wire_u64(&w);
	wire_copy(&w, row.head_hash, 32);
	wire_copy(&w, row.members_hash, 32);
	label = wire_lp16(&w, VAULT_LABEL_BYTES_MAX);
	row.label_bytes = (uint16_t)label.len;
	if (label.len > 0) {
		memcpy(row.label, label.data, label.len);
	}
	if (row.counted) {
		row.bytes = wire_u64(&w);
		wire_copy(&w, row.founder, sizeof row.founder);
	}
	if ((format & VAULT_FORMAT_EPOCH) != 0) {
		row.chain_epoch = wire_u32(&w);
		if (row.chain_epoch <= 1) {
			wire_fail(&w);
		}
	}
	rc = row_end(&k, &w, KEY_VAULT, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int vault_store_get(const struct kv_view *view, const uint8_t vault_id[16],
	struct vault_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = vault_key(KEY_VAULT, vault_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? vault_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

int vault_store_check(const struct kv_view *view, const uint8_t vault_id[16],
	const uint8_t user_id[16], unsigned role_min, struct vault_row *ret_row, unsigned *ret_role,
	struct err *e)
{
	struct vault_access access;
	struct vault_row row;
	int rc = vault_store_get(view, vault_id, &row, e);

	rc = rc != 0 ? rc : vault_access_get(view, vault_id, user_id, &access, e);
	if (rc == KLUIS_ENOTFOUND) {
		return err_set(e, rc, "no such vault");
	}
	if (rc != 0) {
		return rc;
	}
	if (row.state != VAULT_ACTIVE) {
		return err_set(e, KLUIS_EGONE, "the vault was deleted");
	}
	if (access.role < role_min) {
		return err_set(e, KLUIS_EFORBIDDEN,
			access.role == 0 ? "the invitation was not accepted yet"
					 : "your role in the vault does not allow it");
	}
	*ret_row = row;
	*ret_role = access.role;
	return 0;
}

void vault_store_put(struct txn *txn, const struct vault_row *row)
{
	struct row_key key = vault_key(KEY_VAULT, row->vault_id);
	struct buf value = BUF_INIT;

	vault_row_encode(row, &value);
	row_put(txn, &key, &value);
}

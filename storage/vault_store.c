#include "storage/vault_store.h"

#include <assert.h>
#include <string.h>

#include "crypto/member.h"
#include "storage/row.h"

static struct row_key vault_key(enum key_family family, const uint8_t vault_id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, vault_id);
	return key;
}

enum { VAULT_FORMAT_COUNTED = 2 };

void vault_row_encode(const struct vault_row *row, struct buf *to)
{
	buf_put_u8(to, row->counted ? VAULT_FORMAT_COUNTED : ROW_FORMAT);
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
}

/* A cursor behind either format byte. */
static struct wire vault_wire(struct bytes value, bool *ret_counted)
{
	struct wire w = wire_of(value);
	uint8_t format = wire_u8(&w);

	*ret_counted = format == VAULT_FORMAT_COUNTED;
	if (format != ROW_FORMAT && format != VAULT_FORMAT_COUNTED) {
		wire_fail(&w);
	}
	return w;
}

int vault_row_decode(struct bytes key, struct bytes value, struct vault_row *ret_row, struct err *e)
{
	struct vault_row row = {0};
	struct wire k = row_key_wire(key, KEY_VAULT), w = vault_wire(value, &row.counted);
	struct bytes label;
	int rc;

	wire_copy(&k, row.vault_id, 16);
	row.state = wire_u8(&w);
	if (row.state < VAULT_ACTIVE || row.state > VAULT_GONE) {
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
	struct vault_row row;
	unsigned role;
	int rc = vault_store_get(view, vault_id, &row, e);

	if (rc == 0) {
		rc = member_store_get(view, vault_id, user_id, &role, e);
	}
	if (rc == KLUIS_ENOTFOUND) {
		return err_set(e, rc, "no such vault");
	}
	if (rc != 0) {
		return rc;
	}
	if (row.state != VAULT_ACTIVE) {
		return err_set(e, KLUIS_EGONE, "the vault was deleted");
	}
	if (role < role_min) {
		return err_set(e, KLUIS_EFORBIDDEN, "your role in the vault does not allow it");
	}
	*ret_row = row;
	*ret_role = role;
	return 0;
}

void vault_store_put(struct txn *txn, const struct vault_row *row)
{
	struct row_key key = vault_key(KEY_VAULT, row->vault_id);
	struct buf value = BUF_INIT;

	vault_row_encode(row, &value);
	row_put(txn, &key, &value);
}

static struct row_key member_key(const uint8_t vault_id[16], const uint8_t user_id[16])
{
	struct row_key key = vault_key(KEY_MEMBER, vault_id);

	row_key_put_id(&key, user_id);
	return key;
}

static struct row_key user_vault_key(const uint8_t user_id[16], const uint8_t vault_id[16])
{
	struct row_key key = row_key_begin(KEY_USER_VAULT);

	row_key_put_id(&key, user_id);
	row_key_put_id(&key, vault_id);
	return key;
}

static int member_role_decode(
	struct bytes value, enum key_family family, unsigned *ret_role, struct err *e)
{
	struct wire w = row_wire(value);
	unsigned role = wire_u16(&w);
	int rc;

	if (role < MEMBER_READ || role > MEMBER_ADMIN) {
		wire_fail(&w);
	}
	rc = row_end(NULL, &w, family, e);
	if (rc == 0) {
		*ret_role = role;
	}
	return rc;
}

int member_store_get(const struct kv_view *view, const uint8_t vault_id[16],
	const uint8_t user_id[16], unsigned *ret_role, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = member_key(vault_id, user_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? member_role_decode(buf_bytes(&value), KEY_MEMBER, ret_role, e) : rc;
}

void member_store_put(
	struct txn *txn, const uint8_t vault_id[16], const uint8_t user_id[16], unsigned role)
{
	struct row_key key = member_key(vault_id, user_id),
		       by_user = user_vault_key(user_id, vault_id);
	struct buf value = row_begin(), copy = row_begin();

	assert(role >= MEMBER_READ && role <= MEMBER_ADMIN);
	buf_put_u16(&value, role);
	buf_put_u16(&copy, role);
	row_put(txn, &key, &value);
	row_put(txn, &by_user, &copy);
}

static int member_vault_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_USER_VAULT);
	struct member_vault *vault = to;

	(void)wire_bytes(&k, 16);
	wire_copy(&k, vault->vault_id, 16);
	if (!wire_end(&k)) {
		return err_set(e, KLUIS_ECORRUPT, "damaged key of a user's vault");
	}
	return member_role_decode(value, KEY_USER_VAULT, &vault->role, e);
}

int member_store_vaults(const struct kv_view *view, const uint8_t user_id[16], const uint8_t *after,
	struct member_vault *ret_vaults, size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = vault_key(KEY_USER_VAULT, user_id),
		.after = bytes_of(after, after == NULL ? 0 : 16),
		.max = max,
		.decode = member_vault_decode,
		.stride = sizeof *ret_vaults};

	return row_list(view, &list, ret_vaults, ret_n, e);
}

struct member_id {
	uint8_t user_id[16];
};

static int member_id_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_MEMBER), w = row_wire(value);

	(void)wire_bytes(&k, 16);
	wire_copy(&k, to, 16);
	(void)wire_u16(&w);
	return row_end(&k, &w, KEY_MEMBER, e);
}

static int member_list(const struct kv_view *view, const uint8_t vault_id[16],
	struct member_id *ret_ids, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = vault_key(KEY_MEMBER, vault_id),
		.max = MEMBERS_MAX,
		.decode = member_id_decode,
		.stride = sizeof *ret_ids};

	return row_list(view, &list, ret_ids, ret_n, e);
}

int member_store_unlist(struct txn *txn, const uint8_t vault_id[16], struct err *e)
{
	_cleanup_(x_freep) struct member_id *ids = x_calloc(MEMBERS_MAX, sizeof *ids);
	size_t n = 0;
	int rc = member_list(txn_view(txn), vault_id, ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct row_key key = user_vault_key(ids[i].user_id, vault_id);

		row_delete(txn, &key);
	}
	return rc;
}

int member_store_leave(struct txn *txn, const uint8_t vault_id[16], const uint8_t user_id[16],
	size_t *ret_left, struct err *e)
{
	_cleanup_(x_freep) struct member_id *ids = x_calloc(MEMBERS_MAX, sizeof *ids);
	struct row_key key = member_key(vault_id, user_id);
	struct row_key by_user = user_vault_key(user_id, vault_id);
	size_t n;
	int rc;

	row_delete(txn, &key);
	row_delete(txn, &by_user);
	rc = member_list(txn_view(txn), vault_id, ids, &n, e);
	if (rc == 0) {
		*ret_left = n;
	}
	return rc;
}

static struct row_key member_statement_key(const uint8_t vault_id[16], uint64_t seq)
{
	struct row_key key = vault_key(KEY_MEMBER_STATEMENT, vault_id);

	row_key_put_u64(&key, seq);
	return key;
}

int member_statement_get(const struct kv_view *view, const uint8_t vault_id[16], uint64_t seq,
	struct buf *to, struct err *e)
{
	struct row_key key = member_statement_key(vault_id, seq);

	return row_get_raw(view, &key, KEY_MEMBER_STATEMENT, to, e);
}

void member_statement_put(
	struct txn *txn, const uint8_t vault_id[16], uint64_t seq, struct bytes statement)
{
	struct row_key key = member_statement_key(vault_id, seq);

	row_put_raw(txn, &key, statement);
}

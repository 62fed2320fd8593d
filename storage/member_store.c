#include "storage/member_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"

enum { MEMBER_FORMAT_WIDE = 2 };

static struct row_key member_prefix(enum key_family family, const uint8_t id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, id);
	return key;
}

static struct row_key member_key(
	enum key_family family, const uint8_t first[16], const uint8_t second[16])
{
	struct row_key key = member_prefix(family, first);

	row_key_put_id(&key, second);
	return key;
}

/* Groups and conversations stand apart from the many vaults: each kind is listed by itself. */
static struct row_key member_of_prefix(unsigned object_kind, const uint8_t member_id[16])
{
	struct row_key key;

	assert(object_kind >= MEMBER_OBJECT_VAULT && object_kind <= MEMBER_OBJECT_CONVERSATION);
	if (object_kind == MEMBER_OBJECT_VAULT) {
		return member_prefix(KEY_MEMBER_VAULT, member_id);
	}
	key = member_prefix(KEY_MEMBER_OF, member_id);
	row_key_put_u8(&key, (uint8_t)object_kind);
	return key;
}

static struct row_key member_of_key(
	unsigned object_kind, const uint8_t member_id[16], const uint8_t object_id[16])
{
	struct row_key key = member_of_prefix(object_kind, member_id);

	row_key_put_id(&key, object_id);
	return key;
}

static bool member_is_plain(unsigned kind, unsigned state)
{
	return kind == MEMBER_USER && state == MEMBER_ACCEPTED;
}

void member_row_encode(const struct member_row *row, struct buf *to)
{
	bool plain = member_is_plain(row->kind, row->state);

	assert(row->role >= MEMBER_READ && row->role <= MEMBER_ADMIN);
	buf_put_u8(to, plain ? ROW_FORMAT : MEMBER_FORMAT_WIDE);
	buf_put_u16(to, row->role);
	if (!plain) {
		buf_put_u8(to, row->kind);
		buf_put_u8(to, row->state);
	}
}

int member_row_decode(
	struct bytes key, struct bytes value, struct member_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_MEMBER), w = wire_of(value);
	struct member_row row = {.kind = MEMBER_USER, .state = MEMBER_ACCEPTED};
	uint8_t format = wire_u8(&w);
	int rc;

	wire_copy(&k, row.object_id, 16);
	wire_copy(&k, row.member_id, 16);
	row.role = wire_u16(&w);
	if (format == MEMBER_FORMAT_WIDE) {
		row.kind = wire_u8(&w);
		row.state = wire_u8(&w);
	}
	/* One form for each value. */
	if (format != (member_is_plain(row.kind, row.state) ? ROW_FORMAT : MEMBER_FORMAT_WIDE) ||
		row.role < MEMBER_READ || row.role > MEMBER_ADMIN || row.kind < MEMBER_USER ||
		row.kind > MEMBER_GROUP || row.state < MEMBER_INVITED ||
		row.state > MEMBER_DECLINED) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_MEMBER, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

void member_of_encode(const struct member_of *row, struct buf *to)
{
	bool plain = row->state == MEMBER_ACCEPTED;

	assert(row->role >= MEMBER_READ && row->role <= MEMBER_ADMIN);
	buf_put_u8(to, plain ? ROW_FORMAT : MEMBER_FORMAT_WIDE);
	buf_put_u16(to, row->role);
	if (!plain) {
		buf_put_u8(to, row->state);
	}
}

int member_of_decode(struct bytes key, struct bytes value, struct member_of *ret_row, struct err *e)
{
	struct wire k = wire_of(key), w = wire_of(value);
	struct member_of row = {.state = MEMBER_ACCEPTED};
	uint8_t family = wire_u8(&k), format = wire_u8(&w), kind;
	int rc;

	(void)wire_bytes(&k, 16);
	kind = family == KEY_MEMBER_OF ? wire_u8(&k) : MEMBER_OBJECT_VAULT;
	wire_copy(&k, row.object_id, 16);
	if ((family != KEY_MEMBER_VAULT && family != KEY_MEMBER_OF) ||
		(family == KEY_MEMBER_OF &&
			(kind < MEMBER_OBJECT_GROUP || kind > MEMBER_OBJECT_CONVERSATION))) {
		wire_fail(&k);
	}
	row.role = wire_u16(&w);
	if (format == MEMBER_FORMAT_WIDE) {
		row.state = wire_u8(&w);
	}
	if (format != (row.state == MEMBER_ACCEPTED ? ROW_FORMAT : MEMBER_FORMAT_WIDE) ||
		row.role < MEMBER_READ || row.role > MEMBER_ADMIN || row.state < MEMBER_INVITED ||
		row.state > MEMBER_ACCEPTED) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_MEMBER_OF, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int member_store_get(const struct kv_view *view, const uint8_t object_id[16],
	const uint8_t member_id[16], struct member_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = member_key(KEY_MEMBER, object_id, member_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? member_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

int member_store_accepted(const struct kv_view *view, const uint8_t object_id[16],
	const uint8_t user_id[16], struct member_row *ret_row, struct err *e)
{
	struct member_row row;
	int rc = member_store_get(view, object_id, user_id, &row, e);

	if (rc == 0 && !member_is_plain(row.kind, row.state)) {
		rc = err_set(e, KLUIS_ENOTFOUND, "no member");
	}
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static int member_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return member_row_decode(key, value, to, e);
}

int member_store_list(const struct kv_view *view, const uint8_t object_id[16], const uint8_t *after,
	struct member_row *ret_rows, size_t max, size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = member_prefix(KEY_MEMBER, object_id),
		.after = bytes_of(after, after == NULL ? 0 : 16),
		.max = max,
		.decode = member_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

static int member_of_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return member_of_decode(key, value, to, e);
}

int member_store_objects(const struct kv_view *view, unsigned object_kind,
	const uint8_t member_id[16], const uint8_t *after, struct member_of *ret_rows, size_t max,
	size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = member_of_prefix(object_kind, member_id),
		.after = bytes_of(after, after == NULL ? 0 : 16),
		.max = max,
		.decode = member_of_list_decode,
		.stride = sizeof *ret_rows};

	return row_list(view, &list, ret_rows, ret_n, e);
}

static int vault_group_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_VAULT_GROUP), w = row_wire(value);
	struct member_of *group = to;

	(void)wire_bytes(&k, 16);
	wire_copy(&k, group->object_id, 16);
	group->state = MEMBER_ACCEPTED;
	group->role = wire_u16(&w);
	if (group->role < MEMBER_READ || group->role > MEMBER_WRITE) {
		wire_fail(&w);
	}
	return row_end(&k, &w, KEY_VAULT_GROUP, e);
}

int member_store_groups(const struct kv_view *view, const uint8_t vault_id[16],
	struct member_of ret_groups[VAULT_GROUPS_MAX], size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = member_prefix(KEY_VAULT_GROUP, vault_id),
		.max = VAULT_GROUPS_MAX,
		.decode = vault_group_decode,
		.stride = sizeof *ret_groups};

	return row_list(view, &list, ret_groups, ret_n, e);
}

void member_store_put(struct txn *txn, unsigned object_kind, const struct member_row *row)
{
	struct row_key key = member_key(KEY_MEMBER, row->object_id, row->member_id);
	struct row_key of = member_of_key(object_kind, row->member_id, row->object_id);
	struct row_key group = member_key(KEY_VAULT_GROUP, row->object_id, row->member_id);
	struct member_of listed = {.state = row->state, .role = row->role};
	struct buf value = BUF_INIT, of_value = BUF_INIT;

	assert(row->kind == MEMBER_USER ||
		(object_kind == MEMBER_OBJECT_VAULT && row->role <= MEMBER_WRITE));
	member_row_encode(row, &value);
	row_put(txn, &key, &value);
	if (row->state == MEMBER_DECLINED) {
		row_delete(txn, &of);
		if (row->kind == MEMBER_GROUP) {
			row_delete(txn, &group);
		}
		return;
	}
	member_of_encode(&listed, &of_value);
	row_put(txn, &of, &of_value);
	if (row->kind == MEMBER_GROUP) {
		struct buf group_value = row_begin();

		buf_put_u16(&group_value, row->role);
		row_put(txn, &group, &group_value);
	}
}

void member_store_delete(struct txn *txn, unsigned object_kind, const struct member_row *row)
{
	struct row_key key = member_key(KEY_MEMBER, row->object_id, row->member_id);
	struct row_key of = member_of_key(object_kind, row->member_id, row->object_id);
	struct row_key group = member_key(KEY_VAULT_GROUP, row->object_id, row->member_id);

	row_delete(txn, &key);
	row_delete(txn, &of);
	if (row->kind == MEMBER_GROUP) {
		row_delete(txn, &group);
	}
}

int member_store_unlist(
	struct txn *txn, unsigned object_kind, const uint8_t object_id[16], struct err *e)
{
	_cleanup_(x_freep) struct member_row *rows = x_calloc(MEMBERS_MAX, sizeof *rows);
	size_t n = 0;
	int rc = member_store_list(txn_view(txn), object_id, NULL, rows, MEMBERS_MAX, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct row_key of = member_of_key(object_kind, rows[i].member_id, object_id);

		row_delete(txn, &of);
	}
	return rc;
}

int member_store_leave(struct txn *txn, unsigned object_kind, const uint8_t object_id[16],
	const uint8_t user_id[16], size_t *ret_left, struct err *e)
{
	_cleanup_(x_freep) struct member_row *rows = x_calloc(MEMBERS_MAX, sizeof *rows);
	struct member_row me;
	size_t n = 0, left = 0;
	int rc = member_store_get(txn_view(txn), object_id, user_id, &me, e);

	rc = rc != 0 ? rc
		     : member_store_list(txn_view(txn), object_id, NULL, rows, MEMBERS_MAX, &n, e);
	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		left += rows[i].state != MEMBER_DECLINED &&
			memcmp(rows[i].member_id, user_id, 16) != 0;
	}
	if (left == 0) {
		member_store_delete(txn, object_kind, &me);
	} else {
		me.state = MEMBER_DECLINED;
		member_store_put(txn, object_kind, &me);
	}
	*ret_left = left;
	return 0;
}

static struct row_key member_statement_key(const uint8_t object_id[16], uint64_t seq)
{
	struct row_key key = member_prefix(KEY_MEMBER_STATEMENT, object_id);

	row_key_put_u64(&key, seq);
	return key;
}

int member_statement_get(const struct kv_view *view, const uint8_t object_id[16], uint64_t seq,
	struct buf *to, struct err *e)
{
	struct row_key key = member_statement_key(object_id, seq);

	return row_get_raw(view, &key, KEY_MEMBER_STATEMENT, to, e);
}

void member_statement_put(
	struct txn *txn, const uint8_t object_id[16], uint64_t seq, struct bytes statement)
{
	struct row_key key = member_statement_key(object_id, seq);

	row_put_raw(txn, &key, statement);
}

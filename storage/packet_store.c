#include "storage/packet_store.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "crypto/hash.h"
#include "storage/object_store.h"
#include "storage/row.h"

static struct row_key packet_prefix(enum key_family family, const uint8_t id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, id);
	return key;
}

static struct row_key packet_key(const uint8_t rcpt[16], const uint8_t packet_id[16])
{
	struct row_key key = packet_prefix(KEY_PACKET, rcpt);

	row_key_put_id(&key, packet_id);
	return key;
}

static struct row_key grant_key(
	const uint8_t user_id[16], const uint8_t vault_id[16], uint64_t page_no, uint64_t revision)
{
	struct row_key key = packet_prefix(KEY_PAGE_GRANT, user_id);

	row_key_put_id(&key, vault_id);
	row_key_put_u64(&key, page_no);
	row_key_put_u64(&key, revision);
	return key;
}

void packet_device(const uint8_t user_id[16], const uint8_t device_id[16], uint8_t ret_rcpt[16])
{
	uint8_t hash[HASH_BYTES];

	HASH_TH(hash, "kluis/v1/packet-device", bytes_of(user_id, 16), bytes_of(device_id, 16));
	memcpy(ret_rcpt, hash, 16);
}

void packet_row_encode(const struct packet_row *row, struct buf *to)
{
	assert(row->packet.len <= KEYPACKET_BYTES_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->sent_ms);
	buf_put_u64(to, row->expires_ms);
	buf_put_u8(to, row->to);
	buf_put_u8(to, row->purpose);
	buf_append(to, row->object_id, sizeof row->object_id);
	buf_put_u32(to, row->epoch);
	buf_append(to, row->sender, sizeof row->sender);
	buf_put_lp16(to, row->packet);
}

int packet_row_decode(
	struct bytes key, struct bytes value, struct packet_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_PACKET), w = row_wire(value);
	struct packet_row row;
	int rc;

	wire_copy(&k, row.rcpt, 16);
	wire_copy(&k, row.packet_id, 16);
	row.sent_ms = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	row.to = wire_u8(&w);
	row.purpose = wire_u8(&w);
	wire_copy(&w, row.object_id, 16);
	row.epoch = wire_u32(&w);
	wire_copy(&w, row.sender, 16);
	row.packet = wire_lp16(&w, KEYPACKET_BYTES_MAX);
	if (row.to < PACKET_TO_USER || row.to > PACKET_TO_DEVICE) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_PACKET, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int packet_store_get(const struct kv_view *view, const uint8_t rcpt[16],
	const uint8_t packet_id[16], struct buf *value, struct packet_row *ret_row, struct err *e)
{
	struct row_key key = packet_key(rcpt, packet_id);
	int rc;

	buf_clear(value);
	rc = row_get(view, &key, value, e);
	return rc == 0 ? packet_row_decode(row_key_bytes(&key), buf_bytes(value), ret_row, e) : rc;
}

void packet_use_encode(const struct packet_use *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u32(to, row->packets);
	buf_put_u32(to, row->grants);
}

int packet_use_decode(
	struct bytes key, struct bytes value, struct packet_use *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_PACKET_USE), w = row_wire(value);
	struct packet_use row;
	int rc;

	wire_copy(&k, row.rcpt, 16);
	row.packets = wire_u32(&w);
	row.grants = wire_u32(&w);
	rc = row_end(&k, &w, KEY_PACKET_USE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int packet_use_get(const struct kv_view *view, const uint8_t rcpt[16], struct packet_use *ret_row,
	struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = packet_prefix(KEY_PACKET_USE, rcpt);
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_row = (struct packet_use){.packets = 0};
		memcpy(ret_row->rcpt, rcpt, 16);
		return 0;
	}
	return rc == 0 ? packet_use_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static void packet_use_put(struct txn *txn, const struct packet_use *row)
{
	struct row_key key = packet_prefix(KEY_PACKET_USE, row->rcpt);
	struct buf value = BUF_INIT;

	if (row->packets == 0 && row->grants == 0) {
		row_delete(txn, &key);
		return;
	}
	packet_use_encode(row, &value);
	row_put(txn, &key, &value);
}

/* One more or one less of either; what is counted down was counted up. */
static int packet_use_move(
	struct txn *txn, const uint8_t rcpt[16], int packets, int grants, struct err *e)
{
	struct packet_use use;
	int rc = packet_use_get(txn_view(txn), rcpt, &use, e);

	if (rc != 0) {
		return rc;
	}
	if ((packets < 0 && use.packets == 0) || (grants < 0 && use.grants == 0)) {
		return err_set(e, KLUIS_ECORRUPT, "packets or grants are counted wrong");
	}
	use.packets += (uint32_t)packets;
	use.grants += (uint32_t)grants;
	packet_use_put(txn, &use);
	return 0;
}

struct expiry_row packet_expiry(const struct packet_row *row)
{
	struct expiry_row expiry = {
		.expires_ms = row->expires_ms, .kind = EXPIRY_PACKET, .subject_bytes = 32};

	memcpy(expiry.subject, row->rcpt, 16);
	memcpy(expiry.subject + 16, row->packet_id, 16);
	return expiry;
}

static void packet_write(struct txn *txn, const struct packet_row *row)
{
	struct row_key key = packet_key(row->rcpt, row->packet_id);
	struct expiry_row expiry = packet_expiry(row);
	struct buf value = BUF_INIT;

	packet_row_encode(row, &value);
	row_put(txn, &key, &value);
	expiry_store_put(txn, &expiry);
}

static int packet_put(struct txn *txn, const struct packet_row *row, uint32_t max, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct packet_row old;
	struct packet_use use;
	int rc = packet_store_get(txn_view(txn), row->rcpt, row->packet_id, &value, &old, e);

	if (rc == 0) {
		return bytes_equal(old.packet, row->packet)
			       ? 0
			       : err_set(e, KLUIS_EEXIST, "another packet has the id");
	}
	rc = rc == KLUIS_ENOTFOUND ? packet_use_get(txn_view(txn), row->rcpt, &use, e) : rc;
	if (rc == 0 && use.packets >= max) {
		rc = err_set(e, KLUIS_EQUOTA, "too many packets wait for the recipient");
	}
	if (rc == 0) {
		packet_write(txn, row);
		rc = packet_use_move(txn, row->rcpt, 1, 0, e);
	}
	return rc;
}

int packet_store_put(struct txn *txn, const struct packet_row *row, struct err *e)
{
	return packet_put(
		txn, row, row->to == PACKET_TO_GROUP ? PACKETS_GROUP_MAX : PACKETS_MAX, e);
}

int packet_store_put_accepted(struct txn *txn, const struct packet_row *row, struct err *e)
{
	return packet_put(txn, row, PACKETS_GROUP_MAX, e);
}

int packet_store_delete(struct txn *txn, const struct packet_row *row, struct err *e)
{
	struct row_key key = packet_key(row->rcpt, row->packet_id);
	struct expiry_row expiry = packet_expiry(row);

	row_delete(txn, &key);
	expiry_store_delete(txn, &expiry);
	return packet_use_move(txn, row->rcpt, -1, 0, e);
}

/* A group's members of later days need what it was given before them. */
static int packet_is_kept(
	const struct kv_view *view, const struct packet_row *row, bool *ret_kept, struct err *e)
{
	struct member_row member;
	struct vault_row vault;
	int rc = KLUIS_ENOTFOUND;

	if (row->to == PACKET_TO_GROUP) {
		rc = vault_store_get(view, row->object_id, &vault, e);
	}
	if (rc == 0 && vault.state != VAULT_ACTIVE) {
		rc = KLUIS_ENOTFOUND;
	}
	rc = rc != 0 ? rc : member_store_get(view, row->object_id, row->rcpt, &member, e);
	if (rc == 0 || rc == KLUIS_ENOTFOUND) {
		*ret_kept = rc == 0;
		return 0;
	}
	return rc;
}

int packet_store_expire(struct txn *txn, const uint8_t rcpt[16], const uint8_t packet_id[16],
	uint64_t now_ms, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct expiry_row expiry;
	struct packet_row row;
	bool kept = false;
	int rc = packet_store_get(txn_view(txn), rcpt, packet_id, &value, &row, e);

	rc = rc != 0 ? rc : packet_is_kept(txn_view(txn), &row, &kept, e);
	if (rc == 0 && !kept) {
		return packet_store_delete(txn, &row, e);
	}
	if (rc == 0) {
		expiry = packet_expiry(&row);
		expiry_store_delete(txn, &expiry);
		row.expires_ms = now_ms + PACKET_KEPT_MS;
		packet_write(txn, &row);
	}
	return rc;
}

struct packet_iter {
	struct row_iter rows;
};

struct packet_iter *packet_iter_new(
	const struct kv_view *view, const uint8_t rcpt[16], const uint8_t *after)
{
	struct packet_iter *it = x_calloc(1, sizeof *it);
	struct row_key first = packet_prefix(KEY_PACKET, rcpt);
	struct row_key end = row_key_after_prefix(&first);

	if (after != NULL) {
		row_key_put_id(&first, after);
		row_key_put_u8(&first, 0); /* Behind `after` itself. */
	}
	it->rows.iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	return it;
}

bool packet_iter_next(struct packet_iter *iter, struct packet_row *ret_row)
{
	struct row_iter *rows = &iter->rows;

	if (!row_iter_next(rows)) {
		return false;
	}
	rows->rc = packet_row_decode(
		kv_iter_key(rows->iter), kv_iter_value(rows->iter), ret_row, &rows->err);
	return rows->rc == 0;
}

int packet_iter_status(const struct packet_iter *iter, struct err *e)
{
	return row_iter_status(&iter->rows, e);
}

void packet_iter_free(struct packet_iter *iter)
{
	if (iter != NULL) {
		kv_iter_free(iter->rows.iter);
		free(iter);
	}
}

void page_grant_encode(const struct page_grant *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->expires_ms);
	buf_append(to, row->granter, sizeof row->granter);
}

int page_grant_decode(
	struct bytes key, struct bytes value, struct page_grant *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_PAGE_GRANT), w = row_wire(value);
	struct page_grant row;
	int rc;

	wire_copy(&k, row.user_id, 16);
	wire_copy(&k, row.vault_id, 16);
	row.page_no = wire_u64(&k);
	row.revision = wire_u64(&k);
	row.expires_ms = wire_u64(&w);
	wire_copy(&w, row.granter, 16);
	rc = row_end(&k, &w, KEY_PAGE_GRANT, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int grant_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t vault_id[16], uint64_t page_no, uint64_t revision, struct page_grant *ret_row,
	struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = grant_key(user_id, vault_id, page_no, revision);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? page_grant_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

int grant_store_check(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t vault_id[16], uint64_t page_no, uint64_t revision, uint64_t now_ms,
	struct page_grant *ret_row, struct err *e)
{
	struct page_grant row;
	int rc = grant_store_get(view, user_id, vault_id, page_no, revision, &row, e);

	if (rc == 0 && now_ms >= row.expires_ms) {
		rc = err_set(e, KLUIS_ENOTFOUND, "the page is not open to you any more");
	}
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

struct expiry_row page_grant_expiry(const struct page_grant *row)
{
	struct expiry_row expiry = {
		.expires_ms = row->expires_ms, .kind = EXPIRY_PAGE_GRANT, .subject_bytes = 48};

	memcpy(expiry.subject, row->user_id, 16);
	memcpy(expiry.subject + 16, row->vault_id, 16);
	store_u64(expiry.subject + 32, row->page_no);
	store_u64(expiry.subject + 40, row->revision);
	return expiry;
}

int grant_store_delete(struct txn *txn, const struct page_grant *row, struct err *e)
{
	struct row_key key = grant_key(row->user_id, row->vault_id, row->page_no, row->revision);
	struct expiry_row expiry = page_grant_expiry(row);

	row_delete(txn, &key);
	expiry_store_delete(txn, &expiry);
	return packet_use_move(txn, row->user_id, 0, -1, e);
}

int grant_store_put(struct txn *txn, const struct page_grant *row, struct err *e)
{
	struct row_key key = grant_key(row->user_id, row->vault_id, row->page_no, row->revision);
	struct expiry_row expiry = page_grant_expiry(row);
	struct buf value = BUF_INIT;
	struct page_grant old;
	struct packet_use use;
	int rc = grant_store_get(
		txn_view(txn), row->user_id, row->vault_id, row->page_no, row->revision, &old, e);

	rc = rc == 0 ? grant_store_delete(txn, &old, e) : rc == KLUIS_ENOTFOUND ? 0 : rc;
	rc = rc != 0 ? rc : packet_use_get(txn_view(txn), row->user_id, &use, e);
	if (rc == 0 && use.grants >= PAGE_GRANTS_MAX) {
		rc = err_set(e, KLUIS_EQUOTA, "too many pages are open to the user");
	}
	if (rc == 0) {
		page_grant_encode(row, &value);
		row_put(txn, &key, &value);
		expiry_store_put(txn, &expiry);
		rc = packet_use_move(txn, row->user_id, 0, 1, e);
	}
	return rc;
}

int grant_store_expire(struct txn *txn, const uint8_t subject[48], struct err *e)
{
	struct page_grant row;
	int rc = grant_store_get(txn_view(txn), subject, subject + 16, load_u64(subject + 32),
		load_u64(subject + 40), &row, e);

	return rc == 0 ? grant_store_delete(txn, &row, e) : rc;
}

static int purge_packets(
	struct txn *txn, const uint8_t user_id[16], size_t max, size_t *n, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	_cleanup_(x_freep) struct row_key *keys = x_calloc(max, sizeof *keys);
	struct row_key first = packet_prefix(KEY_PACKET, user_id);
	struct row_key end = row_key_after_prefix(&first);
	struct kv_iter *iter =
		kv_iter_new(txn_view(txn), row_key_bytes(&first), row_key_bytes(&end));
	struct packet_row row;
	size_t found = 0;
	int rc;

	while (found < max && kv_iter_next(iter)) {
		row_key_put_tail(&keys[found++], kv_iter_key(iter));
	}
	rc = kv_iter_status(iter, e);
	kv_iter_free(iter);
	for (size_t i = 0; rc == 0 && i < found; i++) {
		const uint8_t *key = keys[i].data;

		rc = packet_store_get(txn_view(txn), key + 1, key + 17, &value, &row, e);
		rc = rc != 0 ? rc : packet_store_delete(txn, &row, e);
	}
	*n += found;
	return rc;
}

static int grant_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return page_grant_decode(key, value, to, e);
}

static int purge_grants(
	struct txn *txn, const uint8_t user_id[16], size_t max, size_t *n, struct err *e)
{
	_cleanup_(x_freep) struct page_grant *rows = x_calloc(max, sizeof *rows);
	struct row_list list = {.prefix = packet_prefix(KEY_PAGE_GRANT, user_id),
		.max = max,
		.decode = grant_list_decode,
		.stride = sizeof *rows};
	size_t found = 0;
	int rc = row_list(txn_view(txn), &list, rows, &found, e);

	for (size_t i = 0; rc == 0 && i < found; i++) {
		rc = grant_store_delete(txn, &rows[i], e);
	}
	*n += found;
	return rc;
}

int grant_store_any(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t vault_id[16], uint64_t now_ms, bool *ret_any, struct err *e)
{
	enum { ANY_STEP = 64 };
	struct page_grant rows[ANY_STEP];
	struct row_list list = {.prefix = packet_prefix(KEY_PAGE_GRANT, user_id),
		.max = ANY_STEP,
		.decode = grant_list_decode,
		.stride = sizeof rows[0]};
	uint8_t last[16];
	bool any = false;
	size_t n = ANY_STEP;
	int rc = 0;

	row_key_put_id(&list.prefix, vault_id);
	/* Those whose time is over go soon: few stand before one that counts. */
	for (size_t seen = 0; rc == 0 && !any && n == ANY_STEP && seen < PAGE_GRANTS_MAX;
		seen += n) {
		rc = row_list(view, &list, rows, &n, e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			any = any || now_ms < rows[i].expires_ms;
			store_u64(last, rows[i].page_no);
			store_u64(last + 8, rows[i].revision);
		}
		list.after = bytes_of(last, sizeof last);
	}
	if (rc == 0) {
		*ret_any = any;
	}
	return rc;
}

int packet_store_purge(
	struct txn *txn, const uint8_t user_id[16], size_t max, size_t *ret_n, struct err *e)
{
	size_t n = 0;
	int rc = purge_packets(txn, user_id, max, &n, e);

	if (rc == 0 && n < max) {
		rc = purge_grants(txn, user_id, max - n, &n, e);
	}
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

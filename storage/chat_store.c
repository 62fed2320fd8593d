#include "storage/chat_store.h"

#include <assert.h>
#include <string.h>

#include "storage/row.h"
#include "storage/upkeep_store.h"

static struct row_key conv_key(enum key_family family, const uint8_t conv_id[16])
{
	struct row_key key = row_key_begin(family);

	row_key_put_id(&key, conv_id);
	return key;
}

void chat_row_encode(const struct chat_row *row, struct buf *to)
{
	assert(row->first >= 1 && row->first <= row->last + 1);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->first);
	buf_put_u64(to, row->last);
	buf_put_u64(to, row->bytes);
	buf_put_u64(to, row->acked);
	buf_put_u64(to, row->expires_ms);
}

int chat_row_decode(struct bytes key, struct bytes value, struct chat_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_CHAT), w = row_wire(value);
	struct chat_row row;
	int rc;

	wire_copy(&k, row.conv_id, sizeof row.conv_id);
	row.first = wire_u64(&w);
	row.last = wire_u64(&w);
	row.bytes = wire_u64(&w);
	row.acked = wire_u64(&w);
	row.expires_ms = wire_u64(&w);
	if (row.first == 0 || row.last == UINT64_MAX || row.first > row.last + 1) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_CHAT, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int chat_store_get(const struct kv_view *view, const uint8_t conv_id[16], struct chat_row *ret_row,
	struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = conv_key(KEY_CHAT, conv_id);
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_row = (struct chat_row){.first = 1};
		memcpy(ret_row->conv_id, conv_id, sizeof ret_row->conv_id);
		return 0;
	}
	return rc == 0 ? chat_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static struct expiry_row chat_place(const uint8_t conv_id[16], uint64_t expires_ms)
{
	struct expiry_row place = {
		.expires_ms = expires_ms, .kind = EXPIRY_CHAT, .subject_bytes = 16};

	memcpy(place.subject, conv_id, 16);
	return place;
}

void chat_store_put(struct txn *txn, const struct chat_row *row, uint64_t old_expires_ms)
{
	struct row_key key = conv_key(KEY_CHAT, row->conv_id);
	struct buf value = BUF_INIT;
	struct expiry_row place;

	chat_row_encode(row, &value);
	row_put(txn, &key, &value);
	if (old_expires_ms == row->expires_ms) {
		return;
	}
	if (old_expires_ms != 0) {
		place = chat_place(row->conv_id, old_expires_ms);
		expiry_store_delete(txn, &place);
	}
	if (row->expires_ms != 0) {
		place = chat_place(row->conv_id, row->expires_ms);
		expiry_store_put(txn, &place);
	}
}

static struct row_key message_key(const uint8_t conv_id[16], uint64_t seq)
{
	struct row_key key = conv_key(KEY_MESSAGE, conv_id);

	row_key_put_u64(&key, seq);
	return key;
}

void message_row_encode(const struct message_row *row, struct buf *to)
{
	assert(row->message.len > 0 && row->message.len <= CHAT_MESSAGE_BYTES_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->time_ms);
	buf_put_u64(to, row->before);
	buf_append(to, row->hash, sizeof row->hash);
	buf_put_lp32(to, row->message);
}

int message_row_decode(
	struct bytes key, struct bytes value, struct message_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_MESSAGE), w = row_wire(value);
	struct message_row row;
	int rc;

	(void)wire_bytes(&k, 16);
	row.seq = wire_u64(&k);
	row.time_ms = wire_u64(&w);
	row.before = wire_u64(&w);
	wire_copy(&w, row.hash, sizeof row.hash);
	row.message = wire_lp32(&w, CHAT_MESSAGE_BYTES_MAX);
	if (row.message.len == 0) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_MESSAGE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int message_store_get(const struct kv_view *view, const uint8_t conv_id[16], uint64_t seq,
	struct buf *value, struct message_row *ret_row, struct err *e)
{
	struct row_key key = message_key(conv_id, seq);
	int rc;

	buf_clear(value);
	rc = row_get(view, &key, value, e);
	return rc == 0 ? message_row_decode(row_key_bytes(&key), buf_bytes(value), ret_row, e) : rc;
}

void message_store_add(struct txn *txn, struct chat_row *chat, const struct message_row *row)
{
	struct row_key key = message_key(chat->conv_id, row->seq);
	struct buf value = BUF_INIT;

	assert(row->seq == chat->last + 1);
	message_row_encode(row, &value);
	row_put(txn, &key, &value);
	chat->last = row->seq;
	chat->bytes += row->message.len;
	if (chat->expires_ms == 0) {
		chat->expires_ms = row->time_ms + CHAT_KEPT_MS;
	}
}

struct message_iter {
	struct row_iter rows;
};

struct message_iter *message_iter_new(
	const struct kv_view *view, const uint8_t conv_id[16], uint64_t after)
{
	struct message_iter *it = x_calloc(1, sizeof *it);
	struct row_key first = message_key(conv_id, after), prefix = conv_key(KEY_MESSAGE, conv_id);
	struct row_key end = row_key_after_prefix(&prefix);

	row_key_put_u8(&first, 0); /* Behind `after` itself. */
	it->rows.iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	return it;
}

bool message_iter_next(struct message_iter *iter, struct message_row *ret_row)
{
	struct row_iter *rows = &iter->rows;

	if (!row_iter_next(rows)) {
		return false;
	}
	rows->rc = message_row_decode(
		kv_iter_key(rows->iter), kv_iter_value(rows->iter), ret_row, &rows->err);
	return rows->rc == 0;
}

int message_iter_status(const struct message_iter *iter, struct err *e)
{
	return row_iter_status(&iter->rows, e);
}

void message_iter_free(struct message_iter *iter)
{
	if (iter != NULL) {
		kv_iter_free(iter->rows.iter);
		free(iter);
	}
}

static struct row_key device_key(
	const uint8_t conv_id[16], const uint8_t user_id[16], const uint8_t device_id[16])
{
	struct row_key key = conv_key(KEY_CHAT_DEVICE, conv_id);

	row_key_put_id(&key, user_id);
	row_key_put_id(&key, device_id);
	return key;
}

void chat_device_row_encode(const struct chat_device_row *row, struct buf *to)
{
	assert(row->read <= row->delivered);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u32(to, row->epoch);
	buf_put_u32(to, row->index);
	buf_append(to, row->hash, sizeof row->hash);
	buf_put_u64(to, row->seq);
	buf_put_u64(to, row->time_ms);
	buf_put_u64(to, row->delivered);
	buf_put_u64(to, row->read);
}

int chat_device_row_decode(
	struct bytes key, struct bytes value, struct chat_device_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_CHAT_DEVICE), w = row_wire(value);
	struct chat_device_row row;
	int rc;

	wire_copy(&k, row.conv_id, sizeof row.conv_id);
	wire_copy(&k, row.user_id, sizeof row.user_id);
	wire_copy(&k, row.device_id, sizeof row.device_id);
	row.epoch = wire_u32(&w);
	row.index = wire_u32(&w);
	wire_copy(&w, row.hash, sizeof row.hash);
	row.seq = wire_u64(&w);
	row.time_ms = wire_u64(&w);
	row.delivered = wire_u64(&w);
	row.read = wire_u64(&w);
	if (row.read > row.delivered) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, KEY_CHAT_DEVICE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int chat_device_store_get(const struct kv_view *view, const uint8_t conv_id[16],
	const uint8_t user_id[16], const uint8_t device_id[16], struct chat_device_row *ret_row,
	struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = device_key(conv_id, user_id, device_id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? chat_device_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

static int device_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return chat_device_row_decode(key, value, to, e);
}

int chat_device_store_list(const struct kv_view *view, const uint8_t conv_id[16],
	const struct chat_device_row *after, struct chat_device_row *ret_rows, size_t max,
	size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = conv_key(KEY_CHAT_DEVICE, conv_id),
		.max = max,
		.decode = device_list_decode,
		.stride = sizeof *ret_rows};
	uint8_t place[32];

	if (after != NULL) {
		memcpy(place, after->user_id, 16);
		memcpy(place + 16, after->device_id, 16);
		list.after = bytes_of(place, sizeof place);
	}
	return row_list(view, &list, ret_rows, ret_n, e);
}

void chat_device_store_put(struct txn *txn, const struct chat_device_row *row)
{
	struct row_key key = device_key(row->conv_id, row->user_id, row->device_id);
	struct buf value = BUF_INIT;

	chat_device_row_encode(row, &value);
	row_put(txn, &key, &value);
}

void chat_device_store_delete(struct txn *txn, const struct chat_device_row *row)
{
	struct row_key key = device_key(row->conv_id, row->user_id, row->device_id);

	row_delete(txn, &key);
}

static struct row_key epoch_key(const uint8_t conv_id[16], uint32_t epoch)
{
	struct row_key key = conv_key(KEY_CHAT_EPOCH, conv_id);

	row_key_put_u32(&key, epoch);
	return key;
}

void chat_epoch_row_encode(const struct chat_epoch_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->made_ms);
	buf_put_u64(to, row->first);
	buf_append(to, row->user_id, sizeof row->user_id);
	buf_append(to, row->device_id, sizeof row->device_id);
	buf_append(to, row->members_hash, sizeof row->members_hash);
	buf_append(to, row->packets_hash, sizeof row->packets_hash);
	buf_put_u16(to, row->devices);
}

int chat_epoch_row_decode(
	struct bytes key, struct bytes value, struct chat_epoch_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_CHAT_EPOCH), w = row_wire(value);
	struct chat_epoch_row row;
	int rc;

	wire_copy(&k, row.conv_id, sizeof row.conv_id);
	row.epoch = wire_u32(&k);
	row.made_ms = wire_u64(&w);
	row.first = wire_u64(&w);
	wire_copy(&w, row.user_id, sizeof row.user_id);
	wire_copy(&w, row.device_id, sizeof row.device_id);
	wire_copy(&w, row.members_hash, sizeof row.members_hash);
	wire_copy(&w, row.packets_hash, sizeof row.packets_hash);
	row.devices = wire_u16(&w);
	rc = row_end(&k, &w, KEY_CHAT_EPOCH, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int chat_epoch_store_get(const struct kv_view *view, const uint8_t conv_id[16], uint32_t epoch,
	struct chat_epoch_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = epoch_key(conv_id, epoch);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? chat_epoch_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

static int epoch_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return chat_epoch_row_decode(key, value, to, e);
}

int chat_epoch_store_add(struct txn *txn, const struct chat_epoch_row *row, struct err *e)
{
	struct chat_epoch_row rows[CHAT_EPOCHS_KEPT];
	struct row_list list = {.prefix = conv_key(KEY_CHAT_EPOCH, row->conv_id),
		.max = CHAT_EPOCHS_KEPT,
		.decode = epoch_list_decode,
		.stride = sizeof rows[0]};
	struct row_key key = epoch_key(row->conv_id, row->epoch);
	struct buf value = BUF_INIT;
	size_t n = 0;
	int rc = row_list(txn_view(txn), &list, rows, &n, e);

	if (rc != 0) {
		return rc;
	}
	assert(n == 0 || rows[n - 1].epoch < row->epoch);
	if (n == CHAT_EPOCHS_KEPT) {
		struct row_key oldest = epoch_key(row->conv_id, rows[0].epoch);

		row_delete(txn, &oldest);
	}
	chat_epoch_row_encode(row, &value);
	row_put(txn, &key, &value);
	return 0;
}

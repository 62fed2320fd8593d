#include <assert.h>
#include <string.h>

#include "crypto/member.h"
#include "storage/chat_store.h"
#include "storage/object_store.h"
#include "storage/row.h"
#include "storage/upkeep_store.h"

/* How messages go again: once all devices have them, by age, or with their conversation. */

/* The oldest message that is kept goes. */
static int sweep_drop_one(struct txn *txn, struct chat_row *chat, size_t bytes, struct err *e)
{
	struct row_key key = row_key_begin(KEY_MESSAGE);

	if (chat->bytes < bytes) {
		return err_set(e, KLUIS_ECORRUPT, "messages of a conversation are counted wrong");
	}
	row_key_put_id(&key, chat->conv_id);
	row_key_put_u64(&key, chat->first);
	row_delete(txn, &key);
	chat->bytes -= bytes;
	chat->first++;
	if (chat->first > chat->last) {
		chat->expires_ms = 0;
	}
	return 0;
}

static int sweep_first(const struct kv_view *view, const struct chat_row *chat, struct buf *value,
	struct message_row *ret_row, struct err *e)
{
	int rc = message_store_get(view, chat->conv_id, chat->first, value, ret_row, e);

	return rc == KLUIS_ENOTFOUND ? err_set(e, KLUIS_ECORRUPT, "a message is missing") : rc;
}

int chat_store_drop(
	struct txn *txn, struct chat_row *chat, size_t max, size_t *ret_n, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct message_row row;
	size_t n = 0;
	int rc = 0;

	while (rc == 0 && n < max && chat->first <= chat->last && chat->first <= chat->acked) {
		rc = sweep_first(txn_view(txn), chat, &value, &row, e);
		rc = rc != 0 ? rc : sweep_drop_one(txn, chat, row.message.len, e);
		n++;
	}
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

void chat_store_hurry(struct chat_row *chat, uint64_t now_ms)
{
	if (chat->expires_ms > now_ms + CHAT_SWEEP_MS) {
		chat->expires_ms = now_ms + CHAT_SWEEP_MS;
	}
}

/* What every device of the epoch has. */
static int sweep_count(const struct kv_view *view, struct chat_row *chat, struct err *e)
{
	enum { SOME = 64 };
	_cleanup_(x_freep) struct chat_device_row *rows = x_calloc(SOME, sizeof *rows);
	struct chat_device_row last;
	uint64_t acked = chat->last;
	size_t n = SOME, all = 0;
	int rc = 0;

	for (; rc == 0 && n == SOME; all += n) {
		rc = chat_device_store_list(
			view, chat->conv_id, all == 0 ? NULL : &last, rows, SOME, &n, e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			acked = rows[i].delivered < acked ? rows[i].delivered : acked;
		}
		last = rows[n > 0 ? n - 1 : 0];
	}
	if (rc == 0) {
		chat->acked = acked;
	}
	return rc;
}

/* When the oldest message that is kept may go by its age. */
static uint64_t sweep_due(const struct message_row *row, uint64_t hold_until_ms)
{
	uint64_t due_ms = row->time_ms + CHAT_KEPT_MS;

	return due_ms > hold_until_ms ? due_ms : hold_until_ms;
}

/* By age; and where the row stands in the queue from now on. */
static int sweep_old(struct txn *txn, struct chat_row *chat, uint64_t now_ms,
	uint64_t hold_until_ms, size_t max, size_t *n, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct message_row row;
	int rc = 0;

	while (rc == 0 && chat->first <= chat->last) {
		uint64_t due_ms;

		rc = sweep_first(txn_view(txn), chat, &value, &row, e);
		if (rc != 0) {
			break;
		}
		due_ms = sweep_due(&row, hold_until_ms);
		if (*n == max || due_ms > now_ms) {
			bool more = due_ms <= now_ms || chat->first <= chat->acked;

			/* Below what was just taken out of the queue nobody looks. */
			chat->expires_ms = more ? now_ms : due_ms;
			break;
		}
		rc = sweep_drop_one(txn, chat, row.message.len, e);
		*n += 1;
	}
	return rc;
}

int chat_store_sweep(struct txn *txn, const uint8_t conv_id[16], uint64_t now_ms,
	uint64_t hold_until_ms, size_t max, size_t *ret_n, struct err *e)
{
	struct chat_row chat;
	uint64_t old_ms;
	size_t n = 0;
	int rc = chat_store_get(txn_view(txn), conv_id, &chat, e);

	assert(max > 0);
	if (rc != 0 || chat.expires_ms == 0) {
		return rc != 0 ? rc : KLUIS_ENOTFOUND;
	}
	old_ms = chat.expires_ms;
	rc = sweep_count(txn_view(txn), &chat, e);
	rc = rc != 0 ? rc : chat_store_drop(txn, &chat, max, &n, e);
	rc = rc != 0 ? rc : sweep_old(txn, &chat, now_ms, hold_until_ms, max, &n, e);
	if (rc == 0) {
		chat_store_put(txn, &chat, old_ms);
		*ret_n = n;
	}
	return rc;
}

/* Some keys of one family; the values, which may be large, are not read. */
static int purge_family(struct txn *txn, enum key_family family, const uint8_t conv_id[16],
	size_t max, size_t *n, struct err *e)
{
	struct row_key prefix = row_key_begin(family), end;
	_cleanup_(x_freep) struct row_key *keys = x_calloc(max, sizeof *keys);
	struct kv_iter *iter;
	size_t got = 0;
	int rc;

	row_key_put_id(&prefix, conv_id);
	end = row_key_after_prefix(&prefix);
	iter = kv_iter_new(txn_view(txn), row_key_bytes(&prefix), row_key_bytes(&end));
	while (got < max && kv_iter_next(iter)) {
		row_key_put_tail(&keys[got++], kv_iter_key(iter));
	}
	rc = kv_iter_status(iter, e);
	kv_iter_free(iter);
	for (size_t i = 0; rc == 0 && i < got; i++) {
		row_delete(txn, &keys[i]);
	}
	*n += got;
	return rc;
}

/* Its place in the queue goes first: nothing would be found there. */
static int purge_chat(struct txn *txn, const uint8_t conv_id[16], struct err *e)
{
	struct chat_row chat;
	int rc = chat_store_get(txn_view(txn), conv_id, &chat, e);

	if (rc == 0 && chat.expires_ms != 0) {
		uint64_t old_ms = chat.expires_ms;

		chat.expires_ms = 0;
		chat_store_put(txn, &chat, old_ms);
	}
	return rc;
}

int chat_store_purge(
	struct txn *txn, const uint8_t conv_id[16], size_t max, size_t *ret_n, struct err *e)
{
	static const enum key_family families[] = {
		KEY_MESSAGE, KEY_CHAT_DEVICE, KEY_CHAT_EPOCH, KEY_CHAT};
	size_t n = 0;
	int rc = purge_chat(txn, conv_id, e);

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(families) && n < max; i++) {
		rc = purge_family(txn, families[i], conv_id, max - n, &n, e);
	}
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

int chat_store_stale(struct txn *txn, const uint8_t user_id[16], struct err *e)
{
	enum { SOME = 64 };
	struct member_of rows[SOME];
	struct object_row conv;
	uint8_t last[16];
	size_t n = SOME;
	int rc = 0;

	for (const uint8_t *after = NULL; rc == 0 && n == SOME; after = last) {
		rc = member_store_objects(txn_view(txn), MEMBER_OBJECT_CONVERSATION, user_id, after,
			rows, SOME, &n, e);
		for (size_t i = 0; rc == 0 && i < n; i++) {
			memcpy(last, rows[i].object_id, sizeof last);
			rc = object_store_get(txn_view(txn), last, &conv, e);
			if (rc == 0 && !conv.chat_stale) {
				conv.chat_stale = true;
				object_store_put(txn, &conv);
			}
		}
	}
	return rc == KLUIS_ENOTFOUND
		       ? err_set(e, KLUIS_ECORRUPT, "a conversation of a user is missing")
		       : rc;
}

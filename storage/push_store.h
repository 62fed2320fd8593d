/* Subscriptions of devices to push services. What is subscribed is the node's business
 * (node/push_target.h) and sealed: here it is bytes. */
#ifndef KLUIS_STORAGE_PUSH_STORE_H
#define KLUIS_STORAGE_PUSH_STORE_H

#include "storage/kv.h"
#include "storage/txn.h"

enum {
	PUSH_PER_USER_MAX = 32,
	PUSH_PER_DEVICE_MAX = 4, /* Of one more the oldest goes: browsers renew theirs. */
	PUSH_SEALED_BYTES_MAX = 1280,
	PUSH_KINDS = 3, /* 1 .. so many. */
};

struct push_row {
	uint8_t user_id[16], push_id[16];
	uint8_t device_id[16];
	uint8_t kind; /* As node/push_target.h has them. */
	uint64_t created_ms;
	uint8_t pepper_id;
	uint16_t sealed_bytes;		       /* At least 1. */
	uint8_t sealed[PUSH_SEALED_BYTES_MAX]; /* seal(pepper, user_id | "push" | push_id, target).
						*/
};
void push_row_encode(const struct push_row *row, struct buf *to);
KLUIS_MUST_CHECK int push_row_decode(
	struct bytes key, struct bytes value, struct push_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int push_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t push_id[16], struct push_row *ret_row, struct err *e);
/* All of the user, ascending by id. */
KLUIS_MUST_CHECK int push_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct push_row ret_rows[PUSH_PER_USER_MAX], size_t *ret_n, struct err *e);
void push_store_put(struct txn *txn, const struct push_row *row);
void push_store_delete(struct txn *txn, const uint8_t user_id[16], const uint8_t push_id[16]);
/* Those of one device, or of all (NULL). */
KLUIS_MUST_CHECK int push_store_forget(
	struct txn *txn, const uint8_t user_id[16], const uint8_t *device_id, struct err *e);

#endif

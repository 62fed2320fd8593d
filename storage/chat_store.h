/* What passes through a conversation: messages until every device has them, what each device has,
 * and the epochs of its keys. Who is a member: storage/object_store.h. */
#ifndef KLUIS_STORAGE_CHAT_STORE_H
#define KLUIS_STORAGE_CHAT_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

enum {
	CHAT_DEVICES_MAX = 2048,       /* Of all members: as many KeyPackets fit one command. */
	CHAT_DEVICES_SEEN_MAX = 16384, /* ... with those that are revoked. */
	CHAT_EPOCHS_KEPT = 16,
	CHAT_EPOCHS_SKIPPED_MAX = 256, /* A restore takes numbers back that were used. */
	/* That somebody does not have yet, of one conversation. */
	CHAT_MESSAGES_MAX = 100000,
	CHAT_BYTES_MAX = 256 << 20,
	CHAT_RETRY_MAX = 64,   /* Of a device's newest messages, looked for a message sent again. */
	CHAT_SEND_DROPS = 2,   /* Old messages that one message takes along. */
	CHAT_SWEEP_MS = 10000, /* From the first receipt that may free messages to the count. */
};
#define CHAT_KEPT_MS (30ULL * 24 * 3600 * 1000)
/* KeyPackets of an epoch wait for their devices as long as messages under it may: clients write
 * under one for seven days, the last message stays for CHAT_KEPT_MS, and clocks differ. They seal
 * them for as long. */
#define CHAT_PACKET_KEPT_MS (45ULL * 24 * 3600 * 1000)

/* One of each conversation that has an epoch; small, for it moves with every message. */
struct chat_row {
	uint8_t conv_id[16];
	uint64_t first; /* Seq of the oldest message that is kept; last + 1: none is. */
	uint64_t last;	/* Seq of the newest that there ever was; 0: none. */
	uint64_t bytes; /* Of the messages that are kept. */
	uint64_t acked; /* All devices have what is up to here, as they were last counted. */
	/* Its place in the expiry queue: when the oldest message may go, or devices are to be
	 * counted again; 0: none is kept. */
	uint64_t expires_ms;
};
void chat_row_encode(const struct chat_row *row, struct buf *to);
KLUIS_MUST_CHECK int chat_row_decode(
	struct bytes key, struct bytes value, struct chat_row *ret_row, struct err *e);
/* That of a conversation without any epoch is empty: first 1, last 0. */
KLUIS_MUST_CHECK int chat_store_get(const struct kv_view *view, const uint8_t conv_id[16],
	struct chat_row *ret_row, struct err *e);
/* With its place in the expiry queue, which was at old_expires_ms (0: none). */
void chat_store_put(struct txn *txn, const struct chat_row *row, uint64_t old_expires_ms);

struct message_row {
	uint64_t seq;
	uint64_t time_ms;     /* Cluster time. It goes CHAT_KEPT_MS later at the latest. */
	uint64_t before;      /* Seq of the same device's message before; 0: none that is known. */
	uint8_t hash[32];     /* SHA-256 of the message without its signature. */
	struct bytes message; /* As its device sent it (crypto/chat.h). */
};
void message_row_encode(const struct message_row *row, struct buf *to);
/* message points into value. */
KLUIS_MUST_CHECK int message_row_decode(
	struct bytes key, struct bytes value, struct message_row *ret_row, struct err *e);
/* value holds the bytes that *ret_row points into. KLUIS_ENOTFOUND: never given, or gone. */
KLUIS_MUST_CHECK int message_store_get(const struct kv_view *view, const uint8_t conv_id[16],
	uint64_t seq, struct buf *value, struct message_row *ret_row, struct err *e);
/* The newest of a conversation: row->seq = chat->last + 1. Moves *chat, which the caller puts. */
void message_store_add(struct txn *txn, struct chat_row *chat, const struct message_row *row);
/* The messages that are kept with a seq above `after`, ascending. The view outlives it. */
struct message_iter;
struct message_iter *message_iter_new(
	const struct kv_view *view, const uint8_t conv_id[16], uint64_t after);
/* true: *ret_row is the next one, valid until the next call. false: the end or a failure; ask
 * message_iter_status(). */
bool message_iter_next(struct message_iter *iter, struct message_row *ret_row);
KLUIS_MUST_CHECK int message_iter_status(const struct message_iter *iter, struct err *e);
void message_iter_free(struct message_iter *iter); /* NULL is allowed. */

/* A device that is in the current epoch. Ids of devices are unique only within their user. */
struct chat_device_row {
	uint8_t conv_id[16], user_id[16], device_id[16];
	/* Of its newest message; epoch 0: it has sent none. */
	uint32_t epoch, index;
	uint8_t hash[32];
	uint64_t seq, time_ms;
	/* It has all up to here, and its user has seen all up to there. */
	uint64_t delivered, read;
};
void chat_device_row_encode(const struct chat_device_row *row, struct buf *to);
KLUIS_MUST_CHECK int chat_device_row_decode(
	struct bytes key, struct bytes value, struct chat_device_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND: not in the current epoch. */
KLUIS_MUST_CHECK int chat_device_store_get(const struct kv_view *view, const uint8_t conv_id[16],
	const uint8_t user_id[16], const uint8_t device_id[16], struct chat_device_row *ret_row,
	struct err *e);
/* Up to max devices behind *after (NULL: from the first), by user, then device. */
KLUIS_MUST_CHECK int chat_device_store_list(const struct kv_view *view, const uint8_t conv_id[16],
	const struct chat_device_row *after, struct chat_device_row *ret_rows, size_t max,
	size_t *ret_n, struct err *e);
void chat_device_store_put(struct txn *txn, const struct chat_device_row *row);
void chat_device_store_delete(struct txn *txn, const struct chat_device_row *row);

/* One epoch, as the device that made it said. The newest CHAT_EPOCHS_KEPT are kept. */
struct chat_epoch_row {
	uint8_t conv_id[16];
	uint32_t epoch; /* From 1. */
	uint64_t made_ms;
	uint64_t first; /* Seq of the first message that can be of it. */
	uint8_t user_id[16], device_id[16];
	uint8_t members_hash[32]; /* Of the membership chain then. */
	uint8_t packets_hash[32]; /* SHA-256 of the run of KeyPackets that came with it. */
	uint16_t devices;	  /* How many got one. */
};
void chat_epoch_row_encode(const struct chat_epoch_row *row, struct buf *to);
KLUIS_MUST_CHECK int chat_epoch_row_decode(
	struct bytes key, struct bytes value, struct chat_epoch_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int chat_epoch_store_get(const struct kv_view *view, const uint8_t conv_id[16],
	uint32_t epoch, struct chat_epoch_row *ret_row, struct err *e);
/* The oldest go, so that CHAT_EPOCHS_KEPT are left. */
KLUIS_MUST_CHECK int chat_epoch_store_add(
	struct txn *txn, const struct chat_epoch_row *row, struct err *e);

/* Drops the oldest messages that all devices have, at most max; *chat is the caller's to put. */
KLUIS_MUST_CHECK int chat_store_drop(
	struct txn *txn, struct chat_row *chat, size_t max, size_t *ret_n, struct err *e);
/* Something may go by now: devices are counted at now_ms + CHAT_SWEEP_MS, unless that is to happen
 * sooner or no message is kept. *chat is the caller's to put. */
void chat_store_hurry(struct chat_row *chat, uint64_t now_ms);
/* What the place in the expiry queue is for: counts what all devices have and drops that, and what
 * is too old (not before hold_until_ms); at most max messages, *ret_n of them. KLUIS_ENOTFOUND: no
 * such conversation. */
KLUIS_MUST_CHECK int chat_store_sweep(struct txn *txn, const uint8_t conv_id[16], uint64_t now_ms,
	uint64_t hold_until_ms, size_t max, size_t *ret_n, struct err *e);
/* The user's devices or what they are worth changed: the conversations that the user is in, of
 * which there are at most USER_CONVERSATIONS_MAX, take no message before a new epoch. */
KLUIS_MUST_CHECK int chat_store_stale(struct txn *txn, const uint8_t user_id[16], struct err *e);
/* One bounded step of deleting all of a conversation that is gone, at most max rows. *ret_n 0:
 * nothing was left. */
KLUIS_MUST_CHECK int chat_store_purge(
	struct txn *txn, const uint8_t conv_id[16], size_t max, size_t *ret_n, struct err *e);

#endif

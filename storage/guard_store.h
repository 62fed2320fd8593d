/* What slows down guessing: failures since the last success, by whom they were aimed at. Ten are
 * free; from then on each brings a delay that doubles, up to a bound: never a lock-out. Rows of
 * unknown users are kept alike, under the id that the node makes up for a name, so that nobody can
 * tell them apart. */
#ifndef KLUIS_STORAGE_GUARD_STORE_H
#define KLUIS_STORAGE_GUARD_STORE_H

#include "storage/kv.h"
#include "storage/txn.h"

enum guard_kind {
	GUARD_PASSWORD = 1, /* id: user id, or the id made up for an unknown name. */
	GUARD_CODE = 2,	    /* Codes of second factors. id: guard_code_id(). */
	GUARD_DEVICE = 3,   /* Logins that an enrolled device proved. id: guard_device_id(). A
			       stranger's   guesses   do not slow down the owner's own devices. */
};
enum {
	GUARD_FREE = 10, /* Failures without a delay. */
	GUARD_DELAY_MS_MIN = 1000,
	GUARD_DELAY_MS_MAX = 15 * 60 * 1000,
	GUARD_KEPT_MS = 24 * 3600 * 1000, /* After the last failure all is forgotten. */
	GUARD_STRANGERS_MAX = 1 << 16,	  /* Rows of nobody's id; beyond that each takes the place
					     of another. */
	GUARD_SEARCH_ROWS_MAX = 256,	  /* Looked at for that other one. */
};

struct guard_row {
	uint8_t kind; /* enum guard_kind */
	uint8_t id[16];
	bool stranger; /* There is no such user. */
	uint32_t failures;
	uint64_t last_ms;	   /* Of the last failure; the row expires GUARD_KEPT_MS later. */
	uint64_t blocked_until_ms; /* Before it neither a right nor a wrong answer is looked at. */
};
void guard_row_encode(const struct guard_row *row, struct buf *to);
KLUIS_MUST_CHECK int guard_row_decode(
	struct bytes key, struct bytes value, struct guard_row *ret_row, struct err *e);
/* TH("kluis/v1/guard-device", user_id, device_id), first 16 bytes: a device id alone is anybody's
 * to choose, who could then fail in another's name. */
void guard_device_id(const uint8_t user_id[16], const uint8_t device_id[16], uint8_t ret_id[16]);
/* Whose wrong codes count: those of sessions without a device (zero) against the user, those of a
 * device's against user and device: who knows only the password does not slow down her devices. */
void guard_code_id(const uint8_t user_id[16], const uint8_t device_id[16], uint8_t ret_id[16]);
/* Zero failures when there is no row. */
KLUIS_MUST_CHECK int guard_store_get(const struct kv_view *view, unsigned kind,
	const uint8_t id[16], struct guard_row *ret_row, struct err *e);
/* KLUIS_ERATE before blocked_until_ms; *ret_until_ms (may be NULL) says until when. For a request
 * before its work, and again in apply. */
KLUIS_MUST_CHECK int guard_store_check(const struct kv_view *view, unsigned kind,
	const uint8_t id[16], uint64_t now_ms, uint64_t *ret_until_ms, struct err *e);
/* One more failure at now_ms: the row and its place in the expiry queue. */
KLUIS_MUST_CHECK int guard_store_fail(struct txn *txn, unsigned kind, const uint8_t id[16],
	bool stranger, uint64_t now_ms, struct guard_row *ret_row, struct err *e);
/* Forgets all failures; no row is no error. */
KLUIS_MUST_CHECK int guard_store_clear(
	struct txn *txn, unsigned kind, const uint8_t id[16], struct err *e);

/* How many rows are of strangers: bounded, or they could fill the store. */
KLUIS_MUST_CHECK int guard_strangers_get(
	const struct kv_view *view, uint64_t *ret_n, struct err *e);

/* A recovery under way: from when on its session may do its work. One of a user. */
struct recovery_row {
	uint8_t user_id[16];
	uint64_t started_ms;
	uint64_t open_from_ms; /* started_ms and the operator's delay. */
	uint64_t expires_ms;   /* The session's. */
	uint8_t session_id[16];
};
void recovery_row_encode(const struct recovery_row *row, struct buf *to);
KLUIS_MUST_CHECK int recovery_row_decode(
	struct bytes key, struct bytes value, struct recovery_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int recovery_store_get(const struct kv_view *view, const uint8_t user_id[16],
	struct recovery_row *ret_row, struct err *e);
/* Both with the place in the expiry queue; a row that is there is deleted before another is put. */
void recovery_store_put(struct txn *txn, const struct recovery_row *row);
void recovery_store_delete(struct txn *txn, const struct recovery_row *row);

#endif

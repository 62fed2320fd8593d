/* Sessions, by the SHA-256 of their token: the token itself is never stored. */
#ifndef KLUIS_STORAGE_SESSION_STORE_H
#define KLUIS_STORAGE_SESSION_STORE_H

#include "storage/account_store.h"
#include "storage/kv.h"
#include "storage/txn.h"

/* A recovery's session may read the keyring and change the password, nothing else. Levels have no
 * order: what is not SESSION_FULL is not full. */
enum {
	SESSION_LOGIN = 1, /* A second factor is outstanding. */
	SESSION_FULL = 2,
	SESSION_RECOVERY_LOGIN = 3, /* As 1, of a recovery. */
	SESSION_RECOVERY = 4,	    /* A recovery's: once its delay is over (guard_store.h). */
};

struct session_row {
	uint8_t token_hash[32]; /* SHA-256 of the token's ASCII bytes ("kst_..."). */
	uint8_t session_id[16]; /* Public: what lists show and DELETE names. */
	uint8_t user_id[16];
	uint8_t device_id[16]; /* Zero: a login without an enrolled device. It signs nothing. */
	uint8_t level;	       /* SESSION_LOGIN .. SESSION_RECOVERY */
	uint64_t created_ms, expires_ms; /* Cluster time. */
};
/* TH("kluis/v1/session-id", token_hash), first 16 bytes. */
void session_id_of(const uint8_t token_hash[32], uint8_t ret_session_id[16]);
void session_row_encode(const struct session_row *row, struct buf *to);
KLUIS_MUST_CHECK int session_row_decode(
	struct bytes key, struct bytes value, struct session_row *ret_row, struct err *e);

/* The row as stored, expired or not. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int session_store_get(const struct kv_view *view, const uint8_t token_hash[32],
	struct session_row *ret_row, struct err *e);
/* What a request may act as: the session exists, has not expired at now_ms (cluster time), its user
 * is not disabled and its device (if it has one) not revoked; else KLUIS_EUNAUTHENTICATED. The
 * same check runs in apply. */
KLUIS_MUST_CHECK int session_store_check(const struct kv_view *view, const uint8_t token_hash[32],
	uint64_t now_ms, struct session_row *ret_row, struct err *e);
/* By id among the user's own. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int session_store_find(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t session_id[16], struct session_row *ret_row, struct err *e);
/* Up to max sessions of the user with an id behind `after` (NULL: from the first), ascending. */
KLUIS_MUST_CHECK int session_store_list(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t *after, struct session_row *ret_rows, size_t max, size_t *ret_n,
	struct err *e);
bool session_has_device(const struct session_row *row);
/* It lacks its second factor. */
bool session_waits(const struct session_row *row);
/* A recovery code made it. */
bool session_of_recovery(const struct session_row *row);
void session_store_put(struct txn *txn, const struct session_row *row);
void session_store_delete(struct txn *txn, const struct session_row *row);

#endif

/* Service accounts, users, their identity statements and devices. */
#ifndef KLUIS_STORAGE_ACCOUNT_STORE_H
#define KLUIS_STORAGE_ACCOUNT_STORE_H

#include "crypto/statement.h"
#include "storage/kv.h"
#include "storage/txn.h"

enum {
	ACCOUNT_NAME_BYTES_MAX = 64,
	STATEMENTS_PER_USER_MAX = 4096,
	DEVICE_KEY_BYTES_MAX = 97,
	DEVICE_NAME_BYTES_MAX = 64,
};

enum account_state { ACCOUNT_PENDING = 1, ACCOUNT_ACTIVE = 2, ACCOUNT_DISABLED = 3 };

/* A service account, by name. */
struct account_row {
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	uint8_t state; /* enum account_state */
	uint64_t created_ms;
	uint8_t enrol_hash[32];	   /* SHA-256 of the enrolment token's ASCII bytes. */
	uint64_t enrol_expires_ms; /* Cluster time. */
	uint8_t user_id[16];	   /* Zero while pending. */
};
void account_row_encode(const struct account_row *row, struct buf *to);
KLUIS_MUST_CHECK int account_row_decode(
	struct bytes key, struct bytes value, struct account_row *ret_row, struct err *e);
KLUIS_MUST_CHECK int account_store_get(
	const struct kv_view *view, const char *name, struct account_row *ret_row, struct err *e);
/* Up to max accounts with a name behind `after` ("": from the first), ascending. */
KLUIS_MUST_CHECK int account_store_list(const struct kv_view *view, const char *after,
	struct account_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
void account_store_put(struct txn *txn, const struct account_row *row);

/* A user: the last statement of the identity chain, and whether the account may act. */
struct user_row {
	uint8_t user_id[16];
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	bool disabled;
	uint64_t created_ms;
	uint64_t chain_seq; /* Of the last statement. */
	uint8_t genesis_hash[32], chain_hash[32];
};
void user_row_encode(const struct user_row *row, struct buf *to);
KLUIS_MUST_CHECK int user_row_decode(
	struct bytes key, struct bytes value, struct user_row *ret_row, struct err *e);
KLUIS_MUST_CHECK int user_store_get(const struct kv_view *view, const uint8_t user_id[16],
	struct user_row *ret_row, struct err *e);
void user_store_put(struct txn *txn, const struct user_row *row);

/* Appends statement seq (from 1) of the user's chain to `to`, byte for byte as the client signed
 * it. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int statement_store_get(const struct kv_view *view, const uint8_t user_id[16],
	uint64_t seq, struct buf *to, struct err *e);
void statement_store_put(
	struct txn *txn, const uint8_t user_id[16], uint64_t seq, struct bytes statement);

struct device_row {
	uint8_t user_id[16], device_id[16];
	bool revoked;
	uint64_t added_ms;
	uint8_t sign_key[65];			/* P-256, SEC1 uncompressed. */
	uint8_t hpke_key[DEVICE_KEY_BYTES_MAX]; /* SEC1 or X25519. */
	uint8_t hpke_key_bytes;
	char name[DEVICE_NAME_BYTES_MAX + 1];
};
void device_row_encode(const struct device_row *row, struct buf *to);
KLUIS_MUST_CHECK int device_row_decode(
	struct bytes key, struct bytes value, struct device_row *ret_row, struct err *e);
/* Revoked devices are found, too. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int device_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t device_id[16], struct device_row *ret_row, struct err *e);
/* Up to max devices of the user with an id behind `after` (NULL: from the first), ascending. */
KLUIS_MUST_CHECK int device_store_list(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t *after, struct device_row *ret_rows, size_t max, size_t *ret_n,
	struct err *e);
void device_store_put(struct txn *txn, const struct device_row *row);

#endif

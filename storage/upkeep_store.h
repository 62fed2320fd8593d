/* Rows that serve upkeep: idempotency results, what expires when, vaults being deleted. */
#ifndef KLUIS_STORAGE_UPKEEP_STORE_H
#define KLUIS_STORAGE_UPKEEP_STORE_H

#include "storage/kv.h"
#include "storage/txn.h"

enum { IDEMPOTENCY_REPLY_BYTES_MAX = 512 };

/* The first answer to a request with an Idempotency-Key. */
struct idempotency_row {
	uint8_t body_hash[32];
	uint64_t expires_ms;
	bool secret; /* The answer carried a token and is not stored: a replay is a conflict. */
	struct bytes reply; /* As the command's reply; points into the value. */
};
void idempotency_row_encode(const struct idempotency_row *row, struct buf *to);
KLUIS_MUST_CHECK int idempotency_row_decode(
	struct bytes value, struct idempotency_row *ret_row, struct err *e);
/* TH("kluis/v1/idempotency", principal, u16 route, key): what the row is kept under. */
void idempotency_id(struct bytes principal, unsigned route, struct bytes key, uint8_t ret_id[32]);
KLUIS_MUST_CHECK int idempotency_store_get(const struct kv_view *view, const uint8_t id[32],
	struct buf *value, struct idempotency_row *ret_row, struct err *e);
void idempotency_store_put(
	struct txn *txn, const uint8_t id[32], const struct idempotency_row *row);
void idempotency_store_delete(struct txn *txn, const uint8_t id[32], uint64_t expires_ms);

/* What a row of the expiry queue speaks of. A row stands as long as its subject
 * does: whoever deletes or extends that moves the row, too. */
enum expiry_kind {
	EXPIRY_SESSION = 1,	 /* subject: token hash */
	EXPIRY_STAGED = 2,	 /* vault id | SHA-256 */
	EXPIRY_VERSION = 3,	 /* vault id | u64 page_no | u64 revision */
	EXPIRY_IDEMPOTENCY = 4,	 /* id */
	EXPIRY_ENROL = 5,	 /* account name */
	EXPIRY_GUARD = 6,	 /* u8 kind | id */
	EXPIRY_MFA = 7,		 /* user id | mfa id: one that nobody proved */
	EXPIRY_PENDING = 8,	 /* user id | device id */
	EXPIRY_RECOVERY = 9,	 /* user id */
	EXPIRY_INVITE = 10,	 /* token hash */
	EXPIRY_ACCESS = 11,	 /* user id: rows of the access log */
	EXPIRY_PACKET = 12,	 /* recipient | packet id */
	EXPIRY_PAGE_GRANT = 13,	 /* user id | vault id | u64 page_no | u64 revision */
	EXPIRY_CHAT = 20,	 /* conversation id */
	EXPIRY_INBOX = 21,	 /* owner id | document id */
	EXPIRY_INBOX_TOKEN = 22, /* token hash */
};
enum { EXPIRY_KIND_LAST = EXPIRY_INBOX_TOKEN, EXPIRY_SUBJECT_BYTES_MAX = 64 };
struct expiry_row {
	uint64_t expires_ms;
	uint8_t kind;
	uint8_t subject[EXPIRY_SUBJECT_BYTES_MAX];
	size_t subject_bytes;
};
KLUIS_MUST_CHECK int expiry_row_decode(
	struct bytes key, struct bytes value, struct expiry_row *ret_row, struct err *e);
void expiry_store_put(struct txn *txn, const struct expiry_row *row);
void expiry_store_delete(struct txn *txn, const struct expiry_row *row);
/* Up to max rows due at now_ms, in order of time. */
KLUIS_MUST_CHECK int expiry_store_due(const struct kv_view *view, uint64_t now_ms,
	struct expiry_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
/* Whether an `expire` command would find anything to do: for whoever proposes it. */
KLUIS_MUST_CHECK int upkeep_store_due(
	const struct kv_view *view, uint64_t now_ms, bool *ret_due, struct err *e);

struct expire_state_row {
	uint64_t last_ms;	/* Cluster time of the last expire that did something. */
	uint64_t queue_from_ms; /* The expiry queue has nothing below. */
	struct modification tombstones_done; /* Tombstones up to here have been looked at. */
	uint64_t audit_done;		     /* Rows of the audit up to here are gone. */
};
void expire_state_encode(const struct expire_state_row *row, struct buf *to);
KLUIS_MUST_CHECK int expire_state_decode(
	struct bytes value, struct expire_state_row *ret_row, struct err *e);
KLUIS_MUST_CHECK int expire_store_get(
	const struct kv_view *view, struct expire_state_row *ret_row, struct err *e);
void expire_store_put(struct txn *txn, const struct expire_state_row *row);

/* Vaults whose rows are being deleted. */
void work_store_put(struct txn *txn, const uint8_t vault_id[16]);
void work_store_delete(struct txn *txn, const uint8_t vault_id[16]);
/* The first one. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int work_store_first(
	const struct kv_view *view, uint8_t ret_vault_id[16], struct err *e);

#endif

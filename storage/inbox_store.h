/* The inbox of a user: sealed documents that others left there, until the owner takes them, and the
 * tokens that let who has no account leave some. */
#ifndef KLUIS_STORAGE_INBOX_STORE_H
#define KLUIS_STORAGE_INBOX_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

/* Inboxes: of one owner. Half of it is for what comes by a token: who has an account may fill the
 * other half alone. */
enum {
	INBOX_DOCS_MAX = 1000,
	INBOX_BYTES_MAX = 64 << 20,
	INBOX_SESSION_DOCS_MAX = INBOX_DOCS_MAX / 2,
	INBOX_SESSION_BYTES_MAX = INBOX_BYTES_MAX / 2,
	INBOX_TOKENS_MAX = 64,
	INBOX_DOCS_PER_COMMAND_MAX = 64, /* Deleted, or claimed by a commit. */
	INBOX_LABEL_BYTES_MAX = 128,
	INBOX_TOKEN_DOCS_MAX = 1000000,
};
#define INBOX_KEPT_MS	   (30ULL * 24 * 3600 * 1000)
#define INBOX_TOKEN_MS_MAX (400ULL * 24 * 3600 * 1000)

/* A document as lists show it; its bytes stand in a row of their own. */
struct inbox_row {
	uint8_t owner[16], doc_id[16];
	uint64_t time_ms, expires_ms; /* Cluster time. */
	uint8_t sender_class;	      /* As its header says: 0 anonymous, 1 provider, 2 user. */
	uint16_t content_type;
	uint32_t bytes;	      /* 1 .. INBOX_DOCUMENT_BYTES_MAX */
	uint8_t sender[16];   /* Whose session left it; zero: a token did. */
	uint8_t token_id[16]; /* Which token; zero: a session did. */
};
void inbox_row_encode(const struct inbox_row *row, struct buf *to);
KLUIS_MUST_CHECK int inbox_row_decode(
	struct bytes key, struct bytes value, struct inbox_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int inbox_store_get(const struct kv_view *view, const uint8_t owner[16],
	const uint8_t doc_id[16], struct inbox_row *ret_row, struct err *e);
/* The row and, appended to `to`, the document as it came. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int inbox_store_document(const struct kv_view *view, const uint8_t owner[16],
	const uint8_t doc_id[16], struct inbox_row *ret_row, struct buf *to, struct err *e);
/* Up to max rows with an id behind `after` (NULL: from the first), ascending. Reads no document. */
KLUIS_MUST_CHECK int inbox_store_list(const struct kv_view *view, const uint8_t owner[16],
	const uint8_t *after, struct inbox_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
/* A new document with its place in the expiry queue, counted in the owner's use. */
KLUIS_MUST_CHECK int inbox_store_put(
	struct txn *txn, const struct inbox_row *row, struct bytes document, struct err *e);
KLUIS_MUST_CHECK int inbox_store_delete(
	struct txn *txn, const struct inbox_row *row, struct err *e);

/* What an owner's inbox holds, and how much of that came over sessions: who may leave something
 * because he has an account cannot keep out who was given a token. */
struct inbox_use {
	uint32_t docs, session_docs;
	uint64_t bytes, session_bytes;
};
void inbox_use_encode(const struct inbox_use *use, struct buf *to);
KLUIS_MUST_CHECK int inbox_use_decode(
	struct bytes key, struct bytes value, struct inbox_use *ret_use, struct err *e);
/* All zero when there is no row. */
KLUIS_MUST_CHECK int inbox_store_use(const struct kv_view *view, const uint8_t owner[16],
	struct inbox_use *ret_use, struct err *e);

/* A capability: whoever has the token may leave documents in one inbox. */
struct inbox_token_row {
	uint8_t token_hash[32]; /* SHA-256 of the token's ASCII bytes ("kin_..."). */
	uint8_t owner[16];
	uint8_t token_id[16]; /* Public: what lists show and DELETE names. */
	uint64_t created_ms, expires_ms;
	uint32_t docs_left; /* 0: no more are taken; what was taken is answered again. */
	char label[INBOX_LABEL_BYTES_MAX + 1]; /* The owner's. */
};
/* TH("kluis/v1/inbox-token-id", token_hash), first 16 bytes. */
void inbox_token_id_of(const uint8_t token_hash[32], uint8_t ret_token_id[16]);
void inbox_token_row_encode(const struct inbox_token_row *row, struct buf *to);
KLUIS_MUST_CHECK int inbox_token_row_decode(
	struct bytes key, struct bytes value, struct inbox_token_row *ret_row, struct err *e);
/* The row as stored, expired or not. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int inbox_token_store_get(const struct kv_view *view, const uint8_t token_hash[32],
	struct inbox_token_row *ret_row, struct err *e);
/* What a request may act as: it has not expired at now_ms (cluster time) and is this owner's; else
 * KLUIS_EUNAUTHENTICATED. The same check runs in apply. */
KLUIS_MUST_CHECK int inbox_token_store_check(const struct kv_view *view,
	const uint8_t token_hash[32], const uint8_t owner[16], uint64_t now_ms,
	struct inbox_token_row *ret_row, struct err *e);
/* By id among the owner's. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int inbox_token_store_find(const struct kv_view *view, const uint8_t owner[16],
	const uint8_t token_id[16], struct inbox_token_row *ret_row, struct err *e);
/* The owner's, at most INBOX_TOKENS_MAX, ascending by id. */
KLUIS_MUST_CHECK int inbox_token_store_list(const struct kv_view *view, const uint8_t owner[16],
	struct inbox_token_row ret_rows[INBOX_TOKENS_MAX], size_t *ret_n, struct err *e);
/* With its place in the expiry queue; a row that is there keeps its expires_ms. */
void inbox_token_store_put(struct txn *txn, const struct inbox_token_row *row);
void inbox_token_store_delete(struct txn *txn, const struct inbox_token_row *row);

/* One bounded step of deleting all of an owner's, at most about max rows. *ret_n 0: nothing was
 * left. */
KLUIS_MUST_CHECK int inbox_store_purge(
	struct txn *txn, const uint8_t owner[16], size_t max, size_t *ret_n, struct err *e);

#endif

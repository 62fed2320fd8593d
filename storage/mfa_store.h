/* Second factors of persons. What a factor's parameters are is the node's business (node/api_mfa);
 * here they are bytes. The last number accepted is kept here, so that a code is worth one login on
 * all sites together. */
#ifndef KLUIS_STORAGE_MFA_STORE_H
#define KLUIS_STORAGE_MFA_STORE_H

#include "storage/kv.h"
#include "storage/txn.h"

enum mfa_method { MFA_TOTP = 1, MFA_HOTP = 2, MFA_FIDO2 = 3, MFA_IP = 4, MFA_LOCATION = 5 };
enum {
	MFA_PER_USER_MAX = 16,
	MFA_SECRET_BYTES_MAX = 256, /* Sealed. */
	MFA_PARAMS_BYTES_MAX = 2048,
	MFA_LABEL_BYTES_MAX = 64,
	MFA_PENDING_MS = 10 * 60 * 1000, /* For the first proof. */
};

struct mfa_row {
	uint8_t user_id[16], mfa_id[16];
	uint8_t method; /* enum mfa_method */
	bool pending;	/* Not proven yet: it counts for nothing, and expires. */
	uint64_t created_ms;
	uint64_t expires_ms; /* While pending; else 0. */
	/* The lowest number that is still accepted: TOTP the step, HOTP the counter, FIDO2 the
	 * signCount (0 until the authenticator has shown another one); 0 of the others. */
	uint64_t next;
	uint8_t pepper_id;
	uint16_t secret_bytes; /* 0: it has none. */
	uint16_t params_bytes;
	uint8_t secret[MFA_SECRET_BYTES_MAX]; /* seal(pepper, user_id | "totp" or "hotp", secret).
					       */
	uint8_t params[MFA_PARAMS_BYTES_MAX];
	char label[MFA_LABEL_BYTES_MAX + 1];
};
void mfa_row_encode(const struct mfa_row *row, struct buf *to);
KLUIS_MUST_CHECK int mfa_row_decode(
	struct bytes key, struct bytes value, struct mfa_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int mfa_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t mfa_id[16], struct mfa_row *ret_row, struct err *e);
/* All of the user, ascending by id, pending ones included. */
KLUIS_MUST_CHECK int mfa_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct mfa_row ret_rows[MFA_PER_USER_MAX], size_t *ret_n, struct err *e);
/* With its place in the expiry queue while it is pending. */
void mfa_store_put(struct txn *txn, const struct mfa_row *row);
/* A pending one as it was stored: takes it out of the expiry queue, before it is put as one that
 * counts. */
void mfa_store_proven(struct txn *txn, const struct mfa_row *row);
void mfa_store_delete(struct txn *txn, const struct mfa_row *row);
/* Whether a login needs a proof of it: TOTP, HOTP or FIDO2, and not pending. Networks and places
 * are judged by the node at every login and prove nothing. */
bool mfa_counts(const struct mfa_row *row);
/* Whether that number may be accepted now, and what `next` is after it. FIDO2 (WebAuthn 7.2 step
 * 21): a signCount grows, unless it has always been 0. */
bool mfa_accepts(const struct mfa_row *row, uint64_t number, uint64_t *ret_next);

#endif

/* Persons: what a login needs, their names, the shares that unlock their keyrings, and the sample
 * that answers for unknown users are drawn from. Everything secret lies here sealed under the
 * cluster's pepper (crypto/seal, CRYPTO formats section 4): the store alone is no guessing oracle.
 */
#ifndef KLUIS_STORAGE_PERSON_STORE_H
#define KLUIS_STORAGE_PERSON_STORE_H

#include "crypto/kdf.h"
#include "crypto/seal.h"
#include "crypto/srp.h"
#include "storage/account_store.h"
#include "storage/kv.h"
#include "storage/txn.h"

enum {
	VERIFIER_SEALED_BYTES_MAX = SRP_PUBLIC_BYTES_MAX + SEAL_OVERHEAD_BYTES,
	UNLOCK_SEALED_BYTES = 32 + SEAL_OVERHEAD_BYTES,
	UNLOCK_SHARES_MAX = 8, /* Slots of type 1 and 4 in one keyring. */
	RECOVERY_KEY_BYTES = 65,
	PERSON_VAULTS_MAX = 10000, /* Highest quota of vaults. */
};

/* A name that a person has, or had: no other account ever gets it again. */
struct person_name_row {
	char name[ACCOUNT_NAME_BYTES_MAX + 1];
	bool gone;	     /* The account was deleted; user_id is zero. */
	uint8_t user_id[16]; /* Of the user row and the person row. */
};
void person_name_row_encode(const struct person_name_row *row, struct buf *to);
KLUIS_MUST_CHECK int person_name_row_decode(
	struct bytes key, struct bytes value, struct person_name_row *ret_row, struct err *e);
/* Names of deleted accounts are found, too. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int person_name_store_get(const struct kv_view *view, const char *name,
	struct person_name_row *ret_row, struct err *e);
/* Up to max rows with a name behind `after` ("": from the first), ascending, gone ones included. */
KLUIS_MUST_CHECK int person_name_store_list(const struct kv_view *view, const char *after,
	struct person_name_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
void person_name_store_put(struct txn *txn, const struct person_name_row *row);

/* What proves a person: beside the user row, which holds name, state and identity chain. */
struct person_row {
	uint8_t user_id[16];
	uint64_t credential; /* From 1, by each change of the password. */
	uint64_t changed_ms; /* Of that. */
	uint8_t group;	     /* SRP_GROUP_2048 .. SRP_GROUP_6144 */
	uint8_t salt[SRP_SALT_BYTES];
	uint8_t kdf[KDF_BYTES]; /* kdf32, as the client made it. */
	uint8_t pepper_id;	/* Which pepper the verifier is sealed under. */
	uint8_t verifier[VERIFIER_SEALED_BYTES_MAX]; /* seal(pepper, user_id | "v", PAD v). */
	uint16_t verifier_bytes;
	uint8_t recovery_key[RECOVERY_KEY_BYTES]; /* P-256 public key, SEC1. */
	uint32_t policy;	     /* IDENTITY_POLICY_*, of the newest policy statement. */
	uint64_t recovered_until_ms; /* Sessions without a device may change the devices, and
					no_web_login rests: the way back after a recovery. */
	uint64_t keyring_revision;   /* Of the current keyring. */
	uint8_t keyring_hash[32];    /* SHA-256 of it. */
	uint32_t vaults_max;	     /* Operator's quota; 0: none. */
	uint32_t pages_max;	     /* ... of pages in one vault; 0: none. */
	uint64_t bytes_max;	     /* ... of the pages of all her vaults; 0: the policy's. */
	uint64_t all_pages_max;	     /* ... and how many; 0: the policy's. */
};
void person_row_encode(const struct person_row *row, struct buf *to);
KLUIS_MUST_CHECK int person_row_decode(
	struct bytes key, struct bytes value, struct person_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND: nobody, or a service account. */
KLUIS_MUST_CHECK int person_store_get(const struct kv_view *view, const uint8_t user_id[16],
	struct person_row *ret_row, struct err *e);
void person_store_put(struct txn *txn, const struct person_row *row);
void person_store_delete(struct txn *txn, const uint8_t user_id[16]);

/* The share of one keyring slot that only a fully authenticated session is given. */
struct unlock_row {
	uint8_t user_id[16], slot_id[16];
	uint8_t pepper_id;
	uint8_t share[UNLOCK_SEALED_BYTES]; /* seal(pepper, user_id | "unlock" | slot_id, share32).
					     */
};
void unlock_row_encode(const struct unlock_row *row, struct buf *to);
KLUIS_MUST_CHECK int unlock_row_decode(
	struct bytes key, struct bytes value, struct unlock_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int unlock_store_get(const struct kv_view *view, const uint8_t user_id[16],
	const uint8_t slot_id[16], struct unlock_row *ret_row, struct err *e);
/* All shares of the user, ascending by slot id: never more than UNLOCK_SHARES_MAX. */
KLUIS_MUST_CHECK int unlock_store_list(const struct kv_view *view, const uint8_t user_id[16],
	struct unlock_row ret_rows[UNLOCK_SHARES_MAX], size_t *ret_n, struct err *e);
void unlock_store_put(struct txn *txn, const struct unlock_row *row);
void unlock_store_delete(struct txn *txn, const uint8_t user_id[16], const uint8_t slot_id[16]);

/* CRYPTO formats section 4: those of the first 64 persons registered, appended and never changed;
 * stable answers for unknown users are drawn from it. */
struct samples_row {
	uint8_t n;
	struct srp_sample sample[SRP_SAMPLE_MAX];
};
void samples_row_encode(const struct samples_row *row, struct buf *to);
KLUIS_MUST_CHECK int samples_row_decode(
	struct bytes value, struct samples_row *ret_row, struct err *e);
/* An empty list when nobody has registered. */
KLUIS_MUST_CHECK int samples_store_get(
	const struct kv_view *view, struct samples_row *ret_row, struct err *e);
void samples_store_put(struct txn *txn, const struct samples_row *row);

#endif

/* A user's identity chain (docs/format-crypto.md, "Identity"): which keys and devices are the
 * user's, proven from genesis. The same code serves the node, which checks what is appended, and a
 * peer, which replays the chain from the genesis it pinned. */
#ifndef KLUIS_CRYPTO_IDENTITY_H
#define KLUIS_CRYPTO_IDENTITY_H

#include "crypto/statement.h"

enum {
	IDENTITY_GENESIS = 1,
	IDENTITY_TRANSFER_ADD = 2,
	IDENTITY_TRANSFER_REVOKE = 3,
	IDENTITY_DEVICE_ADD = 4,
	IDENTITY_DEVICE_REVOKE = 5,
	IDENTITY_ROTATE = 6,
	IDENTITY_POLICY = 7,
	IDENTITY_DEVICE_VOUCH = 8,
	IDENTITY_NAME_BYTES_MAX = 64,
	IDENTITY_DEVICE_NAME_BYTES_MAX = 64,
	IDENTITY_TRANSFER_MAX = 4,	     /* One per kem. */
	IDENTITY_DEVICES_MAX = 1024,	     /* Ever added, revoked ones included. */
	IDENTITY_CHAIN_BYTES_MAX = 16 << 20, /* That a client takes. */
	IDENTITY_REVOKED_KEYS_MAX = 1024,
	IDENTITY_REVOKE_ROWS_MAX = 1024, /* Of one statement, */
	IDENTITY_REVOKE_PARTS_MAX =
		32, /* ... of which so many may come before the one that revokes. */
	IDENTITY_POLICY_NO_WEB = 1,
	IDENTITY_POLICY_DEVICE_SIG = 2,
};

/* The last hash of a chain that a revoked device signed and that the revoker vouches for. */
struct revoke_row {
	uint8_t object_id[ID_BYTES];
	uint8_t hash[HASH_BYTES];
};

/* By object, then by hash: the order that rows stand in. For qsort(). */
int revoke_row_compare(const void *a, const void *b);
/* Whether this one is among ascending rows. */
bool revoke_rows_have(const struct revoke_row *rows, size_t count,
	const uint8_t object_id[ID_BYTES], const uint8_t hash[HASH_BYTES]);

struct identity_device {
	uint8_t device_id[ID_BYTES];
	struct key_pub *sign; /* KEY_ECDSA_P256. */
	struct key_pub *hpke; /* One of the EC kems. */
	char name[IDENTITY_DEVICE_NAME_BYTES_MAX + 1];
	bool revoked;
	struct revoke_row *rows; /* Of the revoke statement and its parts, ascending. */
	size_t row_count;
};

/* The parts of a revocation so far: of no effect unless the statement that revokes is the next. */
struct identity_parts {
	uint8_t device_id[ID_BYTES];
	unsigned number; /* Of the last one, from 1; 0: none. */
	struct revoke_row *rows;
	size_t row_count;
};

/* What a verified chain proves. Read the fields, change them only by identity_append(). */
struct identity {
	uint8_t user_id[ID_BYTES];
	char name[IDENTITY_NAME_BYTES_MAX + 1];
	struct key_pub *signing;			 /* Current user key, KEY_RSA_PSS. */
	struct key_pub *transfer[IDENTITY_TRANSFER_MAX]; /* Current, NULL where none. */
	uint8_t (*revoked_keys)[KID_BYTES];
	size_t revoked_key_count;
	struct identity_device *devices; /* In order of addition. */
	size_t device_count;
	struct identity_parts parts;
	uint32_t policy;
	uint64_t seq; /* 0: empty, nothing appended yet. */
	/* Which statement made `signing`, and which revoked a device last (0: none did). */
	uint64_t signing_seq, revoked_seq;
	uint8_t genesis_hash[HASH_BYTES], head_hash[HASH_BYTES];
};

void identity_init(struct identity *identity);
void identity_release(struct identity *identity);
/* Verifies one statement as the next of the chain and takes it in. On failure nothing has changed:
 * KLUIS_EVERIFY (order, owner, signature), KLUIS_EINVAL (form, body, a rule broken),
 * KLUIS_EVERSION, KLUIS_ESUITE, KLUIS_ETOOLARGE (one of the limits above). An RSA verification: 0.1
 * ms. */
KLUIS_MUST_CHECK int identity_append(
	struct identity *identity, struct bytes encoded, struct err *e);
/* identity_append() of each; an empty chain is KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int identity_verify(
	struct identity *identity, const struct bytes *encoded, size_t count, struct err *e);
/* NULL when there is none; revoked devices are found, too. */
const struct identity_device *identity_device(
	const struct identity *identity, const uint8_t device_id[ID_BYTES]);
const struct identity_device *identity_device_by_kid(
	const struct identity *identity, const uint8_t kid[KID_BYTES]);
/* The current transfer key for this kem, or NULL. */
const struct key_pub *identity_transfer(const struct identity *identity, unsigned kem);
/* Whether a transfer key was revoked: it never comes back. */
bool identity_key_revoked(const struct identity *identity, const uint8_t kid[KID_BYTES]);
/* 1..64 of [a-z0-9._@+-]. */
bool identity_name_valid(struct bytes name);

/* Statement 1: a new identity, signed by the key inside. transfer: an EC kem key. */
KLUIS_MUST_CHECK int identity_genesis(const uint8_t user_id[ID_BYTES], const char *name,
	const struct key *signing, const struct key_pub *transfer, uint64_t unix_ms,
	struct buf *ret_encoded, struct err *e);
/* The next statement of `identity` with a ready body of this type; signed by the current user key
 * (asserted). The identity itself does not move: append what was made. */
KLUIS_MUST_CHECK int identity_make(const struct identity *identity, unsigned type,
	struct bytes body, const struct key *signing, uint64_t unix_ms, struct buf *ret_encoded,
	struct err *e);
/* Bodies for identity_make(); they append. */
void identity_body_device(struct buf *body, const uint8_t device_id[ID_BYTES],
	const struct key_pub *sign, const struct key_pub *hpke, const char *name);
void identity_body_revoke(struct buf *body, const uint8_t device_id[ID_BYTES],
	const struct revoke_row *rows, size_t count); /* Rows strictly ascending (asserted). */
/* part: from 1. The parts follow each other, and the revocation the last one. */
void identity_body_vouch(struct buf *body, const uint8_t device_id[ID_BYTES], unsigned part,
	const struct revoke_row *rows, size_t count);
void identity_body_transfer(struct buf *body, const struct key_pub *transfer);
/* The body of a rotation to `fresh`, whose signature stands inside. */
KLUIS_MUST_CHECK int identity_body_rotate(
	struct buf *body, const struct identity *identity, const struct key *fresh, struct err *e);

/* The number two people compare: 12 groups of 5 digits. Symmetric in a and b. */
enum { SAFETY_CHARS = 12 * 5 + 11 };
struct safety_party {
	uint8_t user_id[ID_BYTES];
	uint8_t genesis_hash[HASH_BYTES], head_hash[HASH_BYTES];
};
void identity_safety_number(const struct safety_party *a, const struct safety_party *b,
	char ret_text[SAFETY_CHARS + 1]);

/* Who may have signed a head or a membership statement: looked up by kid(2, device pub). */
struct signer {
	uint8_t user_id[ID_BYTES];
	const struct identity_device *device;
};
struct signer_table {
	/* The nth (from 0) device of any verified chain whose signing key has this kid; false: no
	 * more. There can be several: adding a device proves nothing about its key, so anybody can
	 * list another's. The caller goes on until one fits what it checks. */
	bool (*find)(const struct signer_table *table, const uint8_t kid[KID_BYTES], size_t nth,
		struct signer *ret_signer);
};
/* A signer_table over verified identities. */
struct signer_identities {
	struct signer_table table;
	const struct identity *const *identities;
	size_t count;
};
void signer_identities_init(
	struct signer_identities *signers, const struct identity *const *identities, size_t count);
/* Not revoked, or (object_id, hash) is listed by the statements that revoked it. */
bool signer_vouched(const struct signer *signer, const uint8_t object_id[ID_BYTES],
	const uint8_t hash[HASH_BYTES]);

#endif

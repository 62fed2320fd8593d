/* Membership chains of vaults, groups and conversations (docs/format-crypto.md, "Members"): who may
 * do what, proven from the create statement. */
#ifndef KLUIS_CRYPTO_MEMBER_H
#define KLUIS_CRYPTO_MEMBER_H

#include "crypto/identity.h"

enum {
	MEMBER_CREATE = 1, /* Statement types. */
	MEMBER_ADD = 2,
	MEMBER_REMOVE = 3,
	MEMBER_ROLE = 4,
	MEMBER_ROTATE = 5,
	MEMBER_OBJECT_VAULT = 1, /* Kinds of object. */
	MEMBER_OBJECT_GROUP = 2,
	MEMBER_OBJECT_CONVERSATION = 3,
	MEMBER_USER = 1, /* Kinds of member. */
	MEMBER_GROUP = 2,
	MEMBER_READ = 1, /* Roles, ascending. */
	MEMBER_WRITE = 2,
	MEMBER_ADMIN = 3,
	MEMBERS_MAX = 4096,
};

struct member {
	uint8_t id[ID_BYTES];
	uint8_t kind;
	uint16_t role;
};

/* What a chain proves. Read the fields, change them only by members_append(). */
struct members {
	uint8_t object_id[ID_BYTES];
	uint8_t kind;
	uint32_t epoch;
	uint8_t group_kid[KID_BYTES]; /* Zero unless a group. */
	struct member *member;	      /* Ascending by id. */
	size_t count;
	uint8_t (*firm)[ID_BYTES]; /* Admins by statements that rest on no revoked device. */
	size_t firm_count;
	bool loose; /* The last statement is by a revoked device and waits for one that saves it. */
	uint64_t seq;
	uint8_t hash[HASH_BYTES]; /* Of the last statement. */
};

void members_init(struct members *members);
void members_release(struct members *members);
/* Verifies one statement as the next of the chain and takes it in; its signer is found by kid. On
 * failure nothing has changed: KLUIS_EVERIFY (order, signer, signature), KLUIS_EFORBIDDEN (the
 * signer is no admin, or no admin would remain), KLUIS_EINVAL, KLUIS_EVERSION, KLUIS_ESUITE,
 * KLUIS_ETOOLARGE. A statement by a revoked device that is not listed leaves members->loose. */
KLUIS_MUST_CHECK int members_append(struct members *members, struct bytes encoded,
	const struct signer_table *signers, struct err *e);
/* members_append() of each; KLUIS_EVERIFY for an empty chain or one that ends loose. */
KLUIS_MUST_CHECK int members_verify(struct members *members, const struct bytes *encoded,
	size_t count, const struct signer_table *signers, struct err *e);
/* NULL when not a member. */
const struct member *members_find(const struct members *members, const uint8_t id[ID_BYTES]);

/* Statement 1 of a new object, signed by a device of the founder, who becomes admin. group_kid:
 * NULL unless kind is MEMBER_OBJECT_GROUP (asserted). */
KLUIS_MUST_CHECK int members_create(const uint8_t object_id[ID_BYTES], unsigned kind,
	const uint8_t founder[ID_BYTES], const uint8_t *group_kid, const struct key *device,
	uint64_t unix_ms, struct buf *ret_encoded, struct err *e);
/* The next statement with a ready body; the chain itself does not move. */
KLUIS_MUST_CHECK int members_make(const struct members *members, unsigned type, struct bytes body,
	const struct key *device, uint64_t unix_ms, struct buf *ret_encoded, struct err *e);

#endif

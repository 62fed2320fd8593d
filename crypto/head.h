/* Vault heads (docs/format-crypto.md, "Head"): 208 bytes that name a vault's whole content, and the
 * writer device's signature: 290 bytes together. */
#ifndef KLUIS_CRYPTO_HEAD_H
#define KLUIS_CRYPTO_HEAD_H

#include "crypto/identity.h"
#include "crypto/sign.h"

enum {
	HEAD_FIXED_BYTES = 208,
	HEAD_BYTES = HEAD_FIXED_BYTES + KID_BYTES + 2 + SIGN_ECDSA_BYTES, /* With signature: 290. */
};

struct head {
	uint8_t vault_id[ID_BYTES];
	uint64_t seq;	      /* From 1. */
	uint32_t key_epoch;   /* From 1. */
	uint32_t members_rev; /* seq of the last membership statement. */
	uint64_t page_count;
	uint8_t merkle_root[HASH_BYTES];
	uint8_t prev_hash[HASH_BYTES]; /* hash of the head before; zero for seq 1. */
	uint8_t members_hash[HASH_BYTES];
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES]; /* The writer's. */
	uint64_t unix_ms;
	/* Only in what head_parse() gives: */
	uint8_t kid[KID_BYTES];
	uint8_t signature[SIGN_ECDSA_BYTES];
	uint8_t hash[HASH_BYTES];    /* head_hash = TH("kluis/v1/head-hash", head208). */
	uint8_t message[HASH_BYTES]; /* What is signed: TH("kluis/v1/head", head208). */
};

/* Exactly HEAD_BYTES; every field in range, seq 1 if and only if prev_hash is zero. The signature
 * is NOT checked. KLUIS_EVERSION, KLUIS_ESUITE, KLUIS_EINVAL; no allocation, any thread. */
KLUIS_MUST_CHECK int head_parse(struct bytes encoded, struct head *ret_head, struct err *e);
/* The signature of a parsed head by this device key; KLUIS_EVERIFY when kid or signature is not of
 * it. Any number of threads at once on one key. */
KLUIS_MUST_CHECK int head_verify(
	const struct head *head, const struct key_pub *device, struct err *e);
/* seq = prev_seq + 1 and prev_hash as given, else KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int head_follows(const struct head *head, uint64_t prev_seq,
	const uint8_t prev_hash[HASH_BYTES], struct err *e);
/* Appends HEAD_BYTES to ret_encoded, signed by device (KEY_ECDSA_P256; asserted). A client stores
 * these bytes before it sends them, so that it never signs two heads for one seq. KLUIS_EINVAL when
 * the fields are none a reader would take. */
KLUIS_MUST_CHECK int head_sign(
	const struct head *head, const struct key *device, struct buf *ret_encoded, struct err *e);

/* A run of heads of one vault, oldest first, without a gap. The writer of each is looked up by kid
 * and must be the one it names; the last must be by a device not revoked, or listed by the
 * statement that revoked it: those before it are its ancestors. KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int head_verify_run(const struct bytes *encoded, size_t count,
	const struct signer_table *signers, struct head *ret_last, struct err *e);

#endif

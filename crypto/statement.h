/* The statement that identity chains ("KID1") and membership chains ("KGR1") are made of
 * (docs/format-crypto.md, "Statement"). */
#ifndef KLUIS_CRYPTO_STATEMENT_H
#define KLUIS_CRYPTO_STATEMENT_H

#include "crypto/sign.h"

enum {
	STATEMENT_BYTES_MAX = 64 * 1024,
	STATEMENT_BODY_BYTES_MAX = UINT16_MAX,
	CHAIN_STATEMENTS_MAX = 65536,
};
enum statement_chain { CHAIN_IDENTITY, CHAIN_MEMBERS };

struct statement {
	enum statement_chain chain;
	uint8_t type;
	uint8_t object_id[ID_BYTES]; /* The user's, vault's, group's or conversation's. */
	uint64_t seq;		     /* From 1. */
	uint8_t prev_hash[HASH_BYTES];
	uint64_t unix_ms;
	struct bytes body;
	/* Only in what statement_parse() gives; runs point into the bytes parsed: */
	uint8_t sig;
	uint8_t kid[KID_BYTES];
	struct bytes signature;
	uint8_t hash[HASH_BYTES];    /* TH("kluis/v1/stmt-hash", unsigned bytes). */
	uint8_t message[HASH_BYTES]; /* What is signed. */
};

/* The frame alone: magic of this chain, version, lengths; seq >= 1 and sig 1 or 2. Body and
 * signature are not looked at. KLUIS_EVERSION, KLUIS_ESUITE, KLUIS_EINVAL. */
KLUIS_MUST_CHECK int statement_parse(enum statement_chain chain, struct bytes encoded,
	struct statement *ret_statement, struct err *e);
/* Whether a parsed statement is the next of a chain: seq, previous hash and object as of the last
 * one (prev_seq 0: the chain is empty, prev_hash zero, object_id not looked at), type 1 if and only
 * if it is the first. KLUIS_EVERIFY; KLUIS_EINVAL for a type of 0 or above type_max;
 * KLUIS_ETOOLARGE beyond CHAIN_STATEMENTS_MAX. The signature is the caller's. */
KLUIS_MUST_CHECK int statement_follows(const struct statement *statement, unsigned type_max,
	uint64_t prev_seq, const uint8_t prev_hash[HASH_BYTES], const uint8_t object_id[ID_BYTES],
	struct err *e);
/* KLUIS_EVERIFY unless signed by this key and naming it by sig and kid. */
KLUIS_MUST_CHECK int statement_verify(
	const struct statement *statement, const struct key_pub *signer, struct err *e);
/* Appends the encoded statement, signed by key (KEY_RSA_PSS for an identity, KEY_ECDSA_P256 for
 * members; asserted). */
KLUIS_MUST_CHECK int statement_sign(const struct statement *statement, const struct key *key,
	struct buf *ret_encoded, struct err *e);

#endif

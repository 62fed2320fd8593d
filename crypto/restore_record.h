/* The record an operator signs for a restore (docs/format-crypto.md, "Restore record"): only with
 * it may a client's pin move back. 168 bytes: 104, then r | s by the operator restore key. */
#ifndef KLUIS_CRYPTO_RESTORE_RECORD_H
#define KLUIS_CRYPTO_RESTORE_RECORD_H

#include "crypto/sign.h"

enum {
	RESTORE_RECORD_FIXED_BYTES = 104,
	RESTORE_RECORD_BYTES = RESTORE_RECORD_FIXED_BYTES + SIGN_ECDSA_BYTES,
};

struct restore_record {
	uint8_t cluster_id[ID_BYTES];
	uint8_t old_lineage[ID_BYTES], new_lineage[ID_BYTES];
	uint64_t raft_index; /* Of the snapshot restored. */
	uint64_t unix_ms;
	uint8_t manifest_hash[HASH_BYTES];
	uint8_t signature[SIGN_ECDSA_BYTES]; /* Only in what restore_record_parse() gives. */
};

/* Exactly RESTORE_RECORD_BYTES; the signature is NOT checked. KLUIS_EVERSION, KLUIS_EINVAL. */
KLUIS_MUST_CHECK int restore_record_parse(
	struct bytes encoded, struct restore_record *ret_record, struct err *e);
/* KLUIS_EVERIFY unless signed by this operator restore key (KEY_ECDSA_P256). */
KLUIS_MUST_CHECK int restore_record_verify(
	const struct restore_record *record, const struct key_pub *operator_key, struct err *e);
/* Appends RESTORE_RECORD_BYTES. */
KLUIS_MUST_CHECK int restore_record_sign(const struct restore_record *record,
	const struct key *operator_key, struct buf *ret_encoded, struct err *e);

#endif

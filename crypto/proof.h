/* Proofs of possession of a device key (docs/format-crypto.md, "Service proofs"): those that
 * service accounts give at enrolment and for each session, and a person's device beside her
 * password. All are sig 2, 64 bytes. */
#ifndef KLUIS_CRYPTO_PROOF_H
#define KLUIS_CRYPTO_PROOF_H

#include "crypto/sign.h"

enum { PROOF_CHALLENGE_BYTES = 32, PROOF_TOKEN_BYTES_MAX = 256 };

/* TH("kluis/v1/service-login", cluster_id, challenge, user_id, device_id). */
struct proof_login {
	uint8_t cluster_id[ID_BYTES];
	uint8_t challenge[PROOF_CHALLENGE_BYTES]; /* The node's, used once. */
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
};
KLUIS_MUST_CHECK int proof_login_sign(const struct proof_login *proof, const struct key *device,
	struct buf *ret_signature, struct err *e);
/* KLUIS_EVERIFY unless by this device key. */
KLUIS_MUST_CHECK int proof_login_verify(const struct proof_login *proof,
	const struct key_pub *device, struct bytes signature, struct err *e);

/* TH("kluis/v1/device-login", cluster_id, M1, user_id, device_id): by an enrolled device of the
 * person whose password made M1 (crypto/srp). */
enum { PROOF_M1_BYTES = 32 };
struct proof_device {
	uint8_t cluster_id[ID_BYTES];
	uint8_t m1[PROOF_M1_BYTES];
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
};
KLUIS_MUST_CHECK int proof_device_sign(const struct proof_device *proof, const struct key *device,
	struct buf *ret_signature, struct err *e);
KLUIS_MUST_CHECK int proof_device_verify(const struct proof_device *proof,
	const struct key_pub *device, struct bytes signature, struct err *e);

/* TH("kluis/v1/service-enrol", cluster_id, token, account, genesis_hash, device_hash): by the key
 * that the device statement names; the hashes are those of the two statements sent along, so that
 * user id, device id and all keys are bound to this token. */
struct proof_enrol {
	uint8_t cluster_id[ID_BYTES];
	struct bytes token;   /* The one-time token's ASCII bytes as given out. */
	struct bytes account; /* The account name. */
	uint8_t genesis_hash[HASH_BYTES], device_hash[HASH_BYTES];
};
KLUIS_MUST_CHECK int proof_enrol_sign(const struct proof_enrol *proof, const struct key *device,
	struct buf *ret_signature, struct err *e);
KLUIS_MUST_CHECK int proof_enrol_verify(const struct proof_enrol *proof,
	const struct key_pub *device, struct bytes signature, struct err *e);

#endif

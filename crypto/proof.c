#include "crypto/proof.h"

#include <assert.h>

static void proof_login_message(const struct proof_login *p, uint8_t ret[HASH_BYTES])
{
	HASH_TH(ret, "kluis/v1/service-login", bytes_of(p->cluster_id, ID_BYTES),
		bytes_of(p->challenge, PROOF_CHALLENGE_BYTES), bytes_of(p->user_id, ID_BYTES),
		bytes_of(p->device_id, ID_BYTES));
}

static void proof_device_message(const struct proof_device *p, uint8_t ret[HASH_BYTES])
{
	HASH_TH(ret, "kluis/v1/device-login", bytes_of(p->cluster_id, ID_BYTES),
		bytes_of(p->m1, PROOF_M1_BYTES), bytes_of(p->user_id, ID_BYTES),
		bytes_of(p->device_id, ID_BYTES));
}

static void proof_enrol_message(const struct proof_enrol *p, uint8_t ret[HASH_BYTES])
{
	HASH_TH(ret, "kluis/v1/service-enrol", bytes_of(p->cluster_id, ID_BYTES), p->token,
		p->account, bytes_of(p->genesis_hash, HASH_BYTES),
		bytes_of(p->device_hash, HASH_BYTES));
}

static int proof_sign(const struct key *device, const uint8_t message[HASH_BYTES],
	struct buf *ret_signature, struct err *e)
{
	assert(key_pub_alg(key_public(device)) == KEY_ECDSA_P256);
	return sign_make(device, bytes_of(message, HASH_BYTES), ret_signature, e);
}

static int proof_verify(const struct key_pub *device, const uint8_t message[HASH_BYTES],
	struct bytes signature, struct err *e)
{
	if (key_pub_alg(device) != KEY_ECDSA_P256) {
		return err_set(e, KLUIS_ESUITE, "proof: not a device key");
	}
	return sign_verify(device, bytes_of(message, HASH_BYTES), signature, e);
}

int proof_login_sign(const struct proof_login *proof, const struct key *device,
	struct buf *ret_signature, struct err *e)
{
	uint8_t message[HASH_BYTES];

	proof_login_message(proof, message);
	return proof_sign(device, message, ret_signature, e);
}

int proof_login_verify(const struct proof_login *proof, const struct key_pub *device,
	struct bytes signature, struct err *e)
{
	uint8_t message[HASH_BYTES];

	proof_login_message(proof, message);
	return proof_verify(device, message, signature, e);
}

int proof_device_sign(const struct proof_device *proof, const struct key *device,
	struct buf *ret_signature, struct err *e)
{
	uint8_t message[HASH_BYTES];

	proof_device_message(proof, message);
	return proof_sign(device, message, ret_signature, e);
}

int proof_device_verify(const struct proof_device *proof, const struct key_pub *device,
	struct bytes signature, struct err *e)
{
	uint8_t message[HASH_BYTES];

	proof_device_message(proof, message);
	return proof_verify(device, message, signature, e);
}

int proof_enrol_sign(const struct proof_enrol *proof, const struct key *device,
	struct buf *ret_signature, struct err *e)
{
	uint8_t message[HASH_BYTES];

	assert(proof->token.len <= PROOF_TOKEN_BYTES_MAX);
	proof_enrol_message(proof, message);
	return proof_sign(device, message, ret_signature, e);
}

int proof_enrol_verify(const struct proof_enrol *proof, const struct key_pub *device,
	struct bytes signature, struct err *e)
{
	uint8_t message[HASH_BYTES];

	proof_enrol_message(proof, message);
	return proof_verify(device, message, signature, e);
}

#include "node/fido.h"

#include <assert.h>
#include <fido.h>
#include <fido/es256.h>
#include <jansson.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/key.h"

enum {
	FIDO_RP_HASH_BYTES = 32,
	FIDO_FLAGS_AT = FIDO_RP_HASH_BYTES,
	FIDO_COUNT_AT = FIDO_FLAGS_AT + 1,
	FIDO_FIXED_BYTES = FIDO_COUNT_AT + 4,
	FIDO_USER_PRESENT = 0x01,
	FIDO_ATTESTED = 0x40,
	FIDO_AAGUID_BYTES = 16,
	CBOR_BYTES = 2, /* Major types of RFC 8949, section 3.1. */
	CBOR_TEXT = 3,
	CBOR_ARRAY = 4,
	CBOR_MAP = 5,
	CBOR_INDEFINITE = 31,
};

static void assert_freep(fido_assert_t **a)
{
	fido_assert_free(a);
}

static void cred_freep(fido_cred_t **c)
{
	fido_cred_free(c);
}

static void pk_freep(es256_pk_t **pk)
{
	es256_pk_free(pk);
}

static void json_freep(json_t **json)
{
	json_decref(*json);
}

static bool member_is(const json_t *object, const char *name, const char *want)
{
	const json_t *value = json_object_get(object, name);

	return json_is_string(value) && json_string_length(value) == strlen(want) &&
	       memcmp(json_string_value(value), want, strlen(want)) == 0;
}

static bool origin_known(const struct fido_site *site, const json_t *object)
{
	for (size_t i = 0; i < FIDO_ORIGINS_MAX && site->origin[i] != NULL; i++) {
		if (member_is(object, "origin", site->origin[i])) {
			return true;
		}
	}
	return site->native_origin[0] != '\0' && member_is(object, "origin", site->native_origin);
}

void fido_set_native_origin(struct fido_site *site, const uint8_t cluster_id[ID_BYTES])
{
	static const char scheme[] = "kluis://";

	static_assert(sizeof scheme - 1 + HEX_LEN(ID_BYTES) == FIDO_NATIVE_ORIGIN_CHARS, "fits");
	memcpy(site->native_origin, scheme, sizeof scheme);
	hex_encode(bytes_of(cluster_id, ID_BYTES), site->native_origin + sizeof scheme - 1);
}

/* WebAuthn 5.8.1. The object may grow members that we do not know. */
static int client_data_check(const struct fido_site *site, const char *type,
	const uint8_t challenge[FIDO_CHALLENGE_BYTES], struct bytes client_data, struct err *e)
{
	_cleanup_(json_freep) json_t *object = NULL;
	char want[BASE64_LEN(FIDO_CHALLENGE_BYTES) + 1];
	const json_t *cross;

	if (client_data.len > FIDO_CLIENT_DATA_BYTES_MAX) {
		return err_set(e, KLUIS_EVERIFY, "client data too long");
	}
	object = json_loadb(
		(const char *)client_data.data, client_data.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(object)) {
		return err_set(e, KLUIS_EVERIFY, "client data is no JSON object");
	}
	if (!member_is(object, "type", type)) {
		return err_set(e, KLUIS_EVERIFY, "client data is not of type '%s'", type);
	}
	base64_encode(bytes_of(challenge, FIDO_CHALLENGE_BYTES), want);
	if (!member_is(object, "challenge", want)) {
		return err_set(e, KLUIS_EVERIFY, "client data answers another challenge");
	}
	if (!origin_known(site, object)) {
		return err_set(e, KLUIS_EVERIFY, "client data is of another origin");
	}
	cross = json_object_get(object, "crossOrigin");
	if (cross != NULL && !json_is_false(cross)) {
		return err_set(e, KLUIS_EVERIFY, "client data is of a frame of another origin");
	}
	return 0;
}

static uint64_t cbor_argument(struct wire *w, unsigned info)
{
	switch (info) {
	case 24:
		return wire_u8(w);
	case 25:
		return wire_u16(w);
	case 26:
		return wire_u32(w);
	case 27:
		return wire_u64(w);
	case CBOR_INDEFINITE:
		return 0;
	default:
		break;
	}
	if (info > 27) { /* Reserved. */
		wire_fail(w);
	}
	return info;
}

/* Whether no head promises more than what follows it: for as many entries as an array or map
 * promises, libcbor makes room before one of them is there. Heads stand one behind the other
 * however deep they nest (RFC 8949, section 3). */
static bool cbor_promises_kept(struct wire *w)
{
	while (wire_ok(w) && w->left.len > 0) {
		unsigned head = wire_u8(w), major = head >> 5;
		uint64_t n = cbor_argument(w, head & 31);

		if (major == CBOR_BYTES || major == CBOR_TEXT) {
			(void)wire_bytes(w, n);
		} else if (major == CBOR_ARRAY || major == CBOR_MAP) {
			if (n > w->left.len / (major == CBOR_MAP ? 2 : 1)) {
				wire_fail(w);
			}
		}
	}
	return wire_ok(w);
}

/* The part of authenticator data that every answer has (WebAuthn 6.1). */
static int auth_data_check(const struct fido_site *site, struct bytes auth_data, unsigned flags,
	uint32_t *ret_count, struct err *e)
{
	struct wire w = wire_of(auth_data);
	uint8_t rp_hash[HASH_BYTES];

	if (auth_data.len < FIDO_FIXED_BYTES || auth_data.len > FIDO_AUTH_DATA_BYTES_MAX) {
		return err_set(e, KLUIS_EVERIFY, "authenticator data of a wrong length");
	}
	hash_sha256(bytes_str(site->rp_id), rp_hash);
	if (memcmp(auth_data.data, rp_hash, sizeof rp_hash) != 0) {
		return err_set(e, KLUIS_EVERIFY, "authenticator data is for another site");
	}
	if ((auth_data.data[FIDO_FLAGS_AT] & flags) != flags) {
		return err_set(e, KLUIS_EVERIFY, "authenticator data lacks a flag");
	}
	(void)wire_bytes(&w, FIDO_FIXED_BYTES);
	if ((auth_data.data[FIDO_FLAGS_AT] & FIDO_ATTESTED) != 0) {
		(void)wire_bytes(&w, FIDO_AAGUID_BYTES);
		(void)wire_lp16(&w, FIDO_CREDENTIAL_ID_BYTES_MAX);
	}
	if (!cbor_promises_kept(&w)) {
		return err_set(e, KLUIS_EVERIFY, "authenticator data ends before what it promises");
	}
	*ret_count = load_u32(auth_data.data + FIDO_COUNT_AT);
	return 0;
}

/* Takes id and key out of attested credential data. */
static int credential_take(
	const fido_cred_t *cred, struct fido_credential *ret_credential, struct err *e)
{
	_cleanup_(key_pub_freep) struct key_pub *checked = NULL;
	size_t id_bytes = fido_cred_id_len(cred);
	uint8_t sec1[1 + sizeof ret_credential->key] = {4};

	if (id_bytes == 0 || id_bytes > FIDO_CREDENTIAL_ID_BYTES_MAX ||
		fido_cred_pubkey_len(cred) != sizeof ret_credential->key) {
		return err_set(e, KLUIS_EVERIFY, "credential data without id or key");
	}
	memcpy(sec1 + 1, fido_cred_pubkey_ptr(cred), sizeof ret_credential->key);
	if (key_pub_decode(KEY_ECDSA_P256, bytes_of(sec1, sizeof sec1), &checked, NULL) != 0) {
		return err_set(e, KLUIS_EVERIFY, "credential key is not on its curve");
	}
	memset(ret_credential, 0, sizeof *ret_credential);
	memcpy(ret_credential->key, sec1 + 1, sizeof ret_credential->key);
	memcpy(ret_credential->id, fido_cred_id_ptr(cred), id_bytes);
	ret_credential->id_bytes = id_bytes;
	return 0;
}

int fido_check_new(const struct fido_site *site, const uint8_t challenge[FIDO_CHALLENGE_BYTES],
	const struct fido_answer *answer, struct fido_credential *ret_credential,
	uint32_t *ret_count, struct err *e)
{
	_cleanup_(cred_freep) fido_cred_t *cred = NULL;
	uint32_t count = 0;
	int rc;

	assert(site->rp_id != NULL);
	rc = client_data_check(site, "webauthn.create", challenge, answer->client_data, e);
	if (rc == 0) {
		rc = auth_data_check(
			site, answer->auth_data, FIDO_USER_PRESENT | FIDO_ATTESTED, &count, e);
	}
	if (rc != 0) {
		return rc;
	}
	fido_init(0);
	cred = fido_cred_new();
	if (cred == NULL || fido_cred_set_type(cred, COSE_ES256) != FIDO_OK) {
		abort(); /* No memory. */
	}
	if (fido_cred_set_authdata_raw(cred, answer->auth_data.data, answer->auth_data.len) !=
		FIDO_OK) {
		return err_set(e, KLUIS_ESUITE, "credential data is malformed or not of ES256");
	}
	rc = credential_take(cred, ret_credential, e);
	if (rc == 0) {
		*ret_count = count;
	}
	return rc;
}

/* The signature over authenticator data and the hash of client data, by libfido2. */
static int signature_check(const struct fido_site *site, const struct fido_credential *credential,
	const struct fido_answer *answer, struct err *e)
{
	_cleanup_(assert_freep) fido_assert_t *a = NULL;
	_cleanup_(pk_freep) es256_pk_t *pk = NULL;
	uint8_t hash[HASH_BYTES];
	int rc;

	hash_sha256(answer->client_data, hash);
	fido_init(0);
	a = fido_assert_new();
	pk = es256_pk_new();
	if (a == NULL || pk == NULL || fido_assert_set_count(a, 1) != FIDO_OK ||
		fido_assert_set_rp(a, site->rp_id) != FIDO_OK ||
		fido_assert_set_clientdata_hash(a, hash, sizeof hash) != FIDO_OK) {
		abort(); /* No memory. */
	}
	rc = es256_pk_from_ptr(pk, credential->key, sizeof credential->key);
	if (rc == FIDO_OK) {
		rc = fido_assert_set_authdata_raw(
			a, 0, answer->auth_data.data, answer->auth_data.len);
	}
	if (rc == FIDO_OK) {
		rc = fido_assert_set_up(a, FIDO_OPT_TRUE);
	}
	if (rc == FIDO_OK) {
		rc = fido_assert_set_sig(a, 0, answer->signature.data, answer->signature.len);
	}
	if (rc == FIDO_OK) {
		rc = fido_assert_verify(a, 0, COSE_ES256, pk);
	}
	return rc == FIDO_OK ? 0
			     : err_set(e, KLUIS_EVERIFY, "assertion does not verify: %s",
				       fido_strerr(rc));
}

int fido_check_assertion(const struct fido_site *site,
	const uint8_t challenge[FIDO_CHALLENGE_BYTES], const struct fido_credential *credential,
	const struct fido_answer *answer, uint32_t *ret_count, struct err *e)
{
	uint32_t count = 0;
	int rc;

	assert(site->rp_id != NULL);
	rc = client_data_check(site, "webauthn.get", challenge, answer->client_data, e);
	if (rc == 0) {
		rc = auth_data_check(site, answer->auth_data, FIDO_USER_PRESENT, &count, e);
	}
	if (rc == 0 &&
		(answer->signature.len == 0 || answer->signature.len > FIDO_SIGNATURE_BYTES_MAX)) {
		rc = err_set(e, KLUIS_EVERIFY, "assertion without signature");
	}
	if (rc == 0) {
		rc = signature_check(site, credential, answer, e);
	}
	if (rc == 0) {
		*ret_count = count;
	}
	return rc;
}

/* The public face of FIDO2 and U2F as a second factor: the program speaks with the authenticator.
 */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "cli/client/account.h"
#include "cli/client/ceremony.h"
#include "cli/client/json_reader.h"
#include "cli/client/kluis_ask.h"

#define SAME(public, own) static_assert((int)(public) == (int)(own), #public)
SAME(KLUIS_AUTH_DATA_BYTES, CEREMONY_AUTH_DATA_BYTES_MAX);
SAME(KLUIS_KEY_SIGNATURE_BYTES, CEREMONY_SIGNATURE_BYTES_MAX);

void kluis_set_authenticator(struct kluis *k, kluis_key_fn *key, void *arg)
{
	k->key = key;
	k->key_arg = arg;
}

/* Credential ids as bytes; one that is none is the cluster's fault, and left out. */
struct credentials {
	struct buf bytes[CEREMONY_CREDENTIALS_MAX];
	struct kluis_credential shown[CEREMONY_CREDENTIALS_MAX];
	size_t n;
};

static void credentials_take(struct credentials *to, const struct ceremony *c, const char *factor)
{
	_cleanup_(json_dropp) json_t *list = ceremony_credentials(c, factor);
	size_t i;
	const json_t *one;

	json_array_foreach(list, i, one)
	{
		struct buf *bytes = &to->bytes[to->n];

		assert(to->n < CEREMONY_CREDENTIALS_MAX);
		buf_clear(bytes);
		if (base64_decode(bytes_str(json_string_value(one)), CEREMONY_CREDENTIAL_BYTES_MAX,
			    bytes) == 0) {
			to->shown[to->n++] = (struct kluis_credential){bytes->data, bytes->len};
		}
	}
}

static void credentials_release(struct credentials *credentials)
{
	for (size_t i = 0; i < ARRAY_SIZE(credentials->bytes); i++) {
		buf_release(&credentials->bytes[i]);
	}
}

/* What the program's authenticator says; its own word for why it does not. */
static int key_call(struct kluis *k, const struct kluis_key_request *request,
	struct kluis_key_answer *ret_answer, struct err *e)
{
	int rc = k->key(k->key_arg, request, ret_answer);

	if (rc != 0) {
		rc = rc < 0 && rc > -(int)KLUIS_ERROR_MAX ? rc : KLUIS_EIO;
		return err_set(e, rc, "the authenticator did not answer: %s", err_text(rc));
	}
	return ret_answer->auth_data_len <= sizeof ret_answer->auth_data &&
			       ret_answer->signature_len <= sizeof ret_answer->signature
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "the authenticator's answer is too long");
}

static int key_ask(struct kluis *k, const struct ceremony *c, bool create, const char *factor,
	struct kluis_key_answer *ret_answer, struct err *e)
{
	struct credentials *credentials = x_calloc(1, sizeof *credentials);
	struct kluis_key_request request = {
		.create = create, .rp_id = c->rp_id, .user = k->profile->account};
	int rc;

	credentials_take(credentials, c, factor);
	request.credentials = credentials->shown;
	request.n_credentials = credentials->n;
	memcpy(request.user_id, k->profile->user_id, ID_BYTES);
	ceremony_hash(c, request.client_data_hash);
	rc = key_call(k, &request, ret_answer, e);
	credentials_release(credentials);
	free(credentials);
	return rc;
}

int kluis_key_proof(struct kluis *k, const char *id, json_t **ret_proof, struct err *e)
{
	struct ceremony c = {.asked = NULL};
	struct kluis_key_answer answer = {.auth_data_len = 0};
	int rc = ceremony_begin(&c, k->profile, k->client, false, e);

	assert(k->key != NULL);
	rc = rc != 0 ? rc : key_ask(k, &c, false, id, &answer, e);
	if (rc == 0) {
		*ret_proof = ceremony_proof(&c, bytes_of(answer.auth_data, answer.auth_data_len),
			bytes_of(answer.signature, answer.signature_len), id);
	}
	ceremony_release(&c);
	return rc;
}

/* A challenge is worth one request: a proof that is needed is there before. */
static int key_body(struct kluis *k, json_t *ret_body, struct err *e)
{
	struct ceremony c = {.asked = NULL};
	struct kluis_key_answer answer = {.auth_data_len = 0};
	struct kluis_proving proving;
	json_t *proof = NULL, *made;
	int rc = kluis_proving(k, &proving, e);

	rc = rc != 0 || !proving.any ? rc : kluis_prove(k, &proving, NULL, &proof, e);
	rc = rc != 0 ? rc : ceremony_begin(&c, k->profile, k->client, true, e);
	rc = rc != 0 ? rc : key_ask(k, &c, true, NULL, &answer, e);
	if (rc == 0) {
		made = ceremony_attestation(&c, bytes_of(answer.auth_data, answer.auth_data_len));
		(void)json_object_update(ret_body, made);
		json_decref(made);
		if (proof != NULL) {
			(void)json_object_set(ret_body, "proof", proof);
		}
	}
	json_decref(proof);
	ceremony_release(&c);
	return rc;
}

static int key_add(struct kluis *k, json_t *body, char ret_id[KLUIS_FACTOR_ID_BYTES], struct err *e)
{
	_cleanup_(json_dropp) json_t *answer = NULL;
	int rc = kluis_person_check(k, e);

	if (rc == 0 && k->key == NULL) {
		rc = err_set(e, KLUIS_EINVAL, "no authenticator (kluis_set_authenticator)");
	}
	rc = rc != 0 ? rc : key_body(k, body, e);
	rc = rc != 0 ? rc
		     : api_json(k->client, "POST", "/v1/mfa/fido2", json_incref(body),
			       CLIENT_AUTH | CLIENT_ONCE, &answer, e);
	return rc != 0 ? rc : kluis_factor_made(answer, ret_id, NULL, e);
}

int kluis_factor_add_key(struct kluis *k, const char *label, char ret_id[KLUIS_FACTOR_ID_BYTES],
	struct kluis_failure *error)
{
	struct err e = {0};
	_cleanup_(json_dropp) json_t *body = kluis_factor_body(label, &e);
	int rc = body == NULL ? KLUIS_EINVAL : key_add(k, body, ret_id, &e);

	return kluis_give(rc, &e, error);
}

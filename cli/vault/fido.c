#include "cli/vault/fido.h"

#include <string.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/ui/prompt.h"
#include "cli/vault/fido_helper.h"
#include "cli/vault/secrets.h"
#include "crypto/hash.h"

enum {
	FIDO_CHALLENGE_BYTES = 32,
	FIDO_AUTH_DATA_BYTES_MAX = 2048,
	FIDO_SIGNATURE_BYTES_MAX = 72,
	FIDO_PIN_BYTES_MAX = 63, /* CTAP 2.1, 6.5.1. */
	FIDO_TRIES = 3,
};

/* What the cluster gave, and what is signed for it. */
struct ceremony {
	struct invocation *inv;
	json_t *asked; /* The cluster's answer; the strings below are its. */
	const char *handshake, *rp_id;
	const json_t *credentials; /* {id, credential_id} */
	struct buf client_data;
};

static void ceremony_release(struct ceremony *c)
{
	json_decref(c->asked);
	buf_release(&c->client_data);
}

/* As a browser would (WebAuthn 5.8.1), but for an origin that none has: this cluster's id, which
 * the profile pins. So a cluster that hands on another site's challenge, whatever rp_id it names,
 * gets what that site refuses. */
static void client_data_make(
	const struct profile *profile, const char *type, struct bytes challenge, struct buf *to)
{
	char cluster[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(profile->cluster_id, ID_BYTES), cluster);
	buf_printf(to, "{\"type\":\"%s\",\"challenge\":\"", type);
	base64_append(to, challenge);
	buf_printf(to, "\",\"origin\":\"kluis://%s\",\"crossOrigin\":false}", cluster);
}

static int ceremony_begin(
	struct ceremony *c, const struct profile *profile, struct client *client, const char *type)
{
	uint8_t challenge[FIDO_CHALLENGE_BYTES];
	struct json_reader r;
	int rc = api_json(client, "POST", "/v1/mfa/fido2/challenge", NULL,
		CLIENT_AUTH | CLIENT_ONCE, &c->asked, &c->inv->err);

	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(c->asked);
	c->handshake = json_reader_string(&r, "handshake");
	c->rp_id = json_reader_string(&r, "rp_id");
	c->credentials = json_reader_array(&r, "credentials");
	json_reader_base64_exact(&r, "challenge", challenge, sizeof challenge);
	rc = json_reader_end(&r, "challenge", &c->inv->err);
	if (rc == 0) {
		client_data_make(
			profile, type, bytes_of(challenge, sizeof challenge), &c->client_data);
	}
	return rc;
}

/* Ids of the account's credentials, or of this factor's alone. */
static json_t *ceremony_credentials(const struct ceremony *c, const char *factor)
{
	json_t *list = json_array();
	const json_t *one;
	size_t i;

	json_array_foreach(c->credentials, i, one)
	{
		const char *id = json_string_value(json_object_get(one, "id"));
		json_t *credential = json_object_get(one, "credential_id");

		if (json_is_string(credential) &&
			(factor == NULL || (id != NULL && strcmp(id, factor) == 0))) {
			(void)json_array_append(list, credential);
		}
	}
	return list;
}

static json_t *ceremony_request(const struct ceremony *c, const char *operation, const char *factor)
{
	uint8_t hash[HASH_BYTES];

	hash_sha256(buf_bytes(&c->client_data), hash);
	return json_pack("{s:i, s:s, s:s, s:o, s:o}", "version", 1, "operation", operation, "rp_id",
		c->rp_id, "client_data_hash", json_hex(bytes_of(hash, sizeof hash)), "credentials",
		ceremony_credentials(c, factor));
}

static const struct {
	const char *name;
	int rc;
	const char *text;
} fido_errors[] = {
	{"no-key", KLUIS_ENOTFOUND, "no FIDO2 or U2F key is plugged in"},
	{"no-credential", KLUIS_ENOTFOUND, "no key of this account is plugged in"},
	{"many-keys", KLUIS_ECONFLICT, "more than one key is plugged in: leave the one to enrol"},
	{"excluded", KLUIS_EEXIST, "this key is enrolled already"},
	{"denied", KLUIS_EFORBIDDEN, "the key was not touched in time"},
	{"pin-blocked", KLUIS_EFORBIDDEN, "too many wrong PINs: the key refuses more"},
	{"pin-wrong", KLUIS_EFORBIDDEN, "the PIN is wrong"},
	{"pin-required", KLUIS_EFORBIDDEN, "the key asks for its PIN"},
};

static int fido_error(struct invocation *inv, const char *name, const json_t *answer)
{
	const char *detail = json_string_value(json_object_get(answer, "detail"));

	for (size_t i = 0; i < ARRAY_SIZE(fido_errors); i++) {
		if (strcmp(fido_errors[i].name, name) == 0) {
			return err_set(&inv->err, fido_errors[i].rc, "%s", fido_errors[i].text);
		}
	}
	return err_set(
		&inv->err, KLUIS_EIO, "the key failed: %.100s", detail == NULL ? name : detail);
}

static int fido_pin(struct invocation *inv, json_t *request)
{
	_cleanup_(prompt_secret_release) struct buf pin = BUF_INIT;
	int rc;

	buf_reserve(&pin, FIDO_PIN_BYTES_MAX + 2);
	rc = prompt_secret("PIN of the key: ", NULL, NULL, FIDO_PIN_BYTES_MAX, &pin, &inv->err);
	if (rc != 0) {
		return err_wrap(&inv->err, rc, "the key asks for its PIN");
	}
	return json_object_set_new(request, "pin", json_stringn((const char *)pin.data, pin.len)) ==
			       0
		       ? 0
		       : err_set(&inv->err, KLUIS_EINVAL, "a PIN is text");
}

/* The key's answer to the request, whose PIN is asked for when the key wants one. */
static int fido_ask(struct invocation *inv, json_t *request, json_t **ret_answer)
{
	int rc = KLUIS_EFORBIDDEN;

	for (unsigned turn = 0; turn < FIDO_TRIES; turn++) {
		json_t *answer = NULL;
		const char *error;

		rc = fido_helper_run(inv, request, &answer);
		if (rc != 0) {
			return rc;
		}
		error = json_string_value(json_object_get(answer, "error"));
		if (error == NULL) {
			*ret_answer = answer;
			return 0;
		}
		rc = fido_error(inv, error, answer);
		if (strcmp(error, "pin-required") != 0 &&
			(strcmp(error, "pin-wrong") != 0 || !prompt_possible())) {
			json_decref(answer);
			return rc;
		}
		if (strcmp(error, "pin-wrong") == 0) {
			output_error(&inv->out, "kluis", &inv->err);
		}
		json_decref(answer);
		inv->err = (struct err){0};
		rc = fido_pin(inv, request);
		if (rc != 0) {
			return rc;
		}
	}
	return err_set(&inv->err, KLUIS_EFORBIDDEN, "the key was not opened by its PIN");
}

/* The members that every answer of ours has. */
static int fido_body(struct ceremony *c, const json_t *answer, bool signature, json_t **ret_body)
{
	_cleanup_(buf_release) struct buf auth_data = BUF_INIT, signed_by = BUF_INIT;
	struct json_reader r = json_reader_of(answer);
	int rc;

	json_reader_base64(&r, "auth_data", FIDO_AUTH_DATA_BYTES_MAX, &auth_data);
	if (signature) {
		json_reader_base64(&r, "signature", FIDO_SIGNATURE_BYTES_MAX, &signed_by);
	}
	rc = json_reader_end(&r, "answer of the key", &c->inv->err);
	if (rc != 0) {
		return rc;
	}
	*ret_body = json_pack("{s:s, s:o, s:o}", "handshake", c->handshake, "client_data",
		json_base64(buf_bytes(&c->client_data)), "auth_data",
		json_base64(buf_bytes(&auth_data)));
	if (signature) {
		(void)json_object_set_new(
			*ret_body, "signature", json_base64(buf_bytes(&signed_by)));
	}
	return 0;
}

int fido_enrol(struct invocation *inv, const struct profile *profile, struct client *client,
	json_t **ret_body)
{
	struct ceremony c = {.inv = inv};
	_cleanup_(json_dropp) json_t *request = NULL, *answer = NULL;
	int rc = ceremony_begin(&c, profile, client, "webauthn.create");

	if (rc == 0) {
		request = ceremony_request(&c, "create", NULL);
		(void)json_object_set_new(
			request, "user_id", json_base64(bytes_of(profile->user_id, ID_BYTES)));
		(void)json_object_set_new(request, "user", json_string(profile->account));
		rc = fido_ask(inv, request, &answer);
	}
	rc = rc != 0 ? rc : fido_body(&c, answer, false, ret_body);
	ceremony_release(&c);
	return rc;
}

int fido_prove(struct invocation *inv, const struct profile *profile, struct client *client,
	const char *factor, json_t **ret_proof)
{
	struct ceremony c = {.inv = inv};
	_cleanup_(json_dropp) json_t *request = NULL, *answer = NULL;
	json_t *assertion;
	int rc = ceremony_begin(&c, profile, client, "webauthn.get");

	if (rc == 0) {
		request = ceremony_request(&c, "get", factor);
		rc = fido_ask(inv, request, &answer);
	}
	rc = rc != 0 ? rc : fido_body(&c, answer, true, &assertion);
	if (rc == 0) {
		*ret_proof = json_pack("{s:s, s:o, s:s*}", "method", "fido2", "assertion",
			assertion, "id", factor);
	}
	ceremony_release(&c);
	return rc;
}

bool fido_code_given(struct invocation *inv)
{
	return invocation_value(inv, "code-file") != NULL ||
	       invocation_value(inv, "code-fd") != NULL;
}

static int code_prove(struct invocation *inv, const char *method, json_t **ret_proof)
{
	_cleanup_(prompt_secret_release) struct buf code = BUF_INIT;
	int rc = secrets_code(inv, method, &code);

	if (rc == 0) {
		*ret_proof = json_pack("{s:s, s:s}", "method", method, "code", buf_str(&code));
	}
	return rc;
}

int fido_or_code(struct invocation *inv, const struct profile *profile, struct client *client,
	bool keys, const char *code_method, json_t **ret_proof)
{
	if (keys && (code_method == NULL || !fido_code_given(inv))) {
		int rc = fido_prove(inv, profile, client, NULL, ret_proof);

		if (rc != KLUIS_ENOTFOUND || code_method == NULL) {
			return rc;
		}
		inv->err = (struct err){0};
	}
	return code_method != NULL
		       ? code_prove(inv, code_method, ret_proof)
		       : err_set(&inv->err, KLUIS_EMFA,
				 "a proof by a second factor is needed that this program cannot "
				 "give");
}

#include "cli/vault/fido.h"

#include <string.h>

#include "cli/client/ceremony.h"
#include "cli/client/json_reader.h"
#include "cli/ui/prompt.h"
#include "cli/vault/fido_helper.h"
#include "cli/vault/secrets.h"

enum {
	FIDO_PIN_BYTES_MAX = 63, /* CTAP 2.1, 6.5.1. */
	FIDO_TRIES = 3,
};

static json_t *ceremony_request(const struct ceremony *c, const char *operation, const char *factor)
{
	uint8_t hash[HASH_BYTES];

	ceremony_hash(c, hash);
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

static int fido_answer(
	const json_t *answer, struct buf *ret_auth_data, struct buf *ret_signature, struct err *e)
{
	struct json_reader r = json_reader_of(answer);

	json_reader_base64(&r, "auth_data", CEREMONY_AUTH_DATA_BYTES_MAX, ret_auth_data);
	if (ret_signature != NULL) {
		json_reader_base64(&r, "signature", CEREMONY_SIGNATURE_BYTES_MAX, ret_signature);
	}
	return json_reader_end(&r, "answer of the key", e) == 0
		       ? 0
		       : err_set(e, KLUIS_EIO, "the key's program gave no such answer");
}

int fido_enrol(struct invocation *inv, const struct profile *profile, struct client *client,
	json_t **ret_body)
{
	struct ceremony c = {.asked = NULL};
	_cleanup_(json_dropp) json_t *request = NULL, *answer = NULL;
	_cleanup_(buf_release) struct buf auth_data = BUF_INIT;
	int rc = ceremony_begin(&c, profile, client, true, &inv->err);

	if (rc == 0) {
		request = ceremony_request(&c, "create", NULL);
		(void)json_object_set_new(
			request, "user_id", json_base64(bytes_of(profile->user_id, ID_BYTES)));
		(void)json_object_set_new(request, "user", json_string(profile->account));
		rc = fido_ask(inv, request, &answer);
	}
	rc = rc != 0 ? rc : fido_answer(answer, &auth_data, NULL, &inv->err);
	if (rc == 0) {
		*ret_body = ceremony_attestation(&c, buf_bytes(&auth_data));
	}
	ceremony_release(&c);
	return rc;
}

int fido_prove(struct invocation *inv, const struct profile *profile, struct client *client,
	const char *factor, json_t **ret_proof)
{
	struct ceremony c = {.asked = NULL};
	_cleanup_(json_dropp) json_t *request = NULL, *answer = NULL;
	_cleanup_(buf_release) struct buf auth_data = BUF_INIT, signature = BUF_INIT;
	int rc = ceremony_begin(&c, profile, client, false, &inv->err);

	if (rc == 0) {
		request = ceremony_request(&c, "get", factor);
		rc = fido_ask(inv, request, &answer);
	}
	rc = rc != 0 ? rc : fido_answer(answer, &auth_data, &signature, &inv->err);
	if (rc == 0) {
		*ret_proof =
			ceremony_proof(&c, buf_bytes(&auth_data), buf_bytes(&signature), factor);
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

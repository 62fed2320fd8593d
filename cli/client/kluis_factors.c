/* The public face of second factors. */
#include <assert.h>
#include <string.h>

#include "cli/client/account.h"
#include "cli/client/json_reader.h"
#include "cli/client/kluis_ask.h"
#include "crypto/otp.h"

enum { FACTORS_MAX = 16, FACTOR_TARGET_MAX = 64 };

static_assert((int)KLUIS_METHOD_BYTES == (int)ACCOUNT_METHOD_CHARS_MAX + 1, "methods");
static_assert((int)KLUIS_FACTOR_ID_BYTES == HEX_LEN(ID_BYTES) + 1, "factors");

int kluis_ask_code(struct kluis *k, const char *method, struct secret *ret_code, struct err *e)
{
	_cleanup_(secret_release) struct secret code = SECRET_INIT;
	int rc = kluis_ask(k, KLUIS_SECRET_FACTOR, method, KLUIS_FACTOR_CODE_BYTES_MAX, &code, e);

	if (rc == 0) {
		secret_init(ret_code, code.len + 1);
		memcpy(ret_code->data, code.data == NULL ? (const uint8_t *)"" : code.data,
			code.len);
	}
	return rc;
}

static int factor_parse(const json_t *item, struct kluis_factor *ret_factor, struct err *e)
{
	struct json_reader r = json_reader_of(item);
	struct kluis_factor factor = {.label = json_reader_string(&r, "label"),
		.created_ms = json_reader_u64(&r, "created"),
		.pending = json_reader_bool(&r, "pending")};
	const char *method = json_reader_string(&r, "method");
	uint8_t id[ID_BYTES];

	json_reader_hex(&r, "id", id, ID_BYTES);
	hex_encode(bytes_of(id, ID_BYTES), factor.id);
	if (strlen(method) >= sizeof factor.method) {
		r.failed = "method";
	}
	(void)snprintf(factor.method, sizeof factor.method, "%s", method);
	*ret_factor = factor;
	return json_reader_end(&r, "second factor", e);
}

static int factor_list(struct kluis *k, json_t **ret_items, struct err *e)
{
	int rc = kluis_person_check(k, e);

	return rc != 0 ? rc
		       : api_list(k->client, "/v1/mfa", CLIENT_AUTH | CLIENT_READ, FACTORS_MAX,
				 ret_items, e);
}

int kluis_factors(struct kluis *k, kluis_factor_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	struct err e = {0};
	int rc = factor_list(k, &items, &e);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct kluis_factor factor;

		rc = factor_parse(json_array_get(items, i), &factor, &e);
		if (rc == 0) {
			each(arg, &factor);
		}
	}
	return kluis_give(rc, &e, error);
}

static bool factor_is_code(const struct kluis_factor *factor)
{
	return strcmp(factor->method, "totp") == 0 || strcmp(factor->method, "hotp") == 0;
}

static void proving_take(
	const struct kluis *k, const struct kluis_factor *factor, struct kluis_proving *p)
{
	bool key = strcmp(factor->method, "fido2") == 0, code = factor_is_code(factor);

	if (factor->pending) {
		return;
	}
	p->any = p->any || key || code;
	p->key = p->key || (key && k->key != NULL);
	if (code && p->code[0] == 0) {
		memcpy(p->code, factor->method, KLUIS_METHOD_BYTES);
	}
}

int kluis_proving(struct kluis *k, struct kluis_proving *ret_proving, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	struct kluis_proving proving = {.any = false};
	int rc = factor_list(k, &items, e);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct kluis_factor factor;

		rc = factor_parse(json_array_get(items, i), &factor, e);
		if (rc == 0) {
			proving_take(k, &factor, &proving);
		}
	}
	if (rc == 0) {
		*ret_proving = proving;
	}
	return rc;
}

/* A code as the node wants it, id NULL: of any factor of the method. */
static int code_proof(
	struct kluis *k, const char *method, const char *id, json_t **ret_proof, struct err *e)
{
	_cleanup_(secret_release) struct secret code = SECRET_INIT;
	int rc = kluis_ask_code(k, method, &code, e);

	if (rc == 0) {
		*ret_proof = json_pack("{s:s, s:s, s:s*}", "method", method, "code",
			(const char *)code.data, "id", id);
		rc = *ret_proof != NULL ? 0 : err_set(e, KLUIS_EINVAL, "a code is digits");
	}
	return rc;
}

int kluis_prove(struct kluis *k, const struct kluis_proving *proving, const char *id,
	json_t **ret_proof, struct err *e)
{
	int rc = KLUIS_EMFA;

	if (proving->key) {
		rc = kluis_key_proof(k, id, ret_proof, e);
		if (rc != KLUIS_ENOTFOUND) {
			return rc;
		}
	}
	if (proving->code[0] != 0) {
		return code_proof(k, proving->code, id, ret_proof, e);
	}
	return proving->key
		       ? rc
		       : err_set(e, rc, "a second factor is needed that this program cannot give");
}

/* Sends it; where the account has a factor that counts, once more with a code of that. */
static int factor_send(struct kluis *k, const char *verb, const char *target, json_t *body,
	json_t **ret_answer, struct err *e)
{
	_cleanup_(json_dropp) json_t *request = body;
	struct kluis_proving proving;
	json_t *proof;
	int rc = api_json(
		k->client, verb, target, json_deep_copy(request), CLIENT_AUTH, ret_answer, e);

	if (rc != KLUIS_EMFA) {
		return rc;
	}
	rc = kluis_proving(k, &proving, e);
	rc = rc != 0 ? rc : kluis_prove(k, &proving, NULL, &proof, e);
	if (rc != 0) {
		return rc;
	}
	(void)json_object_set_new(request, "proof", proof);
	return api_json(k->client, verb, target, json_deep_copy(request), CLIENT_AUTH | CLIENT_ONCE,
		ret_answer, e);
}

int kluis_factor_made(
	json_t *answer, char ret_id[KLUIS_FACTOR_ID_BYTES], const char **ret_uri, struct err *e)
{
	struct json_reader r = json_reader_of(answer);
	uint8_t id[ID_BYTES];
	int rc;

	json_reader_hex(&r, "id", id, ID_BYTES);
	if (ret_uri != NULL) {
		*ret_uri = json_reader_string(&r, "uri");
		r.failed = r.failed == NULL && !otp_uri_plain(*ret_uri) ? "uri" : r.failed;
	}
	rc = json_reader_end(&r, "second factor", e);
	if (rc == 0) {
		hex_encode(bytes_of(id, ID_BYTES), ret_id);
	}
	return rc;
}

static int factor_target(const char *method, bool codes, char to[FACTOR_TARGET_MAX], struct err *e)
{
	const char *const ours[] = {codes ? "totp" : "ip", codes ? "hotp" : "location"};

	if (strcmp(method, ours[0]) != 0 && strcmp(method, ours[1]) != 0) {
		return err_set(e, KLUIS_EINVAL, "no method of this kind: '%s'", method);
	}
	(void)snprintf(to, FACTOR_TARGET_MAX, "/v1/mfa/%s", method);
	return 0;
}

json_t *kluis_factor_body(const char *label, struct err *e)
{
	json_t *body = json_pack("{s:s*}", "label", label);

	if (body == NULL) {
		(void)err_set(e, KLUIS_EINVAL, "the label is not UTF-8");
	}
	return body;
}

int kluis_factor_add(struct kluis *k, const char *method, const char *label,
	char ret_id[KLUIS_FACTOR_ID_BYTES], kluis_uri_fn *take, void *arg,
	struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *answer = NULL;
	char target[FACTOR_TARGET_MAX];
	struct err e = {0};
	const char *uri;
	json_t *body = kluis_factor_body(label, &e);
	int rc = body == NULL ? KLUIS_EINVAL : factor_target(method, true, target, &e);

	rc = rc != 0 ? rc : kluis_person_check(k, &e);
	if (rc != 0) {
		json_decref(body);
		return kluis_give(rc, &e, error);
	}
	rc = factor_send(k, "POST", target, body, &answer, &e);
	rc = rc != 0 ? rc : kluis_factor_made(answer, ret_id, &uri, &e);
	if (rc == 0) {
		take(arg, uri);
	}
	return kluis_give(rc, &e, error);
}

int kluis_factor_add_places(struct kluis *k, const char *method, const char *label,
	const char *const *places, size_t n, char ret_id[KLUIS_FACTOR_ID_BYTES],
	struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *answer = NULL;
	char target[FACTOR_TARGET_MAX];
	struct err e = {0};
	json_t *body = kluis_factor_body(label, &e), *list = json_array();
	int rc = body == NULL ? KLUIS_EINVAL : factor_target(method, false, target, &e);

	for (size_t i = 0; i < n; i++) {
		if (json_array_append_new(list, json_string(places[i])) != 0) {
			rc = rc != 0 ? rc : err_set(&e, KLUIS_EINVAL, "a place is not UTF-8");
		}
	}
	rc = rc != 0 ? rc : kluis_person_check(k, &e);
	if (rc != 0) {
		json_decref(body);
		json_decref(list);
		return kluis_give(rc, &e, error);
	}
	(void)json_object_set_new(body, strcmp(method, "ip") == 0 ? "networks" : "places", list);
	rc = factor_send(k, "POST", target, body, &answer, &e);
	rc = rc != 0 ? rc : kluis_factor_made(answer, ret_id, NULL, &e);
	return kluis_give(rc, &e, error);
}

/* The factor of this id. KLUIS_ENOTFOUND. */
static int factor_find(
	struct kluis *k, const char *id, struct kluis_factor *ret_factor, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = factor_list(k, &items, e);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		rc = factor_parse(json_array_get(items, i), ret_factor, e);
		if (rc == 0 && strcmp(ret_factor->id, id) == 0) {
			ret_factor->label = "";
			return 0;
		}
	}
	return rc != 0 ? rc : err_set(e, KLUIS_ENOTFOUND, "no second factor '%.32s'", id);
}

int kluis_factor_confirm(struct kluis *k, const char *id, struct kluis_failure *error)
{
	struct kluis_proving proving = {.any = false};
	struct kluis_factor factor;
	struct err e = {0};
	json_t *proof;
	int rc = factor_find(k, id, &factor, &e);

	if (rc == 0) {
		factor.pending = 0; /* By this one, which counts from then on. */
		proving_take(k, &factor, &proving);
		rc = kluis_prove(k, &proving, factor.id, &proof, &e);
	}
	rc = rc != 0 ? rc
		     : api_json(k->client, "POST", "/v1/mfa/verify", proof,
			       CLIENT_AUTH | CLIENT_ONCE, NULL, &e);
	return kluis_give(rc, &e, error);
}

int kluis_factor_remove(struct kluis *k, const char *id, struct kluis_failure *error)
{
	char target[FACTOR_TARGET_MAX];
	struct kluis_factor factor;
	struct err e = {0};
	int rc = factor_find(k, id, &factor, &e);

	if (rc == 0) {
		(void)snprintf(target, sizeof target, "/v1/mfa/%s", factor.id);
		rc = factor_send(k, "DELETE", target, json_object(), NULL, &e);
	}
	return kluis_give(rc, &e, error);
}

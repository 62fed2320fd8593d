/* The public face of second factors, and of the account as the cluster describes it. */
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

int kluis_code_method(struct kluis *k, char ret_method[KLUIS_METHOD_BYTES], struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = factor_list(k, &items, e);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct kluis_factor factor;

		rc = factor_parse(json_array_get(items, i), &factor, e);
		if (rc == 0 && !factor.pending && factor_is_code(&factor)) {
			memcpy(ret_method, factor.method, KLUIS_METHOD_BYTES);
			return 0;
		}
	}
	return rc != 0 ? rc : err_set(e, KLUIS_EMFA, "a second factor is needed that is no code");
}

/* A code as the node wants it, id NULL: of any factor of the method. */
static int factor_proof(
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

/* Sends it; where the account has a factor that counts, once more with a code of that. */
static int factor_send(struct kluis *k, const char *verb, const char *target, json_t *body,
	json_t **ret_answer, struct err *e)
{
	_cleanup_(json_dropp) json_t *request = body;
	char method[KLUIS_METHOD_BYTES];
	json_t *proof;
	int rc = api_json(
		k->client, verb, target, json_deep_copy(request), CLIENT_AUTH, ret_answer, e);

	if (rc != KLUIS_EMFA) {
		return rc;
	}
	rc = kluis_code_method(k, method, e);
	rc = rc != 0 ? rc : factor_proof(k, method, NULL, &proof, e);
	if (rc != 0) {
		return rc;
	}
	(void)json_object_set_new(request, "proof", proof);
	return api_json(k->client, verb, target, json_deep_copy(request), CLIENT_AUTH | CLIENT_ONCE,
		ret_answer, e);
}

/* The new factor's id and, of codes, the line for the authenticator. */
static int factor_made(
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

/* Body with a label that may be NULL; NULL with the error set. */
static json_t *factor_body(const char *label, struct err *e)
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
	json_t *body = factor_body(label, &e);
	int rc = body == NULL ? KLUIS_EINVAL : factor_target(method, true, target, &e);

	rc = rc != 0 ? rc : kluis_person_check(k, &e);
	if (rc != 0) {
		json_decref(body);
		return kluis_give(rc, &e, error);
	}
	rc = factor_send(k, "POST", target, body, &answer, &e);
	rc = rc != 0 ? rc : factor_made(answer, ret_id, &uri, &e);
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
	json_t *body = factor_body(label, &e), *list = json_array();
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
	rc = rc != 0 ? rc : factor_made(answer, ret_id, NULL, &e);
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
	struct kluis_factor factor;
	struct err e = {0};
	json_t *proof;
	int rc = factor_find(k, id, &factor, &e);

	if (rc == 0 && !factor_is_code(&factor)) {
		rc = err_set(&e, KLUIS_EINVAL, "'%s' is not confirmed by a code", id);
	}
	rc = rc != 0 ? rc : factor_proof(k, factor.method, factor.id, &proof, &e);
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

int kluis_account_show(
	struct kluis *k, kluis_account_fn *take, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	struct kluis_account account;
	struct json_reader r, policy;
	struct err e = {0};
	int rc = account_show(k->client, &object, &e);

	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	r = json_reader_of(object);
	policy = json_reader_of(json_reader_object(&r, "policy"));
	account = (struct kluis_account){.user = json_reader_string(&r, "user"),
		.created_ms = json_reader_u64(&r, "created"),
		.devices = json_reader_u64(&r, "devices"),
		.vaults = json_reader_u64(&r, "vaults"),
		.pages = json_reader_u64(&r, "pages"),
		.keyring_revision = json_reader_u64(&r, "keyring_revision"),
		.no_web_login = json_reader_bool(&policy, "no_web_login"),
		.device_only = json_reader_bool(&policy, "device_sig")};
	json_reader_hex(&r, "user_id", account.user_id, ID_BYTES);
	rc = json_reader_end(&r, "account", &e);
	rc = rc != 0 ? rc : json_reader_end(&policy, "account: policy", &e);
	if (rc == 0) {
		take(arg, &account);
	}
	return kluis_give(rc, &e, error);
}

static uint32_t policy_bit(uint32_t flags, int wanted, uint32_t bit)
{
	return wanted < 0 ? flags : wanted > 0 ? flags | bit : flags & ~bit;
}

int kluis_account_policy(
	struct kluis *k, int no_web_login, int device_only, struct kluis_failure *error)
{
	struct err e = {0};
	uint32_t flags;
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : kluis_refresh(k, &e);
	rc = rc != 0 ? rc : person_ready(k->profile, &e);
	if (rc == 0) {
		flags = policy_bit(
			k->profile->identity.policy, no_web_login, IDENTITY_POLICY_NO_WEB);
		flags = policy_bit(flags, device_only, IDENTITY_POLICY_DEVICE_SIG);
		rc = flags == k->profile->identity.policy
			     ? 0
			     : account_policy(k->profile, k->client, flags, &e);
	}
	return kluis_give(rc, &e, error);
}

int kluis_account_log(
	struct kluis *k, kluis_access_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	struct err e = {0};
	int rc = api_list(k->client, "/v1/account/access-log", CLIENT_AUTH | CLIENT_READ,
		ACCESS_ROWS_MAX, &items, &e);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct json_reader r = json_reader_of(json_array_get(items, i));
		struct kluis_access access = {.time_ms = json_reader_u64(&r, "time"),
			.event = json_reader_string(&r, "event"),
			.actor = json_reader_string(&r, "actor"),
			.object = json_reader_string(&r, "object")};

		rc = json_reader_end(&r, "access log", &e);
		if (rc == 0) {
			each(arg, &access);
		}
	}
	return kluis_give(rc, &e, error);
}

int kluis_account_delete(struct kluis *k, struct kluis_failure *error)
{
	struct err e = {0};
	int rc = kluis_person_check(k, &e);

	rc = rc != 0 ? rc : account_delete(k->client, &e);
	if (rc == 0) {
		k->unsettled = false;
		client_set_token(k->client, NULL);
		person_lock(k->profile);
	}
	return kluis_give(rc, &e, error);
}

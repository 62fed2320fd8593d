/* kluis mfa list|add|confirm|remove */
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/ui/prompt.h"
#include "cli/vault/app.h"
#include "cli/vault/fido.h"
#include "cli/vault/secrets.h"
#include "cli/vault/signin.h"
#include "crypto/otp.h"

enum { MFA_FACTORS_MAX = 16, MFA_TARGET_MAX = 64 };

int app_factors(struct client *client, json_t **ret_items, struct err *e)
{
	return api_list(
		client, "/v1/mfa", CLIENT_AUTH | CLIENT_READ, MFA_FACTORS_MAX, ret_items, e);
}

static int mfa_factors(struct app *k, json_t **ret_items)
{
	return app_factors(k->client, ret_items, &k->inv->err);
}

/* What is left to say of one method: networks or places, or how codes are made. */
static void mfa_detail(json_t *item)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const json_t *list = json_object_get(item, "networks"), *one;
	const char *algorithm = json_string_value(json_object_get(item, "algorithm"));
	size_t i;

	list = list == NULL ? json_object_get(item, "places") : list;
	json_array_foreach(list, i, one)
	{
		buf_printf(&text, "%s%s", i == 0 ? "" : " ",
			json_is_string(one) ? json_string_value(one) : "?");
	}
	if (algorithm != NULL) {
		buf_printf(&text, "%s, %d digits", algorithm,
			(int)json_integer_value(json_object_get(item, "digits")));
	}
	(void)json_object_set_new(item, "detail", json_string(buf_str(&text)));
}

void app_show_factors(const struct output *out, json_t *items)
{
	static const struct output_column columns[] = {{"id", "FACTOR", OUTPUT_TEXT},
		{"method", "METHOD", OUTPUT_TEXT}, {"label", "LABEL", OUTPUT_TEXT},
		{"created", "SINCE", OUTPUT_TIME}, {"pending", "PENDING", OUTPUT_TEXT},
		{"detail", "DETAIL", OUTPUT_TEXT}};
	json_t *item;
	size_t i;

	if (out->format == OUTPUT_TABLE) {
		json_array_foreach(items, i, item)
		{
			mfa_detail(item);
		}
	}
	output_rows(out, columns, ARRAY_SIZE(columns), items);
}

static int mfa_list_body(struct app *k)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	int rc = mfa_factors(k, &items);

	if (rc == 0) {
		app_show_factors(&k->inv->out, items);
	}
	return rc;
}

int app_mfa_list(struct invocation *inv)
{
	return app_run(inv, mfa_list_body);
}

static bool mfa_is_code(const char *method)
{
	return method != NULL && (strcmp(method, "totp") == 0 || strcmp(method, "hotp") == 0);
}

/* The method of a factor of codes that counts (NULL: none), and whether a key does. */
static const char *mfa_proving(const json_t *items, bool *ret_keys)
{
	const char *code = NULL;
	const json_t *item;
	size_t i;

	*ret_keys = false;
	json_array_foreach(items, i, item)
	{
		const char *method = json_string_value(json_object_get(item, "method"));

		if (method == NULL || json_is_true(json_object_get(item, "pending"))) {
			continue;
		}
		*ret_keys = *ret_keys || strcmp(method, "fido2") == 0;
		code = code == NULL && mfa_is_code(method) ? method : code;
	}
	return code;
}

/* What 401 means here: the session is fine, the proof is not. */
static int mfa_said(struct app *k, int rc)
{
	return rc == KLUIS_EUNAUTHENTICATED
		       ? err_set(&k->inv->err, rc,
				 "the code or the key's answer is wrong, too late or used")
		       : rc;
}

/* By a factor that counts. */
static int mfa_prove(struct app *k, json_t **ret_proof)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	const char *code;
	bool keys;
	int rc = mfa_factors(k, &items);

	if (rc != 0) {
		return rc;
	}
	code = mfa_proving(items, &keys);
	return fido_or_code(k->inv, k->profile, k->client, keys, code, ret_proof);
}

/* The cluster wants a session that is minutes old: the password is asked for. */
static int mfa_sign_in(struct app *k)
{
	struct signin s = {
		.inv = k->inv, .profile = k->profile, .client = k->client, .agent = k->agent};
	int rc;

	k->inv->err = (struct err){0};
	rc = signin_password(&s);
	rc = rc != 0 ? rc : signin_factor(&s);
	*(bool *)k->arg = rc == 0;
	account_login_release(&s.login);
	prompt_secret_release(&s.password);
	return rc;
}

/* The agent has a session of its own: that for this command ends with it. */
static int mfa_done(struct app *k, int rc)
{
	struct err ignored = {0};

	if (*(bool *)k->arg) {
		(void)(api_logout(k->client, &ignored) != 0);
		client_set_token(k->client, NULL);
		*(bool *)k->arg = false;
	}
	return rc;
}

/* Sends it; where the account has a factor that counts, once more with a proof by that; where it
 * has none, once more from a fresh session. */
static int mfa_send(
	struct app *k, const char *verb, const char *target, json_t *body, json_t **ret_answer)
{
	struct invocation *inv = k->inv;
	_cleanup_(json_dropp) json_t *request = body;
	json_t *proof = NULL;
	int rc = api_json(k->client, verb, target, json_deep_copy(request), CLIENT_AUTH, ret_answer,
		&inv->err);

	if (rc == KLUIS_EFORBIDDEN && k->agent != NULL) {
		rc = mfa_sign_in(k);
		return rc != 0 ? rc
			       : api_json(k->client, verb, target, json_deep_copy(request),
					 CLIENT_AUTH | CLIENT_ONCE, ret_answer, &inv->err);
	}
	if (rc != KLUIS_EMFA) {
		return rc;
	}
	inv->err = (struct err){0};
	rc = mfa_prove(k, &proof);
	if (rc != 0) {
		return rc;
	}
	(void)json_object_set_new(request, "proof", proof);
	rc = api_json(k->client, verb, target, json_deep_copy(request), CLIENT_AUTH | CLIENT_ONCE,
		ret_answer, &inv->err);
	return mfa_said(k, rc);
}

static void mfa_print(struct app *k, const char *id, const char *method, const char *state)
{
	static const struct output_column columns[] = {{"id", "Factor", OUTPUT_TEXT},
		{"method", "Method", OUTPUT_TEXT}, {"state", "State", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *record =
		json_pack("{s:s, s:s, s:s}", "id", id, "method", method, "state", state);

	output_record(&k->inv->out, columns, ARRAY_SIZE(columns), record);
}

/* The first code or assertion of a new factor. */
static int mfa_verify(struct app *k, const char *method, const char *id)
{
	_cleanup_(prompt_secret_release) struct buf code = BUF_INIT;
	json_t *proof = NULL;
	int rc;

	if (mfa_is_code(method)) {
		rc = secrets_code(k->inv, method, &code);
		proof = rc != 0 ? NULL
				: json_pack("{s:s, s:s, s:s}", "method", method, "code",
					  buf_str(&code), "id", id);
	} else {
		rc = fido_prove(k->inv, k->profile, k->client, id, &proof);
	}
	rc = rc != 0 ? rc
		     : api_json(k->client, "POST", "/v1/mfa/verify", proof,
			       CLIENT_AUTH | CLIENT_ONCE, NULL, &k->inv->err);
	return mfa_said(k, rc);
}

/* The seed goes where only the person sees it: a new file, or the terminal. */
static int mfa_show(struct app *k, const char *uri)
{
	const char *file = invocation_value(k->inv, "uri-file");
	_cleanup_(prompt_secret_release) struct buf text = BUF_INIT;

	buf_reserve(&text, strlen(uri) + 128);
	if (file != NULL) {
		buf_printf(&text, "%s\n", uri);
		return file_create(file, buf_bytes(&text), 0600, &k->inv->err);
	}
	buf_printf(
		&text, "For the authenticator app (as a QR code, or its 'secret'):\n  %s\n", uri);
	return prompt_show(buf_str(&text), &k->inv->err);
}

static int mfa_enrolled(struct app *k, const char *method, json_t *answer)
{
	struct json_reader r = json_reader_of(answer);
	const char *id = json_reader_string(&r, "id"), *uri = json_reader_string(&r, "uri");
	int rc = json_reader_end(&r, "second factor", &k->inv->err);

	if (rc == 0 && !otp_uri_plain(uri)) {
		rc = err_set(&k->inv->err, KLUIS_EPROTO, "second factor: 'uri' is no otpauth line");
	}
	rc = rc != 0 ? rc : mfa_show(k, uri);
	if (rc != 0) {
		return rc;
	}
	if (invocation_value(k->inv, "uri-file") != NULL) {
		output_note(&k->inv->out,
			"It counts from its first code on: 'kluis mfa confirm %s'.", id);
		mfa_print(k, id, method, "pending");
		return 0;
	}
	rc = mfa_verify(k, method, id);
	if (rc == 0) {
		mfa_print(k, id, method, "active");
	}
	return rc;
}

/* Found out before the seed is made: it is shown once. */
static int mfa_outlet(struct app *k)
{
	const char *file = invocation_value(k->inv, "uri-file");

	if (file == NULL && !prompt_possible()) {
		return err_set(&k->inv->err, KLUIS_EINVAL,
			"no terminal to show the seed at: say --uri-file");
	}
	return file != NULL && file_exists(file)
		       ? err_set(&k->inv->err, KLUIS_EEXIST, "'%s' is there already", file)
		       : 0;
}

static json_t *mfa_label(struct invocation *inv)
{
	return json_pack("{s:s*}", "label", invocation_value(inv, "label"));
}

static int mfa_add_codes(struct app *k, const char *method)
{
	_cleanup_(json_dropp) json_t *answer = NULL;
	char target[MFA_TARGET_MAX];
	int rc = mfa_outlet(k);

	(void)snprintf(target, sizeof target, "/v1/mfa/%s", method);
	rc = rc != 0 ? rc : mfa_send(k, "POST", target, mfa_label(k->inv), &answer);
	return rc != 0 ? rc : mfa_enrolled(k, method, answer);
}

static int mfa_add_list(struct app *k, const char *method, const char *member)
{
	_cleanup_(json_dropp) json_t *answer = NULL;
	json_t *body = mfa_label(k->inv), *list = json_array();
	char target[MFA_TARGET_MAX];
	struct json_reader r;
	const char *id;
	int rc;

	for (size_t i = 1; i < k->inv->n_args; i++) {
		(void)json_array_append_new(list, json_string(k->inv->args[i]));
	}
	(void)json_object_set_new(body, member, list);
	(void)snprintf(target, sizeof target, "/v1/mfa/%s", method);
	rc = mfa_send(k, "POST", target, body, &answer);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(answer);
	id = json_reader_string(&r, "id");
	rc = json_reader_end(&r, "second factor", &k->inv->err);
	if (rc == 0) {
		mfa_print(k, id, method, "active");
	}
	return rc;
}

static bool mfa_counts(const json_t *items)
{
	bool keys;

	return mfa_proving(items, &keys) != NULL || keys;
}

/* A challenge is worth one request: a proof that is needed is there before. */
static int mfa_fido_body(struct app *k, json_t **ret_body)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	json_t *proof = NULL;
	const char *label = invocation_value(k->inv, "label");
	int rc = mfa_factors(k, &items);

	rc = rc != 0 || !mfa_counts(items) ? rc : mfa_prove(k, &proof);
	rc = rc != 0 ? rc : fido_enrol(k->inv, k->profile, k->client, ret_body);
	if (rc != 0) {
		json_decref(proof);
		return rc;
	}
	if (label != NULL) {
		(void)json_object_set_new(*ret_body, "label", json_string(label));
	}
	if (proof != NULL) {
		(void)json_object_set_new(*ret_body, "proof", proof);
	}
	return 0;
}

/* *ret_stale: the cluster wants a fresh login. */
static int mfa_fido_once(struct app *k, json_t **ret_answer, bool *ret_stale)
{
	json_t *body = NULL;
	int rc = mfa_fido_body(k, &body);

	*ret_stale = false;
	if (rc != 0) {
		return rc;
	}
	rc = mfa_said(k, api_json(k->client, "POST", "/v1/mfa/fido2", body,
				 CLIENT_AUTH | CLIENT_ONCE, ret_answer, &k->inv->err));
	*ret_stale = rc == KLUIS_EFORBIDDEN;
	return rc;
}

static int mfa_add_fido(struct app *k)
{
	_cleanup_(json_dropp) json_t *answer = NULL;
	struct json_reader r;
	const char *id;
	bool stale;
	int rc = mfa_fido_once(k, &answer, &stale);

	if (stale && k->agent != NULL) { /* With another challenge. */
		rc = mfa_sign_in(k);
		rc = rc != 0 ? rc : mfa_fido_once(k, &answer, &stale);
	}
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(answer);
	id = json_reader_string(&r, "id");
	rc = json_reader_end(&r, "second factor", &k->inv->err);
	if (rc != 0) {
		return rc;
	}
	output_note(&k->inv->out, "It counts from its first answer on.");
	rc = mfa_verify(k, "fido2", id);
	if (rc != 0) {
		return err_wrap(&k->inv->err, rc,
			"the key is pending, 'kluis mfa confirm %.32s' makes it count", id);
	}
	mfa_print(k, id, "fido2", "active");
	return 0;
}

static int mfa_add_any(struct app *k)
{
	struct invocation *inv = k->inv;
	const char *method = inv->args[0];
	bool codes = mfa_is_code(method), key = strcmp(method, "fido2") == 0;
	bool lists = strcmp(method, "ip") == 0 || strcmp(method, "location") == 0;

	if (!codes && !lists && !key) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"'%s' is none of totp, hotp, fido2, ip and location", method);
	}
	if (lists == (inv->n_args == 1)) {
		return err_set(&inv->err, KLUIS_EINVAL, "%s",
			lists ? "say which networks or places"
			      : "totp, hotp and fido2 take nothing behind them");
	}
	return codes ? mfa_add_codes(k, method)
	       : key ? mfa_add_fido(k)
		     : mfa_add_list(k, method, strcmp(method, "ip") == 0 ? "networks" : "places");
}

static int mfa_add_body(struct app *k)
{
	return mfa_done(k, mfa_add_any(k));
}

int app_mfa_add(struct invocation *inv)
{
	bool signed_in = false;

	return app_run_with(inv, mfa_add_body, &signed_in);
}

/* The factor of this id, in items; NULL with the error set. */
static const json_t *mfa_find(struct app *k, const json_t *items, const char *id)
{
	const json_t *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		const char *its = json_string_value(json_object_get(item, "id"));

		if (its != NULL && strcmp(its, id) == 0) {
			return item;
		}
	}
	(void)err_set(&k->inv->err, KLUIS_ENOTFOUND, "no second factor '%s'", id);
	return NULL;
}

static int mfa_confirm_body(struct app *k)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	const json_t *item;
	const char *method, *id = k->inv->args[0];
	int rc = mfa_factors(k, &items);

	if (rc != 0) {
		return rc;
	}
	item = mfa_find(k, items, id);
	if (item == NULL) {
		return KLUIS_ENOTFOUND;
	}
	method = json_string_value(json_object_get(item, "method"));
	if (!mfa_is_code(method) && (method == NULL || strcmp(method, "fido2") != 0)) {
		return err_set(&k->inv->err, KLUIS_EINVAL, "'%s' needs no proof", id);
	}
	rc = mfa_verify(k, method, id);
	if (rc == 0) {
		mfa_print(k, id, method, "active");
	}
	return rc;
}

int app_mfa_confirm(struct invocation *inv)
{
	return app_run(inv, mfa_confirm_body);
}

static int mfa_remove_body(struct app *k)
{
	const char *id = k->inv->args[0];
	_cleanup_(json_dropp) json_t *items = NULL;
	char target[MFA_TARGET_MAX];
	int rc = mfa_factors(k, &items);

	if (rc != 0) {
		return rc;
	}
	if (mfa_find(k, items, id) == NULL) {
		return KLUIS_ENOTFOUND;
	}
	(void)snprintf(target, sizeof target, "/v1/mfa/%.32s", id);
	return mfa_done(k, mfa_send(k, "DELETE", target, json_object(), NULL));
}

int app_mfa_remove(struct invocation *inv)
{
	bool signed_in = false;

	return app_run_with(inv, mfa_remove_body, &signed_in);
}

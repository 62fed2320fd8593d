/* kluis-fido: what kluis runs to speak with a FIDO2 or U2F key on USB (docs/format-fido-helper.md).
 * One request on standard input, the answer on standard output; by libfido2. */
#include <fido.h>
#include <fido/es256.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

enum {
	KEYS_MAX = 8,
	KEY_WAIT_MS = 30 * 1000, /* For a touch. */
	REQUEST_BYTES_MAX = 64 * 1024,
	CREDENTIALS_MAX = 16,
	CREDENTIAL_BYTES_MAX = 1023, /* WebAuthn 6.5.1. */
	USER_ID_BYTES_MAX = 64,	     /* WebAuthn 5.4.3. */
};

struct request {
	bool create;
	const char *rp_id, *user, *pin; /* The JSON's; pin may be NULL. */
	uint8_t hash[HASH_BYTES];	/* Of client data. */
	struct buf user_id;
	size_t n;
	struct buf credential[CREDENTIALS_MAX];
};

struct key_error {
	int fido;
	const char *name;
};

/* What kluis can do something about; the rest is "failed". */
static const struct key_error key_errors[] = {
	{FIDO_ERR_PIN_REQUIRED, "pin-required"},
	{FIDO_ERR_PIN_INVALID, "pin-wrong"},
	{FIDO_ERR_PIN_AUTH_INVALID, "pin-wrong"},
	{FIDO_ERR_PIN_BLOCKED, "pin-blocked"},
	{FIDO_ERR_PIN_AUTH_BLOCKED, "pin-blocked"},
	{FIDO_ERR_UV_BLOCKED, "pin-blocked"},
	{FIDO_ERR_CREDENTIAL_EXCLUDED, "excluded"},
	{FIDO_ERR_NO_CREDENTIALS, "no-credential"},
	{FIDO_ERR_OPERATION_DENIED, "denied"},
	{FIDO_ERR_KEEPALIVE_CANCEL, "denied"},
	{FIDO_ERR_USER_ACTION_TIMEOUT, "denied"},
	{FIDO_ERR_ACTION_TIMEOUT, "denied"},
	{FIDO_ERR_TIMEOUT, "denied"},
};

static void say(json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT);

	(void)printf("%s\n", text == NULL ? "{}" : text);
	(void)fflush(stdout);
	free(text);
	json_decref(line);
}

static int say_error(const char *name, const char *detail)
{
	say(json_pack("{s:s, s:s}", "error", name, "detail", detail));
	return 0;
}

static int say_failed(int rc)
{
	const char *name = "failed";

	for (size_t i = 0; i < ARRAY_SIZE(key_errors); i++) {
		name = key_errors[i].fido == rc ? key_errors[i].name : name;
	}
	return say_error(name, fido_strerr(rc));
}

static void say_touch(void)
{
	say(json_pack("{s:s}", "event", "touch"));
}

static void request_release(struct request *r)
{
	buf_release(&r->user_id);
	for (size_t i = 0; i < CREDENTIALS_MAX; i++) {
		buf_release(&r->credential[i]);
	}
}

static int request_credentials(struct request *r, const json_t *list, struct err *e)
{
	if (json_array_size(list) > CREDENTIALS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d credentials", CREDENTIALS_MAX);
	}
	for (r->n = 0; r->n < json_array_size(list); r->n++) {
		const char *text = json_string_value(json_array_get(list, r->n));
		int rc = text == NULL ? KLUIS_EINVAL
				      : base64_decode(bytes_str(text), CREDENTIAL_BYTES_MAX,
						&r->credential[r->n]);

		if (rc != 0) {
			return err_set(e, KLUIS_EINVAL, "'credentials' holds no credential id");
		}
	}
	return 0;
}

static int request_take(struct request *r, const json_t *object, struct err *e)
{
	struct json_reader reader = json_reader_of(object);
	uint64_t version = json_reader_u64(&reader, "version");
	const char *operation = json_reader_string(&reader, "operation");
	const json_t *credentials = json_reader_array(&reader, "credentials");
	int rc;

	r->rp_id = json_reader_string(&reader, "rp_id");
	r->pin = json_reader_string_or(&reader, "pin", NULL);
	json_reader_hex(&reader, "client_data_hash", r->hash, sizeof r->hash);
	r->create = operation != NULL && strcmp(operation, "create") == 0;
	if (r->create) {
		r->user = json_reader_string(&reader, "user");
		json_reader_base64(&reader, "user_id", USER_ID_BYTES_MAX, &r->user_id);
	}
	rc = json_reader_end(&reader, "request", e);
	if (rc == 0 && (version != 1 || (!r->create && strcmp(operation, "get") != 0))) {
		rc = err_set(e, KLUIS_EVERSION, "neither 'create' nor 'get' of version 1");
	}
	return rc != 0 ? rc : request_credentials(r, credentials, e);
}

/* --- keys ------------------------------------------------------------------------------------ */

static fido_dev_t *key_open(const fido_dev_info_t *list, size_t i, int *ret_rc)
{
	fido_dev_t *dev = fido_dev_new();

	*ret_rc = dev == NULL ? FIDO_ERR_INTERNAL
			      : fido_dev_open(dev, fido_dev_info_path(fido_dev_info_ptr(list, i)));
	if (*ret_rc == FIDO_OK) {
		*ret_rc = fido_dev_set_timeout(dev, KEY_WAIT_MS);
	}
	if (*ret_rc != FIDO_OK) {
		fido_dev_free(&dev);
	}
	return dev;
}

static void key_close(fido_dev_t *dev)
{
	(void)fido_dev_close(dev); /* What it answered is there. */
	fido_dev_free(&dev);
}

static int assert_prepare(const struct request *r, fido_assert_t *a)
{
	int rc = fido_assert_set_rp(a, r->rp_id);

	rc = rc != FIDO_OK ? rc : fido_assert_set_clientdata_hash(a, r->hash, sizeof r->hash);
	for (size_t i = 0; rc == FIDO_OK && i < r->n; i++) {
		rc = fido_assert_allow_cred(a, r->credential[i].data, r->credential[i].len);
	}
	return rc;
}

/* Whether the key knows one of the credentials; asked without a touch. */
static bool key_knows(const struct request *r, fido_dev_t *dev)
{
	fido_assert_t *a = fido_assert_new();
	int rc = a == NULL ? FIDO_ERR_INTERNAL : assert_prepare(r, a);

	rc = rc != FIDO_OK ? rc : fido_assert_set_up(a, FIDO_OPT_FALSE);
	rc = rc != FIDO_OK ? rc : fido_dev_get_assert(dev, a, NULL);
	fido_assert_free(&a);
	return rc == FIDO_OK || rc == FIDO_ERR_USER_PRESENCE_REQUIRED;
}

/* The one key that is to answer, of several one that knows a credential (or, for a new one, the
 * only one that knows none); or NULL after saying why there is none. */
static fido_dev_t *key_choose(const struct request *r, const fido_dev_info_t *list, size_t n)
{
	int rc = FIDO_ERR_NO_CREDENTIALS;
	fido_dev_t *chosen = NULL;
	bool many = false;

	if (n == 0) {
		(void)say_error("no-key", "no FIDO2 key is plugged in");
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		int opened;
		fido_dev_t *dev = key_open(list, i, &opened);

		if (dev == NULL) {
			rc = opened;
		} else if (chosen == NULL && (n == 1 || key_knows(r, dev) != r->create)) {
			chosen = dev;
		} else {
			many = many || (r->create && !key_knows(r, dev));
			key_close(dev);
		}
	}
	if (chosen != NULL && many) {
		key_close(chosen);
		(void)say_error("many-keys", "several keys could be enrolled: leave one");
		return NULL;
	}
	if (chosen == NULL) {
		(void)say_failed(r->create && rc == FIDO_ERR_NO_CREDENTIALS
					 ? FIDO_ERR_CREDENTIAL_EXCLUDED
					 : rc);
	}
	return chosen;
}

static int create_prepare(const struct request *r, fido_cred_t *cred)
{
	int rc = fido_cred_set_type(cred, COSE_ES256);

	rc = rc != FIDO_OK ? rc : fido_cred_set_clientdata_hash(cred, r->hash, sizeof r->hash);
	rc = rc != FIDO_OK ? rc : fido_cred_set_rp(cred, r->rp_id, r->rp_id);
	rc = rc != FIDO_OK ? rc
			   : fido_cred_set_user(
				     cred, r->user_id.data, r->user_id.len, r->user, r->user, NULL);
	for (size_t i = 0; rc == FIDO_OK && i < r->n; i++) {
		rc = fido_cred_exclude(cred, r->credential[i].data, r->credential[i].len);
	}
	return rc;
}

/* Attestation is not asked about: whose make a key is does not matter. */
static int create(const struct request *r, fido_dev_t *dev)
{
	fido_cred_t *cred = fido_cred_new();
	int rc = cred == NULL ? FIDO_ERR_INTERNAL : create_prepare(r, cred);

	if (rc == FIDO_OK) {
		say_touch();
		rc = fido_dev_make_cred(dev, cred, r->pin);
	}
	if (rc == FIDO_OK) {
		say(json_pack("{s:o}", "auth_data",
			json_base64(bytes_of(fido_cred_authdata_raw_ptr(cred),
				fido_cred_authdata_raw_len(cred)))));
	}
	fido_cred_free(&cred);
	return rc;
}

/* libfido2 gives it as a CBOR byte string (RFC 8949 3.1). */
static struct bytes assert_auth_data(const fido_assert_t *a)
{
	const uint8_t *data = fido_assert_authdata_ptr(a, 0);
	size_t len = fido_assert_authdata_len(a, 0);
	size_t head = len < 1		? 0
		      : data[0] < 0x58	? 1
		      : data[0] == 0x58 ? 2
		      : data[0] == 0x59 ? 3
					: len;

	return head <= len ? bytes_of(data + head, len - head) : bytes_of(NULL, 0);
}

static int get(const struct request *r, fido_dev_t *dev)
{
	fido_assert_t *a = fido_assert_new();
	int rc = a == NULL ? FIDO_ERR_INTERNAL : assert_prepare(r, a);

	rc = rc != FIDO_OK ? rc : fido_assert_set_up(a, FIDO_OPT_TRUE);
	if (rc == FIDO_OK) {
		say_touch();
		rc = fido_dev_get_assert(dev, a, r->pin);
	}
	if (rc == FIDO_OK && fido_assert_count(a) == 0) {
		rc = FIDO_ERR_NO_CREDENTIALS;
	}
	if (rc == FIDO_OK) {
		say(json_pack("{s:o, s:o}", "auth_data", json_base64(assert_auth_data(a)),
			"signature",
			json_base64(
				bytes_of(fido_assert_sig_ptr(a, 0), fido_assert_sig_len(a, 0)))));
	}
	fido_assert_free(&a);
	return rc;
}

static int answer(const struct request *r)
{
	fido_dev_info_t *list = fido_dev_info_new(KEYS_MAX);
	fido_dev_t *dev = NULL;
	size_t n = 0;
	int rc = list == NULL ? FIDO_ERR_INTERNAL : fido_dev_info_manifest(list, KEYS_MAX, &n);

	if (rc == FIDO_OK) {
		dev = key_choose(r, list, n);
	}
	if (dev != NULL) {
		rc = r->create ? create(r, dev) : get(r, dev);
		key_close(dev);
	}
	fido_dev_info_free(&list, KEYS_MAX);
	return rc == FIDO_OK ? 0 : say_failed(rc);
}

static int run(struct bytes text, struct err *e)
{
	_cleanup_(json_dropp) json_t *object = NULL;
	struct request r = {.create = false};
	int rc = json_object_parse(text, &object, e);

	rc = rc != 0 ? rc : request_take(&r, object, e);
	if (rc == 0) {
		fido_init(0);
		rc = answer(&r);
	}
	request_release(&r);
	return rc;
}

int main(int argc, char **argv)
{
	static uint8_t text[REQUEST_BYTES_MAX];
	struct err e = {0};
	size_t len;
	int rc;

	if (argc != 1) {
		(void)fprintf(stderr, "usage: %s <request: kluis runs it\n", argv[0]);
		return 2;
	}
	len = fread(text, 1, sizeof text, stdin);
	rc = run(bytes_of(text, len), &e);
	secret_clear(text, sizeof text); /* There may be a PIN in it. */
	if (rc != 0) {
		(void)fprintf(stderr, "kluis-fido: %s\n", e.text);
		return 2;
	}
	return 0;
}

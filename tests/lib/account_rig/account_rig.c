#include "tests/lib/account_rig/account_rig.h"

#include <string.h>

#include "base/file.h"
#include "cli/client/json_reader.h"
#include "cli/client/put.h"
#include "crypto/hash.h"
#include "crypto/password.h"

const char old_password[] = "correct horse battery staple";
const char new_password[] = "an umbrella for tuesday morning";

struct lie lie, more_lies[LIES_MORE];

static void lie_json(const struct lie *l, struct buf *body)
{
	_cleanup_(buf_release) struct buf raw = BUF_INIT;
	json_t *object = json_loadb((const char *)body->data, body->len, 0, NULL);
	const char *old;

	assert_non_null(object);
	old = json_string_value(json_object_get(object, l->member));
	assert_true(old != NULL || l->kind == LIE_NUMBER);
	if (l->kind == LIE_NUMBER) {
		(void)json_object_set_new(object, l->member, json_integer(l->number));
	} else if (l->kind == LIE_TEXT) {
		(void)json_object_set_new(object, l->member, json_string(l->text));
	} else {
		assert_int_equal(base64_decode(bytes_str(old), 1 << 20, &raw), 0);
		raw.data[l->at] ^= 1;
		(void)json_object_set_new(object, l->member, json_base64(buf_bytes(&raw)));
	}
	buf_clear(body);
	json_take_text(object, body);
}

static void lie_about(struct lie *l, struct buf *body)
{
	l->struck++;
	if (l->member != NULL) {
		lie_json(l, body);
	} else if (l->kind == LIE_REPLACE) {
		buf_clear(body);
		buf_append_bytes(body, l->instead);
	} else {
		body->data[l->at] ^= 1;
	}
}

static bool lie_strikes(const struct lie *l, const char *target)
{
	return l->kind != LIE_NONE && (l->times == 0 || l->struck < l->times) &&
	       strncmp(target, l->target, strlen(l->target)) == 0;
}

/* The one that is told about this target, or NULL. */
static struct lie *lie_for(const char *target)
{
	for (size_t i = 0; i < LIES_MORE; i++) {
		if (lie_strikes(&more_lies[i], target)) {
			return &more_lies[i];
		}
	}
	return lie_strikes(&lie, target) ? &lie : NULL;
}

int __real_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);
int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);

int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	struct lie *l = lie_for(request->target);
	int rc;

	if (l != NULL && l->kind == LIE_INVENT) {
		l->struck++;
		answer->status = 200;
		buf_append_bytes(&answer->body, l->instead);
		return 0;
	}
	if (l != NULL && l->kind == LIE_MEANWHILE) {
		l->struck++;
		l->meanwhile(l->of);
		return __real_client_call(client, request, answer, e);
	}
	rc = l != NULL && l->kind == LIE_REFUSE ? 0
						: __real_client_call(client, request, answer, e);
	if (l != NULL && (l->kind == LIE_LOSE || l->kind == LIE_REFUSE)) {
		l->struck++;
		http_answer_release(answer);
		return err_set(e, l->rc, "as the test wants it");
	}
	if (rc == 0 && l != NULL && answer->body.len > 0) {
		lie_about(l, &answer->body);
	}
	return rc;
}

/* Passwords stretched so far, and the last block; `derived_stop`: none is, from now on. */
unsigned derived;
struct kdf derived_kdf;
bool derived_stop;

int __real_password_derive(struct bytes prepared, struct bytes user, const struct kdf *kdf,
	struct bytes account_key, struct password_keys *ret_keys, struct err *e);
int __wrap_password_derive(struct bytes prepared, struct bytes user, const struct kdf *kdf,
	struct bytes account_key, struct password_keys *ret_keys, struct err *e);

enum { QUICK_COUNT = 1000 };

/* As long as the counts say it takes a second each, which unit_crypto_password does. Here the
 * counts are in the salt: others, other keys. */
static int derive_quickly(struct bytes prepared, struct bytes user, const struct kdf *kdf,
	struct bytes account_key, struct password_keys *ret_keys, struct err *e)
{
	struct kdf quick = {
		.flags = kdf->flags, .login_count = QUICK_COUNT, .keyring_count = 2 * QUICK_COUNT};
	uint8_t block[KDF_BYTES], of[HASH_BYTES];

	kdf_encode(kdf, block);
	HASH_TH(of, "kluis/v1/test", bytes_of(block, sizeof block));
	memcpy(quick.salt, of, sizeof quick.salt);
	return __real_password_derive(prepared, user, &quick, account_key, ret_keys, e);
}

int __wrap_password_derive(struct bytes prepared, struct bytes user, const struct kdf *kdf,
	struct bytes account_key, struct password_keys *ret_keys, struct err *e)
{
	derived++;
	derived_kdf = *kdf;
	if (derived_stop) {
		return err_set(e, KLUIS_EINTERNAL, "not in this test");
	}
	return derive_quickly(prepared, user, kdf, account_key, ret_keys, e);
}

void lie_end(void)
{
	assert_int_not_equal(lie.struck, 0);
	for (size_t i = 0; i < LIES_MORE; i++) {
		assert_true(more_lies[i].kind == LIE_NONE || more_lies[i].struck > 0);
	}
	memset(&lie, 0, sizeof lie);
	memset(more_lies, 0, sizeof more_lies);
}

struct account_terms cheap(void)
{
	return (struct account_terms){.login_count = KDF_LOGIN_MIN, .suites = {.rsa_bits = 2048}};
}

void device_open_as(struct fixture *f, struct device *d, const char *name, const char *user)
{
	const char *endpoint = f->url;

	d->dir = x_asprintf("%s/%s", f->dir, name);
	MUST(f, person_make(d->dir, &f->cluster, user, &endpoint, 1, &d->profile, &f->err));
	MUST(f, session_client(d->profile, NULL, 5000, &d->client, &f->err));
}

void device_open(struct fixture *f, struct device *d, const char *name)
{
	device_open_as(f, d, name, "alice");
}

void device_close(struct device *d)
{
	client_free(d->client);
	profile_close(d->profile);
	free(d->dir);
	*d = (struct device){0};
}

/* As another run of the program. */
void device_reopen(struct fixture *f, struct device *d)
{
	client_free(d->client);
	profile_close(d->profile);
	d->client = NULL;
	d->profile = NULL;
	MUST(f, profile_open(d->dir, &d->profile, &f->err));
	MUST(f, session_client(d->profile, NULL, 5000, &d->client, &f->err));
}

int login(struct fixture *f, struct device *d, const char *password, struct bytes key,
	struct account_login *login)
{
	f->err = (struct err){0};
	return account_login(
		d->profile, d->client, bytes_of(password, strlen(password)), key, login, &f->err);
}

/* Signs in and unlocks. */
int enter(struct fixture *f, struct device *d, const char *password, struct bytes key)
{
	struct account_login in = {.root = SECRET_INIT};
	int rc = login(f, d, password, key, &in);

	rc = rc != 0 ? rc : account_unlock(d->profile, d->client, &in, &f->err);
	account_login_release(&in);
	return rc;
}

int registration(struct fixture *f, struct device *d, const char *password)
{
	struct account_registration r = {.password = bytes_of(password, strlen(password)),
		.device_name = "laptop",
		.terms = cheap()};

	if (f->node.config.rsa_bits != 0) {
		r.terms.suites = (struct suites){.group = 0}; /* What the node asks for. */
	}

	f->err = (struct err){0};
	return account_register(d->profile, d->client, &r, &f->code, &f->err);
}

static int begin(void **state, struct fixture *f)
{
	struct client_config config = {.n_endpoints = 1};
	const char *endpoint = f->url;
	struct client *client;

	memset(&lie, 0, sizeof lie);
	memset(more_lies, 0, sizeof more_lies);
	derived_stop = false;
	f->dir = scratch_new("account");
	f->node.config.registration = REGISTRATION_OPEN;
	api_node_run(&f->node);
	(void)snprintf(f->url, sizeof f->url, "https://127.0.0.1:%u", api_port(f->node.api));
	config.endpoints = &endpoint;
	config.ca_pem = buf_bytes(&f->node.ca.cert_pem);
	MUST(f, client_new(&config, &client, &f->err));
	MUST(f, api_well_known(client, &f->cluster, &f->err));
	client_free(client);
	device_open(f, &f->first, "first");
	MUST(f, registration(f, &f->first, old_password));
	*state = f;
	return 0;
}

int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	return begin(state, f);
}

int setup_suites(void **state, unsigned curve)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	f->node.config.srp_group = SRP_GROUP_2048;
	f->node.config.aes = SYM_AES_128;
	f->node.config.rsa_bits = 4096;
	f->node.config.curve = curve;
	return begin(state, f);
}

int teardown(void **state)
{
	struct fixture *f = *state;

	device_close(&f->first);
	if (f->second.dir != NULL) {
		device_close(&f->second);
	}
	secret_release(&f->code);
	api_cluster_release(&f->cluster);
	api_node_stop(&f->node);
	scratch_free(f->dir);
	free(f);
	return 0;
}

struct bytes account_key(const struct fixture *f)
{
	return secret_bytes(&f->first.profile->person->account_key);
}

void put_note(struct fixture *f, struct device *d, const char *name)
{
	uint8_t id[ID_BYTES];
	struct vault *vault;

	MUST(f, vault_create(d->profile, d->client, name, id, &f->err));
	MUST(f, vault_open(d->profile, d->client, name, &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	assert_int_equal(vault->n_keys, 1);
	vault_close(vault);
}

int try_text(struct fixture *f, struct device *d, const char *name, const char *text)
{
	_cleanup_(x_freep) char *local = x_asprintf("%s/text", f->dir);
	const struct put_config config = {.force = true};
	struct put_result result;
	struct vault *vault;
	struct put *put;
	bool is_local;
	int rc;

	MUST(f, file_write(local, bytes_str(text), 0600, &f->err));
	MUST(f, vault_open(d->profile, d->client, name, &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	MUST(f, put_new(vault, &config, &put, &f->err));
	rc = put_file(put, local, "/text", &is_local, &f->err);
	rc = rc != 0 ? rc : put_finish(put, &result, &f->err);
	put_free(put);
	vault_close(vault);
	return rc;
}

void put_text(struct fixture *f, struct device *d, const char *name, const char *text)
{
	MUST(f, try_text(f, d, name, text));
}

int sync_named(struct fixture *f, struct device *d, const char *name)
{
	struct vault *vault;
	int rc;

	f->err = (struct err){0};
	rc = vault_open(d->profile, d->client, name, &vault, &f->err);
	if (rc == 0) {
		rc = vault_sync(vault, &f->err);
		vault_close(vault);
	}
	return rc;
}

void lose_outcome(struct fixture *f, bool lose)
{
	(void)pthread_mutex_lock(&f->node.lock);
	f->node.lose_outcome = lose;
	(void)pthread_mutex_unlock(&f->node.lock);
}

void add_second(struct fixture *f)
{
	add_second_by(f, old_password, "second");
}

void add_second_by(struct fixture *f, const char *password, const char *name)
{
	enum account_device_state added;
	struct account_device *devices;
	size_t n, pending = 0;

	device_open(f, &f->second, name);
	assert_int_equal(enter(f, &f->second, password, bytes_of(NULL, 0)), KLUIS_EINVAL);
	MUST(f, enter(f, &f->second, password, account_key(f)));
	assert_false(f->second.profile->enrolled);
	MUST(f, account_device_add(f->second.profile, f->second.client, "phone", &added, &f->err));
	assert_int_equal(added, ACCOUNT_DEVICE_PENDING);
	assert_int_equal(
		account_device_begin(f->second.profile, f->second.client, NULL), KLUIS_EAGAIN);
	MUST(f, account_devices(f->first.profile, f->first.client, &devices, &n, &f->err));
	for (size_t i = 0; i < n; i++) {
		pending += devices[i].state == ACCOUNT_DEVICE_PENDING;
		if (devices[i].state == ACCOUNT_DEVICE_PENDING) {
			assert_string_equal(devices[i].name, "phone");
			assert_false(devices[i].mine);
		}
	}
	assert_int_equal(pending, 1);
	account_devices_free(devices, n);
	MUST(f, account_device_approve(f->first.profile, f->first.client,
			f->second.profile->device_id,
			key_pub_kid(key_public(f->second.profile->device)), &f->err));
	MUST(f, account_device_begin(f->second.profile, f->second.client, &f->err));
	assert_int_equal(person_ready(f->second.profile, &f->err), 0);
}

int passwd(struct fixture *f, struct device *d, const char *password)
{
	struct account_terms terms = cheap();

	f->err = (struct err){0};
	return account_passwd(d->profile, d->client, bytes_of(password, strlen(password)), &terms,
		&f->code, &f->err);
}

void kdf_text(unsigned flags, char text[BASE64_LEN(KDF_BYTES) + 1])
{
	struct kdf kdf = {
		.flags = flags, .login_count = KDF_LOGIN_MIN, .keyring_count = 2 * KDF_LOGIN_MIN};
	uint8_t block[KDF_BYTES];

	kdf_encode(&kdf, block);
	base64_encode(bytes_of(block, sizeof block), text);
}

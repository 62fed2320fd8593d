/* The flows of a person's account against the API of a real node, and against one that lies: what
 * the node answers is changed on its way into the client. */
#include "tests/lib/api/node.h"
#include "tests/lib/test.h"

#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/json_reader.h"
#include "cli/client/session.h"
#include "cli/client/vault.h"
/* The test clients of the API have a struct of this name. */
#include "cli/client/account.h"

static const char old_password[] = "correct horse battery staple";
static const char new_password[] = "an umbrella for tuesday morning";

/* What is done to answers whose target begins with `target`: in body or, when it is JSON, in one
 * member. LIE_LOSE: it is done, and the caller gets `rc`; LIE_REFUSE: it is not even asked. */
static struct lie {
	const char *target, *member;
	enum {
		LIE_NONE,
		LIE_FLIP,
		LIE_REPLACE,
		LIE_TEXT,
		LIE_NUMBER,
		LIE_LOSE,
		LIE_REFUSE,
		LIE_INVENT, /* `instead`, without asking. */
	} kind;
	size_t at; /* Of the byte to flip, in the member's value. */
	struct bytes instead;
	const char *text;
	json_int_t number;
	int rc;
	unsigned times; /* At most so often; 0: always. */
	unsigned struck;
} lie;

static void lie_json(struct buf *body)
{
	_cleanup_(buf_release) struct buf raw = BUF_INIT;
	json_t *object = json_loadb((const char *)body->data, body->len, 0, NULL);
	const char *old;

	assert_non_null(object);
	old = json_string_value(json_object_get(object, lie.member));
	assert_true(old != NULL || lie.kind == LIE_NUMBER);
	if (lie.kind == LIE_NUMBER) {
		(void)json_object_set_new(object, lie.member, json_integer(lie.number));
	} else if (lie.kind == LIE_TEXT) {
		(void)json_object_set_new(object, lie.member, json_string(lie.text));
	} else {
		assert_int_equal(base64_decode(bytes_str(old), 1 << 20, &raw), 0);
		raw.data[lie.at] ^= 1;
		(void)json_object_set_new(object, lie.member, json_base64(buf_bytes(&raw)));
	}
	buf_clear(body);
	json_take_text(object, body);
}

static void lie_about(struct buf *body)
{
	lie.struck++;
	if (lie.member != NULL) {
		lie_json(body);
	} else if (lie.kind == LIE_REPLACE) {
		buf_clear(body);
		buf_append_bytes(body, lie.instead);
	} else {
		body->data[lie.at] ^= 1;
	}
}

int __real_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);
int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);

int __wrap_client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e)
{
	bool strikes = lie.kind != LIE_NONE && (lie.times == 0 || lie.struck < lie.times) &&
		       strncmp(request->target, lie.target, strlen(lie.target)) == 0;
	int rc;

	if (strikes && lie.kind == LIE_INVENT) {
		lie.struck++;
		answer->status = 200;
		buf_append_bytes(&answer->body, lie.instead);
		return 0;
	}
	rc = strikes && lie.kind == LIE_REFUSE ? 0 : __real_client_call(client, request, answer, e);

	if (strikes && (lie.kind == LIE_LOSE || lie.kind == LIE_REFUSE)) {
		lie.struck++;
		http_answer_release(answer);
		return err_set(e, lie.rc, "as the test wants it");
	}
	if (rc == 0 && strikes && answer->body.len > 0) {
		lie_about(&answer->body);
	}
	return rc;
}

/* Passwords stretched so far, and the last block; `derived_stop`: none is, from now on. */
static unsigned derived;
static struct kdf derived_kdf;
static bool derived_stop;

int __real_password_derive(struct bytes prepared, struct bytes user, const struct kdf *kdf,
	struct bytes account_key, struct password_keys *ret_keys, struct err *e);
int __wrap_password_derive(struct bytes prepared, struct bytes user, const struct kdf *kdf,
	struct bytes account_key, struct password_keys *ret_keys, struct err *e);

int __wrap_password_derive(struct bytes prepared, struct bytes user, const struct kdf *kdf,
	struct bytes account_key, struct password_keys *ret_keys, struct err *e)
{
	derived++;
	derived_kdf = *kdf;
	return derived_stop ? err_set(e, KLUIS_EINTERNAL, "not in this test")
			    : __real_password_derive(prepared, user, kdf, account_key, ret_keys, e);
}

static void lie_end(void)
{
	assert_int_not_equal(lie.struck, 0);
	memset(&lie, 0, sizeof lie);
}

/* One device of alice: its profile and its client. */
struct device {
	char *dir;
	struct profile *profile;
	struct client *client;
};

struct fixture {
	struct api_node node;
	struct api_cluster cluster;
	char *dir, url[64];
	struct secrets secrets;
	struct device first, second;
	struct secret code;
	struct err err;
};

#define MUST(f, call)                                               \
	do {                                                        \
		int must_rc = (call);                               \
		if (must_rc != 0) {                                 \
			fail_msg("%d: %s", must_rc, (f)->err.text); \
		}                                                   \
	} while (0)

static struct account_terms cheap(void)
{
	return (struct account_terms){.login_count = KDF_LOGIN_MIN, .rsa_bits = 2048};
}

static void device_open_as(struct fixture *f, struct device *d, const char *name, const char *user)
{
	const char *endpoint = f->url;

	d->dir = x_asprintf("%s/%s", f->dir, name);
	MUST(f, person_make(d->dir, &f->cluster, user, &endpoint, 1, &d->profile, &f->err));
	MUST(f, session_client(d->profile, NULL, 5000, &d->client, &f->err));
}

static void device_open(struct fixture *f, struct device *d, const char *name)
{
	device_open_as(f, d, name, "alice");
}

static void device_close(struct device *d)
{
	client_free(d->client);
	profile_close(d->profile);
	free(d->dir);
	*d = (struct device){0};
}

/* As another run of the program. */
static void device_reopen(struct fixture *f, struct device *d)
{
	client_free(d->client);
	profile_close(d->profile);
	d->client = NULL;
	d->profile = NULL;
	MUST(f, profile_open(d->dir, &d->profile, &f->err));
	MUST(f, session_client(d->profile, NULL, 5000, &d->client, &f->err));
}

static int login(struct fixture *f, struct device *d, const char *password, struct bytes key,
	struct account_login *login)
{
	f->err = (struct err){0};
	return account_login(
		d->profile, d->client, bytes_of(password, strlen(password)), key, login, &f->err);
}

/* Signs in and unlocks. */
static int enter(struct fixture *f, struct device *d, const char *password, struct bytes key)
{
	struct account_login in = {.root = SECRET_INIT};
	int rc = login(f, d, password, key, &in);

	rc = rc != 0 ? rc : account_unlock(d->profile, d->client, &in, &f->err);
	account_login_release(&in);
	return rc;
}

static int registration(struct fixture *f, struct device *d, const char *password)
{
	struct account_registration r = {.password = bytes_of(password, strlen(password)),
		.device_name = "laptop",
		.terms = cheap()};

	f->err = (struct err){0};
	return account_register(d->profile, d->client, &r, &f->code, &f->err);
}

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);
	struct client_config config = {.n_endpoints = 1};
	const char *endpoint = f->url;
	struct client *client;

	memset(&lie, 0, sizeof lie);
	derived_stop = false;
	f->dir = scratch_new("account");
	api_node_prepare(&f->node);
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

static int teardown(void **state)
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

static struct bytes account_key(const struct fixture *f)
{
	return secret_bytes(&f->first.profile->person->account_key);
}

static void put_note(struct fixture *f, struct device *d, const char *name)
{
	uint8_t id[ID_BYTES];
	struct vault *vault;

	MUST(f, vault_create(d->profile, d->client, name, id, &f->err));
	MUST(f, vault_open(d->profile, d->client, name, &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	assert_int_equal(vault->n_keys, 1);
	vault_close(vault);
}

static void test_register(void **state)
{
	struct fixture *f = *state;
	struct device again = {0};
	json_t *account;
	struct json_reader r;

	assert_int_equal(f->code.len, RECOVERY_SECRET_BYTES);
	assert_int_equal(person_ready(f->first.profile, &f->err), 0);
	assert_int_equal(f->first.profile->identity.seq, 2);
	MUST(f, account_show(f->first.client, &account, &f->err));
	r = json_reader_of(account);
	assert_string_equal(json_reader_string(&r, "user"), "alice");
	assert_int_equal(json_reader_u64(&r, "devices"), 1);
	json_decref(account);
	put_note(f, &f->first, "diary");
	assert_int_equal(registration(f, &f->first, old_password), KLUIS_EEXIST);
	device_open(f, &again, "again");
	assert_int_equal(registration(f, &again, new_password), KLUIS_ECONFLICT);
	assert_int_equal(registration(f, &again, "password1234"), KLUIS_EINVAL);
	assert_int_equal(registration(f, &again, "short"), KLUIS_EINVAL);
	device_close(&again);
}

static void lose_outcome(struct fixture *f, bool lose)
{
	(void)pthread_mutex_lock(&f->node.lock);
	f->node.lose_outcome = lose;
	(void)pthread_mutex_unlock(&f->node.lock);
}

/* The answer to a registration is lost, and the process ends: the next run finds its keys, and the
 * account, and has a new recovery code to show. Another password does not cost those keys. */
static void test_register_lost(void **state)
{
	struct fixture *f = *state;
	struct device carol = {0};
	uint8_t user_id[ID_BYTES];

	device_open_as(f, &carol, "carol", "carol");
	lose_outcome(f, true);
	assert_int_equal(registration(f, &carol, old_password), KLUIS_EUNKNOWN_OUTCOME);
	lose_outcome(f, false);
	memcpy(user_id, carol.profile->user_id, ID_BYTES);
	device_reopen(f, &carol);
	assert_false(carol.profile->enrolled);
	assert_int_equal(registration(f, &carol, new_password), KLUIS_EVERIFY);
	MUST(f, registration(f, &carol, old_password));
	assert_memory_equal(carol.profile->user_id, user_id, ID_BYTES);
	assert_int_equal(person_ready(carol.profile, &f->err), 0);
	assert_int_equal(f->code.len, RECOVERY_SECRET_BYTES);
	put_note(f, &carol, "diary");
	device_reopen(f, &carol);
	assert_true(carol.profile->enrolled);
	device_close(&carol);
}

/* As test_register_lost(), and then the node says that there is no such account: the keys are the
 * only ones, whatever it says. */
static void test_register_denied(void **state)
{
	struct fixture *f = *state;
	struct device carol = {0};
	uint8_t user_id[ID_BYTES];

	device_open_as(f, &carol, "carol", "carol");
	lie = (struct lie){.target = "/v1/register", .kind = LIE_LOSE, .rc = KLUIS_ETIMEOUT};
	assert_int_equal(registration(f, &carol, old_password), KLUIS_ETIMEOUT);
	lie_end();
	memcpy(user_id, carol.profile->user_id, ID_BYTES);
	device_reopen(f, &carol);
	lie = (struct lie){.target = "/v1/", .kind = LIE_REFUSE, .rc = KLUIS_ECONFLICT};
	assert_int_equal(registration(f, &carol, old_password), KLUIS_ECONFLICT);
	lie_end();
	lie = (struct lie){
		.target = "/v1/login/", .kind = LIE_REFUSE, .rc = KLUIS_EUNAUTHENTICATED};
	assert_int_equal(registration(f, &carol, old_password), KLUIS_EUNAUTHENTICATED);
	lie_end();
	device_reopen(f, &carol);
	MUST(f, registration(f, &carol, old_password));
	assert_memory_equal(carol.profile->user_id, user_id, ID_BYTES);
	assert_int_equal(person_ready(carol.profile, &f->err), 0);
	device_close(&carol);
}

/* A password takes a second to stretch: once for a registration; where it goes on, once for what is
 * there and once for the new code. The code is handed out as soon as the account is there. */
static void test_register_work(void **state)
{
	struct fixture *f = *state;
	struct device carol = {0}, dave = {0};
	unsigned before = derived;

	device_open_as(f, &carol, "carol", "carol");
	lie = (struct lie){.target = "/v1/register", .kind = LIE_REFUSE, .rc = KLUIS_ECONNECT};
	assert_int_equal(registration(f, &carol, old_password), KLUIS_ECONNECT);
	assert_int_equal(derived, before + 1);
	lie_end();
	device_reopen(f, &carol);
	before = derived;
	MUST(f, registration(f, &carol, old_password));
	assert_int_equal(derived, before + 2);
	device_close(&carol);
	device_open_as(f, &dave, "dave", "dave");
	before = derived;
	secret_release(&f->code);
	lie = (struct lie){.target = "/v1/login/finish", .kind = LIE_REFUSE, .rc = KLUIS_ECONNECT};
	assert_int_equal(registration(f, &dave, old_password), KLUIS_ECONNECT);
	lie_end();
	assert_int_equal(derived, before + 1);
	assert_int_equal(f->code.len, RECOVERY_SECRET_BYTES);
	MUST(f, enter(f, &dave, old_password, bytes_of(NULL, 0)));
	assert_int_equal(person_ready(dave.profile, &f->err), 0);
	device_close(&dave);
}

static void test_login(void **state)
{
	struct fixture *f = *state;
	struct account_login in = {.root = SECRET_INIT};

	put_note(f, &f->first, "diary");
	MUST(f, account_logout(f->first.profile, f->first.client, &f->err));
	device_reopen(f, &f->first);
	assert_int_equal(
		login(f, &f->first, new_password, bytes_of(NULL, 0), &in), KLUIS_EUNAUTHENTICATED);
	assert_null(f->first.profile->person->ring);
	MUST(f, login(f, &f->first, old_password, bytes_of(NULL, 0), &in));
	assert_true(in.full);
	assert_true(in.device);
	MUST(f, account_unlock(f->first.profile, f->first.client, &in, &f->err));
	account_login_release(&in);
	put_note(f, &f->first, "second");
	/* Without the cluster, what was known. */
	device_reopen(f, &f->first);
	assert_int_equal(account_unlock_offline(f->first.profile,
				 bytes_of(new_password, strlen(new_password)), NULL),
		KLUIS_EVERIFY);
	MUST(f, account_unlock_offline(
			f->first.profile, bytes_of(old_password, strlen(old_password)), &f->err));
	assert_int_equal(person_ready(f->first.profile, &f->err), 0);
}

static void add_second(struct fixture *f)
{
	enum account_device_state added;
	struct account_device *devices;
	size_t n, pending = 0;

	device_open(f, &f->second, "second");
	assert_int_equal(enter(f, &f->second, old_password, bytes_of(NULL, 0)), KLUIS_EINVAL);
	MUST(f, enter(f, &f->second, old_password, account_key(f)));
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
	MUST(f, account_device_approve(
			f->first.profile, f->first.client, f->second.profile->device_id, &f->err));
	MUST(f, account_device_begin(f->second.profile, f->second.client, &f->err));
	assert_int_equal(person_ready(f->second.profile, &f->err), 0);
}

/* A second device reads what the first wrote, and writes itself; each holds the cluster to what the
 * other saw. */
static void test_second_device(void **state)
{
	struct fixture *f = *state;
	struct vault *vault;

	put_note(f, &f->first, "diary");
	MUST(f, vault_person_store_pins(f->first.profile, f->first.client, &f->err));
	add_second(f);
	MUST(f, vault_open(f->second.profile, f->second.client, "diary", &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	assert_string_equal(vault->name, "diary");
	vault_close(vault);
	put_note(f, &f->second, "letters");
	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, vault_open(f->first.profile, f->first.client, "letters", &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	vault_close(vault);
	device_reopen(f, &f->second);
	MUST(f, enter(f, &f->second, old_password, bytes_of(NULL, 0)));
	assert_int_equal(person_ready(f->second.profile, &f->err), 0);
}

static void test_revoke(void **state)
{
	struct fixture *f = *state;
	json_t *account;

	put_note(f, &f->first, "diary");
	add_second(f);
	put_note(f, &f->second, "letters");
	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
	MUST(f, vault_person_adopt(f->first.profile, f->first.client, &f->err));
	MUST(f, account_device_revoke(
			f->first.profile, f->first.client, f->second.profile->device_id, &f->err));
	assert_int_equal(account_show(f->second.client, &account, NULL), KLUIS_EUNAUTHENTICATED);
	/* What it wrote before stays readable: it was vouched for. */
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
	{
		struct vault *vault;

		MUST(f, vault_open(f->first.profile, f->first.client, "letters", &vault, &f->err));
		MUST(f, vault_sync(vault, &f->err));
		vault_close(vault);
	}
}

static int passwd(struct fixture *f, struct device *d, const char *password)
{
	struct account_terms terms = cheap();

	f->err = (struct err){0};
	return account_passwd(d->profile, d->client, bytes_of(password, strlen(password)), &terms,
		&f->code, &f->err);
}

static void test_passwd(void **state)
{
	struct fixture *f = *state;
	json_t *account;

	put_note(f, &f->first, "diary");
	add_second(f);
	assert_int_equal(passwd(f, &f->first, "password1234"), KLUIS_EINVAL);
	MUST(f, passwd(f, &f->first, new_password));
	/* This session goes on, with the new keyring; the other ended. */
	put_note(f, &f->first, "after");
	assert_int_equal(account_show(f->second.client, &account, NULL), KLUIS_EUNAUTHENTICATED);
	device_reopen(f, &f->second);
	assert_int_equal(
		enter(f, &f->second, old_password, bytes_of(NULL, 0)), KLUIS_EUNAUTHENTICATED);
	/* The new password opens the device's keys there as well: by the keyring. */
	MUST(f, enter(f, &f->second, new_password, bytes_of(NULL, 0)));
	assert_int_equal(person_ready(f->second.profile, &f->err), 0);
	put_note(f, &f->second, "letters");
}

/* The answer to a new password is lost: what the cluster's keyring says counts; and where nothing
 * can be learnt the new code is handed out, for it may be the only one. */
static void test_passwd_lost(void **state)
{
	struct fixture *f = *state;
	uint8_t old[RECOVERY_SECRET_BYTES];

	memcpy(old, f->code.data, sizeof old);
	lie = (struct lie){.target = "/v1/password", .kind = LIE_LOSE, .rc = KLUIS_EINTERNAL};
	MUST(f, passwd(f, &f->first, new_password));
	lie_end();
	assert_memory_not_equal(f->code.data, old, sizeof old);
	put_note(f, &f->first, "after");
	secret_release(&f->code);
	lie = (struct lie){.target = "/v1/password", .kind = LIE_REFUSE, .rc = KLUIS_EFORBIDDEN};
	assert_int_equal(passwd(f, &f->first, old_password), KLUIS_EFORBIDDEN);
	assert_int_equal(f->code.len, 0);
	lie_end();
	lie = (struct lie){.target = "/v1/password", .kind = LIE_REFUSE, .rc = KLUIS_EPRECONDITION};
	assert_int_equal(passwd(f, &f->first, old_password), KLUIS_EPRECONDITION);
	assert_int_equal(f->code.len, 0);
	lie_end();
	lie = (struct lie){.target = "/v1/", .kind = LIE_LOSE, .rc = KLUIS_ETIMEOUT};
	assert_int_equal(passwd(f, &f->first, old_password), KLUIS_EUNKNOWN_OUTCOME);
	assert_int_equal(f->code.len, RECOVERY_SECRET_BYTES);
	lie_end();
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
	assert_int_equal(person_ready(f->first.profile, &f->err), 0);
}

/* The same at recovery, whose session ends by it: the second attempt is told 401. */
static void test_recover_lost(void **state)
{
	struct fixture *f = *state;
	struct account_login in = {.root = SECRET_INIT};
	struct account_terms terms = cheap();
	_cleanup_(secret_release) struct secret fresh = SECRET_INIT;
	char text[RECOVERY_TEXT_CHARS + 1];

	recovery_text(secret_bytes(&f->code), text);
	MUST(f, account_recover(f->first.profile, f->first.client, bytes_str(text), &in, &f->err));
	lie = (struct lie){
		.target = "/v1/password", .kind = LIE_LOSE, .rc = KLUIS_EUNAUTHENTICATED};
	assert_int_equal(
		account_recover_finish(f->first.profile, f->first.client, bytes_str(text),
			bytes_of(new_password, strlen(new_password)), &terms, &fresh, &f->err),
		KLUIS_EUNKNOWN_OUTCOME);
	lie_end();
	account_login_release(&in);
	MUST(f, enter(f, &f->first, new_password, bytes_of(NULL, 0)));
	recovery_text(secret_bytes(&fresh), text);
	MUST(f, account_recover(f->first.profile, f->first.client, bytes_str(text), &in, &f->err));
	account_login_release(&in);
}

/* Counts of another client's making: the second stage far heavier. A new password keeps them, and
 * never asks for more rounds than anybody would take. */
static void test_heavy_counts(void **state)
{
	static const struct {
		uint32_t keyring, asked;
		int rc;
	} cases[] = {
		{39000000, 1000000, KLUIS_EINTERNAL},
		{39400000, 1000000, KLUIS_EINTERNAL},
		{39400000, 0, KLUIS_EINTERNAL},
		{39400001, 1000000, KLUIS_EVERIFY},
		{UINT32_MAX, 0, KLUIS_EVERIFY},
	};
	struct fixture *f = *state;
	struct person_keys *p = f->first.profile->person;

	derived_stop = true;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct account_terms terms = {.login_count = cases[i].asked};
		_cleanup_(keyring_release) struct keyring keyring = {0};
		_cleanup_(buf_release) struct buf object = BUF_INIT;

		MUST(f, ring_open(buf_bytes(&p->keyring), f->first.profile->user_id,
				secret_bytes(&ring_local(p->ring)->krk), &keyring, &f->err));
		keyring.min_n_l = KDF_LOGIN_MIN;
		keyring.min_n_k = cases[i].keyring;
		MUST(f, keyring_seal(&keyring, 1, &random_system, &object, &f->err));
		MUST(f, person_take_object(f->first.profile, buf_bytes(&object), &f->err));
		derived_kdf = (struct kdf){.flags = 0};
		assert_int_equal(account_passwd(f->first.profile, f->first.client,
					 bytes_of(new_password, strlen(new_password)), &terms,
					 &f->code, NULL),
			cases[i].rc);
		if (cases[i].rc == KLUIS_EINTERNAL) {
			assert_in_range(derived_kdf.login_count, KDF_LOGIN_MIN, 1000000);
			assert_int_equal(derived_kdf.keyring_count, cases[i].keyring);
			assert_in_range(derived_kdf.login_count + derived_kdf.keyring_count, 1,
				KDF_SUM_MAX);
		}
	}
}

static void test_recover(void **state)
{
	struct fixture *f = *state;
	struct account_login in = {.root = SECRET_INIT};
	struct account_terms terms = cheap();
	_cleanup_(secret_release) struct secret fresh = SECRET_INIT;
	char text[RECOVERY_TEXT_CHARS + 1], wrong[RECOVERY_TEXT_CHARS + 1];
	const uint8_t other[RECOVERY_SECRET_BYTES] = {1};
	enum account_device_state added;
	struct bytes password = bytes_of(new_password, strlen(new_password));

	put_note(f, &f->first, "diary");
	recovery_text(secret_bytes(&f->code), text);
	recovery_text(bytes_of(other, sizeof other), wrong);
	device_open(f, &f->second, "second");
	assert_int_equal(account_recover(f->second.profile, f->second.client, bytes_str("no code"),
				 &in, NULL),
		KLUIS_EINVAL);
	assert_int_equal(
		account_recover(f->second.profile, f->second.client, bytes_str(wrong), &in, NULL),
		KLUIS_EUNAUTHENTICATED);
	MUST(f, account_recover(
			f->second.profile, f->second.client, bytes_str(text), &in, &f->err));
	assert_true(in.full);
	MUST(f, account_recover_finish(f->second.profile, f->second.client, bytes_str(text),
			password, &terms, &fresh, &f->err));
	assert_false(secret_equal(secret_bytes(&fresh), secret_bytes(&f->code)));
	account_login_release(&in);
	MUST(f, enter(f, &f->second, new_password, bytes_of(NULL, 0)));
	/* Nobody has to approve a device now: the others may be lost. */
	MUST(f, account_device_add(f->second.profile, f->second.client, "phone", &added, &f->err));
	assert_int_equal(added, ACCOUNT_DEVICE_ACTIVE);
	put_note(f, &f->second, "letters");
	/* The old code is dead, and so is the old password. */
	assert_int_equal(
		account_recover(f->second.profile, f->second.client, bytes_str(text), &in, NULL),
		KLUIS_EUNAUTHENTICATED);
	assert_int_equal(
		enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EUNAUTHENTICATED);
	account_login_release(&in);
}

/* Each of these would let a node fool the client; each ends in a named error, and the profile is as
 * it was. */
static void test_lies_at_login(void **state)
{
	static const struct {
		const char *target, *member;
		size_t at;
		int rc;
	} lies[] = {
		{"/v1/login/finish", "M2", 0, KLUIS_EVERIFY},
		{"/v1/login/finish", "M2", 31, KLUIS_EVERIFY},
		{"/v1/login/finish", "token_mac", 0, KLUIS_EVERIFY},
		{"/v1/login/start", "kdf", 4, KLUIS_EINVAL}, /* More rounds than can be. */
		{"/v1/unlock", "slot", 100, KLUIS_EVERIFY},
		{"/v1/unlock", "unlock_share", 0, KLUIS_EVERIFY},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		device_reopen(f, &f->first);
		lie = (struct lie){.target = lies[i].target,
			.member = lies[i].member,
			.kind = LIE_FLIP,
			.at = lies[i].at};
		assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), lies[i].rc);
		assert_null(f->first.profile->person->ring);
		lie_end();
	}
	device_reopen(f, &f->first);
	lie = (struct lie){.target = "/v1/login/finish",
		.member = "token",
		.kind = LIE_TEXT,
		.text = "kst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
	assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EVERIFY);
	lie_end();
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
}

static void kdf_text(unsigned flags, char text[BASE64_LEN(KDF_BYTES) + 1])
{
	struct kdf kdf = {
		.flags = flags, .login_count = KDF_LOGIN_MIN, .keyring_count = 2 * KDF_LOGIN_MIN};
	uint8_t block[KDF_BYTES];

	kdf_encode(&kdf, block);
	base64_encode(bytes_of(block, sizeof block), text);
}

/* The node says that this account's password is alone: it would get a proof to guess at without the
 * account key. Nothing is sent, whoever holds the key: the profile, or the person who typed it. */
static void test_account_key_left_out(void **state)
{
	struct fixture *f = *state;
	char text[BASE64_LEN(KDF_BYTES) + 1];
	unsigned before = derived;

	kdf_text(0, text);
	device_reopen(f, &f->first);
	device_open(f, &f->second, "second");
	lie = (struct lie){
		.target = "/v1/login/start", .member = "kdf", .kind = LIE_TEXT, .text = text};
	assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EPIN);
	assert_int_equal(enter(f, &f->second, old_password, account_key(f)), KLUIS_EPIN);
	/* Whoever wants no such account is stretched nothing for, either. */
	secret_release(&f->first.profile->person->account_key);
	assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EPIN);
	assert_int_equal(derived, before);
	lie_end();
}

/* Group, salt and B of another exchange: no proof comes of it that anybody could use. */
static void test_lies_about_srp(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	const struct lie lies[] = {
		{.member = "group", .kind = LIE_NUMBER, .number = 2},
		{.member = "group", .kind = LIE_NUMBER, .number = 9},
		{.member = "salt", .kind = LIE_FLIP, .at = 3},
		{.member = "B", .kind = LIE_FLIP, .at = 100},
		{.member = "B", .kind = LIE_TEXT, .text = ""},
		{.member = "B", .kind = LIE_TEXT},
	};
	const int wanted[] = {KLUIS_EPROTO, KLUIS_EPROTO, KLUIS_EUNAUTHENTICATED,
		KLUIS_EUNAUTHENTICATED, KLUIS_EVERIFY, KLUIS_EVERIFY};

	memset(buf_extend(&b, srp_group_bytes(SRP_GROUP_DEFAULT)), 0,
		srp_group_bytes(SRP_GROUP_DEFAULT));
	base64_append(&text, buf_bytes(&b));
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		device_reopen(f, &f->first);
		lie = lies[i];
		lie.target = "/v1/login/start";
		if (lie.kind == LIE_TEXT && lie.text == NULL) {
			lie.text = buf_str(&text);
		}
		assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), wanted[i]);
		assert_null(f->first.profile->person->ring);
		lie_end();
	}
}

/* Another slot of the same keyring at the unlock, and a login by another block than the slot's. */
static void test_lies_about_slots(void **state)
{
	struct fixture *f = *state;
	struct account_login in = {.root = SECRET_INIT};
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct keyring_view view;
	struct keyring_slot slot;
	struct bytes encoded;

	MUST(f, keyring_parse(buf_bytes(&f->first.profile->person->keyring), &view, &f->err));
	encoded = keyring_view_find(&view, KEYRING_SLOT_RECOVERY, NULL, &slot);
	assert_int_equal(encoded.len, KEYRING_SLOT_BYTES);
	json_take_text(json_pack("{s:o, s:o, s:o, s:I}", "slot_id",
			       json_hex(bytes_of(slot.slot_id, ID_BYTES)), "unlock_share",
			       json_base64(bytes_of(view.hash, UNLOCK_SHARE_BYTES)), "slot",
			       json_base64(encoded), "revision", (json_int_t)1),
		&text);
	lie = (struct lie){
		.target = "/v1/unlock", .kind = LIE_REPLACE, .instead = buf_bytes(&text)};
	assert_int_equal(enter(f, &f->first, old_password, bytes_of(NULL, 0)), KLUIS_EVERIFY);
	lie_end();
	MUST(f, login(f, &f->first, old_password, bytes_of(NULL, 0), &in));
	in.kdf[KDF_BYTES - 1] ^= 1;
	assert_int_equal(
		account_unlock(f->first.profile, f->first.client, &in, &f->err), KLUIS_EVERIFY);
	account_login_release(&in);
}

/* An identity that never ends: given up before it fills the memory. */
static void test_endless_chain(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const size_t filling = 3 << 20;

	buf_printf(&text, "{\"done\":false,\"next\":\"1:1\",\"items\":[{\"statement\":\"");
	memset(buf_extend(&text, filling), 'A', filling);
	buf_printf(&text, "\"}]}");
	lie = (struct lie){.target = "/v1/users/", .kind = LIE_INVENT, .instead = buf_bytes(&text)};
	assert_int_equal(
		account_refresh(f->first.profile, f->first.client, &f->err), KLUIS_ETOOLARGE);
	assert_in_range(lie.struck, 1, (64 << 20) / filling + 1);
	lie_end();
}

static const uint8_t pending_id[ID_BYTES] = {9};

/* The node's list of devices: one waits, asked for by a statement of this key. The caller frees. */
static void pending_text(
	struct fixture *f, struct key *signer, const char *name, struct bytes *ret_text)
{
	const struct profile *p = f->first.profile;
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT;
	_cleanup_(key_freep) struct key *sign = NULL, *hpke = NULL;
	struct buf text = BUF_INIT;
	struct statement s = {
		.chain = CHAIN_IDENTITY, .type = IDENTITY_DEVICE_ADD, .seq = 3, .unix_ms = 1};

	MUST(f, key_generate(KEY_ECDSA_P256, 0, &sign, &f->err));
	MUST(f, key_generate(KEY_KEM_P256, 0, &hpke, &f->err));
	identity_body_device(&body, pending_id, key_public(sign), key_public(hpke), name);
	memcpy(s.object_id, p->user_id, ID_BYTES);
	memcpy(s.prev_hash, p->identity.head_hash, HASH_BYTES);
	s.body = buf_bytes(&body);
	MUST(f, statement_sign(&s, signer, &statement, &f->err));
	json_take_text(
		json_pack("{s:[{s:o, s:s, s:s, s:o}], s:b}", "items", "id",
			json_hex(bytes_of(pending_id, ID_BYTES)), "name", "phone", "state",
			"pending", "statement", json_base64(buf_bytes(&statement)), "done", 1),
		&text);
	*ret_text = buf_bytes(&text); /* Its memory goes to the caller. */
}

/* Who has the password asks for a device whose name would paint over the id that is compared, and
 * the cluster shows it as honest nodes do not. */
static void test_device_names(void **state)
{
	static const char *const names[] = {"\x1b[2K\rphone", "a\nb", "\x7f",
		"\xc2\x9b"
		"2J"};
	struct fixture *f = *state;
	struct profile *p = f->first.profile;
	enum account_device_state added;
	struct account_device *devices;
	uint8_t kid[KID_BYTES];
	size_t n;

	device_open(f, &f->second, "second");
	MUST(f, enter(f, &f->second, old_password, account_key(f)));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(account_device_add(f->second.profile, f->second.client, names[i],
					 &added, NULL),
			KLUIS_EINVAL);
		lie = (struct lie){.target = "/v1/devices", .kind = LIE_INVENT};
		pending_text(f, p->signing, names[i], &lie.instead);
		assert_int_equal(
			account_devices(p, f->first.client, &devices, &n, &f->err), KLUIS_EVERIFY);
		free((void *)lie.instead.data);
		lie_end();
	}
	MUST(f, account_device_add(f->second.profile, f->second.client, "phone", &added, &f->err));
	memcpy(kid, key_pub_kid(key_public(f->second.profile->device)), KID_BYTES);
	MUST(f, account_devices(p, f->first.client, &devices, &n, &f->err));
	assert_int_equal(n, 2);
	assert_memory_equal(devices[1].kid, kid, KID_BYTES);
	account_devices_free(devices, n);
}

/* The cluster shows a device that waits, as nobody asked for it. */
static void test_invented_device(void **state)
{
	struct fixture *f = *state;
	struct profile *p = f->first.profile;
	_cleanup_(key_freep) struct key *forger = NULL;
	struct account_device *devices;
	size_t n;

	MUST(f, key_generate(KEY_RSA_PSS, 2048, &forger, &f->err));
	lie = (struct lie){.target = "/v1/devices", .kind = LIE_INVENT};
	pending_text(f, forger, "phone", &lie.instead);
	assert_int_equal(account_devices(p, f->first.client, &devices, &n, &f->err), KLUIS_EVERIFY);
	assert_int_equal(
		account_device_approve(p, f->first.client, pending_id, &f->err), KLUIS_EVERIFY);
	free((void *)lie.instead.data);
	lie_end();
	assert_int_equal(
		account_device_approve(p, f->first.client, pending_id, &f->err), KLUIS_ENOTFOUND);
}

/* A pin of another device: a head that this one never saw is missed all the same. */
static void test_pin_of_another(void **state)
{
	struct fixture *f = *state;
	struct ring_change change = {.type = KEYRING_VAULT_PIN};
	uint8_t value[KEYRING_VAULT_PIN_BYTES] = {0}, id[ID_BYTES];
	struct vault *vault;

	MUST(f, vault_create(f->first.profile, f->first.client, "diary", id, &f->err));
	memcpy(change.object_id, id, ID_BYTES);
	change.value = bytes_of(value, sizeof value);
	store_u64(value, 2); /* A second head, which the cluster does not show. */
	MUST(f, account_put_entries(f->first.profile, f->first.client, &change, 1, &f->err));
	MUST(f, vault_open(f->first.profile, f->first.client, "diary", &vault, &f->err));
	assert_int_equal(vault_sync(vault, &f->err), KLUIS_EPIN);
	store_u64(value, 1); /* Another first head. */
	MUST(f, account_put_entries(f->first.profile, f->first.client, &change, 1, &f->err));
	assert_int_equal(vault_sync(vault, &f->err), KLUIS_EPIN);
	memcpy(value + 8, vault->head.hash, HASH_BYTES);
	MUST(f, account_put_entries(f->first.profile, f->first.client, &change, 1, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	vault_close(vault);
}

/* Two devices put entries at once: the second finds the keyring moved, and puts its own on top. */
static void test_entries_race(void **state)
{
	struct fixture *f = *state;
	struct ring_change change = {.type = KEYRING_CONTACT_PIN, .object_id = {1}};
	uint8_t value[KEYRING_CONTACT_PIN_BYTES] = {5};
	struct ring_place *places;
	struct ring *ring;
	size_t n;

	add_second(f);
	change.value = bytes_of(value, sizeof value);
	MUST(f, account_put_entries(f->first.profile, f->first.client, &change, 1, &f->err));
	change.object_id[0] = 2;
	MUST(f, account_put_entries(f->second.profile, f->second.client, &change, 1, &f->err));
	ring = f->second.profile->person->ring;
	MUST(f, ring->list(ring, KEYRING_CONTACT_PIN, &places, &n, &f->err));
	assert_int_equal(n, 2);
	assert_true(places[0].object_id[0] == 1 && places[1].object_id[0] == 2);
	free(places);
}

/* Counts above the floor, but below those of the keyring. */
static void test_lowered_rounds(void **state)
{
	struct fixture *f = *state;
	struct account_terms terms = {.login_count = 800000};
	char text[BASE64_LEN(KDF_BYTES) + 1];

	MUST(f, account_passwd(f->first.profile, f->first.client,
			bytes_of(new_password, strlen(new_password)), &terms, &f->code, &f->err));
	kdf_text(KDF_ACCOUNT_KEY, text);
	device_reopen(f, &f->first);
	lie = (struct lie){
		.target = "/v1/login/start", .member = "kdf", .kind = LIE_TEXT, .text = text};
	assert_int_equal(enter(f, &f->first, new_password, bytes_of(NULL, 0)), KLUIS_EPIN);
	lie_end();
}

static void test_old_keyring(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf old = BUF_INIT;

	buf_append_bytes(&old, buf_bytes(&f->first.profile->person->keyring));
	put_note(f, &f->first, "diary");
	lie = (struct lie){
		.target = "/v1/keyring", .kind = LIE_REPLACE, .instead = buf_bytes(&old)};
	assert_int_equal(account_refresh(f->first.profile, f->first.client, &f->err), KLUIS_EPIN);
	lie_end();
	lie = (struct lie){.target = "/v1/keyring", .kind = LIE_FLIP, .at = 2000};
	assert_int_equal(account_refresh(f->first.profile, f->first.client, &f->err), KLUIS_EPIN);
	lie_end();
	MUST(f, account_refresh(f->first.profile, f->first.client, &f->err));
}

int main(void)
{
#define ACCOUNT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		ACCOUNT_TEST(test_register),
		ACCOUNT_TEST(test_register_lost),
		ACCOUNT_TEST(test_register_denied),
		ACCOUNT_TEST(test_register_work),
		ACCOUNT_TEST(test_login),
		ACCOUNT_TEST(test_second_device),
		ACCOUNT_TEST(test_revoke),
		ACCOUNT_TEST(test_passwd),
		ACCOUNT_TEST(test_passwd_lost),
		ACCOUNT_TEST(test_recover_lost),
		ACCOUNT_TEST(test_heavy_counts),
		ACCOUNT_TEST(test_recover),
		ACCOUNT_TEST(test_lies_at_login),
		ACCOUNT_TEST(test_account_key_left_out),
		ACCOUNT_TEST(test_lies_about_srp),
		ACCOUNT_TEST(test_lies_about_slots),
		ACCOUNT_TEST(test_endless_chain),
		ACCOUNT_TEST(test_device_names),
		ACCOUNT_TEST(test_invented_device),
		ACCOUNT_TEST(test_pin_of_another),
		ACCOUNT_TEST(test_entries_race),
		ACCOUNT_TEST(test_lowered_rounds),
		ACCOUNT_TEST(test_old_keyring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

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
 * member. */
static struct lie {
	const char *target, *member;
	enum { LIE_NONE, LIE_FLIP, LIE_REPLACE, LIE_TEXT } kind;
	size_t at; /* Of the byte to flip, in the member's value. */
	struct bytes instead;
	const char *text;
	unsigned struck;
} lie;

static void lie_json(struct buf *body)
{
	_cleanup_(buf_release) struct buf raw = BUF_INIT;
	json_t *object = json_loadb((const char *)body->data, body->len, 0, NULL);
	const char *old;

	assert_non_null(object);
	old = json_string_value(json_object_get(object, lie.member));
	assert_non_null(old);
	if (lie.kind == LIE_TEXT) {
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
	int rc = __real_client_call(client, request, answer, e);

	if (rc == 0 && lie.kind != LIE_NONE &&
		strncmp(request->target, lie.target, strlen(lie.target)) == 0 &&
		answer->body.len > 0) {
		lie_about(&answer->body);
	}
	return rc;
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

/* The cluster shows a device that waits, as nobody asked for it. */
static void test_invented_device(void **state)
{
	struct fixture *f = *state;
	struct profile *p = f->first.profile;
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT, text = BUF_INIT;
	_cleanup_(key_freep) struct key *forger = NULL, *sign = NULL, *hpke = NULL;
	struct statement s = {
		.chain = CHAIN_IDENTITY, .type = IDENTITY_DEVICE_ADD, .seq = 3, .unix_ms = 1};
	const uint8_t id[ID_BYTES] = {9};
	struct account_device *devices;
	size_t n;

	MUST(f, key_generate(KEY_RSA_PSS, 2048, &forger, &f->err));
	MUST(f, key_generate(KEY_ECDSA_P256, 0, &sign, &f->err));
	MUST(f, key_generate(KEY_KEM_P256, 0, &hpke, &f->err));
	identity_body_device(&body, id, key_public(sign), key_public(hpke), "phone");
	memcpy(s.object_id, p->user_id, ID_BYTES);
	memcpy(s.prev_hash, p->identity.head_hash, HASH_BYTES);
	s.body = buf_bytes(&body);
	MUST(f, statement_sign(&s, forger, &statement, &f->err));
	json_take_text(
		json_pack("{s:[{s:o, s:s, s:s, s:o}], s:b}", "items", "id",
			json_hex(bytes_of(id, ID_BYTES)), "name", "phone", "state", "pending",
			"statement", json_base64(buf_bytes(&statement)), "done", 1),
		&text);
	lie = (struct lie){
		.target = "/v1/devices", .kind = LIE_REPLACE, .instead = buf_bytes(&text)};
	assert_int_equal(account_devices(p, f->first.client, &devices, &n, &f->err), KLUIS_EVERIFY);
	assert_int_equal(account_device_approve(p, f->first.client, id, &f->err), KLUIS_EVERIFY);
	lie_end();
	assert_int_equal(account_device_approve(p, f->first.client, id, &f->err), KLUIS_ENOTFOUND);
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
	struct kdf kdf = {.flags = KDF_ACCOUNT_KEY,
		.login_count = KDF_LOGIN_MIN,
		.keyring_count = 2 * KDF_LOGIN_MIN};
	char text[BASE64_LEN(KDF_BYTES) + 1];
	uint8_t block[KDF_BYTES];

	MUST(f, account_passwd(f->first.profile, f->first.client,
			bytes_of(new_password, strlen(new_password)), &terms, &f->code, &f->err));
	kdf_encode(&kdf, block);
	base64_encode(bytes_of(block, sizeof block), text);
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
		ACCOUNT_TEST(test_login),
		ACCOUNT_TEST(test_second_device),
		ACCOUNT_TEST(test_revoke),
		ACCOUNT_TEST(test_passwd),
		ACCOUNT_TEST(test_recover),
		ACCOUNT_TEST(test_lies_at_login),
		ACCOUNT_TEST(test_invented_device),
		ACCOUNT_TEST(test_pin_of_another),
		ACCOUNT_TEST(test_entries_race),
		ACCOUNT_TEST(test_lowered_rounds),
		ACCOUNT_TEST(test_old_keyring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

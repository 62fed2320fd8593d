/* Which keys a person's account is made of, and how they change: what the cluster asks for, what
 * follows a lost device; and the log in which she reads of it. Against the API of a real node. */
#include "tests/lib/account_rig/account_rig.h"

#include <string.h>

#include "cli/client/access_log.h"
#include "cli/client/account_impl.h"
#include "cli/client/json_reader.h"

static int setup_p384(void **state)
{
	return setup_suites(state, KEY_KEM_P384);
}

static int setup_x25519(void **state)
{
	return setup_suites(state, KEY_KEM_X25519);
}

/* Of what AES all pages of a vault are. */
static void expect_aes_128(struct fixture *f, struct device *d, const char *name)
{
	struct vault *vault;

	MUST(f, vault_open(d->profile, d->client, name, &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	assert_true(vault->head.page_count > 0);
	for (uint64_t n = 0; n < vault->head.page_count; n++) {
		_cleanup_(buf_release) struct buf page = BUF_INIT;

		MUST(f, api_page(d->client, vault->id, n, &page, &f->err));
		assert_int_equal(page.data[5], SYM_AES_128);
	}
	vault_close(vault);
}

/* What the cluster asks for is what new accounts are made of, down to their pages, of whichever
 * device. */
static void test_suites(void **state)
{
	struct fixture *f = *state;
	const struct keyring *keyring = ring_local(f->first.profile->person->ring);

	assert_int_equal(keyring->sym, SYM_AES_128);
	assert_int_equal(key_pub_alg(key_public(keyring->transfer)), f->node.config.curve);
	/* SubjectPublicKeyInfo of 4096 bits. */
	assert_int_equal(key_pub_bytes(key_public(keyring->signing)).len, 550);
	put_note(f, &f->first, "diary");
	put_text(f, &f->first, "diary", "by one");
	expect_aes_128(f, &f->first, "diary");
	add_second(f);
	put_text(f, &f->second, "diary", "by the other");
	expect_aes_128(f, &f->second, "diary");
	MUST(f, passwd(f, &f->second, new_password));
	assert_int_equal(ring_local(f->second.profile->person->ring)->sym, SYM_AES_128);
}

static void test_curve(void **state)
{
	struct fixture *f = *state;
	const struct keyring *keyring = ring_local(f->first.profile->person->ring);

	assert_int_equal(key_pub_alg(key_public(keyring->transfer)), KEY_KEM_P384);
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
}

/* A cluster that asks for what no client takes is not followed. */
static void test_suites_refused(void **state)
{
	static const char *const policies[] = {"{\"srp_group\":1}", "{\"srp_group\":\"3\"}",
		"{\"aes_bits\":64}", "{\"rsa_bits\":1024}", "{\"rsa_bits\":2049}",
		"{\"curve\":\"p192\"}", "{\"curve\":3}"};
	struct suites suites = {.group = 9};
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		json_t *policy = json_loads(policies[i], 0, NULL);

		assert_non_null(policy);
		assert_int_equal(suites_read(policy, &suites, &e), KLUIS_EVERIFY);
		assert_int_equal(suites.group, 9);
		json_decref(policy);
	}
	assert_int_equal(suites_read(NULL, &suites, &e), 0);
	assert_int_equal(suites.group, SRP_GROUP_DEFAULT);
	assert_int_equal(suites.sym, SYM_AES_256);
	assert_int_equal(suites.rsa_bits, KEY_RSA_BITS);
	assert_int_equal(suites.kem, KEY_KEM_P256);
}

/* The epoch of the newest key of a vault, as the device has it, and of its newest head. */
static void expect_epochs(
	struct fixture *f, struct device *d, const char *name, uint32_t key, uint32_t head)
{
	struct vault *vault;

	MUST(f, vault_open(d->profile, d->client, name, &vault, &f->err));
	MUST(f, vault_sync(vault, &f->err));
	assert_int_equal(vault->keys[vault->n_keys - 1].epoch, key);
	assert_int_equal(vault->head.key_epoch, head);
	vault_close(vault);
}

/* What the second device knew of alice is worth nothing for what comes after it was revoked and the
 * password changed. */
static void expect_new_keys(
	struct fixture *f, const struct key *lost_signing, struct bytes lost_krk)
{
	struct profile *p = f->first.profile;
	_cleanup_(keyring_release) struct keyring opened = {0};
	_cleanup_(key_freep) struct key *next = NULL;

	assert_false(key_pub_equal(p->identity.signing, key_public(lost_signing)));
	assert_true(key_pub_equal(p->identity.signing, key_public(p->signing)));
	assert_true(key_pub_equal(
		p->identity.signing, key_public(ring_local(p->person->ring)->signing)));
	assert_int_equal(
		keyring_next_signing(ring_local(p->person->ring), &next, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(
		ring_open(buf_bytes(&p->person->keyring), p->user_id, lost_krk, &opened, NULL),
		KLUIS_EVERIFY);
}

struct lost {
	struct key *signing;
	struct secret krk;
};

/* The second device is lost, unlocked, and revoked. */
static void lose_second(struct fixture *f, struct lost *lost)
{
	const struct profile *p;
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;

	add_second(f);
	p = f->second.profile;
	put_note(f, &f->second, "letters");
	put_note(f, &f->first, "diary");
	key_encode(p->signing, &encoded);
	MUST(f, key_decode(KEY_RSA_PSS, secret_bytes(&encoded), &lost->signing, &f->err));
	secret_set(&lost->krk, secret_bytes(&ring_local(p->person->ring)->krk));
	MUST(f, account_device_revoke(
			f->first.profile, f->first.client, p->device_id, NULL, &f->err));
}

static void lost_release(struct lost *lost)
{
	key_free(lost->signing);
	secret_release(&lost->krk);
}

static void test_new_keys(void **state)
{
	struct fixture *f = *state;
	struct account_new_keys made = {.signing = false};
	struct account_terms terms = cheap();
	struct lost lost = {.krk = SECRET_INIT};

	lose_second(f, &lost);
	terms.made = &made;
	MUST(f, account_passwd(f->first.profile, f->first.client,
			bytes_of(new_password, strlen(new_password)), &terms, &f->code, &f->err));
	assert_true(made.signing);
	assert_int_equal(made.n_vaults, 2);
	assert_int_equal(made.n_left, 0);
	expect_new_keys(f, lost.signing, secret_bytes(&lost.krk));
	/* What is written from now on is under the new keys; what was, is read as before. */
	expect_epochs(f, &f->first, "letters", 2, 1);
	put_text(f, &f->first, "letters", "after");
	expect_epochs(f, &f->first, "letters", 2, 2);
	expect_epochs(f, &f->first, "diary", 2, 1);
	/* Nothing is due, but it can be asked for. */
	assert_false(account_keys_due(f->first.profile));
	terms.new_keys = true;
	MUST(f, account_passwd(f->first.profile, f->first.client,
			bytes_of(new_password, strlen(new_password)), &terms, &f->code, &f->err));
	assert_true(made.signing);
	/* One key of this vault was never used. */
	put_text(f, &f->first, "diary", "much later");
	expect_epochs(f, &f->first, "diary", 3, 3);
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, new_password, bytes_of(NULL, 0)));
	expect_epochs(f, &f->first, "letters", 3, 2);
	device_close(&f->second);
	add_second_by(f, new_password, "third");
	expect_epochs(f, &f->second, "diary", 3, 3);
	lost_release(&lost);
}

/* Cut short between password, chain and keyring: whoever signs in next goes on. */
static void test_new_keys_cut(void **state)
{
	static const struct {
		const char *target;
		int kind;
	} cuts[] = {{"/v1/account", LIE_REFUSE}, {"/v1/account", LIE_LOSE},
		{"/v1/keyring", LIE_REFUSE}};
	struct fixture *f = *state;
	struct lost lost = {.krk = SECRET_INIT};
	struct account_terms terms = cheap();

	lose_second(f, &lost);
	terms.new_keys = true;
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		const char *password = i % 2 == 0 ? new_password : old_password;

		lie = (struct lie){
			.target = cuts[i].target, .kind = cuts[i].kind, .rc = KLUIS_ECONNECT};
		f->err = (struct err){0};
		assert_int_equal(
			account_passwd(f->first.profile, f->first.client,
				bytes_of(password, strlen(password)), &terms, &f->code, &f->err),
			KLUIS_ECONNECT);
		assert_non_null(strstr(f->err.text, "the password is changed"));
		lie_end();
		device_reopen(f, &f->first);
		if (i == 0) { /* Still out of reach: signing in goes on all the same. */
			lie = (struct lie){
				.target = "/v1/account", .kind = LIE_REFUSE, .rc = KLUIS_ECONNECT};
			MUST(f, enter(f, &f->first, password, bytes_of(NULL, 0)));
			lie_end();
			assert_true(key_pub_equal(
				f->first.profile->identity.signing, key_public(lost.signing)));
			put_text(f, &f->first, "diary", "meanwhile");
			device_reopen(f, &f->first);
		}
		MUST(f, enter(f, &f->first, password, bytes_of(NULL, 0)));
		expect_new_keys(f, lost.signing, secret_bytes(&lost.krk));
		put_text(f, &f->first, "letters", password);
		expect_epochs(f, &f->first, "letters", (uint32_t)i + 2, (uint32_t)i + 2);
	}
	lost_release(&lost);
}

static json_t *access_log(struct fixture *f, struct device *d)
{
	json_t *items;

	MUST(f, api_list(d->client, "/v1/account/access-log", CLIENT_AUTH | CLIENT_READ, 1000,
			&items, &f->err));
	return items;
}

/* Held against what the first device has seen, with one member of a row changed. */
static void expect_log_refused(
	struct fixture *f, const json_t *items, size_t row, const char *member, json_t *value)
{
	json_t *changed = json_deep_copy(items);

	(void)json_object_set_new(json_array_get(changed, row), member, value);
	assert_int_equal(access_log_check(f->first.profile, changed, &f->err), KLUIS_EVERIFY);
	json_decref(changed);
}

/* The owner's log: each row holds the hash of the one before, and what was seen of it stays. */
static void test_access_log(void **state)
{
	struct fixture *f = *state;
	const struct profile *p = f->first.profile;
	char zeros[HEX_LEN(HASH_BYTES) + 1];
	json_t *items, *later, *other;

	put_note(f, &f->first, "diary");
	items = access_log(f, &f->first);
	assert_true(json_array_size(items) >= 3);
	memset(zeros, '0', sizeof zeros - 1);
	zeros[sizeof zeros - 1] = 0;
	expect_log_refused(f, items, 1, "time", json_integer(5));
	expect_log_refused(f, items, 1, "index", json_integer(5));
	expect_log_refused(f, items, 1, "code", json_integer(3));
	expect_log_refused(f, items, 1, "code", json_string("login"));
	expect_log_refused(f, items, 1, "actor", json_string("00000000000000000000000000000000"));
	expect_log_refused(
		f, items, 1, "device_id", json_string("0123456789abcdef0123456789abcdef"));
	expect_log_refused(f, items, 1, "behalf", json_string("root"));
	expect_log_refused(f, items, 1, "object", json_string(""));
	expect_log_refused(f, items, 1, "object", json_string("xy"));
	expect_log_refused(f, items, 1, "prev_hash", json_string(zeros));
	expect_log_refused(f, items, 1, "seq", json_integer(7));
	expect_log_refused(f, items, 1, "subject", json_string("0123456789abcdef0123456789abcdef"));
	/* The first time there is nothing to hold the newest row against. */
	MUST(f, access_log_check(p, items, &f->err));
	MUST(f, access_log_check(p, items, &f->err));
	put_note(f, &f->first, "letters");
	later = access_log(f, &f->first);
	assert_true(json_array_size(later) > json_array_size(items));
	MUST(f, access_log_check(p, later, &f->err));
	assert_int_equal(access_log_check(p, items, &f->err), KLUIS_EPIN); /* Cut. */
	/* Its newest row another one. */
	other = json_deep_copy(later);
	(void)json_object_set_new(json_array_get(other, json_array_size(other) - 1), "behalf",
		json_string("somebody"));
	assert_int_equal(access_log_check(p, other, &f->err), KLUIS_EPIN);
	json_decref(other);
	/* The oldest rows go with time. */
	while (json_array_size(later) > 1) {
		(void)json_array_remove(later, 0);
		MUST(f, access_log_check(p, later, &f->err));
	}
	json_decref(items);
	json_decref(later);
}

int main(void)
{
#define ACCOUNT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_suites, setup_x25519, teardown),
		cmocka_unit_test_setup_teardown(test_curve, setup_p384, teardown),
		cmocka_unit_test(test_suites_refused),
		ACCOUNT_TEST(test_new_keys),
		ACCOUNT_TEST(test_new_keys_cut),
		ACCOUNT_TEST(test_access_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

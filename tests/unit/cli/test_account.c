/* The flows of a person's account against the API of a real node. */
#include "tests/lib/account_rig/account_rig.h"

#include <string.h>

#include "base/file.h"
#include "cli/client/json_reader.h"

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

/* Who signs in instead, after a lost answer, is in as well, and leaves nothing to be sent again. */
static void test_register_then_login(void **state)
{
	struct fixture *f = *state;
	struct device carol = {0};
	enum account_device_state added;
	_cleanup_(x_freep) char *path = NULL;

	device_open_as(f, &carol, "carol", "carol");
	path = profile_path(carol.profile, "registering");
	lie = (struct lie){.target = "/v1/register", .kind = LIE_LOSE, .rc = KLUIS_ETIMEOUT};
	assert_int_equal(registration(f, &carol, old_password), KLUIS_ETIMEOUT);
	lie_end();
	assert_true(file_exists(path));
	device_reopen(f, &carol);
	MUST(f, enter(f, &carol, old_password, bytes_of(NULL, 0)));
	assert_false(file_exists(path));
	assert_int_equal(account_device_add(carol.profile, carol.client, "laptop", &added, &f->err),
		KLUIS_EEXIST);
	MUST(f, account_device_begin(carol.profile, carol.client, &f->err));
	put_note(f, &carol, "diary");
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
	MUST(f, account_device_revoke(f->first.profile, f->first.client,
			f->second.profile->device_id, NULL, &f->err));
	assert_int_equal(account_show(f->second.client, &account, NULL), KLUIS_EUNAUTHENTICATED);
	/* What it wrote before stays readable: it was vouched for, though never opened here. */
	device_reopen(f, &f->first);
	MUST(f, enter(f, &f->first, old_password, bytes_of(NULL, 0)));
	MUST(f, sync_named(f, &f->first, "letters"));
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

/* By the code alone: who was robbed sees the account's devices, and by a chain that is hers. */
static void expect_devices(struct fixture *f, const char *code)
{
	struct device *d = &f->second;
	struct account_device *devices;
	size_t n;

	lie = (struct lie){.target = "/v1/users/", .kind = LIE_REFUSE, .rc = KLUIS_ENOQUORUM};
	assert_int_equal(account_recover_devices(
				 d->profile, d->client, bytes_str(code), &devices, &n, &f->err),
		KLUIS_ENOQUORUM);
	lie_end();
	lie = (struct lie){.target = "/v1/users/", .kind = LIE_REPLACE, .instead = bytes_str("{}")};
	assert_int_not_equal(account_recover_devices(
				     d->profile, d->client, bytes_str(code), &devices, &n, &f->err),
		0);
	lie_end();
	MUST(f, account_recover_devices(
			d->profile, d->client, bytes_str(code), &devices, &n, &f->err));
	assert_int_equal(n, 1);
	assert_string_equal(devices[0].name, "laptop");
	assert_int_equal(devices[0].state, ACCOUNT_DEVICE_ACTIVE);
	assert_memory_equal(devices[0].device_id, f->first.profile->device_id, ID_BYTES);
	account_devices_free(devices, n);
	/* It was a look. */
	assert_null(d->profile->person->ring);
	assert_int_equal(d->profile->identity.seq, 0);
	assert_int_equal(d->profile->person->chain.len, 0);
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
	expect_devices(f, text);
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

int main(void)
{
#define ACCOUNT_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		ACCOUNT_TEST(test_register),
		ACCOUNT_TEST(test_register_lost),
		ACCOUNT_TEST(test_register_denied),
		ACCOUNT_TEST(test_register_then_login),
		ACCOUNT_TEST(test_register_work),
		ACCOUNT_TEST(test_login),
		ACCOUNT_TEST(test_second_device),
		ACCOUNT_TEST(test_revoke),
		ACCOUNT_TEST(test_passwd),
		ACCOUNT_TEST(test_passwd_lost),
		ACCOUNT_TEST(test_recover_lost),
		ACCOUNT_TEST(test_heavy_counts),
		ACCOUNT_TEST(test_recover),
		ACCOUNT_TEST(test_entries_race),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

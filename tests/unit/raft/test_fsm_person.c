#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/identity.h"
#include "storage/session_store.h"
#include "tests/unit/raft/lib/person_rig.h"

/* Registration, logins and what slows down guessing. */

static void test_registered(void **state)
{
	struct person_rig *w = *state;
	struct kv_view *view = person_view(w);
	struct unlock_row shares[UNLOCK_SHARES_MAX];
	struct person_name_row name;
	struct person_row person;
	struct user_row user;
	struct device_row device;
	struct samples_row samples;
	size_t n = 0;

	assert_int_equal(person_name_store_get(view, w->p.name, &name, NULL), 0);
	assert_memory_equal(name.user_id, w->p.user_id, 16);
	assert_int_equal(person_store_get(view, w->p.user_id, &person, NULL), 0);
	assert_true(person.credential == 1 && person.group == 3 && person.verifier_bytes == 448);
	assert_true(person.keyring_revision == 1 && person.policy == 0);
	assert_memory_equal(person.keyring_hash, w->p.keyring_hash, 32);
	assert_int_equal(user_store_get(view, w->p.user_id, &user, NULL), 0);
	assert_string_equal(user.name, w->p.name);
	assert_memory_equal(user.chain_hash, w->p.chain_hash, 32);
	assert_int_equal(device_store_get(view, w->p.user_id, w->p.device_id, &device, NULL), 0);
	assert_int_equal(unlock_store_list(view, w->p.user_id, shares, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(samples_store_get(view, &samples, NULL), 0);
	assert_int_equal(samples.n, 2);
	assert_true(samples.sample[0].login_count == 800000 && samples.sample[0].group == 3 &&
		    samples.sample[0].flags == 1);
	kv_view_free(view);
	assert_int_equal(person_events(w, &w->p, ACCESS_REGISTERED), 1);
	assert_int_equal(person_events(w, &w->p, ACCESS_LOGIN), 1);
	person_level(w, TOKEN_P, SESSION_FULL);
}

static void test_register_again(void **state)
{
	struct person_rig *w = *state;
	struct fixture_person again;
	struct command command;
	struct position before;

	fixture_person_init(&again, TOKEN_P);
	command = fixture_register(&again);
	before = *fsm_position(w->m.fsm);
	person_expect(w, &command, 0);
	assert_memory_equal(person_reply(w).id, w->p.user_id, 16);
	assert_memory_equal(person_reply(w).second_id, w->p.device_id, 16);
	assert_memory_equal(before.state_hash, fsm_position(w->m.fsm)->state_hash, 32);
	/* The same identity with another keyring is somebody else's try. */
	again.keyring.data[again.keyring.len - 1] ^= 1;
	command.person_register.keyring = buf_bytes(&again.keyring);
	person_expect(w, &command, KLUIS_EEXIST);
	fixture_person_release(&again);
}

static void test_names_are_unique(void **state)
{
	struct person_rig *w = *state;
	struct fixture_person r;
	struct command command;
	struct command service = {.type = COMMAND_SERVICE_CREATE,
		.service_create = {.actor = bytes_str("op"), .name = bytes_str(w->p.name)}};

	person_expect(w, &service, KLUIS_EEXIST);
	fixture_person_init(&r, 3);
	memcpy(r.name, w->p.name, sizeof r.name);
	command = fixture_register(&r);
	person_expect(w, &command, KLUIS_EEXIST);
	memcpy(r.name, w->service.name, sizeof r.name);
	command = fixture_register(&r);
	person_expect(w, &command, KLUIS_EEXIST);
	(void)snprintf(r.name, sizeof r.name, "fresh");
	memcpy(r.user_id, w->p.user_id, 16);
	command = fixture_register(&r);
	person_expect(w, &command, KLUIS_EEXIST); /* The id. */
	fixture_person_release(&r);
}

static void test_register_refusals(void **state)
{
	struct person_rig *w = *state;
	struct fixture_person r;
	struct command good, bad;

	fixture_person_init(&r, 3);
	good = fixture_register(&r);
	bad = good;
	bad.person_register.name = bytes_str("another");
	person_expect(w, &bad, KLUIS_EINVAL);
	bad = good;
	bad.person_register.device = good.person_register.identity;
	person_expect(w, &bad, KLUIS_EINVAL);
	bad = good;
	bad.person_register.credentials.kdf[5] = 0; /* N_L under the floor. */
	person_expect(w, &bad, KLUIS_EINVAL);
	bad = good;
	bad.person_register.credentials.verifier.len--;
	person_expect(w, &bad, KLUIS_EINVAL);
	bad = good;
	bad.person_register.credentials.group = 4;
	person_expect(w, &bad, KLUIS_EINVAL);
	bad = good;
	bad.person_register.credentials.recovery_key[0] = 2;
	person_expect(w, &bad, KLUIS_EINVAL);
	bad = good;
	bad.person_register.credentials.share[0].slot_id[15] ^= 1; /* No slot of the keyring. */
	person_expect(w, &bad, KLUIS_EINVAL);
	bad = good;
	bad.person_register.credentials.share[0].slot_id[0] = 200; /* The recovery slot. */
	person_expect(w, &bad, KLUIS_EINVAL);
	bad = good;
	bad.person_register.keyring.len--;
	person_expect(w, &bad, KLUIS_EINVAL);
	fixture_next_keyring(&r, 1); /* A slot more than shares. */
	bad = good;
	bad.person_register.keyring = buf_bytes(&r.keyring);
	person_expect(w, &bad, KLUIS_EINVAL);
	r.keyring_revision = 1; /* Not the first one. */
	r.keyring_hash[0] = 1;
	fixture_next_keyring(&r, 0);
	bad.person_register.keyring = buf_bytes(&r.keyring);
	person_expect(w, &bad, KLUIS_EINVAL);
	bad.person_register.keyring = buf_bytes(&w->p.keyring); /* Of another owner. */
	person_expect(w, &bad, KLUIS_EINVAL);
	good = fixture_register(&r);
	person_expect(w, &good, 0);
	fixture_person_release(&r);
}

static struct command invite_create(uint8_t hash, uint32_t uses)
{
	return (struct command){.type = COMMAND_INVITE_CREATE,
		.invite_create = {.actor = bytes_str("op"),
			.token_hash = {hash},
			.uses = uses,
			.ttl_ms = 1000,
			.note = bytes_str("for r")}};
}

static void test_invites(void **state)
{
	static const uint8_t known[32] = {1}, unknown[32] = {2};
	struct person_rig *w = *state;
	struct fixture_person r, s;
	struct command command = invite_create(1, 1);
	struct command gone = {.type = COMMAND_INVITE_DELETE,
		.invite_delete = {.actor = bytes_str("op"), .token_hash = {1}}};

	fixture_person_init(&r, 3);
	fixture_person_init(&s, 4);
	person_expect(w, &command, 0);
	assert_true(person_reply(w).number == w->m.now_ms + 1000);
	person_expect(w, &command, KLUIS_EEXIST);
	command = fixture_register(&r);
	command.person_register.invite = bytes_of(unknown, 32);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	command.person_register.invite = bytes_of(known, 32);
	person_expect(w, &command, 0);
	person_expect(w, &command, 0); /* Spent, but it is the same registration. */
	command = fixture_register(&s);
	command.person_register.invite = bytes_of(known, 32);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	/* Who was not invited does not learn whose names there are. */
	memcpy(s.name, w->p.name, sizeof s.name);
	command = fixture_register(&s);
	command.person_register.invite = bytes_of(known, 32);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	person_expect(w, &gone, KLUIS_ENOTFOUND);
	fixture_person_release(&s);
	fixture_person_init(&s, 4);
	command = invite_create(1, 2);
	person_expect(w, &command, 0);
	w->m.now_ms += 1000; /* Expired, though nothing has cleaned up. */
	command = fixture_register(&s);
	command.person_register.invite = bytes_of(known, 32);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	person_expire(w, 0);
	person_expect(w, &gone, KLUIS_ENOTFOUND);
	command = invite_create(1, 2);
	person_expect(w, &command, 0);
	person_expect(w, &gone, 0);
	fixture_person_release(&r);
	fixture_person_release(&s);
}

static void test_feature_level(void **state)
{
	struct fixture_machine m;
	struct fixture_client c;
	struct fixture_person r;
	struct command command;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	fixture_person_init(&r, 3);
	command = fixture_register(&r);
	assert_int_equal(fixture_machine_do(&m, &command), KLUIS_ECONFLICT);
	fixture_machine_level(&m);
	assert_int_equal(fixture_machine_do(&m, &command), 0);
	fixture_person_release(&r);
	fixture_machine_release(&m);
}

static uint32_t sample_count(unsigned i)
{
	return kdf_round(600000 + i % 8 * 1100000);
}

/* Counts that no client uses would mark the account, and every made-up answer drawn from it. */
static void test_usual_counts(void **state)
{
	static const uint32_t counts[][2] = {{600001, 1200002}, {600000, 1200001},
		{600000, 1800000}, {700000, 1400000}, {8000001, 16000002}, {12000000, 24000000}};
	struct person_rig *w = *state;
	struct fixture_person r;
	struct command command;

	fixture_person_init(&r, 3);
	command = fixture_register(&r);
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		store_u32(command.person_register.credentials.kdf + 4, counts[i][0]);
		store_u32(command.person_register.credentials.kdf + 8, counts[i][1]);
		person_expect(w, &command, KLUIS_EINVAL);
	}
	store_u32(command.person_register.credentials.kdf + 4, 8000000);
	store_u32(command.person_register.credentials.kdf + 8, 16000000);
	person_expect(w, &command, 0);
	fixture_person_release(&r);
}

/* The first 64 stand for ever. */
static void test_samples(void **state)
{
	struct person_rig *w = *state;
	struct samples_row before, after;
	struct kv_view *view;

	for (unsigned i = 3; i <= SRP_SAMPLE_MAX + 1; i++) {
		struct fixture_person r;
		struct command command;

		fixture_person_init(&r, i);
		command = fixture_register(&r);
		store_u32(command.person_register.credentials.kdf + 4, sample_count(i));
		store_u32(command.person_register.credentials.kdf + 8, 2 * sample_count(i));
		person_expect(w, &command, 0);
		fixture_person_release(&r);
		view = person_view(w);
		assert_int_equal(samples_store_get(view, &after, NULL), 0);
		kv_view_free(view);
		assert_int_equal(after.n, i < SRP_SAMPLE_MAX ? i : SRP_SAMPLE_MAX);
		if (i == SRP_SAMPLE_MAX) {
			before = after;
		}
	}
	assert_memory_equal(&before, &after, sizeof before);
	assert_int_equal(
		after.sample[SRP_SAMPLE_MAX - 1].login_count, sample_count(SRP_SAMPLE_MAX));
}

static void test_login_refusals(void **state)
{
	struct person_rig *w = *state;
	struct command good = fixture_login(&w->p, 10, true), bad;
	struct command rule = {.type = COMMAND_PERSON_RULE,
		.person_rule = {.actor = bytes_str("op"),
			.name = bytes_str(w->p.name),
			.what = PERSON_DISABLE}};

	bad = good;
	bad.person_login.credential = 2;
	person_expect(w, &bad, KLUIS_EUNAUTHENTICATED);
	bad = good;
	memset(bad.person_login.user_id, 9, 16);
	person_expect(w, &bad, KLUIS_EUNAUTHENTICATED);
	bad = good;
	memcpy(bad.person_login.user_id, w->service.user_id, 16); /* No person. */
	memcpy(bad.person_login.device_id, w->service.device_id, 16);
	person_expect(w, &bad, KLUIS_EUNAUTHENTICATED);
	bad = good;
	memcpy(bad.person_login.device_id, w->q.device_id, 16);
	person_expect(w, &bad, KLUIS_EUNAUTHENTICATED);
	person_expect(w, &good, 0);
	person_level(w, 10, SESSION_FULL);
	assert_int_equal(person_reply(w).hash[0], SESSION_FULL);
	person_expect(w, &good, 0); /* Again. */
	bad = fixture_login(&w->q, 10, true);
	person_expect(w, &bad, KLUIS_EEXIST); /* Somebody else's token. */
	person_expect(w, &rule, 0);
	person_level(w, 10, 0);
	good = fixture_login(&w->p, 11, true);
	person_expect(w, &good, KLUIS_EUNAUTHENTICATED);
	rule.person_rule.what = PERSON_ENABLE;
	person_expect(w, &rule, 0);
	person_expect(w, &good, 0);
}

static struct command failed(unsigned kind, const uint8_t id[16], const uint8_t user_id[16])
{
	struct command command = {
		.type = COMMAND_LOGIN_FAILED, .login_failed = {.kind = (uint8_t)kind}};

	memcpy(command.login_failed.id, id, 16);
	memcpy(command.login_failed.user_id, user_id, 16);
	return command;
}

/* Ten failures are free; then each is worth twice the wait, for a right password as for a wrong
 * one.
 */
static void guard_climb(struct person_rig *w, const uint8_t id[16])
{
	struct command fail = failed(GUARD_PASSWORD, id, id);
	uint64_t delay_ms = GUARD_DELAY_MS_MIN;

	for (unsigned i = 1; i < GUARD_FREE; i++) {
		person_expect(w, &fail, 0);
		assert_true(person_reply(w).number == 0);
	}
	for (unsigned i = 0; i < 14; i++) {
		person_expect(w, &fail, 0);
		assert_true(person_reply(w).number == w->m.now_ms + delay_ms);
		w->m.now_ms += delay_ms - 1;
		person_expect(w, &fail, KLUIS_ERATE);
		w->m.now_ms++;
		delay_ms = delay_ms * 2 < GUARD_DELAY_MS_MAX ? delay_ms * 2 : GUARD_DELAY_MS_MAX;
	}
	assert_true(delay_ms == GUARD_DELAY_MS_MAX);
}

static void test_guard(void **state)
{
	static const uint8_t stranger[16] = {0xee};
	struct person_rig *w = *state;
	struct command fail = failed(GUARD_PASSWORD, w->q.user_id, w->q.user_id);
	struct command login = fixture_login(&w->q, 10, false);
	struct command by_device = fixture_login(&w->q, 11, true);

	guard_climb(w, w->q.user_id);
	person_expect(w, &fail, 0);
	person_expect(w, &login, KLUIS_ERATE); /* The right password. */
	person_expect(w, &by_device, 0);       /* The owner's own device is not slowed down. */
	w->m.now_ms += GUARD_DELAY_MS_MAX;
	person_expect(w, &login, 0);
	person_expect(w, &fail, 0); /* All was forgotten. */
	assert_true(person_reply(w).number == 0);
	assert_true(person_events(w, &w->q, ACCESS_LOGIN_FAILED) > 20);
	assert_int_equal(person_events(w, &w->p, ACCESS_LOGIN_FAILED), 0);
	/* Of nobody: the same in all. */
	guard_climb(w, stranger);
}

/* Nobody guesses an account key: strangers who fail in its owner's name do not hold her up. */
static void test_guard_and_account_key(void **state)
{
	struct person_rig *w = *state;
	struct command fail = failed(GUARD_PASSWORD, w->p.user_id, w->p.user_id);
	struct command login = fixture_login(&w->p, 10, false);

	guard_climb(w, w->p.user_id);
	person_expect(w, &fail, 0);
	person_expect(w, &fail, KLUIS_ERATE);
	person_expect(w, &login, 0);
	person_level(w, 10, SESSION_FULL);
}

/* The right password from a wrong place: one guess of a delay, like any other, no session, and its
 * owner is told. */
static void test_elsewhere(void **state)
{
	struct person_rig *w = *state;
	struct command login = fixture_login(&w->q, 10, false);
	struct command by_device = fixture_login(&w->q, 11, true);

	login.person_login.elsewhere = by_device.person_login.elsewhere = true;
	for (unsigned i = 0; i < GUARD_FREE; i++) {
		person_expect(w, &login, 0);
		assert_int_equal(person_reply(w).hash[0], 0);
		person_level(w, 10, 0);
	}
	assert_true(person_reply(w).number == w->m.now_ms + GUARD_DELAY_MS_MIN);
	person_expect(w, &login, KLUIS_ERATE);
	assert_int_equal(person_events(w, &w->q, ACCESS_LOGIN_REFUSED), GUARD_FREE);
	person_expect(w, &by_device, 0);
	assert_int_equal(person_reply(w).hash[0], 0);
	person_level(w, 11, 0);
	assert_int_equal(person_events(w, &w->q, ACCESS_LOGIN_REFUSED), GUARD_FREE + 1);
}

static void test_guard_of_a_device(void **state)
{
	struct person_rig *w = *state;
	struct command fail = failed(GUARD_DEVICE, w->p.device_id, w->p.user_id);
	struct command web = fixture_login(&w->p, 10, false);
	struct command device = fixture_login(&w->p, 11, true);

	for (unsigned i = 0; i < GUARD_FREE; i++) {
		person_expect(w, &fail, 0);
	}
	person_expect(w, &device, KLUIS_ERATE);
	person_expect(w, &web, 0);
	w->m.now_ms += GUARD_DELAY_MS_MIN;
	person_expect(w, &device, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_LOGIN_FAILED), GUARD_FREE);
}

/* A device id is anybody's to choose: who takes another's must not slow down its owner. */
static void test_guard_of_a_namesake(void **state)
{
	struct person_rig *w = *state;
	struct command fail = failed(GUARD_DEVICE, w->p.device_id, w->q.user_id);
	struct command login = fixture_login(&w->p, 10, true);

	for (unsigned i = 0; i < GUARD_FREE; i++) {
		person_expect(w, &fail, 0);
	}
	person_expect(w, &fail, KLUIS_ERATE);
	person_expect(w, &login, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_LOGIN_FAILED), 0);
}

static void test_guard_expires(void **state)
{
	static const uint8_t stranger[16] = {0xee}, nobody[16];
	struct person_rig *w = *state;
	struct command fail = failed(GUARD_PASSWORD, stranger, stranger);
	struct access_state_row log;
	struct kv_view *view;
	struct guard_row row;
	uint64_t n = 0;

	person_expect(w, &fail, 0);
	w->m.now_ms += 1000;
	person_expect(w, &fail, 0);
	view = person_view(w);
	/* The work of a failure against somebody. */
	assert_int_equal(access_store_state(view, nobody, &log, NULL), 0);
	assert_true(log.last == 2 && log.day_rows == 0);
	assert_int_equal(guard_store_get(view, GUARD_PASSWORD, stranger, &row, NULL), 0);
	assert_int_equal(row.failures, 2);
	assert_int_equal(guard_strangers_get(view, &n, NULL), 0);
	assert_true(n == 1);
	kv_view_free(view);
	person_expire(w, GUARD_KEPT_MS);
	view = person_view(w);
	assert_int_equal(guard_store_get(view, GUARD_PASSWORD, stranger, &row, NULL), 0);
	assert_int_equal(row.failures, 0);
	assert_int_equal(guard_strangers_get(view, &n, NULL), 0);
	assert_true(n == 0);
	kv_view_free(view);
}

static void test_no_web_login(void **state)
{
	static const uint8_t flags[4] = {0, 0, 0, IDENTITY_POLICY_NO_WEB}, bad[4] = {0, 0, 0, 4};
	struct person_rig *w = *state;
	struct command web = fixture_login(&w->p, 10, false);
	struct command policy;

	person_expect(w, &web, 0);
	person_level(w, 10, SESSION_FULL);
	policy = fixture_append(&w->p, 10, IDENTITY_POLICY, bytes_of(flags, 4));
	person_expect(w, &policy, KLUIS_EFORBIDDEN); /* A device's to say. */
	policy = fixture_append(&w->p, TOKEN_P, IDENTITY_POLICY, bytes_of(bad, 4));
	person_expect(w, &policy, KLUIS_EINVAL);
	policy = fixture_append(&w->p, TOKEN_P, IDENTITY_POLICY, bytes_of(flags, 4));
	person_expect(w, &policy, 0);
	fixture_appended(&w->p);
	person_level(w, 10, 0);
	person_level(w, TOKEN_P, SESSION_FULL);
	web = fixture_login(&w->p, 11, false);
	person_expect(w, &web, 0);
	assert_int_equal(person_reply(w).hash[0], 0);
	person_level(w, 11, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_LOGIN_REFUSED), 1);
	web = fixture_login(&w->p, 11, true);
	person_expect(w, &web, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_POLICY_CHANGED), 1);
}

/* A session without a device signs nothing: not even with the zero id in a head. */
static void test_without_a_device(void **state)
{
	struct person_rig *w = *state;
	struct command web = fixture_login(&w->p, 10, false);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct fixture_client c;

	person_expect(w, &web, 0);
	fixture_client_init(&c, 7);
	memcpy(c.user_id, w->p.user_id, 16);
	memset(c.device_id, 0, 16);
	memcpy(c.token_hash, fixture_token(10).token_hash, 32);
	fixture_vault_create(&c, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), KLUIS_EFORBIDDEN);
	memcpy(c.device_id, w->p.device_id, 16);
	memcpy(c.token_hash, w->p.token_hash, 32);
	fixture_vault_create(&c, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	fixture_committed(&c, bytes_of(NULL, 0));
	assert_int_equal(person_events(w, &w->p, ACCESS_VAULT_CREATED), 1);
	memcpy(c.token_hash, fixture_token(10).token_hash, 32);
	memset(c.device_id, 0, 16);
	fixture_stage(&c, 0, 1, 12, 1, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), KLUIS_EFORBIDDEN);
	fixture_commit(&c, bytes_of(NULL, 0), 1, false, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), KLUIS_EFORBIDDEN);
}

/* What destroys is a device's to ask for, while there is one. */
static void test_delete_by_a_device(void **state)
{
	struct person_rig *w = *state;
	struct command web = fixture_login(&w->p, 10, false), revoke;
	struct command gone = {
		.type = COMMAND_ACCOUNT_DELETE, .account_delete.session = fixture_token(10)};
	uint8_t body[18] = {0};

	person_expect(w, &web, 0);
	person_expect(w, &gone, KLUIS_EFORBIDDEN);
	memcpy(body, w->p.device_id, 16);
	revoke =
		fixture_append(&w->p, TOKEN_P, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
	person_expect(w, &revoke, 0);
	fixture_appended(&w->p);
	person_expect(w, &gone, 0); /* None is left. */
	gone.account_delete.session = fixture_token(TOKEN_Q);
	person_expect(w, &gone, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, person_rig_setup, person_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_registered),
		T(test_register_again),
		T(test_names_are_unique),
		T(test_register_refusals),
		T(test_invites),
		cmocka_unit_test(test_feature_level),
		T(test_usual_counts),
		T(test_samples),
		T(test_login_refusals),
		T(test_guard),
		T(test_guard_and_account_key),
		T(test_elsewhere),
		T(test_guard_of_a_device),
		T(test_guard_of_a_namesake),
		T(test_guard_expires),
		T(test_no_web_login),
		T(test_without_a_device),
		T(test_delete_by_a_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/lib/test.h"

#include <string.h>

#include "crypto/identity.h"
#include "storage/policy_store.h"
#include "storage/session_store.h"
#include "tests/unit/raft/lib/person_rig.h"

/* Keyrings by compare-and-set, the change of a password in one command, and recoveries. */

static struct command keyring_put(struct person_rig *w, unsigned token)
{
	return (struct command){.type = COMMAND_KEYRING_PUT,
		.keyring_put = {
			.session = fixture_token(token), .keyring = buf_bytes(&w->p.keyring)}};
}

static struct command password(struct person_rig *w, unsigned token, unsigned prf)
{
	struct command command = {
		.type = COMMAND_PASSWORD_CHANGE, .password_change.session = fixture_token(token)};

	w->p.credential++;
	fixture_credentials(&w->p, prf, &command.password_change.credentials);
	w->p.credential--;
	fixture_next_keyring(&w->p, prf);
	command.password_change.keyring = buf_bytes(&w->p.keyring);
	return command;
}

static void password_taken(struct person_rig *w)
{
	w->p.credential++;
	fixture_keyring_taken(&w->p);
}

static void test_put(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	fixture_next_keyring(&w->p, 0);
	command = keyring_put(w, TOKEN_P);
	person_expect(w, &command, 0);
	assert_true(person_reply(w).number == 2);
	fixture_keyring_taken(&w->p);
	assert_memory_equal(person_reply(w).hash, w->p.keyring_hash, 32);
	person_expect(w, &command, 0); /* The stored one again. */
	assert_true(person_reply(w).number == 2);
	assert_int_equal(person_events(w, &w->p, ACCESS_KEYRING_CHANGED), 1);
	w->p.keyring.data[w->p.keyring.len - 1] ^= 1; /* Another one of that revision. */
	person_expect(w, &command, KLUIS_EPRECONDITION);
	fixture_next_keyring(&w->p, 0);
	w->p.keyring.data[48] ^= 1; /* prev_hash */
	command = keyring_put(w, TOKEN_P);
	person_expect(w, &command, KLUIS_EPRECONDITION);
	fixture_next_keyring(&w->p, 0);
	w->p.keyring_revision++;
	fixture_next_keyring(&w->p, 0); /* Ahead of its time. */
	command = keyring_put(w, TOKEN_P);
	person_expect(w, &command, KLUIS_EPRECONDITION);
	w->p.keyring_revision--;
	fixture_next_keyring(&w->p, 0);
	command = keyring_put(w, TOKEN_Q); /* Of another owner. */
	person_expect(w, &command, KLUIS_EINVAL);
	command = keyring_put(w, TOKEN_P);
	command.keyring_put.keyring.len--;
	person_expect(w, &command, KLUIS_EINVAL);
	command = fixture_login(&w->p, 10, false);
	person_expect(w, &command, 0);
	command = keyring_put(w, 10);
	person_expect(w, &command, KLUIS_EFORBIDDEN); /* No device. */
	memcpy(command.keyring_put.session.token_hash, w->service.token_hash, 32);
	person_expect(w, &command, KLUIS_EFORBIDDEN); /* No person. */
}

static void test_ten_are_kept(void **state)
{
	struct person_rig *w = *state;
	struct keyring_row rows[KEYRING_VERSIONS_MAX], row;
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct kv_view *view;
	size_t n = 0;

	for (unsigned i = 0; i < 14; i++) {
		struct command command;

		fixture_next_keyring(&w->p, 0);
		command = keyring_put(w, TOKEN_P);
		person_expect(w, &command, 0);
		fixture_keyring_taken(&w->p);
	}
	view = person_view(w);
	assert_int_equal(keyring_store_list(view, w->p.user_id, rows, &n, NULL), 0);
	assert_int_equal(n, KEYRING_VERSIONS_MAX);
	assert_true(rows[0].revision == 6 && rows[9].revision == 15);
	assert_memory_equal(rows[9].hash, w->p.keyring_hash, 32);
	assert_int_equal(
		keyring_store_get(view, w->p.user_id, 5, &row, &object, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(keyring_store_get(view, w->p.user_id, 15, &row, &object, NULL), 0);
	assert_true(bytes_equal(buf_bytes(&object), buf_bytes(&w->p.keyring)));
	kv_view_free(view);
}

static void test_password(void **state)
{
	struct person_rig *w = *state;
	struct command old = fixture_login(&w->p, 10, true), command;
	struct unlock_row shares[UNLOCK_SHARES_MAX];
	struct person_row person;
	struct kv_view *view;
	size_t n = 0;

	person_expect(w, &old, 0);
	command = password(w, TOKEN_P, 1);
	person_expect(w, &command, 0);
	password_taken(w);
	person_expect(w, &command, 0); /* The answer was lost. */
	assert_true(person_reply(w).number == 2);
	person_level(w, TOKEN_P, SESSION_FULL);
	person_level(w, 10, 0);
	view = person_view(w);
	assert_int_equal(person_store_get(view, w->p.user_id, &person, NULL), 0);
	assert_true(person.credential == 2 && person.keyring_revision == 2);
	assert_true(person.recovered_until_ms == 0);
	assert_memory_equal(person.salt, command.password_change.credentials.salt, 16);
	assert_int_equal(unlock_store_list(view, w->p.user_id, shares, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_memory_equal(shares[1].share, command.password_change.credentials.share[1].share,
		UNLOCK_SEALED_BYTES);
	kv_view_free(view);
	old = fixture_login(&w->p, 11, true);
	old.person_login.credential = 1; /* A handshake that began before. */
	person_expect(w, &old, KLUIS_EUNAUTHENTICATED);
	old.person_login.credential = 2;
	person_expect(w, &old, 0);
	command = password(w, TOKEN_P, 0); /* One share fewer: the other one goes. */
	person_expect(w, &command, 0);
	view = person_view(w);
	assert_int_equal(unlock_store_list(view, w->p.user_id, shares, &n, NULL), 0);
	assert_int_equal(n, 1);
	kv_view_free(view);
	assert_int_equal(person_events(w, &w->p, ACCESS_PASSWORD_CHANGED), 2);
}

static void test_password_refusals(void **state)
{
	struct person_rig *w = *state;
	struct command good = password(w, TOKEN_P, 0), bad = good;

	bad.password_change.credentials.n_shares = 2;
	memset(bad.password_change.credentials.share[1].slot_id, 0xff, 16);
	person_expect(w, &bad, KLUIS_EINVAL);
	bad = good;
	bad.password_change.credentials.kdf[0] = 9;
	person_expect(w, &bad, KLUIS_ESUITE);
	w->p.keyring.data[48] ^= 1; /* prev_hash */
	person_expect(w, &good, KLUIS_EPRECONDITION);
	w->p.keyring.data[48] ^= 1;
	bad = fixture_login(&w->p, 10, false);
	person_expect(w, &bad, 0);
	bad = good;
	bad.password_change.session = fixture_token(10);
	person_expect(w, &bad, KLUIS_EFORBIDDEN);
	bad.password_change.session = fixture_token(TOKEN_Q);
	person_expect(w, &bad, KLUIS_EINVAL); /* Another's keyring. */
	w->m.now_ms += FRESH_LOGIN_MS + 1;
	person_expect(w, &good, KLUIS_EFORBIDDEN); /* A token that may have been found. */
	bad = fixture_login(&w->p, 11, true);
	person_expect(w, &bad, 0);
	good.password_change.session = fixture_token(11);
	person_expect(w, &good, 0);
}

static struct command recovery(struct person_rig *w, unsigned token, uint32_t delay_ms)
{
	struct command command = {.type = COMMAND_RECOVERY_BEGIN,
		.recovery_begin = {.credential = w->p.credential,
			.ttl_ms = FIXTURE_PERSON_TTL_MS,
			.delay_ms = delay_ms}};

	memcpy(command.recovery_begin.user_id, w->p.user_id, 16);
	memcpy(command.recovery_begin.token_hash, fixture_token(token).token_hash, 32);
	return command;
}

static void test_recovery(void **state)
{
	struct person_rig *w = *state;
	struct command command = recovery(w, 10, 60000), note, change;

	person_expect(w, &command, 0);
	assert_int_equal(person_reply(w).hash[0], SESSION_RECOVERY);
	person_expect(w, &command, 0); /* Again. */
	person_level(w, 10, SESSION_RECOVERY);
	note = (struct command){.type = COMMAND_ACCESS_NOTE,
		.access_note = {.session = fixture_token(10), .event = ACCESS_EXPORTED}};
	person_expect(w, &note, KLUIS_EFORBIDDEN); /* Nothing but the password. */
	command = recovery(w, 11, 60000);
	command.recovery_begin.elsewhere = true;
	person_expect(w, &command, 0);
	assert_int_equal(person_reply(w).hash[0], 0);
	person_level(w, 10, SESSION_RECOVERY); /* Under way as before. */
	person_level(w, 11, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_LOGIN_REFUSED), 1);
	change = password(w, 10, 0);
	person_expect(w, &change, KLUIS_EFORBIDDEN);
	w->m.now_ms += 59999;
	person_expect(w, &change, KLUIS_EFORBIDDEN);
	w->m.now_ms++;
	person_expect(w, &change, 0);
	password_taken(w);
	person_level(w, 10, 0);
	person_level(w, TOKEN_P, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_RECOVERY_STARTED), 1);
	assert_int_equal(person_events(w, &w->p, ACCESS_RECOVERED), 1);
	command = recovery(w, 11, 0);
	command.recovery_begin.credential = 1;
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED); /* The old code is dead. */
}

/* After it a device can be enrolled without one, for a day. */
static void test_recovered(void **state)
{
	static const uint8_t flags[4] = {0, 0, 0, IDENTITY_POLICY_NO_WEB};
	struct person_rig *w = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, part = BUF_INIT;
	uint8_t device[16] = {0x77};
	struct command command;

	command = fixture_append(&w->p, TOKEN_P, IDENTITY_POLICY, bytes_of(flags, 4));
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	command = recovery(w, 10, 0);
	person_expect(w, &command, 0);
	command = password(w, 10, 0);
	person_expect(w, &command, 0);
	password_taken(w);
	command = fixture_login(&w->p, 11, false);
	person_expect(w, &command, 0);
	fixture_device_body(device, &body);
	command = fixture_append(&w->p, 11, IDENTITY_POLICY, bytes_of((uint8_t[4]){0}, 4));
	person_expect(w, &command, KLUIS_EFORBIDDEN); /* To come back, and nothing else. */
	identity_body_vouch(&part, w->p.device_id, 1, NULL, 0);
	command = fixture_append(&w->p, 11, IDENTITY_DEVICE_VOUCH, buf_bytes(&part));
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	command = fixture_append(&w->p, 11, IDENTITY_DEVICE_ADD, buf_bytes(&body));
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	/* That device speaks from now on; the policy holds again. */
	device[0]++;
	buf_clear(&body);
	fixture_device_body(device, &body);
	command = fixture_append(&w->p, 11, IDENTITY_DEVICE_ADD, buf_bytes(&body));
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	command = fixture_login(&w->p, 12, false);
	person_expect(w, &command, 0);
	person_level(w, 12, 0);
}

/* What others had brought in by the old password does not stay: devices that ask, wrong codes; and
 * a later change of the password ends the day after a recovery. */
static void test_password_cleans(void **state)
{
	struct person_rig *w = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	uint8_t device[16] = {0x77};
	struct command command, ask = {.type = COMMAND_DEVICE_PEND};
	struct pending_row pending[PENDING_DEVICES_MAX];
	struct person_row person;
	struct guard_row guard;
	struct kv_view *view;
	size_t n = 9;

	command = fixture_login(&w->p, 12, false);
	person_expect(w, &command, 0);
	fixture_device_body(device, &body);
	command = fixture_append(&w->p, 12, IDENTITY_DEVICE_ADD, buf_bytes(&body));
	ask.device_pend.session = command.identity_append.session;
	ask.device_pend.statement = command.identity_append.statement;
	person_expect(w, &ask, 0);
	command = (struct command){
		.type = COMMAND_CODE_FAILED, .code_failed.session = fixture_token(12)};
	person_expect(w, &command, 0);
	command = recovery(w, 10, 0);
	person_expect(w, &command, 0);
	command = password(w, 10, 0);
	person_expect(w, &command, 0);
	password_taken(w);
	view = person_view(w);
	assert_int_equal(pending_store_list(view, w->p.user_id, pending, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(guard_store_get(view, GUARD_CODE, w->p.user_id, &guard, NULL), 0);
	assert_int_equal(guard.failures, 0);
	assert_int_equal(person_store_get(view, w->p.user_id, &person, NULL), 0);
	assert_true(person.recovered_until_ms == w->m.now_ms + RECOVERED_MS);
	kv_view_free(view);
	command = fixture_login(&w->p, 11, true);
	person_expect(w, &command, 0);
	command = password(w, 11, 0);
	person_expect(w, &command, 0);
	view = person_view(w);
	assert_int_equal(person_store_get(view, w->p.user_id, &person, NULL), 0);
	assert_true(person.recovered_until_ms == 0);
	kv_view_free(view);
}

static void test_recovery_keeps_its_clock(void **state)
{
	struct person_rig *w = *state;
	struct command command = recovery(w, 10, 60000);

	person_expect(w, &command, 0);
	w->m.now_ms += 30000;
	command = recovery(w, 11, 60000);
	person_expect(w, &command, 0);
	person_level(w, 10, 0);
	w->m.now_ms += 30000;
	command = password(w, 11, 0);
	person_expect(w, &command, 0);
}

/* A site whose settings are old cannot make the wait shorter than another wants it. */
static void test_recovery_waits_as_the_strictest_says(void **state)
{
	struct person_rig *w = *state;
	struct command policy = {.type = COMMAND_POLICY_ANNOUNCE,
		.policy_announce = {.node = 2,
			.registration = POLICY_OPEN,
			.recovery_delay_ms = 2 * FIXTURE_PERSON_TTL_MS}};
	struct command begin = recovery(w, 10, 0), change;

	person_expect(w, &policy, 0);
	person_expect(w, &begin, 0);
	w->m.now_ms += 2 * FIXTURE_PERSON_TTL_MS - 1;
	change = password(w, 10, 0);
	person_expect(w, &change, KLUIS_EFORBIDDEN);
	w->m.now_ms++;
	person_expect(w, &change, 0);
}

/* Who ended the thief's session ended his clock: he waits anew. */
static void test_recovery_ends_with_its_session(void **state)
{
	static const uint8_t flags[4] = {0, 0, 0, IDENTITY_POLICY_NO_WEB};
	struct person_rig *w = *state;
	struct command begin = recovery(w, 10, 60000);
	struct command ends[] = {{.type = COMMAND_SESSION_END,
					 .session_end = {.session = fixture_token(TOKEN_P),
						 .which = SESSION_END_ONE}},
		{.type = COMMAND_SESSION_END,
			.session_end = {.session = fixture_token(TOKEN_P),
				.which = SESSION_END_OTHERS}},
		fixture_append(&w->p, TOKEN_P, IDENTITY_POLICY, bytes_of(flags, 4)),
		{.type = COMMAND_PERSON_RULE,
			.person_rule = {.actor = bytes_str("op"),
				.name = bytes_str(w->p.name),
				.what = PERSON_END_SESSIONS}}};
	struct command change;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct kv_view *view;
		struct recovery_row row;

		begin = recovery(w, 10 + (unsigned)i, 60000);
		person_expect(w, &begin, 0);
		memcpy(ends[0].session_end.session_id, person_reply(w).id, 16);
		person_expect(w, &ends[i], 0);
		person_level(w, 10 + (unsigned)i, 0);
		view = person_view(w);
		assert_int_equal(
			recovery_store_get(view, w->p.user_id, &row, NULL), KLUIS_ENOTFOUND);
		kv_view_free(view);
		w->m.now_ms += 40000;
	}
	begin = recovery(w, 20, 60000);
	person_expect(w, &begin, 0);
	w->m.now_ms += 59999;
	change = password(w, 20, 0);
	person_expect(w, &change, KLUIS_EFORBIDDEN);
	w->m.now_ms++;
	person_expect(w, &change, 0);
}

static struct command upgrade(unsigned token, uint64_t number, uint32_t delay_ms)
{
	return (struct command){.type = COMMAND_SESSION_UPGRADE,
		.session_upgrade = {.session = fixture_token(token),
			.mfa_id = {1},
			.number = number,
			.ttl_ms = FIXTURE_PERSON_TTL_MS,
			.delay_ms = delay_ms}};
}

/* The wait begins once all is proven, and who has the code alone ends no recovery that was. */
static void test_recovery_waits_for_its_factor(void **state)
{
	struct person_rig *w = *state;
	struct command command, change;

	person_factor(w, TOKEN_P, MFA_TOTP, 1, 100);
	command = recovery(w, 10, 60000);
	person_expect(w, &command, 0);
	w->m.now_ms += 60000;
	command = upgrade(10, 101, 60000);
	person_expect(w, &command, 0);
	change = password(w, 10, 0);
	person_expect(w, &change, KLUIS_EFORBIDDEN);
	w->m.now_ms += 30000;
	command = recovery(w, 11, 60000); /* Of the code alone. */
	person_expect(w, &command, 0);
	person_level(w, 10, SESSION_RECOVERY);
	command = recovery(w, 12, 60000); /* Herself, once more: her clock goes on. */
	person_expect(w, &command, 0);
	command = upgrade(12, 102, 60000);
	person_expect(w, &command, 0);
	person_level(w, 10, 0);
	w->m.now_ms += 29999;
	change.password_change.session = fixture_token(12);
	person_expect(w, &change, KLUIS_EFORBIDDEN);
	w->m.now_ms++;
	person_expect(w, &change, 0);
	person_level(w, 11, 0);
}

static void test_recovery_cancelled(void **state)
{
	struct person_rig *w = *state;
	struct command cancel = {
		.type = COMMAND_RECOVERY_CANCEL, .recovery_cancel.session = fixture_token(TOKEN_P)};
	struct command command = recovery(w, 10, 60000);

	person_expect(w, &cancel, KLUIS_ENOTFOUND);
	person_expect(w, &command, 0);
	person_expect(w, &cancel, 0);
	person_level(w, 10, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_RECOVERY_CANCELLED), 1);
	person_expect(w, &command, 0);
	person_expire(w, FIXTURE_PERSON_TTL_MS); /* It ends by itself, too. */
	cancel = fixture_login(&w->p, 11, true);
	person_expect(w, &cancel, 0);
	cancel = (struct command){
		.type = COMMAND_RECOVERY_CANCEL, .recovery_cancel.session = fixture_token(11)};
	person_expect(w, &cancel, KLUIS_ENOTFOUND);
	person_factor(w, 11, MFA_TOTP, 1, 100);
	command = recovery(w, 12, 60000); /* Also one that lacks its factor. */
	person_expect(w, &command, 0);
	person_expect(w, &cancel, 0);
	person_level(w, 12, 0);
}

static void test_recovery_with_a_factor(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	person_factor(w, TOKEN_P, MFA_TOTP, 1, 100);
	command = recovery(w, 10, 0);
	person_expect(w, &command, 0);
	assert_int_equal(person_reply(w).hash[0], SESSION_RECOVERY_LOGIN);
	command = password(w, 10, 0);
	person_expect(w, &command, KLUIS_EMFA);
	command = upgrade(10, 101, 0);
	person_expect(w, &command, 0);
	assert_int_equal(person_reply(w).hash[0], SESSION_RECOVERY);
	command = password(w, 10, 0);
	person_expect(w, &command, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, person_rig_setup, person_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_put),
		T(test_ten_are_kept),
		T(test_password),
		T(test_password_refusals),
		T(test_recovery),
		T(test_recovered),
		T(test_password_cleans),
		T(test_recovery_keeps_its_clock),
		T(test_recovery_waits_as_the_strictest_says),
		T(test_recovery_ends_with_its_session),
		T(test_recovery_waits_for_its_factor),
		T(test_recovery_cancelled),
		T(test_recovery_with_a_factor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

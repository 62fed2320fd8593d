#include "tests/lib/test.h"

#include <string.h>

#include "storage/session_store.h"
#include "tests/unit/raft/lib/person_rig.h"

/* Second factors: a code is worth one login, on all sites together. */

static struct command upgrade(unsigned token, uint8_t id, uint64_t number)
{
	return (struct command){.type = COMMAND_SESSION_UPGRADE,
		.session_upgrade = {.session = fixture_token(token),
			.mfa_id = {id},
			.number = number,
			.ttl_ms = FIXTURE_PERSON_TTL_MS}};
}

static struct command add(unsigned token, unsigned method, uint8_t id)
{
	return (struct command){.type = COMMAND_MFA_ADD,
		.mfa_add = {.session = fixture_token(token),
			.mfa_id = {id},
			.method = (uint8_t)method,
			.secret = bytes_str("sealed"),
			.params = bytes_str("sha1/6"),
			.label = bytes_str("phone")}};
}

static struct command confirm(unsigned token, uint8_t id, uint64_t number)
{
	return (struct command){.type = COMMAND_MFA_CONFIRM,
		.mfa_confirm = {.session = fixture_token(token), .mfa_id = {id}, .number = number}};
}

static struct command removal(unsigned token, uint8_t id)
{
	return (struct command){.type = COMMAND_MFA_REMOVE,
		.mfa_remove = {.session = fixture_token(token), .mfa_id = {id}}};
}

static void login(struct person_rig *w, unsigned token, unsigned level)
{
	struct command command = fixture_login(&w->p, token, true);

	person_expect(w, &command, 0);
	assert_int_equal(person_reply(w).hash[0], level);
	person_level(w, token, level);
}

static void test_totp(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	person_factor(w, TOKEN_P, MFA_TOTP, 1, 1000);
	login(w, 10, SESSION_LOGIN);
	login(w, 11, SESSION_LOGIN);
	command = upgrade(10, 1, 1000); /* The step that enrolled it. */
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = upgrade(10, 1, 999);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = upgrade(10, 1, 1001);
	person_expect(w, &command, 0);
	assert_int_equal(person_reply(w).hash[0], SESSION_FULL);
	person_level(w, 10, SESSION_FULL);
	command = upgrade(11, 1, 1001); /* The same code on another site. */
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = upgrade(11, 2, 1002);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	command = upgrade(11, 1, UINT64_MAX); /* Nothing could come after it. */
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = upgrade(11, 1, 1002);
	person_expect(w, &command, 0);
	person_expect(w, &command, KLUIS_ECONFLICT); /* It has its second factor. */
	command = upgrade(TOKEN_Q, 1, 1003);
	person_expect(w, &command, KLUIS_ECONFLICT);
	assert_int_equal(person_events(w, &w->p, ACCESS_SECOND_FACTOR), 2);
	assert_int_equal(person_events(w, &w->p, ACCESS_MFA_ADDED), 1);
}

/* A session without its second factor does nothing. */
static void test_level_login(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	person_factor(w, TOKEN_P, MFA_TOTP, 1, 1000);
	login(w, 10, SESSION_LOGIN);
	command = add(10, MFA_TOTP, 2);
	person_expect(w, &command, KLUIS_EMFA);
	command = removal(10, 1);
	person_expect(w, &command, KLUIS_EMFA);
	fixture_next_keyring(&w->p, 0);
	command = (struct command){.type = COMMAND_KEYRING_PUT,
		.keyring_put = {.session = fixture_token(10), .keyring = buf_bytes(&w->p.keyring)}};
	person_expect(w, &command, KLUIS_EMFA);
	command = (struct command){
		.type = COMMAND_ACCOUNT_DELETE, .account_delete.session = fixture_token(10)};
	person_expect(w, &command, KLUIS_EMFA);
}

static void test_hotp(void **state)
{
	struct person_rig *w = *state;
	struct command command = add(TOKEN_P, MFA_HOTP, 1);

	command.mfa_add.next = 5;
	person_expect(w, &command, 0);
	command = confirm(TOKEN_P, 1, 4);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = confirm(TOKEN_P, 1, 5);
	person_expect(w, &command, 0);
	login(w, 10, SESSION_LOGIN);
	command = upgrade(10, 1, 5);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = upgrade(10, 1, 8); /* Some were pressed in vain. */
	person_expect(w, &command, 0);
	login(w, 11, SESSION_LOGIN);
	command = upgrade(11, 1, 7);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
}

static void test_fido2(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	person_factor(w, TOKEN_P, MFA_FIDO2, 1, 0); /* One that does not count. */
	login(w, 10, SESSION_LOGIN);
	command = upgrade(10, 1, 0);
	person_expect(w, &command, 0);
	login(w, 11, SESSION_LOGIN);
	command = upgrade(11, 1, 7); /* Now it does. */
	person_expect(w, &command, 0);
	login(w, 12, SESSION_LOGIN);
	for (uint64_t count = 0; count <= 7; count += 7) {
		command = upgrade(12, 1, count);
		person_expect(w, &command, KLUIS_EUNAUTHENTICATED); /* A clone. */
	}
	command = upgrade(12, 1, 8);
	person_expect(w, &command, 0);
}

/* Networks and places are judged by the node: they ask for no code. */
static void test_networks(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	person_factor(w, TOKEN_P, MFA_IP, 1, 0);
	login(w, 10, SESSION_FULL);
	person_factor(w, TOKEN_P, MFA_TOTP, 2, 5);
	login(w, 11, SESSION_LOGIN);
	command = upgrade(11, 1, 6);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	command = upgrade(11, 2, 6);
	person_expect(w, &command, 0);
	command = removal(11, 1);
	person_expect(w, &command, KLUIS_EMFA);
	command.mfa_remove.proof =
		(struct command_proof){.given = true, .mfa_id = {2}, .number = 7};
	person_expect(w, &command, 0);
	command = confirm(11, 2, 8);
	person_expect(w, &command, KLUIS_ECONFLICT); /* Proven before. */
}

static void test_pending(void **state)
{
	struct person_rig *w = *state;
	struct command command = add(TOKEN_P, MFA_TOTP, 1);

	person_expect(w, &command, 0);
	assert_true(person_reply(w).number == w->m.now_ms + MFA_PENDING_MS);
	person_expect(w, &command, KLUIS_EEXIST);
	login(w, 10, SESSION_FULL); /* It counts for nothing yet. */
	command = confirm(TOKEN_Q, 1, 5);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	person_expire(w, MFA_PENDING_MS);
	command = confirm(TOKEN_P, 1, 5);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	login(w, 11, SESSION_FULL);
	command = add(11, MFA_TOTP, 1);
	person_expect(w, &command, 0);
	command = removal(TOKEN_P, 1);
	person_expect(w, &command, 0);
	person_expect(w, &command, KLUIS_ENOTFOUND);
}

static void test_proofs(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	person_factor(w, TOKEN_P, MFA_TOTP, 1, 100);
	command = add(TOKEN_P, MFA_HOTP, 2);
	person_expect(w, &command, KLUIS_EMFA);
	command.mfa_add.proof = (struct command_proof){.given = true, .mfa_id = {1}, .number = 100};
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED); /* Spent. */
	command.mfa_add.proof.number = 101;
	person_expect(w, &command, 0);
	command = add(TOKEN_P, MFA_TOTP, 3);
	command.mfa_add.proof = (struct command_proof){.given = true, .mfa_id = {2}};
	person_expect(w, &command, KLUIS_ENOTFOUND); /* A pending one proves nothing. */
	command = removal(TOKEN_P, 1);
	person_expect(w, &command, KLUIS_EMFA);
	command.mfa_remove.proof =
		(struct command_proof){.given = true, .mfa_id = {1}, .number = 101};
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command.mfa_remove.proof.number = 102;
	person_expect(w, &command, 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_MFA_REMOVED), 1);
	login(w, 10, SESSION_FULL);
}

static void test_quota(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	for (unsigned i = 1; i <= MFA_PER_USER_MAX; i++) {
		command = add(TOKEN_P, MFA_TOTP, (uint8_t)i);
		person_expect(w, &command, 0);
	}
	command = add(TOKEN_P, MFA_TOTP, MFA_PER_USER_MAX + 1);
	person_expect(w, &command, KLUIS_EQUOTA);
	/* Services have none. */
	command = add(TOKEN_P, MFA_TOTP, 1);
	memcpy(command.mfa_add.session.token_hash, w->service.token_hash, 32);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
}

static void test_guard(void **state)
{
	struct person_rig *w = *state;
	struct command fail = {
		.type = COMMAND_CODE_FAILED, .code_failed.session = fixture_token(10)};
	struct command command;

	person_factor(w, TOKEN_P, MFA_TOTP, 1, 100);
	login(w, 10, SESSION_LOGIN);
	for (unsigned i = 1; i < GUARD_FREE; i++) {
		person_expect(w, &fail, 0);
		assert_true(person_reply(w).number == 0);
	}
	person_expect(w, &fail, 0);
	assert_true(person_reply(w).number == w->m.now_ms + GUARD_DELAY_MS_MIN);
	person_expect(w, &fail, KLUIS_ERATE);
	command = upgrade(10, 1, 200);
	person_expect(w, &command, KLUIS_ERATE); /* The right code, too. */
	command = removal(TOKEN_P, 1);
	command.mfa_remove.proof =
		(struct command_proof){.given = true, .mfa_id = {1}, .number = 201};
	person_expect(w, &command, KLUIS_ERATE);
	login(w, 11, SESSION_LOGIN); /* Passwords have their own. */
	w->m.now_ms += GUARD_DELAY_MS_MIN;
	command = upgrade(10, 1, 200);
	person_expect(w, &command, 0);
	person_expect(w, &fail, 0);
	assert_true(person_reply(w).number == 0);
	assert_int_equal(person_events(w, &w->p, ACCESS_SECOND_FACTOR_FAILED), GUARD_FREE + 1);
}

static struct command code_failed(unsigned token)
{
	return (struct command){
		.type = COMMAND_CODE_FAILED, .code_failed.session = fixture_token(token)};
}

/* Who knows the password, and no device, slows down her own like and nobody else: not the owner's
 * devices, and no assertion, which cannot be guessed. */
static void test_guard_of_strangers(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	person_factor(w, TOKEN_P, MFA_TOTP, 1, 100);
	person_factor(w, TOKEN_Q, MFA_FIDO2, 2, 5);
	command = fixture_login(&w->p, 10, false);
	person_expect(w, &command, 0);
	login(w, 11, SESSION_LOGIN);
	command = code_failed(10);
	for (unsigned i = 0; i < GUARD_FREE; i++) {
		person_expect(w, &command, 0);
	}
	person_expect(w, &command, KLUIS_ERATE);
	command = upgrade(10, 1, 200);
	person_expect(w, &command, KLUIS_ERATE);
	command = upgrade(11, 1, 200);
	person_expect(w, &command, 0); /* The owner's device. */
	command = fixture_login(&w->q, 12, false);
	person_expect(w, &command, 0);
	command = code_failed(12);
	for (unsigned i = 0; i < GUARD_FREE; i++) {
		person_expect(w, &command, 0);
	}
	person_expect(w, &command, KLUIS_ERATE);
	command = upgrade(12, 2, 6);
	person_expect(w, &command, 0);
	command = upgrade(10, 1, 201); /* Her success forgives nothing to the others. */
	person_expect(w, &command, KLUIS_ERATE);
}

/* What has expired is gone, whether the clean-up has come or not. */
static void test_expired_is_gone(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	for (unsigned i = 1; i <= MFA_PER_USER_MAX; i++) {
		command = add(TOKEN_P, MFA_TOTP, (uint8_t)i);
		person_expect(w, &command, 0);
	}
	w->m.now_ms += MFA_PENDING_MS - 1;
	command = confirm(TOKEN_P, 1, 5);
	person_expect(w, &command, 0);
	w->m.now_ms++;
	command = confirm(TOKEN_P, 2, 5);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	command = add(TOKEN_P, MFA_TOTP, 2);
	command.mfa_add.proof = (struct command_proof){.given = true, .mfa_id = {1}, .number = 6};
	person_expect(w, &command, 0);
}

/* A token that was found somewhere is no way to shut its owner out: the first factor, and a list,
 * are for a device that signed in just now. */
static void test_first_factor(void **state)
{
	struct person_rig *w = *state;
	struct command web = fixture_login(&w->p, 10, false), command;

	person_expect(w, &web, 0);
	command = add(10, MFA_TOTP, 1);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	person_factor(w, TOKEN_P, MFA_IP, 2, 0);
	w->m.now_ms += FRESH_LOGIN_MS + 1;
	command = add(TOKEN_P, MFA_TOTP, 1);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	command = add(TOKEN_P, MFA_LOCATION, 3);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	command = removal(TOKEN_P, 2);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	login(w, 11, SESSION_FULL);
	person_factor(w, 11, MFA_TOTP, 1, 100);
	command = add(TOKEN_P, MFA_LOCATION, 3); /* From now on a code is asked for, and enough. */
	person_expect(w, &command, KLUIS_EMFA);
	command.mfa_add.proof = (struct command_proof){.given = true, .mfa_id = {1}, .number = 101};
	person_expect(w, &command, 0);
}

/* Of an operator: no factor, no list, no session is left, and the owner reads who did it. */
static void test_reset(void **state)
{
	struct person_rig *w = *state;
	struct command rule = {.type = COMMAND_PERSON_RULE,
		.person_rule = {.actor = bytes_str("op"),
			.name = bytes_str(w->p.name),
			.what = PERSON_MFA_RESET}};
	struct command web = fixture_login(&w->p, 9, false);
	struct command fail = code_failed(9);

	person_factor(w, TOKEN_P, MFA_IP, 2, 0);
	person_factor(w, TOKEN_P, MFA_TOTP, 1, 100);
	person_expect(w, &web, 0);
	for (unsigned i = 0; i < GUARD_FREE; i++) {
		person_expect(w, &fail, 0);
	}
	person_expect(w, &rule, 0);
	person_level(w, TOKEN_P, 0);
	login(w, 10, SESSION_FULL);
	person_factor(w, 10, MFA_TOTP, 3, 100);
	person_expect(w, &web, 0);
	person_expect(w, &fail, 0);
	assert_true(person_reply(w).number == 0); /* The old failures are forgotten. */
	assert_int_equal(person_events(w, &w->p, ACCESS_MFA_RESET), 1);
	person_expect(w, &rule, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, person_rig_setup, person_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_totp),
		T(test_level_login),
		T(test_hotp),
		T(test_fido2),
		T(test_networks),
		T(test_pending),
		T(test_proofs),
		T(test_quota),
		T(test_guard),
		T(test_guard_of_strangers),
		T(test_expired_is_gone),
		T(test_first_factor),
		T(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

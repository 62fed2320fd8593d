#include "tests/lib/test.h"

#include <string.h>

#include "crypto/identity.h"
#include "storage/session_store.h"
#include "tests/unit/raft/lib/person_rig.h"

/* Sessions of persons: how a device comes into one, how many there are, and who makes room. */

static struct command device_session(
	const struct fixture_person *p, unsigned token, unsigned next_token)
{
	struct command command = {
		.type = COMMAND_SESSION_DEVICE, .session_device.session = fixture_token(token)};

	memcpy(command.session_device.device_id, p->device_id, 16);
	memcpy(command.session_device.token_hash, fixture_token(next_token).token_hash, 32);
	return command;
}

static struct command recovery(struct person_rig *w, unsigned token)
{
	struct command command = {.type = COMMAND_RECOVERY_BEGIN,
		.recovery_begin = {.credential = w->p.credential,
			.ttl_ms = FIXTURE_PERSON_TTL_MS,
			.delay_ms = 60000}};

	memcpy(command.recovery_begin.user_id, w->p.user_id, 16);
	memcpy(command.recovery_begin.token_hash, fixture_token(token).token_hash, 32);
	return command;
}

static void login(struct person_rig *w, unsigned token, bool by_device)
{
	struct command command = fixture_login(&w->p, token, by_device);

	person_expect(w, &command, 0);
}

static struct session_row session_of(struct person_rig *w, unsigned token)
{
	struct kv_view *view = person_view(w);
	struct session_row row;

	assert_int_equal(session_store_get(view, fixture_token(token).token_hash, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

/* A device's key is no password: by itself it signs nobody in. */
static void test_no_session_by_a_device_alone(void **state)
{
	struct person_rig *w = *state;
	struct command command = {.type = COMMAND_SESSION_CREATE,
		.session_create = {.level = SESSION_FULL, .ttl_ms = 1000}};

	memcpy(command.session_create.user_id, w->p.user_id, 16);
	memcpy(command.session_create.device_id, w->p.device_id, 16);
	memcpy(command.session_create.token_hash, fixture_token(10).token_hash, 32);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = device_session(&w->p, 10, 11); /* Of no session. */
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
}

static void test_device_takes_a_session_over(void **state)
{
	struct person_rig *w = *state;
	struct session_row before, after;
	struct command command;

	login(w, 10, false);
	before = session_of(w, 10);
	w->m.now_ms += 60000;
	command = device_session(&w->q, 10, 11);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED); /* Another's device. */
	command = device_session(&w->p, 10, 11);
	person_expect(w, &command, 0);
	assert_int_equal(person_reply(w).hash[0], SESSION_FULL);
	assert_true(person_reply(w).number == before.expires_ms);
	person_expect(w, &command, 0); /* Again. */
	assert_true(person_reply(w).number == before.expires_ms);
	person_level(w, 10, 0);
	person_level(w, 11, SESSION_FULL);
	after = session_of(w, 11);
	assert_memory_equal(after.device_id, w->p.device_id, 16);
	assert_true(after.created_ms == before.created_ms);
	assert_true(after.expires_ms == before.expires_ms);
	command = device_session(&w->q, TOKEN_Q, 11); /* That token is somebody's. */
	person_expect(w, &command, KLUIS_EEXIST);
	command = device_session(&w->p, 10, 12);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
}

/* It is worth what the session was: a second factor stays outstanding, a recovery is none. */
static void test_device_gives_no_level(void **state)
{
	struct person_rig *w = *state;
	struct command command = recovery(w, 20);

	person_expect(w, &command, 0);
	command = device_session(&w->p, 20, 21);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	person_factor(w, TOKEN_P, MFA_TOTP, 1, 100);
	login(w, 10, false);
	command = device_session(&w->p, 10, 11);
	person_expect(w, &command, 0);
	person_level(w, 11, SESSION_LOGIN);
}

static void test_waiting_sessions_end_soon(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	person_factor(w, TOKEN_P, MFA_TOTP, 1, 100);
	login(w, 10, true);
	command = recovery(w, 11);
	person_expect(w, &command, 0);
	w->m.now_ms += SESSION_WAIT_MS - 1;
	person_level(w, 10, SESSION_LOGIN);
	person_level(w, 11, SESSION_RECOVERY_LOGIN);
	command = (struct command){.type = COMMAND_SESSION_UPGRADE,
		.session_upgrade = {.session = fixture_token(10),
			.mfa_id = {1},
			.number = 101,
			.ttl_ms = FIXTURE_PERSON_TTL_MS}};
	person_expect(w, &command, 0);
	assert_true(person_reply(w).number == w->m.now_ms + FIXTURE_PERSON_TTL_MS);
	person_expire(w, 1);
	person_level(w, 10, SESSION_FULL);
	person_level(w, 11, 0);
}

/* Who has the password alone cannot fill what its owner needs. */
static void test_waiting_sessions_are_few(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	person_factor(w, TOKEN_P, MFA_TOTP, 1, 100);
	login(w, 10, true);
	command = recovery(w, 11);
	person_expect(w, &command, 0);
	for (unsigned i = 0; i < 3 * SESSIONS_WAITING_MAX; i++) {
		w->m.now_ms++;
		login(w, 100 + i, false);
	}
	person_level(w, 100 + 2 * SESSIONS_WAITING_MAX - 1, 0);
	person_level(w, 100 + 2 * SESSIONS_WAITING_MAX, SESSION_LOGIN);
	person_level(w, 10, SESSION_LOGIN);
	person_level(w, 11, SESSION_RECOVERY_LOGIN);
	person_level(w, TOKEN_P, SESSION_FULL);
}

/* However many there are: a login and a recovery find room, and the recovery keeps it. */
static void test_room_is_made(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	for (unsigned i = 0; i < SESSIONS_PER_USER_MAX; i++) {
		w->m.now_ms++;
		login(w, 1000 + i, false);
	}
	person_level(w, TOKEN_P, 0); /* The one that would have ended first. */
	command = recovery(w, 10);
	person_expect(w, &command, 0);
	person_level(w, 1000, 0);
	for (unsigned i = 0; i < SESSIONS_PER_USER_MAX; i++) {
		w->m.now_ms++;
		login(w, 2000 + i, false);
	}
	person_level(w, 10, SESSION_RECOVERY);
	person_level(w, 1000 + SESSIONS_PER_USER_MAX - 1, 0);
	person_level(w, 2000 + SESSIONS_PER_USER_MAX - 1, SESSION_FULL);
}

/* A service of the days before persons may have the device of zeros: what it asks for is refused,
 * not taken for damage, which would stop every node. */
static void test_service_with_a_device_of_zeros(void **state)
{
	struct fixture_machine m;
	struct fixture_client c, other;
	_cleanup_(buf_release) struct buf body = BUF_INIT, command = BUF_INIT;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &other);
	fixture_client_init(&c, 2);
	memset(c.device_id, 0, sizeof c.device_id);
	fixture_service_create(&c, &command);
	assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
	fixture_service_enrol(&c, &command);
	assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
	fixture_session_create(&c, SESSION_MS_MAX, &command);
	assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
	fixture_machine_level(&m);
	buf_put_zeros(&body, 16 + 2);
	fixture_identity_append(&c, IDENTITY_DEVICE_REVOKE, buf_bytes(&body), &command);
	assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), KLUIS_EFORBIDDEN);
	fixture_machine_release(&m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, person_rig_setup, person_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_no_session_by_a_device_alone),
		T(test_device_takes_a_session_over),
		T(test_device_gives_no_level),
		T(test_waiting_sessions_end_soon),
		T(test_waiting_sessions_are_few),
		T(test_room_is_made),
		cmocka_unit_test(test_service_with_a_device_of_zeros),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

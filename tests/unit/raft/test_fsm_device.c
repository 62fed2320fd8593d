#include "tests/lib/test.h"

#include <string.h>

#include "crypto/identity.h"
#include "storage/deletion_store.h"
#include "storage/session_store.h"
#include "tests/unit/raft/lib/person_rig.h"

/* Devices ask, are approved by others, and are revoked. */

static const uint8_t phone[16] = {0x77};

static struct command web_login(struct person_rig *w, unsigned token)
{
	struct command command = fixture_login(&w->p, token, false);

	person_expect(w, &command, 0);
	return command;
}

/* The request of a session to enrol that device. */
static struct command ask(struct person_rig *w, unsigned token, const uint8_t device_id[16])
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct command append, command = {.type = COMMAND_DEVICE_PEND};

	fixture_device_body(device_id, &body);
	append = fixture_append(&w->p, token, IDENTITY_DEVICE_ADD, buf_bytes(&body));
	command.device_pend.session = append.identity_append.session;
	command.device_pend.statement = append.identity_append.statement;
	return command;
}

static struct command add(struct person_rig *w, unsigned token, const uint8_t device_id[16])
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	fixture_device_body(device_id, &body);
	return fixture_append(&w->p, token, IDENTITY_DEVICE_ADD, buf_bytes(&body));
}

static struct command revoke(struct person_rig *w, unsigned token, const uint8_t device_id[16])
{
	uint8_t body[18] = {0};

	memcpy(body, device_id, 16);
	return fixture_append(&w->p, token, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
}

static void test_approved(void **state)
{
	struct person_rig *w = *state;
	struct command command;
	struct pending_row pending;
	struct device_row device;
	struct kv_view *view;

	(void)web_login(w, 10);
	command = add(w, 10, phone);
	person_expect(w, &command, KLUIS_EFORBIDDEN); /* Not by itself. */
	command = ask(w, 10, phone);
	person_expect(w, &command, 0);
	assert_memory_equal(person_reply(w).id, phone, 16);
	assert_true(person_reply(w).number == w->m.now_ms + PENDING_DEVICE_MS);
	person_expect(w, &command, 0); /* Again. */
	view = person_view(w);
	assert_int_equal(pending_store_get(view, w->p.user_id, phone, &pending, NULL), 0);
	/* Who approves checks the statement itself. */
	assert_true(bytes_equal(bytes_of(pending.statement, pending.statement_bytes),
		command.device_pend.statement));
	assert_int_equal(
		device_store_get(view, w->p.user_id, phone, &device, NULL), KLUIS_ENOTFOUND);
	kv_view_free(view);
	command = add(w, TOKEN_P, phone);
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	view = person_view(w);
	assert_int_equal(
		pending_store_get(view, w->p.user_id, phone, &pending, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(device_store_get(view, w->p.user_id, phone, &device, NULL), 0);
	kv_view_free(view);
	command = ask(w, 10, phone);
	person_expect(w, &command, KLUIS_EEXIST);
	assert_int_equal(person_events(w, &w->p, ACCESS_DEVICE_ASKED), 1);
	assert_int_equal(person_events(w, &w->p, ACCESS_DEVICE_ADDED), 1);
}

/* What is approved is the keys that asked: a session in between cannot put its own there. */
static void test_other_keys(void **state)
{
	struct person_rig *w = *state;
	struct command command;
	size_t key_at, name_at;

	(void)web_login(w, 10);
	command = ask(w, 10, phone);
	person_expect(w, &command, 0);
	command = add(w, TOKEN_P, phone);
	key_at = 72 + 16 + 2; /* Statement head with the body's length, device id, length. */
	w->p.statement.data[key_at + 7] ^= 1;
	person_expect(w, &command, KLUIS_EINVAL);
	w->p.statement.data[key_at + 7] ^= 1;
	command = ask(w, 10, phone);
	w->p.statement.data[key_at + 7] ^= 1;
	person_expect(w, &command, KLUIS_EEXIST);
	command = ask(w, TOKEN_Q, phone);
	person_expect(w, &command, KLUIS_EFORBIDDEN); /* A statement of another. */
	command = ask(w, 10, phone);
	command.device_pend.statement.len--;
	person_expect(w, &command, KLUIS_EINVAL);
	command = ask(w, 10, phone);
	name_at = key_at + 65 + 2 + 65 + 2;
	w->p.statement.data[name_at] = 0x1b;
	person_expect(w, &command, KLUIS_EINVAL); /* A name that a terminal would act on. */
	command = revoke(w, 10, phone);
	command.type = COMMAND_DEVICE_PEND;
	person_expect(w, &command, KLUIS_EINVAL); /* No device-add. */
}

static void test_refused_and_expired(void **state)
{
	struct person_rig *w = *state;
	struct command command, refuse = {.type = COMMAND_DEVICE_REFUSE,
					.device_refuse.session = fixture_token(TOKEN_P)};

	memcpy(refuse.device_refuse.device_id, phone, 16);
	(void)web_login(w, 10);
	person_expect(w, &refuse, KLUIS_ENOTFOUND);
	command = ask(w, 10, phone);
	person_expect(w, &command, 0);
	person_expect(w, &refuse, 0);
	person_expect(w, &refuse, KLUIS_ENOTFOUND);
	person_expect(w, &command, 0);
	person_expire(w, PENDING_DEVICE_MS);
	command = fixture_login(&w->p, 11, true);
	person_expect(w, &command, 0);
	refuse.device_refuse.session = fixture_token(11);
	person_expect(w, &refuse, KLUIS_ENOTFOUND);
}

/* What has expired is gone, whether the clean-up has come or not. */
static void test_expired_is_gone(void **state)
{
	struct person_rig *w = *state;
	struct command command;
	struct pending_row row;
	struct kv_view *view;
	uint8_t device[16] = {0x78};

	(void)web_login(w, 10);
	for (unsigned i = 0; i < PENDING_DEVICES_MAX; i++) {
		device[15] = (uint8_t)i;
		command = ask(w, 10, device);
		person_expect(w, &command, 0);
	}
	w->m.now_ms += PENDING_DEVICE_MS;
	command = fixture_login(&w->p, 11, false);
	person_expect(w, &command, 0);
	command = fixture_login(&w->p, 12, true);
	person_expect(w, &command, 0);
	command = ask(w, 11, device); /* Again, and there is room for it. */
	person_expect(w, &command, 0);
	assert_true(person_reply(w).number == w->m.now_ms + PENDING_DEVICE_MS);
	device[15] = 0;
	view = person_view(w);
	assert_int_equal(
		pending_store_get(view, w->p.user_id, device, &row, NULL), KLUIS_ENOTFOUND);
	kv_view_free(view);
	device[15] = PENDING_DEVICES_MAX - 1;
	w->m.now_ms += PENDING_DEVICE_MS;
	command = fixture_login(&w->p, 13, true);
	person_expect(w, &command, 0);
	/* Its keys bind nobody any more. */
	command = add(w, 13, device);
	w->p.statement.data[72 + 16 + 2 + 7] ^= 1;
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
}

static void test_eight_ask(void **state)
{
	struct person_rig *w = *state;
	struct command command;

	(void)web_login(w, 10);
	for (uint8_t i = 1; i <= PENDING_DEVICES_MAX + 1; i++) {
		uint8_t device[16] = {i};

		command = ask(w, 10, device);
		person_expect(w, &command, i <= PENDING_DEVICES_MAX ? 0 : KLUIS_EQUOTA);
	}
}

/* Who has no device left enrols one at once; revoking ends the device's sessions. */
static void test_revoked(void **state)
{
	static const uint8_t none[16];
	struct person_rig *w = *state;
	struct command command;

	(void)web_login(w, 10);
	command = revoke(w, 10, w->p.device_id);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
	command = revoke(w, TOKEN_P, w->p.device_id);
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	person_level(w, TOKEN_P, 0);
	person_level(w, 10, SESSION_FULL);
	command = fixture_login(&w->p, 11, true);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	command = add(w, 10, w->p.device_id);
	person_expect(w, &command, KLUIS_EEXIST); /* Never used twice. */
	command = add(w, 10, none);
	person_expect(w, &command, KLUIS_EINVAL); /* The id of no device. */
	command = add(w, 10, phone);
	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	assert_int_equal(person_events(w, &w->p, ACCESS_DEVICE_REVOKED), 1);
}

static size_t revocations(struct person_rig *w, struct deletion_note ret_notes[4])
{
	struct kv_view *view = person_view(w);
	size_t n = 0;

	assert_int_equal(deletion_notes(view, KEY_DEVICE_LEDGER, NULL, ret_notes, 4, &n, NULL), 0);
	kv_view_free(view);
	return n;
}

/* A ledger knows of each device that was revoked, once, so that no restore brings it back. */
static void test_revocation_is_noted(void **state)
{
	struct person_rig *w = *state;
	struct deletion_note notes[4];
	struct command command = add(w, TOKEN_P, phone);
	uint8_t id[16];

	person_expect(w, &command, 0);
	fixture_appended(&w->p);
	assert_int_equal(revocations(w, notes), 0);
	for (unsigned i = 0; i < 2; i++) { /* Nothing forbids to say it again. */
		command = revoke(w, TOKEN_P, phone);
		person_expect(w, &command, 0);
		fixture_appended(&w->p);
		assert_int_equal(revocations(w, notes), 1);
	}
	deletion_device_id(w->p.user_id, phone, id);
	assert_memory_equal(notes[0].id, id, sizeof id);
	assert_true(notes[0].time_ms == w->m.now_ms);
}

static void test_revoke_rows(void **state)
{
	struct person_rig *w = *state;
	uint8_t body[18 + 96] = {0};
	struct command command;

	memcpy(body, w->p.device_id, 16);
	body[17] = 2;
	body[18] = 2; /* Rows must ascend. */
	body[66] = 1;
	command =
		fixture_append(&w->p, TOKEN_P, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
	person_expect(w, &command, KLUIS_EINVAL);
	body[66] = 2;
	command =
		fixture_append(&w->p, TOKEN_P, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
	person_expect(w, &command, KLUIS_EINVAL); /* Twice. */
	body[66] = 3;
	command = fixture_append(
		&w->p, TOKEN_P, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body - 1));
	person_expect(w, &command, KLUIS_EINVAL);
	command =
		fixture_append(&w->p, TOKEN_P, IDENTITY_DEVICE_REVOKE, bytes_of(body, sizeof body));
	person_expect(w, &command, 0);
}

/* What is stricter from level 3 on is taken before: a node of an earlier version takes it, too. */
static void test_before_the_level(void **state)
{
	static const uint8_t flags[4] = {0, 0, 0, 0x80}, none[16];
	_cleanup_(buf_release) struct buf body = BUF_INIT, command = BUF_INIT;
	uint8_t rows[18 + 96] = {0};
	struct fixture_machine m;
	struct fixture_client c, kept;

	(void)state;
	fixture_machine_init(&m, NULL);
	fixture_machine_begin(&m, &c);
	fixture_device_body(none, &body);
	rows[17] = 2; /* Of the zero id, with a row twice. */
	for (unsigned level = 1; level <= FEATURE_LEVEL; level += FEATURE_LEVEL - 1) {
		int rc = level == 1 ? 0 : KLUIS_EINVAL;

		kept = c;
		fixture_identity_append(&c, IDENTITY_POLICY, bytes_of(flags, 4), &command);
		assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), rc);
		c = rc == 0 ? c : kept;
		fixture_identity_append(&c, IDENTITY_DEVICE_ADD, buf_bytes(&body), &command);
		assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), rc);
		c = rc == 0 ? c : kept;
		fixture_identity_append(
			&c, IDENTITY_DEVICE_REVOKE, bytes_of(rows, sizeof rows), &command);
		assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), rc);
		fixture_machine_level(&m);
	}
	fixture_machine_release(&m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, person_rig_setup, person_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_approved),
		T(test_other_keys),
		T(test_refused_and_expired),
		T(test_expired_is_gone),
		T(test_eight_ask),
		T(test_revoked),
		T(test_revocation_is_noted),
		T(test_revoke_rows),
		cmocka_unit_test(test_before_the_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

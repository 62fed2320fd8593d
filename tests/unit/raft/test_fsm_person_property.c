#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "crypto/identity.h"
#include "storage/index_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/person.h"

/* Whatever persons, strangers, operators and the clock do in whatever order: the rows hold
 * together, and another node comes to the same bytes however the entries were batched. */
enum { PERSONS = 3, TOKENS = 12, STEPS = 1200 };

struct history {
	struct fixture_machine m;
	struct random_seeded random;
	struct fixture_person p[PERSONS];
	struct entry *entry[STEPS + 128];
	size_t n;
	unsigned taken, refused;
};

static unsigned pick(struct history *h, unsigned n)
{
	return (unsigned)random_below(&h->random.random, n);
}

static int run(struct history *h, const struct command *command)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct bytes one;
	int rc;

	command_encode(command, &bytes);
	one = buf_bytes(&bytes);
	assert_true(h->n < ARRAY_SIZE(h->entry));
	h->entry[h->n] = fixture_machine_entry(&h->m, fsm_position(h->m.fsm)->index + 1, &one, 1);
	rc = fsm_apply(h->m.fsm, &h->entry[h->n], 1, &h->m.results, &h->m.err);
	if (rc != 0) {
		fail_msg("%s: %s", command_name(command->type), h->m.err.text);
	}
	h->n++;
	rc = h->m.results.result[0].rc;
	h->taken += rc == 0;
	h->refused += rc != 0;
	return rc;
}

static void step_session(struct history *h, struct fixture_person *p)
{
	struct command login = fixture_login(p, pick(h, TOKENS), pick(h, 2) == 0);
	struct command fail = {.type = COMMAND_LOGIN_FAILED,
		.login_failed = {.kind = pick(h, 2) == 0 ? GUARD_PASSWORD : GUARD_DEVICE}};
	struct command recovery = {.type = COMMAND_RECOVERY_BEGIN,
		.recovery_begin = {.credential = p->credential,
			.ttl_ms = 100000,
			.delay_ms = 1000 * pick(h, 3)}};
	struct command end = {.type = COMMAND_SESSION_END,
		.session_end = {
			.session = fixture_token(pick(h, TOKENS)), .which = SESSION_END_OTHERS}};

	struct command device = {.type = COMMAND_SESSION_DEVICE,
		.session_device = {.session = fixture_token(pick(h, TOKENS))}};

	login.person_login.elsewhere = pick(h, 8) == 0;
	memcpy(device.session_device.device_id, p->device_id, 16);
	memcpy(device.session_device.token_hash, fixture_token(pick(h, TOKENS)).token_hash, 32);
	memcpy(fail.login_failed.id, p->user_id, 16);
	memcpy(fail.login_failed.user_id, p->user_id, 16);
	fail.login_failed.id[0] ^= (uint8_t)pick(h, 3); /* Sometimes nobody. */
	memcpy(recovery.recovery_begin.user_id, p->user_id, 16);
	memcpy(recovery.recovery_begin.token_hash, fixture_token(pick(h, TOKENS)).token_hash, 32);
	switch (pick(h, 7)) {
	case 3:
		(void)run(h, &device);
		break;
	case 0:
		(void)run(h, &fail);
		break;
	case 1:
		(void)run(h, &recovery);
		break;
	case 2:
		(void)run(h, &end);
		break;
	default:
		(void)run(h, &login);
		break;
	}
}

static void step_keyring(struct history *h, struct fixture_person *p)
{
	struct command put = {
		.type = COMMAND_KEYRING_PUT, .keyring_put.session = fixture_token(pick(h, TOKENS))};
	struct command change = {.type = COMMAND_PASSWORD_CHANGE,
		.password_change.session = put.keyring_put.session};
	unsigned prf = pick(h, 3);

	fixture_next_keyring(p, prf);
	fixture_credentials(p, prf, &change.password_change.credentials);
	put.keyring_put.keyring = change.password_change.keyring = buf_bytes(&p->keyring);
	if (pick(h, 3) != 0) {
		if (run(h, &put) == 0) {
			fixture_keyring_taken(p);
		}
	} else if (run(h, &change) == 0) {
		fixture_keyring_taken(p);
		p->credential++;
	}
}

static void step_factor(struct history *h)
{
	struct command_session session = fixture_token(pick(h, TOKENS));
	uint8_t id = (uint8_t)pick(h, 4);
	uint64_t number = pick(h, 40);
	struct command_proof proof = {
		.given = pick(h, 2) == 0, .mfa_id = {(uint8_t)pick(h, 4)}, .number = number};
	struct command commands[] = {
		{.type = COMMAND_MFA_ADD,
			.mfa_add = {.session = session,
				.mfa_id = {id},
				.method = (uint8_t)(1 + pick(h, 5)),
				.proof = proof}},
		{.type = COMMAND_MFA_CONFIRM,
			.mfa_confirm = {.session = session, .mfa_id = {id}, .number = number}},
		{.type = COMMAND_SESSION_UPGRADE,
			.session_upgrade = {.session = session,
				.mfa_id = {id},
				.number = number,
				.ttl_ms = 100000,
				.delay_ms = 1000 * pick(h, 3)}},
		{.type = COMMAND_MFA_REMOVE,
			.mfa_remove = {.session = session, .mfa_id = {id}, .proof = proof}},
		{.type = COMMAND_CODE_FAILED, .code_failed.session = session},
		{.type = COMMAND_ACCESS_NOTE,
			.access_note = {.session = session, .event = ACCESS_EXPORTED}},
		{.type = COMMAND_RECOVERY_CANCEL, .recovery_cancel.session = session},
	};

	(void)run(h, &commands[pick(h, ARRAY_SIZE(commands))]);
}

static void step_device(struct history *h, struct fixture_person *p)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	uint8_t device[16] = {(uint8_t)(1 + pick(h, 20))};
	bool revoke = pick(h, 4) == 0;
	struct command command, pend = {.type = COMMAND_DEVICE_PEND};

	if (revoke) {
		buf_append(&body, device, 16);
		buf_put_u16(&body, 0);
	} else {
		fixture_device_body(device, &body);
	}
	command = fixture_append(p, pick(h, TOKENS),
		revoke ? IDENTITY_DEVICE_REVOKE : IDENTITY_DEVICE_ADD, buf_bytes(&body));
	pend.device_pend.session = command.identity_append.session;
	pend.device_pend.statement = command.identity_append.statement;
	if (pick(h, 2) == 0) {
		(void)run(h, &pend);
	} else if (run(h, &command) == 0) {
		fixture_appended(p);
	}
}

static void step_operator(struct history *h, struct fixture_person *p)
{
	static const uint8_t rules[] = {PERSON_DISABLE, PERSON_END_SESSIONS, PERSON_MFA_RESET};
	struct command rule = {.type = COMMAND_PERSON_RULE,
		.person_rule = {.actor = bytes_str("op"),
			.name = bytes_str(p->name),
			.what = (uint8_t)(pick(h, 4) == 0 ? rules[pick(h, ARRAY_SIZE(rules))]
							  : PERSON_ENABLE)}};
	struct command invite = {.type = COMMAND_INVITE_CREATE,
		.invite_create = {.token_hash = {(uint8_t)pick(h, 5)}, .uses = 1, .ttl_ms = 60000}};
	struct command withdraw = {.type = COMMAND_INVITE_DELETE,
		.invite_delete = {.token_hash = {(uint8_t)pick(h, 5)}}};

	switch (pick(h, 3)) {
	case 0:
		(void)run(h, &invite);
		break;
	case 1:
		(void)run(h, &withdraw);
		break;
	default:
		(void)run(h, &rule);
		break;
	}
}

static void step_time(struct history *h)
{
	static const uint64_t steps_ms[] = {1, 1000, 60000, 700000, 4000000, 90000000};
	struct command expire = {.type = COMMAND_EXPIRE, .expire = {.max_rows = 1 + pick(h, 40)}};

	h->m.now_ms += steps_ms[pick(h, ARRAY_SIZE(steps_ms))];
	(void)run(h, &expire);
}

static void step(struct history *h)
{
	struct fixture_person *p = &h->p[pick(h, PERSONS)];

	switch (pick(h, 10)) {
	case 0:
	case 1:
	case 2:
		step_session(h, p);
		break;
	case 3:
	case 4:
		step_keyring(h, p);
		break;
	case 5:
	case 6:
		step_factor(h);
		break;
	case 7:
		step_device(h, p);
		break;
	case 8:
		step_operator(h, p);
		break;
	default:
		step_time(h);
		break;
	}
}

static void begin(struct history *h)
{
	_cleanup_(buf_release) struct buf init = BUF_INIT;
	struct command command;

	fixture_cluster_init(&init, 6);
	assert_int_equal(command_decode(buf_bytes(&init), &command, NULL), 0);
	assert_int_equal(run(h, &command), 0);
	for (uint64_t node = 1; node <= 6; node++) {
		command = (struct command){.type = COMMAND_NODE_ANNOUNCE,
			.node_announce = {.node = node, .feature_level = FEATURE_LEVEL}};
		assert_int_equal(run(h, &command), 0);
	}
	for (unsigned i = 0; i < PERSONS; i++) {
		fixture_person_init(&h->p[i], i);
		command = fixture_register(&h->p[i]);
		assert_int_equal(run(h, &command), 0);
		fixture_keyring_taken(&h->p[i]);
		command = fixture_login(&h->p[i], i, true);
		assert_int_equal(run(h, &command), 0);
	}
}

static void expect_whole(struct history *h)
{
	struct err e = {0};

	if (fixture_check_store(h->m.kv, &e) != 0) {
		fail_msg("entry %zu: %s", h->n, e.text);
	}
}

static void root_of(struct kv *kv, uint8_t root[32])
{
	struct kv_view *view = kv_view_new(kv);
	uint64_t rows;

	assert_int_equal(index_store_root(view, root, &rows, NULL), 0);
	kv_view_free(view);
}

/* Another node, which is given several entries at once. */
static void expect_replay(struct history *h)
{
	struct fixture_machine m;
	uint8_t want[32], got[32];

	fixture_machine_init(&m, NULL);
	for (size_t i = 0; i < h->n;) {
		size_t n = 1 + pick(h, 9);

		n = n < h->n - i ? n : h->n - i;
		assert_int_equal(fsm_apply(m.fsm, &h->entry[i], n, &m.results, &m.err), 0);
		i += n;
	}
	assert_memory_equal(
		fsm_position(m.fsm), fsm_position(h->m.fsm), sizeof *fsm_position(m.fsm));
	root_of(m.kv, got);
	root_of(h->m.kv, want);
	assert_memory_equal(got, want, sizeof want);
	fixture_machine_release(&m);
}

/* At last everybody goes. */
static void end(struct history *h)
{
	struct command expire = {.type = COMMAND_EXPIRE, .expire = {.max_rows = EXPIRE_ROWS_MAX}};

	for (unsigned i = 0; i < PERSONS; i++) {
		struct command rule = {.type = COMMAND_PERSON_RULE,
			.person_rule = {.actor = bytes_str("op"),
				.name = bytes_str(h->p[i].name),
				.what = PERSON_DELETE}};

		assert_int_equal(run(h, &rule), 0);
		assert_int_equal(run(h, &rule), KLUIS_EGONE);
	}
	expect_whole(h);
	for (unsigned i = 0; i < 40; i++) {
		h->m.now_ms += 90000000;
		assert_int_equal(run(h, &expire), 0);
	}
	expect_whole(h);
}

static void history_run(uint64_t seed)
{
	struct history *h = x_calloc(1, sizeof *h);

	random_seeded_init(&h->random, seed);
	fixture_machine_init(&h->m, NULL);
	begin(h);
	for (unsigned i = 0; i < STEPS; i++) {
		step(h);
		if (i % 100 == 0) {
			expect_whole(h);
		}
	}
	end(h);
	expect_replay(h);
	/* Neither side may come to nothing. */
	assert_true(h->taken > STEPS / 5 && h->refused > STEPS / 5);
	for (size_t i = 0; i < h->n; i++) {
		entry_unref(h->entry[i]);
	}
	for (unsigned i = 0; i < PERSONS; i++) {
		fixture_person_release(&h->p[i]);
	}
	fixture_machine_release(&h->m);
	free(h);
}

static void test_histories(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		print_message("seed %llu\n", (unsigned long long)seed);
		history_run(seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

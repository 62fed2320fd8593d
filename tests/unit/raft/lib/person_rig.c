#include "tests/unit/raft/lib/person_rig.h"

#include <string.h>

#include "storage/session_store.h"
#include "storage/upkeep_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/test.h"

int person_rig_setup(void **state)
{
	struct person_rig *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->service);
	fixture_machine_level(&w->m);
	fixture_machine_person(&w->m, &w->p, TOKEN_P);
	fixture_machine_person(&w->m, &w->q, TOKEN_Q);
	*state = w;
	return 0;
}

int person_rig_teardown(void **state)
{
	struct person_rig *w = *state;
	struct err e = {0};

	if (fixture_check_store(w->m.kv, &e) != 0) {
		fail_msg("%s", e.text);
	}
	fixture_person_release(&w->p);
	fixture_person_release(&w->q);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

void person_expect(struct person_rig *w, const struct command *command, int rc)
{
	struct position before = *fsm_position(w->m.fsm);
	int got = fixture_machine_do(&w->m, command);

	if (got != rc) {
		fail_msg("%s: %s, expected %s (%s)", command_name(command->type), err_name(got),
			err_name(rc), w->m.err.text);
	}
	if (rc != 0) {
		assert_memory_equal(before.state_hash, fsm_position(w->m.fsm)->state_hash, 32);
		assert_int_equal(w->m.results.result[0].reply_len, 0);
	}
}

struct command_reply person_reply(const struct person_rig *w)
{
	return fixture_machine_reply(&w->m);
}

struct kv_view *person_view(struct person_rig *w)
{
	return kv_view_new(w->m.kv);
}

void person_level(struct person_rig *w, unsigned token, unsigned level)
{
	struct command_session session = fixture_token(token);
	struct kv_view *view = person_view(w);
	struct session_row row;
	int rc = session_store_check(view, session.token_hash, w->m.now_ms, &row, NULL);

	kv_view_free(view);
	assert_int_equal(rc, level == 0 ? KLUIS_EUNAUTHENTICATED : 0);
	if (rc == 0) {
		assert_int_equal(row.level, level);
	}
}

void person_expire(struct person_rig *w, uint64_t ms)
{
	struct command command = {.type = COMMAND_EXPIRE, .expire = {.max_rows = EXPIRE_ROWS_MAX}};
	bool due = true;

	w->m.now_ms += ms;
	for (unsigned i = 0; due; i++) {
		struct kv_view *view;

		assert_true(i < 10000);
		w->m.now_ms += EXPIRE_INTERVAL_MS;
		person_expect(w, &command, 0);
		view = person_view(w);
		assert_int_equal(upkeep_store_due(view, w->m.now_ms, &due, NULL), 0);
		kv_view_free(view);
	}
}

void person_factor(
	struct person_rig *w, unsigned token, unsigned method, uint8_t id, uint64_t number)
{
	struct command add = {.type = COMMAND_MFA_ADD,
		.mfa_add = {.session = fixture_token(token),
			.mfa_id = {id},
			.method = (uint8_t)method,
			.secret = bytes_str("sealed"),
			.label = bytes_str("phone")}};
	struct command confirm = {.type = COMMAND_MFA_CONFIRM,
		.mfa_confirm = {.session = fixture_token(token), .mfa_id = {id}, .number = number}};

	person_expect(w, &add, 0);
	if (method <= MFA_FIDO2) {
		person_expect(w, &confirm, 0);
	}
}

unsigned person_events(struct person_rig *w, const struct fixture_person *p, unsigned event)
{
	static struct access_row rows[1000];
	struct kv_view *view = person_view(w);
	unsigned found = 0;
	size_t n = 0;

	assert_int_equal(
		access_store_list(view, p->user_id, 0, rows, ARRAY_SIZE(rows), &n, NULL), 0);
	kv_view_free(view);
	for (size_t i = 0; i < n; i++) {
		found += rows[i].event == event;
	}
	return found;
}

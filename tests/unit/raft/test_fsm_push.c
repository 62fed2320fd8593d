#include "tests/lib/test.h"

#include <string.h>

#include "tests/unit/raft/lib/person_rig.h"

/* Subscriptions to push services: of a device, at most so many, gone with it. */

static struct command put(unsigned token, uint8_t id)
{
	return (struct command){.type = COMMAND_PUSH_PUT,
		.push_put = {.session = fixture_token(token),
			.push_id = {id},
			.kind = 1,
			.pepper_id = 7,
			.sealed = bytes_str("sealed")}};
}

static struct command removal(unsigned token, uint8_t id)
{
	return (struct command){.type = COMMAND_PUSH_DELETE,
		.push_delete = {.session = fixture_token(token), .push_id = {id}}};
}

static size_t list(struct person_rig *w, const struct fixture_person *p,
	struct push_row rows[PUSH_PER_USER_MAX])
{
	struct kv_view *view = person_view(w);
	size_t n = 0;

	assert_int_equal(push_store_list(view, p->user_id, rows, &n, NULL), 0);
	kv_view_free(view);
	return n;
}

static void test_put(void **state)
{
	struct person_rig *w = *state;
	struct push_row rows[PUSH_PER_USER_MAX];
	struct command command = put(TOKEN_P, 1);

	person_expect(w, &command, 0);
	assert_int_equal(person_reply(w).id[0], 1);
	assert_int_equal(list(w, &w->p, rows), 1);
	assert_memory_equal(rows[0].user_id, w->p.user_id, 16);
	assert_memory_equal(rows[0].device_id, w->p.device_id, 16);
	assert_int_equal(rows[0].kind, 1);
	assert_int_equal(rows[0].pepper_id, 7);
	assert_int_equal(rows[0].created_ms, w->m.now_ms);
	assert_int_equal(rows[0].sealed_bytes, 6);
	assert_memory_equal(rows[0].sealed, "sealed", 6);
	person_expect(w, &command, KLUIS_EEXIST);
	command = put(99, 2);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	/* The same id of another person is another row. */
	command = put(TOKEN_Q, 1);
	person_expect(w, &command, 0);
	assert_int_equal(list(w, &w->q, rows), 1);
	/* Without a device there is nobody to wake. */
	command = fixture_login(&w->p, 10, false);
	person_expect(w, &command, 0);
	command = put(10, 3);
	person_expect(w, &command, KLUIS_EFORBIDDEN);
}

/* A retry is answered as the first one was, whatever id it came with. */
static void test_once(void **state)
{
	struct person_rig *w = *state;
	struct push_row rows[PUSH_PER_USER_MAX];
	struct command command = put(TOKEN_P, 1);

	command.push_put.once.key = bytes_str("key");
	person_expect(w, &command, 0);
	command.push_put.push_id[0] = 2;
	person_expect(w, &command, 0);
	assert_int_equal(person_reply(w).id[0], 1);
	assert_int_equal(list(w, &w->p, rows), 1);
	command.push_put.once.body_hash[0] = 1;
	person_expect(w, &command, KLUIS_EIDEMPOTENCY);
	command.push_put.once.key = bytes_str("another");
	person_expect(w, &command, 0);
	assert_int_equal(list(w, &w->p, rows), 2);
}

static void test_a_device_renews(void **state)
{
	struct person_rig *w = *state;
	struct push_row rows[PUSH_PER_USER_MAX];

	for (uint8_t id = 1; id <= PUSH_PER_DEVICE_MAX + 2; id++) {
		struct command command = put(TOKEN_P, id);

		w->m.now_ms++;
		person_expect(w, &command, 0);
	}
	assert_int_equal(list(w, &w->p, rows), PUSH_PER_DEVICE_MAX);
	assert_int_equal(rows[0].push_id[0], 3); /* The oldest two are gone. */
}

static void test_delete(void **state)
{
	struct person_rig *w = *state;
	struct push_row rows[PUSH_PER_USER_MAX];
	struct command command = put(TOKEN_P, 1);

	person_expect(w, &command, 0);
	command = removal(TOKEN_Q, 1); /* Not hers. */
	person_expect(w, &command, KLUIS_ENOTFOUND);
	command = removal(99, 1);
	person_expect(w, &command, KLUIS_EUNAUTHENTICATED);
	/* Whose it is says the session, whatever else is in it. */
	command = removal(TOKEN_Q, 1);
	memcpy(command.push_delete.user_id, w->p.user_id, 16);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	command = removal(TOKEN_P, 1);
	person_expect(w, &command, 0);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	assert_int_equal(list(w, &w->p, rows), 0);
}

/* A node was told so by the push service. */
static void test_gone(void **state)
{
	struct person_rig *w = *state;
	struct push_row rows[PUSH_PER_USER_MAX];
	struct command command = put(TOKEN_P, 1);

	person_expect(w, &command, 0);
	command = (struct command){
		.type = COMMAND_PUSH_DELETE, .push_delete = {.gone = true, .push_id = {1}}};
	memcpy(command.push_delete.user_id, w->q.user_id, 16);
	person_expect(w, &command, KLUIS_ENOTFOUND);
	memcpy(command.push_delete.user_id, w->p.user_id, 16);
	person_expect(w, &command, 0);
	assert_int_equal(list(w, &w->p, rows), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_put, person_rig_setup, person_rig_teardown),
		cmocka_unit_test_setup_teardown(test_once, person_rig_setup, person_rig_teardown),
		cmocka_unit_test_setup_teardown(
			test_a_device_renews, person_rig_setup, person_rig_teardown),
		cmocka_unit_test_setup_teardown(test_delete, person_rig_setup, person_rig_teardown),
		cmocka_unit_test_setup_teardown(test_gone, person_rig_setup, person_rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/lib/test.h"

#include <string.h>

#include "storage/invite_store.h"
#include "storage/policy_store.h"
#include "storage/use_store.h"
#include "tests/unit/raft/lib/person_rig.h"

/* What the nodes' settings ask of accounts: the strictest of all holds, whichever node is asked;
 * and what a person's vaults may take. */

static struct command announce(uint64_t node, unsigned registration, uint64_t bytes, uint64_t pages)
{
	return (struct command){.type = COMMAND_POLICY_ANNOUNCE,
		.policy_announce = {.node = node,
			.registration = (uint8_t)registration,
			.bytes_max = bytes,
			.pages_max = pages}};
}

static struct policy in_force(struct person_rig *w)
{
	struct kv_view *view = person_view(w);
	struct policy policy;

	assert_int_equal(policy_store_get(view, &policy, NULL), 0);
	kv_view_free(view);
	return policy;
}

static struct quota quota_of(struct person_rig *w, const struct fixture_person *p)
{
	struct kv_view *view = person_view(w);
	struct quota quota;

	assert_int_equal(quota_get(view, p->user_id, &quota, NULL), 0);
	kv_view_free(view);
	return quota;
}

static void test_strictest(void **state)
{
	struct person_rig *w = *state;
	struct command command = announce(1, POLICY_OPEN, 0, 9);

	assert_int_equal(in_force(w).registration, POLICY_OPEN); /* Nobody has said anything. */
	command.policy_announce.recovery_delay_ms = 5000;
	person_expect(w, &command, 0);
	command = announce(2, POLICY_INVITE, 70, 0);
	command.policy_announce.recovery_delay_ms = 4000;
	person_expect(w, &command, 0);
	command = announce(3, POLICY_OPEN, 80, 11);
	person_expect(w, &command, 0);
	assert_int_equal(in_force(w).registration, POLICY_INVITE);
	assert_int_equal(in_force(w).recovery_delay_ms, 5000);
	assert_true(in_force(w).bytes_max == 70 && in_force(w).pages_max == 9);
	command = announce(2, POLICY_OPEN, 90, 0); /* Its settings were changed. */
	person_expect(w, &command, 0);
	assert_int_equal(in_force(w).registration, POLICY_OPEN);
	assert_true(in_force(w).bytes_max == 80);
	command = announce(77, POLICY_CLOSED, 0, 0); /* No node. */
	person_expect(w, &command, KLUIS_ENOTFOUND);
	assert_int_equal(in_force(w).registration, POLICY_OPEN);
}

static void test_registration(void **state)
{
	struct person_rig *w = *state;
	struct command command = announce(4, POLICY_INVITE, 0, 0), join, invite;
	struct fixture_person r;

	fixture_person_init(&r, 3);
	join = fixture_register(&r);
	person_expect(w, &command, 0);
	person_expect(w, &join, KLUIS_EFORBIDDEN);
	invite = (struct command){.type = COMMAND_INVITE_CREATE,
		.invite_create = {
			.actor = bytes_str("op"), .token_hash = {9}, .uses = 2, .ttl_ms = 1000}};
	person_expect(w, &invite, 0);
	join.person_register.invite = bytes_of(invite.invite_create.token_hash, 32);
	command = announce(5, POLICY_CLOSED, 0, 0);
	person_expect(w, &command, 0);
	person_expect(w, &join, KLUIS_EFORBIDDEN);
	command = announce(5, POLICY_OPEN, 0, 0);
	person_expect(w, &command, 0);
	person_expect(w, &join, 0);
	command = announce(5, POLICY_CLOSED, 0, 0);
	person_expect(w, &command, 0);
	person_expect(w, &join, 0); /* She is there: the first answer was lost. */
	fixture_person_release(&r);
}

static void vault_of(struct person_rig *w, unsigned number, struct fixture_client *c)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	fixture_client_init(c, number);
	memcpy(c->user_id, w->p.user_id, 16);
	memcpy(c->device_id, w->p.device_id, 16);
	memcpy(c->token_hash, w->p.token_hash, 32);
	fixture_vault_create(c, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), 0);
	fixture_committed(c, bytes_of(NULL, 0));
}

/* One page's next revision, of that size class, in a vault of so many pages. */
static void commit(struct person_rig *w, struct fixture_client *c, uint64_t page, unsigned bucket,
	uint64_t page_count, int rc)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT, bytes = BUF_INIT;

	fixture_entry(c, page, c->revision[page] + 1, bucket, w->m.now_ms, false, &entries);
	fixture_commit(c, buf_bytes(&entries), page_count, false, &bytes);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&bytes)), rc);
	if (rc == 0) {
		fixture_committed(c, buf_bytes(&entries));
	}
}

enum { SMALL = 4096 + 144, LARGE = 8192 + 144 };

/* All vaults together; what does not grow passes beyond the quota, and what goes makes room. */
static void test_bytes(void **state)
{
	struct person_rig *w = *state;
	struct command command = announce(1, POLICY_OPEN, 3 * SMALL, 0), gone;
	struct fixture_client one, two;

	person_expect(w, &command, 0);
	vault_of(w, 7, &one);
	vault_of(w, 8, &two);
	commit(w, &one, 0, 12, 1, 0);
	commit(w, &two, 0, 12, 1, 0);
	commit(w, &two, 1, 13, 2, KLUIS_EQUOTA);
	assert_true(quota_of(w, &w->p).used.bytes == 2 * SMALL);
	assert_true(quota_of(w, &w->p).max.bytes == 3 * SMALL);
	assert_true(quota_of(w, &w->p).used.pages == 2);
	commit(w, &two, 1, 12, 2, 0);
	command = announce(1, POLICY_OPEN, SMALL, 0); /* Less than is there. */
	person_expect(w, &command, 0);
	commit(w, &two, 1, 12, 2, 0);
	commit(w, &two, 1, 13, 2, KLUIS_EQUOTA);
	commit(w, &two, 1, 0, 2, 0); /* A tombstone. */
	assert_true(quota_of(w, &w->p).used.bytes == 2 * SMALL + 144);
	gone = (struct command){.type = COMMAND_VAULT_DELETE,
		.vault_delete = {.session = fixture_token(TOKEN_P), .revision = 1}};
	memcpy(gone.vault_delete.vault_id, two.vault_id, 16);
	person_expect(w, &gone, 0);
	assert_true(quota_of(w, &w->p).used.bytes == SMALL);
	assert_true(quota_of(w, &w->p).used.pages == 1);
	assert_true(quota_of(w, &w->q).used.bytes == 0);
}

/* The operator's word on one person, in either direction. */
static void test_one_person(void **state)
{
	struct person_rig *w = *state;
	struct command command = announce(1, POLICY_OPEN, SMALL, 3);
	struct command rule = {.type = COMMAND_PERSON_QUOTA,
		.person_quota = {.actor = bytes_str("op"),
			.name = bytes_str(w->p.name),
			.bytes_max = 10 * LARGE,
			.all_pages_max = 5}};
	struct fixture_client one;

	person_expect(w, &command, 0);
	vault_of(w, 7, &one);
	commit(w, &one, 0, 13, 1, KLUIS_EQUOTA);
	person_expect(w, &rule, 0);
	commit(w, &one, 0, 13, 5, 0);
	commit(w, &one, 1, 12, 6, KLUIS_EQUOTA); /* Pages. */
	commit(w, &one, 1, 12, 5, 0);
	assert_true(quota_of(w, &w->p).max.pages == 5);
	rule.person_quota.bytes_max = rule.person_quota.all_pages_max = 0;
	person_expect(w, &rule, 0);
	commit(w, &one, 1, 13, 5, KLUIS_EQUOTA);
	assert_true(quota_of(w, &w->p).max.pages == 3);
}

/* A service account is its operator's: nobody is charged. */
static void test_service(void **state)
{
	struct person_rig *w = *state;
	struct command command = announce(1, POLICY_OPEN, 1, 1);

	person_expect(w, &command, 0);
	commit(w, &w->service, 0, 12, 3, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, person_rig_setup, person_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_strictest),
		T(test_registration),
		T(test_bytes),
		T(test_one_person),
		T(test_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is bounded for each user, and what does not stay for ever. */
#include "tests/lib/test.h"

#include <string.h>

#include "storage/key_codec.h"
#include "storage/page_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

struct world {
	struct fixture_machine m;
	struct fixture_client c, other;
};

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	fixture_machine_join(&w->m, &w->other, 2);
	*state = w;
	return 0;
}

static void check_store(struct world *w)
{
	struct err e = {0};

	if (fixture_check_store(w->m.kv, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

static uint64_t staged_use(struct world *w, const struct fixture_client *c)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	uint64_t bytes = 77;

	assert_int_equal(page_store_staged_use(view, c->user_id, &bytes, NULL), 0);
	kv_view_free(view);
	return bytes;
}

static int stage(struct world *w, const struct fixture_client *c, uint64_t page, unsigned bucket)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;

	fixture_stage(c, page, 1, bucket, page, &command);
	return fixture_machine_run(&w->m, buf_bytes(&command));
}

static void expire_all(struct world *w)
{
	struct command expire = {.type = COMMAND_EXPIRE, .expire.max_rows = 3};

	do {
		w->m.now_ms += EXPIRE_INTERVAL_MS;
		assert_int_equal(fixture_machine_do(&w->m, &expire), 0);
	} while (fixture_machine_reply(&w->m).number > 0);
}

/* Counted while it is staged: from its first upload to its commit, its end, or its vault's. */
static void test_staged_bytes_are_counted(void **state)
{
	enum { PAGE = 4096 + 144 };
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct command gone = {.type = COMMAND_VAULT_DELETE};

	assert_int_equal(staged_use(w, &w->c), 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(stage(w, &w->c, i, 12), 0);
	}
	assert_int_equal(stage(w, &w->other, 0, 13), 0);
	assert_int_equal(staged_use(w, &w->c), 4 * PAGE);
	assert_int_equal(staged_use(w, &w->other), 8192 + 144);
	assert_int_equal(stage(w, &w->c, 3, 12), 0); /* Again: kept longer, counted once. */
	assert_int_equal(staged_use(w, &w->c), 4 * PAGE);
	check_store(w);
	fixture_entry(&w->c, 0, 1, 12, 0, true, &entries);
	fixture_entry(&w->c, 1, 1, 12, 1, true, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 2, false, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	fixture_committed(&w->c, buf_bytes(&entries));
	assert_int_equal(staged_use(w, &w->c), 2 * PAGE);
	memcpy(gone.vault_delete.session.token_hash, w->other.token_hash, 32);
	memcpy(gone.vault_delete.vault_id, w->other.vault_id, 16);
	gone.vault_delete.revision = 1;
	assert_int_equal(fixture_machine_do(&w->m, &gone), 0);
	expire_all(w);
	assert_int_equal(staged_use(w, &w->other), 0);
	assert_int_equal(staged_use(w, &w->c), 2 * PAGE);
	check_store(w);
	w->m.now_ms += STAGED_KEPT_MS;
	expire_all(w);
	assert_int_equal(staged_use(w, &w->c), 0);
	check_store(w);
}

/* A vault goes in many steps, and the queue of what expires goes on meanwhile: both count the same
 * references. The bytes of an older revision are staged once more, the staged row is the first that
 * goes, and then the revision's time comes. */
static void test_rows_expire_while_their_vault_goes(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct command gone = {.type = COMMAND_VAULT_DELETE, .vault_delete.revision = 1};
	struct command expire = {.type = COMMAND_EXPIRE, .expire.max_rows = 1};
	uint64_t end_ms = w->m.now_ms + VERSIONS_KEPT_MS;

	for (unsigned revision = 1; revision <= 2; revision++) {
		buf_clear(&entries);
		fixture_entry(&w->c, 0, revision, 12, 0, false, &entries);
		fixture_commit(&w->c, buf_bytes(&entries), 1, false, &command);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
		fixture_committed(&w->c, buf_bytes(&entries));
	}
	w->m.now_ms = end_ms - 60000;
	expire_all(w); /* Sessions. */
	fixture_session_create(&w->c, 3600000, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	assert_int_equal(stage(w, &w->c, 0, 12), 0);
	check_store(w);
	memcpy(gone.vault_delete.session.token_hash, w->c.token_hash, 32);
	memcpy(gone.vault_delete.vault_id, w->c.vault_id, 16);
	assert_int_equal(fixture_machine_do(&w->m, &gone), 0);
	w->m.now_ms += EXPIRE_INTERVAL_MS;
	assert_int_equal(fixture_machine_do(&w->m, &expire), 0);
	assert_int_equal(staged_use(w, &w->c), 0);
	check_store(w);
	w->m.now_ms = end_ms + 60000;
	assert_int_equal(fixture_machine_do(&w->m, &expire), 0);
	check_store(w);
	expire_all(w);
	check_store(w);
}

/* As if so much were staged already. */
static void set_staged_use(struct world *w, const struct fixture_client *c, uint64_t bytes)
{
	uint8_t key[17] = {KEY_STAGED_USE}, value[9] = {1};
	struct kv_change change = {.key = {key, sizeof key}, .value = {value, sizeof value}};

	memcpy(key + 1, c->user_id, 16);
	store_u64(value + 1, bytes);
	assert_int_equal(kv_write(w->m.kv, &change, 1, NULL), 0);
	/* The state machine looks at the store as it was when it last wrote. */
	assert_int_equal(stage(w, &w->other, 9, 12), 0);
}

static void test_staged_quota(void **state)
{
	enum { PAGE = (1 << 18) + 144 };
	struct world *w = *state;

	set_staged_use(w, &w->c, STAGED_USER_BYTES_MAX - 2 * PAGE);
	assert_int_equal(stage(w, &w->c, 0, 18), 0);
	assert_int_equal(stage(w, &w->c, 1, 18), 0);
	assert_int_equal(staged_use(w, &w->c), STAGED_USER_BYTES_MAX);
	assert_int_equal(stage(w, &w->c, 2, 0), KLUIS_EQUOTA);
	assert_int_equal(staged_use(w, &w->c), STAGED_USER_BYTES_MAX);
	assert_int_equal(stage(w, &w->c, 1, 18), 0);	 /* Nothing more than there was. */
	assert_int_equal(stage(w, &w->other, 0, 18), 0); /* Nobody else's matter. */
	w->m.now_ms += STAGED_KEPT_MS;
	expire_all(w);
	assert_int_equal(staged_use(w, &w->c), STAGED_USER_BYTES_MAX - 2 * PAGE);
}

static uint64_t audit_last(struct world *w)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	uint8_t hash[32];
	uint64_t last;

	assert_int_equal(audit_store_last(view, &last, hash, NULL), 0);
	kv_view_free(view);
	return last;
}

static bool audit_there(struct world *w, uint64_t seq)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct buf value = BUF_INIT;
	int rc = audit_store_get(view, seq, &value, NULL);

	assert_true(rc == 0 || rc == KLUIS_ENOTFOUND);
	buf_release(&value);
	kv_view_free(view);
	return rc == 0;
}

static bool upkeep_due(struct world *w)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	bool due = false;

	assert_int_equal(upkeep_store_due(view, w->m.now_ms, &due, NULL), 0);
	kv_view_free(view);
	return due;
}

/* Switches that are told in the audit. */
static void audited(struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct command c = {.type = COMMAND_READONLY};

		c.readonly.on = i % 2 == 0;
		c.readonly.actor = bytes_str("root");
		assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	}
}

static void test_audit_expires(void **state)
{
	struct world *w = *state;
	uint64_t old, all;

	audited(w, 10);
	old = audit_last(w);
	assert_true(old >= 10);
	w->m.now_ms += AUDIT_KEPT_MS - 60000;
	expire_all(w); /* Sessions and the like. */
	audited(w, 6);
	all = audit_last(w);
	assert_int_equal(all, old + 6);
	assert_true(audit_there(w, 1));
	assert_false(upkeep_due(w));
	w->m.now_ms += 60000;
	assert_true(upkeep_due(w));
	expire_all(w);
	assert_false(upkeep_due(w));
	assert_false(audit_there(w, 1) || audit_there(w, old));
	assert_true(audit_there(w, old + 1) && audit_there(w, all));
	audited(w, 2); /* The chain goes on. */
	assert_int_equal(audit_last(w), all + 2);
	check_store(w);
	/* All of it. */
	w->m.now_ms += 2 * AUDIT_KEPT_MS;
	expire_all(w);
	assert_false(audit_there(w, all + 2));
	assert_false(upkeep_due(w));
	audited(w, 1);
	assert_true(audit_there(w, all + 3));
	check_store(w);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_staged_bytes_are_counted),
		T(test_rows_expire_while_their_vault_goes),
		T(test_staged_quota),
		T(test_audit_expires),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

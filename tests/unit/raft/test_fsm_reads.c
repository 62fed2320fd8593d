#include "tests/lib/test.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/member.h"
#include "storage/cluster_store.h"
#include "storage/page_store.h"
#include "storage/session_store.h"
#include "storage/upkeep_store.h"
#include "storage/object_store.h"
#include "tests/lib/fixture/machine.h"

enum { COMMITS = 7 };

/* Two clients; the first commits pages 0 .. i in commit i (from 0), so 1 + 2 + .. changes. */
struct world {
	struct fixture_machine m;
	struct fixture_client c, other;
	struct kv_view *view;
};

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	fixture_machine_join(&w->m, &w->other, 2);
	for (uint64_t i = 0; i < COMMITS; i++) {
		_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

		for (uint64_t page = 0; page <= i; page++) {
			fixture_entry(&w->c, page, i - page + 1, 0, i * 16 + page, false, &entries);
		}
		fixture_commit(&w->c, buf_bytes(&entries), i + 1, false, &command);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
		fixture_committed(&w->c, buf_bytes(&entries));
	}
	w->view = kv_view_new(w->m.kv);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	kv_view_free(w->view);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

static void test_vault(void **state)
{
	struct world *w = *state;
	struct vault_row vault;
	struct member_of vaults[2];
	_cleanup_(buf_release) struct buf statement = BUF_INIT;
	unsigned role;
	size_t n;

	assert_int_equal(vault_store_check(w->view, w->c.vault_id, w->c.user_id, MEMBER_ADMIN,
				 &vault, &role, NULL),
		0);
	assert_int_equal(role, MEMBER_ADMIN);
	assert_true(vault.seq == 1 + COMMITS && vault.page_count == COMMITS);
	assert_memory_equal(vault.head_hash, w->c.head_hash, 32);
	assert_int_equal(vault.label_bytes, strlen("sealed label"));
	assert_int_equal(vault_store_check(w->view, w->c.vault_id, w->other.user_id, MEMBER_READ,
				 &vault, &role, NULL),
		KLUIS_ENOTFOUND);
	assert_int_equal(member_store_objects(w->view, MEMBER_OBJECT_VAULT, w->c.user_id, NULL,
				 vaults, 2, &n, NULL),
		0);
	assert_int_equal(n, 1);
	assert_memory_equal(vaults[0].object_id, w->c.vault_id, 16);
	assert_int_equal(member_store_objects(w->view, MEMBER_OBJECT_VAULT, w->c.user_id,
				 w->c.vault_id, vaults, 2, &n, NULL),
		0);
	assert_int_equal(n, 0);
	assert_int_equal(member_statement_get(w->view, w->c.vault_id, 1, &statement, NULL), 0);
	assert_memory_equal(statement.data, "KGR1", 4);
}

static void test_heads(void **state)
{
	struct world *w = *state;
	struct head_iter *iter = head_iter_new(w->view, w->c.vault_id, 3);
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct head_row row, one;
	uint64_t seq = 3;

	while (head_iter_next(iter, &row)) {
		assert_true(row.seq == ++seq);
		assert_int_equal(row.n_pages, row.seq - 1);
		assert_int_equal(
			head_store_get(w->view, w->c.vault_id, seq, &value, &one, NULL), 0);
		assert_true(bytes_equal(one.signed_head, row.signed_head));
		assert_memory_equal(one.hash, row.hash, 32);
	}
	assert_int_equal(head_iter_status(iter, NULL), 0);
	assert_true(seq == 1 + COMMITS);
	head_iter_free(iter);
	assert_int_equal(head_store_get(w->view, w->c.vault_id, seq + 1, &value, &one, NULL),
		KLUIS_ENOTFOUND);
}

/* The same changes in whatever pieces, nothing twice and nothing left out. */
static void test_changes(void **state)
{
	struct world *w = *state;

	for (size_t max = 1; max <= 40; max += 3) {
		struct change_cursor cursor = {1, UINT64_MAX};
		struct change changes[40];
		uint64_t seq = 2, page = 0;
		bool done = false;
		size_t n, calls = 0;

		while (!done) {
			assert_int_equal(head_store_changes(w->view, w->c.vault_id, &cursor,
						 changes, max, &n, &done, NULL),
				0);
			assert_true(n == max || done);
			assert_true(calls++ < 60);
			for (size_t i = 0; i < n; i++) {
				assert_true(changes[i].seq == seq);
				assert_true(changes[i].page.page_no == page);
				assert_true(changes[i].page.revision == seq - 1 - page);
				page = page + 1 == seq - 1 ? 0 : page + 1;
				seq += page == 0;
			}
		}
		assert_true(seq == 2 + COMMITS && page == 0);
		assert_true(cursor.seq == 1 + COMMITS && cursor.page_no == UINT64_MAX);
	}
}

static void test_pages(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct page_row row, rows[PAGE_VERSIONS_MAX + 1];
	size_t n;

	assert_int_equal(page_store_get(w->view, w->c.vault_id, 0, &row, NULL), 0);
	assert_true(row.revision == COMMITS && row.seq == 1 + COMMITS);
	assert_int_equal(page_store_bytes(w->view, w->c.vault_id, &row, &bytes, NULL), 0);
	assert_int_equal(bytes.len, row.bytes);
	assert_int_equal(page_store_revision(w->view, w->c.vault_id, 0, 2, &row, NULL), 0);
	assert_true(row.revision == 2 && row.expires_ms > row.committed_ms);
	assert_int_equal(
		page_store_revision(w->view, w->c.vault_id, 0, 99, &row, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(page_store_get(w->view, w->c.vault_id, 99, &row, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(page_store_versions(w->view, w->c.vault_id, 1, rows, &n, NULL), 0);
	assert_int_equal(n, COMMITS - 1);
	for (size_t i = 0; i < n; i++) {
		assert_true(rows[i].revision == n - i);
	}
	row.hash[0] ^= 1;
	assert_int_equal(
		page_store_bytes(w->view, w->c.vault_id, &row, &bytes, NULL), KLUIS_ECORRUPT);
}

/* A page's bytes in the store are others: a flipped bit that no checksum of the store found, or one
 * byte less. */
static void test_pages_that_changed(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT, found = BUF_INIT;
	struct page_row row;

	assert_int_equal(page_store_get(w->view, w->c.vault_id, 0, &row, NULL), 0);
	assert_int_equal(page_store_bytes(w->view, w->c.vault_id, &row, &bytes, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		struct row_key key = row_key_begin(KEY_BYTES);
		struct kv_change change;
		struct kv_view *view;

		row_key_put_id(&key, w->c.vault_id);
		row_key_put_hash(&key, row.hash);
		change = (struct kv_change){.key = row_key_bytes(&key), .value = buf_bytes(&bytes)};
		bytes.data[bytes.len / 2] ^= i == 0;
		change.value.len -= i == 1;
		assert_int_equal(kv_write(w->m.kv, &change, 1, NULL), 0);
		bytes.data[bytes.len / 2] ^= i == 0;
		view = kv_view_new(w->m.kv);
		buf_clear(&found);
		assert_int_equal(page_store_bytes(view, w->c.vault_id, &row, &found, NULL),
			i < 2 ? KLUIS_ECORRUPT : 0);
		assert_int_equal(found.len, i < 2 ? 0 : bytes.len);
		kv_view_free(view);
	}
}

static void test_accounts_and_sessions(void **state)
{
	struct world *w = *state;
	struct account_row accounts[3];
	struct device_row devices[2];
	struct session_row sessions[2], session;
	uint64_t now = fsm_position(w->m.fsm)->cluster_time_ms;
	_cleanup_(buf_release) struct buf statement = BUF_INIT;
	size_t n;

	assert_int_equal(account_store_list(w->view, "", accounts, 3, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(accounts[0].name, "service-1");
	assert_int_equal(account_store_list(w->view, "service-1", accounts, 3, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(accounts[0].name, "service-2");
	assert_int_equal(device_store_list(w->view, w->c.user_id, NULL, devices, 2, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_memory_equal(devices[0].device_id, w->c.device_id, 16);
	assert_int_equal(session_store_list(w->view, w->c.user_id, NULL, sessions, 2, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(session_store_list(w->view, w->c.user_id, sessions[0].session_id,
				 sessions + 1, 1, &n, NULL),
		0);
	assert_int_equal(n, 0);
	assert_int_equal(session_store_check(w->view, w->c.token_hash, now, &session, NULL), 0);
	assert_memory_equal(session.session_id, sessions[0].session_id, 16);
	assert_int_equal(
		session_store_check(w->view, w->c.token_hash, session.expires_ms, &session, NULL),
		KLUIS_EUNAUTHENTICATED);
	assert_int_equal(statement_store_get(w->view, w->c.user_id, 1, &statement, NULL), 0);
	assert_memory_equal(statement.data, "KID1", 4);
	assert_int_equal(
		statement_store_get(w->view, w->c.user_id, 3, &statement, NULL), KLUIS_ENOTFOUND);
}

/* Each audit row holds the hash of the one before, the last one's stands apart. */
static void test_audit_chain(void **state)
{
	struct world *w = *state;
	uint8_t last[32], hash[32] = {0};
	uint64_t count, seq;

	assert_int_equal(audit_store_last(w->view, &count, last, NULL), 0);
	assert_true(count > 5);
	for (seq = 1; seq <= count; seq++) {
		_cleanup_(buf_release) struct buf value = BUF_INIT;
		struct row_key key = row_key_begin(KEY_AUDIT);
		struct audit_row row;

		row_key_put_u64(&key, seq);
		assert_int_equal(audit_store_get(w->view, seq, &value, NULL), 0);
		assert_int_equal(
			audit_row_decode(row_key_bytes(&key), buf_bytes(&value), &row, NULL), 0);
		assert_memory_equal(row.prev_hash, hash, 32);
		hash_sha256(buf_bytes(&value), hash);
	}
	assert_memory_equal(hash, last, 32);
}

static void test_upkeep_is_due(void **state)
{
	struct world *w = *state;
	uint64_t now = fsm_position(w->m.fsm)->cluster_time_ms;
	bool due = true;

	assert_int_equal(upkeep_store_due(w->view, now, &due, NULL), 0);
	assert_false(due);
	assert_int_equal(upkeep_store_due(w->view, now + VERSIONS_KEPT_MS, &due, NULL), 0);
	assert_true(due);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_vault),
		T(test_heads),
		T(test_changes),
		T(test_pages),
		T(test_pages_that_changed),
		T(test_accounts_and_sessions),
		T(test_audit_chain),
		T(test_upkeep_is_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

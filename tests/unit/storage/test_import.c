#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "crypto/hash.h"
#include "storage/cluster_store.h"
#include "storage/import.h"
#include "storage/session_store.h"
#include "storage/snapshot_store.h"
#include "storage/vault_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

/* A cluster with two vaults, some of its rows changed after the first increment. */
struct world {
	struct fixture_machine m;
	struct fixture_client c, other;
	uint64_t first; /* Index of the first increment. */
	uint8_t root[32];
};

static void commit(struct world *w, uint64_t page_no, uint64_t revision)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	fixture_entry(&w->c, page_no, revision, 12, revision, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 4, false, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	fixture_committed(&w->c, buf_bytes(&entries));
}

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);
	struct command end = {.type = COMMAND_SESSION_END, .session_end.which = SESSION_END_ALL};
	struct command claim = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = 1, .kind = SNAPSHOT_INCREMENT, .ttl_ms = 1}};
	struct kv_view *view;
	uint64_t rows;

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	fixture_machine_join(&w->m, &w->other, 2);
	for (uint64_t r = 1; r <= 3; r++) {
		commit(w, 0, r);
	}
	w->first = fsm_position(w->m.fsm)->index;
	commit(w, 1, 1);
	commit(w, 0, 4);
	memcpy(end.session_end.session.token_hash, w->other.token_hash, 32);
	assert_int_equal(fixture_machine_do(&w->m, &end), 0); /* Leaves tombstones. */
	assert_int_equal(fixture_machine_do(&w->m, &claim), 0);
	view = kv_view_new(w->m.kv);
	assert_int_equal(index_store_root(view, w->root, &rows, NULL), 0);
	kv_view_free(view);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

/* What a backup would send: rows with after < index <= upto. */
static void copy_rows(struct world *w, struct import *import, uint64_t after, uint64_t upto)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct index_iter *iter = index_iter_new(view, after, upto);
	struct index_row row;

	while (index_iter_next(iter, &row)) {
		_cleanup_(buf_release) struct buf value = BUF_INIT;

		if (!row.deleted) {
			assert_int_equal(kv_get(view, row.key, &value, NULL), 0);
		}
		assert_int_equal(import_put(import, &row, buf_bytes(&value), NULL), 0);
		assert_int_equal(import_put(import, &row, buf_bytes(&value), NULL), 0);
	}
	assert_int_equal(index_iter_status(iter, NULL), 0);
	index_iter_free(iter);
	kv_view_free(view);
}

static struct import_end end_of(const struct world *w)
{
	const struct position *p = fsm_position(w->m.fsm);
	struct kv_view *view = kv_view_new(w->m.kv);
	struct import_end end = {.index = p->index,
		.term = p->term,
		.cluster_time_ms = p->cluster_time_ms,
		.lineage = {77}};
	struct cluster_row row;

	assert_int_equal(cluster_store_get(view, &row, NULL), 0);
	memcpy(end.cluster_id, row.cluster_id, 16);
	memcpy(end.state_root, w->root, 32);
	kv_view_free(view);
	return end;
}

static struct kv *restore(struct world *w, const struct import_end *end)
{
	struct kv *kv = kv_memory_new();
	struct import *import;

	assert_int_equal(import_new(kv, &import, NULL), 0);
	/* The newer increment first: the newest row of a key wins, in any order. */
	copy_rows(w, import, w->first, UINT64_MAX - 1);
	copy_rows(w, import, 0, w->first);
	assert_int_equal(import_finish(import, end, NULL), 0);
	import_free(import);
	return kv;
}

static void test_restored_cluster_goes_on(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	struct fixture_machine m;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct kv_view *view;
	struct cluster_row cluster;
	struct session_row session;
	struct snapshot_state_row snapshots;
	struct node_row nodes[2];
	size_t n;

	fixture_machine_init(&m, restore(w, &end));
	assert_true(fsm_position(m.fsm)->index == end.index);
	assert_int_equal(fixture_check_store(m.kv, NULL), 0);
	view = kv_view_new(m.kv);
	assert_int_equal(cluster_store_get(view, &cluster, NULL), 0);
	assert_memory_equal(cluster.lineage, end.lineage, 16);
	assert_int_equal(session_store_get(view, w->c.token_hash, &session, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(snapshot_store_state(view, &snapshots, NULL), 0);
	assert_true(snapshots.claimed_id == 0 && snapshots.last_slot == 0);
	assert_int_equal(node_store_list(view, 0, nodes, 2, &n, NULL), 0);
	assert_int_equal(n, 0);
	kv_view_free(view);
	fixture_session_create(&w->c, 100000, &command);
	assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
	fixture_entry(&w->c, 0, 5, 12, 5, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 4, false, &command);
	assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
	assert_int_equal(fixture_check_store(m.kv, NULL), 0);
	fixture_machine_release(&m);
}

static void test_every_node_gets_the_same(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	struct kv *a = restore(w, &end), *b = restore(w, &end);
	struct kv_view *view_a = kv_view_new(a), *view_b = kv_view_new(b);
	struct position pos_a, pos_b;
	uint8_t root_a[32], root_b[32];
	uint64_t rows;

	assert_int_equal(position_get(view_a, &pos_a, NULL), 0);
	assert_int_equal(position_get(view_b, &pos_b, NULL), 0);
	assert_memory_equal(&pos_a, &pos_b, sizeof pos_a);
	assert_int_equal(index_store_root(view_a, root_a, &rows, NULL), 0);
	assert_int_equal(index_store_root(view_b, root_b, &rows, NULL), 0);
	assert_memory_equal(root_a, root_b, 32);
	kv_view_free(view_a);
	kv_view_free(view_b);
	kv_close(a);
	kv_close(b);
}

/* A backup of the restored cluster, taken at once, restores, too. */
static void test_restore_of_a_restore(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	struct fixture_machine m;
	struct kv_view *view;
	struct kv *again;
	uint64_t rows;

	fixture_machine_init(&m, restore(w, &end));
	fixture_machine_release(&w->m);
	w->m = m;
	view = kv_view_new(w->m.kv);
	assert_int_equal(index_store_root(view, w->root, &rows, NULL), 0);
	kv_view_free(view);
	end = end_of(w);
	end.lineage[0]++;
	again = restore(w, &end);
	assert_int_equal(fixture_check_store(again, NULL), 0);
	kv_close(again);
}

static void test_ledger_is_applied(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	uint8_t ledger[2][16] = {{9}};
	struct member_vault vaults[2];
	struct kv_view *view;
	struct vault_row vault;
	struct kv *kv;
	size_t n;

	memcpy(ledger[1], w->c.vault_id, 16);
	end.ledger = (const uint8_t(*)[16])ledger;
	end.n_ledger = 2; /* One of them unknown: it was made after the snapshot. */
	kv = restore(w, &end);
	view = kv_view_new(kv);
	assert_int_equal(vault_store_get(view, w->c.vault_id, &vault, NULL), 0);
	assert_int_equal(vault.state, VAULT_DELETING);
	assert_int_equal(member_store_vaults(view, w->c.user_id, NULL, vaults, 2, &n, NULL), 0);
	assert_int_equal(n, 0);
	kv_view_free(view);
	assert_int_equal(fixture_check_store(kv, NULL), 0);
	kv_close(kv);
}

static void test_what_is_missing_is_seen(void **state)
{
	struct world *w = *state;
	struct import_end end = end_of(w);
	struct kv *kv = kv_memory_new();
	struct import *import;

	assert_int_equal(import_new(kv, &import, NULL), 0);
	copy_rows(w, import, 0, w->first); /* Without the newer increment. */
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EVERIFY);
	copy_rows(w, import, w->first, UINT64_MAX - 1);
	end.cluster_id[0] ^= 1;
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EVERIFY);
	end.cluster_id[0] ^= 1;
	end.index--; /* Rows from behind the snapshot. */
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EVERIFY);
	end.index = 0;
	assert_int_equal(import_finish(import, &end, NULL), KLUIS_EINVAL);
	import_free(import);
	assert_int_equal(import_new(kv, &import, NULL), KLUIS_EEXIST);
	kv_close(kv);
}

static void test_damaged_rows(void **state)
{
	struct kv *kv = kv_memory_new();
	struct import *import;
	struct index_row row = {.at = {5, 0}, .key = bytes_str("\x20row")};

	(void)state;
	assert_int_equal(import_new(kv, &import, NULL), 0);
	hash_sha256(bytes_str("value"), row.hash);
	assert_int_equal(import_put(import, &row, bytes_str("valve"), NULL), KLUIS_EVERIFY);
	row.key = bytes_str("\xf1row");
	assert_int_equal(import_put(import, &row, bytes_str("value"), NULL), KLUIS_EINVAL);
	row.key = bytes_of(NULL, 0);
	assert_int_equal(import_put(import, &row, bytes_str("value"), NULL), KLUIS_EINVAL);
	row.key = bytes_str("\x20row");
	row.at.index = 0;
	assert_int_equal(import_put(import, &row, bytes_str("value"), NULL), KLUIS_EINVAL);
	import_free(import);
	kv_close(kv);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_restored_cluster_goes_on),
		T(test_every_node_gets_the_same),
		T(test_restore_of_a_restore),
		T(test_ledger_is_applied),
		T(test_what_is_missing_is_seen),
		cmocka_unit_test(test_damaged_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

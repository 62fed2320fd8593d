/* A taker whose rows rotted where no checksum sees it, over three nodes with real sshd. */
#include "tests/lib/test.h"

#include <string.h>

#include "backup/repository.h"
#include "base/fault.h"
#include "storage/index_store.h"
#include "tests/unit/node/lib/backup_rig.h"

/* Flips a bit of a hash in by_index, where the snapshot of that cycle does not look at the value.
 */
static void rot_index(struct kv *kv, const struct snapshot_row *base)
{
	struct row_key first = row_key_begin(KEY_BY_INDEX), end = row_key_after_prefix(&first);
	struct kv_view *view = kv_view_new(kv);
	struct kv_iter *iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct kv_change change = {.deleted = false};
	bool found = false;

	while (!found && kv_iter_next(iter)) {
		struct index_row row;

		assert_int_equal(
			index_row_decode(kv_iter_key(iter), kv_iter_value(iter), &row, NULL), 0);
		found = !row.deleted && row.at.index <= base->index &&
			row_key_slice(row.key) != (base->cycle + 1) % KEY_SLICES;
	}
	assert_true(found);
	buf_append_bytes(&value, kv_iter_value(iter));
	value.data[10] ^= 1;
	change.key = kv_iter_key(iter);
	change.value = buf_bytes(&value);
	assert_int_equal(kv_write(kv, &change, 1, NULL), 0);
	assert_int_equal(kv_flush(kv, NULL), 0);
	kv_iter_free(iter);
	kv_view_free(view);
}

static void rot_node(struct backup_rig *w, unsigned i, const struct snapshot_row *base)
{
	_cleanup_(x_freep) char *db = replica_rig_path(&w->rig, i, "data/db");
	const struct kv_options options = {.create = false};
	struct kv *kv = NULL;

	backup_rig_close_job(w, i);
	replica_rig_stop(&w->rig, i, 1000);
	assert_int_equal(kv_rocksdb_open(db, &options, &kv, NULL), 0);
	rot_index(kv, base);
	kv_close(kv);
	replica_rig_start(&w->rig, i);
	replica_rig_converge(&w->rig); /* Nothing reads that row. */
	backup_rig_start_job(w, i);
}

/* A restore without a node, which knows no log, has it nowhere. */
static void assert_offered_nowhere(struct backup_rig *w, const uint8_t manifest_hash[HASH_BYTES])
{
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		struct repository *repository = NULL;
		struct manifest_name name;

		assert_int_equal(
			repository_open(w->config[i].backup_repository_dir, &repository, NULL), 0);
		for (unsigned waited = 0;
			waited < RIG_WAIT_MS &&
			repository_find(repository, manifest_hash, &name, NULL) != KLUIS_ENOTFOUND;
			waited += 20) {
			replica_rig_run(&w->rig, 20);
		}
		assert_int_equal(
			repository_find(repository, manifest_hash, &name, NULL), KLUIS_ENOTFOUND);
		repository_close(repository);
	}
}

/* Rot that a taker does not see: the others do. What it took is no snapshot, its store is replaced,
 * and the next one is taken against the last that is good. */
static void test_a_taker_that_rotted(void **state)
{
	enum { VICTIM = 1 };
	struct backup_rig *w = *state;
	struct snapshot_row base = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	struct snapshot_row row = {0};
	struct replica_status status;
	uint64_t id;

	rot_node(w, VICTIM, &base);
	id = backup_rig_claim(w, VICTIM + 1, false);
	for (unsigned waited = 0; row.state != SNAPSHOT_FAILED && waited < RIG_WAIT_MS;
		waited += 20) {
		replica_rig_run(&w->rig, 20);
		row = backup_rig_row(w, id);
	}
	assert_int_equal(row.state, SNAPSHOT_FAILED);
	assert_non_null(strstr(row.error, "state root"));
	assert_true(row.base_id == base.id && row.index > id);
	assert_offered_nowhere(w, row.manifest_hash);
	status = replica_rig_status(&w->rig, VICTIM);
	for (unsigned waited = 0; status.damage[0] == 0 && waited < RIG_WAIT_MS; waited += 20) {
		replica_rig_run(&w->rig, 20);
		status = replica_rig_status(&w->rig, VICTIM);
	}
	assert_non_null(strstr(status.damage, "state root"));
	for (unsigned waited = 0;
		(status.damage[0] != 0 || status.quarantined) && waited < RIG_WAIT_MS;
		waited += 20) {
		replica_rig_run(&w->rig, 20);
		status = replica_rig_status(&w->rig, VICTIM);
	}
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, VICTIM + 1, false));
	assert_true(row.base_id == base.id && row.cycle == base.cycle + 1);
	backup_rig_assert_agreed(w, KEY_STATE_ROOT, &row);
	backup_rig_assert_at_every_site(w, &row);
}

static bool rot_unwanted(struct replica *replica)
{
	return replica_read_unwanted(replica);
}

static bool rot_replaced(struct replica *replica)
{
	struct replica_status status;

	replica_status(replica, &status);
	return status.damage[0] == 0 && !status.quarantined && !replica_read_unwanted(replica);
}

static void wait_until(struct backup_rig *w, unsigned i, bool (*met)(struct replica *replica))
{
	for (unsigned waited = 0; !met(w->rig.node[i]); waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
}

static void rot_doubt(struct replica *replica)
{
	struct kv *kv;

	assert_int_equal(replica_read_begin(replica, &kv), 0);
	replica_doubt(replica, "a block");
	replica_read_end(replica);
}

/* The log marks a snapshot, and before the job comes to walk the view that was taken of it the
 * store is to be replaced by a peer's: nothing may hold the one that goes. */
static void test_a_mark_of_a_store_that_goes(void **state)
{
	enum { VICTIM = 2 }; /* A node is not rebuilt twice in a minute. */
	struct backup_rig *w = *state;
	struct command command = {.type = COMMAND_SNAPSHOT_MARK};
	struct snapshot_row row;
	uint64_t index;

	fault_arm("backup.job.tick", 1, true);
	command.snapshot_mark.node = 1;
	command.snapshot_mark.id = backup_rig_claim(w, 1, true);
	backup_rig_propose(w, &command, &index);
	replica_rig_converge(&w->rig);
	rot_doubt(w->rig.node[VICTIM]);
	wait_until(w, VICTIM, rot_unwanted);
	fault_disarm();
	wait_until(w, VICTIM, rot_replaced);
	row = backup_rig_wait_confirmed(w, command.snapshot_mark.id);
	backup_rig_assert_at_every_site(w, &row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_taker_that_rotted),
		cmocka_unit_test(test_a_mark_of_a_store_that_goes),
	};

	return cmocka_run_group_tests(tests, backup_rig_set_up, backup_rig_tear_down);
}

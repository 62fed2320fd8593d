/* The journal of deletions that each node's backup job keeps beside its repository. */
#include "tests/lib/test.h"

#include <string.h>

#include "backup/deletions.h"
#include "base/fault.h"
#include "storage/deletion_store.h"
#include "tests/lib/certs.h"
#include "tests/lib/fixture/client.h"
#include "tests/unit/node/lib/backup_rig.h"

static void propose_bytes(struct backup_rig *w, struct buf *bytes)
{
	assert_int_equal(
		replica_rig_propose(&w->rig, replica_rig_leader(&w->rig), bytes, RIG_WAIT_MS, NULL),
		0);
}

/* A vault that is deleted at once. */
static void delete_a_vault(struct backup_rig *w, unsigned number, uint8_t ret_vault_id[16])
{
	struct command gone = {.type = COMMAND_VAULT_DELETE, .vault_delete.revision = 1};
	struct fixture_client c;
	struct buf bytes = BUF_INIT;

	fixture_client_init(&c, number);
	fixture_service_create(&c, &bytes);
	propose_bytes(w, &bytes);
	fixture_service_enrol(&c, &bytes);
	propose_bytes(w, &bytes);
	fixture_session_create(&c, 3600000, &bytes);
	propose_bytes(w, &bytes);
	fixture_vault_create(&c, &bytes);
	propose_bytes(w, &bytes);
	memcpy(gone.vault_delete.session.token_hash, c.token_hash, 32);
	memcpy(gone.vault_delete.vault_id, c.vault_id, 16);
	backup_rig_propose(w, &gone, NULL);
	memcpy(ret_vault_id, c.vault_id, 16);
}

struct journal {
	uint8_t last[16];
	unsigned n;
};

static int journal_each(void *data, const struct deletion *deletion)
{
	struct journal *journal = data;

	memcpy(journal->last, deletion->id, 16);
	journal->n++;
	return 0;
}

/* Until the journal of a site says so. */
static void wait_journal(struct backup_rig *w, unsigned i, unsigned n, const uint8_t vault_id[16])
{
	_cleanup_(x_freep) char *dir = deletion_journal_dir(w->config[i].backup_repository_dir);
	struct backup_trust trust = {.n = 0};
	struct deletion_mark mark;
	struct journal journal = {.n = 0};

	assert_int_equal(backup_trust_add(&trust, i + 1, backup_rig_names[i],
				 (struct key_pub *)(uintptr_t)key_public(w->signer[i]), NULL),
		0);
	for (unsigned waited = 0; journal.n != n && waited < RIG_WAIT_MS; waited += 20) {
		replica_rig_run(&w->rig, 20);
		journal.n = 0;
		(void)!deletion_journal_read(
			dir, &trust, certs_cluster, journal_each, &journal, &mark, NULL);
	}
	assert_int_equal(journal.n, n);
	assert_memory_equal(journal.last, vault_id, 16);
	assert_memory_equal(mark.lineage, w->identity.lineage, 16);
	backup_trust_release(&trust);
}

/* Every site writes each deletion down by itself, also one that came while its job was down. */
static void test_deletions_are_journalled(void **state)
{
	struct backup_rig *w = *state;
	uint8_t first[16], second[16];

	delete_a_vault(w, 1, first);
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		wait_journal(w, i, 1, first);
	}
	backup_rig_close_job(w, 2);
	delete_a_vault(w, 2, second);
	wait_journal(w, 0, 2, second);
	backup_rig_start_job(w, 2);
	wait_journal(w, 2, 2, second);
}

/* One that cannot be written is an alarm. */
static void test_journal_fails(void **state)
{
	struct backup_rig *w = *state;
	char text[256] = "";
	uint8_t third[16];

	backup_job_deletions(w->job[0], text);
	assert_string_equal(text, "");
	fault_arm("backup.deletions.write", 1, true);
	delete_a_vault(w, 3, third);
	for (unsigned waited = 0; text[0] == 0 && waited < RIG_WAIT_MS; waited += 20) {
		replica_rig_run(&w->rig, 20);
		backup_job_deletions(w->job[0], text);
	}
	fault_disarm();
	assert_non_null(strstr(text, "deletion journal"));
	backup_rig_close_job(w, 0);
	backup_rig_start_job(w, 0);
	wait_journal(w, 0, 3, third);
	backup_job_deletions(w->job[0], text);
	assert_string_equal(text, "");
}

static struct backup_summary summary_of(struct backup_rig *w, unsigned i)
{
	struct backup_summary summary;

	assert_true(backup_job_summary(w->job[i], &summary));
	return summary;
}

/* Until a look has found that there is nothing to write. */
static void wait_look(struct backup_rig *w, unsigned i)
{
	uint64_t lag_ms = 0, before_ms;
	unsigned waited = 0;

	fault_arm("backup.deletions.write", 1, true);
	do {
		assert_true(waited < RIG_WAIT_MS / 2); /* A mark falls due later. */
		waited += 20;
		before_ms = lag_ms;
		replica_rig_run(&w->rig, 20);
		lag_ms = summary_of(w, i).deletions_lag_ms;
	} while (lag_ms >= before_ms);
	fault_disarm();
}

/* What the journal does not have yet is known, grows, and is an alarm when it is too much. */
static void test_journal_lags(void **state)
{
	enum { LAG_MS = 1000 };
	struct backup_rig *w = *state;
	char text[256] = "";
	uint8_t fourth[16];

	fault_arm("backup.deletions.look", 1, true);
	delete_a_vault(w, 4, fourth);
	for (unsigned waited = 0; summary_of(w, 0).deletions_lag_ms < LAG_MS; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
	backup_job_deletions(w->job[0], text);
	assert_string_equal(text, "");
	assert_false(summary_of(w, 0).deletions_late);
	w->config[0].backup_stall_ms = LAG_MS / 2;
	backup_job_deletions(w->job[0], text);
	assert_non_null(strstr(text, "is not in its journal"));
	assert_true(summary_of(w, 0).deletions_late);
	w->config[0].backup_stall_ms = 0;
	fault_disarm();
	wait_journal(w, 0, 4, fourth);
	for (unsigned waited = 0; summary_of(w, 0).deletions_lag_ms >= LAG_MS; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
	wait_look(w, 0);
}

/* Behind the id of any vault that was deleted at the same index. */
static void note_id(unsigned number, uint8_t ret_id[ID_BYTES])
{
	memset(ret_id, 0xff, ID_BYTES);
	store_u32(ret_id + 4, number);
}

/* Rows of a ledger, straight into a node's store; or out of it again. */
static void put_notes(struct backup_rig *w, unsigned i, uint64_t index, unsigned n, bool put)
{
	struct kv *kv = NULL;

	assert_int_equal(replica_read_begin(w->rig.node[i], &kv), 0);
	for (unsigned k = 0; k < n; k++) {
		struct deletion_note note = {.index = index};
		_cleanup_(buf_release) struct buf value = BUF_INIT;
		struct row_key key = row_key_begin(KEY_LEDGER);
		struct kv_change change;

		note_id(k, note.id);
		row_key_put_u64(&key, note.index);
		row_key_put_id(&key, note.id);
		deletion_note_encode(&note, &value);
		change = (struct kv_change){
			.key = row_key_bytes(&key), .value = buf_bytes(&value), .deleted = !put};
		assert_int_equal(kv_write(kv, &change, 1, NULL), 0);
	}
	replica_read_end(w->rig.node[i]);
}

/* However many there are, one look is enough to write all of them down. */
static void test_a_flood_of_deletions(void **state)
{
	enum { FLOOD = 3 * BACKUP_DELETIONS_STEP + 7, BEFORE = 4 };
	struct backup_rig *w = *state;
	struct replica_status status;
	uint8_t last[16];

	note_id(FLOOD - 1, last);
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		backup_rig_close_job(w, i);
	}
	replica_status(w->rig.node[0], &status);
	put_notes(w, 0, status.applied_index, FLOOD, true);
	fault_arm("backup.deletions.look", 2, true); /* The second never comes. */
	backup_rig_start_job(w, 0);
	wait_journal(w, 0, BEFORE + FLOOD, last);
	fault_disarm();
	put_notes(w, 0, status.applied_index, FLOOD, false);
	for (unsigned i = 1; i < BACKUP_RIG_NODES; i++) {
		backup_rig_start_job(w, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deletions_are_journalled),
		cmocka_unit_test(test_journal_fails),
		cmocka_unit_test(test_journal_lags),
		cmocka_unit_test(test_a_flood_of_deletions),
	};

	return cmocka_run_group_tests(tests, backup_rig_set_up, backup_rig_tear_down);
}

/* Three nodes with real replicas, real sshd and the backup job of each: claimed in the log, taken
 * from a checkpoint, shipped, received, confirmed in the log. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "backup/keys.h"
#include "base/fault.h"
#include "base/file.h"
#include "backup/repository.h"
#include "backup/ship.h"
#include "node/backup_parts.h"
#include "tests/lib/certs.h"
#include "tests/unit/node/lib/backup_rig.h"

/* Of cycles: none falls due by itself while a test waits for another one. */
enum { WEEK_S = 7 * 86400 };

static void test_cycles_and_a_manual_one(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 2, false));

	assert_int_equal(row.kind, SNAPSHOT_FULL);
	assert_int_equal(row.cycle, 1);
	backup_rig_assert_at_every_site(w, &row);
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	assert_int_equal(row.kind, SNAPSHOT_INCREMENT);
	assert_int_equal(row.cycle, 2);
	backup_rig_assert_at_every_site(w, &row);
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 3, true));
	assert_int_equal(row.kind, SNAPSHOT_MANUAL);
	backup_rig_assert_at_every_site(w, &row);
}

/* Names in a site's drop of another one that begin so. */
static unsigned dropped(struct backup_rig *w, unsigned site, unsigned from, const char *prefix)
{
	_cleanup_(x_freep) char *path = x_asprintf(
		"%s/%s/incoming", w->config[site].backup_drop_dir, backup_rig_names[from]);
	DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	}
	assert_int_equal(closedir(dir), 0);
	return n;
}

static struct api_drop drop_of(struct backup_rig *w, unsigned site, const char *from)
{
	struct api_copies copies;

	backup_job_copies(w->job[site], &copies);
	for (size_t i = 0; i < copies.n_drops; i++) {
		if (strcmp(copies.drops[i].site, from) == 0) {
			return copies.drops[i];
		}
	}
	fail_msg("no drop of '%s'", from);
	return copies.drops[0];
}

static void wait_quota(struct backup_rig *w, unsigned site, uint64_t bytes)
{
	for (unsigned waited = 0; drop_of(w, site, backup_rig_names[0]).quota_bytes != bytes;
		waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
}

/* What the settings say in KiB a second holds for each site that is shipped to, and what they say
 * in MiB for each drop; of a drop without a word a quarter of its file system. */
static void test_bandwidth_and_quota(void **state)
{
	enum { SITE = 1 };
	struct backup_rig *w = *state;
	_cleanup_(x_freep) char *drop =
		x_asprintf("%s/%s/incoming", w->config[SITE].backup_drop_dir, backup_rig_names[0]);
	struct statvfs vfs;

	assert_int_equal(statvfs(drop, &vfs), 0);
	for (unsigned set = 0; set < 2; set++) {
		backup_rig_close_job(w, SITE);
		w->config[SITE].backup_bandwidth_kib = set * 3000;
		w->config[SITE].backup_drop_quota_mib = set * 5000;
		backup_rig_start_job(w, SITE);
		assert_int_equal(w->job[SITE]->n_shipments, BACKUP_RIG_NODES - 1);
		for (unsigned i = 0; i < BACKUP_RIG_NODES - 1; i++) {
			assert_int_equal(w->job[SITE]->shipment[i].target.bytes_per_second,
				set * 3000ULL * 1024);
		}
		wait_quota(w, SITE,
			set == 0 ? (uint64_t)vfs.f_blocks * vfs.f_frsize / 4
				 : 5000ULL * 1024 * 1024);
	}
	backup_rig_close_job(w, SITE);
	w->config[SITE].backup_bandwidth_kib = w->config[SITE].backup_drop_quota_mib = 0;
	backup_rig_start_job(w, SITE);
}

static void set_up_job(struct backup_rig *w, unsigned i, unsigned quota_files, uint64_t haste)
{
	backup_rig_close_job(w, i);
	w->config[i].backup_drop_quota_files = quota_files;
	w->config[i].backup_haste = haste;
	backup_rig_start_job(w, i);
}

/* What is ready is at the other sites before the log has a record of it. Where the drop's quota has
 * no room for it then, it is taken away, and comes again once the log says that it is wanted. */
static void test_packs_go_ahead_of_the_record(void **state)
{
	struct backup_rig *w = *state;
	uint64_t haste = w->config[0].backup_haste;
	struct snapshot_row row;
	uint64_t id;

	set_up_job(w, 0, 0, 10 * haste); /* Soon again, when it is not confirmed. */
	set_up_job(w, 1, 1, haste);
	fault_arm("backup.take.record", 1, true);
	id = backup_rig_claim(w, 1, true);
	for (unsigned waited = 0;
		dropped(w, 2, 0, "o-") < 2 || drop_of(w, 1, backup_rig_names[0]).refused == 0;
		waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
	assert_int_equal(dropped(w, 2, 0, "m-"), 0);
	assert_true(dropped(w, 1, 0, "o-") < 2);
	assert_int_equal(backup_rig_row(w, id).state, SNAPSHOT_RUNNING);
	fault_disarm();
	row = backup_rig_wait_confirmed(w, id);
	backup_rig_assert_at_every_site(w, &row);
	assert_int_equal(dropped(w, 1, 0, "") - 2, 0); /* . and .. */
	set_up_job(w, 0, 0, haste);
	set_up_job(w, 1, 0, haste);
}

/* A sender that makes one manifest after another: this site's work for it has a bound. */
static void test_a_flood_of_manifests(void **state)
{
	enum { FILES = 500, SLACK = 20, TICK_MS = 25 };
	struct backup_rig *w = *state;
	uint64_t haste = w->config[1].backup_haste, from_ms, ms;

	backup_rig_close_job(w, 0);
	backup_rig_close_job(w, 2);
	set_up_job(w, 1, 0, 1);
	from_ms = clock_monotonic_ms(&clock_system);
	fault_arm("backup.job.tick", UINT64_MAX, false);
	for (unsigned i = 0; i < FILES; i++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%s/incoming/m-%064x.0",
			w->config[1].backup_drop_dir, backup_rig_names[0], i);

		int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

		assert_true(fd >= 0);
		assert_int_equal(close(fd), 0);
		replica_rig_run(&w->rig, 1);
	}
	ms = clock_monotonic_ms(&clock_system) - from_ms;
	/* The timer's, one more for each, and one behind each look into the drop. */
	assert_in_range(fault_hits(), 1, SLACK + 3 * (ms / TICK_MS));
	fault_disarm();
	for (unsigned i = 0; i < FILES; i++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%s/incoming/m-%064x.0",
			w->config[1].backup_drop_dir, backup_rig_names[0], i);

		assert_int_equal(unlink(path), 0);
	}
	set_up_job(w, 1, 0, haste);
	backup_rig_start_job(w, 0);
	backup_rig_start_job(w, 2);
}

static void wait_told(struct backup_rig *w, unsigned site, int rc)
{
	for (unsigned waited = 0; backup_rig_shipment(w, 0, backup_rig_names[site]).rc != rc;
		waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
}

/* As if that site showed another key from now on, or its own again. */
static void pin(struct backup_rig *w, unsigned site, const char *host_key)
{
	struct backup_shipment *s = &w->job[0]->shipment[site - 1];

	assert_string_equal(s->site->name, backup_rig_names[site]);
	for (unsigned waited = 0; s->busy; waited += 5) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 5);
	}
	s->target.host_key = host_key;
}

/* A receiver with another host key than the pinned one gets nothing, and the node says so, with
 * both fingerprints; the others are served. Nothing has to be owed for that, after a start. When
 * the pinned key is shown again it is served, too. */
static void test_changed_host_key(void **state)
{
	enum { SITE = 2 };
	struct backup_rig *w = *state;
	struct config_site *site = &w->config[0].sites[SITE];
	uint64_t id, haste = w->config[0].backup_haste;
	char *pinned = site->ssh_host_key;
	struct api_shipment shipment;

	backup_rig_close_job(w, 0);
	site->ssh_host_key = w->sshd[1]->host_key;
	w->config[0].backup_haste = 20 * haste;
	backup_rig_start_job(w, 0);
	wait_told(w, SITE, KLUIS_EPIN);
	shipment = backup_rig_shipment(w, 0, backup_rig_names[SITE]);
	assert_non_null(strstr(shipment.text, backup_rig_names[SITE]));
	assert_non_null(strstr(strstr(shipment.text, "SHA256:") + 1, "SHA256:"));
	pin(w, SITE, pinned);
	wait_told(w, SITE, 0);
	pin(w, SITE, w->sshd[1]->host_key);
	fault_arm("backup.take.record", 1, true); /* Its packs go ahead meanwhile. */
	id = backup_rig_claim(w, 1, true);
	wait_told(w, SITE, KLUIS_EPIN);
	assert_int_equal(backup_rig_row(w, id).state, SNAPSHOT_RUNNING);
	fault_disarm();
	backup_rig_wait_first(w, id);
	assert_int_equal(backup_rig_shipment(w, 0, backup_rig_names[1]).rc, 0);
	backup_rig_close_job(w, 0);
	site->ssh_host_key = pinned;
	w->config[0].backup_haste = haste;
	backup_rig_start_job(w, 0);
	(void)backup_rig_wait_confirmed(w, id);
	assert_int_equal(backup_rig_shipment(w, 0, backup_rig_names[SITE]).rc, 0);
}

/* Claimed while the job of the taker was down. */
static void test_takes_up_where_it_was(void **state)
{
	struct backup_rig *w = *state;
	struct snapshot_row row;
	uint64_t id;

	backup_rig_close_job(w, 1);
	id = backup_rig_claim(w, 2, true);
	replica_rig_run(&w->rig, 300);
	assert_int_equal(backup_rig_row(w, id).state, SNAPSHOT_RUNNING);
	backup_rig_start_job(w, 1);
	backup_job_claimed(w->job[1], id);
	row = backup_rig_wait_confirmed(w, id);
	backup_rig_assert_at_every_site(w, &row);
}

/* Another public key in its file: what is taken after a reload is sealed to it, the chain is read
 * with both keys; a file that is no key changes nothing. */
static void test_another_key(void **state)
{
	struct backup_rig *w = *state;
	const char *path = w->config[0].backup_public_key_file;
	_cleanup_(x_freep) char *fresh = x_asprintf("%s/fresh.pub", w->rig.dir);
	struct snapshot_row row;
	struct err e = {0};

	assert_int_equal(key_generate(KEY_KEM_X25519, 0, &w->keys.keys[1], NULL), 0);
	assert_int_equal(
		backup_key_save_public(key_public(w->keys.keys[1]), BACKUP_KEY_SEAL, fresh, NULL),
		0);
	assert_int_equal(rename(fresh, path), 0);
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false)); /* Not reloaded yet. */
	backup_rig_assert_at_every_site(w, &row);
	assert_int_equal(backup_job_reload(w->job[0], &e), 0);
	w->keys.n = 2;
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	assert_int_equal(row.kind, SNAPSHOT_INCREMENT);
	backup_rig_assert_at_every_site(w, &row);
	assert_int_equal(file_write(fresh, bytes_str("no key\n"), 0400, NULL), 0);
	assert_int_equal(rename(fresh, path), 0);
	assert_int_equal(backup_job_reload(w->job[0], &e), KLUIS_ECORRUPT);
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	backup_rig_assert_at_every_site(w, &row);
	assert_int_equal(
		backup_key_save_public(key_public(w->keys.keys[1]), BACKUP_KEY_SEAL, fresh, NULL),
		0);
	assert_int_equal(rename(fresh, path), 0); /* For those who start. */
}

/* A repository whose directory cannot be written: the record says that it failed, and why. */
static void test_failure_is_recorded(void **state)
{
	struct backup_rig *w = *state;
	_cleanup_(x_freep) char *tmp = x_asprintf("%s/tmp", w->config[0].backup_repository_dir);
	struct snapshot_row row = {0};
	uint64_t id;

	assert_int_equal(rmdir(tmp), 0);
	id = backup_rig_claim(w, 1, true);
	for (unsigned waited = 0; waited < RIG_WAIT_MS && row.state != SNAPSHOT_FAILED;
		waited += 20) {
		replica_rig_run(&w->rig, 20);
		row = backup_rig_row(w, id);
	}
	assert_int_equal(row.state, SNAPSHOT_FAILED);
	assert_non_null(strstr(row.error, "tmp"));
	assert_int_equal(mkdir(tmp, 0700), 0);
}

/* Whether the log has a confirmed cycle that node `not` did not take and that comes after `id`. */
static bool cycle_after(
	struct backup_rig *w, uint64_t id, uint64_t not, struct snapshot_row *ret_row)
{
	enum { ROWS_MAX = 64 };
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(ROWS_MAX, sizeof *rows);
	struct kv *kv = NULL;
	struct kv_view *view;
	bool found = false;
	size_t n = 0;

	assert_int_equal(replica_read_begin(w->rig.node[0], &kv), 0);
	view = kv_view_new(kv);
	assert_int_equal(snapshot_store_list(view, id, rows, ROWS_MAX, &n, NULL), 0);
	kv_view_free(view);
	replica_read_end(w->rig.node[0]);
	for (size_t i = 0; i < n && !found; i++) {
		found = rows[i].cycle > 0 &&
			rows[i].node != not &&rows[i].state == SNAPSHOT_CONFIRMED;
		*ret_row = rows[i];
	}
	return found;
}

static struct snapshot_row wait_cycle(struct backup_rig *w, uint64_t id, uint64_t not )
{
	struct snapshot_row row = {0};

	for (unsigned waited = 0; waited < RIG_WAIT_MS; waited += 20) {
		if (cycle_after(w, id, not, &row)) {
			return row;
		}
		replica_rig_run(&w->rig, 20);
	}
	fail_msg("no cycle behind %llu", (unsigned long long)id);
	return row;
}

static void set_interval(struct backup_rig *w, uint64_t interval_s)
{
	for (unsigned i = 0; i < BACKUP_RIG_NODES; i++) {
		w->config[i].backup_interval_s = interval_s;
	}
}

/* Until no claim stands; the newest cycle then, `row` or one that came behind it. */
static struct snapshot_row wait_idle(struct backup_rig *w, struct snapshot_row row)
{
	struct snapshot_state_row state = {.claimed_id = 1};

	for (unsigned waited = 0; state.claimed_id != 0 && waited < RIG_WAIT_MS; waited += 20) {
		struct kv *kv = NULL;
		struct kv_view *view;

		replica_rig_run(&w->rig, 20);
		assert_int_equal(replica_read_begin(w->rig.node[0], &kv), 0);
		view = kv_view_new(kv);
		assert_int_equal(snapshot_store_state(view, &state, NULL), 0);
		kv_view_free(view);
		replica_read_end(w->rig.node[0]);
	}
	assert_true(state.claimed_id == 0);
	return state.confirmed_id == row.id ? row : backup_rig_row(w, state.confirmed_id);
}

/* The nodes take cycles by themselves, one node each cycle; one whose taker is gone is another's.
 */
static void test_schedule(void **state)
{
	struct backup_rig *w = *state;
	struct command command = {.type = COMMAND_SNAPSHOT_CLAIM};
	struct snapshot_row row, next;
	struct replica_status status;
	uint64_t id;

	replica_status(w->rig.node[0], &status);
	set_interval(w, 2);
	row = wait_cycle(w, status.applied_index, 0);
	backup_rig_assert_agreed(w, KEY_HASH_REPORT, &row);
	backup_rig_assert_agreed(w, KEY_STATE_ROOT, &row);
	next = wait_cycle(w, row.id, 0);
	assert_true(next.slot > row.slot && next.slot % 2000 == 0);
	assert_true(next.cycle == row.cycle + 1 && next.base_id == row.id);
	assert_int_equal(next.kind, SNAPSHOT_INCREMENT);
	set_interval(w, 0);
	next = wait_idle(w, next);
	backup_rig_close_job(w, 1);
	replica_status(w->rig.node[0], &status);
	command.snapshot_claim.node = 2;
	command.snapshot_claim.kind = SNAPSHOT_INCREMENT;
	command.snapshot_claim.slot = status.cluster_now_ms;
	command.snapshot_claim.ttl_ms = 1000;
	backup_rig_propose(w, &command, &id);
	set_interval(w, WEEK_S);
	for (unsigned waited = 0;
		backup_rig_row(w, id).state != SNAPSHOT_FAILED && waited < RIG_WAIT_MS;
		waited += 20) {
		replica_rig_run(&w->rig, 20);
	}
	assert_int_equal(backup_rig_row(w, id).state, SNAPSHOT_FAILED);
	backup_rig_start_job(w, 1); /* It is back, and confirms. */
	row = wait_cycle(w, next.id, 2);
	assert_true(row.id > id && row.slot == backup_rig_row(w, id).slot);
	set_interval(w, 0);
	row = backup_rig_wait_confirmed(w, row.id);
	backup_rig_assert_at_every_site(w, &row);
}

/* A taker whose thread stands still gives its cycle up and takes no other one; another site takes
 * it. What comes back later changes nothing. */
static void test_a_taker_that_hangs(void **state)
{
	enum { STALL_MS = 1500 };
	struct backup_rig *w = *state;
	struct snapshot_row row;
	uint64_t id;

	w->config[0].backup_stall_ms = STALL_MS;
	fault_arm("backup.take.hang", 1, false);
	id = backup_rig_claim(w, 1, false);
	for (unsigned waited = 0; backup_rig_row(w, id).state != SNAPSHOT_FAILED; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
	fault_disarm();
	w->config[0].backup_stall_ms = 0;
	row = backup_rig_row(w, id);
	assert_non_null(strstr(row.error, "the taker hangs"));
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 2, false));
	assert_true(row.id > id);
	backup_rig_assert_at_every_site(w, &row);
	assert_int_equal(backup_rig_row(w, id).state, SNAPSHOT_FAILED);
	row = backup_rig_wait_confirmed(w, backup_rig_claim(w, 1, false));
	backup_rig_assert_at_every_site(w, &row);
}

static bool is_recorded(struct backup_rig *w, uint64_t id)
{
	struct snapshot_row row = backup_rig_row(w, id);

	return ship_whole(&row);
}

/* A claim by the first node of a cycle as of now, whose shipping hangs: S is recorded by then. */
static uint64_t claim_and_hang(struct backup_rig *w)
{
	struct command command = {.type = COMMAND_SNAPSHOT_CLAIM};
	struct replica_status status;
	uint64_t id;

	fault_arm("backup.ship.hang", 1, false);
	replica_status(w->rig.node[0], &status);
	command.snapshot_claim.node = 1;
	command.snapshot_claim.kind = SNAPSHOT_INCREMENT;
	command.snapshot_claim.slot = status.cluster_now_ms;
	command.snapshot_claim.ttl_ms = SCHEDULE_CLAIM_MS_MAX;
	backup_rig_propose(w, &command, &id);
	for (unsigned waited = 0; fault_hits() == 0 || !is_recorded(w, id); waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
	return id;
}

/* From now on, and what is left of the claim that stands, too. */
static void shorten_claims(struct backup_rig *w, uint64_t id, uint32_t claim_ms)
{
	struct command command = {.type = COMMAND_SNAPSHOT_RENEW};
	uint64_t index;

	w->config[0].backup_claim_ms = claim_ms;
	command.snapshot_renew.id = id;
	command.snapshot_renew.node = 1;
	command.snapshot_renew.ttl_ms = claim_ms;
	backup_rig_propose(w, &command, &index);
}

/* A recorded snapshot that its taker does not bring anywhere is no reason for the cycle to wait:
 * the site is named, the claim ends, and another one takes the cycle. */
static void test_shipping_that_hangs(void **state)
{
	enum { CLAIM_MS = 5000, STALL_MS = 1000 };
	struct backup_rig *w = *state;
	uint64_t id = claim_and_hang(w);
	struct snapshot_row row;

	shorten_claims(w, id, CLAIM_MS);
	w->config[0].backup_stall_ms = STALL_MS;
	set_interval(w, WEEK_S);
	for (unsigned waited = 0; backup_rig_shipment(w, 0, "ber").rc != KLUIS_ETIMEOUT &&
				  backup_rig_shipment(w, 0, "cph").rc != KLUIS_ETIMEOUT;
		waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
	for (unsigned waited = 0; backup_rig_row(w, id).state != SNAPSHOT_FAILED; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
	assert_string_equal(backup_rig_row(w, id).error, "its claim expired");
	row = wait_cycle(w, id, 1);
	assert_true(row.slot == backup_rig_row(w, id).slot);
	set_interval(w, 0);
	fault_disarm();
	w->config[0].backup_claim_ms = w->config[0].backup_stall_ms = 0;
	backup_rig_close_job(w, 0); /* The thread comes back. */
	backup_rig_start_job(w, 0);
	row = backup_rig_wait_confirmed(w, row.id);
	backup_rig_assert_at_every_site(w, &row);
}

/* Whoever only waits for the log to take the record has it when the log is back, however late. */
static void test_a_taker_that_waits_for_the_log(void **state)
{
	enum { STALL_MS = 2000, WAIT_MS = 2 * STALL_MS };
	struct backup_rig *w = *state;
	struct snapshot_row row;
	uint64_t id;

	fault_arm("backup.take.record", 1, true);
	id = backup_rig_claim(w, 1, false);
	for (unsigned waited = 0; fault_hits() == 0; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&w->rig, 20);
	}
	w->config[0].backup_stall_ms = STALL_MS; /* All is written: nothing but the log is slow. */
	replica_rig_run(&w->rig, WAIT_MS);
	for (unsigned i = 1; i < BACKUP_RIG_NODES; i++) { /* Who ships ahead waits along. */
		assert_int_equal(backup_rig_shipment(w, 0, backup_rig_names[i]).rc, 0);
	}
	w->config[0].backup_stall_ms = 0;
	assert_int_equal(backup_rig_row(w, id).state, SNAPSHOT_RUNNING);
	fault_disarm();
	row = backup_rig_wait_confirmed(w, id);
	backup_rig_assert_at_every_site(w, &row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cycles_and_a_manual_one),
		cmocka_unit_test(test_bandwidth_and_quota),
		cmocka_unit_test(test_packs_go_ahead_of_the_record),
		cmocka_unit_test(test_a_flood_of_manifests),
		cmocka_unit_test(test_changed_host_key),
		cmocka_unit_test(test_takes_up_where_it_was),
		cmocka_unit_test(test_another_key), /* Leaves a file that is no key. */
		cmocka_unit_test(test_failure_is_recorded),
		cmocka_unit_test(test_a_taker_that_hangs),
		cmocka_unit_test(test_a_taker_that_waits_for_the_log),
		cmocka_unit_test(test_shipping_that_hangs), /* Cycles are of a time from here on. */
		cmocka_unit_test(test_schedule),
	};

	return cmocka_run_group_tests(tests, backup_rig_set_up, backup_rig_tear_down);
}

#include "node/drill.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backup/deletion_list.h"
#include "backup/restore.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/random.h"
#include "crypto/pki.h"
#include "raft/command.h"
#include "raft/replica.h"
#include "storage/import.h"
#include "storage/index_store.h"

enum { DRILL_BOOT_MS = 120 * 1000, DRILL_POLL_MS = 20, DRILL_CACHE_BYTES = 16 << 20 };
/* So much in a moment is a client at work, however rarely it is looked. */
enum { DRILL_COUNT = 1 << 20 };

/* All that a drill makes in its directory: so the next one knows what is left of one that was
 * killed, also while it was removing that. */
static const char drill_name[] = "kluis-drill";

struct drill {
	const struct drill_config *config;
	char *dir;	    /* That one, in the scratch directory. */
	struct clock clock; /* Stands still at the snapshot's time: nothing expires on the way. */
	uint64_t wall_ms;
	struct key *operator_key; /* Of this drill alone. */
	struct backup_manifest manifest;
	struct restore_result restored;
	struct replica *replica;
	bool reading;
	struct kv_view *view; /* Of the store as it was opened. */
	struct drill_report report;
	struct pace *pace;
	char *node_log; /* A node that runs has it locked. */
	uint64_t counted;
};

static uint64_t drill_monotonic_ms(const struct clock *clock)
{
	(void)clock;
	return clock_monotonic_ms(&clock_system);
}

static uint64_t drill_wall_ms(const struct clock *clock)
{
	return CONTAINER_OF(clock, const struct drill, clock)->wall_ms;
}

static int drill_stopped(const struct drill *d, struct err *e)
{
	const atomic_bool *cancel = d->config->cancel;

	return cancel != NULL && atomic_load(cancel) ? err_set(e, KLUIS_ECLOSED, "stopped") : 0;
}

/* --- restore -----------------------------------------------------------------------------------
 */

/* A record as an operator signs one, with a key that nobody else has: nothing that it makes can be
 * taken for the cluster. */
static int drill_record(struct drill *d, struct buf *to, struct buf *to_deletions, struct err *e)
{
	const struct deletion_point point = {.cluster_id = d->manifest.cluster_id,
		.lineage = d->manifest.lineage,
		.index = d->manifest.index};
	uint8_t nonce[ID_BYTES];
	struct restore_record record = {.raft_index = d->manifest.index, .unix_ms = d->wall_ms};
	int rc = key_generate(KEY_ECDSA_P256, 0, &d->operator_key, e);

	random_fill(&random_system, nonce, sizeof nonce);
	rc = rc != 0 ? rc /* Nothing is deleted again: the point is looked at as it is. */
		     : deletion_list_collect(
			       NULL, 0, d->config->trust, &point, d->dir, nonce, to_deletions, e);
	if (rc != 0) {
		return rc;
	}
	memcpy(record.cluster_id, d->manifest.cluster_id, ID_BYTES);
	memcpy(record.old_lineage, d->manifest.lineage, ID_BYTES);
	deletion_list_lineage(buf_bytes(to_deletions), record.new_lineage);
	memcpy(record.manifest_hash, d->config->manifest_hash, HASH_BYTES);
	return restore_record_sign(&record, d->operator_key, to, e);
}

static int drill_restore(struct drill *d, struct err *e)
{
	_cleanup_(buf_release) struct buf record = BUF_INIT, deletions = BUF_INIT;
	struct restore_config config = {.repository = d->config->repository,
		.manifest_hash = d->config->manifest_hash,
		.trust = d->config->trust,
		.keys = d->config->keys,
		.dir = d->dir,
		.pace = d->pace,
		.cancel = d->config->cancel};
	int rc = drill_record(d, &record, &deletions, e);

	if (rc != 0) {
		return rc;
	}
	config.record = buf_bytes(&record);
	config.deletions = buf_bytes(&deletions);
	config.operator_key = key_public(d->operator_key);
	rc = restore_cluster(&config, &d->restored, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "restore");
}

/* --- boot --------------------------------------------------------------------------------------
 */

static int drill_write_pem(
	const struct drill *d, const struct pki_identity *identity, const char *name, struct err *e)
{
	_cleanup_(x_freep) char *cert = x_asprintf("%s/%s.pem", d->dir, name);
	_cleanup_(x_freep) char *key = x_asprintf("%s/%s.key", d->dir, name);

	return pki_write(identity, cert, key, e);
}

/* A CA of its own: no node of the cluster would be let in, nor let this one in. */
static int drill_certificates(struct drill *d, struct err *e)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {.cert_pem = BUF_INIT};
	_cleanup_(pki_identity_release) struct pki_identity link = {.cert_pem = BUF_INIT};
	const struct pki_spec spec = {.algorithm = PKI_EC_P384,
		.common_name = "drill",
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 2};
	int rc = pki_make_ca(&spec, &ca, e);

	rc = rc != 0 ? rc
		     : pki_issue_node(&ca, d->restored.cluster_id, 1, spec.wall_ms, 1, &link, e);
	rc = rc != 0 ? rc : drill_write_pem(d, &ca, "ca", e);
	return rc != 0 ? rc : drill_write_pem(d, &link, "link", e);
}

/* At once: a leader sweeps away what had expired and was still there. */
static int drill_view(struct drill *d, struct err *e)
{
	struct kv *kv;
	int rc = replica_read_begin(d->replica, &kv);

	if (rc != 0) {
		return err_set(e, rc, "the restored node gives its store up");
	}
	d->reading = true;
	d->view = kv_view_new(kv);
	return 0;
}

static int drill_boot(struct drill *d, struct err *e)
{
	_cleanup_(x_freep) char *ca = x_asprintf("%s/ca.pem", d->dir);
	_cleanup_(x_freep) char *cert = x_asprintf("%s/link.pem", d->dir);
	_cleanup_(x_freep) char *key = x_asprintf("%s/link.key", d->dir);
	const struct replica_server self = {
		.id = 1, .address = "127.0.0.1:1", .vote = REPLICA_VOTER, .site = "drill"};
	struct replica_config config = {.dir = d->dir,
		.node_id = 1,
		.site = "drill",
		.feature_level = FEATURE_LEVEL,
		.listen = "127.0.0.1:0",
		.ca_path = ca,
		.cert_path = cert,
		.key_path = key,
		.servers = &self,
		.n_servers = 1,
		.floor_percent = 1,
		.floor_bytes = 1,
		.store_cache_bytes = DRILL_CACHE_BYTES,
		.store_write_buffer_bytes = DRILL_CACHE_BYTES,
		.clock = &d->clock};
	int rc = drill_certificates(d, e);

	memcpy(config.cluster_id, d->restored.cluster_id, ID_BYTES);
	memcpy(config.lineage, d->restored.lineage, ID_BYTES);
	rc = rc != 0 ? rc : replica_bootstrap_restored(d->dir, 1, &self, 1, e);
	rc = rc != 0 ? rc : replica_start(&config, &d->replica, e);
	rc = rc != 0 ? rc : drill_view(d, e);
	return rc == 0 ? 0 : err_wrap(e, rc, "boot");
}

/* It elects itself and has applied what a leader begins with. */
static int drill_wait(struct drill *d, struct err *e)
{
	const struct timespec pause = {.tv_nsec = DRILL_POLL_MS * 1000000L};
	uint64_t end_ms = clock_monotonic_ms(&clock_system) + DRILL_BOOT_MS;
	struct replica_status status;
	int rc;

	for (;;) {
		rc = drill_stopped(d, e);
		if (rc != 0) {
			return rc;
		}
		replica_status(d->replica, &status);
		if (status.quarantined || status.damage[0] != 0) {
			return err_set(e, KLUIS_EVERIFY, "boot: %s",
				status.damage[0] != 0 ? status.damage : "quarantined");
		}
		if (status.ready && status.role == REPLICA_LEADER &&
			status.applied_index > d->manifest.index) {
			return 0;
		}
		if (clock_monotonic_ms(&clock_system) >= end_ms) {
			return err_set(e, KLUIS_ETIMEOUT,
				"the restored node did not come up in %d s", DRILL_BOOT_MS / 1000);
		}
		(void)nanosleep(&pause, NULL); /* An early wake only looks once more. */
	}
}

/* --- compare -----------------------------------------------------------------------------------
 */

/* The row of the backup is in the booted node's store, changed last when the backup says, and its
 * value, as read from there, is the one that was backed up. */
static int drill_compare_row(
	struct drill *d, const struct index_entry *entry, struct buf *value, struct err *e)
{
	uint8_t hash[HASH_BYTES];
	struct index_row row;
	int rc = index_store_of(d->view, entry->key, &row, e);

	buf_clear(value);
	rc = rc != 0 ? rc : kv_get(d->view, entry->key, value, e);
	if (rc == 0) {
		hash_sha256(buf_bytes(value), hash);
		if (row.deleted || row.at.index != entry->index ||
			row.at.ordinal != entry->ordinal ||
			memcmp(hash, entry->value_hash, HASH_BYTES) != 0) {
			rc = err_set(e, KLUIS_EVERIFY, "is another one than was backed up");
		}
	}
	if (rc == KLUIS_ENOTFOUND) {
		rc = err_set(e, KLUIS_EVERIFY, "is not there");
	}
	d->report.compared++;
	d->report.bytes += value->len;
	return rc == 0 ? 0
		       : err_wrap(e, rc, "row %llu.%u of family '%s' in the booted node",
				 (unsigned long long)entry->index, entry->ordinal,
				 row_key_family_name(entry->key.data[0]));
}

/* All rows of the point but those that the last step of a restore drops or writes; at their end
 * stands the manifest's state root. */
static int drill_compare(struct drill *d, const struct point *point, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct point_rows *rows = NULL;
	struct index_entry entry;
	bool more = true;
	int rc = point_rows_new(point, d->config->keys, d->dir, &rows, e);

	while (rc == 0) {
		rc = drill_stopped(d, e);
		rc = rc != 0 ? rc : point_rows_next(rows, &entry, &more, e);
		if (rc != 0 || !more) {
			break;
		}
		d->report.rows++;
		if (!import_touches(entry.key)) {
			rc = drill_compare_row(d, &entry, &value, e);
			rc = rc != 0 ? rc
				     : pace_wait(d->pace, value.len, d->config->cancel, NULL, e);
		}
	}
	point_rows_free(rows);
	return rc;
}

static int drill_steps(struct drill *d, struct err *e)
{
	struct point *point = NULL;
	int rc = point_open(
		d->config->repository, d->config->manifest_hash, d->config->trust, &point, e);

	if (rc != 0) {
		return rc;
	}
	d->report.snapshots = point->n;
	rc = drill_restore(d, e);
	rc = rc != 0 ? rc : drill_stopped(d, e);
	rc = rc != 0 ? rc : drill_boot(d, e);
	rc = rc != 0 ? rc : drill_wait(d, e);
	rc = rc != 0 ? rc : drill_compare(d, point, e);
	if (d->reading) {
		kv_view_free(d->view);
		replica_read_end(d->replica);
	}
	replica_stop(d->replica, 0);
	point_free(point);
	return rc;
}

/* --- the directory ----------------------------------------------------------------------------
 */

static int drill_lock(const char *scratch, int *ret_fd, struct err *e)
{
	int rc = lock_dir(scratch, ret_fd, e);

	return rc == KLUIS_EBUSY ? err_wrap(e, rc, "another drill is under way") : rc;
}

int drill_sweep(const char *scratch, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;
	int rc = drill_lock(scratch, &fd, e);

	return rc == 0 ? file_remove_tree(scratch, e) : (rc == KLUIS_ENOTFOUND ? 0 : rc);
}

/* Empty, or with nothing but what a drill makes. */
static bool drill_alone(const char *scratch)
{
	DIR *dir = opendir(scratch);
	const struct dirent *entry;
	bool alone = dir != NULL;

	while (alone && (entry = readdir(dir)) != NULL) {
		const char *name = entry->d_name;

		alone = strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
			strcmp(name, drill_name) == 0;
	}
	if (dir != NULL) {
		(void)closedir(dir); /* Only read. */
	}
	return alone;
}

/* An operator may name a directory that holds something: it is not the drill's to remove. */
static int drill_take_named(const char *scratch, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;
	int rc = drill_lock(scratch, &fd, e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	return drill_alone(scratch)
		       ? file_remove_tree(scratch, e)
		       : err_set(e, KLUIS_EEXIST,
				 "'%s' is not empty: the drill makes its directory, and removes it",
				 scratch);
}

/* Made, and this drill's alone until *ret_fd is closed. */
static int drill_make_scratch(const struct drill *d, int *ret_fd, struct err *e)
{
	const struct drill_config *config = d->config;
	int rc = config->leftover ? drill_sweep(config->scratch, e)
				  : drill_take_named(config->scratch, e);

	rc = rc != 0 ? rc : file_make_dirs(config->scratch, 0700, e);
	rc = rc != 0 ? rc : drill_lock(config->scratch, ret_fd, e);
	return rc != 0 ? rc : file_make_dirs(d->dir, 0700, e);
}

/* Whatever comes of it, nothing is left. */
static int drill_in_scratch(struct drill *d, struct err *e)
{
	struct err left = {0};
	int rc = drill_steps(d, e);

	if (file_remove_tree(d->config->scratch, &left) != 0) {
		log_err("op=drill error=\"%s\", a copy of the store is left behind", left.text);
		rc = rc != 0 ? rc : err_set(e, KLUIS_EIO, "%s", left.text);
	}
	return rc;
}

static atomic_bool drill_signalled;

static void drill_signal(int number)
{
	(void)number;
	atomic_store(&drill_signalled, true);
}

const atomic_bool *drill_stop_by_signals(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = drill_signal, .sa_flags = SA_RESTART}, old;

	(void)sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
			(void)sigaction(numbers[i], &action, NULL); /* A valid signal. */
		}
	}
	return &drill_signalled;
}

/* --- beside a node ----------------------------------------------------------------------------
 */

/* As if clients were at work all the time that the node of this site runs. */
static uint64_t drill_count(void *data)
{
	struct drill *d = data;

	if (d->config->node_runs || lock_holder(d->node_log) != 0) {
		d->counted += DRILL_COUNT;
	}
	return d->counted;
}

static struct pace *drill_pace(struct drill *d)
{
	const struct pace_config config = {.bytes_per_second = d->config->busy_bytes_per_second,
		.count = drill_count,
		.data = d};

	d->node_log = x_asprintf("%s/log", d->config->node_dir);
	return pace_new(&config);
}

int drill_run(const struct drill_config *config, struct drill_report *ret_report, struct err *e)
{
	struct drill d = {.config = config,
		.clock = {.monotonic_ms = drill_monotonic_ms, .wall_ms = drill_wall_ms}};
	uint64_t began_ms = clock_monotonic_ms(&clock_system);
	_cleanup_(x_closep) int fd = -1;
	int rc = point_manifest(
		config->repository, config->manifest_hash, config->trust, &d.manifest, e);

	if (rc != 0) {
		return rc;
	}
	d.wall_ms = d.manifest.cluster_time_ms;
	d.report.id = d.manifest.id;
	d.report.index = d.manifest.index;
	d.pace = drill_pace(&d);
	d.dir = x_asprintf("%s/%s", config->scratch, drill_name);
	rc = drill_make_scratch(&d, &fd, e);
	rc = rc != 0 ? rc : drill_in_scratch(&d, e);
	pace_free(d.pace);
	free(d.node_log);
	free(d.dir);
	backup_manifest_release(&d.manifest);
	key_free(d.operator_key);
	d.report.ms = clock_monotonic_ms(&clock_system) - began_ms;
	if (rc == 0) {
		*ret_report = d.report;
	}
	return rc;
}

/* The whole way with nothing replaced: a RocksDB store, its checkpoint, snapshots, two real sshd,
 * two receivers, all levels of verification, restore at both sites to the same store. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/receive.h"
#include "backup/restore.h"
#include "backup/ship.h"
#include "backup/verify.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "storage/cluster_store.h"
#include "storage/position.h"
#include "storage/restore_store.h"
#include "storage/txn.h"
#include "tests/lib/sshd.h"
#include "tests/unit/backup/lib/paced.h"
#include "tests/unit/backup/lib/site.h"

enum { STORE_ROWS = 10000, VALUE_BYTES = 2000 };

struct world {
	struct backup_sites sites;
	struct test_sshd *sshd[2]; /* Of nodes 2 and 3. */
	struct random_seeded random;
	struct kv *kv;
	struct position position;
	struct snapshot_plan last;
	uint8_t hash[HASH_BYTES];
	struct key *operator_key;
	struct restore_record record;
	struct buf encoded; /* The record, signed. */
	struct buf deletions;
	struct snapshot_watch watch; /* Of the next that is taken. */
};

/* Entries of 50 rows each; keys of a family that a restore keeps, and sessions, which it drops. */
static void change_rows(struct world *w, unsigned rows, bool deletes)
{
	struct txn *txn = txn_new(w->kv, &w->position);
	struct random *random = &w->random.random;
	uint8_t value[VALUE_BYTES];

	for (unsigned i = 0; i < rows; i++) {
		struct row_key key =
			row_key_begin(random_below(random, 20) == 0 ? KEY_SESSION : KEY_BYTES);

		if (i % 50 == 0) {
			txn_entry_begin(txn, w->position.index + 1 + i / 50, 7);
			txn_command_begin(txn);
		}
		row_key_put_u64(&key, random_below(random, STORE_ROWS));
		if (deletes && random_below(random, 4) == 0) {
			txn_delete(txn, row_key_bytes(&key));
		} else {
			size_t len = (size_t)random_below(random, sizeof value);

			random_fill(random, value, len);
			txn_put(txn, row_key_bytes(&key), bytes_of(value, len));
		}
		if (i % 50 == 49 || i == rows - 1) {
			assert_int_equal(txn_command_commit(txn, NULL), 0);
		}
	}
	txn_position(txn)->cluster_time_ms = 1790000000000ULL + w->position.index;
	assert_int_equal(txn_store(txn, NULL), 0);
	w->position = *txn_position(txn);
	txn_free(txn);
}

static void put_cluster(struct world *w)
{
	struct cluster_row row = {.created_ms = 1, .feature_level = 1};
	struct txn *txn = txn_new(w->kv, &w->position);

	memcpy(row.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(row.lineage, w->sites.lineage, ID_BYTES);
	txn_entry_begin(txn, w->position.index + 1, 7);
	txn_command_begin(txn);
	cluster_store_put(txn, &row);
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	assert_int_equal(txn_store(txn, NULL), 0);
	w->position = *txn_position(txn);
	txn_free(txn);
}

/* From a checkpoint opened read-only, as a node does it. */
static void take(struct world *w)
{
	const struct kv_options options = {.read_only = true};
	_cleanup_(x_freep) char *dir = x_asprintf("%s/checkpoint", w->sites.dir);
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct snapshot_plan plan = {.full = w->last.index == 0,
		.cycle = w->last.cycle + 1,
		.id = w->position.index,
		.from = w->last.index,
		.index = w->position.index,
		.term = w->position.term,
		.cluster_time_ms = w->position.cluster_time_ms,
		.node = 1};
	struct position position;
	struct kv_view *view;
	struct kv *kv = NULL;
	struct err e = {0};
	uint8_t root[HASH_BYTES];
	uint64_t rows;

	memcpy(plan.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(plan.lineage, w->sites.lineage, ID_BYTES);
	memcpy(plan.base, w->hash, HASH_BYTES);
	assert_int_equal(kv_checkpoint(w->kv, dir, NULL), 0);
	assert_int_equal(kv_rocksdb_open(dir, &options, &kv, NULL), 0);
	view = kv_view_new(kv);
	assert_int_equal(position_get(view, &position, NULL), 0);
	assert_true(position.index == plan.index);
	if (snapshot_take(w->sites.repository[0], &plan, view, key_public(w->sites.backup_key),
		    w->sites.signer[0], &w->watch, &m, w->hash, &e) != 0) {
		fail_msg("%s", e.text);
	}
	/* Storage's own count comes to the same root. */
	assert_int_equal(index_store_root(view, root, &rows, NULL), 0);
	assert_memory_equal(root, m.state_root, HASH_BYTES);
	assert_true(m.type == MANIFEST_FULL ? rows == m.live : rows > m.live);
	kv_view_free(view);
	kv_close(kv);
	assert_int_equal(file_remove_tree(dir, NULL), 0);
	w->last = plan;
}

static void carry(struct world *w)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct snapshot_row row;

	assert_int_equal(
		point_manifest(w->sites.repository[0], w->hash, &w->sites.trust, &m, NULL), 0);
	row = backup_record(&m, w->hash);
	for (unsigned i = 0; i < 2; i++) {
		struct sftp_target target = {.host = "127.0.0.1",
			.port = w->sshd[i]->port,
			.user = w->sshd[i]->user,
			.host_key = w->sshd[i]->host_key,
			.key_path = w->sshd[i]->key_path,
			.path = w->sshd[i]->path};
		struct receive_config receiver = {.repository = w->sites.repository[i + 1],
			.trust = &w->sites.trust,
			.signer = w->sites.signer[i + 1],
			.node = i + 2,
			.records = &row,
			.n_records = 1};
		struct ship_report shipped;
		struct receive_report received;
		struct verify_report verified;

		memcpy(receiver.cluster_id, w->sites.cluster_id, ID_BYTES);
		memcpy(receiver.lineage, w->sites.lineage, ID_BYTES);
		assert_int_equal(ship_snapshot(w->sites.repository[0], w->hash, "site", &target,
					 &shipped, NULL),
			0);
		assert_int_equal(receive_scan(&receiver, w->sshd[i]->drop, 1,
					 clock_wall_ms(&clock_system), &received, NULL),
			0);
		assert_int_equal(received.n_accepted, 1);
		receive_report_release(&received);
		for (unsigned level = 1; level <= 3; level++) {
			assert_int_equal(verify_snapshot(w->sites.repository[i + 1], w->hash,
						 &w->sites.trust, level, &w->sites.keys,
						 w->sites.dir, &verified, NULL),
				0);
		}
	}
}

static void sign_record(struct world *w, struct restore_record *record, struct buf *to)
{
	assert_int_equal(restore_record_sign(record, w->operator_key, to, NULL), 0);
}

static void list_nothing(uint8_t nonce_byte, struct buf *to)
{
	const uint8_t id[ID_BYTES] = {0}, nonce[ID_BYTES] = {nonce_byte};
	const struct deletion_point point = {id, id, 1};

	assert_int_equal(deletion_list_collect(NULL, 0, NULL, &point, "/tmp", nonce, to, NULL), 0);
}

static int set_up(void **state)
{
	const struct kv_options options = {.create = true};
	struct world *w = x_calloc(1, sizeof *w);
	char *dir;

	*state = w;
	backup_sites_init(&w->sites, KEY_KEM_X25519);
	w->sshd[0] = test_sshd_start(false);
	w->sshd[1] = test_sshd_start(false);
	random_seeded_init(&w->random, 11);
	dir = x_asprintf("%s/origin", w->sites.dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(kv_rocksdb_open(dir, &options, &w->kv, NULL), 0);
	free(dir);
	put_cluster(w);
	change_rows(w, STORE_ROWS, false);
	take(w);
	carry(w);
	for (int cycle = 0; cycle < 2; cycle++) {
		change_rows(w, 500, true);
		take(w);
		carry(w);
	}
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &w->operator_key, NULL), 0);
	memcpy(w->record.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(w->record.old_lineage, w->sites.lineage, ID_BYTES);
	list_nothing(0x5a, &w->deletions);
	deletion_list_lineage(buf_bytes(&w->deletions), w->record.new_lineage);
	w->record.raft_index = w->last.index;
	w->record.unix_ms = 1790000999000ULL;
	memcpy(w->record.manifest_hash, w->hash, HASH_BYTES);
	sign_record(w, &w->record, &w->encoded);
	return 0;
}

/* The record for the point as it is by now. */
static void restore_of(struct world *w, struct restore_config *config)
{
	struct restore_record record = w->record;

	record.raft_index = w->last.index;
	memcpy(record.manifest_hash, w->hash, HASH_BYTES);
	buf_clear(&w->encoded);
	sign_record(w, &record, &w->encoded);
	config->record = buf_bytes(&w->encoded);
}

static int tear_down(void **state)
{
	struct world *w = *state;

	kv_close(w->kv);
	test_sshd_stop(w->sshd[0]);
	test_sshd_stop(w->sshd[1]);
	key_free(w->operator_key);
	buf_release(&w->encoded);
	buf_release(&w->deletions);
	backup_sites_release(&w->sites);
	free(w);
	return 0;
}

static struct restore_config restore_config(struct world *w, unsigned node, const char *dir)
{
	return (struct restore_config){.repository = w->sites.repository[node - 1],
		.manifest_hash = w->hash,
		.trust = &w->sites.trust,
		.keys = &w->sites.keys,
		.record = buf_bytes(&w->encoded),
		.deletions = buf_bytes(&w->deletions),
		.operator_key = key_public(w->operator_key),
		.dir = dir};
}

static struct kv *open_restored(const char *dir)
{
	const struct kv_options options = {.read_only = true};
	_cleanup_(x_freep) char *db = x_asprintf("%s/db", dir);
	struct kv *kv = NULL;

	assert_int_equal(kv_rocksdb_open(db, &options, &kv, NULL), 0);
	return kv;
}

static bool family_kept(struct bytes key)
{
	return key.data[0] == KEY_BYTES;
}

/* Every row of a family that a restore keeps is there as it was, value and modification. */
static void assert_same_rows(struct kv *from, struct kv *to)
{
	_cleanup_(buf_release) struct buf a = BUF_INIT, b = BUF_INIT;
	struct kv_view *from_view = kv_view_new(from), *to_view = kv_view_new(to);
	struct index_iter *iter = index_iter_new(from_view, 0, UINT64_MAX);
	struct index_row row, there;
	unsigned kept = 0, sessions = 0;

	while (index_iter_next(iter, &row)) {
		buf_clear(&a);
		buf_clear(&b);
		sessions += row.key.data[0] == KEY_SESSION && !row.deleted;
		if (row.key.data[0] == KEY_SESSION || (row.deleted && family_kept(row.key))) {
			assert_int_equal(kv_get(to_view, row.key, &b, NULL), KLUIS_ENOTFOUND);
		} else if (family_kept(row.key)) {
			assert_int_equal(kv_get(from_view, row.key, &a, NULL), 0);
			assert_int_equal(kv_get(to_view, row.key, &b, NULL), 0);
			assert_true(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
			assert_int_equal(index_store_of(to_view, row.key, &there, NULL), 0);
			assert_int_equal(modification_compare(&row.at, &there.at), 0);
			kept++;
		}
	}
	assert_int_equal(index_iter_status(iter, NULL), 0);
	assert_in_range(kept, STORE_ROWS / 2, STORE_ROWS);
	assert_true(sessions > 100);
	index_iter_free(iter);
	kv_view_free(from_view);
	kv_view_free(to_view);
}

/* Byte for byte, derived rows too. */
static void assert_identical(struct kv *left, struct kv *right)
{
	struct kv_view *views[] = {kv_view_new(left), kv_view_new(right)};
	struct kv_iter *a = kv_iter_new(views[0], bytes_of(NULL, 0), bytes_of(NULL, 0));
	struct kv_iter *b = kv_iter_new(views[1], bytes_of(NULL, 0), bytes_of(NULL, 0));

	while (kv_iter_next(a)) {
		assert_true(kv_iter_next(b));
		assert_true(bytes_equal(kv_iter_key(a), kv_iter_key(b)));
		assert_true(bytes_equal(kv_iter_value(a), kv_iter_value(b)));
	}
	assert_false(kv_iter_next(b));
	kv_iter_free(a);
	kv_iter_free(b);
	kv_view_free(views[0]);
	kv_view_free(views[1]);
}

static void test_restore_at_two_sites(void **state)
{
	struct world *w = *state;
	struct kv *restored[2];
	struct restore_plan plan;
	struct position position;
	struct cluster_row cluster;
	struct restore_row records[RESTORE_RECORDS_MAX];
	struct kv_view *view;
	size_t n_records;

	assert_int_equal(
		restore_plan(w->sites.repository[2], w->hash, &w->sites.trust, &plan, NULL), 0);
	assert_int_equal(plan.snapshots, 3);
	assert_true(plan.index == w->last.index && plan.bytes > plan.value_bytes);
	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(x_freep) char *dir = x_asprintf("%s/restored%u", w->sites.dir, i);
		struct restore_config config = restore_config(w, i + 2, dir);
		struct restore_result result;
		struct err e = {0};

		if (restore_cluster(&config, &result, &e) != 0) {
			fail_msg("%s", e.text);
		}
		assert_true(result.index == w->last.index && result.term == 7);
		assert_memory_equal(result.lineage, w->record.new_lineage, ID_BYTES);
		assert_int_equal(restore_cluster(&config, &result, NULL), KLUIS_EEXIST);
		restored[i] = open_restored(dir);
	}
	assert_same_rows(w->kv, restored[0]);
	assert_identical(restored[0], restored[1]);
	view = kv_view_new(restored[0]);
	assert_int_equal(position_get(view, &position, NULL), 0);
	assert_true(position.index == w->last.index && position.term == 7);
	assert_int_equal(cluster_store_get(view, &cluster, NULL), 0);
	assert_memory_equal(cluster.lineage, w->record.new_lineage, ID_BYTES);
	assert_int_equal(restore_store_list(view, records, &n_records, NULL), 0);
	assert_int_equal(n_records, 1);
	assert_true(bytes_equal(
		bytes_of(records[0].record, sizeof records[0].record), buf_bytes(&w->encoded)));
	kv_view_free(view);
	kv_close(restored[0]);
	kv_close(restored[1]);
}

static void assert_nothing_left(const char *dir)
{
	static const char *const names[] = {"db", "db.restoring"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%s", dir, names[i]);

		assert_false(file_exists(path));
	}
}

static void killed_progress(void *data, uint64_t rows, uint64_t total)
{
	(void)data;
	(void)rows;
	(void)total;
	(void)raise(SIGKILL);
}

/* Another restore works in the directory: nothing of it is taken. */
static void test_two_restores(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/two", w->sites.dir);
	_cleanup_(x_freep) char *left = x_asprintf("%s/db.restoring", dir);
	_cleanup_(x_freep) char *file = x_asprintf("%s/its", left);
	struct restore_config config = restore_config(w, 2, dir);
	struct restore_result result;
	struct err e = {0};
	int fd = -1;

	assert_int_equal(file_make_dirs(left, 0700, NULL), 0);
	assert_int_equal(file_write(file, bytes_str("store"), 0600, NULL), 0);
	assert_int_equal(lock_dir(left, &fd, NULL), 0);
	assert_int_equal(restore_cluster(&config, &result, &e), KLUIS_EBUSY);
	assert_non_null(strstr(e.text, left));
	assert_true(file_exists(file));
	assert_int_equal(close(fd), 0); /* It was killed. */
	assert_int_equal(restore_cluster(&config, &result, NULL), 0);
	assert_false(file_exists(left));
}

/* It fails at a row, or at the very end; then it is killed half way; then it succeeds. */
static void test_interrupted_restore(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/interrupted", w->sites.dir);
	_cleanup_(x_freep) char *left = x_asprintf("%s/db.restoring", dir);
	struct restore_config config = restore_config(w, 3, dir);
	struct restore_result result;
	struct kv *kv;
	pid_t pid;
	int status;

#ifdef __SANITIZE_THREAD__
	skip(); /* It cannot follow the fork of a process that had threads. */
#endif
	fault_arm("backup.restore.row", 500, false);
	assert_int_equal(restore_cluster(&config, &result, NULL), KLUIS_EIO);
	assert_nothing_left(dir);
	fault_arm("backup.restore.publish", 1, false);
	assert_int_equal(restore_cluster(&config, &result, NULL), KLUIS_EIO);
	assert_nothing_left(dir);
	fault_disarm();
	pid = fork();
	if (pid == 0) {
		config.progress = killed_progress;
		_exit(restore_cluster(&config, &result, NULL) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(file_exists(left));
	assert_int_equal(restore_cluster(&config, &result, NULL), 0);
	assert_false(file_exists(left));
	kv = open_restored(dir);
	assert_same_rows(w->kv, kv);
	kv_close(kv);
}

static void assert_record_refused(struct world *w, struct bytes record, int code)
{
	_cleanup_(x_freep) char *dir = x_asprintf("%s/refused", w->sites.dir);
	struct restore_config config = restore_config(w, 3, dir);
	struct restore_result result;

	config.record = record;
	assert_int_equal(restore_cluster(&config, &result, NULL), code);
	assert_false(file_exists(dir));
}

static void assert_signed_refused(struct world *w, struct restore_record *record)
{
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;

	sign_record(w, record, &encoded);
	assert_record_refused(w, buf_bytes(&encoded), KLUIS_EVERIFY);
}

static void test_record(void **state)
{
	struct world *w = *state;
	_cleanup_(key_freep) struct key *stranger = NULL;
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct restore_record other = w->record;

	assert_record_refused(w, bytes_of(NULL, 0), KLUIS_EINVAL);
	assert_record_refused(w, bytes_of(w->encoded.data, w->encoded.len - 1), KLUIS_EINVAL);
	buf_append_bytes(&encoded, buf_bytes(&w->encoded));
	buf_append_bytes(&encoded, buf_bytes(&w->encoded));
	assert_record_refused(w, buf_bytes(&encoded), KLUIS_EINVAL);
	buf_clear(&encoded);
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &stranger, NULL), 0);
	assert_int_equal(restore_record_sign(&w->record, stranger, &encoded, NULL), 0);
	assert_record_refused(w, buf_bytes(&encoded), KLUIS_EVERIFY);
	other.manifest_hash[0] ^= 1;
	assert_signed_refused(w, &other);
	other = w->record;
	other.cluster_id[0] ^= 1;
	assert_signed_refused(w, &other);
	other = w->record;
	other.old_lineage[0] ^= 1;
	assert_signed_refused(w, &other);
	other = w->record;
	other.raft_index++;
	assert_signed_refused(w, &other);
	other = w->record;
	memcpy(other.new_lineage, other.old_lineage, ID_BYTES);
	assert_signed_refused(w, &other);
}

/* All sites delete the same again: with another list than the one that was signed for none of them
 * restores. */
static void test_another_list(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/listed", w->sites.dir);
	_cleanup_(buf_release) struct buf other = BUF_INIT;
	struct restore_config config = restore_config(w, 3, dir);
	struct restore_result result;

	list_nothing(0x5b, &other);
	config.deletions = buf_bytes(&other);
	assert_int_equal(restore_cluster(&config, &result, NULL), KLUIS_EVERIFY);
	config.deletions = bytes_of(w->deletions.data, w->deletions.len - 1);
	assert_int_equal(restore_cluster(&config, &result, NULL), KLUIS_ECORRUPT);
	config.deletions = bytes_of(NULL, 0);
	assert_int_equal(restore_cluster(&config, &result, NULL), KLUIS_ECORRUPT);
	assert_false(file_exists(dir));
}

/* Damage in the oldest increment alone stops the restore, which names the object and leaves
 * nothing.
 */
static void test_damaged_chain(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/damaged", w->sites.dir);
	struct restore_config config = restore_config(w, 2, dir);
	struct restore_result result;
	struct point *point = NULL;
	const struct backup_manifest *full;
	_cleanup_(x_closep) int fd = -1;
	_cleanup_(x_closep) int writable = -1;
	struct err e = {0};
	uint64_t bytes = 0;
	uint8_t byte;
	char path[64], name[HEX_LEN(HASH_BYTES) + 1];

	assert_int_equal(
		point_open(w->sites.repository[1], w->hash, &w->sites.trust, &point, NULL), 0);
	full = &point->snapshots[2].manifest;
	assert_int_equal(repository_open_object(w->sites.repository[1],
				 full->objects[full->n_index].hash, &fd, &bytes, NULL),
		0);
	assert_int_equal(fchmod(fd, 0600), 0);
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	writable = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(writable, &byte, 1, (off_t)bytes / 2), 1);
	byte ^= 1;
	assert_int_equal(pwrite(writable, &byte, 1, (off_t)bytes / 2), 1);
	assert_int_equal(restore_cluster(&config, &result, &e), KLUIS_EVERIFY);
	hex_encode(bytes_of(full->objects[full->n_index].hash, HASH_BYTES), name);
	name[16] = 0;
	assert_non_null(strstr(e.text, name)); /* Which file it is. */
	assert_nothing_left(dir);
	byte ^= 1;
	assert_int_equal(pwrite(writable, &byte, 1, (off_t)bytes / 2), 1);
	assert_int_equal(restore_cluster(&config, &result, NULL), 0);
	point_free(point);
}

enum { STREAM_ROWS = 320, STREAM_BYTES = 256 * 1024, STREAM_INDEX = 10000 };

/* The cluster's row, and so many of 256 KiB. */
static int stream_rows(struct backup_sites *sites, struct snapshot_writer *writer, unsigned n)
{
	_cleanup_(x_freep) uint8_t *data = x_calloc(1, STREAM_BYTES);
	struct cluster_row cluster = {.created_ms = 1, .feature_level = 1};
	_cleanup_(buf_release) struct buf first = BUF_INIT;
	int rc = 0;

	memcpy(cluster.cluster_id, sites->cluster_id, ID_BYTES);
	memcpy(cluster.lineage, sites->lineage, ID_BYTES);
	cluster_row_encode(&cluster, &first);
	for (unsigned i = 0; rc == 0 && i <= n; i++) {
		struct row_key key = row_key_begin(i == 0 ? KEY_CLUSTER : KEY_BYTES);
		struct bytes value = i == 0 ? buf_bytes(&first) : bytes_of(data, STREAM_BYTES);
		struct index_row row = {.at = {.index = 6 + i}};
		bool wanted = false;

		if (i > 0) {
			row_key_put_u64(&key, i);
			store_u32(data, i);
		}
		row.key = row_key_bytes(&key);
		hash_sha256(value, row.hash);
		rc = snapshot_writer_row(writer, &row, &wanted, NULL);
		rc = rc != 0 ? rc : snapshot_writer_value(writer, value, NULL);
	}
	return rc;
}

static bool stream_stays_below(const char *what, long kib)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	(void)fprintf(stderr, "%s: peak %ld KiB\n", what, usage.ru_maxrss);
	return usage.ru_maxrss < kib;
}

static int stream_restore(struct world *w, unsigned n)
{
	_cleanup_(x_freep) char *dir = x_asprintf("%s/stream", w->sites.dir);
	struct restore_config config;
	struct restore_result result = {.rows = 0};
	int rc;

	list_nothing(0x5a, &w->deletions);
	deletion_list_lineage(buf_bytes(&w->deletions), w->record.new_lineage);
	memcpy(w->record.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(w->record.old_lineage, w->sites.lineage, ID_BYTES);
	memcpy(w->record.manifest_hash, w->hash, HASH_BYTES);
	w->record.raft_index = STREAM_INDEX;
	rc = key_generate(KEY_ECDSA_P256, 0, &w->operator_key, NULL);
	if (rc == 0) {
		sign_record(w, &w->record, &w->encoded);
		config = restore_config(w, 1, dir);
		rc = restore_cluster(&config, &result, NULL);
	}
	key_free(w->operator_key);
	buf_release(&w->deletions);
	buf_release(&w->encoded);
	return rc == 0 && result.rows == n + 1 ? 0 : 1;
}

/* Rows through the writer, and verified: a process that does it stays below 64 MiB; and restored,
 * a store's caches among it: below 256. */
static int stream_much(struct world *w, unsigned n)
{
	struct backup_sites *sites = &w->sites;
	struct snapshot_plan plan = {
		.full = true, .cycle = 1, .id = 5, .index = STREAM_INDEX, .node = 1};
	struct snapshot_writer *writer = NULL;
	struct snapshot_result result;
	struct verify_report report;
	int rc;

	memcpy(plan.cluster_id, sites->cluster_id, ID_BYTES);
	memcpy(plan.lineage, sites->lineage, ID_BYTES);
	rc = snapshot_writer_new(
		sites->repository[0], &plan, key_public(sites->backup_key), &writer, NULL);
	rc = rc != 0 ? rc : stream_rows(sites, writer, n);
	rc = rc != 0 ? rc : snapshot_writer_finish(writer, sites->signer[0], &result, NULL);
	if (rc == 0) {
		memcpy(w->hash, result.manifest_hash, HASH_BYTES);
		rc = verify_snapshot(sites->repository[0], w->hash, &sites->trust, 3, &sites->keys,
			sites->dir, &report, NULL);
	}
	snapshot_writer_free(writer);
	if (rc != 0 || report.rows != n + 1 ||
		!stream_stays_below("written and verified", 64 * 1024)) {
		return 1;
	}
	rc = stream_restore(w, n);
	return rc == 0 && stream_stays_below("restored", 256 * 1024) ? 0 : 1;
}

/* Peaks of a process of its own that does all that with n rows, KiB. */
struct stream_peaks {
	long verified, restored;
};

static long stream_said(struct buf *said, const char *what)
{
	_cleanup_(x_freep) char *begin = x_asprintf("%s: peak ", what);
	const char *at = strstr(buf_str(said), begin);

	assert_non_null(at);
	return strtol(at + strlen(begin), NULL, 10);
}

static struct stream_peaks stream_run(const struct world *w, unsigned n)
{
	_cleanup_(x_freep) char *rows = x_asprintf("%u", n);
	_cleanup_(x_freep) char *out = x_asprintf("%s/stream-%u", w->sites.dir, n);
	_cleanup_(buf_release) struct buf said = BUF_INIT;

	assert_int_equal(
		test_run(out, (const char *const[]){program_invocation_name, "stream", rows, NULL}),
		0);
	assert_int_equal(file_read(out, 4096, &said, NULL), 0);
	return (struct stream_peaks){.verified = stream_said(&said, "written and verified"),
		.restored = stream_said(&said, "restored")};
}

/* Beside clients values are read no faster than they may be, when a snapshot is taken and when it
 * is restored for a drill; who is held so counts as one who moves. */
static void test_paced(void **state)
{
	enum { TAKE_PER_S = 200000, RESTORE_PER_S = 10000000 };
	struct world *w = *state;
	struct paced p;
	struct pace *pace;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/paced", w->sites.dir);
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct restore_config config;
	struct restore_result result;
	atomic_uint_fast64_t moved = 0;
	uint64_t begin_ms;

	change_rows(w, 300, true);
	paced_init(&p);
	pace = paced_new(&p, TAKE_PER_S);
	w->watch = (struct snapshot_watch){.pace = pace, .moved = &moved};
	begin_ms = p.now_ms;
	take(w);
	w->watch = (struct snapshot_watch){.pace = NULL};
	assert_int_equal(
		point_manifest(w->sites.repository[0], w->hash, &w->sites.trust, &m, NULL), 0);
	assert_true(m.value_bytes > TAKE_PER_S);
	assert_true(p.now_ms - begin_ms > m.value_bytes * 1000 / TAKE_PER_S / 2);
	assert_true(moved > m.live + 10); /* More than the rows alone. */
	pace_free(pace);

	pace = paced_new(&p, RESTORE_PER_S);
	config = restore_config(w, 1, dir);
	config.pace = pace;
	restore_of(w, &config);
	begin_ms = p.now_ms;
	assert_int_equal(restore_cluster(&config, &result, NULL), 0);
	assert_true(p.now_ms - begin_ms > result.value_bytes * 1000 / RESTORE_PER_S / 2);
	pace_free(pace);
}

/* Bounded, and not more for 80 MiB more: what a snapshot takes differs by chance, a restore by how
 * full its store's buffers and caches are. */
static void test_memory_bound(void **state)
{
	enum { VERIFIED_KIB = 24 * 1024, RESTORED_KIB = 64 * 1024 };
	const struct world *w = *state;
	struct stream_peaks once, twice;

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
	skip(); /* Its shadow counts. */
#endif
	once = stream_run(w, STREAM_ROWS);
	twice = stream_run(w, 2 * STREAM_ROWS);
	assert_true(twice.verified < once.verified + VERIFIED_KIB);
	assert_true(twice.restored < once.restored + RESTORED_KIB);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_restore_at_two_sites),
		cmocka_unit_test(test_interrupted_restore),
		cmocka_unit_test(test_two_restores),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_another_list),
		cmocka_unit_test(test_damaged_chain),
		cmocka_unit_test(test_paced),
		cmocka_unit_test(test_memory_bound),
	};

	if (argc == 3 && strcmp(argv[1], "stream") == 0) {
		struct world w = {.kv = NULL};
		int status;

		backup_sites_init(&w.sites, KEY_KEM_X25519);
		status = stream_much(&w, (unsigned)strtoul(argv[2], NULL, 10));
		backup_sites_release(&w.sites);
		return status;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* From one site's repository through a real sshd into another one's: cut uploads, resumption,
 * hostile drops, receipts. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/receive.h"
#include "backup/ship.h"
#include "backup/verify.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/lib/sshd.h"
#include "tests/unit/backup/lib/site.h"

#ifdef __SANITIZE_ADDRESS__
/* libssh2 1.10 never frees its notes (32 bytes each) of requests whose handle was closed before
 * their answer came, which is what a cut upload leaves. test_sftp.c is held to no leak at all. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libssh2.so";
}
#endif

enum { RECORDS_MAX = 128 };

struct world {
	struct test_sshd *sshd;
	struct backup_sites sites;
	struct backup_model model;
	struct sftp_target target;
	struct receive_config receiver; /* Node 2, fed by node 1. */
	struct snapshot_row records[RECORDS_MAX];
};

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	w->sshd = test_sshd_start(false);
	backup_sites_init(&w->sites, KEY_KEM_X25519);
	backup_model_init(&w->model, 7);
	w->target = (struct sftp_target){.host = "127.0.0.1",
		.port = w->sshd->port,
		.user = w->sshd->user,
		.host_key = w->sshd->host_key,
		.key_path = w->sshd->key_path,
		.path = w->sshd->path,
		.timeout_ms = 5000};
	w->receiver = (struct receive_config){.repository = w->sites.repository[1],
		.trust = &w->sites.trust,
		.signer = w->sites.signer[1],
		.node = 2};
	memcpy(w->receiver.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(w->receiver.lineage, w->sites.lineage, ID_BYTES);
	w->receiver.records = w->records;
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	fault_disarm();
	test_sshd_stop(w->sshd);
	backup_model_release(&w->model);
	backup_sites_release(&w->sites);
	free(w);
	return 0;
}

/* The log learns of it. */
static struct snapshot_row *record(
	struct world *w, const struct backup_manifest *m, const uint8_t hash[HASH_BYTES])
{
	struct snapshot_row *row = &w->records[w->receiver.n_records++];

	assert_true(w->receiver.n_records <= RECORDS_MAX);
	*row = backup_record(m, hash);
	return row;
}

static void take(struct world *w, unsigned changes, size_t value_max, uint8_t ret_hash[HASH_BYTES])
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};

	backup_model_change(&w->model, changes, changes, value_max);
	backup_model_snapshot(&w->model, &w->sites, 1, false, ret_hash);
	assert_int_equal(
		point_manifest(w->sites.repository[0], ret_hash, &w->sites.trust, &m, NULL), 0);
	(void)record(w, &m, ret_hash);
}

static struct ship_report ship(struct world *w, const uint8_t hash[HASH_BYTES])
{
	struct ship_report report;
	struct err e = {0};

	if (ship_snapshot(w->sites.repository[0], hash, "ber", &w->target, &report, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return report;
}

static struct receive_report receive_at(struct world *w, uint64_t wall_ms)
{
	struct receive_report report;
	struct err e = {0};

	if (receive_scan(&w->receiver, w->sshd->drop, 1, wall_ms, &report, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return report;
}

static struct receive_report receive(struct world *w)
{
	return receive_at(w, clock_wall_ms(&clock_system));
}

/* Accepted: whole, whatever lay beside it; its receipt is node 2's word. */
static void assert_received(struct world *w, const uint8_t hash[HASH_BYTES])
{
	struct receive_report report = receive(w);
	struct verify_report verified;
	struct receipt receipt;

	assert_int_equal(report.n_accepted, 1);
	assert_memory_equal(report.accepted[0].manifest_hash, hash, HASH_BYTES);
	assert_int_equal(receipt_open(bytes_of(report.accepted[0].receipt, RECEIPT_BYTES),
				 &w->sites.trust, &receipt, NULL),
		0);
	assert_true(receipt.node == 2);
	assert_memory_equal(receipt.manifest_hash, hash, HASH_BYTES);
	receive_report_release(&report);
	assert_int_equal(verify_snapshot(w->sites.repository[1], hash, &w->sites.trust, 3,
				 &w->sites.keys, w->sites.dir, &verified, NULL),
		0);
	backup_model_assert(&w->model, &w->sites, w->sites.repository[1], hash);
}

static void test_ship_and_receive(void **state)
{
	struct world *w = *state;
	uint8_t hash[HASH_BYTES];

	for (int cycle = 0; cycle < 3; cycle++) {
		struct ship_report report;

		take(w, 100, 100000, hash);
		report = ship(w, hash);
		assert_int_equal(report.connections, 1);
		assert_int_equal(report.objects_skipped, 0);
		assert_true(report.objects >= 2 && report.bytes > 100000);
		assert_received(w, hash);
	}
	/* Shipped again after it was taken away: found held, the same receipt, nothing left. */
	{
		struct receive_report report;
		_cleanup_(buf_release) struct buf first = BUF_INIT;

		assert_int_equal(
			repository_get_receipt(w->sites.repository[1], hash, 2, &first, NULL), 0);
		(void)ship(w, hash);
		report = receive(w);
		assert_int_equal(report.n_accepted, 1);
		assert_memory_equal(report.accepted[0].receipt, first.data, RECEIPT_BYTES);
		assert_int_equal(report.bytes, 0);
		receive_report_release(&report);
	}
}

/* The connection dies at the nth write, for every n: what was complete is not sent again, what was
 * cut is left behind, and the end is the same. */
static void test_cut_uploads(void **state)
{
	struct world *w = *state;
	uint64_t nth = 1;
	uint8_t hash[HASH_BYTES];
	bool cut = true;

	for (; cut && nth < 12; nth += 2) {
		struct ship_report report;

		take(w, 3, 3 << 20, hash);
		fault_arm("backup.sftp.write", nth, false);
		report = ship(w, hash);
		cut = fault_hits() >= nth;
		fault_disarm();
		assert_int_equal(report.connections, cut ? 2 : 1);
		assert_received(w, hash);
	}
	assert_true(nth > 3);
}

static void drop_file(struct world *w, const char *name, struct bytes bytes)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", w->sshd->drop, name);

	(void)unlink(path);
	assert_int_equal(file_create(path, bytes, 0400, NULL), 0);
}

/* Puts the manifest and the first n objects of a snapshot into the drop without an SSH session. */
static void carry(struct world *w, const uint8_t hash[HASH_BYTES], uint32_t n)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct drop_name name = {.manifest = true};
	struct manifest_name from;
	char text[DROP_NAME_BYTES];

	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	assert_int_equal(repository_find(w->sites.repository[0], hash, &from, NULL), 0);
	assert_int_equal(repository_get_manifest(w->sites.repository[0], &from, &bytes, NULL), 0);
	memcpy(name.hash, hash, HASH_BYTES);
	drop_name_format(&name, text);
	drop_file(w, text, buf_bytes(&bytes));
	name.manifest = false;
	for (uint32_t i = 0; i < m.n_index + m.n_packs && i < n; i++) {
		_cleanup_(buf_release) struct buf object = BUF_INIT;
		uint64_t size = 0;
		int fd = -1;

		assert_int_equal(repository_open_object(w->sites.repository[0], m.objects[i].hash,
					 &fd, &size, NULL),
			0);
		assert_int_equal(read(fd, buf_extend(&object, size), size), size);
		(void)close(fd);
		memcpy(name.hash, m.objects[i].hash, HASH_BYTES);
		drop_name_format(&name, text);
		drop_file(w, text, buf_bytes(&object));
	}
}

/* A manifest before its objects: the receiver waits, and takes nothing half. */
static void test_receive_before_the_end(void **state)
{
	struct world *w = *state;
	struct receive_report received;
	struct manifest_name name;
	uint8_t hash[HASH_BYTES];

	take(w, 5, 1000, hash);
	for (uint32_t n = 0; n < 2; n++) {
		carry(w, hash, n);
		received = receive(w);
		assert_int_equal(received.n_accepted, 0);
		assert_int_equal(received.waiting, 1);
		receive_report_release(&received);
		assert_int_equal(repository_find(w->sites.repository[1], hash, &name, NULL),
			KLUIS_ENOTFOUND);
	}
	assert_int_equal(ship(w, hash).objects_skipped, 1);
	assert_received(w, hash);
}

static size_t drop_count(struct world *w)
{
	_cleanup_(x_freep) char *out = x_asprintf("%s/ls", w->sites.dir);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	size_t n = 0;

	(void)unlink(out);
	assert_int_equal(
		test_run(out, (const char *const[]){"find", w->sshd->drop, "-mindepth", "1", NULL}),
		0);
	assert_int_equal(file_read(out, 1 << 20, &text, NULL), 0);
	for (size_t i = 0; i < text.len; i++) {
		n += text.data[i] == '\n';
	}
	return n;
}

/* Names that are none of ours, links, FIFOs, directories: never opened, never followed, left there.
 */
static void test_hostile_names(void **state)
{
	static const char *const names[] = {"o-", "m-0.0", ".o", "o-zz.0", "receipt",
		"o-0000000000000000000000000000000000000000000000000000000000000000.00",
		"o-0000000000000000000000000000000000000000000000000000000000000000.10000",
		"o-0000000000000000000000000000000000000000000000000000000000000000.1x",
		"o-000000000000000000000000000000000000000000000000000000000000000A.1"};
	struct world *w = *state;
	_cleanup_(x_freep) char *link = x_asprintf("%s/m-%064d.0", w->sshd->drop, 1);
	_cleanup_(x_freep) char *fifo = x_asprintf("%s/m-%064d.0", w->sshd->drop, 2);
	_cleanup_(x_freep) char *dir = x_asprintf("%s/o-%064d.0", w->sshd->drop, 3);
	struct receive_report report;
	uint8_t hash[HASH_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		drop_file(w, names[i], bytes_str("rubbish"));
	}
	assert_int_equal(symlink("/etc/shadow", link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	take(w, 5, 1000, hash);
	(void)ship(w, hash);
	report = receive(w);
	assert_int_equal(report.n_accepted, 1);
	assert_int_equal(report.foreign, ARRAY_SIZE(names) + 3);
	assert_int_equal(report.refused, 0);
	receive_report_release(&report);
	assert_int_equal(drop_count(w), ARRAY_SIZE(names) + 3);
}

/* The right name and size with other bytes: refused and removed; the sender's next try brings it.
 */
static void test_wrong_bytes(void **state)
{
	struct world *w = *state;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(buf_release) struct buf rubbish = BUF_INIT;
	struct drop_name name = {0};
	char text[DROP_NAME_BYTES];
	struct receive_report report;
	uint8_t hash[HASH_BYTES];

	take(w, 5, 1000, hash);
	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	memcpy(name.hash, m.objects[1].hash, HASH_BYTES);
	drop_name_format(&name, text);
	buf_put_zeros(&rubbish, m.objects[1].bytes);
	drop_file(w, text, buf_bytes(&rubbish));
	assert_int_equal(ship(w, hash).objects_skipped, 1); /* It looks complete. */
	report = receive(w);
	assert_int_equal(report.n_accepted, 0);
	assert_int_equal(report.refused, 1);
	assert_int_equal(report.waiting, 1);
	receive_report_release(&report);
	assert_int_equal(ship(w, hash).objects, 1);
	assert_received(w, hash);
}

/* Puts node 1's manifest, after `change` and signed by `signer`, into the drop; returns what the
 * receiver refused. */
static unsigned refused(struct world *w, const uint8_t hash[HASH_BYTES], const struct key *signer,
	void (*change)(struct backup_manifest *m))
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct drop_name name = {.manifest = true};
	char text[DROP_NAME_BYTES];
	struct receive_report report;
	unsigned count;

	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	change(&m);
	assert_int_equal(backup_manifest_encode(&m, signer, &bytes, name.hash, NULL), 0);
	(void)record(w, &m, name.hash);
	drop_name_format(&name, text);
	drop_file(w, text, buf_bytes(&bytes));
	report = receive(w);
	count = report.refused;
	assert_int_equal(report.n_accepted, 0);
	receive_report_release(&report);
	return count;
}

static void change_nothing(struct backup_manifest *m)
{
	(void)m;
}

static void change_node(struct backup_manifest *m)
{
	m->node = 3;
}

static void change_lineage(struct backup_manifest *m)
{
	m->lineage[0] ^= 1;
}

static void change_cluster(struct backup_manifest *m)
{
	m->cluster_id[0] ^= 1;
}

static void test_forged_manifests(void **state)
{
	struct world *w = *state;
	_cleanup_(key_freep) struct key *stranger = NULL;
	uint8_t hash[HASH_BYTES];
	_cleanup_(x_freep) char *name = x_asprintf("m-%064d.0", 7);
	struct backup_manifest cut = {.node = 1};
	struct receive_report report;
	uint8_t cut_hash[HASH_BYTES];
	char hex[HEX_LEN(HASH_BYTES) + 1] = "";

	take(w, 5, 1000, hash);
	assert_int_equal(key_generate(KEY_ED25519, 0, &stranger, NULL), 0);
	assert_int_equal(refused(w, hash, stranger, change_nothing), 1);
	/* Node 3's own word, but in the drop of node 1, whose SSH key was stolen. */
	assert_int_equal(refused(w, hash, w->sites.signer[2], change_node), 1);
	assert_int_equal(refused(w, hash, w->sites.signer[0], change_lineage), 1);
	assert_int_equal(refused(w, hash, w->sites.signer[0], change_cluster), 1);
	/* Cut: perhaps still on its way, until it is too old. */
	memcpy(hex, name + 2, sizeof hex - 1);
	assert_int_equal(hex_decode(hex, cut_hash, sizeof cut_hash), 0);
	(void)record(w, &cut, cut_hash);
	drop_file(w, name, bytes_str("KBM1\x01"));
	report = receive(w);
	assert_int_equal(report.waiting, 1);
	assert_int_equal(report.refused, 0);
	receive_report_release(&report);
	report = receive_at(w, clock_wall_ms(&clock_system) + 2 * BACKUP_LEFTOVER_MS);
	assert_int_equal(report.waiting, 0);
	assert_int_equal(report.refused, 1);
	receive_report_release(&report);
	(void)ship(w, hash);
	assert_received(w, hash);
}

/* Node 1's own snapshot once more, whole and signed, after `change`; the log knows it only if told
 * so. Returns its hash. */
static void carry_changed(struct world *w, const uint8_t hash[HASH_BYTES],
	void (*change)(struct backup_manifest *m), struct snapshot_row **ret_row,
	uint8_t ret_hash[HASH_BYTES])
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct drop_name name = {.manifest = true};
	char text[DROP_NAME_BYTES];

	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	if (ret_row != NULL) {
		*ret_row = record(w, &m, hash);
	}
	change(&m);
	assert_int_equal(
		backup_manifest_encode(&m, w->sites.signer[0], &bytes, name.hash, NULL), 0);
	if (ret_row != NULL) {
		memcpy((*ret_row)->manifest_hash, name.hash, HASH_BYTES);
	}
	drop_name_format(&name, text);
	drop_file(w, text, buf_bytes(&bytes));
	memcpy(ret_hash, name.hash, HASH_BYTES);
}

static void change_cycle(struct backup_manifest *m)
{
	m->cycle += 42 * 1000 * 1000; /* The same slice. */
}

static void change_index(struct backup_manifest *m)
{
	m->index += 1000000;
}

static void change_id(struct backup_manifest *m)
{
	m->id--;
}

static void change_from(struct backup_manifest *m)
{
	m->from--;
}

static void change_root(struct backup_manifest *m)
{
	m->state_root[0] ^= 1;
}

static void change_kind(struct backup_manifest *m)
{
	m->manual = true;
	m->slice = SLICE_NONE;
}

static void assert_counts(
	struct receive_report report, unsigned accepted, unsigned waiting, unsigned refused)
{
	assert_int_equal(report.n_accepted, accepted);
	assert_int_equal(report.waiting, waiting);
	assert_int_equal(report.refused, refused);
	receive_report_release(&report);
}

/* A node that signs what it likes: a cycle far ahead, its objects all there. The log knows nothing
 * of it, so it is no snapshot, and the cycles that follow are taken as ever. */
static void test_only_what_the_log_knows(void **state)
{
	struct world *w = *state;
	uint64_t now = clock_wall_ms(&clock_system);
	struct manifest_name name;
	uint8_t hash[HASH_BYTES], wrong[HASH_BYTES];

	take(w, 5, 1000, hash);
	(void)ship(w, hash);
	assert_received(w, hash);
	take(w, 5, 1000, hash);
	(void)ship(w, hash);
	carry_changed(w, hash, change_cycle, NULL, wrong);
	assert_counts(receive(w), 1, 1, 0);
	assert_int_equal(
		repository_find(w->sites.repository[1], wrong, &name, NULL), KLUIS_ENOTFOUND);
	for (unsigned i = 0; i < 2; i++) {
		take(w, 5, 1000, hash);
		(void)ship(w, hash);
		assert_counts(receive(w), 1, 1, 0);
	}
	/* A record may come late to this site, but not for ever. */
	assert_counts(receive_at(w, now + 2 * BACKUP_LEFTOVER_MS), 0, 0, 1);
	assert_int_equal(drop_count(w), 0);
}

/* A site that was down for longer than leftovers are kept begins with a log that lacks the records
 * of what came meanwhile: they count as old from when it looked first. */
static void test_back_after_a_day(void **state)
{
	struct world *w = *state;
	uint64_t back = clock_wall_ms(&clock_system) + 2 * BACKUP_LEFTOVER_MS;
	uint8_t hash[HASH_BYTES];

	take(w, 5, 1000, hash);
	(void)ship(w, hash);
	w->receiver.began_ms = back;
	w->receiver.n_records = 0;
	assert_counts(receive_at(w, back + 1), 0, 1, 0);
	w->receiver.n_records = 1;
	assert_counts(receive_at(w, back + 60 * 1000), 1, 0, 0);
	assert_int_equal(drop_count(w), 0);
	take(w, 5, 1000, hash);
	(void)ship(w, hash);
	w->receiver.n_records = 1;
	assert_counts(receive_at(w, back + BACKUP_LEFTOVER_MS + 1), 0, 0, 1);
}

/* What the log says of a snapshot is what its manifest must say. */
static void test_manifest_against_its_record(void **state)
{
	static void (*const changes[])(struct backup_manifest * m) = {
		change_cycle, change_index, change_id, change_from, change_root, change_kind};
	struct world *w = *state;
	struct snapshot_row *row;
	uint8_t hash[HASH_BYTES], wrong[HASH_BYTES];

	for (unsigned i = 0; i < 2; i++) {
		take(w, 5, 1000, hash);
		(void)ship(w, hash);
		assert_received(w, hash);
	}
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		carry_changed(w, hash, changes[i], &row, wrong);
		assert_counts(receive(w), 0, 0, 1);
		w->receiver.n_records--;
	}
	/* Given up, or not finished: it is not taken in, unless it turns out well after all. */
	take(w, 5, 1000, hash);
	(void)ship(w, hash);
	row = &w->records[w->receiver.n_records - 1];
	row->state = SNAPSHOT_FAILED;
	assert_counts(receive(w), 0, 1, 0);
	row->state = SNAPSHOT_RUNNING;
	assert_counts(receive(w), 0, 1, 0);
	row->state = SNAPSHOT_CONFIRMED;
	assert_received(w, hash);
}

/* Uploads that no manifest asks for go after a day; sooner when the drop is over its quota. */
static void test_leftovers_and_quota(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *name = x_asprintf("o-%064d.3", 9);
	uint64_t now = clock_wall_ms(&clock_system);
	struct receive_report report;

	w->receiver.quota_bytes = 4;
	drop_file(w, name, bytes_str("12345"));
	report = receive_at(w, now);
	assert_true(report.over_quota);
	assert_int_equal(report.leftovers, 0);
	report = receive_at(w, now + BACKUP_LEFTOVER_FULL_MS + 5000);
	assert_int_equal(report.leftovers, 1);
	drop_file(w, name, bytes_str("123"));
	report = receive_at(w, now + BACKUP_LEFTOVER_FULL_MS + 5000);
	assert_false(report.over_quota);
	assert_int_equal(report.leftovers, 0);
	report = receive_at(w, now + BACKUP_LEFTOVER_MS + 5000);
	assert_int_equal(report.leftovers, 1);
	assert_int_equal(drop_count(w), 0);
}

/* Ninety cycles, a fortnight and more by the receiver's clock: what is old goes, its manifest
 * signed by the sender comes again and is refused, and the oldest promised point still verifies. */
static void test_prune_and_replay(void **state)
{
	struct world *w = *state;
	const uint64_t cycle_ms = 4ULL * 3600 * 1000;
	uint64_t now = clock_wall_ms(&clock_system);
	uint8_t hash[96][HASH_BYTES];
	struct verify_report verified;
	struct receive_report report;
	unsigned pruned = 0;

	for (unsigned i = 1; i <= 90; i++) {
		take(w, 3, 100, hash[i]);
		carry(w, hash[i], UINT32_MAX);
		report = receive_at(w, now + i * cycle_ms);
		assert_int_equal(report.n_accepted, 1);
		receive_report_release(&report);
	}
	/* Nothing is promised yet: neither is anything old. */
	assert_int_equal(receive_prune(&w->receiver, now + 90 * cycle_ms + 1, &retention_default,
				 &pruned, NULL),
		0);
	assert_int_equal(pruned, 0);
	for (size_t i = 0; i < w->receiver.n_records; i++) {
		w->records[i].state = SNAPSHOT_CONFIRMED;
	}
	assert_int_equal(receive_prune(&w->receiver, now + 90 * cycle_ms + 1, &retention_default,
				 &pruned, NULL),
		0);
	assert_int_equal(pruned, 6);
	assert_int_equal(verify_snapshot(w->sites.repository[1], hash[90 - 41], &w->sites.trust, 3,
				 &w->sites.keys, w->sites.dir, &verified, NULL),
		0);
	assert_int_equal(verified.snapshots, BACKUP_SLICES);
	carry(w, hash[5], UINT32_MAX);
	report = receive_at(w, now + 91 * cycle_ms);
	assert_int_equal(report.n_accepted, 0);
	assert_int_equal(report.refused, 1);
	receive_report_release(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ship_and_receive, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cut_uploads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_receive_before_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forged_manifests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_only_what_the_log_knows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_back_after_a_day, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_manifest_against_its_record, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_leftovers_and_quota, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_prune_and_replay, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

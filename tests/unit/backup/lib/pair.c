#include "tests/unit/backup/lib/pair.h"

#include <string.h>
#include <unistd.h>

#include "backup/verify.h"
#include "base/fault.h"
#include "base/file.h"
#include "tests/lib/test.h"

#ifdef __SANITIZE_ADDRESS__
/* libssh2 1.10 never frees its notes (32 bytes each) of requests whose handle was closed before
 * their answer came, which is what a cut upload leaves. test_sftp.c is held to no leak at all. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libssh2.so";
}
#endif

static int set_up(void **state, bool chroot)
{
	struct backup_pair *w = x_calloc(1, sizeof *w);

	w->sshd = test_sshd_start(chroot);
	backup_sites_init(&w->sites, KEY_KEM_X25519);
	backup_model_init(&w->model, 7);
	w->target = (struct sftp_target){.host = "127.0.0.1",
		.port = w->sshd->port,
		.user = w->sshd->user,
		.host_key = w->sshd->host_key,
		.key_path = w->sshd->key_path,
		.path = w->sshd->path,
		.timeout_ms = 60000};
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

int pair_set_up(void **state)
{
	return set_up(state, false);
}

int pair_set_up_chroot(void **state)
{
	return set_up(state, true);
}

int pair_tear_down(void **state)
{
	struct backup_pair *w = *state;

	fault_disarm();
	test_sshd_stop(w->sshd);
	backup_model_release(&w->model);
	backup_sites_release(&w->sites);
	free(w);
	return 0;
}

struct snapshot_row *pair_record(
	struct backup_pair *w, const struct backup_manifest *m, const uint8_t hash[HASH_BYTES])
{
	struct snapshot_row *row = &w->records[w->receiver.n_records++];

	assert_true(w->receiver.n_records <= PAIR_RECORDS_MAX);
	*row = backup_record(m, hash);
	return row;
}

void pair_take(
	struct backup_pair *w, unsigned changes, size_t value_max, uint8_t ret_hash[HASH_BYTES])
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};

	backup_model_change(&w->model, changes, changes, value_max);
	backup_model_snapshot(&w->model, &w->sites, 1, false, ret_hash);
	assert_int_equal(
		point_manifest(w->sites.repository[0], ret_hash, &w->sites.trust, &m, NULL), 0);
	(void)pair_record(w, &m, ret_hash);
}

struct ship_report pair_ship(struct backup_pair *w, const uint8_t hash[HASH_BYTES])
{
	struct ship_report report;
	struct err e = {0};

	if (ship_snapshot(w->sites.repository[0], hash, "ber", &w->target, &report, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return report;
}

struct receive_report pair_receive_at(struct backup_pair *w, uint64_t wall_ms)
{
	struct receive_report report;
	struct err e = {0};

	if (receive_scan(&w->receiver, w->sshd->drop, 1, wall_ms, &report, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return report;
}

struct receive_report pair_receive(struct backup_pair *w)
{
	return pair_receive_at(w, clock_wall_ms(&clock_system));
}

void pair_assert_received(struct backup_pair *w, const uint8_t hash[HASH_BYTES])
{
	struct receive_report report = pair_receive(w);
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

void pair_drop_file(struct backup_pair *w, const char *name, struct bytes bytes)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", w->sshd->drop, name);

	(void)unlink(path);
	assert_int_equal(file_create(path, bytes, 0400, NULL), 0);
}

void pair_carry(struct backup_pair *w, const uint8_t hash[HASH_BYTES], uint32_t n)
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
	pair_drop_file(w, text, buf_bytes(&bytes));
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
		pair_drop_file(w, text, buf_bytes(&object));
	}
}

size_t pair_drop_count(struct backup_pair *w)
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

/* What lies in a drop and is not what it should be: names, bytes, manifests, leftovers, too much of
 * anything. (What a sender can do to a drop at all: test_hostile_sender.c, test_sftp_attack.c.) */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/renew.h"
#include "backup/verify.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/unit/backup/lib/pair.h"

/* Names that are none of ours, links, FIFOs, directories: never opened, never followed; a day later
 * they are gone, but for what no sender can make.
 */
static void test_hostile_names(void **state)
{
	static const char *const names[] = {"o-", "m-0.0", ".o", "o-zz.0", "receipt",
		"o-0000000000000000000000000000000000000000000000000000000000000000.00",
		"o-0000000000000000000000000000000000000000000000000000000000000000.10000",
		"o-0000000000000000000000000000000000000000000000000000000000000000.1x",
		"o-000000000000000000000000000000000000000000000000000000000000000A.1"};
	struct backup_pair *w = *state;
	_cleanup_(x_freep) char *link = x_asprintf("%s/m-%064d.0", w->sshd->drop, 1);
	_cleanup_(x_freep) char *fifo = x_asprintf("%s/m-%064d.0", w->sshd->drop, 2);
	_cleanup_(x_freep) char *dir = x_asprintf("%s/o-%064d.0", w->sshd->drop, 3);
	struct receive_report report;
	uint8_t hash[HASH_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		pair_drop_file(w, names[i], bytes_str("rubbish"));
	}
	assert_int_equal(symlink("/etc/shadow", link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	pair_take(w, 5, 1000, hash);
	(void)pair_ship(w, hash);
	report = pair_receive(w);
	assert_int_equal(report.n_accepted, 1);
	assert_int_equal(report.foreign, ARRAY_SIZE(names) + 3);
	assert_int_equal(report.refused, 0);
	receive_report_release(&report);
	assert_int_equal(pair_drop_count(w), ARRAY_SIZE(names) + 3);
	report = pair_receive_at(w, clock_wall_ms(&clock_system) + BACKUP_LEFTOVER_MS + 5000);
	assert_int_equal(report.leftovers, ARRAY_SIZE(names) + 2);
	assert_int_equal(pair_drop_count(w), 1);
	assert_int_equal(access("/etc/shadow", F_OK), 0);
}

/* The right name and size with other bytes: refused and removed; the sender's next try brings it.
 */
static void test_wrong_bytes(void **state)
{
	struct backup_pair *w = *state;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(buf_release) struct buf rubbish = BUF_INIT;
	struct drop_name name = {0};
	char text[DROP_NAME_BYTES];
	struct receive_report report;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	memcpy(name.hash, m.objects[1].hash, HASH_BYTES);
	drop_name_format(&name, text);
	buf_put_zeros(&rubbish, m.objects[1].bytes);
	pair_drop_file(w, text, buf_bytes(&rubbish));
	assert_int_equal(pair_ship(w, hash).objects_skipped, 1); /* It looks complete. */
	report = pair_receive(w);
	assert_int_equal(report.n_accepted, 0);
	assert_int_equal(report.refused, 1);
	assert_int_equal(report.waiting, 1);
	receive_report_release(&report);
	assert_int_equal(pair_ship(w, hash).objects, 1);
	pair_assert_received(w, hash);
}

/* An upload that the disk cannot read any more holds nothing up: it goes, and comes again. */
static void test_unreadable_upload(void **state)
{
	struct backup_pair *w = *state;
	struct receive_report report;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	for (unsigned nth = 1; nth <= 2; nth++) { /* The manifest, an object. */
		(void)pair_ship(w, hash);
		fault_arm("receive.read", nth, false);
		report = pair_receive(w);
		fault_disarm();
		assert_int_equal(report.n_accepted, 0);
		assert_int_equal(report.refused, 1);
		receive_report_release(&report);
	}
	(void)pair_ship(w, hash);
	pair_assert_received(w, hash);
}

/* So often that a look would take for ever: only so many are read in one, and the next goes on. */
static void test_wrong_bytes_many_times(void **state)
{
	enum { TIMES = 20, AT_ONCE = 16 };
	struct backup_pair *w = *state;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(buf_release) struct buf rubbish = BUF_INIT;
	struct drop_name name = {0};
	struct receive_report report;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	memcpy(name.hash, m.objects[1].hash, HASH_BYTES);
	buf_put_zeros(&rubbish, m.objects[1].bytes);
	pair_carry(w, hash, 1);
	for (name.attempt = 0; name.attempt < TIMES; name.attempt++) {
		char text[DROP_NAME_BYTES];

		drop_name_format(&name, text);
		pair_drop_file(w, text, buf_bytes(&rubbish));
	}
	for (unsigned left = TIMES; left > 0;) {
		unsigned most = left < AT_ONCE ? left : AT_ONCE;

		report = pair_receive(w);
		assert_int_equal(report.refused, most);
		assert_int_equal(report.waiting, 1);
		left -= most;
	}
	(void)pair_ship(w, hash);
	pair_assert_received(w, hash);
}

/* Writes bytes from .. upto of an object into the drop, as a sender does that is still at it. */
static void drop_part(
	struct backup_pair *w, const struct manifest_object *object, uint64_t from, uint64_t upto)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(x_closep) int source = -1;
	struct drop_name name = {0};
	char text[DROP_NAME_BYTES];
	_cleanup_(x_freep) char *path = NULL;
	uint64_t size = 0;
	int fd;

	assert_int_equal(
		repository_open_object(w->sites.repository[0], object->hash, &source, &size, NULL),
		0);
	assert_true(from <= upto && upto <= size);
	assert_int_equal(pread(source, buf_extend(&bytes, upto - from), upto - from, (off_t)from),
		upto - from);
	memcpy(name.hash, object->hash, HASH_BYTES);
	drop_name_format(&name, text);
	path = x_asprintf("%s/%s", w->sshd->drop, text);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, buf_bytes(&bytes)), 0);
	assert_int_equal(close(fd), 0);
}

/* Whatever a look meets of it, nothing is promoted half: each waits until the last byte is there,
 * and is the same file then. */
static void test_growing_objects(void **state)
{
	struct backup_pair *w = *state;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct receive_report report;
	struct manifest_name name;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 40, 4000, hash);
	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	pair_carry(w, hash, 0); /* The manifest first: nothing but sizes can tell. */
	for (uint32_t i = 0; i < m.n_index + m.n_packs; i++) {
		const struct manifest_object *object = &m.objects[i];
		uint64_t parts[] = {0, object->bytes / 2, object->bytes - 1, object->bytes};
		uint64_t size = 0;
		int fd = -1;

		for (size_t k = 1; k < ARRAY_SIZE(parts); k++) {
			report = pair_receive(w);
			assert_int_equal(report.n_accepted, 0);
			assert_int_equal(report.waiting, 1);
			assert_int_equal(report.refused, 0);
			receive_report_release(&report);
			assert_int_equal(repository_open_object(w->sites.repository[1],
						 object->hash, &fd, &size, NULL),
				KLUIS_ENOTFOUND);
			assert_int_equal(repository_find(w->sites.repository[1], hash, &name, NULL),
				KLUIS_ENOTFOUND);
			drop_part(w, object, parts[k - 1], parts[k]);
		}
	}
	pair_assert_received(w, hash);
}

/* Puts node 1's manifest, after `change` and signed by `signer`, into the drop; returns what the
 * receiver refused. */
static unsigned refused(struct backup_pair *w, const uint8_t hash[HASH_BYTES],
	const struct key *signer, void (*change)(struct backup_manifest *m))
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
	(void)pair_record(w, &m, name.hash);
	drop_name_format(&name, text);
	pair_drop_file(w, text, buf_bytes(&bytes));
	report = pair_receive(w);
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
	struct backup_pair *w = *state;
	_cleanup_(key_freep) struct key *stranger = NULL;
	uint8_t hash[HASH_BYTES];
	_cleanup_(x_freep) char *name = x_asprintf("m-%064d.0", 7);
	struct backup_manifest cut = {.node = 1};
	struct receive_report report;
	uint8_t cut_hash[HASH_BYTES];
	char hex[HEX_LEN(HASH_BYTES) + 1] = "";

	pair_take(w, 5, 1000, hash);
	assert_int_equal(key_generate(KEY_ED25519, 0, &stranger, NULL), 0);
	assert_int_equal(refused(w, hash, stranger, change_nothing), 1);
	/* Node 3's own word, but in the drop of node 1, whose SSH key was stolen. */
	assert_int_equal(refused(w, hash, w->sites.signer[2], change_node), 1);
	assert_int_equal(refused(w, hash, w->sites.signer[0], change_lineage), 1);
	assert_int_equal(refused(w, hash, w->sites.signer[0], change_cluster), 1);
	/* Cut: perhaps still on its way, until it is too old. */
	memcpy(hex, name + 2, sizeof hex - 1);
	assert_int_equal(hex_decode(hex, cut_hash, sizeof cut_hash), 0);
	(void)pair_record(w, &cut, cut_hash);
	pair_drop_file(w, name, bytes_str("KBM1\x01"));
	report = pair_receive(w);
	assert_int_equal(report.waiting, 1);
	assert_int_equal(report.refused, 0);
	receive_report_release(&report);
	report = pair_receive_at(w, clock_wall_ms(&clock_system) + 2 * BACKUP_LEFTOVER_MS);
	assert_int_equal(report.waiting, 0);
	assert_int_equal(report.refused, 1);
	receive_report_release(&report);
	(void)pair_ship(w, hash);
	pair_assert_received(w, hash);
}

static unsigned signed_anew(struct backup_pair *w, unsigned node)
{
	unsigned n = 99;

	assert_int_equal(renew_manifests(w->sites.repository[0], &w->sites.trust, node,
				 w->sites.signer[node - 1], &n, NULL),
		0);
	return n;
}

/* Node 1 signs with another key from now on. With the former one nothing comes in any more, though
 * the log names it; what is here stays good, and node 1 signs anew what it still has to bring. */
static void test_former_key(void **state)
{
	struct backup_pair *w = *state;
	struct backup_formers of_another = {.rows = {{.node = 2}}, .n = 1};
	uint8_t held[HASH_BYTES], late[HASH_BYTES];
	struct verify_report verified;
	struct receive_report report;
	struct manifest_name name;

	pair_take(w, 5, 1000, held);
	pair_carry(w, held, UINT32_MAX);
	pair_assert_received(w, held);
	pair_take(w, 5, 1000, late);
	pair_carry(w, late, UINT32_MAX);
	assert_int_equal(signed_anew(w, 1), 0);
	backup_sites_change_signer(&w->sites, 1);
	report = pair_receive(w);
	assert_int_equal(report.n_accepted, 0);
	assert_int_equal(report.refused, 1);
	assert_string_equal(report.reason, "signed with a former key of node 1");
	receive_report_release(&report);
	assert_int_equal(
		repository_find(w->sites.repository[1], late, &name, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(verify_snapshot(w->sites.repository[1], held, &w->sites.trust, 3,
				 &w->sites.keys, w->sites.dir, &verified, NULL),
		0);
	memcpy(of_another.rows[0].key, key_pub_bytes(key_public(w->sites.signer[0])).data, 32);
	assert_int_equal(backup_trust_add_formers(&w->sites.trust, &of_another, NULL), 0);
	assert_int_equal(signed_anew(w, 2), 0); /* It took none of them. */
	assert_int_equal(signed_anew(w, 1), 2);
	assert_int_equal(signed_anew(w, 1), 0);
	pair_carry(w, late, UINT32_MAX);
	pair_assert_received(w, late);
}

/* Node 2 has changed its own: its receipts of before are its word as ever. */
static void test_former_receipt(void **state)
{
	struct backup_pair *w = *state;
	uint8_t hash[HASH_BYTES], receipt[RECEIPT_BYTES];
	struct receive_report report;

	pair_take(w, 5, 1000, hash);
	pair_carry(w, hash, UINT32_MAX);
	report = pair_receive(w);
	assert_int_equal(report.n_accepted, 1);
	memcpy(receipt, report.accepted[0].receipt, RECEIPT_BYTES);
	receive_report_release(&report);
	backup_sites_change_signer(&w->sites, 2);
	w->receiver.signer = w->sites.signer[1];
	pair_carry(w, hash, 0);
	report = pair_receive_at(w, clock_wall_ms(&clock_system) + 60000);
	assert_int_equal(report.n_accepted, 1);
	assert_memory_equal(report.accepted[0].receipt, receipt, RECEIPT_BYTES);
	receive_report_release(&report);
}

/* Node 1's own snapshot once more, whole and signed, after `change`; the log knows it only if told
 * so. Returns its hash. */
static void carry_changed(struct backup_pair *w, const uint8_t hash[HASH_BYTES],
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
		*ret_row = pair_record(w, &m, hash);
	}
	change(&m);
	assert_int_equal(
		backup_manifest_encode(&m, w->sites.signer[0], &bytes, name.hash, NULL), 0);
	if (ret_row != NULL) {
		memcpy((*ret_row)->manifest_hash, name.hash, HASH_BYTES);
	}
	drop_name_format(&name, text);
	pair_drop_file(w, text, buf_bytes(&bytes));
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
	struct backup_pair *w = *state;
	uint64_t now = clock_wall_ms(&clock_system);
	struct manifest_name name;
	uint8_t hash[HASH_BYTES], wrong[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	(void)pair_ship(w, hash);
	pair_assert_received(w, hash);
	pair_take(w, 5, 1000, hash);
	(void)pair_ship(w, hash);
	carry_changed(w, hash, change_cycle, NULL, wrong);
	assert_counts(pair_receive(w), 1, 1, 0);
	assert_int_equal(
		repository_find(w->sites.repository[1], wrong, &name, NULL), KLUIS_ENOTFOUND);
	for (unsigned i = 0; i < 2; i++) {
		pair_take(w, 5, 1000, hash);
		(void)pair_ship(w, hash);
		assert_counts(pair_receive(w), 1, 1, 0);
	}
	/* A record may come late to this site, but not for ever. */
	assert_counts(pair_receive_at(w, now + 2 * BACKUP_LEFTOVER_MS), 0, 0, 1);
	assert_int_equal(pair_drop_count(w), 0);
}

/* A site that was down for longer than leftovers are kept begins with a log that lacks the records
 * of what came meanwhile: they count as old from when it looked first. */
static void test_back_after_a_day(void **state)
{
	struct backup_pair *w = *state;
	uint64_t back = clock_wall_ms(&clock_system) + 2 * BACKUP_LEFTOVER_MS;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	(void)pair_ship(w, hash);
	w->receiver.began_ms = back;
	w->receiver.n_records = 0;
	assert_counts(pair_receive_at(w, back + 1), 0, 1, 0);
	w->receiver.n_records = 1;
	assert_counts(pair_receive_at(w, back + 60 * 1000), 1, 0, 0);
	assert_int_equal(pair_drop_count(w), 0);
	pair_take(w, 5, 1000, hash);
	(void)pair_ship(w, hash);
	w->receiver.n_records = 1;
	assert_counts(pair_receive_at(w, back + BACKUP_LEFTOVER_MS + 1), 0, 0, 1);
}

static void change_to_past(struct backup_manifest *m)
{
	m->wall_ms = 1;
}

static void change_to_future(struct backup_manifest *m)
{
	m->wall_ms = UINT64_MAX;
}

static uint64_t received_ms(struct backup_pair *w, const uint8_t receipt[RECEIPT_BYTES])
{
	struct receipt said;

	assert_int_equal(
		receipt_open(bytes_of(receipt, RECEIPT_BYTES), &w->sites.trust, &said, NULL), 0);
	return said.received_ms;
}

/* Whatever time the taker says it was, the receipt has the receiver's, and keeps it when the same
 * comes again; unless the receipt was damaged. */
static void test_own_time(void **state)
{
	static void (*const changes[])(struct backup_manifest * m) = {
		change_to_past, change_to_future};
	struct backup_pair *w = *state;
	uint64_t now = clock_wall_ms(&clock_system);
	struct receive_report report;
	uint8_t hash[HASH_BYTES], changed[HASH_BYTES];

	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		_cleanup_(x_freep) char *path = NULL;
		struct snapshot_row *row;
		char hex[HEX_LEN(HASH_BYTES) + 1];

		pair_take(w, 5, 1000, hash);
		pair_carry(w, hash, UINT32_MAX);
		w->receiver.n_records--;
		carry_changed(w, hash, changes[i], &row, changed);
		report = pair_receive_at(w, now + i);
		assert_int_equal(report.n_accepted, 1);
		assert_true(received_ms(w, report.accepted[0].receipt) == now + i);
		receive_report_release(&report);
		carry_changed(w, hash, changes[i], NULL, changed);
		report = pair_receive_at(w, now + 1000);
		assert_int_equal(report.n_accepted, 1);
		assert_true(received_ms(w, report.accepted[0].receipt) == now + i);
		receive_report_release(&report);
		hex_encode(bytes_of(changed, HASH_BYTES), hex);
		path = x_asprintf(
			"%s/receipts/%s-%016x", repository_path(w->sites.repository[1]), hex, 2);
		assert_int_equal(file_write(path, bytes_str("KBR1"), 0400, NULL), 0);
		carry_changed(w, hash, changes[i], NULL, changed);
		report = pair_receive_at(w, now + 2000);
		assert_int_equal(report.n_accepted, 1);
		assert_true(received_ms(w, report.accepted[0].receipt) == now + 2000);
		receive_report_release(&report);
	}
}

/* What the log says of a snapshot is what its manifest must say. */
static void test_manifest_against_its_record(void **state)
{
	static void (*const changes[])(struct backup_manifest * m) = {
		change_cycle, change_index, change_id, change_from, change_root, change_kind};
	struct backup_pair *w = *state;
	struct snapshot_row *row;
	uint8_t hash[HASH_BYTES], wrong[HASH_BYTES];

	for (unsigned i = 0; i < 2; i++) {
		pair_take(w, 5, 1000, hash);
		(void)pair_ship(w, hash);
		pair_assert_received(w, hash);
	}
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		carry_changed(w, hash, changes[i], &row, wrong);
		assert_counts(pair_receive(w), 0, 0, 1);
		w->receiver.n_records--;
	}
	/* Given up, or not finished: it is not taken in, unless it turns out well after all. */
	pair_take(w, 5, 1000, hash);
	(void)pair_ship(w, hash);
	row = &w->records[w->receiver.n_records - 1];
	row->state = SNAPSHOT_FAILED;
	assert_counts(pair_receive(w), 0, 1, 0);
	row->state = SNAPSHOT_RUNNING;
	assert_counts(pair_receive(w), 0, 1, 0);
	row->state = SNAPSHOT_CONFIRMED;
	pair_assert_received(w, hash);
}

/* With a time before now, as if it lay there for so long. */
static void drop_old(struct backup_pair *w, const char *name, const char *text, unsigned age_s)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", w->sshd->drop, name);
	time_t at = (time_t)(clock_wall_ms(&clock_system) / 1000 - age_s);
	struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};

	pair_drop_file(w, name, bytes_str(text));
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool drop_has(struct backup_pair *w, const char *name)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", w->sshd->drop, name);
	struct stat st;

	return lstat(path, &st) == 0;
}

/* What no manifest asks for goes after a day, what has a name that is none of ours, too. */
static void test_leftovers(void **state)
{
	struct backup_pair *w = *state;
	_cleanup_(x_freep) char *name = x_asprintf("o-%064d.3", 9);
	_cleanup_(x_freep) char *unknown = x_asprintf("m-%064d.0", 9);
	uint64_t now = clock_wall_ms(&clock_system);
	struct receive_report report;

	pair_drop_file(w, name, bytes_str("12345"));
	pair_drop_file(w, unknown, bytes_str("123"));
	pair_drop_file(w, "passwd", bytes_str("root"));
	report = pair_receive_at(w, now + BACKUP_LEFTOVER_MS - 5000);
	assert_int_equal(report.leftovers + report.refused, 0);
	assert_int_equal(report.files, 3);
	assert_int_equal(report.bytes, 12);
	w->receiver.began_ms = now + BACKUP_LEFTOVER_MS; /* Down till then. */
	report = pair_receive_at(w, now + BACKUP_LEFTOVER_MS + 60000);
	assert_int_equal(report.leftovers + report.refused, 0);
	w->receiver.began_ms = 0;
	report = pair_receive_at(w, now + BACKUP_LEFTOVER_MS + 60000);
	assert_int_equal(report.leftovers, 2);
	assert_int_equal(report.refused, 1);
	assert_int_equal(report.files, 0);
	assert_int_equal(pair_drop_count(w), 0);
}

/* Beyond the quota the oldest of what nothing asks for goes, whatever its age, and only so much. */
static void test_quota(void **state)
{
	struct backup_pair *w = *state;
	_cleanup_(x_freep) char *old = x_asprintf("o-%064d.0", 1);
	_cleanup_(x_freep) char *mid = x_asprintf("m-%064d.0", 2);
	_cleanup_(x_freep) char *young = x_asprintf("o-%064d.0", 3);
	struct receive_report report;

	drop_old(w, young, "1234", 10);
	drop_old(w, old, "1234", 1000);
	drop_old(w, mid, "1234", 100);
	w->receiver.quota.bytes = 12;
	report = pair_receive(w);
	assert_false(report.over_quota);
	assert_int_equal(report.evicted, 0);
	w->receiver.quota.bytes = 11;
	report = pair_receive(w);
	assert_true(report.over_quota);
	assert_int_equal(report.evicted, 1);
	assert_int_equal(report.bytes, 8);
	assert_false(drop_has(w, old));
	w->receiver.quota = (struct drop_quota){.files = 1};
	report = pair_receive(w);
	assert_true(report.over_quota);
	assert_int_equal(report.evicted, 1);
	assert_true(drop_has(w, young));
	pair_drop_file(w, "foreign", bytes_str("x"));
	report = pair_receive(w);
	assert_int_equal(report.leftovers, 1); /* Of foreign names goes all at once. */
	assert_int_equal(report.evicted, 0);
	assert_true(drop_has(w, young));
}

static char *manifest_name_of(const uint8_t hash[HASH_BYTES], unsigned attempt)
{
	char hex[HEX_LEN(HASH_BYTES) + 1];

	hex_encode(bytes_of(hash, HASH_BYTES), hex);
	return x_asprintf("m-%s.%u", hex, attempt);
}

/* A snapshot that waits for its last object keeps its place; copies of its manifest do not. */
static void test_quota_spares_what_the_log_asks_for(void **state)
{
	enum { COPIES = 12 };
	struct backup_pair *w = *state;
	_cleanup_(x_freep) char *name = NULL;
	_cleanup_(x_freep) char *path = NULL;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct receive_report report;
	uint8_t hash[HASH_BYTES];
	uint64_t objects;

	pair_take(w, 5, 1000, hash);
	pair_carry(w, hash, 1);
	name = manifest_name_of(hash, 0);
	path = x_asprintf("%s/%s", w->sshd->drop, name);
	assert_int_equal(file_read(path, 1 << 20, &bytes, NULL), 0);
	for (unsigned i = 1; i <= COPIES; i++) {
		_cleanup_(x_freep) char *copy = manifest_name_of(hash, i);

		pair_drop_file(w, copy, i == COPIES ? bytes_str("KBM1") : buf_bytes(&bytes));
	}
	w->receiver.quota = (struct drop_quota){.files = 1};
	objects = w->records[0].objects;
	report = pair_receive(w);
	assert_true(report.over_quota);
	assert_int_equal(report.files, 1 + objects + 1); /* The quota, and all that is to come. */
	assert_int_equal(report.evicted, 2 + COPIES - report.files);
	(void)pair_ship(w, hash);
	pair_assert_received(w, hash);
}

/* What the log says is on its way may lie there beside the quota, its manifest not yet among it. */
static void test_quota_beside_what_comes(void **state)
{
	struct backup_pair *w = *state;
	_cleanup_(x_freep) char *name = NULL;
	_cleanup_(x_freep) char *path = NULL;
	struct receive_report report;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	pair_carry(w, hash, UINT32_MAX);
	name = manifest_name_of(hash, 0);
	path = x_asprintf("%s/%s", w->sshd->drop, name);
	assert_int_equal(unlink(path), 0);
	w->receiver.quota = (struct drop_quota){.bytes = 1, .files = 1};
	report = pair_receive(w);
	assert_false(report.over_quota);
	assert_int_equal(report.evicted, 0);
	w->records[0].confirmation[0].node = 2; /* It has come already. */
	w->records[0].n_confirmations = 1;
	report = pair_receive(w);
	assert_true(report.over_quota);
	assert_true(report.evicted > 0 && report.files <= 1);
	w->records[0].n_confirmations = 0;
	(void)pair_ship(w, hash);
	pair_assert_received(w, hash);
}

/* Larger than anything of its kind: not kept for a moment, and not read. */
static void test_too_large(void **state)
{
	struct backup_pair *w = *state;
	_cleanup_(x_freep) char *object = x_asprintf("o-%064d.0", 1);
	_cleanup_(x_freep) char *manifest = x_asprintf("m-%064d.0", 1);
	_cleanup_(x_freep) char *object_path = x_asprintf("%s/%s", w->sshd->drop, object);
	_cleanup_(x_freep) char *manifest_path = x_asprintf("%s/%s", w->sshd->drop, manifest);
	struct receive_report report;

	pair_drop_file(w, object, bytes_str("x"));
	pair_drop_file(w, manifest, bytes_str("x"));
	assert_int_equal(truncate(object_path, BACKUP_OBJECT_BYTES_MAX), 0);
	assert_int_equal(truncate(manifest_path, BACKUP_MANIFEST_BYTES_MAX), 0);
	report = pair_receive(w);
	assert_int_equal(report.leftovers + report.refused, 0);
	assert_int_equal(truncate(object_path, BACKUP_OBJECT_BYTES_MAX + 1), 0);
	assert_int_equal(truncate(manifest_path, BACKUP_MANIFEST_BYTES_MAX + 1), 0);
	report = pair_receive(w);
	assert_int_equal(report.leftovers, 1);
	assert_int_equal(report.refused, 1);
	assert_int_equal(pair_drop_count(w), 0);
}

/* Two snapshots of the log under each other's name. */
static void test_swapped_manifests(void **state)
{
	struct backup_pair *w = *state;
	struct receive_report report;
	uint8_t hash[2][HASH_BYTES];
	char path[2][512];

	for (unsigned i = 0; i < 2; i++) {
		char hex[HEX_LEN(HASH_BYTES) + 1];

		pair_take(w, 5, 1000, hash[i]);
		pair_carry(w, hash[i], UINT32_MAX);
		hex_encode(bytes_of(hash[i], HASH_BYTES), hex);
		(void)snprintf(
			path[i], sizeof path[i], "%s/m-%s.0", w->sshd->drop, hex); /* Fits. */
	}
	assert_int_equal(renameat2(AT_FDCWD, path[0], AT_FDCWD, path[1], RENAME_EXCHANGE), 0);
	report = pair_receive(w);
	assert_int_equal(report.n_accepted, 0);
	assert_int_equal(report.refused, 2);
	receive_report_release(&report);
	(void)pair_ship(w, hash[0]);
	assert_counts(pair_receive(w), 1, 0, 0);
	(void)pair_ship(w, hash[1]);
	pair_assert_received(w, hash[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_growing_objects, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_hostile_names, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_bytes, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_unreadable_upload, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_wrong_bytes_many_times, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_forged_manifests, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_former_key, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_former_receipt, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_only_what_the_log_knows, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_back_after_a_day, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_manifest_against_its_record, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_leftovers, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_quota, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_quota_spares_what_the_log_asks_for, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_quota_beside_what_comes, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_own_time, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_too_large, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_swapped_manifests, pair_set_up, pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* From one site's repository through a real sshd into another one's: cut uploads, resumption,
 * receipts. */
#include "tests/lib/test.h"

#include <pthread.h>
#include <string.h>

#include "backup/verify.h"
#include "base/fault.h"
#include "tests/unit/backup/lib/paced.h"
#include "tests/unit/backup/lib/pair.h"

static void test_ship_and_receive(void **state)
{
	struct backup_pair *w = *state;
	uint8_t hash[HASH_BYTES];

	for (int cycle = 0; cycle < 3; cycle++) {
		struct ship_report report;

		pair_take(w, 100, 100000, hash);
		report = pair_ship(w, hash);
		assert_int_equal(report.connections, 1);
		assert_int_equal(report.objects_skipped, 0);
		assert_true(report.objects >= 2 && report.bytes > 100000);
		pair_assert_received(w, hash);
	}
	/* Shipped again after it was taken away: found held, the same receipt, nothing left. */
	{
		struct receive_report report;
		_cleanup_(buf_release) struct buf first = BUF_INIT;

		assert_int_equal(
			repository_get_receipt(w->sites.repository[1], hash, 2, &first, NULL), 0);
		(void)pair_ship(w, hash);
		report = pair_receive(w);
		assert_int_equal(report.n_accepted, 1);
		assert_memory_equal(report.accepted[0].receipt, first.data, RECEIPT_BYTES);
		assert_int_equal(report.bytes, 0);
		receive_report_release(&report);
	}
}

/* The objects of a snapshot in node 1's repository, as its taker would hand them on. */
static void hand_on(struct backup_pair *w, const uint8_t hash[HASH_BYTES], struct ship_queue *queue)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};

	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	for (uint32_t i = 0; i < m.n_index + m.n_packs; i++) {
		ship_queue_add(queue, &m.objects[i]);
	}
}

struct ahead {
	struct backup_pair *w;
	struct ship_queue *queue;
	struct ship_report report;
	int rc;
};

static void *ahead_thread(void *arg)
{
	struct ahead *a = arg;

	a->rc = ship_ahead(
		a->w->sites.repository[0], a->queue, "ber", &a->w->target, &a->report, NULL);
	return NULL;
}

/* What came ahead is not sent again, and says nothing before the manifest does. */
static void test_objects_go_ahead_of_their_manifest(void **state)
{
	struct backup_pair *w = *state;
	struct ahead a = {.w = w, .queue = ship_queue_new(), .rc = -1};
	uint8_t hash[HASH_BYTES];
	struct receive_report received;
	struct ship_report report;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, ahead_thread, &a), 0);
	pair_take(w, 20, 4000, hash);
	assert_false(ship_queue_waits(a.queue));
	hand_on(w, hash, a.queue); /* The other thread waits for them, or comes later. */
	assert_true(ship_queue_waits(a.queue));
	ship_queue_end(a.queue, NULL);
	assert_int_equal(pthread_join(thread, NULL), 0);
	ship_queue_unref(a.queue);
	assert_int_equal(a.rc, 0);
	assert_int_equal(a.report.objects, 2); /* One pack, one index. */
	assert_false(a.report.whole);
	received = pair_receive(w);
	assert_int_equal(received.n_accepted + received.refused, 0);
	receive_report_release(&received);
	report = pair_ship(w, hash);
	assert_int_equal(report.objects, 0);
	assert_int_equal(report.objects_skipped, 2);
	pair_assert_received(w, hash);
}

/* Who shipped the objects ships the manifest, too, when the log has it. */
static void test_manifest_goes_in_the_same_session(void **state)
{
	struct backup_pair *w = *state;
	struct ahead a = {.w = w, .queue = ship_queue_new(), .rc = -1};
	uint8_t hash[HASH_BYTES], other[HASH_BYTES] = {1};
	struct ship_report report;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, ahead_thread, &a), 0);
	pair_take(w, 20, 4000, hash);
	hand_on(w, hash, a.queue);
	ship_queue_end(a.queue, hash);
	ship_queue_end(a.queue, other); /* Ended is ended. */
	assert_int_equal(pthread_join(thread, NULL), 0);
	ship_queue_unref(a.queue);
	assert_int_equal(a.rc, 0);
	assert_true(a.report.whole);
	assert_int_equal(a.report.connections, 1);
	report = pair_ship(w, hash);
	assert_int_equal(report.objects, 0);
	assert_true(report.whole);
	pair_assert_received(w, hash);
}

static void test_who_ships_ahead_can_be_stopped(void **state)
{
	struct backup_pair *w = *state;
	struct ahead a = {.w = w, .queue = ship_queue_new()};
	atomic_bool cancel = false;
	pthread_t thread;

	w->target.cancel = &cancel;
	assert_int_equal(pthread_create(&thread, NULL, ahead_thread, &a), 0);
	atomic_store(&cancel, true); /* While it waits for an object that does not come. */
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(a.report.objects, 0);
	ship_queue_unref(a.queue);
}

/* The connection dies at the nth write, for every n: what was complete is not sent again, what was
 * cut is left behind, and the end is the same. */
static void test_cut_uploads(void **state)
{
	struct backup_pair *w = *state;
	uint64_t nth = 1;
	uint8_t hash[HASH_BYTES];
	bool cut = true;

	for (; cut && nth < 12; nth += 2) {
		struct ship_report report;

		pair_take(w, 3, 3 << 20, hash);
		fault_arm("backup.sftp.write", nth, false);
		report = pair_ship(w, hash);
		cut = fault_hits() >= nth;
		fault_disarm();
		assert_int_equal(report.connections, cut ? 2 : 1);
		pair_assert_received(w, hash);
	}
	assert_true(nth > 3);
}

/* A site at which every upload is cut: the tries have an end, and longer and longer pauses before.
 */
static void test_tries_have_an_end(void **state)
{
	struct backup_pair *w = *state;
	struct ship_report report;
	struct err e = {0};
	uint64_t from_ms, pauses_ms = 0;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 3, 1000, hash);
	w->target.backoff_ms = 4;
	for (unsigned i = 0; i < SHIP_ATTEMPTS_MAX - 1; i++) {
		pauses_ms += 4ULL << i;
	}
	fault_arm("backup.sftp.write", 1, true);
	from_ms = clock_monotonic_ms(&clock_system);
	assert_int_equal(
		ship_snapshot(w->sites.repository[0], hash, "ber", &w->target, &report, &e),
		KLUIS_EPROTO);
	assert_true(clock_monotonic_ms(&clock_system) - from_ms >= pauses_ms);
	assert_int_equal(report.connections, SHIP_ATTEMPTS_MAX);
	assert_int_equal(report.objects, 0);
	fault_disarm();
	assert_int_equal(pair_ship(w, hash).connections, 1);
	pair_assert_received(w, hash);
}

/* An object of ours that is damaged or gone is nothing that another try or another site mends. */
static void test_own_damage(void **state)
{
	struct backup_pair *w = *state;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct ship_report report;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 3, 1000, hash);
	assert_int_equal(
		point_manifest(w->sites.repository[0], hash, &w->sites.trust, &m, NULL), 0);
	assert_int_equal(repository_set_aside(w->sites.repository[0], m.objects[1].hash, NULL), 0);
	assert_int_equal(
		ship_snapshot(w->sites.repository[0], hash, "ber", &w->target, &report, NULL),
		KLUIS_ENOTFOUND);
	assert_int_equal(report.connections, 1);
	assert_int_equal(pair_receive(w).n_accepted, 0);
}

/* A manifest before its objects: the receiver waits, and takes nothing half. */
static void test_receive_before_the_end(void **state)
{
	struct backup_pair *w = *state;
	struct receive_report received;
	struct manifest_name name;
	uint8_t hash[HASH_BYTES];

	pair_take(w, 5, 1000, hash);
	for (uint32_t n = 0; n < 2; n++) {
		pair_carry(w, hash, n);
		received = pair_receive(w);
		assert_int_equal(received.n_accepted, 0);
		assert_int_equal(received.waiting, 1);
		receive_report_release(&received);
		assert_int_equal(repository_find(w->sites.repository[1], hash, &name, NULL),
			KLUIS_ENOTFOUND);
	}
	assert_int_equal(pair_ship(w, hash).objects_skipped, 1);
	pair_assert_received(w, hash);
}

/* What a manifest says that is not the one its name says is believed in nothing. */
static void assert_nothing_pruned_beside_damage(
	struct backup_pair *w, const uint8_t hash[HASH_BYTES], uint64_t wall_ms)
{
	enum { BASE_AT = 72 };
	struct repository *repository = w->sites.repository[1];
	_cleanup_(x_freep) struct manifest_name *names = NULL, *rest = NULL;
	unsigned pruned = 77;
	size_t n, left;

	assert_int_equal(repository_list(repository, &names, &n, NULL, NULL), 0);
	backup_flip_manifest(repository, hash, BASE_AT);
	assert_int_equal(receive_prune(&w->receiver, wall_ms, &retention_default, &pruned, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(pruned, 77);
	assert_int_equal(repository_list(repository, &rest, &left, NULL, NULL), 0);
	assert_int_equal(left, n);
	backup_flip_manifest(repository, hash, BASE_AT);
}

/* Ninety cycles, a fortnight and more by the receiver's clock: what is old goes, its manifest
 * signed by the sender comes again and is refused, and the oldest promised point still verifies. */
static void test_prune_and_replay(void **state)
{
	struct backup_pair *w = *state;
	const uint64_t cycle_ms = 4ULL * 3600 * 1000;
	uint64_t now = clock_wall_ms(&clock_system);
	uint8_t hash[96][HASH_BYTES];
	struct verify_report verified;
	struct receive_report report;
	unsigned pruned = 0;

	for (unsigned i = 1; i <= 90; i++) {
		pair_take(w, 3, 100, hash[i]);
		pair_carry(w, hash[i], UINT32_MAX);
		report = pair_receive_at(w, now + i * cycle_ms);
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
	assert_nothing_pruned_beside_damage(w, hash[50], now + 90 * cycle_ms + 1);
	assert_int_equal(receive_prune(&w->receiver, now + 90 * cycle_ms + 1, &retention_default,
				 &pruned, NULL),
		0);
	assert_int_equal(pruned, 6);
	assert_int_equal(verify_snapshot(w->sites.repository[1], hash[90 - 41], &w->sites.trust, 3,
				 &w->sites.keys, w->sites.dir, &verified, NULL),
		0);
	assert_int_equal(verified.snapshots, BACKUP_SLICES);
	pair_carry(w, hash[5], UINT32_MAX);
	report = pair_receive_at(w, now + 91 * cycle_ms);
	assert_int_equal(report.n_accepted, 0);
	assert_int_equal(report.refused, 1);
	receive_report_release(&report);
}

/* Beside clients a snapshot goes as fast as it may, there and in here; of the same measure. */
static void test_beside_clients(void **state)
{
	enum { RATE = 400000 };
	struct backup_pair *w = *state;
	struct paced p;
	struct pace *pace;
	struct receive_report received;
	struct ship_report report;
	uint8_t hash[HASH_BYTES];
	uint64_t began_ms;

	paced_init(&p);
	pace = paced_new(&p, RATE);
	pair_take(w, 40, 200000, hash);
	w->target.pace = w->receiver.pace = pace;
	began_ms = p.now_ms;
	report = pair_ship(w, hash);
	assert_true(report.bytes > RATE * 2);
	/* What comes last is not waited for. */
	assert_true(p.now_ms - began_ms > report.bytes * 1000 / RATE / 2);
	began_ms = p.now_ms;
	received = pair_receive(w);
	assert_int_equal(received.n_accepted, 1);
	receive_report_release(&received);
	assert_true(p.now_ms - began_ms > report.bytes * 1000 / RATE / 2);
	w->target.pace = w->receiver.pace = NULL;
	pace_free(pace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ship_and_receive, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_objects_go_ahead_of_their_manifest, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_manifest_goes_in_the_same_session, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_who_ships_ahead_can_be_stopped, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_beside_clients, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_cut_uploads, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_tries_have_an_end, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_own_damage, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(
			test_receive_before_the_end, pair_set_up, pair_tear_down),
		cmocka_unit_test_setup_teardown(test_prune_and_replay, pair_set_up, pair_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

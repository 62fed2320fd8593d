#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "storage/key_codec.h"
#include "storage/page_store.h"
#include "storage/snapshot_store.h"
#include "storage/session_store.h"
#include "storage/upkeep_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/forget.h"
#include "tests/lib/fixture/machine.h"

struct world {
	struct fixture_machine m;
	struct fixture_client c;
};

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	fixture_machine_init(&w->m, NULL);
	fixture_machine_begin(&w->m, &w->c);
	*state = w;
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	assert_int_equal(fixture_check_store(w->m.kv, NULL), 0);
	fixture_machine_release(&w->m);
	free(w);
	return 0;
}

static struct node_row node_of(struct world *w, uint64_t node)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct node_row row;

	assert_int_equal(node_store_get(view, node, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

static void test_init_once(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	struct command other;

	fixture_cluster_init(&command, 6);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	assert_int_equal(command_decode(buf_bytes(&command), &other, NULL), 0);
	other.cluster_init.lineage[0] ^= 1;
	assert_int_equal(fixture_machine_do(&w->m, &other), KLUIS_EEXIST);
}

static void test_nothing_before_init(void **state)
{
	struct fixture_machine m;
	struct command expire = {.type = COMMAND_EXPIRE, .expire.max_rows = 1};

	(void)state;
	fixture_machine_init(&m, NULL);
	assert_int_equal(fixture_machine_do(&m, &expire), KLUIS_ECONFLICT);
	fixture_machine_release(&m);
}

static int announce(struct world *w, uint64_t node, uint32_t level)
{
	struct command c = {.type = COMMAND_NODE_ANNOUNCE,
		.node_announce = {.node = node,
			.feature_level = level,
			.site = bytes_str("ams"),
			.version = bytes_str("0.1.0"),
			.api = bytes_str("https://127.0.0.1:7443"),
			.link = bytes_str("127.0.0.1:7000"),
			.ssh = bytes_str("127.0.0.1:7022"),
			.ssh_host_key = bytes_str("key")}};

	return fixture_machine_do(&w->m, &c);
}

static void test_feature_level_is_the_lowest(void **state)
{
	struct world *w = *state;
	struct cluster_row row;
	struct kv_view *view;

	for (uint64_t node = 1; node <= 6; node++) {
		assert_int_equal(announce(w, node, node == 4 ? 3 : 5), 0);
		view = kv_view_new(w->m.kv);
		assert_int_equal(cluster_store_get(view, &row, NULL), 0);
		assert_int_equal(row.feature_level, node < 6 ? 1 : 3);
		kv_view_free(view);
	}
	assert_string_equal(node_of(w, 4).site, "ams");
	assert_int_equal(announce(w, 4, 1), 0); /* Never goes back. */
	view = kv_view_new(w->m.kv);
	assert_int_equal(cluster_store_get(view, &row, NULL), 0);
	assert_int_equal(row.feature_level, 3);
	kv_view_free(view);
	for (uint64_t node = 7; node <= SITES_MAX; node++) {
		assert_int_equal(announce(w, node, 3), 0);
	}
	assert_int_equal(announce(w, SITES_MAX + 1, 3), KLUIS_EQUOTA);
}

static int jump(struct world *w, unsigned n, const uint64_t *wall)
{
	struct command c = {.type = COMMAND_TIME_JUMP, .time_jump.n_readings = (uint8_t)n};

	for (unsigned i = 0; i < n; i++) {
		c.time_jump.reading[i] = (struct time_reading){i + 1, wall[i]};
	}
	return fixture_machine_do(&w->m, &c);
}

static void test_time_jumps_with_a_majority(void **state)
{
	struct world *w = *state;
	uint64_t t = w->m.now_ms + 3600 * 1000;
	uint64_t three[] = {t, t + 1000, t + 2000};
	uint64_t liars[] = {t, t + 1000, t + 2000, t + 60000, t + 90001};
	uint64_t four[] = {t, t + 29000, t + 1000, t + 2000, 9 * t};
	struct command c = {.type = COMMAND_TIME_JUMP, .time_jump.n_readings = 4};

	assert_int_equal(jump(w, 3, three), KLUIS_ECONFLICT); /* Three of six. */
	assert_int_equal(jump(w, 5, liars), KLUIS_ECONFLICT); /* Not within 30 s. */
	for (unsigned i = 0; i < 4; i++) {		      /* Nodes nobody knows. */
		c.time_jump.reading[i] = (struct time_reading){100 + i, t};
	}
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_ECONFLICT);
	assert_int_equal(jump(w, 5, four), 0);
	assert_true(fsm_position(w->m.fsm)->cluster_time_ms == t + 2000); /* Of the agreeing. */
	assert_int_equal(jump(w, 5, four), KLUIS_ECONFLICT); /* Never back, not even to now. */
}

static void test_time_is_monotone(void **state)
{
	struct world *w = *state;
	uint64_t before = fsm_position(w->m.fsm)->cluster_time_ms;

	w->m.now_ms = 5;
	assert_int_equal(announce(w, 1, 1), 0);
	assert_true(fsm_position(w->m.fsm)->cluster_time_ms == before);
	w->m.now_ms = UINT64_MAX; /* No time at all. */
	assert_int_equal(announce(w, 1, 1), 0);
	assert_true(fsm_position(w->m.fsm)->cluster_time_ms == before);
	w->m.now_ms = before + 7;
	assert_int_equal(announce(w, 1, 1), 0);
	assert_true(fsm_position(w->m.fsm)->cluster_time_ms == before + 7);
	assert_true(node_of(w, 1).announced_ms == before + 7);
}

static int report(struct world *w, uint64_t node, uint64_t index, uint8_t fill)
{
	struct command c = {
		.type = COMMAND_HASH_REPORT, .hash_report = {.node = node, .index = index}};

	memset(c.hash_report.hash, fill, 32);
	return fixture_machine_do(&w->m, &c);
}

static void test_divergence_by_majority(void **state)
{
	struct world *w = *state;

	/* Node 1 (this one) disagrees; the first three reports are no majority of six. */
	assert_int_equal(report(w, 1, 2, 9), 0);
	assert_int_equal(report(w, 2, 2, 7), 0);
	assert_int_equal(report(w, 3, 2, 7), 0);
	assert_int_equal(report(w, 4, 2, 7), 0);
	assert_false(node_of(w, 1).quarantined);
	assert_false(w->m.results.quarantined);
	assert_int_equal(report(w, 5, 2, 7), 0);
	assert_true(node_of(w, 1).quarantined);
	assert_true(w->m.results.quarantined); /* And this node knows. */
	assert_int_equal(report(w, 6, 2, 8), 0);
	assert_true(node_of(w, 6).quarantined);
	for (uint64_t node = 1; node <= 6; node++) { /* Rebuilt, it agrees again. */
		assert_int_equal(report(w, node, 3, 1), 0);
	}
	assert_false(node_of(w, 1).quarantined);
	assert_false(w->m.results.quarantined);
}

static void test_no_majority_blames_nobody(void **state)
{
	struct world *w = *state;

	for (uint64_t node = 1; node <= 6; node++) {
		assert_int_equal(report(w, node, 2, node % 2), 0);
	}
	for (uint64_t node = 1; node <= 6; node++) {
		assert_false(node_of(w, node).quarantined);
	}
	assert_int_equal(report(w, 77, 2, 1), KLUIS_ENOTFOUND);
	assert_int_equal(report(w, 1, 1000000, 1), KLUIS_EINVAL);
}

/* Who is quarantined can ask to be judged: everybody reports as of that entry. */
static void test_ask_for_judgement(void **state)
{
	struct command c = {.type = COMMAND_HASH_ASK, .hash_ask = {.node = 6}};
	struct world *w = *state;
	uint64_t before;

	for (uint64_t node = 1; node <= 6; node++) {
		assert_int_equal(announce(w, node, 2), 0);
	}
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_ECONFLICT);
	assert_false(w->m.results.report_due);
	for (uint64_t node = 1; node <= 6; node++) {
		assert_int_equal(report(w, node, 2, node == 6), 0);
	}
	assert_true(node_of(w, 6).quarantined);
	before = fsm_position(w->m.fsm)->report_index;
	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	assert_true(w->m.results.report_due);
	assert_true(w->m.results.report.index == fsm_position(w->m.fsm)->index);
	assert_memory_equal(w->m.results.report.hash, fsm_position(w->m.fsm)->state_hash, 32);
	assert_true(fsm_position(w->m.fsm)->report_index == before); /* No news to report on. */
	c.hash_ask.node = 77;
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_ENOTFOUND);
	assert_false(w->m.results.report_due);
}

static void test_reports_are_bounded(void **state)
{
	struct world *w = *state;

	for (uint64_t i = 0; i < 40; i++) {
		assert_int_equal(announce(w, 1, 1), 0);
	}
	for (uint64_t index = 2; index < 2 + 2 * HASH_REPORTS_KEPT; index++) {
		assert_int_equal(report(w, 1, index, 1), 0);
	}
	assert_int_equal(report(w, 2, 3, 1), KLUIS_EGONE);
	assert_int_equal(report(w, 2, 1 + 2 * HASH_REPORTS_KEPT, 1), 0);
}

static void test_report_is_due_by_commands(void **state)
{
	struct world *w = *state;
	unsigned due = 0;
	uint64_t last = fsm_position(w->m.fsm)->report_index;

	for (unsigned i = 0; i < 2 * HASH_REPORT_ENTRIES; i++) {
		w->m.now_ms++;
		assert_int_equal(announce(w, 1, 1), 0);
		if (w->m.results.report_due) {
			due++;
			assert_true(w->m.results.report.index == fsm_position(w->m.fsm)->index);
			assert_memory_equal(
				w->m.results.report.hash, fsm_position(w->m.fsm)->state_hash, 32);
		}
	}
	assert_int_equal(due, 2);
	assert_true(fsm_position(w->m.fsm)->report_index > last);
	last = fsm_position(w->m.fsm)->report_index;
	assert_int_equal(report(w, 1, last, 1), 0); /* Reports alone do not move it. */
	assert_true(fsm_position(w->m.fsm)->report_index == last);
}

static int claim(struct world *w, uint64_t node, uint8_t kind, uint64_t slot)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CLAIM,
		.snapshot_claim = {.node = node, .kind = kind, .slot = slot, .ttl_ms = 1000}};

	return fixture_machine_do(&w->m, &c);
}

static int record(struct world *w, uint64_t id, uint64_t node, uint64_t index)
{
	struct command c = {.type = COMMAND_SNAPSHOT_RECORD,
		.snapshot_record = {.id = id, .node = node, .index = index, .term = 1}};

	memset(c.snapshot_record.manifest_hash, (int)id, 32);
	return fixture_machine_do(&w->m, &c);
}

static int confirm(struct world *w, uint64_t id, uint64_t node, uint8_t needed)
{
	struct command c = {.type = COMMAND_SNAPSHOT_CONFIRM,
		.snapshot_confirm = {.id = id, .node = node, .needed = needed}};

	memset(c.snapshot_confirm.manifest_hash, (int)id, 32);
	return fixture_machine_do(&w->m, &c);
}

static struct snapshot_row snapshot_of(struct world *w, uint64_t id)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct snapshot_row row;

	assert_int_equal(snapshot_store_get(view, id, &row, NULL), 0);
	kv_view_free(view);
	return row;
}

static uint64_t now_index(struct world *w)
{
	return fsm_position(w->m.fsm)->index;
}

/* One whole cycle; its id. */
static uint64_t cycle(struct world *w, uint64_t slot)
{
	uint64_t id;

	w->m.now_ms = slot;
	assert_int_equal(claim(w, 2, SNAPSHOT_INCREMENT, slot), 0);
	id = fixture_machine_reply(&w->m).number;
	assert_int_equal(record(w, id, 2, id), 0);
	for (uint64_t node = 3; node <= 5; node++) {
		assert_int_equal(confirm(w, id, node, 3), 0);
	}
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_CONFIRMED);
	return id;
}

/* A node may differ in what it refuses: it must report at the same places all the same, or nobody
 * would ever find out. */
static void test_reports_stand_at_the_same_index(void **state)
{
	struct world *w = *state, other;
	struct kv *kv = kv_memory_clone(w->m.kv);
	struct command enable = {
		.type = COMMAND_SERVICE_CREATE, .service_create = {.actor = bytes_str("op")}};
	unsigned due = 0;

	assert_true(fixture_forget_rows(kv, KEY_CLUSTER) > 0);
	fixture_machine_init(&other.m, kv);
	for (unsigned i = 0; i < HASH_REPORT_ENTRIES; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "n%u", i);
		enable.service_create.name = bytes_str(name);
		assert_int_equal(fixture_machine_do(&w->m, &enable), 0);
		assert_int_not_equal(fixture_machine_do(&other.m, &enable), 0);
		assert_int_equal(w->m.results.report_due, other.m.results.report_due);
		assert_true(fsm_position(w->m.fsm)->report_index ==
			    fsm_position(other.m.fsm)->report_index);
		due += w->m.results.report_due;
	}
	assert_int_equal(due, 1);
	assert_memory_not_equal(
		fsm_position(w->m.fsm)->report_hash, fsm_position(other.m.fsm)->report_hash, 32);
	fixture_machine_release(&other.m);
}

static void test_snapshot_cycles(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms + 100, first, second;
	struct snapshot_row row;

	first = cycle(w, slot);
	row = snapshot_of(w, first);
	assert_int_equal(row.kind, SNAPSHOT_FULL); /* A new lineage begins with a full one. */
	assert_true(row.cycle == 1 && row.base_index == 0);
	second = cycle(w, slot + 1000);
	row = snapshot_of(w, second);
	assert_int_equal(row.kind, SNAPSHOT_INCREMENT);
	assert_true(row.cycle == 2 && row.base_id == first && row.base_index == first);
	assert_int_equal(claim(w, 3, SNAPSHOT_INCREMENT, slot + 1000), KLUIS_ECONFLICT);
	assert_int_equal(claim(w, 3, SNAPSHOT_INCREMENT, slot), KLUIS_ECONFLICT);
	assert_int_equal(claim(w, 3, SNAPSHOT_INCREMENT, w->m.now_ms + 3600 * 1000), KLUIS_EINVAL);
	assert_int_equal(claim(w, 77, SNAPSHOT_INCREMENT, slot + 2000), KLUIS_ENOTFOUND);
}

static void test_snapshot_one_taker(void **state)
{
	struct world *w = *state;
	uint64_t slot = w->m.now_ms, id, taken;

	assert_int_equal(claim(w, 2, SNAPSHOT_INCREMENT, slot), 0);
	id = fixture_machine_reply(&w->m).number;
	assert_int_equal(claim(w, 3, SNAPSHOT_INCREMENT, slot), KLUIS_ECONFLICT);
	w->m.now_ms += 1000; /* The taker died. */
	assert_int_equal(claim(w, 3, SNAPSHOT_INCREMENT, slot), 0);
	taken = fixture_machine_reply(&w->m).number;
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_FAILED);
	assert_true(snapshot_of(w, taken).cycle == snapshot_of(w, id).cycle);
	assert_int_equal(record(w, id, 2, now_index(w)), KLUIS_ECONFLICT); /* Came back late. */
	assert_int_equal(record(w, taken, 2, now_index(w)), KLUIS_ECONFLICT);
	assert_int_equal(record(w, taken, 3, taken - 1), KLUIS_EINVAL);
	assert_int_equal(record(w, taken, 3, now_index(w) + 1), KLUIS_EINVAL);
	assert_int_equal(confirm(w, taken, 4, 3), KLUIS_ECONFLICT); /* Nothing shipped yet. */
	assert_int_equal(record(w, taken, 3, taken), 0);
	assert_int_equal(record(w, taken, 3, taken), 0); /* Again. */
	assert_int_equal(claim(w, 4, SNAPSHOT_INCREMENT, slot), KLUIS_ECONFLICT);
	assert_int_equal(confirm(w, taken, 3, 3), KLUIS_ECONFLICT); /* Not by the taker itself. */
	assert_int_equal(confirm(w, taken, 4, 3), 0);
	assert_int_equal(confirm(w, taken, 4, 3), 0); /* One site counts once. */
	assert_int_equal(confirm(w, taken, 5, 3), 0);
	assert_int_equal(snapshot_of(w, taken).state, SNAPSHOT_SHIPPED);
	assert_int_equal(confirm(w, taken, 6, 3), 0);
	assert_int_equal(snapshot_of(w, taken).state, SNAPSHOT_CONFIRMED);
	assert_int_equal(confirm(w, taken, 1, 3), 0); /* More copies are welcome. */
	assert_int_equal(snapshot_of(w, taken).n_confirmations, 4);
}

static void test_snapshot_fail_and_manual(void **state)
{
	struct world *w = *state;
	struct command fail = {
		.type = COMMAND_SNAPSHOT_FAIL, .snapshot_fail = {.error = bytes_str("disk full")}};
	struct command pin = {.type = COMMAND_SNAPSHOT_PIN, .snapshot_pin.on = true};
	uint64_t slot = w->m.now_ms, id, manual;

	assert_int_equal(claim(w, 2, SNAPSHOT_INCREMENT, slot), 0);
	id = fixture_machine_reply(&w->m).number;
	assert_int_equal(claim(w, 2, SNAPSHOT_MANUAL, 0), 0); /* Beside it. */
	manual = fixture_machine_reply(&w->m).number;
	assert_true(snapshot_of(w, manual).cycle == 0);
	fail.snapshot_fail.id = id;
	fail.snapshot_fail.node = 3;
	assert_int_equal(fixture_machine_do(&w->m, &fail), KLUIS_ECONFLICT);
	fail.snapshot_fail.node = 2;
	assert_int_equal(fixture_machine_do(&w->m, &fail), 0);
	assert_int_equal(snapshot_of(w, id).state, SNAPSHOT_FAILED);
	assert_string_equal(snapshot_of(w, id).error, "disk full");
	assert_int_equal(claim(w, 4, SNAPSHOT_INCREMENT, slot), 0); /* Another try. */
	pin.snapshot_pin.id = manual;
	assert_int_equal(fixture_machine_do(&w->m, &pin), 0);
	assert_true(snapshot_of(w, manual).pinned);
	pin.snapshot_pin.id = 999999;
	assert_int_equal(fixture_machine_do(&w->m, &pin), KLUIS_ENOTFOUND);
}

static size_t tombstones(struct world *w)
{
	struct kv_view *view = kv_view_new(w->m.kv);
	struct index_iter *iter = index_iter_new(view, 0, UINT64_MAX);
	struct index_row row;
	size_t n = 0;

	while (index_iter_next(iter, &row)) {
		n += row.deleted;
	}
	assert_int_equal(index_iter_status(iter, NULL), 0);
	index_iter_free(iter);
	kv_view_free(view);
	return n;
}

/* Tombstones stay as long as an increment that a restore may use could lack them. */
static void test_tombstones_are_forgotten_late(void **state)
{
	struct world *w = *state;
	struct command end = {.type = COMMAND_SESSION_END, .session_end.which = SESSION_END_ALL};
	struct command expire = {.type = COMMAND_EXPIRE, .expire.max_rows = EXPIRE_ROWS_MAX};
	uint64_t slot = w->m.now_ms;
	struct kv_view *view;
	size_t before;
	bool due = true;

	memcpy(end.session_end.session.token_hash, w->c.token_hash, 32);
	assert_int_equal(fixture_machine_do(&w->m, &end), 0);
	before = tombstones(w);
	assert_true(before >= 3); /* The session, its place, its expiry. */
	for (unsigned i = 0; i <= SNAPSHOT_CYCLES_KEPT; i++) {
		slot += 1000;
		(void)cycle(w, slot);
		assert_int_equal(fixture_machine_do(&w->m, &expire), 0);
		if (i < SNAPSHOT_CYCLES_KEPT) {
			assert_true(tombstones(w) >= before);
		}
	}
	assert_int_equal(tombstones(w), 0);
	view = kv_view_new(w->m.kv);
	assert_int_equal(upkeep_store_due(view, w->m.now_ms, &due, NULL), 0);
	assert_false(due); /* Until the next cycle is confirmed. */
	kv_view_free(view);
}

static void test_expire_is_rate_limited(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	struct command expire = {.type = COMMAND_EXPIRE, .expire.max_rows = 2};

	for (unsigned i = 0; i < 5; i++) {
		fixture_stage(&w->c, i, 1, 0, i, &command);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	}
	assert_int_equal(fixture_machine_do(&w->m, &expire), 0);
	assert_true(fixture_machine_reply(&w->m).number == 0); /* Nothing is due. */
	w->m.now_ms += STAGED_KEPT_MS;
	assert_int_equal(fixture_machine_do(&w->m, &expire), 0);
	assert_true(fixture_machine_reply(&w->m).number == 2);
	assert_int_equal(fixture_machine_do(&w->m, &expire), KLUIS_ERATE);
	w->m.now_ms += EXPIRE_INTERVAL_MS;
	assert_int_equal(fixture_machine_do(&w->m, &expire), 0);
	assert_true(fixture_machine_reply(&w->m).number == 2);
}

/* A jump of the clock far ahead holds the purge of history for a day. */
static void test_jump_holds_purges(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct command expire = {.type = COMMAND_EXPIRE, .expire.max_rows = EXPIRE_ROWS_MAX};
	uint64_t t = w->m.now_ms + VERSIONS_KEPT_MS + 1000, wall[] = {t, t, t, t};
	struct page_row rows[PAGE_VERSIONS_MAX + 1];
	struct kv_view *view;
	size_t n;

	for (unsigned i = 1; i <= 2; i++) {
		buf_clear(&entries);
		fixture_entry(&w->c, 0, i, 12, i, false, &entries);
		fixture_commit(&w->c, buf_bytes(&entries), 1, false, &command);
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
		fixture_committed(&w->c, buf_bytes(&entries));
	}
	assert_int_equal(jump(w, 4, wall), 0);
	w->m.now_ms = t;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fixture_machine_do(&w->m, &expire), 0);
		view = kv_view_new(w->m.kv);
		assert_int_equal(page_store_versions(view, w->c.vault_id, 0, rows, &n, NULL), 0);
		assert_int_equal(n, i == 0 ? 2 : 1);
		kv_view_free(view);
		w->m.now_ms += PURGE_HOLD_MS;
	}
}

static void test_unknown_commands_stop_the_node(void **state)
{
	struct world *w = *state;
	static const uint8_t later[] = {2, COMMAND_EXPIRE, 0, 0, 0, 1}, type[] = {1, 200, 0};
	static const uint8_t cut[] = {1, COMMAND_EXPIRE, 0, 0}, shorter[] = {1};
	struct position before = *fsm_position(w->m.fsm);

	assert_int_equal(fixture_machine_run(&w->m, bytes_of(cut, sizeof cut)), KLUIS_EINVAL);
	assert_int_equal(
		fixture_machine_run(&w->m, bytes_of(shorter, sizeof shorter)), KLUIS_EINVAL);
	assert_true(fsm_position(w->m.fsm)->index == before.index + 2);
	assert_int_equal(fixture_machine_run(&w->m, bytes_of(later, sizeof later)), KLUIS_EVERSION);
	assert_true(fsm_position(w->m.fsm)->index == before.index + 2); /* Not skipped. */
	fsm_free(w->m.fsm); /* The process would have ended. */
	assert_int_equal(fsm_new(w->m.kv, 1, &w->m.fsm, NULL), 0);
	assert_int_equal(fixture_machine_run(&w->m, bytes_of(type, sizeof type)), KLUIS_EVERSION);
	fsm_free(w->m.fsm);
	assert_int_equal(fsm_new(w->m.kv, 1, &w->m.fsm, NULL), 0);
}

static int apply_raw(struct world *w, uint64_t index, enum entry_type type, struct bytes data)
{
	struct entry *entry = entry_copy(index, 2, type, data);
	int rc = fsm_apply(w->m.fsm, &entry, 1, &w->m.results, NULL);

	entry_unref(entry);
	return rc;
}

static void test_entries_without_commands(void **state)
{
	struct world *w = *state;
	struct position before = *fsm_position(w->m.fsm);

	assert_int_equal(apply_raw(w, before.index + 1, ENTRY_BARRIER, bytes_str("")), 0);
	assert_int_equal(apply_raw(w, before.index + 2, ENTRY_CONFIGURATION, bytes_str("x")), 0);
	/* Malformed, of a known version: nothing happens, alike everywhere. */
	assert_int_equal(apply_raw(w, before.index + 3, ENTRY_COMMAND, bytes_str("\x01zz")), 0);
	assert_int_equal(apply_raw(w, before.index + 4, ENTRY_COMMAND, bytes_str("")), 0);
	assert_true(fsm_position(w->m.fsm)->index == before.index + 4);
	assert_true(fsm_position(w->m.fsm)->term == 2);
	assert_memory_equal(fsm_position(w->m.fsm)->state_hash, before.state_hash, 32);
	assert_int_equal(apply_raw(w, before.index + 4, ENTRY_BARRIER, bytes_str("")), 0);
	assert_int_equal(
		apply_raw(w, before.index + 6, ENTRY_BARRIER, bytes_str("")), KLUIS_EINTERNAL);
	assert_int_equal(
		apply_raw(w, before.index + 5, ENTRY_COMMAND, bytes_str("\x02")), KLUIS_EVERSION);
	fsm_free(w->m.fsm);
	assert_int_equal(fsm_new(w->m.kv, 1, &w->m.fsm, NULL), 0);
}

/* The nth write, then the nth read of the store fails: the entry is not applied, not even in part,
 * and a new start applies it whole. */
static void test_failing_store(void **state)
{
	static const char *const points[] = {"store.write", "store.read"};
	struct world *w = *state;
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;

	fixture_entry(&w->c, 0, 1, 12, 1, false, &entries);
	fixture_commit(&w->c, buf_bytes(&entries), 1, false, &command);
	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		struct fixture_machine m;
		uint64_t nth, failures = 0;
		int rc = -1;

		for (nth = 1; rc != 0; nth++) {
			struct position before = *fsm_position(w->m.fsm);

			assert_true(nth < 200);
			fixture_machine_init(&m, kv_memory_clone(w->m.kv));
			fault_arm(points[i], nth, true);
			rc = fixture_machine_run(&m, buf_bytes(&command));
			fault_disarm();
			if (rc != 0) {
				assert_int_equal(rc, KLUIS_EIO);
				failures++;
				assert_memory_equal(fsm_position(m.fsm), &before, sizeof before);
				fsm_free(m.fsm);
				assert_int_equal(fsm_new(m.kv, 1, &m.fsm, NULL), 0);
				assert_int_equal(fixture_machine_run(&m, buf_bytes(&command)), 0);
			}
			assert_int_equal(fixture_check_store(m.kv, NULL), 0);
			fixture_machine_release(&m);
		}
		assert_true(failures > 0);
	}
}

static int enrol_rc(struct world *w, struct fixture_client *c)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;

	fixture_service_enrol(c, &command);
	return fixture_machine_run(&w->m, buf_bytes(&command));
}

static void test_enrolment(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	struct fixture_client c, wrong, same_user;
	struct command disable = {
		.type = COMMAND_SERVICE_DISABLE, .service_disable.actor = bytes_str("operator")};

	fixture_client_init(&c, 3);
	assert_int_equal(enrol_rc(w, &c), KLUIS_EUNAUTHENTICATED); /* No such account. */
	fixture_service_create(&c, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	assert_true(fixture_machine_reply(&w->m).number == w->m.now_ms + ENROL_TOKEN_MS);
	wrong = c;
	wrong.enrol_hash[0] ^= 1;
	assert_int_equal(enrol_rc(w, &wrong), KLUIS_EUNAUTHENTICATED);
	w->m.now_ms += ENROL_TOKEN_MS;
	assert_int_equal(enrol_rc(w, &c), KLUIS_EUNAUTHENTICATED);	      /* Expired. */
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0); /* A new token. */
	same_user = c;
	memcpy(same_user.user_id, w->c.user_id, 16);
	assert_int_equal(enrol_rc(w, &same_user), KLUIS_EEXIST);
	assert_int_equal(enrol_rc(w, &c), 0);
	assert_int_equal(enrol_rc(w, &c), 0); /* The identical request. */
	wrong = c;
	wrong.device_id[0] ^= 1;
	assert_int_equal(enrol_rc(w, &wrong), KLUIS_EUNAUTHENTICATED); /* Worth one enrolment. */
	assert_int_equal(
		fixture_machine_run(&w->m, buf_bytes(&command)), KLUIS_EEXIST); /* Is active. */
	fixture_session_create(&c, 1000, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	disable.service_disable.name = bytes_str(c.name);
	assert_int_equal(fixture_machine_do(&w->m, &disable), 0);
	assert_int_equal(fixture_machine_do(&w->m, &disable), 0);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(enrol_rc(w, &c), KLUIS_EUNAUTHENTICATED);
}

static void test_enrolment_statements(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf command = BUF_INIT, spoiled = BUF_INIT;
	struct fixture_client c;
	size_t genesis, device;

	fixture_client_init(&c, 3);
	fixture_service_create(&c, &command);
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
	fixture_service_enrol(&c, &command);
	genesis = 2 + 4 + strlen(c.name) + 32 + 4;
	device = genesis + load_u32(command.data + genesis - 4) + 4;
	for (size_t i = 0; i < 6; i++) {
		/* Type, name, of the genesis; type, user, seq, prev of the device statement. */
		size_t at[] = {genesis + 5, genesis + 72, device + 5, device + 6, device + 29,
			device + 30};

		buf_clear(&spoiled);
		buf_append_bytes(&spoiled, buf_bytes(&command));
		spoiled.data[at[i]] ^= 1;
		assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&spoiled)), KLUIS_EINVAL);
	}
	assert_int_equal(fixture_machine_run(&w->m, buf_bytes(&command)), 0);
}

static void test_tokens_are_not_replayed(void **state)
{
	struct world *w = *state;
	struct command c = {.type = COMMAND_SERVICE_CREATE,
		.service_create = {.actor = bytes_str("operator"),
			.name = bytes_str("robot"),
			.once = {.key = bytes_str("k")}}};

	assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_ECONFLICT);
	c.service_create.once.body_hash[0] = 1;
	assert_int_equal(fixture_machine_do(&w->m, &c), KLUIS_EIDEMPOTENCY);
}

static size_t session_count(struct world *w)
{
	static struct session_row rows[SESSIONS_PER_USER_MAX + 1];
	struct kv_view *view = kv_view_new(w->m.kv);
	size_t n = 0;

	assert_int_equal(
		session_store_list(view, w->c.user_id, NULL, rows, ARRAY_SIZE(rows), &n, NULL), 0);
	kv_view_free(view);
	return n;
}

/* The one that expires first makes room. */
static void test_sessions_are_bounded(void **state)
{
	struct world *w = *state;
	struct command c = {.type = COMMAND_SESSION_CREATE,
		.session_create = {.level = SESSION_FULL, .ttl_ms = 1000}};

	memcpy(c.session_create.user_id, w->c.user_id, 16);
	memcpy(c.session_create.device_id, w->c.device_id, 16);
	for (unsigned n = 0; n < SESSIONS_PER_USER_MAX + 10; n++) {
		store_u32(c.session_create.token_hash, n);
		assert_int_equal(fixture_machine_do(&w->m, &c), 0);
	}
	assert_int_equal(session_count(w), SESSIONS_PER_USER_MAX);
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_init_once),
		cmocka_unit_test(test_nothing_before_init),
		T(test_feature_level_is_the_lowest),
		T(test_time_jumps_with_a_majority),
		T(test_time_is_monotone),
		T(test_divergence_by_majority),
		T(test_no_majority_blames_nobody),
		T(test_ask_for_judgement),
		T(test_reports_are_bounded),
		T(test_report_is_due_by_commands),
		T(test_reports_stand_at_the_same_index),
		T(test_snapshot_cycles),
		T(test_snapshot_one_taker),
		T(test_snapshot_fail_and_manual),
		T(test_tombstones_are_forgotten_late),
		T(test_expire_is_rate_limited),
		T(test_jump_holds_purges),
		T(test_unknown_commands_stop_the_node),
		T(test_entries_without_commands),
		T(test_failing_store),
		T(test_enrolment),
		T(test_enrolment_statements),
		T(test_tokens_are_not_replayed),
		T(test_sessions_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

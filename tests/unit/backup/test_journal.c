/* Journal increments: what they are built on, that each restores to its minute, what a receiver
 * takes and what it refuses, whose turn it is, and what is forgotten. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/journal.h"
#include "backup/receive.h"
#include "backup/verify.h"
#include "base/clock.h"
#include "base/file.h"
#include "tests/unit/backup/lib/site.h"

enum { MINUTES = 40, KEYS = 60 };

struct minute {
	struct backup_manifest manifest;
	uint8_t hash[HASH_BYTES];
};

struct world {
	struct backup_sites sites;
	struct backup_model model;
	struct minute cycle;		    /* The newest. */
	struct minute minutes[MINUTES + 1]; /* By number. */
	struct snapshot_row record;	    /* Of the cycle. */
	struct journal_row row;
	struct receive_config receiver; /* Node 2, fed by node 1. */
	char *drop;
};

static void load(struct world *w, unsigned node, struct minute *minute)
{
	assert_int_equal(point_manifest(w->sites.repository[node - 1], minute->hash,
				 &w->sites.trust, &minute->manifest, NULL),
		0);
}

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	backup_sites_init(&w->sites, KEY_KEM_X25519);
	backup_model_init(&w->model, 5);
	for (unsigned i = 0; i < 3; i++) {
		backup_model_change(&w->model, 50, KEYS, 200);
		backup_model_snapshot(&w->model, &w->sites, 1, false, w->cycle.hash);
	}
	load(w, 1, &w->cycle);
	w->record = backup_record(&w->cycle.manifest, w->cycle.hash);
	w->record.state = SNAPSHOT_CONFIRMED;
	w->drop = x_asprintf("%s/incoming", w->sites.dir);
	assert_int_equal(mkdir(w->drop, 0700), 0);
	w->receiver = (struct receive_config){.repository = w->sites.repository[1],
		.trust = &w->sites.trust,
		.signer = w->sites.signer[1],
		.node = 2,
		.records = &w->record,
		.n_records = 1,
		.journal = &w->row};
	memcpy(w->receiver.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(w->receiver.lineage, w->sites.lineage, ID_BYTES);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	backup_manifest_release(&w->cycle.manifest);
	for (unsigned i = 0; i <= MINUTES; i++) {
		backup_manifest_release(&w->minutes[i].manifest);
	}
	backup_model_release(&w->model);
	backup_sites_release(&w->sites);
	free(w->drop);
	free(w);
	return 0;
}

/* As its taker does it, from what its repository holds. */
static void take(struct world *w, unsigned node, uint32_t number)
{
	_cleanup_(backup_manifest_release) struct backup_manifest parent = {0};
	const uint8_t *newest = number == 1 ? w->cycle.hash : w->minutes[number - 1].hash;
	uint8_t hash[HASH_BYTES];

	backup_model_change(&w->model, 5, KEYS, 200);
	assert_int_equal(journal_find_parent(w->sites.repository[node - 1], newest, number,
				 &w->sites.trust, &parent, hash, NULL),
		0);
	assert_int_equal(parent.number, journal_parent(number));
	backup_model_journal(
		&w->model, &w->sites, node, number, &parent, hash, w->minutes[number].hash);
	load(w, node, &w->minutes[number]);
}

/* No chain is longer than the room for it, and what one is built on is always in the chain of the
 * one before it: the taker has it. */
static void test_parent(void **state)
{
	static const uint32_t known[][2] = {{1, 0}, {2, 1}, {15, 14}, {16, 0}, {17, 16}, {31, 30},
		{32, 16}, {240, 224}, {256, 0}, {272, 256}, {0xffff, 0xfffe}, {0x10000, 0},
		{UINT32_MAX, 0}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		assert_int_equal(journal_parent(known[i][0]), known[i][1]);
	}
	for (uint32_t number = 2; number <= 0x11000; number++) {
		uint32_t parent = journal_parent(number), below = number - 1;
		unsigned length = 1;

		for (uint32_t at = parent; at != 0; at = journal_parent(at)) {
			length++;
		}
		assert_in_range(length, 1, JOURNAL_CHAIN_MAX - 1);
		while (below > parent) {
			below = journal_parent(below);
		}
		assert_int_equal(below, parent);
	}
}

static void test_each_minute_restores(void **state)
{
	struct world *w = *state;
	struct verify_report report;
	struct point *point = NULL;

	for (uint32_t number = 1; number <= MINUTES; number++) {
		const struct backup_manifest *m = &w->minutes[number].manifest;

		take(w, 1, number);
		backup_model_assert(
			&w->model, &w->sites, w->sites.repository[0], w->minutes[number].hash);
		assert_true(m->type == MANIFEST_JOURNAL && m->slice == SLICE_NONE);
		assert_in_range(m->live + m->tombstones, 1, 5 * 17); /* No slice. */
	}
	for (unsigned level = 1; level <= 3; level++) {
		assert_int_equal(verify_snapshot(w->sites.repository[0], w->minutes[MINUTES].hash,
					 &w->sites.trust, level, &w->sites.keys, w->sites.dir,
					 &report, NULL),
			0);
		assert_int_equal(report.level, level);
	}
	/* 40 is 0x28. */
	assert_int_equal(point_open(w->sites.repository[0], w->minutes[MINUTES].hash,
				 &w->sites.trust, &point, NULL),
		0);
	assert_int_equal(point->n_journals, 2 + 8);
	assert_int_equal(point->n, 2 + 8 + 3);
	point_free(point);
}

static void remove_manifest(struct world *w, unsigned node, const uint8_t hash[HASH_BYTES])
{
	struct repository *r = w->sites.repository[node - 1];
	struct manifest_name name;
	uint64_t freed;

	assert_int_equal(repository_find(r, hash, &name, NULL), 0);
	assert_int_equal(repository_prune(r, &name, 1, 0, 0, &freed, NULL), 0);
}

/* One that is missing, or was swapped, ends what is above it, and nothing below. */
static void test_cut(void **state)
{
	struct world *w = *state;
	struct verify_report report;
	struct point *point = NULL;

	for (uint32_t number = 1; number <= 5; number++) {
		take(w, 1, number);
	}
	remove_manifest(w, 1, w->minutes[3].hash);
	assert_int_equal(point_open(w->sites.repository[0], w->minutes[5].hash, &w->sites.trust,
				 &point, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(verify_snapshot(w->sites.repository[0], w->minutes[4].hash,
				 &w->sites.trust, 3, &w->sites.keys, w->sites.dir, &report, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(report.level, 2);
	assert_int_equal(verify_snapshot(w->sites.repository[0], w->minutes[2].hash,
				 &w->sites.trust, 3, &w->sites.keys, w->sites.dir, &report, NULL),
		0);
	/* The cycle below it, too. */
	remove_manifest(w, 1, w->cycle.hash);
	assert_int_equal(point_open(w->sites.repository[0], w->minutes[2].hash, &w->sites.trust,
				 &point, NULL),
		KLUIS_EVERIFY);
}

/* The same bytes, but for what is changed, signed by a node that is trusted. */
static int forge(struct world *w, const struct minute *of,
	void (*change)(struct backup_manifest *m), uint8_t ret_hash[HASH_BYTES])
{
	struct backup_manifest m = of->manifest;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	int rc;

	change(&m);
	rc = backup_manifest_encode(&m, w->sites.signer[0], &bytes, ret_hash, NULL);
	if (rc == 0) {
		assert_int_equal(
			repository_put_manifest(w->sites.repository[0], buf_bytes(&bytes), NULL),
			0);
	}
	return rc;
}

static void change_number_away(struct backup_manifest *m)
{
	m->number = 0;
}
static void change_slice(struct backup_manifest *m)
{
	m->slice = m->cycle % BACKUP_SLICES;
}
static void change_manual(struct backup_manifest *m)
{
	m->manual = true;
}
static void change_root(struct backup_manifest *m)
{
	m->state_root[3] = 1;
}
static void change_id(struct backup_manifest *m)
{
	m->id--;
}
static void change_base_away(struct backup_manifest *m)
{
	memset(m->base, 0, HASH_BYTES);
}
static void change_type(struct backup_manifest *m)
{
	m->type = MANIFEST_INCREMENT;
	m->slice = m->cycle % BACKUP_SLICES;
}

static void change_from(struct backup_manifest *m)
{
	m->from--;
}
static void change_cycle(struct backup_manifest *m)
{
	m->cycle++;
}
static void change_number(struct backup_manifest *m)
{
	m->number = 1;
}
static void change_lineage(struct backup_manifest *m)
{
	m->lineage[0] ^= 1;
}
static void change_cluster(struct backup_manifest *m)
{
	m->cluster_id[0] ^= 1;
}

/* What contradicts itself cannot be written; what does not continue what it names is no point. */
static void test_rules(void **state)
{
	static void (*const never[])(struct backup_manifest * m) = {change_number_away,
		change_slice, change_manual, change_root, change_id, change_base_away, change_type};
	static void (*const chains[])(struct backup_manifest * m) = {
		change_from, change_cycle, change_number, change_lineage, change_cluster};
	struct world *w = *state;
	uint8_t hash[HASH_BYTES];
	struct point *point = NULL;

	take(w, 1, 1);
	take(w, 1, 2);
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		assert_int_equal(forge(w, &w->minutes[2], never[i], hash), KLUIS_EINVAL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		assert_int_equal(forge(w, &w->minutes[2], chains[i], hash), 0);
		assert_int_equal(
			point_open(w->sites.repository[0], hash, &w->sites.trust, &point, NULL),
			KLUIS_EVERIFY);
	}
}

/* A cycle is never built on a journal increment. */
static void test_cycle_on_journal(void **state)
{
	struct world *w = *state;
	struct point *point = NULL;
	uint8_t hash[HASH_BYTES];

	take(w, 1, 1);
	w->model.last.index = w->minutes[1].manifest.index;
	memcpy(w->model.last_hash, w->minutes[1].hash, HASH_BYTES);
	backup_model_change(&w->model, 5, KEYS, 200);
	backup_model_snapshot(&w->model, &w->sites, 1, false, hash);
	assert_int_equal(point_open(w->sites.repository[0], hash, &w->sites.trust, &point, NULL),
		KLUIS_EVERIFY);
}

/* --- receiving ------------------------------------------------------------------------------- */

static void put_file(const struct world *w, const char *name, struct bytes bytes)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", w->drop, name);

	assert_int_equal(file_write(path, bytes, 0400, NULL), 0);
}

/* Into the drop, whole. */
static void carry(struct world *w, unsigned node, const struct minute *minute)
{
	struct repository *r = w->sites.repository[node - 1];
	const struct backup_manifest *m = &minute->manifest;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct drop_name name = {.manifest = true};
	struct manifest_name from;
	char text[DROP_NAME_BYTES];

	assert_int_equal(repository_find(r, minute->hash, &from, NULL), 0);
	assert_int_equal(repository_get_manifest(r, &from, &bytes, NULL), 0);
	memcpy(name.hash, minute->hash, HASH_BYTES);
	drop_name_format(&name, text);
	put_file(w, text, buf_bytes(&bytes));
	name.manifest = false;
	for (uint32_t i = 0; i < m->n_index + m->n_packs; i++) {
		_cleanup_(buf_release) struct buf object = BUF_INIT;
		uint64_t size = 0;
		int fd = -1;

		assert_int_equal(
			repository_open_object(r, m->objects[i].hash, &fd, &size, NULL), 0);
		assert_int_equal(read(fd, buf_extend(&object, size), size), size);
		(void)close(fd);
		memcpy(name.hash, m->objects[i].hash, HASH_BYTES);
		drop_name_format(&name, text);
		put_file(w, text, buf_bytes(&object));
	}
}

static void assert_receives(
	struct world *w, uint64_t later_ms, unsigned accepted, unsigned waiting, unsigned refused)
{
	struct receive_report report;
	struct err e = {0};

	if (receive_scan(&w->receiver, w->drop, 1, clock_wall_ms(&clock_system) + later_ms, &report,
		    &e) != 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(report.n_accepted, accepted);
	assert_int_equal(report.waiting, waiting);
	assert_int_equal(report.refused, refused);
	receive_report_release(&report);
}

/* The cycles below are at node 2. */
static void carry_cycles(struct world *w)
{
	struct point *point = NULL;
	struct snapshot_row records[BACKUP_SLICES];

	assert_int_equal(
		point_open(w->sites.repository[0], w->cycle.hash, &w->sites.trust, &point, NULL),
		0);
	w->receiver.records = records;
	w->receiver.n_records = point->n;
	for (unsigned i = 0; i < point->n; i++) {
		struct minute one = {.manifest = point->snapshots[i].manifest};

		memcpy(one.hash, point->snapshots[i].hash, HASH_BYTES);
		records[i] = backup_record(&one.manifest, one.hash);
		carry(w, 1, &one);
	}
	assert_receives(w, 0, point->n, 0, 0);
	point_free(point);
	w->receiver.records = &w->record;
	w->receiver.n_records = 1;
}

static void say(struct world *w, uint32_t number)
{
	w->row.base_id = w->record.id;
	w->row.base_cycle = w->record.cycle;
	w->row.number = number;
	w->row.node = w->minutes[number].manifest.node;
	w->row.index = w->minutes[number].manifest.index;
	memcpy(w->row.manifest_hash, w->minutes[number].hash, HASH_BYTES);
}

/* The log names the newest; what that is built on is taken with it, by whom ever it was brought,
 * and nothing that it is not built on. */
static void test_receive(void **state)
{
	struct world *w = *state;
	struct verify_report report;
	struct manifest_name name;

	carry_cycles(w);
	for (uint32_t number = 1; number <= 18; number++) {
		take(w, 1, number);
	}
	carry(w, 1, &w->minutes[17]);
	assert_receives(w, 0, 0, 1, 0); /* Nobody knows it yet. */
	say(w, 18);
	assert_receives(w, 0, 0, 1, 0); /* Nor is it known to be below: 18 may be anything. */
	carry(w, 1, &w->minutes[18]);
	assert_receives(w, 0, 0, 2, 0); /* 16 is missing. */
	carry(w, 1, &w->minutes[16]);
	carry(w, 1, &w->minutes[5]);	/* Of the same taker, and not below. */
	assert_receives(w, 0, 3, 1, 0); /* All in one scan, the oldest first. */
	assert_int_equal(verify_snapshot(w->sites.repository[1], w->minutes[18].hash,
				 &w->sites.trust, 3, &w->sites.keys, w->sites.dir, &report, NULL),
		0);
	backup_model_assert(&w->model, &w->sites, w->sites.repository[1], w->minutes[18].hash);
	assert_receives(w, 2 * BACKUP_LEFTOVER_MS, 0, 0, 1);
	assert_int_equal(repository_find(w->sites.repository[1], w->minutes[5].hash, &name, NULL),
		KLUIS_ENOTFOUND);
}

/* Who takes over brings what others took; a slow site takes in what was overtaken meanwhile. */
static void test_take_over(void **state)
{
	struct world *w = *state;
	uint8_t seen[1][HASH_BYTES];

	carry_cycles(w);
	take(w, 1, 1);
	say(w, 1);
	carry(w, 1, &w->minutes[1]);
	assert_receives(w, 0, 1, 0, 0);
	/* 2 never left its taker: node 2 builds 3 on 1, which is not what node 1 would do. */
	take(w, 1, 2);
	{
		_cleanup_(backup_manifest_release) struct backup_manifest parent = {0};
		uint8_t hash[HASH_BYTES];

		assert_int_equal(journal_find_parent(w->sites.repository[1], w->minutes[2].hash, 3,
					 &w->sites.trust, &parent, hash, NULL),
			KLUIS_ENOTFOUND);
		assert_int_equal(journal_find_parent(w->sites.repository[1], w->minutes[1].hash, 3,
					 &w->sites.trust, &parent, hash, NULL),
			0);
		assert_int_equal(parent.number, 1);
		backup_model_change(&w->model, 5, KEYS, 200);
		backup_model_journal(&w->model, &w->sites, 2, 3, &parent, hash, w->minutes[3].hash);
		load(w, 2, &w->minutes[3]);
	}
	backup_model_assert(&w->model, &w->sites, w->sites.repository[1], w->minutes[3].hash);
	/* At node 3, which has the cycle and nothing else. */
	w->receiver.repository = w->sites.repository[2];
	w->receiver.signer = w->sites.signer[2];
	w->receiver.node = 3;
	carry_cycles(w);
	say(w, 3);
	carry(w, 1, &w->minutes[1]);
	carry(w, 2, &w->minutes[3]);
	assert_receives(w, 0, 2, 0, 0);
	backup_model_assert(&w->model, &w->sites, w->sites.repository[2], w->minutes[3].hash);
	/* What the log had named before, too. */
	carry(w, 1, &w->minutes[2]);
	assert_receives(w, 0, 0, 1, 0);
	memcpy(seen[0], w->minutes[2].hash, HASH_BYTES);
	w->receiver.journals = seen;
	w->receiver.n_journals = 1;
	assert_receives(w, 0, 1, 0, 0);
}

static void change_hash_only(struct backup_manifest *m)
{
	m->wall_ms += 1;
}

/* A thief of the sender: an old one again, one that the log does not name, another's objects, a
 * snapshot in its place. Nothing of it comes in, and the newest stays the newest. */
static void test_hostile(void **state)
{
	struct world *w = *state;
	struct minute forged = {.hash = {0}};
	struct manifest_name *names = NULL;
	size_t n = 0;

	carry_cycles(w);
	take(w, 1, 1);
	take(w, 1, 2);
	say(w, 2);
	carry(w, 1, &w->minutes[1]);
	carry(w, 1, &w->minutes[2]);
	assert_receives(w, 0, 2, 0, 0);
	/* A replay of what was taken in is taken in again, as the same file. */
	carry(w, 1, &w->minutes[2]);
	assert_receives(w, 0, 1, 0, 0);
	/* Well signed, and not in the log. */
	assert_int_equal(forge(w, &w->minutes[2], change_hash_only, forged.hash), 0);
	forged.manifest = w->minutes[2].manifest;
	carry(w, 1, &forged);
	assert_receives(w, 0, 0, 1, 0);
	assert_receives(w, 2 * BACKUP_LEFTOVER_MS, 0, 0, 1);
	/* The log names a snapshot that it has no record of: some node's apply would be wrong. */
	memcpy(w->row.manifest_hash, w->cycle.hash, HASH_BYTES);
	w->receiver.n_records = 0;
	carry(w, 1, &w->cycle);
	assert_receives(w, 0, 0, 0, 1);
	assert_int_equal(repository_list(w->sites.repository[1], &names, &n, NULL, NULL), 0);
	assert_int_equal(n, 3 + 2);
	free(names);
}

/* --- whose turn ------------------------------------------------------------------------------ */

static void test_turn(void **state)
{
	static const uint64_t nodes[] = {1, 2, 3, 5, 6};
	struct snapshot_row base = {
		.id = 100, .node = 5, .confirmed_ms = 1000, .n_confirmations = 3};
	struct journal_row row = {.base_id = 90, .node = 2, .number = 7, .confirmed = 7};
	struct journal_facts facts = {
		.base = &base, .row = &row, .nodes = nodes, .n_nodes = 5, .every_ms = 60000};

	(void)state;
	base.confirmation[0].node = 1;
	base.confirmation[1].node = 3;
	base.confirmation[2].node = 4; /* No member that can take one. */
	assert_int_equal(journal_turn_ms(&facts), 30000);
	facts.every_ms = 1000;
	assert_int_equal(journal_turn_ms(&facts), 500);
	facts.every_ms = 60000;
	/* The first of a cycle: at once, and who took that is first. */
	assert_int_equal(journal_due_ms(&facts), 1000);
	assert_int_equal(journal_place(&facts, 5), 0);
	assert_int_equal(journal_place(&facts, 1), 1);
	assert_int_equal(journal_place(&facts, 3), 2);
	assert_true(journal_place(&facts, 2) == SIZE_MAX); /* It lacks the cycle. */
	assert_true(journal_place(&facts, 4) == SIZE_MAX);
	row = (struct journal_row){
		.base_id = 100, .node = 3, .number = 2, .confirmed = 2, .created_ms = 5000};
	assert_int_equal(journal_due_ms(&facts), 65000);
	assert_int_equal(journal_place(&facts, 3), 0);
	assert_int_equal(journal_place(&facts, 5), 1);
	row.confirmed = 1; /* On its way: time to get through, then others may. */
	assert_int_equal(journal_due_ms(&facts), 5000 + JOURNAL_HELD_MS);
	facts.every_ms = JOURNAL_HELD_MS + 1;
	assert_int_equal(journal_due_ms(&facts), 5001 + JOURNAL_HELD_MS);
	facts.n_nodes = 0;
	assert_true(journal_place(&facts, 3) == SIZE_MAX);
}

/* --- forgetting ------------------------------------------------------------------------------ */

enum { COPIES = 6 };

/* Numbers 1 .. COPIES of cycle 7, at indexes 1010, 1020, ..; each built on the one before, but 6 on
 * 3. */
static void copies_make(struct journal_copy copies[COPIES])
{
	memset(copies, 0, COPIES * sizeof *copies);
	for (unsigned i = 0; i < COPIES; i++) {
		copies[i].name.hash[0] = (uint8_t)(i + 1);
		copies[i].name.index = 1010 + 10 * i;
		copies[i].base[0] = (uint8_t)(i == 5 ? 3 : i);
		copies[i].cycle = 7;
		copies[i].received_ms = 1000;
	}
	copies[0].base[0] = 99; /* The cycle. */
}

static void assert_pruned(
	struct journal_copy copies[COPIES], const struct journal_keep *keep, unsigned expected)
{
	unsigned pruned = 0;

	for (unsigned i = 0; i < COPIES; i++) {
		copies[i].chain = copies[i].prune = false;
	}
	journal_keep_plan(copies, COPIES, keep);
	for (unsigned i = 0; i < COPIES; i++) {
		pruned |= copies[i].prune ? 1U << i : 0;
	}
	assert_int_equal(pruned, expected);
}

static void test_keep(void **state)
{
	struct journal_copy copies[COPIES];
	struct journal_row row = {.base_cycle = 7, .number = 6, .confirmed = 5};
	struct journal_keep keep = {
		.row = &row, .cycle = 7, .index = 1000, .now_ms = 2000, .kept_ms = 100000};

	(void)state;
	copies_make(copies);
	row.manifest_hash[0] = 6;
	row.confirmed_hash[0] = 5;
	row.confirmed_index = 1050;
	assert_pruned(copies, &keep, 0);
	/* 4 and 5 are let go when enough sites hold 6, and an hour has passed. */
	keep.now_ms = 2000 + JOURNAL_SPARE_MS;
	assert_pruned(copies, &keep, 0);
	row.confirmed = 6;
	row.confirmed_hash[0] = 6;
	row.confirmed_index = 1060;
	assert_pruned(copies, &keep, 1U << 3 | 1U << 4);
	keep.now_ms = 2000;
	assert_pruned(copies, &keep, 0);
	/* The next cycle: what it does not reach stays until its own journal does. */
	keep.cycle = 8;
	keep.index = 1045;
	assert_pruned(copies, &keep, 0); /* 5 is built on 4, 6 on 3. */
	keep.now_ms = 2000 + JOURNAL_SPARE_MS;
	assert_pruned(copies, &keep, 1U << 3 | 1U << 4);
	keep.now_ms = 2000;
	row = (struct journal_row){
		.base_cycle = 8, .number = 1, .confirmed = 1, .confirmed_index = 1070};
	row.manifest_hash[0] = row.confirmed_hash[0] = 50;
	assert_pruned(copies, &keep, 0); /* Not here: it is no ground to let others go. */
	copies[0] = (struct journal_copy){.cycle = 8, .received_ms = 1000, .base = {98}};
	copies[0].name.hash[0] = 50;
	copies[0].name.index = 1070;
	assert_pruned(copies, &keep, 0x3e);
	/* And one cycle later at the latest. */
	keep.cycle = 9;
	keep.index = 1046;
	copies_make(copies);
	assert_pruned(copies, &keep, 0x3f);
}

/* Of an earlier lineage: by age, once there is something newer to come back to. */
static void test_keep_of_another_lineage(void **state)
{
	struct journal_copy copies[COPIES];
	struct journal_row none = {0};
	struct journal_keep keep = {.row = &none, .lineage = {1}, .kept_ms = 100000};

	(void)state;
	copies_make(copies);
	keep.now_ms = 101000;
	assert_pruned(copies, &keep, 0);
	keep.now_ms = 101001;
	assert_pruned(copies, &keep, 0);
	keep.cycle = 1;
	assert_pruned(copies, &keep, 0x3f);
	keep.now_ms = 500; /* The clock went back. */
	assert_pruned(copies, &keep, 0);
}

/* In a repository: what no newest one is built on goes, and the point is what it was. */
static void test_prune(void **state)
{
	struct world *w = *state;
	struct manifest_name *names = NULL;
	uint64_t now_ms = clock_wall_ms(&clock_system);
	unsigned pruned = 0;
	size_t n = 0;

	for (uint32_t number = 1; number <= 18; number++) {
		take(w, 1, number);
	}
	say(w, 18);
	w->row.confirmed = 18;
	w->row.confirmed_index = w->row.index;
	memcpy(w->row.confirmed_hash, w->row.manifest_hash, HASH_BYTES);
	w->receiver.repository = w->sites.repository[0];
	w->receiver.node = 1;
	assert_int_equal(receive_prune(&w->receiver, now_ms, &retention_default, &pruned, NULL), 0);
	assert_int_equal(pruned, 0);
	assert_int_equal(receive_prune(&w->receiver, now_ms + JOURNAL_SPARE_MS + 60000,
				 &retention_default, &pruned, NULL),
		0);
	assert_int_equal(pruned, 15);
	assert_int_equal(repository_list(w->sites.repository[0], &names, &n, NULL, NULL), 0);
	assert_int_equal(n, 3 + 3);
	free(names);
	backup_model_assert(&w->model, &w->sites, w->sites.repository[0], w->minutes[18].hash);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parent),
		cmocka_unit_test_setup_teardown(test_each_minute_restores, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rules, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cycle_on_journal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_receive, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_take_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
		cmocka_unit_test(test_turn),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_keep_of_another_lineage),
		cmocka_unit_test_setup_teardown(test_prune, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

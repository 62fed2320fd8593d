#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "storage/index_store.h"
#include "storage/page_store.h"
#include "storage/vault_store.h"
#include "tests/lib/fixture/check.h"
#include "tests/lib/fixture/machine.h"

/* A small model of one vault: what a reader must see of each page. */
enum { PAGES = 12, STEPS = 500 };
struct model_page {
	uint64_t revision;
	unsigned bucket;
	uint64_t salt;
};
struct model {
	struct fixture_client c;
	struct model_page page[PAGES];
	/* All that was ever committed, for the older revisions. */
	struct model_page history[PAGES][STEPS + 2];
	uint64_t kept_ms[PAGES][STEPS + 2]; /* Until when, once superseded. */
	uint64_t purged[PAGES];		    /* Revisions below are gone: purged or expired. */
	struct buf log[16 * STEPS];	    /* Every command, with the time it ran at. */
	uint64_t at_ms[16 * STEPS];
	size_t n_log;
};

static void check_ok(struct fixture_machine *m)
{
	struct err e = {0};

	if (fixture_check_store(m->kv, &e) != 0) {
		fail_msg("index %llu: %s", (unsigned long long)fsm_position(m->fsm)->index, e.text);
	}
}

static int run(struct fixture_machine *m, struct model *model, const struct buf *command)
{
	assert_true(model->n_log < ARRAY_SIZE(model->log));
	buf_append_bytes(&model->log[model->n_log], buf_bytes(command));
	model->at_ms[model->n_log++] = m->now_ms;
	return fixture_machine_run(m, buf_bytes(command));
}

static void expect_page(struct fixture_machine *m, struct model *model, const struct page_row *row,
	const struct model_page *want, uint64_t page_no)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT, wanted = BUF_INIT;
	struct kv_view *view = kv_view_new(m->kv);

	assert_true(row->revision == want->revision);
	assert_int_equal(page_store_bytes(view, model->c.vault_id, row, &bytes, NULL), 0);
	fixture_page(&model->c, page_no, want->revision, want->bucket, want->salt, &wanted);
	assert_true(bytes_equal(buf_bytes(&bytes), buf_bytes(&wanted)));
	kv_view_free(view);
}

/* The store says what the model says: current pages and the last revisions behind them. */
static void expect_model(struct fixture_machine *m, struct model *model)
{
	struct kv_view *view = kv_view_new(m->kv);

	for (uint64_t i = 0; i < PAGES; i++) {
		struct page_row rows[PAGE_VERSIONS_MAX + 1];
		uint64_t last = model->page[i].revision, first;
		size_t n = 0;
		int rc = page_store_versions(view, model->c.vault_id, i, rows, &n, NULL);

		assert_int_equal(rc, last == 0 ? KLUIS_ENOTFOUND : 0);
		if (last == 0) {
			continue;
		}
		first = last > PAGE_VERSIONS_MAX ? last - PAGE_VERSIONS_MAX : 1;
		first = first < model->purged[i] ? model->purged[i] : first;
		assert_int_equal(n, last - first + 1);
		for (size_t j = 0; j < n; j++) {
			expect_page(m, model, &rows[j], &model->history[i][last - j], i);
		}
	}
	kv_view_free(view);
}

/* A commit of a few pages, some staged before, some staged and yet sent along (their bytes have two
 * references until the staged one expires), some tombstones, sometimes with purge. */
static void step_commit(
	struct fixture_machine *m, struct model *model, struct random *random, uint64_t salt)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct model_page next[PAGES];
	bool purge = random_below(random, 8) == 0;
	uint64_t page_count = model->c.page_count;

	memset(next, 0, sizeof next);
	for (uint64_t i = random_below(random, 4); i < PAGES; i += 1 + random_below(random, 6)) {
		bool staged = random_below(random, 3) == 0;
		bool both = random_below(random, 6) == 0;
		unsigned bucket = random_below(random, 4) == 0 ? 0 : 12;

		next[i] = (struct model_page){model->page[i].revision + 1, bucket, salt * 16 + i};
		if (staged || both) {
			fixture_stage(
				&model->c, i, next[i].revision, bucket, next[i].salt, &command);
			assert_int_equal(run(m, model, &command), 0);
		}
		fixture_entry(&model->c, i, next[i].revision, bucket, next[i].salt, staged && !both,
			&entries);
		page_count = i + 1 > page_count ? i + 1 : page_count;
	}
	fixture_commit(&model->c, buf_bytes(&entries), page_count, purge, &command);
	assert_int_equal(run(m, model, &command), 0);
	fixture_committed(&model->c, buf_bytes(&entries));
	for (uint64_t i = 0; i < PAGES; i++) {
		if (next[i].revision != 0) {
			model->kept_ms[i][next[i].revision - 1] = m->now_ms + VERSIONS_KEPT_MS;
			model->page[i] = next[i];
			model->history[i][next[i].revision] = next[i];
			model->purged[i] = purge ? next[i].revision : model->purged[i];
		}
	}
}

/* What must be refused and leave no trace. */
static void step_refused(struct fixture_machine *m, struct model *model, struct random *random)
{
	_cleanup_(buf_release) struct buf entries = BUF_INIT, command = BUF_INIT;
	struct fixture_client stale = model->c;
	uint64_t i = random_below(random, PAGES);

	switch (random_below(random, 3)) {
	case 0: /* Wrong revision. */
		fixture_entry(&stale, i, model->page[i].revision + 2, 12, 1, false, &entries);
		break;
	case 1: /* Stale head. */
		stale.seq--;
		stale.head_hash[0] ^= 1;
		fixture_entry(&stale, i, model->page[i].revision + 1, 12, 1, false, &entries);
		break;
	default: /* The first page is fine, the second is not staged. */
		fixture_entry(&stale, 0, model->page[0].revision + 1, 12, 1, false, &entries);
		fixture_entry(&stale, 1, model->page[1].revision + 1, 12, 99, true, &entries);
		break;
	}
	fixture_commit(&stale, buf_bytes(&entries), PAGES, false, &command);
	assert_true(run(m, model, &command) < 0);
}

static uint64_t expire(struct fixture_machine *m, struct model *model)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	struct command expire = {.type = COMMAND_EXPIRE, .expire = {.max_rows = 7}};

	m->now_ms += EXPIRE_INTERVAL_MS;
	command_encode(&expire, &command);
	assert_int_equal(run(m, model, &command), 0);
	return fixture_machine_reply(m).number;
}

/* Days go by; then all that is due goes, in small steps, and the client signs in again. */
static void step_time(struct fixture_machine *m, struct model *model, struct random *random)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	unsigned steps = 0;

	fixture_stage(&model->c, 5, 77, 0, random_below(random, 1000), &command);
	assert_int_equal(run(m, model, &command), 0); /* Never committed. */
	m->now_ms += random_below(random, 40) * 24 * 3600 * 1000;
	while (expire(m, model) > 0) {
		assert_true(steps++ < 1000);
	}
	for (uint64_t i = 0; i < PAGES; i++) {
		for (uint64_t r = 1; r < model->page[i].revision; r++) {
			if (model->kept_ms[i][r] <= m->now_ms && model->purged[i] <= r) {
				model->purged[i] = r + 1;
			}
		}
	}
	fixture_session_create(&model->c, SESSION_MS_MAX, &command);
	assert_int_equal(run(m, model, &command), 0);
}

static void root_of(struct kv *kv, uint8_t root[32])
{
	struct kv_view *view = kv_view_new(kv);
	uint64_t rows;

	assert_int_equal(index_store_root(view, root, &rows, NULL), 0);
	assert_true(rows > 0);
	kv_view_free(view);
}

/* Same place, same hash of all that led there, same rows. */
static void expect_same(const struct fsm *a, const struct fsm *b)
{
	uint8_t root_a[32], root_b[32];

	assert_memory_equal(fsm_position(a), fsm_position(b), sizeof *fsm_position(a));
	root_of(fsm_kv(a), root_a);
	root_of(fsm_kv(b), root_b);
	assert_memory_equal(root_a, root_b, 32);
}

static void replay(
	const struct model *model, size_t entries_per_apply, struct fixture_machine *want)
{
	struct fixture_machine m;
	struct entry *entries[16];
	size_t n = 0;

	fixture_machine_init(&m, NULL);
	for (size_t i = 0; i < model->n_log; i++) {
		struct bytes command = buf_bytes(&model->log[i]);

		m.now_ms = model->at_ms[i];
		entries[n++] = fixture_machine_entry(&m, i + 1, &command, 1);
		if (n == entries_per_apply || i + 1 == model->n_log) {
			assert_int_equal(fsm_apply(m.fsm, entries, n, &m.results, &m.err), 0);
			assert_int_equal(m.results.n, n);
			while (n > 0) {
				entry_unref(entries[--n]);
			}
		}
	}
	expect_same(m.fsm, want->fsm);
	fixture_machine_release(&m);
}

static struct model *model_run(struct fixture_machine *m, uint64_t seed)
{
	struct model *model = x_calloc(1, sizeof *model);
	struct random_seeded random;
	size_t begin;

	random_seeded_init(&random, seed);
	/* The set-up goes into the log as well. */
	fixture_client_init(&model->c, 1);
	for (begin = 0; begin < 5; begin++) {
		_cleanup_(buf_release) struct buf command = BUF_INIT;

		switch (begin) {
		case 0:
			fixture_cluster_init(&command, 6);
			break;
		case 1:
			fixture_service_create(&model->c, &command);
			break;
		case 2:
			fixture_service_enrol(&model->c, &command);
			break;
		case 3:
			fixture_session_create(&model->c, SESSION_MS_MAX, &command);
			break;
		default:
			fixture_vault_create(&model->c, &command);
			break;
		}
		assert_int_equal(run(m, model, &command), 0);
	}
	fixture_committed(&model->c, bytes_of(NULL, 0));
	for (unsigned step = 1; step < STEPS / 4; step++) {
		m->now_ms += random_below(&random.random, 5000);
		if (random_below(&random.random, 5) == 0) {
			step_refused(m, model, &random.random);
		} else if (random_below(&random.random, 12) == 0) {
			step_time(m, model, &random.random);
		} else {
			step_commit(m, model, &random.random, step);
		}
		if (step % 10 == 0) {
			expect_model(m, model);
			check_ok(m);
		}
	}
	expect_model(m, model);
	check_ok(m);
	return model;
}

static void model_free(struct model *model)
{
	for (size_t i = 0; i < model->n_log; i++) {
		buf_release(&model->log[i]);
	}
	free(model);
}

static void test_commits_against_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct fixture_machine m;
		struct model *model;

		fixture_machine_init(&m, NULL);
		model = model_run(&m, seed);
		model_free(model);
		fixture_machine_release(&m);
	}
}

/* The same commands in batches of other sizes: the same rows, modification indexes and hash. */
static void test_batching_does_not_matter(void **state)
{
	struct fixture_machine m;
	struct model *model;

	(void)state;
	fixture_machine_init(&m, NULL);
	model = model_run(&m, 9);
	replay(model, 1, &m);
	replay(model, 3, &m);
	replay(model, 16, &m);
	model_free(model);
	fixture_machine_release(&m);
}

static void open_disk(const char *dir, struct kv **ret_kv)
{
	static const struct kv_options options = {
		.create = true, .write_buffer_bytes = 1 << 20, .cache_bytes = 4 << 20};

	assert_int_equal(kv_rocksdb_open(dir, &options, ret_kv, NULL), 0);
}

/* On disk, with restarts in between: the node replays what it may have applied already. */
static void test_restarts_on_disk(void **state)
{
	struct fixture_machine m, disk;
	char *dir = scratch_new("fsm");
	struct model *model;
	struct kv *kv;

	(void)state;
	fixture_machine_init(&m, NULL);
	model = model_run(&m, 3);
	open_disk(dir, &kv);
	fixture_machine_init(&disk, kv);
	for (size_t i = 0; i < model->n_log; i++) {
		size_t from = i > 5 && i % 40 == 0 ? i - 5 : i;

		if (from != i) {
			fixture_machine_release(&disk);
			open_disk(dir, &kv);
			fixture_machine_init(&disk, kv);
			assert_true(fsm_position(disk.fsm)->index == i);
		}
		for (size_t j = from; j <= i; j++) {
			struct bytes command = buf_bytes(&model->log[j]);
			struct entry *entry;

			disk.now_ms = model->at_ms[j];
			entry = fixture_machine_entry(&disk, j + 1, &command, 1);
			assert_int_equal(
				fsm_apply(disk.fsm, &entry, 1, &disk.results, &disk.err), 0);
			assert_int_equal(disk.results.n, j == i);
			entry_unref(entry);
		}
	}
	expect_same(disk.fsm, m.fsm);
	check_ok(&disk);
	model_free(model);
	fixture_machine_release(&m);
	fixture_machine_release(&disk);
	scratch_free(dir);
}

/* The checks above can fail. */
static void test_damage_is_seen(void **state)
{
	static const uint8_t families[] = {
		KEY_REFS, KEY_BYTES, KEY_EXPIRY, KEY_BY_INDEX, KEY_INDEX_OF, KEY_SESSION, KEY_PAGE};
	struct fixture_machine m;
	struct model *model;

	(void)state;
	fixture_machine_init(&m, NULL);
	model = model_run(&m, 2);
	for (size_t i = 0; i < sizeof families; i++) {
		struct kv *copy = kv_memory_clone(m.kv);
		struct kv_view *view = kv_view_new(copy);
		struct kv_iter *iter =
			kv_iter_new(view, bytes_of(&families[i], 1), bytes_of(NULL, 0));
		struct kv_change change = {.deleted = true};

		assert_true(kv_iter_next(iter));
		change.key = kv_iter_key(iter);
		assert_int_equal(change.key.data[0], families[i]);
		assert_int_equal(kv_write(copy, &change, 1, NULL), 0);
		assert_int_equal(fixture_check_store(copy, NULL), KLUIS_ECORRUPT);
		kv_iter_free(iter);
		kv_view_free(view);
		kv_close(copy);
	}
	model_free(model);
	fixture_machine_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commits_against_model),
		cmocka_unit_test(test_batching_does_not_matter),
		cmocka_unit_test(test_restarts_on_disk),
		cmocka_unit_test(test_damage_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a person who has a repository and no node is offered: the newest, whoever's clock was ahead,
 * and nothing by itself that a key of before has signed. */
#include "tests/lib/test.h"

#include <string.h>

#include "backup/deletions.h"
#include "backup/restore.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/ops/offline.h"
#include "tests/unit/backup/lib/site.h"

struct world {
	struct backup_sites sites;
	struct backup_model model;
	char *settings;
	struct invocation inv;
	struct command_option option;
	struct offline offline;
};

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	backup_sites_init(&w->sites, KEY_KEM_X25519);
	backup_model_init(&w->model, 9);
	w->settings = x_asprintf("%s/kluisd.ini", w->sites.dir);
	w->option.name = "config";
	w->inv.values[0] = (struct invocation_value){&w->option, w->settings};
	w->inv.n_values = 1;
	w->inv.out.quiet = true;
	w->inv.out.data = stdout;
	w->inv.out.notes = stderr;
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	backup_model_release(&w->model);
	backup_sites_release(&w->sites);
	free(w->settings);
	free(w);
	return 0;
}

static void put_key(struct buf *to, const struct key_pub *pub)
{
	hex_append(to, key_pub_bytes(pub));
	buf_put_str(to, "\n");
}

/* The settings of these sites as they are now, and node 1's repository. */
static void open_offline(struct world *w)
{
	const struct backup_trust *trust = &w->sites.trust;
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	buf_put_str(&text, "[cluster]\nid = ");
	hex_append(&text, bytes_of(w->sites.cluster_id, ID_BYTES));
	buf_put_str(&text, "\n[backup]\nrepository = repository1\n");
	for (unsigned i = 0; i < trust->n_former; i++) {
		buf_printf(&text, "former_key = %u ", (unsigned)trust->former[i].node);
		put_key(&text, trust->former[i].pub);
	}
	for (unsigned i = 0; i < trust->n; i++) {
		buf_printf(&text, "[site %s]\nid = %u\nbackup_key = ", trust->nodes[i].site,
			(unsigned)trust->nodes[i].node);
		put_key(&text, trust->nodes[i].pub);
	}
	assert_int_equal(file_write(w->settings, buf_bytes(&text), 0600, NULL), 0);
	if (offline_open(&w->inv, &w->offline) != 0) {
		fail_msg("%s", w->inv.err.text);
	}
}

static void take(struct world *w, bool manual, uint8_t ret_hash[HASH_BYTES])
{
	backup_model_change(&w->model, 20, 20, 100);
	backup_model_snapshot(&w->model, &w->sites, 1, manual, ret_hash);
}

/* Of both questions. */
static void assert_newest(struct world *w, const uint8_t hash[HASH_BYTES])
{
	int (*const find[])(struct invocation *, const struct offline *,
		struct offline_snapshot *) = {NULL, offline_find_newest};

	open_offline(w);
	for (size_t i = 0; i < ARRAY_SIZE(find); i++) {
		struct offline_snapshot found;
		int rc = find[i] == NULL ? offline_find(&w->inv, &w->offline, NULL, &found)
					 : find[i](&w->inv, &w->offline, &found);

		if (rc != 0) {
			fail_msg("%s", w->inv.err.text);
		}
		assert_memory_equal(found.hash, hash, HASH_BYTES);
		backup_manifest_release(&found.manifest);
	}
	offline_release(&w->offline);
}

/* Each taker's clock is another day off. */
static void test_newest_by_index(void **state)
{
	struct world *w = *state;
	uint8_t hash[HASH_BYTES];

	for (unsigned days = 5; days > 0; days--) {
		w->model.ahead_ms = days * DAY_MS;
		take(w, false, hash);
		assert_newest(w, hash);
	}
}

static void begin_lineage(struct world *w)
{
	random_fill(&random_system, w->sites.lineage, ID_BYTES);
	w->model.last.index = 0;
	w->model.last.cycle = 0;
	memset(w->model.last_hash, 0, HASH_BYTES);
}

/* A restore begins a lineage anew, behind the point's index and with cluster time going on. */
static void test_newest_lineage(void **state)
{
	struct world *w = *state;
	uint8_t hash[HASH_BYTES];

	for (unsigned days = 4; days > 0; days--) {
		w->model.ahead_ms = days * DAY_MS;
		begin_lineage(w);
		take(w, false, hash);
		assert_newest(w, hash);
	}
}

/* What the node of this site writes when it begins to run. */
static void mark_lineage(struct world *w, const struct key *signer)
{
	_cleanup_(x_freep) char *dir =
		deletion_journal_dir(repository_path(w->sites.repository[0]));
	_cleanup_(x_freep) char *path = x_asprintf("%s/mark", dir);
	struct deletion_mark mark = {.node = 1};
	uint8_t bytes[DELETION_MARK_BYTES];

	memcpy(mark.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(mark.lineage, w->sites.lineage, ID_BYTES);
	assert_int_equal(deletion_mark_encode(&mark, signer, bytes, NULL), 0);
	assert_int_equal(file_make_dirs(dir, 0700, NULL), 0);
	assert_int_equal(file_write(path, bytes_of(bytes, sizeof bytes), 0600, NULL), 0);
}

/* The cluster was restored to a point of before, and its time has not jumped yet: what it takes is
 * of an earlier time than the newest of the lineage that was left. */
static void test_lineage_before_its_time_jumps(void **state)
{
	struct world *w = *state;
	uint8_t left[HASH_BYTES], hash[HASH_BYTES];

	backup_model_change(&w->model, 300, 20, 100);
	take(w, false, left);
	mark_lineage(w, w->sites.signer[0]);
	backup_model_release(&w->model);
	backup_model_init(&w->model, 9);
	begin_lineage(w);
	take(w, false, hash);
	assert_newest(w, left); /* Nothing says more than cluster time. */
	mark_lineage(w, w->sites.signer[1]);
	assert_newest(w, left); /* Not the word of node 1, whose repository it is said to be. */
	mark_lineage(w, w->sites.signer[0]);
	assert_newest(w, hash);
}

/* Nor does a lineage that a stranger has made up count, however new it says it is. */
static void test_lineage_of_a_stranger(void **state)
{
	struct world *w = *state;
	struct key *ours = w->sites.signer[0];
	uint8_t hash[HASH_BYTES], strange[HASH_BYTES];
	struct offline_snapshot found;

	take(w, false, hash);
	begin_lineage(w);
	assert_int_equal(key_generate(KEY_ED25519, 0, &w->sites.signer[0], NULL), 0);
	take(w, false, strange);
	key_free(w->sites.signer[0]);
	w->sites.signer[0] = ours;
	open_offline(w);
	assert_int_equal(offline_find(&w->inv, &w->offline, NULL, &found), KLUIS_EVERIFY);
	assert_int_equal(offline_find_newest(&w->inv, &w->offline, &found), 0);
	assert_memory_equal(found.hash, hash, HASH_BYTES);
	backup_manifest_release(&found.manifest);
	offline_release(&w->offline);
}

static void find(struct world *w, const char *id, int rc, bool former)
{
	struct offline_snapshot found;

	assert_int_equal(offline_find(&w->inv, &w->offline, id, &found), rc);
	if (rc == 0) {
		assert_true(found.former == former && found.trusted == !former);
		backup_manifest_release(&found.manifest);
	}
}

/* Node 1 has another key. What the former one signed is there for who names it, and below what is
 * signed with the one of now; it is not what comes when nobody names anything. Without it in the
 * settings nothing of that is readable. */
static void test_former_key(void **state)
{
	struct world *w = *state;
	uint8_t before[HASH_BYTES], now[HASH_BYTES];
	char hex[HEX_LEN(HASH_BYTES) + 1];
	struct offline_snapshot found;
	struct restore_plan plan;

	take(w, false, before);
	backup_sites_change_signer(&w->sites, 1);
	open_offline(w);
	find(w, NULL, KLUIS_EVERIFY, false);
	assert_non_null(strstr(w->inv.err.text, "signed with a former key of node 1"));
	assert_int_equal(offline_find_newest(&w->inv, &w->offline, &found), KLUIS_ENOTFOUND);
	hex_encode(bytes_of(before, HASH_BYTES), hex);
	find(w, hex, 0, true);
	assert_int_equal(
		restore_plan(w->offline.repository, before, &w->offline.trust, &plan, NULL), 0);
	offline_release(&w->offline);
	take(w, false, now);
	assert_newest(w, now);
	key_pub_free(w->sites.trust.former[--w->sites.trust.n_former].pub);
	open_offline(w);
	assert_int_equal(restore_plan(w->offline.repository, now, &w->offline.trust, &plan, NULL),
		KLUIS_EVERIFY);
	offline_release(&w->offline);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_newest_by_index, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_newest_lineage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_lineage_before_its_time_jumps, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lineage_of_a_stranger, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_former_key, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* kluisctl restore, and snapshot verify of a directory: two snapshots of a small store, and what
 * two sites know of deletions. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/deletions.h"
#include "backup/restore.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/ops/offline.h"
#include "storage/cluster_store.h"
#include "storage/txn.h"
#include "tests/lib/capture.h"
#include "tests/unit/backup/lib/site.h"

extern const struct program ops_program;

enum { ROWS = 300, CHANGED = 200, VALUE_BYTES = 500, TEXT_BYTES = 1 << 16 };

struct world {
	struct backup_sites sites;
	struct kv *kv;
	struct position position;
	uint8_t hash[HASH_BYTES]; /* Of the newest manifest. */
	uint32_t cycle;
	char *settings;
	char text[TEXT_BYTES]; /* What the last run said. */
};

/* What a file system is said to have left; 0: what it has. */
static uint64_t said_free;
int __real_statvfs(const char *path, struct statvfs *st);
int __wrap_statvfs(const char *path, struct statvfs *st);

int __wrap_statvfs(const char *path, struct statvfs *st)
{
	int rv = __real_statvfs(path, st);

	if (rv == 0 && said_free != 0) {
		st->f_bavail = said_free;
		st->f_frsize = 1;
	}
	return rv;
}

/* --- a store, its snapshots, its settings ---------------------------------------------------- */

static void store(struct world *w, struct txn *txn)
{
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	txn_position(txn)->cluster_time_ms = 1790000000000ULL + w->position.index;
	assert_int_equal(txn_store(txn, NULL), 0);
	w->position = *txn_position(txn);
	txn_free(txn);
}

static struct txn *begin(struct world *w)
{
	struct txn *txn = txn_new(w->kv, &w->position);

	txn_entry_begin(txn, w->position.index + 1, 7);
	txn_command_begin(txn);
	return txn;
}

static void put_cluster(struct world *w)
{
	struct cluster_row row = {.created_ms = 1, .feature_level = 1};
	struct txn *txn = begin(w);

	memcpy(row.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(row.lineage, w->sites.lineage, ID_BYTES);
	cluster_store_put(txn, &row);
	store(w, txn);
}

static void put_rows(struct world *w, unsigned n)
{
	struct txn *txn = begin(w);
	uint8_t value[VALUE_BYTES];

	for (unsigned i = 0; i < n; i++) {
		struct row_key key = row_key_begin(KEY_BYTES);

		random_fill(&random_system, value, sizeof value);
		row_key_put_u64(&key, i);
		txn_put(txn, row_key_bytes(&key), bytes_of(value, sizeof value));
	}
	store(w, txn);
}

static void take(struct world *w, uint64_t from)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct snapshot_plan plan = {.full = from == 0,
		.cycle = ++w->cycle,
		.id = w->position.index,
		.from = from,
		.index = w->position.index,
		.term = w->position.term,
		.cluster_time_ms = w->position.cluster_time_ms,
		.node = 1};
	struct kv_view *view = kv_view_new(w->kv);
	struct err e = {0};

	memcpy(plan.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(plan.lineage, w->sites.lineage, ID_BYTES);
	memcpy(plan.base, w->hash, HASH_BYTES);
	if (snapshot_take(w->sites.repository[0], &plan, view, key_public(w->sites.backup_key),
		    w->sites.signer[0], NULL, &m, w->hash, &e) != 0) {
		fail_msg("%s", e.text);
	}
	kv_view_free(view);
}

static void put_settings(struct world *w, const char *data)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	buf_printf(&text, "[node]\nid = 1\n%s%s\n[cluster]\nrestore_key = pki/restore.pub\nid = ",
		data == NULL ? "" : "data = ", data == NULL ? "" : data);
	hex_append(&text, bytes_of(w->sites.cluster_id, ID_BYTES));
	buf_put_str(&text, "\n[backup]\nrepository = repository1\n");
	for (unsigned i = 0; i < w->sites.trust.n; i++) {
		const struct backup_trusted *node = &w->sites.trust.nodes[i];

		buf_printf(&text, "[site %s]\nid = %u\nbackup_key = ", node->site,
			(unsigned)node->node);
		hex_append(&text, key_pub_bytes(node->pub));
		buf_put_str(&text, "\n");
	}
	assert_int_equal(file_write(w->settings, buf_bytes(&text), 0600, NULL), 0);
}

/* kluisctl with these words; %D in front of a word is the world's directory. */
static int run(struct world *w, const char *const *words)
{
	char *argv[32] = {x_strdup("kluisctl"), x_strdup("--yes")};
	struct capture capture;
	int argc = 2, rc;

	for (; *words != NULL; words++) {
		assert_true(argc < 31);
		argv[argc++] = strncmp(*words, "%D", 2) == 0
				       ? x_asprintf("%s%s", w->sites.dir, *words + 2)
				       : x_strdup(*words);
	}
	capture_begin(&capture);
	rc = program_run(&ops_program, argc, argv);
	capture_end(&capture, w->text, sizeof w->text);
	for (int i = 0; i < argc; i++) {
		free(argv[i]);
	}
	return rc;
}
#define RUN(w, ...) run(w, (const char *const[]){__VA_ARGS__, NULL})

static void run_good(struct world *w, const char *const *words)
{
	int code = run(w, words);

	if (code != 0) {
		fail_msg("exit code %d: %s", code, w->text);
	}
}
#define RUN_GOOD(w, ...) run_good(w, (const char *const[]){__VA_ARGS__, NULL})

static void assert_said(const struct world *w, const char *text)
{
	if (strstr(w->text, text) == NULL) {
		fail_msg("not '%s': %s", text, w->text);
	}
}

/* As it stands in JSON, without its white space. */
static void assert_json(struct world *w, const char *text)
{
	char *to = w->text;

	for (const char *from = w->text; *from != 0; from++) {
		*to = *from;
		to += strchr(" \n", *from) == NULL;
	}
	*to = 0;
	assert_said(w, text);
}

static void assert_not_said(const struct world *w, const char *text)
{
	if (strstr(w->text, text) != NULL) {
		fail_msg("'%s': %s", text, w->text);
	}
}

/* What this node's journal, in that directory, knows to be deleted: vaults of these numbers. */
static void put_journal(
	struct world *w, unsigned node, const char *name, const uint8_t *vaults, size_t n)
{
	_cleanup_(x_freep) char *dir = x_asprintf("%s/%s", w->sites.dir, name);
	const struct deletion_journal_config config = {.dir = dir,
		.cluster_id = w->sites.cluster_id,
		.node = node,
		.signer = w->sites.signer[node - 1],
		.wall_ms = 1};
	struct deletion_batch batch = {
		.lineage = w->sites.lineage, .index = w->position.index + 10, .wall_ms = 2};
	struct deletion_journal *journal;
	struct deletion items[4];
	bool aside;

	assert_true(n <= ARRAY_SIZE(items));
	for (size_t i = 0; i < n; i++) {
		items[i] = (struct deletion){.kind = DELETION_VAULT,
			.index = w->position.index + 1 + i,
			.id = {vaults[i]}};
		memcpy(items[i].lineage, w->sites.lineage, ID_BYTES);
	}
	batch.items = items;
	batch.n = n;
	assert_int_equal(deletion_journal_open(&config, &journal, &aside, NULL), 0);
	assert_int_equal(deletion_journal_append(journal, &batch, NULL), 0);
	deletion_journal_free(journal);
}

static int set_up(void **state)
{
	const struct kv_options options = {.create = true};
	struct world *w = x_calloc(1, sizeof *w);
	_cleanup_(x_freep) char *dir = NULL;
	_cleanup_(x_freep) char *key = NULL;
	uint64_t full;

	*state = w;
	backup_sites_init(&w->sites, KEY_KEM_P256);
	dir = x_asprintf("%s/origin", w->sites.dir);
	key = x_asprintf("%s/backup.key", w->sites.dir);
	w->settings = x_asprintf("%s/kluisd.ini", w->sites.dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(kv_rocksdb_open(dir, &options, &w->kv, NULL), 0);
	put_cluster(w);
	put_rows(w, ROWS);
	take(w, 0);
	full = w->position.index;
	put_rows(w, CHANGED);
	take(w, full);
	assert_int_equal(backup_key_save(w->sites.backup_key, BACKUP_KEY_SEAL, key, NULL), 0);
	put_settings(w, "data");
	RUN_GOOD(w, "pki", "init", "--ec", "--dir", "%D/pki");
	put_journal(w, 1, "repository1/deletions", (const uint8_t[]){1}, 1);
	put_journal(w, 2, "other/deletions", (const uint8_t[]){1, 2}, 2);
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	fault_disarm();
	kv_close(w->kv);
	backup_sites_release(&w->sites);
	free(w->settings);
	free(w);
	return 0;
}

/* --- restore cluster ------------------------------------------------------------------------- */

#define RESTORE_WORDS                                                                        \
	"restore", "cluster", "-c", "%D/kluisd.ini", "-k", "%D/backup.key", "--restore-key", \
		"%D/pki/restore.key", "--record", "%D/record", "-o", "json"
#define RESTORE(w, ...)	     RUN(w, RESTORE_WORDS, __VA_ARGS__)
#define RESTORE_GOOD(w, ...) RUN_GOOD(w, RESTORE_WORDS, __VA_ARGS__)

static bool is_there(const struct world *w, const char *name)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", w->sites.dir, name);

	return file_exists(path);
}

static struct buf read_record(const struct world *w)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/record", w->sites.dir);
	struct buf record = BUF_INIT;

	assert_int_equal(file_read(path, 1 << 20, &record, NULL), 0);
	return record;
}

/* The first node's run is cut off behind its record: the same command ends it, by that record. At
 * another node --deletions may stand there, too, as long as it says nothing that the record lacks.
 */
static void test_interrupted_with_deletions(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf first = BUF_INIT, then = BUF_INIT;

	fault_arm("backup.restore.row", 1, false);
	assert_int_not_equal(RESTORE(w, "--deletions", "%D/other"), 0);
	fault_disarm();
	assert_false(is_there(w, "data/db"));
	first = read_record(w);
	RESTORE_GOOD(w, "--deletions", "%D/other");
	assert_true(is_there(w, "data/db"));
	then = read_record(w);
	assert_true(bytes_equal(buf_bytes(&first), buf_bytes(&then)));
	put_settings(w, "second");
	RESTORE_GOOD(w, "--deletions", "%D/other/deletions/");
	put_settings(w, "third");
	RESTORE_GOOD(w, "-q");
	assert_true(is_there(w, "second/db") && is_there(w, "third/db"));
}

static void test_other_deletions(void **state)
{
	struct world *w = *state;

	put_journal(w, 3, "more/deletions", (const uint8_t[]){1, 2, 3, 4}, 4);
	put_journal(w, 3, "less/deletions", (const uint8_t[]){2}, 1);
	RESTORE_GOOD(w, "--deletions", "%D/other");
	put_settings(w, "second");
	assert_int_equal(RESTORE(w, "--deletions", "%D/more"), 2);
	assert_said(w, "2 deletions that the journals know of are not in the record");
	assert_int_equal(RESTORE(w, "--deletions", "%D/none"), 10);
	assert_false(is_there(w, "second"));
	RESTORE_GOOD(w, "--deletions", "%D/less");
	assert_true(is_there(w, "second/db"));
}

/* The record is of the point before: that is what is said, whatever --deletions says. */
static void test_record_of_another_point(void **state)
{
	struct world *w = *state;

	RESTORE_GOOD(w, "--deletions", "%D/other");
	put_rows(w, 1);
	take(w, w->position.index - 1);
	put_settings(w, "second");
	assert_int_equal(RESTORE(w, "--deletions", "%D/other"), 14);
	assert_said(w, "for another snapshot");
}

/* --- restore plan ---------------------------------------------------------------------------- */

#define PLAN(w, ...) \
	RUN_GOOD(w, "restore", "plan", "-c", "%D/kluisd.ini", "-o", "json", __VA_ARGS__)

static uint64_t number(const struct world *w, const char *key)
{
	_cleanup_(x_freep) char *name = x_asprintf("\"%s\":", key);
	const char *at = strstr(w->text, name);

	assert_non_null(at);
	return strtoull(at + strlen(name), NULL, 10);
}

/* Without the key: between what the newest snapshot has and what all of the chain have. With it:
 * what a restore then writes. */
static void test_plan_bytes(void **state)
{
	struct world *w = *state;
	struct restore_plan plan;
	uint64_t exact;

	assert_int_equal(
		restore_plan(w->sites.repository[0], w->hash, &w->sites.trust, &plan, NULL), 0);
	PLAN(w, "-q");
	assert_int_equal(number(w, "value_bytes"), plan.value_bytes);
	assert_int_equal(number(w, "least_value_bytes"), plan.least_value_bytes);
	PLAN(w, "-q", "-k", "%D/backup.key");
	exact = number(w, "value_bytes");
	assert_int_equal(number(w, "least_value_bytes"), exact);
	assert_in_range(exact, ROWS * VALUE_BYTES, plan.value_bytes - CHANGED * VALUE_BYTES);
	assert_in_range(plan.least_value_bytes, CHANGED * VALUE_BYTES, exact - 1);
	RESTORE_GOOD(w, "-q");
	assert_int_equal(number(w, "written"), exact);
}

static void test_plan_room(void **state)
{
	static const char none[] = "there is not enough room",
			  perhaps[] = "there may be not enough";
	struct world *w = *state;
	struct restore_plan plan;

	assert_int_equal(
		restore_plan(w->sites.repository[0], w->hash, &w->sites.trust, &plan, NULL), 0);
	said_free = plan.least_value_bytes - 1;
	PLAN(w, "-y");
	assert_said(w, none);
	said_free = plan.value_bytes - 1;
	PLAN(w, "-y");
	assert_said(w, perhaps);
	PLAN(w, "-k", "%D/backup.key"); /* It is enough: that much is counted. */
	assert_not_said(w, "enough");
	said_free = plan.value_bytes;
	PLAN(w, "-y");
	assert_not_said(w, "enough");
	said_free = ROWS * VALUE_BYTES - 1;
	PLAN(w, "-k", "%D/backup.key");
	assert_said(w, none);
	said_free = 0;
}

/* --- snapshot verify ------------------------------------------------------------------------- */

#define VERIFY(w, level, ...) \
	RUN(w, "snapshot", "verify", "3", "-c", "%D/kluisd.ini", "-l", level, __VA_ARGS__)

static void flip_object(struct world *w)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(x_freep) char *path = NULL;
	char hex[HEX_LEN(HASH_BYTES) + 1];

	assert_int_equal(
		point_manifest(w->sites.repository[0], w->hash, &w->sites.trust, &m, NULL), 0);
	hex_encode(bytes_of(m.objects[0].hash, HASH_BYTES), hex);
	path = x_asprintf("%s/objects/%.2s/%s", repository_path(w->sites.repository[0]), hex, hex);
	assert_int_equal(chmod(path, 0600), 0);
	backup_flip(path, 100);
}

/* A level that fails is the one that was asked for, and those below it are what it passed. */
static void test_verify_says_the_level(void **state)
{
	struct world *w = *state;

	assert_int_equal(VERIFY(w, "2", "-o", "json"), 0);
	assert_int_equal(number(w, "level"), 2);
	assert_json(w, "\"passed\":[1,2]");
	flip_object(w);
	assert_int_equal(VERIFY(w, "2", "-o", "json"), 14);
	assert_int_equal(number(w, "level"), 2);
	assert_json(w, "\"ok\":false,\"passed\":[1],");
	assert_said(w, "\"text\":\"level2:object");
	assert_int_equal(VERIFY(w, "2", "-y"), 14);
	assert_said(w, "Level asked for");
	assert_said(w, "Levels that it passed");
	assert_int_equal(VERIFY(w, "1", "-y"), 0);
}

static void assert_sorts_in(struct world *w, const char *dir)
{
	_cleanup_(x_freep) char *said = x_asprintf("a sort file in '%s'", dir);

	fault_arm("backup.sort.", 1, true);
	assert_int_not_equal(VERIFY(w, "3", "-k", "%D/backup.key"), 0);
	fault_disarm();
	assert_said(w, said);
}

/* Who may write neither there nor there. */
static int sort_as_nobody(const struct offline *o)
{
	_cleanup_(x_freep) char *scratch = NULL;
	_cleanup_(x_freep) char *otherwise = NULL;

	if ((geteuid() == 0 && setuid(65534) != 0) || setenv("TMPDIR", "/elsewhere", 1) != 0) {
		return 1;
	}
	scratch = offline_scratch(o);
	(void)unsetenv("TMPDIR"); /* It was set. */
	otherwise = offline_scratch(o);
	return strcmp(scratch, "/elsewhere") == 0 && strcmp(otherwise, "/tmp") == 0 ? 0 : 2;
}

/* Where the data is or will be, else in the repository, else where TMPDIR says. */
static void test_verify_sorts_beside_the_data(void **state)
{
	struct world *w = *state;
	const char *repository = repository_path(w->sites.repository[0]);
	static const struct command_option option = {"config", 'c', "FILE", ""};
	struct invocation inv = {.values = {{&option, w->settings}}, .n_values = 1};
	struct offline o;
	int status;
	pid_t pid;

	assert_sorts_in(w, w->sites.dir);
	put_settings(w, NULL);
	assert_sorts_in(w, repository);
#ifdef __SANITIZE_THREAD__
	skip(); /* It cannot follow the fork of a process that had threads. */
#endif
	assert_int_equal(offline_open(&inv, &o), 0);
	assert_int_equal(chmod(repository, 0500), 0);
	pid = fork();
	if (pid == 0) {
		_exit(sort_as_nobody(&o));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(chmod(repository, 0700), 0);
	offline_release(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_interrupted_with_deletions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_deletions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_record_of_another_point, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_plan_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_plan_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_verify_says_the_level, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_verify_sorts_beside_the_data, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

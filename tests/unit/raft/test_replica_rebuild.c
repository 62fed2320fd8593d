/* Whole nodes whose store is lost, damaged or another than the others': it is made anew from a
 * peer, under the node's old id and behind its old log. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/key_codec.h"
#include "storage/kv.h"
#include "tests/lib/fixture/client.h"
#include "tests/lib/fixture/forget.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum { TIMEOUT_MS = 60000, VICTIM = 2 };

static void run(struct replica_rig *rig, unsigned node, const struct command *command)
{
	struct buf bytes = BUF_INIT;

	command_encode(command, &bytes);
	assert_int_equal(replica_rig_propose(rig, node, &bytes, TIMEOUT_MS, NULL), 0);
}

static unsigned number; /* Of the newest account. */

static void write_some(struct replica_rig *rig, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct command command = {.type = COMMAND_SERVICE_CREATE};
		char name[16];

		(void)snprintf(name, sizeof name, "a%u", ++number);
		command.service_create.actor = bytes_str("op");
		command.service_create.name = bytes_str(name);
		memcpy(command.service_create.enrol_hash, &number, sizeof number);
		run(rig, 0, &command);
	}
}

static void begin(struct replica_rig *rig)
{
	struct buf bytes = BUF_INIT;

	replica_rig_init(rig, 3, 3);
	replica_rig_start_all(rig);
	(void)replica_rig_leader(rig);
	fixture_cluster_init(&bytes, 3);
	assert_int_equal(replica_rig_propose(rig, 0, &bytes, TIMEOUT_MS, NULL), 0);
	for (uint64_t node = 1; node <= 3; node++) {
		struct command command = {.type = COMMAND_NODE_ANNOUNCE};

		command.node_announce.node = node;
		command.node_announce.feature_level = FEATURE_LEVEL;
		command.node_announce.site = command.node_announce.version = bytes_str("s");
		run(rig, 0, &command);
	}
	write_some(rig, 10);
}

static void give_up(struct replica_rig *rig, int rc)
{
	_cleanup_(x_freep) char *data = replica_rig_path(rig, VICTIM, "data");
	struct err e = {0};

	assert_int_equal(replica_give_up_store(data, VICTIM + 1, &e), rc);
}

static void wait_rebuilt(struct replica_rig *rig)
{
	for (unsigned waited = 0; replica_rig_status(rig, VICTIM).quarantined ||
				  replica_rig_status(rig, VICTIM).rebuilding;
		waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(rig, 20);
	}
}

static bool exists(struct replica_rig *rig, const char *name)
{
	_cleanup_(x_freep) char *path = replica_rig_path(rig, VICTIM, name);

	return file_exists(path);
}

static void damage_store(struct replica_rig *rig)
{
	_cleanup_(x_freep) char *path = replica_rig_path(rig, VICTIM, "data/db/CURRENT");

	assert_int_equal(file_write(path, bytes_str("nonsense\n"), 0600, NULL), 0);
}

static void test_a_damaged_store_is_made_anew(void **state)
{
	_cleanup_(x_freep) char *vote = NULL;
	_cleanup_(buf_release) struct buf before = BUF_INIT, after = BUF_INIT;
	struct replica_status status;
	struct replica_rig rig;
	struct err e = {0};

	(void)state;
	begin(&rig);
	give_up(&rig, KLUIS_EBUSY); /* It runs. */
	assert_false(exists(&rig, "data/rebuild"));
	replica_rig_converge(&rig);
	replica_rig_stop(&rig, VICTIM, 0);
	damage_store(&rig);
	write_some(&rig, 5);
	assert_int_equal(replica_rig_try_start(&rig, VICTIM, &e), KLUIS_ECORRUPT);
	assert_non_null(strstr(e.text, "kluisd rebuild"));
	vote = replica_rig_path(&rig, VICTIM, "data/log/vote");
	assert_int_equal(file_read(vote, 1 << 16, &before, NULL), 0);
	give_up(&rig, 0);
	assert_int_equal(file_read(vote, 1 << 16, &after, NULL), 0);
	assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
	replica_rig_start(&rig, VICTIM);
	assert_true(replica_rig_status(&rig, VICTIM).quarantined); /* Shows nothing to anybody. */
	wait_rebuilt(&rig);
	write_some(&rig, 5);
	replica_rig_converge(&rig);
	status = replica_rig_status(&rig, VICTIM);
	assert_int_equal(status.first_index, 1); /* The log is the one that it was. */
	assert_false(exists(&rig, "data/rebuild") || exists(&rig, "data/replacement"));
	/* And once more from what is on disk. */
	replica_rig_stop(&rig, VICTIM, 0);
	replica_rig_start(&rig, VICTIM);
	assert_false(replica_rig_status(&rig, VICTIM).quarantined);
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

/* Stopped before anything came: it is still without data. */
static void test_a_rebuild_goes_on_after_a_restart(void **state)
{
	struct replica_rig rig;

	(void)state;
	begin(&rig);
	replica_rig_stop(&rig, VICTIM, 0);
	give_up(&rig, 0);
	give_up(&rig, 0);
	replica_rig_stop(&rig, 0, 0);
	replica_rig_stop(&rig, 1, 0);
	replica_rig_start(&rig, VICTIM);
	replica_rig_run(&rig, 300);
	assert_true(replica_rig_status(&rig, VICTIM).rebuilding);
	replica_rig_stop(&rig, VICTIM, 0);
	assert_true(exists(&rig, "data/rebuild"));
	replica_rig_start_all(&rig);
	wait_rebuilt(&rig);
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

/* Without its log or its vote a node has forgotten what it promised: no way back under its id. */
static void test_no_rebuild_without_the_promises(void **state)
{
	static const char *const names[] = {"data/log/vote", "data/log/state", "data/peers"};
	struct replica_rig rig;

	(void)state;
	begin(&rig);
	replica_rig_stop(&rig, VICTIM, 0);
	for (unsigned i = 0; i < 3; i++) {
		_cleanup_(x_freep) char *path = replica_rig_path(&rig, VICTIM, names[i]);
		_cleanup_(buf_release) struct buf whole = BUF_INIT;

		assert_int_equal(file_read(path, 1 << 20, &whole, NULL), 0);
		assert_int_equal(unlink(path), 0);
		give_up(&rig, KLUIS_ECORRUPT);
		assert_int_equal(truncate(path, 0), -1);
		assert_int_equal(file_write(path, bytes_str("x"), 0600, NULL), 0);
		give_up(&rig, KLUIS_ECORRUPT);
		assert_false(exists(&rig, "data/rebuild"));
		assert_true(exists(&rig, "data/db/CURRENT"));
		assert_int_equal(file_write(path, buf_bytes(&whole), 0600, NULL), 0);
	}
	replica_rig_start(&rig, VICTIM);
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

/* What a crash leaves behind the point of no return: the store not yet moved, moved, and all but
 * the directory done. */
static void test_a_replacement_cut_short_is_ended(void **state)
{
	struct replica_rig rig;

	(void)state;
	begin(&rig);
	for (unsigned stage = 0; stage < 3; stage++) {
		_cleanup_(x_freep) char *db = replica_rig_path(&rig, VICTIM, "data/db");
		_cleanup_(x_freep) char *marker = replica_rig_path(&rig, VICTIM, "data/rebuild");
		_cleanup_(x_freep) char *top = replica_rig_path(&rig, VICTIM, "data/replacement");
		_cleanup_(x_freep) char *to = replica_rig_path(&rig, VICTIM, "data/replacement/db");

		replica_rig_converge(&rig);
		replica_rig_stop(&rig, VICTIM, 0);
		assert_int_equal(file_make_dirs(top, 0700, NULL), 0);
		if (stage < 2) {
			assert_int_equal(file_write(marker, bytes_str("KRB1"), 0600, NULL), 0);
		}
		if (stage == 0) {
			/* Beside it lies what it replaces. */
			assert_int_equal(rename(db, to), 0);
			assert_int_equal(file_make_dirs(db, 0700, NULL), 0);
			damage_store(&rig);
		}
		write_some(&rig, 3);
		replica_rig_start(&rig, VICTIM);
		assert_false(replica_rig_status(&rig, VICTIM).quarantined);
		assert_false(exists(&rig, "data/rebuild") || exists(&rig, "data/replacement"));
	}
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

/* One whose state differs is found, rebuilt and judged again without anybody's help. */
static void test_one_that_differs_is_rebuilt(void **state)
{
	_cleanup_(x_freep) char *db = NULL;
	struct replica_rig rig;
	struct kv_options options = {.create = false};
	struct kv *kv;

	(void)state;
	begin(&rig);
	replica_rig_converge(&rig); /* It has what it is to forget. */
	replica_rig_stop(&rig, VICTIM, 0);
	db = replica_rig_path(&rig, VICTIM, "data/db");
	assert_int_equal(kv_rocksdb_open(db, &options, &kv, NULL), 0);
	assert_true(fixture_forget_rows(kv, KEY_ACCOUNT) > 0);
	kv_close(kv);
	replica_rig_start(&rig, VICTIM);
	write_some(&rig, 1);
	for (unsigned i = 2; i < 5; i++) { /* Names that only the others know. */
		struct command command = {.type = COMMAND_SERVICE_DISABLE};
		char name[16];

		(void)snprintf(name, sizeof name, "a%u", number - i);
		command.service_disable.actor = bytes_str("op");
		command.service_disable.name = bytes_str(name);
		run(&rig, 0, &command);
	}
	for (unsigned waited = 0; !replica_rig_status(&rig, VICTIM).quarantined; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&rig, 20);
	}
	wait_rebuilt(&rig);
	write_some(&rig, 3);
	replica_rig_converge(&rig);
	assert_false(replica_rig_status(&rig, VICTIM).quarantined);
	replica_rig_release(&rig);
}

/* --- found out while it runs --- */

/* Which directory the store is; 0 while it is gone and the other one not yet in its place. */
static ino_t store_inode(struct replica_rig *rig)
{
	_cleanup_(x_freep) char *db = replica_rig_path(rig, VICTIM, "data/db");
	struct stat st;

	return stat(db, &st) == 0 ? st.st_ino : 0;
}

static void doubt(struct replica_rig *rig, unsigned node)
{
	struct kv *kv;

	assert_int_equal(replica_read_begin(rig->node[node], &kv), 0);
	replica_doubt(rig->node[node], "a block");
	replica_doubt(rig->node[node], "another block");
	replica_read_end(rig->node[node]);
}

static bool store_is_another(struct replica_rig *rig, ino_t before)
{
	ino_t now = store_inode(rig);

	return now != 0 && now != before;
}

static void wait_replaced(struct replica_rig *rig, ino_t before)
{
	for (unsigned waited = 0;
		!store_is_another(rig, before) || replica_rig_status(rig, VICTIM).damage[0] != 0 ||
		replica_rig_status(rig, VICTIM).quarantined;
		waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(rig, 20);
	}
}

/* A reader met damage: the others agree with each other and not with it, so that it is rebuilt. */
static void test_one_in_doubt_is_rebuilt(void **state)
{
	struct replica_rig rig;
	ino_t before;

	(void)state;
	begin(&rig);
	replica_rig_converge(&rig);
	before = store_inode(&rig);
	doubt(&rig, VICTIM);
	for (unsigned waited = 0; replica_rig_status(&rig, VICTIM).damage[0] == 0; waited += 20) {
		assert_true(waited < RIG_WAIT_MS);
		replica_rig_run(&rig, 20);
	}
	assert_string_equal(replica_rig_status(&rig, VICTIM).damage, "a block");
	wait_replaced(&rig, before);
	write_some(&rig, 3);
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

/* More than a majority can do without: nobody is shut, what can be read is shown, and it ends when
 * one of them has another store. */
static void test_too_many_in_doubt_go_on(void **state)
{
	struct replica_rig rig;

	(void)state;
	begin(&rig);
	replica_rig_converge(&rig);
	doubt(&rig, VICTIM);
	doubt(&rig, 0);
	for (unsigned i = 0; i < 2; i++) { /* Busy, idle, and reports, twice. */
		write_some(&rig, 1);
		replica_rig_run(&rig, HASH_REPORT_IDLE_MS + 500);
		for (unsigned node = 0; node < 3; node++) {
			assert_false(replica_rig_status(&rig, node).quarantined);
			assert_true((replica_rig_status(&rig, node).damage[0] != 0) == (node != 1));
		}
	}
	replica_rig_stop(&rig, 0, 0); /* It knows of no damage any more: that was in memory. */
	replica_rig_start(&rig, 0);
	write_some(&rig, 1);
	wait_replaced(&rig, 0);
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

/* Flips a bit where the tables first say one of the accounts number - from down to number - to: one
 * key in sixteen stands there in full, the others without what they share with the one before.
 * Whatever else is in that block cannot be read any more, the others can. */
static uint8_t *first_of(struct buf *bytes, unsigned from, unsigned to)
{
	uint8_t *first = NULL;

	for (unsigned i = from; i > to; i--) {
		char key[16];
		size_t len = (size_t)snprintf(key, sizeof key,
			"\x10"
			"a%u",
			number - i);
		uint8_t *at = memmem(bytes->data, bytes->len, key, len);

		first = at != NULL && (first == NULL || at < first) ? at : first;
	}
	return first;
}

static void spoil_accounts(struct replica_rig *rig, unsigned from, unsigned to)
{
	_cleanup_(x_freep) char *db = replica_rig_path(rig, VICTIM, "data/db");
	DIR *dir = opendir(db);
	const struct dirent *entry;
	unsigned spoiled = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%s", db, entry->d_name);
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		size_t len = strlen(entry->d_name);
		uint8_t *at;

		if (len < 4 || strcmp(entry->d_name + len - 4, ".sst") != 0) {
			continue;
		}
		assert_int_equal(file_read(path, 64 << 20, &bytes, NULL), 0);
		at = first_of(&bytes, from, to);
		if (at != NULL) {
			*at ^= 0x10;
			assert_int_equal(file_write(path, buf_bytes(&bytes), 0600, NULL), 0);
			spoiled++;
		}
	}
	(void)closedir(dir);
	assert_true(spoiled > 0);
}

/* What the state machine needs cannot be read: it applies nothing more, lives on as a voter, and
 * goes on with a peer's store. */
static void test_damage_that_the_state_machine_meets(void **state)
{
	struct replica_rig rig;
	char name[16];
	ino_t before;

	(void)state;
	begin(&rig);
	write_some(&rig, 1200); /* So many that one lies far from what is read at the start. */
	replica_rig_converge(&rig);
	replica_rig_stop(&rig, VICTIM, 0); /* Closing the store writes it out. */
	before = store_inode(&rig);
	spoil_accounts(&rig, 610, 590);
	replica_rig_start(&rig, VICTIM);
	for (unsigned i = 610; i > 590; i--) {
		struct command command = {.type = COMMAND_SERVICE_DISABLE};

		(void)snprintf(name, sizeof name, "a%u", number - i);
		command.service_disable.actor = bytes_str("op");
		command.service_disable.name = bytes_str(name);
		run(&rig, 0, &command);
	}
	wait_replaced(&rig, before);
	write_some(&rig, 3);
	replica_rig_converge(&rig);
	replica_rig_stop(&rig, VICTIM, 0);
	replica_rig_start(&rig, VICTIM);
	replica_rig_converge(&rig);
	replica_rig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_damaged_store_is_made_anew),
		cmocka_unit_test(test_a_rebuild_goes_on_after_a_restart),
		cmocka_unit_test(test_no_rebuild_without_the_promises),
		cmocka_unit_test(test_a_replacement_cut_short_is_ended),
		cmocka_unit_test(test_one_that_differs_is_rebuilt),
		cmocka_unit_test(test_one_in_doubt_is_rebuilt),
		cmocka_unit_test(test_too_many_in_doubt_go_on),
		cmocka_unit_test(test_damage_that_the_state_machine_meets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

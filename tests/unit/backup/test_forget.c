/* What a site forgets beside what retention says of the points: copies of its former number,
 * objects that nothing names, and what the log has disowned. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/receive.h"
#include "base/clock.h"
#include "base/text.h"
#include "tests/unit/backup/lib/site.h"

struct world {
	struct backup_sites sites;
	struct backup_model model;
	struct repository *repository;
	struct backup_manifest cycle; /* The newest. */
	uint8_t cycle_hash[HASH_BYTES];
	struct snapshot_row record; /* Of it. */
	struct receive_config receiver;
};

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	backup_sites_init(&w->sites, KEY_KEM_X25519);
	backup_model_init(&w->model, 5);
	w->repository = w->sites.repository[0];
	for (unsigned i = 0; i < 3; i++) {
		backup_model_change(&w->model, 50, 60, 200);
		backup_model_snapshot(&w->model, &w->sites, 1, false, w->cycle_hash);
	}
	assert_int_equal(
		point_manifest(w->repository, w->cycle_hash, &w->sites.trust, &w->cycle, NULL), 0);
	w->record = backup_record(&w->cycle, w->cycle_hash);
	w->record.state = SNAPSHOT_CONFIRMED;
	w->receiver = (struct receive_config){.repository = w->repository,
		.trust = &w->sites.trust,
		.signer = w->sites.signer[0],
		.node = 1,
		.records = &w->record,
		.n_records = 1};
	memcpy(w->receiver.cluster_id, w->sites.cluster_id, ID_BYTES);
	memcpy(w->receiver.lineage, w->sites.lineage, ID_BYTES);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	backup_manifest_release(&w->cycle);
	backup_model_release(&w->model);
	backup_sites_release(&w->sites);
	free(w);
	return 0;
}

static unsigned pruned_now(struct world *w)
{
	unsigned pruned = 99;

	assert_int_equal(receive_prune(&w->receiver, clock_wall_ms(&clock_system),
				 &retention_default, &pruned, NULL),
		0);
	return pruned;
}

static size_t manifests(struct world *w)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	size_t n = 0;

	assert_int_equal(repository_list(w->repository, &names, &n, NULL, NULL), 0);
	return n;
}

static void make_old(struct world *w, const char *below)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", repository_path(w->repository), below);
	struct timespec month_ago = {
		.tv_sec = (time_t)(clock_wall_ms(&clock_system) / 1000) - 30 * 86400};
	const struct timespec times[2] = {month_ago, month_ago};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void take_manual(struct world *w, uint8_t ret_hash[HASH_BYTES])
{
	backup_model_change(&w->model, 5, 60, 200);
	backup_model_snapshot(&w->model, &w->sites, 1, true, ret_hash);
}

/* Of a site that took it under another number, and has no receipt of its own: by the file's age, if
 * that was written before the node began to run. */
static void test_another_number(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *below = NULL;
	char text[MANIFEST_NAME_BYTES];
	struct manifest_name name;
	uint8_t hash[HASH_BYTES];

	take_manual(w, hash);
	assert_int_equal(repository_find(w->repository, hash, &name, NULL), 0);
	manifest_name_format(&name, text);
	below = x_asprintf("manifests/%s", text);
	w->receiver.node = 7;
	w->receiver.written_ms = clock_wall_ms(&clock_system);
	assert_int_equal(pruned_now(w), 0);
	make_old(w, below);
	w->receiver.written_ms = 1;
	assert_int_equal(pruned_now(w), 0);
	w->receiver.written_ms = clock_wall_ms(&clock_system);
	assert_int_equal(pruned_now(w), 1);
	assert_int_equal(repository_find(w->repository, hash, &name, NULL), KLUIS_ENOTFOUND);
}

/* While a snapshot is taken the objects that nothing names may be its own, whatever the clock says
 * of them. */
static void test_beside_a_taker(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *below = NULL;
	char hex[HEX_LEN(HASH_BYTES) + 1];
	struct repository_file *file = NULL;
	uint8_t hash[HASH_BYTES];
	uint64_t bytes;
	int fd = -1;

	memset(hash, 7, sizeof hash);
	hex_encode(bytes_of(hash, sizeof hash), hex);
	below = x_asprintf("objects/07/%s", hex);
	assert_int_equal(repository_file_new(w->repository, &file, NULL), 0);
	assert_int_equal(repository_publish_object(file, hash, NULL), 0);
	make_old(w, below);
	w->receiver.taking = true;
	assert_int_equal(pruned_now(w), 0);
	assert_int_equal(repository_open_object(w->repository, hash, &fd, &bytes, NULL), 0);
	assert_int_equal(close(fd), 0);
	w->receiver.taking = false;
	assert_int_equal(pruned_now(w), 0);
	assert_int_equal(
		repository_open_object(w->repository, hash, &fd, &bytes, NULL), KLUIS_ENOTFOUND);
}

/* --- what the log has disowned --------------------------------------------------------------- */

static void take_journal(struct world *w, uint32_t number, uint8_t ret_hash[HASH_BYTES])
{
	backup_model_change(&w->model, 5, 60, 200);
	backup_model_journal(&w->model, &w->sites, 1, number, &w->cycle, w->cycle_hash, ret_hash);
}

static void say_failed(struct world *w, const char *error)
{
	w->record.state = SNAPSHOT_FAILED;
	(void)snprintf(w->record.error, sizeof w->record.error, "%s", error); /* Fits. */
}

/* A cycle goes at once, with the journal and the manual one on it, and not what it was taken
 * against. */
static void test_disowned(void **state)
{
	struct world *w = *state;
	uint8_t hash[HASH_BYTES];

	for (uint32_t number = 1; number <= 3; number++) {
		take_journal(w, number, hash);
	}
	take_manual(w, hash);
	assert_int_equal(manifests(w), 3 + 3 + 1);
	say_failed(w, "the disk is full");
	assert_int_equal(pruned_now(w), 0);
	say_failed(w, SNAPSHOT_BASE_DISOWNED);
	w->receiver.lineage[0] ^= 1; /* Of another lineage the log knows nothing. */
	assert_int_equal(pruned_now(w), 0);
	w->receiver.lineage[0] ^= 1;
	assert_int_equal(pruned_now(w), 5);
	assert_int_equal(manifests(w), 2);
	assert_int_equal(pruned_now(w), 0);
}

/* A taker can make a record of its own that names another one's manifest, and have it fail: neither
 * that nor what is built on it goes. */
static void test_disowned_by_another(void **state)
{
	struct world *w = *state;
	uint8_t hash[HASH_BYTES];
	struct snapshot_row good;

	take_journal(w, 1, hash);
	say_failed(w, SNAPSHOT_DISOWNED);
	good = w->record;
	w->record.id++;
	assert_int_equal(pruned_now(w), 0);
	w->record = good;
	w->record.node++;
	assert_int_equal(pruned_now(w), 0);
	w->record = good;
	w->record.index++;
	assert_int_equal(pruned_now(w), 0);
	w->record = good;
	w->record.manifest_hash[0] ^= 1;
	assert_int_equal(pruned_now(w), 0);
	w->record = good;
	assert_int_equal(pruned_now(w), 2);
}

/* The taker ends only then what it had begun against it. */
static void test_disowned_late(void **state)
{
	struct world *w = *state;
	uint8_t hash[HASH_BYTES];

	say_failed(w, SNAPSHOT_DISOWNED);
	assert_int_equal(pruned_now(w), 1);
	take_journal(w, 1, hash);
	assert_int_equal(manifests(w), 3);
	w->record.index++;
	assert_int_equal(pruned_now(w), 0);
	w->record.index--;
	assert_int_equal(pruned_now(w), 1);
}

/* One byte of what is built on it says that it is not: nothing is set aside by what that says. */
static void test_disowned_beside_damage(void **state)
{
	enum { BASE_AT = 72 };
	struct world *w = *state;
	uint8_t hash[HASH_BYTES];
	unsigned pruned = 77;

	take_journal(w, 1, hash);
	say_failed(w, SNAPSHOT_DISOWNED);
	backup_flip_manifest(w->repository, hash, BASE_AT);
	assert_int_equal(receive_prune(&w->receiver, clock_wall_ms(&clock_system),
				 &retention_default, &pruned, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(pruned, 77);
	assert_int_equal(manifests(w), 3 + 1);
	backup_flip_manifest(w->repository, hash, BASE_AT);
	assert_int_equal(pruned_now(w), 2);
}

/* A record that is not marked yet names nothing, as a full snapshot's base does. Neither is the
 * other one: with it would go the first of all snapshots, and all that was built on it. */
static void test_disowned_unmarked(void **state)
{
	struct world *w = *state;
	struct snapshot_row records[2] = {w->record, {.id = w->record.id + 1, .node = 2}};
	uint8_t hash[HASH_BYTES];

	take_manual(w, hash);
	records[1].kind = SNAPSHOT_INCREMENT;
	records[1].state = SNAPSHOT_FAILED;
	w->receiver.records = records;
	w->receiver.n_records = ARRAY_SIZE(records);
	memcpy(records[1].error, SNAPSHOT_DISOWNED, sizeof SNAPSHOT_DISOWNED);
	assert_int_equal(pruned_now(w), 0);
	memcpy(records[1].error, SNAPSHOT_BASE_DISOWNED, sizeof SNAPSHOT_BASE_DISOWNED);
	assert_int_equal(pruned_now(w), 0);
	/* The one that it was claimed behind is, and what is built on that. */
	say_failed(w, SNAPSHOT_DISOWNED);
	records[0] = w->record;
	assert_int_equal(pruned_now(w), 2);
	assert_int_equal(manifests(w), 2);
}

static void forget_manifest(struct world *w, const uint8_t hash[HASH_BYTES])
{
	struct manifest_name name;
	uint64_t freed;

	assert_int_equal(repository_find(w->repository, hash, &name, NULL), 0);
	assert_int_equal(repository_prune(w->repository, &name, 1, clock_wall_ms(&clock_system),
				 BACKUP_LEFTOVER_MS, &freed, NULL),
		0);
}

/* Another node's record names what this site has let go, with a root that the majority has not: the
 * log disowns that record, and not the cycle behind it. */
static void test_disowned_below(void **state)
{
	struct world *w = *state;
	struct snapshot_row records[2] = {w->record, w->record};
	uint8_t hash[HASH_BYTES];

	take_journal(w, 1, hash);
	forget_manifest(w, w->cycle.base);
	say_failed(w, SNAPSHOT_DISOWNED);
	records[1] = w->record;
	records[1].node++;
	records[1].index = w->cycle.from;
	memcpy(records[1].manifest_hash, w->cycle.base, HASH_BYTES);
	w->receiver.records = records;
	w->receiver.n_records = ARRAY_SIZE(records);
	assert_int_equal(pruned_now(w), 0);
	records[0].kind = SNAPSHOT_MANUAL; /* Of these the log fails none with its base. */
	assert_int_equal(pruned_now(w), 2);
}

/* The same, where what is built on it has no record of its own: its own record stands. */
static void test_disowned_by_one_of_two(void **state)
{
	struct world *w = *state;
	struct snapshot_row records[2] = {w->record, w->record};
	uint8_t hash[HASH_BYTES];

	take_journal(w, 1, hash);
	forget_manifest(w, w->cycle_hash);
	say_failed(w, SNAPSHOT_DISOWNED);
	records[1] = w->record;
	records[1].node++;
	w->receiver.records = records;
	w->receiver.n_records = ARRAY_SIZE(records);
	assert_int_equal(pruned_now(w), 0);
	records[0] = w->record;
	assert_int_equal(pruned_now(w), 1);
}

/* Others' words that hold those words are not the log's. */
static void test_disowned_in_words(void **state)
{
	struct world *w = *state;

	say_failed(w, "node 4: " SNAPSHOT_DISOWNED);
	assert_int_equal(pruned_now(w), 0);
	say_failed(w, SNAPSHOT_DISOWNED ", they say");
	assert_int_equal(pruned_now(w), 0);
	say_failed(w, SNAPSHOT_DISOWNED);
	assert_int_equal(pruned_now(w), 1);
}

static void make_objects_old(struct world *w)
{
	for (unsigned i = 0; i < w->cycle.n_index + w->cycle.n_packs; i++) {
		_cleanup_(x_freep) char *below = NULL;
		char hex[HEX_LEN(HASH_BYTES) + 1];

		hex_encode(bytes_of(w->cycle.objects[i].hash, HASH_BYTES), hex);
		below = x_asprintf("objects/%.2s/%s", hex, hex);
		make_old(w, below);
	}
}

/* Of the objects of the newest cycle. */
static unsigned objects(struct world *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->cycle.n_index + w->cycle.n_packs; i++) {
		uint64_t bytes;
		int fd, rc = repository_open_object(
				w->repository, w->cycle.objects[i].hash, &fd, &bytes, NULL);

		assert_true(rc == 0 || rc == KLUIS_ENOTFOUND);
		if (rc == 0) {
			assert_int_equal(close(fd), 0);
			n++;
		}
	}
	return n;
}

static int prune_at(struct world *w, uint64_t wall_ms)
{
	unsigned pruned;

	return receive_prune(&w->receiver, wall_ms, &retention_default, &pruned, NULL);
}

/* For two weeks what is set aside can be looked at, and put back: it is whole. */
static void test_disowned_stays_whole(void **state)
{
	struct world *w = *state;
	unsigned all = w->cycle.n_index + w->cycle.n_packs;
	uint64_t now_ms = clock_wall_ms(&clock_system);

	make_objects_old(w);
	say_failed(w, SNAPSHOT_DISOWNED);
	assert_int_equal(pruned_now(w), 1);
	assert_int_equal(objects(w), all);
	assert_int_equal(prune_at(w, now_ms + BACKUP_KEPT_MS - DAY_MS), 0);
	assert_int_equal(objects(w), all);
	assert_int_equal(prune_at(w, now_ms + BACKUP_KEPT_MS + DAY_MS), 0);
	assert_int_equal(objects(w), 0);
}

/* What lies there and is no whole manifest keeps nothing, and keeps nothing from being forgotten.
 */
static void test_disowned_then_damaged(void **state)
{
	enum { BASE_AT = 72 };
	struct world *w = *state;
	_cleanup_(x_freep) char *path = NULL;
	char text[MANIFEST_NAME_BYTES];
	struct manifest_name name;

	make_objects_old(w);
	assert_int_equal(repository_find(w->repository, w->cycle_hash, &name, NULL), 0);
	manifest_name_format(&name, text);
	path = x_asprintf("%s/damaged/%s", repository_path(w->repository), text);
	say_failed(w, SNAPSHOT_DISOWNED);
	assert_int_equal(pruned_now(w), 1);
	backup_flip(path, BASE_AT);
	assert_int_equal(pruned_now(w), 0);
	assert_int_equal(objects(w), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_another_number, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_beside_a_taker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned_by_another, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned_beside_damage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned_unmarked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned_below, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned_by_one_of_two, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned_in_words, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned_stays_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disowned_then_damaged, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

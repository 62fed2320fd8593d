/* The repository's directory: what appears when, what goes when, and who may write. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/publisher.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "tests/unit/backup/lib/site.h"

static int set_up(void **state)
{
	struct backup_sites *sites = x_calloc(1, sizeof *sites);

	backup_sites_init(sites, KEY_KEM_X25519);
	*state = sites;
	return 0;
}

static int tear_down(void **state)
{
	struct backup_sites *sites = *state;

	fault_disarm();
	backup_sites_release(sites);
	free(sites);
	return 0;
}

static void test_one_writer(void **state)
{
	struct backup_sites *sites = *state;
	const char *path = repository_path(sites->repository[0]);
	struct repository *second = NULL;

	assert_int_equal(repository_open_writer(path, &second, NULL), KLUIS_EBUSY);
	assert_int_equal(repository_open(path, &second, NULL), 0); /* Readers are welcome. */
	repository_close(second);
	assert_int_equal(repository_open("/nonexistent", &second, NULL), KLUIS_ENOTFOUND);
}

static void test_opening_clears_what_was_not_done(void **state)
{
	struct backup_sites *sites = *state;
	_cleanup_(x_freep) char *path = x_strdup(repository_path(sites->repository[0]));
	_cleanup_(x_freep) char *left = x_asprintf("%s/tmp/7", path);

	repository_close(sites->repository[0]);
	assert_int_equal(file_create(left, bytes_str("half"), 0600, NULL), 0);
	assert_int_equal(repository_open_writer(path, &sites->repository[0], NULL), 0);
	assert_false(file_exists(left));
}

static void count_published(void *data, const struct manifest_object *object)
{
	unsigned *n = data;

	assert_int_equal(object->bytes, 5);
	(*n)++;
}

static int publish(struct publisher *publisher, struct repository *repository, unsigned i)
{
	struct manifest_object object = {.bytes = 5};
	struct repository_file *file = NULL;

	assert_int_equal(repository_file_new(repository, &file, NULL), 0);
	assert_int_equal(file_write_all(repository_file_fd(file), bytes_str("bytes")), 0);
	hash_sha256(bytes_of(&i, sizeof i), object.hash);
	return publisher_add(publisher, file, &object, NULL);
}

static bool published(struct repository *repository, unsigned i)
{
	_cleanup_(x_closep) int fd = -1;
	uint8_t hash[HASH_BYTES];
	uint64_t bytes;

	hash_sha256(bytes_of(&i, sizeof i), hash);
	return repository_open_object(repository, hash, &fd, &bytes, NULL) == 0;
}

/* All that were given are there at the end, or it says that one is not; behind that none is. */
static void test_publisher(void **state)
{
	struct backup_sites *sites = *state;
	struct repository *repository = sites->repository[0];
	struct publisher *publisher;
	unsigned n = 0, there = 0;

	publisher = publisher_new(count_published, &n);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(publish(publisher, repository, i), 0);
	}
	assert_int_equal(publisher_finish(publisher, NULL), 0);
	assert_int_equal(n, 20);
	fault_arm("backup.repository.sync", 3, false);
	for (unsigned i = 20; i < 30; i++) {
		(void)publish(publisher, repository, i); /* From some on it fails. */
	}
	assert_int_not_equal(publisher_finish(publisher, NULL), 0);
	assert_int_not_equal(publish(publisher, repository, 30), 0);
	publisher_free(publisher);
	assert_int_equal(n, 22);
	for (unsigned i = 0; i < 31; i++) {
		there += published(repository, i);
	}
	assert_int_equal(there, 22);
	publisher_free(NULL);
}

/* A manifest is not there before its objects, nor when it could not be synced. */
static void test_manifest_needs_its_objects(void **state)
{
	struct backup_sites *sites = *state;
	struct backup_model model;
	struct manifest_name name;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint8_t hash[HASH_BYTES];

	backup_model_init(&model, 1);
	backup_model_change(&model, 20, 20, 100);
	backup_model_snapshot(&model, sites, 1, false, hash);
	assert_int_equal(repository_find(sites->repository[0], hash, &name, NULL), 0);
	assert_int_equal(repository_get_manifest(sites->repository[0], &name, &bytes, NULL), 0);
	assert_int_equal(repository_put_manifest(sites->repository[1], buf_bytes(&bytes), NULL),
		KLUIS_ENOTFOUND);
	assert_int_equal(repository_find(sites->repository[1], hash, &name, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(repository_put_manifest(sites->repository[0], buf_bytes(&bytes), NULL), 0);
	backup_model_release(&model);
}

static size_t count(struct backup_sites *sites, size_t *ret_foreign)
{
	struct manifest_name *names = NULL;
	size_t n = 0;

	assert_int_equal(repository_list(sites->repository[0], &names, &n, ret_foreign, NULL), 0);
	for (size_t i = 1; i < n; i++) {
		assert_true(names[i - 1].index < names[i].index);
	}
	free(names);
	return n;
}

/* The snapshot goes with its objects and receipts; the others stay whole; what nothing names goes
 * only when it is old. */
static void test_prune(void **state)
{
	struct backup_sites *sites = *state;
	struct repository *repository = sites->repository[0];
	struct backup_model model;
	struct manifest_name names[3];
	_cleanup_(x_freep) char *foreign =
		x_asprintf("%s/manifests/notes.txt", repository_path(repository));
	_cleanup_(buf_release) struct buf receipt = BUF_INIT;
	uint8_t hash[3][HASH_BYTES], raw[RECEIPT_BYTES];
	struct repository_file *file = NULL;
	uint64_t freed = 0, bytes = 0, now = clock_wall_ms(&clock_system);
	size_t n_foreign = 0;
	int fd = -1;

	backup_model_init(&model, 1);
	for (unsigned i = 0; i < 3; i++) {
		_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
		struct receipt made;

		backup_model_change(&model, 20, 20, 100);
		backup_model_snapshot(&model, sites, 1, false, hash[i]);
		assert_int_equal(repository_find(repository, hash[i], &names[i], NULL), 0);
		assert_int_equal(point_manifest(repository, hash[i], &sites->trust, &m, NULL), 0);
		made = receipt_of(&m, hash[i], 1, now);
		assert_int_equal(receipt_encode(&made, sites->signer[0], raw, NULL), 0);
		assert_int_equal(
			repository_put_receipt(repository, &made, bytes_of(raw, sizeof raw), NULL),
			0);
	}
	assert_int_equal(file_create(foreign, bytes_str("mine"), 0600, NULL), 0);
	assert_int_equal(count(sites, &n_foreign), 3);
	assert_int_equal(n_foreign, 1);
	/* An object that no manifest names yet, as in the middle of a snapshot. */
	assert_int_equal(repository_file_new(repository, &file, NULL), 0);
	memset(raw, 7, sizeof raw);
	assert_int_equal(repository_publish_object(file, raw, NULL), 0);
	assert_int_equal(repository_prune(repository, &names[0], 1, now, 60000, &freed, NULL), 0);
	assert_int_equal(count(sites, NULL), 2);
	assert_int_equal(freed, 0); /* Its objects are younger than a minute. */
	assert_int_equal(repository_open_object(repository, raw, &fd, &bytes, NULL), 0);
	(void)close(fd);
	assert_int_equal(
		repository_prune(repository, NULL, 0, now + 120000, 60000, &freed, NULL), 0);
	assert_true(freed > 0);
	assert_int_equal(
		repository_open_object(repository, raw, &fd, &bytes, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(
		repository_get_receipt(repository, hash[0], 1, &receipt, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(repository_get_receipt(repository, hash[1], 1, &receipt, NULL), 0);
	assert_true(file_exists(foreign));
	backup_model_release(&model);
}

/* A manifest that names another object than it did: what it named is not taken for unused. */
static void test_prune_beside_a_changed_manifest(void **state)
{
	struct backup_sites *sites = *state;
	struct repository *repository = sites->repository[0];
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct backup_model model;
	uint8_t manifest[HASH_BYTES];
	uint64_t freed = 0, bytes, later = clock_wall_ms(&clock_system) + 120000;
	struct err e = {0};
	int fd = -1;

	backup_model_init(&model, 1);
	backup_model_change(&model, 20, 20, 100);
	backup_model_snapshot(&model, sites, 1, false, manifest);
	assert_int_equal(point_manifest(repository, manifest, &sites->trust, &m, NULL), 0);
	backup_flip_manifest(repository, manifest, MANIFEST_HEADER_BYTES);
	assert_int_equal(
		repository_prune(repository, NULL, 0, later, 60000, &freed, &e), KLUIS_EVERIFY);
	assert_non_null(strstr(e.text, "manifests/*-"));
	for (uint32_t i = 0; i < m.n_index + m.n_packs; i++) {
		assert_int_equal(
			repository_open_object(repository, m.objects[i].hash, &fd, &bytes, NULL),
			0);
		(void)close(fd);
	}
	backup_flip_manifest(repository, manifest, MANIFEST_HEADER_BYTES);
	assert_int_equal(repository_prune(repository, NULL, 0, later, 60000, &freed, NULL), 0);
	assert_int_equal(freed, 0);
	backup_model_release(&model);
}

/* Every write and sync of a snapshot fails once: never a snapshot that is not whole. */
static void test_disk_failures(void **state)
{
	static const char *const points[] = {"backup.object", "backup.repository", "file."};
	struct backup_sites *sites = *state;

	for (size_t p = 0; p < ARRAY_SIZE(points); p++) {
		bool failed = true;

		for (uint64_t nth = 1; failed; nth++) {
			struct snapshot_plan plan = {
				.full = true, .cycle = 1, .id = 5, .index = 9, .node = 1};
			struct index_row row = {.at = {.index = 7}, .key = bytes_str("k")};
			struct snapshot_writer *writer = NULL;
			struct snapshot_result result;
			size_t before = count(sites, NULL);
			bool wanted = false;
			int rc;

			plan.index += 10 * p + nth;
			hash_sha256(bytes_str("value"), row.hash);
			fault_arm(points[p], nth, false);
			rc = snapshot_writer_new(sites->repository[0], &plan,
				key_public(sites->backup_key), &writer, NULL);
			rc = rc != 0 ? rc : snapshot_writer_row(writer, &row, &wanted, NULL);
			rc = rc != 0 ? rc : snapshot_writer_value(writer, bytes_str("value"), NULL);
			rc = rc != 0 ? rc
				     : snapshot_writer_finish(
					       writer, sites->signer[0], &result, NULL);
			failed = fault_hits() >= nth;
			fault_disarm();
			assert_int_equal(rc != 0, failed);
			/* The very last sync may fail behind a manifest that is there: it names
			 * what is synced. */
			if (!failed) {
				assert_int_equal(count(sites, NULL), before + 1);
			}
			snapshot_writer_free(writer);
			assert_true(nth < 50);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_writer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_opening_clears_what_was_not_done, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_manifest_needs_its_objects, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_publisher, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_prune, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_prune_beside_a_changed_manifest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disk_failures, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

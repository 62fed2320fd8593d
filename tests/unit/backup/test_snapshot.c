/* Snapshots of a model store: what comes back, and that no byte of them can be changed unseen. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/verify.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/unit/backup/lib/site.h"

static void assert_level(
	struct backup_sites *sites, const uint8_t hash[HASH_BYTES], unsigned level, bool passes)
{
	struct verify_report report;
	struct err e = {0};
	int rc = verify_snapshot(sites->repository[0], hash, &sites->trust, level, &sites->keys,
		sites->dir, &report, &e);

	if ((rc == 0) != passes) {
		fail_msg("level %u: %s", level, rc == 0 ? "passed" : e.text);
	}
	assert_true(passes ? report.level == level : report.level < level);
	if (!passes) {
		assert_true(rc == KLUIS_EVERIFY || rc == KLUIS_ECORRUPT || rc == KLUIS_ENOTFOUND ||
			    rc == KLUIS_EVERSION);
	}
}

/* Sixty cycles and a manual snapshot, with the 42 newest cycles alone: every row came by in its
 * slice, deleted ones stay deleted, and each snapshot's point is the store as it was. */
static void test_rolling_refresh(void **state)
{
	struct backup_sites sites;
	struct backup_model model;
	uint8_t hash[70][HASH_BYTES], manual[HASH_BYTES];
	struct manifest_name name;
	uint64_t freed;

	(void)state;
	backup_sites_init(&sites, KEY_KEM_X25519);
	backup_model_init(&model, 1);
	backup_model_change(&model, 600, 300, 200);
	for (unsigned cycle = 1; cycle <= 60; cycle++) {
		backup_model_snapshot(&model, &sites, 1, false, hash[cycle]);
		if (cycle > BACKUP_SLICES) {
			assert_int_equal(repository_find(sites.repository[0],
						 hash[cycle - BACKUP_SLICES], &name, NULL),
				0);
			assert_int_equal(
				repository_prune(sites.repository[0], &name, 1, 0, 0, &freed, NULL),
				0);
		}
		if (cycle == 1 || cycle % 7 == 0 || cycle > 40) {
			backup_model_assert(&model, &sites, sites.repository[0], hash[cycle]);
		}
		backup_model_change(&model, 12, 300, 200);
		if (cycle == 50) {
			backup_model_snapshot(&model, &sites, 1, true, manual);
			backup_model_assert(&model, &sites, sites.repository[0], manual);
		}
	}
	assert_level(&sites, hash[60], 3, true);
	assert_level(&sites, hash[59], 3, false); /* Its oldest increment was pruned. */
	backup_model_release(&model);
	backup_sites_release(&sites);
}

static void test_empty_store(void **state)
{
	struct backup_sites sites;
	struct backup_model model;
	uint8_t hash[HASH_BYTES];

	(void)state;
	backup_sites_init(&sites, KEY_KEM_P256);
	backup_model_init(&model, 2);
	for (unsigned i = 0; i < 3; i++) { /* A full of nothing, increments of nothing. */
		model.index++;
		backup_model_snapshot(&model, &sites, 1, false, hash);
		backup_model_assert(&model, &sites, sites.repository[0], hash);
		assert_level(&sites, hash, 3, true);
	}
	backup_model_release(&model);
	backup_sites_release(&sites);
}

/* Values that fill more than one pack, and the largest there may be. */
static void test_several_packs(void **state)
{
	struct backup_sites sites;
	struct backup_model model;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	uint8_t hash[HASH_BYTES];

	(void)state;
	backup_sites_init(&sites, KEY_KEM_X25519);
	backup_model_init(&model, 3);
	backup_model_change(&model, 100, 100, BACKUP_VALUE_BYTES_MAX);
	backup_model_snapshot(&model, &sites, 1, false, hash);
	assert_int_equal(point_manifest(sites.repository[0], hash, &sites.trust, &m, NULL), 0);
	assert_in_range(m.n_packs, 2, 5);
	backup_model_assert(&model, &sites, sites.repository[0], hash);
	backup_model_release(&model);
	backup_sites_release(&sites);
}

static char *object_path(struct backup_sites *sites, const struct manifest_object *object)
{
	char name[HEX_LEN(HASH_BYTES) + 1];

	hex_encode(bytes_of(object->hash, HASH_BYTES), name);
	return x_asprintf("%s/objects/%.2s/%s", repository_path(sites->repository[0]), name, name);
}

static void overwrite(const char *path, struct bytes bytes)
{
	assert_int_equal(file_write(path, bytes, 0600, NULL), 0);
}

struct small {
	struct backup_sites sites;
	struct backup_model model;
	uint8_t full[HASH_BYTES], increment[HASH_BYTES];
	struct backup_manifest manifest; /* Of the increment. */
};

static void small_init(struct small *s)
{
	backup_sites_init(&s->sites, KEY_KEM_X25519);
	backup_model_init(&s->model, 4);
	backup_model_change(&s->model, 30, 20, 50);
	backup_model_snapshot(&s->model, &s->sites, 1, false, s->full);
	backup_model_change(&s->model, 10, 20, 50);
	backup_model_snapshot(&s->model, &s->sites, 1, false, s->increment);
	memset(&s->manifest, 0, sizeof s->manifest);
	assert_int_equal(point_manifest(s->sites.repository[0], s->increment, &s->sites.trust,
				 &s->manifest, NULL),
		0);
	assert_int_equal(s->manifest.n_index + s->manifest.n_packs, 2);
}

static void small_release(struct small *s)
{
	backup_manifest_release(&s->manifest);
	backup_model_release(&s->model);
	backup_sites_release(&s->sites);
}

/* Every byte of every object, changed or cut off; and grown by one. Level 3 alone must see it, too:
 * a changed object is not believed because its hash was not looked at. */
static void test_every_byte_counts(void **state)
{
	struct small s;

	(void)state;
	small_init(&s);
	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(x_freep) char *path = object_path(&s.sites, &s.manifest.objects[i]);
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		struct object_place place = {
			.kind = i == 0 ? OBJECT_INDEX : OBJECT_PACK, .index = s.manifest.index};

		memcpy(place.cluster_id, s.sites.cluster_id, ID_BYTES);
		memcpy(place.lineage, s.sites.lineage, ID_BYTES);
		assert_int_equal(file_read(path, 1 << 20, &bytes, NULL), 0);
		for (size_t at = 0; at < bytes.len; at++) {
			struct object_reader *reader = NULL;
			_cleanup_(buf_release) struct buf plain = BUF_INIT;
			int fd, rc;

			bytes.data[at] ^= (uint8_t)(1U << (at % 8));
			overwrite(path, buf_bytes(&bytes));
			if (at % 16 == 0) {
				assert_level(
					&s.sites, s.increment, 1, true); /* The size is right. */
				assert_level(&s.sites, s.increment, 2, false);
			}
			fd = open(path, O_RDONLY | O_CLOEXEC);
			rc = object_reader_new(fd, &place, s.sites.backup_key, &reader, NULL);
			if (rc == 0) {
				size_t len = (size_t)object_reader_bytes(reader);

				rc = object_reader_read(
					reader, 0, len, buf_extend(&plain, len), NULL);
			}
			assert_int_not_equal(rc, 0);
			object_reader_free(reader);
			bytes.data[at] ^= (uint8_t)(1U << (at % 8));
			overwrite(path, bytes_of(bytes.data, at));
			assert_level(&s.sites, s.increment, 1, false);
		}
		buf_put_u8(&bytes, 0);
		overwrite(path, buf_bytes(&bytes));
		assert_level(&s.sites, s.increment, 1, false);
		overwrite(path, bytes_of(bytes.data, bytes.len - 1));
		assert_level(&s.sites, s.increment, 3, true);
		assert_int_equal(unlink(path), 0);
		assert_level(&s.sites, s.increment, 1, false);
		overwrite(path, bytes_of(bytes.data, bytes.len - 1));
	}
	small_release(&s);
}

/* Another object of ours under this one's name: of the same kind from another snapshot, and of the
 * other kind. */
static void test_swapped_objects(void **state)
{
	struct small s;
	_cleanup_(backup_manifest_release) struct backup_manifest full = {0};

	(void)state;
	small_init(&s);
	assert_int_equal(
		point_manifest(s.sites.repository[0], s.full, &s.sites.trust, &full, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(x_freep) char *path = object_path(&s.sites, &s.manifest.objects[i]);
		const struct manifest_object *others[] = {
			&full.objects[i], &s.manifest.objects[1 - i]};
		struct object_place place = {
			.kind = i == 0 ? OBJECT_INDEX : OBJECT_PACK, .index = s.manifest.index};

		memcpy(place.cluster_id, s.sites.cluster_id, ID_BYTES);
		memcpy(place.lineage, s.sites.lineage, ID_BYTES);
		for (unsigned k = 0; k < 2; k++) {
			_cleanup_(x_freep) char *from = object_path(&s.sites, others[k]);
			struct object_reader *reader = NULL;

			assert_int_equal(object_reader_new(open(from, O_RDONLY | O_CLOEXEC), &place,
						 s.sites.backup_key, &reader, NULL),
				KLUIS_ECORRUPT);
		}
		assert_true(file_exists(path));
	}
	small_release(&s);
}

/* A data key is the backup key's to open: a node's own keys and another backup key are no use. */
static void test_another_key(void **state)
{
	struct small s;
	_cleanup_(backup_key_set_release) struct backup_key_set other = {.n = 1};
	struct verify_report report;

	(void)state;
	small_init(&s);
	assert_int_equal(key_generate(KEY_KEM_X25519, 0, &other.keys[0], NULL), 0);
	assert_int_equal(verify_snapshot(s.sites.repository[0], s.increment, &s.sites.trust, 3,
				 &other, s.sites.dir, &report, NULL),
		KLUIS_EFORBIDDEN);
	assert_int_equal(report.level, 2);
	small_release(&s);
}

static int level_3(struct backup_sites *sites, const uint8_t hash[HASH_BYTES],
	const struct backup_key_set *keys, struct err *e)
{
	struct verify_report report;

	return verify_snapshot(
		sites->repository[0], hash, &sites->trust, 3, keys, sites->dir, &report, e);
}

/* The key is changed twice in the middle of a chain, once for one of the other kind: with all keys
 * every point is read, in whatever order they are given; what is sealed to a missing one names it.
 */
static void test_rotated_keys(void **state)
{
	struct backup_sites sites;
	struct backup_model model;
	struct backup_key_set keys = {.n = 0};
	char kid[HEX_LEN(KID_BYTES) + 1];
	uint8_t hash[6][HASH_BYTES];
	struct err e = {0};

	(void)state;
	backup_sites_init(&sites, KEY_KEM_P256);
	backup_model_init(&model, 4);
	for (unsigned i = 0; i < ARRAY_SIZE(hash); i++) {
		backup_model_change(&model, 40, 60, 200);
		backup_model_snapshot(&model, &sites, 1, false, hash[i]);
		backup_model_assert(&model, &sites, sites.repository[0], hash[i]);
		if (i % 2 == 1) {
			backup_sites_rotate(&sites, i == 1 ? KEY_KEM_X25519 : KEY_KEM_P256);
		}
	}
	assert_int_equal(sites.keys.n, 4); /* The last one is not in use yet. */
	for (unsigned i = 0; i < 3; i++) {
		keys.keys[keys.n++] = sites.keys.keys[2 - i];
	}
	assert_int_equal(level_3(&sites, hash[5], &keys, &e), 0);
	keys.n = 2; /* The first key is missing. */
	hex_encode(bytes_of(key_pub_kid(key_public(sites.keys.keys[0])), KID_BYTES), kid);
	assert_int_equal(level_3(&sites, hash[5], &keys, &e), KLUIS_EFORBIDDEN);
	assert_non_null(strstr(e.text, kid));
	keys.keys[0] = sites.keys.keys[0];
	keys.n = 1;
	assert_int_equal(level_3(&sites, hash[1], &keys, &e), 0);
	assert_int_equal(level_3(&sites, hash[2], &keys, &e), KLUIS_EFORBIDDEN);
	backup_model_release(&model);
	backup_sites_release(&sites);
}

/* A manifest by somebody who is not trusted, and one that another lineage made. */
static void test_manifest_of_others(void **state)
{
	struct small s;
	struct backup_trust nobody = {0};
	struct verify_report report;
	struct point *point = NULL;

	(void)state;
	small_init(&s);
	assert_int_equal(verify_snapshot(s.sites.repository[0], s.increment, &nobody, 1, NULL,
				 s.sites.dir, &report, NULL),
		KLUIS_EVERIFY);
	/* The same base, but the increment says it continues another index. */
	s.model.last.index -= 1;
	s.model.index += 5;
	backup_model_snapshot(&s.model, &s.sites, 1, false, s.increment);
	assert_int_equal(
		point_open(s.sites.repository[0], s.increment, &s.sites.trust, &point, NULL),
		KLUIS_EVERIFY);
	small_release(&s);
}

/* A value that is not what by_index says was written: the node must not vouch for it. */
static void test_writer_refuses_a_changed_value(void **state)
{
	struct backup_sites sites;
	struct backup_model model;
	struct snapshot_writer *writer = NULL;
	struct snapshot_plan plan = {.full = true, .cycle = 1, .id = 5, .index = 9, .node = 1};
	struct index_row row = {.at = {.index = 7}, .key = bytes_str("k")};
	bool wanted = false;

	(void)state;
	backup_sites_init(&sites, KEY_KEM_X25519);
	backup_model_init(&model, 5);
	assert_int_equal(snapshot_writer_new(sites.repository[0], &plan,
				 key_public(sites.backup_key), &writer, NULL),
		0);
	assert_int_equal(snapshot_writer_row(writer, &row, &wanted, NULL), 0);
	assert_true(wanted);
	assert_int_equal(snapshot_writer_value(writer, bytes_str("other"), NULL), KLUIS_ECORRUPT);
	assert_int_equal(snapshot_writer_row(writer, &row, &wanted, NULL), KLUIS_ECORRUPT);
	row.at.index = 10;
	assert_int_equal(snapshot_writer_row(writer, &row, &wanted, NULL), KLUIS_ECORRUPT);
	snapshot_writer_free(writer);
	backup_model_release(&model);
	backup_sites_release(&sites);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rolling_refresh),
		cmocka_unit_test(test_empty_store),
		cmocka_unit_test(test_several_packs),
		cmocka_unit_test(test_every_byte_counts),
		cmocka_unit_test(test_swapped_objects),
		cmocka_unit_test(test_another_key),
		cmocka_unit_test(test_rotated_keys),
		cmocka_unit_test(test_manifest_of_others),
		cmocka_unit_test(test_writer_refuses_a_changed_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

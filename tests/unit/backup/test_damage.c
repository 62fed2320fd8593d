/* A repository whose bytes were changed or cut: every level of verification and a restore end with
 * an error that names the file, where in it where that can be known, and what to do; never with a
 * crash, and never with rows that were not written. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/restore.h"
#include "backup/verify.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/unit/backup/lib/site.h"

enum { CYCLES = 3, FILES_MAX = 64, FLIPS = 60, VALUE_BYTES = 300000 };

struct damaged_file {
	char *path;
	char hex[17]; /* How errors name it. */
	bool manifest;
	unsigned cycle; /* Whose; from 0. */
	size_t bytes;
};

struct world {
	struct backup_sites sites;
	struct backup_model model;
	uint8_t hash[CYCLES][HASH_BYTES];
	struct damaged_file files[FILES_MAX];
	size_t n;
};

static void add_file(
	struct world *w, const char *path, const uint8_t hash[32], bool manifest, unsigned cycle)
{
	struct damaged_file *file = &w->files[w->n++];
	char hex[HEX_LEN(32) + 1];
	struct stat st;

	assert_in_range(w->n, 1, FILES_MAX);
	hex_encode(bytes_of(hash, 32), hex);
	memcpy(file->hex, hex, 16);
	file->path = x_strdup(path);
	file->manifest = manifest;
	file->cycle = cycle;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(chmod(path, 0600), 0);
	file->bytes = (size_t)st.st_size;
}

static void add_snapshot(struct world *w, unsigned cycle)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	const char *top = repository_path(w->sites.repository[0]);
	struct manifest_name name;
	char text[MANIFEST_NAME_BYTES];
	_cleanup_(x_freep) char *manifest = NULL;

	assert_int_equal(
		point_manifest(w->sites.repository[0], w->hash[cycle], &w->sites.trust, &m, NULL),
		0);
	assert_int_equal(repository_find(w->sites.repository[0], w->hash[cycle], &name, NULL), 0);
	manifest_name_format(&name, text);
	manifest = x_asprintf("%s/manifests/%s", top, text);
	add_file(w, manifest, name.hash, true, cycle);
	for (uint32_t i = 0; i < m.n_index + m.n_packs; i++) {
		char hex[HEX_LEN(32) + 1];
		_cleanup_(x_freep) char *path = NULL;

		hex_encode(bytes_of(m.objects[i].hash, 32), hex);
		path = x_asprintf("%s/objects/%.2s/%s", top, hex, hex);
		add_file(w, path, m.objects[i].hash, false, cycle);
	}
}

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	*state = w;
	backup_sites_init(&w->sites, KEY_KEM_P256);
	backup_model_init(&w->model, 5);
	for (unsigned i = 0; i < CYCLES; i++) {
		backup_model_change(&w->model, 12, 20, VALUE_BYTES);
		backup_model_snapshot(&w->model, &w->sites, 1, false, w->hash[i]);
		add_snapshot(w, i);
	}
	assert_int_equal(w->n, 3 * CYCLES); /* Manifest, index, pack. */
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < w->n; i++) {
		free(w->files[i].path);
	}
	backup_model_release(&w->model);
	backup_sites_release(&w->sites);
	free(w);
	return 0;
}

static void flip(const struct damaged_file *file, size_t at, uint8_t bits)
{
	int fd = open(file->path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= bits;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	assert_int_equal(close(fd), 0);
}

static int verify(struct world *w, unsigned level, struct err *e)
{
	struct verify_report report;

	memset(e, 0, sizeof *e);
	return verify_snapshot(w->sites.repository[0], w->hash[CYCLES - 1], &w->sites.trust, level,
		level < 3 ? NULL : &w->sites.keys, w->sites.dir, &report, e);
}

/* As a restore reads, which hashes no object as a whole: every row of the point. */
static int read_all(struct world *w, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct point *point = NULL;
	struct point_rows *rows = NULL;
	struct index_entry entry;
	bool more = true;
	int rc;

	memset(e, 0, sizeof *e);
	rc = point_open(w->sites.repository[0], w->hash[CYCLES - 1], &w->sites.trust, &point, e);
	if (rc != 0) {
		return rc;
	}
	rc = point_rows_new(point, &w->sites.keys, w->sites.dir, &rows, e);
	while (rc == 0 && more) {
		rc = point_rows_next(rows, &entry, &more, e);
		buf_clear(&value);
		rc = rc == 0 && more ? point_rows_value(rows, &value, e) : rc;
	}
	point_rows_free(rows);
	point_free(point);
	return rc;
}

static void assert_told(const struct damaged_file *file, size_t at, int rc, const struct err *e)
{
	bool version = !file->manifest ? at == 4 : at == 4 || at == 5;
	bool said = strstr(e->text, file->hex) != NULL &&
		    (strstr(e->text, "use another site's copy") != NULL || version);

	if ((rc != KLUIS_EVERIFY && rc != KLUIS_ECORRUPT && (rc != KLUIS_EVERSION || !version)) ||
		!said) {
		fail_msg("%s at %zu: %s: %s", file->path, at, err_name(rc), e->text);
	}
}

/* Whether a row that counts is read from it: an older pack may hold none any more. */
static void assert_found(struct world *w, const struct damaged_file *file, size_t at)
{
	struct err e;
	int rc = verify(w, 1, &e);

	if (file->cycle == CYCLES - 1 && file->manifest) {
		assert_told(file, at, rc, &e);
	} else {
		assert_int_equal(rc, 0); /* Level 1 looks at no object's bytes. */
	}
	rc = verify(w, 2, &e);
	if (file->cycle == CYCLES - 1) {
		assert_told(file, at, rc, &e);
	} else {
		assert_int_equal(rc, 0); /* The chain is level 3's. */
	}
	rc = verify(w, 3, &e);
	assert_told(file, at, rc, &e);
	rc = read_all(w, &e);
	assert_told(file, at, rc, &e);
}

/* All of the small, and of the large the header, the ends of segments and what chance picks. */
static void test_flipped_bytes(void **state)
{
	struct world *w = *state;
	struct random_seeded random;
	struct err e;

	random_seeded_init(&random, 17);
	assert_int_equal(verify(w, 3, &e), 0);
	assert_int_equal(read_all(w, &e), 0);
	for (size_t i = 0; i < w->n; i++) {
		const struct damaged_file *file = &w->files[i];

		for (size_t n = 0; n < FLIPS; n++) {
			size_t at = n * 3 < FLIPS ? n * 4 + n % 4
						  : random_below(&random.random, file->bytes);
			uint8_t bits = (uint8_t)(1U << random_below(&random.random, 8));

			at = n == FLIPS - 1 ? file->bytes - 1 : at;
			flip(file, at, bits);
			assert_found(w, file, at);
			flip(file, at, bits);
		}
	}
	assert_int_equal(verify(w, 3, &e), 0);
	assert_int_equal(read_all(w, &e), 0);
}

/* Where in the file, for whoever has the key. */
static void test_place_is_told(void **state)
{
	struct world *w = *state;
	const struct damaged_file *pack = &w->files[w->n - 1];
	const size_t header = 72 + 2 + 65 + 2 + 48, segment = (1 << 20) + 16;
	struct err e;
	char text[80];

	assert_true(pack->bytes > header + segment);
	flip(pack, header + segment + 5, 1);
	(void)snprintf(text, sizeof text, "segment 1 (bytes %zu to ", header + segment);
	assert_int_equal(read_all(w, &e), KLUIS_EVERIFY);
	assert_non_null(strstr(e.text, text));
	assert_int_equal(verify(w, 2, &e), KLUIS_EVERIFY);
	assert_null(strstr(e.text, text));
	assert_int_equal(verify(w, 3, &e), KLUIS_EVERIFY);
	assert_non_null(strstr(e.text, text));
	flip(pack, header + segment + 5, 1);
	flip(pack, 100, 1);
	assert_int_equal(read_all(w, &e), KLUIS_EVERIFY);
	assert_non_null(strstr(e.text, "bytes 0 to 188"));
	flip(pack, 100, 1);
}

/* Levels 1 and 2 look at the snapshot's own files alone, and find what is cut. */
static void assert_cut_is_seen(struct world *w, const struct damaged_file *file)
{
	struct err e;

	for (unsigned level = 1; level <= 2; level++) {
		int rc = verify(w, level, &e);

		if (file->cycle == CYCLES - 1) {
			assert_told(file, 0, rc, &e);
		} else {
			assert_int_equal(rc, 0); /* The chain is level 3's. */
		}
	}
	assert_told(file, 0, verify(w, 3, &e), &e);
	assert_told(file, 0, read_all(w, &e), &e);
}

static void assert_missing_is_seen(struct world *w, const struct damaged_file *file)
{
	struct err e;

	for (unsigned level = 1; level <= 3; level++) {
		int rc = verify(w, level, &e);

		if (level < 3 && file->cycle != CYCLES - 1) {
			assert_int_equal(rc, 0);
		} else if (file->manifest && file->cycle == CYCLES - 1) {
			assert_int_equal(rc, KLUIS_ENOTFOUND);
		} else {
			assert_int_equal(rc, KLUIS_EVERIFY);
			assert_non_null(strstr(e.text, "missing; use another site's copy"));
		}
	}
}

/* Cut anywhere, empty, longer, or not there. */
static void test_cut_files(void **state)
{
	struct world *w = *state;
	struct err e;

	for (size_t i = 0; i < w->n; i++) {
		const struct damaged_file *file = &w->files[i];
		const size_t cuts[] = {
			0, 1, 71, 188, 189, 250, file->bytes / 2, file->bytes - 1, file->bytes + 1};
		_cleanup_(x_freep) char *aside = x_asprintf("%s/aside", w->sites.dir);
		_cleanup_(buf_release) struct buf whole = BUF_INIT;

		assert_int_equal(file_read(file->path, 1 << 28, &whole, NULL), 0);
		for (size_t k = 0; k < ARRAY_SIZE(cuts); k++) {
			assert_int_equal(truncate(file->path, (off_t)cuts[k]), 0);
			assert_cut_is_seen(w, file);
			assert_int_equal(file_write(file->path, buf_bytes(&whole), 0600, NULL), 0);
		}
		assert_int_equal(rename(file->path, aside), 0);
		assert_missing_is_seen(w, file);
		assert_int_equal(rename(aside, file->path), 0);
	}
	assert_int_equal(verify(w, 3, &e), 0);
}

/* Another file's bytes under this one's name; cut or filled up to this one's size, too, which is
 * what level 1 looks at. */
static void swap_in(struct world *w, const struct damaged_file *file,
	const struct damaged_file *other, bool same_size)
{
	_cleanup_(buf_release) struct buf whole = BUF_INIT, good = BUF_INIT;
	struct err e;

	assert_int_equal(file_read(file->path, 1 << 28, &good, NULL), 0);
	assert_int_equal(file_read(other->path, 1 << 28, &whole, NULL), 0);
	if (same_size && whole.len < good.len) {
		buf_put_zeros(&whole, good.len - whole.len);
	}
	whole.len = same_size ? good.len : whole.len;
	assert_int_equal(file_write(file->path, buf_bytes(&whole), 0600, NULL), 0);
	if (file->cycle == CYCLES - 1) {
		bool passes = !file->manifest && whole.len == good.len;
		int rc = verify(w, 1, &e);

		if (passes) {
			assert_int_equal(rc, 0);
		} else {
			assert_told(file, 0, rc, &e);
		}
		assert_told(file, 0, verify(w, 2, &e), &e);
	}
	assert_told(file, 0, verify(w, 3, &e), &e);
	assert_told(file, 0, read_all(w, &e), &e);
	assert_int_equal(file_write(file->path, buf_bytes(&good), 0600, NULL), 0);
}

/* Every file under every other one's name: of the same kind, of another, of another snapshot. */
static void test_swapped_files(void **state)
{
	struct world *w = *state;
	struct err e;

	for (size_t i = 0; i < w->n; i++) {
		for (size_t k = 0; k < w->n; k++) {
			if (i != k) {
				swap_in(w, &w->files[i], &w->files[k], false);
				swap_in(w, &w->files[i], &w->files[k], true);
			}
		}
	}
	assert_int_equal(verify(w, 3, &e), 0);
	assert_int_equal(read_all(w, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flipped_bytes),
		cmocka_unit_test(test_place_is_told),
		cmocka_unit_test(test_cut_files),
		cmocka_unit_test(test_swapped_files),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

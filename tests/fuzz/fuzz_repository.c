/* A whole backup repository as a disk or a hand may leave it: { u8 which snapshot | changes of its
 * files }. Whatever rows a restore gives before it ends are rows that were saved, and it ends well,
 * as the three levels of verification do, only with all of them. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backup/verify.h"
#include "base/file.h"
#include "base/log.h"
#include "tests/fuzz/lib/damage.h"
#include "tests/unit/backup/lib/site.h"

enum { CYCLES = 3, ROWS = 40, KEYS = 30, VALUE_BYTES = 600 };

static struct damage damage;
static struct backup_sites sites;
static struct backup_model model[CYCLES]; /* As of each snapshot. */
static uint8_t hash[CYCLES][HASH_BYTES];

static void base_remove(void)
{
	(void)(file_remove_tree(sites.dir, NULL) == 0);
}

/* Node 1's repository. */
static void base_make(void)
{
	static const char *const left_out[] = {"lock", NULL};
	struct backup_model now;

	log_init("fuzz", LOG_LEVEL_ERR);
	backup_sites_init(&sites, KEY_KEM_X25519);
	backup_model_init(&now, 1);
	for (unsigned i = 0; i < CYCLES; i++) {
		backup_model_change(&now, ROWS, KEYS, VALUE_BYTES);
		backup_model_snapshot(&now, &sites, 1, false, hash[i]);
		backup_model_copy(&model[i], &now);
	}
	backup_model_release(&now);
	(void)snprintf(damage.dir, sizeof damage.dir, "%s/repository1", sites.dir);
	(void)atexit(base_remove);
	damage_keep(&damage, 0, left_out);
}

/* 0: a restore would succeed. */
static int try_restore(struct repository *repository, unsigned cycle)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct point *point = NULL;
	struct point_rows *rows = NULL;
	struct index_entry entry;
	size_t at = 0;
	bool more = true;
	int rc = point_open(repository, hash[cycle], &sites.trust, &point, NULL);

	rc = rc == 0 ? point_rows_new(point, &sites.keys, sites.dir, &rows, NULL) : rc;
	while (rc == 0 && (rc = point_rows_next(rows, &entry, &more, NULL)) == 0 && more) {
		const struct backup_row *row = backup_model_next(&model[cycle], &at);

		assert(row != NULL && bytes_equal(entry.key, bytes_str(row->key)));
		assert(entry.index == row->index && entry.ordinal == row->ordinal);
		buf_clear(&value);
		rc = point_rows_value(rows, &value, NULL);
		assert(rc != 0 || bytes_equal(buf_bytes(&value), buf_bytes(&row->value)));
	}
	assert(rc != 0 || backup_model_next(&model[cycle], &at) == NULL);
	point_rows_free(rows);
	point_free(point);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire w = wire_of(bytes_of(data, size));
	struct verify_report report;
	struct repository *repository = NULL;
	struct manifest_name *names = NULL;
	unsigned cycle;
	size_t n;
	bool changed;
	int restored;

	if (size == 0) {
		return 0;
	}
	if (damage.n[0] == 0) {
		base_make();
	}
	cycle = wire_u8(&w) % CYCLES;
	changed = damage_make(&damage, 1, 0, &w);
	if (repository_open(damage.dir, &repository, NULL) != 0) {
		abort(); /* Its directories are all there. */
	}
	if (repository_list(repository, &names, &n, NULL, NULL) == 0) {
		assert(n <= CYCLES);
		free(names);
	}
	restored = try_restore(repository, cycle);
	assert(changed || restored == 0);
	for (unsigned level = 1; level <= 3; level++) {
		int rc = verify_snapshot(repository, hash[cycle], &sites.trust, level, &sites.keys,
			sites.dir, &report, NULL);

		assert(changed || rc == 0);
		/* The highest level promises that a restore succeeds. */
		assert(level < 3 || rc != 0 || restored == 0);
	}
	repository_close(repository);
	return 0;
}

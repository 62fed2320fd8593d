#include "backup/verify.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"

enum { VERIFY_CHUNK_BYTES = 1 << 20 };

static int verify_hash(int fd, uint8_t ret_hash[HASH_BYTES], struct err *e)
{
	_cleanup_(x_freep) uint8_t *chunk = x_malloc(VERIFY_CHUNK_BYTES);
	_cleanup_(hash_release) struct hash hash = {NULL};

	hash_init(&hash);
	for (;;) {
		ssize_t n = FAULT_POINT("verify.read") ? (errno = EIO, -1)
						       : read(fd, chunk, VERIFY_CHUNK_BYTES);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0 && file_is_lost(errno)) {
			return err_set(e, KLUIS_EVERIFY, "its disk cannot read it any more");
		}
		if (n < 0) {
			return err_set_errno(e, errno, "read");
		}
		if (n == 0) {
			break;
		}
		hash_update(&hash, bytes_of(chunk, (size_t)n));
	}
	hash_final(&hash, ret_hash);
	return 0;
}

int verify_object(struct repository *repository, const struct manifest_object *object,
	unsigned level, struct err *e)
{
	_cleanup_(x_closep) int fd = -1;
	uint8_t hash[HASH_BYTES];
	uint64_t bytes = 0;
	int rc = repository_open_object(repository, object->hash, &fd, &bytes, e);

	if (rc == 0 && bytes != object->bytes) {
		rc = err_set(e, KLUIS_EVERIFY, "%llu bytes, the manifest says %llu",
			(unsigned long long)bytes, (unsigned long long)object->bytes);
	}
	if (rc == 0 && level >= 2) {
		rc = verify_hash(fd, hash, e);
		if (rc == 0 && memcmp(hash, object->hash, HASH_BYTES) != 0) {
			rc = err_set(e, KLUIS_EVERIFY,
				"one of its %llu bytes was changed (level 3 says where)",
				(unsigned long long)bytes);
		}
	}
	return rc;
}

static int verify_objects(struct repository *repository, const struct backup_manifest *m,
	unsigned level, struct verify_report *report, struct err *e)
{
	report->objects = report->bytes = 0;
	for (uint32_t i = 0; i < m->n_index + m->n_packs; i++) {
		int rc = verify_object(repository, &m->objects[i], level, e);

		if (rc != 0) {
			return repository_object_fault(m->objects[i].hash, rc, e);
		}
		report->objects++;
		report->bytes += m->objects[i].bytes;
	}
	return 0;
}

static int verify_rows(struct point *point, const struct backup_key_set *keys, const char *scratch,
	struct verify_report *report, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct point_rows *rows = NULL;
	struct index_entry entry;
	bool more = true;
	int rc = point_rows_new(point, keys, scratch, &rows, e);

	while (rc == 0) {
		rc = point_rows_next(rows, &entry, &more, e);
		if (rc != 0 || !more) {
			break;
		}
		buf_clear(&value);
		rc = point_rows_value(rows, &value, e);
		report->rows++;
	}
	point_rows_free(rows);
	return rc;
}

static int verify_point(struct repository *repository, const uint8_t manifest_hash[HASH_BYTES],
	const struct backup_trust *trust, const struct backup_key_set *keys, const char *scratch,
	struct verify_report *report, struct err *e)
{
	struct point *point = NULL;
	int rc = point_open(repository, manifest_hash, trust, &point, e);

	if (rc != 0) {
		return rc;
	}
	report->snapshots = point->n;
	rc = verify_rows(point, keys, scratch, report, e);
	point_free(point);
	return rc;
}

/* A hash says that a byte is wrong, the segments' tags say where: for whoever has the key. */
static int verify_where(struct repository *repository, const uint8_t manifest_hash[HASH_BYTES],
	const struct backup_trust *trust, const struct backup_key_set *keys, const char *scratch,
	int rc, struct err *e)
{
	struct verify_report unused = {.level = 0};
	struct err where = {0};
	int found = verify_point(repository, manifest_hash, trust, keys, scratch, &unused, &where);

	return found == KLUIS_EVERIFY || found == KLUIS_ECORRUPT
		       ? err_set(e, found, "%s", where.text)
		       : rc;
}

int verify_snapshot(struct repository *repository, const uint8_t manifest_hash[HASH_BYTES],
	const struct backup_trust *trust, unsigned level, const struct backup_key_set *keys,
	const char *scratch, struct verify_report *ret_report, struct err *e)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	int rc;

	assert(level >= 1 && level <= 3 && (level < 3 || keys != NULL));
	memset(ret_report, 0, sizeof *ret_report);
	rc = point_manifest(repository, manifest_hash, trust, &m, e);
	for (unsigned at = 1; rc == 0 && at <= level; at++) {
		rc = at < 3 ? verify_objects(repository, &m, at, ret_report, e)
			    : verify_point(repository, manifest_hash, trust, keys, scratch,
				      ret_report, e);
		if (rc == 0) {
			ret_report->level = at;
		} else if (at == 2 && level == 3) {
			rc = verify_where(repository, manifest_hash, trust, keys, scratch, rc, e);
		}
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "level %u", ret_report->level + 1);
}

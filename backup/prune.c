/* Forgetting: repository_prune(). The order makes it safe to stop anywhere: a manifest goes,
 * durably, before the first of its objects. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/repository.h"
#include "base/file.h"
#include "base/text.h"

/* Hashes of all objects that some manifest names, here or set aside, sorted. */
struct prune_keep {
	uint8_t (*hashes)[32];
	size_t n;
};

static int prune_hash_compare(const void *a, const void *b)
{
	return memcmp(a, b, HASH_BYTES);
}

static void prune_keep_hashes(struct prune_keep *keep, const struct backup_manifest *m)
{
	uint32_t n = m->n_index + m->n_packs;

	keep->hashes = x_realloc(keep->hashes, (keep->n + n) * sizeof *keep->hashes);
	for (uint32_t i = 0; i < n; i++) {
		memcpy(keep->hashes[keep->n++], m->objects[i].hash, 32);
	}
}

static int prune_keep_add(struct repository *r, const struct manifest_name *name,
	struct prune_keep *keep, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	int rc = repository_read_manifest(r, name, &bytes, &m, e);

	if (rc != 0) {
		/* Its objects are unknown: nothing can be called unused. */
		return repository_manifest_fault(name, rc, e);
	}
	prune_keep_hashes(keep, &m);
	return 0;
}

/* One file below damaged/. What is no whole manifest there is of use to nobody. */
static int prune_keep_aside(
	const char *directory, const char *text, struct prune_keep *keep, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", directory, text);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct manifest_name name;
	uint8_t hash[HASH_BYTES];
	int rc;

	if (!manifest_name_parse(text, &name)) {
		return 0;
	}
	rc = file_read(path, BACKUP_MANIFEST_BYTES_MAX, &bytes, e);
	if (rc == 0 && backup_manifest_parse(buf_bytes(&bytes), &m, hash, NULL) == 0 &&
		memcmp(hash, name.hash, HASH_BYTES) == 0) {
		prune_keep_hashes(keep, &m);
	}
	return rc;
}

static int prune_keep_aside_all(struct repository *r, struct prune_keep *keep, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/damaged", repository_path(r));
	struct dirent *entry;
	DIR *dir = opendir(path);
	int rc = 0;

	if (dir == NULL) {
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "open directory '%s'", path);
	}
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		rc = prune_keep_aside(path, entry->d_name, keep, e);
	}
	(void)closedir(dir); /* Only read. */
	return rc;
}

static int prune_keep_load(struct repository *r, struct prune_keep *keep, struct err *e)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	size_t n = 0;
	int rc = repository_list(r, &names, &n, NULL, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = prune_keep_add(r, &names[i], keep, e);
	}
	rc = rc != 0 ? rc : prune_keep_aside_all(r, keep, e);
	if (keep->n > 0) {
		qsort(keep->hashes, keep->n, sizeof *keep->hashes, prune_hash_compare);
	}
	return rc;
}

static int prune_manifest(struct repository *r, const struct manifest_name *name, struct err *e)
{
	_cleanup_(x_freep) char *path = NULL;
	char text[MANIFEST_NAME_BYTES];

	manifest_name_format(name, text);
	path = x_asprintf("%s/manifests/%s", repository_path(r), text);
	if (unlink(path) != 0 && errno != ENOENT) {
		return err_set_errno(e, errno, "remove '%s'", path);
	}
	return 0;
}

/* One file below objects/: removed when no manifest names it and it is no upload in progress. */
static int prune_object(const char *path, const char *name, const struct prune_keep *keep,
	uint64_t older_than_ms, uint64_t *freed, struct err *e)
{
	uint8_t hash[32];
	struct stat st;

	if (hex_decode(name, hash, sizeof hash) != 0 ||
		(keep->n > 0 && bsearch(hash, keep->hashes, keep->n, sizeof hash,
					prune_hash_compare) != NULL)) {
		return 0;
	}
	if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
		(uint64_t)st.st_mtim.tv_sec * 1000 >= older_than_ms) {
		return 0;
	}
	if (unlink(path) != 0) {
		return err_set_errno(e, errno, "remove '%s'", path);
	}
	*freed += (uint64_t)st.st_size;
	return 0;
}

static int prune_directory(const char *path, const struct prune_keep *keep, uint64_t older_than_ms,
	uint64_t *freed, struct err *e)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	int rc = 0;

	if (dir == NULL) {
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "open directory '%s'", path);
	}
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		_cleanup_(x_freep) char *file = x_asprintf("%s/%s", path, entry->d_name);

		rc = prune_object(file, entry->d_name, keep, older_than_ms, freed, e);
	}
	(void)closedir(dir); /* Only read. */
	return rc;
}

static int prune_name_compare(const void *hash, const void *name)
{
	return memcmp(hash, ((const struct manifest_name *)name)->hash, HASH_BYTES);
}

static int prune_by_hash(const void *a, const void *b)
{
	return prune_name_compare(((const struct manifest_name *)a)->hash, b);
}

/* "<manifest hash>-<node>": goes with its manifest. names: sorted by hash. */
static int prune_receipt(struct repository *r, const char *text, const struct manifest_name *names,
	size_t n, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/receipts/%s", repository_path(r), text);
	char hex[HEX_LEN(HASH_BYTES) + 1] = "";
	uint8_t hash[HASH_BYTES];

	if (strlen(text) <= HEX_LEN(HASH_BYTES) || text[HEX_LEN(HASH_BYTES)] != '-') {
		return 0;
	}
	memcpy(hex, text, HEX_LEN(HASH_BYTES));
	if (hex_decode(hex, hash, sizeof hash) != 0 ||
		(n > 0 && bsearch(hash, names, n, sizeof *names, prune_name_compare) != NULL)) {
		return 0;
	}
	return unlink(path) == 0 ? 0 : err_set_errno(e, errno, "remove '%s'", path);
}

static int prune_receipts(struct repository *r, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/receipts", repository_path(r));
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	struct dirent *entry;
	size_t n = 0;
	DIR *dir;
	int rc = repository_list(r, &names, &n, NULL, e);

	if (rc != 0) {
		return rc;
	}
	if (n > 0) {
		qsort(names, n, sizeof *names, prune_by_hash);
	}
	dir = opendir(path);
	if (dir == NULL) {
		return err_set_errno(e, errno, "open directory '%s'", path);
	}
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		rc = prune_receipt(r, entry->d_name, names, n, e);
	}
	(void)closedir(dir); /* Only read. */
	return rc;
}

static int prune_objects(
	struct repository *r, uint64_t older_than_ms, uint64_t *freed, struct err *e)
{
	struct prune_keep keep = {0};
	int rc = prune_keep_load(r, &keep, e);

	for (unsigned i = 0; rc == 0 && i < 256; i++) {
		_cleanup_(x_freep) char *path =
			x_asprintf("%s/objects/%02x", repository_path(r), i);

		rc = prune_directory(path, &keep, older_than_ms, freed, e);
	}
	free(keep.hashes);
	return rc;
}

/* What was set aside as damaged is kept for a look at it, as long as a snapshot is. */
static int prune_damaged(struct repository *r, uint64_t wall_ms, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/damaged", repository_path(r));
	struct dirent *entry;
	DIR *dir = opendir(path);
	int rc = 0;

	if (dir == NULL) {
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "open directory '%s'", path);
	}
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		struct stat st;

		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
			!S_ISREG(st.st_mode) ||
			(uint64_t)st.st_ctim.tv_sec * 1000 + BACKUP_KEPT_MS >= wall_ms) {
			continue;
		}
		if (unlinkat(dirfd(dir), entry->d_name, 0) != 0) {
			rc = err_set_errno(e, errno, "remove '%s/%s'", path, entry->d_name);
		}
	}
	(void)closedir(dir); /* Only read. */
	return rc;
}

int repository_prune(struct repository *r, const struct manifest_name *names, size_t n,
	uint64_t wall_ms, uint64_t leftover_ms, uint64_t *ret_bytes_freed, struct err *e)
{
	_cleanup_(x_freep) char *manifests = x_asprintf("%s/manifests", repository_path(r));
	uint64_t older_than_ms = wall_ms < leftover_ms ? 0 : wall_ms - leftover_ms, freed = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = prune_manifest(r, &names[i], e);
	}
	if (rc == 0 && n > 0) {
		rc = file_sync_dir(manifests, e);
	}
	if (rc == 0) {
		repository_lock(r);
		rc = prune_damaged(r, wall_ms, e);
		rc = rc != 0 ? rc : prune_objects(r, older_than_ms, &freed, e);
		rc = rc != 0 ? rc : prune_receipts(r, e);
		repository_unlock(r);
	}
	if (rc == 0) {
		*ret_bytes_freed = freed;
	}
	return rc;
}

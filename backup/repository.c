#include "backup/repository.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "base/wire.h"

struct repository {
	char *path;
	int lock_fd; /* -1: opened for reading. */
	atomic_ullong next_file;
	pthread_mutex_t lock; /* Between a manifest's check of its objects and a prune. */
};

struct repository_file {
	struct repository *repository;
	char *path;
	int fd;
};

static int repository_empty_tmp(struct repository *r, struct err *e)
{
	_cleanup_(x_freep) char *tmp = x_asprintf("%s/tmp", r->path);
	int rc = file_remove_tree(tmp, e);

	return rc != 0 ? rc : file_make_dirs(tmp, 0700, e);
}

static int repository_sync_below(const struct repository *r, const char *name, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", r->path, name);

	return access(path, R_OK) == 0 ? file_sync_dir(path, e) : 0;
}

/* What a crash left between a name and the sync of its directory is there to be seen, and a receipt
 * may rest on it from now on: so it must not go with the power. */
static int repository_sync_all(const struct repository *r, struct err *e)
{
	static const char *const dirs[] = {"manifests", "receipts", "objects", ".", ".."};
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < 256; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "objects/%02x", i); /* Fits. */
		rc = repository_sync_below(r, name, e);
	}
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(dirs); i++) {
		rc = repository_sync_below(r, dirs[i], e);
	}
	return rc;
}

static int repository_prepare(struct repository *r, struct err *e)
{
	static const char *const dirs[] = {"objects", "manifests", "receipts"};
	_cleanup_(x_freep) char *lock = x_asprintf("%s/lock", r->path);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(dirs); i++) {
		_cleanup_(x_freep) char *dir = x_asprintf("%s/%s", r->path, dirs[i]);

		rc = file_make_dirs(dir, 0700, e);
	}
	if (rc != 0) {
		return rc;
	}
	r->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r->lock_fd < 0) {
		return err_set_errno(e, errno, "open '%s'", lock);
	}
	rc = lock_take(r->lock_fd, lock, e);
	if (rc == KLUIS_EBUSY) {
		return err_wrap(e, rc, "repository '%s' is being written", r->path);
	}
	rc = rc != 0 ? rc : repository_empty_tmp(r, e);
	return rc != 0 ? rc : repository_sync_all(r, e);
}

static struct repository *repository_new(const char *path)
{
	struct repository *r = x_calloc(1, sizeof *r);

	r->path = x_strdup(path);
	r->lock_fd = -1;
	(void)pthread_mutex_init(&r->lock, NULL); /* Cannot fail with default attributes. */
	return r;
}

int repository_open(const char *path, struct repository **ret_repository, struct err *e)
{
	_cleanup_(x_freep) char *manifests = x_asprintf("%s/manifests", path);

	if (!file_exists(manifests)) {
		return err_set(e, KLUIS_ENOTFOUND, "no backup repository in '%s'", path);
	}
	*ret_repository = repository_new(path);
	return 0;
}

int repository_open_writer(const char *path, struct repository **ret_repository, struct err *e)
{
	struct repository *r = repository_new(path);
	int rc = repository_prepare(r, e);
	if (rc != 0) {
		repository_close(r);
		return rc;
	}
	*ret_repository = r;
	return 0;
}

void repository_close(struct repository *r)
{
	if (r != NULL) {
		if (r->lock_fd >= 0) {
			(void)close(r->lock_fd); /* Gives the lock back. */
		}
		(void)pthread_mutex_destroy(&r->lock); /* Not held: nobody uses r any more. */
		free(r->path);
		free(r);
	}
}

void repository_lock(struct repository *r)
{
	(void)pthread_mutex_lock(&r->lock); /* Fails only for a broken mutex. */
}

void repository_unlock(struct repository *r)
{
	(void)pthread_mutex_unlock(&r->lock);
}

const char *repository_path(const struct repository *r)
{
	return r->path;
}

int repository_file_new(struct repository *r, struct repository_file **ret_file, struct err *e)
{
	struct repository_file *file;
	char *path;
	int fd;

	assert(r->lock_fd >= 0);
	path = x_asprintf("%s/tmp/%llu", r->path, atomic_fetch_add(&r->next_file, 1));
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int rc = err_set_errno(e, errno, "create '%s'", path);

		free(path);
		return rc;
	}
	file = x_calloc(1, sizeof *file);
	*file = (struct repository_file){.repository = r, .path = path, .fd = fd};
	*ret_file = file;
	return 0;
}

int repository_file_fd(const struct repository_file *file)
{
	return file->fd;
}

void repository_file_discard(struct repository_file *file)
{
	if (file != NULL) {
		(void)close(file->fd);	  /* Either synced already or not wanted. */
		(void)unlink(file->path); /* Renamed already, or rubbish that opening clears. */
		free(file->path);
		free(file);
	}
}

/* "<repository>/objects/ab" or ".../objects/ab/<hash>" */
static char *repository_object_path(
	const struct repository *r, const uint8_t hash[32], bool directory)
{
	char text[HEX_LEN(32) + 1];

	hex_encode(bytes_of(hash, 32), text);
	if (directory) {
		return x_asprintf("%s/objects/%.2s", r->path, text);
	}
	return x_asprintf("%s/objects/%.2s/%s", r->path, text, text);
}

static int repository_file_rename(
	struct repository_file *file, const char *path, const char *directory, struct err *e)
{
	if (FAULT_POINT("backup.repository.sync") || fsync(file->fd) != 0) {
		return err_set_errno(e, errno, "fsync '%s'", file->path);
	}
	if (fchmod(file->fd, 0400) != 0 || rename(file->path, path) != 0) {
		return err_set_errno(e, errno, "rename to '%s'", path);
	}
	return file_sync_dir(directory, e);
}

/* Its name is durable before anything in it counts. */
static int repository_make_directory(
	const struct repository *r, const char *directory, struct err *e)
{
	_cleanup_(x_freep) char *objects = x_asprintf("%s/objects", r->path);

	if (mkdir(directory, 0700) == 0) {
		return file_sync_dir(objects, e);
	}
	return errno == EEXIST ? 0 : err_set_errno(e, errno, "create directory '%s'", directory);
}

int repository_publish_object(struct repository_file *file, const uint8_t hash[32], struct err *e)
{
	struct repository *r = file->repository;
	_cleanup_(x_freep) char *directory = repository_object_path(r, hash, true);
	_cleanup_(x_freep) char *path = repository_object_path(r, hash, false);
	int rc = repository_make_directory(r, directory, e);

	if (rc == 0) {
		rc = repository_file_rename(file, path, directory, e);
	}
	repository_file_discard(file);
	return rc;
}

int repository_open_object(struct repository *r, const uint8_t hash[32], int *ret_fd,
	uint64_t *ret_bytes, struct err *e)
{
	_cleanup_(x_freep) char *path = repository_object_path(r, hash, false);
	_cleanup_(x_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		return err_set_errno(e, errno, "object '%s'", path);
	}
	*ret_bytes = (uint64_t)st.st_size;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static int repository_move_aside(
	struct repository *r, const char *from_dir, const char *from, struct err *e)
{
	_cleanup_(x_freep) char *directory = x_asprintf("%s/damaged", r->path);
	_cleanup_(x_freep) char *to = x_asprintf("%s%s", directory, strrchr(from, '/'));
	int rc = file_make_dirs(directory, 0700, e);

	assert(r->lock_fd >= 0);
	if (rc != 0) {
		return rc;
	}
	if (rename(from, to) != 0 && errno != ENOENT) {
		return err_set_errno(e, errno, "rename to '%s'", to);
	}
	rc = file_sync_dir(directory, e);
	return rc != 0 ? rc : file_sync_dir(from_dir, e);
}

int repository_set_aside(struct repository *r, const uint8_t hash[32], struct err *e)
{
	_cleanup_(x_freep) char *from_dir = repository_object_path(r, hash, true);
	_cleanup_(x_freep) char *from = repository_object_path(r, hash, false);

	return repository_move_aside(r, from_dir, from, e);
}

static int repository_objects_check(
	struct repository *r, const struct backup_manifest *m, struct err *e)
{
	for (uint32_t i = 0; i < m->n_index + m->n_packs; i++) {
		_cleanup_(x_closep) int fd = -1;
		uint64_t bytes = 0;
		int rc = repository_open_object(r, m->objects[i].hash, &fd, &bytes, e);

		if (rc != 0) {
			return rc;
		}
		if (bytes != m->objects[i].bytes) {
			return err_set(e, KLUIS_ENOTFOUND, "object %u has %llu bytes, not %llu", i,
				(unsigned long long)bytes, (unsigned long long)m->objects[i].bytes);
		}
	}
	return 0;
}

/* A small file that appears whole or not at all; the same name is always the same bytes. */
static int repository_put(struct repository *r, const char *below, const char *path,
	struct bytes bytes, struct err *e)
{
	_cleanup_(x_freep) char *directory = x_asprintf("%s/%s", r->path, below);
	struct repository_file *file = NULL;
	int rc = repository_file_new(r, &file, e);

	if (rc != 0) {
		return rc;
	}
	rc = file_write_all(file->fd, bytes) == 0
		     ? repository_file_rename(file, path, directory, e)
		     : err_set_errno(e, errno, "write '%s'", file->path);
	repository_file_discard(file);
	return rc;
}

static char *repository_manifest_path(const struct repository *r, const struct manifest_name *name)
{
	char text[MANIFEST_NAME_BYTES];

	manifest_name_format(name, text);
	return x_asprintf("%s/manifests/%s", r->path, text);
}

int repository_set_manifest_aside(
	struct repository *r, const struct manifest_name *name, struct err *e)
{
	_cleanup_(x_freep) char *from_dir = x_asprintf("%s/manifests", r->path);
	_cleanup_(x_freep) char *from = repository_manifest_path(r, name);

	return repository_move_aside(r, from_dir, from, e);
}

int repository_put_manifest(struct repository *r, struct bytes bytes, struct err *e)
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(x_freep) char *path = NULL;
	struct manifest_name name;
	int rc;

	assert(r->lock_fd >= 0);
	rc = backup_manifest_parse(bytes, &m, name.hash, e);
	if (rc != 0) {
		return rc;
	}
	memcpy(name.lineage, m.lineage, ID_BYTES);
	name.index = m.index;
	path = repository_manifest_path(r, &name);
	repository_lock(r);
	rc = repository_objects_check(r, &m, e);
	if (rc == 0) {
		rc = repository_put(r, "manifests", path, bytes, e);
	}
	repository_unlock(r);
	return rc;
}

static char *repository_receipt_path(
	const struct repository *r, const uint8_t hash[32], uint64_t node)
{
	char text[HEX_LEN(32) + 1];

	hex_encode(bytes_of(hash, 32), text);
	return x_asprintf("%s/receipts/%s-%016llx", r->path, text, (unsigned long long)node);
}

int repository_put_receipt(
	struct repository *r, const struct receipt *receipt, struct bytes bytes, struct err *e)
{
	_cleanup_(x_freep) char *path =
		repository_receipt_path(r, receipt->manifest_hash, receipt->node);

	assert(r->lock_fd >= 0 && bytes.len == RECEIPT_BYTES);
	return repository_put(r, "receipts", path, bytes, e);
}

int repository_get_receipt(struct repository *r, const uint8_t manifest_hash[32], uint64_t node,
	struct buf *to, struct err *e)
{
	_cleanup_(x_freep) char *path = repository_receipt_path(r, manifest_hash, node);

	return file_read(path, RECEIPT_BYTES, to, e);
}

int repository_get_manifest(
	struct repository *r, const struct manifest_name *name, struct buf *to, struct err *e)
{
	_cleanup_(x_freep) char *path = repository_manifest_path(r, name);

	return file_read(path, BACKUP_MANIFEST_BYTES_MAX, to, e);
}

int repository_open_manifest(
	struct repository *r, const struct manifest_name *name, int *ret_fd, struct err *e)
{
	_cleanup_(x_freep) char *path = repository_manifest_path(r, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0) {
		return err_set_errno(e, errno, "open '%s'", path);
	}
	*ret_fd = fd;
	return 0;
}

static int repository_name_compare(const void *left, const void *right)
{
	const struct manifest_name *a = left, *b = right;
	int lineage = memcmp(a->lineage, b->lineage, sizeof a->lineage);

	if (lineage != 0) {
		return lineage;
	}
	if (a->index != b->index) {
		return a->index < b->index ? -1 : 1;
	}
	return memcmp(a->hash, b->hash, sizeof a->hash);
}

struct repository_names {
	struct manifest_name *rows;
	size_t n, foreign;
};

static int repository_names_add(struct repository_names *names, const char *text, struct err *e)
{
	struct manifest_name name;

	if (text[0] == '.') {
		return 0;
	}
	if (!manifest_name_parse(text, &name)) {
		names->foreign++;
		return 0;
	}
	if (names->n == BACKUP_SNAPSHOTS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d snapshots", BACKUP_SNAPSHOTS_MAX);
	}
	if ((names->n & (names->n - 1)) == 0) { /* At each power of two. */
		size_t room = names->n == 0 ? 1 : 2 * names->n;

		names->rows = x_realloc(names->rows, room * sizeof *names->rows);
	}
	names->rows[names->n++] = name;
	return 0;
}

int repository_read_manifest(struct repository *r, const struct manifest_name *name, struct buf *to,
	struct backup_manifest *ret_manifest, struct err *e)
{
	struct backup_manifest m = {0};
	uint8_t hash[HASH_BYTES];
	size_t from = to->len;
	int rc = repository_get_manifest(r, name, to, e);

	if (rc == 0) {
		rc = backup_manifest_parse(bytes_of(to->data + from, to->len - from), &m, hash, e);
	}
	if (rc == 0 && memcmp(hash, name->hash, HASH_BYTES) != 0) {
		backup_manifest_release(&m);
		rc = err_set(e, KLUIS_EVERIFY, "one of its bytes was changed");
	}
	if (rc == 0) {
		*ret_manifest = m;
	}
	return rc;
}

int repository_list(struct repository *r, struct manifest_name **ret_names, size_t *ret_n,
	size_t *ret_foreign, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/manifests", r->path);
	struct repository_names names = {0};
	struct dirent *entry;
	DIR *dir = opendir(path);
	int rc = 0;

	if (dir == NULL) {
		return err_set_errno(e, errno, "open directory '%s'", path);
	}
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		rc = repository_names_add(&names, entry->d_name, e);
	}
	(void)closedir(dir); /* Only read. */
	if (rc != 0) {
		free(names.rows);
		return rc;
	}
	if (names.n > 0) {
		qsort(names.rows, names.n, sizeof *names.rows, repository_name_compare);
	}
	*ret_names = names.rows;
	*ret_n = names.n;
	if (ret_foreign != NULL) {
		*ret_foreign = names.foreign;
	}
	return 0;
}

int repository_find(struct repository *r, const uint8_t manifest_hash[32],
	struct manifest_name *ret_name, struct err *e)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	char text[HEX_LEN(32) + 1];
	size_t n = 0;
	int rc = repository_list(r, &names, &n, NULL, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (memcmp(names[i].hash, manifest_hash, sizeof names[i].hash) == 0) {
			*ret_name = names[i];
			return 0;
		}
	}
	if (rc != 0) {
		return rc;
	}
	hex_encode(bytes_of(manifest_hash, 32), text);
	return err_set(e, KLUIS_ENOTFOUND, "no snapshot '%s' in '%s'", text, r->path);
}

/* Only damage of this copy: another site's has the same bytes as they should be. */
static int repository_fault(const char *file, int rc, struct err *e)
{
	bool damage = rc == KLUIS_ECORRUPT || rc == KLUIS_EVERIFY || rc == KLUIS_ENOTFOUND;
	struct err why = {0};

	if (e != NULL) {
		why = *e;
	}
	return err_set(e, rc == KLUIS_ENOTFOUND ? KLUIS_EVERIFY : rc, "%s: %s%s", file,
		rc == KLUIS_ENOTFOUND ? "missing" : why.text,
		damage ? "; use another site's copy" : "");
}

int repository_object_fault(const uint8_t hash[32], int rc, struct err *e)
{
	char hex[HEX_LEN(32) + 1], file[64];

	if (rc == 0) {
		return 0;
	}
	hex_encode(bytes_of(hash, 32), hex);
	(void)snprintf(file, sizeof file, "object 'objects/%.2s/%.16s*'", hex, hex);
	return repository_fault(file, rc, e);
}

int repository_manifest_fault(const struct manifest_name *name, int rc, struct err *e)
{
	char hex[HEX_LEN(32) + 1], file[64];

	if (rc == 0) {
		return 0;
	}
	hex_encode(bytes_of(name->hash, 32), hex);
	(void)snprintf(file, sizeof file, "manifest 'manifests/*-%016llx-%.16s*'",
		(unsigned long long)name->index, hex);
	return repository_fault(file, rc, e);
}

/* A site's backup repository on its own disk: objects, manifests, receipts under strict names, each
 * there by rename after its fsync (docs/format-backup.md section 6). Blocking; one writer process
 * and any number of readers; any threads on one handle. */
#ifndef KLUIS_BACKUP_REPOSITORY_H
#define KLUIS_BACKUP_REPOSITORY_H

#include "backup/manifest.h"
#include "backup/names.h"
#include "backup/receipt.h"
#include "backup/retention.h"

struct repository;

/* Opens for reading; KLUIS_ENOTFOUND when there is none. */
KLUIS_MUST_CHECK int repository_open(
	const char *path, struct repository **ret_repository, struct err *e);
/* Opens for writing: makes what is missing (0700), takes the lock (KLUIS_EBUSY) and empties tmp/.
 */
KLUIS_MUST_CHECK int repository_open_writer(
	const char *path, struct repository **ret_repository, struct err *e);
void repository_close(struct repository *repository); /* NULL is fine. */
const char *repository_path(const struct repository *repository);
/* Held by what checks that objects are here and relies on it, and by what removes objects. */
void repository_lock(struct repository *repository);
void repository_unlock(struct repository *repository);

/* A new file in tmp/ (0600), open for reading and writing. It is then either published or
 * discarded, which frees it. */
struct repository_file;
KLUIS_MUST_CHECK int repository_file_new(
	struct repository *repository, struct repository_file **ret_file, struct err *e);
int repository_file_fd(const struct repository_file *file);
/* fsync, then its name as object `hash`. An object that is there already stays: same name, same
 * bytes. Frees file, whatever happens. */
KLUIS_MUST_CHECK int repository_publish_object(
	struct repository_file *file, const uint8_t hash[32], struct err *e);
void repository_file_discard(struct repository_file *file); /* NULL is fine. */

/* bytes: a checked manifest whose objects are all here (KLUIS_ENOTFOUND names one that is not, or
 * has another size). An identical one that is there already is success. */
KLUIS_MUST_CHECK int repository_put_manifest(
	struct repository *repository, struct bytes bytes, struct err *e);
KLUIS_MUST_CHECK int repository_put_receipt(struct repository *repository,
	const struct receipt *receipt, struct bytes bytes, struct err *e);
/* Appends RECEIPT_BYTES; KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int repository_get_receipt(struct repository *repository,
	const uint8_t manifest_hash[32], uint64_t node, struct buf *to, struct err *e);

/* Read-only descriptor of an object, the caller's to close; its size in *ret_bytes. */
KLUIS_MUST_CHECK int repository_open_object(struct repository *repository, const uint8_t hash[32],
	int *ret_fd, uint64_t *ret_bytes, struct err *e);
/* Moves an object that is not what its name says to damaged/, so that a good one can come in its
 * place. One that is gone is success. */
KLUIS_MUST_CHECK int repository_set_aside(
	struct repository *repository, const uint8_t hash[32], struct err *e);
/* Moves a manifest to damaged/: what it names is no snapshot here any more. One that is gone is
 * success. */
KLUIS_MUST_CHECK int repository_set_manifest_aside(
	struct repository *repository, const struct manifest_name *name, struct err *e);
/* Appends the manifest's bytes as they are on disk; name as listed. */
KLUIS_MUST_CHECK int repository_get_manifest(struct repository *repository,
	const struct manifest_name *name, struct buf *to, struct err *e);

/* The same, parsed (its signature is not looked at), once it is known to be what its name says:
 * KLUIS_EVERIFY. Release *ret_manifest. */
KLUIS_MUST_CHECK int repository_read_manifest(struct repository *repository,
	const struct manifest_name *name, struct buf *to, struct backup_manifest *ret_manifest,
	struct err *e);

/* Read-only descriptor of it, the caller's to close. */
KLUIS_MUST_CHECK int repository_open_manifest(struct repository *repository,
	const struct manifest_name *name, int *ret_fd, struct err *e);

/* All manifests by lineage, then index. Foreign names are skipped and counted in ret_foreign (may
 * be NULL); more than BACKUP_SNAPSHOTS_MAX is KLUIS_ETOOLARGE. *ret_names is the caller's to free.
 */
KLUIS_MUST_CHECK int repository_list(struct repository *repository,
	struct manifest_name **ret_names, size_t *ret_n, size_t *ret_foreign, struct err *e);
/* KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int repository_find(struct repository *repository, const uint8_t manifest_hash[32],
	struct manifest_name *ret_name, struct err *e);

/* For what was found wrong with an object or a manifest: says in e which file it is, as a pattern
 * that a shell takes in the repository's directory, and what to do. Returns rc; a file that is
 * missing is KLUIS_EVERIFY, for a manifest or the log names it. 0 stays 0. */
int repository_object_fault(const uint8_t hash[32], int rc, struct err *e);
int repository_manifest_fault(const struct manifest_name *name, int rc, struct err *e);

/* Removes these snapshots, manifest first, then all objects that no manifest left names, here or
 * set aside in the last two weeks, and that are older than leftover_ms by wall_ms. Interrupted
 * anywhere it leaves every other snapshot whole. */
KLUIS_MUST_CHECK int repository_prune(struct repository *repository,
	const struct manifest_name *names, size_t n, uint64_t wall_ms, uint64_t leftover_ms,
	uint64_t *ret_bytes_freed, struct err *e);

#endif

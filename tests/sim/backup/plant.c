/* What a taker could do wrong without anything failing at once (the linker's --wrap). */
#include <dirent.h>
#include <unistd.h>

#include "backup/index.h"
#include "backup/manifest.h"
#include "storage/index_store.h"
#include "tests/sim/backup/fortnight.h"

enum { LOST_ONE_OF = 40 };

static enum bug planted, planted_readers;
static unsigned count;

int __real_snapshot_store_state(
	const struct kv_view *view, struct snapshot_state_row *ret_row, struct err *e);
int __wrap_snapshot_store_state(
	const struct kv_view *view, struct snapshot_state_row *ret_row, struct err *e);
bool __real_index_wanted(const struct backup_manifest *manifest, uint64_t index, struct bytes key);
bool __real_index_iter_next(struct index_iter *iter, struct index_row *ret_row);
bool __wrap_index_wanted(const struct backup_manifest *manifest, uint64_t index, struct bytes key);
bool __wrap_index_iter_next(struct index_iter *iter, struct index_row *ret_row);

int __real_backup_manifest_open_held(struct bytes bytes, const struct backup_trust *trust,
	struct backup_manifest *ret_manifest, uint8_t ret_hash[32], bool *ret_former,
	struct err *e);
int __wrap_backup_manifest_open_held(struct bytes bytes, const struct backup_trust *trust,
	struct backup_manifest *ret_manifest, uint8_t ret_hash[32], bool *ret_former,
	struct err *e);

void plant(enum bug bug)
{
	planted = bug;
}

/* The first one of the directory that comes first: whatever that may be. */
void plant_loss(const struct site *site)
{
	for (unsigned i = 0; i < 256; i++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/objects/%02x", site->path, i);
		DIR *dir = opendir(path);
		struct dirent *entry;
		bool gone = false;

		while (dir != NULL && !gone && (entry = readdir(dir)) != NULL) {
			gone = entry->d_name[0] != '.' &&
			       unlinkat(dirfd(dir), entry->d_name, 0) == 0;
		}
		if (dir != NULL) {
			(void)closedir(dir); /* Only read. */
		}
		if (gone) {
			return;
		}
	}
}

void plant_readers(enum bug bug)
{
	planted_readers = bug;
}

/* As if a key that its node has no longer were good for nothing. */
int __wrap_backup_manifest_open_held(struct bytes bytes, const struct backup_trust *trust,
	struct backup_manifest *ret_manifest, uint8_t ret_hash[32], bool *ret_former, struct err *e)
{
	if (planted_readers == BUG_FORMER_REFUSED) {
		return backup_manifest_open(bytes, trust, ret_manifest, ret_hash, e);
	}
	return __real_backup_manifest_open_held(
		bytes, trust, ret_manifest, ret_hash, ret_former, e);
}

bool __wrap_index_wanted(const struct backup_manifest *manifest, uint64_t index, struct bytes key)
{
	bool changed = index > manifest->from;

	if (planted == BUG_SLICE_FORGOTTEN && !changed) {
		return false;
	}
	if (planted == BUG_CHANGE_LOST && changed && ++count % LOST_ONE_OF == 0) {
		return false;
	}
	return __real_index_wanted(manifest, index, key);
}

bool __wrap_index_iter_next(struct index_iter *iter, struct index_row *ret_row)
{
	bool more = __real_index_iter_next(iter, ret_row);

	while (more && planted == BUG_TOMBSTONE_LOST && ret_row->deleted) {
		more = __real_index_iter_next(iter, ret_row);
	}
	return more;
}

/* As if nobody had claimed the cycle. */
int __wrap_snapshot_store_state(
	const struct kv_view *view, struct snapshot_state_row *ret_row, struct err *e)
{
	int rc = __real_snapshot_store_state(view, ret_row, e);

	if (rc == 0 && planted == BUG_CLAIM_TWICE && ret_row->claimed_id != 0) {
		ret_row->claimed_id = 0;
		ret_row->last_slot = 0;
	}
	return rc;
}

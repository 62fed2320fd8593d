/* What a taker could do wrong without anything failing at once (the linker's --wrap). */
#include "backup/index.h"
#include "storage/index_store.h"
#include "tests/sim/backup/fortnight.h"

enum { LOST_ONE_OF = 40 };

static enum bug planted;
static unsigned count;

int __real_snapshot_store_state(
	const struct kv_view *view, struct snapshot_state_row *ret_row, struct err *e);
int __wrap_snapshot_store_state(
	const struct kv_view *view, struct snapshot_state_row *ret_row, struct err *e);
bool __real_index_wanted(const struct backup_manifest *manifest, uint64_t index, struct bytes key);
bool __real_index_iter_next(struct index_iter *iter, struct index_row *ret_row);
bool __wrap_index_wanted(const struct backup_manifest *manifest, uint64_t index, struct bytes key);
bool __wrap_index_iter_next(struct index_iter *iter, struct index_row *ret_row);

void plant(enum bug bug)
{
	planted = bug;
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

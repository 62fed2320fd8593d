#include "backup/point.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

int point_manifest(struct repository *repository, const uint8_t manifest_hash[HASH_BYTES],
	const struct backup_trust *trust, struct backup_manifest *ret_manifest, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct manifest_name name;
	uint8_t hash[HASH_BYTES];
	int rc = repository_find(repository, manifest_hash, &name, e);

	if (rc != 0) {
		return rc;
	}
	rc = repository_get_manifest(repository, &name, &bytes, e);
	if (rc == 0) {
		rc = backup_manifest_open_held(buf_bytes(&bytes), trust, &m, hash, NULL, e);
	}
	if (rc == 0 && (memcmp(hash, manifest_hash, HASH_BYTES) != 0 || m.index != name.index ||
			       memcmp(m.lineage, name.lineage, ID_BYTES) != 0)) {
		rc = err_set(e, KLUIS_EVERIFY, "a manifest under another one's name");
	}
	if (rc != 0) {
		return repository_manifest_fault(&name, rc, e);
	}
	*ret_manifest = m;
	m.objects = NULL;
	return 0;
}

/* below is what above says it is built on. */
static int point_link(
	const struct backup_manifest *above, const struct backup_manifest *below, struct err *e)
{
	bool journal = above->type == MANIFEST_JOURNAL;
	uint32_t cycle = above->manual || journal ? above->cycle : above->cycle - 1;
	bool after = below->type != MANIFEST_JOURNAL || (journal && below->number < above->number);

	if (!after || memcmp(above->cluster_id, below->cluster_id, ID_BYTES) != 0 ||
		memcmp(above->lineage, below->lineage, ID_BYTES) != 0 ||
		above->from != below->index || below->manual || below->cycle != cycle) {
		return err_set(e, KLUIS_EVERIFY,
			"the snapshot of index %llu does not continue the one of index %llu",
			(unsigned long long)above->index, (unsigned long long)below->index);
	}
	return 0;
}

static int point_add(struct point *point, const uint8_t hash[HASH_BYTES],
	const struct backup_trust *trust, struct err *e)
{
	struct point_snapshot *row = &point->snapshots[point->n];
	int rc;

	if (point->n_journals > JOURNAL_CHAIN_MAX - 1) { /* Room for the cycles is left. */
		return err_set(e, KLUIS_ECORRUPT, "more than %d journal increments in a row",
			JOURNAL_CHAIN_MAX - 1);
	}
	assert(point->n < POINT_SNAPSHOTS_MAX);
	rc = point_manifest(point->repository, hash, trust, &row->manifest, e);
	if (rc == KLUIS_ENOTFOUND && point->n > 0) {
		/* The one above it names it. */
		rc = err_set(e, KLUIS_EVERIFY,
			"the manifest of index %llu is missing; use another site's copy",
			(unsigned long long)point->snapshots[point->n - 1].manifest.from);
	}
	if (rc != 0) {
		return rc;
	}
	memcpy(row->hash, hash, HASH_BYTES);
	point->n++;
	point->n_journals += row->manifest.type == MANIFEST_JOURNAL;
	return point->n == 1
		       ? 0
		       : point_link(&point->snapshots[point->n - 2].manifest, &row->manifest, e);
}

int point_open(struct repository *repository, const uint8_t manifest_hash[HASH_BYTES],
	const struct backup_trust *trust, struct point **ret_point, struct err *e)
{
	struct point *point = x_calloc(1, sizeof *point);
	const struct backup_manifest *last;
	unsigned cycles = 0;
	int rc;

	point->repository = repository;
	rc = point_add(point, manifest_hash, trust, e);
	while (rc == 0) {
		last = &point->snapshots[point->n - 1].manifest;
		cycles += !last->manual && last->type != MANIFEST_JOURNAL;
		if (last->type == MANIFEST_FULL || cycles == BACKUP_SLICES) {
			break;
		}
		rc = point_add(point, last->base, trust, e);
	}
	if (rc != 0) {
		unsigned at = point->n;

		point_free(point);
		return at == 0 ? rc : err_wrap(e, rc, "snapshot %u of the chain", at + 1);
	}
	*ret_point = point;
	return 0;
}

void point_free(struct point *point)
{
	if (point != NULL) {
		for (unsigned i = 0; i < point->n; i++) {
			backup_manifest_release(&point->snapshots[i].manifest);
		}
		free(point);
	}
}

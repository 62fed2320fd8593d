/* Retention applied to a repository: receive_prune(). */
#include <string.h>

#include "backup/receive.h"

/* When it was complete here, by our own receipt; by the taker's own manifest for what this site
 * took itself. A snapshot without either is one whose receipt is not written yet: as new as now. */
static uint64_t forget_received_ms(const struct receive_config *config,
	const struct backup_manifest *m, const uint8_t hash[32], uint64_t wall_ms)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct receipt receipt;

	if (repository_get_receipt(config->repository, hash, config->node, &bytes, NULL) == 0 &&
		receipt_open(buf_bytes(&bytes), config->trust, &receipt, NULL) == 0 &&
		memcmp(receipt.manifest_hash, hash, HASH_BYTES) == 0) {
		return receipt.received_ms;
	}
	return m->node == config->node ? m->wall_ms : wall_ms;
}

static int forget_load(const struct receive_config *config, const struct manifest_name *name,
	uint64_t wall_ms, struct retention_snapshot *ret_snapshot, uint8_t ret_base[HASH_BYTES],
	struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	const struct snapshot_row *record;
	uint8_t hash[HASH_BYTES];
	int rc = repository_get_manifest(config->repository, name, &bytes, e);

	if (rc == 0) {
		rc = backup_manifest_parse(buf_bytes(&bytes), &m, hash, e);
	}
	if (rc != 0) {
		return rc;
	}
	memcpy(ret_snapshot->lineage, m.lineage, ID_BYTES);
	ret_snapshot->index = m.index;
	ret_snapshot->cycle = m.cycle;
	ret_snapshot->full = m.type == MANIFEST_FULL;
	ret_snapshot->manual = m.manual;
	record = receive_record(config, hash);
	/* The log forgets the records of an earlier lineage, and takes no new ones of it. */
	ret_snapshot->stray = record == NULL && memcmp(m.lineage, config->lineage, ID_BYTES) == 0;
	ret_snapshot->unconfirmed = record != NULL && record->state != SNAPSHOT_CONFIRMED;
	ret_snapshot->pinned = record != NULL && record->pinned;
	ret_snapshot->received_ms = forget_received_ms(config, &m, hash, wall_ms);
	memcpy(ret_base, m.base, HASH_BYTES);
	return 0;
}

/* bases[i]: the manifest hash of what snapshot i is built on. */
static void forget_mark_bases(const struct manifest_name *names, uint8_t (*bases)[HASH_BYTES],
	struct retention_snapshot *snapshots, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n && !snapshots[i].base; j++) {
			snapshots[i].base = memcmp(names[i].hash, bases[j], HASH_BYTES) == 0;
		}
	}
}

/* Moves the names that go to the front; returns how many. */
static size_t forget_select(
	struct manifest_name *names, const struct retention_snapshot *snapshots, size_t n)
{
	size_t gone = 0;

	for (size_t i = 0; i < n; i++) {
		if (snapshots[i].prune) {
			names[gone++] = names[i];
		}
	}
	return gone;
}

int receive_prune(const struct receive_config *config, uint64_t wall_ms,
	const struct retention_rules *rules, unsigned *ret_pruned, struct err *e)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	_cleanup_(x_freep) struct retention_snapshot *snapshots = NULL;
	_cleanup_(x_freep) uint8_t(*bases)[HASH_BYTES] = NULL;
	uint64_t freed = 0;
	size_t n = 0;
	int rc = repository_list(config->repository, &names, &n, NULL, e);

	if (rc != 0) {
		return rc;
	}
	snapshots = x_calloc(n + 1, sizeof *snapshots);
	bases = x_calloc(n + 1, sizeof *bases);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = forget_load(config, &names[i], wall_ms, &snapshots[i], bases[i], e);
	}
	if (rc != 0) {
		return rc;
	}
	forget_mark_bases(names, bases, snapshots, n);
	retention_plan(snapshots, n, wall_ms, rules);
	n = forget_select(names, snapshots, n);
	rc = repository_prune(config->repository, names, n, wall_ms, BACKUP_LEFTOVER_MS, &freed, e);
	if (rc == 0) {
		*ret_pruned = (unsigned)n;
	}
	return rc;
}

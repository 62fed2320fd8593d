/* Retention applied to a repository: receive_prune(). */
#include <string.h>

#include "backup/receive.h"

static bool forget_pinned(const uint8_t (*pins)[32], size_t n_pins, const uint8_t hash[32])
{
	for (size_t i = 0; i < n_pins; i++) {
		if (memcmp(pins[i], hash, HASH_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

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
	uint64_t wall_ms, struct retention_snapshot *ret_snapshot, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
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
	ret_snapshot->received_ms = forget_received_ms(config, &m, hash, wall_ms);
	return 0;
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

int receive_prune(const struct receive_config *config, const uint8_t (*pins)[32], size_t n_pins,
	uint64_t wall_ms, const struct retention_rules *rules, unsigned *ret_pruned, struct err *e)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	_cleanup_(x_freep) struct retention_snapshot *snapshots = NULL;
	uint64_t freed = 0;
	size_t n = 0;
	int rc = repository_list(config->repository, &names, &n, NULL, e);

	if (rc != 0) {
		return rc;
	}
	snapshots = x_calloc(n + 1, sizeof *snapshots);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = forget_load(config, &names[i], wall_ms, &snapshots[i], e);
		snapshots[i].pinned = forget_pinned(pins, n_pins, names[i].hash);
	}
	if (rc != 0) {
		return rc;
	}
	retention_plan(snapshots, n, wall_ms, rules);
	n = forget_select(names, snapshots, n);
	rc = repository_prune(config->repository, names, n, wall_ms, BACKUP_LEFTOVER_MS, &freed, e);
	if (rc == 0) {
		*ret_pruned = (unsigned)n;
	}
	return rc;
}

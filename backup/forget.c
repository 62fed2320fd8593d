/* Retention applied to a repository: receive_prune(). */
#include <string.h>
#include <sys/stat.h>

#include "backup/journal.h"
#include "backup/receive.h"
#include "base/log.h"

/* As old as its file, if that was here when this node began to run; else as new as now. */
static uint64_t forget_written_ms(
	const struct receive_config *config, const struct manifest_name *name, uint64_t wall_ms)
{
	_cleanup_(x_closep) int fd = -1;
	uint64_t written_ms = wall_ms;
	struct stat st;

	if (repository_open_manifest(config->repository, name, &fd, NULL) == 0 &&
		fstat(fd, &st) == 0) {
		written_ms = (uint64_t)st.st_mtim.tv_sec * 1000;
	}
	return written_ms < config->written_ms ? written_ms : wall_ms;
}

/* When it was complete here, by our own receipt; by the taker's own manifest for what this site
 * took itself. What has neither is new, its receipt not written yet, or came while this site had
 * another number: as old as the file. */
static uint64_t forget_received_ms(const struct receive_config *config,
	const struct backup_manifest *m, const struct manifest_name *name, uint64_t wall_ms)
{
	const uint8_t *hash = name->hash;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct receipt receipt;

	if (repository_get_receipt(config->repository, hash, config->node, &bytes, NULL) == 0 &&
		receipt_open(buf_bytes(&bytes), config->trust, &receipt, NULL) == 0 &&
		memcmp(receipt.manifest_hash, hash, HASH_BYTES) == 0) {
		return receipt.received_ms;
	}
	return m->node == config->node ? m->wall_ms : forget_written_ms(config, name, wall_ms);
}

/* What a repository holds, as retention looks at it. */
struct forget {
	const struct receive_config *config;
	uint64_t wall_ms;
	struct manifest_name *names; /* Of the snapshots. */
	struct retention_snapshot *snapshots;
	uint8_t (*bases)[HASH_BYTES]; /* Manifest hash of what snapshot i is built on. */
	size_t n;
	struct journal_copy *journals;
	size_t n_journals;
};

static void forget_release(struct forget *f)
{
	free(f->names);
	free(f->snapshots);
	free(f->bases);
	free(f->journals);
}

static void forget_add_journal(struct forget *f, const struct manifest_name *name,
	const struct backup_manifest *m, uint64_t received_ms)
{
	struct journal_copy *copy = &f->journals[f->n_journals++];

	*copy = (struct journal_copy){.name = *name, .cycle = m->cycle, .received_ms = received_ms};
	memcpy(copy->base, m->base, HASH_BYTES);
}

static void forget_add_snapshot(struct forget *f, const struct manifest_name *name,
	const struct backup_manifest *m, uint64_t received_ms)
{
	const struct snapshot_row *record = receive_record(f->config, name->hash);
	struct retention_snapshot *snapshot = &f->snapshots[f->n];

	memcpy(snapshot->lineage, m->lineage, ID_BYTES);
	snapshot->index = m->index;
	snapshot->cycle = m->cycle;
	snapshot->full = m->type == MANIFEST_FULL;
	snapshot->manual = m->manual;
	/* The log forgets the records of an earlier lineage, and takes no new ones of it. */
	snapshot->stray = record == NULL && memcmp(m->lineage, f->config->lineage, ID_BYTES) == 0;
	snapshot->unconfirmed = record != NULL && record->state != SNAPSHOT_CONFIRMED;
	snapshot->pinned = record != NULL && record->pinned;
	snapshot->received_ms = received_ms;
	memcpy(f->bases[f->n], m->base, HASH_BYTES);
	f->names[f->n++] = *name;
}

static int forget_load(struct forget *f, const struct manifest_name *name, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	uint64_t received_ms;
	int rc = repository_read_manifest(f->config->repository, name, &bytes, &m, e);

	if (rc != 0) {
		return repository_manifest_fault(name, rc, e);
	}
	received_ms = forget_received_ms(f->config, &m, name, f->wall_ms);
	if (m.type == MANIFEST_JOURNAL) {
		forget_add_journal(f, name, &m, received_ms);
	} else {
		forget_add_snapshot(f, name, &m, received_ms);
	}
	return 0;
}

static int forget_load_all(struct forget *f, struct err *e)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	size_t n = 0;
	int rc = repository_list(f->config->repository, &names, &n, NULL, e);

	if (rc != 0) {
		return rc;
	}
	f->names = x_calloc(n + 1, sizeof *f->names);
	f->snapshots = x_calloc(n + 1, sizeof *f->snapshots);
	f->bases = x_calloc(n + 1, sizeof *f->bases);
	f->journals = x_calloc(n + 1, sizeof *f->journals);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = forget_load(f, &names[i], e);
	}
	return rc;
}

static void forget_mark_bases(struct forget *f)
{
	for (size_t i = 0; i < f->n; i++) {
		for (size_t j = 0; j < f->n && !f->snapshots[i].base; j++) {
			f->snapshots[i].base =
				memcmp(f->names[i].hash, f->bases[j], HASH_BYTES) == 0;
		}
		for (size_t j = 0; j < f->n_journals && !f->snapshots[i].base; j++) {
			f->snapshots[i].base =
				memcmp(f->names[i].hash, f->journals[j].base, HASH_BYTES) == 0;
		}
	}
}

static void forget_plan_journals(struct forget *f, const struct retention_rules *rules)
{
	static const struct journal_row none;
	struct journal_keep keep = {.row = f->config->journal == NULL ? &none : f->config->journal,
		.now_ms = f->wall_ms,
		.kept_ms = rules->kept_ms};

	memcpy(keep.lineage, f->config->lineage, ID_BYTES);
	for (size_t i = 0; i < f->n; i++) {
		const struct retention_snapshot *s = &f->snapshots[i];

		if (!s->stray && !s->unconfirmed && !s->manual && s->cycle > keep.cycle &&
			memcmp(s->lineage, keep.lineage, ID_BYTES) == 0) {
			keep.cycle = s->cycle;
			keep.index = s->index;
		}
	}
	journal_keep_plan(f->journals, f->n_journals, &keep);
}

/* Their names, one behind the other; returns how many. */
static size_t forget_select(const struct forget *f, struct manifest_name *to)
{
	size_t gone = 0;

	for (size_t i = 0; i < f->n; i++) {
		if (f->snapshots[i].prune) {
			to[gone++] = f->names[i];
		}
	}
	for (size_t i = 0; i < f->n_journals; i++) {
		if (f->journals[i].prune) {
			to[gone++] = f->journals[i].name;
		}
	}
	return gone;
}

/* --- what the log has disowned ---------------------------------------------------------------- */

/* A manifest here, as far as that goes. */
struct disown_copy {
	struct manifest_name name;
	uint8_t base[HASH_BYTES];
	uint64_t id, node, from;
	bool gone;
};

/* One that failed before it was recorded names no manifest, and nothing is set aside by it. */
static bool disown_says(const struct snapshot_row *row)
{
	static const uint8_t none[HASH_BYTES];

	return snapshot_row_disowned(row) && memcmp(row->manifest_hash, none, HASH_BYTES) != 0;
}

/* A record can be made to name what another node took: it is this one's if it says the same of it.
 */
static const struct snapshot_row *disown_record(
	const struct receive_config *config, const struct disown_copy *copy)
{
	for (size_t i = 0; i < config->n_records; i++) {
		const struct snapshot_row *row = &config->records[i];

		if (row->id == copy->id && row->node == copy->node &&
			row->index == copy->name.index &&
			memcmp(row->manifest_hash, copy->name.hash, HASH_BYTES) == 0) {
			return row;
		}
	}
	return NULL;
}

/* A cycle in good standing: with what a cycle was taken against the log disowns it, too. */
static bool disown_stands(const struct snapshot_row *row)
{
	return row->kind != SNAPSHOT_MANUAL && row->state != SNAPSHOT_FAILED;
}

/* Of what is not here any more no more is known than the records say, of which one can be another
 * node's: one that stands answers for it. */
static bool disown_base_is_named(
	const struct receive_config *config, const struct disown_copy *copy)
{
	bool named = false, stands = false;

	for (size_t i = 0; i < config->n_records; i++) {
		const struct snapshot_row *row = &config->records[i];

		if (row->index == copy->from &&
			memcmp(row->manifest_hash, copy->base, HASH_BYTES) == 0) {
			named = named || disown_says(row);
			stands = stands || disown_stands(row);
		}
	}
	return named && !stands;
}

static bool disown_base_is_gone(const struct receive_config *config,
	const struct disown_copy *copies, size_t n, const struct disown_copy *copy)
{
	if (copy->from == 0) {
		return false; /* A full one has none. */
	}
	for (size_t i = 0; i < n; i++) {
		if (memcmp(copies[i].name.hash, copy->base, HASH_BYTES) == 0) {
			return copies[i].gone;
		}
	}
	return disown_base_is_named(config, copy);
}

static bool disown_is_gone(const struct receive_config *config, const struct disown_copy *copies,
	size_t n, const struct disown_copy *copy)
{
	const struct snapshot_row *row = disown_record(config, copy);

	if (row != NULL && (disown_says(row) || disown_stands(row))) {
		return disown_says(row);
	}
	return disown_base_is_gone(config, copies, n, copy);
}

/* Of this lineage, by index, so that a base comes before what is built on it. */
static void disown_mark(const struct receive_config *config, struct disown_copy *copies, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		copies[i].gone = memcmp(copies[i].name.lineage, config->lineage, ID_BYTES) == 0 &&
				 disown_is_gone(config, copies, n, &copies[i]);
	}
}

static int disown_load(struct repository *repository, const struct manifest_name *name,
	struct disown_copy *ret_copy, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	int rc = repository_read_manifest(repository, name, &bytes, &m, e);

	if (rc != 0) {
		return repository_manifest_fault(name, rc, e);
	}
	*ret_copy = (struct disown_copy){.name = *name, .id = m.id, .node = m.node, .from = m.from};
	memcpy(ret_copy->base, m.base, HASH_BYTES);
	return 0;
}

static bool disown_is_due(const struct receive_config *config)
{
	bool due = false;

	for (size_t i = 0; i < config->n_records; i++) {
		due = due || disown_says(&config->records[i]);
	}
	return due;
}

/* A restore without a node goes by what lies here, and knows no log. */
static int disown_set_aside(const struct receive_config *config, unsigned *ret_n, struct err *e)
{
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	_cleanup_(x_freep) struct disown_copy *copies = NULL;
	size_t n = 0;
	int rc = disown_is_due(config) ? repository_list(config->repository, &names, &n, NULL, e)
				       : 0;

	copies = x_calloc(n + 1, sizeof *copies);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = disown_load(config->repository, &names[i], &copies[i], e);
	}
	if (rc == 0) {
		disown_mark(config, copies, n);
	}
	*ret_n = 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (copies[i].gone) {
			rc = repository_set_manifest_aside(config->repository, &names[i], e);
			(*ret_n)++;
			log_warn("op=backup_prune state=aside index=%llu reason=\"the log has "
				 "disowned it\"",
				(unsigned long long)names[i].index);
		}
	}
	return rc;
}

/* --- all ------------------------------------------------------------------------------------- */

int receive_prune(const struct receive_config *config, uint64_t wall_ms,
	const struct retention_rules *rules, unsigned *ret_pruned, struct err *e)
{
	_cleanup_(forget_release) struct forget f = {.config = config, .wall_ms = wall_ms};
	_cleanup_(x_freep) struct manifest_name *gone = NULL;
	uint64_t freed = 0;
	unsigned aside;
	size_t n;
	int rc = disown_set_aside(config, &aside, e);

	rc = rc != 0 ? rc : forget_load_all(&f, e);
	if (rc != 0) {
		return rc;
	}
	forget_mark_bases(&f);
	retention_plan(f.snapshots, f.n, wall_ms, rules);
	forget_plan_journals(&f, rules);
	gone = x_calloc(f.n + f.n_journals + 1, sizeof *gone);
	n = forget_select(&f, gone);
	rc = repository_prune(config->repository, gone, n, wall_ms,
		config->taking ? UINT64_MAX : BACKUP_LEFTOVER_MS, &freed, e);
	if (rc == 0) {
		*ret_pruned = (unsigned)n + aside;
	}
	return rc;
}

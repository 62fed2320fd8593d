/* Journal increments: what changed since the last one or since the cycle, once a minute, while
 * nothing else is taken of the store than that. */
#include <string.h>

#include "base/log.h"
#include "node/backup_parts.h"
#include "storage/cluster_store.h"
#include "storage/position.h"

static const struct snapshot_row *journal_base(
	const struct snapshot_row *rows, size_t n, uint64_t id)
{
	for (size_t i = 0; id != 0 && i < n; i++) {
		if (rows[i].id == id) {
			return &rows[i];
		}
	}
	return NULL;
}

/* --- taking one ------------------------------------------------------------------------------ */

static void journal_recorded_cb(struct propose *req, int rc)
{
	struct backup_job *job = CONTAINER_OF(req, struct backup_job, journal.record);
	struct backup_journal *j = &job->journal;

	j->recording = false;
	if (rc == 0) {
		log_info("op=backup_journal number=%u index=%llu rows=%llu bytes=%llu",
			j->plan.number, (unsigned long long)j->plan.index,
			(unsigned long long)(j->manifest.live + j->manifest.tombstones),
			(unsigned long long)backup_manifest_bytes(&j->manifest));
		(void)uv_async_send(&job->claimed); /* Ship it at once; the tick would, too. */
	} else {
		log_info("op=backup_journal number=%u rc=%s", j->plan.number, err_name(rc));
		j->not_before_ms = backup_job_now() + backup_job_pause(job, BACKUP_CLAIM_AGAIN_MS);
	}
	backup_manifest_release(&j->manifest);
	backup_job_ended(job);
}

static void journal_record(struct backup_job *job)
{
	struct backup_journal *j = &job->journal;
	struct command command = {.type = COMMAND_JOURNAL_RECORD};
	struct command_journal_record *record = &command.journal_record;

	record->base_id = j->base.id;
	record->number = j->plan.number;
	record->node = job->config->id;
	record->index = j->plan.index;
	record->term = j->plan.term;
	record->time_ms = j->plan.cluster_time_ms;
	memcpy(record->manifest_hash, j->hash, HASH_BYTES);
	j->recording = true;
	backup_job_propose(job, &j->record, &command, journal_recorded_cb);
}

static void journal_taken_cb(struct pool_work *work, int rc)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, journal.work);
	struct backup_journal *j = &job->journal;

	j->busy = false;
	if (rc == 0 && !job->closing) {
		journal_record(job);
		return;
	}
	backup_manifest_release(&j->manifest);
	if (rc != 0 && rc != KLUIS_ECLOSED) {
		log_err("op=backup_journal rc=%s error=\"%s\", retrying", err_name(rc),
			j->err.text);
		j->not_before_ms = backup_job_now() + backup_job_pause(job, BACKUP_JOB_RETRY_MS);
	}
	backup_job_ended(job);
}

/* The newest that is here, of what the log names: what a taker that died has shipped to nobody is
 * passed over. */
static int journal_parent_here(
	struct backup_job *job, struct backup_manifest *ret_parent, uint8_t ret_hash[HASH_BYTES])
{
	struct backup_journal *j = &job->journal;
	bool same = j->plan.number > 1;
	const uint8_t *newest[] = {same ? j->row.manifest_hash : NULL,
		same && j->row.confirmed != 0 ? j->row.confirmed_hash : NULL,
		j->base.manifest_hash};
	int rc = KLUIS_ENOTFOUND;

	for (size_t i = 0; rc == KLUIS_ENOTFOUND && i < ARRAY_SIZE(newest); i++) {
		if (newest[i] != NULL) {
			rc = journal_find_parent(job->repository, newest[i], j->plan.number,
				&job->trust, ret_parent, ret_hash, &j->err);
		}
	}
	return rc;
}

static int journal_take_view(
	struct backup_job *job, const struct kv_view *view, const struct backup_manifest *parent)
{
	struct backup_journal *j = &job->journal;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	const struct snapshot_watch watch = {.cancel = &job->cancel};
	struct position position;
	int rc = position_get(view, &position, &j->err);

	if (rc != 0) {
		return rc;
	}
	j->plan.from = parent->index;
	j->plan.id = j->plan.index = position.index;
	j->plan.term = position.term;
	j->plan.cluster_time_ms = position.cluster_time_ms;
	j->plan.wall_ms = clock_wall_ms(&clock_system);
	memcpy(j->plan.state_hash, position.state_hash, HASH_BYTES);
	(void)pthread_mutex_lock(&job->lock);
	pub = key_pub_ref(job->pub);
	(void)pthread_mutex_unlock(&job->lock);
	return snapshot_take(job->repository, &j->plan, view, pub, job->signer, &watch,
		&j->manifest, j->hash, &j->err);
}

/* From the living store: a checkpoint each minute would have it write small files. */
static int journal_take_work(struct pool_work *work)
{
	struct backup_job *job = CONTAINER_OF(work, struct backup_job, journal.work);
	_cleanup_(backup_manifest_release) struct backup_manifest parent = {0};
	struct backup_journal *j = &job->journal;
	struct kv_view *view;
	struct kv *kv = NULL;
	int rc = journal_parent_here(job, &parent, j->plan.base);

	if (rc != 0) {
		return rc;
	}
	rc = replica_read_begin(job->replica, &kv);
	if (rc != 0) {
		return err_set(&j->err, rc, "the store is being replaced");
	}
	view = kv_view_new(kv);
	rc = journal_take_view(job, view, &parent);
	if (rc == KLUIS_ECORRUPT) {
		replica_doubt(job->replica, j->err.text);
	}
	kv_view_free(view);
	replica_read_end(job->replica);
	return rc;
}

static void journal_begin(struct backup_job *job, const struct snapshot_row *base)
{
	struct backup_journal *j = &job->journal;

	j->base = *base;
	j->plan = (struct snapshot_plan){.cycle = (uint32_t)base->cycle,
		.number = j->row.base_id == base->id ? j->row.number + 1 : 1,
		.node = job->config->id};
	memcpy(j->plan.cluster_id, job->identity->cluster_id, ID_BYTES);
	memcpy(j->plan.lineage, job->identity->lineage, ID_BYTES);
	memset(&j->err, 0, sizeof j->err);
	j->busy = pool_submit(
			  job->pool, &j->work, job->home, journal_take_work, journal_taken_cb) == 0;
}

/* Raft index up to which nothing is to be taken: S of the last one, unless that is not confirmed
 * and not here either. Then its taker may have died with it. */
static uint64_t journal_covered(struct backup_job *job, const struct snapshot_row *base)
{
	const struct journal_row *row = &job->journal.row;
	uint64_t index = 0;

	if (row->base_id == base->id) {
		bool stands = row->confirmed == row->number || row->node == job->config->id ||
			      backup_job_holds(job, row->index, row->manifest_hash);

		index = stands ? row->index : row->confirmed != 0 ? row->confirmed_index : 0;
	}
	return index > base->index ? index : base->index;
}

/* Something changed behind the last one. What did not is not looked for again. */
static bool journal_wanted(struct backup_job *job, const struct kv_view *view,
	const struct replica_status *status, const struct snapshot_row *base)
{
	struct backup_journal *j = &job->journal;
	bool changed = false;
	struct err e = {0};

	if (j->unchanged_at == status->applied_index) {
		return false;
	}
	if (journal_changed(view, journal_covered(job, base), &changed, &e) != 0) {
		log_err("op=backup_journal error=\"%s\", retrying", e.text);
		return false;
	}
	j->unchanged_at = changed ? 0 : status->applied_index;
	return changed;
}

/* Turns are counted from when this node first saw that there is something to take. */
static bool journal_my_turn(struct backup_job *job, const struct kv_view *view,
	const struct replica_status *status, const struct snapshot_row *base)
{
	struct backup_journal *j = &job->journal;
	uint64_t nodes[SITES_MAX], due_ms;
	struct journal_facts facts = {.base = base,
		.row = &j->row,
		.nodes = nodes,
		.every_ms = job->config->backup_journal_s * 1000};
	size_t place;

	due_ms = journal_due_ms(&facts);
	if (status->cluster_now_ms < due_ms || !journal_wanted(job, view, status, base)) {
		j->due_ms = 0;
		return false;
	}
	if (j->due_ms != due_ms) {
		j->due_ms = due_ms;
		j->seen_ms = backup_job_now();
	}
	if (backup_claim_nodes(view, nodes, &facts.n_nodes, NULL) != 0) {
		return false; /* The claim of cycles says why. */
	}
	place = journal_place(&facts, job->config->id);
	return place != SIZE_MAX &&
	       backup_job_now() - j->seen_ms >= place * journal_turn_ms(&facts);
}

/* --- shipping -------------------------------------------------------------------------------- */

struct journal_chain {
	uint8_t hashes[JOURNAL_CHAIN_MAX][HASH_BYTES]; /* Newest first. */
	size_t n;
};

/* Those above s->journal.from, down to the cycle. */
static int journal_chain_load(struct backup_shipment *s, struct journal_chain *chain)
{
	uint8_t next[HASH_BYTES];
	int rc = 0;

	memcpy(next, s->journal.hash, HASH_BYTES);
	while (rc == 0) {
		_cleanup_(backup_manifest_release) struct backup_manifest m = {0};

		rc = point_manifest(s->job->repository, next, &s->job->trust, &m, &s->err);
		if (rc != 0 || m.type != MANIFEST_JOURNAL || m.number <= s->journal.from) {
			break;
		}
		if (chain->n == JOURNAL_CHAIN_MAX) {
			return err_set(&s->err, KLUIS_ECORRUPT, "the journal has no end");
		}
		memcpy(chain->hashes[chain->n++], next, HASH_BYTES);
		memcpy(next, m.base, HASH_BYTES);
	}
	return rc;
}

static int journal_ship_work(struct pool_work *work)
{
	struct backup_shipment *s = CONTAINER_OF(work, struct backup_shipment, work);
	_cleanup_(x_freep) struct journal_chain *chain = x_calloc(1, sizeof *chain);
	uint64_t bytes = 0;
	int rc;

	memset(&s->err, 0, sizeof s->err);
	memset(&s->report, 0, sizeof s->report);
	s->target.pace = NULL; /* The recovery point follows what clients write. */
	s->target.moved = &s->journal.moved;
	rc = journal_chain_load(s, chain);
	for (size_t i = chain->n; rc == 0 && i > 0; i--) { /* The oldest first. */
		rc = ship_snapshot(s->job->repository, chain->hashes[i - 1], s->site->name,
			&s->target, &s->report, &s->err);
		bytes += s->report.bytes;
	}
	s->report.bytes = bytes;
	s->report.objects = (unsigned)chain->n;
	return rc;
}

static void journal_shipped_cb(struct pool_work *work, int rc)
{
	struct backup_shipment *s = CONTAINER_OF(work, struct backup_shipment, work);

	s->busy = false;
	s->journal.failed = rc != 0;
	s->journal.next_ms = backup_job_now() + backup_job_pause(s->job, backup_ship_pause_ms(rc));
	if (rc == 0) {
		s->journal.delivered = s->journal.number;
		log_debug("op=backup_journal site=%s number=%u shipped=%u bytes=%llu",
			s->site->name, s->journal.number, s->report.objects,
			(unsigned long long)s->report.bytes);
	} else if (rc != KLUIS_ECLOSED) {
		log_err("op=backup_journal site=%s number=%u rc=%s error=\"%s\"", s->site->name,
			s->journal.number, err_name(rc), s->err.text);
	}
	if (rc != KLUIS_ECLOSED) {
		backup_ship_tell(s, BACKUP_SHIP_JOURNAL, rc, s->report.let_in, s->err.text);
	}
	(void)uv_async_send(&s->job->claimed);
	backup_job_ended(s->job);
}

bool backup_journal_ship(struct backup_shipment *s, const struct snapshot_row *rows, size_t n_rows)
{
	struct backup_job *job = s->job;
	const struct journal_row *row = &job->journal.row;
	const struct snapshot_row *base = journal_base(rows, n_rows, row->base_id);
	uint32_t held = journal_held(row, s->site->id);
	bool tried = s->journal.failed ||
		     (s->journal.base_id == row->base_id && s->journal.number == row->number);

	if (base == NULL || row->number == 0 || row->node != job->config->id ||
		held >= row->number ||
		(base->node != s->site->id && !ship_confirmed_by(base, s->site->id))) {
		backup_ship_settled(s, BACKUP_SHIP_JOURNAL);
		return false;
	}
	if (tried && backup_job_now() < s->journal.next_ms) {
		return false;
	}
	if (s->journal.base_id != row->base_id) {
		s->journal.base_id = row->base_id;
		s->journal.delivered = 0;
	}
	/* Delivered, and still not confirmed: it lacks something below. */
	s->journal.from = s->journal.delivered == row->number ? 0
			  : s->journal.delivered > held	      ? s->journal.delivered
							      : held;
	s->journal.number = row->number;
	memcpy(s->journal.hash, row->manifest_hash, HASH_BYTES);
	s->kind = BACKUP_SHIP_JOURNAL;
	s->busy = pool_submit(job->pool, &s->work, job->home, journal_ship_work,
			  journal_shipped_cb) == 0;
	return s->busy;
}

/* --- confirming ------------------------------------------------------------------------------ */

static void journal_confirmed_cb(struct propose *req, int rc)
{
	struct backup_job *job = CONTAINER_OF(req, struct backup_job, journal.confirm);

	job->journal.confirming = false;
	if (rc != 0) {
		log_info("op=backup_journal_confirm rc=%s", err_name(rc)); /* Overtaken, mostly. */
	}
	backup_job_ended(job);
}

/* A receipt is written when what the increment is built on is here, too. */
static void journal_confirm(struct backup_job *job)
{
	struct backup_journal *j = &job->journal;
	struct command command = {.type = COMMAND_JOURNAL_CONFIRM};
	struct command_journal_confirm *confirm = &command.journal_confirm;

	if (j->confirming || j->row.number == 0 || j->row.node == job->config->id ||
		journal_held(&j->row, job->config->id) >= j->row.number ||
		!backup_job_holds(job, j->row.index, j->row.manifest_hash)) {
		return;
	}
	confirm->base_id = j->row.base_id;
	confirm->number = j->row.number;
	confirm->node = job->config->id;
	confirm->needed = (uint8_t)job->config->backup_copies;
	memcpy(confirm->manifest_hash, j->row.manifest_hash, HASH_BYTES);
	j->confirming = true;
	backup_job_propose(job, &j->confirm, &command, journal_confirmed_cb);
}

/* --- all ------------------------------------------------------------------------------------- */

/* What the log names now, and what it had named before. */
static void journal_see(struct backup_journal *j, const struct journal_row *row)
{
	if (j->row.number != 0 &&
		memcmp(j->row.manifest_hash, row->manifest_hash, HASH_BYTES) != 0) {
		j->n_seen += j->n_seen < JOURNAL_SEEN;
		memmove(j->seen[1], j->seen[0], (j->n_seen - 1) * HASH_BYTES);
		memcpy(j->seen[0], j->row.manifest_hash, HASH_BYTES);
	}
	j->row = *row;
}

void backup_journal_look(struct backup_job *job, const struct kv_view *view,
	const struct replica_status *status, const struct snapshot_row *rows, size_t n)
{
	struct backup_journal *j = &job->journal;
	struct snapshot_state_row state;
	const struct snapshot_row *base;
	struct cluster_row cluster;
	struct journal_row row;
	struct err e = {0};
	int rc = cluster_store_get(view, &cluster, &e);

	if (rc == KLUIS_ENOTFOUND || (rc == 0 && cluster.feature_level < FEATURE_LEVEL_JOURNAL) ||
		j->busy || j->recording) {
		return; /* What is being taken relies on the row as it was. */
	}
	rc = rc != 0 ? rc : snapshot_store_state(view, &state, &e);
	rc = rc != 0 ? rc : journal_store_get(view, &row, &e);
	if (rc != 0) {
		log_err("op=backup_journal rc=%s error=\"%s\", retrying", err_name(rc), e.text);
		return;
	}
	journal_see(j, &row);
	journal_confirm(job);
	base = journal_base(rows, n, state.confirmed_id);
	if (base != NULL && job->config->backup_journal_s != 0 && !status->read_only &&
		!replica_quarantined(job->replica) && backup_job_now() >= j->not_before_ms &&
		journal_my_turn(job, view, status, base)) {
		journal_begin(job, base);
	}
}

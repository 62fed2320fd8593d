#include "node/backup_parts.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "backup/verify.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "raft/fsm.h"

enum { SHIP_HANG_MS = 20 };

uint64_t backup_job_now(void)
{
	return clock_monotonic_ms(&clock_system);
}

uint64_t backup_job_pause(const struct backup_job *job, uint64_t ms)
{
	return job->config->backup_haste == 0 ? ms : ms / job->config->backup_haste;
}

void backup_job_propose(struct backup_job *job, struct propose *req, const struct command *command,
	void (*cb)(struct propose *req, int rc))
{
	struct buf bytes = BUF_INIT;

	command_encode(command, &bytes);
	propose_start(
		req, job->replica, job->home, &bytes, backup_job_now() + BACKUP_JOB_PROPOSE_MS, cb);
}

/* --- shipping -------------------------------------------------------------------------------- */

/* As a disk does that never answers. */
static void ship_may_hang(const struct backup_job *job)
{
	bool hangs = FAULT_POINT("backup.ship.hang");

	while (hangs && !atomic_load(&job->cancel)) {
		(void)poll(NULL, 0, SHIP_HANG_MS);
	}
}

static int ship_work(struct pool_work *work)
{
	struct backup_shipment *s = CONTAINER_OF(work, struct backup_shipment, work);

	memset(&s->err, 0, sizeof s->err);
	s->target.pace = s->job->pace;
	s->target.moved = &s->moved;
	ship_may_hang(s->job);
	return ship_snapshot(
		s->job->repository, s->hash, s->site->name, &s->target, &s->report, &s->err);
}

uint64_t backup_ship_pause_ms(int rc)
{
	switch (rc) {
	case 0:
		return BACKUP_JOB_AGAIN_MS;
	case KLUIS_EPIN:
	case KLUIS_EUNAUTHENTICATED:
	case KLUIS_EFORBIDDEN:
	case KLUIS_ENOSPACE:
		return BACKUP_JOB_HELP_MS;
	default:
		return BACKUP_JOB_RETRY_MS;
	}
}

/* A failure of this snapshot, not of the link or the site. */
static bool ship_is_its_own(int rc)
{
	return rc == KLUIS_ECORRUPT || rc == KLUIS_ENOTFOUND || rc == KLUIS_EQUOTA;
}

static void ship_done_cb(struct pool_work *work, int rc)
{
	struct backup_shipment *s = CONTAINER_OF(work, struct backup_shipment, work);

	s->busy = false;
	s->next_ms = backup_job_now() + backup_job_pause(s->job, backup_ship_pause_ms(rc));
	if (rc == 0 || ship_is_its_own(rc)) {
		s->done = s->id;
	}
	if (rc == KLUIS_ENOTFOUND && s->report.connections == 0) {
		s->passed_over = s->id; /* Pruned here, or taken by a directory that is gone. */
	} else if (rc != KLUIS_ECLOSED) {
		backup_ship_tell(s, BACKUP_SHIP_CYCLE, rc, s->report.let_in, s->err.text);
	}
	if (rc == 0) {
		s->delivered = s->id > s->delivered ? s->id : s->delivered;
		log_info("op=backup_ship site=%s snapshot=%llu objects=%u skipped=%u bytes=%llu",
			s->site->name, (unsigned long long)s->id, s->report.objects,
			s->report.objects_skipped, (unsigned long long)s->report.bytes);
	} else if (rc != KLUIS_ECLOSED) {
		log_err("op=backup_ship site=%s snapshot=%llu rc=%s error=\"%s\"", s->site->name,
			(unsigned long long)s->id, err_name(rc), s->err.text);
	}
	backup_job_ended(s->job);
}

/* Whether the site confirmed what it was brought last. Confirmations come in the log's order: what
 * it lacks of the older ones then is on no way any more, but damaged or lost there. */
static bool shipment_settled(
	const struct backup_shipment *s, const struct snapshot_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (rows[i].id == s->done) {
			return ship_confirmed_by(&rows[i], s->site->id);
		}
	}
	return false;
}

/* What is delivered waits for its confirmation, and what cannot be waits, too: both are tried again
 * behind all others. */
static const struct snapshot_row *shipment_next(
	struct backup_shipment *s, const struct snapshot_row *rows, size_t n)
{
	const struct ship_members *members = &s->job->receiver.members;
	uint64_t node = s->job->config->id;
	const struct snapshot_row *row = NULL;

	if (s->done != 0 && shipment_settled(s, rows, n)) {
		s->done = s->next_ms = 0;
	}
	if (s->done > s->passed_over) {
		row = ship_next(rows, n, members, node, s->site->id, s->done);
		if (row != NULL || backup_job_now() < s->next_ms) {
			return row;
		}
		s->done = 0;
	}
	return ship_next(rows, n, members, node, s->site->id, s->passed_over);
}

static int ahead_work(struct pool_work *work)
{
	struct backup_shipment *s = CONTAINER_OF(work, struct backup_shipment, work);

	memset(&s->err, 0, sizeof s->err);
	s->target.pace = s->job->pace;
	s->target.moved = &s->moved;
	ship_may_hang(s->job);
	return ship_ahead(
		s->job->repository, s->ahead, s->site->name, &s->target, &s->report, &s->err);
}

static void ahead_done_cb(struct pool_work *work, int rc)
{
	struct backup_shipment *s = CONTAINER_OF(work, struct backup_shipment, work);

	s->busy = false;
	ship_queue_unref(s->ahead);
	s->ahead = NULL;
	if (rc == 0 && s->report.whole) { /* As ship_done_cb() would be told. */
		s->id = s->ahead_id;
		ship_done_cb(work, rc);
		return;
	}
	if (rc == KLUIS_EPIN) { /* No need to wait for the record to say so. */
		backup_ship_tell(s, BACKUP_SHIP_CYCLE, rc, s->report.let_in, s->err.text);
		log_err("op=backup_ship_ahead site=%s rc=%s error=\"%s\"", s->site->name,
			err_name(rc), s->err.text);
	} else if (rc != 0 && rc != KLUIS_ECLOSED) {
		log_warn("op=backup_ship_ahead site=%s rc=%s error=\"%s\", retrying", s->site->name,
			err_name(rc), s->err.text);
	}
	(void)uv_async_send(&s->job->claimed); /* The manifest may be there. */
	backup_job_ended(s->job);
}

/* A snapshot that is being written needs not be whole for its packs to be on their way. Once for
 * each: what fails is told and tried again when it is shipped. */
static void shipment_begin_ahead(struct backup_shipment *s)
{
	struct backup_job *job = s->job;
	const struct backup_take *take = &job->take;

	if (take->objects == NULL || s->ahead_id == take->row.id ||
		!ship_queue_waits(take->objects)) {
		return;
	}
	s->ahead_id = take->row.id;
	s->ahead = ship_queue_ref(take->objects);
	s->kind = BACKUP_SHIP_CYCLE;
	s->busy = pool_submit(job->pool, &s->work, job->home, ahead_work, ahead_done_cb) == 0;
	if (!s->busy) {
		ship_queue_unref(s->ahead);
		s->ahead = NULL;
	}
}

/* Its thread may stand in a call that never returns. Who ships ahead waits for who takes. */
static void shipment_watch(struct backup_shipment *s)
{
	struct backup_job *job = s->job;
	uint64_t moved = atomic_load(&s->moved) + atomic_load(&s->journal.moved);
	uint64_t stall_ms = backup_stall_ms(job);
	_cleanup_(x_freep) char *text = NULL;
	bool hung = s->hangs;

	if (!s->busy || (s->ahead != NULL && job->take.objects != NULL)) {
		s->pulse = (struct schedule_pulse){0};
	}
	s->hangs = s->busy && !schedule_gets_on(&s->pulse, 1, moved, backup_job_now(), stall_ms);
	if (s->hangs && !hung) {
		text = x_asprintf("ship to site '%s' hangs: nothing was sent for %llu s",
			s->site->name, (unsigned long long)(stall_ms / 1000));
		backup_ship_tell(s, s->kind, KLUIS_ETIMEOUT, false, text);
		log_err("op=backup_ship site=%s snapshot=%llu rc=%s error=\"%s\"", s->site->name,
			(unsigned long long)s->id, err_name(KLUIS_ETIMEOUT), text);
	}
}

static void job_ship(struct backup_job *job, const struct snapshot_row *rows, size_t n)
{
	for (size_t i = 0; i < job->n_shipments; i++) {
		struct backup_shipment *s = &job->shipment[i];
		const struct snapshot_row *row;

		shipment_watch(s);
		if (s->busy || backup_journal_ship(s, rows, n)) {
			continue; /* A minute's changes do not wait behind a whole cycle. */
		}
		row = shipment_next(s, rows, n);
		if (row == NULL) {
			backup_ship_settled(s, BACKUP_SHIP_CYCLE);
			shipment_begin_ahead(s);
			backup_ship_greet(s);
		}
		if (row == NULL || (row->id == s->id && backup_job_now() < s->next_ms)) {
			continue;
		}
		s->id = row->id;
		memcpy(s->hash, row->manifest_hash, HASH_BYTES);
		s->kind = BACKUP_SHIP_CYCLE;
		s->busy = pool_submit(job->pool, &s->work, job->home, ship_work, ship_done_cb) == 0;
	}
}

/* --- the job --------------------------------------------------------------------------------- */

struct receive_config backup_job_receiver(
	const struct backup_job *job, const struct snapshot_row *rows, size_t n)
{
	struct receive_config config = job->receiver;
	uint64_t wall_ms = clock_wall_ms(&clock_system), ran_ms = backup_job_now() - job->began_ms;

	config.began_ms = wall_ms > ran_ms ? wall_ms - ran_ms : 0; /* By the clock as it is now. */
	config.written_ms = config.began_ms;
	config.records = n == 0 ? NULL : x_memdup(rows, n * sizeof *rows);
	config.n_records = n;
	config.journal = x_memdup(&job->journal.row, sizeof job->journal.row);
	config.journals = x_memdup(job->journal.seen, sizeof job->journal.seen);
	config.n_journals = job->journal.n_seen;
	return config;
}

void backup_job_receiver_done(struct receive_config *config)
{
	free((void *)(uintptr_t)config->records);
	config->records = NULL;
	free((void *)(uintptr_t)config->journal);
	config->journal = NULL;
	free(config->journals);
	config->journals = NULL;
	config->n_records = 0;
}

/* Whether nothing was heard of it for so long that others do what is its to do. */
static bool job_misses(
	const struct backup_job *job, const struct replica_status *status, uint64_t node)
{
	const struct replica_peer_status *peer = replica_status_peer(status, node);
	uint64_t heard_ms = job->began_ms;

	if (peer != NULL && peer->last_heard_ms > heard_ms) {
		heard_ms = peer->last_heard_ms;
	}
	return !replica_status_reaches(status, node) &&
	       backup_job_now() >= heard_ms + backup_job_pause(job, BACKUP_JOB_AWAY_MS);
}

/* Who is gone is not counted on for anything. */
static int job_look_members(struct backup_job *job, const struct kv_view *view,
	const struct replica_status *status, struct err *e)
{
	struct ship_members members = {.n = 0};
	struct node_row nodes[SITES_MAX];
	size_t n = 0;
	int rc = node_store_list(view, 0, nodes, SITES_MAX, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		members.away[members.n] = job_misses(job, status, nodes[i].node);
		members.nodes[members.n++] = nodes[i].node;
	}
	if (rc == 0) {
		job->receiver.members = members;
	}
	return rc;
}

static void job_look(struct backup_job *job, struct kv *kv, const struct kv_view *view,
	const struct replica_status *status)
{
	enum { ROWS_MAX = SNAPSHOTS_KEPT + 1 };
	_cleanup_(x_freep) struct snapshot_row *rows = x_calloc(ROWS_MAX, sizeof *rows);
	struct cluster_row cluster;
	struct err e = {0};
	size_t n = 0;
	int rc = cluster_store_get(view, &cluster, &e);

	if (rc == KLUIS_ENOTFOUND) {
		return; /* Not begun. */
	}
	rc = rc != 0 ? rc : snapshot_store_list(view, 0, rows, ROWS_MAX, &n, &e);
	rc = rc != 0 ? rc : job_look_members(job, view, status, &e);
	if (rc != 0) {
		log_err("op=backup_job rc=%s error=\"%s\", retrying", err_name(rc), e.text);
		return;
	}
	if (job->opening.done) {
		backup_take_look(job, view, rows, n);
		backup_claim_look(job, view, status, rows, n);
		backup_journal_look(job, view, status, rows, n);
		job_ship(job, rows, n);
		backup_receive_look(job, rows, n);
		backup_confirm_look(job, rows, n, cluster.feature_level);
		backup_keep_look(job, rows, n);
		backup_deletions_look(job, view);
	}
	backup_root_look(job, view);
	backup_watch_look(job, view, status, rows, n);
	if (job->opening.done) {
		backup_drill_look(job, kv, status, rows, n);
	}
}

/* What nobody looked at did not stand still meanwhile. */
static void job_blind(struct backup_job *job, const struct replica_status *status)
{
	backup_root_blind(job, status);
	job->claim.pulse = job->take.pulse = (struct schedule_pulse){0};
	for (size_t i = 0; i < job->n_shipments; i++) {
		job->shipment[i].pulse = (struct schedule_pulse){0};
	}
}

static void job_tick(struct backup_job *job)
{
	struct replica_status status;
	struct kv_view *view;
	struct kv *kv = NULL;

	if (job->closing || FAULT_POINT("backup.job.tick")) {
		return;
	}
	pace_look(job->pace);
	replica_status(job->replica, &status);
	if (!status.ready || replica_read_begin(job->replica, &kv) != 0) {
		job_blind(job, &status);
		return;
	}
	view = kv_view_new(kv);
	job_look(job, kv, view, &status);
	kv_view_free(view);
	replica_read_end(job->replica);
}

static void job_arrivals_cb(uv_poll_t *poll, int status, int events);

/* A descriptor that was watched before: cannot fail. */
static void job_listen(struct backup_job *job)
{
	if (job->arrivals.fd >= 0 && job->opening.done && !job->closing) {
		(void)uv_poll_start(&job->arrivals.poll, UV_READABLE, job_arrivals_cb);
	}
}

/* A sender may make as many files as it likes: what comes between two ticks of the timer is one
 * more tick. */
static void job_arrivals_cb(uv_poll_t *poll, int status, int events)
{
	struct backup_job *job = poll->data;

	(void)status;
	(void)events;
	if (backup_arrivals_look(job)) {
		(void)uv_poll_stop(poll); /* Never fails. */
		job_tick(job);
	}
}

static void job_timer_cb(uv_timer_t *timer)
{
	backup_open_look(timer->data);
	job_listen(timer->data);
	job_tick(timer->data);
}

static void job_claimed_cb(uv_async_t *async)
{
	job_tick(async->data);
}

void backup_job_claimed(void *data, uint64_t snapshot_id)
{
	struct backup_job *job = data;

	(void)snapshot_id; /* The record says it, too; this only saves a second. */
	(void)uv_async_send(&job->claimed);
}

int backup_job_verify(void *data, const uint8_t manifest_hash[32], unsigned level,
	struct api_verify *ret_verify, struct err *e)
{
	struct backup_job *job = data;
	struct verify_report report;
	struct err found = {0};
	int rc;

	assert(level == 1 || level == 2);
	if (backup_open_trouble(job, found.text)) {
		return err_set(e, KLUIS_EBEHIND, "the repository is not open%s%s",
			found.text[0] == 0 ? "" : ": ", found.text);
	}
	rc = verify_snapshot(job->repository, manifest_hash, &job->trust, level, NULL,
		job->config->data_dir, &report, &found);
	if (rc == KLUIS_ENOTFOUND && report.level == 0 && report.objects == 0) {
		return err_set(e, rc, "%s", found.text);
	}
	memset(ret_verify, 0, sizeof *ret_verify);
	ret_verify->ok = rc == 0;
	ret_verify->objects = report.objects;
	ret_verify->bytes = report.bytes;
	memcpy(ret_verify->text, found.text, sizeof found.text);
	if (rc != 0) { /* It fails level 2, too, and that is the level whose mending is told. */
		backup_watch_found(job, manifest_hash, 2, false, found.text);
		backup_keep_suspect(job, manifest_hash);
	} else if (!backup_keep_damaged(job)) { /* The last word on a level stands. */
		backup_watch_found(job, manifest_hash, level, true, "");
	}
	return 0;
}

int backup_job_reload(void *data, struct err *e)
{
	struct backup_job *job = data;
	struct key_pub *fresh = NULL, *old;
	char kid[HEX_LEN(KID_BYTES) + 1];
	int rc = backup_key_load_public(
		job->config->backup_public_key_file, BACKUP_KEY_SEAL, &fresh, e);

	if (rc != 0) {
		return rc;
	}
	hex_encode(bytes_of(key_pub_kid(fresh), KID_BYTES), kid);
	(void)pthread_mutex_lock(&job->lock);
	old = job->pub;
	job->pub = fresh;
	(void)pthread_mutex_unlock(&job->lock);
	if (!key_pub_equal(old, fresh)) {
		log_info("op=backup_key state=changed kid=%s", kid);
	}
	backup_drill_keys(job, fresh);
	key_pub_free(old);
	return 0;
}

int backup_job_trust(const struct config *c, struct backup_trust *ret_trust, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < c->n_sites; i++) {
		const struct config_site *site = &c->sites[i];
		struct bytes raw = bytes_of(site->backup_key, sizeof site->backup_key);
		_cleanup_(key_pub_freep) struct key_pub *pub = NULL;

		rc = key_pub_decode(KEY_ED25519, raw, &pub, e);
		if (rc == 0) {
			rc = backup_trust_add(ret_trust, site->id, site->name, pub, e);
		}
		if (rc != 0) {
			rc = err_wrap(e, rc, "[site %s] 'backup_key'", site->name);
		}
	}
	return rc != 0 ? rc : backup_trust_add_formers(ret_trust, &c->backup_formers, e);
}

static int job_load_keys(struct backup_job *job, struct err *e)
{
	const struct config *c = job->config;
	int rc = backup_key_load(c->backup_sign_key_file, BACKUP_KEY_NODE, &job->signer, e);

	if (rc == 0) {
		rc = backup_key_load_public(
			c->backup_public_key_file, BACKUP_KEY_SEAL, &job->pub, e);
	}
	rc = rc != 0 ? rc : backup_job_trust(c, &job->trust, e);
	if (rc == 0) {
		backup_drill_keys(job, job->pub);
	}
	return rc;
}

/* One drop and one shipment for each other site. */
static void job_load_sites(struct backup_job *job)
{
	const struct config *c = job->config;

	for (size_t i = 0; i < c->n_sites; i++) {
		const struct config_site *site = &c->sites[i];
		struct backup_shipment *s = &job->shipment[job->n_shipments];

		if (site->id == c->id || site->ssh.port == 0) {
			continue;
		}
		backup_receive_add(job, site);
		job->n_shipments++;
		s->job = job;
		s->site = site;
		s->unseen = true;
		for (unsigned kind = 0; kind < BACKUP_SHIP_KINDS; kind++) {
			memcpy(s->last[kind].site, site->name, sizeof s->last[kind].site);
		}
		s->target = (struct sftp_target){.host = site->ssh.host,
			.port = site->ssh.port,
			.user = site->ssh_user,
			.host_key = site->ssh_host_key,
			.key_path = c->backup_ssh_key_file,
			.path = x_asprintf("%s/%s/incoming", site->ssh_path, c->site),
			.bytes_per_second = c->backup_bandwidth_kib * 1024,
			.cancel = &job->cancel};
	}
}

static void job_free(struct backup_job *job)
{
	backup_root_free(job);
	for (size_t i = 0; i < job->n_shipments; i++) {
		free((char *)(uintptr_t)job->shipment[i].target.path);
	}
	backup_receive_release(job);
	(void)pthread_mutex_destroy(&job->lock);
	deletion_journal_free(job->deletions.journal);
	repository_close(job->repository);
	backup_trust_release(&job->trust);
	pace_free(job->pace);
	key_free(job->signer);
	key_pub_free(job->pub);
	free(job->checkpoint_dir);
	free(job);
}

/* Entries of the log: what clients write, and little else. */
static uint64_t job_count(void *data)
{
	struct backup_job *job = data;
	struct replica_status status;

	replica_status(job->replica, &status);
	return status.applied_index;
}

static void job_set_pace(struct backup_job *job)
{
	const struct pace_config config = {.bytes_per_second = job->config->backup_busy_kib * 1024,
		.count = job_count,
		.data = job};

	job->pace = pace_new(&config);
}

static void job_set_receiver(struct backup_job *job)
{
	job->receiver = (struct receive_config){.trust = &job->trust,
		.signer = job->signer,
		.node = job->config->id,
		.quota = {.bytes = job->config->backup_drop_quota_mib << 20,
			.files = job->config->backup_drop_quota_files},
		.cancel = &job->cancel,
		.pace = job->pace};
	memcpy(job->receiver.cluster_id, job->identity->cluster_id, ID_BYTES);
	memcpy(job->receiver.lineage, job->identity->lineage, ID_BYTES);
}

static void job_start_handles(struct backup_job *job, uv_loop_t *loop)
{
	uint64_t tick_ms = backup_job_pause(job, BACKUP_JOB_TICK_MS);
	int rv = op_queue_init(&job->queue, loop, job->home);

	rv = rv != 0 ? rv : uv_timer_init(loop, &job->timer);
	rv = rv != 0 ? rv : uv_async_init(loop, &job->claimed, job_claimed_cb);
	job->timer.data = job->claimed.data = job->arrivals.poll.data = job;
	if (rv == 0 && job->arrivals.fd >= 0) {
		rv = uv_poll_init(loop, &job->arrivals.poll, job->arrivals.fd);
	}
	rv = rv != 0 ? rv : uv_timer_start(&job->timer, job_timer_cb, tick_ms, tick_ms);
	assert(rv == 0); /* A loop that runs has descriptors left for one more. */
}

int backup_job_start(struct backup_job **ret_job, const struct config *config,
	const struct node_identity *identity, struct replica *replica, struct pool *pool,
	uv_loop_t *loop, struct mailbox *home, struct err *e)
{
	struct backup_job *job;
	int rc;

	if (config->backup_public_key_file == NULL) {
		return err_set(e, KLUIS_EINVAL, "no [backup] 'public_key'");
	}
	job = x_calloc(1, sizeof *job);
	job->config = config;
	job->identity = identity;
	job->replica = replica;
	job->pool = pool;
	job->home = home;
	job->began_ms = backup_job_now();
	(void)pthread_mutex_init(&job->lock, NULL);
	job->checkpoint_dir = x_asprintf("%s/backup-checkpoint", config->data_dir);
	job_set_pace(job);
	backup_arrivals_open(&job->arrivals);
	rc = job_load_keys(job, e);
	if (rc != 0) {
		job_free(job);
		return err_wrap(e, rc, "backup");
	}
	job_load_sites(job);
	job_set_receiver(job);
	job_start_handles(job, loop);
	backup_root_start(job);
	backup_open_look(job);
	*ret_job = job;
	return 0;
}

static bool job_busy(const struct backup_job *job)
{
	bool busy = job->opening.busy || job->take.busy || job->take.failing ||
		    backup_receive_busy(job) || backup_keep_busy(job) || job->deletions.busy ||
		    job->claim.claiming || job->claim.renewing || job->watch.checking ||
		    job->drill.running || job->journal.busy || job->journal.recording ||
		    job->journal.confirming || job->root.busy || job->root.telling;

	for (size_t i = 0; i < job->n_shipments; i++) {
		busy = busy || job->shipment[i].busy;
	}
	return busy;
}

static void job_handle_closed(struct backup_job *job)
{
	void (*closed_cb)(void *data) = job->closed_cb;
	void *data = job->closed_data;

	if (--job->open_handles == 0) {
		job_free(job);
		closed_cb(data);
	}
}

static void job_closed_cb(uv_handle_t *handle)
{
	job_handle_closed(handle->data);
}

static void job_queue_closed_cb(uv_handle_t *handle)
{
	struct op_queue *queue = handle->data;

	job_handle_closed(CONTAINER_OF(queue, struct backup_job, queue));
}

void backup_job_ended(struct backup_job *job)
{
	if (!job->closing || job->open_handles > 0 || job_busy(job)) {
		return;
	}
	job->open_handles = 3;
	if (job->arrivals.fd >= 0) {
		job->open_handles++;
		uv_close((uv_handle_t *)&job->arrivals.poll, job_closed_cb);
	}
	uv_close((uv_handle_t *)&job->timer, job_closed_cb);
	uv_close((uv_handle_t *)&job->claimed, job_closed_cb);
	op_queue_close(&job->queue, job_queue_closed_cb);
}

void backup_job_close(struct backup_job *job, void (*closed_cb)(void *data), void *data)
{
	assert(!job->closing);
	job->closing = true;
	job->closed_cb = closed_cb;
	job->closed_data = data;
	atomic_store(&job->cancel, true);
	backup_root_close(job);
	backup_take_close(job);
	backup_drill_close(job);
	backup_job_ended(job);
}

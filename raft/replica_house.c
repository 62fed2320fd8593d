/* What a replica does by the clock: log truncation, hash reports, the disk's floor, who its peers
 * are, what its status says. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "raft/replica_impl.h"

/* --- log truncation --- */

enum {
	STAGGER_STEPS = 12
}; /* Twice as many as sites, for the numbers of those that were replaced. */

uint64_t replica_staggered(const struct replica *r, uint64_t limit)
{
	return limit - r->node_id % STAGGER_STEPS * (limit / (2 * STAGGER_STEPS));
}

/* While the disk is low deletions go to it soon: there they make room. */
static bool house_flush_due(const struct replica *r)
{
	return r->bytes_to_flush >= replica_staggered(r, LOG_FLUSH_BYTES) ||
	       r->position.index >= r->flushed_index + replica_staggered(r, LOG_FLUSH_ENTRIES) ||
	       (atomic_load(&r->read_only) &&
		       replica_now(r) - r->flush_begun_ms >= DISK_LOW_FLUSH_MS);
}

static void house_flush(struct replica *r)
{
	if (r->flushing || !house_flush_due(r)) {
		return;
	}
	r->flushing = true;
	r->flush_begun_ms = replica_now(r);
	r->bytes_to_flush = 0;
	applier_push(r, apply_job_new(r, APPLY_FLUSH, 0));
}

/* The store is durable up to index: what the log holds before it is for peers only. */
void replica_flushed(struct replica *r, uint64_t index)
{
	uint64_t trailing = entry_log_count_back(r->log, index, LOG_TRAILING_BYTES);
	int rc;

	r->flushed_index = index;
	driver_set_trailing(r->driver,
		trailing < LOG_TRAILING_ENTRIES ? (unsigned)trailing : LOG_TRAILING_ENTRIES);
	rc = driver_snapshot_taken(r->driver, index);
	if (rc != 0) {
		log_debug("op=snapshot index=%llu rc=%s msg=\"log not cut, retrying\"",
			(unsigned long long)index, err_name(rc));
	}
}

/* --- hash reports --- */

static void house_report(struct replica *r, uint64_t index, const uint8_t hash[32])
{
	struct command command = {
		.type = COMMAND_HASH_REPORT, .hash_report = {.node = r->node_id, .index = index}};

	memcpy(command.hash_report.hash, hash, sizeof command.hash_report.hash);
	if (atomic_load(&r->doubted)) {
		/* What it cannot read back is no state. Drawn anew: two nodes in doubt must not
		 * agree with each other. */
		random_fill(r->random, command.hash_report.hash, sizeof command.hash_report.hash);
		r->doubt_reported_ms = replica_now(r);
	}
	propose_own(r, &command);
}

/* The others have reported at this index; with our word they may judge now. */
static bool house_doubts_again(const struct replica *r)
{
	return atomic_load(&r->doubted) && !atomic_load(&r->quarantined) &&
	       (r->doubt_reported_ms == 0 || replica_now(r) - r->doubt_reported_ms >= HASH_ASK_MS);
}

static void house_report_idle(struct replica *r)
{
	const struct position *p = &r->position;
	uint64_t now_ms = replica_now(r);

	if ((p->report_index == r->reported_index && !house_doubts_again(r)) ||
		p->report_index == 0) {
		return;
	}
	if (p->report_index != r->report_seen) {
		r->report_seen = p->report_index;
		r->report_changed_ms = now_ms;
		return;
	}
	if (now_ms - r->report_changed_ms < HASH_REPORT_IDLE_MS || driver_leader(r->driver) == 0) {
		return;
	}
	r->reported_index = p->report_index;
	house_report(r, p->report_index, p->report_hash);
}

/* While others write on and on there is no pause to report in. */
static void house_report_doubt(struct replica *r)
{
	if (atomic_load(&r->doubted) && !r->doubt_told && r->report_common != 0) {
		r->doubt_told = true;
		house_report(r, r->report_common, r->position.state_hash); /* It draws one. */
	}
}

void replica_report(struct replica *r, const struct fsm_report *report)
{
	r->report_common = report->index;
	house_report(r, report->index, report->hash);
}

/* Whether it can lead now, and has no reason to hand over that this node knows of: two that both
 * have one would give leadership to each other for ever. */
static bool house_may_lead(const struct replica *r, const struct member *member)
{
	const struct server *server = servers_find(&r->servers, member->id);

	return member->id != r->node_id && member->role == MEMBER_VOTER &&
	       driver_member_current(r->driver, member->id) &&
	       (server == NULL || (!server->read_only && !server->quarantined));
}

/* Another one leads rather than this node, if there is one; asked again at the next look. */
static void house_hand_over(struct replica *r)
{
	const struct member *may[SITES_MAX];
	uint64_t now_ms = replica_now(r);
	unsigned n = 0;
	int rc;

	if (driver_status(r->driver).role != DRIVER_LEADER ||
		(r->handed_over_ms != 0 && now_ms - r->handed_over_ms < HAND_OVER_MS)) {
		return;
	}
	for (unsigned i = 0; i < r->peers.n; i++) {
		if (house_may_lead(r, &r->peers.member[i])) {
			may[n++] = &r->peers.member[i];
		}
	}
	if (n > 0) {
		r->handed_over_ms = now_ms;
		rc = driver_transfer(r->driver, may[random_below(r->random, n)]->id);
		(void)rc; /* It is under way. */
	}
}

/* --- the disk --- */

uint64_t replica_floor(const struct replica *r, uint64_t total_bytes)
{
	uint64_t share = total_bytes / 100 * r->floor_percent;

	return share < r->floor_bytes_setting ? share : r->floor_bytes_setting;
}

/* A file that only takes room: given up when the disk is nearly full, so that what makes room again
 * (flushes, compactions, purges) still finds some. */
static void disk_keep_reserve(const struct replica *r, uint64_t free_bytes, uint64_t floor_bytes)
{
	_cleanup_(x_freep) char *path = replica_path(r, "reserve");
	bool exists = file_exists(path);

	if (exists && free_bytes < floor_bytes / 8) {
		if (unlink(path) == 0) {
			log_warn("op=disk msg=\"reserve given up\"");
		}
	} else if (!exists && free_bytes > floor_bytes + 2ULL * DISK_RESERVE_BYTES) {
		_cleanup_(x_closep) int fd =
			open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd >= 0 && posix_fallocate(fd, 0, DISK_RESERVE_BYTES) != 0) {
			(void)unlink(path); /* Half a reserve is none; tried again. */
		}
	}
}

static int disk_work(struct pool_work *work)
{
	struct replica *r = CONTAINER_OF(work, struct replica, disk_work);
	struct statvfs st;

	if (statvfs(r->dir, &st) != 0) {
		return KLUIS_EIO;
	}
	r->disk_free = (uint64_t)st.f_bavail * st.f_frsize;
	r->disk_total = (uint64_t)st.f_blocks * st.f_frsize;
	disk_keep_reserve(r, r->disk_free, replica_floor(r, r->disk_total));
	return 0;
}

static void disk_decide(struct replica *r)
{
	bool low = r->free_bytes < r->floor_bytes;
	bool before = atomic_load(&r->read_only);

	/* A little more room than the floor before it ends: no flapping. */
	if (before && r->free_bytes < r->floor_bytes + r->floor_bytes / 8) {
		low = true;
	}
	atomic_store(&r->read_only, low);
	if (low != before) {
		log_line(low ? LOG_LEVEL_ERR : LOG_LEVEL_INFO,
			"op=disk read_only=%d free=%llu floor=%llu", low,
			(unsigned long long)r->free_bytes, (unsigned long long)r->floor_bytes);
	}
	if (low) {
		house_hand_over(r);
	}
}

static void disk_done_cb(struct pool_work *work, int rc)
{
	struct replica *r = CONTAINER_OF(work, struct replica, disk_work);

	r->disk_busy = false;
	if (rc != 0 || r->stopping) {
		return;
	}
	r->free_bytes = r->disk_free;
	r->floor_bytes = replica_floor(r, r->disk_total);
	disk_decide(r);
}

static void house_disk(struct replica *r)
{
	uint64_t now_ms = replica_now(r);

	if (r->disk_busy || now_ms - r->disk_checked_ms < DISK_CHECK_MS) {
		return;
	}
	r->disk_checked_ms = now_ms;
	r->disk_busy =
		pool_submit(r->take_pool, &r->disk_work, &r->mailbox, disk_work, disk_done_cb) == 0;
}

/* --- peers --- */

static void peers_set(struct replica *r, const struct configuration *members)
{
	struct link_peer peers[SITES_MAX];
	struct err e = {0};
	size_t n = 0;

	for (unsigned i = 0; i < members->n; i++) {
		if (members->member[i].id != r->node_id) {
			peers[n++] = (struct link_peer){
				members->member[i].id, members->member[i].address};
		}
	}
	if (links_set_peers(r->links, peers, n, &e) != 0) {
		log_err("op=peers msg=\"%s\"", e.text);
	}
}

void replica_peers_update(struct replica *r)
{
	struct configuration members;

	driver_configuration(r->driver, &members);
	if (members.n == 0) {
		members = r->members; /* Not joined yet: the others are where the operator says. */
	}
	if (r->peers_set && configuration_equal(&members, &r->peers)) {
		return;
	}
	r->peers = members;
	r->peers_set = true;
	peers_set(r, &members);
}

/* --- transfers of leadership --- */

static void transfer_deliver_cb(struct mail *mail)
{
	struct replica_transfer *req = CONTAINER_OF(mail, struct replica_transfer, mail);

	req->cb(req, req->rc);
}

static void transfer_end(struct replica_transfer *req, int rc)
{
	req->rc = rc;
	req->mail.deliver_cb = transfer_deliver_cb;
	mailbox_send(req->home, &req->mail);
}

static void transfer_enter_cb(struct mail *mail)
{
	struct replica_transfer *req = CONTAINER_OF(mail, struct replica_transfer, mail);
	struct replica *r = req->replica;
	int rc = r->stopping ? KLUIS_ECLOSED : driver_transfer(r->driver, req->to);

	if (rc != 0) {
		transfer_end(req, rc);
		return;
	}
	req->next = r->transfers;
	r->transfers = req;
}

void replica_transfer_start(struct replica_transfer *req, struct replica *r, struct mailbox *home,
	uint64_t to, uint64_t deadline_ms, void (*cb)(struct replica_transfer *req, int rc))
{
	*req = (struct replica_transfer){
		.replica = r, .home = home, .to = to, .deadline_ms = deadline_ms, .cb = cb};
	req->mail.deliver_cb = transfer_enter_cb;
	if (!replica_enter(r, &req->mail)) {
		transfer_end(req, KLUIS_ECLOSED);
	}
}

void replica_transfers_end(struct replica *r, int rc)
{
	while (r->transfers != NULL) {
		struct replica_transfer *req = r->transfers;

		r->transfers = req->next;
		transfer_end(req, rc);
	}
}

static void house_transfers(struct replica *r)
{
	struct driver_status status = driver_status(r->driver);
	struct replica_transfer **at = &r->transfers;

	if (status.leader != 0 && status.leader != r->node_id) {
		replica_transfers_end(r, 0);
		return;
	}
	while (*at != NULL) {
		struct replica_transfer *req = *at;
		bool failed = status.role == DRIVER_LEADER && status.transferee == 0;

		if (failed || replica_now(r) >= req->deadline_ms) {
			*at = req->next;
			transfer_end(req, KLUIS_ETIMEOUT);
		} else {
			at = &req->next;
		}
	}
}

/* --- status --- */

static void status_peer(struct replica *r, const struct member *member, struct replica_status *s)
{
	struct replica_peer_status *p = &s->peers[s->n_peers++];
	const struct peer_pin *pin = peer_pins_find(&r->pins, member->id);
	struct link_status link;

	*p = (struct replica_peer_status){.id = member->id,
		.vote = member->role == MEMBER_VOTER ? REPLICA_VOTER : REPLICA_STANDBY};
	(void)snprintf(p->address, sizeof p->address, "%s", member->address);
	(void)snprintf(p->site, sizeof p->site, "%s", member->site);
	p->met = pin != NULL && pin->agreed;
	p->trouble = replica_meet_trouble(r, member->id);
	p->match_index = driver_peer_status(r->driver, member->id).match;
	if (links_status(r->links, member->id, &link) == 0) {
		p->connected = link.up && link.accepted;
		p->last_heard_ms = link.heard_ms;
		p->wall_offset_ms = (uint64_t)llabs((long long)link.wall_offset_ms);
		p->feature_level = link.feature_level;
	}
}

const struct replica_peer_status *replica_status_peer(
	const struct replica_status *status, uint64_t id)
{
	for (unsigned i = 0; i < status->n_peers; i++) {
		if (status->peers[i].id == id) {
			return &status->peers[i];
		}
	}
	return NULL;
}

bool replica_status_reaches(const struct replica_status *status, uint64_t id)
{
	const struct replica_peer_status *peer = replica_status_peer(status, id);

	return id == status->node_id || (peer != NULL && peer->connected);
}

static void status_raft(struct replica *r, const struct driver_status *d, struct replica_status *s)
{
	s->role = (enum replica_role)d->role;
	s->term = d->term;
	s->leader_id = d->leader;
	s->commit_index = d->commit;
	s->stored_index = d->stored;
	s->last_index = d->last;
	s->first_index = d->first;
	s->applied_index = r->position.index;
	s->applied_term = r->position.term;
	s->lag = d->commit > s->applied_index ? d->commit - s->applied_index : 0;
	s->begun = r->begun;
	s->joining = replica_joining(r);
	s->voters = configuration_voters(&r->peers);
	s->voters_wanted = r->servers.voters;
	(void)snprintf(s->members_waiting, sizeof s->members_waiting, "%.159s", r->roles.waiting);
	s->ready = r->begun && d->leader != 0 && r->contact_ms != 0 &&
		   replica_now(r) - r->contact_ms < r->in_touch_ms &&
		   s->lag < APPLY_LAG_ENTRIES_MAX && s->applied_index > 0 &&
		   !atomic_load(&r->quarantined);
}

static void status_store(struct replica *r, struct replica_status *s)
{
	s->cluster_time_ms = r->position.cluster_time_ms;
	s->cluster_now_ms = cluster_clock_now(r);
	memcpy(s->state_hash, r->position.state_hash, sizeof s->state_hash);
	s->state_hash_index = r->position.index;
	s->quarantined = atomic_load(&r->quarantined);
	s->rebuilding = driver_status(r->driver).rebuilding;
	s->read_only = atomic_load(&r->read_only);
	s->certificate_not_after_ms = links_certificate_not_after_ms(r->links);
	s->free_bytes = r->free_bytes;
	s->floor_bytes = r->floor_bytes;
	s->log_bytes = entry_log_disk_bytes(r->log);
	s->proposals_waiting = r->proposer.queued.n + r->proposer.sent.n;
	s->proposal_bytes_waiting = r->proposer.queued.bytes + r->proposer.sent.bytes;
	catch_up_progress(r, &s->catching_up_bytes, &s->catching_up_total);
}

void replica_status_update(struct replica *r)
{
	struct driver_status d = driver_status(r->driver);
	struct replica_status s = {.node_id = r->node_id, .vote = REPLICA_SPARE};

	status_raft(r, &d, &s);
	status_store(r, &s);
	for (unsigned i = 0; i < r->peers.n; i++) {
		const struct member *member = &r->peers.member[i];

		if (member->id != r->node_id) {
			status_peer(r, member, &s);
		} else {
			s.vote = member->role == MEMBER_VOTER ? REPLICA_VOTER : REPLICA_STANDBY;
		}
	}
	(void)pthread_mutex_lock(&r->status_lock);
	memcpy(s.damage, r->damage, sizeof s.damage);
	r->status = s;
	(void)pthread_mutex_unlock(&r->status_lock);
}

void replica_status(struct replica *r, struct replica_status *ret_status)
{
	(void)pthread_mutex_lock(&r->status_lock);
	*ret_status = r->status;
	(void)pthread_mutex_unlock(&r->status_lock);
}

void replica_house(struct replica *r)
{
	proposer_tick(r);
	reader_tick(r);
	house_flush(r);
	house_report_idle(r);
	house_report_doubt(r);
	house_disk(r);
	if (atomic_load(&r->quarantined)) {
		house_hand_over(r);
	}
	cluster_clock_tick(r);
	replica_members_tick(r);
	catch_up_tick(r);
	rebuild_tick(r);
	checkpoint_tick(r);
	replica_peers_update(r);
	replica_status_update(r);
	house_transfers(r); /* Who asked for one may ask next who leads. */
}

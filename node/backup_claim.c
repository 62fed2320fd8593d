/* Claiming cycles as they come due, and keeping the claim while this node works on it. */
#include <string.h>

#include "base/log.h"
#include "node/backup_parts.h"
#include "storage/cluster_store.h"

void backup_claim_rules(const struct config *config, struct schedule_rules *ret_rules)
{
	*ret_rules = (struct schedule_rules){.interval_ms = config->backup_interval_s * 1000,
		.offset_ms = config->backup_offset_s * 1000};
	if (config->backup_public_key_file == NULL) {
		ret_rules->interval_ms = ret_rules->offset_ms = 0;
	}
}

int backup_claim_nodes(
	const struct kv_view *view, uint64_t ret_nodes[SITES_MAX], size_t *ret_n, struct err *e)
{
	static const uint8_t none[32];
	struct node_row rows[SITES_MAX];
	size_t n = 0;
	int rc = node_store_list(view, 0, rows, SITES_MAX, &n, e);

	if (rc != 0) {
		return rc;
	}
	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		if (!rows[i].read_only && !rows[i].quarantined &&
			memcmp(rows[i].backup_key, none, sizeof none) != 0) {
			ret_nodes[(*ret_n)++] = rows[i].node;
		}
	}
	return 0;
}

/* --- keeping a claim ------------------------------------------------------------------------- */

static uint32_t claim_ttl_ms(const struct backup_job *job, const struct schedule_facts *facts)
{
	return job->config->backup_claim_ms != 0 ? (uint32_t)job->config->backup_claim_ms
						 : schedule_claim_ms(&facts->rules);
}

static void renewed_cb(struct propose *req, int rc)
{
	struct backup_job *job = CONTAINER_OF(req, struct backup_job, claim.renew);

	job->claim.renewing = false;
	if (rc != 0) {
		log_info("op=backup_renew rc=%s", err_name(rc)); /* If it stands, the next tick. */
		job->claim.not_before_ms =
			backup_job_now() + backup_job_pause(job, BACKUP_CLAIM_AGAIN_MS);
	}
	backup_job_ended(job);
}

/* Of the shipments to all sites. */
static void claim_count(const struct backup_job *job, const struct snapshot_row *row,
	struct schedule_shipping *ret_shipping, bool *ret_any)
{
	struct schedule_shipping shipping = {.copies = (unsigned)job->config->backup_copies,
		.stall_ms = backup_stall_ms(job),
		.ticks_ms = backup_job_now()};

	*ret_any = false;
	for (size_t i = 0; i < job->n_shipments; i++) {
		const struct backup_shipment *s = &job->shipment[i];

		*ret_any = *ret_any || s->passed_over < row->id;
		shipping.moved += atomic_load(&s->moved);
		shipping.delivered +=
			s->delivered >= row->id || ship_confirmed_by(row, s->site->id);
	}
	*ret_shipping = shipping;
}

/* This node does for the claimed snapshot what can be done, as far as it knows. */
static bool claim_alive(
	struct backup_job *job, const struct snapshot_row *row, const struct schedule_facts *facts)
{
	struct backup_claim *claim = &job->claim;
	struct schedule_shipping shipping;
	bool any;

	if (row->state == SNAPSHOT_RUNNING) {
		return row->id > job->take.given_up && !backup_take_hangs(job);
	}
	claim_count(job, row, &shipping, &any);
	if (any && schedule_ships(facts, row, &shipping, &claim->pulse)) {
		return true;
	}
	if (claim->let_go != row->id) {
		claim->let_go = row->id;
		log_warn("op=backup_claim snapshot=%llu state=\"its shipping does not get on\", "
			 "shipped without a claim",
			(unsigned long long)row->id);
	}
	return false;
}

/* S of the checkpoint that is being taken, while the log does not know it. */
static uint64_t claim_index(const struct backup_job *job, const struct snapshot_row *row)
{
	const struct backup_take *take = &job->take;

	return row->state == SNAPSHOT_RUNNING && take->busy && take->row.id == row->id &&
			       take->index != row->index
		       ? take->index
		       : 0;
}

static void claim_keep(
	struct backup_job *job, const struct snapshot_row *row, const struct schedule_facts *facts)
{
	struct command command = {.type = COMMAND_SNAPSHOT_RENEW};
	uint32_t ttl_ms = claim_ttl_ms(job, facts);
	uint64_t index = claim_index(job, row);

	if (!claim_alive(job, row, facts) || job->claim.renewing ||
		(index == 0 && facts->now_ms + ttl_ms / 4 * 3 < row->claim_expires_ms)) {
		return;
	}
	command.snapshot_renew.id = row->id;
	command.snapshot_renew.node = job->config->id;
	command.snapshot_renew.ttl_ms = ttl_ms;
	command.snapshot_renew.index = index;
	job->claim.renewing = true;
	backup_job_propose(job, &job->claim.renew, &command, renewed_cb);
}

/* --- claiming -------------------------------------------------------------------------------- */

static void claimed_cb(struct propose *req, int rc)
{
	struct backup_job *job = CONTAINER_OF(req, struct backup_job, claim.claim);
	struct command_reply reply;

	job->claim.claiming = false;
	if (rc == 0 && command_reply_decode(req->reply, &reply) == 0) {
		log_info("op=backup_claim snapshot=%llu slot=%llu",
			(unsigned long long)reply.number, (unsigned long long)job->claim.slot);
		(void)uv_async_send(&job->claimed);
	} else {
		log_info("op=backup_claim slot=%llu rc=%s", (unsigned long long)job->claim.slot,
			err_name(rc)); /* Mostly: another node was quicker. */
		job->claim.not_before_ms =
			backup_job_now() + backup_job_pause(job, BACKUP_CLAIM_AGAIN_MS);
	}
	backup_job_ended(job);
}

static void claim_begin(struct backup_job *job, const struct schedule_facts *facts)
{
	struct command command = {.type = COMMAND_SNAPSHOT_CLAIM};

	command.snapshot_claim.node = job->config->id;
	command.snapshot_claim.kind = SNAPSHOT_INCREMENT;
	command.snapshot_claim.slot = job->claim.slot;
	command.snapshot_claim.ttl_ms = claim_ttl_ms(job, facts);
	job->claim.claiming = true;
	backup_job_propose(job, &job->claim.claim, &command, claimed_cb);
}

/* Turns are counted from when this node first saw that the claim is due: after an outage that is
 * long past for all of them. */
static bool claim_my_turn(struct backup_job *job, const struct schedule_facts *facts)
{
	struct backup_claim *claim = &job->claim;
	struct schedule_turn turn;
	size_t place;

	if (!schedule_look(facts, &turn) || facts->now_ms < turn.from_ms) {
		return false;
	}
	if (claim->slot != turn.slot || claim->from_ms != turn.from_ms) {
		claim->slot = turn.slot;
		claim->from_ms = turn.from_ms;
		claim->seen_ms = backup_job_now();
	}
	place = schedule_place(&turn, job->config->id);
	return place < turn.n && backup_job_now() - claim->seen_ms >= place * turn.turn_ms;
}

static void claim_act(struct backup_job *job, const struct schedule_facts *facts,
	const struct snapshot_row *own, bool read_only)
{
	if (own != NULL && own->state <= SNAPSHOT_SHIPPED) {
		claim_keep(job, own, facts);
	}
	if (!job->claim.claiming && !job->take.busy && !read_only && claim_my_turn(job, facts)) {
		claim_begin(job, facts);
	}
}

void backup_claim_look(struct backup_job *job, const struct kv_view *view,
	const struct replica_status *status, const struct snapshot_row *rows, size_t n)
{
	struct schedule_facts facts = {.rows = rows,
		.n_rows = n,
		.leader = status->leader_id,
		.now_ms = status->cluster_now_ms};
	const struct snapshot_row *own = NULL;
	struct cluster_row cluster;
	struct err e = {0};
	int rc = cluster_store_get(view, &cluster, &e);

	if (rc == KLUIS_ENOTFOUND || (rc == 0 && cluster.feature_level < FEATURE_LEVEL_SCHEDULE) ||
		backup_job_now() < job->claim.not_before_ms) {
		return;
	}
	rc = rc != 0 ? rc : snapshot_store_state(view, &facts.state, &e);
	rc = rc != 0 ? rc : backup_claim_nodes(view, facts.nodes, &facts.n_nodes, &e);
	if (rc != 0) {
		log_err("op=backup_claim rc=%s error=\"%s\", retrying", err_name(rc), e.text);
		return;
	}
	backup_claim_rules(job->config, &facts.rules);
	for (size_t i = 0; i < n; i++) {
		if (rows[i].id == facts.state.claimed_id && rows[i].node == job->config->id) {
			own = &rows[i];
		}
	}
	claim_act(job, &facts, own, status->read_only);
}

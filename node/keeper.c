#include "node/keeper.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "raft/fsm.h"
#include "storage/position.h"
#include "storage/upkeep_store.h"

static void keeper_cluster_init(const struct keeper_self *self, struct command *ret_command)
{
	struct command_cluster_init *init = &ret_command->cluster_init;

	ret_command->type = COMMAND_CLUSTER_INIT;
	memcpy(init->cluster_id, self->identity->cluster_id, sizeof init->cluster_id);
	memcpy(init->lineage, self->identity->lineage, sizeof init->lineage);
	for (size_t i = 0; i < self->config->n_sites; i++) {
		uint64_t id = self->config->sites[i].id;
		unsigned at = init->n_nodes++;

		for (; at > 0 && init->node[at - 1] > id;
			at--) { /* The command wants them ascending. */
			init->node[at] = init->node[at - 1];
		}
		init->node[at] = id;
	}
}

static bool keeper_bytes_are(struct bytes bytes, const char *text)
{
	return bytes_equal(bytes, bytes_str(text));
}

static bool keeper_announced(const struct node_row *row, const struct command_node_announce *a)
{
	return row->feature_level == a->feature_level && keeper_bytes_are(a->site, row->site) &&
	       keeper_bytes_are(a->version, row->version) && keeper_bytes_are(a->api, row->api) &&
	       keeper_bytes_are(a->link, row->link) && keeper_bytes_are(a->ssh, row->ssh) &&
	       bytes_equal(a->ssh_host_key, bytes_of(row->ssh_host_key, row->ssh_host_key_bytes)) &&
	       memcmp(a->backup_key, row->backup_key, sizeof a->backup_key) == 0;
}

static struct bytes keeper_text(const char *text)
{
	return text == NULL ? bytes_of(NULL, 0) : bytes_str(text);
}

/* Fills in the announcement; true when it differs from what the cluster knows. */
static bool keeper_announce(const struct keeper_facts *facts, const struct keeper_self *self,
	struct command *ret_command)
{
	const struct config_site *site = config_self(self->config);
	struct command_node_announce *a = &ret_command->node_announce;

	assert(site != NULL); /* config_load() checked it. */
	ret_command->type = COMMAND_NODE_ANNOUNCE;
	a->node = self->config->id;
	a->feature_level = FEATURE_LEVEL;
	a->site = bytes_str(site->name);
	a->version = bytes_str(KLUIS_VERSION);
	a->api = keeper_text(site->url);
	a->link = bytes_str(self->link);
	a->ssh = bytes_str(self->ssh);
	a->ssh_host_key = site->ssh_host_key == NULL
				  ? bytes_of(NULL, 0)
				  : bytes_of(site->ssh_host_key_wire, CONFIG_SSH_KEY_BYTES);
	memcpy(a->backup_key, site->backup_key, sizeof a->backup_key);
	return !keeper_announced(&facts->row, a);
}

/* The same for what its settings ask of accounts. */
static bool keeper_policy(const struct keeper_facts *facts, const struct keeper_self *self,
	struct command *ret_command)
{
	const struct config *config = self->config;
	const struct policy policy = {.registration = (uint8_t)config->registration,
		.recovery_delay_ms = (uint32_t)(config->recovery_delay_s * 1000),
		.bytes_max = config->quota_bytes,
		.pages_max = config->quota_pages};

	static_assert((int)REGISTRATION_CLOSED == (int)POLICY_CLOSED &&
			      (int)REGISTRATION_OPEN == (int)POLICY_OPEN,
		"the setting is what is announced");
	*ret_command = (struct command){.type = COMMAND_POLICY_ANNOUNCE,
		.policy_announce = {.node = config->id,
			.registration = policy.registration,
			.recovery_delay_ms = policy.recovery_delay_ms,
			.bytes_max = policy.bytes_max,
			.pages_max = policy.pages_max}};
	return facts->feature_level >= FEATURE_LEVEL_PERSONS &&
	       !(facts->have_policy && policy_equal(&facts->policy, &policy));
}

/* The same for what they say of backups; from when on a site drills is written down with it, so
 * that time has to be known. */
static bool keeper_backup(const struct keeper_facts *facts, const struct keeper_self *self,
	struct command *ret_command)
{
	const struct config *config = self->config;
	struct command_backup_announce *a = &ret_command->backup_announce;
	struct node_backup_row own = {.interval_s = config->backup_interval_s,
		.offset_s = config->backup_offset_s,
		.keep_s = config->backup_keep_s,
		.copies = (uint8_t)config->backup_copies,
		.drills = config->backup_drill_key_file != NULL};

	*ret_command = (struct command){
		.type = COMMAND_BACKUP_ANNOUNCE, .backup_announce = {.node = config->id}};
	if (facts->feature_level < FEATURE_LEVEL_CHECKS || !facts->time_set) {
		return false;
	}
	if (config->backup_public_key_file == NULL) {
		return facts->have_backup;
	}
	a->copies = own.copies;
	a->interval_s = own.interval_s;
	a->offset_s = own.offset_s;
	a->keep_s = own.keep_s;
	a->drills = own.drills;
	return !(facts->have_backup && node_backup_row_equal(&facts->backup, &own));
}

void keeper_self_init(
	struct keeper_self *self, const struct config *config, const struct node_identity *identity)
{
	const struct config_site *site = config_self(config);

	*self = (struct keeper_self){.config = config, .identity = identity};
	address_format(&site->link, self->link);
	if (site->ssh.port != 0) {
		address_format(&site->ssh, self->ssh);
	}
}

bool keeper_decide(const struct keeper_facts *facts, const struct keeper_self *self,
	struct command *ret_command)
{
	struct command command = {0};
	bool due = false;

	if (!facts->ready || (!facts->have_cluster && !facts->leads)) {
		return false;
	}
	if (!facts->have_cluster) {
		keeper_cluster_init(self, &command);
		due = true;
	} else if (keeper_announce(facts, self, &command) || keeper_policy(facts, self, &command) ||
		   keeper_backup(facts, self, &command)) {
		due = true;
	} else if (facts->row.read_only != facts->read_only) {
		/* Held against what the cluster knows: it may have been told before a crash. */
		command = (struct command){.type = COMMAND_READONLY,
			.readonly = {.node = self->config->id, .on = facts->read_only}};
		due = true;
	} else if (facts->leads && facts->expire_due) {
		command = (struct command){
			.type = COMMAND_EXPIRE, .expire = {.max_rows = EXPIRE_ROWS_MAX}};
		due = true;
	}
	if (due) {
		*ret_command = command;
	}
	return due;
}

static int keeper_read(
	struct keeper *keeper, struct kv *kv, struct keeper_facts *facts, struct err *e)
{
	struct kv_view *view = kv_view_new(kv);
	struct cluster_row cluster;
	struct position position = {0};
	int rc = cluster_store_get(view, &cluster, e);

	facts->have_cluster = rc == 0;
	if (rc == 0) {
		facts->feature_level = cluster.feature_level;
		rc = node_policy_store_get(view, keeper->self.config->id, &facts->policy, e);
		facts->have_policy = rc == 0;
		rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (rc == 0) {
		rc = node_backup_store_get(view, keeper->self.config->id, &facts->backup, e);
		facts->have_backup = rc == 0;
		rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (rc == 0) {
		rc = node_store_get(view, keeper->self.config->id, &facts->row, e);
	}
	if (rc == 0 || rc == KLUIS_ENOTFOUND) {
		rc = position_get(view, &position, e);
	}
	facts->time_set = position.cluster_time_ms >= CLUSTER_TIME_MS_MIN;
	if (rc == 0 && facts->leads) {
		rc = upkeep_store_due(view, position.cluster_time_ms, &facts->expire_due, e);
	}
	kv_view_free(view);
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

static int keeper_gather(struct keeper *keeper, struct keeper_facts *facts)
{
	struct replica_status status;
	struct err e = {0};
	struct kv *kv;
	int rc;

	replica_status(keeper->replica, &status);
	*facts = (struct keeper_facts){.leads = status.role == REPLICA_LEADER,
		.ready = status.ready,
		.read_only = status.read_only};
	if (!facts->ready) {
		return 0;
	}
	rc = replica_read_begin(keeper->replica, &kv);
	if (rc == 0) {
		rc = keeper_read(keeper, kv, facts, &e);
		if (rc == KLUIS_ECORRUPT) {
			replica_doubt(keeper->replica, e.text);
		}
		replica_read_end(keeper->replica);
	}
	if (rc != 0 && rc != KLUIS_EBEHIND) {
		log_err("op=keeper state=read rc=%s error=\"%s\", retrying", err_name(rc), e.text);
	}
	return rc;
}

static void keeper_finish_close(struct keeper *keeper);
static void keeper_tick(uv_timer_t *timer);

static void keeper_proposed_cb(struct propose *req, int rc)
{
	struct keeper *keeper = CONTAINER_OF(req, struct keeper, propose);

	keeper->waiting = false;
	if (rc != 0) {
		log_info("op=keeper command=%s rc=%s, retrying", command_name(keeper->proposed),
			err_name(rc));
	}
	if (keeper->closing) {
		keeper_finish_close(keeper);
	} else if (rc == 0) {
		keeper_tick(&keeper->timer); /* Perhaps there is more to do at once. */
	}
}

static void keeper_tick(uv_timer_t *timer)
{
	struct keeper *keeper = timer->data;
	struct keeper_facts facts;
	struct command command;
	struct buf bytes = BUF_INIT;

	if (keeper->waiting || keeper->closing || keeper_gather(keeper, &facts) != 0 ||
		!keeper_decide(&facts, &keeper->self, &command)) {
		return;
	}
	command_encode(&command, &bytes);
	keeper->proposed = command.type;
	keeper->waiting = true;
	propose_start(&keeper->propose, keeper->replica, keeper->home, &bytes,
		clock_monotonic_ms(&clock_system) + KEEPER_PROPOSE_MS, keeper_proposed_cb);
}

int keeper_start(struct keeper *keeper, uv_loop_t *loop, struct mailbox *home,
	struct replica *replica, const struct config *config, const struct node_identity *identity)
{
	int rv;

	*keeper = (struct keeper){.replica = replica, .home = home};
	keeper_self_init(&keeper->self, config, identity);
	rv = uv_timer_init(loop, &keeper->timer);
	keeper->timer.data = keeper;
	return rv != 0 ? rv : uv_timer_start(&keeper->timer, keeper_tick, 50, KEEPER_TICK_MS);
}

static void keeper_timer_closed_cb(uv_handle_t *handle)
{
	struct keeper *keeper = handle->data;

	keeper->closed_cb(keeper);
}

static void keeper_finish_close(struct keeper *keeper)
{
	uv_close((uv_handle_t *)&keeper->timer, keeper_timer_closed_cb);
}

void keeper_close(struct keeper *keeper, void (*closed_cb)(struct keeper *keeper))
{
	assert(!keeper->closing);
	keeper->closing = true;
	keeper->closed_cb = closed_cb;
	if (!keeper->waiting) {
		keeper_finish_close(keeper);
	}
}

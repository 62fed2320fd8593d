#include "raft/replica.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "raft/link_files.h"
#include "raft/replica_impl.h"

enum { REPLICA_POOL_QUEUE_MAX = 256 };

uint64_t replica_now(const struct replica *r)
{
	return clock_monotonic_ms(r->clock);
}

unsigned replica_port(const struct replica *r)
{
	return r->port;
}

bool replica_enter(struct replica *r, struct mail *mail)
{
	bool open;

	(void)pthread_mutex_lock(&r->gate);
	open = !r->closing;
	if (open) {
		mailbox_send(&r->mailbox, mail);
	}
	(void)pthread_mutex_unlock(&r->gate);
	return open;
}

/* --- the loop --- */

static void replica_driver_timer_cb(uv_timer_t *timer)
{
	struct replica *r = timer->data;

	r->armed_ms = 0; /* It may have come a moment too early: armed again, also for the same. */
	driver_tick(r->driver);
}

static void replica_house_timer_cb(uv_timer_t *timer)
{
	replica_house(timer->data);
}

static void replica_arm(struct replica *r)
{
	uint64_t now_ms = replica_now(r), due_ms = driver_deadline_ms(r->driver);
	uint64_t gathered_ms = proposer_deadline_ms(r);
	int rv;

	due_ms = gathered_ms < due_ms ? gathered_ms : due_ms;
	if (due_ms == r->armed_ms) {
		return;
	}
	r->armed_ms = due_ms;
	uv_update_time(&r->loop);
	rv = uv_timer_start(&r->driver_timer, replica_driver_timer_cb,
		due_ms > now_ms ? due_ms - now_ms : 0, 0);
	assert(rv == 0);
}

/* What is applied was the newest state when the node last knew how far the log is committed, and
 * has all of that. While apply is behind, it waits for what was known before. */
static void replica_note_contact(struct replica *r)
{
	struct driver_contact now = driver_contact(r->driver);

	r->contact_ms = now.ms;
	if (r->position.index >= now.commit) {
		r->contact_goal = (struct driver_contact){0};
		atomic_store(&r->heard_ms, now.ms);
	} else if (r->contact_goal.ms == 0 || r->position.index >= r->contact_goal.commit) {
		if (r->contact_goal.ms != 0) {
			atomic_store(&r->heard_ms, r->contact_goal.ms);
		}
		r->contact_goal = now;
	}
}

/* Once a turn, before the loop waits: everything that came in this turn is answered together. */
static void replica_turn_cb(uv_prepare_t *turn)
{
	struct replica *r = turn->data;
	struct driver_status status = driver_status(r->driver);

	assert(!r->stopping);
	if (!r->begun && !replica_joining(r)) {
		return; /* No timer either: it does not stand for election. */
	}
	if (status.role == DRIVER_LEADER && !r->led) {
		cluster_clock_lead(r);
		log_info("op=lead site=%s term=%llu", r->site, (unsigned long long)status.term);
	}
	r->led = status.role == DRIVER_LEADER;
	replica_note_contact(r);
	proposer_turn(r);
	driver_expect_more(r->driver, proposer_waits(r));
	reader_turn(r);
	replica_arm(r);
}

/* --- links --- */

/* One that joins takes what a leader gives it, no more: it is no member that anybody counts. */
static bool replica_may_hear(const struct replica *r, enum link_stream stream, struct bytes message)
{
	if (stream == LINK_RELAY) {
		return r->begun;
	}
	if (r->begun || !replica_joining(r) || stream == LINK_FILE) {
		return r->begun || replica_joining(r);
	}
	return message.len >= 2 &&
	       (message.data[1] == MESSAGE_APPEND || message.data[1] == MESSAGE_SNAPSHOT);
}

static void replica_receive_cb(
	void *data, uint64_t peer, enum link_stream stream, struct bytes message)
{
	struct replica *r = data;

	if (r->stopping || !replica_may_hear(r, stream, message)) {
		return; /* What it answered would be the word of a node without memory. */
	}
	if (stream == LINK_RELAY) {
		replica_relayed(r, message);
	} else if (stream != LINK_FILE) {
		/* The link gives nothing of an older connection after a newer one began. */
		(void)driver_receive(r->driver, peer, 1, message); /* Counted there. */
	} else if (file_message_type(message) == FILE_REQUEST) {
		checkpoint_receive(r, peer, message);
	} else {
		catch_up_receive(r, peer, message);
	}
}

static void replica_up_cb(void *data, uint64_t peer)
{
	struct replica *r = data;

	if (!r->stopping) {
		driver_connected(r->driver, peer);
	}
}

static void replica_down_cb(void *data, uint64_t peer)
{
	struct replica *r = data;

	if (!r->stopping) {
		driver_disconnected(r->driver, peer);
		checkpoint_peer_down(r, peer);
		catch_up_peer_down(r, peer);
	}
}

static void replica_room_cb(void *data, uint64_t peer, enum link_stream stream)
{
	struct replica *r = data;

	if (!r->stopping && stream == LINK_FILE) {
		checkpoint_room(r, peer);
	}
}

static const struct link_handler replica_link_handler = {
	.receive_cb = replica_receive_cb,
	.up_cb = replica_up_cb,
	.down_cb = replica_down_cb,
	.room_cb = replica_room_cb,
	.meet_cb = replica_meet_cb,
	.agree_cb = replica_agree_cb,
	.refused_cb = replica_refused_cb,
	.removed_cb = replica_removed_cb,
};

static int replica_tls(const struct replica *r, struct tls_ctx **ret_ctx, struct err *e)
{
	struct pki_files files = {r->cert_path, r->key_path, r->ca_path};

	return link_files_load(
		&files, r->cluster_id, r->node_id, clock_wall_ms(r->clock), ret_ctx, e);
}

struct replica_new_tls {
	struct mail mail;
	struct replica *replica;
	struct tls_ctx *ctx;
};

static void replica_new_tls_cb(struct mail *mail)
{
	struct replica_new_tls *fresh = CONTAINER_OF(mail, struct replica_new_tls, mail);

	if (!fresh->replica->stopping) {
		links_set_ctx(fresh->replica->links, fresh->ctx);
	}
	tls_ctx_unref(fresh->ctx);
	free(fresh);
}

int replica_reload(struct replica *r, struct err *e)
{
	struct replica_new_tls *fresh;
	struct tls_ctx *ctx;
	int rc = replica_tls(r, &ctx, e);

	if (rc != 0) {
		return rc;
	}
	fresh = x_calloc(1, sizeof *fresh);
	*fresh = (struct replica_new_tls){
		.mail.deliver_cb = replica_new_tls_cb, .replica = r, .ctx = ctx};
	if (!replica_enter(r, &fresh->mail)) {
		tls_ctx_unref(ctx);
		free(fresh);
		return err_set(e, KLUIS_ECLOSED, "this node is stopping");
	}
	return 0;
}

static int replica_open_links(struct replica *r, const struct replica_config *config, struct err *e)
{
	struct links_config links = {.loop = &r->loop,
		.pool = r->give_pool,
		.home = &r->mailbox,
		.clock = r->clock,
		.random = r->random,
		.node_id = r->node_id,
		.starts = r->pins.starts,
		.feature_level = (uint16_t)config->feature_level,
		.handler = &replica_link_handler,
		.data = r};
	int rc = replica_tls(r, &links.ctx, e);

	if (rc != 0) {
		return rc;
	}
	memcpy(links.cluster_id, r->cluster_id, sizeof links.cluster_id);
	memcpy(links.lineage, config->lineage, sizeof links.lineage);
	memcpy(links.incarnation, r->pins.incarnation, sizeof links.incarnation);
	rc = links_new(&links, config->listen, &r->links, e);
	tls_ctx_unref(links.ctx);
	if (rc == 0) {
		r->port = links_port(r->links);
	}
	return rc;
}

/* --- the end --- */

static void replica_closed_part(struct replica *r)
{
	assert(r->closing_parts > 0);
	r->closing_parts--;
	if (r->closing_parts == 0) {
		uv_close((uv_handle_t *)&r->driver_timer, NULL);
		uv_close((uv_handle_t *)&r->house_timer, NULL);
		uv_close((uv_handle_t *)&r->turn, NULL);
		mailbox_close(&r->mailbox, NULL);
	}
}

static void replica_closed_cb(void *data)
{
	replica_closed_part(data);
}

/* The last that runs on the loop: everything open is ended, then closed. */
static void replica_close(struct replica *r)
{
	r->stopping = true;
	(void)uv_timer_stop(&r->driver_timer); /* These cannot fail. */
	(void)uv_timer_stop(&r->house_timer);
	(void)uv_prepare_stop(&r->turn);
	proposer_stop(r);
	reader_stop(r);
	replica_transfers_end(r, KLUIS_ECLOSED);
	applier_stop(r);
	pool_free(r->take_pool);
	pool_free(r->give_pool);
	r->take_pool = r->give_pool = NULL;
	r->closing_parts = 1U + (r->links != NULL) + (r->log != NULL);
	if (r->links != NULL) {
		links_close(r->links, replica_closed_cb, r);
	}
	if (r->log != NULL) {
		entry_log_close(r->log, replica_closed_cb);
	}
	replica_closed_part(r);
}

static bool replica_handed_over(const struct replica *r)
{
	return driver_status(r->driver).role != DRIVER_LEADER || replica_now(r) >= r->stop_at_ms;
}

static void replica_stop_timer_cb(uv_timer_t *timer)
{
	struct replica *r = timer->data;

	if (replica_handed_over(r)) {
		replica_close(r);
	} else {
		replica_house(r);
	}
}

static void replica_stop_cb(struct mail *mail)
{
	struct replica *r = CONTAINER_OF(mail, struct replica, stop_mail);
	int rc, rv;

	r->stop_at_ms = replica_now(r) + r->hand_over_ms;
	if (replica_handed_over(r)) {
		replica_close(r);
		return;
	}
	rc = driver_transfer(r->driver, 0);
	if (rc != 0 && rc != KLUIS_EBUSY) { /* Waiting brings no other voter. */
		log_info(
			"op=replica_stop rc=%s msg=\"nobody to hand leadership to\"", err_name(rc));
		replica_close(r);
		return;
	}
	rv = uv_timer_start(&r->house_timer, replica_stop_timer_cb, 10, 10);
	assert(rv == 0);
}

static void replica_free(struct replica *r)
{
	checkpoint_stop(r);
	catch_up_stop(r);
	driver_free(r->driver);
	peer_pins_close(&r->pins);
	fsm_free(r->applier.fsm);
	kv_close(r->applier.kv);
	(void)pthread_mutex_destroy(&r->gate);
	(void)pthread_mutex_destroy(&r->status_lock);
	(void)pthread_mutex_destroy(&r->mark_lock);
	(void)pthread_mutex_destroy(&r->applier.lock);
	(void)pthread_mutex_destroy(&r->applier.watch_lock);
	(void)pthread_cond_destroy(&r->applier.more);
	(void)pthread_cond_destroy(&r->applier.readers_gone);
	free(r->dir);
	free(r->site);
	free(r->ca_path);
	free(r->cert_path);
	free(r->key_path);
	free(r);
}

void replica_stop(struct replica *r, unsigned hand_over_ms)
{
	if (r == NULL) {
		return;
	}
	(void)pthread_mutex_lock(&r->gate);
	assert(!r->closing);
	r->closing = true;
	(void)pthread_mutex_unlock(&r->gate);
	r->hand_over_ms = hand_over_ms;
	r->stop_mail.deliver_cb = replica_stop_cb;
	mailbox_send(&r->mailbox, &r->stop_mail);
	(void)pthread_join(r->thread, NULL);
	replica_free(r);
}

/* --- the beginning --- */

static void *replica_thread(void *arg)
{
	struct replica *r = arg;
	int rv;

	(void)pthread_setname_np(pthread_self(), "core"); /* Only for people. */
	(void)uv_run(&r->loop, UV_RUN_DEFAULT);
	rv = uv_loop_close(&r->loop);
	assert(rv == 0);
	return NULL;
}

static struct replica *replica_new(const struct replica_config *config)
{
	struct replica *r = x_calloc(1, sizeof *r);
	int rv = uv_loop_init(&r->loop);

	assert(rv == 0 && config->node_id > 0);
	rv = mailbox_init(&r->mailbox, &r->loop);
	assert(rv == 0);
	(void)uv_timer_init(&r->loop, &r->driver_timer); /* These three cannot fail. */
	(void)uv_timer_init(&r->loop, &r->house_timer);
	(void)uv_prepare_init(&r->loop, &r->turn);
	r->driver_timer.data = r->house_timer.data = r->turn.data = r;
	(void)pthread_mutex_init(&r->gate, NULL);
	(void)pthread_mutex_init(&r->status_lock, NULL);
	(void)pthread_mutex_init(&r->mark_lock, NULL);
	r->dir = x_strdup(config->dir);
	r->site = x_strdup(config->site == NULL ? "" : config->site);
	r->node_id = config->node_id;
	memcpy(r->cluster_id, config->cluster_id, sizeof r->cluster_id);
	r->ca_path = x_strdup(config->ca_path);
	r->cert_path = x_strdup(config->cert_path);
	r->key_path = x_strdup(config->key_path);
	r->clock = config->clock == NULL ? &clock_system : config->clock;
	r->random = config->random == NULL ? &random_system : config->random;
	r->floor_percent = config->floor_percent == 0 ? DISK_FLOOR_PERCENT : config->floor_percent;
	r->floor_bytes_setting = config->floor_bytes == 0 ? DISK_FLOOR_BYTES : config->floor_bytes;
	r->free_bytes = UINT64_MAX; /* Until the first look. */
	r->store_cache_bytes = config->store_cache_bytes;
	r->store_write_buffer_bytes = config->store_write_buffer_bytes;
	r->take_pool = pool_new("take", 1, REPLICA_POOL_QUEUE_MAX);
	r->give_pool = pool_new("give", 1, REPLICA_POOL_QUEUE_MAX);
	applier_init(&r->applier);
	proposer_init(r);
	reader_init(r);
	return r;
}

static void replica_new_driver(struct replica *r, const struct replica_config *config)
{
	struct roles_options roles = roles_options_default();
	struct driver_options options;
	uint32_t seed;

	random_fill(r->random, &seed, sizeof seed);
	options = driver_options_default(r->node_id, seed);
	if (config->election_timeout_ms != 0) {
		options.election_timeout_ms = config->election_timeout_ms;
	}
	if (config->heartbeat_ms != 0) {
		options.heartbeat_ms = config->heartbeat_ms;
	}
	r->in_touch_ms = 2ULL * options.election_timeout_ms;
	if (config->gone_ms != 0) {
		roles.gone_ms = roles.lead_ms = config->gone_ms;
		roles.steady_ms =
			roles.steady_ms < config->gone_ms ? roles.steady_ms : config->gone_ms;
	}
	roles_init(&r->roles, &roles, r->node_id);
	r->driver = driver_new(&options, &replica_driver_io, r);
}

static int replica_open(struct replica *r, const struct replica_config *config, struct err *e)
{
	int rc = replica_boot_members(r, config, e);

	if (rc == 0) {
		rc = replica_boot(r, e);
	}
	if (rc == 0) {
		rc = replica_open_links(r, config, e);
	}
	if (rc == 0) {
		replica_new_driver(r, config);
		rc = replica_boot_driver(r, e);
	}
	return rc;
}

int replica_start(const struct replica_config *config, struct replica **ret_replica, struct err *e)
{
	struct replica *r = replica_new(config);
	int rc = replica_open(r, config, e), rv;

	if (rc != 0) {
		replica_close(r);
		(void)replica_thread(r); /* Here: to the end of the loop. */
		replica_free(r);
		return rc;
	}
	r->flushed_index = r->position.index;
	r->catch_up_ms = replica_now(r);
	replica_peers_update(r);
	replica_status_update(r);
	applier_start(r);
	rv = uv_prepare_start(&r->turn, replica_turn_cb);
	assert(rv == 0);
	rv = uv_timer_start(&r->house_timer, replica_house_timer_cb, 0, HEARTBEAT_MS / 3);
	assert(rv == 0);
	rv = pthread_create(&r->thread, NULL, replica_thread, r);
	assert(rv == 0);
	*ret_replica = r;
	return 0;
}

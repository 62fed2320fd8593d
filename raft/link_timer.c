#include <inttypes.h>

#include "base/log.h"
#include "raft/link_state.h"

/* room_cb for the streams that were refused and have room now. */
static void link_node_tell_room(struct link_node *node)
{
	struct links *links = node->links;
	const struct links_config *config = &links->config;
	uint64_t id = node->id;

	for (unsigned stream = 0; stream < LINK_STREAMS; stream++) {
		size_t bytes = node->wanted_bytes[stream];

		if ((node->wanted & BIT(stream)) == 0 ||
			!link_queue_has_room(&node->queue, (enum link_stream)stream, bytes) ||
			(stream == LINK_FILE && bytes > node->credit)) {
			continue;
		}
		node->wanted &= ~BIT(stream);
		if (config->handler->room_cb != NULL) {
			config->handler->room_cb(config->data, id, (enum link_stream)stream);
		}
		if (links_find(links, id) != node) {
			return; /* The callback changed the peers. */
		}
	}
}

/* The link went down in a call of the user's, where no callback may fire. */
static void link_node_tell_down(struct link_node *node)
{
	const struct links_config *config = &node->links->config;

	if (node->down_due) {
		node->down_due = false;
		if (config->handler->down_cb != NULL) {
			config->handler->down_cb(config->data, node->id);
		}
	}
}

static bool link_node_room_due(const struct link_node *node)
{
	for (unsigned stream = 0; stream < LINK_STREAMS; stream++) {
		size_t bytes = node->wanted_bytes[stream];

		if ((node->wanted & BIT(stream)) != 0 &&
			link_queue_has_room(&node->queue, (enum link_stream)stream, bytes) &&
			(stream != LINK_FILE || bytes <= node->credit)) {
			return true;
		}
	}
	return false;
}

static bool link_conn_is_trusted(const struct link_conn *conn, struct err *e)
{
	const struct links_config *config = &conn->links->config;

	return tls_stream_verify(conn->stream, config->ctx, clock_wall_ms(config->clock), e) == 0;
}

/* What a CA vouched for that is not trusted any more has to show a new certificate. */
static void link_recheck_all(struct links *links)
{
	uint64_t ids[SITES_MAX];
	size_t n = links_peers(links, ids, ARRAY_SIZE(ids));
	struct err e = {0};

	links->recheck = false;
	for (size_t i = 0; i < n; i++) {
		struct link_node *node = links_find(links, ids[i]);

		if (node != NULL && node->in != NULL && !link_conn_is_trusted(node->in, &e)) {
			link_accept_end(node->in, "%s", e.text);
		}
		if (node != NULL && node->out != NULL && node->out->up &&
			!link_conn_is_trusted(node->out, &e)) {
			link_dial_failed(node, "%s", e.text);
		}
	}
}

/* Twice in a turn of the loop: before it waits for the network (what timers queued) and after (what
 * came in queued). */
static void link_turn(struct links *links)
{
	bool due = false;

	if (links->closing) {
		return;
	}
	if (links->recheck) {
		link_recheck_all(links);
	}
	for (unsigned i = 0; i < links->n_nodes; i++) {
		link_node_tell_down(links->nodes[i]);
	}
	for (unsigned i = 0; i < links->n_nodes; i++) {
		link_node_tell_room(links->nodes[i]);
	}
	for (unsigned i = 0; i < links->n_nodes; i++) {
		link_dial_pump(links->nodes[i]);
		due = due || links->nodes[i]->down_due || link_node_room_due(links->nodes[i]);
	}
	if (due) {
		(void)uv_idle_start(&links->idle, link_turn_idle_cb); /* Fails only without cb. */
	} else {
		(void)uv_idle_stop(&links->idle); /* Always 0. */
	}
}

void link_turn_prepare_cb(uv_prepare_t *prepare)
{
	link_turn(prepare->data);
}

void link_turn_check_cb(uv_check_t *check)
{
	link_turn(check->data);
}

void link_turn_idle_cb(uv_idle_t *idle)
{
	(void)idle; /* Only keeps the loop from waiting. */
}

static void link_sweep_node(struct link_node *node, uint64_t now)
{
	struct link_conn *in = node->in, *out = node->out;

	if (in != NULL && now - in->heard_ms > LINK_DEAD_MS) {
		link_accept_end(in, "nothing heard for %d ms", LINK_DEAD_MS);
	} else if (in != NULL && link_conn_expired(in)) {
		link_accept_end(in, "its certificate has expired");
	}
	if (out == NULL && node->lookup == NULL && now >= node->retry_ms) {
		link_dial(node);
	} else if (out != NULL && !out->up && now - out->begun_ms > LINK_HANDSHAKE_MS) {
		link_dial_failed(node, "no answer in %d ms", LINK_HANDSHAKE_MS);
	} else if (out != NULL && out->up && now - out->heard_ms > LINK_DEAD_MS) {
		link_dial_failed(node, "nothing heard for %d ms", LINK_DEAD_MS);
	} else if (out != NULL && out->up && link_conn_expired(out)) {
		link_dial_failed(node, "its certificate has expired");
	} else if (out != NULL && out->up && now >= node->ping_ms) {
		link_dial_ping(node);
	}
}

static void link_sweep_unknown(struct links *links, uint64_t now)
{
	struct link_conn *conn, *next;

	for (conn = links->conns; conn != NULL; conn = next) {
		next = conn->next;
		if (conn->node == NULL && !conn->dropped &&
			now - conn->begun_ms > LINK_HANDSHAKE_MS) {
			link_accept_end(conn, "no hello in %d ms", LINK_HANDSHAKE_MS);
		}
	}
}

/* The process stood still (a stopped machine, a blocked loop): what peers sent meanwhile is still
 * in the sockets, so that nobody is dead yet. */
static void link_sweep_forgive(struct links *links, uint64_t now)
{
	log_warn("op=link state=late ms=%" PRIu64, now - links->swept_ms);
	for (struct link_conn *conn = links->conns; conn != NULL; conn = conn->next) {
		conn->heard_ms = now;
	}
}

void link_sweep_cb(uv_timer_t *timer)
{
	struct links *links = timer->data;
	uint64_t ids[SITES_MAX], now = links_now(links);
	size_t n = links_peers(links, ids, ARRAY_SIZE(ids));

	if (now - links->swept_ms > LINK_DEAD_MS / 2) {
		link_sweep_forgive(links, now);
	}
	links->swept_ms = now;
	for (size_t i = 0; i < n; i++) {
		struct link_node *node = links_find(links, ids[i]);

		if (node != NULL && !links->closing) { /* Callbacks may change the peers. */
			link_sweep_node(node, now);
		}
	}
	if (!links->closing) {
		link_sweep_unknown(links, now);
	}
}

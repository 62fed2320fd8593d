#include "raft/link.h"

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "raft/entry.h"
#include "raft/link_state.h"

enum { LINK_BACKLOG = 128 };

uint64_t links_now(const struct links *links)
{
	return clock_monotonic_ms(links->config.clock);
}

struct link_node *links_find(const struct links *links, uint64_t id)
{
	for (unsigned i = 0; i < links->n_nodes; i++) {
		if (links->nodes[i]->id == id) {
			return links->nodes[i];
		}
	}
	return NULL;
}

struct link_conn *link_conn_new(struct links *links, struct link_node *node)
{
	struct link_conn *conn = x_calloc(1, sizeof *conn);

	conn->links = links;
	conn->node = node;
	conn->begun_ms = conn->heard_ms = links_now(links);
	conn->next = links->conns;
	conn->prev = &links->conns;
	if (conn->next != NULL) {
		conn->next->prev = &conn->next;
	}
	links->conns = conn;
	links->n_conns++;
	return conn;
}

void link_conn_free(struct link_conn *conn)
{
	assert(conn->links->n_conns > 0);
	conn->links->n_conns--;
	*conn->prev = conn->next;
	if (conn->next != NULL) {
		conn->next->prev = conn->prev;
	}
	frame_reader_release(&conn->reader);
	free(conn);
}

void link_conn_drop(struct link_conn *conn, bool graceful)
{
	struct link_node *node = conn->node;

	if (conn->dropped) {
		return;
	}
	conn->dropped = true;
	conn->node = NULL;
	if (node == NULL) {
		assert(conn->links->n_unknown > 0);
		conn->links->n_unknown--;
	} else if (node->in == conn) {
		node->received_bytes += tls_stream_counters(conn->stream)->read_bytes;
		node->in = NULL;
	}
	/* Lingering ones are counted, too: a flood gets no courtesy. */
	if (graceful && conn->links->n_conns <= LINK_HANDSHAKES_MAX) {
		tls_stream_close(conn->stream);
	} else {
		tls_stream_abort(conn->stream);
	}
}

bool link_peer_is_member(const struct links *links, const struct tls_peer *peer)
{
	return peer->verified && peer->is_node && peer->node_id != links->config.node_id &&
	       memcmp(peer->cluster_id, links->config.cluster_id, 16) == 0;
}

bool link_conn_expired(const struct link_conn *conn)
{
	return tls_stream_peer(conn->stream)->not_after_ms <
	       clock_wall_ms(conn->links->config.clock);
}

void link_node_trouble(struct link_node *node, const char *fmt, ...)
{
	char text[sizeof node->last_error];
	uint64_t now = links_now(node->links);
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (strcmp(text, node->last_error) != 0 || now - node->logged_ms >= LINK_LOG_MS) {
		log_warn("op=link state=down peer=%" PRIu64 " address=%s reason=\"%s\", retrying",
			node->id, node->address_text, text);
		node->logged_ms = now;
	}
	memcpy(node->last_error, text, sizeof text);
}

static void links_handle_closed_cb(uv_handle_t *handle);

static void links_finish(struct links *links)
{
	void (*closed_cb)(void *data) = links->closed_cb;
	void *data = links->closed_data;

	assert(links->closing && links->n_nodes == 0);
	if (links->n_conns > 0) {
		return;
	}
	if (!uv_is_closing((uv_handle_t *)&links->sweep)) {
		uv_close((uv_handle_t *)&links->sweep, links_handle_closed_cb);
	}
	if (links->handles_open > 0) {
		return;
	}
	tls_ctx_unref(links->config.ctx);
	free(links);
	if (closed_cb != NULL) {
		closed_cb(data);
	}
}

void link_stream_closed_cb(struct tls_stream *stream)
{
	struct link_conn *conn = tls_stream_data(stream);
	struct links *links = conn->links;

	assert(conn->dropped);
	link_conn_free(conn);
	if (links->closing) {
		links_finish(links);
	}
}

static void links_handle_closed_cb(uv_handle_t *handle)
{
	struct links *links = handle->data;

	assert(links->handles_open > 0);
	links->handles_open--;
	links_finish(links);
}

static void links_close_late_cb(uv_timer_t *timer)
{
	struct links *links = timer->data;

	for (struct link_conn *conn = links->conns; conn != NULL; conn = conn->next) {
		tls_stream_abort(conn->stream);
	}
}

/* All but the timer, which keeps watch until the last connection is gone. */
static void links_close_handles(struct links *links)
{
	uv_handle_t *handles[] = {(uv_handle_t *)&links->listener, (uv_handle_t *)&links->prepare,
		(uv_handle_t *)&links->check, (uv_handle_t *)&links->idle};

	assert(links->handles_open == ARRAY_SIZE(handles) + 1);
	for (size_t i = 0; i < ARRAY_SIZE(handles); i++) {
		uv_close(handles[i], links_handle_closed_cb);
	}
	/* Not closing yet. */
	(void)uv_timer_start(&links->sweep, links_close_late_cb, LINK_CLOSE_MS, 0);
	if (links->n_conns == 0) {
		uv_close((uv_handle_t *)&links->sweep, links_handle_closed_cb);
	}
}

static void links_init_handles(struct links *links)
{
	uv_loop_t *loop = links->config.loop;

	/* None of these makes a system call or can fail. */
	(void)uv_tcp_init(loop, &links->listener);
	(void)uv_prepare_init(loop, &links->prepare);
	(void)uv_check_init(loop, &links->check);
	(void)uv_idle_init(loop, &links->idle);
	(void)uv_timer_init(loop, &links->sweep);
	links->listener.data = links->prepare.data = links->check.data = links;
	links->idle.data = links->sweep.data = links;
	links->handles_open = 5;
}

static int links_listen(struct links *links, const struct sockaddr *address, struct err *e)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} bound = {.in6 = {0}};
	int len = sizeof bound, status;

	status = uv_tcp_bind(&links->listener, address, 0);
	if (status == 0) {
		status = uv_listen((uv_stream_t *)&links->listener, LINK_BACKLOG, link_accept_cb);
	}
	if (status == 0) {
		status = uv_tcp_getsockname(&links->listener, &bound.any, &len);
	}
	if (status < 0) {
		return err_set(e, KLUIS_EIO, "%s", uv_strerror(status));
	}
	links->port =
		ntohs(bound.any.sa_family == AF_INET6 ? bound.in6.sin6_port : bound.in4.sin_port);
	return 0;
}

int links_new(const struct links_config *config, const char *listen_address,
	struct links **ret_links, struct err *e)
{
	struct address address;
	struct address_found found;
	struct links *links;
	int rc = address_parse(listen_address, &address, e);

	assert(config->node_id > 0 && (config->pool == NULL) == (config->home == NULL));
	if (rc == 0 && address_numeric(&address, &found) != 0) {
		rc = err_set(e, KLUIS_EINVAL, "'%s' is not a numeric address", listen_address);
	}
	if (rc != 0) {
		return err_wrap(e, rc, "listen for links");
	}
	links = x_calloc(1, sizeof *links);
	links->config = *config;
	links->config.ctx = tls_ctx_ref(config->ctx);
	if (config->sweep_ms == 0) {
		links->config.sweep_ms = LINK_SWEEP_MS;
	}
	random_fill(config->random, &links->boot, sizeof links->boot);
	links->swept_ms = links_now(links);
	links_init_handles(links);
	rc = links_listen(links, (const struct sockaddr *)&found.storage, e);
	if (rc != 0) {
		links->closing = true;
		links_close_handles(links);
		return err_wrap(e, rc, "listen for links on '%s'", listen_address);
	}
	/* These fail only without a callback. */
	(void)uv_prepare_start(&links->prepare, link_turn_prepare_cb);
	(void)uv_check_start(&links->check, link_turn_check_cb);
	(void)uv_timer_start(&links->sweep, link_sweep_cb, 0, links->config.sweep_ms);
	*ret_links = links;
	return 0;
}

unsigned links_port(const struct links *links)
{
	return links->port;
}

static int links_check_peers(const struct links *links, const struct link_peer *peers, size_t n,
	struct address *addresses, struct err *e)
{
	if (n > SITES_MAX - 1) {
		return err_set(e, KLUIS_EINVAL, "%zu peers, at most %d", n, SITES_MAX - 1);
	}
	for (size_t i = 0; i < n; i++) {
		int rc = address_parse(peers[i].address, &addresses[i], e);

		if (rc != 0) {
			return err_wrap(e, rc, "peer %" PRIu64, peers[i].id);
		}
		if (!addresses[i].numeric && links->config.pool == NULL) {
			return err_set(e, KLUIS_EINVAL, "peer %" PRIu64 ": '%s' is a name",
				peers[i].id, peers[i].address);
		}
		if (peers[i].id == 0 || peers[i].id == links->config.node_id) {
			return err_set(e, KLUIS_EINVAL, "peer %" PRIu64 " is no peer", peers[i].id);
		}
		for (size_t j = 0; j < i; j++) {
			if (peers[j].id == peers[i].id) {
				return err_set(e, KLUIS_EINVAL, "peer %" PRIu64 " stands twice",
					peers[i].id);
			}
		}
	}
	return 0;
}

static void link_node_free(struct link_node *node, bool graceful)
{
	link_dial_stop(node, graceful);
	if (node->in != NULL) {
		link_conn_drop(node->in, graceful);
	}
	free(node);
}

static bool links_has(const struct link_peer *peers, size_t n, uint64_t id)
{
	for (size_t i = 0; i < n; i++) {
		if (peers[i].id == id) {
			return true;
		}
	}
	return false;
}

static void links_remove_others(struct links *links, const struct link_peer *peers, size_t n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < links->n_nodes; i++) {
		struct link_node *node = links->nodes[i];

		if (links_has(peers, n, node->id)) {
			links->nodes[kept++] = node;
		} else {
			log_info("op=link state=removed peer=%" PRIu64, node->id);
			link_node_free(node, true);
		}
	}
	links->n_nodes = kept;
}

static void links_put(
	struct links *links, const struct link_peer *peer, const struct address *address)
{
	struct link_node *node = links_find(links, peer->id);

	if (node == NULL) {
		assert(links->n_nodes < ARRAY_SIZE(links->nodes));
		node = x_calloc(1, sizeof *node);
		node->links = links;
		node->id = peer->id;
		links->nodes[links->n_nodes++] = node;
	} else if (strcmp(node->address_text, peer->address) != 0) {
		node->down_due = node->down_due || (node->out != NULL && node->out->up);
		link_dial_stop(node, true);
		node->retry_ms = 0;
		node->attempts = 0;
	}
	node->address = *address;
	(void)snprintf(node->address_text, sizeof node->address_text, "%s", peer->address);
}

int links_set_peers(struct links *links, const struct link_peer *peers, size_t n, struct err *e)
{
	struct address addresses[SITES_MAX - 1];
	int rc = links_check_peers(links, peers, n, addresses, e);

	if (rc != 0) {
		return rc;
	}
	links_remove_others(links, peers, n);
	for (size_t i = 0; i < n; i++) {
		links_put(links, &peers[i], &addresses[i]);
	}
	/* The sweep dials. */
	(void)uv_timer_start(&links->sweep, link_sweep_cb, 0, links->config.sweep_ms);
	return 0;
}

void links_set_ctx(struct links *links, struct tls_ctx *ctx)
{
	struct tls_ctx *before = links->config.ctx;

	links->config.ctx = tls_ctx_ref(ctx);
	tls_ctx_unref(before);
	links->recheck = true;
}

uint64_t links_certificate_not_after_ms(const struct links *links)
{
	return tls_ctx_not_after_ms(links->config.ctx);
}

void links_set_lineage(struct links *links, const uint8_t lineage[16])
{
	memcpy(links->config.lineage, lineage, sizeof links->config.lineage);
}

static int link_refuse(struct link_node *node, enum link_stream stream, size_t bytes, int rc)
{
	node->wanted |= BIT(stream);
	node->wanted_bytes[stream] = bytes;
	node->dropped[stream] += rc == KLUIS_EBUSY;
	return rc;
}

int links_send(struct links *links, uint64_t peer, enum link_stream stream, struct bytes header,
	struct entry *const *entries, size_t n)
{
	struct link_node *node = links_find(links, peer);
	size_t len = header.len;
	int rc;

	assert(stream < LINK_STREAMS);
	if (node == NULL) {
		return KLUIS_ENOTFOUND;
	}
	if (node->out == NULL || !node->out->up) {
		return KLUIS_ECONNECT;
	}
	for (size_t i = 0; i < n; i++) {
		len += entries[i]->len;
	}
	if (stream == LINK_FILE && len > node->credit) {
		return link_refuse(node, stream, len, KLUIS_EAGAIN);
	}
	rc = link_queue_put(&node->queue, stream, header, entries, n);
	if (rc != 0) {
		return link_refuse(node, stream, len, rc);
	}
	if (stream == LINK_FILE) {
		node->credit -= len;
	}
	return 0;
}

void links_credit(struct links *links, uint64_t peer, size_t bytes)
{
	struct link_node *node = links_find(links, peer);
	struct link_conn *in = node == NULL ? NULL : node->in;

	/* After a new connection the old one's bytes may still be given back here. */
	if (in == NULL || bytes > in->file_owed - in->file_credit) {
		return;
	}
	in->file_credit += bytes;
	if (in->file_credit >= LINK_FILE_CREDIT_BYTES) {
		link_accept_credit(in);
	}
}

int links_status(const struct links *links, uint64_t peer, struct link_status *ret_status)
{
	const struct link_node *node = links_find(links, peer);
	struct link_status status = {0};

	if (node == NULL) {
		return KLUIS_ENOTFOUND;
	}
	status.peer = node->id;
	memcpy(status.address, node->address_text, sizeof status.address);
	status.up = node->out != NULL && node->out->up;
	status.accepted = node->in != NULL;
	status.up_since_ms = node->up_since_ms;
	status.heard_ms = node->heard_ms;
	status.rtt_us = node->rtt_us;
	status.wall_known = node->wall_known;
	status.wall_offset_ms = node->wall_offset_ms;
	status.feature_level = node->feature_level;
	status.sent_bytes = node->sent_bytes;
	status.received_bytes = node->received_bytes;
	if (node->out != NULL) {
		status.sent_bytes += tls_stream_counters(node->out->stream)->written_bytes;
	}
	if (node->in != NULL) {
		status.received_bytes += tls_stream_counters(node->in->stream)->read_bytes;
	}
	status.sent_messages = node->queue.sent_messages;
	status.received_messages = node->received_messages;
	memcpy(status.dropped, node->dropped, sizeof status.dropped);
	for (size_t i = 0; i < LINK_STREAMS; i++) {
		status.queued_bytes[i] = node->queue.stream[i].bytes;
	}
	status.attempts = node->attempts;
	memcpy(status.last_error, node->last_error, sizeof status.last_error);
	status.certificate_not_after_ms = node->certificate_not_after_ms;
	*ret_status = status;
	return 0;
}

size_t links_peers(const struct links *links, uint64_t *to, size_t max)
{
	size_t n = 0;

	while (n < links->n_nodes && n < max) {
		to[n] = links->nodes[n]->id;
		n++;
	}
	return n;
}

void links_close(struct links *links, void (*closed_cb)(void *data), void *data)
{
	struct link_conn *next;

	assert(!links->closing);
	for (unsigned i = 0; i < links->n_nodes; i++) {
		link_dial_pump(
			links->nodes[i]); /* What was queued last may hand over leadership. */
	}
	links->closing = true;
	links->closed_cb = closed_cb;
	links->closed_data = data;
	links_remove_others(links, NULL, 0);
	for (struct link_conn *conn = links->conns; conn != NULL; conn = next) {
		next = conn->next;
		link_conn_drop(conn, false);
	}
	links_close_handles(links);
}

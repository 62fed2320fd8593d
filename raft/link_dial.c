#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/wire.h"
#include "raft/link_state.h"

/* Doubled with each failure, and by a quarter more or less, so that nodes which lost each other at
 * the same moment do not meet again at the same moment. */
static uint64_t link_backoff_ms(struct link_node *node)
{
	unsigned shift = node->attempts < 8 ? node->attempts : 8;
	uint64_t ms = (uint64_t)LINK_BACKOFF_MIN_MS << shift;

	if (ms > LINK_BACKOFF_MAX_MS) {
		ms = LINK_BACKOFF_MAX_MS;
	}
	return ms - ms / 4 + random_below(node->links->config.random, ms / 2);
}

void link_dial_stop(struct link_node *node, bool graceful)
{
	if (node->lookup != NULL) {
		node->lookup->node = NULL;
		node->lookup = NULL;
	}
	if (node->out != NULL) {
		struct link_conn *conn = node->out;

		node->sent_bytes += tls_stream_counters(conn->stream)->written_bytes;
		node->out = NULL;
		link_conn_drop(conn, graceful);
	}
	link_queue_release(&node->queue);
	node->wanted = 0;
	node->up_since_ms = 0;
	node->wall_known = false;
}

static void link_dial_again(struct link_node *node, const char *why, bool was_up)
{
	const struct link_handler *handler = node->links->config.handler;

	link_node_trouble(node, "%s", why);
	link_dial_stop(node, false);
	node->retry_ms = links_now(node->links) + link_backoff_ms(node);
	node->attempts++;
	if (was_up && handler->down_cb != NULL) {
		handler->down_cb(node->links->config.data, node->id);
	}
}

void link_dial_failed(struct link_node *node, const char *fmt, ...)
{
	char why[sizeof node->last_error];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof why, fmt, args);
	va_end(args);
	link_dial_again(node, why, node->out != NULL && node->out->up);
}

static void link_dial_say_hello(struct link_conn *conn)
{
	const struct links_config *config = &conn->links->config;
	struct hello hello = {.node_id = config->node_id,
		.starts = config->starts,
		.boot = conn->links->boot,
		.dial = conn->node->dials,
		.feature_level = config->feature_level,
		.wall_ms = clock_wall_ms(config->clock)};
	uint8_t bytes[HELLO_BYTES];

	memcpy(hello.cluster_id, config->cluster_id, sizeof hello.cluster_id);
	memcpy(hello.lineage, config->lineage, sizeof hello.lineage);
	memcpy(hello.incarnation, config->incarnation, sizeof hello.incarnation);
	hello_write(&hello, bytes);
	tls_stream_write(conn->stream, bytes_of(bytes, sizeof bytes));
	tls_stream_flush(conn->stream);
}

static void link_dial_ready_cb(struct tls_stream *stream)
{
	struct link_conn *conn = tls_stream_data(stream);
	const struct tls_peer *peer = tls_stream_peer(stream);

	if (conn->dropped) {
		return;
	}
	if (!link_peer_is_member(conn->links, peer)) {
		link_dial_failed(conn->node, "its certificate is no node's of this cluster");
		return;
	}
	if (peer->node_id != conn->node->id) {
		link_dial_failed(
			conn->node, "its certificate is node %" PRIu64 "'s", peer->node_id);
		return;
	}
	if (link_conn_expired(conn)) {
		link_dial_failed(conn->node, "its certificate has expired");
		return;
	}
	conn->node->certificate_not_after_ms = peer->not_after_ms;
	tls_stream_keep_buffers(stream, true);
	tls_stream_set_marks(stream, LINK_UNSENT_BYTES_MAX, LINK_UNSENT_BYTES_MAX / 4);
	tls_stream_limit_kernel(stream, LINK_KERNEL_BYTES_MAX);
	link_dial_say_hello(conn);
}

static void link_dial_refused(struct link_node *node, uint8_t answer)
{
	const struct links_config *config = &node->links->config;
	int rc = answer == HELLO_OTHER_INCARNATION ? KLUIS_ECONFLICT
		 : answer == HELLO_OLD_COPY	   ? KLUIS_EBEHIND
		 : answer == HELLO_REMOVED	   ? KLUIS_EGONE
						   : 0;

	if (rc != 0 && config->handler->refused_cb != NULL) {
		config->handler->refused_cb(config->data, node->id, rc);
	}
	link_dial_failed(node, "it refuses us: %s", hello_answer_text(answer));
}

/* Takes what belongs to the answer from the front of `in`; true when the whole of a yes is there.
 */
static bool link_dial_answer(struct link_conn *conn, struct bytes *in)
{
	size_t want = sizeof conn->answer - conn->answer_len;
	size_t n = in->len < want ? in->len : want;

	memcpy(conn->answer + conn->answer_len, in->data, n);
	conn->answer_len += n;
	*in = bytes_of(in->data + n, in->len - n);
	if (conn->answer[0] != HELLO_ACCEPTED) {
		link_dial_refused(conn->node, conn->answer[0]);
		return false;
	}
	return conn->answer_len == sizeof conn->answer;
}

/* Whether the peer is the one that we know by this id. */
static bool link_dial_agreed(struct link_conn *conn)
{
	static const uint8_t zero[HELLO_YES_BYTES - 1];
	const struct links_config *config = &conn->links->config;
	const uint8_t *incarnation = conn->answer + 1;
	int rc = memcmp(incarnation, zero, sizeof zero) == 0 ? KLUIS_EPROTO : 0;

	if (rc == 0 && config->handler->agree_cb != NULL) {
		rc = config->handler->agree_cb(config->data, conn->node->id, incarnation);
	}
	if (rc != 0) {
		link_dial_failed(conn->node, "%s",
			rc == KLUIS_ECONFLICT ? hello_answer_text(HELLO_OTHER_INCARNATION)
					      : err_text(rc));
	}
	return rc == 0;
}

static void link_dial_up(struct link_conn *conn)
{
	struct link_node *node = conn->node;

	assert(node->queue.stream[0].head == NULL);
	conn->up = true;
	frame_reader_init(&conn->reader, BIT(FRAME_PONG) | BIT(FRAME_CREDIT));
	node->attempts = 0;
	node->credit = LINK_FILE_WINDOW_BYTES;
	node->up_since_ms = links_now(node->links);
	node->last_error[0] = 0;
	node->logged_ms = 0;
	link_dial_ping(node);
	log_info("op=link state=up peer=%" PRIu64 " address=%s", node->id,
		tls_stream_address(conn->stream));
	if (node->links->config.handler->up_cb != NULL) {
		node->links->config.handler->up_cb(node->links->config.data, node->id);
	}
}

void link_dial_ping(struct link_node *node)
{
	struct frame_header header = {.kind = FRAME_PING, .length = FRAME_PING_BYTES};
	uint8_t bytes[FRAME_HEADER_BYTES + FRAME_PING_BYTES];

	assert(node->out != NULL && node->out->up);
	frame_header_write(&header, bytes);
	store_u64(bytes + FRAME_HEADER_BYTES, uv_hrtime() / 1000);
	tls_stream_write(node->out->stream, bytes_of(bytes, sizeof bytes));
	tls_stream_flush(node->out->stream);
	node->ping_ms = links_now(node->links) + LINK_PING_MS;
}

static void link_dial_pong(struct link_node *node, const struct frame_event *event)
{
	uint64_t now_us = uv_hrtime() / 1000;
	uint64_t rtt_us = now_us - event->token;

	/* The token is what we sent, or else the peer is playing: believe only what can be. */
	if (event->token > now_us || rtt_us > LINK_DEAD_MS * 1000ULL) {
		return;
	}
	node->rtt_us = node->rtt_us == 0 ? (uint32_t)rtt_us
					 : (uint32_t)((7ULL * node->rtt_us + rtt_us) / 8);
	node->wall_known = true;
	node->wall_offset_ms = (int64_t)(event->wall_ms + rtt_us / 2000 -
					 clock_wall_ms(node->links->config.clock));
}

static int link_dial_event(struct link_conn *conn, const struct frame_event *event, struct err *e)
{
	struct link_node *node = conn->node;

	if (event->kind == FRAME_PONG) {
		link_dial_pong(node, event);
		return 0;
	}
	assert(event->kind == FRAME_CREDIT);
	if (event->credit > LINK_FILE_WINDOW_BYTES - node->credit) {
		return err_set(e, KLUIS_EPROTO, "credit for more than was sent");
	}
	node->credit += event->credit;
	return 0;
}

static size_t link_dial_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct link_conn *conn = tls_stream_data(stream);
	struct bytes in = bytes;
	struct err e = {0};

	if (conn->dropped) {
		return bytes.len;
	}
	conn->heard_ms = conn->node->heard_ms = links_now(conn->links);
	if (!conn->up && link_dial_answer(conn, &in) && link_dial_agreed(conn)) {
		link_dial_up(conn);
	}
	while (!conn->dropped && in.len > 0) {
		struct frame_event event;
		int rc = frame_reader_next(&conn->reader, &in, &event, &e);

		if (rc == 0 && event.kind != 0) {
			rc = link_dial_event(conn, &event, &e);
		}
		if (rc != 0) {
			link_dial_failed(conn->node, "%s", e.text);
		}
	}
	return bytes.len;
}

static void link_dial_drain_cb(struct tls_stream *stream)
{
	struct link_conn *conn = tls_stream_data(stream);

	if (!conn->dropped && conn->up) {
		link_dial_pump(conn->node);
	}
}

static void link_dial_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	struct link_conn *conn = tls_stream_data(stream);

	if (!conn->dropped) {
		link_dial_failed(conn->node, "%s", rc == 0 ? "it closed the connection" : e->text);
	}
}

static const struct tls_stream_handler link_dial_handler = {link_dial_ready_cb, link_dial_read_cb,
	link_dial_drain_cb, link_dial_end_cb, link_stream_closed_cb};

static void link_dial_address(struct link_node *node, const struct address_found *found)
{
	struct links *links = node->links;
	struct link_conn *conn = link_conn_new(links, node);
	struct err e;

	node->dials++;
	if (tls_stream_dial(links->config.loop, (const struct sockaddr *)&found->storage,
		    links->config.ctx, NULL, &link_dial_handler, conn, &conn->stream, &e) != 0) {
		link_conn_free(conn);
		link_dial_failed(node, "%s", e.text);
		return;
	}
	node->out = conn;
}

static int link_lookup_work(struct pool_work *work)
{
	struct link_lookup *lookup = CONTAINER_OF(work, struct link_lookup, work);

	return address_resolve(&lookup->address, lookup->found, ARRAY_SIZE(lookup->found),
		&lookup->n, &lookup->err);
}

static void link_lookup_done_cb(struct pool_work *work, int rc)
{
	struct link_lookup *lookup = CONTAINER_OF(work, struct link_lookup, work);
	struct link_node *node = lookup->node;

	if (node != NULL) {
		assert(node->lookup == lookup && node->out == NULL);
		node->lookup = NULL;
		if (rc != 0) {
			link_dial_failed(node, "%s", lookup->err.text);
		} else {
			link_dial_address(node, &lookup->found[node->dials % lookup->n]);
		}
	}
	free(lookup);
}

static void link_dial_lookup(struct link_node *node)
{
	struct links_config *config = &node->links->config;
	struct link_lookup *lookup = x_calloc(1, sizeof *lookup);

	lookup->node = node;
	lookup->address = node->address;
	if (pool_submit(config->pool, &lookup->work, config->home, link_lookup_work,
		    link_lookup_done_cb) != 0) {
		free(lookup);
		link_dial_failed(node, "too many lookups at once");
		return;
	}
	node->lookup = lookup;
}

void link_dial(struct link_node *node)
{
	struct address_found found;

	assert(node->out == NULL && node->lookup == NULL);
	if (!node->address.numeric) {
		link_dial_lookup(node);
	} else if (address_numeric(&node->address, &found) == 0) {
		link_dial_address(node, &found);
	} else {
		link_dial_failed(
			node, "'%s' is no address of this machine's kinds", node->address_text);
	}
}

void link_dial_pump(struct link_node *node)
{
	struct link_conn *conn = node->out;
	struct link_frame frame;

	if (conn == NULL || !conn->up || !link_queue_next(&node->queue, &frame)) {
		return;
	}
	do {
		if (!tls_stream_writable(conn->stream)) {
			break; /* drain_cb goes on. */
		}
		tls_stream_writev(conn->stream, frame.pieces, frame.n);
		link_queue_taken(&node->queue, &frame);
	} while (link_queue_next(&node->queue, &frame));
	tls_stream_flush(conn->stream);
}

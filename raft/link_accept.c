#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/wire.h"
#include "raft/link_state.h"

/* Anybody can come to the port: their troubles are told at most once a second. */
enum { LINK_REFUSED_LOG_MS = 1000 };

static void link_accept_log(struct link_conn *conn, const char *why)
{
	struct links *links = conn->links;
	const struct tls_peer *peer = tls_stream_peer(conn->stream);
	uint64_t now = links_now(links);

	if (conn->node != NULL) {
		log_warn("op=link_in state=down peer=%" PRIu64 " reason=\"%s\"", conn->node->id,
			why);
	} else if (links->refused_log_ms == 0 ||
		   now - links->refused_log_ms >= LINK_REFUSED_LOG_MS) {
		links->refused_log_ms = now;
		log_warn("op=link_in state=refused address=%s certificate=%s%" PRIu64
			 " reason=\"%s\"",
			tls_stream_address(conn->stream), peer->is_node ? "node/" : "none/",
			peer->node_id, why);
	}
}

void link_accept_end(struct link_conn *conn, const char *fmt, ...)
{
	char why[160];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof why, fmt, args);
	va_end(args);
	link_accept_log(conn, why);
	link_conn_drop(conn, true);
}

static void link_accept_ready_cb(struct tls_stream *stream)
{
	(void)stream; /* Who it is, the hello says: then it is answered why not. */
}

/* Last of all, for it may be written down who came. */
static uint8_t link_accept_meet(const struct link_conn *conn)
{
	const struct links_config *config = &conn->links->config;
	const struct hello *hello = &conn->hello;
	int rc = config->handler->meet_cb == NULL
			 ? 0
			 : config->handler->meet_cb(config->data, hello->node_id,
				   hello->incarnation, hello->starts, hello->boot);

	switch (rc) {
	case 0:
		return HELLO_ACCEPTED;
	case KLUIS_ECONFLICT:
		return HELLO_OTHER_INCARNATION;
	case KLUIS_EBEHIND:
		return HELLO_OLD_COPY;
	default:
		return HELLO_NO_MEMBER;
	}
}

static uint8_t link_accept_judge(struct link_conn *conn)
{
	const struct links *links = conn->links;
	const struct tls_peer *peer = tls_stream_peer(conn->stream);
	const struct link_node *node;
	int rc = hello_read(conn->hello_bytes, &conn->hello);

	if (rc != 0) {
		return rc == KLUIS_EVERSION ? HELLO_OTHER_VERSION : HELLO_MALFORMED;
	}
	if (!link_peer_is_member(links, peer) || peer->node_id != conn->hello.node_id) {
		return HELLO_NOT_YOU;
	}
	if (memcmp(conn->hello.cluster_id, links->config.cluster_id, 16) != 0) {
		return HELLO_OTHER_CLUSTER;
	}
	if (memcmp(conn->hello.lineage, links->config.lineage, 16) != 0) {
		return HELLO_OTHER_LINEAGE;
	}
	node = links_find(links, peer->node_id);
	if (node == NULL) {
		return links->config.handler->removed_cb != NULL &&
				       links->config.handler->removed_cb(
					       links->config.data, peer->node_id)
			       ? HELLO_REMOVED
			       : HELLO_NO_MEMBER;
	}
	/* A slow handshake of an earlier dial may end after that of a later one: what it brings is
	 * old. */
	if (node->in != NULL && node->in->hello.boot == conn->hello.boot &&
		node->in->hello.dial > conn->hello.dial) {
		return HELLO_STALE;
	}
	return link_accept_meet(conn);
}

static void link_accept_answer(struct link_conn *conn, uint8_t answer)
{
	uint8_t bytes[HELLO_YES_BYTES] = {answer};

	memcpy(bytes + 1, conn->links->config.incarnation, sizeof bytes - 1);
	tls_stream_write(
		conn->stream, bytes_of(bytes, answer == HELLO_ACCEPTED ? sizeof bytes : 1));
	tls_stream_flush(conn->stream);
}

static void link_accept_adopt(struct link_conn *conn)
{
	struct link_node *node = links_find(conn->links, conn->hello.node_id);

	assert(node != NULL && conn->links->n_unknown > 0);
	conn->links->n_unknown--;
	if (node->in != NULL) {
		link_conn_drop(node->in, false); /* Its bytes are older than all that comes now. */
	}
	assert(node->in == NULL);
	tls_stream_keep_buffers(conn->stream, true);
	conn->up = true;
	conn->node = node;
	node->in = conn;
	node->feature_level = conn->hello.feature_level;
	node->certificate_not_after_ms = tls_stream_peer(conn->stream)->not_after_ms;
	frame_reader_init(&conn->reader, BIT(FRAME_DATA) | BIT(FRAME_PING));
	/* It lives: no reason to wait for our own next dial. */
	node->retry_ms = 0;
	log_info("op=link_in state=up peer=%" PRIu64 " address=%s", node->id,
		tls_stream_address(conn->stream));
}

static void link_accept_hello(struct link_conn *conn, struct bytes *in)
{
	size_t want = HELLO_BYTES - conn->hello_len;
	size_t n = in->len < want ? in->len : want;
	uint8_t answer;

	memcpy(conn->hello_bytes + conn->hello_len, in->data, n);
	conn->hello_len += n;
	*in = bytes_of(in->data + n, in->len - n);
	if (conn->hello_len < HELLO_BYTES) {
		return;
	}
	if (link_conn_expired(conn)) {
		link_accept_end(conn, "its certificate has expired");
		return;
	}
	answer = link_accept_judge(conn);
	link_accept_answer(conn, answer);
	if (answer == HELLO_ACCEPTED) {
		link_accept_adopt(conn);
	} else {
		link_accept_end(conn, "%s", hello_answer_text(answer));
	}
}

static void link_accept_pong(struct link_conn *conn, uint64_t token)
{
	struct frame_header header = {.kind = FRAME_PONG, .length = FRAME_PONG_BYTES};
	uint8_t bytes[FRAME_HEADER_BYTES + FRAME_PONG_BYTES];

	frame_header_write(&header, bytes);
	store_u64(bytes + FRAME_HEADER_BYTES, token);
	store_u64(bytes + FRAME_HEADER_BYTES + 8, clock_wall_ms(conn->links->config.clock));
	tls_stream_write(conn->stream, bytes_of(bytes, sizeof bytes));
	tls_stream_flush(conn->stream);
}

void link_accept_credit(struct link_conn *conn)
{
	struct frame_header header = {.kind = FRAME_CREDIT, .length = FRAME_CREDIT_BYTES};
	uint8_t bytes[FRAME_HEADER_BYTES + FRAME_CREDIT_BYTES];

	assert(conn->file_credit <= conn->file_owed);
	frame_header_write(&header, bytes);
	store_u32(bytes + FRAME_HEADER_BYTES, (uint32_t)conn->file_credit);
	conn->file_owed -= conn->file_credit;
	conn->file_credit = 0;
	tls_stream_write(conn->stream, bytes_of(bytes, sizeof bytes));
	tls_stream_flush(conn->stream);
}

static int link_accept_event(struct link_conn *conn, const struct frame_event *event, struct err *e)
{
	const struct links_config *config = &conn->links->config;

	if (event->kind == FRAME_PING) {
		link_accept_pong(conn, event->token);
		return 0;
	}
	assert(event->kind == FRAME_DATA);
	if (event->stream == LINK_FILE) {
		if (event->message.len > LINK_FILE_WINDOW_BYTES - conn->file_owed) {
			return err_set(e, KLUIS_EPROTO, "file bytes beyond the credit");
		}
		conn->file_owed += event->message.len;
	}
	conn->node->received_messages++;
	config->handler->receive_cb(
		config->data, conn->node->id, (enum link_stream)event->stream, event->message);
	return 0;
}

static size_t link_accept_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct link_conn *conn = tls_stream_data(stream);
	struct bytes in = bytes;
	struct err e = {0};

	if (!conn->dropped && !conn->up) {
		link_accept_hello(conn, &in);
	}
	if (!conn->dropped && conn->up) {
		conn->heard_ms = conn->node->heard_ms = links_now(conn->links);
	}
	while (!conn->dropped && in.len > 0) {
		struct frame_event event;
		int rc = frame_reader_next(&conn->reader, &in, &event, &e);

		if (rc == 0 && event.kind != 0) {
			rc = link_accept_event(conn, &event, &e);
		}
		if (rc != 0) {
			link_accept_end(conn, "%s", e.text);
		}
	}
	/* It asks, but does not read the answers. */
	if (!conn->dropped && tls_stream_unsent(stream) > LINK_UNSENT_BYTES_MAX) {
		link_accept_log(conn, "it does not read");
		link_conn_drop(conn, false);
	}
	return bytes.len;
}

static void link_accept_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	struct link_conn *conn = tls_stream_data(stream);

	if (!conn->dropped) {
		link_accept_end(conn, "%s", rc == 0 ? "it closed the connection" : e->text);
	}
}

static const struct tls_stream_handler link_accept_handler = {
	link_accept_ready_cb, link_accept_read_cb, NULL, link_accept_end_cb, link_stream_closed_cb};

/* The one that has taken longest is the likeliest never to end: a flood of silent connections does
 * not keep a peer out. */
static void link_accept_drop_oldest(struct links *links)
{
	struct link_conn *oldest = NULL;

	for (struct link_conn *conn = links->conns; conn != NULL; conn = conn->next) {
		if (conn->node == NULL && !conn->dropped) {
			oldest = conn;
		}
	}
	assert(oldest != NULL);
	link_conn_drop(oldest, false);
}

void link_accept_cb(uv_stream_t *listener, int status)
{
	struct links *links = listener->data;
	struct link_conn *conn;
	struct err e;

	if (status < 0 || links->closing) {
		return; /* Out of descriptors, say; the next one tries again. */
	}
	conn = link_conn_new(links, NULL);
	if (tls_stream_accept(listener, links->config.ctx, &link_accept_handler, conn,
		    &conn->stream, &e) != 0) {
		link_conn_free(conn);
		return;
	}
	links->n_unknown++;
	if (links->n_unknown > LINK_HANDSHAKES_MAX) {
		link_accept_drop_oldest(links);
	}
}

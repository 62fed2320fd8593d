/* A connection: how it comes, what it is told by its stream, how it ends. */
#include <assert.h>
#include <stdio.h>

#include "base/log.h"
#include "node/http_server.h"

void http_conn_recount(struct http_conn *conn)
{
	struct http_counters *counters = &conn->server->counters;
	size_t now = conn->closing ? 0 : conn->out_bytes + tls_stream_unsent(conn->stream);

	assert(counters->answer_bytes >= conn->answers_counted);
	counters->answer_bytes += now;
	counters->answer_bytes -= conn->answers_counted;
	conn->answers_counted = now;
}

void http_conn_wake(struct http_conn *conn)
{
	struct http_server *server = conn->server;

	if (!conn->dirty && !conn->closing) {
		conn->dirty = true;
		conn->dirty_next = server->dirty;
		server->dirty = conn;
		(void)uv_idle_start(&server->again, http_server_idle_cb); /* Cannot fail. */
	}
}

static void conn_forget_requests(struct http_conn *conn)
{
	while (conn->requests != NULL) {
		http_request_over(conn->requests);
	}
}

static void conn_undirty(struct http_conn *conn)
{
	struct http_conn **at = &conn->server->dirty;

	while (conn->dirty) {
		assert(*at != NULL);
		if (*at == conn) {
			*at = conn->dirty_next;
			conn->dirty = false;
		} else {
			at = &(*at)->dirty_next;
		}
	}
}

static void conn_leave(struct http_conn *conn)
{
	conn->closing = true;
	conn_forget_requests(conn);
	conn_undirty(conn);
	http_conn_recount(conn);
	http_crowd_busy(&conn->server->crowd, &conn->guest); /* It is going already. */
}

void http_conn_close(struct http_conn *conn)
{
	if (!conn->closing) {
		conn_leave(conn);
		tls_stream_close(conn->stream);
	}
}

void http_conn_abort(struct http_conn *conn)
{
	if (!conn->closing) {
		conn_leave(conn);
	}
	tls_stream_abort(conn->stream);
}

static void conn_closed_cb(struct tls_stream *stream)
{
	struct http_conn *conn = tls_stream_data(stream);
	struct http_server *server = conn->server;

	assert(server->counters.connections > 0);
	if (!conn->closing) {
		conn_leave(conn);
	}
	if (conn->proto != NULL) {
		conn->proto->release(conn);
	}
	*conn->prev_next = conn->next;
	if (conn->next != NULL) {
		conn->next->prev_next = conn->prev_next;
	}
	server->counters.connections--;
	http_crowd_leave(&server->crowd, &conn->guest);
	free(conn);
	http_server_gone(server);
}

static void conn_ready_cb(struct tls_stream *stream)
{
	struct http_conn *conn = tls_stream_data(stream);
	bool h2 = bytes_is(tls_stream_alpn(stream), TLS_ALPN_H2);
	struct http_counters *counters = &conn->server->counters;

	counters->handshakes++;
	conn->proto = h2 ? &http2_proto : &http1_proto;
	*(h2 ? &counters->h2_connections : &counters->h1_connections) += 1;
	conn->since_ms = http_now(conn->server);
	if (conn->proto->start(conn) != 0) {
		http_conn_abort(conn);
	} else if (conn->server->draining) {
		conn->proto->drain(conn);
	}
}

static size_t conn_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct http_conn *conn = tls_stream_data(stream);

	return conn->closing ? bytes.len : conn->proto->read(conn, bytes);
}

static void conn_drain_cb(struct tls_stream *stream)
{
	http_conn_wake(tls_stream_data(stream));
}

/* A request that came whole may still be answered after the client has closed its side. */
static bool conn_has_received(const struct http_conn *conn)
{
	for (const struct http_request *req = conn->requests; req != NULL; req = req->next) {
		if (req->received && !req->waits) {
			return true;
		}
	}
	return false;
}

static void conn_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	struct http_conn *conn = tls_stream_data(stream);

	if (rc != 0) {
		log_debug("http peer=%s end=%s text=\"%s\"", conn->host, err_name(rc), e->text);
		http_conn_abort(conn);
	} else if (conn_has_received(conn)) {
		conn->half_closed = true;
	} else {
		http_conn_close(conn);
	}
}

static const struct tls_stream_handler conn_handler = {
	.ready_cb = conn_ready_cb,
	.read_cb = conn_read_cb,
	.drain_cb = conn_drain_cb,
	.end_cb = conn_end_cb,
	.closed_cb = conn_closed_cb,
};

static void conn_add(struct http_server *server, struct http_conn *conn)
{
	conn->next = server->conns;
	conn->prev_next = &server->conns;
	if (conn->next != NULL) {
		conn->next->prev_next = &conn->next;
	}
	server->conns = conn;
	server->counters.connections++;
	server->counters.accepted++;
	conn->since_ms = conn->sent_ms = http_now(server);
}

/* One address cannot have all the room: of an idle crowd those go of whom there are most. */
static void conn_enter(struct http_server *server, struct http_conn *conn)
{
	uint64_t retry_ms;
	struct http_guest *surplus = NULL;

	http_crowd_enter(&server->crowd, &conn->guest, conn->address_key);
	if (conn->guest.address->connections > server->config.per_address_max ||
		!ratelimit_take(
			server->accept_limit, conn->address_key, http_now(server), &retry_ms)) {
		surplus = &conn->guest;
	} else if (server->counters.connections > server->config.connections_max) {
		surplus = http_crowd_surplus(&server->crowd, &conn->guest);
	}
	if (surplus == NULL) {
		return;
	}
	*(surplus == &conn->guest ? &server->counters.refused : &server->counters.evicted) += 1;
	http_conn_abort(CONTAINER_OF(surplus, struct http_conn, guest));
}

void http_server_accept(struct http_server *server, uv_stream_t *listener, enum http_door door)
{
	struct http_conn *conn = x_calloc(1, sizeof *conn);
	struct err e = {0};
	int rc;

	conn->server = server;
	conn->door = door;
	conn->uid = (uid_t)-1;
	rc = tls_stream_accept(listener, door == HTTP_CLIENTS ? server->tls : NULL, &conn_handler,
		conn, &conn->stream, &e);
	if (rc != 0) {
		server->counters.accept_errors++;
		log_warn("http accept failed: %s, ignoring", e.text);
		free(conn);
		return;
	}
	(void)snprintf(conn->host, sizeof conn->host, "%s", tls_stream_host(conn->stream));
	conn->address_key = http_crowd_key(conn->host);
	if (door == HTTP_OPERATORS && tls_stream_peer_uid(conn->stream, &conn->uid) != 0) {
		conn->uid = (uid_t)-1; /* Shown in the audit only; the socket's mode decides. */
	}
	conn_add(server, conn);
	if (door == HTTP_CLIENTS) {
		conn_enter(server, conn);
	}
}

static void conn_ask_more(struct http_conn *conn)
{
	struct http_request *req = conn->requests;

	while (req != NULL && !conn->closing) {
		struct http_request *next = req->next;

		if (req->more_asked && req->out_at == req->out.len && !req->last) {
			req->more_asked = false;
			req->more_cb(req);
		}
		req = next;
	}
}

void http_conn_write(struct http_conn *conn)
{
	if (conn->closing) {
		return;
	}
	/* Neither call frees a connection: that takes the stream's closed_cb. */
	conn_ask_more(conn);
	if (!conn->closing) {
		conn->proto->write(conn);
		http_conn_recount(conn);
	}
}

/* Is there something for the client that it does not take? In HTTP/2 it may give no window. */
static bool conn_waits_for_reader(const struct http_conn *conn)
{
	return tls_stream_unsent(conn->stream) > 0 || conn->out_bytes > 0;
}

/* A client that could take what is there, and for a while takes less than it must. */
static bool conn_reads_slowly(struct http_conn *conn, uint64_t now_ms)
{
	const uint64_t enough =
		(uint64_t)HTTP_BODY_BYTES_PER_SECOND_MIN * HTTP_BODY_STALL_MS / 1000;
	uint64_t sent = tls_stream_counters(conn->stream)->wire_sent_bytes;

	if (sent - conn->sent_bytes >= enough || !conn_waits_for_reader(conn)) {
		conn->sent_bytes = sent;
		conn->sent_ms = now_ms;
	}
	return now_ms - conn->sent_ms > HTTP_BODY_STALL_MS;
}

bool http_conn_timed_out(struct http_conn *conn, uint64_t now_ms)
{
	if (conn->closing) {
		return false;
	}
	if (conn->proto == NULL) {
		return now_ms - conn->since_ms > HTTP_HANDSHAKE_MS;
	}
	if (conn->n_requests == 0 && now_ms - conn->since_ms > HTTP_WARM_MS) {
		tls_stream_keep_buffers(conn->stream, false);
	}
	return conn_reads_slowly(conn, now_ms) || conn->proto->sweep(conn, now_ms);
}

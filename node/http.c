#include "node/http.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/address.h"
#include "base/log.h"
#include "node/http_conn.h"
#include "node/http_listener.h"
#include "node/ratelimit.h"

enum { SWEEP_MS = 1000 };

struct http_server {
	struct http_config config;
	struct tls_ctx *tls;
	struct http_counters counters;
	struct http_listener *listeners[HTTP_LISTENERS_MAX];
	unsigned n_listeners;
	struct http_conn *conns;
	struct http_crowd crowd;
	unsigned connections_peak; /* Since memory was given back. */
	struct ratelimit *accept_limit;
	struct http_conn *dirty;
	uv_prepare_t prepare; /* Writes what was replied since the last turn. */
	uv_idle_t again;      /* Keeps the loop from sleeping while something is left to write. */
	uv_timer_t timer;
	unsigned handles;
	bool draining, closing;
	void (*closed_cb)(void *data);
};

uint64_t http_now(const struct http_server *server)
{
	return clock_monotonic_ms(server->config.clock);
}

struct http_counters *http_count(struct http_server *server)
{
	return &server->counters;
}

const struct http_counters *http_server_counters(const struct http_server *server)
{
	return &server->counters;
}

void *http_server_data(const struct http_server *server)
{
	return server->config.data;
}

const struct http_app *http_server_app(const struct http_server *server)
{
	return server->config.app;
}

struct random *http_server_random(const struct http_server *server)
{
	return server->config.random;
}

bool http_server_answers_full(const struct http_server *server)
{
	return server->counters.answer_bytes > server->config.answer_bytes_max;
}

struct http_crowd *http_server_crowd(struct http_server *server)
{
	return &server->crowd;
}

/* Connections. */

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

static void server_closed(struct http_server *server)
{
	if (server->closing && server->handles == 0 && server->conns == NULL) {
		tls_ctx_unref(server->tls);
		ratelimit_free(server->accept_limit);
		if (server->closed_cb != NULL) {
			server->closed_cb(server->config.data);
		}
		free(server);
	}
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
	server_closed(server);
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
		if (req->received) {
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

bool http_server_full(struct http_server *server)
{
	bool full = server->counters.connections >=
		    server->config.connections_max + HTTP_CONNECTIONS_SURPLUS;

	server->counters.refused += full ? 1 : 0;
	return full;
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

void http_server_accept_error(struct http_server *server)
{
	server->counters.accept_errors++;
}

/* Turns of the loop. */

void http_server_ask_more(struct http_request *req)
{
	http_conn_wake(req->conn);
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

void http_server_idle_cb(uv_idle_t *idle)
{
	(void)idle; /* Its presence makes the next poll return at once. */
}

static void server_prepare_cb(uv_prepare_t *prepare)
{
	struct http_server *server = prepare->data;
	struct http_conn *batch = server->dirty;

	/* One pass a turn; what these writes wake waits for the next, so that reading goes on. */
	server->dirty = NULL;
	while (batch != NULL) {
		struct http_conn *conn = batch;

		batch = conn->dirty_next;
		conn->dirty = false;
		if (!conn->closing) {
			/* Neither call frees a connection: that takes the stream's closed_cb. */
			conn_ask_more(conn);
			if (!conn->closing) {
				conn->proto->write(conn);
				http_conn_recount(conn);
			}
		}
	}
	if (server->dirty == NULL) {
		(void)uv_idle_stop(&server->again);
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

static bool conn_timed_out(struct http_conn *conn, uint64_t now_ms)
{
	if (conn->proto == NULL) {
		return now_ms - conn->since_ms > HTTP_HANDSHAKE_MS;
	}
	return conn_reads_slowly(conn, now_ms) || conn->proto->sweep(conn, now_ms);
}

/* A crowd has left: the C library would keep for ever what it had. */
static void server_trim(struct http_server *server)
{
	unsigned now = server->counters.connections;

	if (now > server->connections_peak) {
		server->connections_peak = now;
	} else if (server->connections_peak > HTTP_CONNECTIONS_PER_ADDRESS_MAX &&
		   now < server->connections_peak / 4) {
		(void)malloc_trim(0); /* Says only whether there was anything. */
		server->connections_peak = now;
	}
}

void http_server_sweep(struct http_server *server)
{
	uint64_t now_ms = http_now(server);
	struct http_conn *conn = server->conns;

	server_trim(server);
	while (conn != NULL) {
		struct http_conn *next = conn->next;

		if (!conn->closing && conn_timed_out(conn, now_ms)) {
			server->counters.timeouts++;
			http_conn_abort(conn);
		}
		http_conn_recount(conn);
		conn = next;
	}
}

static void server_timer_cb(uv_timer_t *timer)
{
	http_server_sweep(timer->data);
}

/* Life. */

static unsigned descriptors_half(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 2 * HTTP_CONNECTIONS_MAX) {
		return HTTP_CONNECTIONS_MAX;
	}
	return (unsigned)limit.rlim_cur / 2;
}

static unsigned limit_or(unsigned wanted, unsigned limit)
{
	return wanted == 0 || wanted > limit ? limit : wanted;
}

int http_server_new(
	const struct http_config *config, struct http_server **ret_server, struct err *e)
{
	struct http_server *server = x_calloc(1, sizeof *server);
	int rc;

	assert(config->app->head_cb != NULL && config->app->done_cb != NULL);
	server->config = *config;
	server->config.connections_max = limit_or(config->connections_max, descriptors_half());
	server->config.per_address_max =
		limit_or(config->per_address_max, HTTP_CONNECTIONS_PER_ADDRESS_MAX);
	if (config->answer_bytes_max == 0) {
		server->config.answer_bytes_max = HTTP_ANSWERS_BYTES_MAX;
	}
	server->accept_limit = ratelimit_new(HTTP_ACCEPTS_PER_SECOND, HTTP_ACCEPTS_BURST);
	server->prepare.data = server->again.data = server->timer.data = server;
	/* None of these three can fail on Linux. */
	rc = uv_prepare_init(config->loop, &server->prepare);
	rc = rc == 0 ? uv_idle_init(config->loop, &server->again) : rc;
	rc = rc == 0 ? uv_timer_init(config->loop, &server->timer) : rc;
	assert(rc == 0);
	server->handles = 3;
	rc = uv_prepare_start(&server->prepare, server_prepare_cb);
	rc = rc == 0 ? uv_timer_start(&server->timer, server_timer_cb, SWEEP_MS, SWEEP_MS) : rc;
	if (rc != 0) {
		http_server_close(server, NULL);
		return err_set(e, KLUIS_EINTERNAL, "start of the HTTP server: %s", uv_strerror(rc));
	}
	*ret_server = server;
	return 0;
}

void http_server_set_tls(struct http_server *server, struct tls_ctx *ctx)
{
	struct tls_ctx *old = server->tls;

	server->tls = tls_ctx_ref(ctx);
	tls_ctx_unref(old);
}

static int server_add(struct http_server *server, struct http_listener *listener)
{
	assert(server->n_listeners < HTTP_LISTENERS_MAX);
	server->listeners[server->n_listeners++] = listener;
	return 0;
}

void http_server_listener_opened(struct http_server *server)
{
	server->handles++;
}

int http_server_listen(struct http_server *server, const char *host, unsigned port,
	unsigned *ret_port, struct err *e)
{
	struct http_listener *listener;
	int rc;

	assert(server->tls != NULL);
	rc = http_listener_tcp(
		server, server->config.loop, HTTP_CLIENTS, host, port, &listener, ret_port, e);
	return rc == 0 ? server_add(server, listener) : rc;
}

int http_server_listen_metrics(struct http_server *server, const char *host, unsigned port,
	unsigned *ret_port, struct err *e)
{
	struct address address = {.numeric = true};
	struct http_listener *listener;
	int rc;

	(void)snprintf(address.host, sizeof address.host, "%s", host);
	if (!address_is_loopback(&address)) {
		return err_set(e, KLUIS_EINVAL, "'%s' is no loopback address", host);
	}
	rc = http_listener_tcp(
		server, server->config.loop, HTTP_METRICS, host, port, &listener, ret_port, e);
	return rc == 0 ? server_add(server, listener) : rc;
}

int http_server_listen_unix(
	struct http_server *server, const char *path, gid_t group, struct err *e)
{
	struct http_listener *listener;
	int rc = http_listener_unix(server, server->config.loop, path, group, &listener, e);

	return rc == 0 ? server_add(server, listener) : rc;
}

void http_server_listener_closed(struct http_server *server)
{
	assert(server->handles > 0);
	server->handles--;
	server_closed(server);
}

static void server_close_listeners(struct http_server *server)
{
	while (server->n_listeners > 0) {
		http_listener_close(server->listeners[--server->n_listeners]);
	}
}

void http_server_drain(struct http_server *server)
{
	struct http_conn *conn = server->conns;

	if (server->draining) {
		return;
	}
	server->draining = true;
	server_close_listeners(server);
	while (conn != NULL) {
		struct http_conn *next = conn->next;

		if (!conn->closing && conn->proto != NULL) {
			conn->draining = true;
			conn->proto->drain(conn);
		}
		conn = next;
	}
}

unsigned http_server_running(const struct http_server *server)
{
	unsigned n = 0;

	for (const struct http_conn *conn = server->conns; conn != NULL; conn = conn->next) {
		n += conn->n_requests;
	}
	return n;
}

static void handle_closed_cb(uv_handle_t *handle)
{
	http_server_listener_closed(handle->data);
}

void http_server_close(struct http_server *server, void (*closed_cb)(void *data))
{
	struct http_conn *conn = server->conns;

	assert(!server->closing);
	server->closing = server->draining = true;
	server->closed_cb = closed_cb;
	server_close_listeners(server);
	while (conn != NULL) {
		struct http_conn *next = conn->next;

		http_conn_abort(conn);
		conn = next;
	}
	uv_close((uv_handle_t *)&server->prepare, handle_closed_cb);
	uv_close((uv_handle_t *)&server->again, handle_closed_cb);
	uv_close((uv_handle_t *)&server->timer, handle_closed_cb);
}

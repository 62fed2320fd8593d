#include "node/http.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/address.h"
#include "base/text.h"
#include "node/http_server.h"

enum { SWEEP_MS = 1000 };

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

void http_server_name_request(struct http_server *server, char id[HTTP_REQUEST_ID_CHARS + 1])
{
	const size_t bytes = HTTP_REQUEST_ID_CHARS / 2;

	/* A system call for each would be felt. */
	if (server->random_left < bytes) {
		random_fill(server->config.random, server->random, sizeof server->random);
		server->random_left = sizeof server->random;
	}
	hex_encode(
		bytes_of(server->random + sizeof server->random - server->random_left, bytes), id);
	server->random_left -= bytes;
}

bool http_server_answers_full(const struct http_server *server)
{
	return server->counters.answer_bytes > server->config.answer_bytes_max;
}

struct http_crowd *http_server_crowd(struct http_server *server)
{
	return &server->crowd;
}

void http_server_gone(struct http_server *server)
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

bool http_server_full(struct http_server *server)
{
	bool full = server->counters.connections >=
		    server->config.connections_max + HTTP_CONNECTIONS_SURPLUS;

	server->counters.refused += full ? 1 : 0;
	return full;
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
		http_conn_write(conn);
	}
	if (server->dirty == NULL) {
		(void)uv_idle_stop(&server->again);
	}
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

		if (http_conn_timed_out(conn, now_ms)) {
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
	http_server_gone(server);
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

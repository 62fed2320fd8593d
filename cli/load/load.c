#include "cli/load/load.h"

#include <assert.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/address.h"

enum { LOAD_GIVE_UP_MS = 60 * 1000, LOAD_FILES_SPARE = 64 };
#define NS_PER_MS 1000000ULL

struct load_endpoint {
	char host[ADDRESS_HOST_BYTES_MAX + 1];
	struct address_found found;
};

struct load_client {
	struct load *load;
	unsigned number, endpoint;
	struct tls_stream *stream; /* NULL: gone, its last callback came. */
	void *wire;		   /* Not NULL: the connection stands. */
	bool asked, sent;	   /* There is a request; it is on the connection. */
	struct load_request request;
	uint64_t began_ns, sent_ns;
	uint64_t not_before_ns; /* Of the next dial or sending. */
};

struct load {
	uv_loop_t loop;
	uv_timer_t tick;
	const struct load_protocol *protocol;
	void *protocol_arg;
	struct tls_ctx *ctx;
	struct load_endpoint endpoints[LOAD_ENDPOINTS_MAX];
	size_t n_endpoints;
	uint64_t request_ns;
	struct load_client *clients;
	unsigned n_clients, n_ready;
	/* Of the run. */
	const struct load_workload *workload;
	void *arg;
	struct load_result *result;
	uint64_t limit_ns, success_ns; /* limit 0: none. */
	unsigned n_active;
	bool stop;
	int rc; /* Not 0: over, for good. */
	struct err err;
	struct err lost; /* Why a connection failed last. */
};

static void load_fail(struct load *load, int rc, const struct err *why)
{
	assert(rc != 0);
	if (load->rc == 0) {
		load->rc = rc;
		load->err = *why;
		load->err.code = rc;
	}
}

/* --- One client ------------------------------------------------------------------------------- */

static void client_send(struct load_client *c)
{
	assert(c->asked && !c->sent && c->wire != NULL);
	c->sent = true;
	c->sent_ns = uv_hrtime();
	c->load->protocol->send(c->wire, &c->request);
	if (c->stream != NULL) {
		tls_stream_flush(c->stream);
	}
}

static void client_next(struct load_client *c)
{
	struct load *load = c->load;
	uint64_t now_ns = uv_hrtime();

	assert(!c->asked);
	if (load->stop || (load->limit_ns != 0 && now_ns >= load->limit_ns)) {
		return;
	}
	if (!load->workload->next(load->arg, c->number, &c->request)) {
		load->result->ran_dry = true;
		load->stop = load->limit_ns != 0;
		return;
	}
	assert(c->request.kind < LOAD_KINDS_MAX);
	c->asked = true;
	c->sent = false;
	c->began_ns = now_ns;
	load->n_active++;
	if (c->wire != NULL) {
		client_send(c);
	}
}

/* Of no more use; the tick dials again once the stream is gone. */
static void client_hang_up(struct load_client *c)
{
	if (c->wire != NULL) {
		c->load->protocol->close(c->wire);
		c->wire = NULL;
		c->load->n_ready--;
	}
	if (c->stream != NULL) {
		tls_stream_abort(c->stream);
	}
	c->sent = false;
}

static void client_count_error(struct load_client *c, int rc, const struct err *why)
{
	struct load_result *result = c->load->result;

	assert(rc < 0 && rc > -(int)KLUIS_ERROR_MAX);
	if (result != NULL && c->asked) {
		if (result->first_error.code == 0) {
			result->first_error = *why;
			result->first_error.code = rc;
		}
		result->errors[-rc]++;
	}
}

/* The connection failed: the same request again, at the next end point. */
static void client_lost(struct load_client *c, int rc, const struct err *why)
{
	struct load *load = c->load;

	client_count_error(c, rc, why);
	client_hang_up(c);
	load->lost = *why;
	c->endpoint = (c->endpoint + 1) % (unsigned)load->n_endpoints;
	c->not_before_ns = uv_hrtime() + LOAD_BACKOFF_MS * NS_PER_MS;
	if (rc == KLUIS_EVERIFY) { /* Waiting makes no certificate better. */
		load_fail(load, rc, why);
	}
}

static void client_succeeded(struct load_client *c)
{
	struct load *load = c->load;
	struct load_result *result = load->result;
	uint64_t now_ns = uv_hrtime();

	assert(load->n_active > 0);
	latency_add(&result->latency[c->request.kind], now_ns - c->began_ns);
	result->payload_bytes[c->request.kind] += c->request.payload_bytes;
	if (now_ns - load->success_ns > result->gap_ns) {
		result->gap_ns = now_ns - load->success_ns;
	}
	load->success_ns = now_ns;
	c->asked = false;
	c->sent = false;
	load->n_active--;
	client_next(c);
}

/* The node answered, but not with what was asked for. */
static void client_refused(
	struct load_client *c, const struct load_answer *answer, int rc, const struct err *why)
{
	uint64_t wait_ms = answer->wait_ms == 0 ? LOAD_BACKOFF_MS : answer->wait_ms;

	client_count_error(c, rc, why);
	if (!err_retryable(rc)) {
		load_fail(c->load, rc, why);
		return;
	}
	wait_ms = wait_ms > LOAD_BACKOFF_MAX_MS ? LOAD_BACKOFF_MAX_MS : wait_ms;
	c->sent = false;
	c->not_before_ns = uv_hrtime() + wait_ms * NS_PER_MS;
}

static void client_answered(struct load_client *c, const struct load_answer *answer, struct err *e)
{
	struct load *load = c->load;
	int rc = answer->rc;

	if (rc == 0 && load->workload->answered != NULL) {
		rc = load->workload->answered(load->arg, c->number, &c->request, answer, e);
	}
	if (answer->close) {
		client_hang_up(c);
		c->not_before_ns = 0;
	}
	if (rc == 0) {
		client_succeeded(c);
	} else {
		client_refused(c, answer, rc, e);
	}
}

/* --- Its stream ------------------------------------------------------------------------------- */

static void client_ready_cb(struct tls_stream *stream)
{
	struct load_client *c = tls_stream_data(stream);

	assert(c->wire == NULL);
	c->wire = c->load->protocol->open(c->load->protocol_arg, stream);
	c->load->n_ready++;
	if (c->asked && !c->sent && uv_hrtime() >= c->not_before_ns) {
		client_send(c);
	}
}

static size_t client_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct load_client *c = tls_stream_data(stream);
	struct load_answer answer = {0};
	struct err e = {0};
	bool done = false;
	int rc;

	if (c->wire == NULL) {
		return bytes.len; /* Hung up. */
	}
	rc = c->load->protocol->receive(c->wire, bytes, &done, &answer, &e);
	if (rc == 0 && done && !c->sent) {
		rc = err_set(&e, KLUIS_EPROTO, "an answer to nothing");
	}
	if (rc != 0) {
		client_lost(c, rc, &e);
	} else if (done) {
		client_answered(c, &answer, &e);
	}
	return bytes.len;
}

static void client_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	struct load_client *c = tls_stream_data(stream);
	struct err closed = {0};

	if (rc == 0) {
		rc = err_set(&closed, KLUIS_ECLOSED, "connection closed by the node");
		e = &closed;
	}
	client_lost(c, rc, e);
}

static void client_closed_cb(struct tls_stream *stream)
{
	struct load_client *c = tls_stream_data(stream);

	c->stream = NULL;
}

static const struct tls_stream_handler client_handler = {
	.ready_cb = client_ready_cb,
	.read_cb = client_read_cb,
	.end_cb = client_end_cb,
	.closed_cb = client_closed_cb,
};

static void client_dial(struct load_client *c)
{
	struct load *load = c->load;
	const struct load_endpoint *to = &load->endpoints[c->endpoint];
	struct err e = {0};
	int rc;

	assert(c->stream == NULL && c->wire == NULL);
	rc = tls_stream_dial(&load->loop, (const struct sockaddr *)&to->found.storage, load->ctx,
		to->host, &client_handler, c, &c->stream, &e);
	if (rc != 0) {
		c->stream = NULL;
		client_lost(c, rc, &e);
	}
}

/* --- All of them ------------------------------------------------------------------------------ */

static void client_tick(struct load_client *c, uint64_t now_ns)
{
	struct load *load = c->load;
	struct err e = {0};

	if (c->asked && now_ns > c->began_ns + LOAD_GIVE_UP_MS * NS_PER_MS) {
		load_fail(load,
			err_set(&e, KLUIS_ETIMEOUT, "client %u: a request was not done in %d s",
				c->number, LOAD_GIVE_UP_MS / 1000),
			&e);
	} else if (c->sent && now_ns > c->sent_ns + load->request_ns) {
		client_lost(c, err_set(&e, KLUIS_ETIMEOUT, "no answer"), &e);
	} else if (now_ns >= c->not_before_ns) {
		if (c->stream == NULL) {
			client_dial(c);
		} else if (c->wire != NULL && c->asked && !c->sent) {
			client_send(c);
		}
	}
}

static void load_tick_cb(uv_timer_t *timer)
{
	struct load *load = timer->data;
	uint64_t now_ns = uv_hrtime();

	for (unsigned i = 0; i < load->n_clients; i++) {
		client_tick(&load->clients[i], now_ns);
	}
}

/* A connection each, and the program's other files. */
static void load_raise_files(unsigned clients)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < clients + LOAD_FILES_SPARE) {
		limit.rlim_cur = clients + LOAD_FILES_SPARE;
		limit.rlim_cur = limit.rlim_cur > limit.rlim_max ? limit.rlim_max : limit.rlim_cur;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* Else connecting says what is short. */
	}
}

static int load_resolve(struct load *load, const struct load_config *config, struct err *e)
{
	if (config->n_endpoints == 0 || config->n_endpoints > LOAD_ENDPOINTS_MAX) {
		return err_set(e, KLUIS_EINVAL, "%zu end points; 1 to %d can be given",
			config->n_endpoints, LOAD_ENDPOINTS_MAX);
	}
	for (size_t i = 0; i < config->n_endpoints; i++) {
		struct load_endpoint *to = &load->endpoints[i];
		struct address address;
		size_t n;
		int rc = address_parse(config->endpoints[i], &address, e);

		rc = rc != 0 ? rc : address_resolve(&address, &to->found, 1, &n, e);
		if (rc != 0) {
			return rc;
		}
		memcpy(to->host, address.host, sizeof to->host);
		load->n_endpoints++;
	}
	return 0;
}

static void load_start(struct load *load)
{
	int rc = uv_loop_init(&load->loop);

	assert(rc == 0);
	rc = uv_timer_init(&load->loop, &load->tick);
	assert(rc == 0);
	load->tick.data = load;
	rc = uv_timer_start(&load->tick, load_tick_cb, LOAD_TICK_MS, LOAD_TICK_MS);
	assert(rc == 0);
	for (unsigned i = 0; i < load->n_clients; i++) {
		struct load_client *c = &load->clients[i];

		c->load = load;
		c->number = i;
		c->endpoint = i % (unsigned)load->n_endpoints;
	}
}

int load_new(const struct load_config *config, struct load **ret_load, struct err *e)
{
	struct load *load;
	int rc;

	if (config->clients == 0 || config->clients > LOAD_CLIENTS_MAX) {
		return err_set(e, KLUIS_EINVAL, "%u clients; 1 to %d can be had", config->clients,
			LOAD_CLIENTS_MAX);
	}
	load = x_calloc(1, sizeof *load);
	rc = load_resolve(load, config, e);
	if (rc != 0) {
		free(load);
		return rc;
	}
	load_raise_files(config->clients);
	load->protocol = config->protocol;
	load->protocol_arg = config->protocol_arg;
	load->ctx = tls_ctx_ref(config->ctx);
	load->request_ns =
		(config->request_ms == 0 ? LOAD_REQUEST_MS : config->request_ms) * NS_PER_MS;
	load->n_clients = config->clients;
	load->clients = x_calloc(load->n_clients, sizeof *load->clients);
	load_start(load);
	*ret_load = load;
	return 0;
}

void load_free(struct load *load)
{
	int rc;

	if (load == NULL) {
		return;
	}
	uv_close((uv_handle_t *)&load->tick, NULL);
	load->result = NULL;
	for (unsigned i = 0; i < load->n_clients; i++) {
		load->clients[i].asked = false;
		client_hang_up(&load->clients[i]);
	}
	(void)uv_run(&load->loop, UV_RUN_DEFAULT); /* Until the last handle is closed. */
	rc = uv_loop_close(&load->loop);
	assert(rc == 0);
	tls_ctx_unref(load->ctx);
	free(load->clients);
	free(load);
}

int load_connect(struct load *load, struct err *e)
{
	uint64_t end_ns = uv_hrtime() + LOAD_CONNECT_MS * NS_PER_MS;

	assert(load->rc == 0 && load->n_active == 0);
	for (unsigned i = 0; i < load->n_clients; i++) {
		if (load->clients[i].stream == NULL) {
			client_dial(&load->clients[i]);
		}
	}
	while (load->n_ready < load->n_clients && load->rc == 0) {
		if (uv_hrtime() > end_ns) {
			return err_set(e, KLUIS_ECONNECT,
				"%u of %u clients could not connect in %d s: %s",
				load->n_clients - load->n_ready, load->n_clients,
				LOAD_CONNECT_MS / 1000, load->lost.text);
		}
		(void)uv_run(&load->loop, UV_RUN_ONCE);
	}
	return load->rc == 0 ? 0 : err_set(e, load->rc, "%s", load->err.text);
}

static uint64_t load_cpu_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time); /* There since Linux 2.6.12. */
	return (uint64_t)time.tv_sec * 1000 * NS_PER_MS + (uint64_t)time.tv_nsec;
}

int load_run(struct load *load, const struct load_workload *workload, void *arg, uint64_t limit_ms,
	struct load_result *ret_result, struct err *e)
{
	uint64_t cpu_ns = load_cpu_ns(), begin_ns = uv_hrtime();

	assert(load->rc == 0 && load->n_active == 0);
	memset(ret_result, 0, sizeof *ret_result);
	load->workload = workload;
	load->arg = arg;
	load->result = ret_result;
	load->limit_ns = limit_ms == 0 ? 0 : begin_ns + limit_ms * NS_PER_MS;
	load->success_ns = begin_ns;
	load->stop = false;
	for (unsigned i = 0; i < load->n_clients; i++) {
		client_next(&load->clients[i]);
	}
	while (load->n_active > 0 && load->rc == 0) {
		(void)uv_run(&load->loop, UV_RUN_ONCE);
	}
	ret_result->elapsed_ns = load->success_ns - begin_ns;
	ret_result->cpu_ns = load_cpu_ns() - cpu_ns;
	load->result = NULL;
	return load->rc == 0 ? 0 : err_set(e, load->rc, "%s", load->err.text);
}

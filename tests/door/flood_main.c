/* More than a cluster can take: requests that arrive at a fixed rate, whether or not earlier ones
 * were answered (an open loop), over HTTP/2, spread over all end points.
 *
 *   flood PROFILE RATE SECONDS CONNECTIONS URL...
 *
 * Each request stages one 4 KiB page that no other has; with RATE 0 CONNECTIONS requests are under
 * way at any time instead (a closed loop: what the cluster can do). CONNECTIONS: for each end
 * point. An arrival for which no connection has a free stream is `unsent`: the clients' own queue.
 * One JSON line a second, and one for the whole, to the standard output. */
#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/client/session.h"
#include "cli/client/vault.h"
#include "cli/load/latency.h"
#include "crypto/tls_stream.h"

enum {
	STREAMS_MAX = 120, /* Of one connection, below what the node offers. */
	ENDPOINTS_MAX = 16,
	CONNECTIONS_MAX = 64,
	TICK_MS = 5,
	DRAIN_MS = 60000, /* What is not answered by then never will be. */
	RECONNECT_MS = 200,
	STATUS_MAX = 600,
};

struct tally {
	uint64_t status[STATUS_MAX]; /* [0]: no answer. */
	uint64_t arrived, unsent, lost;
	struct latency latency; /* Of those that were done. */
};

struct wire {
	struct flood *flood;
	struct tls_stream *stream;
	nghttp2_session *session;
	struct sockaddr_storage address;
	unsigned under_way, endpoint;
	bool ready;
	uint64_t again_ms;
};

struct job {
	struct wire *wire;
	uint64_t began_ns;
	struct buf page;
	size_t at;
	unsigned status;
};

struct flood {
	uv_loop_t loop;
	uv_timer_t tick;
	struct tls_ctx *ctx;
	struct wire wires[ENDPOINTS_MAX * CONNECTIONS_MAX];
	unsigned n_wires, n_endpoints, next, connections;
	double rate, owed;
	uint64_t begin_ms, end_ms, last_ms, second_ms;
	char *authority[ENDPOINTS_MAX];
	char token[CLIENT_TOKEN_BYTES_MAX + 16];
	uint8_t vault_id[ID_BYTES];
	struct buf page; /* A valid one; each request's differs in its ciphertext. */
	uint64_t made;
	struct tally second, all;
};

static uint64_t now_ns(void)
{
	return uv_hrtime();
}

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "flood: %s: %s\n", what, why);
	exit(1);
}

/* --- counting --------------------------------------------------------------------------------- */

static void job_end(struct job *job)
{
	struct flood *f = job->wire->flood;
	struct tally *tallies[] = {&f->second, &f->all};
	uint64_t took_ns = now_ns() - job->began_ns;

	assert(job->wire->under_way > 0);
	job->wire->under_way--;
	for (size_t i = 0; i < ARRAY_SIZE(tallies); i++) {
		tallies[i]->status[job->status < STATUS_MAX ? job->status : 0]++;
		if (job->status >= 200 && job->status < 300) {
			latency_add(&tallies[i]->latency, took_ns);
		}
	}
	buf_release(&job->page);
	free(job);
}

static void tally_print(const char *name, double at_s, const struct tally *t)
{
	(void)printf("{\"%s\":%.1f,\"arrived\":%llu,\"unsent\":%llu,\"lost\":%llu", name, at_s,
		(unsigned long long)t->arrived, (unsigned long long)t->unsent,
		(unsigned long long)t->lost);
	for (unsigned i = 0; i < STATUS_MAX; i++) {
		if (t->status[i] > 0) {
			(void)printf(",\"%u\":%llu", i, (unsigned long long)t->status[i]);
		}
	}
	(void)printf(",\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f}\n",
		(double)latency_at(&t->latency, 500) / 1e6,
		(double)latency_at(&t->latency, 990) / 1e6, (double)t->latency.max_ns / 1e6);
	(void)fflush(stdout);
}

/* --- a connection ----------------------------------------------------------------------------- */

static int header_cb(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct job *job = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags;
	(void)data;
	(void)value_len;
	if (job != NULL && name_len == 7 && memcmp(name, ":status", 7) == 0) {
		job->status = (unsigned)strtoul((const char *)value, NULL, 10);
	}
	return 0;
}

static int close_cb(nghttp2_session *session, int32_t id, uint32_t error, void *data)
{
	struct job *job = nghttp2_session_get_stream_user_data(session, id);

	(void)error;
	(void)data;
	if (job != NULL) {
		job_end(job);
	}
	return 0;
}

static ssize_t body_cb(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct job *job = source->ptr;
	size_t n = job->page.len - job->at < max ? job->page.len - job->at : max;

	(void)session;
	(void)id;
	(void)data;
	memcpy(to, job->page.data + job->at, n);
	job->at += n;
	*flags |= job->at == job->page.len ? NGHTTP2_DATA_FLAG_EOF : 0;
	return (ssize_t)n;
}

static void wire_write(struct wire *wire)
{
	const uint8_t *data;
	ssize_t n = 0;

	while (wire->ready && tls_stream_writable(wire->stream) &&
		(n = nghttp2_session_mem_send(wire->session, &data)) > 0) {
		tls_stream_write(wire->stream, bytes_of(data, (size_t)n));
	}
	if (n < 0) {
		die("HTTP/2", nghttp2_strerror((int)n));
	}
	if (wire->ready) {
		tls_stream_flush(wire->stream);
	}
}

static void ready_cb(struct tls_stream *stream)
{
	struct wire *wire = tls_stream_data(stream);
	nghttp2_session_callbacks *callbacks;

	if (nghttp2_session_callbacks_new(&callbacks) != 0) {
		abort();
	}
	nghttp2_session_callbacks_set_on_header_callback(callbacks, header_cb);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, close_cb);
	if (nghttp2_session_client_new(&wire->session, callbacks, wire) != 0 ||
		nghttp2_submit_settings(wire->session, NGHTTP2_FLAG_NONE, NULL, 0) != 0) {
		abort();
	}
	nghttp2_session_callbacks_del(callbacks);
	wire->ready = true;
	wire_write(wire);
}

static size_t read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct wire *wire = tls_stream_data(stream);

	if (nghttp2_session_mem_recv(wire->session, bytes.data, bytes.len) < 0 ||
		nghttp2_session_want_read(wire->session) == 0) {
		tls_stream_abort(stream);
	} else {
		wire_write(wire);
	}
	return bytes.len;
}

static void drain_cb(struct tls_stream *stream)
{
	wire_write(tls_stream_data(stream));
}

static void end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	(void)rc;
	(void)e;
	tls_stream_abort(stream);
}

/* Requests whose connection is gone: nobody knows what became of them. */
static void closed_cb(struct tls_stream *stream)
{
	struct wire *wire = tls_stream_data(stream);
	struct flood *f = wire->flood;

	f->second.lost += wire->under_way;
	f->all.lost += wire->under_way;
	if (wire->session != NULL) {
		/* nghttp2_session_del() closes no streams by callback. */
		for (int32_t id = 1; wire->under_way > 0; id += 2) {
			struct job *job = nghttp2_session_get_stream_user_data(wire->session, id);

			if (job != NULL) {
				job->status = 0;
				job_end(job);
			}
		}
		nghttp2_session_del(wire->session);
	}
	wire->session = NULL;
	wire->stream = NULL;
	wire->ready = false;
	wire->again_ms = uv_now(&f->loop) + RECONNECT_MS;
}

static const struct tls_stream_handler handler = {
	.ready_cb = ready_cb,
	.read_cb = read_cb,
	.drain_cb = drain_cb,
	.end_cb = end_cb,
	.closed_cb = closed_cb,
};

static void wire_connect(struct wire *wire)
{
	struct err e;

	if (tls_stream_dial(&wire->flood->loop, (struct sockaddr *)&wire->address, wire->flood->ctx,
		    "127.0.0.1", &handler, wire, &wire->stream, &e) != 0) {
		die("connect", e.text);
	}
}

/* --- requests --------------------------------------------------------------------------------- */

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
		strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* The same page but for some of its ciphertext: another hash. */
static void job_make_page(struct flood *f, struct job *job, char path[160])
{
	uint8_t sha256[HASH_BYTES];
	uint64_t unique = ++f->made;

	buf_append_bytes(&job->page, buf_bytes(&f->page));
	memcpy(job->page.data + PAGE_HEADER_BYTES, &unique, sizeof unique);
	hash_sha256(buf_bytes(&job->page), sha256);
	(void)snprintf(path, 160, "/v1/vaults/");
	hex_encode(bytes_of(f->vault_id, ID_BYTES), path + 11);
	(void)snprintf(path + 43, 160 - 43, "/staged/");
	hex_encode(bytes_of(sha256, HASH_BYTES), path + 51);
}

static bool wire_request(struct wire *wire)
{
	struct flood *f = wire->flood;
	struct job *job;
	nghttp2_data_provider source = {.read_callback = body_cb};
	char path[160];

	if (!wire->ready || wire->under_way >= STREAMS_MAX || !tls_stream_writable(wire->stream)) {
		return false;
	}
	job = x_calloc(1, sizeof *job);
	source.source.ptr = job;
	job->wire = wire;
	job->began_ns = now_ns();
	job_make_page(f, job, path);
	{
		nghttp2_nv list[] = {nv(":method", "PUT"), nv(":scheme", "https"),
			nv(":path", path), nv(":authority", f->authority[wire->endpoint]),
			nv("authorization", f->token),
			nv("content-type", "application/octet-stream")};

		wire->under_way++;
		if (nghttp2_submit_request(
			    wire->session, NULL, list, ARRAY_SIZE(list), &source, job) < 0) {
			job_end(job);
			return false;
		}
	}
	return true;
}

static bool flood_send(struct flood *f)
{
	for (unsigned i = 0; i < f->n_wires; i++) {
		struct wire *wire = &f->wires[f->next++ % f->n_wires];

		if (wire_request(wire)) {
			return true;
		}
	}
	return false;
}

static unsigned flood_under_way(const struct flood *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->n_wires; i++) {
		n += f->wires[i].under_way;
	}
	return n;
}

static void flood_arrive(struct flood *f, uint64_t now_ms)
{
	if (f->rate > 0) {
		f->owed += f->rate * (double)(now_ms - f->last_ms) / 1000;
	} else {
		unsigned under_way = flood_under_way(f), want = f->connections * f->n_endpoints;

		f->owed = want > under_way ? want - under_way : 0;
	}
	while (f->owed >= 1) {
		bool sent = flood_send(f);

		f->owed -= 1;
		f->second.arrived++;
		f->all.arrived++;
		f->second.unsent += sent ? 0 : 1;
		f->all.unsent += sent ? 0 : 1;
	}
}

static void flood_end(struct flood *f)
{
	uv_close((uv_handle_t *)&f->tick, NULL);
	for (unsigned i = 0; i < f->n_wires; i++) {
		if (f->wires[i].stream != NULL) {
			tls_stream_abort(f->wires[i].stream);
		}
	}
}

static void tick_cb(uv_timer_t *timer)
{
	struct flood *f = timer->data;
	uint64_t now_ms = uv_now(&f->loop);

	if (now_ms < f->end_ms) {
		flood_arrive(f, now_ms);
	}
	f->last_ms = now_ms;
	for (unsigned i = 0; i < f->n_wires; i++) {
		struct wire *wire = &f->wires[i];

		if (wire->stream == NULL && wire->again_ms <= now_ms) {
			wire_connect(wire);
		}
		wire_write(wire);
	}
	if (now_ms >= f->second_ms) {
		tally_print("second", (double)(now_ms - f->begin_ms) / 1000, &f->second);
		memset(&f->second, 0, sizeof f->second);
		f->second_ms += 1000;
	}
	if (now_ms >= f->end_ms && (flood_under_way(f) == 0 || now_ms >= f->end_ms + DRAIN_MS)) {
		flood_end(f);
	}
}

/* --- before ------------------------------------------------------------------------------------
 */

static void flood_prepare(struct flood *f, const char *dir)
{
	static const char *const alpn[] = {TLS_ALPN_H2};
	struct profile *profile = NULL;
	struct client *client = NULL;
	struct vault *vault = NULL;
	struct page_spec spec = {.sym = SYM_AES_256, .kind = PAGE_CHUNK};
	char content[4000], token[CLIENT_TOKEN_BYTES_MAX + 1], name[40];
	struct err e = {0};
	int rc = profile_open(dir, &profile, &e);

	(void)snprintf(name, sizeof name, "flood %llu", (unsigned long long)now_ns());
	rc = rc == 0 ? session_client(profile, NULL, 0, &client, &e) : rc;
	rc = rc == 0 ? vault_create(profile, client, name, f->vault_id, &e) : rc;
	rc = rc == 0 ? vault_open(profile, client, name, &vault, &e) : rc;
	rc = rc == 0 ? tls_ctx_new_client(buf_bytes(&profile->ca_pem), alpn, 1, &f->ctx, &e) : rc;
	if (rc != 0) {
		die("profile", e.text);
	}
	memcpy(spec.place.vault_id, f->vault_id, ID_BYTES);
	memcpy(spec.device_id, profile->device_id, ID_BYTES);
	spec.place.revision = spec.place.key_epoch = 1;
	memset(content, 'x', sizeof content);
	if (page_seal(secret_bytes(&vault->keys[0].vk), &spec, bytes_of(content, sizeof content),
		    &random_system, &f->page, &e) != 0) {
		die("page", e.text);
	}
	client_token(client, token);
	(void)snprintf(f->token, sizeof f->token, "Bearer %s", token);
	vault_close(vault);
	client_free(client);
	profile_close(profile);
}

static void flood_add(struct flood *f, const char *url)
{
	struct address_found found[1];
	struct address address;
	struct err e = {0};
	size_t n;

	if (f->n_endpoints == ENDPOINTS_MAX ||
		client_endpoint_address(url, &f->authority[f->n_endpoints], &e) != 0 ||
		address_parse(f->authority[f->n_endpoints], &address, &e) != 0 ||
		address_resolve(&address, found, 1, &n, &e) != 0) {
		die(url, e.text);
	}
	for (unsigned i = 0; i < (f->rate > 0 ? f->connections : 2); i++) {
		struct wire *wire = &f->wires[f->n_wires++];

		wire->flood = f;
		wire->endpoint = f->n_endpoints;
		wire->address = found[0].storage;
	}
	f->n_endpoints++;
}

int main(int argc, char **argv)
{
	static struct flood f;

	if (argc < 6) {
		(void)fprintf(stderr, "usage: flood PROFILE RATE SECONDS CONNECTIONS URL...\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	f.rate = strtod(argv[2], NULL);
	f.connections = (unsigned)strtoul(argv[4], NULL, 10);
	if (f.connections == 0 || f.connections > CONNECTIONS_MAX) {
		die("CONNECTIONS", "1 to 64");
	}
	flood_prepare(&f, argv[1]);
	for (int i = 5; i < argc; i++) {
		flood_add(&f, argv[i]);
	}
	if (uv_loop_init(&f.loop) != 0 || uv_timer_init(&f.loop, &f.tick) != 0) {
		abort();
	}
	uv_update_time(&f.loop);
	f.tick.data = &f;
	f.begin_ms = f.last_ms = uv_now(&f.loop);
	f.end_ms = f.begin_ms + (uint64_t)(strtod(argv[3], NULL) * 1000);
	f.second_ms = f.begin_ms + 1000;
	(void)uv_timer_start(&f.tick, tick_cb, 0, TICK_MS);
	(void)uv_run(&f.loop, UV_RUN_DEFAULT);
	tally_print("seconds", strtod(argv[3], NULL), &f.all);
	tls_ctx_unref(f.ctx);
	buf_release(&f.page);
	for (unsigned i = 0; i < f.n_endpoints; i++) {
		free(f.authority[i]);
	}
	return uv_loop_close(&f.loop) == 0 ? 0 : 1;
}

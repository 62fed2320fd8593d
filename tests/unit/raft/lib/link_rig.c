#include "tests/unit/raft/lib/link_rig.h"

#include <signal.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/test.h"

static void site_receive_cb(
	void *data, uint64_t peer, enum link_stream stream, struct bytes message)
{
	struct site *site = data;

	assert_true(peer != site->id && message.len > 0);
	site->received[stream]++;
	buf_clear(&site->last[stream]);
	buf_append_bytes(&site->last[stream], message);
	if (stream == LINK_FILE) {
		if (site->hold_credit) {
			site->held += message.len;
		} else {
			links_credit(site->links, peer, message.len);
		}
	}
	if (stream == LINK_PROPOSE && site->count) {
		uint64_t number;

		memcpy(&number, message.data, sizeof number);
		/* Some may be lost with a connection; none comes twice or late. */
		if (number < site->next_number) {
			fail_msg("message %" PRIu64 " after %" PRIu64, number, site->next_number);
		}
		site->next_number = number + 1;
	}
}

static void site_up_cb(void *data, uint64_t peer)
{
	(void)peer;
	((struct site *)data)->ups++;
}

static void site_down_cb(void *data, uint64_t peer)
{
	(void)peer;
	((struct site *)data)->downs++;
}

void site_flood(struct site *site, uint64_t peer, enum link_stream stream)
{
	static uint8_t chunk[LINK_FILE_CHUNK_BYTES];

	while (site->flood > 0) {
		int rc = links_send(
			site->links, peer, stream, bytes_of(chunk, sizeof chunk), NULL, 0);

		if (rc != 0) {
			assert_int_equal(rc, stream == LINK_FILE ? KLUIS_EAGAIN : KLUIS_EBUSY);
			return;
		}
		site->flood--;
	}
}

static void site_room_cb(void *data, uint64_t peer, enum link_stream stream)
{
	struct site *site = data;

	site->rooms[stream]++;
	site_flood(site, peer, stream);
}

static int site_meet_cb(
	void *data, uint64_t peer, const uint8_t incarnation[16], uint64_t starts, uint64_t boot)
{
	struct site *site = data;

	(void)boot;
	site->met = peer;
	site->met_starts = starts;
	memcpy(site->met_incarnation, incarnation, 16);
	return site->meet_rc;
}

static int site_agree_cb(void *data, uint64_t peer, const uint8_t incarnation[16])
{
	struct site *site = data;

	site->agreed = peer;
	memcpy(site->agreed_incarnation, incarnation, 16);
	return site->agree_rc;
}

static void site_refused_cb(void *data, uint64_t peer, int rc)
{
	(void)peer;
	((struct site *)data)->refused_rc = rc;
}

static bool site_removed_cb(void *data, uint64_t node)
{
	return node == ((struct site *)data)->removed;
}

const struct link_handler site_handler = {site_receive_cb, site_up_cb, site_down_cb, site_room_cb,
	site_meet_cb, site_agree_cb, site_refused_cb, site_removed_cb};

void world_start_as(struct world *w, uint64_t id, const struct pki_identity *node)
{
	struct site *site = &w->site[id];
	struct tls_ctx *ctx = certs_link_ctx(node, &w->ca);
	struct links_config config = {.loop = &w->loop,
		.clock = &w->clock.clock,
		.random = &random_system,
		.ctx = ctx,
		.node_id = id,
		.starts = 10 + id,
		.feature_level = (uint32_t)(100 + id),
		.sweep_ms = 1,
		.handler = &site_handler,
		.data = site};
	struct err e;

	memcpy(config.cluster_id, certs_cluster, 16);
	memset(config.lineage, 0x11, 16);
	memset(site->incarnation, (int)(0xa0 + id), 16);
	memcpy(config.incarnation, site->incarnation, 16);
	site->id = id;
	site->closed = false;
	if (links_new(&config, "127.0.0.1:0", &site->links, &e) != 0) {
		fail_msg("%s", e.text);
	}
	tls_ctx_unref(ctx);
}

void world_start(struct world *w, uint64_t id)
{
	_cleanup_(pki_identity_release) struct pki_identity node = {0};

	certs_node(&w->ca, id, 0, &node);
	world_start_as(w, id, &node);
}

static void site_closed_cb(void *data)
{
	((struct site *)data)->closed = true;
}

static bool site_is_closed(void *arg)
{
	return ((struct site *)arg)->closed;
}

void world_stop(struct world *w, uint64_t id)
{
	struct site *site = &w->site[id];

	links_close(site->links, site_closed_cb, site);
	assert_false(site->closed);
	loop_until(&w->loop, site_is_closed, site, "links closed");
	site->links = NULL;
}

void world_peer(struct world *w, uint64_t id, uint64_t peer, unsigned port)
{
	_cleanup_(x_freep) char *address = x_asprintf("127.0.0.1:%u", port);
	struct link_peer row = {peer, address};
	struct err e;

	assert_int_equal(links_set_peers(w->site[id].links, &row, 1, &e), 0);
}

void world_run(struct world *w, uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += 50) {
		clock_manual_step(&w->clock, 50);
		loop_for(&w->loop, 2);
	}
}

int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	clock_manual_init(&w->clock, clock_wall_ms(&clock_system));
	clock_manual_step(&w->clock, 1000);
	(void)signal(SIGPIPE, SIG_IGN); /* As every program with streams does. */
	assert_int_equal(uv_loop_init(&w->loop), 0);
	certs_ca(&w->ca);
	certs_ca(&w->other_ca);
	*state = w;
	return 0;
}

bool raw_is_gone(void *arg)
{
	return ((struct world *)arg)->raw == NULL;
}

int world_teardown(void **state)
{
	struct world *w = *state;

	for (uint64_t id = 1; id <= SITES; id++) {
		if (w->site[id].links != NULL) {
			world_stop(w, id);
		}
		for (int stream = 0; stream < LINK_STREAMS; stream++) {
			buf_release(&w->site[id].last[stream]);
		}
	}
	if (w->raw != NULL) {
		tls_stream_abort(w->raw);
		loop_until(&w->loop, raw_is_gone, w, "raw stream closed");
	}
	if (w->raw_listener.type == UV_TCP) {
		uv_close((uv_handle_t *)&w->raw_listener, NULL);
	}
	loop_end(&w->loop);
	tls_ctx_unref(w->raw_ctx);
	buf_release(&w->raw_got);
	pki_identity_release(&w->ca);
	pki_identity_release(&w->other_ca);
	free(w);
	return 0;
}

struct link_status status_of(struct world *w, uint64_t id, uint64_t peer)
{
	struct link_status status;

	assert_int_equal(links_status(w->site[id].links, peer, &status), 0);
	return status;
}

bool one_two_up(void *arg)
{
	struct world *w = arg;
	struct link_status a = status_of(w, 1, 2), b = status_of(w, 2, 1);

	return a.up && a.accepted && b.up && b.accepted;
}

void world_pair(struct world *w)
{
	world_start(w, 1);
	world_start(w, 2);
	world_peer(w, 1, 2, links_port(w->site[2].links));
	world_peer(w, 2, 1, links_port(w->site[1].links));
	loop_until(&w->loop, one_two_up, w, "both links up");
}

struct wait {
	struct site *site;
	enum link_stream stream;
	unsigned n;
};

static bool wait_received(void *arg)
{
	struct wait *wait = arg;

	return wait->site->received[wait->stream] >= wait->n;
}

void until_received(struct world *w, uint64_t id, enum link_stream stream, unsigned n)
{
	struct wait wait = {&w->site[id], stream, n};

	char what[96];

	(void)snprintf(what, sizeof what, "node %llu: message %u of stream %d",
		(unsigned long long)id, n, (int)stream);
	loop_until(&w->loop, wait_received, &wait, what);
}

void send_text(
	struct world *w, uint64_t from, uint64_t to, enum link_stream stream, const char *text)
{
	assert_int_equal(links_send(w->site[from].links, to, stream, bytes_str(text), NULL, 0), 0);
}

bool one_has_trouble(void *arg)
{
	struct world *w = arg;

	return status_of(w, 1, 2).last_error[0] != 0;
}

bool one_down(void *arg)
{
	return ((struct world *)arg)->site[1].downs > 0;
}

static void raw_ready_cb(struct tls_stream *stream)
{
	((struct world *)tls_stream_data(stream))->raw_readies++;
}

static size_t raw_read_cb(struct tls_stream *stream, struct bytes bytes)
{
	struct world *w = tls_stream_data(stream);

	if (w->raw_deaf) {
		return 0;
	}
	buf_append_bytes(&w->raw_got, bytes);
	return bytes.len;
}

static void raw_end_cb(struct tls_stream *stream, int rc, const struct err *e)
{
	struct world *w = tls_stream_data(stream);

	if (w->raw == stream) {
		w->raw_ended = true;
	}
	if (rc != 0) {
		w->raw_err = *e;
	}
	tls_stream_close(stream);
}

static void raw_closed_cb(struct tls_stream *stream)
{
	struct world *w = tls_stream_data(stream);

	w->raw_closes++;
	if (w->raw == stream) {
		w->raw = NULL;
	}
}

bool raw_one_closed(void *arg)
{
	return ((struct world *)arg)->raw_closes == 1;
}

const struct tls_stream_handler raw_handler = {
	raw_ready_cb, raw_read_cb, NULL, raw_end_cb, raw_closed_cb};

bool raw_ready(void *arg)
{
	return ((struct world *)arg)->raw_readies > 0;
}

bool raw_ended(void *arg)
{
	return ((struct world *)arg)->raw_ended;
}

bool raw_answered(void *arg)
{
	const struct buf *got = &((struct world *)arg)->raw_got;

	return got->len > 0 && (got->data[0] != HELLO_ACCEPTED || got->len >= HELLO_YES_BYTES);
}

void raw_dial(struct world *w)
{
	_cleanup_(pki_identity_release) struct pki_identity node = {0};
	struct sockaddr_in address;
	struct tls_ctx *ctx;
	struct err e;

	certs_node(&w->ca, 2, 0, &node);
	ctx = certs_link_ctx(&node, &w->ca);
	w->raw_ended = false;
	w->raw_readies = 0;
	buf_clear(&w->raw_got);
	assert_int_equal(uv_ip4_addr("127.0.0.1", (int)links_port(w->site[1].links), &address), 0);
	assert_int_equal(tls_stream_dial(&w->loop, (const struct sockaddr *)&address, ctx, NULL,
				 &raw_handler, w, &w->raw, &e),
		0);
	tls_ctx_unref(ctx);
	loop_until(&w->loop, raw_ready, w, "raw ready");
}

struct hello raw_hello(uint64_t dial)
{
	struct hello hello = {.node_id = 2, .starts = 12, .boot = 5, .dial = dial};

	memcpy(hello.cluster_id, certs_cluster, 16);
	memset(hello.lineage, 0x11, 16);
	memset(hello.incarnation, 0xa2, 16);
	return hello;
}

void raw_say_hello(struct world *w, uint64_t dial)
{
	struct hello hello = raw_hello(dial);
	uint8_t bytes[HELLO_BYTES];

	hello_write(&hello, bytes);
	tls_stream_write(w->raw, bytes_of(bytes, sizeof bytes));
}

void raw_connect(struct world *w, uint64_t dial)
{
	raw_dial(w);
	raw_say_hello(w, dial);
	loop_until(&w->loop, raw_answered, w, "answer");
	assert_int_equal(w->raw_got.data[0], HELLO_ACCEPTED);
}

void raw_world(struct world *w)
{
	world_start(w, 1);
	world_peer(w, 1, 2, 1);
}

void raw_frame(struct world *w, struct frame_header h, const void *payload)
{
	uint8_t bytes[FRAME_HEADER_BYTES];

	frame_header_write(&h, bytes);
	tls_stream_write(w->raw, bytes_of(bytes, sizeof bytes));
	if (h.length > 0 && payload != NULL) {
		tls_stream_write(w->raw, bytes_of(payload, h.length));
	}
}

#include "tests/lib/test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crypto/tls_stream.h"
#include "raft/entry.h"
#include "raft/frame.h"
#include "raft/hello.h"
#include "raft/link.h"
#include "tests/lib/certs.h"
#include "tests/lib/loop.h"

enum { SITES = 3 };

/* One node of the test. */
struct site {
	struct links *links;
	uint64_t id;
	unsigned ups, downs, rooms[LINK_STREAMS];
	unsigned received[LINK_STREAMS];
	struct buf last[LINK_STREAMS];
	uint64_t next_number; /* Expected on LINK_PROPOSE when `count` is set. */
	bool count, hold_credit, closed;
	size_t held;
	unsigned flood; /* Messages still to be sent from room_cb. */
};

struct world {
	uv_loop_t loop;
	struct clock_manual clock;
	struct pki_identity ca, other_ca;
	struct site site[SITES + 1];
	/* A peer of our own making: a raw stream. */
	struct tls_stream *raw;
	struct buf raw_got;
	unsigned raw_readies, raw_closes;
	bool raw_ended, raw_deaf;
	struct err raw_err;
	uv_tcp_t raw_listener;
	struct tls_ctx *raw_ctx;
};

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

static void site_flood(struct site *site, uint64_t peer, enum link_stream stream)
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

static const struct link_handler site_handler = {
	site_receive_cb, site_up_cb, site_down_cb, site_room_cb};

static void world_start_as(struct world *w, uint64_t id, const struct pki_identity *node)
{
	struct site *site = &w->site[id];
	struct tls_ctx *ctx = certs_link_ctx(node, &w->ca);
	struct links_config config = {.loop = &w->loop,
		.clock = &w->clock.clock,
		.random = &random_system,
		.ctx = ctx,
		.node_id = id,
		.feature_level = (uint32_t)(100 + id),
		.sweep_ms = 1,
		.handler = &site_handler,
		.data = site};
	struct err e;

	memcpy(config.cluster_id, certs_cluster, 16);
	memset(config.lineage, 0x11, 16);
	site->id = id;
	site->closed = false;
	if (links_new(&config, "127.0.0.1:0", &site->links, &e) != 0) {
		fail_msg("%s", e.text);
	}
	tls_ctx_unref(ctx);
}

static void world_start(struct world *w, uint64_t id)
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

static void world_stop(struct world *w, uint64_t id)
{
	struct site *site = &w->site[id];

	links_close(site->links, site_closed_cb, site);
	assert_false(site->closed);
	loop_until(&w->loop, site_is_closed, site, "links closed");
	site->links = NULL;
}

static void world_peer(struct world *w, uint64_t id, uint64_t peer, unsigned port)
{
	_cleanup_(x_freep) char *address = x_asprintf("127.0.0.1:%u", port);
	struct link_peer row = {peer, address};
	struct err e;

	assert_int_equal(links_set_peers(w->site[id].links, &row, 1, &e), 0);
}

/* Time goes on by `ms` while the loop runs, in steps that are no standstill. */
static void world_run(struct world *w, uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += 50) {
		clock_manual_step(&w->clock, 50);
		loop_for(&w->loop, 2);
	}
}

static int world_setup(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);

	clock_manual_init(&w->clock, clock_wall_ms(&clock_system));
	clock_manual_step(&w->clock, 1000);
	assert_int_equal(uv_loop_init(&w->loop), 0);
	certs_ca(&w->ca);
	certs_ca(&w->other_ca);
	*state = w;
	return 0;
}

static bool raw_is_gone(void *arg)
{
	return ((struct world *)arg)->raw == NULL;
}

static int world_teardown(void **state)
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

static struct link_status status_of(struct world *w, uint64_t id, uint64_t peer)
{
	struct link_status status;

	assert_int_equal(links_status(w->site[id].links, peer, &status), 0);
	return status;
}

static bool one_two_up(void *arg)
{
	struct world *w = arg;
	struct link_status a = status_of(w, 1, 2), b = status_of(w, 2, 1);

	return a.up && a.accepted && b.up && b.accepted;
}

static void world_pair(struct world *w)
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

static void until_received(struct world *w, uint64_t id, enum link_stream stream, unsigned n)
{
	struct wait wait = {&w->site[id], stream, n};

	loop_until(&w->loop, wait_received, &wait, "message received");
}

static void send_text(
	struct world *w, uint64_t from, uint64_t to, enum link_stream stream, const char *text)
{
	assert_int_equal(links_send(w->site[from].links, to, stream, bytes_str(text), NULL, 0), 0);
}

static void test_two_nodes(void **state)
{
	struct world *w = *state;
	struct link_status status;

	world_pair(w);
	assert_int_equal(w->site[1].ups, 1);
	assert_int_equal(w->site[2].ups, 1);
	for (int stream = 0; stream < LINK_STREAMS; stream++) {
		send_text(w, 1, 2, (enum link_stream)stream, "ping");
		send_text(w, 2, 1, (enum link_stream)stream, "pong!");
		assert_int_equal(w->site[2].received[stream], 0);
		until_received(w, 2, (enum link_stream)stream, 1);
		until_received(w, 1, (enum link_stream)stream, 1);
		assert_true(bytes_equal(buf_bytes(&w->site[2].last[stream]), bytes_str("ping")));
		assert_true(bytes_equal(buf_bytes(&w->site[1].last[stream]), bytes_str("pong!")));
	}
	world_run(w, 2000);
	status = status_of(w, 1, 2);
	assert_true(status.up && status.rtt_us > 0 && status.wall_known);
	assert_true(status.wall_offset_ms > -100 && status.wall_offset_ms < 100);
	assert_int_equal(status.feature_level, 102);
	assert_int_equal(status.sent_messages, 4);
	assert_int_equal(status.received_messages, 4);
	assert_true(status.sent_bytes > 0 && status.received_bytes > 0);
	assert_true(status.certificate_not_after_ms > w->clock.wall_ms);
	assert_string_equal(status.last_error, "");
	assert_int_equal(links_status(w->site[1].links, 9, &status), KLUIS_ENOTFOUND);
	assert_int_equal(links_send(w->site[1].links, 9, LINK_RAFT, bytes_str("x"), NULL, 0),
		KLUIS_ENOTFOUND);
}

static void test_gather_is_exact(void **state)
{
	struct world *w = *state;
	struct entry *entries[4];
	_cleanup_(buf_release) struct buf all = BUF_INIT;

	world_pair(w);
	buf_append_bytes(&all, bytes_str("header"));
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		entries[i] = entry_new(i + 1, 1, ENTRY_COMMAND, ENTRY_BYTES_MAX);
		random_fill(&random_system, entries[i]->data, ENTRY_BYTES_MAX);
		buf_append(&all, entries[i]->data, ENTRY_BYTES_MAX);
	}
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(links_send(w->site[1].links, 2, LINK_RAFT, bytes_of(all.data, 6),
					 entries, ARRAY_SIZE(entries)),
			0);
		until_received(w, 2, LINK_RAFT, i);
		assert_true(bytes_equal(buf_bytes(&w->site[2].last[LINK_RAFT]), buf_bytes(&all)));
	}
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		assert_int_equal(atomic_load(&entries[i]->refs), 1);
		entry_unref(entries[i]);
	}
}

static bool one_has_trouble(void *arg)
{
	struct world *w = arg;

	return status_of(w, 1, 2).last_error[0] != 0;
}

/* Node 1 holds `dialler` and dials node 2, who holds `listener`: no link, and the reason is told.
 */
static void refuse(struct world *w, const struct pki_identity *dialler,
	const struct pki_identity *listener, const char *why)
{
	struct link_status status;

	world_start_as(w, 1, dialler);
	world_start_as(w, 2, listener);
	world_peer(w, 1, 2, links_port(w->site[2].links));
	world_peer(w, 2, 1, 1); /* Nothing there: it only listens. */
	loop_until(&w->loop, one_has_trouble, w, "trouble");
	status = status_of(w, 1, 2);
	if (strstr(status.last_error, why) == NULL) {
		fail_msg("'%s' says nothing of '%s'", status.last_error, why);
	}
	assert_false(status.up);
	assert_int_equal(w->site[1].ups + w->site[1].downs, 0);
	assert_false(status_of(w, 2, 1).accepted);
	assert_int_equal(links_send(w->site[1].links, 2, LINK_RAFT, bytes_str("x"), NULL, 0),
		KLUIS_ECONNECT);
	world_stop(w, 1);
	world_stop(w, 2);
}

static void test_wrong_certificates(void **state)
{
	struct world *w = *state;
	_cleanup_(pki_identity_release) struct pki_identity one = {0}, two = {0}, three = {0},
							    one_old = {0}, two_old = {0},
							    one_other = {0}, two_other = {0},
							    api = {0};

	certs_node(&w->ca, 1, 0, &one);
	certs_node(&w->ca, 2, 0, &two);
	certs_node(&w->ca, 3, 0, &three);
	certs_node(&w->ca, 1, 40, &one_old);
	certs_node(&w->ca, 2, 40, &two_old);
	certs_node(&w->other_ca, 1, 0, &one_other);
	certs_node(&w->other_ca, 2, 0, &two_other);
	certs_server(&w->ca, &api);
	refuse(w, &one_old, &two, "refuses our certificate");
	refuse(w, &one, &two_old, "certificate has expired");
	refuse(w, &one_other, &two, "certificate");
	refuse(w, &one, &two_other, "certificate");
	refuse(w, &w->other_ca, &two, "certificate"); /* Self-signed. */
	refuse(w, &one, &w->other_ca, "certificate");
	/* The right CA, but another node's. */
	refuse(w, &three, &two, "names another node");
	refuse(w, &one, &three, "its certificate is node 3's");
	/* The API server's, signed by the very same CA. */
	refuse(w, &api, &two, "certificate");
	refuse(w, &one, &api, "no node's of this cluster");
}

static void test_other_cluster(void **state)
{
	struct world *w = *state;
	_cleanup_(pki_identity_release) struct pki_identity one = {0}, two = {0};
	uint8_t cluster[16] = {1};
	struct err e;

	certs_node(&w->ca, 2, 0, &two);
	assert_int_equal(pki_issue_node(&w->ca, cluster, 1, w->clock.wall_ms, 30, &one, &e), 0);
	refuse(w, &one, &two, "names another node");
	pki_identity_release(&one);
	pki_identity_release(&two);
	certs_node(&w->ca, 1, 0, &one);
	assert_int_equal(pki_issue_node(&w->ca, cluster, 2, w->clock.wall_ms, 30, &two, &e), 0);
	refuse(w, &one, &two, "no node's of this cluster");
}

static bool two_accepted(void *arg)
{
	struct world *w = arg;

	return status_of(w, 2, 1).accepted;
}

static void test_other_lineage(void **state)
{
	struct world *w = *state;
	uint8_t lineage[16] = {9};

	world_start(w, 1);
	world_start(w, 2);
	links_set_lineage(w->site[1].links, lineage);
	world_peer(w, 1, 2, links_port(w->site[2].links));
	world_peer(w, 2, 1, 1);
	loop_until(&w->loop, one_has_trouble, w, "trouble");
	assert_non_null(strstr(status_of(w, 1, 2).last_error, "another lineage"));
	/* It tries again, and is taken once the lineage is right. */
	memset(lineage, 0x11, 16);
	links_set_lineage(w->site[1].links, lineage);
	for (int i = 0; i < 200 && !two_accepted(w); i++) {
		world_run(w, 50);
	}
	assert_true(two_accepted(w));
}

static void test_no_member(void **state)
{
	struct world *w = *state;

	world_start(w, 1);
	world_start(w, 2);
	world_peer(w, 1, 2, links_port(w->site[2].links));
	loop_until(&w->loop, one_has_trouble, w, "trouble");
	assert_non_null(strstr(status_of(w, 1, 2).last_error, "not among the peers"));
}

static bool one_down(void *arg)
{
	return ((struct world *)arg)->site[1].downs > 0;
}

static bool one_up_again(void *arg)
{
	struct world *w = arg;

	clock_manual_step(&w->clock, 2);
	return w->site[1].ups == 2 && status_of(w, 1, 2).up;
}

static void send_number(struct world *w, uint64_t number)
{
	static uint8_t message[100000];
	int rc;

	memcpy(message, &number, sizeof number);
	rc = links_send(
		w->site[1].links, 2, LINK_PROPOSE, bytes_of(message, sizeof message), NULL, 0);
	assert_int_equal(rc, 0);
}

/* The peer dies under load and comes back elsewhere: order holds, nothing old appears. */
static void test_restart_keeps_order(void **state)
{
	struct world *w = *state;
	uint64_t number = 0;

	world_pair(w);
	w->site[2].count = true;
	for (int i = 0; i < 100; i++) {
		send_number(w, number++);
	}
	while (w->site[2].next_number < 3) {
		(void)uv_run(&w->loop, UV_RUN_ONCE);
	}
	world_stop(w, 2);
	loop_until(&w->loop, one_down, w, "down");
	assert_int_equal(links_send(w->site[1].links, 2, LINK_RAFT, bytes_str("x"), NULL, 0),
		KLUIS_ECONNECT);
	assert_int_equal(status_of(w, 1, 2).queued_bytes[LINK_PROPOSE], 0);
	number = 1000;
	world_start(w, 2);
	world_peer(w, 2, 1, links_port(w->site[1].links));
	world_peer(w, 1, 2, links_port(w->site[2].links));
	loop_until(&w->loop, one_up_again, w, "up again");
	for (int i = 0; i < 20; i++) {
		send_number(w, number++);
	}
	w->site[2].received[LINK_PROPOSE] = 0;
	until_received(w, 2, LINK_PROPOSE, 20);
	assert_int_equal(w->site[2].next_number, 1020);
}

static void test_changed_peers(void **state)
{
	struct world *w = *state;
	struct link_peer rows[SITES_MAX];
	uint64_t ids[4];
	struct err e;

	world_pair(w);
	for (size_t i = 0; i < SITES_MAX; i++) {
		rows[i] = (struct link_peer){i + 2, "127.0.0.1:1"};
	}
	assert_int_equal(links_set_peers(w->site[1].links, rows, SITES_MAX, &e), KLUIS_EINVAL);
	rows[1].id = 1;
	assert_int_equal(links_set_peers(w->site[1].links, rows, 2, &e), KLUIS_EINVAL);
	rows[1].id = 0;
	assert_int_equal(links_set_peers(w->site[1].links, rows, 2, &e), KLUIS_EINVAL);
	rows[1].id = 2;
	assert_int_equal(links_set_peers(w->site[1].links, rows, 2, &e), KLUIS_EINVAL);
	rows[1] = (struct link_peer){3, "name:1"};
	assert_int_equal(links_set_peers(w->site[1].links, rows, 2, &e), KLUIS_EINVAL);
	rows[1].address = "nowhere";
	assert_int_equal(links_set_peers(w->site[1].links, rows, 2, &e), KLUIS_EINVAL);
	assert_true(one_two_up(w));
	/* The address changes: down, told, and not in the call. */
	assert_int_equal(links_set_peers(w->site[1].links, rows, 1, &e), 0);
	assert_int_equal(w->site[1].downs, 0);
	assert_false(status_of(w, 1, 2).up);
	loop_until(&w->loop, one_down, w, "down");
	/* Gone: nothing more of it. */
	assert_int_equal(links_set_peers(w->site[1].links, NULL, 0, &e), 0);
	assert_int_equal(links_peers(w->site[1].links, ids, 4), 0);
	world_run(w, 500);
	assert_int_equal(w->site[1].downs, 1);
	assert_false(status_of(w, 2, 1).up);
}

static bool flood_done(void *arg)
{
	struct world *w = arg;

	return w->site[1].flood == 0;
}

/* A receiver that is slow to write to its disk holds the sender, whatever is sent meanwhile on
 * other streams. */
static void test_file_credit(void **state)
{
	struct world *w = *state;
	unsigned window = LINK_FILE_WINDOW_BYTES / LINK_FILE_CHUNK_BYTES;

	world_pair(w);
	w->site[2].hold_credit = true;
	w->site[1].flood = 100;
	site_flood(&w->site[1], 2, LINK_FILE);
	assert_int_equal(w->site[1].flood, 100 - window);
	until_received(w, 2, LINK_FILE, window);
	send_text(w, 1, 2, LINK_RAFT, "heartbeat");
	until_received(w, 2, LINK_RAFT, 1);
	assert_int_equal(w->site[2].received[LINK_FILE], window);
	assert_int_equal(w->site[1].rooms[LINK_FILE], 0);
	/* Half of it is written. */
	w->site[2].held -= LINK_FILE_WINDOW_BYTES / 2;
	links_credit(w->site[2].links, 1, LINK_FILE_WINDOW_BYTES / 2);
	until_received(w, 2, LINK_FILE, window + window / 2);
	assert_int_equal(w->site[1].flood, 100 - window - window / 2);
	assert_true(w->site[1].rooms[LINK_FILE] > 0);
	/* And then all, as it comes. */
	w->site[2].hold_credit = false;
	links_credit(w->site[2].links, 1, w->site[2].held);
	loop_until(&w->loop, flood_done, w, "all sent");
	until_received(w, 2, LINK_FILE, 100);
	/* More credit than was used is no credit. */
	links_credit(w->site[2].links, 1, 1 << 30);
	links_credit(w->site[2].links, 77, 10);
	send_text(w, 1, 2, LINK_FILE, "still fine");
	until_received(w, 2, LINK_FILE, 101);
	assert_true(one_two_up(w));
}

static void test_new_certificates(void **state)
{
	struct world *w = *state;
	_cleanup_(pki_identity_release) struct pki_identity both = {0}, fresh = {0};
	struct tls_ctx *ctx;

	world_pair(w);
	/* Kept: nothing happens to what stands. */
	certs_node(&w->ca, 1, 0, &fresh);
	ctx = certs_link_ctx(&fresh, &w->ca);
	links_set_ctx(w->site[1].links, ctx, false);
	tls_ctx_unref(ctx);
	world_run(w, 200);
	assert_int_equal(w->site[1].downs, 0);
	send_text(w, 1, 2, LINK_RAFT, "x");
	until_received(w, 2, LINK_RAFT, 1);
	/* Dialled anew: down, told, up again with the new one. */
	buf_append_bytes(&both.cert_pem, buf_bytes(&w->other_ca.cert_pem));
	buf_append_bytes(&both.cert_pem, buf_bytes(&w->ca.cert_pem));
	ctx = certs_link_ctx(&fresh, &both);
	links_set_ctx(w->site[1].links, ctx, true);
	tls_ctx_unref(ctx);
	assert_int_equal(w->site[1].downs, 0);
	loop_until(&w->loop, one_down, w, "down");
	loop_until(&w->loop, one_up_again, w, "up again");
	send_text(w, 1, 2, LINK_RAFT, "y");
	until_received(w, 2, LINK_RAFT, 2);
}

/* ---- A peer of our own making ---- */

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

	w->raw_ended = true;
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

static bool raw_one_closed(void *arg)
{
	return ((struct world *)arg)->raw_closes == 1;
}

static const struct tls_stream_handler raw_handler = {
	raw_ready_cb, raw_read_cb, NULL, raw_end_cb, raw_closed_cb};

static bool raw_ready(void *arg)
{
	return ((struct world *)arg)->raw_readies > 0;
}

static bool raw_ended(void *arg)
{
	return ((struct world *)arg)->raw_ended;
}

static bool raw_answered(void *arg)
{
	return ((struct world *)arg)->raw_got.len > 0;
}

/* Dials node 1 as node 2, up to the end of the TLS handshake. */
static void raw_dial(struct world *w)
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

static struct hello raw_hello(uint64_t dial)
{
	struct hello hello = {.node_id = 2, .boot = 5, .dial = dial};

	memcpy(hello.cluster_id, certs_cluster, 16);
	memset(hello.lineage, 0x11, 16);
	return hello;
}

static void raw_say_hello(struct world *w, uint64_t dial)
{
	struct hello hello = raw_hello(dial);
	uint8_t bytes[HELLO_BYTES];

	hello_write(&hello, bytes);
	tls_stream_write(w->raw, bytes_of(bytes, sizeof bytes));
}

static void raw_connect(struct world *w, uint64_t dial)
{
	raw_dial(w);
	raw_say_hello(w, dial);
	loop_until(&w->loop, raw_answered, w, "answer");
	assert_int_equal(w->raw_got.data[0], HELLO_ACCEPTED);
}

static void raw_world(struct world *w)
{
	world_start(w, 1);
	world_peer(w, 1, 2, 1);
}

static void raw_frame(struct world *w, struct frame_header h, const void *payload)
{
	uint8_t bytes[FRAME_HEADER_BYTES];

	frame_header_write(&h, bytes);
	tls_stream_write(w->raw, bytes_of(bytes, sizeof bytes));
	if (h.length > 0 && payload != NULL) {
		tls_stream_write(w->raw, bytes_of(payload, h.length));
	}
}

static void test_hello_in_single_bytes(void **state)
{
	struct world *w = *state;
	struct hello hello = raw_hello(1);
	uint8_t bytes[HELLO_BYTES];

	raw_world(w);
	raw_dial(w);
	hello_write(&hello, bytes);
	for (size_t i = 0; i < sizeof bytes; i++) {
		assert_int_equal(w->raw_got.len, 0);
		tls_stream_write(w->raw, bytes_of(&bytes[i], 1));
		tls_stream_flush(w->raw);
		(void)uv_run(&w->loop, UV_RUN_NOWAIT);
	}
	loop_until(&w->loop, raw_answered, w, "answer");
	assert_int_equal(w->raw_got.data[0], HELLO_ACCEPTED);
	assert_int_equal(w->raw_got.len, 1);
}

static void bad_hello(struct world *w, const uint8_t bytes[HELLO_BYTES], uint8_t answer)
{
	raw_dial(w);
	tls_stream_write(w->raw, bytes_of(bytes, HELLO_BYTES));
	loop_until(&w->loop, raw_ended, w, "end");
	assert_int_equal(w->raw_got.len, 1);
	assert_int_equal(w->raw_got.data[0], answer);
	loop_until(&w->loop, raw_is_gone, w, "gone");
	assert_false(status_of(w, 1, 2).accepted);
}

static void test_bad_hellos(void **state)
{
	struct world *w = *state;
	struct hello hello = raw_hello(1);
	uint8_t bytes[HELLO_BYTES];

	raw_world(w);
	memset(bytes, 0xff, sizeof bytes);
	bad_hello(w, bytes, HELLO_MALFORMED);
	hello_write(&hello, bytes);
	bytes[4] = 9;
	bad_hello(w, bytes, HELLO_OTHER_VERSION);
	hello.node_id = 3;
	hello_write(&hello, bytes);
	bad_hello(w, bytes, HELLO_NOT_YOU);
	hello = raw_hello(1);
	hello.cluster_id[0] ^= 1;
	hello_write(&hello, bytes);
	bad_hello(w, bytes, HELLO_OTHER_CLUSTER);
}

static void bad_bytes(struct world *w, uint64_t dial, struct bytes bytes)
{
	raw_connect(w, dial);
	tls_stream_write(w->raw, bytes);
	loop_until(&w->loop, raw_ended, w, "end");
	loop_until(&w->loop, raw_is_gone, w, "gone");
	assert_false(status_of(w, 1, 2).accepted);
	for (int stream = 0; stream < LINK_STREAMS; stream++) {
		assert_int_equal(w->site[1].received[stream], 0);
	}
}

static void test_bad_frames(void **state)
{
	struct world *w = *state;
	static uint8_t junk[200000];
	uint8_t header[FRAME_HEADER_BYTES];
	uint64_t dial = 0;

	raw_world(w);
	memset(junk, 0xff, sizeof junk);
	bad_bytes(w, ++dial, bytes_of(junk, sizeof junk));
	memset(junk, 0, sizeof junk);
	bad_bytes(w, ++dial, bytes_of(junk, sizeof junk));
	/* Announces 4 GiB. */
	frame_header_write(
		&(struct frame_header){FRAME_DATA, 0, FRAME_FIRST, 10, UINT32_MAX}, header);
	bad_bytes(w, ++dial, bytes_of(header, sizeof header));
	/* What only the other side sends. */
	frame_header_write(&(struct frame_header){FRAME_CREDIT, 0, 0, 4, 0}, header);
	bad_bytes(w, ++dial, bytes_of(header, sizeof header));
}

static void test_file_beyond_the_credit(void **state)
{
	struct world *w = *state;
	static uint8_t chunk[LINK_FRAME_PAYLOAD_BYTES_MAX];
	struct frame_header h = {
		FRAME_DATA, LINK_FILE, FRAME_FIRST | FRAME_LAST, sizeof chunk, sizeof chunk};
	unsigned window = LINK_FILE_WINDOW_BYTES / sizeof chunk;

	raw_world(w);
	w->site[1].hold_credit = true;
	raw_connect(w, 1);
	for (unsigned i = 0; i < window; i++) {
		raw_frame(w, h, chunk);
	}
	until_received(w, 1, LINK_FILE, window);
	loop_for(&w->loop, 10);
	assert_false(w->raw_ended);
	raw_frame(w, h, chunk);
	loop_until(&w->loop, raw_ended, w, "end");
	assert_int_equal(w->site[1].received[LINK_FILE], window);
}

/* Half a message is no message, and the next connection begins afresh. */
static void test_cut_in_a_message(void **state)
{
	struct world *w = *state;
	static uint8_t chunk[1000];

	raw_world(w);
	raw_connect(w, 1);
	raw_frame(w, (struct frame_header){FRAME_DATA, LINK_RAFT, FRAME_FIRST, 1000, 2000}, chunk);
	tls_stream_flush(w->raw);
	loop_for(&w->loop, 5);
	tls_stream_abort(w->raw);
	loop_until(&w->loop, raw_is_gone, w, "gone");
	raw_connect(w, 2);
	raw_frame(w, (struct frame_header){FRAME_DATA, LINK_RAFT, FRAME_FIRST | FRAME_LAST, 3, 3},
		"abc");
	until_received(w, 1, LINK_RAFT, 1);
	assert_true(bytes_equal(buf_bytes(&w->site[1].last[LINK_RAFT]), bytes_str("abc")));
}

/* A later dial takes the place of an earlier one, never the other way round. */
static void test_stale_dial(void **state)
{
	struct world *w = *state;
	struct tls_stream *first;
	struct hello hello = raw_hello(6);
	uint8_t bytes[HELLO_BYTES];

	raw_world(w);
	raw_connect(w, 7);
	hello_write(&hello, bytes);
	first = w->raw;
	raw_dial(w);
	tls_stream_write(w->raw, bytes_of(bytes, sizeof bytes));
	loop_until(&w->loop, raw_ended, w, "end");
	assert_int_equal(w->raw_got.data[0], HELLO_STALE);
	loop_until(&w->loop, raw_is_gone, w, "gone");
	assert_true(status_of(w, 1, 2).accepted);
	/* Bytes of the first one still count... */
	w->raw = first;
	raw_frame(w, (struct frame_header){FRAME_DATA, LINK_RAFT, 3, 3, 3}, "abc");
	until_received(w, 1, LINK_RAFT, 1);
	/* ...until the eighth has come: then its connection is closed. */
	w->raw_closes = 0;
	raw_dial(w);
	raw_say_hello(w, 8);
	loop_until(&w->loop, raw_answered, w, "answer");
	assert_int_equal(w->raw_got.data[0], HELLO_ACCEPTED);
	assert_ptr_not_equal(w->raw, first);
	loop_until(&w->loop, raw_one_closed, w, "the seventh closed");
	assert_non_null(w->raw);
	assert_true(status_of(w, 1, 2).accepted);
}

static void test_ping(void **state)
{
	struct world *w = *state;

	raw_world(w);
	raw_connect(w, 1);
	raw_frame(w, (struct frame_header){FRAME_PING, 0, 0, 8, 0}, "TOKEN123");
	while (w->raw_got.len < 1 + FRAME_HEADER_BYTES + FRAME_PONG_BYTES) {
		(void)uv_run(&w->loop, UV_RUN_ONCE);
	}
	assert_memory_equal(w->raw_got.data + 1, "\x01\x03\0\0\0\0\0\x10\0\0\0\0TOKEN123", 20);
}

/* It asks without end and never reads. */
static void test_pings_without_reading(void **state)
{
	struct world *w = *state;

	raw_world(w);
	raw_connect(w, 1);
	w->raw_deaf = true;
	for (int i = 0; i < 3000 && !w->raw_ended && status_of(w, 1, 2).accepted; i++) {
		for (int j = 0; j < 1000; j++) {
			raw_frame(w, (struct frame_header){FRAME_PING, 0, 0, 8, 0}, "TOKEN123");
		}
		tls_stream_flush(w->raw);
		(void)uv_run(&w->loop, UV_RUN_NOWAIT);
	}
	assert_false(status_of(w, 1, 2).accepted);
}

static void test_silent_peers_are_dropped(void **state)
{
	struct world *w = *state;

	raw_world(w);
	raw_dial(w); /* No hello. */
	world_run(w, LINK_HANDSHAKE_MS - 200);
	assert_false(w->raw_ended);
	world_run(w, 400);
	loop_until(&w->loop, raw_ended, w, "end");
	loop_until(&w->loop, raw_is_gone, w, "gone");
	raw_connect(w, 1); /* No ping. */
	world_run(w, LINK_DEAD_MS - 200);
	assert_true(status_of(w, 1, 2).accepted);
	world_run(w, 400);
	assert_false(status_of(w, 1, 2).accepted);
}

/* Our own process stood still: the peer is not to blame. */
static void test_standstill_is_forgiven(void **state)
{
	struct world *w = *state;

	world_pair(w);
	clock_manual_step(&w->clock, 60000);
	loop_for(&w->loop, 120);
	world_run(w, 1000);
	assert_true(one_two_up(w));
	assert_int_equal(w->site[1].downs + w->site[2].downs, 0);
}

static void raw_accept_cb(uv_stream_t *listener, int status)
{
	struct world *w = listener->data;
	struct err e;

	assert_int_equal(status, 0);
	if (w->raw == NULL) {
		w->raw_readies = 0;
		w->raw_ended = false;
		assert_int_equal(
			tls_stream_accept(listener, w->raw_ctx, &raw_handler, w, &w->raw, &e), 0);
	}
}

/* Node 1 dials us, and we are node 2. */
static void raw_listen(struct world *w)
{
	_cleanup_(pki_identity_release) struct pki_identity node = {0};
	unsigned port = loop_listen(&w->loop, &w->raw_listener, raw_accept_cb);

	w->raw_listener.data = w;
	certs_node(&w->ca, 2, 0, &node);
	w->raw_ctx = certs_link_ctx(&node, &w->ca);
	world_start(w, 1);
	world_peer(w, 1, 2, port);
	while (w->raw_got.len < HELLO_BYTES) {
		(void)uv_run(&w->loop, UV_RUN_ONCE);
	}
}

static bool one_up(void *arg)
{
	return ((struct world *)arg)->site[1].ups > 0;
}

static void test_up_only_after_the_answer(void **state)
{
	struct world *w = *state;
	uint8_t yes = HELLO_ACCEPTED;

	raw_listen(w);
	loop_for(&w->loop, 20);
	assert_int_equal(w->site[1].ups, 0);
	assert_int_equal(links_send(w->site[1].links, 2, LINK_RAFT, bytes_str("x"), NULL, 0),
		KLUIS_ECONNECT);
	tls_stream_write(w->raw, bytes_of(&yes, 1));
	loop_until(&w->loop, one_up, w, "up");
	send_text(w, 1, 2, LINK_RAFT, "x");
}

/* The listener answers with what no listener says. */
static void test_bad_answers(void **state)
{
	struct world *w = *state;
	uint8_t credit[1 + FRAME_HEADER_BYTES + 4] = {HELLO_ACCEPTED};

	raw_listen(w);
	tls_stream_write(w->raw, bytes_of("\xee", 1));
	loop_until(&w->loop, one_has_trouble, w, "trouble");
	assert_non_null(strstr(status_of(w, 1, 2).last_error, "unknown answer"));
	loop_until(&w->loop, raw_is_gone, w, "gone");
	/* Once more, with credit for what was never sent. */
	buf_clear(&w->raw_got);
	while (w->raw_got.len < HELLO_BYTES) {
		world_run(w, 50);
	}
	frame_header_write(&(struct frame_header){FRAME_CREDIT, 0, 0, 4, 0}, credit + 1);
	credit[sizeof credit - 1] = 1;
	tls_stream_write(w->raw, bytes_of(credit, sizeof credit));
	loop_until(&w->loop, one_down, w, "down");
	assert_non_null(strstr(status_of(w, 1, 2).last_error, "credit"));
}

static void test_dead_listener(void **state)
{
	struct world *w = *state;
	uint8_t yes = HELLO_ACCEPTED;

	raw_listen(w);
	world_run(w, LINK_HANDSHAKE_MS + 200); /* No answer to the hello. */
	assert_non_null(strstr(status_of(w, 1, 2).last_error, "no answer"));
	while (w->raw_got.len < 2 * HELLO_BYTES) {
		world_run(w, 50); /* It dials again. */
	}
	tls_stream_write(w->raw, bytes_of(&yes, 1));
	loop_until(&w->loop, one_up, w, "up");
	world_run(w, LINK_DEAD_MS + 200); /* No pong. */
	assert_int_equal(w->site[1].downs, 1);
	assert_non_null(strstr(status_of(w, 1, 2).last_error, "nothing heard"));
}

/* The peer does not read: the queue fills up to its bound, raft's messages are dropped, and there
 * is room again when it does. */
static void test_slow_reader(void **state)
{
	struct world *w = *state;
	uint8_t yes = HELLO_ACCEPTED;
	struct link_status status;

	raw_listen(w);
	w->raw_deaf = true;
	tls_stream_write(w->raw, bytes_of(&yes, 1));
	loop_until(&w->loop, one_up, w, "up");
	for (int i = 0; i < 100; i++) {
		w->site[1].flood = 1000;
		site_flood(&w->site[1], 2, LINK_RAFT);
		loop_for(&w->loop, 1);
		status = status_of(w, 1, 2);
		assert_true(status.queued_bytes[LINK_RAFT] <= LINK_QUEUE_BYTES_MAX);
		if (status.dropped[LINK_RAFT] > 20) {
			break;
		}
	}
	assert_true(status.dropped[LINK_RAFT] > 0);
	assert_true(
		status.queued_bytes[LINK_RAFT] > LINK_QUEUE_BYTES_MAX - 2 * LINK_FILE_CHUNK_BYTES);
	/* Other streams are not refused. */
	send_text(w, 1, 2, LINK_READ, "read");
	assert_true(status_of(w, 1, 2).up);
	w->site[1].flood = 0;
	w->raw_deaf = false;
	tls_stream_resume(w->raw);
	while (status_of(w, 1, 2).queued_bytes[LINK_RAFT] > 0) {
		(void)uv_run(&w->loop, UV_RUN_ONCE);
	}
	assert_true(w->site[1].rooms[LINK_RAFT] > 0);
}

/* More silent connections than may wait: a peer still gets in. */
static void test_flood_of_connections(void **state)
{
	struct world *w = *state;
	uv_tcp_t tcp[LINK_HANDSHAKES_MAX + 20];
	uv_connect_t req[ARRAY_SIZE(tcp)];
	struct sockaddr_in address;

	raw_world(w);
	assert_int_equal(uv_ip4_addr("127.0.0.1", (int)links_port(w->site[1].links), &address), 0);
	for (size_t i = 0; i < ARRAY_SIZE(tcp); i++) {
		assert_int_equal(uv_tcp_init(&w->loop, &tcp[i]), 0);
		assert_int_equal(
			uv_tcp_connect(&req[i], &tcp[i], (const struct sockaddr *)&address, NULL),
			0);
	}
	loop_for(&w->loop, 20);
	raw_connect(w, 1);
	for (size_t i = 0; i < ARRAY_SIZE(tcp); i++) {
		uv_close((uv_handle_t *)&tcp[i], NULL);
	}
	loop_for(&w->loop, 5);
	assert_true(status_of(w, 1, 2).accepted);
}

static void test_listen_fails_cleanly(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *taken = NULL;
	struct links_config config;
	struct links *links = NULL;
	struct pki_identity node = {0};
	struct err e;

	world_start(w, 1);
	certs_node(&w->ca, 2, 0, &node);
	config = (struct links_config){.loop = &w->loop,
		.clock = &clock_system,
		.random = &random_system,
		.ctx = certs_link_ctx(&node, &w->ca),
		.node_id = 2,
		.handler = &site_handler,
		.data = &w->site[2]};
	taken = x_asprintf("127.0.0.1:%u", links_port(w->site[1].links));
	assert_int_equal(links_new(&config, taken, &links, &e), KLUIS_EIO);
	assert_non_null(strstr(e.text, "address already in use"));
	assert_int_equal(links_new(&config, "localhost:0", &links, &e), KLUIS_EINVAL);
	assert_int_equal(links_new(&config, "127.0.0.1", &links, &e), KLUIS_EINVAL);
	assert_null(links);
	tls_ctx_unref(config.ctx);
	pki_identity_release(&node);
}

#define LINK_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LINK_TEST(test_two_nodes),
		LINK_TEST(test_gather_is_exact),
		LINK_TEST(test_wrong_certificates),
		LINK_TEST(test_other_cluster),
		LINK_TEST(test_other_lineage),
		LINK_TEST(test_no_member),
		LINK_TEST(test_restart_keeps_order),
		LINK_TEST(test_changed_peers),
		LINK_TEST(test_file_credit),
		LINK_TEST(test_new_certificates),
		LINK_TEST(test_hello_in_single_bytes),
		LINK_TEST(test_bad_hellos),
		LINK_TEST(test_bad_frames),
		LINK_TEST(test_file_beyond_the_credit),
		LINK_TEST(test_cut_in_a_message),
		LINK_TEST(test_stale_dial),
		LINK_TEST(test_ping),
		LINK_TEST(test_pings_without_reading),
		LINK_TEST(test_silent_peers_are_dropped),
		LINK_TEST(test_standstill_is_forgiven),
		LINK_TEST(test_up_only_after_the_answer),
		LINK_TEST(test_bad_answers),
		LINK_TEST(test_dead_listener),
		LINK_TEST(test_slow_reader),
		LINK_TEST(test_flood_of_connections),
		LINK_TEST(test_listen_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/lib/test.h"

#include <string.h>

#include "raft/entry.h"
#include "tests/unit/raft/lib/link_rig.h"

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
	assert_int_equal(status.sent_messages, LINK_STREAMS);
	assert_int_equal(status.received_messages, LINK_STREAMS);
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

static bool file_sent(void *arg)
{
	struct world *w = arg;
	int rc = links_send(w->site[1].links, 2, LINK_FILE, bytes_str("still fine"), NULL, 0);

	assert_true(rc == 0 || rc == KLUIS_EAGAIN);
	return rc == 0;
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
	/* The credit for the last ones may be on its way still. */
	loop_until(&w->loop, file_sent, w, "room for one more");
	until_received(w, 2, LINK_FILE, 101);
	assert_true(one_two_up(w));
}

/* Node `id` gets a new certificate of `issuer` and trusts the CAs of `trusted`. */
static void renew(struct world *w, uint64_t id, const struct pki_identity *issuer,
	const struct pki_identity *trusted)
{
	_cleanup_(pki_identity_release) struct pki_identity node = {0};
	struct tls_ctx *ctx;

	certs_node(issuer, id, 0, &node);
	ctx = certs_link_ctx(&node, trusted);
	links_set_ctx(w->site[id].links, ctx);
	tls_ctx_unref(ctx);
}

/* Another CA for the nodes, step by step: two are trusted at once, and no link that is still good
 * is touched. */
static void test_new_ca(void **state)
{
	struct world *w = *state;
	_cleanup_(pki_identity_release) struct pki_identity both = {0};

	world_pair(w);
	buf_append_bytes(&both.cert_pem, buf_bytes(&w->ca.cert_pem));
	buf_append_bytes(&both.cert_pem, buf_bytes(&w->other_ca.cert_pem));
	renew(w, 1, &w->ca, &w->ca);
	renew(w, 1, &w->ca, &both);
	renew(w, 2, &w->ca, &both);
	renew(w, 1, &w->other_ca, &both);
	renew(w, 2, &w->other_ca, &both);
	world_run(w, 200);
	assert_true(one_two_up(w));
	assert_int_equal(w->site[1].downs + w->site[2].downs, 0);
	send_text(w, 1, 2, LINK_RAFT, "x");
	until_received(w, 2, LINK_RAFT, 1);
	/* The old CA goes: what stands was vouched for by it alone, and is made anew. */
	renew(w, 1, &w->other_ca, &w->other_ca);
	assert_int_equal(w->site[1].downs, 0);
	loop_until(&w->loop, one_down, w, "down");
	assert_non_null(strstr(status_of(w, 1, 2).last_error, "certificate"));
	loop_until(&w->loop, one_up_again, w, "up again");
	loop_until(&w->loop, one_two_up, w, "both up again");
	send_text(w, 1, 2, LINK_RAFT, "y");
	until_received(w, 2, LINK_RAFT, 2);
	world_run(w, 200);
	renew(w, 2, &w->other_ca, &w->other_ca);
	world_run(w, 200);
	assert_int_equal(w->site[1].downs, 1);
	assert_true(one_two_up(w));
}

/* A peer that still shows the old CA's certificate is out once that CA is. */
static void test_untrusted_ca(void **state)
{
	struct world *w = *state;

	world_pair(w);
	renew(w, 1, &w->ca, &w->other_ca);
	loop_until(&w->loop, one_down, w, "down");
	world_run(w, 1000);
	assert_false(status_of(w, 1, 2).up || status_of(w, 1, 2).accepted);
	assert_non_null(strstr(status_of(w, 1, 2).last_error, "certificate"));
}

/* A link does not outlive its peer's certificate. */
static void test_certificate_runs_out(void **state)
{
	struct world *w = *state;
	uint64_t end_ms;

	world_pair(w);
	end_ms = status_of(w, 1, 2).certificate_not_after_ms;
	assert_int_equal(links_certificate_not_after_ms(w->site[2].links), end_ms);
	w->clock.wall_ms = end_ms - 10000;
	world_run(w, 5000);
	assert_true(one_two_up(w));
	assert_int_equal(w->site[1].downs + w->site[2].downs, 0);
	world_run(w, 6000);
	assert_int_equal(w->site[1].downs, 1);
	assert_int_equal(w->site[2].downs, 1);
	assert_non_null(strstr(status_of(w, 1, 2).last_error, "expired"));
	/* This machine's own clock says otherwise, so TLS lets it in; it does not come up. */
	world_run(w, 3000);
	assert_false(status_of(w, 1, 2).up || status_of(w, 1, 2).accepted);
	assert_int_equal(w->site[1].ups, 1);
	assert_int_equal(w->site[1].downs, 1);
}

/* Our own process stood still: the peer is not to blame. */
static void test_standstill_is_forgiven(void **state)
{
	struct world *w = *state;

	world_pair(w);
	loop_for(&w->loop, 20); /* Nothing is under way any more. */
	clock_manual_step(&w->clock, 60000);
	loop_for(&w->loop, 120);
	world_run(w, 1000);
	assert_true(one_two_up(w));
	assert_int_equal(w->site[1].downs + w->site[2].downs, 0);
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
		LINK_TEST(test_new_ca),
		LINK_TEST(test_untrusted_ca),
		LINK_TEST(test_certificate_runs_out),
		LINK_TEST(test_standstill_is_forgiven),
		LINK_TEST(test_listen_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The API on three real replicas: what is written at one site is there at the next, whoever leads.
 */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tests/lib/api/node.h"
#include "tests/unit/raft/lib/replica_rig.h"

enum { NODES = 3, TIMEOUT_MS = 60000 };

struct site {
	struct api_node node;
	struct api_backend_replica backend;
	struct http_client client;
	bool running;
};

struct fixture {
	struct replica_rig rig;
	struct site site[NODES];
	struct person person;
	char path[96];
};

static void site_start(struct fixture *f, unsigned i)
{
	struct site *site = &f->site[i];

	api_node_prepare(&site->node);
	api_backend_replica_init(&site->backend, f->rig.node[i]);
	site->node.config.backend = &site->backend.backend;
	site->node.config.node_id = i + 1;
	api_node_run(&site->node);
	api_node_connect(&site->node, "http/1.1", &site->client);
	site->running = true;
}

static void site_stop(struct fixture *f, unsigned i)
{
	struct site *site = &f->site[i];

	if (site->running) {
		http_client_release(&site->client);
		api_node_stop(&site->node);
		replica_rig_stop(&f->rig, i, 0);
		site->running = false;
	}
}

static int setup(void **state)
{
	_cleanup_(buf_release) struct buf command = BUF_INIT;
	struct fixture *f = x_calloc(1, sizeof *f);

	replica_rig_init(&f->rig, NODES, NODES);
	replica_rig_start_all(&f->rig);
	(void)replica_rig_leader(&f->rig);
	fixture_cluster_init(&command, NODES);
	assert_int_equal(replica_rig_propose(&f->rig, 0, &command, TIMEOUT_MS, NULL), 0);
	replica_rig_wait_clock(&f->rig, 0);
	for (unsigned i = 0; i < NODES; i++) {
		site_start(f, i);
	}
	person_init(&f->person, "app");
	(void)snprintf(f->path, sizeof f->path, "/v1/vaults/");
	hex_encode(bytes_of(f->person.vault_id, 16), f->path + 11);
	(void)snprintf(f->path + 43, sizeof f->path - 43, "/pages/0");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < NODES; i++) {
		site_stop(f, i);
	}
	replica_rig_release(&f->rig);
	person_release(&f->person);
	free(f);
	return 0;
}

/* Writes the next revision of page 0 at site i; *ret_page is its bytes. */
static void write_page(struct fixture *f, unsigned i, const char *etag, struct buf *ret_page)
{
	_cleanup_(buf_release) struct buf head = BUF_INIT, fields = BUF_INIT;
	struct answer answer;

	buf_clear(ret_page);
	person_page(&f->person, 0, f->person.revision[0] + 1, "text", ret_page);
	person_head(&f->person, 0, buf_bytes(ret_page), &head);
	buf_printf(&fields, "Content-Type: application/octet-stream\r\n%s%s\r\nKluis-Head: ",
		etag[0] == '\0' ? "If-None-Match: *" : "If-Match: ", etag);
	base64_append(&fields, buf_bytes(&head));
	buf_printf(&fields, "\r\n");
	answer = http_client_call(
		&f->site[i].client, "PUT", f->path, buf_str(&fields), buf_bytes(ret_page));
	if (answer.status != 200 && answer.status != 201) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	person_committed(&f->person, 0);
	answer_release(&answer);
}

static void test_sites(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	char etag[64] = "", min_index[96];
	struct answer answer;
	unsigned leader;

	api_node_join(&f->site[0].node, &f->person, &f->site[0].client);
	api_node_vault(&f->site[0].node, &f->person, &f->site[0].client);
	for (unsigned i = 1; i < NODES; i++) {
		memcpy(f->site[i].client.token, f->site[0].client.token, 64);
	}
	/* Written at each site in turn, read at the next one at once. */
	for (unsigned i = 0; i < 9; i++) {
		struct http_client *next = &f->site[(i + 1) % NODES].client;

		write_page(f, i % NODES, etag, &page);
		answer = http_client_call(next, "GET", f->path, "", bytes_of(NULL, 0));
		assert_int_equal(answer.status, 200);
		assert_true(bytes_equal(buf_bytes(&answer.body), buf_bytes(&page)));
		(void)snprintf(etag, sizeof etag, "%s", answer_field(&answer, "etag"));
		(void)snprintf(min_index, sizeof min_index, "Kluis-Min-Index: %s\r\n",
			answer_field(&answer, "kluis-index"));
		answer_release(&answer);
		answer = http_client_call(&f->site[(i + 2) % NODES].client, "GET",
			"/v1/vaults?consistency=session", min_index, bytes_of(NULL, 0));
		assert_int_equal(answer.status, 200);
		answer_release(&answer);
		answer = http_client_call(
			next, "GET", "/v1/vaults?consistency=stale", "", bytes_of(NULL, 0));
		assert_int_equal(answer.status, 200);
		assert_true(strlen(answer_field(&answer, "kluis-staleness-ms")) > 0);
		answer_release(&answer);
	}
	/* The leader goes; what was acknowledged stays, and writing goes on. */
	leader = replica_rig_leader(&f->rig);
	site_stop(f, leader);
	(void)replica_rig_leader(&f->rig);
	write_page(f, (leader + 1) % NODES, etag, &page);
	answer = http_client_call(
		&f->site[(leader + 2) % NODES].client, "GET", f->path, "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	assert_true(bytes_equal(buf_bytes(&answer.body), buf_bytes(&page)));
	answer_release(&answer);
	/* A session that ends at one site is over at the other. */
	answer = http_client_call(
		&f->site[(leader + 1) % NODES].client, "POST", "/v1/logout", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 204);
	answer_release(&answer);
	answer = http_client_call(
		&f->site[(leader + 2) % NODES].client, "GET", f->path, "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 401);
	answer_release(&answer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sites, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

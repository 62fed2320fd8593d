/* The server as a client on the wire sees it, HTTP/1.1 over TLS. */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "storage/restore_store.h"
#include "tests/lib/api/node.h"

static void check_common(struct answer *answer)
{
	assert_int_equal(strlen(answer_field(answer, "request-id")), 16);
	assert_string_equal(answer_field(answer, "kluis-node"), "1");
	assert_string_equal(answer_field(answer, "kluis-site"), "ams");
	assert_memory_equal(
		answer_field(answer, "kluis-index"), "66656463626139383736353433323100:", 33);
	assert_string_equal(answer_field(answer, "strict-transport-security"),
		"max-age=63072000; includeSubDomains; preload");
	assert_string_equal(answer_field(answer, "x-content-type-options"), "nosniff");
	assert_string_equal(answer_field(answer, "cache-control"), "no-store");
}

static struct answer get(struct http_client *client, const char *target)
{
	return http_client_call(client, "GET", target, "", bytes_of(NULL, 0));
}

static void test_open_routes(void **state)
{
	struct api_node *node = *state;
	struct http_client client;
	struct answer answer;
	uint8_t spki[32];

	api_node_connect(node, "http/1.1", &client);
	answer = get(&client, "/healthz");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "status"), "ok");
	check_common(&answer);
	answer_release(&answer);
	answer = get(&client, "/readyz");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "role"), "leader");
	answer_release(&answer);
	node->read_only = true;
	answer = get(&client, "/readyz");
	assert_int_equal(answer.status, 507);
	assert_string_equal(answer_text(&answer, "code"), "read-only");
	answer_release(&answer);
	node->no_leader = true;
	answer = get(&client, "/readyz");
	assert_int_equal(answer.status, 503);
	check_common(&answer);
	answer_release(&answer);
	answer = get(&client, "/v1/limits");
	assert_int_equal(answer_number(&answer, "page_bytes"), PAGE_BYTES_MAX);
	assert_int_equal(answer_number(&answer, "commit_inline_bytes"), 768 * 1024);
	answer_release(&answer);
	answer = get(&client, "/v1/version");
	assert_int_equal(answer_number(&answer, "feature_level"), FEATURE_LEVEL);
	answer_release(&answer);
	answer = get(&client, "/.well-known/kluis.json");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "cluster_id"), "30313233343536373839616263646500");
	assert_int_equal(base64_decode_exact(bytes_str(answer_text(&answer, "ca_spki_sha256")),
				 spki, sizeof spki),
		0);
	assert_string_equal(answer_text(&answer, "ca"), buf_str(&node->ca.cert_pem));
	answer_release(&answer);
	http_client_release(&client);
}

static void assert_records(struct http_client *client, const struct restore_row *rows, size_t n)
{
	struct answer answer = get(client, "/.well-known/kluis.json");
	const json_t *records = json_object_get(json_object_get(answer.json, "restore"), "records");
	uint8_t record[RESTORE_RECORD_BYTES];

	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(records), n);
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(records, i));

		assert_int_equal(base64_decode_exact(bytes_str(text), record, sizeof record), 0);
		assert_memory_equal(record, rows[i].record, sizeof record);
	}
	answer_release(&answer);
}

/* What a node shows of restores is what its store holds, oldest first. */
static void test_restore_records(void **state)
{
	struct api_node *node = *state;
	struct restore_row rows[2] = {{.number = 1, .record = {'K', 'R', 'R', '1', 1}},
		{.number = 2, .record = {'K', 'R', 'R', '1', 1, [20] = 7}}};
	struct http_client client;
	struct txn *txn;

	api_node_connect(node, "http/1.1", &client);
	assert_records(&client, NULL, 0);
	txn = txn_new(node->machine.kv, fsm_position(node->machine.fsm));
	txn_entry_begin(txn, fsm_position(node->machine.fsm)->index + 1, 7);
	txn_command_begin(txn);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(restore_store_add(txn, rows[i].record, NULL), 0);
	}
	assert_int_equal(txn_command_commit(txn, NULL), 0);
	(void)pthread_mutex_lock(&node->lock);
	assert_int_equal(txn_store(txn, NULL), 0);
	(void)pthread_mutex_unlock(&node->lock);
	txn_free(txn);
	assert_records(&client, rows, 2);
	http_client_release(&client);
}

/* A node that has yet to fetch its store says so: it could not show the records. */
static void test_no_store_yet(void **state)
{
	struct api_node node;
	struct http_client client;
	struct answer answer;

	(void)state;
	api_node_prepare(&node);
	fixture_machine_release(&node.machine);
	fixture_machine_init(&node.machine, NULL);
	api_node_run(&node);
	api_node_connect(&node, "http/1.1", &client);
	answer = get(&client, "/.well-known/kluis.json");
	assert_int_equal(answer.status, 503);
	assert_string_equal(answer_text(&answer, "code"), "no-quorum");
	answer_release(&answer);
	http_client_release(&client);
	api_node_stop(&node);
}

/* Every input that could be read in two ways: 400, and the connection is not used again. */
static void test_smuggling(void **state)
{
	struct api_node *node = *state;
	static const char *const inputs[] = {
		"POST /v1/logout HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: "
		"chunked\r\n\r\n0\r\n\r\n",
		"POST /v1/logout HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: "
		"2\r\n\r\nab",
		"POST /v1/logout HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
		"POST /v1/logout HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		"xchunked\r\n\r\n0\r\n\r\n",
		"POST /v1/logout HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : "
		"chunked\r\n\r\n0\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
		"GET /healthz HTTP/1.1\nHost: a\n\n",
		"GET /healthz HTTP/1.1\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n",
		"GET http://b/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET https:/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET ftp://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET https://u@a/healthz HTTP/1.1\r\nHost: u@a\r\n\r\n",
		"GET /healthz# HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
		"nonsense\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		struct http_client client;
		struct answer answer;
		struct buf both = BUF_INIT;

		api_node_connect(node, "http/1.1", &client);
		buf_printf(&both, "%sGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", inputs[i]);
		http_client_send(&client, buf_bytes(&both));
		answer = http_client_receive(&client, false);
		if (answer.status != 400) {
			fail_msg("%d for: %s", answer.status, inputs[i]);
		}
		assert_string_equal(answer_text(&answer, "code"), "invalid");
		check_common(&answer);
		/* A target that is none is a fine message: the connection goes on. */
		if (strncmp(inputs[i], "GET *", 5) != 0 &&
			strncmp(inputs[i], "GET https:", 10) != 0 &&
			strncmp(inputs[i], "GET ftp:", 8) != 0 &&
			strstr(inputs[i], "healthz#") == NULL) {
			assert_string_equal(answer_field(&answer, "connection"), "close");
			assert_true(http_client_closed(&client));
		}
		answer_release(&answer);
		buf_release(&both);
		http_client_release(&client);
	}
}

/* RFC 9112 section 3.2.2: a server takes what is meant for a proxy, too. */
static void test_absolute_form(void **state)
{
	static const char *const inputs[] = {
		"GET https://a:1/healthz HTTP/1.1\r\nHost: a:1\r\n\r\n",
		"GET HTTP://A.example/healthz HTTP/1.1\r\nHost: a.EXAMPLE\r\n\r\n",
		"GET https://[::1]:7/v1/version HTTP/1.1\r\nHost: [::1]:7\r\n\r\n",
	};
	struct api_node *node = *state;
	struct http_client client;
	struct answer answer;

	api_node_connect(node, "http/1.1", &client);
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		http_client_send(&client, bytes_str(inputs[i]));
		answer = http_client_receive(&client, false);
		if (answer.status != 200) {
			fail_msg("%d for: %s", answer.status, inputs[i]);
		}
		answer_release(&answer);
	}
	/* No path is "/", which is no route; with a query, too. */
	http_client_send(&client, bytes_str("GET https://a HTTP/1.1\r\nHost: a\r\n\r\n"));
	answer = http_client_receive(&client, false);
	assert_int_equal(answer.status, 404);
	answer_release(&answer);
	http_client_send(&client, bytes_str("GET https://a?b HTTP/1.1\r\nHost: a\r\n\r\n"));
	answer = http_client_receive(&client, false);
	assert_int_equal(answer.status, 404);
	answer_release(&answer);
	http_client_release(&client);
}

static void test_pipelining(void **state)
{
	struct api_node *node = *state;
	struct http_client client;
	struct buf all = BUF_INIT;

	/* Answers that are made asynchronously, and must come in order. */
	api_node_connect(node, "http/1.1", &client);
	for (unsigned i = 0; i < 50; i++) {
		buf_printf(&all, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n",
			i % 3 == 0   ? "/v1/version"
			: i % 3 == 1 ? "/healthz"
				     : "/nowhere");
	}
	http_client_send(&client, buf_bytes(&all));
	for (unsigned i = 0; i < 50; i++) {
		struct answer answer = http_client_receive(&client, false);

		assert_int_equal(answer.status, i % 3 == 2 ? 404 : 200);
		assert_int_equal(json_object_get(answer.json, "feature_level") != NULL, i % 3 == 0);
		answer_release(&answer);
	}
	buf_release(&all);
	http_client_release(&client);
}

static void test_limits(void **state)
{
	struct api_node *node = *state;
	struct http_client client;
	struct answer answer;
	struct buf text = BUF_INIT;

	/* A body that is announced too large is refused before it is sent. */
	api_node_connect(node, "http/1.1", &client);
	http_client_send(&client,
		bytes_str("POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\nContent-Type: "
			  "application/json\r\nContent-Length: 1000000000\r\n\r\n"));
	answer = http_client_receive(&client, false);
	assert_int_equal(answer.status, 413);
	assert_int_equal(answer_number(&answer, "limit"), 4096);
	check_common(&answer);
	assert_true(http_client_closed(&client));
	answer_release(&answer);
	http_client_release(&client);

	/* One that is not announced ends where it grows too large. */
	api_node_connect(node, "http/1.1", &client);
	buf_printf(&text, "POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\nContent-Type: "
			  "application/json\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n");
	for (unsigned i = 0; i < 0x2000; i++) {
		buf_append(&text, "x", 1);
	}
	http_client_send(&client, buf_bytes(&text));
	answer = http_client_receive(&client, false);
	assert_int_equal(answer.status, 413);
	assert_true(http_client_closed(&client));
	answer_release(&answer);
	http_client_release(&client);

	api_node_connect(node, "http/1.1", &client);
	buf_clear(&text);
	buf_printf(&text, "GET /healthz HTTP/1.1\r\nHost: a\r\nX: ");
	for (unsigned i = 0; i < HTTP_HEADER_BYTES_MAX; i++) {
		buf_append(&text, "x", 1);
	}
	http_client_send(&client, buf_bytes(&text));
	answer = http_client_receive(&client, false);
	assert_int_equal(answer.status, 431);
	assert_true(http_client_closed(&client));
	answer_release(&answer);
	http_client_release(&client);

	/* A body where none belongs. */
	api_node_connect(node, "http/1.1", &client);
	answer = http_client_call(&client, "GET", "/healthz", "", bytes_str("x"));
	assert_int_equal(answer.status, 413);
	answer_release(&answer);
	http_client_release(&client);
	buf_release(&text);
}

static void test_expect(void **state)
{
	struct api_node *node = *state;
	struct http_client client;
	struct answer answer;
	static const char head[] =
		"POST /v1/login/device/start HTTP/1.1\r\nHost: a\r\nContent-Type: "
		"application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";

	api_node_connect(node, "http/1.1", &client);
	http_client_send(&client, bytes_str(head));
	while (client.in.len < 25) {
		/* The interim answer comes before the body is sent. */
		uint8_t byte;
		size_t n;
		struct err e = {0};

		assert_int_equal(tls_client_read(client.tls, &byte, 1,
					 clock_monotonic_ms(&clock_system) + 60000, &n, &e),
			0);
		buf_append(&client.in, &byte, 1);
	}
	assert_memory_equal(client.in.data, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	http_client_send(&client, bytes_str("{}"));
	answer = http_client_receive(&client, false);
	assert_int_equal(answer.status, 400);
	answer_release(&answer);
	http_client_release(&client);
}

static void test_methods_and_media(void **state)
{
	struct api_node *node = *state;
	struct http_client client;
	struct answer answer;

	api_node_connect(node, "http/1.1", &client);
	answer = http_client_call(&client, "DELETE", "/healthz", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 405);
	assert_string_equal(answer_field(&answer, "allow"), "GET, HEAD");
	answer_release(&answer);
	answer = http_client_call(&client, "HEAD", "/healthz", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	assert_true(strtoul(answer_field(&answer, "content-length"), NULL, 10) > 0);
	answer_release(&answer);
	answer = get(&client, "/healthz?x=1");
	assert_int_equal(answer.status, 400);
	answer_release(&answer);
	answer = http_client_call(&client, "POST", "/v1/login/device/start",
		"Content-Type: text/plain\r\n", bytes_str("{}"));
	assert_int_equal(answer.status, 415);
	answer_release(&answer);
	http_client_release(&client);
}

static void test_json(void **state)
{
	struct api_node *node = *state;
	struct http_client client;
	struct buf deep = BUF_INIT;
	static const char *const bodies[] = {
		"",
		"[]",
		"{",
		"{} x",
		"{\"user_id\":1,\"device_id\":\"00000000000000000000000000000000\"}",
		"{\"user_id\":\"00000000000000000000000000000000\"}",
		"{\"user_id\":\"00000000000000000000000000000000\",\"user_id\":"
		"\"00000000000000000000000000000000\",\"device_id\":"
		"\"00000000000000000000000000000000\"}",
		"{\"user_id\":\"00000000000000000000000000000000\",\"device_id\":"
		"\"00000000000000000000000000000000\",\"more\":1}",
		"{\"user_id\":\"0000000000000000000000000000000\",\"device_id\":"
		"\"00000000000000000000000000000000\"}",
		"{\"user_id\":\"\xff\",\"device_id\":\"00000000000000000000000000000000\"}",
		"{\"user_id\":\"\\u0000\",\"device_id\":\"00000000000000000000000000000000\"}",
		"{\"user_id\":\"\\ud800\",\"device_id\":\"00000000000000000000000000000000\"}",
	};

	api_node_connect(node, "http/1.1", &client);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct answer answer =
			http_client_json(&client, "POST", "/v1/login/device/start", "", bodies[i]);

		if (answer.status != 400) {
			fail_msg("%d for %s", answer.status, bodies[i]);
		}
		answer_release(&answer);
	}
	for (unsigned i = 0; i < 2000; i++) {
		buf_append(&deep, "[", 1);
	}
	{
		struct answer answer = http_client_json(
			&client, "POST", "/v1/login/device/start", "", buf_str(&deep));

		assert_int_equal(answer.status, 400);
		answer_release(&answer);
	}
	buf_release(&deep);
	http_client_release(&client);
}

static void test_admin(void **state)
{
	struct api_node *node = *state;
	struct http_client client, admin;
	struct answer answer;
	static const char *const targets[] = {"/v1/sys/status", "/v1/sys/members", "/v1/sys/leader",
		"/v1/sys/health", "/v1/sys/alarms", "/v1/sys/backups", "/v1/sys/config",
		"/v1/sys/audit", "/v1/sys/services", "/v1/sys/snapshots", "/healthz"};

	api_node_connect(node, "http/1.1", &client);
	api_node_admin(node, &admin);
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		answer = get(&admin, targets[i]);
		if (answer.status != 200) {
			fail_msg("%s: %s", targets[i], buf_str(&answer.body));
		}
		check_common(&answer);
		answer_release(&answer);
	}
	answer = get(&client, "/v1/sys/status");
	assert_int_equal(answer.status, 404);
	answer_release(&answer);
	answer = get(&admin, "/metrics");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_field(&answer, "content-type"), "text/plain; version=0.0.4");
	assert_non_null(strstr(buf_str(&answer.body), "kluis_raft_is_leader 1\n"));
	assert_non_null(strstr(buf_str(&answer.body),
		"kluis_http_requests_total{route=\"sys_status\",code=\"2xx\"} 1\n"));
	answer_release(&answer);

	answer = http_client_json(&admin, "POST", "/v1/sys/services", "", "{\"name\":\"app\"}");
	assert_int_equal(answer.status, 428);
	answer_release(&answer);
	answer = http_client_json(
		&admin, "POST", "/v1/sys/services", "Idempotency-Key: k\r\n", "{\"name\":\"app\"}");
	assert_int_equal(answer.status, 201);
	assert_memory_equal(answer_text(&answer, "token"), "ket_", 4);
	assert_int_equal(strlen(answer_text(&answer, "token")), 47);
	answer_release(&answer);
	/* A token is shown once: its replay is a conflict, another body under the key is 422. */
	answer = http_client_json(
		&admin, "POST", "/v1/sys/services", "Idempotency-Key: k\r\n", "{\"name\":\"app\"}");
	assert_int_equal(answer.status, 409);
	answer_release(&answer);
	answer = http_client_json(&admin, "POST", "/v1/sys/services", "Idempotency-Key: k\r\n",
		"{\"name\":\"app2\"}");
	assert_int_equal(answer.status, 422);
	answer_release(&answer);
	answer = http_client_json(&admin, "POST", "/v1/sys/services", "Idempotency-Key: l\r\n",
		"{\"name\":\"No Name\"}");
	assert_int_equal(answer.status, 400);
	answer_release(&answer);
	answer = http_client_call(
		&admin, "POST", "/v1/sys/services/app/disable", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 204);
	answer_release(&answer);
	answer = http_client_call(
		&admin, "POST", "/v1/sys/services/none/disable", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 404);
	answer_release(&answer);
	answer = get(&admin, "/v1/sys/services?limit=1");
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_object_get(answer.json, "items"), 0), "state")),
		"disabled");
	answer_release(&answer);
	answer = get(&admin, "/v1/sys/audit?limit=1");
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_object_get(answer.json, "items"), 0), "action")),
		"service_disable");
	assert_false(json_is_true(json_object_get(answer.json, "done")));
	answer_release(&answer);

	answer = http_client_json(&admin, "POST", "/v1/sys/readonly", "", "{\"on\":true}");
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	answer = http_client_json(&admin, "POST", "/v1/sys/services", "Idempotency-Key: m\r\n",
		"{\"name\":\"late\"}");
	assert_int_equal(answer.status, 507);
	answer_release(&answer);
	answer = get(&admin, "/readyz");
	assert_int_equal(answer.status, 507);
	answer_release(&answer);
	answer = http_client_json(&admin, "POST", "/v1/sys/readonly", "", "{\"on\":1}");
	assert_int_equal(answer.status, 400);
	answer_release(&answer);
	answer = http_client_json(&admin, "POST", "/v1/sys/leader/transfer", "", "{}");
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	answer = http_client_json(&admin, "POST", "/v1/sys/leader/transfer", "", "{\"to\":9}");
	assert_int_equal(answer.status, 400);
	answer_release(&answer);
	answer = http_client_call(&admin, "POST", "/v1/sys/certs/reload", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	answer = http_client_json(
		&admin, "POST", "/v1/sys/snapshots", "Idempotency-Key: s\r\n", "{}");
	assert_int_equal(answer.status, 400); /* This node takes none. */
	answer_release(&answer);
	http_client_release(&admin);
	http_client_release(&client);
}

static void test_reload(void **state)
{
	struct api_node *node = *state;
	struct pki_identity fresh = {0};
	struct http_client old, client;
	struct answer answer;
	struct err e = {0};
	uint8_t before[32], after[32];

	api_node_connect(node, "http/1.1", &old);
	tls_client_peer_spki(old.tls, before);
	certs_server(&node->ca, &fresh);
	assert_int_equal(remove(node->cert_path), 0);
	/* A file that is not there: what runs goes on. */
	assert_true(api_reload(node->api, &e) != 0);
	assert_int_equal(remove(node->key_path), 0);
	assert_int_equal(pki_write(&fresh, node->cert_path, node->key_path, &e), 0);
	assert_int_equal(api_reload(node->api, &e), 0);
	api_node_connect(node, "http/1.1", &client);
	tls_client_peer_spki(client.tls, after);
	assert_memory_not_equal(before, after, 32);
	answer = get(&client, "/healthz");
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	/* The connection from before lives on. */
	answer = get(&old, "/healthz");
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	/* One bad file does not keep the other from being taken, and is named. */
	node->bad_link_file = true;
	assert_int_equal(api_reload(node->api, &e), KLUIS_EVERIFY);
	assert_string_equal(e.text, "certificate 'link.pem': expired");
	assert_int_equal(remove(node->cert_path), 0);
	assert_int_equal(api_reload(node->api, &e), KLUIS_ENOTFOUND);
	assert_non_null(strstr(e.text, "cert.pem"));
	assert_non_null(strstr(e.text, "link.pem"));
	http_client_release(&old);
	http_client_release(&client);
	pki_identity_release(&fresh);
}

/* The links' certificate ends in six days, the API's in thirty. */
static void test_expiry(void **state)
{
	struct api_node *node = *state;
	struct http_client admin;
	struct answer answer;

	api_node_admin(node, &admin);
	answer = get(&admin, "/v1/sys/status");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), "\"certificate_days_left\":6"));
	assert_non_null(strstr(buf_str(&answer.body), "\"name\":\"api\""));
	answer_release(&answer);
	answer = get(&admin, "/v1/sys/alarms");
	assert_non_null(strstr(buf_str(&answer.body), "link_certificate"));
	assert_non_null(strstr(buf_str(&answer.body), "critical"));
	answer_release(&answer);
	answer = get(&admin, "/v1/sys/metrics");
	assert_non_null(strstr(buf_str(&answer.body),
		"\nkluis_certificate_seconds_left{certificate=\"link\"} 518"));
	assert_non_null(strstr(buf_str(&answer.body),
		"\nkluis_certificate_seconds_left{certificate=\"api\"} 2591"));
	answer_release(&answer);
	http_client_release(&admin);
}

static size_t changed_host_key(void *data, struct api_shipment rows[SITES_MAX])
{
	(void)data;
	memset(rows, 0, 3 * sizeof *rows);
	memcpy(rows[0].site, "ams", sizeof "ams");
	memcpy(rows[1].site, "ber", sizeof "ber");
	memcpy(rows[2].site, "cph", sizeof "cph");
	rows[0].rc = KLUIS_ECONNECT;
	memcpy(rows[0].text, "refused", sizeof "refused");
	rows[1].rc = KLUIS_EPIN;
	memcpy(rows[1].text, "the host key of 'x'", sizeof "the host key of 'x'");
	return 3;
}

static void journal_full(void *data, char ret_text[256])
{
	(void)data;
	memcpy(ret_text, "disk full", sizeof "disk full");
}

/* A receiver whose host key changed is an alarm, before any other failure to ship. */
static void test_shipping_alarm(void **state)
{
	static const char *const metrics[] = {"\nkluis_ship_failed{site=\"ams\"} 1\n",
		"\nkluis_ship_failed{site=\"ber\"} 1\n", "\nkluis_ship_failed{site=\"cph\"} 0\n",
		"\nkluis_ship_host_key_changed{site=\"ams\"} 0\n",
		"\nkluis_ship_host_key_changed{site=\"ber\"} 1\n",
		"\nkluis_ship_host_key_changed{site=\"cph\"} 0\n"};
	struct api_node node;
	struct http_client admin;
	struct answer answer;

	(void)state;
	api_node_prepare(&node);
	node.config.hooks.shipments = changed_host_key;
	node.config.hooks.deletions = journal_full;
	api_node_run(&node);
	api_node_admin(&node, &admin);
	answer = get(&admin, "/v1/sys/alarms");
	assert_non_null(strstr(buf_str(&answer.body),
		"\"name\":\"shipping\",\"severity\":\"critical\",\"text\":\"2 of 3 sites: the host "
		"key of 'x'\""));
	assert_non_null(
		strstr(buf_str(&answer.body), "\"about\":[\"site ams\",\"site ber host key\"]"));
	assert_non_null(strstr(buf_str(&answer.body), "\"name\":\"deletions\",\"severity\":"));
	answer_release(&answer);
	answer = get(&admin, "/v1/sys/metrics");
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		assert_non_null(strstr(buf_str(&answer.body), metrics[i]));
	}
	answer_release(&answer);
	answer = get(&admin, "/v1/sys/status");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), "\"name\":\"shipping\""));
	answer_release(&answer);
	http_client_release(&admin);
	api_node_stop(&node);
}

/* One request of plain HTTP; the answer's status, all of it in `to`. */
static int ask_plain(unsigned port, const char *verb, const char *target, struct buf *to)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char piece[4096];
	ssize_t n;

	buf_clear(to);
	buf_printf(to,
		"%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", verb,
		target);
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(send(fd, to->data, to->len, 0), to->len);
	buf_clear(to);
	while ((n = recv(fd, piece, sizeof piece, 0)) > 0) {
		buf_append(to, piece, (size_t)n);
	}
	(void)close(fd);
	assert_int_equal(strncmp(buf_str(to), "HTTP/1.1 ", 9), 0);
	return (int)strtol(buf_str(to) + 9, NULL, 10);
}

/* On the port for metrics there are metrics, for whoever is on this machine, and nothing else. */
static void test_metrics_port(void **state)
{
	static const char *const others[] = {
		"/v1/sys/metrics", "/v1/sys/status", "/healthz", "/", "/metrics/", "/v1/vaults"};
	struct api_node *node = *state;
	struct buf answer = BUF_INIT;
	struct err e = {0};

	assert_int_equal(api_metrics_port(node->api), 0); /* Only if it is asked for. */
	api_stop(node->api, 1000);
	node->config.metrics_host = "0.0.0.0";
	assert_int_equal(api_start(&node->config, &node->api, &e), KLUIS_EINVAL);
	assert_non_null(strstr(e.text, "no loopback address"));
	node->config.metrics_host = "127.0.0.1";
	api_node_run(node);
	assert_true(api_metrics_port(node->api) > 0);
	assert_int_equal(ask_plain(api_metrics_port(node->api), "GET", "/metrics", &answer), 200);
	assert_non_null(strstr(buf_str(&answer), "\nkluis_raft_is_leader 1\n"));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_int_equal(
			ask_plain(api_metrics_port(node->api), "GET", others[i], &answer), 404);
	}
	assert_int_equal(ask_plain(api_metrics_port(node->api), "POST", "/metrics", &answer), 405);
	buf_release(&answer);
}

static void test_early_close(void **state)
{
	struct api_node *node = *state;
	struct http_client client;
	struct answer answer;

	/* A client that goes while its answer is being made, and one in the middle of its body. */
	for (unsigned i = 0; i < 20; i++) {
		api_node_connect(node, "http/1.1", &client);
		http_client_send(&client,
			bytes_str(i % 2 == 0 ? "GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n"
					     : "POST /v1/login/device/start HTTP/1.1\r\nHost: "
					       "a\r\nContent-Type: "
					       "application/json\r\nContent-Length: 100\r\n\r\n{"));
		http_client_release(&client);
	}
	api_node_connect(node, "http/1.1", &client);
	answer = get(&client, "/healthz");
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	http_client_release(&client);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_open_routes, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_restore_records, api_node_setup, api_node_teardown),
		cmocka_unit_test(test_no_store_yet),
		cmocka_unit_test(test_shipping_alarm),
		cmocka_unit_test_setup_teardown(test_smuggling, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_absolute_form, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_pipelining, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_limits, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_expect, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_methods_and_media, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_json, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_admin, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_reload, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(test_expiry, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_metrics_port, api_node_setup, api_node_teardown),
		cmocka_unit_test_setup_teardown(
			test_early_close, api_node_setup, api_node_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

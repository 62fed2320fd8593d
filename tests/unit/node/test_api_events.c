/* Events through the whole API: tickets, WebSockets and requests that wait, over a real state
 * machine. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "node/call_signal.h"
#include "node/http_message.h"
#include "storage/object_store.h"
#include "tests/lib/api/node.h"
#include "tests/lib/api/websocket_client.h"

static const char turn_secret[] = "north of the border";

struct fixture {
	struct api_node node;
	struct person ann, bob;
	struct http_client client, bobs;
	uint64_t labels;
};

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	f->node.config.turn_uris = "turn:a.example:3478 turns:a.example:5349";
	f->node.config.turn_secret = bytes_str(turn_secret);
	api_node_run(&f->node);
	person_init(&f->ann, "ann");
	/* His id is that of her vault: what is told of the one is nothing of the other. */
	person_init_as(&f->bob, "bob", f->ann.vault_id);
	api_node_connect(&f->node, "http/1.1", &f->client);
	api_node_join(&f->node, &f->ann, &f->client);
	api_node_connect(&f->node, "http/1.1", &f->bobs);
	api_node_join(&f->node, &f->bob, &f->bobs);
	api_node_vault(&f->node, &f->bob, &f->bobs);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_client_release(&f->client);
	http_client_release(&f->bobs);
	person_release(&f->ann);
	person_release(&f->bob);
	if (f->node.api != NULL) {
		api_node_stop(&f->node);
	}
	free(f);
	return 0;
}

/* Something happens to this person's vault. */
static void commit(struct person *person, struct http_client *client)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, head = BUF_INIT, fields = BUF_INIT;
	uint64_t revision = person->revision[0] + 1;
	struct answer answer;
	char hex[33], path[128];

	hex_encode(bytes_of(person->vault_id, 16), hex);
	(void)snprintf(path, sizeof path, "/v1/vaults/%s/pages/0", hex);
	buf_printf(&fields, "Content-Type: application/octet-stream\r\n");
	if (revision == 1) {
		buf_printf(&fields, "If-None-Match: *\r\n");
	} else {
		answer = http_client_call(client, "GET", path, "", bytes_of(NULL, 0));
		buf_printf(&fields, "If-Match: %s\r\n", answer_field(&answer, "etag"));
		answer_release(&answer);
	}
	person_page(person, 0, revision, "text", &page);
	person_head(person, 0, buf_bytes(&page), &head);
	buf_printf(&fields, "Kluis-Head: ");
	base64_append(&fields, buf_bytes(&head));
	buf_printf(&fields, "\r\n");
	answer = http_client_call(client, "PUT", path, buf_str(&fields), buf_bytes(&page));
	if (answer.status != (revision == 1 ? 201 : 200)) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	answer_release(&answer);
	person_committed(person, 0);
}

static struct answer post_ticket(struct http_client *client)
{
	return http_client_call(client, "POST", "/v1/events/ticket", "", bytes_of(NULL, 0));
}

/* A connection of its own with a WebSocket of the client's session. since may be NULL. */
static void open_socket(
	struct fixture *f, struct http_client *client, const char *since, struct http_client *ws)
{
	struct answer answer = post_ticket(client);
	char target[256];

	assert_int_equal(answer.status, 201);
	(void)snprintf(target, sizeof target, "/v1/events?ticket=%s%s%s",
		answer_text(&answer, "ticket"),
		since == NULL ? "" : "&since=", since == NULL ? "" : since);
	answer_release(&answer);
	api_node_connect(&f->node, "http/1.1", ws);
	answer = ws_open(ws, target, "");
	assert_int_equal(answer.status, 101);
	assert_string_equal(
		answer_field(&answer, "sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_string_equal(answer_field(&answer, "upgrade"), "websocket");
	assert_string_equal(answer_field(&answer, "connection"), "Upgrade");
	answer_release(&answer);
}

static void expect_event(json_t *event, const char *type, const uint8_t *object, char cursor[64])
{
	char hex[33] = "";

	assert_string_equal(json_string_value(json_object_get(event, "type")), type);
	if (object != NULL) {
		hex_encode(bytes_of(object, 16), hex);
		assert_string_equal(json_string_value(json_object_get(event, "object")), hex);
	}
	(void)snprintf(cursor, 64, "%s", json_string_value(json_object_get(event, "cursor")));
	json_decref(event);
}

static struct answer poll_news(struct http_client *client, const char *since, unsigned wait_ms)
{
	char target[256];

	(void)snprintf(target, sizeof target, "/v1/events?wait_ms=%u%s%s", wait_ms,
		since == NULL ? "" : "&since=", since == NULL ? "" : since);
	return http_client_call(client, "GET", target, "", bytes_of(NULL, 0));
}

static size_t items_of(struct answer *answer, char cursor[64])
{
	assert_int_equal(answer->status, 200);
	(void)snprintf(cursor, 64, "%s", answer_text(answer, "cursor"));
	return json_array_size(json_object_get(answer->json, "items"));
}

static void expect_item(struct answer *answer, size_t i, const char *type, const uint8_t *object)
{
	json_t *event = json_array_get(json_object_get(answer->json, "items"), i);
	char cursor[64];

	expect_event(json_incref(event), type, object, cursor);
}

static unsigned subscribers(struct fixture *f)
{
	struct http_client admin;
	struct answer answer;
	const char *at;
	unsigned n;

	api_node_admin(&f->node, &admin);
	answer = http_client_call(&admin, "GET", "/metrics", "", bytes_of(NULL, 0));
	at = strstr(buf_str(&answer.body), "\nkluis_event_subscribers ");
	assert_non_null(at);
	assert_int_equal(sscanf(at, " kluis_event_subscribers %u", &n), 1);
	answer_release(&answer);
	http_client_release(&admin);
	return n;
}

static void until_subscribers(struct fixture *f, unsigned wanted)
{
	const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};

	for (unsigned i = 0; subscribers(f) != wanted; i++) {
		assert_true(i < 12000);
		(void)nanosleep(&pause, NULL);
	}
}

static void test_tickets(void **state)
{
	struct fixture *f = *state;
	struct http_client ws;
	struct answer answer = post_ticket(&f->client);
	char target[128];

	assert_int_equal(answer.status, 201);
	(void)snprintf(
		target, sizeof target, "/v1/events?ticket=%s", answer_text(&answer, "ticket"));
	assert_true(answer_number(&answer, "expires_ms") > 0);
	answer_release(&answer);
	api_node_connect(&f->node, "http/1.1", &ws);
	answer = ws_open(&ws, target, "");
	assert_int_equal(answer.status, 101);
	answer_release(&answer);
	http_client_release(&ws);
	/* A second time, none, one of nobody, a session's token in its place. */
	api_node_connect(&f->node, "http/1.1", &ws);
	answer_expect(ws_open(&ws, target, ""), 401, "unauthenticated");
	answer_expect(ws_open(&ws, "/v1/events", ""), 401, "unauthenticated");
	(void)snprintf(target, sizeof target, "/v1/events?ticket=kev_%043d", 0);
	answer_expect(ws_open(&ws, target, ""), 401, "unauthenticated");
	(void)snprintf(target, sizeof target, "/v1/events?ticket=%s", f->client.token);
	answer_expect(ws_open(&ws, target, ""), 401, "unauthenticated");
	answer_expect(ws_open(&ws, "/v1/events?ticket=", ""), 400, "invalid");
	answer_expect(ws_open(&ws, "/v1/events?other=1", ""), 400, "invalid");
	http_client_release(&ws);
}

static void test_too_late(void **state)
{
	struct fixture *f = *state;
	struct http_client first, ws;
	struct answer answer;
	char target[128] = "";

	/* Of one user's tickets the oldest goes. */
	for (unsigned i = 0; i <= EVENT_TICKETS_USER_MAX; i++) {
		answer = post_ticket(&f->client);
		assert_int_equal(answer.status, 201);
		if (i == 0) {
			(void)snprintf(target, sizeof target, "/v1/events?ticket=%s",
				answer_text(&answer, "ticket"));
		}
		answer_release(&answer);
	}
	api_node_connect(&f->node, "http/1.1", &ws);
	answer_expect(ws_open(&ws, target, ""), 401, "unauthenticated");
	http_client_release(&ws);
	/* The session that it was given to has ended meanwhile. */
	open_socket(f, &f->client, NULL, &first);
	answer = post_ticket(&f->client);
	(void)snprintf(
		target, sizeof target, "/v1/events?ticket=%s", answer_text(&answer, "ticket"));
	answer_release(&answer);
	answer_expect(http_client_call(&f->client, "POST", "/v1/logout", "", bytes_of(NULL, 0)),
		204, NULL);
	assert_int_equal(ws_receive_close(&first), 4401);
	assert_true(http_client_closed(&first));
	http_client_release(&first);
	api_node_connect(&f->node, "http/1.1", &ws);
	answer = ws_open(&ws, target, "");
	assert_int_equal(answer.status, 101);
	answer_release(&answer);
	assert_int_equal(ws_receive_close(&ws), 4401);
	http_client_release(&ws);
	answer_expect(poll_news(&f->client, NULL, 0), 401, "unauthenticated");
}

static void test_handshake(void **state)
{
	static const char head[] = "GET /v1/events?ticket=x HTTP/1.1\r\nHost: localhost\r\n";
	static const struct {
		const char *fields;
		int status;
	} bad[] = {
		{"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", 400},
		{"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
			400},
		{"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j_Q==\r\n",
			400},
		{"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
		 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
			400},
		{"Connection: keep-alive\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
			400},
		{"Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
			401}, /* Then it is a request that waits, and lacks its token. */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct http_client client;
		char request[512];

		api_node_connect(&f->node, "http/1.1", &client);
		(void)snprintf(request, sizeof request, "%s%s\r\n", head, bad[i].fields);
		http_client_send(&client, bytes_str(request));
		answer_expect(http_client_receive(&client, false), bad[i].status, NULL);
		http_client_release(&client);
	}
}

static void test_live_and_missed(void **state)
{
	struct fixture *f = *state;
	struct http_client ws, again;
	char start[64], middle[64], cursor[64];
	struct answer answer;

	open_socket(f, &f->client, NULL, &ws);
	expect_event(ws_receive_json(&ws), "resync", NULL, start);
	/* His are none of hers; hers are. */
	commit(&f->bob, &f->bobs);
	api_node_vault(&f->node, &f->ann, &f->client);
	expect_event(ws_receive_json(&ws), "members", f->ann.vault_id, middle);
	commit(&f->ann, &f->client);
	expect_event(ws_receive_json(&ws), "vault", f->ann.vault_id, cursor);
	assert_true(strcmp(cursor, middle) != 0);
	/* What was missed since then, each object once. */
	open_socket(f, &f->client, start, &again);
	expect_event(ws_receive_json(&again), "members", f->ann.vault_id, middle);
	expect_event(ws_receive_json(&again), "vault", f->ann.vault_id, middle);
	assert_string_equal(middle, cursor);
	http_client_release(&again);
	answer = poll_news(&f->client, start, 0);
	assert_int_equal(items_of(&answer, cursor), 2);
	expect_item(&answer, 0, "members", f->ann.vault_id);
	expect_item(&answer, 1, "vault", f->ann.vault_id);
	answer_release(&answer);
	answer = poll_news(&f->client, cursor, 0);
	assert_int_equal(items_of(&answer, cursor), 0);
	answer_release(&answer);
	answer = poll_news(&f->bobs, NULL, 0);
	assert_int_equal(items_of(&answer, cursor), 1);
	expect_item(&answer, 0, "resync", NULL);
	answer_release(&answer);
	http_client_release(&ws);
}

static void test_waiting(void **state)
{
	struct fixture *f = *state;
	struct http_client waiter;
	struct answer answer;
	char cursor[64], target[256];
	_cleanup_(buf_release) struct buf request = BUF_INIT;

	until_subscribers(f, 0);
	answer = poll_news(&f->bobs, NULL, 0);
	assert_int_equal(items_of(&answer, cursor), 1);
	answer_release(&answer);
	/* Nothing comes: after its time, not before. */
	answer = poll_news(&f->bobs, cursor, 50);
	assert_int_equal(items_of(&answer, cursor), 0);
	answer_release(&answer);
	/* A client that goes takes its waiter with it: with a word or without. */
	(void)snprintf(target, sizeof target, "/v1/events?wait_ms=55000&since=%s", cursor);
	buf_printf(&request,
		"GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", target,
		f->bobs.token);
	api_node_connect(&f->node, "http/1.1", &waiter);
	http_client_send(&waiter, buf_bytes(&request));
	until_subscribers(f, 1);
	http_client_release(&waiter);
	until_subscribers(f, 0);
	/* Something comes. */
	api_node_connect(&f->node, "http/1.1", &waiter);
	http_client_send(&waiter, buf_bytes(&request));
	until_subscribers(f, 1);
	commit(&f->bob, &f->bobs);
	answer = http_client_receive(&waiter, false);
	assert_int_equal(items_of(&answer, cursor), 1);
	expect_item(&answer, 0, "vault", f->bob.vault_id);
	answer_release(&answer);
	until_subscribers(f, 0);
	http_client_release(&waiter);
	answer_expect(poll_news(&f->bobs, cursor, 55001), 400, "invalid");
	answer_expect(poll_news(&f->bobs, "nonsense", 0), 400, "invalid");
	answer_expect(poll_news(&f->bobs, "00000000000000000000000000000001:5", 0), 410,
		"lineage-changed");
}

static void test_user_limit(void **state)
{
	struct fixture *f = *state;
	struct http_client ws[EVENT_USER_MAX];
	char cursor[64];

	until_subscribers(f, 0);
	for (unsigned i = 0; i < EVENT_USER_MAX; i++) {
		open_socket(f, &f->client, NULL, &ws[i]);
		expect_event(ws_receive_json(&ws[i]), "resync", NULL, cursor);
	}
	answer_expect(poll_news(&f->client, NULL, 0), 429, "rate-limited");
	answer_expect(poll_news(&f->bobs, NULL, 0), 200, NULL);
	for (unsigned i = 0; i < EVENT_USER_MAX; i++) {
		http_client_release(&ws[i]);
	}
	until_subscribers(f, 0);
}

static void test_frames(void **state)
{
	struct fixture *f = *state;
	static const uint8_t big[WEBSOCKET_TEXT_BYTES_MAX + 1];
	static const uint8_t no_text[] = {0xc3, 0x28};
	const struct {
		unsigned first;
		bool masked;
		struct bytes payload;
		unsigned code;
	} bad[] = {
		{0x80 | WS_TEXT, false, bytes_str("x"), 1002},
		{0x80 | WS_BINARY, true, bytes_str("x"), 1003},
		{0x80 | WS_TEXT, true, bytes_of(big, sizeof big), 1009},
		{0x80 | WS_TEXT, true, bytes_of(no_text, sizeof no_text), 1007},
		{0xc0 | WS_TEXT, true, bytes_str("x"), 1002},
		{0x80 | WS_CONTINUATION, true, bytes_str("x"), 1002},
		{WS_PING, true, bytes_str("x"), 1005}, /* A control frame in pieces. */
		{0x80 | 11, true, bytes_str("x"), 1002},
	};
	struct ws_frame frame;
	struct http_client ws;
	char cursor[64];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		unsigned code;

		open_socket(f, &f->client, NULL, &ws);
		expect_event(ws_receive_json(&ws), "resync", NULL, cursor);
		ws_send(&ws, bad[i].first, bad[i].masked, bad[i].payload);
		code = ws_receive_close(&ws);
		if (code != bad[i].code) {
			fail_msg("frame %zu: closed with %u, not %u", i, code, bad[i].code);
		}
		assert_true(http_client_closed(&ws));
		http_client_release(&ws);
	}
	/* What is allowed: a ping, a text, one in pieces; then the client closes. */
	open_socket(f, &f->client, NULL, &ws);
	expect_event(ws_receive_json(&ws), "resync", NULL, cursor);
	ws_send(&ws, 0x80 | WS_TEXT, true, bytes_str("{}"));
	ws_send(&ws, WS_TEXT, true, bytes_str("{"));
	ws_send(&ws, 0x80 | WS_PING, true, bytes_str("here"));
	ws_send(&ws, 0x80 | WS_CONTINUATION, true, bytes_str("}"));
	frame = ws_receive(&ws);
	assert_int_equal(frame.opcode, WS_PONG);
	assert_true(bytes_is(buf_bytes(&frame.payload), "here"));
	buf_release(&frame.payload);
	ws_send(&ws, 0x80 | WS_CLOSE, true, bytes_of("\x03\xe8", 2));
	assert_int_equal(ws_receive_close(&ws), 1000);
	assert_true(http_client_closed(&ws));
	http_client_release(&ws);
	/* Too many. */
	open_socket(f, &f->client, NULL, &ws);
	for (unsigned i = 0; i < 3 * WEBSOCKET_FRAMES_BURST; i++) {
		ws_send(&ws, 0x80 | WS_PING, true, bytes_of(NULL, 0));
	}
	assert_int_equal(ws_receive_close(&ws), 1008);
	http_client_release(&ws);
	until_subscribers(f, 0);
}

/* A conversation of the two, as its statements would have made it. */
static void make_conversation(struct fixture *f, const uint8_t id[16])
{
	const struct person *members[] = {&f->ann, &f->bob};
	struct object_row object = {.kind = MEMBER_OBJECT_CONVERSATION,
		.state = OBJECT_ACTIVE,
		.members_rev = 1,
		.epoch = 1};
	struct txn *txn;
	struct err e;

	(void)pthread_mutex_lock(&f->node.lock);
	txn = txn_new(f->node.machine.kv, fsm_position(f->node.machine.fsm));
	txn_entry_resume(txn, 1 << 20);
	txn_command_begin(txn);
	memcpy(object.object_id, id, 16);
	memcpy(object.founder, f->ann.user_id, 16);
	object_store_put(txn, &object);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		struct member_row row = {
			.kind = MEMBER_USER, .state = MEMBER_ACCEPTED, .role = MEMBER_WRITE};

		memcpy(row.object_id, id, 16);
		memcpy(row.member_id, members[i]->user_id, 16);
		member_store_put(txn, MEMBER_OBJECT_CONVERSATION, &row);
	}
	assert_int_equal(txn_command_commit(txn, &e), 0);
	assert_int_equal(txn_store(txn, &e), 0);
	txn_free(txn);
	(void)pthread_mutex_unlock(&f->node.lock);
}

static struct answer post_signal(
	struct http_client *client, const uint8_t conversation_id[16], struct bytes data)
{
	char hex[33], path[96];

	hex_encode(bytes_of(conversation_id, 16), hex);
	(void)snprintf(path, sizeof path, "/v1/calls/%s/signal", hex);
	return http_client_call(
		client, "POST", path, "Content-Type: application/octet-stream\r\n", data);
}

static void expect_signal(
	json_t *event, const uint8_t id[16], const struct person *from, const char *data)
{
	char cursor[64], hex[33];

	hex_encode(bytes_of(from->user_id, 16), hex);
	assert_string_equal(json_string_value(json_object_get(event, "user")), hex);
	hex_encode(bytes_of(from->device_id, 16), hex);
	assert_string_equal(json_string_value(json_object_get(event, "device")), hex);
	assert_string_equal(json_string_value(json_object_get(event, "data")), data);
	expect_event(event, "call", id, cursor);
}

static void relayed(struct fixture *f, struct bytes message)
{
	(void)pthread_mutex_lock(&f->node.lock);
	f->node.watch->relayed_cb(f->node.watch, message);
	(void)pthread_mutex_unlock(&f->node.lock);
}

static void test_signals(void **state)
{
	static const uint8_t id[16] = "a conversation", other[16] = "no conversation",
			     large[CALL_SIGNAL_BYTES_MAX + 1] = {1};
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf message = BUF_INIT;
	struct call_signal *signal;
	struct http_client ws, own;
	char cursor[64];
	unsigned refused = 0;

	make_conversation(f, id);
	open_socket(f, &f->bobs, NULL, &ws);
	expect_event(ws_receive_json(&ws), "resync", NULL, cursor);
	open_socket(f, &f->client, NULL, &own);
	expect_event(ws_receive_json(&own), "resync", NULL, cursor);
	/* Hers is told to him, and to the other nodes; not to her own device. */
	answer_expect(post_signal(&f->client, id, bytes_str("offer")), 202, NULL);
	expect_signal(ws_receive_json(&ws), id, &f->ann, "b2ZmZXI");
	answer_expect(post_signal(&f->bobs, id, bytes_str("answer")), 202, NULL);
	expect_signal(ws_receive_json(&own), id, &f->bob, "YW5zd2Vy");
	(void)pthread_mutex_lock(&f->node.lock);
	assert_int_equal(call_signal_decode(buf_bytes(&f->node.relayed), &signal, NULL), 0);
	buf_append_bytes(&message, buf_bytes(&f->node.relayed));
	(void)pthread_mutex_unlock(&f->node.lock);
	assert_memory_equal(signal->conversation_id, id, 16);
	assert_memory_equal(signal->user_id, f->bob.user_id, 16);
	assert_true(bytes_is(bytes_of(signal->data, signal->bytes), "answer"));
	call_signal_unref(signal);
	/* One that another node passes on; what is none, or of a later version, is nothing. */
	for (size_t n = 0; n < message.len; n++) {
		assert_int_not_equal(
			call_signal_decode(bytes_of(message.data, n), &signal, NULL), 0);
	}
	relayed(f, bytes_of(message.data, message.len - 1));
	message.data[1] = 2;
	relayed(f, buf_bytes(&message));
	message.data[1] = 1;
	relayed(f, buf_bytes(&message));
	expect_signal(ws_receive_json(&own), id, &f->bob, "YW5zd2Vy");
	answer_expect(post_signal(&f->client, other, bytes_str("x")), 404, "not-found");
	answer_expect(post_signal(&f->client, f->bob.vault_id, bytes_str("x")), 404, "not-found");
	answer_expect(post_signal(&f->client, id, bytes_of(NULL, 0)), 400, "invalid");
	answer_expect(
		post_signal(&f->client, id, bytes_of(large, CALL_SIGNAL_BYTES_MAX)), 202, NULL);
	json_decref(ws_receive_json(&ws));
	for (unsigned i = 0; i < 2 * CALL_SIGNALS_BURST && refused == 0; i++) {
		struct answer answer = post_signal(&f->client, id, bytes_str("x"));

		refused += answer.status == 429 ? 1 : 0;
		assert_true(answer.status == 202 || answer.status == 429);
		answer_release(&answer);
	}
	assert_int_equal(refused, 1);
	http_client_release(&ws);
	http_client_release(&own);
}

static void test_turn(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf wanted = BUF_INIT;
	struct answer answer =
		http_client_call(&f->client, "GET", "/v1/calls/ice", "", bytes_of(NULL, 0));
	uint64_t now_s = clock_wall_ms(&clock_system) / 1000;
	uint8_t mac[HASH_SHA1_BYTES];
	unsigned long long end_s;
	char name[32];
	json_t *uris;

	assert_int_equal(answer.status, 200);
	uris = json_object_get(answer.json, "uris");
	assert_int_equal(json_array_size(uris), 2);
	assert_string_equal(json_string_value(json_array_get(uris, 1)), "turns:a.example:5349");
	assert_int_equal(answer_number(&answer, "ttl_s"), TURN_TTL_S_DEFAULT);
	assert_int_equal(sscanf(answer_text(&answer, "username"), "%llu:%31s", &end_s, name), 2);
	assert_true(
		end_s >= now_s + TURN_TTL_S_DEFAULT - 60 && end_s <= now_s + TURN_TTL_S_DEFAULT);
	assert_int_equal(strlen(name), 16);
	hash_hmac_sha1(bytes_str(turn_secret), bytes_str(answer_text(&answer, "username")), mac);
	base64_plain_append(&wanted, bytes_of(mac, sizeof mac));
	assert_string_equal(answer_text(&answer, "credential"), buf_str(&wanted));
	answer_release(&answer);
	/* Another user has another name. */
	answer = http_client_call(&f->bobs, "GET", "/v1/calls/ice", "", bytes_of(NULL, 0));
	assert_null(strstr(answer_text(&answer, "username"), name));
	answer_release(&answer);
}

/* A node that hears of no leader knows nothing new: its clients are to ask another one. */
static void test_cut_off(void **state)
{
	struct fixture *f = *state;
	struct http_client ws;
	char cursor[64];

	open_socket(f, &f->client, NULL, &ws);
	expect_event(ws_receive_json(&ws), "resync", NULL, cursor);
	(void)pthread_mutex_lock(&f->node.lock);
	f->node.heard_ago_ms = 2ULL * API_STALE_MS_DEFAULT;
	(void)pthread_mutex_unlock(&f->node.lock);
	assert_int_equal(ws_receive_close(&ws), 1013);
	answer_expect(poll_news(&f->client, cursor, 0), 503, "behind");
	http_client_release(&ws);
	(void)pthread_mutex_lock(&f->node.lock);
	f->node.heard_ago_ms = 0;
	(void)pthread_mutex_unlock(&f->node.lock);
}

static void test_stop(void **state)
{
	struct fixture *f = *state;
	struct http_client ws;
	char cursor[64];

	open_socket(f, &f->bobs, NULL, &ws);
	expect_event(ws_receive_json(&ws), "resync", NULL, cursor);
	api_node_stop(&f->node);
	f->node.api = NULL;
	assert_int_equal(ws_receive_close(&ws), 1001);
	http_client_release(&ws);
}

int main(void)
{
	/* One node for all: the last two end a session, and the node. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tickets),
		cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_live_and_missed),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_user_limit),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_turn),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_too_late),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

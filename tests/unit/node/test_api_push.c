/* Subscriptions and notifications through the whole API, to a push service over TLS. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "crypto/hpke.h"
#include "crypto/notify.h"
#include "node/push_service.h"
#include "node/sealed.h"
#include "storage/push_store.h"
#include "tests/lib/api/node.h"
#include "tests/lib/api/push_receiver.h"
#include "tests/lib/webpush_open.h"

enum { TEXT_BYTES = 4096 };

struct fixture {
	struct api_node node;
	struct person person;
	struct http_client client;
	struct push_receiver *receiver;
	struct push_service *service;
	struct key *agent, *device; /* Of the browser; what notifications are sealed to. */
	char text[TEXT_BYTES];
};

static const uint8_t auth[WEBPUSH_AUTH_BYTES] = {3, 1, 4};
static const struct bytes no_body;

static void prepare(struct fixture *f)
{
	struct push_config config = {.contact = "mailto:ops@example.org",
		.web_hosts = "127.0.0.1",
		.private_addresses = true};
	struct err e = {0};

	api_node_prepare(&f->node);
	config.ca_path = f->node.ca_path;
	config.secrets = &f->node.secrets;
	if (push_service_new(&config, &f->service, &e) != 0) {
		fail_msg("%s", e.text);
	}
	f->node.config.push = f->service;
	f->receiver = push_receiver_new(&f->node.server, true);
}

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	prepare(f);
	api_node_run(&f->node);
	person_init(&f->person, "backup-app");
	api_node_connect(&f->node, "http/1.1", &f->client);
	api_node_join(&f->node, &f->person, &f->client);
	api_node_vault(&f->node, &f->person, &f->client);
	*state = f;
	return hpke_generate_key(KEY_KEM_P256, &random_system, &f->agent, NULL) ||
	       hpke_generate_key(KEY_KEM_X25519, &random_system, &f->device, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_client_release(&f->client);
	person_release(&f->person);
	api_node_stop(&f->node);
	push_receiver_free(f->receiver);
	push_service_free(f->service);
	key_free(f->agent);
	key_free(f->device);
	free(f);
	return 0;
}

/* Each under a key of its own. */
static struct answer post(struct fixture *f, const char *target, const char *body)
{
	static unsigned posts;
	char field[48];

	(void)snprintf(field, sizeof field, "Idempotency-Key: post-%u\r\n", ++posts);
	return http_client_json(&f->client, "POST", target, field, body);
}

static void expect_post(
	struct fixture *f, const char *target, const char *body, int status, const char *code)
{
	answer_expect(post(f, target, body), status, code);
}

static const char *subscription(struct fixture *f, const char *origin)
{
	char key[BASE64_LEN(WEBPUSH_PUBLIC_BYTES) + 1], secret[BASE64_LEN(WEBPUSH_AUTH_BYTES) + 1];

	base64_encode(key_pub_bytes(key_public(f->agent)), key);
	base64_encode(bytes_of(auth, sizeof auth), secret);
	(void)snprintf(f->text, sizeof f->text,
		"{\"kind\":\"web\",\"endpoint\":\"%s/wp/1\",\"p256dh\":\"%s\",\"auth\":\"%s\"}",
		origin, key, secret);
	return f->text;
}

/* Of the receiver; its id, on the heap. */
static char *subscribe(struct fixture *f)
{
	_cleanup_(x_freep) char *origin =
		x_asprintf("https://127.0.0.1:%u", push_receiver_port(f->receiver));
	struct answer answer = post(f, "/v1/push", subscription(f, origin));
	char *id;

	if (answer.status != 201) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	assert_true(answer_number(&answer, "created") > 0);
	id = x_strdup(answer_text(&answer, "id"));
	answer_release(&answer);
	return id;
}

static size_t subscribed(struct fixture *f)
{
	struct answer answer = http_client_call(&f->client, "GET", "/v1/push", "", no_body);
	size_t n;

	assert_int_equal(answer.status, 200);
	n = json_array_size(json_object_get(answer.json, "items"));
	/* What is sealed stays with the node. */
	assert_null(strstr(buf_str(&answer.body), "127.0.0.1"));
	answer_release(&answer);
	return n;
}

static const char *notification(struct fixture *f, const uint8_t object_id[16],
	const uint8_t user_id[16], const uint8_t device_id[16])
{
	_cleanup_(buf_release) struct buf payload = BUF_INIT, text = BUF_INIT;

	assert_int_equal(notify_seal(device_id, key_public(f->device), 5, bytes_str("look"),
				 &random_system, &payload, NULL),
		0);
	buf_printf(&text, "{\"object\":\"");
	hex_append(&text, bytes_of(object_id, 16));
	buf_printf(&text, "\",\"items\":[{\"user\":\"");
	hex_append(&text, bytes_of(user_id, 16));
	buf_printf(&text, "\",\"device\":\"");
	hex_append(&text, bytes_of(device_id, 16));
	buf_printf(&text, "\",\"payload\":\"");
	base64_append(&text, buf_bytes(&payload));
	buf_printf(&text, "\"}]}");
	(void)snprintf(f->text, sizeof f->text, "%s", buf_str(&text));
	return f->text;
}

static void notify_oneself(struct fixture *f)
{
	const struct person *p = &f->person;

	expect_post(f, "/v1/push/send", notification(f, p->vault_id, p->user_id, p->device_id), 202,
		NULL);
}

static void test_notified(void **state)
{
	struct fixture *f = *state;
	_cleanup_(push_received_release) struct push_received r = {.h2 = false};
	_cleanup_(buf_release) struct buf record = BUF_INIT;
	_cleanup_(secret_release) struct secret content = SECRET_INIT;
	_cleanup_(x_freep) char *id = subscribe(f);
	struct notify n;
	size_t len;

	notify_oneself(f);
	push_receiver_take(f->receiver, &r);
	assert_string_equal(buf_str(&r.path), "/wp/1");
	webpush_open(f->agent, auth, buf_bytes(&r.body), &record);
	/* Delimiter and padding go, as in a browser; inside is what the sender sealed. */
	for (len = record.len; record.data[len - 1] == 0;) {
		len--;
	}
	assert_int_equal(record.data[len - 1], 2);
	assert_int_equal(notify_parse(bytes_of(record.data, len - 1), &n, NULL), 0);
	assert_int_equal(notify_open(&n, f->person.device_id, f->device, &content, NULL), 0);
	assert_true(bytes_equal(secret_bytes(&content), bytes_str("look")));
	assert_int_equal(subscribed(f), 1);
}

static void test_gone(void **state)
{
	struct fixture *f = *state;
	_cleanup_(x_freep) char *id = subscribe(f), *other = subscribe(f);
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + 60000;

	assert_int_equal(subscribed(f), 2);
	/* One of the two is known no more. */
	push_receiver_answer(f->receiver, 410, NULL, NULL);
	notify_oneself(f);
	while (subscribed(f) != 1) {
		assert_true(clock_monotonic_ms(&clock_system) < deadline_ms);
		(void)usleep(1000);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct push_received r;

		push_receiver_take(f->receiver, &r);
		push_received_release(&r);
	}
}

/* No row's key or value has these bytes. */
static void expect_nowhere(const struct kv_view *view, struct bytes what)
{
	struct kv_iter *iter = kv_iter_new(view, no_body, no_body);

	while (kv_iter_next(iter)) {
		struct bytes key = kv_iter_key(iter), value = kv_iter_value(iter);

		assert_null(memmem(key.data, key.len, what.data, what.len));
		assert_null(memmem(value.data, value.len, what.data, what.len));
	}
	assert_int_equal(kv_iter_status(iter, NULL), 0);
	kv_iter_free(iter);
}

/* Whoever has a store, or a snapshot of it, and no pepper learns where nobody is notified. */
static void test_sealed(void **state)
{
	struct fixture *f = *state;
	_cleanup_(x_freep) char *id = subscribe(f);
	_cleanup_(x_freep) struct push_row *rows = x_calloc(PUSH_PER_USER_MAX, sizeof *rows);
	_cleanup_(secret_release) struct secret plain = SECRET_INIT;
	struct kv_view *view;
	struct push_target target;
	struct sealed_place place = {.user_id = f->person.user_id, .field = "push"};
	size_t n = 0;

	(void)pthread_mutex_lock(&f->node.lock);
	view = kv_view_new(f->node.machine.kv);
	(void)pthread_mutex_unlock(&f->node.lock);
	assert_int_equal(push_store_list(view, f->person.user_id, rows, &n, NULL), 0);
	expect_nowhere(view, bytes_str("/wp/1"));
	expect_nowhere(view, key_pub_bytes(key_public(f->agent)));
	expect_nowhere(view, bytes_of(auth, sizeof auth));
	kv_view_free(view);
	/* And all of that is in it, under the subscription's id and not the device's. */
	assert_int_equal(n, 1);
	place.id = rows->device_id;
	assert_int_not_equal(sealed_open(&f->node.secrets, &place, rows->pepper_id,
				     bytes_of(rows->sealed, rows->sealed_bytes), &plain, NULL),
		0);
	place.id = rows->push_id;
	assert_int_equal(sealed_open(&f->node.secrets, &place, rows->pepper_id,
				 bytes_of(rows->sealed, rows->sealed_bytes), &plain, NULL),
		0);
	assert_int_equal(push_target_decode(secret_bytes(&plain), &target, NULL), 0);
	assert_non_null(strstr(target.text, "/wp/1"));
	assert_memory_equal(target.auth, auth, sizeof auth);
	secret_clear(&target, sizeof target);
}

/* A retry of a lost answer subscribes nobody twice. */
static void test_once(void **state)
{
	struct fixture *f = *state;
	static const char *const key = "Idempotency-Key: the-same\r\n";
	_cleanup_(x_freep) char *origin =
		x_asprintf("https://127.0.0.1:%u", push_receiver_port(f->receiver));
	struct answer first =
		http_client_json(&f->client, "POST", "/v1/push", key, subscription(f, origin));
	struct answer again =
		http_client_json(&f->client, "POST", "/v1/push", key, subscription(f, origin));

	assert_int_equal(first.status, 201);
	assert_int_equal(again.status, 201);
	assert_string_equal(answer_text(&first, "id"), answer_text(&again, "id"));
	answer_release(&first);
	answer_release(&again);
	assert_int_equal(subscribed(f), 1);
	answer_expect(http_client_json(&f->client, "POST", "/v1/push", key,
			      subscription(f, "https://127.0.0.1:1")),
		422, "invalid");
	answer_expect(http_client_json(&f->client, "POST", "/v1/push", "", subscription(f, origin)),
		428, "precondition-required");
}

/* Signs in as a second device of the same account. */
static void another_device(struct fixture *f)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT;
	_cleanup_(key_freep) struct key *device = NULL;
	struct command command = {.type = COMMAND_IDENTITY_APPEND};
	struct person other = f->person;
	struct identity identity;

	identity_init(&identity);
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &device, NULL), 0);
	other.device = device;
	other.device_id[0] ^= 1;
	identity_body_device(
		&body, other.device_id, key_public(device), key_public(other.transfer), "another");
	assert_int_equal(identity_append(&identity, buf_bytes(&other.genesis), NULL), 0);
	assert_int_equal(identity_append(&identity, buf_bytes(&other.device_statement), NULL), 0);
	assert_int_equal(identity_make(&identity, IDENTITY_DEVICE_ADD, buf_bytes(&body),
				 other.signing, 3000, &statement, NULL),
		0);
	identity_release(&identity);
	hash_sha256(bytes_str(f->client.token), command.identity_append.session.token_hash);
	command.identity_append.statement = buf_bytes(&statement);
	(void)pthread_mutex_lock(&f->node.lock);
	assert_int_equal(fixture_machine_do(&f->node.machine, &command), 0);
	(void)pthread_mutex_unlock(&f->node.lock);
	api_node_sign_in(&f->node, &other, &f->client);
}

/* Two devices that use one key are not answered for each other, whatever each of them says. */
static void test_once_each(void **state)
{
	struct fixture *f = *state;
	static const char *const key = "Idempotency-Key: the-same\r\n";
	_cleanup_(x_freep) char *origin =
		x_asprintf("https://127.0.0.1:%u", push_receiver_port(f->receiver));
	struct answer first =
		http_client_json(&f->client, "POST", "/v1/push", key, subscription(f, origin));
	struct answer other;

	another_device(f);
	other = http_client_json(&f->client, "POST", "/v1/push", key, subscription(f, origin));
	assert_int_equal(first.status, 201);
	assert_int_equal(other.status, 201);
	assert_string_not_equal(answer_text(&first, "id"), answer_text(&other, "id"));
	answer_release(&first);
	answer_release(&other);
	assert_int_equal(subscribed(f), 2);
}

static void test_deleted(void **state)
{
	struct fixture *f = *state;
	_cleanup_(x_freep) char *id = subscribe(f);
	_cleanup_(x_freep) char *target = x_asprintf("/v1/push/%s", id);

	answer_expect(http_client_call(&f->client, "DELETE", target, "", no_body), 204, NULL);
	answer_expect(
		http_client_call(&f->client, "DELETE", target, "", no_body), 404, "not-found");
	assert_int_equal(subscribed(f), 0);
	notify_oneself(f);
	assert_int_equal(push_receiver_count(f->receiver), 0);
}

/* Who is no member, of what is none, to whom is none. */
static void test_strangers(void **state)
{
	static const uint8_t nobody[16] = {1}, no_device[16] = {2};
	struct fixture *f = *state;
	const struct person *p = &f->person;
	_cleanup_(x_freep) char *id = subscribe(f);

	expect_post(f, "/v1/push/send", notification(f, nobody, p->user_id, p->device_id), 404,
		"not-found");
	expect_post(f, "/v1/push/send", notification(f, p->vault_id, nobody, p->device_id), 403,
		"forbidden");
	/* A device that is not hers: nothing is told. */
	expect_post(
		f, "/v1/push/send", notification(f, p->vault_id, p->user_id, no_device), 202, NULL);
	assert_int_equal(push_receiver_count(f->receiver), 0);
}

static void test_malformed(void **state)
{
	static const char *const bad[] = {"{}", "{\"kind\":\"web\"}",
		"{\"kind\":\"mail\",\"token\":\"x\"}", "{\"kind\":\"fcm\",\"token\":\"\"}",
		"{\"kind\":\"apns\",\"token\":\"zz\"}",
		"{\"kind\":\"fcm\",\"token\":\"x\",\"auth\":\"AAAA\"}"};
	struct fixture *f = *state;
	char *payload;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		expect_post(f, "/v1/push", bad[i], 400, "invalid");
	}
	expect_post(f, "/v1/push", "{\"kind\":\"fcm\",\"token\":\"x\"}", 400, "unsupported-suite");
	expect_post(f, "/v1/push", subscription(f, "http://127.0.0.1"), 400, "invalid");
	expect_post(f, "/v1/push", subscription(f, "https://evil.example"), 403, "forbidden");
	expect_post(f, "/v1/push/send", "{\"object\":\"00000000000000000000000000000000\"}", 400,
		"invalid");
	(void)notification(f, f->person.vault_id, f->person.user_id, f->person.device_id);
	payload = strstr(f->text, "\"payload\":\"") + 11;
	payload[0] ^= 1; /* No KNP1. */
	expect_post(f, "/v1/push/send", f->text, 400, "invalid");
	assert_int_equal(subscribed(f), 0);
}

static void test_services(void **state)
{
	struct fixture *f = *state;
	struct answer answer =
		http_client_call(&f->client, "GET", "/v1/push/services", "", no_body);
	char key[BASE64_LEN(WEBPUSH_PUBLIC_BYTES) + 1];

	assert_int_equal(answer.status, 200);
	base64_encode(push_service_vapid(f->service), key);
	assert_string_equal(answer_text(&answer, "web"), key);
	assert_true(json_is_false(json_object_get(answer.json, "fcm")));
	assert_true(json_is_false(json_object_get(answer.json, "apns")));
	answer_release(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_notified, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sealed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_once_each, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deleted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_services, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

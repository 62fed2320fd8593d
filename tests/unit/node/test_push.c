/* Notifications from the queue to push services over real TLS: what they are sent, what becomes of
 * their answers, and what nobody may make a node do. */
#include "tests/lib/test.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "crypto/hpke.h"
#include "crypto/jwt.h"
#include "crypto/notify.h"
#include "crypto/pem.h"
#include "crypto/sign.h"
#include "node/push.h"
#include "tests/lib/api/push_receiver.h"
#include "tests/lib/certs.h"
#include "tests/lib/webpush_open.h"

static struct pki_identity ca, server;
static struct secrets secrets;
static char *dir, *ca_path, *account_path, *apns_path;
static struct key *agent, *apns_key;
static struct buf account_pem;

static const uint8_t auth[WEBPUSH_AUTH_BYTES] = {9, 8, 7};
static const uint8_t payload_bytes[300] = "KNP1 as its sender sealed it";

static struct bytes payload(void)
{
	return bytes_of(payload_bytes, sizeof payload_bytes);
}

static char *write_file(const char *name, struct bytes content)
{
	char *path = x_asprintf("%s/%s", dir, name);

	(void)unlink(path);
	assert_int_equal(file_create(path, content, 0600, NULL), 0);
	return path;
}

/* --- what is asked of settings -----------------------------------------------------------------
 */

/* A fresh RSA key as PKCS#8 PEM. */
static void make_rsa(struct buf *ret_pem)
{
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(secret_release) struct secret der = SECRET_INIT;
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	assert_int_equal(key_generate(KEY_RSA_PSS, 2048, &key, NULL), 0);
	key_encode(key, &der);
	buf_printf(ret_pem, "-----BEGIN PRIVATE KEY-----\n");
	for (size_t i = 0; i < der.len; i += 48) {
		size_t end = i + 48 < der.len ? i + 48 : der.len;

		for (size_t j = i; j < end; j += 3) {
			uint32_t v = (uint32_t)der.data[j] << 16;

			v |= j + 1 < end ? (uint32_t)der.data[j + 1] << 8 : 0;
			v |= j + 2 < end ? der.data[j + 2] : 0;
			buf_printf(ret_pem, "%c%c%c%c", letters[v >> 18], letters[v >> 12 & 63],
				j + 1 < end ? letters[v >> 6 & 63] : '=',
				j + 2 < end ? letters[v & 63] : '=');
		}
		buf_printf(ret_pem, "\n");
	}
	buf_printf(ret_pem, "-----END PRIVATE KEY-----\n");
}

static void write_account(unsigned tokens_port)
{
	_cleanup_(x_freep) char *uri = x_asprintf("https://127.0.0.1:%u/token", tokens_port);
	json_t *account;
	char *text;

	if (account_pem.len == 0) {
		make_rsa(&account_pem);
	}
	account = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", "service_account",
		"project_id", "kluis-test", "private_key_id", "abc123", "private_key",
		buf_str(&account_pem), "client_email", "push@kluis-test.example", "token_uri", uri);
	text = json_dumps(account, 0);
	free(account_path);
	account_path = write_file("account.json", bytes_str(text));
	free(text);
	json_decref(account);
}

static int setup(void **state)
{
	_cleanup_(buf_release) struct buf pem = BUF_INIT;
	int rc;

	(void)state;
	dir = scratch_new("push");
	certs_ca(&ca);
	certs_server(&ca, &server);
	ca_path = write_file("ca.pem", buf_bytes(&ca.cert_pem));
	secrets_make(certs_cluster, &random_system, &secrets);
	rc = hpke_generate_key(KEY_KEM_P256, &random_system, &agent, NULL);
	rc = rc != 0 ? rc : key_generate(KEY_ECDSA_P256, 0, &apns_key, NULL);
	rc = rc != 0 ? rc : pem_write_private(apns_key, &pem, NULL);
	apns_path = write_file("apns.p8", buf_bytes(&pem));
	return rc;
}

static int teardown(void **state)
{
	(void)state;
	buf_release(&account_pem);
	scratch_free(dir);
	free(ca_path);
	free(account_path);
	free(apns_path);
	key_free(agent);
	key_free(apns_key);
	secrets_release(&secrets);
	pki_identity_release(&ca);
	pki_identity_release(&server);
	return 0;
}

static struct push_config config_of(void)
{
	return (struct push_config){.contact = "mailto:ops@example.org",
		.web_hosts = "push.example 127.0.0.1 localhost",
		.ca_path = ca_path,
		.private_addresses = true,
		.secrets = &secrets};
}

static struct push_service *service_of(const struct push_config *config)
{
	struct push_service *service = NULL;
	struct err e = {0};

	if (push_service_new(config, &service, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return service;
}

static struct push_target web_target(const char *host, unsigned port)
{
	struct push_target target = {.kind = PUSH_WEB};

	(void)snprintf(target.text, sizeof target.text, "https://%s:%u/wp/abc-_?x=1", host, port);
	memcpy(target.public_key, key_pub_bytes(key_public(agent)).data, WEBPUSH_PUBLIC_BYTES);
	memcpy(target.auth, auth, sizeof auth);
	return target;
}

static enum push_outcome send_once(struct push_service *service, const struct push_target *target,
	uint64_t *ret_after_s, int *ret_code)
{
	struct err e = {0};
	enum push_outcome outcome = push_service_send(service, target, payload(), ret_after_s, &e);

	*ret_code = e.code;
	return outcome;
}

/* --- web push ----------------------------------------------------------------------------------
 */

/* The claims of a token signed by pub, which the caller frees. */
static json_t *claims_of(const char *token, const struct key_pub *pub)
{
	_cleanup_(buf_release) struct buf claims = BUF_INIT, signature = BUF_INIT;
	const char *first = strchr(token, '.'),
		   *second = first == NULL ? NULL : strchr(first + 1, '.');
	json_t *object;

	assert_non_null(second);
	assert_int_equal(base64_decode(bytes_str(second + 1), 512, &signature), 0);
	if (pub != NULL) {
		assert_int_equal(sign_verify(pub, bytes_of(token, (size_t)(second - token)),
					 buf_bytes(&signature), NULL),
			0);
	}
	assert_int_equal(
		base64_decode(bytes_of(first + 1, (size_t)(second - first - 1)), 4096, &claims), 0);
	object = json_loadb((const char *)claims.data, claims.len, 0, NULL);
	assert_true(json_is_object(object));
	return object;
}

static const char *claim(const json_t *claims, const char *name)
{
	const char *text = json_string_value(json_object_get(claims, name));

	assert_non_null(text);
	return text;
}

static json_int_t claim_number(const json_t *claims, const char *name)
{
	assert_true(json_is_integer(json_object_get(claims, name)));
	return json_integer_value(json_object_get(claims, name));
}

/* RFC 8292: who asks, for whom, and not for ever; k is the key that browsers were given. */
static void expect_vapid(struct push_received *r, const struct push_service *service, unsigned port)
{
	_cleanup_(x_freep) char *authorization = push_received_field(r, "authorization");
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	_cleanup_(x_freep) char *origin = x_asprintf("https://127.0.0.1:%u", port);
	char *key = strstr(authorization, ", k="),
	     public_text[BASE64_LEN(WEBPUSH_PUBLIC_BYTES) + 1];
	json_int_t now = (json_int_t)(clock_wall_ms(&clock_system) / 1000);
	json_t *claims;

	assert_int_equal(strncmp(authorization, "vapid t=", 8), 0);
	assert_non_null(key);
	*key = 0;
	base64_encode(push_service_vapid(service), public_text);
	assert_string_equal(key + 4, public_text);
	assert_int_equal(
		key_pub_decode(KEY_ECDSA_P256, push_service_vapid(service), &pub, NULL), 0);
	claims = claims_of(authorization + 8, pub);
	assert_string_equal(claim(claims, "aud"), origin);
	assert_string_equal(claim(claims, "sub"), "mailto:ops@example.org");
	assert_true(claim_number(claims, "exp") > now);
	assert_true(claim_number(claims, "exp") <= now + 86400);
	json_decref(claims);
}

static void expect_field(struct push_received *r, const char *name, const char *value)
{
	_cleanup_(x_freep) char *got = push_received_field(r, name);

	assert_string_equal(got, value);
}

static void expect_web_push(bool h2)
{
	_cleanup_(push_received_release) struct push_received r = {.h2 = false};
	_cleanup_(buf_release) struct buf record = BUF_INIT;
	struct push_receiver *receiver = push_receiver_new(&server, h2);
	struct push_config config = config_of();
	struct push_service *service = service_of(&config);
	struct push_target target = web_target("127.0.0.1", push_receiver_port(receiver));
	uint64_t after_s;
	int code;

	assert_int_equal(send_once(service, &target, &after_s, &code), PUSH_SENT);
	push_receiver_take(receiver, &r);
	assert_int_equal(r.h2, h2);
	assert_string_equal(buf_str(&r.path), "/wp/abc-_?x=1");
	expect_field(&r, "ttl", "86400");
	expect_field(&r, "content-encoding", "aes128gcm");
	expect_vapid(&r, service, push_receiver_port(receiver));
	webpush_open(agent, auth, buf_bytes(&r.body), &record);
	/* One length, whatever is inside. */
	assert_int_equal(record.len, PUSH_PADDED_BYTES + 1);
	assert_memory_equal(record.data, payload_bytes, sizeof payload_bytes);
	assert_int_equal(record.data[sizeof payload_bytes], 2);
	push_service_free(service);
	push_receiver_free(receiver);
}

static void test_web_push(void **state)
{
	(void)state;
	expect_web_push(false);
	expect_web_push(true);
}

static void test_web_answers(void **state)
{
	static const struct {
		int status;
		const char *field;
		enum push_outcome outcome;
		uint64_t after_s;
	} rows[] = {{200, NULL, PUSH_SENT, 0}, {204, NULL, PUSH_SENT, 0}, {404, NULL, PUSH_GONE, 0},
		{410, NULL, PUSH_GONE, 0}, {400, NULL, PUSH_LOST, 0}, {403, NULL, PUSH_LOST, 0},
		{413, NULL, PUSH_LOST, 0}, {301, "location: https://127.0.0.1:1/", PUSH_LOST, 0},
		{429, "retry-after: 17", PUSH_RETRY, 17}, {429, NULL, PUSH_RETRY, 0},
		{503, "retry-after: tomorrow", PUSH_RETRY, 0}, {500, NULL, PUSH_RETRY, 0},
		{0, NULL, PUSH_RETRY, 0}};
	struct push_config config = config_of();
	struct push_service *service = service_of(&config);

	(void)state;
	for (unsigned h2 = 0; h2 < 2; h2++) {
		struct push_receiver *receiver = push_receiver_new(&server, h2 == 1);
		struct push_target target = web_target("127.0.0.1", push_receiver_port(receiver));

		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			uint64_t after_s = 99;
			int code;

			push_receiver_answer(receiver, rows[i].status, rows[i].field,
				rows[i].status == 204 ? NULL : "{}");
			assert_int_equal(
				send_once(service, &target, &after_s, &code), rows[i].outcome);
			assert_int_equal(after_s, rows[i].after_s);
		}
		assert_int_equal(push_receiver_count(receiver), ARRAY_SIZE(rows));
		push_receiver_free(receiver);
	}
	push_service_free(service);
}

/* An answer against the rules of HTTP/2 ends at once, not at the deadline. */
static void test_broken_answer(void **state)
{
	struct push_receiver *receiver = push_receiver_new(&server, true);
	struct push_config config = config_of();
	struct push_service *service = service_of(&config);
	struct push_target target = web_target("127.0.0.1", push_receiver_port(receiver));
	uint64_t after_s;
	int code;

	(void)state;
	push_receiver_answer(receiver, 204, NULL, "a body that 204 cannot have");
	assert_int_equal(send_once(service, &target, &after_s, &code), PUSH_RETRY);
	assert_int_equal(code, KLUIS_EPROTO);
	push_service_free(service);
	push_receiver_free(receiver);
}

/* What nobody may make a node do. */
static void test_forbidden(void **state)
{
	struct push_receiver *receiver = push_receiver_new(&server, false);
	struct push_config config = config_of();
	struct push_service *open = service_of(&config), *closed, *others;
	struct push_target target = web_target("127.0.0.1", push_receiver_port(receiver));
	struct pki_identity other_ca = {.cert_pem = BUF_INIT};
	uint64_t after_s;
	int code;

	(void)state;
	/* A name that is allowed and means this machine. */
	config.private_addresses = false;
	closed = service_of(&config);
	(void)snprintf(target.text, sizeof target.text, "https://localhost/x");
	assert_int_equal(push_service_takes(closed, &target, NULL), 0);
	assert_int_equal(send_once(closed, &target, &after_s, &code), PUSH_LOST);
	assert_int_equal(code, KLUIS_EFORBIDDEN);
	/* Another port, another host. */
	target = web_target("localhost", push_receiver_port(receiver));
	assert_int_equal(push_service_takes(closed, &target, NULL), KLUIS_EFORBIDDEN);
	target = web_target("other.example", 443);
	assert_int_equal(push_service_takes(open, &target, NULL), KLUIS_EFORBIDDEN);
	assert_int_equal(send_once(open, &target, &after_s, &code), PUSH_LOST);
	/* A service that is not spoken to. */
	target = (struct push_target){.kind = PUSH_FCM, .text = "token"};
	assert_int_equal(push_service_takes(open, &target, NULL), KLUIS_ESUITE);
	assert_int_equal(push_receiver_count(receiver), 0);
	/* A certificate of another CA. */
	certs_ca(&other_ca);
	free(ca_path);
	ca_path = write_file("ca.pem", buf_bytes(&other_ca.cert_pem));
	config = config_of();
	others = service_of(&config);
	target = web_target("127.0.0.1", push_receiver_port(receiver));
	assert_int_equal(send_once(others, &target, &after_s, &code), PUSH_RETRY);
	assert_int_equal(code, KLUIS_EVERIFY);
	assert_int_equal(push_receiver_count(receiver), 0);
	free(ca_path);
	ca_path = write_file("ca.pem", buf_bytes(&ca.cert_pem));
	pki_identity_release(&other_ca);
	push_service_free(open);
	push_service_free(closed);
	push_service_free(others);
	push_receiver_free(receiver);
}

/* Two nodes of one cluster have one key, and another cluster another one. */
static void test_vapid_key(void **state)
{
	static const uint8_t other_cluster[16] = {1};
	struct push_config config = config_of();
	struct push_service *a = service_of(&config), *b = service_of(&config), *c;
	struct secrets other;

	(void)state;
	assert_true(bytes_equal(push_service_vapid(a), push_service_vapid(b)));
	secrets_make(other_cluster, &random_system, &other);
	config.secrets = &other;
	c = service_of(&config);
	assert_false(bytes_equal(push_service_vapid(a), push_service_vapid(c)));
	push_service_free(a);
	push_service_free(b);
	push_service_free(c);
	secrets_release(&other);
}

/* --- FCM ---------------------------------------------------------------------------------------
 */

static void expect_assertion(struct push_received *r, unsigned port)
{
	static const char form[] =
		"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
	_cleanup_(x_freep) char *audience = x_asprintf("https://127.0.0.1:%u/token", port);
	json_t *claims;

	assert_string_equal(buf_str(&r->path), "/token");
	expect_field(r, "content-type", "application/x-www-form-urlencoded");
	assert_int_equal(strncmp(buf_str(&r->body), form, sizeof form - 1), 0);
	/* RS256 is held against OpenSSL in the tests of crypto/jwt. */
	claims = claims_of(buf_str(&r->body) + sizeof form - 1, NULL);
	assert_string_equal(claim(claims, "iss"), "push@kluis-test.example");
	assert_string_equal(claim(claims, "aud"), audience);
	assert_string_equal(
		claim(claims, "scope"), "https://www.googleapis.com/auth/firebase.messaging");
	assert_int_equal(claim_number(claims, "exp"), claim_number(claims, "iat") + 3600);
	json_decref(claims);
}

static void expect_fcm_message(struct push_received *r, const char *bearer)
{
	char text[BASE64_LEN(sizeof payload_bytes) + 1];
	json_t *body = json_loadb((const char *)r->body.data, r->body.len, 0, NULL);
	const char *token, *data;

	base64_encode(payload(), text);
	assert_int_equal(json_unpack(body, "{s:{s:s, s:{s:s}}}", "message", "token", &token, "data",
				 "kluis", &data),
		0);
	assert_string_equal(token, "registration-token");
	assert_string_equal(data, text);
	assert_string_equal(buf_str(&r->path), "/v1/projects/kluis-test/messages:send");
	expect_field(r, "authorization", bearer);
	json_decref(body);
}

static void test_fcm(void **state)
{
	static const char gone[] = "{\"error\":{\"code\":404,\"details\":[{\"errorCode\":"
				   "\"UNREGISTERED\"}]}}";
	static const char first[] = "{\"access_token\":\"first\",\"expires_in\":3599}";
	static const char second[] = "{\"access_token\":\"second\",\"expires_in\":3599}";
	struct push_receiver *api = push_receiver_new(&server, true);
	struct push_receiver *tokens = push_receiver_new(&server, false);
	_cleanup_(x_freep) char *url = x_asprintf("https://127.0.0.1:%u", push_receiver_port(api));
	struct push_target target = {.kind = PUSH_FCM, .text = "registration-token"};
	struct push_config config = config_of();
	struct push_service *service;
	struct push_received r;
	uint64_t after_s;
	int code;

	(void)state;
	write_account(push_receiver_port(tokens));
	config.contact = NULL;
	config.fcm_account_path = account_path;
	config.fcm_url = url;
	service = service_of(&config);
	assert_false(push_service_speaks(service, PUSH_WEB));
	push_receiver_answer(tokens, 200, NULL, first);
	push_receiver_answer(tokens, 200, NULL, second);
	push_receiver_answer(api, 200, NULL, "{}");
	push_receiver_answer(api, 200, NULL, "{}");
	push_receiver_answer(api, 401, NULL, "{}");
	push_receiver_answer(api, 404, NULL, gone);
	push_receiver_answer(api, 404, NULL, "{\"error\":\"no such project\"}");
	/* One token for two messages; a refused one is not used again. */
	assert_int_equal(send_once(service, &target, &after_s, &code), PUSH_SENT);
	assert_int_equal(send_once(service, &target, &after_s, &code), PUSH_SENT);
	assert_int_equal(push_receiver_count(tokens), 1);
	assert_int_equal(send_once(service, &target, &after_s, &code), PUSH_RETRY);
	assert_int_equal(send_once(service, &target, &after_s, &code), PUSH_GONE);
	assert_int_equal(push_receiver_count(tokens), 2);
	/* What may be a wrong setting costs nobody a subscription. */
	assert_int_equal(send_once(service, &target, &after_s, &code), PUSH_LOST);
	push_receiver_take(tokens, &r);
	expect_assertion(&r, push_receiver_port(tokens));
	push_received_release(&r);
	for (unsigned i = 0; i < 4; i++) {
		push_receiver_take(api, &r);
		expect_fcm_message(&r, i < 3 ? "bearer first" : "bearer second");
		push_received_release(&r);
	}
	push_service_free(service);
	push_receiver_free(api);
	push_receiver_free(tokens);
}

static void test_fcm_without_token(void **state)
{
	static const char *const bodies[] = {"", "nonsense", "{}", "{\"access_token\":\"\"}",
		"{\"access_token\":7}", "{\"access_token\":\"a\\nb\",\"expires_in\":9}"};
	struct push_receiver *tokens = push_receiver_new(&server, true);
	struct push_target target = {.kind = PUSH_FCM, .text = "registration-token"};
	struct push_config config = config_of();
	struct push_service *service;
	uint64_t after_s;
	int code;

	(void)state;
	write_account(push_receiver_port(tokens));
	config.fcm_account_path = account_path;
	config.fcm_url = "https://127.0.0.1:1";
	service = service_of(&config);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		push_receiver_answer(tokens, 200, NULL, bodies[i]);
		assert_int_equal(send_once(service, &target, &after_s, &code), PUSH_RETRY);
		assert_int_equal(code, KLUIS_EPROTO);
	}
	push_receiver_answer(tokens, 400, NULL, "{\"access_token\":\"x\",\"expires_in\":9}");
	assert_int_equal(send_once(service, &target, &after_s, &code), PUSH_RETRY);
	push_service_free(service);
	push_receiver_free(tokens);
}

/* --- APNs --------------------------------------------------------------------------------------
 */

static void expect_apns_message(struct push_received *r, const struct push_target *target)
{
	_cleanup_(x_freep) char *path = x_asprintf("/3/device/%s", target->text);
	_cleanup_(x_freep) char *authorization = push_received_field(r, "authorization");
	char text[BASE64_LEN(sizeof payload_bytes) + 1];
	json_t *body = json_loadb((const char *)r->body.data, r->body.len, 0, NULL), *claims;
	const char *data;
	int mutable_content;

	assert_true(r->h2);
	assert_true(r->body.len <= 4096);
	assert_string_equal(buf_str(&r->path), path);
	expect_field(r, "apns-topic", "org.example.kluis");
	expect_field(r, "apns-push-type", "alert");
	base64_encode(payload(), text);
	assert_int_equal(json_unpack(body, "{s:s, s:{s:i}}", "kluis", &data, "aps",
				 "mutable-content", &mutable_content),
		0);
	assert_string_equal(data, text);
	assert_int_equal(mutable_content, 1);
	assert_int_equal(strncmp(authorization, "bearer ", 7), 0);
	claims = claims_of(authorization + 7, key_public(apns_key));
	assert_string_equal(claim(claims, "iss"), "TEAM123456");
	assert_true(llabs(claim_number(claims, "iat") -
			    (json_int_t)(clock_wall_ms(&clock_system) / 1000)) < 60);
	json_decref(claims);
	json_decref(body);
}

static void test_apns(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum push_outcome outcome;
	} rows[] = {{200, "", PUSH_SENT}, {410, "{\"reason\":\"Unregistered\"}", PUSH_GONE},
		{400, "{\"reason\":\"BadDeviceToken\"}", PUSH_GONE},
		{400, "{\"reason\":\"BadTopic\"}", PUSH_LOST},
		{404, "{\"reason\":\"BadPath\"}", PUSH_LOST},
		{403, "{\"reason\":\"ExpiredProviderToken\"}", PUSH_RETRY},
		{429, "{\"reason\":\"TooManyRequests\"}", PUSH_RETRY}};
	struct push_receiver *receiver = push_receiver_new(&server, true);
	_cleanup_(x_freep) char *url =
		x_asprintf("https://127.0.0.1:%u", push_receiver_port(receiver));
	struct push_target target = {.kind = PUSH_APNS,
		.text = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"};
	struct push_config config = config_of();
	_cleanup_(x_freep) char *used = NULL;
	struct push_service *service;
	struct push_received r;
	uint64_t after_s;
	int code;

	(void)state;
	config.apns_key_path = apns_path;
	config.apns_key_id = "KEY1234567";
	config.apns_team = "TEAM123456";
	config.apns_topic = "org.example.kluis";
	config.apns_url = url;
	service = service_of(&config);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		push_receiver_answer(receiver, rows[i].status, NULL, rows[i].body);
		assert_int_equal(send_once(service, &target, &after_s, &code), rows[i].outcome);
		push_receiver_take(receiver, &r);
		expect_apns_message(&r, &target);
		/* Apple refuses who makes a token for each message. */
		if (i == 0) {
			used = push_received_field(&r, "authorization");
		} else if (i < 6) {
			expect_field(&r, "authorization", used);
		}
		push_received_release(&r);
	}
	push_service_free(service);
	push_receiver_free(receiver);
}

static void test_settings(void **state)
{
	struct push_config config = config_of();
	struct push_service *service = NULL;

	(void)state;
	config.contact = "ops@example.org";
	assert_int_equal(push_service_new(&config, &service, NULL), KLUIS_EINVAL);
	config.contact = "mailto:\"@example.org";
	assert_int_equal(push_service_new(&config, &service, NULL), KLUIS_EINVAL);
	config = config_of();
	config.ca_path = "/nonexistent";
	assert_int_equal(push_service_new(&config, &service, NULL), KLUIS_ENOTFOUND);
	config = config_of();
	config.fcm_account_path = ca_path; /* No JSON. */
	config.fcm_url = "https://fcm.googleapis.com";
	assert_int_equal(push_service_new(&config, &service, NULL), KLUIS_EINVAL);
	config = config_of();
	config.apns_key_path = apns_path;
	config.apns_url = "https://api.push.apple.com";
	assert_int_equal(push_service_new(&config, &service, NULL), KLUIS_EINVAL);
	config.apns_key_id = "K";
	config.apns_team = "T";
	config.apns_topic = "t\r\nx: y";
	assert_int_equal(push_service_new(&config, &service, NULL), KLUIS_EINVAL);
	assert_null(service);
	/* Nothing is set: nothing is spoken, and no file is needed. */
	config = (struct push_config){.secrets = &secrets};
	service = service_of(&config);
	assert_false(push_service_speaks(service, PUSH_WEB));
	assert_false(push_service_speaks(service, PUSH_FCM));
	assert_false(push_service_speaks(service, PUSH_APNS));
	push_service_free(service);
}

/* --- the queue ---------------------------------------------------------------------------------
 */

struct gone {
	pthread_mutex_t lock;
	unsigned count;
	uint8_t user_id[16], push_id[16];
};

static void gone_cb(void *data, const uint8_t user_id[16], const uint8_t push_id[16])
{
	struct gone *gone = data;

	(void)pthread_mutex_lock(&gone->lock);
	gone->count++;
	memcpy(gone->user_id, user_id, 16);
	memcpy(gone->push_id, push_id, 16);
	(void)pthread_mutex_unlock(&gone->lock);
}

/* Until all that was submitted came to an end. */
static struct push_counts settle(struct push *push, uint64_t ends)
{
	uint64_t deadline_ms = clock_monotonic_ms(&clock_system) + 60000;
	struct push_counts counts;

	do {
		push_counts(push, &counts);
		assert_true(clock_monotonic_ms(&clock_system) < deadline_ms);
		(void)usleep(1000);
	} while (counts.kind[PUSH_WEB].sent + counts.kind[PUSH_WEB].lost +
			 counts.kind[PUSH_WEB].gone <
		 ends);
	return counts;
}

static void test_queue(void **state)
{
	struct gone gone = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct push_receiver *receiver = push_receiver_new(&server, false);
	struct push_config config = config_of();
	struct push_service *service = service_of(&config);
	struct push *push = push_new(service, 1, gone_cb, &gone);
	struct push_job job = {.user_id = {1},
		.push_id = {2},
		.target = web_target("127.0.0.1", push_receiver_port(receiver)),
		.payload = payload()};
	struct push_counts counts;

	(void)state;
	/* After two failures it goes through. */
	push_receiver_answer(receiver, 503, NULL, NULL);
	push_receiver_answer(receiver, 0, NULL, NULL);
	assert_int_equal(push_submit(push, &job), 0);
	counts = settle(push, 1);
	assert_int_equal(counts.kind[PUSH_WEB].sent, 1);
	assert_int_equal(counts.kind[PUSH_WEB].retried, 2);
	/* Never for ever. */
	for (unsigned i = 0; i < PUSH_ATTEMPTS_MAX; i++) {
		push_receiver_answer(receiver, 500, NULL, NULL);
	}
	assert_int_equal(push_submit(push, &job), 0);
	counts = settle(push, 2);
	assert_int_equal(counts.kind[PUSH_WEB].lost, 1);
	assert_int_equal(push_receiver_count(receiver), 3 + PUSH_ATTEMPTS_MAX);
	/* Longer than anybody waits. */
	push_receiver_answer(receiver, 429, "retry-after: 86400", NULL);
	assert_int_equal(push_submit(push, &job), 0);
	counts = settle(push, 3);
	assert_int_equal(counts.kind[PUSH_WEB].lost, 2);
	push_receiver_answer(receiver, 410, NULL, NULL);
	assert_int_equal(push_submit(push, &job), 0);
	counts = settle(push, 4);
	assert_int_equal(counts.kind[PUSH_WEB].gone, 1);
	assert_int_equal(counts.waiting, 0);
	push_stop(push);
	push_free(push);
	assert_int_equal(gone.count, 1);
	assert_memory_equal(gone.user_id, job.user_id, 16);
	assert_memory_equal(gone.push_id, job.push_id, 16);
	push_service_free(service);
	push_receiver_free(receiver);
}

static void test_queue_is_bounded(void **state)
{
	struct gone gone = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct push_config config = config_of();
	struct push_service *service = service_of(&config);
	/* Nobody listens there, and what failed waits. */
	struct push *push = push_new(service, PUSH_PAUSE_MS_MAX, gone_cb, &gone);
	struct push_job job = {.target = web_target("127.0.0.1", 1), .payload = payload()};
	struct push_counts counts;
	unsigned taken = 0;

	(void)state;
	/* No sender fills it alone. */
	for (uint8_t sender = 0; sender * PUSH_SENDER_MAX <= PUSH_QUEUE_MAX; sender++) {
		unsigned before = taken;

		job.sender_id[0] = sender;
		while (taken <= PUSH_QUEUE_MAX + PUSH_THREADS && push_submit(push, &job) == 0) {
			taken++;
		}
		assert_true(taken - before <= PUSH_SENDER_MAX + PUSH_THREADS);
	}
	assert_true(taken >= PUSH_QUEUE_MAX && taken <= PUSH_QUEUE_MAX + PUSH_THREADS);
	push_counts(push, &counts);
	assert_true(counts.kind[PUSH_WEB].refused > 0);
	push_stop(push);
	assert_int_equal(push_submit(push, &job), KLUIS_EBUSY);
	push_free(push); /* Drops what waits. */
	push_service_free(service);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_web_push),
		cmocka_unit_test(test_web_answers),
		cmocka_unit_test(test_broken_answer),
		cmocka_unit_test(test_forbidden),
		cmocka_unit_test(test_vapid_key),
		cmocka_unit_test(test_fcm),
		cmocka_unit_test(test_fcm_without_token),
		cmocka_unit_test(test_apns),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_queue_is_bounded),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

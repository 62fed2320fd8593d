/* Second factors over the real API: enrolled, proven at the next login, used once, removed; an
 * authenticator in software; networks and places. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "crypto/otp.h"
#include "node/factor.h"
#include "raft/command.h"
#include "tests/lib/api/account_client.h"
#include "tests/lib/authenticator.h"

/* Cluster time at the start: the first of a step, so that no test sees the next one. */
#define STEP_NOW 56666667ULL

static char rp_id[] = "vault.example.org", origin[] = "https://vault.example.org";
static const struct fido_site site = {rp_id, {origin}, ""};

struct fixture {
	struct api_node node;
	struct account_client alice;
	struct http_client http;
	struct authenticator key;
	struct location *location;
	char id[HEX_LEN(16) + 1]; /* Of the factor that was enrolled last. */
	struct buf secret;	  /* Of TOTP and HOTP. */
};

static void load_places(struct fixture *f)
{
	const char *none[LOCATION_DATABASES_MAX] = {NULL};
	char *table = x_asprintf("%s/places", f->node.dir);

	assert_int_equal(file_write(table, bytes_str("127.0.0.0/8 office\n"), 0600, NULL), 0);
	assert_int_equal(location_open(none, table, &f->location, NULL), 0);
	f->node.config.location = f->location;
	free(table);
}

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	f->node.config.registration = REGISTRATION_OPEN;
	f->node.config.fido = &site;
	f->node.machine.now_ms = STEP_NOW * OTP_PERIOD_S * 1000;
	load_places(f);
	account_client_begin(&f->alice, &f->node, &f->http, true);
	authenticator_init(&f->key, rp_id, origin);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	authenticator_release(&f->key);
	account_client_end(&f->alice, &f->node, &f->http);
	location_free(f->location);
	buf_release(&f->secret);
	free(f);
	return 0;
}

static struct answer post(struct fixture *f, const char *target, struct buf *body)
{
	return http_client_json(&f->http, "POST", target, "", buf_str(body));
}

static void expect_post(
	struct fixture *f, const char *target, const char *body, int status, const char *code)
{
	answer_expect(http_client_json(&f->http, "POST", target, "", body), status, code);
}

/* A login that reaches this level; the methods still to be proven, or "". */
static void log_in(struct fixture *f, const char *level, const char *method)
{
	struct answer answer = account_client_login(&f->alice, &f->http, true);
	const json_t *mfa;

	if (answer.status != 200) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	assert_string_equal(answer_text(&answer, "level"), level);
	mfa = json_object_get(answer.json, "mfa");
	assert_int_equal(json_array_size(mfa), method[0] == '\0' ? 0 : 1);
	if (method[0] != '\0') {
		assert_string_equal(json_string_value(json_array_get(mfa, 0)), method);
	}
	answer_release(&answer);
}

/* --- codes ----------------------------------------------------------------------------------- */

static void enrol(struct fixture *f, const char *target, const char *body)
{
	struct answer answer = http_client_json(&f->http, "POST", target, "", body);

	if (answer.status != 201) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	(void)snprintf(f->id, sizeof f->id, "%s", answer_text(&answer, "id"));
	if (json_object_get(answer.json, "secret") != NULL) {
		buf_clear(&f->secret);
		assert_int_equal(base32_decode(bytes_str(answer_text(&answer, "secret")),
					 OTP_SECRET_BYTES_MAX, &f->secret),
			0);
	}
	answer_release(&answer);
}

static void code_body(
	struct fixture *f, const char *method, bool with_id, uint64_t number, struct buf *to)
{
	const struct otp otp = {OTP_SHA1, 6};
	char code[OTP_DIGITS_MAX + 1];

	otp_code(&otp, buf_bytes(&f->secret), number, code);
	buf_printf(to, "{\"method\":\"%s\",\"code\":\"%s\"", method, code);
	if (with_id) {
		buf_printf(to, ",\"id\":\"%s\"", f->id);
	}
	buf_append(to, "}", 1);
}

static struct answer prove(struct fixture *f, const char *method, bool with_id, uint64_t number)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	code_body(f, method, with_id, number, &body);
	return post(f, "/v1/mfa/verify", &body);
}

static void enrol_totp(struct fixture *f)
{
	log_in(f, "full", "");
	enrol(f, "/v1/mfa/totp", "{\"label\":\"phone\"}");
	answer_expect(prove(f, "totp", true, STEP_NOW - 1), 200, NULL);
}

static void test_totp(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	const json_t *item;

	log_in(f, "full", "");
	enrol(f, "/v1/mfa/totp", "{\"label\":\"phone\"}");
	assert_int_equal(f->secret.len, OTP_SECRET_BYTES);
	/* Pending, it counts for nothing. */
	log_in(f, "full", "");
	answer_expect(prove(f, "totp", false, STEP_NOW), 409, "conflict");
	answer_expect(prove(f, "totp", true, STEP_NOW + 100), 401, "unauthenticated");
	answer_expect(prove(f, "totp", true, STEP_NOW - 1), 200, NULL);
	/* The session that proved it stays full; the next login asks. */
	answer_expect(prove(f, "totp", true, STEP_NOW), 404, "not-found");
	log_in(f, "login", "totp");
	answer_expect(http_client_call(&f->http, "GET", "/v1/mfa", "", bytes_of(NULL, 0)), 403,
		"mfa-required");
	answer_expect(http_client_call(&f->http, "GET", "/v1/keyring", "", bytes_of(NULL, 0)), 403,
		"mfa-required");
	/* The step of the enrolment is spent. */
	answer_expect(prove(f, "totp", false, STEP_NOW - 1), 401, "unauthenticated");
	answer = prove(f, "totp", false, STEP_NOW);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "level"), "full");
	answer_release(&answer);
	answer = http_client_call(&f->http, "GET", "/v1/mfa", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	item = json_array_get(json_object_get(answer.json, "items"), 0);
	assert_string_equal(json_string_value(json_object_get(item, "method")), "totp");
	assert_string_equal(json_string_value(json_object_get(item, "label")), "phone");
	assert_false(json_boolean_value(json_object_get(item, "pending")));
	assert_null(json_object_get(item, "secret"));
	answer_release(&answer);
}

/* A code is worth one login, on all sites together: the second finds it spent. */
static void test_replay(void **state)
{
	struct fixture *f = *state;

	enrol_totp(f);
	log_in(f, "login", "totp");
	answer_expect(prove(f, "totp", false, STEP_NOW), 200, NULL);
	log_in(f, "login", "totp");
	answer_expect(prove(f, "totp", false, STEP_NOW), 401, "unauthenticated");
	answer_expect(prove(f, "totp", false, STEP_NOW + 1), 200, NULL);
}

/* A person's clock an hour off, fast or slow: refused like any wrong code, nothing is spent, and
 * the right time is taken at once. A code that was right an hour ago is right no more when time
 * comes round, and one of an hour ahead is worth its hour alone. */
static void test_hour_off(void **state)
{
	enum { HOUR = 3600 / OTP_PERIOD_S };
	struct fixture *f = *state;

	enrol_totp(f);
	log_in(f, "login", "totp");
	for (int i = 0; i < 2; i++) {
		answer_expect(prove(f, "totp", false, STEP_NOW + HOUR), 401, "unauthenticated");
		answer_expect(prove(f, "totp", false, STEP_NOW - HOUR), 401, "unauthenticated");
		answer_expect(prove(f, "totp", false, STEP_NOW + 2), 401, "unauthenticated");
		answer_expect(prove(f, "totp", false, STEP_NOW - 2), 401, "unauthenticated");
	}
	answer_expect(prove(f, "totp", false, STEP_NOW), 200, NULL);
	/* An hour later: the codes of this hour, not of the one before. */
	f->node.machine.now_ms += 3600 * 1000;
	log_in(f, "login", "totp");
	answer_expect(prove(f, "totp", false, STEP_NOW + 1), 401, "unauthenticated");
	answer_expect(prove(f, "totp", false, STEP_NOW + HOUR), 200, NULL);
}

/* Ten failures are free, then even the right code waits; there is no lock-out. */
static void test_delay(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	enrol_totp(f);
	log_in(f, "login", "totp");
	for (int i = 0; i < 10; i++) {
		answer_expect(prove(f, "totp", false, STEP_NOW + 100), 401, NULL);
	}
	answer = prove(f, "totp", false, STEP_NOW);
	assert_int_equal(answer.status, 429);
	assert_true(answer_number(&answer, "retry_after_ms") > 0);
	assert_true(answer_number(&answer, "retry_after_ms") <= 2000);
	answer_release(&answer);
}

static void test_hotp(void **state)
{
	struct fixture *f = *state;

	log_in(f, "full", "");
	/* A token with a seed of its own, at its seventh code. */
	enrol(f, "/v1/mfa/hotp", "{\"secret\":\"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\",\"counter\":7}");
	answer_expect(prove(f, "hotp", true, 6), 401, "unauthenticated");
	answer_expect(prove(f, "hotp", true, 7), 200, NULL);
	log_in(f, "login", "hotp");
	answer_expect(prove(f, "hotp", false, 7), 401, "unauthenticated");
	answer_expect(prove(f, "hotp", false, 8 + OTP_LOOK_AHEAD + 1), 401, "unauthenticated");
	answer_expect(prove(f, "hotp", false, 8 + OTP_LOOK_AHEAD), 200, NULL);
	log_in(f, "login", "hotp");
	answer_expect(prove(f, "hotp", false, 8 + OTP_LOOK_AHEAD), 401, "unauthenticated");
	answer_expect(prove(f, "hotp", false, 9 + OTP_LOOK_AHEAD), 200, NULL);
}

/* A second one, and taking one away, need a fresh proof. */
static void test_remove(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, target = BUF_INIT;

	enrol_totp(f);
	buf_printf(&target, "/v1/mfa/%s", f->id);
	expect_post(f, "/v1/mfa/totp", "{}", 403, "mfa-required");
	answer_expect(http_client_json(&f->http, "DELETE", buf_str(&target), "", "{}"), 403,
		"mfa-required");
	buf_printf(&body, "{\"proof\":");
	code_body(f, "totp", false, STEP_NOW + 50, &body);
	buf_append(&body, "}", 1);
	answer_expect(http_client_json(&f->http, "DELETE", buf_str(&target), "", buf_str(&body)),
		401, "unauthenticated");
	buf_clear(&body);
	buf_printf(&body, "{\"proof\":");
	code_body(f, "totp", false, STEP_NOW, &body);
	buf_append(&body, "}", 1);
	answer_expect(http_client_json(&f->http, "DELETE", buf_str(&target), "", buf_str(&body)),
		204, NULL);
	answer_expect(
		http_client_json(&f->http, "DELETE", buf_str(&target), "", "{}"), 404, "not-found");
	log_in(f, "full", "");
}

/* What is pending goes without a proof. */
static void test_remove_pending(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf target = BUF_INIT;

	log_in(f, "full", "");
	enrol(f, "/v1/mfa/totp", "{}");
	buf_printf(&target, "/v1/mfa/%s", f->id);
	answer_expect(http_client_json(&f->http, "DELETE", buf_str(&target), "", "{}"), 204, NULL);
}

static void test_bad_bodies(void **state)
{
	static const char *const rows[][2] = {
		{"/v1/mfa/totp", "{\"digits\":7}"},
		{"/v1/mfa/totp", "{\"algorithm\":\"md5\"}"},
		{"/v1/mfa/totp", "{\"algorithm\":\"SHA1\"}"},
		{"/v1/mfa/totp", "{\"counter\":1}"},
		{"/v1/mfa/totp", "{\"secret\":\"GEZDGNBV\"}"},
		{"/v1/mfa/totp", "{\"secret\":\"gezdgnbvgy3tqojqgezdgnbvgy3tqoj1\"}"},
		{"/v1/mfa/totp", "{\"proof\":{}}"},
		{"/v1/mfa/totp", "{\"proof\":{\"method\":\"ip\",\"code\":\"1\"}}"},
		{"/v1/mfa/totp", "{\"label\":1}"},
		{"/v1/mfa/hotp", "{\"counter\":-1}"},
		{"/v1/mfa/ip", "{}"},
		{"/v1/mfa/ip", "{\"networks\":[]}"},
		{"/v1/mfa/ip", "{\"networks\":[\"office\"]}"},
		{"/v1/mfa/ip", "{\"networks\":[\"127.0.0.1/8\"]}"},
		{"/v1/mfa/ip", "{\"networks\":[7]}"},
		{"/v1/mfa/ip", "{\"networks\":[\"192.0.2.0/24\"]}"}, /* Not ours. */
		{"/v1/mfa/location", "{\"places\":[\"N L\"]}"},
		{"/v1/mfa/location", "{\"places\":[\"NL\"]}"}, /* Nobody knows where we are. */
		{"/v1/mfa/verify", "{}"},
		{"/v1/mfa/verify", "{\"method\":\"ip\",\"code\":\"123456\"}"},
		{"/v1/mfa/verify", "{\"method\":\"totp\"}"},
		{"/v1/mfa/verify", "{\"method\":\"totp\",\"code\":\"123456789\"}"},
		{"/v1/mfa/verify", "{\"method\":\"totp\",\"code\":123456}"},
		{"/v1/mfa/verify", "{\"method\":\"fido2\",\"code\":\"123456\"}"},
	};
	struct fixture *f = *state;

	log_in(f, "full", "");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		expect_post(f, rows[i][0], rows[i][1], 400, "invalid");
	}
}

/* --- FIDO2 ----------------------------------------------------------------------------------- */

struct asked {
	uint8_t challenge[FIDO_CHALLENGE_BYTES];
	char handshake[HEX_LEN(16) + 1];
};

static void ask(struct fixture *f, struct asked *ret)
{
	struct answer answer = http_client_call(
		&f->http, "POST", "/v1/mfa/fido2/challenge", "", bytes_of(NULL, 0));

	if (answer.status != 200) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	assert_string_equal(answer_text(&answer, "rp_id"), rp_id);
	(void)snprintf(
		ret->handshake, sizeof ret->handshake, "%s", answer_text(&answer, "handshake"));
	assert_int_equal(base64_decode_exact(bytes_str(answer_text(&answer, "challenge")),
				 ret->challenge, sizeof ret->challenge),
		0);
	answer_release(&answer);
}

static void put_binary(struct buf *to, const char *name, const struct buf *bytes)
{
	buf_printf(to, ",\"%s\":\"", name);
	base64_append(to, buf_bytes(bytes));
	buf_append(to, "\"", 1);
}

static struct answer create(struct fixture *f, const struct asked *asked)
{
	_cleanup_(buf_release) struct buf client_data = BUF_INIT, auth_data = BUF_INIT;
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	authenticator_create(&f->key, bytes_of(asked->challenge, sizeof asked->challenge),
		&client_data, &auth_data);
	buf_printf(&body, "{\"handshake\":\"%s\"", asked->handshake);
	put_binary(&body, "client_data", &client_data);
	put_binary(&body, "auth_data", &auth_data);
	buf_append(&body, "}", 1);
	return post(f, "/v1/mfa/fido2", &body);
}

static struct answer assertion(struct fixture *f, const struct asked *asked, const char *id)
{
	_cleanup_(buf_release) struct buf client_data = BUF_INIT, auth_data = BUF_INIT;
	_cleanup_(buf_release) struct buf signature = BUF_INIT, body = BUF_INIT;

	authenticator_get(&f->key, bytes_of(asked->challenge, sizeof asked->challenge),
		&client_data, &auth_data, &signature);
	buf_printf(&body, "{\"method\":\"fido2\"");
	if (id != NULL) {
		buf_printf(&body, ",\"id\":\"%s\"", id);
	}
	buf_printf(&body, ",\"assertion\":{\"handshake\":\"%s\"", asked->handshake);
	put_binary(&body, "client_data", &client_data);
	put_binary(&body, "auth_data", &auth_data);
	put_binary(&body, "signature", &signature);
	buf_append(&body, "}}", 2);
	return post(f, "/v1/mfa/verify", &body);
}

static void enrol_key(struct fixture *f)
{
	struct asked asked;
	struct answer answer;

	log_in(f, "full", "");
	ask(f, &asked);
	answer = create(f, &asked);
	if (answer.status != 201) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	(void)snprintf(f->id, sizeof f->id, "%s", answer_text(&answer, "id"));
	answer_release(&answer);
	log_in(f, "full", ""); /* Pending. */
	ask(f, &asked);
	answer_expect(assertion(f, &asked, f->id), 200, NULL);
	log_in(f, "login", "fido2");
}

static void test_fido(void **state)
{
	struct fixture *f = *state;
	struct asked asked, again;
	struct answer answer;

	enrol_key(f);
	ask(f, &asked);
	answer = assertion(f, &asked, NULL);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "level"), "full");
	answer_release(&answer);
	/* A challenge is worth one answer, and an answer is of its challenge. */
	log_in(f, "login", "fido2");
	answer_expect(assertion(f, &asked, NULL), 401, "unauthenticated");
	ask(f, &again);
	memcpy(asked.handshake, again.handshake, sizeof asked.handshake);
	answer_expect(assertion(f, &asked, NULL), 401, "unauthenticated");
	ask(f, &again);
	answer_expect(assertion(f, &again, NULL), 200, NULL);
}

/* signCount must grow: an older copy of the key is refused (WebAuthn 7.2 step 21). */
static void test_fido_count(void **state)
{
	struct fixture *f = *state;
	struct asked asked;

	enrol_key(f);
	f->key.count = 100;
	ask(f, &asked);
	answer_expect(assertion(f, &asked, NULL), 200, NULL);
	log_in(f, "login", "fido2");
	f->key.count = 100;
	ask(f, &asked);
	answer_expect(assertion(f, &asked, NULL), 401, "unauthenticated");
	f->key.count = 0;
	ask(f, &asked);
	answer_expect(assertion(f, &asked, NULL), 401, "unauthenticated");
	f->key.count = 101;
	ask(f, &asked);
	answer_expect(assertion(f, &asked, NULL), 200, NULL);
}

/* One that does not count at all stays usable. */
static void test_fido_no_count(void **state)
{
	struct fixture *f = *state;
	struct asked asked;

	f->key.count = 0;
	f->key.step = 0;
	enrol_key(f);
	for (int i = 0; i < 2; i++) {
		ask(f, &asked);
		answer_expect(assertion(f, &asked, NULL), 200, NULL);
		log_in(f, "login", "fido2");
	}
}

static void test_fido_refused(void **state)
{
	struct fixture *f = *state;
	struct account_client mallory;
	struct http_client other;
	struct asked asked;
	char token[64];

	log_in(f, "full", "");
	ask(f, &asked);
	f->key.origin = "https://evil.example";
	answer_expect(create(f, &asked), 400, "invalid");
	f->key.origin = origin;
	answer_expect(create(f, &asked), 401, "unauthenticated"); /* The challenge is used. */
	enrol_key(f);
	f->key.rp_id = "evil.example";
	ask(f, &asked);
	answer_expect(assertion(f, &asked, NULL), 401, "unauthenticated");
	f->key.rp_id = rp_id;
	/* The challenge of somebody else's session. */
	account_client_init(&mallory, &f->node, "mallory");
	api_node_connect(&f->node, "http/1.1", &other);
	account_client_register(&mallory, &other);
	answer_expect(account_client_login(&mallory, &other, false), 200, NULL);
	(void)snprintf(token, sizeof token, "%s", f->http.token);
	(void)snprintf(f->http.token, sizeof f->http.token, "%s", other.token);
	ask(f, &asked);
	(void)snprintf(f->http.token, sizeof f->http.token, "%s", token);
	answer_expect(assertion(f, &asked, NULL), 401, "unauthenticated");
	ask(f, &asked);
	answer_expect(assertion(f, &asked, NULL), 200, NULL);
	http_client_release(&other);
	account_client_release(&mallory);
}

/* login/device by alice's device, under the bearer token that f->http has. */
static struct answer device_login(struct fixture *f)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, signature = BUF_INIT;
	char user[HEX_LEN(16) + 1], device[HEX_LEN(16) + 1], handshake[HEX_LEN(16) + 1];
	uint8_t challenge[32];
	struct answer answer;

	hex_encode(bytes_of(f->alice.person.user_id, 16), user);
	hex_encode(bytes_of(f->alice.person.device_id, 16), device);
	buf_printf(&body, "{\"user_id\":\"%s\",\"device_id\":\"%s\"}", user, device);
	answer = post(f, "/v1/login/device/start", &body);
	assert_int_equal(answer.status, 200);
	(void)snprintf(handshake, sizeof handshake, "%s", answer_text(&answer, "handshake"));
	assert_int_equal(base64_decode_exact(bytes_str(answer_text(&answer, "challenge")),
				 challenge, sizeof challenge),
		0);
	answer_release(&answer);
	person_login(&f->alice.person, f->alice.cluster_id, challenge, &signature);
	buf_clear(&body);
	buf_printf(&body, "{\"handshake\":\"%s\",\"signature\":\"", handshake);
	base64_append(&body, buf_bytes(&signature));
	buf_printf(&body, "\"}");
	return post(f, "/v1/login/device/finish", &body);
}

/* A device's key is no password: it makes a session that there is its own, and no other. */
static void test_device_session(void **state)
{
	struct fixture *f = *state;
	char bare[sizeof f->http.token];
	json_int_t expires;
	struct answer answer;

	f->http.token[0] = '\0';
	answer_expect(device_login(f), 401, "unauthenticated");
	answer = account_client_login(&f->alice, &f->http, false);
	assert_int_equal(answer.status, 200);
	expires = answer_number(&answer, "expires");
	answer_release(&answer);
	memcpy(bare, f->http.token, sizeof bare);
	f->node.machine.now_ms += 1000;
	answer = device_login(f);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "level"), "full");
	assert_true(answer_number(&answer, "expires") == expires);
	(void)snprintf(f->http.token, sizeof f->http.token, "%s", answer_text(&answer, "token"));
	answer_release(&answer);
	answer = http_client_call(&f->http, "GET", "/v1/sessions", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	memcpy(f->http.token, bare, sizeof bare); /* It has ended. */
	answer_expect(device_login(f), 401, "unauthenticated");
	answer_expect(account_client_recover(&f->alice, &f->http), 200, NULL);
	answer_expect(device_login(f), 401, "unauthenticated"); /* A recovery is none. */
}

/* The session's second factor stays outstanding, and the answer says so. */
static void test_device_session_waits(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	const json_t *mfa;

	log_in(f, "full", "");
	enrol(f, "/v1/mfa/totp", "{}");
	answer_expect(prove(f, "totp", true, STEP_NOW), 200, NULL);
	log_in(f, "login", "totp");
	answer = device_login(f);
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "level"), "login");
	mfa = json_object_get(answer.json, "mfa");
	assert_int_equal(json_array_size(mfa), 1);
	assert_string_equal(json_string_value(json_array_get(mfa, 0)), "totp");
	answer_release(&answer);
}

/* --- networks and places --------------------------------------------------------------------- */

static void test_networks(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	log_in(f, "full", "");
	enrol(f, "/v1/mfa/ip", "{\"networks\":[\"192.0.2.0/24\",\"127.0.0.0/8\"]}");
	/* It counts at once, and asks for no proof at a login. */
	log_in(f, "full", "");
	answer = http_client_call(&f->http, "GET", "/v1/mfa", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), "\"127.0.0.0/8\""));
	answer_release(&answer);
}

/* As if she had been elsewhere when she named it: by a command, for the door would refuse to lock
 * her out. */
static void add_elsewhere(struct fixture *f, const struct factor *factor)
{
	_cleanup_(buf_release) struct buf params = BUF_INIT, encoded = BUF_INIT;
	struct command command = {.type = COMMAND_MFA_ADD};
	struct command_mfa_add *c = &command.mfa_add;

	factor_encode(factor, &params);
	hash_sha256(bytes_str(f->http.token), c->session.token_hash);
	memset(c->mfa_id, 7, sizeof c->mfa_id);
	c->method = (uint8_t)factor->method;
	c->params = buf_bytes(&params);
	command_encode(&command, &encoded);
	(void)pthread_mutex_lock(&f->node.lock);
	assert_int_equal(fixture_machine_run(&f->node.machine, buf_bytes(&encoded)), 0);
	(void)pthread_mutex_unlock(&f->node.lock);
}

static void expect_refused(struct fixture *f)
{
	struct answer right, wrong;

	/* From there a right password is told what a wrong one is, or it could be guessed. */
	right = account_client_login(&f->alice, &f->http, false);
	f->alice.password[0] ^= 1;
	wrong = account_client_login(&f->alice, &f->http, false);
	f->alice.password[0] ^= 1;
	assert_int_equal(right.status, 401);
	assert_int_equal(wrong.status, 401);
	assert_string_equal(answer_text(&right, "detail"), answer_text(&wrong, "detail"));
	answer_release(&right);
	answer_release(&wrong);
	/* What is beyond guessing hears why. */
	answer_expect(account_client_login(&f->alice, &f->http, true), 403, "forbidden");
	answer_expect(account_client_recover(&f->alice, &f->http), 403, "forbidden");
}

static void test_other_network(void **state)
{
	struct factor *factor = x_calloc(1, sizeof *factor);
	struct fixture *f = *state;

	log_in(f, "full", "");
	factor->method = MFA_IP;
	factor->n = 1;
	assert_int_equal(network_parse("192.0.2.0/24", &factor->network[0]), 0);
	add_elsewhere(f, factor);
	expect_refused(f);
	free(factor);
}

static void test_places(void **state)
{
	struct fixture *f = *state;

	log_in(f, "full", "");
	expect_post(f, "/v1/mfa/location", "{\"places\":[\"elsewhere\"]}", 400, "invalid");
	enrol(f, "/v1/mfa/location", "{\"places\":[\"NL\",\"office\"]}");
	log_in(f, "full", "");
}

static void test_other_place(void **state)
{
	struct factor *factor = x_calloc(1, sizeof *factor);
	struct fixture *f = *state;

	log_in(f, "full", "");
	factor->method = MFA_LOCATION;
	factor->n = 1;
	(void)snprintf(factor->place[0], sizeof factor->place[0], "NL");
	add_elsewhere(f, factor);
	expect_refused(f);
	free(factor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_totp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hour_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hotp, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fido, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fido_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fido_no_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fido_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_session, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_session_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_network, setup, teardown),
		cmocka_unit_test_setup_teardown(test_places, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_place, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a person does with her account beyond signing in, over the real API: devices asked for,
 * approved and revoked, her policy, the directory, her log, her end; and operators' word on her. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "storage/policy_store.h"
#include "tests/lib/api/account_client.h"
#include "tests/lib/fixture/person.h"

struct fixture {
	struct api_node node;
	struct account_client alice;
	struct identity identity; /* Hers, as far as it was made here. */
	struct http_client http, admin;
};

static void append(struct fixture *f, struct bytes statement)
{
	struct err e = {0};

	if (identity_append(&f->identity, statement, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static int setup_rate(void **state, unsigned login_rate)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	f->node.config.registration = REGISTRATION_INVITE;
	f->node.config.login_rate = login_rate;
	account_client_begin(&f->alice, &f->node, &f->http, false);
	api_node_admin(&f->node, &f->admin);
	identity_init(&f->identity);
	append(f, buf_bytes(&f->alice.person.genesis));
	append(f, buf_bytes(&f->alice.person.device_statement));
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_rate(state, 10000);
}

static int setup_slow(void **state)
{
	return setup_rate(state, 1);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	identity_release(&f->identity);
	http_client_release(&f->admin);
	account_client_end(&f->alice, &f->node, &f->http);
	free(f);
	return 0;
}

static struct answer ask(struct http_client *http, const char *verb, const char *target)
{
	return http_client_call(http, verb, target, "", bytes_of(NULL, 0));
}

static void invite(struct fixture *f, const char *body, char token[64], char id[65])
{
	struct answer answer = http_client_json(&f->admin, "POST", "/v1/sys/invites", "", body);

	assert_int_equal(answer.status, 201);
	(void)snprintf(token, 64, "%s", answer_text(&answer, "token"));
	(void)snprintf(id, 65, "%s", answer_text(&answer, "id"));
	answer_release(&answer);
}

static void expect_register(struct fixture *f, struct account_client *c, const char *token,
	int status, const char *code)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	account_client_registration(c, token, &body);
	answer_expect(http_client_json(&f->http, "POST", "/v1/register", "", buf_str(&body)),
		status, code);
}

static struct answer try_register(struct fixture *f, struct account_client *c)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	account_client_registration(c, "kiv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &body);
	return http_client_json(&f->http, "POST", "/v1/register", "", buf_str(&body));
}

static void register_alice(struct fixture *f)
{
	char token[64], id[65];

	invite(f, "{}", token, id);
	expect_register(f, &f->alice, token, 202, NULL);
}

/* Without an invitation a name that is there gets the answer of one that is not, also from who
 * knows its id: recovery/start tells that to everybody. */
static void test_names_are_not_told(void **state)
{
	struct fixture *f = *state;
	struct account_client as_alice, as_nobody;
	struct answer known, unknown;

	register_alice(f);
	account_client_init_as(&as_alice, &f->node, "alice", f->alice.person.user_id);
	account_client_init(&as_nobody, &f->node, "nobody");
	known = try_register(f, &as_alice);
	unknown = try_register(f, &as_nobody);
	assert_int_equal(known.status, 403);
	assert_int_equal(unknown.status, 403);
	assert_string_equal(answer_text(&known, "detail"), answer_text(&unknown, "detail"));
	answer_release(&known);
	answer_release(&unknown);
	/* Her own registration once more is taken for what it is. */
	expect_register(f, &f->alice, "kiv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 202, NULL);
	account_client_release(&as_alice);
	account_client_release(&as_nobody);
}

static void log_in(struct fixture *f, bool with_device)
{
	answer_expect(account_client_login(&f->alice, &f->http, with_device), 200, NULL);
}

static void test_invites(void **state)
{
	struct fixture *f = *state;
	struct account_client bob;
	char token[64], id[65], target[128];
	struct answer answer;

	account_client_init(&bob, &f->node, "bob");
	expect_register(f, &f->alice, NULL, 403, "forbidden");
	expect_register(
		f, &f->alice, "kiv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 403, "forbidden");
	invite(f, "{\"note\":\"for alice\",\"hours\":1}", token, id);
	answer = ask(&f->admin, "GET", "/v1/sys/invites");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), "for alice"));
	assert_null(strstr(buf_str(&answer.body), token));
	answer_release(&answer);
	expect_register(f, &f->alice, token, 202, NULL);
	/* Spent; but the very same registration is answered as the first. */
	expect_register(f, &bob, token, 403, "forbidden");
	expect_register(f, &f->alice, token, 202, NULL);
	invite(f, "{}", token, id);
	(void)snprintf(target, sizeof target, "/v1/sys/invites/%s", id);
	answer_expect(ask(&f->admin, "DELETE", target), 204, NULL);
	answer_expect(ask(&f->admin, "DELETE", target), 404, "not-found");
	expect_register(f, &bob, token, 403, "forbidden");
	/* Late. */
	invite(f, "{\"hours\":1}", token, id);
	f->node.machine.now_ms += 3600 * 1000 + 1;
	expect_register(f, &bob, token, 403, "forbidden");
	account_client_release(&bob);
}

/* --- devices --- */

/* A device-add statement for a device of these keys, next of the chain. */
static void add_statement(struct fixture *f, const uint8_t id[16], const struct key *sign,
	const struct key *hpke, const char *name, struct buf *to)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct err e = {0};

	identity_body_device(&body, id, key_public(sign), key_public(hpke), name);
	if (identity_make(&f->identity, IDENTITY_DEVICE_ADD, buf_bytes(&body),
		    f->alice.person.signing, 3000, to, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static struct answer send_statement(
	struct fixture *f, const char *verb, const char *target, const struct buf *statement)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	buf_printf(&text, "{\"statement\":\"");
	base64_append(&text, buf_bytes(statement));
	buf_printf(&text, "\"}");
	return http_client_json(&f->http, verb, target, "", buf_str(&text));
}

static void expect_state(struct answer answer, int status, const char *device_state)
{
	if (answer.status != status) {
		fail_msg("%d, wanted %d: %s", answer.status, status, buf_str(&answer.body));
	}
	assert_string_equal(answer_text(&answer, "state"), device_state);
	answer_release(&answer);
}

static void test_devices(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf asked = BUF_INIT, approved = BUF_INIT, other = BUF_INIT;
	_cleanup_(buf_release) struct buf body = BUF_INIT, revoked = BUF_INIT;
	uint8_t id[16] = {7};
	char target[80], hex[33];
	struct key *sign, *hpke, *others;
	struct answer answer;
	struct err e = {0};

	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &sign, &e), 0);
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &others, &e), 0);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &hpke, &e), 0);
	hex_encode(bytes_of(id, 16), hex);
	register_alice(f);
	log_in(f, false);
	add_statement(f, id, sign, hpke, "phone", &asked);
	asked.data[asked.len - 1] ^= 1;
	answer_expect(send_statement(f, "POST", "/v1/devices", &asked), 400, "invalid");
	asked.data[asked.len - 1] ^= 1;
	for (unsigned i = 0; i < 2; i++) {
		expect_state(send_statement(f, "POST", "/v1/devices", &asked), 202, "pending");
	}
	answer = ask(&f->http, "GET", "/v1/devices");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 2);
	answer_release(&answer);
	/* Not by itself, and not for other keys than those that wait. */
	(void)snprintf(target, sizeof target, "/v1/devices/%s/approve", hex);
	add_statement(f, id, sign, hpke, "her phone", &approved);
	answer_expect(send_statement(f, "POST", target, &approved), 403, "forbidden");
	log_in(f, true);
	add_statement(f, id, others, hpke, "phone", &other);
	answer_expect(send_statement(f, "POST", target, &other), 400, "invalid");
	for (unsigned i = 0; i < 2; i++) {
		expect_state(send_statement(f, "POST", target, &approved), 200, "active");
	}
	append(f, buf_bytes(&approved));
	/* A statement made before that is not the next one any more. */
	answer_expect(send_statement(f, "POST", "/v1/devices", &other), 412, "precondition-failed");
	identity_body_revoke(&body, id, NULL, 0);
	assert_int_equal(identity_make(&f->identity, IDENTITY_DEVICE_REVOKE, buf_bytes(&body),
				 f->alice.person.signing, 4000, &revoked, &e),
		0);
	(void)snprintf(target, sizeof target, "/v1/devices/%032d", 8);
	answer_expect(send_statement(f, "DELETE", target, &revoked), 400, "invalid");
	(void)snprintf(target, sizeof target, "/v1/devices/%s", hex);
	for (unsigned i = 0; i < 2; i++) {
		answer_expect(send_statement(f, "DELETE", target, &revoked), 204, NULL);
	}
	append(f, buf_bytes(&revoked));
	answer = ask(&f->http, "GET", "/v1/devices");
	assert_non_null(strstr(buf_str(&answer.body), "\"revoked\""));
	answer_release(&answer);
	key_free(sign);
	key_free(others);
	key_free(hpke);
}

static void test_device_refused(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf asked = BUF_INIT;
	uint8_t id[16] = {7};
	char target[80], hex[33];

	hex_encode(bytes_of(id, 16), hex);
	(void)snprintf(target, sizeof target, "/v1/devices/%s/refuse", hex);
	register_alice(f);
	log_in(f, false);
	add_statement(f, id, f->alice.person.device, f->alice.person.transfer, "x", &asked);
	expect_state(send_statement(f, "POST", "/v1/devices", &asked), 202, "pending");
	answer_expect(ask(&f->http, "POST", target), 204, NULL);
	answer_expect(ask(&f->http, "POST", target), 404, "not-found");
}

/* --- account --- */

static void policy(struct fixture *f, uint32_t flags, struct buf *to)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct err e = {0};

	buf_put_u32(&body, flags);
	buf_clear(to);
	assert_int_equal(identity_make(&f->identity, IDENTITY_POLICY, buf_bytes(&body),
				 f->alice.person.signing, 5000, to, &e),
		0);
}

/* A first second factor and a new password are for who signed in just now; what was added without
 * her an operator takes away. */
static void test_fresh_login(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	char token[64], id[65];
	struct answer answer;

	register_alice(f);
	log_in(f, true);
	f->node.machine.now_ms += 5 * 60 * 1000 + 1000;
	invite(f, "{}", token, id); /* Cluster time moves with a command. */
	answer_expect(http_client_json(&f->http, "POST", "/v1/mfa/ip", "",
			      "{\"networks\":[\"127.0.0.0/8\"]}"),
		403, "forbidden");
	account_client_change(&f->alice, &body);
	answer = http_client_json(&f->http, "POST", "/v1/password", "", buf_str(&body));
	assert_int_equal(answer.status, 403);
	assert_non_null(strstr(answer_text(&answer, "detail"), "sign in again"));
	answer_release(&answer);
}

/* Each share that is handed out is a command of the whole cluster: it is counted as a login is. */
static void test_unlock_is_counted(void **state)
{
	struct fixture *f = *state;
	int status = 200;

	register_alice(f);
	log_in(f, true);
	for (unsigned i = 0; i < 500 && status == 200; i++) {
		struct answer answer = ask(&f->http, "GET", "/v1/unlock");

		status = answer.status;
		answer_release(&answer);
	}
	assert_int_equal(status, 429);
	answer_expect(ask(&f->http, "GET", "/v1/account"), 200, NULL);
}

static void test_mfa_reset(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	register_alice(f);
	log_in(f, true);
	answer_expect(http_client_json(&f->http, "POST", "/v1/mfa/ip", "",
			      "{\"networks\":[\"127.0.0.0/8\"]}"),
		201, NULL);
	answer_expect(ask(&f->admin, "POST", "/v1/sys/users/nobody/mfa-reset"), 404, "not-found");
	answer_expect(ask(&f->admin, "POST", "/v1/sys/users/alice/mfa-reset"), 204, NULL);
	answer_expect(ask(&f->http, "GET", "/v1/mfa"), 401, "unauthenticated");
	log_in(f, true);
	answer = ask(&f->http, "GET", "/v1/mfa");
	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 0);
	answer_release(&answer);
	answer = ask(&f->http, "GET", "/v1/account/access-log");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), "mfa-reset"));
	answer_release(&answer);
	answer = ask(&f->admin, "GET", "/v1/sys/audit");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), "person_rule"));
	answer_release(&answer);
}

/* What cannot be unsealed - another pepper, or a site that lied - is no damage of this store. */
static void test_sealed_by_another(void **state)
{
	struct fixture *f = *state;
	struct fixture_person dave;
	struct command command;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
	struct account_client as = f->alice;

	fixture_person_init(&dave, 3);
	command = fixture_register(&dave);
	command.person_register.credentials.pepper_id = f->node.secrets.pepper_id;
	command_encode(&command, &bytes);
	(void)pthread_mutex_lock(&f->node.lock);
	assert_int_equal(fixture_machine_run(&f->node.machine, buf_bytes(&bytes)), 0);
	(void)pthread_mutex_unlock(&f->node.lock);
	(void)snprintf(as.person.name, sizeof as.person.name, "%.31s", dave.name);
	answer_expect(account_client_start(&as, &f->http, &srp), 503, "behind");
	assert_int_equal(f->node.doubts, 0);
	fixture_person_release(&dave);
}

static void test_policy(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf statement = BUF_INIT;
	struct answer answer;

	register_alice(f);
	log_in(f, true);
	policy(f, IDENTITY_POLICY_NO_WEB, &statement);
	answer = send_statement(f, "PATCH", "/v1/account", &statement);
	assert_int_equal(answer.status, 200);
	assert_true(json_is_true(
		json_object_get(json_object_get(answer.json, "policy"), "no_web_login")));
	answer_release(&answer);
	append(f, buf_bytes(&statement));
	answer_expect(account_client_login(&f->alice, &f->http, false), 401, "unauthenticated");
	log_in(f, true);
	answer = ask(&f->http, "GET", "/v1/account/access-log");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), "login-refused"));
	answer_release(&answer);
}

/* A new signing key: by who signed in just now. Another device of hers cannot go on with the old
 * one. */
static void test_signing_key(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT, other = BUF_INIT;
	_cleanup_(key_freep) struct key *fresh = NULL;
	char token[64], id[65];
	struct err e = {0};

	assert_int_equal(key_generate(KEY_RSA_PSS, 2048, &fresh, &e), 0);
	assert_int_equal(identity_body_rotate(&body, &f->identity, fresh, &e), 0);
	assert_int_equal(identity_make(&f->identity, IDENTITY_ROTATE, buf_bytes(&body),
				 f->alice.person.signing, 5000, &statement, &e),
		0);
	policy(f, IDENTITY_POLICY_NO_WEB, &other);
	register_alice(f);
	log_in(f, false);
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 403, "forbidden");
	log_in(f, true);
	f->node.machine.now_ms += 5 * 60 * 1000 + 1000;
	invite(f, "{}", token, id); /* Cluster time moves with a command. */
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 403, "forbidden");
	log_in(f, true);
	statement.data[statement.len - 1] ^= 1;
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 400, "invalid");
	statement.data[statement.len - 1] ^= 1;
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 200, NULL);
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 200, NULL);
	append(f, buf_bytes(&statement));
	answer_expect(
		send_statement(f, "PATCH", "/v1/account", &other), 412, "precondition-failed");
	/* By the old key, in the right place: identity_make() would assert. */
	{
		struct statement s = {.chain = CHAIN_IDENTITY,
			.type = IDENTITY_POLICY,
			.seq = f->identity.seq + 1,
			.body = bytes_of((const uint8_t[4]){0, 0, 0, 1}, 4)};

		memcpy(s.object_id, f->identity.user_id, ID_BYTES);
		memcpy(s.prev_hash, f->identity.head_hash, HASH_BYTES);
		buf_clear(&other);
		assert_int_equal(statement_sign(&s, f->alice.person.signing, &other, &e), 0);
	}
	answer_expect(send_statement(f, "PATCH", "/v1/account", &other), 400, "invalid");
}

/* A further transfer key, of another kind: likewise by who signed in just now. */
static void test_transfer_key(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT, revoke = BUF_INIT;
	_cleanup_(key_freep) struct key *fresh = NULL;
	char token[64], id[65];
	struct err e = {0};

	assert_int_equal(key_generate(KEY_KEM_P384, 0, &fresh, &e), 0);
	identity_body_transfer(&body, key_public(fresh));
	assert_int_equal(identity_make(&f->identity, IDENTITY_TRANSFER_ADD, buf_bytes(&body),
				 f->alice.person.signing, 5000, &statement, &e),
		0);
	assert_int_equal(identity_make(&f->identity, IDENTITY_TRANSFER_REVOKE,
				 bytes_of(key_pub_kid(f->identity.transfer[0]), KID_BYTES),
				 f->alice.person.signing, 5000, &revoke, &e),
		0);
	register_alice(f);
	log_in(f, false);
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 403, "forbidden");
	log_in(f, true);
	f->node.machine.now_ms += 5 * 60 * 1000 + 1000;
	invite(f, "{}", token, id); /* Cluster time moves with a command. */
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 403, "forbidden");
	log_in(f, true);
	answer_expect(send_statement(f, "PATCH", "/v1/account", &revoke), 400, "invalid");
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 200, NULL);
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 200, NULL);
}

/* The next statement of alice's chain, in the chain and the buffer. */
static void next_statement(struct fixture *f, unsigned type, struct bytes body, struct buf *to)
{
	struct err e = {0};

	buf_clear(to);
	assert_int_equal(
		identity_make(&f->identity, type, body, f->alice.person.signing, 5000, to, &e), 0);
	assert_int_equal(identity_append(&f->identity, buf_bytes(to), &e), 0);
}

/* It takes its time, and a connection that is open does not wait for it. */
static struct key *rsa_key;

static int setup_keys(void **state)
{
	struct err e = {0};

	(void)state;
	return key_generate(KEY_KEM_RSA, 0, &rsa_key, &e);
}

static int teardown_keys(void **state)
{
	(void)state;
	key_free(rsa_key);
	return 0;
}

/* The RSA key may go, at any time; the one that everybody is able to give by may not. */
static void test_transfer_key_revoked(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT, revoke = BUF_INIT;
	const struct key_pub *curve = f->identity.transfer[0];
	char token[64], id[65];
	struct err e = {0};

	register_alice(f);
	log_in(f, true);
	identity_body_transfer(&body, key_public(rsa_key));
	next_statement(f, IDENTITY_TRANSFER_ADD, buf_bytes(&body), &statement);
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 200, NULL);
	assert_int_equal(identity_make(&f->identity, IDENTITY_TRANSFER_REVOKE,
				 bytes_of(key_pub_kid(curve), KID_BYTES), f->alice.person.signing,
				 5000, &revoke, &e),
		0);
	answer_expect(send_statement(f, "PATCH", "/v1/account", &revoke), 400, "invalid");
	f->node.machine.now_ms += 5 * 60 * 1000 + 1000;
	invite(f, "{}", token, id); /* Cluster time moves with a command. */
	next_statement(f, IDENTITY_TRANSFER_REVOKE,
		bytes_of(key_pub_kid(key_public(rsa_key)), KID_BYTES), &statement);
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 200, NULL);
	answer_expect(send_statement(f, "PATCH", "/v1/account", &statement), 200, NULL);
}

static void test_account(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	char target[80], hex[33];

	register_alice(f);
	log_in(f, true);
	api_node_vault(&f->node, &f->alice.person, &f->http);
	answer = ask(&f->http, "GET", "/v1/account");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "user"), "alice");
	assert_string_equal(answer_text(&answer, "kind"), "person");
	assert_int_equal(answer_number(&answer, "vaults"), 1);
	assert_int_equal(answer_number(&answer, "keyring_revision"), 1);
	answer_release(&answer);
	answer = ask(&f->http, "GET", "/v1/account/usage");
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer_number(&answer, "keyring_bytes"), f->alice.keyring_object.len);
	answer_release(&answer);
	answer = ask(&f->http, "GET", "/v1/account/export");
	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(json_object_get(answer.json, "identity")), 2);
	assert_int_equal(json_array_size(json_object_get(answer.json, "vaults")), 1);
	answer_release(&answer);
	answer = ask(&f->http, "GET", "/v1/users/alice");
	assert_int_equal(answer.status, 200);
	hex_encode(bytes_of(f->identity.head_hash, 32), target);
	assert_string_equal(answer_text(&answer, "head_hash"), target);
	assert_int_equal(json_array_size(json_object_get(answer.json, "transfer")), 1);
	answer_release(&answer);
	answer_expect(ask(&f->http, "GET", "/v1/users/nobody"), 404, "not-found");
	answer_expect(ask(&f->http, "GET", "/v1/users/Alice"), 400, "invalid");
	hex_encode(bytes_of(f->alice.person.user_id, 16), hex);
	(void)snprintf(target, sizeof target, "/v1/users/%s/identity?limit=1", hex);
	answer = ask(&f->http, "GET", target);
	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 1);
	assert_true(json_is_false(json_object_get(answer.json, "done")));
	answer_release(&answer);
}

static void test_delete(void **state)
{
	struct fixture *f = *state;
	char token[64], id[65], kept[64];

	register_alice(f);
	log_in(f, true);
	memcpy(kept, f->http.token, sizeof kept);
	f->node.machine.now_ms += 5 * 60 * 1000 + 1000;
	invite(f, "{}", token, id); /* Cluster time moves with a command. */
	answer_expect(ask(&f->http, "DELETE", "/v1/account"), 403, "forbidden");
	log_in(f, true);
	answer_expect(ask(&f->http, "DELETE", "/v1/account"), 204, NULL);
	answer_expect(ask(&f->http, "GET", "/v1/account"), 401, "unauthenticated");
	memcpy(f->http.token, kept, sizeof kept);
	answer_expect(ask(&f->http, "GET", "/v1/account"), 401, "unauthenticated");
	answer_expect(account_client_login(&f->alice, &f->http, false), 401, "unauthenticated");
	/* The name is never given again. */
	account_client_release(&f->alice);
	account_client_init(&f->alice, &f->node, "alice");
	expect_register(f, &f->alice, token, 409, "conflict");
}

/* --- what the nodes' settings ask --- */

/* As a node would that has these settings. */
static void announce(struct fixture *f, uint64_t node, unsigned registration, uint64_t bytes_max)
{
	struct command command = {.type = COMMAND_POLICY_ANNOUNCE,
		.policy_announce = {.node = node,
			.registration = (uint8_t)registration,
			.recovery_delay_ms = 60000,
			.bytes_max = bytes_max}};

	(void)pthread_mutex_lock(&f->node.lock);
	assert_int_equal(fixture_machine_do(&f->node.machine, &command), 0);
	(void)pthread_mutex_unlock(&f->node.lock);
}

static void expect_alarm(struct fixture *f, bool there)
{
	struct answer answer = ask(&f->admin, "GET", "/v1/sys/alarms");

	assert_int_equal(answer.status, 200);
	assert_int_equal(strstr(buf_str(&answer.body), "\"accounts\"") != NULL, there);
	answer_release(&answer);
}

static struct answer put_page(struct fixture *f, uint64_t page_no)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, head = BUF_INIT, fields = BUF_INIT;
	struct person *p = &f->alice.person;
	char target[80], vault[33];

	person_page(p, page_no, 1, "text", &page);
	person_head(p, page_no, buf_bytes(&page), &head);
	hex_encode(bytes_of(p->vault_id, 16), vault);
	(void)snprintf(target, sizeof target, "/v1/vaults/%s/pages/%d", vault, (int)page_no);
	buf_printf(&fields, "Content-Type: application/octet-stream\r\nIf-None-Match: *\r\n"
			    "Kluis-Head: ");
	base64_append(&fields, buf_bytes(&head));
	buf_printf(&fields, "\r\n");
	return http_client_call(&f->http, "PUT", target, buf_str(&fields), buf_bytes(&page));
}

/* The answer says what is allowed and what is taken; usage says the same before. */
static void test_quota(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	register_alice(f);
	log_in(f, true);
	announce(f, 2, POLICY_OPEN, 5000);
	api_node_vault(&f->node, &f->alice.person, &f->http);
	answer_expect(put_page(f, 0), 201, NULL);
	person_committed(&f->alice.person, 0);
	answer = put_page(f, 1);
	assert_int_equal(answer.status, 507);
	assert_string_equal(answer_text(&answer, "code"), "quota-exceeded");
	assert_int_equal(answer_number(&answer, "limit"), 5000);
	assert_non_null(strstr(answer_text(&answer, "detail"), "4240 of 5000 bytes"));
	answer_release(&answer);
	answer = ask(&f->http, "GET", "/v1/account/usage");
	assert_int_equal(answer_number(&answer, "bytes"), 4240);
	assert_int_equal(answer_number(&answer, "bytes_max"), 5000);
	assert_int_equal(answer_number(&answer, "pages"), 1);
	assert_true(json_is_null(json_object_get(answer.json, "pages_max")));
	answer_release(&answer);
	answer = ask(&f->http, "GET", "/v1/account");
	assert_int_equal(answer_number(&answer, "bytes"), 4240);
	answer_release(&answer);
	answer_expect(http_client_json(&f->admin, "POST", "/v1/sys/users/alice/quota", "",
			      "{\"vaults_max\":1,\"vault_pages_max\":5,\"bytes_max\":9000}"),
		200, NULL);
	answer_expect(put_page(f, 1), 201, NULL);
	person_committed(&f->alice.person, 1);
}

/* Whichever node's settings are the strictest: all hold to them, and clients are told. */
static void test_strictest(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	const json_t *policy;
	char token[64], id[65];

	invite(f, "{\"uses\":2}", token, id);
	announce(f, 3, POLICY_OPEN, 0);
	expect_alarm(f, false);
	announce(f, 2, POLICY_CLOSED, 0);
	expect_alarm(f, true);
	expect_register(f, &f->alice, token, 403, "forbidden");
	answer = ask(&f->http, "GET", "/.well-known/kluis.json");
	policy = json_object_get(answer.json, "policy");
	assert_string_equal(json_string_value(json_object_get(policy, "register")), "closed");
	assert_int_equal(json_integer_value(json_object_get(policy, "recovery_delay_ms")), 60000);
	answer_release(&answer);
	announce(f, 2, POLICY_OPEN, 0);
	expect_alarm(f, false);
	expect_register(f, &f->alice, NULL, 403, "forbidden"); /* This node's own. */
	expect_register(f, &f->alice, token, 202, NULL);
}

/* --- operators --- */

static void test_operators(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	register_alice(f);
	log_in(f, true);
	answer = ask(&f->admin, "GET", "/v1/sys/users");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), "\"alice\""));
	answer_release(&answer);
	answer = ask(&f->admin, "GET", "/v1/sys/users/alice/sessions");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 1);
	answer_release(&answer);
	answer_expect(ask(&f->admin, "DELETE", "/v1/sys/users/alice/sessions"), 204, NULL);
	answer_expect(ask(&f->http, "GET", "/v1/account"), 401, "unauthenticated");
	log_in(f, true);
	answer_expect(ask(&f->admin, "POST", "/v1/sys/users/alice/disable"), 204, NULL);
	answer_expect(ask(&f->http, "GET", "/v1/account"), 401, "unauthenticated");
	answer_expect(account_client_login(&f->alice, &f->http, true), 401, "unauthenticated");
	answer_expect(ask(&f->admin, "POST", "/v1/sys/users/alice/enable"), 204, NULL);
	log_in(f, true);
	answer_expect(http_client_json(&f->admin, "POST", "/v1/sys/users/alice/quota", "",
			      "{\"vaults_max\":1,\"vault_pages_max\":5}"),
		200, NULL);
	answer = ask(&f->admin, "GET", "/v1/sys/users/alice");
	assert_int_equal(answer_number(&answer, "vaults_max"), 1);
	answer_release(&answer);
	answer_expect(ask(&f->admin, "POST", "/v1/sys/users/nobody/disable"), 404, "not-found");
	answer_expect(ask(&f->admin, "POST", "/v1/sys/users/alice/delete"), 204, NULL);
	answer_expect(ask(&f->admin, "GET", "/v1/sys/users/alice"), 410, "gone");
	answer = ask(&f->admin, "GET", "/v1/sys/users");
	assert_non_null(strstr(buf_str(&answer.body), "\"deleted\""));
	answer_release(&answer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_invites),
		TEST(test_names_are_not_told),
		TEST(test_devices),
		TEST(test_device_refused),
		TEST(test_policy),
		TEST(test_signing_key),
		TEST(test_transfer_key),
		TEST(test_transfer_key_revoked),
		TEST(test_fresh_login),
		TEST(test_mfa_reset),
		cmocka_unit_test_setup_teardown(test_unlock_is_counted, setup_slow, teardown),
		TEST(test_sealed_by_another),
		TEST(test_account),
		TEST(test_delete),
		TEST(test_quota),
		TEST(test_strictest),
		TEST(test_operators),
	};
#undef TEST

	return cmocka_run_group_tests(tests, setup_keys, teardown_keys);
}

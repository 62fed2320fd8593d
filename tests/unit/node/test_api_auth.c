/* Who may call what: every row of the route table, with no token, a malformed one, one that was
 * never given, one that has expired, one that was revoked, one of a device that was revoked, one
 * that waits for its second factor, one of a recovery, one of a service account, one without a
 * device, another user's. A route that the matrix has no row for fails the test. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "node/route.h"
#include "tests/lib/api/account_client.h"

struct fixture {
	struct api_node node;
	struct person owner, other;
	struct http_client client, admin;
	char owner_token[64], other_token[64], revoked_token[64];
	char login_token[64], recovery_token[64], bare_token[64], ended_token[64];
	char vault[33];
};

static void join(struct fixture *f, struct person *person, const char *name, char token[64])
{
	person_init(person, name);
	api_node_connect(&f->node, "http/1.1", &f->client);
	api_node_join(&f->node, person, &f->client);
	memcpy(token, f->client.token, 64);
}

static void sign_out_one(struct fixture *f)
{
	struct person person;
	struct answer answer;

	join(f, &person, "gone", f->revoked_token);
	answer = http_client_call(&f->client, "POST", "/v1/logout", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 204);
	answer_release(&answer);
	http_client_release(&f->client);
	person_release(&person);
}

static void sign_in(struct fixture *f, struct account_client *c, bool device, char token[64])
{
	struct answer answer = account_client_login(c, &f->client, device);

	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	memcpy(token, f->client.token, 64);
}

/* A second factor of hers, put into the state machine directly, so that a login waits for it. */
static void add_factor(struct fixture *f, const char *token)
{
	struct command command = {.type = COMMAND_MFA_ADD};
	uint8_t token_hash[32];

	hash_sha256(bytes_str(token), token_hash);
	(void)pthread_mutex_lock(&f->node.lock);
	memcpy(command.mfa_add.session.token_hash, token_hash, 32);
	command.mfa_add.mfa_id[0] = 1;
	command.mfa_add.method = MFA_TOTP;
	command.mfa_add.secret = bytes_str("sealed");
	assert_int_equal(fixture_machine_do(&f->node.machine, &command), 0);
	command = (struct command){.type = COMMAND_MFA_CONFIRM};
	memcpy(command.mfa_confirm.session.token_hash, token_hash, 32);
	command.mfa_confirm.mfa_id[0] = 1;
	command.mfa_confirm.number = 1;
	assert_int_equal(fixture_machine_do(&f->node.machine, &command), 0);
	(void)pthread_mutex_unlock(&f->node.lock);
}

/* Revokes the device that the session of client->token is of. */
static void revoke_own(struct fixture *f, struct account_client *c)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT, statement = BUF_INIT, text = BUF_INIT;
	struct identity identity;
	struct answer answer;
	char target[64], hex[33];
	struct err e = {0};

	identity_init(&identity);
	assert_int_equal(identity_append(&identity, buf_bytes(&c->person.genesis), &e), 0);
	assert_int_equal(identity_append(&identity, buf_bytes(&c->person.device_statement), &e), 0);
	identity_body_revoke(&body, c->person.device_id, NULL, 0);
	assert_int_equal(identity_make(&identity, IDENTITY_DEVICE_REVOKE, buf_bytes(&body),
				 c->person.signing, 2000, &statement, &e),
		0);
	identity_release(&identity);
	buf_printf(&text, "{\"statement\":\"");
	base64_append(&text, buf_bytes(&statement));
	buf_printf(&text, "\"}");
	hex_encode(bytes_of(c->person.device_id, 16), hex);
	(void)snprintf(target, sizeof target, "/v1/devices/%s", hex);
	answer = http_client_json(&f->client, "DELETE", target, "", buf_str(&text));
	if (answer.status != 204) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	answer_release(&answer);
}

/* Persons, and a session of every kind that may not do everything. */
static void make_persons(struct fixture *f)
{
	struct account_client c;
	struct answer answer;

	account_client_init(&c, &f->node, "carol");
	api_node_connect(&f->node, "http/1.1", &f->client);
	account_client_register(&c, &f->client);
	sign_in(f, &c, false, f->bare_token);
	answer = account_client_recover(&c, &f->client);
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	memcpy(f->recovery_token, f->client.token, 64);
	account_client_release(&c);
	account_client_init(&c, &f->node, "dora");
	account_client_register(&c, &f->client);
	sign_in(f, &c, true, f->ended_token);
	add_factor(f, f->ended_token);
	answer = account_client_login(&c, &f->client, false);
	assert_string_equal(answer_text(&answer, "level"), "login");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(answer.json, "mfa"), 0)), "totp");
	answer_release(&answer);
	memcpy(f->login_token, f->client.token, 64);
	memcpy(f->client.token, f->ended_token, 64);
	revoke_own(f, &c);
	account_client_release(&c);
	http_client_release(&f->client);
}

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	f->node.config.registration = REGISTRATION_OPEN;
	api_node_run(&f->node);
	make_persons(f);
	sign_out_one(f);
	join(f, &f->other, "other", f->other_token);
	http_client_release(&f->client);
	join(f, &f->owner, "owner", f->owner_token);
	api_node_vault(&f->node, &f->owner, &f->client);
	api_node_admin(&f->node, &f->admin);
	hex_encode(bytes_of(f->owner.vault_id, 16), f->vault);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_client_release(&f->client);
	http_client_release(&f->admin);
	person_release(&f->owner);
	person_release(&f->other);
	api_node_stop(&f->node);
	free(f);
	return 0;
}

/* The pattern with real things in its places. */
static void target_of(struct fixture *f, const struct route *route, struct buf *to)
{
	const char *at = route->pattern;

	while (*at != '\0') {
		if (strncmp(at, "{v}", 3) == 0) {
			buf_printf(to, "%s", f->vault);
		} else if (strncmp(at, "{g}", 3) == 0 || strncmp(at, "{c}", 3) == 0) {
			buf_printf(to, "00000000000000000000000000000000");
		} else if (strncmp(at, "{sha256}", 8) == 0) {
			for (unsigned i = 0; i < 64; i++) {
				buf_append(to, "a", 1);
			}
		} else if (strncmp(at, "{n}", 3) == 0 || strncmp(at, "{rev}", 5) == 0) {
			buf_append(to, "0", 1);
		} else if (strncmp(at, "{node}", 6) == 0) {
			buf_append(to, "7", 1);
		} else if (strncmp(at, "{id}", 4) == 0 || strncmp(at, "{doc}", 5) == 0) {
			buf_printf(to, "%s",
				route->auth == ROUTE_ADMIN ? "7"
							   : "00000000000000000000000000000000");
		} else if (strncmp(at, "{name}", 6) == 0) {
			buf_printf(to, "owner");
		} else if (*at == '{') {
			fail_msg("no value for a place of '%s'", route->pattern);
		} else {
			buf_append(to, at, 1);
			at++;
			continue;
		}
		at = strchr(at, '}') + 1;
	}
}

static struct answer call(
	struct http_client *client, struct fixture *f, const struct route *route, const char *token)
{
	struct buf target = BUF_INIT, fields = BUF_INIT;
	struct answer answer;
	const char *type =
		route->body == ROUTE_JSON ? "application/json" : "application/octet-stream";

	target_of(f, route, &target);
	if (route->body != ROUTE_NO_BODY) {
		buf_printf(&fields, "Content-Type: %s\r\n", type);
	}
	if (route->once) {
		buf_printf(&fields, "Idempotency-Key: matrix\r\n");
	}
	client->token[0] = '\0';
	if (token != NULL) {
		(void)snprintf(client->token, sizeof client->token, "%s", token);
	}
	answer = http_client_call(client, http_verb_name(route->verb), buf_str(&target),
		buf_str(&fields),
		route->body == ROUTE_NO_BODY ? bytes_of(NULL, 0) : bytes_str("{}"));
	buf_release(&target);
	buf_release(&fields);
	return answer;
}

static void reconnect(struct fixture *f)
{
	http_client_release(&f->client);
	api_node_connect(&f->node, "http/1.1", &f->client);
}

/* A connection that was closed is made anew. */
static struct answer call_again(struct fixture *f, const struct route *route, const char *token)
{
	struct answer answer = call(&f->client, f, route, token);

	if (strcmp(answer_field(&answer, "connection"), "close") == 0) {
		reconnect(f);
	}
	return answer;
}

static void expect_one(struct fixture *f, const struct route *route, const char *token,
	const char *kind, int status)
{
	struct answer answer = call_again(f, route, token);

	if (answer.status != status) {
		fail_msg("%s with a token that is %s: %d, wanted %d", route->name, kind,
			answer.status, status);
	}
	answer_release(&answer);
}

/* Whatever is wrong with such a request, it is not who asks. */
static void expect_let_in(
	struct fixture *f, const struct route *route, const char *token, const char *kind)
{
	struct answer answer = call_again(f, route, token);

	if (answer.status == 401 || answer.status == 403 || answer.status >= 500) {
		fail_msg("%s with a token that is %s: %d %s", route->name, kind, answer.status,
			buf_str(&answer.body));
	}
	answer_release(&answer);
}

/* Wants this status for every route that asks for a token; or for operators' routes. */
static void expect_all(struct fixture *f, bool admin, const char *token, int status)
{
	for (size_t i = 0; i < api_routes_count; i++) {
		const struct route *route = &api_routes[i];

		if (admin ? route->auth == ROUTE_ADMIN : route_has_token(route)) {
			expect_one(f, route, token, token == NULL ? "missing" : token, status);
		}
	}
}

/* Who may not, though the token is good: what a route refuses for the person's sake. */
struct matrix_row {
	const char *name;
	int service; /* Of a service account: 403, or 0: let in. */
	int bare;    /* Of a session without a device: 403, or 0: not asked here. */
};
static const struct matrix_row matrix[] = {
	{"recovery_cancel", 0, 0},
	{"logout", -1, 0}, /* It would end the session that the others need. */
	{"session_list", 0, 0},
	{"session_end_others", 0, 0},
	{"session_get", 0, 0},
	{"session_end", 0, 0},
	{"unlock_get", 403, 0},
	{"keyring_get", 403, 0},
	{"keyring_put", 403, 403},
	{"keyring_version_list", 403, 0},
	{"keyring_version_get", 403, 0},
	{"password_set", 0, 0}, /* An empty body is refused first. */
	{"device_list", 0, 0},
	{"device_add", 0, 0},
	{"device_approve", 0, 0},
	{"device_refuse", 0, 0},
	{"device_revoke", 0, 0},
	{"mfa_list", 0, 0},
	{"mfa_add_totp", 403, 0},
	{"mfa_add_hotp", 403, 0},
	{"mfa_add_fido2", 0, 0}, /* An empty body is refused first; so for the next three. */
	{"mfa_add_ip", 0, 0},
	{"mfa_add_location", 0, 0},
	{"mfa_challenge", 0, 0},
	{"mfa_verify", 0, 0},
	{"mfa_remove", 403, 0},
	{"push_list", 0, 0},
	{"push_add", 0, 0}, /* An empty body is refused first. */
	{"push_services", 0, 0},
	{"push_send", 0, 0},
	{"push_delete", 0, 0},
	{"account_get", 0, 0},
	{"account_patch", 0, 0},
	{"account_delete", 403, 0},
	{"account_usage", 0, 0},
	{"account_export", 403, 0},
	{"access_log", 0, 0},
	{"user_get", 0, 0},
	{"user_identity", 0, 0},
	{"event_ticket", 0, 0},
	{"event_poll", 0, 0},
	{"inbox_deposit", 0, 0},
	{"inbox_list", 0, 0},
	{"inbox_get", 0, 0},
	{"inbox_delete", 0, 403},
	{"inbox_token_list", 0, 0},
	{"inbox_token_create", 0, 0}, /* An empty body is refused first. */
	{"inbox_token_end", 0, 0},
	{"call_ice", 0, 0},
	{"call_signal", 0, 0},
	{"vault_list", 0, 0},
	{"vault_create", 0, 0},
	{"vault_get", 0, 0},
	{"vault_patch", 0, 0},
	{"vault_delete", 0, 0},
	/* An empty change is refused first; so is what makes a group or sends packets. */
	{"vault_members_change", 0, 0},
	{"vault_accept", 0, 0},
	{"vault_decline", 0, 0},
	{"group_list", 0, 0},
	{"group_create", 0, 0},
	{"group_get", 0, 0},
	{"group_members", 0, 0},
	{"group_chain", 0, 0},
	{"group_members_change", 0, 0},
	{"group_accept", 0, 0},
	{"group_decline", 0, 0},
	{"group_delete", 0, 403},
	{"conversation_list", 0, 0},
	{"conversation_create", 0, 0},
	{"conversation_get", 0, 0},
	{"conversation_members", 0, 0},
	{"conversation_chain", 0, 0},
	{"conversation_members_change", 0, 0},
	{"conversation_accept", 0, 0},
	{"conversation_decline", 0, 0},
	{"chat_epoch", 0, 0},
	{"message_list", 0, 0},
	{"message_send", 0, 0},
	{"receipt_list", 0, 0},
	{"receipt_send", 0, 0}, /* An empty body is refused first. */
	{"packet_list", 0, 0},
	{"packet_send", 0, 0},
	{"packet_ack", 0, 0},
	{"pages_unshare", 0, 0},
	{"vault_members", 0, 0},
	{"vault_chain", 0, 0},
	{"head_get", 0, 0},
	{"head_list", 0, 0},
	{"page_get", 0, 0},
	{"page_put", 0, 0},
	{"version_list", 0, 0},
	{"version_get", 0, 0},
	{"pages_get", 0, 0},
	{"staged_put", 0, 0},
	{"staged_head", 0, 0},
	{"commit", 0, 0},
	{"change_list", 0, 0},
};

static const struct matrix_row *matrix_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(matrix); i++) {
		if (strcmp(matrix[i].name, name) == 0) {
			return &matrix[i];
		}
	}
	fail_msg("route '%s' has no row in the matrix", name);
	return NULL;
}

static void expect_row(struct fixture *f, const struct route *route, const struct matrix_row *row)
{
	if (route->auth != ROUTE_LOGIN) {
		struct answer answer = call_again(f, route, f->login_token);

		assert_int_equal(answer.status, 403);
		if (route->verb != VERB_HEAD) {
			assert_string_equal(answer_text(&answer, "code"), "mfa-required");
		}
		answer_release(&answer);
	}
	if (route->auth == ROUTE_SESSION) {
		expect_one(f, route, f->recovery_token, "a recovery's", 403);
	} else if (route->auth == ROUTE_RECOVERY) {
		expect_let_in(f, route, f->recovery_token, "a recovery's");
	}
	if (row->service == 403) {
		expect_one(f, route, f->other_token, "a service's", 403);
	} else if (row->service == 0) {
		expect_let_in(f, route, f->other_token, "a service's");
	}
	if (row->bare == 403) {
		expect_one(f, route, f->bare_token, "of no device", 403);
	}
}

static void test_matrix(void **state)
{
	struct fixture *f = *state;
	size_t rows = 0;

	for (size_t i = 0; i < api_routes_count; i++) {
		if (route_has_token(&api_routes[i])) {
			const struct matrix_row *row = matrix_find(api_routes[i].name);

			expect_row(f, &api_routes[i], row);
			rows++;
		}
	}
	assert_int_equal(rows, ARRAY_SIZE(matrix));
}

static void test_sessions(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {NULL, "kst_", "kst_short",
		"kst_!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
		"ket_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"kst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		expect_all(f, false, bad[i], 401);
	}
	expect_all(f, false, f->revoked_token, 401);
	expect_all(f, false, f->ended_token, 401);
}

static void test_expired(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	/* The cluster's clock passes the session's end. */
	f->node.machine.now_ms += API_SESSION_MS + 1;
	answer = http_client_json(&f->admin, "POST", "/v1/sys/services",
		"Idempotency-Key: tick\r\n", "{\"name\":\"tick\"}");
	assert_int_equal(answer.status, 201);
	answer_release(&answer);
	expect_all(f, false, f->owner_token, 401);
	expect_all(f, false, f->bare_token, 401);
	expect_all(f, false, f->login_token, 401);
	expect_all(f, false, f->recovery_token, 401);
}

static void test_admin_routes_on_the_client_port(void **state)
{
	struct fixture *f = *state;

	expect_all(f, true, NULL, 404);
	expect_all(f, true, f->owner_token, 404);
	expect_all(f, true, f->bare_token, 404);
}

/* Another user's vault and one that is not there look the same, to the byte but the ids. */
static void test_other_user(void **state)
{
	struct fixture *f = *state;
	char real[33];

	memcpy(real, f->vault, sizeof real);
	for (size_t i = 0; i < api_routes_count; i++) {
		const struct route *route = &api_routes[i];
		struct answer theirs, none;

		if (strstr(route->pattern, "{v}") == NULL || route->body != ROUTE_NO_BODY ||
			strcmp(route->name, "change_list") == 0) {
			continue; /* Bodies and `since` are refused before the vault is looked at.
				   */
		}
		memcpy(f->vault, real, sizeof real);
		theirs = call(&f->client, f, route, f->other_token);
		memset(f->vault, 'b', 32);
		none = call(&f->client, f, route, f->other_token);
		memcpy(f->vault, real, sizeof real);
		if (theirs.status != 404 || none.status != 404) {
			fail_msg("%s: %d and %d", route->name, theirs.status, none.status);
		}
		if (route->verb != VERB_HEAD) {
			assert_string_equal(
				answer_text(&theirs, "detail"), answer_text(&none, "detail"));
			assert_string_equal(
				answer_text(&theirs, "code"), answer_text(&none, "code"));
		}
		assert_int_equal(theirs.body.len, none.body.len);
		answer_release(&theirs);
		answer_release(&none);
	}
}

/* Nothing of the matrix above may have worked: the owner still sees what was there. */
static void test_owner(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	char target[64];

	(void)snprintf(target, sizeof target, "/v1/vaults/%s", f->vault);
	(void)snprintf(f->client.token, sizeof f->client.token, "%s", f->owner_token);
	answer = http_client_call(&f->client, "GET", target, "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	assert_int_equal(answer_number(&answer, "seq"), 1);
	answer_release(&answer);
}

static void test_unknown_user_looks_like_a_known_one(void **state)
{
	struct fixture *f = *state;
	char user[33], device[33], body[160];
	struct answer known, unknown;

	hex_encode(bytes_of(f->owner.user_id, 16), user);
	hex_encode(bytes_of(f->owner.device_id, 16), device);
	(void)snprintf(
		body, sizeof body, "{\"user_id\":\"%s\",\"device_id\":\"%s\"}", user, device);
	known = http_client_json(&f->client, "POST", "/v1/login/device/start", "", body);
	memset(user, 'c', 32);
	(void)snprintf(
		body, sizeof body, "{\"user_id\":\"%s\",\"device_id\":\"%s\"}", user, device);
	unknown = http_client_json(&f->client, "POST", "/v1/login/device/start", "", body);
	assert_int_equal(known.status, 200);
	assert_int_equal(unknown.status, 200);
	assert_int_equal(known.body.len, unknown.body.len);
	for (unsigned i = 0; i < 2; i++) {
		/* A wrong signature over either. */
		struct answer finish;
		char text[256], signature[BASE64_LEN(64) + 1];
		uint8_t raw[64] = {1};

		base64_encode(bytes_of(raw, sizeof raw), signature);
		(void)snprintf(text, sizeof text, "{\"handshake\":\"%s\",\"signature\":\"%s\"}",
			answer_text(i == 0 ? &known : &unknown, "handshake"), signature);
		finish = http_client_json(&f->client, "POST", "/v1/login/device/finish", "", text);
		assert_int_equal(finish.status, 401);
		assert_string_equal(
			answer_text(&finish, "detail"), "user, device or signature is wrong");
		answer_release(&finish);
	}
	answer_release(&known);
	answer_release(&unknown);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_admin_routes_on_the_client_port),
		cmocka_unit_test(test_other_user),
		cmocka_unit_test(test_unknown_user_looks_like_a_known_one),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_expired),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* Who may call what: every row of the route table, with no token, a malformed one, one that was
 * never given, one that has expired, one that was revoked, another user's. A row that this test
 * does not know how to reach fails it. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "node/route.h"
#include "tests/lib/api/node.h"

struct fixture {
	struct api_node node;
	struct person owner, other;
	struct http_client client, admin;
	char owner_token[64], other_token[64], revoked_token[64];
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

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_start(&f->node);
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
		} else if (strncmp(at, "{sha256}", 8) == 0) {
			for (unsigned i = 0; i < 64; i++) {
				buf_append(to, "a", 1);
			}
		} else if (strncmp(at, "{n}", 3) == 0 || strncmp(at, "{rev}", 5) == 0) {
			buf_append(to, "0", 1);
		} else if (strncmp(at, "{node}", 6) == 0) {
			buf_append(to, "7", 1);
		} else if (strncmp(at, "{id}", 4) == 0) {
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

/* Wants this status for every route of this kind; a connection that was closed is made anew. */
static void expect_all(struct fixture *f, enum route_auth auth, const char *token, int status)
{
	for (size_t i = 0; i < api_routes_count; i++) {
		struct answer answer;

		if (api_routes[i].auth != auth) {
			continue;
		}
		answer = call(&f->client, f, &api_routes[i], token);
		if (answer.status != status) {
			fail_msg("%s with '%s': %d, wanted %d", api_routes[i].name,
				token == NULL ? "no token" : token, answer.status, status);
		}
		if (strcmp(answer_field(&answer, "connection"), "close") == 0) {
			reconnect(f);
		}
		answer_release(&answer);
	}
}

static void test_sessions(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {NULL, "kst_", "kst_short",
		"kst_!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
		"ket_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"kst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		expect_all(f, ROUTE_SESSION, bad[i], 401);
	}
	expect_all(f, ROUTE_SESSION, f->revoked_token, 401);
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
	expect_all(f, ROUTE_SESSION, f->owner_token, 401);
}

static void test_admin_routes_on_the_client_port(void **state)
{
	struct fixture *f = *state;

	expect_all(f, ROUTE_ADMIN, NULL, 404);
	expect_all(f, ROUTE_ADMIN, f->owner_token, 404);
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
		cmocka_unit_test(test_admin_routes_on_the_client_port),
		cmocka_unit_test(test_other_user),
		cmocka_unit_test(test_unknown_user_looks_like_a_known_one),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_expired),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

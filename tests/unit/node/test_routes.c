/* The route table against docs/openapi.yaml, both ways, and finding rows in it. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "node/route.h"

enum { OPERATIONS_MAX = 200 };

/* One operation of the document, which is kept to one form: paths at two spaces, verbs at four,
 * their members at six. */
struct operation {
	char path[128], verb[8], name[64], auth[16];
	size_t body_max;
	bool once, reads, lists, body, inbox;
};

static struct operation operations[OPERATIONS_MAX];
static size_t n_operations;

static bool begins(const char *line, const char *with)
{
	return strncmp(line, with, strlen(with)) == 0;
}

static void read_member(struct operation *op, const char *line)
{
	if (begins(line, "      operationId: ")) {
		(void)snprintf(op->name, sizeof op->name, "%s", line + 19);
	} else if (begins(line, "      x-kluis-auth: ")) {
		(void)snprintf(op->auth, sizeof op->auth, "%s", line + 20);
	} else if (begins(line, "      x-kluis-body-max: ")) {
		op->body_max = strtoul(line + 24, NULL, 10);
	} else if (begins(line, "      x-kluis-idempotency: true")) {
		op->once = true;
	} else if (begins(line, "      x-kluis-inbox-token: true")) {
		op->inbox = true;
	} else if (begins(line, "      requestBody:")) {
		op->body = true;
	} else if (begins(line, "      parameters: ")) {
		op->reads = strstr(line, "parameters/consistency") != NULL;
		op->lists = strstr(line, "parameters/limit") != NULL;
	}
}

static void read_line(char *line, char path[128], bool *in_paths)
{
	size_t len = strcspn(line, "\n");

	line[len] = '\0';
	if (line[0] != ' ') {
		*in_paths = begins(line, "paths:");
	} else if (*in_paths && begins(line, "  /") && line[len - 1] == ':') {
		(void)snprintf(path, 128, "%.*s", (int)(len - 3), line + 2);
	} else if (*in_paths && begins(line, "    ") && line[4] != ' ' && line[len - 1] == ':') {
		struct operation *op = &operations[n_operations++];

		assert_true(n_operations < OPERATIONS_MAX);
		(void)snprintf(op->path, sizeof op->path, "%s", path);
		for (size_t i = 0; line[4 + i] != ':'; i++) {
			op->verb[i] = (char)(line[4 + i] - 'a' + 'A');
		}
	} else if (*in_paths && n_operations > 0) {
		read_member(&operations[n_operations - 1], line);
	}
}

static int read_document(void **state)
{
	struct buf text = BUF_INIT;
	struct err e = {0};
	char path[128] = "", *line, *next;
	bool in_paths = false;

	(void)state;
	assert_int_equal(file_read(KLUIS_SOURCE_DIR "/docs/openapi.yaml", 1 << 20, &text, &e), 0);
	(void)buf_str(&text);
	for (line = (char *)text.data; line != NULL && *line != '\0'; line = next) {
		next = strchr(line, '\n');
		next = next == NULL ? NULL : next + 1;
		read_line(line, path, &in_paths);
	}
	buf_release(&text);
	return 0;
}

static const struct operation *find_operation(const char *verb, const char *path)
{
	for (size_t i = 0; i < n_operations; i++) {
		if (strcmp(operations[i].verb, verb) == 0 &&
			strcmp(operations[i].path, path) == 0) {
			return &operations[i];
		}
	}
	return NULL;
}

static const char *auth_name(enum route_auth auth)
{
	static const char *const names[] = {[ROUTE_OPEN] = "none",
		[ROUTE_LOGIN] = "login",
		[ROUTE_RECOVERY] = "recovery",
		[ROUTE_SESSION] = "session",
		[ROUTE_ADMIN] = "admin"};

	return names[auth];
}

static void test_every_route_is_documented(void **state)
{
	(void)state;
	for (size_t i = 0; i < api_routes_count; i++) {
		const struct route *route = &api_routes[i];
		const struct operation *op =
			find_operation(http_verb_name(route->verb), route->pattern);

		if (op == NULL) {
			fail_msg("%s %s is not in docs/openapi.yaml", http_verb_name(route->verb),
				route->pattern);
			return;
		}
		assert_string_equal(op->name, route->name);
		assert_string_equal(op->auth, auth_name(route->auth));
		if (op->body_max != route->body_max) {
			fail_msg("%s: the document allows %zu bytes, the table %zu", route->name,
				op->body_max, route->body_max);
		}
		assert_int_equal(op->once, route->once);
		assert_int_equal(op->inbox, route->inbox);
		assert_int_equal(op->body, route->body != ROUTE_NO_BODY);
		assert_int_equal(op->reads, route->state == ROUTE_READ);
		assert_int_equal(op->lists, (route->query & QUERY_LIMIT) != 0);
		assert_true((route->body == ROUTE_NO_BODY) == (route->body_max == 0));
		assert_true(route->parse != NULL || route->read != NULL || route->begin != NULL);
	}
}

static void test_every_operation_is_served(void **state)
{
	(void)state;
	assert_true(n_operations > 40);
	for (size_t i = 0; i < n_operations; i++) {
		bool found = false;

		for (size_t j = 0; j < api_routes_count; j++) {
			found = found || (strcmp(api_routes[j].pattern, operations[i].path) == 0 &&
						 strcmp(http_verb_name(api_routes[j].verb),
							 operations[i].verb) == 0);
		}
		if (!found) {
			fail_msg("%s %s is documented and not served", operations[i].verb,
				operations[i].path);
		}
	}
}

static void test_names_differ(void **state)
{
	(void)state;
	for (size_t i = 0; i < api_routes_count; i++) {
		for (size_t j = i + 1; j < api_routes_count; j++) {
			assert_string_not_equal(api_routes[i].name, api_routes[j].name);
		}
	}
}

static int find(enum http_verb verb, const char *path, bool admin, struct route_match *match)
{
	return route_find(api_routes, api_routes_count, verb, bytes_str(path), admin, match);
}

static void test_find(void **state)
{
	struct route_match match;

	(void)state;
	assert_int_equal(find(VERB_GET, "/v1/vaults/ab/pages/7", false, &match), 0);
	assert_string_equal(match.route->name, "page_get");
	assert_int_equal(match.n_params, 2);
	assert_true(bytes_is(match.param[1], "7"));
	assert_int_equal(find(VERB_HEAD, "/v1/vaults/ab/pages/7", false, &match), 0);
	assert_string_equal(match.route->name, "page_get");
	assert_int_equal(find(VERB_HEAD, "/v1/vaults/ab/staged/7", false, &match), 0);
	assert_string_equal(match.route->name, "staged_head");
	assert_int_equal(find(VERB_GET, "/v1/vaults/ab/staged/7", false, &match), KLUIS_EMETHOD);
	assert_int_equal(match.verbs, BIT(VERB_PUT) | BIT(VERB_HEAD));
	assert_int_equal(find(VERB_OTHER, "/v1/vaults", false, &match), KLUIS_EMETHOD);
	assert_int_equal(match.verbs, BIT(VERB_GET) | BIT(VERB_HEAD) | BIT(VERB_POST));
	assert_int_equal(find(VERB_POST, "/v1/vaults/ab/pages:get", false, &match), 0);
	assert_int_equal(find(VERB_GET, "/v1/vaults/", false, &match), KLUIS_ENOTFOUND);
	assert_int_equal(find(VERB_GET, "/v1/vaults/ab/", false, &match), KLUIS_ENOTFOUND);
	assert_int_equal(find(VERB_GET, "/v1/vaults//head", false, &match), KLUIS_ENOTFOUND);
	assert_int_equal(find(VERB_GET, "/v1", false, &match), KLUIS_ENOTFOUND);
	assert_int_equal(find(VERB_GET, "", false, &match), KLUIS_ENOTFOUND);
	assert_int_equal(find(VERB_GET, "//v1/vaults", false, &match), KLUIS_ENOTFOUND);
	/* What is for operators does not exist on the client port. */
	for (size_t i = 0; i < api_routes_count; i++) {
		if (api_routes[i].auth == ROUTE_ADMIN) {
			assert_int_equal(
				find(api_routes[i].verb, api_routes[i].pattern, false, &match),
				KLUIS_ENOTFOUND);
			assert_int_equal(
				find(api_routes[i].verb, api_routes[i].pattern, true, &match), 0);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_route_is_documented),
		cmocka_unit_test(test_every_operation_is_served),
		cmocka_unit_test(test_names_differ),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, read_document, NULL);
}

/* Names of people, where strangers say them. */
#include "tests/lib/test.h"

#include <string.h>

#include "tests/lib/api/account_client.h"

struct fixture {
	struct api_node node;
	struct account_client alice;
	struct http_client http;
};

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	f->node.config.registration = REGISTRATION_OPEN;
	account_client_begin(&f->alice, &f->node, &f->http, true);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	account_client_end(&f->alice, &f->node, &f->http);
	free(f);
	return 0;
}

/* Names that are no text, or look like another one, wherever a name is said: the same refusal, and
 * nothing is made. The letters of a name have one form each (CRYPTO formats 3), so that no two
 * names look alike by their encoding. */
static void test_bad_names(void **state)
{
	static const struct {
		const char *json, *target; /* In a body; in a path. */
	} names[] = {
		{"alice\xff", "alice%FF"}, /* No UTF-8. */
		{"ali\xc0\xa3"
		 "e",
			"ali%C0%A3e"},			 /* Overlong 'c'. */
		{"alic\xed\xa0\x80", "alic%ED%A0%80"},	 /* A surrogate. */
		{"alice\\ud800", "alice%ED%A0%80"},	 /* The same, escaped. */
		{"alic\xd0\xb5", "alic%D0%B5"},		 /* Cyrillic e. */
		{"\xef\xbd\x81lice", "%EF%BD%81lice"},	 /* Fullwidth a. */
		{"alice\xe2\x80\x8b", "alice%E2%80%8B"}, /* A space of no width. */
		{"\xe2\x80\xae"
		 "ecila",
			"%E2%80%AEecila"},	  /* Right to left. */
		{"alic\xc3\xa9", "alic%C3%A9"},	  /* e acute, */
		{"alice\xcc\x81", "alice%CC%81"}, /* and in two. */
		{"alice\\u0000", "alice%00"},
		{"alice ", "alice%20"},
		{" alice", "%20alice"},
		{"Alice", "Alice"},
		{"alice\\n", "alice%0A"},
		{"alice/", "alice%2F"},
		{"..\\\\alice", "..%5Calice"},
	};
	static const char *const targets[] = {"/v1/login/start", "/v1/recovery/start"};
	struct fixture *f = *state;
	unsigned proposals;
	char a[513];

	memset(a, 'A', sizeof a - 1);
	a[0] = 'f';
	a[512] = '\0';
	answer_expect(account_client_login(&f->alice, &f->http, true), 200, NULL);
	proposals = f->node.proposals;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(buf_release) struct buf target = BUF_INIT;
		struct answer answer;

		for (size_t t = 0; t < ARRAY_SIZE(targets); t++) {
			_cleanup_(buf_release) struct buf body = BUF_INIT;

			buf_printf(&body, "{\"user\":\"%s\"", names[i].json);
			buf_printf(&body, t == 0 ? ",\"group\":3,\"A\":\"%s\"}" : "}", a);
			answer = http_client_json(&f->http, "POST", targets[t], "", buf_str(&body));
			if (answer.status != 400) {
				fail_msg("%s, name %zu: %d", targets[t], i, answer.status);
			}
			assert_null(strstr(buf_str(&answer.body), "alice"));
			answer_release(&answer);
		}
		buf_printf(&target, "/v1/users/%s", names[i].target);
		answer = http_client_call(&f->http, "GET", buf_str(&target), "", bytes_of(NULL, 0));
		if (answer.status != 400 && answer.status != 404) {
			fail_msg("%s: %d", buf_str(&target), answer.status);
		}
		answer_release(&answer);
	}
	assert_int_equal(f->node.proposals, proposals);
	answer_expect(http_client_call(&f->http, "GET", "/v1/users/alice", "", bytes_of(NULL, 0)),
		200, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bad_names, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

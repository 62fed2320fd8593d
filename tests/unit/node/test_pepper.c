/* A node that was started with another secrets file than accounts are sealed under. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "node/pepper.h"
#include "tests/lib/api/account_client.h"

struct fixture {
	struct api_node node;
	struct account_client alice;
	struct http_client http, admin;
	struct secrets own; /* The cluster's. */
};

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	f->node.config.registration = REGISTRATION_OPEN;
	account_client_begin(&f->alice, &f->node, &f->http, false);
	api_node_admin(&f->node, &f->admin);
	secret_set(&f->own.pepper, secret_bytes(&f->node.secrets.pepper));
	secret_set(&f->own.enum_key, secret_bytes(&f->node.secrets.enum_key));
	f->own.pepper_id = f->node.secrets.pepper_id;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_client_release(&f->admin);
	account_client_end(&f->alice, &f->node, &f->http);
	secrets_release(&f->own);
	free(f);
	return 0;
}

static void other_pepper(struct fixture *f)
{
	secret_random(&f->node.secrets.pepper, SECRETS_KEY_BYTES, &random_system);
}

static void own_pepper(struct fixture *f)
{
	secret_set(&f->node.secrets.pepper, secret_bytes(&f->own.pepper));
}

/* What the daemon does every few seconds. */
static struct pepper_look look(struct fixture *f)
{
	struct pepper_look found = {77, 77};
	struct err e = {0};
	struct kv_view *view;

	(void)pthread_mutex_lock(&f->node.lock);
	view = kv_view_new(f->node.machine.kv);
	assert_int_equal(pepper_look(view, &f->node.secrets, &found, &e), 0);
	kv_view_free(view);
	(void)pthread_mutex_unlock(&f->node.lock);
	api_set_pepper(f->node.api, &found);
	return found;
}

static void expect_start(
	struct fixture *f, struct account_client *who, int status, const char *code)
{
	struct srp_client *srp = NULL;
	struct answer answer = account_client_start(who, &f->http, &srp);

	srp_client_free(srp);
	answer_expect(answer, status, code);
}

static void expect_alarm(struct fixture *f, const char *severity)
{
	struct answer answer =
		http_client_call(&f->admin, "GET", "/v1/sys/alarms", "", bytes_of(NULL, 0));
	char wanted[64];

	assert_int_equal(answer.status, 200);
	(void)snprintf(wanted, sizeof wanted, "\"name\":\"pepper\"%s%s%s",
		severity == NULL ? "" : ",\"severity\":\"", severity == NULL ? "" : severity,
		severity == NULL ? "" : "\"");
	if ((strstr(buf_str(&answer.body), wanted) != NULL) != (severity != NULL)) {
		fail_msg("'%s' in %s", wanted, buf_str(&answer.body));
	}
	answer_release(&answer);
}

static void test_look(void **state)
{
	struct fixture *f = *state;
	struct pepper_look found = look(f);

	assert_int_equal(found.opened + found.failed, 0);
	assert_int_equal(pepper_state(&found), PEPPER_UNKNOWN);
	account_client_register(&f->alice, &f->http);
	found = look(f);
	assert_true(found.opened == 1 && found.failed == 0);
	assert_int_equal(pepper_state(&found), PEPPER_SAME);
	expect_alarm(f, NULL);
	f->node.secrets.pepper_id++;
	found = look(f);
	assert_true(found.opened == 0 && found.failed == 1);
	f->node.secrets.pepper_id--;
	other_pepper(f);
	found = look(f);
	assert_true(found.opened == 0 && found.failed == 1);
	assert_int_equal(pepper_state(&found), PEPPER_DIFFERS);
	expect_alarm(f, "critical");
	/* One that opens is enough: the others are somebody else's. */
	found.opened = 1;
	assert_int_equal(pepper_state(&found), PEPPER_SAME);
}

/* It says nothing about a password, and the same of every name; and it seals nothing that no other
 * site could open. */
static void test_differs(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct account_client bob;

	account_client_register(&f->alice, &f->http);
	account_client_init(&bob, &f->node, "bob");
	account_client_registration(&bob, NULL, &body);
	other_pepper(f);
	(void)look(f);
	expect_start(f, &f->alice, 503, "behind");
	expect_start(f, &bob, 503, "behind");
	answer_expect(http_client_json(&f->http, "POST", "/v1/register", "", buf_str(&body)), 503,
		"behind");
	own_pepper(f);
	(void)look(f);
	expect_alarm(f, NULL);
	expect_start(f, &f->alice, 200, NULL);
	answer_expect(
		http_client_json(&f->http, "POST", "/v1/register", "", buf_str(&body)), 202, NULL);
	account_client_release(&bob);
}

/* Found by a login, before the store was looked at; and by who signed in before. */
static void test_miss(void **state)
{
	struct fixture *f = *state;

	account_client_register(&f->alice, &f->http);
	answer_expect(account_client_login(&f->alice, &f->http, true), 200, NULL);
	other_pepper(f);
	expect_start(f, &f->alice, 503, "behind");
	expect_alarm(f, "warning");
	answer_expect(http_client_call(&f->http, "GET", "/v1/unlock", "", bytes_of(NULL, 0)), 503,
		"behind");
	own_pepper(f);
	(void)look(f);
	answer_expect(
		http_client_call(&f->http, "GET", "/v1/unlock", "", bytes_of(NULL, 0)), 200, NULL);
	expect_alarm(f, "warning"); /* What was missed is said until the node starts again. */
}

int main(void)
{
#define PEPPER_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		PEPPER_TEST(test_look),
		PEPPER_TEST(test_differs),
		PEPPER_TEST(test_miss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

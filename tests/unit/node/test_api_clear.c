/* Nothing that the node frees while a person signs in, unlocks, adds a second factor and deletes
 * her account still holds a token, a share or a seed. */
#include "tests/lib/test.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "node/json.h"
#include "tests/lib/api/account_client.h"

/* What no thread but the test's own may free: the beginning, and so many characters of base64url or
 * base32 behind it. */
static const struct {
	const char *begin;
	size_t more;
} secrets[] = {
	{"Bearer kst_", 43},
	{"\"token\":\"kst_", 43},
	{"\"unlock_share\":\"", 43},
	{"\"secret\":\"", 26},
	{"secret=", 26},
};
static unsigned found[ARRAY_SIZE(secrets)], looked;
static pthread_t own;
static bool watching;

static bool is_secret_at(const char *at, const char *end, size_t more)
{
	size_t n = 0;

	while (at + n < end && n < more &&
		((at[n] >= 'a' && at[n] <= 'z') || (at[n] >= 'A' && at[n] <= 'Z') ||
			(at[n] >= '0' && at[n] <= '9') || at[n] == '-' || at[n] == '_')) {
		n++;
	}
	return n == more;
}

static void look(const char *data, size_t len)
{
	if (!__atomic_load_n(&watching, __ATOMIC_ACQUIRE) || pthread_equal(pthread_self(), own)) {
		return;
	}
	__atomic_fetch_add(&looked, 1, __ATOMIC_RELAXED);
	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
		size_t n = strlen(secrets[i].begin);
		const char *at = data, *end = data + len;

		while ((at = memmem(at, (size_t)(end - at), secrets[i].begin, n)) != NULL) {
			at += n;
			if (is_secret_at(at, end, secrets[i].more)) {
				__atomic_fetch_add(&found[i], 1, __ATOMIC_RELAXED);
			}
		}
	}
}

/* A sanitizer has an allocator of its own: there the test only runs. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { WATCHES = 1 };
extern void *__libc_malloc(size_t size);
extern void __libc_free(void *block);

void free(void *block)
{
	if (block != NULL) {
		look(block, malloc_usable_size(block));
	}
	__libc_free(block);
}

/* Always by moving: what is left behind counts. */
void *realloc(void *block, size_t size)
{
	void *moved = __libc_malloc(size);

	if (block != NULL && moved != NULL) {
		size_t old = malloc_usable_size(block);

		memcpy(moved, block, old < size ? old : size);
		free(block);
	}
	return moved;
}
#else
enum { WATCHES = 0 };
#endif

static void expect(struct http_client *http, const char *verb, const char *target, const char *body,
	int status)
{
	struct answer answer = body == NULL
				       ? http_client_call(http, verb, target, "", bytes_of(NULL, 0))
				       : http_client_json(http, verb, target, "", body);

	if (answer.status != status) {
		fail_msg("%s %s: %d %s", verb, target, answer.status, buf_str(&answer.body));
	}
	answer_release(&answer);
}

static void test_freed_is_clear(void **state)
{
	struct api_node node;
	struct account_client alice;
	struct http_client http;

	(void)state;
	(void)look; /* Nobody calls it where free() is a sanitizer's. */
	own = pthread_self();
	api_node_prepare(&node);
	node.config.registration = REGISTRATION_OPEN;
	__atomic_store_n(&watching, true, __ATOMIC_RELEASE);
	api_node_run(&node);
	account_client_init(&alice, &node, "alice");
	api_node_connect(&node, "http/1.1", &http);
	account_client_register(&alice, &http);
	answer_expect(account_client_login(&alice, &http, true), 200, NULL);
	expect(&http, "GET", "/v1/unlock", NULL, 200);
	expect(&http, "POST", "/v1/mfa/totp", "{}", 201);
	expect(&http, "GET", "/v1/account", NULL, 200);
	expect(&http, "DELETE", "/v1/account", NULL, 204);
	http_client_release(&http);
	account_client_release(&alice);
	api_node_stop(&node);
	__atomic_store_n(&watching, false, __ATOMIC_RELEASE);
	assert_true(!WATCHES || looked > 100);
	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
		if (found[i] > 0) {
			fail_msg("%u freed blocks held '%s...'", found[i], secrets[i].begin);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_freed_is_clear),
	};

	json_clear_freed(); /* As kluisd does. */
	return cmocka_run_group_tests(tests, NULL, NULL);
}

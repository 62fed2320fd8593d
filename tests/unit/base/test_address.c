#include "tests/lib/test.h"

#include <netinet/in.h>
#include <string.h>

#include "base/address.h"

static void test_good(void **state)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		bool numeric;
	} rows[] = {{"a.example:443", "a.example", 443, false},
		{"127.0.0.1:0", "127.0.0.1", 0, true}, {"[::1]:65535", "::1", 65535, true},
		{"node_1-a:7000", "node_1-a", 7000, false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct address address;

		assert_int_equal(address_parse(rows[i].text, &address, NULL), 0);
		assert_string_equal(address.host, rows[i].host);
		assert_int_equal(address.port, rows[i].port);
		assert_int_equal(address.numeric, rows[i].numeric);
	}
}

static void test_bad(void **state)
{
	static const char *const bad[] = {"", ":", ":1", "a", "a:", "a:65536", "a:-1", "a:01",
		"a: 1", "::1:443", "[::1]", "[::1:1", "[]:1", "[a]:1", "[1.2]:3", "a b:1", "a/b:1",
		"[::1]x:1", "a%eth0:1"};
	char longest[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct address address = {.port = 7};

		assert_int_equal(address_parse(bad[i], &address, NULL), KLUIS_EINVAL);
		assert_int_equal(address.port, 7);
	}
	memset(longest, 'a', sizeof longest);
	memcpy(longest + 254, ":1", 3);
	assert_int_equal(address_parse(longest, &(struct address){0}, NULL), KLUIS_EINVAL);
}

static void test_numeric(void **state)
{
	struct address address;
	struct address_found found;

	(void)state;
	assert_int_equal(address_parse("[::1]:99", &address, NULL), 0);
	assert_int_equal(address_numeric(&address, &found), 0);
	assert_int_equal(found.storage.ss_family, AF_INET6);
	assert_int_equal(ntohs(((struct sockaddr_in6 *)&found.storage)->sin6_port), 99);
	assert_int_equal(address_parse("localhost:99", &address, NULL), 0);
	assert_int_equal(address_numeric(&address, &found), KLUIS_EINVAL);
}

static void test_resolve(void **state)
{
	struct address address;
	struct address_found found[4];
	struct err e;
	size_t n = 0;

	(void)state;
	assert_int_equal(address_parse("localhost:99", &address, NULL), 0);
	assert_int_equal(address_resolve(&address, found, 4, &n, &e), 0);
	assert_in_range(n, 1, 4);
	assert_int_equal(address_parse("1.2.3.4:99", &address, NULL), 0);
	assert_int_equal(address_resolve(&address, found, 4, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(found[0].len, sizeof(struct sockaddr_in));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_numeric),
		cmocka_unit_test(test_resolve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

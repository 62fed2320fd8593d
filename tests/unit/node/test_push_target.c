/* Subscriptions to push services, and where a node does not let itself be sent to. */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "node/push_target.h"

static void test_urls(void **state)
{
	static const struct {
		const char *url, *host, *path, *origin;
		unsigned port;
	} good[] = {{"https://Push.Example/a/b?c=d", "push.example", "/a/b?c=d",
			    "https://push.example", 443},
		{"https://push.example", "push.example", "/", "https://push.example", 443},
		{"https://push.example?x", "push.example", "/?x", "https://push.example", 443},
		{"https://push.example:443/", "push.example", "/", "https://push.example", 443},
		{"https://push.example:8443/x", "push.example", "/x", "https://push.example:8443",
			8443}};
	static const char *const bad[] = {"", "https://", "https:///x", "http://push.example/",
		"HTTPS://push.example/", "https://user@push.example/", "https://push.example/#x",
		"https://push.example/a b", "https://push.example/a\r\nx: y",
		"https://push.example:0/", "https://push.example:99999/", "https://push.example:/",
		"https://[::1]/", "https://push.example\\@evil.example/",
		"https://a:b@push.example/", "https://push.example/\xc3\xa4",
		"https://pu\"sh.example/", "https://push.example/\""};
	struct push_url url;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(push_url_parse(good[i].url, &url, NULL), 0);
		assert_string_equal(url.address.host, good[i].host);
		assert_int_equal(url.address.port, good[i].port);
		assert_string_equal(url.path, good[i].path);
		assert_string_equal(url.origin, good[i].origin);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(push_url_parse(bad[i], &url, NULL), KLUIS_EINVAL);
	}
}

static void test_hosts(void **state)
{
	static const char hosts[] = "push.example fcm.googleapis.com";

	(void)state;
	assert_true(push_host_allowed(hosts, "push.example"));
	assert_true(push_host_allowed(hosts, "eu.push.example"));
	assert_true(push_host_allowed(hosts, "fcm.googleapis.com"));
	assert_false(push_host_allowed(hosts, "evilpush.example"));
	assert_false(push_host_allowed(hosts, "push.example.evil"));
	assert_false(push_host_allowed(hosts, "googleapis.com"));
	assert_false(push_host_allowed(hosts, "example"));
	assert_false(push_host_allowed(hosts, ""));
	assert_false(push_host_allowed("", "push.example"));
	assert_true(push_host_allowed("  a.example  b.example ", "b.example"));
}

static bool is_public(const char *text)
{
	struct sockaddr_in six4 = {.sin_family = AF_INET};
	struct sockaddr_in6 six6 = {.sin6_family = AF_INET6};

	if (strchr(text, ':') == NULL) {
		assert_int_equal(inet_pton(AF_INET, text, &six4.sin_addr), 1);
		return push_address_public((const struct sockaddr *)&six4);
	}
	assert_int_equal(inet_pton(AF_INET6, text, &six6.sin6_addr), 1);
	return push_address_public((const struct sockaddr *)&six6);
}

static void test_addresses(void **state)
{
	static const char *const public[] = {"1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1",
		"100.63.255.255", "100.128.0.1", "192.167.1.1", "223.255.255.255", "2606:4700::1",
		"2a00:1450::1", "::ffff:8.8.8.8"};
	static const char *const private[] = {"0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1",
		"127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1",
		"192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
		"224.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
		"::7f00:1", "64:ff9b::7f00:1", "fe80::1", "fc00::1", "fd12::1", "ff02::1",
		"2001:db8::1", "2001::1", "2002:7f00:1::1", "100::1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(public); i++) {
		assert_true(is_public(public[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(private); i++) {
		assert_false(is_public(private[i]));
	}
	assert_false(push_address_public(&(struct sockaddr){.sa_family = AF_UNIX}));
}

static void expect_target(const struct push_target *target)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct push_target got;

	push_target_encode(target, &b);
	assert_true(b.len <= PUSH_TARGET_BYTES_MAX);
	assert_int_equal(push_target_decode(buf_bytes(&b), &got, NULL), 0);
	assert_int_equal(got.kind, target->kind);
	assert_string_equal(got.text, target->text);
	assert_memory_equal(got.public_key, target->public_key, sizeof got.public_key);
	assert_memory_equal(got.auth, target->auth, sizeof got.auth);
	for (size_t len = 0; len < b.len; len++) {
		assert_int_equal(
			push_target_decode(bytes_of(b.data, len), &got, NULL), KLUIS_EINVAL);
	}
	for (size_t at = 0; at < 4; at++) {
		b.data[at] ^= 0x40;
		assert_int_equal(push_target_decode(buf_bytes(&b), &got, NULL), KLUIS_EINVAL);
		b.data[at] ^= 0x40;
	}
	buf_append(&b, "", 1);
	assert_int_equal(push_target_decode(buf_bytes(&b), &got, NULL), KLUIS_EINVAL);
}

static void test_targets(void **state)
{
	struct push_target web = {.kind = PUSH_WEB, .text = "https://push.example/abc"};
	struct push_target fcm = {.kind = PUSH_FCM, .text = "cX:APA91b-_token"};
	struct push_target apns = {.kind = PUSH_APNS,
		.text = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"};

	(void)state;
	assert_int_equal(
		base64_decode_exact(bytes_str("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-"
					      "AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
			web.public_key, sizeof web.public_key),
		0);
	expect_target(&web);
	expect_target(&fcm);
	expect_target(&apns);
	apns.text[63] = 0;
	assert_int_equal(push_target_check(&apns, NULL), KLUIS_EINVAL);
	apns.text[63] = 'g';
	assert_int_equal(push_target_check(&apns, NULL), KLUIS_EINVAL);
	(void)snprintf(fcm.text, sizeof fcm.text, "a\"b");
	assert_int_equal(push_target_check(&fcm, NULL), KLUIS_EINVAL);
	memset(fcm.text, 'a', PUSH_TOKEN_BYTES_MAX + 1);
	assert_int_equal(push_target_check(&fcm, NULL), KLUIS_EINVAL);
	web.public_key[20] ^= 1; /* Off the curve. */
	assert_int_equal(push_target_check(&web, NULL), KLUIS_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/lib/test.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/text.h"
#include "base/wire.h"

static void test_round_trip(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct wire w;

	(void)state;
	buf_put_u8(&b, 0xab);
	buf_put_u16(&b, 0x1234);
	buf_put_u32(&b, 0xdeadbeef);
	buf_put_u64(&b, 0x0102030405060708ULL);
	buf_put_zeros(&b, 3);
	buf_put_lp16(&b, bytes_str("hello"));
	buf_put_lp32(&b, bytes_str("world"));
	w = wire_of(buf_bytes(&b));
	assert_int_equal(wire_u8(&w), 0xab);
	assert_int_equal(wire_u16(&w), 0x1234);
	assert_int_equal(wire_u32(&w), 0xdeadbeef);
	assert_true(wire_u64(&w) == 0x0102030405060708ULL);
	wire_zeros(&w, 3);
	assert_true(bytes_equal(wire_lp16(&w, 5), bytes_str("hello")));
	assert_true(bytes_equal(wire_lp32(&w, 100), bytes_str("world")));
	assert_true(wire_end(&w));
}

static void test_every_truncation_fails(void **state)
{
	static const uint8_t raw[] = {0, 1, 0, 0, 0, 2, 0, 3, 'a', 'b', 'c'};

	(void)state;
	for (size_t n = 0; n <= sizeof raw; n++) {
		struct wire w = wire_of(bytes_of(raw, n));

		(void)wire_u16(&w);
		(void)wire_u32(&w);
		(void)wire_lp16(&w, 3);
		assert_int_equal(wire_end(&w), n == sizeof raw);
	}
}

static void test_limits_and_magic(void **state)
{
	struct wire w = wire_of(bytes_str("\x00\x04"
					  "abcd"));

	(void)state;
	assert_int_equal(wire_lp16(&w, 3).len, 0);
	assert_false(wire_ok(&w));
	w = wire_of(bytes_str("KPG2"));
	assert_false(wire_match(&w, "KPG1"));
	w = wire_of(bytes_of("\0\0\1", 3));
	wire_zeros(&w, 3);
	assert_false(wire_ok(&w));
	assert_int_equal(wire_u64(&w), 0);
}

static void test_base64_rfc4648(void **state)
{
	static const struct {
		const char *plain, *text;
	} rows[] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"foob", "Zm9vYg"},
		{"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf b = BUF_INIT;
		char text[16];

		base64_encode(bytes_str(rows[i].plain), text);
		assert_string_equal(text, rows[i].text);
		assert_int_equal(base64_decode(bytes_str(text), 6, &b), 0);
		assert_true(bytes_equal(buf_bytes(&b), bytes_str(rows[i].plain)));
	}
}

static void test_base64_refuses(void **state)
{
	static const char *const bad[] = {"Zg==", "Zh", "Z", "Zm9v Yg", "Zm+v", "Zm9vYmFyZm9v"};
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(base64_decode(bytes_str(bad[i]), 6, &b), KLUIS_EINVAL);
		assert_int_equal(b.len, 0);
	}
}

static void test_numbers(void **state)
{
	static const char *const bad[] = {
		"", "-1", "+1", "01", "1 ", "18446744073709551616", "101"};
	uint64_t value = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(u64_parse(bytes_str(bad[i]), 100, &value), KLUIS_EINVAL);
		assert_int_equal(value, 7);
	}
	assert_int_equal(u64_parse(bytes_str("18446744073709551615"), UINT64_MAX, &value), 0);
	assert_true(value == UINT64_MAX);
}

static void test_utf8(void **state)
{
	static const char *const good[] = {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	static const char *const bad[] = {
		"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(utf8_valid(bytes_str(good[i])));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(utf8_valid(bytes_str(bad[i])));
	}
	assert_false(utf8_valid(bytes_of("a\0b", 3)));
}

static void test_printable(void **state)
{
	static const char *const good[] = {"", " ~", "\xc3\xa9", "\xc2\xa0", "\xc3\x9b"};
	static const char *const bad[] = {"\n", "a\tb", "\x1b[2J", "\x7f", "\xc2\x80", "a\xc2\x9b",
		"\xc2\x9f!", "\x9b", "\xc2"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(text_printable(bytes_str(good[i])));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(text_printable(bytes_str(bad[i])));
	}
}

static void test_crc32c_rfc3720(void **state)
{
	uint8_t run[32];

	(void)state;
	memset(run, 0, sizeof run);
	assert_int_equal(crc32c(0, bytes_of(run, sizeof run)), 0x8a9136aa);
	memset(run, 0xff, sizeof run);
	assert_int_equal(crc32c(0, bytes_of(run, sizeof run)), 0x62a8ab43);
	assert_int_equal(crc32c(0, bytes_str("123456789")), 0xe3069283);
	assert_int_equal(crc32c(crc32c(0, bytes_str("1234")), bytes_str("56789")), 0xe3069283);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_truncation_fails),
		cmocka_unit_test(test_limits_and_magic),
		cmocka_unit_test(test_base64_rfc4648),
		cmocka_unit_test(test_base64_refuses),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_printable),
		cmocka_unit_test(test_crc32c_rfc3720),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

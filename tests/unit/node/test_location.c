/* Networks, the operator's table, and an MMDB file that the test writes by MaxMind's specification
 * (MaxMind DB File Format 2.0), read by libmaxminddb. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/wire.h"
#include "node/location.h"
#include "node/network.h"

static void test_network_parse(void **state)
{
	static const char *const rows[][2] = {{"192.0.2.0/24", "192.0.2.0/24"},
		{"192.0.2.7", "192.0.2.7/32"}, {"0.0.0.0/0", "0.0.0.0/0"}, {"::/0", "::/0"},
		{"2001:db8::/32", "2001:db8::/32"}, {"2001:db8::1", "2001:db8::1/128"},
		{"10.128.0.0/9", "10.128.0.0/9"}, {"::ffff:192.0.2.0/120", "192.0.2.0/24"},
		{"fe80::/10", "fe80::/10"}};
	static const char *const bad[] = {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/24",
		"10.0.0.0/08", "10.0.0.0/-1", "10.0.0/8", "10.0.0.256", "::/129", "2001:db8::1/64",
		"fe80::/8", "a/8", " 10.0.0.0/8", "10.0.0.0/8 ", "10.0.0.0/8/8",
		"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/8"};
	char text[NETWORK_CHARS_MAX + 1];
	struct network network, again;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(network_parse(rows[i][0], &network), 0);
		network_format(&network, text);
		assert_string_equal(text, rows[i][1]);
		assert_int_equal(network_decode(network.bits, network.address, &again), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(network_parse(bad[i], &network), KLUIS_EINVAL);
	}
	assert_int_equal(network_decode(129, network.address, &network), KLUIS_EINVAL);
}

static void test_network_has(void **state)
{
	static const struct {
		const char *network, *host;
		bool has;
	} rows[] = {
		{"192.0.2.0/24", "192.0.2.255", true},
		{"192.0.2.0/24", "192.0.3.0", false},
		{"192.0.2.0/24", "::ffff:192.0.2.1", true},
		{"192.0.2.0/25", "192.0.2.128", false},
		{"10.128.0.0/9", "10.255.255.255", true},
		{"10.128.0.0/9", "10.127.255.255", false},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.6", false},
		{"0.0.0.0/0", "203.0.113.9", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "203.0.113.9", true},
		{"2001:db8::/32", "2001:db8:ffff::1", true},
		{"2001:db8::/32", "2001:db9::", false},
		{"::/0", "unix", false},
		{"::/0", "", false},
	};
	struct network network;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(network_parse(rows[i].network, &network), 0);
		assert_int_equal(network_has(&network, rows[i].host), rows[i].has);
	}
}

/* --- files ----------------------------------------------------------------------------------- */

struct fixture {
	char *dir, *table, *countries, *numbers;
};

static void write_file(const char *path, struct bytes bytes)
{
	(void)remove(path);
	assert_int_equal(file_write(path, bytes, 0600, NULL), 0);
}

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	f->dir = scratch_new("location");
	f->table = x_asprintf("%s/table", f->dir);
	f->countries = x_asprintf("%s/country.mmdb", f->dir);
	f->numbers = x_asprintf("%s/asn.mmdb", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	scratch_free(f->dir);
	free(f->table);
	free(f->countries);
	free(f->numbers);
	free(f);
	return 0;
}

static void expect_labels(const struct location *location, const char *host, const char *want)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct location_labels labels;

	location_find(location, host, &labels);
	for (size_t i = 0; i < labels.n; i++) {
		buf_printf(&got, "%s%s", i == 0 ? "" : " ", labels.label[i]);
		assert_true(location_labels_have(&labels, labels.label[i]));
	}
	assert_string_equal(buf_str(&got), want);
	assert_false(location_labels_have(&labels, "XX"));
}

static void test_table(void **state)
{
	static const char text[] = "# offices\n"
				   "192.0.2.0/24\toffice # the old one\r\n"
				   "\n"
				   "   2001:db8::/32   office\n"
				   "192.0.2.128/25 guests";
	const char *none[LOCATION_DATABASES_MAX] = {NULL};
	struct fixture *f = *state;
	struct location *location;

	write_file(f->table, bytes_str(text));
	assert_int_equal(location_open(none, f->table, &location, NULL), 0);
	expect_labels(location, "192.0.2.1", "office");
	expect_labels(location, "192.0.2.200", "office guests");
	expect_labels(location, "::ffff:192.0.2.200", "office guests");
	expect_labels(location, "2001:db8::5", "office");
	expect_labels(location, "203.0.113.1", "");
	expect_labels(location, "unix", "");
	expect_labels(NULL, "192.0.2.1", "");
	location_free(location);
}

static void test_table_refused(void **state)
{
	static const char *const bad[] = {"192.0.2.0/24", "office 192.0.2.0/24", "192.0.2.0/24 a b",
		"192.0.2.1/24 office", "192.0.2.0/24 caf\xc3\xa9",
		"192.0.2.0/24 123456789012345678901234567890123"};
	const char *none[LOCATION_DATABASES_MAX] = {NULL};
	struct fixture *f = *state;
	struct location *location = NULL;
	struct err e = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;

		buf_printf(&text, "10.0.0.0/8 good\n%s\n", bad[i]);
		write_file(f->table, buf_bytes(&text));
		assert_int_equal(location_open(none, f->table, &location, &e), KLUIS_EINVAL);
		assert_non_null(strstr(e.text, "line 2"));
	}
	assert_int_equal(location_open(none, "/nowhere/table", &location, &e), KLUIS_ENOTFOUND);
	assert_null(location);
}

/* --- an MMDB file ---------------------------------------------------------------------------- */

enum { NODES_MAX = 1024, NO_DATA = -1 };
struct tree {
	int record[NODES_MAX][2]; /* Above 0: a node; below NO_DATA: -2 - offset in the data. */
	unsigned nodes;
};

static void put_text(struct buf *to, const char *text)
{
	buf_put_u8(to, 2U << 5 | (unsigned)strlen(text)); /* Below 29 bytes. */
	buf_put_str(to, text);
}

static void put_u32(struct buf *to, uint32_t value)
{
	buf_put_u8(to, 6U << 5 | 4);
	buf_put_u32(to, value);
}

static void put_u16(struct buf *to, unsigned value)
{
	buf_put_u8(to, 5U << 5 | 2);
	buf_put_u16(to, value);
}

static void put_map(struct buf *to, unsigned pairs)
{
	buf_put_u8(to, 7U << 5 | pairs);
}

static void tree_insert(struct tree *tree, const char *text, size_t offset)
{
	static const uint8_t v4[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	struct network network;
	unsigned node = 0;

	assert_int_equal(network_parse(text, &network), 0);
	if (memcmp(network.address, v4, sizeof v4) == 0) {
		network.address[10] = network.address[11] = 0; /* In ::/96 there. */
	}
	for (unsigned bit = 0; bit < network.bits; bit++) {
		int *record = &tree->record[node][network.address[bit / 8] >> (7 - bit % 8) & 1];

		if (bit + 1U == network.bits) {
			*record = -2 - (int)offset;
			return;
		}
		if (*record == NO_DATA) {
			assert_true(tree->nodes < NODES_MAX);
			tree->record[tree->nodes][0] = tree->record[tree->nodes][1] = NO_DATA;
			*record = (int)tree->nodes++;
		}
		node = (unsigned)*record;
	}
}

static void tree_write(const struct tree *tree, struct bytes data, const char *path)
{
	_cleanup_(buf_release) struct buf file = BUF_INIT;

	for (unsigned i = 0; i < tree->nodes; i++) {
		for (unsigned side = 0; side < 2; side++) {
			int record = tree->record[i][side];
			uint32_t value = record == NO_DATA ? tree->nodes
					 : record > 0	   ? (uint32_t)record
						      : tree->nodes + 16 + (uint32_t)(-2 - record);

			buf_put_u8(&file, value >> 16 & 0xff);
			buf_put_u16(&file, value & 0xffff);
		}
	}
	buf_put_zeros(&file, 16);
	buf_append_bytes(&file, data);
	buf_put_str(&file, "\xab\xcd\xefMaxMind.com");
	put_map(&file, 9);
	put_text(&file, "binary_format_major_version");
	put_u16(&file, 2);
	put_text(&file, "binary_format_minor_version");
	put_u16(&file, 0);
	put_text(&file, "build_epoch");
	buf_put_u8(&file, 8); /* Extended: uint64, of 8 bytes. */
	buf_put_u8(&file, 2);
	buf_put_u64(&file, 1700000000);
	put_text(&file, "database_type");
	put_text(&file, "Test");
	put_text(&file, "description");
	put_map(&file, 0);
	put_text(&file, "ip_version");
	put_u16(&file, 6);
	put_text(&file, "languages");
	buf_put_u8(&file, 0); /* Extended: an empty array. */
	buf_put_u8(&file, 4);
	put_text(&file, "node_count");
	put_u32(&file, tree->nodes);
	put_text(&file, "record_size");
	put_u16(&file, 24);
	write_file(path, buf_bytes(&file));
}

static void tree_init(struct tree *tree)
{
	tree->nodes = 1;
	tree->record[0][0] = tree->record[0][1] = NO_DATA;
}

static void write_countries(const char *path)
{
	_cleanup_(buf_release) struct buf data = BUF_INIT;
	struct tree *tree = x_calloc(1, sizeof *tree);

	tree_init(tree);
	tree_insert(tree, "192.0.2.0/24", data.len);
	tree_insert(tree, "2001:db8::/32", data.len);
	put_map(&data, 1);
	put_text(&data, "country");
	put_map(&data, 1);
	put_text(&data, "iso_code");
	put_text(&data, "NL");
	/* A file whose country is no text, and one that is no label. */
	tree_insert(tree, "198.51.100.0/24", data.len);
	put_map(&data, 1);
	put_text(&data, "country");
	put_map(&data, 1);
	put_text(&data, "iso_code");
	put_u32(&data, 7);
	tree_insert(tree, "203.0.113.0/24", data.len);
	put_map(&data, 1);
	put_text(&data, "country");
	put_map(&data, 1);
	put_text(&data, "iso_code");
	put_text(&data, "N L");
	tree_write(tree, buf_bytes(&data), path);
	free(tree);
}

static void write_numbers(const char *path)
{
	_cleanup_(buf_release) struct buf data = BUF_INIT;
	struct tree *tree = x_calloc(1, sizeof *tree);

	tree_init(tree);
	tree_insert(tree, "192.0.0.0/16", data.len);
	put_map(&data, 1);
	put_text(&data, "autonomous_system_number");
	put_u32(&data, 64496);
	tree_write(tree, buf_bytes(&data), path);
	free(tree);
}

static void test_databases(void **state)
{
	struct fixture *f = *state;
	const char *both[LOCATION_DATABASES_MAX] = {f->countries, f->numbers};
	struct location *location;
	struct err e = {0};

	write_countries(f->countries);
	write_numbers(f->numbers);
	write_file(f->table, bytes_str("192.0.2.0/28 office\n"));
	if (location_open(both, f->table, &location, &e) != 0) {
		fail_msg("%s", e.text);
	}
	expect_labels(location, "192.0.2.1", "office NL AS64496");
	expect_labels(location, "192.0.2.77", "NL AS64496");
	expect_labels(location, "192.0.99.1", "AS64496");
	expect_labels(location, "2001:db8:1::1", "NL");
	expect_labels(location, "198.51.100.1", "");
	expect_labels(location, "203.0.113.1", "");
	expect_labels(location, "2001:db9::1", "");
	location_free(location);
}

static void test_databases_refused(void **state)
{
	struct fixture *f = *state;
	const char *one[LOCATION_DATABASES_MAX] = {f->countries};
	struct location *location = NULL;

	write_file(f->countries, bytes_str("no database"));
	assert_int_equal(location_open(one, NULL, &location, NULL), KLUIS_ECORRUPT);
	(void)remove(f->countries);
	assert_int_equal(location_open(one, NULL, &location, NULL), KLUIS_EIO);
	assert_null(location);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_network_parse),
		cmocka_unit_test(test_network_has),
		cmocka_unit_test_setup_teardown(test_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_table_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_databases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_databases_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

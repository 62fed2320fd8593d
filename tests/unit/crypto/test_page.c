#include "tests/lib/test.h"

#include <string.h>

#include "base/limits.h"
#include "base/random.h"
#include "crypto/inflate.h"
#include "crypto/page.h"

static const uint8_t vk_raw[PAGE_KEY_BYTES] = {1, 2, 3};

static struct bytes vk(void)
{
	return bytes_of(vk_raw, sizeof vk_raw);
}

static struct page_spec spec_of(unsigned sym, unsigned flags, unsigned kind)
{
	struct page_spec spec = {
		.place = {.vault_id = {7, 7}, .page_no = 5, .revision = 3, .key_epoch = 2},
		.device_id = {9},
		.sym = (uint8_t)sym,
		.flags = (uint8_t)flags,
		.kind = (uint8_t)kind};

	return spec;
}

static void seal(const struct page_spec *spec, struct bytes content, struct buf *page)
{
	struct err e = {0};

	if (page_seal(vk(), spec, content, &random_system, page, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static int open_page(const struct buf *page, struct page_place place, struct buf *content)
{
	return page_open(vk(), buf_bytes(page), &place, content, NULL);
}

static void expect_round_trip(
	const struct page_spec *spec, struct bytes content, struct random *random)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, got = BUF_INIT;
	struct page_header header;
	size_t before = random_below(random, 100);

	memset(buf_extend(&page, before), 0xee, before); /* Both append. */
	seal(spec, content, &page);
	buf_consume(&page, before);
	assert_int_equal(page_parse(buf_bytes(&page), &header, NULL), 0);
	assert_memory_equal(header.device_id, spec->device_id, ID_BYTES);
	assert_int_equal(page.len, 144 + header.ct_bytes);
	buf_append(&got, "kept", 4);
	assert_int_equal(open_page(&page, spec->place, &got), 0);
	assert_memory_equal(got.data, "kept", 4);
	assert_true(bytes_equal(bytes_of(got.data + 4, got.len - 4), content));
}

static void test_round_trips(void **state)
{
	struct random_seeded seeded;
	uint8_t *content = x_malloc(PAGE_CONTENT_BYTES_MAX);

	(void)state;
	random_seeded_init(&seeded, 2);
	random_fill(&seeded.random, content, PAGE_CONTENT_BYTES_MAX);
	memset(content + 1000, 0, 100000); /* Something for zlib. */
	for (int i = 0; i < 200; i++) {
		unsigned sym = 1 + (unsigned)random_below(&seeded.random, 2);
		unsigned flags = (unsigned)random_below(&seeded.random, 2) * PAGE_ZLIB;
		struct page_spec spec = spec_of(sym, flags, PAGE_CHUNK);
		size_t bound = (size_t)1 << random_below(&seeded.random, 18);

		expect_round_trip(&spec, bytes_of(content, random_below(&seeded.random, bound)),
			&seeded.random);
	}
	free(content);
}

/* The bucket is the smallest that holds used | payload. */
static void test_bucket_edges(void **state)
{
	_cleanup_(x_freep) uint8_t *content = x_calloc(1, PAGE_CONTENT_BYTES_MAX + 1);
	struct page_spec spec = spec_of(SYM_AES_256, 0, PAGE_CHUNK);
	struct buf page = BUF_INIT;

	(void)state;
	for (unsigned bucket = PAGE_BUCKET_MIN; bucket <= PAGE_BUCKET_MAX; bucket++) {
		size_t most = ((size_t)1 << bucket) - 4;

		buf_clear(&page);
		seal(&spec, bytes_of(content, most), &page);
		assert_int_equal(page.data[7], bucket);
		if (bucket < PAGE_BUCKET_MAX) {
			buf_clear(&page);
			seal(&spec, bytes_of(content, most + 1), &page);
			assert_int_equal(page.data[7], bucket + 1);
		}
	}
	buf_clear(&page);
	assert_int_equal(page_seal(vk(), &spec, bytes_of(content, PAGE_CONTENT_BYTES_MAX + 1),
				 &random_system, &page, NULL),
		KLUIS_ETOOLARGE);
	assert_int_equal(page.len, 0);
	assert_int_equal(PAGE_BYTES_MAX, PAGE_TOMBSTONE_BYTES + (1 << PAGE_BUCKET_MAX));
	buf_release(&page);
}

static void test_salt_is_fresh(void **state)
{
	_cleanup_(buf_release) struct buf one = BUF_INIT, two = BUF_INIT;
	struct page_spec spec = spec_of(SYM_AES_256, 0, PAGE_CHUNK);

	(void)state;
	seal(&spec, bytes_str("same"), &one);
	seal(&spec, bytes_str("same"), &two);
	assert_memory_not_equal(one.data + 64, two.data + 64, 32);
	assert_memory_not_equal(one.data + 112, two.data + 112, 4096);
}

static void test_every_header_bit(void **state)
{
	static const unsigned flags[] = {0, PAGE_ZLIB, PAGE_TOMBSTONE};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		_cleanup_(buf_release) struct buf page = BUF_INIT, got = BUF_INIT;
		struct page_spec spec = spec_of(SYM_AES_256, flags[i], PAGE_ITEMS);

		seal(&spec, bytes_of(NULL, 0), &page);
		for (size_t bit = 0; bit < 8 * PAGE_HEADER_BYTES; bit++) {
			page.data[bit / 8] ^= (uint8_t)BIT(bit % 8);
			assert_int_not_equal(open_page(&page, spec.place, &got), 0);
			assert_int_equal(got.len, 0);
			page.data[bit / 8] ^= (uint8_t)BIT(bit % 8);
		}
		assert_int_equal(open_page(&page, spec.place, &got), 0);
	}
}

static void test_random_flips_and_lengths(void **state)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, got = BUF_INIT;
	struct page_spec spec = spec_of(SYM_AES_128, 0, PAGE_CHUNK);
	struct random_seeded seeded;

	(void)state;
	random_seeded_init(&seeded, 3);
	seal(&spec, bytes_str("some content"), &page);
	for (int i = 0; i < 500; i++) {
		size_t at = random_below(&seeded.random, page.len);
		uint8_t mask = (uint8_t)(1 + random_below(&seeded.random, 255));

		page.data[at] ^= mask;
		assert_int_not_equal(open_page(&page, spec.place, &got), 0);
		page.data[at] ^= mask;
	}
	for (size_t n = 0; n < page.len; n++) {
		assert_int_equal(page_open(vk(), bytes_of(page.data, n), &spec.place, &got, NULL),
			KLUIS_EVERIFY);
	}
	*buf_extend(&page, 1) = 0;
	assert_int_equal(open_page(&page, spec.place, &got), KLUIS_EVERIFY);
	assert_int_equal(got.len, 0);
}

static void test_moved_pages(void **state)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, got = BUF_INIT;
	struct page_spec spec = spec_of(SYM_AES_256, 0, PAGE_CHUNK);
	struct page_place places[4] = {spec.place, spec.place, spec.place, spec.place};

	(void)state;
	seal(&spec, bytes_str("here"), &page);
	places[0].vault_id[15] ^= 1;
	places[1].page_no++;
	places[2].revision--;
	places[3].key_epoch++;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		assert_int_equal(open_page(&page, places[i], &got), KLUIS_EVERIFY);
	}
	assert_int_equal(open_page(&page, spec.place, &got), 0);
}

/* The tag alone binds the place, too: a header rewritten to another place does not open there. */
static void test_rewritten_header(void **state)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, got = BUF_INIT;
	struct page_spec spec = spec_of(SYM_AES_256, 0, PAGE_CHUNK);
	struct page_place other = spec.place;

	(void)state;
	seal(&spec, bytes_str("here"), &page);
	page.data[31] ^= 1;
	other.page_no ^= 1;
	assert_int_equal(open_page(&page, other, &got), KLUIS_EVERIFY);
}

static void test_versions_and_suites(void **state)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct page_spec spec = spec_of(SYM_AES_256, 0, PAGE_CHUNK);
	struct page_header header;

	(void)state;
	seal(&spec, bytes_str("x"), &page);
	page.data[4] = 2;
	assert_int_equal(page_parse(buf_bytes(&page), &header, NULL), KLUIS_EVERSION);
	page.data[4] = 1;
	page.data[5] = 3;
	assert_int_equal(page_parse(buf_bytes(&page), &header, NULL), KLUIS_ESUITE);
	page.data[5] = 2;
	assert_int_equal(page_parse(buf_bytes(&page), &header, NULL), 0);
}

/* What a node sees without a key: no tag helps it. */
static void test_parse_alone(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = {{0, 'X'}, {6, 3}, {6, 4}, {6, PAGE_TOMBSTONE}, {7, 11}, {7, 13}, {7, 19},
		{39, 0} /* Revision 0. */, {43, 0} /* Epoch 0. */, {46, 0x20}, {47, 1}, {96, 2},
		{97, 1}, {104, 1}, {111, 0x80}};
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct page_spec spec = spec_of(SYM_AES_256, 0, PAGE_CHUNK);
	struct page_header header;

	(void)state;
	seal(&spec, bytes_str("x"), &page);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t was = page.data[bad[i].at];

		page.data[bad[i].at] = bad[i].value;
		assert_int_equal(page_parse(buf_bytes(&page), &header, NULL), KLUIS_EINVAL);
		page.data[bad[i].at] = was;
	}
	for (size_t n = 0; n < page.len; n++) {
		assert_int_equal(page_parse(bytes_of(page.data, n), &header, NULL), KLUIS_EINVAL);
	}
	assert_int_equal(page_parse(buf_bytes(&page), &header, NULL), 0);
}

static void test_tombstone(void **state)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, got = BUF_INIT;
	struct page_spec spec = spec_of(SYM_AES_256, PAGE_TOMBSTONE, PAGE_ITEMS);

	(void)state;
	seal(&spec, bytes_of(NULL, 0), &page);
	assert_int_equal(page.len, PAGE_TOMBSTONE_BYTES);
	assert_int_equal(open_page(&page, spec.place, &got), 0);
	assert_int_equal(got.len, 0);
	buf_clear(&page);
	assert_int_equal(
		page_seal(vk(), &spec, bytes_of("", 1), &random_system, &page, NULL), KLUIS_EINVAL);
	spec.kind = PAGE_CHUNK;
	assert_int_equal(page_seal(vk(), &spec, bytes_of(NULL, 0), &random_system, &page, NULL),
		KLUIS_EINVAL);
	assert_int_equal(page.len, 0);
}

static void test_specs_refused(void **state)
{
	struct page_spec specs[6];
	_cleanup_(buf_release) struct buf page = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		specs[i] = spec_of(SYM_AES_256, 0, PAGE_CHUNK);
	}
	specs[0].sym = 0;
	specs[1].sym = 3;
	specs[2].flags = 3;
	specs[3].kind = 2;
	specs[4].place.revision = 0;
	specs[5].place.key_epoch = 0;
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		assert_int_not_equal(
			page_seal(vk(), &specs[i], bytes_str("x"), &random_system, &page, NULL), 0);
		assert_int_equal(page.len, 0);
	}
}

/* A page whose tag is right and whose zlib stream gives `bytes` zeros. */
static int open_bomb(size_t bytes)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, got = BUF_INIT, stream = BUF_INIT;
	_cleanup_(x_freep) uint8_t *zeros = x_calloc(1, bytes);
	struct page_spec spec = spec_of(SYM_AES_256, PAGE_ZLIB, PAGE_CHUNK);
	int rc;

	assert_int_equal(
		deflate_append(bytes_of(zeros, bytes), PAGE_CONTENT_BYTES_MAX, &stream, NULL), 0);
	assert_int_equal(
		page_seal_deflated(vk(), &spec, buf_bytes(&stream), &random_system, &page, NULL),
		0);
	rc = open_page(&page, spec.place, &got);
	assert_int_equal(got.len, rc == 0 ? bytes : 0);
	/* A bomb must not be unpacked first and refused after. */
	assert_true(got.cap <= 2 * (PAGE_INFLATED_BYTES_MAX + 65536));
	return rc;
}

static void test_inflate_bomb(void **state)
{
	(void)state;
	assert_int_equal(open_bomb(PAGE_INFLATED_BYTES_MAX), 0);
	assert_int_equal(open_bomb(PAGE_INFLATED_BYTES_MAX + 1), KLUIS_EVERIFY);
	assert_int_equal(open_bomb(64 << 20), KLUIS_EVERIFY);
}

static void test_writer_bounds_content(void **state)
{
	struct page_spec spec = spec_of(SYM_AES_256, PAGE_ZLIB, PAGE_CHUNK);
	_cleanup_(x_freep) uint8_t *content = x_calloc(1, PAGE_INFLATED_BYTES_MAX + 1);
	_cleanup_(buf_release) struct buf page = BUF_INIT;

	(void)state;
	assert_int_equal(page_seal(vk(), &spec, bytes_of(content, PAGE_INFLATED_BYTES_MAX + 1),
				 &random_system, &page, NULL),
		KLUIS_ETOOLARGE);
	random_fill(&random_system, content, 300000); /* Does not compress into a page. */
	assert_int_equal(
		page_seal(vk(), &spec, bytes_of(content, 300000), &random_system, &page, NULL),
		KLUIS_ETOOLARGE);
	assert_int_equal(page.len, 0);
}

static void test_items(void **state)
{
	_cleanup_(buf_release) struct buf content = BUF_INIT, page = BUF_INIT, got = BUF_INIT;
	struct page_spec spec = spec_of(SYM_AES_256, PAGE_ZLIB, PAGE_ITEMS);
	struct page_item item = {.item_rev = 7, .type = 3, .body = bytes_str("{\"name\":\"a\"}")};
	struct bytes left;

	(void)state;
	page_item_append(&content, &item);
	item.body = bytes_of(NULL, 0);
	page_item_append(&content, &item);
	seal(&spec, buf_bytes(&content), &page);
	assert_int_equal(open_page(&page, spec.place, &got), 0);
	left = buf_bytes(&got);
	assert_int_equal(page_item_next(&left, &item), 0);
	assert_true(bytes_equal(item.body, bytes_str("{\"name\":\"a\"}")));
	assert_int_equal(page_item_next(&left, &item), 0);
	assert_int_equal(item.body.len + left.len, 0);
	buf_clear(&page);
	assert_int_equal(page_seal(vk(), &spec, bytes_of(content.data, content.len - 1),
				 &random_system, &page, NULL),
		KLUIS_EINVAL);
}

/* What opens one revision of one page opens nothing else. */
static void test_gift(void **state)
{
	(void)state;
	for (unsigned sym = SYM_AES_128; sym <= SYM_AES_256; sym++) {
		_cleanup_(buf_release) struct buf page = BUF_INIT, other = BUF_INIT, got = BUF_INIT;
		_cleanup_(secret_release) struct secret gift = SECRET_INIT, bad = SECRET_INIT;
		struct page_spec spec = spec_of(sym, 0, PAGE_CHUNK);
		struct page_place place = spec.place;

		seal(&spec, bytes_str("one"), &page);
		assert_int_equal(page_gift(vk(), buf_bytes(&page), &gift, NULL), 0);
		assert_int_equal(gift.len, 16 + (sym == SYM_AES_128 ? 64 : 80));
		assert_int_equal(
			page_open_gift(secret_bytes(&gift), buf_bytes(&page), &place, &got, NULL),
			0);
		assert_true(bytes_equal(buf_bytes(&got), bytes_str("one")));
		for (size_t i = 0; i < gift.len; i++) {
			gift.data[i] ^= 1;
			assert_int_equal(page_open_gift(secret_bytes(&gift), buf_bytes(&page),
						 &place, &got, NULL),
				KLUIS_EVERIFY);
			gift.data[i] ^= 1;
		}
		assert_int_equal(page_open_gift(bytes_of(gift.data, gift.len - 1), buf_bytes(&page),
					 &place, &got, NULL),
			KLUIS_EVERIFY);
		seal(&spec, bytes_str("two"), &other); /* Another salt. */
		assert_int_equal(
			page_open_gift(secret_bytes(&gift), buf_bytes(&other), &place, &got, NULL),
			KLUIS_EVERIFY);
		place.revision++;
		assert_int_equal(
			page_open_gift(secret_bytes(&gift), buf_bytes(&page), &place, &got, NULL),
			KLUIS_EVERIFY);
		spec.flags = PAGE_TOMBSTONE;
		spec.kind = PAGE_ITEMS;
		buf_clear(&page);
		seal(&spec, bytes_of(NULL, 0), &page);
		assert_int_equal(page_gift(vk(), buf_bytes(&page), &bad, NULL), KLUIS_EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_bucket_edges),
		cmocka_unit_test(test_salt_is_fresh),
		cmocka_unit_test(test_every_header_bit),
		cmocka_unit_test(test_random_flips_and_lengths),
		cmocka_unit_test(test_moved_pages),
		cmocka_unit_test(test_rewritten_header),
		cmocka_unit_test(test_versions_and_suites),
		cmocka_unit_test(test_parse_alone),
		cmocka_unit_test(test_tombstone),
		cmocka_unit_test(test_specs_refused),
		cmocka_unit_test(test_inflate_bomb),
		cmocka_unit_test(test_writer_bounds_content),
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_gift),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

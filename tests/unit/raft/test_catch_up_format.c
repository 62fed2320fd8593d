#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "raft/file_message.h"
#include "raft/snapshot_record.h"

static void make_manifest(struct buf *to)
{
	static const uint8_t hash[32] = {7};
	struct manifest m = {.n = 0};

	memset(m.id, 0x11, sizeof m.id);
	manifest_add(&m, "MANIFEST-000005", 300, hash);
	manifest_add(&m, "000012.sst", 1ULL << 30, hash);
	manifest_add(&m, "CURRENT", 16, hash);
	assert_true(manifest_bytes(&m) == (1ULL << 30) + 316);
	assert_int_equal(manifest_encode(&m, to), 0);
	manifest_release(&m);
}

static void test_manifest_round_trip(void **state)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct manifest m;

	(void)state;
	make_manifest(&bytes);
	assert_int_equal(manifest_decode(buf_bytes(&bytes), &m, NULL), 0);
	assert_int_equal(m.n, 3);
	assert_string_equal(m.files[0].name, "000012.sst");
	assert_string_equal(m.files[2].name, "MANIFEST-000005");
	assert_int_equal(m.files[2].bytes, 300);
	assert_int_equal(m.files[1].hash[0], 7);
	manifest_release(&m);
}

static void test_manifest_has(void **state)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct manifest m;

	(void)state;
	make_manifest(&bytes);
	assert_int_equal(manifest_decode(buf_bytes(&bytes), &m, NULL), 0);
	assert_true(manifest_has(&m, 2, 0, 300));
	assert_true(manifest_has(&m, 2, 299, 1));
	assert_false(manifest_has(&m, 2, 299, 2));
	assert_false(manifest_has(&m, 2, 301, 1));
	assert_false(manifest_has(&m, 2, UINT64_MAX, UINT32_MAX));
	/* A chunk that claims to be of the file behind the last one. */
	assert_false(manifest_has(&m, 3, 0, 1));
	assert_false(manifest_has(&m, UINT32_MAX, 0, 1));
	manifest_release(&m);
}

static void test_manifest_refuses(void **state)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct manifest m;

	(void)state;
	make_manifest(&bytes);
	for (size_t len = 0; len < bytes.len; len++) {
		assert_int_not_equal(manifest_decode(bytes_of(bytes.data, len), &m, NULL), 0);
	}
	buf_put_u8(&bytes, 0);
	assert_int_equal(manifest_decode(buf_bytes(&bytes), &m, NULL), KLUIS_EPROTO);
	bytes.len--;
	bytes.data[0] = 2;
	assert_int_equal(manifest_decode(buf_bytes(&bytes), &m, NULL), KLUIS_EVERSION);
	bytes.data[0] = 1;
	/* A name that leaves its directory, one that is hidden, a doubled one. */
	bytes.data[21 + 2] = '/';
	assert_int_equal(manifest_decode(buf_bytes(&bytes), &m, NULL), KLUIS_EPROTO);
	bytes.data[21 + 2] = '.';
	assert_int_equal(manifest_decode(buf_bytes(&bytes), &m, NULL), KLUIS_EPROTO);
	bytes.data[21 + 2] = 'Z'; /* Above the names behind it. */
	assert_int_equal(manifest_decode(buf_bytes(&bytes), &m, NULL), KLUIS_EPROTO);
	bytes.data[21 + 2] = '0';
	assert_int_equal(manifest_decode(buf_bytes(&bytes), &m, NULL), 0);
	manifest_release(&m);
	assert_false(manifest_name_valid("../x", 4));
	assert_false(manifest_name_valid("a b", 3));
	assert_false(manifest_name_valid("", 0));
}

static void test_file_messages(void **state)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct file_request request = {.file = 3, .offset = 1 << 20, .len = 5}, back;
	uint8_t id[MANIFEST_ID_BYTES];
	struct bytes data;

	(void)state;
	memset(request.id, 9, sizeof request.id);
	file_request_encode(&request, &bytes);
	assert_int_equal(file_message_type(buf_bytes(&bytes)), FILE_REQUEST);
	assert_int_equal(file_request_decode(buf_bytes(&bytes), &back), 0);
	assert_memory_equal(&back, &request, sizeof back);
	for (size_t len = 0; len < bytes.len; len++) {
		assert_int_not_equal(file_request_decode(bytes_of(bytes.data, len), &back), 0);
	}
	buf_clear(&bytes);
	file_chunk_encode(&request, &bytes);
	buf_put_str(&bytes, "hello");
	assert_int_equal(file_chunk_decode(buf_bytes(&bytes), &back, &data), 0);
	assert_true(bytes_equal(data, bytes_str("hello")));
	for (size_t len = 0; len < bytes.len; len++) {
		assert_int_not_equal(file_chunk_decode(bytes_of(bytes.data, len), &back, &data), 0);
	}
	buf_put_u8(&bytes, 0);
	assert_int_not_equal(file_chunk_decode(buf_bytes(&bytes), &back, &data), 0);
	buf_clear(&bytes);
	file_gone_encode(request.id, &bytes);
	assert_int_equal(file_gone_decode(buf_bytes(&bytes), id), 0);
	assert_memory_equal(id, request.id, sizeof id);
	assert_int_not_equal(file_request_decode(buf_bytes(&bytes), &back), 0);
	assert_int_equal(file_message_type(bytes_str("\x02\x01")), 0);
	assert_int_equal(file_message_type(bytes_str("\x01\x04")), 0);
}

static void test_snapshot_record(void **state)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	struct driver_snapshot snapshot = {.index = 77, .term = 5, .configuration_index = 3};
	struct driver_snapshot back;

	(void)state;
	assert_int_equal(configuration_add(
				 &snapshot.configuration, 1, MEMBER_VOTER, "ams", "127.0.0.1:7000"),
		0);
	snapshot_record_encode(&snapshot, &bytes);
	assert_int_equal(snapshot_record_decode(buf_bytes(&bytes), &back, NULL), 0);
	assert_int_equal(back.index, 77);
	assert_int_equal(back.configuration_index, 3);
	assert_true(configuration_equal(&back.configuration, &snapshot.configuration));
	for (size_t at = 0; at < bytes.len; at++) {
		bytes.data[at] ^= 0x20;
		assert_int_not_equal(snapshot_record_decode(buf_bytes(&bytes), &back, NULL), 0);
		bytes.data[at] ^= 0x20;
		assert_int_not_equal(
			snapshot_record_decode(bytes_of(bytes.data, at), &back, NULL), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manifest_round_trip),
		cmocka_unit_test(test_manifest_has),
		cmocka_unit_test(test_manifest_refuses),
		cmocka_unit_test(test_file_messages),
		cmocka_unit_test(test_snapshot_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

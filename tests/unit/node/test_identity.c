#include "tests/lib/test.h"

#include <string.h>

#include "node/identity.h"

static const struct node_identity identity_some = {
	.cluster_id = {1, 2, 3}, .lineage = {4, 5, 6}, .node_id = 6, .development = true};

static void test_written_once_and_read_back(void **state)
{
	char *dir = scratch_new("identity");
	struct node_identity got = {0};
	struct err e = {0};

	(void)state;
	assert_int_equal(node_identity_read(dir, &got, &e), KLUIS_ENOTFOUND);
	assert_non_null(strstr(e.text, "run kluisd init"));
	assert_int_equal(node_identity_write(dir, &identity_some, &e), 0);
	assert_int_equal(node_identity_write(dir, &identity_some, &e), KLUIS_EEXIST);
	assert_int_equal(node_identity_read(dir, &got, &e), 0);
	assert_memory_equal(got.cluster_id, identity_some.cluster_id, IDENTITY_ID_BYTES);
	assert_memory_equal(got.lineage, identity_some.lineage, IDENTITY_ID_BYTES);
	assert_true(got.node_id == 6 && got.development);
	scratch_free(dir);
}

static void test_every_flipped_bit_and_length_is_refused(void **state)
{
	uint8_t raw[IDENTITY_FILE_BYTES + 1] = {0};
	struct node_identity got = {0};

	(void)state;
	node_identity_encode(&identity_some, raw);
	for (size_t len = 0; len <= sizeof raw; len++) {
		assert_int_equal(
			node_identity_decode(raw, len, &got) == 0, len == IDENTITY_FILE_BYTES);
	}
	for (size_t bit = 0; bit < 8 * (size_t)IDENTITY_FILE_BYTES; bit++) {
		raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(node_identity_decode(raw, IDENTITY_FILE_BYTES, &got), 0);
		raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_written_once_and_read_back),
		cmocka_unit_test(test_every_flipped_bit_and_length_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

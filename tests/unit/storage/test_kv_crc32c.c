/* The checksum that RocksDB calls is ours, and equals its own: files stay readable without us. */
#include "tests/lib/test.h"

#include <dlfcn.h>
#include <string.h>

#include "base/random.h"
#include "storage/kv.h"

#define EXTEND "_ZN7rocksdb6crc32c6ExtendEjPKcm"

typedef uint32_t extend_fn(uint32_t crc, const char *data, size_t len);

extend_fn kv_crc32c_extend __asm__(EXTEND);

static extend_fn *symbol(void *handle)
{
	extend_fn *fn;
	void *address = dlsym(handle, EXTEND);

	memcpy(&fn, &address, sizeof fn); /* ISO C has no cast from object to function. */
	return fn;
}

static void test_ours_comes_first(void **state)
{
	const struct kv_options options = {.create = true};
	char *dir = scratch_new("crc32c");
	struct kv *kv;

	(void)state;
	assert_int_equal(kv_rocksdb_open(dir, &options, &kv, NULL), 0);
	kv_close(kv);
	scratch_free(dir);
	assert_true(symbol(RTLD_DEFAULT) == kv_crc32c_extend);
	assert_non_null(symbol(RTLD_NEXT)); /* Gone: RocksDB calls another, and the file can go. */
	assert_true(symbol(RTLD_NEXT) != kv_crc32c_extend);
}

static void test_equals_rocksdbs(void **state)
{
	extend_fn *theirs = symbol(RTLD_NEXT);
	struct random_seeded seeded;
	char data[2048 + 64];

	(void)state;
	random_seeded_init(&seeded, 1);
	random_fill(&seeded.random, data, sizeof data);
	assert_int_equal(kv_crc32c_extend(0, "123456789", 9), 0xe3069283);
	for (size_t len = 0; len < 2048; len += len < 300 ? 1 : 97) {
		const char *from = data + len % 64;
		uint32_t crc = (uint32_t)(len * 2654435761U);

		assert_int_equal(kv_crc32c_extend(crc, from, len), theirs(crc, from, len));
		assert_int_equal(kv_crc32c_extend(kv_crc32c_extend(0, from, len / 3),
					 from + len / 3, len - len / 3),
			theirs(0, from, len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ours_comes_first),
		cmocka_unit_test(test_equals_rocksdbs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

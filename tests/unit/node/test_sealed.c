/* What is sealed at rest opens in its own place alone. */
#include "tests/lib/test.h"

#include <string.h>

#include "node/sealed.h"

static const uint8_t cluster[16] = {1}, user[16] = {2}, other[16] = {3}, slot[16] = {4};

static int open_as(const struct secrets *secrets, const struct sealed_place *place,
	unsigned pepper_id, const struct buf *sealed)
{
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	struct err e = {0};
	int rc = sealed_open(secrets, place, pepper_id, buf_bytes(sealed), &value, &e);

	assert_true(rc != 0 || secret_equal(secret_bytes(&value), bytes_str("the share")));
	assert_true(rc == 0 || value.data == NULL);
	return rc;
}

static void test_place(void **state)
{
	static const struct sealed_place wrong[] = {
		{other, "unlock", slot},
		{user, "unlock", user},
		{user, "unlock", NULL},
		{user, "v", slot},
	};
	const struct sealed_place place = {user, "unlock", slot};
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	struct random_seeded seeded;
	struct secrets secrets, others;

	(void)state;
	random_seeded_init(&seeded, 1);
	secrets_make(cluster, &seeded.random, &secrets);
	secrets_make(cluster, &seeded.random, &others);
	sealed_make(&secrets, &place, bytes_str("the share"), &seeded.random, &sealed);
	assert_int_equal(sealed.len, 9 + SEAL_OVERHEAD_BYTES);
	assert_int_equal(open_as(&secrets, &place, 1, &sealed), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(open_as(&secrets, &wrong[i], 1, &sealed), KLUIS_EINTERNAL);
	}
	assert_int_equal(open_as(&secrets, &place, 2, &sealed), KLUIS_EINTERNAL);
	assert_int_equal(open_as(&others, &place, 1, &sealed), KLUIS_EINTERNAL);
	sealed.data[40] ^= 1;
	assert_int_equal(open_as(&secrets, &place, 1, &sealed), KLUIS_EINTERNAL);
	secrets_release(&secrets);
	secrets_release(&others);
}

/* Each by its context as the format gives it: another program finds the same. */
static void test_context(void **state)
{
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	const struct sealed_place place = {user, "unlock", slot};
	_cleanup_(buf_release) struct buf sealed = BUF_INIT, context = BUF_INIT;
	struct random_seeded seeded;
	struct secrets secrets;
	struct err e = {0};

	(void)state;
	random_seeded_init(&seeded, 1);
	secrets_make(cluster, &seeded.random, &secrets);
	sealed_make(&secrets, &place, bytes_str("the share"), &seeded.random, &sealed);
	buf_append(&context, user, sizeof user);
	buf_append(&context, "unlock", 6);
	buf_append(&context, slot, sizeof slot);
	assert_int_equal(seal_open(secret_bytes(&secrets.pepper), buf_bytes(&context),
				 buf_bytes(&sealed), &value, &e),
		0);
	secrets_release(&secrets);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_place), cmocka_unit_test(test_context)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

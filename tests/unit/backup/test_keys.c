/* Key files: what is written comes back, what is wrong is named. Lists of trusted nodes. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "backup/keys.h"
#include "base/file.h"
#include "base/text.h"

static void test_files(void **state)
{
	static const unsigned algs[] = {KEY_KEM_P256, KEY_KEM_X25519, KEY_ED25519};
	char *dir = scratch_new("keys");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
		enum backup_key_use use =
			algs[i] == KEY_ED25519 ? BACKUP_KEY_NODE : BACKUP_KEY_SEAL;
		enum backup_key_use other =
			use == BACKUP_KEY_NODE ? BACKUP_KEY_SEAL : BACKUP_KEY_NODE;
		_cleanup_(x_freep) char *private = x_asprintf("%s/%zu.key", dir, i);
		_cleanup_(x_freep) char *public = x_asprintf("%s/%zu.pub", dir, i);
		_cleanup_(key_freep) struct key *key = NULL;
		_cleanup_(key_freep) struct key *again = NULL;
		_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
		struct key_pub *none = NULL;
		struct stat st;

		assert_int_equal(key_generate(algs[i], 0, &key, NULL), 0);
		assert_int_equal(backup_key_save(key, use, private, NULL), 0);
		assert_int_equal(backup_key_save(key, use, private, NULL), KLUIS_EEXIST);
		assert_int_equal(backup_key_save_public(key_public(key), use, public, NULL), 0);
		assert_int_equal(stat(private, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0400);
		assert_int_equal(backup_key_load(private, use, &again, NULL), 0);
		assert_true(key_pub_equal(key_public(key), key_public(again)));
		assert_int_equal(backup_key_load_public(public, use, &pub, NULL), 0);
		assert_true(key_pub_equal(key_public(key), pub));
		assert_int_equal(
			backup_key_load_public(public, other, &none, NULL), KLUIS_ECORRUPT);
		assert_int_equal(backup_key_load_public(private, use, &none, NULL), KLUIS_ECORRUPT);
		assert_int_equal(chmod(private, 0440), 0);
		key_free(again);
		again = NULL;
		assert_int_equal(backup_key_load(private, use, &again, NULL), KLUIS_EFORBIDDEN);
	}
	scratch_free(dir);
}

static int add(struct backup_trust *trust, uint64_t node, const char *site, const struct key *key)
{
	struct key_pub *pub = key_pub_ref((struct key_pub *)(uintptr_t)key_public(key));
	int rc = backup_trust_add(trust, node, site, pub, NULL);

	key_pub_free(pub);
	return rc;
}

static void test_trust(void **state)
{
	static const char *const bad[] = {"", "Cph", "c ph", "cph\n", "c\xc3\xb8h"};
	struct backup_trust trust = {0};
	char too_long[NODE_NAME_BYTES_MAX + 2];

	(void)state;
	memset(too_long, 'a', sizeof too_long - 1);
	too_long[sizeof too_long - 1] = '\0';
	for (unsigned node = 1; node <= SITES_MAX + 1; node++) {
		_cleanup_(key_freep) struct key *key = NULL;
		_cleanup_(key_freep) struct key *other = NULL;
		_cleanup_(x_freep) char *site = x_asprintf("site-%u", node);

		assert_int_equal(key_generate(KEY_ED25519, 0, &key, NULL), 0);
		assert_int_equal(key_generate(KEY_ED25519, 0, &other, NULL), 0);
		assert_null(backup_trust_node(&trust, node));
		if (node > SITES_MAX) {
			assert_int_equal(add(&trust, node, site, key), KLUIS_ETOOLARGE);
			break;
		}
		assert_int_equal(add(&trust, node, site, key), 0);
		assert_true(key_pub_equal(backup_trust_node(&trust, node)->pub, key_public(key)));
		/* A node, a site's name and a key stand there once. */
		assert_int_equal(add(&trust, node, "new", other), KLUIS_EEXIST);
		assert_int_equal(add(&trust, 99, site, other), KLUIS_EEXIST);
		assert_int_equal(add(&trust, 99, "new", key), KLUIS_EEXIST);
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			assert_int_equal(add(&trust, 99, bad[i], other), KLUIS_EINVAL);
		}
		assert_int_equal(add(&trust, 99, too_long, other), KLUIS_EINVAL);
		assert_int_equal(add(&trust, 0, "new", other), KLUIS_EINVAL);
		assert_int_equal(trust.n, node);
	}
	backup_trust_release(&trust);
}

static void test_trust_takes_ed25519_only(void **state)
{
	_cleanup_(key_freep) struct key *key = NULL;
	struct backup_trust trust = {0};

	(void)state;
	assert_int_equal(key_generate(KEY_KEM_X25519, 0, &key, NULL), 0);
	assert_int_equal(add(&trust, 1, "ams", key), KLUIS_EINVAL);
	assert_int_equal(trust.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_trust_takes_ed25519_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

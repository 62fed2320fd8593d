/* Key files and trust lists: what is written comes back, what is wrong is named. */
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

static char *trust_line(const char *head, const struct key *key)
{
	_cleanup_(buf_release) struct buf text = BUF_INIT;

	buf_printf(&text, "%s ", head);
	hex_append(&text, key_pub_bytes(key_public(key)));
	buf_append(&text, "\n", 1);
	return x_strdup(buf_str(&text));
}

static int parse(const char *text, unsigned *ret_n, struct err *e)
{
	struct backup_trust trust = {0};
	int rc = backup_trust_parse(bytes_str(text), &trust, e);

	*ret_n = trust.n;
	backup_trust_release(&trust);
	return rc;
}

static void test_trust(void **state)
{
	static const char *const bad[] = {"kluis-node 2 3 cph", "kluis-node 1 0 cph",
		"kluis-node 1 03 cph", "kluis-node 1 3 Cph", "kluis-node 1 3 ",
		"kluis-nodes 1 3 cph", "kluis-node 1 3 cph x", " kluis-node 1 3 cph",
		"kluis-node 1 1 cph", "kluis-node 1 3 ams"};
	_cleanup_(key_freep) struct key *one = NULL;
	_cleanup_(key_freep) struct key *two = NULL;
	_cleanup_(x_freep) char *first = NULL;
	_cleanup_(x_freep) char *same_key = NULL;
	_cleanup_(x_freep) char *good = NULL;
	struct err e = {0};
	unsigned n;

	(void)state;
	assert_int_equal(key_generate(KEY_ED25519, 0, &one, NULL), 0);
	assert_int_equal(key_generate(KEY_ED25519, 0, &two, NULL), 0);
	first = trust_line("kluis-node 1 1 ams", one);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(x_freep) char *second = trust_line(bad[i], two);
		_cleanup_(x_freep) char *text = x_asprintf("# sites\n\n%s%s", first, second);

		assert_int_not_equal(parse(text, &n, &e), 0);
		assert_non_null(strstr(e.text, "line 4"));
		memset(&e, 0, sizeof e);
	}
	same_key = trust_line("kluis-node 1 2 ber", one);
	good = x_asprintf("%s%s", first, same_key);
	assert_int_equal(parse(good, &n, &e), KLUIS_EEXIST);
	free(good);
	good = trust_line("kluis-node 1 2 ber", two);
	{
		_cleanup_(x_freep) char *text = x_asprintf("%s%s", first, good);

		assert_int_equal(parse(text, &n, NULL), 0);
		assert_int_equal(n, 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_trust),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

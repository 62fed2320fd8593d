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

static struct backup_former former_of(uint64_t node, const struct key *key)
{
	struct backup_former row = {.node = node};

	memcpy(row.key, key_pub_bytes(key_public(key)).data, sizeof row.key);
	return row;
}

static int add_former(struct backup_trust *trust, uint64_t node, const struct key *key)
{
	struct backup_formers formers = {.rows = {former_of(node, key)}, .n = 1};

	return backup_trust_add_formers(trust, &formers, NULL);
}

static enum backup_signed signed_by(
	const struct backup_trust *trust, uint64_t node, const struct key *key)
{
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	struct bytes message = bytes_str("message");

	assert_int_equal(sign_make(key, message, &signature, NULL), 0);
	return backup_trust_check(trust, node, message, buf_bytes(&signature));
}

/* A former key is no node's, counts beyond those, and is told apart from the one of now. */
static void test_former_keys(void **state)
{
	_cleanup_(key_freep) struct key *now = NULL;
	_cleanup_(key_freep) struct key *before = NULL;
	struct backup_trust trust = {0};

	(void)state;
	assert_int_equal(key_generate(KEY_ED25519, 0, &now, NULL), 0);
	assert_int_equal(key_generate(KEY_ED25519, 0, &before, NULL), 0);
	assert_int_equal(add(&trust, 7, "ams", now), 0);
	assert_int_equal(add_former(&trust, 7, before), 0);
	assert_int_equal(add_former(&trust, 3, now), 0); /* Replaced, and its key stayed. */
	assert_int_equal(add_former(&trust, 3, before), 0);
	assert_int_equal(add_former(&trust, 7, now), KLUIS_EEXIST);
	assert_int_equal(add_former(&trust, 3, now), KLUIS_EEXIST);
	assert_int_equal(trust.n, 1);
	assert_int_equal(trust.n_former, 3);
	assert_null(backup_trust_node(&trust, 3));
	assert_true(backup_trust_knows(&trust, 3) && backup_trust_knows(&trust, 7));
	assert_false(backup_trust_knows(&trust, 4));
	assert_int_equal(signed_by(&trust, 7, now), SIGNED_BY_NODE);
	assert_int_equal(signed_by(&trust, 7, before), SIGNED_BY_FORMER);
	assert_int_equal(signed_by(&trust, 3, now), SIGNED_BY_FORMER);
	assert_int_equal(signed_by(&trust, 4, now), SIGNED_BY_NONE);
	backup_trust_release(&trust);
	assert_int_equal(trust.n_former, 0);
}

/* As settings write them. */
static void test_former_lines(void **state)
{
	static const char digits[] =
		"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
	static const char *const bad[] = {"%s", "0 %s", "-3 %s", "03 %s", "4294967296 %s", "3",
		"3 %s0", "3 %s 4", "3\t%s", " 3 %s", "ams %s"};
	struct backup_formers formers = {.n = 0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(buf_release) struct buf line = BUF_INIT;
		const char *at = strstr(bad[i], "%s");
		int before = at == NULL ? (int)strlen(bad[i]) : (int)(at - bad[i]);

		buf_printf(&line, "%.*s%s%s", before, bad[i], at == NULL ? "" : digits,
			at == NULL ? "" : at + 2);
		assert_int_equal(backup_formers_parse(&formers, buf_str(&line)), KLUIS_EINVAL);
	}
	assert_int_equal(formers.n, 0);
	for (unsigned node = 1; node <= BACKUP_FORMER_MAX + 1; node++) {
		_cleanup_(x_freep) char *line = x_asprintf("%u %s", node, digits);

		assert_int_equal(backup_formers_parse(&formers, line),
			node > BACKUP_FORMER_MAX ? KLUIS_ETOOLARGE : 0);
	}
	assert_int_equal(formers.n, BACKUP_FORMER_MAX);
	assert_int_equal(formers.rows[6].node, 7);
	assert_int_equal(formers.rows[6].key[31], 0x1a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_trust_takes_ed25519_only),
		cmocka_unit_test(test_former_keys),
		cmocka_unit_test(test_former_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

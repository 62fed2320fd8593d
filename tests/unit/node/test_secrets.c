#include "tests/lib/test.h"

#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"
#include "crypto/hash.h"
#include "crypto/hpke.h"
#include "crypto/pki.h"
#include "node/secrets.h"

static const uint8_t cluster_a[16] = {0xaa}, cluster_b[16] = {0xbb};

static void test_a_file_that_only_its_owner_reads(void **state)
{
	char *dir = scratch_new("secrets");
	_cleanup_(x_freep) char *path = x_asprintf("%s/secrets", dir);
	struct secrets made, got;
	struct err e = {0};
	struct stat st;

	(void)state;
	secrets_make(cluster_a, &random_system, &made);
	assert_int_equal(secrets_write(&made, path, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0400);
	assert_int_equal(secrets_write(&made, path, &e), KLUIS_EEXIST);
	assert_int_equal(secrets_read(path, cluster_b, &got, &e), KLUIS_EINVAL);
	assert_int_equal(secrets_read(path, cluster_a, &got, &e), 0);
	assert_true(secret_equal(secret_bytes(&got.pepper), secret_bytes(&made.pepper)));
	assert_true(secret_equal(secret_bytes(&got.enum_key), secret_bytes(&made.enum_key)));
	assert_false(secret_equal(secret_bytes(&got.enum_key), secret_bytes(&made.pepper)));
	secrets_release(&got);
	assert_int_equal(chmod(path, 0440), 0);
	assert_int_equal(secrets_read(path, cluster_a, &got, &e), KLUIS_EFORBIDDEN);
	secrets_release(&made);
	scratch_free(dir);
}

static void test_every_flip_is_refused(void **state)
{
	char *dir = scratch_new("secrets");
	_cleanup_(x_freep) char *path = x_asprintf("%s/secrets", dir);
	_cleanup_(buf_release) struct buf raw = BUF_INIT;
	struct secrets made, got;
	struct err e = {0};

	(void)state;
	secrets_make(cluster_a, &random_system, &made);
	assert_int_equal(secrets_write(&made, path, &e), 0);
	secrets_release(&made);
	assert_int_equal(file_read(path, 1024, &raw, &e), 0);
	for (size_t i = 0; i < raw.len; i++) {
		raw.data[i] ^= 1;
		assert_int_equal(file_write(path, buf_bytes(&raw), 0400, &e), 0);
		assert_int_not_equal(secrets_read(path, cluster_a, &got, &e), 0);
		raw.data[i] ^= 1;
	}
	assert_int_equal(file_write(path, bytes_of(raw.data, raw.len - 1), 0400, &e), 0);
	assert_int_not_equal(secrets_read(path, cluster_a, &got, &e), 0);
	scratch_free(dir);
}

static void node_identity(const struct pki_identity *ca, uint64_t id, struct pki_identity *ret_node)
{
	struct err e = {0};

	assert_int_equal(
		pki_issue_node(ca, cluster_a, id, clock_wall_ms(&clock_system), 1, ret_node, &e),
		0);
}

static void test_sealed_to_one_node(void **state)
{
	const struct pki_spec spec = {.algorithm = PKI_EC_P384,
		.common_name = "nodes",
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 1};
	struct pki_identity ca = {0}, one = {0}, two = {0};
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct secrets made, got;
	struct err e = {0};

	(void)state;
	assert_int_equal(pki_make_ca(&spec, &ca, &e), 0);
	node_identity(&ca, 1, &one);
	node_identity(&ca, 2, &two);
	secrets_make(cluster_a, &random_system, &made);
	assert_int_equal(
		secrets_seal(&made, buf_bytes(&one.cert_pem), &random_system, &text, &e), 0);
	assert_int_equal(
		secrets_open(buf_bytes(&text), buf_bytes(&two.key_pem), &got, &e), KLUIS_EVERIFY);
	assert_int_equal(secrets_open(buf_bytes(&text), buf_bytes(&one.key_pem), &got, &e), 0);
	assert_true(secret_equal(secret_bytes(&got.pepper), secret_bytes(&made.pepper)));
	secrets_release(&got);
	for (size_t i = 0; i + 1 < text.len; i++) {
		uint8_t was = text.data[i];

		text.data[i] = was == 'A' ? 'B' : 'A';
		assert_int_not_equal(
			secrets_open(buf_bytes(&text), buf_bytes(&one.key_pem), &got, &e), 0);
		text.data[i] = was;
	}
	secrets_release(&made);
	pki_identity_release(&ca);
	pki_identity_release(&one);
	pki_identity_release(&two);
}

/* --- the offline copy --- */

static struct key *backup_key(unsigned kem)
{
	struct key *key = NULL;

	assert_int_equal(hpke_generate_key(kem, &random_system, &key, NULL), 0);
	return key;
}

static void sealed_offline(
	const struct secrets *secrets, const struct key *key, struct buf *ret_text)
{
	struct err e = {0};

	assert_int_equal(
		secrets_seal_offline(secrets, key_public(key), &random_system, ret_text, &e), 0);
}

static void test_offline_copy(void **state)
{
	static const unsigned kems[] = {KEY_KEM_P256, KEY_KEM_X25519};
	struct secrets made, got;
	struct err e = {0};

	(void)state;
	secrets_make(cluster_a, &random_system, &made);
	for (size_t i = 0; i < ARRAY_SIZE(kems); i++) {
		_cleanup_(key_freep) struct key *key = backup_key(kems[i]);
		_cleanup_(key_freep) struct key *other = backup_key(kems[i]);
		struct backup_key_set both = {{other, key}, 2}, wrong = {{other}, 1};
		_cleanup_(buf_release) struct buf text = BUF_INIT;

		sealed_offline(&made, key, &text);
		assert_int_equal(
			secrets_open_offline(buf_bytes(&text), &wrong, &got, &e), KLUIS_EFORBIDDEN);
		assert_non_null(strstr(e.text, "sealed to backup key "));
		assert_int_equal(secrets_open_offline(buf_bytes(&text), &both, &got, &e), 0);
		assert_true(secrets_equal(&got, &made));
		assert_memory_equal(got.cluster_id, cluster_a, sizeof cluster_a);
		secrets_release(&got);
	}
	secrets_release(&made);
}

static void test_damaged_offline_copy(void **state)
{
	_cleanup_(key_freep) struct key *key = backup_key(KEY_KEM_P256);
	struct backup_key_set keys = {{key}, 1};
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	struct secrets made, got;
	struct err e = {0};

	(void)state;
	secrets_make(cluster_a, &random_system, &made);
	sealed_offline(&made, key, &text);
	secrets_release(&made);
	for (size_t i = 0; i + 1 < text.len; i++) {
		uint8_t was = text.data[i];
		int rc;

		text.data[i] = was == 'A' ? 'B' : 'A';
		rc = secrets_open_offline(buf_bytes(&text), &keys, &got, &e);
		/* Never taken for one that another key opens. */
		assert_true(rc == KLUIS_ECORRUPT || rc == KLUIS_EVERSION);
		text.data[i] = was;
		assert_int_equal(secrets_open_offline(bytes_of(text.data, i), &keys, &got, &e),
			KLUIS_ECORRUPT);
	}
	assert_int_equal(secrets_open_offline(buf_bytes(&text), &keys, &got, &e), 0);
	secrets_release(&got);
}

/* Changes one byte of what the text stands for, which is random in places, and makes the sum behind
 * it fit again. */
static void change_raw(struct buf *text, size_t at)
{
	_cleanup_(buf_release) struct buf raw = BUF_INIT;

	assert_int_equal(base64_decode(bytes_of(text->data, text->len - 1), 1024, &raw), 0);
	raw.data[at] ^= 0x7e;
	hash_sha256(bytes_of(raw.data, raw.len - HASH_BYTES), raw.data + raw.len - HASH_BYTES);
	buf_clear(text);
	base64_append(text, buf_bytes(&raw));
	buf_put_str(text, "\n");
}

static void test_forged_offline_copy(void **state)
{
	enum { AT_VERSION = 4, AT_ZERO = 7, AT_CLUSTER = 8, AT_CIPHERTEXT = 40 + 2 + 65 + 2 };
	static const struct {
		size_t at;
		int rc;
	} changes[] = {{AT_VERSION, KLUIS_EVERSION}, {AT_ZERO, KLUIS_ECORRUPT},
		{AT_CLUSTER, KLUIS_EVERIFY}, {AT_CIPHERTEXT, KLUIS_EVERIFY}};
	_cleanup_(key_freep) struct key *key = backup_key(KEY_KEM_P256);
	struct backup_key_set keys = {{key}, 1};
	struct secrets made, got;
	struct err e = {0};

	(void)state;
	secrets_make(cluster_a, &random_system, &made);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		_cleanup_(buf_release) struct buf text = BUF_INIT;

		sealed_offline(&made, key, &text);
		change_raw(&text, changes[i].at);
		assert_int_equal(
			secrets_open_offline(buf_bytes(&text), &keys, &got, &e), changes[i].rc);
	}
	secrets_release(&made);
}

/* Whoever has the public key can seal anything: here these secrets under the head of another one's
 * copy. */
static void sealed_under(const struct secrets *secrets, const struct key *key,
	const struct buf *other, struct buf *ret_text)
{
	enum { HEAD_BYTES = 40 };
	_cleanup_(x_freep) char *dir = scratch_new("secrets");
	_cleanup_(x_freep) char *path = x_asprintf("%s/secrets", dir);
	_cleanup_(buf_release) struct buf raw = BUF_INIT, plain = BUF_INIT, enc = BUF_INIT,
					  ct = BUF_INIT;
	uint8_t digest[HASH_BYTES];

	assert_int_equal(secrets_write(secrets, path, NULL), 0);
	assert_int_equal(file_read(path, 1024, &plain, NULL), 0);
	assert_int_equal(base64_decode(bytes_of(other->data, other->len - 1), 1024, &raw), 0);
	raw.len = HEAD_BYTES;
	assert_int_equal(
		hpke_seal(key_public(key), AEAD_AES_256_GCM, bytes_str("kluis/v1/offline-secrets"),
			buf_bytes(&raw), buf_bytes(&plain), &random_system, &enc, &ct, NULL),
		0);
	buf_put_lp16(&raw, buf_bytes(&enc));
	buf_put_lp16(&raw, buf_bytes(&ct));
	hash_sha256(buf_bytes(&raw), digest);
	buf_append(&raw, digest, sizeof digest);
	base64_append(ret_text, buf_bytes(&raw));
	assert_int_equal(file_remove_tree(dir, NULL), 0);
}

static void test_offline_copy_that_holds_another_clusters(void **state)
{
	_cleanup_(key_freep) struct key *key = backup_key(KEY_KEM_P256);
	struct backup_key_set keys = {{key}, 1};
	_cleanup_(buf_release) struct buf own = BUF_INIT, mixed = BUF_INIT, same = BUF_INIT;
	struct secrets a, b, got;
	struct err e = {0};

	(void)state;
	secrets_make(cluster_a, &random_system, &a);
	secrets_make(cluster_b, &random_system, &b);
	sealed_offline(&a, key, &own);
	sealed_under(&a, key, &own, &same);
	assert_int_equal(secrets_open_offline(buf_bytes(&same), &keys, &got, &e), 0);
	secrets_release(&got);
	sealed_under(&b, key, &own, &mixed);
	assert_int_equal(secrets_open_offline(buf_bytes(&mixed), &keys, &got, &e), KLUIS_ECORRUPT);
	assert_non_null(strstr(e.text, "holds something else"));
	secrets_release(&a);
	secrets_release(&b);
}

/* As an independent program made it from docs/format-node.md. */
static void test_known_answers(void **state)
{
	json_t *kat = json_load_file(KLUIS_SOURCE_DIR "/tests/vectors/backup-kat.json", 0, NULL);
	json_t *sealed = json_object_get(kat, "secrets"), *text;
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	struct err e = {0};
	size_t i;

	(void)state;
	assert_int_equal(
		hex_decode_buf(
			bytes_str(json_string_value(json_object_get(sealed, "file"))), 1024, &file),
		0);
	json_array_foreach(json_object_get(sealed, "offline"), i, text)
	{
		json_t *row = json_array_get(json_object_get(kat, "keys"), i);
		struct bytes line =
			bytes_str(json_string_value(json_object_get(row, "private_line")));
		_cleanup_(key_freep) struct key *key = NULL;
		struct backup_key_set keys = {.n = 1};
		struct secrets got;

		line.len--; /* Its LF. */
		assert_int_equal(backup_key_parse(line, BACKUP_KEY_SEAL, &key, &e), 0);
		keys.keys[0] = key;
		assert_int_equal(
			secrets_open_offline(bytes_str(json_string_value(text)), &keys, &got, &e),
			0);
		assert_int_equal(got.pepper_id, file.data[5]);
		assert_memory_equal(got.cluster_id, file.data + 8, SECRETS_CLUSTER_BYTES);
		assert_memory_equal(secret_bytes(&got.pepper).data, file.data + 24, 32);
		assert_memory_equal(secret_bytes(&got.enum_key).data, file.data + 56, 32);
		secrets_release(&got);
	}
	assert_int_equal(i, 2);
	json_decref(kat);
}

/* Either kind says of the other one what it is. */
static void test_two_kinds_of_sealed(void **state)
{
	const struct pki_spec spec = {.algorithm = PKI_EC_P384,
		.common_name = "nodes",
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 1};
	_cleanup_(key_freep) struct key *key = backup_key(KEY_KEM_P256);
	struct backup_key_set keys = {{key}, 1};
	_cleanup_(buf_release) struct buf offline = BUF_INIT, text = BUF_INIT;
	struct pki_identity ca = {0}, node = {0};
	struct secrets made, got;
	struct err e = {0};

	(void)state;
	assert_int_equal(pki_make_ca(&spec, &ca, &e), 0);
	node_identity(&ca, 1, &node);
	secrets_make(cluster_a, &random_system, &made);
	sealed_offline(&made, key, &offline);
	assert_int_equal(
		secrets_seal(&made, buf_bytes(&node.cert_pem), &random_system, &text, &e), 0);
	assert_int_equal(secrets_open(buf_bytes(&offline), buf_bytes(&node.key_pem), &got, &e),
		KLUIS_EINVAL);
	assert_non_null(strstr(e.text, "--key-file"));
	assert_int_equal(secrets_open_offline(buf_bytes(&text), &keys, &got, &e), KLUIS_ECORRUPT);
	assert_non_null(strstr(e.text, "not the offline copy"));
	secrets_release(&made);
	pki_identity_release(&ca);
	pki_identity_release(&node);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_file_that_only_its_owner_reads),
		cmocka_unit_test(test_every_flip_is_refused),
		cmocka_unit_test(test_sealed_to_one_node),
		cmocka_unit_test(test_offline_copy),
		cmocka_unit_test(test_damaged_offline_copy),
		cmocka_unit_test(test_forged_offline_copy),
		cmocka_unit_test(test_offline_copy_that_holds_another_clusters),
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_two_kinds_of_sealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/lib/test.h"

#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_file_that_only_its_owner_reads),
		cmocka_unit_test(test_every_flip_is_refused),
		cmocka_unit_test(test_sealed_to_one_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

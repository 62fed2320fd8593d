#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "crypto/pki.h"

static const uint8_t CLUSTER[16] = {0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void make_ca(enum pki_algorithm algorithm, struct pki_identity *ret_ca)
{
	struct pki_spec spec = {.algorithm = algorithm,
		.common_name = "test CA",
		.wall_ms = clock_wall_ms(&clock_system),
		.days = PKI_CA_DAYS};
	struct err e = {0};

	if (pki_make_ca(&spec, ret_ca, &e) != 0) {
		fail_msg("%s", e.text);
	}
}

static struct pki_spec server_spec(void)
{
	static const char *const dns[] = {"node1.example.org", "*.kluis.example"};
	static const char *const ip[] = {"127.0.0.1", "::1"};

	return (struct pki_spec){.algorithm = PKI_EC_P256,
		.common_name = "node1.example.org",
		.dns = dns,
		.n_dns = 2,
		.ip = ip,
		.n_ip = 2,
		.wall_ms = clock_wall_ms(&clock_system),
		.days = PKI_LEAF_DAYS};
}

static void check_ca(enum pki_algorithm algorithm, const char *key)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0}, server = {0};
	struct pki_spec spec = server_spec();
	struct pki_info info;
	struct err e = {0};

	make_ca(algorithm, &ca);
	assert_int_equal(pki_info(buf_bytes(&ca.cert_pem), &info, &e), 0);
	assert_string_equal(info.key, key);
	assert_true(info.is_ca);
	assert_false(info.is_node);
	assert_string_equal(info.subject, "CN=test CA,O=Kluis");
	assert_string_equal(info.subject, info.issuer);
	assert_true(strlen(info.serial) >= 24 && strlen(info.serial) <= 34);
	assert_non_null(strstr(buf_str(&ca.key_pem), "BEGIN PRIVATE KEY"));
	assert_int_equal(pki_issue_server(&ca, &spec, &server, &e), 0);
	assert_int_equal(pki_verify(buf_bytes(&server.cert_pem), buf_bytes(&ca.cert_pem),
				 PKI_SERVER, spec.wall_ms, &e),
		0);
}

static void test_rsa_ca(void **state)
{
	(void)state;
	check_ca(PKI_RSA_4096, "RSA 4096");
}

static void test_p384_ca(void **state)
{
	(void)state;
	check_ca(PKI_EC_P384, "EC P-384");
}

static void test_server_certificate(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0}, other = {0}, server = {0};
	struct pki_spec spec = server_spec();
	struct bytes cert;
	struct pki_info info;
	struct err e = {0};

	(void)state;
	make_ca(PKI_EC_P256, &ca);
	make_ca(PKI_EC_P256, &other);
	assert_int_equal(pki_issue_server(&ca, &spec, &server, &e), 0);
	cert = buf_bytes(&server.cert_pem);
	assert_int_equal(pki_info(cert, &info, &e), 0);
	assert_false(info.is_ca);
	assert_string_equal(info.key, "EC P-256");
	assert_true(info.not_before_ms / 1000 == (spec.wall_ms - PKI_BACKDATE_MS) / 1000);
	assert_true(info.not_after_ms / 1000 == (spec.wall_ms + PKI_LEAF_DAYS * DAY_MS) / 1000);
	assert_int_equal(pki_key_matches(cert, buf_bytes(&server.key_pem), &e), 0);
	assert_int_equal(pki_key_matches(cert, buf_bytes(&ca.key_pem), &e), KLUIS_EVERIFY);
	/* Another CA, of the same name; outside its days; for a role that it is not made for. */
	assert_int_equal(pki_verify(cert, buf_bytes(&other.cert_pem), PKI_SERVER, spec.wall_ms, &e),
		KLUIS_EVERIFY);
	assert_int_equal(pki_verify(cert, buf_bytes(&ca.cert_pem), PKI_SERVER,
				 spec.wall_ms + (PKI_LEAF_DAYS + 1) * DAY_MS, &e),
		KLUIS_EVERIFY);
	assert_non_null(strstr(e.text, "expired"));
	assert_int_equal(pki_verify(cert, buf_bytes(&ca.cert_pem), PKI_SERVER,
				 spec.wall_ms - 10ULL * 60 * 1000, &e),
		KLUIS_EVERIFY);
	assert_int_equal(pki_verify(cert, buf_bytes(&ca.cert_pem), PKI_NODE, spec.wall_ms, &e),
		KLUIS_EVERIFY);
}

static void test_leaf_ends_with_its_ca(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0}, node = {0};
	struct pki_spec spec = {.algorithm = PKI_EC_P256,
		.common_name = "short CA",
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 3};
	struct pki_info info;
	struct err e = {0};

	(void)state;
	assert_int_equal(pki_make_ca(&spec, &ca, &e), 0);
	assert_int_equal(pki_issue_node(&ca, CLUSTER, 1, spec.wall_ms, 30, &node, &e), 0);
	assert_int_equal(pki_info(buf_bytes(&node.cert_pem), &info, &e), 0);
	assert_true(info.not_after_ms / 1000 == (spec.wall_ms + 3 * DAY_MS) / 1000);
}

static void test_node_certificate(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0}, node = {0}, under = {0};
	uint64_t now = clock_wall_ms(&clock_system);
	struct pki_info info;
	struct err e = {0};

	(void)state;
	make_ca(PKI_EC_P384, &ca);
	assert_int_equal(
		pki_issue_node(&ca, CLUSTER, UINT64_MAX, now, PKI_LEAF_DAYS, &node, &e), 0);
	assert_int_equal(pki_info(buf_bytes(&node.cert_pem), &info, &e), 0);
	assert_true(info.is_node);
	assert_true(info.node_id == UINT64_MAX);
	assert_memory_equal(info.cluster_id, CLUSTER, sizeof CLUSTER);
	assert_int_equal(
		pki_verify(buf_bytes(&node.cert_pem), buf_bytes(&ca.cert_pem), PKI_NODE, now, &e),
		0);
	assert_int_equal(pki_issue_node(&ca, CLUSTER, 0, now, 1, &under, &e), KLUIS_EINVAL);
	/* What is no CA signs nothing. */
	assert_int_equal(pki_issue_node(&node, CLUSTER, 2, now, 1, &under, &e), KLUIS_EINVAL);
	assert_int_equal(under.cert_pem.len, 0);
}

static void test_node_uri(void **state)
{
	static const char *const bad[] = {"", "kluis://", "kluis:///node/1",
		"kluis://ab0102030405060708090a0b0c0d0e0f/node/",
		"kluis://ab0102030405060708090a0b0c0d0e0f/node/0",
		"kluis://ab0102030405060708090a0b0c0d0e0f/node/01",
		"kluis://ab0102030405060708090a0b0c0d0e0f/node/1/",
		"kluis://ab0102030405060708090a0b0c0d0e0f/node/ 1",
		"kluis://ab0102030405060708090a0b0c0d0e0f/node/18446744073709551616",
		"kluis://AB0102030405060708090a0b0c0d0e0f/node/1",
		"Kluis://ab0102030405060708090a0b0c0d0e0f/node/1",
		"kluis://ab0102030405060708090a0b0c0d0e0f/nope/1",
		"kluis://ab0102030405060708090a0b0c0d0e0/node/11",
		"kluis://ab0102030405060708090a0b0c0d0eg0/node/1"};
	char uri[PKI_NODE_URI_MAX];
	uint8_t cluster[16] = {0};
	uint64_t id = 0;

	(void)state;
	pki_node_uri(CLUSTER, 42, uri);
	assert_string_equal(uri, "kluis://ab0102030405060708090a0b0c0d0e0f/node/42");
	assert_int_equal(pki_node_uri_parse(bytes_str(uri), cluster, &id), 0);
	assert_true(id == 42);
	assert_memory_equal(cluster, CLUSTER, 16);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(pki_node_uri_parse(bytes_str(bad[i]), cluster, &id), KLUIS_EINVAL);
		assert_true(id == 42);
	}
	/* A NUL does not end it early. */
	assert_int_equal(
		pki_node_uri_parse(bytes_of(uri, strlen(uri) + 1), cluster, &id), KLUIS_EINVAL);
}

static void refuse_server(const struct pki_identity *ca, const char *dns, const char *ip)
{
	_cleanup_(pki_identity_release) struct pki_identity server = {0};
	struct pki_spec spec = server_spec();
	struct err e = {0};

	spec.dns = &dns;
	spec.n_dns = dns != NULL;
	spec.ip = &ip;
	spec.n_ip = ip != NULL;
	assert_int_equal(pki_issue_server(ca, &spec, &server, &e), KLUIS_EINVAL);
}

static void test_bad_names(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0};
	static const char *const dns[] = {"", ".", "a..b", "a,DNS:evil", "-a.org", "a-.org", "a b",
		"a.*.org", "*", "\xc3\xa9.org",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.org"};
	static const char *const ip[] = {"", "127.0.0", "127.0.0.1.1", "1.2.3.4/8", "host"};

	(void)state;
	make_ca(PKI_EC_P256, &ca);
	for (size_t i = 0; i < ARRAY_SIZE(dns); i++) {
		refuse_server(&ca, dns[i], NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ip); i++) {
		refuse_server(&ca, NULL, ip[i]);
	}
	refuse_server(&ca, NULL, NULL);
}

static void test_bad_pem(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0};
	_cleanup_(buf_release) struct buf twice = BUF_INIT;
	struct pki_info info;
	struct err e = {0};

	(void)state;
	make_ca(PKI_EC_P256, &ca);
	for (size_t n = 0; n < ca.cert_pem.len - 1; n += 7) {
		assert_int_equal(pki_info(bytes_of(ca.cert_pem.data, n), &info, &e), KLUIS_EINVAL);
	}
	assert_int_equal(pki_info(buf_bytes(&ca.key_pem), &info, &e), KLUIS_EINVAL);
	/* A damaged second certificate is not skipped. */
	buf_append_bytes(&twice, buf_bytes(&ca.cert_pem));
	buf_append(&twice, ca.cert_pem.data, ca.cert_pem.len / 2);
	assert_int_equal(pki_info(buf_bytes(&twice), &info, &e), KLUIS_EINVAL);
	buf_reserve(&twice, PKI_PEM_BYTES_MAX + 1);
	memset(twice.data, '\n', PKI_PEM_BYTES_MAX + 1);
	twice.len = PKI_PEM_BYTES_MAX + 1;
	assert_int_equal(pki_info(buf_bytes(&twice), &info, &e), KLUIS_EINVAL);
}

/* Bytes 36 to 67 of the PKCS#8 form of a P-256 key are its private half, base64 from the second
 * line on. */
static void test_damaged_key(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0};
	size_t begin = strlen("-----BEGIN PRIVATE KEY-----\n");
	struct err e = {0};

	(void)state;
	make_ca(PKI_EC_P256, &ca);
	for (size_t at = begin + 50; at < begin + 64; at++) {
		uint8_t was = ca.key_pem.data[at];

		ca.key_pem.data[at] = was == 'A' ? 'B' : 'A';
		assert_int_equal(
			pki_key_matches(buf_bytes(&ca.cert_pem), buf_bytes(&ca.key_pem), &e),
			KLUIS_EINVAL);
		assert_non_null(strstr(e.text, "damaged private key"));
		ca.key_pem.data[at] = was;
	}
	assert_int_equal(pki_key_matches(buf_bytes(&ca.cert_pem), buf_bytes(&ca.key_pem), &e), 0);
}

static void test_files(void **state)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {0}, read = {0};
	char *dir = scratch_new("pki");
	_cleanup_(x_freep) char *cert = x_asprintf("%s/ca.pem", dir);
	_cleanup_(x_freep) char *key = x_asprintf("%s/ca.key", dir);
	_cleanup_(x_freep) char *other = NULL;
	struct stat st;
	struct err e = {0};

	(void)state;
	make_ca(PKI_EC_P256, &ca);
	assert_int_equal(pki_write(&ca, cert, key, &e), 0);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(pki_write(&ca, cert, key, &e), KLUIS_EEXIST);
	other = x_asprintf("%s/other.key", dir);
	assert_int_equal(pki_write(&ca, cert, other, &e), KLUIS_EEXIST);
	assert_false(file_exists(other));
	assert_int_equal(pki_read(cert, key, &read, &e), 0);
	assert_true(bytes_equal(buf_bytes(&read.key_pem), buf_bytes(&ca.key_pem)));
	assert_true(bytes_equal(buf_bytes(&read.cert_pem), buf_bytes(&ca.cert_pem)));
	assert_int_equal(pki_read(cert, NULL, &read, &e), 0);
	assert_int_equal(read.key_pem.len, 0);
	assert_int_equal(chmod(key, 0640), 0);
	assert_int_equal(pki_read(cert, key, &read, &e), KLUIS_EINVAL);
	assert_int_equal(pki_read("/nonexistent", key, &read, &e), KLUIS_ENOTFOUND);
	scratch_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rsa_ca),
		cmocka_unit_test(test_p384_ca),
		cmocka_unit_test(test_server_certificate),
		cmocka_unit_test(test_leaf_ends_with_its_ca),
		cmocka_unit_test(test_node_certificate),
		cmocka_unit_test(test_node_uri),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_bad_pem),
		cmocka_unit_test(test_damaged_key),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

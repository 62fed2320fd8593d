/* Certificates of a running replica: read again, bad ones refused by name. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "tests/lib/certs.h"
#include "tests/unit/raft/lib/replica_rig.h"

struct files {
	struct replica_rig rig;
	struct pki_identity good, other_ca;
	char *cert, *key, *ca;
	struct buf ca_pem;
};

static void put(const char *path, struct bytes bytes)
{
	assert_int_equal(file_write(path, bytes, 0600, NULL), 0);
}

static void put_identity(struct files *f, const struct pki_identity *identity)
{
	put(f->cert, buf_bytes(&identity->cert_pem));
	put(f->key, buf_bytes(&identity->key_pem));
}

static int setup(void **state)
{
	struct files *f = x_calloc(1, sizeof *f);

	replica_rig_init(&f->rig, 1, 1);
	replica_rig_start_all(&f->rig);
	f->cert = replica_rig_path(&f->rig, 0, "cert.pem");
	f->key = replica_rig_path(&f->rig, 0, "key.pem");
	f->ca = x_asprintf("%s/ca.pem", f->rig.dir);
	assert_int_equal(file_read(f->ca, PKI_PEM_BYTES_MAX, &f->ca_pem, NULL), 0);
	assert_int_equal(pki_read(f->cert, f->key, &f->good, NULL), 0);
	certs_ca(&f->other_ca);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct files *f = *state;

	replica_rig_release(&f->rig);
	pki_identity_release(&f->good);
	pki_identity_release(&f->other_ca);
	buf_release(&f->ca_pem);
	free(f->cert);
	free(f->key);
	free(f->ca);
	free(f);
	return 0;
}

static void refused(struct files *f, int code, const char *file, const char *why)
{
	struct err e = {0};
	uint64_t before = replica_rig_status(&f->rig, 0).certificate_not_after_ms;

	assert_int_equal(replica_reload(f->rig.node[0], &e), code);
	if (strstr(e.text, file) == NULL || strstr(e.text, why) == NULL) {
		fail_msg("'%s' says nothing of '%s' or '%s'", e.text, file, why);
	}
	replica_rig_run(&f->rig, 2 * HEARTBEAT_MS);
	assert_int_equal(replica_rig_status(&f->rig, 0).certificate_not_after_ms, before);
	put_identity(f, &f->good);
	put(f->ca, buf_bytes(&f->ca_pem));
}

static void refused_identity(
	struct files *f, const struct pki_identity *ca, uint64_t id, unsigned age, const char *why)
{
	struct pki_identity node = {0};

	certs_node(ca, id, age, &node);
	put_identity(f, &node);
	refused(f, id == 1 ? KLUIS_EVERIFY : KLUIS_EINVAL, "cert.pem", why);
	pki_identity_release(&node);
}

static void test_bad_files(void **state)
{
	struct files *f = *state;
	struct pki_identity node = {0};

	refused_identity(f, &f->other_ca, 1, 0, "ca.pem"); /* Of a CA that is not trusted. */
	put_identity(f, &f->other_ca);
	refused(f, KLUIS_EVERIFY, "cert.pem", "self-signed");
	certs_server(&f->other_ca, &node);
	put_identity(f, &node);
	refused(f, KLUIS_EVERIFY, "cert.pem", "certificate refused");
	put(f->key, buf_bytes(&node.key_pem));
	refused(f, KLUIS_EVERIFY, "key.pem", "the key is not the certificate's");
	pki_identity_release(&node);
	assert_int_equal(remove(f->cert), 0);
	refused(f, KLUIS_ENOTFOUND, "cert.pem", "");
	put(f->cert, bytes_str("nonsense"));
	refused(f, KLUIS_EINVAL, "cert.pem", "no certificate");
	put(f->key, bytes_str("nonsense"));
	refused(f, KLUIS_EINVAL, "key.pem", "no private key");
	assert_int_equal(chmod(f->key, 0644), 0);
	refused(f, KLUIS_EINVAL, "key.pem", "chmod 600");
	assert_int_equal(chmod(f->key, 0600), 0);
	put(f->ca, bytes_of(f->ca_pem.data, f->ca_pem.len / 2));
	refused(f, KLUIS_EINVAL, "ca.pem", "CA file");
	put(f->ca, buf_bytes(&f->good.cert_pem));
	refused(f, KLUIS_EINVAL, "ca.pem", "no CA's");
	assert_int_equal(remove(f->ca), 0);
	refused(f, KLUIS_ENOTFOUND, "ca.pem", "");
}

/* Signed by the right CA, but expired, or another node's. */
static void test_bad_certificates(void **state)
{
	struct files *f = *state;

	put(f->ca, buf_bytes(&f->other_ca.cert_pem));
	refused_identity(f, &f->other_ca, 1, 40, "expired");
	put(f->ca, buf_bytes(&f->other_ca.cert_pem));
	refused_identity(f, &f->other_ca, 2, 0, "not that of node 1");
}

static void test_good_files(void **state)
{
	struct files *f = *state;
	struct pki_identity node = {0};
	struct pki_info info;
	struct err e = {0};

	certs_node(&f->other_ca, 1, 3, &node);
	buf_append_bytes(&f->ca_pem, buf_bytes(&f->other_ca.cert_pem)); /* Two CAs. */
	put(f->ca, buf_bytes(&f->ca_pem));
	put_identity(f, &node);
	assert_int_equal(pki_info(buf_bytes(&node.cert_pem), &info, &e), 0);
	assert_int_equal(replica_reload(f->rig.node[0], &e), 0);
	while (replica_rig_status(&f->rig, 0).certificate_not_after_ms != info.not_after_ms) {
		replica_rig_run(&f->rig, 10);
	}
	pki_identity_release(&node);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_certificates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_good_files, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

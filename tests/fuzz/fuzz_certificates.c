/* Certificates and keys as files hold them: { u8 how | bytes }, as PEM text, as DER between its
 * lines, and as the bare key encodings. Nothing that was not signed by the CA passes for a
 * certificate of it. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/pem.h"
#include "crypto/pki.h"

enum { HOW_DER = 1 };

static const uint8_t cluster_id[16] = "fuzz cluster id";

static const struct pki_identity *identity(bool node)
{
	static struct pki_identity ca, leaf;
	struct pki_spec spec = {.algorithm = PKI_EC_P256,
		.common_name = "fuzz",
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 30};
	int rc = 0;

	if (leaf.cert_pem.len == 0) {
		rc = pki_make_ca(&spec, &ca, NULL);
		rc = rc == 0 ? pki_issue_node(&ca, cluster_id, 7, spec.wall_ms, 30, &leaf, NULL)
			     : rc;
	}
	assert(rc == 0);
	return node ? &leaf : &ca;
}

static void pem_of(const char *label, struct bytes der, struct buf *to)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	buf_printf(to, "-----BEGIN %s-----\n", label);
	for (size_t i = 0; i < der.len; i += 3) {
		uint32_t bits = (uint32_t)der.data[i] << 16;
		char quad[5] = "====";

		bits |= i + 1 < der.len ? (uint32_t)der.data[i + 1] << 8 : 0;
		bits |= i + 2 < der.len ? der.data[i + 2] : 0;
		for (unsigned k = 0; k < 4; k++) {
			if (i + k <= der.len) { /* Else it stays '='. */
				quad[k] = letters[(bits >> (18 - 6 * k)) & 63];
			}
		}
		buf_printf(to, "%s%s", quad, i % 48 == 45 ? "\n" : "");
	}
	buf_printf(to, "\n-----END %s-----\n", label);
}

static void try_certificate(struct bytes pem)
{
	const struct pki_identity *ca = identity(false), *leaf = identity(true);
	uint64_t wall_ms = clock_wall_ms(&clock_system);
	struct key_pub *pub = NULL;
	struct pki_info info;

	if (pki_info(pem, &info, NULL) != 0) {
		return;
	}
	assert(memchr(info.subject, '\0', sizeof info.subject) != NULL);
	assert(memchr(info.issuer, '\0', sizeof info.issuer) != NULL);
	assert(memchr(info.serial, '\0', sizeof info.serial) != NULL);
	assert(!info.is_node || info.node_id > 0);
	/* A client cannot have guessed a signature. */
	assert(pki_verify(pem, buf_bytes(&ca->cert_pem), PKI_NODE, wall_ms, NULL) != 0);
	(void)(pki_verify(pem, pem, PKI_SERVER, wall_ms, NULL) == 0); /* Its own CA: may be. */
	(void)(pki_verify(buf_bytes(&leaf->cert_pem), pem, PKI_NODE, wall_ms, NULL) == 0);
	assert(pki_key_matches(pem, buf_bytes(&leaf->key_pem), NULL) != 0);
	if (pem_certificate_key(pem, KEY_KEM_P256, &pub, NULL) == 0) {
		assert(key_pub_alg(pub) == KEY_KEM_P256);
		key_pub_free(pub);
	}
}

static void try_keys(struct bytes pem)
{
	static const unsigned algs[] = {KEY_ECDSA_P256, KEY_KEM_P256, KEY_KEM_X25519, KEY_ED25519};
	int matches;

	for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
		_cleanup_(buf_release) struct buf again = BUF_INIT;
		struct key_pub *pub = NULL, *same = NULL;
		struct key *key = NULL;

		if (pem_public_key(pem, algs[i], &pub, NULL) == 0) {
			int rc = pem_write_public(pub, &again, NULL);

			rc = rc == 0 ? pem_public_key(buf_bytes(&again), algs[i], &same, NULL) : rc;
			assert(rc == 0 && key_pub_equal(pub, same));
		}
		key_pub_free(pub);
		key_pub_free(same);
		if (pem_private_key(pem, algs[i], &key, NULL) == 0) {
			assert(key_pub_alg(key_public(key)) == algs[i]);
		}
		key_free(key);
	}
	matches = pki_key_matches(buf_bytes(&identity(true)->cert_pem), pem, NULL);
	assert(matches != 0);
}

/* One spelling for each key. */
static void try_encodings(struct bytes bytes)
{
	static const unsigned algs[] = {KEY_RSA_PSS, KEY_ECDSA_P256, 3, KEY_KEM_P256, KEY_KEM_P384,
		KEY_KEM_X25519, KEY_ED25519, KEY_KEM_RSA};

	for (size_t i = 0; i < ARRAY_SIZE(algs); i++) {
		struct key_pub *pub = NULL;
		struct key *key = NULL;

		if (key_pub_decode(algs[i], bytes, &pub, NULL) == 0) {
			assert(bytes_equal(key_pub_bytes(pub), bytes));
		}
		key_pub_free(pub);
		if (key_decode(algs[i], bytes, &key, NULL) == 0) {
			_cleanup_(secret_release) struct secret again = SECRET_INIT;

			key_encode(key, &again);
			assert(bytes_equal(secret_bytes(&again), bytes));
		}
		key_free(key);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const labels[] = {
		"CERTIFICATE", "PUBLIC KEY", "PRIVATE KEY", "EC PRIVATE KEY"};
	_cleanup_(buf_release) struct buf pem = BUF_INIT;

	if (size == 0) {
		return 0;
	}
	if ((data[0] & HOW_DER) != 0) {
		pem_of(labels[(data[0] >> 1) & 3], bytes_of(data + 1, size - 1), &pem);
		try_encodings(bytes_of(data + 1, size - 1));
	} else {
		buf_append(&pem, data + 1, size - 1);
	}
	try_certificate(buf_bytes(&pem));
	try_keys(buf_bytes(&pem));
	return 0;
}

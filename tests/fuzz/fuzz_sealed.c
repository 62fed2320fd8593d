/* Everything that is opened with a key, a digest or a tag: { u8 which | u8 seed | bytes }. Without
 * the top bit of `which` the bytes are changes of a sealed message, { u16 at | u8 xor } each, the
 * last one or two cut or add to it: it opens to what was sealed if and only if nothing is changed.
 * With the top bit they are the message. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/wire.h"
#include "crypto/hpke.h"
#include "crypto/oaep.h"
#include "crypto/pki.h"
#include "crypto/seal.h"
#include "node/secrets.h"

enum sealed {
	SEALED_P256,
	SEALED_P384,
	SEALED_X25519,
	SEALED_SYMMETRIC,
	SEALED_RSA,
	SEALED_FILE,
	SEALED_TEXT,
	SEALED_OFFLINE,
	SEALED_N
};

static const uint8_t secret[48] = "forty-eight bytes that are the same every time";
static const uint8_t cluster_id[SECRETS_CLUSTER_BYTES] = "fuzz cluster id";
static const unsigned kems[] = {KEY_KEM_P256, KEY_KEM_P384, KEY_KEM_X25519};
static char path[64];

static struct key *key_of(enum sealed which)
{
	static struct key *keys[SEALED_N];
	int rc = 0;

	if (keys[which] == NULL) {
		rc = which == SEALED_RSA ? key_generate(KEY_KEM_RSA, 0, &keys[which], NULL)
					 : hpke_derive_key(kems[which],
						   bytes_of(secret, which == SEALED_P384 ? 48 : 32),
						   &keys[which], NULL);
	}
	assert(rc == 0);
	return keys[which];
}

static struct pki_identity *node(void)
{
	static struct pki_identity ca, node;
	struct pki_spec spec = {.algorithm = PKI_EC_P256,
		.common_name = "fuzz",
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 30};
	int rc = 0;

	if (node.cert_pem.len == 0) {
		rc = pki_make_ca(&spec, &ca, NULL);
		rc = rc == 0 ? pki_issue_node(&ca, cluster_id, 1, spec.wall_ms, 30, &node, NULL)
			     : rc;
	}
	assert(rc == 0);
	return &node;
}

static void file_remove(void)
{
	(void)unlink(path);
}

/* --- sealing and opening -----------------------------------------------------------------------
 */

static void secrets_of(struct random *random, struct secrets *ret)
{
	secrets_make(cluster_id, random, ret);
}

static void seal_secrets(enum sealed which, struct random *random, struct buf *to)
{
	struct secrets secrets;
	int rc;

	secrets_of(random, &secrets);
	if (which == SEALED_TEXT) {
		rc = secrets_seal(&secrets, buf_bytes(&node()->cert_pem), random, to, NULL);
	} else if (which == SEALED_OFFLINE) {
		rc = secrets_seal_offline(
			&secrets, key_public(key_of(SEALED_P256)), random, to, NULL);
	} else {
		(void)unlink(path);
		rc = secrets_write(&secrets, path, NULL);
		rc = rc == 0 ? file_read(path, 1024, to, NULL) : rc;
	}
	assert(rc == 0);
	secrets_release(&secrets);
}

static void seal(enum sealed which, struct random *random, struct bytes plaintext, struct buf *to)
{
	_cleanup_(buf_release) struct buf ct = BUF_INIT;
	int rc = 0;

	switch (which) {
	case SEALED_SYMMETRIC:
		seal_make(bytes_of(secret, SEAL_KEY_BYTES), bytes_str("place"), plaintext, random,
			to);
		break;
	case SEALED_RSA:
		rc = oaep_seal(key_public(key_of(which)), bytes_str("label"), plaintext, to, NULL);
		break;
	case SEALED_FILE:
	case SEALED_TEXT:
	case SEALED_OFFLINE:
		seal_secrets(which, random, to);
		break;
	default:
		rc = hpke_seal(key_public(key_of(which)), AEAD_AES_256_GCM, bytes_str("info"),
			bytes_str("aad"), plaintext, random, to, &ct, NULL);
		buf_append_bytes(to, buf_bytes(&ct));
	}
	assert(rc == 0);
}

static int open_secrets(enum sealed which, struct bytes sealed, struct secret *ret)
{
	struct secrets secrets;
	int rc;

	if (which == SEALED_TEXT) {
		rc = secrets_open(sealed, buf_bytes(&node()->key_pem), &secrets, NULL);
	} else if (which == SEALED_OFFLINE) {
		const struct backup_key_set keys = {{key_of(SEALED_P256)}, 1};

		rc = secrets_open_offline(sealed, &keys, &secrets, NULL);
	} else {
		rc = file_write(path, sealed, 0400, NULL);
		assert(rc == 0);
		rc = secrets_read(path, cluster_id, &secrets, NULL);
	}
	if (rc == 0) {
		secret_set(ret, secret_bytes(&secrets.pepper));
		secrets_release(&secrets);
	}
	return rc;
}

static int open_sealed(enum sealed which, struct bytes sealed, struct secret *ret)
{
	static const size_t enc_bytes[] = {65, 97, 32};
	size_t enc;

	switch (which) {
	case SEALED_SYMMETRIC:
		return seal_open(
			bytes_of(secret, SEAL_KEY_BYTES), bytes_str("place"), sealed, ret, NULL);
	case SEALED_RSA:
		return oaep_open(key_of(which), bytes_str("label"), sealed, ret, NULL);
	case SEALED_FILE:
	case SEALED_TEXT:
	case SEALED_OFFLINE:
		return open_secrets(which, sealed, ret);
	default:
		enc = sealed.len < enc_bytes[which] ? sealed.len : enc_bytes[which];
		return hpke_open(key_of(which), AEAD_AES_256_GCM, bytes_of(sealed.data, enc),
			bytes_str("info"), bytes_str("aad"),
			bytes_of(sealed.data + enc, sealed.len - enc), ret, NULL);
	}
}

/* Returns whether anything is another than it was. */
static bool change(struct buf *message, struct wire *w)
{
	_cleanup_(buf_release) struct buf before = BUF_INIT;

	buf_append_bytes(&before, buf_bytes(message));
	while (w->left.len >= 3) {
		unsigned at = wire_u16(w), with = wire_u8(w);

		message->data[at % message->len] ^= (uint8_t)with;
	}
	if (w->left.len == 2) {
		message->len -= wire_u8(w) % message->len;
	} else if (w->left.len == 1) {
		buf_put_u8(message, wire_u8(w));
	}
	return !bytes_equal(buf_bytes(message), buf_bytes(&before));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_release) struct buf message = BUF_INIT;
	_cleanup_(secret_release) struct secret opened = SECRET_INIT;
	struct wire w = wire_of(bytes_of(data, size));
	struct random_seeded random;
	struct secrets secrets;
	struct bytes plaintext = bytes_str("what nobody else may read");
	enum sealed which;
	bool changed;
	int rc;

	if (size < 2) {
		return 0;
	}
	if (path[0] == '\0') {
		(void)snprintf(path, sizeof path, "%s/kluis-fuzz-sealed-%d",
			access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
		(void)atexit(file_remove);
	}
	which = (enum sealed)((data[0] & 0x7f) % SEALED_N);
	(void)wire_u8(&w);
	random_seeded_init(&random, wire_u8(&w));
	if ((data[0] & 0x80) != 0) {
		rc = open_sealed(which, w.left, &opened);
		assert(rc <= 0);
		return 0;
	}
	seal(which, &random.random, plaintext, &message);
	changed = change(&message, &w);
	rc = open_sealed(which, buf_bytes(&message), &opened);
	if (which == SEALED_TEXT || which == SEALED_OFFLINE) {
		/* Line ends around the text do not count. */
		assert(changed || rc == 0);
	} else {
		assert((rc == 0) == !changed);
	}
	if (rc == 0 && which < SEALED_FILE) {
		assert(bytes_equal(secret_bytes(&opened), plaintext));
	} else if (rc == 0) {
		random_seeded_init(&random, data[1]);
		secrets_of(&random.random, &secrets);
		assert(secret_equal(secret_bytes(&opened), secret_bytes(&secrets.pepper)));
		secrets_release(&secrets);
	}
	return 0;
}

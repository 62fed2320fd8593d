#include "node/secrets.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "base/wire.h"
#include "crypto/hash.h"
#include "crypto/hpke.h"
#include "crypto/pem.h"

/* "KSE1" | u8 ver | u8 pepper_id | u16 0 | cluster16 | pepper32 | enum_key32 | SHA-256 of all
 * before. */
enum { SECRETS_VERSION = 1, SECRETS_BYTES = 8 + 16 + 32 + 32 + 32 };

static const char secrets_info[] = "kluis/v1/node-secrets";

/* "KSO1" | u8 ver | 3 zero | cluster16 | kid16 | lp16 enc | lp16 ciphertext | SHA-256 of all
 * before.
 */
enum { OFFLINE_VERSION = 1, OFFLINE_HEAD_BYTES = 8 + SECRETS_CLUSTER_BYTES + KID_BYTES };

static const char offline_magic[] = "KSO1", offline_info[] = "kluis/v1/offline-secrets";

void secrets_make(const uint8_t cluster_id[SECRETS_CLUSTER_BYTES], struct random *random,
	struct secrets *ret_secrets)
{
	*ret_secrets = (struct secrets){.pepper_id = 1};
	memcpy(ret_secrets->cluster_id, cluster_id, SECRETS_CLUSTER_BYTES);
	secret_random(&ret_secrets->pepper, SECRETS_KEY_BYTES, random);
	secret_random(&ret_secrets->enum_key, SECRETS_KEY_BYTES, random);
}

void secrets_release(struct secrets *secrets)
{
	secret_release(&secrets->pepper);
	secret_release(&secrets->enum_key);
}

bool secrets_equal(const struct secrets *a, const struct secrets *b)
{
	return a->pepper_id == b->pepper_id &&
	       memcmp(a->cluster_id, b->cluster_id, SECRETS_CLUSTER_BYTES) == 0 &&
	       secret_equal(secret_bytes(&a->pepper), secret_bytes(&b->pepper)) &&
	       secret_equal(secret_bytes(&a->enum_key), secret_bytes(&b->enum_key));
}

static void secrets_encode(const struct secrets *secrets, struct buf *to)
{
	uint8_t digest[HASH_BYTES];

	assert(secrets->pepper.len == SECRETS_KEY_BYTES &&
		secrets->enum_key.len == SECRETS_KEY_BYTES);
	buf_reserve(to, SECRETS_BYTES); /* At once: no copy is left behind by growing. */
	buf_put_str(to, "KSE1");
	buf_put_u8(to, SECRETS_VERSION);
	buf_put_u8(to, secrets->pepper_id);
	buf_put_u16(to, 0);
	buf_append(to, secrets->cluster_id, SECRETS_CLUSTER_BYTES);
	buf_append_bytes(to, secret_bytes(&secrets->pepper));
	buf_append_bytes(to, secret_bytes(&secrets->enum_key));
	hash_sha256(buf_bytes(to), digest);
	buf_append(to, digest, sizeof digest);
	assert(to->len == SECRETS_BYTES);
}

static int secrets_decode(struct bytes raw, struct secrets *ret_secrets)
{
	struct wire w = wire_of(raw);
	struct secrets secrets = {0};
	uint8_t digest[HASH_BYTES];
	struct bytes pepper, enum_key, sum;

	if (raw.len != SECRETS_BYTES || !wire_match(&w, "KSE1")) {
		return KLUIS_ECORRUPT;
	}
	if (wire_u8(&w) != SECRETS_VERSION) {
		return KLUIS_EVERSION;
	}
	secrets.pepper_id = wire_u8(&w);
	wire_zeros(&w, 2);
	wire_copy(&w, secrets.cluster_id, SECRETS_CLUSTER_BYTES);
	pepper = wire_bytes(&w, SECRETS_KEY_BYTES);
	enum_key = wire_bytes(&w, SECRETS_KEY_BYTES);
	hash_sha256(bytes_of(raw.data, SECRETS_BYTES - HASH_BYTES), digest);
	sum = wire_bytes(&w, HASH_BYTES);
	if (!wire_end(&w) || !secret_equal(sum, bytes_of(digest, sizeof digest))) {
		return KLUIS_ECORRUPT;
	}
	secret_set(&secrets.pepper, pepper);
	secret_set(&secrets.enum_key, enum_key);
	*ret_secrets = secrets;
	return 0;
}

int secrets_write(const struct secrets *secrets, const char *path, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf raw = BUF_INIT;

	secrets_encode(secrets, &raw);
	return file_create(path, buf_bytes(&raw), 0400, e);
}

int secrets_read(const char *path, const uint8_t cluster_id[SECRETS_CLUSTER_BYTES],
	struct secrets *ret_secrets, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf raw = BUF_INIT;
	struct secrets secrets;
	struct stat st;
	int rc;

	if (stat(path, &st) != 0) {
		return err_set_errno(e, errno, "secrets file '%s'", path);
	}
	if ((st.st_mode & 0077) != 0) {
		return err_set(e, KLUIS_EFORBIDDEN,
			"secrets file '%s' may be read by others: chmod 0400", path);
	}
	buf_reserve(&raw,
		64 * 1024 + SECRETS_BYTES + 1); /* What file_read() asks for: nothing moves. */
	rc = file_read(path, SECRETS_BYTES, &raw, e);
	rc = rc != 0 ? rc : secrets_decode(buf_bytes(&raw), &secrets);
	if (rc != 0) {
		return err_set(e, rc, "secrets file '%s' is damaged or of another version", path);
	}
	if (memcmp(secrets.cluster_id, cluster_id, SECRETS_CLUSTER_BYTES) != 0) {
		secrets_release(&secrets);
		return err_set(
			e, KLUIS_EINVAL, "secrets file '%s' belongs to another cluster", path);
	}
	*ret_secrets = secrets;
	return 0;
}

int secrets_seal(const struct secrets *secrets, struct bytes cert_pem, struct random *random,
	struct buf *ret_text, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf raw = BUF_INIT;
	_cleanup_(buf_release) struct buf enc = BUF_INIT;
	_cleanup_(buf_release) struct buf ct = BUF_INIT;
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	int rc = pem_certificate_key(cert_pem, KEY_KEM_P256, &pub, e);

	if (rc != 0) {
		return rc;
	}
	secrets_encode(secrets, &raw);
	rc = hpke_seal(pub, AEAD_AES_256_GCM, bytes_str(secrets_info), bytes_of(NULL, 0),
		buf_bytes(&raw), random, &enc, &ct, e);
	if (rc == 0) {
		buf_put_u8(&sealed, SECRETS_VERSION);
		buf_put_lp16(&sealed, buf_bytes(&enc));
		buf_put_lp16(&sealed, buf_bytes(&ct));
		base64_append(ret_text, buf_bytes(&sealed));
		buf_put_str(ret_text, "\n");
	}
	return rc;
}

/* The text without the white space that mail and terminals put around it. */
static struct bytes secrets_trim(struct bytes text)
{
	while (text.len > 0 &&
		(text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r')) {
		text.len--;
	}
	return text;
}

int secrets_open(
	struct bytes text, struct bytes key_pem, struct secrets *ret_secrets, struct err *e)
{
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	_cleanup_(secret_release) struct secret raw = SECRET_INIT;
	_cleanup_(key_freep) struct key *key = NULL;
	struct bytes enc, ct;
	struct wire w;
	int rc;

	if (base64_decode(secrets_trim(text), SECRETS_SEALED_BYTES_MAX, &sealed) != 0) {
		return err_set(e, KLUIS_EINVAL, "sealed secrets are not base64url text");
	}
	w = wire_of(buf_bytes(&sealed));
	if (wire_match(&w, offline_magic)) {
		return err_set(e, KLUIS_EINVAL,
			"these are the secrets' offline copy, sealed to a backup key: --key-file "
			"FILE opens it");
	}
	w = wire_of(buf_bytes(&sealed));
	if (wire_u8(&w) != SECRETS_VERSION) {
		return err_set(e, KLUIS_EVERSION, "sealed secrets have an unknown version");
	}
	enc = wire_lp16(&w, SECRETS_SEALED_BYTES_MAX);
	ct = wire_lp16(&w, SECRETS_SEALED_BYTES_MAX);
	if (!wire_end(&w)) {
		return err_set(
			e, KLUIS_EINVAL, "sealed secrets are cut or have something behind them");
	}
	rc = pem_private_key(key_pem, KEY_KEM_P256, &key, e);
	rc = rc != 0 ? rc
		     : hpke_open(key, AEAD_AES_256_GCM, enc, bytes_str(secrets_info),
			       bytes_of(NULL, 0), ct, &raw, e);
	if (rc != 0) {
		return err_wrap(
			e, rc, "open the sealed secrets (sealed to another node's certificate?)");
	}
	rc = secrets_decode(secret_bytes(&raw), ret_secrets);
	return rc == 0 ? 0 : err_set(e, rc, "sealed secrets hold something else");
}

/* --- the offline copy ------------------------------------------------------------------------ */

int secrets_seal_offline(const struct secrets *secrets, const struct key_pub *pub,
	struct random *random, struct buf *ret_text, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf raw = BUF_INIT;
	_cleanup_(buf_release) struct buf enc = BUF_INIT;
	_cleanup_(buf_release) struct buf ct = BUF_INIT;
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	uint8_t digest[HASH_BYTES];
	int rc;

	buf_put_str(&sealed, offline_magic);
	buf_put_u8(&sealed, OFFLINE_VERSION);
	buf_put_zeros(&sealed, 3);
	buf_append(&sealed, secrets->cluster_id, SECRETS_CLUSTER_BYTES);
	buf_append(&sealed, key_pub_kid(pub), KID_BYTES);
	assert(sealed.len == OFFLINE_HEAD_BYTES);
	secrets_encode(secrets, &raw);
	rc = hpke_seal(pub, AEAD_AES_256_GCM, bytes_str(offline_info), buf_bytes(&sealed),
		buf_bytes(&raw), random, &enc, &ct, e);
	if (rc == 0) {
		buf_put_lp16(&sealed, buf_bytes(&enc));
		buf_put_lp16(&sealed, buf_bytes(&ct));
		hash_sha256(buf_bytes(&sealed), digest);
		buf_append(&sealed, digest, sizeof digest);
		base64_append(ret_text, buf_bytes(&sealed));
		buf_put_str(ret_text, "\n");
	}
	return rc;
}

struct offline_copy {
	uint8_t cluster_id[SECRETS_CLUSTER_BYTES], kid[KID_BYTES];
	struct bytes head, enc, ciphertext;
};

/* What it is, and that it is whole, before any key is asked for: a typing error is no wrong key. */
static int offline_parse(struct bytes raw, struct offline_copy *ret_copy, struct err *e)
{
	struct wire w = wire_of(raw);
	uint8_t digest[HASH_BYTES];
	unsigned version;
	struct bytes sum;

	if (!wire_match(&w, offline_magic)) {
		return err_set(e, KLUIS_ECORRUPT, "not the offline copy of a cluster's secrets");
	}
	version = wire_u8(&w);
	if (wire_ok(&w) && version != OFFLINE_VERSION) {
		return err_set(e, KLUIS_EVERSION,
			"the offline copy of the secrets has the unknown version %u", version);
	}
	wire_zeros(&w, 3);
	wire_copy(&w, ret_copy->cluster_id, SECRETS_CLUSTER_BYTES);
	wire_copy(&w, ret_copy->kid, KID_BYTES);
	ret_copy->enc = wire_lp16(&w, HPKE_ENC_BYTES_MAX);
	ret_copy->ciphertext = wire_lp16(&w, SECRETS_SEALED_BYTES_MAX);
	sum = wire_bytes(&w, HASH_BYTES);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_ECORRUPT,
			"the offline copy of the secrets is cut, or damaged: use another one");
	}
	hash_sha256(bytes_of(raw.data, raw.len - HASH_BYTES), digest);
	if (!bytes_equal(sum, bytes_of(digest, sizeof digest))) {
		return err_set(e, KLUIS_ECORRUPT,
			"the offline copy of the secrets is damaged: use another one");
	}
	ret_copy->head = bytes_of(raw.data, OFFLINE_HEAD_BYTES);
	return 0;
}

int secrets_open_offline(struct bytes text, const struct backup_key_set *keys,
	struct secrets *ret_secrets, struct err *e)
{
	_cleanup_(buf_release) struct buf sealed = BUF_INIT;
	_cleanup_(secret_release) struct secret raw = SECRET_INIT;
	struct offline_copy copy;
	struct secrets secrets;
	const struct key *key;
	int rc;

	if (base64_decode(secrets_trim(text), SECRETS_SEALED_BYTES_MAX, &sealed) != 0) {
		return err_set(e, KLUIS_ECORRUPT,
			"not the offline copy of a cluster's secrets, or damaged: no base64url "
			"text");
	}
	rc = offline_parse(buf_bytes(&sealed), &copy, e);
	rc = rc != 0 ? rc : backup_key_set_find(keys, copy.kid, &key, e);
	rc = rc != 0 ? rc
		     : hpke_open(key, AEAD_AES_256_GCM, copy.enc, bytes_str(offline_info),
			       copy.head, copy.ciphertext, &raw, e);
	if (rc != 0) {
		return err_wrap(e, rc, "open the secrets' offline copy");
	}
	rc = secrets_decode(secret_bytes(&raw), &secrets);
	if (rc == 0 && memcmp(secrets.cluster_id, copy.cluster_id, SECRETS_CLUSTER_BYTES) != 0) {
		secrets_release(&secrets);
		rc = KLUIS_ECORRUPT;
	}
	if (rc != 0) {
		return err_set(e, rc, "the secrets' offline copy holds something else");
	}
	*ret_secrets = secrets;
	return 0;
}

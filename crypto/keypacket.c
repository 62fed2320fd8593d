#include "crypto/keypacket.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/member.h"
#include "crypto/oaep.h"

enum {
	KEYPACKET_VERSION = 1,
	KEYPACKET_KDF = 1,
	KEYPACKET_OAEP_SECRET_BYTES = 32,
};

static const char keypacket_magic[] = "KKP1";
static const uint8_t keypacket_checkpoint[HASH_BYTES]; /* Zero in phase 1. */

static int keypacket_check_suite(
	const struct keypacket *p, unsigned kdf, unsigned sig, struct err *e)
{
	bool ec = p->kem == KEY_KEM_P256 || p->kem == KEY_KEM_P384 || p->kem == KEY_KEM_X25519;
	bool kem_ok = (p->mode == KEYPACKET_HPKE && ec) ||
		      (p->mode == KEYPACKET_RSA && p->kem == KEY_KEM_RSA);

	if (!kem_ok || kdf != KEYPACKET_KDF || sig != KEY_RSA_PSS ||
		(p->aead != AEAD_AES_128_GCM && p->aead != AEAD_AES_256_GCM)) {
		return err_set(e, KLUIS_ESUITE, "key packet: unknown suite");
	}
	return 0;
}

static int keypacket_check_form(const struct keypacket *p, uint32_t flags, struct err *e)
{
	if (p->purpose < KEYPACKET_VAULT || p->purpose > KEYPACKET_CALL || p->role > MEMBER_ADMIN ||
		flags != 0) {
		return err_set(e, KLUIS_EINVAL, "key packet: purpose, role or flags out of range");
	}
	return 0;
}

static void keypacket_read_ids(struct wire *w, struct keypacket *p)
{
	wire_copy(w, p->packet_id, ID_BYTES);
	wire_copy(w, p->sender_user, ID_BYTES);
	wire_copy(w, p->sender_kid, KID_BYTES);
	wire_copy(w, p->rcpt_id, ID_BYTES);
	wire_copy(w, p->rcpt_kid, KID_BYTES);
	wire_copy(w, p->object_id, ID_BYTES);
}

static void keypacket_message(const struct keypacket *p, uint8_t ret_message[HASH_BYTES])
{
	HASH_TH(ret_message, "kluis/v1/kp-sig", p->header,
		bytes_of(keypacket_checkpoint, HASH_BYTES), p->enc, p->ciphertext);
}

int keypacket_parse(struct bytes encoded, struct keypacket *ret_packet, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct keypacket p;
	unsigned version, kdf, sig;
	uint32_t flags;
	int rc;

	(void)wire_match(&w, keypacket_magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != KEYPACKET_VERSION) {
		return err_set(e, KLUIS_EVERSION, "key packet: unknown version %u", version);
	}
	p.mode = wire_u8(&w);
	p.kem = wire_u16(&w);
	kdf = wire_u16(&w);
	p.aead = wire_u16(&w);
	p.purpose = wire_u8(&w);
	sig = wire_u8(&w);
	p.role = wire_u16(&w);
	keypacket_read_ids(&w, &p);
	p.epoch = wire_u32(&w);
	flags = wire_u32(&w);
	p.unix_ms = wire_u64(&w);
	p.expires_ms = wire_u64(&w);
	p.header = bytes_of(encoded.data, KEYPACKET_HEADER_BYTES);
	wire_zeros(&w, HASH_BYTES);
	p.enc = wire_lp16(&w, OAEP_BYTES);
	p.ciphertext = wire_lp16(&w, KEYPACKET_SECRET_BYTES_MAX + AEAD_TAG_BYTES);
	p.signature = wire_lp16(&w, SIGN_BYTES_MAX);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EINVAL, "key packet: malformed");
	}
	rc = keypacket_check_suite(&p, kdf, sig, e);
	if (rc == 0) {
		rc = keypacket_check_form(&p, flags, e);
	}
	if (rc == 0) {
		keypacket_message(&p, p.message);
		*ret_packet = p;
	}
	return rc;
}

int keypacket_verify(const struct keypacket *packet, const struct key_pub *sender, struct err *e)
{
	if (key_pub_alg(sender) != KEY_RSA_PSS ||
		memcmp(packet->sender_kid, key_pub_kid(sender), KID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "key packet: names another sender key");
	}
	return sign_verify(sender, bytes_of(packet->message, HASH_BYTES), packet->signature, e);
}

/* info of the HPKE schedule: "kluis/v1/kp" | header. */
static void keypacket_info(struct bytes header, struct buf *info)
{
	buf_put_str(info, "kluis/v1/kp");
	buf_append_bytes(info, header);
}

/* The RSA way to a shared secret: r travels by OAEP under a label that binds the header, and enc is
 * hashed in as a KEM would. */
static void keypacket_rsa_shared(
	struct bytes header, struct bytes enc, struct bytes r, struct secret *ret_shared)
{
	const struct bytes info[] = {bytes_str("kluis/v1/kp-oaep"), header};
	uint8_t salt[HASH_BYTES];

	hash_sha256(enc, salt);
	secret_init(ret_shared, KEYPACKET_OAEP_SECRET_BYTES);
	hkdf(bytes_of(salt, sizeof salt), r, info, ARRAY_SIZE(info), ret_shared->data,
		ret_shared->len);
}

static void keypacket_oaep_label(struct bytes header, uint8_t ret_label[HASH_BYTES])
{
	HASH_TH(ret_label, "kluis/v1/kp-oaep", header);
}

int keypacket_shared(const struct keypacket *packet, const struct key *rcpt,
	struct secret *ret_shared, struct err *e)
{
	_cleanup_(secret_release) struct secret r = SECRET_INIT;
	uint8_t label[HASH_BYTES];
	int rc;

	if (packet->mode == KEYPACKET_HPKE) {
		return hpke_decap(rcpt, packet->enc, ret_shared, e);
	}
	keypacket_oaep_label(packet->header, label);
	rc = oaep_open(rcpt, bytes_of(label, sizeof label), packet->enc, &r, e);
	if (rc == 0 && r.len != KEYPACKET_OAEP_SECRET_BYTES) {
		rc = err_set(e, KLUIS_EVERIFY, "key packet: malformed inside");
	}
	if (rc == 0) {
		keypacket_rsa_shared(packet->header, packet->enc, secret_bytes(&r), ret_shared);
	}
	return rc;
}

void keypacket_keys(const struct keypacket *packet, struct bytes shared, struct hpke_keys *ret_keys)
{
	_cleanup_(buf_release) struct buf info = BUF_INIT;

	keypacket_info(packet->header, &info);
	hpke_schedule(packet->kem, packet->aead, shared, buf_bytes(&info), ret_keys);
}

int keypacket_open(const struct keypacket *packet, const uint8_t rcpt_id[ID_BYTES],
	const struct key *rcpt, struct secret *ret_secret, struct err *e)
{
	_cleanup_(secret_release) struct secret shared = SECRET_INIT;
	_cleanup_(hpke_keys_release) struct hpke_keys keys = {.key = SECRET_INIT};
	const struct key_pub *pub = key_public(rcpt);
	int rc;

	if (memcmp(packet->rcpt_id, rcpt_id, ID_BYTES) != 0 || key_pub_alg(pub) != packet->kem ||
		memcmp(packet->rcpt_kid, key_pub_kid(pub), KID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "key packet: not for this key");
	}
	rc = keypacket_shared(packet, rcpt, &shared, e);
	if (rc != 0) {
		return rc;
	}
	keypacket_keys(packet, secret_bytes(&shared), &keys);
	return hpke_open_with(&keys, bytes_of(keypacket_checkpoint, HASH_BYTES), packet->ciphertext,
		ret_secret, e);
}

int keypacket_fresh(const struct keypacket *packet, uint64_t now_ms, const uint32_t *held,
	size_t held_count, bool *ret_current, struct err *e)
{
	bool once = packet->purpose != KEYPACKET_PAGE && packet->purpose != KEYPACKET_CALL;
	bool current = true;

	if (packet->expires_ms <= now_ms) {
		return err_set(e, KLUIS_EVERIFY, "key packet: expired");
	}
	for (size_t i = 0; i < held_count; i++) {
		if (once && held[i] == packet->epoch) {
			return err_set(e, KLUIS_EVERIFY, "key packet: epoch is held already");
		}
		current = current && held[i] < packet->epoch;
	}
	*ret_current = current;
	return 0;
}

static void keypacket_put_header(const struct keypacket *p, struct buf *b)
{
	size_t before = b->len;

	buf_put_str(b, keypacket_magic);
	buf_put_u8(b, KEYPACKET_VERSION);
	buf_put_u8(b, p->mode);
	buf_put_u16(b, p->kem);
	buf_put_u16(b, KEYPACKET_KDF);
	buf_put_u16(b, p->aead);
	buf_put_u8(b, p->purpose);
	buf_put_u8(b, KEY_RSA_PSS);
	buf_put_u16(b, p->role);
	buf_append(b, p->packet_id, ID_BYTES);
	buf_append(b, p->sender_user, ID_BYTES);
	buf_append(b, p->sender_kid, KID_BYTES);
	buf_append(b, p->rcpt_id, ID_BYTES);
	buf_append(b, p->rcpt_kid, KID_BYTES);
	buf_append(b, p->object_id, ID_BYTES);
	buf_put_u32(b, p->epoch);
	buf_put_u32(b, 0);
	buf_put_u64(b, p->unix_ms);
	buf_put_u64(b, p->expires_ms);
	assert(b->len - before == KEYPACKET_HEADER_BYTES);
}

static int keypacket_seal_shared(const struct keypacket *p, const struct key_pub *rcpt,
	struct random *random, struct buf *ret_enc, struct secret *ret_shared, struct err *e)
{
	_cleanup_(secret_release) struct secret r = SECRET_INIT;
	uint8_t label[HASH_BYTES];
	int rc;

	if (p->mode == KEYPACKET_HPKE) {
		return hpke_encap(rcpt, random, ret_enc, ret_shared, e);
	}
	keypacket_oaep_label(p->header, label);
	secret_random(&r, KEYPACKET_OAEP_SECRET_BYTES, random);
	rc = oaep_seal(rcpt, bytes_of(label, sizeof label), secret_bytes(&r), ret_enc, e);
	if (rc == 0) {
		keypacket_rsa_shared(p->header, buf_bytes(ret_enc), secret_bytes(&r), ret_shared);
	}
	return rc;
}

/* The header's derived fields; header is what they encode to. */
static int keypacket_fill(struct keypacket *p, const struct key_pub *rcpt, const struct key *sender,
	struct buf *header, struct err *e)
{
	int rc;

	assert(key_pub_alg(key_public(sender)) == KEY_RSA_PSS);
	p->kem = (uint16_t)key_pub_alg(rcpt);
	p->mode = p->kem == KEY_KEM_RSA ? KEYPACKET_RSA : KEYPACKET_HPKE;
	memcpy(p->sender_kid, key_pub_kid(key_public(sender)), KID_BYTES);
	memcpy(p->rcpt_kid, key_pub_kid(rcpt), KID_BYTES);
	rc = keypacket_check_suite(p, KEYPACKET_KDF, KEY_RSA_PSS, e);
	if (rc == 0) {
		rc = keypacket_check_form(p, 0, e);
	}
	if (rc == 0) {
		keypacket_put_header(p, header);
		p->header = buf_bytes(header);
	}
	return rc;
}

int keypacket_seal(const struct keypacket *fields, const struct key_pub *rcpt, struct bytes secret,
	const struct key *sender, struct random *random, struct buf *ret_encoded, struct err *e)
{
	_cleanup_(buf_release) struct buf header = BUF_INIT, enc = BUF_INIT, ct = BUF_INIT;
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	_cleanup_(secret_release) struct secret shared = SECRET_INIT;
	_cleanup_(hpke_keys_release) struct hpke_keys keys = {.key = SECRET_INIT};
	struct keypacket p = *fields;
	int rc = keypacket_fill(&p, rcpt, sender, &header, e);

	if (rc == 0 && secret.len > KEYPACKET_SECRET_BYTES_MAX) {
		rc = err_set(e, KLUIS_ETOOLARGE, "key packet: %zu secret bytes", secret.len);
	}
	if (rc == 0) {
		rc = keypacket_seal_shared(&p, rcpt, random, &enc, &shared, e);
	}
	if (rc != 0) {
		return rc;
	}
	keypacket_keys(&p, secret_bytes(&shared), &keys);
	hpke_seal_with(&keys, bytes_of(keypacket_checkpoint, HASH_BYTES), secret, &ct);
	p.enc = buf_bytes(&enc);
	p.ciphertext = buf_bytes(&ct);
	keypacket_message(&p, p.message);
	rc = sign_make(sender, bytes_of(p.message, HASH_BYTES), &signature, e);
	if (rc != 0) {
		return rc;
	}
	buf_append_bytes(ret_encoded, p.header);
	buf_append(ret_encoded, keypacket_checkpoint, HASH_BYTES);
	buf_put_lp16(ret_encoded, p.enc);
	buf_put_lp16(ret_encoded, p.ciphertext);
	buf_put_lp16(ret_encoded, buf_bytes(&signature));
	return 0;
}

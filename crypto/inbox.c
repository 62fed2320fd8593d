#include "crypto/inbox.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/wire.h"

enum {
	INBOX_VERSION = 1,
	INBOX_KDF = 1,
};
static_assert((int)INBOX_CONTENT_BYTES_MAX + INBOX_HEADER_BYTES + 2 + HPKE_ENC_BYTES_MAX + 4 +
			      AEAD_TAG_BYTES ==
		      (int)INBOX_DOCUMENT_BYTES_MAX,
	"the largest document");

static const char inbox_magic[] = "KIB1";

static bool inbox_kem_ok(unsigned kem)
{
	return kem == KEY_KEM_P256 || kem == KEY_KEM_P384 || kem == KEY_KEM_X25519;
}

static int inbox_check_form(const struct inbox_document *d, unsigned kdf, struct err *e)
{
	if (!inbox_kem_ok(d->kem) || kdf != INBOX_KDF ||
		(d->aead != AEAD_AES_128_GCM && d->aead != AEAD_AES_256_GCM)) {
		return err_set(e, KLUIS_ESUITE, "inbox document: unknown suite");
	}
	if (d->sender_class > INBOX_USER) {
		return err_set(e, KLUIS_EINVAL, "inbox document: unknown class of sender");
	}
	return 0;
}

static void inbox_read_header(struct wire *w, struct inbox_document *d, unsigned *ret_kdf)
{
	d->sender_class = wire_u8(w);
	d->kem = wire_u16(w);
	*ret_kdf = wire_u16(w);
	d->aead = wire_u16(w);
	wire_copy(w, d->inbox_id, ID_BYTES);
	wire_copy(w, d->owner_id, ID_BYTES);
	wire_copy(w, d->kid, KID_BYTES);
	wire_copy(w, d->doc_id, ID_BYTES);
	d->unix_ms = wire_u64(w);
	d->content_type = wire_u16(w);
}

int inbox_parse(struct bytes encoded, struct inbox_document *ret_document, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct inbox_document d;
	unsigned version, kdf;
	int rc;

	if (encoded.len > INBOX_DOCUMENT_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "inbox document: more than %d bytes",
			INBOX_DOCUMENT_BYTES_MAX);
	}
	(void)wire_match(&w, inbox_magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != INBOX_VERSION) {
		return err_set(e, KLUIS_EVERSION, "inbox document: unknown version %u", version);
	}
	inbox_read_header(&w, &d, &kdf);
	if (!wire_ok(&w)) {
		return err_set(e, KLUIS_EINVAL, "inbox document: malformed header");
	}
	rc = inbox_check_form(&d, kdf, e);
	if (rc != 0) {
		return rc;
	}
	d.header = bytes_of(encoded.data, INBOX_HEADER_BYTES);
	d.enc = wire_lp16(&w, HPKE_ENC_BYTES_MAX);
	d.ciphertext = wire_lp32(&w, encoded.len);
	if (!wire_end(&w) || key_kem_of_length(d.enc.len) != d.kem ||
		d.ciphertext.len < AEAD_TAG_BYTES) {
		return err_set(e, KLUIS_EINVAL, "inbox document: malformed");
	}
	*ret_document = d;
	return 0;
}

/* info of the HPKE schedule: "kluis/v1/inbox" | header. */
static void inbox_info(struct bytes header, struct buf *info)
{
	buf_put_str(info, "kluis/v1/inbox");
	buf_append_bytes(info, header);
}

void inbox_stub(const struct inbox_document *document, struct buf *ret_encoded)
{
	assert(document->header.len == INBOX_HEADER_BYTES);
	buf_append_bytes(ret_encoded, document->header);
	buf_put_lp16(ret_encoded, document->enc);
	buf_put_u32(ret_encoded, AEAD_TAG_BYTES);
	buf_put_zeros(ret_encoded, AEAD_TAG_BYTES);
}

int inbox_open_key(const struct inbox_document *document, const uint8_t inbox_id[ID_BYTES],
	const uint8_t owner_id[ID_BYTES], const struct key *owner, struct secret *ret_key,
	struct err *e)
{
	_cleanup_(secret_release) struct secret shared = SECRET_INIT;
	_cleanup_(buf_release) struct buf info = BUF_INIT;
	const struct key_pub *pub = key_public(owner);
	struct hpke_keys keys = {.key = SECRET_INIT};
	int rc;

	if (memcmp(document->inbox_id, inbox_id, ID_BYTES) != 0 ||
		memcmp(document->owner_id, owner_id, ID_BYTES) != 0 ||
		key_pub_alg(pub) != document->kem ||
		memcmp(document->kid, key_pub_kid(pub), KID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "inbox document: not for this inbox or key");
	}
	rc = hpke_decap(owner, document->enc, &shared, e);
	if (rc != 0) {
		return rc;
	}
	inbox_info(document->header, &info);
	hpke_schedule(
		document->kem, document->aead, secret_bytes(&shared), buf_bytes(&info), &keys);
	secret_init(ret_key, keys.key.len + AEAD_NONCE_BYTES);
	memcpy(ret_key->data, keys.key.data, keys.key.len);
	memcpy(ret_key->data + keys.key.len, keys.base_nonce, AEAD_NONCE_BYTES);
	hpke_keys_release(&keys);
	return 0;
}

int inbox_open_with(const struct inbox_document *document, struct bytes key,
	struct secret *ret_content, struct err *e)
{
	struct hpke_keys keys = {.key = SECRET_INIT};
	size_t want = (document->aead == AEAD_AES_128_GCM ? 16 : 32) + AEAD_NONCE_BYTES;
	int rc;

	if (key.len != want) {
		return err_set(e, KLUIS_EVERIFY, "inbox document: no key of its suite");
	}
	secret_set(&keys.key, bytes_of(key.data, key.len - AEAD_NONCE_BYTES));
	memcpy(keys.base_nonce, key.data + key.len - AEAD_NONCE_BYTES, AEAD_NONCE_BYTES);
	rc = hpke_open_with(&keys, bytes_of(NULL, 0), document->ciphertext, ret_content, e);
	hpke_keys_release(&keys);
	return rc;
}

int inbox_open(const struct inbox_document *document, const uint8_t inbox_id[ID_BYTES],
	const uint8_t owner_id[ID_BYTES], const struct key *owner, struct secret *ret_content,
	struct err *e)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT;
	int rc = inbox_open_key(document, inbox_id, owner_id, owner, &key, e);

	return rc != 0 ? rc : inbox_open_with(document, secret_bytes(&key), ret_content, e);
}

static void inbox_put_header(const struct inbox_document *d, struct buf *b)
{
	size_t before = b->len;

	buf_put_str(b, inbox_magic);
	buf_put_u8(b, INBOX_VERSION);
	buf_put_u8(b, d->sender_class);
	buf_put_u16(b, d->kem);
	buf_put_u16(b, INBOX_KDF);
	buf_put_u16(b, d->aead);
	buf_append(b, d->inbox_id, ID_BYTES);
	buf_append(b, d->owner_id, ID_BYTES);
	buf_append(b, d->kid, KID_BYTES);
	buf_append(b, d->doc_id, ID_BYTES);
	buf_put_u64(b, d->unix_ms);
	buf_put_u16(b, d->content_type);
	assert(b->len - before == INBOX_HEADER_BYTES);
}

int inbox_seal(const struct inbox_document *fields, const struct key_pub *owner,
	struct bytes content, struct random *random, struct buf *ret_encoded, struct err *e)
{
	_cleanup_(buf_release) struct buf header = BUF_INIT, info = BUF_INIT;
	_cleanup_(buf_release) struct buf enc = BUF_INIT, ct = BUF_INIT;
	struct inbox_document d = *fields;
	int rc;

	d.kem = (uint16_t)key_pub_alg(owner);
	memcpy(d.kid, key_pub_kid(owner), KID_BYTES);
	rc = inbox_check_form(&d, INBOX_KDF, e);
	if (rc == 0 && content.len > INBOX_CONTENT_BYTES_MAX) {
		rc = err_set(e, KLUIS_ETOOLARGE, "inbox document: %zu bytes, at most %d",
			content.len, INBOX_CONTENT_BYTES_MAX);
	}
	if (rc != 0) {
		return rc;
	}
	inbox_put_header(&d, &header);
	inbox_info(buf_bytes(&header), &info);
	rc = hpke_seal(
		owner, d.aead, buf_bytes(&info), bytes_of(NULL, 0), content, random, &enc, &ct, e);
	if (rc != 0) {
		return rc;
	}
	buf_append_bytes(ret_encoded, buf_bytes(&header));
	buf_put_lp16(ret_encoded, buf_bytes(&enc));
	buf_put_lp32(ret_encoded, buf_bytes(&ct));
	return 0;
}

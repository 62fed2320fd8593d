#include "crypto/notify.h"

#include "base/wire.h"

enum { NOTIFY_VERSION = 1 };

static const char notify_magic[] = "KNP1";

int notify_parse(struct bytes encoded, struct notify *ret_notify, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct notify n;
	unsigned version;

	if (encoded.len > NOTIFY_BYTES_MAX) {
		return err_set(
			e, KLUIS_ETOOLARGE, "notification: more than %d bytes", NOTIFY_BYTES_MAX);
	}
	(void)wire_match(&w, notify_magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != NOTIFY_VERSION) {
		return err_set(e, KLUIS_EVERSION, "notification: unknown version %u", version);
	}
	wire_zeros(&w, 3);
	n.unix_ms = wire_u64(&w);
	n.enc = wire_lp16(&w, HPKE_ENC_BYTES_MAX);
	n.ciphertext = wire_lp16(&w, NOTIFY_BYTES_MAX);
	if (!wire_end(&w) || key_kem_of_length(n.enc.len) == 0 ||
		n.ciphertext.len < AEAD_TAG_BYTES) {
		return err_set(e, KLUIS_EINVAL, "notification: malformed");
	}
	*ret_notify = n;
	return 0;
}

/* "kluis/v1/notify" | device16 | u64 unix_ms. */
static void notify_info(const uint8_t device_id[ID_BYTES], uint64_t unix_ms, struct buf *info)
{
	buf_put_str(info, "kluis/v1/notify");
	buf_append(info, device_id, ID_BYTES);
	buf_put_u64(info, unix_ms);
}

int notify_seal(const uint8_t device_id[ID_BYTES], const struct key_pub *device, uint64_t unix_ms,
	struct bytes content, struct random *random, struct buf *ret_encoded, struct err *e)
{
	_cleanup_(buf_release) struct buf info = BUF_INIT, enc = BUF_INIT, ct = BUF_INIT;
	int rc;

	if (content.len > NOTIFY_CONTENT_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "notification: %zu bytes, at most %d",
			content.len, NOTIFY_CONTENT_BYTES_MAX);
	}
	notify_info(device_id, unix_ms, &info);
	rc = hpke_seal(device, AEAD_AES_256_GCM, buf_bytes(&info), bytes_of(NULL, 0), content,
		random, &enc, &ct, e);
	if (rc != 0) {
		return rc;
	}
	buf_put_str(ret_encoded, notify_magic);
	buf_put_u8(ret_encoded, NOTIFY_VERSION);
	buf_put_zeros(ret_encoded, 3);
	buf_put_u64(ret_encoded, unix_ms);
	buf_put_lp16(ret_encoded, buf_bytes(&enc));
	buf_put_lp16(ret_encoded, buf_bytes(&ct));
	return 0;
}

int notify_open(const struct notify *notify, const uint8_t device_id[ID_BYTES],
	const struct key *device, struct secret *ret_content, struct err *e)
{
	_cleanup_(buf_release) struct buf info = BUF_INIT;

	notify_info(device_id, notify->unix_ms, &info);
	return hpke_open(device, AEAD_AES_256_GCM, notify->enc, buf_bytes(&info), bytes_of(NULL, 0),
		notify->ciphertext, ret_content, e);
}

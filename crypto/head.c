#include "crypto/head.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

enum { HEAD_VERSION = 1 };

static const char head_magic[] = "KVH1";

static int head_check_form(const struct head *h, struct err *e)
{
	static const uint8_t zero[HASH_BYTES];
	bool first = memcmp(h->prev_hash, zero, sizeof zero) == 0;

	if (h->key_epoch == 0 || h->seq == 0 || (h->seq == 1) != first) {
		return err_set(e, KLUIS_EINVAL, "head: seq, previous hash or epoch out of range");
	}
	return 0;
}

static void head_hashes(const uint8_t fixed[HEAD_FIXED_BYTES], uint8_t ret_hash[HASH_BYTES],
	uint8_t ret_message[HASH_BYTES])
{
	HASH_TH(ret_hash, "kluis/v1/head-hash", bytes_of(fixed, HEAD_FIXED_BYTES));
	HASH_TH(ret_message, "kluis/v1/head", bytes_of(fixed, HEAD_FIXED_BYTES));
}

static void head_read_fields(struct wire *w, struct head *h)
{
	wire_copy(w, h->vault_id, ID_BYTES);
	h->seq = wire_u64(w);
	h->key_epoch = wire_u32(w);
	h->members_rev = wire_u32(w);
	h->page_count = wire_u64(w);
	wire_copy(w, h->merkle_root, HASH_BYTES);
	wire_copy(w, h->prev_hash, HASH_BYTES);
	wire_copy(w, h->members_hash, HASH_BYTES);
	wire_copy(w, h->user_id, ID_BYTES);
	wire_copy(w, h->device_id, ID_BYTES);
	h->unix_ms = wire_u64(w);
	wire_zeros(w, 24);
}

int head_parse(struct bytes encoded, struct head *ret_head, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct bytes signature;
	struct head h;
	unsigned version, sig, flags;
	int rc;

	(void)wire_match(&w, head_magic);
	version = wire_u8(&w);
	sig = wire_u8(&w);
	flags = wire_u16(&w);
	if (wire_ok(&w) && version != HEAD_VERSION) {
		return err_set(e, KLUIS_EVERSION, "head: unknown version %u", version);
	}
	if (wire_ok(&w) && sig != KEY_ECDSA_P256) {
		return err_set(e, KLUIS_ESUITE, "head: signature suite %u is not allowed", sig);
	}
	head_read_fields(&w, &h);
	wire_copy(&w, h.kid, KID_BYTES);
	signature = wire_lp16(&w, SIGN_ECDSA_BYTES);
	if (!wire_end(&w) || flags != 0 || signature.len != SIGN_ECDSA_BYTES) {
		return err_set(e, KLUIS_EINVAL, "head: malformed");
	}
	rc = head_check_form(&h, e);
	if (rc != 0) {
		return rc;
	}
	memcpy(h.signature, signature.data, SIGN_ECDSA_BYTES);
	head_hashes(encoded.data, h.hash, h.message);
	*ret_head = h;
	return 0;
}

int head_verify(const struct head *head, const struct key_pub *device, struct err *e)
{
	if (key_pub_alg(device) != KEY_ECDSA_P256 ||
		memcmp(head->kid, key_pub_kid(device), KID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "head: not by this device");
	}
	return sign_verify(device, bytes_of(head->message, HASH_BYTES),
		bytes_of(head->signature, SIGN_ECDSA_BYTES), e);
}

int head_follows(const struct head *head, uint64_t prev_seq, const uint8_t prev_hash[HASH_BYTES],
	struct err *e)
{
	if (head->seq == 0 || head->seq - 1 != prev_seq ||
		memcmp(head->prev_hash, prev_hash, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "head: does not follow the one before");
	}
	return 0;
}

static void head_append_fixed(const struct head *h, struct buf *b)
{
	size_t before = b->len;

	buf_put_str(b, head_magic);
	buf_put_u8(b, HEAD_VERSION);
	buf_put_u8(b, KEY_ECDSA_P256);
	buf_put_u16(b, 0);
	buf_append(b, h->vault_id, ID_BYTES);
	buf_put_u64(b, h->seq);
	buf_put_u32(b, h->key_epoch);
	buf_put_u32(b, h->members_rev);
	buf_put_u64(b, h->page_count);
	buf_append(b, h->merkle_root, HASH_BYTES);
	buf_append(b, h->prev_hash, HASH_BYTES);
	buf_append(b, h->members_hash, HASH_BYTES);
	buf_append(b, h->user_id, ID_BYTES);
	buf_append(b, h->device_id, ID_BYTES);
	buf_put_u64(b, h->unix_ms);
	buf_put_zeros(b, 24);
	assert(b->len - before == HEAD_FIXED_BYTES);
}

int head_sign(
	const struct head *head, const struct key *device, struct buf *ret_encoded, struct err *e)
{
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	uint8_t hash[HASH_BYTES], message[HASH_BYTES];
	size_t before = ret_encoded->len;
	int rc = head_check_form(head, e);

	assert(key_pub_alg(key_public(device)) == KEY_ECDSA_P256);
	if (rc != 0) {
		return rc;
	}
	head_append_fixed(head, ret_encoded);
	head_hashes(ret_encoded->data + before, hash, message);
	rc = sign_make(device, bytes_of(message, HASH_BYTES), &signature, e);
	if (rc != 0) {
		ret_encoded->len = before;
		return rc;
	}
	buf_append(ret_encoded, key_pub_kid(key_public(device)), KID_BYTES);
	buf_put_lp16(ret_encoded, buf_bytes(&signature));
	assert(ret_encoded->len - before == HEAD_BYTES);
	return 0;
}

/* The device that the head names, by user, device and key. */
static bool head_find_signer(
	const struct signer_table *signers, const struct head *h, struct signer *ret_signer)
{
	for (size_t nth = 0; signers->find(signers, h->kid, nth, ret_signer); nth++) {
		if (memcmp(ret_signer->user_id, h->user_id, ID_BYTES) == 0 &&
			memcmp(ret_signer->device->device_id, h->device_id, ID_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* The next head of a run; *last is the one before, seq 0 when there is none. */
static int head_verify_next(struct bytes encoded, const struct signer_table *signers,
	struct head *last, struct signer *ret_signer, struct err *e)
{
	struct head h;
	int rc = head_parse(encoded, &h, e);

	if (rc != 0) {
		return rc;
	}
	if (!head_find_signer(signers, &h, ret_signer)) {
		return err_set(e, KLUIS_EVERIFY, "head: not by the device it names");
	}
	if (last->seq != 0 && memcmp(last->vault_id, h.vault_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "head: of another vault");
	}
	rc = last->seq == 0 ? 0 : head_follows(&h, last->seq, last->hash, e);
	if (rc == 0) {
		rc = head_verify(&h, ret_signer->device->sign, e);
	}
	if (rc == 0) {
		*last = h;
	}
	return rc;
}

int head_verify_run(const struct bytes *encoded, size_t count, const struct signer_table *signers,
	struct head *ret_last, struct err *e)
{
	struct head last = {.seq = 0};
	struct signer signer = {.device = NULL};

	if (count == 0) {
		return err_set(e, KLUIS_EVERIFY, "head: none given");
	}
	for (size_t i = 0; i < count; i++) {
		int rc = head_verify_next(encoded[i], signers, &last, &signer, e);

		if (rc != 0) {
			return rc == KLUIS_EINVAL ? KLUIS_EVERIFY : rc;
		}
	}
	if (!signer_vouched(&signer, last.vault_id, last.hash)) {
		return err_set(e, KLUIS_EVERIFY, "head: rests on a revoked device");
	}
	*ret_last = last;
	return 0;
}

#include "crypto/chat.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/wire.h"

enum {
	CHAT_VERSION = 1,
	CHAT_USED_BYTES = 6, /* u32 used | u16 type. */
	CHAT_GRAIN_BYTES = 256,
	CHAT_MESSAGE_STEP = 1, /* HMAC inputs of the chain. */
	CHAT_CHAIN_STEP = 2,
};

static_assert((int)CHAT_MESSAGE_BYTES_MAX == (int)CHAT_HEADER_BYTES +
						     (int)CHAT_PLAINTEXT_BYTES_MAX +
						     (int)CHAT_TAG_BYTES + (int)SIGN_ECDSA_BYTES,
	"the largest message");

static const char chat_magic[] = "KCM1";

bool chat_place_equal(const struct chat_place *a, const struct chat_place *b)
{
	return memcmp(a->conv_id, b->conv_id, ID_BYTES) == 0 && a->epoch == b->epoch &&
	       memcmp(a->user_id, b->user_id, ID_BYTES) == 0 &&
	       memcmp(a->device_id, b->device_id, ID_BYTES) == 0;
}

static bool chat_length_ok(uint32_t plaintext_bytes)
{
	return plaintext_bytes == CHAT_PLAINTEXT_BYTES_MIN ||
	       (plaintext_bytes > 0 && plaintext_bytes % CHAT_GRAIN_BYTES == 0 &&
		       plaintext_bytes <= CHAT_PLAINTEXT_BYTES_MAX);
}

static void chat_read_header(struct wire *w, struct chat_message *m, uint32_t *ret_ct_bytes)
{
	wire_zeros(w, 2);
	wire_copy(w, m->place.conv_id, ID_BYTES);
	m->place.epoch = wire_u32(w);
	m->index = wire_u32(w);
	wire_copy(w, m->place.user_id, ID_BYTES);
	wire_copy(w, m->place.device_id, ID_BYTES);
	wire_copy(w, m->prev_own, HASH_BYTES);
	wire_copy(w, m->seen, HASH_BYTES);
	*ret_ct_bytes = wire_u32(w);
}

static void chat_message_hash(struct bytes header, struct bytes ciphertext, struct bytes tag,
	uint8_t ret_message[HASH_BYTES])
{
	HASH_TH(ret_message, "kluis/v1/chat-sig", header, ciphertext, tag);
}

int chat_parse(struct bytes encoded, struct chat_message *ret_message, struct err *e)
{
	struct wire w = wire_of(encoded);
	struct chat_message m;
	uint32_t ct_bytes;
	unsigned version;

	(void)wire_match(&w, chat_magic);
	version = wire_u8(&w);
	if (wire_ok(&w) && version != CHAT_VERSION) {
		return err_set(e, KLUIS_EVERSION, "chat message: unknown version %u", version);
	}
	m.sym = wire_u8(&w);
	if (wire_ok(&w) && m.sym != SYM_AES_128 && m.sym != SYM_AES_256) {
		return err_set(e, KLUIS_ESUITE, "chat message: unknown suite %u", m.sym);
	}
	chat_read_header(&w, &m, &ct_bytes);
	if (!wire_ok(&w) || m.place.epoch == 0 || !chat_length_ok(ct_bytes)) {
		return err_set(e, KLUIS_EINVAL, "chat message: malformed header");
	}
	m.header = bytes_of(encoded.data, CHAT_HEADER_BYTES);
	m.ciphertext = wire_bytes(&w, ct_bytes);
	m.tag = wire_bytes(&w, CHAT_TAG_BYTES);
	m.signature = wire_bytes(&w, SIGN_ECDSA_BYTES);
	if (!wire_end(&w)) {
		return err_set(e, KLUIS_EINVAL, "chat message: wrong length");
	}
	hash_sha256(encoded, m.hash);
	hash_sha256(bytes_of(encoded.data, encoded.len - SIGN_ECDSA_BYTES), m.link);
	chat_message_hash(m.header, m.ciphertext, m.tag, m.message);
	*ret_message = m;
	return 0;
}

int chat_verify(const struct chat_message *message, const struct key_pub *device, struct err *e)
{
	if (key_pub_alg(device) != KEY_ECDSA_P256) {
		return err_set(e, KLUIS_EVERIFY, "chat message: no device key");
	}
	return sign_verify(device, bytes_of(message->message, HASH_BYTES), message->signature, e);
}

void chat_epoch_key_encode(const struct chat_epoch_key *key, struct secret *ret_plaintext)
{
	assert(key->secret.len == CHAT_KEY_BYTES && key->epoch > 0);
	secret_init(ret_plaintext, CHAT_EPOCH_KEY_BYTES);
	memcpy(ret_plaintext->data, key->secret.data, CHAT_KEY_BYTES);
	store_u32(ret_plaintext->data + CHAT_KEY_BYTES, key->epoch);
	memcpy(ret_plaintext->data + CHAT_KEY_BYTES + 4, key->members_hash, HASH_BYTES);
}

int chat_epoch_key_decode(struct bytes plaintext, uint32_t packet_epoch,
	struct chat_epoch_key *ret_key, struct err *e)
{
	if (plaintext.len != CHAT_EPOCH_KEY_BYTES || packet_epoch == 0 ||
		load_u32(plaintext.data + CHAT_KEY_BYTES) != packet_epoch) {
		return err_set(e, KLUIS_EVERIFY, "chat epoch: malformed key");
	}
	*ret_key = (struct chat_epoch_key){.secret = SECRET_INIT, .epoch = packet_epoch};
	secret_set(&ret_key->secret, bytes_of(plaintext.data, CHAT_KEY_BYTES));
	memcpy(ret_key->members_hash, plaintext.data + CHAT_KEY_BYTES + 4, HASH_BYTES);
	return 0;
}

void chat_epoch_key_release(struct chat_epoch_key *key)
{
	secret_release(&key->secret);
}

void chat_chain_key(struct bytes epoch_secret, const uint8_t conv_id[ID_BYTES], uint32_t epoch,
	const uint8_t device_id[ID_BYTES], struct secret *ret_chain)
{
	uint8_t number[4];
	const struct bytes info[] = {bytes_str("kluis/v1/chat-chain"), bytes_of(conv_id, ID_BYTES),
		bytes_of(number, sizeof number), bytes_of(device_id, ID_BYTES)};

	assert(epoch_secret.len == CHAT_KEY_BYTES && epoch > 0);
	store_u32(number, epoch);
	secret_init(ret_chain, CHAT_KEY_BYTES);
	hkdf(bytes_of(NULL, 0), epoch_secret, info, ARRAY_SIZE(info), ret_chain->data,
		CHAT_KEY_BYTES);
}

void chat_step(struct secret *chain, uint8_t ret_message_key[CHAT_KEY_BYTES])
{
	static const uint8_t message_step = CHAT_MESSAGE_STEP, chain_step = CHAT_CHAIN_STEP;
	const struct bytes message = bytes_of(&message_step, 1), next = bytes_of(&chain_step, 1);
	uint8_t key[CHAT_KEY_BYTES];

	assert(chain->len == CHAT_KEY_BYTES);
	hash_hmac(secret_bytes(chain), &message, 1, ret_message_key);
	hash_hmac(secret_bytes(chain), &next, 1, key);
	memcpy(chain->data, key, sizeof key);
	secret_clear(key, sizeof key);
}

size_t chat_padded_bytes(size_t payload_bytes)
{
	size_t n = payload_bytes + CHAT_USED_BYTES;

	assert(payload_bytes <= CHAT_PAYLOAD_BYTES_MAX);
	if (n <= CHAT_PLAINTEXT_BYTES_MIN) {
		return CHAT_PLAINTEXT_BYTES_MIN;
	}
	return (n + CHAT_GRAIN_BYTES - 1) / CHAT_GRAIN_BYTES * CHAT_GRAIN_BYTES;
}

void chat_pad(unsigned type, struct bytes payload, uint8_t *to)
{
	size_t end = CHAT_USED_BYTES + payload.len;

	assert(type <= UINT16_MAX);
	store_u32(to, (uint32_t)payload.len);
	store_u16(to + 4, type);
	if (payload.len > 0) {
		memcpy(to + CHAT_USED_BYTES, payload.data, payload.len);
	}
	memset(to + end, 0, chat_padded_bytes(payload.len) - end);
}

int chat_unpad(struct bytes plaintext, unsigned *ret_type, struct bytes *ret_payload, struct err *e)
{
	uint32_t used = plaintext.len < CHAT_USED_BYTES ? UINT32_MAX : load_u32(plaintext.data);
	uint8_t any = 0;

	if (used > CHAT_PAYLOAD_BYTES_MAX || plaintext.len != chat_padded_bytes(used)) {
		return err_set(e, KLUIS_EVERIFY, "chat message: wrong padding");
	}
	for (size_t i = CHAT_USED_BYTES + used; i < plaintext.len; i++) {
		any |= plaintext.data[i];
	}
	if (any != 0) {
		return err_set(e, KLUIS_EVERIFY, "chat message: padding is not zero");
	}
	*ret_type = load_u16(plaintext.data + 4);
	*ret_payload = bytes_of(plaintext.data + CHAT_USED_BYTES, used);
	return 0;
}

static void chat_derive(unsigned sym, const uint8_t message_key[CHAT_KEY_BYTES],
	struct bytes header, struct sym_keys *ret_keys)
{
	const struct bytes info[] = {bytes_str("kluis/v1/chat-msg"), header};

	sym_derive(sym, bytes_of(NULL, 0), bytes_of(message_key, CHAT_KEY_BYTES), info,
		ARRAY_SIZE(info), ret_keys);
}

static int chat_check_spec(const struct chat_spec *spec, struct err *e)
{
	if (spec->sym != SYM_AES_128 && spec->sym != SYM_AES_256) {
		return err_set(e, KLUIS_ESUITE, "chat message: unknown suite %u", spec->sym);
	}
	if (spec->place.epoch == 0) {
		return err_set(e, KLUIS_EINVAL, "chat message: epoch 0");
	}
	if (spec->payload.len > CHAT_PAYLOAD_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "chat message: %zu bytes, at most %d",
			spec->payload.len, CHAT_PAYLOAD_BYTES_MAX);
	}
	return 0;
}

static void chat_put_header(const struct chat_spec *spec, size_t ct_bytes, struct buf *b)
{
	size_t before = b->len;

	buf_put_str(b, chat_magic);
	buf_put_u8(b, CHAT_VERSION);
	buf_put_u8(b, spec->sym);
	buf_put_u16(b, 0);
	buf_append(b, spec->place.conv_id, ID_BYTES);
	buf_put_u32(b, spec->place.epoch);
	buf_put_u32(b, spec->index);
	buf_append(b, spec->place.user_id, ID_BYTES);
	buf_append(b, spec->place.device_id, ID_BYTES);
	buf_append(b, spec->prev_own, HASH_BYTES);
	buf_append(b, spec->seen, HASH_BYTES);
	buf_put_u32(b, ct_bytes);
	assert(b->len - before == CHAT_HEADER_BYTES);
}

/* Ciphertext and tag behind the header at `header`. */
static void chat_encrypt(
	const uint8_t message_key[CHAT_KEY_BYTES], const struct chat_spec *spec, uint8_t *header)
{
	size_t ct_bytes = chat_padded_bytes(spec->payload.len);
	struct bytes tagged = bytes_of(header, CHAT_HEADER_BYTES + ct_bytes);
	uint8_t *ct = header + CHAT_HEADER_BYTES;
	struct sym_keys keys;

	chat_derive(spec->sym, message_key, bytes_of(header, CHAT_HEADER_BYTES), &keys);
	chat_pad(spec->type, spec->payload, ct);
	sym_ctr(&keys, bytes_of(ct, ct_bytes), ct);
	hash_hmac(sym_mac_key(&keys), &tagged, 1, ct + ct_bytes);
	sym_keys_clear(&keys);
}

int chat_seal(const uint8_t message_key[CHAT_KEY_BYTES], const struct chat_spec *spec,
	const struct key *device, struct buf *ret_message, struct err *e)
{
	size_t before = ret_message->len, ct_bytes;
	uint8_t message[HASH_BYTES];
	const uint8_t *header;
	int rc = chat_check_spec(spec, e);

	assert(key_pub_alg(key_public(device)) == KEY_ECDSA_P256);
	if (rc != 0) {
		return rc;
	}
	ct_bytes = chat_padded_bytes(spec->payload.len);
	buf_reserve(ret_message, CHAT_HEADER_BYTES + ct_bytes + CHAT_TAG_BYTES + SIGN_ECDSA_BYTES);
	chat_put_header(spec, ct_bytes, ret_message);
	(void)buf_extend(ret_message, ct_bytes + CHAT_TAG_BYTES);
	chat_encrypt(message_key, spec, ret_message->data + before);
	header = ret_message->data + before;
	chat_message_hash(bytes_of(header, CHAT_HEADER_BYTES),
		bytes_of(header + CHAT_HEADER_BYTES, ct_bytes),
		bytes_of(header + CHAT_HEADER_BYTES + ct_bytes, CHAT_TAG_BYTES), message);
	rc = sign_make(device, bytes_of(message, sizeof message), ret_message, e);
	if (rc != 0) {
		ret_message->len = before;
	}
	return rc;
}

static int chat_decrypt(const struct sym_keys *keys, struct bytes ciphertext, unsigned *ret_type,
	struct secret *ret_payload, struct err *e)
{
	_cleanup_(secret_release) struct secret plain = SECRET_INIT;
	struct bytes payload;
	int rc;

	secret_init(&plain, ciphertext.len);
	sym_ctr(keys, ciphertext, plain.data);
	rc = chat_unpad(secret_bytes(&plain), ret_type, &payload, e);
	if (rc == 0) {
		secret_set(ret_payload, payload);
	}
	return rc;
}

int chat_open(const uint8_t message_key[CHAT_KEY_BYTES], const struct chat_message *message,
	unsigned *ret_type, struct secret *ret_payload, struct err *e)
{
	const struct bytes tagged[] = {message->header, message->ciphertext};
	uint8_t tag[CHAT_TAG_BYTES];
	struct sym_keys keys;
	int rc;

	chat_derive(message->sym, message_key, message->header, &keys);
	hash_hmac(sym_mac_key(&keys), tagged, ARRAY_SIZE(tagged), tag);
	/* Nothing is decrypted before this holds. */
	if (secret_equal(bytes_of(tag, sizeof tag), message->tag)) {
		rc = chat_decrypt(&keys, message->ciphertext, ret_type, ret_payload, e);
	} else {
		rc = err_set(e, KLUIS_EVERIFY, "chat message: tag does not verify");
	}
	sym_keys_clear(&keys);
	return rc;
}

#include "tests/unit/crypto/lib/kat_chat.h"

#include "crypto/inbox.h"
#include "crypto/notify.h"
#include "crypto/ratchet.h"

static void take_id(struct kat_run *run, const char *name, uint8_t to[ID_BYTES])
{
	kat_fixed(run, kat_bytes(run, name), to, ID_BYTES);
}

static uint32_t take_epoch(struct kat_run *run)
{
	return (uint32_t)kat_number_max(run, "epoch", UINT32_MAX);
}

int kat_chat_chain(struct kat_run *run)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT, chain = SECRET_INIT;
	uint8_t conv_id[ID_BYTES], device_id[ID_BYTES], key[CHAT_KEY_BYTES];
	uint64_t n = kat_number_max(run, "n", 1000);
	json_t *keys = json_array();

	take_id(run, "conv_id", conv_id);
	take_id(run, "device_id", device_id);
	secret_init(&secret, CHAT_KEY_BYTES);
	kat_fixed(run, kat_bytes(run, "epoch_secret"), secret.data, secret.len);
	chat_chain_key(secret_bytes(&secret), conv_id, take_epoch(run), device_id, &chain);
	kat_put_bytes(run, "CK0", secret_bytes(&chain));
	for (uint64_t i = 0; i < n; i++) {
		chat_step(&chain, key);
		(void)json_array_append_new(keys, kat_hex_json(bytes_of(key, sizeof key)));
	}
	kat_put(run, "mk", keys);
	kat_put_bytes(run, "CKn", secret_bytes(&chain));
	return 0;
}

int kat_chat_pad(struct kat_run *run)
{
	static uint8_t plaintext[CHAT_PLAINTEXT_BYTES_MAX];
	struct bytes payload = kat_bytes(run, "payload"), again;
	unsigned type = (unsigned)kat_number_max(run, "type", UINT16_MAX), type_again;
	size_t len = chat_padded_bytes(payload.len);
	uint8_t hash[HASH_BYTES];
	int rc;

	chat_pad(type, payload, plaintext);
	hash_sha256(bytes_of(plaintext, len), hash);
	kat_put_number(run, "length", len);
	kat_put_bytes(run, "sha256", bytes_of(hash, sizeof hash));
	rc = chat_unpad(bytes_of(plaintext, len), &type_again, &again, NULL);
	return rc == 0 && (type_again != type || !bytes_equal(again, payload)) ? KLUIS_EINTERNAL
									       : rc;
}

static int open_message(struct ratchet *chain, const struct key_pub *device, struct bytes encoded,
	json_t *opened_list)
{
	_cleanup_(secret_release) struct secret kept = SECRET_INIT;
	struct ratchet_opened opened;
	struct chat_message message;
	int rc = chat_parse(encoded, &message, NULL);

	rc = rc != 0 ? rc : ratchet_open(chain, &message, device, &opened, NULL);
	if (rc != 0) {
		return rc;
	}
	secret_move(&kept, &opened.payload);
	(void)json_array_append_new(
		opened_list, json_pack("[I,i,o,o]", (json_int_t)message.index, (int)opened.type,
				     kat_hex_json(secret_bytes(&kept)),
				     kat_hex_json(bytes_of(message.hash, HASH_BYTES))));
	return opened.forked ? KLUIS_EVERIFY : 0;
}

int kat_chat(struct kat_run *run)
{
	_cleanup_(key_pub_freep) struct key_pub *device = NULL;
	_cleanup_(ratchet_release) struct ratchet chain = {.link_known = true};
	size_t count;
	const struct bytes *messages = kat_list(run, "messages", &count);
	json_t *opened = json_array();
	int rc = key_pub_decode(KEY_ECDSA_P256, kat_bytes(run, "device_pub"), &device, NULL);

	take_id(run, "conv_id", chain.place.conv_id);
	take_id(run, "user_id", chain.place.user_id);
	take_id(run, "device_id", chain.place.device_id);
	chain.place.epoch = take_epoch(run);
	secret_init(&chain.chain, CHAT_KEY_BYTES);
	kat_fixed(run, kat_bytes(run, "ck0"), chain.chain.data, chain.chain.len);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		rc = open_message(&chain, device, messages[i], opened);
	}
	kat_put(run, "opened", opened);
	return rc;
}

int kat_inbox(struct kat_run *run)
{
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(secret_release) struct secret content = SECRET_INIT;
	uint8_t inbox_id[ID_BYTES], owner_id[ID_BYTES];
	struct inbox_document d;
	int rc = inbox_parse(kat_bytes(run, "document"), &d, NULL);

	take_id(run, "inbox_id", inbox_id);
	take_id(run, "owner_id", owner_id);
	rc = rc != 0 ? rc : key_pub_decode(d.kem, kat_bytes(run, "rcpt_pub"), &pub, NULL);
	rc = rc != 0 ? rc : key_decode(d.kem, kat_bytes(run, "rcpt_private"), &key, NULL);
	if (rc == 0 && !key_pub_equal(pub, key_public(key))) {
		kat_malformed(run, "rcpt_pub");
	}
	rc = rc != 0 ? rc : inbox_open(&d, inbox_id, owner_id, key, &content, NULL);
	if (rc == 0) {
		kat_put_number(run, "sender_class", d.sender_class);
		kat_put_number(run, "content_type", d.content_type);
		kat_put_bytes(run, "content", secret_bytes(&content));
	}
	return rc;
}

int kat_notify(struct kat_run *run)
{
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(secret_release) struct secret content = SECRET_INIT;
	struct bytes pub = kat_bytes(run, "device_pub");
	uint8_t device_id[ID_BYTES];
	struct notify n;
	int rc = notify_parse(kat_bytes(run, "payload"), &n, NULL);

	take_id(run, "device_id", device_id);
	rc = rc != 0 ? rc
		     : key_decode(key_kem_of_length(pub.len), kat_bytes(run, "device_private"),
			       &key, NULL);
	rc = rc != 0 ? rc : notify_open(&n, device_id, key, &content, NULL);
	if (rc == 0) {
		kat_put_number(run, "unix_ms", n.unix_ms);
		kat_put_bytes(run, "content", secret_bytes(&content));
	}
	return rc;
}

/* What an agent holds, on a clock of the test's. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/err.h"
#include "cli/agent/store.h"
#include "crypto/keypacket.h"
#include "crypto/notify.h"

enum { IDLE_MS = 1000 };

struct held {
	struct store *store;
	uint64_t now_ms;
	bool stop;
	struct key *device, *hpke, *signing, *transfer;
	struct keyring keyring;
	struct buf object;   /* It, sealed, with one vault's key and a group's. */
	struct secret frame; /* Of the last answer. */
	struct agent_answer answer;
};

static const uint8_t vault[ID_BYTES] = {0xaa}, user[ID_BYTES] = {0x11}, device[ID_BYTES] = {0x22};
static const uint8_t vault_key[32] = {0x33}, other_key[32] = {0x34};
static const uint8_t message[AGENT_MESSAGE_BYTES] = {0x55};

static int ask(struct held *h, const struct agent_request *request, const struct agent_item *items,
	const struct ring_change *changes)
{
	_cleanup_(secret_release) struct secret sent = SECRET_INIT;

	assert_int_equal(agent_request_encode(request, items, changes, &sent, NULL), 0);
	store_answer(h->store, h->now_ms,
		bytes_of(sent.data + AGENT_LENGTH_BYTES, sent.len - AGENT_LENGTH_BYTES), &h->frame,
		&h->stop);
	assert_int_equal(agent_answer_parse(bytes_of(h->frame.data + AGENT_LENGTH_BYTES,
						    h->frame.len - AGENT_LENGTH_BYTES),
				 request->op, &h->answer, NULL),
		0);
	return h->answer.rc;
}

static int ask_op(struct held *h, unsigned op)
{
	const struct agent_request request = {.op = op};

	return ask(h, &request, NULL, NULL);
}

static int ask_sign(struct held *h, unsigned kind)
{
	const struct agent_request request = {
		.op = AGENT_SIGN, .kind = kind, .message = bytes_of(message, sizeof message)};

	return ask(h, &request, NULL, NULL);
}

static int ask_get(struct held *h, unsigned kind)
{
	const struct agent_request request = {.op = AGENT_GET, .kind = kind};

	return ask(h, &request, NULL, NULL);
}

static int ask_put(struct held *h, unsigned kind, const char *value)
{
	const struct agent_request request = {
		.op = AGENT_PUT, .kind = kind, .value = bytes_str(value)};

	return ask(h, &request, NULL, NULL);
}

static int ask_entry(
	struct held *h, unsigned type, const uint8_t object_id[ID_BYTES], uint32_t epoch)
{
	struct agent_request request = {.op = AGENT_ENTRY, .type = type, .place = {.epoch = epoch}};

	memcpy(request.place.object_id, object_id, ID_BYTES);
	return ask(h, &request, NULL, NULL);
}

static int ask_load(struct held *h, const struct buf *object)
{
	const struct agent_request request = {.op = AGENT_LOAD, .object = buf_bytes(object)};

	return ask(h, &request, NULL, NULL);
}

static int unlock_with(struct held *h, uint64_t idle_ms, bool transfer)
{
	struct secret encoded[4] = {SECRET_INIT, SECRET_INIT, SECRET_INIT, SECRET_INIT};
	const struct key *const keys[] = {h->device, h->hpke, h->signing, h->transfer};
	struct agent_item items[6] = {{.kind = AGENT_KRK, .value = secret_bytes(&h->keyring.krk)},
		{.kind = AGENT_SALT_KEY, .value = bytes_of(vault_key, 32)}};
	struct agent_request request = {.op = AGENT_UNLOCK,
		.idle_ms = idle_ms,
		.account = bytes_str("alice"),
		.n_list = ARRAY_SIZE(items) - (transfer ? 0 : 1)}; /* It is the last. */
	int rc;

	memcpy(request.user_id, user, ID_BYTES);
	memcpy(request.device_id, device, ID_BYTES);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		key_encode(keys[i], &encoded[i]);
		items[2 + i] = (struct agent_item){
			.kind = AGENT_DEVICE_KEY + (unsigned)i, .value = secret_bytes(&encoded[i])};
	}
	rc = ask(h, &request, items, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		secret_release(&encoded[i]);
	}
	return rc;
}

static int unlock(struct held *h, uint64_t idle_ms)
{
	return unlock_with(h, idle_ms, true);
}

static struct key *make(unsigned alg)
{
	struct key *key;

	assert_int_equal(key_generate(alg, 2048, &key, NULL), 0);
	return key;
}

static void make_keyring(struct held *h)
{
	const struct keyring_slot slot = {
		.slot_id = {1}, .type = KEYRING_SLOT_RECOVERY, .sym = SYM_AES_256};
	static const uint8_t kek[KEYRING_KEK_BYTES], group[34] = {0, 0x10, 1};

	assert_int_equal(keyring_make(user, SYM_AES_256, h->signing, h->transfer, bytes_of(NULL, 0),
				 &random_system, &h->keyring, NULL),
		0);
	keyring_put_slot(&h->keyring, &slot, bytes_of(kek, sizeof kek), &random_system);
	assert_int_equal(keyring_put_entry(&h->keyring, KEYRING_VAULT_KEY, vault, 1,
				 bytes_of(vault_key, 32), &random_system, NULL),
		0);
	assert_int_equal(keyring_put_entry(&h->keyring, KEYRING_GROUP_KEY, vault, 1,
				 bytes_of(group, sizeof group), &random_system, NULL),
		0);
	assert_int_equal(keyring_seal(&h->keyring, 1, &random_system, &h->object, NULL), 0);
}

static int setup(void **state)
{
	struct held *h = x_calloc(1, sizeof *h);

	h->now_ms = 5000;
	h->store = store_new(IDLE_MS, h->now_ms);
	h->device = make(KEY_ECDSA_P256);
	h->hpke = make(KEY_KEM_P256);
	h->signing = make(KEY_RSA_PSS);
	h->transfer = make(KEY_KEM_P256);
	make_keyring(h);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct held *h = *state;

	store_free(h->store);
	keyring_release(&h->keyring);
	buf_release(&h->object);
	key_free(h->device);
	key_free(h->hpke);
	key_free(h->signing);
	key_free(h->transfer);
	secret_release(&h->frame);
	free(h);
	return 0;
}

static void test_locked(void **state)
{
	static const unsigned ops[] = {AGENT_PLACES, AGENT_ENTRY};
	const struct agent_request public_key = {.op = AGENT_PUBLIC, .kind = AGENT_DEVICE_KEY};
	struct held *h = *state;

	assert_false(store_unlocked(h->store));
	assert_int_equal(ask_op(h, AGENT_STATUS), 0);
	assert_false(h->answer.status.unlocked);
	assert_int_equal(ask_sign(h, AGENT_DEVICE_KEY), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(ask_get(h, AGENT_SALT_KEY), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(ask_put(h, AGENT_TOKEN, "kst_x"), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(ask_load(h, &h->object), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(ask(h, &public_key, NULL, NULL), KLUIS_EUNAUTHENTICATED);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		assert_int_equal(ask_op(h, ops[i]), KLUIS_EUNAUTHENTICATED);
	}
	assert_false(h->stop);
}

static void test_signs(void **state)
{
	struct held *h = *state;
	const struct key *const keys[] = {
		[AGENT_DEVICE_KEY] = h->device, [AGENT_SIGNING_KEY] = h->signing};
	static const unsigned kinds[] = {AGENT_DEVICE_KEY, AGENT_SIGNING_KEY};

	assert_int_equal(unlock(h, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct agent_request request = {.op = AGENT_PUBLIC, .kind = kinds[i]};
		const struct key_pub *pub = key_public(keys[kinds[i]]);

		assert_int_equal(ask_sign(h, kinds[i]), 0);
		assert_int_equal(
			sign_verify(pub, bytes_of(message, sizeof message), h->answer.value, NULL),
			0);
		assert_int_equal(ask(h, &request, NULL, NULL), 0);
		assert_true(bytes_equal(h->answer.value, key_pub_bytes(pub)));
	}
}

/* Private keys and KRK never come out; what bulk work needs does. */
static void test_leaves(void **state)
{
	struct held *h = *state;

	assert_int_equal(unlock(h, 0), 0);
	for (unsigned kind = AGENT_DEVICE_KEY; kind <= AGENT_KRK; kind++) {
		assert_int_equal(ask_get(h, kind), KLUIS_EFORBIDDEN);
		assert_int_equal(ask_put(h, kind, "x"), KLUIS_EFORBIDDEN);
		assert_int_equal(ask_put(h, kind, ""), KLUIS_EFORBIDDEN);
	}
	assert_int_equal(ask_get(h, AGENT_SALT_KEY), 0);
	assert_true(bytes_equal(h->answer.value, bytes_of(vault_key, 32)));
	assert_int_equal(ask_get(h, AGENT_TOKEN), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(ask_put(h, AGENT_TOKEN, "kst_one"), 0);
	assert_int_equal(ask_put(h, AGENT_TOKEN, "kst_two"), 0);
	assert_int_equal(ask_get(h, AGENT_TOKEN), 0);
	assert_true(bytes_equal(h->answer.value, bytes_str("kst_two")));
	assert_int_equal(ask_put(h, AGENT_TOKEN, ""), 0);
	assert_int_equal(ask_get(h, AGENT_TOKEN), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(ask_get(h, AGENT_SALT_KEY), 0);
	assert_true(bytes_equal(h->answer.value, bytes_of(vault_key, 32)));
}

static void test_keyring(void **state)
{
	const struct agent_request places = {.op = AGENT_PLACES, .type = KEYRING_VAULT_KEY};
	_cleanup_(buf_release) struct buf changed = BUF_INIT;
	struct held *h = *state;
	struct ring_place place;
	struct wire w;

	assert_int_equal(unlock(h, 0), 0);
	assert_int_equal(ask_entry(h, KEYRING_VAULT_KEY, vault, 1), KLUIS_ENOTFOUND);
	assert_int_equal(ask_load(h, &h->object), 0);
	assert_int_equal(ask_entry(h, KEYRING_VAULT_KEY, vault, 1), 0);
	assert_true(bytes_equal(h->answer.value, bytes_of(vault_key, 32)));
	assert_int_equal(ask_entry(h, KEYRING_VAULT_KEY, vault, 2), KLUIS_ENOTFOUND);
	assert_int_equal(ask_entry(h, KEYRING_VAULT_KEY, user, 1), KLUIS_ENOTFOUND);
	assert_int_equal(ask_entry(h, KEYRING_GROUP_KEY, vault, 1), KLUIS_EFORBIDDEN);
	assert_int_equal(ask(h, &places, NULL, NULL), 0);
	assert_int_equal(h->answer.n_places, 1);
	w = wire_of(h->answer.places);
	assert_true(agent_place_next(&w, &place));
	assert_memory_equal(place.object_id, vault, ID_BYTES);
	assert_int_equal(place.epoch, 1);
	/* A changed byte: refused, and what was loaded still counts. */
	buf_append_bytes(&changed, buf_bytes(&h->object));
	changed.data[changed.len - 1] ^= 1;
	assert_int_equal(ask_load(h, &changed), KLUIS_EVERIFY);
	assert_int_equal(ask_entry(h, KEYRING_VAULT_KEY, vault, 1), 0);
	assert_int_equal(ask_op(h, AGENT_LOCK), 0);
	assert_int_equal(unlock(h, 0), 0);
	assert_int_equal(ask_entry(h, KEYRING_VAULT_KEY, vault, 1), KLUIS_ENOTFOUND);
}

static void assert_public(struct held *h, unsigned kind, const struct key *key)
{
	const struct agent_request request = {.op = AGENT_PUBLIC, .kind = kind};

	if (key == NULL) {
		assert_int_equal(ask(h, &request, NULL, NULL), KLUIS_ENOTFOUND);
		return;
	}
	assert_int_equal(ask(h, &request, NULL, NULL), 0);
	assert_true(bytes_equal(h->answer.value, key_pub_bytes(key_public(key))));
}

/* Of whichever transfer keys the keyring has. */
static void test_transfer_keys(void **state)
{
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct held *h = *state;
	struct key *rsa;

	assert_int_equal(unlock(h, 0), 0);
	assert_int_equal(ask_load(h, &h->object), 0);
	assert_public(h, AGENT_TRANSFER_KEY, h->transfer);
	assert_public(h, AGENT_RSA_KEY, NULL);
	assert_int_equal(key_generate(KEY_KEM_RSA, 0, &rsa, NULL), 0);
	keyring_set_rsa(&h->keyring, rsa);
	assert_int_equal(keyring_seal(&h->keyring, 2, &random_system, &object, NULL), 0);
	assert_int_equal(ask_load(h, &object), 0);
	assert_public(h, AGENT_TRANSFER_KEY, h->transfer);
	assert_public(h, AGENT_RSA_KEY, rsa);
	assert_int_equal(ask_load(h, &h->object), 0);
	assert_public(h, AGENT_RSA_KEY, NULL);
}

static int ask_change(struct held *h, uint32_t epoch, const uint8_t *key)
{
	const struct agent_request request = {
		.op = AGENT_CHANGE, .object = buf_bytes(&h->object), .unix_ms = 77, .n_list = 1};
	struct ring_change change = {
		.type = KEYRING_VAULT_KEY, .epoch = epoch, .value = bytes_of(key, 32)};

	memcpy(change.object_id, vault, ID_BYTES);
	return ask(h, &request, NULL, &change);
}

/* The keyring that follows is made inside: whoever opens it finds the new entry. */
static void test_change(void **state)
{
	_cleanup_(keyring_release) struct keyring opened = {0};
	const struct keyring_entry *entry;
	struct keyring_view old, view;
	struct held *h = *state;

	assert_int_equal(unlock(h, 0), 0);
	assert_int_equal(ask_load(h, &h->object), 0);
	assert_int_equal(ask_change(h, 1, other_key), KLUIS_ECONFLICT);
	assert_int_equal(ask_change(h, 2, other_key), 0);
	assert_int_equal(keyring_parse(buf_bytes(&h->object), &old, NULL), 0);
	assert_int_equal(keyring_parse(h->answer.object, &view, NULL), 0);
	assert_int_equal(keyring_follows(&view, user, old.revision, old.hash, NULL), 0);
	assert_int_equal(view.unix_ms, 77);
	assert_int_equal(
		keyring_open(&view, user, secret_bytes(&h->keyring.krk), &opened, NULL), 0);
	entry = keyring_entry(&opened, KEYRING_VAULT_KEY, vault, 2);
	assert_non_null(entry);
	assert_true(bytes_equal(secret_bytes(&entry->value), bytes_of(other_key, 32)));
	/* What counts has not changed: the cluster may refuse the new one. */
	assert_int_equal(ask_entry(h, KEYRING_VAULT_KEY, vault, 2), KLUIS_ENOTFOUND);
}

static void packet_of(struct held *h, unsigned purpose, const struct key *to,
	const uint8_t rcpt[ID_BYTES], struct buf *ret)
{
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = (uint8_t)purpose,
		.epoch = 1,
		.unix_ms = 1,
		.expires_ms = UINT64_MAX,
		.packet_id = {1}};

	memcpy(fields.sender_user, user, ID_BYTES);
	memcpy(fields.rcpt_id, rcpt, ID_BYTES);
	memcpy(fields.object_id, vault, ID_BYTES);
	assert_int_equal(keypacket_seal(&fields, key_public(to),
				 purpose == KEYPACKET_DEVICE ? secret_bytes(&h->keyring.krk)
							     : bytes_of(vault_key, 32),
				 h->signing, &random_system, ret, NULL),
		0);
}

static int ask_open(struct held *h, unsigned kind, const struct buf *packet)
{
	const struct agent_request request = {
		.op = AGENT_OPEN, .kind = kind, .packet = buf_bytes(packet)};

	return ask(h, &request, NULL, NULL);
}

static int ask_give(struct held *h, unsigned type, uint32_t epoch, const struct key *to)
{
	struct agent_request request = {.op = AGENT_GIVE,
		.type = type,
		.place = {.epoch = epoch},
		.role = 2,
		.alg = KEY_KEM_P256,
		.value = key_pub_bytes(key_public(to)),
		.unix_ms = 5,
		.expires_ms = 10};

	memcpy(request.place.object_id, vault, ID_BYTES);
	memcpy(request.rcpt_id, device, ID_BYTES);
	return ask(h, &request, NULL, NULL);
}

static int ask_group(struct held *h, uint32_t epoch)
{
	struct agent_request request = {.op = AGENT_GROUP, .place = {.epoch = epoch}};

	memcpy(request.place.object_id, vault, ID_BYTES);
	return ask(h, &request, NULL, NULL);
}

static int ask_take(struct held *h, const struct buf *packet, const uint8_t *kid)
{
	_cleanup_(buf_release) struct buf list = BUF_INIT;
	struct ring_packet from = {.packet = buf_bytes(packet)};
	struct agent_request request = {
		.op = AGENT_TAKE, .object = buf_bytes(&h->object), .unix_ms = 78, .n_list = 1};

	memcpy(from.kid, kid, KID_BYTES);
	agent_packet_put(&list, &from);
	request.list = buf_bytes(&list);
	return ask(h, &request, NULL, NULL);
}

static int ask_notify(struct held *h, struct bytes payload)
{
	const struct agent_request request = {.op = AGENT_NOTIFY, .packet = payload};

	return ask(h, &request, NULL, NULL);
}

/* What was sealed to this device comes out, and nothing else. */
static void test_notified(void **state)
{
	struct held *h = *state;
	_cleanup_(buf_release) struct buf mine = BUF_INIT, other = BUF_INIT;

	assert_int_equal(notify_seal(device, key_public(h->hpke), 7, bytes_str("look"),
				 &random_system, &mine, NULL),
		0);
	assert_int_equal(notify_seal(vault, key_public(h->hpke), 7, bytes_str("look"),
				 &random_system, &other, NULL),
		0);
	assert_int_equal(ask_notify(h, buf_bytes(&mine)), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(unlock(h, 0), 0);
	assert_int_equal(ask_notify(h, buf_bytes(&mine)), 0);
	assert_true(bytes_equal(h->answer.value, bytes_str("look")));
	assert_int_equal(ask_notify(h, buf_bytes(&other)), KLUIS_EVERIFY);
	mine.data[mine.len - 1] ^= 1;
	assert_int_equal(ask_notify(h, buf_bytes(&mine)), KLUIS_EVERIFY);
	assert_int_equal(ask_notify(h, bytes_of(mine.data, 10)), KLUIS_EINVAL);
}

/* A group's key goes on to somebody sealed, and comes in sealed; in clear it never leaves. */
static void test_shares(void **state)
{
	struct held *h = *state;
	_cleanup_(secret_release) struct secret opened = SECRET_INIT, incoming = SECRET_INIT;
	_cleanup_(key_freep) struct key *to = make(KEY_KEM_P256), *group = make(KEY_KEM_P256);
	_cleanup_(buf_release) struct buf sent = BUF_INIT, packet = BUF_INIT, plain = BUF_INIT,
					  object = BUF_INIT;
	struct keypacket fields = {.aead = AEAD_AES_256_GCM,
		.purpose = KEYPACKET_GROUP,
		.packet_id = {1},
		.object_id = {0xcc},
		.epoch = 4,
		.unix_ms = 1,
		.expires_ms = 9};
	struct keypacket parsed;
	struct wire w;

	assert_int_equal(ask_group(h, 1), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(unlock(h, 0), 0);
	assert_int_equal(ask_give(h, KEYRING_GROUP_KEY, 1, to), KLUIS_ENOTFOUND);
	assert_int_equal(ask_load(h, &h->object), 0);
	assert_int_equal(ask_entry(h, KEYRING_GROUP_KEY, vault, 1), KLUIS_EFORBIDDEN);
	assert_int_equal(ask_give(h, KEYRING_GROUP_KEY, 2, to), KLUIS_ENOTFOUND);
	assert_int_equal(ask_give(h, KEYRING_GROUP_KEY, 1, to), 0);
	buf_append_bytes(&sent, h->answer.value);
	assert_int_equal(keypacket_parse(buf_bytes(&sent), &parsed, NULL), 0);
	assert_int_equal(keypacket_verify(&parsed, key_public(h->signing), NULL), 0);
	assert_int_equal(parsed.purpose, KEYPACKET_GROUP);
	assert_int_equal(keypacket_open(&parsed, device, to, &opened, NULL), 0);
	assert_int_equal(opened.len, 34);
	assert_int_equal(opened.data[2], 1);
	assert_int_equal(ask_group(h, 1), 0);
	w = wire_of(h->answer.value);
	assert_int_equal(wire_u16(&w), KEY_KEM_P256);
	assert_int_equal(wire_lp16(&w, KEY_PUB_BYTES_MAX).len, 65);
	assert_int_equal(wire_rest(&w).len, SEAL_KEY_BYTES);
	/* What comes: the kid that the group's chain names has to be that of the key. */
	key_encode(group, &incoming);
	buf_put_u16(&plain, KEY_KEM_P256);
	buf_append_bytes(&plain, secret_bytes(&incoming));
	memcpy(fields.rcpt_id, user, ID_BYTES);
	memcpy(fields.sender_user, user, ID_BYTES);
	assert_int_equal(keypacket_seal(&fields, key_public(h->transfer), buf_bytes(&plain),
				 h->signing, &random_system, &packet, NULL),
		0);
	assert_int_equal(ask_take(h, &packet, user), KLUIS_EVERIFY);
	assert_int_equal(ask_take(h, &packet, key_pub_kid(key_public(group))), 0);
	buf_append_bytes(&object, h->answer.object);
	assert_int_equal(ask_group(h, 4), KLUIS_ENOTFOUND); /* Not before it is loaded. */
	assert_int_equal(ask_load(h, &object), 0);
	assert_int_equal(ask_entry(h, KEYRING_GROUP_KEY, fields.object_id, 4), KLUIS_EFORBIDDEN);
}

static void test_opens(void **state)
{
	_cleanup_(buf_release) struct buf to_user = BUF_INIT;
	_cleanup_(buf_release) struct buf to_device = BUF_INIT;
	_cleanup_(buf_release) struct buf to_other = BUF_INIT;
	_cleanup_(buf_release) struct buf with_krk = BUF_INIT;
	struct held *h = *state;

	assert_int_equal(unlock(h, 0), 0);
	packet_of(h, KEYPACKET_VAULT, h->transfer, user, &to_user);
	packet_of(h, KEYPACKET_VAULT, h->hpke, device, &to_device);
	packet_of(h, KEYPACKET_VAULT, h->transfer, vault, &to_other);
	packet_of(h, KEYPACKET_DEVICE, h->hpke, device, &with_krk);
	assert_int_equal(ask_open(h, AGENT_TRANSFER_KEY, &to_user), 0);
	assert_true(bytes_equal(h->answer.value, bytes_of(vault_key, 32)));
	assert_int_equal(ask_open(h, AGENT_DEVICE_HPKE_KEY, &to_device), 0);
	assert_true(bytes_equal(h->answer.value, bytes_of(vault_key, 32)));
	assert_int_equal(ask_open(h, AGENT_TRANSFER_KEY, &to_device), KLUIS_EVERIFY);
	assert_int_equal(ask_open(h, AGENT_TRANSFER_KEY, &to_other), KLUIS_EVERIFY);
	assert_int_equal(ask_open(h, AGENT_DEVICE_HPKE_KEY, &with_krk), KLUIS_EFORBIDDEN);
	to_user.data[to_user.len / 2] ^= 1;
	assert_true(ask_open(h, AGENT_TRANSFER_KEY, &to_user) != 0);
}

/* Whatever curve the cluster asks for: UNLOCK takes P-256 alone, the others come with the keyring.
 */
static void test_opens_by_any_curve(void **state)
{
	static const unsigned curves[] = {KEY_KEM_P384, KEY_KEM_X25519};
	struct held *h = *state;

	for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
		_cleanup_(key_freep) struct key *usual = h->transfer;
		_cleanup_(buf_release) struct buf packet = BUF_INIT;

		h->transfer = make(curves[i]);
		keyring_release(&h->keyring);
		buf_release(&h->object);
		make_keyring(h);
		assert_int_equal(unlock_with(h, 0, false), 0);
		packet_of(h, KEYPACKET_VAULT, h->transfer, user, &packet);
		assert_int_equal(ask_open(h, AGENT_TRANSFER_KEY, &packet), KLUIS_EUNAUTHENTICATED);
		assert_int_equal(ask_load(h, &h->object), 0);
		assert_int_equal(ask_open(h, AGENT_TRANSFER_KEY, &packet), 0);
		assert_true(bytes_equal(h->answer.value, bytes_of(vault_key, 32)));
		assert_int_equal(ask_op(h, AGENT_LOCK), 0);
		assert_true(ask_open(h, AGENT_TRANSFER_KEY, &packet) != 0);
	}
}

static void assert_gone(struct held *h)
{
	assert_int_equal(ask_op(h, AGENT_STATUS), 0);
	assert_false(store_unlocked(h->store));
	assert_false(h->answer.status.unlocked);
	assert_int_equal(h->answer.status.n_items, 0);
	assert_string_equal(h->answer.status.account, "");
	assert_int_equal(ask_get(h, AGENT_SALT_KEY), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(ask_sign(h, AGENT_DEVICE_KEY), KLUIS_EUNAUTHENTICATED);
}

static void test_lock_and_stop(void **state)
{
	struct held *h = *state;

	assert_int_equal(unlock(h, 0), 0);
	assert_int_equal(ask_op(h, AGENT_LOCK), 0);
	assert_false(h->stop);
	assert_gone(h);
	assert_int_equal(unlock(h, 0), 0);
	assert_int_equal(ask_op(h, AGENT_STOP), 0);
	assert_true(h->stop);
	assert_false(store_unlocked(h->store));
}

static void test_idle(void **state)
{
	struct held *h = *state;
	uint64_t at_ms;

	assert_int_equal(unlock(h, 0), 0);
	assert_int_equal(store_tick(h->store, h->now_ms, &h->stop), h->now_ms + IDLE_MS);
	h->now_ms += IDLE_MS - 1;
	(void)store_tick(h->store, h->now_ms, &h->stop);
	assert_true(store_unlocked(h->store));
	assert_int_equal(ask_sign(h, AGENT_DEVICE_KEY), 0); /* Used: the time begins anew. */
	h->now_ms += IDLE_MS - 1;
	assert_int_equal(ask_op(h, AGENT_STATUS), 0); /* Looked at, not used. */
	assert_true(h->answer.status.unlocked);
	assert_int_equal(h->answer.status.left_ms, 1);
	h->now_ms += 1;
	at_ms = store_tick(h->store, h->now_ms, &h->stop);
	assert_false(h->stop);
	assert_false(store_unlocked(h->store));
	assert_int_equal(at_ms, h->now_ms + IDLE_MS);
	h->now_ms = at_ms - 1;
	(void)store_tick(h->store, h->now_ms, &h->stop);
	assert_false(h->stop);
	h->now_ms = at_ms;
	(void)store_tick(h->store, h->now_ms, &h->stop);
	assert_true(h->stop);
}

/* No timer fired while the machine slept: the first request finds it locked all the same. */
static void test_idle_without_tick(void **state)
{
	struct held *h = *state;

	assert_int_equal(unlock(h, 0), 0);
	h->now_ms += 100 * IDLE_MS;
	assert_int_equal(ask_sign(h, AGENT_DEVICE_KEY), KLUIS_EUNAUTHENTICATED);
	assert_gone(h);
	assert_false(h->stop);
	assert_int_equal(unlock(h, 0), 0);
	h->now_ms -= 1; /* A clock that goes back gives no time. */
	assert_int_equal(ask_sign(h, AGENT_DEVICE_KEY), KLUIS_EUNAUTHENTICATED);
}

static void test_idle_setting(void **state)
{
	struct held *h = *state;

	assert_int_equal(unlock(h, 3 * IDLE_MS), 0);
	h->now_ms += 3 * IDLE_MS - 1;
	assert_int_equal(ask_sign(h, AGENT_DEVICE_KEY), 0);
	h->now_ms += 3 * IDLE_MS;
	assert_gone(h);
	assert_int_equal(unlock(h, 0), 0); /* As it was. */
	assert_int_equal(ask_op(h, AGENT_STATUS), 0);
	assert_int_equal(h->answer.status.idle_ms, 3 * IDLE_MS);
}

/* A key that is none leaves what was held before; a good one drops it. */
static void test_unlock_again(void **state)
{
	static const uint8_t zero[32];
	const struct agent_item bad[] = {{.kind = AGENT_DEVICE_KEY, .value = bytes_of(zero, 32)},
		{.kind = AGENT_KRK, .value = bytes_of(zero, 32)}};
	const struct agent_item token = {.kind = AGENT_TOKEN, .value = bytes_str("kst_x")};
	const struct agent_request bob = {
		.op = AGENT_UNLOCK, .account = bytes_str("bob"), .n_list = 1};
	struct held *h = *state;

	assert_int_equal(unlock(h, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(ask(h, &bob, &bad[i], NULL), KLUIS_EINVAL);
	}
	assert_int_equal(ask_op(h, AGENT_STATUS), 0);
	assert_string_equal(h->answer.status.account, "alice");
	assert_memory_equal(h->answer.status.user_id, user, ID_BYTES);
	assert_int_equal(h->answer.status.n_items, 6);
	assert_int_equal(ask(h, &bob, &token, NULL), 0);
	assert_int_equal(ask_op(h, AGENT_STATUS), 0);
	assert_string_equal(h->answer.status.account, "bob");
	assert_int_equal(h->answer.status.n_items, 1);
	assert_int_equal(ask_get(h, AGENT_SALT_KEY), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(ask_sign(h, AGENT_DEVICE_KEY), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(ask_load(h, &h->object), KLUIS_EUNAUTHENTICATED);
}

/* Bytes that are no request are answered, by the op they name. */
static void test_malformed(void **state)
{
	static const uint8_t frames[][3] = {{AGENT_VERSION, 99, 0}, {AGENT_VERSION, AGENT_SIGN, 1},
		{AGENT_VERSION + 1, AGENT_STATUS, 0}};
	static const int wants[] = {KLUIS_EINVAL, KLUIS_EINVAL, KLUIS_EVERSION};
	struct held *h = *state;

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		store_answer(h->store, h->now_ms, bytes_of(frames[i], 3), &h->frame, &h->stop);
		assert_int_equal(agent_answer_parse(bytes_of(h->frame.data + AGENT_LENGTH_BYTES,
							    h->frame.len - AGENT_LENGTH_BYTES),
					 frames[i][1], &h->answer, NULL),
			0);
		assert_int_equal(h->answer.rc, wants[i]);
		assert_true(h->answer.text.len > 0);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {T(test_locked), T(test_signs), T(test_leaves),
		T(test_keyring), T(test_transfer_keys), T(test_change), T(test_opens),
		T(test_opens_by_any_curve), T(test_shares), T(test_notified), T(test_lock_and_stop),
		T(test_idle), T(test_idle_without_tick), T(test_idle_setting), T(test_unlock_again),
		T(test_malformed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

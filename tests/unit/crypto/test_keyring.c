#include "tests/lib/test.h"

#include <string.h>

#include "base/clock.h"
#include "crypto/keyring_impl.h"
#include "crypto/recovery.h"

static const uint8_t alice[ID_BYTES] = {1}, bob[ID_BYTES] = {2}, vault_id[ID_BYTES] = {3};
static const uint8_t device_id[ID_BYTES] = {4};
static const uint8_t kek_bytes[2][KEYRING_KEK_BYTES] = {{5}, {6}};
static const uint8_t value_bytes[KEYRING_CONTACT_PIN_BYTES] = {7};
static struct key *signing, *other_signing, *transfer, *device_hpke;

static int make_keys(void **state)
{
	(void)state;
	return key_generate(KEY_RSA_PSS, 2048, &signing, NULL) ||
	       key_generate(KEY_RSA_PSS, 2048, &other_signing, NULL) ||
	       key_generate(KEY_KEM_P256, 0, &transfer, NULL) ||
	       key_generate(KEY_KEM_P256, 0, &device_hpke, NULL);
}

static int free_keys(void **state)
{
	(void)state;
	key_free(signing);
	key_free(other_signing);
	key_free(transfer);
	key_free(device_hpke);
	return 0;
}

static struct bytes kek_of(size_t n)
{
	return bytes_of(kek_bytes[n], KEYRING_KEK_BYTES);
}

static struct bytes value_of(size_t len)
{
	return bytes_of(value_bytes, len);
}

static struct keyring_slot slot_of(unsigned type, uint8_t id)
{
	struct keyring_slot slot = {.slot_id = {id}, .type = (uint8_t)type, .sym = SYM_AES_256};

	if (type == KEYRING_SLOT_PASSWORD) {
		slot.kdf[0] = 1;
	}
	if (type == KEYRING_SLOT_DEVICE || type == KEYRING_SLOT_PRF) {
		memcpy(slot.ref, device_id, ID_BYTES);
	}
	return slot;
}

static void put_slots(struct keyring *k)
{
	struct keyring_slot password = slot_of(KEYRING_SLOT_PASSWORD, 1);
	struct keyring_slot recovery = slot_of(KEYRING_SLOT_RECOVERY, 2);
	struct keyring_slot device = slot_of(KEYRING_SLOT_DEVICE, 3);
	struct keyring_slot prf = slot_of(KEYRING_SLOT_PRF, 4);

	keyring_put_slot(k, &password, kek_of(0), &random_system);
	keyring_put_slot(k, &recovery, kek_of(1), &random_system);
	keyring_put_slot(k, &device, bytes_of(NULL, 0), &random_system);
	keyring_put_slot(k, &prf, kek_of(1), &random_system);
}

static void make(struct keyring *k, unsigned sym)
{
	assert_int_equal(keyring_make(alice, sym, signing, transfer, value_of(SEAL_KEY_BYTES),
				 &random_system, k, NULL),
		0);
	k->min_n_l = 600000;
	k->min_n_k = 1200000;
	put_slots(k);
}

static int put(struct keyring *k, unsigned type, uint32_t epoch, size_t len)
{
	return keyring_put_entry(k, type, vault_id, epoch, value_of(len), &random_system, NULL);
}

static void seal(struct keyring *k, struct buf *object, struct keyring_view *view)
{
	buf_clear(object);
	assert_int_equal(keyring_seal(k, 1000, &random_system, object, NULL), 0);
	assert_int_equal(keyring_parse(buf_bytes(object), view, NULL), 0);
	assert_int_equal(keyring_follows(view, alice, k->revision, k->hash, NULL), 0);
	keyring_sealed(k, buf_bytes(object));
}

static void assert_same(struct bytes a, struct bytes b)
{
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
}

static int open_by(const struct keyring_view *view, unsigned type, size_t kek, struct keyring *to)
{
	_cleanup_(secret_release) struct secret krk = SECRET_INIT;
	struct keyring_slot slot;
	struct bytes encoded = keyring_view_find(view, type, NULL, &slot);
	int rc = keyring_slot_open(encoded, alice, kek_of(kek), &krk, NULL);

	return rc != 0 ? rc : keyring_open(view, alice, secret_bytes(&krk), to, NULL);
}

/* What is put in comes out, by every slot, in either suite, over revisions. */
static void test_round_trip(void **state)
{
	(void)state;
	for (unsigned sym = SYM_AES_128; sym <= SYM_AES_256; sym++) {
		_cleanup_(keyring_release) struct keyring k = {0}, again = {0};
		_cleanup_(buf_release) struct buf object = BUF_INIT;
		struct keyring_view view;

		make(&k, sym);
		keyring_set_field(&k, 500, bytes_str("of a later version"));
		assert_int_equal(put(&k, KEYRING_VAULT_KEY, 1, 32), 0);
		seal(&k, &object, &view);
		assert_int_equal(put(&k, KEYRING_VAULT_PIN, 0, KEYRING_VAULT_PIN_BYTES), 0);
		seal(&k, &object, &view);
		assert_int_equal(view.revision, 2);
		assert_int_equal(view.unix_ms, 1000);
		assert_int_equal(open_by(&view, KEYRING_SLOT_PASSWORD, 0, &again), 0);
		assert_int_equal(open_by(&view, KEYRING_SLOT_PRF, 1, &again), 0);
		assert_int_equal(open_by(&view, KEYRING_SLOT_RECOVERY, 1, &again), 0);
		assert_int_equal(open_by(&view, KEYRING_SLOT_PASSWORD, 1, &again), KLUIS_EVERIFY);
		assert_int_equal(open_by(&view, KEYRING_SLOT_DEVICE, 0, &again), KLUIS_EVERIFY);
		assert_int_equal(again.min_n_l, 600000);
		assert_int_equal(again.min_n_k, 1200000);
		assert_int_equal(again.n_entries, 2);
		assert_int_equal(keyring_field(&again, KEYRING_K1).len, sym * 16);
		assert_same(keyring_field(&again, 500), bytes_str("of a later version"));
		assert_same(keyring_field(&again, KEYRING_ACCOUNT_KEY), value_of(SEAL_KEY_BYTES));
		assert_true(key_pub_equal(key_public(again.signing), key_public(signing)));
		assert_true(key_pub_equal(key_public(again.transfer), key_public(transfer)));
		assert_same(
			secret_bytes(&keyring_entry(&again, KEYRING_VAULT_KEY, vault_id, 1)->value),
			value_of(32));
		/* And goes on from there. */
		seal(&again, &object, &view);
		assert_int_equal(view.revision, 3);
		assert_same(keyring_field(&again, 500), bytes_str("of a later version"));
	}
}

static void test_view(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct keyring_view view;
	struct keyring_slot slot;
	const uint8_t recovery_id[ID_BYTES] = {2}, none[ID_BYTES] = {9};

	(void)state;
	make(&k, SYM_AES_256);
	seal(&k, &object, &view);
	assert_int_equal(view.n_slots, 4);
	assert_int_equal(keyring_view_count(&view, KEYRING_SLOT_PASSWORD), 1);
	assert_int_equal(keyring_view_find(&view, 0, recovery_id, &slot).len, KEYRING_SLOT_BYTES);
	assert_int_equal(slot.type, KEYRING_SLOT_RECOVERY);
	assert_null(keyring_view_find(&view, 0, none, &slot).data);
	assert_null(keyring_view_find(&view, KEYRING_SLOT_PRF, recovery_id, &slot).data);
	assert_int_equal(keyring_follows(&view, bob, 0, view.hash, NULL), KLUIS_EINVAL);
	assert_int_equal(keyring_follows(&view, alice, 1, view.hash, NULL), KLUIS_EPRECONDITION);
	assert_int_equal(
		keyring_follows(&view, alice, UINT64_MAX, view.hash, NULL), KLUIS_EPRECONDITION);
	seal(&k, &object, &view);
	assert_int_equal(keyring_follows(&view, alice, 1, kek_bytes[0], NULL), KLUIS_EPRECONDITION);
	assert_int_equal(keyring_follows(&view, alice, 0, kek_bytes[0], NULL), KLUIS_EPRECONDITION);
}

/* A contact's pin moves by its seq, which stands last, and never to another genesis. What a keyring
 * has, a later one has, too. */
static void test_contact_pins(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0}, later = {0};
	uint8_t pin[KEYRING_CONTACT_PIN_BYTES] = {1};
	const size_t seq_at = KEYRING_CONTACT_PIN_BYTES - 1;
	struct bytes value = bytes_of(pin, sizeof pin);

	(void)state;
	make(&k, SYM_AES_256);
	make(&later, SYM_AES_256);
	pin[seq_at] = 5;
	assert_int_equal(
		keyring_put_entry(&k, KEYRING_CONTACT_PIN, bob, 0, value, &random_system, NULL), 0);
	assert_int_equal(keyring_keeps(&k, &later, NULL), KLUIS_EPIN);
	assert_int_equal(keyring_keeps(&later, &k, NULL), 0);
	pin[seq_at] = 4;
	assert_int_equal(
		keyring_put_entry(&later, KEYRING_CONTACT_PIN, bob, 0, value, &random_system, NULL),
		0);
	assert_int_equal(keyring_keeps(&k, &later, NULL), KLUIS_EPIN);
	assert_int_equal(
		keyring_put_entry(&k, KEYRING_CONTACT_PIN, bob, 0, value, &random_system, NULL), 0);
	assert_int_equal(keyring_entry(&k, KEYRING_CONTACT_PIN, bob, 0)->value.data[seq_at], 5);
	pin[seq_at] = 6;
	pin[HASH_BYTES] = 1; /* Another head, as it moves. */
	assert_int_equal(
		keyring_put_entry(&later, KEYRING_CONTACT_PIN, bob, 0, value, &random_system, NULL),
		0);
	assert_int_equal(keyring_keeps(&k, &later, NULL), 0);
	pin[0] = 2;
	pin[seq_at] = 7;
	assert_int_equal(
		keyring_put_entry(&k, KEYRING_CONTACT_PIN, bob, 0, value, &random_system, NULL),
		KLUIS_EPIN);
}

/* Key entries stand for good, pins move forward. */
static void test_entries(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0};
	const struct keyring_entry *pin;
	uint8_t entry_id[ID_BYTES], other[32] = {9};
	uint8_t moved[KEYRING_VAULT_PIN_BYTES] = {8};

	(void)state;
	make(&k, SYM_AES_256);
	assert_int_equal(put(&k, KEYRING_VAULT_KEY, 1, 32), 0);
	assert_int_equal(put(&k, KEYRING_VAULT_KEY, 1, 32), 0);
	assert_int_equal(k.n_entries, 1);
	assert_int_equal(keyring_put_entry(&k, KEYRING_VAULT_KEY, vault_id, 1,
				 bytes_of(other, sizeof other), &random_system, NULL),
		KLUIS_ECONFLICT);
	assert_int_equal(put(&k, KEYRING_VAULT_KEY, 2, 32), 0);
	assert_int_equal(put(&k, KEYRING_VAULT_PIN, 0, KEYRING_VAULT_PIN_BYTES), 0);
	pin = keyring_entry(&k, KEYRING_VAULT_PIN, vault_id, 0);
	memcpy(entry_id, pin->entry_id, ID_BYTES);
	assert_int_equal(keyring_put_entry(&k, KEYRING_VAULT_PIN, vault_id, 0,
				 bytes_of(moved, sizeof moved), &random_system, NULL),
		0);
	pin = keyring_entry(&k, KEYRING_VAULT_PIN, vault_id, 0);
	assert_same(secret_bytes(&pin->value), bytes_of(moved, sizeof moved));
	assert_memory_equal(pin->entry_id, entry_id, ID_BYTES);
	/* Not back, and not aside. */
	assert_int_equal(put(&k, KEYRING_VAULT_PIN, 0, KEYRING_VAULT_PIN_BYTES), 0);
	pin = keyring_entry(&k, KEYRING_VAULT_PIN, vault_id, 0);
	assert_same(secret_bytes(&pin->value), bytes_of(moved, sizeof moved));
	moved[KEYRING_VAULT_PIN_BYTES - 1] ^= 1;
	assert_int_equal(keyring_put_entry(&k, KEYRING_VAULT_PIN, vault_id, 0,
				 bytes_of(moved, sizeof moved), &random_system, NULL),
		KLUIS_EPIN);
	assert_null(keyring_entry(&k, KEYRING_VAULT_KEY, vault_id, 3));
	assert_int_equal(keyring_drop_entries(&k, bob), 0);
	assert_int_equal(keyring_drop_entries(&k, vault_id), 3);
	assert_null(keyring_entry(&k, KEYRING_VAULT_KEY, vault_id, 1));
}

/* A vault that was given up: its keys alone may be gone, and the mark stays. */
static void test_forgotten(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0}, later = {0}, hidden = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	uint8_t mark[KEYRING_VAULT_PIN_BYTES], pin[KEYRING_VAULT_PIN_BYTES] = {1};
	const struct bytes value = bytes_of(mark, sizeof mark);
	struct keyring_view view;
	uint8_t other[32] = {9};

	(void)state;
	make(&k, SYM_AES_256);
	keyring_forget_pin(mark);
	assert_true(keyring_pin_forgets(value));
	assert_false(keyring_pin_forgets(bytes_of(pin, sizeof pin)) || keyring_forgotten(&k, bob));
	assert_int_equal(put(&k, KEYRING_VAULT_KEY, 1, 32), 0);
	assert_int_equal(put(&k, KEYRING_VAULT_KEY, 2, 32), 0);
	assert_int_equal(put(&k, KEYRING_VAULT_PIN, 0, KEYRING_VAULT_PIN_BYTES), 0);
	assert_int_equal(keyring_put_entry(&k, KEYRING_VAULT_KEY, bob, 1,
				 bytes_of(other, sizeof other), &random_system, NULL),
		0);
	seal(&k, &object, &view);
	assert_int_equal(open_by(&view, KEYRING_SLOT_PASSWORD, 0, &later), 0);
	assert_int_equal(open_by(&view, KEYRING_SLOT_PASSWORD, 0, &hidden), 0);
	assert_int_equal(keyring_put_entry(&later, KEYRING_VAULT_PIN, vault_id, 0, value,
				 &random_system, NULL),
		0);
	assert_true(keyring_forgotten(&later, vault_id));
	assert_null(keyring_entry(&later, KEYRING_VAULT_KEY, vault_id, 1));
	assert_null(keyring_entry(&later, KEYRING_VAULT_KEY, vault_id, 2));
	assert_non_null(keyring_entry(&later, KEYRING_VAULT_KEY, bob, 1));
	assert_int_equal(keyring_keeps(&k, &later, NULL), 0);
	/* Nothing moves it on, and no key comes back. */
	assert_int_equal(keyring_put_entry(&later, KEYRING_VAULT_PIN, vault_id, 0,
				 bytes_of(pin, sizeof pin), &random_system, NULL),
		0);
	memset(pin, 0xff, sizeof pin);
	assert_int_equal(keyring_put_entry(&later, KEYRING_VAULT_PIN, vault_id, 0,
				 bytes_of(pin, sizeof pin), &random_system, NULL),
		KLUIS_EPIN);
	assert_true(keyring_forgotten(&later, vault_id));
	assert_int_equal(put(&later, KEYRING_VAULT_KEY, 3, 32), KLUIS_EGONE);
	assert_int_equal(keyring_keeps(&later, &k, NULL), KLUIS_EPIN); /* The mark is gone. */
	/* Keys that are gone without it were hidden; so was another one beside it. */
	assert_int_equal(keyring_drop_entries(&hidden, vault_id), 3);
	assert_int_equal(keyring_keeps(&k, &hidden, NULL), KLUIS_EPIN);
	assert_int_equal(keyring_drop_entries(&later, bob), 1);
	assert_int_equal(keyring_keeps(&k, &later, NULL), KLUIS_EPIN);
}

static void test_slots(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0}, again = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct keyring_slot password = slot_of(KEYRING_SLOT_PASSWORD, 1);
	struct keyring_view view;

	(void)state;
	make(&k, SYM_AES_256);
	keyring_put_slot(&k, &password, kek_of(1), &random_system); /* Takes the old one's place. */
	assert_int_equal(keyring_drop_slots(&k, KEYRING_SLOT_DEVICE, vault_id), 0);
	assert_int_equal(keyring_drop_slots(&k, KEYRING_SLOT_DEVICE, device_id), 1);
	assert_int_equal(keyring_drop_slots(&k, KEYRING_SLOT_PRF, NULL), 1);
	seal(&k, &object, &view);
	assert_int_equal(view.n_slots, 2);
	assert_int_equal(open_by(&view, KEYRING_SLOT_PASSWORD, 0, &again), KLUIS_EVERIFY);
	assert_int_equal(open_by(&view, KEYRING_SLOT_PASSWORD, 1, &again), 0);
}

static void test_rotate(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0}, again = {0};
	_cleanup_(secret_release) struct secret krk = SECRET_INIT, k3 = SECRET_INIT;
	_cleanup_(buf_release) struct buf old = BUF_INIT, fresh = BUF_INIT, plain = BUF_INIT;
	struct keyring_view view, fresh_view;

	(void)state;
	make(&k, SYM_AES_256);
	assert_int_equal(put(&k, KEYRING_VAULT_KEY, 1, 32), 0);
	seal(&k, &old, &view);
	secret_set(&krk, secret_bytes(&k.krk));
	secret_set(&k3, keyring_field(&k, KEYRING_K3));
	/* The next revision under the same KRK is no rotation. */
	assert_int_equal(keyring_seal(&k, 1, &random_system, &plain, NULL), 0);
	assert_int_equal(keyring_rotated(buf_bytes(&old), secret_bytes(&krk), buf_bytes(&plain),
				 secret_bytes(&krk), alice, NULL),
		KLUIS_EVERIFY);
	keyring_rotate(&k, &random_system);
	put_slots(&k);
	seal(&k, &fresh, &fresh_view);
	assert_int_equal(keyring_rotated(buf_bytes(&old), secret_bytes(&krk), buf_bytes(&fresh),
				 secret_bytes(&k.krk), alice, NULL),
		0);
	assert_int_equal(keyring_rotated(buf_bytes(&old), secret_bytes(&krk), buf_bytes(&old),
				 secret_bytes(&krk), alice, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(open_by(&fresh_view, KEYRING_SLOT_PASSWORD, 0, &again), 0);
	assert_same(keyring_field(&again, KEYRING_K3), secret_bytes(&k3));
	assert_non_null(keyring_entry(&again, KEYRING_VAULT_KEY, vault_id, 1));
	assert_int_equal(
		keyring_open(&fresh_view, alice, secret_bytes(&krk), &again, NULL), KLUIS_EVERIFY);
}

/* A new local key with each rotation, those before behind it as far as there is room, K3 last. */
static void test_local_keys(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0};
	_cleanup_(secret_release) struct secret first = SECRET_INIT;
	const struct bytes none = bytes_of(NULL, 0);

	(void)state;
	make(&k, SYM_AES_128);
	secret_set(&first, keyring_local_key(&k, 0));
	assert_int_equal(first.len, KEYRING_LOCAL_KEY_BYTES);
	assert_same(keyring_local_key(&k, 1), keyring_field(&k, KEYRING_K3));
	assert_int_equal(keyring_local_key(&k, 2).len, 0);
	for (size_t n = 1; n < KEYRING_LOCAL_KEYS_MAX; n++) {
		keyring_rotate(&k, &random_system);
		assert_same(keyring_local_key(&k, n), secret_bytes(&first));
		assert_false(secret_equal(keyring_local_key(&k, 0), secret_bytes(&first)));
	}
	keyring_rotate(&k, &random_system);
	assert_same(keyring_local_key(&k, KEYRING_LOCAL_KEYS_MAX), keyring_field(&k, KEYRING_K3));
	assert_int_equal(keyring_local_key(&k, KEYRING_LOCAL_KEYS_MAX + 1).len, 0);
	/* Of another client's making: none, and one that is cut. */
	keyring_set_field(&k, KEYRING_LOCAL_KEYS, none);
	assert_same(keyring_local_key(&k, 0), keyring_field(&k, KEYRING_K3));
	keyring_set_field(&k, KEYRING_LOCAL_KEYS, value_of(KEYRING_LOCAL_KEY_BYTES + 1));
	assert_same(keyring_local_key(&k, 0), value_of(KEYRING_LOCAL_KEY_BYTES));
	assert_same(keyring_local_key(&k, 1), keyring_field(&k, KEYRING_K3));
	keyring_rotate(&k, &random_system);
	assert_same(keyring_local_key(&k, 1), value_of(KEYRING_LOCAL_KEY_BYTES));
	assert_same(keyring_local_key(&k, 2), keyring_field(&k, KEYRING_K3));
}

/* The next signing key waits beside the current one, over revisions, until it takes its place. */
static void test_next_signing(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0}, again = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	_cleanup_(key_freep) struct key *next = NULL;
	struct keyring_view view;

	(void)state;
	make(&k, SYM_AES_256);
	assert_int_equal(keyring_next_signing(&k, &next, NULL), KLUIS_ENOTFOUND);
	assert_int_equal(keyring_take_next_signing(&k, NULL), KLUIS_ENOTFOUND);
	keyring_set_next_signing(&k, other_signing);
	seal(&k, &object, &view);
	assert_int_equal(open_by(&view, KEYRING_SLOT_PASSWORD, 0, &again), 0);
	assert_int_equal(keyring_next_signing(&again, &next, NULL), 0);
	assert_true(key_pub_equal(key_public(next), key_public(other_signing)));
	assert_true(key_pub_equal(key_public(again.signing), key_public(signing)));
	assert_int_equal(keyring_take_next_signing(&again, NULL), 0);
	assert_true(key_pub_equal(key_public(again.signing), key_public(other_signing)));
	assert_int_equal(keyring_take_next_signing(&again, NULL), KLUIS_ENOTFOUND);
	seal(&again, &object, &view);
	assert_int_equal(open_by(&view, KEYRING_SLOT_PASSWORD, 0, &k), 0);
	assert_true(key_pub_equal(key_public(k.signing), key_public(other_signing)));
	assert_same(
		keyring_field(&k, KEYRING_SIGNING_PUB), key_pub_bytes(key_public(other_signing)));
	/* One that is no key is an error of its own, when it is asked for. */
	keyring_set_field(&k, KEYRING_NEXT_SIGNING, value_of(16));
	key_free(next);
	next = NULL;
	assert_int_equal(keyring_next_signing(&k, &next, NULL), KLUIS_EINVAL);
}

/* No byte of an object can be changed, cut off or added without KRK. */
static void test_hostile_bytes(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0}, again = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct keyring_view view;

	(void)state;
	make(&k, SYM_AES_256);
	assert_int_equal(put(&k, KEYRING_VAULT_KEY, 1, 32), 0);
	assert_int_equal(put(&k, KEYRING_CONTACT_PIN, 0, KEYRING_CONTACT_PIN_BYTES), 0);
	seal(&k, &object, &view);
	for (size_t i = 0; i < object.len; i++) {
		object.data[i] ^= (uint8_t)(1U << i % 8);
		if (keyring_parse(buf_bytes(&object), &view, NULL) == 0) {
			assert_int_equal(
				keyring_open(&view, alice, secret_bytes(&k.krk), &again, NULL),
				KLUIS_EVERIFY);
		}
		object.data[i] ^= (uint8_t)(1U << i % 8);
	}
	for (size_t len = 0; len < object.len; len++) {
		assert_int_not_equal(keyring_parse(bytes_of(object.data, len), &view, NULL), 0);
	}
	buf_put_u8(&object, 0);
	assert_int_equal(keyring_parse(buf_bytes(&object), &view, NULL), KLUIS_EINVAL);
}

/* One field of the header set, by offset and width. */
static int parse_with(const struct buf *object, size_t at, uint8_t value)
{
	_cleanup_(buf_release) struct buf copy = BUF_INIT;
	struct keyring_view view;

	buf_append_bytes(&copy, buf_bytes(object));
	copy.data[at] = value;
	return keyring_parse(buf_bytes(&copy), &view, NULL);
}

static void test_parse_codes(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT, large = BUF_INIT;
	struct keyring_view view;
	const size_t slot = KEYRING_HEADER_BYTES, second = slot + KEYRING_SLOT_BYTES;
	const size_t third = second + KEYRING_SLOT_BYTES;

	(void)state;
	make(&k, SYM_AES_256);
	seal(&k, &object, &view);
	assert_int_equal(parse_with(&object, 0, 'k'), KLUIS_EINVAL);
	assert_int_equal(parse_with(&object, 4, 2), KLUIS_EVERSION);
	assert_int_equal(parse_with(&object, 5, 3), KLUIS_ESUITE);
	assert_int_equal(parse_with(&object, 7, 5), KLUIS_EINVAL);     /* One slot too many. */
	assert_int_equal(parse_with(&object, 31, 0), KLUIS_EINVAL);    /* Revision 0. */
	assert_int_equal(parse_with(&object, 31, 2), KLUIS_EINVAL);    /* Without a hash before. */
	assert_int_equal(parse_with(&object, 34, 0xff), KLUIS_EINVAL); /* Core beyond the end. */
	assert_int_equal(
		parse_with(&object, 39, 1), KLUIS_EINVAL); /* An entry that is not there. */
	assert_int_equal(parse_with(&object, 48, 1), KLUIS_EINVAL); /* First, yet a hash before. */
	assert_int_equal(parse_with(&object, 95, 1), KLUIS_EINVAL);
	assert_int_equal(parse_with(&object, slot + 16, 5), KLUIS_EINVAL);
	assert_int_equal(parse_with(&object, slot + 17, 0), KLUIS_ESUITE);
	assert_int_equal(parse_with(&object, slot + 19, 1), KLUIS_EINVAL);
	assert_int_equal(parse_with(&object, slot + 52, 1), KLUIS_EINVAL); /* ref of a password. */
	assert_int_equal(parse_with(&object, slot + 239, 1), KLUIS_EINVAL);
	assert_int_equal(parse_with(&object, second, 1), KLUIS_EINVAL);	     /* An id twice. */
	assert_int_equal(parse_with(&object, second + 20, 1), KLUIS_EINVAL); /* kdf of a code. */
	assert_int_equal(parse_with(&object, third + 72, 1), KLUIS_EINVAL);  /* Device: empty. */
	buf_put_zeros(&large, KEYRING_BYTES_MAX + 1);
	assert_int_equal(keyring_parse(buf_bytes(&large), &view, NULL), KLUIS_ETOOLARGE);
}

/* An object around a core and entries of any content, sealed as the owner would. */
static int open_made(struct bytes core, struct bytes entries, uint32_t n_entries)
{
	static const uint8_t krk[KEYRING_KRK_BYTES] = {1};
	_cleanup_(keyring_release) struct keyring again = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT, ctx = BUF_INIT;
	struct keyring_view v = {.sym = SYM_AES_256, .revision = 1, .n_entries = n_entries};
	const struct bytes label = bytes_str("kluis/v1/keyring");
	uint8_t tag[HMAC_BYTES];

	memcpy(v.user_id, alice, ID_BYTES);
	v.core_len = (uint32_t)(core.len + SEAL_OVERHEAD_BYTES);
	keyring_put_header(&v, &object);
	buf_put_str(&ctx, "core");
	buf_append(&ctx, alice, ID_BYTES);
	buf_put_u64(&ctx, 1);
	seal_make(bytes_of(krk, 32), buf_bytes(&ctx), core, &random_system, &object);
	buf_append_bytes(&object, entries);
	hash_hmac(bytes_of(krk + 32, 32), (struct bytes[]){label, buf_bytes(&object)}, 2, tag);
	buf_append(&object, tag, sizeof tag);
	assert_int_equal(keyring_parse(buf_bytes(&object), &v, NULL), 0);
	return keyring_open(&v, alice, bytes_of(krk, sizeof krk), &again, NULL);
}

/* The fields of a good core, with one left out, set or added. */
static int open_core(const struct keyring *k, unsigned type, const char *value, size_t len)
{
	_cleanup_(secret_buf_release) struct buf tlv = BUF_INIT;
	bool done = false;

	for (size_t i = 0; i < k->n_fields; i++) {
		if (k->fields[i].type != type) {
			buf_put_u16(&tlv, k->fields[i].type);
			buf_put_lp32(&tlv, secret_bytes(&k->fields[i].value));
		} else if (value != NULL) {
			buf_put_u16(&tlv, type);
			buf_put_lp32(&tlv, bytes_of(value, len));
			done = true;
		}
	}
	if (value != NULL && !done) {
		buf_put_u16(&tlv, type);
		buf_put_lp32(&tlv, bytes_of(value, len));
	}
	return open_made(buf_bytes(&tlv), bytes_of(NULL, 0), 0);
}

static void test_core_inside(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0};
	_cleanup_(secret_release) struct secret other = SECRET_INIT;
	static const char zeros[64];

	(void)state;
	make(&k, SYM_AES_256);
	key_encode(other_signing, &other);
	assert_int_equal(open_core(&k, 0xffff, NULL, 0), 0);
	assert_int_equal(open_core(&k, 0xffff, "kept", 4), 0);
	for (unsigned type = 1; type <= KEYRING_TRANSFER_PUB; type++) {
		bool needed = type <= KEYRING_K3 || type >= KEYRING_SIGNING;

		assert_int_equal(open_core(&k, type, NULL, 0) != 0, needed);
	}
	assert_int_equal(open_core(&k, KEYRING_ACCOUNT_KEY, NULL, 0), 0);
	assert_int_equal(open_core(&k, KEYRING_K2, zeros, 16), KLUIS_EINVAL);
	assert_int_equal(
		open_core(&k, KEYRING_SIGNING, (const char *)other.data, other.len), KLUIS_EVERIFY);
	assert_int_equal(open_core(&k, KEYRING_TRANSFER, zeros, 32), KLUIS_EINVAL);
	assert_int_equal(open_core(&k, KEYRING_TRANSFER_PUB, zeros, 64), KLUIS_EINVAL);
	/* Out of order: 5 behind the account key. */
	assert_int_equal(open_core(&k, 5, zeros, 1), KLUIS_EINVAL);
	assert_int_equal(open_made(bytes_of(NULL, 0), bytes_of(NULL, 0), 0), KLUIS_EINVAL);
}

/* The RSA-4096 pair is optional, but never half. */
static void test_core_rsa(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0};
	_cleanup_(secret_buf_release) struct buf tlv = BUF_INIT;

	(void)state;
	make(&k, SYM_AES_256);
	for (size_t i = 0; i < k.n_fields && k.fields[i].type < KEYRING_RSA; i++) {
		buf_put_u16(&tlv, k.fields[i].type);
		buf_put_lp32(&tlv, secret_bytes(&k.fields[i].value));
	}
	assert_int_equal(open_made(buf_bytes(&tlv), bytes_of(NULL, 0), 0), 0);
	buf_put_u16(&tlv, KEYRING_RSA_PUB);
	buf_put_lp32(&tlv, bytes_str("half"));
	assert_int_equal(open_made(buf_bytes(&tlv), bytes_of(NULL, 0), 0), KLUIS_EINVAL);
}

static int open_entry(const struct keyring *k, unsigned type, size_t len)
{
	_cleanup_(buf_release) struct buf tlv = BUF_INIT, sealed = BUF_INIT;
	struct keyring_entry entry = {.type = (uint16_t)type, .epoch = 1};
	int rc;

	for (size_t i = 0; i < k->n_fields; i++) {
		buf_put_u16(&tlv, k->fields[i].type);
		buf_put_lp32(&tlv, secret_bytes(&k->fields[i].value));
	}
	secret_init(&entry.value, len);
	keyring_entry_seal(keyring_field(k, KEYRING_K1), keyring_field(k, KEYRING_K2), &entry,
		&random_system, &sealed);
	rc = open_made(buf_bytes(&tlv), buf_bytes(&sealed), 1);
	secret_release(&entry.value);
	secret_buf_release(&tlv);
	return rc;
}

static void test_entry_lengths(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0};

	(void)state;
	make(&k, SYM_AES_256);
	assert_int_equal(open_entry(&k, KEYRING_VAULT_KEY, 32), 0);
	assert_int_equal(open_entry(&k, KEYRING_VAULT_KEY, 31), KLUIS_EINVAL);
	assert_int_equal(open_entry(&k, KEYRING_GROUP_KEY, 2), KLUIS_EINVAL);
	assert_int_equal(open_entry(&k, KEYRING_GROUP_KEY, 34), 0);
	assert_int_equal(open_entry(&k, KEYRING_CONTACT_PIN, 73), KLUIS_EINVAL);
	assert_int_equal(open_entry(&k, KEYRING_CONTACT_PIN, 72), 0);
	assert_int_equal(open_entry(&k, KEYRING_VAULT_PIN, 39), KLUIS_EINVAL);
	assert_int_equal(open_entry(&k, KEYRING_CHAT_EPOCH, 0), 0);
}

/* The largest that fits is sealed, one entry more is refused before anything is made. */
static void test_full(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct keyring_view view;
	size_t last = 0;
	uint32_t n = 0;

	(void)state;
	make(&k, SYM_AES_256);
	while (n < KEYRING_BYTES_MAX / 140 - 100) { /* Sealing each would take long. */
		assert_int_equal(put(&k, KEYRING_VAULT_KEY, ++n, 32), 0);
	}
	do {
		last = object.len;
		buf_clear(&object);
		assert_int_equal(put(&k, KEYRING_VAULT_KEY, ++n, 32), 0);
	} while (keyring_seal(&k, 1, &random_system, &object, NULL) == 0);
	assert_int_equal(object.len, 0);
	assert_in_range(last, KEYRING_BYTES_MAX - 139, KEYRING_BYTES_MAX);
	assert_int_equal(keyring_seal(&k, 1, &random_system, &object, NULL), KLUIS_ETOOLARGE);
	keyring_drop_entries(&k, vault_id);
	seal(&k, &object, &view);
}

struct packet {
	struct buf bytes;
	uint64_t expires_ms;
};

static void packet_make(const struct keyring *k, struct packet *p)
{
	struct keyring_slot slot = slot_of(KEYRING_SLOT_DEVICE, 3);

	buf_clear(&p->bytes);
	assert_int_equal(keyring_device_packet(k, &slot, key_public(device_hpke), 1000, 2000,
				 &random_system, &p->bytes, NULL),
		0);
}

static void test_device_packet(void **state)
{
	_cleanup_(keyring_release) struct keyring k = {0}, again = {0};
	_cleanup_(secret_release) struct secret krk = SECRET_INIT;
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct packet p = {.expires_ms = 2000};
	struct keyring_slot slot = slot_of(KEYRING_SLOT_DEVICE, 3), other = slot;
	struct keyring_view view;
	struct bytes packet;

	(void)state;
	make(&k, SYM_AES_256);
	packet_make(&k, &p);
	packet = buf_bytes(&p.bytes);
	seal(&k, &object, &view);
#define OPEN(slot, key, pub, now) \
	keyring_device_open(packet, &view, slot, key, key_public(pub), now, &krk, NULL)
	assert_int_equal(OPEN(&slot, device_hpke, signing, 1500), 0);
	assert_int_equal(keyring_open(&view, alice, secret_bytes(&krk), &again, NULL), 0);
	assert_int_equal(OPEN(&slot, device_hpke, signing, 2000), KLUIS_EVERIFY);
	assert_int_equal(OPEN(&slot, device_hpke, other_signing, 1500), KLUIS_EVERIFY);
	assert_int_equal(OPEN(&slot, transfer, signing, 1500), KLUIS_EVERIFY);
	other.slot_id[0] = 9;
	assert_int_equal(OPEN(&other, device_hpke, signing, 1500), KLUIS_EVERIFY);
	other = slot;
	memcpy(other.ref, bob, ID_BYTES);
	assert_int_equal(OPEN(&other, device_hpke, signing, 1500), KLUIS_EVERIFY);
	/* KRK outlives revisions: an old packet opens a later object of the same KRK ... */
	seal(&k, &object, &view);
	assert_int_equal(OPEN(&slot, device_hpke, signing, 1500), 0);
	/* ... but one for a later revision is not for this object. */
	packet_make(&k, &p);
	packet = buf_bytes(&p.bytes);
	assert_int_equal(OPEN(&slot, device_hpke, signing, 1500), KLUIS_EVERIFY);
#undef OPEN
	buf_release(&p.bytes);
}

/* A code survives how people type it; every single wrong character is seen. */
static void test_recovery_code(void **state)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT, back = SECRET_INIT;
	char text[RECOVERY_TEXT_CHARS + 1], typed[RECOVERY_TEXT_CHARS + 1];
	struct bytes whole = bytes_of(text, RECOVERY_TEXT_CHARS);
	unsigned undetected = 0;

	(void)state;
	for (int round = 0; round < 100; round++) {
		secret_random(&secret, RECOVERY_SECRET_BYTES, &random_system);
		recovery_text(secret_bytes(&secret), text);
		assert_int_equal(strlen(text), RECOVERY_TEXT_CHARS);
		assert_int_equal(recovery_parse(whole, &back, NULL), 0);
		assert_true(secret_equal(secret_bytes(&secret), secret_bytes(&back)));
	}
	for (size_t i = 0; i < whole.len; i++) {
		memcpy(typed, text, sizeof typed);
		typed[i] = (char)(text[i] | 0x20); /* Lower case. */
		if (text[i] == '-') {
			typed[i] = ' ';
		}
		assert_int_equal(recovery_parse(bytes_str(typed), &back, NULL), 0);
		typed[i] = text[i] == '7' ? '8' : '7';
		undetected += recovery_parse(bytes_str(typed), &back, NULL) == 0;
		typed[i] = 'U';
		assert_int_equal(recovery_parse(bytes_str(typed), &back, NULL), KLUIS_EINVAL);
		assert_int_equal(recovery_parse(bytes_of(text, i), &back, NULL),
			i == whole.len ? 0 : KLUIS_EINVAL);
	}
	assert_in_range(undetected, 0, 2); /* 10 bits: one in 1,024. */
	assert_int_equal(recovery_parse(bytes_of("", 0), &back, NULL), KLUIS_EINVAL);
}

static void test_recovery_typed_length(void **state)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT, back = SECRET_INIT;
	char text[RECOVERY_TEXT_CHARS + 1], typed[RECOVERY_TYPED_BYTES_MAX + 1];

	(void)state;
	secret_random(&secret, RECOVERY_SECRET_BYTES, &random_system);
	recovery_text(secret_bytes(&secret), text);
	memset(typed, ' ', sizeof typed);
	memcpy(typed, text, RECOVERY_TEXT_CHARS);
	assert_int_equal(recovery_parse(bytes_of(typed, RECOVERY_TYPED_BYTES_MAX), &back, NULL), 0);
	assert_int_equal(recovery_parse(bytes_of(typed, sizeof typed), &back, NULL), KLUIS_EINVAL);
}

static void test_recovery_proof(void **state)
{
	_cleanup_(recovery_release) struct recovery r = {.r_rec = SECRET_INIT};
	_cleanup_(recovery_release) struct recovery other = {.r_rec = SECRET_INIT};
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	struct recovery_proof proof = {.challenge = {1}};

	(void)state;
	memcpy(proof.user_id, alice, ID_BYTES);
	secret_random(&secret, RECOVERY_SECRET_BYTES, &random_system);
	recovery_derive(secret_bytes(&secret), alice, &r);
	recovery_derive(secret_bytes(&secret), bob, &other); /* The same code, another user. */
	assert_int_equal(recovery_sign(&proof, r.auth, &signature, NULL), 0);
	assert_int_equal(
		recovery_verify(&proof, key_public(r.auth), buf_bytes(&signature), NULL), 0);
	assert_int_equal(
		recovery_verify(&proof, key_public(other.auth), buf_bytes(&signature), NULL),
		KLUIS_EVERIFY);
	assert_int_equal(recovery_verify(&proof, key_public(transfer), buf_bytes(&signature), NULL),
		KLUIS_ESUITE);
	proof.challenge[31] ^= 1;
	assert_int_equal(recovery_verify(&proof, key_public(r.auth), buf_bytes(&signature), NULL),
		KLUIS_EVERIFY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_view),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_contact_pins),
		cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_rotate),
		cmocka_unit_test(test_local_keys),
		cmocka_unit_test(test_next_signing),
		cmocka_unit_test(test_hostile_bytes),
		cmocka_unit_test(test_parse_codes),
		cmocka_unit_test(test_core_inside),
		cmocka_unit_test(test_core_rsa),
		cmocka_unit_test(test_entry_lengths),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_device_packet),
		cmocka_unit_test(test_recovery_code),
		cmocka_unit_test(test_recovery_typed_length),
		cmocka_unit_test(test_recovery_proof),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}

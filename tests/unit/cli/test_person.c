/* The profile of a person without a cluster: what rests on the disk is sealed, what is shown later
 * is held against what was seen. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/file.h"
#include "base/wire.h"
#include "cli/client/person.h"
#include "cli/client/vault.h"

static const uint8_t root_bytes[2][HASH_BYTES] = {{1}, {2}};
static const uint8_t kek_bytes[KEYRING_KEK_BYTES] = {3};
static const uint8_t vault_id[ID_BYTES] = {4};
/* Not zeros, which a file is full of. */
static const uint8_t vk[32] = "the key of a vault, in 32 bytes.";
static struct key *signing, *other_signing, *transfer;

struct fixture {
	char *dir;
	struct profile *profile;
	struct buf object, genesis, device;
	struct err err;
};

static int make_keys(void **state)
{
	(void)state;
	return key_generate(KEY_RSA_PSS, 2048, &signing, NULL) ||
	       key_generate(KEY_RSA_PSS, 2048, &other_signing, NULL) ||
	       key_generate(KEY_KEM_P256, 0, &transfer, NULL);
}

static int free_keys(void **state)
{
	(void)state;
	key_free(signing);
	key_free(other_signing);
	key_free(transfer);
	return 0;
}

static struct bytes root_of(size_t n)
{
	return bytes_of(root_bytes[n], HASH_BYTES);
}

static void make_profile(struct fixture *f)
{
	static const char *const endpoints[] = {"https://127.0.0.1:1"};
	struct api_cluster cluster = {.cluster_id = {7}, .lineage = {8}};

	buf_put_str(&cluster.ca_pem, "no certificate, and none is looked at here\n");
	assert_int_equal(
		person_make(f->dir, &cluster, "alice", endpoints, 1, &f->profile, &f->err), 0);
	f->profile->user_id[0] = 9;
	api_cluster_release(&cluster);
}

/* A chain of genesis and this device. */
static void make_chain(struct fixture *f)
{
	struct buf body = BUF_INIT;
	struct identity identity;

	identity_init(&identity);
	assert_int_equal(identity_genesis(f->profile->user_id, "alice", signing,
				 key_public(transfer), 1, &f->genesis, NULL),
		0);
	assert_int_equal(identity_append(&identity, buf_bytes(&f->genesis), NULL), 0);
	identity_body_device(&body, f->profile->device_id, key_public(f->profile->device),
		key_public(f->profile->device_hpke), "laptop");
	assert_int_equal(identity_make(&identity, IDENTITY_DEVICE_ADD, buf_bytes(&body), signing, 1,
				 &f->device, NULL),
		0);
	identity_release(&identity);
	buf_release(&body);
}

static int take_chain(struct fixture *f, size_t n)
{
	const struct bytes chain[] = {buf_bytes(&f->genesis), buf_bytes(&f->device)};

	return person_take_chain(f->profile, chain, n, &f->err);
}

static void make_keyring(struct fixture *f, struct keyring *k)
{
	struct keyring_slot slot = {.type = KEYRING_SLOT_RECOVERY, .sym = SYM_AES_256};

	assert_int_equal(keyring_make(f->profile->user_id, SYM_AES_256, signing, transfer,
				 bytes_of(NULL, 0), &random_system, k, NULL),
		0);
	keyring_put_slot(k, &slot, bytes_of(kek_bytes, sizeof kek_bytes), &random_system);
	assert_int_equal(keyring_put_entry(k, KEYRING_VAULT_KEY, vault_id, 1,
				 bytes_of(vk, sizeof vk), &random_system, NULL),
		0);
}

static void seal(struct keyring *k, struct buf *object)
{
	buf_clear(object);
	assert_int_equal(keyring_seal(k, 1, &random_system, object, NULL), 0);
	keyring_sealed(k, buf_bytes(object));
}

/* As after the first unlock. */
static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);
	struct keyring k = {0};

	f->dir = scratch_new("person");
	make_profile(f);
	assert_int_equal(person_make_device(f->profile, &f->err), 0);
	make_chain(f);
	assert_int_equal(take_chain(f, 2), 0);
	make_keyring(f, &k);
	seal(&k, &f->object);
	f->profile->person->has_kdf = true;
	assert_int_equal(
		person_take(f->profile, &k, buf_bytes(&f->object), root_of(0), &f->err), 0);
	keyring_release(&k);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	profile_close(f->profile);
	scratch_free(f->dir);
	buf_release(&f->object);
	buf_release(&f->genesis);
	buf_release(&f->device);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	profile_close(f->profile);
	f->profile = NULL;
	assert_int_equal(profile_open(f->dir, &f->profile, &f->err), 0);
}

static void test_unlock(void **state)
{
	struct fixture *f = *state;
	_cleanup_(secret_release) struct secret value = SECRET_INIT;
	struct key_pub *device = key_pub_ref((struct key_pub *)key_public(f->profile->device));
	struct ring *ring;

	reopen(f);
	assert_true(f->profile->enrolled);
	assert_null(f->profile->device);
	assert_null(f->profile->signing);
	assert_null(f->profile->person->ring);
	assert_int_equal(person_ready(f->profile, NULL), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(person_unlock(f->profile, root_of(1), NULL), KLUIS_EVERIFY);
	assert_null(f->profile->person->ring);
	assert_int_equal(person_unlock(f->profile, root_of(0), &f->err), 0);
	assert_int_equal(person_ready(f->profile, NULL), 0);
	assert_true(key_pub_equal(device, key_public(f->profile->device)));
	assert_true(key_pub_equal(key_public(signing), key_public(f->profile->signing)));
	ring = f->profile->person->ring;
	assert_int_equal(ring->get(ring, KEYRING_VAULT_KEY, vault_id, 1, &value, NULL), 0);
	assert_memory_equal(value.data, vk, sizeof vk);
	assert_int_equal(
		ring->get(ring, KEYRING_VAULT_KEY, vault_id, 2, &value, NULL), KLUIS_ENOTFOUND);
	person_lock(f->profile);
	assert_int_equal(person_ready(f->profile, NULL), KLUIS_EUNAUTHENTICATED);
	key_pub_free(device);
}

/* A device that waits for approval has no right to sign: nothing is begun. */
static void test_not_enrolled(void **state)
{
	struct fixture *f = *state;
	uint8_t id[ID_BYTES];

	assert_int_equal(vault_may_write(f->profile, &f->err), 0);
	f->profile->enrolled = false;
	assert_int_equal(vault_may_write(f->profile, &f->err), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(
		vault_create(f->profile, NULL, "home", id, &f->err), KLUIS_EUNAUTHENTICATED);
}

static bool contains(struct bytes whole, struct bytes part)
{
	return memmem(whole.data, whole.len, part.data, part.len) != NULL;
}

/* None of the keys stands on the disk as it is. */
static void test_sealed_at_rest(void **state)
{
	static const char *const files[] = {"person", "identity", "settings.json"};
	struct fixture *f = *state;
	struct person_keys *p = f->profile->person;
	_cleanup_(secret_release) struct secret device = SECRET_INIT, user = SECRET_INIT;
	const struct keyring *k = ring_local(p->ring);

	key_encode(f->profile->device, &device);
	key_encode(f->profile->signing, &user); /* The exponent lies behind the modulus. */
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(x_freep) char *path = profile_path(f->profile, files[i]);
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;

		assert_int_equal(file_read(path, PROFILE_FILE_BYTES_MAX, &bytes, NULL), 0);
		assert_false(contains(buf_bytes(&bytes), secret_bytes(&device)));
		assert_false(contains(buf_bytes(&bytes), bytes_of(user.data + 400, 64)));
		assert_false(contains(buf_bytes(&bytes), secret_bytes(&p->local_key)));
		assert_false(contains(buf_bytes(&bytes), secret_bytes(&k->krk)));
		assert_false(contains(buf_bytes(&bytes), secret_bytes(&f->profile->salt_key)));
		assert_false(contains(buf_bytes(&bytes), bytes_of(vk, sizeof vk)));
	}
}

/* Another password, set on another device: the keyring opens the local key, and the new password
 * does from then on. */
static void test_new_password(void **state)
{
	struct fixture *f = *state;
	struct keyring k = {0};
	struct keyring_slot slot = {.type = KEYRING_SLOT_RECOVERY, .sym = SYM_AES_256};
	struct bytes kek = bytes_of(kek_bytes, sizeof kek_bytes);
	_cleanup_(secret_release) struct secret local = SECRET_INIT;
	_cleanup_(buf_release) struct buf by_password = BUF_INIT;
	const struct keyring *open = ring_local(f->profile->person->ring);

	secret_set(&local, secret_bytes(&f->profile->person->local_key));
	buf_append_bytes(&by_password, buf_bytes(&f->profile->person->by_password));
	assert_int_equal(ring_open(buf_bytes(&f->object), f->profile->user_id,
				 secret_bytes(&open->krk), &k, NULL),
		0);
	keyring_rotate(&k, &random_system);
	keyring_put_slot(&k, &slot, kek, &random_system);
	seal(&k, &f->object);
	/* The old KRK does not open it. */
	assert_int_equal(
		person_take_object(f->profile, buf_bytes(&f->object), NULL), KLUIS_EVERIFY);
	reopen(f);
	assert_int_equal(
		person_take(f->profile, &k, buf_bytes(&f->object), root_of(1), &f->err), 0);
	assert_non_null(f->profile->device);
	/* Whoever has the old password, and the files from before, has the local key of then. */
	assert_false(
		secret_equal(secret_bytes(&local), secret_bytes(&f->profile->person->local_key)));
	reopen(f);
	{
		struct person_keys *p = f->profile->person;
		struct buf now = p->by_password;

		p->by_password = by_password;
		assert_int_equal(person_unlock(f->profile, root_of(0), NULL), KLUIS_EVERIFY);
		assert_null(f->profile->device);
		p->by_password = now;
	}
	assert_int_equal(person_unlock(f->profile, root_of(0), NULL), KLUIS_EVERIFY);
	assert_int_equal(person_unlock(f->profile, root_of(1), &f->err), 0);
	keyring_release(&k);
}

/* Who has an old keyring, and what opens it, opens no file that was stored under a later password:
 * neither by it nor by K3, which stays. A device that missed changes opens its own. */
static void test_old_keyring(void **state)
{
	struct fixture *f = *state;
	struct keyring k = {0}, old = {0}, later = {0};
	struct keyring_slot slot = {.type = KEYRING_SLOT_RECOVERY, .sym = SYM_AES_256};
	struct bytes kek = bytes_of(kek_bytes, sizeof kek_bytes);
	const struct keyring *open = ring_local(f->profile->person->ring);

	assert_int_equal(ring_open(buf_bytes(&f->object), f->profile->user_id,
				 secret_bytes(&open->krk), &old, NULL),
		0);
	assert_int_equal(ring_open(buf_bytes(&f->object), f->profile->user_id,
				 secret_bytes(&open->krk), &k, NULL),
		0);
	for (unsigned turn = 0; turn < 3; turn++) { /* Two of them elsewhere. */
		keyring_rotate(&k, &random_system);
		keyring_put_slot(&k, &slot, kek, &random_system);
		seal(&k, &f->object);
	}
	assert_int_equal(ring_open(buf_bytes(&f->object), f->profile->user_id, secret_bytes(&k.krk),
				 &later, NULL),
		0);
	reopen(f);
	assert_int_equal(
		person_take(f->profile, &later, buf_bytes(&f->object), root_of(1), &f->err), 0);
	assert_non_null(f->profile->device);
	reopen(f);
	assert_int_equal(person_check_keyring(f->profile, &old, NULL), KLUIS_ECORRUPT);
	assert_int_equal(person_check_keyring(f->profile, &k, &f->err), 0);
	keyring_release(&k);
	keyring_release(&old);
}

/* A keyring of other keys than the chain names: the cluster changed one of the two. */
static void test_other_keys(void **state)
{
	struct fixture *f = *state;
	struct keyring k = {0};
	struct keyring_slot slot = {.type = KEYRING_SLOT_RECOVERY, .sym = SYM_AES_256};

	assert_int_equal(keyring_make(f->profile->user_id, SYM_AES_256, other_signing, transfer,
				 bytes_of(NULL, 0), &random_system, &k, NULL),
		0);
	keyring_put_slot(&k, &slot, bytes_of(kek_bytes, sizeof kek_bytes), &random_system);
	seal(&k, &f->object);
	buf_clear(&f->profile->person->by_ring); /* As on a new device. */
	buf_clear(&f->profile->person->keyring);
	assert_int_equal(person_take(f->profile, &k, buf_bytes(&f->object), root_of(0), NULL),
		KLUIS_EVERIFY);
	assert_null(f->profile->person->ring);
	keyring_release(&k);
}

/* A key of another kind that the chain names for others to give by, and the keyring has not:
 * whoever put it there would get what they give. */
static void test_foreign_transfer_key(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, added = BUF_INIT;
	_cleanup_(key_freep) struct key *foreign = NULL;
	struct bytes chain[] = {buf_bytes(&f->genesis), buf_bytes(&f->device), {NULL, 0}};

	assert_int_equal(person_take_keys(f->profile, &f->err), 0);
	assert_int_equal(key_generate(KEY_KEM_P384, 0, &foreign, NULL), 0);
	identity_body_transfer(&body, key_public(foreign));
	assert_int_equal(identity_make(&f->profile->identity, IDENTITY_TRANSFER_ADD,
				 buf_bytes(&body), signing, 1, &added, NULL),
		0);
	chain[2] = buf_bytes(&added);
	assert_int_equal(person_take_chain(f->profile, chain, 3, &f->err), 0);
	assert_int_equal(person_take_keys(f->profile, NULL), KLUIS_EVERIFY);
}

static int check(struct fixture *f, const struct buf *object)
{
	struct keyring_view view;

	assert_int_equal(keyring_parse(buf_bytes(object), &view, NULL), 0);
	return person_check_object(f->profile, &view, &f->err);
}

static void test_object_pins(void **state)
{
	struct fixture *f = *state;
	struct ring *ring = f->profile->person->ring;
	_cleanup_(buf_release) struct buf second = BUF_INIT, third = BUF_INIT, fork = BUF_INIT;
	struct ring_change change = {
		.type = KEYRING_VAULT_KEY, .epoch = 2, .value = bytes_of(vk, sizeof vk)};
	struct bytes first = buf_bytes(&f->object);

	memcpy(change.object_id, vault_id, ID_BYTES);
	assert_int_equal(ring->change(ring, first, &change, 1, 2, &second, NULL), 0);
	assert_int_equal(ring->change(ring, first, &change, 1, 3, &fork, NULL), 0);
	assert_int_equal(ring->change(ring, buf_bytes(&second), &change, 1, 4, &third, NULL), 0);
	assert_int_equal(check(f, &f->object), 0);
	assert_int_equal(check(f, &second), 0);
	assert_int_equal(check(f, &third), 0); /* What lies between cannot be seen. */
	assert_int_equal(person_take_object(f->profile, buf_bytes(&second), &f->err), 0);
	reopen(f);
	assert_int_equal(check(f, &second), 0);
	assert_int_equal(check(f, &third), 0);
	assert_int_equal(check(f, &f->object), KLUIS_EPIN); /* Rolled back. */
	assert_int_equal(check(f, &fork), KLUIS_EPIN);
	assert_int_equal(person_unlock(f->profile, root_of(0), &f->err), 0);
	change.value = bytes_of(kek_bytes, 32);
	assert_int_equal(f->profile->person->ring->change(f->profile->person->ring,
				 buf_bytes(&second), &change, 1, 5, &fork, NULL),
		KLUIS_ECONFLICT);
}

/* The next revision made from another first one. */
static void test_object_fork(void **state)
{
	struct fixture *f = *state;
	struct ring *ring = f->profile->person->ring;
	_cleanup_(buf_release) struct buf a = BUF_INIT, b = BUF_INIT, on_b = BUF_INIT;
	struct ring_change change = {
		.type = KEYRING_VAULT_KEY, .epoch = 2, .value = bytes_of(vk, sizeof vk)};

	assert_int_equal(ring->change(ring, buf_bytes(&f->object), &change, 1, 2, &a, NULL), 0);
	assert_int_equal(ring->change(ring, buf_bytes(&f->object), &change, 1, 3, &b, NULL), 0);
	assert_int_equal(ring->change(ring, buf_bytes(&b), &change, 1, 4, &on_b, NULL), 0);
	assert_int_equal(person_take_object(f->profile, buf_bytes(&a), &f->err), 0);
	assert_int_equal(check(f, &on_b), KLUIS_EPIN);
}

static void test_chain_pins(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf forged = BUF_INIT;
	struct bytes chain[2];

	assert_int_equal(take_chain(f, 2), 0);
	assert_int_equal(take_chain(f, 1), KLUIS_EPIN); /* The device was taken out of it. */
	assert_int_equal(take_chain(f, 0), KLUIS_EVERIFY);
	assert_int_equal(f->profile->identity.seq, 2);
	/* Another genesis of the same user, name and id. */
	assert_int_equal(identity_genesis(f->profile->user_id, "alice", other_signing,
				 key_public(transfer), 1, &forged, NULL),
		0);
	chain[0] = buf_bytes(&forged);
	assert_int_equal(person_take_chain(f->profile, chain, 1, NULL), KLUIS_EPIN);
	/* A device-add that another key signed. */
	chain[0] = buf_bytes(&f->genesis);
	chain[1] = buf_bytes(&forged);
	assert_int_equal(person_take_chain(f->profile, chain, 2, NULL), KLUIS_EVERIFY);
	assert_true(f->profile->enrolled);
	reopen(f);
	assert_int_equal(f->profile->identity.seq, 2);
}

/* After a restore that the user accepted the pins move back, once. */
static void test_restore(void **state)
{
	struct fixture *f = *state;
	struct ring *ring = f->profile->person->ring;
	_cleanup_(buf_release) struct buf second = BUF_INIT;
	struct ring_change change = {
		.type = KEYRING_VAULT_KEY, .epoch = 2, .value = bytes_of(vk, sizeof vk)};
	_cleanup_(buf_release) struct buf forged = BUF_INIT;
	struct bytes other;

	assert_int_equal(
		ring->change(ring, buf_bytes(&f->object), &change, 1, 2, &second, NULL), 0);
	assert_int_equal(person_take_object(f->profile, buf_bytes(&second), &f->err), 0);
	assert_int_equal(check(f, &f->object), KLUIS_EPIN);
	/* Of another lineage than the cluster is of now it says nothing. */
	assert_int_equal(person_accept_restore(f->profile, f->profile->cluster_id, &f->err), 0);
	assert_false(person_is_restored(f->profile));
	assert_int_equal(check(f, &f->object), KLUIS_EPIN);
	assert_int_equal(person_accept_restore(f->profile, f->profile->lineage, &f->err), 0);
	assert_int_equal(identity_genesis(f->profile->user_id, "alice", other_signing,
				 key_public(transfer), 1, &forged, NULL),
		0);
	other = buf_bytes(&forged);
	assert_int_equal(person_take_chain(f->profile, &other, 1, NULL), KLUIS_EPIN);
	assert_int_equal(take_chain(f, 1), 0);
	assert_false(f->profile->enrolled);
	assert_int_equal(check(f, &f->object), 0);
	assert_int_equal(person_take_object(f->profile, buf_bytes(&f->object), &f->err), 0);
	/* Whichever of the two comes first, the other may follow. */
	assert_int_equal(take_chain(f, 2), 0);
	assert_int_equal(take_chain(f, 1), 0);
	assert_int_equal(person_settle(f->profile, &f->err), 0);
	assert_int_equal(take_chain(f, 2), 0);
	assert_int_equal(take_chain(f, 1), KLUIS_EPIN);
	assert_int_equal(check(f, &second), 0);
	assert_int_equal(person_take_object(f->profile, buf_bytes(&second), &f->err), 0);
	assert_int_equal(check(f, &f->object), KLUIS_EPIN);
	/* A cluster that has all as it was uses it up as well. */
	assert_int_equal(person_accept_restore(f->profile, f->profile->lineage, &f->err), 0);
	assert_int_equal(person_settle(f->profile, &f->err), 0);
	assert_int_equal(check(f, &f->object), KLUIS_EPIN);
	assert_int_equal(person_settle(f->profile, &f->err), 0);
}

/* A later keyring of another history, made by a device that was shown that one: what it lacks would
 * be lost without a word. */
static void test_keyring_keeps(void **state)
{
	static const unsigned types[] = {KEYRING_VAULT_KEY, KEYRING_VAULT_PIN, KEYRING_CONTACT_PIN};
	static const size_t lens[] = {32, KEYRING_VAULT_PIN_BYTES, KEYRING_CONTACT_PIN_BYTES};
	struct fixture *f = *state;
	uint8_t value[KEYRING_CONTACT_PIN_BYTES] = {0};
	struct ring_change other = {.type = KEYRING_VAULT_KEY,
		.object_id = {0x77},
		.epoch = 1,
		.value = bytes_of(vk, sizeof vk)};
	_cleanup_(secret_release) struct secret got = SECRET_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct ring *ring = f->profile->person->ring;
		struct ring_change change = {.type = types[i],
			.object_id = {(uint8_t)(0x10 + i)},
			.epoch = types[i] == KEYRING_VAULT_KEY,
			.value = bytes_of(value, lens[i])};
		_cleanup_(buf_release) struct buf known = BUF_INIT, a = BUF_INIT, mid = BUF_INIT,
						  b = BUF_INIT, c = BUF_INIT;
		struct keyring k = {0};
		struct bytes first = buf_bytes(&f->profile->person->keyring);

		value[lens[i] - 1] = 1;
		assert_int_equal(ring->change(ring, first, &change, 1, 2, &known, NULL), 0);
		other.object_id[1] = (uint8_t)i;
		assert_int_equal(ring->change(ring, first, &other, 1, 3, &a, NULL), 0);
		other.object_id[1] = (uint8_t)(i + 8);
		assert_int_equal(ring->change(ring, buf_bytes(&a), &other, 1, 4, &mid, NULL), 0);
		assert_int_equal(ring->change(ring, buf_bytes(&mid), &other, 1, 4, &b, NULL), 0);
		/* And one that has what was known. */
		assert_int_equal(ring->change(ring, buf_bytes(&known), &other, 1, 5, &c, NULL), 0);
		assert_int_equal(person_take_object(f->profile, buf_bytes(&known), &f->err), 0);
		assert_int_equal(check(f, &b), 0); /* By its number nothing is wrong. */
		assert_int_equal(
			person_take_object(f->profile, buf_bytes(&b), &f->err), KLUIS_EPIN);
		assert_int_equal(
			ring->get(ring, types[i], change.object_id, change.epoch, &got, NULL), 0);
		/* The same at a login. */
		assert_int_equal(ring_open(buf_bytes(&b), f->profile->user_id,
					 secret_bytes(&ring_local(ring)->krk), &k, NULL),
			0);
		assert_int_equal(person_take(f->profile, &k, buf_bytes(&b), root_of(0), &f->err),
			KLUIS_EPIN);
		assert_int_equal(person_take_object(f->profile, buf_bytes(&c), &f->err), 0);
	}
	reopen(f);
	assert_int_equal(person_unlock(f->profile, root_of(0), &f->err), 0);
}

/* The chain as another device has seen it. */
static void test_chain_pin(void **state)
{
	struct fixture *f = *state;
	struct ring *ring = f->profile->person->ring;
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	uint8_t pin[KEYRING_CONTACT_PIN_BYTES];
	struct ring_change change = {
		.type = KEYRING_CONTACT_PIN, .value = bytes_of(pin, sizeof pin)};
	const struct identity *me = &f->profile->identity;

	memcpy(pin, me->genesis_hash, HASH_BYTES);
	memcpy(pin + HASH_BYTES, me->head_hash, HASH_BYTES);
	store_u64(pin + 2 * HASH_BYTES, me->seq);
	assert_int_equal(person_check_chain(f->profile, change.value, &f->err), 0);
	store_u64(pin + 2 * HASH_BYTES, me->seq + 1); /* A statement that is not shown. */
	assert_int_equal(person_check_chain(f->profile, change.value, &f->err), KLUIS_EPIN);
	store_u64(pin + 2 * HASH_BYTES, me->seq - 1); /* Another one. */
	assert_int_equal(person_check_chain(f->profile, change.value, &f->err), KLUIS_EPIN);
	store_u64(pin + 2 * HASH_BYTES, me->seq);
	pin[0] ^= 1; /* Another genesis. */
	assert_int_equal(person_check_chain(f->profile, change.value, &f->err), KLUIS_EPIN);
	pin[0] ^= 1;
	assert_int_equal(person_check_chain(f->profile, bytes_of(pin, sizeof pin - 1), &f->err),
		KLUIS_ECORRUPT);
	/* With it in the keyring every chain that is fetched is held against it. */
	store_u64(pin + 2 * HASH_BYTES, me->seq + 1);
	memcpy(change.object_id, f->profile->user_id, ID_BYTES);
	assert_int_equal(
		ring->change(ring, buf_bytes(&f->object), &change, 1, 2, &object, NULL), 0);
	assert_int_equal(take_chain(f, 2), 0);
	assert_int_equal(person_take_object(f->profile, buf_bytes(&object), &f->err), 0);
	assert_int_equal(take_chain(f, 2), KLUIS_EPIN);
}

static void test_attach(void **state)
{
	struct fixture *f = *state;
	struct person_keys *p = f->profile->person;
	struct person_held held = {.salt_key = SECRET_INIT};
	struct key *device = f->profile->device, *mine = f->profile->signing;
	struct ring *ring = p->ring;

	/* Out of the profile, as if an agent had them. */
	f->profile->device = f->profile->signing = NULL;
	p->ring = NULL;
	held.device = device;
	held.signing = mine;
	held.ring = ring;
	assert_int_equal(person_attach(f->profile, &held, &f->err), 0);
	assert_null(held.ring);
	assert_int_equal(person_ready(f->profile, NULL), 0);
	/* An agent of somebody else. */
	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &held.device, NULL), 0);
	assert_int_equal(key_generate(KEY_RSA_PSS, 2048, &held.signing, NULL), 0);
	assert_int_equal(person_attach(f->profile, &held, NULL), KLUIS_EVERIFY);
	assert_null(held.device);
	assert_null(p->ring);
}

/* The chain of the profile names a key to give her by that the agent's keyring has not. */
static void test_attach_foreign_transfer_key(void **state)
{
	struct fixture *f = *state;
	struct person_keys *p = f->profile->person;
	_cleanup_(buf_release) struct buf body = BUF_INIT, added = BUF_INIT;
	_cleanup_(key_freep) struct key *foreign = NULL;
	struct bytes chain[] = {buf_bytes(&f->genesis), buf_bytes(&f->device), {NULL, 0}};
	struct person_held held = {.salt_key = SECRET_INIT,
		.device = f->profile->device,
		.signing = f->profile->signing,
		.ring = p->ring};

	assert_int_equal(key_generate(KEY_KEM_P384, 0, &foreign, NULL), 0);
	identity_body_transfer(&body, key_public(foreign));
	assert_int_equal(identity_make(&f->profile->identity, IDENTITY_TRANSFER_ADD,
				 buf_bytes(&body), signing, 1, &added, NULL),
		0);
	chain[2] = buf_bytes(&added);
	assert_int_equal(person_take_chain(f->profile, chain, 3, &f->err), 0);
	f->profile->device = f->profile->signing = NULL;
	p->ring = NULL;
	assert_int_equal(person_attach(f->profile, &held, &f->err), KLUIS_EVERIFY);
	assert_non_null(strstr(f->err.text, "give to you by"));
	assert_null(p->ring);
}

/* A damaged file is not half-believed, and the two files of one profile belong together. */
static void test_damaged(void **state)
{
	static const char *const files[] = {"person", "identity"};
	struct fixture *f = *state;
	struct profile *again = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(x_freep) char *path = profile_path(f->profile, files[i]);
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;

		assert_int_equal(file_read(path, PROFILE_FILE_BYTES_MAX, &bytes, NULL), 0);
		profile_close(f->profile);
		f->profile = NULL;
		bytes.data[bytes.len / 2] ^= 1;
		assert_int_equal(file_write(path, buf_bytes(&bytes), 0600, NULL), 0);
		assert_int_equal(profile_open(f->dir, &again, NULL), KLUIS_ECORRUPT);
		bytes.data[bytes.len / 2] ^= 1;
		assert_int_equal(file_write(path, buf_bytes(&bytes), 0600, NULL), 0);
		assert_int_equal(profile_open(f->dir, &f->profile, &f->err), 0);
	}
}

/* Every cut of either payload is refused. */
static void test_truncated(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf person = BUF_INIT, chain = BUF_INIT;
	struct profile *p = f->profile;

	assert_int_equal(
		profile_read(p, "person", PROFILE_PERSON, PROFILE_FILE_BYTES_MAX, &person, NULL),
		0);
	assert_int_equal(
		profile_read(p, "identity", PROFILE_IDENTITY, PROFILE_FILE_BYTES_MAX, &chain, NULL),
		0);
	for (size_t len = 0; len < person.len; len++) {
		person_lock(p);
		person_free(p->person);
		p->person = person_new();
		assert_int_equal(person_parse(p, bytes_of(person.data, len), NULL), KLUIS_ECORRUPT);
	}
	for (size_t len = 0; len < chain.len; len++) {
		if (len != 4 + f->genesis.len) { /* A chain that ends earlier. */
			assert_int_not_equal(
				person_parse_chain(p, bytes_of(chain.data, len), NULL), 0);
		}
	}
}

int main(void)
{
#define PERSON_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		PERSON_TEST(test_unlock),
		PERSON_TEST(test_not_enrolled),
		PERSON_TEST(test_sealed_at_rest),
		PERSON_TEST(test_new_password),
		PERSON_TEST(test_old_keyring),
		PERSON_TEST(test_other_keys),
		PERSON_TEST(test_foreign_transfer_key),
		PERSON_TEST(test_attach_foreign_transfer_key),
		PERSON_TEST(test_object_pins),
		PERSON_TEST(test_object_fork),
		PERSON_TEST(test_chain_pins),
		PERSON_TEST(test_restore),
		PERSON_TEST(test_keyring_keeps),
		PERSON_TEST(test_chain_pin),
		PERSON_TEST(test_attach),
		PERSON_TEST(test_damaged),
		PERSON_TEST(test_truncated),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}

#include "cli/client/person.h"

#include <assert.h>
#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "base/wire.h"
#include "crypto/seal.h"

enum {
	PERSON_KEY_BYTES = SEAL_KEY_BYTES,
	PERSON_WRAP_BYTES = PERSON_KEY_BYTES + SEAL_OVERHEAD_BYTES,
	PERSON_SEALED_BYTES_MAX = 4096,
	PERSON_HAS_KDF = 1,
	PERSON_SALT_KEY_BYTES = 32,
};

struct person_keys *person_new(void)
{
	return x_calloc(1, sizeof(struct person_keys));
}

void person_free(struct person_keys *p)
{
	if (p == NULL) {
		return;
	}
	secret_release(&p->account_key);
	buf_release(&p->by_password);
	buf_release(&p->by_ring);
	buf_release(&p->device_sealed);
	buf_release(&p->krk_sealed);
	buf_release(&p->keyring);
	buf_release(&p->chain);
	secret_release(&p->local_key);
	ring_free(p->ring);
	free(p);
}

/* A run that is absent or exactly `len` long. */
static void take_optional(struct wire *w, size_t len, struct buf *to)
{
	struct bytes run = wire_lp16(w, PERSON_SEALED_BYTES_MAX);

	if (len != 0 && run.len != 0 && run.len != len) {
		wire_fail(w);
	}
	buf_append_bytes(to, run);
}

int person_parse(struct profile *profile, struct bytes payload, struct err *e)
{
	struct person_keys *p = profile->person;
	struct wire w = wire_of(payload);
	unsigned flags = wire_u8(&w);
	struct bytes account_key;

	p->has_kdf = (flags & PERSON_HAS_KDF) != 0;
	wire_copy(&w, p->kdf, KDF_BYTES);
	account_key = wire_lp16(&w, PERSON_KEY_BYTES);
	take_optional(&w, PERSON_WRAP_BYTES, &p->by_password);
	take_optional(&w, PERSON_WRAP_BYTES, &p->by_ring);
	take_optional(&w, 0, &p->device_sealed);
	take_optional(&w, KEYRING_KRK_BYTES + SEAL_OVERHEAD_BYTES, &p->krk_sealed);
	buf_append_bytes(&p->keyring, wire_lp32(&w, KEYRING_BYTES_MAX));
	if (!wire_end(&w) || flags > PERSON_HAS_KDF ||
		(account_key.len != 0 && account_key.len != PERSON_KEY_BYTES)) {
		return err_set(e, KLUIS_ECORRUPT, "person: malformed");
	}
	secret_set(&p->account_key, account_key);
	return 0;
}

static int person_save_file(const struct profile *profile, struct err *e)
{
	const struct person_keys *p = profile->person;
	_cleanup_(secret_buf_release) struct buf payload = BUF_INIT; /* The account key. */

	buf_reserve(&payload, p->keyring.len + 16 * 1024);
	buf_put_u8(&payload, p->has_kdf ? PERSON_HAS_KDF : 0);
	buf_append(&payload, p->kdf, KDF_BYTES);
	buf_put_lp16(&payload, secret_bytes(&p->account_key));
	buf_put_lp16(&payload, buf_bytes(&p->by_password));
	buf_put_lp16(&payload, buf_bytes(&p->by_ring));
	buf_put_lp16(&payload, buf_bytes(&p->device_sealed));
	buf_put_lp16(&payload, buf_bytes(&p->krk_sealed));
	buf_put_lp32(&payload, buf_bytes(&p->keyring));
	return profile_write(profile, "person", PROFILE_PERSON, buf_bytes(&payload), e);
}

int person_load(struct profile *profile, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf payload = BUF_INIT;
	_cleanup_(buf_release) struct buf chain = BUF_INIT;
	int rc;

	buf_reserve(&payload, KEYRING_BYTES_MAX + 16 * 1024);
	rc = profile_read(profile, "person", PROFILE_PERSON, PROFILE_FILE_BYTES_MAX, &payload, e);
	rc = rc != 0 ? rc : person_parse(profile, buf_bytes(&payload), e);
	if (rc != 0) {
		return rc;
	}
	rc = profile_read(
		profile, "identity", PROFILE_IDENTITY, IDENTITY_CHAIN_BYTES_MAX, &chain, e);
	if (rc == KLUIS_ENOTFOUND) { /* It never came so far. */
		if (e != NULL) {
			*e = (struct err){0};
		}
		return 0;
	}
	rc = rc != 0 ? rc : person_parse_chain(profile, buf_bytes(&chain), e);
	if (rc == 0) {
		profile->enrolled = profile->enrolled && person_device_active(profile);
	}
	return rc;
}

int person_make(const char *dir, const struct api_cluster *cluster, const char *user,
	const char *const *endpoints, size_t n_endpoints, struct profile **ret_profile,
	struct err *e)
{
	struct profile *profile;
	int rc = profile_make_empty(dir, cluster, user, endpoints, n_endpoints, &profile, e);

	if (rc != 0) {
		return rc;
	}
	profile->person = person_new();
	*ret_profile = profile;
	return 0;
}

int person_save(const struct profile *profile, struct err *e)
{
	const struct person_keys *p = profile->person;
	int rc = p->chain.len == 0 ? 0
				   : profile_write(profile, "identity", PROFILE_IDENTITY,
					     buf_bytes(&p->chain), e);

	rc = rc != 0 ? rc : person_save_file(profile, e);
	return rc != 0 ? rc : profile_save_settings(profile, e);
}

/* The local key's place, and nobody else's. */
static void local_context(const struct profile *profile, const char *what, struct buf *ctx)
{
	buf_put_str(ctx, what);
	buf_append(ctx, profile->user_id, ID_BYTES);
}

static void password_wrap_key(
	const struct profile *profile, struct bytes root, struct secret *ret_key)
{
	const struct bytes info[] = {
		bytes_str("kluis/v1/local-password"), bytes_of(profile->user_id, ID_BYTES)};

	assert(root.len == HASH_BYTES);
	secret_init(ret_key, PERSON_KEY_BYTES);
	hkdf_expand(root.data, info, ARRAY_SIZE(info), ret_key->data, ret_key->len);
}

/* local: one of keyring_local_key(). */
static void ring_wrap_key(const struct profile *profile, struct bytes local, struct secret *ret_key)
{
	const struct bytes info[] = {
		bytes_str("kluis/v1/local-ring"), bytes_of(profile->user_id, ID_BYTES)};

	secret_init(ret_key, PERSON_KEY_BYTES);
	hkdf(bytes_of(NULL, 0), local, info, ARRAY_SIZE(info), ret_key->data, ret_key->len);
}

static void local_seal(const struct profile *profile, const struct secret *key, const char *what,
	struct bytes plaintext, struct buf *to)
{
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;

	local_context(profile, what, &ctx);
	buf_clear(to);
	seal_make(secret_bytes(key), buf_bytes(&ctx), plaintext, &random_system, to);
}

static int local_open(const struct profile *profile, const struct secret *key, const char *what,
	const struct buf *sealed, struct secret *ret_plaintext, struct err *e)
{
	_cleanup_(buf_release) struct buf ctx = BUF_INIT;

	local_context(profile, what, &ctx);
	return seal_open(secret_bytes(key), buf_bytes(&ctx), buf_bytes(sealed), ret_plaintext, e);
}

static void device_seal(struct profile *profile)
{
	_cleanup_(secret_buf_release) struct buf plain = BUF_INIT;

	buf_reserve(&plain, 1024);
	profile_put_key(&plain, profile->device);
	profile_put_key(&plain, profile->device_hpke);
	buf_append_bytes(&plain, secret_bytes(&profile->salt_key));
	local_seal(profile, &profile->person->local_key, "device", buf_bytes(&plain),
		&profile->person->device_sealed);
}

static void device_drop(struct profile *profile)
{
	key_free(profile->device);
	key_free(profile->device_hpke);
	profile->device = profile->device_hpke = NULL;
	secret_release(&profile->salt_key);
}

/* The keys must be those that the chain names for this device, once it does. */
static int device_check(const struct profile *profile, struct err *e)
{
	const struct identity_device *device =
		identity_device(&profile->identity, profile->device_id);

	if (device != NULL && !key_pub_equal(device->sign, key_public(profile->device))) {
		return err_set(e, KLUIS_ECORRUPT, "the device key is not that of the identity");
	}
	return 0;
}

static int device_open(struct profile *profile, struct err *e)
{
	_cleanup_(secret_release) struct secret plain = SECRET_INIT;
	struct wire w;
	struct bytes salt;
	int rc;

	if (profile->person->device_sealed.len == 0) {
		return 0;
	}
	device_drop(profile);
	rc = local_open(profile, &profile->person->local_key, "device",
		&profile->person->device_sealed, &plain, e);
	if (rc != 0) {
		return rc;
	}
	w = wire_of(secret_bytes(&plain));
	rc = profile_take_key(&w, KEY_ECDSA_P256, &profile->device, e);
	rc = rc != 0 ? rc : profile_take_key(&w, KEY_KEM_P256, &profile->device_hpke, e);
	salt = wire_bytes(&w, PERSON_SALT_KEY_BYTES);
	if (rc == 0 && !wire_end(&w)) {
		rc = err_set(e, KLUIS_ECORRUPT, "device keys: malformed");
	}
	rc = rc != 0 ? rc : device_check(profile, e);
	if (rc != 0) {
		device_drop(profile);
		return rc;
	}
	secret_set(&profile->salt_key, salt);
	return 0;
}

/* What others give to the user by: the keyring's key, and none that it has not, or they would give
 * to somebody else. rsa may be NULL. */
static bool transfers_are_mine(
	const struct identity *identity, const struct key_pub *transfer, const struct key_pub *rsa)
{
	bool current = false;

	for (size_t i = 0; i < IDENTITY_TRANSFER_MAX; i++) {
		const struct key_pub *named = identity->transfer[i];

		if (named == NULL) {
			continue;
		}
		if (key_pub_equal(named, transfer)) {
			current = true;
		} else if (rsa == NULL || !key_pub_equal(named, rsa)) {
			return false;
		}
	}
	return current;
}

int person_check_transfer(const struct identity *identity, struct ring *ring, struct err *e)
{
	_cleanup_(key_pub_freep) struct key_pub *transfer = NULL, *rsa = NULL;
	struct err why = {0};
	int rc = identity_transfer(identity, KEY_KEM_RSA) == NULL
			 ? 0
			 : ring->transfer(ring, true, &rsa, &why);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return err_set(e, rc, "%s", why.text);
	}
	/* After it: KLUIS_ENOTFOUND also says that no agent is there any more. */
	rc = ring->transfer(ring, false, &transfer, e);
	return rc != 0 || transfers_are_mine(identity, transfer, rsa)
		       ? rc
		       : err_set(e, KLUIS_EVERIFY,
				 "the cluster names another key for others to give to you by than "
				 "your keyring holds (if a device of yours changed it: sign in)");
}

/* The current signing key, or the one that was to follow when the chain names that already: then
 * account_finish_keys() was cut short. */
static int signing_take(const struct profile *profile, const struct keyring *keyring,
	struct key **ret_signing, struct err *e)
{
	struct key *next = NULL;
	int rc = key_decode(KEY_RSA_PSS, keyring_field(keyring, KEYRING_SIGNING), ret_signing, e);

	if (rc == 0 && profile->identity.seq > 0 &&
		keyring_next_signing(keyring, &next, NULL) == 0) {
		if (key_pub_equal(profile->identity.signing, key_public(next))) {
			key_free(*ret_signing);
			*ret_signing = next;
		} else {
			key_free(next);
		}
	}
	return rc;
}

static int user_keys_take(struct profile *profile, const struct keyring *keyring, struct err *e)
{
	struct key *signing = NULL, *transfer = NULL;
	struct bytes pub = keyring_field(keyring, KEYRING_TRANSFER_PUB);
	int rc = signing_take(profile, keyring, &signing, e);

	rc = rc != 0 ? rc
		     : key_decode(key_kem_of_length(pub.len),
			       keyring_field(keyring, KEYRING_TRANSFER), &transfer, e);
	if (rc == 0 && profile->identity.seq > 0 &&
		(!key_pub_equal(profile->identity.signing, key_public(signing)) ||
			!transfers_are_mine(&profile->identity, key_public(transfer),
				keyring->rsa == NULL ? NULL : key_public(keyring->rsa)))) {
		rc = err_set(e, KLUIS_EVERIFY,
			"the cluster names other keys for you than your keyring holds");
	}
	if (rc != 0) {
		key_free(signing);
		key_free(transfer);
		return rc;
	}
	key_free(profile->signing);
	key_free(profile->transfer);
	profile->signing = signing;
	profile->transfer = transfer;
	return 0;
}

/* Unlocked: all of the profile's keys are here. Takes what *keyring holds when it succeeds, or
 * nothing. */
static int person_begin(struct profile *profile, struct keyring *keyring, struct err *e)
{
	int rc = user_keys_take(profile, keyring, e);

	rc = rc != 0 ? rc : device_open(profile, e);
	if (rc == 0) {
		ring_free(profile->person->ring);
		profile->person->ring = ring_local_new(keyring);
	}
	return rc;
}

void person_lock(struct profile *profile)
{
	struct person_keys *p = profile->person;

	secret_release(&p->local_key);
	ring_free(p->ring);
	p->ring = NULL;
	key_free(profile->signing);
	key_free(profile->transfer);
	profile->signing = profile->transfer = NULL;
	device_drop(profile);
}

/* By the keyring's local key of now, or of as many password changes ago as this device missed. */
static int local_key_by_ring(struct profile *profile, const struct keyring *keyring,
	struct secret *ret_key, struct err *e)
{
	struct bytes local;

	if (profile->person->by_ring.len == 0) {
		struct bytes made = secret_bytes(&profile->person->local_key);

		secret_random(ret_key, PERSON_KEY_BYTES, &random_system);
		if (made.len > 0) { /* By person_make_device(), before there was a keyring. */
			secret_set(ret_key, made);
		}
		return 0;
	}
	for (size_t n = 0; (local = keyring_local_key(keyring, n)).len > 0; n++) {
		_cleanup_(secret_release) struct secret wrap = SECRET_INIT;

		ring_wrap_key(profile, local, &wrap);
		if (local_open(profile, &wrap, "local", &profile->person->by_ring, ret_key, NULL) ==
			0) {
			return 0;
		}
	}
	return err_set(
		e, KLUIS_ECORRUPT, "the profile's files are not under the key of this keyring");
}

static void person_wrap(struct profile *profile, const struct keyring *keyring, struct bytes root)
{
	struct person_keys *p = profile->person;
	_cleanup_(secret_release) struct secret wrap = SECRET_INIT;

	password_wrap_key(profile, root, &wrap);
	local_seal(profile, &wrap, "local", secret_bytes(&p->local_key), &p->by_password);
	ring_wrap_key(profile, keyring_local_key(keyring, 0), &wrap);
	local_seal(profile, &wrap, "local", secret_bytes(&p->local_key), &p->by_ring);
	local_seal(profile, &p->local_key, "krk", secret_bytes(&keyring->krk), &p->krk_sealed);
}

/* What was pinned may move back once the user has accepted an operator's restore to the lineage
 * that the cluster is of now. */
bool person_is_restored(const struct profile *profile)
{
	_cleanup_(x_freep) char *path = profile_path(profile, "restored");
	_cleanup_(buf_release) struct buf lineage = BUF_INIT;

	return file_read(path, ID_BYTES, &lineage, NULL) == 0 &&
	       bytes_equal(buf_bytes(&lineage), bytes_of(profile->lineage, ID_BYTES));
}

int person_accept_restore(
	const struct profile *profile, const uint8_t lineage[ID_BYTES], struct err *e)
{
	_cleanup_(x_freep) char *path = profile_path(profile, "restored");

	return file_write(path, bytes_of(lineage, ID_BYTES), 0600, e);
}

/* The new pins stand: the consent is used up. */
static int person_settled(const struct profile *profile, struct err *e)
{
	int rc = person_save(profile, e);

	return rc != 0 ? rc : profile_remove(profile, "restored", e);
}

int person_settle(const struct profile *profile, struct err *e)
{
	return person_is_restored(profile) ? person_settled(profile, e) : 0;
}

/* What this profile knew of the keyring must be in the new one, under whatever KRK. local_key: what
 * its files are sealed under. */
static int person_keeps(const struct profile *profile, const struct secret *local_key,
	const struct keyring *fresh, struct err *e)
{
	const struct person_keys *p = profile->person;
	_cleanup_(secret_release) struct secret krk = SECRET_INIT;
	_cleanup_(keyring_release) struct keyring old = {0};
	int rc;

	if (p->keyring.len == 0 || p->krk_sealed.len == 0 || person_is_restored(profile)) {
		return 0;
	}
	rc = local_open(profile, local_key, "krk", &p->krk_sealed, &krk, e);
	rc = rc != 0 ? rc
		     : ring_open(buf_bytes(&p->keyring), profile->user_id, secret_bytes(&krk), &old,
			       e);
	return rc != 0 ? err_wrap(e, KLUIS_ECORRUPT, "profile '%s'", profile->dir)
		       : keyring_keeps(&old, fresh, e);
}

int person_check_keyring(struct profile *profile, const struct keyring *keyring, struct err *e)
{
	_cleanup_(secret_release) struct secret key = SECRET_INIT;
	int rc = local_key_by_ring(profile, keyring, &key, e);

	return rc != 0 ? rc : person_keeps(profile, &key, keyring, e);
}

/* Who has an old copy of the files and an old password has the local key of then: with every new
 * password or keyring key it opens nothing more. */
static void person_rekey(struct profile *profile, const struct keyring *keyring, struct bytes root)
{
	struct person_keys *p = profile->person;

	secret_random(&p->local_key, PERSON_KEY_BYTES, &random_system);
	if (p->device_sealed.len > 0) {
		device_seal(profile);
	}
	person_wrap(profile, keyring, root);
}

int person_take(struct profile *profile, struct keyring *keyring, struct bytes object,
	struct bytes root, struct err *e)
{
	struct person_keys *p = profile->person;
	_cleanup_(secret_release) struct secret key = SECRET_INIT;
	int rc = local_key_by_ring(profile, keyring, &key, e);

	rc = rc != 0 ? rc : person_keeps(profile, &key, keyring, e);
	if (rc != 0) {
		keyring_release(keyring);
		return rc;
	}
	secret_move(&p->local_key, &key);
	rc = person_begin(profile, keyring, e);
	if (rc != 0) {
		person_lock(profile);
		keyring_release(keyring);
		return rc;
	}
	person_rekey(profile, ring_local(p->ring), root);
	if (object.data != p->keyring.data) {
		buf_clear(&p->keyring);
		buf_append_bytes(&p->keyring, object);
	}
	return person_settled(profile, e);
}

int person_take_keys(struct profile *profile, struct err *e)
{
	const struct keyring *keyring = ring_local(profile->person->ring);

	return keyring == NULL ? 0 : user_keys_take(profile, keyring, e);
}

int person_take_object(struct profile *profile, struct bytes object, struct err *e)
{
	struct person_keys *p = profile->person;
	struct ring_kept *kept = NULL;
	struct err ignored = {0};
	int rc = ring_keep(p->ring, &kept, e);

	rc = rc != 0 ? rc : p->ring->load(p->ring, object, e);
	if (rc == 0 && !person_is_restored(profile)) {
		rc = ring_check_kept(p->ring, kept, e);
		if (rc != 0 && p->ring->load(p->ring, buf_bytes(&p->keyring), &ignored) != 0) {
			person_lock(profile);
		}
	}
	ring_kept_free(kept);
	if (rc != 0) {
		return rc;
	}
	buf_clear(&p->keyring);
	buf_append_bytes(&p->keyring, object);
	return person_save(profile, e); /* The chain may have to follow a restore yet. */
}

int person_check_object(
	const struct profile *profile, const struct keyring_view *view, struct err *e)
{
	struct keyring_view known;
	int rc;

	if (memcmp(view->user_id, profile->user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EVERIFY, "the cluster sent the keyring of another user");
	}
	if (profile->person->keyring.len == 0 || person_is_restored(profile)) {
		return 0;
	}
	rc = keyring_parse(buf_bytes(&profile->person->keyring), &known, e);
	if (rc != 0) {
		return err_set(e, KLUIS_ECORRUPT, "the profile's copy of the keyring is malformed");
	}
	if (view->revision < known.revision) {
		return err_set(e, KLUIS_EPIN,
			"the cluster shows revision %llu of the keyring, this profile has seen "
			"%llu: it was rolled back",
			(unsigned long long)view->revision, (unsigned long long)known.revision);
	}
	if ((view->revision == known.revision && memcmp(view->hash, known.hash, HASH_BYTES) != 0) ||
		(view->revision == known.revision + 1 &&
			memcmp(view->prev_hash, known.hash, HASH_BYTES) != 0)) {
		return err_set(e, KLUIS_EPIN,
			"the cluster shows another keyring than this profile has seen (fork at "
			"revision %llu)",
			(unsigned long long)known.revision);
	}
	return 0;
}

int person_unlock(struct profile *profile, struct bytes root, struct err *e)
{
	struct person_keys *p = profile->person;
	_cleanup_(secret_release) struct secret wrap = SECRET_INIT, krk = SECRET_INIT;
	_cleanup_(keyring_release) struct keyring keyring = {0};
	int rc;

	if (p->by_password.len == 0 || p->keyring.len == 0) {
		return err_set(e, KLUIS_ENOTFOUND, "this profile was never unlocked: sign in");
	}
	password_wrap_key(profile, root, &wrap);
	if (local_open(profile, &wrap, "local", &p->by_password, &p->local_key, e) != 0) {
		return err_set(e, KLUIS_EVERIFY, "that is not the password of this profile");
	}
	rc = local_open(profile, &p->local_key, "krk", &p->krk_sealed, &krk, e);
	rc = rc != 0 ? rc
		     : ring_open(buf_bytes(&p->keyring), profile->user_id, secret_bytes(&krk),
			       &keyring, e);
	rc = rc != 0 ? rc : person_begin(profile, &keyring, e);
	if (rc != 0) {
		person_lock(profile);
		return err_wrap(e, rc, "profile '%s'", profile->dir);
	}
	return 0;
}

void person_reset(struct profile *profile)
{
	person_lock(profile);
	person_free(profile->person);
	profile->person = person_new();
	identity_release(&profile->identity);
	identity_init(&profile->identity);
	memset(profile->user_id, 0, ID_BYTES);
	memset(profile->device_id, 0, ID_BYTES);
	profile->enrolled = false;
}

int person_ready(const struct profile *profile, struct err *e)
{
	if (profile->person == NULL || profile->person->ring == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "the profile of '%s' is locked",
			profile->account);
	}
	if (!profile->enrolled || profile->device == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED,
			"this device may read, not write: another one of '%s' has to approve it",
			profile->account);
	}
	return 0;
}

static int attach_check(
	const struct profile *profile, const struct person_held *held, struct err *e)
{
	const struct identity *me = &profile->identity;
	const struct identity_device *device = identity_device(me, profile->device_id);

	if (me->seq == 0 || !key_pub_equal(me->signing, key_public(held->signing)) ||
		(held->device != NULL && (device == NULL || !key_pub_equal(device->sign,
								    key_public(held->device))))) {
		return err_set(e, KLUIS_EVERIFY, "the agent holds the keys of another profile");
	}
	return person_check_transfer(me, held->ring, e);
}

int person_attach(struct profile *profile, struct person_held *held, struct err *e)
{
	int rc = attach_check(profile, held, e);

	person_lock(profile);
	if (rc != 0) {
		key_free(held->device);
		key_free(held->signing);
		secret_release(&held->salt_key);
		ring_free(held->ring);
	} else {
		profile->device = held->device;
		profile->signing = held->signing;
		secret_move(&profile->salt_key, &held->salt_key);
		profile->person->ring = held->ring;
	}
	*held = (struct person_held){0};
	return rc;
}

int person_make_device(struct profile *profile, struct err *e)
{
	int rc;

	if (profile->person->local_key.len == 0) {
		assert(profile->person->by_ring.len == 0); /* Else it would be another one. */
		secret_random(&profile->person->local_key, PERSON_KEY_BYTES, &random_system);
	}
	device_drop(profile);
	rc = key_generate(KEY_ECDSA_P256, 0, &profile->device, e);
	rc = rc != 0 ? rc : key_generate(KEY_KEM_P256, 0, &profile->device_hpke, e);
	if (rc != 0) {
		device_drop(profile);
		return rc;
	}
	secret_random(&profile->salt_key, PERSON_SALT_KEY_BYTES, &random_system);
	random_fill(&random_system, profile->device_id, ID_BYTES);
	device_seal(profile);
	return person_save(profile, e);
}

/* Where a password begins: registration, a new one, and recovery. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "cli/client/account_impl.h"

/* Everything that comes with a new password. Zeroed; fresh_release() clears it. */
struct fresh {
	struct password_keys keys;
	struct kdf kdf;
	uint8_t block[KDF_BYTES], salt[SRP_SALT_BYTES], slot_id[ID_BYTES];
	unsigned group;
	struct secret verifier, share, code;
	struct recovery recovery;
	struct buf object; /* The keyring. */
};

static void fresh_init(struct fresh *f)
{
	*f = (struct fresh){.group = SRP_GROUP_DEFAULT};
	password_keys_init(&f->keys);
}

static void fresh_release(struct fresh *f)
{
	password_keys_release(&f->keys);
	secret_release(&f->verifier);
	secret_release(&f->share);
	secret_release(&f->code);
	recovery_release(&f->recovery);
	buf_release(&f->object);
}

/* Counts: those asked for, or a second's worth; never below what the account had. */
static void fresh_counts(const struct account_terms *terms, uint32_t login_pin,
	uint32_t keyring_pin, bool account_key, struct fresh *f)
{
	uint32_t count = terms->login_count;

	if (count == 0) {
		count = kdf_calibrate(&clock_system, KDF_TARGET_MS);
	}
	count = count < login_pin ? login_pin : count;
	f->kdf.flags = account_key ? KDF_ACCOUNT_KEY : 0;
	f->kdf.login_count = count;
	f->kdf.keyring_count = 2 * count < keyring_pin ? keyring_pin : 2 * count;
	random_fill(&random_system, f->kdf.salt, sizeof f->kdf.salt);
}

static int fresh_terms_check(const struct account_terms *terms, struct err *e)
{
	if (terms->group != 0 && srp_group_bytes(terms->group) == 0) {
		return err_set(e, KLUIS_ESUITE, "no such SRP group: %u", terms->group);
	}
	if (terms->login_count != 0 &&
		(terms->login_count < KDF_LOGIN_MIN || terms->login_count > KDF_SUM_MAX / 3)) {
		return err_set(
			e, KLUIS_EINVAL, "PBKDF2 rounds: %d to %d", KDF_LOGIN_MIN, KDF_SUM_MAX / 3);
	}
	return 0;
}

static int fresh_keys(const struct profile *profile, struct bytes typed,
	const struct account_terms *terms, const struct keyring *old, struct fresh *f,
	struct err *e)
{
	_cleanup_(secret_release) struct secret prepared = SECRET_INIT;
	struct bytes account_key = secret_bytes(&profile->person->account_key);
	int rc = fresh_terms_check(terms, e);

	rc = rc != 0 ? rc : password_prepare(typed, &prepared, e);
	rc = rc != 0 ? rc : password_check(secret_bytes(&prepared), e);
	if (rc != 0) {
		return rc;
	}
	fresh_counts(terms, old->min_n_l, old->min_n_k, account_key.len > 0, f);
	f->group = terms->group == 0 ? SRP_GROUP_DEFAULT : terms->group;
	kdf_encode(&f->kdf, f->block);
	return password_derive(secret_bytes(&prepared), bytes_str(profile->account), &f->kdf,
		account_key, &f->keys, e);
}

static void fresh_verifier(const struct profile *profile, struct fresh *f)
{
	struct srp_terms terms = {.group = f->group, .user = bytes_str(profile->account)};

	random_fill(&random_system, f->salt, sizeof f->salt);
	memcpy(terms.salt, f->salt, sizeof terms.salt);
	memcpy(terms.kdf, f->block, sizeof terms.kdf);
	memcpy(terms.cluster_id, profile->cluster_id, ID_BYTES);
	srp_verifier(&terms, secret_bytes(&f->keys.srp), &f->verifier);
}

/* The two slots, of the password and of a new recovery code, and the object. */
static int fresh_keyring(
	const struct profile *profile, struct keyring *keyring, struct fresh *f, struct err *e)
{
	_cleanup_(secret_release) struct secret kek = SECRET_INIT;
	struct keyring_slot password = {.type = KEYRING_SLOT_PASSWORD, .sym = keyring->sym};
	struct keyring_slot recovery = {.type = KEYRING_SLOT_RECOVERY, .sym = keyring->sym};

	random_fill(&random_system, f->slot_id, ID_BYTES);
	random_fill(&random_system, recovery.slot_id, ID_BYTES);
	memcpy(password.slot_id, f->slot_id, ID_BYTES);
	memcpy(password.kdf, f->block, KDF_BYTES);
	secret_random(&f->share, UNLOCK_SHARE_BYTES, &random_system);
	password_kek(secret_bytes(&f->keys.root), secret_bytes(&f->share), profile->user_id,
		f->slot_id, &kek);
	keyring_put_slot(keyring, &password, secret_bytes(&kek), &random_system);
	secret_random(&f->code, RECOVERY_SECRET_BYTES, &random_system);
	recovery_derive(secret_bytes(&f->code), profile->user_id, &f->recovery);
	keyring_put_slot(keyring, &recovery, secret_bytes(&f->recovery.kek), &random_system);
	keyring->min_n_l = f->kdf.login_count;
	keyring->min_n_k = f->kdf.keyring_count;
	return keyring_seal(keyring, clock_wall_ms(&clock_system), &random_system, &f->object, e);
}

static void fresh_credentials(const struct fresh *f, struct api_credentials *c)
{
	*c = (struct api_credentials){.group = f->group,
		.verifier = secret_bytes(&f->verifier),
		.unlock_share = secret_bytes(&f->share),
		.recovery_key = key_pub_bytes(key_public(f->recovery.auth)),
		.keyring = buf_bytes(&f->object)};
	memcpy(c->salt, f->salt, sizeof c->salt);
	memcpy(c->kdf, f->block, sizeof c->kdf);
	memcpy(c->slot_id, f->slot_id, ID_BYTES);
}

static void fresh_adopt(struct profile *profile, const struct fresh *f)
{
	memcpy(profile->person->kdf, f->block, KDF_BYTES);
	profile->person->has_kdf = true;
}

/* Registration. */

struct registering {
	struct key *signing, *transfer;
	struct buf genesis, device;
	struct fresh fresh;
	struct keyring keyring;
};

static int register_keys(const struct account_terms *terms, struct registering *r, struct err *e)
{
	unsigned bits = terms->rsa_bits == 0 ? KEY_RSA_BITS : terms->rsa_bits;
	int rc = key_generate(KEY_RSA_PSS, bits, &r->signing, e);

	return rc != 0 ? rc : key_generate(KEY_KEM_P256, 0, &r->transfer, e);
}

static int register_statements(
	struct profile *profile, const char *device_name, struct registering *r, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct identity identity;
	uint64_t now_ms = clock_wall_ms(&clock_system);
	int rc;

	identity_init(&identity);
	rc = identity_genesis(profile->user_id, profile->account, r->signing,
		key_public(r->transfer), now_ms, &r->genesis, e);
	rc = rc != 0 ? rc : identity_append(&identity, buf_bytes(&r->genesis), e);
	if (rc == 0) {
		identity_body_device(&body, profile->device_id, key_public(profile->device),
			key_public(profile->device_hpke), device_name);
		rc = identity_make(&identity, IDENTITY_DEVICE_ADD, buf_bytes(&body), r->signing,
			now_ms, &r->device, e);
	}
	identity_release(&identity);
	return rc;
}

/* Keys and keyring of a person who did not exist so far, all of them on disk before anybody hears
 * of them. */
static int register_make(struct profile *profile, const struct account_registration *reg,
	struct registering *r, struct err *e)
{
	struct bytes chain[2];
	int rc;

	person_reset(profile);
	random_fill(&random_system, profile->user_id, ID_BYTES);
	if (!reg->terms.no_account_key) {
		secret_random(&profile->person->account_key, ACCOUNT_KEY_BYTES, &random_system);
	}
	rc = fresh_keys(profile, reg->password, &reg->terms, &r->keyring, &r->fresh, e);
	rc = rc != 0 ? rc : register_keys(&reg->terms, r, e);
	rc = rc != 0 ? rc : person_make_device(profile, e);
	rc = rc != 0 ? rc : register_statements(profile, reg->device_name, r, e);
	rc = rc != 0 ? rc
		     : keyring_make(profile->user_id,
			       reg->terms.sym == 0 ? SYM_AES_256 : reg->terms.sym, r->signing,
			       r->transfer, secret_bytes(&profile->person->account_key),
			       &random_system, &r->keyring, e);
	if (rc != 0) {
		return rc;
	}
	fresh_verifier(profile, &r->fresh);
	rc = fresh_keyring(profile, &r->keyring, &r->fresh, e);
	if (rc != 0) {
		return rc;
	}
	keyring_sealed(&r->keyring, buf_bytes(&r->fresh.object));
	chain[0] = buf_bytes(&r->genesis);
	chain[1] = buf_bytes(&r->device);
	rc = person_take_chain(profile, chain, ARRAY_SIZE(chain), e);
	profile->enrolled = false; /* The cluster has not said so yet. */
	fresh_adopt(profile, &r->fresh);
	return rc != 0 ? rc
		       : person_take(profile, &r->keyring, buf_bytes(&r->fresh.object),
				 secret_bytes(&r->fresh.keys.root), e);
}

static int register_send(const struct profile *profile, struct client *client,
	const struct account_registration *reg, const struct registering *r, struct err *e)
{
	struct api_register request = {.user = profile->account,
		.user_id = profile->user_id,
		.identity = buf_bytes(&r->genesis),
		.device = buf_bytes(&r->device),
		.invite = reg->invite};

	fresh_credentials(&r->fresh, &request.credentials);
	return api_register(client, &request, e);
}

static int register_login(
	struct profile *profile, struct client *client, struct bytes password, struct err *e)
{
	struct account_login login = {.root = SECRET_INIT};
	int rc = account_login(profile, client, password, bytes_of(NULL, 0), &login, e);

	rc = rc != 0 ? rc : account_unlock(profile, client, &login, e);
	account_login_release(&login);
	return rc;
}

/* An earlier run's answer was lost: if the cluster has that account, its keys are here, and only
 * the recovery code was never shown. */
static int register_resume(struct profile *profile, struct client *client,
	const struct account_registration *reg, struct secret *ret_code, struct err *e)
{
	int rc;

	profile->enrolled = true; /* Tried as such. */
	rc = register_login(profile, client, reg->password, e);
	profile->enrolled = profile->enrolled && rc == 0;
	return rc != 0 ? rc
		       : account_passwd(profile, client, reg->password, &reg->terms, ret_code, e);
}

/* Refused for good: what was made is nobody's, and the next try may choose otherwise. */
static void register_forget(struct profile *profile, int why)
{
	struct err ignored = {0};

	person_lock(profile);
	if (why == KLUIS_ECONFLICT || why == KLUIS_EFORBIDDEN || why == KLUIS_EINVAL ||
		why == KLUIS_ESUITE) {
		person_reset(profile);
		/* Else the next try is asked for the same password once more. */
		(void)(profile_remove(profile, "identity", &ignored) != 0 ||
			person_save(profile, &ignored) != 0);
	}
}

static int register_run(struct profile *profile, struct client *client,
	const struct account_registration *reg, struct registering *r, struct err *e)
{
	int rc = register_make(profile, reg, r, e);

	rc = rc != 0 ? rc : register_send(profile, client, reg, r, e);
	if (rc != 0) {
		register_forget(profile, rc);
		return err_wrap(e, rc, "register '%s'", profile->account);
	}
	profile->enrolled = true;
	rc = person_save(profile, e);
	return rc != 0 ? rc : register_login(profile, client, reg->password, e);
}

static int register_check(
	const struct profile *profile, const struct account_registration *reg, struct err *e)
{
	size_t len = strlen(reg->device_name);

	if (!identity_name_valid(bytes_str(profile->account))) {
		return err_set(e, KLUIS_EINVAL,
			"'%s' is no user name: 1 to 64 of a-z 0-9 . _ @ + -", profile->account);
	}
	if (len > IDENTITY_DEVICE_NAME_BYTES_MAX || !utf8_valid(bytes_str(reg->device_name))) {
		return err_set(e, KLUIS_EINVAL, "a device's name is at most %d bytes of UTF-8",
			IDENTITY_DEVICE_NAME_BYTES_MAX);
	}
	return 0;
}

int account_register(struct profile *profile, struct client *client,
	const struct account_registration *reg, struct secret *ret_code, struct err *e)
{
	struct registering r = {.signing = NULL};
	struct err before = {0};
	int rc = register_check(profile, reg, e);

	assert(profile->person != NULL);
	if (rc != 0) {
		return rc;
	}
	if (profile->enrolled) {
		return err_set(e, KLUIS_EEXIST, "'%s' is registered already", profile->account);
	}
	if (profile->person->keyring.len > 0) {
		/* Another password must not cost the keys of what may well be registered. */
		rc = account_unlock_offline(profile, reg->password, e);
		rc = rc != 0 ? rc : register_resume(profile, client, reg, ret_code, &before);
		if (rc != KLUIS_EUNAUTHENTICATED) {
			return before.code == 0 ? rc : err_set(e, rc, "%s", before.text);
		}
	}
	fresh_init(&r.fresh);
	rc = register_run(profile, client, reg, &r, e);
	if (rc == 0) {
		secret_move(ret_code, &r.fresh.code);
	}
	fresh_release(&r.fresh);
	keyring_release(&r.keyring);
	key_free(r.signing);
	key_free(r.transfer);
	buf_release(&r.genesis);
	buf_release(&r.device);
	return rc;
}

/* A new password over an open keyring: all of it sealed anew, sent, and taken as ours. */
static int renew(struct profile *profile, struct client *client, struct keyring *keyring,
	struct bytes password, const struct account_terms *terms, struct secret *ret_code,
	struct err *e)
{
	struct api_credentials credentials;
	struct fresh f;
	int rc;

	fresh_init(&f);
	rc = fresh_keys(profile, password, terms, keyring, &f, e);
	if (rc == 0) {
		fresh_verifier(profile, &f);
		keyring_rotate(keyring, &random_system);
		rc = fresh_keyring(profile, keyring, &f, e);
	}
	if (rc == 0) {
		fresh_credentials(&f, &credentials);
		rc = api_password(client, &credentials, e);
	}
	if (rc == 0) {
		keyring_sealed(keyring, buf_bytes(&f.object));
		fresh_adopt(profile, &f);
		secret_move(ret_code, &f.code); /* Whatever follows: it counts now. */
		rc = person_take(
			profile, keyring, buf_bytes(&f.object), secret_bytes(&f.keys.root), e);
	}
	fresh_release(&f);
	return rc;
}

int account_passwd(struct profile *profile, struct client *client, struct bytes password,
	const struct account_terms *terms, struct secret *ret_code, struct err *e)
{
	const struct keyring *open = ring_local(profile->person->ring);
	_cleanup_(keyring_release) struct keyring keyring = {0};
	int rc;

	if (open == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "sign in with the old password first");
	}
	/* A copy: whatever becomes of the call, the profile's stays as it is until then. */
	rc = ring_open(buf_bytes(&profile->person->keyring), profile->user_id,
		secret_bytes(&open->krk), &keyring, e);
	return rc != 0 ? rc : renew(profile, client, &keyring, password, terms, ret_code, e);
}

/* Recovery. */

static int recovery_of(
	const struct profile *profile, struct bytes code, struct recovery *ret, struct err *e)
{
	_cleanup_(secret_release) struct secret secret = SECRET_INIT;
	int rc = recovery_parse(code, &secret, e);

	if (rc == 0) {
		recovery_derive(secret_bytes(&secret), profile->user_id, ret);
	}
	return rc;
}

static int recover_sign(const struct profile *profile, const struct api_recovery *started,
	struct bytes code, struct buf *ret_signature, struct err *e)
{
	_cleanup_(recovery_release) struct recovery recovery = {.r_rec = SECRET_INIT};
	struct recovery_proof proof;
	int rc = recovery_of(profile, code, &recovery, e);

	if (rc != 0) {
		return rc;
	}
	memcpy(proof.cluster_id, profile->cluster_id, ID_BYTES);
	memcpy(proof.user_id, profile->user_id, ID_BYTES);
	memcpy(proof.challenge, started->challenge, RECOVERY_CHALLENGE_BYTES);
	return recovery_sign(&proof, recovery.auth, ret_signature, e);
}

int account_recover(struct profile *profile, struct client *client, struct bytes code,
	struct account_login *ret_login, struct err *e)
{
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	_cleanup_(secret_release) struct secret checked = SECRET_INIT;
	struct api_recovery started;
	struct api_grant grant = {.full = false};
	int rc = recovery_parse(code, &checked, e); /* A typing error goes nowhere. */

	client_set_token(client, NULL);
	rc = rc != 0 ? rc : api_recovery_start(client, profile->account, &started, e);
	rc = rc != 0 ? rc : account_take_user(profile, started.user_id, e);
	rc = rc != 0 ? rc : recover_sign(profile, &started, code, &signature, e);
	rc = rc != 0 ? rc : api_recovery_finish(client, &started, buf_bytes(&signature), &grant, e);
	if (rc == 0) {
		account_login_release(ret_login);
		account_granted(client, &grant, ret_login);
	}
	secret_clear(&grant, sizeof grant);
	return rc == 0 ? 0 : err_wrap(e, rc, "recover '%s'", profile->account);
}

static int recover_open(struct profile *profile, struct client *client, struct bytes code,
	struct keyring *ret_keyring, struct err *e)
{
	_cleanup_(recovery_release) struct recovery recovery = {.r_rec = SECRET_INIT};
	_cleanup_(secret_release) struct secret krk = SECRET_INIT;
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct keyring_view view;
	struct keyring_slot slot;
	struct bytes encoded;
	int rc = recovery_of(profile, code, &recovery, e);

	rc = rc != 0 ? rc : account_fetch_keyring(profile, client, &object, &view, e);
	if (rc != 0) {
		return rc;
	}
	encoded = keyring_view_find(&view, KEYRING_SLOT_RECOVERY, NULL, &slot);
	if (encoded.len == 0) {
		return err_set(e, KLUIS_EVERIFY, "the keyring has no slot of a recovery code");
	}
	rc = keyring_slot_open(encoded, profile->user_id, secret_bytes(&recovery.kek), &krk, e);
	return rc != 0 ? rc
		       : keyring_open(&view, profile->user_id, secret_bytes(&krk), ret_keyring, e);
}

int account_recover_finish(struct profile *profile, struct client *client, struct bytes code,
	struct bytes password, const struct account_terms *terms, struct secret *ret_code,
	struct err *e)
{
	_cleanup_(keyring_release) struct keyring keyring = {0};
	struct bytes account_key;
	int rc = recover_open(profile, client, code, &keyring, e);

	if (rc != 0) {
		return rc;
	}
	account_key = keyring_field(&keyring, KEYRING_ACCOUNT_KEY);
	secret_set(&profile->person->account_key, account_key);
	rc = renew(profile, client, &keyring, password, terms, ret_code, e);
	client_set_token(client, NULL); /* It ended. */
	return rc == 0 ? 0 : err_wrap(e, rc, "recover '%s'", profile->account);
}

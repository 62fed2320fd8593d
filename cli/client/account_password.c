/* Where a password begins: registration, a new one, and recovery. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "cli/client/account_impl.h"

enum { REGISTER_BYTES_MAX = 1 << 20 };
static const char register_file[] = "registering";

/* Everything that comes with a new password. Zeroed; fresh_release() clears it. */
struct fresh {
	struct account_keys keys;
	struct kdf kdf;
	uint8_t salt[SRP_SALT_BYTES], slot_id[ID_BYTES];
	unsigned group;
	struct secret verifier, share, code;
	struct recovery recovery;
	struct buf object; /* The keyring. */
};

static void fresh_init(struct fresh *f)
{
	*f = (struct fresh){.group = 0};
	password_keys_init(&f->keys.keys);
}

static void fresh_release(struct fresh *f)
{
	password_keys_release(&f->keys.keys);
	secret_release(&f->verifier);
	secret_release(&f->share);
	secret_release(&f->code);
	recovery_release(&f->recovery);
	buf_release(&f->object);
}

/* Counts: those asked for, or a second's worth; never below what the account had, which another
 * client may have weighted otherwise, nor in all above what anybody would take. */
static int fresh_counts(const struct account_terms *terms, const struct keyring *old,
	struct fresh *f, struct err *e)
{
	uint64_t login_pin = old->min_n_l, keyring_pin = old->min_n_k, count = terms->login_count;
	uint64_t keyring;

	if (count == 0) {
		count = kdf_calibrate(&clock_system, KDF_TARGET_MS);
	}
	count = count < login_pin ? login_pin : count;
	keyring = 2 * count < keyring_pin ? keyring_pin : 2 * count;
	if (count + keyring > KDF_SUM_MAX) {
		count = login_pin < KDF_LOGIN_MIN ? KDF_LOGIN_MIN : login_pin;
		keyring = 2 * count < keyring_pin ? keyring_pin : 2 * count;
	}
	if (count + keyring > KDF_SUM_MAX) {
		return err_set(e, KLUIS_EVERIFY, "the keyring asks for more PBKDF2 rounds than %d",
			KDF_SUM_MAX);
	}
	f->kdf.login_count = (uint32_t)count;
	f->kdf.keyring_count = (uint32_t)keyring;
	random_fill(&random_system, f->kdf.salt, sizeof f->kdf.salt);
	return 0;
}

/* The terms with what the cluster asks for where they leave it open. */
static int terms_asked(struct client *client, const struct account_terms *terms,
	struct account_terms *ret_terms, struct err *e)
{
	struct suites *suites = &ret_terms->suites;
	struct api_cluster cluster;
	int rc = api_well_known(client, &cluster, e);

	if (rc != 0) {
		return rc;
	}
	*ret_terms = *terms;
	suites->group = suites->group == 0 ? cluster.suites.group : suites->group;
	suites->sym = suites->sym == 0 ? cluster.suites.sym : suites->sym;
	suites->rsa_bits = suites->rsa_bits == 0 ? cluster.suites.rsa_bits : suites->rsa_bits;
	suites->kem = suites->kem == 0 ? cluster.suites.kem : suites->kem;
	api_cluster_release(&cluster);
	return 0;
}

static int fresh_terms_check(const struct account_terms *terms, struct err *e)
{
	if (srp_group_bytes(terms->suites.group) == 0) {
		return err_set(e, KLUIS_ESUITE, "no such SRP group: %u", terms->suites.group);
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
	rc = rc != 0 ? rc : fresh_counts(terms, old, f, e);
	if (rc != 0) {
		return rc;
	}
	f->kdf.flags = account_key.len > 0 ? KDF_ACCOUNT_KEY : 0;
	f->group = terms->suites.group;
	kdf_encode(&f->kdf, f->keys.block);
	return password_derive(secret_bytes(&prepared), bytes_str(profile->account), &f->kdf,
		account_key, &f->keys.keys, e);
}

static void fresh_verifier(const struct profile *profile, struct fresh *f)
{
	struct srp_terms terms = {.group = f->group, .user = bytes_str(profile->account)};

	random_fill(&random_system, f->salt, sizeof f->salt);
	memcpy(terms.salt, f->salt, sizeof terms.salt);
	memcpy(terms.kdf, f->keys.block, sizeof terms.kdf);
	memcpy(terms.cluster_id, profile->cluster_id, ID_BYTES);
	srp_verifier(&terms, secret_bytes(&f->keys.keys.srp), &f->verifier);
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
	memcpy(password.kdf, f->keys.block, KDF_BYTES);
	secret_random(&f->share, UNLOCK_SHARE_BYTES, &random_system);
	password_kek(secret_bytes(&f->keys.keys.root), secret_bytes(&f->share), profile->user_id,
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
	memcpy(c->kdf, f->keys.block, sizeof c->kdf);
	memcpy(c->slot_id, f->slot_id, ID_BYTES);
}

static void fresh_adopt(struct profile *profile, const struct fresh *f)
{
	memcpy(profile->person->kdf, f->keys.block, KDF_BYTES);
	profile->person->has_kdf = true;
}

/* Registration. */

struct registering {
	struct key *signing, *transfer;
	struct buf genesis, device;
	struct fresh fresh;
	struct keyring keyring;
};

/* What the password opens. The chain names an RSA key once the account is there
 * (account_finish_keys()). */
static int register_keyring(struct profile *profile, const struct account_terms *terms,
	struct registering *r, struct err *e)
{
	bool made;
	int rc = keyring_make(profile->user_id, terms->suites.sym, r->signing, r->transfer,
		secret_bytes(&profile->person->account_key), &random_system, &r->keyring, e);

	return rc != 0 || !terms->rsa_key ? rc : account_make_rsa(profile, &r->keyring, &made, e);
}

static int register_keys(const struct account_terms *terms, struct registering *r, struct err *e)
{
	int rc = key_generate(KEY_RSA_PSS, terms->suites.rsa_bits, &r->signing, e);

	return rc != 0 ? rc : key_generate(terms->suites.kem, 0, &r->transfer, e);
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
	profile->aes_128 = reg->terms.suites.sym == SYM_AES_128;
	random_fill(&random_system, profile->user_id, ID_BYTES);
	if (!reg->terms.no_account_key) {
		secret_random(&profile->person->account_key, ACCOUNT_KEY_BYTES, &random_system);
	}
	rc = fresh_keys(profile, reg->password, &reg->terms, &r->keyring, &r->fresh, e);
	rc = rc != 0 ? rc : register_keys(&reg->terms, r, e);
	rc = rc != 0 ? rc : person_make_device(profile, e);
	rc = rc != 0 ? rc : register_statements(profile, reg->device_name, r, e);
	rc = rc != 0 ? rc : register_keyring(profile, &reg->terms, r, e);
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
				 secret_bytes(&r->fresh.keys.keys.root), e);
}

/* On the disk before it leaves, so that the very same can be sent again. */
static int register_note(struct profile *profile, const struct registering *r,
	struct buf *ret_request, struct err *e)
{
	struct api_register request = {.user = profile->account,
		.user_id = profile->user_id,
		.identity = buf_bytes(&r->genesis),
		.device = buf_bytes(&r->device)};

	fresh_credentials(&r->fresh, &request.credentials);
	api_register_text(&request, ret_request);
	return profile_write(
		profile, register_file, PROFILE_REGISTERING, buf_bytes(ret_request), e);
}

int account_registered(const struct profile *profile, struct err *e)
{
	return profile_remove(profile, register_file, e);
}

/* The cluster took it. */
static int register_taken(struct profile *profile, struct err *e)
{
	int rc;

	profile->enrolled = true;
	rc = person_save(profile, e);
	return rc != 0 ? rc : account_registered(profile, e);
}

static int register_login(struct profile *profile, struct client *client, struct bytes password,
	const struct account_keys *keys, struct err *e)
{
	struct account_login login = {.root = SECRET_INIT};
	int rc = account_login_by(profile, client, password, bytes_of(NULL, 0), keys, &login, e);

	rc = rc != 0 ? rc : account_unlock(profile, client, &login, e);
	account_login_release(&login);
	return rc;
}

/* An earlier run's answer was lost, or it said nothing that could be believed: the same again,
 * which the cluster takes once. What it refuses now it may have taken then. */
static int register_again(struct profile *profile, struct client *client,
	const struct account_registration *reg, const struct account_keys *keys,
	struct bytes request, struct err *e)
{
	struct err ignored = {0};
	int rc = api_register(client, request, reg->invite, e);

	profile->enrolled = true; /* Tried as such. */
	if (rc != 0 && register_login(profile, client, reg->password, keys, &ignored) == 0) {
		rc = 0;
	} else if (rc == 0) {
		rc = register_login(profile, client, reg->password, keys, e);
	}
	profile->enrolled = profile->enrolled && rc == 0;
	if (rc != 0) {
		return err_wrap(e, rc,
			"register '%s' (its keys of an earlier run stay in '%s'; another "
			"directory begins anew)",
			profile->account, profile->dir);
	}
	return register_taken(profile, e);
}

/* All is there but the recovery code, which nobody ever saw. */
static int register_resume(struct profile *profile, struct client *client,
	const struct account_registration *reg, struct bytes request, struct secret *ret_code,
	struct err *e)
{
	struct account_keys keys;
	int rc;

	password_keys_init(&keys.keys);
	/* Another password must not cost the keys of what may well be registered. */
	rc = account_unlock_by(profile, reg->password, &keys, e);
	rc = rc != 0 ? rc : register_again(profile, client, reg, &keys, request, e);
	password_keys_release(&keys.keys);
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
		(void)(profile_remove(profile, register_file, &ignored) != 0 ||
			profile_remove(profile, "identity", &ignored) != 0 ||
			person_save(profile, &ignored) != 0);
	}
}

static int register_run(struct profile *profile, struct client *client,
	const struct account_registration *reg, struct registering *r, struct secret *ret_code,
	struct err *e)
{
	_cleanup_(secret_buf_release) struct buf request = BUF_INIT;
	int rc = register_make(profile, reg, r, e);

	rc = rc != 0 ? rc : register_note(profile, r, &request, e);
	rc = rc != 0 ? rc : api_register(client, buf_bytes(&request), reg->invite, e);
	if (rc != 0) {
		register_forget(profile, rc);
		return err_wrap(e, rc, "register '%s'", profile->account);
	}
	secret_move(ret_code, &r->fresh.code); /* Whatever follows: it counts now. */
	rc = register_taken(profile, e);
	return rc != 0 ? rc : register_login(profile, client, reg->password, &r->fresh.keys, e);
}

static int register_check(
	const struct profile *profile, const struct account_registration *reg, struct err *e)
{
	if (!identity_name_valid(bytes_str(profile->account))) {
		return err_set(e, KLUIS_EINVAL,
			"'%s' is no user name: 1 to 64 of a-z 0-9 . _ @ + -", profile->account);
	}
	return account_device_name_check(reg->device_name, e);
}

static int register_fresh(struct profile *profile, struct client *client,
	const struct account_registration *reg, struct secret *ret_code, struct err *e)
{
	struct registering r = {.signing = NULL};
	struct account_registration asked = *reg;
	int rc = terms_asked(client, &reg->terms, &asked.terms, e);

	fresh_init(&r.fresh);
	rc = rc != 0 ? rc : register_run(profile, client, &asked, &r, ret_code, e);
	fresh_release(&r.fresh);
	keyring_release(&r.keyring);
	key_free(r.signing);
	key_free(r.transfer);
	buf_release(&r.genesis);
	buf_release(&r.device);
	return rc;
}

int account_register(struct profile *profile, struct client *client,
	const struct account_registration *reg, struct secret *ret_code, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf request = BUF_INIT;
	struct err why = {0};
	int rc = register_check(profile, reg, e);

	assert(profile->person != NULL);
	if (rc != 0) {
		return rc;
	}
	if (profile->enrolled) {
		return err_set(e, KLUIS_EEXIST, "'%s' is registered already", profile->account);
	}
	rc = profile_read(
		profile, register_file, PROFILE_REGISTERING, REGISTER_BYTES_MAX, &request, &why);
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return err_set(e, rc, "%s", why.text);
	}
	/* Without it nobody has heard yet of what may be there. */
	return rc == 0 ? register_resume(profile, client, reg, buf_bytes(&request), ret_code, e)
		       : register_fresh(profile, client, reg, ret_code, e);
}

/* A refusal that leaves nothing open: the cluster did not do it. Not 401: a recovery's session ends
 * by it, which an attempt after a lost answer meets. */
static bool renew_refused(int rc)
{
	return rc == KLUIS_EINVAL || rc == KLUIS_EMFA || rc == KLUIS_EFORBIDDEN ||
	       rc == KLUIS_ESUITE || rc == KLUIS_ETOOLARGE || rc == KLUIS_EQUOTA ||
	       rc == KLUIS_EREADONLY;
}

/* A call that failed may have been done all the same, by an attempt whose answer was lost: then the
 * cluster has this keyring. KLUIS_EUNKNOWN_OUTCOME: nobody can say. */
static int renew_settle(struct client *client, struct bytes object, int why, struct err *e)
{
	_cleanup_(buf_release) struct buf shown = BUF_INIT;
	char etag[API_ETAG_BYTES_MAX + 1];
	struct err ignored = {0}, said = *e;

	if (renew_refused(why)) {
		return why;
	}
	if (api_keyring(client, &shown, etag, &ignored) == 0) {
		if (bytes_equal(buf_bytes(&shown), object)) {
			return 0;
		}
		if (why == KLUIS_ECONFLICT || why == KLUIS_EPRECONDITION) {
			return why; /* Another device was first. */
		}
	}
	return err_set(e, KLUIS_EUNKNOWN_OUTCOME,
		"it is not known whether the new password counts: %s", said.text);
}

static int renew_send(struct client *client, const struct fresh *f, struct err *e)
{
	struct api_credentials credentials;
	struct err why = {0};
	int rc;

	fresh_credentials(f, &credentials);
	rc = api_password(client, &credentials, &why);
	rc = rc == 0 ? 0 : renew_settle(client, buf_bytes(&f->object), rc, &why);
	return rc == 0 ? 0 : err_set(e, rc, "%s", why.text);
}

/* A new password over an open keyring: all of it sealed anew, sent, and taken as ours. */
static int renew(struct profile *profile, struct client *client, struct keyring *keyring,
	struct bytes password, const struct account_terms *terms, struct secret *ret_code,
	struct err *e)
{
	struct account_new_keys made = {.signing = false};
	struct fresh f;
	int rc;

	fresh_init(&f);
	rc = fresh_keys(profile, password, terms, keyring, &f, e);
	if (rc == 0) {
		fresh_verifier(profile, &f);
		keyring_rotate(keyring, &random_system);
		rc = terms->new_keys
			     ? account_make_keys(profile, terms->suites.rsa_bits, keyring, &made, e)
			     : 0;
		rc = rc != 0 || !terms->rsa_key ? rc
						: account_make_rsa(profile, keyring, &made.rsa, e);
	}
	rc = rc != 0 ? rc : fresh_keyring(profile, keyring, &f, e);
	rc = rc != 0 ? rc : renew_send(client, &f, e);
	if (rc == 0) {
		keyring_sealed(keyring, buf_bytes(&f.object));
		fresh_adopt(profile, &f);
	}
	if (rc == 0 || rc == KLUIS_EUNKNOWN_OUTCOME) {
		secret_move(ret_code, &f.code); /* Whatever follows: it counts now, or may. */
	}
	if (rc == 0) {
		rc = person_take(
			profile, keyring, buf_bytes(&f.object), secret_bytes(&f.keys.keys.root), e);
	}
	fresh_release(&f);
	if (rc == 0 && terms->made != NULL) {
		*terms->made = made;
	}
	return rc;
}

int account_passwd(struct profile *profile, struct client *client, struct bytes password,
	const struct account_terms *terms, struct secret *ret_code, struct err *e)
{
	const struct keyring *open = ring_local(profile->person->ring);
	_cleanup_(keyring_release) struct keyring keyring = {0};
	struct account_terms wanted;
	int rc;

	if (open == NULL) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "sign in with the old password first");
	}
	rc = terms_asked(client, terms, &wanted, e);
	wanted.new_keys = terms->new_keys || account_keys_due(profile);
	/* A copy: whatever becomes of the call, the profile's stays as it is until then. */
	rc = rc != 0 ? rc
		     : ring_open(buf_bytes(&profile->person->keyring), profile->user_id,
			       secret_bytes(&open->krk), &keyring, e);
	rc = rc != 0 ? rc : renew(profile, client, &keyring, password, &wanted, ret_code, e);
	if (rc != 0) {
		return rc;
	}
	rc = account_finish_keys(profile, client, e);
	return rc == 0 ? 0
		       : err_wrap(e, rc,
				 "the password is changed; the new keys wait for the next "
				 "login");
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
	rc = rc != 0 ? rc
		     : keyring_open(&view, profile->user_id, secret_bytes(&krk), ret_keyring, e);
	return rc != 0 ? rc : person_check_keyring(profile, ret_keyring, e);
}

/* What was taken of the chain to look at it goes again: signing in takes it. */
static int chain_put_back(struct profile *profile, struct bytes chain, bool enrolled, struct err *e)
{
	profile->enrolled = enrolled;
	if (chain.len > 0) {
		return person_parse_chain(profile, chain, e);
	}
	identity_release(&profile->identity);
	identity_init(&profile->identity);
	buf_clear(&profile->person->chain);
	return 0;
}

/* Devices by a chain that is her own: of the key in her keyring, and not behind its pin. */
static int recover_chain(struct profile *profile, struct client *client, struct keyring *keyring,
	struct account_device **ret_devices, size_t *ret_n, struct err *e)
{
	struct person_keys *p = profile->person;
	int rc;

	p->ring = ring_local_new(keyring); /* For its pins. */
	rc = account_devices(profile, client, ret_devices, ret_n, e);
	if (rc == 0 && !key_pub_equal(profile->identity.signing,
			       key_public(ring_local(p->ring)->signing))) {
		account_devices_free(*ret_devices, *ret_n);
		rc = err_set(e, KLUIS_EVERIFY,
			"the cluster shows devices that the key in your keyring did not sign");
	}
	ring_free(p->ring);
	p->ring = NULL;
	return rc;
}

int account_recover_devices(struct profile *profile, struct client *client, struct bytes code,
	struct account_device **ret_devices, size_t *ret_n, struct err *e)
{
	_cleanup_(keyring_release) struct keyring keyring = {0};
	_cleanup_(buf_release) struct buf chain = BUF_INIT;
	struct account_device *devices = NULL;
	bool enrolled = profile->enrolled;
	struct err ignored = {0};
	size_t n = 0;
	int rc, back;

	assert(profile->person->ring == NULL);
	buf_append_bytes(&chain, buf_bytes(&profile->person->chain));
	rc = recover_open(profile, client, code, &keyring, e);
	rc = rc != 0 ? rc : recover_chain(profile, client, &keyring, &devices, &n, e);
	back = chain_put_back(profile, buf_bytes(&chain), enrolled, &ignored);
	assert(back == 0); /* It was verified before. */
	if (rc == 0) {
		*ret_devices = devices;
		*ret_n = n;
	}
	return rc;
}

int account_recover_finish(struct profile *profile, struct client *client, struct bytes code,
	struct bytes password, const struct account_terms *terms, struct secret *ret_code,
	struct err *e)
{
	_cleanup_(keyring_release) struct keyring keyring = {0};
	struct account_terms wanted;
	struct bytes account_key;
	int rc = recover_open(profile, client, code, &keyring, e);

	rc = rc != 0 ? rc : terms_asked(client, terms, &wanted, e);
	if (rc != 0) {
		return rc;
	}
	account_key = keyring_field(&keyring, KEYRING_ACCOUNT_KEY);
	secret_set(&profile->person->account_key, account_key);
	wanted.new_keys = false; /* Its session may change nothing else. */
	wanted.rsa_key = false;
	rc = renew(profile, client, &keyring, password, &wanted, ret_code, e);
	client_set_token(client, NULL); /* It ended. */
	return rc == 0 ? 0 : err_wrap(e, rc, "recover '%s'", profile->account);
}

/* Signing in, unlocking, and the keyring between two commands. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/wire.h"
#include "cli/client/account_impl.h"
#include "cli/client/json_reader.h"
#include "crypto/proof.h"

enum {
	ACCOUNT_PUT_TRIES = 8,
	ACCOUNT_BETWEEN_MAX = 6, /* Of the ten that are kept: others may be put meanwhile. */
};

void account_login_release(struct account_login *login)
{
	secret_release(&login->root);
	*login = (struct account_login){.root = SECRET_INIT};
}

void account_granted(
	struct client *client, const struct api_grant *grant, struct account_login *login)
{
	static_assert((int)API_MFA_METHODS_MAX == (int)ACCOUNT_MFA_MAX &&
			      (int)API_METHOD_CHARS_MAX == (int)ACCOUNT_METHOD_CHARS_MAX,
		"methods");
	login->full = grant->full;
	login->n_methods = grant->n_methods;
	memcpy(login->methods, grant->methods, sizeof login->methods);
	login->expires_ms = grant->expires_ms;
	client_set_token(client, grant->token);
}

int account_take_user(struct profile *profile, const uint8_t user_id[ID_BYTES], struct err *e)
{
	bool pinned = profile->identity.seq > 0 || profile->person->keyring.len > 0;

	if (pinned && memcmp(profile->user_id, user_id, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EPIN,
			"the cluster says that '%s' is another user than this profile has seen",
			profile->account);
	}
	memcpy(profile->user_id, user_id, ID_BYTES);
	return 0;
}

void account_pins(const struct profile *profile, uint32_t *ret_login, uint32_t *ret_keyring)
{
	struct keyring_view view;

	*ret_login = *ret_keyring = 0;
	if (profile->person->keyring.len > 0 &&
		keyring_parse(buf_bytes(&profile->person->keyring), &view, NULL) == 0) {
		*ret_login = view.min_n_l;
		*ret_keyring = view.min_n_k;
	}
}

/* Whether the account key goes into this account's password, as far as is known here. */
static bool login_needs_key(const struct profile *profile, struct bytes given)
{
	const struct person_keys *p = profile->person;
	struct kdf pinned = {.flags = 0};

	return given.len > 0 || p->account_key.len > 0 ||
	       (p->has_kdf && kdf_decode(bytes_of(p->kdf, KDF_BYTES), &pinned, NULL) == 0 &&
		       (pinned.flags & KDF_ACCOUNT_KEY) != 0);
}

/* A node that lowers the counts, or leaves the account key out, wants to guess at the proof. */
static int login_check_kdf(const struct profile *profile, const struct kdf *kdf,
	struct bytes account_key, struct err *e)
{
	uint32_t login_pin, keyring_pin;

	if ((kdf->flags & KDF_ACCOUNT_KEY) == 0 && login_needs_key(profile, account_key)) {
		return err_set(e, KLUIS_EPIN,
			"the cluster says that '%s' has no account key, and there is one",
			profile->account);
	}
	account_pins(profile, &login_pin, &keyring_pin);
	return kdf_check_pin(kdf, login_pin, keyring_pin, e);
}

/* The password's keys by this block; the account key is the given one, else the profile's. */
static int login_derive(struct profile *profile, struct bytes typed, struct bytes account_key,
	const uint8_t block[KDF_BYTES], struct password_keys *ret_keys, struct err *e)
{
	_cleanup_(secret_release) struct secret prepared = SECRET_INIT;
	struct err why = {0};
	struct kdf kdf;
	int rc = kdf_decode(bytes_of(block, KDF_BYTES), &kdf, &why);

	if (rc != 0) { /* Nobody typed it: the cluster named it. */
		return err_set(e, KLUIS_EVERIFY, "what the cluster asks for: %s", why.text);
	}
	rc = login_check_kdf(profile, &kdf, account_key, e);
	rc = rc != 0 ? rc : password_prepare(typed, &prepared, e);
	if (rc != 0) {
		return rc;
	}
	if ((kdf.flags & KDF_ACCOUNT_KEY) != 0 && account_key.len == 0) {
		account_key = secret_bytes(&profile->person->account_key);
		if (account_key.len == 0) {
			return err_set(e, KLUIS_EINVAL,
				"the account key is needed: it is on the emergency sheet of '%s'",
				profile->account);
		}
	}
	rc = password_derive(secret_bytes(&prepared), bytes_str(profile->account), &kdf,
		account_key, ret_keys, e);
	if (rc == 0 && account_key.len > 0 &&
		account_key.data != profile->person->account_key.data) {
		secret_set(&profile->person->account_key, account_key);
	}
	return rc;
}

/* One exchange of A and B; again in the account's group when that is another. */
static int login_begin(const struct profile *profile, struct client *client,
	struct srp_client **ret_srp, struct api_srp *ret_answer, struct err *e)
{
	unsigned group = SRP_GROUP_DEFAULT;

	for (unsigned turn = 0; turn < 2; turn++) {
		struct srp_client *srp;
		struct err why = {0};
		int rc = srp_client_new(group, &random_system, &srp, &why);

		if (rc != 0) { /* Ours is known: this one the cluster named. */
			return err_set(e, KLUIS_EVERIFY, "what the cluster asks for: %s", why.text);
		}
		rc = api_srp_start(
			client, profile->account, group, srp_client_public(srp), ret_answer, e);
		if (rc != 0) {
			srp_client_free(srp);
			return rc;
		}
		if (ret_answer->begun) {
			*ret_srp = srp;
			return 0;
		}
		srp_client_free(srp);
		group = ret_answer->group;
	}
	return err_set(e, KLUIS_EVERIFY, "the cluster keeps changing the SRP group");
}

/* The device's signature, when its keys open by this password. An empty one otherwise. */
static int login_device(struct profile *profile, const struct password_keys *keys,
	const uint8_t block[KDF_BYTES], const uint8_t m1[SRP_PROOF_BYTES],
	struct buf *ret_signature, struct err *e)
{
	const struct person_keys *p = profile->person;
	struct proof_device proof;

	if (!profile->enrolled) {
		return 0;
	}
	if (profile->device == NULL && p->has_kdf && memcmp(p->kdf, block, KDF_BYTES) == 0 &&
		person_unlock(profile, secret_bytes(&keys->root), NULL) != 0) {
		return 0; /* Another password: the cluster will say so. */
	}
	if (profile->device == NULL) {
		return 0;
	}
	memcpy(proof.cluster_id, profile->cluster_id, ID_BYTES);
	memcpy(proof.m1, m1, SRP_PROOF_BYTES);
	memcpy(proof.user_id, profile->user_id, ID_BYTES);
	memcpy(proof.device_id, profile->device_id, ID_BYTES);
	return proof_device_sign(&proof, profile->device, ret_signature, e);
}

struct login {
	struct srp_client *srp;
	struct api_srp answer;
	struct password_keys keys;
	uint8_t m1[SRP_PROOF_BYTES];
	struct buf signature;
	struct api_grant grant;
	struct secret session;
};

static int login_keys(struct profile *profile, struct bytes password, struct bytes account_key,
	const struct account_keys *known, struct login *l, struct err *e)
{
	if (known == NULL || memcmp(known->block, l->answer.kdf, KDF_BYTES) != 0) {
		return login_derive(profile, password, account_key, l->answer.kdf, &l->keys, e);
	}
	secret_set(&l->keys.root, secret_bytes(&known->keys.root));
	secret_set(&l->keys.srp, secret_bytes(&known->keys.srp));
	return 0;
}

static int login_prove(struct profile *profile, struct login *l, struct err *e)
{
	struct srp_terms terms = {.group = l->answer.group, .user = bytes_str(profile->account)};
	int rc;

	memcpy(terms.salt, l->answer.salt, SRP_SALT_BYTES);
	memcpy(terms.kdf, l->answer.kdf, KDF_BYTES);
	memcpy(terms.cluster_id, profile->cluster_id, ID_BYTES);
	rc = srp_client_answer(l->srp, &terms, secret_bytes(&l->keys.srp),
		bytes_of(l->answer.b_public, l->answer.b_len), l->m1, e);
	return rc != 0 ? rc
		       : login_device(profile, &l->keys, l->answer.kdf, l->m1, &l->signature, e);
}

/* M2, token_mac, and whose account it is: only then the token is used. */
static int login_check(struct profile *profile, struct login *l, struct err *e)
{
	const struct api_grant *grant = &l->grant;
	int rc = srp_client_finish(l->srp, bytes_of(grant->m2, sizeof grant->m2), &l->session, e);

	rc = rc != 0 ? rc
		     : srp_token_check(secret_bytes(&l->session), bytes_str(grant->token),
			       bytes_of(grant->token_mac, sizeof grant->token_mac), e);
	if (rc != 0) {
		return err_wrap(e, rc, "the cluster does not know the password it checks");
	}
	return account_take_user(profile, grant->user_id, e);
}

static int login_run(struct profile *profile, struct client *client, struct bytes password,
	struct bytes account_key, const struct account_keys *known, struct login *l, struct err *e)
{
	int rc = login_begin(profile, client, &l->srp, &l->answer, e);

	rc = rc != 0 ? rc : login_keys(profile, password, account_key, known, l, e);
	rc = rc != 0 ? rc : login_prove(profile, l, e);
	rc = rc != 0 ? rc
		     : api_srp_finish(client, &l->answer, l->m1,
			       l->signature.len > 0 ? profile->device_id : NULL,
			       buf_bytes(&l->signature), &l->grant, e);
	return rc != 0 ? rc : login_check(profile, l, e);
}

int account_login_by(struct profile *profile, struct client *client, struct bytes password,
	struct bytes account_key, const struct account_keys *known, struct account_login *ret_login,
	struct err *e)
{
	struct login l = {.session = SECRET_INIT};
	int rc;

	assert(profile->person != NULL);
	password_keys_init(&l.keys);
	client_set_token(client, NULL);
	rc = login_run(profile, client, password, account_key, known, &l, e);
	if (rc == 0) {
		account_login_release(ret_login);
		account_granted(client, &l.grant, ret_login);
		ret_login->device = l.signature.len > 0;
		memcpy(ret_login->kdf, l.answer.kdf, KDF_BYTES);
		secret_move(&ret_login->root, &l.keys.root);
	} else {
		person_lock(profile);
	}
	srp_client_free(l.srp);
	password_keys_release(&l.keys);
	secret_release(&l.session);
	buf_release(&l.signature);
	secret_clear(&l.grant, sizeof l.grant);
	return rc == 0 ? 0 : err_wrap(e, rc, "sign in as '%s'", profile->account);
}

int account_login(struct profile *profile, struct client *client, struct bytes password,
	struct bytes account_key, struct account_login *ret_login, struct err *e)
{
	return account_login_by(profile, client, password, account_key, NULL, ret_login, e);
}

const char *account_code_method(const struct account_login *login)
{
	for (size_t i = 0; i < login->n_methods; i++) {
		if (strcmp(login->methods[i], "totp") == 0 ||
			strcmp(login->methods[i], "hotp") == 0) {
			return login->methods[i];
		}
	}
	return NULL;
}

int account_verify(struct client *client, json_t *proof, struct account_login *login, struct err *e)
{
	int rc = api_json(
		client, "POST", "/v1/mfa/verify", proof, CLIENT_AUTH | CLIENT_ONCE, NULL, e);

	login->full = login->full || rc == 0;
	return rc;
}

int account_verify_code(struct client *client, const char *method, const char *code,
	struct account_login *login, struct err *e)
{
	return account_verify(
		client, json_pack("{s:s, s:s}", "method", method, "code", code), login, e);
}

int account_fetch_keyring(struct profile *profile, struct client *client, struct buf *ret_object,
	struct keyring_view *ret_view, struct err *e)
{
	char etag[API_ETAG_BYTES_MAX + 1];
	int rc = api_keyring(client, ret_object, etag, e);

	if (rc != 0) {
		return rc;
	}
	rc = keyring_parse(buf_bytes(ret_object), ret_view, e);
	if (rc != 0) {
		return err_set(e, KLUIS_EVERIFY, "the cluster sent no keyring");
	}
	return person_check_object(profile, ret_view, e);
}

int account_fetch_chain(struct profile *profile, struct client *client, struct err *e)
{
	_cleanup_(buf_release) struct buf chain = BUF_INIT;
	_cleanup_(x_freep) struct bytes *statements = NULL;
	struct wire w;
	size_t n = 0;
	int rc = api_identity(client, profile->user_id, &chain, e);

	if (rc != 0) {
		return rc;
	}
	if (chain.len > IDENTITY_CHAIN_BYTES_MAX) {
		return err_set(e, KLUIS_EPROTO, "the identity chain is too long");
	}
	statements = x_calloc(chain.len / 4 + 1, sizeof *statements); /* lp32 each. */
	w = wire_of(buf_bytes(&chain));
	while (w.left.len > 0 && wire_ok(&w)) {
		statements[n++] = wire_lp32(&w, STATEMENT_BYTES_MAX);
	}
	return wire_end(&w) ? person_take_chain(profile, statements, n, e)
			    : err_set(e, KLUIS_EPROTO, "identity: malformed");
}

static int keyring_version(struct profile *profile, struct client *client, uint64_t revision,
	uint8_t hash[HASH_BYTES], struct err *e)
{
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct keyring_view view;
	int rc = api_keyring_version(client, revision, &object, e);

	if (rc == KLUIS_ENOTFOUND || rc == KLUIS_EGONE) {
		return err_set(e, KLUIS_EVERIFY,
			"the cluster withholds revision %" PRIu64 " of the keyring", revision);
	}
	if (rc != 0) {
		return rc;
	}
	if (keyring_parse(buf_bytes(&object), &view, NULL) != 0) {
		return err_set(e, KLUIS_EVERIFY, "the cluster sent no keyring");
	}
	if (keyring_follows(&view, profile->user_id, revision - 1, hash, NULL) != 0) {
		return err_set(e, KLUIS_EPIN,
			"the cluster shows another keyring than this profile has seen (fork at "
			"revision %" PRIu64 ")",
			revision - 1);
	}
	memcpy(hash, view.hash, HASH_BYTES);
	return 0;
}

/* What lies between the keyring that is known and this one, as long as the cluster keeps it: each
 * the next of the one before. Of what is older, what it holds has to do (person_take_object()). */
static int keyring_between(struct profile *profile, struct client *client,
	const struct keyring_view *newest, struct err *e)
{
	struct keyring_view known;
	uint8_t hash[HASH_BYTES];
	int rc = 0;

	if (profile->person->keyring.len == 0 || person_is_restored(profile) ||
		keyring_parse(buf_bytes(&profile->person->keyring), &known, NULL) != 0 ||
		newest->revision <= known.revision + 1 ||
		newest->revision > known.revision + 1 + ACCOUNT_BETWEEN_MAX) {
		return 0; /* person_check_object() has seen it. */
	}
	memcpy(hash, known.hash, HASH_BYTES);
	for (uint64_t n = known.revision + 1; rc == 0 && n < newest->revision; n++) {
		rc = keyring_version(profile, client, n, hash, e);
	}
	if (rc == 0 && memcmp(newest->prev_hash, hash, HASH_BYTES) != 0) {
		rc = err_set(e, KLUIS_EPIN,
			"the cluster shows another keyring than this profile has seen (fork at "
			"revision %" PRIu64 ")",
			newest->revision - 1);
	}
	return rc;
}

/* KRK by the password: the slot that unlock names must be the keyring's own. */
static int unlock_krk(const struct profile *profile, struct client *client,
	const struct account_login *login, const struct keyring_view *view, struct secret *ret_krk,
	struct err *e)
{
	_cleanup_(secret_release) struct secret kek = SECRET_INIT;
	struct api_unlock unlock = {.share = SECRET_INIT};
	struct keyring_slot slot;
	struct bytes encoded;
	int rc = api_unlock(client, &unlock, e);

	if (rc != 0) {
		return rc;
	}
	encoded = keyring_view_find(view, KEYRING_SLOT_PASSWORD, unlock.slot_id, &slot);
	if (!bytes_equal(encoded, bytes_of(unlock.slot, sizeof unlock.slot)) ||
		memcmp(slot.kdf, login->kdf, KDF_BYTES) != 0) {
		secret_release(&unlock.share);
		return err_set(e, KLUIS_EVERIFY, "the keyring is not of this password");
	}
	password_kek(secret_bytes(&login->root), secret_bytes(&unlock.share), profile->user_id,
		unlock.slot_id, &kek);
	secret_release(&unlock.share);
	return keyring_slot_open(encoded, profile->user_id, secret_bytes(&kek), ret_krk, e);
}

static int unlock_pins(const struct keyring *keyring, const uint8_t block[KDF_BYTES], struct err *e)
{
	struct kdf kdf;
	int rc = kdf_decode(bytes_of(block, KDF_BYTES), &kdf, e);

	return rc != 0 ? rc : kdf_check_pin(&kdf, keyring->min_n_l, keyring->min_n_k, e);
}

/* A new device has seen no chain: what the others have seen stands in the keyring. */
static int unlock_chain(const struct profile *profile, const struct keyring *keyring, struct err *e)
{
	const struct keyring_entry *pin =
		keyring_entry(keyring, KEYRING_CONTACT_PIN, profile->user_id, 0);

	return pin == NULL || person_is_restored(profile)
		       ? 0
		       : person_check_chain(profile, secret_bytes(&pin->value), e);
}

static int unlock_open(struct profile *profile, struct client *client,
	const struct account_login *login, struct err *e)
{
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	_cleanup_(secret_release) struct secret krk = SECRET_INIT;
	_cleanup_(keyring_release) struct keyring keyring = {0};
	struct keyring_view view;
	int rc = account_fetch_keyring(profile, client, &object, &view, e);

	rc = rc != 0 ? rc : unlock_krk(profile, client, login, &view, &krk, e);
	rc = rc != 0 ? rc : keyring_open(&view, profile->user_id, secret_bytes(&krk), &keyring, e);
	rc = rc != 0 ? rc : unlock_pins(&keyring, login->kdf, e);
	rc = rc != 0 ? rc : keyring_between(profile, client, &view, e);
	rc = rc != 0 ? rc : account_fetch_chain(profile, client, e);
	rc = rc != 0 ? rc : unlock_chain(profile, &keyring, e);
	if (rc != 0) {
		return rc;
	}
	memcpy(profile->person->kdf, login->kdf, KDF_BYTES);
	profile->person->has_kdf = true;
	return person_take(profile, &keyring, buf_bytes(&object), secret_bytes(&login->root), e);
}

int account_unlock(
	struct profile *profile, struct client *client, struct account_login *login, struct err *e)
{
	int rc;

	if (!login->full) {
		return err_set(e, KLUIS_EMFA, "a second factor is needed first");
	}
	rc = unlock_open(profile, client, login, e);
	rc = rc != 0 ? rc : account_registered(profile, e);
	if (rc != 0) {
		person_lock(profile);
		return err_wrap(e, rc, "unlock");
	}
	if (profile->enrolled && profile->device != NULL && !login->device) {
		rc = account_device_session(profile, client, e);
		login->device = rc == 0 || rc == KLUIS_EMFA;
		login->full = rc == 0;
	}
	if (rc != 0 || !login->device) {
		return rc;
	}
	/* What is not reached can wait, and she read meanwhile; what is shown wrong cannot. */
	rc = account_finish_keys(profile, client, &login->unfinished);
	return rc == KLUIS_EVERIFY || rc == KLUIS_EPIN
		       ? err_set(e, rc, "%s", login->unfinished.text)
		       : 0;
}

int account_unlock_by(struct profile *profile, struct bytes password, struct account_keys *ret_keys,
	struct err *e)
{
	int rc;

	if (!profile->person->has_kdf) {
		return err_set(e, KLUIS_ENOTFOUND, "this profile was never unlocked: sign in");
	}
	memcpy(ret_keys->block, profile->person->kdf, KDF_BYTES);
	rc = login_derive(
		profile, password, bytes_of(NULL, 0), ret_keys->block, &ret_keys->keys, e);
	return rc != 0 ? rc : person_unlock(profile, secret_bytes(&ret_keys->keys.root), e);
}

int account_unlock_offline(struct profile *profile, struct bytes password, struct err *e)
{
	struct account_keys keys;
	int rc;

	password_keys_init(&keys.keys);
	rc = account_unlock_by(profile, password, &keys, e);
	password_keys_release(&keys.keys);
	return rc;
}

int account_device_session(struct profile *profile, struct client *client, struct err *e)
{
	_cleanup_(buf_release) struct buf signature = BUF_INIT;
	struct api_challenge challenge;
	struct api_session session = {0};
	struct proof_login proof;
	int rc = api_login_start(client, profile->user_id, profile->device_id, &challenge, e);

	if (rc != 0) {
		return rc;
	}
	memcpy(proof.cluster_id, profile->cluster_id, ID_BYTES);
	memcpy(proof.challenge, challenge.challenge, PROOF_CHALLENGE_BYTES);
	memcpy(proof.user_id, profile->user_id, ID_BYTES);
	memcpy(proof.device_id, profile->device_id, ID_BYTES);
	rc = proof_login_sign(&proof, profile->device, &signature, e);
	rc = rc != 0 ? rc
		     : api_login_finish(
			       client, &challenge, buf_bytes(&signature), CLIENT_AUTH, &session, e);
	if (rc == 0) {
		client_set_token(client, session.token);
		rc = session.full ? 0 : err_set(e, KLUIS_EMFA, "a second factor is needed");
	}
	secret_clear(&session, sizeof session);
	return rc == 0 ? 0 : err_wrap(e, rc, "sign in as this device");
}

int account_refresh_keyring(struct profile *profile, struct client *client, struct err *e)
{
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct keyring_view view;
	int rc = account_fetch_keyring(profile, client, &object, &view, e);

	if (rc != 0 || bytes_equal(buf_bytes(&object), buf_bytes(&profile->person->keyring))) {
		return rc;
	}
	rc = keyring_between(profile, client, &view, e);
	rc = rc != 0 ? rc : person_take_object(profile, buf_bytes(&object), e);
	return rc != KLUIS_EVERIFY
		       ? rc
		       : err_wrap(e, rc,
				 "the keyring is under another key (a changed password?): sign in");
}

/* The chain alone moved on to another key: not by any device that shares this keyring. */
static int refresh_keys(const struct profile *profile, struct err *e)
{
	return profile->signing == NULL || key_pub_equal(profile->identity.signing,
						   key_public(profile->signing))
		       ? person_check_transfer(&profile->identity, profile->person->ring, e)
		       : err_set(e, KLUIS_EVERIFY,
				 "the cluster names another signing key for you than your keyring "
				 "holds (if a device of yours changed it: sign in)");
}

int account_refresh(struct profile *profile, struct client *client, struct err *e)
{
	uint64_t seq = profile->identity.seq;
	int rc;

	assert(profile->person->ring != NULL);
	/* In this order: a pin of the chain is put after what it names was there. */
	rc = account_refresh_keyring(profile, client, e);
	rc = rc != 0 ? rc : account_fetch_chain(profile, client, e);
	rc = rc != 0 ? rc : refresh_keys(profile, e);
	if (rc == 0 && profile->identity.seq != seq) {
		rc = person_save(profile, e);
	}
	rc = rc != 0 ? rc : vault_person_follow(profile, e);
	return rc != 0 ? rc : person_settle(profile, e);
}

int account_logout(struct profile *profile, struct client *client, struct err *e)
{
	int rc = api_logout(client, e);

	client_set_token(client, NULL);
	person_lock(profile);
	return rc;
}

void account_keyring_etag(const struct keyring_view *view, char to[API_ETAG_BYTES_MAX + 1])
{
	char hash[HEX_LEN(8) + 1];

	hex_encode(bytes_of(view->hash, 8), hash);
	(void)snprintf(to, API_ETAG_BYTES_MAX + 1, "\"%" PRIu64 "-%s\"", view->revision, hash);
}

/* What goes into the keyring: entries, or what is in KeyPackets. */
struct ring_work {
	const struct ring_change *changes; /* NULL: packets. */
	const struct ring_packet *packets;
	size_t n;
};

static int ring_work_put(
	struct profile *profile, struct client *client, const struct ring_work *work, struct err *e)
{
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	struct person_keys *p = profile->person;
	struct bytes now = buf_bytes(&p->keyring);
	uint64_t unix_ms = clock_wall_ms(&clock_system);
	char etag[API_ETAG_BYTES_MAX + 1];
	struct keyring_view view;
	int rc = keyring_parse(now, &view, e);

	if (rc == 0) {
		rc = work->changes != NULL ? p->ring->change(p->ring, now, work->changes, work->n,
						     unix_ms, &object, e)
					   : p->ring->take(p->ring, now, work->packets, work->n,
						     unix_ms, &object, e);
	}
	if (rc != 0) {
		return rc;
	}
	account_keyring_etag(&view, etag);
	rc = api_keyring_put(client, buf_bytes(&object), etag, e);
	return rc != 0 ? rc : person_take_object(profile, buf_bytes(&object), e);
}

static int ring_work_do(
	struct profile *profile, struct client *client, const struct ring_work *work, struct err *e)
{
	int rc = KLUIS_EPRECONDITION;

	assert(profile->person->ring != NULL && work->n > 0 && work->n <= RING_CHANGES_MAX);
	for (unsigned turn = 0; rc == KLUIS_EPRECONDITION && turn < ACCOUNT_PUT_TRIES; turn++) {
		rc = turn == 0 ? 0 : account_refresh_keyring(profile, client, e);
		rc = rc != 0 ? rc : ring_work_put(profile, client, work, e);
	}
	return rc == 0 ? 0 : err_wrap(e, rc, "keyring");
}

int account_put_entries(struct profile *profile, struct client *client,
	const struct ring_change *changes, size_t n, struct err *e)
{
	const struct ring_work work = {.changes = changes, .n = n};

	assert(changes != NULL);
	return ring_work_do(profile, client, &work, e);
}

int account_take_packets(struct profile *profile, struct client *client,
	const struct ring_packet *packets, size_t n, struct err *e)
{
	const struct ring_work work = {.packets = packets, .n = n};

	return ring_work_do(profile, client, &work, e);
}

int account_show(struct client *client, json_t **ret_object, struct err *e)
{
	return api_get(client, "/v1/account", ret_object, e);
}

int account_export(struct client *client, json_t **ret_object, struct err *e)
{
	return api_json(client, "GET", "/v1/account/export", NULL, CLIENT_AUTH, ret_object, e);
}

int account_sessions(struct client *client, json_t **ret_items, struct err *e)
{
	return api_list(client, "/v1/sessions", CLIENT_AUTH | CLIENT_READ, ACCOUNT_SESSIONS_MAX,
		ret_items, e);
}

int account_session_end(struct client *client, const char *id, struct err *e)
{
	_cleanup_(x_freep) char *target = NULL;
	uint8_t raw[ID_BYTES];

	if (hex_decode(id, raw, ID_BYTES) != 0) {
		return err_set(e, KLUIS_EINVAL, "'%s' is no session", id);
	}
	target = x_asprintf("/v1/sessions/%s", id);
	return api_json(client, "DELETE", target, NULL, CLIENT_AUTH, NULL, e);
}

int account_delete(struct client *client, struct err *e)
{
	/* Once: after a lost answer the session is gone as well, and 401 would say nothing. */
	return api_json(client, "DELETE", "/v1/account", NULL, CLIENT_AUTH | CLIENT_ONCE, NULL, e);
}

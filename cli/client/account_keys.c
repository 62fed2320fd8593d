/* New keys after a device was lost that somebody may have opened: the signing key of the identity
 * chain, and one more key for each vault. Both come with a new password, whose KRK the lost device
 * does not have. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "cli/client/account_impl.h"
#include "cli/client/json_reader.h"
#include "cli/client/membership.h"

enum {
	KEYS_TRIES = 4,
	/* New vault keys leave a quarter of the largest keyring to what comes later. */
	KEYS_RING_BYTES_MAX = KEYRING_BYTES_MAX / 4 * 3,
};

int account_statement(const struct profile *profile, unsigned type, struct bytes body,
	struct buf *ret_statement, struct err *e)
{
	if (profile->signing == NULL || profile->identity.seq == 0) {
		return err_set(e, KLUIS_EUNAUTHENTICATED, "the profile of '%s' is locked",
			profile->account);
	}
	/* What a client does not take would shut the account for good. */
	if (profile->person->chain.len + STATEMENT_BYTES_MAX > IDENTITY_CHAIN_BYTES_MAX) {
		return err_set(
			e, KLUIS_ETOOLARGE, "the identity chain of '%s' is full", profile->account);
	}
	return identity_make(&profile->identity, type, body, profile->signing,
		clock_wall_ms(&clock_system), ret_statement, e);
}

int account_chain_again(struct profile *profile, struct client *client, struct err *e)
{
	int rc = account_fetch_chain(profile, client, e);

	return rc != 0 ? rc : person_save(profile, e);
}

int account_patch(struct client *client, struct bytes statement, struct err *e)
{
	return api_json(client, "PATCH", "/v1/account",
		json_pack("{s:o}", "statement", json_base64(statement)), CLIENT_AUTH, NULL, e);
}

bool account_keys_due(const struct profile *profile)
{
	return profile->identity.revoked_seq > profile->identity.signing_seq;
}

/* One more for each vault, until the keyring is full. */
static int make_vault_keys(const struct profile *profile, struct keyring *keyring,
	struct account_new_keys *made, struct err *e)
{
	_cleanup_(x_freep) struct ring_place *places = NULL;
	size_t n = 0, of_vault = 0;
	int rc = 0;

	ring_places(keyring, KEYRING_VAULT_KEY, &places, &n);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		_cleanup_(secret_release) struct secret vk = SECRET_INIT;

		of_vault++;
		if (i + 1 < n &&
			memcmp(places[i].object_id, places[i + 1].object_id, ID_BYTES) == 0) {
			continue; /* Not its newest. */
		}
		if (membership_has_changed(profile, places[i].object_id)) {
			made->n_shared++;
		} else if (of_vault == VAULT_EPOCHS_MAX || places[i].epoch == UINT32_MAX ||
			   keyring_object_bytes(keyring) > KEYS_RING_BYTES_MAX) {
			made->n_left++;
		} else {
			secret_random(&vk, PAGE_KEY_BYTES, &random_system);
			rc = keyring_put_entry(keyring, KEYRING_VAULT_KEY, places[i].object_id,
				places[i].epoch + 1, secret_bytes(&vk), &random_system, e);
			made->n_vaults++;
		}
		of_vault = 0;
	}
	return rc;
}

int account_make_keys(const struct profile *profile, unsigned rsa_bits, struct keyring *keyring,
	struct account_new_keys *ret_made, struct err *e)
{
	struct account_new_keys made = {.signing = true};
	_cleanup_(key_freep) struct key *next = NULL;
	int rc = keyring_next_signing(keyring, &next, NULL);

	if (rc == 0) { /* The unlock before would have finished it. */
		return err_set(
			e, KLUIS_EAGAIN, "an earlier change of keys is not finished: sign in");
	}
	rc = key_generate(KEY_RSA_PSS, rsa_bits, &next, e);
	rc = rc != 0 ? rc : make_vault_keys(profile, keyring, &made, e);
	if (rc == 0) {
		keyring_set_next_signing(keyring, next);
		*ret_made = made;
	}
	return rc;
}

static bool chain_names(const struct profile *profile, const struct key *key)
{
	return key_pub_equal(profile->identity.signing, key_public(key));
}

/* One more statement of the own chain, which is here as it is then. KLUIS_EPRECONDITION: it moved
 * meanwhile. */
static int chain_append(struct profile *profile, struct client *client, unsigned type,
	struct bytes body, struct err *e)
{
	_cleanup_(buf_release) struct buf statement = BUF_INIT;
	struct err why = {0};
	int again, rc = account_statement(profile, type, body, &statement, e);

	if (rc != 0) {
		return rc;
	}
	rc = account_patch(client, buf_bytes(&statement), &why);
	if (rc != 0 && rc != KLUIS_EPRECONDITION) {
		return err_set(e, rc, "%s", why.text);
	}
	again = account_chain_again(profile, client, e);
	return again != 0 ? again : rc;
}

/* KLUIS_EPRECONDITION: the chain moved meanwhile, and is here as it is now. */
static int chain_rotate(
	struct profile *profile, struct client *client, const struct key *next, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	int taken = 0, rc = identity_body_rotate(&body, &profile->identity, next, e);

	rc = rc != 0 ? rc : chain_append(profile, client, IDENTITY_ROTATE, buf_bytes(&body), e);
	if (rc == 0 || rc == KLUIS_EPRECONDITION) {
		taken = person_take_keys(profile, e);
	}
	if (taken != 0 || rc != 0) {
		return taken != 0 ? taken : rc;
	}
	return chain_names(profile, next)
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "the cluster took a new signing key and does not show it");
}

/* KLUIS_EPRECONDITION: another device was first, and the keyring is here as it is now. */
static int ring_settle(struct profile *profile, struct client *client, struct err *e)
{
	struct person_keys *p = profile->person;
	_cleanup_(keyring_release) struct keyring keyring = {0};
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	char etag[API_ETAG_BYTES_MAX + 1];
	struct keyring_view view;
	struct err why = {0};
	int again, rc = keyring_parse(buf_bytes(&p->keyring), &view, e);

	rc = rc != 0 ? rc
		     : keyring_open(&view, profile->user_id,
			       secret_bytes(&ring_local(p->ring)->krk), &keyring, e);
	rc = rc != 0 ? rc : keyring_take_next_signing(&keyring, e);
	rc = rc != 0 ? rc
		     : keyring_seal(
			       &keyring, clock_wall_ms(&clock_system), &random_system, &object, e);
	if (rc != 0) {
		return rc;
	}
	account_keyring_etag(&view, etag);
	rc = api_keyring_put(client, buf_bytes(&object), etag, &why);
	if (rc != 0 && rc != KLUIS_EPRECONDITION) {
		return err_set(e, rc, "%s", why.text);
	}
	again = rc == 0 ? person_take_object(profile, buf_bytes(&object), e)
			: account_refresh_keyring(profile, client, e);
	again = again != 0 ? again : person_take_keys(profile, e);
	return again != 0 ? again : rc;
}

static bool rsa_revoked(const struct profile *profile, const struct keyring *keyring)
{
	return identity_key_revoked(&profile->identity, key_pub_kid(key_public(keyring->rsa)));
}

int account_make_rsa(
	const struct profile *profile, struct keyring *keyring, bool *ret_made, struct err *e)
{
	struct key *rsa = NULL;
	int rc;

	if (keyring->rsa != NULL && !rsa_revoked(profile, keyring)) {
		return 0;
	}
	rc = key_generate(KEY_KEM_RSA, 0, &rsa, e);
	if (rc == 0) {
		keyring_set_rsa(keyring, rsa);
		*ret_made = true;
	}
	return rc;
}

static bool chain_lacks_rsa(const struct profile *profile, const struct keyring *keyring)
{
	const struct key_pub *named = identity_transfer(&profile->identity, KEY_KEM_RSA);

	return keyring != NULL && keyring->rsa != NULL && !rsa_revoked(profile, keyring) &&
	       (named == NULL || !key_pub_equal(named, key_public(keyring->rsa)));
}

/* The RSA key is in the keyring; from here on others give vaults and groups by it.
 * KLUIS_EPRECONDITION: the chain moved meanwhile, and is here as it is now. */
static int chain_add_rsa(
	struct profile *profile, struct client *client, const struct key *rsa, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	int rc;

	identity_body_transfer(&body, key_public(rsa));
	rc = chain_append(profile, client, IDENTITY_TRANSFER_ADD, buf_bytes(&body), e);
	if (rc != 0) {
		return rc;
	}
	return !chain_lacks_rsa(profile, ring_local(profile->person->ring))
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "the cluster took a new transfer key and does not show it");
}

/* KLUIS_EPRECONDITION: as chain_add_rsa(). */
static int chain_revoke_rsa(struct profile *profile, struct client *client, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	const struct key_pub *named = identity_transfer(&profile->identity, KEY_KEM_RSA);
	int rc;

	if (named == NULL) {
		return err_set(e, KLUIS_ENOTFOUND, "your account has no RSA key");
	}
	buf_append(&body, key_pub_kid(named), KID_BYTES);
	rc = chain_append(profile, client, IDENTITY_TRANSFER_REVOKE, buf_bytes(&body), e);
	if (rc != 0) {
		return rc;
	}
	return identity_transfer(&profile->identity, KEY_KEM_RSA) == NULL
		       ? 0
		       : err_set(e, KLUIS_EVERIFY,
				 "the cluster took the revocation of a transfer key and does not "
				 "show it");
}

/* One step; *ret_done when there is none left. */
static int finish_step(
	struct profile *profile, struct client *client, bool *ret_done, struct err *e)
{
	const struct keyring *keyring = ring_local(profile->person->ring);
	_cleanup_(key_freep) struct key *next = NULL;
	struct err why = {0};
	int rc = keyring == NULL ? KLUIS_ENOTFOUND : keyring_next_signing(keyring, &next, &why);

	if (rc == KLUIS_ENOTFOUND && chain_lacks_rsa(profile, keyring)) {
		return chain_add_rsa(profile, client, keyring->rsa, e);
	}
	if (rc != 0) {
		*ret_done = rc == KLUIS_ENOTFOUND;
		return *ret_done ? 0 : err_set(e, rc, "%s", why.text);
	}
	return chain_names(profile, next) ? ring_settle(profile, client, e)
					  : chain_rotate(profile, client, next, e);
}

static int race_lost(struct err *e)
{
	return err_set(e, KLUIS_ECONFLICT, "other devices change the account's keys, too");
}

int account_finish_keys(struct profile *profile, struct client *client, struct err *e)
{
	bool done = false;
	int rc = 0;

	for (unsigned turn = 0; !done && turn < KEYS_TRIES; turn++) {
		rc = finish_step(profile, client, &done, e);
		if (rc != 0 && rc != KLUIS_EPRECONDITION) {
			return rc;
		}
	}
	return done ? 0 : race_lost(e);
}

int account_revoke_rsa(struct profile *profile, struct client *client, struct err *e)
{
	int rc = account_chain_again(profile, client, e);

	for (unsigned turn = 0; rc == 0 && turn < KEYS_TRIES; turn++) {
		rc = chain_revoke_rsa(profile, client, e);
		if (rc != KLUIS_EPRECONDITION) {
			return rc;
		}
		rc = 0;
	}
	return rc != 0 ? rc : race_lost(e);
}

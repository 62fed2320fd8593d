/* Between the files of cli/client/account. */
#ifndef KLUIS_CLI_CLIENT_ACCOUNT_IMPL_H
#define KLUIS_CLI_CLIENT_ACCOUNT_IMPL_H

#include "cli/client/account.h"
#include "cli/client/api_account.h"

/* The keys of a password under one KDF block: stretching it once more takes another second. */
struct account_keys {
	uint8_t block[KDF_BYTES];
	struct password_keys keys;
};
/* As account_login(); known (NULL: none): what the password is when the block is that one. */
KLUIS_MUST_CHECK int account_login_by(struct profile *profile, struct client *client,
	struct bytes password, struct bytes account_key, const struct account_keys *known,
	struct account_login *ret_login, struct err *e);
/* As account_unlock_offline(), and what the password came to: *ret_keys, initialised by
 * password_keys_init(), is filled, whatever follows. */
KLUIS_MUST_CHECK int account_unlock_by(struct profile *profile, struct bytes password,
	struct account_keys *ret_keys, struct err *e);
/* The account is there: what would be sent again to make it goes. */
KLUIS_MUST_CHECK int account_registered(const struct profile *profile, struct err *e);
/* KLUIS_EINVAL unless a device may be called so. */
KLUIS_MUST_CHECK int account_device_name_check(const char *name, struct err *e);
/* What a login gave, into `login`; the token into the client. */
void account_granted(
	struct client *client, const struct api_grant *grant, struct account_login *login);
/* Whose account the cluster says it is: must be the profile's, once that is known. */
KLUIS_MUST_CHECK int account_take_user(
	struct profile *profile, const uint8_t user_id[ID_BYTES], struct err *e);
/* The chain, verified from what was pinned; not stored yet. */
KLUIS_MUST_CHECK int account_fetch_chain(
	struct profile *profile, struct client *client, struct err *e);
/* The newest keyring, parsed and held against the pin. *ret_view points into *ret_object. */
KLUIS_MUST_CHECK int account_fetch_keyring(struct profile *profile, struct client *client,
	struct buf *ret_object, struct keyring_view *ret_view, struct err *e);
/* account_fetch_chain(), stored: what we just sent has to stand in it. */
KLUIS_MUST_CHECK int account_chain_again(
	struct profile *profile, struct client *client, struct err *e);
/* The next statement of our chain, with this body, by the current signing key. */
KLUIS_MUST_CHECK int account_statement(const struct profile *profile, unsigned type,
	struct bytes body, struct buf *ret_statement, struct err *e);
/* PATCH /v1/account: a statement that changes policy, signing key or transfer keys. */
KLUIS_MUST_CHECK int account_patch(struct client *client, struct bytes statement, struct err *e);
/* The keyring from the cluster, when it moved. */
KLUIS_MUST_CHECK int account_refresh_keyring(
	struct profile *profile, struct client *client, struct err *e);
/* The entity tag that the node gives this object. */
void account_keyring_etag(const struct keyring_view *view, char to[API_ETAG_BYTES_MAX + 1]);
/* Whether the next password has to bring new keys: a device was revoked since the signing key was
 * made, and who opened it has had all of them. */
bool account_keys_due(const struct profile *profile);
/* What is to change with the KRK: the signing key that is to follow, and one more key for each
 * vault that is not shared, for what is written from then on. */
KLUIS_MUST_CHECK int account_make_keys(const struct profile *profile, unsigned rsa_bits,
	struct keyring *keyring, struct account_new_keys *ret_made, struct err *e);
/* An RSA transfer pair for a keyring that has none, or a revoked one; *ret_made: it was so. */
KLUIS_MUST_CHECK int account_make_rsa(
	const struct profile *profile, struct keyring *keyring, bool *ret_made, struct err *e);
/* Has the identity chain name the signing key that follows, and puts it in its place in the
 * keyring; goes on where an earlier run was cut short. Nothing to do is success. Unlocked in this
 * process, a session of this device. */
KLUIS_MUST_CHECK int account_finish_keys(
	struct profile *profile, struct client *client, struct err *e);
/* A session of this device, by its key. */
KLUIS_MUST_CHECK int account_device_session(
	struct profile *profile, struct client *client, struct err *e);
/* PBKDF2 counts that this profile has seen in its keyring; 0 where it has none. */
void account_pins(const struct profile *profile, uint32_t *ret_login, uint32_t *ret_keyring);

#endif

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
/* A session of this device, by its key. */
KLUIS_MUST_CHECK int account_device_session(
	struct profile *profile, struct client *client, struct err *e);
/* PBKDF2 counts that this profile has seen in its keyring; 0 where it has none. */
void account_pins(const struct profile *profile, uint32_t *ret_login, uint32_t *ret_keyring);

#endif

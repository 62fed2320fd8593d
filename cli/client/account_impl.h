/* Between the files of cli/client/account. */
#ifndef KLUIS_CLI_CLIENT_ACCOUNT_IMPL_H
#define KLUIS_CLI_CLIENT_ACCOUNT_IMPL_H

#include "cli/client/account.h"
#include "cli/client/api_account.h"

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

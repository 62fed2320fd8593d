/* Signing in as a person: what `kluis register`, `login`, `passwd` and `recover` share. */
#ifndef KLUIS_CLI_VAULT_SIGNIN_H
#define KLUIS_CLI_VAULT_SIGNIN_H

#include "cli/client/account.h"
#include "cli/vault/app.h"
#include "cli/vault/trust.h"

/* Zeroed but for inv; signin_close() releases it, also after a failure. */
struct signin {
	struct invocation *inv;
	char *dir;
	struct profile *profile;
	struct client *client; /* Without a session at first. */
	struct agent *agent;   /* Of this profile, whether it runs or not. */
	struct buf password;
	struct account_login login;
	bool fresh; /* The profile was made by this run. */
};

/* The person's profile, or with --name and what trust_cluster() asks for a new one, in memory.
 * KLUIS_EINVAL: a service account's; KLUIS_ENOTFOUND: none, and no --name. */
KLUIS_MUST_CHECK int signin_open(struct signin *s);
/* Asks for the password (and, where it is not known here, the account key), and signs in by it. */
KLUIS_MUST_CHECK int signin_password(struct signin *s);
/* Of a first request that ended with rc: true when the cluster was restored and the person accepts
 * it, so that the request can be made again; *rc is why not. */
bool signin_restored(struct signin *s, int *rc);
/* Asks for a key or a code until the session is a full one. */
KLUIS_MUST_CHECK int signin_factor(struct signin *s);
/* Starts the agent if there is none, and gives it the unlocked profile's secrets. */
KLUIS_MUST_CHECK int signin_hand_over(struct signin *s);
/* What came of it, to stdout. */
void signin_print(const struct signin *s, const char *device_state);
void signin_close(struct signin *s);

#endif

/* Who talks: enrolment of a service account, and sessions from a challenge that the device key
 * signs. */
#ifndef KLUIS_CLI_CLIENT_SESSION_H
#define KLUIS_CLI_CLIENT_SESSION_H

#include "cli/client/profile.h"

/* (A person signs in by cli/client/account: her client has no token at first, and a call that needs
 * one is KLUIS_EUNAUTHENTICATED.)
 *
 * A client that trusts the profile's CA alone, watches its lineage, signs in with its device key
 * when it must, and keeps the token in the profile. The profile must outlive the client. first:
 * the end point to ask first, NULL for any. give_up_ms 0: CLIENT_GIVE_UP_MS. */
KLUIS_MUST_CHECK int session_client(struct profile *profile, const char *first, uint64_t give_up_ms,
	struct client **ret_client, struct err *e);

/* The end points of such a client: first ahead of the profile's. They live as long as both do.
 * Returns how many. */
size_t session_endpoints(const struct profile *profile, const char *first,
	const char *ret_endpoints[CLIENT_ENDPOINTS_MAX]);

/* Enrols the account that an operator made: token is worth one enrolment. The profile is saved
 * before the request leaves, so that an answer lost on the way loses no keys: enrolling the same
 * profile again with the same token is answered as the first time. */
KLUIS_MUST_CHECK int session_enrol(
	struct profile *profile, struct client *client, const char *token, struct err *e);

/* Ends the session at the cluster and forgets the token. */
KLUIS_MUST_CHECK int session_end(struct profile *profile, struct client *client, struct err *e);

#endif

/* The log of what happened to a person's account, held against itself and against what this profile
 * saw of it before: each row has the hash of the one before, so that none can be changed, left out
 * or put between without all later ones being others. */
#ifndef KLUIS_CLI_CLIENT_ACCESS_LOG_H
#define KLUIS_CLI_CLIENT_ACCESS_LOG_H

#include <jansson.h>

#include "cli/client/profile.h"

/* items: the whole log as GET /v1/account/access-log lists it. KLUIS_EVERIFY: its rows do not
 * follow each other, or are of somebody else; KLUIS_EPIN: it lacks the newest row that this profile
 * has seen, or shows another in its place. Otherwise its newest row is what the next one is held
 * against (profile file `log`). After a restore that was accepted it begins anew. */
KLUIS_MUST_CHECK int access_log_check(
	const struct profile *profile, const json_t *items, struct err *e);

#endif

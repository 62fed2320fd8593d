/* Where a request comes from, and whether its user's networks and places allow a login from there.
 * Private to node/. */
#ifndef KLUIS_NODE_PLACE_H
#define KLUIS_NODE_PLACE_H

#include "node/api_call.h"
#include "node/factor.h"

struct place {
	const char *host; /* Numeric; lives as long as the request. */
	struct location_labels labels;
};
/* The lookup walks a table of up to LOCATION_TABLE_ROWS_MAX rows and files that may lie on disk: on
 * pool_db, for somebody who has proven who she is. */
void place_of(const struct api_call *call, struct place *ret_place);
/* Whether the factor (of MFA_IP or MFA_LOCATION) holds this place. */
bool place_allows(const struct place *place, const struct factor *factor);
/* Whether the user may log in from where the call comes from: from one of the networks, if any
 * factor names networks, and at one of the places, if any names places. On call->view, in a
 * route's `check`: behind the proof, as place_of(). */
KLUIS_MUST_CHECK int place_check(
	struct api_call *call, const uint8_t user_id[16], bool *ret_allowed);
/* What a login from elsewhere is told, once it has proven everything else: KLUIS_EFORBIDDEN. */
int place_refused(struct api_call *call);

#endif

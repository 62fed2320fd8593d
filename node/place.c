#include "node/place.h"

#include <assert.h>

#include "node/api_core.h"
#include "node/mfa_proof.h"

void place_of(const struct api_call *call, struct place *ret_place)
{
	ret_place->host = call->req->host;
	location_find(call->api->config.location, ret_place->host, &ret_place->labels);
}

bool place_allows(const struct place *place, const struct factor *factor)
{
	bool allowed = false;

	assert(factor->method == MFA_IP || factor->method == MFA_LOCATION);
	for (size_t i = 0; i < factor->n && !allowed; i++) {
		allowed = factor->method == MFA_IP
				  ? network_has(&factor->network[i], place->host)
				  : location_labels_have(&place->labels, factor->place[i]);
	}
	return allowed;
}

int place_check(struct api_call *call, const uint8_t user_id[16], bool *ret_allowed)
{
	_cleanup_(x_freep) struct mfa_row *rows = x_calloc(MFA_PER_USER_MAX, sizeof *rows);
	_cleanup_(x_freep) struct factor *factor = x_malloc(sizeof *factor);
	bool named[MFA_LOCATION + 1] = {false}, good[MFA_LOCATION + 1] = {false};
	struct place here;
	size_t n = 0;
	int rc = mfa_store_list(call->view, user_id, rows, &n, &call->e);

	place_of(call, &here);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (rows[i].method != MFA_IP && rows[i].method != MFA_LOCATION) {
			continue;
		}
		rc = mfa_factor(call, &rows[i], factor);
		named[rows[i].method] = true;
		good[rows[i].method] |= rc == 0 && place_allows(&here, factor);
	}
	if (rc == 0) {
		*ret_allowed = (!named[MFA_IP] || good[MFA_IP]) &&
			       (!named[MFA_LOCATION] || good[MFA_LOCATION]);
	}
	return rc;
}

int place_refused(struct api_call *call)
{
	return call_fail(call, KLUIS_EFORBIDDEN, "logins from this network or place are refused");
}

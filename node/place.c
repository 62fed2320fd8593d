#include "node/place.h"

#include <assert.h>

#include "node/api_core.h"
#include "node/mfa_proof.h"

void place_of(const struct api_call *call, struct place *ret_place)
{
	assert(!kv_view_cache_only(call->view)); /* On pool_db. */
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

/* A place is looked up when a factor names places, and once. */
struct place_trial {
	struct place here;
	bool found; /* here.labels are known. */
	bool named[MFA_LOCATION + 1], good[MFA_LOCATION + 1];
};

static int place_try(struct api_call *call, struct place_trial *trial, const struct mfa_row *row)
{
	_cleanup_(x_freep) struct factor *factor = x_malloc(sizeof *factor);
	int rc = mfa_factor(call, row, factor);

	if (rc != 0) {
		return rc;
	}
	if (row->method == MFA_LOCATION && !trial->found) {
		place_of(call, &trial->here);
		trial->found = true;
	}
	trial->named[row->method] = true;
	trial->good[row->method] |= place_allows(&trial->here, factor);
	return 0;
}

int place_check(struct api_call *call, const uint8_t user_id[16], bool *ret_allowed)
{
	_cleanup_(x_freep) struct mfa_row *rows = x_calloc(MFA_PER_USER_MAX, sizeof *rows);
	struct place_trial trial = {.here.host = call->req->host};
	size_t n = 0;
	int rc = mfa_store_list(call->view, user_id, rows, &n, &call->e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (rows[i].method == MFA_IP || rows[i].method == MFA_LOCATION) {
			rc = place_try(call, &trial, &rows[i]);
		}
	}
	if (rc == 0) {
		*ret_allowed = (!trial.named[MFA_IP] || trial.good[MFA_IP]) &&
			       (!trial.named[MFA_LOCATION] || trial.good[MFA_LOCATION]);
	}
	return rc;
}

int place_refused(struct api_call *call)
{
	return call_fail(call, KLUIS_EFORBIDDEN, "logins from this network or place are refused");
}

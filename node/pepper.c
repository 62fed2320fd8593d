#include "node/pepper.h"

#include <stdio.h>

#include "base/log.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/person_store.h"

enum { PEPPER_NAMES_MAX = 4 * PEPPER_LOOK_MAX }; /* Names of deleted accounts are among them. */

static int look_at(const struct kv_view *view, const struct secrets *secrets,
	const struct person_name_row *name, struct pepper_look *look, struct err *e)
{
	_cleanup_(secret_release) struct secret verifier = SECRET_INIT;
	const struct sealed_place place = {name->user_id, "v", NULL};
	struct person_row person;
	int rc = name->gone ? KLUIS_ENOTFOUND : person_store_get(view, name->user_id, &person, e);

	if (rc != 0) {
		return rc == KLUIS_ENOTFOUND ? 0 : rc;
	}
	if (sealed_open(secrets, &place, person.pepper_id,
		    bytes_of(person.verifier, person.verifier_bytes), &verifier, NULL) == 0) {
		look->opened++;
	} else {
		look->failed++;
	}
	return 0;
}

int pepper_look(const struct kv_view *view, const struct secrets *secrets,
	struct pepper_look *ret_look, struct err *e)
{
	_cleanup_(x_freep) struct person_name_row *names =
		x_calloc(PEPPER_NAMES_MAX, sizeof *names);
	struct pepper_look look = {.opened = 0};
	size_t n = 0;
	int rc = person_name_store_list(view, "", names, PEPPER_NAMES_MAX, &n, e);

	for (size_t i = 0; rc == 0 && i < n && look.opened + look.failed < PEPPER_LOOK_MAX; i++) {
		rc = look_at(view, secrets, &names[i], &look, e);
	}
	if (rc == 0) {
		*ret_look = look;
	}
	return rc;
}

enum pepper_state pepper_state(const struct pepper_look *look)
{
	if (look->opened > 0) {
		return PEPPER_SAME;
	}
	return look->failed > 0 ? PEPPER_DIFFERS : PEPPER_UNKNOWN;
}

void api_set_pepper(struct api *api, const struct pepper_look *look)
{
	enum pepper_state state = pepper_state(look);

	if (atomic_exchange(&api->pepper, (int)state) == (int)state) {
		return;
	}
	if (state == PEPPER_DIFFERS) {
		log_err("op=pepper state=differs failed=%u msg=\"the secrets file of this node is "
			"another than accounts are sealed under: nobody signs in here\"",
			look->failed);
	} else {
		log_info("op=pepper state=%s opened=%u failed=%u",
			state == PEPPER_SAME ? "same" : "unknown", look->opened, look->failed);
	}
}

static bool pepper_differs(struct api *api)
{
	return atomic_load(&api->pepper) == PEPPER_DIFFERS;
}

void api_pepper_text(struct api *api, bool *ret_critical, char *to, size_t size)
{
	unsigned misses = atomic_load(&api->pepper_misses);

	*ret_critical = pepper_differs(api);
	to[0] = 0;
	if (*ret_critical) {
		(void)snprintf(to, size,
			"the secrets file of this node is another than accounts are sealed under: "
			"nobody signs in here. Put the cluster's in its place ('kluisd "
			"seal-secrets' at another site) and start the node again");
	} else if (misses > 0) {
		(void)snprintf(to, size,
			"since the start %u times what an account is proven by was sealed under "
			"another pepper than this node's: a node that was started with another "
			"secrets file has made it",
			misses);
	}
}

int call_unseal(struct api_call *call, const struct sealed_place *place, unsigned pepper_id,
	struct bytes sealed, struct secret *ret_value)
{
	struct err why = {0};
	int rc = sealed_open(call->api->config.secrets, place, pepper_id, sealed, ret_value, &why);

	if (rc == 0) {
		return 0;
	}
	if (atomic_fetch_add(&call->api->pepper_misses, 1) == 0) {
		log_err("op=pepper state=miss error=\"%s\"", why.text);
	}
	return call_fail(
		call, KLUIS_EBEHIND, "this node cannot open what the account is proven by");
}

int call_pepper(struct api_call *call)
{
	return pepper_differs(call->api)
		       ? call_fail(call, KLUIS_EBEHIND,
				 "this node's secrets are not those of the cluster")
		       : 0;
}

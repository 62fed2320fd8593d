/* What others invite the profile's owner to, and whether they could. */
#include <string.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/share.h"

/* Who founded it, by its verified chain. */
static int invited_by(struct people *people, struct share_invitation *to, struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	const struct identity *founder;
	int rc = membership_load(people, to->kind, to->id, &m, e);

	rc = rc != 0 ? rc : people_get(people, m->steps[0].member_id, false, &founder, e);
	rc = rc != 0 ? rc : share_check_invited(people_profile(people), m, e);
	if (rc == 0) {
		memcpy(to->by, founder->name, sizeof founder->name);
	}
	return rc;
}

/* *ret_is: it is an invitation, and not accepted or declined. A group may give the vault already.
 */
static int invitation_parse(
	const json_t *item, struct share_invitation *to, bool *ret_is, struct err *e)
{
	const char *state = json_string_value(json_object_get(item, "state"));
	const char *offered = json_string_value(json_object_get(item, "invited"));
	struct json_reader r = json_reader_of(item);
	const char *role = json_reader_string(&r, "role");
	int rc;

	json_reader_hex(&r, "id", to->id, ID_BYTES);
	(void)snprintf(to->role, sizeof to->role, "%s", offered != NULL ? offered : role);
	rc = json_reader_end(&r, "invitation", e);
	*ret_is = rc == 0 && (offered != NULL || (state != NULL && strcmp(state, "invited") == 0));
	return rc;
}

int share_invitations(struct people *people, unsigned kind,
	struct share_invitation **ret_invitations, size_t *ret_n, struct err *e)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(x_freep) char *target = x_asprintf("/v1/%s", membership_kind_path(kind));
	_cleanup_(x_freep) struct share_invitation *list = NULL;
	size_t n = 0;
	int rc = api_list(people_client(people), target, CLIENT_AUTH | CLIENT_READ,
		SHARE_INVITATIONS_MAX, &items, e);

	list = x_calloc(json_array_size(items) + 1, sizeof *list);
	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		struct share_invitation *to = &list[n];
		bool is;

		*to = (struct share_invitation){.kind = kind};
		rc = invitation_parse(json_array_get(items, i), to, &is, e);
		if (is) {
			(void)(invited_by(people, to, &to->problem) == 0);
			n++;
		}
	}
	if (rc == 0) {
		*ret_invitations = list;
		*ret_n = n;
		list = NULL;
	}
	return rc;
}

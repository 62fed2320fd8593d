/* Who may do what among those who are in it: another role for one of them, and handing over. */
#include <string.h>

#include "base/text.h"
#include "cli/client/share_impl.h"

static int check_in_it(const struct membership *m, const struct share_with *with, struct err *e)
{
	return members_find(&m->members, with->id) != NULL
		       ? 0
		       : err_set(e, KLUIS_ENOTFOUND, "'%s' is not in the %s", with->name,
				 membership_kind_name(m->members.kind));
}

int share_check_not_last(const struct membership *m, const struct share_with *with, struct err *e)
{
	bool is_admin = false, other = false;

	for (size_t i = 0; i < m->members.count; i++) {
		const struct member *member = &m->members.member[i];
		bool same = memcmp(member->id, with->id, ID_BYTES) == 0;

		is_admin |= same && member->role == MEMBER_ADMIN;
		other |= !same && member->role == MEMBER_ADMIN;
	}
	return !is_admin || other ? 0
				  : err_set(e, KLUIS_EFORBIDDEN,
					    "nobody could manage the %s then: make another member "
					    "admin first",
					    membership_kind_name(m->members.kind));
}

int share_check_accepted(struct people *people, const struct membership *m,
	const struct share_with *with, struct err *e)
{
	struct share_member *members;
	bool accepted = false;
	size_t n;
	int rc = share_members(people, m, &members, &n, e);

	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		accepted |= memcmp(members[i].who.id, with->id, ID_BYTES) == 0 &&
			    strcmp(members[i].state, "accepted") == 0;
	}
	free(members);
	return accepted ? 0
			: err_set(e, KLUIS_EPRECONDITION,
				  "'%s' has not accepted the %s yet: nobody could manage it",
				  with->name, membership_kind_name(m->members.kind));
}

static int role_statement(struct share_change *change, struct share_section *section,
	const uint8_t id[ID_BYTES], unsigned role, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	share_body_role(&body, id, role);
	return share_statement(change, section, MEMBER_ROLE, buf_bytes(&body), e);
}

int share_role(struct share_change *change, struct share_section *section,
	const struct share_with *with, unsigned role, struct err *e)
{
	const struct membership *m = section->membership;
	int rc = check_in_it(m, with, e);

	rc = rc != 0 || role == MEMBER_ADMIN ? rc : share_check_not_last(m, with, e);
	return rc != 0 ? rc : role_statement(change, section, with->id, role, e);
}

int share_hand_over(struct share_change *change, struct share_section *section,
	const struct share_with *with, unsigned role, struct err *e)
{
	const uint8_t *me = people_profile(change->people)->user_id;
	const struct membership *m = section->membership;
	int rc;

	if (with->kind != MEMBER_USER || memcmp(with->id, me, ID_BYTES) == 0) {
		return err_set(e, KLUIS_EINVAL, "only to another user can a %s be handed over",
			membership_kind_name(m->members.kind));
	}
	rc = check_in_it(m, with, e);
	rc = rc != 0 ? rc : share_check_accepted(change->people, m, with, e);
	if (rc == 0 && members_find(&m->members, with->id)->role != MEMBER_ADMIN) {
		rc = role_statement(change, section, with->id, MEMBER_ADMIN, e);
	}
	return rc != 0 ? rc : role_statement(change, section, me, role, e);
}

static void vault_named(
	struct people *people, const uint8_t id[ID_BYTES], struct share_vault *ret_vault)
{
	struct profile *profile = people_profile(people);
	struct err ignored = {0};
	struct vault *vault;

	memcpy(ret_vault->id, id, ID_BYTES);
	hex_encode(bytes_of(id, ID_BYTES), ret_vault->name);
	if (vault_open_id(profile, people_client(people), id, &vault, &ignored) == 0) {
		memcpy(ret_vault->name, vault->name, sizeof vault->name);
		vault_close(vault);
	}
}

/* *ret_is: the group is in the vault, and the user does not manage it. Of one whose list of members
 * does not hold nobody can say. */
static int is_unmanaged(struct people *people, const uint8_t vault_id[ID_BYTES],
	const uint8_t group_id[ID_BYTES], const struct share_with *with, bool *ret_is,
	struct err *e)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	const struct member *member;
	struct err why = {0};
	int rc = membership_load(people, MEMBER_OBJECT_VAULT, vault_id, &m, &why);

	if (rc == KLUIS_EVERIFY) {
		return 0;
	}
	if (rc != 0) {
		return err_set(e, rc, "%s", why.text);
	}
	member = members_find(&m->members, with->id);
	*ret_is = members_find(&m->members, group_id) != NULL &&
		  (member == NULL || member->role != MEMBER_ADMIN);
	return 0;
}

int share_group_unmanaged(struct people *people, const uint8_t group_id[ID_BYTES],
	const struct share_with *with, struct share_vault **ret_vaults, size_t *ret_n,
	struct err *e)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	_cleanup_(x_freep) struct share_vault *vaults = NULL;
	size_t n = 0, found = 0;
	int rc = vault_listed_ids(people_client(people), &ids, &n, e);

	vaults = x_calloc(n + 1, sizeof *vaults);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		bool is = false;

		rc = is_unmanaged(people, ids[i], group_id, with, &is, e);
		if (is) {
			vault_named(people, ids[i], &vaults[found++]);
		}
	}
	if (rc == 0) {
		*ret_vaults = vaults;
		*ret_n = found;
		vaults = NULL;
	}
	return rc;
}

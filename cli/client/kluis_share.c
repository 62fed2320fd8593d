/* The public face of sharing. */
#include "cli/client/kluis_share.h"

#include <assert.h>
#include <string.h>

#include "cli/client/kluis_ask.h"
#include "cli/client/share.h"

static_assert((int)KLUIS_ROLE_READ == (int)MEMBER_READ &&
		      (int)KLUIS_ROLE_WRITE == (int)MEMBER_WRITE &&
		      (int)KLUIS_ROLE_ADMIN == (int)MEMBER_ADMIN,
	"roles");

int kluis_role_check(enum kluis_role role, struct err *e)
{
	return role >= KLUIS_ROLE_READ && role <= KLUIS_ROLE_ADMIN
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "no role");
}

static int share_look(struct kluis *k, const char *name, const char *who, struct vault **ret_vault,
	struct share_with *ret_with, struct err *e)
{
	struct vault *vault;
	int rc = share_check_person(k->profile, e);

	rc = rc != 0 ? rc : kluis_open_vault(k, name, &vault, e);
	if (rc != 0) {
		return rc;
	}
	rc = who == NULL ? 0 : share_resolve(vault->people, who, ret_with, e);
	if (rc != 0) {
		vault_close(vault);
		return rc;
	}
	*ret_vault = vault;
	return 0;
}

int kluis_vault_share(struct kluis *k, const char *name, const char *who, enum kluis_role role,
	struct kluis_failure *error)
{
	struct vault *vault = NULL;
	struct share_with with;
	struct err e = {0};
	int rc = kluis_role_check(role, &e);

	rc = rc != 0 ? rc : share_look(k, name, who, &vault, &with, &e);
	if (rc == 0) {
		rc = members_find(&vault->membership->members, with.id) != NULL
			     ? share_set_role(vault, &with, role, &e)
			     : share_add(vault, &with, role, &e);
	}
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_vault_unshare(
	struct kluis *k, const char *name, const char *who, struct kluis_failure *error)
{
	struct vault *vault = NULL;
	struct share_with with;
	struct err e = {0};
	int rc = share_look(k, name, who, &vault, &with, &e);

	rc = rc != 0 ? rc : share_remove(vault, &with, &e);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_vault_verified_only(
	struct kluis *k, const char *name, int *ret_on, struct kluis_failure *error)
{
	struct vault *vault = NULL;
	struct err e = {0};
	int rc = share_look(k, name, NULL, &vault, NULL, &e);

	if (rc == 0) {
		*ret_on = share_requires_verified(vault);
	}
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_vault_set_verified_only(
	struct kluis *k, const char *name, int on, struct kluis_failure *error)
{
	struct vault *vault = NULL;
	struct err e = {0};
	int rc = share_look(k, name, NULL, &vault, NULL, &e);

	rc = rc != 0 ? rc : share_require_verified(vault, on != 0, &e);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

static void members_give(
	const struct share_member *members, size_t n, kluis_member_fn *each, void *arg)
{
	for (size_t i = 0; i < n; i++) {
		const struct share_member *m = &members[i];
		struct kluis_member shown = {.name = m->who.name,
			.is_group = m->who.kind == MEMBER_GROUP,
			.role = (enum kluis_role)m->role,
			.state = m->state,
			.verified = m->verified};

		memcpy(shown.id, m->who.id, ID_BYTES);
		each(arg, &shown);
	}
}

int kluis_vault_members(struct kluis *k, const char *name, kluis_member_fn *each, void *arg,
	struct kluis_failure *error)
{
	struct share_member *members = NULL;
	struct vault *vault = NULL;
	struct err e = {0};
	size_t n = 0;
	int rc = share_look(k, name, NULL, &vault, NULL, &e);

	rc = rc != 0 ? rc : vault_members_refresh(vault, &e);
	rc = rc != 0 ? rc : share_members(vault->people, vault->membership, &members, &n, &e);
	if (rc == 0) {
		members_give(members, n, each, arg);
	}
	free(members);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

/* What is not about one vault. */
static int people_begin(struct kluis *k, struct people **ret_people, struct err *e)
{
	int rc = share_check_person(k->profile, e);

	*ret_people = NULL;
	return rc != 0 ? rc : kluis_people(k, ret_people, e);
}

int kluis_vault_rekey(struct kluis *k, const char *name, struct kluis_failure *error)
{
	struct vault *vault = NULL;
	struct err e = {0};
	int rc = share_look(k, name, NULL, &vault, NULL, &e);

	rc = rc != 0 ? rc : share_remove(vault, NULL, &e);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

static int keep_check(enum kluis_role keep, struct err *e)
{
	return keep == KLUIS_ROLE_READ || keep == KLUIS_ROLE_WRITE
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "who hands over keeps the role read or write");
}

int kluis_vault_transfer(struct kluis *k, const char *name, const char *user, enum kluis_role keep,
	struct kluis_failure *error)
{
	struct vault *vault = NULL;
	struct share_with with;
	struct err e = {0};
	int rc = keep_check(keep, &e);

	rc = rc != 0 ? rc : share_look(k, name, user, &vault, &with, &e);
	rc = rc != 0 ? rc : share_transfer(vault, &with, keep, &e);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

static int invitations_give(
	struct people *people, unsigned kind, kluis_invitation_fn *each, void *arg, struct err *e)
{
	_cleanup_(x_freep) struct share_invitation *list = NULL;
	size_t n = 0;
	int rc = share_invitations(people, kind, &list, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct kluis_invitation shown = {.is_group = kind == MEMBER_OBJECT_GROUP,
			.role = list[i].role,
			.by = list[i].by,
			.problem_code = list[i].problem.code,
			.problem = list[i].problem.code == 0 ? NULL : list[i].problem.text};

		memcpy(shown.id, list[i].id, ID_BYTES);
		each(arg, &shown);
	}
	return rc;
}

int kluis_invitations(
	struct kluis *k, kluis_invitation_fn *each, void *arg, struct kluis_failure *error)
{
	struct people *people;
	struct err e = {0};
	int rc = people_begin(k, &people, &e);

	rc = rc != 0 ? rc : invitations_give(people, MEMBER_OBJECT_VAULT, each, arg, &e);
	rc = rc != 0 ? rc : invitations_give(people, MEMBER_OBJECT_GROUP, each, arg, &e);
	people_free(people);
	return kluis_give(rc, &e, error);
}

int kluis_invitation_answer(struct kluis *k, int is_group, const unsigned char id[16], int accept,
	struct kluis_failure *error)
{
	struct people *people;
	struct err e = {0};
	int rc = people_begin(k, &people, &e);

	rc = rc != 0 ? rc
		     : share_answer(people, is_group ? MEMBER_OBJECT_GROUP : MEMBER_OBJECT_VAULT,
			       id, accept != 0, &e);
	people_free(people);
	return kluis_give(rc, &e, error);
}

int kluis_groups(struct kluis *k, kluis_group_fn *each, void *arg, struct kluis_failure *error)
{
	struct share_group *groups = NULL;
	struct people *people;
	struct err e = {0};
	size_t n = 0;
	int rc = people_begin(k, &people, &e);

	rc = rc != 0 ? rc : share_groups(people, &groups, &n, &e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct kluis_group shown = {
			.name = groups[i].name, .role = groups[i].role, .state = groups[i].state};

		memcpy(shown.id, groups[i].id, ID_BYTES);
		each(arg, &shown);
	}
	share_groups_free(groups);
	people_free(people);
	return kluis_give(rc, &e, error);
}

int kluis_group_create(
	struct kluis *k, const char *name, unsigned char ret_id[16], struct kluis_failure *error)
{
	struct people *people;
	struct err e = {0};
	int rc = people_begin(k, &people, &e);

	rc = rc != 0 ? rc : share_group_create(people, name, ret_id, &e);
	people_free(people);
	return kluis_give(rc, &e, error);
}

/* A group, and perhaps somebody whom a call on it is about. */
struct grouping {
	struct people *people;
	struct share_group group;
	struct share_with with;
	struct err err;
};

/* user NULL: nobody. Behind it comes grouping_end(), also after a failure. */
static int grouping_begin(struct grouping *g, struct kluis *k, const char *group, const char *user)
{
	int rc;

	*g = (struct grouping){.people = NULL};
	rc = people_begin(k, &g->people, &g->err);
	rc = rc != 0 ? rc : share_find_group(g->people, group, &g->group, &g->err);
	return rc != 0 || user == NULL ? rc : share_resolve(g->people, user, &g->with, &g->err);
}

static int grouping_end(struct grouping *g, int rc, struct kluis_failure *error)
{
	people_free(g->people);
	return kluis_give(rc, &g->err, error);
}

int kluis_group_add(struct kluis *k, const char *group, const char *user, enum kluis_role role,
	struct kluis_failure *error)
{
	struct grouping g;
	int rc = grouping_begin(&g, k, group, user);

	rc = rc != 0 ? rc : kluis_role_check(role, &g.err);
	rc = rc != 0 ? rc : share_group_add(g.people, g.group.id, &g.with, role, &g.err);
	return grouping_end(&g, rc, error);
}

int kluis_group_set_role(struct kluis *k, const char *group, const char *user, enum kluis_role role,
	struct kluis_failure *error)
{
	struct grouping g;
	int rc = grouping_begin(&g, k, group, user);

	rc = rc != 0 ? rc : kluis_role_check(role, &g.err);
	rc = rc != 0 ? rc : share_group_set_role(g.people, g.group.id, &g.with, role, &g.err);
	return grouping_end(&g, rc, error);
}

int kluis_group_transfer(
	struct kluis *k, const char *group, const char *user, struct kluis_failure *error)
{
	struct grouping g;
	int rc = grouping_begin(&g, k, group, user);

	rc = rc != 0 ? rc : share_group_transfer(g.people, g.group.id, &g.with, &g.err);
	return grouping_end(&g, rc, error);
}

int kluis_group_members(struct kluis *k, const char *group, kluis_member_fn *each, void *arg,
	struct kluis_failure *error)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	struct share_member *members = NULL;
	struct grouping g;
	size_t n = 0;
	int rc = grouping_begin(&g, k, group, NULL);

	rc = rc != 0 ? rc : membership_load(g.people, MEMBER_OBJECT_GROUP, g.group.id, &m, &g.err);
	rc = rc != 0 ? rc : share_members(g.people, m, &members, &n, &g.err);
	if (rc == 0) {
		members_give(members, n, each, arg);
	}
	free(members);
	return grouping_end(&g, rc, error);
}

/* user NULL: new keys alone. */
static int group_rekey(struct kluis *k, const char *group, const char *user, size_t *ret_vaults,
	struct kluis_failure *error)
{
	struct grouping g;
	size_t vaults = 0;
	int rc = grouping_begin(&g, k, group, user);

	rc = rc != 0 ? rc
		     : share_group_remove(g.people, g.group.id, user == NULL ? NULL : &g.with,
			       &vaults, &g.err);
	if (rc == 0 && ret_vaults != NULL) {
		*ret_vaults = vaults;
	}
	return grouping_end(&g, rc, error);
}

int kluis_group_remove(struct kluis *k, const char *group, const char *user, size_t *ret_vaults,
	struct kluis_failure *error)
{
	assert(user != NULL);
	return group_rekey(k, group, user, ret_vaults, error);
}

int kluis_group_rekey(
	struct kluis *k, const char *group, size_t *ret_vaults, struct kluis_failure *error)
{
	return group_rekey(k, group, NULL, ret_vaults, error);
}

int kluis_group_delete(struct kluis *k, const char *group, struct kluis_failure *error)
{
	struct grouping g;
	int rc = grouping_begin(&g, k, group, NULL);

	rc = rc != 0 ? rc : share_group_delete(g.people, g.group.id, &g.err);
	return grouping_end(&g, rc, error);
}

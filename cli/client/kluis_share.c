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

static int share_role_check(enum kluis_role role, struct err *e)
{
	return role >= KLUIS_ROLE_READ && role <= KLUIS_ROLE_ADMIN
		       ? 0
		       : err_set(e, KLUIS_EINVAL, "no role");
}

static int share_look(struct kluis *k, const char *name, const char *who, struct vault **ret_vault,
	struct share_with *ret_with, struct err *e)
{
	struct vault *vault;
	int rc = kluis_person_check(k, e);

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
	int rc = share_role_check(role, &e);

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

/* What is not about one vault. The caller frees *ret_people, also after a failure. */
static int people_begin(struct kluis *k, struct people **ret_people, struct err *e)
{
	int rc = kluis_person_check(k, e);

	*ret_people = NULL;
	rc = rc != 0 ? rc : kluis_refresh(k, e);
	if (rc == 0) {
		*ret_people = people_new(k->profile, k->client);
	}
	return rc;
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

int kluis_group_add(struct kluis *k, const char *group, const char *user, enum kluis_role role,
	struct kluis_failure *error)
{
	struct share_group found;
	struct share_with with;
	struct people *people;
	struct err e = {0};
	int rc = people_begin(k, &people, &e);

	rc = rc != 0 ? rc : share_role_check(role, &e);
	rc = rc != 0 ? rc : share_find_group(people, group, &found, &e);
	rc = rc != 0 ? rc : share_resolve(people, user, &with, &e);
	rc = rc != 0 ? rc : share_group_add(people, found.id, &with, role, &e);
	people_free(people);
	return kluis_give(rc, &e, error);
}

int kluis_group_remove(struct kluis *k, const char *group, const char *user, size_t *ret_vaults,
	struct kluis_failure *error)
{
	struct share_group found;
	struct share_with with;
	struct people *people;
	struct err e = {0};
	size_t vaults = 0;
	int rc = people_begin(k, &people, &e);

	rc = rc != 0 ? rc : share_find_group(people, group, &found, &e);
	rc = rc != 0 ? rc : share_resolve(people, user, &with, &e);
	rc = rc != 0 ? rc : share_group_remove(people, found.id, &with, &vaults, &e);
	if (rc == 0 && ret_vaults != NULL) {
		*ret_vaults = vaults;
	}
	people_free(people);
	return kluis_give(rc, &e, error);
}

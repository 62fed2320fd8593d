/* kluis vault share|unshare|members|rekey|transfer|invitations|accept|decline */
#include <string.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/share.h"
#include "cli/vault/app.h"

static const char *const role_names[] = {
	[0] = "none", [MEMBER_READ] = "read", [MEMBER_WRITE] = "write", [MEMBER_ADMIN] = "admin"};

int app_role_of(struct invocation *inv, const char *text, unsigned *ret_role)
{
	for (unsigned i = MEMBER_READ; i <= MEMBER_ADMIN; i++) {
		if (strcmp(text, role_names[i]) == 0) {
			*ret_role = i;
			return 0;
		}
	}
	return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no role: read, write or admin", text);
}

int app_role(struct invocation *inv, unsigned otherwise, unsigned *ret_role)
{
	const char *text = invocation_value(inv, "role");

	if (text != NULL) {
		return app_role_of(inv, text, ret_role);
	}
	*ret_role = otherwise;
	return 0;
}

int app_role_kept(struct invocation *inv, unsigned *ret_role)
{
	int rc = app_role(inv, MEMBER_WRITE, ret_role);

	return rc == 0 && *ret_role == MEMBER_ADMIN
		       ? err_set(&inv->err, KLUIS_EINVAL,
				 "who hands over is no admin then: to manage it together make the "
				 "other one admin, too")
		       : rc;
}

int app_need_person(struct app *k)
{
	return share_check_person(k->profile, &k->inv->err);
}

static int share_open(struct app *k, struct vault **ret_vault, struct share_with *ret_with)
{
	struct vault *vault = NULL;
	int rc = app_need_person(k);

	rc = rc != 0 ? rc : app_open_vault(k, k->inv->args[0], &vault);
	if (rc == 0 && ret_with != NULL) {
		rc = share_resolve(vault->people, k->inv->args[1], ret_with, &k->inv->err);
	}
	if (rc != 0) {
		vault_close(vault);
		return rc;
	}
	*ret_vault = vault;
	return 0;
}

static void share_show(
	struct app *k, const struct vault *vault, const struct share_with *with, const char *role)
{
	static const struct output_column columns[] = {{"vault", "Vault", OUTPUT_TEXT},
		{"member", "Member", OUTPUT_TEXT}, {"id", "Id", OUTPUT_TEXT},
		{"role", "Role", OUTPUT_TEXT}, {"members_rev", "Change", OUTPUT_TEXT}};
	json_t *record = json_pack("{s:s, s:s, s:o, s:s, s:I}", "vault", vault->name, "member",
		with->name, "id", json_hex(bytes_of(with->id, ID_BYTES)), "role", role,
		"members_rev", (json_int_t)vault->membership->members.seq);

	output_record(&k->inv->out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
}

/* A member already: then the role is what is asked for. */
static int share_apply(struct app *k, struct vault *vault, const struct share_with *with)
{
	unsigned role;
	bool given = invocation_value(k->inv, "role") != NULL;
	int rc = app_role(k->inv, MEMBER_READ, &role);

	if (rc != 0) {
		return rc;
	}
	rc = given && members_find(&vault->membership->members, with->id) != NULL
		     ? share_set_role(vault, with, role, &k->inv->err)
		     : share_add(vault, with, role, &k->inv->err);
	if (rc == 0) {
		share_show(k, vault, with, role_names[role]);
	}
	return rc;
}

static int share_set_verified(struct app *k, struct vault *vault)
{
	const char *text = invocation_value(k->inv, "verified-only");

	if (text == NULL) {
		return 0;
	}
	if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0) {
		return err_set(&k->inv->err, KLUIS_EINVAL, "--verified-only is on or off");
	}
	return share_require_verified(vault, strcmp(text, "on") == 0, &k->inv->err);
}

static int vault_share_body(struct app *k)
{
	bool with_somebody = k->inv->n_args > 1;
	struct share_with with;
	struct vault *vault;
	int rc = share_open(k, &vault, with_somebody ? &with : NULL);

	if (rc != 0) {
		return rc;
	}
	rc = share_set_verified(k, vault);
	if (rc == 0 && with_somebody) {
		rc = share_apply(k, vault, &with);
	} else if (rc == 0 && invocation_value(k->inv, "verified-only") == NULL) {
		rc = err_set(&k->inv->err, KLUIS_EINVAL, "with whom? USER or group:NAME");
	}
	vault_close(vault);
	return rc;
}

int app_vault_share(struct invocation *inv)
{
	return app_run(inv, vault_share_body);
}

static int vault_unshare_body(struct app *k)
{
	struct share_with with;
	struct vault *vault;
	int rc = share_open(k, &vault, &with);

	if (rc != 0) {
		return rc;
	}
	rc = share_remove(vault, &with, &k->inv->err);
	if (rc == 0) {
		share_show(k, vault, &with, "none");
	}
	vault_close(vault);
	return rc;
}

int app_vault_unshare(struct invocation *inv)
{
	return app_run(inv, vault_unshare_body);
}

static int vault_rekey_body(struct app *k)
{
	struct vault *vault;
	int rc = share_open(k, &vault, NULL);

	if (rc != 0) {
		return rc;
	}
	rc = share_remove(vault, NULL, &k->inv->err);
	vault_close(vault);
	return rc;
}

int app_vault_rekey(struct invocation *inv)
{
	return app_run(inv, vault_rekey_body);
}

static int vault_transfer_body(struct app *k)
{
	struct share_with with;
	struct vault *vault;
	unsigned role;
	int rc = app_role_kept(k->inv, &role);

	rc = rc != 0 ? rc : share_open(k, &vault, &with);
	if (rc != 0) {
		return rc;
	}
	rc = share_transfer(vault, &with, role, &k->inv->err);
	if (rc == 0) {
		share_show(k, vault, &with, "admin");
	}
	vault_close(vault);
	return rc;
}

int app_vault_transfer(struct invocation *inv)
{
	return app_run(inv, vault_transfer_body);
}

int app_show_members(struct app *k, struct people *people, const struct membership *membership)
{
	static const struct output_column columns[] = {{"member", "MEMBER", OUTPUT_TEXT},
		{"kind", "KIND", OUTPUT_TEXT}, {"id", "ID", OUTPUT_TEXT},
		{"role", "ROLE", OUTPUT_TEXT}, {"state", "STATE", OUTPUT_TEXT},
		{"verified", "VERIFIED", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *rows = json_array();
	struct share_member *members;
	size_t n;
	int rc = share_members(people, membership, &members, &n, &k->inv->err);

	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		const struct share_member *m = &members[i];

		(void)json_array_append_new(rows,
			json_pack("{s:s, s:s, s:o, s:s, s:s, s:b}", "member", m->who.name, "kind",
				m->who.kind == MEMBER_USER ? "user" : "group", "id",
				json_hex(bytes_of(m->who.id, ID_BYTES)), "role",
				role_names[m->role], "state", m->state, "verified", m->verified));
	}
	free(members);
	output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), rows);
	return 0;
}

static int vault_members_body(struct app *k)
{
	struct vault *vault;
	int rc = share_open(k, &vault, NULL);

	if (rc != 0) {
		return rc;
	}
	rc = vault_members_refresh(vault, &k->inv->err);
	rc = rc != 0 ? rc : app_show_members(k, vault->people, vault->membership);
	vault_close(vault);
	return rc;
}

int app_vault_members(struct invocation *inv)
{
	return app_run(inv, vault_members_body);
}

json_t *app_invitation_json(const struct share_invitation *invitation)
{
	return json_pack("{s:s, s:o, s:s, s:s, s:s}", "kind",
		membership_kind_name(invitation->kind), "id",
		json_hex(bytes_of(invitation->id, ID_BYTES)), "role", invitation->role, "by",
		invitation->by, "problem", invitation->problem.text);
}

/* One that cannot be verified is shown as that: it is not to be accepted. */
static int invitation_rows(struct app *k, struct people *people, unsigned kind, json_t *rows)
{
	_cleanup_(x_freep) struct share_invitation *list = NULL;
	size_t n = 0;
	int rc = share_invitations(people, kind, &list, &n, &k->inv->err);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		(void)json_array_append_new(rows, app_invitation_json(&list[i]));
	}
	return rc;
}

static int invitations_body(struct app *k)
{
	static const struct output_column columns[] = {{"kind", "KIND", OUTPUT_TEXT},
		{"id", "ID", OUTPUT_TEXT}, {"role", "ROLE", OUTPUT_TEXT},
		{"by", "FOUNDED BY", OUTPUT_TEXT}, {"problem", "PROBLEM", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *rows = json_array();
	struct people *people = people_new(k->profile, k->client);
	int rc = app_need_person(k);

	rc = rc != 0 ? rc : app_online(k);
	rc = rc != 0 ? rc : invitation_rows(k, people, MEMBER_OBJECT_VAULT, rows);
	rc = rc != 0 ? rc : invitation_rows(k, people, MEMBER_OBJECT_GROUP, rows);
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), rows);
	}
	people_free(people);
	return rc;
}

int app_vault_invitations(struct invocation *inv)
{
	return app_run(inv, invitations_body);
}

/* The kind of what one is invited to under this id. */
static int invitation_find(
	struct app *k, struct people *people, uint8_t ret_id[ID_BYTES], unsigned *ret_kind)
{
	const char *text = k->inv->args[0];
	static const unsigned kinds[] = {MEMBER_OBJECT_VAULT, MEMBER_OBJECT_GROUP};

	if (hex_decode(text, ret_id, ID_BYTES) != 0) {
		return err_set(&k->inv->err, KLUIS_EINVAL,
			"'%s' is no id of 'kluis vault invitations'", text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_(x_freep) struct share_invitation *list = NULL;
		size_t n = 0;
		int rc = share_invitations(people, kinds[i], &list, &n, &k->inv->err);

		for (size_t j = 0; rc == 0 && j < n; j++) {
			if (memcmp(list[j].id, ret_id, ID_BYTES) == 0) {
				*ret_kind = kinds[i];
				return 0;
			}
		}
		if (rc != 0) {
			return rc;
		}
	}
	return err_set(&k->inv->err, KLUIS_ENOTFOUND, "nobody invites you to %s", text);
}

/* What was accepted, under the name that other commands take. */
static int accepted_show(struct app *k, unsigned kind, const uint8_t id[ID_BYTES])
{
	static const struct output_column columns[] = {{"kind", "Kind", OUTPUT_TEXT},
		{"name", "Name", OUTPUT_TEXT}, {"id", "Id", OUTPUT_TEXT}};
	struct vault *vault = NULL;
	json_t *record;
	int rc = 0;

	if (kind == MEMBER_OBJECT_VAULT) {
		rc = vault_open_id(k->profile, k->client, id, &vault, &k->inv->err);
		rc = rc != 0 ? rc : vault_sync(vault, &k->inv->err);
	}
	if (rc == 0) {
		record = json_pack("{s:s, s:s?, s:o}", "kind", membership_kind_name(kind), "name",
			vault == NULL ? NULL : vault->name, "id", json_hex(bytes_of(id, ID_BYTES)));
		output_record(&k->inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	vault_close(vault);
	return rc;
}

static int accept_body(struct app *k)
{
	struct people *people = people_new(k->profile, k->client);
	uint8_t id[ID_BYTES];
	unsigned kind = 0;
	int rc = app_need_person(k);

	rc = rc != 0 ? rc : app_online(k);
	rc = rc != 0 ? rc : invitation_find(k, people, id, &kind);
	rc = rc != 0 ? rc : share_answer(people, kind, id, true, &k->inv->err);
	people_free(people);
	return rc != 0 ? rc : accepted_show(k, kind, id);
}

/* An invitation by its id; what was accepted by its name: "VAULT" or "group:GROUP". */
static int decline_find(
	struct app *k, struct people *people, uint8_t ret_id[ID_BYTES], unsigned *ret_kind)
{
	const char *text = k->inv->args[0];
	struct share_with with;
	int rc;

	if (hex_decode(text, ret_id, ID_BYTES) == 0) {
		return invitation_find(k, people, ret_id, ret_kind);
	}
	if (strncmp(text, "group:", strlen("group:")) == 0) {
		rc = share_resolve(people, text, &with, &k->inv->err);
		if (rc == 0) {
			memcpy(ret_id, with.id, ID_BYTES);
			*ret_kind = MEMBER_OBJECT_GROUP;
		}
		return rc;
	}
	*ret_kind = MEMBER_OBJECT_VAULT;
	return vault_find(k->profile, k->client, text, ret_id, &k->inv->err);
}

static int decline_body(struct app *k)
{
	struct people *people = people_new(k->profile, k->client);
	uint8_t id[ID_BYTES];
	unsigned kind = 0;
	int rc = app_need_person(k);

	rc = rc != 0 ? rc : app_online(k);
	rc = rc != 0 ? rc : decline_find(k, people, id, &kind);
	rc = rc != 0 ? rc : share_answer(people, kind, id, false, &k->inv->err);
	people_free(people);
	return rc;
}

int app_vault_accept(struct invocation *inv)
{
	return app_run(inv, accept_body);
}

int app_vault_decline(struct invocation *inv)
{
	return app_run(inv, decline_body);
}

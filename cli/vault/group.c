/* kluis group create|list|add|role|transfer|remove|members|rekey|delete */
#include <string.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/share.h"
#include "cli/vault/app.h"

/* The group that a command names, and who it is about. */
struct group_turn {
	struct app *k;
	struct people *people;
	struct share_group group;
	struct share_with with;
};

static int turn_with_group(struct app *k, bool with_user, int (*body)(struct group_turn *turn))
{
	struct group_turn turn = {.k = k, .people = people_new(k->profile, k->client)};
	struct err *e = &k->inv->err;
	int rc = app_need_person(k);

	rc = rc != 0 ? rc : app_online(k);
	rc = rc != 0 ? rc : share_find_group(turn.people, k->inv->args[0], &turn.group, e);
	if (rc == 0 && with_user) {
		rc = share_resolve(turn.people, k->inv->args[1], &turn.with, e);
	}
	rc = rc != 0 ? rc : body(&turn);
	people_free(turn.people);
	return rc;
}

static int group_create_body(struct app *k)
{
	static const struct output_column columns[] = {
		{"name", "Name", OUTPUT_TEXT}, {"id", "Id", OUTPUT_TEXT}};
	struct people *people = people_new(k->profile, k->client);
	uint8_t id[ID_BYTES];
	int rc = app_need_person(k);

	rc = rc != 0 ? rc : app_online(k);
	rc = rc != 0 ? rc : share_group_create(people, k->inv->args[0], id, &k->inv->err);
	people_free(people);
	if (rc == 0) {
		json_t *record = json_pack("{s:s, s:o}", "name", k->inv->args[0], "id",
			json_hex(bytes_of(id, ID_BYTES)));

		output_record(&k->inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	return rc;
}

int app_group_create(struct invocation *inv)
{
	return app_run(inv, group_create_body);
}

static int group_list_body(struct app *k)
{
	static const struct output_column columns[] = {{"name", "NAME", OUTPUT_TEXT},
		{"id", "ID", OUTPUT_TEXT}, {"role", "ROLE", OUTPUT_TEXT},
		{"state", "STATE", OUTPUT_TEXT}, {"epoch", "EPOCH", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *rows = json_array();
	struct people *people = people_new(k->profile, k->client);
	struct share_group *groups = NULL;
	size_t n = 0;
	int rc = app_need_person(k);

	rc = rc != 0 ? rc : app_online(k);
	rc = rc != 0 ? rc : share_groups(people, &groups, &n, &k->inv->err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		(void)json_array_append_new(rows,
			json_pack("{s:s, s:o, s:s, s:s, s:I}", "name", groups[i].name, "id",
				json_hex(bytes_of(groups[i].id, ID_BYTES)), "role", groups[i].role,
				"state", groups[i].state, "epoch", (json_int_t)groups[i].epoch));
	}
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), rows);
	}
	share_groups_free(groups);
	people_free(people);
	return rc;
}

int app_group_list(struct invocation *inv)
{
	return app_run(inv, group_list_body);
}

static int group_add_turn(struct group_turn *turn)
{
	struct invocation *inv = turn->k->inv;
	unsigned role;
	int rc = app_role(inv, MEMBER_READ, &role);

	return rc != 0 ? rc
		       : share_group_add(
				 turn->people, turn->group.id, &turn->with, role, &inv->err);
}

static int group_add_body(struct app *k)
{
	return turn_with_group(k, true, group_add_turn);
}

int app_group_add(struct invocation *inv)
{
	return app_run(inv, group_add_body);
}

static int group_role_turn(struct group_turn *turn)
{
	struct invocation *inv = turn->k->inv;
	unsigned role;
	int rc = app_role_of(inv, inv->args[2], &role);

	return rc != 0 ? rc
		       : share_group_set_role(
				 turn->people, turn->group.id, &turn->with, role, &inv->err);
}

static int group_role_body(struct app *k)
{
	return turn_with_group(k, true, group_role_turn);
}

int app_group_role(struct invocation *inv)
{
	return app_run(inv, group_role_body);
}

static void group_transfer_show(
	const struct group_turn *turn, const struct share_vault *vaults, size_t n)
{
	static const struct output_column columns[] = {
		{"group", "Group", OUTPUT_TEXT}, {"admin", "Admin", OUTPUT_TEXT}};
	const struct output *out = &turn->k->inv->out;
	_cleanup_(buf_release) struct buf names = BUF_INIT;
	json_t *rows = json_array(), *record;

	for (size_t i = 0; i < n; i++) {
		buf_printf(&names, "%s'%s'", i == 0 ? "" : ", ", vaults[i].name);
		(void)json_array_append_new(
			rows, json_pack("{s:s, s:o}", "name", vaults[i].name, "id",
				      json_hex(bytes_of(vaults[i].id, ID_BYTES))));
	}
	record = json_pack("{s:s, s:s, s:o}", "group", turn->group.name, "admin", turn->with.name,
		"not_admin_of", rows);
	output_record(out, columns, ARRAY_SIZE(columns), record);
	json_decref(record);
	if (n > 0) {
		output_warning(out,
			"its vaults were not handed over: %s is no admin of %s, and until then "
			"takes nobody out of the group ('kluis vault share VAULT %s --role admin', "
			"or 'kluis vault transfer' for who is in it by name)",
			turn->with.name, buf_str(&names), turn->with.name);
	}
}

/* What it leaves is found out before anything is handed over. */
static int group_transfer_turn(struct group_turn *turn)
{
	_cleanup_(x_freep) struct share_vault *vaults = NULL;
	struct err *e = &turn->k->inv->err;
	size_t n = 0;
	int rc = share_group_unmanaged(turn->people, turn->group.id, &turn->with, &vaults, &n, e);

	rc = rc != 0 ? rc : share_group_transfer(turn->people, turn->group.id, &turn->with, e);
	if (rc == 0) {
		group_transfer_show(turn, vaults, n);
	}
	return rc;
}

static int group_transfer_body(struct app *k)
{
	return turn_with_group(k, true, group_transfer_turn);
}

int app_group_transfer(struct invocation *inv)
{
	return app_run(inv, group_transfer_body);
}

static int group_rekey(struct group_turn *turn, const struct share_with *with)
{
	static const struct output_column columns[] = {{"group", "Group", OUTPUT_TEXT},
		{"removed", "Removed", OUTPUT_TEXT}, {"vaults", "Vaults re-keyed", OUTPUT_TEXT}};
	struct invocation *inv = turn->k->inv;
	size_t vaults = 0;
	int rc = share_group_remove(turn->people, turn->group.id, with, &vaults, &inv->err);

	if (rc == 0) {
		json_t *record = json_pack("{s:s, s:s?, s:I}", "group", turn->group.name, "removed",
			with == NULL ? NULL : with->name, "vaults", (json_int_t)vaults);

		output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
	}
	return rc;
}

static int group_remove_turn(struct group_turn *turn)
{
	return group_rekey(turn, &turn->with);
}

static int group_rekey_turn(struct group_turn *turn)
{
	return group_rekey(turn, NULL);
}

static int group_remove_body(struct app *k)
{
	return turn_with_group(k, true, group_remove_turn);
}

static int group_rekey_body(struct app *k)
{
	return turn_with_group(k, false, group_rekey_turn);
}

int app_group_remove(struct invocation *inv)
{
	return app_run(inv, group_remove_body);
}

int app_group_rekey(struct invocation *inv)
{
	return app_run(inv, group_rekey_body);
}

static int group_members_turn(struct group_turn *turn)
{
	_cleanup_(membership_freep) struct membership *m = NULL;
	int rc = membership_load(
		turn->people, MEMBER_OBJECT_GROUP, turn->group.id, &m, &turn->k->inv->err);

	return rc != 0 ? rc : app_show_members(turn->k, turn->people, m);
}

static int group_members_body(struct app *k)
{
	return turn_with_group(k, false, group_members_turn);
}

int app_group_members(struct invocation *inv)
{
	return app_run(inv, group_members_body);
}

static int group_delete_turn(struct group_turn *turn)
{
	static const struct output_column columns[] = {
		{"name", "Name", OUTPUT_TEXT}, {"id", "Id", OUTPUT_TEXT}};
	struct invocation *inv = turn->k->inv;

	if (invocation_value(inv, "dry-run") != NULL) {
		json_t *record = json_pack("{s:s, s:o}", "name", turn->group.name, "id",
			json_hex(bytes_of(turn->group.id, ID_BYTES)));

		output_record(&inv->out, columns, ARRAY_SIZE(columns), record);
		json_decref(record);
		return 0;
	}
	return invocation_confirm(inv, "This deletes the group, for good.")
		       ? share_group_delete(turn->people, turn->group.id, &inv->err)
		       : inv->err.code;
}

static int group_delete_body(struct app *k)
{
	return turn_with_group(k, false, group_delete_turn);
}

int app_group_delete(struct invocation *inv)
{
	return app_run(inv, group_delete_body);
}

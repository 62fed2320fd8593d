/* kluis vault create|list (delete|forget: give_up.c) */
#include <string.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/client/vault.h"
#include "cli/vault/app.h"

enum { VAULTS_MAX = 10000 };

static const struct output_column vault_columns[] = {{"name", "NAME", OUTPUT_TEXT},
	{"id", "ID", OUTPUT_TEXT}, {"role", "ROLE", OUTPUT_TEXT}, {"seq", "HEAD", OUTPUT_TEXT},
	{"page_count", "PAGES", OUTPUT_TEXT}, {"created", "CREATED", OUTPUT_TIME}};

static int vault_create_body(struct app *k)
{
	uint8_t id[ID_BYTES];
	json_t *record;
	int rc = app_fresh(k);

	rc = rc != 0 ? rc : vault_create(k->profile, k->client, k->inv->args[0], id, &k->inv->err);

	if (rc != 0) {
		return rc;
	}
	record = json_pack(
		"{s:s, s:o}", "name", k->inv->args[0], "id", json_hex(bytes_of(id, ID_BYTES)));
	output_record(&k->inv->out, vault_columns, 2, record);
	json_decref(record);
	return 0;
}

int app_vault_create(struct invocation *inv)
{
	return app_run(inv, vault_create_body);
}

/* The name that the profile has for it, which is what other commands take. */
static json_t *vault_local_name(struct app *k, const uint8_t id[ID_BYTES])
{
	struct err ignored = {0};
	struct vault *vault;
	json_t *name;

	if (vault_open_local(k->profile, k->client, id, &vault, &ignored) != 0) {
		return json_null();
	}
	name = json_string(vault->name);
	vault_close(vault);
	return name;
}

static int vault_list_row(struct app *k, const json_t *item, json_t *rows)
{
	const char *state = json_string_value(json_object_get(item, "state"));
	struct api_vault vault;
	int rc = api_vault_parse(item, &vault, &k->inv->err);

	if (rc != 0) {
		return rc;
	}
	(void)json_array_append_new(rows,
		json_pack("{s:o, s:o, s:s, s:I, s:I, s:I}", "name", vault_local_name(k, vault.id),
			"id", json_hex(bytes_of(vault.id, ID_BYTES)), "role",
			state != NULL && strcmp(state, "accepted") != 0 ? state : vault.role, "seq",
			(json_int_t)vault.seq, "page_count", (json_int_t)vault.page_count,
			"created", (json_int_t)vault.created_ms));
	api_vault_release(&vault);
	return 0;
}

static bool rows_have(const json_t *rows, const uint8_t id[ID_BYTES])
{
	char hex[HEX_LEN(ID_BYTES) + 1];

	hex_encode(bytes_of(id, ID_BYTES), hex);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const char *there =
			json_string_value(json_object_get(json_array_get(rows, i), "id"));

		if (there != NULL && strcmp(there, hex) == 0) {
			return true;
		}
	}
	return false;
}

/* Whether somebody else founded it: who shares a vault may take it back. */
static bool vault_is_anothers(struct app *k, const uint8_t id[ID_BYTES])
{
	struct err ignored = {0};
	struct vault *vault;
	bool other;

	if (vault_open_local(k->profile, k->client, id, &vault, &ignored) != 0) {
		return false;
	}
	other = memcmp(vault->membership->steps[0].member_id, k->profile->user_id, ID_BYTES) != 0;
	if (other) {
		output_warning(&k->inv->out,
			"vault '%s' is not shared with you any more, or is withheld ('kluis vault "
			"forget' drops it)",
			vault->name);
	}
	vault_close(vault);
	return other;
}

/* What a device has verified, and the cluster does not list: the user sees what is missing. */
static int vault_list_missing(struct app *k, json_t *rows)
{
	struct err *e = &k->inv->err;
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n, missing = 0;
	int rc = vault_known_ids(k->profile, &ids, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		uint64_t seq = 0;

		rc = rows_have(rows, ids[i]) ? 0 : vault_known_seq(k->profile, ids[i], &seq, e);
		if (rc == 0 && seq > 0) {
			(void)json_array_append_new(
				rows, json_pack("{s:o, s:o, s:s, s:I}", "name",
					      vault_local_name(k, ids[i]), "id",
					      json_hex(bytes_of(ids[i], ID_BYTES)), "role",
					      "missing", "seq", (json_int_t)seq));
			missing += !vault_restored(k->profile, ids[i]) &&
				   !vault_is_anothers(k, ids[i]);
		}
	}
	return rc == 0 && missing > 0
		       ? err_set(e, KLUIS_EPIN,
				 "the cluster does not list %zu of these vaults, whose heads were "
				 "seen: they were deleted, or are withheld (for what you "
				 "deleted: 'kluis vault forget')",
				 missing)
		       : rc;
}

static int vault_list_body(struct app *k)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(json_dropp) json_t *rows = json_array();
	struct err why = {0};
	int missing, adopted;
	int rc = app_fresh(k);

	rc = rc != 0 ? rc
		     : api_list(k->client, "/v1/vaults", CLIENT_AUTH, VAULTS_MAX, &items,
			       &k->inv->err);
	if (rc != 0) {
		return rc;
	}
	adopted = k->profile->person == NULL ? 0 : vault_person_adopt(k->profile, k->client, &why);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		rc = vault_list_row(k, json_array_get(items, i), rows);
	}
	if (rc != 0) {
		return rc;
	}
	if (adopted != 0) {
		output_warning(&k->inv->out, "%s", why.text);
	}
	missing = vault_list_missing(k, rows);
	output_rows(&k->inv->out, vault_columns, ARRAY_SIZE(vault_columns), rows);
	return missing != 0 || adopted == 0 ? missing
					    : err_set(&k->inv->err, adopted, "%s", why.text);
}

int app_vault_list(struct invocation *inv)
{
	return app_run(inv, vault_list_body);
}

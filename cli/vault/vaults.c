/* kluis vault create|list */
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
	int rc = vault_create(k->profile, k->client, k->inv->args[0], id, &k->inv->err);

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
	char hex[HEX_LEN(ID_BYTES) + 1];
	struct err ignored = {0};
	struct vault *vault;
	json_t *name;

	hex_encode(bytes_of(id, ID_BYTES), hex);
	if (vault_open(k->profile, k->client, hex, &vault, &ignored) != 0) {
		return json_null();
	}
	name = json_string(vault->name);
	vault_close(vault);
	return name;
}

static int vault_list_row(struct app *k, const json_t *item, json_t *rows)
{
	struct api_vault vault;
	int rc = api_vault_parse(item, &vault, &k->inv->err);

	if (rc != 0) {
		return rc;
	}
	(void)json_array_append_new(rows,
		json_pack("{s:o, s:o, s:s, s:I, s:I, s:I}", "name", vault_local_name(k, vault.id),
			"id", json_hex(bytes_of(vault.id, ID_BYTES)), "role", vault.role, "seq",
			(json_int_t)vault.seq, "page_count", (json_int_t)vault.page_count,
			"created", (json_int_t)vault.created_ms));
	api_vault_release(&vault);
	return 0;
}

static int vault_list_body(struct app *k)
{
	_cleanup_(json_dropp) json_t *items = NULL;
	_cleanup_(json_dropp) json_t *rows = json_array();
	int rc = api_list(k->client, "/v1/vaults", CLIENT_AUTH, VAULTS_MAX, &items, &k->inv->err);

	for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
		rc = vault_list_row(k, json_array_get(items, i), rows);
	}
	if (rc == 0) {
		output_rows(&k->inv->out, vault_columns, ARRAY_SIZE(vault_columns), rows);
	}
	return rc;
}

int app_vault_list(struct invocation *inv)
{
	return app_run(inv, vault_list_body);
}

/* kluis vault delete|forget */
#include <stdio.h>

#include "base/text.h"
#include "cli/client/json_reader.h"
#include "cli/vault/app.h"

static void vault_show(struct app *k, const char *name, const uint8_t id[ID_BYTES], uint64_t seq)
{
	static const struct output_column columns[] = {{"name", "Name", OUTPUT_TEXT},
		{"id", "Id", OUTPUT_TEXT}, {"seq", "Head", OUTPUT_TEXT}};
	json_t *record = json_pack("{s:s?, s:o, s:I}", "name", name, "id",
		json_hex(bytes_of(id, ID_BYTES)), "seq", (json_int_t)seq);

	output_record(&k->inv->out, columns, ARRAY_SIZE(columns), record);
	(void)fflush(k->inv->out.data); /* A question may follow that is about it. */
	json_decref(record);
}

static int vault_delete_body(struct app *k)
{
	struct invocation *inv = k->inv;
	struct vault *vault;
	int rc = app_open_vault(k, inv->args[0], &vault);

	if (rc != 0) {
		return rc;
	}
	vault_show(k, vault->name, vault->id, vault->head.seq);
	if (invocation_value(inv, "dry-run") == NULL) {
		rc = invocation_confirm(inv,
			     "This deletes the vault with all that is in it, on all sites, for "
			     "good, and drops its key from your keyring: no copy can be read any "
			     "more.")
			     ? vault_delete(vault, &inv->err)
			     : inv->err.code;
	}
	vault_close(vault);
	return rc;
}

int app_vault_delete(struct invocation *inv)
{
	return app_run(inv, vault_delete_body);
}

static int forget_ask(struct app *k, const uint8_t id[ID_BYTES])
{
	struct invocation *inv = k->inv;
	_cleanup_(x_freep) char *question = NULL;
	uint64_t seq = 0;
	int rc = vault_known_seq(k->profile, id, &seq, &inv->err);

	if (rc != 0) {
		return rc;
	}
	vault_show(k, NULL, id, seq);
	question = x_asprintf(
		"The cluster denies this vault%s. If you did not delete it, it is withheld: then "
		"do "
		"not forget it, ask the operator. Forgetting drops its key from your keyring, for "
		"all your devices: should the cluster show it again, nobody can read it.",
		seq > 0 ? ", and your devices have seen it" : "");
	return invocation_confirm(inv, question) ? 0 : inv->err.code;
}

static int vault_forget_body(struct app *k)
{
	struct err *e = &k->inv->err;
	uint8_t id[ID_BYTES];
	int rc = app_online(k);

	rc = rc != 0 ? rc : vault_find(k->profile, k->client, k->inv->args[0], id, e);
	rc = rc != 0 ? rc : vault_check_denied(k->client, id, e);
	rc = rc != 0 ? rc : forget_ask(k, id);
	return rc != 0 ? rc : vault_give_up(k->profile, k->client, id, e);
}

int app_vault_forget(struct invocation *inv)
{
	return app_run(inv, vault_forget_body);
}

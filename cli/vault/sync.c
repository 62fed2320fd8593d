/* kluis sync */
#include <string.h>

#include "base/text.h"
#include "cli/client/get.h"
#include "cli/client/json_reader.h"
#include "cli/ui/progress.h"
#include "cli/vault/app.h"

/* One vault on its way into the cache. */
struct syncing {
	struct vault *vault;
	struct tree *tree;
	struct progress progress;
	uint64_t fetched;
};

static void sync_progress(void *arg, uint64_t done, uint64_t total)
{
	progress_set(arg, done, total);
}

static int sync_vault(struct app *k, const char *name, json_t *rows)
{
	struct syncing s = {.fetched = 0};
	size_t dropped = 0;
	int rc;

	progress_init(&s.progress, &k->inv->out, "sync");
	rc = app_open_vault(k, name, &s.vault);
	rc = rc != 0 ? rc : tree_load(s.vault, &s.tree, &k->inv->err);
	if (rc == 0 && invocation_value(k->inv, "files") != NULL) {
		rc = get_into_cache(s.tree, sync_progress, &s.progress, &s.fetched, &k->inv->err);
	}
	if (rc == 0) {
		dropped = vault_drop_stale_cache(s.vault);
		(void)json_array_append_new(
			rows, json_pack("{s:s, s:I, s:I, s:I, s:I}", "vault", s.vault->name, "head",
				      (json_int_t)s.vault->head.seq, "items",
				      (json_int_t)s.tree->n_sorted, "fetched",
				      (json_int_t)s.fetched, "dropped", (json_int_t)dropped));
	}
	progress_release(&s.progress);
	tree_free(s.tree);
	vault_close(s.vault);
	return rc;
}

/* One vault's trouble is said and keeps no other from being synced; the first is what the command
 * ends with. What is everybody's trouble ends it at once. */
static int sync_failed(struct app *k, int rc, struct err *first)
{
	struct err *e = &k->inv->err;

	if (app_out_of_reach(rc) || rc == KLUIS_ELINEAGE || rc == KLUIS_EUNAUTHENTICATED) {
		return rc;
	}
	/* What a restore has lost is not to be had: the user knows. */
	if (first->code == 0 && !vault_denied(rc)) {
		*first = *e;
	} else {
		output_warning(&k->inv->out, "%s", e->text);
	}
	*e = (struct err){0};
	return 0;
}

/* *first: of the vaults that could not be synced. */
static int sync_all(struct app *k, json_t *rows, struct err *first)
{
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	size_t n = 0;
	int rc = k->profile->person == NULL
			 ? 0
			 : vault_person_adopt(k->profile, k->client, &k->inv->err);

	rc = rc == 0 ? 0 : sync_failed(k, rc, first);
	rc = rc != 0 ? rc : vault_local_ids(k->profile, &ids, &n, &k->inv->err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		char id[HEX_LEN(ID_BYTES) + 1];

		if (vault_whole(k->profile, ids[i])) {
			hex_encode(bytes_of(ids[i], ID_BYTES), id);
			rc = sync_vault(k, id, rows);
			rc = rc == 0 ? 0 : sync_failed(k, rc, first);
		}
	}
	return rc;
}

static int sync_body(struct app *k)
{
	static const struct output_column columns[] = {{"vault", "VAULT", OUTPUT_TEXT},
		{"head", "HEAD", OUTPUT_TEXT}, {"items", "ITEMS", OUTPUT_TEXT},
		{"fetched", "FILE PAGES FETCHED", OUTPUT_TEXT},
		{"dropped", "OLD PAGES DROPPED", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *rows = json_array();
	struct err first = {0};
	int rc = k->inv->n_args == 0 ? sync_all(k, rows, &first) : 0;

	for (size_t i = 0; rc == 0 && i < k->inv->n_args; i++) {
		rc = sync_vault(k, k->inv->args[i], rows);
	}
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), rows);
	}
	return rc != 0 || first.code == 0 ? rc
					  : err_set(&k->inv->err, first.code, "%s", first.text);
}

int app_sync(struct invocation *inv)
{
	return app_run(inv, sync_body);
}

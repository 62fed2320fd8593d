/* Opening what a command names, to read it or to write to it. */
#include <string.h>

#include "base/clock.h"
#include "cli/ui/progress.h"
#include "cli/vault/app.h"

/* The sentence that has to come with whatever is read without the cluster: a site that answers, but
 * not with what was asked for, is something else than no site. why: "" with --offline. */
static void offline_note(
	struct app *k, const struct vault *vault, uint64_t synced_ms, const char *why)
{
	struct output *out = &k->inv->out;
	uint64_t now = clock_wall_ms(&clock_system), age = now > synced_ms ? now - synced_ms : 0;
	char when[21];

	clock_format(synced_ms, when);
	output_warning(out, "offline: vault '%s' as it was at %s, %.1f hours ago%s%s%s",
		vault->name, when, (double)age / 3600000, why[0] == 0 ? "" : " (", why,
		why[0] == 0 ? "" : ")");
	if (out->offline_ms == 0 || synced_ms < out->offline_ms) {
		out->offline_ms = synced_ms;
	}
}

/* Nothing is wrong with what was said, nobody said anything. */
static bool offline_why(int rc)
{
	return rc == KLUIS_ECONNECT || rc == KLUIS_ETIMEOUT || rc == KLUIS_ENOQUORUM ||
	       rc == KLUIS_EBEHIND;
}

/* As it was when an operator's snapshot was taken. */
static int read_copy(struct app *k, struct vault *vault)
{
	struct output *out = &k->inv->out;
	const char *dir = invocation_value(k->inv, "copy");
	char when[21];
	int rc = dir == NULL ? 0 : vault_open_copy(vault, dir, &k->inv->err);

	if (dir == NULL || rc != 0) {
		return rc;
	}
	clock_format(vault->head.unix_ms, when);
	output_warning(out, "vault '%s' as it was at %s (head %llu), from the copy in '%s'",
		vault->name, when, (unsigned long long)vault->head.seq, dir);
	out->offline_ms = vault->head.unix_ms;
	return 0;
}

int app_read_vault(struct app *k, const char *name, struct vault **ret_vault)
{
	struct invocation *inv = k->inv;
	bool offline = invocation_value(inv, "offline") != NULL;
	struct vault *vault;
	struct err why = {0};
	uint64_t synced_ms;
	int rc = vault_open(k->profile, k->client, name, &vault, &inv->err);

	if (rc != 0) {
		return rc;
	}
	rc = offline ? KLUIS_ECONNECT : app_fresh(k);
	rc = rc != 0 ? rc : vault_sync(vault, &inv->err);
	if (offline || (offline_why(rc) && invocation_value(inv, "online") == NULL)) {
		int cached = vault_go_offline(vault, &synced_ms, &why);

		if (cached == 0) {
			offline_note(k, vault, synced_ms, inv->err.text);
			inv->err = (struct err){0};
			rc = 0;
		} else if (offline) {
			inv->err = why;
			rc = cached;
		}
	}
	rc = rc != 0 ? rc : read_copy(k, vault);
	if (rc != 0) {
		vault_close(vault);
		return rc;
	}
	*ret_vault = vault;
	return 0;
}

static int place_split(struct invocation *inv, const char *text, char **ret_vault, char **ret_path)
{
	if (strchr(text, ':') != NULL) {
		return app_split(inv, text, ret_vault, ret_path);
	}
	*ret_vault = x_strdup(text);
	*ret_path = x_strdup("/");
	return 0;
}

int app_open_place(struct app *k, const char *text, struct place *ret_place)
{
	struct invocation *inv = k->inv;
	struct progress progress;
	int rc;

	*ret_place = (struct place){.vault_name = NULL};
	progress_init_waiting(&progress, &inv->out, "read");
	rc = place_split(inv, text, &ret_place->vault_name, &ret_place->path);
	rc = rc != 0 ? rc : app_read_vault(k, ret_place->vault_name, &ret_place->vault);
	rc = rc != 0 ? rc : tree_load(ret_place->vault, &ret_place->tree, &inv->err);
	progress_release(&progress);
	return rc != 0 ? rc
		       : tree_find(ret_place->tree, ret_place->path, &ret_place->item, &inv->err);
}

void app_close_place(struct place *place)
{
	tree_free(place->tree);
	vault_close(place->vault);
	free(place->vault_name);
	free(place->path);
	*place = (struct place){.vault_name = NULL};
}

void app_notice(struct invocation *inv, const struct change_notice *notice)
{
	_cleanup_(x_freep) char *text = change_notice_text(notice);

	output_warning(&inv->out, "%s", text);
}

static void writing_notice(void *arg, const struct change_notice *notice)
{
	const struct writing *w = arg;

	app_notice(w->k->inv, notice);
}

int app_open_writing(struct app *k, const char *text, struct writing *ret_writing)
{
	struct invocation *inv = k->inv;
	const struct put_config config = {.notice = writing_notice, .arg = ret_writing};
	struct progress progress;
	int rc;

	*ret_writing = (struct writing){.k = k};
	progress_init_waiting(&progress, &inv->out, "read");
	rc = place_split(inv, text, &ret_writing->vault_name, &ret_writing->path);
	rc = rc != 0 ? rc : app_open_vault(k, ret_writing->vault_name, &ret_writing->vault);
	rc = rc != 0 ? rc : put_new(ret_writing->vault, &config, &ret_writing->put, &inv->err);
	progress_release(&progress);
	return rc;
}

void app_close_writing(struct writing *writing)
{
	put_free(writing->put);
	vault_close(writing->vault);
	free(writing->vault_name);
	free(writing->path);
	*writing = (struct writing){.k = writing->k};
}

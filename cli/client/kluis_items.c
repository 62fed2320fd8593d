/* The public face of notes, logins, search, history and the cache. */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "cli/client/get.h"
#include "cli/client/history.h"
#include "cli/client/kluis_impl.h"
#include "cli/client/put.h"
#include "cli/client/search.h"

static_assert((int)KLUIS_NOTE == (int)ITEM_NOTE && (int)KLUIS_LOGIN == (int)ITEM_LOGIN &&
		      (int)KLUIS_FILE == (int)ITEM_FILE && (int)KLUIS_FOLDER == (int)ITEM_FOLDER,
	"the public numbers are those of the format");

/* What the last search left in memory: good as long as the vault's head is the one it was made of.
 */
struct kluis_found_in {
	struct vault *vault;
	struct tree *tree;
	struct search *search;
};

void kluis_forget_search(struct kluis *k)
{
	struct kluis_found_in *in = k->found_in;

	if (in != NULL) {
		search_free(in->search);
		tree_free(in->tree);
		vault_close(in->vault);
		free(in);
	}
	k->found_in = NULL;
}

void kluis_set_notice(struct kluis *k, kluis_notice_fn *notice, void *arg)
{
	k->notice = notice;
	k->notice_arg = arg;
}

void kluis_set_offline(struct kluis *k, int offline)
{
	k->offline = offline != 0;
}

uint64_t kluis_synced_ms(const struct kluis *k)
{
	return k->synced_ms;
}

void kluis_tell(void *arg, const struct change_notice *notice)
{
	const struct kluis *k = arg;
	_cleanup_(x_freep) char *text = change_notice_text(notice);

	if (k->notice != NULL) {
		k->notice(k->notice_arg, notice->wanted, notice->path, text);
	}
}

int kluis_writing_open(struct kluis_writing *w, struct kluis *k, const char *vault_name)
{
	const struct put_config config = {.notice = kluis_tell, .arg = k};
	int rc;

	*w = (struct kluis_writing){.vault = NULL};
	rc = kluis_open_vault(k, vault_name, &w->vault, &w->err);
	return rc != 0 ? rc : put_new(w->vault, &config, &w->put, &w->err);
}

int kluis_writing_end(struct kluis_writing *w, int rc, struct kluis_failure *error)
{
	struct put_result result;

	rc = rc != 0 ? rc : put_finish(w->put, &result, &w->err);
	put_free(w->put);
	vault_close(w->vault);
	return kluis_give(rc, &w->err, error);
}

int kluis_item_put(struct kluis *k, const char *vault, const char *path,
	const struct kluis_item *item, struct kluis_failure *error)
{
	const struct item_fields fields = {.value = {[ITEM_TITLE] = item->title,
						   [ITEM_USER] = item->user,
						   [ITEM_PASSWORD] = item->password,
						   [ITEM_URL] = item->url,
						   [ITEM_TEXT] = item->text}};
	unsigned type =
		item->type == KLUIS_NOTE || item->type == KLUIS_LOGIN ? (unsigned)item->type : 0;
	struct kluis_writing w;
	int rc = kluis_writing_open(&w, k, vault);

	if (rc == 0 && type == 0) {
		rc = err_set(&w.err, KLUIS_EINVAL, "an item is a note or a login");
	}
	rc = rc != 0 ? rc : put_fields(w.put, path, type, &fields, NULL, &w.err);
	return kluis_writing_end(&w, rc, error);
}

int kluis_move(struct kluis *k, const char *vault, const char *path, const char *to,
	struct kluis_failure *error)
{
	struct kluis_writing w;
	int rc = kluis_writing_open(&w, k, vault);

	rc = rc != 0 ? rc : put_move(w.put, path, to, &w.err);
	return kluis_writing_end(&w, rc, error);
}

static uint64_t item_mtime(const json_t *body)
{
	json_int_t ms = json_integer_value(json_object_get(body, "mtime_ms"));

	return ms < 0 ? 0 : (uint64_t)ms;
}

int kluis_item_get(struct kluis *k, const char *vault_name, const char *path, kluis_item_fn *take,
	void *arg, struct kluis_failure *error)
{
	struct kluis_item public = {.type = KLUIS_NOTE};
	struct item_fields fields;
	struct tree_item *item;
	struct vault *vault;
	struct tree *tree;
	struct err e = {0};
	int rc = kluis_open_tree(k, vault_name, &vault, &tree, &e);

	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	rc = tree_find(tree, path, &item, &e);
	if (rc == 0 && (item == NULL || !item_type_has_fields(item->type))) {
		rc = err_set(&e, KLUIS_EINVAL, "'%s' is neither a note nor a login", path);
	}
	if (rc == 0) {
		fields = item_fields_of(item->type, item->body);
		public = (struct kluis_item){.type = (enum kluis_type)item->type,
			.title = fields.value[ITEM_TITLE],
			.user = fields.value[ITEM_USER],
			.password = fields.value[ITEM_PASSWORD],
			.url = fields.value[ITEM_URL],
			.text = fields.value[ITEM_TEXT],
			.revision = item->rev,
			.mtime_ms = item_mtime(item->body)};
		take(arg, &public);
	}
	tree_free(tree);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

/* The index of the vault as it is now: the one of the last search when nothing has changed since.
 * The vault is opened anew each time, so that the pin is the profile's newest. */
static int search_open(struct kluis *k, const char *vault_name, struct err *e)
{
	struct kluis_found_in *in = k->found_in;
	struct vault *vault;
	struct tree *tree;
	int rc = kluis_open_vault(k, vault_name, &vault, e);

	if (rc != 0) {
		return rc;
	}
	if (in != NULL && memcmp(in->vault->head.hash, vault->head.hash, HASH_BYTES) == 0) {
		vault_close(vault);
		return 0;
	}
	kluis_forget_search(k);
	rc = tree_load(vault, &tree, e);
	if (rc != 0) {
		vault_close(vault);
		return rc;
	}
	in = x_calloc(1, sizeof *in);
	*in = (struct kluis_found_in){vault, tree, search_new(tree)};
	k->found_in = in;
	return 0;
}

static void search_give(struct kluis *k, const struct tree_item *item, const char *folder,
	kluis_found_fn *each, void *arg)
{
	_cleanup_(x_freep) char *path = tree_path(k->found_in->tree, item);
	const char *title = json_string_value(json_object_get(item->body, "title"));
	size_t len = strlen(folder);
	const struct kluis_found found = {.type = (enum kluis_type)item->type,
		.path = path,
		.title = title == NULL ? "" : title,
		.mtime_ms = item_mtime(item->body)};

	if (strncmp(path, folder, len) == 0 && (path[len] == 0 || path[len] == '/')) {
		each(arg, &found);
	}
}

int kluis_search(struct kluis *k, const char *vault, const char *folder, const char *const *words,
	size_t n_words, kluis_found_fn *each, void *arg, struct kluis_failure *error)
{
	_cleanup_(x_freep) char *below = tree_canonical(folder);
	const struct tree_item **items = NULL;
	struct err e = {0};
	size_t n = 0;
	int rc = search_open(k, vault, &e);

	rc = rc != 0 ? rc
		     : search_find(k->found_in->search, words, n_words, SIZE_MAX, &items, &n, &e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		search_give(k, items[i], below, each, arg);
	}
	free(items);
	return kluis_give(rc, &e, error);
}

static int history_open(struct kluis *k, struct tree *tree, const char *path, bool all,
	struct history *ret_history, struct err *e)
{
	const struct history_config config = {.all = all};

	return k->offline ? err_set(e, KLUIS_ECONNECT, "earlier versions are at the cluster")
			  : history_load(tree, path, &config, ret_history, e);
}

int kluis_history(struct kluis *k, const char *vault_name, const char *path, int all,
	kluis_version_fn *each, void *arg, struct kluis_failure *error)
{
	struct history history = {.n = 0};
	struct vault *vault;
	struct tree *tree;
	struct err e = {0};
	int rc = kluis_open_tree(k, vault_name, &vault, &tree, &e);

	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	rc = history_open(k, tree, path, all != 0, &history, &e);
	for (size_t i = 0; i < history.n; i++) {
		const struct history_row *row = &history.rows[i];
		struct kluis_version version = {.type = (enum kluis_type)row->type,
			.path = row->path,
			.revision = row->rev,
			.written_ms = row->written_ms,
			.is_current = row->current,
			.is_removed = row->removed};

		history_version(row, version.version);
		memcpy(version.device_id, row->device_id, ID_BYTES);
		each(arg, &version);
	}
	history_release(&history);
	tree_free(tree);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_restore_version(struct kluis *k, const char *vault, const char *path, const char *version,
	struct kluis_failure *error)
{
	const struct history_row *row = NULL;
	struct history history = {.n = 0};
	struct kluis_writing w;
	int rc = kluis_writing_open(&w, k, vault);

	rc = rc != 0 ? rc : history_open(k, put_tree(w.put), path, true, &history, &w.err);
	if (rc == 0) {
		row = history_find(&history, version);
		rc = row != NULL ? put_version(w.put, row, path, &w.err)
				 : err_set(&w.err, KLUIS_ENOTFOUND, "'%s' has no version '%s'",
					   path, version);
	}
	rc = kluis_writing_end(&w, rc, error);
	history_release(&history);
	return rc;
}

int kluis_sync(struct kluis *k, const char *vault_name, int files, struct kluis_failure *error)
{
	uint64_t fetched = 0;
	struct vault *vault;
	struct tree *tree;
	struct err e = {0};
	int rc;

	if (k->offline) {
		return kluis_give(err_set(&e, KLUIS_ECONNECT, "offline"), &e, error);
	}
	rc = kluis_open_tree(k, vault_name, &vault, &tree, &e);
	if (rc != 0) {
		return kluis_give(rc, &e, error);
	}
	rc = files != 0 ? get_into_cache(tree, NULL, NULL, &fetched, &e) : 0;
	if (rc == 0) {
		(void)vault_drop_stale_cache(vault);
	}
	tree_free(tree);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

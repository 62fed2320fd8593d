/* The public face of files and pages that are shared alone. */
#include <string.h>

#include "base/text.h"
#include "cli/client/kluis_ask.h"
#include "cli/client/kluis_share.h"
#include "cli/client/share_file.h"

static int give_from(struct vault *vault, const char *path, uint64_t page_no,
	const struct share_file_terms *terms, char ret_id[33], struct err *e)
{
	uint8_t id[ID_BYTES];
	struct tree *tree = NULL;
	bool moved = false;
	int rc;

	if (path == NULL) {
		rc = share_page_give(vault, page_no, terms, id, &moved, e);
	} else {
		rc = tree_load(vault, &tree, e);
		rc = rc != 0 ? rc : share_file_give(tree, path, terms, id, &moved, e);
	}
	tree_free(tree);
	if (rc == 0) {
		hex_encode(bytes_of(id, ID_BYTES), ret_id);
	}
	return rc;
}

static int give_named(struct kluis *k, const char *name, const char *path, uint64_t page_no,
	const char *user, unsigned days, char ret_id[33], struct kluis_failure *error)
{
	struct share_with with;
	const struct share_file_terms terms = {.with = &with, .days = days};
	struct vault *vault = NULL;
	struct err e = {0};
	int rc = share_check_person(k->profile, &e);

	rc = rc != 0 ? rc : kluis_open_vault(k, name, &vault, &e);
	rc = rc != 0 ? rc : share_resolve(vault->people, user, &with, &e);
	rc = rc != 0 ? rc : give_from(vault, path, page_no, &terms, ret_id, &e);
	vault_close(vault);
	return kluis_give(rc, &e, error);
}

int kluis_file_share(struct kluis *k, const char *vault, const char *path, const char *user,
	unsigned days, char ret_id[33], struct kluis_failure *error)
{
	return give_named(k, vault, path, 0, user, days, ret_id, error);
}

int kluis_page_share(struct kluis *k, const char *vault, uint64_t page_no, const char *user,
	unsigned days, char ret_id[33], struct kluis_failure *error)
{
	return give_named(k, vault, NULL, page_no, user, days, ret_id, error);
}

/* All that there is. */
struct shared_list {
	struct people *people;
	struct shared_file *files;
	size_t n;
};

static int list_begin(struct kluis *k, struct shared_list *list, struct err *e)
{
	int rc = share_check_person(k->profile, e);

	*list = (struct shared_list){.people = NULL};
	rc = rc != 0 ? rc : kluis_refresh(k, e);
	if (rc == 0) {
		list->people = people_new(k->profile, k->client);
		rc = shared_files(list->people, &list->files, &list->n, e);
	}
	return rc;
}

static void list_end(struct shared_list *list)
{
	shared_files_free(list->files, list->n);
	people_free(list->people);
}

static void shared_give(const struct shared_file *file, kluis_shared_fn *each, void *arg)
{
	char id[HEX_LEN(ID_BYTES) + 1] = "";
	bool holds = file->problem.code == 0;
	struct kluis_shared shown = {.id = id,
		.mine = file->mine,
		.who = file->who,
		.name = file->name,
		.is_page = file->note.kind == SHARE_NOTE_ITEM,
		.size = file->size,
		.created_ms = file->note.unix_ms,
		.expires_ms = file->note.expires_ms,
		.problem_code = file->problem.code,
		.problem = holds ? NULL : file->problem.text};

	if (holds) {
		hex_encode(bytes_of(file->note.share_id, ID_BYTES), id);
	}
	each(arg, &shown);
}

int kluis_shared_list(
	struct kluis *k, kluis_shared_fn *each, void *arg, struct kluis_failure *error)
{
	struct shared_list list;
	struct err e = {0};
	int rc = list_begin(k, &list, &e);

	for (size_t i = 0; rc == 0 && i < list.n; i++) {
		shared_give(&list.files[i], each, arg);
	}
	list_end(&list);
	return kluis_give(rc, &e, error);
}

struct shared_writing {
	kluis_write_fn *write;
	void *arg;
};

static int shared_write(void *arg, struct bytes bytes, struct err *e)
{
	const struct shared_writing *w = arg;

	return w->write(w->arg, bytes.data, bytes.len) == 0
		       ? 0
		       : err_set(e, KLUIS_EINTERNAL, "the caller ended it");
}

int kluis_shared_get(struct kluis *k, const char *id, kluis_write_fn *write, void *arg,
	struct kluis_failure *error)
{
	struct shared_writing writing = {write, arg};
	const struct get_config config = {.write = shared_write, .arg = &writing};
	const struct shared_file *file;
	struct shared_list list;
	struct err e = {0};
	int rc = list_begin(k, &list, &e);

	rc = rc != 0 ? rc : shared_file_find(list.files, list.n, id, &file, &e);
	rc = rc != 0 ? rc : shared_file_get(list.people, file, &config, &e);
	list_end(&list);
	return kluis_give(rc, &e, error);
}

int kluis_shared_end(struct kluis *k, const char *id, struct kluis_failure *error)
{
	const struct shared_file *file;
	struct shared_list list;
	struct err e = {0};
	int rc = list_begin(k, &list, &e);

	rc = rc != 0 ? rc : shared_file_find(list.files, list.n, id, &file, &e);
	rc = rc != 0 ? rc : shared_file_end(list.people, list.files, list.n, file, &e);
	list_end(&list);
	return kluis_give(rc, &e, error);
}

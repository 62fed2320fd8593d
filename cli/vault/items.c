/* kluis note|item add|show|list, kluis mv */
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/client/json_reader.h"
#include "cli/vault/fields.h"

static int item_type_option(struct invocation *inv, unsigned otherwise, unsigned *ret_type)
{
	const char *text = invocation_value(inv, "type");

	*ret_type = text == NULL		 ? otherwise
		    : strcmp(text, "note") == 0	 ? ITEM_NOTE
		    : strcmp(text, "login") == 0 ? ITEM_LOGIN
						 : 0;
	return text == NULL || *ret_type != 0
		       ? 0
		       : err_set(&inv->err, KLUIS_EINVAL, "--type is note or login");
}

static void item_stored(const struct writing *w, const char *done)
{
	output_note(&w->k->inv->out, "%s '%s:%s' (head %llu)", done, w->vault_name, w->path,
		(unsigned long long)w->vault->head.seq);
}

static int add_store(struct writing *w, unsigned type, const struct item_fields *values)
{
	struct invocation *inv = w->k->inv;
	struct item_fields fields = *values;
	struct put_result result;
	struct tree_item *item;
	struct err ignored = {0};
	int rc;

	if (tree_find(put_tree(w->put), w->path, &item, &ignored) == 0) {
		return err_set(&inv->err, KLUIS_EEXIST,
			"'%s:%s' is there already ('kluis edit' changes it)", w->vault_name,
			w->path);
	}
	if (fields.value[ITEM_TITLE] == NULL) {
		fields.value[ITEM_TITLE] = app_base_name(w->path);
	}
	for (size_t i = 0; i < ITEM_FIELDS; i++) {
		if (fields.value[i] == NULL && item_type_has(type, (enum item_field)i)) {
			fields.value[i] = "";
		}
	}
	rc = put_fields(w->put, w->path, type, &fields, NULL, &inv->err);
	rc = rc != 0 ? rc : put_finish(w->put, &result, &inv->err);
	if (rc == 0) {
		item_stored(w, "stored");
	}
	return rc;
}

struct adding {
	unsigned type;
	struct fields fields;
};

static int add_body(struct app *k)
{
	struct adding *adding = k->arg;
	struct writing w;
	int rc = app_open_writing(k, k->inv->args[0], &w);

	rc = rc != 0 ? rc : add_store(&w, adding->type, &adding->fields.values);
	app_close_writing(&w);
	return rc;
}

static int item_add(struct invocation *inv, unsigned otherwise)
{
	struct adding adding = {.type = 0};
	int rc = item_type_option(inv, otherwise, &adding.type);

	rc = rc != 0 ? rc : fields_take(inv, adding.type, &adding.fields);
	if (rc == 0 && adding.type == ITEM_LOGIN && !adding.fields.has_password) {
		rc = fields_ask_password(inv, &adding.fields);
	}
	if (rc == 0 && adding.type == ITEM_NOTE && adding.fields.values.value[ITEM_TEXT] == NULL) {
		rc = app_edit_new(inv, &adding.fields);
	}
	rc = rc != 0 ? rc : app_run_with(inv, add_body, &adding);
	fields_release(&adding.fields);
	return rc;
}

int app_note_add(struct invocation *inv)
{
	return item_add(inv, ITEM_NOTE);
}

int app_item_add(struct invocation *inv)
{
	return item_add(inv, ITEM_LOGIN);
}

int app_show_text(const char *text, struct err *e)
{
	_cleanup_(secret_buf_release) struct buf safe = BUF_INIT;

	buf_reserve(&safe, 4 * strlen(text) + 2);
	if (isatty(STDOUT_FILENO)) {
		output_safe(&safe, text, "\n\t");
	} else {
		buf_append_bytes(&safe, bytes_str(text));
	}
	return file_write_all(STDOUT_FILENO, buf_bytes(&safe)) == 0
		       ? 0
		       : err_set(e, KLUIS_EIO, "write to standard output");
}

static int show_field(struct invocation *inv, const struct item_fields *fields, const char *name)
{
	for (enum item_field i = 0; i < ITEM_FIELDS; i++) {
		if (strcmp(item_field_name(i), name) == 0 && fields->value[i] != NULL) {
			int rc = app_show_text(fields->value[i], &inv->err);

			return rc != 0 || i == ITEM_TEXT ? rc : app_show_text("\n", &inv->err);
		}
	}
	return err_set(&inv->err, KLUIS_EINVAL, "it has no field '%s'", name);
}

static int show_item(struct invocation *inv, const char *place, const struct tree_item *item)
{
	struct item_fields fields = item_fields_of(item->type, item->body);
	const char *field = invocation_value(inv, "field");
	bool reveal = invocation_value(inv, "reveal") != NULL;

	if (field != NULL) {
		return show_field(inv, &fields, field);
	}
	if (fields.value[ITEM_PASSWORD] != NULL && !reveal) {
		fields.value[ITEM_PASSWORD] = fields.value[ITEM_PASSWORD][0] == 0 ? "" : "********";
	}
	if (inv->out.format == OUTPUT_JSON) {
		_cleanup_(json_dropp) json_t *record = json_pack("{s:s, s:s, s:I}", "place", place,
			"type", item_type_name(item->type), "revision", (json_int_t)item->rev);

		item_fields_set(record, &fields);
		output_record(&inv->out, NULL, 0, record);
		return 0;
	}
	{
		_cleanup_(secret_buf_release) struct buf form = BUF_INIT;
		const char *text = fields.value[ITEM_TEXT];
		int rc;

		buf_reserve(&form, strlen(text) + (size_t)ITEM_FIELDS * (ITEM_LINE_BYTES_MAX + 16));
		item_form_print(item->type, &fields, &form);
		rc = app_show_text(buf_str(&form), &inv->err);
		if (rc == 0 && text[0] != 0 && text[strlen(text) - 1] != '\n') {
			rc = app_show_text("\n", &inv->err);
		}
		return rc;
	}
}

static int show_body(struct app *k)
{
	struct invocation *inv = k->inv;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < inv->n_args; i++) {
		struct place p;

		rc = app_open_place(k, inv->args[i], &p);
		if (rc == 0 && (p.item == NULL || !item_type_has_fields(p.item->type))) {
			rc = err_set(&inv->err, KLUIS_EINVAL, "'%s' is neither a note nor a login",
				inv->args[i]);
		}
		rc = rc != 0 ? rc : show_item(inv, inv->args[i], p.item);
		app_close_place(&p);
	}
	return rc;
}

int app_item_show(struct invocation *inv)
{
	return app_run(inv, show_body);
}

static void list_row(const struct place *p, const struct tree_item *item, json_t *rows)
{
	_cleanup_(x_freep) char *path = tree_path(p->tree, item);
	struct item_fields fields = item_fields_of(item->type, item->body);
	json_t *row = json_pack("{s:s, s:s, s:s}", "type", item_type_name(item->type), "path", path,
		"title", fields.value[ITEM_TITLE]);
	json_t *modified = json_object_get(item->body, "mtime_ms");

	if (fields.value[ITEM_USER] != NULL) {
		(void)json_object_set_new(row, "user", json_string(fields.value[ITEM_USER]));
	}
	if (json_is_integer(modified)) {
		(void)json_object_set(row, "modified", modified);
	}
	(void)json_array_append_new(rows, row);
}

static void list_below(
	const struct place *p, const struct tree_item *folder, unsigned type, json_t *rows)
{
	size_t n;
	struct tree_item **children = tree_children(p->tree, folder, &n);

	for (size_t i = 0; i < n; i++) {
		unsigned its = children[i]->type;

		if (its == ITEM_FOLDER) {
			list_below(p, children[i], type, rows);
		} else if (item_type_has_fields(its) && (type == 0 || type == its)) {
			list_row(p, children[i], rows);
		}
	}
	free(children);
}

static int list_body(struct app *k)
{
	static const struct output_column columns[] = {{"type", "TYPE", OUTPUT_TEXT},
		{"modified", "MODIFIED", OUTPUT_TIME}, {"user", "USER", OUTPUT_TEXT},
		{"title", "TITLE", OUTPUT_TEXT}, {"path", "PATH", OUTPUT_TEXT}};
	struct invocation *inv = k->inv;
	const unsigned *type = k->arg;
	_cleanup_(json_dropp) json_t *rows = json_array();
	struct place p;
	int rc = app_open_place(k, inv->args[0], &p);

	if (rc == 0 && p.item != NULL && p.item->type != ITEM_FOLDER) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "'%s' is no folder", inv->args[0]);
	}
	if (rc == 0) {
		list_below(&p, p.item, *type, rows);
		output_rows(&inv->out, columns, ARRAY_SIZE(columns), rows);
	}
	app_close_place(&p);
	return rc;
}

int app_note_list(struct invocation *inv)
{
	unsigned type = ITEM_NOTE;

	return app_run_with(inv, list_body, &type);
}

int app_item_list(struct invocation *inv)
{
	unsigned type;
	int rc = item_type_option(inv, 0, &type);

	return rc != 0 ? rc : app_run_with(inv, list_body, &type);
}

/* Where a source goes: into a folder that is there, under its own name, or to the path itself. */
static int mv_one(struct writing *w, const char *text, const char *to, bool many)
{
	struct invocation *inv = w->k->inv;
	_cleanup_(x_freep) char *vault_name = NULL;
	_cleanup_(x_freep) char *path = NULL;
	_cleanup_(x_freep) char *place = NULL;
	_cleanup_(x_freep) char *from = NULL;
	struct tree_item *folder = NULL;
	struct err ignored = {0};
	int rc = app_split(inv, text, &vault_name, &path);
	bool into;

	if (rc != 0) {
		return rc;
	}
	if (strcmp(vault_name, w->vault_name) != 0) {
		return err_set(&inv->err, KLUIS_EINVAL,
			"'%s' lies in another vault: get and put it, then rm it", text);
	}
	into = tree_find(put_tree(w->put), to, &folder, &ignored) == 0 &&
	       (folder == NULL || folder->type == ITEM_FOLDER);
	if (many && !into && to[strlen(to) - 1] != '/') {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no folder", to);
	}
	from = tree_canonical(path);
	place = into || to[strlen(to) - 1] == '/' ? app_join(to, app_base_name(from))
						  : x_strdup(to);
	return put_move(w->put, path, place, &inv->err);
}

static int mv_body(struct app *k)
{
	struct invocation *inv = k->inv;
	size_t n = inv->n_args - 1;
	struct put_result result;
	struct writing w;
	int rc =
		app_is_remote(inv->args[n])
			? 0
			: err_set(&inv->err, KLUIS_EINVAL,
				  "'%s' names no place in a vault: VAULT:/PATH does", inv->args[n]);

	if (rc != 0) {
		return rc;
	}
	rc = app_open_writing(k, inv->args[n], &w);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = mv_one(&w, inv->args[i], w.path, n > 1);
	}
	rc = rc != 0 ? rc : put_finish(w.put, &result, &inv->err);
	app_close_writing(&w);
	return rc;
}

int app_mv(struct invocation *inv)
{
	return app_run(inv, mv_body);
}

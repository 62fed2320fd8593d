/* kluis edit, kluis note edit, kluis item edit: what is there is taken to an editor while the
 * profile is free for others, and stored by item: what another device changed meanwhile stays. */
#include <string.h>

#include "cli/client/get.h"
#include "cli/vault/editor.h"
#include "cli/vault/fields.h"

struct edit {
	unsigned only; /* 0, or the type that it must be. */
	unsigned type;
	struct change_base base;
	unsigned mode;	    /* Of a file. */
	struct buf content; /* A file's bytes, or the form of an item with fields. */
	struct buf edited;
	struct fields fields; /* Given by options: no editor. */
	struct item_fields values;
};

static int edit_take(void *arg, struct bytes bytes, struct err *e)
{
	struct buf *to = arg;

	if (to->len + bytes.len > EDITOR_BYTES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d bytes cannot be edited here",
			EDITOR_BYTES_MAX);
	}
	buf_append_bytes(to, bytes);
	return 0;
}

static int edit_read_item(struct app *k, struct place *p, struct edit *edit)
{
	const struct get_config config = {.write = edit_take, .arg = &edit->content};
	struct invocation *inv = k->inv;
	struct tree_file file;
	bool moved;

	if (p->item == NULL || p->item->type == ITEM_FOLDER ||
		(edit->only != 0 && p->item->type != edit->only) ||
		(edit->fields.any && !item_type_has_fields(p->item->type))) {
		return err_set(&inv->err, KLUIS_EINVAL, "'%s' is no %s", inv->args[0],
			edit->only != 0	   ? item_type_name(edit->only)
			: edit->fields.any ? "note or login"
					   : "note, login or file");
	}
	edit->type = p->item->type;
	edit->base = change_base_of(p->item);
	secret_buf_release(&edit->content);
	buf_reserve(&edit->content, EDITOR_BYTES_MAX + 2);
	if (edit->type == ITEM_FILE) {
		int rc = tree_file_stat(p->item, &file, &inv->err);

		edit->mode = rc == 0 && file.mode != 0 ? file.mode : 0600;
		return rc != 0 ? rc : get_file(p->tree, p->item, &config, &moved, &inv->err);
	}
	edit->values = item_fields_of(edit->type, p->item->body);
	item_form_print(edit->type, &edit->values, &edit->content);
	return 0;
}

static int edit_read_body(struct app *k)
{
	struct place p;
	int rc = app_open_place(k, k->inv->args[0], &p);

	if (rc == 0 && p.vault->offline) {
		rc = err_set(&k->inv->err, KLUIS_ECONNECT, "nothing is written offline");
	}
	rc = rc != 0 ? rc : edit_read_item(k, &p, k->arg);
	app_close_place(&p);
	return rc;
}

static int edit_store_file(struct writing *w, struct edit *edit)
{
	bool is_local;

	return put_from(w->put, put_source_of(buf_bytes(&edit->edited), w->path, edit->mode),
		&edit->base, &is_local, &w->k->inv->err);
}

static int edit_write_body(struct app *k)
{
	struct edit *edit = k->arg;
	struct put_result result;
	struct writing w;
	int rc = app_open_writing(k, k->inv->args[0], &w);

	if (rc == 0) {
		rc = edit->type == ITEM_FILE ? edit_store_file(&w, edit)
					     : put_fields(w.put, w.path, edit->type, &edit->values,
						       &edit->base, &k->inv->err);
	}
	rc = rc != 0 ? rc : put_finish(w.put, &result, &k->inv->err);
	app_close_writing(&w);
	return rc;
}

/* What came back from the editor; *ret_same: nothing was changed. */
static int edit_result(struct invocation *inv, struct edit *edit, bool *ret_same)
{
	*ret_same = bytes_equal(buf_bytes(&edit->content), buf_bytes(&edit->edited));
	if (*ret_same || edit->type == ITEM_FILE) {
		return 0;
	}
	if (memchr(edit->edited.data, 0, edit->edited.len) != NULL) {
		return err_set(&inv->err, KLUIS_EINVAL, "what was edited is no text");
	}
	/* The form is parsed in place; buf_str() ends it. */
	(void)buf_str(&edit->edited);
	return item_form_parse(edit->type, (char *)edit->edited.data, &edit->values, &inv->err);
}

/* Whatever fails once the user has typed: the text stays, in memory, and it is said where. */
static int edit_failed(struct invocation *inv, struct editor *editor, int rc)
{
	_cleanup_(x_freep) char *path = editor_keep(editor);

	output_warning(
		&inv->out, "nothing was stored; your text is still in '%s': remove it", path);
	return rc;
}

static int edit_by_editor(struct invocation *inv, struct edit *edit)
{
	struct editor editor;
	bool same = false;
	const char *name = edit->type == ITEM_FILE ? edit->base.name : "item.txt";
	int rc = editor_open(&editor, name, buf_bytes(&edit->content), &inv->err);

	if (rc != 0) {
		return rc;
	}
	rc = editor_run(&editor, &edit->edited, &inv->err);
	if (rc != 0) {
		editor_close(&editor);
		return rc;
	}
	rc = edit_result(inv, edit, &same);
	if (rc == 0 && !same) {
		rc = app_run_with(inv, edit_write_body, edit);
	}
	if (rc != 0) {
		return edit_failed(inv, &editor, rc);
	}
	editor_close(&editor);
	output_note(&inv->out, same ? "nothing was changed" : "stored");
	return 0;
}

static int edit_any(struct invocation *inv, unsigned only, bool by_options)
{
	struct edit edit = {.only = only};
	int rc = 0;

	if (by_options) {
		rc = fields_take(inv, only == 0 ? ITEM_LOGIN : only, &edit.fields);
	}
	rc = rc != 0 ? rc : app_run_with(inv, edit_read_body, &edit);
	if (rc == 0 && edit.fields.any) {
		edit.values = edit.fields.values;
		rc = app_run_with(inv, edit_write_body, &edit);
	} else if (rc == 0) {
		rc = edit_by_editor(inv, &edit);
	}
	fields_release(&edit.fields);
	secret_buf_release(&edit.content);
	secret_buf_release(&edit.edited);
	return rc;
}

int app_edit(struct invocation *inv)
{
	return edit_any(inv, 0, false);
}

int app_note_edit(struct invocation *inv)
{
	return edit_any(inv, ITEM_NOTE, true);
}

int app_item_edit(struct invocation *inv)
{
	return edit_any(inv, 0, true);
}

int app_edit_new(struct invocation *inv, struct fields *fields)
{
	struct editor editor;
	int rc = editor_open(&editor, "note.txt", bytes_of(NULL, 0), &inv->err);

	if (rc != 0) {
		return err_wrap(&inv->err, rc, "--text-file gives the text of a note");
	}
	rc = editor_run(&editor, &fields->text, &inv->err);
	if (rc == 0 &&
		(fields->text.len == 0 || memchr(fields->text.data, 0, fields->text.len) != NULL)) {
		rc = err_set(&inv->err, KLUIS_EINVAL, "no text: nothing is stored");
	}
	editor_close(&editor);
	fields->values.value[ITEM_TEXT] = rc == 0 ? buf_str(&fields->text) : NULL;
	return rc != 0 ? rc : item_fields_check(ITEM_NOTE, &fields->values, &inv->err);
}

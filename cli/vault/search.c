/* kluis search */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/client/json_reader.h"
#include "cli/client/search.h"
#include "cli/vault/app.h"

enum { SEARCH_FOUND_MAX = 10000 };

static json_t *search_row(const struct place *p, const struct tree_item *item, const char *path)
{
	json_t *row = json_pack("{s:s, s:s}", "type", item_type_name(item->type), "path", path);
	json_t *modified = json_object_get(item->body, "mtime_ms");

	(void)p;
	if (item_type_has_fields(item->type)) {
		(void)json_object_set_new(row, "title",
			json_string(item_fields_of(item->type, item->body).value[ITEM_TITLE]));
	}
	if (json_is_integer(modified)) {
		(void)json_object_set(row, "modified", modified);
	}
	return row;
}

/* Whether a path lies in the folder, or is the place itself. */
static bool search_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && (path[len] == 0 || path[len] == '/');
}

static int search_print(struct app *k, const struct place *p, const struct search *search,
	const char *const *words, size_t n, size_t *ret_found)
{
	static const struct output_column columns[] = {{"type", "TYPE", OUTPUT_TEXT},
		{"modified", "MODIFIED", OUTPUT_TIME}, {"title", "TITLE", OUTPUT_TEXT},
		{"path", "PATH", OUTPUT_TEXT}};
	_cleanup_(json_dropp) json_t *rows = json_array();
	_cleanup_(x_freep) char *folder = tree_canonical(p->path);
	const struct tree_item **items = NULL;
	size_t n_items = 0;
	int rc = search_find(search, words, n, SEARCH_FOUND_MAX, &items, &n_items, &k->inv->err);

	for (size_t i = 0; i < n_items; i++) {
		_cleanup_(x_freep) char *path = tree_path(p->tree, items[i]);

		if (search_below(path, folder)) {
			(void)json_array_append_new(rows, search_row(p, items[i], path));
		}
	}
	free(items);
	if (rc == 0) {
		output_rows(&k->inv->out, columns, ARRAY_SIZE(columns), rows);
		(void)fflush(k->inv->out.data);
		*ret_found = json_array_size(rows);
	}
	return rc;
}

/* A query a line, until the input ends. */
static int search_lines(struct app *k, const struct place *p, const struct search *search)
{
	bool prompt = isatty(STDIN_FILENO) && k->inv->out.format == OUTPUT_TABLE;
	char *line = NULL;
	size_t cap = 0;
	int rc = 0;

	for (;;) {
		const char *words[SEARCH_WORDS_MAX + 1];
		size_t n = 0, found;
		char *at, *left = NULL;

		if (prompt) {
			(void)fprintf(k->inv->out.notes, "search: ");
			(void)fflush(k->inv->out.notes);
		}
		if (getline(&line, &cap, stdin) < 0) {
			break;
		}
		for (at = strtok_r(line, " \t\r\n", &left); at != NULL && n <= SEARCH_WORDS_MAX;
			at = strtok_r(NULL, " \t\r\n", &left)) {
			words[n++] = at;
		}
		rc = n == 0 ? 0 : search_print(k, p, search, words, n, &found);
		if (rc != 0) {
			break;
		}
	}
	if (line != NULL) {
		secret_clear(line, cap);
	}
	free(line);
	return rc;
}

static int search_body(struct app *k)
{
	struct invocation *inv = k->inv;
	struct search *search = NULL;
	struct place p;
	size_t found = 1;
	int rc = app_open_place(k, inv->args[0], &p);

	if (rc == 0) {
		search = search_new(p.tree);
		rc = inv->n_args == 1
			     ? search_lines(k, &p, search)
			     : search_print(k, &p, search, (const char *const *)inv->args + 1,
				       inv->n_args - 1, &found);
	}
	search_free(search);
	app_close_place(&p);
	return rc != 0 || found > 0 ? rc : err_set(&inv->err, KLUIS_ENOTFOUND, "nothing was found");
}

int app_search(struct invocation *inv)
{
	return app_run(inv, search_body);
}

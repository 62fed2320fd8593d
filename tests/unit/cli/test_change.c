/* Two devices that change one vault: whoever comes second applies the change to what is there by
 * then, and nothing that a device had not seen gets lost. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "cli/client/change.h"
#include "cli/client/json_reader.h"

enum { TOKENS_MAX = 4096 };

static struct vault some_vault = {.name = "v"};
static const struct change_writer writer = {"laptop", 1795305600000, true}; /* 2026-11-22 */

static struct tree *load(const struct buf *content)
{
	struct tree *tree = NULL;
	struct err e = {0};

	assert_int_equal(tree_parse(&some_vault, buf_bytes(content), &tree, &e), 0);
	assert_int_equal(tree->malformed, 0);
	return tree;
}

/* What a commit would store. */
static void store(struct tree *tree, struct buf *content)
{
	buf_clear(content);
	for (size_t i = 0; i < tree->n_pages; i++) {
		tree_page_content(tree, i, content);
	}
	tree_free(tree);
}

static struct tree_item *find(const struct tree *tree, const char *path)
{
	struct tree_item *item = NULL;
	struct err ignored = {0};

	return tree_find(tree, path, &item, &ignored) == 0 ? item : NULL;
}

static struct change note_at(const struct tree *tree, const char *path, const char *text)
{
	struct change change = {.kind = CHANGE_FIELDS, .type = ITEM_NOTE};

	change.path = x_strdup(path);
	change.base = change_base_of(find(tree, path));
	change.fields.value[ITEM_TITLE] = x_strdup("t");
	change.fields.value[ITEM_TEXT] = x_strdup(text);
	return change;
}

/* Content by its hash alone: a file of no bytes, as far as its item says. */
static struct change file_at(const struct tree *tree, const char *path, unsigned token)
{
	struct change change = {.kind = CHANGE_FILE};

	change.path = x_strdup(path);
	change.base = change_base_of(find(tree, path));
	change.source = x_calloc(1, sizeof *change.source);
	change.source->fd = -1;
	memcpy(change.source->file.sha256, &token, sizeof token);
	return change;
}

static struct change plain_at(
	const struct tree *tree, enum change_kind kind, const char *path, const char *to)
{
	struct change change = {.kind = kind};

	change.path = x_strdup(path);
	change.to = to == NULL ? NULL : x_strdup(to);
	change.base = change_base_of(find(tree, path));
	return change;
}

/* Applies it to the content; the outcome of the one notice, or -1. */
static int apply(struct buf *content, struct change *change, char **ret_path)
{
	struct change_notices notices = {.n = 0};
	struct tree *tree = load(content);
	struct err e = {0};
	int outcome;

	assert_int_equal(change_apply(tree, change, &writer, &notices, &e), 0);
	assert_true(notices.n <= 1);
	outcome = notices.n == 0 ? -1 : (int)notices.rows[0].outcome;
	if (notices.n == 1) {
		_cleanup_(x_freep) char *text = change_notice_text(&notices.rows[0]);

		assert_non_null(strstr(text, notices.rows[0].wanted));
		if (ret_path != NULL) {
			*ret_path = x_strdup(notices.rows[0].path);
		}
	}
	store(tree, content);
	change_notices_release(&notices);
	change_release(change);
	return outcome;
}

static void assert_text(const struct buf *content, const char *path, const char *text)
{
	struct tree *tree = load(content);
	struct tree_item *item = find(tree, path);

	if (text == NULL) {
		assert_null(item);
	} else {
		assert_non_null(item);
		assert_string_equal(json_string_value(json_object_get(item->body, "text")), text);
	}
	tree_free(tree);
}

/* Both begin from /d/n = "base"; the first change is in, then the second comes. */
static void test_pairs(void **state)
{
	static const char ours[] = "/d/n (conflict of laptop 2026-11-22)";
	_cleanup_(buf_release) struct buf base = BUF_INIT;
	struct tree *tree;
	struct change first, second;

	(void)state;
	tree = load(&base);
	first = note_at(tree, "/d/n", "base");
	tree_free(tree);
	assert_int_equal(apply(&base, &first, NULL), -1);
#define BOTH(a, b)                                      \
	_cleanup_(buf_release) struct buf s = BUF_INIT; \
	buf_append_bytes(&s, buf_bytes(&base));         \
	tree = load(&s);                                \
	first = (a);                                    \
	second = (b);                                   \
	tree_free(tree);                                \
	assert_int_equal(apply(&s, &first, NULL), -1)
	{ /* Change and change. */
		BOTH(note_at(tree, "/d/n", "1"), note_at(tree, "/d/n", "2"));
		assert_int_equal(apply(&s, &second, NULL), CHANGE_KEPT_BOTH);
		assert_text(&s, "/d/n", "1");
		assert_text(&s, ours, "2");
	}
	{ /* The same change is none. */
		BOTH(note_at(tree, "/d/n", "1"), note_at(tree, "/d/n", "1"));
		assert_int_equal(apply(&s, &second, NULL), -1);
		assert_text(&s, "/d/n", "1");
		assert_text(&s, ours, NULL);
	}
	{ /* Removal, then change. */
		BOTH(plain_at(tree, CHANGE_REMOVE, "/d/n", NULL), note_at(tree, "/d/n", "2"));
		assert_int_equal(apply(&s, &second, NULL), CHANGE_REVIVED);
		assert_text(&s, "/d/n", "2");
	}
	{ /* Change, then removal. */
		BOTH(note_at(tree, "/d/n", "1"), plain_at(tree, CHANGE_REMOVE, "/d/n", NULL));
		assert_int_equal(apply(&s, &second, NULL), CHANGE_NOT_REMOVED);
		assert_text(&s, "/d/n", "1");
	}
	{ /* Both removed it. */
		BOTH(plain_at(tree, CHANGE_REMOVE, "/d/n", NULL),
			plain_at(tree, CHANGE_REMOVE, "/d/n", NULL));
		assert_int_equal(apply(&s, &second, NULL), -1);
		assert_text(&s, "/d/n", NULL);
	}
	{ /* A change goes along with a move, also of its folder. */
		BOTH(plain_at(tree, CHANGE_MOVE, "/d", "/e"), note_at(tree, "/d/n", "2"));
		assert_int_equal(apply(&s, &second, NULL), -1);
		assert_text(&s, "/e/n", "2");
		assert_text(&s, "/d/n", NULL);
	}
	{ /* And a move with a change. */
		BOTH(note_at(tree, "/d/n", "1"), plain_at(tree, CHANGE_MOVE, "/d/n", "/m"));
		assert_int_equal(apply(&s, &second, NULL), -1);
		assert_text(&s, "/m", "1");
	}
	{ /* Two moves: the first stays. */
		BOTH(plain_at(tree, CHANGE_MOVE, "/d/n", "/m1"),
			plain_at(tree, CHANGE_MOVE, "/d/n", "/m2"));
		assert_int_equal(apply(&s, &second, NULL), CHANGE_NOT_MOVED);
		assert_text(&s, "/m1", "base");
	}
	{ /* Both made one name. */
		BOTH(note_at(tree, "/new.txt", "1"), note_at(tree, "/new.txt", "2"));
		assert_int_equal(apply(&s, &second, NULL), CHANGE_KEPT_BOTH);
		assert_text(&s, "/new.txt", "1");
		assert_text(&s, "/new (conflict of laptop 2026-11-22).txt", "2");
	}
	{ /* A note where the other needs a folder. */
		char *path = NULL;

		BOTH(note_at(tree, "/x", "1"), note_at(tree, "/x/y/z", "2"));
		assert_int_equal(apply(&s, &second, &path), CHANGE_KEPT_BOTH);
		assert_string_equal(path, "/x (conflict of laptop 2026-11-22)/y/z");
		assert_text(&s, path, "2");
		free(path);
	}
	{ /* A folder that got something new is not removed. */
		BOTH(plain_at(tree, CHANGE_REMOVE, "/d/n", NULL),
			plain_at(tree, CHANGE_REMOVE, "/d", NULL));
		first = note_at(tree = load(&s), "/d/o", "new");
		tree_free(tree);
		assert_int_equal(apply(&s, &first, NULL), -1);
		assert_int_equal(apply(&s, &second, NULL), CHANGE_NOT_REMOVED);
		assert_text(&s, "/d/o", "new");
	}
}

/* --- any interleaving --- */

/* What must be found: each content that was written and not knowingly replaced or removed. */
struct model {
	bool live[TOKENS_MAX];
	unsigned n;
};

struct device {
	bool busy;
	struct change change;
	unsigned token, base_token; /* 0: none. */
};

static unsigned token_of(const struct tree_item *item)
{
	unsigned token = 0;
	struct tree_file file;
	struct err ignored = {0};

	if (item == NULL || item->type == ITEM_FOLDER) {
		return 0;
	}
	if (item->type == ITEM_FILE) {
		assert_int_equal(tree_file_stat(item, &file, &ignored), 0);
		memcpy(&token, file.sha256, sizeof token);
		return token;
	}
	return (unsigned)strtoul(json_string_value(json_object_get(item->body, "text")), NULL, 10);
}

static char *random_path(struct random *random)
{
	static const char *const names[] = {"a", "b", "c.txt"};
	char *path = x_strdup("");

	for (uint64_t n = 1 + random_below(random, 3); n > 0; n--) {
		char *longer =
			x_asprintf("%s/%s", path, names[random_below(random, ARRAY_SIZE(names))]);

		free(path);
		path = longer;
	}
	return path;
}

/* A change on what the vault holds now, if one is possible there. */
static void device_begin(
	struct device *d, struct random *random, const struct buf *content, struct model *m)
{
	struct tree *tree = load(content);
	_cleanup_(x_freep) char *path = random_path(random);
	_cleanup_(x_freep) char *to = random_path(random);
	struct tree_item *item = find(tree, path);
	char text[16];
	struct err e = {0};

	*d = (struct device){.base_token = token_of(item)};
	(void)snprintf(text, sizeof text, "%u", m->n + 1);
	switch (random_below(random, 5)) {
	case 0:
	case 1:
		if (tree_check_place(tree, path, false, &e) != 0) {
			break;
		}
		d->token = ++m->n;
		d->change = item == NULL	      ? random_below(random, 2) == 0
								? note_at(tree, path, text)
								: file_at(tree, path, d->token)
					 : item->type == ITEM_FILE ? file_at(tree, path, d->token)
						      : note_at(tree, path, text);
		d->busy = true;
		break;
	case 2:
		d->busy = item != NULL;
		d->change = plain_at(tree, CHANGE_REMOVE, path, NULL);
		break;
	case 3:
		d->busy = tree_check_place(tree, path, true, &e) == 0;
		d->change = plain_at(tree, CHANGE_FOLDER, path, NULL);
		break;
	default:
		d->busy = item != NULL && tree_check_move(tree, item, to, &e) == 0;
		d->change = plain_at(tree, CHANGE_MOVE, path, to);
	}
	if (!d->busy) {
		change_release(&d->change);
	}
	tree_free(tree);
}

static void device_commit(struct device *d, struct buf *content, struct model *m)
{
	bool replaces = d->base_token != 0 && m->live[d->base_token];
	enum change_kind kind = d->change.kind;
	int outcome = apply(content, &d->change, NULL);

	if (kind == CHANGE_FILE || kind == CHANGE_FIELDS) {
		m->live[d->token] = true;
		if (replaces) {
			m->live[d->base_token] = false;
		} else {
			assert_true(d->base_token == 0 || outcome != -1); /* It is told. */
		}
	} else if (kind == CHANGE_REMOVE && replaces) {
		m->live[d->base_token] = false;
	}
	d->busy = false;
}

static void check(const struct buf *content, const struct model *m)
{
	_cleanup_(x_freep) bool *found = x_calloc(TOKENS_MAX, sizeof *found);
	struct tree *tree = load(content);

	for (size_t i = 0; i < tree->n_items; i++) {
		const struct tree_item *item = tree->items[i];
		unsigned token = item->name == NULL ? 0 : token_of(item);

		if (token != 0) {
			_cleanup_(x_freep) char *path = tree_path(tree, item);

			assert_ptr_equal(find(tree, path), item);
			assert_false(found[token]);
			found[token] = true;
		}
	}
	for (unsigned i = 1; i <= m->n; i++) {
		assert_int_equal(found[i], m->live[i]);
	}
	tree_free(tree);
}

static void test_any_interleaving(void **state)
{
	enum { RUNS = 60, STEPS = 150, DEVICES = 3 };

	(void)state;
	for (uint64_t seed = 1; seed <= RUNS; seed++) {
		_cleanup_(buf_release) struct buf content = BUF_INIT;
		struct device devices[DEVICES] = {{.busy = false}};
		_cleanup_(x_freep) struct model *m = x_calloc(1, sizeof *m);
		struct random_seeded random;

		random_seeded_init(&random, seed);
		for (unsigned step = 0; step < STEPS; step++) {
			struct device *d = &devices[random_below(&random.random, DEVICES)];

			if (d->busy) {
				device_commit(d, &content, m);
				check(&content, m);
			} else {
				device_begin(d, &random.random, &content, m);
			}
		}
		for (size_t i = 0; i < DEVICES; i++) {
			if (devices[i].busy) {
				change_release(&devices[i].change);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_any_interleaving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Trees as another device may have written them. */
#include "tests/lib/test.h"

#include <string.h>

#include "cli/client/json_reader.h"
#include "cli/client/tree.h"

static void id_of(unsigned number, uint8_t id[ID_BYTES])
{
	memset(id, 0, ID_BYTES);
	id[ID_BYTES - 2] = (uint8_t)(number >> 8);
	id[ID_BYTES - 1] = (uint8_t)number;
}

/* parent 0: the root. */
static void add_item(struct buf *content, unsigned number, unsigned parent, unsigned type)
{
	uint8_t id[ID_BYTES];
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct page_item item = {.item_rev = 1, .type = (uint16_t)type};
	char name[16];

	(void)snprintf(name, sizeof name, "n%u", number);
	id_of(parent, id);
	json_take_text(json_pack("{s:s, s:o, s:i, s:s, s:[]}", "name", name, "parent",
			       json_hex(bytes_of(id, ID_BYTES)), "size", 0, "sha256",
			       "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			       "pages"),
		&body);
	item.body = buf_bytes(&body);
	id_of(number, item.item_id);
	page_item_append(content, &item);
}

static struct tree *parse(const struct buf *content)
{
	static struct vault vault = {.name = "v"};
	struct tree *tree = NULL;
	struct err e = {0};

	assert_int_equal(tree_parse(&vault, buf_bytes(content), &tree, &e), 0);
	return tree;
}

/* Names below a folder, as deep as it goes. */
static size_t walk(const struct tree *tree, const struct tree_item *folder, unsigned depth)
{
	size_t n, all;
	struct tree_item **children = tree_children(tree, folder, &n);

	assert_true(depth <= TREE_DEPTH_MAX);
	all = n;
	for (size_t i = 0; i < n; i++) {
		all += children[i]->type == ITEM_FOLDER ? walk(tree, children[i], depth + 1) : 0;
	}
	free(children);
	return all;
}

static void test_deep(void **state)
{
	enum { DEPTH = 40000 };
	_cleanup_(buf_release) struct buf up = BUF_INIT;
	_cleanup_(buf_release) struct buf down = BUF_INIT;
	const struct buf *both[] = {&up, &down};

	(void)state;
	for (unsigned i = 1; i <= DEPTH; i++) {
		add_item(&up, i, i - 1, ITEM_FOLDER);
		add_item(&down, DEPTH + 1 - i, DEPTH - i, ITEM_FOLDER);
	}
	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		struct tree *tree = parse(both[i]);

		assert_int_equal(walk(tree, NULL, 0), TREE_DEPTH_MAX);
		assert_int_equal(tree->malformed, DEPTH - TREE_DEPTH_MAX);
		tree_free(tree);
	}
}

static void test_no_way_to_the_root(void **state)
{
	_cleanup_(buf_release) struct buf content = BUF_INIT;
	struct tree *tree;

	(void)state;
	add_item(&content, 1, 0, ITEM_FOLDER);
	add_item(&content, 2, 1, ITEM_FILE);
	add_item(&content, 3, 4, ITEM_FOLDER); /* Each in the other. */
	add_item(&content, 4, 3, ITEM_FOLDER);
	add_item(&content, 5, 5, ITEM_FOLDER); /* In itself. */
	add_item(&content, 6, 5, ITEM_FILE);
	add_item(&content, 7, 99, ITEM_FILE); /* In nothing. */
	add_item(&content, 8, 2, ITEM_FILE);  /* In a file. */
	tree = parse(&content);
	assert_int_equal(walk(tree, NULL, 0), 2);
	assert_int_equal(tree->malformed, 6);
	tree_free(tree);
}

/* A file's item, as its writer pleases, of so many pages in a vault of eight. */
static int file_of(const char *pages, uint64_t chunks)
{
	struct vault vault = {.name = "v", .head = {.page_count = 8}};
	struct tree tree = {.vault = &vault};
	struct tree_item item = {.type = ITEM_FILE, .name = "f"};
	struct tree_file file;
	struct err e = {0};
	int rc;

	item.body = json_pack("{s:I, s:s, s:o}", "size",
		(json_int_t)(chunks * PAGE_CONTENT_BYTES_MAX), "sha256",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "pages",
		json_loads(pages, 0, NULL));
	rc = tree_file_of(&tree, &item, &file, &e);
	if (rc == 0) {
		assert_int_equal(file.n_pages, chunks);
		tree_file_release(&file);
	}
	json_decref(item.body);
	return rc;
}

/* Little that says it is much: one page for all the chunks of a file. */
static void test_repeated_chunks(void **state)
{
	(void)state;
	assert_int_equal(file_of("[]", 0), 0);
	assert_int_equal(file_of("[7]", 1), 0);
	assert_int_equal(file_of("[5,0,7,1]", 4), 0);
	assert_int_equal(file_of("[5,0,5,1]", 4), KLUIS_EVERIFY);
	assert_int_equal(file_of("[3,3,3,3,3,3,3,3]", 8), KLUIS_EVERIFY);
	assert_int_equal(file_of("[8]", 1), KLUIS_EVERIFY);
	assert_int_equal(file_of("[0,1]", 3), KLUIS_EVERIFY);
	assert_int_equal(file_of("[0,1]", 1), KLUIS_EVERIFY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_no_way_to_the_root),
		cmocka_unit_test(test_repeated_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

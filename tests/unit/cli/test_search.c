/* Words found in a vault's items, and the archive that they leave it in. */
#include "tests/lib/test.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/client/search.h"
#include "cli/client/tar.h"

static struct vault some_vault = {.name = "v"};

static struct tree *new_tree(void)
{
	struct tree *tree;
	struct err e = {0};

	assert_int_equal(tree_parse(&some_vault, bytes_of(NULL, 0), &tree, &e), 0);
	return tree;
}

static void add(struct tree *tree, const char *path, const char *title, const char *text)
{
	const struct item_fields fields = {.value = {[ITEM_TITLE] = title,
						   [ITEM_USER] = "user",
						   [ITEM_PASSWORD] = "hidden",
						   [ITEM_TEXT] = text}};
	struct err e = {0};

	assert_int_equal(tree_put_fields(tree, path, ITEM_LOGIN, &fields, &e), 0);
}

/* The paths that are found, each with a space behind it. */
static void assert_found(const struct search *search, const struct tree *tree, const char *wanted,
	const char *const *words, size_t n)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	const struct tree_item **items;
	struct err e = {0};
	size_t n_items;

	assert_int_equal(search_find(search, words, n, 100, &items, &n_items, &e), 0);
	for (size_t i = 0; i < n_items; i++) {
		_cleanup_(x_freep) char *path = tree_path(tree, items[i]);

		buf_printf(&got, "%s ", path);
	}
	free(items);
	assert_string_equal(buf_str(&got), wanted);
}

static void test_words(void **state)
{
	struct tree *tree = new_tree();
	struct search *search;
	const struct tree_item **items;
	const char *many[SEARCH_WORDS_MAX + 1], *bad = "\xff";
	struct err e = {0};
	size_t n;

	(void)state;
	add(tree, "/a/First", "Caf\xc3\x89 \xce\xa3\xce\x99", "one two");
	add(tree, "/b", "", "two three");
	add(tree, "/two", "", "");
	tree_sort(tree);
	search = search_new(tree);
#define FOUND(wanted, ...)                                                     \
	assert_found(search, tree, wanted, (const char *const[]){__VA_ARGS__}, \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
	FOUND("/b /two /a/First ", "two");
	FOUND("/a/First ", "TWO", "caf\xc3\xa9");
	FOUND("/a/First ", "\xcf\x83\xce\xb9");
	FOUND("/b ", "three", "two");
	FOUND("", "onetwo");
	FOUND("", "one", "three");
	FOUND("", "hidden");
	FOUND("/a /a/First ", "a", ""); /* Names, too; an empty word says nothing. */
	FOUND("", "firstcaf");		/* Not from one field into the next. */
	assert_int_equal(search_find(search, NULL, 0, 100, &items, &n, &e), 0);
	assert_int_equal(n, 4);
	free(items);
	assert_int_equal(
		search_find(search, (const char *const[]){"two"}, 1, 2, &items, &n, &e), 0);
	assert_int_equal(n, 2);
	free(items);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = "x";
	}
	assert_int_equal(
		search_find(search, many, ARRAY_SIZE(many), 9, &items, &n, &e), KLUIS_EINVAL);
	assert_int_equal(search_find(search, &bad, 1, 9, &items, &n, &e), KLUIS_EINVAL);
	search_free(search);
	tree_free(tree);
}

/* GNU tar takes out what was put in. */
static void test_tar(void **state)
{
	char *dir = scratch_new("tar");
	_cleanup_(x_freep) char *archive = x_asprintf("%s/a.tar", dir);
	_cleanup_(buf_release) struct buf tar = BUF_INIT;
	_cleanup_(buf_release) struct buf content = BUF_INIT;
	char name[201];
	struct err e = {0};
	struct stat st;
	int status = -1;
	pid_t child;

	(void)state;
	memset(buf_extend(&content, 1000), 'x', 1000);
	tar_folder(&tar, "folder");
	memset(name, 'n', 200);
	memcpy(name, "folder/", 7);
	for (size_t len = 8; len <= 200; len += 4) { /* Around the 100 of a plain header, too. */
		size_t size = len * 5 % 1000;

		name[len] = 0;
		tar_file(&tar, name, size, 1700000000000);
		buf_append(&tar, content.data, size);
		tar_pad(&tar, size);
		name[len] = 'n';
	}
	tar_end(&tar);
	assert_int_equal(tar.len % TAR_BLOCK_BYTES, 0);
	assert_int_equal(file_write(archive, buf_bytes(&tar), 0600, &e), 0);
	child = fork();
	if (child == 0) {
		(void)execlp("tar", "tar", "-C", dir, "-xf", archive, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	name[200] = 0;
	for (size_t len = 8; len <= 200; len += 4) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%.*s", dir, (int)len, name);

		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, len * 5 % 1000);
		assert_int_equal(st.st_mode & 0777, 0600);
		assert_int_equal(st.st_mtim.tv_sec, 1700000000);
	}
	scratch_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_tar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

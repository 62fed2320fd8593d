/* Files into a vault: chunks, resuming, replacing, removing, and the pages that items take. */
#include "tests/lib/cli_fixture/cli_fixture.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { CHUNK = 262140 };

static struct vault *open_synced(struct cli_fixture *f)
{
	struct vault *vault;

	assert_int_equal(vault_open(f->profile, f->client, "v", &vault, &f->err), 0);
	assert_int_equal(vault_sync(vault, &f->err), 0);
	return vault;
}

/* An upload is cut off in the middle; the next run sends only what is not there yet. */
static void test_resume(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf content = cli_fixture_bytes(24 * (size_t)CHUNK, 3);
	_cleanup_(x_freep) char *local = x_asprintf("%s/large", f->dir);
	const struct put_config config = {.force = false};
	struct put_result result;
	struct vault *vault;
	struct put *put;
	unsigned first, second;
	bool is_local;

	assert_int_equal(file_write(local, buf_bytes(&content), 0600, &f->err), 0);
	fake_node_fault(f->node, FAKE_STATUS, "PUT /v1/vaults", 15, 1000, 403);
	vault = open_synced(f);
	assert_int_equal(put_new(vault, &config, &put, &f->err), 0);
	assert_int_equal(put_file(put, local, "/large", &is_local, &f->err) == 0
				 ? put_finish(put, &result, &f->err)
				 : f->err.code,
		KLUIS_EMFA); /* The fake node's first code of 403. */
	put_free(put);
	vault_close(vault);
	first = fake_node_count(f->node, "PUT /v1/vaults");
	fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
	cli_fixture_reopen(f);
	vault = open_synced(f);
	assert_int_equal(put_new(vault, &config, &put, &f->err), 0);
	assert_int_equal(put_file(put, local, "/large", &is_local, &f->err), 0);
	assert_int_equal(put_finish(put, &result, &f->err), 0);
	put_free(put);
	vault_close(vault);
	second = fake_node_count(f->node, "PUT /v1/vaults") - first;
	assert_int_equal(result.chunks_found, 15);
	assert_int_equal(second, 24 - 15);
	{
		_cleanup_(buf_release) struct buf got = BUF_INIT;

		assert_int_equal(cli_fixture_get(f, "large", &got), 0);
		assert_true(bytes_equal(buf_bytes(&got), buf_bytes(&content)));
	}
	/* The same file again changes nothing. */
	vault = open_synced(f);
	assert_int_equal(put_new(vault, &config, &put, &f->err), 0);
	assert_int_equal(put_file(put, local, "/large", &is_local, &f->err), 0);
	assert_int_equal(put_finish(put, &result, &f->err), 0);
	assert_int_equal(result.unchanged, 1);
	assert_int_equal(result.commits, 0);
	put_free(put);
	vault_close(vault);
}

/* What an old version took is made tombstones; what is removed, too. */
static void test_replace_and_remove(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf content = cli_fixture_bytes(3 * (size_t)CHUNK, 4);
	const struct put_config config = {.force = false};
	const struct get_config quiet = {.write = NULL};
	struct get_report report;
	struct put_result result;
	struct tree *tree;
	struct vault *vault;
	struct put *put;
	bool moved;

	assert_int_equal(cli_fixture_put(f, "a", buf_bytes(&content)), 0);
	assert_int_equal(cli_fixture_put(f, "a", bytes_str("short")), 0);
	vault = open_synced(f);
	assert_int_equal(tree_load(vault, &tree, &f->err), 0);
	assert_int_equal(get_verify_all(tree, &quiet, &report, &moved, &f->err), 0);
	assert_int_equal(report.files, 1);
	assert_int_equal(report.bytes, 5);
	assert_int_equal(report.orphans, 0);
	tree_free(tree);
	assert_int_equal(put_new(vault, &config, &put, &f->err), 0);
	assert_int_equal(put_remove(put, "/a", &f->err), 0);
	assert_int_equal(put_finish(put, &result, &f->err), 0);
	put_free(put);
	vault_close(vault);
	{
		_cleanup_(buf_release) struct buf got = BUF_INIT;

		assert_int_equal(cli_fixture_get(f, "a", &got), KLUIS_ENOTFOUND);
	}
}

/* A file that changes while it is read is left out; the others are stored. */
static void test_unreadable_is_left_out(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *good = x_asprintf("%s/good", f->dir);
	const struct put_config config = {.force = false};
	struct put_result result;
	struct vault *vault = open_synced(f);
	struct put *put;
	bool is_local;

	assert_int_equal(file_write(good, bytes_str("good"), 0600, &f->err), 0);
	assert_int_equal(put_new(vault, &config, &put, &f->err), 0);
	assert_int_equal(put_file(put, "/nonexistent", "/x", &is_local, &f->err), KLUIS_ENOTFOUND);
	assert_true(is_local);
	assert_int_equal(put_file(put, f->dir, "/dir", &is_local, &f->err), KLUIS_EINVAL);
	assert_true(is_local);
	assert_int_equal(put_file(put, good, "/good", &is_local, &f->err), 0);
	assert_int_equal(put_finish(put, &result, &f->err), 0);
	assert_int_equal(result.files, 1);
	put_free(put);
	vault_close(vault);
}

/* More files than a commit takes, in one item page after the other. */
static void test_many_files(void **state)
{
	enum { FILES = 400 };
	struct cli_fixture *f = *state;
	const struct put_config config = {.force = false};
	_cleanup_(x_freep) char *local = x_asprintf("%s/one", f->dir);
	struct put_result result;
	struct vault *vault = open_synced(f);
	struct tree *tree;
	struct put *put;
	bool is_local;
	size_t n;

	assert_int_equal(file_write(local, bytes_str("content"), 0600, &f->err), 0);
	assert_int_equal(put_new(vault, &config, &put, &f->err), 0);
	for (int i = 0; i < FILES; i++) {
		_cleanup_(x_freep) char *path = x_asprintf("/d%d/file-%d", i % 7, i);

		assert_int_equal(put_file(put, local, path, &is_local, &f->err), 0);
	}
	assert_int_equal(put_finish(put, &result, &f->err), 0);
	assert_int_equal(result.files, FILES);
	assert_true(result.commits >= 3);
	put_free(put);
	vault_close(vault);
	cli_fixture_reopen(f);
	vault = open_synced(f);
	assert_int_equal(tree_load(vault, &tree, &f->err), 0);
	assert_true(tree->n_pages > 1);
	for (int d = 0; d < 7; d++) {
		_cleanup_(x_freep) char *path = x_asprintf("/d%d", d);
		struct tree_item *folder;

		assert_int_equal(tree_find(tree, path, &folder, &f->err), 0);
		free(tree_children(tree, folder, &n));
		assert_int_equal(n, FILES / 7 + (d < FILES % 7));
	}
	assert_int_equal(tree->malformed, 0);
	tree_free(tree);
	vault_close(vault);
}

/* The chunk numbers of a very large file go to pages of their own, and come back. */
static void test_parts(void **state)
{
	enum { CHUNKS = 2 * TREE_PART_CHUNKS + 5 };
	struct cli_fixture *f = *state;
	struct vault *vault = open_synced(f);
	struct tree_file file = {.size = (uint64_t)CHUNKS * CHUNK, .n_pages = CHUNKS};
	struct tree_item *item;
	struct tree *tree;
	uint64_t next = 1000000;
	size_t parts = 0;

	file.pages = x_calloc(CHUNKS, sizeof *file.pages);
	for (size_t i = 0; i < CHUNKS; i++) {
		file.pages[i] = i + 1;
	}
	assert_int_equal(tree_load(vault, &tree, &f->err), 0);
	assert_int_equal(tree_put_file(tree, "/huge", NULL, &file, &f->err), 0);
	tree_number_pages(tree, &next);
	assert_int_equal(tree_find(tree, "/huge", &item, &f->err), 0);
	assert_int_equal(json_array_size(json_object_get(item->body, "more")), 2);
	for (size_t i = 0; i < tree->n_pages; i++) {
		_cleanup_(buf_release) struct buf content = BUF_INIT;
		_cleanup_(buf_release) struct buf page = BUF_INIT;
		uint8_t hash[HASH_BYTES];

		assert_true(tree->pages[i].dirty);
		parts += tree->pages[i].part_of != NULL;
		tree_page_content(tree, i, &content);
		assert_int_equal(content.len, tree->pages[i].bytes);
		hash_sha256(buf_bytes(&content), hash);
		assert_int_equal(vault_seal_page(vault, tree->pages[i].page_no, 1, PAGE_ITEMS,
					 PAGE_ZLIB, buf_bytes(&content), hash, &page, &f->err),
			0);
	}
	assert_int_equal(parts, 2);
	tree_file_release(&file);
	tree_free(tree);
	vault_close(vault);
}

static void test_paths(void **state)
{
	static const char *const bad[] = {"", "a", "/a/../b", "/./a", "/a\nb", "/\xff"};
	struct cli_fixture *f = *state;
	struct vault *vault = open_synced(f);
	struct tree_file file = {.size = 0};
	struct tree_item *item;
	struct tree *tree;

	assert_int_equal(tree_load(vault, &tree, &f->err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(tree_find(tree, bad[i], &item, &f->err), KLUIS_EINVAL);
		assert_int_equal(tree_put_file(tree, bad[i], NULL, &file, &f->err), KLUIS_EINVAL);
	}
	assert_int_equal(tree_put_file(tree, "/a/b/c", NULL, &file, &f->err), 0);
	assert_int_equal(tree_put_file(tree, "/a/b", NULL, &file, &f->err), KLUIS_ECONFLICT);
	assert_int_equal(tree_put_file(tree, "/a/b/c/d", NULL, &file, &f->err), KLUIS_ECONFLICT);
	assert_int_equal(tree_find(tree, "/a//b/", &item, &f->err), 0);
	assert_int_equal(item->type, ITEM_FOLDER);
	assert_int_equal(tree_remove(tree, item, &f->err), KLUIS_ECONFLICT);
	assert_int_equal(tree_find(tree, "/a/b/c", &item, &f->err), 0);
	assert_int_equal(tree_remove(tree, item, &f->err), 0);
	assert_int_equal(tree_find(tree, "/a/b/c", &item, &f->err), KLUIS_ENOTFOUND);
	assert_int_equal(tree_find(tree, "/", &item, &f->err), 0);
	assert_null(item);
	tree_free(tree);
	vault_close(vault);
}

/* One file, by a commit that claims what it is made of. */
static void put_claiming(struct cli_fixture *f, const char *path)
{
	const struct put_config config = {.force = false};
	struct put_result result;
	struct vault *vault = open_synced(f);
	struct put *put;
	bool is_local;

	assert_int_equal(put_new(vault, &config, &put, &f->err), 0);
	assert_int_equal(
		put_from(put, put_source_of(bytes_str(path), path, 0600), NULL, &is_local, &f->err),
		0);
	vault->claims = "00112233445566778899aabbccddeeff";
	assert_int_equal(put_finish(put, &result, &f->err), 0);
	assert_int_equal(result.files, 1);
	put_free(put);
	vault_close(vault);
}

/* A claim goes with its commit; one whose document is gone keeps no signed head back. */
static void test_claims(void **state)
{
	struct cli_fixture *f = *state;
	uint64_t before = fake_node_head_seq(f->node);

	put_claiming(f, "/one");
	assert_int_equal(fake_node_claimed(f->node), 1);
	assert_int_equal(fake_node_head_seq(f->node), before + 1);
	fake_node_claims_gone(f->node);
	put_claiming(f, "/two");
	assert_int_equal(fake_node_claimed(f->node), 1);
	assert_int_equal(fake_node_head_seq(f->node), before + 2);
	assert_int_equal(fake_node_heads_sent(f->node, before + 2), 1);
}

int main(void)
{
#define FIXTURE(test) cmocka_unit_test_setup_teardown(test, cli_fixture_setup, cli_fixture_teardown)
	const struct CMUnitTest tests[] = {
		FIXTURE(test_resume),
		FIXTURE(test_replace_and_remove),
		FIXTURE(test_unreadable_is_left_out),
		FIXTURE(test_many_files),
		FIXTURE(test_parts),
		FIXTURE(test_paths),
		FIXTURE(test_claims),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A vault read from an operator's copy: what it was, or a named error; and nothing of it goes into
 * the profile. */
#include "tests/lib/cli_fixture/cli_fixture.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/client/vault_copy.h"

enum { LARGE = 2 * 262140 + 17 };

static void put_ok(struct cli_fixture *f, const char *name, struct bytes content)
{
	assert_int_equal(cli_fixture_put(f, name, content), 0);
}

static struct vault *open_synced(struct cli_fixture *f)
{
	struct vault *vault = NULL;

	f->err = (struct err){0};
	assert_int_equal(vault_open(f->profile, f->client, "v", &vault, &f->err), 0);
	assert_int_equal(vault_sync(vault, &f->err), 0);
	return vault;
}

/* As an operator would take it out of a snapshot of now. */
static void make_copy(struct cli_fixture *f, const char *dir)
{
	struct vault *vault = open_synced(f);
	struct vault_copy copy = {.index = 7, .time_ms = 8};
	_cleanup_(x_freep) char *path = vault_copy_file(dir);
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;

	assert_int_equal(mkdir(dir, 0700), 0);
	memcpy(copy.cluster_id, f->profile->cluster_id, ID_BYTES);
	memcpy(copy.head_bytes, vault->head_bytes, HEAD_BYTES);
	copy.head = vault->head;
	copy.leaves = x_calloc((size_t)vault->head.page_count + 1, sizeof *copy.leaves);
	for (uint64_t i = 0; i < vault->head.page_count; i++) {
		_cleanup_(x_freep) char *page_path = vault_copy_page(dir, i);
		_cleanup_(buf_release) struct buf page = BUF_INIT;

		copy.leaves[i].revision = vault->leaves[i].revision;
		copy.leaves[i].epoch = vault->leaves[i].epoch;
		memcpy(copy.leaves[i].leaf, merkle_leaf(vault->tree, i), HASH_BYTES);
		assert_int_equal(api_page(f->client, vault->id, i, &page, &f->err), 0);
		assert_int_equal(file_write(page_path, buf_bytes(&page), 0600, NULL), 0);
	}
	vault_copy_encode(&copy, &encoded);
	assert_int_equal(file_write(path, buf_bytes(&encoded), 0600, NULL), 0);
	vault_copy_release(&copy);
	vault_close(vault);
}

static int append(void *arg, struct bytes bytes, struct err *e)
{
	(void)e;
	buf_append_bytes(arg, bytes);
	return 0;
}

/* What "/file" is in the copy. */
static int read_copy(struct cli_fixture *f, const char *dir, struct buf *to)
{
	const struct get_config config = {.write = append, .arg = to};
	struct vault *vault = open_synced(f);
	struct tree_item *item = NULL;
	struct tree *tree = NULL;
	bool moved;
	int rc = vault_open_copy(vault, dir, &f->err);

	buf_clear(to);
	rc = rc != 0 ? rc : tree_load(vault, &tree, &f->err);
	rc = rc != 0 ? rc : tree_find(tree, "/file", &item, &f->err);
	rc = rc != 0 ? rc : get_file(tree, item, &config, &moved, &f->err);
	tree_free(tree);
	vault_close(vault);
	return rc;
}

static void test_read(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/copy", f->dir);
	_cleanup_(buf_release) struct buf old = cli_fixture_bytes(LARGE, 1), got = BUF_INIT;
	uint8_t before[HASH_BYTES], after[HASH_BYTES];
	struct vault *vault;
	struct err e = {0};

	put_ok(f, "file", buf_bytes(&old));
	make_copy(f, dir);
	put_ok(f, "file", bytes_str("new"));
	put_ok(f, "more", bytes_str("more"));
	assert_int_equal(cli_fixture_get(f, "file", &got), 0);
	cli_fixture_digest(f, before);
	assert_int_equal(read_copy(f, dir, &got), 0);
	assert_true(bytes_equal(buf_bytes(&got), buf_bytes(&old)));
	cli_fixture_digest(f, after);
	assert_memory_equal(before, after, HASH_BYTES);
	cli_fixture_reopen(f);
	buf_clear(&got);
	assert_int_equal(cli_fixture_get(f, "file", &got), 0);
	assert_true(bytes_equal(buf_bytes(&got), bytes_str("new")));
	/* Nothing is written to it. */
	vault = open_synced(f);
	assert_int_equal(vault_open_copy(vault, dir, &e), 0);
	assert_int_equal(vault_sync(vault, &e), KLUIS_EVERIFY);
	vault_close(vault);
}

/* A profile that never saw the copy's head takes it if the heads behind it lead to what it pins. */
static void test_descends(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/copy", f->dir);
	char *sleeper = x_asprintf("%s/sleeper", f->dir);
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct err e = {0};
	struct vault *vault;

	cli_fixture_copy(f->profile_dir, sleeper);
	put_ok(f, "file", bytes_str("one"));
	make_copy(f, dir);
	put_ok(f, "file", bytes_str("two"));
	put_ok(f, "file", bytes_str("three"));
	free(f->profile_dir);
	f->profile_dir = sleeper;
	cli_fixture_reopen(f);
	assert_int_equal(read_copy(f, dir, &got), 0);
	assert_true(bytes_equal(buf_bytes(&got), bytes_str("one")));
	vault = open_synced(f);
	fake_node_fault(f->node, FAKE_NO_HEADS, "heads", 0, 1, 0);
	assert_int_equal(vault_open_copy(vault, dir, &e), KLUIS_EVERIFY);
	vault_close(vault);
}

/* Of a history that the profile has seen otherwise, or that nobody can show. */
static void test_other_history(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/copy", f->dir);
	_cleanup_(x_freep) char *later = x_asprintf("%s/later", f->dir);
	_cleanup_(x_freep) char *sleeper = x_asprintf("%s/sleeper", f->dir);
	_cleanup_(buf_release) struct buf got = BUF_INIT;

	put_ok(f, "file", bytes_str("one"));
	cli_fixture_copy(f->profile_dir, sleeper);
	put_ok(f, "file", bytes_str("two"));
	make_copy(f, later);
	fake_node_rollback(f->node, 2);
	free(f->profile_dir);
	f->profile_dir = x_strdup(sleeper);
	cli_fixture_reopen(f);
	/* Head 3 of the copy: nothing here says that it ever was one. */
	assert_int_equal(read_copy(f, later, &got), KLUIS_EVERIFY);
	put_ok(f, "file", bytes_str("fork"));
	make_copy(f, dir);
	assert_int_equal(read_copy(f, dir, &got), 0);
	/* Now another head 3 is known. */
	assert_int_equal(read_copy(f, later, &got), KLUIS_EPIN);
}

/* Any byte that counts. */
static void test_damage(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/copy", f->dir);
	_cleanup_(x_freep) char *page = vault_copy_page(dir, 0);
	_cleanup_(x_freep) char *path = vault_copy_file(dir);
	_cleanup_(buf_release) struct buf good = BUF_INIT, got = BUF_INIT;
	struct vault_copy copy;

	put_ok(f, "file", bytes_str("one"));
	make_copy(f, dir);
	assert_int_equal(file_read(path, 1 << 20, &good, NULL), 0);
	for (size_t i = 0; i < good.len; i++) {
		assert_int_not_equal(vault_copy_parse(bytes_of(good.data, i), &copy, NULL), 0);
	}
	good.data[good.len - 1] ^= 1; /* A leaf. */
	assert_int_equal(file_write(path, buf_bytes(&good), 0600, NULL), 0);
	assert_int_equal(read_copy(f, dir, &got), KLUIS_EVERIFY);
	good.data[good.len - 1] ^= 1;
	good.data[8] ^= 1; /* The cluster. */
	assert_int_equal(file_write(path, buf_bytes(&good), 0600, NULL), 0);
	assert_int_equal(read_copy(f, dir, &got), KLUIS_EVERIFY);
	good.data[8] ^= 1;
	good.data[4] = 2;
	assert_int_equal(vault_copy_parse(buf_bytes(&good), &copy, NULL), KLUIS_EVERSION);
	good.data[4] = 1;
	assert_int_equal(file_write(path, buf_bytes(&good), 0600, NULL), 0);
	assert_int_equal(read_copy(f, dir, &got), 0);
	buf_clear(&good);
	assert_int_equal(file_read(page, 1 << 20, &good, NULL), 0);
	good.data[good.len / 2] ^= 1;
	assert_int_equal(file_write(page, buf_bytes(&good), 0600, NULL), 0);
	assert_int_equal(read_copy(f, dir, &got), KLUIS_EVERIFY);
	assert_int_equal(unlink(page), 0);
	assert_int_equal(read_copy(f, dir, &got), KLUIS_EVERIFY);
	assert_non_null(strstr(f->err.text, "not whole"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, cli_fixture_setup, cli_fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_read), T(test_descends), T(test_other_history), T(test_damage)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

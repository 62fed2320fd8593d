/* Where fetched files go, and what is there when a get ends early. */
#include "tests/lib/cli_fixture/cli_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/client/download.h"

/* A folder of its own, a loaded tree, and what get_file_to() said. */
struct getter {
	struct cli_fixture *f;
	struct vault *vault;
	struct tree *tree;
	char *dir;
	bool local, moved;
	size_t names_seen;	   /* In the folder while the file came. */
	struct cli_fixture *other; /* Another writer, who replaces the file once it has begun. */
};

static size_t names_in(const char *dir)
{
	struct dirent *entry;
	size_t n = 0;
	DIR *d = opendir(dir);

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL) {
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	}
	(void)closedir(d);
	return n;
}

static void getter_open(struct getter *g, struct cli_fixture *f)
{
	struct err e = {0};

	*g = (struct getter){.f = f, .dir = x_asprintf("%s/to", f->dir)};
	assert_int_equal(file_make_dirs(g->dir, 0700, &e), 0);
	assert_int_equal(vault_open(f->profile, f->client, "v", &g->vault, &e), 0);
	assert_int_equal(vault_sync(g->vault, &e), 0);
	assert_int_equal(tree_load(g->vault, &g->tree, &e), 0);
}

static void getter_close(struct getter *g)
{
	tree_free(g->tree);
	vault_close(g->vault);
	free(g->dir);
}

static void see(void *arg, uint64_t bytes)
{
	struct getter *g = arg;

	(void)bytes;
	g->names_seen = names_in(g->dir);
	if (g->other != NULL) {
		assert_int_equal(cli_fixture_put(g->other, "file", bytes_str("other")), 0);
		g->other = NULL;
	}
}

/* /file to dir/name. */
static int get_to(struct getter *g, const char *name, bool named)
{
	const struct get_config config = {.progress = see, .arg = g};
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", g->dir, name);
	struct tree_item *item;

	g->f->err = (struct err){0};
	assert_int_equal(tree_find(g->tree, "/file", &item, &g->f->err), 0);
	return get_file_to(g->tree, item, path, named, &config, &g->local, &g->moved, &g->f->err);
}

static void assert_file(const struct getter *g, const char *name, const char *text)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", g->dir, name);
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct err e = {0};

	assert_int_equal(file_read(path, 1 << 20, &got, &e), 0);
	assert_string_equal(buf_str(&got), text);
}

static void make_file(const struct getter *g, const char *name, const char *text)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", g->dir, name);
	struct err e = {0};

	assert_int_equal(file_write(path, bytes_str(text), 0600, &e), 0);
}

static void test_places(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *link = x_asprintf("%s/to/link", f->dir);
	_cleanup_(x_freep) char *other = x_asprintf("%s/to/other", f->dir);
	_cleanup_(x_freep) char *dangling = x_asprintf("%s/to/dangling", f->dir);
	_cleanup_(x_freep) char *fifo = x_asprintf("%s/to/fifo", f->dir);
	char longest[ITEM_NAME_BYTES_MAX + 1], got[8] = "";
	struct getter g;
	struct stat st;
	int fd;

	assert_int_equal(cli_fixture_put(f, "file", bytes_str("new")), 0);
	getter_open(&g, f);
	make_file(&g, "old", "old");
	assert_int_equal(get_to(&g, "old", true), 0);
	assert_file(&g, "old", "new");
	assert_int_equal(g.names_seen, 1); /* Nothing half done beside it. */
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = 0;
	assert_int_equal(get_to(&g, longest, true), 0);
	/* A link that the user named leads to the file; in a fetched folder it is replaced. */
	make_file(&g, "target", "old");
	assert_int_equal(symlink("target", link), 0);
	assert_int_equal(get_to(&g, "link", true), 0);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_file(&g, "target", "new");
	make_file(&g, "target", "old");
	assert_int_equal(symlink("target", other), 0);
	assert_int_equal(get_to(&g, "other", false), 0);
	assert_int_equal(lstat(other, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_file(&g, "target", "old");
	assert_int_equal(symlink("nowhere", dangling), 0);
	assert_int_equal(get_to(&g, "dangling", true), KLUIS_EEXIST);
	assert_true(g.local);
	/* What is no file stays what it is. */
	assert_int_equal(mkfifo(fifo, 0600), 0);
	fd = open(fifo, O_RDWR | O_CLOEXEC);
	assert_int_equal(get_to(&g, "fifo", true), 0);
	assert_int_equal(read(fd, got, sizeof got), 3);
	assert_string_equal(got, "new");
	(void)close(fd);
	assert_int_equal(get_to(&g, ".", true), KLUIS_EEXIST);
	assert_int_equal(get_to(&g, "missing/x", true), KLUIS_ENOTFOUND);
	assert_true(g.local);
	getter_close(&g);
}

/* Until all was verified the old file stays, and nothing of the new one is to be seen. */
static void test_failed_get(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf content = cli_fixture_bytes(5 * (size_t)262140, 1);
	struct getter g;
	size_t before;

	assert_int_equal(cli_fixture_put(f, "other", bytes_str("other")), 0);
	assert_int_equal(cli_fixture_put(f, "file", buf_bytes(&content)), 0);
	getter_open(&g, f);
	make_file(&g, "old", "old");
	before = names_in(g.dir);
	fake_node_fault(f->node, FAKE_FLIP_BODY, "pages:get", 0, 1000, 0);
	assert_int_equal(get_to(&g, "old", true), KLUIS_EVERIFY);
	assert_false(g.local);
	assert_file(&g, "old", "old");
	assert_int_equal(get_to(&g, "new", true), KLUIS_EVERIFY);
	assert_int_equal(names_in(g.dir), before);
	getter_close(&g);
}

/* A file that another writer replaced meanwhile is fetched anew, unless a part of it has been
 * handed on already: a pipe's reader would get it twice. */
static void test_moved(void **state)
{
	enum { CHUNKS = (DOWNLOAD_AHEAD + 2) * DOWNLOAD_GROUP };
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *copy = x_asprintf("%s/copy", f->dir);
	_cleanup_(x_freep) char *device = x_asprintf("%s/to/device", f->dir);
	_cleanup_(buf_release) struct buf content =
		cli_fixture_bytes(CHUNKS * (size_t)PAGE_CONTENT_BYTES_MAX, 1);
	struct cli_fixture other = {.node = f->node, .dir = f->dir, .profile_dir = copy};
	struct getter g;

	for (unsigned to_device = 0; to_device < 2; to_device++) {
		assert_int_equal(cli_fixture_put(f, "file", buf_bytes(&content)), 0);
		cli_fixture_copy(f->profile_dir, copy);
		cli_fixture_reopen(&other);
		getter_open(&g, f);
		g.other = &other;
		if (to_device == 1) {
			assert_int_equal(symlink("/dev/null", device), 0);
		}
		assert_int_equal(
			get_to(&g, to_device == 1 ? "device" : "new", true), KLUIS_ECONFLICT);
		assert_int_equal(g.moved, to_device == 0);
		getter_close(&g);
	}
	client_free(other.client);
	profile_close(other.profile);
}

int main(void)
{
#define FIXTURE(test) cmocka_unit_test_setup_teardown(test, cli_fixture_setup, cli_fixture_teardown)
	const struct CMUnitTest tests[] = {
		FIXTURE(test_places),
		FIXTURE(test_failed_get),
		FIXTURE(test_moved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

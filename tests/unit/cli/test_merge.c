/* Two devices at one cluster: conflicts end with both versions kept and said, and without a cluster
 * what was there can be read. */
#include "tests/lib/cli_fixture/cli_fixture.h"

#include <string.h>
#include <unistd.h>

#include "cli/client/history.h"

/* The other device is another profile of the same account. */
struct pair {
	struct cli_fixture *f;
	struct cli_fixture other;
	char *copy;
	enum change_outcome outcomes[8];
	char *paths[8];
	size_t n;
};

static void pair_open(struct pair *p, struct cli_fixture *f)
{
	*p = (struct pair){.f = f, .copy = x_asprintf("%s/copy", f->dir)};
	cli_fixture_copy(f->profile_dir, p->copy);
	p->other = (struct cli_fixture){.node = f->node, .dir = f->dir, .profile_dir = p->copy};
	cli_fixture_reopen(&p->other);
}

static void pair_close(struct pair *p)
{
	client_free(p->other.client);
	profile_close(p->other.profile);
	for (size_t i = 0; i < p->n; i++) {
		free(p->paths[i]);
	}
	free(p->copy);
}

static void notice(void *arg, const struct change_notice *notice)
{
	struct pair *p = arg;

	assert_true(p->n < ARRAY_SIZE(p->outcomes));
	p->outcomes[p->n] = notice->outcome;
	p->paths[p->n++] = notice->path == NULL ? NULL : x_strdup(notice->path);
}

struct session {
	struct vault *vault;
	struct put *put;
};

static void session_open(struct session *s, struct cli_fixture *f, struct pair *p)
{
	const struct put_config config = {.notice = notice, .arg = p};

	assert_int_equal(vault_open(f->profile, f->client, "v", &s->vault, &f->err), 0);
	assert_int_equal(vault_sync(s->vault, &f->err), 0);
	assert_int_equal(put_new(s->vault, &config, &s->put, &f->err), 0);
}

static void session_note(struct session *s, const char *path, const char *text)
{
	const struct item_fields fields = {.value = {[ITEM_TITLE] = "t", [ITEM_TEXT] = text}};
	struct err e = {0};

	assert_int_equal(put_fields(s->put, path, ITEM_NOTE, &fields, NULL, &e), 0);
}

static void session_finish(struct session *s)
{
	struct put_result result;
	struct err e = {0};
	int rc = put_finish(s->put, &result, &e);

	if (rc != 0) {
		print_error("%s\n", e.text);
	}
	assert_int_equal(rc, 0);
	put_free(s->put);
	vault_close(s->vault);
}

static void put_note(struct cli_fixture *f, struct pair *p, const char *path, const char *text)
{
	struct session s;

	session_open(&s, f, p);
	session_note(&s, path, text);
	session_finish(&s);
}

static void assert_note(struct cli_fixture *f, const char *path, const char *text)
{
	struct vault *vault;
	struct tree *tree;
	struct tree_item *item;

	assert_int_equal(vault_open(f->profile, f->client, "v", &vault, &f->err), 0);
	assert_int_equal(vault_sync(vault, &f->err), 0);
	assert_int_equal(tree_load(vault, &tree, &f->err), 0);
	assert_int_equal(tree->malformed, 0);
	assert_int_equal(tree_find(tree, path, &item, &f->err), 0);
	assert_string_equal(item_fields_of(item->type, item->body).value[ITEM_TEXT], text);
	tree_free(tree);
	vault_close(vault);
}

/* What the other device does just before our commit arrives. */
static void race(void *arg)
{
	struct pair *p = arg;
	struct session s;
	struct err e = {0};

	session_open(&s, &p->other, p);
	session_note(&s, "/changed", "theirs");
	session_note(&s, "/d/new", "theirs");
	assert_int_equal(put_remove(s.put, "/removed", &e), 0);
	assert_int_equal(put_move(s.put, "/moved", "/elsewhere", &e), 0);
	session_finish(&s);
	assert_int_equal(cli_fixture_put(&p->other, "file", bytes_str("theirs")), 0);
}

static void test_both_are_kept(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct session s;
	struct pair p;
	struct err e = {0};
	bool is_local;
	size_t both = 0;

	p.n = 0;
	session_open(&s, f, &p);
	session_note(&s, "/changed", "base");
	session_note(&s, "/removed", "base");
	session_note(&s, "/moved", "base");
	session_finish(&s);
	assert_int_equal(cli_fixture_put(f, "file", bytes_str("base")), 0);
	pair_open(&p, f);
	session_open(&s, f, &p);
	session_note(&s, "/changed", "ours");
	session_note(&s, "/d/new", "ours");
	session_note(&s, "/removed", "ours");
	session_note(&s, "/moved", "ours");
	assert_int_equal(put_from(s.put, put_source_of(bytes_str("ours"), "/file", 0600), NULL,
				 &is_local, &e),
		0);
	fake_node_race(f->node, race, &p);
	session_finish(&s);
	assert_int_equal(p.n, 4);
	for (size_t i = 0; i < p.n; i++) {
		assert_non_null(p.paths[i]);
		both += p.outcomes[i] == CHANGE_KEPT_BOTH;
		if (strcmp(p.paths[i], "/removed") == 0) {
			assert_int_equal(p.outcomes[i], CHANGE_REVIVED);
		} else if (strncmp(p.paths[i], "/file", 5) == 0) {
			assert_int_equal(cli_fixture_get(f, p.paths[i] + 1, &got), 0);
			assert_string_equal(buf_str(&got), "ours");
		} else {
			assert_note(f, p.paths[i], "ours");
		}
	}
	assert_int_equal(both, 3);
	assert_note(f, "/changed", "theirs");
	assert_note(f, "/d/new", "theirs");
	assert_note(f, "/removed", "ours");
	assert_note(f, "/elsewhere", "ours");
	buf_clear(&got);
	assert_int_equal(cli_fixture_get(&p.other, "file", &got), 0);
	assert_string_equal(buf_str(&got), "theirs");
	/* No seq was signed twice for good: the chain holds. */
	assert_note(&p.other, "/changed", "theirs");
	pair_close(&p);
}

/* One device's own changes, one after the other, are no conflict. */
static void test_own_changes(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct put_result result;
	struct session s;
	struct pair p;
	struct err e = {0};
	bool is_local;

	p.n = 0;
	session_open(&s, f, &p);
	for (unsigned i = 0; i < 3; i++) {
		const char *text = i == 0 ? "1" : i == 1 ? "two" : "last";
		struct put_source *source = put_source_of(bytes_str(text), "/file", 0600);

		assert_int_equal(put_from(s.put, source, NULL, &is_local, &e), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		session_note(&s, "/n", i == 0 ? "first" : "last");
		assert_int_equal(put_remove(s.put, "/r", &e), 0);
		session_note(&s, "/r", "again");
	}
	assert_int_equal(put_move(s.put, "/n", "/m", &e), 0);
	session_note(&s, "/n", "new");
	session_finish(&s);
	assert_int_equal(p.n, 0);
	assert_note(f, "/m", "last");
	assert_note(f, "/n", "new");
	assert_note(f, "/r", "again");
	assert_int_equal(cli_fixture_get(f, "file", &got), 0);
	assert_string_equal(buf_str(&got), "last");
	/* Nor is what cannot be: that is an error, and nothing of it is stored. */
	session_open(&s, f, &p);
	session_note(&s, "/a", "x");
	session_note(&s, "/a/b", "x");
	assert_int_equal(put_finish(s.put, &result, &e), KLUIS_ECONFLICT);
	assert_int_equal(p.n, 0);
	put_free(s.put);
	vault_close(s.vault);
}

/* An editor was open for long: what it began with is what counts, not what is there at the end. */
static void test_late_base(void **state)
{
	const struct item_fields late = {.value = {[ITEM_TITLE] = "t", [ITEM_TEXT] = "late"}};
	struct cli_fixture *f = *state;
	struct tree_item *item;
	struct change_base base;
	struct session s;
	struct pair p;
	struct err e = {0};

	p.n = 0;
	put_note(f, &p, "/n", "base");
	pair_open(&p, f);
	session_open(&s, f, &p);
	assert_int_equal(tree_find(put_tree(s.put), "/n", &item, &e), 0);
	base = change_base_of(item);
	put_free(s.put);
	vault_close(s.vault);
	put_note(&p.other, &p, "/n", "theirs");
	session_open(&s, f, &p);
	assert_int_equal(put_fields(s.put, "/n", ITEM_NOTE, &late, &base, &e), 0);
	session_finish(&s);
	assert_int_equal(p.n, 1);
	assert_int_equal(p.outcomes[0], CHANGE_KEPT_BOTH);
	assert_note(f, "/n", "theirs");
	assert_note(f, p.paths[0], "late");
	pair_close(&p);
}

/* Nobody answers: items are read from the cache, and nothing is written. */
static void test_offline(void **state)
{
	const struct put_config config = {.notice = NULL};
	struct cli_fixture *f = *state;
	struct vault *vault;
	struct tree *tree;
	struct tree_item *item;
	struct put *put;
	struct pair p;
	uint64_t synced_ms = 0;
	struct err e = {0};

	p.n = 0;
	assert_int_equal(vault_open(f->profile, f->client, "v", &vault, &e), 0);
	assert_int_equal(vault_go_offline(vault, &synced_ms, &e), KLUIS_ECONNECT);
	vault_close(vault);
	put_note(f, &p, "/n", "first");
	put_note(f, &p, "/n", "last"); /* The cache has what was written, not only what was read. */
	fake_node_fault(f->node, FAKE_DROP_BEFORE, "", 0, 100000, 0);
	assert_int_equal(vault_open(f->profile, f->client, "v", &vault, &e), 0);
	assert_int_equal(vault_go_offline(vault, &synced_ms, &e), 0);
	assert_true(synced_ms > 1700000000000);
	assert_int_equal(tree_load(vault, &tree, &e), 0);
	assert_int_equal(tree_find(tree, "/n", &item, &e), 0);
	assert_string_equal(item_fields_of(item->type, item->body).value[ITEM_TEXT], "last");
	tree_free(tree);
	assert_int_equal(put_new(vault, &config, &put, &e), KLUIS_ECONNECT);
	assert_int_equal(fake_node_struck(f->node), 0); /* Nobody was asked. */
	vault_close(vault);
}

static void history_of(struct cli_fixture *f, const char *path, bool all, struct history *ret)
{
	const struct history_config config = {.all = all};
	struct vault *vault;
	struct tree *tree;
	struct err e = {0};

	assert_int_equal(vault_open(f->profile, f->client, "v", &vault, &e), 0);
	assert_int_equal(vault_sync(vault, &e), 0);
	assert_int_equal(tree_load(vault, &tree, &e), 0);
	assert_int_equal(history_load(tree, path, &config, ret, &e), 0);
	tree_free(tree);
	vault_close(vault);
}

/* A version of a file into the vault again, as a new one; what it gave. */
static int restore_file(struct cli_fixture *f, const struct history_row *row)
{
	const struct put_config config = {.notice = NULL};
	struct put_source *source;
	struct put_result result;
	struct vault *vault;
	struct put *put;
	struct err e = {0};
	bool is_local;
	int rc;

	assert_int_equal(vault_open(f->profile, f->client, "v", &vault, &e), 0);
	assert_int_equal(vault_sync(vault, &e), 0);
	assert_int_equal(put_new(vault, &config, &put, &e), 0);
	rc = history_source(put_tree(put), row, "/file", &source, &e);
	rc = rc != 0 ? rc : put_from(put, source, NULL, &is_local, &e);
	rc = rc != 0 ? rc : put_finish(put, &result, &e);
	put_free(put);
	vault_close(vault);
	return rc;
}

static void test_history(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf large = cli_fixture_bytes(3 * (size_t)262140 + 5, 9);
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	char version[HISTORY_VERSION_CHARS];
	struct history history;
	struct pair p;

	p.n = 0;
	put_note(f, &p, "/d/n", "1");
	put_note(f, &p, "/d/n", "2");
	put_note(f, &p, "/other", "x");
	history_of(f, "/d/n", false, &history);
	assert_int_equal(history.n, 2);
	assert_true(history.rows[0].current && !history.rows[1].current);
	assert_string_equal(history.rows[1].path, "/d/n");
	assert_string_equal(item_fields_of(ITEM_NOTE, history.rows[1].body).value[ITEM_TEXT], "1");
	history_version(&history.rows[1], version);
	assert_ptr_equal(history_find(&history, version), &history.rows[1]);
	assert_null(history_find(&history, "0.0"));
	history_release(&history);
	/* A file's earlier bytes are there after it was replaced, and after it was removed. */
	assert_int_equal(cli_fixture_put(f, "file", buf_bytes(&large)), 0);
	assert_int_equal(cli_fixture_put(f, "file", bytes_str("short")), 0);
	history_of(f, "/file", false, &history);
	assert_int_equal(history.n, 2);
	/* Lies on the way: another page in the place of a version, a flipped bit. */
	fake_node_fault(f->node, FAKE_OTHER_PAGE, "/versions/", 0, 100, 0);
	assert_int_equal(restore_file(f, &history.rows[1]), KLUIS_EVERIFY);
	assert_true(fake_node_struck(f->node) > 0);
	fake_node_fault(f->node, FAKE_FLIP_BODY, "/versions/", 0, 100, 0);
	assert_int_equal(restore_file(f, &history.rows[1]), KLUIS_EVERIFY);
	fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
	assert_int_equal(cli_fixture_get(f, "file", &got), 0);
	assert_string_equal(buf_str(&got), "short");
	assert_int_equal(restore_file(f, &history.rows[1]), 0);
	history_release(&history);
	buf_clear(&got);
	assert_int_equal(cli_fixture_get(f, "file", &got), 0);
	assert_true(bytes_equal(buf_bytes(&got), buf_bytes(&large)));
}

int main(void)
{
#define FIXTURE(test) cmocka_unit_test_setup_teardown(test, cli_fixture_setup, cli_fixture_teardown)
	const struct CMUnitTest tests[] = {
		FIXTURE(test_both_are_kept),
		FIXTURE(test_own_changes),
		FIXTURE(test_late_base),
		FIXTURE(test_offline),
		FIXTURE(test_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

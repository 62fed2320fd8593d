/* What a program sees that was built against kluis.h. */
#include "tests/lib/cli_fixture/cli_fixture.h"

#include <string.h>

#include "cli/client/kluis_api.h"
#include "cli/client/kluis_share.h"

static int take(void *arg, const void *data, size_t len)
{
	buf_append(arg, data, len);
	return 0;
}

static int refuse(void *arg, const void *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
	return 1;
}

static void count(void *arg, const struct kluis_entry *entry)
{
	size_t *n = arg;

	*n += entry->is_folder ? 100 : entry->size;
}

static void shown(void *arg, const struct kluis_restore *restore)
{
	unsigned *n = arg;

	assert_int_equal(restore->raft_index, 42);
	(*n)++;
}

static struct kluis *reopen(struct cli_fixture *f)
{
	struct kluis_failure e = {0};
	struct kluis *k = NULL;

	client_free(f->client);
	profile_close(f->profile);
	f->client = NULL;
	f->profile = NULL;
	assert_int_equal(kluis_open(f->profile_dir, NULL, 600, &k, &e), 0);
	return k;
}

static void test_files(void **state)
{
	struct cli_fixture *f = *state;
	struct kluis *k = reopen(f);
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct kluis_failure e = {0};
	struct kluis_report report;
	size_t n = 0, len;
	char id[33];
	void *body;
	int status;

	assert_int_equal(kluis_vault_create(k, "data", id, &e), 0);
	assert_int_equal(strlen(id), 32);
	assert_int_equal(kluis_vault_create(k, "data", id, &e), KLUIS_EXISTS);
	assert_int_equal(kluis_put(k, "data", "hello", 5, "/a/b", &e), 0);
	assert_int_equal(kluis_put(k, "data", "", 0, "/a/empty", &e), 0);
	assert_int_equal(kluis_get(k, "data", "/a/b", take, &got, &e), 0);
	assert_true(bytes_equal(buf_bytes(&got), bytes_str("hello")));
	assert_int_equal(kluis_get(k, "data", "/a/b", refuse, NULL, &e), KLUIS_FAILED);
	assert_int_equal(kluis_list(k, "data", "/a", count, &n, &e), 0);
	assert_int_equal(n, 5);
	assert_int_equal(kluis_verify(k, "data", &report, &e), 0);
	assert_int_equal(report.files, 2);
	assert_int_equal(kluis_remove(k, "data", "/a/b", &e), 0);
	assert_int_equal(kluis_get(k, "data", "/a/b", take, &got, &e), KLUIS_NOT_FOUND);
	assert_int_equal(e.code, KLUIS_NOT_FOUND);
	assert_int_equal(kluis_exit_code(e.code), 10);
	assert_string_equal(kluis_code_name(e.code), "KLUIS_ENOTFOUND");
	assert_int_equal(
		kluis_call(k, "GET", "/v1/vaults", NULL, NULL, 0, &status, &body, &len, &e), 0);
	assert_int_equal(status, 200);
	free(body);
	assert_int_equal(
		kluis_call(k, "GET", "/v1/vaults\r\nX: y", NULL, NULL, 0, &status, &body, &len, &e),
		KLUIS_BAD_INPUT);
	kluis_close(k);
}

static void take_item(void *arg, const struct kluis_item *item)
{
	struct buf *to = arg;

	assert_int_equal(item->type, KLUIS_LOGIN);
	buf_printf(to, "%s|%s|%s|%s|%s|%u", item->title, item->user, item->password, item->url,
		item->text, (unsigned)item->revision);
}

static void take_found(void *arg, const struct kluis_found *found)
{
	buf_printf(arg, "%s ", found->path);
}

static void take_version(void *arg, const struct kluis_version *version)
{
	if (version->revision == 1) {
		memcpy(arg, version->version, sizeof version->version);
	}
}

static void take_sentence(void *arg, const char *wanted, const char *path, const char *sentence)
{
	assert_string_equal(wanted, "/l");
	assert_non_null(strstr(sentence, path));
	buf_printf(arg, "%s", path);
}

struct other_device {
	struct cli_fixture *f;
	char *dir;
};

/* Changes the login just before our change arrives. */
static void change_there(void *arg)
{
	const struct other_device *other = arg;
	const struct kluis_item item = {.type = KLUIS_LOGIN, .text = "theirs"};
	struct kluis *k;

	assert_int_equal(kluis_open(other->dir, NULL, 600, &k, NULL), 0);
	assert_int_equal(kluis_item_put(k, "v", "/l", &item, NULL), 0);
	kluis_close(k);
}

static void test_items(void **state)
{
	static const char *const words[] = {"BOB", "there"};
	struct cli_fixture *f = *state;
	struct other_device other = {f, x_asprintf("%s/other", f->dir)};
	struct kluis *k;
	struct kluis_item item = {.type = KLUIS_LOGIN,
		.title = "t",
		.user = "bob",
		.password = "p",
		.url = "u",
		.text = "over there"};
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct kluis_failure e = {0};
	struct kluis_report report;
	char version[48] = "";

	cli_fixture_copy(f->profile_dir, other.dir);
	k = reopen(f);
	assert_int_equal(kluis_item_put(k, "v", "/l", &item, &e), 0);
	item = (struct kluis_item){.type = KLUIS_LOGIN, .password = "new"};
	assert_int_equal(kluis_item_put(k, "v", "/l", &item, &e), 0);
	assert_int_equal(kluis_item_get(k, "v", "/l", take_item, &got, &e), 0);
	assert_string_equal(buf_str(&got), "t|bob|new|u|over there|2");
	item = (struct kluis_item){.type = KLUIS_FOLDER};
	assert_int_equal(kluis_item_put(k, "v", "/x", &item, &e), KLUIS_BAD_INPUT);
	item = (struct kluis_item){.type = KLUIS_NOTE, .user = "x"};
	assert_int_equal(kluis_item_put(k, "v", "/x", &item, &e), KLUIS_BAD_INPUT);
	buf_clear(&got);
	for (unsigned i = 0; i < 2; i++) {
		unsigned before = fake_node_count(f->node, "/changes");

		assert_int_equal(kluis_search(k, "v", "/", words, 2, take_found, &got, &e), 0);
		assert_int_equal(kluis_search(k, "v", "/no", words, 2, take_found, &got, &e), 0);
		assert_int_equal(fake_node_count(f->node, "/changes"), before);
	}
	assert_string_equal(buf_str(&got), "/l /l ");
	assert_int_equal(kluis_history(k, "v", "/l", 0, take_version, version, &e), 0);
	assert_int_equal(kluis_restore_version(k, "v", "/l", version, &e), 0);
	assert_int_equal(kluis_restore_version(k, "v", "/l", "7.7", &e), KLUIS_NOT_FOUND);
	assert_int_equal(kluis_move(k, "v", "/l", "/in/l", &e), 0);
	buf_clear(&got);
	assert_int_equal(kluis_item_get(k, "v", "/in/l", take_item, &got, &e), 0);
	assert_string_equal(buf_str(&got), "t|bob|p|u|over there|4");
	buf_clear(&got);
	assert_int_equal(kluis_search(k, "v", "/", words, 2, take_found, &got, &e), 0);
	assert_string_equal(buf_str(&got), "/in/l ");
	assert_int_equal(kluis_move(k, "v", "/in/l", "/l", &e), 0);
	/* Two devices: it is told. */
	buf_clear(&got);
	kluis_set_notice(k, take_sentence, &got);
	item = (struct kluis_item){.type = KLUIS_LOGIN, .text = "ours"};
	fake_node_race(f->node, change_there, &other);
	assert_int_equal(kluis_item_put(k, "v", "/l", &item, &e), 0);
	assert_non_null(strstr(buf_str(&got), "/l (conflict of "));
	/* From the cache alone. */
	assert_int_equal(kluis_sync(k, "v", 1, &e), 0);
	kluis_set_offline(k, 1);
	fake_node_fault(f->node, FAKE_DROP_BEFORE, "", 0, 100000, 0);
	buf_clear(&got);
	assert_int_equal(kluis_item_get(k, "v", "/l", take_item, &got, &e), 0);
	assert_non_null(strstr(buf_str(&got), "|theirs|"));
	assert_true(kluis_synced_ms(k) > 1700000000000);
	assert_int_equal(kluis_item_put(k, "v", "/l", &item, &e), KLUIS_UNREACHABLE);
	assert_int_equal(kluis_sync(k, "v", 1, &e), KLUIS_UNREACHABLE);
	assert_int_equal(kluis_verify(k, "v", &report, &e), KLUIS_UNREACHABLE);
	assert_int_equal(fake_node_struck(f->node), 0);
	kluis_close(k);
	free(other.dir);
}

static void test_restore(void **state)
{
	struct cli_fixture *f = *state;
	struct kluis_failure e = {0};
	struct kluis_report report;
	struct kluis *k;
	unsigned n = 0;

	assert_int_equal(cli_fixture_put(f, "x", bytes_str("1")), 0);
	k = reopen(f);
	assert_int_equal(kluis_restore_accept(k, &e), KLUIS_BAD_INPUT);
	fake_node_restore(f->node, true, false);
	assert_int_equal(kluis_verify(k, "v", &report, &e), KLUIS_RESTORED);
	assert_int_equal(kluis_restore_show(k, shown, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_int_equal(kluis_restore_accept(k, &e), 0);
	assert_int_equal(kluis_verify(k, "v", &report, &e), 0);
	kluis_close(k);
}

static void see_vault(void *arg, const struct kluis_vault *vault)
{
	memcpy(arg, vault->id, KLUIS_ID_BYTES);
}

/* How stale an answer was is known until the next one; what is no level is the safest one. */
static void test_levels(void **state)
{
	struct cli_fixture *f = *state;
	unsigned char id[KLUIS_ID_BYTES], head[KLUIS_HEAD_BYTES];
	struct kluis *k = reopen(f);

	assert_int_equal(kluis_api_vaults(k, see_vault, id, NULL), 0);
	assert_int_equal(kluis_api_staleness_ms(k), 0);
	kluis_api_set_level(k, KLUIS_STALE, 0);
	assert_int_equal(kluis_api_head(k, id, head, NULL), 0);
	assert_int_equal(kluis_api_staleness_ms(k), 1234);
	kluis_api_set_level(k, (enum kluis_level)3, 0);
	assert_int_equal(kluis_api_head(k, id, head, NULL), 0);
	assert_int_equal(kluis_api_staleness_ms(k), 0);
	kluis_close(k);
}

/* What the caller passes into a request stands there as one word, or the call refuses it. */
static void test_cursor(void **state)
{
	static const char *const wrong[] = {"a b", "a\r\nX: y", "0:1&limit=1", "", "a#b"};
	struct cli_fixture *f = *state;
	unsigned char id[KLUIS_ID_BYTES];
	struct kluis *k = reopen(f);
	struct kluis_change *changes;
	char *next;
	size_t n;
	int done;

	assert_int_equal(kluis_api_vaults(k, see_vault, id, NULL), 0);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_int_equal(
			kluis_api_changes(k, id, wrong[i], &changes, &n, &next, &done, NULL),
			KLUIS_BAD_INPUT);
	}
	kluis_close(k);
}

static void test_enrol(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *dir = x_asprintf("%s/new", f->dir);
	const char *url = fake_node_url(f->node);
	struct fake_node *other = fake_node_new();
	const char *other_url = fake_node_url(other);
	struct bytes ca = fake_node_ca(f->node);
	struct kluis_enrolment n = {.profile_dir = dir,
		.account = "app",
		.endpoints = &url,
		.n_endpoints = 1,
		.ca_pem = (const char *)ca.data,
		.token = "ket_good"};
	struct kluis_failure e = {0};
	struct kluis *k;

	/* Without a CA there is nothing to trust. */
	assert_int_equal(kluis_enrol(&n, &e), KLUIS_BAD_INPUT);
	n.ca_pem_len = ca.len;
	/* One that was not finished goes on at its own cluster alone. */
	n.token = "ket_bad";
	assert_int_not_equal(kluis_enrol(&n, &e), 0);
	n.token = "ket_good";
	n.endpoints = &other_url;
	n.ca_pem = (const char *)fake_node_ca(other).data;
	n.ca_pem_len = fake_node_ca(other).len;
	assert_int_equal(kluis_enrol(&n, &e), KLUIS_EXISTS);
	n.endpoints = &url;
	n.ca_pem = (const char *)ca.data;
	n.ca_pem_len = ca.len;
	fake_node_free(other);
	assert_int_equal(kluis_enrol(&n, &e), 0);
	assert_int_equal(kluis_enrol(&n, &e), KLUIS_EXISTS);
	assert_int_equal(kluis_open(dir, NULL, 600, &k, &e), 0);
	kluis_close(k);
	assert_int_equal(kluis_open("/nonexistent", NULL, 0, &k, NULL), KLUIS_NOT_FOUND);
}

static void no_invitation(void *arg, const struct kluis_invitation *invitation)
{
	(void)arg;
	(void)invitation;
	fail();
}

static void no_shared(void *arg, const struct kluis_shared *shared)
{
	(void)arg;
	(void)shared;
	fail();
}

/* It is told what it is, and by each kind of call. */
static void test_service_shares_nothing(void **state)
{
	struct cli_fixture *f = *state;
	struct kluis *k = reopen(f);
	struct kluis_failure e = {0};
	char id[33];
	int on = 2;

	assert_int_equal(kluis_vault_create(k, "mine", id, &e), 0);
	assert_int_equal(kluis_vault_share(k, "mine", "bob", KLUIS_ROLE_READ, &e), KLUIS_BAD_INPUT);
	assert_non_null(strstr(e.text, "persons share theirs with persons"));
	assert_int_equal(kluis_vault_verified_only(k, "mine", &on, &e), KLUIS_BAD_INPUT);
	assert_int_equal(on, 2);
	assert_int_equal(kluis_vault_set_verified_only(k, "mine", 1, &e), KLUIS_BAD_INPUT);
	e.text[0] = 0;
	assert_int_equal(kluis_invitations(k, no_invitation, NULL, &e), KLUIS_BAD_INPUT);
	assert_non_null(strstr(e.text, "persons share theirs with persons"));
	e.text[0] = 0;
	assert_int_equal(kluis_shared_list(k, no_shared, NULL, &e), KLUIS_BAD_INPUT);
	assert_non_null(strstr(e.text, "persons share theirs with persons"));
	kluis_close(k);
}

int main(void)
{
#define FIXTURE(test) cmocka_unit_test_setup_teardown(test, cli_fixture_setup, cli_fixture_teardown)
	const struct CMUnitTest tests[] = {
		FIXTURE(test_files),
		FIXTURE(test_items),
		FIXTURE(test_restore),
		FIXTURE(test_levels),
		FIXTURE(test_cursor),
		FIXTURE(test_enrol),
		FIXTURE(test_service_shares_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

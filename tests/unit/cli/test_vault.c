/* A cluster that lies: each lie ends in its named error, and the profile stays as it was. */
#include "tests/lib/cli_fixture/cli_fixture.h"

#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"

enum { LARGE = 3 * 262140 + 17 };

static void put_ok(struct cli_fixture *f, const char *name, const char *text)
{
	assert_int_equal(cli_fixture_put(f, name, bytes_str(text)), 0);
}

static void assert_content(struct cli_fixture *f, const char *name, struct bytes wanted)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	int rc = cli_fixture_get(f, name, &got);

	if (rc != 0) {
		print_error("%s\n", f->err.text);
	}
	assert_int_equal(rc, 0);
	assert_true(bytes_equal(buf_bytes(&got), wanted));
}

static void test_round_trip(void **state)
{
	struct cli_fixture *f = *state;
	static const size_t sizes[] = {0, 1, 262139, 262140, 262141, LARGE};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_(buf_release) struct buf content = cli_fixture_bytes(sizes[i], i);

		assert_int_equal(cli_fixture_put(f, "file", buf_bytes(&content)), 0);
		assert_content(f, "file", buf_bytes(&content));
	}
	cli_fixture_reopen(f);
	put_ok(f, "other", "more");
	assert_content(f, "other", bytes_str("more"));
}

/* Of the profile's only vault. */
static void remove_file(struct cli_fixture *f, const char *name)
{
	struct vault place = {.profile = f->profile};
	_cleanup_(x_freep) uint8_t(*ids)[ID_BYTES] = NULL;
	_cleanup_(x_freep) char *path = NULL;
	struct err e = {0};
	size_t n;

	assert_int_equal(vault_local_ids(f->profile, &ids, &n, &e), 0);
	assert_int_equal(n, 1);
	memcpy(place.id, ids[0], ID_BYTES);
	path = vault_file(&place, name);
	assert_int_equal(profile_remove(f->profile, path, &e), 0);
}

/* Lies about pages while a file is read. */
static void test_page_lies(void **state)
{
	static const struct {
		enum fake_fault fault;
		const char *match;
		int status;
	} rows[] = {{FAKE_OTHER_PAGE, "pages:get", 0}, {FAKE_FLIP_BODY, "pages:get", 0},
		{FAKE_OLD_PAGE, "GET /v1/vaults/", 0}, {FAKE_STATUS, "pages:get", KLUIS_EFORBIDDEN},
		{FAKE_STATUS, "pages:get", KLUIS_ENOTFOUND},
		{FAKE_STATUS, "pages:get", KLUIS_EGONE}, {FAKE_STATUS, "pages/0", KLUIS_ENOTFOUND}};
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf content = cli_fixture_bytes(LARGE, 1);

	put_ok(f, "small", "a");
	assert_int_equal(cli_fixture_put(f, "file", buf_bytes(&content)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf got = BUF_INIT;
		uint8_t before[HASH_BYTES], after[HASH_BYTES];

		cli_fixture_digest(f, before);
		if (strstr(rows[i].match, "pages:get") == NULL) { /* Items, not of the cache. */
			remove_file(f, "page-0");
		}
		fake_node_fault(f->node, rows[i].fault, rows[i].match, 0, 100, rows[i].status);
		assert_int_equal(cli_fixture_get(f, "file", &got), KLUIS_EVERIFY);
		assert_true(fake_node_struck(f->node) > 0);
		assert_int_equal(err_exit_code(f->err.code), 14);
		cli_fixture_digest(f, after);
		assert_memory_equal(before, after, HASH_BYTES);
		fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
		assert_content(f, "file", buf_bytes(&content));
	}
}

/* Lies about heads and the page table while a second profile's copy catches up. */
static void test_head_lies(void **state)
{
	static const struct {
		enum fake_fault fault;
		const char *match;
		int rc;
	} rows[] = {
		{FAKE_OLD_HEAD, "/head", KLUIS_EPIN},
		{FAKE_NO_HEADS, "/heads", KLUIS_EVERIFY},
		{FAKE_BAD_LEAF, "/changes", KLUIS_EVERIFY},
		{FAKE_NO_CHANGES, "/changes", KLUIS_EVERIFY},
		{FAKE_UNWRITTEN, "/changes", KLUIS_EVERIFY},
		{FAKE_FLIP_BODY, "/heads", KLUIS_EVERIFY},
	};
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *copy = x_asprintf("%s/copy", f->dir);
	uint64_t seq;

	put_ok(f, "one", "1");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t before[HASH_BYTES], after[HASH_BYTES];
		_cleanup_(x_freep) char *text = x_asprintf("%zu", i);
		char *honest_dir = f->profile_dir;
		struct err e = {0};
		int rc;

		/* The lagging client is a copy of the profile from before the next put. */
		assert_int_equal(file_remove_tree(copy, &e), 0);
		cli_fixture_copy(f->profile_dir, copy);
		put_ok(f, "two", text);
		f->profile_dir = copy;
		cli_fixture_reopen(f);
		cli_fixture_digest(f, before);
		fake_node_fault(f->node, rows[i].fault, rows[i].match, 0, 100, 0);
		if (rows[i].fault == FAKE_OLD_HEAD) { /* Seen once, it is gone. */
			fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
			assert_int_equal(cli_fixture_sync(f, &seq), 0);
			cli_fixture_digest(f, before);
			fake_node_fault(f->node, rows[i].fault, rows[i].match, 0, 100, 0);
		}
		rc = cli_fixture_sync(f, &seq);
		if (rows[i].fault == FAKE_FLIP_BODY && rc == KLUIS_EPROTO) {
			rc = KLUIS_EVERIFY; /* The bit made it no base64 or JSON at all. */
		}
		if (rc != rows[i].rc) {
			print_error("row %zu: %s\n", i, f->err.text);
		}
		assert_int_equal(rc, rows[i].rc);
		assert_true(fake_node_struck(f->node) > 0);
		cli_fixture_digest(f, after);
		assert_memory_equal(before, after, HASH_BYTES);
		fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
		assert_int_equal(cli_fixture_sync(f, &seq), 0);
		f->profile_dir = honest_dir;
		cli_fixture_reopen(f);
	}
}

static void test_rollback_and_fork(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *copy = x_asprintf("%s/copy", f->dir);
	uint8_t before[HASH_BYTES], after[HASH_BYTES];
	char *honest_dir = f->profile_dir;
	uint64_t seq;

	put_ok(f, "one", "1");
	cli_fixture_copy(f->profile_dir, copy);
	put_ok(f, "two", "2");
	put_ok(f, "three", "3");
	cli_fixture_digest(f, before);
	fake_node_rollback(f->node, 2);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_EPIN);
	assert_int_equal(err_exit_code(KLUIS_EPIN), 15);
	assert_non_null(strstr(f->err.text, "rolled back"));
	/* An old copy of the profile writes on: now the same seqs are other heads. */
	f->profile_dir = copy;
	cli_fixture_reopen(f);
	put_ok(f, "four", "4");
	put_ok(f, "five", "5");
	f->profile_dir = honest_dir;
	cli_fixture_reopen(f);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_EPIN);
	assert_non_null(strstr(f->err.text, "fork"));
	f->profile_dir = copy;
	cli_fixture_reopen(f);
	put_ok(f, "six", "6");
	f->profile_dir = honest_dir;
	cli_fixture_reopen(f);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_EPIN);
	cli_fixture_digest(f, after);
	assert_memory_equal(before, after, HASH_BYTES);
}

/* The answer to a commit is lost: the same bytes go again, in this run or the next. */
static void test_lost_answer(void **state)
{
	struct cli_fixture *f = *state;
	uint64_t seq;

	fake_node_fault(f->node, FAKE_DROP_AFTER, "/commits", 0, 1, 0);
	put_ok(f, "one", "1");
	assert_int_equal(fake_node_struck(f->node), 1);
	assert_int_equal(fake_node_heads_sent(f->node, 2), 1);
	/* Now it stays lost, and the run ends. */
	fake_node_fault(f->node, FAKE_DROP_AFTER, "/commits", 0, 1000, 0);
	assert_int_equal(cli_fixture_put(f, "two", bytes_str("2")), KLUIS_ECLOSED);
	fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
	cli_fixture_reopen(f);
	put_ok(f, "two", "2");
	assert_int_equal(cli_fixture_sync(f, &seq), 0);
	for (uint64_t i = 2; i <= seq; i++) {
		assert_int_equal(fake_node_heads_sent(f->node, i), 1);
	}
	assert_content(f, "two", bytes_str("2"));
}

/* It never arrived: the next run sends the stored bytes before it makes a new head. */
static void test_lost_request(void **state)
{
	struct cli_fixture *f = *state;
	uint64_t seq;

	put_ok(f, "one", "1");
	fake_node_fault(f->node, FAKE_DROP_BEFORE, "/commits", 0, 1000, 0);
	assert_int_equal(cli_fixture_put(f, "two", bytes_str("2")), KLUIS_ECLOSED);
	fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
	cli_fixture_reopen(f);
	assert_content(f, "two", bytes_str("2"));
	put_ok(f, "two", "2");
	assert_int_equal(cli_fixture_sync(f, &seq), 0);
	for (uint64_t i = 2; i <= seq; i++) {
		assert_int_equal(fake_node_heads_sent(f->node, i), 1);
	}
}

/* Stored, but the process died before it sent anything. */
static void test_crash_before_send(void **state)
{
	struct cli_fixture *f = *state;

	put_ok(f, "one", "1");
	fault_arm("vault.pending_stored", 1, false);
	assert_int_equal(cli_fixture_put(f, "two", bytes_str("2")), KLUIS_ECLOSED);
	fault_disarm();
	assert_int_equal(fake_node_heads_sent(f->node, 3), 0);
	cli_fixture_reopen(f);
	assert_content(f, "two", bytes_str("2"));
	assert_int_equal(fake_node_heads_sent(f->node, 3), 1);
}

/* Whatever a cluster says of a head it got, another one for that seq is not signed: it could show
 * the two to different people. Reading goes on. */
static void test_refused(void **state)
{
	static const int statuses[] = {400, 403, 404, 413, 422, 500, 507};
	static const enum fake_fault faults[] = {FAKE_STATUS, FAKE_STATUS_DONE};
	struct cli_fixture *f = *state;
	uint64_t seq;

	put_ok(f, "one", "1");
	for (size_t i = 0; i < ARRAY_SIZE(faults) * ARRAY_SIZE(statuses); i++) {
		enum fake_fault fault = faults[i % ARRAY_SIZE(faults)];
		_cleanup_(x_freep) char *text = x_asprintf("%zu", i);
		_cleanup_(buf_release) struct buf got = BUF_INIT;

		assert_int_equal(cli_fixture_sync(f, &seq), 0);
		fake_node_fault(
			f->node, fault, "/commits", 0, 1000, statuses[i / ARRAY_SIZE(faults)]);
		assert_int_not_equal(cli_fixture_put(f, "two", bytes_str(text)), 0);
		assert_non_null(strstr(f->err.text, "has to get through"));
		cli_fixture_reopen(f);
		if (fault == FAKE_STATUS) {
			assert_int_equal(cli_fixture_get(f, "one", &got), 0);
			assert_int_not_equal(cli_fixture_put(f, "two", bytes_str("x")), 0);
			assert_non_null(strstr(f->err.text, "has to get through"));
		}
		assert_int_equal(fake_node_heads_sent(f->node, seq + 1), 1);
		fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
		put_ok(f, "three", text);
		assert_int_equal(fake_node_heads_sent(f->node, seq + 1), 1);
		assert_content(f, "two", bytes_str(text));
		assert_content(f, "three", bytes_str(text));
	}
}

/* A commit whose staged pages have expired gets through when the same file is put again. */
static void test_staged_pages_expired(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf content = cli_fixture_bytes(LARGE, 3);

	put_ok(f, "one", "1");
	fault_arm("vault.pending_stored", 1, false);
	assert_int_equal(cli_fixture_put(f, "file", buf_bytes(&content)), KLUIS_ECLOSED);
	fault_disarm();
	fake_node_drop_staged(f->node);
	cli_fixture_reopen(f);
	assert_content(f, "one", bytes_str("1"));
	assert_int_equal(cli_fixture_put(f, "other", bytes_str("2")), KLUIS_ENOTFOUND);
	assert_int_equal(cli_fixture_put(f, "file", buf_bytes(&content)), 0);
	assert_int_equal(fake_node_heads_sent(f->node, 3), 1);
	assert_content(f, "file", buf_bytes(&content));
	put_ok(f, "other", "2");
}

/* The tree proves a page's leaf, not the revision that a list of changes gives for it. */
static void test_revision_lies(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *copy = x_asprintf("%s/copy", f->dir);
	_cleanup_(buf_release) struct buf content = cli_fixture_bytes(LARGE, 5);
	uint64_t seq;

	put_ok(f, "one", "1");
	cli_fixture_copy(f->profile_dir, copy);
	assert_int_equal(cli_fixture_put(f, "file", buf_bytes(&content)), 0);
	free(f->profile_dir);
	f->profile_dir = x_strdup(copy);
	cli_fixture_reopen(f);
	fake_node_fault(f->node, FAKE_REVISION, "/changes", 0, 100, 0);
	assert_int_equal(cli_fixture_sync(f, &seq), 0);
	assert_true(fake_node_struck(f->node) > 0);
	/* Its chunks become tombstones, whose revisions must follow the true ones. */
	put_ok(f, "file", "short");
	assert_content(f, "file", bytes_str("short"));
	assert_int_equal(fake_node_head_seq(f->node), 4);
}

static void test_revision_lies_twice(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf content = cli_fixture_bytes(LARGE, 5);
	unsigned sent;

	assert_int_equal(cli_fixture_put(f, "file", buf_bytes(&content)), 0);
	remove_file(f, "leaves");
	sent = fake_node_heads_sent(f->node, 3);
	fake_node_fault(f->node, FAKE_FLIP_BODY, "/versions", 0, 100, 0);
	assert_int_not_equal(cli_fixture_put(f, "file", bytes_str("short")), 0);
	assert_true(fake_node_struck(f->node) > 0);
	assert_int_equal(fake_node_heads_sent(f->node, 3), sent);
}

/* Heads by a writer whose identity is not here are neither taken nor called a forgery. */
static void test_unknown_writer(void **state)
{
	static const char *const says[] = {"another device of this account", "denies user"};
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *copy = x_asprintf("%s/copy", f->dir);
	uint8_t before[HASH_BYTES], after[HASH_BYTES];
	uint64_t seq;

	put_ok(f, "one", "1");
	cli_fixture_copy(f->profile_dir, copy);
	put_ok(f, "two", "2");
	free(f->profile_dir);
	f->profile_dir = x_strdup(copy);
	cli_fixture_reopen(f);
	cli_fixture_digest(f, before);
	for (size_t i = 0; i < ARRAY_SIZE(says); i++) {
		uint8_t *device = f->profile->identity.devices[0].device_id;
		uint8_t *user = f->profile->user_id;

		/* As if another had signed; the vault's own statement is checked before. */
		struct vault *vault;

		assert_int_equal(vault_open(f->profile, f->client, "v", &vault, &f->err), 0);
		(i == 0 ? device : user)[0] ^= 1;
		assert_int_equal(vault_sync(vault, &f->err), KLUIS_EVERIFY);
		assert_non_null(strstr(f->err.text, says[i]));
		(i == 0 ? device : user)[0] ^= 1;
		vault_close(vault);
	}
	cli_fixture_digest(f, after);
	assert_memory_equal(before, after, HASH_BYTES);
	assert_int_equal(cli_fixture_sync(f, &seq), 0);
	assert_int_equal(seq, 3);
}

/* A list of changes that never ends is cut where it repeats itself. */
static void test_endless_changes(void **state)
{
	struct cli_fixture *f = *state;
	uint64_t seq;

	put_ok(f, "one", "1");
	put_ok(f, "one", "2");
	remove_file(f, "leaves");
	fake_node_fault(f->node, FAKE_ENDLESS, "/changes", 0, 1000000, 0);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_EVERIFY);
	assert_true(fake_node_struck(f->node) < 5);
}

/* Nor does any other list keep a client asking. */
static void test_endless_list(void **state)
{
	struct cli_fixture *f = *state;
	json_t *items = NULL;

	fake_node_fault(f->node, FAKE_ENDLESS, "/v1/vaults?", 0, 10000, 0);
	assert_int_equal(
		api_list(f->client, "/v1/vaults", CLIENT_AUTH, 10, &items, &f->err), KLUIS_EPROTO);
	assert_true(fake_node_struck(f->node) < 100);
	assert_null(items);
}

/* "Another head came first", but none is shown: a second head for that seq would be a fork. */
static void test_refused_by_nobody(void **state)
{
	struct cli_fixture *f = *state;
	uint64_t seq;

	put_ok(f, "one", "1");
	fake_node_fault(f->node, FAKE_STATUS, "/commits", 0, 1, 412);
	put_ok(f, "two", "2");
	assert_int_equal(fake_node_struck(f->node), 1);
	assert_int_equal(fake_node_heads_sent(f->node, 3), 1);
	fake_node_fault(f->node, FAKE_STATUS, "/commits", 0, 1000, 409);
	assert_int_equal(cli_fixture_put(f, "three", bytes_str("3")), KLUIS_EVERIFY);
	cli_fixture_reopen(f);
	assert_int_equal(cli_fixture_put(f, "three", bytes_str("x")), KLUIS_EVERIFY);
	assert_int_equal(fake_node_heads_sent(f->node, 4), 1);
	fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
	assert_int_equal(cli_fixture_sync(f, &seq), 0);
	assert_int_equal(seq, 4);
	assert_content(f, "three", bytes_str("3"));
}

/* A head that nobody signed does not make the client give up the one it signed. */
static void test_pending_and_forged_head(void **state)
{
	struct cli_fixture *f = *state;
	uint64_t seq;

	put_ok(f, "one", "1");
	fault_arm("vault.pending_stored", 1, false);
	assert_int_equal(cli_fixture_put(f, "two", bytes_str("2")), KLUIS_ECLOSED);
	fault_disarm();
	cli_fixture_reopen(f);
	fake_node_fault(f->node, FAKE_NEW_HEAD, "/head", 0, 1, 0);
	assert_int_not_equal(cli_fixture_sync(f, &seq), 0);
	assert_int_equal(fake_node_struck(f->node), 1);
	put_ok(f, "three", "3");
	assert_content(f, "two", bytes_str("2"));
	assert_content(f, "three", bytes_str("3"));
}

struct racer {
	struct cli_fixture other;
};

static void race(void *arg)
{
	struct racer *r = arg;

	assert_int_equal(cli_fixture_put(&r->other, "theirs", bytes_str("t")), 0);
}

/* Another writer comes between: the put is made anew on what that one wrote. */
static void test_conflict(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *copy = x_asprintf("%s/copy", f->dir);
	_cleanup_(buf_release) struct buf content = cli_fixture_bytes(LARGE, 7);
	struct racer r = {.other = *f};

	put_ok(f, "one", "1");
	cli_fixture_copy(f->profile_dir, copy);
	r.other.profile_dir = copy;
	r.other.profile = NULL;
	r.other.client = NULL;
	cli_fixture_reopen(&r.other);
	fake_node_race(f->node, race, &r);
	assert_int_equal(cli_fixture_put(f, "mine", buf_bytes(&content)), 0);
	assert_content(f, "mine", buf_bytes(&content));
	assert_content(f, "theirs", bytes_str("t"));
	assert_content(f, "one", bytes_str("1"));
	assert_int_equal(fake_node_head_seq(f->node), 4);
	client_free(r.other.client);
	profile_close(r.other.profile);
}

static int accept_restore(struct cli_fixture *f)
{
	struct vault_restore restore;
	int rc;

	f->err = (struct err){0};
	rc = vault_restore_check(f->profile, f->client, &restore, &f->err);
	return rc != 0 ? rc : vault_restore_accept(f->profile, f->client, &restore, &f->err);
}

static void test_restore(void **state)
{
	struct cli_fixture *f = *state;
	uint64_t seq;

	put_ok(f, "one", "1");
	put_ok(f, "two", "2");
	put_ok(f, "three", "3");
	fake_node_rollback(f->node, 3);
	fake_node_restore(f->node, true, false);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_ELINEAGE);
	assert_int_equal(err_exit_code(KLUIS_ELINEAGE), 15);
	assert_int_equal(accept_restore(f), 0);
	cli_fixture_reopen(f);
	assert_int_equal(cli_fixture_sync(f, &seq), 0);
	assert_int_equal(seq, 3);
	assert_content(f, "two", bytes_str("2"));
	put_ok(f, "three", "again");
	assert_content(f, "three", bytes_str("again"));
	/* The pin counts again. */
	fake_node_rollback(f->node, 3);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_EPIN);
}

/* A restored cluster whose history is not what this profile saw is no restore. */
static void test_restore_of_another_history(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *copy = x_asprintf("%s/copy", f->dir);
	char *honest_dir = f->profile_dir;
	uint64_t seq;

	put_ok(f, "one", "1");
	cli_fixture_copy(f->profile_dir, copy);
	put_ok(f, "two", "2");
	fake_node_rollback(f->node, 2);
	f->profile_dir = copy;
	cli_fixture_reopen(f);
	put_ok(f, "forged", "x");
	f->profile_dir = honest_dir;
	fake_node_restore(f->node, true, false);
	cli_fixture_reopen(f);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_ELINEAGE);
	assert_int_equal(accept_restore(f), 0);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_EPIN);
	assert_non_null(strstr(f->err.text, "enrol a new profile"));
	/* Also without the list of seen heads: the pin is of that very seq. */
	remove_file(f, "seen");
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_EPIN);
	assert_non_null(strstr(f->err.text, "enrol a new profile"));
}

static void test_restore_unsigned(void **state)
{
	struct cli_fixture *f = *state;
	uint8_t before[HASH_BYTES], after[HASH_BYTES];
	uint64_t seq;

	put_ok(f, "one", "1");
	cli_fixture_digest(f, before);
	fake_node_restore(f->node, false, false);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_ELINEAGE);
	assert_int_equal(accept_restore(f), KLUIS_EPIN);
	fake_node_restore(f->node, true, true);
	assert_int_equal(accept_restore(f), KLUIS_EPIN);
	cli_fixture_digest(f, after);
	assert_memory_equal(before, after, HASH_BYTES);
}

static void test_restore_forged(void **state)
{
	struct cli_fixture *f = *state;
	uint64_t seq;

	put_ok(f, "one", "1");
	fake_node_restore(f->node, true, true);
	assert_int_equal(cli_fixture_sync(f, &seq), KLUIS_ELINEAGE);
	assert_int_equal(accept_restore(f), KLUIS_EPIN);
	assert_non_null(strstr(f->err.text, "did not sign"));
}

static void test_lost_create(void **state)
{
	struct cli_fixture *f = *state;
	struct vault *vault;
	uint8_t id[ID_BYTES];

	fake_node_fault(f->node, FAKE_DROP_BEFORE, "POST /v1/vaults", 0, 1000, 0);
	assert_int_equal(vault_create(f->profile, f->client, "w", id, &f->err), KLUIS_ECLOSED);
	fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
	cli_fixture_reopen(f);
	f->err = (struct err){0};
	assert_int_equal(vault_finish_creating(f->profile, f->client, &f->err), 0);
	assert_int_equal(
		f->err.code, 0); /* Other vaults have nothing to finish, which is no error. */
	assert_int_equal(vault_open(f->profile, f->client, "w", &vault, &f->err), 0);
	assert_int_equal(vault_sync(vault, &f->err), 0);
	vault_close(vault);
	assert_int_equal(vault_create(f->profile, f->client, "w", id, &f->err), KLUIS_EEXIST);
	assert_int_equal(vault_create(f->profile, f->client, "a:b", id, &f->err), KLUIS_EINVAL);
	/* Refused for good: nothing of it stays. */
	fake_node_fault(f->node, FAKE_STATUS, "POST /v1/vaults", 0, 1, 400);
	assert_int_equal(vault_create(f->profile, f->client, "x", id, &f->err), KLUIS_EINVAL);
	assert_int_equal(vault_open(f->profile, f->client, "x", &vault, &f->err), KLUIS_ENOTFOUND);
}

/* Where a fetched folder goes. */
static void test_folders_and_symlinks(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(x_freep) char *top = x_asprintf("%s/top", f->dir);
	_cleanup_(x_freep) char *sub = x_asprintf("%s/top/sub", f->dir);
	_cleanup_(x_freep) char *link = x_asprintf("%s/top/link", f->dir);
	_cleanup_(x_freep) char *away = x_asprintf("%s/away", f->dir);
	_cleanup_(x_freep) char *file = x_asprintf("%s/top/file", f->dir);
	struct err e = {0};

	assert_int_equal(get_folder(away, true, &e), 0);
	assert_int_equal(get_folder(top, true, &e), 0);
	assert_int_equal(get_folder(sub, false, &e), 0);
	assert_int_equal(get_folder(sub, false, &e), 0); /* Is there. */
	assert_int_equal(symlink(away, link), 0);
	assert_int_equal(get_folder(link, false, &e), KLUIS_EEXIST);
	assert_int_equal(get_folder(link, true, &e), 0); /* As the user named it. */
	assert_int_equal(file_write(file, bytes_str("x"), 0600, &e), 0);
	assert_int_equal(get_folder(file, false, &e), KLUIS_EEXIST);
	assert_int_equal(get_folder(file, true, &e), KLUIS_EEXIST);
}

/* A folder that is its own parent, as one with the root's id would be, has no place in a tree. */
static void test_folder_with_the_roots_id(void **state)
{
	struct cli_fixture *f = *state;
	_cleanup_(buf_release) struct buf content = BUF_INIT;
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct page_item item = {
		.item_rev = 1, .type = ITEM_FOLDER, .body = bytes_str("{\"name\":\"loop\"}")};
	struct api_entry entry = {.revision = 1, .epoch = 1};
	uint8_t hash[HASH_BYTES];
	struct tree_item **children;
	struct vault *vault;
	struct tree *tree;
	size_t n;

	assert_int_equal(vault_open(f->profile, f->client, "v", &vault, &f->err), 0);
	assert_int_equal(vault_sync(vault, &f->err), 0);
	page_item_append(&content, &item);
	hash_sha256(buf_bytes(&content), hash);
	assert_int_equal(vault_seal_page(vault, 0, 1, PAGE_ITEMS, 0, buf_bytes(&content), hash,
				 &page, &f->err),
		0);
	entry.page = buf_bytes(&page);
	hash_sha256(entry.page, entry.page_hash);
	assert_int_equal(vault_commit(vault, &entry, 1, &f->err), 0);
	assert_int_equal(tree_load(vault, &tree, &f->err), 0);
	assert_int_equal(tree->malformed, 1);
	children = tree_children(tree, NULL, &n);
	assert_int_equal(n, 0);
	free(children);
	tree_free(tree);
	vault_close(vault);
}

int main(void)
{
#define FIXTURE(test) cmocka_unit_test_setup_teardown(test, cli_fixture_setup, cli_fixture_teardown)
	const struct CMUnitTest tests[] = {
		FIXTURE(test_round_trip),
		FIXTURE(test_page_lies),
		FIXTURE(test_head_lies),
		FIXTURE(test_rollback_and_fork),
		FIXTURE(test_lost_answer),
		FIXTURE(test_lost_request),
		FIXTURE(test_crash_before_send),
		FIXTURE(test_refused),
		FIXTURE(test_staged_pages_expired),
		FIXTURE(test_revision_lies),
		FIXTURE(test_revision_lies_twice),
		FIXTURE(test_unknown_writer),
		FIXTURE(test_endless_changes),
		FIXTURE(test_endless_list),
		FIXTURE(test_refused_by_nobody),
		FIXTURE(test_pending_and_forged_head),
		FIXTURE(test_conflict),
		FIXTURE(test_restore),
		FIXTURE(test_restore_of_another_history),
		FIXTURE(test_restore_unsigned),
		FIXTURE(test_restore_forged),
		FIXTURE(test_lost_create),
		FIXTURE(test_folders_and_symlinks),
		FIXTURE(test_folder_with_the_roots_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

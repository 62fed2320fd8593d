/* kluisctl backup keys: pairs, their rotation, shares. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/key_share.h"
#include "backup/keys.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "cli/ui/command.h"
#include "crypto/pki.h"

extern const struct program ops_program;

struct rig {
	char *dir;
};

static int rig_setup(void **state)
{
	struct rig *rig = x_calloc(1, sizeof *rig);

	rig->dir = scratch_new("keys");
	*state = rig;
	return 0;
}

static int rig_teardown(void **state)
{
	struct rig *rig = *state;

	scratch_free(rig->dir);
	free(rig);
	return 0;
}

/* kluisctl with these words; %D in front of a word is the scratch directory. */
static int run(const struct rig *rig, const char *const *words)
{
	char *argv[32] = {x_strdup("kluisctl"), x_strdup("--quiet")};
	int argc = 2, rc;

	for (; *words != NULL; words++) {
		assert_true(argc < 31);
		argv[argc++] = strncmp(*words, "%D", 2) == 0
				       ? x_asprintf("%s%s", rig->dir, *words + 2)
				       : x_strdup(*words);
	}
	rc = program_run(&ops_program, argc, argv);
	for (int i = 0; i < argc; i++) {
		free(argv[i]);
	}
	return rc;
}
#define RUN(rig, ...) run(rig, (const char *const[]){__VA_ARGS__, NULL})

static struct key *load(const struct rig *rig, const char *name)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", rig->dir, name);
	struct key *key = NULL;
	struct err e = {0};

	if (backup_key_load(path, BACKUP_KEY_SEAL, &key, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return key;
}

static bool same(const struct rig *rig, const char *a, const char *b)
{
	_cleanup_(key_freep) struct key *x = load(rig, a);
	_cleanup_(key_freep) struct key *y = load(rig, b);

	return key_pub_equal(key_public(x), key_public(y));
}

static bool pairs(const struct rig *rig, const char *private, const char *public)
{
	_cleanup_(key_freep) struct key *key = load(rig, private);
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", rig->dir, public);

	assert_int_equal(backup_key_load_public(path, BACKUP_KEY_SEAL, &pub, NULL), 0);
	return key_pub_equal(key_public(key), pub);
}

/* The name under which a key that was rotated away stays. */
static char *kept(const struct rig *rig, const char *name, const char *end)
{
	_cleanup_(key_freep) struct key *key = load(rig, name);
	const uint8_t *kid = key_pub_kid(key_public(key));

	return x_asprintf("backup-%02x%02x%02x%02x.%s", kid[0], kid[1], kid[2], kid[3], end);
}

static void test_rotate(void **state)
{
	struct rig *rig = *state;
	_cleanup_(x_freep) char *first = NULL;
	_cleanup_(x_freep) char *first_pub = NULL;
	_cleanup_(x_freep) char *second = NULL;

	assert_int_not_equal(
		RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0); /* Nothing there. */
	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 0);
	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 11);
	first = kept(rig, "backup.key", "key");
	first_pub = kept(rig, "backup.key", "pub");
	assert_int_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0);
	assert_true(pairs(rig, "backup.key", "backup.pub"));
	assert_true(pairs(rig, first, first_pub));
	assert_false(same(rig, first, "backup.key"));
	second = kept(rig, "backup.key", "key");
	assert_int_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0);
	assert_true(pairs(rig, first, first_pub));
	assert_false(same(rig, second, "backup.key"));
	assert_true(pairs(rig, "backup.key", "backup.pub"));
}

static void move(const struct rig *rig, const char *from, const char *to)
{
	_cleanup_(x_freep) char *a = x_asprintf("%s/%s", rig->dir, from);
	_cleanup_(x_freep) char *b = x_asprintf("%s/%s", rig->dir, to);

	assert_int_equal(rename(a, b), 0);
}

/* Cut off at each step: the next run brings it to its end, and no key is lost. */
static void test_rotate_cut_off(void **state)
{
	struct rig *rig = *state;
	_cleanup_(x_freep) char *first = NULL;
	_cleanup_(x_freep) char *first_pub = NULL;

	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 0);
	first = kept(rig, "backup.key", "key");
	first_pub = kept(rig, "backup.key", "pub");
	assert_int_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0);
	/* After the first rename: the new private key is there, the new public one is not. */
	move(rig, "backup.pub", "backup-next.pub");
	assert_int_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0);
	assert_true(pairs(rig, "backup.key", "backup.pub"));
	/* Before it: the new pair is whole, the old one still in its place. */
	move(rig, "backup.key", "backup-next.key");
	move(rig, "backup.pub", "backup-next.pub");
	move(rig, first, "backup.key");
	move(rig, first_pub, "backup.pub");
	assert_int_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0);
	assert_true(pairs(rig, "backup.key", "backup.pub"));
	/* Earlier: half a pair that nobody ever sealed to, the old key kept already. */
	assert_int_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0);
	move(rig, "backup.key", "backup-next.key");
	free(first);
	first = kept(rig, "backup-next.key", "key");
	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D/other"), 0);
	move(rig, "other/backup.key", "backup.key");
	assert_int_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0);
	assert_true(pairs(rig, "backup.key", "backup.pub"));
}

/* The private half is offline by now: a pair made anew beside the public one is refused, and no key
 * is left that pairs with nothing. */
static void test_init_beside_a_public_key(void **state)
{
	struct rig *rig = *state;
	_cleanup_(x_freep) char *key = x_asprintf("%s/backup.key", rig->dir);
	_cleanup_(x_freep) char *sign = x_asprintf("%s/sign.key", rig->dir);

	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 0);
	move(rig, "backup.key", "offline.key");
	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 11);
	assert_false(file_exists(key));
	assert_true(pairs(rig, "offline.key", "backup.pub"));
	assert_int_equal(RUN(rig, "backup", "keys", "sign", "-O", "%D/sign"), 0);
	move(rig, "sign.key", "elsewhere.key");
	assert_int_equal(RUN(rig, "backup", "keys", "sign", "-O", "%D/sign"), 11);
	assert_false(file_exists(sign));
}

/* The same of the key that signs restore records, and of a CA's. */
static void test_pki_beside_a_public_key(void **state)
{
	struct rig *rig = *state;
	_cleanup_(x_freep) char *key = x_asprintf("%s/restore.key", rig->dir);
	_cleanup_(x_freep) char *pub = x_asprintf("%s/restore.pub", rig->dir);
	_cleanup_(x_freep) char *ca = x_asprintf("%s/ca.key", rig->dir);
	_cleanup_(x_freep) char *nowhere = x_asprintf("%s/none/ca.pem", rig->dir);
	struct pki_identity identity = {.cert_pem = BUF_INIT};
	const struct pki_spec spec = {.algorithm = PKI_EC_P384,
		.common_name = "a CA",
		.wall_ms = clock_wall_ms(&clock_system),
		.days = 1};

	assert_int_equal(file_write(pub, bytes_str("of a key that is offline\n"), 0644, NULL), 0);
	assert_int_equal(RUN(rig, "pki", "init", "--ec", "-d", "%D"), 11);
	assert_false(file_exists(key));
	assert_int_equal(pki_make_ca(&spec, &identity, NULL), 0);
	assert_int_not_equal(pki_write(&identity, nowhere, ca, NULL), 0);
	assert_false(file_exists(ca));
	pki_identity_release(&identity);
}

static void read_file(const struct rig *rig, const char *name, struct buf *to)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", rig->dir, name);

	buf_clear(to);
	assert_int_equal(file_read(path, PKI_PEM_BYTES_MAX, to, NULL), 0);
}

/* Cut off between the two halves: the next run makes the public one of the key that is there. */
static void test_init_cut_off(void **state)
{
	struct rig *rig = *state;
	_cleanup_(buf_release) struct buf before = BUF_INIT, after = BUF_INIT;

	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 0);
	move(rig, "backup.pub", "before.pub");
	fault_arm("file.write", 1, true); /* And again: nothing is lost. */
	assert_int_not_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 0);
	fault_disarm();
	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 0);
	assert_true(pairs(rig, "backup.key", "before.pub"));
	assert_true(pairs(rig, "backup.key", "backup.pub"));
	assert_int_equal(RUN(rig, "backup", "keys", "sign", "-O", "%D/sign"), 0);
	read_file(rig, "sign.pub", &before);
	move(rig, "sign.pub", "before-sign.pub");
	assert_int_equal(RUN(rig, "backup", "keys", "sign", "-O", "%D/sign"), 0);
	read_file(rig, "sign.pub", &after);
	assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
}

/* In the order in which they are written. */
static const char *const pki_names[] = {"pki-init.unfinished", "provider-ca.key", "provider-ca.pem",
	"node-ca.key", "node-ca.pem", "restore.key", "restore.pub", "cluster-id"};

static void assert_pki(const struct rig *rig, const char *dir)
{
	_cleanup_(pki_identity_release) struct pki_identity ca = {.cert_pem = BUF_INIT};
	_cleanup_(x_freep) char *key = x_asprintf("%s/%s/provider-ca.key", rig->dir, dir);
	_cleanup_(x_freep) char *cert = x_asprintf("%s/%s/provider-ca.pem", rig->dir, dir);

	assert_int_equal(pki_read(cert, key, &ca, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pki_names); i++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%s/%s", rig->dir, dir, pki_names[i]);

		assert_int_equal(file_exists(path), i > 0);
	}
}

/* The first n files of a run that was cut off behind them, with what some of them were. */
static void cut_pki(const struct rig *rig, const char *dir, size_t n)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(x_freep) char *made = x_asprintf("%s/%s", rig->dir, dir);

	assert_int_equal(file_make_dirs(made, 0700, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		_cleanup_(x_freep) char *from = x_asprintf("whole/%s", pki_names[i]);
		_cleanup_(x_freep) char *to = x_asprintf("%s/%s", made, pki_names[i]);

		buf_clear(&bytes);
		if (i > 0) {
			read_file(rig, from, &bytes);
		}
		assert_int_equal(file_write(to, buf_bytes(&bytes), 0600, NULL), 0);
	}
}

/* Cut off at each step: the next run begins anew, and what it leaves goes together. What no run of
 * its own left it does not touch. */
static void test_pki_cut_off(void **state)
{
	struct rig *rig = *state;
	_cleanup_(buf_release) struct buf before = BUF_INIT, after = BUF_INIT;
	_cleanup_(x_closep) int lock_fd = -1;
	_cleanup_(x_freep) char *busy = NULL;

	assert_int_equal(RUN(rig, "pki", "init", "--ec", "-d", "%D/whole"), 0);
	assert_pki(rig, "whole");
	for (size_t n = 1; n <= ARRAY_SIZE(pki_names); n++) {
		_cleanup_(x_freep) char *dir = x_asprintf("cut%zu", n);
		_cleanup_(x_freep) char *at = x_asprintf("%%D/%s", dir);

		cut_pki(rig, dir, n);
		assert_int_equal(RUN(rig, "pki", "issue", "-d", at, "--node", "1", "--host",
					 "localhost", "--out", "%D/issued"),
			11);
		assert_int_equal(RUN(rig, "pki", "init", "--ec", "-d", at), 0);
		assert_pki(rig, dir);
	}
	cut_pki(rig, "busy", 1); /* Not cut off: at work. */
	busy = x_asprintf("%s/busy", rig->dir);
	assert_int_equal(lock_dir(busy, &lock_fd, NULL), 0);
	assert_int_equal(RUN(rig, "pki", "init", "--ec", "-d", "%D/busy"), 11);
	read_file(rig, "whole/provider-ca.key", &before);
	assert_int_equal(RUN(rig, "pki", "init", "--ec", "-d", "%D/whole"), 11);
	assert_pki(rig, "whole");
	move(rig, "whole/provider-ca.pem", "provider-ca.pem");
	move(rig, "whole/cluster-id", "cluster-id");
	assert_int_equal(RUN(rig, "pki", "init", "--ec", "-d", "%D/whole"), 11);
	read_file(rig, "whole/provider-ca.key", &after);
	assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
}

/* The old key is kept before it is replaced, or it is not replaced. */
static void test_rotate_keeps_the_old(void **state)
{
	struct rig *rig = *state;
	_cleanup_(x_freep) char *first = NULL;
	_cleanup_(x_freep) char *path = NULL;

	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 0);
	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D/other"), 0);
	first = kept(rig, "backup.key", "key");
	path = x_asprintf("%s/%s", rig->dir, first);
	assert_int_equal(file_write(path, bytes_str("no key\n"), 0400, NULL), 0);
	assert_int_not_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0);
	assert_true(pairs(rig, "backup.key", "backup.pub"));
	move(rig, "other/backup.key", first);
	assert_int_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 11);
	assert_true(pairs(rig, "backup.key", "backup.pub"));
	/* Of a run that was cut off: it is that very key. */
	move(rig, "backup.key", first);
	{
		_cleanup_(key_freep) struct key *old = load(rig, first);
		_cleanup_(x_freep) char *key = x_asprintf("%s/backup.key", rig->dir);

		assert_int_equal(backup_key_save(old, BACKUP_KEY_SEAL, key, NULL), 0);
	}
	assert_int_equal(RUN(rig, "backup", "keys", "rotate", "-d", "%D"), 0);
	assert_false(same(rig, first, "backup.key"));
}

static void test_split(void **state)
{
	struct rig *rig = *state;
	_cleanup_(x_freep) char *path = x_asprintf("%s/s/backup-share-3-of-5", rig->dir);
	struct stat st;

	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 0);
	assert_int_equal(RUN(rig, "backup", "keys", "split", "-k", "%D/backup.key", "--needed", "3",
				 "--shares", "5", "-O", "%D/s"),
		0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0400);
	assert_int_equal(RUN(rig, "backup", "keys", "combine", "-O", "%D/again.key", "--public",
				 "%D/backup.pub", "%D/s/backup-share-5-of-5",
				 "%D/s/backup-share-1-of-5", "%D/s/backup-share-3-of-5"),
		0);
	assert_true(same(rig, "backup.key", "again.key"));
	/* Never over a key that is there. */
	assert_int_equal(RUN(rig, "backup", "keys", "combine", "-O", "%D/again.key",
				 "%D/s/backup-share-5-of-5", "%D/s/backup-share-1-of-5",
				 "%D/s/backup-share-3-of-5"),
		11);
	/* Too few, one twice, and none. */
	assert_int_equal(RUN(rig, "backup", "keys", "combine", "-O", "%D/x.key",
				 "%D/s/backup-share-5-of-5", "%D/s/backup-share-1-of-5"),
		2);
	assert_int_equal(
		RUN(rig, "backup", "keys", "combine", "-O", "%D/x.key", "%D/s/backup-share-5-of-5",
			"%D/s/backup-share-5-of-5", "%D/s/backup-share-1-of-5"),
		11);
	assert_int_equal(RUN(rig, "backup", "keys", "combine", "-O", "%D/x.key", "%D/s/none"), 10);
}

static void test_split_refused(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(RUN(rig, "backup", "keys", "init", "-d", "%D"), 0);
#define SPLIT(...) RUN(rig, "backup", "keys", "split", "-k", "%D/backup.key", __VA_ARGS__)
	assert_int_equal(SPLIT("--needed", "1", "--shares", "5", "-O", "%D/s"), 2);
	assert_int_equal(SPLIT("--needed", "3", "--shares", "2", "-O", "%D/s"), 2);
	assert_int_equal(SPLIT("--needed", "3", "--shares", "17", "-O", "%D/s"), 2);
	assert_int_equal(SPLIT("--needed", "3", "--shares", "5"), 2);
	assert_int_equal(SPLIT("--needed", "3", "--shares", "5", "-O", "%D/s", "--print"), 2);
	assert_int_equal(SPLIT("--shares", "5", "-O", "%D/s"), 2);
#undef SPLIT
}

/* Shares of two keys, with and without the line that says so; the public key of another one. */
static void test_mixed(void **state)
{
	struct rig *rig = *state;
	struct key_share a[SLIP39_SHARES_MAX], b[SLIP39_SHARES_MAX], mixed[2];
	_cleanup_(key_freep) struct key *one = NULL;
	_cleanup_(key_freep) struct key *two = NULL;
	struct key *got = NULL;
	struct err e = {0};
	size_t bad;

	(void)rig;
	assert_int_equal(key_generate(KEY_KEM_X25519, 0, &one, NULL), 0);
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &two, NULL), 0);
	assert_int_equal(key_share_split(one, 2, 3, &random_system, a, NULL), 0);
	assert_int_equal(key_share_split(two, 2, 3, &random_system, b, NULL), 0);
	mixed[0] = a[2];
	mixed[1] = b[1];
	assert_int_equal(key_share_combine(mixed, 2, NULL, &got, &bad, &e), KLUIS_ECONFLICT);
	assert_true(bad == 1 && strstr(e.text, "another key") != NULL);
	mixed[1].labelled = false;
	mixed[1].share.id ^= mixed[1].share.id == a[0].share.id;
	assert_int_equal(key_share_combine(mixed, 2, NULL, &got, &bad, &e), KLUIS_ECONFLICT);
	assert_int_equal(bad, 1);
	/* Both kinds of key; words alone are taken for P-256 unless the public key says otherwise.
	 */
	assert_int_equal(key_share_combine(a, 2, key_public(two), &got, &bad, &e), KLUIS_EVERIFY);
	assert_int_equal(key_share_combine(a, 2, key_public(one), &got, &bad, &e), 0);
	assert_true(key_pub_equal(key_public(got), key_public(one)));
	key_free(got);
	b[0].labelled = b[1].labelled = a[0].labelled = a[1].labelled = false;
	assert_int_equal(key_share_combine(b, 2, NULL, &got, &bad, &e), 0);
	assert_true(key_pub_equal(key_public(got), key_public(two)));
	key_free(got);
	assert_int_equal(key_share_combine(a, 2, key_public(one), &got, &bad, &e), 0);
	key_free(got);
}

/* The file: what is written is read; no line of one share with words of another. */
static void test_share_file(void **state)
{
	struct key_share shares[SLIP39_SHARES_MAX], share;
	_cleanup_(key_freep) struct key *key = NULL;
	_cleanup_(buf_release) struct buf text = BUF_INIT, other = BUF_INIT, mixed = BUF_INIT;
	size_t line;

	(void)state;
	assert_int_equal(key_generate(KEY_KEM_P256, 0, &key, NULL), 0);
	assert_int_equal(key_share_split(key, 2, 3, &random_system, shares, NULL), 0);
	key_share_format(&shares[0], &text);
	key_share_format(&shares[1], &other);
	assert_int_equal(key_share_parse(buf_bytes(&text), &share, NULL), 0);
	assert_true(share.labelled && share.count == 3 && share.alg == KEY_KEM_P256);
	line = strcspn(buf_str(&text), "\n");
	assert_int_equal(
		key_share_parse(bytes_of(text.data + line, text.len - line), &share, NULL), 0);
	assert_false(share.labelled);
	buf_append(&mixed, text.data, line);
	buf_append(&mixed, other.data + line, other.len - line);
	assert_int_equal(key_share_parse(buf_bytes(&mixed), &share, NULL), KLUIS_ECORRUPT);
	for (size_t len = 0; len + 1 < text.len; len++) {
		assert_int_not_equal(key_share_parse(bytes_of(text.data, len), &share, NULL), 0);
	}
	for (size_t at = 0; at < text.len; at++) {
		uint8_t was = text.data[at];

		text.data[at] = was == 'a' ? 'b' : 'a';
		if (at < 19 || at >= 19 + HEX_LEN(KID_BYTES)) { /* Combining finds the key id. */
			assert_int_not_equal(key_share_parse(buf_bytes(&text), &share, NULL), 0);
		}
		text.data[at] = was;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rotate, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_rotate_cut_off, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(
			test_init_beside_a_public_key, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(
			test_pki_beside_a_public_key, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_init_cut_off, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_pki_cut_off, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_rotate_keeps_the_old, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_split, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_split_refused, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_mixed, rig_setup, rig_teardown),
		cmocka_unit_test(test_share_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

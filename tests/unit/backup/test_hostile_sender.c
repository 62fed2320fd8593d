/* Somebody with a sender's SSH key, against a real sshd of the production kind (chroot, users of
 * their own) and a receiver that is nobody special: owner of the drop, member of the sender's
 * group. Whatever the sender does, it adds rubbish that is refused, and the next snapshot comes in.
 * For root alone, who can start such an sshd. */
#include "tests/lib/test.h"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backup/verify.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/unit/backup/lib/pair.h"
#include "tests/unit/backup/lib/raw_sftp.h"

enum { FILE_BYTES_MAX = 1 << 20, RUBBISH = 150 };

struct world {
	struct backup_pair *pair;
	char *repository; /* The receiver's. */
	uid_t receiver;
	gid_t sender_group;
};

/* What the receiver found, in the process that is it. */
struct found {
	int rc;
	unsigned accepted, refused, leftovers, evicted, waiting;
	size_t files;
	bool over_quota;
	char text[160];
};

static int set_up(void **state)
{
	struct world *w = x_calloc(1, sizeof *w);
	const struct passwd *receiver;

	(void)pair_set_up_chroot((void **)&w->pair);
	w->sender_group = getpwnam(w->pair->sshd->user)->pw_gid;
	receiver = getpwnam("daemon");
	assert_non_null(receiver);
	w->receiver = receiver->pw_uid;
	assert_int_not_equal(receiver->pw_gid, w->sender_group);
	assert_int_equal(chown(w->pair->sshd->drop, w->receiver, w->sender_group), 0);
	assert_int_equal(chmod(w->pair->sshd->drop, 01770), 0);
	w->repository = x_asprintf("%s/received", w->pair->sshd->dir);
	assert_int_equal(mkdir(w->repository, 0700), 0);
	assert_int_equal(chown(w->repository, w->receiver, receiver->pw_gid), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	(void)pair_tear_down((void **)&w->pair);
	free(w->repository);
	free(w);
	return 0;
}

static struct found found_of(const struct world *w)
{
	struct receive_config *config = &w->pair->receiver;
	struct receive_report report = {0};
	struct err e = {0};
	struct found found = {0};

	found.rc = repository_open_writer(w->repository, &config->repository, &e);
	if (found.rc == 0) {
		found.rc = receive_scan(
			config, w->pair->sshd->drop, 1, clock_wall_ms(&clock_system), &report, &e);
	}
	found.accepted = report.n_accepted;
	found.refused = report.refused;
	found.leftovers = report.leftovers;
	found.evicted = report.evicted;
	found.waiting = report.waiting;
	found.files = report.files;
	found.over_quota = report.over_quota;
	(void)snprintf(found.text, sizeof found.text, "%.*s", (int)sizeof found.text - 1,
		found.rc == 0 ? report.reason : e.text); /* Cut text is still text. */
	return found;
}

/* One look into the drop by a process of the receiver's uid, and of the sender's group as well. */
static struct found receive(struct world *w)
{
	struct found found = {.rc = KLUIS_EIO};
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		if (setgroups(1, &w->sender_group) == 0 && setgid(w->receiver) == 0 &&
			setuid(w->receiver) == 0) {
			found = found_of(w);
		}
		_exit(write(fds[1], &found, sizeof found) != sizeof found);
	}
	assert_true(pid > 0);
	(void)close(fds[1]);
	assert_int_equal(read(fds[0], &found, sizeof found), sizeof found);
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	if (found.rc != 0) {
		fail_msg("%s", found.text);
	}
	return found;
}

/* What the receiver holds is what was taken, and restores. */
static void assert_held(struct world *w, const uint8_t hash[HASH_BYTES])
{
	struct backup_sites *sites = &w->pair->sites;
	struct repository *repository = NULL;
	struct verify_report report;
	struct err e = {0};

	assert_int_equal(repository_open(w->repository, &repository, NULL), 0);
	if (verify_snapshot(repository, hash, &sites->trust, 3, &sites->keys, sites->dir, &report,
		    &e) != 0) {
		fail_msg("%s", e.text);
	}
	repository_close(repository);
}

/* Not the sender's files under another name: new ones, of the receiver alone. */
static void assert_copied(struct world *w)
{
	_cleanup_(x_freep) char *out = x_asprintf("%s/find", w->pair->sshd->dir);
	_cleanup_(x_freep) char *uid = x_asprintf("%u", (unsigned)w->receiver);
	_cleanup_(buf_release) struct buf text = BUF_INIT;
	const char *const all[] = {"find", w->repository, "-type", "f", NULL};
	const char *const others[] = {"find", w->repository, "(", "!", "-uid", uid, "-o", "-perm",
		"/077", "-o", "-type", "f", "-links", "+1", ")", NULL};

	assert_int_equal(test_run(out, all), 0);
	assert_int_equal(file_read(out, 1 << 20, &text, NULL), 0);
	assert_non_null(strstr(buf_str(&text), "/objects/"));
	buf_clear(&text);
	assert_int_equal(unlink(out), 0);
	assert_int_equal(test_run(out, others), 0);
	assert_int_equal(file_read(out, 1 << 20, &text, NULL), 0);
	assert_string_equal(buf_str(&text), "");
}

static void assert_next_comes_in(struct world *w)
{
	struct found found;
	uint8_t hash[HASH_BYTES];

	pair_take(w->pair, 5, 1000, hash);
	(void)pair_ship(w->pair, hash);
	found = receive(w);
	assert_int_equal(found.accepted, 1);
	assert_held(w, hash);
}

/* The second object of node 1's snapshot, and its name in the drop. */
static void object_of(struct world *w, const uint8_t hash[HASH_BYTES], struct buf *bytes,
	char ret_path[DROP_NAME_BYTES + 16])
{
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	struct backup_sites *sites = &w->pair->sites;
	struct drop_name name = {.manifest = false};
	char text[DROP_NAME_BYTES];
	uint64_t size = 0;
	int fd = -1;

	assert_int_equal(point_manifest(sites->repository[0], hash, &sites->trust, &m, NULL), 0);
	memcpy(name.hash, m.objects[1].hash, HASH_BYTES);
	drop_name_format(&name, text);
	(void)snprintf(ret_path, DROP_NAME_BYTES + 16, "%s/%s", w->pair->sshd->path, text);
	assert_int_equal(
		repository_open_object(sites->repository[0], name.hash, &fd, &size, NULL), 0);
	assert_int_equal(read(fd, buf_extend(bytes, size), size), size);
	(void)close(fd);
}

/* Neither root nor a capability: the modes that sshd gives are enough to read and to remove. */
static void test_unprivileged_receiver(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *manifest = NULL;
	struct found found;
	struct stat st;
	uint8_t hash[HASH_BYTES];
	char hex[HEX_LEN(HASH_BYTES) + 1];

	pair_take(w->pair, 5, 1000, hash);
	(void)pair_ship(w->pair, hash);
	hex_encode(bytes_of(hash, sizeof hash), hex);
	manifest = x_asprintf("%s/m-%s.0", w->pair->sshd->drop, hex);
	assert_int_equal(stat(manifest, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0440);
	assert_int_not_equal(st.st_uid, w->receiver);
	found = receive(w);
	assert_int_equal(found.accepted, 1);
	assert_int_equal(found.files, 0);
	assert_held(w, hash);
	assert_copied(w);
	assert_next_comes_in(w);
}

/* Made so that the receiver may not read them. */
static void test_hidden_files(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	_cleanup_(x_freep) char *manifest = NULL;
	char path[DROP_NAME_BYTES + 16], hex[HEX_LEN(HASH_BYTES) + 1];
	LIBSSH2_SFTP_HANDLE *file;
	struct raw_sftp raw;
	struct found found;
	uint8_t hash[HASH_BYTES];

	pair_take(w->pair, 5, 1000, hash);
	object_of(w, hash, &object, path);
	hex_encode(bytes_of(hash, sizeof hash), hex);
	manifest = x_asprintf("%s/m-%s.7", w->pair->sshd->path, hex);
	raw_sftp_open(&raw, w->pair->sshd);
	file = raw_sftp_create(&raw, path, 0, buf_bytes(&object));
	assert_non_null(file);
	assert_int_equal(libssh2_sftp_close(file), 0);
	file = raw_sftp_create(&raw, manifest, 0300, bytes_str("KBM1"));
	assert_non_null(file);
	assert_int_equal(libssh2_sftp_close(file), 0);
	raw_sftp_close(&raw);
	assert_int_equal(pair_ship(w->pair, hash).objects_skipped, 1); /* It looks complete. */
	found = receive(w);
	assert_int_equal(found.accepted, 0);
	assert_int_equal(found.refused, 2);
	assert_int_equal(found.waiting, 1);
	assert_int_equal(pair_ship(w->pair, hash).objects, 1);
	assert_int_equal(receive(w).accepted, 1);
	assert_held(w, hash);
}

/* A handle that stays open can write to its file for ever: to the sender's, not to the copy. */
static void test_rewriting_through_an_open_handle(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf object = BUF_INIT;
	char path[DROP_NAME_BYTES + 16];
	LIBSSH2_SFTP_HANDLE *file;
	struct raw_sftp raw;
	struct found found;
	uint8_t hash[HASH_BYTES];

	pair_take(w->pair, 5, 1000, hash);
	object_of(w, hash, &object, path);
	raw_sftp_open(&raw, w->pair->sshd);
	file = raw_sftp_create(&raw, path, 0440, buf_bytes(&object));
	assert_non_null(file);
	(void)pair_ship(w->pair, hash);
	/* Before: found out, because what was copied is what was hashed. */
	libssh2_sftp_seek64(file, 100);
	assert_int_equal(libssh2_sftp_write(file, "evil", 4), 4);
	found = receive(w);
	assert_int_equal(found.accepted, 0);
	assert_int_equal(found.refused, 1);
	assert_int_equal(libssh2_sftp_close(file), 0);
	/* After. */
	file = raw_sftp_create(&raw, path, 0440, buf_bytes(&object));
	assert_non_null(file);
	found = receive(w);
	assert_int_equal(found.accepted, 1);
	libssh2_sftp_seek64(file, 100);
	assert_int_equal(libssh2_sftp_write(file, "evil", 4), 4);
	assert_int_equal(libssh2_sftp_close(file), 0);
	raw_sftp_close(&raw);
	assert_held(w, hash);
	assert_int_equal(receive(w).files, 0);
	assert_next_comes_in(w);
}

/* There is nothing beside the drop, above it or below it. */
static void test_paths(void **state)
{
	static const char *const paths[] = {"/x", "x", "../x", "/incoming/../x",
		"/incoming/../../../x", "/incoming/sub/x", "/etc/x", "/incoming/x/", "/incoming/.",
		"/incoming/..", ""};
	static const char *const names[] = {"..x", "o-..", "m-\n", "o-%2e%2e%2fx", " "};
	struct world *w = *state;
	_cleanup_(x_freep) char *above = x_asprintf("%s/files/x", w->pair->sshd->dir);
	_cleanup_(x_freep) char *further = x_asprintf("%s/x", w->pair->sshd->dir);
	struct raw_sftp raw;
	struct found found;

	raw_sftp_open(&raw, w->pair->sshd);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (raw_sftp_create(&raw, paths[i], 0666, bytes_str("x")) != NULL) {
			fail_msg("created '%s'", paths[i]);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(x_freep) char *path = x_asprintf("/incoming/%s", names[i]);
		LIBSSH2_SFTP_HANDLE *file = raw_sftp_create(&raw, path, 0666, bytes_str("x"));

		assert_non_null(file);
		assert_int_equal(libssh2_sftp_close(file), 0);
	}
	raw_sftp_close(&raw);
	assert_false(file_exists(above));
	assert_false(file_exists(further));
	assert_int_equal(pair_drop_count(w->pair), ARRAY_SIZE(names) + 1); /* One line end. */
	found = receive(w);
	assert_int_equal(found.files, ARRAY_SIZE(names));
	assert_int_equal(found.refused, 0);
	assert_next_comes_in(w);
	w->pair->receiver.quota.files = 2;
	w->pair->receiver.n_records = 0; /* Nothing more is on its way. */
	assert_int_equal(receive(w).files, 0);
}

/* As many files as it likes, in whatever size sshd lets through: the quota holds with the next look
 * into the drop, and a snapshot that was shipped amid them is taken in. */
static void test_filling_the_disk(void **state)
{
	struct world *w = *state;
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	LIBSSH2_SFTP_HANDLE *file;
	struct raw_sftp raw;
	struct found found;
	uint8_t hash[HASH_BYTES];

	buf_put_zeros(&bytes, 1000);
	raw_sftp_open(&raw, w->pair->sshd);
	for (unsigned i = 0; i < RUBBISH; i++) {
		_cleanup_(x_freep) char *path =
			x_asprintf("/incoming/%s-%064u.%u", i % 2 == 0 ? "o" : "m", i / 2, i % 3);

		file = raw_sftp_create(&raw, path, 0666, buf_bytes(&bytes));
		assert_non_null(file);
		assert_int_equal(libssh2_sftp_close(file), 0);
	}
	pair_take(w->pair, 5, 1000, hash);
	(void)pair_ship(w->pair, hash);
	w->pair->receiver.quota = (struct drop_quota){.bytes = 40 * 1000, .files = 50};
	found = receive(w);
	assert_true(found.over_quota);
	assert_int_equal(found.accepted, 1);
	assert_int_equal(found.files, 40);
	assert_int_equal(found.evicted, RUBBISH - 40);
	assert_held(w, hash);
	raw_sftp_close(&raw);
}

/* What kluis-receiver.service sets: no file grows beyond the largest object, not even one that the
 * receiver removed and whose handle is still open. */
static void test_one_endless_file(void **state)
{
	struct world *w = *state;
	_cleanup_(x_freep) char *path = x_asprintf("/incoming/o-%064u.0", 1);
	_cleanup_(x_freep) char *here = x_asprintf("%s/o-%064u.0", w->pair->sshd->drop, 1);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	LIBSSH2_SFTP_HANDLE *file;
	struct raw_sftp raw;
	struct stat st;
	ssize_t n = 1;

	buf_put_zeros(&bytes, 100000);
	raw_sftp_open(&raw, w->pair->sshd);
	file = raw_sftp_create(&raw, path, 0666, bytes_of(NULL, 0));
	assert_non_null(file);
	for (unsigned i = 0; n > 0 && i < 100; i++) {
		n = libssh2_sftp_write(file, (const char *)bytes.data, bytes.len);
	}
	assert_true(n < 0);
	assert_int_equal(stat(here, &st), 0);
	assert_in_range(st.st_size, 1, FILE_BYTES_MAX);
	raw_sftp_close(&raw);
	assert_next_comes_in(w); /* The sshd goes on; that session has ended. */
}

static int set_up_limited(void **state)
{
	struct rlimit before, limited;
	int rv;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limited = before;
	limited.rlim_cur = FILE_BYTES_MAX;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
	rv = set_up(state);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	return rv;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unprivileged_receiver, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hidden_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_rewriting_through_an_open_handle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_paths, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_filling_the_disk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_endless_file, set_up_limited, tear_down),
	};

	if (getuid() != 0) {
		(void)printf("SKIPPED in part: not root, so no sshd of the production kind\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

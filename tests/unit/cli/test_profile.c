#include "tests/lib/cli_fixture/cli_fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"

static void test_reopen(void **state)
{
	struct cli_fixture *f = *state;
	uint8_t user[ID_BYTES], device[ID_BYTES];

	memcpy(user, f->profile->user_id, ID_BYTES);
	memcpy(device, f->profile->device_id, ID_BYTES);
	cli_fixture_reopen(f);
	assert_memory_equal(f->profile->user_id, user, ID_BYTES);
	assert_memory_equal(f->profile->device_id, device, ID_BYTES);
	assert_string_equal(f->profile->account, "bob");
	assert_true(f->profile->enrolled);
	assert_true(f->profile->has_restore_key);
	assert_int_equal(f->profile->n_endpoints, 1);
	assert_string_equal(f->profile->endpoints[0], fake_node_url(f->node));
}

static void assert_private(const char *path, mode_t mode)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, mode);
}

static void test_modes(void **state)
{
	static const char *const files[] = {"keys", "settings.json", "session", "lock"};
	struct cli_fixture *f = *state;
	struct profile *profile = NULL;

	assert_private(f->profile_dir, 0700);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(x_freep) char *path = profile_path(f->profile, files[i]);

		assert_private(path, 0600);
	}
	profile_close(f->profile);
	f->profile = NULL;
	assert_int_equal(chmod(f->profile_dir, 0750), 0);
	assert_int_equal(profile_open(f->profile_dir, &profile, &f->err), KLUIS_EINVAL);
	assert_int_equal(chmod(f->profile_dir, 0700), 0);
	assert_int_equal(profile_open("/nonexistent", &profile, &f->err), KLUIS_ENOTFOUND);
	assert_null(profile);
}

/* Another process holds it: waited for, then said. The lock goes with the process. */
static void test_lock(void **state)
{
	struct cli_fixture *f = *state;
	struct profile *profile = NULL;
	int ready[2], done[2], status;
	char c = 'x';
	pid_t pid;

	profile_close(f->profile);
	f->profile = NULL;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(done), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct err e = {0};

		if (profile_open(f->profile_dir, &profile, &e) != 0 ||
			write(ready[1], &c, 1) != 1 || read(done[0], &c, 1) != 1) {
			_exit(1);
		}
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	profile_set_lock_ms(200);
	assert_int_equal(profile_open(f->profile_dir, &profile, &f->err), KLUIS_EBUSY);
	assert_null(profile);
	assert_int_equal(write(done[1], &c, 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(profile_open(f->profile_dir, &profile, &f->err), 0);
	profile_close(profile);
	(void)close(ready[0]);
	(void)close(ready[1]);
	(void)close(done[0]);
	(void)close(done[1]);
}

/* Every byte of the frame counts, and every cut. */
static void test_frame(void **state)
{
	_cleanup_(buf_release) struct buf file = BUF_INIT;
	struct bytes payload;
	struct err e;

	(void)state;
	profile_frame(PROFILE_PIN, bytes_str("payload"), &file);
	assert_int_equal(profile_unframe(buf_bytes(&file), PROFILE_PIN, &payload, &e), 0);
	assert_true(bytes_equal(payload, bytes_str("payload")));
	assert_int_equal(
		profile_unframe(buf_bytes(&file), PROFILE_KEYS, &payload, &e), KLUIS_ECORRUPT);
	for (size_t i = 0; i < file.len; i++) {
		int rc;

		file.data[i] ^= 0x20;
		rc = profile_unframe(buf_bytes(&file), PROFILE_PIN, &payload, &e);
		assert_int_equal(rc, i == 4 ? KLUIS_EVERSION : KLUIS_ECORRUPT);
		file.data[i] ^= 0x20;
	}
	for (size_t len = 0; len < file.len; len++) {
		assert_int_equal(
			profile_unframe(bytes_of(file.data, len), PROFILE_PIN, &payload, &e),
			KLUIS_ECORRUPT);
	}
}

static void test_damaged_files(void **state)
{
	static const char *const files[] = {"keys", "settings.json"};
	struct cli_fixture *f = *state;

	profile_close(f->profile);
	f->profile = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%s", f->profile_dir, files[i]);
		_cleanup_(buf_release) struct buf good = BUF_INIT;
		_cleanup_(buf_release) struct buf bad = BUF_INIT;
		struct profile *profile = NULL;

		assert_int_equal(file_read(path, 1 << 20, &good, &f->err), 0);
		buf_append(&bad, good.data, good.len / 2);
		assert_int_equal(file_write(path, buf_bytes(&bad), 0600, &f->err), 0);
		assert_int_equal(profile_open(f->profile_dir, &profile, &f->err), KLUIS_ECORRUPT);
		assert_null(profile);
		assert_int_equal(file_write(path, buf_bytes(&good), 0600, &f->err), 0);
	}
}

/* An enrolment whose answer was lost goes on with the same keys. */
static void test_enrol_again(void **state)
{
	struct cli_fixture *f = *state;
	const char *url = fake_node_url(f->node);
	_cleanup_(x_freep) char *dir = x_asprintf("%s/second", f->dir);
	struct client_config config = {.endpoints = &url,
		.n_endpoints = 1,
		.ca_pem = fake_node_ca(f->node),
		.give_up_ms = 300};
	struct api_cluster cluster;
	struct profile *profile;
	struct client *client;
	uint8_t user[ID_BYTES];

	assert_int_equal(client_new(&config, &client, &f->err), 0);
	assert_int_equal(api_well_known(client, &cluster, &f->err), 0);
	assert_int_equal(profile_make(dir, &cluster, "eve", "x", &url, 1, &profile, &f->err), 0);
	memcpy(user, profile->user_id, ID_BYTES);
	fake_node_fault(f->node, FAKE_DROP_AFTER, "enrol", 0, 100, 0);
	assert_int_equal(session_enrol(profile, client, "ket_good", &f->err), KLUIS_ECLOSED);
	fake_node_fault(f->node, FAKE_HONEST, "", 0, 0, 0);
	profile_close(profile);
	assert_int_equal(profile_open(dir, &profile, &f->err), 0);
	assert_false(profile->enrolled);
	assert_memory_equal(profile->user_id, user, ID_BYTES);
	assert_int_equal(
		session_enrol(profile, client, "ket_bad", &f->err), KLUIS_EUNAUTHENTICATED);
	assert_int_equal(session_enrol(profile, client, "ket_good", &f->err), 0);
	profile_close(profile);
	assert_int_equal(profile_open(dir, &profile, &f->err), 0);
	assert_true(profile->enrolled);
	profile_close(profile);
	assert_int_equal(
		profile_make(dir, &cluster, "eve", "x", &url, 1, &profile, &f->err), KLUIS_EEXIST);
	api_cluster_release(&cluster);
	client_free(client);
}

/* Each write of a put fails in turn: the profile always opens, and the next put goes through. */
static void test_disk_failures(void **state)
{
	struct cli_fixture *f = *state;
	uint64_t nth, seq;

	assert_int_equal(cli_fixture_put(f, "a", bytes_str("1")), 0);
	for (nth = 1; nth < 40; nth++) {
		int rc;

		fault_arm("file.", nth, false);
		rc = cli_fixture_put(f, "a", bytes_str("2"));
		if (rc == 0 && fault_hits() < nth) {
			break;
		}
		fault_disarm();
		cli_fixture_reopen(f);
		assert_int_equal(cli_fixture_put(f, "a", bytes_str("3")), 0);
	}
	fault_disarm();
	assert_true(nth > 3 && nth < 40);
	assert_int_equal(cli_fixture_sync(f, &seq), 0);
	for (uint64_t i = 2; i <= seq; i++) {
		assert_int_equal(fake_node_heads_sent(f->node, i), 1);
	}
}

int main(void)
{
#define FIXTURE(test) cmocka_unit_test_setup_teardown(test, cli_fixture_setup, cli_fixture_teardown)
	const struct CMUnitTest tests[] = {
		FIXTURE(test_reopen),
		FIXTURE(test_modes),
		FIXTURE(test_lock),
		cmocka_unit_test(test_frame),
		FIXTURE(test_damaged_files),
		FIXTURE(test_enrol_again),
		FIXTURE(test_disk_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

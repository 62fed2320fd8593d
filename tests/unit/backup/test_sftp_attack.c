/* A sender that was taken over, against a real sshd with the receiver's settings: it can add, and
 * it can not read, change, remove, rename or get anything else out of the host. Once as quickstart
 * has it, once with the production chroot (as root). */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/lib/sshd.h"
#include "tests/unit/backup/lib/raw_sftp.h"

static struct test_sshd *sshd;
static struct raw_sftp raw;
static mode_t born; /* The mode of what was dropped. */
static char *victim, *other, *victim_here, *other_here;

static LIBSSH2_SFTP_HANDLE *open_flags(const char *path, unsigned long flags)
{
	return raw_sftp_file(&raw, path, flags, 0666);
}

static void assert_victim_whole(void)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct stat st;

	assert_int_equal(file_read(victim_here, 100, &got, NULL), 0);
	assert_true(bytes_equal(buf_bytes(&got), bytes_str("good data!")));
	assert_int_equal(stat(victim_here, &st), 0);
	assert_int_equal(st.st_mode & 07777, born);
	assert_true(st.st_mtim.tv_sec > 1000000);
}

/* Denied by the server's word, not by a connection that broke. */
static void assert_denied(bool denied)
{
	assert_true(denied);
	assert_int_equal(libssh2_session_last_errno(raw.session), LIBSSH2_ERROR_SFTP_PROTOCOL);
	assert_int_equal(libssh2_sftp_last_error(raw.sftp), LIBSSH2_FX_PERMISSION_DENIED);
	assert_victim_whole();
}

static void test_reopen_for_writing(void **state)
{
	static const unsigned long flags[] = {LIBSSH2_FXF_WRITE,
		LIBSSH2_FXF_WRITE | LIBSSH2_FXF_TRUNC | LIBSSH2_FXF_CREAT,
		LIBSSH2_FXF_WRITE | LIBSSH2_FXF_APPEND, LIBSSH2_FXF_READ | LIBSSH2_FXF_WRITE};

	(void)state;
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		assert_denied(open_flags(victim, flags[i]) == NULL);
	}
}

static void test_read(void **state)
{
	LIBSSH2_SFTP_HANDLE *h = open_flags(victim, LIBSSH2_FXF_READ);
	char bytes[16];

	(void)state;
	assert_non_null(h); /* Opening is needed for uploads; the request that reads is not. */
	assert_denied(libssh2_sftp_read(h, bytes, sizeof bytes) < 0);
	assert_int_equal(libssh2_sftp_close(h), 0);
}

static void test_attributes(void **state)
{
	LIBSSH2_SFTP_ATTRIBUTES size = {.flags = LIBSSH2_SFTP_ATTR_SIZE};
	LIBSSH2_SFTP_ATTRIBUTES times = {.flags = LIBSSH2_SFTP_ATTR_ACMODTIME, .mtime = 1};
	LIBSSH2_SFTP_ATTRIBUTES mode = {
		.flags = LIBSSH2_SFTP_ATTR_PERMISSIONS, .permissions = 0666};
	LIBSSH2_SFTP_ATTRIBUTES *all[] = {&size, &times, &mode};
	LIBSSH2_SFTP_HANDLE *h = open_flags(victim, LIBSSH2_FXF_READ);

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_denied(libssh2_sftp_stat_ex(raw.sftp, victim, (unsigned)strlen(victim),
				      LIBSSH2_SFTP_SETSTAT, all[i]) != 0);
		assert_denied(libssh2_sftp_fstat_ex(h, all[i], 1) != 0);
	}
	assert_int_equal(libssh2_sftp_close(h), 0);
}

static void test_names(void **state)
{
	unsigned from = (unsigned)strlen(victim), to = (unsigned)strlen(other);
	struct stat st;

	(void)state;
	assert_denied(libssh2_sftp_unlink_ex(raw.sftp, victim, from) != 0);
	assert_denied(libssh2_sftp_rename_ex(raw.sftp, victim, from, other, to,
			      LIBSSH2_SFTP_RENAME_OVERWRITE | LIBSSH2_SFTP_RENAME_ATOMIC |
				      LIBSSH2_SFTP_RENAME_NATIVE) != 0);
	assert_denied(libssh2_sftp_mkdir_ex(raw.sftp, other, to, 0777) != 0);
	assert_denied(
		libssh2_sftp_rmdir_ex(raw.sftp, sshd->path, (unsigned)strlen(sshd->path)) != 0);
	/* libssh2 1.10 misreads the number in this reply: look at the host instead. */
	assert_true(libssh2_sftp_symlink_ex(
			    raw.sftp, victim, from, other, to, LIBSSH2_SFTP_SYMLINK) != 0);
	assert_true(lstat(other_here, &st) != 0);
}

static void test_no_shell_and_no_tunnel(void **state)
{
	LIBSSH2_CHANNEL *channel = libssh2_channel_open_session(raw.session);
	char bytes[64] = "";

	(void)state;
	assert_non_null(channel);
	if (libssh2_channel_process_startup(channel, "exec", 4, "id", 2) == 0) {
		assert_true(libssh2_channel_read_ex(channel, 0, bytes, sizeof bytes - 1) > 0);
		assert_non_null(strstr(bytes, "sftp connections only"));
	}
	assert_null(libssh2_channel_direct_tcpip_ex(
		raw.session, "127.0.0.1", (int)sshd->port, "127.0.0.1", 22));
	assert_victim_whole();
}

/* Another program's client is held to the same. */
static void test_openssh_client(void **state)
{
	_cleanup_(x_freep) char *batch = x_asprintf("%s/batch", sshd->dir);
	_cleanup_(x_freep) char *known = x_asprintf("%s/known_hosts", sshd->dir);
	_cleanup_(x_freep) char *line =
		x_asprintf("[127.0.0.1]:%u %s\n", sshd->port, sshd->host_key);
	_cleanup_(x_freep) char *output = x_asprintf("%s/sftp_log", sshd->dir);
	_cleanup_(x_freep) char *port = x_asprintf("Port=%u", sshd->port);
	_cleanup_(x_freep) char *hosts = x_asprintf("UserKnownHostsFile=%s", known);
	_cleanup_(x_freep) char *where = x_asprintf("%s@127.0.0.1", sshd->user);
	static const char *const bad[] = {"get victim.0 /dev/null", "rm victim.0",
		"rename victim.0 gone", "ln victim.0 gone", "ln -s victim.0 gone",
		"chmod 666 victim.0", "mkdir sub", "put -a /etc/hostname victim.0"};
	const char *const args[] = {"sftp", "-o", port, "-o", hosts, "-o", "BatchMode=yes", "-o",
		"IdentitiesOnly=yes", "-i", sshd->key_path, "-b", batch, where, NULL};

	(void)state;
	assert_int_equal(file_create(known, bytes_str(line), 0600, NULL), 0);
	for (size_t i = 0; i <= sizeof bad / sizeof *bad; i++) {
		_cleanup_(x_freep) char *text =
			i == 0 ? x_asprintf("cd %s\nput /etc/hostname from-openssh\nls -l\n",
					 sshd->path)
			       : x_asprintf("cd %s\n%s\n", sshd->path, bad[i - 1]);
		int status;

		assert_int_equal(file_write(batch, bytes_str(text), 0600, NULL), 0);
		status = test_run(output, args);
		if ((status == 0) != (i == 0)) {
			fail_msg("'%s' ended with %d, see %s", text, status, output);
		}
		assert_victim_whole();
	}
}

static int start(void **state, bool chroot)
{
	LIBSSH2_SFTP_HANDLE *h;

	(void)state;
	born = chroot ? 0440 : 0400;
	sshd = test_sshd_start(chroot);
	raw_sftp_open(&raw, sshd);
	victim = x_asprintf("%s/victim.0", sshd->path);
	victim_here = x_asprintf("%s/victim.0", sshd->drop);
	other = x_asprintf("%s/other", sshd->path);
	other_here = x_asprintf("%s/other", sshd->drop);
	h = open_flags(victim, LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_EXCL);
	assert_non_null(h);
	assert_int_equal(libssh2_sftp_write(h, "good data!", 10), 10);
	assert_int_equal(libssh2_sftp_close(h), 0);
	return 0;
}

static int start_plain(void **state)
{
	return start(state, false);
}

static int start_chroot(void **state)
{
	return start(state, true);
}

static int stop(void **state)
{
	(void)state;
	raw_sftp_close(&raw);
	free(victim);
	free(victim_here);
	free(other);
	free(other_here);
	test_sshd_stop(sshd);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reopen_for_writing),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_openssh_client),
		cmocka_unit_test(test_no_shell_and_no_tunnel),
	};
	int failed = 0;

	if (test_sshd_locked()) {
		(void)printf("SKIPPED in part: sshd takes this account for a locked one, so no "
			     "plain receiver\n");
	} else {
		failed = cmocka_run_group_tests_name("plain", tests, start_plain, stop);
	}
	if (getuid() == 0) {
		failed += cmocka_run_group_tests_name("chroot", tests, start_chroot, stop);
	} else {
		(void)printf("SKIPPED in part: not root, so no chroot\n");
	}
	return failed;
}

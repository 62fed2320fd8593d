/* The SFTP client against a real sshd with the receiver's settings. */
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/sftp.h"
#include "backup/ssh_host_key.h"
#include "base/file.h"
#include "base/wire.h"
#include "tests/lib/sshd.h"

static struct test_sshd *sshd;

static struct sftp_target target(void)
{
	return (struct sftp_target){.host = "127.0.0.1",
		.port = sshd->port,
		.user = sshd->user,
		.host_key = sshd->host_key,
		.key_path = sshd->key_path,
		.path = sshd->path,
		.timeout_ms = 60000};
}

static struct sftp *connect_sftp(const struct sftp_target *to)
{
	struct sftp *sftp = NULL;
	struct err e = {0};

	if (sftp_open(to, &sftp, &e) != 0) {
		fail_msg("%s", e.text);
	}
	return sftp;
}

static void pattern(size_t len, struct buf *to)
{
	uint8_t *at = buf_extend(to, len);

	for (size_t i = 0; i < len; i++) {
		at[i] = (uint8_t)(i * 31 + i / 257);
	}
}

static int memory_file(struct bytes bytes)
{
	int fd = memfd_create("upload", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, bytes), 0);
	return fd;
}

static int put(struct sftp *sftp, const char *name, struct bytes bytes)
{
	int fd = memory_file(bytes), rc = sftp_put(sftp, name, fd, true, NULL);

	(void)close(fd);
	return rc;
}

static void assert_arrived(const char *name, struct bytes bytes)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/%s", sshd->drop, name);
	_cleanup_(buf_release) struct buf got = BUF_INIT;

	assert_int_equal(file_read(path, 64 << 20, &got, NULL), 0);
	assert_true(bytes_equal(buf_bytes(&got), bytes));
}

static void test_put_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 30000, 1 << 20, SFTP_WINDOW_BYTES, (9 << 20) + 7};
	struct sftp_target to = target();
	struct sftp *sftp = connect_sftp(&to);
	uint64_t sum = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		char name[16];

		(void)snprintf(name, sizeof name, "size-%zu", i);
		pattern(sizes[i], &bytes);
		assert_int_equal(put(sftp, name, buf_bytes(&bytes)), 0);
		assert_arrived(name, buf_bytes(&bytes));
		sum += sizes[i];
	}
	assert_int_equal(sftp_bytes_sent(sftp), sum);
	sftp_close(sftp);
}

/* Born 0400, and a name that is taken keeps its bytes. */
static void test_put_never_replaces(void **state)
{
	struct sftp_target to = target();
	struct sftp *sftp = connect_sftp(&to);
	_cleanup_(x_freep) char *path = x_asprintf("%s/once", sshd->drop);
	struct stat st;

	(void)state;
	assert_int_equal(put(sftp, "once", bytes_str("first")), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_int_not_equal(put(sftp, "once", bytes_str("second")), 0);
	assert_arrived("once", bytes_str("first"));
	assert_int_equal(put(sftp, "after", bytes_str("the session still works")), 0);
	sftp_close(sftp);
}

static void test_list(void **state)
{
	struct sftp_target to = target();
	struct sftp *sftp = connect_sftp(&to);
	struct sftp_entry *entries = NULL;
	size_t n = 0, found = 0;
	_cleanup_(x_freep) char *link = x_asprintf("%s/link", sshd->drop);

	(void)state;
	assert_int_equal(put(sftp, "listed", bytes_str("12345")), 0);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	assert_int_equal(sftp_list(sftp, &entries, &n, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		assert_string_not_equal(entries[i].name, "link");
		found += strcmp(entries[i].name, "listed") == 0 && entries[i].bytes == 5;
	}
	assert_int_equal(found, 1);
	free(entries);
	(void)unlink(link);
	sftp_close(sftp);
}

static void assert_open_fails(const struct sftp_target *to, int code)
{
	struct sftp *sftp = NULL;
	struct err e = {0};
	int rc = sftp_open(to, &sftp, &e);

	if (rc != code) {
		fail_msg("%s: %s, not %s", e.text, err_name(rc), err_name(code));
	}
	assert_null(sftp);
}

static void test_refuses_another_host_key(void **state)
{
	struct sftp_target to = target();
	_cleanup_(x_freep) char *other = x_strdup(sshd->host_key);
	char *digit = other + strlen("ssh-ed25519 ") + 40;

	(void)state;
	*digit = *digit == 'A' ? 'B' : 'A';
	to.host_key = other;
	assert_open_fails(&to, KLUIS_EPIN);
	to.host_key = "ssh-rsa AAAA";
	assert_open_fails(&to, KLUIS_EINVAL);
}

static void test_refused_by_the_server(void **state)
{
	struct sftp_target to = target();
	struct sftp *sftp;
	struct sftp_entry *entries = NULL;
	_cleanup_(x_freep) char *host = x_asprintf("%s/host_key", sshd->dir);
	size_t n = 0;

	(void)state;
	to.key_path = host; /* An Ed25519 key, but not one that may sign in. */
	assert_open_fails(&to, KLUIS_EUNAUTHENTICATED);
	to = target();
	to.user = "nobody-of-that-name";
	assert_open_fails(&to, KLUIS_EUNAUTHENTICATED);
	to = target();
	to.path = "/nowhere";
	sftp = connect_sftp(&to);
	assert_int_equal(sftp_list(sftp, &entries, &n, NULL), KLUIS_ENOTFOUND);
	sftp_close(sftp);
}

static int listener(unsigned *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void test_nobody_and_silence(void **state)
{
	struct sftp_target to = target();
	int fd = listener(&to.port);

	(void)state;
	assert_open_fails(&to, KLUIS_ECONNECT); /* Bound, not listening. */
	assert_int_equal(listen(fd, 1), 0);
	to.timeout_ms = 200;
	assert_open_fails(&to, KLUIS_ETIMEOUT); /* Connected, never answered. */
	(void)close(fd);
}

static void test_cancel(void **state)
{
	atomic_bool cancel = true;
	struct sftp_target to = target();
	struct sftp *sftp;

	(void)state;
	to.cancel = &cancel;
	sftp = connect_sftp(&to);
	assert_int_equal(put(sftp, "cancelled", bytes_str("x")), KLUIS_ECLOSED);
	sftp_close(sftp);
}

static void test_bandwidth(void **state)
{
	struct sftp_target to = target();
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint64_t from = clock_monotonic_ms(&clock_system), passed;
	struct sftp *sftp;

	(void)state;
	to.bytes_per_second = 1 << 20;
	sftp = connect_sftp(&to);
	pattern(400 * 1024, &bytes);
	assert_int_equal(put(sftp, "slowly", buf_bytes(&bytes)), 0);
	passed = clock_monotonic_ms(&clock_system) - from;
	assert_true(passed >= 350);
	assert_arrived("slowly", buf_bytes(&bytes));
	sftp_close(sftp);
}

static int start(void **state)
{
	(void)state;
	sshd = test_sshd_start(false);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	test_sshd_stop(sshd);
	return 0;
}

/* As ssh-keygen -l of OpenSSH 9.2 shows it. */
static void test_host_key_line(void **state)
{
	static const char line[] =
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKEqcNY9VF63iQ6IjsIYT77kogQsnXb4mcLlIFvLjzvt"
		" comment\n";
	static const char *const bad[] = {
		"", "ssh-ed25519", "ssh-ed25519 A", "ssh-rsa AAAA", "ssh-ed25519 AAAA*"};
	_cleanup_(buf_release) struct buf wire = BUF_INIT, long_line = BUF_INIT;
	char text[SSH_FINGERPRINT_BYTES];

	(void)state;
	assert_int_equal(ssh_host_key_parse(line, &wire), 0);
	assert_int_equal(wire.len, 51);
	ssh_host_key_fingerprint(buf_bytes(&wire), text);
	assert_string_equal(text, "SHA256:xafSRMTYZB1q6NurfPimbtmc/kJ5jayoKHx2cBWlpKY");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(ssh_host_key_parse(bad[i], &wire), KLUIS_EINVAL);
	}
	buf_put_str(&long_line, "ssh-ed25519 ");
	for (unsigned i = 0; i < 1000; i++) {
		buf_put_u8(&long_line, 'A');
	}
	assert_int_equal(ssh_host_key_parse(buf_str(&long_line), &wire), KLUIS_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_key_line),
		cmocka_unit_test(test_put_sizes),
		cmocka_unit_test(test_put_never_replaces),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_refuses_another_host_key),
		cmocka_unit_test(test_refused_by_the_server),
		cmocka_unit_test(test_nobody_and_silence),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_bandwidth),
	};

	return cmocka_run_group_tests(tests, start, stop);
}

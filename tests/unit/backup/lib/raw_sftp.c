#include "tests/unit/backup/lib/raw_sftp.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/test.h"

void raw_sftp_open(struct raw_sftp *raw, const struct test_sshd *sshd)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)sshd->port)};

	assert_int_equal(libssh2_init(0), 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	raw->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(raw->fd, (struct sockaddr *)&address, sizeof address), 0);
	raw->session = libssh2_session_init();
	libssh2_session_set_timeout(raw->session, 10000);
	assert_int_equal(libssh2_session_handshake(raw->session, raw->fd), 0);
	assert_int_equal(libssh2_userauth_publickey_fromfile(
				 raw->session, sshd->user, NULL, sshd->key_path, ""),
		0);
	raw->sftp = libssh2_sftp_init(raw->session);
	assert_non_null(raw->sftp);
}

void raw_sftp_close(struct raw_sftp *raw)
{
	(void)shutdown(raw->fd, SHUT_RDWR); /* Nothing below waits then. */
	(void)libssh2_sftp_shutdown(raw->sftp);
	(void)libssh2_session_free(raw->session);
	(void)close(raw->fd);
}

LIBSSH2_SFTP_HANDLE *raw_sftp_file(
	struct raw_sftp *raw, const char *path, unsigned long flags, long mode)
{
	return libssh2_sftp_open_ex(
		raw->sftp, path, (unsigned)strlen(path), flags, mode, LIBSSH2_SFTP_OPENFILE);
}

LIBSSH2_SFTP_HANDLE *raw_sftp_create(
	struct raw_sftp *raw, const char *path, long mode, struct bytes bytes)
{
	LIBSSH2_SFTP_HANDLE *file = raw_sftp_file(
		raw, path, LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_EXCL, mode);

	for (size_t at = 0; file != NULL && at < bytes.len;) {
		ssize_t n = libssh2_sftp_write(file, (const char *)bytes.data + at, bytes.len - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	return file;
}

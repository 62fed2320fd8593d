/* An SFTP session of a sender that does what it likes: libssh2 without backup/sftp.c. */
#ifndef KLUIS_TESTS_UNIT_BACKUP_LIB_RAW_SFTP_H
#define KLUIS_TESTS_UNIT_BACKUP_LIB_RAW_SFTP_H

#include <libssh2.h>
#include <libssh2_sftp.h>

#include "base/buf.h"
#include "tests/lib/sshd.h"

struct raw_sftp {
	int fd;
	LIBSSH2_SESSION *session;
	LIBSSH2_SFTP *sftp;
};

/* Signs in with the sender's key; fails the test when it cannot. */
void raw_sftp_open(struct raw_sftp *raw, const struct test_sshd *sshd);
void raw_sftp_close(struct raw_sftp *raw);
/* flags: LIBSSH2_FXF_*; NULL when refused. */
LIBSSH2_SFTP_HANDLE *raw_sftp_file(
	struct raw_sftp *raw, const char *path, unsigned long flags, long mode);
/* Makes a new file of these bytes and leaves it open; NULL when refused. */
LIBSSH2_SFTP_HANDLE *raw_sftp_create(
	struct raw_sftp *raw, const char *path, long mode, struct bytes bytes);

#endif

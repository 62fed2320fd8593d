/* One SSH session to a backup receiver: libssh2, blocking, with everything that can be pinned
 * pinned. One thread at a time; never a loop thread. */
#ifndef KLUIS_BACKUP_SFTP_H
#define KLUIS_BACKUP_SFTP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "backup/pace.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"

struct sftp;

struct sftp_target {
	const char *host;
	unsigned port;
	const char *user;
	const char *host_key; /* "ssh-ed25519 AAAA..." as in a .pub file: the only one accepted. */
	const char *key_path; /* Our private Ed25519 key, OpenSSH format, no passphrase. */
	const char *path;     /* Directory to add files to, as the server shows it. */
	uint64_t bytes_per_second; /* 0: no limit. */
	unsigned timeout_ms;	   /* One call that moves nothing; 0: SFTP_TIMEOUT_MS. */
	unsigned backoff_ms; /* ship_snapshot()'s before its second try; 0: SHIP_BACKOFF_MS. */
	struct pace *pace;   /* May be NULL: what this node's backups share. */
	const struct clock *clock;   /* NULL: clock_system. */
	const atomic_bool *cancel;   /* NULL, or: true ends the session with KLUIS_ECLOSED. */
	atomic_uint_fast64_t *moved; /* NULL, or: grows with all that is sent, and while a limit
				      * holds that up. */
};

/* Connects, checks the host key (KLUIS_EPIN: another one) and that the ciphers asked for are in
 * use, signs in, starts SFTP. KLUIS_ECONNECT, KLUIS_ETIMEOUT, KLUIS_EUNAUTHENTICATED, KLUIS_EPROTO.
 * The target's strings must outlive the session. */
KLUIS_MUST_CHECK int sftp_open(
	const struct sftp_target *target, struct sftp **ret_sftp, struct err *e);
void sftp_close(struct sftp *sftp); /* NULL is fine. */

struct sftp_entry {
	char name[256];
	uint64_t bytes;
};
/* Regular files in the target's directory, at most BACKUP_DROP_FILES_MAX (KLUIS_ETOOLARGE); the
 * caller frees *ret_entries. */
KLUIS_MUST_CHECK int sftp_list(
	struct sftp *sftp, struct sftp_entry **ret_entries, size_t *ret_n, struct err *e);
/* Creates `name` there (KLUIS_EEXIST, KLUIS_ENOSPACE, KLUIS_EFORBIDDEN) with all bytes of fd; sync:
 * durable. A sliding window of SFTP_WINDOW_BYTES is kept full. */
KLUIS_MUST_CHECK int sftp_put(
	struct sftp *sftp, const char *name, int fd, bool sync, struct err *e);
uint64_t sftp_bytes_sent(const struct sftp *sftp);

#endif

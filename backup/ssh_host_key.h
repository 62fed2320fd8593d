/* A receiver's SSH host key as settings pin it: one line "ssh-ed25519 AAAA... comment". */
#ifndef KLUIS_BACKUP_SSH_HOST_KEY_H
#define KLUIS_BACKUP_SSH_HOST_KEY_H

#include "base/buf.h"
#include "base/err.h"

enum {
	SSH_HOST_KEY_BYTES_MAX = 256,
	SSH_FINGERPRINT_BYTES = 51, /* "SHA256:", 43 characters, NUL. */
};

/* Appends the key as SSH sends it (RFC 8709 section 4). KLUIS_EINVAL: no such line. */
KLUIS_MUST_CHECK int ssh_host_key_parse(const char *line, struct buf *to);
/* As ssh-keygen -l shows it: SHA-256 of the wire form in base64 (RFC 4648 section 4), no padding.
 */
void ssh_host_key_fingerprint(struct bytes wire, char ret[SSH_FINGERPRINT_BYTES]);

#endif

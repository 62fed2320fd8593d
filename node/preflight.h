/* What can be said about a configuration before anything is started: files that are there, keys
 * that belong to their certificates, certificates that are this node's and valid, directories that
 * can be used. */
#ifndef KLUIS_NODE_PREFLIGHT_H
#define KLUIS_NODE_PREFLIGHT_H

#include "base/buf.h"
#include "node/config.h"
#include "node/expiry.h"
#include "node/identity.h"

/* All that does not need the data directory, nor the disk of the backups. e names file and reason.
 * ret_certificates (may be NULL): when the API's and the links' ends. Blocking. */
KLUIS_MUST_CHECK int preflight_config(const struct config *config, uint64_t wall_ms,
	struct expiry_certificate ret_certificates[EXPIRY_CERTIFICATES_MAX], struct err *e);
/* The directory of drops is there and can be used; 0 without a [backup]. A node that runs looks for
 * it itself (node/backup_open.c). Blocking. */
KLUIS_MUST_CHECK int preflight_drop(const struct config *config, struct err *e);
/* The data directory is this node's: its identity is read and compared; one made for development
 * listens on loopback only. Blocking. */
KLUIS_MUST_CHECK int preflight_identity(
	const struct config *config, struct node_identity *ret_identity, struct err *e);
/* The places that the process will use: addresses that are this machine's, a socket path that is
 * short enough, its directory there. Blocking. */
KLUIS_MUST_CHECK int preflight_places(const struct config *config, struct err *e);
/* The public half of the operator restore key as clients get it, an uncompressed point; nothing
 * when none is configured. Blocking. */
KLUIS_MUST_CHECK int preflight_restore_key(
	const struct config *config, struct buf *to, struct err *e);
/* The secret shared with the TURN servers, without the line's end; nothing when none is configured.
 * KLUIS_EINVAL: too short or too long, or servers without a secret. Blocking. */
KLUIS_MUST_CHECK int preflight_turn_secret(
	const struct config *config, struct buf *to, struct err *e);
/* Development clusters stay on this machine. */
KLUIS_MUST_CHECK int preflight_loopback(const struct config *config, struct err *e);

#endif

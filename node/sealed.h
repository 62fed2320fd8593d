/* What a node seals under the cluster's pepper before a command carries it: verifiers, unlock
 * shares, seeds of codes, push end points (docs/format-crypto.md, "Seal"). The context binds a
 * value to its user and its place. Any thread. */
#ifndef KLUIS_NODE_SEALED_H
#define KLUIS_NODE_SEALED_H

#include "crypto/seal.h"
#include "node/secrets.h"

/* Where a value stands: ctx = user_id | field | id. */
struct sealed_place {
	const uint8_t *user_id; /* ID_BYTES */
	const char *field;	/* "v", "unlock", "totp", "hotp", "push". */
	const uint8_t *id;	/* ID_BYTES, or NULL: of none. */
};

/* Appends the sealed value, SEAL_OVERHEAD_BYTES longer, under secrets->pepper. */
void sealed_make(const struct secrets *secrets, const struct sealed_place *place,
	struct bytes value, struct random *random, struct buf *to);
/* KLUIS_EINTERNAL when it was not sealed for this place, or under another pepper than this node
 * has. */
KLUIS_MUST_CHECK int sealed_open(const struct secrets *secrets, const struct sealed_place *place,
	unsigned pepper_id, struct bytes sealed, struct secret *ret_value, struct err *e);

#endif

/* The secrets of the cluster, equal at all nodes and in no database and no snapshot: the pepper
 * that seals verifiers at rest and the key of stable answers for unknown users. Made once, by the
 * first site; another node gets them only sealed to its own link key, by an operator, or out of the
 * offline copy, which is sealed to the backup key. A file of mode 0400 outside the data directory;
 * docs/format-node.md. */
#ifndef KLUIS_NODE_SECRETS_H
#define KLUIS_NODE_SECRETS_H

#include "backup/keys.h"
#include "base/err.h"
#include "base/random.h"
#include "crypto/secret.h"

enum { SECRETS_KEY_BYTES = 32, SECRETS_CLUSTER_BYTES = 16, SECRETS_SEALED_BYTES_MAX = 1024 };

struct secrets {
	uint8_t cluster_id[SECRETS_CLUSTER_BYTES];
	uint8_t pepper_id;	/* Which pepper new values are sealed under. */
	struct secret pepper;	/* SECRETS_KEY_BYTES */
	struct secret enum_key; /* SECRETS_KEY_BYTES */
};

void secrets_make(const uint8_t cluster_id[SECRETS_CLUSTER_BYTES], struct random *random,
	struct secrets *ret_secrets);
void secrets_release(struct secrets *secrets);
bool secrets_equal(const struct secrets *a, const struct secrets *b);

/* The file. Write: KLUIS_EEXIST when there is one: secrets are never replaced. Read:
 * KLUIS_EFORBIDDEN when others than the owner may read it, KLUIS_ECORRUPT, KLUIS_EVERSION,
 * KLUIS_EINVAL when it is of another cluster. Blocking. */
KLUIS_MUST_CHECK int secrets_write(const struct secrets *secrets, const char *path, struct err *e);
KLUIS_MUST_CHECK int secrets_read(const char *path, const uint8_t cluster_id[SECRETS_CLUSTER_BYTES],
	struct secrets *ret_secrets, struct err *e);

/* Appends the secrets sealed (HPKE) to the key in a node's link certificate (EC P-256), as
 * base64url text and LF. */
KLUIS_MUST_CHECK int secrets_seal(const struct secrets *secrets, struct bytes cert_pem,
	struct random *random, struct buf *ret_text, struct err *e);
/* The inverse, with that node's private key. KLUIS_EVERIFY when it was sealed to another key. */
KLUIS_MUST_CHECK int secrets_open(
	struct bytes text, struct bytes key_pem, struct secrets *ret_secrets, struct err *e);

/* Appends the offline copy: the secrets sealed (HPKE) to a public backup key (KEY_KEM_P256 or
 * KEY_KEM_X25519), as base64url text and LF. */
KLUIS_MUST_CHECK int secrets_seal_offline(const struct secrets *secrets, const struct key_pub *pub,
	struct random *random, struct buf *ret_text, struct err *e);
/* The inverse. KLUIS_EFORBIDDEN: the key that it is sealed to is not in the set; KLUIS_ECORRUPT:
 * damaged, cut, or something else; KLUIS_EVERSION. */
KLUIS_MUST_CHECK int secrets_open_offline(struct bytes text, const struct backup_key_set *keys,
	struct secrets *ret_secrets, struct err *e);

#endif

/* The files of backup keys, and the list of nodes whose signatures count (docs/format-backup.md
 * section 2). The keys themselves are crypto/key.h: KEY_KEM_P256 or KEY_KEM_X25519 for the offline
 * backup key, KEY_ED25519 for a node's. Blocking. */
#ifndef KLUIS_BACKUP_KEYS_H
#define KLUIS_BACKUP_KEYS_H

#include <stdbool.h>

#include "base/limits.h"
#include "crypto/key.h"
#include "crypto/sign.h"

enum { KEY_FILE_BYTES_MAX = 512, BACKUP_KEYS_MAX = 8 };

enum backup_key_use {
	BACKUP_KEY_SEAL, /* The offline pair that objects are sealed to. */
	BACKUP_KEY_NODE, /* The Ed25519 pair that signs manifests and receipts. */
};

/* Creates a one-line key file, never replacing one (KLUIS_EEXIST): mode 0400 for the private half,
 * 0444 for the public one. key's alg must fit the use (asserted). */
KLUIS_MUST_CHECK int backup_key_save(
	const struct key *key, enum backup_key_use use, const char *path, struct err *e);
KLUIS_MUST_CHECK int backup_key_save_public(
	const struct key_pub *pub, enum backup_key_use use, const char *path, struct err *e);
/* KLUIS_EFORBIDDEN: others may read a private file; KLUIS_ECORRUPT: another kind, a typing error,
 * no key. The caller frees the key. */
KLUIS_MUST_CHECK int backup_key_load(
	const char *path, enum backup_key_use use, struct key **ret_key, struct err *e);
KLUIS_MUST_CHECK int backup_key_load_public(
	const char *path, enum backup_key_use use, struct key_pub **ret_pub, struct err *e);
/* The line, without LF: for printing, and for what a person typed back. */
void backup_key_format(const struct key *key, enum backup_key_use use, struct buf *to);
KLUIS_MUST_CHECK int backup_key_parse(
	struct bytes line, enum backup_key_use use, struct key **ret_key, struct err *e);
void backup_key_format_public(const struct key_pub *pub, enum backup_key_use use, struct buf *to);
KLUIS_MUST_CHECK int backup_key_parse_public(
	struct bytes line, enum backup_key_use use, struct key_pub **ret_pub, struct err *e);

/* Private backup keys, of which each snapshot is opened by the one that it is sealed to: after a
 * rotation a chain is sealed to two. Zero it before use. */
struct backup_key_set {
	struct key *keys[BACKUP_KEYS_MAX];
	unsigned n;
};
void backup_key_set_release(struct backup_key_set *set); /* Frees the keys. */
/* One more, from its file; one that is there already is left out. As backup_key_load(), and
 * KLUIS_ETOOLARGE beyond BACKUP_KEYS_MAX. */
KLUIS_MUST_CHECK int backup_key_set_load(
	struct backup_key_set *set, const char *path, struct err *e);
/* The one with this kid; KLUIS_EFORBIDDEN says which is missing. It stays the set's. */
KLUIS_MUST_CHECK int backup_key_set_find(const struct backup_key_set *set,
	const uint8_t kid[KID_BYTES], const struct key **ret_key, struct err *e);

/* A key that a node signed with before: of a node that was replaced or removed, or one that it has
 * changed. */
struct backup_former {
	uint64_t node;
	uint8_t key[32];
};
struct backup_formers {
	struct backup_former rows[BACKUP_FORMER_MAX];
	size_t n;
};
/* One more, as settings write it: the number of the node, a blank, 64 hex digits. KLUIS_EINVAL,
 * KLUIS_ETOOLARGE beyond BACKUP_FORMER_MAX. */
KLUIS_MUST_CHECK int backup_formers_parse(struct backup_formers *formers, const char *text);

/* The nodes whose manifests and receipts count. Zero it before use; immutable once filled: any
 * number of threads may read it. */
struct backup_trust {
	struct backup_trusted {
		uint64_t node;
		char site[NODE_NAME_BYTES_MAX + 1];
		struct key_pub *pub; /* KEY_ED25519; one reference is the list's. */
	} nodes[SITES_MAX];
	unsigned n;
	/* They open what a repository holds, and let nothing into it. */
	struct backup_trusted_former {
		uint64_t node;
		struct key_pub *pub;
	} former[BACKUP_FORMER_MAX];
	unsigned n_former;
};
void backup_trust_release(struct backup_trust *trust);

/* Adds a row, with a reference of its own to pub. KLUIS_EEXIST for a node, site or key that is
 * there, KLUIS_EINVAL for a bad name or alg, KLUIS_ETOOLARGE beyond SITES_MAX. */
KLUIS_MUST_CHECK int backup_trust_add(struct backup_trust *trust, uint64_t node, const char *site,
	struct key_pub *pub, struct err *e);
/* After all nodes. KLUIS_EEXIST for a key that this node has now, or that stands there as its
 * former one, KLUIS_EINVAL for what is no key. */
KLUIS_MUST_CHECK int backup_trust_add_formers(
	struct backup_trust *trust, const struct backup_formers *formers, struct err *e);
/* NULL: not trusted. */
const struct backup_trusted *backup_trust_node(const struct backup_trust *trust, uint64_t node);
/* Whether any key of this node is there, of now or of before. */
bool backup_trust_knows(const struct backup_trust *trust, uint64_t node);

/* By which of this node's keys a signature is. */
enum backup_signed { SIGNED_BY_NONE, SIGNED_BY_FORMER, SIGNED_BY_NODE };
enum backup_signed backup_trust_check(const struct backup_trust *trust, uint64_t node,
	struct bytes message, struct bytes signature);

#endif

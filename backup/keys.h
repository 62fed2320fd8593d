/* The keys of backups and their files: the offline backup key pair, a node's signing key, and the
 * list of nodes whose signatures count (docs/format-backup.md section 2). */
#ifndef KLUIS_BACKUP_KEYS_H
#define KLUIS_BACKUP_KEYS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

enum {
	BACKUP_KEM_P256 = 0x0010,
	BACKUP_KEM_X25519 = 0x0020,
	BACKUP_ALG_ED25519 = 0x00ed,
	BACKUP_PUBLIC_BYTES_MAX = 65,
	BACKUP_SECRET_BYTES = 32,
	BACKUP_SIGNATURE_BYTES = 64,
	BACKUP_KEY_FILE_BYTES_MAX = 256,
	BACKUP_TRUST_FILE_BYTES_MAX = 64 * 1024,
};

/* What objects are sealed to. */
struct backup_public {
	uint16_t kem;
	uint8_t kid[16];
	uint8_t bytes[BACKUP_PUBLIC_BYTES_MAX];
	size_t len;
};

/* The offline half. Locked memory, cleared by backup_private_free(). */
struct backup_private;

/* A node's Ed25519 key, as backup_private. */
struct backup_signer;

/* New pairs from the system's randomness. kem: KLUIS_EINVAL unless one of the two above. */
KLUIS_MUST_CHECK int backup_private_new(
	uint16_t kem, struct backup_private **ret_key, struct err *e);
KLUIS_MUST_CHECK int backup_signer_new(struct backup_signer **ret_key, struct err *e);
void backup_private_free(struct backup_private *key); /* NULL is fine. */
void backup_signer_free(struct backup_signer *key);   /* NULL is fine. */

/* From raw bytes of 32; a scalar out of range is KLUIS_EINVAL. */
KLUIS_MUST_CHECK int backup_private_from(
	uint16_t kem, struct bytes secret, struct backup_private **ret_key, struct err *e);
KLUIS_MUST_CHECK int backup_signer_from(
	struct bytes seed, struct backup_signer **ret_key, struct err *e);
KLUIS_MUST_CHECK int backup_public_from(
	uint16_t kem, struct bytes public, struct backup_public *ret_key, struct err *e);

const struct backup_public *backup_private_public(const struct backup_private *key);
/* The 32 bytes of the public half; the key's. */
const uint8_t *backup_signer_public(const struct backup_signer *key);

/* One-line key files. A private one is created with mode 0400 and never replaced (KLUIS_EEXIST);
 * loading refuses one that others may read (KLUIS_EFORBIDDEN), a wrong kind or a failed check
 * (KLUIS_ECORRUPT). Blocking. */
KLUIS_MUST_CHECK int backup_private_save(
	const struct backup_private *key, const char *path, struct err *e);
KLUIS_MUST_CHECK int backup_private_load(
	const char *path, struct backup_private **ret_key, struct err *e);
KLUIS_MUST_CHECK int backup_public_save(
	const struct backup_public *key, const char *path, struct err *e);
KLUIS_MUST_CHECK int backup_public_load(
	const char *path, struct backup_public *ret_key, struct err *e);
KLUIS_MUST_CHECK int backup_signer_save(
	const struct backup_signer *key, const char *path, struct err *e);
KLUIS_MUST_CHECK int backup_signer_load(
	const char *path, struct backup_signer **ret_key, struct err *e);
/* The 32 bytes of a node-public file, which backup_signer_save_public() writes. */
KLUIS_MUST_CHECK int backup_signer_save_public(
	const struct backup_signer *key, const char *path, struct err *e);
KLUIS_MUST_CHECK int backup_signer_load_public(
	const char *path, uint8_t ret_public[32], struct err *e);

/* Ed25519 over the 32 bytes of a TH (RFC 8032, no prehash). */
KLUIS_MUST_CHECK int backup_sign(const struct backup_signer *key, const uint8_t th[32],
	uint8_t ret_signature[BACKUP_SIGNATURE_BYTES], struct err *e);
/* KLUIS_EVERIFY unless it is public's signature. */
KLUIS_MUST_CHECK int backup_sign_check(
	const uint8_t public[32], const uint8_t th[32], const uint8_t signature[64]);

/* The nodes whose manifests and receipts count. */
struct backup_trust {
	struct backup_trusted {
		uint64_t node;
		char site[NODE_NAME_BYTES_MAX + 1];
		uint8_t public[32];
	} nodes[SITES_MAX];
	unsigned n;
};

/* Adds a row; KLUIS_EEXIST for a node, site or key that is there, KLUIS_EINVAL for a bad name,
 * KLUIS_ETOOLARGE beyond SITES_MAX. */
KLUIS_MUST_CHECK int backup_trust_add(struct backup_trust *trust, uint64_t node, const char *site,
	const uint8_t public[32], struct err *e);
/* NULL: not trusted. */
const struct backup_trusted *backup_trust_node(const struct backup_trust *trust, uint64_t node);
/* A trust file's text; e names the line. */
KLUIS_MUST_CHECK int backup_trust_parse(
	struct bytes text, struct backup_trust *ret_trust, struct err *e);
KLUIS_MUST_CHECK int backup_trust_load(
	const char *path, struct backup_trust *ret_trust, struct err *e);
void backup_trust_format(const struct backup_trust *trust, struct buf *to);

#endif

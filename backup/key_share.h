/* The private backup key in shares for several keepers (docs/format-backup.md section 2): SLIP-0039
 * shares of its 32 bytes, below a line that says of which key they are. Any thread. */
#ifndef KLUIS_BACKUP_KEY_SHARE_H
#define KLUIS_BACKUP_KEY_SHARE_H

#include "crypto/hash.h"
#include "crypto/key.h"
#include "crypto/slip39.h"

enum { KEY_SHARE_BYTES_MAX = 4096 };

/* Secret: clear it by key_share_clear(). */
struct key_share {
	bool labelled;	/* The line was there; else only `share` is set. */
	unsigned alg;	/* Of the key: KEY_KEM_P256 or KEY_KEM_X25519. */
	unsigned count; /* How many were made. */
	uint8_t kid[KID_BYTES];
	struct slip39_share share;
};
void key_share_clear(struct key_share *share);

/* The file's text, to be printed or written down: the line and the words; appends. `to` is secret
 * then. The share must be labelled (asserted). */
void key_share_format(const struct key_share *share, struct buf *to);
/* A share's file, or its words alone, as somebody typed them back from paper. KLUIS_ECORRUPT,
 * KLUIS_EVERSION, KLUIS_ETOOLARGE. */
KLUIS_MUST_CHECK int key_share_parse(struct bytes text, struct key_share *ret_share, struct err *e);

/* count shares of a backup key, any `needed` of which make it again; 2 <= needed <= count <=
 * SLIP39_SHARES_MAX (asserted). */
KLUIS_MUST_CHECK int key_share_split(const struct key *key, unsigned needed, unsigned count,
	struct random *random, struct key_share ret_shares[SLIP39_SHARES_MAX], struct err *e);
/* The key of n >= 1 shares in any order. expected: the public key it must be, or NULL; without it
 * and without labels it is taken for a KEY_KEM_P256. *ret_bad is the place of the share that e is
 * about, n when it is about none alone. KLUIS_ECONFLICT: of another split or key, or there twice;
 * KLUIS_EINVAL: too few; KLUIS_EVERIFY: they make another key than their labels, or `expected`,
 * say.
 */
KLUIS_MUST_CHECK int key_share_combine(const struct key_share *shares, size_t n,
	const struct key_pub *expected, struct key **ret_key, size_t *ret_bad, struct err *e);

#endif

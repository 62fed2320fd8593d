/* The tree over a vault's pages: RFC 9162 section 2.1 over ready leaf hashes. Holds all leaves (the
 * client's leaf table) and every fourth level above them, so that one changed leaf costs about
 * 4 log2(n) hashes and n leaves about 34 n bytes: 10 million in 326 MiB. One thread at a time. */
#ifndef KLUIS_CRYPTO_MERKLE_H
#define KLUIS_CRYPTO_MERKLE_H

#include "base/buf.h"
#include "crypto/hash.h"

enum { MERKLE_LEAVES_MAX = 1 << 28 };

struct merkle;

struct merkle *merkle_new(void);
void merkle_free(struct merkle *tree); /* NULL is fine. */
void merkle_freep(struct merkle **tree);
/* Replaces all leaves by count ready hashes, one after the other in `leaves` (count * HASH_BYTES;
 * asserted). */
void merkle_load(struct merkle *tree, struct bytes leaves);
uint64_t merkle_count(const struct merkle *tree);
/* index <= count (asserted; checked by the caller when a peer named it): equal appends. */
void merkle_set(struct merkle *tree, uint64_t index, const uint8_t leaf[HASH_BYTES]);
/* Cuts to `count` leaves, fewer than now: an uncommitted append taken back. */
void merkle_truncate(struct merkle *tree, uint64_t count);
/* Lives until the next change of tree. */
const uint8_t *merkle_leaf(const struct merkle *tree, uint64_t index);
/* The empty tree's root is SHA-256(""). Work is done here for what changed since the last call. */
void merkle_root(struct merkle *tree, uint8_t ret_root[HASH_BYTES]);

#endif

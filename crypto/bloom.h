/* The Bloom filter of common passwords that ships with clients (docs/format-crypto.md, "Common
 * passwords"): a hit refuses a password, a miss proves that it is not in the list. */
#ifndef KLUIS_CRYPTO_BLOOM_H
#define KLUIS_CRYPTO_BLOOM_H

#include <stdbool.h>

#include "base/err.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

enum {
	BLOOM_HASHES = 13,
	BLOOM_BITS = 262144,
	BLOOM_HEADER_BYTES = 48,
	BLOOM_BYTES = BLOOM_HEADER_BYTES + BLOOM_BITS / 8,
	BLOOM_QUESTIONS = 3,
};

/* A checked filter. Immutable: any number of threads may ask one. */
struct bloom {
	uint32_t words;		       /* Different words that went in. */
	uint8_t list_hash[HASH_BYTES]; /* SHA-256 of each word and LF, by rank. */
	const uint8_t *bits;	       /* BLOOM_BITS / 8 bytes of the file. */
};

/* The file must outlive *ret_bloom. KLUIS_EVERSION; KLUIS_EINVAL when it is not exactly of the
 * format with k = 13 and m = 262144. */
KLUIS_MUST_CHECK int bloom_parse(struct bytes file, struct bloom *ret_bloom, struct err *e);
/* The one embedded in this library: the 10,000 of crypto/data. */
const struct bloom *bloom_common(void);
/* The bits that stand for `text` (UTF-8; NFC and A-Z to a-z are applied here, and nowhere else).
 * What is no UTF-8 has the bits of its bytes as they are. */
void bloom_indexes(struct bytes text, uint32_t ret_indexes[BLOOM_HASHES]);
bool bloom_has(const struct bloom *bloom, struct bytes text);

/* What is asked about a password: itself; it without what stands before its first and after its
 * last letter (A-Z, a-z, anything outside ASCII); that with 0 1 3 4 5 7 @ $ read as o l e a s t a
 * s. An empty one is left empty: it is not asked. prepared: UTF-8. */
void bloom_questions(struct bytes prepared, struct secret ret_questions[BLOOM_QUESTIONS]);
/* Whether any of the three is in the filter. */
bool bloom_refuses(const struct bloom *bloom, struct bytes prepared);

#endif

/* Inbox documents (docs/format-crypto.md, "Inbox document"): what anybody who knows an owner's
 * public key can drop, and only the owner can open. Who sealed one is not authenticated. */
#ifndef KLUIS_CRYPTO_INBOX_H
#define KLUIS_CRYPTO_INBOX_H

#include "crypto/hpke.h"

enum {
	INBOX_HEADER_BYTES = 86,
	INBOX_ANONYMOUS = 0, /* Classes of senders: what the document says of itself. */
	INBOX_PROVIDER = 1,
	INBOX_USER = 2,
	INBOX_TEXT = 1,	    /* Content types: UTF-8 text. */
	INBOX_MIME = 0x70,  /* OpenPGP/MIME bytes, as they came. */
	INBOX_SHARE = 0x71, /* A share note: crypto/share_note.h. */
	/* Of the content, in a document of INBOX_DOCUMENT_BYTES_MAX with the longest key. */
	INBOX_CONTENT_BYTES_MAX =
		512 * 1024 - INBOX_HEADER_BYTES - 2 - HPKE_ENC_BYTES_MAX - 4 - AEAD_TAG_BYTES,
};

struct inbox_document {
	uint8_t sender_class;
	uint16_t kem;  /* Set by inbox_seal() from the owner's key, as is kid. */
	uint16_t aead; /* AEAD_AES_256_GCM by default. */
	uint8_t inbox_id[ID_BYTES], owner_id[ID_BYTES], kid[KID_BYTES], doc_id[ID_BYTES];
	uint64_t unix_ms;
	uint16_t content_type;
	/* Only in what inbox_parse() gives; they point into the bytes parsed: */
	struct bytes header, enc, ciphertext;
};

/* The keyless view: exact length, at most INBOX_DOCUMENT_BYTES_MAX, every field in range, an enc
 * as long as its kem's are. KLUIS_EVERSION, KLUIS_ESUITE, KLUIS_ETOOLARGE, else KLUIS_EINVAL;
 * *ret_document is untouched on failure. No allocation, any thread. */
KLUIS_MUST_CHECK int inbox_parse(
	struct bytes encoded, struct inbox_document *ret_document, struct err *e);
/* Opens a parsed document with the owner's transfer key: KLUIS_EVERIFY when it is for another
 * inbox, owner or key, or does not open. */
KLUIS_MUST_CHECK int inbox_open(const struct inbox_document *document,
	const uint8_t inbox_id[ID_BYTES], const uint8_t owner_id[ID_BYTES], const struct key *owner,
	struct secret *ret_content, struct err *e);
/* inbox_open() in two steps, for an owner's key that lies elsewhere (in an agent). Appends the
 * document without its content, of INBOX_STUB_BYTES_MAX at most: it parses, and has the same key.
 */
enum {
	INBOX_STUB_BYTES_MAX = INBOX_HEADER_BYTES + 2 + HPKE_ENC_BYTES_MAX + 4 + AEAD_TAG_BYTES,
	INBOX_KEY_BYTES_MAX = 32 + AEAD_NONCE_BYTES,
};
void inbox_stub(const struct inbox_document *document, struct buf *ret_encoded);
/* The key of one document: errors of inbox_open(). */
KLUIS_MUST_CHECK int inbox_open_key(const struct inbox_document *document,
	const uint8_t inbox_id[ID_BYTES], const uint8_t owner_id[ID_BYTES], const struct key *owner,
	struct secret *ret_key, struct err *e);
/* KLUIS_EVERIFY: not with that key. */
KLUIS_MUST_CHECK int inbox_open_with(const struct inbox_document *document, struct bytes key,
	struct secret *ret_content, struct err *e);
/* Appends the document of this content; fields that are not derived come from `fields`. owner: an
 * EC transfer key. KLUIS_ESUITE, KLUIS_EINVAL (class), KLUIS_ETOOLARGE; on failure ret_encoded is
 * as long as before. */
KLUIS_MUST_CHECK int inbox_seal(const struct inbox_document *fields, const struct key_pub *owner,
	struct bytes content, struct random *random, struct buf *ret_encoded, struct err *e);

#endif

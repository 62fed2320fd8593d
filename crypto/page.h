/* Vault pages (docs/format-crypto.md, "Page"): header 112 | ciphertext | tag 32. */
#ifndef KLUIS_CRYPTO_PAGE_H
#define KLUIS_CRYPTO_PAGE_H

#include "base/err.h"
#include "crypto/hash.h"
#include "crypto/seal.h"
#include "crypto/secret.h"

enum {
	PAGE_HEADER_BYTES = 112,
	PAGE_TAG_BYTES = HMAC_BYTES,
	PAGE_TOMBSTONE_BYTES = PAGE_HEADER_BYTES + PAGE_TAG_BYTES,
	PAGE_BUCKET_MIN = 12, /* log2 of the plaintext's length. */
	PAGE_BUCKET_MAX = 18,
	PAGE_CONTENT_BYTES_MAX = (1 << PAGE_BUCKET_MAX) - 4, /* Without zlib: a file chunk. */
	PAGE_INFLATED_BYTES_MAX = 4 << 20,
	PAGE_KEY_BYTES = 32, /* VK: per vault and epoch. */
	PAGE_ZLIB = 1,	     /* Flags. */
	PAGE_TOMBSTONE = 2,
	PAGE_ITEMS = 0, /* Kinds. */
	PAGE_CHUNK = 1,
	PAGE_GIFT_BYTES_MAX = 16 + SYM_OKM_BYTES_MAX,
};

/* What must stay the same between writer and reader, or the page is another one. */
struct page_place {
	uint8_t vault_id[ID_BYTES];
	uint64_t page_no;   /* Dense from 0. */
	uint64_t revision;  /* From 1. */
	uint32_t key_epoch; /* From 1. */
};

struct page_header {
	struct page_place place;
	uint8_t sym, flags, bucket, kind;
	uint32_t ct_bytes;
	uint8_t device_id[ID_BYTES]; /* The writer's. */
	uint8_t salt[SEAL_SALT_BYTES];
};

/* What a writer chooses. */
struct page_spec {
	struct page_place place;
	uint8_t device_id[ID_BYTES];
	uint8_t sym;   /* SYM_AES_256 unless the deployment says otherwise. */
	uint8_t flags; /* 0, PAGE_ZLIB or PAGE_TOMBSTONE. */
	uint8_t kind;
};

/* The keyless view, for the node: checks every field and that the length is exactly what they say.
 * KLUIS_EVERSION, KLUIS_ESUITE, else KLUIS_EINVAL; *ret_header is untouched on failure. No
 * allocation, any thread. */
KLUIS_MUST_CHECK int page_parse(struct bytes page, struct page_header *ret_header, struct err *e);
/* Leaf of the vault's tree for a written page: SHA-256(0x00 | "kluis/v1/leaf" | vault_id | page_no
 * | revision | epoch | page_hash), page_hash = SHA-256 of all the page's bytes. */
void page_leaf(const struct page_place *place, const uint8_t page_hash[HASH_BYTES],
	uint8_t ret_leaf[HASH_BYTES]);
/* Leaf of a page number that was never written. */
void page_leaf_unwritten(
	const uint8_t vault_id[ID_BYTES], uint64_t page_no, uint8_t ret_leaf[HASH_BYTES]);

/* Appends one whole page to ret_page under a fresh random salt. vk: PAGE_KEY_BYTES. content:
 * encoded items or a chunk, empty for a tombstone; with PAGE_ZLIB it is deflated here (at most
 * PAGE_INFLATED_BYTES_MAX). content does not lie in ret_page. The smallest bucket is taken.
 * KLUIS_ETOOLARGE when the payload does not fit; KLUIS_EINVAL when items are malformed or the spec
 * is none a reader would take. The plaintext is written once, into ret_page, and encrypted there:
 * reserve PAGE_BYTES_MAX to avoid growth. Any thread; blocks for the time of the work (256 KiB:
 * well under a millisecond without zlib). */
KLUIS_MUST_CHECK int page_seal(struct bytes vk, const struct page_spec *spec, struct bytes content,
	struct random *random, struct buf *ret_page, struct err *e);
/* As page_seal() with PAGE_ZLIB, but `stream` is the finished zlib stream of the content
 * (unchecked: known-answer tests, and writers that compressed elsewhere). */
KLUIS_MUST_CHECK int page_seal_deflated(struct bytes vk, const struct page_spec *spec,
	struct bytes stream, struct random *random, struct buf *ret_page, struct err *e);

/* Checks the header against `place` and the tag under vk before it decrypts, then used, padding,
 * zlib end and size, items; appends the content to ret_content (a tombstone's is empty).
 * KLUIS_EVERIFY for whatever is wrong with the page; KLUIS_EVERSION and KLUIS_ESUITE as in
 * page_parse(). On failure ret_content is as long as before. Chunks are decrypted straight into
 * ret_content. Any thread. */
KLUIS_MUST_CHECK int page_open(struct bytes vk, struct bytes page, const struct page_place *place,
	struct buf *ret_content, struct err *e);

/* The key of this revision of this page alone, as a KeyPacket of purpose 2 carries it: u64 page_no
 * | u64 revision | the page's own keys. The page is one that opens with vk, and no tombstone:
 * KLUIS_EINVAL. */
KLUIS_MUST_CHECK int page_gift(
	struct bytes vk, struct bytes page, struct secret *ret_gift, struct err *e);
/* page_open() with what page_gift() gave; of another page or revision: KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int page_open_gift(struct bytes gift, struct bytes page,
	const struct page_place *place, struct buf *ret_content, struct err *e);

/* One item of a page of kind PAGE_ITEMS. Types: 1 note, 2 login, 3 file, 4 folder, 16..
 * application; the body is a JSON object (not looked at here). */
struct page_item {
	uint8_t item_id[ID_BYTES];
	uint64_t item_rev;
	uint16_t type;
	struct bytes body;
};
void page_item_append(struct buf *content, const struct page_item *item);
/* Takes the next item off *content; ret_item->body points into it. 0, or KLUIS_EINVAL when it does
 * not end inside content. Loop while content->len > 0. */
KLUIS_MUST_CHECK int page_item_next(struct bytes *content, struct page_item *ret_item);

#endif

/* Share notes (docs/format-crypto.md, "Share note"): what somebody who is given a single file or
 * page of a vault has to know beside its keys, signed by who gives it. */
#ifndef KLUIS_CRYPTO_SHARE_NOTE_H
#define KLUIS_CRYPTO_SHARE_NOTE_H

#include "crypto/sign.h"

enum {
	SHARE_NOTE_FILE = 1, /* The pages are a file's chunks, in order. */
	SHARE_NOTE_ITEM = 2, /* One page of items. */
	SHARE_NOTE_PAGES_MAX = 1024,
	SHARE_NOTE_PAGE_BYTES = 8 + 8 + 4 + HASH_BYTES + ID_BYTES,
	SHARE_NOTE_BODY_BYTES_MAX = 4096,
	SHARE_NOTE_BYTES_MAX = 128 * 1024,
};

struct share_note_page {
	uint64_t page_no, revision;
	uint32_t epoch;
	uint8_t page_hash[HASH_BYTES]; /* SHA-256 of all its bytes. */
	uint8_t packet_id[ID_BYTES];   /* Of the KeyPacket with its key. */
};
struct share_note {
	uint8_t kind;
	uint8_t share_id[ID_BYTES], sender_user[ID_BYTES], rcpt_user[ID_BYTES], vault_id[ID_BYTES];
	uint64_t unix_ms, expires_ms;
	struct bytes body; /* A JSON object; not looked at here. */
	/* Only in what share_note_parse() gives: */
	uint8_t sender_kid[KID_BYTES];
	struct bytes pages; /* A run: share_note_page_next(). */
	size_t n_pages;
	struct bytes signature;
	uint8_t message[HASH_BYTES];
};

/* The keyless view: exact length, every field in range, at most SHARE_NOTE_PAGES_MAX pages (of kind
 * SHARE_NOTE_ITEM one). KLUIS_EVERSION, KLUIS_ESUITE, else
 * KLUIS_EINVAL; *ret_note is untouched on failure and points into `encoded`. */
KLUIS_MUST_CHECK int share_note_parse(
	struct bytes encoded, struct share_note *ret_note, struct err *e);
/* Takes the next page off a parsed run; false at its end. */
bool share_note_page_next(struct bytes *pages, struct share_note_page *ret_page);
/* The signature by the sender's user key, and that sender_kid names it: KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int share_note_verify(
	const struct share_note *note, const struct key_pub *sender, struct err *e);
/* Appends the note of these pages, signed by the sender's user key. KLUIS_ETOOLARGE, KLUIS_EINVAL:
 * nobody would parse it. */
KLUIS_MUST_CHECK int share_note_make(const struct share_note *fields,
	const struct share_note_page *pages, size_t n, const struct key *sender,
	struct buf *ret_note, struct err *e);

#endif

/* The chain of one device in one epoch of a conversation (docs/format-crypto.md, "Chat"), as its
 * sender and as its receivers keep it: every key is used once, and gone once it was used. What a
 * state can still open is what was not opened yet; that holds for its encoding, too. */
#ifndef KLUIS_CRYPTO_RATCHET_H
#define KLUIS_CRYPTO_RATCHET_H

#include "crypto/chat.h"

enum {
	RATCHET_SKIPPED_MAX = 2000, /* Keys of messages that were passed over. */
	RATCHET_SKIPPED_BYTES = 4 + CHAT_KEY_BYTES,
	RATCHET_FIXED_BYTES = 8 + 52 + 4 + HASH_BYTES + CHAT_KEY_BYTES + 2,
	RATCHET_BYTES_MAX = RATCHET_FIXED_BYTES + RATCHET_SKIPPED_MAX * RATCHET_SKIPPED_BYTES,
};

/* Zero it, or let ratchet_init() or ratchet_decode() write it, before use. One thread at a time. */
struct ratchet {
	struct chat_place place;
	bool sends;
	bool link_known;	  /* Always, of a sender. */
	uint32_t next;		  /* Index that chain is the key of. */
	uint8_t link[HASH_BYTES]; /* Of message next - 1, or of the last one of the epoch before. */
	struct secret chain;	  /* CK of next. */
	struct secret skipped;	  /* u32 index | key32 each, ascending; all below next. */
};

/* At the chain's beginning; epoch_secret (CHAT_KEY_BYTES) is the caller's to release once every
 * device's chain is there. before: link of that device's last message in this conversation, of an
 * earlier epoch; zeros: it sent none; NULL: not known (never of a sender: asserted). */
void ratchet_init(struct ratchet *r, bool sends, const struct chat_place *place,
	struct bytes epoch_secret, const uint8_t before[HASH_BYTES]);
void ratchet_release(struct ratchet *r); /* For _cleanup_. */

/* Appends the next message: spec without place, index and prev_own, which are the state's. The new
 * state has to be stored before the message leaves, and the message with it: what is sent again
 * are the same bytes, never another message under the same key. Errors of chat_seal(), with the
 * state as it was; KLUIS_EQUOTA at the end of the index. */
KLUIS_MUST_CHECK int ratchet_seal(struct ratchet *r, const struct chat_spec *spec,
	const struct key *device, struct buf *ret_message, struct err *e);

struct ratchet_opened {
	unsigned type;
	struct secret payload; /* The caller releases it. */
	/* That of this message alone, for who archives it; the caller clears it. */
	uint8_t key[CHAT_KEY_BYTES];
	/* The message before this one in its chain is here, and this one names another: its sender
	 * signed two histories. The message is authentic all the same. */
	bool forked;
};
/* Opens a parsed message of this chain, in any order, each once. KLUIS_EVERIFY, and the state as it
 * was: another chain's message; a signature that is not device's; an index opened before
 * ("replayed"); one that would leave more than RATCHET_SKIPPED_MAX keys behind; a message that does
 * not open. *ret_opened is written over, not released, and untouched on failure. The new state has
 * to be stored before the payload is shown as read, or it opens twice. */
KLUIS_MUST_CHECK int ratchet_open(struct ratchet *r, const struct chat_message *message,
	const struct key_pub *device, struct ratchet_opened *ret_opened, struct err *e);
size_t ratchet_skipped(const struct ratchet *r);

/* The whole state, for who seals it into its profile. */
void ratchet_encode(const struct ratchet *r, struct secret *ret_encoded);
/* KLUIS_EVERSION, KLUIS_EINVAL; *ret_ratchet is written over, not released, and untouched on
 * failure. */
KLUIS_MUST_CHECK int ratchet_decode(
	struct bytes encoded, struct ratchet *ret_ratchet, struct err *e);

#endif

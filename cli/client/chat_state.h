/* What one device keeps of one conversation: the chain keys of its epochs, what it was shown so far
 * and by whom, the message that is on its way (docs/format-profile.md). It is what makes a message
 * open once, an index be used once, and a message that was dropped, moved or shown to others alone
 * be seen. Pure: no I/O, no time of its own. One thread. */
#ifndef KLUIS_CLI_CLIENT_CHAT_STATE_H
#define KLUIS_CLI_CLIENT_CHAT_STATE_H

#include "crypto/ratchet.h"

enum {
	CHAT_TITLE_BYTES_MAX = 255,
	CHAT_EPOCHS_MAX = 64,	/* Held at once, closed ones included. */
	CHAT_CHAINS_MAX = 2048, /* Of all epochs together. */
	CHAT_WRITERS_MAX = 2048,
	CHAT_LOG_MAX = 2048,   /* Newest messages whose links are kept. */
	CHAT_TAKEN_MAX = 1024, /* Own ones that were not read back yet. */
	CHAT_LATE_KEYS_MAX = 4000,
	CHAT_EPOCH_MESSAGES_MAX = 1000, /* Then a new one. */
	CHAT_STATE_BYTES_MAX = 900 * 1024,
};
#define CHAT_EPOCH_MS	(7 * 24 * 3600 * 1000ULL)
#define CHAT_TRANSIT_MS (30 * 24 * 3600 * 1000ULL) /* The node keeps a message for so long. */

/* A device that may write in an epoch. */
struct chat_writer {
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
};

/* What is known of a device over all epochs. */
struct chat_device {
	struct chat_writer who;
	bool link_known; /* link is that of its last message; zero: it wrote none. */
	uint8_t link[HASH_BYTES];
	uint64_t seen_seq; /* It has seen the message with this seq; 0: not known. */
};

struct chat_epoch {
	uint32_t epoch;
	uint8_t members_hash[HASH_BYTES];
	uint64_t made_ms;
	uint64_t closed_ms; /* A later one was written in: only late messages come. 0: not yet. */
	bool spent;	    /* Nothing more is sent in it from here. */
	bool has_sender;
	struct ratchet sender;
	struct ratchet *chains; /* Of every device that may write, this one included. */
	size_t n_chains;
};

struct chat_shown {
	uint64_t seq;
	uint8_t user_id[ID_BYTES];
	uint8_t link[HASH_BYTES];
	bool archived; /* From the history: the number is a member's word, not the cluster's. */
};

/* An own message that the cluster took. */
struct chat_taken {
	uint64_t seq; /* By its word. */
	uint32_t epoch, index;
	uint8_t link[HASH_BYTES];
};

/* Read the fields; title, archive, vault_id and the two receipts may be set, all else is changed by
 * the functions below. */
struct chat_state {
	uint8_t conv_id[ID_BYTES];
	struct chat_writer own;
	char title[CHAT_TITLE_BYTES_MAX + 1];
	bool archive;		    /* What is read goes into the history. */
	uint8_t vault_id[ID_BYTES]; /* Which lies there; zero: none was made yet. */
	uint64_t delivered, read;   /* The receipts that were given. */
	/* Messages from view_from to last_seq were shown without a gap; 0: none. */
	uint64_t view_from, last_seq, last_ms;
	uint32_t closed;      /* Epochs up to this one are not entered any more. */
	uint64_t members_rev; /* Of the newest epoch entered. */
	/* Not stored, for who knows the members to set before something is received: this user was
	 * out and came back, and this is the first epoch since then that is here; UINT32_MAX: none
	 * is yet; 0: never was out. What was said meanwhile was not for this device. */
	uint32_t back;
	/* Not stored: what was said before this device's first epoch comes from a history, which
	 * may have gaps that nobody made. */
	bool history;
	/* Not stored: what is received now is the history's copy. */
	bool from_history;
	uint8_t own_link[HASH_BYTES]; /* Of this device's last message that was taken. */
	uint8_t lineage[ID_BYTES];    /* Of the cluster that gave the numbers; zero: not known. */
	struct buf pending;	      /* Sealed, and not known to be taken. */
	bool has_draft;		      /* Sealed once, refused, and to be sealed again: */
	unsigned draft_type;
	struct secret draft;
	struct chat_epoch epochs[CHAT_EPOCHS_MAX]; /* Ascending. */
	size_t n_epochs;
	struct chat_device *devices;
	size_t n_devices;
	struct chat_shown *log; /* Ascending by seq. */
	size_t n_log;
	/* Own messages above last_seq; ascending. Once all others have one it may be gone before it
	 * is read back. */
	struct chat_taken *taken;
	size_t n_taken;
};
void chat_state_init(struct chat_state *s, const uint8_t conv_id[ID_BYTES],
	const uint8_t user_id[ID_BYTES], const uint8_t device_id[ID_BYTES]);
void chat_state_release(struct chat_state *s); /* Clears. */

/* Whether an epoch's keys are here, and whether they can still come. */
bool chat_state_holds(const struct chat_state *s, uint32_t epoch);
bool chat_state_awaits(const struct chat_state *s, uint32_t epoch);

struct chat_entry {
	const struct chat_epoch_key *key; /* As the KeyPacket gave it. The caller clears it. */
	uint64_t members_rev;		  /* Of the statement that key->members_hash is. */
	uint64_t made_ms;
	const struct chat_writer *writers; /* All that may write; this device is one. */
	size_t n;
};
/* Derives the chain keys of an epoch. KLUIS_EVERIFY: it is held, or over already; it is of older
 * members than the one before; this device is not in it. KLUIS_ETOOLARGE: more devices, or more
 * epochs unread, than a state holds. On failure nothing has changed. */
KLUIS_MUST_CHECK int chat_state_enter(
	struct chat_state *s, const struct chat_entry *entry, struct err *e);

/* The epoch that is sent in; NULL: none is entered. */
const struct chat_epoch *chat_state_current(const struct chat_state *s);
/* Whether nothing may be sent before a new epoch is made: none is held, the members are others, it
 * is too old or used up. */
bool chat_state_due(
	const struct chat_state *s, const uint8_t members_hash[HASH_BYTES], uint64_t now_ms);

/* Seals the next message of the current epoch into s->pending, which must be empty, as the draft
 * (asserted). The
 * state is stored before those bytes leave, and they alone are sent until it is known what became
 * of them. Errors of ratchet_seal(), with the state as it was; KLUIS_ECONFLICT: the epoch is spent
 * or there is none. */
KLUIS_MUST_CHECK int chat_state_seal(struct chat_state *s, unsigned sym, unsigned type,
	struct bytes payload, const struct key *device, struct err *e);
/* The cluster took the pending message, by its word as number seq. */
void chat_state_sent(struct chat_state *s, uint64_t seq);
/* The newest number that the cluster has shown or given. */
uint64_t chat_state_newest(const struct chat_state *s);
/* After an operator's restore, which the user accepted, the cluster is at last_seq, and the members
 * at statement members_rev: what was behind it is gone, and what its numbers mean from there on is
 * not known. Nothing more is sent in the epoch that was: another may have been made of its number.
 */
void chat_state_restored(struct chat_state *s, const uint8_t lineage[ID_BYTES], uint64_t last_seq,
	uint64_t members_rev);
/* The cluster refuses the pending message for good: its index is never used again, nothing more is
 * sent in its epoch, and what it said becomes the draft, to be sealed once more in another one.
 * KLUIS_ENOTFOUND: its keys are gone. */
KLUIS_MUST_CHECK int chat_state_unseal(struct chat_state *s, struct err *e);
/* Gives it up: it was refused, and its keys are gone. */
void chat_state_drop_pending(struct chat_state *s);
/* As chat_state_seal() of the draft, which is gone then. */
KLUIS_MUST_CHECK int chat_state_seal_draft(
	struct chat_state *s, unsigned sym, const struct key *device, struct err *e);

enum chat_problem {
	CHAT_GAP = 1,	 /* Messages before it are withheld. */
	CHAT_ORDER = 2,	 /* Its writer's message before it is not the one that was shown. */
	CHAT_FORK = 4,	 /* Its writer saw a message that was not shown here. */
	CHAT_CLOSED = 8, /* It cannot be opened, though this device should. */
	CHAT_COPY = 16,	 /* This device wrote it, but not from this state: that is an old copy. */
	CHAT_REPLACED = 32, /* The number was given to a message of this device. */
	CHAT_REPEATED = 64, /* The history had it under a lower number: it was shown as that. */
};
struct chat_received {
	unsigned problems;
	uint64_t repeats; /* That number; nothing of the message is taken but the other one. */
	uint64_t missing; /* Messages before it that were not shown, lawfully or not. */
	/* Messages that this device should have been shown before its first one, or the first of
	 * that writer's device, and the time of the epoch that they are of: unless that is thirty
	 * days ago they are withheld. */
	uint64_t passed, passed_ms;
	bool late;     /* One of those. */
	bool opened;   /* Else without a problem: of an epoch before this device came. */
	bool archived; /* The key that was given opened it. */
	unsigned type;
	struct secret payload; /* The caller releases it. */
	/* Of this message alone, where it was opened, for who archives it; the caller clears it. */
	uint8_t key[CHAT_KEY_BYTES];
};
/* Takes the message that the cluster shows as number seq, at the time that it says. device: the key
 * of its writer's device, by that user's chain. key: what the archive opens it with, where no chain
 * that is here does; NULL: none. KLUIS_EVERIFY, and the state as it was, for what no
 * member can have done: a wrong signature, another conversation, a number or a message that was
 * shown before. All else is taken and said in *ret, which is written over. The new state has to be
 * stored before the message counts as read, or it opens twice. */
KLUIS_MUST_CHECK int chat_state_receive(struct chat_state *s, uint64_t seq, uint64_t time_ms,
	const struct chat_message *message, const struct key_pub *device,
	const uint8_t key[CHAT_KEY_BYTES], struct chat_received *ret, struct err *e);
/* The row of a message that was shown, by number or link; NULL when it is not among the newest. */
const struct chat_shown *chat_state_row(const struct chat_state *s, uint64_t seq);
const struct chat_shown *chat_state_find(
	const struct chat_state *s, const uint8_t link[HASH_BYTES]);

/* Into secret memory, and back. KLUIS_EVERSION, KLUIS_ECORRUPT; *ret is written over, and untouched
 * on failure. */
KLUIS_MUST_CHECK int chat_state_encode(
	const struct chat_state *s, struct secret *ret_encoded, struct err *e);
KLUIS_MUST_CHECK int chat_state_decode(struct bytes encoded, struct chat_state *ret, struct err *e);

/* For the files of this module. */
/* In its place by seq; the oldest one goes. */
void chat_state_log(struct chat_state *s, const struct chat_shown *row);
void chat_epoch_release(struct chat_epoch *epoch);

#endif

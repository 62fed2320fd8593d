/* What passes the agent's socket (docs/format-agent.md): one request and one answer a connection.
 * Pure: bytes in, fields out, both ways. */
#ifndef KLUIS_CLI_CLIENT_AGENT_WIRE_H
#define KLUIS_CLI_CLIENT_AGENT_WIRE_H

#include <stdbool.h>

#include "base/wire.h"
#include "cli/client/ring.h"
#include "crypto/identity.h"

enum {
	AGENT_VERSION = 1,
	AGENT_LENGTH_BYTES = 4,
	AGENT_MESSAGE_BYTES = HASH_BYTES, /* What is signed: a TH value. */
	AGENT_TEXT_BYTES_MAX = 255,
};

enum agent_op {
	AGENT_STATUS = 1,
	AGENT_UNLOCK = 2, /* Takes everything anew. */
	AGENT_LOCK = 3,
	AGENT_STOP = 4,
	AGENT_SIGN = 5,
	AGENT_OPEN = 6, /* A KeyPacket. */
	AGENT_PUBLIC = 7,
	AGENT_GET = 8,
	AGENT_PUT = 9,
	AGENT_LOAD = 10,   /* A keyring: its entries count from now on. */
	AGENT_CHANGE = 11, /* A keyring: the one that follows it, with other entries. */
	AGENT_ENTRY = 12,
	AGENT_PLACES = 13,
	AGENT_INBOX = 14,  /* The key of an inbox document to the user. */
	AGENT_TAKE = 15,   /* A keyring: the one that follows it, with the keys of KeyPackets. */
	AGENT_GROUP = 16,  /* Of a group's key in the keyring: what may leave. */
	AGENT_GIVE = 17,   /* A key of the keyring to somebody: the KeyPacket. */
	AGENT_NOTIFY = 18, /* A notification to the device: what is inside. */
};

/* What is held by kind. Those below AGENT_LEAVING are used inside and never leave. */
enum agent_kind {
	AGENT_DEVICE_KEY = 1,	   /* ECDSA P-256: heads, memberships, sessions. */
	AGENT_DEVICE_HPKE_KEY = 2, /* P-256: opens KeyPackets to the device. */
	AGENT_SIGNING_KEY = 3,	   /* RSA: identity statements, KeyPackets. */
	AGENT_TRANSFER_KEY = 4,	   /* Opens KeyPackets to the user; in UNLOCK P-256. */
	AGENT_KRK = 5,		   /* Opens the keyring; KEYRING_KRK_BYTES. */
	AGENT_RSA_KEY = 6,	   /* The keyring's RSA transfer key: PUBLIC alone. */
	AGENT_LEAVING = 32,
	AGENT_TOKEN = 32,    /* Of the session. */
	AGENT_SALT_KEY = 33, /* Makes page salts that an interrupted upload can repeat. */
};

struct agent_item {
	unsigned kind;
	struct bytes value; /* 1..AGENT_VALUE_BYTES_MAX; empty in a PUT: take it away. */
};
/* Whether this kind exists, and lets go of its value. */
bool agent_kind_known(unsigned kind);
bool agent_kind_leaves(unsigned kind);
/* Whether entries of this type of a keyring leave: those that bulk work needs, and pins. */
bool agent_entry_leaves(unsigned type);

/* A request. Which fields count depends on op; runs of bytes lie in what was parsed. */
struct agent_request {
	unsigned op;
	unsigned kind;		     /* SIGN, OPEN, PUBLIC, GET, PUT. */
	struct bytes message;	     /* SIGN: AGENT_MESSAGE_BYTES. */
	struct bytes packet;	     /* OPEN: a KeyPacket. INBOX: a document's stub. NOTIFY */
	struct bytes value;	     /* PUT */
	struct bytes object;	     /* LOAD, CHANGE, TAKE: a keyring. */
	uint64_t unix_ms;	     /* CHANGE, TAKE: of what is made. */
	uint64_t expires_ms;	     /* GIVE, with unix_ms: of the KeyPacket. */
	unsigned type;		     /* ENTRY, PLACES, GIVE: of a keyring's entry. */
	struct ring_place place;     /* ENTRY, GROUP, GIVE */
	unsigned role, alg;	     /* GIVE: the role given; of the recipient's key. */
	uint8_t rcpt_id[ID_BYTES];   /* GIVE; the public key is `value`. */
	uint64_t idle_ms;	     /* UNLOCK: 0 leaves it as it is. */
	uint8_t user_id[ID_BYTES];   /* UNLOCK: whose, on which device. */
	uint8_t device_id[ID_BYTES]; /* Zero when the device is not enrolled yet. */
	struct bytes account;
	size_t n_list; /* Items of UNLOCK, changes of CHANGE, packets of TAKE. */
	/* Well formed: agent_item_next(), agent_change_next() or agent_packet_next() gives each. */
	struct bytes list;
};
/* A frame without its length. KLUIS_EVERSION, KLUIS_EINVAL. Allocates nothing. */
KLUIS_MUST_CHECK int agent_request_parse(
	struct bytes frame, struct agent_request *ret_request, struct err *e);
/* The next of request->list; `at` is wire_of() it at first. False at the end. */
bool agent_item_next(struct wire *at, struct agent_item *ret_item);
bool agent_change_next(struct wire *at, struct ring_change *ret_change);
bool agent_packet_next(struct wire *at, struct ring_packet *ret_packet);
/* Appends one to the list of a TAKE. */
void agent_packet_put(struct buf *list, const struct ring_packet *packet);

/* The inverse: the frame with its length into secret memory. request->n_list items or changes are
 * given here, by op; the other is NULL. Packets stand in request->list already. KLUIS_ETOOLARGE
 * beyond AGENT_FRAME_BYTES_MAX. */
KLUIS_MUST_CHECK int agent_request_encode(const struct agent_request *request,
	const struct agent_item *items, const struct ring_change *changes, struct secret *ret_frame,
	struct err *e);

struct agent_status {
	bool unlocked;
	bool memory_locked; /* All secrets lie in memory that is never swapped out. */
	uint32_t pid;
	uint64_t idle_ms, left_ms; /* Locks when not used for so long; in so long. */
	uint8_t user_id[ID_BYTES], device_id[ID_BYTES];
	char account[IDENTITY_NAME_BYTES_MAX + 1];
	uint32_t n_items;
};

/* An answer to a request of this op. */
struct agent_answer {
	unsigned op;
	int rc; /* 0 or KLUIS_E*; then text says why. */
	struct bytes text;
	struct agent_status status; /* STATUS */
	/* SIGN: signature; OPEN, GET, ENTRY: the secret; PUBLIC: the public key; GROUP: u16 kem |
	 * lp16 public key | the key of the group's name; GIVE: the KeyPacket. */
	struct bytes value;
	struct bytes object; /* CHANGE, TAKE: a keyring. */
	size_t n_places;     /* PLACES */
	struct bytes places;
};
/* op: of the request it answers. KLUIS_EVERSION, KLUIS_EPROTO. Allocates nothing. */
KLUIS_MUST_CHECK int agent_answer_parse(
	struct bytes frame, unsigned op, struct agent_answer *ret_answer, struct err *e);
bool agent_place_next(struct wire *at, struct ring_place *ret_place);
/* places: of PLACES, n_places rows. */
void agent_answer_encode(const struct agent_answer *answer, const struct ring_place *places,
	struct secret *ret_frame);

#endif

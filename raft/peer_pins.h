/* What this node knows of every other one, on disk: which memory the peer's id belongs to, and how
 * often that memory was started. A peer whose log was made anew, or is an older copy of itself, has
 * forgotten what it acknowledged and must not be heard again under its old id
 * (docs/architecture.md, "A wiped node"; docs/format-node.md, "peers").
 *
 * A node's memory is its log; the incarnation is the log's id, drawn at random when `kluisd init`
 * makes the log. One thread at a time; what changes is durable on return, and a failed write ends
 * the process (fail_stop.h). */
#ifndef KLUIS_RAFT_PEER_PINS_H
#define KLUIS_RAFT_PEER_PINS_H

#include <assert.h>

#include "base/limits.h"
#include "raft/slot_file.h"

enum {
	INCARNATION_BYTES = 16,	       /* LOG_ID_BYTES */
	PEER_PINS_MAX = 2 * SITES_MAX, /* First members, and such as came later. */
	PEER_PINS_PAYLOAD_BYTES = 40 + 48 * PEER_PINS_MAX,
};
static_assert((int)PEER_PINS_PAYLOAD_BYTES <= (int)SLOT_PAYLOAD_BYTES_MAX, "fits a slot");

struct peer_pin {
	uint64_t id;
	bool founder; /* Was a member when this node was initialised. */
	bool known;   /* Pinned: the three below count, and the first never changes. */
	bool agreed;  /* That incarnation of it has pinned us. */
	uint8_t incarnation[INCARNATION_BYTES];
	uint64_t starts; /* The highest that it told. */
	uint64_t boot;	 /* The nonce of that start. */
};

/* Plain value but for the file. Pins stand in ascending order of id. */
struct peer_pins {
	struct slot_file slots;
	uint64_t node_id;
	uint8_t incarnation[INCARNATION_BYTES]; /* Ours. */
	uint64_t starts;			/* Ours, this one included. */
	bool joins; /* Made to join a cluster that runs, and not let in yet: no founders. */
	unsigned n;
	struct peer_pin pin[PEER_PINS_MAX];
};

/* Creates the file with nobody known: founders are the ids of all members of the cluster as this
 * node is initialised (its own among them or not); none: it joins one that runs. KLUIS_EEXIST when
 * there is one, KLUIS_EINVAL: an id of 0 or twice, KLUIS_ETOOLARGE: more than PEER_PINS_MAX.
 * Blocking. */
KLUIS_MUST_CHECK int peer_pins_create(const char *path,
	const uint8_t incarnation[INCARNATION_BYTES], uint64_t node_id, const uint64_t *founders,
	unsigned n, struct err *e);
/* KLUIS_ENOTFOUND: no such file; KLUIS_ECORRUPT: damaged, or not that of this log and node;
 * KLUIS_EVERSION. Blocking. */
KLUIS_MUST_CHECK int peer_pins_open(struct peer_pins *pins, const char *path,
	const uint8_t incarnation[INCARNATION_BYTES], uint64_t node_id, struct err *e);
void peer_pins_close(struct peer_pins *pins); /* A zeroed or closed one is fine. */

/* Counts one more start of this node: once, before the first hello. */
void peer_pins_start(struct peer_pins *pins);
/* A peer with a right certificate says which memory it is, at its starts'th start; boot is that
 * start's random number. The first word is pinned. KLUIS_ECONFLICT: it is known by another
 * incarnation: initialised anew; KLUIS_EBEHIND: a later start of it is known, or this one with
 * another boot: it is an old copy of itself; KLUIS_ETOOLARGE: too many peers. On refusal nothing
 * changed. */
KLUIS_MUST_CHECK int peer_pins_meet(struct peer_pins *pins, uint64_t peer,
	const uint8_t incarnation[INCARNATION_BYTES], uint64_t starts, uint64_t boot);
/* The peer answered our hello: this incarnation of it has pinned us. Pins it, too, if it was not
 * known. KLUIS_ECONFLICT, KLUIS_ETOOLARGE as above. */
KLUIS_MUST_CHECK int peer_pins_agree(
	struct peer_pins *pins, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES]);
/* Whether this node may take part: every other founder has pinned it, and is pinned. Once true it
 * stays so. Until then it must not vote, stand for election or acknowledge anything: it may be a
 * wiped node of which a founder that is away knows better. */
bool peer_pins_begun(const struct peer_pins *pins);
/* The cluster's own row says which memory the peer's id stands for: that is pinned, whatever stood
 * there (a node that joins has pinned whom it met first). */
void peer_pins_adopt(
	struct peer_pins *pins, uint64_t peer, const uint8_t incarnation[INCARNATION_BYTES]);
/* The cluster has let this node in: written down, so that it stays true when the store that says so
 * is lost and fetched again. */
void peer_pins_joined(struct peer_pins *pins);
/* The cluster has removed the peer, and its id is never given again: its row is free. */
void peer_pins_forget(struct peer_pins *pins, uint64_t peer);
/* NULL: never heard of. */
const struct peer_pin *peer_pins_find(const struct peer_pins *pins, uint64_t peer);

/* The payload of the slots; decode checks every field: KLUIS_ECORRUPT. Leaves `slots` alone. */
void peer_pins_encode(const struct peer_pins *pins, uint8_t to[PEER_PINS_PAYLOAD_BYTES]);
KLUIS_MUST_CHECK int peer_pins_decode(
	const uint8_t from[PEER_PINS_PAYLOAD_BYTES], struct peer_pins *pins);

#endif

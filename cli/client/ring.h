/* A person's keyring as commands use it: who opened it, this process after a password or an agent
 * that keeps its key, makes no difference to them. Entries alone change here; what needs the whole
 * keyring (a new password, recovery) has it in this process. */
#ifndef KLUIS_CLI_CLIENT_RING_H
#define KLUIS_CLI_CLIENT_RING_H

#include "cli/client/client.h"
#include "crypto/keyring.h"

enum { RING_CHANGES_MAX = 64 }; /* Entries put at once. */

/* An entry to put (see keyring_put_entry()). */
struct ring_change {
	unsigned type;
	uint8_t object_id[ID_BYTES];
	uint32_t epoch;
	struct bytes value; /* Borrowed. */
};
struct ring_place {
	uint8_t object_id[ID_BYTES];
	uint32_t epoch;
};
/* A KeyPacket of purpose 1 or 3 that packets_check() (cli/client/packets.h) was through. */
struct ring_packet {
	struct bytes packet;	/* Borrowed. */
	uint8_t kid[KID_BYTES]; /* Purpose 3: of the group's key as its chain has it. */
};

/* A key that the ring has, given to somebody: what the KeyPacket says, see crypto/keypacket.h. */
struct ring_gift {
	unsigned type; /* KEYRING_VAULT_KEY, KEYRING_GROUP_KEY. */
	struct ring_place place;
	unsigned role;
	const uint8_t *rcpt_id;
	const struct key_pub *rcpt; /* By a verified chain. */
	uint64_t unix_ms, expires_ms;
};

/* Embedded in who implements it. One thread. Errors of all: KLUIS_EUNAUTHENTICATED when it is
 * locked meanwhile; KLUIS_EVERIFY for an object under another KRK (the password was changed) or
 * with a changed byte. */
struct ring {
	/* Opens `object` (keyring_parse() was through it), whose entries count from now on. */
	int (*load)(struct ring *ring, struct bytes object, struct err *e);
	/* Appends the object that follows `object`, with these entries put; what counts does not
	 * change. n <= RING_CHANGES_MAX. KLUIS_ECONFLICT: another key of that epoch is held. */
	int (*change)(struct ring *ring, struct bytes object, const struct ring_change *changes,
		size_t n, uint64_t unix_ms, struct buf *ret_object, struct err *e);
	/* The value of an entry: KLUIS_ENOTFOUND. */
	int (*get)(struct ring *ring, unsigned type, const uint8_t object_id[ID_BYTES],
		uint32_t epoch, struct secret *ret_value, struct err *e);
	/* Places of all entries of a type, in a new array; ascending by object, then epoch. */
	int (*list)(struct ring *ring, unsigned type, struct ring_place **ret_places, size_t *ret_n,
		struct err *e);
	/* As `change`, with the keys of KeyPackets of purpose 1 and 3 to the user or to a group
	 * whose key the ring has, opened inside. n <= RING_CHANGES_MAX. KLUIS_EVERIFY: a packet
	 * does not open, or what is in it is no such key. */
	int (*take)(struct ring *ring, struct bytes object, const struct ring_packet *packets,
		size_t n, uint64_t unix_ms, struct buf *ret_object, struct err *e);
	/* What is in a KeyPacket to the user, or with `device` to this device, of another purpose
	 * than 1, 3 and 5. KLUIS_EUNAUTHENTICATED: that key is not here. */
	int (*open)(struct ring *ring, bool device, struct bytes packet, struct secret *ret_secret,
		struct err *e);
	/* The key of an inbox document (crypto/inbox.h) to the user: of its stub. */
	int (*inbox)(struct ring *ring, struct bytes stub, struct secret *ret_key, struct err *e);
	/* What is in a notification (crypto/notify.h) to this device. KLUIS_EUNAUTHENTICATED: its
	 * key is not here. */
	int (*notify)(
		struct ring *ring, struct bytes payload, struct secret *ret_content, struct err *e);
	/* The public half of the user's transfer key, on a curve or RSA. KLUIS_ENOTFOUND: the
	 * keyring has none of that kind. */
	int (*transfer)(struct ring *ring, bool rsa, struct key_pub **ret_pub, struct err *e);
	/* Of a group's key what may leave: its public half, and the key of the group's name.
	 * KLUIS_ENOTFOUND. */
	int (*group)(struct ring *ring, const uint8_t group_id[ID_BYTES], uint32_t epoch,
		struct key_pub **ret_pub, struct secret *ret_name_key, struct err *e);
	/* Appends the KeyPacket that gives it, signed by the user's key: `signing`, or the one that
	 * the ring has with it. KLUIS_ENOTFOUND: the ring has no such key. */
	int (*give)(struct ring *ring, const struct ring_gift *gift, const struct key *signing,
		struct buf *ret_packet, struct err *e);
	void (*free)(struct ring *ring);
};
void ring_free(struct ring *ring); /* NULL is fine. */

/* What a ring has of keys and pins, to hold a later keyring against. */
struct ring_kept;
KLUIS_MUST_CHECK int ring_keep(struct ring *ring, struct ring_kept **ret_kept, struct err *e);
/* Whether its owner gave this vault up, on whatever device (keyring_forget_pin()). */
KLUIS_MUST_CHECK int ring_forgotten(
	struct ring *ring, const uint8_t vault_id[ID_BYTES], bool *ret_forgotten, struct err *e);
/* KLUIS_EPIN unless the ring has each key still, but those of vaults that were given up, and each
 * pin or a later one of it. */
KLUIS_MUST_CHECK int ring_check_kept(
	struct ring *ring, const struct ring_kept *kept, struct err *e);
void ring_kept_free(struct ring_kept *kept); /* NULL is fine. */

/* A ring in this process: takes what *keyring holds. */
struct ring *ring_local_new(struct keyring *keyring);
/* The keyring of one that ring_local_new() made, NULL of any other. */
struct keyring *ring_local(struct ring *ring);

/* What an agent does for load and change, without a struct ring: opens `object` with KRK. */
KLUIS_MUST_CHECK int ring_open(struct bytes object, const uint8_t user_id[ID_BYTES],
	struct bytes krk, struct keyring *ret_keyring, struct err *e);
/* And for take, group and give: see there. */
KLUIS_MUST_CHECK int ring_take_object(const uint8_t user_id[ID_BYTES], struct bytes krk,
	struct bytes object, const struct ring_packet *packets, size_t n, uint64_t unix_ms,
	struct buf *ret_object, struct err *e);
KLUIS_MUST_CHECK int ring_group_key(struct bytes value, const uint8_t group_id[ID_BYTES],
	struct key_pub **ret_pub, struct secret *ret_name_key, struct err *e);
KLUIS_MUST_CHECK int ring_gift_seal(const struct ring_gift *gift, const uint8_t sender_id[ID_BYTES],
	struct bytes value, const struct key *signing, struct buf *ret_packet, struct err *e);
KLUIS_MUST_CHECK int ring_change_object(const uint8_t user_id[ID_BYTES], struct bytes krk,
	struct bytes object, const struct ring_change *changes, size_t n, uint64_t unix_ms,
	struct buf *ret_object, struct err *e);
/* For qsort() of struct ring_place: the order of `list`. */
int ring_place_compare(const void *a, const void *b);
/* The places of one type in an open keyring, as `list` gives them. */
void ring_places(const struct keyring *keyring, unsigned type, struct ring_place **ret_places,
	size_t *ret_n);

#endif

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
KLUIS_MUST_CHECK int ring_change_object(const uint8_t user_id[ID_BYTES], struct bytes krk,
	struct bytes object, const struct ring_change *changes, size_t n, uint64_t unix_ms,
	struct buf *ret_object, struct err *e);
/* For qsort() of struct ring_place: the order of `list`. */
int ring_place_compare(const void *a, const void *b);
/* The places of one type in an open keyring, as `list` gives them. */
void ring_places(const struct keyring *keyring, unsigned type, struct ring_place **ret_places,
	size_t *ret_n);

#endif

/* What was begun by one request and is ended by another to the same node: logins by password and by
 * device key, recoveries, challenges of authenticators. In this node's memory, each worth one
 * answer within its table's life. Each is held against a key (a client's address, or a user): of
 * one key at most so many, its own oldest is forgotten beyond that, and API_HANDSHAKES_MAX in all,
 * beyond which the key that has most loses its oldest: nobody makes room by pushing. One thread. */
#ifndef KLUIS_NODE_HANDSHAKE_H
#define KLUIS_NODE_HANDSHAKE_H

#include "base/random.h"
#include "crypto/srp.h"

enum { HANDSHAKE_CHALLENGE_BYTES = 32 };

struct handshake {
	uint8_t id[ID_BYTES]; /* Random: whoever names it began it. */
	uint8_t user_id[ID_BYTES];
	/* To be signed: of all but password logins. */
	uint8_t challenge[HANDSHAKE_CHALLENGE_BYTES];
	uint8_t device_id[ID_BYTES]; /* Of a device's login. */
	/* Of a password login. */
	bool known;	     /* There is such a user; else no proof is right. */
	bool guarded;	     /* The password alone is the proof, without an account key. */
	uint64_t credential; /* Which of the user's verifiers it is of. */
	struct srp_server *srp;

	/* The table's. */
	uint64_t expires_ms;
	struct handshake_address *address;
	struct handshake *bucket_next;
	struct handshake *older, *newer;	 /* Of all. */
	struct handshake *own_older, *own_newer; /* Of this address. */
};
/* Of zeros with a fresh id and challenge. */
struct handshake *handshake_new(struct random *random);
/* Clears it and what it holds; NULL is fine. */
void handshake_free(struct handshake *handshake);

struct handshake_table;

/* Each lives for life_ms; per_key_max: at most API_HANDSHAKES_PER_ADDRESS_MAX. */
struct handshake_table *handshake_table_new(uint64_t life_ms, size_t per_key_max);
void handshake_table_free(struct handshake_table *table); /* NULL is fine. */
/* Takes it over. key: of the client's address (struct http_request), or handshake_user_key().
 * now_ms: monotonic. */
void handshake_put(
	struct handshake_table *table, struct handshake *handshake, uint64_t key, uint64_t now_ms);
/* Of a user who is known by her session. Ids are chosen by those who have them: hashed. */
uint64_t handshake_user_key(const uint8_t user_id[ID_BYTES]);
/* Out of the table, the caller's from now on, whatever becomes of the answer; NULL: none, used,
 * forgotten or too late. */
struct handshake *handshake_take(
	struct handshake_table *table, const uint8_t id[ID_BYTES], uint64_t now_ms);
/* How many there are; those that are too late go first. */
size_t handshake_count(struct handshake_table *table, uint64_t now_ms);

#endif

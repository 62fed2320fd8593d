/* Password logins that are half way: in this node's memory, each worth one answer within
 * API_HANDSHAKE_MS. At most API_HANDSHAKES_PER_ADDRESS_MAX of one client address, whose oldest is
 * forgotten beyond that, and API_HANDSHAKES_MAX in all, beyond which the address that has most
 * loses its oldest: nobody makes room by pushing. One thread. */
#ifndef KLUIS_NODE_HANDSHAKE_H
#define KLUIS_NODE_HANDSHAKE_H

#include "base/random.h"
#include "crypto/srp.h"

struct handshake {
	uint8_t id[ID_BYTES]; /* Random: whoever names it began it. */
	uint8_t user_id[ID_BYTES];
	bool known;	     /* There is such a user; else no proof is right. */
	uint64_t credential; /* Which of the user's verifiers it is of. */
	struct srp_server *srp;

	/* The table's. */
	uint64_t expires_ms;
	struct handshake_address *address;
	struct handshake *bucket_next;
	struct handshake *older, *newer;	 /* Of all. */
	struct handshake *own_older, *own_newer; /* Of this address. */
};
/* Of zeros with a fresh id. */
struct handshake *handshake_new(struct random *random);
/* Clears it and what it holds; NULL is fine. */
void handshake_free(struct handshake *handshake);

struct handshake_table;

struct handshake_table *handshake_table_new(void);
void handshake_table_free(struct handshake_table *table); /* NULL is fine. */
/* Takes it over. address: of the client (struct http_request). now_ms: monotonic. */
void handshake_put(struct handshake_table *table, struct handshake *handshake, uint64_t address,
	uint64_t now_ms);
/* Out of the table, the caller's from now on, whatever becomes of the answer; NULL: none, used,
 * forgotten or too late. */
struct handshake *handshake_take(
	struct handshake_table *table, const uint8_t id[ID_BYTES], uint64_t now_ms);
/* How many there are; those that are too late go first. */
size_t handshake_count(struct handshake_table *table, uint64_t now_ms);

#endif

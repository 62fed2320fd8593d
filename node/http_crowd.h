/* Who is connected: how many connections each client address has and what of theirs is in memory,
 * which connections are idle and since when, and who has to go when there is no room. An address is
 * an IPv4 address or an IPv6 /64. One thread. */
#ifndef KLUIS_NODE_HTTP_CROWD_H
#define KLUIS_NODE_HTTP_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_CROWD_BUCKETS = 1024, HTTP_CROWD_LOOKED_AT = 64 };

struct http_address {
	struct http_address *next;
	uint64_t key;
	unsigned connections;
	unsigned requests; /* That have no answer yet, or one that is not out. */
	size_t body_bytes; /* Of those, in memory. */
};

/* One connection; embedded in it. */
struct http_guest {
	struct http_address *address; /* NULL: has not entered. */
	struct http_guest *next, *prev;
	bool idle; /* No request of its own. */
};

/* Zero it before use. */
struct http_crowd {
	struct http_address *bucket[HTTP_CROWD_BUCKETS];
	struct http_guest *first, *last; /* The idle ones, longest first. */
};

/* The key of a numeric address; 0 for anything else. */
uint64_t http_crowd_key(const char *host);
/* A new connection, idle from now on. */
void http_crowd_enter(struct http_crowd *crowd, struct http_guest *guest, uint64_t key);
/* Idempotent. The last guest of an address takes it away; its counts must be 0 then. */
void http_crowd_leave(struct http_crowd *crowd, struct http_guest *guest);
/* It has a request; it has none any more. Both idempotent. */
void http_crowd_busy(struct http_crowd *crowd, struct http_guest *guest);
void http_crowd_idle(struct http_crowd *crowd, struct http_guest *guest);
/* Whom to send away so that newcomer may stay: of the HTTP_CROWD_LOOKED_AT longest idle ones one
 * whose address has the most connections, the longest idle among those. The newcomer itself when
 * its own address has as many: nobody makes room by pushing. */
struct http_guest *http_crowd_surplus(struct http_crowd *crowd, struct http_guest *newcomer);

#endif

/* Calls to a cluster: several end points with failover, kept-alive connections, retries of what may
 * be sent again, the session token, and the watch over the cluster's lineage. Any number of threads
 * may call at once; each call has a connection of its own. */
#ifndef KLUIS_CLI_CLIENT_CLIENT_H
#define KLUIS_CLI_CLIENT_CLIENT_H

#include "cli/client/http_conn.h"
#include "crypto/hash.h"

enum {
	CLIENT_ENDPOINTS_MAX = 16,
	CLIENT_IDLE_MAX = 8, /* Kept-alive connections nobody uses just now. */
	CLIENT_CALL_MS = 30 * 1000,
	CLIENT_GIVE_UP_MS = 20 * 1000,
	CLIENT_BACKOFF_MIN_MS = 50,
	CLIENT_BACKOFF_MAX_MS = 2000,
	CLIENT_ANSWER_BYTES_MAX = 4 << 20, /* Of JSON. */
	CLIENT_TOKEN_BYTES_MAX = 128,
};

struct client;

struct client_config {
	const char *const *endpoints; /* "https://host:port", copied. */
	size_t n_endpoints;
	const char *socket_path; /* Instead of end points: an admin socket. */
	/* Instead of both: gives a connected stream socket, which the client then owns. Each call
	 * makes one attempt. dial_arg outlives the client. */
	int (*dial)(const void *dial_arg, int *ret_fd, struct err *e);
	const void *dial_arg;
	struct bytes ca_pem; /* Trusted alone; copied. Empty: nothing is verified, only to fetch
				the first pin. */
	uint64_t call_ms;    /* One attempt; 0: CLIENT_CALL_MS. */
	uint64_t give_up_ms; /* All attempts of a call; 0: CLIENT_GIVE_UP_MS. */
};

enum {
	CLIENT_AUTH = 1,	/* With the session's token; a 401 signs in again, once. */
	CLIENT_ONCE = 2,	/* Never sent again once it may have arrived. */
	CLIENT_ANY_LINEAGE = 4, /* Also from another lineage than the pinned one. */
	CLIENT_READ = 8,	/* A read that takes a consistency level. */
};
/* Of API section 1, in the order of kluis_api.h. */
enum client_level { CLIENT_LINEARIZABLE, CLIENT_SESSION, CLIENT_STALE };
#define CLIENT_ANY_ENDPOINT SIZE_MAX

struct client_request {
	const char *method, *target;
	const char *type; /* Content-Type or NULL. */
	struct bytes body;
	struct http_field fields[HTTP_REQUEST_FIELDS_MAX];
	size_t answer_max; /* 0: CLIENT_ANSWER_BYTES_MAX. */
	unsigned flags;
	size_t *endpoint; /* NULL, or: only there unless CLIENT_ANY_ENDPOINT; set to the one used.
			   */
};

/* "https://host:port/" -> "host:port" (port 443 if it names none), the caller's; KLUIS_EINVAL. */
KLUIS_MUST_CHECK int client_endpoint_address(const char *url, char **ret_address, struct err *e);

/* KLUIS_EINVAL: an end point that is no https URL, a CA that does not parse. */
KLUIS_MUST_CHECK int client_new(
	const struct client_config *config, struct client **ret_client, struct err *e);
void client_free(struct client *client); /* NULL is fine; no call may be running. */

/* Called when a request with CLIENT_AUTH has no token or the token was refused; gets a new one by
 * client_set_token(). One thread at a time. */
void client_set_login(struct client *client,
	int (*login)(void *arg, struct client *client, struct err *e), void *arg);
/* Copied; NULL forgets it. */
void client_set_token(struct client *client, const char *token);
/* A copy of it, empty when there is none, for connections of the caller's own; the caller clears
 * it. */
void client_token(struct client *client, char to[CLIENT_TOKEN_BYTES_MAX + 1]);
/* From now on an answer of another lineage is KLUIS_ELINEAGE; NULL: any is taken. */
void client_set_lineage(struct client *client, const uint8_t lineage[ID_BYTES]);

/* For reads from now on; CLIENT_LINEARIZABLE at first. wait_ms 0: the node's default. */
void client_set_level(struct client *client, enum client_level level, unsigned wait_ms);
/* Kluis-Staleness-Ms of the last answer that had one. */
uint64_t client_staleness_ms(struct client *client);

/* Sends, resends the identical bytes where that is safe, and gives the final answer. 0 for 2xx and
 * 304. Any other status is the KLUIS_E* of its problem (RFC 9457), with the node's detail in e;
 * `answer` then still holds it. KLUIS_ECONNECT when nobody could be reached, KLUIS_EVERIFY when no
 * server had a trusted certificate, KLUIS_ELINEAGE. The caller zeroes and releases answer. */
KLUIS_MUST_CHECK int client_call(struct client *client, const struct client_request *request,
	struct http_answer *answer, struct err *e);

#endif

/* One client of a chaos run: writes and reads vaults that it shares with other clients, one request
 * at a time at one node at a time, never sends anything twice, and records what it asked, what it
 * was told and when. A write is a compare-and-swap on the vault's head. */
#ifndef KLUIS_TESTS_CHAOS_CHAOS_CLIENT_H
#define KLUIS_TESTS_CHAOS_CHAOS_CLIENT_H

#include "base/limits.h"
#include "base/random.h"
#include "cli/client/http_conn.h"
#include "cli/client/profile.h"
#include "crypto/head.h"
#include "crypto/secret.h"
#include "tests/chaos/history.h"

enum {
	CHAOS_VAULTS_MAX = 32,
	CHAOS_PAGES_MAX = 16,
	CHAOS_CLIENTS_MAX = 64,
};

struct chaos_vault {
	uint8_t id[ID_BYTES];
	struct secret key;
};

/* What all clients share; constant while they run. */
struct chaos_world {
	struct profile *profile;
	struct client *session; /* Signs in, keeps the token; not part of the history. */
	struct tls_ctx *tls;
	struct history *history;
	char *addresses[CLIENT_ENDPOINTS_MAX]; /* "host:port" of the profile's end points. */
	size_t n_addresses;
	struct chaos_vault vaults[CHAOS_VAULTS_MAX];
	unsigned n_vaults, n_pages;
	uint64_t attempt_ms;
};

/* What a client believes of a page; revision 0: never written. */
struct chaos_page {
	uint64_t revision;
	bool hash_known;
	uint8_t hash[HASH_BYTES], leaf[HASH_BYTES];
};

/* ... and of a vault. */
struct chaos_view {
	bool known;   /* Of a state that was the vault's. */
	bool current; /* As far as this client has heard. */
	struct head head;
	struct chaos_page pages[CHAOS_PAGES_MAX];
	char *cursor; /* Where in the list of changes it stands; NULL: at the beginning. */
};

struct chaos_client {
	struct chaos_world *world;
	unsigned number;
	struct random_seeded random;
	uint64_t attempt_ms;
	unsigned at; /* End point. */
	struct http_conn *conns[CLIENT_ENDPOINTS_MAX];
	struct chaos_view views[CHAOS_VAULTS_MAX];
	uint64_t seen_index; /* The newest raft index that an answer named. */
	struct buf line;
};

void chaos_client_init(
	struct chaos_client *client, struct chaos_world *world, unsigned number, uint64_t seed);
void chaos_client_release(struct chaos_client *client);
/* One operation, chosen by chance, recorded. Blocks, at most some attempts long. */
void chaos_client_step(struct chaos_client *client);

/* --- For the files of this module --- */

/* One request and what came of it. */
struct chaos_call {
	const char *method, *type;
	char target[256];
	struct bytes body;
	struct http_field fields[3];
	size_t answer_max;
	/* Result. */
	uint64_t begin_ns, end_ns;
	enum { CALL_NOT_SENT, CALL_ANSWERED, CALL_LOST } state;
	int rc; /* 0 for 2xx; else what the node or the connection says. */
	uint64_t index, staleness_ms;
	struct http_answer answer;
};
void chaos_call_release(struct chaos_call *call);
/* At the client's end point, once. */
void chaos_call_run(struct chaos_client *client, struct chaos_call *call);
/* "/v1/vaults/ID/" and what stands behind. */
void chaos_call_target(struct chaos_call *call, const struct chaos_client *client, unsigned vault,
	const char *fmt, ...) KLUIS_PRINTF(4, 5);
/* Begins a record: everything that all operations have. outcome: "ok", "no" (it did not happen and
 * never will) or "un" (nobody knows). */
void chaos_call_record(struct chaos_client *client, const struct chaos_call *call, const char *op,
	unsigned vault, const char *outcome);
/* Brings the view to what a linearizable read shows. False: no answer, or another writer was too
 * fast. */
bool chaos_view_refresh(struct chaos_client *client, unsigned vault);
void chaos_write(struct chaos_client *client, unsigned vault);

#endif

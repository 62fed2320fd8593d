/* What the fake node's two files share: the server and the routes. */
#ifndef KLUIS_TESTS_LIB_FAKE_NODE_ROUTES_H
#define KLUIS_TESTS_LIB_FAKE_NODE_ROUTES_H

#include <pthread.h>

#include <openssl/ssl.h>

#include "crypto/identity.h"
#include "crypto/pki.h"
#include "crypto/proof.h"
#include "crypto/restore_record.h"
#include "tests/lib/fake_node/fake_node.h"
#include "tests/lib/fake_node/store.h"

enum { FAKE_CONNS_MAX = 64, FAKE_LOG_MAX = 65536, FAKE_RECORDS_MAX = 4 };

struct fake_node {
	SSL_CTX *ctx;
	struct pki_identity ca, server;
	char url[64];
	int listener;
	pthread_t acceptor;
	pthread_t conns[FAKE_CONNS_MAX];
	int conn_fds[FAKE_CONNS_MAX];
	size_t n_conns;
	pthread_mutex_t lock; /* Guards all that follows, and the two arrays above. */
	bool stop;
	struct store store;
	uint8_t cluster_id[ID_BYTES], lineage[ID_BYTES];
	struct key *restore_key;
	uint8_t records[FAKE_RECORDS_MAX][RESTORE_RECORD_BYTES];
	size_t n_records;
	struct identity identity;
	uint8_t challenge[PROOF_CHALLENGE_BYTES];
	unsigned token; /* The session's number; 0: none. */
	enum fake_fault fault;
	char match[128];
	unsigned skip, times, struck;
	int status;
	char *log[FAKE_LOG_MAX];
	size_t n_log;
	bool claims_gone;
	unsigned claimed;
	void (*before_commit)(void *arg);
	void *before_arg;
};

struct fake_request {
	struct fake_node *node;
	struct buf target, body, auth, name, claims;
	const char *method;
	bool in_auth, in_value, done, no_keep_alive;
	/* The answer. */
	int status;
	struct buf out;
	const char *type;
};

/* Does the request and makes its answer; with the node's lock held. */
void fake_dispatch(struct fake_node *n, struct fake_request *r, enum fake_fault fault);
void fake_problem(struct fake_request *r, int code);

#endif

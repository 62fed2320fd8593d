/* The API over a state machine in memory that commits at once: one node, no network between. */
#ifndef KLUIS_TESTS_LIB_API_NODE_H
#define KLUIS_TESTS_LIB_API_NODE_H

#include <pthread.h>

#include "node/api.h"
#include "tests/lib/api/http_client.h"
#include "tests/lib/api/person.h"
#include "tests/lib/certs.h"
#include "tests/lib/fixture/machine.h"

struct api_node {
	struct api_backend backend;
	pthread_mutex_t lock;
	struct fixture_machine machine;
	/* What the backend says, under lock. */
	bool no_leader, behind, read_only, lose_outcome, bad_link_file;
	bool quarantined, quarantine_at_once; /* The latter: by the next command. */
	uint64_t heard_ago_ms;
	unsigned proposals, read_indexes, doubts;
	struct replica_watch *watch;
	struct buf relayed; /* The last one given to the others. */
	unsigned voters, voters_wanted;
	char damage[160];  /* As the last replica_doubt() said. */
	uint64_t wait_for; /* The last applied_wait's index. */

	struct secrets secrets;
	struct pool *pool;
	struct pki_identity ca, server;
	char *dir, *cert_path, *key_path, *ca_path, *admin_path;
	struct api_config config;
	struct api *api;
};

/* Starts it on a port and a socket of its own. */
void api_node_start(struct api_node *node);
/* As started, but config may be changed before api_node_run(). */
void api_node_prepare(struct api_node *node);
void api_node_run(struct api_node *node);
void api_node_stop(struct api_node *node);
/* For cmocka: *state is a node of the test's own, started. */
int api_node_setup(void **state);
int api_node_teardown(void **state);

/* alpn: "http/1.1" or "h2". */
void api_node_connect(struct api_node *node, const char *alpn, struct http_client *client);
void api_node_admin(struct api_node *node, struct http_client *client);
/* Account, enrolment, session: client->token is set. */
void api_node_join(struct api_node *node, struct person *person, struct http_client *client);
/* A session of the person's device: client->token is set. */
void api_node_sign_in(struct api_node *node, struct person *person, struct http_client *client);
/* And a vault with its first head. */
void api_node_vault(struct api_node *node, struct person *person, struct http_client *client);

#endif

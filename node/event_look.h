/* One reading of the store for a subscriber, on a pool's thread: may it still ask, what is it told
 * of, what did it miss. Private to event_*.c. */
#ifndef KLUIS_NODE_EVENT_LOOK_H
#define KLUIS_NODE_EVENT_LOOK_H

#include "base/pool.h"
#include "node/api_backend.h"
#include "storage/event_store.h"

struct event_hub;
struct event_subscriber;

struct event_look {
	struct pool_work work;
	struct api_backend *backend;
	struct event_hub *hub;
	struct event_subscriber *sub; /* NULL: it has left. */
	/* Asked. */
	uint8_t token_hash[32];
	uint64_t now_ms; /* Cluster time, at least. */
	bool scan;	 /* What changed since `since`, too. */
	uint64_t since;
	/* Found. */
	int rc;
	struct err e;
	uint64_t index; /* Where the store stood. */
	uint64_t expires_ms;
	struct event_topics topics;
	struct event_list missed;
	bool all; /* More was missed than can be told. */
};

/* Fills `found`; for pool_submit(). Returns its rc. */
int event_look_work(struct pool_work *work);
void event_look_free(struct event_look *look);

#endif

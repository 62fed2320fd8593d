/* What an agent holds and what it does with it: requests in, answers out. No socket, no clock: the
 * caller gives the time, in milliseconds that also pass while the machine sleeps. One thread. */
#ifndef KLUIS_CLI_AGENT_STORE_H
#define KLUIS_CLI_AGENT_STORE_H

#include "cli/client/agent_wire.h"

struct store;

/* Locked. idle_ms: 1..AGENT_IDLE_MS_MAX, until an unlock brings another. */
struct store *store_new(uint64_t idle_ms, uint64_t now_ms);
void store_free(struct store *store);

/* Answers one frame (without its length), whatever its bytes. Only what uses a secret counts as
 * use: looking at the status does not keep the keys. *ret_stop: the process is to end. */
void store_answer(struct store *store, uint64_t now_ms, struct bytes frame,
	struct secret *ret_answer, bool *ret_stop);
/* Locks when it was idle for long enough; then, after as long again without any request, *ret_stop.
 * Returns when to call again. */
uint64_t store_tick(struct store *store, uint64_t now_ms, bool *ret_stop);
bool store_unlocked(const struct store *store);

#endif

/* One command being applied. Only for raft/fsm*.c: each handler checks everything, then writes;
 * what it wrote is undone when it refuses. */
#ifndef KLUIS_RAFT_FSM_APPLY_H
#define KLUIS_RAFT_FSM_APPLY_H

#include "raft/fsm.h"
#include "storage/session_store.h"
#include "storage/txn.h"

struct apply {
	struct txn *txn;
	const struct kv_view *view; /* Of txn. */
	struct err *e;
	uint64_t index;
	uint64_t now_ms;	    /* Cluster time at this entry. */
	struct cluster_row cluster; /* As before this command. */
	bool read_only;		    /* New writes are refused. */
	struct command_reply reply; /* Zeroed before; sent when 0 is returned. */
	/* Set when a stored answer is given again. */
	bool replayed;
};

/* Each returns 0, a refusal, or an error that must end the process (apply_is_fatal()). */
#define X(symbol, value, name, member, level) \
	int apply_##member(struct apply *a, const struct command_##member *c);
COMMANDS(X)
#undef X

/* Never a refusal: the store failed, or holds what we cannot have written. */
bool apply_is_fatal(int rc);
/* A malformed page, head or statement as a refusal: KLUIS_EVERSION is for commands alone. */
int apply_refusal(int rc);
/* The session, of full level, at this entry's time. */
int apply_session(
	struct apply *a, const struct command_session *session, struct session_row *ret_session);
/* KLUIS_EREADONLY while new writes are refused. */
int apply_writable(struct apply *a);

/* Idempotency: before the command. 0 with a->replayed: the stored answer is in a->reply and there
 * is nothing more to do. */
int apply_once_begin(
	struct apply *a, struct bytes principal, unsigned route, const struct command_once *once);
/* After it succeeded. secret: the answer to the client carries a token and is not kept. */
void apply_once_end(struct apply *a, struct bytes principal, unsigned route,
	const struct command_once *once, bool secret);

int apply_audit(struct apply *a, enum command_type action, struct bytes actor, struct bytes object);
/* Ends all sessions of a user, but that of `keep` (NULL: none) and, if device is given, only those
 * of that device. */
int apply_end_sessions(
	struct apply *a, const uint8_t user_id[16], const uint8_t *keep, const uint8_t *device);
/* The rows that go with one session. */
void apply_delete_session(struct apply *a, const struct session_row *row);
void apply_put_session(struct apply *a, const struct session_row *row);
/* Jumps and announcements: the lowest feature level of all nodes. */
int apply_nodes(struct apply *a, struct node_row nodes[SITES_MAX], size_t *ret_n);

#endif

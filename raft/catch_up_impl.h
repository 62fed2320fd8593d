/* What fetching a checkpoint and putting it in place share; only raft/catch_up.c,
 * raft/catch_up_install.c and raft/rebuild.c include it. */
#ifndef KLUIS_RAFT_CATCH_UP_IMPL_H
#define KLUIS_RAFT_CATCH_UP_IMPL_H

#include "crypto/hash.h"
#include "raft/replica_impl.h"

enum catch_up_state {
	CATCH_UP_PREPARING, /* The disk: what is there already. */
	CATCH_UP_FETCHING,
	CATCH_UP_FINISHING, /* The disk: syncs, and a last look. */
	CATCH_UP_READY,
	CATCH_UP_INSTALLING,
	CATCH_UP_GIVEN_UP, /* Waits for its works to end, then goes. */
};

/* A place in the row of all files' bytes. */
struct catch_up_place {
	uint32_t file;
	uint64_t offset;
};

struct catch_up {
	struct replica *replica;
	uint64_t peer;
	struct driver_snapshot snapshot;
	struct manifest manifest;
	char *dir; /* catchup/<id> */
	enum catch_up_state state;
	struct pool_work work;
	unsigned works;			/* Given to the pool and not back. */
	struct catch_up_place ask, got; /* Next to ask for, next to come. */
	unsigned asked;			/* Chunks asked for and not there. */
	uint64_t fetched, total;
	uint64_t progress_ms;
	unsigned stalls;
	uint64_t install_seq;
	/* The pool thread's. */
	bool *have;	   /* By file: stands there, checked. */
	uint64_t *partial; /* By file: bytes of it that stand there. */
	int fd;
	struct hash hash;
};

void catch_up_free(struct catch_up *c);

#endif

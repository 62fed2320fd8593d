/* What the API needs of the replicated store, so that its tests can run it on a store in memory.
 * All callbacks come through `home`, never before the call that causes them has returned. */
#ifndef KLUIS_NODE_API_BACKEND_H
#define KLUIS_NODE_API_BACKEND_H

#include "raft/propose.h"
#include "raft/read_index.h"
#include "raft/replica.h"

struct api_backend {
	/* As replica_read_begin() and _end(). Any thread. */
	int (*read_begin)(struct api_backend *backend, struct kv **ret_kv);
	void (*read_end)(struct api_backend *backend);
	/* As read_index_start(), applied_wait_start(), replica_applied(), propose_start(). */
	void (*read_index)(struct api_backend *backend, struct read_index *req,
		struct mailbox *home, uint64_t deadline_ms,
		void (*cb)(struct read_index *req, int rc));
	void (*applied_wait)(struct api_backend *backend, struct applied_wait *req,
		struct mailbox *home, uint64_t index, uint64_t deadline_ms,
		void (*cb)(struct applied_wait *req, int rc));
	uint64_t (*applied)(struct api_backend *backend, uint64_t *ret_heard_ms);
	void (*propose)(struct api_backend *backend, struct propose *req, struct mailbox *home,
		struct buf *command, uint64_t deadline_ms, void (*cb)(struct propose *req, int rc));
	void (*transfer)(struct api_backend *backend, struct replica_transfer *req,
		struct mailbox *home, uint64_t to, uint64_t deadline_ms,
		void (*cb)(struct replica_transfer *req, int rc));
	/* As replica_reload(). */
	int (*reload)(struct api_backend *backend, struct err *e);
	void (*status)(struct api_backend *backend, struct replica_status *ret_status);
	/* As replica_quarantined(), replica_doubt(). */
	bool (*quarantined)(struct api_backend *backend);
	void (*doubt)(struct api_backend *backend, const char *what);
	/* As replica_watch_set(). */
	void (*watch)(struct api_backend *backend, struct replica_watch *watch);
	/* As replica_relay(). */
	void (*relay)(struct api_backend *backend, struct buf *message);
};

/* Over a running replica. */
struct api_backend_replica {
	struct api_backend backend;
	struct replica *replica;
};
void api_backend_replica_init(struct api_backend_replica *self, struct replica *replica);

#endif

#include "node/api_backend.h"

#include "base/mem.h"

static struct replica *replica_of(struct api_backend *backend)
{
	return CONTAINER_OF(backend, struct api_backend_replica, backend)->replica;
}

static int backend_read_begin(struct api_backend *backend, struct kv **ret_kv)
{
	return replica_read_begin(replica_of(backend), ret_kv);
}

static void backend_read_end(struct api_backend *backend)
{
	replica_read_end(replica_of(backend));
}

static void backend_read_index(struct api_backend *backend, struct read_index *req,
	struct mailbox *home, uint64_t deadline_ms, void (*cb)(struct read_index *req, int rc))
{
	read_index_start(req, replica_of(backend), home, deadline_ms, cb);
}

static void backend_applied_wait(struct api_backend *backend, struct applied_wait *req,
	struct mailbox *home, uint64_t index, uint64_t deadline_ms,
	void (*cb)(struct applied_wait *req, int rc))
{
	applied_wait_start(req, replica_of(backend), home, index, deadline_ms, cb);
}

static uint64_t backend_applied(struct api_backend *backend, uint64_t *ret_heard_ms)
{
	return replica_applied(replica_of(backend), ret_heard_ms);
}

static void backend_propose(struct api_backend *backend, struct propose *req, struct mailbox *home,
	struct buf *command, uint64_t deadline_ms, void (*cb)(struct propose *req, int rc))
{
	propose_start(req, replica_of(backend), home, command, deadline_ms, cb);
}

static void backend_transfer(struct api_backend *backend, struct replica_transfer *req,
	struct mailbox *home, uint64_t to, uint64_t deadline_ms,
	void (*cb)(struct replica_transfer *req, int rc))
{
	replica_transfer_start(req, replica_of(backend), home, to, deadline_ms, cb);
}

static int backend_reload(struct api_backend *backend, struct err *e)
{
	return replica_reload(replica_of(backend), e);
}

static void backend_status(struct api_backend *backend, struct replica_status *ret_status)
{
	replica_status(replica_of(backend), ret_status);
}

static bool backend_quarantined(struct api_backend *backend)
{
	return replica_quarantined(replica_of(backend));
}

static void backend_doubt(struct api_backend *backend, const char *what)
{
	replica_doubt(replica_of(backend), what);
}

static void backend_watch(struct api_backend *backend, struct replica_watch *watch)
{
	replica_watch_set(replica_of(backend), watch);
}

static void backend_relay(struct api_backend *backend, struct buf *message)
{
	replica_relay(replica_of(backend), message);
}

void api_backend_replica_init(struct api_backend_replica *self, struct replica *replica)
{
	*self = (struct api_backend_replica){
		.backend =
			{
				.read_begin = backend_read_begin,
				.read_end = backend_read_end,
				.read_index = backend_read_index,
				.applied_wait = backend_applied_wait,
				.applied = backend_applied,
				.propose = backend_propose,
				.transfer = backend_transfer,
				.reload = backend_reload,
				.status = backend_status,
				.quarantined = backend_quarantined,
				.doubt = backend_doubt,
				.watch = backend_watch,
				.relay = backend_relay,
			},
		.replica = replica,
	};
}

/* What the driver wants done: the log, the links, the apply thread. */
#include <assert.h>

#include "base/fault.h"
#include "raft/fail_stop.h"
#include "raft/replica_impl.h"

static uint64_t io_now_ms(void *ctx)
{
	return replica_now(ctx);
}

/* --- network --- */

/* The second byte of every message is its type (docs/format-raft-messages.md). */
static enum link_stream io_stream(struct bytes header)
{
	assert(header.len >= 2);
	switch ((enum message_type)header.data[1]) {
	case MESSAGE_READ_ROUND:
	case MESSAGE_READ_ROUND_RESULT:
	case MESSAGE_READ_INDEX:
	case MESSAGE_READ_INDEX_RESULT:
		return LINK_READ;
	case MESSAGE_PROPOSE:
	case MESSAGE_PROPOSE_RESULT:
		return LINK_PROPOSE;
	default:
		return LINK_RAFT;
	}
}

static int io_send(
	void *ctx, uint64_t peer, struct bytes header, struct entry *const *entries, unsigned n)
{
	struct replica *r = ctx;

	if (header.data[1] == MESSAGE_PROPOSE && FAULT_POINT("replica.send_proposals")) {
		return KLUIS_EBUSY;
	}
	return links_send(r->links, peer, io_stream(header), header, entries, n);
}

static void io_proposed(void *ctx, uint64_t peer, const struct message *message)
{
	proposer_receive(ctx, peer, message);
}

/* --- disk --- */

static int io_store_vote(void *ctx, uint64_t term, uint64_t vote)
{
	struct replica *r = ctx;

	entry_log_set_vote(r->log, term, vote);
	return 0;
}

static int io_append(void *ctx, uint64_t seq, struct entry *const *entries, unsigned n)
{
	struct replica *r = ctx;

	entry_log_append(r->log, seq, entries, n);
	return 0;
}

void replica_persisted(void *user, uint64_t seq)
{
	struct replica *r = user;

	if (r->driver == NULL || r->stopping) {
		return;
	}
	driver_persisted(r->driver, seq, 0);
	catch_up_persisted(r, seq);
}

struct io_read {
	struct entry_log_read read;
	struct replica *replica;
	uint64_t token;
};

static void io_read_cb(struct entry_log_read *req)
{
	struct io_read *read = CONTAINER_OF(req, struct io_read, read);
	struct replica *r = read->replica;

	if (r->stopping) {
		for (unsigned i = 0; i < req->n; i++) {
			entry_unref(req->entries[i]);
		}
	} else {
		driver_read_done(r->driver, read->token, req->rc, req->entries, req->n);
	}
	free(req->entries);
	free(read);
}

static int io_read(void *ctx, uint64_t token, uint64_t first, unsigned n)
{
	struct replica *r = ctx;
	struct io_read *read = x_calloc(1, sizeof *read);
	int rc;

	read->replica = r;
	read->token = token;
	rc = entry_log_read_start(r->log, &read->read, first, n, io_read_cb);
	if (rc != 0) {
		free(read);
	}
	return rc;
}

static int io_snapshot_record(void *ctx, const struct driver_snapshot *snapshot, uint64_t discard)
{
	_cleanup_(buf_release) struct buf record = BUF_INIT;
	struct replica *r = ctx;

	snapshot_record_encode(snapshot, &record);
	entry_log_trim(r->log, discard, buf_bytes(&record));
	return 0;
}

/* --- state machine --- */

static int io_apply(void *ctx, struct entry *const *entries, unsigned n)
{
	struct replica *r = ctx;
	struct apply_job *job = apply_job_new(r, APPLY_ENTRIES, n);

	for (unsigned i = 0; i < n; i++) {
		job->entries[i] = entry_ref(entries[i]);
		job->bytes += entries[i]->len;
	}
	applier_push(r, job);
	return 0;
}

static int io_manifest(void *ctx, uint64_t peer, uint64_t min_index)
{
	return checkpoint_manifest(ctx, peer, min_index);
}

static int io_fetch(
	void *ctx, uint64_t peer, const struct driver_snapshot *snapshot, struct bytes manifest)
{
	return catch_up_fetch(ctx, peer, snapshot, manifest);
}

static int io_install(void *ctx, uint64_t seq, const struct driver_snapshot *snapshot)
{
	return catch_up_install(ctx, seq, snapshot);
}

static int io_replace(void *ctx, const struct driver_snapshot *snapshot)
{
	return rebuild_replace(ctx, snapshot);
}

static void io_read_ready(void *ctx, uint64_t token, int rc, uint64_t index)
{
	reader_ready(ctx, token, rc, index);
}

static void io_fatal(void *ctx, const struct err *e)
{
	(void)ctx;
	fail_stop("raft: %s", e->text);
}

const struct driver_io replica_driver_io = {
	.now_ms = io_now_ms,
	.send = io_send,
	.proposed = io_proposed,
	.store_vote = io_store_vote,
	.append = io_append,
	.read = io_read,
	.snapshot_record = io_snapshot_record,
	.apply = io_apply,
	.manifest = io_manifest,
	.fetch = io_fetch,
	.install = io_install,
	.replace = io_replace,
	.read_ready = io_read_ready,
	.fatal = io_fatal,
};

#include "raft/read_index.h"

#include <assert.h>

#include "raft/replica_impl.h"

enum { READ_RETRY_MS = 20 };

void reader_init(struct replica *r)
{
	r->reader.pending_tail = &r->reader.pending;
	r->reader.next_token = 1;
}

/* --- the end of a wait --- */

static void read_deliver_cb(struct mail *mail)
{
	struct read_index *req = CONTAINER_OF(mail, struct read_index, mail);

	req->cb(req, req->rc);
}

static void read_end(struct replica *r, struct read_index *req, int rc)
{
	assert(r->reader.n_reads > 0);
	r->reader.n_reads--;
	req->rc = rc;
	req->mail.deliver_cb = read_deliver_cb;
	mailbox_send(req->home, &req->mail);
}

static void read_refuse(struct read_index *req, int rc)
{
	req->rc = rc;
	req->mail.deliver_cb = read_deliver_cb;
	mailbox_send(req->home, &req->mail);
}

static void wait_deliver_cb(struct mail *mail)
{
	struct applied_wait *req = CONTAINER_OF(mail, struct applied_wait, mail);

	req->cb(req, req->rc);
}

static void wait_end(struct replica *r, struct applied_wait *req, int rc)
{
	req->rc = rc;
	req->index = r->position.index;
	req->mail.deliver_cb = wait_deliver_cb;
	mailbox_send(req->home, &req->mail);
}

/* One that waits for its index ends. */
static void wait_end_waiting(struct replica *r, struct applied_wait *req, int rc)
{
	assert(r->reader.n_waits > 0);
	r->reader.n_waits--;
	wait_end(r, req, rc);
}

/* --- the beginning --- */

static void reader_pend(struct reader *reader, struct read_index *req)
{
	req->next = NULL;
	*reader->pending_tail = req;
	reader->pending_tail = &req->next;
}

static void read_enter_cb(struct mail *mail)
{
	struct read_index *req = CONTAINER_OF(mail, struct read_index, mail);
	struct replica *r = req->replica;

	if (r->stopping) {
		read_refuse(req, KLUIS_ECLOSED);
	} else if (r->reader.n_reads >= READS_WAITING_MAX) {
		read_refuse(req, KLUIS_EBUSY);
	} else {
		r->reader.n_reads++;
		reader_pend(&r->reader, req);
	}
}

void read_index_start(struct read_index *req, struct replica *r, struct mailbox *home,
	uint64_t deadline_ms, void (*cb)(struct read_index *req, int rc))
{
	*req = (struct read_index){
		.replica = r, .home = home, .deadline_ms = deadline_ms, .cb = cb};
	req->mail.deliver_cb = read_enter_cb;
	if (!replica_enter(r, &req->mail)) {
		read_refuse(req, KLUIS_ECLOSED);
	}
}

static void wait_enter_cb(struct mail *mail)
{
	struct applied_wait *req = CONTAINER_OF(mail, struct applied_wait, mail);
	struct replica *r = req->replica;

	if (r->stopping) {
		wait_end(r, req, KLUIS_ECLOSED);
	} else if (r->position.index >= req->want) {
		wait_end(r, req, 0);
	} else if (r->reader.n_waits >= READS_WAITING_MAX) {
		wait_end(r, req, KLUIS_EBUSY);
	} else {
		r->reader.n_waits++;
		req->next = r->reader.waits;
		r->reader.waits = req;
	}
}

void applied_wait_start(struct applied_wait *req, struct replica *r, struct mailbox *home,
	uint64_t index, uint64_t deadline_ms, void (*cb)(struct applied_wait *req, int rc))
{
	*req = (struct applied_wait){
		.replica = r, .home = home, .want = index, .deadline_ms = deadline_ms, .cb = cb};
	req->mail.deliver_cb = wait_enter_cb;
	if (!replica_enter(r, &req->mail)) {
		req->rc = KLUIS_ECLOSED;
		req->mail.deliver_cb = wait_deliver_cb;
		mailbox_send(home, &req->mail);
	}
}

uint64_t replica_applied(struct replica *r, uint64_t *ret_heard_ms)
{
	if (ret_heard_ms != NULL) {
		*ret_heard_ms = atomic_load(&r->heard_ms);
	}
	return atomic_load(&r->applied);
}

/* --- rounds --- */

/* One round for all that came before it; what comes later needs a later round, since the leader may
 * have committed in between. */
void reader_turn(struct replica *r)
{
	struct reader *reader = &r->reader;
	struct read_batch *batch;
	int rc;

	if (reader->pending == NULL || reader->n_batches >= READ_BATCHES_MAX ||
		replica_now(r) < reader->retry_ms) {
		return;
	}
	batch = x_calloc(1, sizeof *batch);
	batch->token = reader->next_token++;
	batch->reads = reader->pending;
	reader->pending = NULL;
	reader->pending_tail = &reader->pending;
	batch->next = reader->batches;
	reader->batches = batch;
	reader->n_batches++;
	/* The driver may answer before it returns, as one that is its own quorum does. */
	rc = driver_read_index(r->driver, batch->token);
	if (rc != 0) {
		reader_ready(r, batch->token, rc, 0);
	}
}

static struct read_batch *reader_take_batch(struct reader *reader, uint64_t token)
{
	for (struct read_batch **at = &reader->batches; *at != NULL; at = &(*at)->next) {
		struct read_batch *batch = *at;

		if (batch->token == token) {
			*at = batch->next;
			reader->n_batches--;
			return batch;
		}
	}
	return NULL;
}

static void reader_confirm(struct replica *r, struct read_index *req, uint64_t index)
{
	req->index = index;
	if (r->position.index >= index) {
		read_end(r, req, 0);
		return;
	}
	req->next = r->reader.confirmed;
	r->reader.confirmed = req;
}

void reader_ready(struct replica *r, uint64_t token, int rc, uint64_t index)
{
	struct read_batch *batch = reader_take_batch(&r->reader, token);
	struct read_index *req, *next;

	assert(batch != NULL);
	for (req = batch->reads; req != NULL; req = next) {
		next = req->next;
		if (rc == 0) {
			reader_confirm(r, req, index);
		} else {
			reader_pend(&r->reader, req); /* Until its time is up. */
		}
	}
	if (rc != 0) {
		r->reader.retry_ms = replica_now(r) + READ_RETRY_MS;
	}
	free(batch);
}

void reader_applied(struct replica *r)
{
	struct read_index **read = &r->reader.confirmed;
	struct applied_wait **wait = &r->reader.waits;

	while (*read != NULL) {
		struct read_index *req = *read;

		if (r->position.index >= req->index) {
			*read = req->next;
			read_end(r, req, 0);
		} else {
			read = &req->next;
		}
	}
	while (*wait != NULL) {
		struct applied_wait *req = *wait;

		if (r->position.index >= req->want) {
			*wait = req->next;
			wait_end_waiting(r, req, 0);
		} else {
			wait = &req->next;
		}
	}
}

/* --- time --- */

/* Ends those of the list whose deadline is over. */
static void reads_expire(struct replica *r, struct read_index **list, uint64_t now_ms, int rc)
{
	while (*list != NULL) {
		struct read_index *req = *list;

		if (req->deadline_ms <= now_ms) {
			*list = req->next;
			read_end(r, req, rc);
		} else {
			list = &req->next;
		}
	}
}

static void waits_expire(struct replica *r, uint64_t now_ms, int rc)
{
	struct applied_wait **at = &r->reader.waits;

	while (*at != NULL) {
		struct applied_wait *req = *at;

		if (req->deadline_ms <= now_ms) {
			*at = req->next;
			wait_end_waiting(r, req, rc);
		} else {
			at = &req->next;
		}
	}
}

static void reader_expire(struct replica *r, uint64_t now_ms, int read_rc, int behind_rc)
{
	struct reader *reader = &r->reader;

	reads_expire(r, &reader->pending, now_ms, read_rc);
	reader->pending_tail = &reader->pending;
	while (*reader->pending_tail != NULL) {
		reader->pending_tail = &(*reader->pending_tail)->next;
	}
	/* The batch itself stays until the driver answers it. */
	for (struct read_batch *batch = reader->batches; batch != NULL; batch = batch->next) {
		reads_expire(r, &batch->reads, now_ms, read_rc);
	}
	reads_expire(r, &reader->confirmed, now_ms, behind_rc);
	waits_expire(r, now_ms, behind_rc);
}

void reader_tick(struct replica *r)
{
	reader_expire(r, replica_now(r), KLUIS_ENOQUORUM, KLUIS_EBEHIND);
}

void reader_stop(struct replica *r)
{
	reader_expire(r, UINT64_MAX, KLUIS_ECLOSED, KLUIS_ECLOSED);
	while (r->reader.batches != NULL) {
		free(reader_take_batch(&r->reader, r->reader.batches->token));
	}
}

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/limits.h"
#include "raft/fail_stop.h"
#include "raft/log_parts.h"

enum {
	LOG_STAGE_BYTES = 256 * 1024,
	LOG_STAGE_COPY_BYTES = 2048, /* Data up to here is copied, more is gathered. */
	LOG_IOV_MAX = 256,
};

void log_op_free(struct log_op *op)
{
	for (unsigned i = 0; i < op->n; i++) {
		entry_unref(op->entries[i]);
	}
	buf_release(&op->snapshot);
	free(op->places);
	free(op->rolled);
	free(op);
}

/* Hands what is staged to the kernel. */
static void writer_write(struct log_writer *w)
{
	struct iovec *iov = w->iov;
	unsigned n_iov = w->n_iov;

	while (n_iov > 0) {
		ssize_t n = FAULT_POINT("log.write")
				    ? (errno = EIO, -1)
				    : pwritev(w->active->fd, iov, (int)n_iov, (off_t)w->written);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			fail_stop("write '%s' at %u: %s", w->active->path, w->written,
				strerror(errno));
		}
		w->written += (uint32_t)n;
		while (n_iov > 0 && (size_t)n >= iov->iov_len) {
			n -= (ssize_t)iov->iov_len;
			iov++;
			n_iov--;
		}
		if (n > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	w->n_iov = 0;
	w->stage_len = 0;
	assert(w->written == w->end);
}

static void writer_sync(struct log_writer *w)
{
	if (w->active == NULL || w->end == w->synced) {
		return;
	}
	writer_write(w);
	if (FAULT_POINT("log.sync") || fdatasync(w->active->fd) != 0) {
		/* Never tried again: the kernel may have dropped the pages and say yes next time.
		 */
		fail_stop("fdatasync '%s': %s", w->active->path, strerror(errno));
	}
	w->synced = w->end;
}

static void writer_put_state(struct log_writer *w)
{
	uint8_t payload[LOG_STATE_BYTES];

	log_state_encode(&w->state, payload);
	slot_file_write(&w->state_file, payload);
}

/* The front learns of the segment when the work that took it is done. */
static void writer_tell_rolled(struct log_op *op, struct segment_file *segment)
{
	op->rolled = x_realloc(op->rolled, (op->n_rolled + 1) * sizeof(struct segment_file *));
	op->rolled[op->n_rolled++] = segment;
}

/* Goes on in a new segment that begins at first_index. alone: forget all older ones. */
static void writer_roll(struct log_writer *w, uint64_t first_index, bool alone)
{
	struct segment_head head = {.epoch = w->state.last_epoch + 1, .first_index = first_index};
	uint32_t salt;

	writer_sync(w);
	random_fill(w->random, &salt, sizeof salt);
	memcpy(head.log_id, w->state.log_id, LOG_ID_BYTES);
	if (!alone && w->active != NULL) {
		head.prev_end = w->end;
		head.prev_crc = w->last_crc;
	}
	w->active = segment_pool_take(&w->pool, &head, salt);
	writer_tell_rolled(w->current, w->active);
	w->state.last_epoch = head.epoch;
	if (alone) {
		w->state.first_epoch = head.epoch;
	}
	writer_put_state(w);
	w->end = w->written = w->synced = SEGMENT_HEAD_BYTES;
	w->last_crc = w->active->head.seed;
	w->last_index = first_index - 1;
	w->marked = true;
}

static void writer_gather(struct log_writer *w, void *base, size_t len)
{
	if (w->n_iov > 0) {
		struct iovec *last = &w->iov[w->n_iov - 1];

		if ((uint8_t *)last->iov_base + last->iov_len == base) {
			last->iov_len += len;
			return;
		}
	}
	w->iov[w->n_iov++] = (struct iovec){base, len};
}

static uint8_t *writer_stage(struct log_writer *w, size_t len)
{
	uint8_t *at = w->stage + w->stage_len;

	assert(w->stage_len + len <= LOG_STAGE_BYTES);
	w->stage_len += len;
	writer_gather(w, at, len);
	return at;
}

/* Makes room for a record of len bytes of data; a record never spans segments. */
static void writer_make_room(struct log_writer *w, size_t len)
{
	size_t bytes = segment_record_bytes(len);

	if (w->active == NULL || w->end + bytes > w->active->head.bytes) {
		writer_roll(w, w->last_index + 1, false);
		assert(w->end + bytes <= w->active->head.bytes);
	}
	if (w->n_iov + 3 > LOG_IOV_MAX ||
		w->stage_len + SEGMENT_RECORD_HEAD_BYTES + LOG_STAGE_COPY_BYTES + SEGMENT_ALIGN >
			LOG_STAGE_BYTES) {
		writer_write(w);
	}
}

/* Stages one record, whose data must stay until the next sync; returns where it stands. */
static uint32_t writer_add(
	struct log_writer *w, uint8_t type, uint64_t index, uint64_t term, struct bytes data)
{
	size_t pad = segment_record_bytes(data.len) - SEGMENT_RECORD_HEAD_BYTES - data.len;
	uint8_t head[SEGMENT_RECORD_HEAD_BYTES];
	uint32_t at;

	writer_make_room(w, data.len);
	at = w->end;
	w->last_crc =
		segment_record_encode(&w->active->head, type, w->synced, index, term, data, head);
	memcpy(writer_stage(w, sizeof head), head, sizeof head);
	if (data.len > LOG_STAGE_COPY_BYTES) {
		writer_gather(w, (void *)(uintptr_t)data.data, data.len);
	} else if (data.len > 0) {
		memcpy(writer_stage(w, data.len), data.data, data.len);
	}
	if (pad > 0) {
		memset(writer_stage(w, pad), 0, pad);
	}
	w->end += (uint32_t)segment_record_bytes(data.len);
	w->marked = type == SEGMENT_MARK;
	return at;
}

static void writer_append(struct log_writer *w, struct log_op *op)
{
	if (op->truncate) {
		(void)writer_add(w, SEGMENT_TRUNCATE, op->entries[0]->index, 0, (struct bytes){0});
		w->last_index = op->entries[0]->index - 1;
	}
	for (unsigned i = 0; i < op->n; i++) {
		struct entry *entry = op->entries[i];

		assert(w->active == NULL ? true : entry->index == w->last_index + 1);
		op->places[i].offset =
			writer_add(w, entry->type, entry->index, entry->term, entry_bytes(entry));
		op->places[i].segment = w->active;
		w->last_index = entry->index;
	}
}

static void writer_put_snapshot(struct log_writer *w, const struct log_op *op)
{
	struct err e = {0};

	if (file_write(w->snapshot_path, buf_bytes(&op->snapshot), 0600, &e) != 0) {
		fail_stop("%s", e.text);
	}
}

static void writer_trim(struct log_writer *w, const struct log_op *op)
{
	writer_put_snapshot(w, op);
	if (op->keep_epoch > w->state.first_epoch) {
		assert(op->keep_epoch <= w->state.last_epoch);
		w->state.first_epoch = op->keep_epoch;
		writer_put_state(w);
	}
}

static void writer_reset(struct log_writer *w, const struct log_op *op)
{
	writer_put_snapshot(w, op);
	writer_roll(w, op->first, true);
}

/* Says that everything before was synced: what is wrong before it at the next start is damage. */
static void writer_mark(struct log_writer *w)
{
	if (w->active == NULL || w->marked ||
		w->end + SEGMENT_RECORD_HEAD_BYTES > w->active->head.bytes) {
		return;
	}
	writer_sync(w);
	(void)writer_add(w, SEGMENT_MARK, w->last_index, 0, (struct bytes){0});
	writer_sync(w);
}

static void writer_do(struct log_writer *w, struct log_op *op)
{
	w->current = op;
	switch (op->kind) {
	case LOG_OP_APPEND:
		writer_append(w, op);
		return;
	case LOG_OP_TRIM:
		writer_sync(w);
		writer_trim(w, op);
		return;
	case LOG_OP_RESET:
		writer_sync(w);
		writer_reset(w, op);
		return;
	case LOG_OP_CLOSE:
		writer_sync(w);
		writer_mark(w);
		w->running = false;
		return;
	}
}

/* Everything queued, one sync, then the answers. */
static void writer_batch(struct log_writer *w, struct log_op *batch)
{
	for (struct log_op *op = batch; op != NULL; op = op->next) {
		writer_do(w, op);
	}
	writer_sync(w);
	while (batch != NULL) {
		struct log_op *next = batch->next;

		mailbox_send(w->home, &batch->mail);
		batch = next;
	}
}

/* Sets *ret_idle when nothing came for mark_idle_ms. */
static struct log_op *writer_wait(struct log_writer *w, bool wait, bool *ret_idle)
{
	struct log_op *batch;
	struct timespec until;
	int rv = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until); /* Always exists. */
	until.tv_sec += (time_t)(w->mark_idle_ms / 1000);
	until.tv_nsec += (long)(w->mark_idle_ms % 1000) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_mutex_lock(&w->lock);
	while (wait && w->head == NULL && rv == 0) {
		rv = w->marked ? pthread_cond_wait(&w->more, &w->lock)
			       : pthread_cond_timedwait(&w->more, &w->lock, &until);
	}
	batch = w->head;
	w->head = NULL;
	w->tail = &w->head;
	(void)pthread_mutex_unlock(&w->lock);
	*ret_idle = rv != 0;
	return batch;
}

static void *writer_thread(void *arg)
{
	struct log_writer *w = arg;
	bool preparing = true;

	(void)pthread_setname_np(pthread_self(), "log"); /* Only for people. */
	while (w->running) {
		bool idle = false;
		struct log_op *batch = writer_wait(w, !preparing, &idle);

		if (batch != NULL) {
			writer_batch(w, batch);
			preparing = w->running;
		} else if (idle) {
			writer_mark(w);
		} else {
			/* Only when nothing waits: a full disk of zeros delays nobody. */
			preparing = segment_pool_prepare(&w->pool);
		}
	}
	return NULL;
}

void log_writer_start(struct log_writer *w)
{
	pthread_condattr_t attr;
	int rv;

	w->stage = x_malloc(LOG_STAGE_BYTES);
	w->iov = x_calloc(LOG_IOV_MAX, sizeof *w->iov);
	w->tail = &w->head;
	w->running = true;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* A jump must not wake us. */
	(void)pthread_cond_init(&w->more, &attr);
	(void)pthread_condattr_destroy(&attr);
	(void)pthread_mutex_init(&w->lock, NULL);
	rv = pthread_create(&w->thread, NULL, writer_thread, w);
	assert(rv == 0);
}

void log_writer_push(struct log_writer *w, struct log_op *op)
{
	op->next = NULL;
	(void)pthread_mutex_lock(&w->lock);
	*w->tail = op;
	w->tail = &op->next;
	(void)pthread_cond_signal(&w->more);
	(void)pthread_mutex_unlock(&w->lock);
}

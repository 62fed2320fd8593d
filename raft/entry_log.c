#include "raft/entry_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/wire.h"
#include "raft/fail_stop.h"
#include "raft/log_parts.h"

enum { LOG_READS_MAX = 256 };
static const char log_state_magic[] = "KLST";

struct entry_log {
	struct mailbox *home;
	void (*persisted_cb)(void *user, uint64_t seq);
	void (*closed_cb)(void *user);
	void *user;
	char *dir;
	int lock_fd;
	struct vote_file vote;
	struct log_index index;
	struct segment_file **segments; /* Known to be in use, in order of epoch. */
	unsigned n_segments, segments_cap;
	size_t unwritten_bytes;
	struct buf snapshot;
	struct pool *readers;
	unsigned reading;
	bool closing, written_out;
	struct log_writer writer;
};

static void log_free(struct entry_log *log)
{
	log_index_release(&log->index);
	for (unsigned i = 0; i < log->n_segments; i++) {
		segment_file_unref(log->segments[i]);
	}
	free(log->segments);
	slot_file_close(&log->writer.state_file);
	vote_file_close(&log->vote);
	segment_pool_release(&log->writer.pool);
	free(log->writer.snapshot_path);
	free(log->writer.stage);
	free(log->writer.iov);
	buf_release(&log->snapshot);
	if (log->lock_fd >= 0) {
		(void)close(log->lock_fd); /* Gives the lock back. */
	}
	free(log->dir);
	free(log);
}

/* --- opening --- */

static int log_lock(struct entry_log *log, struct err *e)
{
	int rc;

	log->lock_fd = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (log->lock_fd < 0) {
		return err_set_errno(e, errno, "open directory '%s'", log->dir);
	}
	rc = lock_take(log->lock_fd, log->dir, e);
	return rc == KLUIS_EBUSY ? err_wrap(e, rc, "another process has the log") : rc;
}

static int log_create(
	const char *state_path, const char *vote_path, struct random *random, struct err *e)
{
	struct log_state state = {.first_epoch = 1, .last_epoch = 0};
	uint8_t payload[LOG_STATE_BYTES];
	int rc;

	random_fill(random, state.log_id, LOG_ID_BYTES);
	log_state_encode(&state, payload);
	(void)unlink(vote_path); /* Of a creation that did not get to its end: the state counts. */
	rc = vote_file_create(vote_path, state.log_id, 0, 0, e);
	return rc != 0 ? rc
		       : slot_file_create(
				 state_path, log_state_magic, bytes_of(payload, sizeof payload), e);
}

/* A directory with segments and no state lost a file: it must not be taken for a new log. */
static int log_check_new(struct entry_log *log, struct err *e)
{
	_cleanup_(x_freep) char *first = segment_path(log->dir, 1);
	_cleanup_(x_freep) char *snapshot = x_asprintf("%s/snapshot", log->dir);

	if (file_exists(first) || file_exists(snapshot)) {
		return err_set(e, KLUIS_ECORRUPT,
			"'%s/state' is missing, but the log is not new: " REPLACE_NODE, log->dir);
	}
	return 0;
}

static int log_open_state(
	struct entry_log *log, struct random *random, struct log_state *ret_state, struct err *e)
{
	_cleanup_(x_freep) char *state_path = x_asprintf("%s/state", log->dir);
	_cleanup_(x_freep) char *vote_path = x_asprintf("%s/vote", log->dir);
	uint8_t payload[LOG_STATE_BYTES];
	int rc = 0;

	if (!file_exists(state_path)) {
		rc = log_check_new(log, e);
		if (rc == 0) {
			rc = log_create(state_path, vote_path, random, e);
		}
	}
	if (rc == 0) {
		rc = slot_file_open(&log->writer.state_file, state_path, log_state_magic, payload,
			sizeof payload, e);
	}
	if (rc != 0) {
		return rc;
	}
	memcpy(ret_state->log_id, payload, LOG_ID_BYTES);
	ret_state->first_epoch = load_u64(payload + LOG_ID_BYTES);
	ret_state->last_epoch = load_u64(payload + LOG_ID_BYTES + 8);
	if (ret_state->first_epoch == 0 || ret_state->first_epoch > ret_state->last_epoch + 1) {
		return err_set(e, KLUIS_ECORRUPT, "'%s' names no possible segments", state_path);
	}
	rc = vote_file_open(&log->vote, vote_path, ret_state->log_id, e);
	return rc == KLUIS_ENOTFOUND ? err_set(e, KLUIS_ECORRUPT,
					       "'%s' is missing: without it this node could vote "
					       "twice; " REPLACE_NODE,
					       vote_path)
				     : rc;
}

static int log_open_snapshot(struct entry_log *log, struct err *e)
{
	log->writer.snapshot_path = x_asprintf("%s/snapshot", log->dir);
	if (!file_exists(log->writer.snapshot_path)) {
		return 0;
	}
	return file_read(log->writer.snapshot_path, LOG_SNAPSHOT_BYTES_MAX, &log->snapshot, e);
}

static int log_check_vote(const struct entry_log *log, struct err *e)
{
	uint64_t last = log_index_last(&log->index);

	if (log->index.n > 0 && log_index_at(&log->index, last)->term > log->vote.term) {
		return err_set(e, KLUIS_ECORRUPT,
			"'%s/vote' says term %" PRIu64 ", but the log has entries of term %" PRIu64
			": that file is an old copy; " REPLACE_NODE,
			log->dir, log->vote.term, log_index_at(&log->index, last)->term);
	}
	return 0;
}

static void log_take_loaded(struct entry_log *log, const struct log_loaded *loaded)
{
	struct log_writer *w = &log->writer;

	log->segments = loaded->segments;
	log->n_segments = log->segments_cap = loaded->n_segments;
	w->state = loaded->state;
	w->last_index = log_index_last(&log->index);
	w->marked = true; /* Nothing was written by us. */
	if (loaded->n_segments > 0) {
		w->active = loaded->segments[loaded->n_segments - 1];
		w->end = w->written = w->synced = loaded->end;
		w->last_crc = loaded->last_crc;
	}
}

static int log_open_all(struct entry_log *log, const struct entry_log_config *config, struct err *e)
{
	struct log_loaded loaded = {0};
	struct log_state state;
	int rc;

	rc = file_make_dirs(log->dir, 0700, e);
	if (rc == 0) {
		rc = log_lock(log, e);
	}
	if (rc == 0) {
		rc = log_open_state(log, config->random, &state, e);
	}
	if (rc == 0) {
		rc = log_open_snapshot(log, e);
	}
	if (rc == 0) {
		rc = log_load(&log->writer.pool, log->dir, &state, &log->index, &loaded, e);
	}
	if (rc != 0) {
		return rc;
	}
	log_take_loaded(log, &loaded);
	return log_check_vote(log, e);
}

int entry_log_open(const struct entry_log_config *config, struct entry_log **ret_log, struct err *e)
{
	struct entry_log *log = x_calloc(1, sizeof *log);
	int rc;

	log->dir = x_strdup(config->dir);
	log->lock_fd = -1;
	log->home = config->home;
	log->persisted_cb = config->persisted_cb;
	log->user = config->user;
	log->writer.home = config->home;
	log->writer.random = config->random;
	log->writer.mark_idle_ms =
		config->mark_idle_ms == 0 ? LOG_MARK_IDLE_MS : config->mark_idle_ms;
	segment_pool_init(&log->writer.pool, config->dir,
		config->segment_bytes == 0 ? SEGMENT_BYTES : config->segment_bytes);
	rc = log_open_all(log, config, e);
	if (rc != 0) {
		log_free(log);
		return err_wrap(e, rc, "open the log");
	}
	log->readers = pool_new("log_read", 1, LOG_READS_MAX);
	log_writer_start(&log->writer);
	*ret_log = log;
	return 0;
}

/* --- completions --- */

static void log_know_segment(struct entry_log *log, struct segment_file *segment)
{
	assert(log->n_segments == 0 ||
		log->segments[log->n_segments - 1]->head.epoch < segment->head.epoch);
	if (log->n_segments == log->segments_cap) {
		log->segments_cap = log->segments_cap * 2 + 16;
		log->segments =
			x_realloc(log->segments, log->segments_cap * sizeof(struct segment_file *));
	}
	log->segments[log->n_segments++] = segment;
}

/* Segments below epoch leave the log's list. */
static void log_drop_segments(struct entry_log *log, uint64_t epoch)
{
	unsigned n = 0;

	while (n < log->n_segments && log->segments[n]->head.epoch < epoch) {
		segment_file_retire(log->segments[n++]);
	}
	memmove(log->segments, log->segments + n,
		(log->n_segments - n) * sizeof(struct segment_file *));
	log->n_segments -= n;
}

static void log_place_entries(struct entry_log *log, const struct log_op *op)
{
	for (unsigned i = 0; i < op->n; i++) {
		uint64_t at = op->entries[i]->index;
		struct log_slot *slot;

		if (at < log->index.first || at > log_index_last(&log->index)) {
			continue;
		}
		slot = log_index_at(&log->index, at);
		if (slot->entry == op->entries[i]) { /* Else it was truncated meanwhile. */
			slot->segment = op->places[i].segment;
			slot->offset = op->places[i].offset;
			slot->entry = NULL;
			entry_unref(op->entries[i]);
		}
	}
	assert(log->unwritten_bytes >= op->bytes);
	log->unwritten_bytes -= op->bytes;
}

static void log_try_end(struct entry_log *log)
{
	void (*closed_cb)(void *) = log->closed_cb;
	void *user = log->user;

	if (!log->written_out || log->reading > 0) {
		return;
	}
	(void)pthread_join(log->writer.thread, NULL);
	pool_free(log->readers);
	log_free(log);
	closed_cb(user);
}

static void log_op_done_cb(struct mail *mail)
{
	struct log_op *op = CONTAINER_OF(mail, struct log_op, mail);
	struct entry_log *log = op->log;
	enum log_op_kind kind = op->kind;
	uint64_t seq = op->seq;

	for (unsigned i = 0; i < op->n_rolled; i++) {
		log_know_segment(log, op->rolled[i]);
	}
	if (kind == LOG_OP_APPEND) {
		log_place_entries(log, op);
	} else if (kind == LOG_OP_TRIM) {
		log_drop_segments(log, op->keep_epoch);
	} else if (kind == LOG_OP_RESET) {
		log_drop_segments(log, op->rolled[0]->head.epoch);
	}
	log_op_free(op);
	if (kind == LOG_OP_CLOSE) {
		log->written_out = true;
		log_try_end(log);
	} else if (kind != LOG_OP_TRIM && !log->closing) {
		log->persisted_cb(log->user, seq);
	}
}

static struct log_op *log_op_new(struct entry_log *log, enum log_op_kind kind, unsigned n)
{
	struct log_op *op = x_calloc(1, sizeof *op + n * sizeof op->entries[0]);

	assert(!log->closing || kind == LOG_OP_CLOSE);
	op->mail.deliver_cb = log_op_done_cb;
	op->log = log;
	op->kind = kind;
	return op;
}

void entry_log_close(struct entry_log *log, void (*closed_cb)(void *user))
{
	assert(!log->closing);
	log->closing = true;
	log->closed_cb = closed_cb;
	log_writer_push(&log->writer, log_op_new(log, LOG_OP_CLOSE, 0));
}

/* --- writing --- */

void entry_log_append(struct entry_log *log, uint64_t seq, struct entry *const *entries, unsigned n)
{
	struct log_op *op = log_op_new(log, LOG_OP_APPEND, n);
	uint64_t from = entries[0]->index;

	assert(n > 0 && from >= log->index.first && from <= log_index_last(&log->index) + 1);
	op->seq = seq;
	op->n = n;
	op->places = x_calloc(n, sizeof op->places[0]);
	op->truncate = from <= log_index_last(&log->index);
	log_index_truncate(&log->index, from);
	for (unsigned i = 0; i < n; i++) {
		struct log_slot *slot = log_index_push(&log->index);

		assert(entries[i]->index == from + i);
		slot->term = entries[i]->term;
		slot->type = entries[i]->type;
		slot->len = entries[i]->len;
		slot->entry = entry_ref(entries[i]);
		op->entries[i] = entry_ref(entries[i]);
		op->bytes += entries[i]->len;
	}
	log->unwritten_bytes += op->bytes;
	log_writer_push(&log->writer, op);
}

static void log_op_snapshot(struct entry_log *log, struct log_op *op, struct bytes snapshot)
{
	assert(snapshot.len <= LOG_SNAPSHOT_BYTES_MAX);
	buf_append_bytes(&op->snapshot, snapshot);
	buf_clear(&log->snapshot);
	buf_append_bytes(&log->snapshot, snapshot);
}

/* The oldest segment that is still needed when entries up to upto are not. */
static uint64_t log_keep_epoch(const struct entry_log *log, uint64_t upto)
{
	const struct segment_file *newest;

	if (log->n_segments == 0) {
		return 0;
	}
	newest = log->segments[log->n_segments - 1];
	if (upto < log->index.first || log->index.n == 0) {
		return log->segments[0]->head.epoch;
	}
	if (upto < log_index_last(&log->index)) {
		const struct log_slot *next = log_index_at(&log->index, upto + 1);

		return next->segment == NULL ? newest->head.epoch : next->segment->head.epoch;
	}
	return newest->head.epoch;
}

void entry_log_trim(struct entry_log *log, uint64_t upto, struct bytes snapshot)
{
	struct log_op *op = log_op_new(log, LOG_OP_TRIM, 0);
	uint64_t to = log->index.first;

	assert(upto <= log_index_last(&log->index));
	op->keep_epoch = log_keep_epoch(log, upto);
	while (to <= upto) {
		const struct log_slot *slot = log_index_at(&log->index, to);

		if (slot->segment == NULL || slot->segment->head.epoch >= op->keep_epoch) {
			break;
		}
		to++;
	}
	log_index_trim(&log->index, to);
	log_op_snapshot(log, op, snapshot);
	log_writer_push(&log->writer, op);
}

void entry_log_reset(struct entry_log *log, uint64_t seq, uint64_t first, struct bytes snapshot)
{
	struct log_op *op = log_op_new(log, LOG_OP_RESET, 0);

	assert(first > 0);
	op->seq = seq;
	op->first = first;
	log_index_truncate(&log->index, log->index.first);
	log->index.first = first;
	log_op_snapshot(log, op, snapshot);
	log_writer_push(&log->writer, op);
}

void entry_log_set_vote(struct entry_log *log, uint64_t term, uint64_t vote)
{
	vote_file_set(&log->vote, term, vote);
}

/* --- what stands in it --- */

uint64_t entry_log_first(const struct entry_log *log)
{
	return log->index.first;
}

uint64_t entry_log_last(const struct entry_log *log)
{
	return log_index_last(&log->index);
}

uint64_t entry_log_term(const struct entry_log *log, uint64_t index)
{
	return log_index_at(&log->index, index)->term;
}

enum entry_type entry_log_type(const struct entry_log *log, uint64_t index)
{
	return (enum entry_type)log_index_at(&log->index, index)->type;
}

uint64_t entry_log_count_back(const struct entry_log *log, uint64_t index, uint64_t bytes)
{
	uint64_t count = 0;

	while (index >= log->index.first && index > 0) {
		uint64_t len = segment_record_bytes(log_index_at(&log->index, index)->len);

		if (len > bytes) {
			break;
		}
		bytes -= len;
		count++;
		index--;
	}
	return count;
}

uint64_t entry_log_disk_bytes(const struct entry_log *log)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < log->n_segments; i++) {
		bytes += log->segments[i]->head.bytes;
	}
	return bytes;
}

struct bytes entry_log_snapshot(const struct entry_log *log)
{
	return buf_bytes(&log->snapshot);
}

const uint8_t *entry_log_id(const struct entry_log *log)
{
	return log->vote.log_id;
}

uint64_t entry_log_vote_term(const struct entry_log *log)
{
	return log->vote.term;
}

uint64_t entry_log_vote(const struct entry_log *log)
{
	return log->vote.vote;
}

/* --- reading --- */

static int log_read_place(
	const struct log_slot *slot, uint64_t index, struct entry **ret_entry, struct err *e)
{
	size_t bytes = segment_record_bytes(slot->len);
	_cleanup_(x_freep) uint8_t *window = x_malloc(bytes);
	ssize_t n = pread(slot->segment->fd, window, bytes, (off_t)slot->offset);
	struct segment_record record;

	if (n < 0) {
		return err_set_errno(e, errno, "read '%s'", slot->segment->path);
	}
	if (segment_record_decode(&slot->segment->head, bytes_of(window, (size_t)n), 0, &record) !=
			0 ||
		record.index != index || record.term != slot->term || record.type != slot->type) {
		return err_set(e, KLUIS_ECORRUPT,
			"'%s': the record at offset %" PRIu32 " (index %" PRIu64
			") is damaged: " REPLACE_NODE,
			slot->segment->path, slot->offset, index);
	}
	*ret_entry = entry_copy(index, record.term, (enum entry_type)record.type, record.data);
	return 0;
}

int entry_log_load(struct entry_log *log, uint64_t index, struct entry **ret_entry, struct err *e)
{
	const struct log_slot *slot;

	if (index < log->index.first || index > log_index_last(&log->index)) {
		return err_set(e, KLUIS_ENOTFOUND, "the log has no index %" PRIu64, index);
	}
	slot = log_index_at(&log->index, index);
	if (slot->entry != NULL) {
		*ret_entry = entry_ref(slot->entry);
		return 0;
	}
	return log_read_place(slot, index, ret_entry, e);
}

/* On the reader's thread. */
static int log_read_work(struct pool_work *work)
{
	struct entry_log_read *req = CONTAINER_OF(work, struct entry_log_read, work);

	for (unsigned i = 0; i < req->n; i++) {
		struct err e = {0};

		if (req->entries[i] == NULL &&
			log_read_place(&req->slots[i], req->first + i, &req->entries[i], &e) != 0) {
			fail_stop("%s", e.text);
		}
	}
	return 0;
}

static void log_read_done_cb(struct pool_work *work, int rc)
{
	struct entry_log_read *req = CONTAINER_OF(work, struct entry_log_read, work);
	struct entry_log *log = req->log;

	for (unsigned i = 0; i < req->n; i++) {
		segment_file_unref(req->slots[i].segment);
	}
	free(req->slots);
	req->slots = NULL;
	req->rc = req->n == 0 ? KLUIS_ENOTFOUND : rc;
	assert(log->reading > 0);
	log->reading--;
	req->cb(req);
	log_try_end(log);
}

/* How many of first .. first + n - 1 one read brings. */
static unsigned log_read_count(const struct entry_log *log, uint64_t first, unsigned n)
{
	uint64_t last = log_index_last(&log->index);
	unsigned count = 0;
	size_t bytes = 0;

	if (first < log->index.first) {
		return 0;
	}
	while (count < n && count < LOG_READ_ENTRIES_MAX && first + count <= last) {
		bytes += log_index_at(&log->index, first + count)->len;
		if (count > 0 && bytes > LOG_READ_BYTES_MAX) {
			break;
		}
		count++;
	}
	return count;
}

int entry_log_read_start(struct entry_log *log, struct entry_log_read *req, uint64_t first,
	unsigned n, void (*cb)(struct entry_log_read *req))
{
	int rc;

	assert(!log->closing && n > 0);
	*req = (struct entry_log_read){.log = log, .cb = cb, .first = first};
	req->n = log_read_count(log, first, n);
	req->entries = x_calloc(req->n + 1, sizeof(struct entry *));
	req->slots = x_calloc(req->n + 1, sizeof(struct log_slot));
	for (unsigned i = 0; i < req->n; i++) {
		const struct log_slot *slot = log_index_at(&log->index, first + i);

		req->slots[i] = *slot;
		if (slot->entry != NULL) {
			req->entries[i] = entry_ref(slot->entry);
		}
		if (slot->segment != NULL) {
			(void)segment_file_ref(slot->segment);
		}
	}
	rc = pool_submit(log->readers, &req->work, log->home, log_read_work, log_read_done_cb);
	if (rc == 0) {
		log->reading++;
		return 0;
	}
	for (unsigned i = 0; i < req->n; i++) {
		entry_unref(req->entries[i]);
		segment_file_unref(req->slots[i].segment);
	}
	free(req->entries);
	free(req->slots);
	return rc;
}

/* What the parts of the log share: entry_log.c (the front, on the core loop), log_writer.c (the
 * writer's thread) and log_load.c (reading it all at start). Nobody else includes it. */
#ifndef KLUIS_RAFT_LOG_PARTS_H
#define KLUIS_RAFT_LOG_PARTS_H

#include "raft/entry_log.h"
#include "raft/segment_pool.h"

/* Which segments make the log. */
struct log_state {
	uint8_t log_id[LOG_ID_BYTES];
	uint64_t first_epoch, last_epoch; /* last < first: none. */
};

enum { LOG_STATE_BYTES = LOG_ID_BYTES + 16 };

void log_state_encode(const struct log_state *state, uint8_t to[LOG_STATE_BYTES]);

/* Where an entry's record stands. */
struct log_place {
	struct segment_file *segment; /* NULL: not written yet. */
	uint32_t offset;
};

/* Work for the writer, in order. */
enum log_op_kind { LOG_OP_APPEND, LOG_OP_TRIM, LOG_OP_RESET, LOG_OP_CLOSE };

struct log_op {
	struct mail mail; /* Back to the core when it is durable. */
	struct log_op *next;
	struct entry_log *log;
	enum log_op_kind kind;
	uint64_t seq;
	bool truncate;		      /* APPEND: void what stands from the first entry on. */
	uint64_t first;		      /* RESET: the index at which the log goes on. */
	uint64_t keep_epoch;	      /* TRIM: older segments go. */
	struct buf snapshot;	      /* TRIM, RESET. */
	struct segment_file **rolled; /* Taken into use by this work, in order. */
	unsigned n_rolled;
	size_t bytes; /* APPEND: of the entries' data. */
	unsigned n;
	struct log_place *places;
	struct entry *entries[];
};

/* The writer's own: only its thread touches it once it runs. */
struct log_writer {
	struct segment_pool pool;
	struct slot_file state_file;
	struct log_state state;
	char *snapshot_path;
	struct random *random;
	struct mailbox *home;

	struct log_op *current;
	struct segment_file *active; /* NULL: none yet. Owned by the front's list. */
	uint32_t end;		     /* Of what is in the active segment or staged for it. */
	uint32_t written, synced;    /* So far it was handed to the kernel, and is on the disk. */
	uint32_t last_crc;	     /* Of the newest record, else of the head. */
	uint64_t last_index;
	unsigned mark_idle_ms;
	bool marked; /* Nothing was written behind the last mark. */

	uint8_t *stage;
	size_t stage_len;
	struct iovec *iov;
	unsigned n_iov;

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct log_op *head, **tail; /* Under lock. */
	bool running;
};

/* What loading found; goes into the front and the writer. */
struct log_loaded {
	struct log_state state;
	struct segment_file **segments; /* In order of epoch; one reference each. */
	unsigned n_segments;
	uint32_t end; /* Of the last one's records. */
	uint32_t last_crc;
};

/* One entry as the front knows it. */
struct log_slot {
	uint64_t term;
	struct segment_file *segment; /* NULL: not written yet; no reference of its own. */
	struct entry *entry;	      /* Until it is written: one reference. */
	uint32_t offset, len;
	uint8_t type;
};

/* A queue of slots: front cut off, back truncated and appended. */
struct log_index {
	struct log_slot *slots;
	size_t head, n, cap;
	uint64_t first; /* Index of slots[head]. */
};

void log_index_release(struct log_index *index);
struct log_slot *log_index_at(const struct log_index *index, uint64_t at);
uint64_t log_index_last(const struct log_index *index);
struct log_slot *log_index_push(struct log_index *index);
/* From `from` on everything goes; entries are given back. */
void log_index_truncate(struct log_index *index, uint64_t from);
/* Entries below `to` go. */
void log_index_trim(struct log_index *index, uint64_t to);

/* Reads and checks all segments that `state` names, cuts a torn tail. On success *ret_loaded and
 * the index are the caller's. */
KLUIS_MUST_CHECK int log_load(struct segment_pool *pool, const char *dir,
	const struct log_state *state, struct log_index *index, struct log_loaded *ret_loaded,
	struct err *e);

void log_writer_start(struct log_writer *writer);
/* Any thread; taken. */
void log_writer_push(struct log_writer *writer, struct log_op *op);
void log_op_free(struct log_op *op);

#endif

/* The term this node is in and whom it voted for in it: durable before any message says so. */
#ifndef KLUIS_RAFT_VOTE_FILE_H
#define KLUIS_RAFT_VOTE_FILE_H

#include "raft/slot_file.h"

enum { LOG_ID_BYTES = 16 };

struct vote_file {
	struct slot_file slots;
	uint8_t log_id[LOG_ID_BYTES]; /* Of the log it belongs to: a copy from another is refused.
				       */
	uint64_t term, vote;	      /* vote 0: none in this term. */
};

/* KLUIS_EEXIST when there is one. Blocking. */
KLUIS_MUST_CHECK int vote_file_create(const char *path, const uint8_t log_id[LOG_ID_BYTES],
	uint64_t term, uint64_t vote, struct err *e);
/* KLUIS_ENOTFOUND, KLUIS_ECORRUPT, KLUIS_EVERSION as slot_file_open(); KLUIS_ECORRUPT also when it
 * belongs to another log. Blocking. */
KLUIS_MUST_CHECK int vote_file_open(struct vote_file *file, const char *path,
	const uint8_t log_id[LOG_ID_BYTES], struct err *e);
/* Durable on return. term never goes back, and a vote never changes within its term: asserted,
 * since a second vote elects two leaders. A failure ends the process. Blocking (two fdatasync). */
void vote_file_set(struct vote_file *file, uint64_t term, uint64_t vote);
void vote_file_close(struct vote_file *file);

#endif

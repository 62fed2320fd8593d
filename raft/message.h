/* What nodes say to each other about the log: typed values and their bytes
 * (docs/format-raft-messages.md). No raft.h, no I/O. */
#ifndef KLUIS_RAFT_MESSAGE_H
#define KLUIS_RAFT_MESSAGE_H

#include "raft/configuration.h"
#include "raft/entry.h"

/* Values travel. */
enum message_type {
	MESSAGE_APPEND = 1, /* Leader: entries, or a heartbeat. */
	MESSAGE_APPEND_RESULT = 2,
	MESSAGE_VOTE = 3, /* Candidate asks. */
	MESSAGE_VOTE_RESULT = 4,
	MESSAGE_SNAPSHOT = 5,	 /* Leader: the log before `index` is gone, fetch this. */
	MESSAGE_TIMEOUT_NOW = 6, /* Leader hands over: stand for election at once. */
	MESSAGE_READ_ROUND = 7,	 /* Leader: is your term mine and am I your leader? */
	MESSAGE_READ_ROUND_RESULT = 8,
	MESSAGE_READ_INDEX = 9, /* Follower: from which index may I serve a read? */
	MESSAGE_READ_INDEX_RESULT = 10,
	MESSAGE_PROPOSE = 11, /* Follower: put these commands into the log. */
	MESSAGE_PROPOSE_RESULT = 12,
	MESSAGE_SNAPSHOT_WANT = 13, /* My data is worth nothing, offer me yours. */
	MESSAGE_SNAPSHOT_GIVE = 14, /* The answer: as MESSAGE_SNAPSHOT, of anybody. */
	MESSAGE_TYPE_MAX = MESSAGE_SNAPSHOT_GIVE,
};

/* One command of a MESSAGE_PROPOSE; its origin is the sender of the message. */
struct message_proposal {
	uint64_t boot; /* Nonce of the sender's process. */
	uint64_t seq;
	struct bytes command;
};

/* How old is what a message says? What took long under way must not look new. sent: the sender's
 * mark of the moment at which it says so, which only itself understands. echo: a mark that it had
 * of the receiver by then (in an append: by the time that `commit` was all that the cluster had
 * committed); 0: none. */
struct message_marks {
	uint64_t sent, echo;
};

struct message_append {
	uint64_t prev_index, prev_term, commit;
	unsigned n; /* At most ENTRIES_PER_MESSAGE_MAX. */
	/* After message_decode(): new entries, one reference each, owned by the message, index and
	 * term filled in. For message_encode(): borrowed. */
	struct entry **entries;
	struct message_marks marks;
};

struct message_snapshot {
	uint64_t index, index_term;   /* Last entry that the snapshot covers. */
	uint64_t configuration_index; /* Where its configuration stood in the log. */
	struct configuration configuration;
	struct bytes manifest; /* Opaque here, at most MANIFEST_BYTES_MAX. */
};

struct message {
	enum message_type type;
	uint64_t term; /* The sender's; 0 for READ_INDEX*. A PROPOSE is for this term's leader
			  alone. */
	union {
		struct message_append append;
		struct {
			uint64_t rejected; /* 0, or the index that did not match. */
			uint64_t last_index;
			struct message_marks marks;
		} append_result;
		struct {
			uint64_t last_index, last_term;
			bool disrupt; /* The leader told it to stand. */
		} vote;
		struct {
			bool granted;
		} vote_result;
		/* Big, and rare: on the heap, owned by a decoded message, borrowed for encoding.
		 * manifest points into the decoded bytes. */
		struct message_snapshot *snapshot;
		struct {
			uint64_t last_index, last_term;
		} timeout_now;
		struct {
			uint64_t round;
		} read_round;
		struct {
			uint64_t round;
			bool confirmed;
		} read_round_result;
		struct {
			uint64_t request;
		} read_index;
		struct {
			uint64_t request;
			int rc; /* 0 or the KLUIS_E* that refused. */
			uint64_t index;
		} read_index_result;
		struct {
			unsigned n;			    /* 1 .. PROPOSALS_PER_MESSAGE_MAX. */
			struct message_proposal *proposals; /* Array owned, commands borrowed. */
		} propose;
		struct {
			uint64_t boot, seq; /* Answers all proposals of the message up to seq. */
			int rc;		    /* 0: in the leader's log, outcome comes by apply. */
			uint64_t first_seq;
		} propose_result;
		struct {
			uint64_t min_index; /* One that stands there or later. */
		} snapshot_want;
	};
};

/* Writes all but the entries' data: a MESSAGE_APPEND is `header` followed by the data of its
 * entries one after the other, so that a link can gather them without a copy. */
void message_encode(const struct message *message, struct buf *header);
/* The exact bytes of one message. Every field is checked: counts, lengths, entry types, terms that
 * do not go back, indexes that do not wrap. On success free with message_release(); nothing is kept
 * of `bytes` but manifest and proposals' commands. KLUIS_EPROTO, KLUIS_EVERSION with the field in
 * e. Any thread. */
KLUIS_MUST_CHECK int message_decode(struct bytes bytes, struct message *ret_message, struct err *e);
void message_release(struct message *message);
const char *message_type_name(enum message_type type);

#endif

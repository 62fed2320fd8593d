/* The bytes of a log segment: its head and its records (docs/format-log.md). No I/O. */
#ifndef KLUIS_RAFT_SEGMENT_H
#define KLUIS_RAFT_SEGMENT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "raft/vote_file.h"

enum {
	SEGMENT_HEAD_BYTES = 4096,
	SEGMENT_RECORD_HEAD_BYTES = 40,
	SEGMENT_ALIGN = 8, /* Records begin at multiples of it. */
};

/* Beside the values of enum entry_type. */
enum segment_record_type {
	SEGMENT_TRUNCATE = 64, /* Entries from `index` on are void. */
	SEGMENT_MARK = 65,     /* No meaning but that all before it was synced. */
};

struct segment_head {
	uint8_t log_id[LOG_ID_BYTES];
	uint64_t epoch;	      /* Counts the activations of segments of this log, from 1. */
	uint64_t first_index; /* Of the next entry when the segment was taken into use. */
	uint32_t bytes;	      /* The whole file. */
	/* Drawn anew each time: tells this life's records from what a recycled file holds, and
	 * cannot be guessed by whoever chooses the entries' data. */
	uint32_t salt;
	uint32_t prev_end, prev_crc; /* Where the records of epoch - 1 end, and its last record's
					crc; 0, 0: nothing before it counts. */
	uint32_t seed;		     /* The head's own crc: every record's crc starts from it. */
};

/* Sets head->seed. */
void segment_head_encode(struct segment_head *head, uint8_t to[SEGMENT_HEAD_BYTES]);
/* KLUIS_ECORRUPT, KLUIS_EVERSION. */
KLUIS_MUST_CHECK int segment_head_decode(struct bytes bytes, struct segment_head *ret_head);

struct segment_record {
	uint8_t type;
	uint32_t batch; /* Offset of the group commit it was written in: all before was synced. */
	uint64_t index, term;
	struct bytes data; /* Points into the segment. */
	uint32_t crc;
	size_t bytes; /* Head, data and padding. */
};

/* Head, data and padding of a record with len bytes of data. */
size_t segment_record_bytes(size_t len);
/* The record's head; its data and zeros up to segment_record_bytes() follow it. Returns the crc. */
uint32_t segment_record_encode(const struct segment_head *head, uint8_t type, uint32_t batch,
	uint64_t index, uint64_t term, struct bytes data, uint8_t to[SEGMENT_RECORD_HEAD_BYTES]);
/* What stands at offset `at` of these bytes of a segment. KLUIS_ENOTFOUND: nothing of this life
 * begins there; KLUIS_ECORRUPT: a record that is torn or damaged. */
KLUIS_MUST_CHECK int segment_record_decode(const struct segment_head *head, struct bytes bytes,
	size_t at, struct segment_record *ret_record);
/* Whether behind `at` stands an intact record that was written after everything before `at` had
 * been synced: then what is wrong at `at` is damage, not a torn tail. */
bool segment_is_damaged(const struct segment_head *head, struct bytes segment, size_t at);

#endif

/* What a conversation's vault holds of its history (docs/format-chat.md, "History"): segments of
 * messages as their devices signed them, each with the key that opens it, and the index of those
 * segments. Who reads it verifies signatures and links as of messages that come live, so what a
 * member who archives changes, leaves out or makes up is seen. Pure. */
#ifndef KLUIS_CLI_CLIENT_CHAT_ARCHIVE_H
#define KLUIS_CLI_CLIENT_CHAT_ARCHIVE_H

#include "crypto/chat.h"

enum {
	CHAT_INDEX_PAGE = 1,		 /* Of the vault; page 0 is that of its files. */
	CHAT_SEGMENT_BYTES = 65532,	 /* Of one that grows: fills a page of 64 KiB. */
	CHAT_SEGMENT_BYTES_MAX = 262140, /* Of one that messages were put into later. */
	CHAT_SEGMENTS_MAX = 15000,
	CHAT_BACKLOG_BYTES_MAX = 512 * 1024, /* What a profile keeps until it is archived. */
};

struct chat_record {
	uint64_t seq, time_ms; /* As the cluster said. */
	bool opened;	       /* key is there; else nobody who archived could open it. */
	uint8_t key[CHAT_KEY_BYTES];
	uint8_t link[HASH_BYTES];
	struct buf message;
};
/* Ascending by seq. Zero it before use. */
struct chat_segment {
	struct chat_record *records;
	size_t n, cap;
	size_t bytes; /* Of the encoding. */
};
void chat_segment_release(struct chat_segment *segment); /* Clears. */
/* n > 0 (asserted). Appends. */
void chat_segment_encode(
	const struct chat_segment *segment, const uint8_t conv_id[ID_BYTES], struct buf *to);
/* KLUIS_EVERSION; KLUIS_ECORRUPT, also for messages of another conversation. *ret is written over,
 * and untouched on failure. */
KLUIS_MUST_CHECK int chat_segment_decode(struct bytes encoded, const uint8_t conv_id[ID_BYTES],
	struct chat_segment *ret, struct err *e);
/* NULL: it has none of that number. */
const struct chat_record *chat_segment_find(const struct chat_segment *segment, uint64_t seq);

enum chat_merge {
	CHAT_MERGE_HELD,  /* Was there. */
	CHAT_MERGE_TAKEN, /* A message more, or a key for one that had none. */
	CHAT_MERGE_OTHER, /* Another message has that number. */
	CHAT_MERGE_FULL,  /* It would have more than bytes_max. */
};
/* Copies the record (message and link whole) to its place. */
enum chat_merge chat_segment_take(
	struct chat_segment *segment, const struct chat_record *record, size_t bytes_max);

/* A segment lies at a page of its own; those of messages from first_seq on that are before the next
 * row's are in it. */
struct chat_index_row {
	uint64_t page_no, first_seq;
};
struct chat_index {
	bool history;				       /* What is read is archived. */
	struct chat_index_row rows[CHAT_SEGMENTS_MAX]; /* Both ascending. */
	size_t n;
};
void chat_index_encode(
	const struct chat_index *index, const uint8_t conv_id[ID_BYTES], struct buf *to);
/* As chat_segment_decode(). */
KLUIS_MUST_CHECK int chat_index_decode(struct bytes encoded, const uint8_t conv_id[ID_BYTES],
	struct chat_index *ret, struct err *e);
/* The row whose segment has, or would have, that number; n: there are no rows. */
size_t chat_index_find(const struct chat_index *index, uint64_t seq);

#endif

/* Frames of a link: a message of a stream is cut into frames, so that streams take turns
 * (docs/format-link.md). No I/O. */
#ifndef KLUIS_RAFT_FRAME_H
#define KLUIS_RAFT_FRAME_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"

enum { FRAME_VERSION = 1, FRAME_HEADER_BYTES = 12, FRAME_STREAMS = 5 };

/* Values travel. */
enum frame_kind {
	FRAME_DATA = 1,	  /* A part of a message; dialler to acceptor, as ping. */
	FRAME_PING = 2,	  /* u64 token. */
	FRAME_PONG = 3,	  /* u64 token | u64 wall clock, ms; acceptor to dialler, as credit. */
	FRAME_CREDIT = 4, /* u32: bytes of file messages that are done with. */
};

enum { FRAME_FIRST = 1, FRAME_LAST = 2 };

enum { FRAME_PING_BYTES = 8, FRAME_PONG_BYTES = 16, FRAME_CREDIT_BYTES = 4 };

struct frame_header {
	uint8_t kind;
	uint8_t stream;	  /* Of data; else 0. */
	uint8_t flags;	  /* Of data; else 0. */
	uint32_t length;  /* Of the payload behind the header. */
	uint32_t message; /* With FRAME_FIRST: of the whole message; else 0. */
};

/* The longest message of a stream. */
size_t frame_message_max(unsigned stream);
void frame_header_write(const struct frame_header *header, uint8_t to[FRAME_HEADER_BYTES]);
/* Checks every field as far as one header can tell. KLUIS_EVERSION, KLUIS_EPROTO. */
KLUIS_MUST_CHECK int frame_header_read(
	const uint8_t from[FRAME_HEADER_BYTES], struct frame_header *ret_header, struct err *e);

/* Puts frames together again. Holds at most one unfinished message a stream, allocated only after
 * its length was checked. */
struct frame_reader {
	uint32_t kinds; /* BIT()s of the enum frame_kind that may come. */
	uint8_t header_bytes[FRAME_HEADER_BYTES];
	size_t header_len; /* Of the next header, so far. */
	struct frame_header now;
	bool in_frame;	     /* now is valid, its payload is coming. */
	size_t payload_left; /* Of it. */
	struct buf control;
	struct frame_part {
		struct buf bytes;
		size_t expected; /* 0: no message begun. */
	} part[FRAME_STREAMS];
	unsigned done_stream; /* Delivered by the last call, to be cleared by the next. */
	bool done;
};

struct frame_event {
	enum frame_kind kind; /* 0: all input is used up. */
	unsigned stream;
	struct bytes message; /* FRAME_DATA: whole; valid until the next call. */
	uint64_t token, wall_ms;
	uint32_t credit;
};

void frame_reader_init(struct frame_reader *reader, uint32_t kinds);
void frame_reader_release(struct frame_reader *reader);
/* Takes bytes from the front of *in until one event is complete or nothing is left. After an error
 * (KLUIS_EPROTO, KLUIS_EVERSION: e says what was wrong) the connection is to be dropped. */
KLUIS_MUST_CHECK int frame_reader_next(struct frame_reader *reader, struct bytes *in,
	struct frame_event *ret_event, struct err *e);

#endif

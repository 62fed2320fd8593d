/* What waits to be sent on one link: a bounded queue a stream, from which frames are taken in turn,
 * each stream by its weight. No I/O. */
#ifndef KLUIS_RAFT_LINK_QUEUE_H
#define KLUIS_RAFT_LINK_QUEUE_H

#include "raft/frame.h"
#include "raft/link.h"

struct link_message;

/* Zero it before use. */
struct link_queue {
	struct link_stream_queue {
		struct link_message *head, **tail;
		size_t bytes;	   /* Of whole messages, also of the one half sent. */
		unsigned messages; /* At most LINK_MESSAGES_MAX. */
		unsigned turns;	   /* Frames it may still send before the others. */
	} stream[LINK_STREAMS];
	uint64_t sent_messages;
};

/* The next frame: write `pieces` in order, then call link_queue_taken(). They point into the queue.
 */
struct link_frame {
	enum link_stream stream;
	uint8_t header[FRAME_HEADER_BYTES];
	size_t payload_bytes;
	unsigned n;
	struct bytes pieces[LINK_FRAME_PIECES_MAX + 1]; /* The header is the first. */
};

void link_queue_release(struct link_queue *queue); /* Drops all; usable again. */
/* References the entries. KLUIS_EBUSY when it does not fit. */
KLUIS_MUST_CHECK int link_queue_put(struct link_queue *queue, enum link_stream stream,
	struct bytes header, struct entry *const *entries, size_t n);
/* Whether a message of `bytes` would fit. */
bool link_queue_has_room(const struct link_queue *queue, enum link_stream stream, size_t bytes);
/* false: nothing waits. Else ret_frame is filled in; the same again until link_queue_taken(). */
bool link_queue_next(struct link_queue *queue, struct link_frame *ret_frame);
void link_queue_taken(struct link_queue *queue, const struct link_frame *frame);

#endif

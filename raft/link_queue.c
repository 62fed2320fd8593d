#include "raft/link_queue.h"

#include <assert.h>
#include <string.h>

#include "raft/entry.h"

struct link_message {
	struct link_message *next;
	size_t len, sent;   /* Bytes in all; taken so far. */
	size_t piece, into; /* Where `sent` is: 0 the header, then the entries. */
	size_t header_len, n;
	struct entry **entries; /* Behind this struct, and the header behind them. */
	uint8_t *header;
};

/* Frames in a round. Read-index answers and raft messages first, but a stream never starves: even
 * when all are busy a checkpoint moves at 2 of 24 frames. */
static const unsigned link_weights[LINK_STREAMS] = {
	[LINK_RAFT] = 8, [LINK_READ] = 8, [LINK_PROPOSE] = 4, [LINK_RELAY] = 2, [LINK_FILE] = 2};
static const enum link_stream link_order[LINK_STREAMS] = {
	LINK_READ, LINK_RAFT, LINK_PROPOSE, LINK_RELAY, LINK_FILE};

static struct link_message *link_message_new(
	struct bytes header, struct entry *const *entries, size_t n)
{
	struct link_message *m = x_malloc(sizeof *m + n * sizeof *entries + header.len);

	*m = (struct link_message){.len = header.len, .header_len = header.len, .n = n};
	m->entries = (struct entry **)(m + 1);
	m->header = (uint8_t *)(m->entries + n);
	if (header.len > 0) {
		memcpy(m->header, header.data, header.len);
	}
	for (size_t i = 0; i < n; i++) {
		m->entries[i] = entry_ref(entries[i]);
		m->len += entries[i]->len;
	}
	return m;
}

static void link_message_free(struct link_message *m)
{
	for (size_t i = 0; i < m->n; i++) {
		entry_unref(m->entries[i]);
	}
	free(m);
}

static void link_stream_pop(struct link_stream_queue *q)
{
	struct link_message *m = q->head;

	assert(q->messages > 0 && q->bytes >= m->len);
	q->messages--;
	q->bytes -= m->len;
	q->head = m->next;
	if (q->head == NULL) {
		q->tail = NULL;
	}
	link_message_free(m);
}

void link_queue_release(struct link_queue *queue)
{
	for (size_t i = 0; i < LINK_STREAMS; i++) {
		while (queue->stream[i].head != NULL) {
			link_stream_pop(&queue->stream[i]);
		}
	}
}

bool link_queue_has_room(const struct link_queue *queue, enum link_stream stream, size_t bytes)
{
	const struct link_stream_queue *q = &queue->stream[stream];

	size_t max = stream == LINK_RELAY ? LINK_RELAY_QUEUE_BYTES_MAX : LINK_QUEUE_BYTES_MAX;

	return q->messages < LINK_MESSAGES_MAX && bytes <= max - q->bytes;
}

static size_t link_length(struct bytes header, struct entry *const *entries, size_t n)
{
	size_t len = header.len;

	for (size_t i = 0; i < n; i++) {
		len += entries[i]->len;
	}
	return len;
}

int link_queue_put(struct link_queue *queue, enum link_stream stream, struct bytes header,
	struct entry *const *entries, size_t n)
{
	struct link_stream_queue *q = &queue->stream[stream];
	size_t len = link_length(header, entries, n);
	struct link_message *m;

	assert(len > 0 && len <= frame_message_max(stream) && n <= ENTRIES_PER_MESSAGE_MAX);
	if (!link_queue_has_room(queue, stream, len)) {
		return KLUIS_EBUSY;
	}
	m = link_message_new(header, entries, n);
	if (q->tail == NULL) {
		q->head = m;
	} else {
		*q->tail = m;
	}
	q->tail = &m->next;
	q->bytes += m->len;
	q->messages++;
	return 0;
}

/* The stream whose turn it is; LINK_STREAMS: nothing waits. */
static enum link_stream link_queue_turn(struct link_queue *queue)
{
	bool waiting = false;

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < LINK_STREAMS; i++) {
			struct link_stream_queue *q = &queue->stream[link_order[i]];

			waiting = waiting || q->head != NULL;
			if (q->head != NULL && q->turns > 0) {
				return link_order[i];
			}
		}
		for (size_t i = 0; waiting && i < LINK_STREAMS; i++) {
			queue->stream[i].turns = link_weights[i];
		}
	}
	assert(!waiting);
	return LINK_STREAMS;
}

static struct bytes link_message_piece(const struct link_message *m, size_t piece)
{
	return piece == 0 ? bytes_of(m->header, m->header_len) : entry_bytes(m->entries[piece - 1]);
}

/* Collects the message's next bytes; stops at the frame's size, or at its number of pieces. */
static void link_message_gather(const struct link_message *m, struct link_frame *frame)
{
	size_t into = m->into;

	for (size_t piece = m->piece; piece <= m->n && frame->n <= LINK_FRAME_PIECES_MAX; piece++) {
		struct bytes bytes = link_message_piece(m, piece);
		size_t room = LINK_FRAME_PAYLOAD_BYTES_MAX - frame->payload_bytes;

		if (room == 0) {
			break;
		}
		bytes = bytes_of(bytes.data + into, bytes.len - into);
		into = 0;
		if (bytes.len > room) {
			bytes.len = room;
		}
		if (bytes.len > 0) {
			frame->pieces[frame->n++] = bytes;
			frame->payload_bytes += bytes.len;
		}
	}
	assert(frame->payload_bytes > 0 && frame->payload_bytes <= m->len - m->sent);
}

bool link_queue_next(struct link_queue *queue, struct link_frame *ret_frame)
{
	enum link_stream stream = link_queue_turn(queue);
	struct frame_header header = {.kind = FRAME_DATA, .stream = (uint8_t)stream};
	const struct link_message *m;

	if (stream == LINK_STREAMS) {
		return false;
	}
	m = queue->stream[stream].head;
	ret_frame->stream = stream;
	ret_frame->payload_bytes = 0;
	ret_frame->n = 1;
	link_message_gather(m, ret_frame);
	if (m->sent == 0) {
		header.flags |= FRAME_FIRST;
		header.message = (uint32_t)m->len;
	}
	if (m->sent + ret_frame->payload_bytes == m->len) {
		header.flags |= FRAME_LAST;
	}
	header.length = (uint32_t)ret_frame->payload_bytes;
	frame_header_write(&header, ret_frame->header);
	ret_frame->pieces[0] = bytes_of(ret_frame->header, FRAME_HEADER_BYTES);
	return true;
}

void link_queue_taken(struct link_queue *queue, const struct link_frame *frame)
{
	struct link_stream_queue *q = &queue->stream[frame->stream];
	struct link_message *m = q->head;
	size_t left = frame->payload_bytes;

	assert(m != NULL && q->turns > 0);
	q->turns--;
	m->sent += left;
	if (m->sent == m->len) {
		link_stream_pop(q);
		queue->sent_messages++;
		return;
	}
	while (left >= link_message_piece(m, m->piece).len - m->into) {
		left -= link_message_piece(m, m->piece).len - m->into;
		m->piece++;
		m->into = 0;
	}
	m->into += left;
}

#include "raft/frame.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "raft/link.h"

static_assert((int)FRAME_STREAMS == (int)LINK_STREAMS, "a frame can carry every stream");

size_t frame_message_max(unsigned stream)
{
	return stream == LINK_FILE    ? LINK_FILE_MESSAGE_BYTES_MAX
	       : stream == LINK_RELAY ? LINK_RELAY_MESSAGE_BYTES_MAX
				      : LINK_MESSAGE_BYTES_MAX;
}

void frame_header_write(const struct frame_header *header, uint8_t to[FRAME_HEADER_BYTES])
{
	to[0] = FRAME_VERSION;
	to[1] = header->kind;
	to[2] = header->stream;
	to[3] = header->flags;
	store_u32(to + 4, header->length);
	store_u32(to + 8, header->message);
}

static int frame_check_data(const struct frame_header *h, struct err *e)
{
	bool first = (h->flags & FRAME_FIRST) != 0, last = (h->flags & FRAME_LAST) != 0;

	if (h->stream >= FRAME_STREAMS || (h->flags & ~(FRAME_FIRST | FRAME_LAST)) != 0) {
		return err_set(
			e, KLUIS_EPROTO, "frame of stream %u with flags %u", h->stream, h->flags);
	}
	if (h->length == 0 || h->length > LINK_FRAME_PAYLOAD_BYTES_MAX) {
		return err_set(e, KLUIS_EPROTO, "frame of %u bytes", h->length);
	}
	if (!first) {
		return h->message == 0
			       ? 0
			       : err_set(e, KLUIS_EPROTO, "message length in a later frame");
	}
	if (h->message == 0 || h->message > frame_message_max(h->stream)) {
		return err_set(e, KLUIS_EPROTO, "message of %u bytes", h->message);
	}
	if (last ? h->length != h->message : h->length >= h->message) {
		return err_set(e, KLUIS_EPROTO, "frame of %u bytes in a message of %u", h->length,
			h->message);
	}
	return 0;
}

int frame_header_read(
	const uint8_t from[FRAME_HEADER_BYTES], struct frame_header *ret_header, struct err *e)
{
	static const uint8_t control_bytes[] = {[FRAME_PING] = FRAME_PING_BYTES,
		[FRAME_PONG] = FRAME_PONG_BYTES,
		[FRAME_CREDIT] = FRAME_CREDIT_BYTES};
	struct frame_header h = {.kind = from[1],
		.stream = from[2],
		.flags = from[3],
		.length = load_u32(from + 4),
		.message = load_u32(from + 8)};
	int rc = 0;

	if (from[0] != FRAME_VERSION) {
		return err_set(e, KLUIS_EVERSION, "frame of version %u", from[0]);
	}
	if (h.kind == FRAME_DATA) {
		rc = frame_check_data(&h, e);
	} else if (h.kind < FRAME_PING || h.kind > FRAME_CREDIT || h.stream != 0 || h.flags != 0 ||
		   h.message != 0 || h.length != control_bytes[h.kind]) {
		rc = err_set(e, KLUIS_EPROTO, "malformed frame of kind %u", h.kind);
	}
	if (rc == 0) {
		*ret_header = h;
	}
	return rc;
}

void frame_reader_init(struct frame_reader *reader, uint32_t kinds)
{
	memset(reader, 0, sizeof *reader);
	reader->kinds = kinds;
}

void frame_reader_release(struct frame_reader *reader)
{
	buf_release(&reader->control);
	for (size_t i = 0; i < FRAME_STREAMS; i++) {
		buf_release(&reader->part[i].bytes);
	}
}

static struct bytes frame_take(struct bytes *in, size_t max)
{
	struct bytes taken = bytes_of(in->data, in->len < max ? in->len : max);

	*in = bytes_of(in->data + taken.len, in->len - taken.len);
	return taken;
}

/* A frame begins: does it fit what came before on its stream? */
static int frame_begin(struct frame_reader *reader, struct err *e)
{
	const struct frame_header *h = &reader->now;
	struct frame_part *part = &reader->part[h->stream];
	size_t left;

	if ((reader->kinds & BIT(h->kind)) == 0) {
		return err_set(e, KLUIS_EPROTO, "frame of kind %u from this side", h->kind);
	}
	reader->in_frame = true;
	reader->payload_left = h->length;
	if (h->kind != FRAME_DATA) {
		buf_clear(&reader->control);
		return 0;
	}
	if ((h->flags & FRAME_FIRST) != 0) {
		if (part->expected != 0) {
			return err_set(e, KLUIS_EPROTO, "message within a message");
		}
		part->expected = h->message;
		return 0;
	}
	left = part->expected - part->bytes.len;
	if (part->expected == 0 || h->length > left ||
		((h->flags & FRAME_LAST) != 0) != (h->length == left)) {
		return err_set(
			e, KLUIS_EPROTO, "frame of %u bytes where %zu are left", h->length, left);
	}
	return 0;
}

static int frame_read_header(struct frame_reader *reader, struct bytes *in, struct err *e)
{
	struct bytes taken = frame_take(in, FRAME_HEADER_BYTES - reader->header_len);
	int rc;

	memcpy(reader->header_bytes + reader->header_len, taken.data, taken.len);
	reader->header_len += taken.len;
	if (reader->header_len < FRAME_HEADER_BYTES) {
		return 0;
	}
	reader->header_len = 0;
	rc = frame_header_read(reader->header_bytes, &reader->now, e);
	return rc != 0 ? rc : frame_begin(reader, e);
}

static void frame_read_control(
	struct frame_reader *reader, struct bytes *in, struct frame_event *event)
{
	struct bytes taken = frame_take(in, reader->payload_left);
	struct wire w;

	buf_append_bytes(&reader->control, taken);
	reader->payload_left -= taken.len;
	if (reader->payload_left > 0) {
		return;
	}
	reader->in_frame = false;
	event->kind = reader->now.kind;
	w = wire_of(buf_bytes(&reader->control));
	if (event->kind == FRAME_CREDIT) {
		event->credit = wire_u32(&w);
	} else {
		event->token = wire_u64(&w);
		event->wall_ms = event->kind == FRAME_PONG ? wire_u64(&w) : 0;
	}
	assert(wire_end(&w)); /* frame_header_read() checked the length. */
}

static void frame_finish(
	struct frame_reader *reader, struct bytes message, struct frame_event *event)
{
	event->kind = FRAME_DATA;
	event->stream = reader->now.stream;
	event->message = message;
	reader->done = true;
	reader->done_stream = reader->now.stream;
}

static void frame_read_data(
	struct frame_reader *reader, struct bytes *in, struct frame_event *event)
{
	struct frame_part *part = &reader->part[reader->now.stream];
	struct bytes taken = frame_take(in, reader->payload_left);

	reader->payload_left -= taken.len;
	reader->in_frame = reader->payload_left > 0;
	if (part->bytes.len == 0 && taken.len == part->expected) {
		frame_finish(reader, taken, event); /* Whole in one piece: no copy. */
		return;
	}
	if (part->bytes.len == 0) {
		buf_reserve(&part->bytes, part->expected);
	}
	buf_append_bytes(&part->bytes, taken);
	assert(part->bytes.len <= part->expected);
	if (part->bytes.len == part->expected) {
		frame_finish(reader, buf_bytes(&part->bytes), event);
	}
}

/* What the last call delivered is the caller's no longer. */
static void frame_clear_done(struct frame_reader *reader)
{
	if (reader->done) {
		struct frame_part *part = &reader->part[reader->done_stream];

		reader->done = false;
		part->expected = 0;
		if (part->bytes.cap > LINK_FRAME_PAYLOAD_BYTES_MAX) {
			buf_release(&part->bytes); /* Big ones are rare: do not hold on to it. */
		} else {
			buf_clear(&part->bytes);
		}
	}
}

int frame_reader_next(
	struct frame_reader *reader, struct bytes *in, struct frame_event *ret_event, struct err *e)
{
	struct frame_event event = {0};

	frame_clear_done(reader);
	while (in->len > 0 && event.kind == 0) {
		if (!reader->in_frame) {
			int rc = frame_read_header(reader, in, e);

			if (rc != 0) {
				return rc;
			}
		} else if (reader->now.kind == FRAME_DATA) {
			frame_read_data(reader, in, &event);
		} else {
			frame_read_control(reader, in, &event);
		}
	}
	*ret_event = event;
	return 0;
}

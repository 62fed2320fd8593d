/* Frames of a link. The first byte says in what steps the rest arrives. Whatever comes, a delivered
 * message is within its stream's bound, and the steps make no difference to what is delivered. */
#include <assert.h>

#include "base/crc32c.h"
#include "raft/frame.h"

enum { KINDS = BIT(FRAME_DATA) | BIT(FRAME_PING) | BIT(FRAME_PONG) | BIT(FRAME_CREDIT) };

static uint32_t event_digest(uint32_t digest, const struct frame_event *event)
{
	if (event->kind == FRAME_DATA) {
		assert(event->stream < FRAME_STREAMS && event->message.len > 0);
		assert(event->message.len <= frame_message_max(event->stream));
		digest = crc32c(digest, event->message);
	}
	if (event->kind != 0) {
		digest = crc32c(digest, bytes_of(&event->token, sizeof event->token));
		digest = crc32c(digest, bytes_of(&event->kind, sizeof event->kind));
	}
	return digest;
}

/* An unfinished message never takes more than it may. */
static void check_parts(const struct frame_reader *reader)
{
	for (size_t i = 0; i < FRAME_STREAMS; i++) {
		assert(reader->part[i].bytes.len <= reader->part[i].expected);
		assert(reader->part[i].expected <= frame_message_max((unsigned)i));
	}
}

/* A digest of all events up to the first error. */
static uint32_t run(struct bytes all, size_t step)
{
	struct frame_reader reader;
	uint32_t digest = 0;
	int rc = 0;

	frame_reader_init(&reader, KINDS);
	while (rc == 0 && all.len > 0) {
		struct bytes in = bytes_of(all.data, all.len < step ? all.len : step);

		all = bytes_of(all.data + in.len, all.len - in.len);
		while (rc == 0 && in.len > 0) {
			struct frame_event event = {0};
			struct err e;

			rc = frame_reader_next(&reader, &in, &event, &e);
			digest = rc == 0 ? event_digest(digest, &event) : digest;
			check_parts(&reader);
		}
	}
	frame_reader_release(&reader);
	return crc32c(digest, bytes_of(&rc, sizeof rc));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes all;

	if (size == 0) {
		return 0;
	}
	all = bytes_of(data + 1, size - 1);
	assert(run(all, data[0] % 64 + 1u) == run(all, SIZE_MAX));
	return 0;
}

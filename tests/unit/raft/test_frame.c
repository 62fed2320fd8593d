#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "base/wire.h"
#include "raft/frame.h"
#include "raft/hello.h"
#include "raft/link.h"

static void put_frame(struct buf *b, struct frame_header h, const void *payload)
{
	frame_header_write(&h, buf_extend(b, FRAME_HEADER_BYTES));
	buf_append(b, payload, h.length);
}

/* A message as frames of at most `grain` bytes. */
static void put_message(struct buf *b, unsigned stream, struct bytes message, size_t grain)
{
	for (size_t at = 0; at < message.len;) {
		size_t n = message.len - at < grain ? message.len - at : grain;
		struct frame_header h = {
			.kind = FRAME_DATA, .stream = (uint8_t)stream, .length = (uint32_t)n};

		if (at == 0) {
			h.flags |= FRAME_FIRST;
			h.message = (uint32_t)message.len;
		}
		if (at + n == message.len) {
			h.flags |= FRAME_LAST;
		}
		put_frame(b, h, message.data + at);
		at += n;
	}
}

/* Feeds it in pieces of `step` bytes; returns the first error, or 0, and how many messages came.
 */
static int feed(struct bytes all, size_t step, uint32_t kinds, struct bytes want, unsigned *ret_n)
{
	struct frame_reader reader;
	int rc = 0;

	*ret_n = 0;
	frame_reader_init(&reader, kinds);
	while (rc == 0 && all.len > 0) {
		struct bytes in = bytes_of(all.data, all.len < step ? all.len : step);

		all = bytes_of(all.data + in.len, all.len - in.len);
		while (rc == 0 && in.len > 0) {
			struct frame_event event;
			struct err e;

			rc = frame_reader_next(&reader, &in, &event, &e);
			if (rc == 0 && event.kind == FRAME_DATA) {
				assert_true(bytes_equal(event.message, want));
				(*ret_n)++;
			}
		}
	}
	frame_reader_release(&reader);
	return rc;
}

static void test_messages_whole_and_in_parts(void **state)
{
	static const size_t steps[] = {1, 7, 12, 13, 100, 4096, 1 << 20};
	static uint8_t data[70000];
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct bytes message = bytes_of(data, sizeof data);
	unsigned n;

	(void)state;
	random_fill(&random_system, data, sizeof data);
	put_message(&b, 0, message, 65536);
	put_message(&b, 1, message, 1000);
	put_message(&b, 1, message, 65536);
	put_message(&b, 3, message, 30000);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		assert_int_equal(feed(buf_bytes(&b), steps[i], BIT(FRAME_DATA), message, &n), 0);
		assert_int_equal(n, 4);
	}
}

static void test_interleaved_streams(void **state)
{
	static uint8_t data[1000];
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct bytes message = bytes_of(data, sizeof data);
	unsigned n;

	(void)state;
	random_fill(&random_system, data, sizeof data);
	for (unsigned part = 0; part < 10; part++) {
		for (unsigned stream = 0; stream < FRAME_STREAMS; stream++) {
			struct frame_header h = {.kind = FRAME_DATA,
				.stream = (uint8_t)stream,
				.length = 100,
				.flags = part == 0   ? FRAME_FIRST
					 : part == 9 ? FRAME_LAST
						     : 0,
				.message = part == 0 ? 1000 : 0};

			put_frame(&b, h, data + (size_t)part * 100);
		}
	}
	assert_int_equal(feed(buf_bytes(&b), 77, BIT(FRAME_DATA), message, &n), 0);
	assert_int_equal(n, FRAME_STREAMS);
}

static void test_control(void **state)
{
	struct frame_reader reader;
	_cleanup_(buf_release) struct buf b = BUF_INIT, payload = BUF_INIT;
	struct frame_event event;
	struct bytes in;
	struct err e;

	(void)state;
	buf_put_u64(&payload, 0x1122334455667788ULL);
	buf_put_u64(&payload, 99);
	put_frame(&b, (struct frame_header){.kind = FRAME_PONG, .length = 16}, payload.data);
	put_frame(&b, (struct frame_header){.kind = FRAME_CREDIT, .length = 4}, payload.data);
	frame_reader_init(&reader, BIT(FRAME_PONG) | BIT(FRAME_CREDIT));
	in = buf_bytes(&b);
	assert_int_equal(frame_reader_next(&reader, &in, &event, &e), 0);
	assert_int_equal(event.kind, FRAME_PONG);
	assert_true(event.token == 0x1122334455667788ULL && event.wall_ms == 99);
	assert_int_equal(frame_reader_next(&reader, &in, &event, &e), 0);
	assert_int_equal(event.kind, FRAME_CREDIT);
	assert_int_equal(event.credit, 0x11223344);
	assert_int_equal(in.len, 0);
	frame_reader_release(&reader);
}

static void refuse_header(struct frame_header h, int want)
{
	uint8_t bytes[FRAME_HEADER_BYTES];
	struct frame_header got = {.kind = 77};
	struct err e;

	frame_header_write(&h, bytes);
	assert_int_equal(frame_header_read(bytes, &got, &e), want);
	assert_int_equal(got.kind, 77);
}

static void test_bad_headers(void **state)
{
	static const struct frame_header bad[] = {
		{0, 0, 0, 8, 0},
		{5, 0, 0, 8, 0},
		{FRAME_PING, 1, 0, 8, 0},
		{FRAME_PING, 0, 1, 8, 0},
		{FRAME_PING, 0, 0, 9, 0},
		{FRAME_PING, 0, 0, 8, 1},
		{FRAME_PONG, 0, 0, 8, 0},
		{FRAME_CREDIT, 0, 0, 0, 0},
		{FRAME_DATA, 5, 3, 1, 1},
		{FRAME_DATA, 0, 4, 1, 0},
		{FRAME_DATA, 0, 3, 0, 0},
		{FRAME_DATA, 0, 3, 1, 0},
		{FRAME_DATA, 0, 3, 1, 2},
		{FRAME_DATA, 0, 3, 2, 1},
		{FRAME_DATA, 0, 1, 1, 1},
		{FRAME_DATA, 0, 0, 1, 1},
		{FRAME_DATA, 0, 2, LINK_FRAME_PAYLOAD_BYTES_MAX + 1, 0},
		{FRAME_DATA, 0, 0, UINT32_MAX, 0},
		{FRAME_DATA, 0, 1, 10, LINK_MESSAGE_BYTES_MAX + 1},
		{FRAME_DATA, 0, 1, 10, UINT32_MAX},
		{FRAME_DATA, 3, 1, 10, LINK_FILE_MESSAGE_BYTES_MAX + 1},
	};
	uint8_t bytes[FRAME_HEADER_BYTES];
	struct frame_header got, good = {FRAME_DATA, 0, 1, 10, LINK_MESSAGE_BYTES_MAX};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		refuse_header(bad[i], KLUIS_EPROTO);
	}
	frame_header_write(&good, bytes);
	assert_int_equal(frame_header_read(bytes, &got, &e), 0);
	bytes[0] = 2;
	assert_int_equal(frame_header_read(bytes, &got, &e), KLUIS_EVERSION);
}

/* Each row: frames that are well-formed alone, but not one after the other. */
static void test_bad_sequences(void **state)
{
	static const struct {
		unsigned n;
		struct frame_header h[3];
	} rows[] = {
		{1, {{FRAME_DATA, 0, 0, 10, 0}}},	   /* A middle without a beginning. */
		{1, {{FRAME_DATA, 0, FRAME_LAST, 10, 0}}}, /* An end without one. */
		{2, {{FRAME_DATA, 0, FRAME_FIRST, 10, 30}, {FRAME_DATA, 0, FRAME_FIRST, 10, 30}}},
		{2, {{FRAME_DATA, 0, FRAME_FIRST, 10, 30},
			    {FRAME_DATA, 0, FRAME_FIRST | FRAME_LAST, 10, 10}}},
		{2, {{FRAME_DATA, 0, FRAME_FIRST, 10, 30}, {FRAME_DATA, 0, 0, 21, 0}}},
		{2, {{FRAME_DATA, 0, FRAME_FIRST, 10, 30}, {FRAME_DATA, 0, FRAME_LAST, 19, 0}}},
		{2, {{FRAME_DATA, 0, FRAME_FIRST, 10, 30}, {FRAME_DATA, 0, 0, 20, 0}}},
		{2, {{FRAME_DATA, 0, FRAME_FIRST, 10, 30}, {FRAME_DATA, 1, FRAME_LAST, 20, 0}}},
		{1, {{FRAME_PONG, 0, 0, 16, 0}}}, /* Not from this side. */
	};
	static uint8_t payload[100];
	unsigned n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf b = BUF_INIT;

		for (unsigned j = 0; j < rows[i].n; j++) {
			put_frame(&b, rows[i].h[j], payload);
		}
		assert_int_equal(feed(buf_bytes(&b), 1000, BIT(FRAME_DATA) | BIT(FRAME_PING),
					 bytes_of(payload, 1), &n),
			KLUIS_EPROTO);
		assert_int_equal(n, 0);
	}
}

static struct hello some_hello(void)
{
	struct hello hello = {.node_id = 3,
		.boot = 0xfeedULL << 40,
		.dial = 17,
		.starts = 9,
		.feature_level = 5,
		.wall_ms = 1764000000000ULL};

	memset(hello.cluster_id, 0xc1, 16);
	memset(hello.lineage, 0x11, 16);
	memset(hello.incarnation, 0x1c, 16);
	return hello;
}

static void test_hello(void **state)
{
	struct hello hello = some_hello(), got;
	uint8_t bytes[HELLO_BYTES];

	(void)state;
	hello_write(&hello, bytes);
	assert_int_equal(hello_read(bytes, &got), 0);
	assert_true(got.node_id == 3 && got.boot == hello.boot && got.dial == 17);
	assert_int_equal(got.starts, 9);
	assert_memory_equal(got.incarnation, hello.incarnation, 16);
	assert_true(got.feature_level == 5 && got.wall_ms == hello.wall_ms);
	assert_memory_equal(got.cluster_id, hello.cluster_id, 16);
	assert_memory_equal(got.lineage, hello.lineage, 16);
	/* The first bytes, as docs/format-link.md has them. */
	assert_memory_equal(bytes, "KLNK\x02\xc1", 6);
	assert_memory_equal(bytes + 37, "\0\0\0\0\0\0\0\x03\x1c", 9);
	assert_memory_equal(bytes + 60, "\x1c\0\0\0\0\0\0\0\x09", 9);
	for (size_t i = 0; i < 4; i++) {
		bytes[i] ^= 1;
		assert_int_equal(hello_read(bytes, &got), KLUIS_EPROTO);
		bytes[i] ^= 1;
	}
	bytes[4] = 1;
	assert_int_equal(hello_read(bytes, &got), KLUIS_EVERSION);
	bytes[4] = 2;
	bytes[44] = 0;
	assert_int_equal(hello_read(bytes, &got), KLUIS_EPROTO);
	bytes[44] = 3;
	bytes[68] = 0;
	assert_int_equal(hello_read(bytes, &got), KLUIS_EPROTO);
	bytes[68] = 9;
	memset(bytes + 45, 0, 16);
	assert_int_equal(hello_read(bytes, &got), KLUIS_EPROTO);
	bytes[60] = 1;
	assert_int_equal(hello_read(bytes, &got), 0);
}

static void test_answers_have_texts(void **state)
{
	(void)state;
	assert_string_equal(hello_answer_text(HELLO_ACCEPTED), "accepted");
	for (int answer = 0; answer < 256; answer++) {
		assert_true(strlen(hello_answer_text((uint8_t)answer)) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_whole_and_in_parts),
		cmocka_unit_test(test_interleaved_streams),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_bad_headers),
		cmocka_unit_test(test_bad_sequences),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_answers_have_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

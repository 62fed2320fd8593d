#include "tests/lib/test.h"

#include <string.h>

#include "base/random.h"
#include "raft/entry.h"
#include "raft/link_queue.h"

static struct entry *some_entry(size_t len)
{
	struct entry *entry = entry_new(1, 1, ENTRY_COMMAND, len);

	random_fill(&random_system, entry->data, len);
	return entry;
}

/* Takes one frame and gives it to the reader; returns false when nothing is left. */
static bool move(struct link_queue *queue, struct frame_reader *reader, struct frame_event *event)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	static uint8_t copy[LINK_FRAME_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES];
	struct link_frame frame;
	struct bytes in;
	struct err e;

	if (!link_queue_next(queue, &frame)) {
		return false;
	}
	assert_true(frame.payload_bytes <= LINK_FRAME_PAYLOAD_BYTES_MAX);
	for (unsigned i = 0; i < frame.n; i++) {
		buf_append_bytes(&b, frame.pieces[i]);
	}
	assert_int_equal(b.len, FRAME_HEADER_BYTES + frame.payload_bytes);
	in = buf_bytes(&b);
	memcpy(copy, in.data, in.len);
	in.data = copy;
	link_queue_taken(queue, &frame);
	if (frame_reader_next(reader, &in, event, &e) != 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(in.len, 0);
	return true;
}

/* What goes in comes out, whatever the sizes of header and entries. */
static void round_trip(size_t header_len, const size_t *lens, size_t n)
{
	struct link_queue queue = {0};
	struct frame_reader reader;
	struct frame_event event = {0};
	_cleanup_(buf_release) struct buf all = BUF_INIT;
	struct entry **entries = x_calloc(n + 1, sizeof *entries);
	uint8_t *header = buf_extend(&all, header_len);

	random_fill(&random_system, header, header_len);
	for (size_t i = 0; i < n; i++) {
		entries[i] = some_entry(lens[i]);
		buf_append(&all, entries[i]->data, lens[i]);
	}
	assert_int_equal(
		link_queue_put(&queue, LINK_RAFT, bytes_of(all.data, header_len), entries, n), 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(atomic_load(&entries[i]->refs), 2);
	}
	frame_reader_init(&reader, BIT(FRAME_DATA));
	while (event.kind == 0) {
		assert_true(move(&queue, &reader, &event));
	}
	assert_true(bytes_equal(event.message, buf_bytes(&all)));
	assert_false(move(&queue, &reader, &event));
	assert_int_equal(queue.stream[LINK_RAFT].bytes, 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(atomic_load(&entries[i]->refs), 1);
		entry_unref(entries[i]);
	}
	free(entries);
	frame_reader_release(&reader);
}

static void test_round_trips(void **state)
{
	static const size_t big[] = {1 << 20, 1 << 20, 1 << 20, 1 << 20};
	static const size_t odd[] = {0, 1, 65535, 0, 65536, 65537, 0, 3, 0};
	static const size_t none[] = {0, 0, 0};
	size_t many[ENTRIES_PER_MESSAGE_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = i % 200;
	}
	round_trip(1, NULL, 0);
	round_trip(65536, NULL, 0);
	round_trip(65537, NULL, 0);
	round_trip(50, none, ARRAY_SIZE(none));
	round_trip(65536 - 5, odd, ARRAY_SIZE(odd));
	round_trip(0, odd, ARRAY_SIZE(odd));
	round_trip(64 * 1024, big, ARRAY_SIZE(big));
	round_trip(3000, many, ARRAY_SIZE(many));
}

static void test_bounds(void **state)
{
	struct link_queue queue = {0};
	struct entry *entry = some_entry(ENTRY_BYTES_MAX);
	struct entry *four[] = {entry, entry, entry, entry};
	uint8_t byte = 1;
	unsigned n = 0;

	(void)state;
	while (link_queue_put(&queue, LINK_RAFT, bytes_of(&byte, 1), four, 4) == 0) {
		n++;
	}
	assert_int_equal(n, LINK_QUEUE_BYTES_MAX / ((4 << 20) + 1));
	assert_true(queue.stream[LINK_RAFT].bytes <= LINK_QUEUE_BYTES_MAX);
	/* The others have their own room. */
	for (n = 0; n < LINK_MESSAGES_MAX; n++) {
		assert_int_equal(link_queue_put(&queue, LINK_READ, bytes_of(&byte, 1), NULL, 0), 0);
	}
	assert_int_equal(
		link_queue_put(&queue, LINK_READ, bytes_of(&byte, 1), NULL, 0), KLUIS_EBUSY);
	assert_false(link_queue_has_room(&queue, LINK_READ, 1));
	link_queue_release(&queue);
	assert_int_equal(atomic_load(&entry->refs), 1);
	assert_true(link_queue_has_room(&queue, LINK_READ, LINK_QUEUE_BYTES_MAX));
	assert_false(link_queue_has_room(&queue, LINK_READ, LINK_QUEUE_BYTES_MAX + 1));
	entry_unref(entry);
}

/* All streams are full of work: each gets its share, and a fresh small message never waits for more
 * than two frames of files. */
static void test_turns(void **state)
{
	static uint8_t chunk[LINK_FILE_MESSAGE_BYTES_MAX];
	struct link_queue queue = {0};
	struct link_frame frame;
	unsigned frames[LINK_STREAMS] = {0}, files_in_row = 0, files_in_row_max = 0;

	(void)state;
	for (int stream = 0; stream < LINK_STREAMS; stream++) {
		size_t bytes = stream == LINK_RELAY ? LINK_RELAY_MESSAGE_BYTES_MAX : sizeof chunk;

		while (link_queue_put(&queue, (enum link_stream)stream, bytes_of(chunk, bytes),
			       NULL, 0) == 0) {
		}
	}
	assert_true(queue.stream[LINK_RELAY].bytes <= LINK_RELAY_QUEUE_BYTES_MAX);
	for (int i = 0; i < 240; i++) {
		assert_true(link_queue_next(&queue, &frame));
		frames[frame.stream]++;
		files_in_row = frame.stream == LINK_FILE ? files_in_row + 1 : 0;
		files_in_row_max =
			files_in_row > files_in_row_max ? files_in_row : files_in_row_max;
		link_queue_taken(&queue, &frame);
	}
	assert_int_equal(frames[LINK_READ], 80);
	assert_int_equal(frames[LINK_RAFT], 80);
	assert_int_equal(frames[LINK_PROPOSE], 40);
	assert_int_equal(frames[LINK_RELAY], 20);
	assert_int_equal(frames[LINK_FILE], 20);
	assert_int_equal(files_in_row_max, 2);
	link_queue_release(&queue);
}

static void test_heartbeat_passes_files(void **state)
{
	static uint8_t chunk[LINK_FILE_MESSAGE_BYTES_MAX];
	struct link_queue queue = {0};
	struct link_frame frame;

	(void)state;
	for (int i = 0; i < 40; i++) {
		assert_int_equal(
			link_queue_put(&queue, LINK_FILE, bytes_of(chunk, sizeof chunk), NULL, 0),
			0);
	}
	for (int i = 0; i < 100; i++) {
		int waited = 0;

		assert_int_equal(
			link_queue_put(&queue, LINK_RAFT, bytes_of(chunk, 10), NULL, 0), 0);
		do {
			assert_true(link_queue_next(&queue, &frame));
			link_queue_taken(&queue, &frame);
			waited++;
		} while (frame.stream != LINK_RAFT);
		assert_true(waited <= 3);
	}
	link_queue_release(&queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_heartbeat_passes_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

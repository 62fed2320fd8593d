/* Segments and index of a conversation's history: what goes in comes back, in order and once, and
 * nothing else is one. */
#include "tests/lib/cli_fixture/chat_people.h"

#include <string.h>

#include "base/wire.h"
#include "cli/client/chat_archive.h"

enum { FIXED_BYTES = 28, RECORD_FIXED = 53 };

/* What the first has sent as number seq. */
static struct chat_record record_of(struct chat_people *f, uint64_t seq, bool opened)
{
	struct chat_record record = {.seq = seq, .time_ms = f->now_ms, .opened = opened};
	uint64_t at = chat_people_send(f, 0, "text");

	record.message = f->sent[at - 1].bytes;
	memcpy(record.link, f->sent[at - 1].message.link, HASH_BYTES);
	memset(record.key, opened ? 0x77 : 0, CHAT_KEY_BYTES);
	return record;
}

static void take(struct chat_segment *s, const struct chat_record *record, enum chat_merge expected)
{
	assert_int_equal(chat_segment_take(s, record, CHAT_SEGMENT_BYTES), expected);
}

static void test_segment(void **state)
{
	struct chat_people *f = *state;
	struct chat_record one = record_of(f, 1, true), two = record_of(f, 2, false),
			   five = record_of(f, 5, true), other = record_of(f, 2, true);
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct chat_segment s = {.n = 0}, back;

	take(&s, &five, CHAT_MERGE_TAKEN);
	take(&s, &one, CHAT_MERGE_TAKEN);
	take(&s, &two, CHAT_MERGE_TAKEN);
	take(&s, &one, CHAT_MERGE_HELD);
	take(&s, &other, CHAT_MERGE_OTHER);
	assert_int_equal(s.n, 3);
	assert_int_equal(s.bytes, FIXED_BYTES + 3 * (RECORD_FIXED + one.message.len));
	chat_segment_encode(&s, chat_people_conv, &encoded);
	assert_int_equal(
		chat_segment_decode(buf_bytes(&encoded), chat_people_conv, &back, &f->err), 0);
	assert_int_equal(back.n, 3);
	assert_int_equal(back.bytes, s.bytes);
	assert_int_equal(back.records[2].seq, 5);
	assert_memory_equal(back.records[1].link, two.link, HASH_BYTES);
	assert_true(chat_segment_find(&back, 1)->opened);
	assert_false(chat_segment_find(&back, 2)->opened);
	assert_null(chat_segment_find(&back, 3));
	assert_null(chat_segment_find(&back, 6));
	/* The key that was missing, and never another one. */
	two.opened = true;
	memset(two.key, 0x33, CHAT_KEY_BYTES);
	take(&back, &two, CHAT_MERGE_TAKEN);
	memset(two.key, 0x44, CHAT_KEY_BYTES);
	take(&back, &two, CHAT_MERGE_HELD);
	assert_int_equal(chat_segment_find(&back, 2)->key[0], 0x33);
	two.opened = false;
	take(&back, &two, CHAT_MERGE_HELD);
	assert_true(chat_segment_find(&back, 2)->opened);
	assert_int_equal(chat_segment_take(&back, &other, back.bytes), CHAT_MERGE_OTHER);
	other.seq = 6;
	assert_int_equal(chat_segment_take(&back, &other, back.bytes), CHAT_MERGE_FULL);
	chat_segment_release(&s);
	chat_segment_release(&back);
}

static int decodes(const struct buf *encoded, size_t len)
{
	struct chat_segment s;
	int rc = chat_segment_decode(bytes_of(encoded->data, len), chat_people_conv, &s, NULL);

	if (rc == 0) {
		chat_segment_release(&s);
	}
	return rc;
}

/* Every length but its own, and every byte of it that has one value alone. */
static void test_segment_strict(void **state)
{
	struct chat_people *f = *state;
	struct chat_record one = record_of(f, 1, true), two = record_of(f, 2, false);
	static const uint8_t other_conv[ID_BYTES] = {9};
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;
	struct chat_segment s = {.n = 0}, back;
	size_t second = FIXED_BYTES + RECORD_FIXED + one.message.len;

	take(&s, &one, CHAT_MERGE_TAKEN);
	take(&s, &two, CHAT_MERGE_TAKEN);
	chat_segment_encode(&s, chat_people_conv, &encoded);
	buf_put_u8(&encoded, 0);
	for (size_t len = 0; len <= encoded.len; len++) {
		assert_int_equal(decodes(&encoded, len) == 0, len == encoded.len - 1);
	}
	encoded.len--;
	assert_int_equal(chat_segment_decode(buf_bytes(&encoded), other_conv, &back, &f->err),
		KLUIS_ECORRUPT);
	encoded.data[4] = 2;
	assert_int_equal(decodes(&encoded, encoded.len), KLUIS_EVERSION);
	encoded.data[4] = 1;
	for (size_t i = 0; i < FIXED_BYTES; i++) { /* All of the head. */
		encoded.data[i] ^= 0x80;
		assert_int_not_equal(decodes(&encoded, encoded.len), 0);
		encoded.data[i] ^= 0x80;
	}
	encoded.data[second + 7] = 1; /* A number for a second time. */
	assert_int_equal(decodes(&encoded, encoded.len), KLUIS_ECORRUPT);
	encoded.data[second + 7] = 2;
	encoded.data[second + 16] = 2; /* No such flag. */
	assert_int_equal(decodes(&encoded, encoded.len), KLUIS_ECORRUPT);
	encoded.data[second + 16] = 0;
	encoded.data[second + 17] = 1; /* A key where there is none. */
	assert_int_equal(decodes(&encoded, encoded.len), KLUIS_ECORRUPT);
	encoded.data[second + 17] = 0;
	encoded.data[second + RECORD_FIXED + 8] ^= 1; /* A message of another conversation. */
	assert_int_equal(decodes(&encoded, encoded.len), KLUIS_ECORRUPT);
	encoded.data[second + RECORD_FIXED + 8] ^= 1;
	assert_int_equal(decodes(&encoded, encoded.len), 0);
	chat_segment_release(&s);
}

static void test_index(void **state)
{
	static const uint64_t rows[][2] = {{2, 5}, {3, 100}, {9, 200}};
	struct chat_people *f = *state;
	struct chat_index *index = x_calloc(1, sizeof *index), *back = x_calloc(1, sizeof *back);
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;

	assert_int_equal(chat_index_find(index, 1), 0);
	index->history = true;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		index->rows[index->n++] = (struct chat_index_row){rows[i][0], rows[i][1]};
	}
	assert_int_equal(chat_index_find(index, 1), 0);
	assert_int_equal(chat_index_find(index, 99), 0);
	assert_int_equal(chat_index_find(index, 100), 1);
	assert_int_equal(chat_index_find(index, UINT64_MAX), 2);
	chat_index_encode(index, chat_people_conv, &encoded);
	assert_int_equal(
		chat_index_decode(buf_bytes(&encoded), chat_people_conv, back, &f->err), 0);
	assert_true(back->history);
	assert_int_equal(back->n, 3);
	assert_memory_equal(back->rows, index->rows, 3 * sizeof index->rows[0]);
	/* Two rows of one page, of one number, and one that would be the index itself. */
	for (size_t at = 0; at < 2; at++) {
		uint8_t *low = encoded.data + FIXED_BYTES + 16 + 8 * at + 7, was = *low;

		*low = (uint8_t)rows[0][at];
		assert_int_equal(
			chat_index_decode(buf_bytes(&encoded), chat_people_conv, back, &f->err),
			KLUIS_ECORRUPT);
		*low = was;
	}
	encoded.data[FIXED_BYTES + 7] = CHAT_INDEX_PAGE;
	assert_int_equal(chat_index_decode(buf_bytes(&encoded), chat_people_conv, back, &f->err),
		KLUIS_ECORRUPT);
	free(index);
	free(back);
}

/* As many as one commit takes, and no more. */
static void test_index_full(void **state)
{
	struct chat_people *f = *state;
	struct chat_index *index = x_calloc(1, sizeof *index), *back = x_calloc(1, sizeof *back);
	_cleanup_(buf_release) struct buf encoded = BUF_INIT;

	for (; index->n < CHAT_SEGMENTS_MAX; index->n++) {
		index->rows[index->n] = (struct chat_index_row){index->n + 2, index->n + 1};
	}
	chat_index_encode(index, chat_people_conv, &encoded);
	assert_int_equal(
		chat_index_decode(buf_bytes(&encoded), chat_people_conv, back, &f->err), 0);
	assert_int_equal(back->n, CHAT_SEGMENTS_MAX);
	buf_put_u64(&encoded, CHAT_SEGMENTS_MAX + 2);
	buf_put_u64(&encoded, CHAT_SEGMENTS_MAX + 1);
	store_u32(encoded.data + FIXED_BYTES - 4, CHAT_SEGMENTS_MAX + 1);
	assert_int_equal(chat_index_decode(buf_bytes(&encoded), chat_people_conv, back, &f->err),
		KLUIS_ECORRUPT);
	free(index);
	free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_segment, chat_people_setup, chat_people_teardown),
		cmocka_unit_test_setup_teardown(
			test_segment_strict, chat_people_setup, chat_people_teardown),
		cmocka_unit_test_setup_teardown(
			test_index, chat_people_setup, chat_people_teardown),
		cmocka_unit_test_setup_teardown(
			test_index_full, chat_people_setup, chat_people_teardown),
	};

	return cmocka_run_group_tests(tests, chat_people_keys, chat_people_keys_free);
}

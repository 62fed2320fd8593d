/* What a disk, a crash or a hand can do to the log's files: cut where nobody was told of it,
 * refused where somebody was. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/wire.h"
#include "raft/segment.h"
#include "tests/unit/raft/lib/log_rig.h"

enum { SMALL_SEGMENT = 16 * 1024, ENTRY_LEN = 100 };

static char *path_in(const char *dir, const char *name)
{
	return x_asprintf("%s/%s", dir, name);
}

static char *segment_name(const char *dir, uint64_t epoch)
{
	return x_asprintf("%s/segment-%016" PRIx64, dir, epoch);
}

static void get_file(const char *path, struct buf *to)
{
	buf_clear(to);
	assert_int_equal(file_read(path, 1 << 20, to, NULL), 0);
}

static void put_file(const char *path, const struct buf *bytes)
{
	assert_int_equal(file_write(path, buf_bytes(bytes), 0600, NULL), 0);
}

/* A log with `appends` group commits of one entry each; killed: no clean end, so no last mark. */
static char *make_log(unsigned appends, unsigned per_append, bool killed)
{
	char *dir = scratch_new("log");
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct log_rig rig;
		struct err e = {0};

		if (log_rig_open(&rig, dir, SMALL_SEGMENT, &e) != 0) {
			_exit(1);
		}
		for (unsigned i = 0; i < appends; i++) {
			log_rig_append(&rig, 1 + i * per_append, per_append, 1, ENTRY_LEN);
			log_rig_wait(&rig);
		}
		if (!killed) {
			log_rig_close(&rig);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return dir;
}

/* Opens, checks entries 1 .. last and closes; -1: it was refused with KLUIS_ECORRUPT, e says why.
 */
static int64_t open_last(const char *dir, struct err *e)
{
	struct log_rig rig;
	int64_t last;
	int rc = log_rig_open(&rig, dir, SMALL_SEGMENT, e);

	if (rc != 0) {
		assert_int_equal(rc, KLUIS_ECORRUPT);
		return -1;
	}
	last = (int64_t)entry_log_last(rig.log);
	for (uint64_t i = entry_log_first(rig.log); i <= (uint64_t)last; i++) {
		struct entry *entry = NULL;

		assert_int_equal(entry_log_load(rig.log, i, &entry, NULL), 0);
		assert_true(log_rig_entry_good(entry, i, entry->term, ENTRY_LEN));
		entry_unref(entry);
	}
	log_rig_close(&rig);
	return last;
}

static void assert_refused(const char *dir, const char *names)
{
	struct err e = {0};

	if (open_last(dir, &e) != -1) {
		fail_msg("not refused");
	}
	if (strstr(e.text, names) == NULL) {
		fail_msg("'%s' does not name '%s'", e.text, names);
	}
}

static void test_torn_tail_at_every_byte(void **state)
{
	char *dir = make_log(3, 1, true);
	_cleanup_(x_freep) char *path = segment_name(dir, 1);
	_cleanup_(buf_release) struct buf good = BUF_INIT, torn = BUF_INIT;
	size_t record = segment_record_bytes(ENTRY_LEN);
	size_t begin = SEGMENT_HEAD_BYTES + 2 * record;

	(void)state;
	log_set_level(LOG_LEVEL_ERR);
	get_file(path, &good);
	for (size_t cut = 0; cut < record; cut++) {
		for (int fill = 0; fill <= 0xff; fill += 0xff) {
			buf_clear(&torn);
			buf_append_bytes(&torn, buf_bytes(&good));
			memset(torn.data + begin + cut, fill, good.len - begin - cut);
			put_file(path, &torn);
			/* Padding is zero: losing it loses nothing. */
			if (fill != 0 || cut < SEGMENT_RECORD_HEAD_BYTES + ENTRY_LEN) {
				assert_int_equal(open_last(dir, NULL), 2);
			}
		}
	}
	put_file(path, &good);
	assert_int_equal(open_last(dir, NULL), 3);
	scratch_free(dir);
}

/* Every byte of everything that somebody was told of. */
static void test_flipped_bytes_before_the_last_commit(void **state)
{
	char *dir = make_log(4, 2, true);
	_cleanup_(x_freep) char *path = segment_name(dir, 1);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	size_t last = SEGMENT_HEAD_BYTES + 6 * segment_record_bytes(ENTRY_LEN);

	(void)state;
	get_file(path, &bytes);
	for (size_t at = 0; at < last; at++) {
		/* The head's zeros and long runs of data are much alike: one in seven. */
		if (at > 64 && at < SEGMENT_HEAD_BYTES && at % 7 != 0) {
			continue;
		}
		bytes.data[at] ^= (uint8_t)(1U << at % 8);
		put_file(path, &bytes);
		assert_refused(dir, path);
		bytes.data[at] ^= (uint8_t)(1U << at % 8);
	}
	put_file(path, &bytes);
	assert_int_equal(open_last(dir, NULL), 8);
	scratch_free(dir);
}

static void test_flipped_bytes_in_the_last_commit(void **state)
{
	char *dir = make_log(4, 2, true);
	_cleanup_(x_freep) char *path = segment_name(dir, 1);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	size_t record = segment_record_bytes(ENTRY_LEN);
	size_t begin = SEGMENT_HEAD_BYTES + 6 * record;

	(void)state;
	get_file(path, &bytes);
	for (size_t at = begin; at < begin + 2 * record; at++) {
		bytes.data[at] ^= (uint8_t)(1U << at % 8);
		put_file(path, &bytes);
		/* No later commit says that it was whole: torn, with all that came with it. */
		assert_int_equal(open_last(dir, NULL), at < begin + record ? 6 : 7);
		bytes.data[at] ^= (uint8_t)(1U << at % 8);
	}
	scratch_free(dir);
}

static void test_a_clean_end_leaves_no_doubt(void **state)
{
	char *dir = make_log(4, 2, false);
	_cleanup_(x_freep) char *path = segment_name(dir, 1);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	size_t end = SEGMENT_HEAD_BYTES + 8 * segment_record_bytes(ENTRY_LEN);

	(void)state;
	get_file(path, &bytes);
	for (size_t at = SEGMENT_HEAD_BYTES; at < end; at++) {
		bytes.data[at] ^= (uint8_t)(1U << at % 8);
		put_file(path, &bytes);
		assert_refused(dir, path);
		bytes.data[at] ^= (uint8_t)(1U << at % 8);
	}
	scratch_free(dir);
}

/* Two entries in one group commit, and the mark that follows them when nothing else comes. */
static char *make_log_with_mark(const char *name)
{
	char *dir = scratch_new("log");
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		_cleanup_(x_freep) char *path = x_asprintf("%s/%s", dir, name);
		_cleanup_(buf_release) struct buf bytes = BUF_INIT;
		size_t at = SEGMENT_HEAD_BYTES + 2 * segment_record_bytes(ENTRY_LEN);
		struct log_rig rig;

		if (log_rig_open_marking(&rig, dir, SMALL_SEGMENT, 1, NULL) != 0) {
			_exit(1);
		}
		log_rig_append(&rig, 1, 2, 1, ENTRY_LEN);
		log_rig_wait(&rig);
		do {
			buf_clear(&bytes);
			if (file_read(path, SMALL_SEGMENT, &bytes, NULL) != 0) {
				_exit(2);
			}
		} while (load_u32(bytes.data + at) == 0);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return dir;
}

/* A kill after a time without writes: behind the last commit stands that it was synced. */
static void test_a_pause_leaves_no_doubt(void **state)
{
	char *dir = make_log_with_mark("segment-0000000000000001");
	_cleanup_(x_freep) char *path = segment_name(dir, 1);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	size_t mark = SEGMENT_HEAD_BYTES + 2 * segment_record_bytes(ENTRY_LEN);

	(void)state;
	get_file(path, &bytes);
	for (size_t at = SEGMENT_HEAD_BYTES; at < mark + SEGMENT_RECORD_HEAD_BYTES; at++) {
		bytes.data[at] ^= (uint8_t)(1U << at % 8);
		put_file(path, &bytes);
		if (at < mark) {
			assert_refused(dir, path);
		} else {
			assert_int_equal(open_last(dir, NULL), 2); /* Of the mark: torn. */
		}
		bytes.data[at] ^= (uint8_t)(1U << at % 8);
	}
	scratch_free(dir);
}

static void test_the_offset_is_named(void **state)
{
	char *dir = make_log(4, 2, false), offset[32];
	_cleanup_(x_freep) char *path = segment_name(dir, 1);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	size_t at = SEGMENT_HEAD_BYTES + 3 * segment_record_bytes(ENTRY_LEN);

	(void)state;
	get_file(path, &bytes);
	bytes.data[at + 50] ^= 1;
	put_file(path, &bytes);
	(void)snprintf(offset, sizeof offset, "offset %zu ", at);
	assert_refused(dir, offset);
	assert_refused(dir, "new id");
	scratch_free(dir);
}

/* The kernel may write the pages of one commit in any order: what came of the second record without
 * the first is not damage, and must not come back when the first is replaced by another. */
static void test_half_a_commit_never_comes_back(void **state)
{
	char *dir = make_log(2, 2, true);
	_cleanup_(x_freep) char *path = segment_name(dir, 1);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	size_t record = segment_record_bytes(ENTRY_LEN);
	struct log_rig rig;

	(void)state;
	get_file(path, &bytes);
	memset(bytes.data + SEGMENT_HEAD_BYTES + 2 * record, 0, record);
	put_file(path, &bytes);
	assert_int_equal(log_rig_open(&rig, dir, SMALL_SEGMENT, NULL), 0);
	assert_int_equal(entry_log_last(rig.log), 2);
	log_rig_append(&rig, 3, 1, 2, ENTRY_LEN);
	log_rig_wait(&rig);
	log_rig_close(&rig);
	assert_int_equal(open_last(dir, NULL), 3);
	scratch_free(dir);
}

/* A recycled segment full of valid records of its earlier life. */
static void test_old_life_is_not_read(void **state)
{
	char *dir = scratch_new("log");
	struct log_rig rig;

	(void)state;
	assert_int_equal(log_rig_open(&rig, dir, SMALL_SEGMENT, NULL), 0);
	for (uint64_t at = 1; at <= 800; at += 8) {
		log_rig_append(&rig, at, 8, 1, ENTRY_LEN);
		log_rig_wait(&rig);
		entry_log_trim(rig.log, at, bytes_str("s"));
		if (at % 64 == 1) {
			log_rig_close(&rig);
			assert_int_equal(open_last(dir, NULL), at + 7);
			assert_int_equal(log_rig_open(&rig, dir, SMALL_SEGMENT, NULL), 0);
		}
	}
	log_rig_close(&rig);
	scratch_free(dir);
}

static void test_damage_in_a_middle_segment(void **state)
{
	char *dir = make_log(300, 1, false);
	_cleanup_(x_freep) char *path = segment_name(dir, 2);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	(void)state;
	get_file(path, &bytes);
	for (size_t at = 0; at < bytes.len; at += 211) {
		struct err e = {0};
		int64_t last;

		bytes.data[at] ^= 0x10;
		put_file(path, &bytes);
		last = open_last(dir, &e);
		/* Behind the last record there is nothing that counts. */
		assert_true(last == -1 || (last == 300 && at > bytes.len - 200));
		bytes.data[at] ^= 0x10;
	}
	/* A hole that looks like a torn tail is none here. */
	memset(bytes.data + 9000, 0, bytes.len - 9000);
	put_file(path, &bytes);
	assert_refused(dir, path);
	scratch_free(dir);
}

static void test_missing_segments(void **state)
{
	char *dir = make_log(300, 1, false);

	(void)state;
	for (uint64_t epoch = 1; epoch <= 4; epoch++) {
		_cleanup_(x_freep) char *path = segment_name(dir, epoch);
		_cleanup_(x_freep) char *aside = path_in(dir, "aside");

		assert_int_equal(rename(path, aside), 0);
		assert_refused(dir, path);
		assert_int_equal(rename(aside, path), 0);
	}
	assert_int_equal(open_last(dir, NULL), 300);
	scratch_free(dir);
}

static void test_foreign_stale_and_swapped_segments(void **state)
{
	char *dir = make_log(300, 1, false), *other = make_log(300, 1, false);
	_cleanup_(x_freep) char *second = segment_name(dir, 2);
	_cleanup_(x_freep) char *third = segment_name(dir, 3);
	_cleanup_(x_freep) char *foreign = segment_name(other, 2);
	_cleanup_(x_freep) char *fifth = segment_name(dir, 9);
	_cleanup_(buf_release) struct buf good = BUF_INIT, bytes = BUF_INIT;

	(void)state;
	get_file(second, &good);
	get_file(foreign, &bytes);
	put_file(second, &bytes);
	assert_refused(dir, second);
	get_file(third, &bytes);
	put_file(second, &bytes);
	assert_refused(dir, second);
	/* An old copy: fewer records than there were in the end. */
	buf_clear(&bytes);
	buf_append_bytes(&bytes, buf_bytes(&good));
	memset(bytes.data + SEGMENT_HEAD_BYTES + 20 * segment_record_bytes(ENTRY_LEN), 0,
		bytes.len - SEGMENT_HEAD_BYTES - 20 * segment_record_bytes(ENTRY_LEN));
	put_file(second, &bytes);
	assert_refused(dir, second);
	put_file(second, &good);
	/* One that the state has never heard of. */
	get_file(third, &bytes);
	put_file(fifth, &bytes);
	assert_refused(dir, fifth);
	assert_int_equal(unlink(fifth), 0);
	/* Cut and grown files. */
	good.len -= 8;
	put_file(second, &good);
	assert_refused(dir, second);
	scratch_free(dir);
	scratch_free(other);
}

static void test_state_file(void **state)
{
	char *dir = make_log(3, 1, false), *other = make_log(3, 1, false);
	_cleanup_(x_freep) char *path = path_in(dir, "state");
	_cleanup_(x_freep) char *foreign = path_in(other, "state");
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;

	(void)state;
	get_file(foreign, &bytes);
	put_file(path, &bytes);
	assert_refused(dir, "vote"); /* The vote file is of another log than the state. */
	assert_int_equal(unlink(path), 0);
	assert_refused(dir, path);
	bytes.len = 100;
	put_file(path, &bytes);
	assert_refused(dir, path);
	scratch_free(dir);
	scratch_free(other);
}

static void test_vote_file(void **state)
{
	char *dir = make_log(3, 1, false);
	_cleanup_(x_freep) char *path = path_in(dir, "vote");
	_cleanup_(buf_release) struct buf bytes = BUF_INIT, old = BUF_INIT;
	struct log_rig rig;
	struct err e = {0};

	(void)state;
	get_file(path, &old);
	assert_int_equal(log_rig_open(&rig, dir, SMALL_SEGMENT, NULL), 0);
	entry_log_set_vote(rig.log, 7, 4);
	log_rig_append(&rig, 4, 1, 7, ENTRY_LEN);
	log_rig_wait(&rig);
	log_rig_close(&rig);
	get_file(path, &bytes);
	/* Any damage to one slot: the other has the same. */
	for (size_t at = 0; at < bytes.len; at += at % SLOT_STRIDE_BYTES < 80 ? 1 : 509) {
		bytes.data[at] ^= 0x40;
		put_file(path, &bytes);
		bytes.data[at] ^= 0x40;
		assert_int_equal(log_rig_open(&rig, dir, SMALL_SEGMENT, &e), 0);
		assert_int_equal(entry_log_vote_term(rig.log), 7);
		assert_int_equal(entry_log_vote(rig.log), 4);
		log_rig_close(&rig);
	}
	/* To both. */
	put_file(path, &bytes);
	for (size_t slot = 0; slot < 2; slot++) {
		bytes.data[slot * SLOT_STRIDE_BYTES + 20] ^= 1;
	}
	put_file(path, &bytes);
	assert_refused(dir, path);
	/* An old copy would let this node vote again in a term it voted in. */
	put_file(path, &old);
	assert_refused(dir, path);
	assert_int_equal(unlink(path), 0);
	assert_refused(dir, path);
	scratch_free(dir);
}

static void test_slot_decode_refuses(void **state)
{
	char *dir = scratch_new("slot");
	_cleanup_(x_freep) char *path = path_in(dir, "s");
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint8_t payload[4];
	uint64_t sequence;
	struct slot_file file;

	(void)state;
	assert_int_equal(slot_file_create(path, "TEST", bytes_str("abcd"), NULL), 0);
	assert_int_equal(slot_file_create(path, "TEST", bytes_str("abcd"), NULL), KLUIS_EEXIST);
	assert_int_equal(slot_file_open(&file, path, "TEST", payload, 4, NULL), 0);
	slot_file_write(&file, (const uint8_t *)"efgh");
	slot_file_close(&file);
	get_file(path, &bytes);
	bytes.len = SLOT_STRIDE_BYTES;
	assert_int_equal(slot_decode(buf_bytes(&bytes), "TEST", 4, &sequence, payload), 0);
	assert_int_equal(sequence, 2);
	assert_memory_equal(payload, "efgh", 4);
	assert_int_equal(
		slot_decode(buf_bytes(&bytes), "TOST", 4, &sequence, payload), KLUIS_ECORRUPT);
	assert_int_equal(
		slot_decode(buf_bytes(&bytes), "TEST", 5, &sequence, payload), KLUIS_ECORRUPT);
	for (size_t at = 0; at < bytes.len; at++) {
		bytes.data[at] ^= 2;
		assert_int_not_equal(
			slot_decode(buf_bytes(&bytes), "TEST", 4, &sequence, payload), 0);
		bytes.data[at] ^= 2;
	}
	assert_int_equal(slot_file_open(&file, path, "TEST", payload, 5, NULL), KLUIS_ECORRUPT);
	scratch_free(dir);
}

static void test_records_are_exact(void **state)
{
	struct segment_head head = {
		.epoch = 3, .first_index = 9, .bytes = SMALL_SEGMENT, .salt = 0x5a17};
	uint8_t bytes[SEGMENT_HEAD_BYTES + 64] = {0};
	struct segment_record record;
	struct segment_head back;

	(void)state;
	segment_head_encode(&head, bytes);
	assert_int_equal(segment_head_decode(bytes_of(bytes, SEGMENT_HEAD_BYTES), &back), 0);
	assert_int_equal(back.seed, head.seed);
	assert_int_equal(back.first_index, 9);
	(void)segment_record_encode(&head, ENTRY_COMMAND, SEGMENT_HEAD_BYTES, 9, 2,
		bytes_str("hello"), bytes + SEGMENT_HEAD_BYTES);
	memcpy(bytes + SEGMENT_HEAD_BYTES + SEGMENT_RECORD_HEAD_BYTES, "hello", 5);
	assert_int_equal(segment_record_bytes(5), 48);
	for (size_t len = 0; len < 48; len++) {
		assert_int_not_equal(
			segment_record_decode(&head, bytes_of(bytes, SEGMENT_HEAD_BYTES + len),
				SEGMENT_HEAD_BYTES, &record),
			0);
	}
	assert_int_equal(segment_record_decode(&head, bytes_of(bytes, SEGMENT_HEAD_BYTES + 48),
				 SEGMENT_HEAD_BYTES, &record),
		0);
	assert_true(bytes_equal(record.data, bytes_str("hello")));
	assert_int_equal(record.index, 9);
	for (size_t at = 0; at < 48; at++) {
		for (int bit = 0; bit < 8; bit++) {
			bytes[SEGMENT_HEAD_BYTES + at] ^= (uint8_t)(1 << bit);
			assert_int_not_equal(
				segment_record_decode(&head, bytes_of(bytes, sizeof bytes),
					SEGMENT_HEAD_BYTES, &record),
				0);
			bytes[SEGMENT_HEAD_BYTES + at] ^= (uint8_t)(1 << bit);
		}
	}
	head.epoch = 4; /* The same bytes in another life of the file. */
	segment_head_encode(&head, bytes);
	assert_int_equal(segment_record_decode(
				 &head, bytes_of(bytes, sizeof bytes), SEGMENT_HEAD_BYTES, &record),
		KLUIS_ECORRUPT);
	bytes[4] = 2;
	store_u32(bytes + 56, 0);
	assert_int_not_equal(segment_head_decode(bytes_of(bytes, SEGMENT_HEAD_BYTES), &back), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_torn_tail_at_every_byte),
		cmocka_unit_test(test_flipped_bytes_before_the_last_commit),
		cmocka_unit_test(test_flipped_bytes_in_the_last_commit),
		cmocka_unit_test(test_a_clean_end_leaves_no_doubt),
		cmocka_unit_test(test_a_pause_leaves_no_doubt),
		cmocka_unit_test(test_the_offset_is_named),
		cmocka_unit_test(test_half_a_commit_never_comes_back),
		cmocka_unit_test(test_old_life_is_not_read),
		cmocka_unit_test(test_damage_in_a_middle_segment),
		cmocka_unit_test(test_missing_segments),
		cmocka_unit_test(test_foreign_stale_and_swapped_segments),
		cmocka_unit_test(test_state_file),
		cmocka_unit_test(test_vote_file),
		cmocka_unit_test(test_slot_decode_refuses),
		cmocka_unit_test(test_records_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

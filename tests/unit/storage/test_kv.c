#include "tests/lib/test.h"

#include <errno.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/random.h"
#include "base/wire.h"
#include "storage/kv.h"

static const struct kv_options create = {
	.create = true, .write_buffer_bytes = 3 << 20, .cache_bytes = 8 << 20};

static struct kv *open_in(const char *dir, const struct kv_options *options)
{
	struct kv *kv = NULL;
	struct err e = {0};
	int rc = kv_rocksdb_open(dir, options, &kv, &e);

	if (rc != 0) {
		fail_msg("%s: %s", dir, e.text);
	}
	return kv;
}

static void put(struct kv *kv, const char *key, struct bytes value)
{
	struct kv_change change = {bytes_str(key), value, false};

	assert_int_equal(kv_write(kv, &change, 1, NULL), 0);
}

static int get(const struct kv_view *view, const char *key, struct buf *to)
{
	buf_clear(to);
	return kv_get(view, bytes_str(key), to, NULL);
}

/* Rows of [first, end) as "key=value " in order. */
static void dump(const struct kv_view *view, const char *first, const char *end, struct buf *to)
{
	struct kv_iter *iter = kv_iter_new(view, bytes_str(first), bytes_str(end));

	buf_clear(to);
	while (kv_iter_next(iter)) {
		buf_append_bytes(to, kv_iter_key(iter));
		buf_put_str(to, "=");
		buf_append_bytes(to, kv_iter_value(iter));
		buf_put_str(to, " ");
	}
	assert_int_equal(kv_iter_status(iter, NULL), 0);
	kv_iter_free(iter);
}

/* The same promises, whichever the back end. */
static void check_contract(struct kv *kv)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct kv_change batch[] = {{bytes_str("b"), bytes_str("2"), false},
		{bytes_str("a"), bytes_str("1"), false}, {bytes_str("ab"), bytes_str("3"), false},
		{bytes_str("b"), bytes_str("4"), false}, {bytes_str("zz"), bytes_str("9"), false},
		{bytes_str("zz"), bytes_of(NULL, 0), true}};
	struct kv_change gone = {bytes_str("ab"), bytes_of(NULL, 0), true};
	struct kv_view *old, *now;
	uint64_t free_bytes = 0, total = 0;
	struct kv_stats stats;

	assert_int_equal(kv_write(kv, batch, ARRAY_SIZE(batch), NULL), 0);
	old = kv_view_new(kv);
	assert_int_equal(kv_write(kv, &gone, 1, NULL), 0);
	put(kv, "c", bytes_of(NULL, 0));
	now = kv_view_new(kv);
	dump(old, "", "", &b);
	assert_string_equal(buf_str(&b), "a=1 ab=3 b=4 ");
	dump(now, "", "", &b);
	assert_string_equal(buf_str(&b), "a=1 b=4 c= ");
	dump(now, "a", "b", &b);
	assert_string_equal(buf_str(&b), "a=1 ");
	dump(now, "ab", "", &b);
	assert_string_equal(buf_str(&b), "b=4 c= ");
	dump(now, "b", "b", &b);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(get(now, "ab", &b), KLUIS_ENOTFOUND);
	assert_int_equal(get(old, "ab", &b), 0);
	buf_put_str(&b, "-");
	assert_int_equal(kv_get(now, bytes_str("a"), &b, NULL), 0); /* Appends. */
	assert_string_equal(buf_str(&b), "3-1");
	kv_view_free(old);
	kv_view_free(now);
	assert_int_equal(kv_flush(kv, NULL), 0);
	kv_stats(kv, &stats);
	assert_true(stats.keys_estimate > 0 && stats.garbage_bytes == 0);
	assert_int_equal(kv_reclaim(kv, true, NULL), 0);
	assert_int_equal(kv_reclaim(kv, false, NULL), 0);
	assert_int_equal(kv_free_space(kv, &free_bytes, &total, NULL), 0);
	assert_true(free_bytes > 0 && total >= free_bytes);
}

static void test_contract_memory(void **state)
{
	struct kv *kv = kv_memory_new();

	(void)state;
	check_contract(kv);
	assert_int_equal(kv_checkpoint(kv, "/nowhere", NULL), KLUIS_EINVAL);
	kv_close(kv);
}

static void test_contract_rocksdb(void **state)
{
	char *dir = scratch_new("kv");
	struct kv *kv = open_in(dir, &create);

	(void)state;
	check_contract(kv);
	kv_close(kv);
	scratch_free(dir);
}

static void test_clone_is_apart(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	struct kv *kv = kv_memory_new(), *clone;
	struct kv_view *view;

	(void)state;
	put(kv, "a", bytes_str("1"));
	clone = kv_memory_clone(kv);
	put(kv, "a", bytes_str("2"));
	put(clone, "b", bytes_str("3"));
	view = kv_view_new(clone);
	kv_close(kv);
	dump(view, "", "", &b);
	assert_string_equal(buf_str(&b), "a=1 b=3 ");
	kv_view_free(view);
	kv_close(clone);
}

/* A random batch, the same for both stores. */
static size_t random_batch(
	struct random *random, struct kv_change changes[8], uint8_t keys[8][3], struct buf *value)
{
	size_t n = 1 + (size_t)random_below(random, 8);

	buf_clear(value);
	buf_extend(value, (size_t)random_below(random, 4) == 0 ? 6000 : 20);
	random_fill(random, value->data, value->len);
	for (size_t i = 0; i < n; i++) {
		keys[i][0] = (uint8_t)random_below(random, 3);
		keys[i][1] = (uint8_t)random_below(random, 20);
		keys[i][2] = 0xff;
		changes[i].key = bytes_of(keys[i], 2 + (size_t)random_below(random, 2));
		changes[i].value = bytes_of(value->data, (size_t)random_below(random, value->len));
		changes[i].deleted = random_below(random, 3) == 0;
	}
	return n;
}

static void test_back_ends_agree(void **state)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT, a = BUF_INIT, b = BUF_INIT;
	char *dir = scratch_new("kv");
	struct kv *disk = open_in(dir, &create), *memory = kv_memory_new();
	struct random_seeded random;
	struct kv_change changes[8];
	uint8_t keys[8][3];

	(void)state;
	random_seeded_init(&random, 5);
	for (unsigned step = 0; step < 600; step++) {
		size_t n = random_batch(&random.random, changes, keys, &value);
		struct kv_view *disk_view, *memory_view;

		assert_int_equal(kv_write(disk, changes, n, NULL), 0);
		assert_int_equal(kv_write(memory, changes, n, NULL), 0);
		if (step % 100 == 50) {
			assert_int_equal(kv_flush(disk, NULL), 0);
		}
		if (step % 20 != 0) {
			continue;
		}
		disk_view = kv_view_new(disk);
		memory_view = kv_view_new(memory);
		dump(disk_view, step % 40 == 0 ? "" : "\x01", step % 3 == 0 ? "" : "\x02", &a);
		dump(memory_view, step % 40 == 0 ? "" : "\x01", step % 3 == 0 ? "" : "\x02", &b);
		assert_true(bytes_equal(buf_bytes(&a), buf_bytes(&b)));
		kv_view_free(disk_view);
		kv_view_free(memory_view);
	}
	kv_close(disk);
	kv_close(memory);
	scratch_free(dir);
}

static void test_open_refusals(void **state)
{
	static const struct kv_options must_exist = {.create = false};
	char *dir = scratch_new("kv");
	struct kv *kv = NULL, *second = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(kv_rocksdb_open(dir, &must_exist, &kv, &e), KLUIS_ENOTFOUND);
	assert_null(kv);
	assert_non_null(strstr(e.text, dir));
	kv = open_in(dir, &create);
	assert_int_equal(kv_rocksdb_open(dir, &create, &second, &e), KLUIS_EBUSY);
	assert_null(second);
	kv_close(kv);
	scratch_free(dir);
}

static char *path_in(const char *dir, const char *name)
{
	return x_asprintf("%s/%s", dir, name);
}

/* Bytes of the blob files in dir. */
static uint64_t blob_bytes(const char *dir)
{
	DIR *open_dir = opendir(dir);
	struct dirent *entry;
	uint64_t sum = 0;

	assert_non_null(open_dir);
	while ((entry = readdir(open_dir)) != NULL) {
		_cleanup_(x_freep) char *path = path_in(dir, entry->d_name);
		struct stat st;

		if (strstr(entry->d_name, ".blob") != NULL && stat(path, &st) == 0) {
			sum += (uint64_t)st.st_size;
		}
	}
	(void)closedir(open_dir);
	return sum;
}

static void put_page(struct kv *kv, unsigned i, bool deleted)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	uint8_t key[4];
	struct kv_change change = {bytes_of(key, sizeof key), bytes_of(NULL, 0), deleted};

	store_u32(key, i);
	if (!deleted) {
		memset(buf_extend(&page, 128 << 10), (int)i, 128 << 10);
		change.value = buf_bytes(&page);
	}
	assert_int_equal(kv_write(kv, &change, 1, NULL), 0);
}

/* Deleted pages give their room back though every file still holds a page that lives. */
static void test_reclaim(void **state)
{
	enum { PAGES = 800, KEPT_EACH = 5, WAIT_MS = 60000, STEP_MS = 50 };
	char *dir = scratch_new("kv");
	struct kv *kv = open_in(dir, &create);
	_cleanup_(buf_release) struct buf b = BUF_INIT;
	uint64_t full;
	unsigned waited = 0;

	(void)state;
	for (unsigned i = 0; i < PAGES; i++) {
		put_page(kv, i, false);
	}
	assert_int_equal(kv_flush(kv, NULL), 0);
	full = blob_bytes(dir);
	assert_true(full >= (uint64_t)PAGES << 17);
	for (unsigned i = 0; i < PAGES; i++) {
		if (i % KEPT_EACH != 0) {
			put_page(kv, i, true);
		}
	}
	for (; blob_bytes(dir) > full / 2; waited += STEP_MS) {
		assert_true(waited < WAIT_MS);
		assert_int_equal(kv_flush(kv, NULL), 0);
		assert_int_equal(kv_reclaim(kv, true, NULL), 0);
		(void)usleep(STEP_MS * 1000);
	}
	for (unsigned i = 0; i < PAGES; i++) {
		struct kv_view *view = kv_view_new(kv);
		uint8_t key[4];

		store_u32(key, i);
		buf_clear(&b);
		assert_int_equal(kv_get(view, bytes_of(key, sizeof key), &b, NULL),
			i % KEPT_EACH == 0 ? 0 : KLUIS_ENOTFOUND);
		assert_int_equal(b.len, i % KEPT_EACH == 0 ? 128 << 10 : 0);
		kv_view_free(view);
	}
	kv_close(kv);
	scratch_free(dir);
}

static void test_checkpoint_read_only(void **state)
{
	static const struct kv_options read_only = {.read_only = true, .cache_bytes = 8 << 20};
	_cleanup_(buf_release) struct buf b = BUF_INIT, page = BUF_INIT;
	char *dir = scratch_new("kv"), *live = path_in(dir, "live"), *copy = path_in(dir, "copy");
	struct kv *kv, *checkpoint;
	struct kv_view *view;

	(void)state;
	memset(buf_extend(&page, 70000), 7, 70000);
	assert_int_equal(mkdir(live, 0700), 0);
	kv = open_in(live, &create);
	put(kv, "page", buf_bytes(&page));
	put(kv, "row", bytes_str("1"));
	/* Not flushed: the checkpoint must hold it all the same, there is no WAL. */
	assert_int_equal(kv_checkpoint(kv, copy, NULL), 0);
	assert_int_equal(kv_checkpoint(kv, copy, NULL), KLUIS_EEXIST);
	put(kv, "row", bytes_str("2"));
	kv_close(kv);
	checkpoint = open_in(copy, &read_only);
	view = kv_view_new(checkpoint);
	assert_int_equal(get(view, "row", &b), 0);
	assert_string_equal(buf_str(&b), "1");
	assert_int_equal(get(view, "page", &b), 0);
	assert_true(bytes_equal(buf_bytes(&b), buf_bytes(&page)));
	assert_int_equal(
		kv_write(checkpoint, &(struct kv_change){bytes_str("x"), bytes_str("y"), false}, 1,
			NULL),
		KLUIS_EIO);
	kv_view_free(view);
	kv_close(checkpoint);
	free(live);
	free(copy);
	scratch_free(dir);
}

static void test_cache_only(void **state)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT, page = BUF_INIT;
	char *dir = scratch_new("kv");
	struct kv *kv = open_in(dir, &create);
	struct kv_view *view;

	(void)state;
	memset(buf_extend(&page, 70000), 7, 70000);
	put(kv, "page", buf_bytes(&page));
	put(kv, "row", bytes_str("1"));
	view = kv_view_new(kv);
	kv_view_set_cache_only(view, true);
	assert_int_equal(get(view, "row", &b), 0); /* In the memtable. */
	kv_view_free(view);
	assert_int_equal(kv_flush(kv, NULL), 0);
	kv_close(kv);

	kv = open_in(dir, &create); /* A cold cache. */
	view = kv_view_new(kv);
	kv_view_set_cache_only(view, true);
	assert_int_equal(get(view, "page", &b), KLUIS_EAGAIN);
	assert_int_equal(b.len, 0);
	kv_view_set_cache_only(view, false);
	assert_int_equal(get(view, "page", &b), 0);
	kv_view_set_cache_only(view, true);
	assert_int_equal(get(view, "page", &b), 0); /* Blob and block are cached now. */
	assert_int_equal(b.len, page.len);
	assert_int_equal(get(view, "nothing", &b), KLUIS_ENOTFOUND);
	kv_view_free(view);
	kv_close(kv);
	scratch_free(dir);
}

static void test_cache_only_iterator(void **state)
{
	char *dir = scratch_new("kv");
	struct kv *kv = open_in(dir, &create);
	struct kv_view *view;
	struct kv_iter *iter;

	(void)state;
	put(kv, "row", bytes_str("1"));
	assert_int_equal(kv_flush(kv, NULL), 0);
	kv_close(kv);
	kv = open_in(dir, &create);
	view = kv_view_new(kv);
	kv_view_set_cache_only(view, true);
	iter = kv_iter_new(view, bytes_str("r"), bytes_str(""));
	assert_false(kv_iter_next(iter));
	assert_int_equal(kv_iter_status(iter, NULL), KLUIS_EAGAIN);
	kv_iter_free(iter);
	kv_view_free(view);
	kv_close(kv);
	scratch_free(dir);
}

static void test_injected_failures(void **state)
{
	struct kv *kv = kv_memory_new();
	struct kv_change change = {bytes_str("a"), bytes_str("1"), false};
	struct kv_view *view;

	(void)state;
	fault_arm("store.write", 2, false);
	assert_int_equal(kv_write(kv, &change, 1, NULL), 0);
	change.key = bytes_str("b");
	assert_int_equal(kv_write(kv, &change, 1, NULL), KLUIS_EIO);
	fault_disarm();
	view = kv_view_new(kv);
	assert_int_equal(kv_get(view, bytes_str("b"), &BUF_INIT, NULL), KLUIS_ENOTFOUND);
	kv_view_free(view);
	fault_arm("store.flush", 1, false);
	assert_int_equal(kv_flush(kv, NULL), KLUIS_EIO);
	fault_disarm();
	kv_close(kv);
}

/* Batch i writes slot i mod SLOTS and "applied" = i, some values into blob files. */
enum { SLOTS = 97 };

static void writer_write(struct kv *kv, uint64_t i, struct buf *value)
{
	char slot[16], number[8];
	struct kv_change changes[2];

	(void)snprintf(slot, sizeof slot, "s%u", (unsigned)(i % SLOTS));
	store_u64((uint8_t *)number, i);
	buf_clear(value);
	memset(buf_extend(value, i % 3 == 0 ? 100 : 16384), (int)(i & 0xff),
		i % 3 == 0 ? 100 : 16384);
	memcpy(value->data, number, sizeof number);
	changes[0] = (struct kv_change){bytes_str(slot), buf_bytes(value), false};
	changes[1] =
		(struct kv_change){bytes_str("applied"), bytes_of(number, sizeof number), false};
	if (kv_write(kv, changes, 2, NULL) != 0) {
		_exit(2);
	}
}

static uint64_t reader_applied(const struct kv_view *view)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	return get(view, "applied", &b) == 0 ? load_u64(b.data) : 0;
}

/* Each slot's newest writer up to `applied`, and nobody beyond. */
static void reader_check(const struct kv_view *view, uint64_t applied)
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	for (uint64_t i = applied > SLOTS ? applied - SLOTS + 1 : 1; i <= applied; i++) {
		char slot[16];

		(void)snprintf(slot, sizeof slot, "s%u", (unsigned)(i % SLOTS));
		assert_int_equal(get(view, slot, &b), 0);
		assert_true(load_u64(b.data) == i);
		assert_int_equal(b.len, i % 3 == 0 ? 100 : 16384);
	}
}

static int writer_main(const char *dir)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	static const struct kv_options small = {
		.create = true, .write_buffer_bytes = 1 << 20, .cache_bytes = 1 << 20};
	struct kv *kv = NULL;
	struct kv_view *view;
	uint64_t i;

	if (kv_rocksdb_open(dir, &small, &kv, NULL) != 0) {
		_exit(3);
	}
	view = kv_view_new(kv);
	i = reader_applied(view);
	kv_view_free(view);
	for (;;) {
		writer_write(kv, ++i, &value);
		if (i % 64 == 0 && write(STDOUT_FILENO, "x", 1) != 1) {
			_exit(4);
		}
	}
}

/* kill -9 without a WAL leaves a prefix of the batches: rows and position never part. */
static void test_kill_leaves_a_prefix(void **state)
{
	static const struct kv_options again = {.cache_bytes = 8 << 20};
	char *dir = scratch_new("kv");
	uint64_t best = 0;

	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		int pipe_fds[2], status;
		char marks[1];
		pid_t pid;
		struct kv *kv;
		struct kv_view *view;
		uint64_t applied;

		assert_int_equal(pipe(pipe_fds), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			/* A program of its own: RocksDB's threads do not survive a fork. By its
			 * name: under valgrind /proc/self/exe is another. */
			(void)dup2(pipe_fds[1], STDOUT_FILENO);
			(void)execl(program_invocation_name, "writer", dir, (char *)NULL);
			_exit(5);
		}
		(void)close(pipe_fds[1]);
		for (unsigned i = 0; i < 3 + 2 * round; i++) {
			assert_int_equal(read(pipe_fds[0], marks, 1), 1);
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		(void)close(pipe_fds[0]);
		kv = open_in(dir, &again);
		view = kv_view_new(kv);
		applied = reader_applied(view);
		assert_true(applied >= best); /* What was on disk once stays. */
		reader_check(view, applied);
		best = applied;
		kv_view_free(view);
		kv_close(kv);
	}
	assert_true(best > 0); /* Memtables filled and were flushed by themselves. */
	scratch_free(dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contract_memory),
		cmocka_unit_test(test_contract_rocksdb),
		cmocka_unit_test(test_clone_is_apart),
		cmocka_unit_test(test_back_ends_agree),
		cmocka_unit_test(test_open_refusals),
		cmocka_unit_test(test_checkpoint_read_only),
		cmocka_unit_test(test_reclaim),
		cmocka_unit_test(test_cache_only),
		cmocka_unit_test(test_cache_only_iterator),
		cmocka_unit_test(test_injected_failures),
		cmocka_unit_test(test_kill_leaves_a_prefix),
	};

	if (argc == 2 && strcmp(argv[0], "writer") == 0) {
		return writer_main(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

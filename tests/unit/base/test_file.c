#include "tests/lib/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/random.h"

static void test_write_read_replace(void **state)
{
	char *dir = scratch_new("file");
	_cleanup_(x_freep) char *path = x_asprintf("%s/a/b/c", dir);
	_cleanup_(x_freep) char *parent = x_asprintf("%s/a/b", dir);
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	struct err e = {0};
	struct stat st;

	(void)state;
	assert_int_equal(file_make_dirs(parent, 0700, &e), 0);
	assert_int_equal(file_make_dirs(parent, 0700, &e), 0);
	assert_int_equal(file_write(path, bytes_str("one"), 0600, &e), 0);
	assert_int_equal(file_write(path, bytes_str("two"), 0600, &e), 0);
	assert_int_equal(file_read(path, 3, &got, &e), 0);
	assert_true(bytes_equal(buf_bytes(&got), bytes_str("two")));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_create(path, bytes_str("three"), 0600, &e), KLUIS_EEXIST);
	assert_int_equal(file_read(path, 2, &got, &e), KLUIS_ETOOLARGE);
	assert_int_equal(got.len, 3);
	assert_int_equal(file_remove_tree(parent, &e), 0);
	assert_int_equal(file_remove_tree(parent, &e), 0);
	assert_int_equal(file_read(path, 2, &got, &e), KLUIS_ENOTFOUND);
	scratch_free(dir);
}

/* A socket cannot be opened a second time by its name, as a pipe of another user's cannot. */
static void test_standard_input(void **state)
{
	_cleanup_(buf_release) struct buf got = BUF_INIT;
	int ends[2], before = dup(STDIN_FILENO);
	struct err e = {0};

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(write(ends[1], "mail", 4), 4);
	close(ends[1]);
	assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
	close(ends[0]);
	assert_int_equal(file_read(NULL, 4, &got, &e), 0);
	assert_true(bytes_equal(buf_bytes(&got), bytes_str("mail")));
	close(STDIN_FILENO);
	if (before >= 0) {
		assert_int_equal(dup2(before, STDIN_FILENO), STDIN_FILENO);
		close(before);
	}
}

static void test_a_failed_write_leaves_the_old(void **state)
{
	char *dir = scratch_new("file");
	_cleanup_(x_freep) char *path = x_asprintf("%s/f", dir);
	struct err e = {0};
	uint64_t nth = 0;
	int rc;

	(void)state;
	assert_int_equal(file_write(path, bytes_str("old"), 0600, &e), 0);
	do {
		_cleanup_(buf_release) struct buf got = BUF_INIT;

		fault_arm("file.", ++nth, false);
		rc = file_write(path, bytes_str("new"), 0600, &e);
		fault_disarm();
		assert_int_equal(file_read(path, 3, &got, &e), 0);
		if (rc != 0 && !bytes_equal(buf_bytes(&got), bytes_str("new"))) {
			assert_true(bytes_equal(buf_bytes(&got), bytes_str("old")));
		}
		assert_true(nth < 10);
	} while (rc != 0);
	assert_int_equal(nth, 4); /* write, fsync, fsync of the directory each failed once. */
	scratch_free(dir);
}

/* What does not fit blocks in length or place is written all the same, and so is what follows. */
static void test_direct(void **state)
{
	static const size_t lengths[] = {2 * FILE_BLOCK_BYTES, FILE_BLOCK_BYTES, 100,
		FILE_BLOCK_BYTES, 1, 3 * FILE_BLOCK_BYTES};
	char *dir = scratch_new("file");
	_cleanup_(x_freep) char *path = x_asprintf("%s/direct", dir);
	_cleanup_(x_freep) uint8_t *block =
		x_malloc_aligned(FILE_BLOCK_BYTES, 4 * FILE_BLOCK_BYTES);
	_cleanup_(buf_release) struct buf want = BUF_INIT, got = BUF_INIT;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	file_set_direct(fd);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		memset(block, (int)i + 1, lengths[i]);
		buf_append(&want, block, lengths[i]);
		assert_int_equal(file_write_all(fd, bytes_of(block, lengths[i])), 0);
	}
	(void)close(fd);
	assert_int_equal(file_read(path, want.len, &got, NULL), 0);
	assert_true(bytes_equal(buf_bytes(&got), buf_bytes(&want)));
	fd = open(path, O_RDONLY | O_CLOEXEC); /* Another failure stays one. */
	file_set_direct(fd);
	assert_int_equal(file_write_all(fd, bytes_of(block, FILE_BLOCK_BYTES)), KLUIS_EIO);
	(void)close(fd);
	scratch_free(dir);
}

static void test_errors(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, KLUIS_EIO, "open '%s'", "x.part"), KLUIS_EIO);
	assert_int_equal(err_wrap(&e, KLUIS_EIO, "ship to site '%s'", "ams2"), KLUIS_EIO);
	assert_string_equal(e.text, "ship to site 'ams2': open 'x.part'");
	assert_int_equal(err_http_status(KLUIS_EPRECONDITION), 412);
	assert_int_equal(err_exit_code(KLUIS_EPIN), 15);
	assert_int_equal(err_exit_code(-100000), 1);
	assert_int_equal(err_http_status(0), 200);
	assert_string_equal(err_api_code(KLUIS_EPRECONDITION_REQUIRED), "precondition-required");
	for (int i = 1; i < (int)KLUIS_ERROR_MAX; i++) {
		int back = err_from_api(err_api_code(-i), err_http_status(-i));

		assert_string_equal(err_api_code(back), err_api_code(-i));
		assert_int_equal(err_http_status(back), err_http_status(-i));
	}
}

static void test_random_is_seeded_and_unbiased(void **state)
{
	struct random_seeded a, b;
	unsigned counts[3] = {0};

	(void)state;
	random_seeded_init(&a, 7);
	random_seeded_init(&b, 7);
	for (int i = 0; i < 3000; i++) {
		uint64_t value = random_below(&a.random, 3);

		assert_true(value == random_below(&b.random, 3));
		counts[value]++;
	}
	for (int i = 0; i < 3; i++) {
		assert_in_range(counts[i], 900, 1100);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_read_replace),
		cmocka_unit_test(test_standard_input),
		cmocka_unit_test(test_a_failed_write_leaves_the_old),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_random_is_seeded_and_unbiased),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

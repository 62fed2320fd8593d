/* The runner of known-answer files itself: what it must not let pass. It says so as it goes. */
#include "tests/lib/test.h"
#include "tests/lib/kat.h"

#include <unistd.h>

#include "base/file.h"

static int run_two(struct kat_run *run)
{
	uint8_t two[2];

	kat_fixed(run, kat_bytes(run, "x"), two, sizeof two);
	kat_put_bytes(run, "y", bytes_of(two, sizeof two));
	return two[0] == 0 ? KLUIS_EINVAL : 0;
}

#define KAT_HEAD "{\"version\":1,"
#define KAT_CASE                                                                          \
	"\"cases\":[{\"id\":\"a\",\"op\":\"two\",\"in\":{\"x\":\"0102\"},\"out\":{\"y\":" \
	"\"0102\"}}"
#define KAT_ROW(edit)                                                                              \
	KAT_HEAD KAT_CASE "],\"negative\":[{\"of\":\"a\",\"field\":\"x\",\"why\":\"w\"," edit "}]" \
			  "}"

static void test_runner(void **state)
{
	static const struct kat_op ops[] = {{"two", run_two}, {"late", NULL}};
	static const struct {
		const char *text;
		unsigned failures;
	} files[] = {
		{KAT_HEAD KAT_CASE "]}", 0},
		{KAT_HEAD KAT_CASE ",{\"id\":\"b\",\"op\":\"late\",\"in\":{},\"out\":{}}],"
				   "\"negative\":[{\"of\":"
				   "\"b\",\"field\":\"x\",\"set\":1,\"why\":\"w\"}]}",
			0},
		{KAT_ROW("\"xor\":[0,1]"), 0},
		{KAT_ROW("\"truncate_each\":[0,2]"), 0},
		{KAT_ROW("\"append\":\"00\""), 0},
		{KAT_ROW("\"set\":7"), 0},
		{KAT_ROW("\"set\":\"zz\""), 0},
		{KAT_ROW("\"xor_each\":[0,2,1]"), 1}, /* The second byte may be any. */
		{KAT_ROW("\"xor\":[2,1]"), 1},
		{KAT_ROW("\"xor\":[0,0]"), 2}, /* Nothing changed, so nothing refused. */
		{KAT_ROW("\"append\":7"), 1},
		{KAT_HEAD KAT_CASE "],\"negative\":[{\"of\":\"z\",\"field\":\"x\",\"why\":\"w\"}]}",
			1},
		{KAT_HEAD KAT_CASE ",{\"id\":\"b\",\"op\":\"three\",\"in\":{},\"out\":{}}]}", 1},
		{KAT_HEAD KAT_CASE ",{\"id\":\"b\",\"op\":\"two\",\"in\":{},\"out\":{}}]}", 1},
		{KAT_HEAD KAT_CASE ",{\"id\":\"b\",\"op\":\"two\",\"in\":{\"x\":\"0102\"},\"out\":{"
				   "\"y\":\"0103\"}}"
				   "]}",
			1},
		{KAT_HEAD "\"more\":[]," KAT_CASE "]}", 1},
		{"{\"version\":2," KAT_CASE "]}", 1},
		{KAT_HEAD "\"cases\":[]}", 1},
		{"{}", 2},
		{"nonsense", 1},
	};
	char *dir = scratch_new("kat");
	_cleanup_(x_freep) char *path = x_asprintf("%s/set.json", dir);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct err e = {0};

		assert_int_equal(file_create(path, bytes_str(files[i].text), 0600, &e), 0);
		assert_int_equal(
			kat_run_file(path, ops, ARRAY_SIZE(ops), false), files[i].failures);
		assert_int_equal(unlink(path), 0);
	}
	/* Ours is whole. */
	assert_int_equal(file_create(path, bytes_str(files[0].text), 0600, NULL), 0);
	assert_int_equal(kat_run_file(path, ops, ARRAY_SIZE(ops), true), 1);
	scratch_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Parsing, help, errors, and the reference pages that docs/ has. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/ops/ops.h"
#include "cli/ui/prompt.h"
#include "cli/vault/app.h"
#include "tests/lib/capture.h"

static struct {
	int runs;
	size_t n_args;
	char first[64], level[64], second_tag[64], dir[64];
	bool yes, flag;
	enum output_format format;
	int give;
} seen;

static int fake_run(struct invocation *inv)
{
	const char *level = invocation_value(inv, "level");
	const char *tag = invocation_value_at(inv, "tag", 1);
	const char *dir = invocation_value(inv, "dir");

	seen.runs++;
	seen.n_args = inv->n_args;
	(void)snprintf(seen.first, sizeof seen.first, "%s", inv->n_args > 0 ? inv->args[0] : "");
	(void)snprintf(seen.level, sizeof seen.level, "%s", level == NULL ? "(none)" : level);
	(void)snprintf(seen.second_tag, sizeof seen.second_tag, "%s", tag == NULL ? "(none)" : tag);
	(void)snprintf(seen.dir, sizeof seen.dir, "%s", dir == NULL ? "(none)" : dir);
	seen.yes = inv->yes;
	seen.flag = invocation_value(inv, "flag") != NULL;
	seen.format = inv->out.format;
	return seen.give == 0 ? 0 : err_set(&inv->err, seen.give, "as asked");
}

static int confirm_run(struct invocation *inv)
{
	return invocation_confirm(inv, "Go on?") ? 0 : inv->err.code;
}

static int ask_run(struct invocation *inv)
{
	return invocation_ask(inv, "Go on?") ? 0 : inv->err.code;
}

static const struct command_option options[] = {{"level", 'l', "N", "a level"},
	{"flag", 0, NULL, "a flag"}, {"tag", 0, "T", "a tag"}, {"dir", 'd', "DIR", "a directory"},
	{NULL, 0, NULL, NULL}};
static const struct command commands[] = {
	{"one", "[ARG]", "One word", NULL, options, 0, 1, fake_run},
	{"two words", NULL, "Two words", NULL, NULL, 0, 0, fake_run},
	{"three words here", NULL, "Three words", NULL, NULL, 0, 0, fake_run},
	{"confirm", NULL, "A question", NULL, NULL, 0, 0, confirm_run},
	{"ask", NULL, "A question that --yes does not answer", NULL, NULL, 0, 0, ask_run},
	{NULL, NULL, NULL, NULL, NULL, 0, 0, NULL}};
static const struct command_option globals[] = {
	{"socket", 'S', "PATH", "a socket"}, {NULL, 0, NULL, NULL}};
static const struct program program = {
	.name = "prog", .summary = "A program", .commands = commands, .options = globals};

/* Runs with both outputs into a file; its text is in *ret_text. */
static int run_captured(const struct program *p, char **argv, char *ret_text, size_t max)
{
	struct capture capture;
	int argc = 0, rc;

	while (argv[argc] != NULL) {
		argc++;
	}
	capture_begin(&capture);
	rc = program_run(p, argc, argv);
	capture_end(&capture, ret_text, max);
	return rc;
}
#define RUN(...) run_captured(&program, (char *[]){"prog", __VA_ARGS__, NULL}, text, sizeof text)

static void test_parses(void **state)
{
	char text[8192];

	(void)state;
	memset(&seen, 0, sizeof seen);
	assert_int_equal(RUN("one", "--level=3", "x", "--tag", "a", "--tag", "b", "-y"), 0);
	assert_int_equal(seen.n_args, 1);
	assert_string_equal(seen.first, "x");
	assert_string_equal(seen.level, "3");
	assert_string_equal(seen.second_tag, "b");
	assert_true(seen.yes);
	assert_false(seen.flag);
	assert_int_equal(RUN("-o", "json", "one", "-l", "1", "-l2", "--flag"), 0);
	assert_string_equal(seen.level, "2");
	assert_true(seen.flag);
	assert_int_equal(seen.format, OUTPUT_JSON);
	assert_int_equal(RUN("one", "--", "-x"), 0);
	assert_string_equal(seen.first, "-x");
	assert_int_equal(RUN("two", "words"), 0);
	assert_int_equal(RUN("three", "words", "here", "-S", "s"), 0);
	assert_int_equal(seen.runs, 5);
}

/* A directory is the same one with a slash behind it, for what is made beside it as well. */
static void test_slashes(void **state)
{
	static const char *const dirs[][2] = {{"copy/", "copy"}, {"a/b///", "a/b"}, {"/", "/"},
		{"//", "/"}, {"", ""}, {"./", "."}, {"/a", "/a"}};
	char text[8192], word[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		(void)snprintf(word, sizeof word, "--dir=%s", dirs[i][0]);
		assert_int_equal(RUN("one", word), 0);
		assert_string_equal(seen.dir, dirs[i][1]);
		(void)snprintf(word, sizeof word, "%s", dirs[i][0]);
		assert_int_equal(RUN("one", "-d", word, "x/"), 0);
		assert_string_equal(seen.dir, dirs[i][1]);
		assert_string_equal(seen.first, "x/");
	}
	assert_int_equal(RUN("one", "--level=3/"), 0);
	assert_string_equal(seen.level, "3/");
}

/* Without a terminal nobody can be asked: then --yes answers what it may answer, and nothing else.
 */
static void test_questions(void **state)
{
	char text[8192];
	int status;
	pid_t child;

	(void)state;
	(void)fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		bool good = setsid() > 0; /* Away from the terminal that this test may have. */

		good = good && RUN("confirm") == 2 && strstr(text, "--yes") != NULL;
		good = good && RUN("confirm", "--yes") == 0;
		good = good && RUN("ask") == 2 && strstr(text, "--yes") == NULL;
		good = good && RUN("ask", "--yes") == 2 && strstr(text, "no terminal") != NULL;
		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_usage(void **state)
{
	char text[8192];

	(void)state;
	memset(&seen, 0, sizeof seen);
	assert_int_equal(RUN("nothing"), 2);
	assert_int_equal(RUN("two"), 2);
	assert_int_equal(RUN("two", "word"), 2);
	assert_int_equal(RUN("one", "a", "b"), 2);
	assert_int_equal(RUN("one", "--bogus"), 2);
	assert_non_null(strstr(text, "--bogus"));
	assert_int_equal(RUN("one", "--level"), 2);
	assert_int_equal(RUN("one", "-o", "xml"), 2);
	assert_int_equal(RUN("--bogus", "one"), 2);
	assert_int_equal(run_captured(&program, (char *[]){"prog", NULL}, text, sizeof text), 2);
	assert_int_equal(seen.runs, 0);
	/* The renderer shows them, too. */
	assert_int_equal(RUN("-o", "json", "one", "a", "b"), 2);
	assert_non_null(strstr(text, "\"exit\": 2"));
}

static void test_help(void **state)
{
	char text[8192];

	(void)state;
	memset(&seen, 0, sizeof seen);
	assert_int_equal(RUN("--help"), 0);
	assert_non_null(strstr(text, "three words here"));
	assert_int_equal(RUN("one", "--help"), 0);
	assert_non_null(strstr(text, "--level=N"));
	assert_non_null(strstr(text, "--socket=PATH"));
	assert_int_equal(seen.runs, 0);
}

/* The table of API section 7, as published: a code never changes its meaning. */
static void test_exit_codes(void **state)
{
	static const struct {
		int rc, exit_code;
	} rows[] = {{KLUIS_EIO, 1}, {KLUIS_EINTERNAL, 1}, {KLUIS_EINVAL, 2}, {KLUIS_EPARTIAL, 3},
		{KLUIS_ENOTFOUND, 10}, {KLUIS_EGONE, 10}, {KLUIS_EBUSY, 11}, {KLUIS_ECONFLICT, 11},
		{KLUIS_EPRECONDITION, 11}, {KLUIS_EEXIST, 11}, {KLUIS_EUNAUTHENTICATED, 12},
		{KLUIS_EFORBIDDEN, 12}, {KLUIS_ENOQUORUM, 13}, {KLUIS_ECONNECT, 13},
		{KLUIS_EUNKNOWN_OUTCOME, 13}, {KLUIS_EVERIFY, 14}, {KLUIS_ECORRUPT, 14},
		{KLUIS_EPIN, 15}, {KLUIS_ELINEAGE, 15}};
	char text[8192];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		seen.give = rows[i].rc;
		assert_int_equal(RUN("two", "words"), rows[i].exit_code);
		assert_non_null(strstr(text, "prog: as asked"));
		assert_int_equal(RUN("two", "words", "-ojson"), rows[i].exit_code);
		assert_non_null(strstr(text, "\"message\": \"as asked\""));
	}
	seen.give = 0;
}

static void test_completion(void **state)
{
	static char *const programs[] = {"kluis", "kluisctl"};
	char text[65536];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		const struct program *p = i == 0 ? &kluis_program : &ops_program;

		assert_int_equal(
			run_captured(p, (char *[]){programs[i], "completion", "bash", NULL}, text,
				sizeof text),
			0);
		assert_non_null(strstr(text, "complete -F"));
		assert_int_equal(run_captured(p, (char *[]){programs[i], "completion", "csh", NULL},
					 text, sizeof text),
			2);
	}
}

/* docs/ say what the programs do: print again by `kluis help --markdown`. */
static void test_reference_pages(void **state)
{
	static const struct {
		const struct program *program;
		const char *path;
	} rows[] = {{&kluis_program, KLUIS_SOURCE_DIR "/docs/cli-kluis.md"},
		{&ops_program, KLUIS_SOURCE_DIR "/docs/cli-kluisctl.md"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf wanted = BUF_INIT;
		_cleanup_(buf_release) struct buf there = BUF_INIT;
		struct err e = {0};

		program_reference(rows[i].program, &wanted);
		assert_int_equal(file_read(rows[i].path, 1 << 20, &there, &e), 0);
		assert_true(bytes_equal(buf_bytes(&wanted), buf_bytes(&there)));
	}
}

static void test_secret_from_file_and_fd(void **state)
{
	char *dir = scratch_new("secret");
	_cleanup_(x_freep) char *path = x_asprintf("%s/s", dir);
	_cleanup_(prompt_secret_release) struct buf secret = BUF_INIT;
	struct err e = {0};
	int fds[2];
	char number[16];

	(void)state;
	assert_int_equal(file_write(path, bytes_str("line one\r\nline two\n"), 0600, &e), 0);
	assert_int_equal(prompt_secret("?", path, NULL, 100, &secret, &e), 0);
	assert_string_equal(buf_str(&secret), "line one");
	buf_clear(&secret);
	assert_int_equal(prompt_secret("?", path, NULL, 3, &secret, &e), KLUIS_ETOOLARGE);
	buf_clear(&secret);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "a\nb\n", 4), 4);
	(void)snprintf(number, sizeof number, "%d", fds[0]);
	assert_int_equal(prompt_secret("?", NULL, number, 100, &secret, &e), 0);
	assert_string_equal(buf_str(&secret), "a"); /* And not a byte more is taken. */
	buf_clear(&secret);
	assert_int_equal(prompt_secret("?", NULL, number, 100, &secret, &e), 0);
	assert_string_equal(buf_str(&secret), "b");
	assert_int_equal(prompt_secret("?", NULL, "x", 100, &secret, &e), KLUIS_EINVAL);
	(void)close(fds[0]);
	(void)close(fds[1]);
	scratch_free(dir);
}

static void test_places(void **state)
{
	(void)state;
	assert_true(app_is_remote("v:/x"));
	assert_true(app_is_remote("v:"));
	assert_false(app_is_remote("./v:/x"));
	assert_false(app_is_remote("v"));
	assert_false(app_is_remote(":/x"));
	assert_false(app_is_remote("c:file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parses),
		cmocka_unit_test(test_slashes),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_completion),
		cmocka_unit_test(test_reference_pages),
		cmocka_unit_test(test_secret_from_file_and_fd),
		cmocka_unit_test(test_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What `kluis chat follow` tells of a history, run by run: each thing once, and it ends with what
 * does not hold. */
#include "tests/lib/test.h"

#include "cli/vault/chat.h"

struct telling {
	struct invocation inv;
	struct conversation c;
	struct chat_told told;
	char *text;
	size_t len;
};

static int setup(void **state)
{
	struct telling *t = x_calloc(1, sizeof *t);

	t->inv.out.notes = open_memstream(&t->text, &t->len);
	assert_non_null(t->inv.out.notes);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct telling *t = *state;

	(void)fclose(t->inv.out.notes);
	free(t->text);
	free(t);
	return 0;
}

/* What one more run says, which met this. */
static void expect_told(struct telling *t, int code, const char *text, const char *wanted)
{
	rewind(t->inv.out.notes);
	if (code != 0) {
		(void)err_set(&t->c.archive_trouble, code, "%s", text);
	}
	chat_history_tell(&t->inv, &t->c, &t->told);
	assert_int_equal(t->c.archive_trouble.code, 0);
	(void)fputc(0, t->inv.out.notes);
	(void)fflush(t->inv.out.notes);
	assert_string_equal(t->text, wanted);
}

static void test_note_once(void **state)
{
	struct telling *t = *state;

	expect_told(t, 0, "", "");
	expect_told(t, KLUIS_EQUOTA, "it is full", "it is full\n");
	expect_told(t, KLUIS_EQUOTA, "it is full", "");
	expect_told(t, KLUIS_ECONNECT, "no site a", "no site a\n");
	expect_told(t, KLUIS_ECONNECT, "no site b", "");
	expect_told(t, KLUIS_EQUOTA, "it is full", "");
	assert_int_equal(t->told.verdict.code, 0);
}

static void test_verdict_is_kept(void **state)
{
	struct telling *t = *state;

	expect_told(t, KLUIS_EVERSION, "of version 2", "kluis: of version 2\n");
	expect_told(t, KLUIS_EVERSION, "of version 2", "");
	expect_told(t, KLUIS_EVERIFY, "message 2", "kluis: message 2\n");
	expect_told(t, KLUIS_EQUOTA, "it is full", "it is full\n");
	expect_told(t, KLUIS_EVERIFY, "message 2", "");
	expect_told(t, KLUIS_EVERIFY, "message 3", "kluis: message 3\n");
	expect_told(t, 0, "", "");
	assert_int_equal(t->told.verdict.code, KLUIS_EVERIFY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_note_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_verdict_is_kept, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

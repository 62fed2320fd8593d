/* What a person types: fields, the form of an editor, names. */
#include "tests/lib/test.h"

#include <string.h>

#include "cli/client/item.h"
#include "cli/client/json_reader.h"

static void test_form_round_trip(void **state)
{
	static const struct item_fields rows[] = {
		{{"Bank", "bob", " p w: x ", "https://bank.example/a?b=c",
			"first\n\nlast: line\n"}},
		{{"", "", "", "", ""}},
		{{"t", "u", "p", "l", "\n\nbegins with empty lines"}},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf form = BUF_INIT;
		_cleanup_(x_freep) char *text = NULL;
		struct item_fields got;
		struct err e = {0};

		item_form_print(ITEM_LOGIN, &rows[i], &form);
		text = x_strdup(buf_str(&form));
		assert_int_equal(item_form_parse(ITEM_LOGIN, text, &got, &e), 0);
		for (enum item_field k = 0; k < ITEM_FIELDS; k++) {
			assert_string_equal(got.value[k], rows[i].value[k]);
		}
	}
}

/* A field of two lines, as another program may store one, is no other field. */
static void test_form_forged(void **state)
{
	const struct item_fields fields = {
		.value = {[ITEM_TITLE] = "x\npassword: hunter2\r\n\nforged",
			[ITEM_USER] = "u",
			[ITEM_PASSWORD] = "p",
			[ITEM_URL] = "",
			[ITEM_TEXT] = "a\nb"}};
	_cleanup_(buf_release) struct buf form = BUF_INIT;
	_cleanup_(x_freep) char *text = NULL;
	struct item_fields got;
	struct err e = {0};

	(void)state;
	item_form_print(ITEM_LOGIN, &fields, &form);
	text = x_strdup(buf_str(&form));
	assert_int_equal(item_form_parse(ITEM_LOGIN, text, &got, &e), 0);
	assert_string_equal(got.value[ITEM_TITLE], "x password: hunter2   forged");
	assert_string_equal(got.value[ITEM_PASSWORD], "p");
	assert_string_equal(got.value[ITEM_TEXT], "a\nb");
}

static void test_form_by_hand(void **state)
{
	static const char *const wrong[] = {"no field", "user: x\n\n", "title x", "titles: x",
		": x", "title: \xff", "Title: x"};
	char crlf[] = "title: a\r\n\r\nb\r\n", bare[] = "title:a", none[] = "", only[] = "\nx";
	struct item_fields got;
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		_cleanup_(x_freep) char *form = x_strdup(wrong[i]);

		assert_int_equal(item_form_parse(ITEM_NOTE, form, &got, &e), KLUIS_EINVAL);
	}
	assert_int_equal(item_form_parse(ITEM_NOTE, crlf, &got, &e), 0);
	assert_string_equal(got.value[ITEM_TITLE], "a");
	assert_string_equal(got.value[ITEM_TEXT], "b\r\n");
	assert_null(got.value[ITEM_PASSWORD]);
	assert_int_equal(item_form_parse(ITEM_NOTE, bare, &got, &e), 0);
	assert_string_equal(got.value[ITEM_TITLE], "a");
	assert_int_equal(item_form_parse(ITEM_NOTE, none, &got, &e), 0);
	assert_string_equal(got.value[ITEM_TEXT], "");
	assert_int_equal(item_form_parse(ITEM_NOTE, only, &got, &e), 0);
	assert_string_equal(got.value[ITEM_TEXT], "x");
}

static void test_checks(void **state)
{
	static char line[ITEM_LINE_BYTES_MAX + 2], text[ITEM_TEXT_BYTES_MAX + 2];
	struct item_fields fields = {{"a\nb"}};
	struct err e = {0};

	(void)state;
	assert_int_equal(item_fields_check(ITEM_NOTE, &fields, &e), KLUIS_EINVAL);
	fields = (struct item_fields){.value = {[ITEM_USER] = "x"}};
	assert_int_equal(item_fields_check(ITEM_NOTE, &fields, &e), KLUIS_EINVAL);
	assert_int_equal(item_fields_check(ITEM_LOGIN, &fields, &e), 0);
	memset(line, 'x', sizeof line - 1);
	memset(text, 'x', sizeof text - 1);
	fields = (struct item_fields){.value = {[ITEM_TITLE] = line}};
	assert_int_equal(item_fields_check(ITEM_NOTE, &fields, &e), KLUIS_ETOOLARGE);
	line[ITEM_LINE_BYTES_MAX] = 0;
	assert_int_equal(item_fields_check(ITEM_NOTE, &fields, &e), 0);
	fields = (struct item_fields){.value = {[ITEM_TEXT] = text}};
	assert_int_equal(item_fields_check(ITEM_NOTE, &fields, &e), KLUIS_ETOOLARGE);
	text[ITEM_TEXT_BYTES_MAX] = 0;
	assert_int_equal(item_fields_check(ITEM_NOTE, &fields, &e), 0);
}

/* Members that this version does not know stay. */
static void test_members(void **state)
{
	_cleanup_(json_dropp) json_t *body = json_pack(
		"{s:s, s:i, s:[i], s:s}", "title", "old", "text", 7, "more", 1, "user", "u");
	struct item_fields fields = item_fields_of(ITEM_NOTE, body);

	(void)state;
	assert_string_equal(fields.value[ITEM_TITLE], "old");
	assert_string_equal(fields.value[ITEM_TEXT], ""); /* No string. */
	assert_null(fields.value[ITEM_USER]);
	fields = (struct item_fields){.value = {[ITEM_TITLE] = "new"}};
	assert_false(item_fields_same(ITEM_NOTE, body, &fields));
	item_fields_set(body, &fields);
	assert_true(item_fields_same(ITEM_NOTE, body, &fields));
	assert_string_equal(json_string_value(json_object_get(body, "user")), "u");
	assert_int_equal(json_array_size(json_object_get(body, "more")), 1);
}

static void test_names(void **state)
{
	static const struct {
		const char *text, *name;
		size_t max;
	} rows[] = {{"a/b\nc", "a-b-c", 255}, {"", "untitled", 255}, {"..", "untitled", 255},
		{"\xff", "untitled", 255}, {"caf\xc3\xa9", "caf\xc3\xa9", 5},
		{"caf\xc3\xa9", "caf", 4}, {"\xf0\x9f\x98\x80", "untitled", 3}};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(x_freep) char *name = item_name_from(rows[i].text, rows[i].max);

		assert_string_equal(name, rows[i].name);
		assert_true(item_name_valid(name));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form_round_trip),
		cmocka_unit_test(test_form_forged),
		cmocka_unit_test(test_form_by_hand),
		cmocka_unit_test(test_checks),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/lib/test.h"

#include <string.h>

#include "cli/ui/output.h"

static const struct output_column columns[] = {{"name", "NAME", OUTPUT_TEXT},
	{"size", "SIZE", OUTPUT_BYTES}, {"at", "AT", OUTPUT_TIME}, {"took", "TOOK", OUTPUT_MS}};

struct sink {
	char *text;
	size_t len;
	FILE *file;
};

static struct output open_sink(struct sink *s, enum output_format format)
{
	s->file = open_memstream(&s->text, &s->len);
	assert_non_null(s->file);
	return (struct output){.format = format, .data = s->file, .notes = s->file};
}

static void assert_sink(struct sink *s, const char *wanted)
{
	(void)fclose(s->file);
	assert_string_equal(s->text, wanted);
	free(s->text);
}

static json_t *rows(void)
{
	return json_pack("[{s:s, s:i, s:I, s:i}, {s:s}, {s:s, s:I, s:n}]", "name", "a", "size", 12,
		"at", (json_int_t)1000, "took", 1500, "name", "b\x1b[31m\n\xc2\x9b", "name",
		"\xc3\xa9t\xc3\xa9", "size", (json_int_t)3 * 1024 * 1024, "at");
}

static void test_table(void **state)
{
	struct sink s;
	struct output o = open_sink(&s, OUTPUT_TABLE);
	json_t *value = rows();

	(void)state;
	output_rows(&o, columns, ARRAY_SIZE(columns), value);
	assert_sink(&s, "NAME                 SIZE     AT                    TOOK\n"
			"a                    12 B     1970-01-01T00:00:01Z  1.5 s\n"
			"b\\x1b[31m\\x0a\\u009b  -        -                     -\n"
			"\xc3\xa9t\xc3\xa9                  3.0 MiB  -                     -\n");
	json_decref(value);
}

static void test_safe(void **state)
{
	static const struct {
		const char *text, *keep, *wanted;
	} rows[] = {
		{"a\tb\nc", "", "a\\x09b\\x0ac"},
		{"a\tb\nc\r", "\n\t", "a\tb\nc\\x0d"},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc2\xa0", "",
			"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc2\xa0"},
		{"\x1b[2J\x7f", "\n", "\\x1b[2J\\x7f"},
		/* CSI as a character of two bytes, and as a byte that is no UTF-8. */
		{"\xc2\x9b"
		 "31m",
			"\n", "\\u009b31m"},
		{"a\x9b"
		 "31m\xc2",
			"\n", "a\\x9b31m\\xc2"},
		{"\xc2\xc2\x9b", "", "\\xc2\\u009b"},
		{"\xe2\x82", "", "\\xe2\\x82"},
		{"\xed\xa0\x80\xff", "", "\\xed\\xa0\\x80\\xff"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf got = BUF_INIT;

		output_safe(&got, rows[i].text, rows[i].keep);
		assert_string_equal(buf_str(&got), rows[i].wanted);
	}
}

static void test_json(void **state)
{
	struct sink s;
	struct output o = open_sink(&s, OUTPUT_JSON);
	json_t *value = rows(), *back;

	(void)state;
	output_rows(&o, columns, ARRAY_SIZE(columns), value);
	(void)fflush(s.file);
	assert_null(strstr(s.text, "\xc2\x9b"));
	back = json_loads(s.text, 0, NULL);
	assert_non_null(back);
	assert_true(json_equal(json_object_get(back, "items"), value));
	json_decref(back);
	json_decref(value);
	(void)fclose(s.file);
	free(s.text);
}

/* A name must not move the cursor in JSON, either, and stays what it is. */
static void test_json_controls(void **state)
{
	static const char name[] = "\x1b[2J \x7f \xc2\x80\xc2\x9b\xc2\x9f \xc2\xa0\xc3\xa9"
				   "\xe2\x82\xac\xdf\xbf\xf0\x9f\x98\x80 \\u009b \n";
	static const char key[] = "\xc2\x9b";
	static const size_t flags[] = {JSON_COMPACT, JSON_INDENT(2)};
	json_t *value = json_pack("{s:s}", key, name);
	struct sink s;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		json_t *back;

		(void)open_sink(&s, OUTPUT_JSON);
		assert_true(output_json(s.file, value, flags[i]));
		(void)fclose(s.file);
		for (const char *at = s.text; *at != 0; at++) {
			assert_false((unsigned char)*at < 0x20 && *at != '\n');
			assert_int_not_equal(*at, 0x7f);
			assert_false((unsigned char)at[0] == 0xc2 && (unsigned char)at[1] < 0xa0);
		}
		assert_non_null(strstr(s.text, "\\u007f \\u0080\\u009b\\u009f \xc2\xa0\xc3\xa9"
					       "\xe2\x82\xac\xdf\xbf\xf0\x9f\x98\x80"));
		back = json_loads(s.text, 0, NULL);
		assert_true(json_equal(back, value));
		json_decref(back);
		free(s.text);
	}
	json_decref(value);
}

static void test_empty_table_has_its_head(void **state)
{
	struct sink s;
	struct output o = open_sink(&s, OUTPUT_TABLE);
	json_t *value = json_array();

	(void)state;
	output_rows(&o, columns, 2, value);
	assert_sink(&s, "NAME  SIZE\n");
	json_decref(value);
}

static void test_record(void **state)
{
	struct sink s;
	struct output o = open_sink(&s, OUTPUT_TABLE);
	json_t *value = json_pack("{s:s, s:b, s:[i, s]}", "name", "x", "size", 1, "at", 4, "five");

	(void)state;
	output_record(&o, columns, 3, value);
	assert_sink(&s, "NAME: x\nSIZE: yes\nAT:   4,five\n");
	json_decref(value);
}

static void test_errors(void **state)
{
	struct err e = {KLUIS_EPIN, "vault 'a\tb': fork"};
	struct sink s;
	struct output o = open_sink(&s, OUTPUT_TABLE);
	json_t *back, *error;

	(void)state;
	output_error(&o, "kluis", &e);
	assert_sink(&s, "kluis: vault 'a\\x09b': fork\n");
	o = open_sink(&s, OUTPUT_JSON);
	output_error(&o, "kluis", &e);
	(void)fflush(s.file);
	back = json_loads(s.text, 0, NULL);
	error = json_object_get(back, "error");
	assert_int_equal(json_integer_value(json_object_get(error, "exit")), 15);
	assert_string_equal(json_string_value(json_object_get(error, "name")), "KLUIS_EPIN");
	assert_string_equal(json_string_value(json_object_get(error, "message")), e.text);
	json_decref(back);
	(void)fclose(s.file);
	free(s.text);
	/* Text that is no UTF-8 must not lose the error. */
	e.text[0] = '\xff';
	o = open_sink(&s, OUTPUT_JSON);
	output_error(&o, "kluis", &e);
	(void)fflush(s.file);
	assert_non_null(strstr(s.text, "KLUIS_EPIN"));
	(void)fclose(s.file);
	free(s.text);
}

static void test_quiet_notes(void **state)
{
	struct sink s;
	struct output o = open_sink(&s, OUTPUT_TABLE);

	(void)state;
	output_note(&o, "a %d", 1);
	o.quiet = true;
	output_note(&o, "b");
	o.quiet = false;
	o.format = OUTPUT_JSON;
	output_note(&o, "c");
	assert_sink(&s, "a 1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_safe),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_controls),
		cmocka_unit_test(test_empty_table_has_its_head),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_quiet_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

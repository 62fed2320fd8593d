#include "tests/lib/kat.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { KAT_HEX_BYTES_MAX = 8 << 20, KAT_SHOWN_MAX = 20 };

struct kat_state {
	const struct kat_op *ops;
	size_t op_count;
	unsigned *used; /* Cases by op. */
	const json_t *cases;
	unsigned failures, equal, refused, inputs, later_cases, later_negative;
};

const json_t *kat_value(struct kat_run *run, const char *name)
{
	const json_t *value = json_object_get(run->in, name);

	if (value == NULL) {
		(void)fprintf(stderr, "no input '%s'\n", name);
		abort();
	}
	return value;
}

struct bytes kat_hex(struct kat_run *run, const json_t *value)
{
	struct buf *b;

	assert(json_is_string(value) && run->buf_count < KAT_BUFS_MAX);
	b = &run->bufs[run->buf_count++];
	*b = BUF_INIT;
	buf_reserve(b, 1);
	if (hex_decode_buf(bytes_of(json_string_value(value), json_string_length(value)),
		    KAT_HEX_BYTES_MAX, b) != 0) {
		(void)fprintf(stderr, "not hex: %.80s\n", json_string_value(value));
		abort();
	}
	return buf_bytes(b);
}

struct bytes kat_bytes(struct kat_run *run, const char *name)
{
	return kat_hex(run, kat_value(run, name));
}

uint64_t kat_number(struct kat_run *run, const char *name)
{
	const json_t *value = kat_value(run, name);

	assert(json_is_integer(value) && json_integer_value(value) >= 0);
	return (uint64_t)json_integer_value(value);
}

const char *kat_text(struct kat_run *run, const char *name)
{
	const json_t *value = kat_value(run, name);

	assert(json_is_string(value));
	return json_string_value(value);
}

const struct bytes *kat_list(struct kat_run *run, const char *name, size_t *ret_count)
{
	const json_t *value = kat_value(run, name);
	size_t count = json_array_size(value);
	struct bytes *list;
	struct buf *b;

	assert(json_is_array(value) && run->buf_count < KAT_BUFS_MAX);
	b = &run->bufs[run->buf_count++];
	*b = BUF_INIT;
	list = (void *)buf_extend(b, (count + 1) * sizeof *list);
	for (size_t i = 0; i < count; i++) {
		list[i] = kat_hex(run, json_array_get(value, i));
	}
	*ret_count = count;
	return list;
}

json_t *kat_hex_json(struct bytes bytes)
{
	char *text = x_malloc(HEX_LEN(bytes.len) + 1);
	json_t *value;

	hex_encode(bytes, text);
	value = json_string(text);
	free(text);
	return value;
}

void kat_put(struct kat_run *run, const char *name, json_t *value)
{
	assert(value != NULL && json_object_get(run->out, name) == NULL);
	if (json_object_set_new(run->out, name, value) != 0) {
		abort();
	}
}

void kat_put_bytes(struct kat_run *run, const char *name, struct bytes bytes)
{
	kat_put(run, name, kat_hex_json(bytes));
}

void kat_put_number(struct kat_run *run, const char *name, uint64_t value)
{
	assert(value <= INT64_MAX);
	kat_put(run, name, json_integer((json_int_t)value));
}

static void kat_random_fill(struct random *random, void *to, size_t len)
{
	struct kat_random *source = CONTAINER_OF(random, struct kat_random, random);

	assert(len == source->left.len);
	memcpy(to, source->left.data, len);
	source->left.len = 0;
}

void kat_random_init(struct kat_random *source, struct bytes bytes)
{
	source->random.fill = kat_random_fill;
	source->left = bytes;
}

char *kat_path(const char *fallback, const char *name)
{
	const char *top = getenv("KLUIS_VECTORS");

	return x_asprintf("%s/%s", top == NULL || top[0] == '\0' ? fallback : top, name);
}

static const struct kat_op *kat_op(struct kat_state *state, const char *name)
{
	for (size_t i = 0; i < state->op_count; i++) {
		if (strcmp(state->ops[i].name, name) == 0) {
			return &state->ops[i];
		}
	}
	return NULL;
}

static void kat_fail(struct kat_state *state, const char *id, const char *what)
{
	state->failures++;
	if (state->failures <= KAT_SHOWN_MAX) {
		(void)fprintf(stderr, "%s: %s\n", id, what);
	}
}

/* Runs fn on these inputs; the caller owns *ret_out. */
static int kat_call(kat_fn *fn, const json_t *in, json_t **ret_out)
{
	struct kat_run *run = x_calloc(1, sizeof *run);
	int rc;

	run->in = in;
	run->out = json_object();
	rc = fn(run);
	for (size_t i = 0; i < run->buf_count; i++) {
		buf_release(&run->bufs[i]);
	}
	*ret_out = run->out;
	free(run);
	return rc;
}

static void kat_show_difference(const json_t *got, const json_t *want)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)want, name, value)
	{
		if (!json_equal(value, json_object_get(got, name))) {
			char *one = json_dumps(json_object_get(got, name), JSON_ENCODE_ANY);
			char *two = json_dumps(value, JSON_ENCODE_ANY);

			(void)fprintf(stderr, "  %s: got %.200s, want %.200s\n", name,
				one == NULL ? "nothing" : one, two);
			free(one);
			free(two);
		}
	}
}

static void kat_case(struct kat_state *state, const json_t *row)
{
	const char *id = json_string_value(json_object_get(row, "id"));
	const struct kat_op *op = kat_op(state, json_string_value(json_object_get(row, "op")));
	const json_t *want = json_object_get(row, "out");
	json_t *got = NULL;
	int rc;

	if (op == NULL) {
		kat_fail(state, id, "unknown op");
		return;
	}
	state->used[op - state->ops]++;
	if (op->fn == NULL) {
		state->later_cases++;
		return;
	}
	rc = kat_call(op->fn, json_object_get(row, "in"), &got);
	if (rc != 0) {
		kat_fail(state, id, err_name(rc));
	} else if (!json_equal(got, (json_t *)want)) {
		kat_fail(state, id, "another result");
		kat_show_difference(got, want);
	} else {
		state->equal++;
	}
	json_decref(got);
}

static const json_t *kat_case_of(struct kat_state *state, const char *id)
{
	const json_t *row;
	size_t i;

	json_array_foreach(state->cases, i, row)
	{
		if (strcmp(json_string_value(json_object_get(row, "id")), id) == 0) {
			return row;
		}
	}
	return NULL;
}

/* One changed input: every form must be refused, and for a reason of ours. */
static void kat_form(struct kat_state *state, const json_t *row, const json_t *negative, kat_fn *fn,
	json_t *changed)
{
	json_t *in = json_copy(json_object_get(row, "in")), *got = NULL;
	const char *field = json_string_value(json_object_get(negative, "field"));
	const json_t *at = json_object_get(negative, "at");
	int rc;

	if (at != NULL) {
		json_t *list = json_copy(json_object_get(in, field));

		(void)json_array_set_new(list, (size_t)json_integer_value(at), changed);
		changed = list;
	}
	assert(!json_equal(changed, json_object_get(in, field)));
	(void)json_object_set_new(in, field, changed);
	rc = kat_call(fn, in, &got);
	state->inputs++;
	if (rc == 0 || rc == KLUIS_EINTERNAL) {
		kat_fail(state, json_string_value(json_object_get(negative, "of")),
			json_string_value(json_object_get(negative, "why")));
	}
	json_decref(got);
	json_decref(in);
}

/* The bytes of the value that a row edits. */
static void kat_old(const json_t *row, const json_t *negative, struct buf *b)
{
	const json_t *value = json_object_get(
		json_object_get(row, "in"), json_string_value(json_object_get(negative, "field")));
	const json_t *at = json_object_get(negative, "at");

	if (at != NULL) {
		value = json_array_get(value, (size_t)json_integer_value(at));
	}
	if (hex_decode_buf(bytes_str(json_string_value(value)), KAT_HEX_BYTES_MAX, b) != 0) {
		abort();
	}
}

static size_t kat_nth(const json_t *list, size_t i)
{
	return (size_t)json_integer_value(json_array_get(list, i));
}

static void kat_forms_xor(struct kat_state *state, const json_t *row, const json_t *negative,
	kat_fn *fn, struct buf *old)
{
	const json_t *one = json_object_get(negative, "xor");
	const json_t *each = json_object_get(negative, "xor_each");
	size_t from = kat_nth(one == NULL ? each : one, 0);
	size_t to = one == NULL ? kat_nth(each, 1) : from + 1;
	uint8_t mask = (uint8_t)(one == NULL ? kat_nth(each, 2) : kat_nth(one, 1));

	for (size_t i = from; i < to; i++) {
		assert(i < old->len);
		old->data[i] ^= mask;
		kat_form(state, row, negative, fn, kat_hex_json(buf_bytes(old)));
		old->data[i] ^= mask;
	}
}

static void kat_negative(struct kat_state *state, const json_t *negative)
{
	_cleanup_(buf_release) struct buf old = BUF_INIT;
	const char *of = json_string_value(json_object_get(negative, "of"));
	const json_t *row = kat_case_of(state, of), *cut, *more;
	const struct kat_op *op =
		row == NULL ? NULL : kat_op(state, json_string_value(json_object_get(row, "op")));
	json_t *set = json_object_get(negative, "set");

	if (op == NULL) {
		kat_fail(state, of, "negative row of an unknown case or op");
		return;
	}
	if (op->fn == NULL) {
		state->later_negative++;
		return;
	}
	state->refused++;
	if (set != NULL) {
		kat_form(state, row, negative, op->fn, json_deep_copy(set));
		return;
	}
	kat_old(row, negative, &old);
	if (json_object_get(negative, "xor") != NULL ||
		json_object_get(negative, "xor_each") != NULL) {
		kat_forms_xor(state, row, negative, op->fn, &old);
	}
	cut = json_object_get(negative, "truncate_each");
	for (size_t n = kat_nth(cut, 0); cut != NULL && n < kat_nth(cut, 1); n++) {
		kat_form(state, row, negative, op->fn, kat_hex_json(bytes_of(old.data, n)));
	}
	more = json_object_get(negative, "append");
	if (more != NULL) {
		if (hex_decode_buf(bytes_str(json_string_value(more)), 1024, &old) != 0) {
			abort();
		}
		kat_form(state, row, negative, op->fn, kat_hex_json(buf_bytes(&old)));
	}
}

unsigned kat_run_file(const char *path, const struct kat_op *ops, size_t count)
{
	struct kat_state state = {.ops = ops, .op_count = count};
	json_error_t error;
	json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error), *row;
	size_t i;

	if (file == NULL) {
		(void)fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
		return 1;
	}
	state.used = x_calloc(count, sizeof *state.used);
	state.cases = json_object_get(file, "cases");
	json_array_foreach(state.cases, i, row)
	{
		kat_case(&state, row);
	}
	json_array_foreach(json_object_get(file, "negative"), i, row)
	{
		kat_negative(&state, row);
	}
	for (i = 0; i < count; i++) {
		if (state.used[i] == 0) {
			kat_fail(&state, ops[i].name, "the file has no case of this op");
		}
	}
	(void)printf(
		"%s: %u cases equal, %u negative rows (%u inputs) refused, %u failures; not in "
		"this version: %u cases, %u negative rows\n",
		path, state.equal, state.refused, state.inputs, state.failures, state.later_cases,
		state.later_negative);
	free(state.used);
	json_decref(file);
	return state.failures;
}

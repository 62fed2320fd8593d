#include "tests/lib/kat.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { KAT_HEX_BYTES_MAX = 8 << 20, KAT_SHOWN_MAX = 20 };

struct kat_state {
	const struct kat_op *ops;
	size_t op_count;
	unsigned *used;	    /* Cases by op. */
	unsigned *refusals; /* Negative rows by op. */
	const json_t *cases;
	unsigned failures, equal, refused, inputs;
};

void kat_malformed(struct kat_run *run, const char *what)
{
	if (run->malformed == NULL) {
		run->malformed = what;
	}
}

const json_t *kat_value(struct kat_run *run, const char *name)
{
	const json_t *value = json_object_get(run->in, name);

	if (value == NULL) {
		kat_malformed(run, name);
		return json_null();
	}
	return value;
}

struct bytes kat_hex(struct kat_run *run, const json_t *value)
{
	struct buf *b;

	assert(run->buf_count < KAT_BUFS_MAX);
	b = &run->bufs[run->buf_count++];
	*b = BUF_INIT;
	buf_reserve(b, 1);
	if (!json_is_string(value) ||
		hex_decode_buf(bytes_of(json_string_value(value), json_string_length(value)),
			KAT_HEX_BYTES_MAX, b) != 0) {
		kat_malformed(run, "a value that is no hex");
	}
	return buf_bytes(b);
}

struct bytes kat_bytes(struct kat_run *run, const char *name)
{
	return kat_hex(run, kat_value(run, name));
}

uint64_t kat_number(struct kat_run *run, const char *name)
{
	return kat_number_max(run, name, INT64_MAX);
}

uint64_t kat_number_max(struct kat_run *run, const char *name, uint64_t max)
{
	const json_t *value = kat_value(run, name);

	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		(uint64_t)json_integer_value(value) > max) {
		kat_malformed(run, name);
		return 0;
	}
	return (uint64_t)json_integer_value(value);
}

void kat_fixed(struct kat_run *run, struct bytes bytes, void *to, size_t len)
{
	if (bytes.len != len) {
		kat_malformed(run, "a value of another length");
		memset(to, 0, len);
		return;
	}
	memcpy(to, bytes.data, len);
}

const char *kat_text(struct kat_run *run, const char *name)
{
	const json_t *value = kat_value(run, name);

	if (!json_is_string(value)) {
		kat_malformed(run, name);
		return "";
	}
	return json_string_value(value);
}

const struct bytes *kat_list(struct kat_run *run, const char *name, size_t *ret_count)
{
	const json_t *value = kat_value(run, name);
	size_t count = json_array_size(value);
	struct bytes *list;
	struct buf *b;

	assert(run->buf_count < KAT_BUFS_MAX);
	if (!json_is_array(value)) {
		kat_malformed(run, name);
	}
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

	kat_fixed(source->run, source->left, to, len);
	source->left.len = 0;
}

void kat_random_init(struct kat_random *source, struct kat_run *run, struct bytes bytes)
{
	source->random.fill = kat_random_fill;
	source->run = run;
	source->left = bytes;
}

bool kat_foreign(void)
{
	const char *top = getenv("KLUIS_VECTORS");

	return top != NULL && top[0] != '\0';
}

char *kat_path(const char *fallback, const char *name)
{
	return x_asprintf("%s/%s", kat_foreign() ? getenv("KLUIS_VECTORS") : fallback, name);
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
	if (run->malformed != NULL) {
		rc = KLUIS_EINVAL;
	}
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
	if (json_equal(changed, json_object_get(in, field))) {
		kat_fail(state, json_string_value(json_object_get(negative, "of")),
			"a negative row that changes nothing");
	}
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
static int kat_old(const json_t *row, const json_t *negative, struct buf *b)
{
	const json_t *value = json_object_get(
		json_object_get(row, "in"), json_string_value(json_object_get(negative, "field")));
	const json_t *at = json_object_get(negative, "at");

	if (at != NULL) {
		value = json_array_get(value, (size_t)json_integer_value(at));
	}
	return json_is_string(value)
		       ? hex_decode_buf(bytes_str(json_string_value(value)), KAT_HEX_BYTES_MAX, b)
		       : KLUIS_EINVAL;
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

	if (to > old->len) {
		kat_fail(state, json_string_value(json_object_get(negative, "of")),
			"a negative row of bytes that are not there");
		return;
	}
	for (size_t i = from; i < to; i++) {
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
	state->refusals[op - state->ops]++;
	if (op->fn == NULL) {
		return;
	}
	state->refused++;
	if (set != NULL) {
		kat_form(state, row, negative, op->fn, json_deep_copy(set));
		return;
	}
	if (kat_old(row, negative, &old) != 0) {
		kat_fail(state, of, "negative row of a value that is no hex");
		return;
	}
	if (json_object_get(negative, "xor") != NULL ||
		json_object_get(negative, "xor_each") != NULL) {
		kat_forms_xor(state, row, negative, op->fn, &old);
	}
	cut = json_object_get(negative, "truncate_each");
	for (size_t n = kat_nth(cut, 0); cut != NULL && n < kat_nth(cut, 1) && n < old.len; n++) {
		kat_form(state, row, negative, op->fn, kat_hex_json(bytes_of(old.data, n)));
	}
	more = json_object_get(negative, "append");
	if (more != NULL) {
		if (!json_is_string(more) ||
			hex_decode_buf(bytes_str(json_string_value(more)), 1024, &old) != 0) {
			kat_fail(state, of, "negative row with a tail that is no hex");
			return;
		}
		kat_form(state, row, negative, op->fn, kat_hex_json(buf_bytes(&old)));
	}
}

/* Nothing of the file may go unseen. */
static void kat_sections(struct kat_state *state, json_t *file)
{
	static const char *const known[] = {
		"spec", "version", "stream", "rules", "now_ms", "cases", "negative"};
	const char *name;
	json_t *value;

	json_object_foreach(file, name, value)
	{
		bool found = false;

		for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
			found = found || strcmp(name, known[i]) == 0;
		}
		if (!found) {
			kat_fail(state, name, "unknown section");
		}
	}
	if (json_integer_value(json_object_get(file, "version")) != 1) {
		kat_fail(state, "version", "unknown version of the file");
	}
}

static void kat_report(const struct kat_state *state, const char *path)
{
	(void)printf("%s: %u cases equal, %u negative rows (%u inputs) refused, %u failures\n",
		path, state->equal, state->refused, state->inputs, state->failures);
	for (size_t i = 0; i < state->op_count; i++) {
		if (state->ops[i].fn == NULL && state->used[i] + state->refusals[i] > 0) {
			(void)printf("not run, for this version does not have it: %s, %u cases, %u "
				     "negative rows\n",
				state->ops[i].name, state->used[i], state->refusals[i]);
		}
	}
}

static void kat_run_rows(struct kat_state *state, json_t *file, bool whole)
{
	const json_t *row;
	size_t i;

	json_array_foreach(state->cases, i, row)
	{
		kat_case(state, row);
	}
	json_array_foreach(json_object_get(file, "negative"), i, row)
	{
		kat_negative(state, row);
	}
	for (i = 0; i < state->op_count; i++) {
		if (state->used[i] > 0) {
			continue;
		}
		if (whole) {
			kat_fail(state, state->ops[i].name, "the file has no case of this op");
		} else {
			(void)printf("not in this file: %s\n", state->ops[i].name);
		}
	}
	if (state->equal == 0) {
		kat_fail(state, "the file", "not one case was run and equal");
	}
}

unsigned kat_run_file(const char *path, const struct kat_op *ops, size_t count, bool whole)
{
	struct kat_state state = {.ops = ops, .op_count = count};
	json_error_t error;
	json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

	if (file == NULL) {
		(void)fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
		return 1;
	}
	state.used = x_calloc(count, sizeof *state.used);
	state.refusals = x_calloc(count, sizeof *state.refusals);
	state.cases = json_object_get(file, "cases");
	kat_sections(&state, file);
	kat_run_rows(&state, file, whole);
	kat_report(&state, path);
	free(state.used);
	free(state.refusals);
	json_decref(file);
	return state.failures;
}

/* docs/format-agent.md, both ways. */
#include "tests/lib/test.h"

#include <string.h>

#include "base/err.h"
#include "cli/client/agent_wire.h"

static const uint8_t some[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

static struct bytes body_of(const struct secret *frame)
{
	assert_true(frame->len > AGENT_LENGTH_BYTES);
	assert_int_equal(load_u32(frame->data), frame->len - AGENT_LENGTH_BYTES);
	return bytes_of(frame->data + AGENT_LENGTH_BYTES, frame->len - AGENT_LENGTH_BYTES);
}

static struct agent_item vault_key(void)
{
	struct agent_item item = {.kind = AGENT_VAULT_KEY, .epoch = 3, .value = bytes_of(some, 32)};

	memcpy(item.object_id, some, ID_BYTES);
	return item;
}

/* One of every op, the nth; false: no more. */
static bool request_of(size_t n, struct agent_request *ret)
{
	const struct agent_request all[] = {{.op = AGENT_STATUS}, {.op = AGENT_LOCK},
		{.op = AGENT_STOP},
		{.op = AGENT_UNLOCK, .idle_ms = 5000, .account = bytes_str("alice")},
		{.op = AGENT_SIGN,
			.kind = AGENT_DEVICE_KEY,
			.message = bytes_of(some, AGENT_MESSAGE_BYTES)},
		{.op = AGENT_OPEN, .kind = AGENT_TRANSFER_KEY, .packet = bytes_of(some, 64)},
		{.op = AGENT_GET, .item = {.kind = AGENT_TOKEN}},
		{.op = AGENT_PUT, .item = {.kind = AGENT_TOKEN, .value = bytes_of(some, 9)}},
		{.op = AGENT_PUT, .item = vault_key()}, {.op = AGENT_LIST, .kind = AGENT_VAULT_KEY},
		{.op = AGENT_PUBLIC, .kind = AGENT_SIGNING_KEY}};

	if (n < ARRAY_SIZE(all)) {
		*ret = all[n];
	}
	return n < ARRAY_SIZE(all);
}

static void encode(const struct agent_request *request, struct secret *frame)
{
	struct agent_item items[] = {{.kind = AGENT_KRK, .value = bytes_of(some, 64)}, vault_key()};

	assert_int_equal(agent_request_encode(
				 request, items, request->op == AGENT_UNLOCK ? 2 : 0, frame, NULL),
		0);
}

static void test_requests(void **state)
{
	struct agent_request request, back;

	(void)state;
	for (size_t n = 0; request_of(n, &request); n++) {
		_cleanup_(secret_release) struct secret frame = SECRET_INIT;

		encode(&request, &frame);
		assert_int_equal(agent_request_parse(body_of(&frame), &back, NULL), 0);
		assert_int_equal(back.op, request.op);
		assert_int_equal(back.kind, request.kind);
		assert_int_equal(back.idle_ms, request.idle_ms);
		assert_true(bytes_equal(back.message, request.message));
		assert_true(bytes_equal(back.packet, request.packet));
		assert_true(bytes_equal(back.account, request.account));
		assert_int_equal(back.item.kind, request.item.kind);
		assert_int_equal(back.item.epoch, request.item.epoch);
		assert_memory_equal(back.item.object_id, request.item.object_id, ID_BYTES);
		assert_true(bytes_equal(back.item.value, request.item.value));
	}
}

static void test_unlock_items(void **state)
{
	struct agent_request request = {.op = AGENT_UNLOCK, .account = bytes_str("alice")}, back;
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	struct agent_item item;
	struct wire w;

	(void)state;
	encode(&request, &frame);
	assert_int_equal(agent_request_parse(body_of(&frame), &back, NULL), 0);
	w = wire_of(back.items);
	assert_int_equal(back.n_items, 2);
	assert_true(agent_item_next(&w, &item));
	assert_int_equal(item.kind, AGENT_KRK);
	assert_int_equal(item.value.len, 64);
	assert_true(agent_item_next(&w, &item));
	assert_int_equal(item.kind, AGENT_VAULT_KEY);
	assert_int_equal(item.epoch, 3);
	assert_memory_equal(item.object_id, some, ID_BYTES);
	assert_false(agent_item_next(&w, &item));
}

/* Every request cut anywhere, and with a byte behind it, is none. */
static void test_lengths(void **state)
{
	struct agent_request request, back;

	(void)state;
	for (size_t n = 0; request_of(n, &request); n++) {
		_cleanup_(secret_release) struct secret frame = SECRET_INIT;
		_cleanup_(buf_release) struct buf longer = BUF_INIT;
		struct bytes body;

		encode(&request, &frame);
		body = body_of(&frame);
		for (size_t len = 0; len < body.len; len++) {
			assert_int_equal(agent_request_parse(bytes_of(body.data, len), &back, NULL),
				KLUIS_EINVAL);
		}
		buf_append_bytes(&longer, body);
		buf_put_u8(&longer, 0);
		assert_int_equal(
			agent_request_parse(buf_bytes(&longer), &back, NULL), KLUIS_EINVAL);
		longer.data[0] = AGENT_VERSION + 1;
		assert_int_equal(
			agent_request_parse(buf_bytes(&longer), &back, NULL), KLUIS_EVERSION);
	}
}

/* The body behind version and op is taken, or not. */
static void try_body(unsigned op, const struct buf *body, int want)
{
	_cleanup_(buf_release) struct buf frame = BUF_INIT;
	struct agent_request request;

	buf_put_u8(&frame, AGENT_VERSION);
	buf_put_u8(&frame, op);
	buf_append_bytes(&frame, buf_bytes(body));
	assert_int_equal(agent_request_parse(buf_bytes(&frame), &request, NULL), want);
}

static void put_place(struct buf *to, unsigned kind, unsigned first_id_byte, uint32_t epoch)
{
	buf_put_u8(to, kind);
	buf_put_u8(to, first_id_byte);
	buf_put_zeros(to, ID_BYTES - 1);
	buf_put_u32(to, epoch);
}

static void test_kinds(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 256; kind++) {
		_cleanup_(buf_release) struct buf body = BUF_INIT;
		bool key = kind >= 1 && kind <= 4,
		     known = key || kind == 5 || (kind >= 32 && kind <= 35);

		assert_int_equal(agent_kind_known(kind), known);
		assert_int_equal(agent_kind_leaves(kind), known && kind >= 32);
		buf_put_u8(&body, kind);
		try_body(AGENT_LIST, &body, known ? 0 : KLUIS_EINVAL);
		try_body(AGENT_PUBLIC, &body, key ? 0 : KLUIS_EINVAL);
		buf_append(&body, some, AGENT_MESSAGE_BYTES);
		try_body(AGENT_SIGN, &body, kind == 1 || kind == 3 ? 0 : KLUIS_EINVAL);
		buf_clear(&body);
		put_place(&body, kind, 0, 0);
		try_body(AGENT_GET, &body, known && kind != 34 ? 0 : KLUIS_EINVAL);
		buf_clear(&body);
		put_place(&body, kind, 0, 1);
		try_body(AGENT_GET, &body, kind == 34 ? 0 : KLUIS_EINVAL);
		buf_clear(&body);
		put_place(&body, kind, 1, 0);
		try_body(AGENT_GET, &body, KLUIS_EINVAL);
	}
}

static void put_unlock(struct buf *to, uint64_t idle_ms, const char *account, unsigned n)
{
	buf_put_u64(to, idle_ms);
	buf_put_zeros(to, 2 * ID_BYTES);
	buf_put_lp16(to, bytes_str(account));
	buf_put_u16(to, n);
}

static void try_unlock(uint64_t idle_ms, const char *account, unsigned n, unsigned given,
	size_t value_bytes, int want)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	_cleanup_(x_freep) uint8_t *value = x_calloc(1, value_bytes + 1);

	put_unlock(&body, idle_ms, account, n);
	for (unsigned i = 0; i < given; i++) {
		put_place(&body, AGENT_KRK, 0, 0);
		buf_put_lp16(&body, bytes_of(value, value_bytes));
	}
	try_body(AGENT_UNLOCK, &body, want);
}

static void test_unlock_limits(void **state)
{
	(void)state;
	try_unlock(AGENT_IDLE_MS_MAX, "alice", 1, 1, 64, 0);
	try_unlock(AGENT_IDLE_MS_MAX + 1ULL, "alice", 1, 1, 64, KLUIS_EINVAL);
	try_unlock(1, "", 1, 1, 64, KLUIS_EINVAL);
	try_unlock(1, "Alice", 1, 1, 64, KLUIS_EINVAL);
	try_unlock(1, "alice", 1, 2, 64, KLUIS_EINVAL);
	try_unlock(1, "alice", 2, 1, 64, KLUIS_EINVAL);
	try_unlock(1, "alice", 1, 1, 0, KLUIS_EINVAL);
	try_unlock(1, "alice", 1, 1, AGENT_VALUE_BYTES_MAX, 0);
	try_unlock(1, "alice", 1, 1, AGENT_VALUE_BYTES_MAX + 1, KLUIS_EINVAL);
	try_unlock(1, "alice", AGENT_ITEMS_MAX, AGENT_ITEMS_MAX, 32, 0);
	try_unlock(1, "alice", AGENT_ITEMS_MAX + 1, AGENT_ITEMS_MAX + 1, 32, KLUIS_EINVAL);
}

static void test_encode_limits(void **state)
{
	const struct agent_request request = {.op = AGENT_UNLOCK, .account = bytes_str("alice")};
	struct agent_item *items = x_calloc(AGENT_ITEMS_MAX + 1, sizeof *items);
	static const uint8_t value[AGENT_VALUE_BYTES_MAX + 1];
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;

	(void)state;
	for (size_t i = 0; i <= AGENT_ITEMS_MAX; i++) {
		items[i] = vault_key();
		items[i].epoch = (uint32_t)i + 1;
	}
	assert_int_equal(agent_request_encode(&request, items, AGENT_ITEMS_MAX, &frame, NULL), 0);
	assert_int_equal(agent_request_encode(&request, items, AGENT_ITEMS_MAX + 1, &frame, NULL),
		KLUIS_ETOOLARGE);
	items[0].value = bytes_of(value, AGENT_VALUE_BYTES_MAX + 1);
	assert_int_equal(agent_request_encode(&request, items, 1, &frame, NULL), KLUIS_ETOOLARGE);
	for (size_t i = 0; i < 200; i++) {
		items[i].value = bytes_of(value, AGENT_VALUE_BYTES_MAX);
	}
	assert_int_equal(agent_request_encode(&request, items, 200, &frame, NULL), KLUIS_ETOOLARGE);
	free(items);
}

static bool answer_of(size_t n, struct agent_answer *ret)
{
	struct agent_answer all[] = {{.op = AGENT_LOCK}, {.op = AGENT_STATUS},
		{.op = AGENT_STATUS,
			.status = {.unlocked = true,
				.memory_locked = true,
				.pid = 7,
				.idle_ms = 900000,
				.left_ms = 1,
				.n_items = 4}},
		{.op = AGENT_SIGN, .value = bytes_of(some, 64)},
		{.op = AGENT_GET, .rc = KLUIS_EUNAUTHENTICATED, .text = bytes_str("locked")},
		{.op = AGENT_LIST, .n_places = 2}, {.op = AGENT_LIST}};

	memcpy(all[2].status.account, "alice", 6);
	memcpy(all[2].status.device_id, some, ID_BYTES);
	if (n < ARRAY_SIZE(all)) {
		*ret = all[n];
	}
	return n < ARRAY_SIZE(all);
}

static void test_answers(void **state)
{
	const struct agent_place places[] = {{.epoch = 1}, {.epoch = 9}};
	struct agent_answer answer, back;

	(void)state;
	for (size_t n = 0; answer_of(n, &answer); n++) {
		_cleanup_(secret_release) struct secret frame = SECRET_INIT;
		_cleanup_(buf_release) struct buf longer = BUF_INIT;
		struct agent_place place;
		struct bytes body;
		struct wire w;

		agent_answer_encode(&answer, places, &frame);
		body = body_of(&frame);
		assert_int_equal(agent_answer_parse(body, answer.op, &back, NULL), 0);
		assert_int_equal(back.rc, answer.rc);
		assert_true(bytes_equal(back.text, answer.text));
		assert_true(bytes_equal(back.value, answer.value));
		assert_memory_equal(&back.status, &answer.status, sizeof back.status);
		assert_int_equal(back.n_places, answer.n_places);
		w = wire_of(back.places);
		for (size_t i = 0; i < answer.n_places; i++) {
			assert_true(agent_place_next(&w, &place));
			assert_int_equal(place.epoch, places[i].epoch);
		}
		assert_false(agent_place_next(&w, &place));
		assert_int_equal(
			agent_answer_parse(body, answer.op + 1, &back, NULL), KLUIS_EPROTO);
		for (size_t len = 0; len < body.len; len++) {
			assert_int_equal(agent_answer_parse(
						 bytes_of(body.data, len), answer.op, &back, NULL),
				KLUIS_EPROTO);
		}
		buf_append_bytes(&longer, body);
		buf_put_u8(&longer, 0);
		assert_int_equal(agent_answer_parse(buf_bytes(&longer), answer.op, &back, NULL),
			KLUIS_EPROTO);
		longer.data[0]++;
		assert_int_equal(agent_answer_parse(buf_bytes(&longer), answer.op, &back, NULL),
			KLUIS_EVERSION);
	}
}

/* A long reason is cut, not refused. */
static void test_long_text(void **state)
{
	char text[AGENT_TEXT_BYTES_MAX + 10];
	const struct agent_answer answer = {.op = AGENT_LOCK,
		.rc = KLUIS_EIO,
		.text = bytes_of(memset(text, 'x', sizeof text), sizeof text)};
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	struct agent_answer back;

	(void)state;
	agent_answer_encode(&answer, NULL, &frame);
	assert_int_equal(agent_answer_parse(body_of(&frame), AGENT_LOCK, &back, NULL), 0);
	assert_int_equal(back.rc, KLUIS_EIO);
	assert_int_equal(back.text.len, AGENT_TEXT_BYTES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests),
		cmocka_unit_test(test_unlock_items), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_kinds), cmocka_unit_test(test_unlock_limits),
		cmocka_unit_test(test_encode_limits), cmocka_unit_test(test_answers),
		cmocka_unit_test(test_long_text)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

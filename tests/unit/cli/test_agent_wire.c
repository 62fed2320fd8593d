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

static struct ring_change vault_key(void)
{
	struct ring_change change = {
		.type = KEYRING_VAULT_KEY, .epoch = 3, .value = bytes_of(some, 32)};

	memcpy(change.object_id, some, ID_BYTES);
	return change;
}

/* One of every op, the nth; false: no more. */
static bool request_of(size_t n, struct agent_request *ret)
{
	const struct agent_request all[] = {{.op = AGENT_STATUS}, {.op = AGENT_LOCK},
		{.op = AGENT_STOP},
		{.op = AGENT_UNLOCK, .idle_ms = 5000, .account = bytes_str("alice"), .n_list = 2},
		{.op = AGENT_SIGN,
			.kind = AGENT_DEVICE_KEY,
			.message = bytes_of(some, AGENT_MESSAGE_BYTES)},
		{.op = AGENT_OPEN, .kind = AGENT_TRANSFER_KEY, .packet = bytes_of(some, 64)},
		{.op = AGENT_GET, .kind = AGENT_TOKEN},
		{.op = AGENT_PUT, .kind = AGENT_TOKEN, .value = bytes_of(some, 9)},
		{.op = AGENT_PUT, .kind = AGENT_SALT_KEY},
		{.op = AGENT_PUBLIC, .kind = AGENT_SIGNING_KEY},
		{.op = AGENT_LOAD, .object = bytes_of(some, 64)},
		{.op = AGENT_CHANGE, .object = bytes_of(some, 60), .unix_ms = 7, .n_list = 2},
		{.op = AGENT_ENTRY, .type = KEYRING_VAULT_KEY, .place = {.epoch = 9}},
		{.op = AGENT_PLACES, .type = KEYRING_VAULT_PIN},
		{.op = AGENT_TAKE, .object = bytes_of(some, 60), .unix_ms = 8, .n_list = 2},
		{.op = AGENT_GROUP, .place = {.epoch = 4}},
		{.op = AGENT_INBOX, .packet = bytes_of(some, 60)},
		{.op = AGENT_NOTIFY, .packet = bytes_of(some, 61)},
		{.op = AGENT_GIVE,
			.type = KEYRING_GROUP_KEY,
			.place = {.epoch = 5},
			.role = 2,
			.alg = KEY_KEM_P256,
			.value = bytes_of(some, 63),
			.unix_ms = 9,
			.expires_ms = 10}};

	if (n < ARRAY_SIZE(all)) {
		*ret = all[n];
	}
	return n < ARRAY_SIZE(all);
}

static void encode(const struct agent_request *request, struct secret *frame)
{
	static const uint8_t pin[KEYRING_VAULT_PIN_BYTES] = {9};
	const struct agent_item items[] = {{.kind = AGENT_KRK, .value = bytes_of(some, 64)},
		{.kind = AGENT_TOKEN, .value = bytes_str("kst_x")}};
	const struct ring_change changes[] = {
		vault_key(), {.type = KEYRING_VAULT_PIN, .value = bytes_of(pin, sizeof pin)}};

	struct agent_request full = *request;
	_cleanup_(buf_release) struct buf list = BUF_INIT;

	for (size_t i = 0; request->op == AGENT_TAKE && i < request->n_list; i++) {
		const struct ring_packet packet = {
			.packet = bytes_of(some, 40 + i), .kid = {7, (uint8_t)i}};

		agent_packet_put(&list, &packet);
	}
	full.list = buf_bytes(&list);
	assert_int_equal(agent_request_encode(&full, request->op == AGENT_UNLOCK ? items : NULL,
				 request->op == AGENT_CHANGE ? changes : NULL, frame, NULL),
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
		assert_int_equal(back.unix_ms, request.unix_ms);
		assert_int_equal(back.expires_ms, request.expires_ms);
		assert_int_equal(back.role, request.role);
		assert_int_equal(back.alg, request.alg);
		assert_int_equal(back.type, request.type);
		assert_int_equal(back.place.epoch, request.place.epoch);
		assert_int_equal(back.n_list, request.n_list);
		assert_true(bytes_equal(back.message, request.message));
		assert_true(bytes_equal(back.packet, request.packet));
		assert_true(bytes_equal(back.account, request.account));
		assert_true(bytes_equal(back.value, request.value));
		assert_true(bytes_equal(back.object, request.object));
	}
}

/* Packets are announced by number, and each fits a KeyPacket. */
static void test_take(void **state)
{
	struct agent_request take = {.op = AGENT_TAKE, .object = bytes_of(some, 60), .n_list = 2};
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	struct agent_request back;
	struct ring_packet packet;
	struct wire w;

	(void)state;
	encode(&take, &frame);
	assert_int_equal(agent_request_parse(body_of(&frame), &back, NULL), 0);
	w = wire_of(back.list);
	assert_true(agent_packet_next(&w, &packet));
	assert_int_equal(packet.kid[0], 7);
	assert_int_equal(packet.packet.len, 40);
	assert_true(agent_packet_next(&w, &packet));
	assert_int_equal(packet.kid[1], 1);
	assert_int_equal(packet.packet.len, 41);
	assert_false(agent_packet_next(&w, &packet));
	take.n_list = 1;
	frame.data[AGENT_LENGTH_BYTES + 2 + 8 + 4 + 60 + 1] = 1; /* Fewer are announced. */
	assert_int_equal(agent_request_parse(body_of(&frame), &back, NULL), KLUIS_EINVAL);
	frame.data[AGENT_LENGTH_BYTES + 2 + 8 + 4 + 60 + 1] = 3;
	assert_int_equal(agent_request_parse(body_of(&frame), &back, NULL), KLUIS_EINVAL);
}

static void test_lists(void **state)
{
	const struct agent_request unlock = {
		.op = AGENT_UNLOCK, .account = bytes_str("alice"), .n_list = 2};
	const struct agent_request change = {
		.op = AGENT_CHANGE, .object = bytes_of(some, 60), .n_list = 2};
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;
	struct agent_request back;
	struct ring_change entry;
	struct agent_item item;
	struct wire w;

	(void)state;
	encode(&unlock, &frame);
	assert_int_equal(agent_request_parse(body_of(&frame), &back, NULL), 0);
	w = wire_of(back.list);
	assert_true(agent_item_next(&w, &item));
	assert_int_equal(item.kind, AGENT_KRK);
	assert_int_equal(item.value.len, 64);
	assert_true(agent_item_next(&w, &item));
	assert_int_equal(item.kind, AGENT_TOKEN);
	assert_false(agent_item_next(&w, &item));
	encode(&change, &frame);
	assert_int_equal(agent_request_parse(body_of(&frame), &back, NULL), 0);
	w = wire_of(back.list);
	assert_true(agent_change_next(&w, &entry));
	assert_int_equal(entry.type, KEYRING_VAULT_KEY);
	assert_int_equal(entry.epoch, 3);
	assert_memory_equal(entry.object_id, some, ID_BYTES);
	assert_int_equal(entry.value.len, 32);
	assert_true(agent_change_next(&w, &entry));
	assert_int_equal(entry.type, KEYRING_VAULT_PIN);
	assert_false(agent_change_next(&w, &entry));
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

static void test_kinds(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 256; kind++) {
		_cleanup_(buf_release) struct buf body = BUF_INIT;
		bool key = kind >= 1 && kind <= 4;
		bool known = key || kind == 5 || kind == 32 || kind == 33;

		assert_int_equal(agent_kind_known(kind), known);
		assert_int_equal(agent_kind_leaves(kind), known && kind >= 32);
		assert_int_equal(agent_entry_leaves(kind), kind == 1 || kind == 3 || kind == 4);
		buf_put_u8(&body, kind);
		try_body(AGENT_GET, &body, known ? 0 : KLUIS_EINVAL);
		try_body(AGENT_PUBLIC, &body, key || kind == 6 ? 0 : KLUIS_EINVAL);
		buf_append(&body, some, AGENT_MESSAGE_BYTES);
		try_body(AGENT_SIGN, &body, kind == 1 || kind == 3 ? 0 : KLUIS_EINVAL);
		buf_clear(&body);
		buf_put_u8(&body, kind);
		buf_put_lp16(&body, bytes_of(some, 4));
		try_body(AGENT_PUT, &body, known ? 0 : KLUIS_EINVAL);
	}
}

static void try_change(unsigned type, uint32_t epoch, size_t len, unsigned n, int want)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	buf_put_u64(&body, 1);
	buf_put_lp32(&body, bytes_of(some, 60));
	buf_put_u16(&body, n);
	for (unsigned i = 0; i < n; i++) {
		buf_put_u16(&body, type);
		buf_append(&body, some, ID_BYTES);
		buf_put_u32(&body, epoch);
		buf_put_u16(&body, (unsigned)len);
		buf_put_zeros(&body, len);
	}
	try_body(AGENT_CHANGE, &body, want);
}

/* Only entries that a keyring takes get as far as the keyring. */
static void test_changes(void **state)
{
	(void)state;
	try_change(KEYRING_VAULT_KEY, 1, 32, 1, 0);
	try_change(KEYRING_VAULT_KEY, 1, 32, RING_CHANGES_MAX, 0);
	try_change(KEYRING_VAULT_KEY, 1, 32, RING_CHANGES_MAX + 1, KLUIS_EINVAL);
	try_change(KEYRING_VAULT_KEY, 1, 32, 0, KLUIS_EINVAL);
	try_change(KEYRING_VAULT_KEY, 0, 32, 1, KLUIS_EINVAL);
	try_change(KEYRING_VAULT_KEY, 1, 31, 1, KLUIS_EINVAL);
	try_change(KEYRING_CONTACT_PIN, 0, KEYRING_CONTACT_PIN_BYTES, 1, 0);
	try_change(KEYRING_CONTACT_PIN, 1, KEYRING_CONTACT_PIN_BYTES, 1, KLUIS_EINVAL);
	try_change(KEYRING_VAULT_PIN, 0, KEYRING_VAULT_PIN_BYTES, 1, 0);
	try_change(KEYRING_VAULT_PIN, 0, KEYRING_VAULT_PIN_BYTES + 1, 1, KLUIS_EINVAL);
	try_change(KEYRING_GROUP_KEY, 1, 34, 1, KLUIS_EINVAL);
	try_change(0, 0, 32, 1, KLUIS_EINVAL);
	try_change(9, 0, 32, 1, KLUIS_EINVAL);
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
		buf_put_u8(&body, AGENT_KRK);
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
	static const uint8_t value[AGENT_VALUE_BYTES_MAX + 1], object[KEYRING_BYTES_MAX + 1];
	struct agent_request request = {
		.op = AGENT_UNLOCK, .account = bytes_str("alice"), .n_list = AGENT_ITEMS_MAX};
	struct agent_request change = {.op = AGENT_CHANGE, .n_list = RING_CHANGES_MAX};
	struct agent_item items[AGENT_ITEMS_MAX + 1];
	struct ring_change changes[RING_CHANGES_MAX + 1];
	_cleanup_(secret_release) struct secret frame = SECRET_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		items[i] = (struct agent_item){
			.kind = AGENT_TOKEN, .value = bytes_of(value, AGENT_VALUE_BYTES_MAX)};
	}
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		changes[i] = vault_key();
	}
	assert_int_equal(agent_request_encode(&request, items, NULL, &frame, NULL), 0);
	items[3].value.len++;
	assert_int_equal(
		agent_request_encode(&request, items, NULL, &frame, NULL), KLUIS_ETOOLARGE);
	items[3].value.len--;
	request.n_list++;
	assert_int_equal(
		agent_request_encode(&request, items, NULL, &frame, NULL), KLUIS_ETOOLARGE);
	change.object = bytes_of(object, KEYRING_BYTES_MAX);
	assert_int_equal(agent_request_encode(&change, NULL, changes, &frame, NULL), 0);
	assert_true(frame.len <= AGENT_FRAME_BYTES_MAX + AGENT_LENGTH_BYTES);
	change.object.len++;
	assert_int_equal(
		agent_request_encode(&change, NULL, changes, &frame, NULL), KLUIS_ETOOLARGE);
	change.object.len = 1;
	change.n_list++;
	assert_int_equal(
		agent_request_encode(&change, NULL, changes, &frame, NULL), KLUIS_ETOOLARGE);
	change.n_list = RING_CHANGES_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		changes[i].value = bytes_of(value, AGENT_VALUE_BYTES_MAX);
	}
	change.object.len = KEYRING_BYTES_MAX;
	assert_int_equal(
		agent_request_encode(&change, NULL, changes, &frame, NULL), KLUIS_ETOOLARGE);
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
		{.op = AGENT_NOTIFY, .value = bytes_of(some, 30)},
		{.op = AGENT_GET, .rc = KLUIS_EUNAUTHENTICATED, .text = bytes_str("locked")},
		{.op = AGENT_CHANGE, .object = bytes_of(some, 50)},
		{.op = AGENT_PLACES, .n_places = 2}, {.op = AGENT_PLACES}};

	memcpy(all[2].status.account, "alice", 6);
	memcpy(all[2].status.device_id, some, ID_BYTES);
	if (n < ARRAY_SIZE(all)) {
		*ret = all[n];
	}
	return n < ARRAY_SIZE(all);
}

static void test_answers(void **state)
{
	const struct ring_place places[] = {{.epoch = 1}, {.epoch = 9}};
	struct agent_answer answer, back;

	(void)state;
	for (size_t n = 0; answer_of(n, &answer); n++) {
		_cleanup_(secret_release) struct secret frame = SECRET_INIT;
		_cleanup_(buf_release) struct buf longer = BUF_INIT;
		struct ring_place place;
		struct bytes body;
		struct wire w;

		agent_answer_encode(&answer, places, &frame);
		body = body_of(&frame);
		assert_int_equal(agent_answer_parse(body, answer.op, &back, NULL), 0);
		assert_int_equal(back.rc, answer.rc);
		assert_true(bytes_equal(back.text, answer.text));
		assert_true(bytes_equal(back.value, answer.value));
		assert_true(bytes_equal(back.object, answer.object));
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
		cmocka_unit_test(test_lists), cmocka_unit_test(test_take),
		cmocka_unit_test(test_lengths), cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_changes), cmocka_unit_test(test_unlock_limits),
		cmocka_unit_test(test_encode_limits), cmocka_unit_test(test_answers),
		cmocka_unit_test(test_long_text)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

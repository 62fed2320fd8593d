/* Both directions of the agent's socket: the first byte picks. A request goes on into a store that
 * holds something; what a parser takes, its encoder makes again. */
#include <string.h>

#include "base/err.h"
#include "cli/agent/store.h"

static void expect(bool ok)
{
	if (!ok) {
		abort();
	}
}

static struct bytes frame_body(const struct secret *frame)
{
	struct bytes bytes = secret_bytes(frame);

	expect(bytes.len > AGENT_LENGTH_BYTES &&
		load_u32(bytes.data) == bytes.len - AGENT_LENGTH_BYTES);
	return bytes_of(bytes.data + AGENT_LENGTH_BYTES, bytes.len - AGENT_LENGTH_BYTES);
}

static void store_prepare(struct store *store)
{
	static const uint8_t value[KEYRING_KRK_BYTES] = {1};
	const struct agent_item items[] = {{.kind = AGENT_KRK, .value = bytes_of(value, 64)},
		{.kind = AGENT_TOKEN, .value = bytes_str("kst_x")},
		{.kind = AGENT_DEVICE_KEY, .value = bytes_of(value, 32)}};
	const struct agent_request request = {
		.op = AGENT_UNLOCK, .account = bytes_str("fuzz"), .n_list = ARRAY_SIZE(items)};
	struct secret frame = SECRET_INIT, answer = SECRET_INIT;
	bool stop = false;

	expect(agent_request_encode(&request, items, NULL, &frame, NULL) == 0);
	store_answer(store, 1, frame_body(&frame), &answer, &stop);
	expect(store_unlocked(store));
	secret_release(&frame);
	secret_release(&answer);
}

static void try_answer(struct bytes frame, unsigned op)
{
	struct agent_answer answer;

	if (agent_answer_parse(frame, op, &answer, NULL) == 0) {
		struct wire w = wire_of(answer.places);
		struct ring_place place;
		struct secret again = SECRET_INIT;
		size_t n = 0;

		while (agent_place_next(&w, &place)) {
			n++;
		}
		expect(answer.rc != 0 || n == answer.n_places);
		if (answer.n_places == 0) { /* The encoder takes places, not their bytes. */
			agent_answer_encode(&answer, NULL, &again);
			expect(bytes_equal(frame_body(&again), frame));
			secret_release(&again);
		}
	}
}

/* The lists of both ops that have one, whole. */
static void request_again(const struct agent_request *request, struct bytes frame)
{
	struct agent_item items[AGENT_ITEMS_MAX];
	struct ring_change changes[RING_CHANGES_MAX];
	struct wire w = wire_of(request->list);
	bool change = request->op == AGENT_CHANGE;
	struct secret again = SECRET_INIT;
	size_t n = 0;

	while (n < request->n_list &&
		(change ? agent_change_next(&w, &changes[n]) : agent_item_next(&w, &items[n]))) {
		n++;
	}
	expect(n == request->n_list);
	if (agent_request_encode(request, change || n == 0 ? NULL : items, change ? changes : NULL,
		    &again, NULL) == 0) {
		expect(bytes_equal(frame_body(&again), frame));
	}
	secret_release(&again);
}

static void try_request(struct bytes frame)
{
	struct store *store = store_new(1000, 0);
	struct secret answer = SECRET_INIT;
	struct agent_request request;
	bool stop = false;

	store_prepare(store);
	if (agent_request_parse(frame, &request, NULL) == 0) {
		request_again(&request, frame);
	}
	store_answer(store, 2, frame, &answer, &stop);
	if (frame.len >= 2) {
		struct agent_answer parsed;

		expect(agent_answer_parse(frame_body(&answer), frame.data[1], &parsed, NULL) == 0);
		/* What must not leave does not. */
		expect(parsed.rc != 0 || frame.data[1] != AGENT_GET ||
			agent_kind_leaves(frame.data[2]));
	}
	secret_release(&answer);
	store_free(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > AGENT_FRAME_BYTES_MAX) {
		return 0;
	}
	if (data[0] == 0) {
		try_request(bytes_of(data + 1, size - 1));
	} else {
		try_answer(bytes_of(data + 1, size - 1), data[0]);
	}
	return 0;
}

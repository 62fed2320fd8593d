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
	static const uint8_t value[32] = {1};
	const struct agent_item items[] = {{.kind = AGENT_KRK, .value = bytes_of(value, 32)},
		{.kind = AGENT_VAULT_KEY, .epoch = 1, .value = bytes_of(value, 32)},
		{.kind = AGENT_DEVICE_KEY, .value = bytes_of(value, 32)}};
	const struct agent_request request = {.op = AGENT_UNLOCK, .account = bytes_str("fuzz")};
	struct secret frame = SECRET_INIT, answer = SECRET_INIT;
	bool stop = false;

	expect(agent_request_encode(&request, items, ARRAY_SIZE(items), &frame, NULL) == 0);
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
		struct agent_place place;
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

static void try_request(struct bytes frame)
{
	struct store *store = store_new(1000, 0);
	struct secret answer = SECRET_INIT;
	struct agent_request request;
	bool stop = false;

	store_prepare(store);
	if (agent_request_parse(frame, &request, NULL) == 0) {
		struct wire w = wire_of(request.items);
		struct agent_item *items = x_calloc(request.n_items + 1, sizeof *items);
		struct secret again = SECRET_INIT;
		size_t n = 0;

		while (n < request.n_items && agent_item_next(&w, &items[n])) {
			n++;
		}
		expect(n == request.n_items);
		if (agent_request_encode(&request, items, n, &again, NULL) == 0) {
			expect(bytes_equal(frame_body(&again), frame));
		}
		secret_release(&again);
		free(items);
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

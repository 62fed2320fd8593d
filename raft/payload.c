#include <assert.h>

#include "raft/command.h"

enum { PAYLOAD_VERSION = 1 };

void payload_begin(struct buf *payload, uint64_t cluster_time_ms)
{
	buf_clear(payload);
	buf_put_u8(payload, PAYLOAD_VERSION);
	buf_put_u64(payload, cluster_time_ms);
	buf_put_u16(payload, 0);
}

void payload_add(struct buf *payload, const struct payload_item *item)
{
	unsigned n;

	assert(payload->len >= PAYLOAD_HEAD_BYTES && payload->data[0] == PAYLOAD_VERSION);
	n = load_u16(payload->data + 9);
	assert(n < PAYLOAD_ITEMS_MAX);
	store_u16(payload->data + 9, n + 1);
	buf_put_u64(payload, item->origin);
	buf_put_u64(payload, item->nonce);
	buf_put_u64(payload, item->seq);
	buf_put_lp32(payload, item->command);
}

static void payload_item_read(struct wire *w, struct payload_item *item)
{
	item->origin = wire_u64(w);
	item->nonce = wire_u64(w);
	item->seq = wire_u64(w);
	item->command = wire_lp32(w, ENTRY_BYTES_MAX);
}

int payload_decode(struct bytes bytes, struct payload *ret_payload)
{
	struct wire w = wire_of(bytes);
	struct payload payload;
	struct payload_item item;

	if (wire_u8(&w) != PAYLOAD_VERSION) {
		return wire_ok(&w) ? KLUIS_EVERSION : KLUIS_EINVAL;
	}
	payload.cluster_time_ms = wire_u64(&w);
	payload.n = wire_u16(&w);
	payload.rest = w;
	for (unsigned i = 0; i < payload.n && wire_ok(&w); i++) {
		payload_item_read(&w, &item);
	}
	if (!wire_end(&w)) {
		return KLUIS_EINVAL;
	}
	*ret_payload = payload;
	return 0;
}

bool payload_next(struct payload *payload, struct payload_item *ret_item)
{
	if (payload->n == 0) {
		return false;
	}
	payload->n--;
	payload_item_read(&payload->rest, ret_item);
	assert(wire_ok(&payload->rest));
	return true;
}

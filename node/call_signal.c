#include "node/call_signal.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"

struct call_signal *call_signal_new(const uint8_t conversation_id[16], const uint8_t user_id[16],
	const uint8_t device_id[16], struct bytes data)
{
	struct call_signal *signal = x_malloc(sizeof *signal + data.len);

	assert(data.len > 0 && data.len <= CALL_SIGNAL_BYTES_MAX);
	*signal = (struct call_signal){.refs = 1, .bytes = data.len};
	memcpy(signal->conversation_id, conversation_id, 16);
	memcpy(signal->user_id, user_id, 16);
	memcpy(signal->device_id, device_id, 16);
	memcpy(signal->data, data.data, data.len);
	return signal;
}

struct call_signal *call_signal_ref(struct call_signal *signal)
{
	assert(signal->refs > 0);
	signal->refs++;
	return signal;
}

void call_signal_unref(struct call_signal *signal)
{
	if (signal != NULL) {
		assert(signal->refs > 0);
		if (--signal->refs == 0) {
			free(signal);
		}
	}
}

void call_signal_encode(const struct call_signal *signal, struct buf *to)
{
	buf_put_u8(to, CALL_SIGNAL_VERSION);
	buf_put_u8(to, CALL_SIGNAL_KIND);
	buf_append(to, signal->conversation_id, 16);
	buf_append(to, signal->user_id, 16);
	buf_append(to, signal->device_id, 16);
	buf_put_lp32(to, bytes_of(signal->data, signal->bytes));
}

int call_signal_decode(struct bytes message, struct call_signal **ret_signal, struct err *e)
{
	struct wire w = wire_of(message);
	unsigned version = wire_u8(&w), kind = wire_u8(&w);
	struct bytes conversation_id, user_id, device_id, data;

	if (version != CALL_SIGNAL_VERSION || kind != CALL_SIGNAL_KIND) {
		return err_set(e, KLUIS_EVERSION, "message of kind %u, version %u", kind, version);
	}
	conversation_id = wire_bytes(&w, 16);
	user_id = wire_bytes(&w, 16);
	device_id = wire_bytes(&w, 16);
	data = wire_lp32(&w, CALL_SIGNAL_BYTES_MAX);
	if (!wire_end(&w) || data.len == 0) {
		return err_set(e, KLUIS_EPROTO, "malformed signal of a call");
	}
	*ret_signal = call_signal_new(conversation_id.data, user_id.data, device_id.data, data);
	return 0;
}

#include "tests/bench/etcd/etcd_rpc.h"

#include <string.h>

enum { FRAME_BYTES = 5, WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static void put_varint(struct buf *to, uint64_t value)
{
	while (value >= 0x80) {
		*buf_extend(to, 1) = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*buf_extend(to, 1) = (uint8_t)value;
}

static void put_field(struct buf *to, unsigned number, struct bytes bytes)
{
	put_varint(to, number << 3 | WIRE_BYTES);
	put_varint(to, bytes.len);
	buf_append_bytes(to, bytes);
}

/* Room for the frame's head, filled in when the message's length is known. */
static size_t frame_begin(struct buf *to)
{
	memset(buf_extend(to, FRAME_BYTES), 0, FRAME_BYTES);
	return to->len;
}

static void frame_end(struct buf *to, size_t begin)
{
	size_t len = to->len - begin;

	for (unsigned i = 0; i < 4; i++) {
		to->data[begin - 4 + i] = (uint8_t)(len >> (24 - 8 * i));
	}
}

void etcd_put(struct bytes key, struct bytes value, struct buf *to)
{
	size_t begin = frame_begin(to);

	put_field(to, 1, key);
	put_field(to, 2, value);
	frame_end(to, begin);
}

void etcd_range(struct bytes key, bool serializable, struct buf *to)
{
	size_t begin = frame_begin(to);

	put_field(to, 1, key);
	if (serializable) {
		put_varint(to, 7 << 3 | WIRE_VARINT);
		put_varint(to, 1);
	}
	frame_end(to, begin);
}

static bool take_varint(struct bytes *from, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && from->len > 0; shift += 7) {
		uint8_t byte = *from->data;

		*from = bytes_of(from->data + 1, from->len - 1);
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* The next field; *ret_bytes is set for those of bytes. */
static bool take_field(struct bytes *from, uint64_t *ret_number, struct bytes *ret_bytes)
{
	uint64_t tag, n;

	*ret_bytes = bytes_of(NULL, 0);
	if (!take_varint(from, &tag)) {
		return false;
	}
	*ret_number = tag >> 3;
	switch (tag & 7) {
	case WIRE_VARINT:
		return take_varint(from, &n);
	case WIRE_FIXED64:
	case WIRE_FIXED32:
		n = (tag & 7) == WIRE_FIXED64 ? 8 : 4;
		break;
	case WIRE_BYTES:
		if (!take_varint(from, &n)) {
			return false;
		}
		break;
	default:
		return false;
	}
	if (n > from->len) {
		return false;
	}
	if ((tag & 7) == WIRE_BYTES) {
		*ret_bytes = bytes_of(from->data, (size_t)n);
	}
	*from = bytes_of(from->data + n, from->len - (size_t)n);
	return true;
}

/* The last field of that number; false when the message is malformed. */
static bool find_field(
	struct bytes message, uint64_t wanted, struct bytes *ret_bytes, bool *ret_found)
{
	*ret_found = false;
	while (message.len > 0) {
		struct bytes bytes;
		uint64_t number;

		if (!take_field(&message, &number, &bytes)) {
			return false;
		}
		if (number == wanted) {
			*ret_bytes = bytes;
			*ret_found = true;
		}
	}
	return true;
}

int etcd_range_value(struct bytes frame, struct bytes *ret_value, struct err *e)
{
	struct bytes message, kv, value = bytes_of(NULL, 0);
	bool found, has_value;
	size_t len;

	if (frame.len < FRAME_BYTES || frame.data[0] != 0) {
		return err_set(e, KLUIS_EPROTO, "etcd: malformed frame");
	}
	len = (size_t)frame.data[1] << 24 | (size_t)frame.data[2] << 16 |
	      (size_t)frame.data[3] << 8 | frame.data[4];
	message = bytes_of(frame.data + FRAME_BYTES, frame.len - FRAME_BYTES);
	if (len != message.len || !find_field(message, 2, &kv, &found)) {
		return err_set(e, KLUIS_EPROTO, "etcd: malformed answer");
	}
	if (!found) {
		return err_set(e, KLUIS_ENOTFOUND, "etcd: no such key");
	}
	if (!find_field(kv, 5, &value, &has_value)) {
		return err_set(e, KLUIS_EPROTO, "etcd: malformed answer");
	}
	*ret_value = value;
	return 0;
}

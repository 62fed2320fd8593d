#include "raft/file_message.h"

#include <assert.h>

#include "base/wire.h"

enum { FILE_MESSAGE_VERSION = 1 };

enum file_message_type file_message_type(struct bytes message)
{
	if (message.len < 2 || message.data[0] != FILE_MESSAGE_VERSION ||
		message.data[1] < FILE_REQUEST || message.data[1] > FILE_GONE) {
		return (enum file_message_type)0;
	}
	return (enum file_message_type)message.data[1];
}

static void file_message_begin(
	enum file_message_type type, const uint8_t id[MANIFEST_ID_BYTES], struct buf *to)
{
	buf_put_u8(to, FILE_MESSAGE_VERSION);
	buf_put_u8(to, type);
	buf_append(to, id, MANIFEST_ID_BYTES);
}

static struct wire file_message_open(
	struct bytes message, enum file_message_type type, uint8_t id[MANIFEST_ID_BYTES])
{
	struct wire w = wire_of(message);

	if (wire_u8(&w) != FILE_MESSAGE_VERSION || wire_u8(&w) != type) {
		wire_fail(&w);
	}
	wire_copy(&w, id, MANIFEST_ID_BYTES);
	return w;
}

static void file_place_encode(
	enum file_message_type type, const struct file_request *request, struct buf *to)
{
	assert(request->len > 0 && request->len <= LINK_FILE_CHUNK_BYTES);
	file_message_begin(type, request->id, to);
	buf_put_u32(to, request->file);
	buf_put_u64(to, request->offset);
	buf_put_u32(to, request->len);
}

static struct wire file_place_open(
	struct bytes message, enum file_message_type type, struct file_request *request)
{
	struct wire w = file_message_open(message, type, request->id);

	request->file = wire_u32(&w);
	request->offset = wire_u64(&w);
	request->len = wire_u32(&w);
	if (request->len == 0 || request->len > LINK_FILE_CHUNK_BYTES) {
		wire_fail(&w);
	}
	return w;
}

void file_request_encode(const struct file_request *request, struct buf *to)
{
	file_place_encode(FILE_REQUEST, request, to);
}

int file_request_decode(struct bytes message, struct file_request *ret_request)
{
	struct file_request request;
	struct wire w = file_place_open(message, FILE_REQUEST, &request);

	if (!wire_end(&w)) {
		return KLUIS_EPROTO;
	}
	*ret_request = request;
	return 0;
}

void file_chunk_encode(const struct file_request *request, struct buf *to)
{
	file_place_encode(FILE_CHUNK, request, to);
}

int file_chunk_decode(
	struct bytes message, struct file_request *ret_request, struct bytes *ret_data)
{
	struct file_request request;
	struct wire w = file_place_open(message, FILE_CHUNK, &request);
	struct bytes data = wire_bytes(&w, request.len);

	if (!wire_end(&w)) {
		return KLUIS_EPROTO;
	}
	*ret_request = request;
	*ret_data = data;
	return 0;
}

void file_gone_encode(const uint8_t id[MANIFEST_ID_BYTES], struct buf *to)
{
	file_message_begin(FILE_GONE, id, to);
}

int file_gone_decode(struct bytes message, uint8_t ret_id[MANIFEST_ID_BYTES])
{
	uint8_t id[MANIFEST_ID_BYTES];
	struct wire w = file_message_open(message, FILE_GONE, id);

	if (!wire_end(&w)) {
		return KLUIS_EPROTO;
	}
	for (unsigned i = 0; i < MANIFEST_ID_BYTES; i++) {
		ret_id[i] = id[i];
	}
	return 0;
}

#include "tests/lib/test.h"

#include <string.h>

#include "base/wire.h"
#include "tests/lib/api/websocket_client.h"

struct answer ws_open(struct http_client *client, const char *target, const char *fields)
{
	_cleanup_(buf_release) struct buf request = BUF_INIT;

	buf_printf(&request,
		"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n"
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
		target, fields);
	http_client_send(client, buf_bytes(&request));
	/* 101 has no body, and no length. */
	return http_client_receive(client, false);
}

void ws_send(struct http_client *client, unsigned first, bool masked, struct bytes payload)
{
	static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
	_cleanup_(buf_release) struct buf frame = BUF_INIT;
	uint8_t bit = masked ? 0x80 : 0;

	buf_put_u8(&frame, (uint8_t)first);
	if (payload.len < 126) {
		buf_put_u8(&frame, (uint8_t)(bit | payload.len));
	} else {
		assert_true(payload.len <= UINT16_MAX);
		buf_put_u8(&frame, bit | 126);
		buf_put_u16(&frame, (uint16_t)payload.len);
	}
	if (masked) {
		buf_append(&frame, mask, sizeof mask);
	}
	for (size_t i = 0; i < payload.len; i++) {
		buf_put_u8(&frame, payload.data[i] ^ (masked ? mask[i % 4] : 0));
	}
	http_client_send(client, buf_bytes(&frame));
}

struct ws_frame ws_receive(struct http_client *client)
{
	struct ws_frame frame = {0};
	_cleanup_(buf_release) struct buf head = BUF_INIT;
	size_t len;

	if (!http_client_take(client, 2, &head)) {
		frame.gone = true;
		return frame;
	}
	assert_int_equal(head.data[0] & 0xf0, 0x80); /* Whole, without extensions. */
	frame.opcode = head.data[0] & 0x0f;
	len = head.data[1];
	assert_true(len <= 126); /* A server does not mask; nothing of ours is larger. */
	if (len == 126) {
		assert_true(http_client_take(client, 2, &head));
		len = load_u16(head.data + 2);
	}
	assert_true(http_client_take(client, len, &frame.payload));
	return frame;
}

json_t *ws_receive_json(struct http_client *client)
{
	for (;;) {
		struct ws_frame frame = ws_receive(client);
		json_t *json = NULL;

		if (frame.gone || (frame.opcode != WS_TEXT && frame.opcode != WS_PING)) {
			fail_msg("no text: opcode %u, gone %d", frame.opcode, frame.gone);
		}
		if (frame.opcode == WS_PING) {
			ws_send(client, 0x80 | WS_PONG, true, buf_bytes(&frame.payload));
		} else {
			json = json_loadb((char *)frame.payload.data, frame.payload.len,
				JSON_REJECT_DUPLICATES, NULL);
			assert_non_null(json);
		}
		buf_release(&frame.payload);
		if (json != NULL) {
			return json;
		}
	}
}

unsigned ws_receive_close(struct http_client *client)
{
	for (;;) {
		struct ws_frame frame = ws_receive(client);
		unsigned code = frame.gone		 ? 1006
				: frame.payload.len >= 2 ? load_u16(frame.payload.data)
							 : 1005;
		bool end = frame.gone || frame.opcode == WS_CLOSE;

		buf_release(&frame.payload);
		if (end) {
			return code;
		}
	}
}

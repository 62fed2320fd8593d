/* Commands: what is taken encodes to the bytes it was read from. */
#include <assert.h>

#include "raft/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct command_reply reply;
	struct command command;
	struct payload payload;
	struct payload_item item;

	if (command_decode(bytes_of(data, size), &command, NULL) == 0) {
		command_encode(&command, &again);
		assert(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
	}
	if (payload_decode(bytes_of(data, size), &payload) == 0) {
		size_t bytes = PAYLOAD_HEAD_BYTES;

		while (payload_next(&payload, &item)) {
			bytes += PAYLOAD_ITEM_BYTES + item.command.len;
		}
		assert(bytes == size);
	}
	if (command_reply_decode(bytes_of(data, size), &reply) == 0) {
		assert(size == COMMAND_REPLY_BYTES);
	}
	return 0;
}

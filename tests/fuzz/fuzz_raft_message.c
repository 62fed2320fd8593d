/* Messages of a peer: whatever decodes encodes to the same bytes. */
#include <assert.h>

#include "raft/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message message;
	struct buf again = BUF_INIT;

	if (message_decode(bytes_of(data, size), &message, NULL) != 0) {
		return 0;
	}
	message_encode(&message, &again);
	for (unsigned i = 0; message.type == MESSAGE_APPEND && i < message.append.n; i++) {
		buf_append_bytes(&again, entry_bytes(message.append.entries[i]));
	}
	assert(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
	message_release(&message);
	buf_release(&again);
	return 0;
}

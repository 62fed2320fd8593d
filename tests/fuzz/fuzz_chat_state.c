/* The state of a conversation, as a disk may hand it back: what decodes encodes to the same bytes,
 * and can be gone on with. */
#include <string.h>

#include "cli/client/chat_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(secret_release) struct secret encoded = SECRET_INIT;
	static const uint8_t members[HASH_BYTES];
	struct chat_state state;

	if (chat_state_decode(bytes_of(data, size), &state, NULL) != 0) {
		return 0;
	}
	if (chat_state_encode(&state, &encoded, NULL) != 0 ||
		(data[0] == encoded.data[0] && /* Else of an earlier version. */
			!bytes_equal(secret_bytes(&encoded), bytes_of(data, size)))) {
		abort();
	}
	(void)chat_state_due(&state, members, 1);
	if (state.pending.len > 0) {
		chat_state_sent(&state, chat_state_newest(&state) + 1);
	}
	chat_state_release(&state);
	return 0;
}

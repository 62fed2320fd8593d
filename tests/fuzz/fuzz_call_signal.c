/* What another node passes on of a call: whatever is taken is written the same again. */
#include <assert.h>

#include "node/call_signal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct call_signal *signal;
	struct buf again = BUF_INIT;
	struct err e = {0};

	if (call_signal_decode(bytes_of(data, size), &signal, &e) != 0) {
		assert(e.code != 0);
		return 0;
	}
	assert(signal->bytes > 0 && signal->bytes <= CALL_SIGNAL_BYTES_MAX);
	call_signal_encode(signal, &again);
	assert(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
	buf_release(&again);
	call_signal_unref(signal);
	return 0;
}

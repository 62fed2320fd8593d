/* What a node wrote down of its peers, as a disk may give it: what is taken can be written back to
 * the same bytes, and only known peers have agreed. */
#include <assert.h>
#include <string.h>

#include "raft/peer_pins.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[PEER_PINS_PAYLOAD_BYTES] = {0}, again[PEER_PINS_PAYLOAD_BYTES];
	struct peer_pins pins = {.n = 0};

	memcpy(bytes, data, size < sizeof bytes ? size : sizeof bytes);
	if (peer_pins_decode(bytes, &pins) != 0) {
		return 0;
	}
	for (unsigned i = 0; i < pins.n; i++) {
		assert(peer_pins_find(&pins, pins.pin[i].id) == &pins.pin[i]);
		assert(pins.pin[i].known || !pins.pin[i].agreed);
		assert(!peer_pins_begun(&pins) || !pins.pin[i].founder || pins.pin[i].agreed);
	}
	peer_pins_encode(&pins, again);
	assert(memcmp(bytes, again, sizeof bytes) == 0);
	return 0;
}

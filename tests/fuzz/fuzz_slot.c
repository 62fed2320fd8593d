#include "raft/slot_file.h"

/* One slot of the vote or state file as a disk may give it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t payload[SLOT_PAYLOAD_BYTES_MAX];
	uint64_t sequence;

	if (slot_decode(bytes_of(data, size), "KLVT", 32, &sequence, payload) == 0 &&
		size != SLOT_STRIDE_BYTES) {
		(void)payload[31]; /* Shorter slots are fine as long as no byte beyond is read. */
	}
	return 0;
}

/* A vault head: what parses has every field in range and hashes to what its bytes say. */
#include <assert.h>
#include <string.h>

#include "crypto/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct head head;
	uint8_t message[HASH_BYTES];

	if (head_parse(bytes_of(data, size), &head, NULL) == 0) {
		assert(size == HEAD_BYTES && head.seq > 0 && head.key_epoch > 0);
		HASH_TH(message, "kluis/v1/head", bytes_of(data, HEAD_FIXED_BYTES));
		assert(memcmp(message, head.message, HASH_BYTES) == 0);
		assert(head_follows(&head, head.seq, head.prev_hash, NULL) != 0);
	}
	return 0;
}

/* The state of re-reading: what passes is what was written, to the byte. */
#include <assert.h>
#include <stdlib.h>

#include "backup/rehash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rehash_state *state = calloc(1, sizeof *state);

	assert(state != NULL);
	if (rehash_state_decode(bytes_of(data, size), state, NULL) == 0) {
		_cleanup_(buf_release) struct buf again = BUF_INIT;

		assert(state->n_damaged <= REHASH_DAMAGED_MAX && state->reached < REHASH_ALL);
		rehash_state_encode(state, &again);
		assert(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
	}
	free(state);
	return 0;
}

/* The file of an operator's copy of a vault. */
#include <assert.h>

#include "cli/client/vault_copy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(vault_copy_release) struct vault_copy copy = {.leaves = NULL};
	_cleanup_(buf_release) struct buf again = BUF_INIT;

	if (vault_copy_parse(bytes_of(data, size), &copy, NULL) == 0) {
		vault_copy_encode(&copy, &again);
		assert(bytes_equal(buf_bytes(&again), bytes_of(data, size)));
	}
	return 0;
}

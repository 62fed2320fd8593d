/* Shares of a backup key: what is taken is written again, and never too much of it combined. */
#include <assert.h>
#include <string.h>

#include "backup/key_share.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	_cleanup_(key_freep) struct key *key = NULL;
	struct key_share share, copy;
	size_t bad;

	if (key_share_parse(bytes_of(data, size), &share, NULL) != 0) {
		return 0;
	}
	assert(share.share.len >= SLIP39_SECRET_MIN && share.share.len <= SLIP39_SECRET_MAX);
	slip39_format(&share.share, &again);
	assert(slip39_parse(buf_bytes(&again), &copy.share, NULL) == 0);
	assert(memcmp(copy.share.value, share.share.value, share.share.len) == 0);
	if (share.labelled) {
		buf_clear(&again);
		key_share_format(&share, &again);
		assert(key_share_parse(buf_bytes(&again), &copy, NULL) == 0 && copy.labelled);
	}
	share.share.exponent = 0; /* What takes long is not what is looked for. */
	if (key_share_combine(&share, 1, NULL, &key, &bad, NULL) == 0) {
		assert(key != NULL && share.share.threshold == 1);
	}
	return 0;
}

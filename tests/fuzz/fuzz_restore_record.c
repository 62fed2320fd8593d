/* A restore record: what parses encodes back to the same bytes. */
#include <assert.h>
#include <string.h>

#include "crypto/restore_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct key *key;
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct restore_record record;
	int rc = restore_record_parse(bytes_of(data, size), &record, NULL);

	if (rc != 0) {
		return 0;
	}
	rc = key != NULL ? 0 : key_generate(KEY_ECDSA_P256, 0, &key, NULL);
	assert(rc == 0);
	assert(size == RESTORE_RECORD_BYTES);
	assert(restore_record_verify(&record, key_public(key), NULL) == KLUIS_EVERIFY);
	rc = restore_record_sign(&record, key, &again, NULL);
	assert(rc == 0);
	assert(memcmp(again.data, data, RESTORE_RECORD_FIXED_BYTES) == 0);
	return 0;
}

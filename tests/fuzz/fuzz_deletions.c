/* The journal of deletions, its mark and a restore's list. */
#include <assert.h>
#include <string.h>

#include "backup/deletion_list.h"

static void journal(struct bytes bytes)
{
	uint8_t chain[HASH_BYTES] = {0}, again[HASH_BYTES] = {0}, record[DELETION_BYTES];
	struct deletion d;

	for (size_t at = 0; at + DELETION_BYTES <= bytes.len; at += DELETION_BYTES) {
		if (deletion_decode(bytes.data + at, chain, &d, NULL) != 0) {
			return;
		}
		deletion_encode(&d, again, record);
		assert(memcmp(record, bytes.data + at, DELETION_BYTES) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct backup_trust nobody = {.n = 0};
	struct bytes bytes = bytes_of(data, size);
	struct deletion_mark mark;
	struct deletion_list list;

	assert(deletion_mark_open(bytes, &nobody, &mark, NULL) != 0);
	if (deletion_list_parse(bytes, &list, NULL) == 0) {
		assert(size ==
			DELETION_LIST_FIXED_BYTES +
				(list.n_vaults + list.n_persons + list.n_devices + list.n_members) *
					ID_BYTES);
	}
	journal(bytes);
	return 0;
}

/* Index entries: what is taken off is what put() writes, and a cut run never yields an entry. */
#include <assert.h>
#include <string.h>

#include "backup/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct backup_manifest m = {.type = MANIFEST_INCREMENT,
		.slice = 2,
		.from = 5,
		.index = UINT64_MAX,
		.n_packs = 3};
	_cleanup_(buf_release) struct buf again = BUF_INIT;
	struct wire w = wire_of(bytes_of(data, size));
	struct index_rules rules;
	struct index_entry entry;

	if (!index_header_take(&w)) {
		return 0;
	}
	index_rules_init(&rules, &m);
	index_header_put(&again);
	while (index_entry_take(&w, &entry) == 0) {
		assert(entry.key.len > 0 && entry.key.len <= BACKUP_KEY_BYTES_MAX);
		assert((uint64_t)entry.offset + entry.length <= BACKUP_PLAINTEXT_BYTES_MAX);
		index_entry_put(&again, &entry);
		if (index_rules_add(&rules, &entry, NULL) == 0 && !entry.tombstone) {
			assert(entry.pack < m.n_packs);
		}
	}
	assert(again.len <= size && memcmp(again.data, data, again.len) == 0);
	return 0;
}

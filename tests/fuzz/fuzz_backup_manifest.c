/* Manifests: whatever passes holds its rules and is exact to the byte. */
#include <assert.h>
#include <string.h>

#include "backup/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct backup_trust nobody = {0};
	struct backup_manifest m = {0};
	uint8_t hash[HASH_BYTES];

	if (backup_manifest_parse(bytes_of(data, size), &m, hash, NULL) == 0) {
		size_t n = m.n_index + m.n_packs;

		assert(size == MANIFEST_HEADER_BYTES + n * MANIFEST_OBJECT_BYTES + 64);
		assert(m.n_index > 0 && m.id > m.from && m.id <= m.index);
		assert(backup_manifest_bytes(&m) <= n * BACKUP_OBJECT_BYTES_MAX);
		backup_manifest_release(&m);
	}
	/* Nobody is trusted, so nothing may be believed. */
	assert(backup_manifest_open(bytes_of(data, size), &nobody, &m, hash, NULL) != 0);
	return 0;
}

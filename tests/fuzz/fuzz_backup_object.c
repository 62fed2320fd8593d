/* Sealed objects under a known key: nothing but the seeds opens, and no size or header upsets the
 * reader. */
#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backup/object.h"
#include "base/file.h"

/* As tests/vectors/make_backup_kat.py: SHA-256("backup x25519"), cluster 10.., lineage 80... */
static struct key *fuzz_key(void)
{
	static struct key *key;
	uint8_t secret[HASH_BYTES];

	if (key == NULL) {
		hash_sha256(bytes_str("backup x25519"), secret);
		if (key_decode(KEY_KEM_X25519, bytes_of(secret, sizeof secret), &key, NULL) != 0) {
			abort();
		}
	}
	return key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct object_place place = {.kind = OBJECT_PACK, .index = 0x0102030405};
	struct object_reader *reader = NULL;
	uint8_t chunk[4096];
	int fd = memfd_create("object", MFD_CLOEXEC);

	for (unsigned i = 0; i < ID_BYTES; i++) {
		place.cluster_id[i] = (uint8_t)(0x10 + i);
		place.lineage[i] = (uint8_t)(0x80 + i);
	}
	if (fd < 0 || file_write_all(fd, bytes_of(data, size)) != 0) {
		abort();
	}
	if (object_reader_new(fd, &place, fuzz_key(), &reader, NULL) == 0) {
		uint64_t bytes = object_reader_bytes(reader);

		assert(bytes < size);
		for (uint64_t at = 0; at < bytes; at += sizeof chunk) {
			size_t n = bytes - at < sizeof chunk ? (size_t)(bytes - at) : sizeof chunk;

			if (object_reader_read(reader, at, n, chunk, NULL) != 0) {
				break;
			}
		}
		assert(object_reader_read(reader, bytes, 1, chunk, NULL) != 0);
	}
	object_reader_free(reader);
	return 0;
}

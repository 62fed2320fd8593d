/* Whether what manifests name is there. */
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "tests/sim/backup/fortnight.h"

/* An object as it was when its bytes were last hashed. */
struct object_seen {
	uint8_t hash[HASH_BYTES];
	ino_t inode;
	struct timespec changed;
};

static char *object_path(const struct site *site, const struct manifest_object *object)
{
	char hex[HEX_LEN(HASH_BYTES) + 1];

	hex_encode(bytes_of(object->hash, HASH_BYTES), hex);
	return x_asprintf("%s/objects/%.2s/%s", site->path, hex, hex);
}

bool object_whole(const struct site *site, const struct manifest_object *object)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(x_freep) char *path = object_path(site, object);
	uint8_t hash[HASH_BYTES];

	if (file_read(path, BACKUP_OBJECT_BYTES_MAX, &bytes, NULL) != 0 ||
		bytes.len != object->bytes) {
		return false;
	}
	hash_sha256(buf_bytes(&bytes), hash);
	return memcmp(hash, object->hash, HASH_BYTES) == 0;
}

/* Where it stands, or is to stand. */
static struct object_seen *seen_of(struct site *site, const uint8_t hash[HASH_BYTES])
{
	for (size_t i = 0; i < site->n_seen; i++) {
		if (memcmp(site->seen[i].hash, hash, HASH_BYTES) == 0) {
			return &site->seen[i];
		}
	}
	site->seen = x_realloc(site->seen, (site->n_seen + 1) * sizeof *site->seen);
	memset(&site->seen[site->n_seen], 0, sizeof *site->seen);
	memcpy(site->seen[site->n_seen].hash, hash, HASH_BYTES);
	return &site->seen[site->n_seen++];
}

/* A file that is the one that was hashed, and unchanged, is not read again. */
static bool object_still(struct site *site, const struct manifest_object *object)
{
	_cleanup_(x_freep) char *path = object_path(site, object);
	struct object_seen *seen = seen_of(site, object->hash);
	struct stat st;

	if (stat(path, &st) != 0) {
		return false;
	}
	if (seen->inode == st.st_ino && seen->changed.tv_sec == st.st_ctim.tv_sec &&
		seen->changed.tv_nsec == st.st_ctim.tv_nsec) {
		return true;
	}
	seen->inode = st.st_ino;
	seen->changed = st.st_ctim;
	return object_whole(site, object);
}

bool objects_still(struct site *site, const struct manifest_name *name)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	_cleanup_(x_freep) char *path = NULL;
	char text[MANIFEST_NAME_BYTES];
	uint8_t hash[HASH_BYTES];
	bool still;

	manifest_name_format(name, text);
	path = x_asprintf("%s/manifests/%s", site->path, text);
	still = file_read(path, BACKUP_MANIFEST_BYTES_MAX, &bytes, NULL) == 0 &&
		backup_manifest_parse(buf_bytes(&bytes), &m, hash, NULL) == 0 &&
		memcmp(hash, name->hash, HASH_BYTES) == 0;
	for (uint32_t i = 0; still && i < m.n_index + m.n_packs; i++) {
		still = object_still(site, &m.objects[i]);
	}
	return still;
}

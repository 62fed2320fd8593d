#include "raft/manifest.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

enum { MANIFEST_VERSION = 1, MANIFEST_FILE_BYTES_MIN = 2 + 1 + 8 + 32 };

void manifest_release(struct manifest *manifest)
{
	free(manifest->files);
	*manifest = (struct manifest){.n = 0};
}

bool manifest_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > MANIFEST_NAME_BYTES_MAX || name[0] == '.') {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			    c == '.' || c == '_' || c == '-')) {
			return false;
		}
	}
	return true;
}

void manifest_add(
	struct manifest *manifest, const char *name, uint64_t bytes, const uint8_t hash[32])
{
	struct manifest_file *file;

	assert(manifest_name_valid(name, strlen(name)));
	manifest->files = x_realloc(manifest->files, (manifest->n + 1) * sizeof *manifest->files);
	file = &manifest->files[manifest->n++];
	*file = (struct manifest_file){.bytes = bytes};
	(void)snprintf(file->name, sizeof file->name, "%s", name);
	memcpy(file->hash, hash, sizeof file->hash);
}

uint64_t manifest_bytes(const struct manifest *manifest)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < manifest->n; i++) {
		bytes += manifest->files[i].bytes;
	}
	return bytes;
}

bool manifest_has(const struct manifest *manifest, uint32_t file, uint64_t offset, uint32_t len)
{
	return file < manifest->n && offset <= manifest->files[file].bytes &&
	       len <= manifest->files[file].bytes - offset;
}

static int manifest_compare(const void *a, const void *b)
{
	return strcmp(
		((const struct manifest_file *)a)->name, ((const struct manifest_file *)b)->name);
}

int manifest_encode(struct manifest *manifest, struct buf *to)
{
	size_t before = to->len;

	if (manifest->n > MANIFEST_FILES_MAX) {
		return KLUIS_ETOOLARGE;
	}
	if (manifest->n > 0) {
		qsort(manifest->files, manifest->n, sizeof *manifest->files, manifest_compare);
	}
	buf_put_u8(to, MANIFEST_VERSION);
	buf_append(to, manifest->id, MANIFEST_ID_BYTES);
	buf_put_u32(to, manifest->n);
	for (unsigned i = 0; i < manifest->n; i++) {
		const struct manifest_file *file = &manifest->files[i];

		buf_put_lp16(to, bytes_str(file->name));
		buf_put_u64(to, file->bytes);
		buf_append(to, file->hash, sizeof file->hash);
	}
	if (to->len - before > MANIFEST_BYTES_MAX) {
		to->len = before;
		return KLUIS_ETOOLARGE;
	}
	return 0;
}

static bool manifest_decode_file(struct wire *w, struct manifest *manifest)
{
	struct bytes name = wire_lp16(w, MANIFEST_NAME_BYTES_MAX);
	uint64_t bytes = wire_u64(w);
	struct manifest_file *file = &manifest->files[manifest->n];

	wire_copy(w, file->hash, sizeof file->hash);
	if (!wire_ok(w) || !manifest_name_valid((const char *)name.data, name.len) ||
		bytes >> MANIFEST_FILE_BYTES_MAX_SHIFT != 0) {
		return false;
	}
	memcpy(file->name, name.data, name.len);
	file->name[name.len] = 0;
	file->bytes = bytes;
	/* Ascending, so that no name stands twice. */
	if (manifest->n > 0 && strcmp(manifest->files[manifest->n - 1].name, file->name) >= 0) {
		return false;
	}
	manifest->n++;
	return true;
}

int manifest_decode(struct bytes bytes, struct manifest *ret_manifest, struct err *e)
{
	struct wire w = wire_of(bytes);
	struct manifest manifest = {.n = 0};
	uint8_t version = wire_u8(&w);
	uint32_t n;

	wire_copy(&w, manifest.id, MANIFEST_ID_BYTES);
	n = wire_u32(&w);
	if (wire_ok(&w) && version != MANIFEST_VERSION) {
		return err_set(e, KLUIS_EVERSION, "manifest version %u", version);
	}
	if (!wire_ok(&w) || bytes.len > MANIFEST_BYTES_MAX || n == 0 || n > MANIFEST_FILES_MAX ||
		(size_t)n * MANIFEST_FILE_BYTES_MIN > w.left.len) {
		return err_set(e, KLUIS_EPROTO, "malformed manifest of %zu bytes", bytes.len);
	}
	manifest.files = x_calloc(n, sizeof *manifest.files);
	while (manifest.n < n && manifest_decode_file(&w, &manifest)) {
	}
	if (manifest.n < n || !wire_end(&w)) {
		unsigned at = manifest.n;

		manifest_release(&manifest);
		return err_set(e, KLUIS_EPROTO, "malformed manifest at file %u", at);
	}
	*ret_manifest = manifest;
	return 0;
}

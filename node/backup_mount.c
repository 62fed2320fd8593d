#include "node/backup_mount.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/wire.h"
#include "crypto/hash.h"

static const char magic[] = "KRM1";
enum { MOUNT_AT_COUNT = 5, MOUNT_COUNT_MAX = 255 };

unsigned backup_mount_count(const char *path)
{
	_cleanup_(x_freep) char *part = x_strdup(path);
	unsigned count = 0;
	struct stat st;
	dev_t last;

	if (stat("/", &st) != 0) {
		return 0;
	}
	last = st.st_dev;
	for (size_t i = 1; i <= strlen(path) && count < MOUNT_COUNT_MAX; i++) {
		if (path[i] != '/' && path[i] != 0) {
			continue;
		}
		part[i] = 0;
		if (stat(part, &st) != 0) {
			break;
		}
		count += st.st_dev != last;
		last = st.st_dev;
		part[i] = path[i];
	}
	return count;
}

void backup_mount_encode(const char *path, unsigned count, struct buf *to)
{
	size_t from = to->len;
	uint8_t hash[HASH_BYTES];
	struct bytes parts[2];

	buf_put_str(to, magic);
	buf_put_u8(to, 1);
	buf_put_u8(to, (uint8_t)count);
	buf_put_zeros(to, 2);
	parts[0] = bytes_of(to->data + from, to->len - from);
	parts[1] = bytes_str(path);
	hash_sha256_parts(parts, 2, hash);
	buf_append(to, hash, sizeof hash);
}

static char *mount_file(const struct backup_mount *mount)
{
	return x_asprintf("%s/%s-mount", mount->data_dir, mount->what);
}

/* Of this path; 0: nothing is remembered of it. */
static unsigned mount_remembered(const struct backup_mount *mount)
{
	_cleanup_(x_freep) char *file = mount_file(mount);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT, good = BUF_INIT;
	unsigned count;

	if (file_read(file, BACKUP_MOUNT_BYTES, &bytes, NULL) != 0 ||
		bytes.len != BACKUP_MOUNT_BYTES) {
		return 0;
	}
	count = bytes.data[MOUNT_AT_COUNT];
	backup_mount_encode(mount->path, count, &good);
	return bytes_equal(buf_bytes(&bytes), buf_bytes(&good)) ? count : 0;
}

int backup_mount_check(const struct backup_mount *mount, struct err *e)
{
	unsigned known = mount_remembered(mount), count = backup_mount_count(mount->path);
	_cleanup_(x_freep) char *file = mount_file(mount);

	return count >= known ? 0
			      : err_set(e, KLUIS_ENOTFOUND,
					"the disk of the %s '%s' is not mounted (if it has moved "
					"for good: remove '%s')",
					mount->what, mount->path, file);
}

void backup_mount_remember(const struct backup_mount *mount)
{
	_cleanup_(x_freep) char *file = mount_file(mount);
	_cleanup_(buf_release) struct buf bytes = BUF_INIT, there = BUF_INIT;
	struct err e = {0};

	backup_mount_encode(mount->path, backup_mount_count(mount->path), &bytes);
	if (file_read(file, BACKUP_MOUNT_BYTES, &there, NULL) == 0 &&
		bytes_equal(buf_bytes(&there), buf_bytes(&bytes))) {
		return;
	}
	if (file_write(file, buf_bytes(&bytes), 0600, &e) != 0) {
		log_warn("op=backup_open error=\"%s\", ignoring", e.text);
	}
}

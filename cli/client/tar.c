#include "cli/client/tar.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { TAR_NAME_BYTES = 100, TAR_TYPE_AT = 156, TAR_SUM_AT = 148 };
#define TAR_SIZE_MAX ((UINT64_C(1) << 33) - 1) /* Eleven octal digits. */

/* Octal digits and NUL. */
static void tar_octal(uint8_t *at, size_t digits, uint64_t value)
{
	for (size_t i = digits; i > 0; i--) {
		at[i - 1] = (uint8_t)('0' + (value & 7));
		value >>= 3;
	}
	assert(value == 0);
}

static void tar_header(struct buf *to, const char *path, size_t path_len, char type, unsigned mode,
	uint64_t size, uint64_t mtime_ms)
{
	uint8_t *h = buf_extend(to, TAR_BLOCK_BYTES);
	uint64_t sum = 0;

	memset(h, 0, TAR_BLOCK_BYTES);
	memcpy(h, path, path_len < TAR_NAME_BYTES ? path_len : TAR_NAME_BYTES);
	tar_octal(h + 100, 7, mode);
	tar_octal(h + 108, 7, 0);
	tar_octal(h + 116, 7, 0);
	tar_octal(h + 124, 11, size <= TAR_SIZE_MAX ? size : 0);
	tar_octal(h + 136, 11, mtime_ms / 1000 <= TAR_SIZE_MAX ? mtime_ms / 1000 : 0);
	h[TAR_TYPE_AT] = (uint8_t)type;
	memcpy(h + 257,
		"ustar\0"
		"00",
		8);
	memset(h + TAR_SUM_AT, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK_BYTES; i++) {
		sum += h[i];
	}
	tar_octal(h + TAR_SUM_AT, 6, sum);
	h[TAR_SUM_AT + 6] = 0;
}

/* "LEN key=value\n", LEN counting itself. */
static void tar_record(struct buf *to, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, len = rest;
	char digits[24];

	for (unsigned i = 0; i < 3; i++) {
		len = rest + (size_t)snprintf(digits, sizeof digits, "%zu", len);
	}
	buf_printf(to, "%zu %s=%s\n", len, key, value);
}

static void tar_entry(struct buf *to, const char *path, char type, unsigned mode, uint64_t size,
	uint64_t mtime_ms)
{
	size_t len = strlen(path);
	_cleanup_(buf_release) struct buf records = BUF_INIT;
	char number[24];

	if (len > TAR_NAME_BYTES) {
		tar_record(&records, "path", path);
	}
	if (size > TAR_SIZE_MAX) {
		(void)snprintf(number, sizeof number, "%" PRIu64, size);
		tar_record(&records, "size", number);
	}
	if (records.len > 0) {
		tar_header(to, "pax", 3, 'x', 0600, records.len, mtime_ms);
		buf_append_bytes(to, buf_bytes(&records));
		tar_pad(to, records.len);
	}
	tar_header(to, path, len, type, mode, size, mtime_ms);
}

void tar_file(struct buf *to, const char *path, uint64_t size, uint64_t mtime_ms)
{
	assert(path[0] != '/' && path[0] != 0);
	tar_entry(to, path, '0', 0600, size, mtime_ms);
}

void tar_folder(struct buf *to, const char *path)
{
	_cleanup_(x_freep) char *with_slash = x_asprintf("%s/", path);

	assert(path[0] != '/' && path[0] != 0);
	tar_entry(to, with_slash, '5', 0700, 0, 0);
}

void tar_pad(struct buf *to, uint64_t size)
{
	size_t over = (size_t)(size % TAR_BLOCK_BYTES);

	if (over > 0) {
		memset(buf_extend(to, TAR_BLOCK_BYTES - over), 0, TAR_BLOCK_BYTES - over);
	}
}

void tar_end(struct buf *to)
{
	memset(buf_extend(to, (size_t)2 * TAR_BLOCK_BYTES), 0, (size_t)2 * TAR_BLOCK_BYTES);
}

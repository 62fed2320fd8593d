#include "raft/slot_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/wire.h"
#include "raft/fail_stop.h"

enum { SLOT_VERSION = 1, SLOT_HEAD_BYTES = 16, SLOT_CRC_BYTES = 4 };

static void slot_encode(
	const char *magic, uint64_t sequence, struct bytes payload, uint8_t to[SLOT_STRIDE_BYTES])
{
	size_t len = SLOT_HEAD_BYTES + payload.len;

	assert(payload.len <= SLOT_PAYLOAD_BYTES_MAX && strlen(magic) == 4);
	memset(to, 0, SLOT_STRIDE_BYTES);
	memcpy(to, magic, 4);
	to[4] = SLOT_VERSION;
	store_u64(to + 8, sequence);
	memcpy(to + SLOT_HEAD_BYTES, payload.data, payload.len);
	store_u32(to + len, crc32c(0, bytes_of(to, len)));
}

int slot_decode(struct bytes slot, const char *magic, size_t payload_bytes, uint64_t *ret_sequence,
	uint8_t *payload)
{
	struct wire w = wire_of(slot);
	uint64_t sequence;
	struct bytes body;
	uint8_t version;
	uint32_t crc;

	if (!wire_match(&w, magic)) {
		return KLUIS_ECORRUPT;
	}
	version = wire_u8(&w);
	wire_zeros(&w, 3);
	sequence = wire_u64(&w);
	body = wire_bytes(&w, payload_bytes);
	crc = wire_u32(&w);
	wire_zeros(&w, w.left.len);
	if (!wire_ok(&w) ||
		crc != crc32c(0, bytes_of(slot.data, SLOT_HEAD_BYTES + payload_bytes))) {
		return KLUIS_ECORRUPT;
	}
	if (version != SLOT_VERSION) {
		return KLUIS_EVERSION;
	}
	*ret_sequence = sequence;
	memcpy(payload, body.data, payload_bytes);
	return 0;
}

int slot_file_create(const char *path, const char *magic, struct bytes payload, struct err *e)
{
	uint8_t both[SLOT_FILE_BYTES];

	slot_encode(magic, 1, payload, both);
	memcpy(both + SLOT_STRIDE_BYTES, both, SLOT_STRIDE_BYTES);
	return file_create(path, bytes_of(both, sizeof both), 0600, e);
}

static void slot_put(struct slot_file *file, unsigned slot, const uint8_t *bytes)
{
	off_t at = (off_t)slot * SLOT_STRIDE_BYTES;
	ssize_t n = FAULT_POINT("slot.write") ? (errno = EIO, -1)
					      : pwrite(file->fd, bytes, SLOT_STRIDE_BYTES, at);

	if (n != SLOT_STRIDE_BYTES) {
		fail_stop("write '%s': %s", file->path, n < 0 ? strerror(errno) : "short write");
	}
	if (FAULT_POINT("slot.sync") || fdatasync(file->fd) != 0) {
		fail_stop("fdatasync '%s': %s", file->path, strerror(errno));
	}
}

void slot_file_write(struct slot_file *file, const uint8_t *payload)
{
	uint8_t bytes[SLOT_STRIDE_BYTES];

	assert(file->fd >= 0 && file->sequence > 0);
	slot_encode(file->magic, ++file->sequence, bytes_of(payload, file->payload_bytes), bytes);
	slot_put(file, 0, bytes);
	slot_put(file, 1, bytes);
}

/* Picks the newest good slot; *ret_equal tells whether both hold it. */
static int slot_pick(const struct slot_file *file, struct bytes both, uint8_t *payload,
	uint64_t *ret_sequence, bool *ret_equal)
{
	uint8_t body[2][SLOT_PAYLOAD_BYTES_MAX];
	uint64_t sequence[2] = {0, 0};
	int rc[2], newest;

	for (int i = 0; i < 2; i++) {
		struct bytes slot =
			bytes_of(both.data + (size_t)i * SLOT_STRIDE_BYTES, SLOT_STRIDE_BYTES);

		rc[i] = slot_decode(slot, file->magic, file->payload_bytes, &sequence[i], body[i]);
	}
	if (rc[0] == KLUIS_EVERSION || rc[1] == KLUIS_EVERSION) {
		return KLUIS_EVERSION;
	}
	if (rc[0] != 0 && rc[1] != 0) {
		return KLUIS_ECORRUPT;
	}
	newest = rc[1] == 0 && (rc[0] != 0 || sequence[1] > sequence[0]);
	memcpy(payload, body[newest], file->payload_bytes);
	*ret_sequence = sequence[newest];
	*ret_equal = rc[0] == 0 && rc[1] == 0 && sequence[0] == sequence[1] &&
		     memcmp(body[0], body[1], file->payload_bytes) == 0;
	return 0;
}

static int slot_file_load(struct slot_file *file, uint8_t *payload, struct err *e)
{
	_cleanup_(buf_release) struct buf both = BUF_INIT;
	bool equal = false;
	int rc = file_read(file->path, SLOT_FILE_BYTES, &both, e);

	if (rc != 0) {
		return rc;
	}
	if (both.len != SLOT_FILE_BYTES) {
		return err_set(e, KLUIS_ECORRUPT,
			"'%s' has %zu bytes instead of %d: it was cut or replaced; " REPLACE_NODE,
			file->path, both.len, SLOT_FILE_BYTES);
	}
	rc = slot_pick(file, buf_bytes(&both), payload, &file->sequence, &equal);
	if (rc != 0) {
		return err_set(e, rc,
			"'%s': neither slot (offsets 0 and %d) is good; " REPLACE_NODE, file->path,
			SLOT_STRIDE_BYTES);
	}
	file->fd = open(file->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (file->fd < 0) {
		return err_set_errno(e, errno, "open '%s'", file->path);
	}
	if (!equal) {
		slot_file_write(file, payload);
	}
	return 0;
}

int slot_file_open(struct slot_file *file, const char *path, const char *magic, uint8_t *payload,
	size_t payload_bytes, struct err *e)
{
	int rc;

	assert(payload_bytes <= SLOT_PAYLOAD_BYTES_MAX);
	*file = (struct slot_file){
		.fd = -1, .path = x_strdup(path), .payload_bytes = payload_bytes};
	memcpy(file->magic, magic, 5);
	rc = slot_file_load(file, payload, e);
	if (rc != 0) {
		slot_file_close(file);
	}
	return rc;
}

void slot_file_close(struct slot_file *file)
{
	if (file->path == NULL) {
		return;
	}
	if (file->fd >= 0) {
		(void)close(file->fd); /* Every write was synced. */
	}
	free(file->path);
	*file = (struct slot_file){.fd = -1};
}

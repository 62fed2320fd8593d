#include "node/identity.h"

#include <assert.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/wire.h"
#include "raft/slot_file.h"

/* "KNI1" | u8 ver | u8 flags | u16 0 | cluster16 | lineage16 | u64 node | 12 zero | u32 crc32c of
 * all before. */
enum { IDENTITY_VERSION = 1, IDENTITY_DEVELOPMENT = 1, IDENTITY_CRC_AT = IDENTITY_FILE_BYTES - 4 };

void node_identity_encode(const struct node_identity *identity, uint8_t to[IDENTITY_FILE_BYTES])
{
	_cleanup_(buf_release) struct buf b = BUF_INIT;

	buf_put_str(&b, "KNI1");
	buf_put_u8(&b, IDENTITY_VERSION);
	buf_put_u8(&b, identity->development ? IDENTITY_DEVELOPMENT : 0);
	buf_put_u16(&b, 0);
	buf_append(&b, identity->cluster_id, IDENTITY_ID_BYTES);
	buf_append(&b, identity->lineage, IDENTITY_ID_BYTES);
	buf_put_u64(&b, identity->node_id);
	buf_put_zeros(&b, 12);
	buf_put_u32(&b, crc32c(0, buf_bytes(&b)));
	assert(b.len == IDENTITY_FILE_BYTES);
	memcpy(to, b.data, IDENTITY_FILE_BYTES);
}

int node_identity_decode(const uint8_t *data, size_t len, struct node_identity *ret_identity)
{
	struct wire w = wire_of(bytes_of(data, len));
	struct node_identity identity = {0};
	uint8_t version, flags;
	uint32_t crc;

	if (len != IDENTITY_FILE_BYTES || !wire_match(&w, "KNI1")) {
		return KLUIS_ECORRUPT;
	}
	version = wire_u8(&w);
	if (version != IDENTITY_VERSION) {
		return KLUIS_EVERSION;
	}
	flags = wire_u8(&w);
	wire_zeros(&w, 2);
	wire_copy(&w, identity.cluster_id, IDENTITY_ID_BYTES);
	wire_copy(&w, identity.lineage, IDENTITY_ID_BYTES);
	identity.node_id = wire_u64(&w);
	wire_zeros(&w, 12);
	crc = wire_u32(&w);
	if (!wire_end(&w) || crc != crc32c(0, bytes_of(data, IDENTITY_CRC_AT)) ||
		(flags & ~IDENTITY_DEVELOPMENT) != 0 || identity.node_id == 0) {
		return KLUIS_ECORRUPT;
	}
	identity.development = (flags & IDENTITY_DEVELOPMENT) != 0;
	*ret_identity = identity;
	return 0;
}

int node_identity_write(const char *data_dir, const struct node_identity *identity, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/identity", data_dir);
	uint8_t raw[IDENTITY_FILE_BYTES];

	node_identity_encode(identity, raw);
	return file_create(path, bytes_of(raw, sizeof raw), 0600, e);
}

int node_identity_read(const char *data_dir, struct node_identity *ret_identity, struct err *e)
{
	_cleanup_(x_freep) char *path = x_asprintf("%s/identity", data_dir);
	_cleanup_(buf_release) struct buf raw = BUF_INIT;
	int rc = file_read(path, IDENTITY_FILE_BYTES, &raw, e);

	if (rc == KLUIS_ENOTFOUND) {
		return err_set(
			e, rc, "'%s' is no node's data directory yet: run kluisd init", data_dir);
	}
	rc = rc != 0 ? rc : node_identity_decode(raw.data, raw.len, ret_identity);
	if (rc != 0) {
		return err_set(e, rc, "'%s' is damaged or of another version: " REPLACE_NODE, path);
	}
	return 0;
}

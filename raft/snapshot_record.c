#include "raft/snapshot_record.h"

#include "base/crc32c.h"
#include "base/wire.h"

enum { SNAPSHOT_RECORD_VERSION = 1 };

void snapshot_record_encode(const struct driver_snapshot *snapshot, struct buf *to)
{
	_cleanup_(buf_release) struct buf configuration = BUF_INIT;
	size_t at = to->len;

	configuration_encode(&snapshot->configuration, &configuration);
	buf_put_str(to, "KLSN");
	buf_put_u8(to, SNAPSHOT_RECORD_VERSION);
	buf_put_u64(to, snapshot->index);
	buf_put_u64(to, snapshot->term);
	buf_put_u64(to, snapshot->configuration_index);
	buf_put_lp32(to, buf_bytes(&configuration));
	buf_put_u32(to, crc32c(0, bytes_of(to->data + at, to->len - at)));
}

int snapshot_record_decode(struct bytes bytes, struct driver_snapshot *ret_snapshot, struct err *e)
{
	struct wire w = wire_of(bytes);
	struct driver_snapshot snapshot;
	struct bytes configuration;
	uint8_t version;

	(void)wire_match(&w, "KLSN"); /* The end tells. */
	version = wire_u8(&w);
	snapshot.index = wire_u64(&w);
	snapshot.term = wire_u64(&w);
	snapshot.configuration_index = wire_u64(&w);
	configuration = wire_lp32(&w, UINT16_MAX);
	if (!wire_ok(&w) || w.left.len != 4 ||
		wire_u32(&w) != crc32c(0, bytes_of(bytes.data, bytes.len - 4))) {
		return err_set(e, KLUIS_ECORRUPT, "the snapshot's record is damaged");
	}
	if (version != SNAPSHOT_RECORD_VERSION) {
		return err_set(e, KLUIS_EVERSION, "the snapshot's record has version %u", version);
	}
	if (configuration_decode(configuration, &snapshot.configuration, e) != 0) {
		return err_wrap(e, KLUIS_ECORRUPT, "the snapshot's record");
	}
	if (snapshot.index == 0 || snapshot.term == 0 ||
		snapshot.configuration_index > snapshot.index) {
		return err_set(e, KLUIS_ECORRUPT, "the snapshot's record names no possible index");
	}
	*ret_snapshot = snapshot;
	return 0;
}

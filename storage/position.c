#include "storage/position.h"

#include "storage/row.h"

void position_encode(const struct position *position, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, position->index);
	buf_put_u64(to, position->term);
	buf_put_u64(to, position->cluster_time_ms);
	buf_put_u64(to, position->commands);
	buf_append(to, position->state_hash, sizeof position->state_hash);
	buf_put_u64(to, position->report_index);
	buf_append(to, position->report_hash, sizeof position->report_hash);
}

int position_decode(struct bytes value, struct position *ret_position, struct err *e)
{
	struct wire w = row_wire(value);
	struct position p;
	int rc;

	p.index = wire_u64(&w);
	p.term = wire_u64(&w);
	p.cluster_time_ms = wire_u64(&w);
	p.commands = wire_u64(&w);
	wire_copy(&w, p.state_hash, sizeof p.state_hash);
	p.report_index = wire_u64(&w);
	wire_copy(&w, p.report_hash, sizeof p.report_hash);
	rc = row_end(NULL, &w, KEY_POSITION, e);
	if (rc == 0) {
		*ret_position = p;
	}
	return rc;
}

int position_get(const struct kv_view *view, struct position *ret_position, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_POSITION);
	int rc = kv_get(view, row_key_bytes(&key), &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_position = (struct position){0};
		return 0;
	}
	return rc == 0 ? position_decode(buf_bytes(&value), ret_position, e) : rc;
}

#include "storage/snapshot_store.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "storage/row.h"

static struct row_key snapshot_key(enum key_family family, uint64_t number)
{
	struct row_key key = row_key_begin(family);

	row_key_put_u64(&key, number);
	return key;
}

void snapshot_row_encode(const struct snapshot_row *row, struct buf *to)
{
	assert(row->n_confirmations <= SITES_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, row->kind);
	buf_put_u8(to, row->state);
	buf_put_u8(to, row->pinned);
	buf_put_u64(to, row->node);
	buf_put_u64(to, row->slot);
	buf_put_u64(to, row->cycle);
	buf_put_u64(to, row->base_id);
	buf_put_u64(to, row->base_index);
	buf_put_u64(to, row->created_ms);
	buf_put_u64(to, row->claim_expires_ms);
	buf_put_u64(to, row->index);
	buf_put_u64(to, row->term);
	buf_put_u64(to, row->objects);
	buf_put_u64(to, row->bytes);
	buf_append(to, row->manifest_hash, 32);
	buf_append(to, row->state_root, 32);
	buf_put_u64(to, row->confirmed_ms);
	buf_put_u8(to, row->n_confirmations);
	for (unsigned i = 0; i < row->n_confirmations; i++) {
		buf_put_u64(to, row->confirmation[i].node);
		buf_put_u64(to, row->confirmation[i].time_ms);
	}
	buf_put_lp16(to, bytes_str(row->error));
}

static void snapshot_row_confirmations(struct wire *w, struct snapshot_row *row)
{
	row->n_confirmations = wire_u8(w);
	if (row->n_confirmations > SITES_MAX) {
		wire_fail(w);
		row->n_confirmations = 0;
	}
	for (unsigned i = 0; i < row->n_confirmations; i++) {
		row->confirmation[i].node = wire_u64(w);
		row->confirmation[i].time_ms = wire_u64(w);
	}
}

/* "node 4: ": how a word begins. */
static size_t snapshot_row_damage_begin(uint64_t node, char ret_text[32])
{
	return (size_t)snprintf(ret_text, 32, "node %llu: ", (unsigned long long)node); /* Fits. */
}

void snapshot_row_put_damage(struct snapshot_row *row, uint64_t node, struct bytes text)
{
	char begin[32];
	size_t len = snapshot_row_damage_begin(node, begin);

	assert(text.len > 0 && text.len <= SNAPSHOT_DAMAGE_BYTES_MAX);
	static_assert(SNAPSHOT_DAMAGE_BYTES_MAX + sizeof begin <= SNAPSHOT_ERROR_BYTES_MAX, "room");
	memset(row->error, 0, sizeof row->error);
	memcpy(row->error, begin, len);
	memcpy(row->error + len, text.data, text.len);
}

bool snapshot_row_damage_of(const struct snapshot_row *row, uint64_t node)
{
	char begin[32];
	size_t len = snapshot_row_damage_begin(node, begin);

	return strncmp(row->error, begin, len) == 0;
}

bool snapshot_row_disowned(const struct snapshot_row *row)
{
	return row->state == SNAPSHOT_FAILED &&
	       (strcmp(row->error, SNAPSHOT_DISOWNED) == 0 ||
		       strcmp(row->error, SNAPSHOT_BASE_DISOWNED) == 0);
}

int snapshot_row_decode(
	struct bytes key, struct bytes value, struct snapshot_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_SNAPSHOT), w = row_wire(value);
	struct snapshot_row row = {0};
	int rc;

	row.id = wire_u64(&k);
	row.kind = wire_u8(&w);
	row.state = wire_u8(&w);
	if (row.kind < SNAPSHOT_FULL || row.kind > SNAPSHOT_MANUAL ||
		row.state < SNAPSHOT_RUNNING || row.state > SNAPSHOT_FAILED) {
		wire_fail(&w);
	}
	row.pinned = row_bool(&w);
	row.node = wire_u64(&w);
	row.slot = wire_u64(&w);
	row.cycle = wire_u64(&w);
	row.base_id = wire_u64(&w);
	row.base_index = wire_u64(&w);
	row.created_ms = wire_u64(&w);
	row.claim_expires_ms = wire_u64(&w);
	row.index = wire_u64(&w);
	row.term = wire_u64(&w);
	row.objects = wire_u64(&w);
	row.bytes = wire_u64(&w);
	wire_copy(&w, row.manifest_hash, 32);
	wire_copy(&w, row.state_root, 32);
	row.confirmed_ms = wire_u64(&w);
	snapshot_row_confirmations(&w, &row);
	row_text(&w, row.error, SNAPSHOT_ERROR_BYTES_MAX);
	rc = row_end(&k, &w, KEY_SNAPSHOT, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int snapshot_store_get(
	const struct kv_view *view, uint64_t id, struct snapshot_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = snapshot_key(KEY_SNAPSHOT, id);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? snapshot_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e)
		       : rc;
}

static int snapshot_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return snapshot_row_decode(key, value, to, e);
}

int snapshot_store_list(const struct kv_view *view, uint64_t after, struct snapshot_row *ret_rows,
	size_t max, size_t *ret_n, struct err *e)
{
	uint8_t tail[8];
	struct row_list list = {.prefix = row_key_begin(KEY_SNAPSHOT),
		.after = bytes_of(tail, sizeof tail),
		.max = max,
		.decode = snapshot_list_decode,
		.stride = sizeof *ret_rows};

	store_u64(tail, after);
	return row_list(view, &list, ret_rows, ret_n, e);
}

int snapshot_check_pins(const struct snapshot_row *rows, size_t n, struct err *e)
{
	size_t pinned = 0;

	for (size_t i = 0; i < n; i++) {
		pinned += rows[i].pinned;
	}
	return pinned < SNAPSHOTS_PINNED_MAX
		       ? 0
		       : err_set(e, KLUIS_ECONFLICT,
				 "%zu snapshots are pinned, and no more may be: unpin one first",
				 pinned);
}

void snapshot_store_put(struct txn *txn, const struct snapshot_row *row)
{
	struct row_key key = snapshot_key(KEY_SNAPSHOT, row->id);
	struct buf value = BUF_INIT;

	snapshot_row_encode(row, &value);
	row_put(txn, &key, &value);
}

void snapshot_store_put_cycle(struct txn *txn, const struct snapshot_row *row)
{
	struct row_key key = snapshot_key(KEY_CYCLE, row->cycle);
	struct buf id = row_begin();

	assert(row->cycle > 0);
	buf_put_u64(&id, row->id);
	row_put(txn, &key, &id);
}

int snapshot_store_cycle(
	const struct kv_view *view, uint64_t cycle, struct snapshot_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = snapshot_key(KEY_CYCLE, cycle);
	struct wire w;
	uint64_t id;
	int rc = row_get(view, &key, &value, e);

	if (rc != 0) {
		return rc;
	}
	w = row_wire(buf_bytes(&value));
	id = wire_u64(&w);
	rc = row_end(NULL, &w, KEY_CYCLE, e);
	return rc == 0 ? snapshot_store_get(view, id, ret_row, e) : rc;
}

int snapshot_store_delete(struct txn *txn, const struct snapshot_row *row, struct err *e)
{
	struct row_key key = snapshot_key(KEY_SNAPSHOT, row->id);
	struct row_key cycle = snapshot_key(KEY_CYCLE, row->cycle);
	struct snapshot_row of_cycle;
	int rc = snapshot_store_cycle(txn_view(txn), row->cycle, &of_cycle, e);

	if (rc == 0 && of_cycle.id == row->id) {
		row_delete(txn, &cycle);
	}
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return rc;
	}
	row_delete(txn, &key);
	return 0;
}

void snapshot_state_encode(const struct snapshot_state_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->claimed_id);
	buf_put_u64(to, row->last_slot);
	buf_put_u64(to, row->confirmed_id);
	buf_put_u64(to, row->confirmed_cycle);
	buf_put_u64(to, row->confirmed_index);
	buf_put_u64(to, row->tombstones_upto);
}

int snapshot_state_decode(struct bytes value, struct snapshot_state_row *ret_row, struct err *e)
{
	struct wire w = row_wire(value);
	struct snapshot_state_row row;
	int rc;

	row.claimed_id = wire_u64(&w);
	row.last_slot = wire_u64(&w);
	row.confirmed_id = wire_u64(&w);
	row.confirmed_cycle = wire_u64(&w);
	row.confirmed_index = wire_u64(&w);
	row.tombstones_upto = wire_u64(&w);
	rc = row_end(NULL, &w, KEY_SNAPSHOT_STATE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int snapshot_store_state(
	const struct kv_view *view, struct snapshot_state_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_SNAPSHOT_STATE);
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_row = (struct snapshot_state_row){0};
		return 0;
	}
	return rc == 0 ? snapshot_state_decode(buf_bytes(&value), ret_row, e) : rc;
}

void snapshot_store_put_state(struct txn *txn, const struct snapshot_state_row *row)
{
	struct row_key key = row_key_begin(KEY_SNAPSHOT_STATE);
	struct buf value = BUF_INIT;

	snapshot_state_encode(row, &value);
	row_put(txn, &key, &value);
}

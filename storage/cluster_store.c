#include "storage/cluster_store.h"

#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "storage/row.h"

void cluster_row_encode(const struct cluster_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_append(to, row->cluster_id, 16);
	buf_append(to, row->lineage, 16);
	buf_put_u64(to, row->created_ms);
	buf_put_u32(to, row->feature_level);
	buf_put_u8(to, row->read_only);
	buf_put_u64(to, row->purge_from_ms);
}

int cluster_row_decode(struct bytes value, struct cluster_row *ret_row, struct err *e)
{
	struct wire w = row_wire(value);
	struct cluster_row row;
	int rc;

	wire_copy(&w, row.cluster_id, 16);
	wire_copy(&w, row.lineage, 16);
	row.created_ms = wire_u64(&w);
	row.feature_level = wire_u32(&w);
	row.read_only = row_bool(&w);
	row.purge_from_ms = wire_u64(&w);
	rc = row_end(NULL, &w, KEY_CLUSTER, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int cluster_store_get(const struct kv_view *view, struct cluster_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_CLUSTER);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? cluster_row_decode(buf_bytes(&value), ret_row, e) : rc;
}

void cluster_store_put(struct txn *txn, const struct cluster_row *row)
{
	struct row_key key = row_key_begin(KEY_CLUSTER);
	struct buf value = BUF_INIT;

	cluster_row_encode(row, &value);
	row_put(txn, &key, &value);
}

static struct row_key node_key(uint64_t node)
{
	struct row_key key = row_key_begin(KEY_NODE);

	row_key_put_u64(&key, node);
	return key;
}

void node_row_encode(const struct node_row *row, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u32(to, row->feature_level);
	buf_put_u8(to, row->read_only);
	buf_put_u8(to, row->quarantined);
	buf_put_u64(to, row->announced_ms);
	buf_put_lp16(to, bytes_str(row->site));
	buf_put_lp16(to, bytes_str(row->version));
	buf_put_lp16(to, bytes_str(row->api));
	buf_put_lp16(to, bytes_str(row->link));
	buf_put_lp16(to, bytes_str(row->ssh));
	buf_put_lp16(to, bytes_of(row->ssh_host_key, row->ssh_host_key_bytes));
	buf_append(to, row->backup_key, 32);
}

static void node_row_host_key(struct wire *w, struct node_row *row)
{
	struct bytes key = wire_lp16(w, NODE_KEY_BYTES_MAX);

	memset(row->ssh_host_key, 0, sizeof row->ssh_host_key);
	row->ssh_host_key_bytes = (uint16_t)key.len;
	if (key.len > 0) {
		memcpy(row->ssh_host_key, key.data, key.len);
	}
}

int node_row_decode(struct bytes key, struct bytes value, struct node_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_NODE), w = row_wire(value);
	struct node_row row;
	int rc;

	row.node = wire_u64(&k);
	row.feature_level = wire_u32(&w);
	row.read_only = row_bool(&w);
	row.quarantined = row_bool(&w);
	row.announced_ms = wire_u64(&w);
	row_text(&w, row.site, NODE_NAME_BYTES_MAX);
	row_text(&w, row.version, NODE_NAME_BYTES_MAX);
	row_text(&w, row.api, NODE_TEXT_BYTES_MAX);
	row_text(&w, row.link, NODE_TEXT_BYTES_MAX);
	row_text(&w, row.ssh, NODE_TEXT_BYTES_MAX);
	node_row_host_key(&w, &row);
	wire_copy(&w, row.backup_key, 32);
	rc = row_end(&k, &w, KEY_NODE, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

int node_store_get(
	const struct kv_view *view, uint64_t node, struct node_row *ret_row, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = node_key(node);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? node_row_decode(row_key_bytes(&key), buf_bytes(&value), ret_row, e) : rc;
}

static int node_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return node_row_decode(key, value, to, e);
}

int node_store_list(const struct kv_view *view, uint64_t after, struct node_row *ret_rows,
	size_t max, size_t *ret_n, struct err *e)
{
	uint8_t tail[8];
	struct row_list list = {.prefix = row_key_begin(KEY_NODE),
		.after = bytes_of(tail, sizeof tail),
		.max = max,
		.decode = node_list_decode,
		.stride = sizeof *ret_rows};

	store_u64(tail, after);
	return row_list(view, &list, ret_rows, ret_n, e);
}

void node_store_put(struct txn *txn, const struct node_row *row)
{
	struct row_key key = node_key(row->node);
	struct buf value = BUF_INIT;

	node_row_encode(row, &value);
	row_put(txn, &key, &value);
}

void node_store_delete(struct txn *txn, uint64_t node)
{
	struct row_key key = node_key(node);

	row_delete(txn, &key);
}

/* Only the fields of fixed width, which stand first: this runs in nearly every command. */
static int node_count_one(struct bytes value, struct node_counts *to, struct err *e)
{
	struct wire w = row_wire(value);
	uint32_t level = wire_u32(&w);
	bool read_only = row_bool(&w);

	(void)wire_rest(&w);
	to->n++;
	to->read_only += read_only;
	to->lowest_level = level < to->lowest_level ? level : to->lowest_level;
	return row_end(NULL, &w, KEY_NODE, e);
}

int node_store_count(const struct kv_view *view, struct node_counts *ret_counts, struct err *e)
{
	struct row_key first = row_key_begin(KEY_NODE), end = row_key_after_prefix(&first);
	struct kv_iter *iter = kv_iter_new(view, row_key_bytes(&first), row_key_bytes(&end));
	struct node_counts counts = {.lowest_level = UINT32_MAX};
	int rc = 0;

	while (rc == 0 && kv_iter_next(iter)) {
		rc = node_count_one(kv_iter_value(iter), &counts, e);
	}
	if (rc == 0) {
		rc = kv_iter_status(iter, e);
	}
	kv_iter_free(iter);
	if (rc == 0) {
		*ret_counts = counts;
	}
	return rc;
}

int cluster_store_read_only(const struct kv_view *view, bool *ret_read_only, struct err *e)
{
	struct cluster_row cluster;
	struct node_counts nodes;
	int rc = cluster_store_get(view, &cluster, e);

	if (rc == 0) {
		rc = node_store_count(view, &nodes, e);
	}
	if (rc == 0) {
		*ret_read_only =
			cluster.read_only || (nodes.n > 0 && 2 * nodes.read_only >= nodes.n);
	}
	return rc;
}

void audit_row_encode(const struct audit_row *row, struct buf *to)
{
	assert(row->actor.len <= AUDIT_ACTOR_BYTES_MAX);
	assert(row->object.len <= AUDIT_OBJECT_BYTES_MAX);
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u64(to, row->time_ms);
	buf_put_u64(to, row->index);
	buf_put_u16(to, row->action);
	buf_put_lp16(to, row->actor);
	buf_put_lp16(to, row->object);
	buf_append(to, row->prev_hash, 32);
}

int audit_row_decode(struct bytes key, struct bytes value, struct audit_row *ret_row, struct err *e)
{
	struct wire k = row_key_wire(key, KEY_AUDIT), w = row_wire(value);
	struct audit_row row;
	int rc;

	row.seq = wire_u64(&k);
	row.time_ms = wire_u64(&w);
	row.index = wire_u64(&w);
	row.action = wire_u16(&w);
	row.actor = wire_lp16(&w, AUDIT_ACTOR_BYTES_MAX);
	row.object = wire_lp16(&w, AUDIT_OBJECT_BYTES_MAX);
	wire_copy(&w, row.prev_hash, 32);
	rc = row_end(&k, &w, KEY_AUDIT, e);
	if (rc == 0) {
		*ret_row = row;
	}
	return rc;
}

static struct row_key audit_key(uint64_t seq)
{
	struct row_key key = row_key_begin(KEY_AUDIT);

	row_key_put_u64(&key, seq);
	return key;
}

/* Where the audit stands. */
struct audit_state {
	uint64_t seq; /* Of the newest row; 0: none. */
	uint8_t hash[32];
	uint64_t day; /* Of the newest row of a user's, and how many that day has. */
	uint32_t day_rows;
};

static int audit_state_get(const struct kv_view *view, struct audit_state *ret_state, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = row_key_begin(KEY_AUDIT_STATE);
	struct audit_state state;
	struct wire w;
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_state = (struct audit_state){.seq = 0};
		return 0;
	}
	if (rc != 0) {
		return rc;
	}
	w = row_wire(buf_bytes(&value));
	state.seq = wire_u64(&w);
	wire_copy(&w, state.hash, sizeof state.hash);
	state.day = wire_u64(&w);
	state.day_rows = wire_u32(&w);
	rc = row_end(NULL, &w, KEY_AUDIT_STATE, e);
	if (rc == 0) {
		*ret_state = state;
	}
	return rc;
}

int audit_store_last(
	const struct kv_view *view, uint64_t *ret_seq, uint8_t ret_hash[32], struct err *e)
{
	struct audit_state state;
	int rc = audit_state_get(view, &state, e);

	if (rc == 0) {
		*ret_seq = state.seq;
		memcpy(ret_hash, state.hash, sizeof state.hash);
	}
	return rc;
}

static void audit_put(struct txn *txn, struct audit_state *state, const struct audit_row *row)
{
	struct row_key key, state_key = row_key_begin(KEY_AUDIT_STATE);
	struct buf value = BUF_INIT, to = row_begin();
	struct audit_row next = *row;

	next.seq = ++state->seq;
	memcpy(next.prev_hash, state->hash, sizeof next.prev_hash);
	key = audit_key(next.seq);
	audit_row_encode(&next, &value);
	hash_sha256(buf_bytes(&value), state->hash);
	row_put(txn, &key, &value);
	buf_put_u64(&to, state->seq);
	buf_append(&to, state->hash, sizeof state->hash);
	buf_put_u64(&to, state->day);
	buf_put_u32(&to, state->day_rows);
	row_put(txn, &state_key, &to);
}

int audit_store_add(struct txn *txn, const struct audit_row *row, struct err *e)
{
	struct audit_state state;
	int rc = audit_state_get(txn_view(txn), &state, e);

	if (rc == 0) {
		audit_put(txn, &state, row);
	}
	return rc;
}

int audit_store_add_user(struct txn *txn, const struct audit_row *row, struct err *e)
{
	struct audit_row next = *row;
	struct audit_state state;
	int rc = audit_state_get(txn_view(txn), &state, e);

	if (rc != 0) {
		return rc;
	}
	if (state.day != row->time_ms / DAY_MS) {
		state.day = row->time_ms / DAY_MS;
		state.day_rows = 0;
	}
	if (state.day_rows == AUDIT_DAY_USER_ROWS) {
		return 0;
	}
	if (++state.day_rows == AUDIT_DAY_USER_ROWS) {
		next.actor = bytes_str("audit");
		next.object = bytes_str("no more of users today");
	}
	audit_put(txn, &state, &next);
	return 0;
}

int audit_store_get(const struct kv_view *view, uint64_t seq, struct buf *ret_value, struct err *e)
{
	struct row_key key = audit_key(seq);

	return row_get(view, &key, ret_value, e);
}

int audit_store_due(
	const struct kv_view *view, uint64_t seq, uint64_t now_ms, bool *ret_due, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = audit_key(seq);
	struct audit_row row;
	uint8_t hash[32];
	uint64_t last;
	int rc = audit_store_last(view, &last, hash, e);

	if (rc != 0 || seq > last) {
		*ret_due = false;
		return rc;
	}
	rc = audit_store_get(view, seq, &value, e);
	if (rc == 0) {
		rc = audit_row_decode(row_key_bytes(&key), buf_bytes(&value), &row, e);
	}
	if (rc == 0) {
		*ret_due = last - seq >= AUDIT_ROWS_MAX || row.time_ms + AUDIT_KEPT_MS <= now_ms;
	}
	return rc == KLUIS_ENOTFOUND ? err_set(e, KLUIS_ECORRUPT, "a row of the audit is missing")
				     : rc;
}

void audit_store_delete(struct txn *txn, uint64_t seq)
{
	struct row_key key = audit_key(seq);

	row_delete(txn, &key);
}

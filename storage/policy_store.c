#include "storage/policy_store.h"

#include "base/limits.h"
#include "storage/row.h"

static const struct policy policy_loosest = {.registration = POLICY_OPEN};

void policy_encode(const struct policy *policy, struct buf *to)
{
	buf_put_u8(to, ROW_FORMAT);
	buf_put_u8(to, policy->registration);
	buf_put_u32(to, policy->recovery_delay_ms);
	buf_put_u64(to, policy->bytes_max);
	buf_put_u64(to, policy->pages_max);
}

int policy_decode(struct bytes key, struct bytes value, struct policy *ret_policy, struct err *e)
{
	bool of_node = key.len > 0 && key.data[0] == KEY_NODE_POLICY;
	enum key_family family = of_node ? KEY_NODE_POLICY : KEY_POLICY;
	struct wire k = row_key_wire(key, family), w = row_wire(value);
	struct policy policy;
	int rc;

	if (of_node) {
		(void)wire_u64(&k);
	}
	policy.registration = wire_u8(&w);
	policy.recovery_delay_ms = wire_u32(&w);
	policy.bytes_max = wire_u64(&w);
	policy.pages_max = wire_u64(&w);
	if (policy.registration > POLICY_OPEN) {
		wire_fail(&w);
	}
	rc = row_end(&k, &w, family, e);
	if (rc == 0) {
		*ret_policy = policy;
	}
	return rc;
}

bool policy_equal(const struct policy *a, const struct policy *b)
{
	return a->registration == b->registration && a->recovery_delay_ms == b->recovery_delay_ms &&
	       a->bytes_max == b->bytes_max && a->pages_max == b->pages_max;
}

/* 0 is no quota at all. */
static uint64_t quota_tighter(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

void policy_tighten(struct policy *to, const struct policy *other)
{
	if (other->registration < to->registration) {
		to->registration = other->registration;
	}
	if (other->recovery_delay_ms > to->recovery_delay_ms) {
		to->recovery_delay_ms = other->recovery_delay_ms;
	}
	to->bytes_max = quota_tighter(to->bytes_max, other->bytes_max);
	to->pages_max = quota_tighter(to->pages_max, other->pages_max);
}

static struct row_key policy_key(void)
{
	return row_key_begin(KEY_POLICY);
}

int policy_store_get(const struct kv_view *view, struct policy *ret_policy, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = policy_key();
	int rc = row_get(view, &key, &value, e);

	if (rc == KLUIS_ENOTFOUND) {
		*ret_policy = policy_loosest;
		return 0;
	}
	return rc == 0 ? policy_decode(row_key_bytes(&key), buf_bytes(&value), ret_policy, e) : rc;
}

static struct row_key node_policy_key(uint64_t node)
{
	struct row_key key = row_key_begin(KEY_NODE_POLICY);

	row_key_put_u64(&key, node);
	return key;
}

int node_policy_store_get(
	const struct kv_view *view, uint64_t node, struct policy *ret_policy, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct row_key key = node_policy_key(node);
	int rc = row_get(view, &key, &value, e);

	return rc == 0 ? policy_decode(row_key_bytes(&key), buf_bytes(&value), ret_policy, e) : rc;
}

static int policy_list_decode(struct bytes key, struct bytes value, void *to, struct err *e)
{
	return policy_decode(key, value, to, e);
}

static int node_policies(
	const struct kv_view *view, struct policy ret_all[SITES_MAX], size_t *ret_n, struct err *e)
{
	struct row_list list = {.prefix = row_key_begin(KEY_NODE_POLICY),
		.max = SITES_MAX,
		.decode = policy_list_decode,
		.stride = sizeof *ret_all};

	return row_list(view, &list, ret_all, ret_n, e);
}

static int policy_renew(struct txn *txn, struct err *e)
{
	struct row_key key = policy_key();
	struct policy all[SITES_MAX], sum = policy_loosest;
	struct buf value = BUF_INIT;
	size_t n = 0;
	int rc = node_policies(txn_view(txn), all, &n, e);

	if (rc != 0) {
		return rc;
	}
	if (n == 0) {
		row_delete(txn, &key);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		policy_tighten(&sum, &all[i]);
	}
	policy_encode(&sum, &value);
	row_put(txn, &key, &value);
	return 0;
}

int node_policy_store_put(
	struct txn *txn, uint64_t node, const struct policy *policy, struct err *e)
{
	struct row_key key = node_policy_key(node);
	struct buf value = BUF_INIT;

	policy_encode(policy, &value);
	row_put(txn, &key, &value);
	return policy_renew(txn, e);
}

int node_policy_store_delete(struct txn *txn, uint64_t node, struct err *e)
{
	struct row_key key = node_policy_key(node);

	row_delete(txn, &key);
	return policy_renew(txn, e);
}

int node_policy_store_agree(const struct kv_view *view, bool *ret_agree, struct err *e)
{
	struct policy all[SITES_MAX];
	size_t n = 0;
	int rc = node_policies(view, all, &n, e);

	*ret_agree = true;
	for (size_t i = 1; rc == 0 && i < n; i++) {
		*ret_agree = *ret_agree && policy_equal(&all[0], &all[i]);
	}
	return rc;
}

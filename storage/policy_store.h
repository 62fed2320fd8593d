/* What the nodes' settings ask of accounts. Each node announces its own; in force is the strictest
 * of all, on every node alike: one whose file is old or was changed opens nothing. */
#ifndef KLUIS_STORAGE_POLICY_STORE_H
#define KLUIS_STORAGE_POLICY_STORE_H

#include "storage/kv.h"
#include "storage/txn.h"

enum policy_registration { POLICY_CLOSED = 0, POLICY_INVITE = 1, POLICY_OPEN = 2 };

struct policy {
	uint8_t registration;	    /* enum policy_registration: who may register. */
	uint32_t recovery_delay_ms; /* Before a recovery may do its work. */
	uint64_t bytes_max;	    /* Of the pages in all vaults of a person; 0: no quota. */
	uint64_t pages_max;	    /* ... and how many pages; 0: no quota. */
};
void policy_encode(const struct policy *policy, struct buf *to);
/* Of a node's row, or of the one that is in force. */
KLUIS_MUST_CHECK int policy_decode(
	struct bytes key, struct bytes value, struct policy *ret_policy, struct err *e);
bool policy_equal(const struct policy *a, const struct policy *b);
/* *to becomes the strictest of both in every part. */
void policy_tighten(struct policy *to, const struct policy *other);

/* What is in force: the loosest there is while no node has announced anything. */
KLUIS_MUST_CHECK int policy_store_get(
	const struct kv_view *view, struct policy *ret_policy, struct err *e);

/* Of one node. KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int node_policy_store_get(
	const struct kv_view *view, uint64_t node, struct policy *ret_policy, struct err *e);
/* Each makes anew what is in force. */
KLUIS_MUST_CHECK int node_policy_store_put(
	struct txn *txn, uint64_t node, const struct policy *policy, struct err *e);
KLUIS_MUST_CHECK int node_policy_store_delete(struct txn *txn, uint64_t node, struct err *e);
/* Whether all nodes that announced one say the same. */
KLUIS_MUST_CHECK int node_policy_store_agree(
	const struct kv_view *view, bool *ret_agree, struct err *e);

#endif

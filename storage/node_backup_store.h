/* What each node's settings say of backups, as it announced them: that they are the same at all,
 * and which sites can drill by themselves. */
#ifndef KLUIS_STORAGE_NODE_BACKUP_STORE_H
#define KLUIS_STORAGE_NODE_BACKUP_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

struct node_backup_row {
	uint64_t node;
	uint64_t interval_s, offset_s, keep_s;
	uint8_t copies;	   /* 1 .. SITES_MAX */
	bool drills;	   /* Its operator gave it the private backup key. */
	uint64_t since_ms; /* Cluster time from which on `drills` is what it is. */
};
void node_backup_row_encode(const struct node_backup_row *row, struct buf *to);
KLUIS_MUST_CHECK int node_backup_row_decode(
	struct bytes key, struct bytes value, struct node_backup_row *ret_row, struct err *e);
/* Whether the same was announced. */
bool node_backup_row_equal(const struct node_backup_row *a, const struct node_backup_row *b);

/* KLUIS_ENOTFOUND: it takes part in no backups, or has said nothing yet. */
KLUIS_MUST_CHECK int node_backup_store_get(
	const struct kv_view *view, uint64_t node, struct node_backup_row *ret_row, struct err *e);
/* All, by node. */
KLUIS_MUST_CHECK int node_backup_store_list(const struct kv_view *view,
	struct node_backup_row ret_rows[SITES_MAX], size_t *ret_n, struct err *e);
void node_backup_store_put(struct txn *txn, const struct node_backup_row *row);
void node_backup_store_delete(struct txn *txn, uint64_t node);

#endif

/* What each site last found when it checked a snapshot, at each level of backup/verify.h and as a
 * drill (level 4): what "last proven restore" is read from. */
#ifndef KLUIS_STORAGE_CHECK_STORE_H
#define KLUIS_STORAGE_CHECK_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

enum { CHECK_LEVEL_DRILL = 4, CHECK_TEXT_BYTES_MAX = 200, CHECKS_MAX = SITES_MAX * 4 };

struct check_row {
	uint64_t node;
	uint8_t level; /* 1 .. CHECK_LEVEL_DRILL. */
	bool ok;
	uint64_t id, index, time_ms;	     /* The snapshot, its S, and when: cluster time. */
	uint64_t good_id, good_ms;	     /* The last one that was good; 0: none yet. */
	char text[CHECK_TEXT_BYTES_MAX + 1]; /* What is wrong. */
};
void check_row_encode(const struct check_row *row, struct buf *to);
KLUIS_MUST_CHECK int check_row_decode(
	struct bytes key, struct bytes value, struct check_row *ret_row, struct err *e);
KLUIS_MUST_CHECK int check_store_get(const struct kv_view *view, uint64_t node, uint8_t level,
	struct check_row *ret_row, struct err *e);
/* All, by node and level; at most CHECKS_MAX. */
KLUIS_MUST_CHECK int check_store_list(const struct kv_view *view,
	struct check_row ret_rows[CHECKS_MAX], size_t *ret_n, struct err *e);
void check_store_put(struct txn *txn, const struct check_row *row);
/* Those of a node that is no member any more. */
KLUIS_MUST_CHECK int check_store_forget(struct txn *txn, uint64_t node, struct err *e);

#endif

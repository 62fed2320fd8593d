/* What a back end of kv.h implements. Only for storage/kv*.c and storage/txn.c. */
#ifndef KLUIS_STORAGE_KV_OPS_H
#define KLUIS_STORAGE_KV_OPS_H

#include "storage/kv.h"

struct kv_ops {
	void (*close)(struct kv *kv);
	int (*write)(struct kv *kv, const struct kv_change *changes, size_t n, struct err *e);
	int (*flush)(struct kv *kv, struct err *e);
	int (*checkpoint)(struct kv *kv, const char *dir, struct err *e);
	void (*stats)(struct kv *kv, struct kv_stats *ret_stats);
	int (*reclaim)(struct kv *kv, bool hurry, struct err *e);
	int (*free_space)(struct kv *kv, uint64_t *ret_free, uint64_t *ret_total, struct err *e);
	struct kv_view *(*view_new)(struct kv *kv);
};

struct kv_view_ops {
	void (*free)(struct kv_view *view);
	int (*get)(const struct kv_view *view, struct bytes key, struct buf *to, struct err *e);
	struct kv_iter *(*iter_new)(
		const struct kv_view *view, struct bytes first, struct bytes end);
};

struct kv_iter_ops {
	bool (*next)(struct kv_iter *iter);
	struct bytes (*key)(const struct kv_iter *iter);
	struct bytes (*value)(const struct kv_iter *iter);
	int (*status)(const struct kv_iter *iter, struct err *e);
	void (*free)(struct kv_iter *iter);
};

/* Each is the first member of what a back end allocates. */
struct kv {
	const struct kv_ops *ops;
};
struct kv_view {
	const struct kv_view_ops *ops;
	bool cache_only, passing;
};
struct kv_iter {
	const struct kv_iter_ops *ops;
};

/* Both ends of an iterator, kept behind it: `to` has room for both. */
void kv_bounds_copy(uint8_t *to, struct bytes first, struct bytes end);

#endif

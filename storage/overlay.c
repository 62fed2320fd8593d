#include "storage/overlay.h"

#include "storage/batch.h"
#include "storage/kv_ops.h"

/* Two ordered runs, the pending rows above those of the store. */
struct overlay_iter {
	struct kv_iter iter;
	const struct pending *work;
	bool derived;	    /* The index is in sight: all pending is in `batch`, in order. */
	struct batch batch; /* What is behind `at` is still to come. */
	size_t at;
	bool over_valid;
	struct kv_change over; /* Next pending row within bounds. */
	struct kv_iter *base;
	bool base_valid, begun;
	bool on_over; /* The row it stands on is a pending one. */
	size_t first_len, end_len;
	uint8_t bounds[];
};

static bool overlay_iter_find_row(struct overlay_iter *it, struct bytes from, bool above)
{
	const struct pending_row *row = pending_seek(it->work, from, above);

	while (row != NULL && row->state.how == PENDING_NONE) {
		row = pending_seek(it->work, row->key, true);
	}
	if (row != NULL) {
		it->over = (struct kv_change){
			row->key, row->state.value, row->state.how == PENDING_DELETED};
	}
	return row != NULL;
}

static bool overlay_iter_find_change(struct overlay_iter *it, struct bytes from, bool above)
{
	for (; it->at < it->batch.n; it->at++) {
		int order = bytes_compare(it->batch.changes[it->at].key, from);

		if (order > 0 || (order == 0 && !above)) {
			it->over = it->batch.changes[it->at];
			return true;
		}
	}
	return false;
}

static void overlay_iter_seek(struct overlay_iter *it, struct bytes from, bool above)
{
	struct bytes end = bytes_of(it->bounds + it->first_len, it->end_len);

	it->over_valid = it->derived ? overlay_iter_find_change(it, from, above)
				     : overlay_iter_find_row(it, from, above);
	if (it->over_valid && end.len > 0 && bytes_compare(it->over.key, end) >= 0) {
		it->over_valid = false;
	}
}

/* Steps past the row it stands on; both sources when they have the same key. */
static void overlay_iter_step(struct overlay_iter *it)
{
	if (!it->begun) {
		it->begun = true;
		overlay_iter_seek(it, bytes_of(it->bounds, it->first_len), false);
		it->base_valid = kv_iter_next(it->base);
	} else if (it->on_over) {
		if (it->base_valid && bytes_equal(kv_iter_key(it->base), it->over.key)) {
			it->base_valid = kv_iter_next(it->base);
		}
		overlay_iter_seek(it, it->over.key, true);
	} else {
		it->base_valid = kv_iter_next(it->base);
	}
}

static bool overlay_iter_next(struct kv_iter *iter)
{
	struct overlay_iter *it = CONTAINER_OF(iter, struct overlay_iter, iter);

	for (;;) {
		overlay_iter_step(it);
		if (!it->over_valid && !it->base_valid) {
			return false;
		}
		it->on_over = it->over_valid &&
			      (!it->base_valid ||
				      bytes_compare(it->over.key, kv_iter_key(it->base)) <= 0);
		if (!it->on_over || !it->over.deleted) {
			return true;
		}
	}
}

static struct bytes overlay_iter_key(const struct kv_iter *iter)
{
	const struct overlay_iter *it = CONTAINER_OF(iter, const struct overlay_iter, iter);

	return it->on_over ? it->over.key : kv_iter_key(it->base);
}

static struct bytes overlay_iter_value(const struct kv_iter *iter)
{
	const struct overlay_iter *it = CONTAINER_OF(iter, const struct overlay_iter, iter);

	return it->on_over ? it->over.value : kv_iter_value(it->base);
}

static int overlay_iter_status(const struct kv_iter *iter, struct err *e)
{
	return kv_iter_status(CONTAINER_OF(iter, const struct overlay_iter, iter)->base, e);
}

static void overlay_iter_free(struct kv_iter *iter)
{
	struct overlay_iter *it = CONTAINER_OF(iter, struct overlay_iter, iter);

	batch_release(&it->batch);
	kv_iter_free(it->base);
	free(it);
}

static const struct kv_iter_ops overlay_iter_ops = {
	.next = overlay_iter_next,
	.key = overlay_iter_key,
	.value = overlay_iter_value,
	.status = overlay_iter_status,
	.free = overlay_iter_free,
};

struct kv_iter *overlay_iter_new(const struct pending *work, const struct kv_view *base,
	struct bytes first, struct bytes end)
{
	struct overlay_iter *it = x_calloc(1, sizeof *it + first.len + end.len);

	it->iter.ops = &overlay_iter_ops;
	it->work = work;
	it->base = kv_iter_new(base, first, end);
	it->first_len = first.len;
	it->end_len = end.len;
	kv_bounds_copy(it->bounds, first, end);
	if (end.len == 0 || end.data[0] > KEY_DERIVED_FIRST) {
		/* Rare and small: an expire command looks for tombstones. */
		batch_make(&it->batch, work);
		batch_sort(&it->batch);
		it->derived = true;
	}
	return &it->iter;
}

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "storage/kv_ops.h"
#include "storage/omap.h"

struct kv_memory {
	struct kv kv;
	pthread_mutex_t lock; /* Over map: a view is taken while the writer writes. */
	struct omap map;
};

struct kv_memory_view {
	struct kv_view view;
	struct omap map;
};

struct kv_memory_iter {
	struct kv_iter iter;
	struct omap_iter items;
	const struct omap_item *at;
	size_t end_len;
	uint8_t end[];
};

static int kv_memory_get(
	const struct kv_view *view, struct bytes key, struct buf *to, struct err *e)
{
	const struct kv_memory_view *v = CONTAINER_OF(view, struct kv_memory_view, view);
	const struct omap_item *item = omap_get(&v->map, key);

	if (item == NULL) {
		return err_set(e, KLUIS_ENOTFOUND, "no such row");
	}
	buf_append_bytes(to, omap_value(item));
	return 0;
}

static bool kv_memory_iter_next(struct kv_iter *iter)
{
	struct kv_memory_iter *it = CONTAINER_OF(iter, struct kv_memory_iter, iter);
	struct bytes end = bytes_of(it->end, it->end_len);

	it->at = omap_iter_next(&it->items);
	if (it->at != NULL && end.len > 0 && bytes_compare(omap_key(it->at), end) >= 0) {
		it->at = NULL;
	}
	return it->at != NULL;
}

static struct bytes kv_memory_iter_key(const struct kv_iter *iter)
{
	return omap_key(CONTAINER_OF(iter, const struct kv_memory_iter, iter)->at);
}

static struct bytes kv_memory_iter_value(const struct kv_iter *iter)
{
	return omap_value(CONTAINER_OF(iter, const struct kv_memory_iter, iter)->at);
}

static int kv_memory_iter_status(const struct kv_iter *iter, struct err *e)
{
	(void)iter;
	(void)e;
	return 0;
}

static void kv_memory_iter_free(struct kv_iter *iter)
{
	free(CONTAINER_OF(iter, struct kv_memory_iter, iter));
}

static const struct kv_iter_ops kv_memory_iter_ops = {
	.next = kv_memory_iter_next,
	.key = kv_memory_iter_key,
	.value = kv_memory_iter_value,
	.status = kv_memory_iter_status,
	.free = kv_memory_iter_free,
};

static struct kv_iter *kv_memory_iter_new(
	const struct kv_view *view, struct bytes first, struct bytes end)
{
	const struct kv_memory_view *v = CONTAINER_OF(view, const struct kv_memory_view, view);
	struct kv_memory_iter *it = x_malloc(sizeof *it + end.len);

	it->iter.ops = &kv_memory_iter_ops;
	omap_iter_init(&it->items, &v->map, first);
	it->at = NULL;
	it->end_len = end.len;
	if (end.len > 0) {
		memcpy(it->end, end.data, end.len);
	}
	return &it->iter;
}

static void kv_memory_view_free(struct kv_view *view)
{
	struct kv_memory_view *v = CONTAINER_OF(view, struct kv_memory_view, view);

	omap_release(&v->map);
	free(v);
}

static const struct kv_view_ops kv_memory_view_ops = {
	.free = kv_memory_view_free,
	.get = kv_memory_get,
	.iter_new = kv_memory_iter_new,
};

static struct omap kv_memory_map(struct kv_memory *m)
{
	struct omap map;

	(void)pthread_mutex_lock(&m->lock);
	map = omap_copy(&m->map);
	(void)pthread_mutex_unlock(&m->lock);
	return map;
}

static struct kv_view *kv_memory_view_new(struct kv *kv)
{
	struct kv_memory_view *v = x_malloc(sizeof *v);

	v->view = (struct kv_view){.ops = &kv_memory_view_ops};
	v->map = kv_memory_map(CONTAINER_OF(kv, struct kv_memory, kv));
	return &v->view;
}

static int kv_memory_write(struct kv *kv, const struct kv_change *changes, size_t n, struct err *e)
{
	struct kv_memory *m = CONTAINER_OF(kv, struct kv_memory, kv);

	(void)e;
	(void)pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < n; i++) {
		if (changes[i].deleted) {
			(void)omap_remove(&m->map, changes[i].key); /* Absent is as good. */
		} else {
			omap_put(&m->map, changes[i].key, changes[i].value, false);
		}
	}
	(void)pthread_mutex_unlock(&m->lock);
	return 0;
}

static int kv_memory_flush(struct kv *kv, struct err *e)
{
	(void)kv;
	(void)e;
	return 0;
}

static int kv_memory_checkpoint(struct kv *kv, const char *dir, struct err *e)
{
	(void)kv;
	return err_set(e, KLUIS_EINVAL, "checkpoint to '%s': this store is in memory", dir);
}

/* Counting is O(n): for tests. */
static void kv_memory_stats(struct kv *kv, struct kv_stats *ret_stats)
{
	struct omap map = kv_memory_map(CONTAINER_OF(kv, struct kv_memory, kv));
	const struct omap_item *item;
	struct omap_iter it;

	*ret_stats = (struct kv_stats){0};
	omap_iter_init(&it, &map, bytes_of("", 0));
	while ((item = omap_iter_next(&it)) != NULL) {
		ret_stats->keys_estimate++;
		ret_stats->data_bytes += item->key_len + item->value_len;
	}
	ret_stats->memory_bytes = ret_stats->data_bytes;
	omap_release(&map);
}

static int kv_memory_reclaim(struct kv *kv, bool hurry, struct err *e)
{
	(void)kv;
	(void)hurry;
	(void)e;
	return 0;
}

static int kv_memory_free_space(
	struct kv *kv, uint64_t *ret_free, uint64_t *ret_total, struct err *e)
{
	(void)kv;
	(void)e;
	*ret_free = *ret_total = UINT64_MAX;
	return 0;
}

static void kv_memory_close(struct kv *kv)
{
	struct kv_memory *m = CONTAINER_OF(kv, struct kv_memory, kv);

	omap_release(&m->map);
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
}

static const struct kv_ops kv_memory_ops = {
	.close = kv_memory_close,
	.write = kv_memory_write,
	.flush = kv_memory_flush,
	.checkpoint = kv_memory_checkpoint,
	.stats = kv_memory_stats,
	.reclaim = kv_memory_reclaim,
	.free_space = kv_memory_free_space,
	.view_new = kv_memory_view_new,
};

struct kv *kv_memory_new(void)
{
	struct kv_memory *m = x_calloc(1, sizeof *m);

	m->kv.ops = &kv_memory_ops;
	(void)pthread_mutex_init(&m->lock, NULL);
	return &m->kv;
}

struct kv *kv_memory_clone(struct kv *kv)
{
	struct kv *clone = kv_memory_new();

	assert(kv->ops == &kv_memory_ops);
	CONTAINER_OF(clone, struct kv_memory, kv)->map =
		kv_memory_map(CONTAINER_OF(kv, struct kv_memory, kv));
	return clone;
}

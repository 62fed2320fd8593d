#include "storage/kv.h"

#include <assert.h>
#include <string.h>

#include "base/fault.h"
#include "storage/kv_ops.h"

static void kv_bytes_copy(uint8_t *to, struct bytes from)
{
	if (from.len > 0) {
		memcpy(to, from.data, from.len);
	}
}

void kv_bounds_copy(uint8_t *to, struct bytes first, struct bytes end)
{
	kv_bytes_copy(to, first);
	kv_bytes_copy(to + first.len, end);
}

void kv_close(struct kv *kv)
{
	if (kv != NULL) {
		kv->ops->close(kv);
	}
}

static void kv_check_changes(const struct kv_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert(changes[i].key.len > 0 && changes[i].key.len <= KV_KEY_BYTES_MAX);
		assert(changes[i].deleted || changes[i].value.len <= KV_VALUE_BYTES_MAX);
	}
}

int kv_write(struct kv *kv, const struct kv_change *changes, size_t n, struct err *e)
{
	kv_check_changes(changes, n);
	if (FAULT_POINT("store.write")) {
		return err_set(e, KLUIS_EIO, "write to the store: injected failure");
	}
	return kv->ops->write(kv, changes, n, e);
}

int kv_flush(struct kv *kv, struct err *e)
{
	if (FAULT_POINT("store.flush")) {
		return err_set(e, KLUIS_EIO, "flush the store: injected failure");
	}
	return kv->ops->flush(kv, e);
}

int kv_checkpoint(struct kv *kv, const char *dir, struct err *e)
{
	if (FAULT_POINT("store.checkpoint")) {
		return err_set(e, KLUIS_EIO, "checkpoint to '%s': injected failure", dir);
	}
	return kv->ops->checkpoint(kv, dir, e);
}

void kv_stats(struct kv *kv, struct kv_stats *ret_stats)
{
	kv->ops->stats(kv, ret_stats);
}

int kv_free_space(struct kv *kv, uint64_t *ret_free, uint64_t *ret_total, struct err *e)
{
	return kv->ops->free_space(kv, ret_free, ret_total, e);
}

int kv_reclaim(struct kv *kv, bool hurry, struct err *e)
{
	return kv->ops->reclaim(kv, hurry, e);
}

struct kv_view *kv_view_new(struct kv *kv)
{
	return kv->ops->view_new(kv);
}

void kv_view_free(struct kv_view *view)
{
	if (view != NULL) {
		view->ops->free(view);
	}
}

void kv_view_set_cache_only(struct kv_view *view, bool on)
{
	view->cache_only = on;
}

void kv_view_set_passing(struct kv_view *view)
{
	view->passing = true;
}

bool kv_view_cache_only(const struct kv_view *view)
{
	return view->cache_only;
}

int kv_get(const struct kv_view *view, struct bytes key, struct buf *to, struct err *e)
{
	assert(key.len > 0);
	if (FAULT_POINT("store.read")) {
		return err_set(e, KLUIS_EIO, "read from the store: injected failure");
	}
	return view->ops->get(view, key, to, e);
}

struct kv_iter *kv_iter_new(const struct kv_view *view, struct bytes first, struct bytes end)
{
	assert(first.len <= KV_KEY_BYTES_MAX && end.len <= KV_KEY_BYTES_MAX);
	return view->ops->iter_new(view, first, end);
}

bool kv_iter_next(struct kv_iter *iter)
{
	return iter->ops->next(iter);
}

struct bytes kv_iter_key(const struct kv_iter *iter)
{
	return iter->ops->key(iter);
}

struct bytes kv_iter_value(const struct kv_iter *iter)
{
	return iter->ops->value(iter);
}

int kv_iter_status(const struct kv_iter *iter, struct err *e)
{
	return iter->ops->status(iter, e);
}

void kv_iter_free(struct kv_iter *iter)
{
	if (iter != NULL) {
		iter->ops->free(iter);
	}
}

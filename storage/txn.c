#include "storage/txn.h"

#include <assert.h>
#include <string.h>

#include "crypto/hash.h"
#include "storage/kv_ops.h"
#include "storage/omap.h"
#include "storage/row.h"
#include "storage/row_cache.h"

struct txn {
	struct kv_view view;
	struct kv *kv;
	struct kv_view *base;	 /* The store as of the last txn_store(). */
	struct row_cache *cache; /* Rows of it; made by the first entry. */
	struct omap work;	 /* Written since then; a marked item is a deletion. */
	struct omap saved;	 /* work as it was when the command began. */
	struct omap touched; /* Keys the command wrote; value: the row's hash if it was given. */
	struct position position;
	uint64_t stored_index; /* Rows with a later modification are in work alone. */
	uint32_t ordinal;
	bool in_entry, in_command;
};

static struct txn *txn_of(const struct kv_view *view)
{
	return CONTAINER_OF(view, struct txn, view);
}

/* The row as the store has it. */
static int txn_get_stored(const struct txn *txn, struct bytes key, struct buf *to, struct err *e)
{
	size_t before = to->len;
	struct bytes value;
	bool there;
	int rc;

	if (txn->cache == NULL) {
		return kv_get(txn->base, key, to, e);
	}
	if (row_cache_get(txn->cache, key, &there, to)) {
		return there ? 0 : err_set(e, KLUIS_ENOTFOUND, "no such row");
	}
	rc = kv_get(txn->base, key, to, e);
	if (rc == 0) {
		value = bytes_of(to->data + before, to->len - before);
		row_cache_put(txn->cache, key, &value);
	} else if (rc == KLUIS_ENOTFOUND) {
		row_cache_put(txn->cache, key, NULL);
	}
	return rc;
}

static int txn_get(const struct kv_view *view, struct bytes key, struct buf *to, struct err *e)
{
	const struct txn *txn = txn_of(view);
	const struct omap_item *item = omap_get(&txn->work, key);

	if (item == NULL) {
		return txn_get_stored(txn, key, to, e);
	}
	if (item->mark) {
		return err_set(e, KLUIS_ENOTFOUND, "no such row");
	}
	buf_append_bytes(to, omap_value(item));
	return 0;
}

/* Two ordered runs, the pending rows above those of the store. */
struct txn_iter {
	struct kv_iter iter;
	const struct omap *work;
	const struct omap_item *over; /* Next pending row within bounds, or NULL. */
	struct kv_iter *base;
	bool base_valid, begun;
	bool on_over; /* The row it stands on is a pending one. */
	size_t first_len, end_len;
	uint8_t bounds[];
};

static void txn_iter_seek(struct txn_iter *it, struct bytes from, bool above)
{
	struct bytes end = bytes_of(it->bounds + it->first_len, it->end_len);

	it->over = omap_seek(it->work, from, above);
	if (it->over != NULL && end.len > 0 && bytes_compare(omap_key(it->over), end) >= 0) {
		it->over = NULL;
	}
}

/* Steps past the row it stands on; both sources when they have the same key. */
static void txn_iter_step(struct txn_iter *it)
{
	if (!it->begun) {
		it->begun = true;
		txn_iter_seek(it, bytes_of(it->bounds, it->first_len), false);
		it->base_valid = kv_iter_next(it->base);
	} else if (it->on_over) {
		if (it->base_valid && bytes_equal(kv_iter_key(it->base), omap_key(it->over))) {
			it->base_valid = kv_iter_next(it->base);
		}
		txn_iter_seek(it, omap_key(it->over), true);
	} else {
		it->base_valid = kv_iter_next(it->base);
	}
}

static bool txn_iter_next(struct kv_iter *iter)
{
	struct txn_iter *it = CONTAINER_OF(iter, struct txn_iter, iter);

	for (;;) {
		txn_iter_step(it);
		if (it->over == NULL && !it->base_valid) {
			return false;
		}
		it->on_over = it->over != NULL &&
			      (!it->base_valid || bytes_compare(omap_key(it->over),
							  kv_iter_key(it->base)) <= 0);
		if (!it->on_over || !it->over->mark) {
			return true;
		}
	}
}

static struct bytes txn_iter_key(const struct kv_iter *iter)
{
	const struct txn_iter *it = CONTAINER_OF(iter, const struct txn_iter, iter);

	return it->on_over ? omap_key(it->over) : kv_iter_key(it->base);
}

static struct bytes txn_iter_value(const struct kv_iter *iter)
{
	const struct txn_iter *it = CONTAINER_OF(iter, const struct txn_iter, iter);

	return it->on_over ? omap_value(it->over) : kv_iter_value(it->base);
}

static int txn_iter_status(const struct kv_iter *iter, struct err *e)
{
	return kv_iter_status(CONTAINER_OF(iter, const struct txn_iter, iter)->base, e);
}

static void txn_iter_free(struct kv_iter *iter)
{
	struct txn_iter *it = CONTAINER_OF(iter, struct txn_iter, iter);

	kv_iter_free(it->base);
	free(it);
}

static const struct kv_iter_ops txn_iter_ops = {
	.next = txn_iter_next,
	.key = txn_iter_key,
	.value = txn_iter_value,
	.status = txn_iter_status,
	.free = txn_iter_free,
};

static struct kv_iter *txn_iter_new(
	const struct kv_view *view, struct bytes first, struct bytes end)
{
	const struct txn *txn = txn_of(view);
	struct txn_iter *it = x_calloc(1, sizeof *it + first.len + end.len);

	it->iter.ops = &txn_iter_ops;
	it->work = &txn->work;
	it->base = kv_iter_new(txn->base, first, end);
	it->first_len = first.len;
	it->end_len = end.len;
	kv_bounds_copy(it->bounds, first, end);
	return &it->iter;
}

static void txn_view_free(struct kv_view *view)
{
	(void)view; /* Part of the txn. */
}

static const struct kv_view_ops txn_view_ops = {
	.free = txn_view_free,
	.get = txn_get,
	.iter_new = txn_iter_new,
};

struct txn *txn_new(struct kv *kv, const struct position *position)
{
	struct txn *txn = x_calloc(1, sizeof *txn);

	txn->view.ops = &txn_view_ops;
	txn->kv = kv;
	txn->base = kv_view_new(kv);
	txn->position = *position;
	txn->stored_index = position->index;
	return txn;
}

void txn_free(struct txn *txn)
{
	if (txn != NULL) {
		omap_release(&txn->work);
		omap_release(&txn->saved);
		omap_release(&txn->touched);
		row_cache_free(txn->cache);
		kv_view_free(txn->base);
		free(txn);
	}
}

const struct kv_view *txn_view(const struct txn *txn)
{
	return &txn->view;
}

struct position *txn_position(struct txn *txn)
{
	return &txn->position;
}

void txn_entry_begin(struct txn *txn, uint64_t index, uint64_t term)
{
	assert(!txn->in_command && index == txn->position.index + 1);
	if (txn->cache == NULL) {
		txn->cache = row_cache_new();
	}
	txn->position.index = index;
	txn->position.term = term;
	txn->ordinal = 0;
	txn->in_entry = true;
}

void txn_entry_resume(struct txn *txn, uint32_t ordinal)
{
	assert(!txn->in_command && !txn->in_entry && txn->position.index > 0);
	txn->ordinal = ordinal;
	txn->in_entry = true;
	/* Rows of this index may be in the store: nothing is known to be in work alone. */
	txn->stored_index = UINT64_MAX;
}

void txn_command_begin(struct txn *txn)
{
	assert(txn->in_entry && !txn->in_command);
	txn->saved = omap_copy(&txn->work);
	txn->in_command = true;
}

static void txn_command_end(struct txn *txn)
{
	omap_release(&txn->saved);
	omap_release(&txn->touched);
	txn->in_command = false;
}

void txn_command_abort(struct txn *txn)
{
	assert(txn->in_command);
	omap_release(&txn->work);
	txn->work = omap_copy(&txn->saved);
	txn_command_end(txn);
}

void txn_put(struct txn *txn, struct bytes key, struct bytes value)
{
	assert(txn->in_command && row_key_is_row(key));
	omap_put(&txn->work, key, value, false);
	omap_put(&txn->touched, key, bytes_of(NULL, 0), false);
}

void txn_put_borrowed(struct txn *txn, struct bytes key, struct bytes value, const uint8_t hash[32])
{
	assert(txn->in_command && row_key_is_row(key));
	omap_put_borrowed(&txn->work, key, value);
	omap_put(&txn->touched, key, bytes_of(hash, 32), false);
}

void txn_delete(struct txn *txn, struct bytes key)
{
	assert(txn->in_command && row_key_is_row(key));
	omap_put(&txn->work, key, bytes_of(NULL, 0), true);
	omap_put(&txn->touched, key, bytes_of(NULL, 0), false);
}

static void txn_drop_derived(
	struct txn *txn, const struct row_key *key, const struct modification *at)
{
	if (at->index > txn->stored_index) {
		(void)omap_remove(&txn->work, row_key_bytes(key)); /* The store never had it. */
	} else {
		omap_put(&txn->work, row_key_bytes(key), bytes_of(NULL, 0), true);
	}
}

void txn_forget(struct txn *txn, const struct modification *at, struct bytes key)
{
	struct row_key by = index_by_key(at), of = index_of_key(key);

	assert(txn->in_command);
	txn_drop_derived(txn, &by, at);
	txn_drop_derived(txn, &of, at);
}

/* The row as the command leaves it. */
static struct index_row txn_row_now(const struct txn *txn, const struct omap_item *touched)
{
	const struct omap_item *item = omap_get(&txn->work, omap_key(touched));
	struct index_row row = {.key = omap_key(touched)};

	assert(item != NULL);
	row.deleted = item->mark;
	if (!row.deleted && touched->value_len == sizeof row.hash) {
		memcpy(row.hash, omap_value(touched).data, sizeof row.hash);
	} else if (!row.deleted) {
		hash_sha256(omap_value(item), row.hash);
	}
	return row;
}

static bool txn_row_same(const struct index_row *old, const struct index_row *now)
{
	return old->deleted == now->deleted &&
	       (now->deleted || memcmp(old->hash, now->hash, sizeof now->hash) == 0);
}

/* Moves the row's modification here, or finds that it has not changed. */
static int txn_row_commit(
	struct txn *txn, const struct omap_item *touched, struct buf *changes, struct err *e)
{
	struct index_row now = txn_row_now(txn, touched), old = {.deleted = true};
	struct row_key of = index_of_key(now.key), by;
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	int rc = index_store_of(&txn->view, now.key, &old, NULL);

	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return err_set(e, rc, "index of a changed row: %s", err_text(rc));
	}
	if (txn_row_same(&old, &now)) {
		return 0;
	}
	if (rc == 0) {
		by = index_by_key(&old.at);
		txn_drop_derived(txn, &by, &old.at);
	}
	now.at = (struct modification){txn->position.index, txn->ordinal++};
	assert(txn->ordinal != 0);
	by = index_by_key(&now.at);
	index_row_encode(&now, &value);
	omap_put(&txn->work, row_key_bytes(&by), buf_bytes(&value), false);
	buf_clear(&value);
	index_of_encode(&now, &value);
	omap_put(&txn->work, row_key_bytes(&of), buf_bytes(&value), false);
	buf_put_lp32(changes, now.key);
	buf_put_u8(changes, now.deleted);
	buf_append(changes, now.hash, sizeof now.hash);
	return 0;
}

static void txn_move_hash(struct txn *txn, const struct buf *changes)
{
	struct position *p = &txn->position;
	uint8_t index[8];

	store_u64(index, p->index);
	HASH_TH(p->state_hash, "kluis/v1/state", bytes_of(p->state_hash, sizeof p->state_hash),
		bytes_of(index, sizeof index), buf_bytes(changes));
	p->commands++;
}

int txn_command_commit(struct txn *txn, struct err *e)
{
	_cleanup_(buf_release) struct buf changes = BUF_INIT;
	const struct omap_item *item;
	struct omap_iter it;
	int rc = 0;

	assert(txn->in_command);
	omap_iter_init(&it, &txn->touched, bytes_of("", 0));
	while (rc == 0 && (item = omap_iter_next(&it)) != NULL) {
		rc = txn_row_commit(txn, item, &changes, e);
	}
	if (rc == 0 && changes.len > 0) {
		txn_move_hash(txn, &changes);
	}
	txn_command_end(txn);
	return rc;
}

/* The pending rows as a batch, in key order, the position last. */
static struct kv_change *txn_changes(
	const struct txn *txn, struct bytes key, struct bytes value, size_t *ret_n)
{
	const struct omap_item *item;
	struct kv_change *changes = NULL;
	struct omap_iter it;
	size_t n = 0, cap = 0;

	omap_iter_init(&it, &txn->work, bytes_of("", 0));
	for (;;) {
		item = omap_iter_next(&it);
		if (n == cap) {
			cap = cap == 0 ? 64 : 2 * cap;
			changes = x_realloc(changes, cap * sizeof *changes);
		}
		if (item == NULL) {
			break;
		}
		changes[n++] = (struct kv_change){omap_key(item), omap_value(item), item->mark};
	}
	changes[n++] = (struct kv_change){key, value, false};
	*ret_n = n;
	return changes;
}

int txn_store(struct txn *txn, struct err *e)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	_cleanup_(x_freep) struct kv_change *changes = NULL;
	struct row_key key = row_key_begin(KEY_POSITION);
	size_t n;
	int rc;

	assert(!txn->in_command);
	position_encode(&txn->position, &value);
	changes = txn_changes(txn, row_key_bytes(&key), buf_bytes(&value), &n);
	/* Held over the write, it would make the memory back end copy what it could change. */
	kv_view_free(txn->base);
	rc = kv_write(txn->kv, changes, n, e);
	txn->base = kv_view_new(txn->kv);
	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; txn->cache != NULL && i < n; i++) {
		row_cache_change(
			txn->cache, changes[i].key, changes[i].deleted ? NULL : &changes[i].value);
	}
	omap_release(&txn->work);
	txn->stored_index = txn->position.index;
	txn->in_entry = false;
	return 0;
}

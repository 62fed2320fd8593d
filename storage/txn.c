#include "storage/txn.h"

#include <assert.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/hash.h"
#include "storage/batch.h"
#include "storage/kv_ops.h"
#include "storage/overlay.h"
#include "storage/row_cache.h"

/* What one command did to a row, to be undone. */
struct txn_undo {
	struct pending_row *row;
	struct pending_state state; /* Before it. */
};

struct txn {
	struct kv_view view;
	struct kv *kv;
	struct kv_view *base;	 /* The store as of the last txn_store(). */
	struct row_cache *cache; /* Rows of it; made by the first entry. */
	struct pending work;	 /* Written since then. */
	struct txn_undo *undo;	 /* Each row that the command wrote, once. */
	size_t n_undo, undo_cap;
	struct batch batch; /* Of txn_store(). */
	struct buf scratch;
	struct position position;
	struct event_list events;
	bool events_stored;		 /* Of what was stored: the next entry begins anew. */
	uint64_t command;		 /* Its number, of this txn's. */
	bool changed[KEY_DERIVED_FIRST]; /* By the last command, rows of this family. */
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
	}
	return rc; /* That a row is not there is asked once: before it is made. */
}

/* What the store's index says of the row. */
static int txn_know(struct txn *txn, struct pending_row *row, struct err *e)
{
	struct row_key of;
	int rc;

	if (row->known) {
		return 0;
	}
	of = index_of_key(row->key);
	buf_clear(&txn->scratch);
	rc = txn_get_stored(txn, row_key_bytes(&of), &txn->scratch, NULL);
	if (rc == KLUIS_ENOTFOUND) {
		row->stored = (struct index_row){.deleted = true};
	} else if (rc == 0) {
		rc = index_of_decode(
			row_key_bytes(&of), buf_bytes(&txn->scratch), &row->stored, NULL);
	}
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return err_set(e, rc, "index of a changed row: %s", err_text(rc));
	}
	row->stored.key = row->key;
	row->known = true;
	return 0;
}

/* Rows of index_of are made when they are stored; what was read of one stays with its row. */
static int txn_get_index_of(struct txn *txn, struct bytes key, struct buf *to, struct err *e)
{
	const struct index_row *index = NULL;
	struct pending_row *row;
	int rc = 0;

	key = bytes_of(key.data + 1, key.len - 1);
	if (row_key_is_row(key)) {
		row = pending_add(&txn->work, key);
		rc = txn_know(txn, row, e);
		index = rc == 0 ? pending_index(row) : NULL;
	}
	if (rc == 0 && index == NULL) {
		rc = err_set(e, KLUIS_ENOTFOUND, "no such row");
	}
	if (rc == 0) {
		index_of_encode(index, to);
	}
	return rc;
}

/* Rows of by_index, too; nobody asks for single ones often. */
static int txn_get_by_index(
	const struct kv_view *view, struct bytes key, struct buf *to, struct err *e)
{
	struct kv_iter *iter = kv_iter_new(view, key, bytes_of(NULL, 0));
	bool any = kv_iter_next(iter);
	int rc = any ? 0 : kv_iter_status(iter, e);

	if (rc == 0 && (!any || !bytes_equal(kv_iter_key(iter), key))) {
		rc = err_set(e, KLUIS_ENOTFOUND, "no such row");
	}
	if (rc == 0) {
		buf_append_bytes(to, kv_iter_value(iter));
	}
	kv_iter_free(iter);
	return rc;
}

static int txn_get(const struct kv_view *view, struct bytes key, struct buf *to, struct err *e)
{
	struct txn *txn = txn_of(view);
	const struct pending_row *row;

	if (key.len > 0 && key.data[0] == KEY_INDEX_OF) {
		return txn_get_index_of(txn, key, to, e);
	}
	if (key.len > 0 && key.data[0] == KEY_BY_INDEX) {
		return txn_get_by_index(view, key, to, e);
	}
	row = pending_get(&txn->work, key);
	if (row == NULL || row->state.how == PENDING_NONE) {
		return txn_get_stored(txn, key, to, e);
	}
	if (row->state.how == PENDING_DELETED) {
		return err_set(e, KLUIS_ENOTFOUND, "no such row");
	}
	buf_append_bytes(to, row->state.value);
	return 0;
}

static struct kv_iter *txn_iter_new(
	const struct kv_view *view, struct bytes first, struct bytes end)
{
	const struct txn *txn = txn_of(view);

	return overlay_iter_new(&txn->work, txn->base, first, end);
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
	return txn;
}

void txn_free(struct txn *txn)
{
	if (txn != NULL) {
		pending_release(&txn->work);
		batch_release(&txn->batch);
		event_list_release(&txn->events);
		buf_release(&txn->scratch);
		row_cache_free(txn->cache);
		kv_view_free(txn->base);
		free(txn->undo);
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

static void txn_events_begin(struct txn *txn)
{
	if (txn->events_stored) {
		event_list_clear(&txn->events);
		txn->events_stored = false;
	}
}

void txn_entry_begin(struct txn *txn, uint64_t index, uint64_t term)
{
	txn_events_begin(txn);
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
	txn_events_begin(txn);
	txn->ordinal = ordinal;
	txn->in_entry = true;
}

void txn_command_begin(struct txn *txn)
{
	assert(txn->in_entry && !txn->in_command);
	txn->command++;
	txn->n_undo = 0;
	memset(txn->changed, 0, sizeof txn->changed);
	txn->in_command = true;
}

void txn_command_abort(struct txn *txn)
{
	assert(txn->in_command);
	for (size_t i = 0; i < txn->n_undo; i++) {
		txn->undo[i].row->state = txn->undo[i].state;
	}
	txn->in_command = false;
}

/* The row for the command to change. */
static struct pending_row *txn_touch(struct txn *txn, struct bytes key)
{
	struct pending_row *row;

	assert(txn->in_command && row_key_is_row(key));
	row = pending_add(&txn->work, key);
	if (row->command != txn->command) {
		row->command = txn->command;
		if (txn->n_undo == txn->undo_cap) {
			txn->undo_cap = txn->undo_cap == 0 ? 64 : 2 * txn->undo_cap;
			txn->undo = x_realloc(txn->undo, txn->undo_cap * sizeof *txn->undo);
		}
		txn->undo[txn->n_undo++] = (struct txn_undo){row, row->state};
	}
	return row;
}

static void txn_set(struct txn *txn, struct bytes key, enum pending_how how, struct bytes value,
	const uint8_t *hash)
{
	struct pending_state *state = &txn_touch(txn, key)->state;

	state->how = how;
	state->value = value;
	state->hash = hash;
}

void txn_put(struct txn *txn, struct bytes key, struct bytes value)
{
	txn_set(txn, key, PENDING_PUT, arena_copy(&txn->work.arena, value), NULL);
}

void txn_put_borrowed(struct txn *txn, struct bytes key, struct bytes value, const uint8_t hash[32])
{
	txn_set(txn, key, PENDING_PUT, value,
		arena_copy(&txn->work.arena, bytes_of(hash, 32)).data);
}

void txn_delete(struct txn *txn, struct bytes key)
{
	txn_set(txn, key, PENDING_DELETED, bytes_of(NULL, 0), NULL);
}

int txn_forget(struct txn *txn, const struct modification *at, struct bytes key, struct err *e)
{
	struct pending_row *row = txn_touch(txn, key);
	const struct index_row *index;
	int rc = txn_know(txn, row, e);

	if (rc != 0) {
		return rc;
	}
	index = pending_index(row);
	if (index == NULL || !index->deleted || modification_compare(&index->at, at) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "a tombstone is not that of its row");
	}
	row->state.forgotten = true;
	return 0;
}

/* The row as the command leaves it. */
static struct index_row txn_row_now(struct txn *txn, struct pending_row *row)
{
	struct pending_state *state = &row->state;
	struct index_row now = {.key = row->key, .deleted = state->how == PENDING_DELETED};
	uint8_t *hash;

	if (now.deleted) {
		return now;
	}
	if (state->hash == NULL) {
		hash = arena_alloc(&txn->work.arena, HASH_BYTES);
		hash_sha256(state->value, hash);
		state->hash = hash;
	}
	memcpy(now.hash, state->hash, sizeof now.hash);
	return now;
}

static bool txn_row_same(const struct index_row *old, const struct index_row *now)
{
	if (old == NULL) {
		return now->deleted;
	}
	return old->deleted == now->deleted &&
	       (now->deleted || memcmp(old->hash, now->hash, sizeof now->hash) == 0);
}

bool txn_changed(const struct txn *txn, enum key_family family)
{
	assert(!txn->in_command && (unsigned)family < KEY_DERIVED_FIRST);
	return txn->changed[family];
}

static void txn_index(struct txn *txn, struct pending_row *row, const struct index_row *now)
{
	const struct bytes none = bytes_of(NULL, 0);
	struct event event;

	row->index = *now;
	row->index.at = (struct modification){txn->position.index, txn->ordinal++};
	assert(txn->ordinal != 0);
	pending_indexed(&txn->work, row);
	txn->changed[row->key.data[0]] = true;
	if (event_of_row(row->key, now->deleted ? none : row->state.value, &event)) {
		event.index = txn->position.index;
		event_list_put(&txn->events, &event);
	}
}

const struct event_list *txn_events(const struct txn *txn)
{
	return &txn->events;
}

/* Moves the row's modification here, or finds that it has not changed. */
static int txn_row_commit(
	struct txn *txn, struct pending_row *row, struct buf *changes, struct err *e)
{
	struct index_row now;
	int rc;

	if (row->state.how == PENDING_NONE) {
		return 0; /* Its tombstone was forgotten. */
	}
	rc = txn_know(txn, row, e);
	if (rc != 0) {
		return rc;
	}
	now = txn_row_now(txn, row);
	if (!txn_row_same(pending_index(row), &now)) {
		txn_index(txn, row, &now);
		buf_put_lp32(changes, now.key);
		buf_put_u8(changes, now.deleted);
		buf_append(changes, now.hash, sizeof now.hash);
	} else if (!row->indexed) {
		row->state.how = PENDING_NONE; /* The store has it so. */
	}
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

static int txn_compare_undo(const void *a, const void *b)
{
	return pending_compare(
		((const struct txn_undo *)a)->row, ((const struct txn_undo *)b)->row);
}

int txn_command_commit(struct txn *txn, struct err *e)
{
	_cleanup_(buf_release) struct buf changes = BUF_INIT;
	int rc = 0;

	assert(txn->in_command);
	if (txn->n_undo > 1) {
		qsort(txn->undo, txn->n_undo, sizeof *txn->undo, txn_compare_undo);
	}
	for (size_t i = 0; rc == 0 && i < txn->n_undo; i++) {
		rc = txn_row_commit(txn, txn->undo[i].row, &changes, e);
	}
	if (rc == 0 && changes.len > 0) {
		txn_move_hash(txn, &changes);
	}
	txn->in_command = false;
	return rc;
}

/* Nobody reads single rows of by_index. */
static void txn_cache_changes(struct txn *txn, const struct batch *batch)
{
	for (size_t i = 0; txn->cache != NULL && i < batch->n; i++) {
		const struct kv_change *c = &batch->changes[i];

		if (c->key.data[0] != KEY_BY_INDEX) {
			row_cache_change(txn->cache, c->key, c->deleted ? NULL : &c->value);
		}
	}
}

int txn_store(struct txn *txn, struct err *e)
{
	struct row_key key = row_key_begin(KEY_POSITION);
	struct batch *batch = &txn->batch;
	int rc;

	assert(!txn->in_command);
	batch_make(batch, &txn->work);
	buf_clear(&txn->scratch);
	position_encode(&txn->position, &txn->scratch);
	batch_add(batch, row_key_bytes(&key), buf_bytes(&txn->scratch), false);
	/* Held over the write, it would make the memory back end copy what it could change. */
	kv_view_free(txn->base);
	rc = kv_write(txn->kv, batch->changes, batch->n, e);
	txn->base = kv_view_new(txn->kv);
	if (rc != 0) {
		return rc;
	}
	txn_cache_changes(txn, batch);
	pending_clear(&txn->work);
	txn->events_stored = true;
	txn->in_entry = false;
	return 0;
}

#include "backup/snapshot.h"

#include <assert.h>
#include <string.h>

#include "backup/feed.h"
#include "backup/publisher.h"

/* The first packs are smaller, so that they are on their way early; an increment's all, so that
 * little is left to send when it ends. */
enum { PACK_BYTES_FIRST = 8 << 20, PACK_BYTES_INCREMENT = 32 << 20 };

/* Objects of one kind: those that are done, and the open one. */
struct snapshot_objects {
	enum object_kind kind;
	struct manifest_object *done;
	uint32_t n;
	struct repository_file *file; /* NULL: none open. */
	struct object_writer *writer;
};

struct snapshot_writer {
	struct repository *repository;
	const struct key_pub *pub;
	struct backup_manifest manifest;
	struct snapshot_objects index, packs;
	struct index_root *root;
	struct buf entry; /* Encoded, before it goes to the index object. */
	bool any;	  /* A row came: `last` is set. */
	struct modification last;
	bool pending; /* The value of this row is to follow. */
	struct index_entry row;
	struct buf row_key;
	const struct snapshot_watch *watch;
	struct publisher *publisher;
};

static const struct snapshot_watch snapshot_unwatched = {.cancel = NULL};

static void snapshot_published(void *data, const struct manifest_object *object)
{
	const struct snapshot_writer *w = data;

	if (w->watch->published != NULL) {
		w->watch->published(w->watch->data, object);
	}
}

int snapshot_writer_new(struct repository *repository, const struct snapshot_plan *plan,
	const struct key_pub *pub, struct snapshot_writer **ret_writer, struct err *e)
{
	struct snapshot_writer *w;
	struct backup_manifest *m;

	if (plan->index == 0 || plan->id > plan->index || plan->id <= plan->from) {
		return err_set(e, KLUIS_EINVAL, "a snapshot from %llu to %llu, begun at %llu",
			(unsigned long long)plan->from, (unsigned long long)plan->index,
			(unsigned long long)plan->id);
	}
	w = x_calloc(1, sizeof *w);
	w->repository = repository;
	w->pub = pub;
	w->watch = &snapshot_unwatched;
	w->index.kind = OBJECT_INDEX;
	w->packs.kind = OBJECT_PACK;
	w->root = index_root_new();
	w->publisher = publisher_new(snapshot_published, w);
	m = &w->manifest;
	m->type = plan->number != 0 ? MANIFEST_JOURNAL
		  : plan->full	    ? MANIFEST_FULL
				    : MANIFEST_INCREMENT;
	m->manual = plan->manual;
	m->cycle = plan->cycle;
	m->number = plan->number;
	m->slice = m->type != MANIFEST_INCREMENT || plan->manual ? SLICE_NONE
								 : plan->cycle % BACKUP_SLICES;
	memcpy(m->cluster_id, plan->cluster_id, ID_BYTES);
	memcpy(m->lineage, plan->lineage, ID_BYTES);
	memcpy(m->base, plan->base, HASH_BYTES);
	memcpy(m->state_hash, plan->state_hash, HASH_BYTES);
	memcpy(m->kid, key_pub_kid(pub), KID_BYTES);
	m->id = plan->id;
	m->from = plan->from;
	m->index = plan->index;
	m->term = plan->term;
	m->cluster_time_ms = plan->cluster_time_ms;
	m->wall_ms = plan->wall_ms;
	m->node = plan->node;
	*ret_writer = w;
	return 0;
}

static int snapshot_object_open(
	struct snapshot_writer *w, struct snapshot_objects *objects, struct err *e)
{
	struct object_place place = {
		.kind = objects->kind, .index = w->manifest.index, .number = objects->n};
	int rc;

	if (w->index.n + w->packs.n + 2 > BACKUP_OBJECTS_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d objects", BACKUP_OBJECTS_MAX);
	}
	memcpy(place.cluster_id, w->manifest.cluster_id, ID_BYTES);
	memcpy(place.lineage, w->manifest.lineage, ID_BYTES);
	rc = repository_file_new(w->repository, &objects->file, e);
	if (rc == 0) {
		rc = object_writer_new(
			repository_file_fd(objects->file), &place, w->pub, &objects->writer, e);
	}
	return rc;
}

static void snapshot_object_drop(struct snapshot_objects *objects)
{
	object_writer_free(objects->writer);
	objects->writer = NULL;
	repository_file_discard(objects->file);
	objects->file = NULL;
}

static int snapshot_object_close(
	struct snapshot_writer *w, struct snapshot_objects *objects, struct err *e)
{
	struct manifest_object *row;
	int rc;

	objects->done = x_realloc(objects->done, (objects->n + 1) * sizeof *objects->done);
	row = &objects->done[objects->n];
	rc = object_writer_finish(objects->writer, row->hash, &row->bytes, e);
	if (rc == 0) {
		struct repository_file *file = objects->file;

		objects->file = NULL; /* Taken, whatever happens. */
		rc = publisher_add(w->publisher, file, row, e);
	}
	objects->n += rc == 0;
	snapshot_object_drop(objects);
	return rc;
}

static uint64_t snapshot_object_limit(
	const struct snapshot_writer *w, const struct snapshot_objects *objects)
{
	uint64_t limit = w->manifest.type == MANIFEST_FULL ? BACKUP_PLAINTEXT_BYTES_MAX
							   : PACK_BYTES_INCREMENT;

	if (objects->kind == OBJECT_PACK && objects->n < 8 &&
		(uint64_t)PACK_BYTES_FIRST << objects->n < limit) {
		return (uint64_t)PACK_BYTES_FIRST << objects->n;
	}
	return objects->kind == OBJECT_PACK ? limit : BACKUP_PLAINTEXT_BYTES_MAX;
}

/* Makes sure that an object is open with room for this many bytes; *ret_fresh: a new one. */
static int snapshot_object_room(struct snapshot_writer *w, struct snapshot_objects *objects,
	size_t bytes, bool *ret_fresh, struct err *e)
{
	int rc = 0;

	*ret_fresh = false;
	if (objects->writer != NULL &&
		object_writer_bytes(objects->writer) + bytes > snapshot_object_limit(w, objects)) {
		rc = snapshot_object_close(w, objects, e);
	}
	if (rc == 0 && objects->writer == NULL) {
		rc = snapshot_object_open(w, objects, e);
		*ret_fresh = true;
	}
	return rc;
}

static int snapshot_index_add(
	struct snapshot_writer *w, const struct index_entry *entry, struct err *e)
{
	bool fresh = false;
	int rc;

	buf_clear(&w->entry);
	if (entry != NULL) {
		index_entry_put(&w->entry, entry);
	}
	rc = snapshot_object_room(w, &w->index, w->entry.len, &fresh, e);
	if (rc == 0 && fresh) {
		_cleanup_(buf_release) struct buf header = BUF_INIT;

		index_header_put(&header);
		rc = object_writer_append(w->index.writer, buf_bytes(&header), e);
	}
	return rc != 0 ? rc : object_writer_append(w->index.writer, buf_bytes(&w->entry), e);
}

int snapshot_writer_row(
	struct snapshot_writer *w, const struct index_row *row, bool *ret_value, struct err *e)
{
	struct index_entry entry = {.tombstone = row->deleted,
		.index = row->at.index,
		.ordinal = row->at.ordinal,
		.key = row->key};

	assert(!w->pending);
	if ((w->any && modification_compare(&w->last, &row->at) >= 0) ||
		row->at.index > w->manifest.index || row->key.len == 0 ||
		row->key.len > BACKUP_KEY_BYTES_MAX) {
		return err_set(e, KLUIS_ECORRUPT, "by_index is out of order at %llu.%u",
			(unsigned long long)row->at.index, row->at.ordinal);
	}
	w->any = true;
	w->last = row->at;
	*ret_value = false;
	if (row->deleted) {
		bool wanted = w->manifest.type != MANIFEST_FULL && row->at.index > w->manifest.from;

		w->manifest.tombstones += wanted;
		return wanted ? snapshot_index_add(w, &entry, e) : 0;
	}
	index_root_add(w->root, row);
	if (index_wanted(&w->manifest, row->at.index, row->key)) {
		memcpy(entry.value_hash, row->hash, HASH_BYTES);
		buf_clear(&w->row_key);
		buf_append_bytes(&w->row_key, row->key);
		entry.key = buf_bytes(&w->row_key);
		w->row = entry;
		w->pending = *ret_value = true;
	}
	return 0;
}

int snapshot_writer_value(struct snapshot_writer *w, struct bytes value, struct err *e)
{
	uint8_t hash[HASH_BYTES];
	bool fresh = false;
	int rc;

	assert(w->pending);
	w->pending = false;
	hash_sha256(value, hash);
	if (value.len > BACKUP_VALUE_BYTES_MAX ||
		memcmp(hash, w->row.value_hash, HASH_BYTES) != 0) {
		return err_set(e, KLUIS_ECORRUPT,
			"the row changed at %llu.%u is not what was written",
			(unsigned long long)w->row.index, w->row.ordinal);
	}
	rc = snapshot_object_room(w, &w->packs, value.len, &fresh, e);
	if (rc != 0) {
		return rc;
	}
	w->row.pack = w->packs.n;
	w->row.offset = (uint32_t)object_writer_bytes(w->packs.writer);
	w->row.length = (uint32_t)value.len;
	rc = object_writer_append(w->packs.writer, value, e);
	if (rc == 0) {
		rc = snapshot_index_add(w, &w->row, e);
	}
	w->manifest.live++;
	w->manifest.value_bytes += value.len;
	return rc;
}

static int snapshot_close_all(struct snapshot_writer *w, struct err *e)
{
	int rc = w->packs.writer == NULL ? 0 : snapshot_object_close(w, &w->packs, e);

	if (rc == 0 && w->index.writer == NULL) {
		rc = snapshot_index_add(w, NULL, e); /* Nothing changed: still one, empty, index. */
	}
	rc = rc != 0 ? rc : snapshot_object_close(w, &w->index, e);
	return rc != 0 ? rc : publisher_finish(w->publisher, e);
}

static void snapshot_list_objects(struct snapshot_writer *w)
{
	struct backup_manifest *m = &w->manifest;

	m->n_index = w->index.n;
	m->n_packs = w->packs.n;
	m->objects = x_calloc(m->n_index + m->n_packs, sizeof *m->objects);
	memcpy(m->objects, w->index.done, m->n_index * sizeof *m->objects);
	if (m->n_packs > 0) {
		memcpy(m->objects + m->n_index, w->packs.done, m->n_packs * sizeof *m->objects);
	}
}

int snapshot_writer_finish(struct snapshot_writer *w, const struct key *signer,
	struct snapshot_result *ret_result, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	uint8_t hash[HASH_BYTES];
	int rc;

	assert(!w->pending && w->root != NULL);
	rc = snapshot_close_all(w, e);
	if (rc != 0) {
		return rc;
	}
	snapshot_list_objects(w);
	index_root_end(w->root, w->manifest.state_root);
	w->root = NULL;
	if (w->manifest.type == MANIFEST_JOURNAL) {
		memset(w->manifest.state_root, 0, HASH_BYTES); /* It saw only some of the rows. */
	}
	rc = backup_manifest_encode(&w->manifest, signer, &bytes, hash, e);
	if (rc == 0) {
		rc = repository_put_manifest(w->repository, buf_bytes(&bytes), e);
	}
	if (rc == 0) {
		memcpy(ret_result->manifest_hash, hash, HASH_BYTES);
		ret_result->manifest = &w->manifest;
	}
	return rc;
}

void snapshot_writer_free(struct snapshot_writer *w)
{
	if (w == NULL) {
		return;
	}
	publisher_free(w->publisher);
	snapshot_object_drop(&w->index);
	snapshot_object_drop(&w->packs);
	free(w->index.done);
	free(w->packs.done);
	backup_manifest_release(&w->manifest);
	if (w->root != NULL) {
		uint8_t unused[HASH_BYTES];

		index_root_end(w->root, unused);
	}
	buf_release(&w->entry);
	buf_release(&w->row_key);
	free(w);
}

/* What the feed's thread reads. */
struct snapshot_rows {
	const struct backup_manifest *manifest; /* Its rules: what is counted is not looked at. */
	const struct kv_view *view;
	struct index_iter *iter;
};

static int snapshot_next(
	void *data, struct index_row *ret_row, struct buf *value, bool *ret_more, struct err *e)
{
	struct snapshot_rows *rows = data;

	*ret_more = index_iter_next(rows->iter, ret_row);
	if (!*ret_more) {
		return index_iter_status(rows->iter, e);
	}
	if (ret_row->deleted || !index_wanted(rows->manifest, ret_row->at.index, ret_row->key)) {
		return 0;
	}
	return kv_get(rows->view, ret_row->key, value, e);
}

static int snapshot_take_batch(
	struct snapshot_writer *w, const struct feed_batch *batch, struct err *e)
{
	const atomic_bool *cancel = w->watch->cancel;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < batch->n; i++) {
		bool wanted = false;

		rc = snapshot_writer_row(w, &batch->rows[i].row, &wanted, e);
		if (rc == 0 && wanted) {
			rc = pace_wait(w->watch->pace, batch->rows[i].value.len, cancel,
				w->watch->moved, e);
			rc = rc != 0 ? rc : snapshot_writer_value(w, batch->rows[i].value, e);
		}
		if (rc == 0 && cancel != NULL && atomic_load(cancel)) {
			rc = err_set(e, KLUIS_ECLOSED, "stopped");
		}
	}
	if (w->watch->moved != NULL) {
		(void)atomic_fetch_add(w->watch->moved, batch->n);
	}
	return rc;
}

static int snapshot_take_rows(struct snapshot_writer *w, const struct kv_view *view, struct err *e)
{
	bool journal = w->manifest.type == MANIFEST_JOURNAL;
	struct snapshot_rows rows = {&w->manifest, view,
		index_iter_new(view, journal ? w->manifest.from : 0, UINT64_MAX)};
	const struct feed_source source = {snapshot_next, &rows};
	struct feed *feed = feed_new(&source);
	const struct feed_batch *batch = NULL;
	int rc;

	do {
		rc = feed_next(feed, &batch, e);
		if (rc == 0 && batch != NULL) {
			rc = snapshot_take_batch(w, batch, e);
		}
	} while (rc == 0 && batch != NULL);
	feed_free(feed);
	index_iter_free(rows.iter);
	return rc;
}

int snapshot_take(struct repository *repository, const struct snapshot_plan *plan,
	const struct kv_view *view, const struct key_pub *pub, const struct key *signer,
	const struct snapshot_watch *watch, struct backup_manifest *ret_manifest,
	uint8_t ret_hash[HASH_BYTES], struct err *e)
{
	struct snapshot_writer *w = NULL;
	struct snapshot_result result;
	int rc = snapshot_writer_new(repository, plan, pub, &w, e);

	if (rc == 0) {
		w->watch = watch == NULL ? w->watch : watch;
		rc = snapshot_take_rows(w, view, e);
	}
	if (rc == 0) {
		rc = snapshot_writer_finish(w, signer, &result, e);
	}
	if (rc == 0) {
		*ret_manifest = w->manifest;
		w->manifest.objects = NULL; /* Moved. */
		memcpy(ret_hash, result.manifest_hash, HASH_BYTES);
	}
	snapshot_writer_free(w);
	return rc == 0 ? 0
		       : err_wrap(e, rc, "snapshot of index %llu", (unsigned long long)plan->index);
}

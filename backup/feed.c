#include "backup/feed.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
	FEED_BATCHES = 3, /* One that is made, one that waits, one that is worked on. */
	FEED_BATCH_ROWS = 1024,
	FEED_BATCH_BYTES = 2 << 20, /* Until then another row is added. */
};

struct feed {
	struct feed_source source;
	pthread_t thread;
	atomic_bool stopping;
	pthread_mutex_t lock; /* Over what follows; a batch belongs to one side at a time. */
	pthread_cond_t changed;
	uint64_t made, given, back; /* Batches so far. */
	bool ended;
	struct err err; /* Why it ended, if it failed. */
	struct feed_batch batches[FEED_BATCHES];
};

static int feed_fill_row(struct feed *feed, struct feed_batch *batch, bool *ret_more, struct err *e)
{
	struct import_row *row = &batch->rows[batch->n];
	size_t before = batch->bytes.len;
	int rc = feed->source.next(feed->source.data, &row->row, &batch->bytes, ret_more, e);

	if (rc != 0 || !*ret_more) {
		batch->bytes.len = before;
		return rc;
	}
	row->value.len = batch->bytes.len - before;
	buf_append_bytes(&batch->bytes, row->row.key);
	batch->n++;
	return 0;
}

/* The bytes stay where they are from now on. */
static void feed_point(struct feed_batch *batch)
{
	const uint8_t *at = batch->bytes.data;

	for (size_t i = 0; i < batch->n; i++) {
		struct import_row *row = &batch->rows[i];

		row->value.data = at;
		row->row.key.data = at + row->value.len;
		at = row->row.key.data + row->row.key.len;
	}
	assert(batch->n == 0 || at == batch->bytes.data + batch->bytes.len);
}

static int feed_fill(struct feed *feed, struct feed_batch *batch, bool *ret_more, struct err *e)
{
	int rc = 0;

	batch->n = 0;
	buf_clear(&batch->bytes);
	while (rc == 0 && *ret_more && batch->n < FEED_BATCH_ROWS &&
		batch->bytes.len < FEED_BATCH_BYTES) {
		rc = atomic_load(&feed->stopping) ? err_set(e, KLUIS_ECLOSED, "stopped")
						  : feed_fill_row(feed, batch, ret_more, e);
	}
	feed_point(batch);
	return rc;
}

/* NULL: stop. */
static struct feed_batch *feed_room(struct feed *feed)
{
	struct feed_batch *batch;

	(void)pthread_mutex_lock(&feed->lock); /* Fails only for a broken mutex. */
	while (feed->made - feed->back == FEED_BATCHES && !atomic_load(&feed->stopping)) {
		(void)pthread_cond_wait(&feed->changed, &feed->lock);
	}
	batch = atomic_load(&feed->stopping) ? NULL : &feed->batches[feed->made % FEED_BATCHES];
	(void)pthread_mutex_unlock(&feed->lock);
	return batch;
}

static void *feed_thread(void *data)
{
	struct feed *feed = data;
	struct feed_batch *batch;
	struct err e = {0};
	bool more = true;
	int rc = 0;

	(void)pthread_setname_np(pthread_self(), "feed"); /* Only for people. */
	while (rc == 0 && more && (batch = feed_room(feed)) != NULL) {
		rc = feed_fill(feed, batch, &more, &e);
		(void)pthread_mutex_lock(&feed->lock);
		feed->made += batch->n > 0;
		feed->ended = rc != 0 || !more;
		feed->err = e;
		feed->err.code = rc;
		(void)pthread_cond_broadcast(&feed->changed);
		(void)pthread_mutex_unlock(&feed->lock);
	}
	return NULL;
}

struct feed *feed_new(const struct feed_source *source)
{
	struct feed *feed = x_calloc(1, sizeof *feed);
	int rv;

	feed->source = *source;
	(void)pthread_mutex_init(&feed->lock, NULL); /* Cannot fail with default attributes. */
	(void)pthread_cond_init(&feed->changed, NULL);
	for (unsigned i = 0; i < FEED_BATCHES; i++) {
		feed->batches[i].rows = x_calloc(FEED_BATCH_ROWS, sizeof(struct import_row));
	}
	rv = pthread_create(&feed->thread, NULL, feed_thread, feed);
	assert(rv == 0);
	return feed;
}

int feed_next(struct feed *feed, const struct feed_batch **ret_batch, struct err *e)
{
	int rc = 0;

	(void)pthread_mutex_lock(&feed->lock);
	if (feed->given > feed->back) {
		feed->back++;
		(void)pthread_cond_broadcast(&feed->changed);
	}
	while (feed->given == feed->made && !feed->ended) {
		(void)pthread_cond_wait(&feed->changed, &feed->lock);
	}
	if (feed->given < feed->made) {
		*ret_batch = &feed->batches[feed->given++ % FEED_BATCHES];
	} else if (feed->err.code != 0) {
		rc = err_set(e, feed->err.code, "%s", feed->err.text);
	} else {
		*ret_batch = NULL;
	}
	(void)pthread_mutex_unlock(&feed->lock);
	return rc;
}

void feed_free(struct feed *feed)
{
	if (feed == NULL) {
		return;
	}
	atomic_store(&feed->stopping, true);
	(void)pthread_mutex_lock(&feed->lock);
	(void)pthread_cond_broadcast(&feed->changed);
	(void)pthread_mutex_unlock(&feed->lock);
	(void)pthread_join(feed->thread, NULL);
	for (unsigned i = 0; i < FEED_BATCHES; i++) {
		buf_release(&feed->batches[i].bytes);
		free(feed->batches[i].rows);
	}
	(void)pthread_cond_destroy(&feed->changed);
	(void)pthread_mutex_destroy(&feed->lock);
	free(feed);
}

#include "cli/client/download.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

/* A group of pages: wanted, then fetched, then taken one by one. */
struct download_slot {
	bool ready;
	int rc;
	struct err err;
	struct buf body;
	struct bytes pages[DOWNLOAD_GROUP];
};

struct download {
	struct client *client;
	uint8_t vault_id[ID_BYTES];
	const uint64_t *page_nos;
	size_t n, n_groups;
	size_t taken; /* Pages handed out; only the taking thread. */
	pthread_t threads[DOWNLOAD_THREADS];
	size_t n_threads;
	pthread_mutex_t lock; /* Guards what follows. */
	pthread_cond_t changed;
	struct download_slot slots[DOWNLOAD_AHEAD]; /* Group g lies in slot g % AHEAD. */
	size_t next_group;			    /* Nobody fetches it yet. */
	size_t done_group;			    /* Groups before it were handed out. */
	bool stop;
};

static size_t group_pages(const struct download *d, size_t group)
{
	size_t left = d->n - group * DOWNLOAD_GROUP;

	return left < DOWNLOAD_GROUP ? left : DOWNLOAD_GROUP;
}

static void *download_thread(void *arg)
{
	struct download *d = arg;

	(void)pthread_mutex_lock(&d->lock);
	for (;;) {
		struct download_slot *slot;
		size_t group;

		while (!d->stop && d->next_group < d->n_groups &&
			d->next_group >= d->done_group + DOWNLOAD_AHEAD) {
			(void)pthread_cond_wait(&d->changed, &d->lock);
		}
		if (d->stop || d->next_group >= d->n_groups) {
			break;
		}
		group = d->next_group++;
		slot = &d->slots[group % DOWNLOAD_AHEAD];
		assert(!slot->ready);
		(void)pthread_mutex_unlock(&d->lock);
		slot->err = (struct err){0};
		slot->rc = api_pages(d->client, d->vault_id, d->page_nos + group * DOWNLOAD_GROUP,
			group_pages(d, group), &slot->body, slot->pages, &slot->err);
		(void)pthread_mutex_lock(&d->lock);
		slot->ready = true;
		(void)pthread_cond_broadcast(&d->changed);
	}
	(void)pthread_mutex_unlock(&d->lock);
	return NULL;
}

struct download *download_new(const struct vault *vault, const uint64_t *page_nos, size_t n)
{
	struct download *d = x_calloc(1, sizeof *d);

	d->client = vault->client;
	memcpy(d->vault_id, vault->id, ID_BYTES);
	d->page_nos = page_nos;
	d->n = n;
	d->n_groups = (n + DOWNLOAD_GROUP - 1) / DOWNLOAD_GROUP;
	(void)pthread_mutex_init(&d->lock, NULL); /* None fails with default attributes. */
	(void)pthread_cond_init(&d->changed, NULL);
	while (d->n_threads < DOWNLOAD_THREADS && d->n_threads < d->n_groups) {
		int rc = pthread_create(&d->threads[d->n_threads], NULL, download_thread, d);

		assert(rc == 0); /* As a lack of memory. */
		(void)rc;
		d->n_threads++;
	}
	return d;
}

int download_next(struct download *d, struct bytes *ret_page, struct err *e)
{
	size_t group = d->taken / DOWNLOAD_GROUP;
	struct download_slot *slot = &d->slots[group % DOWNLOAD_AHEAD];
	int rc;

	assert(d->taken < d->n);
	(void)pthread_mutex_lock(&d->lock);
	if (group > d->done_group) { /* The group before was read to its end. */
		d->slots[d->done_group % DOWNLOAD_AHEAD].ready = false;
		d->done_group = group;
		(void)pthread_cond_broadcast(&d->changed);
	}
	while (!slot->ready) {
		(void)pthread_cond_wait(&d->changed, &d->lock);
	}
	rc = slot->rc;
	if (rc != 0) {
		*e = slot->err;
	} else {
		*ret_page = slot->pages[d->taken % DOWNLOAD_GROUP];
		d->taken++;
	}
	(void)pthread_mutex_unlock(&d->lock);
	return rc;
}

void download_free(struct download *d)
{
	if (d == NULL) {
		return;
	}
	(void)pthread_mutex_lock(&d->lock);
	d->stop = true;
	(void)pthread_cond_broadcast(&d->changed);
	(void)pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; i < d->n_threads; i++) {
		(void)pthread_join(d->threads[i], NULL);
	}
	for (size_t i = 0; i < DOWNLOAD_AHEAD; i++) {
		buf_release(&d->slots[i].body);
	}
	(void)pthread_mutex_destroy(&d->lock);
	(void)pthread_cond_destroy(&d->changed);
	free(d);
}

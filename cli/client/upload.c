#include "cli/client/upload.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

struct upload_job {
	struct buf page;
	uint8_t sha256[HASH_BYTES];
};

struct upload {
	struct client *client;
	uint8_t vault_id[ID_BYTES];
	bool ask;
	pthread_t threads[UPLOAD_THREADS];
	pthread_mutex_t lock; /* Guards what follows. */
	pthread_cond_t work, room;
	struct upload_job queue[UPLOAD_QUEUE_MAX]; /* A ring. */
	size_t first, n;
	size_t running;
	uint64_t found;
	bool stop;
	int rc; /* The first failure. */
	struct err err;
};

static int upload_one(struct upload *u, const struct upload_job *job, struct err *e)
{
	bool there = false;
	int rc = 0;

	if (u->ask) {
		rc = api_staged_there(u->client, u->vault_id, job->sha256, &there, e);
	}
	if (rc == 0 && !there) {
		rc = api_staged_put(u->client, u->vault_id, job->sha256, buf_bytes(&job->page), e);
	}
	if (there) {
		(void)pthread_mutex_lock(&u->lock);
		u->found++;
		(void)pthread_mutex_unlock(&u->lock);
	}
	return rc;
}

/* With the lock held; false: stop. */
static bool upload_take(struct upload *u, struct upload_job *job)
{
	while (u->n == 0 && !u->stop) {
		(void)pthread_cond_wait(&u->work, &u->lock);
	}
	if (u->stop) {
		return false;
	}
	*job = u->queue[u->first];
	u->queue[u->first] = (struct upload_job){.page = BUF_INIT};
	u->first = (u->first + 1) % UPLOAD_QUEUE_MAX;
	u->n--;
	u->running++;
	return true;
}

static void *upload_thread(void *arg)
{
	struct upload *u = arg;
	struct upload_job job;

	(void)pthread_mutex_lock(&u->lock);
	while (upload_take(u, &job)) {
		bool skip = u->rc != 0; /* Its commit will not happen. */
		struct err e = {0};
		int rc;

		(void)pthread_mutex_unlock(&u->lock);
		rc = skip ? 0 : upload_one(u, &job, &e);
		buf_release(&job.page);
		(void)pthread_mutex_lock(&u->lock);
		if (rc != 0 && u->rc == 0) {
			u->rc = rc;
			u->err = e;
		}
		assert(u->running > 0);
		u->running--;
		(void)pthread_cond_broadcast(&u->room);
	}
	(void)pthread_mutex_unlock(&u->lock);
	return NULL;
}

struct upload *upload_new(const struct vault *vault, bool ask)
{
	struct upload *u = x_calloc(1, sizeof *u);

	u->client = vault->client;
	memcpy(u->vault_id, vault->id, ID_BYTES);
	u->ask = ask;
	(void)pthread_mutex_init(&u->lock, NULL); /* None fails with default attributes. */
	(void)pthread_cond_init(&u->work, NULL);
	(void)pthread_cond_init(&u->room, NULL);
	for (size_t i = 0; i < UPLOAD_THREADS; i++) {
		int rc = pthread_create(&u->threads[i], NULL, upload_thread, u);

		assert(rc == 0); /* As a lack of memory. */
		(void)rc;
	}
	return u;
}

int upload_put(struct upload *u, struct buf *page, const uint8_t sha256[HASH_BYTES], struct err *e)
{
	int rc;

	(void)pthread_mutex_lock(&u->lock);
	while (u->n == UPLOAD_QUEUE_MAX && u->rc == 0) {
		(void)pthread_cond_wait(&u->room, &u->lock);
	}
	rc = u->rc;
	if (rc == 0) {
		struct upload_job *job = &u->queue[(u->first + u->n) % UPLOAD_QUEUE_MAX];

		job->page = *page;
		memcpy(job->sha256, sha256, HASH_BYTES);
		*page = BUF_INIT;
		u->n++;
		(void)pthread_cond_signal(&u->work);
	} else {
		*e = u->err;
		buf_release(page);
	}
	(void)pthread_mutex_unlock(&u->lock);
	return rc;
}

int upload_wait(struct upload *u, struct err *e)
{
	int rc;

	(void)pthread_mutex_lock(&u->lock);
	while (u->n > 0 || u->running > 0) {
		(void)pthread_cond_wait(&u->room, &u->lock);
	}
	rc = u->rc;
	if (rc != 0) {
		*e = u->err;
	}
	(void)pthread_mutex_unlock(&u->lock);
	return rc;
}

uint64_t upload_found(struct upload *u)
{
	uint64_t found;

	(void)pthread_mutex_lock(&u->lock);
	found = u->found;
	(void)pthread_mutex_unlock(&u->lock);
	return found;
}

void upload_free(struct upload *u)
{
	if (u == NULL) {
		return;
	}
	(void)pthread_mutex_lock(&u->lock);
	u->stop = true;
	(void)pthread_cond_broadcast(&u->work);
	(void)pthread_mutex_unlock(&u->lock);
	for (size_t i = 0; i < UPLOAD_THREADS; i++) {
		(void)pthread_join(u->threads[i], NULL);
	}
	for (size_t i = 0; i < UPLOAD_QUEUE_MAX; i++) {
		buf_release(&u->queue[i].page);
	}
	(void)pthread_mutex_destroy(&u->lock);
	(void)pthread_cond_destroy(&u->work);
	(void)pthread_cond_destroy(&u->room);
	free(u);
}

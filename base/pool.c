#include "base/pool.h"

#include <assert.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/err.h"

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct pool_work *head, **tail;
	size_t waiting, queue_max;
	bool stopping, background;
	char name[16];
	unsigned n_threads;
	pthread_t threads[];
};

static void pool_mail_cb(struct mail *mail)
{
	struct pool_work *work = CONTAINER_OF(mail, struct pool_work, mail);

	work->done_cb(work, work->rc);
}

/* NULL: stop. */
static struct pool_work *pool_next(struct pool *pool)
{
	struct pool_work *work;

	(void)pthread_mutex_lock(&pool->lock);
	while (pool->head == NULL && !pool->stopping) {
		(void)pthread_cond_wait(&pool->more, &pool->lock);
	}
	work = pool->head;
	if (work != NULL) {
		pool->head = work->next;
		if (pool->head == NULL) {
			pool->tail = &pool->head;
		}
		assert(pool->waiting > 0);
		pool->waiting--;
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return work;
}

static void *pool_thread(void *arg)
{
	struct pool *pool = arg;
	struct pool_work *work;

	(void)pthread_setname_np(pthread_self(), pool->name); /* Only for people. */
	if (pool->background) {
		/* Of this thread alone (Linux). Refused, the work is only less polite. */
		(void)setpriority(
			PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + POOL_BACKGROUND_NICE);
	}
	while ((work = pool_next(pool)) != NULL) {
		work->rc = work->work(work);
		mailbox_send(work->home, &work->mail);
	}
	return NULL;
}

static struct pool *pool_start(
	const char *name, unsigned threads, size_t queue_max, bool background)
{
	struct pool *pool = x_calloc(1, sizeof *pool + threads * sizeof pool->threads[0]);

	assert(threads > 0);
	pool->tail = &pool->head;
	pool->queue_max = queue_max;
	pool->background = background;
	(void)snprintf(pool->name, sizeof pool->name, "%s", name);
	(void)pthread_mutex_init(&pool->lock, NULL);
	(void)pthread_cond_init(&pool->more, NULL);
	for (; pool->n_threads < threads; pool->n_threads++) {
		int rv = pthread_create(&pool->threads[pool->n_threads], NULL, pool_thread, pool);

		assert(rv == 0);
	}
	return pool;
}

struct pool *pool_new(const char *name, unsigned threads, size_t queue_max)
{
	return pool_start(name, threads, queue_max, false);
}

struct pool *pool_new_background(const char *name, unsigned threads, size_t queue_max)
{
	return pool_start(name, threads, queue_max, true);
}

void pool_free(struct pool *pool)
{
	if (pool == NULL) {
		return;
	}
	(void)pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	(void)pthread_cond_broadcast(&pool->more);
	(void)pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++) {
		(void)pthread_join(pool->threads[i], NULL);
	}
	assert(pool->head == NULL);
	(void)pthread_mutex_destroy(&pool->lock);
	(void)pthread_cond_destroy(&pool->more);
	free(pool);
}

int pool_submit(struct pool *pool, struct pool_work *work, struct mailbox *home,
	int (*fn)(struct pool_work *work), void (*done_cb)(struct pool_work *work, int rc))
{
	int rc = 0;

	work->next = NULL;
	work->home = home;
	work->work = fn;
	work->done_cb = done_cb;
	work->mail.deliver_cb = pool_mail_cb;
	(void)pthread_mutex_lock(&pool->lock);
	assert(!pool->stopping);
	if (pool->waiting >= pool->queue_max) {
		rc = KLUIS_EBUSY;
	} else {
		*pool->tail = work;
		pool->tail = &work->next;
		pool->waiting++;
		(void)pthread_cond_signal(&pool->more);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return rc;
}

size_t pool_waiting(struct pool *pool)
{
	size_t waiting;

	(void)pthread_mutex_lock(&pool->lock);
	waiting = pool->waiting;
	(void)pthread_mutex_unlock(&pool->lock);
	return waiting;
}

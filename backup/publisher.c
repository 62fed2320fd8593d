#include "backup/publisher.h"

#include <assert.h>
#include <pthread.h>

enum { PUBLISHER_WAITING_MAX = 2 };

struct publisher {
	void (*published)(void *data, const struct manifest_object *object);
	void *data;
	pthread_t thread;
	pthread_mutex_t lock; /* Over what follows. */
	pthread_cond_t changed;
	struct {
		struct repository_file *file;
		struct manifest_object object;
	} waiting[PUBLISHER_WAITING_MAX];
	unsigned n;
	bool busy, stopping;
	struct err err; /* The first failure; nothing is published after it. */
};

static void publisher_publish(
	struct publisher *p, struct repository_file *file, const struct manifest_object *object)
{
	struct err e = {0};
	int rc = repository_publish_object(file, object->hash, &e);

	if (rc == 0 && p->published != NULL) {
		p->published(p->data, object);
	}
	(void)pthread_mutex_lock(&p->lock); /* Fails only for a broken mutex. */
	if (rc != 0) {
		p->err = e;
		p->err.code = rc;
	}
	p->busy = false;
	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->lock);
}

/* false: stop. */
static bool publisher_next(
	struct publisher *p, struct repository_file **ret_file, struct manifest_object *ret_object)
{
	bool any;

	(void)pthread_mutex_lock(&p->lock);
	while (!p->stopping && (p->n == 0 || p->err.code != 0)) {
		(void)pthread_cond_wait(&p->changed, &p->lock);
	}
	any = !p->stopping;
	if (any) {
		*ret_file = p->waiting[0].file;
		*ret_object = p->waiting[0].object;
		p->n--;
		for (unsigned i = 0; i < p->n; i++) {
			p->waiting[i] = p->waiting[i + 1];
		}
		p->busy = true;
		(void)pthread_cond_broadcast(&p->changed);
	}
	(void)pthread_mutex_unlock(&p->lock);
	return any;
}

static void *publisher_thread(void *data)
{
	struct publisher *p = data;
	struct repository_file *file = NULL;
	struct manifest_object object;

	(void)pthread_setname_np(pthread_self(), "publish"); /* Only for people. */
	while (publisher_next(p, &file, &object)) {
		publisher_publish(p, file, &object);
	}
	return NULL;
}

struct publisher *publisher_new(
	void (*published)(void *data, const struct manifest_object *object), void *data)
{
	struct publisher *p = x_calloc(1, sizeof *p);
	int rv;

	p->published = published;
	p->data = data;
	(void)pthread_mutex_init(&p->lock, NULL); /* Cannot fail with default attributes. */
	(void)pthread_cond_init(&p->changed, NULL);
	rv = pthread_create(&p->thread, NULL, publisher_thread, p);
	assert(rv == 0);
	return p;
}

static int publisher_failure(const struct publisher *p, struct err *e)
{
	return p->err.code == 0 ? 0 : err_set(e, p->err.code, "%s", p->err.text);
}

int publisher_add(struct publisher *p, struct repository_file *file,
	const struct manifest_object *object, struct err *e)
{
	int rc;

	(void)pthread_mutex_lock(&p->lock);
	while (p->n == PUBLISHER_WAITING_MAX && p->err.code == 0) {
		(void)pthread_cond_wait(&p->changed, &p->lock);
	}
	rc = publisher_failure(p, e);
	if (rc == 0) {
		p->waiting[p->n].file = file;
		p->waiting[p->n++].object = *object;
		(void)pthread_cond_broadcast(&p->changed);
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (rc != 0) {
		repository_file_discard(file);
	}
	return rc;
}

int publisher_finish(struct publisher *p, struct err *e)
{
	int rc;

	(void)pthread_mutex_lock(&p->lock);
	while (p->busy || (p->n > 0 && p->err.code == 0)) {
		(void)pthread_cond_wait(&p->changed, &p->lock);
	}
	rc = publisher_failure(p, e);
	(void)pthread_mutex_unlock(&p->lock);
	return rc;
}

void publisher_free(struct publisher *p)
{
	if (p == NULL) {
		return;
	}
	(void)pthread_mutex_lock(&p->lock);
	p->stopping = true;
	(void)pthread_cond_broadcast(&p->changed);
	(void)pthread_mutex_unlock(&p->lock);
	(void)pthread_join(p->thread, NULL);
	for (unsigned i = 0; i < p->n; i++) {
		repository_file_discard(p->waiting[i].file);
	}
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

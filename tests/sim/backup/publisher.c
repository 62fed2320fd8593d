/* backup/publisher.h without a thread, in place of the real one: what that one does beside the
 * caller happens here within a call, early or late as the seed's coin falls. With the thread a seed
 * would not say what happened, and the disk's books would be two threads'. The real one runs in the
 * unit and cluster tests. */
#include "backup/publisher.h"

#include <assert.h>

#include "tests/sim/backup/disk.h"

enum { WAITING_MAX = 3 }; /* Two that wait and one under way. */

struct publisher {
	void (*published)(void *data, const struct manifest_object *object);
	void *data;
	struct {
		struct repository_file *file;
		struct manifest_object object;
	} waiting[WAITING_MAX];
	unsigned n;
	struct err err;
};

struct publisher *publisher_new(
	void (*published)(void *data, const struct manifest_object *object), void *data)
{
	struct publisher *p = x_calloc(1, sizeof *p);

	p->published = published;
	p->data = data;
	return p;
}

static void publish_first(struct publisher *p)
{
	struct repository_file *file = p->waiting[0].file;
	struct manifest_object object = p->waiting[0].object;
	struct err e = {0};
	int rc;

	p->n--;
	for (unsigned i = 0; i < p->n; i++) {
		p->waiting[i] = p->waiting[i + 1];
	}
	rc = repository_publish_object(file, object.hash, &e);
	if (rc != 0) {
		p->err = e;
		p->err.code = rc;
	} else if (p->published != NULL) {
		p->published(p->data, &object);
	}
}

static int publish_some(struct publisher *p, unsigned left, struct err *e)
{
	while (p->err.code == 0 && p->n > 0 && (p->n > left || disk_coin())) {
		publish_first(p);
	}
	return p->err.code == 0 ? 0 : err_set(e, p->err.code, "%s", p->err.text);
}

int publisher_add(struct publisher *p, struct repository_file *file,
	const struct manifest_object *object, struct err *e)
{
	int rc = publish_some(p, WAITING_MAX - 1, e);

	if (rc != 0) {
		repository_file_discard(file);
		return rc;
	}
	assert(p->n < WAITING_MAX);
	p->waiting[p->n].file = file;
	p->waiting[p->n++].object = *object;
	return 0;
}

int publisher_finish(struct publisher *p, struct err *e)
{
	return publish_some(p, 0, e);
}

void publisher_free(struct publisher *p)
{
	if (p == NULL) {
		return;
	}
	for (unsigned i = 0; i < p->n; i++) {
		repository_file_discard(p->waiting[i].file);
	}
	free(p);
}

/* A named, bounded thread pool for calls that may block. libuv's own pool is left to libraries that
 * use it. */
#ifndef KLUIS_BASE_POOL_H
#define KLUIS_BASE_POOL_H

#include <stddef.h>

#include "base/mailbox.h"
#include "base/mem.h"

enum { POOL_BACKGROUND_NICE = 10 };

struct pool;

/* Embedded in what the caller works on; its memory lives until done_cb. */
struct pool_work {
	struct pool_work *next;
	struct mail mail;
	struct mailbox *home;
	int (*work)(struct pool_work *work); /* On a pool thread. */
	void (*done_cb)(struct pool_work *work,
		int rc); /* On home's loop thread, with what work() returned. */
	int rc;
};

/* name: at most 15 bytes, shown as the threads' name. queue_max: waiting works. */
struct pool *pool_new(const char *name, unsigned threads, size_t queue_max);
/* For work that may take minutes and that nobody waits for: its threads have a nice value of
 * POOL_BACKGROUND_NICE more, for the processor and, as the kernel derives it, for the disk. */
struct pool *pool_new_background(const char *name, unsigned threads, size_t queue_max);
/* Runs what is queued, joins the threads; NULL is fine. Not from a pool thread. */
void pool_free(struct pool *pool);
/* Any thread. done_cb comes through `home`. KLUIS_EBUSY when queue_max are waiting (then no
 * callback). */
KLUIS_MUST_CHECK int pool_submit(struct pool *pool, struct pool_work *work, struct mailbox *home,
	int (*fn)(struct pool_work *work), void (*done_cb)(struct pool_work *work, int rc));
size_t pool_waiting(struct pool *pool);

#endif

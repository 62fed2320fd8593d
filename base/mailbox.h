/* Messages to a loop thread from any thread: a bounded-by-its-users intrusive queue and one
 * uv_async. */
#ifndef KLUIS_BASE_MAILBOX_H
#define KLUIS_BASE_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

/* Embedded in what is sent; in at most one mailbox at a time. */
struct mail {
	struct mail *next;
	void (*deliver_cb)(
		struct mail *mail); /* On the mailbox's loop thread; may free what holds it. */
};

struct mailbox {
	uv_async_t async;
	pthread_mutex_t lock;
	struct mail *head, **tail;
	bool closing;
	void (*closed_cb)(struct mailbox *mailbox);
	void *data; /* The user's. */
};

/* On the loop's thread. */
int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop);
/* Any thread; FIFO per sender. The mailbox must outlive every sender: stop them before
 * mailbox_close(). */
void mailbox_send(struct mailbox *mailbox, struct mail *mail);
/* On the loop's thread: delivers what is queued, then closes; memory lives until closed_cb. */
void mailbox_close(struct mailbox *mailbox, void (*closed_cb)(struct mailbox *mailbox));

#endif

#include "base/mailbox.h"

#include <assert.h>
#include <stddef.h>

#include "base/mem.h"

static struct mail *mailbox_take(struct mailbox *mailbox)
{
	struct mail *batch;

	(void)pthread_mutex_lock(&mailbox->lock);
	batch = mailbox->head;
	mailbox->head = NULL;
	mailbox->tail = &mailbox->head;
	(void)pthread_mutex_unlock(&mailbox->lock);
	return batch;
}

static void mailbox_deliver_all(struct mail *mail)
{
	while (mail != NULL) {
		struct mail *next = mail->next;

		mail->deliver_cb(mail);
		mail = next;
	}
}

static void mailbox_async_cb(uv_async_t *async)
{
	/* One batch a turn: what these deliveries send is handled in the next, so that I/O is never
	 * starved. */
	mailbox_deliver_all(mailbox_take(async->data));
}

int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop)
{
	*mailbox = (struct mailbox){.tail = &mailbox->head};
	(void)pthread_mutex_init(&mailbox->lock, NULL);
	mailbox->async.data = mailbox;
	return uv_async_init(loop, &mailbox->async, mailbox_async_cb);
}

void mailbox_send(struct mailbox *mailbox, struct mail *mail)
{
	mail->next = NULL;
	(void)pthread_mutex_lock(&mailbox->lock);
	*mailbox->tail = mail;
	mailbox->tail = &mail->next;
	(void)pthread_mutex_unlock(&mailbox->lock);
	(void)uv_async_send(
		&mailbox->async); /* Fails only on a closed handle, which the contract excludes. */
}

static void mailbox_closed_cb(uv_handle_t *handle)
{
	struct mailbox *mailbox = handle->data;

	assert(mailbox->head == NULL);
	(void)pthread_mutex_destroy(&mailbox->lock);
	if (mailbox->closed_cb != NULL) {
		mailbox->closed_cb(mailbox);
	}
}

void mailbox_close(struct mailbox *mailbox, void (*closed_cb)(struct mailbox *mailbox))
{
	assert(!mailbox->closing);
	for (struct mail *mail = mailbox_take(mailbox); mail != NULL;
		mail = mailbox_take(mailbox)) {
		mailbox_deliver_all(mail);
	}
	mailbox->closing = true;
	mailbox->closed_cb = closed_cb;
	uv_close((uv_handle_t *)&mailbox->async, mailbox_closed_cb);
}

/* What clients of different nodes say to each other and nobody keeps. */
#include <assert.h>

#include "base/log.h"
#include "raft/replica_impl.h"

struct relay {
	struct mail mail;
	struct replica *replica;
	struct buf message;
};

static void relay_free(struct relay *relay)
{
	buf_release(&relay->message);
	free(relay);
}

/* On the core thread. A peer that does not know the stream would end the link. */
static void relay_deliver_cb(struct mail *mail)
{
	struct relay *relay = CONTAINER_OF(mail, struct relay, mail);
	struct replica *r = relay->replica;
	uint64_t peers[SITES_MAX];
	unsigned sent = 0;
	size_t n = r->stopping || !r->begun ? 0 : links_peers(r->links, peers, SITES_MAX);

	for (size_t i = 0; i < n; i++) {
		struct link_status status;

		if (links_status(r->links, peers[i], &status) == 0 &&
			status.feature_level >= FEATURE_LEVEL_RELAY &&
			links_send(r->links, peers[i], LINK_RELAY, buf_bytes(&relay->message), NULL,
				0) == 0) {
			sent++; /* What does not get through is lost, as was promised. */
		}
	}
	log_debug("op=relay bytes=%zu peers=%u", relay->message.len, sent);
	relay_free(relay);
}

void replica_relay(struct replica *r, struct buf *message)
{
	struct relay *relay = x_calloc(1, sizeof *relay);

	assert(message->len > 0 && message->len <= LINK_RELAY_MESSAGE_BYTES_MAX);
	relay->mail.deliver_cb = relay_deliver_cb;
	relay->replica = r;
	relay->message = *message;
	*message = BUF_INIT;
	if (!replica_enter(r, &relay->mail)) {
		relay_free(relay);
	}
}

void replica_relayed(struct replica *r, struct bytes message)
{
	struct applier *a = &r->applier;

	(void)pthread_mutex_lock(&a->watch_lock);
	if (a->watch != NULL && a->watch->relayed_cb != NULL) {
		a->watch->relayed_cb(a->watch, message);
	}
	(void)pthread_mutex_unlock(&a->watch_lock);
}

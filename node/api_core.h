/* The running API, for its own parts. Private to node/. */
#ifndef KLUIS_NODE_API_CORE_H
#define KLUIS_NODE_API_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/op.h"
#include "crypto/tls_ctx.h"
#include "node/api.h"
#include "node/api_metrics.h"
#include "node/event_hub.h"
#include "node/handshake.h"
#include "node/http.h"
#include "node/key_cache.h"
#include "node/push.h"
#include "node/ratelimit.h"
#include "node/session_cache.h"

struct api {
	struct api_config config; /* Its strings are ours. */
	uv_loop_t loop;
	uv_thread_t thread;
	struct mailbox mailbox;
	struct op_queue ops;
	struct http_server *http;
	unsigned port, metrics_port;
	unsigned calls; /* Ops that are not done. */
	uint64_t started_ms;

	struct handshake_table *handshakes; /* Passwords. */
	struct handshake_table *device_logins, *recoveries, *fido_challenges;
	struct handshake_table *event_tickets;
	struct event_hub *events;
	struct ratelimit *signal_limit; /* Of calls, by user. */
	struct login_dummies *dummies;
	struct ratelimit *login_limit, *request_limit;
	struct session_cache *sessions;
	struct key_cache *device_keys;
	struct api_metrics metrics;
	/* Cluster time when it was last seen to move, and when that was: in an idle cluster it goes
	 * on by our own clock. */
	uint64_t cluster_ms, cluster_seen_ms;

	atomic_int pepper;	   /* enum pepper_state, as the last look at the store found. */
	atomic_uint pepper_misses; /* Values that did not open, since the start. */

	struct push *push; /* NULL: nobody is notified. */

	struct tls_tickets *tickets;
	pthread_mutex_t ca_lock; /* What a reload changes from another thread. */
	char *ca_pem;
	uint8_t ca_spki[32];
	uint64_t cert_not_after_ms;

	uv_timer_t stop_timer;
	struct mail stop_mail;
	uint64_t stop_at_ms;
	bool stopping, closing_http, http_closed;
};

/* Sealed verifiers of nobody, by SRP group: what is opened for unknown users, so that it takes as
 * long. */
struct login_dummies {
	struct buf verifier[SRP_GROUP_6144 + 1];
};
struct login_dummies *login_dummies_new(const struct secrets *secrets, struct random *random);
void login_dummies_free(struct login_dummies *dummies); /* NULL is fine. */

/* A subscription that the push service knows no more is deleted. Any thread; data: the api. */
/* Prometheus text of what this node sent; nothing where it does not send. */
void api_push_metrics(struct api *api, struct buf *to);
void api_push_gone_cb(void *data, const uint8_t user_id[16], const uint8_t push_id[16]);
uint64_t api_now(const struct api *api); /* Monotonic. */
/* Cluster time as far as this node has seen it move; 0: not yet. */
uint64_t api_cluster_now(const struct api *api);
/* A problem as the answer of a request that is no call's. */
struct problem;
void api_refuse(struct http_request *req, const struct problem *problem);
/* Kluis-Node and so on; before http_reply_begin(). */
void api_put_fields(struct api *api, struct http_request *req, uint64_t index);

#endif

/* What the node counts, as Prometheus text (format 0.0.4). One thread. */
#ifndef KLUIS_NODE_API_METRICS_H
#define KLUIS_NODE_API_METRICS_H

#include "base/buf.h"
#include "node/api.h"
#include "node/backup_summary.h"
#include "node/event_hub.h"
#include "node/http.h"
#include "node/push.h"
#include "raft/replica.h"

enum { METRICS_ROUTES_MAX = 192, METRICS_CLASSES = 5, METRICS_BUCKETS = 11 };

struct api_metrics {
	uint64_t requests[METRICS_ROUTES_MAX][METRICS_CLASSES]; /* 2xx is class 1. */
	uint64_t bucket[METRICS_BUCKETS + 1];
	uint64_t sum_ms, count;
	uint64_t refused[METRICS_CLASSES]; /* Before a route was found. */
};

/* route: its place in api_routes, or api_routes_count when none was found. */
void api_metrics_add(struct api_metrics *metrics, size_t route, int status, uint64_t ms);

struct api_metrics_state {
	const struct http_counters *http;
	const struct replica_status *replica;
	const struct api_copies *copies;
	const struct api_shipment *shipments;
	size_t n_shipments;
	const char *site;
	const struct backup_summary *backup; /* NULL: not known here. */
	unsigned backup_copies;		     /* That make a snapshot count. */
	uint64_t backup_age_limit_ms;	     /* Of the newest. */
	uint64_t backup_journal_ms;	     /* Between increments; 0: there are none. */
	unsigned calls;
	size_t login_handshakes;
	const struct event_counters *events;
	uint64_t wall_ms, uptime_ms, api_not_after_ms, store_bytes, store_garbage_bytes,
		store_memory_bytes;
};
void api_metrics_print(
	const struct api_metrics *metrics, const struct api_metrics_state *state, struct buf *to);

/* What came of notifications, by kind of push service. */
void api_metrics_push(const struct push_counts *push, struct buf *to);

#endif

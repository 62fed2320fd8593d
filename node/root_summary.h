/* What the nodes said of the state root of the newest snapshots, site by site: for operators,
 * metrics and alarms. Pure but for the reading. */
#ifndef KLUIS_NODE_ROOT_SUMMARY_H
#define KLUIS_NODE_ROOT_SUMMARY_H

#include "storage/snapshot_store.h"

enum { ROOT_LATE_MS = 30 * 60 * 1000 }; /* From the claim of the snapshot on. */

enum root_state {
	ROOT_AGREES,  /* With all that is known so far. */
	ROOT_WAITING, /* It has said nothing yet. */
	ROOT_LATE,    /* ... for longer than ROOT_LATE_MS. */
	ROOT_DIFFERS, /* From a majority, or from another one while there is no majority. */
};

struct root_site {
	uint64_t node;
	uint64_t id, index; /* The newest snapshot it spoke of; 0: none. */
	bool differs, majority;
	bool taker; /* That snapshot was its own. */
	/* The first one behind that, which it said nothing of; 0: none. */
	uint64_t missing_id, missing_ms;
};

/* Ascending by node: those that take part in backups. */
struct root_summary {
	struct root_site site[SITES_MAX];
	size_t n;
};

/* rows: all records of snapshots. KLUIS_EIO, KLUIS_ECORRUPT. */
KLUIS_MUST_CHECK int root_summary_read(const struct kv_view *view, const struct snapshot_row *rows,
	size_t n, struct root_summary *ret_summary, struct err *e);
enum root_state root_site_state(const struct root_site *site, uint64_t now_ms);
const char *root_state_name(enum root_state state); /* "agrees" */

#endif

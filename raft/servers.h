/* The members as the state machine knows them, in memory: a value that travels from the thread that
 * applies to those that decide. */
#ifndef KLUIS_RAFT_SERVERS_H
#define KLUIS_RAFT_SERVERS_H

#include "storage/server_store.h"

struct server {
	struct server_row row;
	bool read_only, quarantined; /* As it or the cluster said. */
};

/* Plain value; ids ascend. voters 0: the first members are not written down yet. */
struct servers {
	uint32_t feature_level; /* Of the cluster; 0 before it was initialised. */
	uint64_t highest_id;
	unsigned voters, n;
	struct server server[SITES_MAX];
};

/* As of that view. Blocking. */
KLUIS_MUST_CHECK int servers_load(
	const struct kv_view *view, struct servers *ret_servers, struct err *e);
const struct server *servers_find(const struct servers *servers, uint64_t id); /* NULL: none. */
/* An id that was a member once and is none any more. */
bool servers_removed(const struct servers *servers, uint64_t id);

/* Whether a member may be added (site and address are as configuration.h wants them), and whether
 * an operator may want this of one; both refuse with a sentence: KLUIS_ECONFLICT the members are
 * not written down yet, it is being removed, or too few would be left that may vote; KLUIS_EEXIST
 * the id, site or address was given; KLUIS_ENOTFOUND; KLUIS_EQUOTA. Decided in apply; a node that
 * is asked may look first, for its own words. */
KLUIS_MUST_CHECK int servers_check_add(const struct servers *servers, uint64_t id,
	uint64_t replaces, struct bytes site, struct bytes address, struct err *e);
KLUIS_MUST_CHECK int servers_check_wish(
	const struct servers *servers, uint64_t id, enum server_wish wish, struct err *e);
/* The member's row: KLUIS_ECONFLICT, KLUIS_ENOTFOUND as above. */
KLUIS_MUST_CHECK int servers_get(const struct servers *servers, uint64_t id,
	const struct server_row **ret_row, struct err *e);

#endif

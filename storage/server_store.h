/* Who is to be in the cluster, and as what: the members by id with the memory (incarnation) that
 * each id stands for, and what operators want of them. The configuration in the raft log follows
 * these rows (raft/roles.h). */
#ifndef KLUIS_STORAGE_SERVER_STORE_H
#define KLUIS_STORAGE_SERVER_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

/* Values are stored. */
enum server_wish {
	SERVER_ANY = 0,	    /* Votes when a voter is wanted. */
	SERVER_VOTER = 1,   /* Votes, before others. */
	SERVER_STANDBY = 2, /* Never votes. */
	SERVER_DRAINED = 3, /* Never votes, and shows clients that it is going away. */
	SERVER_GONE = 4,    /* Is to be removed. */
};
enum { SERVER_WISH_MAX = SERVER_GONE, SERVER_INCARNATION_BYTES = 16 };

struct server_row {
	uint64_t id;
	uint8_t incarnation[SERVER_INCARNATION_BYTES]; /* Not zero; never changes. */
	enum server_wish wish;
	uint32_t weight;    /* To lead; 0 .. SERVER_WEIGHT_MAX, more is better. */
	uint64_t successor; /* With SERVER_GONE: only once that one has all data; 0: at once. */
	uint64_t since_ms;  /* Cluster time of its admission. */
	/* Of one that was added; empty of the first ones, whom the log's first entry names. */
	char site[NODE_NAME_BYTES_MAX + 1];
	char address[MEMBER_ADDRESS_BYTES_MAX + 1]; /* "host:port" of its link. */
};
void server_row_encode(const struct server_row *row, struct buf *to);
KLUIS_MUST_CHECK int server_row_decode(
	struct bytes key, struct bytes value, struct server_row *ret_row, struct err *e);
KLUIS_MUST_CHECK int server_store_get(
	const struct kv_view *view, uint64_t id, struct server_row *ret_row, struct err *e);
/* All of them, ascending: at most max. */
KLUIS_MUST_CHECK int server_store_list(const struct kv_view *view, struct server_row *ret_rows,
	size_t max, size_t *ret_n, struct err *e);
void server_store_put(struct txn *txn, const struct server_row *row);
void server_store_delete(struct txn *txn, uint64_t id);

/* One row for all of them. */
struct servers_row {
	uint64_t highest_id; /* That any member ever had: an id is never given twice. */
	uint8_t voters;	     /* How many are wanted: VOTERS_MIN .. VOTERS_MAX. */
};
void servers_row_encode(const struct servers_row *row, struct buf *to);
KLUIS_MUST_CHECK int servers_row_decode(
	struct bytes value, struct servers_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND before the first members were written down. */
KLUIS_MUST_CHECK int servers_store_get(
	const struct kv_view *view, struct servers_row *ret_row, struct err *e);
void servers_store_put(struct txn *txn, const struct servers_row *row);

#endif

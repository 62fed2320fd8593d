/* What the cluster knows of itself: identity and lineage, feature level, the nodes that announced
 * themselves, their hash reports, and the audit chain. */
#ifndef KLUIS_STORAGE_CLUSTER_STORE_H
#define KLUIS_STORAGE_CLUSTER_STORE_H

#include "base/limits.h"
#include "storage/kv.h"
#include "storage/txn.h"

struct cluster_row {
	uint8_t cluster_id[16], lineage[16];
	uint64_t created_ms;
	uint32_t feature_level; /* The lowest that all nodes announced; never goes back. */
	bool read_only;		/* An operator said so. */
	/* Cluster time from which old versions may be purged again: set after a jump ahead. */
	uint64_t purge_from_ms;
};
void cluster_row_encode(const struct cluster_row *row, struct buf *to);
KLUIS_MUST_CHECK int cluster_row_decode(
	struct bytes value, struct cluster_row *ret_row, struct err *e);
/* KLUIS_ENOTFOUND before cluster_init was applied. */
KLUIS_MUST_CHECK int cluster_store_get(
	const struct kv_view *view, struct cluster_row *ret_row, struct err *e);
void cluster_store_put(struct txn *txn, const struct cluster_row *row);

enum { NODE_TEXT_BYTES_MAX = 255, NODE_KEY_BYTES_MAX = 128 };
/* One node as it announced itself; texts are NUL-terminated, empty when never announced. */
struct node_row {
	uint64_t node;
	uint32_t feature_level; /* 0: not announced since it became a member. */
	bool read_only;		/* Its disk is below the floor. */
	bool quarantined;	/* A majority disagreed with its state hash. */
	uint64_t announced_ms;	/* Cluster time. */
	char site[NODE_NAME_BYTES_MAX + 1];
	char version[NODE_NAME_BYTES_MAX + 1];
	char api[NODE_TEXT_BYTES_MAX + 1];	  /* "https://host:port" for clients. */
	char link[NODE_TEXT_BYTES_MAX + 1];	  /* "host:port" of its links. */
	char ssh[NODE_TEXT_BYTES_MAX + 1];	  /* "host:port" of its snapshot receiver. */
	uint8_t ssh_host_key[NODE_KEY_BYTES_MAX]; /* Ed25519, the SSH wire form. */
	uint16_t ssh_host_key_bytes;
	uint8_t backup_key[32]; /* Ed25519 public key that signs its manifests; zero: none. */
};
void node_row_encode(const struct node_row *row, struct buf *to);
KLUIS_MUST_CHECK int node_row_decode(
	struct bytes key, struct bytes value, struct node_row *ret_row, struct err *e);
KLUIS_MUST_CHECK int node_store_get(
	const struct kv_view *view, uint64_t node, struct node_row *ret_row, struct err *e);
/* Up to max nodes with an id above `after`, ascending. */
KLUIS_MUST_CHECK int node_store_list(const struct kv_view *view, uint64_t after,
	struct node_row *ret_rows, size_t max, size_t *ret_n, struct err *e);
/* What is decided by numbers of nodes. */
struct node_counts {
	size_t n, read_only;
	uint32_t lowest_level; /* The lowest feature level; UINT32_MAX when there is no node. */
};
KLUIS_MUST_CHECK int node_store_count(
	const struct kv_view *view, struct node_counts *ret_counts, struct err *e);
void node_store_put(struct txn *txn, const struct node_row *row);
void node_store_delete(struct txn *txn, uint64_t node);
/* Whether new writes are refused in apply: an operator's word, or as many nodes short of space as
 * leave no majority that could go on. */
KLUIS_MUST_CHECK int cluster_store_read_only(
	const struct kv_view *view, bool *ret_read_only, struct err *e);

struct audit_row {
	uint64_t seq;	       /* From 1, dense. */
	uint64_t time_ms;      /* Cluster time. */
	uint64_t index;	       /* Raft index. */
	uint16_t action;       /* enum command_type that did it. */
	struct bytes actor;    /* User id, or the operator's name: at most 64 bytes. */
	struct bytes object;   /* What it was done to: at most 128 bytes. */
	uint8_t prev_hash[32]; /* SHA-256 of the row before: value bytes; zero for the first. */
};
enum { AUDIT_ACTOR_BYTES_MAX = 64, AUDIT_OBJECT_BYTES_MAX = 128 };
void audit_row_encode(const struct audit_row *row, struct buf *to);
/* actor and object point into value. */
KLUIS_MUST_CHECK int audit_row_decode(
	struct bytes key, struct bytes value, struct audit_row *ret_row, struct err *e);
/* Adds a row behind the last one: seq and prev_hash are set here. */
KLUIS_MUST_CHECK int audit_store_add(struct txn *txn, const struct audit_row *row, struct err *e);
/* As audit_store_add(), of what a user did: beyond AUDIT_DAY_USER_ROWS of a day nothing is kept,
 * which the last of them says. What operators did is not pushed out by users. */
KLUIS_MUST_CHECK int audit_store_add_user(
	struct txn *txn, const struct audit_row *row, struct err *e);
/* Seq and hash of the last row; 0 and zero when there is none. */
KLUIS_MUST_CHECK int audit_store_last(
	const struct kv_view *view, uint64_t *ret_seq, uint8_t ret_hash[32], struct err *e);
/* Row seq, the oldest, may go: it is AUDIT_KEPT_MS old at now_ms (cluster time), or AUDIT_ROWS_MAX
 * newer ones are there. False behind the last row. */
KLUIS_MUST_CHECK int audit_store_due(
	const struct kv_view *view, uint64_t seq, uint64_t now_ms, bool *ret_due, struct err *e);
/* The chain goes on from the oldest one kept, whose prev_hash nobody can check any more. */
void audit_store_delete(struct txn *txn, uint64_t seq);
/* The row's value as it is hashed and chained; KLUIS_ENOTFOUND. */
KLUIS_MUST_CHECK int audit_store_get(
	const struct kv_view *view, uint64_t seq, struct buf *ret_value, struct err *e);

#endif

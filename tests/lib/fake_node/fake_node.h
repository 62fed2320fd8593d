/* A node in one process for the clients' tests: real TLS on a loopback port of the kernel's choice,
 * a vault store in memory, and any lie on demand. It checks what a real node checks of a commit, so
 * that a client that signs wrongly is refused here, too. */
#ifndef KLUIS_TESTS_LIB_FAKE_NODE_H
#define KLUIS_TESTS_LIB_FAKE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "crypto/key.h"

struct fake_node;

enum fake_fault {
	FAKE_HONEST,
	FAKE_STATUS,	  /* Answers with `status` (below 0: KLUIS_E*) and does nothing. */
	FAKE_STATUS_DONE, /* Does it, and answers with `status`. */
	FAKE_DROP_BEFORE, /* Closes once the request was read; it had no effect. */
	FAKE_DROP_AFTER,  /* Does it, then closes without an answer. */
	FAKE_CUT_BODY,	  /* Does it; closes in the middle of the answer's body. */
	FAKE_FLIP_BODY,	  /* Does it; flips a bit in the middle of the answer's body. */
	FAKE_GARBAGE,	  /* Bytes that are no HTTP. */
	FAKE_HUGE,	  /* Says Content-Length: 1 TiB. */
	FAKE_NO_LENGTH,	  /* An answer that only the connection's end would end. */
	FAKE_OTHER_PAGE,  /* GET page: page_no XOR 1 instead. */
	FAKE_OLD_PAGE,	  /* GET page: its first revision. */
	FAKE_OLD_HEAD,	  /* head and heads end one earlier than they are. */
	FAKE_NEW_HEAD,	  /* head: a later seq than there is, so that its signature is wrong. */
	FAKE_NO_HEADS,	  /* heads: an empty list. */
	FAKE_BAD_LEAF,	  /* changes: one leaf hash flipped. */
	FAKE_UNWRITTEN,	 /* changes: the right leaves, with revision 0 as of pages never written. */
	FAKE_NO_CHANGES, /* changes: an empty list. */
	FAKE_REVISION,	 /* changes: the right leaves, with revisions 5 higher. */
	FAKE_ENDLESS,	 /* changes: the list again and again, under ever new cursors; vaults: empty
			  * answers, none of them the last. */
};

struct fake_node *fake_node_new(void);
void fake_node_free(struct fake_node *node);
const char *fake_node_url(const struct fake_node *node); /* https://127.0.0.1:port */
struct bytes fake_node_ca(const struct fake_node *node); /* PEM */

/* The next `times` requests whose "METHOD target" contains `match` meet the fault, after `skip` of
 * them went through. One fault at a time. */
void fake_node_fault(struct fake_node *node, enum fake_fault fault, const char *match,
	unsigned skip, unsigned times, int status);
/* How often the fault struck. */
unsigned fake_node_struck(struct fake_node *node);
/* How many requests contained `match` so far. */
unsigned fake_node_count(struct fake_node *node, const char *match);

/* The vaults, as the cluster's restore or an attacker would set them: everything after head `seq`
 * is gone. */
void fake_node_rollback(struct fake_node *node, uint64_t seq);
/* A new lineage; with a record signed by the operator key when `record`, by another key when
 * `forged`. */
void fake_node_restore(struct fake_node *node, bool record, bool forged);
/* Staged pages are forgotten, as after their time. */
void fake_node_drop_staged(struct fake_node *node);
/* Sessions are forgotten. */
void fake_node_drop_sessions(struct fake_node *node);
/* Different head hashes that were sent for a seq in a commit: a client that signs one seq twice is
 * caught by this. */
unsigned fake_node_heads_sent(struct fake_node *node, uint64_t seq);
uint64_t fake_node_head_seq(struct fake_node *node);
/* Documents of the inbox that commits claim are not there; how many commits claimed some. */
void fake_node_claims_gone(struct fake_node *node);
unsigned fake_node_claimed(struct fake_node *node);
/* Inserts a commit by the same device through `commit body`, as a second client would have sent it
 * just before the next commit arrives; see fake_node_race(). */
void fake_node_race(struct fake_node *node, void (*before_commit)(void *arg), void *arg);

#endif

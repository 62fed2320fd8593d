/* The first bytes on a link: who dials, and the one byte that answers (docs/format-link.md). */
#ifndef KLUIS_RAFT_HELLO_H
#define KLUIS_RAFT_HELLO_H

#include "base/buf.h"
#include "base/err.h"

enum { HELLO_VERSION = 2, HELLO_BYTES = 97, HELLO_YES_BYTES = 17 };

struct hello {
	uint8_t cluster_id[16], lineage[16];
	uint64_t node_id;	 /* Of the dialler; not 0. */
	uint8_t incarnation[16]; /* Of its log; not zero. */
	uint64_t starts;	 /* How often that node was started, this time included; not 0. */
	uint64_t boot;		 /* Nonce of the dialler's process. */
	uint64_t dial;		 /* Counts its dials to this peer since then. */
	uint32_t feature_level;
	uint64_t wall_ms; /* The dialler's clock. */
};

/* The answer; values travel. Behind HELLO_ACCEPTED stands the listener's incarnation: in all
 * HELLO_YES_BYTES. */
enum hello_answer {
	HELLO_ACCEPTED = 1,
	HELLO_OTHER_VERSION = 2,
	HELLO_OTHER_CLUSTER = 3,
	HELLO_OTHER_LINEAGE = 4,
	HELLO_NOT_YOU = 5,   /* The certificate names another node than the hello. */
	HELLO_NO_MEMBER = 6, /* Not among the peers. */
	HELLO_STALE = 7,     /* A later dial of the same process is here already. */
	HELLO_MALFORMED = 8,
	HELLO_OTHER_INCARNATION = 9, /* The node is known here by another log. */
	HELLO_OLD_COPY = 10,	     /* Later starts of the node are known here. */
	HELLO_REMOVED = 11,	     /* The cluster has removed the node. */
};

void hello_write(const struct hello *hello, uint8_t to[HELLO_BYTES]);
/* KLUIS_EVERSION another version; KLUIS_EPROTO not a hello. Any thread. */
KLUIS_MUST_CHECK int hello_read(const uint8_t from[HELLO_BYTES], struct hello *ret_hello);
/* "accepted", "it belongs to another cluster"; any byte. */
const char *hello_answer_text(uint8_t answer);

#endif

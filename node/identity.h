/* Which cluster, which life of it, and which node a data directory belongs to: the file `identity`
 * in it, written once by `kluisd init`. A directory of another node or of a cluster's earlier life
 * is refused. docs/format-node.md. */
#ifndef KLUIS_NODE_IDENTITY_H
#define KLUIS_NODE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { IDENTITY_ID_BYTES = 16 };

struct node_identity {
	uint8_t cluster_id[IDENTITY_ID_BYTES];
	uint8_t lineage[IDENTITY_ID_BYTES]; /* New at every bootstrap or restore of the cluster. */
	uint64_t node_id;
	bool development; /* Made by deploy/quickstart: must listen on loopback only. */
};

/* Both blocking. Write: KLUIS_EEXIST when the directory has one. Read: KLUIS_ENOTFOUND when it has
 * none ("run kluisd init"), KLUIS_ECORRUPT, KLUIS_EVERSION. */
KLUIS_MUST_CHECK int node_identity_write(
	const char *data_dir, const struct node_identity *identity, struct err *e);
KLUIS_MUST_CHECK int node_identity_read(
	const char *data_dir, struct node_identity *ret_identity, struct err *e);

/* The 64 bytes of the file and back, for tests and fuzzing. */
enum { IDENTITY_FILE_BYTES = 64 };
void node_identity_encode(const struct node_identity *identity, uint8_t to[IDENTITY_FILE_BYTES]);
KLUIS_MUST_CHECK int node_identity_decode(
	const uint8_t *data, size_t len, struct node_identity *ret_identity);

#endif

/* What the links' TLS is made of: this node's certificate and key and the CAs of the nodes, read
 * from their files and checked against each other. Blocking. */
#ifndef KLUIS_RAFT_LINK_FILES_H
#define KLUIS_RAFT_LINK_FILES_H

#include "crypto/pki.h"
#include "crypto/tls_ctx.h"

/* The certificate must be that of node_id in that cluster, and valid at wall_ms. e names the file
 * and what is wrong with it. The caller unrefs *ret_ctx. */
KLUIS_MUST_CHECK int link_files_load(const struct pki_files *files, const uint8_t cluster_id[16],
	uint64_t node_id, uint64_t wall_ms, struct tls_ctx **ret_ctx, struct err *e);

#endif

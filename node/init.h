/* `kluisd init`: makes a data directory this node's, once. */
#ifndef KLUIS_NODE_INIT_H
#define KLUIS_NODE_INIT_H

#include "node/config.h"

struct init_options {
	bool new_secrets;	 /* The first site of a new cluster: make the cluster's secrets. */
	const char *sealed_file; /* Another site: the secrets as `kluisd seal-secrets` gave them;
				    NULL: there already. */
	bool restored;	  /* The data directory holds a restored store: begin a cluster with it. */
	bool development; /* Loopback only, for ever. */
};

/* A voter of a new cluster gets the first log; a standby starts empty and is given everything; a
 * restored node begins behind its store. The identity file comes last: before it stands, init may
 * be run again. KLUIS_EEXIST: it is a node's directory already; KLUIS_ENOTFOUND: no secrets; others
 * as their files say. Blocking. */
KLUIS_MUST_CHECK int init_run(
	const struct config *config, const struct init_options *options, struct err *e);

#endif

/* `kluisd init`: makes a data directory this node's, once. */
#ifndef KLUIS_NODE_INIT_H
#define KLUIS_NODE_INIT_H

#include "backup/keys.h"
#include "node/config.h"

struct init_options {
	bool new_secrets;	 /* The first site of a new cluster: make the cluster's secrets. */
	const char *sealed_file; /* Another site: the secrets as `kluisd seal-secrets` gave them;
				    NULL: there already. */
	const struct backup_key_set *keys; /* What opens sealed_file, the offline copy; NULL: it is
					      sealed to this node's link certificate. */
	bool join; /* A member to be of a cluster that runs, not one of a new cluster's first. */
	const char *
		lineage; /* With join: the cluster's, 32 hex digits; NULL: it was never restored. */
	bool restored;	 /* The data directory holds a restored store: begin a cluster with it. */
	bool development; /* Loopback only, for ever. */
};

/* A voter of a new cluster gets the first log; a standby starts empty and is given everything; a
 * restored node begins behind its store; one that joins starts empty and waits to be added. The
 * identity file comes last: before it stands, init may
 * be run again, also when the secrets of sealed_file are in place already. Where that stands
 * sealed_file alone is looked at, and only while there is no secrets file: KLUIS_EEXIST otherwise;
 * KLUIS_ENOTFOUND: no secrets; others as their files say.
 * Blocking. */
KLUIS_MUST_CHECK int init_run(
	const struct config *config, const struct init_options *options, struct err *e);
/* The command that lets this node, made to join, into the cluster: for people, to standard output.
 * KLUIS_EBUSY while the node runs. Blocking. */
KLUIS_MUST_CHECK int init_print_add(const struct config *config, struct err *e);

#endif

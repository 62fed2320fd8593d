/* The few settings of a node that offline commands need, from the same INI file that kluisd reads
 * and checks (`kluisd check-config`). Blocking. */
#ifndef KLUIS_CLI_OPS_NODE_CONFIG_H
#define KLUIS_CLI_OPS_NODE_CONFIG_H

#include "backup/keys.h"
#include "base/err.h"
#include "crypto/hash.h"

struct node_config_site {
	char name[NODE_NAME_BYTES_MAX + 1];
	uint64_t id;
	uint8_t backup_key[32];
	bool has_backup_key;
	char *ssh, *ssh_user, *ssh_host_key, *ssh_path; /* NULL when absent. */
};

struct node_config {
	char *dir;			       /* Of the file, with "/". */
	char *data_dir, *repository;	       /* Absolute or below dir; NULL when absent. */
	char *ssh_key, *restore_key, *secrets; /* Paths; NULL when absent. */
	struct backup_formers formers;
	uint64_t node;
	uint8_t cluster_id[ID_BYTES];
	bool has_cluster_id;
	struct node_config_site sites[SITES_MAX];
	size_t n_sites;
};

/* Keys it does not know are skipped. KLUIS_EINVAL names the line. */
KLUIS_MUST_CHECK int node_config_load(
	const char *path, struct node_config **ret_config, struct err *e);
void node_config_free(struct node_config *config); /* NULL is fine. */
void node_config_freep(struct node_config **config);
/* The sites' backup keys, and former ones, as the list of those whose signatures count.
 * KLUIS_EINVAL when there is none. */
KLUIS_MUST_CHECK int node_config_trust(
	const struct node_config *config, struct backup_trust *ret_trust, struct err *e);

#endif

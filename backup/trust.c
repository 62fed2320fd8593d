/* The list of nodes whose signatures count: second half of keys.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backup/keys.h"

void backup_trust_release(struct backup_trust *trust)
{
	assert(trust->n <= SITES_MAX);
	for (unsigned i = 0; i < trust->n; i++) {
		key_pub_free(trust->nodes[i].pub);
	}
	memset(trust, 0, sizeof *trust);
}

static bool trust_site_valid(const char *site)
{
	size_t len = strlen(site);

	return len > 0 && len <= NODE_NAME_BYTES_MAX &&
	       strspn(site, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

int backup_trust_add(struct backup_trust *trust, uint64_t node, const char *site,
	struct key_pub *pub, struct err *e)
{
	struct backup_trusted *row;

	if (node == 0 || !trust_site_valid(site) || key_pub_alg(pub) != KEY_ED25519) {
		return err_set(e, KLUIS_EINVAL, "not a node id, site name and Ed25519 key");
	}
	for (unsigned i = 0; i < trust->n; i++) {
		row = &trust->nodes[i];
		if (row->node == node || strcmp(row->site, site) == 0 ||
			key_pub_equal(row->pub, pub)) {
			return err_set(e, KLUIS_EEXIST,
				"node %llu, site '%s' or its key is there twice",
				(unsigned long long)node, site);
		}
	}
	if (trust->n == SITES_MAX) {
		return err_set(e, KLUIS_ETOOLARGE, "more than %d nodes", SITES_MAX);
	}
	row = &trust->nodes[trust->n++];
	row->node = node;
	(void)snprintf(row->site, sizeof row->site, "%s", site); /* Fits: checked above. */
	row->pub = key_pub_ref(pub);
	return 0;
}

const struct backup_trusted *backup_trust_node(const struct backup_trust *trust, uint64_t node)
{
	for (unsigned i = 0; i < trust->n; i++) {
		if (trust->nodes[i].node == node) {
			return &trust->nodes[i];
		}
	}
	return NULL;
}

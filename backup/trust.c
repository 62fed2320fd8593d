/* The list of nodes whose signatures count: second half of keys.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backup/keys.h"
#include "base/text.h"

void backup_trust_release(struct backup_trust *trust)
{
	assert(trust->n <= SITES_MAX);
	for (unsigned i = 0; i < trust->n; i++) {
		key_pub_free(trust->nodes[i].pub);
	}
	for (unsigned i = 0; i < trust->n_former; i++) {
		key_pub_free(trust->former[i].pub);
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

/* --- keys of before -------------------------------------------------------------------------- */

int backup_formers_parse(struct backup_formers *formers, const char *text)
{
	struct backup_former *row = &formers->rows[formers->n];
	const char *blank = strchr(text, ' ');

	if (formers->n == BACKUP_FORMER_MAX) {
		return KLUIS_ETOOLARGE;
	}
	if (blank == NULL ||
		u64_parse(bytes_of(text, (size_t)(blank - text)), UINT32_MAX, &row->node) != 0 ||
		row->node == 0 ||
		hex_decode(blank + strspn(blank, " "), row->key, sizeof row->key) != 0) {
		return KLUIS_EINVAL;
	}
	formers->n++;
	return 0;
}

static bool trust_has(const struct backup_trust *trust, uint64_t node, const struct key_pub *pub)
{
	const struct backup_trusted *now = backup_trust_node(trust, node);
	bool there = now != NULL && key_pub_equal(now->pub, pub);

	for (unsigned i = 0; i < trust->n_former; i++) {
		there = there ||
			(trust->former[i].node == node && key_pub_equal(trust->former[i].pub, pub));
	}
	return there;
}

static int trust_add_former(
	struct backup_trust *trust, const struct backup_former *former, struct err *e)
{
	_cleanup_(key_pub_freep) struct key_pub *pub = NULL;
	int rc = key_pub_decode(KEY_ED25519, bytes_of(former->key, sizeof former->key), &pub, e);

	if (rc == 0 && trust_has(trust, former->node, pub)) {
		rc = err_set(e, KLUIS_EEXIST, "it has this key now, or it is there twice");
	}
	if (rc != 0) {
		return err_wrap(
			e, rc, "'former_key' of node %llu", (unsigned long long)former->node);
	}
	assert(trust->n_former < BACKUP_FORMER_MAX);
	trust->former[trust->n_former].node = former->node;
	trust->former[trust->n_former++].pub = key_pub_ref(pub);
	return 0;
}

int backup_trust_add_formers(
	struct backup_trust *trust, const struct backup_formers *formers, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < formers->n; i++) {
		rc = trust_add_former(trust, &formers->rows[i], e);
	}
	return rc;
}

bool backup_trust_knows(const struct backup_trust *trust, uint64_t node)
{
	bool known = backup_trust_node(trust, node) != NULL;

	for (unsigned i = 0; i < trust->n_former; i++) {
		known = known || trust->former[i].node == node;
	}
	return known;
}

enum backup_signed backup_trust_check(const struct backup_trust *trust, uint64_t node,
	struct bytes message, struct bytes signature)
{
	const struct backup_trusted *now = backup_trust_node(trust, node);

	if (now != NULL && sign_verify(now->pub, message, signature, NULL) == 0) {
		return SIGNED_BY_NODE;
	}
	for (unsigned i = 0; i < trust->n_former; i++) {
		if (trust->former[i].node == node &&
			sign_verify(trust->former[i].pub, message, signature, NULL) == 0) {
			return SIGNED_BY_FORMER;
		}
	}
	return SIGNED_BY_NONE;
}

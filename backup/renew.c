#include "backup/renew.h"

#include <string.h>

#include "base/log.h"

struct renew {
	struct repository *repository;
	const struct backup_trust *trust;
	uint64_t node;
	const struct key *signer;
};

static int renew_one(
	const struct renew *r, const struct manifest_name *name, bool *ret_renewed, struct err *e)
{
	_cleanup_(buf_release) struct buf bytes = BUF_INIT;
	_cleanup_(buf_release) struct buf fresh = BUF_INIT;
	_cleanup_(backup_manifest_release) struct backup_manifest m = {0};
	uint8_t hash[HASH_BYTES], again[HASH_BYTES];
	bool former = false;
	int rc = repository_get_manifest(r->repository, name, &bytes, e);

	if (rc == 0) {
		rc = backup_manifest_open_held(buf_bytes(&bytes), r->trust, &m, hash, &former, e);
	}
	if (rc != 0 || !former || m.node != r->node || memcmp(hash, name->hash, HASH_BYTES) != 0) {
		return rc;
	}
	rc = backup_manifest_encode(&m, r->signer, &fresh, again, e);
	if (rc == 0 && memcmp(again, hash, HASH_BYTES) != 0) {
		rc = err_set(e, KLUIS_ECORRUPT, "it is not as this program writes it");
	}
	rc = rc != 0 ? rc : repository_put_manifest(r->repository, buf_bytes(&fresh), e);
	*ret_renewed = rc == 0;
	return rc;
}

static bool renew_is_due(const struct renew *r)
{
	for (unsigned i = 0; i < r->trust->n_former; i++) {
		if (r->trust->former[i].node == r->node) {
			return true;
		}
	}
	return false;
}

int renew_manifests(struct repository *repository, const struct backup_trust *trust, uint64_t node,
	const struct key *signer, unsigned *ret_n, struct err *e)
{
	const struct renew r = {
		.repository = repository, .trust = trust, .node = node, .signer = signer};
	_cleanup_(x_freep) struct manifest_name *names = NULL;
	size_t n = 0;
	int rc = renew_is_due(&r) ? repository_list(repository, &names, &n, NULL, e) : 0;

	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		bool renewed = false;
		struct err why = {0};

		if (renew_one(&r, &names[i], &renewed, &why) != 0) {
			/* Reading again says of each what it is. */
			log_warn("op=backup_key index=%llu error=\"%s\", ignoring",
				(unsigned long long)names[i].index, why.text);
		}
		*ret_n += renewed;
	}
	return rc;
}

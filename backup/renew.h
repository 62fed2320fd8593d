/* After a node has changed its backup key: what it took itself is signed with the one it has now,
 * so that the other sites, which let nothing in by a former key, still take what they lack.
 * Blocking.
 */
#ifndef KLUIS_BACKUP_RENEW_H
#define KLUIS_BACKUP_RENEW_H

#include "backup/repository.h"

/* Signs each manifest of `node` that one of its former keys in trust signed with `signer`, in its
 * place: bytes before the signature, name and hash stay. What is damaged stays as it is. *ret_n:
 * how many. The repository is open for writing. */
KLUIS_MUST_CHECK int renew_manifests(struct repository *repository,
	const struct backup_trust *trust, uint64_t node, const struct key *signer, unsigned *ret_n,
	struct err *e);

#endif

/* What a person proves herself with, as a client sends it at registration, at every change of the
 * password and after a recovery: SRP verifier, KDF block, unlock shares, recovery key and the
 * keyring that belongs to them. Private to node/. */
#ifndef KLUIS_NODE_CREDENTIALS_H
#define KLUIS_NODE_CREDENTIALS_H

#include "crypto/keyring.h"
#include "crypto/password.h"
#include "crypto/srp.h"
#include "node/api_call.h"
#include "storage/person_store.h"

struct credentials {
	unsigned group;
	uint8_t salt[SRP_SALT_BYTES], kdf[KDF_BYTES];
	struct buf verifier; /* PAD v. */
	uint8_t recovery_key[RECOVERY_KEY_BYTES];
	size_t n_shares;
	struct credentials_share {
		uint8_t slot_id[16], share[UNLOCK_SHARE_BYTES];
	} share[UNLOCK_SHARES_MAX];
	struct buf keyring;
	struct buf sealed; /* The verifier as the command carries it. */
};
/* Clears it; for _cleanup_ of what embeds it. */
void credentials_release(struct credentials *credentials);

/* Takes the members srp, kdf, recovery and keyring; errors are the reader's. */
void credentials_read(struct json_in *reader, struct credentials *credentials);
/* The share of the only password slot, whose id the keyring says: member unlock_share. */
void credentials_read_share(struct json_in *reader, struct credentials *credentials);
/* A list of them: member unlock_shares. */
void credentials_read_shares(struct json_in *reader, struct credentials *credentials);

/* Group, verifier and KDF block, quickly: KLUIS_EINVAL (call->problem_limit is set where a count is
 * below the floor), KLUIS_ESUITE. On the loop. */
KLUIS_MUST_CHECK int credentials_check(
	struct api_call *call, const struct credentials *credentials);
/* Recovery key and keyring (revision 1 of this user, its slots as the shares say); on pool_db.
 * KLUIS_EINVAL and what keyring_parse() gives. Takes the slot id of a single share. */
KLUIS_MUST_CHECK int credentials_check_first(
	struct api_call *call, struct credentials *credentials, const uint8_t user_id[16]);
/* The same of a keyring that comes behind the stored one. KLUIS_EPRECONDITION with call's
 * current_etag when it does not. */
KLUIS_MUST_CHECK int credentials_check_next(
	struct api_call *call, struct credentials *credentials, const struct person_row *stored);
/* Seals them for the command, which points into `credentials` from then on. On pool_db. */
void credentials_seal(struct api_call *call, struct credentials *credentials,
	const uint8_t user_id[16], struct command_credentials *ret_command);

#endif

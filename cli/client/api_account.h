/* The calls of docs/openapi.yaml that a person's account is made of; as cli/client/api.h. What they
 * answer is proven, where it can be, by cli/client/account. */
#ifndef KLUIS_CLI_CLIENT_API_ACCOUNT_H
#define KLUIS_CLI_CLIENT_API_ACCOUNT_H

#include "cli/client/api.h"
#include "crypto/keyring.h"
#include "crypto/password.h"
#include "crypto/recovery.h"
#include "crypto/sign.h"
#include "crypto/srp.h"

enum {
	API_MFA_METHODS_MAX = 16,
	API_METHOD_CHARS_MAX = 15,
};

/* What comes with every new password: POST /v1/register and /v1/password. */
struct api_credentials {
	unsigned group;
	uint8_t salt[SRP_SALT_BYTES];
	struct bytes verifier;
	uint8_t kdf[KDF_BYTES];
	uint8_t slot_id[ID_BYTES]; /* Of the password; the share is this slot's. */
	struct bytes unlock_share, recovery_key, keyring;
};
struct api_register {
	const char *user;
	const uint8_t *user_id;
	struct api_credentials credentials;
	struct bytes identity, device; /* The two statements. */
};
/* The request, but for the invitation, as text: what api_register() sends. The same text may be
 * sent again. Appended to `to`, which the caller clears. */
void api_register_text(const struct api_register *request, struct buf *to);
/* invite NULL: none. KLUIS_ECONFLICT: the name is taken. KLUIS_EFORBIDDEN: closed, or not with this
 * invitation. */
KLUIS_MUST_CHECK int api_register(
	struct client *client, struct bytes text, const char *invite, struct err *e);
KLUIS_MUST_CHECK int api_password(
	struct client *client, const struct api_credentials *credentials, struct err *e);

/* POST /v1/login/start. begun: false when the account's SRP group is another than was asked for. */
struct api_srp {
	bool begun;
	char handshake[HEX_LEN(ID_BYTES) + 1];
	uint8_t salt[SRP_SALT_BYTES], kdf[KDF_BYTES];
	unsigned group;
	uint8_t b_public[SRP_PUBLIC_BYTES_MAX];
	size_t b_len;
	size_t endpoint; /* The handshake lives there. */
};
KLUIS_MUST_CHECK int api_srp_start(struct client *client, const char *user, unsigned group,
	struct bytes a_public, struct api_srp *ret_srp, struct err *e);

/* What a login of whatever kind gives. The caller clears it. */
struct api_grant {
	char token[CLIENT_TOKEN_BYTES_MAX + 1];
	uint8_t m2[SRP_PROOF_BYTES], token_mac[SRP_TOKEN_MAC_BYTES]; /* Of a password. */
	uint8_t user_id[ID_BYTES];
	bool full; /* No second factor is asked for. */
	size_t n_methods;
	char methods[API_MFA_METHODS_MAX][API_METHOD_CHARS_MAX + 1];
	uint64_t expires_ms;
};
/* POST /v1/login/finish. device_id NULL: a session of no device. */
KLUIS_MUST_CHECK int api_srp_finish(struct client *client, const struct api_srp *srp,
	const uint8_t m1[SRP_PROOF_BYTES], const uint8_t *device_id, struct bytes device_signature,
	struct api_grant *ret_grant, struct err *e);

/* GET /v1/unlock: of the slot of the password. */
struct api_unlock {
	uint8_t slot_id[ID_BYTES];
	struct secret share;
	uint8_t slot[KEYRING_SLOT_BYTES];
	uint64_t revision;
};
KLUIS_MUST_CHECK int api_unlock(
	struct client *client, struct api_unlock *ret_unlock, struct err *e);
/* GET /v1/keyring: appends it; its etag. */
KLUIS_MUST_CHECK int api_keyring(struct client *client, struct buf *ret_object,
	char ret_etag[API_ETAG_BYTES_MAX + 1], struct err *e);
/* GET /v1/keyring/versions/{n}: likewise. */
KLUIS_MUST_CHECK int api_keyring_version(
	struct client *client, uint64_t revision, struct buf *ret_object, struct err *e);
KLUIS_MUST_CHECK int api_keyring_put(
	struct client *client, struct bytes object, const char *etag, struct err *e);
/* GET /v1/users/{id}/identity: all statements, lp32 each, appended. */
KLUIS_MUST_CHECK int api_identity(struct client *client, const uint8_t user_id[ID_BYTES],
	struct buf *ret_chain, struct err *e);

/* POST /v1/recovery/start and finish. */
struct api_recovery {
	char recovery[HEX_LEN(ID_BYTES) + 1];
	uint8_t challenge[RECOVERY_CHALLENGE_BYTES], user_id[ID_BYTES];
	size_t endpoint;
};
KLUIS_MUST_CHECK int api_recovery_start(
	struct client *client, const char *user, struct api_recovery *ret_recovery, struct err *e);
KLUIS_MUST_CHECK int api_recovery_finish(struct client *client, const struct api_recovery *recovery,
	struct bytes signature, struct api_grant *ret_grant, struct err *e);

/* POST /v1/devices and /v1/devices/{id}/approve, DELETE /v1/devices/{id} (the statement that
 * revokes, or a part of it): device_id NULL for the first. *ret_active: it is in the chain, and
 * does not wait for approval. */
KLUIS_MUST_CHECK int api_device_post(struct client *client, const uint8_t *device_id,
	struct bytes statement, bool *ret_active, struct err *e);
KLUIS_MUST_CHECK int api_device_delete(struct client *client, const uint8_t device_id[ID_BYTES],
	struct bytes statement, struct err *e);

#endif

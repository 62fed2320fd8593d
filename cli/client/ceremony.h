/* FIDO2 and U2F as a second factor, what a client that is no browser does of it (WebAuthn 5.8.1):
 * the cluster's challenge, client data over it, and the bodies that an authenticator's answer goes
 * into. Who speaks with the authenticator is the caller. Blocking. */
#ifndef KLUIS_CLI_CLIENT_CEREMONY_H
#define KLUIS_CLI_CLIENT_CEREMONY_H

#include "cli/client/client.h"
#include "cli/client/profile.h"
#include "crypto/hash.h"

enum {
	CEREMONY_AUTH_DATA_BYTES_MAX = 2048,
	CEREMONY_SIGNATURE_BYTES_MAX = 72,
	CEREMONY_CREDENTIAL_BYTES_MAX = 1023, /* WebAuthn 4. */
	CEREMONY_CREDENTIALS_MAX = 16,
};

/* What the cluster gave, and what is signed for it. ceremony_release(), also after a failure. */
struct ceremony {
	json_t *asked; /* The cluster's answer; the strings below are its. */
	const char *handshake, *rp_id;
	const json_t *credentials; /* {id, credential_id} */
	struct buf client_data;
};

/* Asks for a challenge, with a session of whatever level. create: a credential is to be made, else
 * one that is there signs. *ret_ceremony was zeroed. */
KLUIS_MUST_CHECK int ceremony_begin(struct ceremony *ret_ceremony, const struct profile *profile,
	struct client *client, bool create, struct err *e);
void ceremony_release(struct ceremony *ceremony);

/* SHA-256 of the client data: what the authenticator sees of it. */
void ceremony_hash(const struct ceremony *ceremony, uint8_t ret_hash[HASH_BYTES]);
/* Ids of the account's credentials, or of this factor's (32 hex digits) alone, as the cluster wrote
 * them: a list of base64url texts, the caller's; at most CEREMONY_CREDENTIALS_MAX. */
json_t *ceremony_credentials(const struct ceremony *ceremony, const char *factor);

/* What POST /v1/mfa/fido2 takes, by the authenticator data of a new credential; the caller's. */
json_t *ceremony_attestation(const struct ceremony *ceremony, struct bytes auth_data);
/* A proof of method fido2, for /v1/mfa/verify or as a member `proof`; the caller's. factor: named
 * in it unless NULL. */
json_t *ceremony_proof(const struct ceremony *ceremony, struct bytes auth_data,
	struct bytes signature, const char *factor);

#endif

/* What authenticators send by WebAuthn (W3C WebAuthn level 2): the node's checks of a new
 * credential and of an assertion, signatures by libfido2. Attestation is "none": whose make a key
 * is does not matter here. Keys of U2F come the same way. Any thread; a signature takes some 0.1
 * ms.
 */
#ifndef KLUIS_NODE_FIDO_H
#define KLUIS_NODE_FIDO_H

#include "base/buf.h"
#include "base/err.h"
#include "crypto/hash.h"

enum {
	FIDO_CHALLENGE_BYTES = 32,
	FIDO_CREDENTIAL_ID_BYTES_MAX = 1023, /* WebAuthn 6.5.1. */
	FIDO_CLIENT_DATA_BYTES_MAX = 2048,
	FIDO_AUTH_DATA_BYTES_MAX = 2048,
	FIDO_SIGNATURE_BYTES_MAX = 72, /* ES256 in DER. */
	FIDO_ORIGINS_MAX = 8,
	FIDO_NATIVE_ORIGIN_CHARS = 8 + 32,
};

/* Who we are to authenticators, the same on all nodes. */
struct fido_site {
	char *rp_id;			/* A domain: "vault.example.org"; NULL: no FIDO2. */
	char *origin[FIDO_ORIGINS_MAX]; /* "https://vault.example.org"; NULL behind the last. */
	/* What a client that is no browser signs for: "kluis://" and the cluster's id in hex, which
	 * no page can have as its origin and no other site takes. "": none. */
	char native_origin[FIDO_NATIVE_ORIGIN_CHARS + 1];
};
void fido_set_native_origin(struct fido_site *site, const uint8_t cluster_id[ID_BYTES]);

struct fido_credential {
	uint8_t key[64]; /* P-256: x | y. */
	size_t id_bytes;
	uint8_t id[FIDO_CREDENTIAL_ID_BYTES_MAX];
};

/* What a client sends of navigator.credentials.create() or get(). */
struct fido_answer {
	struct bytes client_data; /* clientDataJSON, as it was signed. */
	struct bytes auth_data;
	struct bytes signature; /* Of get() alone. */
};

/* WebAuthn 7.1, for attestation "none": type webauthn.create, this challenge, an origin of ours,
 * our rpIdHash, user present, attested credential data with an ES256 key on its curve.
 * KLUIS_EVERIFY with what is wrong; KLUIS_ESUITE for another algorithm. */
KLUIS_MUST_CHECK int fido_check_new(const struct fido_site *site,
	const uint8_t challenge[FIDO_CHALLENGE_BYTES], const struct fido_answer *answer,
	struct fido_credential *ret_credential, uint32_t *ret_count, struct err *e);
/* WebAuthn 7.2: type webauthn.get, challenge, origin, rpIdHash, user present, and the signature of
 * this credential. ret_count: signCount, which the state machine compares. KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int fido_check_assertion(const struct fido_site *site,
	const uint8_t challenge[FIDO_CHALLENGE_BYTES], const struct fido_credential *credential,
	const struct fido_answer *answer, uint32_t *ret_count, struct err *e);

#endif

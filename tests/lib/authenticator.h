/* An authenticator in software, as a browser would show it to us (W3C WebAuthn level 2): makes one
 * ES256 credential and signs with it. On OpenSSL alone, so that it shares nothing with the node. */
#ifndef KLUIS_TESTS_LIB_AUTHENTICATOR_H
#define KLUIS_TESTS_LIB_AUTHENTICATOR_H

#include "base/buf.h"

enum { AUTHENTICATOR_ID_BYTES = 32 };

struct authenticator {
	void *key; /* EVP_PKEY */
	uint8_t id[AUTHENTICATOR_ID_BYTES];
	uint32_t count;	   /* signCount of the next answer. */
	uint32_t step;	   /* By which it grows: 0 for one that does not count. */
	uint8_t flags;	   /* UP alone at first. */
	const char *rp_id; /* What it believes to sign for. */
	const char *origin;
	const char *extra; /* Members put behind the others in client data, or "". */
};

void authenticator_init(struct authenticator *a, const char *rp_id, const char *origin);
void authenticator_release(struct authenticator *a);
/* navigator.credentials.create(), attestation "none": appends both. */
void authenticator_create(struct authenticator *a, struct bytes challenge, struct buf *client_data,
	struct buf *auth_data);
/* navigator.credentials.get(). */
void authenticator_get(struct authenticator *a, struct bytes challenge, struct buf *client_data,
	struct buf *auth_data, struct buf *signature);
/* The signature of auth_data and client_data as they are now. */
void authenticator_sign(struct authenticator *a, struct bytes client_data, struct bytes auth_data,
	struct buf *signature);

#endif

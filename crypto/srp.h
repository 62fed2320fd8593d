/* SRP-6a (RFC 5054 groups, RFC 2945's proofs with SHA-256; docs/format-crypto.md, "SRP"): a client
 * proves that it knows a password, a node that it holds the verifier, and neither tells the other
 * nor the wire anything to guess from. Both halves, and the answers for users that do not exist.
 * Exponentiations are OpenSSL's constant-time ones; at 3072 bits each takes about half a
 * millisecond: on a pool, never on a loop thread. */
#ifndef KLUIS_CRYPTO_SRP_H
#define KLUIS_CRYPTO_SRP_H

#include "crypto/kdf.h"
#include "crypto/secret.h"

enum {
	SRP_GROUP_2048 = 2, /* The ids of the formats, and of RFC 5054 appendix A by order. */
	SRP_GROUP_3072 = 3,
	SRP_GROUP_4096 = 4,
	SRP_GROUP_6144 = 5,
	SRP_GROUP_DEFAULT = SRP_GROUP_3072,
	SRP_PUBLIC_BYTES_MAX = 768, /* A, B and v, padded to the length of N. */
	SRP_SALT_BYTES = 16,
	SRP_SECRET_BYTES = 32, /* a, b. */
	SRP_PROOF_BYTES = 32,  /* M1, M2. */
	SRP_SESSION_BYTES = 64,
	SRP_TOKEN_MAC_BYTES = 32,
	SRP_ENUM_KEY_BYTES = 32,
	SRP_SAMPLE_MAX = 64, /* Rows of the sample that decoys are drawn from. */
	SRP_SAMPLE_MIN = 8,  /* With fewer the deployment's default is the answer. */
};

/* Length of N in bytes: 256, 384, 512, 768; 0 for a group that is none of ours. Of any byte that a
 * peer sent. Any thread. */
size_t srp_group_bytes(unsigned group);

/* What both sides must agree on; copied by those that keep it. */
struct srp_terms {
	unsigned group;	   /* srp_group_bytes() != 0 (asserted; checked where it is parsed). */
	struct bytes user; /* I: 1 .. IDENTITY_NAME_BYTES_MAX bytes (asserted). */
	uint8_t salt[SRP_SALT_BYTES];
	uint8_t kdf[KDF_BYTES]; /* The block as the node sends it. */
	uint8_t cluster_id[ID_BYTES];
};

/* v = g^H(s | H(I ":" P_srp)), padded: what a registration sends. password: SRP_PASSWORD_BYTES.
 * terms: group, user, salt. Any thread. */
void srp_verifier(
	const struct srp_terms *terms, struct bytes password, struct secret *ret_verifier);
/* 0 when v is exactly as long as N and 0 < v < N, else KLUIS_EINVAL; KLUIS_ESUITE for a group that
 * is none of ours. Serves A and B as well. Any thread. */
KLUIS_MUST_CHECK int srp_check_public(unsigned group, struct bytes value, struct err *e);

/* The server's half of one handshake. One thread at a time; never moves between nodes. */
struct srp_server;
/* Takes the client's A, draws b and computes B (one exponentiation). verifier: PAD v, copied into
 * secret memory. KLUIS_EINVAL: A is not of N's length, or A mod N = 0, or A >= N. KLUIS_ECORRUPT: v
 * is not one of this group. Asserts terms. */
KLUIS_MUST_CHECK int srp_server_new(const struct srp_terms *terms, struct bytes verifier,
	struct bytes a_public, struct random *random, struct srp_server **ret_server,
	struct err *e);
/* Clears all of it; NULL is fine. */
void srp_server_free(struct srp_server *server);
void srp_server_freep(struct srp_server **server);
/* B, padded; lives as long as server. */
struct bytes srp_server_public(const struct srp_server *server);
/* Checks M1 (two exponentiations, whatever M1 is) and ends the handshake: b is cleared, right or
 * wrong. KLUIS_EVERIFY for a wrong M1, KLUIS_EGONE when called again. ret_session: SK,
 * SRP_SESSION_BYTES. */
KLUIS_MUST_CHECK int srp_server_finish(struct srp_server *server, struct bytes m1,
	uint8_t ret_m2[SRP_PROOF_BYTES], struct secret *ret_session, struct err *e);

/* The client's half. One thread at a time. */
struct srp_client;
/* Draws a and computes A. KLUIS_ESUITE for a group that is none of ours. */
KLUIS_MUST_CHECK int srp_client_new(
	unsigned group, struct random *random, struct srp_client **ret_client, struct err *e);
void srp_client_free(struct srp_client *client);
void srp_client_freep(struct srp_client **client);
/* A, padded; lives as long as client. */
struct bytes srp_client_public(const struct srp_client *client);
/* M1 for the node's answer. terms->group is that of srp_client_new() (asserted); password:
 * SRP_PASSWORD_BYTES, derived by the terms' kdf and salt of KDF block, which kdf_decode() and
 * kdf_check_pin() have passed. KLUIS_EVERIFY: B is not of N's length, B mod N = 0, B >= N, u = 0.
 * Once per client: KLUIS_EGONE after. */
KLUIS_MUST_CHECK int srp_client_answer(struct srp_client *client, const struct srp_terms *terms,
	struct bytes password, struct bytes b_public, uint8_t ret_m1[SRP_PROOF_BYTES],
	struct err *e);
/* SK, once M2 shows that the node holds the verifier: KLUIS_EVERIFY, and then nothing more may be
 * sent to it. Only after srp_client_answer() (asserted). */
KLUIS_MUST_CHECK int srp_client_finish(
	struct srp_client *client, struct bytes m2, struct secret *ret_session, struct err *e);

/* token_mac = HMAC(SK[0..32), "kluis/v1/token" | token): binds the token, the cluster and the KDF
 * block to this handshake. session: SK. Any thread. */
void srp_token_mac(struct bytes session, struct bytes token, uint8_t ret_mac[SRP_TOKEN_MAC_BYTES]);
/* The client's check, before it uses the token: KLUIS_EVERIFY. */
KLUIS_MUST_CHECK int srp_token_check(
	struct bytes session, struct bytes token, struct bytes mac, struct err *e);

/* What of a real account a decoy may look like. */
struct srp_sample {
	uint32_t login_count; /* N_L; N_K = 2 N_L. */
	unsigned group;
	unsigned flags; /* Of the KDF block. */
};
/* The default of a deployment that sets no other: 1 million, group 3, account key. */
extern const struct srp_sample srp_sample_default;
/* What login/start would have found for a user that does not exist: the same for the same name, on
 * every node, for ever. */
struct srp_decoy {
	unsigned group;
	uint8_t kdf[KDF_BYTES];
	uint8_t salt[SRP_SALT_BYTES];
	struct secret verifier; /* PAD v of nobody's password. */
};
/* enum_key: SRP_ENUM_KEY_BYTES. rows: the replicated sample, in its order; fewer than
 * SRP_SAMPLE_MIN: `fallback` is the answer. So that an unknown user takes the same path, call it
 * for every login/start, unseal a dummy of the same length, and let srp_server_finish() fail.
 * KLUIS_EINVAL: more than SRP_SAMPLE_MAX rows, or a row that no account could have. Any thread. */
KLUIS_MUST_CHECK int srp_decoy_make(struct bytes enum_key, struct bytes user,
	const struct srp_sample *rows, size_t count, const struct srp_sample *fallback,
	struct srp_decoy *ret_decoy, struct err *e);
void srp_decoy_release(struct srp_decoy *decoy);

#endif

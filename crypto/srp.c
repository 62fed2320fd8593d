#include "crypto/srp.h"

#include <assert.h>
#include <string.h>

#include "crypto/identity.h"
#include "crypto/srp_group.h"

enum { SRP_MAGIC_SERVER = 0x53525053, SRP_MAGIC_CLIENT = 0x53525043 };

/* What both halves keep of one handshake. */
struct srp_ends {
	const struct srp_group *group;
	unsigned group_id;
	char user[IDENTITY_NAME_BYTES_MAX];
	size_t user_len;
	uint8_t salt[SRP_SALT_BYTES], kdf[KDF_BYTES], cluster_id[ID_BYTES];
	uint8_t a_public[SRP_PUBLIC_BYTES_MAX], b_public[SRP_PUBLIC_BYTES_MAX];
};

struct srp_server {
	unsigned magic;
	bool done;
	struct srp_ends ends;
	struct secret b, verifier;
};

struct srp_client {
	unsigned magic;
	bool answered;
	struct srp_ends ends;
	struct secret a, session;
	uint8_t m2[SRP_PROOF_BYTES];
};

static size_t ends_bytes(const struct srp_ends *ends)
{
	return srp_math_bytes(ends->group->math);
}

static struct bytes ends_a(const struct srp_ends *ends)
{
	return bytes_of(ends->a_public, ends_bytes(ends));
}

static struct bytes ends_b(const struct srp_ends *ends)
{
	return bytes_of(ends->b_public, ends_bytes(ends));
}

static void ends_set(struct srp_ends *ends, const struct srp_terms *terms)
{
	assert(terms->user.len >= 1 && terms->user.len <= sizeof ends->user);
	ends->group = srp_group(terms->group);
	assert(ends->group != NULL);
	ends->group_id = terms->group;
	memcpy(ends->user, terms->user.data, terms->user.len);
	ends->user_len = terms->user.len;
	memcpy(ends->salt, terms->salt, sizeof ends->salt);
	memcpy(ends->kdf, terms->kdf, sizeof ends->kdf);
	memcpy(ends->cluster_id, terms->cluster_id, sizeof ends->cluster_id);
}

/* u = H(PAD A | PAD B); false when it is 0, which would take the password out of the game. */
static bool ends_scramble(const struct srp_ends *ends, uint8_t ret_u[HASH_BYTES])
{
	const struct bytes parts[] = {ends_a(ends), ends_b(ends)};
	uint8_t any = 0;

	hash_sha256_parts(parts, ARRAY_SIZE(parts), ret_u);
	for (size_t i = 0; i < HASH_BYTES; i++) {
		any |= ret_u[i];
	}
	return any != 0;
}

/* SK = HKDF(TH("kluis/v1/session", ...), K, "kluis/v1/session", 64). */
static void ends_session(const struct srp_ends *ends, struct bytes k, struct secret *ret_session)
{
	const uint8_t group = (uint8_t)ends->group_id;
	const struct bytes info = bytes_str("kluis/v1/session");
	uint8_t salt[HASH_BYTES];

	HASH_TH(salt, "kluis/v1/session", bytes_of(ends->cluster_id, ID_BYTES),
		bytes_of(ends->user, ends->user_len), bytes_of(ends->kdf, KDF_BYTES),
		bytes_of(&group, 1), bytes_of(ends->salt, SRP_SALT_BYTES), ends_a(ends),
		ends_b(ends));
	secret_init(ret_session, SRP_SESSION_BYTES);
	hkdf(bytes_of(salt, sizeof salt), k, &info, 1, ret_session->data, SRP_SESSION_BYTES);
}

/* From the premaster secret S, padded: K = H(PAD S), and all that is made of it. */
static void ends_prove(const struct srp_ends *ends, struct bytes premaster,
	uint8_t ret_m1[SRP_PROOF_BYTES], uint8_t ret_m2[SRP_PROOF_BYTES],
	struct secret *ret_session)
{
	uint8_t k[HASH_BYTES], name[HASH_BYTES];

	hash_sha256(premaster, k);
	hash_sha256(bytes_of(ends->user, ends->user_len), name);
	hash_sha256_parts((const struct bytes[]){bytes_of(ends->group->mix, HASH_BYTES),
				  bytes_of(name, HASH_BYTES), bytes_of(ends->salt, SRP_SALT_BYTES),
				  ends_a(ends), ends_b(ends), bytes_of(k, HASH_BYTES)},
		6, ret_m1);
	hash_sha256_parts((const struct bytes[]){ends_a(ends), bytes_of(ret_m1, SRP_PROOF_BYTES),
				  bytes_of(k, HASH_BYTES)},
		3, ret_m2);
	ends_session(ends, bytes_of(k, sizeof k), ret_session);
	secret_clear(k, sizeof k);
}

/* x = H(s | H(I ":" P_srp)). */
static void srp_private(const uint8_t salt[SRP_SALT_BYTES], struct bytes user,
	struct bytes password, struct secret *ret_x)
{
	const struct bytes inner[] = {user, bytes_str(":"), password};
	uint8_t hash[HASH_BYTES];

	hash_sha256_parts(inner, ARRAY_SIZE(inner), hash);
	secret_init(ret_x, HASH_BYTES);
	hash_sha256_parts(
		(const struct bytes[]){bytes_of(salt, SRP_SALT_BYTES), bytes_of(hash, sizeof hash)},
		2, ret_x->data);
	secret_clear(hash, sizeof hash);
}

size_t srp_group_bytes(unsigned group)
{
	const struct srp_group *found = srp_group(group);

	return found == NULL ? 0 : srp_math_bytes(found->math);
}

int srp_check_public(unsigned group, struct bytes value, struct err *e)
{
	const struct srp_group *found = srp_group(group);

	if (found == NULL) {
		return err_set(e, KLUIS_ESUITE, "unknown srp group %u", group);
	}
	if (!srp_math_public_ok(found->math, value)) {
		return err_set(e, KLUIS_EINVAL, "srp value out of range");
	}
	return 0;
}

void srp_verifier(const struct srp_terms *terms, struct bytes password, struct secret *ret_verifier)
{
	_cleanup_(secret_release) struct secret x = SECRET_INIT;
	const struct srp_group *group = srp_group(terms->group);

	assert(group != NULL);
	srp_private(terms->salt, terms->user, password, &x);
	secret_init(ret_verifier, srp_math_bytes(group->math));
	srp_math_power(group->math, secret_bytes(&x), ret_verifier->data);
}

/* --- server ---------------------------------------------------------------------------------- */

int srp_server_new(const struct srp_terms *terms, struct bytes verifier, struct bytes a_public,
	struct random *random, struct srp_server **ret_server, struct err *e)
{
	struct srp_server *server;

	if (srp_check_public(terms->group, verifier, NULL) != 0) {
		return err_set(e, KLUIS_ECORRUPT, "srp verifier of no group");
	}
	if (srp_check_public(terms->group, a_public, NULL) != 0) {
		return err_set(e, KLUIS_EINVAL, "srp: A out of range");
	}
	server = x_calloc(1, sizeof *server);
	server->magic = SRP_MAGIC_SERVER;
	ends_set(&server->ends, terms);
	memcpy(server->ends.a_public, a_public.data, a_public.len);
	secret_set(&server->verifier, verifier);
	secret_random(&server->b, SRP_SECRET_BYTES, random);
	srp_math_server_public(server->ends.group->math, verifier, secret_bytes(&server->b),
		server->ends.b_public);
	*ret_server = server;
	return 0;
}

void srp_server_free(struct srp_server *server)
{
	if (server != NULL) {
		assert(server->magic == SRP_MAGIC_SERVER);
		secret_release(&server->b);
		secret_release(&server->verifier);
		secret_clear(server, sizeof *server);
		free(server);
	}
}

void srp_server_freep(struct srp_server **server)
{
	srp_server_free(*server);
}

struct bytes srp_server_public(const struct srp_server *server)
{
	assert(server->magic == SRP_MAGIC_SERVER);
	return ends_b(&server->ends);
}

static int server_secret(struct srp_server *server, struct secret *ret_premaster)
{
	const struct srp_ends *ends = &server->ends;
	uint8_t u[HASH_BYTES];

	if (!ends_scramble(ends, u)) {
		return KLUIS_EVERIFY;
	}
	secret_init(ret_premaster, ends_bytes(ends));
	srp_math_server_secret(ends->group->math, ends_a(ends), secret_bytes(&server->verifier),
		bytes_of(u, sizeof u), secret_bytes(&server->b), ret_premaster->data);
	return 0;
}

int srp_server_finish(struct srp_server *server, struct bytes m1, uint8_t ret_m2[SRP_PROOF_BYTES],
	struct secret *ret_session, struct err *e)
{
	_cleanup_(secret_release) struct secret premaster = SECRET_INIT, session = SECRET_INIT;
	uint8_t want[SRP_PROOF_BYTES], m2[SRP_PROOF_BYTES];
	int rc;

	assert(server->magic == SRP_MAGIC_SERVER);
	if (server->done) {
		return err_set(e, KLUIS_EGONE, "the handshake is over");
	}
	server->done = true;
	rc = server_secret(server, &premaster);
	secret_release(&server->b);
	secret_release(&server->verifier);
	if (rc == 0) {
		ends_prove(&server->ends, secret_bytes(&premaster), want, m2, &session);
		rc = secret_equal(bytes_of(want, sizeof want), m1) ? 0 : KLUIS_EVERIFY;
	}
	if (rc == 0) {
		memcpy(ret_m2, m2, sizeof m2);
		secret_move(ret_session, &session);
	}
	secret_clear(want, sizeof want);
	secret_clear(m2, sizeof m2);
	return rc == 0 ? 0 : err_set(e, rc, "srp: M1 does not verify");
}

/* --- client ---------------------------------------------------------------------------------- */

int srp_client_new(
	unsigned group, struct random *random, struct srp_client **ret_client, struct err *e)
{
	struct srp_client *client;

	if (srp_group(group) == NULL) {
		return err_set(e, KLUIS_ESUITE, "unknown srp group %u", group);
	}
	client = x_calloc(1, sizeof *client);
	client->magic = SRP_MAGIC_CLIENT;
	client->ends.group = srp_group(group);
	client->ends.group_id = group;
	secret_random(&client->a, SRP_SECRET_BYTES, random);
	srp_math_power(client->ends.group->math, secret_bytes(&client->a), client->ends.a_public);
	*ret_client = client;
	return 0;
}

void srp_client_free(struct srp_client *client)
{
	if (client != NULL) {
		assert(client->magic == SRP_MAGIC_CLIENT);
		secret_release(&client->a);
		secret_release(&client->session);
		secret_clear(client, sizeof *client);
		free(client);
	}
}

void srp_client_freep(struct srp_client **client)
{
	srp_client_free(*client);
}

struct bytes srp_client_public(const struct srp_client *client)
{
	assert(client->magic == SRP_MAGIC_CLIENT);
	return ends_a(&client->ends);
}

static int client_secret(struct srp_client *client, const struct srp_terms *terms,
	struct bytes password, struct secret *ret_premaster, struct err *e)
{
	_cleanup_(secret_release) struct secret x = SECRET_INIT;
	const struct srp_ends *ends = &client->ends;
	uint8_t u[HASH_BYTES];

	if (!ends_scramble(ends, u)) {
		return err_set(e, KLUIS_EVERIFY, "srp: u is 0");
	}
	srp_private(terms->salt, terms->user, password, &x);
	secret_init(ret_premaster, ends_bytes(ends));
	srp_math_client_secret(ends->group->math, ends_b(ends), secret_bytes(&x),
		bytes_of(u, sizeof u), secret_bytes(&client->a), ret_premaster->data);
	return 0;
}

int srp_client_answer(struct srp_client *client, const struct srp_terms *terms,
	struct bytes password, struct bytes b_public, uint8_t ret_m1[SRP_PROOF_BYTES],
	struct err *e)
{
	_cleanup_(secret_release) struct secret premaster = SECRET_INIT;
	int rc;

	assert(client->magic == SRP_MAGIC_CLIENT && terms->group == client->ends.group_id);
	if (client->answered) {
		return err_set(e, KLUIS_EGONE, "the handshake is over");
	}
	client->answered = true;
	if (srp_check_public(terms->group, b_public, NULL) != 0) {
		return err_set(e, KLUIS_EVERIFY, "srp: B out of range");
	}
	ends_set(&client->ends, terms);
	memcpy(client->ends.b_public, b_public.data, b_public.len);
	rc = client_secret(client, terms, password, &premaster, e);
	secret_release(&client->a);
	if (rc == 0) {
		ends_prove(&client->ends, secret_bytes(&premaster), ret_m1, client->m2,
			&client->session);
	}
	return rc;
}

int srp_client_finish(
	struct srp_client *client, struct bytes m2, struct secret *ret_session, struct err *e)
{
	assert(client->magic == SRP_MAGIC_CLIENT && client->answered);
	if (client->session.len == 0 ||
		!secret_equal(bytes_of(client->m2, sizeof client->m2), m2)) {
		secret_release(&client->session);
		return err_set(e, KLUIS_EVERIFY, "the node does not hold this account's verifier");
	}
	secret_move(ret_session, &client->session);
	return 0;
}

/* --- token ----------------------------------------------------------------------------------- */

void srp_token_mac(struct bytes session, struct bytes token, uint8_t ret_mac[SRP_TOKEN_MAC_BYTES])
{
	const struct bytes parts[] = {bytes_str("kluis/v1/token"), token};

	assert(session.len == SRP_SESSION_BYTES);
	hash_hmac(bytes_of(session.data, HMAC_BYTES), parts, ARRAY_SIZE(parts), ret_mac);
}

int srp_token_check(struct bytes session, struct bytes token, struct bytes mac, struct err *e)
{
	uint8_t want[SRP_TOKEN_MAC_BYTES];

	srp_token_mac(session, token, want);
	if (token.len == 0 || !secret_equal(bytes_of(want, sizeof want), mac)) {
		return err_set(e, KLUIS_EVERIFY, "the token is not of this handshake");
	}
	return 0;
}

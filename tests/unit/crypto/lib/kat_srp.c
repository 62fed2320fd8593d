#include "tests/unit/crypto/lib/kat_password.h"

#include <string.h>

#include "crypto/identity.h"
#include "crypto/srp.h"
#include "crypto/srp_group.h"

static int take_terms(struct kat_run *run, struct srp_terms *ret)
{
	ret->group = (unsigned)kat_number_max(run, "group", UINT8_MAX);
	ret->user = kat_bytes(run, "user");
	kat_fixed(run, kat_bytes(run, "s"), ret->salt, sizeof ret->salt);
	kat_fixed(run, kat_bytes(run, "kdf"), ret->kdf, sizeof ret->kdf);
	kat_fixed(run, kat_bytes(run, "cluster_id"), ret->cluster_id, sizeof ret->cluster_id);
	return identity_name_valid(ret->user) ? 0 : KLUIS_EINVAL;
}

static struct bytes hash_of(const uint8_t hash[HASH_BYTES])
{
	return bytes_of(hash, HASH_BYTES);
}

static void server_of(struct kat_run *run, const struct srp_terms *terms, struct bytes verifier,
	struct bytes a_public, struct srp_server **ret_server, int *ret_rc)
{
	struct kat_random b;

	kat_random_init(&b, run, kat_bytes(run, "b"));
	*ret_rc = srp_server_new(terms, verifier, a_public, &b.random, ret_server, NULL);
}

static struct srp_client *client_of(struct kat_run *run, const struct srp_terms *terms)
{
	struct srp_client *client = NULL;
	struct kat_random a;

	kat_random_init(&a, run, kat_bytes(run, "a"));
	return srp_client_new(terms->group, &a.random, &client, NULL) == 0 ? client : NULL;
}

/* The numbers inside, made of the same pieces once more. */
static void put_inside(struct kat_run *run, const struct srp_terms *terms, struct bytes a_public,
	struct bytes b_public, struct bytes verifier)
{
	const struct srp_math *math = srp_group(terms->group)->math;
	const struct bytes password = kat_bytes(run, "P_srp");
	uint8_t number[SRP_PUBLIC_BYTES_MAX];
	uint8_t inner[HASH_BYTES], x[HASH_BYTES], u[HASH_BYTES], k[HASH_BYTES];
	size_t len = srp_math_bytes(math);

	hash_sha256_parts((const struct bytes[]){terms->user, bytes_str(":"), password}, 3, inner);
	hash_sha256_parts(
		(const struct bytes[]){bytes_of(terms->salt, SRP_SALT_BYTES), hash_of(inner)}, 2,
		x);
	kat_put_bytes(run, "x", hash_of(x));
	hash_sha256_parts((const struct bytes[]){a_public, b_public}, 2, u);
	kat_put_bytes(run, "u", hash_of(u));
	srp_math_server_secret(math, a_public, verifier, hash_of(u), kat_bytes(run, "b"), number);
	kat_put_bytes(run, "S", bytes_of(number, len));
	hash_sha256(bytes_of(number, len), k);
	kat_put_bytes(run, "K", hash_of(k));
	kat_put_bytes(run, "k", hash_of(srp_group(terms->group)->k));
}

int kat_srp(struct kat_run *run)
{
	_cleanup_(srp_server_freep) struct srp_server *server = NULL;
	_cleanup_(srp_client_freep) struct srp_client *client = NULL;
	_cleanup_(secret_release) struct secret verifier = SECRET_INIT, ours = SECRET_INIT,
						theirs = SECRET_INIT;
	uint8_t m1[SRP_PROOF_BYTES], m2[SRP_PROOF_BYTES];
	struct bytes password = kat_bytes(run, "P_srp");
	struct srp_terms terms;
	int rc = take_terms(run, &terms);

	if (rc == 0) {
		srp_verifier(&terms, password, &verifier);
		client = client_of(run, &terms);
		server_of(run, &terms, secret_bytes(&verifier), srp_client_public(client), &server,
			&rc);
	}
	if (rc == 0) {
		rc = srp_client_answer(
			client, &terms, password, srp_server_public(server), m1, NULL);
	}
	if (rc == 0) {
		rc = srp_server_finish(server, bytes_of(m1, sizeof m1), m2, &ours, NULL);
	}
	if (rc == 0) {
		rc = srp_client_finish(client, bytes_of(m2, sizeof m2), &theirs, NULL);
	}
	if (rc != 0 || !secret_equal(secret_bytes(&ours), secret_bytes(&theirs))) {
		return rc != 0 ? rc : KLUIS_EINTERNAL;
	}
	kat_put_bytes(run, "v", secret_bytes(&verifier));
	kat_put_bytes(run, "A", srp_client_public(client));
	kat_put_bytes(run, "B", srp_server_public(server));
	kat_put_bytes(run, "M1", bytes_of(m1, sizeof m1));
	kat_put_bytes(run, "M2", bytes_of(m2, sizeof m2));
	kat_put_bytes(run, "SK", secret_bytes(&ours));
	put_inside(run, &terms, srp_client_public(client), srp_server_public(server),
		secret_bytes(&verifier));
	return 0;
}

int kat_srp_server(struct kat_run *run)
{
	_cleanup_(srp_server_freep) struct srp_server *server = NULL;
	_cleanup_(secret_release) struct secret session = SECRET_INIT, again = SECRET_INIT;
	uint8_t m2[SRP_PROOF_BYTES];
	struct bytes m1 = kat_bytes(run, "M1");
	struct srp_terms terms;
	int rc = take_terms(run, &terms);

	if (rc == 0) {
		server_of(run, &terms, kat_bytes(run, "v"), kat_bytes(run, "A"), &server, &rc);
	}
	if (rc == 0) {
		rc = srp_server_finish(server, m1, m2, &session, NULL);
		/* b is used once, right or wrong. */
		if (srp_server_finish(server, m1, m2, &again, NULL) != KLUIS_EGONE) {
			kat_malformed(run, "b used twice");
		}
	}
	if (rc == 0) {
		kat_put_bytes(run, "M2", bytes_of(m2, sizeof m2));
		kat_put_bytes(run, "SK", secret_bytes(&session));
	}
	return rc;
}

static int run_client(
	struct kat_run *run, uint8_t ret_m1[SRP_PROOF_BYTES], struct secret *ret_session)
{
	_cleanup_(srp_client_freep) struct srp_client *client = NULL;
	struct srp_terms terms;
	int rc = take_terms(run, &terms);

	if (rc == 0) {
		client = client_of(run, &terms);
		rc = client == NULL ? KLUIS_ESUITE
				    : srp_client_answer(client, &terms, kat_bytes(run, "P_srp"),
					      kat_bytes(run, "B"), ret_m1, NULL);
	}
	return rc != 0 ? rc : srp_client_finish(client, kat_bytes(run, "M2"), ret_session, NULL);
}

int kat_srp_client(struct kat_run *run)
{
	_cleanup_(secret_release) struct secret session = SECRET_INIT;
	uint8_t m1[SRP_PROOF_BYTES];
	int rc = run_client(run, m1, &session);

	if (rc == 0) {
		kat_put_bytes(run, "M1", bytes_of(m1, sizeof m1));
		kat_put_bytes(run, "SK", secret_bytes(&session));
	}
	return rc;
}

int kat_token(struct kat_run *run)
{
	_cleanup_(secret_release) struct secret session = SECRET_INIT;
	uint8_t m1[SRP_PROOF_BYTES];
	int rc = run_client(run, m1, &session);

	if (rc == 0) {
		rc = srp_token_check(secret_bytes(&session), bytes_str(kat_text(run, "token_text")),
			kat_bytes(run, "token_mac"), NULL);
	}
	if (rc == 0) {
		kat_put_bytes(run, "SK", secret_bytes(&session));
		kat_put_bytes(run, "key", bytes_of(session.data, HMAC_BYTES));
	}
	return rc;
}

static struct srp_sample sample_of(struct kat_run *run, const json_t *row)
{
	const json_t *count = json_array_get(row, 0), *group = json_array_get(row, 1),
		     *flags = json_array_get(row, 2);

	if (!json_is_integer(count) || !json_is_integer(group) || !json_is_integer(flags)) {
		kat_malformed(run, "a sample row");
		return srp_sample_default;
	}
	return (struct srp_sample){(uint32_t)json_integer_value(count),
		(unsigned)json_integer_value(group), (unsigned)json_integer_value(flags)};
}

int kat_srp_unknown(struct kat_run *run)
{
	const json_t *list = kat_value(run, "sample");
	struct srp_sample rows[128], fallback = sample_of(run, kat_value(run, "default"));
	struct srp_decoy decoy = {.verifier = SECRET_INIT};
	size_t count = json_array_size(list);
	int rc;

	if (count > ARRAY_SIZE(rows)) {
		kat_malformed(run, "sample");
		return KLUIS_EINVAL;
	}
	for (size_t i = 0; i < count; i++) {
		rows[i] = sample_of(run, json_array_get(list, i));
	}
	rc = srp_decoy_make(kat_bytes(run, "enum_key"), kat_bytes(run, "user"), rows, count,
		&fallback, &decoy, NULL);
	if (rc == 0) {
		kat_put_bytes(run, "kdf", bytes_of(decoy.kdf, sizeof decoy.kdf));
		kat_put_number(run, "group", decoy.group);
		kat_put_bytes(run, "s", bytes_of(decoy.salt, sizeof decoy.salt));
		kat_put_bytes(run, "v", secret_bytes(&decoy.verifier));
	}
	srp_decoy_release(&decoy);
	return rc;
}

/* SRP: what the known answers do not show: whole handshakes on all groups, what each end refuses,
 * decoys, and that a handshake is worth one answer. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/wire.h"
#include "crypto/srp.h"

#define PASSWORD "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define WRONG	 "1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct random_seeded seeded;

static struct srp_terms terms_of(unsigned group)
{
	struct srp_terms terms = {.group = group, .user = bytes_str("alice@example.org")};

	memset(terms.salt, 1, sizeof terms.salt);
	memset(terms.kdf, 2, sizeof terms.kdf);
	memset(terms.cluster_id, 3, sizeof terms.cluster_id);
	return terms;
}

struct pair {
	struct srp_terms terms;
	struct secret verifier;
	struct srp_server *server;
	struct srp_client *client;
};

static void pair_start(struct pair *p, unsigned group)
{
	memset(p, 0, sizeof *p);
	p->terms = terms_of(group);
	srp_verifier(&p->terms, bytes_str(PASSWORD), &p->verifier);
	assert_int_equal(p->verifier.len, srp_group_bytes(group));
	assert_int_equal(srp_client_new(group, &seeded.random, &p->client, NULL), 0);
	assert_int_equal(srp_server_new(&p->terms, secret_bytes(&p->verifier),
				 srp_client_public(p->client), &seeded.random, &p->server, NULL),
		0);
}

static void pair_end(struct pair *p)
{
	secret_release(&p->verifier);
	srp_server_free(p->server);
	srp_client_free(p->client);
}

static int pair_answer(struct pair *p, const struct srp_terms *terms, const char *password,
	uint8_t ret_m1[SRP_PROOF_BYTES])
{
	return srp_client_answer(
		p->client, terms, bytes_str(password), srp_server_public(p->server), ret_m1, NULL);
}

static void test_handshake(void **state)
{
	(void)state;
	for (unsigned group = SRP_GROUP_2048; group <= SRP_GROUP_6144; group++) {
		_cleanup_(secret_release) struct secret ours = SECRET_INIT, theirs = SECRET_INIT;
		uint8_t m1[SRP_PROOF_BYTES], m2[SRP_PROOF_BYTES];
		struct pair p;

		pair_start(&p, group);
		assert_int_equal(pair_answer(&p, &p.terms, PASSWORD, m1), 0);
		assert_int_equal(
			srp_server_finish(p.server, bytes_of(m1, sizeof m1), m2, &ours, NULL), 0);
		assert_int_equal(
			srp_client_finish(p.client, bytes_of(m2, sizeof m2), &theirs, NULL), 0);
		assert_int_equal(ours.len, SRP_SESSION_BYTES);
		assert_true(secret_equal(secret_bytes(&ours), secret_bytes(&theirs)));
		pair_end(&p);
	}
}

/* Any other term, or the wrong password, and neither end is fooled. */
static void expect_refused(
	void (*change)(struct srp_terms *terms), const char *password, bool m1_binds)
{
	_cleanup_(secret_release) struct secret ours = SECRET_INIT, theirs = SECRET_INIT;
	uint8_t m1[SRP_PROOF_BYTES], m2[SRP_PROOF_BYTES] = {0};
	struct srp_terms terms;
	struct pair p;
	int rc;

	pair_start(&p, SRP_GROUP_2048);
	terms = p.terms;
	if (change != NULL) {
		change(&terms);
	}
	assert_int_equal(pair_answer(&p, &terms, password, m1), 0);
	rc = srp_server_finish(p.server, bytes_of(m1, sizeof m1), m2, &ours, NULL);
	assert_int_equal(rc, m1_binds ? KLUIS_EVERIFY : 0);
	if (m1_binds) {
		assert_int_equal(ours.len, 0);
		assert_int_equal(
			srp_client_finish(p.client, bytes_of(m2, sizeof m2), &theirs, NULL),
			KLUIS_EVERIFY);
	} else {
		uint8_t mac[SRP_TOKEN_MAC_BYTES];

		/* Then the token's MAC does. */
		assert_int_equal(
			srp_client_finish(p.client, bytes_of(m2, sizeof m2), &theirs, NULL), 0);
		srp_token_mac(secret_bytes(&ours), bytes_str("kst_x"), mac);
		assert_int_equal(srp_token_check(secret_bytes(&theirs), bytes_str("kst_x"),
					 bytes_of(mac, sizeof mac), NULL),
			KLUIS_EVERIFY);
		assert_int_equal(srp_token_check(secret_bytes(&ours), bytes_str("kst_x"),
					 bytes_of(mac, sizeof mac), NULL),
			0);
	}
	pair_end(&p);
}

static void change_salt(struct srp_terms *terms)
{
	terms->salt[15] ^= 1;
}

static void change_user(struct srp_terms *terms)
{
	terms->user = bytes_str("alice@example.or");
}

static void change_kdf(struct srp_terms *terms)
{
	terms->kdf[7] ^= 1;
}

static void change_cluster(struct srp_terms *terms)
{
	terms->cluster_id[0] ^= 1;
}

static void test_terms(void **state)
{
	(void)state;
	expect_refused(NULL, WRONG, true);
	expect_refused(change_salt, PASSWORD, true);
	expect_refused(change_user, PASSWORD, true);
	expect_refused(change_kdf, PASSWORD, false);
	expect_refused(change_cluster, PASSWORD, false);
}

/* One wrong M1 ends it: the right one comes too late. */
static void test_one_try(void **state)
{
	_cleanup_(secret_release) struct secret session = SECRET_INIT;
	uint8_t m1[SRP_PROOF_BYTES], m2[SRP_PROOF_BYTES] = {7}, untouched[SRP_PROOF_BYTES] = {7};
	struct pair p;

	(void)state;
	pair_start(&p, SRP_GROUP_2048);
	assert_int_equal(pair_answer(&p, &p.terms, PASSWORD, m1), 0);
	assert_int_equal(
		srp_server_finish(p.server, bytes_of(m1, sizeof m1 - 1), m2, &session, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(srp_server_finish(p.server, bytes_of(m1, sizeof m1), m2, &session, NULL),
		KLUIS_EGONE);
	assert_memory_equal(m2, untouched, sizeof m2);
	assert_int_equal(session.len, 0);
	assert_int_equal(pair_answer(&p, &p.terms, PASSWORD, m1), KLUIS_EGONE);
	/* A wrong M2, and the right one comes too late. */
	assert_int_equal(srp_client_finish(p.client, bytes_of(m2, sizeof m2), &session, NULL),
		KLUIS_EVERIFY);
	pair_end(&p);
}

/* M2 made without the verifier: the node that sends it is not the cluster. */
static void test_wrong_m2(void **state)
{
	_cleanup_(secret_release) struct secret ours = SECRET_INIT, theirs = SECRET_INIT;
	uint8_t m1[SRP_PROOF_BYTES], m2[SRP_PROOF_BYTES];
	struct pair p;

	(void)state;
	pair_start(&p, SRP_GROUP_2048);
	assert_int_equal(pair_answer(&p, &p.terms, PASSWORD, m1), 0);
	assert_int_equal(srp_server_finish(p.server, bytes_of(m1, sizeof m1), m2, &ours, NULL), 0);
	m2[31] ^= 0x80;
	assert_int_equal(
		srp_client_finish(p.client, bytes_of(m2, sizeof m2), &theirs, NULL), KLUIS_EVERIFY);
	m2[31] ^= 0x80;
	assert_int_equal(
		srp_client_finish(p.client, bytes_of(m2, sizeof m2), &theirs, NULL), KLUIS_EVERIFY);
	assert_int_equal(theirs.len, 0);
	pair_end(&p);
}

static void test_out_of_range(void **state)
{
	struct srp_terms terms = terms_of(SRP_GROUP_3072);
	uint8_t value[SRP_PUBLIC_BYTES_MAX] = {0}, m1[SRP_PROOF_BYTES];
	struct srp_client *client = NULL;
	struct srp_server *server = NULL;
	struct bytes all_ones;

	(void)state;
	assert_int_equal(srp_group_bytes(1), 0);
	assert_int_equal(srp_group_bytes(6), 0);
	assert_int_equal(srp_client_new(6, &seeded.random, &client, NULL), KLUIS_ESUITE);
	assert_int_equal(srp_check_public(0, bytes_of(value, 384), NULL), KLUIS_ESUITE);
	value[383] = 1;
	assert_int_equal(srp_check_public(3, bytes_of(value, 384), NULL), 0);
	assert_int_equal(srp_check_public(3, bytes_of(value, 383), NULL), KLUIS_EINVAL);
	assert_int_equal(srp_check_public(4, bytes_of(value, 384), NULL), KLUIS_EINVAL);
	assert_int_equal(srp_server_new(&terms, bytes_of(value, 383), bytes_of(value, 384),
				 &seeded.random, &server, NULL),
		KLUIS_ECORRUPT);
	value[383] = 0;
	assert_int_equal(srp_check_public(3, bytes_of(value, 384), NULL), KLUIS_EINVAL);
	memset(value, 0xff, 384);
	all_ones = bytes_of(value, 384);
	assert_int_equal(srp_check_public(3, all_ones, NULL), KLUIS_EINVAL);
	assert_int_equal(srp_client_new(3, &seeded.random, &client, NULL), 0);
	assert_int_equal(srp_client_answer(client, &terms, bytes_str(PASSWORD), all_ones, m1, NULL),
		KLUIS_EVERIFY);
	srp_client_free(client);
	assert_null(server);
}

/* --- decoys ---------------------------------------------------------------------------------- */

static const uint8_t enum_key[SRP_ENUM_KEY_BYTES] = {1, 2, 3};

static void decoy(
	const char *user, const struct srp_sample *rows, size_t count, struct srp_decoy *ret)
{
	assert_int_equal(srp_decoy_make(bytes_of(enum_key, sizeof enum_key), bytes_str(user), rows,
				 count, &srp_sample_default, ret, NULL),
		0);
}

static bool decoys_equal(const struct srp_decoy *a, const struct srp_decoy *b)
{
	return a->group == b->group && memcmp(a->kdf, b->kdf, sizeof a->kdf) == 0 &&
	       memcmp(a->salt, b->salt, sizeof a->salt) == 0 &&
	       secret_equal(secret_bytes(&a->verifier), secret_bytes(&b->verifier));
}

/* The same name always, another name another answer, and a handshake that goes on to M1. */
static void test_decoy_stable(void **state)
{
	struct srp_decoy first = {0}, again = {0}, other = {0};
	uint8_t m1[SRP_PROOF_BYTES] = {0}, m2[SRP_PROOF_BYTES];
	_cleanup_(secret_release) struct secret session = SECRET_INIT;
	struct srp_terms terms = {.user = bytes_str("nobody")};
	struct srp_client *client = NULL;
	struct srp_server *server = NULL;

	(void)state;
	decoy("nobody", NULL, 0, &first);
	decoy("nobody", NULL, 0, &again);
	decoy("nobodi", NULL, 0, &other);
	assert_true(decoys_equal(&first, &again));
	assert_false(decoys_equal(&first, &other));
	terms.group = first.group;
	memcpy(terms.salt, first.salt, sizeof terms.salt);
	memcpy(terms.kdf, first.kdf, sizeof terms.kdf);
	assert_int_equal(srp_client_new(first.group, &seeded.random, &client, NULL), 0);
	assert_int_equal(srp_server_new(&terms, secret_bytes(&first.verifier),
				 srp_client_public(client), &seeded.random, &server, NULL),
		0);
	assert_int_equal(srp_client_answer(client, &terms, bytes_str(PASSWORD),
				 srp_server_public(server), m1, NULL),
		0);
	assert_int_equal(srp_server_finish(server, bytes_of(m1, sizeof m1), m2, &session, NULL),
		KLUIS_EVERIFY);
	srp_client_free(client);
	srp_server_free(server);
	srp_decoy_release(&first);
	srp_decoy_release(&again);
	srp_decoy_release(&other);
}

/* As the sample grows from 8 to 64 rows, a name moves at most a few times: where its row stays
 * named, its answer stays. */
static void test_decoy_sample_grows(void **state)
{
	struct srp_sample rows[SRP_SAMPLE_MAX + 1];
	unsigned moves = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rows[i] = (struct srp_sample){
			KDF_LOGIN_MIN + (uint32_t)i, SRP_GROUP_2048, (unsigned)(i % 2)};
	}
	for (unsigned name = 0; name < 8; name++) {
		uint32_t before = 0;
		char user[16];

		(void)snprintf(user, sizeof user, "user%u", name);
		for (size_t count = SRP_SAMPLE_MIN; count <= SRP_SAMPLE_MAX; count++) {
			struct srp_decoy one = {0};
			struct kdf kdf;

			decoy(user, rows, count, &one);
			assert_int_equal(
				kdf_decode(bytes_of(one.kdf, sizeof one.kdf), &kdf, NULL), 0);
			assert_true(kdf.login_count - KDF_LOGIN_MIN < count);
			moves += before != 0 && before != kdf.login_count;
			before = kdf.login_count;
			srp_decoy_release(&one);
		}
	}
	assert_true(moves <= 8 * 3);
}

static void test_decoy_refuses(void **state)
{
	struct srp_sample rows[SRP_SAMPLE_MIN],
		bad[] = {{KDF_LOGIN_MIN - 1, 3, 0}, {KDF_SUM_MAX / 3 + 1, 3, 0}, {1000000, 1, 0},
			{1000000, 6, 0}, {1000000, 3, 2}};
	struct srp_decoy one = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
			rows[k] = bad[i];
		}
		assert_int_equal(srp_decoy_make(bytes_of(enum_key, sizeof enum_key), bytes_str("x"),
					 rows, ARRAY_SIZE(rows), &srp_sample_default, &one, NULL),
			KLUIS_EINVAL);
		assert_int_equal(one.verifier.len, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_terms),
		cmocka_unit_test(test_one_try),
		cmocka_unit_test(test_wrong_m2),
		cmocka_unit_test(test_out_of_range),
		cmocka_unit_test(test_decoy_stable),
		cmocka_unit_test(test_decoy_sample_grows),
		cmocka_unit_test(test_decoy_refuses),
	};

	random_seeded_init(&seeded, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What authenticators send: a software one, and each thing about its answers that must be refused.
 */
#include "tests/lib/test.h"

#include <string.h>

#include "node/fido.h"
#include "tests/lib/authenticator.h"

#define RP_ID  "vault.example.org"
#define ORIGIN "https://vault.example.org"

static char rp_id[] = RP_ID, origin[] = ORIGIN, other_origin[] = "https://www.example.org:8443";
static const struct fido_site site = {rp_id, {origin, other_origin}, ""};
static const uint8_t challenge[FIDO_CHALLENGE_BYTES] = {1, 2, 3};

struct made {
	struct authenticator a;
	struct fido_credential credential;
	struct buf client_data, auth_data, signature;
};

static void made_clear(struct made *m)
{
	buf_clear(&m->client_data);
	buf_clear(&m->auth_data);
	buf_clear(&m->signature);
}

static void made_release(struct made *m)
{
	buf_release(&m->client_data);
	buf_release(&m->auth_data);
	buf_release(&m->signature);
	authenticator_release(&m->a);
}

static struct fido_answer answer_of(const struct made *m)
{
	return (struct fido_answer){
		buf_bytes(&m->client_data), buf_bytes(&m->auth_data), buf_bytes(&m->signature)};
}

static void create(struct made *m)
{
	made_clear(m);
	authenticator_create(
		&m->a, bytes_of(challenge, sizeof challenge), &m->client_data, &m->auth_data);
}

static int check_new(struct made *m)
{
	struct fido_answer answer = answer_of(m);
	uint32_t count;

	return fido_check_new(&site, challenge, &answer, &m->credential, &count, NULL);
}

/* With the credential enrolled. */
static void start(struct made *m)
{
	memset(m, 0, sizeof *m);
	authenticator_init(&m->a, RP_ID, ORIGIN);
	create(m);
	assert_int_equal(check_new(m), 0);
	assert_int_equal(m->credential.id_bytes, AUTHENTICATOR_ID_BYTES);
	assert_memory_equal(m->credential.id, m->a.id, AUTHENTICATOR_ID_BYTES);
}

static void get(struct made *m)
{
	made_clear(m);
	authenticator_get(&m->a, bytes_of(challenge, sizeof challenge), &m->client_data,
		&m->auth_data, &m->signature);
}

static int check(struct made *m)
{
	struct fido_answer answer = answer_of(m);
	uint32_t count;

	return fido_check_assertion(&site, challenge, &m->credential, &answer, &count, NULL);
}

static void test_good(void **state)
{
	struct fido_answer answer;
	uint32_t count = 0;
	struct made m;

	(void)state;
	start(&m);
	get(&m);
	answer = answer_of(&m);
	assert_int_equal(
		fido_check_assertion(&site, challenge, &m.credential, &answer, &count, NULL), 0);
	assert_int_equal(count, 2);
	/* Verified users, backed-up keys and members that we do not know are fine. */
	m.a.flags = 0x01 | 0x04 | 0x08 | 0x10;
	m.a.extra = ",\"other_keys_can_be_added_here\":\"yes\"";
	m.a.origin = other_origin;
	get(&m);
	assert_int_equal(check(&m), 0);
	made_release(&m);
}

/* Signed as it should be, but not what we asked for. */
static void test_not_ours(void **state)
{
	static const struct {
		const char *rp_id, *origin, *extra;
		uint8_t flags;
	} rows[] = {
		{"evil.example", ORIGIN, "", 1},
		{RP_ID, "https://evil.example", "", 1},
		{RP_ID, "https://vault.example.org.evil.example", "", 1},
		{RP_ID, "http://vault.example.org", "", 1},
		{RP_ID, ORIGIN "/", "", 1},
		{RP_ID, ORIGIN, ",\"crossOrigin\":true", 1},
		{RP_ID, ORIGIN, ",\"crossOrigin\":\"false\"", 1},
		{RP_ID, ORIGIN, ",\"origin\":\"https://vault.example.org\"", 1},
		{RP_ID, ORIGIN, "", 0},
		{RP_ID, ORIGIN, "", 4},
	};
	struct made m;

	(void)state;
	start(&m);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		m.a.rp_id = rows[i].rp_id;
		m.a.origin = rows[i].origin;
		m.a.extra = rows[i].extra;
		m.a.flags = rows[i].flags;
		get(&m);
		assert_int_equal(check(&m), KLUIS_EVERIFY);
		create(&m);
		assert_int_equal(check_new(&m), KLUIS_EVERIFY);
	}
	made_release(&m);
}

/* A client that is no browser signs for this cluster alone; and for no cluster where the site does
 * not name one. */
static void test_native(void **state)
{
	static const uint8_t cluster_id[16] = {0xab, 0xcd}, other_id[16] = {0xab, 0xce};
	struct fido_site native = site, other = site;
	struct fido_answer answer;
	uint32_t count;
	struct made m;

	(void)state;
	start(&m);
	fido_set_native_origin(&native, cluster_id);
	fido_set_native_origin(&other, other_id);
	assert_string_equal(native.native_origin, "kluis://abcd0000000000000000000000000000");
	m.a.origin = native.native_origin;
	get(&m);
	answer = answer_of(&m);
	assert_int_equal(
		fido_check_assertion(&native, challenge, &m.credential, &answer, &count, NULL), 0);
	assert_int_equal(
		fido_check_assertion(&other, challenge, &m.credential, &answer, &count, NULL),
		KLUIS_EVERIFY);
	assert_int_equal(check(&m), KLUIS_EVERIFY);
	m.a.origin = "";
	get(&m);
	assert_int_equal(check(&m), KLUIS_EVERIFY);
	made_release(&m);
}

/* One kind of answer is not the other, and is of this challenge. */
static void test_other_ceremony(void **state)
{
	static const uint8_t other[FIDO_CHALLENGE_BYTES] = {1, 2, 4};
	struct made m;

	(void)state;
	start(&m);
	create(&m);
	authenticator_sign(&m.a, buf_bytes(&m.client_data), buf_bytes(&m.auth_data), &m.signature);
	assert_int_equal(check(&m), KLUIS_EVERIFY);
	get(&m);
	assert_int_equal(check_new(&m), KLUIS_EVERIFY);
	made_clear(&m);
	authenticator_get(
		&m.a, bytes_of(other, sizeof other), &m.client_data, &m.auth_data, &m.signature);
	assert_int_equal(check(&m), KLUIS_EVERIFY);
	/* A prefix of the challenge. */
	made_clear(&m);
	authenticator_get(&m.a, bytes_of(challenge, sizeof challenge - 1), &m.client_data,
		&m.auth_data, &m.signature);
	assert_int_equal(check(&m), KLUIS_EVERIFY);
	made_release(&m);
}

/* Another authenticator's signature, and every byte of an answer changed. */
static void test_forged(void **state)
{
	struct made m, thief;

	(void)state;
	start(&m);
	start(&thief);
	get(&thief);
	thief.credential = m.credential;
	assert_int_equal(check(&thief), KLUIS_EVERIFY);
	get(&m);
	for (size_t i = 0; i < m.auth_data.len; i++) {
		m.auth_data.data[i] ^= 0x20;
		assert_int_equal(check(&m), KLUIS_EVERIFY);
		m.auth_data.data[i] ^= 0x20;
	}
	for (size_t i = 0; i < m.client_data.len; i++) {
		m.client_data.data[i] ^= 1;
		assert_int_equal(check(&m), KLUIS_EVERIFY);
		m.client_data.data[i] ^= 1;
	}
	for (size_t i = 0; i < m.signature.len; i++) {
		m.signature.data[i] ^= 1;
		assert_int_equal(check(&m), KLUIS_EVERIFY);
		m.signature.data[i] ^= 1;
	}
	assert_int_equal(check(&m), 0);
	made_release(&m);
	made_release(&thief);
}

static void test_truncated(void **state)
{
	struct made m;
	size_t whole;

	(void)state;
	start(&m);
	create(&m);
	whole = m.auth_data.len;
	for (m.auth_data.len = 0; m.auth_data.len < whole; m.auth_data.len++) {
		assert_true(check_new(&m) < 0);
	}
	get(&m);
	whole = m.auth_data.len;
	for (m.auth_data.len = 0; m.auth_data.len < whole; m.auth_data.len++) {
		assert_int_equal(check(&m), KLUIS_EVERIFY);
	}
	whole = m.signature.len;
	for (m.signature.len = 0; m.signature.len < whole; m.signature.len++) {
		assert_int_equal(check(&m), KLUIS_EVERIFY);
	}
	assert_int_equal(check(&m), 0);
	made_release(&m);
}

/* A point that is not on the curve, and an algorithm that is not ES256. */
static void test_bad_key(void **state)
{
	const size_t cose_at = 37 + 16 + 2 + AUTHENTICATOR_ID_BYTES;
	struct made m;

	(void)state;
	start(&m);
	create(&m);
	m.auth_data.data[m.auth_data.len - 1] ^= 1;
	assert_int_equal(check_new(&m), KLUIS_EVERIFY);
	m.auth_data.data[m.auth_data.len - 1] ^= 1;
	assert_int_equal(m.auth_data.data[cose_at + 4], 0x26);
	m.auth_data.data[cose_at + 4] = 0x27; /* -8, EdDSA. */
	assert_int_equal(check_new(&m), KLUIS_ESUITE);
	made_release(&m);
}

/* Heads of maps and arrays that promise more than there is, with each size of a count: no room is
 * made for it. */
static void test_promises(void **state)
{
	const size_t cose_at = 37 + 16 + 2 + AUTHENTICATOR_ID_BYTES;
	static const uint8_t heads[][9] = {{0xa9}, {0x98, 0xff}, {0xb9, 0xff, 0xff},
		{0x9a, 0x7f, 0xff, 0xff, 0xff}, {0xbb, 0, 0, 0, 7, 0x84, 0xf6, 0x83, 0x40},
		{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0xbc}};
	struct made m;

	(void)state;
	start(&m);
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		create(&m);
		m.auth_data.len = cose_at;
		buf_append(&m.auth_data, heads[i], sizeof heads[i]);
		assert_int_equal(check_new(&m), KLUIS_EVERIFY);
		/* As an extension, in what is signed. */
		m.a.flags = 0x81;
		get(&m);
		m.a.flags = 0x01;
		buf_append(&m.auth_data, heads[i], sizeof heads[i]);
		buf_clear(&m.signature);
		authenticator_sign(
			&m.a, buf_bytes(&m.client_data), buf_bytes(&m.auth_data), &m.signature);
		assert_int_equal(check(&m), KLUIS_EVERIFY);
	}
	made_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_not_ours),
		cmocka_unit_test(test_native),
		cmocka_unit_test(test_other_ceremony),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_bad_key),
		cmocka_unit_test(test_promises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

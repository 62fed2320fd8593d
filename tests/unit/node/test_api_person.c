/* A person at the door, over the real API: she registers, signs in, unlocks and changes her
 * keyring, changes the password, recovers. */
#include "tests/lib/test.h"

#include <openssl/bn.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "storage/guard_store.h"
#include "tests/lib/api/account_client.h"

struct fixture {
	struct api_node node;
	struct account_client alice;
	struct http_client http;
};

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	f->node.config.registration = REGISTRATION_OPEN;
	account_client_begin(&f->alice, &f->node, &f->http, true);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	account_client_end(&f->alice, &f->node, &f->http);
	free(f);
	return 0;
}

static struct answer get(struct fixture *f, const char *target)
{
	return http_client_call(&f->http, "GET", target, "", bytes_of(NULL, 0));
}

static void expect_get(struct fixture *f, const char *target, int status, const char *code)
{
	answer_expect(get(f, target), status, code);
}

static void log_in(struct fixture *f, bool with_device)
{
	struct answer answer = account_client_login(&f->alice, &f->http, with_device);

	if (answer.status != 200) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	assert_string_equal(answer_text(&answer, "level"), "full");
	assert_int_equal(json_array_size(json_object_get(answer.json, "mfa")), 0);
	answer_release(&answer);
}

static struct answer post(struct fixture *f, const char *target, struct buf *body)
{
	return http_client_json(&f->http, "POST", target, "", buf_str(body));
}

/* --- registration --- */

static void test_register(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, other = BUF_INIT;
	struct account_client impostor;

	/* The identical request is answered as the first. */
	account_client_register(&f->alice, &f->http);
	account_client_init(&impostor, &f->node, "alice");
	account_client_registration(&impostor, NULL, &other);
	answer_expect(post(f, "/v1/register", &other), 409, "conflict");
	account_client_release(&impostor);
	account_client_registration(&f->alice, NULL, &body);
	buf_append(&body, ",", 1);
	answer_expect(post(f, "/v1/register", &body), 400, "invalid");
}

/* Each row changes one thing of a good registration. */
static void test_register_refused(void **state)
{
	static const struct {
		const char *from, *to;
	} rows[] = {
		{"\"user\":\"carol\"", "\"user\":\"Carol\""},
		{"\"user\":\"carol\"", "\"user\":\"c\xd0\xb0rol\""}, /* Cyrillic a. */
		{"\"user\":\"carol\"", "\"user\":\"car\xff\""},
		{"\"user\":\"carol\"", "\"user\":\"\""},
		{"\"user\":\"carol\"", "\"user\":\"dave\""},
		{"\"group\":3", "\"group\":4"},
		{"\"group\":3", "\"group\":1"},
		{"\"kdf\":\"AQ", "\"kdf\":\"Ag"},
		{"\"verifier\":\"", "\"verifier\":\"AAAA"},
		{"\"public\":\"B", "\"public\":\"A"},
		{"\"keyring\":\"S0tSMQ", "\"keyring\":\"S0tSMg"},
		{"\"identity\":\"S0lEMQ", "\"identity\":\"S0lEMg"},
		{"\"srp\"", "\"spr\""},
		{"{\"user\"", "{\"invite\":\"kiv_\",\"user\""},
	};
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf good = BUF_INIT;
	struct account_client carol;

	account_client_init(&carol, &f->node, "carol");
	account_client_registration(&carol, NULL, &good);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_release) struct buf body = BUF_INIT;
		const char *text = buf_str(&good), *at = strstr(text, rows[i].from);
		struct answer answer;

		if (at == NULL) {
			fail_msg("row %zu: '%s' is not there", i, rows[i].from);
			return;
		}
		buf_append(&body, text, (size_t)(at - text));
		buf_printf(&body, "%s%s", rows[i].to, at + strlen(rows[i].from));
		answer = post(f, "/v1/register", &body);
		if (answer.status != 400) {
			fail_msg("row %zu: %d %s", i, answer.status, buf_str(&answer.body));
		}
		answer_release(&answer);
	}
	answer_expect(post(f, "/v1/register", &good), 202, NULL);
	account_client_release(&carol);
}

/* A KDF count below the floor: the answer says which it is. */
static void test_register_floor(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct account_client carol;
	struct answer answer;

	account_client_init(&carol, &f->node, "carol");
	store_u32(carol.kdf + 4, KDF_LOGIN_MIN - 1);
	account_client_registration(&carol, NULL, &body);
	answer = post(f, "/v1/register", &body);
	assert_int_equal(answer.status, 400);
	assert_int_equal(answer_number(&answer, "limit"), KDF_LOGIN_MIN);
	answer_release(&answer);
	account_client_release(&carol);
}

/* Counts that no client uses: they would mark the account. */
static void test_register_usual_counts(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct account_client carol;

	account_client_init(&carol, &f->node, "carol");
	store_u32(carol.kdf + 8, 3 * KDF_LOGIN_MIN);
	account_client_registration(&carol, NULL, &body);
	answer_expect(post(f, "/v1/register", &body), 400, "invalid");
	account_client_release(&carol);
}

/* --- signing in --- */

static void test_login(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	char session[33];

	answer = account_client_login(&f->alice, &f->http, true);
	assert_int_equal(answer.status, 200);
	(void)snprintf(session, sizeof session, "%s", answer_text(&answer, "session_id"));
	answer_release(&answer);
	answer = get(f, "/v1/sessions");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), session));
	answer_release(&answer);
	answer_expect(
		http_client_call(&f->http, "POST", "/v1/logout", "", bytes_of(NULL, 0)), 204, NULL);
	expect_get(f, "/v1/sessions", 401, "unauthenticated");
}

static void send_finish(struct fixture *f, struct answer *start, const uint8_t m1[32],
	const struct key *device, int status, const char *code)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	account_client_finish_body(&f->alice, start, m1, device, &body);
	answer_expect(post(f, "/v1/login/finish", &body), status, code);
}

/* A handshake is worth one answer, right or wrong. */
static void test_handshake_once(void **state)
{
	struct fixture *f = *state;

	for (unsigned wrong = 0; wrong < 2; wrong++) {
		_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
		struct answer start = account_client_start(&f->alice, &f->http, &srp);
		uint8_t m1[32];

		account_client_m1(&f->alice, srp, &start, m1);
		m1[0] ^= (uint8_t)wrong;
		send_finish(f, &start, m1, NULL, wrong != 0 ? 401 : 200, NULL);
		m1[0] ^= (uint8_t)wrong;
		send_finish(f, &start, m1, NULL, 401, "unauthenticated");
		answer_release(&start);
	}
}

static void start_with(
	struct fixture *f, const char *user, unsigned group, struct bytes a_public, int status)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	buf_printf(&body, "{\"user\":\"%s\",\"group\":%u,\"A\":\"", user, group);
	base64_append(&body, a_public);
	buf_printf(&body, "\"}");
	answer_expect(post(f, "/v1/login/start", &body), status, status == 400 ? "invalid" : NULL);
}

/* N of group 3 (RFC 5054, the prime of RFC 3526), by OpenSSL. */
static void modulus(uint8_t ret_n[384])
{
	BIGNUM *n = BN_get_rfc3526_prime_3072(NULL);

	assert_int_equal(BN_bn2binpad(n, ret_n, 384), 384);
	BN_free(n);
}

/* A mod N = 0, A = N, another length: refused before any work, for known and unknown alike, and
 * nothing is begun. */
static void test_bad_a(void **state)
{
	static const char *const users[] = {"alice", "nobody"};
	struct fixture *f = *state;
	unsigned proposals = f->node.proposals;
	uint8_t a[385] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		memset(a, 0, sizeof a);
		start_with(f, users[i], 3, bytes_of(a, 384), 400);
		modulus(a);
		start_with(f, users[i], 3, bytes_of(a, 384), 400);
		a[383]--; /* N - 1 is no multiple of N. */
		start_with(f, users[i], 3, bytes_of(a, 384), 200);
		memset(a, 0xff, sizeof a);
		start_with(f, users[i], 3, bytes_of(a, 384), 400);
		a[0] = 0x7f;
		start_with(f, users[i], 3, bytes_of(a, 384), 200);
		start_with(f, users[i], 3, bytes_of(a, 383), 400);
		start_with(f, users[i], 3, bytes_of(a, 385), 400);
		start_with(f, users[i], 1, bytes_of(a, 256), 400);
		start_with(f, users[i], 6, bytes_of(a, 256), 400);
	}
	start_with(f, "ali ce", 3, bytes_of(a, 384), 400);
	start_with(f, "ALICE", 3, bytes_of(a, 384), 400);
	start_with(f,
		"al\xc4\xb1"
		"ce",
		3, bytes_of(a, 384), 400); /* Dotless i. */
	start_with(f,
		"al\xff"
		"ce",
		3, bytes_of(a, 384), 400);
	assert_int_equal(f->node.proposals, proposals);
}

/* Another group than the account's: told which, and nothing is begun. */
static void test_group(void **state)
{
	static const char *const users[] = {"alice", "nobody"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
		struct account_client as = f->alice;
		struct answer answer;

		as.group = SRP_GROUP_2048;
		(void)snprintf(as.person.name, sizeof as.person.name, "%s", users[i]);
		answer = account_client_start(&as, &f->http, &srp);
		assert_int_equal(answer.status, 200);
		assert_int_equal(answer_number(&answer, "group"), 3);
		assert_null(json_object_get(answer.json, "handshake"));
		assert_null(json_object_get(answer.json, "B"));
		answer_release(&answer);
	}
}

/* An unknown user looks like a known one: the same members of the same length, the same for ever,
 * the same refusal. */
static void test_unknown_user(void **state)
{
	struct fixture *f = *state;
	struct account_client nobody = f->alice;
	struct answer start[3];
	static const char *const members[] = {"salt", "kdf", "B", "handshake"};

	(void)snprintf(nobody.person.name, sizeof nobody.person.name, "nobod");
	for (unsigned i = 0; i < 3; i++) {
		_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
		_cleanup_(buf_release) struct buf body = BUF_INIT;
		uint8_t m1[32];

		start[i] = account_client_start(i == 0 ? &f->alice : &nobody, &f->http, &srp);
		assert_int_equal(start[i].status, 200);
		account_client_m1(&nobody, srp, &start[i], m1);
		account_client_finish_body(&f->alice, &start[i], m1, NULL, &body);
		answer_expect(post(f, "/v1/login/finish", &body), 401, "unauthenticated");
	}
	assert_int_equal(start[0].body.len, start[1].body.len);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		assert_int_equal(strlen(answer_text(&start[0], members[i])),
			strlen(answer_text(&start[1], members[i])));
	}
	assert_string_equal(answer_text(&start[1], "salt"), answer_text(&start[2], "salt"));
	assert_string_equal(answer_text(&start[1], "kdf"), answer_text(&start[2], "kdf"));
	assert_string_not_equal(answer_text(&start[1], "B"), answer_text(&start[2], "B"));
	for (unsigned i = 0; i < 3; i++) {
		answer_release(&start[i]);
	}
}

/* The id that a name which nobody has always gets is told to everybody: whoever takes it as her own
 * does not get the name with it. */
static void test_made_up_id(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct account_client eve;
	struct answer answer;
	uint8_t id[16];

	answer = http_client_json(&f->http, "POST", "/v1/recovery/start", "", "{\"user\":\"bob\"}");
	assert_int_equal(answer.status, 200);
	assert_int_equal(hex_decode(answer_text(&answer, "user_id"), id, sizeof id), 0);
	answer_release(&answer);
	account_client_init_as(&eve, &f->node, "eve", id);
	/* The verifier is of the other name already; the account is not. */
	(void)snprintf(eve.person.name, sizeof eve.person.name, "bob");
	account_client_registration(&eve, NULL, &body);
	memcpy(strstr((char *)body.data, "bob"), "eve", 3);
	answer_expect(post(f, "/v1/register", &body), 202, NULL);
	answer_expect(account_client_login(&eve, &f->http, true), 401, "unauthenticated");
	answer_expect(account_client_recover(&eve, &f->http), 401, "unauthenticated");
	account_client_release(&eve);
}

/* Ten wrong passwords are free; then the next has to wait, whoever it is; the owner's enrolled
 * device does not. */
static void test_guard(void **state)
{
	struct fixture *f = *state;
	struct account_client nobody = f->alice;

	(void)snprintf(nobody.person.name, sizeof nobody.person.name, "nobod");
	for (unsigned i = 0; i < 24; i++) {
		struct account_client *c = i % 2 == 0 ? &f->alice : &nobody;
		_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
		struct answer start = account_client_start(c, &f->http, &srp), answer;
		_cleanup_(buf_release) struct buf body = BUF_INIT;

		assert_int_equal(start.status, 200);
		account_client_finish_body(c, &start, (const uint8_t[32]){1}, NULL, &body);
		answer = post(f, "/v1/login/finish", &body);
		if (i >= 20) {
			assert_int_equal(answer.status, 429);
			assert_true(answer_number(&answer, "retry_after_ms") > 0);
		} else if (i < 18) {
			assert_int_equal(answer.status, 401);
		}
		answer_release(&answer);
		answer_release(&start);
	}
	log_in(f, true);
	answer_expect(account_client_login(&f->alice, &f->http, false), 429, "rate-limited");
}

static void fail_login(struct fixture *f, struct account_client *c, int status)
{
	_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
	struct answer start = account_client_start(c, &f->http, &srp);
	_cleanup_(buf_release) struct buf body = BUF_INIT;

	assert_int_equal(start.status, 200);
	account_client_finish_body(c, &start, (const uint8_t[32]){1}, NULL, &body);
	answer_expect(post(f, "/v1/login/finish", &body), status, NULL);
	answer_release(&start);
}

/* Behind an account key nothing is guessed: strangers who fail in its owner's name are held up,
 * she is not. */
static void test_guard_account_key(void **state)
{
	struct fixture *f = *state;
	struct account_client carol;

	account_client_init(&carol, &f->node, "carol");
	account_client_use_account_key(&carol);
	account_client_register(&carol, &f->http);
	for (unsigned i = 0; i < GUARD_FREE; i++) {
		fail_login(f, &carol, 401);
	}
	fail_login(f, &carol, 429);
	answer_expect(account_client_login(&carol, &f->http, false), 200, NULL);
	account_client_release(&carol);
}

/* Another's device, a revoked-looking signature, a device without one. */
static void test_device_proof(void **state)
{
	struct fixture *f = *state;
	_cleanup_(srp_client_freep) struct srp_client *srp = NULL, *again = NULL;
	struct answer start = account_client_start(&f->alice, &f->http, &srp);
	struct key *other = NULL;
	struct err e = {0};
	uint8_t m1[32];

	assert_int_equal(key_generate(KEY_ECDSA_P256, 0, &other, &e), 0);
	account_client_m1(&f->alice, srp, &start, m1);
	send_finish(f, &start, m1, other, 401, "unauthenticated");
	answer_release(&start);
	key_free(other);
	/* The right key over another M1. */
	start = account_client_start(&f->alice, &f->http, &again);
	m1[5] ^= 1;
	send_finish(f, &start, m1, f->alice.person.device, 401, "unauthenticated");
	answer_release(&start);
}

/* A session without a device signs nothing: no vault, for its head could not be a device's. */
static void test_bare(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, head = BUF_INIT;

	log_in(f, false);
	person_first_head(&f->alice.person, &head);
	buf_printf(&body, "{\"create\":\"");
	base64_append(&body, buf_bytes(&f->alice.person.create));
	buf_printf(&body, "\",\"head\":\"");
	base64_append(&body, buf_bytes(&head));
	buf_printf(&body, "\"}");
	answer_expect(http_client_json(&f->http, "POST", "/v1/vaults", "Idempotency-Key: a\r\n",
			      buf_str(&body)),
		403, "forbidden");
	log_in(f, true);
	answer_expect(http_client_json(&f->http, "POST", "/v1/vaults", "Idempotency-Key: a\r\n",
			      buf_str(&body)),
		201, NULL);
}

/* Logins begun and never ended, more than are kept of one address: the oldest are forgotten, the
 * newest are good, and nobody is refused. */
static void test_half_open(void **state)
{
	struct fixture *f = *state;
	_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
	struct answer first = account_client_start(&f->alice, &f->http, &srp);
	uint8_t a[256] = {0x7f};
	uint8_t m1[32];

	account_client_m1(&f->alice, srp, &first, m1);
	for (unsigned i = 0; i < API_HANDSHAKES_PER_ADDRESS_MAX; i++) {
		_cleanup_(srp_client_freep) struct srp_client *other = NULL;
		struct answer start;

		if (i % 2 == 0) { /* Of another group: nothing is begun. */
			start_with(f, "nobody", 2, bytes_of(a, sizeof a), 200);
		}
		start = account_client_start(&f->alice, &f->http, &other);
		assert_int_equal(start.status, 200);
		answer_release(&start);
	}
	send_finish(f, &first, m1, NULL, 401, "unauthenticated");
	answer_release(&first);
	log_in(f, true);
}

/* --- unlocking and the keyring --- */

static void test_unlock(void **state)
{
	struct fixture *f = *state;
	struct account_client *c = &f->alice;
	struct keyring_view view;
	struct answer answer;
	uint8_t share[32], slot[KEYRING_SLOT_BYTES];
	char target[64], hex[33];
	struct err e = {0};

	log_in(f, false);
	answer = get(f, "/v1/unlock");
	assert_int_equal(answer.status, 200);
	assert_int_equal(base64_decode_exact(bytes_str(answer_text(&answer, "unlock_share")), share,
				 sizeof share),
		0);
	assert_memory_equal(share, c->share, sizeof share);
	assert_int_equal(
		base64_decode_exact(bytes_str(answer_text(&answer, "slot")), slot, sizeof slot), 0);
	assert_int_equal(keyring_parse(buf_bytes(&c->keyring_object), &view, &e), 0);
	assert_true(bytes_equal(bytes_of(slot, sizeof slot),
		keyring_view_find(&view, 0, c->slot_id, &(struct keyring_slot){0})));
	assert_int_equal(answer_number(&answer, "revision"), 1);
	answer_release(&answer);
	hex_encode(bytes_of(c->slot_id, 16), hex);
	(void)snprintf(target, sizeof target, "/v1/unlock?slot=%s", hex);
	expect_get(f, target, 200, NULL);
	expect_get(f, "/v1/unlock?slot=00000000000000000000000000000000", 404, "not-found");
	expect_get(f, "/v1/unlock?slot=x", 400, "invalid");
	answer = get(f, "/v1/account/access-log");
	assert_int_equal(answer.status, 200);
	assert_non_null(strstr(buf_str(&answer.body), "\"unlocked\""));
	assert_non_null(strstr(buf_str(&answer.body), "\"registered\""));
	answer_release(&answer);
}

static struct answer put_keyring(struct fixture *f, struct bytes keyring, const char *etag)
{
	_cleanup_(buf_release) struct buf fields = BUF_INIT;

	buf_printf(&fields, "Content-Type: application/octet-stream\r\n");
	if (etag != NULL) {
		buf_printf(&fields, "If-Match: %s\r\n", etag);
	}
	return http_client_call(&f->http, "PUT", "/v1/keyring", buf_str(&fields), keyring);
}

static void next_keyring(struct account_client *c, struct buf *to)
{
	struct err e = {0};

	buf_clear(to);
	assert_int_equal(keyring_seal(&c->keyring, 2000, &random_system, to, &e), 0);
}

static void test_keyring(void **state)
{
	struct fixture *f = *state;
	struct account_client *c = &f->alice;
	_cleanup_(buf_release) struct buf next = BUF_INIT, stale = BUF_INIT, large = BUF_INIT;
	struct answer answer;
	char etag[64];

	log_in(f, false);
	next_keyring(c, &next);
	answer = get(f, "/v1/keyring");
	assert_int_equal(answer.status, 200);
	assert_true(bytes_equal(buf_bytes(&answer.body), buf_bytes(&c->keyring_object)));
	(void)snprintf(etag, sizeof etag, "%s", answer_field(&answer, "etag"));
	answer_release(&answer);
	/* A session without a device writes nothing. */
	answer_expect(put_keyring(f, buf_bytes(&next), etag), 403, "forbidden");
	log_in(f, true);
	answer_expect(put_keyring(f, buf_bytes(&next), NULL), 428, "precondition-required");
	answer_expect(put_keyring(f, buf_bytes(&next), "\"9-0123456789abcdef\""), 412,
		"precondition-failed");
	next.data[next.len - 1] ^= 1; /* The tag is the owner's to check. */
	next.data[4] ^= 1;
	answer_expect(put_keyring(f, buf_bytes(&next), etag), 400, NULL);
	next.data[4] ^= 1;
	answer_expect(put_keyring(f, bytes_of(next.data, next.len - 1), etag), 400, "invalid");
	(void)buf_extend(&large, KEYRING_BYTES_MAX + 1);
	memset(large.data, 0, large.len);
	answer_expect(put_keyring(f, buf_bytes(&large), etag), 413, "too-large");
	http_client_release(&f->http);
	api_node_connect(&f->node, "http/1.1", &f->http);
	log_in(f, true);
	for (unsigned i = 0; i < 2; i++) { /* The same again is answered as the first. */
		answer = put_keyring(f, buf_bytes(&next), etag);
		assert_int_equal(answer.status, 200);
		assert_int_equal(answer_number(&answer, "revision"), 2);
		answer_release(&answer);
	}
	/* Stale: made for revision 1, as the first was. */
	next_keyring(c, &stale);
	answer_expect(put_keyring(f, buf_bytes(&stale), etag), 412, "precondition-failed");
	keyring_sealed(&c->keyring, buf_bytes(&next));
	answer = get(f, "/v1/keyring/versions");
	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 2);
	answer_release(&answer);
	answer = get(f, "/v1/keyring/versions/1");
	assert_true(bytes_equal(buf_bytes(&answer.body), buf_bytes(&c->keyring_object)));
	answer_release(&answer);
	expect_get(f, "/v1/keyring/versions/3", 404, "not-found");
}

/* The slot of the password changes with the password alone: else its share opened another. */
static void test_keyring_slots(void **state)
{
	struct fixture *f = *state;
	struct account_client *c = &f->alice;
	_cleanup_(buf_release) struct buf next = BUF_INIT;
	struct answer answer;
	char etag[64];

	log_in(f, true);
	answer = get(f, "/v1/keyring");
	(void)snprintf(etag, sizeof etag, "%s", answer_field(&answer, "etag"));
	answer_release(&answer);
	next_keyring(c, &next);
	next.data[KEYRING_HEADER_BYTES + KEYRING_SLOT_FIXED_BYTES] ^= 1;
	answer_expect(put_keyring(f, buf_bytes(&next), etag), 400, "invalid");
	assert_int_equal(keyring_drop_slots(&c->keyring, KEYRING_SLOT_RECOVERY, NULL), 1);
	next_keyring(c, &next);
	answer_expect(put_keyring(f, buf_bytes(&next), etag), 400, "invalid");
}

/* --- the password --- */

static void test_password(void **state)
{
	struct fixture *f = *state;
	struct account_client before = f->alice;
	_cleanup_(buf_release) struct buf body = BUF_INIT, early = BUF_INIT;
	char other[64];

	log_in(f, true);
	memcpy(other, f->http.token, sizeof other);
	log_in(f, true);
	account_client_change(&f->alice, &body);
	for (unsigned i = 0; i < 2; i++) {
		struct answer answer = post(f, "/v1/password", &body);

		if (answer.status != 200) {
			fail_msg("%d %s", answer.status, buf_str(&answer.body));
		}
		assert_int_equal(answer_number(&answer, "revision"), 2);
		answer_release(&answer);
	}
	expect_get(f, "/v1/keyring", 200, NULL);
	memcpy(f->http.token, other, sizeof other);
	expect_get(f, "/v1/keyring", 401, "unauthenticated");
	/* The old password is no password any more, the new one is. */
	answer_expect(account_client_login(&before, &f->http, true), 401, "unauthenticated");
	log_in(f, false);
	account_client_change(&f->alice, &early);
	answer_expect(post(f, "/v1/password", &early), 403, "forbidden"); /* No device. */
}

/* A password that changed between start and finish: the handshake is of the old one. */
static void test_password_between(void **state)
{
	struct fixture *f = *state;
	struct account_client before = f->alice;
	_cleanup_(srp_client_freep) struct srp_client *srp = NULL;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct answer start;
	uint8_t m1[32];

	log_in(f, true);
	start = account_client_start(&before, &f->http, &srp);
	account_client_m1(&before, srp, &start, m1);
	account_client_change(&f->alice, &body);
	answer_expect(post(f, "/v1/password", &body), 200, NULL);
	send_finish(f, &start, m1, NULL, 401, "unauthenticated");
	answer_release(&start);
}

/* --- recovery --- */

static void test_recovery(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	struct answer answer = account_client_recover(&f->alice, &f->http);

	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "level"), "recovery");
	answer_release(&answer);
	expect_get(f, "/v1/keyring", 200, NULL);
	expect_get(f, "/v1/unlock", 403, "forbidden");
	expect_get(f, "/v1/account", 403, "forbidden");
	expect_get(f, "/v1/vaults", 403, "forbidden");
	account_client_change(&f->alice, &body);
	answer_expect(post(f, "/v1/password", &body), 200, NULL);
	expect_get(f, "/v1/keyring", 401, "unauthenticated");
	log_in(f, false);
}

static void test_recovery_wrong(void **state)
{
	struct fixture *f = *state;
	struct account_client nobody = f->alice;
	struct recovery right = f->alice.recovery;
	struct answer known, unknown;

	f->alice.recovery.auth = f->alice.person.device;
	known = account_client_recover(&f->alice, &f->http);
	f->alice.recovery = right;
	(void)snprintf(nobody.person.name, sizeof nobody.person.name, "nobod");
	unknown = account_client_recover(&nobody, &f->http);
	assert_int_equal(known.status, 401);
	assert_int_equal(unknown.status, 401);
	assert_string_equal(answer_text(&known, "detail"), answer_text(&unknown, "detail"));
	answer_release(&known);
	answer_release(&unknown);
}

/* Whoever knows the name may fail as often as he likes: the code is not guessed, and its owner is
 * not kept waiting. */
static void test_recovery_is_not_held_up(void **state)
{
	struct fixture *f = *state;
	struct recovery right = f->alice.recovery;

	f->alice.recovery.auth = f->alice.person.device;
	for (unsigned i = 0; i < 2 * GUARD_FREE; i++) {
		answer_expect(account_client_recover(&f->alice, &f->http), 401, "unauthenticated");
	}
	f->alice.recovery = right;
	answer_expect(account_client_recover(&f->alice, &f->http), 200, NULL);
}

static void test_recovery_delay(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);
	struct answer answer;
	char recovery[64];

	(void)state;
	api_node_prepare(&f->node);
	f->node.config.registration = REGISTRATION_OPEN;
	f->node.config.recovery_delay_ms = 3600 * 1000;
	api_node_run(&f->node);
	account_client_init(&f->alice, &f->node, "alice");
	api_node_connect(&f->node, "http/1.1", &f->http);
	account_client_register(&f->alice, &f->http);
	answer = account_client_recover(&f->alice, &f->http);
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	memcpy(recovery, f->http.token, sizeof recovery);
	answer = get(f, "/v1/keyring");
	assert_int_equal(answer.status, 403);
	assert_true(answer_number(&answer, "retry_after_ms") > 3500 * 1000);
	answer_release(&answer);
	/* The owner, who notices, ends it. */
	log_in(f, true);
	answer_expect(http_client_call(&f->http, "DELETE", "/v1/recovery", "", bytes_of(NULL, 0)),
		204, NULL);
	answer_expect(http_client_call(&f->http, "DELETE", "/v1/recovery", "", bytes_of(NULL, 0)),
		404, "not-found");
	memcpy(f->http.token, recovery, sizeof recovery);
	expect_get(f, "/v1/keyring", 401, "unauthenticated");
	/* Not stopped: open when the delay is over. */
	answer = account_client_recover(&f->alice, &f->http);
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	f->node.machine.now_ms += 3600 * 1000 + 1;
	memcpy(recovery, f->http.token, sizeof recovery);
	log_in(f, true); /* Cluster time moves with a command. */
	memcpy(f->http.token, recovery, sizeof recovery);
	expect_get(f, "/v1/keyring", 200, NULL);
	*state = f;
	(void)teardown(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_register),
		TEST(test_register_refused),
		TEST(test_register_floor),
		TEST(test_register_usual_counts),
		TEST(test_login),
		TEST(test_handshake_once),
		TEST(test_bad_a),
		TEST(test_group),
		TEST(test_unknown_user),
		TEST(test_made_up_id),
		TEST(test_guard),
		TEST(test_guard_account_key),
		TEST(test_device_proof),
		TEST(test_bare),
		TEST(test_half_open),
		TEST(test_unlock),
		TEST(test_keyring),
		TEST(test_keyring_slots),
		TEST(test_password),
		TEST(test_password_between),
		TEST(test_recovery),
		TEST(test_recovery_wrong),
		TEST(test_recovery_is_not_held_up),
		cmocka_unit_test(test_recovery_delay),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}

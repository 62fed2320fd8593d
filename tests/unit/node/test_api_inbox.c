/* Inboxes through the whole API: documents sealed by real keys, tokens, quotas, claims. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "crypto/inbox.h"
#include "raft/command.h"
#include "storage/inbox_store.h"
#include "tests/lib/api/account_client.h"

struct fixture {
	struct api_node node;
	struct person owner, other;
	struct http_client mine, theirs; /* Of both. */
	uint8_t docs;			 /* Ids given so far. */
	uint64_t began_ms;		 /* Cluster time. */
};

static const char octets[] = "Content-Type: application/octet-stream\r\n";

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_prepare(&f->node);
	f->node.config.registration = REGISTRATION_OPEN;
	api_node_run(&f->node);
	person_init(&f->owner, "owner");
	person_init(&f->other, "other");
	api_node_connect(&f->node, "http/1.1", &f->mine);
	api_node_join(&f->node, &f->owner, &f->mine);
	api_node_vault(&f->node, &f->owner, &f->mine);
	api_node_connect(&f->node, "http/1.1", &f->theirs);
	api_node_join(&f->node, &f->other, &f->theirs);
	f->began_ms = f->node.machine.now_ms;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_client_release(&f->mine);
	http_client_release(&f->theirs);
	person_release(&f->owner);
	person_release(&f->other);
	api_node_stop(&f->node);
	free(f);
	return 0;
}

/* A document for the owner, under an id of its own. */
static void seal(
	struct fixture *f, unsigned class, const char *text, struct buf *to, uint8_t ret_id[16])
{
	struct inbox_document fields = {.sender_class = (uint8_t) class,
		.aead = AEAD_AES_256_GCM,
		.unix_ms = 1000,
		.content_type = INBOX_TEXT};
	struct err e = {0};

	memcpy(fields.inbox_id, f->owner.user_id, 16);
	memcpy(fields.owner_id, f->owner.user_id, 16);
	memset(fields.doc_id, 0xd0, 16);
	fields.doc_id[0] = ++f->docs;
	fields.doc_id[1] = (uint8_t) class;
	memcpy(ret_id, fields.doc_id, 16);
	buf_clear(to);
	assert_int_equal(inbox_seal(&fields, key_public(f->owner.transfer), bytes_str(text),
				 &random_system, to, &e),
		0);
}

static struct answer deposit_at(
	struct http_client *http, const uint8_t owner[16], const struct buf *document)
{
	char target[80], hex[33];

	hex_encode(bytes_of(owner, 16), hex);
	(void)snprintf(target, sizeof target, "/v1/users/%s/inbox", hex);
	return http_client_call(http, "POST", target, octets, buf_bytes(document));
}

static struct answer deposit(
	struct fixture *f, struct http_client *http, const struct buf *document)
{
	return deposit_at(http, f->owner.user_id, document);
}

static struct answer ask(struct http_client *http, const char *verb, const char *path,
	const uint8_t id[16], const char *fields)
{
	char target[96], hex[33] = "";

	if (id != NULL) {
		hex_encode(bytes_of(id, 16), hex);
	}
	(void)snprintf(target, sizeof target, "%s%s", path, hex);
	return http_client_call(http, verb, target, fields, bytes_of(NULL, 0));
}

static size_t count(struct http_client *http, const char *path)
{
	struct answer answer = ask(http, "GET", path, NULL, "");
	size_t n;

	assert_int_equal(answer.status, 200);
	n = json_array_size(json_object_get(answer.json, "items"));
	answer_release(&answer);
	return n;
}

static void leave(struct fixture *f, unsigned class, uint8_t ret_id[16])
{
	_cleanup_(buf_release) struct buf document = BUF_INIT;

	seal(f, class, "leave", &document, ret_id);
	answer_expect(deposit(f, &f->theirs, &document), 201, NULL);
}

static void expect_item(struct fixture *f, const uint8_t id[16], size_t bytes)
{
	struct answer answer = ask(&f->mine, "GET", "/v1/inbox", NULL, "");
	json_t *item = json_array_get(json_object_get(answer.json, "items"), 0);
	char hex[33];

	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 1);
	hex_encode(bytes_of(id, 16), hex);
	assert_string_equal(json_string_value(json_object_get(item, "doc")), hex);
	hex_encode(bytes_of(f->other.user_id, 16), hex);
	assert_string_equal(json_string_value(json_object_get(item, "sender")), hex);
	assert_true(json_is_null(json_object_get(item, "token")));
	assert_int_equal(json_integer_value(json_object_get(item, "class")), INBOX_USER);
	assert_int_equal(json_integer_value(json_object_get(item, "content_type")), INBOX_TEXT);
	assert_int_equal(json_integer_value(json_object_get(item, "bytes")), bytes);
	answer_release(&answer);
}

static void test_document(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf document = BUF_INIT, twin = BUF_INIT;
	struct answer answer;
	char condition[96];
	uint8_t id[16];

	seal(f, INBOX_USER, "a letter", &document, id);
	for (unsigned i = 0; i < 2; i++) {
		answer = deposit(f, &f->theirs, &document);
		assert_int_equal(answer.status, 201);
		assert_true(answer_number(&answer, "expires_ms") > 0);
		answer_release(&answer);
	}
	buf_append_bytes(&twin, buf_bytes(&document));
	twin.data[twin.len - 1] ^= 1; /* Of its ciphertext: another document of that id. */
	answer_expect(deposit(f, &f->theirs, &twin), 409, "conflict");
	expect_item(f, id, document.len);
	assert_int_equal(count(&f->theirs, "/v1/inbox"), 0);
	answer_expect(ask(&f->theirs, "GET", "/v1/inbox/", id, ""), 404, "not-found");
	answer_expect(ask(&f->theirs, "DELETE", "/v1/inbox/", id, ""), 404, "not-found");
	answer = ask(&f->mine, "GET", "/v1/inbox/", id, "");
	assert_int_equal(answer.status, 200);
	assert_true(bytes_equal(buf_bytes(&answer.body), buf_bytes(&document)));
	(void)snprintf(condition, sizeof condition, "If-None-Match: %s\r\n",
		answer_field(&answer, "etag"));
	answer_release(&answer);
	answer_expect(ask(&f->mine, "GET", "/v1/inbox/", id, condition), 304, NULL);
	answer_expect(ask(&f->mine, "DELETE", "/v1/inbox/", id, ""), 204, NULL);
	answer_expect(ask(&f->mine, "DELETE", "/v1/inbox/", id, ""), 404, "not-found");
	assert_int_equal(count(&f->mine, "/v1/inbox"), 0);
}

/* What is no document of this inbox, or calls its sender what she is not. */
static void test_forms(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf document = BUF_INIT;
	struct bytes cut[] = {{NULL, 0}, {NULL, INBOX_HEADER_BYTES}, {NULL, 0}};
	struct account_client alice;
	struct http_client hers;
	uint8_t id[16], nobody[16] = {9};

	seal(f, INBOX_USER, "cut", &document, id);
	cut[2].len = document.len - 1;
	for (unsigned i = 0; i < ARRAY_SIZE(cut); i++) {
		struct buf part = {document.data, cut[i].len, document.len};

		answer_expect(deposit(f, &f->theirs, &part), 400, "invalid");
	}
	answer_expect(deposit_at(&f->theirs, f->other.user_id, &document), 400, "invalid");
	seal(f, INBOX_ANONYMOUS, "a service has a name", &document, id);
	answer_expect(deposit(f, &f->theirs, &document), 400, "invalid");
	seal(f, INBOX_PROVIDER, "a service may be a provider", &document, id);
	memcpy(document.data + 4 + 2 + 6 + 16, nobody, 16); /* owner16 */
	answer_expect(deposit_at(&f->theirs, nobody, &document), 404, "not-found");
	account_client_init(&alice, &f->node, "alice");
	api_node_connect(&f->node, "http/1.1", &hers);
	account_client_register(&alice, &hers);
	answer_expect(account_client_login(&alice, &hers, true), 200, NULL);
	seal(f, INBOX_PROVIDER, "a person may not", &document, id);
	answer_expect(deposit(f, &hers, &document), 400, "invalid");
	seal(f, INBOX_USER, "and may", &document, id);
	answer_expect(deposit(f, &hers, &document), 201, NULL);
	answer_expect(ask(&f->mine, "DELETE", "/v1/inbox/", id, ""), 204, NULL);
	http_client_release(&hers);
	account_client_release(&alice);
	assert_int_equal(count(&f->mine, "/v1/inbox"), 0);
}

/* --- tokens --- */

static struct answer make_token(
	struct fixture *f, const char *key, uint64_t ttl_ms, const char *label, unsigned docs)
{
	char body[256], field[96];

	(void)snprintf(body, sizeof body, "{\"label\":\"%s\",\"expires_ms\":%llu,\"docs\":%u}",
		label, (unsigned long long)(f->began_ms + ttl_ms), docs);
	(void)snprintf(field, sizeof field, "Idempotency-Key: %s\r\n", key);
	return http_client_json(
		&f->mine, "POST", "/v1/inbox/tokens", key[0] == 0 ? "" : field, body);
}

/* Keeps token and id of a new one. */
static void take_token(struct fixture *f, const char *key, uint64_t ttl_ms, unsigned docs,
	char token[64], uint8_t ret_id[16])
{
	struct answer answer = make_token(f, key, ttl_ms, "a gateway", docs);

	if (answer.status != 201) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	(void)snprintf(token, 64, "%s", answer_text(&answer, "token"));
	assert_int_equal(strncmp(token, "kin_", 4), 0);
	assert_int_equal(hex_decode(answer_text(&answer, "id"), ret_id, 16), 0);
	answer_release(&answer);
}

static void test_token_forms(void **state)
{
	struct fixture *f = *state;
	struct answer answer;

	answer_expect(make_token(f, "", 1000, "x", 1), 428, "precondition-required");
	answer_expect(make_token(f, "k0", 1000, "x", 0), 400, "invalid");
	answer_expect(make_token(f, "k1", 1000, "\\u0007", 1), 400, "invalid");
	answer_expect(make_token(f, "k2", 0, "x", 1), 400, "invalid");
	answer = make_token(f, "k3", INBOX_TOKEN_MS_MAX + DAY_MS, "x", 1);
	assert_int_equal(answer.status, 400);
	assert_true((uint64_t)answer_number(&answer, "limit") == INBOX_TOKEN_MS_MAX);
	answer_release(&answer);
	assert_int_equal(count(&f->mine, "/v1/inbox/tokens"), 0);
}

static void test_token(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf document = BUF_INIT, second = BUF_INIT;
	struct http_client gateway;
	struct answer answer;
	uint8_t token_id[16], id[16], id2[16];
	char hex[33];

	api_node_connect(&f->node, "http/1.1", &gateway);
	take_token(f, "t1", DAY_MS, 1, gateway.token, token_id);
	/* The first answer showed it; nobody kept it. */
	answer_expect(make_token(f, "t1", DAY_MS, "a gateway", 1), 409, "conflict");
	assert_int_equal(count(&f->mine, "/v1/inbox/tokens"), 1);
	assert_int_equal(count(&f->theirs, "/v1/inbox/tokens"), 0);

	/* It leaves documents here, reads the keys that they are sealed to, and nothing else. */
	seal(f, INBOX_USER, "as a user", &document, id);
	answer_expect(deposit(f, &gateway, &document), 400, "invalid");
	seal(f, INBOX_ANONYMOUS, "once", &document, id);
	for (unsigned i = 0; i < 2; i++) {
		answer_expect(deposit(f, &gateway, &document), 201, NULL);
	}
	seal(f, INBOX_PROVIDER, "twice", &second, id2);
	answer_expect(deposit(f, &gateway, &second), 507, "quota-exceeded");
	answer_expect(deposit_at(&gateway, f->other.user_id, &document), 401, "unauthenticated");
	answer_expect(ask(&gateway, "GET", "/v1/inbox", NULL, ""), 401, "unauthenticated");
	answer_expect(ask(&gateway, "GET", "/v1/vaults", NULL, ""), 401, "unauthenticated");
	for (unsigned i = 0; i < 2; i++) {
		char target[96];

		hex_encode(bytes_of(i == 0 ? f->owner.user_id : f->other.user_id, 16), hex);
		(void)snprintf(target, sizeof target, "/v1/users/%s/identity", hex);
		answer_expect(ask(&gateway, "GET", target, NULL, ""), i == 0 ? 200 : 401, NULL);
	}

	answer = ask(&f->mine, "GET", "/v1/inbox", NULL, "");
	hex_encode(bytes_of(token_id, 16), hex);
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(json_object_get(answer.json, "items"), 0), "token")),
		hex);
	answer_release(&answer);
	answer_expect(
		ask(&f->theirs, "DELETE", "/v1/inbox/tokens/", token_id, ""), 404, "not-found");
	answer_expect(ask(&f->mine, "DELETE", "/v1/inbox/tokens/", token_id, ""), 204, NULL);
	answer_expect(ask(&f->mine, "DELETE", "/v1/inbox/tokens/", token_id, ""), 404, "not-found");
	answer_expect(deposit(f, &gateway, &document), 401, "unauthenticated");
	answer_expect(ask(&f->mine, "DELETE", "/v1/inbox/", id, ""), 204, NULL);
	http_client_release(&gateway);
}

static void test_token_expires(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf document = BUF_INIT;
	struct http_client gateway;
	uint8_t token_id[16], id[16];

	api_node_connect(&f->node, "http/1.1", &gateway);
	take_token(f, "t2", 60000, 9, gateway.token, token_id);
	(void)pthread_mutex_lock(&f->node.lock);
	f->node.machine.now_ms += 60001;
	(void)pthread_mutex_unlock(&f->node.lock);
	leave(f, INBOX_USER, id); /* Whatever is applied moves the clock that reads see. */
	seal(f, INBOX_ANONYMOUS, "late", &document, token_id);
	answer_expect(deposit(f, &gateway, &document), 401, "unauthenticated");
	answer_expect(ask(&f->mine, "DELETE", "/v1/inbox/", id, ""), 204, NULL);
	http_client_release(&gateway);
}

/* --- claims --- */

/* A commit of one page with this value of Kluis-Claims. */
static struct answer commit(struct fixture *f, const char *claims, struct buf *body)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT, head = BUF_INIT, fields = BUF_INIT;
	uint64_t revision = f->owner.revision[0] + 1;
	char target[80], hex[33];

	if (body->len == 0) {
		struct commit_entry entry = {
			.page_no = 0, .revision = revision, .how = COMMIT_INLINE};

		person_page(&f->owner, 0, revision, "claimed", &page);
		person_head(&f->owner, 0, buf_bytes(&page), &head);
		entry.bytes = buf_bytes(&page);
		buf_put_lp32(body, buf_bytes(&head));
		commit_entry_append(body, &entry);
	}
	hex_encode(bytes_of(f->owner.vault_id, 16), hex);
	(void)snprintf(target, sizeof target, "/v1/vaults/%s/commits", hex);
	buf_printf(&fields, "%sKluis-Claims: %s\r\n", octets, claims);
	return http_client_call(&f->mine, "POST", target, buf_str(&fields), buf_bytes(body));
}

static void test_claims(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, claims = BUF_INIT;
	uint8_t first[16], second[16];
	struct answer answer;

	leave(f, INBOX_USER, first);
	leave(f, INBOX_USER, second);
	hex_append(&claims, bytes_of(second, 16));
	buf_append(&claims, ",", 1);
	/* One of two is not there: nothing happens. */
	buf_printf(&claims, "ffffffffffffffffffffffffffffffff");
	answer_expect(commit(f, buf_str(&claims), &body), 404, "not-found");
	assert_int_equal(count(&f->mine, "/v1/inbox"), 2);
	claims.len = 33;
	hex_append(&claims, bytes_of(first, 16));
	for (unsigned i = 0; i < 2; i++) { /* The second time they are gone, by this very commit. */
		answer = commit(f, buf_str(&claims), &body);
		if (answer.status != 200) {
			fail_msg("%d %s", answer.status, buf_str(&answer.body));
		}
		answer_release(&answer);
	}
	person_committed(&f->owner, 0);
	assert_int_equal(count(&f->mine, "/v1/inbox"), 0);
}

static void test_claims_malformed(void **state)
{
	struct fixture *f = *state;
	static const char id[] = "0123456789abcdef0123456789abcdef";
	_cleanup_(buf_release) struct buf body = BUF_INIT, many = BUF_INIT;
	struct answer answer;
	char twice[80];

	(void)snprintf(twice, sizeof twice, "%s,%s", id, id);
	for (unsigned i = 0; i <= INBOX_DOCS_PER_COMMAND_MAX; i++) {
		buf_printf(&many, "%s%032x", i == 0 ? "" : ",", i);
	}
	{
		const char *const bad[] = {"", ",", "0123", twice, id + 1,
			"0123456789abcdef0123456789abcdef,",
			"0123456789abcdef0123456789abcdef;0123456789abcdef0123456789abcdee",
			"0123456789abcdef0123456789abcdeg"};

		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
			answer = commit(f, bad[i], &body);
			if (answer.status != 400) {
				fail_msg("'%s': %d", bad[i], answer.status);
			}
			answer_release(&answer);
		}
	}
	answer = commit(f, buf_str(&many), &body);
	assert_int_equal(answer.status, 413);
	assert_int_equal(answer_number(&answer, "limit"), INBOX_DOCS_PER_COMMAND_MAX);
	answer_release(&answer);
}

/* --- quotas --- */

/* Who has an account fills half of an inbox, and no more. */
static void test_quota(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf document = BUF_INIT;
	struct http_client gateway;
	struct answer answer;
	uint8_t id[16], token_id[16];

	seal(f, INBOX_USER, "many", &document, id);
	for (unsigned i = 0; i < INBOX_SESSION_DOCS_MAX; i++) {
		store_u16(document.data + INBOX_HEADER_BYTES - 12, i); /* doc16 ends there. */
		answer_expect(deposit(f, &f->theirs, &document), 201, NULL);
	}
	answer_expect(deposit(f, &f->theirs, &document), 201, NULL); /* It is there. */
	store_u16(document.data + INBOX_HEADER_BYTES - 12, INBOX_SESSION_DOCS_MAX);
	answer = deposit(f, &f->theirs, &document);
	assert_int_equal(answer.status, 507);
	assert_string_equal(answer_text(&answer, "code"), "quota-exceeded");
	assert_int_equal(answer_number(&answer, "limit"), INBOX_SESSION_DOCS_MAX);
	answer_release(&answer);
	api_node_connect(&f->node, "http/1.1", &gateway);
	take_token(f, "t3", DAY_MS, 9, gateway.token, token_id);
	seal(f, INBOX_ANONYMOUS, "by the other half", &document, id);
	answer_expect(deposit(f, &gateway, &document), 201, NULL);
	http_client_release(&gateway);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_document),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_token_forms),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_token_expires),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_claims_malformed),
		cmocka_unit_test(test_quota),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

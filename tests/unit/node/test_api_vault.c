/* Vaults, pages and commits through the whole API: real signatures, real state machine. */
#include "tests/lib/test.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "node/etag.h"
#include "crypto/hash.h"
#include "storage/key_codec.h"
#include "tests/lib/api/node.h"
#include "tests/lib/fixture/forget.h"

struct fixture {
	struct api_node node;
	struct person person;
	struct http_client client;
	char path[256];
};

static const char *at(struct fixture *f, const char *rest)
{
	struct buf hex = BUF_INIT;

	hex_append(&hex, bytes_of(f->person.vault_id, 16));
	(void)snprintf(f->path, sizeof f->path, "/v1/vaults/%s%s", buf_str(&hex), rest);
	buf_release(&hex);
	return f->path;
}

static int setup(void **state)
{
	struct fixture *f = x_calloc(1, sizeof *f);

	api_node_start(&f->node);
	person_init(&f->person, "backup-app");
	api_node_connect(&f->node, "http/1.1", &f->client);
	api_node_join(&f->node, &f->person, &f->client);
	api_node_vault(&f->node, &f->person, &f->client);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_client_release(&f->client);
	person_release(&f->person);
	api_node_stop(&f->node);
	free(f);
	return 0;
}

static void expect_problem(struct answer *answer, int status, const char *code)
{
	if (answer->status != status || strcmp(answer_text(answer, "code"), code) != 0) {
		fail_msg("wanted %d %s, got %d %s", status, code, answer->status,
			buf_str(&answer->body));
	}
	assert_string_equal(answer_field(answer, "content-type"), "application/problem+json");
	assert_int_equal(answer_number(answer, "status"), status);
	assert_true(strlen(answer_text(answer, "request_id")) == 16);
	assert_non_null(json_object_get(answer->json, "type"));
	assert_non_null(json_object_get(answer->json, "title"));
	assert_non_null(json_object_get(answer->json, "detail"));
	assert_non_null(json_object_get(answer->json, "instance"));
	assert_non_null(json_object_get(answer->json, "retryable"));
}

static struct answer get(struct fixture *f, const char *rest, const char *fields)
{
	return http_client_call(&f->client, "GET", at(f, rest), fields, bytes_of(NULL, 0));
}

/* PUT of one page with its head; fields carry the precondition. */
static struct answer put(struct fixture *f, uint64_t page_no, const struct buf *page,
	const struct buf *head, const char *condition)
{
	struct buf fields = BUF_INIT;
	char rest[64];
	struct answer answer;

	buf_printf(&fields, "Content-Type: application/octet-stream\r\n%sKluis-Head: ", condition);
	base64_append(&fields, buf_bytes(head));
	buf_printf(&fields, "\r\n");
	(void)snprintf(rest, sizeof rest, "/pages/%llu", (unsigned long long)page_no);
	answer =
		http_client_call(&f->client, "PUT", at(f, rest), buf_str(&fields), buf_bytes(page));
	buf_release(&fields);
	return answer;
}

static void put_ok(struct fixture *f, uint64_t page_no, const char *text, struct buf *ret_page)
{
	_cleanup_(buf_release) struct buf head = BUF_INIT;
	uint64_t revision = f->person.revision[page_no] + 1;
	struct answer answer;
	char condition[128] = "If-None-Match: *\r\n";

	if (revision > 1) {
		char rest[64];

		(void)snprintf(rest, sizeof rest, "/pages/%llu", (unsigned long long)page_no);
		answer = get(f, rest, "");
		(void)snprintf(condition, sizeof condition, "If-Match: %s\r\n",
			answer_field(&answer, "etag"));
		answer_release(&answer);
	}
	buf_clear(ret_page);
	person_page(&f->person, page_no, revision, text, ret_page);
	person_head(&f->person, page_no, buf_bytes(ret_page), &head);
	answer = put(f, page_no, ret_page, &head, condition);
	if (answer.status != (revision == 1 ? 201 : 200)) {
		fail_msg("%d %s", answer.status, buf_str(&answer.body));
	}
	person_committed(&f->person, page_no);
	assert_int_equal(answer_number(&answer, "seq"), (json_int_t)f->person.seq);
	answer_release(&answer);
}

/* A vault's first member is its founder, by a chain of one statement. */
static void test_members(void **state)
{
	struct fixture *f = *state;
	struct answer answer = get(f, "/members", "");
	const json_t *member;
	struct buf expected = BUF_INIT;

	assert_int_equal(answer.status, 200);
	assert_int_equal(answer_number(&answer, "members_rev"), 1);
	assert_int_equal(answer_number(&answer, "epoch"), 1);
	hex_append(&expected, bytes_of(f->person.members_hash, 32));
	assert_string_equal(answer_text(&answer, "members_hash"), buf_str(&expected));
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 1);
	member = json_array_get(json_object_get(answer.json, "items"), 0);
	buf_clear(&expected);
	hex_append(&expected, bytes_of(f->person.user_id, 16));
	assert_string_equal(json_string_value(json_object_get(member, "id")), buf_str(&expected));
	assert_string_equal(json_string_value(json_object_get(member, "kind")), "user");
	assert_string_equal(json_string_value(json_object_get(member, "role")), "admin");
	assert_string_equal(json_string_value(json_object_get(member, "state")), "accepted");
	answer_release(&answer);
	answer = get(f, "", "");
	assert_string_equal(answer_text(&answer, "state"), "accepted");
	assert_true(json_is_null(json_object_get(answer.json, "via")));
	assert_int_equal(answer_number(&answer, "members_rev"), 1);
	answer_release(&answer);

	buf_clear(&expected);
	base64_append(&expected, buf_bytes(&f->person.create));
	for (unsigned since = 0; since < 3; since++) {
		char target[64];
		const json_t *items;

		(void)snprintf(target, sizeof target, "/members/chain?since=%u", since);
		answer = get(f, target, "");
		assert_int_equal(answer.status, 200);
		items = json_object_get(answer.json, "items");
		assert_int_equal(json_array_size(items), since == 0);
		if (since == 0) {
			assert_string_equal(
				json_string_value(json_array_get(items, 0)), buf_str(&expected));
		}
		answer_release(&answer);
	}
	answer_expect(get(f, "/members/chain?since=-1", ""), 400, "invalid");
	buf_release(&expected);
}

static void test_vaults(void **state)
{
	struct fixture *f = *state;
	struct answer answer, again;
	char condition[96];

	answer = http_client_call(&f->client, "GET", "/v1/vaults", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 1);
	assert_true(json_is_true(json_object_get(answer.json, "done")));
	answer_release(&answer);

	answer = get(f, "", "");
	assert_int_equal(answer.status, 200);
	assert_string_equal(answer_text(&answer, "role"), "admin");
	assert_int_equal(answer_number(&answer, "seq"), 1);
	assert_string_equal(answer_text(&answer, "etag"), answer_field(&answer, "etag"));
	(void)snprintf(
		condition, sizeof condition, "If-None-Match: %s\r\n", answer_text(&answer, "etag"));
	again = get(f, "", condition);
	assert_int_equal(again.status, 304);
	assert_string_equal(answer_field(&again, "etag"), answer_text(&answer, "etag"));
	answer_release(&again);

	again = http_client_json(&f->client, "PATCH", at(f, ""), "", "{\"label\":\"YWJj\"}");
	expect_problem(&again, 428, "precondition-required");
	answer_release(&again);
	again = http_client_json(&f->client, "PATCH", at(f, ""),
		"If-Match: \"7-0000000000000000\"\r\n", "{\"label\":\"YWJj\"}");
	expect_problem(&again, 412, "precondition-failed");
	assert_string_equal(answer_text(&again, "current_etag"), answer_text(&answer, "etag"));
	answer_release(&again);
	(void)snprintf(
		condition, sizeof condition, "If-Match: %s\r\n", answer_text(&answer, "etag"));
	again = http_client_json(&f->client, "PATCH", at(f, ""), condition, "{\"label\":\"YWJj\"}");
	assert_int_equal(again.status, 200);
	assert_string_equal(answer_text(&again, "label"), "YWJj");
	assert_int_equal(answer_number(&again, "revision"), 2);
	answer_release(&again);
	/* What it was before does not match any more. */
	again = http_client_call(&f->client, "DELETE", at(f, ""), condition, bytes_of(NULL, 0));
	expect_problem(&again, 412, "precondition-failed");
	(void)snprintf(condition, sizeof condition, "If-Match: %s\r\n",
		answer_text(&again, "current_etag"));
	answer_release(&again);
	again = http_client_call(&f->client, "DELETE", at(f, ""), condition, bytes_of(NULL, 0));
	assert_int_equal(again.status, 204);
	answer_release(&again);
	again = get(f, "", "");
	assert_true(again.status == 410 || again.status == 404);
	answer_release(&again);
	answer_release(&answer);
}

/* RFC 9110 section 8.8.3 form of API section 1: "<revision>-<16 hex of SHA-256>". */
static const char *page_tag(uint64_t revision, const struct buf *page, char to[ETAG_CHARS_MAX + 1])
{
	uint8_t hash[HASH_BYTES];

	hash_sha256(buf_bytes(page), hash);
	etag_format(revision, hash, to);
	return to;
}

static void test_pages(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf page = BUF_INIT, second = BUF_INIT, head = BUF_INIT,
					  other = BUF_INIT;
	struct answer answer, again;
	char fields[160], tag[ETAG_CHARS_MAX + 1];

	answer = get(f, "/pages/0", "");
	expect_problem(&answer, 404, "not-found");
	answer_release(&answer);
	put_ok(f, 0, "one", &page);
	answer = get(f, "/pages/0", "");
	assert_int_equal(answer.status, 200);
	assert_true(bytes_equal(buf_bytes(&answer.body), buf_bytes(&page)));
	assert_string_equal(answer_field(&answer, "accept-ranges"), "bytes");

	/* Ranges of it. */
	again = get(f, "/pages/0", "Range: bytes=4-7\r\n");
	assert_int_equal(again.status, 206);
	assert_int_equal(again.body.len, 4);
	assert_memory_equal(again.body.data, page.data + 4, 4);
	(void)snprintf(fields, sizeof fields, "bytes 4-7/%zu", page.len);
	assert_string_equal(answer_field(&again, "content-range"), fields);
	answer_release(&again);
	again = get(f, "/pages/0", "Range: bytes=9999999-\r\n");
	expect_problem(&again, 416, "invalid");
	(void)snprintf(fields, sizeof fields, "bytes */%zu", page.len);
	assert_string_equal(answer_field(&again, "content-range"), fields);
	answer_release(&again);
	again = get(f, "/pages/0", "Range: bytes=0-1,4-5\r\n");
	assert_int_equal(again.status, 200);
	answer_release(&again);
	again = get(f, "/pages/0", "Range: bytes=0-1\r\nIf-Range: \"9-0000000000000000\"\r\n");
	assert_int_equal(again.status, 200);
	answer_release(&again);
	again = http_client_call(&f->client, "HEAD", at(f, "/pages/0"), "", bytes_of(NULL, 0));
	assert_int_equal(again.status, 200);
	(void)snprintf(fields, sizeof fields, "%zu", page.len);
	assert_string_equal(answer_field(&again, "content-length"), fields);
	answer_release(&again);
	(void)snprintf(fields, sizeof fields, "If-None-Match: \"x\", W/%s\r\n",
		answer_field(&answer, "etag"));
	again = get(f, "/pages/0", fields);
	assert_int_equal(again.status, 304);
	answer_release(&again);

	/* Conditions of a change. */
	person_page(&f->person, 0, 2, "two", &second);
	person_head(&f->person, 0, buf_bytes(&second), &head);
	again = put(f, 0, &second, &head, "");
	expect_problem(&again, 428, "precondition-required");
	answer_release(&again);
	again = put(f, 0, &second, &head, "If-None-Match: *\r\n");
	expect_problem(&again, 412, "precondition-failed");
	assert_string_equal(answer_text(&again, "current_etag"), answer_field(&answer, "etag"));
	answer_release(&again);
	again = put(f, 0, &second, &head, "If-Match: \"1-0000000000000000\"\r\n");
	expect_problem(&again, 412, "precondition-failed");
	answer_release(&again);
	(void)snprintf(fields, sizeof fields, "If-Match: %s\r\n", answer_field(&answer, "etag"));
	again = put(f, 0, &second, &head, fields);
	assert_int_equal(again.status, 200);
	person_committed(&f->person, 0);
	answer_release(&again);
	/* The identical request again: the first answer, though the tag is an old one by now. */
	again = put(f, 0, &second, &head, fields);
	assert_int_equal(again.status, 200);
	assert_int_equal(answer_number(&again, "seq"), (json_int_t)f->person.seq);
	assert_string_equal(answer_field(&again, "etag"), page_tag(2, &second, tag));
	answer_release(&again);
	/* The same head with other bytes: they are not what is stored, and no tag says that they
	 * are. */
	person_page(&f->person, 0, 2, "too", &other);
	again = put(f, 0, &other, &head, fields);
	expect_problem(&again, 409, "conflict");
	assert_string_equal(answer_field(&again, "etag"), "");
	answer_release(&again);
	again = get(f, "/pages/0", "");
	assert_true(bytes_equal(buf_bytes(&again.body), buf_bytes(&second)));
	answer_release(&again);

	again = get(f, "/pages/0/versions", "");
	assert_int_equal(json_array_size(json_object_get(again.json, "items")), 2);
	answer_release(&again);
	again = get(f, "/pages/0/versions?limit=1", "");
	assert_int_equal(json_array_size(json_object_get(again.json, "items")), 1);
	(void)snprintf(fields, sizeof fields, "/pages/0/versions?limit=1&cursor=%s",
		answer_text(&again, "next"));
	answer_release(&again);
	again = get(f, fields, "");
	assert_true(json_is_true(json_object_get(again.json, "done")));
	answer_release(&again);
	again = get(f, "/pages/0/versions/1", "");
	assert_true(bytes_equal(buf_bytes(&again.body), buf_bytes(&page)));
	answer_release(&again);
	again = get(f, "/pages/0/versions/9", "");
	expect_problem(&again, 404, "not-found");
	answer_release(&again);
	answer_release(&answer);
}

static void test_wrong_pages(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf page = BUF_INIT, head = BUF_INIT;
	struct answer answer;

	person_page(&f->person, 0, 1, "x", &page);
	person_head(&f->person, 0, buf_bytes(&page), &head);
	/* Another place than the path says. */
	answer = put(f, 1, &page, &head, "If-None-Match: *\r\n");
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
	/* A head that nobody signed. */
	head.data[head.len - 1] ^= 1;
	answer = put(f, 0, &page, &head, "If-None-Match: *\r\n");
	expect_problem(&answer, 403, "forbidden");
	answer_release(&answer);
	head.data[head.len - 1] ^= 1;
	/* A page that is none. */
	page.data[0] ^= 1;
	answer = put(f, 0, &page, &head, "If-None-Match: *\r\n");
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
	page.data[0] ^= 1;
	page.len--;
	answer = put(f, 0, &page, &head, "If-None-Match: *\r\n");
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
	page.len++;
	answer = put(f, 0, &page, &head, "If-None-Match: *\r\n");
	assert_int_equal(answer.status, 201);
	answer_release(&answer);
}

static void test_commits(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf page = BUF_INIT, head = BUF_INIT, body = BUF_INIT;
	uint8_t hash[32];
	char rest[160];
	struct answer answer, again;
	static const char octets[] = "Content-Type: application/octet-stream\r\n";

	person_page(&f->person, 0, 1, "staged", &page);
	hash_sha256(buf_bytes(&page), hash);
	(void)snprintf(rest, sizeof rest, "/staged/");
	hex_encode(bytes_of(hash, 32), rest + strlen(rest));
	answer = http_client_call(&f->client, "HEAD", at(f, rest), "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 404);
	answer_release(&answer);
	for (unsigned i = 0; i < 2; i++) {
		answer = http_client_call(&f->client, "PUT", at(f, rest), octets, buf_bytes(&page));
		assert_int_equal(answer.status, 200);
		answer_release(&answer);
	}
	answer = http_client_call(&f->client, "HEAD", at(f, rest), "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	rest[strlen(rest) - 1] ^= 1;
	answer = http_client_call(&f->client, "PUT", at(f, rest), octets, buf_bytes(&page));
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);

	person_head(&f->person, 0, buf_bytes(&page), &head);
	buf_put_lp32(&body, buf_bytes(&head));
	commit_entry_append(&body, &(struct commit_entry){.page_no = 0,
					   .revision = 1,
					   .how = COMMIT_STAGED,
					   .bytes = bytes_of(hash, 32)});
	for (unsigned i = 0; i < 2; i++) {
		/* The identical body again is a retry, and succeeds. */
		answer = http_client_call(
			&f->client, "POST", at(f, "/commits"), octets, buf_bytes(&body));
		if (answer.status != 200) {
			fail_msg("%s", buf_str(&answer.body));
		}
		assert_int_equal(answer_number(&answer, "seq"), 2);
		answer_release(&answer);
	}
	/* Another head for the same seq is not: it lost the race, and is told where things are. */
	buf_clear(&page);
	buf_clear(&head);
	buf_clear(&body);
	person_page(&f->person, 0, 1, "late", &page);
	person_head(&f->person, 0, buf_bytes(&page), &head);
	buf_put_lp32(&body, buf_bytes(&head));
	commit_entry_append(&body, &(struct commit_entry){.page_no = 0,
					   .revision = 1,
					   .how = COMMIT_INLINE,
					   .bytes = buf_bytes(&page)});
	answer = http_client_call(&f->client, "POST", at(f, "/commits"), octets, buf_bytes(&body));
	expect_problem(&answer, 412, "precondition-failed");
	again = get(f, "/head", "");
	assert_string_equal(answer_text(&answer, "current_etag"), answer_field(&again, "etag"));
	assert_memory_equal(answer_text(&answer, "current_etag"), "\"2-", 3);
	answer_release(&again);
	answer_release(&answer);
	/* Nor is one that was changed after it was signed. */
	body.data[4 + 60]++;
	answer = http_client_call(&f->client, "POST", at(f, "/commits"), octets, buf_bytes(&body));
	assert_true(answer.status == 403 || answer.status == 400);
	answer_release(&answer);
	answer = http_client_call(
		&f->client, "POST", at(f, "/commits"), octets, bytes_of("\0\0\0\1x", 5));
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
	answer = http_client_call(
		&f->client, "POST", at(f, "/commits?purge=2"), octets, bytes_of("x", 1));
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
}

static void test_lists(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf page = BUF_INIT, want = BUF_INIT;
	struct answer answer;
	char rest[256];

	for (uint64_t n = 0; n < 3; n++) {
		put_ok(f, n, "text", &page);
		buf_put_lp32(&want, buf_bytes(&page));
	}
	buf_put_u32(&want, 0);
	answer = http_client_json(
		&f->client, "POST", at(f, "/pages:get"), "", "{\"pages\":[0,1,2,7]}");
	assert_int_equal(answer.status, 200);
	assert_true(bytes_equal(buf_bytes(&answer.body), buf_bytes(&want)));
	answer_release(&answer);
	answer = http_client_json(&f->client, "POST", at(f, "/pages:get"), "", "{\"pages\":[]}");
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);

	answer = get(f, "/head", "");
	assert_int_equal(answer_number(&answer, "seq"), 4);
	answer_release(&answer);
	answer = get(f, "/heads?since=1&limit=2", "");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 2);
	(void)snprintf(rest, sizeof rest, "/heads?since=1&cursor=%s", answer_text(&answer, "next"));
	answer_release(&answer);
	answer = get(f, rest, "");
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 1);
	assert_true(json_is_true(json_object_get(answer.json, "done")));
	answer_release(&answer);

	/* Changes, one at a time, each from where the one before ended. */
	(void)snprintf(
		rest, sizeof rest, "/changes?limit=1&since=66656463626139383736353433323100%%3A0");
	for (unsigned i = 0; i < 4; i++) {
		char next[128];

		answer = get(f, rest, "");
		if (answer.status != 200) {
			fail_msg("%s", buf_str(&answer.body));
		}
		assert_int_equal(
			json_array_size(json_object_get(answer.json, "items")), i < 3 ? 1 : 0);
		(void)snprintf(next, sizeof next, "%s", answer_text(&answer, "next"));
		(void)snprintf(rest, sizeof rest, "/changes?limit=1&since=%s", next);
		answer_release(&answer);
	}
	assert_non_null(strstr(rest, ":4"));
	answer = get(f, "/changes?since=00000000000000000000000000000000:0", "");
	expect_problem(&answer, 410, "lineage-changed");
	answer_release(&answer);
	answer = get(f, "/changes", "");
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
}

static void test_consistency(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	char fields[128];

	answer = get(f, "/head", "");
	assert_string_equal(answer_field(&answer, "kluis-site"), "ams");
	assert_string_equal(answer_field(&answer, "kluis-node"), "1");
	(void)snprintf(fields, sizeof fields, "Kluis-Min-Index: %s\r\n",
		answer_field(&answer, "kluis-index"));
	answer_release(&answer);
	answer = get(f, "/head?consistency=session", fields);
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	answer = get(f, "/head?consistency=session", "");
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
	answer = get(f, "/head?consistency=session&wait_ms=5",
		"Kluis-Min-Index: 66656463626139383736353433323100:999999\r\n");
	expect_problem(&answer, 503, "behind");
	assert_string_equal(
		answer_text(&answer, "min_index"), "66656463626139383736353433323100:999999");
	assert_int_equal(f->node.wait_for, 999999);
	answer_release(&answer);
	answer = get(f, "/head?consistency=session",
		"Kluis-Min-Index: 00000000000000000000000000000000:1\r\n");
	expect_problem(&answer, 410, "lineage-changed");
	answer_release(&answer);

	f->node.heard_ago_ms = 1234;
	answer = get(f, "/head?consistency=stale", "");
	assert_int_equal(answer.status, 200);
	assert_true(strtoul(answer_field(&answer, "kluis-staleness-ms"), NULL, 10) >= 1234);
	answer_release(&answer);
	f->node.heard_ago_ms = API_STALE_MS_DEFAULT + 1;
	answer = get(f, "/head?consistency=stale", "");
	expect_problem(&answer, 503, "behind");
	answer_release(&answer);

	/* No leader: linearizable reads and writes say so, stale ones go on. */
	f->node.heard_ago_ms = 5;
	f->node.no_leader = true;
	answer = get(f, "/head", "");
	expect_problem(&answer, 503, "no-quorum");
	assert_true(strlen(answer_field(&answer, "retry-after")) > 0);
	answer_release(&answer);
	answer = get(f, "/head?consistency=stale", "");
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	answer = http_client_call(&f->client, "POST", "/v1/logout", "", bytes_of(NULL, 0));
	expect_problem(&answer, 503, "no-quorum");
	answer_release(&answer);
	f->node.no_leader = false;
	f->node.lose_outcome = true;
	answer = http_client_call(&f->client, "DELETE", "/v1/sessions", "", bytes_of(NULL, 0));
	expect_problem(&answer, 504, "outcome-unknown");
	answer_release(&answer);
	f->node.lose_outcome = false;
	answer = get(f, "/head?consistency=weird", "");
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
	answer = get(f, "/head?wait_ms=1&wait_ms=1", "");
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
	answer = get(f, "/head?nonsense=1", "");
	expect_problem(&answer, 400, "invalid");
	answer_release(&answer);
}

/* The others disagree with this node's state: it shows nothing of it, and what its state machine
 * says of a command is not what became of it. */
static void test_quarantined(void **state)
{
	struct fixture *f = *state;
	struct http_client admin;
	struct answer answer;

	f->node.quarantine_at_once = true;
	answer = http_client_call(&f->client, "DELETE", "/v1/sessions", "", bytes_of(NULL, 0));
	expect_problem(&answer, 504, "outcome-unknown");
	answer_release(&answer);
	for (unsigned i = 0; i < 2; i++) {
		answer = get(f, i == 0 ? "/head" : "/head?consistency=stale", "");
		expect_problem(&answer, 503, "behind");
		answer_release(&answer);
	}
	answer = http_client_call(&f->client, "DELETE", "/v1/sessions", "", bytes_of(NULL, 0));
	expect_problem(&answer, 503, "behind");
	answer_release(&answer);
	answer = http_client_call(&f->client, "GET", "/readyz", "", bytes_of(NULL, 0));
	expect_problem(&answer, 503, "behind");
	answer_release(&answer);
	api_node_admin(&f->node, &admin); /* Its operator still sees it. */
	answer = http_client_call(&admin, "GET", "/v1/sys/health", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	http_client_release(&admin);
}

/* The node's threads count them. */
static unsigned doubts(struct api_node *node)
{
	unsigned n;

	(void)pthread_mutex_lock(&node->lock);
	n = node->doubts;
	(void)pthread_mutex_unlock(&node->lock);
	return n;
}

/* The store does not give a page back as it was written: no byte of it goes out, the client is sent
 * to another site, and the replica and the operator hear of it. */
static void test_damaged_store(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	struct http_client admin;
	struct answer answer;

	put_ok(f, 0, "zero", &page);
	f->node.voters = 4;
	f->node.voters_wanted = 5;
	(void)pthread_mutex_lock(&f->node.lock);
	assert_true(fixture_forget_rows(f->node.machine.kv, KEY_BYTES) > 0);
	(void)pthread_mutex_unlock(&f->node.lock);
	answer = get(f, "/pages/0", "");
	expect_problem(&answer, 503, "behind");
	assert_null(strstr(buf_str(&answer.body), "bytes of a page"));
	answer_release(&answer);
	assert_int_equal(doubts(&f->node), 1);
	assert_string_equal(f->node.damage, "the bytes of a page are missing");
	answer = get(f, "/head", ""); /* What can be read is shown. */
	assert_int_equal(answer.status, 200);
	answer_release(&answer);
	assert_int_equal(doubts(&f->node), 1);
	api_node_admin(&f->node, &admin);
	answer = http_client_call(&admin, "GET", "/v1/sys/alarms", "", bytes_of(NULL, 0));
	assert_non_null(strstr(buf_str(&answer.body),
		"\"name\":\"store\",\"severity\":\"critical\",\"text\":\"damaged, "));
	assert_non_null(strstr(buf_str(&answer.body),
		"\"name\":\"voters\",\"severity\":\"warning\",\"text\":\"4 of 5 wanted "
		"voters\""));
	answer_release(&answer);
	answer = http_client_call(&admin, "GET", "/metrics", "", bytes_of(NULL, 0));
	assert_non_null(strstr(buf_str(&answer.body), "\nkluis_store_damaged 1\n"));
	assert_non_null(strstr(buf_str(&answer.body), "\nkluis_raft_voters 4\n"));
	assert_non_null(strstr(buf_str(&answer.body), "\nkluis_raft_voters_wanted 5\n"));
	answer_release(&answer);
	http_client_release(&admin);
	/* In the middle of an answer there is nothing left but to cut it off. */
	answer = http_client_json(&f->client, "POST", at(f, "/pages:get"), "", "{\"pages\":[0]}");
	assert_int_equal(answer.status, 0);
	answer_release(&answer);
	assert_int_equal(doubts(&f->node), 2);
}

static void test_idempotency(void **state)
{
	struct fixture *f = *state;
	_cleanup_(buf_release) struct buf body = BUF_INIT, head = BUF_INIT;
	struct person other;
	struct answer answer;

	/* The key that setup() used, with another vault. */
	person_init(&other, "backup-app");
	memcpy(other.user_id, f->person.user_id, 16);
	memcpy(other.device_id, f->person.device_id, 16);
	person_first_head(&other, &head);
	buf_printf(&body, "{\"create\":\"");
	base64_append(&body, buf_bytes(&other.create));
	buf_printf(&body, "\",\"head\":\"");
	base64_append(&body, buf_bytes(&head));
	buf_printf(&body, "\"}");
	answer = http_client_json(
		&f->client, "POST", "/v1/vaults", "Idempotency-Key: v1\r\n", buf_str(&body));
	/* Signed by a device that is not this session's. */
	expect_problem(&answer, 403, "forbidden");
	answer_release(&answer);
	answer = http_client_json(&f->client, "POST", "/v1/vaults", "", buf_str(&body));
	expect_problem(&answer, 428, "precondition-required");
	answer_release(&answer);
	person_release(&other);

	buf_clear(&body);
	buf_clear(&head);
	f->person.next = (struct head){.seq = 1};
	f->person.seq = 0;
	person_first_head(&f->person, &head);
	buf_printf(&body, "{\"create\":\"");
	base64_append(&body, buf_bytes(&f->person.create));
	buf_printf(&body, "\",\"head\":\"");
	base64_append(&body, buf_bytes(&head));
	buf_printf(&body, "\"}");
	/* ECDSA signs differently each time: another body under the same key. */
	answer = http_client_json(
		&f->client, "POST", "/v1/vaults", "Idempotency-Key: v1\r\n", buf_str(&body));
	expect_problem(&answer, 422, "invalid");
	answer_release(&answer);
	/* A key of its own: the vault is there, by this very head, and is answered as new. */
	for (unsigned i = 0; i < 2; i++) {
		answer = http_client_json(&f->client, "POST", "/v1/vaults",
			"Idempotency-Key: v2\r\n", buf_str(&body));
		assert_int_equal(answer.status, 201);
		assert_string_equal(answer_field(&answer, "location"), at(f, ""));
		answer_release(&answer);
	}
}

static void test_sessions(void **state)
{
	struct fixture *f = *state;
	struct answer answer;
	char target[64];

	answer = http_client_call(&f->client, "GET", "/v1/sessions", "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 200);
	assert_int_equal(json_array_size(json_object_get(answer.json, "items")), 1);
	(void)snprintf(target, sizeof target, "/v1/sessions/%s",
		json_string_value(json_object_get(
			json_array_get(json_object_get(answer.json, "items"), 0), "id")));
	answer_release(&answer);
	answer = http_client_call(&f->client, "GET", target, "", bytes_of(NULL, 0));
	assert_true(json_is_true(json_object_get(answer.json, "current")));
	answer_release(&answer);
	answer = http_client_call(&f->client, "DELETE", target, "", bytes_of(NULL, 0));
	assert_int_equal(answer.status, 204);
	answer_release(&answer);
	answer = http_client_call(&f->client, "GET", target, "", bytes_of(NULL, 0));
	expect_problem(&answer, 401, "unauthenticated");
	assert_string_equal(answer_field(&answer, "www-authenticate"), "Bearer");
	answer_release(&answer);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_members, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vaults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_commits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(test_consistency, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idempotency, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quarantined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_store, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sessions, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

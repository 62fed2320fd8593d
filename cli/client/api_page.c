/* Calls about heads, pages and commits. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/wire.h"
#include "cli/client/api.h"
#include "cli/client/json_reader.h"

static const char page_type[] = "application/octet-stream";

/* Appends the answer's body to `to`. */
static int page_octets(
	struct client *client, const struct client_request *request, struct buf *to, struct err *e)
{
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	int rc = client_call(client, request, &answer, e);

	if (rc == 0 && to != NULL) {
		buf_append_bytes(to, buf_bytes(&answer.body));
	}
	return rc;
}

int api_head(struct client *client, const uint8_t vault_id[ID_BYTES], uint8_t ret_head[HEAD_BYTES],
	struct err *e)
{
	char target[API_TARGET_MAX];
	uint8_t head[HEAD_BYTES];
	struct json_reader r;
	json_t *object;
	int rc;

	api_target(target, "vaults", vault_id, "/head");
	rc = api_get(client, target, &object, e);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	json_reader_base64_exact(&r, "head", head, HEAD_BYTES);
	rc = json_reader_end(&r, "head", e);
	json_decref(object);
	if (rc == 0) {
		memcpy(ret_head, head, HEAD_BYTES);
	}
	return rc;
}

int api_heads(struct client *client, const uint8_t vault_id[ID_BYTES], uint64_t since,
	struct buf *ret_heads, bool *ret_done, struct err *e)
{
	char target[API_TARGET_MAX];
	struct json_reader r;
	json_t *object;
	const json_t *items;
	size_t before = ret_heads->len;
	int rc;

	api_target(target, "vaults", vault_id, "/heads?since=%" PRIu64 "&limit=%d", since,
		LIST_LIMIT_MAX);
	rc = api_get(client, target, &object, e);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	items = json_reader_array(&r, "items");
	for (size_t i = 0; i < json_array_size(items) && r.failed == NULL; i++) {
		struct json_reader item = json_reader_of(json_array_get(items, i));

		json_reader_base64_exact(
			&item, "head", buf_extend(ret_heads, HEAD_BYTES), HEAD_BYTES);
		r.failed = item.failed;
	}
	*ret_done = json_reader_bool(&r, "done");
	rc = json_reader_end(&r, "heads", e);
	json_decref(object);
	if (rc != 0) {
		ret_heads->len = before;
	}
	return rc;
}

static int change_parse(const json_t *object, struct api_change *to)
{
	struct json_reader r = json_reader_of(object);
	uint64_t epoch;

	to->seq = json_reader_u64(&r, "seq");
	to->page_no = json_reader_u64(&r, "page");
	to->revision = json_reader_u64(&r, "revision");
	epoch = json_reader_u64(&r, "epoch");
	to->epoch = (uint32_t)epoch;
	json_reader_hex(&r, "leaf", to->leaf, HASH_BYTES);
	return r.failed == NULL && epoch <= UINT32_MAX ? 0 : KLUIS_EPROTO;
}

int api_changes(struct client *client, const uint8_t vault_id[ID_BYTES], const char *cursor,
	struct api_change **ret_changes, size_t *ret_n, char **ret_next, bool *ret_done,
	struct err *e)
{
	char target[API_TARGET_MAX];
	struct api_change *changes;
	struct json_reader r;
	const json_t *items;
	const char *next;
	json_t *object;
	size_t n;
	int rc;

	assert(api_cursor_valid(cursor));
	api_target(
		target, "vaults", vault_id, "/changes?since=%s&limit=%d", cursor, LIST_LIMIT_MAX);
	rc = api_get(client, target, &object, e);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	items = json_reader_array(&r, "items");
	next = json_reader_string(&r, "next");
	n = json_array_size(items);
	changes = x_calloc(n + 1, sizeof *changes);
	for (size_t i = 0; i < n; i++) {
		if (change_parse(json_array_get(items, i), &changes[i]) != 0) {
			r.failed = "items";
		}
	}
	if (!api_cursor_valid(next)) { /* It goes back into a target. */
		r.failed = "next";
	}
	*ret_done = json_reader_bool(&r, "done");
	rc = json_reader_end(&r, "changes", e);
	if (rc == 0) {
		*ret_next = x_strdup(next);
		*ret_changes = changes;
		*ret_n = n;
		changes = NULL;
	}
	free(changes);
	json_decref(object);
	return rc;
}

int api_page(struct client *client, const uint8_t vault_id[ID_BYTES], uint64_t page_no,
	struct buf *ret_page, struct err *e)
{
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "GET",
		.target = target,
		.flags = CLIENT_AUTH | CLIENT_READ,
		.answer_max = PAGE_BYTES_MAX};

	api_target(target, "vaults", vault_id, "/pages/%" PRIu64, page_no);
	return page_octets(client, &request, ret_page, e);
}

int api_version(struct client *client, const uint8_t vault_id[ID_BYTES], uint64_t page_no,
	uint64_t revision, struct buf *ret_page, struct err *e)
{
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "GET",
		.target = target,
		.flags = CLIENT_AUTH | CLIENT_READ,
		.answer_max = PAGE_BYTES_MAX};

	api_target(target, "vaults", vault_id, "/pages/%" PRIu64 "/versions/%" PRIu64, page_no,
		revision);
	return page_octets(client, &request, ret_page, e);
}

static bool version_parse(const json_t *object, struct api_version_row *to)
{
	struct json_reader r = json_reader_of(object);
	uint64_t epoch = json_reader_u64(&r, "epoch");

	*to = (struct api_version_row){.revision = json_reader_u64(&r, "revision"),
		.bytes = json_reader_u64(&r, "bytes"),
		.written_ms = json_reader_u64(&r, "written"),
		.epoch = (uint32_t)epoch};
	json_reader_hex(&r, "sha256", to->sha256, HASH_BYTES);
	return r.failed == NULL && epoch <= UINT32_MAX;
}

int api_versions(struct client *client, const uint8_t vault_id[ID_BYTES], uint64_t page_no,
	struct api_version_row ret_versions[LIST_LIMIT_MAX], size_t *ret_n, struct err *e)
{
	char target[API_TARGET_MAX];
	struct json_reader r;
	const json_t *items;
	json_t *object;
	size_t n;
	int rc;

	api_target(target, "vaults", vault_id, "/pages/%" PRIu64 "/versions?limit=%d", page_no,
		LIST_LIMIT_MAX);
	rc = api_get(client, target, &object, e);
	if (rc != 0) {
		return rc;
	}
	r = json_reader_of(object);
	items = json_reader_array(&r, "items");
	n = json_array_size(items);
	for (size_t i = 0; i < n && r.failed == NULL; i++) {
		if (n > LIST_LIMIT_MAX ||
			!version_parse(json_array_get(items, i), &ret_versions[i])) {
			r.failed = "items";
		}
	}
	rc = json_reader_end(&r, "versions", e);
	json_decref(object);
	if (rc == 0) {
		*ret_n = n;
	}
	return rc;
}

static int pages_split(struct bytes body, size_t n, struct bytes *ret_pages, struct err *e)
{
	struct wire w = wire_of(body);

	for (size_t i = 0; i < n; i++) {
		ret_pages[i] = wire_lp32(&w, PAGE_BYTES_MAX);
	}
	return wire_end(&w) ? 0 : err_set(e, KLUIS_EPROTO, "pages: malformed answer");
}

int api_pages(struct client *client, const uint8_t vault_id[ID_BYTES], const uint64_t *page_nos,
	size_t n, struct buf *ret_body, struct bytes *ret_pages, struct err *e)
{
	_cleanup_(buf_release) struct buf body = BUF_INIT;
	_cleanup_(http_answer_release) struct http_answer answer = {0};
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "POST",
		.target = target,
		.type = "application/json",
		.flags = CLIENT_AUTH | CLIENT_READ,
		.answer_max = n * (PAGE_BYTES_MAX + 4)};
	int rc;

	assert(n > 0 && n <= PAGES_GET_MAX);
	buf_printf(&body, "{\"pages\":[");
	for (size_t i = 0; i < n; i++) {
		buf_printf(&body, "%s%" PRIu64, i == 0 ? "" : ",", page_nos[i]);
	}
	buf_printf(&body, "]}");
	request.body = buf_bytes(&body);
	api_target(target, "vaults", vault_id, "/pages:get");
	rc = client_call(client, &request, &answer, e);
	if (rc != 0) {
		return rc;
	}
	rc = pages_split(buf_bytes(&answer.body), n, ret_pages, e);
	if (rc == 0) { /* Taken as it is: the runs point into it. */
		buf_release(ret_body);
		*ret_body = answer.body;
		answer.body = BUF_INIT;
	}
	return rc;
}

int api_page_put(struct client *client, const uint8_t vault_id[ID_BYTES], uint64_t page_no,
	struct bytes page, struct bytes head, const char *etag, struct err *e)
{
	char target[API_TARGET_MAX], head_text[BASE64_LEN(HEAD_BYTES) + 1];
	struct client_request request = {.method = "PUT",
		.target = target,
		.type = page_type,
		.body = page,
		.flags = CLIENT_AUTH,
		.fields = {{"Kluis-Head", head_text},
			{etag == NULL ? "If-None-Match" : "If-Match", etag == NULL ? "*" : etag}}};

	assert(head.len == HEAD_BYTES);
	base64_encode(head, head_text);
	api_target(target, "vaults", vault_id, "/pages/%" PRIu64, page_no);
	return page_octets(client, &request, NULL, e);
}

static void staged_target(char target[API_TARGET_MAX], const uint8_t vault_id[ID_BYTES],
	const uint8_t sha256[HASH_BYTES])
{
	char name[HEX_LEN(HASH_BYTES) + 1];

	hex_encode(bytes_of(sha256, HASH_BYTES), name);
	api_target(target, "vaults", vault_id, "/staged/%s", name);
}

int api_staged_put(struct client *client, const uint8_t vault_id[ID_BYTES],
	const uint8_t sha256[HASH_BYTES], struct bytes page, struct err *e)
{
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "PUT",
		.target = target,
		.type = page_type,
		.body = page,
		.flags = CLIENT_AUTH};

	staged_target(target, vault_id, sha256);
	return page_octets(client, &request, NULL, e);
}

int api_staged_there(struct client *client, const uint8_t vault_id[ID_BYTES],
	const uint8_t sha256[HASH_BYTES], bool *ret_there, struct err *e)
{
	char target[API_TARGET_MAX];
	struct client_request request = {
		.method = "HEAD", .target = target, .flags = CLIENT_AUTH | CLIENT_READ};
	struct err local = {0};
	int rc;

	staged_target(target, vault_id, sha256);
	rc = page_octets(client, &request, NULL, &local);
	if (rc != 0 && rc != KLUIS_ENOTFOUND) {
		return err_set(e, rc, "%s", local.text);
	}
	*ret_there = rc == 0;
	return 0;
}

void api_commit_body(struct bytes head, const struct api_entry *entries, size_t n, struct buf *to)
{
	buf_put_lp32(to, head);
	for (size_t i = 0; i < n; i++) {
		buf_put_u64(to, entries[i].page_no);
		buf_put_u64(to, entries[i].revision);
		buf_put_u8(to, entries[i].staged ? 1 : 0);
		buf_put_lp32(to, entries[i].staged ? bytes_of(entries[i].page_hash, HASH_BYTES)
						   : entries[i].page);
	}
	assert(to->len <= REQUEST_BODY_BYTES_MAX);
}

int api_commit_claiming(struct client *client, const uint8_t vault_id[ID_BYTES], struct bytes body,
	const char *claims, struct err *e)
{
	char target[API_TARGET_MAX];
	const struct client_request request = {.method = "POST",
		.target = target,
		.type = page_type,
		.body = body,
		.fields = {{"Kluis-Claims", claims}},
		.flags = CLIENT_AUTH};

	api_target(target, "vaults", vault_id, "/commits");
	return page_octets(client, &request, NULL, e);
}

int api_commit(struct client *client, const uint8_t vault_id[ID_BYTES], struct bytes body,
	bool purge, struct err *e)
{
	char target[API_TARGET_MAX];
	struct client_request request = {.method = "POST",
		.target = target,
		.type = page_type,
		.body = body,
		.flags = CLIENT_AUTH};

	api_target(target, "vaults", vault_id, "/commits%s", purge ? "?purge=1" : "");
	return page_octets(client, &request, NULL, e);
}

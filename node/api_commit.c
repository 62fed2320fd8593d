/* Writing: commits of many pages, of one page, and pages uploaded ahead. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "crypto/head.h"
#include "crypto/member.h"
#include "crypto/page.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/inbox_store.h"
#include "storage/page_store.h"

/* A commit on its way in; call->text holds what the command is made of. */
struct commit_in {
	struct head head;
	struct bytes entries; /* Of the request's body, or call->text[COMMIT_ENTRY]. */
	uint8_t device_key[65];
	/* Of documents in the user's inbox that go with it, ascending. */
	uint8_t claims[INBOX_DOCS_PER_COMMAND_MAX][16];
	size_t n_claims;
	bool create; /* PUT with If-None-Match: the page must not be there. */
	bool retry;  /* This very head is stored: apply gives its first answer again. */
};
enum { COMMIT_HEAD, COMMIT_ENTRY }; /* In call->text. */

static int commit_parse_head(struct api_call *call, struct bytes head)
{
	struct commit_in *in = call_extra(call, sizeof *in);
	int rc = head_parse(head, &in->head, &call->e);

	if (rc != 0) {
		return err_wrap(&call->e, rc, "head");
	}
	if (memcmp(in->head.vault_id, call->vault_id, 16) != 0) {
		return call_fail(call, KLUIS_EINVAL, "the head is of another vault");
	}
	buf_append_bytes(&call->text[COMMIT_HEAD], head);
	call->text_is_open = true;
	return 0;
}

static int claim_order(const void *a, const void *b)
{
	return memcmp(a, b, ID_BYTES);
}

/* "Kluis-Claims: <id>,<id>": with a commit that made pages of them, in whatever order. */
static int commit_parse_claims(struct api_call *call)
{
	struct commit_in *in = call->extra;
	struct bytes value;
	unsigned fields = http_fields_get(&call->req->fields, "kluis-claims", &value);
	size_t n = (value.len + 1) / (HEX_LEN(16) + 1);
	bool ok;

	if (fields == 0) {
		return 0;
	}
	if (fields == 1 && n > INBOX_DOCS_PER_COMMAND_MAX) {
		call->problem_limit = INBOX_DOCS_PER_COMMAND_MAX;
		return call_fail(call, KLUIS_ETOOLARGE,
			"'Kluis-Claims' names more than %d documents", INBOX_DOCS_PER_COMMAND_MAX);
	}
	ok = fields == 1 && n > 0 && value.len == n * (HEX_LEN(16) + 1) - 1;
	for (size_t i = 0; ok && i < n; i++) {
		const uint8_t *at = value.data + i * (HEX_LEN(16) + 1);
		char text[HEX_LEN(16) + 1];

		memcpy(text, at, HEX_LEN(16));
		text[HEX_LEN(16)] = '\0';
		ok = hex_decode(text, in->claims[i], 16) == 0 &&
		     (i + 1 == n || at[HEX_LEN(16)] == ',');
	}
	if (ok) {
		qsort(in->claims, n, ID_BYTES, claim_order);
	}
	for (size_t i = 1; ok && i < n; i++) {
		ok = memcmp(in->claims[i - 1], in->claims[i], ID_BYTES) != 0;
	}
	in->n_claims = ok ? n : 0;
	return ok ? 0
		  : call_fail(call, KLUIS_EINVAL,
			    "'Kluis-Claims' is no list of different ids of 32 hex digits");
}

int commit_parse(struct api_call *call)
{
	struct wire wire = wire_of(call_body(call));
	struct bytes head = wire_lp32(&wire, HEAD_BYTES), entries = wire_rest(&wire);
	struct commit_in *in;
	uint32_t n;
	int rc = vault_id_parse(call);

	if (rc == 0 && !wire_ok(&wire)) {
		rc = call_fail(call, KLUIS_EINVAL, "the body does not begin with a head");
	}
	if (rc == 0) {
		rc = commit_parse_head(call, head);
	}
	if (rc == 0) {
		rc = commit_entries_check(entries, &n, &call->e);
	}
	if (rc == 0) {
		in = call->extra;
		in->entries = entries;
		rc = commit_parse_claims(call);
	}
	return rc;
}

/* The vault for a writer, and the key that has to have signed the head. */
static int commit_open(struct api_call *call, struct vault_row *ret_vault)
{
	struct commit_in *in = call->extra;
	unsigned role;
	int rc = call_vault(call, MEMBER_WRITE, ret_vault, &role);

	if (rc == 0 && (memcmp(in->head.user_id, call->session.user_id, 16) != 0 ||
			       memcmp(in->head.device_id, call->session.device_id, 16) != 0)) {
		rc = call_fail(call, KLUIS_EFORBIDDEN, "the head is by another device");
	}
	return rc == 0 ? call_device_key(call, in->device_key) : rc;
}

/* All of them have to be there, unless this commit was made before and took them. */
static int commit_check_claims(struct api_call *call, const struct vault_row *vault)
{
	const struct commit_in *in = call->extra;
	int rc = 0;

	for (size_t i = 0; rc == 0 && in->head.seq > vault->seq && i < in->n_claims; i++) {
		char text[HEX_LEN(16) + 1];
		struct inbox_row row;

		rc = inbox_store_get(
			call->view, call->session.user_id, in->claims[i], &row, &call->e);
		if (rc == KLUIS_ENOTFOUND) {
			hex_encode(bytes_of(in->claims[i], 16), text);
			rc = call_fail(call, rc, "your inbox has no document '%s'", text);
		}
	}
	return rc;
}

int commit_read(struct api_call *call)
{
	struct vault_row vault;
	int rc = commit_open(call, &vault);

	return rc != 0 ? rc : commit_check_claims(call, &vault);
}

static void commit_propose(struct api_call *call)
{
	const struct commit_in *in = call->extra;
	struct command command = {.type = COMMAND_COMMIT};
	struct command_commit commit = {.session = call_session(call),
		.purge = call->purge,
		.head = buf_bytes(&call->text[COMMIT_HEAD]),
		.entries = in->entries};

	memcpy(commit.vault_id, call->vault_id, 16);
	if (in->n_claims == 0) {
		command.commit = commit;
	} else {
		command.type = COMMAND_COMMIT_CLAIM;
		command.commit_claim.commit = commit;
		command.commit_claim.docs = bytes_of(in->claims, in->n_claims * ID_BYTES);
	}
	call_propose(call, &command);
}

int commit_check(struct api_call *call)
{
	const struct commit_in *in = call->extra;
	_cleanup_(key_pub_freep) struct key_pub *key = NULL;
	int rc = key_cache_get(call->api->device_keys,
		bytes_of(in->device_key, sizeof in->device_key), &key, &call->e);

	if (rc != 0) {
		return err_set(&call->e, KLUIS_EINTERNAL, "stored device key is malformed");
	}
	rc = head_verify(&in->head, key, &call->e);
	if (rc != 0) {
		return rc == KLUIS_EVERIFY ? call_fail(call, KLUIS_EFORBIDDEN,
						     "the head is not signed by this device")
					   : rc;
	}
	commit_propose(call);
	return 0;
}

static void committed_json(struct api_call *call, int status, const struct command_reply *reply)
{
	json_t *body = json_object();

	json_put(body, "seq", json_make_number(reply->number));
	json_put(body, "head_hash", json_make_hash(reply->hash));
	if (call->etag[0] == '\0') {
		etag_format(reply->number, reply->hash, call->etag);
	}
	call_json(call, status, body);
}

/* Where the vault stands now, for a client that has to rebase; only for one who may see it. */
static int commit_show_head(struct api_call *call)
{
	struct vault_row vault;
	unsigned role;
	int rc = session_store_check(
		call->view, call->token_hash, call->now_ms, &call->session, NULL);

	if (rc == 0) {
		rc = vault_store_check(call->view, call->vault_id, call->session.user_id,
			MEMBER_READ, &vault, &role, NULL);
	}
	if (rc == 0) {
		head_etag(&vault, call->current_etag);
	}
	return rc == KLUIS_EAGAIN ? rc : 0;
}

bool commit_answered(struct api_call *call)
{
	struct command_reply reply;

	call->rc = call_reply(call, &reply);
	if (call->rc == 0) {
		committed_json(call, 200, &reply);
	}
	return true;
}

int commit_applied(struct api_call *call)
{
	assert(call->rc != 0);
	if (call->rc == KLUIS_EQUOTA) {
		return call_quota_told(call);
	}
	return commit_show_head(call) == KLUIS_EAGAIN ? KLUIS_EAGAIN : call->rc;
}

/* One page. */

static int page_put_condition(struct api_call *call)
{
	struct commit_in *in = call->extra;
	struct bytes match, none;
	unsigned n_match = http_fields_get(&call->req->fields, "if-match", &match);
	unsigned n_none = http_fields_get(&call->req->fields, "if-none-match", &none);

	if (n_match + n_none == 0) {
		return call_fail(call, KLUIS_EPRECONDITION_REQUIRED,
			"'If-Match' or 'If-None-Match' is missing");
	}
	if (n_match + n_none != 1 || (n_none == 1 && !bytes_is(none, "*"))) {
		return call_fail(call, KLUIS_EINVAL,
			"one 'If-Match', or 'If-None-Match' with '*', is needed");
	}
	in->create = n_none == 1;
	return 0;
}

static int page_put_head(struct api_call *call)
{
	_cleanup_(buf_release) struct buf head = BUF_INIT;
	struct bytes value;

	if (http_fields_get(&call->req->fields, "kluis-head", &value) != 1 ||
		base64_decode(value, HEAD_BYTES, &head) != 0) {
		return call_fail(call, KLUIS_EINVAL, "'Kluis-Head' is missing or malformed");
	}
	return commit_parse_head(call, buf_bytes(&head));
}

int page_put_parse(struct api_call *call)
{
	struct page_header header;
	struct commit_entry entry = {.how = COMMIT_INLINE, .bytes = call_body(call)};
	struct commit_in *in;
	int rc = page_parse_path(call);

	if (rc == 0) {
		rc = page_put_head(call);
	}
	if (rc == 0) {
		rc = page_put_condition(call);
	}
	if (rc == 0) {
		rc = page_parse(entry.bytes, &header, &call->e);
	}
	if (rc != 0) {
		return rc;
	}
	if (header.place.page_no != call->page_no ||
		memcmp(header.place.vault_id, call->vault_id, 16) != 0) {
		return call_fail(call, KLUIS_EINVAL, "the page is of another place");
	}
	entry.page_no = call->page_no;
	entry.revision = call->revision = header.place.revision;
	commit_entry_append(&call->text[COMMIT_ENTRY], &entry);
	in = call->extra;
	in->entries = buf_bytes(&call->text[COMMIT_ENTRY]);
	return 0;
}

static int page_put_is_retry(struct api_call *call, const struct vault_row *vault)
{
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct commit_in *in = call->extra;
	struct head_row row;
	int rc;

	in->retry = false;
	if (in->head.seq > vault->seq) {
		return 0;
	}
	rc = head_store_get(call->view, call->vault_id, in->head.seq, &value, &row, &call->e);
	if (rc == 0) {
		in->retry = memcmp(row.hash, in->head.hash, 32) == 0;
	}
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

/* The current revision's tag; empty when the page was never written. */
static int page_etag(struct api_call *call, char to[ETAG_CHARS_MAX + 1])
{
	struct page_row row;
	int rc = page_store_get(call->view, call->vault_id, call->page_no, &row, &call->e);

	to[0] = '\0';
	if (rc == 0) {
		etag_format(row.revision, row.hash, to);
	}
	return rc == KLUIS_ENOTFOUND ? 0 : rc;
}

int page_put_read(struct api_call *call)
{
	const struct commit_in *in = call->extra;
	char etag[ETAG_CHARS_MAX + 1];
	struct vault_row vault;
	int rc = commit_open(call, &vault);

	if (rc == 0) {
		rc = page_put_is_retry(call, &vault);
	}
	if (rc == 0) {
		rc = page_etag(call, etag);
	}
	if (rc != 0 || in->retry) {
		return rc;
	}
	if (!in->create) {
		return call_if_match(call, etag[0] == '\0' ? NULL : etag);
	}
	if (etag[0] != '\0') {
		memcpy(call->current_etag, etag, sizeof etag);
		return call_fail(call, KLUIS_EPRECONDITION, "the page exists");
	}
	return 0;
}

/* Is this request's page what the head stands for? A head that is stored already is success
 * whatever came with it: then the page may be another, and was never looked at. */
static int page_put_is_stored(struct api_call *call, const uint8_t page_hash[32], bool *ret_stored)
{
	const struct commit_in *in = call->extra;
	_cleanup_(buf_release) struct buf value = BUF_INIT;
	struct page_header header;
	struct head_row row;
	uint8_t leaf[32];
	int rc = page_parse(call_body(call), &header, &call->e);

	rc = rc != 0 ? rc
		     : head_store_get(
			       call->view, call->vault_id, in->head.seq, &value, &row, &call->e);
	if (rc != 0) {
		return rc;
	}
	page_leaf(&header.place, page_hash, leaf);
	*ret_stored = false;
	for (uint32_t i = 0; i < row.n_pages; i++) {
		struct head_page page = head_row_page(&row, i);

		*ret_stored = *ret_stored || memcmp(page.leaf, leaf, sizeof leaf) == 0;
	}
	return 0;
}

static int page_put_refused(struct api_call *call)
{
	int rc = commit_applied(call);

	if (call->current_etag[0] != '\0' && page_etag(call, call->current_etag) == KLUIS_EAGAIN) {
		return KLUIS_EAGAIN;
	}
	return rc;
}

static void page_put_reply(
	struct api_call *call, const uint8_t page_hash[32], const struct command_reply *reply)
{
	const struct commit_in *in = call->extra;

	etag_format(call->revision, page_hash, call->etag);
	committed_json(call, in->create ? 201 : 200, reply);
}

/* The state machine tells the page's hash when it has just taken it; of a head that was stored
 * before it says nothing of the kind. */
bool page_put_answered(struct api_call *call)
{
	static const uint8_t none[32];
	struct command_reply reply;
	uint8_t hash[32];

	call->rc = call_reply(call, &reply);
	if (call->rc != 0) {
		return true;
	}
	command_reply_page_hash(&reply, hash);
	if (memcmp(hash, none, sizeof hash) == 0) {
		return false;
	}
	page_put_reply(call, hash, &reply);
	return true;
}

int page_put_applied(struct api_call *call)
{
	struct command_reply reply;
	uint8_t hash[32];
	bool stored;
	int rc = call->rc == 0 ? call_reply(call, &reply) : page_put_refused(call);

	if (rc != 0) {
		return rc;
	}
	hash_sha256(call_body(call), hash);
	rc = page_put_is_stored(call, hash, &stored);
	if (rc != 0) {
		return rc;
	}
	if (!stored) {
		return call_fail(call, KLUIS_ECONFLICT, "this head is stored, with another page");
	}
	page_put_reply(call, hash, &reply);
	return 0;
}

/* Pages ahead of their commit. */

struct staged_in {
	bool there; /* And will be for long enough. */
};

int staged_head_parse(struct api_call *call)
{
	int rc = call_param_id(call, 0, call->vault_id);

	return rc == 0 ? call_param_hash(call, 1, call->hash) : rc;
}

int staged_put_parse(struct api_call *call)
{
	struct page_header header;
	int rc = staged_head_parse(call);

	if (rc == 0) {
		rc = page_parse(call_body(call), &header, &call->e);
	}
	if (rc == 0 && memcmp(header.place.vault_id, call->vault_id, 16) != 0) {
		rc = call_fail(call, KLUIS_EINVAL, "the page is of another vault");
	}
	(void)call_extra(call, sizeof(struct staged_in));
	return rc;
}

static int staged_find(struct api_call *call, unsigned role_min, struct page_row *ret_row)
{
	struct vault_row vault;
	unsigned role;
	int rc = call_vault(call, role_min, &vault, &role);

	return rc == 0 ? page_store_staged(call->view, call->vault_id, call->hash, call->now_ms,
				 ret_row, &call->e)
		       : rc;
}

/* Apply decides; what has no room is not sent to six sites first. */
static int staged_put_quota(struct api_call *call)
{
	uint64_t bytes;
	int rc = page_store_staged_use(call->view, call->session.user_id, &bytes, &call->e);

	if (rc == 0 && bytes + call_body(call).len > STAGED_USER_BYTES_MAX) {
		call->problem_limit = STAGED_USER_BYTES_MAX;
		rc = call_fail(call, KLUIS_EQUOTA,
			"%llu bytes are staged: commit them, or wait until they expire",
			(unsigned long long)bytes);
	}
	return rc;
}

int staged_put_read(struct api_call *call)
{
	struct staged_in *in = call->extra;
	struct vault_row vault;
	struct page_row row;
	unsigned role;
	int rc = call_vault(call, MEMBER_WRITE, &vault, &role);

	if (rc != 0) {
		return rc;
	}
	rc = page_store_staged(
		call->view, call->vault_id, call->hash, call->now_ms, &row, &call->e);
	/* Uploading it again keeps it for longer; soon after the first time that is not worth a
	 * command. */
	in->there = rc == 0 && row.expires_ms > call->now_ms + STAGED_KEPT_MS / 2;
	return rc == KLUIS_ENOTFOUND ? staged_put_quota(call) : rc;
}

static void staged_json(struct api_call *call)
{
	json_t *body = json_object();

	json_put(body, "sha256", json_make_hash(call->hash));
	call_json(call, 200, body);
}

int staged_put_check(struct api_call *call)
{
	const struct staged_in *in = call->extra;
	struct command command = {.type = COMMAND_STAGE_PAGE};
	uint8_t hash[32];

	hash_sha256(call_body(call), hash);
	if (memcmp(hash, call->hash, sizeof hash) != 0) {
		return call_fail(call, KLUIS_EINVAL, "the page has another SHA-256");
	}
	if (in->there) {
		staged_json(call);
		return 0;
	}
	command.stage_page.session = call_session(call);
	memcpy(command.stage_page.vault_id, call->vault_id, 16);
	memcpy(command.stage_page.hash, call->hash, 32);
	command.stage_page.page = call_body(call);
	call_propose(call, &command);
	return 0;
}

int staged_put_applied(struct api_call *call)
{
	if (call->rc == 0) {
		staged_json(call);
	} else if (call->rc == KLUIS_EQUOTA) {
		call->problem_limit = STAGED_USER_BYTES_MAX;
	}
	return call->rc;
}

int staged_head_read(struct api_call *call)
{
	struct page_row row;
	int rc = staged_find(call, MEMBER_READ, &row);

	call->status = 200;
	call->content_type = NULL;
	return rc;
}

/* Reading pages. */
#include <string.h>

#include "base/wire.h"
#include "crypto/member.h"
#include "node/api_core.h"
#include "node/api_handlers.h"
#include "storage/packet_store.h"
#include "storage/page_store.h"

int page_parse_path(struct api_call *call)
{
	int rc = call_param_id(call, 0, call->vault_id);

	return rc == 0 ? call_param_u64(call, 1, &call->page_no) : rc;
}

int version_parse_path(struct api_call *call)
{
	int rc = page_parse_path(call);

	return rc == 0 ? call_param_u64(call, 2, &call->revision) : rc;
}

/* The row's bytes as the reply; they are not read when the client has them. */
static int page_show(struct api_call *call, const struct page_row *row)
{
	_cleanup_(buf_release) struct buf page = BUF_INIT;
	bool not_modified;
	int rc;

	etag_format(row->revision, row->hash, call->etag);
	rc = call_not_modified(call, &not_modified);
	if (rc != 0 || not_modified) {
		return rc;
	}
	rc = page_store_bytes(call->view, call->vault_id, row, &page, &call->e);
	return rc == 0 ? call_octets(call, &page) : rc;
}

/* The vault is not the user's to read: perhaps this revision of this page was opened to her. If
 * not, the answer is the one that `refused` is. */
static int page_granted(struct api_call *call, uint64_t revision, int refused)
{
	struct page_grant grant;
	struct vault_row vault;
	int rc = grant_store_check(call->view, call->session.user_id, call->vault_id, call->page_no,
		revision, call->now_ms, &grant, NULL);

	rc = rc != 0 ? rc : vault_store_get(call->view, call->vault_id, &vault, NULL);
	if (rc == KLUIS_ENOTFOUND || (rc == 0 && vault.state != VAULT_ACTIVE)) {
		rc = refused;
	}
	return rc;
}

/* The row that find gives, for who may read the vault or this page of it. */
static int page_read(
	struct api_call *call, int (*find)(struct api_call *call, struct page_row *ret_row))
{
	struct vault_row vault;
	struct page_row row = {.revision = 0};
	struct err refusal;
	unsigned role;
	int rc, refused = call_vault(call, MEMBER_READ, &vault, &role);

	if (refused != 0 && refused != KLUIS_ENOTFOUND && refused != KLUIS_EFORBIDDEN) {
		return refused;
	}
	refusal = call->e;
	rc = find(call, &row);
	if (refused != 0 && (rc == 0 || rc == KLUIS_ENOTFOUND)) {
		rc = rc == 0 ? page_granted(call, row.revision, refused) : refused;
		call->e = refusal;
	}
	return rc == 0 ? page_show(call, &row) : rc;
}

static int page_find(struct api_call *call, struct page_row *ret_row)
{
	return page_store_get(call->view, call->vault_id, call->page_no, ret_row, &call->e);
}

int page_get_read(struct api_call *call)
{
	return page_read(call, page_find);
}

static int version_find(struct api_call *call, struct page_row *ret_row)
{
	return page_store_revision(
		call->view, call->vault_id, call->page_no, call->revision, ret_row, &call->e);
}

int version_get_read(struct api_call *call)
{
	return page_read(call, version_find);
}

static json_t *version_json(const struct page_row *row)
{
	char etag[ETAG_CHARS_MAX + 1];
	json_t *version = json_object();

	etag_format(row->revision, row->hash, etag);
	json_put(version, "revision", json_make_number(row->revision));
	json_put(version, "epoch", json_make_number(row->key_epoch));
	json_put(version, "bytes", json_make_number(row->bytes));
	json_put(version, "sha256", json_make_hash(row->hash));
	json_put(version, "written", json_make_number(row->committed_ms));
	json_put(version, "etag", json_make_text(etag));
	return version;
}

int version_list_read(struct api_call *call)
{
	struct page_row rows[PAGE_VERSIONS_MAX + 1];
	struct vault_row vault;
	uint8_t key[8];
	const uint8_t *cursor;
	unsigned role;
	size_t n, listed = 0, i = 0;
	json_t *items;
	int rc = call_vault(call, MEMBER_READ, &vault, &role);

	if (rc == 0) {
		rc = call_cursor(call, sizeof key, &cursor);
	}
	if (rc == 0) {
		rc = page_store_versions(
			call->view, call->vault_id, call->page_no, rows, &n, &call->e);
	}
	if (rc == 0 && n == 0) {
		rc = call_fail(call, KLUIS_ENOTFOUND, "page was never written");
	}
	if (rc != 0) {
		return rc;
	}
	while (cursor != NULL && i < n && rows[i].revision >= load_u64(cursor)) {
		i++;
	}
	items = json_array();
	for (; i < n && listed < call->limit; i++, listed++) {
		(void)json_array_append_new(items, version_json(&rows[i]));
	}
	if (i < n) {
		store_u64(key, rows[i - 1].revision);
	}
	call_list(call, items, bytes_of(key, i < n ? sizeof key : 0));
	return 0;
}

/* Which pages an answer in pieces is made of: their rows as of one state. Bytes are found by hash,
 * so that those read later are the same. */
struct pages {
	size_t n, at;
	uint64_t page_no[PAGES_GET_MAX];
	struct page_row row[PAGES_GET_MAX]; /* bytes 0: never written. */
};

int pages_get_parse(struct api_call *call)
{
	struct pages *pages = call_extra(call, sizeof *pages);
	struct json_in reader;
	int rc;

	json_in_begin(&reader, call_body(call), &call->e);
	pages->n = json_in_u64s(&reader, "pages", pages->page_no, PAGES_GET_MAX);
	rc = json_in_end(&reader);
	return rc == 0 ? vault_id_parse(call) : rc;
}

int pages_get_read(struct api_call *call)
{
	struct pages *pages = call->extra;
	struct vault_row vault;
	unsigned role;
	int rc = call_vault(call, MEMBER_READ, &vault, &role);

	call->length = 0;
	for (size_t i = 0; rc == 0 && i < pages->n; i++) {
		struct page_row *row = &pages->row[i];

		memset(row, 0, sizeof *row);
		rc = page_store_get(call->view, call->vault_id, pages->page_no[i], row, &call->e);
		rc = rc == KLUIS_ENOTFOUND ? 0 : rc;
		call->length += 4 + (uint64_t)row->bytes;
	}
	call->status = 200;
	call->content_type = "application/octet-stream";
	return rc;
}

int pages_get_more(struct api_call *call)
{
	struct pages *pages = call->extra;
	const struct page_row *row = &pages->row[pages->at];
	int rc = 0;

	buf_clear(&call->body);
	buf_put_u32(&call->body, row->bytes);
	if (row->bytes > 0) {
		rc = page_store_bytes(call->view, call->vault_id, row, &call->body, &call->e);
	}
	if (rc == 0) {
		pages->at++;
		call->last = pages->at == pages->n;
	}
	return rc;
}
